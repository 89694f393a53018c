"""The Gymnasium face of the engine: a vector environment.

Rows are learning agents, world-major: num_envs = num_worlds x learners per world. A finished agent
is placed again in its slot; when the clock of a world runs out all its rows are truncated together
and the world is drawn anew. What an environment is made of beside the engine is handed to it: a
backend (device and form of results) and co-drivers (a policy for the traffic).
"""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.spaces import Box, Discrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_integer, check_options, check_seeds
from selfdrive_env.config.choices import DRIVERS, TRAFFIC
from selfdrive_env.config.layouts import ObservationLayout, make_layout
from selfdrive_env.config.settings import DEFAULT_AGENTS, MAX_HORIZON, Settings
from selfdrive_env.engine.open_maps import count_of, open_maps
from selfdrive_env.envs.backend import NumpyBackend, alone
from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.infos import Infos, StepResult
from selfdrive_env.envs.spec import (
    OwnLimit,
    check_arguments,
    metadata_of,
    observation_space_of,
    plain_spec,
    warn_of_no_mode,
)
from selfdrive_env.envs.views import State, arrays_of, state_of
from selfdrive_env.maps.pool.kept_map import AnyMap
from selfdrive_env.state.arrays import F32, digest
from selfdrive_env.state.world import EXTERNAL

__all__ = ["DrivingVectorEnv", "room_of"]

STATE_VERSION = 2
SPAWN_SPACING = 6.0
OPTIONS = ("reset_mask",)
OTHERS = ("get_state", "set_state", "render", "frame", "save_replay")


@alone("reset", "step", "step_async", "step_wait", "close", *OTHERS)
class DrivingVectorEnv(VectorEnv):
    """Road scenes in which every row drives one agent.

    Args:
        num_envs: Rows; a multiple of the learners per world. With fewer rows than the default
            number of agents per world, and none given, there is one world of `num_envs` agents.
        learners: "all" (every agent is a row) or "one" (one ego per world, the others scripted).
        render_mode: None, "rgb_array", or "human": a window shows each step (extra `play`).
        max_episode_steps: Horizon in steps; stands in for the setting `horizon`.
        co_drivers: Drive the traffic where the setting `traffic` names a policy: `make_vec` and
            `PolicyTrafficEnv` give them.
        backend: Where worlds live and in what form results come.
        scenes: What worlds are drawn from in Scenes-v0, see `envs.scenes.situations`.
        **settings: See `selfdrive_env.config.settings.Settings`.

    Raises:
        ValueError: For a value out of range, named with what is allowed.
        TypeError: For an unknown setting, with the nearest known one.
    """

    turn: Any
    """The lock of the thread that is in this environment, see `alone`."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Any:
        """Keeps the arguments, with which a copy is made."""
        made = super().__new__(cls)
        made._made_with, made.turn = (arguments, keywords), threading.RLock()
        return made

    def __init__(
        self,
        num_envs: int = 1,
        *,
        learners: str = "all",
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        co_drivers: CoDrivers | None = None,
        backend: type[NumpyBackend] = NumpyBackend,
        scenes: Any = None,
        **settings: Any,
    ) -> None:
        check_arguments(num_envs, learners, render_mode)
        if learners == "all" and num_envs < DEFAULT_AGENTS:
            settings.setdefault("agents_per_world", int(num_envs))
        chosen = Settings.from_keywords(settings)
        if max_episode_steps is not None and not isinstance(max_episode_steps, OwnLimit):
            check_integer(
                "max_episode_steps", max_episode_steps, 1, int(MAX_HORIZON / chosen.dt_range[1])
            )
            if max_episode_steps != chosen.steps:
                chosen = dataclasses.replace(chosen, horizon=max_episode_steps * chosen.dt_range[1])
        rows_per_world = chosen.slots if learners == "all" else 1
        rows_per_world = rows_per_world if scenes is None else scenes.rows_per_world
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
        self.metadata = {**metadata_of(chosen), "autoreset_mode": self.autoreset_mode}
        self.layout = make_layout(chosen.layout)
        self.layout_digest = chosen.layout_digest()
        self.co_drivers, self._situations = co_drivers, scenes
        self.backend = self._start(backend)
        self.engine = self.backend.engine
        self._make_spaces()
        self.closed = False
        self._ready = False
        self._renderer: Any = None
        self._viewer: Any = None
        self._recorder: Any = None
        if chosen.record:
            from selfdrive_env.episodes import Recorder

            self._recorder = Recorder(self)

    def _start(self, backend: type[NumpyBackend]) -> NumpyBackend:
        """Returns the backend with an engine."""
        settings, traffic = self.settings, self.settings.traffic
        if self.co_drivers is not None:
            self.co_drivers.join(settings, self.learners)
        elif traffic not in TRAFFIC:
            raise ValueError(f"traffic={traffic!r} is for Drive-v0 on the CPU with NumPy arrays")
        learner = np.zeros(settings.slots, np.uint8)
        learner[: self.rows_per_world] = 1
        others = DRIVERS.get(traffic, EXTERNAL)
        driver = np.where(learner, DRIVERS[settings.driver], others).astype(np.uint8)
        own = self._situations
        maps, told = (
            own.surroundings(backend.left_out) if own else (_open_maps(settings, self.layout), {})
        )
        engine = backend.make_engine(settings, maps, self.num_worlds, driver, learner, **told)
        return backend(engine, self.num_envs)

    def _make_spaces(self) -> None:
        self.single_observation_space = observation_space_of(
            self.settings, self.engine.observations.shape[1]
        )
        if self.settings.action_type == "discrete":
            self.single_action_space: Space[Any] = Discrete(len(self.engine.draws.action))
        else:
            _, columns, most = self.backend.form
            self.single_action_space = Box(-most, most, (columns,), np.float32)
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
        self._spec = plain_spec(value, self.settings.steps)

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
        if self._ready:
            self.backend.check()
        mask = self._reset_mask(check_options(options, OPTIONS))
        if seed is not None:
            self._seed(seed, mask)
        elif not self._ready:
            super().reset(seed=None)
            self.engine.seed(int(self.np_random.integers(2**63)))
        if mask is not None and not self._ready and not mask.all():
            raise ResetNeeded("reset_mask must be all True in the first reset")

        chosen = np.zeros((self.num_worlds, self.settings.slots), np.uint8)
        rows = self._all if mask is None else mask
        chosen[:, : self.rows_per_world] = rows.reshape(self.num_worlds, -1)
        whole = rows.reshape(self.num_worlds, -1).all(1)
        whole |= (self.engine.worlds.ended != 0) & chosen.any(1)
        self.engine.reset(chosen, whole.astype(np.uint8), staggered=mask is None)
        self._ready = True
        self._check_placed(chosen)
        self._note()
        return self.backend.observations(), self.backend.infos()

    def _reset_mask(self, options: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        if "reset_mask" not in options:
            return None
        mask = self.backend.mask(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(
                f"options['reset_mask'] must be a bool array of shape ({self.num_envs},), got "
                f"{mask.dtype} of shape {mask.shape}"
            )
        if not mask.any():
            raise ValueError("options['reset_mask'] must be True for at least one row")
        if self._situations is not None:
            self._situations.check_mask(mask.reshape(self.num_worlds, -1))
        return mask

    def _seed(self, seed: int | Sequence[int], mask: NDArray[np.bool_] | None) -> None:
        if mask is not None and not mask.all():
            raise ValueError(
                "seed and a partial reset_mask do not go together: streams are per world"
            )
        seeds = check_seeds(seed, self.num_worlds, self.num_envs)
        super().reset(seed=seeds if isinstance(seeds, int) else seeds[0])
        self.engine.seed(seeds)

    def _check_placed(self, chosen: NDArray[np.uint8]) -> None:
        unplaced = int(np.count_nonzero(self.engine.output.awaiting_reset & chosen))
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
                longitudinal and lateral (scaled to the largest jerk of that sign); under other
                `dynamics` one a column, scaled to its range, with "state" in units.

        Returns:
            Observations float32 [num_envs, features], rewards float32 [num_envs], terminated and
            truncated bool [num_envs], and infos: dense arrays `valid`, `learn`, with `step_info`
            those of `envs.infos`, and on steps with ends `final_obs`, `final_info` (SameStep) or
            the metrics themselves, each with a mask (rows outside it are zero, in a `final_obs`
            without `copy` old).
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
        self.backend.start()

    def step_wait(self) -> StepResult:
        """Waits for the step that `step_async` started; returns what `step` does."""
        self.backend.wait()
        return self._results()

    def _take_actions(self, actions: Any) -> None:
        self._check_open()
        if not self._ready:
            raise ResetNeeded("call reset() before step()")
        if self.autoreset_mode is AutoresetMode.DISABLED:
            ended = self._waiting()
            if np.count_nonzero(ended):  # a third of the time of any()
                raise ResetNeeded(
                    f"rows {np.flatnonzero(ended)[:8].tolist()} have ended: reset them with "
                    "options={'reset_mask': ...} (autoreset_mode='Disabled')"
                )
        taken = self.backend.actions(actions)
        if self.co_drivers is not None:
            taken = self.backend.with_co_drivers(self.co_drivers, taken)
        self.engine.command(taken)

    def _results(self) -> StepResult:
        self._note()
        return self.backend.results()

    def _waiting(self) -> NDArray[np.bool_]:
        return self.backend.waiting()

    @property
    def state(self) -> State:
        """Read-only views of the arrays of the worlds, by struct and field; see `State`."""
        return state_of(self.engine)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Returns an exact copy of everything that later steps depend on, by name.

        The arrays can be stored with `numpy.savez`; `set_state` takes them back into an environment
        of the same settings.
        """
        self._check_open()
        if not self._ready:
            raise ResetNeeded("call reset() before get_state()")
        self.backend.check()
        state = {**self.engine.state(), **self.engine.shown()}
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
        arrays = arrays_of(state, STATE_VERSION, self._digest())
        self.engine.check_state(arrays)
        self.engine.restore(arrays)
        self._ready = True
        self._note()
        return self.backend.observations()

    def _digest(self) -> str:
        maps = [m.digest for m in self.engine.maps]
        text = "/".join([self.settings.digest(), self.learners, str(self.num_envs), *maps])
        own = digest(text if self._situations is None else f"{text}/{self._situations.digest}")
        return own if self.co_drivers is None else digest(f"{own}/{self.co_drivers.digest}")

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Returns one frame a row, uint8 [size, size, 3], each following that row's agent."""
        if self.render_mode is None:
            warn_of_no_mode(self.spec, "make_vec")
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
            title = f"selfdrive_env: {self.settings.map_text}"
            self._viewer = Viewer(self.num_envs, self.settings.render_size, title)
        edge = self._viewer.edge
        hud = self.settings.render_hud is not False
        frames = (self.frame(row, size=edge, hud=hud) for row in range(self.num_envs))
        self._viewer.show(frames, float(self.metadata["render_fps"]))

    def frame(
        self,
        row: int = 0,
        *,
        span: float | None = None,
        size: int | None = None,
        hud: bool | None = None,
    ) -> NDArray[np.uint8]:
        """Returns a picture of the world of the agent of one row, as `render_view` says.

        Args:
            row: Row that the camera follows.
            span: Metres across; None takes the setting `render_span`.
            size: Edge of the picture [px]; None takes the setting `render_size`.
            hud: Whether it shows speed and time; None takes the setting `render_hud`.

        Returns:
            RGB, uint8 [size, size, 3].
        """
        from selfdrive_env.images.render import Renderer

        self.backend.check()
        self._renderer = self._renderer or Renderer(self.engine, self.settings)
        picture: NDArray[np.uint8] = self._renderer.draw(
            *divmod(row, self.rows_per_world), size=size, span=span, hud=hud
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
            frames = self.render() if self.render_mode is not None else None
            return frames or (None,) * self.num_envs
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
        self.backend.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError("the environment has been closed")
        if self.backend.running:
            raise RuntimeError("a step is running: call step_wait() first")

    def __getstate__(self) -> dict[str, Any]:
        """Keeps arguments and state; compiled code and buffers are made again."""
        return {
            "made_with": (self._made_with[0], self.settings.placed(self._made_with[1])),
            "spec": self.spec,
            "closed": self.closed,
            "state": self.get_state() if self._ready and not self.closed else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes the environment again."""
        arguments, keywords = self._made_with = state["made_with"]
        self.__init__(*arguments, **keywords)  # type: ignore[misc]
        self._spec = state["spec"]
        self.closed = state["closed"]
        if state["state"] is not None:
            self.set_state(state["state"])


def room_of(one: AnyMap) -> int:
    """Returns for about how many agents a map has room."""
    return int(count_of(one, "lanes.spawn_segment") / SPAWN_SPACING)


def _open_maps(settings: Settings, layout: ObservationLayout) -> list[AnyMap]:
    """Returns the pool of maps; raises a ValueError where one has no room for so many agents."""
    maps = open_maps(settings, layout)
    for one in maps:
        room = room_of(one)
        if settings.slots > room:
            raise ValueError(
                f"agents_per_world={settings.slots} is more than map {one.name!r} holds: it has "
                f"room for about {room}"
            )
    return maps
