"""Widens the guards of stop lines over oncoming lanes that belong to another road.

Within a road a guard spans the carriageway already. Converters such as SUMO's write each direction
as a road of its own; there, too, a red light must not be passed on the oncoming side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Lane, RoadNetwork, StopLine

__all__ = ["widen_guards"]

Floats = NDArray[np.float64]

CELL = 8.0
"""Cells in which lanes are looked up [m]."""

MAX_MEDIAN = 1.0
"""Oncoming lanes this far from the carriageway belong to it [m]."""

MAX_SLOPE = 1.0
"""Largest difference of height to the guard [m]."""

PROLONGED = 5.0
"""Oncoming lanes that begin this far from the line still count [m]."""

OPPOSITE = -np.cos(np.radians(30.0))
"""Cosine of the angle from which a lane is oncoming."""


def widen_guards(network: RoadNetwork, whole: Collection[int] = ()) -> None:
    """Moves the ends of the guards outwards over adjoining oncoming lanes of other roads.

    Args:
        network: Its stop lines are updated.
        whole: Indices of those whose guards are complete.
    """
    if not network.stop_lines:
        return
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, lane in enumerate(network.lanes):
        if lane.drivable and lane.junction < 0:
            for column, row in np.unique(np.floor(lane.centre[:, :2] / CELL).astype(int), axis=0):
                cells[int(column), int(row)].append(index)
    for number, line in enumerate(network.stop_lines):
        if number in whole:
            continue
        road = network.lanes[line.lanes[0][0]].road
        near: dict[int, None] = {}
        for end in (line.guard_left, line.guard_right):
            column, row = (int(value) for value in np.floor(end[:2] / CELL))
            for c in (-1, 0, 1):
                for r in (-1, 0, 1):
                    near.update(dict.fromkeys(cells.get((column + c, row + r), ())))
        spans = [
            span
            for index in near
            if network.lanes[index].road != road
            and (span := _span(line, network.lanes[index])) is not None
        ]
        if spans:
            _widen(line, spans)


def _span(line: StopLine, lane: Lane) -> tuple[float, float] | None:
    """Returns where an oncoming lane crosses the line, measured from the guard's right end [m]."""
    ahead = np.array([np.cos(line.heading), np.sin(line.heading)])
    leftward = np.array([-ahead[1], ahead[0]])
    crossings = []
    for boundary in (lane.left, lane.right):
        points = _prolonged(boundary)
        offsets = points[:, :2] - line.guard_right[:2]
        along, across = offsets @ ahead, offsets @ leftward
        for i in np.flatnonzero((along[:-1] > 0.0) & (along[1:] <= 0.0)):
            direction = points[i + 1, :2] - points[i, :2]
            length = float(np.hypot(*direction))
            oncoming = length > 0.0 and direction @ ahead < OPPOSITE * length
            if oncoming and abs(points[i, 2] - line.guard_right[2]) < MAX_SLOPE:
                part = along[i] / (along[i] - along[i + 1])
                crossings.append(float(across[i] + part * (across[i + 1] - across[i])))
                break
    return (min(crossings), max(crossings)) if len(crossings) == 2 else None


def _prolonged(boundary: Floats) -> Floats:
    """Returns a boundary with its ends drawn out straight."""
    first, last = boundary[0] - boundary[1], boundary[-1] - boundary[-2]
    first = first / max(float(np.hypot(first[0], first[1])), 1e-6) * PROLONGED
    last = last / max(float(np.hypot(last[0], last[1])), 1e-6) * PROLONGED
    return np.concatenate([[boundary[0] + first], boundary, [boundary[-1] + last]])


def _widen(line: StopLine, spans: list[tuple[float, float]]) -> None:
    """Moves the ends of a guard over the spans that adjoin it."""
    reach = line.guard_left - line.guard_right
    width = float(np.hypot(reach[0], reach[1]))
    if width < 1e-3:
        return
    low, high = 0.0, width
    for _ in spans:
        for first, last in spans:
            if low - MAX_MEDIAN <= last and first <= high + MAX_MEDIAN:
                low, high = min(low, first), max(high, last)
    right = line.guard_right.copy()
    line.guard_right = right + reach * (low / width)
    line.guard_left = right + reach * (high / width)
