"""The PettingZoo adapter: PettingZoo's own tests, and agents that leave and enter."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("pettingzoo", reason='needs pip install "selfdrive_env[pettingzoo]"')

with warnings.catch_warnings():  # its tests import an environment of its own the old way
    warnings.simplefilter("ignore")
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils.conversions import parallel_to_aec

from selfdrive_env.adapters.pettingzoo import DrivingParallelEnv

SMALL: dict[str, Any] = dict(map="riverside", agents_per_world=6, layout="lean", num_threads=1)


def make(**settings: Any) -> DrivingParallelEnv:
    return DrivingParallelEnv(**{**SMALL, "horizon": 30.0, **settings})


def drive(env: DrivingParallelEnv, rng: np.random.Generator) -> Any:
    return env.step({agent: int(rng.integers(12)) for agent in env.agents})


@pytest.mark.parametrize("entrants", [0, 4])
def test_pettingzoos_tests_pass(entrants: int) -> None:
    parallel_api_test(make(entrants=entrants), 200)
    parallel_seed_test(lambda: make(entrants=entrants), 60)


def test_the_turn_based_form_passes_its_test() -> None:
    api_test(parallel_to_aec(make()), 50)


@pytest.mark.parametrize("action_type", ["discrete", "continuous"])
def test_steps_equal_those_of_the_vector_environment_until_somebody_leaves(
    action_type: str,
) -> None:
    env = make(action_type=action_type)
    vector = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=6,
        **{**SMALL, "horizon": 30.0, "stagger": False, "action_type": action_type},
        autoreset_mode="Disabled",
    )
    observations, _ = env.reset(seed=4)
    rows, _ = vector.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(60):
        np.testing.assert_array_equal(list(observations.values()), rows)
        assert env.agents == [f"agent_{i}" for i in range(6)]
        if action_type == "discrete":
            actions: Any = rng.integers(0, 12, 6)
        else:
            actions = rng.uniform(-1.0, 1.0, (6, 2)).astype(np.float32)
        rows, reward, terminated, truncated, infos = vector.step(actions)
        told: Any
        observations, rewards, ends, cuts, told = env.step(
            dict(zip(env.agents, actions, strict=True))
        )
        np.testing.assert_array_equal(list(rewards.values()), reward)
        np.testing.assert_array_equal(list(ends.values()), terminated)
        np.testing.assert_array_equal(list(cuts.values()), truncated)
        done = np.flatnonzero(terminated | truncated)
        if len(done):
            assert [told[f"agent_{i}"]["km"] for i in done] == infos["km"][done].tolist()
            assert "km" not in told[next(iter(env.agents))]
            return
    pytest.fail("nobody left")


def test_agents_that_left_do_not_come_back_and_the_world_goes_on_without_them() -> None:
    env = make(on_goal="new_route")
    env.reset(seed=1)
    rng = np.random.default_rng(1)
    before = set(env.agents)
    steps = 0
    while env.agents:
        here = set(env.agents)
        observations, rewards, ends, cuts, _ = drive(env, rng)
        assert set(observations) == set(rewards) == set(ends) == set(cuts) == here
        assert set(env.agents) == {agent for agent in here if not (ends[agent] or cuts[agent])}
        slots = [env._slots[agent] for agent in env.agents]
        present = env.vector.engine.agents.status[0] != 0
        np.testing.assert_array_equal(np.flatnonzero(present), sorted(slots))
        before -= here - set(env.agents)
        steps += 1
    assert not before and 1 < steps <= 100
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_entrants_take_the_places_of_those_who_left_under_new_names() -> None:
    env = make(entrants=5, horizon=60.0)
    env.reset(seed=2)
    rng = np.random.default_rng(2)
    seen = list(env.agents)
    while env.agents:
        here = set(env.agents)
        observations, rewards, ends, cuts, told = drive(env, rng)
        for agent in set(observations) - here:
            assert agent not in seen and agent in env.agents
            assert rewards[agent] == 0.0 and not ends[agent] and not cuts[agent]
            assert told[agent] == {"learn": True} and np.abs(observations[agent]).max() > 0.0
            assert env.vector.engine.agents.age[0, env._slots[agent]] == 0
            seen.append(agent)
        assert len(env.agents) <= 6
    assert seen == env.possible_agents == [f"agent_{i}" for i in range(11)]


def test_when_all_leave_at_once_the_running_world_is_refilled() -> None:
    env = make(agents_per_world=1, entrants=2, horizon=300.0)
    env.reset(seed=3)
    clock = 0
    rng = np.random.default_rng(3)
    while env.agents:
        drive(env, rng)
        clock += 1
        assert env.vector.engine.worlds.clock[0] == clock


def test_a_drawn_number_of_agents_leaves_names_unused() -> None:
    env = make(agents_per_world=[2, 6])
    counts = {len(env.reset(seed=seed)[0]) for seed in range(12)}
    assert min(counts) >= 2 and max(counts) <= 6 and len(counts) > 1


def test_state_is_that_of_all_slots() -> None:
    env = make()
    observations, _ = env.reset(seed=0)
    assert env.state_space.contains(env.state())
    np.testing.assert_array_equal(env.state().reshape(6, -1), list(observations.values()))
    rng = np.random.default_rng(0)
    while len(env.agents) == 6:
        drive(env, rng)
    gone = sorted(set(range(6)) - set(env._slots.values()))
    assert not env.state().reshape(6, -1)[gone].any()


def test_frames_follow_the_first_agent() -> None:
    pytest.importorskip("PIL")
    env = make(render_mode="rgb_array", render_size=64)
    env.reset(seed=0)
    frame = env.render()
    assert frame is not None and frame.shape == (64, 64, 3) and frame.std() > 0
    assert make().render() is None


def test_wrong_settings_and_actions_are_named() -> None:
    with pytest.raises(TypeError, match="num_envs"):
        make(num_envs=6)
    with pytest.raises(ValueError, match="entrants must be"):
        make(entrants=-1)
    with pytest.raises(TypeError, match="layout"):
        make(layot="lean")
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"missing \['agent_1'.*not there \['bus'\]"):
        env.step({"agent_0": 0, "bus": 1})


def test_spaces_are_the_same_objects_and_actions_have_streams_of_their_own() -> None:
    env = make(action_type="continuous")
    one, other = env.action_space("agent_0"), env.action_space("agent_1")
    assert one is env.action_space("agent_0") and one is not other and one == other
    assert env.observation_space("agent_0") is env.observation_space("agent_0")
    env.close()
    env.close()
