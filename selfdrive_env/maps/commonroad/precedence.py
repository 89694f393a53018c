"""Who gives way at junctions: by signs, else by the rule of the country.

Precedence is written to the lanes by which a junction is entered. Approaches with a light are left
to it; stop signs have lines of their own.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from selfdrive_env.maps.commonroad.lanes import LaneletLanes
from selfdrive_env.maps.commonroad.records import Contents
from selfdrive_env.maps.commonroad.signs import RIGHT_FIRST
from selfdrive_env.maps.network.finish import directions
from selfdrive_env.maps.network.rings import ring_lanes
from selfdrive_env.maps.road_network import RoadNetwork

__all__ = ["approach_from", "junction_ahead", "set_precedence"]

MAX_APPROACH = 40.0
"""A sign this far before a junction belongs to the junction [m]."""

RANKS = {"yield_sign": -1, "priority_sign": 1}
"""Precedence of the lanes beyond a sign."""

MOTORWAY = frozenset(("interstate", "highway", "mainCarriageWay", "accessRamp", "exitRamp"))
"""Types of lanelets of roads on which right does not go before left."""

ONE_AXIS = np.radians(30.0)
"""Approaches within this angle of each other, or of opposite, do not cross [rad]."""


def junction_ahead(lane: int, network: RoadNetwork) -> int:
    """Returns the junction that a lane leads into, -1 for none."""
    lanes = network.lanes
    here = lanes[lane].junction
    ahead = (lanes[other].junction for other in lanes[lane].successors)
    return next((junction for junction in ahead if junction not in (-1, here)), -1)


def approach_from(lane: int, network: RoadNetwork) -> tuple[int, int]:
    """Returns the lane before the junction soon after the end of a lane, and that junction.

    Args:
        lane: Where a light or sign is.
        network: Has its junctions.

    Returns:
        The lane itself and -1 where the road forks before, or no junction is near.
    """
    here, left = lane, MAX_APPROACH
    while left >= 0.0:
        junction = junction_ahead(here, network)
        if junction >= 0:
            return here, junction
        ahead = network.lanes[here].successors
        if len(ahead) != 1:
            break
        here = ahead[0]
        left -= network.lanes[here].length
    return lane, -1


def set_precedence(
    contents: Contents,
    signs: dict[str, list[str]],
    made: LaneletLanes,
    network: RoadNetwork,
    lit: set[int],
    stopped: set[int],
) -> None:
    """Writes the precedence of lanes and the rules of junctions.

    Where some approaches have the priority road, the traffic of the others gives way. Where no sign
    says otherwise, traffic in a roundabout goes before those that enter it.

    Args:
        contents: The records of the file.
        signs: Lanelets that refer to each sign.
        made: Which lane each lanelet became.
        network: Its lanes are linked and it has its junctions; changed in place.
        lit: Lanes with a traffic light at their end.
        stopped: Lanes with a stop sign at their end.
    """
    ranked: dict[int, int] = {}
    ruled: set[int] = set()
    for name, holders in signs.items():
        for kind, _ in contents.signs[name].elements:
            for lanelet in holders:
                lane = made.driven(lanelet, network)
                if lane is None or kind not in (*RANKS, "right_first"):
                    continue
                approach, junction = approach_from(lane, network)
                if junction >= 0 and kind in RANKS:
                    ranked.setdefault(approach, RANKS[kind])
                elif junction >= 0:
                    ruled.add(junction)
    approaches: dict[int, list[int]] = defaultdict(list)
    for index, own in enumerate(network.lanes):
        if own.drivable and (junction := junction_ahead(index, network)) >= 0:
            approaches[junction].append(index)
    rings = ring_lanes(network)
    for junction, ends in approaches.items():
        told = any(lane in ranked or lane in lit or lane in stopped for lane in ends)
        if not told and rings.intersection(ends):
            ranked.update({lane: 1 if lane in rings else -1 for lane in ends})
        _rank_beyond(junction, ends, ranked, network, lit)
        if len(ends) > 1 and stopped.issuperset(ends):
            network.junctions[junction].rule = "all_way_stop"
            continue
        told = told or any(lane in ranked for lane in ends)
        usual = not told and contents.country in RIGHT_FIRST and _crosses(ends, network)
        if junction in ruled or (usual and not _is_motorway(ends, contents, network)):
            network.junctions[junction].rule = "right_first"


def _rank_beyond(
    junction: int, ends: list[int], ranked: dict[int, int], network: RoadNetwork, lit: set[int]
) -> None:
    """Writes the precedence of the lanes by which a junction is entered from its approaches."""
    first = any(ranked.get(lane, 0) > 0 for lane in ends)
    for lane in ends:
        rank = ranked.get(lane, -1 if first else 0)
        for ahead in network.lanes[lane].successors if rank and lane not in lit else ():
            if network.lanes[ahead].junction == junction:
                network.lanes[ahead].precedence = rank


def _crosses(ends: list[int], network: RoadNetwork) -> bool:
    """Returns whether approaches of a junction come from directions that cross."""
    ways = [directions(network.lanes[lane].centre)[1] for lane in ends]
    headings = [np.arctan2(way[1], way[0]) for way in ways]
    apart = [abs((h - headings[0] + np.pi / 2) % np.pi - np.pi / 2) for h in headings]
    return max(apart) > ONE_AXIS


def _is_motorway(ends: list[int], contents: Contents, network: RoadNetwork) -> bool:
    names = (network.lanes[lane].name.removesuffix("/back") for lane in ends)
    return any(contents.lanelets[name].types & MOTORWAY for name in names)
