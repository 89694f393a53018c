"""The vector environment as the `VecEnv` of rsl_rl: tensors in, tensors out, on one device.

Its policies are Gaussian, so actions are continuous: what lies outside [-1, 1] is clipped.
"""

from __future__ import annotations

from typing import Any

try:
    import torch
    from rsl_rl.env import VecEnv
    from tensordict import TensorDict
except ImportError as error:
    raise ImportError('the rsl_rl adapter needs rsl_rl: pip install "rsl-rl-lib>=5"') from error

from selfdrive_env.adapters import make_rows

__all__ = ["RslRlVecEnv"]

NOT_HERE = ("action_type", "autoreset_mode", "output")
"""Settings that the adapter chooses itself."""


class RslRlVecEnv(VecEnv):
    """Rows of the environment for `rsl_rl.runners.OnPolicyRunner`.

    Observations come as one group, "policy" [num_envs, features]. `extras` holds "time_outs"
    (truncated rows, for which rsl_rl adds the value of the observation before) and, after ends,
    "log": the means of goals, collisions, off-road and so on of the episodes that ended.

    Args:
        id: Of `ENVIRONMENTS`, such as "selfdrive_env/Drive-v0".
        num_envs: Rows.
        seed: Of the reset, which happens here.
        **settings: Keywords of `gymnasium.make_vec`, without `NOT_HERE`.

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
        chosen: dict[str, Any] = {"action_type": "continuous", "output": "torch"}
        self.vector = make_rows("RslRlVecEnv", NOT_HERE, id, num_envs, settings, **chosen)
        self.num_envs = num_envs
        self.num_actions = int(self.vector.single_action_space.shape[0])
        self.device = self.vector.device
        self.max_episode_length = int(self.vector.settings.steps)
        self.cfg = {"id": id, "num_envs": num_envs, **settings}
        self._ages = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self._observations, _ = self.vector.reset(seed=seed)

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps since the agent of each row was placed, [num_envs]."""
        return self._ages

    @episode_length_buf.setter
    def episode_length_buf(self, value: Any) -> None:
        raise ValueError(
            "init_at_random_ep_len must be False: the clocks of the worlds are staggered already "
            "(setting `stagger`)"
        )

    def get_observations(self) -> TensorDict:
        """Returns the current observations."""
        return TensorDict({"policy": self._observations}, [self.num_envs], device=self.device)

    def step(
        self, actions: torch.Tensor
    ) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Advances all worlds.

        Args:
            actions: Longitudinal and lateral, [num_envs, 2], clipped to [-1, 1].

        Returns:
            Observations (of ended rows the first of the next episode), rewards [num_envs], ends
            [num_envs] and extras.
        """
        self._observations, reward, terminated, truncated, infos = self.vector.step(
            actions.clamp(-1.0, 1.0)
        )
        done = terminated | truncated
        self._ages = torch.where(done, 0, self._ages + 1)
        extras: dict[str, Any] = {"time_outs": truncated & ~terminated}
        if done.any():
            finals = infos["final_info"]
            names = [name for name in finals if not name.startswith(("_", "reward_"))]
            means = torch.stack([finals[name].float() for name in names])[:, done].mean(1)
            extras["log"] = {f"/{name}": mean for name, mean in zip(names, means, strict=True)}
        return self.get_observations(), reward, done, extras

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.vector.close()
