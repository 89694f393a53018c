"""Bodies that stand for good: broken down on a lane, where others can get past them."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.dynamics.jerk_bicycle import standing_sweep
from selfdrive_env.kernels.math.geometry import HALF, ZERO
from selfdrive_env.kernels.math.random import DRAW_STANDING, uniforms
from selfdrive_env.kernels.road import UNREACHABLE, max_lane_curvature, place_on_segment
from selfdrive_env.kernels.route import NARROW_MARGIN, forget_goals, is_wide, way_to_dead_end
from selfdrive_env.kernels.rules.stop_lines import stands_on_line
from selfdrive_env.kernels.starts.bodies import begin_episode
from selfdrive_env.kernels.starts.room import is_free
from selfdrive_env.kernels.surface import box_offroad
from selfdrive_env.state.road import SEG_COS, SEG_LENGTH, SEG_S, SEG_SIN, SEG_X, SEG_Y
from selfdrive_env.state.world import STANDING

__all__ = ["place_standing"]

TRIES = 64
LANES_AHEAD = 4
CLEAR_BEHIND = np.float32(30.0)
"""From the start of the lane, behind a junction, to the body: room for who comes out of it [m]."""

CLEAR_AHEAD = np.float32(30.0)
"""From the body to the next junction, stop line or end of the lane [m]."""

APART = np.float32(60.0)
"""Between two of them, so that they never close a road together [m]."""

PASSAGE_WIDTH = np.float32(3.0)
"""Of the road beside it that is left to pass [m]."""

PASSAGE_LENGTH = np.float32(10.0)
"""By which the passage begins before the body and ends after it [m]."""

PASSAGE_GAP = np.float32(0.3)
"""Between the body and the passage [m]."""


@njit
def clear_ahead(lanes, signs, lane, s):
    """Whether neither a junction nor a stop line nor the end of the lane lies close ahead.

    Args:
        lanes: Of the pool.
        signs: Likewise.
        lane: Where the front of a body is.
        s: Likewise [m].
    """
    way = -s
    for _ in range(LANES_AHEAD):
        for entry in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
            gap = way + signs.lane_line_s[entry]
            if gap > ZERO and gap < CLEAR_AHEAD:
                return False
        way += lanes.length[lane]
        if way >= CLEAR_AHEAD:
            return True
        begin, end = lanes.successor_first[lane], lanes.successor_first[lane + 1]
        if begin == end:
            return False
        for link in range(begin, end):
            if lanes.junction[lanes.successor[link]] >= 0:
                return False
        lane = np.int64(lanes.successor[begin])
    return False


@njit
def is_passable(grid, bodies, world, agent, pose, layer, map_index):
    """Whether the road is wide enough beside a body to get past it, on one side or the other.

    Args:
        grid: Cells and edges.
        bodies: Of the worlds.
        world: Where.
        agent: Whose body.
        pose: x, y of its middle [m], cos and sin of its heading.
        layer: Surface that it stands on.
        map_index: Map of the world.
    """
    x, y, cos, sin = pose
    half_width = HALF * PASSAGE_WIDTH
    half_length = HALF * bodies.length[world, agent] + PASSAGE_LENGTH
    aside = HALF * bodies.width[world, agent] + PASSAGE_GAP + half_width
    for _ in range(2):
        there_x, there_y = x - aside * sin, y + aside * cos
        free = standing_sweep(there_x, there_y, cos, sin, ZERO, half_length, half_width)
        if not box_offroad(grid, free, there_x, there_y, cos, sin, layer, map_index):
            return True
        aside = -aside
    return False


@njit
def is_apart(agents, world, agent):
    """Whether no other body that stands for good is near an agent."""
    for other in range(agents.x.shape[1]):
        if agents.status[world, other] != STANDING:
            continue
        dx = agents.x[world, other] - agents.x[world, agent]
        dy = agents.y[world, other] - agents.y[world, agent]
        level = abs(agents.z[world, other] - agents.z[world, agent]) < LEVEL_HEIGHT
        if level and dx * dx + dy * dy < APART * APART:
            return False
    return True


@njit
def try_standing(model, data, world, agent, attempt):
    """Tries one random lane position; returns whether the body can stand there."""
    lanes, grid, signs = model.lanes, model.grid, model.signs
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    map_index = np.int64(worlds.map[world])
    first = np.int64(lanes.map_spawn_first[map_index])
    count = np.int64(lanes.map_spawn_first[map_index + 1]) - first
    where, along, _, _ = uniforms(
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        agent,
        worlds.tick[world],
        DRAW_STANDING,
        attempt,
    )
    place = min(np.int64(where * np.float32(count)), count - 1)
    index = np.int64(lanes.spawn_segment[first + place])
    lane = np.int64(lanes.segment_lane[index])
    length, wheelbase = bodies.length[world, agent], bodies.wheelbase[world, agent]
    half_length, half_width = HALF * length, HALF * bodies.width[world, agent]
    t = along * lanes.segment[index, SEG_LENGTH]
    s = lanes.segment[index, SEG_S] + t
    if lanes.junction[lane] >= 0 or s - half_length < CLEAR_BEHIND:
        return False
    if not clear_ahead(lanes, signs, lane, s + half_length):
        return False
    limit = max_lane_curvature(length, bodies.width[world, agent], wheelbase)
    narrow = bodies.width[world, agent] + NARROW_MARGIN
    if not is_wide(lanes, lane, s, narrow, length):
        return False
    if way_to_dead_end(lanes, lane, s, APART, limit, narrow) < UNREACHABLE:
        return False

    cos, sin = lanes.segment[index, SEG_COS], lanes.segment[index, SEG_SIN]
    x = lanes.segment[index, SEG_X] + t * cos
    y = lanes.segment[index, SEG_Y] + t * sin
    ahead = HALF * wheelbase
    rear_x, rear_y = x - ahead * cos, y - ahead * sin
    agents.x[world, agent], agents.y[world, agent] = rear_x, rear_y
    agents.cos[world, agent], agents.sin[world, agent] = cos, sin
    place_on_segment(lanes, agents, world, agent, index, x, y)
    z = agents.z[world, agent]
    layer = np.int64(lanes.segment_layer[index])
    body = standing_sweep(rear_x, rear_y, cos, sin, ahead, half_length, half_width)
    front_x, front_y = x + half_length * cos, y + half_length * sin
    back_x, back_y = x - half_length * cos, y - half_length * sin
    if not is_apart(agents, world, agent):
        return False
    if not is_free(agents, bodies, world, agent, x, y, z, cos, sin, ZERO, False):
        return False
    if box_offroad(grid, body, rear_x, rear_y, cos, sin, layer, map_index):
        return False
    if stands_on_line(grid, signs, map_index, layer, back_x, back_y, front_x, front_y, z):
        return False
    if not is_passable(grid, bodies, world, agent, (x, y, cos, sin), layer, map_index):
        return False
    bodies.max_curvature[world, agent] = limit
    bodies.num_goals[world, agent] = 1
    bodies.goal_lane[world, agent, 0] = lane
    bodies.goal_s[world, agent, 0] = agents.s[world, agent]
    bodies.goal_x[world, agent, 0], bodies.goal_y[world, agent, 0] = x, y
    forget_goals(bodies, world, agent, 1)
    agents.goal_distance[world, agent] = ZERO
    return True


@njit
def place_standing(model, data, world, agent):
    """Places a body that stands until its world is drawn anew, if chance wants it and finds a spot.

    The first agent of a world, which is the ego where there is one, always drives.
    """
    worlds, share = data.worlds, np.float32(model.params.standing_share)
    if share <= ZERO or agent == 0:
        return False
    unit, _, _, _ = uniforms(
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        agent,
        worlds.tick[world],
        DRAW_STANDING,
        0,
    )
    if unit >= share:
        return False
    begin_episode(model, data, world, agent)
    for attempt in range(1, TRIES + 1):
        if try_standing(model, data, world, agent, attempt):
            data.agents.status[world, agent] = STANDING
            return True
    return False
