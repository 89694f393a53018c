"""Walks over the lane graph: where lanes are wide enough, where they end, where a walk leads."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.math.random import DRAW_GOALS, uniforms
from selfdrive_env.kernels.road import (
    BEND_MARGIN,
    LANE_ROOM,
    NARROW_MARGIN,
    UNREACHABLE,
    segment_at,
)
from selfdrive_env.state.road import SEG_LEFT, SEG_RIGHT, SEG_S

__all__ = ["DEAD_END", "MAX_HOPS", "fits", "has_room", "is_open", "is_wide", "tail_room",
    "turn_out_room", "walk_lanes", "way_to_dead_end"]  # fmt: skip

LANE_CHANGE_SHARE = np.float32(0.25)  # of the lanes walked over
LANE_CHANGE_ROOM = np.float32(30.0)  # [m]
LEFT_SHARE = np.float32(0.5)  # of lane changes
DEAD_END_LANES = 4
DEAD_END = np.float32(12.0)  # [m]
MAX_HOPS = 64
TURN_OUT_ROOM = np.float32(6.0)  # [m]
TURN_OUT_SHARE = np.float32(0.8)  # of the length
# Of the length, for each 1/m that the inverse of the spare width beside a body is above 1/m; fitted
# to drives of bodies 7.5 to 12 m long out of lanes that end.
TAIL_SHARE, TAIL_SPARE = np.float32(1.3), np.float32(1.0)  # [m], [1/m]
TURN_MARGIN = np.float32(0.3)  # [m]


@njit
def has_room(lanes, lane, bend, narrow):
    """Whether a body finds room to swing in the bends of a lane that may be narrower than usual.

    In a narrow lane it needs more of it than in others, where it may swing over the edge a little.

    Args:
        lanes: Of the pool.
        lane: Whose bends.
        bend: Largest curvature of a usual lane that the body can follow [1/m].
        narrow: Width of a lane that it needs [m].
    """
    width = narrow - NARROW_MARGIN
    swing = max(LANE_ROOM - BEND_MARGIN - width, ZERO) * lanes.max_curvature[lane]
    room = lanes.narrowest[lane] - TURN_MARGIN - width
    return room * bend >= swing or lanes.narrowest[lane] >= LANE_ROOM


@njit
def fits(lanes, lane, bend, narrow):
    """Whether a body can follow a lane; `bend` and `narrow` as in `has_room`."""
    wide = lanes.narrowest[lane] >= narrow
    return wide and lanes.max_curvature[lane] <= bend and has_room(lanes, lane, bend, narrow)


@njit
def narrow_from(lanes, lane, s, narrow):
    """Returns where from `s` on a lane first gets narrower than `narrow` [m], or UNREACHABLE."""
    if lanes.narrowest[lane] >= narrow:
        return UNREACHABLE
    for index in range(segment_at(lanes, lane, s), lanes.segment_first[lane + 1]):
        if lanes.segment[index, SEG_LEFT] + lanes.segment[index, SEG_RIGHT] < narrow:
            return lanes.segment[index, SEG_S]
    return UNREACHABLE


@njit
def is_wide(lanes, lane, s, narrow, length):
    """Whether a lane is `narrow` or wider where a body of that length, with its middle at s, is."""
    start = max(s - HALF * length, ZERO)
    return narrow_from(lanes, lane, start, narrow) > s + length


@njit
def is_open(lanes, lane, s, until, narrow):
    """Whether a body gets from `s` on a lane to `until`, or before its end to a wide lane beside.

    Args:
        lanes: Of the pool.
        lane: Where it is.
        s: Likewise [m].
        until: A place on the lane, or its length: a goal lies behind its end [m].
        narrow: Width of a lane that it needs [m].
    """
    if narrow_from(lanes, lane, s, narrow) > until:
        return True
    if until < lanes.length[lane]:
        return False
    left, right = lanes.left[lane], lanes.right[lane]
    if left >= 0 and lanes.narrowest[left] >= narrow:
        return True
    return right >= 0 and lanes.narrowest[right] >= narrow


@njit
def way_to_dead_end(lanes, lane, s, sight, bend, narrow):
    """Returns how far ahead of (lane, s) a body finds no way to go on [m], or UNREACHABLE.

    Args:
        lanes: Of the pool.
        lane: Where it is.
        s: Likewise [m].
        sight: Further ahead nothing is looked for [m].
        bend: Largest lane curvature that it can follow [1/m].
        narrow: Width of a lane that it needs [m].
    """
    way = -s
    for _ in range(DEAD_END_LANES):
        ends = narrow_from(lanes, lane, s, narrow)
        if ends < UNREACHABLE:
            return way + ends
        way += lanes.length[lane]
        if way > sight:
            return UNREACHABLE
        fitting = 0
        following = lane
        for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
            after = np.int64(lanes.successor[link])
            if lanes.max_curvature[after] <= bend and lanes.narrowest[after] >= narrow:
                fitting += 1
                following = after
        if fitting == 0:
            return way
        if fitting > 1:
            return UNREACHABLE
        lane = following
        s = ZERO
    return UNREACHABLE


@njit
def turn_out_room(length):
    """Returns how far ahead of its front a standing body needs free to turn out of its lane [m]."""
    return TURN_OUT_ROOM + TURN_OUT_SHARE * length


@njit
def tail_room(lanes, lane, length, narrow):
    """Returns how much sooner a body turns out of a lane that ends as wide as it is [m].

    A long body comes over slowly where lanes leave it little room, and its tail must be out at the
    end. A lane that tapers leaves its tail room there.

    Args:
        lanes: The lane graph.
        lane: That the body is on.
        length: Of the body [m].
        narrow: Width of a lane that it needs [m].
    """
    for _ in range(DEAD_END_LANES):
        if lanes.narrowest[lane] < narrow:
            return ZERO
        first = np.int64(lanes.successor_first[lane])
        following = np.int64(lanes.successor_first[lane + 1]) - first
        if following == 0:
            spare = lanes.narrowest[lane] - narrow + NARROW_MARGIN
            return TAIL_SHARE * length * max(ONE / spare - TAIL_SPARE, ZERO)
        if following > 1:
            return ZERO
        lane = np.int64(lanes.successor[first])
    return ZERO


@njit
def fitting_successor(lanes, lane, unit, fit):
    """Returns a random successor of a lane on which a body fits, -1 where there is none.

    Args:
        lanes: The lane graph.
        lane: The one before.
        unit: Random number in [0, 1).
        fit: Largest lane curvature [1/m] and least width [m] of the successor.
    """
    begin = np.int64(lanes.successor_first[lane])
    count = np.int64(lanes.successor_first[lane + 1]) - begin
    pick = min(np.int64(unit * np.float32(count)), count - 1)
    for turn in range(count):
        chosen = np.int64(lanes.successor[begin + (pick + turn) % count])
        if fits(lanes, chosen, fit[0], fit[1]):
            return chosen
    return np.int64(-1)


@njit
def only_narrows(lanes, lane, room, narrow):
    """Whether nothing follows a lane, or only what is too narrow, `room` metres ahead.

    Who leaves a lane before a taper needs room to change; where nothing follows, any is enough.
    """
    begin, end = lanes.successor_first[lane], lanes.successor_first[lane + 1]
    for link in range(begin, end):
        if lanes.narrowest[lanes.successor[link]] >= narrow:
            return False
    return begin == end or room > LANE_CHANGE_ROOM


@njit
def walk_lanes(lanes, lane, s, distance, fit, key0, key1, stream, agent, tick, draw):
    """Walks `distance` metres forward over random successors and some lane changes.

    Where nothing follows but a taper, it goes on from the lane beside.

    Args:
        lanes: The lane graph.
        lane: Start.
        s: Arc length on it [m].
        distance: [m]
        fit: Largest lane curvature [1/m] and least width [m] of the lanes to walk on.
        key0: Of the random numbers, the first half of the seed.
        key1: The second half of the seed.
        stream: Of the random numbers.
        agent: Whose random numbers.
        tick: Of the world.
        draw: First draw of this walk.

    Returns:
        lane, s, and whether the walk came to its end (no dead end before).
    """
    max_curvature, narrow = fit
    remaining = distance
    starts = True
    for hop in range(MAX_HOPS):
        a, b, c, _ = uniforms(key0, key1, stream, agent, tick, DRAW_GOALS, draw + hop)
        room = lanes.length[lane] - s
        if a < LANE_CHANGE_SHARE and room > LANE_CHANGE_ROOM and remaining > LANE_CHANGE_ROOM:
            beside = lanes.left[lane] if b < LEFT_SHARE else lanes.right[lane]
            if beside >= 0 and lanes.narrowest[beside] >= narrow:
                s = s / max(lanes.length[lane], ONE) * lanes.length[beside]
                lane = np.int64(beside)
                room = lanes.length[lane] - s
                starts = False
        at = min(s + remaining, lanes.length[lane])
        if starts and not is_open(lanes, lane, s, at, narrow):
            return lane, s, False
        starts = False
        if remaining <= room:
            at = s + remaining
            ends = way_to_dead_end(lanes, lane, at, DEAD_END, max_curvature, narrow)
            return lane, at, ends >= DEAD_END

        remaining -= max(room, ZERO)
        chosen = fitting_successor(lanes, lane, c, fit)
        leaves = chosen < 0 and lanes.junction[lane] < 0 and only_narrows(lanes, lane, room, narrow)
        for side in range(2 if leaves else 0):
            beside = np.int64(lanes.left[lane] if side == 0 else lanes.right[lane])
            if chosen < 0 and beside >= 0 and lanes.narrowest[beside] >= narrow:
                chosen = fitting_successor(lanes, beside, c, fit)
        if chosen < 0:
            return lane, s, False
        lane = chosen
        s = ZERO
    return lane, s, False
