"""Reads one tf.Example of the Waymo Open Motion Dataset, the form with arrays by name.

Lane links and speed limits are not in it; its SDC paths are not read.
"""

from __future__ import annotations

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
from selfdrive_env.scenes.readers.womd.scenario import TYPES
from selfdrive_env.scenes.readers.womd.wire import (
    Message,
    WireError,
    fields,
    floats,
    integers,
    message,
    text,
)
from selfdrive_env.scenes.roads import LIGHT_STATES, ROAD_TYPES, Lights, Line, Roads
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import OTHER

__all__ = ["read"]

WHEN = ("past", "current", "future")
SERIES = {
    **{"x": "x", "y": "y", "z": "z", "heading": "bbox_yaw"},
    **{"vx": "velocity_x", "vy": "velocity_y"},
}
FLOATS, INTEGERS, TEXTS = 2, 3, 1
"""Fields of a Feature."""

MAX_FEATURES = 10_000


class Example:
    """The features of an example by name, each parsed when it is asked for.

    Args:
        data: Its bytes.
        place: Where it stands, for errors.
    """

    def __init__(self, data: Message, place: Place) -> None:
        self.place = place
        self._features: dict[str, Message] = {}
        for number, features in fields(data):
            for entry, value in fields(message(features)) if number == 1 else ():
                if entry == 1:
                    self._add(message(value))

    def _add(self, entry: Message) -> None:
        name, feature = "", memoryview(b"")
        for number, value in fields(entry):
            if number == 1:
                name = text(value, "the name of a feature")
            elif number == 2:
                feature = message(value)
        self._features[name] = feature
        if len(self._features) > MAX_FEATURES:
            raise self.place.error("features", f"are more than {MAX_FEATURES}")

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def array(self, name: str, kind: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns a feature as an array; an axis may be -1."""
        if name not in self._features:
            raise self.place.error(name, "is missing; a tf.Example of WOMD has it")
        out: NDArray[Any] = np.zeros(0)
        for number, value in fields(self._features[name]):
            if number != kind:
                raise self.place.error(name, f"is a list of kind {number}, {kind} is wanted")
            inside = [one for key, one in fields(message(value)) if key == 1]
            out = (floats if kind == FLOATS else integers)(inside, name)
        try:
            return out.reshape(shape)
        except ValueError:
            raise self.place.error(
                name, f"has {len(out)} numbers, which are no array of {list(shape)}"
            ) from None

    def name(self) -> str:
        """Returns the id of the scenario, "" where there is none."""
        for number, value in fields(self._features.get("scenario/id", memoryview(b""))):
            for _, inside in fields(message(value)) if number == TEXTS else ():
                return text(inside, "scenario/id")[:200]
        return ""


def read(data: Message, place: Place, source: str) -> Scene:
    """Returns the scene of an example.

    Args:
        data: Its bytes.
        place: Where it stands, for errors.
        source: Of the scene.
    """
    example = Example(data, place)
    if "state/current/x" not in example:
        raise WireError("its features are others than those of the motion data set")
    num = len(example.array("state/current/x", FLOATS, (-1,)))
    series = {name: _states(example, key, FLOATS, num) for name, key in SERIES.items()}
    valid = _states(example, "valid", INTEGERS, num) > 0
    rows = np.flatnonzero(valid.any(axis=1))
    if not len(rows):
        raise place.error("state/valid", "is nowhere 1; a scene needs an agent")
    series = {name: value[rows] for name, value in series.items()}
    valid, steps = valid[rows], valid.shape[1]
    for value in series.values():
        if value.shape != valid.shape:
            raise place.error("state", f"has arrays of {value.shape[1]} and {steps} steps")
    sizes = np.zeros((len(rows), 3))
    for column, name in enumerate(("length", "width", "height")):
        found = _states(example, name, FLOATS, num)[rows]
        if found.shape != valid.shape:
            raise place.error(f"state/{name}", f"has {found.shape[1]} steps, not {steps}")
        for row, there in enumerate(valid):
            sizes[row, column] = np.median(found[row, there])
    kinds = [TYPES.get(int(code), OTHER) for code in _column(example, "type", FLOATS, num)[rows]]
    ids = _column(example, "id", FLOATS, num)[rows]
    if not (np.abs(ids) < 2**53).all():
        raise place.error("state/id", "has what is no number of an object")
    origin = origin_of(series["x"], series["y"], series["z"], valid, place)
    tracks = make_tracks(
        place, series, valid, id=ids.astype(np.int64), kind=kinds, sizes=sizes, origin=origin,
        middle=True,
    )  # fmt: skip
    ego = np.flatnonzero(_column(example, "is_sdc", INTEGERS, num)[rows] == 1)
    chosen: list[int] = []
    for name in ("objects_of_interest", "tracks_to_predict"):
        if f"state/{name}" in example:
            flags = _column(example, name, INTEGERS, num)[rows]
            chosen += np.flatnonzero(flags == 1).tolist()
    past = example.array("state/past/x", FLOATS, (num, -1)).shape[1]
    return Scene.recorded(
        tracks,
        current=past,
        ego=int(ego[0]) if len(ego) else -1,
        of_interest=list(dict.fromkeys(chosen)),
        roads=_roads(example, origin),
        lights=_lights(example, origin, steps),
        dt=_step(example, num),
        name=example.name(),
        origin=origin,
        source=source,
    )


def _column(example: Example, name: str, kind: int, num: int) -> NDArray[Any]:
    return example.array(f"state/{name}", kind, (num,))


def _states(example: Example, key: str, kind: int, num: int) -> NDArray[Any]:
    """Returns past, current and future of a feature of the objects, [object, step]."""
    parts = [
        example.array(f"state/{when}/{key}", kind, (num, -1))
        for when in WHEN
        if when != "future" or f"state/future/{key}" in example
    ]
    out = np.concatenate(parts, axis=1)
    if out.size > MAX_CELLS:
        raise example.place.error(f"state/{key}", f"has {out.size} numbers, too many to keep")
    return out


def _step(example: Example, num: int) -> float:
    """Returns the time between two moments, to the millisecond [s]."""
    if "state/current/timestamp_micros" not in example:
        return 0.1
    times = _states(example, "timestamp_micros", INTEGERS, num)
    steps = np.diff(times, axis=1)[(times[:, :-1] > -1) & (times[:, 1:] > -1)]
    steps = steps[steps > 0]
    found = round(float(np.median(steps)) * 1e-6, 3) if len(steps) else 0.1
    if not 1e-3 <= found <= 10.0:
        raise example.place.error("timestamp_micros", f"has steps of {found:g} s")
    return found


def _roads(example: Example, origin: Any) -> Roads | None:
    place, prefix = example.place, "roadgraph_samples"
    if f"{prefix}/xyz" not in example:
        return None
    xyz = example.array(f"{prefix}/xyz", FLOATS, (-1, 3))
    columns = {
        name: example.array(f"{prefix}/{name}", INTEGERS, (len(xyz),))
        for name in ("type", "id", "valid")
    }
    kept = columns["valid"] == 1
    xyz, kind, name = xyz[kept], columns["type"][kept], columns["id"][kept]
    # Points of one line stand in order, but may be apart from each other.
    order = np.argsort(name, kind="stable")
    xyz, kind, name = xyz[order], kind[order], name[order]
    if not len(name):
        return None
    starts = np.flatnonzero(np.diff(name, prepend=name[:1] - 1))
    ends = np.append(starts[1:], len(name))
    lines = []
    for start, end in zip(starts, ends, strict=True):
        code = int(kind[start])
        if code not in ROAD_TYPES:
            raise place.error(f"{prefix}/type", f"is {code}; one of {list(ROAD_TYPES)} is wanted")
        lines.append(Line(int(name[start]), code, xyz[start:end]))
    return Roads.of(at_origin(lines, origin, place))


def _lights(example: Example, origin: Any, steps: int) -> Lights | None:
    place, prefix = example.place, "traffic_light_state"
    if f"{prefix}/current/state" not in example:
        return None
    num = len(example.array(f"{prefix}/current/state", INTEGERS, (-1,)))
    columns = {}
    for name, kind in (
        *(("x", FLOATS), ("y", FLOATS), ("z", FLOATS)),
        *(("state", INTEGERS), ("id", INTEGERS), ("valid", INTEGERS)),
    ):
        parts = [
            example.array(f"{prefix}/{when}/{name}", kind, (-1, num))
            for when in WHEN
            if when != "future" or f"{prefix}/future/{name}" in example
        ]
        columns[name] = np.concatenate(parts)
        if len(columns[name]) != steps:
            raise place.error(f"{prefix}/{name}", f"has {len(columns[name])} steps, not {steps}")
    seen = columns["valid"] == 1
    lanes = np.unique(columns["id"][seen])
    if not len(lanes):
        return None
    position = np.zeros((len(lanes), 3))
    shown = np.full((len(lanes), steps), -1, np.int8)
    for row, lane in enumerate(lanes.tolist()):
        moments, places = np.nonzero(seen & (columns["id"] == lane))
        codes = columns["state"][moments, places]
        if ((codes < 0) | (codes >= len(LIGHT_STATES))).any():
            raise place.error(f"{prefix}/state", f"is not from 0 to {len(LIGHT_STATES) - 1}")
        shown[row, moments] = codes
        for axis, start in enumerate(origin):
            position[row, axis] = columns["xyz"[axis]][moments[0], places[0]] - start
    try:
        return Lights.of(lanes.tolist(), position, shown)
    except SceneError as error:
        raise place.error(prefix, str(error)) from None
