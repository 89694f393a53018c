"""Places stop lines across lanes, for formats that say only where traffic waits.

Lanes side by side that wait for the same signal share a line. Guards reach over the lanes beside
that wait, too; `network.guards` adds the oncoming ones.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Lane, RoadNetwork, StopLine

__all__ = ["SETBACK", "crossing_of", "guard_beside", "place_stop_lines"]

Floats = NDArray[np.float64]

SETBACK = 0.7
"""Distance of a stop line before the end of a lane where the source does not draw one [m]."""

BESIDE = 1.0
"""Widest gap between lanes side by side [m]."""

STAGGER = 4.0
"""How far one of them may wait before the other [m]."""

CELL = 5.0
"""Size of the cells in which lines are looked up, no less than the two above [m]."""

LEVEL = 2.0
"""How much higher or lower it may lie [m]."""

SAME_WAY = np.cos(np.radians(30.0))
"""Cosine of the angle up to which they head the same way."""


def place_stop_lines(
    network: RoadNetwork, places: list[tuple[int, float]], kind: str, signal: int
) -> None:
    """Appends stop lines across lanes, one for each run of lanes side by side.

    Args:
        network: Receives the stop lines.
        places: (lane, arc length along its centre [m]) where traffic waits.
        kind: "signal" or "stop_sign".
        signal: Index of the traffic light or sign.
    """
    lines = [_line(network.lanes[lane], lane, s, kind, signal) for lane, s in places]
    for run in _runs(lines):
        line, last = lines[run[0]], lines[run[-1]]
        line.right, line.guard_left, line.guard_right = last.right, line.left, last.right
        line.lanes = [place for i in run for place in lines[i].lanes]
        network.stop_lines.append(line)


def guard_beside(network: RoadNetwork) -> None:
    """Moves the ends of guards over the lanes beside that wait at lines of their own.

    Args:
        network: Its stop lines are updated.
    """
    lines = network.stop_lines
    for run in _runs(lines):
        for i in run:
            lines[i].guard_left, lines[i].guard_right = lines[run[0]].left, lines[run[-1]].right


def crossing_of(lane: Lane, mark: Floats, beyond: float = 1.0) -> float | None:
    """Returns the arc length at which a drawn line crosses the centre of a lane, None for nowhere.

    Args:
        lane: The lane.
        mark: Points of the line, [P, 2 or 3] [m].
        beyond: How far it is drawn out at either end [m].
    """
    first, last = mark[0] - mark[1], mark[-1] - mark[-2]
    ends = [one / max(float(np.hypot(one[0], one[1])), 1e-9) * beyond for one in (first, last)]
    line = np.concatenate([[mark[0] + ends[0]], mark, [mark[-1] + ends[1]]])[:, :2]
    centre, arc = lane.centre[:, :2], lane.arc_length
    found = []
    for a, b in itertools.pairwise(line):
        along, step = b - a, np.diff(centre, axis=0)
        side = (centre - a) @ np.array([-along[1], along[0]])
        for i in np.flatnonzero((side[:-1] <= 0.0) != (side[1:] <= 0.0)):
            part = side[i] / (side[i] - side[i + 1])
            at = centre[i] + part * step[i] - a
            if 0.0 <= at @ along <= along @ along:
                found.append(float(arc[i] + part * (arc[i + 1] - arc[i])))
    return min(found, default=None)


def _line(lane: Lane, index: int, s: float, kind: str, signal: int) -> StopLine:
    """Returns the line across one lane."""
    arc = lane.arc_length
    s = float(np.clip(s, 0.0, arc[-1]))
    left, right, here = (
        np.array([np.interp(s, arc, line[:, axis]) for axis in range(3)])
        for line in (lane.left, lane.right, lane.centre)
    )
    piece = int(np.clip(np.searchsorted(arc, s), 1, len(arc) - 1))
    dx, dy = (lane.centre[piece] - lane.centre[piece - 1])[:2]
    heading = float(np.arctan2(dy, dx))
    if np.hypot(*(left - right)[:2]) < 1e-3:
        aside = np.array([-np.sin(heading), np.cos(heading), 0.0])
        left, right = here + 0.5 * aside, here - 0.5 * aside
    return StopLine(left, right, left.copy(), right.copy(), heading, [(index, s)], kind, signal)


def _runs(lines: list[StopLine]) -> list[list[int]]:
    """Returns which lines lie side by side, from left to right."""
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, line in enumerate(lines):
        column, row = (int(value) for value in np.floor(line.left[:2] / CELL))
        cells[column, row].append(i)
    rightwards: dict[int, int] = {}
    taken: set[int] = set()
    for i, line in enumerate(lines):
        column, row = (int(value) for value in np.floor(line.right[:2] / CELL))
        around = ((column + c, row + r) for c in (-1, 0, 1) for r in (-1, 0, 1))
        near = [j for place in around for j in cells.get(place, ()) if j != i and j not in taken]
        near = [j for j in near if _adjoins(line, lines[j])]
        if near:
            rightwards[i] = min(near, key=lambda j: np.hypot(*(lines[j].left - line.right)[:2]))
            taken.add(rightwards[i])
    runs, seen = [], set()
    # A ring of lines, which no road has, is cut at its first.
    for i in sorted(range(len(lines)), key=lambda i: i in taken):
        run = []
        while i >= 0 and i not in seen:
            seen.add(i)
            run.append(i)
            i = rightwards.get(i, -1)
        runs += [run] if run else []
    return runs


def _adjoins(left: StopLine, right: StopLine) -> bool:
    """Returns whether a line begins where another one ends on its right."""
    ahead = np.array([np.cos(left.heading), np.sin(left.heading)])
    gap = right.left - left.right
    across = -ahead[1] * gap[0] + ahead[0] * gap[1]
    same_way = np.cos(left.heading - right.heading) >= SAME_WAY
    near = abs(across) <= BESIDE and abs(float(gap[:2] @ ahead)) <= STAGGER
    return bool(same_way and near and abs(gap[2]) < LEVEL)
