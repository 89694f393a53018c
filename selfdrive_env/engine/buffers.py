"""Memory for observation rows: how much there is, and arrays that come back when nobody holds them.

A caller who keeps an observation must find it unchanged later, and copying it costs as much as
writing it. So each step writes into an array that nobody else holds: of those handed out before,
one whose last outside reference is gone, else a new one.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.compiler.vectors import X86

__all__ = ["Recycler", "available_memory", "check_memory", "pass_cache", "sparse_zeros"]

LONG_ROW = 4 * 2**10
"""Rows of fewer bytes are written while their memory is read: other work takes long enough."""

CACHED_ROWS = 8 * 2**20
"""Rows of fewer bytes in all may lie in a processor's cache when they are read."""


class Recycler:
    """Arrays of one shape and type, handed out in turn."""

    KEPT = 4
    """So many are remembered; a caller who holds more owns the others."""

    def __init__(self, like: NDArray[Any]) -> None:
        """Starts without any.

        Args:
            like: An array of the wanted shape and type.
        """
        self._shape, self._dtype = like.shape, like.dtype
        self._arrays: list[NDArray[Any]] = []
        self._unheld = _references([np.zeros(1)], 0)

    def take(self) -> NDArray[Any]:
        """Returns an array that nobody holds; what it contains is not defined."""
        for place in range(len(self._arrays)):
            if _references(self._arrays, place) <= self._unheld:
                return self._arrays[place]
        array: NDArray[Any] = np.empty(self._shape, self._dtype)
        self._arrays = [*self._arrays[-self.KEPT + 1 :], array]
        return array


def _references(arrays: list[NDArray[Any]], place: int) -> int:
    """Counts the references to an entry of a list; views of an array count, too."""
    return sys.getrefcount(arrays[place])


def pass_cache(num_rows: int, row_bytes: int, dtype: str) -> bool:
    """Returns whether rows are better written past the caches: many long ones, on x86.

    Args:
        num_rows: Of the batch.
        row_bytes: Of each, in single precision.
        dtype: Of the observation; rows of two bytes a number are rounded on their way.
    """
    large = row_bytes >= LONG_ROW and num_rows * row_bytes >= CACHED_ROWS
    return large and dtype == "float32" and X86 and not SIMULATED


def sparse_zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Returns an array of zeros that takes memory only where it is written, page by page.

    NumPy asks for huge pages, of which a few scattered rows soon touch all.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size == 0:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)


def available_memory() -> int | None:
    """Returns how many bytes can be allocated, None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(needed: int, what: str) -> None:
    """Refuses what does not fit, before anything is allocated.

    Raises:
        MemoryError: With the size that is needed and the size there is.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"{what} needs {needed / 1e9:.1f} GB and {available / 1e9:.1f} GB are available: take "
            "fewer worlds, layout='lean', obs_dtype='float16' or copy=False"
        )
