"""Who takes part in a scene: body, place, who drives it, and where to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from selfdrive_env.scenes.tracks import KINDS

__all__ = ["DRIVERS", "KINDS", "Agent", "Goal", "SceneError"]

DRIVERS = ("learner", "policy", "idm", "replay", "constant", "still", "idm_log", "waypoint")
"""Who drives an agent: whoever learns; a trained policy; IDM; its recorded track; nobody, at the
speed it has; nobody, where it stands; IDM on its recorded path; one who steers for where it was
recorded at each moment. In the order of files."""

ALWAYS = (-math.inf, math.inf)


class SceneError(ValueError):
    """A scene that cannot be; the message names the file or field, the value, what is allowed."""


@dataclass(frozen=True)
class Goal:
    """Where an agent wants to be, and how; all that is given has to hold at one moment."""

    x: float = 0.0
    """Middle of the place, east [m]."""

    y: float = 0.0
    """North [m]."""

    z: float = 0.0
    """[m]"""

    radius: float = 2.0
    """Of the place, infinite where it is no matter [m]."""

    outline: tuple[tuple[float, float], ...] = ()
    """Corners of the place where it is no disc, the last not the first again [m]."""

    lanes: tuple[str, ...] = ()
    """Names of lanes, one of which it has to be."""

    time: tuple[float, float] = ALWAYS
    """Earliest and latest, from the first moment of the scene [s]."""

    heading: tuple[float, float] = ALWAYS
    """From and to, counter-clockwise [rad]."""

    speed: tuple[float, float] = ALWAYS
    """Least and most [m/s]."""


@dataclass(frozen=True)
class Agent:
    """A road user at the present moment of a scene.

    One whose recorded track is not valid then comes later, or has left: its place is that of the
    next valid moment, or else of the last.
    """

    id: int
    """Unique within the scene."""

    x: float
    """Middle of the box, east [m]."""

    y: float
    """North [m]."""

    heading: float = 0.0
    """Counter-clockwise from +x [rad]."""

    speed: float = 0.0
    """Along the heading, negative in reverse [m/s]."""

    driver: str = "idm"
    """One of `DRIVERS`."""

    goals: tuple[Goal, ...] = ()
    """One after the other; none: as the map offers them."""

    route: tuple[str, ...] = ()
    """Names of lanes in the order they are driven; none: any way to the goals."""

    kind: str = "vehicle"
    """One of `KINDS`."""

    length: float = 4.5
    """Along the heading [m]."""

    width: float = 1.9
    """[m]"""

    height: float = 1.6
    """0 where it is not known [m]."""

    z: float = 0.0
    """Of the ground below [m]."""
