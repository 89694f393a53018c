"""The small roads on which tasks take place, made in memory, and places on their lanes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Lane, RoadNetwork
from selfdrive_env.maps.towns.builder import Node
from selfdrive_env.maps.towns.streets import Entry, Street, TownPlan, build

__all__ = [
    "EAST",
    "HALF_LANE",
    "LAYOUTS",
    "WINDING_ROADS",
    "Place",
    "arm",
    "lane_at",
    "pose",
    "road",
]

Floats = NDArray[np.float64]

EAST = 0.0
HALF_LANE = 1.75
"""Of streets in town [m]."""

ARM = 260.0
"""Length of each arm of a crossing [m]."""

RAMP = ("west", "east")
ENDS = {
    "west": Node(-ARM, 0.0, "stop"),
    "south": Node(0.0, -ARM, "stop"),
    "east": Node(ARM, 0.0, "stop"),
    "north": Node(0.0, ARM, "stop"),
}
OUTWARDS = {"west": (-1, 0), "south": (0, -1), "east": (1, 0), "north": (0, 1)}

WINDING_ROADS = 6
"""How many roads of bends there are, "winding 0" and so on."""

BENDS, LEG, TURN, RADIUS = 7, (115.0, 150.0), (20.0, 75.0), (26.0, 70.0)
"""Of a winding road: bends, metres between their corners, degrees and radius [m] of each."""

ALIGNED = 0.7
"""Least cosine of the angle between a lane and the heading that is looked for."""


class Place(NamedTuple):
    """Where something is on a lane."""

    lane: Lane
    s: float
    """Along its centre [m]."""

    def ahead(self, distance: float) -> Place:
        """Returns the place so much farther along the same lane."""
        return Place(self.lane, self.s + distance)


def _crossing(middle: Node) -> TownPlan:
    """Four arms of one lane each way."""
    return TownPlan({**ENDS, "middle": middle}, tuple(Street(end, "middle") for end in ENDS))


def _street(lanes: tuple[int, int]) -> TownPlan:
    """A straight street."""
    ends = {name: ENDS[name] for name in RAMP}
    return TownPlan(ends, (Street("west", "east", lanes=lanes),))


def _motorway() -> TownPlan:
    """A motorway with one ramp onto it."""
    nodes = {
        "west": Node(-400.0, 0.0, "stop"),
        "east": Node(500.0, 0.0, "stop"),
        "ramp": Node(-260.0, -120.0, "stop"),
    }
    street = Street("west", "east", lanes=(2, 2), width=3.75, limit=22.2, motorway=True)
    entry = Entry(RAMP, (0.0, 0.0), 160.0, "ramp", ((-180.0, -60.0, 60.0),))
    return TownPlan(nodes, (street,), (), (entry,))


def _winding(number: int) -> TownPlan:
    """A road of one lane, one way, with bends to either side by turns of a coin."""
    random = np.random.default_rng(number)
    x, y, heading = 0.0, 0.0, 0.0
    corners = [(x, y)]
    for _ in range(BENDS + 1):
        leg = random.uniform(*LEG)
        x, y = x + leg * math.cos(heading), y + leg * math.sin(heading)
        corners.append((x, y))
        turn = math.radians(random.uniform(*TURN)) * random.choice((-1.0, 1.0))
        # A road that turns back could meet itself.
        heading = heading + turn if abs(heading + turn) < 0.5 * math.pi else heading - turn
    radii = random.uniform(*RADIUS, BENDS)
    via = [(*corner, radius) for corner, radius in zip(corners[1:-1], radii, strict=True)]
    ends = {"west": Node(*corners[0], "stop"), "east": Node(*corners[-1], "stop")}
    width = random.uniform(3.2, 3.6)
    street = Street("west", "east", tuple(via), lanes=(1, 0), width=width)
    return TownPlan(ends, (street,))


LAYOUTS: dict[str, Callable[[], TownPlan]] = {
    "signals": lambda: _crossing(Node(0.0, 0.0)),
    "stop": lambda: _crossing(Node(0.0, 0.0, "stop")),
    "roundabout": lambda: _crossing(Node(0.0, 0.0, "roundabout", 18.0)),
    "narrow": lambda: _street((1, 1)),
    "wide": lambda: _street((2, 2)),
    "motorway": _motorway,
    **{f"winding {k}": functools.partial(_winding, k) for k in range(WINDING_ROADS)},
}
"""Roads by name; crossings and streets lie around (0, 0)."""


@functools.cache
def road(name: str) -> RoadNetwork:
    """Returns one of `LAYOUTS` as a map."""
    return build(name, LAYOUTS[name]())


class Pieces(NamedTuple):
    """The straight pieces of the centres of all drivable lanes of a road."""

    lane: NDArray[np.intp]
    start: Floats
    """[piece, 2] [m]."""

    along: Floats
    """Unit vectors, [piece, 2]."""

    length: Floats
    """[m]"""

    s: Floats
    """Along the lane, where they begin [m]."""


@functools.cache
def _pieces(name: str) -> Pieces:
    found: list[list[Any]] = [[] for _ in Pieces._fields]
    for number, lane in enumerate(road(name).lanes):
        if not lane.drivable:
            continue
        step, s = np.diff(lane.centre[:, :2], axis=0), lane.arc_length
        length = np.hypot(*step.T)
        parts = (np.full(len(step), number), lane.centre[:-1, :2], step / length[:, None], length)
        for kept, part in zip(found, (*parts, s[:-1]), strict=True):
            kept.append(part)
    return Pieces(*(np.concatenate(one) for one in found))


def lane_at(name: str, x: float, y: float, heading: float) -> Place:
    """Returns the place nearest to a point on a lane that runs in a direction.

    Args:
        name: Of the road.
        x: East [m].
        y: North [m].
        heading: Counter-clockwise from +x, within 45 degrees of the lane's [rad].
    """
    all_of = _pieces(name)
    aligned = all_of.along @ np.array([math.cos(heading), math.sin(heading)]) > ALIGNED
    away = np.array([x, y]) - all_of.start
    t = np.clip((away * all_of.along).sum(1), 0.0, all_of.length)
    distance = np.hypot(*(away - t[:, None] * all_of.along).T)
    k = int(np.where(aligned, distance, np.inf).argmin())
    return Place(road(name).lanes[all_of.lane[k]], float(all_of.s[k] + t[k]))


def arm(name: str, end: str, away: float, *, leaving: bool) -> Place:
    """Returns a place on an arm of a crossing.

    Args:
        name: Of the crossing.
        end: Of the arm, one of `OUTWARDS`.
        away: From the middle of the crossing [m].
        leaving: On the lane that leads out of it.
    """
    x, y = OUTWARDS[end]
    outwards = math.atan2(y, x)
    heading = outwards if leaving else outwards + math.pi
    right = heading - 0.5 * math.pi
    px, py = away * x + HALF_LANE * math.cos(right), away * y + HALF_LANE * math.sin(right)
    return lane_at(name, px, py, heading)


def pose(place: Place, aside: float = 0.0) -> tuple[float, float, float, float]:
    """Returns x, y, z [m] and heading [rad] of a place.

    Args:
        place: On a lane.
        aside: To the left of its centre [m].
    """
    centre, s = place.lane.centre, place.lane.arc_length
    k = min(max(int(np.searchsorted(s, place.s, "right")) - 1, 0), len(s) - 2)
    share = (place.s - s[k]) / (s[k + 1] - s[k])
    x, y, z = centre[k] + share * (centre[k + 1] - centre[k])
    heading = math.atan2(*(centre[k + 1] - centre[k])[1::-1])
    return x - aside * math.sin(heading), y + aside * math.cos(heading), float(z), heading
