"""Who waits at a junction: lights in groups that do not conflict, signs, rules, crosswalks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.junctions import Way, angle_between
from selfdrive_env.maps.procedural.roads.streets import Arm, Work
from selfdrive_env.maps.road_network import Crosswalk, Signal, SignalGroup, StopLine
from selfdrive_env.maps.towns.centre_lines import Pose

__all__ = ["CONTROLS", "add_crosswalk", "add_sign", "control_junction", "main_arms"]

Floats = NDArray[np.float64]

CONTROLS = ("signals", "stop", "all_way_stop", "yield", "priority", "right_first", "none")
"""Kinds of control. "stop" and "yield" give the arms of the highest rank priority, "priority" does
the same and shows signs on the main road."""

LINE_SETBACK = 0.6
"""From a stop line to the end of its lanes [m]."""

CROSSWALK = (1.0, 4.0)
"""From where to where behind the end of the lanes a crosswalk lies [m]."""

KEPT_APART = 1.6
"""Ways whose centre lines come closer than this are in conflict [m]."""

ROADSIDE = 1.0
"""From the edge of the lanes to a sign [m]."""


def control_junction(
    work: Work, junction: int, arms: list[Arm], ways: list[Way], control: str
) -> None:
    """Adds lights, stop lines and signs, and says who goes first.

    Args:
        work: Extended by them.
        junction: Index of the junction.
        arms: Counter-clockwise.
        ways: Through the junction.
        control: One of `CONTROLS`.
    """
    network = work.network
    if control == "signals":
        _add_lights(work, junction, arms, ways)
        return
    if control == "right_first":
        network.junctions[junction].rule = "right_first"
        return
    if control == "all_way_stop":
        network.junctions[junction].rule = "all_way_stop"
        for arm in arms:
            if arm.incoming:
                add_sign(work, junction, arm, "stop_sign")
        return
    if control == "none":
        return
    main = main_arms(arms)
    for number, arm in enumerate(arms):
        if not arm.incoming:
            continue
        if number in main:
            if control == "priority":
                add_sign(work, junction, arm, "priority_sign")
        else:
            add_sign(work, junction, arm, "stop_sign" if control == "stop" else "yield_sign")
    for way in ways:
        network.lanes[way.lane].precedence = 1 if way.arrival in main else -1


def main_arms(arms: list[Arm]) -> set[int]:
    """Returns the two arms of the main road: of highest rank, and as straight as can be."""
    if len(arms) < 2:
        return set(range(len(arms)))

    def worth(couple: tuple[int, ...]) -> float:
        a, b = (arms[k] for k in couple)
        return 10.0 * (a.rank + b.rank) - round(abs(angle_between(a, b)), 6)

    couples: list[tuple[int, ...]] = list(itertools.combinations(range(len(arms)), 2))
    best = max(couples, key=worth)
    return set(best)


def _point(pose: Pose, z: float) -> Floats:
    return np.array([pose.x, pose.y, z])


def add_sign(
    work: Work, junction: int, arm: Arm, kind: str, lanes: Sequence[int] | None = None
) -> int:
    """Adds a sign or light to an approach; lights and stop signs with their line.

    Args:
        work: Extended by them.
        junction: Index of the junction.
        arm: Of the approach.
        kind: Of the signal.
        lanes: For which it is; all of the approach without.

    Returns:
        Index of the signal.
    """
    network = work.network
    lanes = list(arm.incoming if lanes is None else lanes)
    place = arm.mouth.moved(LINE_SETBACK).reversed()
    heading = math.remainder(place.heading, 2.0 * math.pi)
    number = len(network.signals)
    name = f"{network.junctions[junction].name} {number}"
    side = _point(place.moved(0.0, -arm.width_in - ROADSIDE), arm.z)
    network.signals.append(Signal(name, kind, side, heading, lanes))
    if kind not in ("traffic_light", "stop_sign"):
        return number
    widths = [float(network.lanes[lane].width[-1]) for lane in arm.incoming]
    edges = arm.gap_in + np.concatenate([[0.0], np.cumsum(widths)])
    first, last = (arm.incoming.index(lanes[k]) for k in (0, -1))
    left = _point(place.moved(0.0, -float(edges[first])), arm.z)
    right = _point(place.moved(0.0, -float(edges[last + 1])), arm.z)
    whole = last + 1 - first == len(arm.incoming)
    network.stop_lines.append(
        StopLine(
            left,
            right,
            _point(place.moved(0.0, arm.width_out), arm.z) if whole or first == 0 else left.copy(),
            right.copy(),
            heading,
            [(lane, network.lanes[lane].length - LINE_SETBACK) for lane in lanes],
            "signal" if kind == "traffic_light" else "stop_sign",
            number,
        )
    )
    return number


def _add_lights(work: Work, junction: int, arms: list[Arm], ways: list[Way]) -> None:
    """Adds lights, as few groups as can be without two in conflict."""
    network = work.network
    units: list[tuple[Arm, list[int], list[Way]]] = []
    for number, arm in enumerate(arms):
        own = [way for way in ways if way.arrival == number]
        lefts = [
            lane
            for lane in arm.incoming
            if {way.turn for way in own if way.source == lane} == {"l"}
        ]
        rest = [lane for lane in arm.incoming if lane not in lefts]
        for lanes in (rest, lefts) if rest and lefts else (arm.incoming,):
            if lanes:
                units.append((arm, lanes, [way for way in own if way.source in lanes]))
    groups: list[list[int]] = []
    for number, (_, _, own) in enumerate(units):
        fitting = next(
            (
                group
                for group in groups
                if not any(_in_conflict(work, own, units[other][2]) for other in group)
            ),
            None,
        )
        if fitting is None:
            groups.append([number])
        else:
            fitting.append(number)
    for group in groups:
        index = len(network.signal_groups)
        made = SignalGroup(f"{network.junctions[junction].name} {index}", [], junction)
        network.signal_groups.append(made)
        network.junctions[junction].signal_groups.append(index)
        for number in group:
            arm, lanes, _ = units[number]
            made.signals.append(add_sign(work, junction, arm, "traffic_light", lanes))
            network.signals[made.signals[-1]].group = index


def _in_conflict(work: Work, ways: Sequence[Way], others: Sequence[Way]) -> bool:
    """Whether ways of two approaches meet or come too close."""
    lanes = work.network.lanes
    for way in ways:
        for other in others:
            if way.arrival == other.arrival:
                continue
            if way.target == other.target:
                return True
            a, b = lanes[way.lane].centre[:, :2], lanes[other.lane].centre[:, :2]
            if float(np.min(np.hypot(*(a[:, None] - b[None]).T))) < KEPT_APART:
                return True
    return False


def add_crosswalk(work: Work, arm: Arm) -> None:
    """Adds a crossing over the whole carriageway, just inside the junction."""
    near, far = CROSSWALK
    corners = ((-near, -1), (-near, 1), (-far, 1), (-far, -1))
    sides = {-1: -arm.width_out, 1: arm.width_in}
    outline = [_point(arm.mouth.moved(ahead, sides[side]), arm.z) for ahead, side in corners]
    work.network.crosswalks.append(Crosswalk(np.array(outline)))
