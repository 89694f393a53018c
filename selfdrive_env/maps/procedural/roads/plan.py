"""A plan of nodes and streets, and how it becomes a `RoadNetwork`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems, finish
from selfdrive_env.maps.procedural.roads.control import add_crosswalk, control_junction
from selfdrive_env.maps.procedural.roads.junctions import join_arms, sorted_arms
from selfdrive_env.maps.procedural.roads.lines import TURN_SPIRAL, bend_pieces, tangent_length
from selfdrive_env.maps.procedural.roads.rounds import (
    build_loop,
    build_mini_roundabout,
    build_roundabout,
    round_reach,
)
from selfdrive_env.maps.procedural.roads.streets import (
    Laid,
    Street,
    Work,
    lay_street,
    middle_at,
    new_junction,
    width_at,
)
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.maps.towns.centre_lines import Pose, pose_at

__all__ = ["Node", "Plan", "build", "build_node", "mouths", "rounded"]

Floats = NDArray[np.float64]

CROSSWALK_ROOM = 4.5
"""From the curve of the kerb to where lanes end, where there is a crosswalk [m]."""

HALF_LANE = 1.65
"""Half the width of a lane where it ends at a junction, about [m]."""

LEAST_REACH = 3.0
"""From a node to the ends of its arms, at least [m]."""

FLAT_ANGLE = math.radians(160.0)
"""Between arms this far apart there is no corner."""

RESOLUTION = 2.0**-12
"""Coordinates are multiples of this [m]: so coarse that the last bits of sines, which differ from
machine to machine by some 1e-12, all but never turn one of the 100,000 numbers of a map."""


@dataclass(slots=True)
class Node:
    """Where streets meet."""

    x: float
    y: float
    control: str = "signals"
    """One of `CONTROLS`, "roundabout", "mini_roundabout" or "loop" (where a dead end turns)."""

    kerb: float = 8.0
    """Radius of the kerb at its corners [m]."""

    crosswalks: bool = False
    radius: float = 0.0
    """Of the ring or loop, to the middle of its outermost lane [m]."""

    ring_lanes: int = 1
    paved: bool = False
    """A loop has no island."""

    z: float = 0.0
    reach: float = 0.0
    """From the node to the ends of its arms, at least [m]."""


@dataclass(slots=True)
class Plan:
    """What to build."""

    nodes: list[Node] = field(default_factory=list)
    streets: list[Street] = field(default_factory=list)


def mouths(plan: Plan) -> list[tuple[float, float]]:
    """Returns how far from its nodes each street starts and ends [m]."""
    ends: dict[int, list[tuple[float, int, int, float, float]]] = {}
    for number, street in enumerate(plan.streets):
        for end, key in ((0, street.start), (1, street.end)):
            pose = pose_at(street.line, street.line.length if end else 0.0)
            heading = pose.heading + (math.pi if end else 0.0)
            aside = _aside(plan.nodes[key], pose, heading)
            section = street.sections[-end]
            shift = middle_at(section, end)
            right = width_at(section.forward, end)[1] - shift
            left = width_at(section.backward, end)[1] + shift
            # Seen from the node, the right side is that of the lanes that leave it.
            sides = (left, right) if end == 0 else (right, left)
            sides = (sides[0] + aside, sides[1] - aside)
            ends.setdefault(key, []).append((heading % (2.0 * math.pi), number, end, *sides))
    out = [[0.0, 0.0] for _ in plan.streets]
    for key, arms in ends.items():
        node = plan.nodes[key]
        arms.sort()
        for (_, number, end, *_), reach in zip(arms, _reaches(node, arms), strict=True):
            out[number][end] = reach
    return [(first, last) for first, last in out]


def _aside(node: Node, pose: Pose, heading: float) -> float:
    """Returns how far to the left of a node, seen from it, a street ends [m]."""
    dx, dy = pose.x - node.x, pose.y - node.y
    aside = dy * math.cos(heading) - dx * math.sin(heading)
    return aside if abs(aside) > RESOLUTION else 0.0


def _reaches(node: Node, arms: list[tuple[float, int, int, float, float]]) -> list[float]:
    """Returns how far from a node its arms end [m]."""
    if node.control in ("roundabout", "mini_roundabout", "loop"):
        headings = [heading for heading, *_ in arms]
        return [
            round_reach(node.control, node.radius, headings, k, max(arms[k][3:]) - HALF_LANE)
            for k in range(len(arms))
        ]
    least = max(LEAST_REACH, node.reach)
    reaches = [least] * len(arms)
    for k, (heading, _, _, left, _) in enumerate(arms):
        other = (k + 1) % len(arms)
        angle = (arms[other][0] - heading) % (2.0 * math.pi)
        right = arms[other][4]
        if other == k or angle > FLAT_ANGLE:
            continue
        # The lane's centre turns along clothoids, which take more room than the kerb's arc.
        bend = math.pi - angle
        shape = tangent_length(bend, bend_pieces(bend, 1.0, TURN_SPIRAL))
        fillet = (node.kerb + HALF_LANE) * shape - HALF_LANE / math.tan(0.5 * angle)
        own = (right + left * math.cos(angle)) / math.sin(angle) + fillet
        others = (left + right * math.cos(angle)) / math.sin(angle) + fillet
        reaches[k] = max(reaches[k], own)
        reaches[other] = max(reaches[other], others)
    extra = CROSSWALK_ROOM if node.crosswalks else 0.0
    return [reach + extra for reach in reaches]


def build(name: str, plan: Plan) -> tuple[RoadNetwork, list[Laid], Work]:
    """Lays all streets and joins them at their nodes.

    Args:
        name: Of the network.
        plan: What to build.

    Returns:
        The network, not finished; what became of each street; what it was built with.
    """
    work = Work(RoadNetwork(name, source=name))
    laid = []
    for number, (street, (first, last)) in enumerate(zip(plan.streets, mouths(plan), strict=True)):
        laid.append(lay_street(work, street, number, first, street.line.length - last))
    for key, node in enumerate(plan.nodes):
        if key in work.arms:
            build_node(work, key, node)
    return work.network, laid, work


def build_node(work: Work, key: int, node: Node) -> None:
    """Joins the arms of a node."""
    middle = (node.x, node.y)
    if node.control == "roundabout":
        build_roundabout(work, key, middle, node.radius, node.ring_lanes)
        return
    if node.control == "mini_roundabout":
        build_mini_roundabout(work, key, middle, node.radius)
        return
    if node.control == "loop":
        build_loop(work, key, middle, node.radius, paved=node.paved)
        return
    arms = sorted_arms(work.arms[key])
    junction = new_junction(work, f"node {key}")
    ways = join_arms(work, junction, arms, node.kerb)
    control_junction(work, junction, arms, ways, node.control)
    if node.crosswalks:
        for arm in arms:
            add_crosswalk(work, arm)


def rounded(network: RoadNetwork) -> RoadNetwork:
    """Completes a network and rounds its coordinates; changed in place."""
    finish(network, Problems())

    def near(points: Floats) -> Floats:
        return np.round(points / RESOLUTION) * RESOLUTION

    for lane in network.lanes:
        lane.left, lane.centre, lane.right = map(near, (lane.left, lane.centre, lane.right))
    for signal in network.signals:
        signal.position = near(signal.position)
        signal.heading = round(signal.heading, 4)
    for line in network.stop_lines:
        line.left, line.right = near(line.left), near(line.right)
        line.guard_left, line.guard_right = near(line.guard_left), near(line.guard_right)
        line.heading = round(line.heading, 4)
        line.lanes = [(lane, round(s, 4)) for lane, s in line.lanes]
    for crosswalk in network.crosswalks:
        crosswalk.outline = near(crosswalk.outline)
    network.driving_lane_km = round(network.driving_lane_km, 4)
    network.origin = (0.0, 0.0, 0.0)
    return network
