"""The PufferLib adapter, against what PufferLib documents of a native environment, and itself."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS

LEAN = LAYOUTS["lean"].width

NAME = "selfdrive_env.adapters.pufferlib"
SMALL: dict[str, Any] = dict(
    map="riverside", agents_per_world=4, layout="lean", num_threads=1, horizon=6.0
)
BUFFERS = ("observations", "rewards", "terminals", "truncations", "masks", "actions")


class Contract:
    """What `PufferEnv` asks of a native environment, and the buffers that it gives it."""

    def __init__(self, buf: Any = None) -> None:
        for name in ("single_observation_space", "single_action_space", "num_agents"):
            assert hasattr(self, name), f"{name} must be set before super().__init__"
        for name in ("observation_space", "action_space"):
            assert not hasattr(self, name), f"{name} is PufferEnv's to set"
        env: Any = self
        assert isinstance(env.single_observation_space, gymnasium.spaces.Box)
        for name, array in (buf or buffers(env.num_agents)).items():
            setattr(self, name, array)


def buffers(rows: int, features: int = LEAN) -> dict[str, Any]:
    return dict(
        observations=np.full((rows, features), 9.0, np.float32),
        rewards=np.full(rows, 9.0, np.float32),
        terminals=np.ones(rows, np.bool_),
        truncations=np.ones(rows, np.bool_),
        masks=np.zeros(rows, np.bool_),
        actions=np.zeros(rows, np.int32),
    )


@pytest.fixture(params=["contract", "pufferlib"])
def adapter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if request.param == "contract":
        double: Any = types.ModuleType("pufferlib")
        double.PufferEnv = Contract
        monkeypatch.setitem(sys.modules, "pufferlib", double)
    else:
        pytest.importorskip("pufferlib", reason='needs pip install "pufferlib>=3"')
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    yield importlib.import_module(NAME).DrivingPufferEnv
    sys.modules.pop(NAME, None)


def test_steps_equal_those_of_the_vector_environment_in_place(adapter: Any) -> None:
    given = buffers(8)
    kept = dict(given)
    env = adapter(num_agents=8, buf=given, **SMALL)
    vector = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=8, **SMALL)
    rows, _ = vector.reset(seed=3)
    found, infos = env.reset(seed=3)
    assert found is given["observations"] and infos == []
    np.testing.assert_array_equal(found, rows)
    rng = np.random.default_rng(0)
    ends = np.zeros(2, np.int64)
    for _ in range(60):
        actions = rng.integers(0, 12, 8).astype(np.int32)
        rows, reward, terminated, truncated, told = vector.step(actions)
        result = env.step(actions)
        assert all(a is given[name] for a, name in zip(result, BUFFERS[:4], strict=False))
        np.testing.assert_array_equal(given["observations"], rows)
        np.testing.assert_array_equal(given["rewards"], reward)
        np.testing.assert_array_equal(given["terminals"], terminated)
        np.testing.assert_array_equal(given["truncations"], truncated)
        np.testing.assert_array_equal(given["masks"], told["valid"])
        done = terminated | truncated
        assert len(result[4]) == int(done.any())
        if done.any():
            assert result[4][0]["km"] == pytest.approx(told["final_info"]["km"][done].mean())
        ends += terminated.sum(), truncated.sum()
    assert ends.min() > 0
    assert all(given[name] is kept[name] is getattr(env, name) for name in BUFFERS)
    env.close()
    env.close()


def test_kernels_write_into_a_part_of_shared_memory(adapter: Any) -> None:
    whole = buffers(24)
    parts = {name: array[8:16] for name, array in whole.items()}
    env = adapter(num_agents=8, buf=parts, seed=1, **SMALL)
    assert env.vector.engine.observations is parts["observations"]
    env.reset()
    env.step(np.zeros(8, np.int32))
    assert (whole["observations"][:8] == 9.0).all() and (whole["observations"][16:] == 9.0).all()
    assert np.abs(whole["observations"][8:16]).max() <= 1.0
    other = adapter(num_agents=8, seed=1, **SMALL)
    other.reset()
    other.step(np.zeros(8, np.int32))
    np.testing.assert_array_equal(other.observations, parts["observations"])


def test_rows_are_copied_where_a_policy_drives_the_traffic(adapter: Any) -> None:
    settings = dict(num_threads=1, map="riverside", agents_per_world=3, traffic="selfplay")
    env = adapter("selfdrive_env/Drive-v0", num_agents=2, **settings)
    vector = gymnasium.make_vec("selfdrive_env/Drive-v0", num_envs=2, **settings)
    np.testing.assert_array_equal(env.reset(seed=0)[0], vector.reset(seed=0)[0])
    actions = np.array([3, 11])
    np.testing.assert_array_equal(env.step(actions)[0], vector.step(actions)[0])
    assert not env._direct


def test_what_does_not_apply_or_fit_is_refused(adapter: Any) -> None:
    with pytest.raises(TypeError, match="copy is chosen"):
        adapter(num_agents=8, copy=True, **SMALL)
    with pytest.raises(ValueError, match=rf"float32 of shape \(8, {LEAN}\)"):
        adapter(num_agents=8, buf=buffers(8, 436), **SMALL)


@pytest.mark.parametrize("backend", ["PufferEnv", "Serial", "Multiprocessing"])
def test_the_vectorisation_of_pufferlib_steps_it(backend: str) -> None:
    vector = pytest.importorskip("pufferlib.vector", reason='needs pip install "pufferlib>=3"')
    from selfdrive_env.adapters.pufferlib import DrivingPufferEnv

    more: dict[str, Any] = {} if backend == "PufferEnv" else dict(backend=backend, num_envs=2)
    envs = vector.make(DrivingPufferEnv, env_kwargs=dict(num_agents=8, **SMALL), **more)
    envs.async_reset(0)
    rng = np.random.default_rng(0)
    rewards = 0.0
    for _ in range(20):
        rows, reward, *_ = envs.recv()
        rewards += float(np.abs(reward).sum())
        assert rows.std() > 0.1 and np.abs(rows).max() <= 1.0
        envs.send(rng.integers(0, 12, len(rows)))
    envs.close()
    assert rewards > 0.0
