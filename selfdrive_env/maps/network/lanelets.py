"""Lanes of formats that give them as lanelets: by a left and a right bound, each with its points.

A lane gets one centre line between its bounds, sampled at stations that both share. Where a format
says nothing of links, lanelets follow each other where their bounds do, and lie side by side where
they share one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdrive_env.maps.flaws import MAX_COORDINATE
from selfdrive_env.maps.road_network import TWO_WAY, Lane, MapError

__all__ = ["Bound", "is_folded", "lane_between", "link_by_bounds", "oriented", "turned_round"]

Floats = NDArray[np.float64]

SAME_POINT = 1e-3
"""Points of a bound closer than this are one [m]."""

MIN_STEP = 0.02
"""Stations closer than this are merged, those at the ends aside [m]."""

RUNG_STEP = 1.0
"""Spacing at which bounds of unlike shape are matched [m]."""

MAX_RUNGS = 400
"""Most points of a bound that are matched."""

SMOOTHED = 2
"""Rungs before and after over which a matching is averaged."""

SLANT = 0.3
"""Cosine between lane and rung from which bounds are matched anew."""

NARROW = 0.5
"""Rungs shorter than this may lie as they like [m]."""


class Bound(NamedTuple):
    """A bound of a lanelet in its direction of travel."""

    line: Hashable
    """What tells it from other lines: two lanelets with the same lie beside each other."""

    first: Hashable
    """The same for its first point."""

    last: Hashable

    may_leave: bool = True
    """Whether traffic of the lanelet may change lanes over it."""

    def reversed(self) -> Bound:
        """Returns it in the other direction."""
        return self._replace(first=self.last, last=self.first)


def oriented(left: Floats, right: Floats) -> tuple[bool, bool]:
    """Returns whether each bound has to be turned round for the left one to lie on the left.

    Args:
        left: In any direction, [P, 2 or 3] [m].
        right: The same, [Q, 2 or 3] [m].
    """
    alike = _apart(left[0], right[0]) + _apart(left[-1], right[-1])
    crossed = _apart(left[0], right[-1]) + _apart(left[-1], right[0])
    turn = crossed < alike
    ring = np.concatenate([right[:, :2][:: -1 if turn else 1], left[::-1, :2]]) - left[0, :2]
    x, y = ring.T
    clockwise = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) < 0.0
    return clockwise, turn != clockwise


def _apart(one: Floats, other: Floats) -> float:
    """Returns the distance of two points in the plane [m]."""
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def lane_between(name: str, left: ArrayLike, right: ArrayLike, **fields: Any) -> Lane:
    """Returns the lane between two bounds, whose ends and points it keeps.

    Both bounds are sampled at stations that lie across from each other: at the same share of their
    lengths, or where that is too slanted, so that the lines between them get short.

    Args:
        name: Unique within the network.
        left: Bound in the direction of travel, [P, 2 or 3], P >= 2 [m].
        right: The same, [Q, 2 or 3], Q >= 2 [m].
        **fields: Of `Lane`; the type is "driving" unless given.

    Raises:
        MapError: A bound has no two points apart, or no usable coordinates.
    """
    bounds = [_bound(name, side, points) for side, points in (("left", left), ("right", right))]
    shares = [_shares(points) for points in bounds]
    length = max(_length(points) for points in bounds)
    station = _merged(np.concatenate(shares), length)
    lanes = [_at(points, share, station) for points, share in zip(bounds, shares, strict=True)]
    if _slanted(lanes[0], lanes[1]):
        matched = _matching(bounds, shares, length)
        lanes = [_at(p, s, m) for p, s, m in zip(bounds, shares, matched, strict=True)]
    fields.setdefault("type", "driving")
    centre = 0.5 * (lanes[0] + lanes[1])
    if _length(centre) < SAME_POINT:
        raise MapError(f"lanelet {name!r} has no length between its bounds")
    return Lane(name, centre=centre, left=lanes[0], right=lanes[1], **fields)


def turned_round(lane: Lane, name: str, **fields: Any) -> Lane:
    """Returns a lane over the same surface against its direction, without links.

    Args:
        lane: The lane.
        name: Of the new one.
        **fields: Of `Lane` that differ.
    """
    centre, left, right = (line[::-1].copy() for line in (lane.centre, lane.right, lane.left))
    links: dict[str, Any] = {"successors": [], "predecessors": []}
    links |= {"left_neighbour": -1, "right_neighbour": -1}
    return replace(lane, name=name, centre=centre, left=left, right=right, **(links | fields))


def is_folded(lane: Lane) -> bool:
    """Returns whether a lane turns back within a step, or its bounds cross each other."""
    steps = [np.diff(line[:, :2], axis=0) for line in (lane.centre, lane.left, lane.right)]
    if any(((s[:-1] * s[1:]).sum(axis=1) < -1e-6).any() for s in steps):
        return True
    ahead = np.gradient(lane.centre[:, :2], axis=0)
    across = (lane.left - lane.right)[:, :2]
    turned = ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0]
    return bool((turned < -1e-6).any())


def link_by_bounds(lanes: list[Lane], bounds: Mapping[int, tuple[Bound, Bound]]) -> None:
    """Links lanes whose bounds begin where those of another end, and neighbours of one direction.

    As in every network one may change out of a lane with traffic in both directions, not into it.

    Args:
        lanes: All lanes of the network; changed in place.
        bounds: Left and right bound of those to link, in their directions of travel.
    """
    starts: dict[tuple[Hashable, Hashable], list[int]] = defaultdict(list)
    from_right: dict[tuple[Hashable, Hashable, Hashable], list[int]] = defaultdict(list)
    for index, (left, right) in bounds.items():
        starts[left.first, right.first].append(index)
        from_right[left[:3]].append(index)
    for index, (left, right) in bounds.items():
        for other in starts.get((left.last, right.last), ()):
            if other not in lanes[index].successors:
                lanes[index].successors.append(other)
                lanes[other].predecessors.append(index)
        for other in from_right.get(right[:3], ())[:1]:
            if right.may_leave and other != index and lanes[other].type != TWO_WAY:
                lanes[index].right_neighbour = other
            over = bounds[other][0].may_leave
            if over and other != index and lanes[index].type != TWO_WAY:
                lanes[other].left_neighbour = index


def _bound(name: str, side: str, points: ArrayLike) -> Floats:
    """Returns the points of a bound with heights and without repetitions, [P, 3] [m]."""
    line = np.array(points, np.float64)
    if line.ndim != 2 or len(line) < 2 or line.shape[1] not in (2, 3):
        raise MapError(
            f"{side} bound of lanelet {name!r} is {list(line.shape)}, not [P >= 2, 2 or 3]"
        )
    if not (np.abs(line) <= MAX_COORDINATE).all():
        raise MapError(
            f"{side} bound of lanelet {name!r} has a coordinate that is none, or beyond "
            f"{MAX_COORDINATE:g} m"
        )
    line = np.pad(line, ((0, 0), (0, 3 - line.shape[1])))
    kept = np.append(True, np.hypot(*np.diff(line[:, :2], axis=0).T) > SAME_POINT)
    if not kept[-1] and kept.sum() > 1:
        kept[np.flatnonzero(kept)[-1]], kept[-1] = False, True
    kept[0] = True
    line = line[kept]
    if len(line) < 2 or _length(line) < SAME_POINT:
        raise MapError(f"{side} bound of lanelet {name!r} has no two points apart from each other")
    return line


def _length(points: Floats) -> float:
    """Returns the length of a line in the plane [m]."""
    return float(np.hypot(*np.diff(points[:, :2], axis=0).T).sum())


def _shares(points: Floats) -> Floats:
    """Returns which share of a line lies before each of its points, [P] in [0, 1]."""
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    shares = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    shares[-1] = 1.0
    return shares


def _at(points: Floats, known: Floats, shares: Floats) -> Floats:
    """Returns the points of a line at shares of its length, [S, 3] [m]."""
    return np.stack([np.interp(shares, known, points[:, axis]) for axis in range(3)], axis=1)


def _merged(shares: Floats, length: float) -> Floats:
    """Returns sorted shares without those that are too close to the one before."""
    shares = np.unique(shares)
    gap = MIN_STEP / max(length, MIN_STEP)
    kept, last = [0.0], 0.0
    for share in shares[(shares > gap) & (shares < 1.0 - gap)].tolist():
        if share - last > gap:
            kept.append(share)
            last = share
    return np.array([*kept, 1.0])


def _slanted(left: Floats, right: Floats) -> bool:
    """Returns whether lines between bounds are more slanted than at both ends of the lane."""
    across = (left - right)[:, :2]
    ahead = np.gradient(0.5 * (left + right)[:, :2], axis=0)
    width = np.hypot(*across.T)
    slant = np.abs((across * ahead).sum(axis=1)) / np.maximum(width * np.hypot(*ahead.T), 1e-9)
    slant[width < NARROW] = 0.0
    return bool((slant[1:-1] > max(SLANT, slant[0], slant[-1])).any())


def _matching(bounds: list[Floats], shares: list[Floats], length: float) -> tuple[Floats, Floats]:
    """Returns shares of both bounds that lie across from each other, [S] each, from 0 to 1."""
    count = int(np.clip(np.ceil(length / RUNG_STEP), 2, MAX_RUNGS))
    even = np.linspace(0.0, 1.0, count + 1)
    left, right = (_at(p, s, even)[:, :2] for p, s in zip(bounds, shares, strict=True))
    way = _shortest_way(((left[:, None] - right[None]) ** 2).sum(axis=2)) / count
    window = np.ones(2 * SMOOTHED + 1) / (2 * SMOOTHED + 1)
    padded = np.pad(way, ((SMOOTHED, SMOOTHED), (0, 0)), "edge")
    smooth = np.stack([np.convolve(side, window, "valid") for side in padded.T])
    smooth[:, 0], smooth[:, -1] = 0.0, 1.0
    place = smooth.sum(axis=0) / 2.0
    wanted = [np.interp(share, side, place) for share, side in zip(shares, smooth, strict=True)]
    place_of = _merged(np.concatenate([place, *wanted]), length)
    return np.interp(place_of, place, smooth[0]), np.interp(place_of, place, smooth[1])


def _shortest_way(cost: Floats) -> Floats:
    """Returns the way from the first to the last entry of a matrix with the least sum, [S, 2].

    Each step goes on by one in a row, a column, or both; sums are made by anti-diagonals.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(rows + columns - 1):
        i = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        j = diagonal - i
        best = np.minimum(np.minimum(total[i, j + 1], total[i + 1, j]), total[i, j])
        total[i + 1, j + 1] = cost[i, j] + best
    i, j = rows - 1, columns - 1
    way = [(i, j)]
    while i or j:
        before = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(before, key=lambda at: total[at[0] + 1, at[1] + 1])
        way.append((i, j))
    return np.array(way[::-1], np.float64)
