"""Reads Argoverse 2 motion scenarios: a Parquet file of tracks, and the map in JSON beside it.

The files have neither sizes of bodies (usual ones are taken) nor lights, nor speed limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.readers.json_tables import get, points, read_json
from selfdrive_env.scenes.readers.recorded import (
    MAX_CELLS,
    MAX_COORDINATE,
    Place,
    Record,
    at_origin,
    make_tracks,
    numbered,
    origin_of,
)
from selfdrive_env.scenes.roads import ENTRY, EXIT, LEFT, RIGHT, Line, Roads
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import BICYCLE, OTHER, PEDESTRIAN, VEHICLE

__all__ = ["records"]

TYPES = {
    **{"vehicle": VEHICLE, "bus": VEHICLE, "motorcyclist": VEHICLE},
    **{"pedestrian": PEDESTRIAN, "cyclist": BICYCLE, "riderless_bicycle": BICYCLE},
}
"""Kind of an object; every other type is OTHER."""

SIZES = {"bus": (11.5, 2.9, 3.2), "motorcyclist": (2.2, 0.8, 1.6)}
"""Where the usual size of the kind does not fit [m]."""

NUMBERS = ("position_x", "position_y", "heading", "velocity_x", "velocity_y")
TEXTS = ("track_id", "object_type", "scenario_id", "focal_track_id")
WHOLE = ("timestep", "object_category", "num_timestamps")

EGO = "AV"
SCORED = 2
"""Category of tracks that are to be foretold, and the least of the focal one."""

OBSERVED = 50
"""Steps before what is to be foretold."""

DT = 0.1
TOUCHING = 0.2
"""Boundaries of two drivable areas that are nearer than this are one [m]."""

LANE_TYPES = {"VEHICLE": 2, "BUS": 2, "BIKE": 3}
MARKS = {
    **{"DASHED_WHITE": 6, "DASH_SOLID_WHITE": 7, "SOLID_DASH_WHITE": 7, "SOLID_WHITE": 7},
    **{"DOUBLE_SOLID_WHITE": 8, "DOUBLE_DASH_WHITE": 6, "DASHED_YELLOW": 9, "SOLID_YELLOW": 11},
    **{"DOUBLE_DASH_YELLOW": 10, "DOUBLE_SOLID_YELLOW": 12, "DASH_SOLID_YELLOW": 13},
    **{"SOLID_DASH_YELLOW": 13},
}
"""What is painted -> code of a line; NONE and what is not known are no lines."""


def records(path: Path) -> Iterator[Record]:
    """Yields the scene of a file."""
    yield Record(path.name.removesuffix(".parquet"), lambda: read(path))


def read(path: Path) -> Scene:
    """Returns the scene of a Parquet file and the map beside it."""
    place = Place(path.name)
    table = _columns(path, place)
    steps = _one(table["num_timestamps"], "num_timestamps", place)
    name = str(_one(table["scenario_id"], "scenario_id", place))
    times = table["timestep"]
    tracks, first = np.unique(table["track_id"], return_index=True)
    tracks = tracks[np.argsort(first)]  # in the order of the file
    if not 1 <= steps * len(tracks) <= MAX_CELLS:
        raise place.error("num_timestamps", f"is {steps}, for {len(tracks)} tracks")
    if ((times < 0) | (times >= steps)).any():
        raise place.error("timestep", f"is not from 0 to {steps - 1}")
    rows = {track: row for row, track in enumerate(tracks.tolist())}
    row = np.array([rows[track] for track in table["track_id"].tolist()])
    valid = np.zeros((len(tracks), steps), bool)
    valid[row, times] = True
    if np.count_nonzero(valid) != len(times):
        raise place.error("timestep", "stands more than once for a track")
    grid = {}
    for column in NUMBERS:
        grid[column] = np.zeros(valid.shape)
        grid[column][row, times] = table[column]
    types = [""] * len(tracks)
    scored = np.zeros(len(tracks), bool)
    for one, kind, category in zip(
        row.tolist(), table["object_type"].tolist(), table["object_category"].tolist(), strict=True
    ):
        types[one] = kind
        scored[one] |= category >= SCORED
    lines, links = _map(path, name, place)
    series = dict(zip(("x", "y", "heading", "vx", "vy"), grid.values(), strict=True))
    series["z"] = _ground(lines, series["x"], series["y"], valid)
    origin = origin_of(series["x"], series["y"], series["z"], valid, place)
    bodies = make_tracks(
        place,
        series,
        valid,
        id=numbered(tracks.tolist()),
        kind=[TYPES.get(kind, OTHER) for kind in types],
        sizes=[SIZES.get(kind, (0.0, 0.0, 0.0)) for kind in types],
        origin=origin,
    )
    focal = str(_one(table["focal_track_id"], "focal_track_id", place))
    chosen = [rows[focal]] if focal in rows else []
    chosen += np.flatnonzero(scored).tolist()
    return Scene.recorded(
        bodies,
        current=min(OBSERVED, steps) - 1,
        ego=rows.get(EGO, -1),
        of_interest=list(dict.fromkeys(chosen)),
        roads=Roads.of(at_origin(lines, origin, place), links),
        dt=DT,
        name=name[:200],
        origin=origin,
        source=str(path),
    )


def _columns(path: Path, place: Place) -> dict[str, NDArray[Any]]:
    """Returns the columns that are read, each of its kind."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            'Argoverse 2 scenarios need pyarrow: pip install "selfdrive_env[scenes]"'
        ) from error
    wanted = (*NUMBERS, *TEXTS, *WHOLE)
    try:
        with parquet.ParquetFile(path) as file:
            known = set(file.schema_arrow.names)
            missing = [column for column in wanted if column not in known]
            if missing:
                raise place.error(
                    "the file", f"lacks the column {missing[0]} of an Argoverse 2 motion scenario"
                )
            if not 1 <= file.metadata.num_rows <= MAX_CELLS:
                raise place.error("the file", f"has {file.metadata.num_rows} rows")
            table = file.read(columns=list(wanted))
        columns = {name: table[name].to_numpy() for name in wanted}
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, FileNotFoundError) or str(error).startswith(str(place)):
            raise
        told = " ".join(str(error).split())[:160]
        raise place.error("the file", f"is no Parquet file, or is damaged ({told})") from None
    for names, kinds, kind in ((NUMBERS, "fiu", "numbers"), (WHOLE, "iu", "whole numbers")):
        for name in names:
            if columns[name].dtype.kind not in kinds:
                raise place.error(name, f"is {columns[name].dtype}; {kind} are wanted")
    for name in TEXTS:
        if not all(isinstance(value, str) for value in columns[name].tolist()):
            raise place.error(name, "must be texts")
    return columns


def _one(column: NDArray[Any], name: str, place: Place) -> Any:
    """Returns the value that all rows have."""
    values = set(column.tolist())
    if len(values) != 1:
        raise place.error(name, f"has {len(values)} values, one is wanted")
    return values.pop()


def _map(path: Path, name: str, place: Place) -> tuple[list[Line], list[tuple[int, int, int]]]:
    """Returns lines and links of the map beside a scenario."""
    beside = path.parent / f"log_map_archive_{name}.json"
    if not beside.is_file():
        raise place.error("the map", f"{beside.name} is not beside it; it is wanted there")
    wanted = "a map of Argoverse 2 (JSON with lane_segments)"
    whole = read_json(beside, wanted)
    where = Place(beside.name)
    if not isinstance(whole, dict) or "lane_segments" not in whole:
        raise where.error("the file", f"is something else; {wanted} is wanted")
    lines: list[Line] = []
    links: list[tuple[int, int, int]] = []
    for key, lane in get(whole, "lane_segments", dict, where, "").items():
        lines.append(_lane(lane, f"lane_segments[{key[:20]!r}]", where, links))
    free = max((line.id for line in lines), default=0) + 1
    painted = set()
    for key, lane in whole["lane_segments"].items():
        for side in ("left", "right"):
            code = MARKS.get(str(lane.get(f"{side}_lane_mark_type")))
            if code is not None:
                field = f"lane_segments[{key[:20]!r}].{side}_lane_boundary"
                line = points(lane[f"{side}_lane_boundary"], where, field)
                ends = frozenset(map(tuple, line[[0, -1], :2].tolist()))
                if ends not in painted:  # two lanes share it
                    painted.add(ends)
                    lines.append(Line(free + len(painted), code, line))
    free += len(painted) + 1
    rings = []
    for key, area in (whole.get("drivable_areas") or {}).items():
        field = f"drivable_areas[{key[:20]!r}].area_boundary"
        ring = points(area.get("area_boundary") if isinstance(area, dict) else None, where, field)
        rings.append(_with_road_left(ring))
    for number, ring in enumerate(rings):
        for edge in _outside(ring, rings[:number] + rings[number + 1 :]):
            lines.append(Line(free, 15, edge))
            free += 1
    for key, crossing in (whole.get("pedestrian_crossings") or {}).items():
        field = f"pedestrian_crossings[{key[:20]!r}]"
        edges = [
            points(crossing.get(edge) if isinstance(crossing, dict) else None, where, field)
            for edge in ("edge1", "edge2")
        ]
        lines.append(Line(free, 18, np.concatenate([edges[0], edges[1][::-1]])))
        free += 1
    return lines, links


def _lane(lane: Any, where: str, place: Place, links: list[tuple[int, int, int]]) -> Line:
    name = get(lane, "id", int, place, where)
    if not 0 <= name < 2**62:
        raise place.error(f"{where}.id", f"is {name}; a number from 0 to 2**62 is wanted")
    sides = []
    for side in ("left", "right"):
        field = f"{side}_lane_boundary"
        line = points(get(lane, field, list, place, where), place, f"{where}.{field}")
        if len(line) < 2:
            raise place.error(f"{where}.{field}", "has no two points")
        sides.append(line)
        beside = lane.get(f"{side}_neighbor_id")
        if isinstance(beside, int) and 0 <= beside < 2**62:
            links.append((name, LEFT if side == "left" else RIGHT, beside))
    for field, link in (("predecessors", ENTRY), ("successors", EXIT)):
        for other in get(lane, field, list, place, where):
            if type(other) is not int or not 0 <= other < 2**62:
                raise place.error(f"{where}.{field}", f"has {other!r:.40}, which is no lane")
            links.append((name, link, other))
    if isinstance(lane.get("centerline"), list) and len(lane["centerline"]) > 1:
        centre = points(lane["centerline"], place, f"{where}.centerline")
    else:
        share = np.linspace(0.0, 1.0, max(len(side) for side in sides))
        centre = np.mean([_at(side, share) for side in sides], axis=0)
    # The heights of a centre line are 0 in some files, those of its sides never.
    centre[:, 2] = np.mean([_at(side, _share(centre)) for side in sides], axis=0)[:, 2]
    return Line(name, LANE_TYPES.get(str(lane.get("lane_type")), 0), centre)


def _share(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how much of a line lies before each point, 0 to 1."""
    steps = np.hypot(*np.diff(line[:, :2], axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    return along / max(float(along[-1]), 1e-9)


def _at(line: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns points of a line at shares of its length."""
    return np.stack([np.interp(share, _share(line), axis) for axis in line.T], axis=1)


def _with_road_left(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the boundary of an area counter-clockwise, closed."""
    if len(ring) < 3:
        return ring
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    area = float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    ring = ring if area >= 0.0 else ring[::-1]
    return ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])


def _outside(ring: Any, others: list[Any]) -> list[NDArray[np.float64]]:
    """Returns the pieces of a boundary that lie in no other area: areas share sides of theirs."""
    middle = 0.5 * (ring[:-1, :2] + ring[1:, :2])
    inner = np.zeros(len(middle), bool)
    for other in others:
        start, side = other[:-1, :2], np.diff(other[:, :2], axis=0)
        length = np.maximum((side**2).sum(axis=1), 1e-12)
        for number, (x, y) in enumerate(middle):
            share = np.clip((((x, y) - start) * side).sum(axis=1) / length, 0.0, 1.0)
            foot = start + share[:, None] * side
            crossed = (start[:, 1] > y) != (other[1:, 1] > y)
            rise = (y - start[crossed, 1]) / side[crossed, 1]
            beyond = np.count_nonzero(start[crossed, 0] + rise * side[crossed, 0] > x)
            near = np.hypot(*(foot - (x, y)).T).min() < TOUCHING if len(foot) else False
            inner[number] |= bool(near or beyond % 2)
    out, first = [], 0
    for last in [*np.flatnonzero(inner).tolist(), len(middle)]:
        if last > first:
            out.append(ring[first : last + 1])
        first = last + 1
    return out


def _ground(lines: list[Line], x: Any, y: Any, valid: NDArray[np.bool_]) -> Any:
    """Returns the height of the nearest point of a lane, [agent, step] [m]."""
    out = np.zeros(x.shape)
    lanes = [line.points for line in lines if line.type < 5]
    if not lanes:
        return out
    known, rows = np.concatenate(lanes), np.argwhere(valid)
    x, y = (np.clip(value, -MAX_COORDINATE, MAX_COORDINATE) for value in (x, y))
    known = np.clip(known, -MAX_COORDINATE, MAX_COORDINATE)
    for part in np.array_split(rows, max(1, len(rows) * len(known) // 2_000_000)):
        at = tuple(part.T)
        distance = (x[at][:, None] - known[:, 0]) ** 2 + (y[at][:, None] - known[:, 1]) ** 2
        out[at] = known[np.argmin(distance, axis=1), 2]
    return out
