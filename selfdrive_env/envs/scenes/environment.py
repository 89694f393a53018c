"""Scenes-v0: every world is a scene, of which some agents learn and the others are driven."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_choice, check_integer
from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.scenes.loading import scenes_of
from selfdrive_env.envs.scenes.situations import Situations
from selfdrive_env.envs.scenes.tables import LEARNERS, OTHERS, POLICY, TAKEOVERS
from selfdrive_env.envs.spec import OwnLimit
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.scenes import Scene
from selfdrive_env.state.params import SceneOrder

__all__ = ["ORDERS", "ScenesVectorEnv"]

ORDERS = {one.name.lower(): one for one in SceneOrder if one is not SceneOrder.NONE}
"""Setting `scene_order`: any scene with equal chances, or one after the other."""

GIVEN = (
    *("map", "map_variants", "agents_per_world", "dt", "horizon", "stagger"),
    "standing_share",
)
"""Settings that a scene decides."""


class ScenesVectorEnv(DrivingVectorEnv):
    """Worlds that are drawn from scenes; rows are the agents of a scene that learn.

    An episode begins at the present moment of the scene and ends with its last one, or when nobody
    is left who learns: agents whose episode ends go out of the world, and reaching the last goal
    ends one at any speed. Rows of scenes that have fewer learners than others are not `valid`.

    Args:
        num_envs: Rows, a multiple of those of a world.
        scene: A `Scene`, a file, a folder, a pattern, a list of these; None: built-in ones.
        learners: Which agents are rows, one of `tables.LEARNERS`.
        traffic: Who drives the others: None as the scene says, one of `tables.OTHERS` ("replay"
            leaves those without a record to the scene), or a policy: "selfplay", the folder of a
            run or a policy file, for `learners="ego"`. Who comes later comes as it was recorded,
            and so do pedestrians where a policy drives.
        driver: Of the rows: "external", which takes the caller's actions, or one of `OTHERS`, which
            ignores them.
        takeover: "apart": of the others, who overlaps another body at first is replayed if it was
            recorded, and scripts drive only those apart; "all": scripts drive all.
        scene_order: "random" (any, with equal chances) or "sequence" (world i of W takes the
            scenes i, i + W, and so on).
        max_episode_steps: Ends scenes that are longer.
        **settings: As for `DrivingVectorEnv`, without those that scenes decide.

    Raises:
        SceneError: A scene has no map, nobody to learn, or does not fit its map.
        ValueError: For a value out of range, named with what is allowed.
        TypeError: For a setting that scenes decide.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        scene: Any = None,
        learners: str = "ego",
        traffic: str | None = None,
        driver: str = "external",
        takeover: str = "apart",
        scene_order: str = "random",
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        check_choice("learners", learners, LEARNERS)
        check_choice("scene_order", scene_order, tuple(ORDERS))
        check_choice("takeover", takeover, TAKEOVERS)
        co_drivers, told = None, traffic
        if traffic is not None and traffic not in OTHERS:
            co_drivers, told = CoDrivers(traffic), POLICY
            settings.setdefault("layout", dict(vars(co_drivers.layout)))
            settings.setdefault("traffic", traffic)
            if learners != "ego":
                raise ValueError(f"traffic={traffic!r} needs learners='ego', got {learners!r}")
        check_choice("driver", driver, ("external", *OTHERS))
        for name in GIVEN:
            if name in settings:
                raise TypeError(f"{name} is decided by the scenes of Scenes-v0: leave it out")
        self.scenes = scenes_of(scene)
        if max_episode_steps is not None and not isinstance(max_episode_steps, OwnLimit):
            most = check_integer("max_episode_steps", max_episode_steps, 1, 1_000_000) + 1
            self.scenes = [_ended(one, one.current + most) for one in self.scenes]
        who = {"learners": learners, "traffic": told, "driver": driver, "takeover": takeover}
        situations = Situations(self.scenes, who, ORDERS[scene_order])
        steps = [one.dt for one in self.scenes]
        moments = [max(one.steps - one.current - 1, 1) * one.dt for one in self.scenes]
        settings.setdefault("on_goal", "terminate")
        super().__init__(
            num_envs,
            learners="one" if situations.rows_per_world == 1 else "all",
            map=list(situations.maps),
            agents_per_world=max(len(one.agents) for one in self.scenes),
            dt=min(steps) if min(steps) == max(steps) else (min(steps), max(steps)),
            horizon=max(moments),
            stagger=False,
            co_drivers=co_drivers,
            scenes=situations,
            **settings,
        )

    @property
    def scene_of_row(self) -> NDArray[np.int32]:
        """Index into `scenes` of the scene that each row is in, [num_envs]."""
        return np.repeat(self.engine.worlds.scene, self.rows_per_world)


def _ended(scene: Scene, steps: int) -> Scene:
    """Returns a scene of at most so many moments."""
    return scene if scene.steps <= steps else scene.shortened(steps)
