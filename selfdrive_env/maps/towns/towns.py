"""The built-in towns, generated: no file is read, the same name gives the same network.

Each has signalised and stop-signed junctions, a roundabout, curves and a motorway with ramps;
"hillcrest" has an overpass. "harbour" is laid out differently and meant as the unseen test town.
"""

from __future__ import annotations

import math

from selfdrive_env.config.checks import suggestion
from selfdrive_env.maps.road_network import MapError, RoadNetwork
from selfdrive_env.maps.towns import BUILT_IN
from selfdrive_env.maps.towns.builder import Node
from selfdrive_env.maps.towns.streets import Entry, Exit, Street, TownPlan, build

__all__ = ["generate"]


def generate(name: str) -> RoadNetwork:
    """Returns a built-in town.

    Args:
        name: One of `BUILT_IN`.

    Returns:
        The road network, centred on (0, 0), right-hand traffic.
    """
    if name not in BUILT_IN:
        raise MapError(
            f"no built-in map {name!r}: use one of {BUILT_IN}{suggestion(name, BUILT_IN, 'map')}"
        )
    plans = {"riverside": _riverside, "hillcrest": _hillcrest, "harbour": _harbour}
    return build(name, plans[name]())


def _motorway(
    start: str,
    end: str,
    via: tuple[tuple[float, float, float], ...],
    *,
    slow: float,
    bridge: tuple[float, float] | None = None,
) -> Street:
    """Two wide lanes per direction."""
    return Street(start, end, via, (2, 2), 3.75, 22.0, True, slow, bridge)


def _riverside() -> TownPlan:
    """A grid with an avenue of two lanes per direction and a motorway along its northern edge."""
    nodes = {
        "west": Node(-330.0, 0.0),
        "market": Node(-165.0, 0.0),
        "centre": Node(0.0, 0.0),
        "east": Node(330.0, 0.0),
        "ramps": Node(-60.0, 125.0),
        "park": Node(-165.0, -190.0, "stop"),
        "ring": Node(0.0, -190.0, "roundabout", 16.0),
    }
    motorway = ("west", "east")
    streets = (
        _motorway(*motorway, ((-330.0, 190.0, 75.0), (330.0, 190.0, 75.0)), slow=220.0),
        Street("west", "market", lanes=(2, 2)),
        Street("market", "centre", lanes=(2, 2)),
        Street("centre", "east", ((130.0, 0.0, 90.0), (200.0, -30.0, 60.0), (270.0, 0.0, 70.0))),
        Street("centre", "ramps", ((0.0, 40.0, 22.0), (-60.0, 85.0, 22.0))),
        Street("market", "park"),
        Street("centre", "ring", ((0.0, -60.0, 30.0), (20.0, -95.0, 30.0), (0.0, -130.0, 30.0))),
        Street("west", "park", ((-330.0, -190.0, 60.0),)),
        Street("park", "ring"),
        Street(
            "east",
            "ring",
            (
                (330.0, -190.0, 18.0),
                (230.0, -190.0, 90.0),
                (160.0, -165.0, 90.0),
                (80.0, -190.0, 90.0),
            ),
        ),
    )
    exits = (Exit(motorway, (-240.0, 190.0), "ramps", ((-110.0, 125.0, 60.0),)),)
    entries = (Entry(motorway, (85.0, 190.0), 160.0, "ramps", ((-15.0, 125.0, 60.0),)),)
    return TownPlan(nodes, streets, exits, entries)


def _hillcrest() -> TownPlan:
    """Winding streets on both sides of a motorway that bridges the road between them."""
    nodes = {
        "west": Node(-450.0, 60.0),
        "east": Node(490.0, 60.0),
        "ramps": Node(0.0, 10.0),
        "north": Node(30.0, 260.0, "stop"),
        "ring": Node(-30.0, -150.0, "roundabout", 18.0),
        "mill": Node(240.0, -130.0),
    }
    motorway = ("west", "east")
    streets = (
        _motorway(*motorway, ((0.0, 100.0, 900.0),), slow=110.0, bridge=(0.0, 100.0)),
        Street("ramps", "north", ((0.0, 150.0, 60.0), (30.0, 200.0, 60.0))),
        Street("ramps", "ring", ((0.0, -60.0, 50.0), (-30.0, -100.0, 50.0)), width=3.25),
        Street(
            "west", "north", ((-450.0, 190.0, 50.0), (-250.0, 290.0, 80.0), (-100.0, 260.0, 100.0))
        ),
        Street("north", "east", ((200.0, 260.0, 90.0), (330.0, 200.0, 40.0), (490.0, 200.0, 35.0))),
        Street(
            "west",
            "ring",
            ((-450.0, -130.0, 40.0), (-160.0, -130.0, 60.0), (-100.0, -150.0, 60.0)),
            width=3.25,
        ),
        Street("ring", "mill", ((70.0, -150.0, 90.0), (150.0, -130.0, 90.0))),
        Street("mill", "east", ((490.0, -130.0, 50.0),), (2, 2)),
        Street("ring", "mill", ((-30.0, -250.0, 25.0), (240.0, -250.0, 20.0)), width=3.25),
    )
    exits = (Exit(motorway, (-320.0, 71.5), "ramps", ((-110.0, 10.0, 80.0),)),)
    entries = (Entry(motorway, (192.0, 84.0), 165.0, "ramps", ((70.0, 10.0, 80.0),)),)
    return TownPlan(nodes, streets, exits, entries)


def _harbour() -> TownPlan:
    """A turned ring road with spokes; the motorway goes around one of its corners."""
    nodes = {
        "centre": Node(0.0, 0.0),
        "gate": Node(180.0, 0.0),
        "church": Node(0.0, 180.0),
        "ring": Node(-180.0, 0.0, "roundabout", 20.0),
        "quay": Node(0.0, -180.0, "stop"),
        "ramps": Node(180.0, -180.0, "stop"),
        "docks": Node(-180.0, -180.0),
    }
    motorway = ("gate", "docks")
    streets = (
        _motorway(
            *motorway,
            ((440.0, 0.0, 80.0), (440.0, -440.0, 150.0), (-180.0, -440.0, 80.0)),
            slow=293.0,
        ),
        Street("centre", "gate", lanes=(2, 2), width=3.3),
        Street("centre", "church", lanes=(2, 2), width=3.3),
        Street("centre", "ring", ((-50.0, 0.0, 40.0), (-90.0, 14.0, 40.0), (-120.0, 0.0, 40.0))),
        Street("centre", "quay", ((0.0, -60.0, 40.0), (-20.0, -95.0, 40.0), (0.0, -130.0, 40.0))),
        Street("gate", "church", ((180.0, 180.0, 100.0),)),
        Street("church", "ring", ((-110.0, 180.0, 30.0), (-180.0, 110.0, 30.0))),
        Street("ring", "docks"),
        Street("docks", "quay"),
        Street("quay", "ramps"),
        Street("ramps", "gate"),
        Street(
            "ring",
            "docks",
            (
                (-270.0, 0.0, 25.0),
                (-270.0, -60.0, 16.0),
                (-320.0, -60.0, 16.0),
                (-320.0, -180.0, 45.0),
            ),
        ),
    )
    exits = (Exit(motorway, (434.0, -92.0), "ramps", ((380.0, -180.0, 50.0),)),)
    entries = (Entry(motorway, (85.0, -434.0), 160.0, "ramps", ((180.0, -380.0, 50.0),)),)
    return TownPlan(nodes, streets, exits, entries, math.radians(28.0))
