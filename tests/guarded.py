"""Arrays of kernels between pages that nobody may touch: who reads or writes beside one crashes.

`pytest --guard after` has such a page right after every array, `--guard before` right before.
Kernels check no index, so that nothing else tells of an access beside an array that is harmless in
most runs. Linux only.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.pool import map_pool
from selfdrive_env.state import arrays

WORD = 8
"""What an array is aligned to [bytes]; up to seven behind it are not guarded."""


def guard(side: str) -> None:
    """Has all arrays of states and of map pools made between guarded pages from here on.

    Args:
        side: Of an array on which a guarded page touches it, "before" or "after".

    Raises:
        ValueError: If it is neither, or on other systems than Linux.
    """
    if sys.platform != "linux" or side not in ("before", "after"):
        raise ValueError(f"guard works on Linux, with before or after, got {side!r}")

    def zeros(shape: tuple[int, ...], element: Any) -> NDArray[Any]:
        return _between_pages(shape, np.dtype(element), side)

    make_room = map_pool.MapPool._make_room

    def guarded_room(pool: map_pool.MapPool) -> None:
        make_room(pool)
        if len(pool.maps) > 1:
            return
        for struct in map_pool.STRUCTS:  # a single map brings arrays of its own
            own = getattr(pool, struct)
            copies = {}
            for field, array in own._asdict().items():
                if f"{struct}.{field}" not in pool.places:
                    copies[field] = zeros(array.shape, array.dtype)
                    copies[field][...] = array
            setattr(pool, struct, own._replace(**copies))

    for module in (arrays, map_pool):
        module.zeros = zeros  # type: ignore[attr-defined]
    map_pool.MapPool._make_room = guarded_room  # type: ignore[method-assign]


def _between_pages(shape: tuple[int, ...], kind: np.dtype[Any], side: str) -> NDArray[Any]:
    size = math.prod(shape) * kind.itemsize
    if not size:
        return np.zeros(shape, kind)
    page, system = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True)
    taken = -(-size // WORD) * WORD
    room = -(-taken // page) * page
    memory = mmap.mmap(-1, room + 2 * page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    whole = np.frombuffer(memory, np.uint8)
    start = whole.ctypes.data
    for fence in (start, start + page + room):
        if system.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    first = page if side == "before" else page + room - taken
    array: NDArray[Any] = whole[first : first + size].view(kind).reshape(shape)
    return array  # keeps the whole memory
