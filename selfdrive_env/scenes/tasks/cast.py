"""Who takes part in a scene that is being made: placed one by one, bodies drawn by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.scenes.agents import Agent, Goal
from selfdrive_env.scenes.tasks.roads import Place, pose

__all__ = ["Cast"]

SPEED_SPREAD = 0.1
"""Speeds are drawn from so large a share around those that are asked for."""

FIRST_ROOM = 4.0
"""A stream ends where a lane has less than this behind it [m]."""


@dataclass
class Cast:
    """The agents of a scene, the ego first."""

    seed: int
    agents: list[Agent] = field(default_factory=list)
    road: str = ""
    """One of `roads.LAYOUTS`."""

    def __post_init__(self) -> None:
        # Bodies have numbers of their own: where agents are does not depend on how long others are.
        self.random: Generator = np.random.default_rng(self.seed)
        self.bodies: Generator = np.random.default_rng([self.seed, 1])

    def on(self, road: str) -> str:
        """Chooses the road, whose name it returns."""
        self.road = road
        return road

    def draw(self, low: float, high: float) -> float:
        """Returns a number of a range."""
        return float(self.random.uniform(low, high))

    def add(
        self,
        place: Place,
        goals: Sequence[Place],
        *,
        speed: float,
        driver: str = "idm",
        aside: float = 0.0,
        turned: float = 0.0,
        body: str = "car",
    ) -> None:
        """Adds an agent; the first one is the ego, which learns.

        Args:
            place: Of the middle of its box.
            goals: One after the other.
            speed: About which its own is drawn, 0 stands [m/s].
            driver: One of `DRIVERS`, of the ego it is the learner.
            aside: To the left of the lane's centre [m].
            turned: Heading relative to the lane's [rad].
            body: Row of `BODY_TYPES` whose range its size is drawn from.
        """
        x, y, z, heading = pose(place, aside)
        _, shortest, longest, narrowest, widest, *_ = BODY_TYPES[body]
        pace, length, width = self.bodies.random(3).tolist()
        targets = [pose(goal) for goal in goals]
        self.agents.append(
            Agent(
                id=len(self.agents),
                x=x,
                y=y,
                z=z,
                heading=heading + turned,
                speed=speed * (1.0 + SPEED_SPREAD * (2.0 * pace - 1.0)),
                driver=driver if self.agents else "learner",
                goals=tuple(Goal(gx, gy, gz) for gx, gy, gz, _ in targets),
                length=shortest + length * (longest - shortest),
                width=narrowest + width * (widest - narrowest),
            )
        )

    def stream(self, last: Place, goal: Place, *, speed: float, gaps: NDArray[np.float64]) -> None:
        """Adds vehicles one behind the other on a lane, as far as it reaches.

        Args:
            last: The first of them is `gaps[0]` behind it.
            goal: Of all of them.
            speed: As in `add` [m/s].
            gaps: From middle to middle [m].
        """
        place = last
        for gap in gaps.tolist():
            place = place.ahead(-gap)
            if place.s < FIRST_ROOM:
                return
            self.add(place, [goal], speed=speed)
