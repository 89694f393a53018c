"""From keys to actions: what pedals and steering wheel ask for, as jerks that the body can follow.

The keys ask for an acceleration and a lateral acceleration; the jerk is the one that comes nearest
to them in one step, of the list (discrete actions) or of the range (continuous ones).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.settings import Settings

__all__ = ["Body", "Hands", "Pressed"]

THROTTLE = 2.5
BRAKE = -4.0
COASTING = -0.5
BACKING = -1.0
"""Accelerations that the keys ask for [m/s^2]."""

STANDING = 0.3
"""Below this speed a body without a key is held [m/s]."""

LATERAL = 3.0
"""Of a turned wheel at speed [m/s^2]."""

CRAWLING = 0.45
"""Of a turned wheel at least, so that it turns a body that hardly moves, too [m/s^2]."""

MAX_CURVATURE = math.tan(0.55)
"""Of the sharpest turn, times the wheelbase."""

TURNING = 2.5
RETURNING = 4.0
"""How fast the wheel goes to a side and back: full turns a second."""


class Pressed(NamedTuple):
    """Keys that are held."""

    throttle: bool = False
    brake: bool = False
    left: bool = False
    right: bool = False


class Body(NamedTuple):
    """What the hands need to know of the body they drive."""

    speed: float
    """[m/s]"""

    acceleration: float
    lateral: float
    """[m/s^2]"""

    wheelbase: float
    """[m]"""

    jerk_scale: float = 1.0
    lateral_jerk_scale: float = 1.0
    acceleration_scale: float = 1.0
    """C_throttle, C_steer, C_acc."""


class Hands:
    """Pedals and a steering wheel that follow the keys.

    Args:
        settings: Of the environment.
    """

    def __init__(self, settings: Settings) -> None:
        self._dt = settings.one_dt("play")
        self._discrete = settings.action_type == "discrete"
        self._long, self._lat = np.array(settings.jerk_long), np.array(settings.jerk_lat)
        self.reset()

    def reset(self) -> None:
        """Straightens the wheel and leaves the reverse gear."""
        self.wheel = 0.0
        """From -1, full right, to 1, full left."""

        self.reversing = False
        self._braked = False

    def action(self, keys: Pressed, body: Body) -> NDArray[np.generic]:
        """Returns the action of one step: a number of a pair of jerks, or two from -1 to 1.

        Args:
            keys: That are held.
            body: What they drive.
        """
        self._turn(keys)
        wanted = self._pedals(keys, body)
        square = body.speed * body.speed
        most = max(min(LATERAL, square * MAX_CURVATURE / body.wheelbase), CRAWLING)
        lateral = (self.wheel * most - body.lateral) / (body.lateral_jerk_scale * self._dt)
        if wanted is None:
            jerk = float(self._long.min())  # holds what stands
        else:
            jerk = (wanted - body.acceleration) / (body.jerk_scale * self._dt)
        if self._discrete:
            long = int(np.abs(self._long - jerk).argmin())
            if self.reversing and wanted is not None:  # the hardest braking would hold
                long = self._softest(long)
            lat = int(np.abs(self._lat - lateral).argmin())
            return np.asarray(long * len(self._lat) + lat, np.int64)
        if self.reversing and wanted is not None:
            jerk = max(jerk, 0.25 * float(self._long.min()))
        pair = _scaled(jerk, self._long), _scaled(lateral, self._lat)
        return np.array(pair, np.float32)

    def _turn(self, keys: Pressed) -> None:
        """Moves the wheel towards the side of the key, or back."""
        goal = float(keys.left) - float(keys.right)
        rate = (TURNING if goal * self.wheel > 0.0 or self.wheel == 0.0 else RETURNING) * self._dt
        self.wheel += min(max(goal - self.wheel, -rate), rate)

    def _pedals(self, keys: Pressed, body: Body) -> float | None:
        """Returns the acceleration asked for, None to stand. A brake pressed again backs up."""
        again = keys.brake and not self._braked
        self._braked = keys.brake
        if keys.brake:
            if again and abs(body.speed) < STANDING:
                self.reversing = True
            if self.reversing:
                return BACKING
            return BRAKE if body.speed > 0.0 else None
        if keys.throttle:
            self.reversing = False
            return THROTTLE * body.acceleration_scale
        return COASTING if body.speed > STANDING else None

    def _softest(self, long: int) -> int:
        """Returns the nearest jerk to number `long` that is not the hardest braking."""
        hardest = int(self._long.argmin())
        others = np.where(np.arange(len(self._long)) == hardest, np.inf, self._long)
        return int(others.argmin()) if long == hardest else long


def _scaled(jerk: float, jerks: NDArray[np.float64]) -> float:
    """Returns a jerk as a share, from -1 to 1, of the largest of its sign."""
    largest = float(jerks.max() if jerk >= 0.0 else -jerks.min())
    return min(max(jerk / largest, -1.0), 1.0) if largest > 0.0 else 0.0
