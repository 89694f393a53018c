"""The vector environment as a native `PufferEnv`: everything in place, in buffers of PufferLib's.

Kernels write observations straight into `observations`, also where that is the shared memory of a
worker process; rewards and flags, a few bytes a row, are copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from pufferlib import PufferEnv
except ImportError as error:
    raise ImportError(
        'the PufferLib adapter needs PufferLib: pip install "pufferlib>=3" (it compiles C and '
        "loads libraries from the net)"
    ) from error

from selfdrive_env.adapters import make_rows

__all__ = ["DrivingPufferEnv"]

NOT_HERE = ("autoreset_mode", "copy", "device", "output")
"""Settings that the adapter chooses itself."""


class DrivingPufferEnv(PufferEnv):
    """Rows of the environment as the agents of PufferLib.

    Episodes end and start within a step (SameStep). `masks` is False for rows without an agent.
    `step` and `reset` return a list of infos: after ends one dictionary with the means of the
    metrics of the episodes that ended, else none.

    Args:
        id: Of `ENVIRONMENTS`, such as "selfdrive_env/Drive-v0".
        num_agents: Rows.
        buf: Arrays to write into by name (`observations`, `rewards`, `terminals`, `truncations`,
            `masks`, `actions`), as PufferLib gives them; None makes new ones.
        seed: Of the first reset, where that gives none.
        **settings: Keywords of `gymnasium.make_vec`, without `NOT_HERE`.

    Raises:
        TypeError: For a setting that the adapter chooses itself.
    """

    def __init__(
        self,
        id: str = "selfdrive_env/SelfPlay-v0",
        *,
        num_agents: int,
        buf: Any = None,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        self.vector = make_rows("DrivingPufferEnv", NOT_HERE, id, num_agents, settings, copy=False)
        self.num_agents = num_agents
        self.single_observation_space = self.vector.single_observation_space
        self.single_action_space = self.vector.single_action_space
        self._seed = seed
        super().__init__(buf)
        engine = self.vector.engine
        self._direct = engine.num_rows == num_agents  # not where a policy drives the traffic
        if self._direct:
            engine.observe_into(self.observations)

    def reset(self, seed: int | None = None) -> tuple[NDArray[Any], list[dict[str, Any]]]:
        """Starts new episodes.

        Returns:
            `observations`, and no infos.
        """
        rows, infos = self.vector.reset(seed=self._seed if seed is None else seed)
        self._seed = None
        self._take(rows, infos)
        self.rewards[:] = 0
        self.terminals[:] = self.truncations[:] = False
        return self.observations, []

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, list[dict[str, Any]]]:
        """Advances all worlds.

        Args:
            actions: Integers [num_agents], or floats in [-1, 1] [num_agents, 2].

        Returns:
            `observations`, `rewards`, `terminals` and `truncations`, written in place, and infos.
        """
        rows, reward, terminated, truncated, infos = self.vector.step(np.asarray(actions))
        self._take(rows, infos)
        self.rewards[:] = reward
        self.terminals[:] = terminated
        self.truncations[:] = truncated
        told = _means(infos, terminated | truncated)
        return self.observations, self.rewards, self.terminals, self.truncations, told

    def _take(self, rows: NDArray[Any], infos: dict[str, Any]) -> None:
        if not self._direct:
            self.observations[:] = rows
        self.masks[:] = infos["valid"]

    def render(self) -> NDArray[np.uint8] | None:
        """Returns a frame uint8 [size, size, 3] that follows the first agent."""
        return self.vector.frame(0) if self.vector.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.vector.close()


def _means(infos: dict[str, Any], ended: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Returns the means of what ended episodes tell, by name; nothing where none ended."""
    if not ended.any():
        return []
    finals = infos["final_info"]
    return [{name: float(finals[name][ended].mean()) for name in finals if name[0] != "_"}]
