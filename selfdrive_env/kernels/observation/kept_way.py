"""The way ahead of an agent lane by lane, and what lies along it: kept while it stands.

What is kept depends on the lane and the goals of an agent, and on the part of the lane that it is
on: distances along the way count from the start of that lane. Where the route wants another lane,
the way lies on that lane; marks are those of the agent's own lane until it ends.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.config.observation import ROUTE_DISTANCES
from selfdrive_env.kernels.math.geometry import ONE, ZERO
from selfdrive_env.kernels.road import UNREACHABLE, lane_change_target, next_lane
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.road import SEG_COS, SEG_LENGTH, SEG_SIN, SEG_X, SEG_Y
from selfdrive_env.state.world import MAX_GOALS

__all__ = [
    "ALL_EAST",
    "ALL_NORTH",
    "ALL_SOUTH",
    "ALL_WEST",
    "CHUNKS",
    "EAST",
    "ENTERED",
    "FIRST_SEGMENT",
    "GIVEN_WAY",
    "KEY_WORDS",
    "LANE_START",
    "LIMIT",
    "LINE_REACH",
    "MARKS",
    "MARK_PLACES",
    "MARK_S",
    "MOST_LANES",
    "MOST_MARKS",
    "NORTH",
    "NUMBERS",
    "NUM_SEGMENTS",
    "PER_METRE",
    "PLACE",
    "RATIO",
    "SOUTH",
    "START",
    "STOP",
    "STRETCHES",
    "STRETCH_NUMBERS",
    "WEST",
    "chunks_ahead",
    "keep_way",
]  # fmt: skip

PART = np.float32(16.0)  # of a lane, for which a way is kept [m]
PER_PART = np.float32(1.0 / 16.0)  # [1/m]
LINE_REACH = np.float32(80.0)  # [m]
SHOWN_REACH = np.float32(ROUTE_DISTANCES[-1])  # [m]
TINY = np.float32(1.0e-3)  # [m]
STRIP = np.float32(ROUTE_DISTANCES[0])  # length of the boxes along the way [m]
SLOP = np.float32(0.1)  # for rounding [m]
MOST_LANES = 48
MOST_CHANGES = 4
MOST_MARKS = 32

# Columns of Scratch.kept_way: lane + 1 (0 where nothing is kept), part of it, goal, whether that
# lies ahead, number of goals, their lanes; lanes of the way, marks along it.
LANE, PLACE, GOAL, PASSES, GOALS, FIRST_GOAL = range(6)
STRETCHES, MARKS = FIRST_GOAL + MAX_GOALS, FIRST_GOAL + MAX_GOALS + 1
KEY_WORDS = MARKS + 1

# Columns of Scratch.kept_numbers: s of the goals [m], what the body can follow [1/m], how far
# behind a goal counts [m]; bounds of the points that can be shown [m].
BEND, SLACK, ALL_WEST, ALL_EAST, ALL_SOUTH, ALL_NORTH = range(MAX_GOALS, MAX_GOALS + 6)
NUMBERS = MAX_GOALS + 6

# Rows of Scratch.chunk: bounds of the pieces of the way, each `CHUNK` long [m].
WEST, EAST, SOUTH, NORTH = range(4)
CHUNKS = 8
CHUNK = (PART + SHOWN_REACH) / np.float32(CHUNKS)  # [m]
PER_CHUNK = np.float32(1.0) / CHUNK  # [1/m]

# Columns of Scratch.stretch: where a lane begins and ends along the way [m], its own metres and
# segments for each metre of the way, its speed limit [m/s].
START, STOP, RATIO, PER_METRE, LIMIT = range(5)
STRETCH_NUMBERS = 5

# Columns of Scratch.stretch_segment.
FIRST_SEGMENT, NUM_SEGMENTS = range(2)

# Columns of Scratch.mark: where the lane begins and where on it a mark lies, along the way [m].
LANE_START, MARK_S = range(2)
MARK_PLACES = 2

ENTERED, GIVEN_WAY = -1, -2
"""In the place of a line: a junction begins; one that is entered by giving way."""


@njit
def lane_wanted(lanes, routes, lane, ways):
    """Returns the lane that the route changes to from a lane, perhaps over several, or the lane.

    Args:
        lanes: The lane graph.
        routes: To the goal's lane.
        lane: Where the change would begin.
        ways: Lane of the goal, first lane of the map, number of its lanes.
    """
    goal_lane, first_lane, num_lanes = ways
    if lanes.left[lane] < 0 and lanes.right[lane] < 0:
        return lane
    if goal_lane < 0 or lanes.junction[lane] >= 0:
        return lane
    for _ in range(MOST_CHANGES):
        beside = lane_change_target(lanes, routes, lane, goal_lane, first_lane, num_lanes)
        if beside == lane:
            break
        lane = beside
    return lane


@njit
def lane_after(lanes, routes, lane, ways, bend):
    """Returns the lane that follows another on the way, -1 where none does.

    One that bends too much for the body only where there is no other.

    Args:
        lanes: The lane graph.
        routes: To the goal's lane.
        lane: The one before.
        ways: As for `lane_wanted`.
        bend: Largest lane curvature that the body can follow [1/m].
    """
    begin = np.int64(lanes.successor_first[lane])
    if lanes.successor_first[lane + 1] - begin == 1:
        return np.int64(lanes.successor[begin])
    goal_lane, first_lane, num_lanes = ways
    after = next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes)
    if after < 0:
        after = next_lane(lanes, routes, lane, goal_lane, UNREACHABLE, first_lane, num_lanes)
    return after


@inline
def stands(key, numbers, lane, part, goal, passes, num_goals, goal_lane, goal_s, bend, slack):
    """Whether what an agent keeps is the way that it would make.

    Args:
        key: Row of `Scratch.kept_way`.
        numbers: Row of `Scratch.kept_numbers`.
        lane: Where the agent is.
        part: Of that lane.
        goal: Number of its next goal.
        passes: Whether that would lie ahead of it on its lane.
        num_goals: How many it has.
        goal_lane: Their lanes.
        goal_s: Where on them [m].
        bend: Largest lane curvature that it can follow [1/m].
        slack: How far behind a goal counts [m].
    """
    same = (key[LANE] == lane + 1) & (key[PLACE] == part) & (key[GOAL] == goal)
    same = same & (key[PASSES] == passes) & (key[GOALS] == num_goals)
    same = same & (numbers[BEND] == bend) & (numbers[SLACK] == slack)
    for place in range(MAX_GOALS):
        same = same & (key[FIRST_GOAL + place] == goal_lane[place])
        same = same & (numbers[place] == goal_s[place])
    return same


@njit
def keep_way(model, data, world, agent):
    """Makes the way of an agent anew if it keeps another, or none.

    Args:
        model: Of the batch.
        data: Of the batch; `kept_way` and what belongs to it, of `Scratch`, get the way.
        world: Which.
        agent: Whose way it is.
    """
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    key, numbers = scratch.kept_way[world, agent], scratch.kept_numbers[world, agent]
    goal_lane, goal_s = bodies.goal_lane[world, agent], bodies.goal_s[world, agent]
    num_goals = np.int64(bodies.num_goals[world, agent])
    bend = bodies.max_curvature[world, agent]
    slack = bodies.weight[world, agent, WEIGHT.goal_radius]
    s, goal = agents.s[world, agent], np.int64(agents.goal[world, agent])
    lane = np.int64(model.lanes.segment_lane[agents.segment[world, agent]])
    part = np.int64(max(s, ZERO) * PER_PART)
    passes = np.int64(goal_s[goal] - s >= -slack)
    if stands(key, numbers, lane, part, goal, passes, num_goals, goal_lane, goal_s, bend, slack):
        return
    key[LANE], key[PLACE], key[GOAL] = np.int32(lane + 1), np.int32(part), np.int32(goal)
    key[PASSES], key[GOALS] = np.int32(passes), np.int32(num_goals)
    for place in range(MAX_GOALS):
        key[FIRST_GOAL + place] = goal_lane[place]
        numbers[place] = goal_s[place]
    numbers[BEND], numbers[SLACK] = bend, slack
    make_way(model, data, world, agent)


@njit
def make_way(model, data, world, agent):
    """Walks over the lanes of the way that `keep_way` has named, and writes it."""
    lanes, routes, scratch = model.lanes, model.routes, data.scratch
    key, numbers = scratch.kept_way[world, agent], scratch.kept_numbers[world, agent]
    stretch, segments = scratch.stretch[world, agent], scratch.stretch_segment[world, agent]
    map_index = np.int64(data.worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    bend = numbers[BEND]
    lane, goal = np.int64(key[LANE]) - 1, np.int64(key[GOAL])
    goal_lane, start = np.int64(key[FIRST_GOAL + goal]), ZERO
    low = PART * np.float32(key[PLACE])
    high = low + PART
    chunk = scratch.chunk[world, agent]
    for place in range(CHUNKS):
        chunk[WEST, place], chunk[SOUTH, place] = UNREACHABLE, UNREACHABLE
        chunk[EAST, place], chunk[NORTH, place] = -UNREACHABLE, -UNREACHABLE
    hops, marks = np.int64(0), np.int64(0)
    for hop in range(MOST_LANES):
        ways = (goal_lane, first_lane, num_lanes)
        target = lane_wanted(lanes, routes, lane, ways)
        length = max(lanes.length[lane], TINY)
        ratio = max(lanes.length[target], TINY) / length
        stop = start + lanes.length[lane]
        first = np.int64(lanes.segment_first[target])
        most = np.int64(lanes.segment_first[target + 1]) - first
        stretch[hop, START], stretch[hop, STOP], stretch[hop, RATIO] = start, stop, ratio
        stretch[hop, PER_METRE] = np.float32(most) / max(lanes.length[target], TINY)
        stretch[hop, LIMIT] = lanes.speed_limit[target]
        segments[hop, FIRST_SEGMENT], segments[hop, NUM_SEGMENTS] = np.int32(first), np.int32(most)
        hops += 1
        bound_strips(lanes, stretch[hop], first, most, low, chunk)
        # Two choices: of a pair, NVVM's optimiser finds no end.
        at = lane if hop == 0 else target
        scale = ONE if hop == 0 else ONE / ratio
        marks = keep_marks(model, data, world, agent, at, start, scale, marks)
        passes = hop > 0 or key[PASSES] != 0
        if target == goal_lane and passes and goal + 1 < key[GOALS]:
            goal += 1
            goal_lane = np.int64(key[FIRST_GOAL + goal])
        if stop >= high + LINE_REACH:
            break
        start = stop
        lane = lane_after(lanes, routes, target, (goal_lane, first_lane, num_lanes), bend)
        if lane < 0:
            break
    key[STRETCHES], key[MARKS] = np.int32(hops), np.int32(marks)
    numbers[ALL_WEST], numbers[ALL_EAST] = chunk[WEST, 0], chunk[EAST, 0]
    numbers[ALL_SOUTH], numbers[ALL_NORTH] = chunk[SOUTH, 0], chunk[NORTH, 0]
    for place in range(1, CHUNKS):
        numbers[ALL_WEST] = min(numbers[ALL_WEST], chunk[WEST, place])
        numbers[ALL_EAST] = max(numbers[ALL_EAST], chunk[EAST, place])
        numbers[ALL_SOUTH] = min(numbers[ALL_SOUTH], chunk[SOUTH, place])
        numbers[ALL_NORTH] = max(numbers[ALL_NORTH], chunk[NORTH, place])


@njit
def bound_strips(lanes, stretch, first, most, low, chunk):
    """Widens the bounds of the pieces of the way, the first from `low` on, by those of a lane.

    They hold the middle of every strip that begins on it, which lies along its segment.
    """
    begin, end = max(low, stretch[START]), min(low + PART + SHOWN_REACH, stretch[STOP])
    if begin > end:
        return
    per_way = stretch[RATIO] * stretch[PER_METRE]
    from_low = low - stretch[START]
    for piece in range(
        max(np.int64((begin - low - SLOP) * PER_CHUNK), 0),
        min(np.int64((end - low + SLOP) * PER_CHUNK) + 1, CHUNKS),
    ):
        at = from_low + CHUNK * np.float32(piece)
        place = min(np.int64(max(at - SLOP, ZERO) * per_way), most - 1)
        last = min(np.int64(max(at + CHUNK + SLOP, ZERO) * per_way), most - 1)
        west, east, south, north = UNREACHABLE, -UNREACHABLE, UNREACHABLE, -UNREACHABLE
        while place <= last:
            index = np.uint64(first + place)  # unsigned: no test for negative indices
            x, y = lanes.segment[index, SEG_X], lanes.segment[index, SEG_Y]
            ahead = lanes.segment[index, SEG_LENGTH] + STRIP
            far_x = x + ahead * lanes.segment[index, SEG_COS]
            far_y = y + ahead * lanes.segment[index, SEG_SIN]
            west, east = min(west, min(x, far_x)), max(east, max(x, far_x))
            south, north = min(south, min(y, far_y)), max(north, max(y, far_y))
            place += 1
        chunk[WEST, piece] = min(chunk[WEST, piece], west)
        chunk[EAST, piece] = max(chunk[EAST, piece], east)
        chunk[SOUTH, piece] = min(chunk[SOUTH, piece], south)
        chunk[NORTH, piece] = max(chunk[NORTH, piece], north)


@inline
def chunks_ahead(part, s):
    """Returns a number with a bit set for each piece of the way where strips ahead begin."""
    at = s - PART * np.float32(part)
    first, last = np.int64(at * PER_CHUNK), np.int64((at + SHOWN_REACH) * PER_CHUNK)
    return (1 << (last + 1)) - (1 << first)


@njit
def keep_marks(model, data, world, agent, lane, start, scale, count):
    """Writes the lines along a lane of the way, and whether it is within a junction.

    Args:
        model: Of the batch.
        data: Of the batch; `mark` and `mark_line` of its scratch are written.
        world: Which.
        agent: Whose way it is.
        lane: Of the way.
        start: Where it begins along the way [m].
        scale: Metres of way for each metre of the lane.
        count: Marks so far.

    Returns:
        How many there are then, at most `MOST_MARKS`.
    """
    lanes, signs = model.lanes, model.signs
    mark, kind = data.scratch.mark[world, agent], data.scratch.mark_line[world, agent]
    for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
        if count < MOST_MARKS:
            mark[count, LANE_START] = start
            mark[count, MARK_S] = start + signs.lane_line_s[link] * scale
            kind[count] = signs.lane_line[link]
            count += 1
    if lanes.junction[lane] >= 0 and count < MOST_MARKS:
        mark[count, LANE_START], mark[count, MARK_S] = start, start
        kind[count] = np.int32(GIVEN_WAY if lanes.precedence[lane] < 0 else ENTERED)
        count += 1
    return count
