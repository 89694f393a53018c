"""A road network under construction: lanes laid along centre lines, with exact poses at their ends.

Lateral offsets are positive to the left of the line. Right-hand traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Junction, Lane, RoadNetwork
from selfdrive_env.maps.towns.centre_lines import (
    CentreLine,
    Pose,
    connection,
    evaluate,
    pose_at,
    stations,
)

__all__ = [
    "TOWN_LIMIT",
    "TURN_LIMIT",
    "Arm",
    "Node",
    "Town",
    "add_lane",
    "connect",
    "link",
    "new_junction",
    "new_road",
    "pair",
    "smooth",
]

Floats = NDArray[np.float64]

TOWN_LIMIT = 13.9
"""[m/s]"""

TURN_LIMIT = 8.3
"""In roundabouts and for turns [m/s]."""


@dataclass(frozen=True, slots=True)
class Node:
    """Where streets meet."""

    x: float
    y: float
    kind: str = "signals"
    """ "signals", "stop" (stop signs on the minor arm of a T, else on all) or "roundabout"."""

    radius: float = 0.0
    """Ring of a roundabout; else the distance at which arms end, 0: from the lanes [m]."""


@dataclass(slots=True)
class Arm:
    """The end of a street at a node."""

    mouth: Pose
    """On the line between the directions, looking away from the node."""

    incoming: list[int]
    outgoing: list[int]
    width_in: float
    width_out: float


@dataclass(slots=True)
class Town:
    """The network under construction."""

    network: RoadNetwork
    poses: list[tuple[Pose, Pose]] = field(default_factory=list)
    """First and last pose of each lane, exact."""

    arms: dict[str, list[Arm]] = field(default_factory=dict)


def _offset(line: CentreLine, s: Floats, z: Floats, d: Floats | float) -> Floats:
    """Points at lateral offset `d` from the line, [P, 3]."""
    x, y, heading = evaluate(line, s)
    return np.stack([x - d * np.sin(heading), y + d * np.cos(heading), z], -1)


def smooth(fraction: Floats) -> Floats:
    """Rises from 0 to 1 with level ends."""
    t = np.clip(fraction, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def add_lane(
    town: Town,
    road: str,
    name: str,
    line: CentreLine,
    s: Floats,
    z: Floats,
    edges: tuple[Floats | float, Floats | float],
    *,
    kind: str = "driving",
    limit: float = TOWN_LIMIT,
    junction: int = -1,
    backward: bool = False,
) -> int:
    """Adds one lane along a part of a line.

    Args:
        town: Extended by the lane.
        road: Name of its road.
        name: Of the lane.
        line: Reference line.
        s: Stations, increasing, [P] [m].
        z: Heights at the stations, [P] [m].
        edges: Lateral offsets of the inner and the outer boundary, each one number or [P] [m].
        kind: OpenDRIVE lane type.
        limit: Speed limit [m/s].
        junction: Index of the junction it runs through, or -1.
        backward: It runs against the line.

    Returns:
        Index of the lane.
    """
    inner, outer = edges
    middle = 0.5 * (np.asarray(inner) + np.asarray(outer))
    left, centre, right = (_offset(line, s, z, d) for d in (inner, middle, outer))
    ends = [
        pose_at(line, s[k]).moved(0.0, float(np.broadcast_to(middle, s.shape)[k])) for k in (0, -1)
    ]
    if backward:
        left, centre, right = left[::-1].copy(), centre[::-1].copy(), right[::-1].copy()
        ends = [ends[1].reversed(), ends[0].reversed()]
    network = town.network
    network.lanes.append(
        Lane(name, kind, centre, left, right, speed_limit=limit, road=road, junction=junction)
    )
    town.poses.append((ends[0], ends[1]))
    lane = len(network.lanes) - 1
    if junction >= 0:
        network.junctions[junction].lanes.append(lane)
    if network.lanes[lane].drivable:
        network.driving_lane_km += float(s[-1] - s[0]) / 1000.0
    return lane


def new_road(town: Town) -> str:
    """Returns the name of the next road."""
    town.network.num_roads += 1
    return str(town.network.num_roads)


def new_junction(town: Town, name: str, kind: str = "default") -> int:
    """Adds an empty junction."""
    town.network.junctions.append(Junction(name, kind))
    return len(town.network.junctions) - 1


def link(town: Town, lane: int, successor: int) -> None:
    """Lets `successor` follow `lane`."""
    town.network.lanes[lane].successors.append(successor)
    town.network.lanes[successor].predecessors.append(lane)


def pair(town: Town, left: int, right: int) -> None:
    """Makes two lanes neighbours."""
    town.network.lanes[left].right_neighbour = right
    town.network.lanes[right].left_neighbour = left


def connect(
    town: Town, lane: int, target: Pose, target_width: float, limit: float, junction: int
) -> int:
    """Adds a connecting lane from the end of `lane` to a pose and links it at its start."""
    source = town.network.lanes[lane]
    line = connection(town.poses[lane][1], target)
    s = stations(line, 0.0, line.length)
    if s.size < math.ceil(line.length) + 1:
        s = np.linspace(0.0, line.length, math.ceil(line.length) + 1)
    start_width = float(source.width[-1])
    half = 0.5 * (start_width + (target_width - start_width) * smooth(s / line.length))
    z = np.full(s.shape, source.centre[-1, 2])
    road = new_road(town)
    new = add_lane(
        town, road, f"{road}/0/-1", line, s, z, (half, -half), limit=limit, junction=junction
    )
    link(town, lane, new)
    return new
