"""The way ahead of an agent that observes: the points that are shown, and the next line on it."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import padded, prefetch
from selfdrive_env.config.observation import ROUTE_DISTANCES
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.observation.kept_way import (
    ENTERED,
    FIRST_SEGMENT,
    GIVEN_WAY,
    LANE_START,
    LIMIT,
    LINE_REACH,
    MARK_S,
    MARKS,
    NUM_SEGMENTS,
    PER_METRE,
    RATIO,
    START,
    STOP,
    STRETCHES,
    keep_way,
)
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LEFT,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import NO_LIGHT, STOP_SIGN

__all__ = ["FOLLOWER", "LEADER", "LINE", "LINE_COLOUR", "LINE_GAP", "LINE_GIVES_WAY", "LINE_SERVED",
    "LINE_TIME", "NOTES", "ROUTE_COLUMNS", "ROUTE_LINES", "SHOWN", "WAY_COLUMNS", "WAY_COS",
    "WAY_POINTS", "WAY_ROOM", "WAY_SIN", "WAY_STEP", "WAY_X", "WAY_Y", "WAY_Z", "find_way",
    "lay_way",
    "note_way", "prefetch_way"]  # fmt: skip

STEP = ROUTE_DISTANCES[0]
WAY_STEP = np.float32(STEP)  # between points of the way [m]
WAY_POINTS = int(ROUTE_DISTANCES[-1] / STEP) + 1
WAY_ROOM = padded(WAY_POINTS)
"""Points that the memory of a way has room for; those behind its end are far away."""

SLOTS, SLOT_BITS, SLOT_MASK = len(ROUTE_DISTANCES), 8, 255
SHOWN_POINTS = sum(int(d / STEP) << (SLOT_BITS * n) for n, d in enumerate(ROUTE_DISTANCES))
"""Numbers of the points of the way that are shown, each in eight bits."""

PASSED = np.float32(-1.0)  # gap to a line behind which it is no longer the next [m]
NOWHERE = np.float32(1.0e9)  # [m]
ROUTE_LINES = 4
"""Lines of the way that are kept, so that stop-line slots know whether they lie on it."""

# Rows of Scratch.way_ahead.
WAY_X, WAY_Y, WAY_COS, WAY_SIN, WAY_Z = range(5)
WAY_COLUMNS = 5

# Columns of Scratch.route.
ROUTE_COLUMNS = 7

# Columns of Scratch.ahead: how many points of the way are shown; whether there is a next line, the
# gap to it [m], its colour, whether the agent has stood there, for how long it has or the colour
# has been shown [s], and whether the junction behind it is entered by giving way; then whether
# there is a leader, the gap to it [m] and its speed along the way [m/s]; a follower.
(SHOWN, LINE, LINE_GAP, LINE_COLOUR, LINE_SERVED, LINE_TIME, LINE_GIVES_WAY, LEADER, _, _,
    FOLLOWER, _, _) = range(13)  # fmt: skip
NOTES = 13


@njit
def aim_points(segment, stretch, segments, hops, s, aim, aim_s):
    """Finds the segments that the points which are shown lie on, and asks for their memory.

    Args:
        segment: Of the lane graph.
        stretch: `Scratch.stretch` of the agent.
        segments: `Scratch.stretch_segment` of the agent.
        hops: Lanes of its way.
        s: Where on the first of them it is [m].
        aim: Receives the segments and the numbers of their lanes, [2, SLOTS].
        aim_s: Receives s on those lanes, [SLOTS] [m].

    Returns:
        How many points there are before the way ends.
    """
    hop = np.int64(0)
    for slot in range(SLOTS):
        number = (SHOWN_POINTS >> (SLOT_BITS * slot)) & SLOT_MASK
        distance = s + WAY_STEP * np.float32(number)
        while hop < hops and distance > stretch[hop, STOP]:
            hop += 1
        if hop == hops:
            return np.int64(slot)
        along = max((distance - stretch[hop, START]) * stretch[hop, RATIO], ZERO)
        most = np.int64(segments[hop, NUM_SEGMENTS]) - 1
        place = min(np.int64(along * stretch[hop, PER_METRE]), most)
        index = np.int64(segments[hop, FIRST_SEGMENT]) + place
        aim[0, slot], aim[1, slot], aim_s[slot] = np.int32(index), np.int32(hop), along
        prefetch(segment, index)
    return np.int64(SLOTS)


@inline
def show_points(segment, stretch, aim, aim_s, count, half_width, shown):
    """Writes the points of the way that are shown.

    Args:
        segment: Of the lane graph.
        stretch: `Scratch.stretch` of the agent.
        aim: As `aim_points` leaves it.
        aim_s: Likewise.
        count: How many points there are.
        half_width: Of the agent's body [m].
        shown: Receives the points, [ROUTE_COLUMNS, SLOTS].
    """
    for slot in range(count):
        place, hop = np.uint32(slot), np.uint32(aim[1, slot])
        index = np.uint32(aim[0, slot])  # unsigned: no test for negative indices
        t = aim_s[place] - segment[index, SEG_S]
        cos, sin = segment[index, SEG_COS], segment[index, SEG_SIN]
        shown[0, place] = segment[index, SEG_X] + t * cos
        shown[1, place] = segment[index, SEG_Y] + t * sin
        shown[2, place] = cos
        shown[3, place] = sin
        shown[4, place] = segment[index, SEG_LEFT] - half_width
        shown[5, place] = segment[index, SEG_RIGHT] - half_width
        shown[6, place] = stretch[hop, LIMIT]


@njit
def lay_way(segment, stretch, segments, hops, s, way):
    """Writes the points of a way at equal steps, far away behind its end.

    Args:
        segment: Of the lane graph.
        stretch: `Scratch.stretch` of the agent.
        segments: `Scratch.stretch_segment` of the agent.
        hops: Lanes of its way.
        s: Where on the first of them it is [m].
        way: Receives the points, [WAY_COLUMNS, WAY_ROOM].
    """
    number = np.int64(0)
    for hop in range(hops):
        start, stop, ratio = stretch[hop, START], stretch[hop, STOP], stretch[hop, RATIO]
        per_metre, most = stretch[hop, PER_METRE], np.int64(segments[hop, NUM_SEGMENTS]) - 1
        first = np.int64(segments[hop, FIRST_SEGMENT])
        while number < WAY_POINTS:
            distance = s + WAY_STEP * np.float32(number)
            if distance > stop:
                break
            along = max((distance - start) * ratio, ZERO)
            index = np.uint64(first + min(np.int64(along * per_metre), most))
            cos, sin = segment[index, SEG_COS], segment[index, SEG_SIN]
            t = along - segment[index, SEG_S]
            place = np.uint64(number)
            way[WAY_X, place] = segment[index, SEG_X] + t * cos
            way[WAY_Y, place] = segment[index, SEG_Y] + t * sin
            way[WAY_COS, place] = cos
            way[WAY_SIN, place] = sin
            way[WAY_Z, place] = segment[index, SEG_Z]
            number += 1
    for place in range(number, WAY_ROOM):
        way[WAY_X, place], way[WAY_Y, place], way[WAY_Z, place] = NOWHERE, NOWHERE, ZERO
        way[WAY_COS, place], way[WAY_SIN, place] = ONE, ZERO


@inline
def note_line(model, data, world, agent, line, gap, colour, info):
    """Notes the next line on the way of an agent."""
    agents, lights, worlds = data.agents, data.lights, data.worlds
    served = agents.stopped_at[world, agent] == line
    number = line - np.int64(model.signs.map_line_first[worlds.map[world]])
    since = agents.stop_tick[world, agent] if served else lights.line_tick[world, number]
    elapsed = np.int64(worlds.tick[world]) - np.int64(since)
    info[LINE] = ONE
    info[LINE_GAP] = max(gap, ZERO)
    info[LINE_COLOUR] = np.float32(colour)
    info[LINE_SERVED] = ONE if served else ZERO
    timed = served or colour != STOP_SIGN
    info[LINE_TIME] = np.float32(elapsed) * worlds.dt[world] if timed else ZERO


@njit
def note_marks(model, data, world, agent, info, lines):
    """Notes the lines ahead of an agent's front that show something, and how it enters junctions.

    A junction that is entered by giving way and has no line before it is a line itself, where it
    begins.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        agent: Whose way it is.
        info: Row of `Scratch.ahead`, which gets the first line.
        lines: Row of `Scratch.route_line`, which gets all of them.
    """
    mark, kind = data.scratch.mark[world, agent], data.scratch.mark_line[world, agent]
    colours = data.lights.line_colour[world]
    first_line = np.int64(model.signs.map_line_first[data.worlds.map[world]])
    s, front = data.agents.s[world, agent], HALF * data.bodies.length[world, agent]
    count, undecided = np.int64(0), True
    for number in range(data.scratch.kept_way[world, agent, MARKS]):
        if mark[number, LANE_START] - s >= LINE_REACH:
            break
        gap = mark[number, MARK_S] - s - front
        line = np.int64(kind[number])
        if line < 0:
            if undecided and info[LINE] > ZERO:
                info[LINE_GIVES_WAY] = ONE if line == GIVEN_WAY else ZERO
                undecided = False
            elif undecided and gap >= PASSED and line != ENTERED:
                info[LINE], info[LINE_GAP], info[LINE_GIVES_WAY] = ONE, max(gap, ZERO), ONE
                undecided = False
            continue
        colour = np.int64(colours[line - first_line])
        if gap < PASSED or gap > LINE_REACH or colour == NO_LIGHT:
            continue
        if count < ROUTE_LINES:
            lines[count] = np.int32(line)
            count += 1
        if info[LINE] == ZERO:
            note_line(model, data, world, agent, line, gap, colour, info)
    for place in range(count, ROUTE_LINES):
        lines[place] = np.int32(-1)


@inline
def prefetch_way(scratch, world, agent):
    """Asks for the way that an agent keeps."""
    if agent >= scratch.kept_way.shape[1]:
        return
    prefetch(scratch.kept_way[world], agent)
    prefetch(scratch.kept_numbers[world], agent)
    prefetch(scratch.stretch[world], agent)
    prefetch(scratch.stretch[world, agent], 4)  # the first that begins in another cache line
    prefetch(scratch.stretch_segment[world], agent)
    prefetch(scratch.mark[world], agent)
    prefetch(scratch.mark_line[world], agent)
    prefetch(scratch.chunk[world], agent)
    prefetch(scratch.chunk[world, agent], 2)


@njit
def find_way(model, data, worker, world, agent):
    """Keeps the way of an agent and finds the points that are shown: for `note_way`, later on.

    Args:
        model: Of the batch.
        data: Of the batch; its scratch gets what the agent keeps, and `aim` and `aim_s`.
        worker: Who works.
        world: Which.
        agent: Whose way it is.
    """
    scratch = data.scratch
    keep_way(model, data, world, agent)
    count = aim_points(
        model.lanes.segment, scratch.stretch[world, agent], scratch.stretch_segment[world, agent],
        np.int64(scratch.kept_way[world, agent, STRETCHES]), data.agents.s[world, agent],
        scratch.aim[worker, agent], scratch.aim_s[worker, agent],
    )  # fmt: skip
    scratch.ahead[worker, agent, SHOWN] = np.float32(count)


@njit
def note_way(model, data, worker, world, agent):
    """Writes what a row shows of the way ahead of an agent.

    Args:
        model: Of the batch.
        data: Of the batch; its scratch gets `route`, `ahead` and `route_line` of the agent.
        worker: Who works.
        world: Which.
        agent: Whose way it is.
    """
    scratch = data.scratch
    info = scratch.ahead[worker, agent]
    for column in range(LINE, NOTES):
        info[column] = ZERO
    show_points(
        model.lanes.segment, scratch.stretch[world, agent], scratch.aim[worker, agent],
        scratch.aim_s[worker, agent], np.int64(info[SHOWN]),
        HALF * data.bodies.width[world, agent], scratch.route[worker, agent],
    )  # fmt: skip
    note_marks(model, data, world, agent, info, scratch.route_line[worker, agent])
