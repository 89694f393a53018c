"""The wrappers of the single form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from selfdrive_env.envs.infos import tallies_of_rows

__all__ = ["OwnObservation", "OwnReward", "OwnTermination"]

Step = tuple[Any, float, bool, bool, dict[str, Any]]


class OwnReward(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Gives what a function makes of observation, reward and info in place of the reward.

    Args:
        env: A single environment.
        function: `function(observation, reward, info)` returns the reward of the step.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], function: Callable[[Any, float, Any], float]
    ) -> None:
        RecordConstructorArgs.__init__(self, function=function)
        gymnasium.Wrapper.__init__(self, env)
        self.function = function

    def step(self, action: Any) -> Step:
        """Steps; returns the function's reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        own = float(self.function(observation, float(reward), info))
        return observation, own, terminated, truncated, info


class OwnObservation(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Gives what a function makes of observation and info in place of the observation.

    Args:
        env: A single environment.
        function: `function(observation, info)` returns the new one; an info of a reset has no
            events and no terms.
        observation_space: Of the new ones.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        function: Callable[[Any, Any], Any],
        observation_space: gymnasium.Space[Any],
    ) -> None:
        RecordConstructorArgs.__init__(self, function=function, observation_space=observation_space)
        gymnasium.Wrapper.__init__(self, env)
        self.function = function
        self.observation_space = observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets; returns the function's observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self.function(observation, info), info

    def step(self, action: Any) -> Step:
        """Steps; returns the function's observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        own = self.function(observation, info)
        return own, float(reward), terminated, truncated, info


class OwnTermination(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Ends the episode also where a function says so; info has its metrics then, too.

    Args:
        env: A single environment.
        function: `function(observation, info)` returns whether the episode is over.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], function: Callable[[Any, Any], bool]) -> None:
        RecordConstructorArgs.__init__(self, function=function)
        gymnasium.Wrapper.__init__(self, env)
        self.function = function

    def step(self, action: Any) -> Step:
        """Steps; `terminated` is also True where the function's is."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        ends = not (terminated or truncated) and bool(self.function(observation, info))
        if ends:
            tallies = tallies_of_rows(self.get_wrapper_attr("state"), 1)
            info = {**info, **{name: column[0].item() for name, column in tallies.items()}}
        return observation, float(reward), terminated or ends, truncated, info
