"""Compiling, caching and running kernels; nothing else in the package knows threads.

`njit` is Numba's decorator with this package's options. `run` hands ranges of worlds to a small
pool of threads (Numba's own layers do not survive a fork and abort on concurrent callers).
Compiled code is kept in a folder named by a digest of the kernels' sources, because Numba's cache
does not see edits in imported files.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import caching

from selfdrive_env.kernels.compiling import entry, inline, njit

__all__ = ["cached", "chunks", "entry", "inline", "njit", "run"]

_SOURCES = ("kernels", "engine.py", "state.py", "params.py", "arrays.py")


def cache_folder() -> Path:
    """Returns where compiled kernels are kept; `SELFDRIVE_CACHE` moves it."""
    root = os.environ.get("SELFDRIVE_CACHE")
    if root:
        return Path(root) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "selfdrive_env" / "kernels"


@functools.cache
def source_digest() -> str:
    """Returns a digest of everything compiled code depends on: sources and versions."""
    package = Path(__file__).resolve().parents[1]
    sha = hashlib.sha256()
    for name in _SOURCES:
        place = package / name
        for path in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            sha.update(path.name.encode())
            sha.update(path.read_bytes())
    versions = (numba.__version__, np.__version__, platform.python_version())
    sha.update(repr(versions).encode())
    return sha.hexdigest()[:16]


class _Locator:
    """Places Numba's index and object files; the interface is Numba's."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        self._name = py_func.__qualname__
        self._path = cache_folder() / source_digest()

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func)

    def ensure_cache_path(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        probe = self._path / f".probe-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        probe.unlink()

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return self._name


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes: list[Any] = [_Locator]  # noqa: RUF012


class _Cache(caching.FunctionCache):
    _impl_class = _CacheImpl


def cached(function: Any) -> Any:
    """Gives a compiled function the on-disk cache; without a writable folder it does without."""
    if not hasattr(function, "_cache"):
        return function  # JIT is switched off
    try:
        _Locator(function.py_func).ensure_cache_path()
        function._cache = _Cache(function.py_func)
    except OSError:
        print(
            f"selfdrive_env: {cache_folder()} is not writable, so kernels compile anew each time; "
            "set SELFDRIVE_CACHE to a writable folder",
            file=sys.stderr,
        )
    return function


def chunks(count: int, parts: int) -> list[tuple[int, int]]:
    """Returns up to `parts` ranges that cover [0, count) evenly."""
    parts = max(1, min(parts, count))
    bounds = [count * part // parts for part in range(parts + 1)]
    return [(bounds[part], bounds[part + 1]) for part in range(parts)]


_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_lock = threading.Lock()


def _pool(workers: int) -> ThreadPoolExecutor:
    """Returns the pool of this process: a fork sees another process id and makes its own."""
    key = (os.getpid(), workers)
    with _lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(workers, thread_name_prefix="selfdrive_env")
        return _pools[key]


def run(stage: Callable[..., None], count: int, num_threads: int, *arguments: Any) -> None:
    """Calls `stage(*arguments, worker, first, last)` for ranges that cover [0, count).

    Args:
        stage: A compiled function that releases the GIL and writes only to its own range.
        count: Number of worlds.
        num_threads: Ranges; the caller's thread runs the first.
        *arguments: Passed on.
    """
    parts = chunks(count, num_threads)
    if len(parts) == 1:
        stage(*arguments, 0, parts[0][0], parts[0][1])
        return
    pool = _pool(len(parts) - 1)
    futures = [
        pool.submit(stage, *arguments, worker, first, last)
        for worker, (first, last) in enumerate(parts)
        if worker
    ]
    stage(*arguments, 0, parts[0][0], parts[0][1])
    for future in futures:
        future.result()
