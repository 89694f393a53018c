"""Incidents: when one begins, and who is at fault.

An incident of an agent is the rising edge of its state "touches another body or is not wholly on
the road". It is over, and the next one may begin, when both states have been apart for 2 s.

Who is at fault in a collision is judged for each of the two, from how they lie just before they
touch and from their speeds and lanes at the start of that step. An agent's own faults are:

1. Own front into the other's rear: headings within 45 degrees, the other ahead, the bodies apart
   lengthwise rather than sideways, and the agent moves forward, faster than the other does along
   the agent's heading.
2. Reversing.
3. Leaving the own lane: a corner of the body more than 0.3 m beyond the edge of its lane, or
   the body against the lane's direction.
4. Passing a red light or a stop sign in the last 5 s, that step included, or earlier and in the
   same junction ever since.

An agent with a fault is at fault. One without, struck by one that has a fault (from behind, say),
is not at fault. Where neither has one both are at fault. A contact within 0.5 s of the placing
of either body is a start in collision whatever the faults, since nobody could have avoided it.

Incidents that count are linked where they have a body in common and begin at most 10 s apart, as
long as a wreck may lie in the way; so are all those of a chain, such as a pile-up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selfdrive_env.evaluation.causes.kinds import (
    collision_kind,
    departure_kind,
    lanes_meet,
    light_kind,
)
from selfdrive_env.evaluation.causes.pairs import Bools, Floats, Indices, Pair, own_faults
from selfdrive_env.state.places import along_way, box_centre
from selfdrive_env.state.road import SEG_LEFT, SEG_RIGHT
from selfdrive_env.state.world import (
    ABSENT,
    CONTACT_BODY,
    CONTACT_OFFROAD,
    EVENT_COLLISION,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    STANDING,
)

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = [
    *("APART", "CAUSES", "CRASHES", "LINKED_TIME", "Incident", "Links", "RisingEdges", "Watch"),
]

AT_FAULT, NOT_AT_FAULT, OFFROAD, RED_LIGHT, START = range(5)
CAUSES = (
    "collision_at_fault", "collision_not_at_fault", "offroad", "red_light", "start_in_collision",
)  # fmt: skip
"""Names of the causes; the first three make an incident that counts between kilometres."""

CRASHES = 3
"""How many of `CAUSES` count as incidents of the policy; red lights and starts stand apart."""

APART = 2.0
"""How long both states must be over before the next incident [s]."""

START_TIME = 0.5
"""After a placing [s]."""

RED_MEMORY = 5.0
"""How long a red light passed counts as a fault [s]."""

LINKED_TIME = 10.0
"""Incidents with a body in common are linked that begin at most this long apart [s]."""


class RisingEdges:
    """Which agents begin an incident, from a state that may flicker."""

    def __init__(self, shape: tuple[int, ...], dt: float, apart: float = APART) -> None:
        """Starts without incidents.

        Args:
            shape: Of the states, such as (worlds, agents).
            dt: Length of a step [s].
            apart: How long a state must be over before it counts again [s].
        """
        self.steps_apart = max(1, int(np.ceil(apart / dt - 1.0e-6)))
        self.open = np.zeros(shape, np.bool_)
        """Agents whose incident is not over."""

        self.clear = np.zeros(shape, np.int64)
        """Steps since the state was last on."""

    def update(self, state: Bools, placed: Bools) -> Bools:
        """Returns which agents begin an incident in this step.

        Args:
            state: Whether each agent is in the state.
            placed: Agents that were placed anew at the end of the step: their past is forgotten.
        """
        rising = state & ~self.open
        self.clear = np.where(state, 0, self.clear + 1)
        self.open = (self.open | state) & (self.clear < self.steps_apart) & ~placed
        return rising


class Incident(NamedTuple):
    """One incident of one agent."""

    step: int
    world: int
    agent: int
    cause: str
    other: int
    """Slot of the other body, -1 without one."""

    speed: float
    """Of the agent in a departure from the road, of the two against each other else [m/s]."""

    x: float
    y: float
    """Where the agent was [m]."""

    kind: str = ""
    """One of causes.kinds.KINDS; "" in files of earlier versions."""


class Links:
    """Counts incidents that hang together once: a collision's two sides, a pile-up."""

    def __init__(self, shape: tuple[int, int], dt: float) -> None:
        """Starts without incidents.

        Args:
            shape: Worlds and agents.
            dt: Length of a step [s].
        """
        self.counts = np.zeros(shape[0], np.int64)
        """Chains of linked incidents, [W]."""

        self._steps = math.floor(LINKED_TIME / dt + 1.0e-6)
        self._chain = np.full(shape, -1, np.int64)
        self._last = np.zeros(shape, np.int64)
        self._part_of: list[int] = []

    def add(self, incident: Incident) -> None:
        """Adds an incident; those without a part in the kilometres between them are left out."""
        if incident.cause not in CAUSES[:CRASHES]:
            return
        bodies = [incident.agent, *([incident.other] if incident.other >= 0 else [])]
        known, last = self._chain[incident.world], self._last[incident.world]
        recent = [b for b in bodies if known[b] >= 0 and incident.step - last[b] <= self._steps]
        chains = {self._whole(int(known[body])) for body in recent}
        chain = min(chains, default=len(self._part_of))
        if not chains:
            self._part_of.append(chain)
        for one in chains:
            self._part_of[one] = chain
        self.counts[incident.world] += 1 - len(chains)
        known[bodies], last[bodies] = chain, incident.step

    def forget(self, placed: Bools) -> None:
        """Forgets the past of agents that were placed anew, [W, A]."""
        self._chain[placed] = -1

    def _whole(self, chain: int) -> int:
        """Returns the chain of which one is a part by now."""
        while self._part_of[chain] != chain:
            chain = self._part_of[chain]
        return chain


class Watch:
    """Watches the worlds of an engine: called before and after each step."""

    def __init__(self, engine: Engine) -> None:
        """Starts with the state after a reset."""
        self.engine = engine
        shape = engine.agents.x.shape
        self.dt = float(engine.params.dt)
        self.edges = RisingEdges(shape, self.dt)
        self.since_light = np.full(shape, np.inf)
        self.ran_light = np.zeros(shape, np.bool_)
        self.junction = self._junctions()
        self.before_step()

    def before_step(self) -> None:
        """Notes how agents lie in their lanes, by which faults are judged."""
        agents, bodies, lanes = self.engine.agents, self.engine.bodies, self.engine.lanes
        self.length, self.width = bodies.length.copy(), bodies.width.copy()
        self.wheelbase = bodies.wheelbase.copy()
        self.age = agents.age.copy()
        self.present = (agents.status != ABSENT) & (agents.status != STANDING)
        side = np.where(agents.d > 0.0, SEG_LEFT, SEG_RIGHT)
        edge = lanes.segment[np.maximum(agents.segment, 0), side]
        reach = 0.5 * (
            self.width * np.abs(agents.angle_cos) + self.length * np.abs(agents.angle_sin)
        )
        beyond = np.abs(agents.d) + reach - edge
        self.beyond_lane = np.where(agents.angle_cos < 0.0, np.inf, beyond)

    def after_step(self, step: int) -> list[Incident]:
        """Returns the incidents that began in a step, red lights included.

        Args:
            step: Number of the step.
        """
        agents, event = self.engine.agents, self.engine.output.event
        placed = agents.age == 0
        light = (event & (EVENT_RED_LIGHT | EVENT_STOP_SIGN)) != 0
        self.since_light = np.where(light, 0.0, self.since_light + self.dt)
        before, self.junction = self.junction, self._junctions()
        crossing = (self.junction >= 0) & (self.junction == before) & ~placed
        self.ran_light = (self.since_light <= RED_MEMORY) | (self.ran_light & crossing)
        contact = np.where(placed, 0, agents.contact)
        collided = ((contact & CONTACT_BODY) != 0) | ((event & EVENT_COLLISION) != 0)
        offroad = ((contact & CONTACT_OFFROAD) != 0) | ((event & EVENT_OFFROAD) != 0)
        rising = self.edges.update((collided | offroad) & self.present, placed)

        found: list[Incident] = []
        self._add(found, step, (rising & ~collided).nonzero(), CAUSES[OFFROAD])
        self._add(found, step, ((event & EVENT_RED_LIGHT) != 0).nonzero(), CAUSES[RED_LIGHT])
        world, agent = (rising & collided).nonzero()
        if len(world):
            self._add_collisions(found, step, world, agent)
        self.since_light[placed], self.ran_light[placed] = np.inf, False
        return found

    def _junctions(self) -> Indices:
        """Returns the junction in which each agent is, -1 for none."""
        agents, lanes = self.engine.agents, self.engine.lanes
        lane = lanes.segment_lane[np.maximum(agents.segment, 0)]
        inside: Indices = np.where(agents.segment >= 0, lanes.junction[lane], -1)
        return inside

    def _add(
        self, found: list[Incident], step: int, where: tuple[Indices, ...], cause: str
    ) -> None:
        """Adds incidents without another body."""
        motion, segments = self.engine.motion, self.engine.agents.segment
        for world, agent in zip(*(index.tolist() for index in where), strict=True):
            at = world, agent
            speed = float(motion.speed[at])
            kind = light_kind(abs(speed))
            if cause == CAUSES[OFFROAD]:
                segment, age = int(segments[at]), float(self.age[at]) * self.dt
                kind = departure_kind(self.engine.lanes, segment, speed, age)
            x, y = float(motion.x[at]), float(motion.y[at])
            found.append(Incident(step, world, agent, cause, -1, abs(speed), x, y, kind))

    def _add_collisions(
        self, found: list[Incident], step: int, world: Indices, agent: Indices
    ) -> None:
        """Adds incidents between two bodies, each pair judged from both sides."""
        motion = self.engine.motion
        other = motion.hit_agent[world, agent].astype(np.intp)
        share = motion.hit_time[world, agent].astype(np.float64)
        pose, other_pose = self._poses(world, agent, share), self._poses(world, other, share)
        own = self._pair(world, agent, other, pose, other_pose)
        mine = own_faults(own)
        other_one = own_faults(self._pair(world, other, agent, other_pose, pose))
        cause = np.where(mine | ~other_one, AT_FAULT, NOT_AT_FAULT)
        age = np.minimum(self.age[world, agent], self.age[world, other])
        cause[age * self.dt < START_TIME] = START
        speed = np.hypot(own.other_speed * own.cos - own.speed, own.other_speed * own.sin)
        standing = self.engine.agents.status == STANDING
        for k in range(len(world)):
            kind = collision_kind(
                own,
                k,
                closing=float(speed[k]),
                start=cause[k] == START,
                obstacle=bool(standing[world[k], agent[k]] or standing[world[k], other[k]]),
                meet=lanes_meet(self.engine.lanes, *self._lanes(world[k], agent[k], other[k])),
            )
            found.append(
                Incident(
                    step,
                    int(world[k]),
                    int(agent[k]),
                    CAUSES[cause[k]],
                    int(other[k]),
                    float(speed[k]),
                    float(pose[0][k]),
                    float(pose[1][k]),
                    kind,
                )
            )

    def _lanes(self, world: int, *agents: int) -> list[int]:
        """Returns the lanes that agents of a world are on."""
        segments = self.engine.agents.segment[world, list(agents)]
        found: list[int] = self.engine.lanes.segment_lane[np.maximum(segments, 0)].tolist()
        return found

    def _poses(self, world: Indices, agent: Indices, share: Floats) -> tuple[Floats, ...]:
        """Returns x, y of box centres, cos and sin of agents after a share of the step, [E]."""
        at = world, agent
        pose = along_way(self.engine.motion, at, share)
        return *box_centre(*pose, self.wheelbase[at]), *pose[2:]

    def _pair(
        self,
        world: Indices,
        agent: Indices,
        other: Indices,
        pose: tuple[Floats, ...],
        other_pose: tuple[Floats, ...],
    ) -> Pair:
        """Returns agents and those they touch as seen by the former."""
        x, y, cos, sin = pose
        east, north = other_pose[0] - x, other_pose[1] - y
        other_cos, other_sin = other_pose[2:]
        speed = self.engine.motion.speed
        return Pair(
            dx=east * cos + north * sin,
            dy=north * cos - east * sin,
            cos=other_cos * cos + other_sin * sin,
            sin=other_sin * cos - other_cos * sin,
            half_length=0.5 * self.length[world, agent],
            half_width=0.5 * self.width[world, agent],
            other_half_length=0.5 * self.length[world, other],
            other_half_width=0.5 * self.width[world, other],
            speed=speed[world, agent].astype(np.float64),
            other_speed=speed[world, other].astype(np.float64),
            beyond_lane=self.beyond_lane[world, agent],
            ran_light=self.ran_light[world, agent],
        )
