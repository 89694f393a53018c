"""The Gymnasium face of the engine: a vector environment and its single-car twin.

Rows are learning agents, world-major: num_envs = num_worlds x learners per world. A finished agent
is placed again in its slot; when the clock of a world runs out all its rows are truncated together
and the world is drawn anew.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from selfdrive_env.config.checks import (
    as_plain,
    check_actions,
    check_integer,
    require_torch,
)
from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.settings import (
    DEFAULT_AGENTS,
    DRIVERS,
    TRAFFIC,
    Settings,
)
from selfdrive_env.engine.cpu import STATE_STRUCTS, Engine
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.maps import compiled
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.state.arrays import F32, U8, digest
from selfdrive_env.state.world import EXTERNAL, REWARD_TERMS

__all__ = ["DrivingVectorEnv", "make_drive", "make_self_play"]

STATE_VERSION = 1
SPAWN_SPACING = 6.0
MAX_SEED = 2**64 - 1
MAX_STEPS = 2**31 - 1
METADATA: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}

FINALS = (
    "length",
    "km",
    *(name for name, _, _ in METRICS),
    *(f"reward_{name}" for name in REWARD_TERMS),
)
"""Metrics of an episode that ended, by name."""

FINAL_MASKS = tuple(f"_{name}" for name in FINALS)

Infos = dict[str, Any]
StepResult = tuple[NDArray[Any], F32, NDArray[np.bool_], NDArray[np.bool_], Infos]


class DrivingVectorEnv(VectorEnv):
    """Road scenes in which every row drives one agent.

    Args:
        num_envs: Rows; a multiple of the learners per world. With fewer rows than the default
            number of agents per world, and none given, there is one world of `num_envs` agents.
        learners: "all" (every agent is a row) or "one" (one ego per world, the others scripted).
        render_mode: None, "rgb_array", or "human": a window shows each step (extra `play`).
        max_episode_steps: Horizon in steps; stands in for the setting `horizon`.
        **settings: See `selfdrive_env.config.settings.Settings`.

    Raises:
        ValueError: For a value out of range, named with what is allowed.
        TypeError: For an unknown setting, with the nearest known one.
    """

    drives_traffic = False  # whether it takes a policy as `traffic`

    def __init__(
        self,
        num_envs: int = 1,
        *,
        learners: str = "all",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        self._keywords = dict(
            num_envs=num_envs,
            learners=learners,
            render_mode=render_mode,
            max_episode_steps=max_episode_steps,
            **settings,
        )
        if learners not in ("all", "one"):
            raise ValueError(f"learners must be 'all' or 'one', got {learners!r}")
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ValueError(f"render_mode must be None, human or rgb_array, got {render_mode!r}")
        if not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ValueError(f"num_envs must be a whole number of at least 1, got {num_envs!r}")
        single = learners == "all" and num_envs < DEFAULT_AGENTS
        if single and "agents_per_world" not in settings:
            settings["agents_per_world"] = int(num_envs)
        chosen = Settings.from_keywords(settings)
        if max_episode_steps is not None:
            check_integer("max_episode_steps", max_episode_steps, 1, MAX_STEPS)
            chosen = dataclasses.replace(chosen, horizon=max_episode_steps * chosen.dt)
        rows_per_world = chosen.slots if learners == "all" else 1
        if num_envs % rows_per_world:
            raise ValueError(
                f"num_envs must be a multiple of the {rows_per_world} rows of a world "
                f"(agents_per_world={chosen.agents_per_world}), got {num_envs}"
            )

        self.settings = chosen
        self.learners = learners
        self.num_envs = int(num_envs)
        self.num_worlds = self.num_envs // rows_per_world
        self.rows_per_world = rows_per_world
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(chosen.autoreset_mode)
        self.metadata = {**METADATA, "autoreset_mode": self.autoreset_mode}
        self.layout = make_layout(chosen.layout)
        self.layout_digest = chosen.layout_digest()
        self._make_engine()
        self._make_spaces()
        self.closed = False
        self._ready = False
        self._painter: Any = None
        self._viewer: Any = None
        self._background: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None
        self._recorder: Any = None
        if chosen.record:
            from selfdrive_env.episodes import Recorder

            self._recorder = Recorder(self)

    def _make_engine(self) -> None:
        slots = self.settings.slots
        learner = np.zeros(slots, np.uint8)
        learner[: self.rows_per_world] = 1
        traffic = self.settings.traffic
        if traffic not in TRAFFIC and not self.drives_traffic:
            raise ValueError(f"traffic={traffic!r} is for Drive-v0 on the CPU with NumPy arrays")
        scripted = DRIVERS.get(traffic, EXTERNAL)
        driver = np.where(learner, DRIVERS[self.settings.driver], scripted).astype(np.uint8)
        maps = [
            compiled(
                source,
                variant=variant,
                lane_points=max(self.layout.lane_points, 1),
                boundary_points=max(self.layout.boundary_points, 1),
                stop_lines=max(self.layout.stop_lines, 1),
            )
            for source in self.settings.map
            for variant in range(self.settings.map_variants)
        ]
        for one in maps:
            room = int(len(one.lanes.spawn_segment) / SPAWN_SPACING)
            if slots > room:
                raise ValueError(
                    f"agents_per_world={slots} is more than map {one.name!r} holds: it has room "
                    f"for about {room}"
                )
        self.engine = self._new_engine(maps, driver, learner)

    def _new_engine(self, maps: list[CompiledMap], driver: U8, learner: U8) -> Engine:
        if self.settings.device != "cpu" or self.settings.output != "numpy":
            raise ValueError(
                "device and output are settings of make_vec: gymnasium.make and DrivingVectorEnv "
                "run on the CPU and give arrays"
            )
        return Engine(self.settings, maps, self.num_worlds, driver, learner)

    def _make_spaces(self) -> None:
        length = self.engine.observations.shape[1]
        narrow = self.settings.obs_dtype == "float16"  # NumPy has no bfloat16
        kind: Any = np.float16 if narrow else np.float32
        self.single_observation_space: Space[Any] = Box(-1.0, 1.0, (length,), kind)
        if self.settings.action_type == "discrete":
            self.single_action_space: Space[Any] = Discrete(len(self.engine.draws.jerk))
        else:
            self.single_action_space = Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._all = np.ones(self.num_envs, np.bool_)

    @functools.cached_property
    def observation_space(self) -> Space[Any]:  # type: ignore[override]
        """Space of all rows; made when asked for, since its bounds take twice their memory."""
        return batch_space(self.single_observation_space, self.num_envs)

    # `make_vec` sets the spec after construction; what it holds must survive JSON.
    @property
    def spec(self) -> Any:
        """The `EnvSpec` that made this environment."""
        return getattr(self, "_spec", None)

    @spec.setter
    def spec(self, value: Any) -> None:
        if value is not None:
            value = copy.copy(value)
            value.kwargs = {name: as_plain(one) for name, one in value.kwargs.items()}
        self._spec = value

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[F32, Infos]:
        """Starts new episodes.

        Args:
            seed: A number of 64 bits (world i takes its stream i + world_offset), a list with one
                seed a world (or a row: its world's first counts), or None to go on with the
                streams.
            options: `{"reset_mask": bool array [num_envs]}` resets only these rows.

        Returns:
            Observations, float32 [num_envs, features], and infos.
        """
        self._check_open()
        mask = self._reset_mask(options)
        if seed is not None:
            self._seed(seed, mask)
        elif not self._ready:
            super().reset(seed=None)
            self.engine.seed(int(self.np_random.integers(2**63)))
        if mask is not None and not self._ready and not mask.all():
            raise ResetNeeded("reset_mask must be all True in the first reset")

        chosen = np.zeros((self.num_worlds, self.settings.slots), np.uint8)
        rows = self._all if mask is None else mask
        own = self.settings.slots if self.drives_traffic else self.rows_per_world
        chosen[:, :own] = rows.reshape(self.num_worlds, -1)
        whole = rows.reshape(self.num_worlds, -1).all(1)
        whole |= (self.engine.worlds.ended != 0) & chosen.any(1)
        self.engine.reset(chosen, whole.astype(np.uint8), staggered=mask is None)
        self._ready = True
        self._check_placed(chosen)
        self._note()
        return self._observations(), self._masks()

    def _observations(self) -> NDArray[Any]:
        return self.engine.observations

    def _own(self, array: NDArray[Any]) -> NDArray[Any]:
        return array  # of what the engine has all that callers see

    def _reset_mask(self, options: Mapping[str, Any] | None) -> NDArray[np.bool_] | None:
        if not options or "reset_mask" not in options:
            return None
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"options['reset_mask'] must be a bool array of shape ({self.num_envs},), got "
                f"{mask.dtype} of shape {mask.shape}"
            )
        if not mask.any():
            raise ValueError("options['reset_mask'] must be True for at least one row")
        return mask

    def _seed(self, seed: int | Sequence[int], mask: NDArray[np.bool_] | None) -> None:
        if mask is not None and not mask.all():
            raise ValueError(
                "seed and a partial reset_mask do not go together: streams are per world"
            )
        if isinstance(seed, int | np.integer):
            seeds: Any = int(seed)
            values = [seeds]
        else:
            seeds = [int(s) for s in seed]
            if len(seeds) == self.num_envs:
                seeds = seeds[:: self.rows_per_world]
            if len(seeds) != self.num_worlds:
                raise ValueError(
                    f"seed must have one entry a world ({self.num_worlds}) or a row "
                    f"({self.num_envs}), got {len(seeds)}"
                )
            values = seeds
        for value in values:
            if not 0 <= value <= MAX_SEED:
                raise ValueError(f"seed must be from 0 to 2**64 - 1, got {value}")
        super().reset(seed=values[0])
        self.engine.seed(seeds)

    def _check_placed(self, chosen: NDArray[np.uint8]) -> None:
        unplaced = int(np.count_nonzero(self.engine.output.waits & chosen))
        if self.autoreset_mode is AutoresetMode.DISABLED:
            return
        if unplaced:
            raise ValueError(
                f"agents_per_world={self.settings.slots} is more than the maps hold: {unplaced} of "
                f"{self.num_envs} rows found no free place"
            )

    def step(self, actions: Any) -> StepResult:
        """Advances all worlds by `dt`.

        Args:
            actions: Discrete: integers [num_envs]; continuous: floats in [-1, 1] [num_envs, 2],
                longitudinal and lateral (scaled to the largest jerk of that sign).

        Returns:
            Observations float32 [num_envs, features], rewards float32 [num_envs], terminated and
            truncated bool [num_envs], and infos: dense arrays `valid`, `learn`, and on steps with
            ends `final_obs`, `final_info` (SameStep) or the metrics themselves, each with a mask
            (rows outside it are zero, in a `final_obs` without `copy` old).
        """
        self._take_actions(actions)
        self.engine.step()
        return self._results()

    def step_async(self, actions: Any) -> None:
        """Starts a step in the background; `step_wait` returns what it gives.

        Meanwhile the caller may compute with what it has, but not touch this environment. With
        `copy=False` the step writes into the observations that the caller holds.

        Args:
            actions: As for `step`.
        """
        self._take_actions(actions)
        if self._background is None:
            self._background = ThreadPoolExecutor(1, thread_name_prefix="selfdrive_env_step")
        self._pending = self._background.submit(self.engine.step)

    def step_wait(self) -> StepResult:
        """Waits for the step that `step_async` started; returns what `step` does."""
        if self._pending is None:
            raise RuntimeError("call step_async() before step_wait()")
        pending, self._pending = self._pending, None
        pending.result()
        return self._results()

    def _take_actions(self, actions: Any) -> None:
        self._check_open()
        if not self._ready:
            raise ResetNeeded("call reset() before step()")
        if self.autoreset_mode is AutoresetMode.DISABLED:
            ended = self._waiting()
            if ended.any():
                raise ResetNeeded(
                    f"rows {np.flatnonzero(ended)[:8].tolist()} have ended: reset them with "
                    "options={'reset_mask': ...} (autoreset_mode='Disabled')"
                )
        self.engine.command(self._commands(self._checked(actions)))

    def _commands(self, actions: NDArray[Any]) -> NDArray[Any]:
        return actions

    def _results(self) -> StepResult:
        self._note()
        rows = self.engine.rows
        terminated = self._own(rows.terminated).astype(np.bool_)
        truncated = self._own(rows.truncated).astype(np.bool_)
        infos = self._masks()
        done = terminated | truncated
        if done.any():
            self._add_finals(infos, done)
        reward = self._own(rows.reward.copy() if self.settings.copy else rows.reward)
        return self._observations(), reward, terminated, truncated, infos

    def _waiting(self) -> NDArray[np.bool_]:
        waits = self.engine.output.waits[:, : self.rows_per_world] != 0
        return waits.reshape(-1)

    def _checked(self, actions: Any) -> NDArray[Any]:
        """Returns actions as an array; raises a ValueError if the action space has none such."""
        discrete = self.settings.action_type == "discrete"
        return check_actions(actions, self.num_envs, len(self.engine.draws.jerk) if discrete else 0)

    def _masks(self) -> Infos:
        rows = self.engine.rows
        copies = self.settings.copy
        return {
            "valid": self._own(rows.valid).astype(np.bool_),
            "_valid": self._all.copy() if copies else self._all,
            "learn": self._own(rows.learn).astype(np.bool_),
            "_learn": self._all.copy() if copies else self._all,
        }

    def _add_finals(self, infos: Infos, done: NDArray[np.bool_]) -> None:
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        finals, copies = self._finals(), self.settings.copy
        age, km, counts, terms = (one.copy("K") if copies else one for one in finals)
        masks = [done.copy() if copies else done for _ in FINALS]
        target: Infos = {} if same_step else infos
        target.update(zip(FINALS, (age, km, *counts, *terms), strict=True))
        target.update(zip(FINAL_MASKS, masks, strict=True))
        if not same_step:
            return
        infos["final_obs"] = self._final_observations(done)
        infos["_final_obs"] = done.copy()
        infos["final_info"] = target
        infos["_final_info"] = done.copy()

    def _finals(self) -> tuple[NDArray[Any], ...]:
        """Returns length, km, counts by event and reward by term of the episodes that ended."""
        rows = self.engine.rows
        return rows.final_age, rows.final_km, rows.final_count.T, rows.final_term.T

    def _final_observations(self, done: NDArray[np.bool_]) -> NDArray[Any]:
        return self.engine.hand_out_finals()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Returns an exact copy of everything that later steps depend on, by name.

        The arrays can be stored with `numpy.savez`; `set_state` takes them back into an environment
        of the same settings.
        """
        self._check_open()
        if not self._ready:
            raise ResetNeeded("call reset() before get_state()")
        state = self.engine.state()
        output, rows = self.engine.output, self.engine.rows
        for name in ("waits", "terminated", "truncated"):
            state[f"output.{name}"] = getattr(output, name).copy()
        for name in rows._fields:
            if not name.startswith("final_"):
                state[f"rows.{name}"] = getattr(rows, name).copy()
        state["version"] = np.array(STATE_VERSION)
        state["digest"] = np.frombuffer(self._digest().encode(), np.uint8).copy()
        return state

    def set_state(self, state: Mapping[str, Any]) -> F32:
        """Returns to a state that `get_state` gave.

        Raises:
            ValueError: If it is of another version or of other settings, or is damaged.

        Returns:
            The observations of that state.
        """
        self._check_open()
        version = int(state["version"]) if "version" in state else None
        if version != STATE_VERSION:
            raise ValueError(f"state has version {version}, this package reads {STATE_VERSION}")
        text = np.asarray(state.get("digest", ()), np.uint8)
        digest = bytes(text).decode(errors="replace")
        if digest != self._digest():
            raise ValueError(
                f"state belongs to other settings or maps: digest {digest}, here {self._digest()}"
            )
        targets: dict[str, NDArray[Any]] = {}
        for struct in (*STATE_STRUCTS, "output", "rows"):
            for name, array in getattr(self.engine, struct)._asdict().items():
                targets[f"{struct}.{name}"] = array
        names = [name for name in state if name not in ("version", "digest")]
        missing = [n for n in targets if n.split(".")[0] in STATE_STRUCTS and n not in state]
        if missing:
            raise ValueError(f"state lacks {missing[0]}")
        for name in names:
            if name not in targets:
                raise ValueError(f"state has an unknown entry {name!r}")
            value = np.asarray(state[name])
            if value.shape != targets[name].shape or value.dtype != targets[name].dtype:
                raise ValueError(
                    f"state entry {name!r} must be {targets[name].dtype} of shape "
                    f"{targets[name].shape}, got {value.dtype} of shape {value.shape}"
                )
            low, high = self.engine.index_range(name)
            if not np.isfinite(value).all() or (value < low).any() or (value > high).any():
                raise ValueError(f"state entry {name!r} is damaged: it must be {low} to {high}")
        self.engine.restore({name: state[name] for name in names})
        self._ready = True
        self._note()
        return self._observations()

    def _digest(self) -> str:
        maps = [m.digest for m in self.engine.maps]
        return digest("/".join([self.settings.digest(), self.learners, str(self.num_envs), *maps]))

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Returns one frame a row, uint8 [size, size, 3], each following that row's agent."""
        if self.render_mode != "rgb_array":
            return None
        self._check_open()
        if not self._ready:
            raise ResetNeeded("call reset() before render()")
        return tuple(self.frame(row) for row in range(self.num_envs))

    def _note(self) -> None:
        if self._recorder is not None:
            self._recorder.record()
        if self.render_mode == "human":
            self._show()

    def _show(self) -> None:
        """Shows the present state in a window."""
        from selfdrive_env.rendering.window import Viewer

        if self._viewer is None:
            title = f"selfdrive_env: {', '.join(self.settings.map)}"
            self._viewer = Viewer(self.num_envs, self.settings.render_size, title)
        edge = self._viewer.edge
        frames = (self.frame(row, size=edge) for row in range(self.num_envs))
        self._viewer.show(frames, float(self.metadata["render_fps"]))

    def frame(
        self, row: int = 0, *, span: float | None = None, size: int | None = None
    ) -> NDArray[np.uint8]:
        """Returns a picture of the world around the agent of one row.

        Args:
            row: Row that the camera follows.
            span: Metres across; None takes the setting `render_span`.
            size: Edge of the picture [px]; None takes the setting `render_size`.
        """
        from selfdrive_env.rendering import Painter, scene_of

        if self._painter is None:
            engine = self.engine
            self._painter = Painter(engine.lanes, engine.grid, engine.signs)
        world, agent = divmod(row, self.rows_per_world)
        picture: NDArray[np.uint8] = self._painter.draw(
            scene_of(self.engine, world, agent, observed=self.settings.render_observed),
            size=self.settings.render_size if size is None else size,
            span=self.settings.render_span if span is None else span,
            show_observed=self.settings.render_observed,
        )
        return picture

    def save_replay(self, path: str | os.PathLike[str]) -> None:
        """Writes the episode of the first world: what happened since it was drawn.

        Args:
            path: Ends in .html (a web page that needs nothing else) or .episode.

        Raises:
            ValueError: Without the setting `record`, or for another ending.
        """
        if self._recorder is None:
            raise ValueError("save_replay() needs the setting record=True, which is False here")
        self._recorder.save(path)

    def call(self, name: str, *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
        """Calls a method for all rows, or reads an attribute; one result a row."""
        if name == "render":
            return self.render() or (None,) * self.num_envs
        value = getattr(self, name)
        result = value(*arguments, **keywords) if callable(value) else value
        return (result,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Returns an attribute once for each row."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Sets an attribute: one value, or a list or tuple of equal values, one a row."""
        if isinstance(values, list | tuple):
            if len(values) != self.num_envs:
                raise ValueError(f"values must have {self.num_envs} entries, got {len(values)}")
            values = values[0]
        setattr(self, name, values)

    def close_extras(self, **kwargs: Any) -> None:
        """Waits for a step in the background; closes the window."""
        if self._viewer is not None:
            self._viewer.close()
        if self._background is not None:
            self._background.shutdown()
            self._background = None
            self._pending = None

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the environment has been closed")
        if self._pending is not None:
            raise RuntimeError("a step is running: call step_wait() first")

    def __getstate__(self) -> dict[str, Any]:
        """Keeps arguments and state; compiled code and buffers are made again."""
        return {
            "keywords": self._keywords,
            "spec": self.spec,
            "closed": self.closed,
            "state": self.get_state() if self._ready and not self.closed else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes the environment again."""
        self.__init__(**state["keywords"])  # type: ignore[misc]
        self._spec = state["spec"]
        self.closed = state["closed"]
        if state["state"] is not None:
            self.set_state(state["state"])


def make_self_play(num_envs: int = 1, **settings: Any) -> DrivingVectorEnv:
    """Makes the vector form of SelfPlay-v0: every agent of every world is a row."""
    return _make(num_envs, learners="all", **settings)


def make_drive(num_envs: int = 1, **settings: Any) -> DrivingVectorEnv:
    """Makes the vector form of Drive-v0: one row a world, the others are scripted or a policy's."""
    return _make(num_envs, learners="one", **settings)


def _make(num_envs: int, **settings: Any) -> DrivingVectorEnv:
    """Makes the environment for the device and the kind of output that are asked for."""
    on_cpu = settings.get("device", "cpu") == "cpu"
    if on_cpu and settings.get("output") in (None, "numpy"):
        if settings["learners"] == "all" or settings.get("traffic", "idm") in TRAFFIC:
            return DrivingVectorEnv(num_envs, **settings)
        from selfdrive_env.envs.traffic import PolicyTrafficEnv

        return PolicyTrafficEnv(num_envs, **settings)
    require_torch("output='torch'" if on_cpu else "device", "train" if on_cpu else "cuda13")
    from selfdrive_env.envs.torch import environment_class

    return environment_class(settings.get("device", "cpu"))(num_envs, **settings)
