"""Who gives way at junctions without lights, from the bits in which the file says it."""

from __future__ import annotations

from collections import defaultdict

from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.maps.sumo.records import Contents
from selfdrive_env.maps.sumo.ways import Way, has_bit

__all__ = ["set_precedence"]

LEVELS = 2
"""Most links of which each goes before the next: the priority road, who turns off it, the rest."""

EQUAL = frozenset(("right_before_left", "left_before_right", "allway_stop", "unregulated"))
"""Types of junction at which the links are equal, but for the rule of the junction."""


def set_precedence(
    ways: list[Way],
    lanes: dict[int, int],
    lit: dict[int, bool],
    contents: Contents,
    network: RoadNetwork,
) -> None:
    """Writes the precedence of the lanes through junctions.

    Args:
        ways: From lane to lane.
        lanes: Place of a way in `ways` -> index of its lane.
        lit: Place of a way that has lights -> whether it gives way when they are green.
        contents: The records of the file.
        network: Its lanes are written to.
    """
    at: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, way in enumerate(ways):
        if place in lit:
            network.lanes[lanes[place]].precedence = -1 if lit[place] else 0
        elif place in lanes and way.link >= 0:
            at[way.junction][way.link].append(place)
    for name, links in at.items():
        junction = contents.junctions.get(name)
        if junction is None or junction.kind in EQUAL:
            continue
        before = {
            link: [
                other
                for other in links
                if other != link and has_bit(junction.responses.get(link, ""), other)
            ]
            for link in links
        }
        for link, depth in _depths(before).items():
            for place in links[link]:
                lane = network.lanes[lanes[place]]
                lane.precedence = -depth if lane.junction >= 0 else 0


def _depths(before: dict[int, list[int]]) -> dict[int, int]:
    """Returns how many links, one before the other, go before each link."""
    depth = dict.fromkeys(before, 0)
    for _ in range(LEVELS):
        for link, others in before.items():
            highest = max((depth[other] + 1 for other in others), default=0)
            depth[link] = min(max(depth[link], highest), LEVELS)
    return depth
