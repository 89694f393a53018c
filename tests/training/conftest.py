"""Runs so small that an update takes a fraction of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfdrive_env.training import TrainConfig

TINY: dict[str, Any] = {
    "steps": 6 * 128,
    "num_worlds": 4,
    "env": {
        "map": "riverside",
        "agents_per_world": 4,
        "layout": {"goals": 1, "lane_points": 4, "boundary_points": 4, "stop_lines": 1,
                   "agents": 3},
        "horizon": 3.0,
        "num_threads": 1,
    },
    "rollout": 8,
    "epochs": 2,
    "minibatch": 48,
    "set_widths": (8, 8),
    "scalar_width": 8,
    "trunk_widths": (16,),
    "torch_threads": 1,
    "checkpoint_minutes": 1000.0,
}  # fmt: skip
"""Four worlds of four agents, six updates, episodes of ten steps."""


@pytest.fixture
def tiny(tmp_path: Path) -> TrainConfig:
    return tiny_config(tmp_path / "run")


def tiny_config(folder: Path, **changes: Any) -> TrainConfig:
    env = {**TINY["env"], **changes.pop("env", {})}
    return TrainConfig(**{**TINY, "out_dir": str(folder), **changes, "env": env})
