"""The vector environment as the `IVecEnv` of rl_games: tensors in, tensors out, on one device.

Every row is an actor: `num_actors` in rl_games' configuration is `num_envs` here.
"""

from __future__ import annotations

from typing import Any

try:
    import torch
    from rl_games.common import env_configurations, vecenv
    from rl_games.common.ivecenv import IVecEnv
except ImportError as error:
    raise ImportError(
        'the rl_games adapter needs rl_games: pip install "rl-games>=1.6.5"'
    ) from error

from selfdrive_env.adapters import make_rows

__all__ = ["RLGamesVecEnv", "register"]

NOT_HERE = ("autoreset_mode", "output")
"""Settings that the adapter chooses itself."""


class RLGamesVecEnv(IVecEnv):
    """Rows of the environment for the PPO of rl_games, discrete or continuous.

    `infos` holds "time_outs" (truncated rows; with `value_bootstrap` rl_games adds the value of the
    observation before to their rewards) and, after ends, "episode": the means of the metrics of the
    episodes that ended. Tensors belong to the caller, unless `copy` is False.

    Args:
        id: Of `ENVIRONMENTS`, such as "selfdrive_env/Drive-v0".
        num_envs: Rows.
        **settings: Keywords of `gymnasium.make_vec`, without `NOT_HERE`, and `seed`.

    Raises:
        TypeError: For a setting that the adapter chooses itself.
    """

    def __init__(
        self,
        id: str = "selfdrive_env/SelfPlay-v0",
        *,
        num_envs: int,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        self.vector = make_rows("RLGamesVecEnv", NOT_HERE, id, num_envs, settings, output="torch")
        self._seed = seed

    def reset(self) -> torch.Tensor:
        """Starts new episodes; returns observations [num_envs, features]."""
        observations, _ = self.vector.reset(seed=self._seed)
        self._seed = None
        found: torch.Tensor = observations
        return found

    def step(
        self, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Advances all worlds.

        Args:
            actions: Integers [num_envs], or floats in [-1, 1] [num_envs, 2] (`clip_actions`).

        Returns:
            Observations (of ended rows the first of the next episode), rewards [num_envs], ends
            [num_envs] and infos.
        """
        observations, reward, terminated, truncated, told = self.vector.step(actions)
        done = terminated | truncated
        infos: dict[str, Any] = {"time_outs": truncated & ~terminated}
        if done.any():
            finals = told["final_info"]
            names = [name for name in finals if name[0] != "_"]
            means = torch.stack([finals[name].float() for name in names])[:, done].mean(1)
            infos["episode"] = dict(zip(names, means, strict=True))
        return observations, reward, done.to(torch.uint8), infos

    def get_number_of_agents(self) -> int:
        """Returns 1: agents are rows, not parts of one."""
        return 1

    def get_env_info(self) -> dict[str, Any]:
        """Returns the spaces of one row."""
        return {
            "observation_space": self.vector.single_observation_space,
            "action_space": self.vector.single_action_space,
            "agents": 1,
        }

    def seed(self, seed: int | None) -> None:
        """Keeps a seed for the next reset."""
        self._seed = seed

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.vector.close()


def register(name: str = "selfdrive_env", **settings: Any) -> None:
    """Makes `env_name: <name>` known to rl_games.

    Args:
        name: What the configuration calls it.
        **settings: Of `RLGamesVecEnv`, without `num_envs`; `env_config` of the configuration goes
            before them.
    """
    vecenv.register(
        name,
        lambda _, num_actors, **more: RLGamesVecEnv(num_envs=num_actors, **{**settings, **more}),
    )
    env_configurations.register(name, {"vecenv_type": name, "env_creator": None})
