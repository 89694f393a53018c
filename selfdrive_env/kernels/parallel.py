"""Running kernels on ranges of worlds; nothing else in the package knows threads.

`run` hands ranges of worlds to a small pool of threads: Numba's own layers do not survive a fork
and abort on concurrent callers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["chunks", "run"]


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
