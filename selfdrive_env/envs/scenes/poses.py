"""Where the bodies of all worlds are, as metrics and recordings take it: middles of their boxes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.experts import WHEELBASE_SHARE
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.places import along_way, box_centre
from selfdrive_env.state.world import ABSENT, REPLAY

__all__ = ["Poses", "last_poses", "nowhere", "poses_of"]

CONSTANT_ACCELERATION = ("jerk", "bicycle", "classic")
"""Models of dynamics under which the mean speed of a step is the mean of its ends."""


class Poses(NamedTuple):
    """The agents of all worlds at one moment, each [world, agent]."""

    x: F64
    """Middle of the box, east [m]."""

    y: F64
    z: F64
    heading: F64
    """[rad]"""

    vx: F64
    """[m/s]"""

    vy: F64
    there: NDArray[np.bool_]

    def at(self, place: Any) -> Poses:
        """Returns a part of each array, as a copy.

        Args:
            place: Index.
        """
        x, y, z, heading, vx, vy = (one[place].copy() for one in self[:6])
        return Poses(x, y, z, heading, vx, vy, self.there[place].copy())


def nowhere(shape: tuple[int, ...]) -> Poses:
    """Returns poses of bodies that are not there.

    Args:
        shape: Of each array.
    """
    x, y, z, heading, vx, vy = (np.zeros(shape) for _ in range(6))
    return Poses(x, y, z, heading, vx, vy, np.zeros(shape, np.bool_))


def poses_of(engine: Any) -> Poses:
    """Returns where everybody is now; of who is not there, where it was last.

    Args:
        engine: On the CPU or a device.
    """
    agents = engine.agents
    cos, sin = agents.cos.astype(np.float64), agents.sin.astype(np.float64)
    x, y = _centre(agents.x, agents.y, cos, sin, engine.bodies.wheelbase)
    speed = agents.speed
    there = agents.status != ABSENT
    return Poses(
        x, y, agents.z.astype(np.float64), np.arctan2(sin, cos), speed * cos, speed * sin, there
    )


def last_poses(engine: Any, world: int, scene: int, moment: int, before: Poses) -> Poses:
    """Returns where the agents of one world were when it was drawn anew at the end of a step.

    Args:
        engine: On the CPU or a device.
        world: Which.
        scene: Place in `Scenes` of the scene that ended.
        moment: Of that scene.
        before: Poses of the world at the moment before, each [agent].

    Returns:
        Each [agent]; who drove is where its step led, who was replayed where the record has it.
    """
    motion, scenes = engine.motion, engine.scenes
    moment = min(moment, scenes.there.shape[2] - 1)
    x, y, cos, sin = along_way(motion, world)
    x, y = _centre(x, y, cos, sin, WHEELBASE_SHARE * scenes.length[scene])
    speed = motion.travel[world].astype(np.float64) / float(scenes.dt[scene])
    if engine.settings.dynamics in CONSTANT_ACCELERATION:
        speed = 2.0 * speed - motion.speed[world]
    found = Poses(x, y, before.z.copy(), np.arctan2(sin, cos), speed * cos, speed * sin,
        before.there.copy())  # fmt: skip
    replayed = np.flatnonzero(scenes.driver[scene] == REPLAY)
    cos, sin = (getattr(scenes, name)[scene, replayed, moment] for name in ("cos", "sin"))
    speed = scenes.speed[scene, replayed, moment]
    values = (
        scenes.x[scene, replayed, moment],
        scenes.y[scene, replayed, moment],
        before.z[replayed],
        np.arctan2(sin, cos),
        speed * cos,
        speed * sin,
        scenes.there[scene, replayed, moment] != 0,
    )
    for array, value in zip(found, values, strict=True):
        array[replayed] = value
    return found


def _centre(x: Any, y: Any, cos: F64, sin: F64, wheelbase: Any) -> tuple[F64, F64]:
    out_x, out_y = box_centre(x.astype(np.float64), y, cos, sin, wheelbase.astype(np.float64))
    return out_x, out_y
