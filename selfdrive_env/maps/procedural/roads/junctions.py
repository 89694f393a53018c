"""Junctions: ways from every arm to the others, and who may use which lane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.lines import stations, turn_line
from selfdrive_env.maps.procedural.roads.streets import Arm, Work, add_lane, link, new_road, pair
from selfdrive_env.maps.road_network import Lane
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine

__all__ = ["Way", "angle_between", "connect", "join_arms", "lay_way", "sorted_arms"]

Floats = NDArray[np.float64]

STRAIGHT = math.radians(40.0)
"""Ways that turn less go straight on."""

TURN_SPEEDS = ((8.0, 5.0), (14.0, 7.0), (22.0, 8.3), (40.0, 10.0))
"""Up to which radius [m] which limit [m/s]."""

WIDEST_LEFT = 22.0
"""Radius of left turns at most [m]."""

OFF_TRACKING = 4.0
"""Ways are wider on the inside by this over their radius, for long bodies [m^2]."""

WIDENED = 0.6
"""But at most by this [m]."""

SWING = 0.25
"""Tight ways are wider on the outside by this [m]."""

WIDENING = 6.0
"""Over which a way grows as wide as it is in the middle [m]."""

STRAIGHT_ON = 1e-6


@dataclass(frozen=True, slots=True)
class Way:
    """A way through a junction."""

    lane: int
    arrival: int
    """Number of the arm that it comes from."""

    departure: int
    source: int
    """Lane that it follows."""

    target: int
    turn: str
    """ "l", "s" or "r"."""


def sorted_arms(arms: list[Arm]) -> list[Arm]:
    """Returns arms counter-clockwise, from the direction of +x."""
    return sorted(arms, key=lambda arm: arm.mouth.heading % (2.0 * math.pi))


def angle_between(arrival: Arm, departure: Arm) -> float:
    """Returns by how much one turns from an arm into another, positive to the left [rad]."""
    change = departure.mouth.heading - arrival.mouth.heading - math.pi
    return math.remainder(change, 2.0 * math.pi)


def join_arms(work: Work, junction: int, arms: list[Arm], kerb: float) -> list[Way]:
    """Adds the ways from each arm to the others.

    Args:
        work: Extended by the lanes.
        junction: Index of the junction.
        arms: Counter-clockwise.
        kerb: Radius of the kerb at corners [m].

    Returns:
        The ways.
    """
    ways = []
    for number, _arrival in enumerate(arms):
        moves = _movements(arms, number)
        beside: dict[int, int] = {}
        for source, departure, target, turn in moves:
            lane = _add_way(work, junction, (source, target), turn, kerb)
            ways.append(Way(lane, number, departure, source, target, turn))
            if turn == "s":
                _pair_parallel(work, beside, source, lane)
    return ways


def _movements(arms: list[Arm], number: int) -> list[tuple[int, int, int, str]]:
    """Returns (incoming lane, arm, outgoing lane, turn) of one approach."""
    arrival = arms[number]
    if not arrival.incoming:
        return []
    targets: dict[str, list[int]] = {"l": [], "s": [], "r": []}
    for other, arm in enumerate(arms):
        if other != number and arm.outgoing:
            change = angle_between(arrival, arm)
            turn = "s" if abs(change) < STRAIGHT else "l" if change > 0.0 else "r"
            targets[turn].append(other)
    if not arrival.incoming:
        return []
    allowed = _allowed(arms, arrival, targets)
    out = []
    for turn, others in targets.items():
        lanes = [
            lane for lane, turns in zip(arrival.incoming, allowed, strict=True) if turn in turns
        ]
        for other in others:
            departing = arms[other].outgoing
            if turn == "l":
                pairs = [
                    (lanes[k], departing[min(k, len(departing) - 1)]) for k in range(len(lanes))
                ]
                pairs = pairs[: len(departing)]
            else:
                count = min(len(lanes), len(departing))
                first = len(lanes) - count
                pairs = list(zip(lanes[first:], departing[len(departing) - count :], strict=True))
                if turn == "s" and 0 < len(lanes) < len(departing):
                    # Whoever goes straight on may take the lane that begins inside of it.
                    pairs += [(lanes[0], departing[len(departing) - count - 1])]
            out += [(source, other, target, turn) for source, target in pairs]
    return out + _merging(arms, arrival, out)


def _merging(
    arms: list[Arm], arrival: Arm, moves: list[tuple[int, int, int, str]]
) -> list[tuple[int, int, int, str]]:
    """Returns moves for lanes that have none: they go where a lane beside them goes."""
    lanes = arrival.incoming
    going = {move[0]: move for move in moves}
    out = []
    for k, lane in enumerate(lanes):
        if lane not in going and moves:
            nearest = min(
                (j for j, other in enumerate(lanes) if other in going), key=lambda j: abs(j - k)
            )
            _, other, target, turn = going[lanes[nearest]]
            departing = arms[other].outgoing
            place = departing.index(target) + (1 if k > nearest else -1)
            out.append((lane, other, departing[min(max(place, 0), len(departing) - 1)], turn))
    return out


def _allowed(arms: list[Arm], arrival: Arm, targets: dict[str, list[int]]) -> list[str]:
    """Returns for each incoming lane where one may go from it."""
    num = len(arrival.incoming)
    there = "".join(turn for turn, others in targets.items() if others)
    allowed = []
    for k, told in enumerate(arrival.turns):
        own = told or ("s" + ("l" if k == 0 else "") + ("r" if k == num - 1 else ""))
        allowed.append("".join(turn for turn in there if turn in own))
    room = min((len(arms[other].outgoing) for other in targets["s"]), default=0)
    straight = [k for k in range(num) if "s" in allowed[k]]
    for k, side in ((0, "l"), (num - 1, "r")):
        if len(straight) > room and k in straight and side in allowed[k]:
            allowed[k] = side
            straight.remove(k)
    for turn in there:
        if not any(turn in own for own in allowed):
            k = num - 1 if turn == "r" else 0
            allowed[k] += turn
    for k, own in enumerate(allowed):
        if not own:
            allowed[k] = there[0] if k < num / 2 else there[-1]
    return allowed


def _add_way(
    work: Work,
    junction: int,
    lanes: tuple[int, int],
    turn: str,
    kerb: float,
) -> int:
    """Adds the way from one lane to another."""
    source, target = (work.network.lanes[k] for k in lanes)
    radius = WIDEST_LEFT
    if turn == "r":
        radius = kerb + 0.5 * max(float(source.width[-1]), float(target.width[0]))
    limit = min(source.speed_limit, target.speed_limit)
    return connect(work, *lanes, radius, limit, junction)


def connect(
    work: Work,
    lane: int,
    target: int,
    radius: float,
    limit: float,
    junction: int,
) -> int:
    """Adds a lane from the end of one to the start of another, and links it to both.

    Args:
        work: Extended by the lane.
        lane: Index of the lane that it follows.
        target: Index of the lane that follows.
        radius: Largest radius of a turn [m].
        limit: Speed limit, lower in tight turns [m/s].
        junction: Index of the junction.

    Returns:
        Index of the new lane.
    """
    source, following = work.network.lanes[lane], work.network.lanes[target]
    line = turn_line(work.poses[lane][1], work.poses[target][0], radius)
    for most, speed in TURN_SPEEDS:
        if float(np.max(np.abs(line.curvature))) > 1.0 / most:
            limit = min(limit, speed)
            break
    width = 0.5 * (float(source.width[-1]) + float(following.width[0]))
    return lay_way(work, line, (lane, target), width, limit, junction)


def lay_way(
    work: Work,
    line: CentreLine,
    lanes: tuple[int, int],
    width: float,
    limit: float,
    junction: int,
) -> int:
    """Adds a lane along a line from the end of one to the start of another, linked to both.

    Args:
        work: Extended by the lane.
        line: Of the way.
        lanes: Indices of the lane before and of the lane after it.
        width: In the middle; at its ends it is as wide as they are [m].
        limit: Speed limit [m/s].
        junction: Index of its junction, or -1.

    Returns:
        Index of the new lane.
    """
    source, following = (work.network.lanes[k] for k in lanes)
    s = stations(line, 0.0, line.length, 2.0)
    share = smooth(s / line.length)
    first, last = float(source.width[-1]), float(following.width[0])
    half = 0.5 * (first + (last - first) * share)
    reach = min(WIDENING, 0.5 * line.length)
    bump = smooth(np.minimum(s, line.length - s) / reach)
    half += 0.5 * (width - 0.5 * (first + last)) * bump
    bend = float(line.curvature[np.argmax(np.abs(line.curvature))])
    left, right = half.copy(), half.copy()
    if abs(bend) * line.length > STRAIGHT and abs(bend) > 1.0 / WIDEST_LEFT:
        inside, outside = (left, right) if bend > 0.0 else (right, left)
        inside += min(OFF_TRACKING * abs(bend), WIDENED) * bump
        outside += SWING * bump
    z = source.centre[-1, 2] + (following.centre[0, 2] - source.centre[-1, 2]) * share
    road = new_road(work)
    none = np.zeros((0, 3))
    blank = Lane(f"{road}/0/-1", "driving", none, none, none, limit, road, junction)
    new = add_lane(work, blank, line, s, z, (left, -right), centre=0.0)
    link(work, lanes[0], new)
    link(work, new, lanes[1])
    return new


def _pair_parallel(work: Work, beside: dict[int, int], source: int, lane: int) -> None:
    """Makes straight ways from neighbouring lanes neighbours where they run side by side."""
    lanes = work.network.lanes
    other = beside.get(lanes[source].left_neighbour, -1)
    if source not in beside and other >= 0:
        apart = abs(lanes[other].length - lanes[lane].length)
        if lanes[other].centre.shape == lanes[lane].centre.shape and apart < STRAIGHT_ON:
            pair(work, other, lane)
    beside.setdefault(source, lane)
