"""What an environment is made of: its backend, co-drivers and networks, and no overridden hooks."""

from __future__ import annotations

import ast
import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfdrive_env
from selfdrive_env.envs import DrivingVectorEnv, PolicyTrafficEnv, make_drive
from selfdrive_env.envs.codrivers import CoDrivers
from tests.policies.policy_files import write_policy

ACCELERATE = 10
SMALL: dict[str, Any] = {"map": "riverside", "agents_per_world": 6, "num_threads": 1}
ENVIRONMENTS = {"DrivingVectorEnv"}


@pytest.fixture
def policy(tmp_path: Path) -> str:
    return str(write_policy(tmp_path / "policy.safetensors", action=ACCELERATE))


@functools.cache
def classes() -> list[ast.ClassDef]:
    """All classes of the package, also those of modules that need a library."""
    root = Path(selfdrive_env.__file__).parent
    return [
        node
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]


def test_no_subclass_overrides_a_private_method_of_the_vector_environment() -> None:
    private = {name for name in vars(DrivingVectorEnv) if name.startswith("_") and name[:2] != "__"}
    assert {"_take_actions", "_results"} <= private
    names, found = set(ENVIRONMENTS), set()
    for _ in range(4):  # deep enough for subclasses of subclasses
        for one in classes():
            if names & {base.id for base in one.bases if isinstance(base, ast.Name)}:
                names.add(one.name)
    for one in classes():
        if one.name in names - ENVIRONMENTS:
            methods = {node.name for node in one.body if isinstance(node, ast.FunctionDef)}
            found |= {f"{one.name}.{name}" for name in methods & private}
    assert {
        "PolicyTrafficEnv",
        "ScenesVectorEnv",
        "TaskVectorEnv",
        "TorchVectorEnv",
        "CudaVectorEnv",
    } <= names
    assert found == set()


def test_co_drivers_have_rows_that_the_caller_does_not_see(policy: str) -> None:
    env = make_drive(3, traffic=policy, **SMALL)
    observations, infos = env.reset(seed=1)
    bodies, engine = env.engine.bodies, env.engine
    assert np.array_equal(bodies.learner, np.tile([1, 0, 0, 0, 0, 0], (3, 1)))
    assert np.array_equal(bodies.row, np.arange(18).reshape(3, 6))
    assert engine.observations.shape == (18, observations.shape[1])
    assert np.array_equal(observations, engine.observations[::6])
    assert env.num_envs == 3 and infos["valid"].shape == (3,)
    env.close()


def test_scripted_traffic_has_no_rows() -> None:
    env = make_drive(3, traffic="idm", **SMALL)
    env.reset(seed=1)
    assert (env.engine.bodies.row[:, 1:] == -1).all()
    assert not env.engine.bodies.learner[:, 1:].any()
    env.close()


def test_co_drivers_are_handed_to_the_constructor(policy: str) -> None:
    handed = DrivingVectorEnv(
        2, learners="one", traffic=policy, layout="lean", co_drivers=CoDrivers(policy), **SMALL
    )
    own = PolicyTrafficEnv(2, learners="one", traffic=policy, **SMALL)
    for env in (handed, own):
        env.reset(seed=5)
    copy = pickle.loads(pickle.dumps(handed))
    for _ in range(10):
        rows = [env.step(np.full(2, ACCELERATE))[0] for env in (handed, own, copy)]
        assert np.array_equal(rows[0], rows[1]) and np.array_equal(rows[0], rows[2])
    with pytest.raises(ValueError, match="is for Drive-v0 on the CPU"):
        DrivingVectorEnv(2, learners="one", traffic=policy, layout="lean", **SMALL)


def run_to_an_end(env: Any) -> np.ndarray:
    for _ in range(300):
        _, _, terminated, truncated, _ = env.step(np.full(env.num_envs, ACCELERATE))
        done: np.ndarray = terminated | truncated
        if done.any() and not done.all():
            return done
    raise AssertionError("no episode ended by itself")


def test_a_state_is_exact_while_an_ego_waits_for_its_reset(policy: str) -> None:
    env = make_drive(4, traffic=policy, autoreset_mode="Disabled", **SMALL)
    env.reset(seed=3)
    done = run_to_an_end(env)
    assert np.array_equal(env.backend.waiting(), done)
    other = make_drive(4, traffic=policy, autoreset_mode="Disabled", **SMALL)
    other.set_state(env.get_state())
    for one in (env, other):
        one.reset(options={"reset_mask": done})
    for _ in range(5):
        rows = [one.step(np.full(4, ACCELERATE))[0] for one in (env, other)]
        assert np.array_equal(*rows)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_traffic_goes_on_while_the_ego_waits(policy: str, mode: str) -> None:
    """In Disabled only the ego waits for the caller; who it drives among is placed at once."""
    env = make_drive(4, traffic=policy, autoreset_mode=mode, horizon=1000.0, **SMALL)
    env.reset(seed=3)
    waited = 0
    for _ in range(150):
        before = env.engine.output.awaiting_reset[:, 1:].copy()
        _, _, terminated, truncated, _ = env.step(np.full(4, ACCELERATE))
        waited += int(env.engine.output.awaiting_reset[:, 1:].sum())
        assert not (env.engine.output.awaiting_reset[:, 1:] & before).any()
        done = terminated | truncated
        if mode == "Disabled" and done.any():
            env.reset(options={"reset_mask": done})
    assert (waited > 0) == (mode == "NextStep")
    env.close()


def test_rows_that_were_reset_stay_as_they_are_in_another_reset() -> None:
    env = DrivingVectorEnv(8, map="riverside", agents_per_world=4, autoreset_mode="Disabled")
    first, infos = env.reset(seed=2)
    assert infos["learn"].all()
    mask = np.arange(8) >= 4
    second, infos = env.reset(options={"reset_mask": mask})
    assert infos["learn"].all() and np.array_equal(first[:4], second[:4])


def test_co_drivers_among_scripted_traffic_are_refused(policy: str) -> None:
    """They would have no rows, and drive nobody."""
    co_drivers = CoDrivers(policy)
    layout = dict(vars(co_drivers.layout))
    for traffic in ({}, {"traffic": "constant"}):
        with pytest.raises(ValueError, match="traffic must name the policy of co_drivers"):
            DrivingVectorEnv(
                2, learners="one", co_drivers=co_drivers, layout=layout, **traffic, **SMALL
            )
