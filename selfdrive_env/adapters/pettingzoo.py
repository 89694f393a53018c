"""One world of SelfPlay-v0 as a PettingZoo `ParallelEnv`.

An agent whose episode ends leaves `agents` for good. With `entrants`, others enter in its place
under names of their own, as long as there are names left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_integer
from selfdrive_env.config.images import STATE, require_rows
from selfdrive_env.config.settings import DEFAULT_AGENTS, Settings
from selfdrive_env.envs.backend import NumpyBackend
from selfdrive_env.envs.infos import Infos
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.maps import MapError
from selfdrive_env.state.arrays import F32

try:
    from pettingzoo import ParallelEnv
except ImportError as error:
    raise ImportError(
        'the PettingZoo adapter needs PettingZoo: pip install "selfdrive_env[pettingzoo]"'
    ) from error

__all__ = ["DrivingParallelEnv"]

NOT_HERE = ("num_envs", "autoreset_mode", "device", "output", "traffic", "driver")
"""Settings that one world of learning agents has no use for."""


class _NoneWaits(NumpyBackend):
    """Finished agents stay away until they are placed again, and stop nobody until then."""

    def waiting(self) -> NDArray[np.bool_]:
        return np.zeros(1, np.bool_)


class DrivingParallelEnv(ParallelEnv):
    """One world of agents that all learn, by name: agent_0, agent_1 and so on.

    The five dictionaries that `step` returns have an entry for each agent that was there before the
    step and for each that entered in it (reward 0); `agents` names those that are still there. The
    info of an agent that left holds the metrics of its episode by name.

    Args:
        entrants: So many more agents enter, one for each that left, where there is a free place.
        render_mode: None or "rgb_array"; the camera follows the first of `agents`.
        **settings: See `selfdrive_env.config.settings.Settings`, without `NOT_HERE`.

    Raises:
        ValueError: For a value out of range, named with what is allowed.
        TypeError: For a setting that does not apply.
    """

    def __init__(
        self, *, entrants: int = 0, render_mode: str | None = None, **settings: Any
    ) -> None:
        wrong = [name for name in NOT_HERE if name in settings]
        if wrong:
            raise TypeError(f"{wrong[0]} is a setting of make_vec, not of DrivingParallelEnv")
        settings = {"agents_per_world": DEFAULT_AGENTS, "stagger": False, **settings}
        require_rows(settings.get("observation", STATE), "DrivingParallelEnv")
        slots = Settings.from_keywords(settings).slots
        check_integer("entrants", entrants, 0, 1_000_000)
        self.vector = DrivingVectorEnv(
            slots,
            autoreset_mode="Disabled",
            render_mode=render_mode,
            backend=_NoneWaits,
            **settings,
        )
        self.metadata = {
            "name": "selfdrive_v0",
            "is_parallelizable": True,
            "render_modes": self.vector.metadata["render_modes"],
            "render_fps": self.vector.metadata["render_fps"],
        }
        self.render_mode = render_mode
        self.possible_agents = [f"agent_{i}" for i in range(slots + entrants)]
        self.agents: list[str] = []
        seen, action = self.vector.single_observation_space, self.vector.single_action_space
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen)
        self.action_spaces = {
            agent: type(action)(**_arguments(action)) for agent in self.possible_agents
        }
        features = self.vector.engine.observations.shape[1]
        self.state_space = Box(-1.0, 1.0, (slots * features,), seen.dtype)  # type: ignore[arg-type]
        self._slots: dict[str, int] = {}
        self._free: set[int] = set()
        self._named = 0

    def observation_space(self, agent: str) -> Space[Any]:
        """Returns the space of an agent's observations, the same object for all."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        """Returns the space of an agent's actions."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, F32], dict[str, Infos]]:
        """Draws the world anew.

        Args:
            seed: Of all that follows, None to go on with the stream.
            options: Not used; PettingZoo wants any to be taken.

        Returns:
            Observations float32 [features] and infos (`learn`) by agent.
        """
        self._rows, infos = self.vector.reset(seed=seed)
        self._slots, self._free, self._named = {}, set(), 0
        self._enter(np.flatnonzero(infos["valid"]).tolist())
        if not self.agents:
            raise MapError(f"no free place for any agent on {self.vector.settings.map_text}")
        learn = {agent: {"learn": bool(infos["learn"][i])} for agent, i in self._slots.items()}
        return {agent: self._rows[i] for agent, i in self._slots.items()}, learn

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, F32], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Infos]
    ]:
        """Advances the world by `dt`.

        Args:
            actions: One for each of `agents`.

        Returns:
            Observations, rewards, terminated, truncated and infos by agent.
        """
        if set(actions) != set(self.agents):
            missing, unknown = set(self.agents) - set(actions), set(actions) - set(self.agents)
            raise ValueError(
                "actions must have one entry for each of `agents`: missing "
                f"{sorted(missing)[:4]}, not there {sorted(unknown)[:4]}"
            )
        if not self.agents:
            return {}, {}, {}, {}, {}
        here = dict(self._slots)
        self._rows, reward, terminated, truncated, infos = self.vector.step(self._batch(actions))
        observations = {agent: self._rows[i] for agent, i in here.items()}
        rewards = {agent: float(reward[i]) for agent, i in here.items()}
        ends = {agent: bool(terminated[i]) for agent, i in here.items()}
        cuts = {agent: bool(truncated[i]) for agent, i in here.items()}
        told = {agent: _info(infos, i, ends[agent] or cuts[agent]) for agent, i in here.items()}
        self._leave([agent for agent in here if ends[agent] or cuts[agent]])
        for agent, i in self._refill().items():
            observations[agent], rewards[agent] = self._rows[i], 0.0
            ends[agent] = cuts[agent] = False
            told[agent] = {"learn": bool(self.vector.engine.rows.learn[i])}
        return observations, rewards, ends, cuts, told

    def _batch(self, actions: dict[str, Any]) -> NDArray[Any]:
        batch = np.zeros(self.vector.action_space.shape or (), self.vector.action_space.dtype)
        for agent, action in actions.items():
            batch[self._slots[agent]] = action
        return batch

    def _leave(self, agents: list[str]) -> None:
        for agent in agents:
            self._free.add(self._slots.pop(agent))
        self.agents = list(self._slots)

    def _enter(self, slots: list[int]) -> dict[str, int]:
        names = self.possible_agents[self._named : self._named + len(slots)]
        entered = dict(zip(names, slots, strict=True))
        self._named += len(slots)
        self._slots |= entered
        self._free -= set(slots)
        self.agents = list(self._slots)
        return entered

    def _refill(self) -> dict[str, int]:
        """Lets agents enter in free slots while there are names; returns them with their slots."""
        left = len(self.possible_agents) - self._named
        if not self._free or not left or self.vector.engine.worlds.ended[0]:
            return {}
        slots = sorted(self._free)[:left]
        chosen = np.zeros(self.vector.num_envs, np.bool_)
        chosen[slots] = True
        none_whole = np.zeros(1, np.uint8)
        self.vector.engine.reset(chosen[None].astype(np.uint8), none_whole, staggered=False)
        self._rows = self.vector.backend.observations()
        infos = self.vector.backend.infos()
        return self._enter([i for i in slots if infos["valid"][i]])

    def state(self) -> F32:
        """Returns the observations of all slots one after the other, zero where nobody is."""
        there = np.zeros((self.vector.num_envs, 1), self._rows.dtype)
        there[list(self._slots.values())] = 1
        flat: F32 = (self._rows * there).reshape(-1)
        return flat

    def render(self) -> NDArray[np.uint8] | None:
        """Returns a frame uint8 [size, size, 3] that follows the first agent."""
        if self.render_mode != "rgb_array":
            return None
        return self.vector.frame(next(iter(self._slots.values()), 0))

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.vector.close()


def _info(infos: Infos, slot: int, ended: bool) -> Infos:
    """Returns what a step tells of one agent: its metrics if its episode ended."""
    learn = {"learn": bool(infos["learn"][slot])}
    if not ended:
        return learn
    names = [name for name in infos if name[0] != "_" and name not in ("valid", "learn")]
    return learn | {name: infos[name][slot].item() for name in names}


def _arguments(space: Any) -> dict[str, Any]:
    """Returns what makes another space like this one, with a random stream of its own."""
    if isinstance(space, Box):
        return dict(low=space.low, high=space.high, dtype=space.dtype)
    return dict(n=space.n)
