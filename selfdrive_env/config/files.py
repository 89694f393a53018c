"""Files that are whole or not there, also after a crash: written aside, then renamed."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["UNFINISHED", "flush_folder", "rename", "replacing", "write_flushed", "write_whole"]

UNFINISHED = ".saving-"
"""What the names of unfinished files and folders begin with."""

NAME_END = 50
"""They end with so many letters of the file's name, so that they are no longer than 255 bytes."""


PATIENCE = 2.0 if os.name == "nt" else 0.0
"""So long a renaming is tried that others may hold up [s]."""


def rename(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
    """Renames a file or folder in one step; a file of the new name is replaced.

    Windows refuses while a reader, a virus scanner or the like has either of them open: there it is
    tried again for a while.

    Args:
        old: What there is.
        new: Its new name, in the same folder.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            os.replace(old, new)
            return
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.02)


@contextmanager
def replacing(path: str | os.PathLike[str], *, alone: bool = False) -> Iterator[Path]:
    """Gives another name in the same folder; what is written there replaces the file at the end.

    After an error the file is as it was before; one of the system names the file.

    Args:
        path: The file to write.
        alone: Whether nobody else may be writing this file; what somebody left who was killed at
            it is overwritten then.

    Yields:
        The name to write under; it ends as that of the file.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    writer = "" if alone else f"{uuid.uuid4().hex[:12]}-"
    unfinished = path.with_name(f"{UNFINISHED}{writer}{path.name[-NAME_END:]}")
    try:
        yield unfinished
        rename(unfinished, path)
    except OSError as error:
        if error.filename == str(unfinished):
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(
    path: str | os.PathLike[str], content: bytes, *, alone: bool = False, mode: int = 0o666
) -> None:
    """Writes a file, whole or not at all.

    Args:
        path: The file to write.
        content: All that is in it.
        alone: As for `replacing`.
        mode: Permissions, less those that the process takes from all its files.
    """
    with replacing(path, alone=alone) as unfinished:
        write_flushed(unfinished, content, mode)
    flush_folder(Path(path).parent)


def write_flushed(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Writes a file and waits until the disk has it."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Makes the names in a folder last, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
