"""Policy files for tests: of untrained networks, or of one that always takes one action."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import OBSERVATION_VERSION
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.training.network import Networks
from selfdrive_env.training.policy import policy_bytes

SIZES = Sizes((16, 32), 16, (32,), shared_sets=True)


def write_policy(
    path: Path, layout: ObservationLayout = LAYOUTS["lean"], sizes: Sizes = SIZES, *,
    action: int | None = None, actions: int = 12, **changes: Any,
) -> Path:  # fmt: skip
    """Writes a policy; `action` is the only one it takes, `changes` go into its description."""
    networks = Networks(layout, sizes, actions, seed=3)
    with torch.no_grad():
        networks.actor.head.weight.mul_(100.0)
        if action is not None:
            networks.actor.head.weight.zero_()
            networks.actor.head.bias[action] = 1.0
    description = {
        "observation_version": OBSERVATION_VERSION,
        "layout": dataclasses.asdict(layout),
        "sizes": sizes._asdict(),
        "actions": actions,
        **changes,
    }
    path.write_bytes(policy_bytes(networks, description))
    return path
