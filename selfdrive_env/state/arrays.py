"""Array types by element, and buffers made from the declarations of a struct."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

__all__ = ["F16", "F32", "F64", "I16", "I32", "I64", "U8", "U16", "U32", "Record", "allocate",
    "axes", "digest", "nbytes", "records", "strides_of", "zeros"]  # fmt: skip

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]

CACHE_LINE = 64
"""[bytes]"""

Struct = TypeVar("Struct", bound=NamedTuple)


class Record(NamedTuple):
    """Fields that lie in one row of memory for each entry, since they are read together."""

    name: str
    nbytes: int
    """Of a row: what keeps rows from lying in more cache lines than they must."""


def axes(struct: type[Any]) -> dict[str, tuple[tuple[str, ...], np.dtype[Any]]]:
    """Returns field name -> (names of its axes, element type) for a struct class."""
    out = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        array, text = get_args(hint)[:2]
        element = get_args(get_args(array)[1])[0]
        out[name] = (tuple(text.split()), np.dtype(element))
    return out


def records(struct: type[Any]) -> dict[str, Record]:
    """Returns field name -> record, for those fields of a struct class that lie in one."""
    out = {}
    for name, hint in get_type_hints(struct, include_extras=True).items():
        found = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Record)]
        if found:
            out[name] = found[0]
    return out


def strides_of(struct: type[Any]) -> dict[str, int]:
    """Returns field name -> how many entries lie between two rows, for fields in a record."""
    kinds = axes(struct)
    return {
        name: record.nbytes // kinds[name][1].itemsize for name, record in records(struct).items()
    }


def zeros(shape: tuple[int, ...], element: Any) -> NDArray[Any]:
    """Returns an array of zeros that begins where a cache line does.

    Args:
        shape: Of the array.
        element: Its type.
    """
    kind = np.dtype(element)
    size = math.prod(shape) * kind.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    first = -memory.ctypes.data % CACHE_LINE
    return memory[first : first + size].view(kind).reshape(shape)


def allocate(struct: type[Struct], **sizes: int) -> Struct:
    """Returns the struct with a zeroed array for each field.

    Args:
        struct: A NamedTuple class whose fields are annotated with axes.
        sizes: Length of each axis by name; an axis that is a number needs none.
    """
    fields = {}
    for name, (names, element) in axes(struct).items():
        shape = tuple(int(n) if n.isdigit() else sizes[n] for n in names)
        fields[name] = zeros(shape, element)
    return struct(**fields)  # type: ignore[call-overload]


def nbytes(struct: type[Any], **sizes: int) -> int:
    """Returns how many bytes `allocate` would take."""
    total = 0
    for names, element in axes(struct).values():
        shape = [int(n) if n.isdigit() else sizes[n] for n in names]
        total += math.prod(shape) * element.itemsize
    return total


def digest(text: str) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
