"""Lists of dataclasses as named arrays, and named arrays in files that hold no code.

A file is a safetensors file: its header names the kind and the version of what it holds, and has
a checksum of the arrays, so that one that was cut, changed or made by another program is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import reprlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from selfdrive_env.config.files import write_whole

__all__ = [
    "SPARSE",
    "Arrays",
    "digest",
    "from_text",
    "glance",
    "pack",
    "read",
    "to_text",
    "unpack",
    "write",
]

Arrays = dict[str, NDArray[Any]]

Taken = TypeVar("Taken")

CHECKSUM = "crc32"
"""Key of the checksum in the header of a file."""

SPARSE = {"sparse": True}
"""Metadata of a field that is left out where all items have its default."""

ONE = -1
"""Stands for the length of what is a single point and no list of points."""


def pack(items: Sequence[Any], kind: type, name: str) -> Arrays:
    """Returns the fields of dataclasses as arrays, "name.field" and what belongs to it.

    Args:
        items: All of one kind.
        kind: Its fields are annotated str, int, float, list[int], list[tuple[int, float]] or
            Points ([P, 3] or [3], float64).
        name: Of the list.

    Raises:
        ValueError: For items of another kind, or with values that do not fit the annotations.
    """
    if not isinstance(items, list | tuple) or not all(isinstance(one, kind) for one in items):
        raise ValueError(f"{name} must be a list of {kind.__name__}, got {reprlib.repr(items)}")
    out: Arrays = {f"{name}.count": np.array([len(items)], np.int64)}
    for field in dataclasses.fields(kind):
        encode = _CODECS[str(field.type)][0]
        values = [getattr(item, field.name) for item in items]
        if field.metadata.get("sparse") and all(value == _default(field) for value in values):
            continue
        try:
            parts = encode(values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name}.{field.name} cannot be kept: {error}") from None
        out.update({f"{name}.{field.name}{part}": array for part, array in parts.items()})
    return out


def unpack(arrays: Mapping[str, NDArray[Any]], kind: type, name: str) -> list[Any]:
    """Returns the dataclasses that `pack` was given; a ValueError for other arrays.

    Args:
        arrays: Those of `pack`, and others.
        kind: As for `pack`.
        name: As for `pack`.
    """
    num = int(_column(arrays, f"{name}.count", np.int64, 1)[0])
    columns = {}
    for field in dataclasses.fields(kind):
        key = f"{name}.{field.name}"
        if field.metadata.get("sparse") and key not in arrays:
            columns[field.name] = [_default(field) for _ in range(num)]
            continue
        columns[field.name] = _CODECS[str(field.type)][1](arrays, key)
        if len(columns[field.name]) != num:
            raise ValueError(f"{key} has {len(columns[field.name])} entries, not {num}")
    names = list(columns)
    return [
        kind(**dict(zip(names, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    """Returns the default of a field, anew where a function makes it."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def to_text(value: Any) -> NDArray[np.uint8]:
    """Returns a value that JSON can hold as an array of bytes."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8).copy()


def from_text(arrays: Mapping[str, NDArray[Any]], name: str) -> Any:
    """Returns the value that `to_text` turned into the array of that name, else a ValueError."""
    try:
        return json.loads(_column(arrays, name, np.uint8).tobytes())
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Returns the SHA-256 of arrays with their names, types and shapes, in hexadecimal digits."""
    found = hashlib.sha256()
    for about, data in _contents(arrays):
        found.update(about)
        found.update(data)
    return found.hexdigest()


def write(path: Path, header: str, version: int, arrays: Arrays) -> None:
    """Writes a file in one step: whoever reads it sees all of it or none.

    Args:
        path: Where to.
        header: Names what the file holds.
        version: Of the format.
        arrays: What it holds.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about = {header: str(version), CHECKSUM: _checksum(arrays)}
    write_whole(path, safetensors.numpy.save(arrays, about))


def read(path: Path, header: str, version: int) -> Arrays:
    """Returns the arrays of a file that `write` made; a ValueError says why there are none.

    Args:
        path: Of the file.
        header: As for `write`.
        version: As for `write`.
    """

    def all_of(file: Any) -> Arrays:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    about, arrays = _open(path, header, version, all_of)
    if about.get(CHECKSUM) != _checksum(arrays):
        raise ValueError(f"it is damaged: its {CHECKSUM} is another")
    return {name: a if a.flags.writeable else a.copy() for name, a in arrays.items()}


def glance(
    path: Path, header: str, version: int, *names: str
) -> tuple[dict[str, tuple[int, ...]], Arrays]:
    """Returns the shapes of all arrays of a file and a few of these; little of it is read.

    The checksum stays unknown: `read` finds what is damaged.

    Args:
        path: Of the file.
        header: As for `write`.
        version: As for `write`.
        *names: Of the arrays that are wanted.

    Raises:
        ValueError: As for `read`, or if one of these is missing.
    """

    def some_of(file: Any) -> tuple[dict[str, tuple[int, ...]], Arrays]:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return shapes, {name: file.get_tensor(name) for name in names}

    return _open(path, header, version, some_of)[1]


def _open(
    path: Path, header: str, version: int, take: Callable[[Any], Taken]
) -> tuple[dict[str, str], Taken]:
    """Returns the header of a file and what a function takes from it."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            taken = take(file)
    except FileNotFoundError:
        raise
    # A type that NumPy does not have is a KeyError, an ImportError or an AttributeError.
    except (safetensors.SafetensorError, OSError, LookupError, TypeError, ImportError,
        AttributeError, ValueError) as error:  # fmt: skip
        raise ValueError(f"it is damaged, or another program wrote it ({error})") from None
    if header not in about:
        raise ValueError(f"its header has no {header!r}: another program wrote it")
    if about[header] != str(version):
        raise ValueError(f"it has version {about[header][:20]}, this package reads {version}")
    return about, taken


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Returns what every changed bit changes, in a third of the time of `digest`."""
    found = 0
    for about, data in _contents(arrays):
        found = zlib.crc32(data, zlib.crc32(about, found))
    return f"{found:08x}"


def _contents(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[bytes, Any]]:
    """Yields name, type and shape of each array, and its bytes, in the order of names."""
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        about = f"{name} {array.dtype.str} {array.shape} ".encode()
        yield about, array.data.cast("B") if array.size else b""


def _column(
    arrays: Mapping[str, NDArray[Any]], name: str, kind: Any, length: int | None = None
) -> NDArray[Any]:
    """Returns an array of one axis after checks of its type and length."""
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"{name} is missing")
    if array.dtype != kind or array.ndim != 1 or length not in (None, len(array)):
        raise ValueError(f"{name} has type {array.dtype} and shape {array.shape}")
    return array


def _texts(arrays: Mapping[str, NDArray[Any]], name: str) -> list[str]:
    values = from_text(arrays, name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is no list of texts")
    return values


def _integers(values: list[Any]) -> NDArray[np.int64]:
    """Returns whole numbers as an array; others are a TypeError, even if they end in .0."""
    for value in values:
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            raise TypeError(f"it must be a whole number, got {value!r}")
    return np.array(values, np.int64)


def _floats(values: list[Any]) -> NDArray[np.float64]:
    """Returns numbers as an array; others are a TypeError."""
    for value in values:
        if not isinstance(value, int | float | np.integer | np.floating):
            raise TypeError(f"it must be a number, got {value!r}")
    return np.array(values, np.float64)


def _lists(values: list[Any]) -> Arrays:
    return {"": _integers([one for value in values for one in value]), ".length": _lengths(values)}


def _pairs(values: list[Any]) -> Arrays:
    pairs = [pair for value in values for pair in value]
    return {
        "": _integers([first for first, _ in pairs]),
        ".second": _floats([second for _, second in pairs]),
        ".length": _lengths(values),
    }


def _points(values: list[Any]) -> Arrays:
    arrays = [np.asarray(value, np.float64) for value in values]
    for array in arrays:
        if array.ndim not in (1, 2) or array.shape[-1] != 3:
            raise ValueError(f"points must be [P, 3] or [3], got {list(array.shape)}")
    joined = np.concatenate([np.zeros((0, 3)), *(array.reshape(-1, 3) for array in arrays)])
    lengths = [len(array) if array.ndim > 1 else ONE for array in arrays]
    return {"": joined.reshape(-1), ".length": np.array(lengths, np.int64)}


def _lengths(values: list[Any]) -> NDArray[np.int64]:
    return np.array([len(value) for value in values], np.int64)


def _split(
    joined: Any, arrays: Mapping[str, NDArray[Any]], name: str, *, shortest: int = 0
) -> list[Any]:
    """Returns the lists that were joined; `shortest` says whether one may be `ONE`."""
    lengths = _column(arrays, f"{name}.length", np.int64)
    sizes = np.where(lengths == ONE, 1, lengths)
    if (lengths < shortest).any() or (sizes > len(joined)).any() or sizes.sum() != len(joined):
        raise ValueError(f"{name} has lists of other lengths than its {len(joined)} entries")
    ends = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    parts = [joined[start:end] for start, end in pairwise(ends)]
    return [
        part[0] if one else part for part, one in zip(parts, (lengths == ONE).tolist(), strict=True)
    ]


def _split_pairs(arrays: Mapping[str, NDArray[Any]], name: str) -> list[Any]:
    first = _column(arrays, name, np.int64)
    second = _column(arrays, f"{name}.second", np.float64, len(first))
    return _split(list(zip(first.tolist(), second.tolist(), strict=True)), arrays, name)


def _split_points(arrays: Mapping[str, NDArray[Any]], name: str) -> list[Any]:
    joined = _column(arrays, name, np.float64)
    if len(joined) % 3:
        raise ValueError(f"{name} has {len(joined)} numbers, which are no points of three")
    return _split(joined.reshape(-1, 3), arrays, name, shortest=ONE)


_CODECS: dict[str, tuple[Callable[[list[Any]], Arrays], Callable[[Any, str], list[Any]]]] = {
    "str": (lambda values: {"": to_text([str(value) for value in values])}, _texts),
    "int": (
        lambda values: {"": _integers(values)},
        lambda arrays, name: _column(arrays, name, np.int64).tolist(),
    ),
    "float": (
        lambda values: {"": _floats(values)},
        lambda arrays, name: _column(arrays, name, np.float64).tolist(),
    ),
    "list[int]": (
        _lists,
        lambda arrays, name: _split(_column(arrays, name, np.int64).tolist(), arrays, name),
    ),
    "list[tuple[int, float]]": (_pairs, _split_pairs),
    "Points": (_points, _split_points),
}
"""How a field of each annotation becomes arrays, by what follows its name, and comes back."""
