"""Reads one Scenario of the Waymo Open Motion Dataset: tracks, lights, lanes with their links."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.readers.recorded import (
    MAX_CELLS,
    Place,
    at_origin,
    make_tracks,
    origin_of,
)
from selfdrive_env.scenes.readers.womd.wire import (
    Message,
    Rows,
    WireError,
    fields,
    floats,
    integers,
    message,
    signed,
    text,
)
from selfdrive_env.scenes.roads import (
    ENTRY,
    EXIT,
    LEFT,
    LIGHT_STATES,
    RIGHT,
    STOP,
    Lights,
    Line,
    Roads,
)
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import BICYCLE, OTHER, PEDESTRIAN, VEHICLE

__all__ = ["TYPES", "read"]

TYPES = {1: VEHICLE, 2: PEDESTRIAN, 3: BICYCLE}
"""Code of an object's type -> kind; 0 and 4 are OTHER."""

MPH = 0.44704
"""[m/s]"""

STATE = ((2, "d"), (3, "d"), (4, "d"), (5, "f"), (6, "f"), (7, "f"), (8, "f"), (9, "f"),
    (10, "f"), (11, "?"))  # fmt: skip
"""Fields of an ObjectState: x, y, z, length, width, height, heading, vx, vy, valid."""

POINT = ((1, "d"), (2, "d"), (3, "d"))
MAX_STATES = 2_000_000
"""Most states of a track, and points of a line."""

STATES = Rows(3, STATE, MAX_STATES)
POINTS = {field: Rows(field, POINT, MAX_STATES) for field in (1, 2, 3, 8)}
"""Field that points stand in -> what reads them."""

COLUMN = {number: place for place, (number, _) in enumerate(STATE)}
LENGTH, VALID = COLUMN[5], COLUMN[11]

LINE_TYPES = {0: 5, **{code: code + 5 for code in range(1, 9)}}
EDGE_TYPES = {0: 14, 1: 15, 2: 16}
AREAS = {8: 18, 9: 19, 10: 20}
"""Field of a MapFeature that is an area -> code of a line."""


def read(data: Message, place: Place, source: str) -> Scene:
    """Returns the scene of a Scenario.

    Args:
        data: Its bytes.
        place: Where it stands, for errors.
        source: Of the scene.
    """
    parts = _gathered(data)
    times = floats(parts[1], "timestamps_seconds", 8)
    tracks = [_track(message(track, "tracks")) for track in parts[2]]
    if not tracks:
        raise WireError("it has no tracks")
    steps = len(tracks[0][2])
    if len(tracks) * steps > MAX_CELLS:
        raise place.error("tracks", f"are {len(tracks)} of {steps} steps, too many to keep")
    for name, _, states in tracks:
        if len(states) != steps:
            raise place.error(
                f"track {name}", f"has {len(states)} states, the first one has {steps}"
            )
    if len(times) not in (0, steps):
        raise place.error("timestamps_seconds", f"are {len(times)}, tracks have {steps} states")
    states = np.stack([states for _, _, states in tracks])
    valid = states[..., VALID] > 0.0
    x, y, z = (states[..., COLUMN[number]] for number in (2, 3, 4))
    origin = origin_of(x, y, z, valid, place)
    current = signed(parts[10][-1], "current_time_index") if parts[10] else 0
    if not 0 <= current < steps:
        raise place.error("current_time_index", f"is {current}; 0 to {steps - 1} is wanted")
    body = _body_tracks(states, valid, tracks, origin, place)
    ego = signed(parts[6][-1], "sdc_track_index") if parts[6] else -1
    if not -1 <= ego < len(tracks):
        raise place.error("sdc_track_index", f"is {ego}, there are {len(tracks)} tracks")
    rows = {name: row for row, (name, _, _) in enumerate(tracks)}
    chosen = [rows[n] for n in integers(parts[4], "objects_of_interest").tolist() if n in rows]
    foretold = [_first(message(one, "tracks_to_predict"), 1) for one in parts[11]]
    chosen += [row for row in foretold if 0 <= row < len(tracks)]
    return Scene.recorded(
        body,
        current=current,
        ego=ego,
        of_interest=list(dict.fromkeys(chosen)),
        roads=_roads(parts[8], origin, place),
        lights=_lights(parts[7], origin, steps, place),
        dt=_step(times, place),
        name=text(parts[5][-1], "scenario_id")[:200] if parts[5] else "",
        origin=origin,
        source=source,
    )


def _gathered(data: Message) -> dict[int, list[Any]]:
    """Returns the values of a message by the number of their field."""
    out: dict[int, list[Any]] = defaultdict(list)
    for number, value in fields(data):
        out[number].append(value)
    return out


def _first(data: Message, wanted: int, default: int = 0) -> int:
    """Returns a whole number of a message."""
    for number, value in fields(data):
        if number == wanted:
            return signed(value)
    return default


def _step(times: NDArray[np.float64], place: Place) -> float:
    """Returns the time between two moments, to the millisecond [s]."""
    if len(times) < 2:
        return 0.1
    step = float(np.median(np.diff(times)))
    if not 1e-3 <= step <= 10.0 or not np.allclose(np.diff(times), step, atol=0.5 * step):
        raise place.error("timestamps_seconds", "are not at equal steps of 0.001 to 10 s")
    return round(step, 3)


def _track(data: Message) -> tuple[int, int, NDArray[np.float64]]:
    """Returns id, type and states [step, field] of a track."""
    parts, states = STATES.gather(data)
    name = signed(parts[1][-1], "track.id") if parts[1] else 0
    kind = signed(parts[2][-1], "track.object_type") if parts[2] else 0
    return name, kind, states


def _body_tracks(
    states: NDArray[np.float64], valid: NDArray[np.bool_], tracks: Any, origin: Any, place: Place
) -> Any:
    """Returns the tracks; the size of a body is the middle one of its valid states."""
    names = ("x", "y", "z", "heading", "vx", "vy")
    series = {
        name: states[..., COLUMN[number]]
        for name, number in zip(names, (2, 3, 4, 8, 9, 10), strict=True)
    }
    sizes = np.zeros((len(tracks), 3))
    for row, there in enumerate(valid):
        if there.any():
            sizes[row] = np.median(states[row, there, LENGTH : LENGTH + 3], axis=0)
    return make_tracks(
        place,
        series,
        valid,
        id=[name for name, _, _ in tracks],
        kind=[TYPES.get(kind, OTHER) for _, kind, _ in tracks],
        sizes=sizes,
        origin=origin,
        middle=True,
    )


def _roads(features: list[Any], origin: Any, place: Place) -> Roads | None:
    lines: list[Line] = []
    links: list[tuple[int, int, int]] = []
    total = 0
    for feature in features:
        name, kinds = 0, []
        for number, value in fields(message(feature, "map_features")):
            if number == 1:
                name = signed(value, "map_features.id")
            elif number in (3, 4, 5, 7, 8, 9, 10):
                kinds.append((number, message(value, "map_features")))
        for number, value in kinds[:1]:
            line = _feature(name, number, value, links)
            total += len(line.points)
            if total > MAX_CELLS:
                raise place.error("map_features", f"have more than {MAX_CELLS} points")
            lines.append(line)
    if not lines:
        return None
    try:
        return Roads.of(at_origin(lines, origin, place), links)
    except SceneError as error:
        raise place.error("map_features", f"do not fit: {error}") from None


def _feature(name: int, number: int, value: Message, links: list[Any]) -> Line:
    """Returns a feature of the map as a line."""
    field = 1 if number in AREAS else 8 if number == 3 else 2
    parts, points = POINTS[field].gather(value)
    if number in AREAS:
        return Line(name, AREAS[number], points)
    if number == 7:
        links += [(name, STOP, lane) for lane in integers(parts[1], "stop_sign.lane").tolist()]
        return Line(name, 17, points)
    if number in (4, 5):
        kind = signed(parts[1][-1]) if parts[1] else 0
        known = LINE_TYPES if number == 4 else EDGE_TYPES
        return Line(name, known.get(kind, known[0]), points)
    for link, place in ((ENTRY, 9), (EXIT, 10)):
        links += [(name, link, lane) for lane in integers(parts[place], "lanes").tolist()]
    for link, place in ((LEFT, 11), (RIGHT, 12)):
        links += [(name, link, _first(message(one), 1)) for one in parts[place]]
    kind = signed(parts[2][-1]) if parts[2] else 0
    limit = floats(parts[1][-1:], "speed_limit_mph", 8)
    speed = float(limit[0]) * MPH if len(limit) else 0.0
    if not 0.0 <= speed <= 100.0:
        raise WireError(f"lane {name} has a speed limit of {limit[0]:g} mph")
    return Line(name, kind if 0 <= kind <= 3 else 0, points, speed)


def _lights(moments: list[Any], origin: Any, steps: int, place: Place) -> Lights | None:
    if len(moments) not in (0, steps):
        raise place.error("dynamic_map_states", f"are {len(moments)}, tracks have {steps} states")
    rows: dict[int, int] = {}
    seen: list[tuple[int, int, int]] = []
    positions: list[NDArray[np.float64]] = []
    for step, moment in enumerate(moments):
        for number, value in fields(message(moment, "dynamic_map_states")):
            if number != 1:
                continue
            parts, points = POINTS[3].gather(message(value, "lane_states"))
            lane = signed(parts[1][-1], "lane_states.lane") if parts[1] else 0
            state = signed(parts[2][-1], "lane_states.state") if parts[2] else 0
            if not 0 <= state < len(LIGHT_STATES):
                raise place.error("lane_states.state", f"is {state} at step {step}")
            if lane not in rows:
                rows[lane] = len(rows)
                positions.append(points[0] if len(points) else np.array(origin))
            seen.append((rows[lane], step, state))
    if not rows:
        return None
    shown = np.full((len(rows), steps), -1, np.int8)
    for row, step, state in seen:
        shown[row, step] = state
    try:
        return Lights.of(rows, np.stack(positions) - origin, shown)
    except SceneError as error:
        raise place.error("lane_states.stop_point", str(error)) from None
