"""The vector environment as a TorchRL `EnvBase`: a batch of worlds, with their agents as a group.

Rows run in SameStep mode. TorchRL asks for the last observation of an episode in "next" and for the
first of the following one in a partial reset: both are there after the step, so that a reset of
rows that ended costs nothing.
"""

from __future__ import annotations

from typing import Any

try:
    import torch
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase
except ImportError as error:
    raise ImportError('the TorchRL adapter needs TorchRL: pip install "torchrl>=0.14"') from error

from selfdrive_env.adapters import make_rows

__all__ = ["DrivingEnvBase"]

NOT_HERE = ("autoreset_mode", "output")
"""Settings that the adapter chooses itself."""


class DrivingEnvBase(EnvBase):
    """Worlds as the batch, agents as the second axis of the group "agents".

    Keys, with W worlds of A agents and F features: ("agents", "observation") [W, A, F],
    ("agents", "mask") bool [W, A] (False where there is no agent: such a row is zero and gets no
    reward), ("agents", "learn") bool [W, A], ("agents", "action") [W, A] or [W, A, 2],
    ("agents", "reward") and ("agents", "done" | "terminated" | "truncated") [W, A, 1]. `infos`
    holds what the last step told, `final_info` among it. Tensors are on the device of the worlds
    and belong to the caller, unless `copy` is False.

    Args:
        id: Of `ENVIRONMENTS`, such as "selfdrive_env/Drive-v0" (A = 1).
        num_envs: Rows, W x A.
        seed: Of the first reset.
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
        self.vector = make_rows(
            "DrivingEnvBase", NOT_HERE, id, num_envs, settings, pictures=True, output="torch"
        )
        shape = (self.vector.num_worlds, self.vector.rows_per_world)
        super().__init__(device=self.vector.device, batch_size=shape[:1])
        self.infos: dict[str, Any] = {}
        self._shape = torch.Size(shape)
        self._seed = seed
        self._observations = torch.empty(0)
        self._ended = torch.empty(0)
        self._make_specs()

    def _make_specs(self) -> None:
        shape, device = self._shape, self.device
        seen = self.vector.single_observation_space
        if seen.shape is None:
            raise ValueError(
                "observation must be of one kind for DrivingEnvBase, which has one group of "
                f"observations, got {self.vector.settings.observation!r}"
            )
        plain = len(seen.shape) == 1
        dtype = getattr(torch, self.vector.settings.obs_dtype if plain else str(seen.dtype))
        low, high = float(seen.low.min()), float(seen.high.max())
        flag = Binary(1, shape=(*shape, 1), dtype=torch.bool, device=device)
        mask = Binary(shape[1], shape=shape, dtype=torch.bool, device=device)
        rows = Bounded(low, high, (*shape, *seen.shape), device=device, dtype=dtype)
        if self.vector.settings.action_type == "discrete":
            choices = int(self.vector.single_action_space.n)
            action: Any = Categorical(choices, shape=shape, device=device)
        else:
            space = self.vector.single_action_space
            low, high = float(space.low.min()), float(space.high.max())
            action = Bounded(low, high, (*shape, *space.shape), device=device)
        self.observation_spec = self._group(observation=rows, mask=mask, learn=mask.clone())
        self.action_spec = self._group(action=action)
        self.reward_spec = self._group(reward=Unbounded((*shape, 1), device=device))
        self.done_spec = self._group(done=flag, terminated=flag.clone(), truncated=flag.clone())

    def _group(self, **specs: Any) -> Any:
        agents = Composite(specs, shape=self._shape, device=self.device)
        return Composite(agents=agents, shape=self.batch_size, device=self.device)

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        wanted = None if tensordict is None else tensordict.get(("agents", "_reset"), None)
        if wanted is None:
            self._observations, self.infos = self.vector.reset(seed=self._seed)
            self._seed = None
        else:  # rows that ended have been placed again in the step
            early = wanted.reshape(-1) & ~self._ended
            if early.any():
                options = {"reset_mask": early.cpu().numpy()}
                self._observations, self.infos = self.vector.reset(options=options)
        self._ended = torch.zeros(self.vector.num_envs, dtype=torch.bool, device=self.device)
        return self._worlds(**self._seen(self._observations), **self._flags(self._ended))

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        action = tensordict.get(("agents", "action")).flatten(0, 1)
        rows, reward, terminated, truncated, self.infos = self.vector.step(action)
        self._observations, self._ended = rows, terminated | truncated
        last = self.infos.get("final_obs")
        if last is not None:
            ended = self._ended.view(-1, *(1,) * (rows.ndim - 1))
            rows = torch.where(ended, last, rows)
        flags = self._flags(terminated, truncated)
        seen = self._seen(rows)
        seen["mask"] = seen["mask"] | self._ended  # they were there, whoever follows them
        return self._worlds(**seen, reward=reward[:, None], **flags)

    def _seen(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(observation=rows, mask=self.infos["valid"], learn=self.infos["learn"])

    def _flags(
        self, terminated: torch.Tensor, truncated: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        truncated = torch.zeros_like(terminated) if truncated is None else truncated
        flags = dict(done=terminated | truncated, terminated=terminated, truncated=truncated)
        return {name: flag[:, None] for name, flag in flags.items()}

    def _worlds(self, **rows: torch.Tensor) -> TensorDictBase:
        """Returns rows as worlds with a group of agents."""
        agents = {name: value.unflatten(0, self._shape) for name, value in rows.items()}
        group = TensorDict(agents, self._shape, device=self.device)
        return TensorDict({"agents": group}, self.batch_size, device=self.device)

    def _set_seed(self, seed: int | None) -> None:
        self._seed = seed

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Closes the environment."""
        self.vector.close()
        super().close(raise_if_closed=raise_if_closed)
