"""Scenes-v0: every world is a scene, of which some agents learn and the others are driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_choice, check_integer, check_seeds
from selfdrive_env.config.layouts import ObservationLayout, make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.states import hand_over
from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.infos import Infos, StepResult
from selfdrive_env.envs.scenes.loading import Stream, entries, parts_of
from selfdrive_env.envs.scenes.measures import WAYMAX, Measures, Values, split_rewards
from selfdrive_env.envs.scenes.situations import Prepared, Situations
from selfdrive_env.envs.scenes.tables import LEARNERS, OTHERS, POLICY, TAKEOVERS
from selfdrive_env.envs.spec import OwnLimit
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.scenes import Scene, SceneError
from selfdrive_env.scenes.readers import load
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.params import SceneOrder
from selfdrive_env.state.rewards import REWARD_TERMS, WEIGHTS

__all__ = ["ORDERS", "ScenesVectorEnv"]

ORDERS = {one.name.lower(): one for one in SceneOrder if one is not SceneOrder.NONE}
"""Setting `scene_order`: any scene with equal chances, or one after the other."""

STREAMED_AGENTS = 128
"""Room for agents in scenes that are streamed: what the Waymo Open Motion Dataset has."""

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
        window: Scenes that are kept in memory: more of them in files are streamed, so many at a
            time.
        scene_agents: Agents that a world has room for, with `learners` other than "ego" also its
            rows; None for those of the largest scene, 128 where scenes are streamed.
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
        takeover: str = "apart",
        scene_order: str = "random",
        max_episode_steps: int | None = None,
        metrics: Sequence[str] = (),
        window: int = 256,
        scene_agents: int | None = None,
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
        check_integer("window", window, 1, 1_000_000)
        if scene_agents is not None:
            check_integer("scene_agents", scene_agents, 1, 10_000)
        steps = None
        if max_episode_steps is not None and not isinstance(max_episode_steps, OwnLimit):
            steps = check_integer("max_episode_steps", max_episode_steps, 1, 1_000_000) + 1
        order, layout = ORDERS[scene_order], make_layout(settings.get("layout", Settings.layout))
        self._who = {
            "learners": learners, "traffic": told, "driver": driver, "takeover": takeover,
        }  # fmt: skip
        self._stream, scenes = _opened(
            scene, window, layout, steps, shuffled=order is SceneOrder.RANDOM
        )
        if self._stream is not None and scene_agents is None:
            scene_agents = STREAMED_AGENTS
        if self._stream is not None and settings.get("record"):
            raise ValueError(
                f"record=True keeps episodes of scenes that are in memory: window={window} is less "
                f"than the {len(self._stream.found)} scenes that are named"
            )
        situations = Situations(scenes, self._who, order, layout, slots=scene_agents)
        self.scenes = situations.scenes
        weights, self._metrics_alone = _metric_weights(settings)
        lengths = [one.dt for one in self.scenes]
        moments = [max(one.steps - one.current - 1, 1) * one.dt for one in self.scenes]
        if self._stream is not None and steps is not None:
            moments.append((steps - 1) * max(lengths))
        settings.setdefault("on_goal", "terminate")
        super().__init__(
            num_envs,
            learners="one" if situations.rows_per_world == 1 else "all",
            map=list(situations.maps),
            agents_per_world=situations.most,
            dt=lengths[0] if min(lengths) == max(lengths) else (min(lengths), max(lengths)),
            horizon=max(moments),
            stagger=False,
            co_drivers=co_drivers,
            scenes=situations,
            **settings,
        )
        self._name_rows(situations)
        self._draws, self._begun = 0, self._stream is None
        self.measures: Measures | None = None
        if metrics or weights:
            self.measures = Measures(metrics, weights, self.backend, self.rows_per_world)

    def _name_rows(self, situations: Situations) -> None:
        """Keeps the names of scenes, and the agent of each row in each scene."""
        self._names = np.array([one.name or one.source for one in self.scenes], object)
        agents = np.full((len(self.scenes), self.rows_per_world), -1, np.int64)
        for number, scene in enumerate(self.scenes):
            order = situations.order_of(number)[: situations.learners_of(number)]
            agents[number, : len(order)] = [scene.agents[one].id for one in order]
        self._agents = self.backend.outward(agents)

    def _tell_rows(self, infos: Infos, scene: Any) -> None:
        """Adds scene and agent of each row; tensors hold no names, but places in `scenes`.

        Args:
            infos: Gets them.
            scene: Of each world, as `NumpyBackend.scenes` gives it.
        """
        if self.settings.output == "torch":
            infos["scene"] = scene[:, None].expand(-1, self.rows_per_world).reshape(-1)
        else:
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
        if self._stream is not None:
            self._open_window(seed)
        observations, infos = super().reset(seed=seed, options=options)
        self._count_draws()
        self._tell_rows(infos, self.backend.scenes())
        if self.measures is not None:
            self.measures.begin(self._situations)
        return observations, infos

    def _count_draws(self) -> None:
        """Counts how often worlds were drawn from the window of a stream."""
        if self._stream is not None:
            self._draws += int(np.count_nonzero(self.engine.worlds.clock == 0))

    def _open_window(self, seed: int | Sequence[int] | None) -> None:
        """Begins the stream anew with a seed, or goes on to the next window when it is due."""
        assert self._stream is not None
        if seed is not None or not self._begun:
            seeds = 0 if seed is None else check_seeds(seed, self.num_worlds, self.num_envs)
            first = seeds if isinstance(seeds, int) else seeds[0]
            if self._begun or first:
                self._change_window(self._stream.begin(first), anew=True)
            self._begun = True
        elif self._draws >= self._stream.window:
            self._change_window(self._stream.take())

    def _change_window(self, window: Sequence[Prepared], *, anew: bool = False) -> None:
        """Goes on with other scenes; worlds drive theirs to the end before, unless all begin anew.

        Raises:
            SceneError: A scene has other step lengths or more moments than the first ones.
        """
        backend, engine, before = self.backend, self.engine, self._situations
        for one in window:
            self._check_fit(one.scene)
        running = [] if anew else np.unique(engine.worlds.scene).tolist()
        kept = [before.ready[number] for number in running]
        now = Situations(
            [*window, *kept], self._who, before.order, self.layout,
            slots=before.most, left_over=len(kept), before=before,
        )  # fmt: skip
        self._situations, self.scenes = now, now.scenes
        self.backend = self._start(type(backend))
        self.engine = self.backend.engine
        backend.close()
        scenes = {number: len(window) + i for i, number in enumerate(running)}
        if kept:
            maps = {before.map_of[n]: now.map_of[len(window) + i] for i, n in enumerate(running)}
            hand_over(engine, self.engine, maps, scenes)
        if self.measures is not None:
            self.measures.move(self.backend, scenes)
        self._name_rows(now)
        self._draws, self._painter = 0, None

    def _check_fit(self, scene: Scene) -> None:
        """Refuses a scene that is too long for what the stream began with, or has another step."""
        low, high = self.settings.dt_range
        moments = max(scene.steps - scene.current - 1, 1)
        name = scene.name or scene.source
        if not low - 1e-9 <= scene.dt <= high + 1e-9:
            raise SceneError(
                f"scene {name!r} has steps of {scene.dt} s, the stream {low} to {high}"
            )
        if moments > self.settings.steps:
            raise SceneError(
                f"scene {name!r} has {moments} steps, the stream began with {self.settings.steps}: "
                "give max_episode_steps"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Refuses a stream that runs: what it has read is no part of a state."""
        if self._stream is not None and self._ready:
            raise TypeError("an environment that streams scenes is copied before its first reset")
        return super().__getstate__()

    def close_extras(self, **kwargs: Any) -> None:
        """Ends what runs in the background."""
        if self._stream is not None:
            self._stream.close()
        super().close_extras(**kwargs)

    def step(self, actions: Any) -> StepResult:
        """See `DrivingVectorEnv.step`; infos have `scene`, `agent` and metrics as well."""
        self._go_on()
        return self._told_of_scenes(super().step(actions))

    def step_async(self, actions: Any) -> None:
        """See `DrivingVectorEnv.step_async`."""
        self._go_on()
        super().step_async(actions)

    def step_wait(self) -> StepResult:
        """See `DrivingVectorEnv.step_wait`; infos are those of `step`."""
        return self._told_of_scenes(super().step_wait())

    def _go_on(self) -> None:
        """Changes the window of a stream before a step where it is due; notes who drives what."""
        free = self._ready and not self.closed and not self.backend.running
        if self._stream is not None and free and self._draws >= self._stream.window:
            self._change_window(self._stream.take())
        self._driven = self.backend.scenes()

    def _told_of_scenes(self, result: StepResult) -> StepResult:
        """Adds to what a step gives what belongs to scenes: names, metrics, their rewards."""
        self._count_draws()
        infos = result[-1]
        self._tell_rows(infos, self.backend.scenes())
        if "final_info" in infos:
            self._tell_rows(infos["final_info"], self._driven)
        return result if self.measures is None else self._measured(self.measures, result)

    def _measured(self, measures: Measures, result: StepResult) -> StepResult:
        """Adds to what a step gives metrics, and what the reward gets from them."""
        observations, reward, terminated, truncated, infos = result
        outward, ended = self.backend.outward, terminated | truncated
        done, dense = self.backend.mask(ended), self.settings.step_info
        step, final, paid = measures.step(self._situations, done, dense)
        if dense and measures.names:
            infos["metrics"], infos["_metrics"] = outward(_told(step)), infos["_scene"]
        nothing = np.zeros(self.num_envs, np.float32)
        if self._metrics_alone:  # the speed of an impact costs without a weight as well
            reward = outward(nothing)
            for name in REWARD_TERMS if "weighted_terms" in infos else ():
                infos["weighted_terms"][name] = reward
        if "weighted_terms" in infos:
            for name, value in paid.items():
                infos["weighted_terms"][f"metric.{name}"] = outward(value)
                infos["weighted_terms"][f"_metric.{name}"] = infos["_weighted_terms"]
        if measures.names and (self.backend.dense or done.any()):
            target = infos.get("final_info", infos)
            target["episode_metrics"] = outward(_told(final))
            target["_episode_metrics"] = ended
        reward = reward + outward(sum(paid.values(), nothing))
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


def _opened(
    source: Any, window: int, layout: ObservationLayout, steps: int | None, *, shuffled: bool
) -> tuple[Stream | None, Sequence[Scene | Prepared]]:
    """Returns the stream that an argument `scene` stands for, if it is one, and its first scenes.

    Args:
        source: What the caller gave.
        window: Scenes that are kept in memory.
        layout: Of observations.
        steps: Moments after which scenes are cut off.
        shuffled: Whether a stream has an order of its own in every pass.
    """
    parts = parts_of(source)
    paths = [one for one in parts if isinstance(one, Path)]
    if len(paths) == len(parts):
        found = entries(paths)
        if len(found) > window:
            stream = Stream(found, window, layout, shuffled=shuffled, steps=steps)
            return stream, stream.begin(0)
        parts = [load(one.path, record=one.record) for one in found]
    scenes = [one if isinstance(one, Scene) else load(one) for one in parts]
    return None, [one if steps is None else _ended(one, one.current + steps) for one in scenes]


def _ended(scene: Scene, steps: int) -> Scene:
    """Returns a scene of at most so many moments."""
    return scene if scene.steps <= steps else scene.shortened(steps)
