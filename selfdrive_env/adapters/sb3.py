"""The vector environment as a Stable-Baselines3 `VecEnv`, and batched values for truncated rows.

Every row of the environment is one sub-environment. SB3 has no row mask: rows whose
`infos["learn"]` is False are trained on like others, so leave `blind_share` and `braking_share` at
0; rows whose `infos["valid"]` is False (no free place for the agent) see zeros and get no reward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

try:
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.utils import obs_as_tensor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError(
        "the SB3 adapter needs Stable-Baselines3: pip install 'selfdrive_env[sb3]'"
    ) from error

from selfdrive_env.state.arrays import F32

__all__ = ["BatchedBootstrap", "SB3VecEnv"]

Info = dict[str, Any]


class SB3VecEnv(VecEnv):
    """Rows of a vector environment as the sub-environments of Stable-Baselines3.

    Returned arrays belong to the caller, whatever the setting `copy`. The info of a row whose
    episode ended holds `terminal_observation`, `TimeLimit.truncated` and the metrics of the episode
    by name (for `VecMonitor(info_keywords=...)`); the infos of other rows are empty and used again
    at each step, so do not write to them.

    Args:
        env: Id (`"selfdrive_env/SelfPlay-v0"`), or a vector environment with SameStep autoreset.
        **settings: Keywords of `gymnasium.make_vec`; only with an id.

    Raises:
        TypeError: If an environment was given together with settings, or is no vector environment.
        ValueError: For another autoreset mode: SB3 would train on the rows of a reset.
    """

    def __init__(self, env: str | VectorEnv[Any, Any, Any], **settings: Any) -> None:
        if isinstance(env, str):
            env = gymnasium.make_vec(env, **settings)
        elif settings:
            raise TypeError(f"settings {sorted(settings)} need an id, got an environment")
        if not isinstance(env, VectorEnv):
            raise TypeError(f"env must be an id or a VectorEnv, got {type(env).__name__}")
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            name = getattr(mode, "value", mode)
            raise ValueError(f"autoreset_mode must be 'SameStep' for SB3, got {name!r}")
        self.env = env
        self.spec = env.spec
        self._actions: Any = None
        self._idle: list[Info] = [{} for _ in range(env.num_envs)]
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> F32:
        """Starts new episodes with the seed and options set before.

        Returns:
            Observations, float32 [num_envs, features].
        """
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError("options must be the same for all rows: they share one environment")
        seed = self._seeds[0]
        observations, infos = self.env.reset(seed=seed, options=options or None)
        self.reset_infos = _row_infos(infos, np.arange(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        return np.array(observations)

    def step_async(self, actions: Any) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[F32, F32, NDArray[np.bool_], list[Info]]:
        """Steps all rows.

        Returns:
            Observations float32 [num_envs, features], rewards float32 [num_envs], ends of episodes
            bool [num_envs], and an info for each row.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        done = terminated | truncated
        row_infos = self._idle.copy()
        ended = np.flatnonzero(done)
        if len(ended):
            finals = infos["final_obs"][ended]
            cut = (truncated & ~terminated)[ended].tolist()
            metrics = _row_infos(infos["final_info"], ended)
            for place, row in enumerate(ended.tolist()):
                info = metrics[place]
                info["terminal_observation"] = finals[place]
                info["TimeLimit.truncated"] = cut[place]
                row_infos[row] = info
        return self._owned(observations), self._owned(rewards), done, row_infos

    def _owned(self, array: F32) -> F32:
        copies = getattr(getattr(self.env.unwrapped, "settings", None), "copy", False)
        return array if copies else array.copy()

    def close(self) -> None:
        """Closes the environment; twice is fine."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns an attribute of the environment, once for each of the rows `indices`."""
        return [self._attribute(attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the environment, which all rows share: `indices` must hold all."""
        if set(self._rows(indices)) != set(range(self.num_envs)):
            raise ValueError(
                f"indices must hold all {self.num_envs} rows, which share {attr_name!r}, got "
                f"{indices!r}"
            )
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the environment once; returns its result for each of the rows.

        `render` gives each row its own frame.
        """
        rows = self._rows(indices)
        if method_name == "render":
            frame = self._attribute("frame")
            return [None if self.render_mode is None else frame(row) for row in rows]
        return [self._attribute(method_name)(*method_args, **method_kwargs)] * len(rows)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Returns for each of the rows whether a Gymnasium wrapper of that class is in place."""
        env: Any = self.env
        while not isinstance(env, wrapper_class) and env is not env.unwrapped:
            env = env.env
        return [isinstance(env, wrapper_class)] * len(self._rows(indices))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Returns a frame for each row, following its agent."""
        return self.env_method("render")

    def _attribute(self, name: str) -> Any:
        return getattr(self.env if hasattr(self.env, name) else self.env.unwrapped, name)

    def _rows(self, indices: Any) -> list[int]:
        rows: Iterable[int] = self._get_indices(indices)
        return [range(self.num_envs)[int(row)] for row in rows]


def _row_infos(infos: Mapping[str, Any], rows: NDArray[np.integer]) -> list[Info]:
    """Turns dense arrays by name into one dict of Python numbers for each of the rows."""
    names = [name for name in infos if not name.startswith("_")]
    columns = [np.asarray(infos[name])[rows].tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


class BatchedBootstrap(BaseCallback):
    """Adds gamma V(terminal observation) to the rewards of truncated rows in one forward pass.

    On-policy algorithms of SB3 do the same one row at a time, which takes most of the time when a
    whole world is truncated. As a callback of `learn` it comes after all wrappers: `VecMonitor`
    counts the bare rewards, and under `VecNormalize` both sides are normalised. Truncated rows then
    report `TimeLimit.truncated` False, so that SB3 does not add the value again.
    """

    def _init_callback(self) -> None:
        if not isinstance(self.model, OnPolicyAlgorithm):
            raise TypeError(
                "BatchedBootstrap needs an on-policy algorithm, whose values it takes, got "
                f"{type(self.model).__name__}"
            )

    def _on_step(self) -> bool:
        infos, rewards = self.locals["infos"], self.locals["rewards"]
        ended = np.flatnonzero(self.locals["dones"])
        cut = [row for row in ended.tolist() if infos[row].get("TimeLimit.truncated", False)]
        if cut:
            finals = np.stack([infos[row]["terminal_observation"] for row in cut])
            model: Any = self.model
            with torch.no_grad():
                values = model.policy.predict_values(obs_as_tensor(finals, model.device))
            rewards[cut] += model.gamma * values.flatten().cpu().numpy()
            for row in cut:
                infos[row]["TimeLimit.truncated"] = False
        return True
