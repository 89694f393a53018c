"""The way ahead of an agent that observes: points along its route, and the next line on it.

One walk over the lane graph, from where the agent is towards its goals, serves what is shown of the
route, of the own stop line and of the bodies on the way. Where the route wants another lane, the
points lie on that lane; the lines are those of the agent's own lane until it ends.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.config.observation import ROUTE_DISTANCES
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import UNREACHABLE, lane_change_target, next_lane
from selfdrive_env.state.rewards import WEIGHT
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
from selfdrive_env.state.world import NO_LIGHT

__all__ = ["EAST", "FOLLOWER", "LEADER", "LINE", "LINE_COLOUR", "LINE_GAP", "LINE_GIVES_WAY",
    "LINE_SERVED", "LINE_TIME", "NORTH", "NOTES", "POINTS", "ROUTE_COLUMNS", "ROUTE_LINES", "SHOWN",
    "SOUTH", "WAY_COLUMNS", "WAY_COS", "WAY_POINTS", "WAY_SIN", "WAY_STEP", "WAY_X", "WAY_Y",
    "WAY_Z", "WEST", "walk_ahead"]  # fmt: skip

STEP = ROUTE_DISTANCES[0]
WAY_STEP = np.float32(STEP)  # between points of the way [m]
WAY_POINTS = int(ROUTE_DISTANCES[-1] / STEP) + 1
SHOWN_POINTS = sum(1 << int(distance / STEP) for distance in ROUTE_DISTANCES)
"""Bit n is set if point n of the way is one of those that are shown."""

LINE_REACH = np.float32(80.0)  # [m]
PASSED = np.float32(-1.0)  # gap to a line behind which it is no longer the next [m]
TINY = np.float32(1.0e-3)  # [m]
MOST_LANES = 48
MOST_CHANGES = 4
ROUTE_LINES = 4
"""Lines of the way that are kept, so that stop-line slots know whether they lie on it."""

# Columns of Scratch.way_ahead.
WAY_X, WAY_Y, WAY_COS, WAY_SIN, WAY_Z = range(5)
WAY_COLUMNS = 5

# Columns of Scratch.route.
ROUTE_COLUMNS = 7

# Columns of Scratch.ahead: how many points of the way there are and how many of them are shown;
# whether there is a next line, the gap to it [m], its colour, whether the agent has stood there and
# how long ago it came to [s], and whether the junction behind it is entered by giving way; then
# whether there is a leader, the gap to it [m] and its speed along the way [m/s]; a follower; the
# box that the way and the own width lie in [m].
(POINTS, SHOWN, LINE, LINE_GAP, LINE_COLOUR, LINE_SERVED, LINE_TIME, LINE_GIVES_WAY, LEADER, _, _,
    FOLLOWER, _, _, WEST, EAST, SOUTH, NORTH) = range(18)  # fmt: skip
NOTES = 18


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
def write_way_point(lanes, way, number, index, s):
    """Writes point `number` of a way, at arc length s on segment `index` of a lane; returns it."""
    t = s - lanes.segment[index, SEG_S]
    cos, sin = lanes.segment[index, SEG_COS], lanes.segment[index, SEG_SIN]
    x = lanes.segment[index, SEG_X] + t * cos
    y = lanes.segment[index, SEG_Y] + t * sin
    way[WAY_X, number] = x
    way[WAY_Y, number] = y
    way[WAY_COS, number] = cos
    way[WAY_SIN, number] = sin
    way[WAY_Z, number] = lanes.segment[index, SEG_Z]
    return x, y


@inline
def show_point(lanes, way, number, index, half_width, shown, slot):
    """Writes a point of the way, on segment `index`, to where `route` is written from."""
    for column in range(4):
        shown[column, slot] = way[column, number]
    shown[4, slot] = lanes.segment[index, SEG_LEFT] - half_width
    shown[5, slot] = lanes.segment[index, SEG_RIGHT] - half_width
    shown[6, slot] = lanes.speed_limit[lanes.segment_lane[index]]


@njit
def note_lines(model, data, world, agent, lane, start, ratio, info, lines, count):
    """Notes the lines along a lane that lie ahead of an agent's front and show something.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        agent: Whose way it is.
        lane: Of the way.
        start: Way from its front to the start of the lane [m].
        ratio: Way along the route for each metre of this lane.
        info: Row of `Scratch.ahead`, which gets the first line.
        lines: Row of `Scratch.route_line`, which gets all of them.
        count: How many it holds already.

    Returns:
        How many it holds then.
    """
    signs, agents = model.signs, data.agents
    first_line = np.int64(model.signs.map_line_first[data.worlds.map[world]])
    for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
        gap = start + signs.lane_line_s[link] * ratio
        line = np.int64(signs.lane_line[link])
        colour = np.int64(data.lights.line_colour[world, line - first_line])
        if gap < PASSED or gap > LINE_REACH or colour == NO_LIGHT:
            continue
        if count < ROUTE_LINES:
            lines[count] = np.int32(line)
            count += 1
        if info[LINE] > ZERO:
            continue
        served = agents.stopped_at[world, agent] == line
        since = np.int64(data.worlds.tick[world]) - np.int64(agents.stop_tick[world, agent])
        info[LINE] = ONE
        info[LINE_GAP] = max(gap, ZERO)
        info[LINE_COLOUR] = np.float32(colour)
        info[LINE_SERVED] = ONE if served else ZERO
        info[LINE_TIME] = np.float32(since) * np.float32(model.params.dt) if served else ZERO
    return count


@njit
def note_entry(lanes, lane, gap, info, undecided):
    """Notes whether a junction that begins `gap` ahead of the front is entered by giving way.

    One without a line before it is a line itself where it is. Returns whether the next junction is
    yet to be found.
    """
    if lanes.junction[lane] < 0 or not undecided:
        return undecided
    gives_way = lanes.precedence[lane] < 0
    if info[LINE] > ZERO:
        info[LINE_GIVES_WAY] = ONE if gives_way else ZERO
        return False
    if gap < PASSED or not gives_way:
        return True
    info[LINE] = ONE
    info[LINE_GAP] = max(gap, ZERO)
    info[LINE_GIVES_WAY] = ONE
    return False


@njit
def walk_ahead(model, data, way, worker, world, agent):
    """Walks the way ahead of an agent and writes what its row shows of it.

    Args:
        model: Of the batch.
        data: Of the batch; its scratch gets `route`, `ahead` and `route_line` of the agent.
        way: Receives points at equal steps, [WAY_COLUMNS, WAY_POINTS].
        worker: Who works.
        world: Which.
        agent: Whose way it is.
    """
    lanes, routes = model.lanes, model.routes
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    shown, info = scratch.route[worker, agent], scratch.ahead[worker, agent]
    lines = scratch.route_line[worker, agent]
    map_index = np.int64(data.worlds.map[world])
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    half_length = HALF * bodies.length[world, agent]
    half_width = HALF * bodies.width[world, agent]
    bend = bodies.max_curvature[world, agent]
    slack = bodies.weight[world, agent, WEIGHT.goal_radius]
    goal = np.int64(agents.goal[world, agent])
    goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
    lane = np.int64(lanes.segment_lane[agents.segment[world, agent]])
    base = -agents.s[world, agent]
    for column in range(NOTES):
        info[column] = ZERO
    number, slot, count = np.int64(0), np.int64(0), np.int64(0)
    undecided = True
    west, south, east, north = UNREACHABLE, UNREACHABLE, -UNREACHABLE, -UNREACHABLE
    for hop in range(MOST_LANES):
        ways = (goal_lane, first_lane, num_lanes)
        target = lane_wanted(lanes, routes, lane, ways)
        length = max(lanes.length[lane], TINY)
        ratio = max(lanes.length[target], TINY) / length
        end = base + lanes.length[lane]
        first = np.int64(lanes.segment_first[target])
        most = np.int64(lanes.segment_first[target + 1]) - first
        per_metre = np.float32(most) / max(lanes.length[target], TINY)
        while number < WAY_POINTS and WAY_STEP * np.float32(number) <= end:
            s = (WAY_STEP * np.float32(number) - base) * ratio
            index = first + min(np.int64(max(s, ZERO) * per_metre), most - 1)
            x, y = write_way_point(lanes, way, number, index, s)
            west, east = min(west, x), max(east, x)
            south, north = min(south, y), max(north, y)
            if (SHOWN_POINTS >> number) & 1:
                show_point(lanes, way, number, index, half_width, shown, slot)
                slot += 1
            number += 1
        at = lane if hop == 0 else target
        start = base - half_length
        along = ONE if hop == 0 else ONE / ratio
        count = note_lines(model, data, world, agent, at, start, along, info, lines, count)
        undecided = note_entry(lanes, at, start, info, undecided)
        passes = base + bodies.goal_s[world, agent, goal] >= -slack
        if target == goal_lane and passes and goal + 1 < bodies.num_goals[world, agent]:
            goal += 1
            goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
        if end >= LINE_REACH:
            break
        base = end
        lane = lane_after(lanes, routes, target, (goal_lane, first_lane, num_lanes), bend)
        if lane < 0:
            break
    for place in range(count, ROUTE_LINES):
        lines[place] = np.int32(-1)
    info[POINTS] = np.float32(number)
    info[SHOWN] = np.float32(slot)
    room = half_width + WAY_STEP
    info[WEST], info[EAST] = west - room, east + room
    info[SOUTH], info[NORTH] = south - room, north + room
