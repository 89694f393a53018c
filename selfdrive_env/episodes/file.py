"""The bytes of an episode file: a short head, then a header as JSON and arrays, deflated.

All numbers are little-endian. The file is::

    8   "SDEPISOD"
    4   version of the format
    8   length of the body
    8   length of the body before it was deflated
    32  SHA-256 of the 28 bytes before and of the body
        body, deflated (zlib): 4 bytes with the length of the header, the header, the arrays

Each array is filtered, so that it packs well: its elements are taken as unsigned whole numbers,
each but the first along the last axis becomes its difference from the one before (modulo its size),
then come the lowest bytes of all elements, the next ones, and so on. There is nothing to unpickle.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.episodes.tracks import SCHEMA, Tracks

__all__ = ["MAX_FILE", "VERSION", "EpisodeError", "decode", "encode"]

MAGIC = b"SDEPISOD"
VERSION = 2
HEAD = struct.Struct("<8sIQQ")
HEAD_LENGTH = HEAD.size + 32
LEVEL = 9
MAX_NUMBER = 2**31
MAX_BODY = 256 * 2**20
"""A body is at most so long before it is deflated, so that reading one takes little memory."""

MAX_HEADER = 2**20
"""Bytes of the header as JSON, which take some forty times as much when read."""

MAX_FILE = MAX_BODY + 2**20
"""No episode file is longer: what zlib cannot pack it makes hardly longer [bytes]."""


class EpisodeError(ValueError):
    """A file that is no episode, or a damaged one, or of another version."""


def encode(header: Mapping[str, Any], tracks: Tracks) -> bytes:
    """Returns the bytes of an episode file.

    Args:
        header: What JSON can hold; `arrays` is added to it.
        tracks: The arrays.

    Raises:
        EpisodeError: If it is longer than what `decode` takes.
    """
    listed = [
        [field.name, field.dtype.name, list(np.asarray(array).shape), field.scale]
        for field, array in zip(SCHEMA.values(), tracks, strict=True)
    ]
    text = json.dumps({**header, "arrays": listed}, allow_nan=False, separators=(",", ":"))
    arrays = [
        _filtered(np.asarray(array, field.dtype))
        for field, array in zip(SCHEMA.values(), tracks, strict=True)
    ]
    size = 4 + len(text.encode()) + sum(len(one) for one in arrays)
    if size > MAX_BODY or len(text.encode()) > MAX_HEADER:
        raise EpisodeError(
            f"an episode file holds at most {MAX_BODY} bytes before it is deflated, {MAX_HEADER} "
            f"of them header; this one has {size} and {len(text.encode())}: record for less time"
        )
    whole = b"".join([struct.pack("<I", len(text.encode())), text.encode(), *arrays])
    body = zlib.compress(whole, LEVEL)
    head = HEAD.pack(MAGIC, VERSION, len(body), len(whole))
    return head + _checksum(head, body) + body


def decode(content: bytes, name: str) -> tuple[dict[str, Any], Tracks]:
    """Returns the header without `arrays`, and the arrays.

    Args:
        content: All bytes of the file.
        name: Of the file, for errors.

    Raises:
        EpisodeError: If it is no episode, of another version, cut short or altered.
    """
    whole = _body(content, name)
    if len(whole) < 4:
        raise EpisodeError(f"episode {name!r} is damaged: it has no header")
    end = 4 + int.from_bytes(whole[:4], "little")
    if end > 4 + MAX_HEADER:
        raise EpisodeError(
            f"episode {name!r} is damaged: its header has {end - 4} bytes, allowed are {MAX_HEADER}"
        )
    try:
        header = json.loads(whole[4:end].decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise EpisodeError(f"episode {name!r} is damaged: its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise EpisodeError(f"episode {name!r} is damaged: its header is no table")
    shapes = _shapes(header.pop("arrays", None), name)
    arrays = []
    for field in SCHEMA.values():
        size = math.prod(shapes[field.name]) * field.dtype.itemsize
        if end + size > len(whole):
            raise EpisodeError(f"episode {name!r} is damaged: it lacks the array {field.name}")
        part = memoryview(whole)[end : end + size]
        arrays.append(_unfiltered(part, field.dtype, shapes[field.name]))
        end += size
    if end != len(whole):
        raise EpisodeError(f"episode {name!r} is damaged: {len(whole) - end} bytes too many")
    return header, Tracks(*arrays)


def _body(content: bytes, name: str) -> bytes:
    """Returns the body of a file whose head and checksum are right."""
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not content:
        raise EpisodeError(f"{name!r} is no episode: it begins with {content[:8]!r}, not {MAGIC!r}")
    if len(content) < HEAD_LENGTH:
        raise EpisodeError(
            f"episode {name!r} is cut short: {len(content)} bytes, its head alone has {HEAD_LENGTH}"
        )
    _, version, length, full_length = HEAD.unpack(content[: HEAD.size])
    if version != VERSION:
        raise EpisodeError(
            f"episode {name!r} has version {version}, this package reads version {VERSION}"
        )
    if full_length > MAX_BODY:
        raise EpisodeError(
            f"episode {name!r} says that it unpacks to {full_length} bytes, allowed are {MAX_BODY}"
        )
    body = content[HEAD_LENGTH:]
    if len(body) < length:
        raise EpisodeError(
            f"episode {name!r} is cut short: {len(content)} bytes of {HEAD_LENGTH + length}"
        )
    stored, found = content[HEAD.size : HEAD_LENGTH], _checksum(content[: HEAD.size], body)
    if len(body) > length or stored != found:
        raise EpisodeError(
            f"episode {name!r} was altered: its SHA-256 is {found.hex()[:16]}..., the file says "
            f"{stored.hex()[:16]}..."
        )
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(body, full_length + 1)
    except (zlib.error, OverflowError) as error:
        raise EpisodeError(f"episode {name!r} is damaged: {error}") from None
    if len(whole) != full_length or not unpacker.eof:
        raise EpisodeError(
            f"episode {name!r} is damaged: its body does not have {full_length} bytes"
        )
    return whole


def _shapes(listed: Any, name: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array, checked against the declarations."""
    expected = [[f.name, f.dtype.name, len(f.axes), f.scale] for f in SCHEMA.values()]
    try:
        found = [[one[0], one[1], len(one[2]), one[3]] for one in listed]
        shapes = {one[0]: tuple(one[2]) for one in listed}
    except (TypeError, LookupError):
        raise EpisodeError(f"episode {name!r} is damaged: it does not list its arrays") from None
    if found != expected:
        odd = next((f for f, e in zip(found, expected, strict=False) if f != e), ["their number"])
        raise EpisodeError(f"episode {name!r} is damaged: its arrays differ in {odd[0]!r}")
    sizes: dict[str, int] = {}
    for field in SCHEMA.values():
        for axis, size in zip(field.axes, shapes[field.name], strict=True):
            if type(size) is not int or not 0 <= size < MAX_NUMBER:
                raise EpisodeError(f"episode {name!r} is damaged: {field.name} has axis {size!r}")
            plain = axis.removesuffix("+1")
            less = size - (axis != plain)
            wanted = int(axis) if axis.isdigit() else sizes.setdefault(plain, less)
            if less != wanted:
                raise EpisodeError(
                    f"episode {name!r} is damaged: {field.name} has {size} for the axis {axis}, "
                    f"which has {wanted}"
                )
    return shapes


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _checksum(head: bytes, body: bytes) -> bytes:
    return hashlib.sha256(head + body).digest()


def _filtered(array: NDArray[Any]) -> bytes:
    size = array.dtype.itemsize
    whole = np.ascontiguousarray(array).view(f"<u{size}")
    step = whole.copy()
    step[..., 1:] -= whole[..., :-1]
    return step.view(np.uint8).reshape(-1, size).T.tobytes()


def _unfiltered(content: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    size = dtype.itemsize
    planes = np.frombuffer(content, np.uint8).reshape(size, -1)
    step = planes.T.copy().view(f"<u{size}").reshape(shape)
    np.cumsum(step, axis=-1, dtype=step.dtype, out=step)
    return step.view(dtype)
