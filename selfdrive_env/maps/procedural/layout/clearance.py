"""Whether the streets of a plan keep apart from each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.plan import Plan, mouths
from selfdrive_env.maps.procedural.roads.streets import Section
from selfdrive_env.maps.towns.centre_lines import evaluate

__all__ = ["too_close"]

Floats = NDArray[np.float64]

STEP = 6.0
"""Between the places looked at [m]."""

APART = 3.0
"""Between the outermost strips of two streets, at least [m]."""

LEVELS = 4.5
"""Streets with this difference of height do not touch [m]."""

NEAR_NODE = 30.0
"""Streets that meet are not compared so near to the ends of their lanes [m]."""

OWN_WAY = 45.0
"""Places of one street this far apart along it are compared [m]."""

LOOP_WIDTH = 3.5
"""Beyond the middle of the lane of a ring or loop [m]."""


def _half_width(section: Section) -> float:
    """Returns how far a street reaches from its line at most [m]."""
    sides = []
    for row, sign in ((section.forward, -1.0), (section.backward, 1.0)):
        for end in (0, 1):
            sides.append(sum(part.width[end] for part in row) + sign * section.middle[end])
    return max(sides)


def too_close(plan: Plan) -> set[tuple[int, int]]:
    """Returns pairs of streets that come too close; (a, a) for one that meets itself.

    Args:
        plan: With all streets.
    """
    rows, numbers = [], []
    reaches = mouths(plan)
    for number, (street, ends) in enumerate(zip(plan.streets, reaches, strict=True)):
        first, last = ends[0], street.line.length - ends[1]
        count = max(2, math.ceil((last - first) / STEP - 1e-6) + 1)
        s = np.linspace(first, last, count)
        x, y, _ = evaluate(street.line, s)
        z = np.zeros(count) if street.heights is None else np.interp(s, *street.heights)
        half = max(map(_half_width, street.sections))
        rows.append(np.stack([x, y, z, np.full(count, half), s - first, last - s], 1))
        numbers += [number] * count
    for node in plan.nodes:
        if node.radius > 0.0:
            rows.append(np.array([[node.x, node.y, node.z, node.radius + LOOP_WIDTH, 1e3, 1e3]]))
            numbers.append(-1)
    table, street_of = np.concatenate(rows), np.array(numbers)
    gap = np.hypot(*(table[:, None, k] - table[None, :, k] for k in (0, 1)))
    near = gap < table[:, None, 3] + table[None, :, 3] + APART
    near &= np.abs(table[:, None, 2] - table[None, :, 2]) < LEVELS
    out = set()
    for a, b in np.argwhere(np.triu(near, 1)).tolist():
        one, other = int(street_of[a]), int(street_of[b])
        if one < 0 and other < 0:
            out.add((one, other))
        elif one == other:
            if abs(table[a, 4] - table[b, 4]) > OWN_WAY:
                out.add((one, one))
        elif min(one, other) < 0:
            line = max(one, other)
            place = table[a] if one >= 0 else table[b]
            if min(place[4], place[5]) > NEAR_NODE:
                out.add((line, -1))
        elif not _meet(plan, (one, table[a]), (other, table[b])):
            out.add((one, other))
    return out


def _meet(plan: Plan, a: tuple[int, Floats], b: tuple[int, Floats]) -> bool:
    """Whether two places are near to a node where their streets meet."""
    for end in (0, 1):
        for other_end in (0, 1):
            one, other = plan.streets[a[0]], plan.streets[b[0]]
            node = (one.start, one.end)[end]
            same = node == (other.start, other.end)[other_end]
            if same and a[1][4 + end] < NEAR_NODE and b[1][4 + other_end] < NEAR_NODE:
                return True
    return False
