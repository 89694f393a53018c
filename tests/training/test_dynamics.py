"""Training under other dynamics: the policy says so, and is not gone on with under another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from selfdrive_env.policies.numpy_policy import load_policy
from selfdrive_env.training import train
from tests.training.conftest import tiny_config


def test_a_run_under_other_dynamics_says_so(tmp_path: Path) -> None:
    own = {"dynamics": "bicycle", "action_bins": [3, 5]}
    config = tiny_config(tmp_path / "run", env=own, steps=128)
    train(config)
    policy = load_policy(tmp_path / "run")
    assert policy.description["actions"] == 15
    assert policy.description["env"]["dynamics"] == "bicycle"
    assert policy.description["env"]["action_bins"] == [3, 5]

    other = tiny_config(
        tmp_path / "other", env={**own, "dynamics": "classic"}, start_from=str(tmp_path / "run")
    )
    with pytest.raises(ValueError, match="trained for dynamics='bicycle', the environment has"):
        train(other)
    changed = dataclasses.replace(config, steps=256, env={**config.env, "action_bins": [5, 3]})
    with pytest.raises(ValueError, match="action_bins"):
        train(changed, resume=True)
