"""Who goes first in junctions, and who is towed.

A driver stops before a junction until it is let in. It is let in when it needs to brake for the
junction, if its way through crosses none of those that go first, and if there is room for it
behind the junction. From then on it goes before everybody who is let in later. Who goes first is
one order over all agents: those that are let in, by when; then those that wait, by time of arrival,
which the time that they stand counts towards; then those that could not go anyway.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.kernels.drivers.path_info import (
    ARRIVAL,
    BLOCKER,
    ENTRY,
    EXIT,
    HOLD,
    LINE_COLOUR,
    LINE_GAP,
    RANK,
    THROUGH,
    TWO,
    WAITED,
)
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.kernels.rules.gaps import gap_share
from selfdrive_env.kernels.rules.right_of_way import takes_way_of
from selfdrive_env.state.road import FOE_GOES_FIRST
from selfdrive_env.state.world import (
    EVENT_TOW,
    GREEN,
    HALTED,
    HOLD_BODY,
    HOLD_LINE,
    HOLD_NOTHING,
    HOLD_ROOM,
    IDM,
    PRESENT,
    RED,
    STANDING,
    STOP_SIGN,
    YELLOW,
)

__all__ = ["ask", "asking_way", "clears", "first_of_chain", "gap_to_entry", "goes_first", "is_held",
    "is_in_ring", "note_hold", "note_precedence", "precedes",
    "room_behind", "tow_late", "waits_at_red", "waits_behind", "yield_delay"]  # fmt: skip

ASKING_BRAKING = np.float32(2.5)  # [m/s^2]
ASKING_TIME = np.float32(0.6)  # [s]
ASKING_ROOM = np.float32(4.0)  # [m]
FORCED_BRAKING = np.float32(5.0)  # [m/s^2]
NOSE = np.float32(1.2)  # [m]
LET_IN_SLACK = np.float32(2.0)  # [m]
LET_IN_WAY = np.float32(30.0)  # [m]
COMMITTED_BRAKING = np.float32(8.0)  # twice the braking [m/s^2]
COMMITTED_SPEED = np.float32(3.0)  # [m/s]
STOP_SIGN_DELAY = np.float32(30.0)  # [s]
YIELD_DELAY = np.float32(20.0)  # [s]
TURN_DELAY = np.float32(3.0)  # [s]
COURTESY = np.float32(5.0)  # [s]
LINE_ROOM = np.float32(4.0)  # [m]
TOWING_TIME = np.float32(90.0)  # [s]
DETOUR_TIME = np.float32(8.0)  # behind a body that is broken down, with no lane beside [s]
RULE_TIME = np.float32(6.0)  # [s]
RULE_PATIENCE = np.float32(10.0)  # [s]
CARE = np.float32(1.5)  # time kept to those with the right of way [s]
LEAST_CARE = np.float32(0.5)  # of one who has waited for long [s]
CARE_LOSS = np.float32(0.1)  # [s/s]
LOOK_AHEAD = np.float32(12.0)  # [s]
NEAR = np.float32(30.0)  # within which one who drives away may come round [m]
ENTRY_PATIENCE = np.float32(20.0)  # [s]
STANDING_SPEED = np.float32(0.3)  # [m/s]
MOST_WAITING = 8  # that are looked at, each waiting for the next
ROLL_TIME = np.float32(1.0)  # [s]
ROLL_SHARE = np.float32(0.15)  # [s^2/m]
RED_ZONE = np.float32(8.0)  # [m]


@njit
def asking_way(speed):
    """Returns from how far before a junction a driver asks to be let in [m]."""
    return speed * speed / (TWO * ASKING_BRAKING) + ASKING_TIME * speed + ASKING_ROOM


@njit
def yield_delay(lanes, lane):
    """Returns by how much later one counts as arriving that gives way on a lane [s]."""
    return YIELD_DELAY * np.float32(max(-lanes.precedence[lane], 0))


@njit
def is_inside(driver, gap, speed):
    """Whether a body `gap` before a junction is in it or cannot but enter it."""
    if driver == IDM:
        return gap < -NOSE or speed * speed > TWO * FORCED_BRAKING * max(gap + NOSE, ZERO)
    return gap < speed * speed / COMMITTED_BRAKING + HALF * speed and (
        gap <= ZERO or speed > COMMITTED_SPEED
    )


@njit
def let_in(data, info, world, agent):
    """Lets an agent into the junction ahead of it, up to where it has cleared it."""
    agents = data.agents
    way = info[EXIT] if info[EXIT] < UNREACHABLE else max(info[ENTRY], ZERO) + LET_IN_WAY
    agents.let_in_until[world, agent] = data.tallies.distance[world, agent] + way
    agents.let_in_tick[world, agent] = np.int64(data.worlds.tick[world])


@njit
def is_held(info, half_length):
    """Whether a driver has to stop at a line before the junction ahead of it."""
    stops = np.int64(info[LINE_COLOUR]) in (RED, YELLOW, STOP_SIGN)
    return stops and info[LINE_GAP] + half_length <= info[ENTRY] + LINE_ROOM


@njit
def note_precedence(data, info, world, agent, turns, delay):
    """Writes who goes first: a lower rank, then the earlier arrival.

    Args:
        data: Of the worlds.
        info: `Scratch.path_info` of the agent.
        world: Where.
        agent: Whose.
        turns: Whether it turns in the junction.
        delay: By how much later it counts as arriving, by what signs ask [s].
    """
    agents, bodies = data.agents, data.bodies
    info[RANK] = ONE
    info[ARRIVAL] = UNREACHABLE
    entry = info[ENTRY]
    if entry >= UNREACHABLE:
        agents.let_in_until[world, agent] = ZERO
        return
    speed = max(agents.speed[world, agent], ZERO)
    gap = entry - HALF * bodies.length[world, agent]
    held = is_held(info, HALF * bodies.length[world, agent])
    if held:
        agents.let_in_until[world, agent] = ZERO
    until = agents.let_in_until[world, agent]
    known = until > ZERO and entry < until + LET_IN_SLACK - data.tallies.distance[world, agent]
    if not known and not held and is_inside(bodies.driver[world, agent], gap, speed):
        let_in(data, info, world, agent)
        known = True
    if known:
        info[RANK] = ZERO
        since = np.int64(agents.let_in_tick[world, agent]) - np.int64(data.worlds.tick[world])
        info[ARRIVAL] = np.float32(since)
        return
    hold = np.int64(agents.hold[world, agent])
    if held or hold in (HOLD_BODY, HOLD_ROOM, HOLD_LINE):
        info[RANK] = TWO
    arrival = max(gap, ZERO) / max(speed, TWO)
    if turns:
        arrival += TURN_DELAY
    info[ARRIVAL] = arrival + delay - max(agents.standing_time[world, agent] - COURTESY, ZERO)


@njit
def goes_first(info, agent, other):
    """Whether `agent` has priority over `other`."""
    if info[agent, RANK] != info[other, RANK]:
        return info[agent, RANK] < info[other, RANK]
    if info[agent, ARRIVAL] != info[other, ARRIVAL]:
        return info[agent, ARRIVAL] < info[other, ARRIVAL]
    return agent < other


@njit
def precedes(signs, info, agent, other):
    """Whether `agent` goes before `other`: by right of way where both wait, else by the order.

    Who has waited for long takes its turn.
    """
    lane, other_lane = np.int64(info[agent, THROUGH]), np.int64(info[other, THROUGH])
    if lane >= 0 and other_lane >= 0 and contends(info[agent]) and contends(info[other]):
        soon = abs(info[agent, ARRIVAL] - info[other, ARRIVAL]) < RULE_TIME
        if soon and gives_way(signs, lane, other_lane) and info[agent, WAITED] < RULE_PATIENCE:
            return False
        if soon and gives_way(signs, other_lane, lane) and info[other, WAITED] < RULE_PATIENCE:
            return True
    return goes_first(info, agent, other)


@njit
def contends(info):
    """Whether one waits to be let in, or follows somebody towards a junction without a line."""
    follows = info[RANK] == TWO and info[WAITED] <= ZERO
    return info[RANK] == ONE or (follows and np.int64(info[LINE_COLOUR]) <= GREEN)


@njit
def gives_way(signs, lane, other_lane):
    """Whether the map has one lane of a junction give way to another."""
    for entry in range(signs.foe_first[lane], signs.foe_first[lane + 1]):
        if signs.foe[entry] == other_lane:
            return signs.foe_rule[entry] == FOE_GOES_FIRST
    return False


@njit
def way_on(info, other, pace, other_length):
    """Returns how far another is going to drive at least, as it looks [m]."""
    way = pace * (ROLL_TIME + pace * ROLL_SHARE)
    if info[other, RANK] > ZERO:
        way = min(way, max(info[other, ENTRY] - other_length - ONE, ZERO))
    return way


@njit
def clears(info, agent, other, place, pace, leads):
    """Whether another on the way, `place` metres ahead, is sure to make room behind a junction."""
    if not leads or info[other, RANK] > ZERO:
        return False
    return place < info[agent, ENTRY] or place >= info[agent, EXIT] or pace > STANDING_SPEED


@njit
def room_behind(info, other, place, pace, sure, exit_way, length):
    """Returns how much more room one needs behind a junction, and how far another gets [m].

    Args:
        info: `Scratch.path_info` of all agents.
        other: On the way.
        place: Where on it [m].
        pace: Of the other [m/s].
        sure: Whether it is sure to make room; then it does not count as the end of the way.
        exit_way: Until the junction is left [m].
        length: Of the other [m].
    """
    if sure:
        return ZERO if place >= exit_way else length + TWO, UNREACHABLE
    return ZERO, place + way_on(info, other, pace, HALF * length)


@njit
def waits_behind(info, agents, world, agent, first):
    """Whether an agent stands behind a body that in the end waits for `first`.

    It cannot go before that one does, whatever its right of way.
    """
    behind = np.int64(info[agent, HOLD]) == HOLD_BODY and info[agent, BLOCKER] >= ZERO
    if not behind or agents.speed[world, agent] > STANDING_SPEED:
        return False
    following = np.int64(agent)
    for _ in range(MOST_WAITING):
        following = np.int64(info[following, BLOCKER])
        if following < 0 or following == first:
            return following == first
    return False


@njit
def first_of_chain(info, agent):
    """Returns for whom an agent waits in the end; in a ring, the lowest slot of it."""
    first = np.int64(agent)
    for _ in range(info.shape[0]):
        following = np.int64(info[first, BLOCKER])
        if following < 0:
            return first
        first = following
    lowest = first
    following = np.int64(info[first, BLOCKER])
    while following != first:
        lowest = min(lowest, following)
        following = np.int64(info[following, BLOCKER])
    return lowest


@njit
def is_in_ring(info, agent):
    """Whether an agent waits for itself in the end."""
    following = np.int64(info[agent, BLOCKER])
    for _ in range(info.shape[0]):
        if following < 0 or following == agent:
            return following == agent
        following = np.int64(info[following, BLOCKER])
    return False


@njit
def waits_at_red(info, agent):
    """Whether an agent stands before a light that is not green."""
    colour = np.int64(info[agent, LINE_COLOUR])
    return colour in (RED, YELLOW) and info[agent, LINE_GAP] < RED_ZONE


@njit
def tow_late(data, info, world, agent, first):
    """Has an agent towed that has stood for too long, unless one that it waits for is to go first.

    In a ring whoever has stood for too long first goes. Who stands behind a body that is broken
    down goes soon: as if it had turned round.

    Args:
        data: Of the worlds.
        info: `Scratch.path_info` of all agents.
        world: Where.
        agent: Who stands.
        first: For whom it waits in the end.
    """
    agents, bodies = data.agents, data.bodies
    broken = agents.status[world, first] == STANDING
    late = agents.standing_time[world, agent] > (DETOUR_TIME if broken else TOWING_TIME)
    if not late or bodies.driver[world, agent] != IDM:
        return
    drives = bodies.driver[world, first] == IDM
    drives = drives and agents.status[world, first] not in (HALTED, STANDING)
    behind = not drives and info[agent, BLOCKER] == np.float32(first)
    if first == agent or behind or is_in_ring(info, agent):
        data.output.event[world, agent] |= EVENT_TOW


@njit
def ask(model, data, info, world, agent):
    """Lets an agent into the junction ahead, or returns whose right of way it would take there."""
    before = whose_way(model, data, info, world, agent)
    if before < 0:
        let_in(data, info, world, agent)
    return before


@njit
def whose_way(model, data, info, world, agent):
    """Returns whose right of way an agent would take that is let into the junction ahead, or -1."""
    lanes, agents, bodies = model.lanes, data.agents, data.bodies
    lane, waited = np.int64(info[THROUGH]), info[WAITED]
    if lane < 0 or waited > ENTRY_PATIENCE or not may_give_way(lanes, model.signs, lane):
        return np.int64(-1)
    start = info[ENTRY] - HALF * bodies.length[world, agent]
    care = (max(CARE - CARE_LOSS * waited, LEAST_CARE), gap_share(waited))
    own = lanes.segment_lane[agents.segment[world, agent]]
    x = agents.x[world, agent] + info[ENTRY] * agents.cos[world, agent]
    y = agents.y[world, agent] + info[ENTRY] * agents.sin[world, agent]
    for other in range(agents.x.shape[1]):
        pace = agents.speed[world, other]
        if pace <= ONE or agents.status[world, other] != PRESENT:
            continue
        dx = agents.x[world, other] - x
        dy = agents.y[world, other] - y
        near = LOOK_AHEAD * pace + NEAR
        square = dx * dx + dy * dy
        if square > near * near:
            continue
        leaves = dx * agents.cos[world, other] + dy * agents.sin[world, other] > ZERO
        if (leaves and square > NEAR * NEAR) or other == agent:
            continue
        if lanes.segment_lane[agents.segment[world, other]] == own:
            continue
        if takes_way_of(model, data, world, agent, lane, start, other, care):
            return other
    return np.int64(-1)


@njit
def may_give_way(lanes, signs, lane):
    """Whether a lane of a junction, or one behind it there, gives way to others."""
    if signs.foe_first[lane] < signs.foe_first[lane + 1]:
        return True
    for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
        ahead = lanes.successor[link]
        same = lanes.junction[ahead] == lanes.junction[lane]
        if same and signs.foe_first[ahead] < signs.foe_first[ahead + 1]:
            return True
    return False


@njit
def gap_to_entry(info, agent, half_length):
    """Returns how far an agent may go that is not let into the junction ahead [m]."""
    gap = info[agent, ENTRY] - half_length - HALF
    line = info[agent, LINE_GAP]
    before = line >= ZERO and line + half_length < info[agent, ENTRY]
    if before and np.int64(info[agent, LINE_COLOUR]) == GREEN:
        return min(gap, line)
    return gap


@njit
def note_hold(agents, world, agent, hold, blocker):
    """Notes what a driver waits for, and whom, if it stands."""
    stands = agents.speed[world, agent] < ONE
    agents.hold[world, agent] = hold if stands else HOLD_NOTHING
    agents.blocker[world, agent] = blocker if stands else -1
