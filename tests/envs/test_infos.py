"""What infos tell of every step, in the single form and with `step_info` in the vector form."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.envs import DrivingEnv, DrivingVectorEnv, make_self_play
from selfdrive_env.envs.infos import EVENTS, FINALS, OUTLOOK
from selfdrive_env.kernels.observation.outlook import time_to_contact
from selfdrive_env.state.rewards import REWARD_TERMS
from selfdrive_env.state.road import LEVEL_HEIGHT
from selfdrive_env.state.world import ABSENT
from tests.kernels import from_python

time_to_contact = from_python(time_to_contact)

SMALL: dict[str, Any] = {
    "map": "riverside",
    "layout": "lean",
    "agents_per_world": 8,
    "num_threads": 1,
}
CROWD = {"initial_speed": 0.5, "first_goal": [5.0, 40.0], "further_goals": 0}


def make(num_envs: int = 16, **settings: Any) -> DrivingVectorEnv:
    return DrivingVectorEnv(num_envs, **{**SMALL, "step_info": True, **settings})


def expected_time(state: Any, world: int, agent: int) -> float:
    """The definition, written anew in double precision."""
    agents, bodies = state.agents, state.bodies
    heading = np.arctan2(agents.sin[world], agents.cos[world]).astype(np.float64)
    ahead = 0.5 * bodies.wheelbase[world]
    centre = np.stack(
        [agents.x[world] + ahead * np.cos(heading), agents.y[world] + ahead * np.sin(heading)], 1
    )
    axis = np.array([np.cos(heading[agent]), np.sin(heading[agent])])
    least = math.inf
    for other in range(len(heading)):
        if other == agent or agents.status[world, other] == ABSENT:
            continue
        if abs(agents.z[world, other] - agents.z[world, agent]) >= LEVEL_HEIGHT:
            continue
        corners = [
            0.5 * sign_x * bodies.length[world, other] * np.array([np.cos(h), np.sin(h)])
            + 0.5 * sign_y * bodies.width[world, other] * np.array([-np.sin(h), np.cos(h)])
            for h in [heading[other]]
            for sign_x in (-1, 1)
            for sign_y in (-1, 1)
        ]
        away = centre[other] - centre[agent]
        along = [(away + corner) @ axis for corner in corners]
        across = [(away + corner) @ np.array([-axis[1], axis[0]]) for corner in corners]
        wide = 0.5 * bodies.width[world, agent]
        closing = agents.speed[world, agent] - agents.speed[world, other] * np.cos(
            heading[other] - heading[agent]
        )
        if away @ axis > 0 and min(across) < wide and max(across) > -wide and closing > 0:
            gap = max(min(along) - 0.5 * bodies.length[world, agent], 0.0)
            least = min(least, gap / closing)
    return least


def number(*values: float) -> list[np.float32]:
    return [np.float32(value) for value in values]


@pytest.mark.parametrize(
    ("ahead", "side", "speed", "angle", "other_speed", "wanted"),
    [
        (24.0, 0.0, 10.0, 0.0, 0.0, 2.0),  # stands
        (24.0, 0.0, 10.0, 0.0, 5.0, 4.0),  # drives ahead
        (24.0, 0.0, 10.0, math.pi, 10.0, 1.0),  # comes the other way
        (24.0, 0.0, 10.0, 0.0, 10.0, math.inf),  # is as fast
        (24.0, 0.0, 5.0, 0.0, 10.0, math.inf),  # is faster
        (24.0, 1.9, 10.0, 0.0, 0.0, 2.0),  # half in the way
        (24.0, 2.1, 10.0, 0.0, 0.0, math.inf),  # beside
        (23.0, 2.1, 10.0, math.pi / 2, 7.0, 2.0),  # crosses, its front in the way
        (3.0, 0.5, 10.0, 0.0, 0.0, 0.0),  # touched already
    ],
)
def test_the_time_to_a_contact(
    ahead: float, side: float, speed: float, angle: float, other_speed: float, wanted: float
) -> None:
    own, other = number(ahead, side, 2.0, 1.0, speed), number(2.0, 1.0, other_speed)
    found = time_to_contact(*own, *number(math.cos(angle), math.sin(angle)), *other)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_infos_of_rows_are_those_of_the_state() -> None:
    env = make(agents_per_world=16, num_envs=32, driver="idm")
    env.reset(seed=3)
    finite = 0
    for _ in range(30):
        _, reward, _, _, infos = env.step(env.action_space.sample())
        state = env.state
        there = infos["valid"]
        np.testing.assert_array_equal(infos["speed"][there], state.agents.speed.ravel()[there])
        way = state.agents.goal_distance.ravel()
        np.testing.assert_array_equal(infos["distance_to_goal"][there], way[there])
        total = sum(infos["weighted_terms"][name] for name in REWARD_TERMS)
        np.testing.assert_allclose(total, reward, atol=1e-6)
        for name in REWARD_TERMS:
            column = state.output.term[..., REWARD_TERMS.index(name)].ravel()
            np.testing.assert_array_equal(infos["raw_terms"][name], column)
    for row in range(32):
        wanted = expected_time(state, *divmod(row, 16))
        assert infos["time_to_collision"][row] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
        finite += math.isfinite(wanted)
    assert finite > 3


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_events_of_steps_add_up_to_the_metrics(mode: str) -> None:
    env = make(autoreset_mode=mode, **CROWD)
    env.reset(seed=1)
    env.action_space.seed(1)
    counts = {name: np.zeros(16, np.int64) for name in EVENTS}
    terms = {name: np.zeros(16) for name in REWARD_TERMS}
    ended = 0
    for _ in range(120):
        _, _, terminated, truncated, infos = env.step(env.action_space.sample())
        for name in EVENTS:
            assert infos["events"][name].dtype == np.bool_
            counts[name] += infos["events"][name]
        for name in REWARD_TERMS:
            terms[name] += infos["weighted_terms"][name]
        done = terminated | truncated
        if not done.any():
            continue
        finals = infos["final_info"] if mode == "SameStep" else infos
        ended += int(done.sum())
        for name, count in counts.items():
            np.testing.assert_array_equal(finals[name][done], count[done])
            count[done] = 0
        for name, sums in terms.items():
            np.testing.assert_allclose(finals[f"reward_{name}"][done], sums[done], atol=1e-4)
            sums[done] = 0
        if mode == "Disabled":
            env.reset(options={"reset_mask": done})
    assert ended > 5


def test_last_and_new_outlook_of_rows_that_start_anew() -> None:
    """With the same seed, ended rows of SameStep and Disabled end alike."""
    same, waits = make(**CROWD), make(autoreset_mode="Disabled", **CROWD)
    actions = np.random.default_rng(2).integers(0, 12, (200, 16))
    for env in (same, waits):
        env.reset(seed=1)
    for action in actions:
        _, _, terminated, truncated, infos = same.step(action)
        wanted = waits.step(action)[4]
        done = terminated | truncated
        if done.any():
            break
    for name in OUTLOOK:
        np.testing.assert_array_equal(infos["final_info"][name][done], wanted[name][done])
        assert not infos["final_info"][name][~done].any()
        np.testing.assert_array_equal(infos["final_info"][f"_{name}"], done)
    np.testing.assert_array_equal(infos["speed"], same.state.agents.speed.ravel())
    assert (infos["speed"][done] != infos["final_info"]["speed"][done]).any()


def test_the_outlook_comes_with_a_reset() -> None:
    env = make()
    infos = env.reset(seed=1)[1]
    np.testing.assert_array_equal(infos["speed"], env.state.agents.speed.ravel())
    assert infos["distance_to_goal"].min() > 0.0 and "events" not in infos
    mask = np.arange(16) == 3
    again = env.reset(options={"reset_mask": mask})[1]
    np.testing.assert_array_equal(again["speed"][~mask], infos["speed"][~mask])
    assert again["distance_to_goal"][3] != infos["distance_to_goal"][3]


def test_a_reset_after_a_restored_state_tells_of_that_state() -> None:
    env = make()
    env.reset(seed=1)
    state = env.get_state()
    for _ in range(5):
        env.step(env.action_space.sample())
    env.set_state(state)
    infos = env.reset(options={"reset_mask": np.arange(16) == 3})[1]
    np.testing.assert_array_equal(infos["speed"], env.state.agents.speed.ravel())


def test_rows_without_an_agent_tell_nothing() -> None:
    env = make(agents_per_world=[1, 8], num_envs=32)
    env.reset(seed=5)
    infos = env.step(env.action_space.sample())[4]
    empty = ~infos["valid"]
    assert empty.any()
    assert not infos["speed"][empty].any() and np.isinf(infos["time_to_collision"][empty]).all()


def test_without_the_setting_infos_hold_what_they_did() -> None:
    env = make(step_info=False)
    env.reset(seed=1)
    assert set(env.step(env.action_space.sample())[4]) == {"valid", "_valid", "learn", "_learn"}


def test_kept_infos_stay_as_they_were() -> None:
    env = make()
    env.reset(seed=1)
    infos = env.step(env.action_space.sample())[4]
    kept = {name: infos[name].copy() for name in OUTLOOK}
    term = infos["weighted_terms"]["lane_align"].copy()
    env.step(env.action_space.sample())
    np.testing.assert_array_equal(infos["weighted_terms"]["lane_align"], term)
    for name in OUTLOOK:
        np.testing.assert_array_equal(infos[name], kept[name])


def test_copy_false_hands_out_live_terms() -> None:
    env = make(copy=False)
    env.reset(seed=1)
    infos = env.step(env.action_space.sample())[4]
    assert np.shares_memory(infos["raw_terms"]["velocity"], env.engine.output.term)


def test_gymnasium_takes_the_infos_apart() -> None:
    env = gymnasium.wrappers.vector.DictInfoToList(make(**CROWD))
    env.reset(seed=1)
    for _ in range(60):
        _, rewards, _, _, infos = env.step(env.action_space.sample())
        for row in range(16):
            total = sum(infos[row]["weighted_terms"].values())
            assert total == pytest.approx(rewards[row], abs=1e-5)
            assert set(infos[row]["events"]) == set(EVENTS)


def test_infos_are_tensors_with_output_torch() -> None:
    torch = pytest.importorskip("torch")
    env = make_self_play(8, **SMALL, step_info=True, output="torch")
    env.reset(seed=1)
    infos = env.step(torch.from_numpy(env.action_space.sample()))[4]
    assert isinstance(infos["speed"], torch.Tensor)
    assert isinstance(infos["events"]["goals"], torch.Tensor)


def test_a_device_refuses_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from selfdrive_env.envs import torch

    monkeypatch.setattr(torch.backends, "choose_device", lambda device: device)
    with pytest.raises(ValueError, match="step_info must be False with a CUDA device, got True"):
        torch.CudaVectorEnv(8, **SMALL, device="cuda", output="torch", step_info=True)


# The single form


def single(**settings: Any) -> Any:
    return gymnasium.make("selfdrive_env/Drive-v0", **{**SMALL, **settings})


@pytest.mark.parametrize("traffic", ["idm", "selfplay"])
def test_an_info_is_of_plain_numbers(traffic: str) -> None:
    env = single(traffic=traffic, agents_per_world=6)
    _, info = env.reset(seed=2)
    assert set(info) == set(OUTLOOK)
    done = False
    while not done:
        _, reward, terminated, truncated, info = env.step(10)
        done = terminated or truncated
        agents = env.unwrapped.state.agents
        assert info["speed"] == agents.speed[0, 0]
        assert all(type(info[name]) is float for name in OUTLOOK)
        assert all(type(info["events"][name]) is bool for name in EVENTS)
        assert list(info["raw_terms"]) == list(info["weighted_terms"]) == list(REWARD_TERMS)
        assert sum(info["weighted_terms"].values()) == pytest.approx(reward, abs=1e-6)
    assert set(FINALS) <= set(info)
    assert info["events"]["offroad"] or info["events"]["collisions"]
    env.close()


def test_both_forms_tell_the_same() -> None:
    one = single()
    many = DrivingVectorEnv(1, learners="one", autoreset_mode="Disabled", step_info=True, **SMALL)
    for env in (one, many):
        env.reset(seed=4)
    for _ in range(10):
        info = one.step(7)[4]
        infos = many.step(np.array([7]))[4]
        for name in OUTLOOK:
            assert info[name] == infos[name][0]
        for group in ("events", "raw_terms", "weighted_terms"):
            assert info[group] == {name: infos[group][name][0] for name in info[group]}


def test_the_single_form_without_infos() -> None:
    env = DrivingEnv(**SMALL, step_info=False)
    assert env.reset(seed=1)[1] == {}
    assert env.step(7)[4] == {}


def test_a_single_environment_is_open() -> None:
    pytest.importorskip("PIL")
    env = single(render_size=32).unwrapped
    env.reset(seed=1)
    assert env.settings.map_names == ("riverside",) and env.settings.step_info
    assert env.layout.width == env.observation_space.shape[0]
    assert env.frame(size=64, span=30.0).shape == (64, 64, 3)
    assert env.state.agents.x.shape == (1, 8) and env.state.output.event.shape == (1, 8)
    speed = env.state.agents.speed
    with pytest.raises(ValueError, match="read-only"):
        speed[0, 0] = 1.0
    before = speed[0, 0].copy()
    env.step(11)
    assert speed[0, 0] != before
