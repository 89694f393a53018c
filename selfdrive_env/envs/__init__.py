"""The environments: vector form, single form, and worlds that stay on a device.

What needs torch is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from selfdrive_env.envs.make import make_drive, make_self_play
from selfdrive_env.envs.single import DrivingEnv
from selfdrive_env.envs.traffic import PolicyTrafficEnv
from selfdrive_env.envs.vector import DrivingVectorEnv

if TYPE_CHECKING:
    from selfdrive_env.envs.torch import CapturedStep, CudaVectorEnv, TorchVectorEnv

__all__ = [
    "CapturedStep",
    "CudaVectorEnv",
    "DrivingEnv",
    "DrivingVectorEnv",
    "PolicyTrafficEnv",
    "TorchVectorEnv",
    "make_drive",
    "make_self_play",
]


def __getattr__(name: str) -> Any:
    """Returns one of the classes that need torch."""
    if name in ("CapturedStep", "CudaVectorEnv", "TorchVectorEnv"):
        from selfdrive_env.envs import torch

        return getattr(torch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
