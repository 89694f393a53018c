"""What the readers of recorded scenes share: places for errors, tracks of raw numbers, origins."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.edits import as_heading, wrapped
from selfdrive_env.scenes.roads import Line
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import BICYCLE, OTHER, PEDESTRIAN, VEHICLE, Tracks

__all__ = [
    *(
        "MAX_BYTES",
        "MAX_CELLS",
        "MAX_COORDINATE",
        "Place",
        "Record",
        "at_origin",
        "make_tracks",
        "numbered",
    ),
    *("origin_of", "read_bytes", "velocities", "what_it_is"),
]

MAX_BYTES = 1 << 29
"""Longest file of one scene after decompression."""

MAX_CELLS = 20_000_000
"""Most agents times steps of a scene, and most points of its road."""

MAX_COORDINATE, MAX_SPEED, MAX_SIZE = 1e8, 1e3, 60.0

SIZE = {
    VEHICLE: (4.5, 1.9, 1.6),
    PEDESTRIAN: (0.6, 0.6, 1.7),
    BICYCLE: (1.9, 0.7, 1.7),
    OTHER: (1.0, 1.0, 1.0),
}
"""Length, width and height of a kind where a file has none [m]."""

KIND_NAMES = {
    "vehicle": VEHICLE,
    "pedestrian": PEDESTRIAN,
    "cyclist": BICYCLE,
    "bicycle": BICYCLE,
}
"""Words of files for kinds, in small letters; every other word is OTHER."""

BEGINNINGS = (
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a zip archive (.npz is one)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"\x89PNG", "a picture"),
    (b"SDEPISOD", "an episode of this package"),
    (b"\x93NUMPY", "a single NumPy array"),
)


class Place(NamedTuple):
    """Where something stands, for errors: the file, and which record of it."""

    file: str
    record: int | None = None

    def __str__(self) -> str:
        return self.file if self.record is None else f"{self.file}, record {self.record}"

    def error(self, field: str, message: str) -> SceneError:
        """Returns an error that names file, record and field."""
        return SceneError(f"{self}: {field} {message}")


class Record(NamedTuple):
    """One scene of a file that is not read yet."""

    name: str
    """Unique within the file, fit for a file's name."""

    read: Callable[[], Scene]
    """Returns the scene, or raises a SceneError that says why there is none."""


def what_it_is(head: bytes) -> str:
    """Returns what a file is that begins so, for a sentence."""
    for beginning, name in BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a pickle"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    names = {b"<": "XML", b"{": "JSON", b"[": "JSON", b"": "empty"}
    return names.get(text, "something else")


def read_bytes(path: Path) -> bytes:
    """Returns what is in a file, decompressed where its name ends in .gz or .xz.

    Raises:
        SceneError: It is too long, or a damaged archive.
        FileNotFoundError: There is no such file.
    """
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix.lower(), open)(path, "rb") as file:
            content: bytes = file.read(MAX_BYTES + 1)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise SceneError(f"{path.name}: damaged or truncated archive ({error})") from None
    if len(content) > MAX_BYTES:
        raise SceneError(f"{path.name}: more than {MAX_BYTES} bytes; one scene has not so many")
    return content


def origin_of(
    x: Any, y: Any, z: Any, valid: NDArray[np.bool_], place: Place
) -> tuple[float, float, float]:
    """Returns a place in the middle of what was recorded, in whole metres."""
    if not valid.any():
        raise place.error("tracks", "are valid nowhere; a scene needs an agent")
    x, y, z = (float(np.round(np.mean(np.clip(a[valid], -1e8, 1e8)))) for a in (x, y, z))
    return tuple(v if np.isfinite(v) else 0.0 for v in (x, y, z))  # type: ignore[return-value]


def at_origin(lines: list[Line], origin: tuple[float, float, float], place: Place) -> list[Line]:
    """Returns lines around an origin, after a check of their numbers."""
    out = []
    for line in lines:
        points = np.asarray(line.points, np.float64) - origin
        if not (np.abs(points) <= MAX_COORDINATE).all():
            raise place.error(f"road {line.id}", "has points that are no numbers below 1e8 m")
        out.append(line._replace(points=points))
    return out


def numbered(names: list[str]) -> list[int]:
    """Returns names as numbers; those that are none, such as "ego", come after the others."""
    numbers = [
        int(name) if name.isascii() and name.isdigit() and len(name) < 18 else -1 for name in names
    ]
    if len(set(numbers) - {-1}) < sum(number >= 0 for number in numbers):
        return list(range(len(names)))  # two names of one number
    free = max([*numbers, 0]) + 1
    for place, number in enumerate(numbers):
        if number < 0:
            numbers[place], free = free, free + 1
    return numbers


def velocities(x: Any, y: Any, valid: Any, dt: float) -> tuple[Any, Any]:
    """Returns velocities of tracks that have none, [agent, step] each: central differences."""
    before = np.concatenate([np.zeros_like(valid[:, :1]), valid[:, :-1]], axis=1) & valid
    after = np.concatenate([valid[:, 1:], np.zeros_like(valid[:, :1])], axis=1) & valid
    out = []
    for value in (x, y):
        value = np.where(valid, value, 0.0)
        back = np.diff(value, axis=1, prepend=value[:, :1]) * before
        forth = np.diff(value, axis=1, append=value[:, -1:]) * after
        out.append((back + forth) / (dt * np.maximum(before.astype(int) + after, 1)))
    return out[0], out[1]


def make_tracks(
    place: Place,
    series: dict[str, Any],
    valid: NDArray[np.bool_],
    *,
    id: Any,
    kind: Any,
    sizes: Any,
    origin: tuple[float, float, float],
    middle: bool = False,
) -> Tracks:
    """Returns tracks around an origin, after a check of every number that counts.

    Args:
        place: Of the record, for errors.
        series: x, y, z, heading, vx, vy of the source, each [agent, step].
        valid: [agent, step]
        id: [agent]
        kind: [agent], code of a kind.
        sizes: Length, width and height, [agent, 3]; what is not positive becomes usual [m].
        origin: Taken from all coordinates [m].
        middle: Whether z is that of the middle of the body, not of the ground.
    """
    kinds, sizes = np.asarray(kind, np.uint8), np.array(sizes, np.float64).reshape(-1, 3)
    sizes[~np.isfinite(sizes)] = 0.0
    usual = np.array([SIZE[int(code)] for code in kinds]).reshape(-1, 3)
    sizes = np.where(sizes > 0.05, sizes, usual)
    for row in np.flatnonzero((sizes > MAX_SIZE).any(axis=1)).tolist():
        raise place.error(
            f"track {id[row]}", f"is {sizes[row].max():g} m long, at most 60 m may be"
        )
    limits = dict.fromkeys(("x", "y", "z"), MAX_COORDINATE) | dict.fromkeys(("vx", "vy"), MAX_SPEED)
    out = {}
    for name, value in series.items():
        value = np.where(valid, np.asarray(value, np.float64), 0.0)
        high = limits.get(name, 1e6)
        for row, step in np.argwhere(~(np.abs(value) <= high)).tolist():
            raise place.error(
                f"{name} of track {id[row]}",
                f"is {value[row, step]:g} at step {step}, where it is valid; a number up to "
                f"{high:g} is wanted",
            )
        out[name] = value
    if middle:
        out["z"] = out["z"] - 0.5 * sizes[:, 2:]
    for name, start in zip(("x", "y", "z"), origin, strict=True):
        out[name] = np.where(valid, out[name] - start, 0.0)
    heading = as_heading(wrapped(out["heading"]))
    names, counts = np.unique(np.asarray(id, np.int64), return_counts=True)
    if (counts > 1).any():
        raise place.error("tracks", f"have the id {names[counts > 1][0]} more than once")
    return Tracks(
        id=np.asarray(id, np.int64),
        kind=kinds,
        length=sizes[:, 0].astype(np.float32),
        width=sizes[:, 1].astype(np.float32),
        height=sizes[:, 2].astype(np.float32),
        x=out["x"],
        y=out["y"],
        z=out["z"],
        heading=np.where(valid, heading, np.float32(0.0)),
        vx=out["vx"].astype(np.float32),
        vy=out["vy"].astype(np.float32),
        valid=np.asarray(valid, np.bool_),
    )
