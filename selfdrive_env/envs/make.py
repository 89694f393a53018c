"""What makes the vector form of each id, for the device and the output that are asked for."""

from __future__ import annotations

from typing import Any

from selfdrive_env.config.choices import is_scripted
from selfdrive_env.config.installation import require_torch
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.tasks import TaskVectorEnv
from selfdrive_env.envs.traffic import PolicyTrafficEnv
from selfdrive_env.envs.vector import DrivingVectorEnv

__all__ = ["make_drive", "make_scenes", "make_self_play", "make_task"]


def make_self_play(num_envs: int = 1, **settings: Any) -> DrivingVectorEnv:
    """Makes the vector form of SelfPlay-v0: every agent of every world is a row.

    Args:
        num_envs: Rows.
        **settings: As for `DrivingVectorEnv`.
    """
    return _make(num_envs, learners="all", **settings)


def make_drive(num_envs: int = 1, **settings: Any) -> DrivingVectorEnv:
    """Makes the vector form of Drive-v0: one row a world, the others are scripted or a policy's.

    Args:
        num_envs: Rows, that is worlds.
        **settings: As for `DrivingVectorEnv`.
    """
    return _make(num_envs, learners="one", **settings)


def make_scenes(num_envs: int = 1, **settings: Any) -> DrivingVectorEnv:
    """Makes the vector form of Scenes-v0: worlds are scenes, one after the other.

    Args:
        num_envs: Rows; a multiple of those of a world.
        **settings: As for `ScenesVectorEnv`.
    """
    return _placed(ScenesVectorEnv, num_envs, **settings)


def make_task(num_envs: int = 1, **settings: Any) -> DrivingVectorEnv:
    """Makes the vector form of a task such as Merge-v0: worlds are its scenes, drawn by seed.

    Args:
        num_envs: Rows.
        **settings: As for `TaskVectorEnv`.
    """
    return _placed(TaskVectorEnv, num_envs, **settings)


def _make(num_envs: int, **settings: Any) -> DrivingVectorEnv:
    if settings["learners"] == "all" or is_scripted(settings.get("traffic", "idm")):
        return _placed(DrivingVectorEnv, num_envs, **settings)
    return _placed(PolicyTrafficEnv, num_envs, **settings)


def _placed(kind: type[DrivingVectorEnv], num_envs: int, **settings: Any) -> DrivingVectorEnv:
    """Makes an environment in its form for the device and the output that are asked for.

    Args:
        kind: Its class on the CPU, with arrays.
        num_envs: Rows.
        **settings: All others.
    """
    device, output = settings.get("device", "cpu"), settings.get("output")
    plain = not isinstance(device, str) or not isinstance(output, str | None)  # which is refused
    on_cpu = plain or device == "cpu"
    if plain or (on_cpu and output in (None, "numpy")):
        return kind(num_envs, **settings)
    require_torch("output='torch'" if on_cpu else "device", "train" if on_cpu else "cuda13")
    from selfdrive_env.envs.torch import environment_class

    return environment_class(device, kind)(num_envs, **settings)
