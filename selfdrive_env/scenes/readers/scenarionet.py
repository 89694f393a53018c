"""Reads scenes laid out as MetaDrive's and ScenarioNet's, kept in a .npz file without pickles.

The names of the arrays are the keys of the nested dictionary, joined by "/", as in
"tracks/12/state/position"; texts are arrays of text.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.readers.recorded import (
    KIND_NAMES,
    MAX_BYTES,
    MAX_CELLS,
    Place,
    Record,
    at_origin,
    make_tracks,
    numbered,
    origin_of,
    what_it_is,
)
from selfdrive_env.scenes.roads import (
    ENTRY,
    EXIT,
    LEFT,
    LIGHT_STATES,
    RIGHT,
    ROAD_TYPES,
    Lights,
    Line,
    Roads,
)
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import OTHER

__all__ = ["records"]

FORMAT = 'a scene in the layout of ScenarioNet (arrays "tracks/ID/state/position" and so on)'
MAX_MEMBERS = 200_000

NAMES = {
    **{name.upper(): code for code, name in ROAD_TYPES.items()},
    **{"LANE_UNKNOWN": 0, "LANE_SURFACE_UNSTRUCTURE": 2, "LANE_BIKE_LANE": 3, "UNKNOWN_LINE": 5},
    **{"GUARDRAIL": 15, "EDGE_SIDEWALK": 15, "BOUNDARY_LINE": 15},
}
"""Type of a feature without "ROAD_" -> code of a line."""

COLOURS = {"GREEN": 6, "YELLOW": 5, "RED": 4, "UNKNOWN": 0}
LIGHT_NAMES = {name.upper(): code for code, name in enumerate(LIGHT_STATES)}

LINKS = {
    **{"entry_lanes": ENTRY, "exit_lanes": EXIT},
    **{"left_neighbor": LEFT, "right_neighbor": RIGHT},
}
KMH, MPH = 1.0 / 3.6, 0.44704


def records(path: Path) -> Iterator[Record]:
    """Yields the scene of a file."""
    yield Record(path.name.removesuffix(".npz"), lambda: read(path))


def read(path: Path) -> Scene:
    """Returns the scene of a file."""
    place = Place(path.name)
    tree = Tree(_arrays(path, place), place)
    names = tree.keys("tracks")
    if not names:
        raise place.error("the file", f"has no tracks; {FORMAT} is wanted")
    steps = len(tree.numbers(f"tracks/{names[0]}/state/valid", 1))
    if not 1 <= steps * len(names) <= MAX_CELLS:
        raise place.error("tracks", f"are {len(names)} of {steps} steps")
    series = {key: np.zeros((len(names), steps)) for key in ("x", "y", "z", "heading", "vx", "vy")}
    valid, sizes = np.zeros((len(names), steps), bool), np.zeros((len(names), 3))
    for row, name in enumerate(names):
        state = f"tracks/{name}/state"
        valid[row] = tree.steps(f"{state}/valid", steps, 1)[:, 0] > 0
        position = tree.steps(f"{state}/position", steps, 2)
        velocity = tree.steps(f"{state}/velocity", steps, 2)
        for axis, column in zip("xyz", position.T, strict=False):
            series[axis][row] = column
        series["vx"][row], series["vy"][row] = velocity.T[:2]
        series["heading"][row] = tree.steps(f"{state}/heading", steps, 1)[:, 0]
        for column, size in enumerate(("length", "width", "height")):
            if valid[row].any() and f"{state}/{size}" in tree:
                found = tree.steps(f"{state}/{size}", steps, 1)[valid[row], 0]
                sizes[row, column] = np.median(found)
    kinds = [KIND_NAMES.get(tree.text(f"tracks/{n}/type", "").lower(), OTHER) for n in names]
    origin = origin_of(series["x"], series["y"], series["z"], valid, place)
    tracks = make_tracks(place, series, valid, id=numbered(names), kind=kinds, sizes=sizes,
        origin=origin, middle=True)  # fmt: skip
    rows = {name: row for row, name in enumerate(names)}
    current = int(tree.number("metadata/current_time_index", 0.0, steps - 1.0))
    return Scene.recorded(
        tracks,
        current=current,
        ego=rows.get(tree.text("metadata/sdc_id", ""), -1),
        of_interest=_of_interest(tree, rows),
        roads=_roads(tree, origin),
        lights=_lights(tree, origin, steps),
        dt=_step(tree, steps),
        name=tree.text("id", "")[:200],
        origin=origin,
        source=str(path),
    )


class Tree:
    """Arrays by names that are paths.

    Args:
        arrays: Of the file.
        place: Of the file, for errors.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], place: Place) -> None:
        self.arrays, self.place = arrays, place
        self._keys: dict[str, dict[str, None]] = {}
        for name in arrays:
            folder, _, rest = name.partition("/")
            self._keys.setdefault(folder, {})[rest.partition("/")[0]] = None

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def keys(self, folder: str) -> list[str]:
        """Returns what lies directly in a folder, in the order of the file."""
        return list(self._keys.get(folder, {}))

    def numbers(self, name: str, least: int = 0) -> NDArray[np.float64]:
        """Returns an array of numbers with at least so many axes."""
        array = self.arrays.get(name)
        if array is None:
            raise self.place.error(name, f"is missing; {FORMAT} has it")
        if array.dtype.kind not in "fiub" or array.ndim < least:
            raise self.place.error(
                name, f"is {array.dtype} of shape {array.shape}; an array of numbers is wanted"
            )
        return array.astype(np.float64)

    def steps(self, name: str, steps: int, width: int) -> NDArray[np.float64]:
        """Returns an array with an entry a step, [step, width or more]."""
        array = self.numbers(name)
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or len(array) != steps or array.shape[1] < width:
            raise self.place.error(
                name, f"has shape {self.arrays[name].shape}; {steps} steps of {width} are wanted"
            )
        return array

    def texts(self, name: str) -> list[str]:
        """Returns an array of texts, or of numbers, as texts."""
        array = self.arrays.get(name, np.zeros(0, "U1"))
        if array.dtype.kind not in "Uiu" or array.ndim > 1:
            raise self.place.error(name, f"is {array.dtype} of {array.shape}; texts are wanted")
        return [str(value) for value in np.atleast_1d(array).tolist()]

    def text(self, name: str, default: str) -> str:
        """Returns a text."""
        return (*self.texts(name), default)[0] if name in self else default

    def number(self, name: str, low: float, high: float, default: float = 0.0) -> float:
        """Returns a number within limits."""
        if name not in self:
            return default
        values = self.numbers(name).reshape(-1)
        if len(values) != 1 or not low <= values[0] <= high:
            raise self.place.error(name, f"must be a number from {low:g} to {high:g}")
        return float(values[0])


def _arrays(path: Path, place: Place) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a file; what would need a pickle is refused, and so is what is huge."""
    out: dict[str, NDArray[Any]] = {}
    left = MAX_BYTES
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if len(members) > MAX_MEMBERS:
                raise place.error("the file", f"has {len(members)} arrays")
            for member in members:
                left -= member.file_size
                if left < 0:
                    raise place.error("the file", f"unpacks to more than {MAX_BYTES} bytes")
                name = member.filename.removesuffix(".npy")
                out[name] = _array(file.read(member), name, place)
    except SceneError:
        raise
    # What a damaged directory of an archive leads to.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError,
        RuntimeError, OSError, ValueError) as error:  # fmt: skip
        with path.open("rb") as raw:
            kind = what_it_is(raw.read(64))
        told = f"is damaged ({error})" if "zip" in kind else f"is {kind}"
        raise place.error("the file", f"{told}; {FORMAT} in a .npz file is wanted") from None
    return out


def _array(content: bytes, name: str, place: Place) -> NDArray[Any]:
    """Returns an array of its bytes, whose header is believed only as far as they go."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        reader: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = reader(stream)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise place.error(name, "is no NumPy array") from None
    if dtype.hasobject:
        raise place.error(
            name,
            "holds Python objects, which only a pickle can: keep plain arrays (docs/scenes.md)",
        )
    data = content[stream.tell() :]
    if dtype.kind not in "fiubU" or math.prod(shape) * dtype.itemsize != len(data):
        raise place.error(name, f"is {dtype} of shape {shape}, with {len(data)} bytes")
    array = np.frombuffer(data, dtype) if data else np.zeros(0, dtype)
    return array.reshape(shape, order="F" if by_columns else "C")


def _of_interest(tree: Tree, rows: dict[str, int]) -> list[int]:
    """Returns rows of the tracks that the metadata name."""
    names = []
    for name in ("objects_of_interest", "tracks_to_predict"):
        names += tree.texts(f"metadata/{name}") if f"metadata/{name}" in tree else []
    return list(dict.fromkeys(rows[name] for name in names if name in rows))


def _step(tree: Tree, steps: int) -> float:
    """Returns the time between two moments, to the millisecond [s]."""
    for name in ("metadata/ts", "metadata/timestep"):
        if name in tree and steps > 1:
            times = tree.numbers(name).reshape(-1)
            step = float(np.median(np.diff(times))) if len(times) == steps else math.nan
            if not 1e-3 <= step <= 10.0:
                raise tree.place.error(name, f"must be {steps} times at steps of 0.001 to 10 s")
            return round(step, 3)
    return 0.1


def _roads(tree: Tree, origin: Any) -> Roads | None:
    names = tree.keys("map_features")
    ids = dict(zip(names, numbered(names), strict=True))
    lines, links = [], []
    for name in names:
        feature = f"map_features/{name}"
        word = tree.text(f"{feature}/type", "").upper().removeprefix("ROAD_")
        code = NAMES.get(word, -1)
        for key in ("polyline", "polygon", "position"):
            if f"{feature}/{key}" in tree:
                points = np.atleast_2d(tree.numbers(f"{feature}/{key}"))
                break
        else:
            raise tree.place.error(feature, "has neither polyline, polygon nor position")
        if points.ndim != 2 or points.shape[1] not in (2, 3):
            raise tree.place.error(f"{feature}/{key}", f"has shape {points.shape}, not [P, 3]")
        points = np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
        kmh = tree.number(f"{feature}/speed_limit_kmh", 0.0, 400.0)
        mph = tree.number(f"{feature}/speed_limit_mph", 0.0, 250.0)
        lines.append(Line(ids[name], code, points, kmh * KMH or mph * MPH))
        for key, link in LINKS.items():
            others = tree.texts(f"{feature}/{key}") if f"{feature}/{key}" in tree else []
            links += [(ids[name], link, ids[other]) for other in others if other in ids]
    return Roads.of(at_origin(lines, origin, tree.place), links) if lines else None


def _lights(tree: Tree, origin: Any, steps: int) -> Lights | None:
    names = tree.keys("dynamic_map_states")
    ids = dict(zip(tree.keys("map_features"), numbered(tree.keys("map_features")), strict=True))
    lanes, positions, shown = [], [], []
    for name in names:
        light = f"dynamic_map_states/{name}"
        words = tree.texts(f"{light}/state/object_state")
        if len(words) != steps:
            raise tree.place.error(
                f"{light}/state/object_state", f"has {len(words)} entries, {steps} are wanted"
            )
        lane = tree.text(f"{light}/lane", name)
        lanes.append(ids.get(lane, numbered([lane])[0]))
        where = np.array(origin)
        if f"{light}/stop_point" in tree:
            point = np.atleast_2d(tree.numbers(f"{light}/stop_point"))[0]
            where[: len(point[:3])] = point[:3]
        positions.append(where - origin)
        shown.append([_light_code(word, f"{light}/state/object_state", tree) for word in words])
    if not names:
        return None
    try:
        return Lights.of(lanes, positions, np.array(shown, np.int8))
    except SceneError as error:
        raise tree.place.error("dynamic_map_states", str(error)) from None


def _light_code(word: str, name: str, tree: Tree) -> int:
    """Returns what a word of MetaDrive says that a light shows, -1 for nothing."""
    short = word.upper().removeprefix("LANE_STATE_").removeprefix("TRAFFIC_LIGHT_")
    if short in ("", "NONE"):
        return -1
    if short in LIGHT_NAMES:
        return LIGHT_NAMES[short]
    if short not in COLOURS:
        raise tree.place.error(name, f"has {word[:30]!r}, which is no state of a light")
    return COLOURS[short]
