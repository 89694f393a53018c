"""The IDM driver: how it speeds up and brakes.

It follows its route with the Intelligent Driver Model (Treiber, Hennecke, Helbing,
"Congested traffic states in empirical observations and microscopic simulations", PRE 62, 2000):
a = a_max (1 - (v / v0)^4 - (s* / s)^2), s* = s0 + v T + v dv / (2 sqrt(a_max b)). It brakes for
bodies on its way, bends, stop lines, the end of its lane, and for others whose way crosses its own
and who go first. Who goes first in junctions is one order over all agents (inside or unable to stop
before it, then by time of arrival, stop signs last), so that no ring of drivers waits for one
another; kernels/drivers/conflicts.py has it. A queue lets in who waits beside it at the end of its
lane.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.drivers.conflicts import (
    LEAVING_SPEED,
    PATIENCE,
    SIDE_MARGIN,
    Box,
    conflict_gap,
    first_contact,
    may_meet,
    nose_touches,
    seen_on_way,
)
from selfdrive_env.kernels.drivers.erratic import is_blind
from selfdrive_env.kernels.drivers.path_info import (
    ASIDE,
    CHANGES,
    ENTRY,
    EXIT,
    HIGH_X,
    HIGH_Y,
    HIGH_Z,
    LEAVE_END,
    LINE_COLOUR,
    LINE_GAP,
    LOW_X,
    LOW_Y,
    LOW_Z,
    PATH_END,
    PATH_STEP,
    POINTS,
    RANK,
    TWO,
    WAITED,
    WAITS_FOR,
)
from selfdrive_env.kernels.drivers.precedence import (
    LET_IN_WAY,
    ask,
    asking_way,
    clears,
    gap_to_entry,
    is_held,
    note_hold,
    room_behind,
    waits_behind,
)
from selfdrive_env.kernels.drivers.steering import approach_ratio
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import UNREACHABLE, segment_at
from selfdrive_env.kernels.rules.gaps import LATERAL_COMFORT, SLOW_TURN
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.road import SEG_COS, SEG_S, SEG_SIN, SEG_X, SEG_Y, SEG_Z
from selfdrive_env.state.world import (
    GREEN,
    HOLD_BODY,
    HOLD_LANE_END,
    HOLD_LINE,
    HOLD_NOTHING,
    HOLD_RIGHT_OF_WAY,
    HOLD_ROOM,
)

__all__ = ["HARD_BRAKING", "MAX_ACCELERATION", "idm_acceleration", "idm_wish"]

THREE = np.float32(3.0)
MAX_ACCELERATION = np.float32(1.8)  # [m/s^2]
COMFORTABLE_BRAKING = np.float32(2.0)  # [m/s^2]
IDM_ROOT = np.float32(2.0 * math.sqrt(1.8 * 2.0))  # 2 sqrt(a b) [m/s^2]
HEADWAY = np.float32(1.2)  # [s]
STANDSTILL_GAP = np.float32(2.0)  # [m]
QUEUE_SPEED = np.float32(7.0)  # below which one drives in a queue, or its leader does [m/s]
LETTING_TIME = np.float32(12.0)  # that one stands at most to let others in [s]
LETTING_ROOM, LETTING_SLACK = np.float32(2.1), np.float32(0.2)  # behind one to let in [m]
SLOWING = np.float32(3.0)  # [m/s^2]
SLOWING_TIME = np.float32(0.8)  # [s]
SEEN_SPEED = np.float32(18.5)  # from which a driver stops within the way it looks ahead
SIGNAL_SPEED = np.float32(6.5)  # [m/s]
SIGNAL_ZONE = np.float32(10.0)  # [m]
TINY_SPEED = np.float32(0.1)  # [m/s]
TINY_GAP = np.float32(0.05)  # [m]
STRAIGHT = np.float32(0.004)  # [1/m]
BEND_MARGIN = np.float32(3.0)  # [m]
BEND_BRAKING = np.float32(1.5)  # [m/s^2]
GOAL_ZONE = np.float32(60.0)  # [m]
GOAL_BRAKING = np.float32(1.2)  # [m/s^2]
FIRMER = np.float32(1.15)  # factor on the braking that is just enough
HARD_BRAKING = np.float32(5.0)  # [m/s^2]
MERGING_BRAKING = np.float32(1.0)  # [m/s^2]
LEAST_MARGIN = np.float32(0.1)  # [m]
ASKEW = np.float32(0.25)  # [m]
NOSE_SPEED = np.float32(3.0)  # [m/s]
NOSE_ROOM = np.float32(0.5)  # [m]
NOSE_TIME = np.float32(0.7)  # [s]
LEAVE_PACE = np.float32(0.35)  # [1/s]
LEAVE_SPEED = np.float32(1.5)  # [m/s]
GOAL_SPEED = np.float32(2.0)  # [m/s]


@njit
def idm_acceleration(speed, wanted, gap, closing):
    """Returns the IDM acceleration behind something `gap` ahead [m/s^2]."""
    free = speed / max(wanted, TINY_SPEED)
    free = free * free
    result = MAX_ACCELERATION * (ONE - free * free)
    if speed > wanted + HALF:
        result = max((wanted - speed) / SLOWING_TIME, -SLOWING)
    if gap < UNREACHABLE:
        desired = STANDSTILL_GAP + max(speed * HEADWAY + speed * closing / IDM_ROOT, ZERO)
        ratio = desired / max(gap, TINY_GAP)
        result = min(result, MAX_ACCELERATION * (ONE - free * free - ratio * ratio))
    return result


@njit
def bend_speed(path, count, speed_limit):
    """Returns the speed that allows all bends ahead with comfortable braking [m/s]."""
    square = UNREACHABLE
    enough = speed_limit * speed_limit + ONE
    for point in range(1, count - 2):
        room = max(PATH_STEP * np.float32(point) - BEND_MARGIN, ZERO)
        if TWO * BEND_BRAKING * room > min(square, enough):
            break
        turn = path[point - 1, 2] * path[point + 2, 3] - path[point - 1, 3] * path[point + 2, 2]
        curvature = abs(turn) / (THREE * PATH_STEP)
        if curvature < STRAIGHT:
            continue
        slow = min(LATERAL_COMFORT / curvature, SLOW_TURN * SLOW_TURN / (curvature * curvature))
        square = min(square, slow + TWO * BEND_BRAKING * room)
    return min(speed_limit, math.sqrt(square))


@njit
def idm_wish(model, data, paths, info, worker, world, agent):
    """Returns the acceleration an IDM driver wants [m/s^2]."""
    lanes = model.lanes
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    speed = agents.speed[world, agent]
    path = paths[agent]
    count = np.int64(info[agent, POINTS])
    half_length = HALF * bodies.length[world, agent]
    lane = lanes.segment_lane[agents.segment[world, agent]]
    wanted = SEEN_SPEED * min(bodies.speed_scale[world, agent], ONE)
    wanted = min(lanes.speed_limit[lane], wanted)
    wanted = bend_speed(path, count, wanted)
    wanted = min(wanted, max(LEAVE_PACE * info[agent, LEAVE_END], LEAVE_SPEED))

    gap = info[agent, LINE_GAP]
    colour = np.int64(info[agent, LINE_COLOUR])
    wish = UNREACHABLE
    hold = HOLD_LINE if colour > GREEN else HOLD_NOTHING
    if colour == GREEN:
        room = max(gap - SIGNAL_ZONE, ZERO)
        wanted = min(wanted, math.sqrt(SIGNAL_SPEED * SIGNAL_SPEED + TWO * TWO * room))
    elif colour != 0:
        wish = stop_wish(speed, wanted, gap)
    if info[agent, PATH_END] < UNREACHABLE:
        ending = stop_wish(speed, wanted, info[agent, PATH_END] - half_length)
        if ending < wish:
            wish, hold = ending, HOLD_LANE_END
    last = agents.goal[world, agent] == bodies.num_goals[world, agent] - 1
    if last:
        room = (
            agents.goal_distance[world, agent]
            - HALF * bodies.weight[world, agent, WEIGHT.goal_radius]
        )
        if room < GOAL_ZONE:
            wanted = min(
                wanted, math.sqrt(GOAL_SPEED * GOAL_SPEED + TWO * GOAL_BRAKING * max(room, ZERO))
            )
    wish = min(wish, idm_acceleration(speed, wanted, UNREACHABLE, ZERO))

    blind = is_blind(
        bodies.erratic[world, agent],
        worlds.key[world, 0],
        worlds.key[world, 1],
        worlds.stream[world],
        agent,
        worlds.tick[world],
        worlds.dt_ns[world],
    )
    if blind:
        return wish
    return wish_among_others(model, data, paths, info, worker, world, agent, wish, wanted, hold)


@njit
def way_to_body(agents, bodies, paths, info, world, agent, other, aside, margin):
    """Returns how far along the way of an agent the body of another lies [m], or UNREACHABLE.

    Args:
        agents: Of the worlds.
        bodies: Likewise.
        paths: Ways of all agents.
        info: `Scratch.path_info` of all agents.
        world: Where.
        agent: Whose way.
        other: Whose body.
        aside: How far to the left of its way the agent is [m].
        margin: To keep on both sides [m].
    """
    shift = HALF * bodies.wheelbase[world, other]
    cos = agents.cos[world, other]
    sin = agents.sin[world, other]
    x = agents.x[world, other] + shift * cos
    y = agents.y[world, other] + shift * sin
    half_length = HALF * bodies.length[world, agent]
    half_width = HALF * bodies.width[world, agent]
    other_length = HALF * bodies.length[world, other]
    other_width = HALF * bodies.width[world, other]
    changes = info[other, CHANGES] > ZERO
    around = other_length + other_width + TWO * (half_width + margin) + abs(aside)
    if changes:
        around += abs(info[other, ASIDE])
    if (
        x < info[agent, LOW_X] - around
        or x > info[agent, HIGH_X] + around
        or y < info[agent, LOW_Y] - around
        or y > info[agent, HIGH_Y] + around
        or agents.z[world, other] < info[agent, LOW_Z] - LEVEL_HEIGHT
        or agents.z[world, other] > info[agent, HIGH_Z] + LEVEL_HEIGHT
    ):
        return UNREACHABLE
    path = paths[agent]
    count = np.int64(info[agent, POINTS])
    approach = approach_ratio(bodies.length[world, agent]) * abs(aside) + PATH_STEP
    box = Box(x, y, agents.z[world, other], cos, sin, other_length, other_width)
    place = first_contact(path, count, 1, half_width, margin, box, aside, half_length, approach)
    if place < UNREACHABLE or not changes:
        return place
    box = Box(
        paths[other, 0, 0],
        paths[other, 0, 1],
        paths[other, 0, 4],
        paths[other, 0, 2],
        paths[other, 0, 3],
        other_length,
        other_width,
    )
    skip = min(np.int64(half_length / PATH_STEP) + 2, count - 1)
    return first_contact(path, count, skip, half_width, ZERO, box, aside, half_length, approach)


@njit
def gap_to_let_in(lanes, agents, bodies, paths, info, world, agent, other, aside):
    """Returns how far an agent may go to let in another that waits beside its way, or UNREACHABLE.

    It lets nobody in if it would have to brake hard or stop in a junction for it, or if the gap
    would be too short for the other to go over.

    Args:
        lanes: Of the pool.
        agents: Of the worlds.
        bodies: Likewise.
        paths: Ways of all agents.
        info: `Scratch.path_info` of all agents.
        world: Where.
        agent: Who may let in.
        other: Who waits at the end of its lane.
        aside: How far to the left of its way the agent is [m].
    """
    own = np.int64(lanes.segment_lane[agents.segment[world, other]])
    lane = np.int64(info[other, WAITS_FOR])
    s = agents.s[world, other] / max(lanes.length[own], ONE) * lanes.length[lane]
    index = segment_at(lanes, lane, s)
    cos, sin = lanes.segment[index, SEG_COS], lanes.segment[index, SEG_SIN]
    along = s - lanes.segment[index, SEG_S]
    half_length = HALF * bodies.length[world, agent]
    half_width = HALF * bodies.width[world, agent]
    box = Box(
        lanes.segment[index, SEG_X] + along * cos,
        lanes.segment[index, SEG_Y] + along * sin,
        lanes.segment[index, SEG_Z],
        cos,
        sin,
        HALF * bodies.length[world, other],
        HALF * bodies.width[world, other],
    )
    count = np.int64(info[agent, POINTS])
    approach = approach_ratio(bodies.length[world, agent]) * abs(aside) + PATH_STEP
    place = first_contact(
        paths[agent], count, 1, half_width, ZERO, box, aside, half_length, approach
    )
    gap = place - half_length
    speed = agents.speed[world, agent]
    needed = LETTING_ROOM + speed * speed / (TWO * COMFORTABLE_BRAKING)
    if place >= info[agent, ENTRY] or place >= UNREACHABLE or gap < needed:
        return UNREACHABLE
    return gap - LETTING_ROOM - LETTING_SLACK


@njit
def gives_way_to(signs, info, agents, world, agent, other):
    """Whether an agent yields to another where their ways cross.

    Who stands behind a body that waits for the agent cannot go before it, so it does not wait.
    """
    meets = may_meet(signs, info, agent, other)
    return meets and not waits_behind(info, agents, world, other, agent)


@njit
def wish_among_others(model, data, paths, info, worker, world, agent, free_wish, wanted, hold):
    """Returns the acceleration wanted because of bodies on the way and of those who go first.

    It also lets the agent into the junction ahead, and notes what it waits for.

    Args:
        model: Of the batch.
        data: Of the worlds.
        paths: Ways of all agents.
        info: `Scratch.path_info` of all agents.
        worker: Number of the thread.
        world: Where.
        agent: Whose.
        free_wish: What it would want alone [m/s^2].
        wanted: Speed that it would like to have [m/s].
        hold: What it would wait for alone.
    """
    agents, bodies, ways = data.agents, data.bodies, data.scratch.way[worker]
    apart = data.scratch.square[worker * block_size() + thread_index()]
    speed = agents.speed[world, agent]
    path = paths[agent]
    count = np.int64(info[agent, POINTS])
    half_length = HALF * bodies.length[world, agent]
    aside = info[agent, ASIDE]
    impatient = agents.standing_time[world, agent] > PATIENCE
    margin = LEAST_MARGIN if impatient else SIDE_MARGIN
    outside = info[agent, ENTRY] < UNREACHABLE and info[agent, RANK] > ZERO
    exit_way = min(info[agent, EXIT], info[agent, ENTRY] + LET_IN_WAY)
    stop_gap = gap_to_entry(info, agent, half_length)
    needed = exit_way + TWO * half_length + ONE
    room = UNREACHABLE
    ahead = np.int64(-1)
    wish = free_wish
    blocker = np.int64(-1)
    yields = False
    beside = -ONE
    askew = abs(aside) > ASKEW and speed < NOSE_SPEED
    for other in range(apart.shape[0]):
        if apart[other] > ZERO:
            continue
        beside = max(beside, info[other, WAITS_FOR])
        place = way_to_body(agents, bodies, paths, info, world, agent, other, aside, margin)
        leads, pace = seen_on_way(path, count, agents, world, agent, other, place)
        if askew and nose_touches(
            agents, bodies, world, agent, other, NOSE_ROOM + NOSE_TIME * speed
        ):
            wish, hold, blocker = -HARD_BRAKING, HOLD_BODY, other
        free, follows = UNREACHABLE, -HARD_BRAKING
        yields_to = not leads and gives_way_to(model.signs, info, agents, world, agent, other)
        if yields_to or (not leads and place < UNREACHABLE):
            free, behind = conflict_gap(agents, bodies, paths, info, ways, world, agent, other)
            follows = following_wish(speed, wanted, agents.speed[world, other], behind)
        if place < UNREACHABLE:
            braking = idm_acceleration(speed, wanted, place - half_length, speed - pace)
            braking = max(braking, follows)
            if braking < wish:
                wish, hold, blocker = braking, HOLD_BODY, other
            sure = clears(info, agent, other, place, pace, leads)
            length = bodies.length[world, other]
            more, reached = room_behind(info, other, place, pace, sure, exit_way, length)
            needed += more
            if reached < room:
                room, ahead = reached, other
        if free >= UNREACHABLE or not yields_to:
            continue
        goes_in = follows > -MERGING_BRAKING and agents.speed[world, other] > LEAVING_SPEED
        if outside and free < exit_way + half_length and not goes_in:
            free = min(free, stop_gap)
            yields = True
        yielding = max(stop_wish(speed, wanted, free), follows)
        if yielding < wish:
            wish, hold, blocker = yielding, HOLD_RIGHT_OF_WAY, other

    waits = (beside, blocker)
    stopping, waiting = wish_to_let_in(
        model.lanes, data, paths, info, apart, world, agent, aside, wanted, waits
    )
    if stopping < wish:
        wish, hold, blocker, yields = stopping, HOLD_BODY, waiting, True
    asks = outside and info[agent, ENTRY] - half_length <= asking_way(speed)
    short = room < needed
    if asks and (short or not (yields or is_held(info[agent], half_length))):
        before = ahead if short else ask(model, data, info[agent], world, agent)
        stopping = stop_wish(speed, wanted, stop_gap)
        if before >= 0 and stopping < wish:
            hold = HOLD_ROOM if short else HOLD_RIGHT_OF_WAY
            wish, blocker = stopping, before
    note_hold(agents, world, agent, hold, blocker)
    return wish


@njit
def wish_to_let_in(lanes, data, paths, info, apart, world, agent, aside, wanted, waits):
    """Returns the acceleration of a queue that lets in who waits beside it, and for whom it waits.

    The acceleration is `UNREACHABLE` where nobody is let in [m/s^2].

    Args:
        lanes: Of the pool.
        data: Of the worlds.
        paths: Ways of all agents.
        info: `Scratch.path_info` of all agents.
        apart: How far the boxes of all are from that of the agent [m].
        world: Where.
        agent: Whose.
        aside: How far to the left of its way it is [m].
        wanted: Speed that it would like to have [m/s].
        waits: Below 0 if nobody near waits to be let in; for whom it waits so far, -1 for none.
    """
    beside, blocker = waits
    if beside < ZERO:
        return UNREACHABLE, blocker
    agents, bodies = data.agents, data.bodies
    speed = agents.speed[world, agent]
    pace = min(speed, agents.speed[world, blocker]) if blocker >= 0 else speed
    gap = UNREACHABLE
    if pace >= QUEUE_SPEED or info[agent, WAITED] >= LETTING_TIME:
        return gap, blocker
    waiting = np.int64(-1)
    for other in range(apart.shape[0]):
        if apart[other] > ZERO or info[other, WAITS_FOR] < ZERO:
            continue
        free = gap_to_let_in(lanes, agents, bodies, paths, info, world, agent, other, aside)
        if free < gap:
            gap, waiting = free, other
    if waiting < 0:
        return gap, blocker
    needed = speed * speed / (TWO * max(gap, TINY_GAP))
    wish = idm_acceleration(speed, wanted, gap + STANDSTILL_GAP, speed)
    return max(wish, -needed * FIRMER), blocker if blocker >= 0 else waiting


@njit
def following_wish(speed, wanted, pace, behind):
    """Returns the acceleration `behind` one that comes onto the same way [m/s^2]."""
    if behind <= ZERO:
        return -HARD_BRAKING
    return max(idm_acceleration(speed, wanted, behind, speed - pace), -HARD_BRAKING)


@njit
def stop_wish(speed, wanted, gap):
    """Returns the acceleration that stops `gap` metres ahead [m/s^2]."""
    room = gap - HALF
    if room <= TINY_GAP:
        return -HARD_BRAKING
    needed = speed * speed / (TWO * room)
    comfortable = idm_acceleration(speed, wanted, room + STANDSTILL_GAP, speed)
    if needed > COMFORTABLE_BRAKING:
        return min(comfortable, -min(needed * FIRMER, HARD_BRAKING))
    return comfortable
