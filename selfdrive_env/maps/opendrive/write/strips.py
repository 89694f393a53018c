"""Finds which lanes of a network lie side by side, so that one lane section can hold them.

Where lanes are called road/section/lane and do lie so, they stay together; others are put together
by their neighbours and by the edges that they share.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.differences import longer, offset
from selfdrive_env.maps.road_network import TWO_WAY, Lane, RoadNetwork

__all__ = ["MAX_REACH", "Strip", "find_strips", "single_strips"]

Floats = NDArray[np.float64]

NEAR = 0.02
"""Edges at most this far apart are the same [m]."""

CENTRE = 0.004
"""The same of the centre lines of two lanes over one surface [m]."""

MAX_REACH = 0.5
"""Ends of neighbours may be this far apart: each was cut square to itself [m]."""

REACH = 0.1
"""The same for other lanes that have an edge in common [m]."""

STEP = 0.5
"""Edges that end this much higher or lower are others [m]."""

CELL = 1.0
"""Cells in which the ends of edges are looked up [m]."""


NUMBERS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
"""The number of a lane section, and of a part of one."""

LANE_ID = re.compile(r"-?[0-9]{1,4}")


@dataclass(slots=True)
class Strip:
    """Lanes side by side."""

    lanes: list[int]
    """From left to right in the direction of the reference line."""

    forward: list[bool]
    """Whether the points of each run along the reference line."""

    left: int = 0
    """How many of them lie left of the reference line."""

    turned: dict[int, int] = field(default_factory=dict)
    """Place in `lanes` of those with traffic in both directions -> the lane for the other one."""

    road: str = ""
    """The name of the road in the network where the network's names fit, else ""."""

    number: str = ""
    """That of the section, likewise."""

    def members(self) -> list[tuple[int, int, bool]]:
        """Returns lane, place and whether its traffic runs along the reference line, of all."""
        usual = [(lane, k, self.forward[k]) for k, lane in enumerate(self.lanes)]
        return usual + [(lane, k, not self.forward[k]) for k, lane in self.turned.items()]


def find_strips(network: RoadNetwork) -> list[Strip]:
    """Returns each lane of a network in one strip, in the order of their first lanes."""
    twins = _twins(network.lanes)
    strips = _named(network, twins)
    named = {lane for strip in strips for lane, *_ in strip.members()}
    second = set(twins.values())
    for index in range(len(network.lanes)):
        if index not in named and index not in second:
            turned = {0: twins[index]} if index in twins else {}
            strips.append(Strip([index], [True], turned=turned))
    strips = _joined(network, strips, named)
    strips = [part for strip in strips for part in _sided(network, strip)]
    return sorted(strips, key=lambda strip: min(strip.lanes))


def single_strips(network: RoadNetwork, strip: Strip) -> list[Strip]:
    """Returns the lanes of a strip in strips of their own."""
    parts = []
    for k, lane in enumerate(strip.lanes):
        turned = {0: strip.turned[k]} if k in strip.turned else {}
        parts += _sided(network, Strip([lane], [True], turned=turned))
    return parts


def _twins(lanes: list[Lane]) -> dict[int, int]:
    """Returns for the first of two lanes in both directions of one surface the second."""
    waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
    twins: dict[int, int] = {}
    for index, lane in enumerate(lanes):
        if lane.type != TWO_WAY:
            continue
        column, row = np.floor(lane.centre[-1, :2] / CELL).astype(int).tolist()
        places = [(column + c, row + r) for c in (-1, 0, 1) for r in (-1, 0, 1)]
        others = [other for place in places for other in waiting.get(place, ())]
        for other in others:
            same = lanes[other].junction == lane.junction and other not in twins
            if same and _is_twin(lanes[other], lane):
                twins[other] = index
                break
        else:
            column, row = np.floor(lane.centre[0, :2] / CELL).astype(int).tolist()
            waiting[column, row].append(index)
    return twins


def _is_twin(one: Lane, other: Lane) -> bool:
    """Returns whether two lanes are the two directions of one surface, with one centre line."""
    centres = one.centre, other.centre[::-1]
    return _alike(one.left, other.right[::-1]) and _alike(*centres, CENTRE, CENTRE)


def _alike(one: Floats, other: Floats, reach: float = NEAR, near: float = NEAR) -> bool:
    """Returns whether two edges are the same line in the same direction.

    Args:
        one: The one, [P, 3] [m].
        other: The other one, [Q, 3] [m].
        reach: How far their ends may be apart [m].
        near: How far they may be apart between them [m].
    """
    ends = np.abs(one[[0, -1]] - other[[0, -1]])
    if ends[:, :2].max() > reach or ends[:, 2].max() > STEP:
        return False
    if len(one) == len(other) and np.abs(one[:, :2] - other[:, :2]).max() <= near:
        return True
    return max(offset(one, longer(other)), offset(other, longer(one))) <= near


def _named(network: RoadNetwork, twins: dict[int, int]) -> list[Strip]:
    """Returns the strips of lanes whose names say how they lie, where that is true."""
    second = set(twins.values())
    groups: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for index, lane in enumerate(network.lanes):
        parts = lane.name.split("/")
        if len(parts) == 3 and index not in second:
            road, section, text = parts
            numbers = NUMBERS.fullmatch(section) and LANE_ID.fullmatch(text)
            if lane.road == road and numbers and int(text):
                groups[road, section].append((-int(text), index))
    strips = []
    for (road, section), members in groups.items():
        lanes = [index for _, index in sorted(members)]
        # The side says which way a lane runs; in a mirrored network it is the other one.
        for sign in (-1, 1):
            order = lanes if sign < 0 else lanes[::-1]
            ids = sorted((rank for rank, _ in members), reverse=sign > 0)
            forward = [(rank * -sign > 0) != network.left_hand for rank in ids]
            strip = Strip(order, forward, road=road, number=section)
            if len({network.lanes[i].junction for i in lanes}) == 1 and _fits(network, strip):
                strip.turned = {k: twins[i] for k, i in enumerate(order) if i in twins}
                strips.append(strip)
                break
    return strips


def _fits(network: RoadNetwork, strip: Strip) -> bool:
    """Returns whether each lane of a strip begins where the one before it ends."""
    sides = []
    for index, forward in zip(strip.lanes, strip.forward, strict=True):
        lane = network.lanes[index]
        left, right = (lane.left, lane.right) if forward else (lane.right[::-1], lane.left[::-1])
        sides.append((left, right))
    return all(_alike(right, left) for (_, right), (left, _) in pairwise(sides))


def _joined(network: RoadNetwork, strips: list[Strip], named: set[int]) -> list[Strip]:
    """Joins strips whose edges are the same: of neighbours, and outside junctions of all others."""
    lanes = network.lanes
    owner = {lane: strip for strip in strips for lane, *_ in strip.members()}
    for index, lane in enumerate(lanes):
        other = lane.right_neighbour
        if other >= 0 and owner[other] is not owner[index] and lane.type != TWO_WAY:
            _join(lanes, owner, index, other, MAX_REACH)
    cells: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    free = [i for i, lane in enumerate(lanes) if i not in named and lane.junction < 0]
    for index in free:
        for side in ("left", "right"):
            edge = getattr(lanes[index], side)
            for point in (edge[0], edge[-1]):
                column, row = np.floor(point[:2] / CELL).astype(int).tolist()
                cells[column, row].append((index, side))
    for index in free:
        for side in ("left", "right"):
            column, row = np.floor(getattr(lanes[index], side)[0, :2] / CELL).astype(int).tolist()
            near = {
                other
                for c in (-1, 0, 1)
                for r in (-1, 0, 1)
                for other, _ in cells.get((column + c, row + r), ())
            }
            for other in sorted(near):
                if owner[other] is not owner[index]:
                    _join(lanes, owner, index, other, REACH)
    return list({id(owner[i]): owner[i] for i in range(len(lanes))}.values())


def _join(lanes: list[Lane], owner: dict[int, Strip], index: int, other: int, reach: float) -> None:
    """Joins the strips of two lanes where the outermost edges of both are the same."""
    one, two = owner[index], owner[other]
    if lanes[one.lanes[0]].junction != lanes[two.lanes[0]].junction:
        return
    for turn_one in (False, True):
        for turn_two in (False, True):
            first = _turned(one) if turn_one else one
            second = _turned(two) if turn_two else two
            if _alike(_edge(lanes, first, -1), _edge(lanes, second, 0), reach):
                count = len(first.lanes)
                joined = Strip(first.lanes + second.lanes, first.forward + second.forward)
                joined.turned = {
                    **first.turned,
                    **{k + count: lane for k, lane in second.turned.items()},
                }
                owner.update(dict.fromkeys((lane for lane, *_ in joined.members()), joined))
                return


def _turned(strip: Strip) -> Strip:
    """Returns a strip seen from its other end."""
    last = len(strip.lanes) - 1
    return Strip(
        strip.lanes[::-1],
        [not forward for forward in strip.forward[::-1]],
        turned={last - k: lane for k, lane in strip.turned.items()},
    )


def _edge(lanes: list[Lane], strip: Strip, place: int) -> Floats:
    """Returns the outer edge of the first lane of a strip, or of the last one."""
    lane, forward = lanes[strip.lanes[place]], strip.forward[place]
    edge = lane.left if (place == 0) == forward else lane.right
    return edge if forward else edge[::-1]


def _sided(network: RoadNetwork, strip: Strip) -> list[Strip]:
    """Returns a strip in parts, so that the lanes on each side of its line run the usual way."""
    lanes = network.lanes
    ways = [
        None if k in strip.turned or not lanes[lane].drivable else strip.forward[k]
        for k, lane in enumerate(strip.lanes)
    ]
    one_way = [way for way in ways if way is not None]
    if strip.road:
        strip.left = sum(forward == network.left_hand for forward in strip.forward)
        return [strip]
    if one_way and not any(one_way):
        return _sided(network, _turned(strip))
    parts, start, crossed = [], 0, False
    for k, way in enumerate(ways):
        if way is None:
            continue
        is_left = way == network.left_hand
        if is_left and crossed:
            parts.append((start, k))
            start, crossed = k, False
        elif not is_left:
            crossed = True
    parts.append((start, len(ways)))
    return [_part(network, strip, ways, first, last) for first, last in parts]


def _part(
    network: RoadNetwork, strip: Strip, ways: list[bool | None], first: int, last: int
) -> Strip:
    """Returns some lanes of a strip as one that has the line where the traffic turns."""
    inside = ways[first:last]
    lefts = [k for k, way in enumerate(inside) if way is not None and way == network.left_hand]
    rights = [k for k, way in enumerate(inside) if way is not None and way != network.left_hand]
    left = rights[0] if rights else (lefts[-1] + 1 if lefts else 0)
    part = Strip(strip.lanes[first:last], strip.forward[first:last], left)
    part.turned = {k - first: i for k, i in strip.turned.items() if first <= k < last}
    for k in range(len(part.lanes)):
        usual = (k < left) == network.left_hand
        if part.forward[k] != usual and k in part.turned:
            part.lanes[k], part.turned[k] = part.turned[k], part.lanes[k]
            part.forward[k] = usual
    return part
