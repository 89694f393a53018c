"""Compiled code on disk, in a folder named by a digest of all that it depends on.

Numba's own cache does not see edits in imported files: after an upgrade users would run old rules.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib
import os
import pickle
import platform
import re
import shutil
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import numba
import numpy as np
from numba.core import compiler, serialize

from selfdrive_env.compiler import progress
from selfdrive_env.config.files import write_whole

__all__ = ["MAP_SOURCES", "Kind", "cached"]

_SOURCES = ("kernels", "compiler", "state", "config/observation.py", "config/files.py")
MAP_SOURCES = ("maps", "compiler", "state")
"""Folders and files that the code of kernels, and that of the map compiler, is made from."""

_CODE_OPTIONS = (
    *("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT"),
    *("DISABLE_INTEL_SVML", "USING_SVML"),
)
"""Options of Numba's that change machine code and that it does not look at itself."""

PATIENCE = 300.0
"""So long a process waits for another one that compiles the same, then compiles itself [s]."""

UNUSED_DAYS = 30
"""Folders of other digests are removed when nobody has used them for so long."""


def _module(name: str) -> Any:
    """Returns a module that not every system has, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _module("fcntl"), _module("msvcrt")
"""What locks files: the other one on Windows."""


def cache_folder() -> Path:
    """Returns where compiled kernels are kept; `SELFDRIVE_CACHE` moves it.

    What lies there is unpickled and run, so whoever may write there may run code as the user. The
    folder is made with mode 0700; `_check_private` says which ones that exist are taken.

    Raises:
        RuntimeError: If the home folder is needed and unknown.
    """
    root = os.environ.get("SELFDRIVE_CACHE")
    if not root:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = os.path.join(base, "selfdrive_env")
    return Path(os.path.abspath(root)) / "kernels"


@functools.cache
def source_digest(sources: tuple[str, ...] = _SOURCES) -> str:
    """Returns a digest of everything compiled code depends on: sources, versions and options.

    The processor is not in it: it is part of the name of each file.
    """
    package = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    for source in sources:
        place = package / source
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            content = path.read_bytes()
            sha.update(f"{path.relative_to(package).as_posix()} {len(content)} ".encode())
            sha.update(content)
    versions = (numba.__version__, llvmlite.__version__, np.__version__, platform.python_version())
    options = [getattr(numba.config, name, None) for name in _CODE_OPTIONS]
    sha.update(repr((versions, options)).encode())
    return sha.hexdigest()[:16]


class Kind(NamedTuple):
    """What differs between code for the processor and for a CUDA device."""

    name: str
    """What compiles, as the user is told."""

    machine: Callable[[Any], Any]
    """Given Numba's code generator returns what the code depends on besides sources."""

    pack: Callable[[Any], bytes | None]
    """Given compiled code returns its bytes, None if it cannot be kept."""

    unpack: Callable[[Any, bytes], Any]
    """The reverse, given Numba's target as well."""

    together: tuple[Callable[..., Any], ...] = ()
    """Functions that the user is told of as one; if there are none, each is told of by itself."""


def _pack(result: Any) -> bytes | None:
    if result.lifted or result.library.has_dynamic_globals:
        return None
    return serialize.dumps(result._reduce())


def _unpack(target: Any, data: bytes) -> Any:
    return compiler.CompileResult._rebuild(target, *pickle.loads(data))


_PROCESSOR = Kind("kernels", lambda codegen: codegen.magic_tuple(), _pack, _unpack)


class _Cache:
    """Compiled code of one function on disk, one file a signature; the interface is Numba's.

    A file is a digest and the pickle that it was taken of: what a kill, a full disk or another
    program has left of a file is not even unpickled but built again. Files are replaced in one
    step. Of several processes that lack a file one compiles, under a lock that ends with it.
    """

    def __init__(self, function: Callable[..., Any], sources: tuple[str, ...], kind: Kind) -> None:
        self._function = function
        self._kind = kind
        self._turn: int | None = None
        self._lock = threading.Lock()
        self._problem: Exception | None = None
        self.folder: Path | None = None
        try:
            self.folder = cache_folder() / source_digest(sources)
        except (OSError, RuntimeError) as error:
            self._problem = error

    @property
    def cache_path(self) -> str | None:
        """The folder, for Numba's statistics."""
        return None if self.folder is None else str(self.folder)

    @property
    def kept(self) -> bool:
        """Whether what was asked for so far lies on disk."""
        return self._problem is None

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Returns the compiled code of a signature, or None: then it is this process's turn."""
        target.refresh()
        path = self._path(signature, target.codegen())
        found = self._load(path, target)
        if found is None and path is not None:
            self._take_turn(path)
            if path.exists():  # another process was faster; reading takes no turn
                self.release()
            found = self._load(path, target)
        if found is not None:
            self._problem = None
            _mark_used(self.folder)
            progress.read(self._function)
            return found
        if self._problem is not None:
            self._tell_problem()
        name = self._kind.name
        often = "in each process" if self._problem is not None else "once: later starts read them"
        _tell(f"compiling {name}", f"compiling {name}, {often}")
        progress.begin(name, self._function, self._kind.together)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keeps the compiled code of a signature; a failure to do so costs a message only."""
        path = self._path(signature, result.codegen)
        data = None if path is None else self._kind.pack(result)
        if path is None or data is None:
            return
        try:
            _make_folder(path.parent)  # again: it may have been removed meanwhile
            if path.exists():
                _check_private(path, path.stat())
            write_whole(path, hashlib.sha256(data).digest() + data, mode=0o600)
        except OSError as error:
            self._problem = error
            self._tell_problem()
            return
        self._problem = None
        _mark_used(self.folder)

    def flush(self) -> None:
        """Removes what is kept of this function."""
        if self.folder is not None:
            for path in self.folder.glob(f"{self._stem()}-*.nbc"):
                path.unlink(missing_ok=True)

    def release(self) -> None:
        """Lets the next process have its turn; of several threads that come here, one does so."""
        with self._lock:
            turn, self._turn = self._turn, None
        if turn is not None:
            os.close(turn)

    def _stem(self) -> str:
        return re.sub(r"[^A-Za-z0-9_.]", "_", self._function.__qualname__)[-80:]

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        """Returns the file of a signature on this processor or device."""
        if self.folder is None:
            return None
        function = self._function
        name = (function.__module__, function.__qualname__, function.__code__.co_code)
        key = (name, signature, self._kind.machine(codegen), getattr(sys, "abiflags", ""))
        return self.folder / f"{self._stem()}-{hashlib.sha256(repr(key).encode()).hexdigest()}.nbc"

    def _load(self, path: Path | None, target: Any) -> Any:
        """Returns the compiled code in a file, None if there is none; removes what is damaged."""
        if path is None:
            return None
        try:
            content = _read_private(path)
        except NotPrivateError as error:
            self._problem = error
            return None
        except OSError:
            return None
        size = hashlib.sha256().digest_size
        if hashlib.sha256(content[size:]).digest() == content[:size]:
            try:
                return self._kind.unpack(target, content[size:])
            except Exception:  # whatever Numba makes of what it did not write
                pass
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def _take_turn(self, path: Path) -> None:
        """Makes the folder and waits for other processes that compile the same."""
        try:
            _make_folder(path.parent)
            self._turn = _lock_file(path.with_suffix(".lock"))
        except OSError as error:
            self._problem = error

    def _tell_problem(self) -> None:
        try:
            where = str(cache_folder())
        except RuntimeError:
            where = "a cache"
        _tell(
            "problem",
            f"kernels cannot be kept in {where} ({self._problem}), so they compile anew in each "
            "process; set SELFDRIVE_CACHE to a folder that you, and only you, may write to",
        )


_told: set[str] = set()


def _tell(topic: str, text: str) -> None:
    """Prints a line on stderr, once per topic and process."""
    if topic not in _told:
        _told.add(topic)
        progress.say(text)


class NotPrivateError(PermissionError):
    """A folder or file may have been written by somebody else."""


def _check_private(path: Path, found: os.stat_result) -> None:
    """Refuses a folder or file that somebody else may have written: what is read gets unpickled.

    The folders above are not looked at: in one that all may write to, such as /tmp, others cannot
    give theirs this user's name. Root may write everywhere, so what is root's is taken.

    Raises:
        NotPrivateError: If it belongs to another user, or if group or others may write to it.
    """
    user = getattr(os, "getuid", lambda: None)()
    if user is None:  # Windows has no such owners and modes
        return
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (user, 0) or mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotPrivateError(
            f"{path} belongs to user {found.st_uid} and has mode {mode:04o}; allowed is what "
            f"belongs to user {user} or root and neither group nor others may write to, such as "
            "mode 0700"
        )


def _read_private(path: Path) -> bytes:
    """Returns what is in a file that only this user may have written, in folders likewise."""
    for folder in (path.parents[1], path.parent):
        _check_private(folder, folder.stat())
    with path.open("rb") as file:
        _check_private(path, os.fstat(file.fileno()))
        return file.read()


def _make_folder(folder: Path) -> None:
    """Makes the folder of a digest; a new one is the occasion to remove old ones."""
    is_new = not folder.is_dir()
    folder.parents[1].mkdir(parents=True, exist_ok=True)
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, exist_ok=True)
        _check_private(path, path.stat())
    if not is_new:
        return
    with contextlib.suppress(OSError):
        _remove_unused(folder.parent)


def _mark_used(folder: Path | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / "used").touch()


def _remove_unused(root: Path) -> None:
    """Removes the folders of digests that nobody has used for `UNUSED_DAYS`.

    Each is renamed first, so that another process finds it whole or not at all. One that writes
    into it just then fails to do so, and compiles again the next time.
    """
    oldest = time.time() - UNUSED_DAYS * 86400
    for folder in root.iterdir():
        if not re.fullmatch(r"[0-9a-f]{16}(\.unused-[0-9a-f]+)?", folder.name):
            continue
        with contextlib.suppress(OSError):
            used = [path.stat().st_mtime for path in (folder, folder / "used") if path.exists()]
            if folder.is_symlink() or not folder.is_dir() or max(used) > oldest:
                continue
            doomed = folder.with_name(f"{folder.name[:16]}.unused-{uuid.uuid4().hex[:16]}")
            folder.rename(doomed)  # on Windows not while a file in it is open: another time
            shutil.rmtree(doomed, ignore_errors=True)


def _try_lock(descriptor: int) -> None:
    """Locks an open file; a BlockingIOError if another process has.

    Raises:
        OSError: If files cannot be locked here.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # the first byte, which need not exist
        except PermissionError:
            raise BlockingIOError from None
    else:
        raise OSError(errno.ENOTSUP, "this system has no locks of files")


def _lock_file(path: Path) -> int | None:
    """Waits for the lock of a file, which ends with its descriptor or with this process.

    Returns:
        The descriptor, None where files cannot be locked or after `PATIENCE` seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            try:
                _try_lock(descriptor)
                return descriptor
            except BlockingIOError:
                _tell("waiting", "waiting for another process that compiles kernels")
                time.sleep(0.1)
    except OSError:  # a system or file system without locks
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def cached(function: Any, sources: tuple[str, ...] = _SOURCES, kind: Kind = _PROCESSOR) -> Any:
    """Gives a compiled function the on-disk cache; where nothing can be kept it does without.

    Args:
        function: Compiled by Numba.
        sources: Folders and modules of the package that its code is made from.
        kind: What it is compiled for.
    """
    if not hasattr(function, "_cache") or isinstance(function._cache, _Cache):
        return function  # JIT is switched off, or it has one
    cache = _Cache(function.py_func, sources, kind)
    compile_one = function.compile

    def compile_in_turn(signature: Any) -> Any:
        whole = False
        try:
            compiled = compile_one(signature)
            whole = True
            return compiled
        finally:
            cache.release()
            progress.end(function.py_func, whole=whole)

    function._cache = cache
    function.compile = compile_in_turn
    return function
