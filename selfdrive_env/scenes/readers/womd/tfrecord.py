"""Reads TFRecord files: length, its checksum, data, its checksum, and again."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.readers.recorded import Place, what_it_is
from selfdrive_env.scenes.readers.womd.crc32c import crc32c, masked

__all__ = ["Entry", "entries"]

HEAD = struct.Struct("<QI")
TAIL = struct.Struct("<I")

MAX_RECORD = 1 << 28
"""Longest record; a scene with its road has 1 to 4 MB."""


class Entry:
    """One record of a file, not read yet."""

    def __init__(self, path: Path, number: int, start: int, length: int) -> None:
        self.path, self.number = path, number
        self._start, self._length = start, length

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.path.name, self.number)

    def read(self) -> bytes:
        """Returns its bytes; a SceneError where they were changed."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            data, tail = file.read(self._length), file.read(TAIL.size)
        if len(data) < self._length or len(tail) < TAIL.size:
            raise self.place.error("the record", f"is cut short: {len(data)} of {self._length}")
        if TAIL.unpack(tail)[0] != masked(crc32c(data)):
            raise self.place.error("the record", "was altered: its CRC-32C is another")
        return data


def entries(path: Path) -> Iterator[Entry]:
    """Yields the records of a file, whose data are not read.

    Raises:
        SceneError: A length is damaged, so that nothing that follows can be found.
    """
    size, at, number = path.stat().st_size, 0, 0
    if not size:
        raise SceneError(f"{path.name}: is empty; a TFRecord file is wanted")
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(HEAD.size)
            place = Place(path.name, number)
            if len(head) < HEAD.size:
                raise place.error("the record", "is cut short within its length")
            length, checksum = HEAD.unpack(head)
            if checksum != masked(crc32c(head[:8])):
                if not number:
                    raise place.error(
                        "the file", f"is no TFRecord file ({what_it_is(head)}), or is damaged"
                    )
                raise place.error("the length", "was altered: its CRC-32C is another")
            if length > min(MAX_RECORD, size - at - HEAD.size - TAIL.size):
                left = max(0, size - at - HEAD.size - TAIL.size)
                raise place.error(
                    "the record", f"has {length} bytes; {left} are left, {MAX_RECORD} allowed"
                )
            yield Entry(path, number, at + HEAD.size, length)
            at += HEAD.size + length + TAIL.size
            number += 1
