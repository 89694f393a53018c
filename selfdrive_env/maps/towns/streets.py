"""Builds a `RoadNetwork` from a short description of a town: nodes, streets and motorway ramps.

Streets are centre lines with lanes to either side, cut off before each node; nodes join them by
connecting lanes. Right-hand traffic. Lane lists run from the innermost lane to the outermost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import move
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.maps.towns.builder import (
    TOWN_LIMIT,
    Arm,
    Node,
    Town,
    add_lane,
    link,
    new_junction,
    new_road,
    pair,
    smooth,
)
from selfdrive_env.maps.towns.centre_lines import (
    CentreLine,
    nearest_station,
    polyline_with_arcs,
    pose_at,
    stations,
)
from selfdrive_env.maps.towns.junctions import build_junction, build_roundabout

__all__ = ["Entry", "Exit", "Street", "TownPlan", "build"]

Floats = NDArray[np.float64]

TURN_RADIUS = 9.5
"""Roughly that of a right turn at a right angle, at the lane centre [m]."""

RING_REACH = 15.0
"""From the ring's centre line to where the arms end [m]."""

SIDEWALK_WIDTH = 2.0
DIVERGING_LENGTH = 60.0
"""Of the piece in which an exit leaves the motorway [m]."""

TAPER_LENGTH = 40.0
TAPER_WIDTH = 1.5
"""The acceleration lane narrows to this over its last `TAPER_LENGTH` [m]."""

RAMP_RADIUS = 70.0
"""Of the curve beside the motorway [m]."""

RAMP_LEAD = 40.0
"""Ramps run straight for this long beside the motorway [m]."""

CREST_HALF_LENGTH = 22.0
CREST_HEIGHT = 6.2
CLIMB_LENGTH = 165.0
"""Length of the smooth rise; its steepest grade is 1.5 CREST_HEIGHT / CLIMB_LENGTH [m]."""


@dataclass(frozen=True, slots=True)
class Street:
    """A road between two nodes."""

    start: str
    end: str
    via: tuple[tuple[float, float, float], ...] = ()
    """(x, y, radius of the arc) of each corner on the way [m]."""

    lanes: tuple[int, int] = (1, 1)
    """Forward and backward."""

    width: float = 3.5
    limit: float = TOWN_LIMIT
    motorway: bool = False
    slow: float = 0.0
    """Length of either end that has the town's speed limit, of a motorway [m]."""

    bridge: tuple[float, float] | None = None
    """The street is raised over this point [m]."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A ramp that leaves the forward lanes of a motorway for a node."""

    motorway: tuple[str, str]
    at: tuple[float, float]
    end: str
    via: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A ramp from a node to an acceleration lane beside the forward lanes of a motorway."""

    motorway: tuple[str, str]
    at: tuple[float, float]
    length: float
    start: str
    via: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TownPlan:
    """A town."""

    nodes: dict[str, Node]
    streets: tuple[Street, ...]
    exits: tuple[Exit, ...] = ()
    entries: tuple[Entry, ...] = ()
    angle: float = 0.0
    """The whole town is turned by this [rad]."""


def build(name: str, plan: TownPlan) -> RoadNetwork:
    """Returns the road network of a town, centred on (0, 0).

    Args:
        name: Of the network.
        plan: What to build.
    """
    town = Town(RoadNetwork(name, source=name))
    for street in plan.streets:
        _build_street(town, plan, street)
    for key, node in plan.nodes.items():
        if node.kind == "roundabout":
            build_roundabout(town, key, node)
        else:
            build_junction(town, key, node)

    cosine, sine = math.cos(plan.angle), math.sin(plan.angle)
    network = town.network.transformed(np.array([[cosine, -sine], [sine, cosine]]))
    network.driving_lane_km = float(network.driving_lane_km)
    points = np.concatenate([np.concatenate([lane.left, lane.right]) for lane in network.lanes])
    move(network, np.append(-0.5 * (points.min(0) + points.max(0))[:2], 0.0))
    network.origin = (0.0, 0.0, 0.0)
    return network


def _mouth_distance(plan: TownPlan, key: str) -> float:
    """Distance from a node's centre at which its arms end [m]."""
    node = plan.nodes[key]
    if node.kind == "roundabout":
        return node.radius + RING_REACH
    if node.radius > 0.0:
        return node.radius
    widest = 0.5 * 3.75
    for street in plan.streets:
        if key in (street.start, street.end):
            widest = max(widest, (max(street.lanes) - 0.5) * street.width)
    return widest + TURN_RADIUS


def _elevation(line: CentreLine, street: Street) -> tuple[Floats, Floats]:
    """Heights along a street as dense samples (station [m], z [m])."""
    samples = np.linspace(0.0, line.length, max(2, math.ceil(line.length)))
    if street.bridge is None:
        return samples, np.zeros_like(samples)
    away = np.abs(samples - nearest_station(line, *street.bridge)) - CREST_HALF_LENGTH
    return samples, CREST_HEIGHT * (1.0 - smooth(away / CLIMB_LENGTH))


def _build_street(town: Town, plan: TownPlan, street: Street) -> None:
    """Adds a street, in sections, with its ramps if it is a motorway."""
    ends = [plan.nodes[street.start], plan.nodes[street.end]]
    corners = [(ends[0].x, ends[0].y), *((x, y) for x, y, _ in street.via), (ends[1].x, ends[1].y)]
    line = polyline_with_arcs(corners, [radius for *_, radius in street.via])
    first = _mouth_distance(plan, street.start)
    last = line.length - _mouth_distance(plan, street.end)
    key = (street.start, street.end)
    exits = {nearest_station(line, *e.at): e for e in plan.exits if e.motorway == key}
    entries = {nearest_station(line, *e.at): e for e in plan.entries if e.motorway == key}

    breaks = {first, last}
    breaks |= {first + street.slow, last - street.slow}
    breaks |= {s + extra for s in exits for extra in (0.0, DIVERGING_LENGTH)}
    breaks |= {s + extra for s, e in entries.items() for extra in (0.0, e.length)}
    edges = sorted(breaks)
    heights = _elevation(line, street)
    road = new_road(town)
    previous: tuple[list[int], list[int]] = ([], [])
    outer: list[tuple[list[int], list[int]]] = []
    for section, (low, high) in enumerate(pairwise(edges)):
        slow = high <= first + street.slow or low >= last - street.slow
        limit = TOWN_LIMIT if slow else street.limit
        leaving = next((e for s, e in exits.items() if s == low), None)
        joining = next((e for s, e in entries.items() if s == low), None)
        junction = new_junction(town, f"exit {road}", "direct") if leaving else -1
        s = stations(line, low, high)
        if joining:
            s = np.linspace(low, high, math.ceil(high - low) + 1)
        z = np.interp(s, *heights)
        forward, backward = _add_section(
            town, f"{road}/{section}", line, s, z, street, limit, junction
        )
        for lane, successor in zip(previous[0], forward, strict=False):
            link(town, lane, successor)
        for lane, successor in zip(backward, previous[1], strict=False):
            link(town, lane, successor)
        if leaving:
            _build_exit(town, plan, leaving, previous[0][-1], junction, street)
        if joining:
            _build_entry(town, plan, joining, f"{road}/{section}", line, s, z, forward, street)
        previous = (forward, backward)
        outer.append(previous)

    widths = [count * street.width for count in street.lanes]
    start, end = pose_at(line, first), pose_at(line, last).reversed()
    town.arms.setdefault(street.start, []).append(
        Arm(start, outer[0][1], outer[0][0], widths[1], widths[0])
    )
    town.arms.setdefault(street.end, []).append(
        Arm(end, outer[-1][0], outer[-1][1], widths[0], widths[1])
    )


def _add_section(
    town: Town,
    prefix: str,
    line: CentreLine,
    s: Floats,
    z: Floats,
    street: Street,
    limit: float,
    junction: int,
) -> tuple[list[int], list[int]]:
    """Adds the lanes of one section; `junction` holds the forward ones."""
    road, width = prefix.split("/")[0], street.width
    sides: list[list[int]] = []
    for side, count in ((-1, street.lanes[0]), (1, street.lanes[1])):
        lanes: list[int] = []
        for k in range(count):
            lane = add_lane(
                town,
                road,
                f"{prefix}/{side * (k + 1)}",
                line,
                s,
                z,
                (side * k * width, side * (k + 1) * width),
                limit=limit,
                backward=side > 0,
                junction=junction if side < 0 else -1,
            )
            if lanes:
                pair(town, lanes[-1], lane)
            lanes.append(lane)
        sides.append(lanes)
    if not street.motorway:
        for side, count in ((-1, street.lanes[0]), (1, street.lanes[1])):
            kerb = side * count * width
            add_lane(
                town,
                road,
                f"{prefix}/{side * (count + 1)}",
                line,
                s,
                z,
                (kerb, kerb + side * SIDEWALK_WIDTH),
                kind="sidewalk",
                limit=0.0,
                backward=side > 0,
            )
    return sides[0], sides[1]


def _build_exit(
    town: Town, plan: TownPlan, ramp: Exit, lane: int, junction: int, street: Street
) -> None:
    """Adds the ramp that leaves `lane` at its end."""
    start = town.poses[lane][1]
    lead, node = start.moved(RAMP_LEAD), plan.nodes[ramp.end]
    corners = [start[:2], lead[:2], *((x, y) for x, y, _ in ramp.via), (node.x, node.y)]
    line = polyline_with_arcs(corners, [RAMP_RADIUS, *(radius for *_, radius in ramp.via)])
    last = line.length - _mouth_distance(plan, ramp.end)
    road, half = new_road(town), 0.5 * street.width
    before = lane
    for section, (low, high) in enumerate(((0.0, DIVERGING_LENGTH), (DIVERGING_LENGTH, last))):
        s = stations(line, low, high)
        new = add_lane(
            town,
            road,
            f"{road}/{section}/-1",
            line,
            s,
            np.zeros_like(s),
            (half, -half),
            kind="offRamp",
            limit=TOWN_LIMIT,
            junction=junction if section == 0 else -1,
        )
        link(town, before, new)
        before = new
    mouth = pose_at(line, last).moved(0.0, half).reversed()
    town.arms.setdefault(ramp.end, []).append(Arm(mouth, [before], [], street.width, 0.0))


def _build_entry(
    town: Town,
    plan: TownPlan,
    ramp: Entry,
    prefix: str,
    line: CentreLine,
    s: Floats,
    z: Floats,
    forward: list[int],
    street: Street,
) -> None:
    """Adds the ramp from a node and the acceleration lane beside the section's forward lanes."""
    road, inner = prefix.split("/")[0], -street.lanes[0] * street.width
    narrowing = smooth((s - (s[-1] - TAPER_LENGTH)) / TAPER_LENGTH)
    width = street.width - (street.width - TAPER_WIDTH) * narrowing
    acceleration = add_lane(
        town,
        road,
        f"{prefix}/{-street.lanes[0] - 1}",
        line,
        s,
        z,
        (inner, inner - width),
        kind="entry",
        limit=street.limit,
    )
    pair(town, forward[-1], acceleration)

    end, node = town.poses[acceleration][0], plan.nodes[ramp.start]
    lead = end.moved(-RAMP_LEAD)
    corners = [(node.x, node.y), *((x, y) for x, y, _ in ramp.via), lead[:2], end[:2]]
    line = polyline_with_arcs(corners, [*(radius for *_, radius in ramp.via), RAMP_RADIUS])
    first = _mouth_distance(plan, ramp.start)
    s = stations(line, first, line.length)
    road, half = new_road(town), 0.5 * street.width
    lane = add_lane(
        town, road, f"{road}/0/-1", line, s, np.zeros_like(s), (half, -half), kind="onRamp"
    )
    link(town, lane, acceleration)
    mouth = pose_at(line, first).moved(0.0, half)
    town.arms.setdefault(ramp.start, []).append(Arm(mouth, [], [lane], 0.0, street.width))
