"""Draws a map of the family `motorway:`."""

from __future__ import annotations

from collections.abc import Callable

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.motorways.build import build_site
from selfdrive_env.maps.procedural.motorways.crossings import cloverleaf, fork, trumpet
from selfdrive_env.maps.procedural.motorways.distribution import MotorwayFamily
from selfdrive_env.maps.procedural.motorways.interchanges import diamond, parclo, weave
from selfdrive_env.maps.procedural.motorways.site import Site
from selfdrive_env.maps.road_network import RoadNetwork

__all__ = ["LAYOUTS", "motorway"]

LAYOUTS: dict[str, Callable[[Site], None]] = {
    "diamond": diamond,
    "parclo": parclo,
    "weave": weave,
    "trumpet": trumpet,
    "fork": fork,
    "cloverleaf": cloverleaf,
}
"""What lays out each kind of map."""


def motorway(name: str, family: MotorwayFamily | None = None, layout: str = "") -> RoadNetwork:
    """Returns a motorway map.

    Args:
        name: From which all is drawn.
        family: Ranges and shares.
        layout: One of `LAYOUTS`; drawn without.
    """
    family = family or MotorwayFamily()
    draws = Draws(name)
    drawn = draws.by_share(family.layouts)
    site = Site(draws, family, draws.within(family.lane_width))
    LAYOUTS[layout or drawn](site)
    return build_site(name, site)
