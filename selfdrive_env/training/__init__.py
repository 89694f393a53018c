"""Training one policy for all road users by self-play, and what is needed to use it afterwards.

`import selfdrive_env.training` is light: torch is imported when something here is called.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from selfdrive_env.config.installation import require_torch
from selfdrive_env.training.config import PRESETS, TrainConfig, load_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from selfdrive_env.training.policy import TorchPolicy
    from selfdrive_env.training.snapshot import RunState

__all__ = ["PRESETS", "TrainConfig", "load_config", "load_torch_policy", "train"]


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    updates: int | None = None,
    follow: Callable[[RunState], None] | None = None,
) -> dict[str, float]:
    """Trains a policy and leaves checkpoints, figures and the policy in `config.out_dir`.

    Args:
        config: All settings.
        resume: Whether to go on from the newest good checkpoint in `config.out_dir`.
        updates: Stop, with the state saved, after so many updates of this call; None goes on until
            the budget of the config is spent.
        follow: Called after each update, in every process, with what the run is made of.

    Returns:
        Figures of the last update, by name.

    Raises:
        ValueError: For settings that do not go together, or a checkpoint that does not fit.
        ConnectionError: If another process of the run has ended or does not answer any more.
        NotFiniteError: If the loss is no number any more; the state and the batch are saved.
    """
    require_torch("training", "train")
    # Before torch is loaded: its idle threads must leave the cores to the simulator.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from selfdrive_env.training.ppo import run

    return run(config, resume=resume, updates=updates, follow=follow)


def load_torch_policy(path: str | os.PathLike[str], *, device: str = "cpu") -> TorchPolicy:
    """Returns the policy in a run's folder, in one of its checkpoints or in a policy file.

    Args:
        path: The folder or the file that ends in .safetensors.
        device: Where it computes.
    """
    require_torch("training.load_torch_policy", "train")
    from selfdrive_env.training.policy import TorchPolicy

    return TorchPolicy.load(path, device=device)


load_policy = load_torch_policy
"""The earlier name; `selfdrive_env.load_policy` is the loader that needs no torch."""
