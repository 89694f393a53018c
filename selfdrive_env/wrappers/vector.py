"""The wrappers of the vector form: functions get all rows at once, and infos of dense arrays.

Reward and termination are made of how the step ended: in rows whose episode ended and that start
anew in the same step (`autoreset_mode="SameStep"`), functions get the last observation of the old
episode and its outlook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from selfdrive_env.envs.infos import OUTLOOK, add_finals, add_outlook, tallies_of_rows

__all__ = ["OwnObservation", "OwnReward", "OwnTermination", "at_end"]

Infos = dict[str, Any]
Step = tuple[Any, Any, Any, Any, Infos]


def at_end(observations: NDArray[Any], infos: Infos) -> tuple[NDArray[Any], Infos]:
    """Returns observations and infos of the end of a step, before rows were started anew.

    Args:
        observations: As `step` gave them, [rows, ...].
        infos: Likewise.
    """
    if "final_obs" not in infos:
        return observations, infos
    done, last = infos["_final_obs"], infos["final_info"]
    told = {name: np.where(done, last[name], infos[name]) for name in OUTLOOK if name in last}
    return chosen(done, infos["final_obs"], observations), {**infos, **told}


def chosen(rows: NDArray[np.bool_], one: Any, other: Any) -> Any:
    """Returns the rows of some observations where a mask says so, elsewhere those of others."""
    if isinstance(one, dict):
        return {name: chosen(rows, one[name], other[name]) for name in one}
    return np.where(rows.reshape(-1, *(1,) * (other.ndim - 1)), one, other)


def zeros_of(observations: Any) -> Any:
    """Returns zeros in the form of observations."""
    if isinstance(observations, dict):
        return {name: zeros_of(one) for name, one in observations.items()}
    return np.zeros_like(observations)


def _check(env: VectorEnv[Any, Any, Any], name: str, *, told: bool) -> None:
    """Refuses environments whose results a wrapper cannot read."""
    settings = env.unwrapped.settings  # type: ignore[attr-defined]
    if settings.output != "numpy":
        raise ValueError(f"{name} needs output='numpy', got {settings.output!r}")
    if told and not settings.step_info:
        raise ValueError(f"{name} needs the setting step_info=True, which is False here")


class OwnReward(VectorWrapper[Any, Any, Any, Any, Any]):
    """Gives what a function makes of observations, rewards and infos in place of the rewards.

    Args:
        env: A vector environment with `step_info=True`.
        function: `function(observations, rewards, infos)` returns the rewards, [rows].
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], function: Callable[[Any, Any, Infos], Any]
    ) -> None:
        _check(env, "OwnReward", told=True)
        super().__init__(env)
        self.function = function

    def step(self, actions: Any) -> Step:
        """Steps; returns the function's rewards as float32."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        seen, told = at_end(observations, infos)
        own = np.asarray(self.function(seen, rewards, told), np.float32)
        if own.shape != (self.num_envs,):
            raise ValueError(f"function must return rewards [{self.num_envs}], got {own.shape}")
        return observations, own, terminated, truncated, infos


class OwnObservation(VectorWrapper[Any, Any, Any, Any, Any]):
    """Gives what a function makes of observations and infos in place of the observations.

    Args:
        env: A vector environment.
        function: `function(observations, infos)` returns the new ones, [rows, ...]. `OUTLOOK`
            belongs to the observations; events and terms are of the step, and an info of a reset
            has none.
        single_observation_space: Of one row of the new ones.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        function: Callable[[Any, Infos], Any],
        single_observation_space: gymnasium.Space[Any],
    ) -> None:
        _check(env, "OwnObservation", told=False)
        super().__init__(env)
        self.function = function
        self.single_observation_space = single_observation_space
        self.observation_space = batch_space(single_observation_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, Infos]:
        """Resets; returns the function's observations."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.function(observations, infos), infos

    def step(self, actions: Any) -> Step:
        """Steps; returns the function's observations, also in `final_obs`."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        own = self.function(observations, infos)
        if "final_obs" in infos:
            infos = {**infos, "final_obs": self.function(*at_end(observations, infos))}
        return own, rewards, terminated, truncated, infos


class OwnTermination(VectorWrapper[Any, Any, Any, Any, Any]):
    """Ends episodes also where a function says so.

    In SameStep these rows are started anew at once, with `final_obs` and `final_info` like any
    other; in Disabled the caller resets them. NextStep is refused: nothing can make a row of it
    wait. Put it below wrappers that change observations.

    Args:
        env: A vector environment with `step_info=True`.
        function: `function(observations, infos)` returns whose episode is over, bool [rows].
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], function: Callable[[Any, Infos], Any]
    ) -> None:
        _check(env, "OwnTermination", told=True)
        self._mode = AutoresetMode(env.metadata["autoreset_mode"])
        if self._mode is AutoresetMode.NEXT_STEP:
            raise ValueError(
                "OwnTermination needs autoreset_mode='SameStep' or 'Disabled', got 'NextStep'"
            )
        super().__init__(env)
        self.function = function

    def step(self, actions: Any) -> Step:
        """Steps; `terminated` is also True where the function's is."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        done = terminated | truncated
        own = np.asarray(self.function(*at_end(observations, infos)), np.bool_)
        if own.shape != (self.num_envs,):
            raise ValueError(f"function must return bool [{self.num_envs}], got {own.shape}")
        own = own & infos["valid"] & ~done
        if own.any():
            observations, infos = self._end(own, done, observations, infos)
        return observations, rewards, terminated | own, truncated, infos

    def _end(
        self, own: NDArray[np.bool_], done: NDArray[np.bool_], observations: Any, infos: Infos
    ) -> tuple[Any, Infos]:
        """Ends the episodes of `own` rows; returns observations and infos of the step."""
        env: Any = self.env.unwrapped
        same_step = self._mode is AutoresetMode.SAME_STEP
        known: Infos = infos.get("final_info", {}) if same_step else infos
        tallies = tallies_of_rows(env.state, env.rows_per_world)
        finals = [np.where(own, one, known.get(n, one.dtype.type(0))) for n, one in tallies.items()]
        ended, last, outlook = own | done, None, None
        if same_step:
            seen, told = at_end(observations, infos)
            last = chosen(ended, seen, zeros_of(seen))
            outlook = np.where(ended, [told[name] for name in OUTLOOK], np.float32(0.0)).T
            observations, shown = self.env.reset(options={"reset_mask": own})
            infos = {**infos, **shown}
        else:
            infos = dict(infos)
        add_finals(infos, ended, (finals[0], finals[1], finals[2:], ()), last, copies=False)
        if outlook is not None:
            add_outlook(infos["final_info"], outlook, ended, copies=False)
        return observations, infos
