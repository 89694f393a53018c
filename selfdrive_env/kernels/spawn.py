"""Drawing worlds and placing agents: bodies, coefficients, weights, routes.

Placing runs serially by slot with a bounded number of tries, so that no start is in collision or
off the road; an agent that finds no place stays absent and is tried again at the next step.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.dynamics.jerk_bicycle import TOP_SPEED, standing_sweep
from selfdrive_env.kernels.math.geometry import HALF, ZERO
from selfdrive_env.kernels.math.random import (
    DRAW_PLACE,
    DRAW_WORLD,
    radical_inverse,
    uniforms,
)
from selfdrive_env.kernels.road import max_lane_curvature, next_lane, place_on_segment
from selfdrive_env.kernels.route import (
    NARROW_MARGIN,
    draw_route,
    goal_distance,
    is_of_junction,
    is_wide,
    lanes_of_map,
    way_to_dead_end,
)
from selfdrive_env.kernels.rules.lights import draw_lights
from selfdrive_env.kernels.rules.right_of_way import junction_at_front
from selfdrive_env.kernels.rules.stop_lines import stands_on_line
from selfdrive_env.kernels.starts.bodies import WHEELBASE_SHARE, begin_episode
from selfdrive_env.kernels.starts.recorded import draw_scene, place_recorded, scene_of
from selfdrive_env.kernels.starts.room import is_free
from selfdrive_env.kernels.starts.standing import place_standing
from selfdrive_env.kernels.surface import box_offroad
from selfdrive_env.kernels.walks import tail_room, turn_out_room
from selfdrive_env.state.params import NEXT_STEP, NO_SCENES, SAME_STEP
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LENGTH,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
)
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_LAST_GOAL,
    EVENT_LOST,
    EVENT_TOW,
    IDM,
    IDM_LOG,
    PRESENT,
    REPLAY,
    STANDING,
    STILL,
    WAYPOINT,
)

__all__ = ["draw_world", "place_agents", "reset_slots"]


PLACE_TRIES = 256
ROOMY_TRIES, FITTING_TRIES, JUNCTION_TRIES = 24, 48, 192
FITTING_LENGTH = np.float32(4.5)  # [m]
FITTING_WIDTH = np.float32(1.9)  # [m]
START_LATERAL = np.float32(2.5)  # [m/s^2]
START_BRAKING = np.float32(3.0)  # [m/s^2]
START_ROOM = np.float32(25.0)  # [m]
START_SIGHT = np.float32(90.0)  # [m]
ROUTE_BRAKING = np.float32(2.0)  # [m/s^2]
MIN_CURVATURE = np.float32(1.0e-4)  # [1/m]
TWO = np.float32(2.0)
LEAVING = EVENT_LAST_GOAL | EVENT_LOST | EVENT_TOW  # of a scene
BILLION = np.float32(1.0e9)  # [ns/s]


@njit
def lane_speed(lanes, signs, lane, s, half_length):
    """Returns the speed from which a driver can take the bends of a lane and stop at its lines."""
    square = START_LATERAL / max(lanes.max_curvature[lane], MIN_CURVATURE)
    for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
        gap = signs.lane_line_s[link] - s - half_length
        if gap > ZERO:
            square = min(square, TWO * START_BRAKING * max(gap - TWO, ZERO))
    return math.sqrt(square)


@njit
def scripted_tail(lanes, bodies, world, agent, lane, narrow):
    """Returns how much sooner a scripted driver turns out of a lane that ends, for its tail [m]."""
    if bodies.driver[world, agent] != IDM:
        return ZERO
    return tail_room(lanes, lane, bodies.length[world, agent], narrow)


@njit
def start_speed(model, data, world, agent, lane, s):
    """Returns the speed for the bends and lines of an agent's route, and for where it narrows."""
    lanes, routes, signs, bodies = model.lanes, model.routes, model.signs, data.bodies
    first_lane, last_lane = lanes_of_map(lanes, data.worlds.map[world])
    goal = np.int64(0)
    limit = bodies.max_curvature[world, agent]
    half_length = HALF * bodies.length[world, agent]
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    room = way_to_dead_end(lanes, lane, s, START_SIGHT, limit, narrow) - half_length
    tail = scripted_tail(lanes, bodies, world, agent, lane, narrow)
    if tail > ZERO:
        room -= turn_out_room(bodies.length[world, agent]) + tail
    square = min(START_LATERAL / MIN_CURVATURE, TWO * ROUTE_BRAKING * max(room, ZERO))
    room = lanes.length[lane] - s - half_length
    while room < START_SIGHT:
        goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
        passes = bodies.goal_s[world, agent, goal] >= s
        if lane == goal_lane and passes and goal + 1 < bodies.num_goals[world, agent]:
            goal += 1
            goal_lane = np.int64(bodies.goal_lane[world, agent, goal])
        s = ZERO
        lane = next_lane(lanes, routes, lane, goal_lane, limit, first_lane, last_lane - first_lane)
        if lane < 0:
            return math.sqrt(min(square, TWO * ROUTE_BRAKING * max(room, ZERO)))
        bend = START_LATERAL / max(lanes.max_curvature[lane], MIN_CURVATURE)
        square = min(square, bend + TWO * ROUTE_BRAKING * max(room, ZERO))
        for entry in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
            gap = max(room + signs.lane_line_s[entry] - TWO, ZERO)
            square = min(square, TWO * ROUTE_BRAKING * gap)
        room += lanes.length[lane]
    return math.sqrt(square)


@njit
def try_place(model, data, world, agent, attempt, speed_unit):
    """Tries one random lane position; returns whether the agent could be placed there."""
    params, lanes, grid, signs = model.params, model.lanes, model.grid, model.signs
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    map_index, tick = np.int64(worlds.map[world]), worlds.tick[world]
    first = np.int64(lanes.map_spawn_first[map_index])
    count = np.int64(lanes.map_spawn_first[map_index + 1]) - first
    where, along, _, _ = uniforms(
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        agent,
        tick,
        DRAW_PLACE,
        attempt,
    )
    index = np.int64(
        lanes.spawn_segment[first + min(np.int64(where * np.float32(count)), count - 1)]
    )
    lane = np.int64(lanes.segment_lane[index])
    segment = lanes.segment
    wheelbase = bodies.wheelbase[world, agent]
    length = bodies.length[world, agent]
    limit = max_lane_curvature(length, bodies.width[world, agent], wheelbase)
    bodies.max_curvature[world, agent] = limit
    if lanes.max_curvature[lane] > limit:
        return False
    if attempt < JUNCTION_TRIES and is_of_junction(lanes, lane, length):  # in the way of others
        return False
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    t = along * lanes.segment[index, SEG_LENGTH]
    s = lanes.segment[index, SEG_S] + t
    room = START_ROOM + scripted_tail(lanes, bodies, world, agent, lane, narrow)
    ends = way_to_dead_end(lanes, lane, s, room, limit, narrow)
    if ends < room or not is_wide(lanes, lane, s, narrow, START_ROOM):
        return False

    cos = segment[index, SEG_COS]
    sin = segment[index, SEG_SIN]
    x = segment[index, SEG_X] + t * cos
    y = segment[index, SEG_Y] + t * sin
    ahead = HALF * wheelbase
    top = min(lanes.speed_limit[lane], TOP_SPEED * bodies.speed_scale[world, agent])
    top = min(top, lane_speed(lanes, signs, lane, s, HALF * length))
    speed = speed_unit * np.float32(params.initial_speed) * top
    relaxed = attempt >= ROOMY_TRIES and attempt & 1 == 0
    if relaxed:
        speed = ZERO

    agents.x[world, agent] = x - ahead * cos
    agents.y[world, agent] = y - ahead * sin
    agents.cos[world, agent] = cos
    agents.sin[world, agent] = sin
    place_on_segment(lanes, agents, world, agent, index, x, y)
    if not is_free(
        agents, bodies, world, agent, x, y, agents.z[world, agent], cos, sin, speed, relaxed
    ):
        return False
    rear_x = agents.x[world, agent]
    rear_y = agents.y[world, agent]
    half_length, half_width = HALF * length, HALF * bodies.width[world, agent]
    standing = standing_sweep(rear_x, rear_y, cos, sin, ahead, half_length, half_width)
    layer = np.int64(lanes.segment_layer[index])
    if box_offroad(grid, standing, rear_x, rear_y, cos, sin, layer, map_index):
        return False
    front_x, front_y = x + half_length * cos, y + half_length * sin
    back_x, back_y = x - half_length * cos, y - half_length * sin
    z = agents.z[world, agent]
    if stands_on_line(grid, signs, map_index, layer, back_x, back_y, front_x, front_y, z):
        return False
    s = agents.s[world, agent]
    if not draw_route(model, data, world, agent, lane, s, tick + attempt * 7919, limit):
        return False
    top = start_speed(model, data, world, agent, lane, s)
    agents.speed[world, agent] = min(speed, speed_unit * np.float32(params.initial_speed) * top)
    return True


@njit
def place_agent(model, data, world, agent):
    """Starts a new episode of an agent; returns whether a place was found."""
    agents, bodies = data.agents, data.bodies
    speed_unit = begin_episode(model, data, world, agent)
    for attempt in range(PLACE_TRIES):
        if attempt == FITTING_TRIES:  # a body too large for the bends of this map
            length = min(bodies.length[world, agent], FITTING_LENGTH)
            bodies.length[world, agent] = length
            bodies.width[world, agent] = min(bodies.width[world, agent], FITTING_WIDTH)
            bodies.wheelbase[world, agent] = WHEELBASE_SHARE * length
        if try_place(model, data, world, agent, attempt, speed_unit):
            agents.status[world, agent] = PRESENT
            agents.goal_distance[world, agent] = goal_distance(model, data, world, agent, 0)
            agents.front_junction[world, agent] = junction_at_front(model, data, world, agent)
            return True
    return False


@inline
def draw_step(params, worlds, world, unit):
    """Draws the length of a world's steps, and with it of how many its episode is.

    Args:
        params: With the range, which may be a single number.
        worlds: Of the batch.
        world: Which.
        unit: Uniform in [0, 1).
    """
    low, high = np.float32(params.dt), np.float32(params.dt_high)
    worlds.dt[world] = low
    worlds.dt_ns[world] = params.dt_ns
    worlds.horizon[world] = params.horizon
    if low < high:
        dt = min(low + unit * (high - low), high)
        worlds.dt[world] = dt
        worlds.dt_ns[world] = np.int64(dt * BILLION)
        steps = np.int64(np.float32(params.horizon_time) / dt + HALF)
        worlds.horizon[world] = min(max(steps, np.int64(1)), np.int64(params.horizon))


@njit
def draw_world(model, data, world, first_time):
    """Draws a world anew: map, number of agents, lights, and every agent."""
    params, draws, lanes = model.params, model.draws, model.lanes
    worlds, agents, bodies, output = data.worlds, data.agents, data.bodies, data.output
    pick, amount, length, _ = uniforms(
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        -1,
        worlds.tick[world],
        DRAW_WORLD,
        0,
    )
    scene = np.int64(-1)
    num_maps = lanes.map_lane_first.shape[0] - 1
    worlds.map[world] = min(np.int64(pick * np.float32(num_maps)), num_maps - 1)
    low = np.int64(draws.agents[0])
    high = np.int64(draws.agents[1])
    worlds.num_agents[world] = min(low + np.int64(amount * np.float32(high - low + 1)), high)
    worlds.clock[world] = 0
    worlds.ended[world] = 0
    draw_step(params, worlds, world, length)
    if params.scene_order != NO_SCENES:
        scene = scene_of(model, data, world, pick)
        draw_scene(model, data, world, scene)
    if first_time and params.stagger != 0:
        horizon = np.int64(worlds.horizon[world])
        start = radical_inverse(worlds.number[world]) * np.float32(horizon)
        worlds.clock[world] = min(np.int64(start), horizon - 1)
    draw_lights(model, data, world)

    num_agents = worlds.num_agents[world]
    for agent in range(agents.x.shape[1]):
        agents.status[world, agent] = ABSENT
        output.awaiting_reset[world, agent] = 0
    if scene >= 0:
        for agent in range(num_agents):
            place_recorded(model, data, world, agent, scene)
            agents.goal_distance[world, agent] = goal_distance(model, data, world, agent, 0)
            agents.front_junction[world, agent] = junction_at_front(model, data, world, agent)
        return
    for agent in range(num_agents):
        bodies.driver[world, agent] = draws.driver[agent]
        bodies.learner[world, agent] = draws.learner[agent]
        placed = place_standing(model, data, world, agent)
        placed = placed or place_agent(model, data, world, agent)
        output.awaiting_reset[world, agent] = not placed


@inline
def placed_at_once(params, bodies, world, agent):
    """Whether an agent whose episode ends is placed again in the same step.

    In NextStep who has a row shows its last observation first; in Disabled only learners wait, for
    the caller.
    """
    if params.autoreset == NEXT_STEP:
        return bodies.row[world, agent] < 0
    return params.autoreset == SAME_STEP or bodies.learner[world, agent] == 0


@njit
def leave_scene(model, data, world):
    """Takes out whose episode has ended; the scene ends when nobody is left who learns."""
    params, worlds = model.params, data.worlds
    agents, bodies, output = data.agents, data.bodies, data.output
    left = False
    for agent in range(worlds.num_agents[world]):
        learns = bodies.learner[world, agent] != 0
        replays = bodies.driver[world, agent] == REPLAY
        done = output.terminated[world, agent] or output.truncated[world, agent]
        if not learns:  # incidents end the episodes of learners alone
            goes_on = replays or bodies.driver[world, agent] in (IDM_LOG, WAYPOINT)
            done = not goes_on and (output.event[world, agent] & LEAVING) != 0
        if done:
            agents.status[world, agent] = ABSENT
            bodies.driver[world, agent] = STILL  # its record is over
            replays = False
        left = left or (learns and (replays or agents.status[world, agent] != ABSENT))
    if not left:
        worlds.ended[world] = 1
    if params.autoreset == SAME_STEP or not worlds.ended[world]:
        return
    for agent in range(worlds.num_agents[world]):
        if bodies.learner[world, agent] != 0:
            agents.status[world, agent] = ABSENT
            output.awaiting_reset[world, agent] = 1


@njit
def place_agents(model, data, world):
    """Stage: re-places finished agents, or takes them out until they are due.

    One thread does it, slot by slot: where an agent may start depends on those before it.
    """
    params = model.params
    worlds, agents, bodies, output = data.worlds, data.agents, data.bodies, data.output
    if params.scene_order != NO_SCENES:
        leave_scene(model, data, world)
    if worlds.ended[world] and params.autoreset == SAME_STEP:
        draw_world(model, data, world, False)
        return
    if params.scene_order != NO_SCENES:
        return
    for agent in range(worlds.num_agents[world]):
        done = output.terminated[world, agent] or output.truncated[world, agent]
        waited = output.awaiting_reset[world, agent] != 0
        at_once = placed_at_once(params, bodies, world, agent)
        if done and not at_once:
            agents.status[world, agent] = ABSENT
            output.awaiting_reset[world, agent] = 1
            continue
        due = done or (waited and (at_once or params.autoreset == NEXT_STEP))
        if not due or worlds.ended[world]:
            continue
        output.awaiting_reset[world, agent] = not place_agent(model, data, world, agent)


@njit
def reset_slots(model, data, staggered, world):
    """Starts new episodes of the slots of a world that are chosen in `scratch`, slot by slot."""
    worlds, agents, bodies, output = data.worlds, data.agents, data.bodies, data.output
    scratch = data.scratch
    chosen, whole = scratch.chosen[world], scratch.whole[world] != 0
    worlds.tick[world] += np.uint32(1)
    if whole:
        draw_world(model, data, world, staggered)
    for agent in range(agents.x.shape[1]):
        if not chosen[agent] and not (whole and bodies.learner[world, agent] == 0):
            ended = output.terminated[world, agent] or output.truncated[world, agent]
            if whole and ended:
                agents.status[world, agent] = ABSENT
                output.awaiting_reset[world, agent] = agent < worlds.num_agents[world]
            continue
        output.terminated[world, agent] = 0
        output.truncated[world, agent] = 0
        output.event[world, agent] = 0
        stays = whole or agents.status[world, agent] == STANDING
        if not stays and agent < worlds.num_agents[world]:
            output.awaiting_reset[world, agent] = not place_agent(model, data, world, agent)
