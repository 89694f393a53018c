"""What an evaluation counts, once more and slowly: from every step of a drive that was recorded,
agent by agent, by the definitions in docs/evaluation.md."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_COMFORT,
    EVENT_GOAL,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    EVENT_WRONG_WAY,
)
from tests.reference.kernels import Sweep, gap, way_to

APART, START, MEMORY, TOW = 2.0, 0.5, 5.0, 10.0
LEVEL = 2.5
NEAR = 0.02
PARTS = 48
PEDESTRIAN = list(BODY_TYPES).index("pedestrian")


class State(NamedTuple):
    """All worlds at one moment: copies of the engine's structs."""

    agents: Any
    bodies: Any
    motion: Any
    event: Any


def state_of(engine: Any) -> State:
    """Returns a copy of what the oracle looks at."""
    copies = (
        type(struct)(*(np.array(values) for values in struct))
        for struct in (engine.agents, engine.bodies, engine.motion)
    )
    return State(*copies, engine.output.event.copy())


class Found(NamedTuple):
    """An incident, and the causes it may have: several where rounding decides."""

    step: int
    world: int
    agent: int
    causes: frozenset[str]


class Route(NamedTuple):
    """A route that ended; without a score where it hangs by the cause of an incident."""

    world: int
    share: float
    score: float | None
    completed: bool


@dataclass
class Journey:
    """One agent's running route and state."""

    total: float = 1.0
    done: float = 0.0
    leg: float = 0.0
    time: float = 0.0
    metres: float = 0.0
    metres_off: float = 0.0
    penalty: float | None = 1.0
    leg_time: float = 0.0
    leg_free: float = 0.0
    lanes: tuple[int, ...] = ()
    places: tuple[float, ...] = ()
    last_on: float = -math.inf
    last_light: float = -math.inf
    ran_light: bool = False
    in_incident: float = 0.0


@dataclass
class Counts:
    """What was counted."""

    km: np.ndarray
    hours: np.ndarray
    goals: np.ndarray
    incidents: list[Found] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    tows: list[tuple[int, int, int]] = field(default_factory=list)
    """Step after which an agent is placed anew, world, agent."""

    goal_time: float = 0.0
    goal_free_time: float = 0.0
    uncomfortable: int = 0
    wrong_way: int = 0
    agent_steps: int = 0
    speeds: list[float] = field(default_factory=list)
    laterals: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    headways: list[float] = field(default_factory=list)


def arc_length(before: State, after: State, at: tuple[int, int]) -> float:
    """Metres between two poses on one arc, from the chord and the turn."""
    a, b = before.agents, after.agents
    if b.age[at] == 0:  # it was placed anew at the end of the step
        return abs(float(after.motion.travel[at]))
    chord = math.hypot(float(b.x[at]) - float(a.x[at]), float(b.y[at]) - float(a.y[at]))
    turn = math.atan2(
        float(b.sin[at]) * float(a.cos[at]) - float(b.cos[at]) * float(a.sin[at]),
        float(b.cos[at]) * float(a.cos[at]) + float(b.sin[at]) * float(a.sin[at]),
    )
    return chord / float(np.sinc(turn / (2.0 * np.pi)))


class Recount:
    """Counts over the steps of a drive, in order."""

    def __init__(self, first: State, lanes: Any, routes: Any, dt: float) -> None:
        self.lanes, self.routes, self.dt = lanes, routes, dt
        self.shape = first.agents.x.shape
        worlds = self.shape[0]
        self.counts = Counts(np.zeros(worlds), np.zeros(worlds), np.zeros(worlds, int))
        self.journeys = {at: Journey() for at in np.ndindex(self.shape)}
        self.steps_apart = math.ceil(APART / dt - 1e-6)
        self.every = max(1, round(0.5 / dt))
        for at in self.journeys:
            self.begin(at, first)

    def step(self, number: int, before: State, after: State, then: State) -> None:
        """Counts one step.

        Args:
            number: Of the step.
            before: When it began.
            after: When it ended.
            then: When the next one began: who was towed has another place by then.
        """
        found = {}
        free = {}
        for at in self.journeys:
            self.note_light(at, number, before, after)
        for at, own in self.journeys.items():
            present = before.agents.status[at] != ABSENT
            free[at] = bool(present) and number - own.last_on > self.steps_apart
            causes = self.causes(at, number, before, after) if present else None
            if causes:
                found[at] = causes
        for at, (causes, penalty) in found.items():
            self.counts.incidents.append(Found(number, *at, causes))
            own = self.journeys[at]
            if own.penalty is not None:
                own.penalty = None if penalty is None else own.penalty * penalty
        for at, own in self.journeys.items():
            if after.event[at] & EVENT_RED_LIGHT:
                self.counts.incidents.append(Found(number, *at, frozenset({"red_light"})))
            late = self.follow_route(at, before, after)
            if free[at]:
                self.count_driven(at, before, after)
            self.tow(at, number, late, after, then)
            if after.agents.age[at] == 0:
                own.last_on = own.last_light = -math.inf
                own.ran_light = False
        if number % self.every == 0:
            for at in self.journeys:
                if free[at] and after.agents.status[at] != ABSENT:
                    self.look(at, after)

    def count_driven(self, at: tuple[int, int], before: State, after: State) -> None:
        """Kilometres, hours, comfort and wrong ways of an agent outside incidents."""
        counts, a = self.counts, after.agents
        counts.km[at[0]] += arc_length(before, after, at) / 1000.0
        counts.hours[at[0]] += self.dt / 3600.0
        counts.agent_steps += 1
        if a.age[at] == 0:
            counts.uncomfortable += bool(after.event[at] & EVENT_COMFORT)
            counts.wrong_way += bool(after.event[at] & EVENT_WRONG_WAY)
            return
        harsh = abs(a.acceleration[at]) > 3.0 or abs(a.lateral_acceleration[at]) > 3.0
        counts.uncomfortable += bool(harsh or (np.abs(after.motion.realised_jerk[at]) > 5.0).any())
        outside = self.lanes.junction[self.lanes.segment_lane[a.segment[at]]] < 0
        counts.wrong_way += bool(outside and a.angle_cos[at] < -0.5 and a.speed[at] > 1.0)

    # Incidents

    def causes(
        self, at: tuple[int, int], number: int, before: State, after: State
    ) -> tuple[frozenset[str], float | None] | None:
        """Causes of the incident that an agent begins, and by what its route's score is multiplied
        (None where rounding decides); None for no incident."""
        own, event = self.journeys[at], after.event[at]
        fresh = after.agents.age[at] == 0
        contact = 0 if fresh else after.agents.contact[at]
        touches = bool(contact & 1 or event & EVENT_COLLISION)
        if not (touches or contact & 2 or event & EVENT_OFFROAD):
            return None
        begins = number - own.last_on > self.steps_apart
        own.last_on = number
        if not begins:
            return None
        if not touches:
            return frozenset({"offroad"}), 1.0
        causes, factors = set(), set()
        for other, poses in self.touched(at, before, after):
            age = min(before.agents.age[at], before.agents.age[other])
            if age * self.dt < START:
                causes.add("start_in_collision")
                factors.add(1.0)
                continue
            factors.add(0.5 if before.bodies.type[other] == PEDESTRIAN else 0.6)
            for pose, other_pose in poses:
                mine = self.has_fault(at, other, pose, other_pose, before)
                theirs = self.has_fault(other, at, other_pose, pose, before)
                causes.add("collision_at_fault" if mine or not theirs else "collision_not_at_fault")
        return frozenset(causes), factors.pop() if len(factors) == 1 else None

    def touched(
        self, at: tuple[int, int], before: State, after: State
    ) -> list[tuple[tuple[int, int], list[Any]]]:
        """Whom an agent may have touched, with the poses of both shortly before."""
        world, agent = at
        own = sweep_of(at, before, after)
        gaps, sweeps = {}, {}
        for other in range(self.shape[1]):
            there = (world, other)
            if other == agent or before.agents.status[there] == ABSENT:
                continue
            if abs(after.agents.z[there] - after.agents.z[at]) >= LEVEL:
                continue
            sweeps[there] = sweep_of(there, before, after)
            if math.hypot(sweeps[there].x - own.x, sweeps[there].y - own.y) < 40.0:
                gaps[there] = gap(poses_of(own)[1], poses_of(sweeps[there])[1])
        least = min(values.min() for values in gaps.values())
        out = []
        for there, values in gaps.items():
            if values.min() > max(least, -NEAR) + NEAR:
                continue
            hit = np.flatnonzero(values <= max(values.min(), 0.0))[0]
            # A sixteenth of the step before, give or take as much.
            lag = {max(int(hit) - part, 0) for part in (1, 3, 6)}
            mine, theirs = poses_of(own)[0], poses_of(sweeps[there])[0]
            out.append((there, [(mine[k], theirs[k]) for k in sorted(lag)]))
        return out

    def has_fault(
        self, at: tuple[int, int], other: tuple[int, int], pose: Any, other_pose: Any, before: State
    ) -> bool:
        """Whether an agent has one of the four faults."""
        a, b = before.agents, before.bodies
        x, y, heading = pose
        dx, dy = other_pose[0] - x, other_pose[1] - y
        ahead = dx * math.cos(heading) + dy * math.sin(heading)
        aside = dy * math.cos(heading) - dx * math.sin(heading)
        cos = math.cos(other_pose[2] - heading)
        sin = abs(math.sin(other_pose[2] - heading))
        length, width = float(b.length[other]), float(b.width[other])
        along = abs(ahead) - (float(b.length[at]) + length * abs(cos) + width * sin) / 2.0
        across = abs(aside) - (float(b.width[at]) + length * sin + width * abs(cos)) / 2.0
        speed, other_speed = float(a.speed[at]), float(a.speed[other])
        into_rear = cos > math.cos(math.pi / 4) and ahead > 0.0 and along >= across
        if into_rear and speed > max(other_speed * cos, 0.0):
            return True
        if speed < 0.0 or self.journeys[at].ran_light:
            return True
        lane_cos, lane_sin = float(a.angle_cos[at]), float(a.angle_sin[at])
        reach = (float(b.width[at]) * abs(lane_cos) + float(b.length[at]) * abs(lane_sin)) / 2.0
        left, right = (float(w) for w in self.lanes.segment[a.segment[at], 5:7])
        beyond = max(float(a.d[at]) + reach - left, reach - float(a.d[at]) - right)
        return lane_cos < 0.0 or beyond > 0.3

    def note_light(self, at: tuple[int, int], number: int, before: State, after: State) -> None:
        """Notes who passed a light or a sign not long ago, or in the junction it is still in."""
        own = self.journeys[at]
        if after.event[at] & (EVENT_RED_LIGHT | EVENT_STOP_SIGN):
            own.last_light = number
        here, there = (self.junction_of(state.agents.segment[at]) for state in (after, before))
        stays = here >= 0 and here == there and after.agents.age[at] > 0
        recent = (number - own.last_light) * self.dt <= MEMORY
        own.ran_light = recent or (own.ran_light and stays)

    def junction_of(self, segment: int) -> int:
        return int(self.lanes.junction[self.lanes.segment_lane[segment]]) if segment >= 0 else -1

    def tow(self, at: tuple[int, int], number: int, late: bool, after: State, then: State) -> None:
        """Tells who is placed anew after a step, and begins its new route."""
        own = self.journeys[at]
        still = number - own.last_on < self.steps_apart and after.agents.age[at] > 0
        present = after.agents.status[at] != ABSENT
        own.in_incident = own.in_incident + self.dt if still and present else 0.0
        if own.in_incident < TOW and not late:
            return
        self.counts.tows.append((number, *at))
        self.end(at, False, float(after.agents.goal_distance[at]))
        self.begin(at, then)
        own.last_on = own.last_light = -math.inf
        own.ran_light, own.in_incident = False, 0.0

    # Routes

    def begin(self, at: tuple[int, int], state: State) -> None:
        """Starts the route that an agent has."""
        own, a, b = self.journeys[at], state.agents, state.bodies
        goals = list(zip(b.goal_lane[at].tolist(), b.goal_s[at].tolist(), strict=True))
        total = float(a.goal_distance[at])
        for (lane, s), goal in itertools.pairwise(goals[: int(b.num_goals[at])]):
            total += way_to(self.routes, *goal, lane, s, 0.0)
        own.total, own.leg, own.done = max(total, 1.0), float(a.goal_distance[at]), 0.0
        own.time = own.metres = own.metres_off = own.leg_time = own.leg_free = 0.0
        own.penalty = 1.0
        own.lanes, own.places = tuple(b.goal_lane[at].tolist()), tuple(b.goal_s[at].tolist())

    def end(self, at: tuple[int, int], completed: bool, remaining: float) -> None:
        """Notes the route that an agent has left."""
        own = self.journeys[at]
        if own.time <= 0.0:
            return
        driven = own.done + min(max(own.leg - remaining, 0.0), own.leg)
        share = 1.0 if completed else min(driven / own.total, 1.0)
        on_road = 1.0 - own.metres_off / max(own.metres, 1e-6)
        score = None if own.penalty is None else share * on_road * own.penalty
        self.counts.routes.append(Route(at[0], share, score, completed))

    def follow_route(self, at: tuple[int, int], before: State, after: State) -> bool:
        """Counts goals and ends routes; returns whether an agent's time is up."""
        own, counts, a = self.journeys[at], self.counts, after.agents
        event = after.event[at]
        present = a.status[at] != ABSENT
        if present:
            metres = arc_length(before, after, at) if before.agents.status[at] != ABSENT else 0.0
            limit = self.lanes.speed_limit[self.lanes.segment_lane[a.segment[at]]]
            own.leg_free += metres / max(float(limit), 1.0)
            own.metres += metres
            if a.contact[at] & 2 or event & EVENT_OFFROAD:
                own.metres_off += metres
            if a.age[at] > 0:
                own.time += self.dt
                own.leg_time += self.dt
        if own.penalty is not None:
            own.penalty *= 0.7 if event & EVENT_RED_LIGHT else 1.0
            own.penalty *= 0.8 if event & EVENT_STOP_SIGN else 1.0
        reached = bool(event & EVENT_GOAL)
        if reached:
            counts.goals[at[0]] += 1
            counts.goal_time += own.leg_time
            counts.goal_free_time += own.leg_free
        goals = tuple(after.bodies.goal_lane[at].tolist()), tuple(after.bodies.goal_s[at].tolist())
        changed = a.age[at] == 0 or goals != (own.lanes, own.places)
        if changed or (reached and a.goal[at] == 0):
            self.end(at, reached, float(before.agents.goal_distance[at]))
            self.begin(at, after)
        elif reached:
            own.done, own.leg = own.done + own.leg, float(a.goal_distance[at])
            own.leg_time = own.leg_free = 0.0
        return bool(present) and own.time > 120.0 + own.total / 2.0

    # Behaviour

    def look(self, at: tuple[int, int], after: State) -> None:
        """Speed, lateral acceleration and the gap to the next one ahead."""
        a, b, counts = after.agents, after.bodies, self.counts
        counts.speeds.append(float(a.speed[at]))
        lateral = abs(float(a.lateral_acceleration[at]))
        if lateral >= 0.5:
            counts.laterals.append(lateral)
        nearest = math.inf
        x, y, heading = centre(at, after)
        for other in range(self.shape[1]):
            there = (at[0], other)
            if other == at[1] or a.status[there] == ABSENT:
                continue
            other_x, other_y, other_heading = centre(there, after)
            dx, dy = other_x - x, other_y - y
            ahead = dx * math.cos(heading) + dy * math.sin(heading)
            aside = abs(dy * math.cos(heading) - dx * math.sin(heading))
            room = ahead - 0.5 * float(b.length[at] + b.length[there])
            if not 0.0 <= room <= 40.0 or math.cos(other_heading - heading) <= 0.9:
                continue
            overlaps = aside < 0.5 * float(b.width[at] + b.width[there])
            if overlaps and abs(float(a.z[there]) - float(a.z[at])) < LEVEL:
                nearest = min(nearest, room)
        if nearest < math.inf and a.speed[at] > 3.0:
            counts.gaps.append(nearest)
            counts.headways.append(nearest / float(a.speed[at]))


def centre(at: tuple[int, int], state: State) -> tuple[float, float, float]:
    """x, y and heading of a body's middle."""
    a = state.agents
    ahead = 0.5 * float(state.bodies.wheelbase[at])
    cos, sin = float(a.cos[at]), float(a.sin[at])
    return float(a.x[at]) + ahead * cos, float(a.y[at]) + ahead * sin, math.atan2(sin, cos)


def sweep_of(at: tuple[int, int], before: State, after: State) -> Sweep:
    """The arc of a body in a step."""
    a, b, m = before.agents, before.bodies, after.motion
    heading = math.atan2(a.sin[at], a.cos[at])
    return Sweep(
        float(a.x[at]), float(a.y[at]), heading, float(m.travel[at]), float(m.curvature[at]),
        float(b.length[at]), float(b.width[at]), float(b.wheelbase[at]),
    )  # fmt: skip


def poses_of(sweep: Sweep) -> tuple[np.ndarray, np.ndarray]:
    """Middle and heading [PARTS + 1, 3] and corners [PARTS + 1, 4, 2] along an arc."""
    start = sweep._replace(travel=0.0).boxes(1)
    boxes = np.concatenate([start, sweep.boxes(PARTS)])
    heading = sweep.heading + np.linspace(0.0, 1.0, PARTS + 1) * sweep.travel * sweep.curvature
    return np.concatenate([boxes.mean(axis=1), heading[:, None]], axis=1), boxes
