"""A compiled map whose arrays stay in a file of the cache until they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.road_network import MapError
from selfdrive_env.state.road import Grid, Lanes, Paint, Routes, Signs

__all__ = ["STRUCTS", "AnyMap", "KeptMap", "shapes_of"]

STRUCTS: Mapping[str, Any] = {"lanes": Lanes, "routes": Routes, "grid": Grid, "signs": Signs}
"""Structs of a pool, by the name of their field in `CompiledMap`."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class KeptMap:
    """What is known of a map before its arrays are read: it takes a few kilobytes of memory."""

    name: str
    digest: str
    num_junctions: int
    num_groups: int
    shapes: Shapes
    """Of each array that `load` gives, by "struct.field"."""

    read: Callable[[], CompiledMap]

    def load(self) -> CompiledMap:
        """Returns the map with its arrays.

        Raises:
            MapError: If it is another one by now.
        """
        found = self.read()
        if found.digest != self.digest or shapes_of(found) != self.shapes:
            raise MapError(
                f"map {self.name!r} is not what it was when the environment was made: its file "
                "has changed, or its entry of the cache was damaged; make the environment again"
            )
        return found

    @property
    def paint(self) -> Paint:
        """What is drawn on it and read by no kernel."""
        return self.load().paint


AnyMap = CompiledMap | KeptMap


def shapes_of(compiled: CompiledMap) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array that goes into a pool, by "struct.field".

    Args:
        compiled: The map.
    """
    return {
        f"{struct}.{name}": array.shape
        for struct in STRUCTS
        for name, array in getattr(compiled, struct)._asdict().items()
    }
