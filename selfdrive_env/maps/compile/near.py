"""Near lists: for each observation cell the lane points, road edges and stop lines around it.

Points far apart reach far, points close together only near: a cell's list holds the points whose
own reach covers its centre, nearest first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.routes import compiled
from selfdrive_env.state.arrays import F32, F64, I32, I64
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LENGTH,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    VIEW_RANGE,
    Lanes,
)

__all__ = ["boundary_points", "boundary_reach", "lane_points", "lane_reach", "nearest_points"]

LANE_SPACING = 5.0
"""Between lane points [m]."""

BOUNDARY_SPACING = 1.0
"""Between boundary points [m]."""

BUCKET = 64.0
"""Edge of the squares that points are sorted into for the search [m]."""


def lane_points(lanes: Lanes) -> tuple[F32, I32, F32, I32]:
    """Returns points along the lanes at s = 2.5, 7.5, ... m, on shorter lanes one in the middle.

    Returns:
        x, y, cos, sin [N, 4]; lane [N]; arc length [N] [m]; number along the lane [N].
    """
    count = np.maximum(1, np.floor(lanes.length / LANE_SPACING + 0.5)).astype(np.int64)
    lane = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(lane)) - np.repeat(np.cumsum(count) - count, count)
    short = (lanes.length < 0.5 * LANE_SPACING)[lane]
    s = np.where(short, 0.5 * lanes.length[lane], (number + 0.5) * LANE_SPACING)
    # The point of a short lane is one of the fine ones: a row of them must not crowd the far lists.
    number[short] = 1
    base = np.concatenate([[0.0], np.cumsum(lanes.length.astype(np.float64) + 1.0)])
    starts = lanes.segment[:, SEG_S] + base[lanes.segment_lane]
    q = np.searchsorted(starts, s + base[lane] + 1e-6, "right") - 1
    segment = lanes.segment[q].astype(np.float64)
    along = np.clip(s - segment[:, SEG_S], 0.0, segment[:, SEG_LENGTH])
    point = np.stack(
        [
            segment[:, SEG_X] + along * segment[:, SEG_COS],
            segment[:, SEG_Y] + along * segment[:, SEG_SIN],
            segment[:, SEG_COS],
            segment[:, SEG_SIN],
        ],
        axis=1,
    )
    return (
        point.astype(np.float32),
        lane.astype(np.int32),
        s.astype(np.float32),
        number.astype(np.int32),
    )


def lane_reach(number: I32, lane_points: int) -> F64:
    """Returns how far lane points are seen [m]: every eighth (40 m apart) 200 m, others less."""
    scale = math.sqrt(lane_points / 80.0)
    reach = np.full(len(number), 20.0)
    reach[number % 2 == 0] = 40.0
    reach[number % 4 == 0] = 80.0
    reach = np.minimum(reach * scale, VIEW_RANGE)
    reach[number % 8 == 0] = VIEW_RANGE
    return reach


def boundary_points(edges: F64, ring: I64) -> tuple[F32, I32]:
    """Returns the midpoints of pieces of about one metre along each ring of edges.

    Args:
        edges: x0, y0, x1, y1 in order along each ring, [N, 4] [m].
        ring: Ring of each edge, ascending, [N].

    Returns:
        x, y, cos, sin of the chord of each piece [P, 4]; number along the ring [P].
    """
    length = np.hypot(edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1])
    ring = np.unique(ring, return_inverse=True)[1]
    around = np.bincount(ring, length)
    count = np.maximum(3, np.round(around / BOUNDARY_SPACING)).astype(np.int64)
    base = np.concatenate([[0.0], np.cumsum(around + 1.0)])
    # Each ring has one abscissa; its last edge ends where the ring is closed.
    s = np.cumsum(length) - length
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    s = s - s[first][ring] + base[ring]
    last = np.append(first[1:], len(edges)) - 1
    known = np.insert(s, last + 1, base[:-1] + around)
    xy = np.insert(edges[:, :2], last + 1, edges[last, 2:], axis=0)
    owner = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    step = (around / count)[owner]

    def at(k: NDArray[Any]) -> F64:
        wanted = base[owner] + np.minimum(k * step, around[owner])
        return np.stack([np.interp(wanted, known, xy[:, c]) for c in (0, 1)], axis=1)

    chord = at(number + 1) - at(number)
    norm = np.maximum(np.hypot(*chord.T), 1e-9)[:, None]
    point = np.concatenate([at(number + 0.5), chord / norm], axis=1)
    return point.astype(np.float32), number.astype(np.int32)


def boundary_reach(number: I32, boundary_points: int) -> F64:
    """Returns how far boundary points are seen [m]: every sixteenth 200 m, others less."""
    reach = np.full(len(number), 8.0)
    for every, metres in ((2, 16.0), (4, 40.0), (8, 80.0)):
        reach[number % every == 0] = metres
    reach *= min(1.0, boundary_points / 80.0)
    reach[number % 16 == 0] = VIEW_RANGE
    return reach


def nearest_points(centre: F64, point: F64, reach: F64, count: int) -> I32:
    """Returns the nearest points that reach each centre, by rising distance, -1 after the last.

    Args:
        centre: [N, 2] [m].
        point: [P, 2] [m].
        reach: How far each point is seen, [P] [m].
        count: Length of a list.
    """
    out = np.full((len(centre), count), -1, np.int32)
    if not len(point) or not len(centre) or not count:
        return out
    most = reach.max()
    low, high = centre.min(axis=0) - most, centre.max(axis=0) + most
    seen = ((point >= low) & (point <= high)).all(axis=1)
    if not seen.all():  # one that is kilometres away would make millions of buckets
        near = nearest_points(centre, point[seen], reach[seen], count)
        out[:] = np.where(near < 0, near, np.append(np.flatnonzero(seen), -1)[near])
        return out
    origin = point.min(axis=0)
    size = np.floor((point.max(axis=0) - origin) / BUCKET).astype(np.int64) + 1
    distances, kind = np.unique(reach, return_inverse=True)
    place = np.floor((point - origin) / BUCKET).astype(np.int64)
    bucket = (kind * size[1] + place[:, 1]) * size[0] + place[:, 0]
    order = np.argsort(bucket, kind="stable")
    first = np.concatenate(
        [[0], np.cumsum(np.bincount(bucket, minlength=len(distances) * size.prod()))]
    )
    _search(centre, point[order], order, first, origin, size, distances, out)
    return out


@compiled
def _search(
    centre: F64,
    point: F64,
    original: I64,
    first: I64,
    origin: F64,
    size: I64,
    reach: F64,
    out: I32,
) -> None:
    """Fills the rows of `out` with the nearest points."""
    squares = np.empty(out.shape[1])
    for row in range(len(centre)):
        x, y = centre[row, 0], centre[row, 1]
        num = 0
        for kind in range(len(reach)):
            r = reach[kind]
            i0 = max(math.floor((x - r - origin[0]) / BUCKET), 0)
            i1 = min(math.floor((x + r - origin[0]) / BUCKET), size[0] - 1)
            j0 = max(math.floor((y - r - origin[1]) / BUCKET), 0)
            j1 = min(math.floor((y + r - origin[1]) / BUCKET), size[1] - 1)
            if i1 < i0:
                continue
            for j in range(j0, j1 + 1):
                base = (kind * size[1] + j) * size[0]
                for p in range(first[base + i0], first[base + i1 + 1]):
                    dx, dy = point[p, 0] - x, point[p, 1] - y
                    square = dx * dx + dy * dy
                    if square > r * r or (num == len(squares) and square >= squares[num - 1]):
                        continue
                    place = min(num, len(squares) - 1)
                    num = place + 1
                    while place > 0 and squares[place - 1] > square:
                        squares[place] = squares[place - 1]
                        out[row, place] = out[row, place - 1]
                        place -= 1
                    squares[place] = square
                    out[row, place] = original[p]
