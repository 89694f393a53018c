"""Random draws that are the same on every machine and version of Python.

All come from `random.Random.random()`, whose sequence for a whole seed is documented to stay; how
its other methods use it is not.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

__all__ = ["Draws"]

Item = TypeVar("Item")


class Draws:
    """A source of random numbers for one map."""

    def __init__(self, name: str) -> None:
        digest = hashlib.sha256(name.encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "big"))

    def within(self, bounds: tuple[float, float]) -> float:
        """Returns a number between two, the lower one included."""
        low, high = bounds
        return low + (high - low) * self._random.random()

    def whole(self, bounds: tuple[int, int]) -> int:
        """Returns a whole number between two, both included."""
        low, high = bounds
        return low + int((high - low + 1) * self._random.random())

    def chance(self, share: float) -> bool:
        """Returns true with that probability."""
        return self._random.random() < share

    def one_of(self, items: Sequence[Item]) -> Item:
        """Returns one of some things, each as likely."""
        return items[self.whole((0, len(items) - 1))]

    def by_share(self, shares: Mapping[Item, float]) -> Item:
        """Returns one key of a table, as likely as its value among the sum of all."""
        rest = sum(shares.values()) * self._random.random()
        for item, share in shares.items():
            rest -= share
            if rest < 0.0:
                return item
        return list(shares)[-1]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """Returns some things in random order."""
        out = list(items)
        for last in range(len(out) - 1, 0, -1):
            other = self.whole((0, last))
            out[last], out[other] = out[other], out[last]
        return out
