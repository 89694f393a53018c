"""The single-car form: one ego among other drivers, as a `gymnasium.Env`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_action, check_options
from selfdrive_env.config.choices import bins_of, is_scripted
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs.backend import NumpyBackend, alone
from selfdrive_env.envs.infos import Infos, outlook_of_one, step_of_one
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.tasks import TaskVectorEnv
from selfdrive_env.envs.spec import METADATA, metadata_of, plain_spec, warn_of_no_mode
from selfdrive_env.envs.traffic import PolicyTrafficEnv
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.envs.views import State
from selfdrive_env.maps import MapError
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.world import ABSENT

__all__ = ["DrivingEnv"]

LETTERS = (ord("w"), ord("s"), ord("a"), ord("d"))
ARROWS = (0x40000052, 0x40000051, 0x40000050, 0x4000004F)
"""Codes of the keys for throttle, brake, left and right, as pygame has them."""

SPACE = ord(" ")

OF_SCENE = ("scene", "agent", "metrics", "episode_metrics")
"""What infos tell of a row in a scene: its names, and metrics by name."""


class SingleBackend(NumpyBackend):
    """Worlds on the CPU of which one row goes out: `DrivingEnv` makes its infos itself."""

    tells_steps = False

    def infos(self) -> Infos:
        """Returns nothing."""
        return {}


@alone("reset", "step", "get_state", "set_state", "render", "frame", "save_replay", "close")
class DrivingEnv(gymnasium.Env[F32, Any]):
    """One ego among scripted drivers or a policy's: the single form of both ids.

    Args:
        render_mode: None, "rgb_array", or "human": a window shows each step (extra `play`).
        max_episode_steps: Horizon in steps.
        **settings: See `selfdrive_env.config.settings.Settings`; `autoreset_mode` does not apply,
            and `step_info` is on by default.
    """

    metadata: dict[str, Any] = METADATA

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        for name in ("autoreset_mode", "num_envs"):
            if name in settings:
                raise TypeError(f"{name} is a setting of make_vec, not of make")
        settings.setdefault("num_threads", 1)
        settings.setdefault("step_info", True)
        kind: Any = TaskVectorEnv if "task" in settings else ScenesVectorEnv
        if "scene" not in settings and "task" not in settings:
            scripted = is_scripted(settings.get("traffic", "idm"))
            kind = DrivingVectorEnv if scripted else PolicyTrafficEnv
        self.vector = kind(
            1,
            learners="ego" if issubclass(kind, ScenesVectorEnv) else "one",
            render_mode=render_mode,
            autoreset_mode="Disabled",
            backend=SingleBackend,
            **settings,
        )
        self.settings: Settings = self.vector.settings
        self.layout: ObservationLayout = self.vector.layout
        self.metadata = metadata_of(self.settings)
        self.render_mode = render_mode
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space

    @property
    def turn(self) -> Any:
        """The lock of the thread that is in this environment, see `envs.backend.alone`."""
        return self.vector.turn

    @property
    def spec(self) -> Any:
        """The `EnvSpec` that made this environment; its limit of steps is the horizon."""
        return getattr(self, "_spec", None)

    @spec.setter
    def spec(self, value: Any) -> None:
        self._spec = plain_spec(value, self.settings.steps)

    @property
    def state(self) -> State:
        """Read-only views of the arrays of the world; the ego is agent 0 of world 0.

        `state.agents.speed[0, 0]` is its speed. See `envs.views.State`.
        """
        return self.vector.state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[F32, Infos]:
        """Draws the world anew.

        Args:
            seed: Of all that follows, None to go on with the stream.
            options: None or empty: there are none.

        Returns:
            Observation float32 [features], and an info with `speed` [m/s], `distance_to_goal` [m]
            and `time_to_collision` [s], empty with `step_info=False`.
        """
        check_options(options, ())
        super().reset(seed=seed)
        observation, infos = self.vector.reset(seed=seed)
        engine = self.vector.engine
        if engine.agents.status[0, 0] == ABSENT:
            raise MapError(f"no free place for the ego on {self.vector.settings.map_text}")
        info = outlook_of_one(engine.output) if self.settings.step_info else {}
        return self._own(observation), info | _of_scene(infos)

    def _own(self, observation: Any) -> Any:
        if isinstance(observation, dict):
            return {name: one[0] for name, one in observation.items()}
        return observation[0]

    def step(self, action: Any) -> tuple[F32, float, bool, bool, Infos]:
        """Advances the world by `dt`.

        Returns:
            Observation float32 [features], reward, terminated, truncated, and an info with what
            `reset` gives, `events`, `raw_terms` and `weighted_terms` by name, and the metrics of
            the episode when it ends; with `step_info=False` only these.
        """
        batch = check_action(action, *self.vector.backend.form)[None]
        try:
            observation, reward, terminated, truncated, infos = self.vector.step(batch)
        except ResetNeeded:
            raise ResetNeeded("no episode is running: call reset()") from None
        info = step_of_one(self.vector.engine.output) if self.settings.step_info else {}
        ended, timed_out = bool(terminated[0]), bool(truncated[0])
        if ended or timed_out:
            finals = {name: one for name, one in infos.items() if name[0] != "_"}
            info.update({k: one[0].item() for k, one in finals.items() if k not in OF_SCENE})
        info.update(_of_scene(infos))
        return self._own(observation), float(reward[0]), ended, timed_out, info

    def get_keys_to_action(self) -> dict[Any, Any]:
        """Returns what `gymnasium.utils.play.play` asks for: an action for any keys that are held.

        W or up throttles, S or down brakes (with `reverse="allowed"` it backs up, too), A and D or
        left and right steer, space holds what is: keys are jerks. Who holds none, "", brakes hard
        and then stands. No keys that are held are left out, or the `noop` of `play`, action 0,
        would brake and steer right. Under the dynamics "bicycle" and "classic" keys ask for half of
        the largest acceleration, curvature or steering angle, none for the hardest braking.

        Returns:
            Codes of keys -> action.
        """
        if self.settings.dynamics not in ("jerk", "bicycle", "classic"):
            raise ValueError(
                "keys ask for jerks or accelerations: get_keys_to_action() needs "
                f"dynamics='jerk', 'bicycle' or 'classic', got {self.settings.dynamics!r}"
            )
        known = itertools.chain.from_iterable(
            itertools.combinations((*LETTERS, *ARROWS, SPACE), held) for held in range(1, 10)
        )
        return {"": self._action_of(()), **{keys: self._action_of(keys) for keys in known}}

    def _action_of(self, keys: tuple[int, ...]) -> Any:
        """Returns the action whose jerks some keys ask for."""
        throttle, brake, left, right = (
            letter in keys or arrow in keys for letter, arrow in zip(LETTERS, ARROWS, strict=True)
        )
        settings = self.settings
        if settings.dynamics != "jerk":
            share = np.array([0.5 * (throttle - brake) if keys else -1.0, 0.5 * (left - right)])
            if settings.action_type != "discrete":
                return share.astype(np.float32)
            bins = np.array(bins_of(settings.dynamics, settings.action_bins))
            first, second = np.rint((share + 1.0) / 2.0 * (bins - 1)).astype(int)
            return int(first * bins[1] + second)
        long, lat = np.array(settings.jerk_long), np.array(settings.jerk_lat)
        wanted = 0.0 if keys else long.min()
        if throttle != brake:
            wanted = long.max() if throttle else long[long < 0.0].max()
        side = (left - right) * (lat.max() if left else -lat.min())
        if settings.action_type == "discrete":
            nearest = np.abs(long - wanted).argmin(), np.abs(lat - side).argmin()
            return int(nearest[0] * len(lat) + nearest[1])
        pair = [
            jerk / max(jerks.max() if jerk > 0.0 else -jerks.min(), 1e-6)
            for jerk, jerks in ((wanted, long), (side, lat))
        ]
        return np.clip(pair, -1.0, 1.0).astype(np.float32)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """See `DrivingVectorEnv.get_state`."""
        return self.vector.get_state()

    def set_state(self, state: Mapping[str, Any]) -> F32:
        """See `DrivingVectorEnv.set_state`; returns the observation."""
        return self._own(self.vector.set_state(state))

    def render(self) -> NDArray[np.uint8] | None:
        """Returns a frame uint8 [size, size, 3] that follows the ego, None unless "rgb_array"."""
        if self.render_mode is None:
            warn_of_no_mode(self.spec, "make")
            return None
        frames = self.vector.render()
        return None if frames is None else frames[0]

    def frame(
        self, *, span: float | None = None, size: int | None = None, hud: bool | None = None
    ) -> NDArray[np.uint8]:
        """See `DrivingVectorEnv.frame`; the camera follows the ego, whatever the render mode."""
        return self.vector.frame(0, span=span, size=size, hud=hud)

    def save_replay(self, path: str | os.PathLike[str]) -> None:
        """See `DrivingVectorEnv.save_replay`."""
        self.vector.save_replay(path)

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.vector.close()


def _of_scene(infos: Infos) -> Infos:
    """Returns what infos of one row tell of its scene and of metrics, in plain numbers."""
    out: Infos = {}
    for name in OF_SCENE[:2]:
        if name in infos:
            out[name] = infos[name].tolist()[0]
    for group in OF_SCENE[2:]:
        if group in infos:
            told = {name: value for name, value in infos[group].items() if name[0] != "_"}
            out[group] = {
                name: value[0].item() for name, value in told.items() if infos[group][f"_{name}"][0]
            }
    return out
