"""The vector environment itself: rows, masks, metrics, states, and what it refuses."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

import selfdrive_env  # noqa: F401
from selfdrive_env.envs import DrivingEnv, DrivingVectorEnv
from selfdrive_env.envs.infos import OUTLOOK
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.maps import MapError
from selfdrive_env.state.rewards import REWARD_TERMS
from selfdrive_env.state.world import HALTED

SMALL: dict[str, Any] = {
    "map": "riverside",
    "layout": "lean",
    "agents_per_world": 4,
    "num_threads": 1,
}


def make(num_envs: int = 8, **settings: Any) -> DrivingVectorEnv:
    return DrivingVectorEnv(num_envs, **{**SMALL, **settings})


def ready(num_envs: int = 8, seed: int = 1, **settings: Any) -> DrivingVectorEnv:
    env = make(num_envs, **settings)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    return env


# Rows


def test_both_ids_have_the_same_spaces() -> None:
    play, drive = (make(8, learners=learners) for learners in ("all", "one"))
    assert play.single_observation_space == drive.single_observation_space
    assert play.single_action_space == drive.single_action_space
    assert (play.num_worlds, drive.num_worlds) == (2, 8)


def test_rows_are_world_major() -> None:
    env = ready(8)
    np.testing.assert_array_equal(env.engine.bodies.row, np.arange(8).reshape(2, 4))
    before = env.engine.agents.acceleration.copy()
    actions = np.full(8, 7)  # jerk 0
    actions[5] = 10  # world 1, agent 1 pushes on
    env.step(actions)
    jerk = env.engine.motion.jerk[..., 0]
    assert jerk[1, 1] == 4.0 and np.count_nonzero(jerk) == 1
    assert before.shape == (2, 4)


def test_few_rows_without_a_number_of_agents_make_one_world() -> None:
    env = DrivingVectorEnv(5, map="riverside", num_threads=1)
    assert env.num_worlds == 1 and env.settings.slots == 5


def test_a_row_that_is_not_in_its_world_is_not_valid() -> None:
    env = ready(64, agents_per_world=[1, 4], horizon=6.0)
    seen = set()
    for _ in range(60):
        observation, *_, infos = env.step(env.action_space.sample())
        numbers = env.engine.worlds.num_agents
        valid = infos["valid"].reshape(16, 4)
        assert (valid <= (np.arange(4) < numbers[:, None])).all()
        assert not observation[~infos["valid"]].any()
        assert not infos["learn"][~infos["valid"]].any()
        seen.update(numbers.tolist())
    assert seen == {1, 2, 3, 4}


@pytest.mark.parametrize("at_once", [True, False])
def test_worlds_of_few_agents_never_stop_the_others(at_once: bool) -> None:
    """Rows that never ended are never waited for, whichever ended ones are reset first.

    A world drawn anew may have more agents than before, or fewer.
    """
    env = ready(16, agents_per_world=[1, 4], horizon=6.0, autoreset_mode="Disabled")
    for _ in range(120):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated | truncated
        single = [np.arange(16) == row for row in np.flatnonzero(done)]
        for mask in [done] * bool(done.any()) if at_once else single:
            env.reset(options={"reset_mask": mask})
        assert not env._waiting().any()


def test_a_partial_reset_is_possible_while_other_rows_wait() -> None:
    env = ready(8, autoreset_mode="NextStep")
    for _ in range(200):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated | truncated
        if done.any() and not done.all():
            break
    env.reset(options={"reset_mask": ~done})
    observation, reward, *_ = env.step(env.action_space.sample())
    assert not reward[done].any() and observation[done].any(1).all()


def test_a_partial_reset_leaves_the_others_of_the_world_where_they_are() -> None:
    env = ready(8, stagger=False)
    for _ in range(5):
        env.step(np.full(8, 7))
    engine = env.engine
    x, age, clock = (np.array(v) for v in (engine.agents.x, engine.agents.age, engine.worlds.clock))
    mask = np.zeros(8, bool)
    mask[6] = True
    env.reset(options={"reset_mask": mask})
    others = ~mask.reshape(2, 4)
    np.testing.assert_array_equal(engine.agents.x[others], x[others])
    np.testing.assert_array_equal(engine.agents.age[others], age[others])
    np.testing.assert_array_equal(engine.worlds.clock, clock)
    assert engine.agents.age[1, 2] == 0 and engine.agents.x[1, 2] != x[1, 2]


def test_erratic_drivers_are_marked_as_not_to_learn_from() -> None:
    env = ready(64, blind_share=0.5)
    erratic = env.engine.bodies.erratic.ravel() != 0
    infos = env.step(env.action_space.sample())[4]
    still = env.engine.bodies.erratic.ravel() != 0
    np.testing.assert_array_equal(infos["learn"], infos["valid"] & ~still)
    assert 0 < erratic.sum() < 64


# Ends and metrics


def test_the_horizon_ends_all_rows_of_a_world_together() -> None:
    env = ready(16, horizon=6.0)
    ages = set()
    for _ in range(60):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        by_world = truncated.reshape(4, 4)
        ended = by_world.any(1)
        assert ((terminated | truncated).reshape(4, 4)[ended]).all()
        assert not (terminated & truncated).any()
        ages.update(np.flatnonzero(ended).tolist())
        assert not env.engine.worlds.clock[ended].any()
    assert ages == {0, 1, 2, 3}


def test_first_clocks_are_staggered_and_later_ones_are_not() -> None:
    env = ready(16, horizon=6.0)
    clock = env.engine.worlds.clock
    assert len(set(clock.tolist())) == 4 and clock.max() < 20
    assert not ready(16, horizon=6.0, stagger=False).engine.worlds.clock.any()
    first_ends = []
    for step in range(20):
        truncated = env.step(env.action_space.sample())[3].reshape(4, 4).any(1)
        first_ends += [step] * int(truncated.sum())
    assert len(set(first_ends)) == 4


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_metrics_of_an_episode_add_up(mode: str) -> None:
    """Rewards summed over the steps, the last one included, are the terms; so is the length."""
    env = ready(16, autoreset_mode=mode, horizon=15.0, reward={"collision": 3.0, "offroad": 3.0})
    total, length, km = np.zeros(16), np.zeros(16, int), np.zeros(16)
    waits = np.zeros(16, bool)
    ends = last_rewards = 0
    for _ in range(150):
        _, reward, terminated, truncated, infos = env.step(env.action_space.sample())
        travel = np.abs(env.engine.motion.travel).ravel() / 1000.0
        done = terminated | truncated
        total += reward
        length += ~waits
        km += np.where(waits, 0.0, travel)
        if done.any():
            own = infos["final_info"] if mode == "SameStep" else infos
            terms = sum(own[f"reward_{name}"] for name in REWARD_TERMS)
            np.testing.assert_allclose(terms[done], total[done], atol=1e-4)
            np.testing.assert_array_equal(own["length"][done], length[done])
            np.testing.assert_allclose(own["km"][done], km[done], atol=1e-6)
            hits = done & (own["collisions"] + own["offroad"] > 0)
            assert (reward[hits] < -2.0).all(), "the reward of the last step is lost"
            ends += int(done.sum())
            last_rewards += int(hits.sum())
            for name in own:
                if not name.startswith("_") and mode == "SameStep":
                    np.testing.assert_array_equal(own[f"_{name}"], done)
                    assert not own[name][~done].any()
        for sums in (total, length, km):
            sums[done] = 0
        waits = done & (mode == "NextStep")
    assert ends > 20 and last_rewards > 5


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize("behaviour", ["terminate", "stop", "ignore"])
def test_the_length_of_an_episode_is_the_number_of_its_steps(mode: str, behaviour: str) -> None:
    """Whatever becomes of its agent: those at a halt count, too."""
    ends = {name: behaviour for name in ("on_collision", "on_offroad", "on_red_light")}
    env = ready(32, agents_per_world=16, autoreset_mode=mode, horizon=12.0, **ends)
    length, waits = np.zeros(32, int), np.zeros(32, bool)
    ended = halted = 0
    for _ in range(120):
        *_, terminated, truncated, infos = env.step(env.action_space.sample())
        halted += int((env.engine.agents.status == HALTED).sum())
        length += ~waits
        done = terminated | truncated
        if done.any():
            own = infos["final_info"] if mode == "SameStep" else infos
            np.testing.assert_array_equal(own["length"][done], length[done])
            ended += int(done.sum())
        length[done] = 0
        # Who ended a step before its world did is placed with the others.
        waits = (done | ~infos["valid"]) & (mode == "NextStep")
    assert ended > 40
    assert (halted > 100) == (behaviour == "stop")


def test_metrics_are_given_only_on_steps_with_ends() -> None:
    env = ready(8)
    for _ in range(60):
        *_, terminated, truncated, infos = env.step(env.action_space.sample())
        assert ("final_obs" in infos) == ("final_info" in infos)
        assert ("final_obs" in infos) == bool((terminated | truncated).any())


def test_seeds_of_64_bits_count_whole() -> None:
    env = make(8)
    low, high = (env.reset(seed=seed)[0] for seed in (7, 7 + 2**63))
    assert not np.array_equal(low, high)


def test_one_seed_a_world_or_a_row_mean_the_same() -> None:
    env = make(8)
    worlds = env.reset(seed=[5, 9])[0]
    rows = env.reset(seed=[5, 5, 5, 5, 9, 9, 9, 9])[0]
    np.testing.assert_array_equal(worlds, rows)


# States


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_state_goes_on_exactly(mode: str) -> None:
    settings = {"autoreset_mode": mode, "horizon": 9.0, "blind_share": 0.3, "braking_share": 0.3}
    env = ready(16, observation_noise=0.5, **settings)
    for _ in range(13):
        env.step(env.action_space.sample())
    state = env.get_state()
    actions = [env.action_space.sample() for _ in range(50)]
    first = [env.step(action)[:4] for action in actions]
    observation = env.set_state(state)
    again = [env.step(action)[:4] for action in actions]
    other = make(16, observation_noise=0.5, **settings)
    np.testing.assert_array_equal(other.set_state(state), observation)
    third = [other.step(action)[:4] for action in actions]
    for runs in zip(first, again, third, strict=True):
        for values in zip(*runs, strict=True):
            np.testing.assert_array_equal(values[0], values[1])
            np.testing.assert_array_equal(values[0], values[2])


ENDING: dict[str, Any] = {"autoreset_mode": "Disabled", "max_episode_steps": 3, "stagger": False}
"""All rows end together in the third step, and wait."""


def test_a_row_is_not_to_learn_from_the_step_that_starts_it_anew() -> None:
    env = ready(4, **{**ENDING, "autoreset_mode": "NextStep"})
    learn = [env.step(np.full(4, 7))[-1]["learn"].tolist() for _ in range(6)]
    assert learn == [[True] * 4] * 3 + [[False] * 4] + [[True] * 4] * 2


def test_metrics_of_rows_that_ended_a_step_before_are_zero() -> None:
    env = ready(8, **{**ENDING, "autoreset_mode": "NextStep"})
    env.engine.worlds.clock[...] = [1, 0]
    for _ in range(3):
        *_, infos = env.step(np.full(8, 7))
    own = np.arange(8) >= 4
    np.testing.assert_array_equal(infos["_length"], own)
    assert infos["length"].tolist() == [0] * 4 + [3] * 4
    for name in ("km", "uncomfortable", "reward_velocity", "reward_lane_align"):
        assert not infos[name][:4].any(), name


@pytest.mark.parametrize("step_info", [False, True])
def test_the_single_form_ends_with_the_metrics_and_nothing_else(step_info: bool) -> None:
    env = DrivingEnv(**SMALL, max_episode_steps=2, step_info=step_info)
    env.reset(seed=1)
    told = {*OUTLOOK, "events", "raw_terms", "weighted_terms"} if step_info else set()
    assert set(env.step(7)[-1]) == told
    *_, truncated, info = env.step(7)
    assert truncated
    rewards = {f"reward_{name}" for name in REWARD_TERMS}
    assert set(info) == {"length", "km", *(metric.name for metric in METRICS), *rewards, *told}
    assert info["length"] == 2


def test_a_world_that_has_ended_goes_on_however_its_rows_are_reset() -> None:
    env = ready(4, **ENDING)
    for _ in range(3):
        *_, truncated, _ = env.step(np.full(4, 7))
    assert truncated.all() and env.engine.worlds.ended.all()
    for mask in (np.arange(4) == 2, np.arange(4) != 2):
        env.reset(options={"reset_mask": mask})
    env.engine.agents.speed[...] = 5.0
    for step in (1, 2, 3):
        x = env.engine.agents.x.copy()
        *_, truncated, _ = env.step(np.full(4, 7))
        assert truncated.all() == (step == 3)
        assert (env.engine.agents.x != x).any()


def test_a_state_keeps_what_rows_that_ended_show() -> None:
    """A reset of the first world leaves the rows of the second one at their last observation."""
    env, other = (ready(8, **ENDING) for _ in range(2))
    for _ in range(3):
        observation, _, _, truncated, _ = env.step(np.full(8, 7))
    assert truncated.all()
    other.set_state(env.get_state())
    mask = np.arange(8) < 4
    for one in (env, other):
        shown, _ = one.reset(options={"reset_mask": mask})
        np.testing.assert_array_equal(shown[4:], observation[4:])
        assert (shown[:4] != observation[:4]).any(1).all()


def test_a_state_survives_a_file_without_pickle(tmp_path: Any) -> None:
    env = ready(8)
    state = env.get_state()
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(make(8).set_state(stored), env.set_state(state))


def test_a_state_is_a_copy() -> None:
    env = ready(8)
    state = env.get_state()
    before = state["agents.x"].copy()
    env.step(env.action_space.sample())
    np.testing.assert_array_equal(state["agents.x"], before)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("version", lambda _: np.array(99), "version 99, this package reads 2"),
        ("digest", lambda d: d[::-1].copy(), "belongs to other settings or maps"),
        ("agents.x", lambda x: x[:1], r"'agents.x' must be float32 of shape \(2, 4\)"),
        ("agents.x", lambda x: x.astype(np.float64), "'agents.x' must be float32"),
        ("agents.x", lambda x: np.full_like(x, np.nan), "'agents.x' is damaged"),
        ("agents.segment", lambda s: s + 10**8, "'agents.segment' is damaged"),
        ("bodies.goal_lane", lambda s: s + 10**8, "'bodies.goal_lane' is damaged"),
        ("worlds.map", lambda s: s + 1, "'worlds.map' .*from 0 to 0, got 1"),
        ("worlds.map", lambda s: s - 1, "'worlds.map' is damaged"),
        ("agents.segment", lambda s: s * 0 - 1, "'agents.segment' is damaged"),
        ("agents.goal", lambda s: s * 0 - 1, "'agents.goal' is damaged"),
        ("bodies.num_goals", lambda s: s * 0 - 1, "'bodies.num_goals' is damaged"),
        ("lights.turn", lambda s: s * 0 - 1, "'lights.turn' is damaged"),
        ("lights.turn", lambda s: s * 0 + 99, "'lights.turn' is damaged: a program of riverside"),
        ("agents.nonsense", lambda _: np.zeros(3), "unknown entry 'agents.nonsense'"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(name: str, change: Any, message: str) -> None:
    env = ready(8, seed=2)
    before = env.get_state()
    state = ready(8).get_state()
    state[name] = change(state.get(name))
    with pytest.raises(ValueError, match=message):
        env.set_state(state)
    for key, value in env.get_state().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("name", ["version", "digest", "agents.x", "worlds.tick"])
def test_a_state_that_lacks_an_entry_is_refused(name: str) -> None:
    state = ready(8).get_state()
    del state[name]
    with pytest.raises(ValueError, match="state"):
        make(8).set_state(state)


@pytest.mark.parametrize("other", [{"dt": 0.1}, {"map": "hillcrest"}, {"agents_per_world": 8}])
def test_a_state_of_other_settings_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="other settings or maps"):
        make(8, **other).set_state(ready(8).get_state())


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"num_envs": 0},
            ValueError,
            "num_envs must be a whole number from 1 to 2147483647, got 0",
        ),
        ({"num_envs": 2.0}, ValueError, "num_envs must be a whole number from 1"),
        ({"num_envs": 6}, ValueError, "multiple of the 4 rows of a world .*got 6"),
        ({"agents_per_world": 3000, "num_envs": 3000}, ValueError, "more than map 'riverside'"),
        ({"agents_per_worlds": 4}, TypeError, "did you mean 'agents_per_world'"),
        ({"map": "riversid"}, MapError, "riverside"),
        ({"map": "no/such.xodr"}, MapError, "does not exist"),
        ({"render_mode": "ansi"}, ValueError, "render_mode must be None, human or rgb_array"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps must be a whole number"),
        ({"max_episode_steps": 10**8}, ValueError, "max_episode_steps .*to 3333333, got 100000000"),
        ({"learners": "some"}, ValueError, "learners must be 'all' or 'one', got 'some'"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(7, int), r"integers of shape \(8,\), got int64 of shape \(7,\)"),
        (np.zeros((8, 1), int), r"of shape \(8, 1\)"),
        (np.zeros(8), "integers of shape .* got float64"),
        (np.zeros(8, bool), "integers of shape .* got bool"),
        (np.full(8, 12), "actions must be from 0 to 11, got 12 to 12"),
        (np.full(8, -1), "actions must be from 0 to 11, got -1 to -1"),
        (None, "integers of shape"),
        (["a"] * 8, "integers of shape"),
    ],
)
def test_wrong_discrete_actions_are_named(actions: Any, message: str) -> None:
    env = ready(8)
    before = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    np.testing.assert_array_equal(env.get_state()["worlds.tick"], before["worlds.tick"])


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros(8), r"floats of shape \(8, 2\), got float64 of shape \(8,\)"),
        (np.zeros((8, 2), int), "floats of shape .* got int64"),
        (np.full((8, 2), 1.01), "finite and from -1 to 1, got 1.01"),
        (np.full((8, 2), np.nan), "finite and from -1 to 1, got nan"),
        (np.full((8, 2), np.inf), "finite and from -1 to 1, got inf"),
    ],
)
def test_wrong_continuous_actions_are_named(actions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ready(8, action_type="continuous").step(actions)


@pytest.mark.parametrize("seed", [-1, 2**64, [1, 2, 3], [1, -2]])
def test_wrong_seeds_are_named(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must"):
        make(8).reset(seed=seed)


def test_a_seed_with_a_partial_mask_is_refused() -> None:
    env = ready(8)
    with pytest.raises(ValueError, match="seed and a partial reset_mask"):
        env.reset(seed=1, options={"reset_mask": np.arange(8) < 4})


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(7, bool), r"bool array of shape \(8,\), got bool of shape \(7,\)"),
        (np.ones(8, int), "bool array of shape .* got int64"),
        (np.zeros(8, bool), "True for at least one row"),
    ],
)
def test_wrong_masks_are_named(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ready(8).reset(options={"reset_mask": mask})


def test_the_first_reset_takes_all_rows() -> None:
    with pytest.raises(ResetNeeded, match="all True in the first reset"):
        make(8).reset(options={"reset_mask": np.arange(8) < 4})


def test_calls_before_reset_and_after_close_are_refused() -> None:
    env = make(8, render_mode="rgb_array")
    calls = [lambda: env.step(np.zeros(8, int)), env.get_state, env.render]
    for call in calls:
        with pytest.raises(ResetNeeded, match="call reset"):
            call()
    env.reset(seed=1)
    state = env.get_state()
    env.close()
    env.close()
    for call in [*calls, env.reset, lambda: env.set_state(state)]:
        with pytest.raises(ClosedEnvironmentError, match="closed"):
            call()


def test_stepping_an_ended_row_is_refused_when_autoreset_is_disabled() -> None:
    env = ready(8, autoreset_mode="Disabled")
    done = np.zeros(8, bool)
    while not done.any():
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated | truncated
    with pytest.raises(ResetNeeded, match=f"rows .{np.flatnonzero(done)[0]}.* have ended"):
        env.step(env.action_space.sample())
    env.reset(options={"reset_mask": done})
    env.step(env.action_space.sample())


def test_the_single_form_refuses_what_belongs_to_the_vector_form() -> None:
    with pytest.raises(TypeError, match="autoreset_mode is a setting of make_vec"):
        DrivingEnv(autoreset_mode="NextStep", **SMALL)
    with pytest.raises(TypeError, match="num_envs is a setting of make_vec, not of make"):
        DrivingEnv(num_envs=4, **SMALL)
    env = gymnasium.make("selfdrive_env/Drive-v0", disable_env_checker=True, **SMALL)
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"^action must be from 0 to 11, got 99"):
        env.unwrapped.step(99)


def test_set_attr_takes_one_value_or_one_a_row() -> None:
    env = ready(8)
    env.set_attr("mark", [3] * 8)
    assert env.get_attr("mark") == (3,) * 8
    with pytest.raises(ValueError, match="values must have 8 entries, got 2"):
        env.set_attr("mark", [1, 2])
