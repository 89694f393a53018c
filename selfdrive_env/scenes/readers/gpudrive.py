"""Reads the JSON of GPUDrive, PufferDrive and Nocturne: one scene a file.

Nocturne's has degrees where the others have radians; which it is shows in the numbers. Lane links,
neighbours and speed limits are in none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import is_list
from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.edits import wrapped
from selfdrive_env.scenes.readers.json_tables import coordinate, get, numbers, read_json
from selfdrive_env.scenes.readers.recorded import (
    KIND_NAMES,
    MAX_CELLS,
    Place,
    Record,
    at_origin,
    make_tracks,
    origin_of,
)
from selfdrive_env.scenes.roads import LIGHT_STATES, ROAD_TYPES, Lights, Line, Roads
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import OTHER

__all__ = ["records"]

FORMAT = "a GPUDrive, PufferDrive or Nocturne scene (JSON with objects and roads)"

CURRENT = 10
"""Index of the present moment, as in the data set that these files are made of."""

DT = 0.1

CODES = {
    **{"lane": 2, "road_line": 5, "road_edge": 15, "stop_sign": 17, "crosswalk": 18},
    **{"speed_bump": 19, "driveway": 20},
}
"""Code of a road where a file has a word only."""

NO_VALUE = -10000.0


def records(path: Path) -> Iterator[Record]:
    """Yields the scene of a file."""
    yield Record(path.name.partition(".json")[0], lambda: read(path))


def read(path: Path) -> Scene:
    """Returns the scene of a file."""
    place = Place(path.name)
    whole = read_json(path, FORMAT)
    if not isinstance(whole, dict) or not {"objects", "roads"} <= whole.keys():
        keys = ", ".join(list(whole)[:6]) if isinstance(whole, dict) else "a list"
        if isinstance(whole, dict) and "lane_segments" in whole:
            keys += ": an Argoverse 2 map, which is read with the .parquet file beside it"
        raise place.error("the file", f"has {keys[:200]}; {FORMAT} is wanted")
    return _scene(whole, place, str(path))


def _scene(whole: dict[str, Any], place: Place, source: str) -> Scene:
    objects = get(whole, "objects", list, place, "")
    if not objects:
        raise place.error("objects", "is empty; at least one is wanted")
    series, valid = _series(objects, place)
    names = ("length", "width", "height")
    sizes = [[_number(one, n, place, i, 0.0) for n in names] for i, one in enumerate(objects)]
    kinds = [
        KIND_NAMES.get(get(one, "type", str, place, f"objects[{i}]").lower(), OTHER)
        for i, one in enumerate(objects)
    ]
    numbered = all(isinstance(one.get("id"), int) for one in objects)
    ids = [one["id"] for one in objects] if numbered else list(range(len(objects)))
    if len(set(ids)) < len(ids) or not all(-(2**63) <= one < 2**63 for one in ids):
        ids = list(range(len(objects)))
    if _in_degrees(series, valid):
        series["heading"] = np.deg2rad(series["heading"])
    origin = origin_of(series["x"], series["y"], series["z"], valid, place)
    tracks = make_tracks(place, series, valid, id=ids, kind=kinds, sizes=sizes, origin=origin,
        middle=True)  # fmt: skip
    steps = valid.shape[1]
    metadata = whole.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    ego = metadata.get("sdc_track_index")
    if not isinstance(ego, int) or not 0 <= ego < len(objects):
        ego = -1
    parts: dict[str, Any] = {
        "roads": _roads(whole, origin, place),
        "lights": _lights(whole.get("tl_states"), origin, steps, place),
        "of_interest": _of_interest(metadata, ids),
        "dt": DT,
        "name": str(whole.get("scenario_id") or whole.get("name") or place.file)[:200],
        "origin": origin,
        "source": source,
    }
    return Scene.recorded(tracks, current=min(CURRENT, steps - 1), ego=ego, **parts)


def _number(table: dict[str, Any], name: str, place: Place, row: int, default: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"objects[{row}].{name}", f"is {value!r:.60}; a number is wanted")
    return float(value)


def _series(objects: list[Any], place: Place) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Returns x, y, z, heading, vx, vy and which are valid, [object, step] each."""
    steps = len(get(objects[0], "valid", list, place, "objects[0]"))
    if not 1 <= steps * len(objects) <= MAX_CELLS:
        raise place.error("objects[0].valid", f"has {steps} entries for {len(objects)} objects")
    columns: dict[str, list[Any]] = {name: [] for name in ("x", "y", "z", "heading", "vx", "vy")}
    valid = []
    for number, one in enumerate(objects):
        where = f"objects[{number}]"
        lists = {
            name: get(one, name, list, place, where)
            for name in ("position", "velocity", "heading", "valid")
        }
        for name, values in lists.items():
            if len(values) != steps:
                raise place.error(
                    f"{where}.{name}", f"has {len(values)} entries, objects[0].valid has {steps}"
                )
        for name, entry, axis in (
            ("x", "position", "x"), ("y", "position", "y"), ("z", "position", "z"),
            ("vx", "velocity", "x"), ("vy", "velocity", "y"),
        ):  # fmt: skip
            columns[name].append(coordinate(lists[entry], axis, place, f"{where}.{entry}"))
        columns["heading"].append(numbers(lists["heading"], place, f"{where}.heading"))
        seen = numbers(lists["valid"], place, f"{where}.valid")
        if not np.isin(seen, (0.0, 1.0)).all():
            raise place.error(f"{where}.valid", "must be a list of true and false")
        valid.append(seen > 0.0)
    series = {name: np.stack(rows) for name, rows in columns.items()}
    whole = np.stack(valid)
    for name in ("x", "y", "heading"):
        whole &= series[name] != NO_VALUE
    for name in ("vx", "vy", "z"):
        series[name][series[name] == NO_VALUE] = 0.0
    return series, whole


def _in_degrees(series: dict[str, Any], valid: NDArray[np.bool_]) -> bool:
    """Whether headings are degrees: they then agree with the way that vehicles drive."""
    heading = series["heading"]
    speed = np.hypot(series["vx"], series["vy"])
    if valid.any() and np.abs(heading[valid]).max() > 2.0 * math.pi + 0.01:
        return True
    moving = valid & (speed > 2.0)
    if not moving.any():
        return False
    way = np.arctan2(series["vy"], series["vx"])[moving]
    misses = [
        float(np.median(np.abs(wrapped(turn - way))))
        for turn in (heading[moving], np.deg2rad(heading[moving]))
    ]
    return misses[1] < misses[0]


def _roads(whole: dict[str, Any], origin: Any, place: Place) -> Roads:
    roads = get(whole, "roads", list, place, "")
    lines, total = [], 0
    ids: list[Any] = [road.get("id") if isinstance(road, dict) else None for road in roads]
    if not all(type(one) is int and abs(one) < 2**62 for one in ids) or len(set(ids)) < len(ids):
        ids = list(range(len(roads)))
    for number, road in enumerate(roads):
        where = f"roads[{number}]"
        word = get(road, "type", str, place, where)
        code = road.get("map_element_id", CODES.get(word, -1))
        if type(code) is not int or code not in ROAD_TYPES:
            raise place.error(
                f"{where}.map_element_id", f"is {code!r:.40}; one of {list(ROAD_TYPES)} is wanted"
            )
        points = get(road, "geometry", list, place, where)
        total += len(points)
        if total > MAX_CELLS:
            raise place.error("roads", f"have more than {MAX_CELLS} points")
        xyz = [coordinate(points, axis, place, f"{where}.geometry") for axis in "xyz"]
        lines.append(Line(ids[number], int(code), np.stack(xyz, axis=1)))
    return Roads.of(at_origin(lines, origin, place))


def _lights(states: Any, origin: Any, steps: int, place: Place) -> Lights | None:
    if not states:
        return None
    if not isinstance(states, dict):
        raise place.error("tl_states", f"is {states!r:.60}; a table by lane is wanted")
    lanes, positions, shown = [], [], np.full((len(states), steps), -1, np.int8)
    for row, (lane, table) in enumerate(states.items()):
        where = f"tl_states[{lane[:20]!r}]"
        words = get(table, "state", list, place, where)
        times = numbers(get(table, "time_index", list, place, where), place, f"{where}.time_index")
        axes = [
            numbers(table.get(axis, [0.0] * len(words)), place, f"{where}.{axis}") for axis in "xyz"
        ]
        if not lane.lstrip("-").isdigit() or len(lane) > 18:
            raise place.error(where, "is no number of a lane")
        if {len(times), *(len(axis) for axis in axes)} != {len(words)} or not words:
            raise place.error(where, "has lists of unequal lengths, or of none")
        if not all(isinstance(word, str) and word in LIGHT_STATES for word in words):
            raise place.error(f"{where}.state", f"has others than {', '.join(LIGHT_STATES)}")
        if (times != np.floor(times)).any() or (times < 0).any() or (times >= steps).any():
            raise place.error(f"{where}.time_index", f"is not from 0 to {steps - 1}")
        lanes.append(int(lane))
        positions.append([axis[0] - start for axis, start in zip(axes, origin, strict=True)])
        shown[row, times.astype(int)] = [LIGHT_STATES.index(word) for word in words]
    try:
        return Lights.of(lanes, positions, shown)
    except SceneError as error:
        raise place.error("tl_states", str(error)) from None


def _of_interest(metadata: dict[str, Any], ids: list[int]) -> list[int]:
    """Returns rows of objects of interest, then of those whose way is to be foretold."""
    rows = {one: row for row, one in enumerate(ids)}
    named: Any = metadata.get("objects_of_interest")
    entries: Any = metadata.get("tracks_to_predict")
    out = [rows.get(one, -1) for one in named if type(one) is int] if is_list(named) else []
    for entry in entries if is_list(entries) else ():
        row = entry.get("track_index") if isinstance(entry, dict) else None
        out.append(row if type(row) is int else -1)
    return list(dict.fromkeys(row for row in out if 0 <= row < len(ids)))
