"""Drive-v0 among trained drivers: a policy drives every agent but the ego."""

from __future__ import annotations

import os
from typing import Any

from selfdrive_env.envs.codrivers import CoDrivers
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.policies.numpy_policy import NumpyPolicy

__all__ = ["PolicyTrafficEnv"]


class PolicyTrafficEnv(DrivingVectorEnv):
    """One ego a world among agents that a trained policy drives; on the CPU.

    The policy takes its likeliest jerks, so that nothing but the state decides. All agents are
    observed alike: `layout` is the policy's and need not be given. Agents of the traffic that end
    are placed again at once; with `autoreset_mode="NextStep"` a step later, as the ego is.

    Args:
        num_envs: Worlds.
        traffic: "selfplay", the folder of a run, or a policy file.
        **settings: As for `DrivingVectorEnv`; `learners` must be "one".

    Raises:
        ValueError: If there is no such policy, or it reads another layout or has other actions;
            and as for `DrivingVectorEnv`.
    """

    def __init__(
        self, num_envs: int = 1, *, traffic: str | os.PathLike[str], **settings: Any
    ) -> None:
        co_drivers = CoDrivers(traffic)
        settings.setdefault("layout", dict(vars(co_drivers.layout)))
        super().__init__(num_envs, traffic=traffic, co_drivers=co_drivers, **settings)
        self.policy: NumpyPolicy = co_drivers.policy
