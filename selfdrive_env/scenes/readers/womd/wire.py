"""Reads the wire format of protocol buffers: fields of a message, and runs of equal ones at once.

A message is a view of bytes; nothing is copied, and no length is believed that leads beyond it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Message", "WireError", "fields", "floats", "integers", "message", "run", "signed",
    "text", "varints"]  # fmt: skip

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
Message = memoryview


class WireError(ValueError):
    """Bytes that are no protocol buffer, or not the one that is wanted."""


def fields(data: Message) -> Iterator[tuple[int, Any]]:
    """Yields number and value of each field: int, float, or a view of bytes.

    Args:
        data: Its bytes.

    Raises:
        WireError: A length leads beyond the message, or a kind is not known.
    """
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag > 0x7F:
            tag, at = _varint(data, at - 1)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise WireError("a field has the number 0")
        value: Any
        if kind == BYTES:
            length, at = _varint(data, at)
            if length > end - at:
                raise WireError(f"field {number} has {length} bytes, {end - at} are left")
            value = data[at : at + length]
            at += length
        elif kind == VARINT:
            value, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size, form = (8, "<d") if kind == FIXED64 else (4, "<f")
            if size > end - at:
                raise WireError(f"field {number} has {size} bytes, {end - at} are left")
            value = struct.unpack_from(form, data, at)[0]
            at += size
        else:
            raise WireError(f"field {number} is of kind {kind}; 0, 1, 2 and 5 are known")
        yield number, value


def _varint(data: Message, at: int) -> tuple[int, int]:
    """Returns a number of 7 bits a byte, and where the next field begins."""
    value = shift = 0
    try:
        if data[at] < 0x80:
            return data[at], at + 1
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= 7 * LONGEST_VARINT:
                raise WireError(f"a number has more than {LONGEST_VARINT} bytes")
    except IndexError:
        raise WireError("it is cut short within a number") from None
    return value & 0xFFFFFFFFFFFFFFFF, at


def signed(value: Any, name: str = "a field") -> int:
    """Returns a number of 64 bits with its sign; a WireError for what is none."""
    if not isinstance(value, int):
        raise WireError(f"{name} is no whole number")
    return value - (1 << 64) if value >= 1 << 63 else value


def text(value: Any, name: str = "a field") -> str:
    """Returns bytes as text; a WireError for what is none."""
    try:
        return bytes(value).decode() if isinstance(value, memoryview) else _no_text(name)
    except UnicodeDecodeError:
        return _no_text(name)


def _no_text(name: str) -> str:
    raise WireError(f"{name} is no text")


def message(value: Any, name: str = "a field") -> Message:
    """Returns a view of bytes; a WireError for what is none."""
    if not isinstance(value, memoryview):
        raise WireError(f"{name} is no message")
    return value


def run(data: Message, wanted: int, numbers: tuple[tuple[int, str], ...]) -> NDArray[Any] | None:
    """Returns messages as rows, if all of them are alike: the same fields in the same order.

    Args:
        data: The bytes of equal fields, one after the other, each a message.
        wanted: The number of the field that each is.
        numbers: Number and type ("d", "f" or "?") of the fields of each message, all below 16.

    Returns:
        One row a message with a column "f1" and so on, None if they are not alike.
    """
    columns: list[tuple[str, str]] = [("tag", "u1"), ("size", "u1")]
    expected = {"tag": wanted << 3 | BYTES}
    kinds = {"d": ("<f8", FIXED64), "f": ("<f4", FIXED32), "?": ("u1", VARINT)}
    for number, form in numbers:
        columns += [(f"t{number}", "u1"), (f"f{number}", kinds[form][0])]
        expected[f"t{number}"] = number << 3 | kinds[form][1]
    row = np.dtype(columns)
    expected["size"] = row.itemsize - 2
    if not len(data) or len(data) % row.itemsize:
        return None
    rows = np.frombuffer(data, row)
    if any((rows[name] != value).any() for name, value in expected.items()):
        return None
    flags = [f"f{number}" for number, form in numbers if form == "?"]
    return None if any((rows[name] > 1).any() for name in flags) else rows


def varints(data: Message) -> NDArray[np.int64]:
    """Returns packed numbers with their signs, [N]."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise WireError("packed numbers are cut short")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    lengths = ends + 1 - starts
    if (lengths > LONGEST_VARINT).any():
        raise WireError(f"a number has more than {LONGEST_VARINT} bytes")
    out = np.zeros(len(ends), np.uint64)
    for place in range(int(lengths.max(initial=0))):
        some = lengths > place
        bits = (raw[starts[some] + place] & 0x7F).astype(np.uint64)
        out[some] |= bits << np.uint64(7 * place)
    return out.view(np.int64)


def integers(values: list[Any], name: str) -> NDArray[np.int64]:
    """Returns repeated numbers, packed or each in a field of its own, [N]."""
    parts = [
        varints(value) if isinstance(value, memoryview) else np.array([signed(value, name)])
        for value in values
    ]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def floats(values: list[Any], name: str, size: int = 4) -> NDArray[np.float64]:
    """Returns repeated numbers of 4 or 8 bytes, packed or not, [N]."""
    parts = []
    for value in values:
        if isinstance(value, memoryview):
            if len(value) % size:
                raise WireError(f"{name} has {len(value)} bytes, which are no numbers of {size}")
            parts.append(np.frombuffer(value, f"<f{size}").astype(np.float64))
        elif isinstance(value, float):
            parts.append(np.array([value]))
        else:
            raise WireError(f"{name} is no list of numbers")
    return np.concatenate([np.zeros(0), *parts])
