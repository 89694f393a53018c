"""Towns by seed: families of street networks, each map drawn by chance from its name alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from selfdrive_env.config.choices import LAST_SEED, MAP_FAMILIES

if TYPE_CHECKING:
    from selfdrive_env.maps.road_network import RoadNetwork

__all__ = ["FAMILIES", "LAST_SEED", "generate"]

FAMILIES: tuple[str, ...] = tuple(MAP_FAMILIES)
"""Kinds of map that `generate` knows."""


def generate(family: str, seed: int) -> RoadNetwork:
    """Returns a map: the same one for the same family and seed, on every machine.

    Args:
        family: One of `FAMILIES`.
        seed: From 0 to `LAST_SEED`.

    Returns:
        The road network, centred on (0, 0), right-hand traffic; named "family:seed".
    """
    from selfdrive_env.maps.procedural.families import generate as make

    return make(family, seed)
