"""Batched, Gymnasium-compatible road scenes for learning to drive by self-play.

Importing the package registers its environments and compiles nothing::

    import gymnasium
    import selfdrive_env

    envs = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=1024)
"""

from __future__ import annotations

from typing import Any

from gymnasium.envs.registration import register

from selfdrive_env import moved
from selfdrive_env.config.choices import ENVIRONMENTS, SCENE_ENVIRONMENTS
from selfdrive_env.config.installation import package_version

__version__ = package_version()

__all__ = ["ENVIRONMENTS", "__version__", "load_policy"]


moved.install()

for _one in (*ENVIRONMENTS, *SCENE_ENVIRONMENTS):
    register(
        id=f"selfdrive_env/{_one.name}",
        entry_point="selfdrive_env.envs.single:DrivingEnv",
        vector_entry_point=f"selfdrive_env.envs.make:{_one.vector}",
        kwargs=dict(_one.keywords),
    )


def load_policy(name: Any, *, threads: int = 1) -> Any:
    """Returns a trained policy to drive with: see `load_policy` of `policies.numpy_policy`."""
    from selfdrive_env.policies import numpy_policy

    return numpy_policy.load_policy(name, threads=threads)
