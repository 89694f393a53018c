"""Scenes-v0: every world is a scene, of which some agents learn and the others are driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_choice, check_integer
from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.infos import Infos, StepResult
from selfdrive_env.envs.scenes.loading import scenes_of
from selfdrive_env.envs.scenes.measures import WAYMAX, Measures, Values, split_rewards
from selfdrive_env.envs.scenes.situations import Situations
from selfdrive_env.envs.scenes.tables import LEARNERS, OTHERS, POLICY
from selfdrive_env.envs.spec import OwnLimit
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.scenes import Scene
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.params import SceneOrder
from selfdrive_env.state.rewards import REWARD_TERMS, WEIGHTS

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
        scene_order: "random" (any, with equal chances) or "sequence" (world i of W takes the
            scenes i, i + W, and so on).
        max_episode_steps: Ends scenes that are longer.
        metrics: Names of metrics by definition (`selfdrive_env.metrics.METRICS`) that infos tell of
            episodes as `episode_metrics`, and with `step_info` of steps as `metrics`.
        **settings: As for `DrivingVectorEnv`, without those that scenes decide. `reward` takes
            metrics by name as well, as "metric.offroad" where a term has the name; the preset
            "waymax" is overlap and off-road at 1.

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
        scene_order: str = "random",
        max_episode_steps: int | None = None,
        metrics: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        check_choice("learners", learners, LEARNERS)
        check_choice("scene_order", scene_order, tuple(ORDERS))
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
        who = {"learners": learners, "traffic": told, "driver": driver}
        situations = Situations(self.scenes, who, ORDERS[scene_order])
        weights, self._metrics_alone = _metric_weights(settings)
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
        self._name_rows(situations)
        self.measures: Measures | None = None
        if metrics or weights:
            self.measures = Measures(metrics, weights, self.engine, self.rows_per_world)

    def _name_rows(self, situations: Situations) -> None:
        """Keeps the names of scenes, and the agent of each row in each scene."""
        self._names = np.array([one.name or one.source for one in self.scenes], object)
        self._agents = np.full((len(self.scenes), self.rows_per_world), -1, np.int64)
        for number, scene in enumerate(self.scenes):
            order = situations.order_of(number)[: situations.learners_of(number)]
            self._agents[number, : len(order)] = [scene.agents[one].id for one in order]

    def _tell_rows(self, infos: Infos, scene: NDArray[np.int32]) -> None:
        """Adds scene and agent of each row.

        Args:
            infos: Gets them.
            scene: Of each world.
        """
        infos["scene"] = np.repeat(self._names[scene], self.rows_per_world)
        infos["agent"] = self._agents[scene].ravel()
        infos["_scene"] = infos["_agent"] = infos["agent"] >= 0

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[F32, Infos]:
        """See `DrivingVectorEnv.reset`; infos have `scene` and `agent` of each row."""
        observations, infos = super().reset(seed=seed, options=options)
        self._tell_rows(infos, self.engine.worlds.scene)
        if self.measures is not None:
            self.measures.begin(self._situations)
        return observations, infos

    def _take_actions(self, actions: Any) -> None:
        super()._take_actions(actions)
        self._driven = self.engine.worlds.scene.copy()

    def _results(self) -> StepResult:
        observations, reward, terminated, truncated, infos = super()._results()
        self._tell_rows(infos, self.engine.worlds.scene)
        finals = infos.get("final_info")
        if finals is not None:
            self._tell_rows(finals, self._driven)
        if self.measures is not None:
            step, final, paid = self.measures.step(
                self._situations, terminated | truncated, self.settings.step_info
            )
            if self.settings.step_info and self.measures.names:
                infos["metrics"], infos["_metrics"] = _told(step), infos["_scene"]
            if self._metrics_alone:  # the speed of an impact costs without a weight as well
                reward = np.zeros_like(reward)
                for name in REWARD_TERMS if "weighted_terms" in infos else ():
                    infos["weighted_terms"][name] = reward
            if "weighted_terms" in infos:
                for name, value in paid.items():
                    infos["weighted_terms"][f"metric.{name}"] = value
                    infos["weighted_terms"][f"_metric.{name}"] = infos["_weighted_terms"]
            done = terminated | truncated
            if self.measures.names and done.any():
                target = infos if finals is None else finals
                target["episode_metrics"], target["_episode_metrics"] = _told(final), done
            reward = reward + sum(paid.values(), np.zeros_like(reward))
        return observations, reward, terminated, truncated, infos

    def set_state(self, state: Mapping[str, Any]) -> F32:
        """See `DrivingVectorEnv.set_state`; metrics begin anew with it."""
        observations = super().set_state(state)
        if self.measures is not None:
            self.measures.resume(self._situations)
        return observations

    @property
    def scene_of_row(self) -> NDArray[np.int32]:
        """Index into `scenes` of the scene that each row is in, [num_envs]."""
        return np.repeat(self.engine.worlds.scene, self.rows_per_world)


def _told(values: Values) -> Infos:
    """Returns metrics as infos have them: each under its name, and its mask."""
    out: Infos = {name: value for name, (value, _) in values.items()}
    return out | {f"_{name}": valid for name, (_, valid) in values.items()}


def _metric_weights(settings: dict[str, Any]) -> tuple[dict[str, float], bool]:
    """Takes metrics out of the settings `reward` and `preset`.

    Returns:
        Their weights, and whether they are all that there is of the reward.
    """
    reward = settings.get("reward", {})
    if not isinstance(reward, Mapping):
        return {}, False  # refused with the other settings
    own, weights = split_rewards(settings.get("preset", ""), reward, WEIGHTS)
    plain = settings.get("preset") == WAYMAX
    if plain:
        settings["preset"] = "eval"
        settings["reward"] = dict.fromkeys(REWARD_TERMS, 0.0) | own
    elif weights:
        settings["reward"] = own
    return weights, plain and not own


def _ended(scene: Scene, steps: int) -> Scene:
    """Returns a scene of at most so many moments."""
    return scene if scene.steps <= steps else scene.shortened(steps)
