"""Who takes the right of way of another: enters a junction so that the other has to brake.

Looked at once, when the front of a body comes into a junction, against each body that has the right
of way over it there (`Signs.foe`) and drives towards the place where their ways meet. It is a
violation if the other one is there before the first has cleared the place, unless it is through
before the first arrives. Where both lead into one lane, one may go in behind the other, or ahead of
it with a gap. At an all-way stop who stood first goes first. Scripted drivers ask the same, with a
margin, before they enter (`takes_way_of`).
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import next_lane
from selfdrive_env.kernels.rules.gaps import goes_in_ahead, time_over, turning_speed
from selfdrive_env.state.road import (
    FOE_BEGIN,
    FOE_END,
    FOE_FIRST_COME,
    FOE_OTHER_BEGIN,
    FOE_OTHER_END,
)
from selfdrive_env.state.world import (
    EVENT_YIELD,
    PRESENT,
    RED,
    STOP_SIGN,
    YELLOW,
)

__all__ = ["check_right_of_way", "junction_at_front", "takes_way_of"]

MOVING = np.float32(1.0)  # [m/s]
STANDING = np.float32(0.3)  # [m/s]
LOOK_AHEAD = np.float32(6.0)  # [s]
FURTHER = np.float32(4.0)  # that is looked for each second of care [s/s]
COURTESY = np.float32(10.0)  # [s]
SHORT = np.float32(0.5)  # [m]
EDGE = np.float32(2.0)  # [m]
MAX_LANES = 8
RULE = (ZERO, np.float32(0.5))  # `care` of one who makes nobody brake hard


@njit
def following(model, data, world, agent, lane):
    """Returns the lane that an agent takes after another one, -1 for none."""
    lanes, bodies = model.lanes, data.bodies
    map_index = data.worlds.map[world]
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    goal_lane = np.int64(bodies.goal_lane[world, agent, data.agents.goal[world, agent]])
    bend = bodies.max_curvature[world, agent]
    return next_lane(lanes, model.routes, lane, goal_lane, bend, first_lane, num_lanes)


@njit
def lane_at_front(model, data, world, agent):
    """Returns the lane that the front of an agent is on, -1 for none, and where its start lies.

    Returns:
        The lane, and the way from the front to its start, 0 or less [m].
    """
    lanes, agents = model.lanes, data.agents
    lane = np.int64(lanes.segment_lane[agents.segment[world, agent]])
    start = -agents.s[world, agent] - HALF * data.bodies.length[world, agent]
    for _ in range(MAX_LANES):
        if start + lanes.length[lane] >= ZERO:
            break
        ahead = following(model, data, world, agent, lane)
        if ahead < 0:
            break
        start += lanes.length[lane]
        lane = ahead
    return lane, start


@njit
def junction_at_front(model, data, world, agent):
    """Returns the junction that the front of an agent is in, -1 for none."""
    lane, _ = lane_at_front(model, data, world, agent)
    return np.int64(model.lanes.junction[lane])


@njit
def has_not_left(model, data, world, agent, lane, start, junction):
    """Whether an agent whose front is outside a junction is still in it or at its edge.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        agent: Who was in the junction.
        lane: That its front is on.
        start: Way from its front to the start of that lane [m].
        junction: Which, -1 for none.
    """
    lanes = model.lanes
    own = np.int64(lanes.segment_lane[data.agents.segment[world, agent]])
    if junction < 0 or lanes.junction[own] == junction:
        return junction >= 0
    for _ in range(MAX_LANES):
        start += lanes.length[lane]
        if start > EDGE:
            break
        lane = following(model, data, world, agent, lane)
        if lane < 0:
            break
        if lanes.junction[lane] == junction:
            return True
    return False


@njit
def is_stopped_by(model, data, world, agent, lane, start):
    """Whether a light or a stop sign along a lane holds an agent, whose front is `-start` along."""
    signs = model.signs
    first_line = signs.map_line_first[data.worlds.map[world]]
    for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
        if start + signs.lane_line_s[link] <= ZERO:
            continue
        line = np.int64(signs.lane_line[link])
        colour = data.lights.line_colour[world, line - first_line]
        if colour in (RED, YELLOW):
            return True
        if colour == STOP_SIGN and data.agents.stopped_at[world, agent] != line:
            return True
    return False


@njit
def meets(model, data, world, agent, lane, start, other, other_lane, other_start, care):
    """Whether an agent that comes along one lane takes the way of another along its lane.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        agent: Who enters.
        lane: Of its way through the junction.
        start: Way from its front to the start of the lane, below 0 where it is on it [m].
        other: Who may have the right of way.
        other_lane: Of its way through the junction.
        other_start: Likewise for its front [m].
        care: Time to keep between the two [s]; share of the gap that the other wants if it follows.
    """
    lanes, signs, agents, bodies = model.lanes, model.signs, data.agents, data.bodies
    pace = agents.speed[world, other]
    for entry in range(signs.foe_first[lane], signs.foe_first[lane + 1]):
        if signs.foe[entry] != other_lane:
            continue
        place = signs.foe_place[entry]
        if signs.foe_rule[entry] == FOE_FIRST_COME:
            return stood_first(data, data.worlds.dt[world], world, agent, other)
        if pace <= MOVING:
            return False
        margin, share = care
        speed = agents.speed[world, agent]
        top = turning_speed(lanes.max_curvature[lane], lanes.speed_limit[lane])
        top = top if margin > ZERO else max(top, speed)
        limit = turning_speed(lanes.max_curvature[other_lane], lanes.speed_limit[other_lane])
        limit = max(limit, pace) if margin > ZERO else pace
        length, other_length = bodies.length[world, agent], bodies.length[world, other]
        begin, other_begin = start + place[FOE_BEGIN], other_start + place[FOE_OTHER_BEGIN]
        end, other_end = start + place[FOE_END], other_start + place[FOE_OTHER_END]
        if joins(lanes, lane, other_lane):
            if other_begin + other_length < begin:
                return False
            if goes_in_ahead(begin + length, speed, top, other_begin, pace, share):
                return False
            return other_begin + other_length > pace * time_over(begin, speed, top)
        clear = time_over(end + length, speed, top) + margin
        arrive = time_over(begin, speed, top)
        gone = time_over(other_end + other_length, pace, pace) + margin
        return time_over(other_begin, pace, limit) < clear and gone > arrive
    return False


@njit
def joins(lanes, lane, other_lane):
    """Whether two lanes lead into the same one."""
    ahead, other_ahead = lanes.successor_first[lane], lanes.successor_first[other_lane]
    if ahead == lanes.successor_first[lane + 1]:
        return False
    if other_ahead == lanes.successor_first[other_lane + 1]:
        return False
    return lanes.successor[ahead] == lanes.successor[other_ahead]


@njit
def stood_first(data, dt, world, agent, other):
    """Whether another agent stands at its stop sign since before an agent came to stand."""
    agents = data.agents
    if agents.stopped_at[world, agent] < 0 or agents.stopped_at[world, other] < 0:
        return False
    waits = np.float32(data.worlds.tick[world] - agents.stop_tick[world, other]) * np.float32(dt)
    return (
        abs(agents.speed[world, other]) < STANDING
        and agents.stop_tick[world, other] < agents.stop_tick[world, agent]
        and waits < COURTESY
    )


@njit
def takes_way_of(model, data, world, agent, lane, start, other, care):
    """Whether an agent whose front comes into a junction takes the right of way of another.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        agent: Who enters.
        lane: That its front is on.
        start: Way from its front to the start of that lane [m].
        other: Who may have the right of way.
        care: As in `meets`.
    """
    lanes, agents = model.lanes, data.agents
    junction = lanes.junction[lane]
    reach = max(agents.speed[world, other], ONE) * (LOOK_AHEAD + FURTHER * care[0])
    other_lane = np.int64(lanes.segment_lane[agents.segment[world, other]])
    other_start = -agents.s[world, other] - HALF * data.bodies.length[world, other]
    for _ in range(MAX_LANES):
        if lanes.junction[other_lane] == junction:
            mine, mine_start = lane, start
            for _ in range(MAX_LANES):
                if mine < 0 or lanes.junction[mine] != junction:
                    break
                if meets(model, data, world, agent, mine, mine_start, other, other_lane,
                        other_start, care):  # fmt: skip
                    return True
                mine_start += lanes.length[mine]
                mine = following(model, data, world, agent, mine)
        elif is_stopped_by(model, data, world, other, other_lane, other_start):
            return False
        other_start += max(lanes.length[other_lane], SHORT)
        other_lane = following(model, data, world, other, other_lane)
        if other_lane < 0 or other_start > reach:
            return False
    return False


@njit
def check_right_of_way(model, data, worker, world):
    """Stage: tells whose front came into a junction in the way of one with the right of way.

    It comes in once, though it may go back and forth over the edge.
    """
    lanes, signs, agents = model.lanes, model.signs, data.agents
    map_index = data.worlds.map[world]
    first = lanes.map_lane_first[map_index]
    last = lanes.map_lane_first[map_index + 1]
    if signs.foe_first[first] == signs.foe_first[last]:
        return
    num_agents = agents.x.shape[1]
    for agent in range(thread_index(), num_agents, block_size()):
        if agents.status[world, agent] != PRESENT:
            continue
        lane, start = lane_at_front(model, data, world, agent)
        junction = np.int64(lanes.junction[lane])
        before = np.int64(agents.front_junction[world, agent])
        if junction < 0 and has_not_left(model, data, world, agent, lane, start, before):
            continue
        agents.front_junction[world, agent] = junction
        moving = agents.speed[world, agent] > STANDING
        if junction < 0 or junction == before or not moving:
            continue
        for other in range(num_agents):
            if other == agent or agents.status[world, other] != PRESENT:
                continue
            if takes_way_of(model, data, world, agent, lane, start, other, RULE):
                data.output.event[world, agent] |= EVENT_YIELD
                break
