"""Puts traffic lights into groups: those that show the same colour at the same time.

Lights of a junction with the same cycle form a group. A file in which crossing roads are green at
the same time has cycles that nobody has set; they are left out, and the groups of such a junction
are the directions of its approaches, which turn green one after another.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from selfdrive_env.maps.commonroad.records import Contents, Light
from selfdrive_env.maps.network.finish import Problems, directions
from selfdrive_env.maps.road_network import RoadNetwork, SignalGroup

__all__ = ["Approach", "make_groups"]

SAME_AXIS = np.radians(30.0)
"""Approaches within this angle of each other, or of opposite, may be green together [rad]."""


@dataclass(slots=True)
class Approach:
    """A lane at whose end traffic waits for lights."""

    lane: int
    junction: int
    """Index of the junction ahead, -1 for none."""

    lights: list[str]
    """Ids, the one that counts for all traffic first."""

    group: int = -1
    """Index of its signal group."""


def make_groups(
    contents: Contents, approaches: list[Approach], network: RoadNetwork, problems: Problems
) -> None:
    """Appends the signal groups and writes which one each approach belongs to.

    Args:
        contents: The records of the file.
        approaches: Where traffic waits for lights; changed in place.
        network: Receives the groups.
        problems: Receives cycles that cannot be meant so.
    """
    places: dict[tuple[int, str], list[Approach]] = defaultdict(list)
    for approach in approaches:
        alone = "" if approach.junction >= 0 else network.lanes[approach.lane].road
        places[approach.junction, alone].append(approach)
    for (junction, _), members in places.items():
        cycles: dict[tuple[object, ...], list[Approach]] = defaultdict(list)
        for member in members:
            light = contents.lights[member.lights[0]]
            cycles[(*light.cycle, light.offset)].append(member)
        whole = all(contents.lights[member.lights[0]].cycle for member in members)
        crossing = any(len(_by_axis(alike, network)) > 1 for alike in cycles.values())
        groups = list(cycles.values())
        if junction >= 0 and (crossing or not whole):
            if whole:
                flaw = "{} junctions have crossing roads green at once (their cycles are left out)"
                problems.drop(flaw, network.junctions[junction].name)
            groups, whole = _by_axis(members, network), False
        for group in groups:
            light = contents.lights[group[0].lights[0]]
            _add_group(group, light if whole else None, junction, network)


def _add_group(
    members: list[Approach], light: Light | None, junction: int, network: RoadNetwork
) -> None:
    """Appends a group of approaches with the cycle of a light, or without one."""
    for member in members:
        member.group = len(network.signal_groups)
    group = SignalGroup(members[0].lights[0], [], junction)
    if light is not None:
        group.cycle, group.offset = list(light.cycle), light.offset
    if junction >= 0:
        network.junctions[junction].signal_groups.append(len(network.signal_groups))
    network.signal_groups.append(group)


def _by_axis(members: list[Approach], network: RoadNetwork) -> list[list[Approach]]:
    """Splits approaches by the axis they lie on, opposite ones together."""
    clusters: list[tuple[float, list[Approach]]] = []
    for member in members:
        way = directions(network.lanes[member.lane].centre)[1]
        heading = float(np.arctan2(way[1], way[0]))
        for centre, cluster in clusters:
            if abs((heading - centre + np.pi / 2) % np.pi - np.pi / 2) <= SAME_AXIS:
                cluster.append(member)
                break
        else:
            clusters.append((heading, [member]))
    return [cluster for _, cluster in clusters]
