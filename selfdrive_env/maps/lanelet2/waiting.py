"""Where traffic waits for a light or sign: at which lanes, and how far along them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.stop_lines import SETBACK, crossing_of
from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["beyond", "entries", "junction_ahead", "waiting_places"]

Floats = NDArray[np.float64]

BACK = 30.0
"""How far before a lane the line that is drawn for it may lie [m]."""

JOINT = 1.0
"""A line this soon after the start of a lane is one at the end of those before it [m]."""

MIN_SETBACK = 0.5
"""Smallest distance before a junction of a line that is drawn [m]."""

AHEAD = 60.0
"""A junction this far ahead is the one that a lane leads to [m]."""

INSET = 0.1
"""How far into a lane one waits at its start [m]."""


def entries(lane: int, lanes: list[Lane]) -> list[int]:
    """Returns the lanes outside a junction from which a lane in it is reached, none at a rim.

    Args:
        lane: Index of the lane.
        lanes: All lanes.
    """
    junction = lanes[lane].junction
    seen, border, found = {lane}, [lane], []
    while border and junction >= 0:
        for before in lanes[border.pop()].predecessors:
            if lanes[before].junction != junction:
                found.append(before)
            elif before not in seen:
                seen.add(before)
                border.append(before)
    return list(dict.fromkeys(found))


def beyond(lane: int, lanes: list[Lane]) -> list[int]:
    """Returns the lanes through the junction that a lane leads to, or itself where it is in one.

    Args:
        lane: Index of the lane.
        lanes: All lanes.
    """
    if lanes[lane].junction >= 0:
        return [lane]
    way = 0.0
    for _ in range(len(lanes)):
        inside = [i for i in lanes[lane].successors if lanes[i].junction >= 0]
        if inside or len(lanes[lane].successors) != 1:
            return inside
        lane = lanes[lane].successors[0]
        way += lanes[lane].length
        if way > AHEAD:
            break
    return []


def junction_ahead(lane: int, lanes: list[Lane]) -> int:
    """Returns the junction that a lane leads to, or runs through, -1 for none."""
    return next((lanes[i].junction for i in beyond(lane, lanes)), -1)


def waiting_places(
    network: RoadNetwork, lane: int, marks: list[Floats], heeding: Iterable[int]
) -> list[tuple[int, float]]:
    """Returns (lane, arc length [m]) of where the traffic of a lane waits.

    That is where a drawn line crosses the lane, or one before it; else at its end. For a lane in a
    junction it is before the junction, unless traffic that turns elsewhere there need not wait.

    Args:
        network: Its lanes are linked and have their junctions.
        lane: Index of the lane.
        marks: Drawn lines, [P, 2 or 3] [m] each.
        heeding: All lanes that the light or sign is for.
    """
    lanes = network.lanes
    if lanes[lane].junction < 0:
        ahead = [i for i in lanes[lane].successors if lanes[i].junction < 0]
        return [_place(lanes, lane, marks, ahead)]
    before = entries(lane, lanes)
    heed = set(heeding)
    found = []
    for entry in before:
        free = [i for i in lanes[entry].successors if lanes[i].drivable and i not in heed]
        if free and lane in lanes[entry].successors:
            found.append((lane, min(INSET, 0.5 * lanes[lane].length)))
        else:
            found.append(_place(lanes, entry, marks, []))
    return found or [(lane, min(INSET, 0.5 * lanes[lane].length))]


def _place(
    lanes: list[Lane], lane: int, marks: list[Floats], ahead: list[int]
) -> tuple[int, float]:
    """Returns where a drawn line crosses a lane, one before it or one of `ahead`; else its end."""
    here, way = [lane], 0.0
    seen: set[int] = set()
    while marks and here and way <= BACK:
        for one in here:
            s, length = _first_crossing(lanes[one], marks), lanes[one].length
            near = one == lane or (s is not None and way + length - s <= BACK)
            if s is not None and near and (s > JOINT or not lanes[one].predecessors):
                margin = min(MIN_SETBACK, 0.5 * length)
                inside = any(lanes[i].junction >= 0 for i in lanes[one].successors)
                return one, float(np.clip(s, min(INSET, margin), length - margin * inside))
        way += min(lanes[one].length for one in here) if lane not in here else 0.0
        seen.update(here)
        before = [i for one in here for i in lanes[one].predecessors]
        here = [i for i in dict.fromkeys(before) if i not in seen and lanes[i].junction < 0]
    for one in ahead:
        s = _first_crossing(lanes[one], marks)
        if s is not None and s > JOINT:
            return one, s
    length = lanes[lane].length
    drawn = any(_first_crossing(lanes[i], marks) is not None for i in lanes[lane].successors)
    return lane, length - min(MIN_SETBACK if drawn else SETBACK, 0.5 * length)


def _first_crossing(lane: Lane, marks: list[Floats]) -> float | None:
    """Returns the arc length at which the first of some lines crosses a lane, None for nowhere."""
    found = (crossing_of(lane, mark) for mark in marks)
    return next((s for s in found if s is not None), None)
