"""How a policy drives: the gap it keeps, how it takes bends, its pace.

These are the figures that tell whether behaviour follows the reward weights an agent is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.evaluation.incidents import CAUSES
from selfdrive_env.state.places import box_centre
from selfdrive_env.state.road import LEVEL_HEIGHT
from selfdrive_env.state.world import ABSENT

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = ["ROWS", "Behaviour", "Sums"]

EVERY = 0.5
"""Time between two looks at the gaps [s]."""

FOLLOWING_SPEED, FOLLOWING_REACH = 3.0, 40.0
"""An agent follows another from this speed on [m/s], at up to this gap [m]."""

ALIGNED_COS = 0.9
BEND = 0.5
"""Lateral acceleration counts where it is at least this [m/s^2]."""

ROWS = {
    "gap": "gap to the vehicle ahead, mean [m]",
    "headway": "the same over the own speed, mean [s]",
    "lateral_acceleration": "lateral acceleration in bends, mean [m/s^2]",
    "lateral_acceleration_95": "95 % of it lies below [m/s^2]",
    "speed": "mean speed [m/s]",
    "red_lights_per_km": "red lights run [1/km]",
}
"""Figure -> meaning."""

HISTOGRAM = np.linspace(0.0, 5.0, 201)


class Sums:
    """What behaviour is told from; those of several evaluations can be added."""

    def __init__(self) -> None:
        self.gaps = np.zeros(3)
        self.speeds = np.zeros(2)
        self.lateral = np.zeros(2)
        self.histogram = np.zeros(len(HISTOGRAM) - 1)

    def __add__(self, other: Sums) -> Sums:
        both = Sums()
        for name, own in vars(self).items():
            setattr(both, name, own + getattr(other, name))
        return both

    def figures(self, km: float, counts: NDArray[np.int64]) -> dict[str, float | None]:
        """Returns the figures of `ROWS`; None where there was nothing to look at.

        Args:
            km: Driven.
            counts: Incidents by world and cause, [W, causes].
        """
        below = np.cumsum(self.histogram)
        high = None
        if below[-1] > 0:
            high = float(HISTOGRAM[1:][np.searchsorted(below, 0.95 * below[-1])])
        reds = int(counts[:, CAUSES.index("red_light")].sum())
        return {
            "gap": _mean(self.gaps[0], self.gaps[2]),
            "headway": _mean(self.gaps[1], self.gaps[2]),
            "lateral_acceleration": _mean(*self.lateral),
            "lateral_acceleration_95": high,
            "speed": _mean(*self.speeds),
            "red_lights_per_km": _mean(reds, km),
        }


class Behaviour:
    """Looks at an evaluation: called after each step."""

    def __init__(self, engine: Engine) -> None:
        """Starts from nothing."""
        self.engine = engine
        self.every = max(1, round(EVERY / float(engine.params.dt)))
        self.sums = Sums()

    def after_step(self, step: int, free: NDArray[np.bool_]) -> None:
        """Looks at chosen agents.

        Args:
            step: Number of the step.
            free: Agents outside incidents, [W, A].
        """
        if step % self.every:
            return
        agents = self.engine.agents
        free = free & (agents.status != ABSENT)
        speed = agents.speed[free]
        sums = self.sums
        sums.speeds += speed.sum(), len(speed)
        lateral = np.abs(agents.lateral_acceleration[free])
        lateral = lateral[lateral >= BEND]
        sums.lateral += lateral.sum(), len(lateral)
        sums.histogram += np.histogram(np.minimum(lateral, HISTOGRAM[-1]), HISTOGRAM)[0]
        for world in range(len(free)):
            gap = gaps_ahead(self.engine, world)
            follows = free[world] & np.isfinite(gap) & (agents.speed[world] > FOLLOWING_SPEED)
            headway = gap[follows] / agents.speed[world, follows]
            sums.gaps += gap[follows].sum(), headway.sum(), len(headway)


def _mean(total: float, count: float) -> float | None:
    return float(total) / float(count) if count > 0 else None


def gaps_ahead(engine: Engine, world: int) -> NDArray[np.float64]:
    """Returns the gap from each front to the next rear straight ahead, infinite without one [m].

    Counted are bodies with headings within 26 degrees that overlap the agent sideways.

    Args:
        engine: The worlds.
        world: Which of them.
    """
    agents, bodies = engine.agents, engine.bodies
    cos, sin = agents.cos[world].astype(np.float64), agents.sin[world].astype(np.float64)
    x, y = box_centre(agents.x[world], agents.y[world], cos, sin, bodies.wheelbase[world])
    east, north = x[None] - x[:, None], y[None] - y[:, None]
    along = east * cos[:, None] + north * sin[:, None]
    across = np.abs(north * cos[:, None] - east * sin[:, None])
    half_length, half_width = 0.5 * bodies.length[world], 0.5 * bodies.width[world]
    gap = along - half_length[:, None] - half_length[None]
    ahead = (along > 0.0) & (across < half_width[:, None] + half_width[None])
    ahead &= cos[:, None] * cos[None] + sin[:, None] * sin[None] > ALIGNED_COS
    ahead &= np.abs(agents.z[world][:, None] - agents.z[world][None]) < LEVEL_HEIGHT
    ahead &= (gap >= 0.0) & (gap <= FOLLOWING_REACH) & (agents.status[world] != ABSENT)[None]
    np.fill_diagonal(ahead, False)
    return np.where(ahead, gap, np.inf).min(1)
