"""Drive-v0 among trained drivers: a policy drives every agent but the ego.

Inside, every agent is observed and listens to actions, as in self-play; outside, the ego of each
world is the only row.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from selfdrive_env.config.choices import POLICIES, TRAFFIC
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.policies.files import layout_difference
from selfdrive_env.policies.numpy_policy import load_policy
from selfdrive_env.state.arrays import U8, digest
from selfdrive_env.state.world import EXTERNAL

__all__ = ["PolicyTrafficEnv"]


class PolicyTrafficEnv(DrivingVectorEnv):
    """One ego a world among agents that a trained policy drives; on the CPU.

    The policy takes its likeliest action, so that nothing but the state decides. All agents are
    observed alike: `layout` is the policy's and need not be given. Agents of the traffic that end
    are placed again at once; with `autoreset_mode="NextStep"` a step later, as the ego is.

    Args:
        num_envs: Worlds.
        traffic: "selfplay", the folder of a run, or a policy file.
        **settings: As for `DrivingVectorEnv`.

    Raises:
        ValueError: If there is no such policy, or it reads another layout or has other actions;
            and as for `DrivingVectorEnv`.
    """

    drives_traffic = True

    def __init__(self, num_envs: int = 1, *, traffic: str, **settings: Any) -> None:
        try:
            self.policy = load_policy(traffic)
        except ValueError as error:
            names = ", ".join((*TRAFFIC, *POLICIES))
            raise ValueError(
                f"traffic must be {names}, the folder of a run or a policy file, got "
                f"{str(traffic)!r}: {error}"
            ) from None
        self._policy_digest = digest(self.policy.path.read_bytes().hex())
        settings.setdefault("layout", dict(vars(self.policy.layout)))
        super().__init__(num_envs, traffic=traffic, **settings)

    def _make_engine(self) -> None:
        settings, policy = self.settings, self.policy
        if self.learners != "one":
            raise ValueError(
                f"traffic={settings.traffic!r} is for Drive-v0, where one ego a world is driven "
                "from outside: in SelfPlay-v0 every agent is"
            )
        if settings.action_type != "discrete":
            self._refuse("action_type", settings.action_type, "discrete")
        if settings.driver != "external":
            self._refuse("driver", settings.driver, "external")
        difference = layout_difference(policy.description, self.layout)
        if difference is not None:
            raise ValueError(
                f"layout must be that of the policy traffic={settings.traffic!r}, or left out: "
                f"{difference}"
            )
        policy.threads = settings.threads
        # The ego's end is handed out below; inside, nobody may wait for a reset.
        waits = settings.autoreset_mode == "NextStep"
        mode = "NextStep" if waits else "SameStep"
        self._inside = dataclasses.replace(settings, autoreset_mode=mode)
        self._ended = np.zeros(self.num_envs, np.bool_)
        super()._make_engine()
        choices = len(self.engine.draws.jerk)
        if policy.description["actions"] != choices:
            raise ValueError(
                f"traffic={settings.traffic!r} was trained for {policy.description['actions']} "
                f"actions, the environment has {choices}"
            )
        trained = policy.description.get("env", {})
        for name in ("jerk_long", "jerk_lat"):
            there, here = trained.get(name, getattr(Settings, name)), getattr(settings, name)
            if tuple(there) != tuple(here):
                raise ValueError(
                    f"{name} must be {list(there)}, as traffic={settings.traffic!r} was trained, "
                    f"got {list(here)}"
                )

    def _refuse(self, name: str, value: str, allowed: str) -> None:
        raise ValueError(
            f"{name} must be {allowed!r} among traffic={self.settings.traffic!r}, got {value!r}"
        )

    def _new_engine(self, maps: list[CompiledMap], driver: U8, learner: U8) -> Engine:
        everyone = np.ones_like(learner)
        return Engine(self._inside, maps, self.num_worlds, np.full_like(driver, EXTERNAL), everyone)

    def _own(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[:: self.settings.slots]

    def _observations(self) -> NDArray[Any]:
        found = self._own(self.engine.observations)
        found = found.copy() if self.settings.copy or self._ended.any() else found
        if self._ended.any():  # what an ego that ended saw last
            last = self._own(self.engine.final_observations)
            found[self._ended] = last[self._ended]
        return found

    def _finals(self) -> tuple[NDArray[Any], ...]:
        return tuple(one[..., :: self.settings.slots] for one in super()._finals())

    def _final_observations(self, done: NDArray[np.bool_]) -> NDArray[Any]:
        finals = self._own(self.engine.hand_out_finals())
        return np.where(done[:, None], finals, np.zeros_like(finals))

    def _commands(self, actions: NDArray[Any]) -> NDArray[Any]:
        chosen = self.policy.act(self.engine.observations)
        chosen[:: self.settings.slots] = actions
        return chosen

    def _waiting(self) -> NDArray[np.bool_]:
        return self._ended

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """See `DrivingVectorEnv.reset`; the world of each row that is reset is drawn anew."""
        mask = self._reset_mask(options)
        self._ended &= False if mask is None else ~mask
        return super().reset(seed=seed, options=options)

    def _results(self) -> Any:
        if self.autoreset_mode is AutoresetMode.DISABLED:
            rows = self.engine.rows
            self._ended = self._own(rows.terminated | rows.truncated) != 0
        return super()._results()

    def get_state(self) -> dict[str, NDArray[Any]]:
        """See `DrivingVectorEnv.get_state`."""
        if self._ended.any():
            raise ResetNeeded("reset the rows that have ended before get_state()")
        return super().get_state()

    def set_state(self, state: Any) -> Any:
        """See `DrivingVectorEnv.set_state`."""
        super().set_state(state)
        self._ended[:] = False
        return self._observations()

    def _digest(self) -> str:
        return digest(f"{super()._digest()}/{self._policy_digest}")
