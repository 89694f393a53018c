"""Joins the arms of a node by connecting lanes, with stop lines, traffic lights and crosswalks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Crosswalk, Signal, SignalGroup, StopLine
from selfdrive_env.maps.towns.builder import (
    TURN_LIMIT,
    Arm,
    Node,
    Town,
    add_lane,
    connect,
    link,
    new_junction,
    new_road,
    pair,
)
from selfdrive_env.maps.towns.centre_lines import Pose, arc, stations

__all__ = ["build_junction", "build_roundabout"]

Floats = NDArray[np.float64]

RING_WIDTH = 4.5
RING_SPREAD = 34.0
"""Angle between an arm and where its entry meets the ring [deg]."""

STOP_SETBACK = 0.5
"""From a stop line to the end of its lanes [m]."""


def _direction(arrival: Arm, departure: Arm) -> str:
    """Returns "left", "straight" or "right"."""
    change = departure.mouth.heading - arrival.mouth.heading - math.pi
    turn = math.remainder(change, 2.0 * math.pi)
    if abs(turn) < math.radians(40.0):
        return "straight"
    return "left" if turn > 0.0 else "right"


def _movements(arrival: Arm, arms: list[Arm]) -> list[tuple[int, int, str]]:
    """Lists (incoming lane, outgoing lane, direction) for one approach."""
    targets = [(_direction(arrival, arm), arm) for arm in arms if arm is not arrival]
    left_possible = any(where == "left" and arm.outgoing for where, arm in targets)
    result = []
    for where, arm in targets:
        lanes, out = arrival.incoming, arm.outgoing
        if not lanes or not out:
            continue
        if where == "left":
            result.append((lanes[0], out[0], where))
        elif where == "right":
            result.append((lanes[-1], out[-1], where))
        else:
            if len(lanes) > len(out):
                lanes = lanes[-len(out) :] if left_possible else lanes[: len(out)]
            padded = lanes + [lanes[-1]] * (len(out) - len(lanes))
            result += [(lane, target, where) for lane, target in zip(padded, out, strict=True)]
    return result


def build_junction(town: Town, key: str, node: Node) -> None:
    """Joins the arms of a node by connecting lanes and adds stop lines and signals."""
    network = town.network
    arms = sorted(town.arms[key], key=lambda arm: arm.mouth.heading % (2.0 * math.pi))
    junction = new_junction(town, key)
    for arrival in arms:
        beside: dict[int, int] = {}
        for lane, target, direction in _movements(arrival, arms):
            width = float(network.lanes[target].width[0])
            limits = [network.lanes[k].speed_limit for k in (lane, target)]
            limit = min(limits) if direction == "straight" else TURN_LIMIT
            new = connect(town, lane, town.poses[target][0], width, limit, junction)
            link(town, new, target)
            if direction == "straight":
                _pair_parallel(town, beside, lane, new)

    for arm in arms:
        if not arm.incoming:
            continue
        minor = not any(_direction(arm, other) == "straight" for other in arms if other is not arm)
        if node.kind == "signals":
            _add_stop_line(town, arm, junction, "traffic_light")
            _add_crosswalk(town, arm)
        elif minor or len(arms) > 3:
            _add_stop_line(town, arm, junction, "stop_sign")
    if node.kind == "signals":
        for arm in arms:
            if not arm.incoming:
                _add_crosswalk(town, arm)


def _pair_parallel(town: Town, beside: dict[int, int], lane: int, new: int) -> None:
    """Makes straight connecting lanes from neighbouring lanes neighbours where they are alike."""
    lanes = town.network.lanes
    other = beside.get(lanes[lane].left_neighbour, -1)
    if lane not in beside and other >= 0:
        alike = lanes[other].centre.shape == lanes[new].centre.shape
        if alike and abs(lanes[other].length - lanes[new].length) < 1e-6:
            pair(town, other, new)
    beside.setdefault(lane, new)


def _point(pose: Pose, z: float) -> Floats:
    """The place of a pose with its height, [3]."""
    return np.array([pose.x, pose.y, z])


def _add_stop_line(town: Town, arm: Arm, junction: int, kind: str) -> None:
    """Adds the stop line of an approach with its traffic light or sign."""
    network = town.network
    z = float(network.lanes[arm.incoming[0]].centre[-1, 2])
    place = arm.mouth.moved(STOP_SETBACK).reversed()
    name = f"{network.junctions[junction].name} {len(network.signals)}"
    signal = Signal(
        name,
        kind,
        _point(place.moved(0.0, -arm.width_in - 1.0), z),
        place.heading,
        list(arm.incoming),
    )
    network.signals.append(signal)
    if kind == "traffic_light":
        signal.group = len(network.signal_groups)
        network.signal_groups.append(SignalGroup(name, [len(network.signals) - 1], junction))
        network.junctions[junction].signal_groups.append(signal.group)
    right = _point(place.moved(0.0, -arm.width_in), z)
    network.stop_lines.append(
        StopLine(
            _point(place, z),
            right,
            _point(place.moved(0.0, arm.width_out), z),
            right.copy(),
            math.remainder(place.heading, 2.0 * math.pi),
            [(lane, network.lanes[lane].length - STOP_SETBACK) for lane in arm.incoming],
            "signal" if kind == "traffic_light" else "stop_sign",
            len(network.signals) - 1,
        )
    )


def _add_crosswalk(town: Town, arm: Arm) -> None:
    """Adds a crossing over the whole carriageway, just inside the junction."""
    lane = (arm.incoming or arm.outgoing)[0]
    z = float(town.network.lanes[lane].centre[-1 if arm.incoming else 0, 2])
    corners = ((-0.3, -1), (-0.3, 1), (-3.3, 1), (-3.3, -1))
    sides = {-1: -arm.width_out, 1: arm.width_in}
    outline = [_point(arm.mouth.moved(ahead, sides[side]), z) for ahead, side in corners]
    town.network.crosswalks.append(Crosswalk(np.array(outline)))


def build_roundabout(town: Town, key: str, node: Node) -> None:
    """Adds a one-lane ring; each arm's entry and exit form a junction with it."""
    network = town.network
    full = 2.0 * math.pi
    arms = sorted(town.arms[key], key=lambda arm: arm.mouth.heading % full)
    angles = [arm.mouth.heading % full for arm in arms]
    spread, half = math.radians(RING_SPREAD), 0.5 * RING_WIDTH

    def ring_lane(first: float, angle: float, junction: int) -> int:
        x, y = node.x + node.radius * math.cos(first), node.y + node.radius * math.sin(first)
        line = arc(Pose(x, y, first + 0.5 * math.pi), 1.0 / node.radius, node.radius * angle)
        s, road = stations(line, 0.0, line.length), new_road(town)
        return add_lane(
            town,
            road,
            f"{road}/0/-1",
            line,
            s,
            np.zeros_like(s),
            (half, -half),
            limit=TURN_LIMIT,
            junction=junction,
        )

    passing, between = [], []
    for k, angle in enumerate(angles):
        junction = new_junction(town, f"{key} {k}")
        passing.append(ring_lane(angle - spread, 2.0 * spread, junction))
        gap = (angles[(k + 1) % len(angles)] - angle) % full
        between.append(ring_lane(angle + spread, gap - 2.0 * spread, -1))
    for k, arm in enumerate(arms):
        junction = network.lanes[passing[k]].junction
        link(town, between[k - 1], passing[k])
        link(town, passing[k], between[k])
        entry = connect(
            town, arm.incoming[0], town.poses[between[k]][0], RING_WIDTH, TURN_LIMIT, junction
        )
        link(town, entry, between[k])
        width = float(network.lanes[arm.outgoing[0]].width[0])
        leaving = connect(
            town, between[k - 1], town.poses[arm.outgoing[0]][0], width, TURN_LIMIT, junction
        )
        link(town, leaving, arm.outgoing[0])
        side = arm.mouth.reversed().moved(0.0, -arm.width_in - 1.0)
        network.signals.append(
            Signal(f"{key} {k}", "yield_sign", _point(side, 0.0), side.heading, [arm.incoming[0]])
        )
