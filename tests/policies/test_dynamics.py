"""Policies drive under the dynamics that they were trained for, and say which these are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.envs.traffic import PolicyTrafficEnv
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.evaluation.policies import check_layout, load
from selfdrive_env.evaluation.run import evaluate
from selfdrive_env.play.session import make_env
from selfdrive_env.policies.files import PolicyFile
from selfdrive_env.policies.row_schema import policy_schema
from tests.policies.policy_files import write_policy

BICYCLE: dict[str, Any] = {"dynamics": "bicycle", "action_bins": [3, 5]}
SMALL: dict[str, Any] = {"map": "riverside", "num_threads": 1, "agents_per_world": 3}


@pytest.fixture
def policy(tmp_path: Path) -> str:
    """Of fifteen actions of a bicycle, of which it takes the one that accelerates ahead."""
    path = tmp_path / "bicycle.safetensors"
    return str(write_policy(path, action=2 * 5 + 2, actions=15, env=BICYCLE))


def test_traffic_drives_by_its_own_dynamics(policy: str) -> None:
    env = PolicyTrafficEnv(2, learners="one", traffic=policy, **BICYCLE, **SMALL)
    env.reset(seed=1)
    before = env.engine.agents.speed.copy()
    env.step(np.full(2, 0))
    moved = env.engine.agents.age > 0
    after = env.engine.agents.speed
    top = 20.0 * env.engine.bodies.speed_scale
    wanted = np.minimum(before + 0.3 * 6.0, top)
    traffic = moved & (np.arange(3) > 0)
    assert traffic.any()
    np.testing.assert_allclose(after[traffic], wanted[traffic], rtol=1e-6)
    env.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "was trained for dynamics='bicycle', the environment has 'jerk'"),
        ({"dynamics": "classic"}, "dynamics='bicycle', the environment has 'classic'"),
        ({"dynamics": "bicycle"}, r"action_bins=\[3, 5\], the environment has \[9, 9\]"),
    ],
)
def test_traffic_of_other_dynamics_is_refused(
    policy: str, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        PolicyTrafficEnv(1, learners="one", traffic=policy, **settings, **SMALL)


def test_the_shipped_policy_is_refused_by_name_under_other_dynamics() -> None:
    with pytest.raises(
        ValueError, match="traffic='selfplay' was trained for dynamics='jerk', the environment"
    ):
        PolicyTrafficEnv(1, learners="one", traffic="selfplay", dynamics="classic", **SMALL)


def test_an_evaluation_takes_the_dynamics_of_its_policy(policy: str) -> None:
    candidate = load(policy)
    assert candidate.settings == BICYCLE
    env = DrivingVectorEnv(3, layout="lean", **BICYCLE, **SMALL)
    check_layout(candidate, env)
    for other in ("random", "constant:3", "selfplay"):
        with pytest.raises(ValueError, match=f"{other} has actions of dynamics='jerk'"):
            check_layout(load(other), env)
    check_layout(load("idm"), env)
    env.close()
    with pytest.raises(
        ValueError, match="has actions of dynamics='bicycle', the environment has 'jerk'"
    ):
        evaluate(candidate, map="riverside", minutes=0.1, seeds=(0,), settings={"dynamics": "jerk"})
    small = {"agents_per_world": 4, "num_threads": 1}
    found = evaluate(candidate, map="riverside", minutes=0.05, seeds=(0,), settings=small)
    assert found.settings["dynamics"] == "bicycle"


def test_play_is_for_jerks(policy: str) -> None:
    with pytest.raises(ValueError, match="dynamics must be 'jerk' for play, got 'bicycle'"):
        make_env("riverside", "idm", load(policy), {})


def test_its_schema_tells_what_actions_are(policy: str) -> None:
    actions = policy_schema(PolicyFile.read(policy))["actions"]
    assert (actions["count"], actions["laterals"], actions["jerks"]) == (15, 5, None)
    assert actions["columns"] == ["acceleration", "curvature"]
    assert (actions["units"], actions["sizes"]) == (["m/s^2", "1/m"], [6.0, 0.3])
    assert actions["bins"] == [3, 5]


@pytest.mark.parametrize("said", [{"dynamics": "hover"}, {"dynamics": 3}, {"action_bins": "9"}])
def test_a_schema_of_dynamics_that_there_are_none_of_is_refused(
    said: dict[str, Any], tmp_path: Path
) -> None:
    path = write_policy(tmp_path / "a.safetensors", env=said)
    with pytest.raises(ValueError, match=r"a\.safetensors.*(dynamics|action_bins) must be"):
        policy_schema(PolicyFile.read(path))
