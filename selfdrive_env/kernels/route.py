"""Goals: drawing them along the lane graph, the distance to the next one, reaching them."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.math.geometry import HALF, ZERO, clamp, closest_approach
from selfdrive_env.kernels.math.random import DRAW_GOALS, uniform, uniforms
from selfdrive_env.kernels.road import (
    NARROW_MARGIN,
    lane_change_target,
    next_lane,
    route_distance,
    segment_at,
)
from selfdrive_env.kernels.walks import (
    DEAD_END,
    MAX_HOPS,
    has_room,
    is_open,
    is_wide,
    walk_lanes,
    way_to_dead_end,
)
from selfdrive_env.state.params import NEW_ROUTE
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LENGTH,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import (
    EVENT_GOAL,
    EVENT_LAST_GOAL,
    EVENT_LOST,
    MAX_GOALS,
    PRESENT,
    REPLAY,
)

__all__ = ["NARROW_MARGIN", "draw_goals", "draw_route", "follow_routes", "forget_goals",
    "goal_distance", "is_of_junction", "is_wide", "lanes_of_map", "way_to_dead_end"]  # fmt: skip

STANDING_ROOM = np.float32(8.0)  # beyond its length, on a lane before a junction [m]
FURTHER_LOW = np.float32(20.0)  # [m]
FURTHER_HIGH = np.float32(200.0)  # [m]
MIN_TURN_COS = np.float32(0.5)
MAX_PROGRESS = np.float32(15.0)  # [m]
ROUTE_TRIES = 6
LOST = np.float32(5.0e5)  # [m]
STANDING = np.float32(0.3)  # [m/s]
END_ROOM = np.float32(4.0)  # [m]
GOAL_TRIES = 8
DRAWS_PER_GOAL = 512


@njit
def lanes_of_map(lanes, map_index):
    """Returns the first lane of a map and the one after its last."""
    return np.int64(lanes.map_lane_first[map_index]), np.int64(lanes.map_lane_first[map_index + 1])


@njit
def way_fits(lanes, routes, lane, goal_lane, bend, narrow, first_lane, num_lanes):
    """Whether the way that `next_lane` leads to a goal, lane changes included, fits a body.

    It has no tight bend, no narrow lane and no change of lanes within a junction.

    Args:
        lanes: Of the pool.
        routes: To the goal's lane.
        lane: Where the way begins.
        goal_lane: Where it ends.
        bend: Largest lane curvature that the body can follow [1/m].
        narrow: Width of a lane that it needs [m].
        first_lane: Of the map.
        num_lanes: Of the map.
    """
    for _ in range(MAX_HOPS):
        if lane == goal_lane:
            return True
        beside = lane_change_target(lanes, routes, lane, goal_lane, first_lane, num_lanes)
        if beside != lane and lanes.junction[lane] < 0:
            lane = beside
            continue
        lane = next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes)
        if lane < 0 or (lanes.narrowest[lane] < narrow and lane != goal_lane):
            return False
        if not has_room(lanes, lane, bend, narrow):
            return False
    return False


@njit
def is_of_junction(lanes, lane, length):
    """Whether a lane is in a junction, or too short before one for a body to stand on."""
    if lanes.junction[lane] >= 0 or lanes.length[lane] >= length + STANDING_ROOM:
        return lanes.junction[lane] >= 0
    for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
        if lanes.junction[lanes.successor[link]] >= 0:
            return True
    return False


@njit
def draw_goals(model, data, world, agent, lane, s, tick, fit):
    """Draws a route of one to four targets from (lane, s) on, and writes their lanes and places.

    The first lies as far ahead along the lane graph as `params` say (anywhere reachable where that
    is negative); each further one 20 to 200 m on, with at most 60 degrees between the lane headings
    of successive targets.

    Returns:
        Number of targets, 0 if the first could not be drawn.
    """
    params, lanes, routes, worlds = model.params, model.lanes, model.routes, data.worlds
    key0, key1, stream = worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world]
    map_lane_low, map_lane_high = lanes_of_map(lanes, worlds.map[world])
    first_low, first_high = np.float32(params.first_goal_low), np.float32(params.first_goal_high)
    max_further = np.int64(params.max_further_goals)
    bodies = data.bodies
    amount, unit, pick, at = uniforms(key0, key1, stream, agent, tick, DRAW_GOALS, 0)
    if first_low < ZERO:
        count = map_lane_high - map_lane_low
        goal = map_lane_low + min(np.int64(pick * np.float32(count)), count - 1)
        goal_s = at * lanes.length[goal]
        way = route_distance(routes, goal, goal_s, lane, s, ZERO, map_lane_low, count)
        ends = way_to_dead_end(lanes, goal, goal_s, DEAD_END, fit[0], fit[1])
        wide = is_wide(lanes, goal, goal_s, fit[1], bodies.length[world, agent])
        until = goal_s if goal == lane and goal_s >= s else lanes.length[lane]
        wide = wide and is_open(lanes, lane, s, until, fit[1])
        found = way < LOST and wide and ends >= DEAD_END
    else:
        goal, goal_s, found = walk_lanes(
            lanes,
            lane,
            s,
            uniform(first_low, first_high, unit),
            fit,
            key0,
            key1,
            stream,
            agent,
            tick,
            1,
        )
    if not found:
        return 0
    bodies.goal_lane[world, agent, 0] = goal
    bodies.goal_s[world, agent, 0] = goal_s

    further = min(np.int64(amount * np.float32(max_further + 1)), max_further)
    num_goals = 1
    draw = DRAWS_PER_GOAL
    for _ in range(further):
        before = segment_at(lanes, goal, goal_s)
        found = False
        for _ in range(GOAL_TRIES):
            unit, _a, _b, _c = uniforms(key0, key1, stream, agent, tick, DRAW_GOALS, draw)
            new, new_s, ended = walk_lanes(
                lanes,
                goal,
                goal_s,
                uniform(FURTHER_LOW, FURTHER_HIGH, unit),
                fit,
                key0,
                key1,
                stream,
                agent,
                tick,
                draw + 1,
            )
            draw += MAX_HOPS + 1
            after = segment_at(lanes, new, new_s)
            turn_cos = lanes.segment[before, SEG_COS] * lanes.segment[after, SEG_COS]
            turn_cos += lanes.segment[before, SEG_SIN] * lanes.segment[after, SEG_SIN]
            if ended and turn_cos >= MIN_TURN_COS:
                found = True
                break
        if not found:
            break
        goal = new
        goal_s = new_s
        bodies.goal_lane[world, agent, num_goals] = goal
        bodies.goal_s[world, agent, num_goals] = goal_s
        num_goals += 1
    return num_goals


@njit
def draw_route(model, data, world, agent, lane, s, tick, max_curvature):
    """Gives an agent a new route from (lane, s) on; returns whether one was found."""
    lanes, routes, bodies = model.lanes, model.routes, data.bodies
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    fit = (max_curvature, narrow)
    num_goals = draw_goals(model, data, world, agent, np.int64(lane), s, tick, fit)
    first_lane, last_lane = lanes_of_map(lanes, data.worlds.map[world])
    num_lanes = last_lane - first_lane
    from_lane = np.int64(lane)
    for goal in range(num_goals):
        to_lane = np.int64(bodies.goal_lane[world, agent, goal])
        if not way_fits(
            lanes, routes, from_lane, to_lane, max_curvature, narrow, first_lane, num_lanes
        ):
            num_goals = goal
            break
        from_lane = to_lane
    bodies.num_goals[world, agent] = num_goals
    for goal in range(num_goals):
        goal_lane = bodies.goal_lane[world, agent, goal]
        goal_s = bodies.goal_s[world, agent, goal]
        index = segment_at(lanes, goal_lane, goal_s)
        t = clamp(goal_s - lanes.segment[index, SEG_S], ZERO, lanes.segment[index, SEG_LENGTH])
        x = lanes.segment[index, SEG_X] + t * lanes.segment[index, SEG_COS]
        y = lanes.segment[index, SEG_Y] + t * lanes.segment[index, SEG_SIN]
        bodies.goal_x[world, agent, goal] = x
        bodies.goal_y[world, agent, goal] = y
    forget_goals(bodies, world, agent, num_goals)
    return num_goals > 0


@njit
def forget_goals(bodies, world, agent, first):
    """Leaves nothing of an earlier route, perhaps of another map, from some goal on."""
    for goal in range(first, MAX_GOALS):
        bodies.goal_lane[world, agent, goal] = -1
        bodies.goal_s[world, agent, goal] = ZERO
        bodies.goal_x[world, agent, goal] = ZERO
        bodies.goal_y[world, agent, goal] = ZERO


@njit
def goal_distance(model, data, world, agent, goal):
    """Returns the lane-graph distance from an agent to one of its targets [m]."""
    lanes, routes = model.lanes, model.routes
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    map_index = worlds.map[world]
    first_lane = np.int64(lanes.map_lane_first[map_index])
    return route_distance(
        routes,
        np.int64(bodies.goal_lane[world, agent, goal]),
        bodies.goal_s[world, agent, goal],
        np.int64(lanes.segment_lane[agents.segment[world, agent]]),
        agents.s[world, agent],
        bodies.weight[world, agent, WEIGHT.goal_radius],
        first_lane,
        np.int64(lanes.map_lane_first[map_index + 1]) - first_lane,
    )


@njit
def is_lost(model, data, world, agent, distance):
    """Whether no way leads from an agent's lane to its goal, or none that its body can take.

    Who stands where its way ends, be it some short lanes ahead, can neither go on nor turn out.
    """
    lanes, routes = model.lanes, model.routes
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    if distance >= LOST:
        return True
    map_index = worlds.map[world]
    first_lane, last_lane = lanes_of_map(lanes, map_index)
    num_lanes = last_lane - first_lane
    lane = np.int64(lanes.segment_lane[agents.segment[world, agent]])
    goal_lane = np.int64(bodies.goal_lane[world, agent, agents.goal[world, agent]])
    bend = bodies.max_curvature[world, agent]
    following = next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes)
    stands = abs(agents.speed[world, agent]) < STANDING
    if following >= 0:
        sight = HALF * bodies.length[world, agent] + END_ROOM
        narrow = bodies.width[world, agent] + NARROW_MARGIN
        s = agents.s[world, agent]
        return stands and way_to_dead_end(lanes, lane, s, sight, bend, narrow) < sight
    left_over = lanes.length[lane] - agents.s[world, agent]
    if lane == goal_lane and distance <= left_over:
        return left_over < DEAD_END and stands
    if left_over < DEAD_END:
        return True
    beside = lane_change_target(lanes, routes, lane, goal_lane, first_lane, num_lanes)
    return beside == lane


@njit
def has_missed_way(model, data, world, agent):
    """Whether an agent has just entered a lane from which its body finds no way to its goal.

    It has missed a change of lanes, say.
    """
    lanes, routes = model.lanes, model.routes
    agents, bodies = data.agents, data.bodies
    if agents.s[world, agent] >= data.motion.travel[world, agent]:
        return False
    first_lane, last_lane = lanes_of_map(lanes, data.worlds.map[world])
    return not way_fits(
        lanes,
        routes,
        np.int64(lanes.segment_lane[agents.segment[world, agent]]),
        np.int64(bodies.goal_lane[world, agent, agents.goal[world, agent]]),
        bodies.max_curvature[world, agent],
        bodies.width[world, agent] + NARROW_MARGIN,
        first_lane,
        last_lane - first_lane,
    )


@njit
def follow_routes(model, data, worker, world):
    """Stage: progress towards the next goal, and whether it was reached.

    An intermediate target needs proximity of the box centre anywhere in the step, the last one also
    |v| < 3 m/s at its end. In endless driving an agent that has lost its way (it overshot a goal in
    front of a dead end) gets a new route; where there is none, its episode ends.
    """
    params, lanes = model.params, model.lanes
    agents, bodies, motion, output = data.agents, data.bodies, data.motion, data.output
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        motion.progress[world, agent] = ZERO
        status = agents.status[world, agent]
        if status != PRESENT or bodies.driver[world, agent] == REPLAY:
            continue
        goal = agents.goal[world, agent]
        distance = goal_distance(model, data, world, agent, goal)
        progress = agents.goal_distance[world, agent] - distance
        motion.progress[world, agent] = clamp(progress, -MAX_PROGRESS, MAX_PROGRESS)
        agents.goal_distance[world, agent] = distance
        if params.on_goal == NEW_ROUTE and is_lost(model, data, world, agent, distance):
            lane = lanes.segment_lane[agents.segment[world, agent]]
            if not draw_route_onwards(model, data, world, agent, lane):
                output.event[world, agent] |= EVENT_LOST
            continue
        if params.on_goal == NEW_ROUTE and has_missed_way(model, data, world, agent):
            lane = lanes.segment_lane[agents.segment[world, agent]]
            draw_route_onwards(model, data, world, agent, lane)
            goal = agents.goal[world, agent]
            distance = goal_distance(model, data, world, agent, goal)
            agents.goal_distance[world, agent] = distance

        ahead = HALF * bodies.wheelbase[world, agent]
        x1 = agents.x[world, agent] + ahead * agents.cos[world, agent]
        y1 = agents.y[world, agent] + ahead * agents.sin[world, agent]
        last = goal == bodies.num_goals[world, agent] - 1
        x0 = x1
        y0 = y1
        if not last:
            x0 = motion.x[world, agent] + ahead * motion.cos[world, agent]
            y0 = motion.y[world, agent] + ahead * motion.sin[world, agent]
        radius = bodies.weight[world, agent, WEIGHT.goal_radius]
        goal_x = bodies.goal_x[world, agent, goal]
        goal_y = bodies.goal_y[world, agent, goal]
        if closest_approach(x0, y0, x1, y1, goal_x, goal_y) > radius * radius:
            continue
        index = segment_at(
            lanes, bodies.goal_lane[world, agent, goal], bodies.goal_s[world, agent, goal]
        )
        if abs(lanes.segment[index, SEG_Z] - agents.z[world, agent]) >= LEVEL_HEIGHT:
            continue
        if last and abs(agents.speed[world, agent]) >= np.float32(params.goal_speed):
            continue

        output.event[world, agent] |= EVENT_GOAL
        if not last:
            agents.goal[world, agent] = goal + 1
        elif params.on_goal != NEW_ROUTE:
            output.event[world, agent] |= EVENT_LAST_GOAL
            continue
        else:
            lane = lanes.segment_lane[agents.segment[world, agent]]
            if not draw_route_onwards(model, data, world, agent, lane):
                output.event[world, agent] |= EVENT_LAST_GOAL
                continue
        agents.goal_distance[world, agent] = goal_distance(
            model, data, world, agent, agents.goal[world, agent]
        )


@njit
def draw_route_onwards(model, data, world, agent, lane):
    """Draws the next route of an agent that keeps driving; returns whether there is one."""
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    old = bodies.num_goals[world, agent] - 1
    old_lane = bodies.goal_lane[world, agent, old]
    old_s = bodies.goal_s[world, agent, old]
    old_x = bodies.goal_x[world, agent, old]
    old_y = bodies.goal_y[world, agent, old]
    s = agents.s[world, agent]
    tick = worlds.tick[world]
    agents.goal[world, agent] = 0
    limit = bodies.max_curvature[world, agent]
    for attempt in range(ROUTE_TRIES):
        draw = tick + attempt * 7919
        if draw_route(model, data, world, agent, lane, s, draw, limit):
            return True
    bodies.num_goals[world, agent] = 1
    bodies.goal_lane[world, agent, 0] = old_lane
    bodies.goal_s[world, agent, 0] = old_s
    bodies.goal_x[world, agent, 0] = old_x
    bodies.goal_y[world, agent, 0] = old_y
    return False
