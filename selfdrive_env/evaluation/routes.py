"""Routes as they are driven: how much of each, how long, with which infractions.

A route is what the environment draws: one to four goals. It ends when its last goal is reached,
when the agent has lost its way, when the agent is towed, or when its time is up. Those that are
still driven when the evaluation ends do not count.

The score of a route is that of the CARLA Autonomous Driving Leaderboard 1.0
(leaderboard.carla.org, "Evaluation and metrics"): R * P, in which R is the share of the route
driven on the road, and P the product of a coefficient for each infraction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.maps.compile.routes import lane_graph_distance
from selfdrive_env.state.world import (
    ABSENT,
    CONTACT_OFFROAD,
    EVENT_GOAL,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    STANDING,
)

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = ["COEFFICIENTS", "RouteLog"]

COEFFICIENTS = {"pedestrian": 0.50, "vehicle": 0.60, "red_light": 0.70, "stop_sign": 0.80}
"""By which each infraction multiplies the score of a route; collisions by what is hit."""

SPARE_TIME, SLOWEST = 120.0, 2.0
"""A route may take `SPARE_TIME` [s] plus its length over `SLOWEST` [m/s]."""

PEDESTRIAN = list(BODY_TYPES).index("pedestrian")

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class RouteLog:
    """Follows the routes of all agents: called after each step."""

    def __init__(self, engine: Engine) -> None:
        """Starts with the routes after a reset."""
        self.engine = engine
        self.dt = float(engine.params.dt)
        shape = engine.agents.x.shape
        names = ("total", "done", "leg", "time", "distance", "offroad", "leg_time", "leg_free")
        for name in names:
            setattr(self, name, np.zeros(shape))
        self.penalty = np.ones(shape)
        self.lane, self.s = engine.bodies.goal_lane.copy(), engine.bodies.goal_s.copy()
        self.ended: list[tuple[int, float, float, bool]] = []
        """World, share driven, score from 0 to 1, and whether it was completed, of each route."""

        self.goals = np.zeros(shape[0], np.int64)
        """Goals reached, [W]."""

        self.goal_time = np.zeros(shape[0])
        self.goal_free_time = np.zeros(shape[0])
        """Time to the goals reached, and the same at the speed limits, [W] [s]."""

        self._begin(np.ones(shape, np.bool_))

    total: Floats
    done: Floats
    leg: Floats
    time: Floats
    distance: Floats
    offroad: Floats
    leg_time: Floats
    leg_free: Floats

    def _begin(self, which: Bools) -> None:
        """Starts the routes that chosen agents have now."""
        agents, bodies = self.engine.agents, self.engine.bodies
        for world, agent in zip(*(index.tolist() for index in which.nonzero()), strict=True):
            at = world, agent
            length = float(agents.goal_distance[at])
            for goal in range(int(bodies.num_goals[at]) - 1):
                here, there = (
                    (int(bodies.goal_lane[world, agent, k]), float(bodies.goal_s[world, agent, k]))
                    for k in (goal, goal + 1)
                )
                length += lane_graph_distance(self.engine.lanes, self.engine.routes, here, there)
            self.total[at] = max(length, 1.0)
        for values in (self.done, self.time, self.distance, self.offroad):
            values[which] = 0.0
        self.penalty[which] = 1.0
        self.leg[which] = agents.goal_distance[which]
        self.leg_time[which] = self.leg_free[which] = 0.0
        self.lane[which] = bodies.goal_lane[which]
        self.s[which] = bodies.goal_s[which]

    def collided(self, world: int, agent: int, other: int) -> None:
        """Counts a collision against the route of an agent."""
        on_foot = other >= 0 and self.engine.bodies.type[world, other] == PEDESTRIAN
        self.penalty[world, agent] *= COEFFICIENTS["pedestrian" if on_foot else "vehicle"]

    def after_step(self, remaining: Floats) -> Bools:
        """Adds one step.

        Args:
            remaining: Distance to the next goal before the step, [W, A] [m].

        Returns:
            Whose time is up, [W, A].
        """
        engine = self.engine
        agents, event = engine.agents, engine.output.event
        present = (agents.status != ABSENT) & (agents.status != STANDING)
        placed = agents.age == 0
        travel = np.where(present, np.abs(engine.motion.travel), 0.0)
        segment = np.maximum(agents.segment, 0)
        limit = engine.lanes.speed_limit[engine.lanes.segment_lane[segment]]
        drives = np.where(present & ~placed, self.dt, 0.0)
        self.time += drives
        self.leg_time += drives
        self.leg_free += travel / np.maximum(limit, 1.0)
        self.distance += travel
        off = ((agents.contact & CONTACT_OFFROAD) != 0) | ((event & EVENT_OFFROAD) != 0)
        self.offroad += np.where(off, travel, 0.0)
        self.penalty[(event & EVENT_RED_LIGHT) != 0] *= COEFFICIENTS["red_light"]
        self.penalty[(event & EVENT_STOP_SIGN) != 0] *= COEFFICIENTS["stop_sign"]

        reached = (event & EVENT_GOAL) != 0
        if reached.any():
            self.goals += reached.sum(1)
            self.goal_time += np.where(reached, self.leg_time, 0.0).sum(1)
            self.goal_free_time += np.where(reached, self.leg_free, 0.0).sum(1)
        fresh = placed | (self.lane != engine.bodies.goal_lane).any(2)
        fresh |= (self.s != engine.bodies.goal_s).any(2)
        completed = reached & (fresh | (agents.goal == 0))
        fresh |= completed
        onwards = reached & ~fresh
        if onwards.any():
            self.done[onwards] += self.leg[onwards]
            self.leg[onwards] = agents.goal_distance[onwards]
            self.leg_time[onwards] = self.leg_free[onwards] = 0.0
        if fresh.any():
            self.close(fresh, completed, remaining)
        return present & (self.time > SPARE_TIME + self.total / SLOWEST)

    def close(self, which: Bools, completed: Bools, remaining: Floats) -> None:
        """Ends the routes of chosen agents and begins those that they have now.

        Args:
            which: The agents, [W, A].
            completed: Which of them reached their last goal, [W, A].
            remaining: Distance to the next goal at the end, [W, A] [m].
        """
        driven = self.done + np.clip(self.leg - remaining, 0.0, self.leg)
        share = np.where(completed, 1.0, np.clip(driven / self.total, 0.0, 1.0))
        on_road = 1.0 - self.offroad / np.maximum(self.distance, 1.0e-6)
        counts = which & (self.time > 0.0)
        for world, agent in zip(*(index.tolist() for index in counts.nonzero()), strict=True):
            at = world, agent
            score = float(share[at] * on_road[at] * self.penalty[at])
            self.ended.append((world, float(share[at]), score, bool(completed[at])))
        self._begin(which)
