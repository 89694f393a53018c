"""Reads the wire format of protocol buffers: fields of a message, and runs of equal ones at once.

A message is a view of bytes; nothing is copied, and no length is believed that leads beyond it.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Message", "Rows", "WireError", "fields", "floats", "integers", "message", "signed",
    "text", "varints"]  # fmt: skip

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
FORMS = {"d": ("<f8", FIXED64), "f": ("<f4", FIXED32), "?": ("u1", VARINT)}
LOOK_AHEAD = 256
"""Messages that are looked at at once."""

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
        number, value, at = _field(data, at)
        yield number, value


def _field(data: Message, at: int) -> tuple[int, Any, int]:
    """Returns number and value of the field that begins at a byte, and where the next one does."""
    tag, at = _varint(data, at)
    number, kind = tag >> 3, tag & 7
    if not number:
        raise WireError("a field has the number 0")
    if kind == VARINT:
        value, at = _varint(data, at)
        return number, value, at
    if kind == BYTES:
        size, at = _varint(data, at)
    elif kind in (FIXED64, FIXED32):
        size = 8 if kind == FIXED64 else 4
    else:
        raise WireError(f"field {number} is of kind {kind}; 0, 1, 2 and 5 are known")
    left = len(data) - at
    if size > left:
        raise WireError(f"field {number} has {size} bytes, {left} are left")
    if kind == BYTES:
        return number, data[at : at + size], at + size
    form = "<d" if kind == FIXED64 else "<f"
    return number, struct.unpack_from(form, data, at)[0], at + size


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


class Rows:
    """Messages that come many times and hold numbers only, such as points, read as rows.

    Where the same fields stand in the same order, as a writer has them, all are read at once.

    Args:
        field: The number of the field that each is in, below 16.
        columns: Number and type ("d", "f" or "?") of each field in them, in that order, below 16.
        most: How many there may be in one message.
    """

    def __init__(self, field: int, columns: Sequence[tuple[int, str]], most: int) -> None:
        self._field, self._most = field, most
        self._place = {number: place for place, (number, _) in enumerate(columns)}
        names = [("tag", "u1"), ("size", "u1")]
        for number, form in columns:
            names += [(f"t{number}", "u1"), (f"f{number}", FORMS[form][0])]
        self._dtype = np.dtype(names)
        template = np.zeros((), self._dtype)
        template["tag"], template["size"] = field << 3 | BYTES, self._dtype.itemsize - 2
        for number, form in columns:
            template[f"t{number}"] = number << 3 | FORMS[form][1]
        offsets = {name: self._dtype.fields[name][1] for name in self._dtype.names or ()}  # type: ignore[index]
        self._fixed = np.array([at for name, at in offsets.items() if name[0] != "f"])
        self._wanted = template.reshape(1).view(np.uint8)[self._fixed]
        self._flags = np.array([offsets[f"f{n}"] for n, form in columns if form == "?"], np.int64)

    def gather(self, data: Message) -> tuple[dict[int, list[Any]], NDArray[np.float64]]:
        """Returns the other fields of a message by number, and the rows, [row, column]."""
        others: dict[int, list[Any]] = defaultdict(list)
        parts = [np.zeros((0, len(self._place)))]
        at, end, size, count = 0, len(data), self._dtype.itemsize, 0
        while at < end:
            number, value, after = _field(data, at)
            if number != self._field:
                others[number].append(value)
                at = after
                continue
            alike = self._alike(data[at : at + size * LOOK_AHEAD]) if after - at == size else None
            if alike is None:
                alike, at = self._one(value), after
            else:
                at += size * len(alike)
            count += len(alike)
            if count > self._most:
                raise WireError(f"field {number} comes more than {self._most} times")
            parts.append(alike)
        return others, np.concatenate(parts)

    def _alike(self, data: Message) -> NDArray[np.float64] | None:
        """Returns the rows that a run of bytes begins with, None if it begins with none."""
        size = self._dtype.itemsize
        raw = np.frombuffer(data, np.uint8, len(data) // size * size).reshape(-1, size)
        good = (raw[:, self._fixed] == self._wanted).all(axis=1)
        good &= (raw[:, self._flags] <= 1).all(axis=1)
        count = len(good) if good.all() else int(np.argmin(good))
        if not count:
            return None
        rows = np.frombuffer(data, self._dtype, count)
        return np.stack([rows[f"f{number}"].astype(np.float64) for number in self._place], axis=1)

    def _one(self, value: Any) -> NDArray[np.float64]:
        """Returns a message of its own as a row; what it lacks is 0."""
        out = np.zeros((1, len(self._place)))
        for number, found in fields(message(value)):
            if number in self._place:
                if not isinstance(found, int | float):
                    raise WireError(f"field {self._field} holds what is no number")
                out[0, self._place[number]] = found
        return out


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
