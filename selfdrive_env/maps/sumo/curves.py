"""Smooth lines through the coarse polylines of SUMO: rounded corners, and joints of two lanes.

Polylines are [P, 3], in the direction of travel [m].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "are_joined",
    "boundary",
    "bridge",
    "cut",
    "distance_to",
    "least_radius",
    "length_of",
    "merged",
    "rounded",
    "sampled",
    "swing",
    "thinned",
]

Floats = NDArray[np.float64]

FLAT = 0.03
"""Heights that differ less lie on one slope [m]."""

CORNER_RADIUS = 6.0
"""Of the innermost lane at a corner [m]."""

CORNER_CUT = 0.25
"""A corner is cut by so much where that makes its radius larger [m]."""

NEAR = 0.02
"""Points nearer to each other give a line no direction [m]."""

JOINED_TURN = np.radians(2.0)
"""Lines that turn by less go on straight [rad]."""

ARC_STEP = np.radians(3.0)
"""Between points of an arc [rad]."""

STEP = 0.7
"""Largest distance between the points of a bridge [m]."""

HANDLES = np.array([0.22, 0.32, 0.42, 0.54, 0.7, 0.95, 1.4])
"""Lengths of the handles that are tried, in chords."""

TIMES = np.linspace(0.0, 1.0, 15)
"""Where the curvature of a cubic is looked at."""

DETOUR = 0.5
"""Relative length that a bridge may have more for a curvature of one over its chord."""

CAR_SIDE, CAR_FRONT = 1.1, 4.0
"""From the rear axle of a car to its side, with some room, and to its front [m]."""

GENTLE_RADIUS, TIGHT_RADIUS = 10.0, 6.0
"""Cars cut in at bends of less than the first radius, fully from the second [m]."""

MOST_CUT_IN = 0.6
"""By so much [m]."""

MOST_SWING = 1.5
"""Most that a lane gets wider in a bend [m]."""

SWING_SLOPE = 0.35
"""How fast it gets wider along its length."""

MAX_SPLITS = 3
"""How often a bridge is halved so that it keeps to the line that it stands for."""


def length_of(line: Floats) -> Floats:
    """Returns the arc length in the plane at each point, [P] [m]."""
    steps = np.hypot(*np.diff(line[:, :2], axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def cut(line: Floats, start: float, end: float) -> Floats:
    """Returns a line without its first and last metres.

    Args:
        line: The polyline.
        start: Length to leave out at the start [m].
        end: At the end; something must remain [m].
    """
    arc = length_of(line)
    stop = arc[-1] - end
    inside = (arc > start + NEAR) & (arc < stop - NEAR)
    ends = [[np.interp(s, arc, line[:, axis]) for axis in range(3)] for s in (start, stop)]
    return np.concatenate([ends[:1], line[inside], ends[1:]])


def thinned(line: Floats, tolerance: float) -> Floats:
    """Returns a line without the points that lie on it anyway (Douglas and Peucker).

    Args:
        line: The polyline.
        tolerance: How far a point that is left out may lie from the line [m].
    """
    kept = np.zeros(len(line), bool)
    kept[[0, -1]] = True
    pieces = [(0, len(line) - 1)]
    while pieces:
        first, last = pieces.pop()
        if last - first < 2:
            continue
        along = line[last] - line[first]
        offset = line[first + 1 : last] - line[first]
        part = (offset[:, :2] @ along[:2]) / max(float(along[:2] @ along[:2]), 1e-12)
        apart = offset - np.clip(part, 0.0, 1.0)[:, None] * along
        distance = np.sqrt((apart**2).sum(axis=1))
        worst = int(np.argmax(distance))
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            kept[middle] = True
            pieces += [(first, middle), (middle, last)]
    return line[kept]


def rounded(line: Floats, to_left: float, to_right: float) -> Floats:
    """Returns a line with an arc in place of each corner.

    Lanes side by side get arcs about one centre, as far as their straight pieces have room.

    Args:
        line: Thinned out.
        to_left: From the line to the innermost lane of a left turn [m].
        to_right: Likewise of a right turn [m].
    """
    steps = np.diff(line, axis=0)
    length = np.hypot(steps[:, 0], steps[:, 1])
    unit = steps / length[:, None]
    before, after = unit[:-1, :2], unit[1:, :2]
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    turn = np.arctan2(cross, (before * after).sum(axis=1))
    half = np.minimum(0.5 * np.abs(turn), np.radians(80.0))
    flat = 1.0 / np.maximum(1.0 / np.cos(half) - 1.0, 1e-9)
    inner = np.where(turn > 0.0, to_left, to_right)
    radius = np.maximum(CORNER_RADIUS + inner, CORNER_CUT * flat)
    tangent = np.where(half > 1e-4, radius * np.tan(half), 0.0)
    # Corners share the straight pieces between them.
    both = np.concatenate([[0.0], tangent]) + np.concatenate([tangent, [0.0]])
    share = np.minimum(length / np.maximum(both, 1e-9), 1.0)
    tangent = tangent * np.minimum(share[:-1], share[1:])
    out = [line[:1]]
    for k, reach in enumerate(tangent):
        corner = line[k + 1]
        if reach < 1e-3:
            out.append(corner[None])
            continue
        out.append(_arc(corner - reach * unit[k], corner + reach * unit[k + 1], unit[k], turn[k]))
    out.append(line[-1:])
    points = np.concatenate(out)
    apart = np.hypot(*np.diff(points[:, :2], axis=0).T) > 1e-3
    kept = np.concatenate([apart, [True]])
    kept[0] = True
    return points[kept]


def _arc(start: Floats, end: Floats, ahead: Floats, turn: float) -> Floats:
    """Returns the points of an arc that leaves `start` along `ahead`, turns and comes to `end`."""
    count = max(int(np.ceil(abs(turn) / ARC_STEP)), 1) + 1
    part = np.linspace(0.0, 1.0, count)
    chord = float(np.hypot(*(end - start)[:2]))
    radius = 0.5 * chord / np.sin(0.5 * abs(turn))
    along = radius * np.sin(abs(turn) * part)
    across = radius * (1.0 - np.cos(turn * part)) * np.sign(turn)
    out = np.empty((count, 3))
    out[:, 0] = start[0] + along * ahead[0] - across * ahead[1]
    out[:, 1] = start[1] + along * ahead[1] + across * ahead[0]
    out[:, 2] = start[2] + part * (end[2] - start[2])
    return out


def boundary(line: Floats, offset: Floats | float) -> Floats:
    """Returns a line at a distance to the left of another one, point by point, without loops.

    Args:
        line: The polyline.
        offset: One for all points, or [P]; below 0 to the right [m].
    """
    steps = np.diff(line[:, :2], axis=0)
    unit = steps / np.maximum(np.hypot(*steps.T), 1e-9)[:, None]
    ahead = np.concatenate([unit[:1], unit[:-1] + unit[1:], unit[-1:]])
    norm = np.hypot(*ahead.T)
    ahead = np.where(norm[:, None] > 1e-6, ahead / np.maximum(norm, 1e-9)[:, None], _last(unit))
    # A corner that has stayed is mitred, up to a right angle.
    cosine = np.concatenate([[1.0], (ahead[1:-1] * unit[:-1]).sum(axis=1), [1.0]])
    reach = np.broadcast_to(offset, len(line)) / np.maximum(cosine, 0.7)
    out = line.copy()
    out[:, 0] -= reach * ahead[:, 1]
    out[:, 1] += reach * ahead[:, 0]
    back = (np.diff(out[:, :2], axis=0) * unit).sum(axis=1) < 0.0
    if back.any():
        _unfold(out, ahead)
    return out


def _last(unit: Floats) -> Floats:
    """Returns the direction of the piece before each point, [P, 2]."""
    return np.concatenate([unit[:1], unit])


def _unfold(line: Floats, ahead: Floats) -> None:
    """Holds the points of a boundary where those after them would go back."""
    here = line[0].copy()
    for place in range(1, len(line)):
        if (line[place] - here)[:2] @ ahead[place] < 0.0:
            line[place] = here
        here = line[place].copy()


def least_radius(line: Floats) -> float:
    """Returns the radius of the tightest bend over about two metres of a line [m]."""
    arc = length_of(line)
    if arc[-1] < 1e-6:
        return 0.0
    at = np.linspace(0.0, arc[-1], max(int(np.ceil(arc[-1])), 2) + 1)
    points = np.stack([np.interp(at, arc, line[:, axis]) for axis in range(2)], axis=1)
    steps = np.diff(points, axis=0)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    bend = np.abs(np.diff(heading)) / max(float(at[1]), 0.5)
    return float(1.0 / max(bend.max(initial=0.0), 1e-6))


def sampled(line: Floats, length: float) -> Floats:
    """Returns the start of a line, with points at most a metre apart.

    Args:
        line: The polyline.
        length: Where it ends, at most where the line does [m].
    """
    arc = length_of(line)
    stop = min(length, float(arc[-1]))
    at = merged(arc[arc <= stop], np.linspace(0.0, stop, int(np.ceil(stop)) + 1))
    return np.stack([np.interp(at, arc, line[:, axis]) for axis in range(3)], axis=1)


def merged(some: Floats, others: Floats) -> Floats:
    """Returns the stations of two lines in order, [P], of those near each other the first one [m].

    Args:
        some: Ascending, the first and the last of them stay [m].
        others: Ascending, within them [m].
    """
    at = np.union1d(some, others)
    kept = np.concatenate([[True], np.diff(at) > NEAR])
    ends = at[-1]
    at = at[kept]
    at[-1] = ends
    return at


def distance_to(line: Floats, point: Floats) -> float:
    """Returns the distance of a point from a line in the plane [m]."""
    along = np.diff(line[:, :2], axis=0)
    offset = point[:2] - line[:-1, :2]
    part = (offset * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-12)
    apart = offset - np.clip(part, 0.0, 1.0)[:, None] * along
    return float(np.hypot(*apart.T).min())


def swing(line: Floats, half: Floats | float, side: float) -> Floats:
    """Returns by how much a lane is wider in its tight bends: cars swing out, and cut in.

    Args:
        line: Its centre line, on which the rear axle of a car runs.
        half: Half its width, one for all points or [P] [m].
        side: 1 for what is wanted on the left, -1 on the right.

    Returns:
        [P] [m].
    """
    arc = length_of(line)
    steps = np.diff(line[:, :2], axis=0)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    middle = 0.5 * (arc[1:] + arc[:-1])
    # Change of heading over two metres.
    ahead, behind = (np.interp(arc + far, middle, heading) for far in (1.0, -1.0))
    bend = -0.5 * side * (ahead - behind)
    if np.abs(bend).max() < 1.0 / GENTLE_RADIUS:
        return np.zeros(len(line))
    radius = 1.0 / np.maximum(np.abs(bend), 1e-3)
    out = np.hypot(radius + CAR_SIDE, CAR_FRONT) - radius - half
    tightness = (GENTLE_RADIUS - radius) / (GENTLE_RADIUS - TIGHT_RADIUS)
    wanted = np.where(bend > 0.0, out, MOST_CUT_IN * np.minimum(tightness, 1.0))
    wanted = np.clip(wanted, 0.0, MOST_SWING)
    # The front is there before the axle; the edge comes and goes along a slope.
    some = np.flatnonzero(wanted > 0.0)
    if not len(some):
        return wanted
    near = np.maximum(np.abs(arc[:, None] - arc[some]) - CAR_FRONT, 0.0)
    spread = np.max(wanted[some] - SWING_SLOPE * near, axis=1)
    return np.clip(np.minimum(spread, SWING_SLOPE * arc), 0.0, MOST_SWING)


def are_joined(before: Floats, after: Floats) -> bool:
    """Returns whether a line starts where another one ends, in its direction."""
    gap = after[0] - before[-1]
    a, b = (before[-1] - before[-2])[:2], (after[1] - after[0])[:2]
    turn = abs(float(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))
    return bool(np.hypot(gap[0], gap[1]) < NEAR and turn < JOINED_TURN)


def bridge(before: Floats, after: Floats, between: Floats) -> Floats:
    """Returns a smooth line from the end of one line to the start of another.

    Args:
        before: It begins where and as this one ends.
        after: It ends where and as this one begins.
        between: The line that it stands for; may be coarse, or have no points at all.

    Returns:
        Points at most `STEP` apart.
    """
    first = (before[-1], _direction(before[-1] - before[-2]))
    last = (after[0], _direction(after[1] - after[0]))
    pieces = _pieces(first, last, between, MAX_SPLITS)
    line = np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])
    arc = length_of(line)
    known = length_of(between) if len(between) > 1 else np.zeros(1)
    flat = abs(between[:, 2] - np.linspace(first[0][2], last[0][2], len(between))).max(initial=0.0)
    if len(between) > 2 and known[-1] > 0.0 and flat > FLAT:
        line[:, 2] = np.interp(arc / max(arc[-1], 1e-9), known / known[-1], between[:, 2])
        line[[0, -1], 2] = first[0][2], last[0][2]
    else:
        line[:, 2] = np.interp(arc, [0.0, max(arc[-1], 1e-9)], [first[0][2], last[0][2]])
    return line


Pose = tuple[Floats, Floats]
"""Place, [3] [m], and unit direction, [2]."""


def _pieces(first: Pose, last: Pose, between: Floats, splits: int) -> list[Floats]:
    """Returns one cubic, or those of two halves where it strays from what it stands for."""
    line = _cubic(first, last)
    arc = length_of(between) if len(between) > 1 else np.zeros(1)
    if len(between) < 4 or splits == 0 or arc[-1] < 8.0:
        return [line]
    inside = between[(arc > 0.1 * arc[-1]) & (arc < 0.9 * arc[-1])]
    apart = np.sqrt(((inside[:, None, :2] - line[None, :, :2]) ** 2).sum(axis=2).min(axis=1))
    if apart.max(initial=0.0) <= max(1.0, 0.06 * arc[-1]):
        return [line]
    at = [np.interp(part * arc[-1], arc, np.arange(len(arc))) for part in (0.4, 0.5, 0.6)]
    points = np.stack(
        [np.interp(at, np.arange(len(arc)), between[:, axis]) for axis in range(3)], axis=1
    )
    middle = (points[1], _direction(points[2] - points[0]))
    half = int(np.searchsorted(arc, 0.5 * arc[-1]))
    head = np.concatenate([between[:half], points[1:2]])
    tail = np.concatenate([points[1:2], between[half:]])
    return [
        *_pieces(first, middle, head, splits - 1),
        *_pieces(middle, last, tail, splits - 1),
    ]


def _direction(step: Floats) -> Floats:
    """Returns the unit direction of a step in the plane, [2]."""
    out: Floats = step[:2] / max(float(np.hypot(step[0], step[1])), 1e-9)
    return out


def _cubic(first: Pose, last: Pose) -> Floats:
    """Returns the points of the cubic between two poses that bends least for its length."""
    (start, out), (end, into) = first, last
    gap = end[:2] - start[:2]
    chord = max(float(np.hypot(gap[0], gap[1])), 1e-6)
    a, b = (grid.ravel() * chord for grid in np.meshgrid(HANDLES, HANDLES))
    t = TIMES[:, None]
    # Control points relative to the start: 0, a * out, gap - b * into, gap.
    p1 = [a * out[axis] for axis in (0, 1)]
    p2 = [gap[axis] - b * into[axis] for axis in (0, 1)]
    speed = [
        3.0 * ((1 - t) ** 2 * p1[k] + 2 * (1 - t) * t * (p2[k] - p1[k]) + t**2 * (gap[k] - p2[k]))
        for k in (0, 1)
    ]
    change = [
        6.0 * ((1 - t) * (p2[k] - 2 * p1[k]) + t * (gap[k] - 2 * p2[k] + p1[k])) for k in (0, 1)
    ]
    pace = np.hypot(speed[0], speed[1])
    bend = np.abs(speed[0] * change[1] - speed[1] * change[0]) / np.maximum(pace, 1e-3 * chord) ** 3
    cost = bend.max(axis=0) * chord + pace.mean(axis=0) / chord / DETOUR
    best = int(np.argmin(cost))
    length = float(pace.mean(axis=0)[best])
    turn = abs(np.arctan2(out[0] * into[1] - out[1] * into[0], out @ into))
    count = max(int(np.ceil(length / STEP)), int(np.ceil(turn / ARC_STEP)), 2) + 1
    u = np.linspace(0.0, 1.0, count)
    line = np.zeros((count, 3))
    for k in (0, 1):
        inner = 3 * (1 - u) ** 2 * u * p1[k][best] + 3 * (1 - u) * u**2 * p2[k][best]
        line[:, k] = start[k] + inner + u**3 * gap[k]
    line[-1, :2] = end[:2]
    line[:, 2] = start[2] + u * (end[2] - start[2])
    return line
