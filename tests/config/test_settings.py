"""Settings: each is checked, each names what is allowed, and each changes something."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from selfdrive_env.config import settings
from selfdrive_env.config.choices import CHOICES
from selfdrive_env.config.installation import require_torch, usable_cores
from selfdrive_env.config.layouts import LAYOUTS, make_layout
from selfdrive_env.config.observation import OBSERVATION_VERSION
from selfdrive_env.config.params import make_params
from selfdrive_env.config.presets import BODY_TYPES, PRESETS, TRAINING_RANGE, weight_ranges
from selfdrive_env.config.settings import EARLIER, NOT_IN_DIGEST, Settings
from selfdrive_env.envs import DrivingVectorEnv
from selfdrive_env.state.arrays import digest as text_digest
from selfdrive_env.state.rewards import REWARD_TERMS, REWARDS, WEIGHTS
from selfdrive_env.state.road import LANE_CHANGE_COST

SMALL: dict[str, Any] = {
    "map": "riverside",
    "layout": "lean",
    "agents_per_world": 8,
    "num_threads": 1,
}


def make(num_envs: int = 16, **settings: Any) -> DrivingVectorEnv:
    return DrivingVectorEnv(num_envs, **{**SMALL, **settings})


def trace(steps: int = 40, seed: int = 3, **settings: Any) -> str:
    """Digest of all that a run under a fixed sequence of actions returns."""
    env = make(**settings)
    sha = hashlib.sha256(env.reset(seed=seed)[0].tobytes())
    env.action_space.seed(1)
    for _ in range(steps):
        if env.autoreset_mode is AutoresetMode.DISABLED and env._waiting().any():
            env.reset(options={"reset_mask": env._waiting()})
        for value in env.step(env.action_space.sample())[:4]:
            sha.update(value.tobytes())
    env.close()
    return sha.hexdigest()


@functools.cache
def repeated(steps: int, settings: str) -> str:
    """Digest of a run, made twice, that many settings are compared with; its settings as JSON."""
    first, again = (trace(steps, **json.loads(settings)) for _ in range(2))
    assert first == again, "the run itself is not repeatable"
    return first


BUSY: dict[str, Any] = {"driver": "constant", "agents_per_world": 16, "light_removal": 0.0}
LIT: dict[str, Any] = {**BUSY, "lights_off": 0.0, "lights_green": 0.0}
STILL: dict[str, Any] = {"driver": "still"}

# Setting -> another value of it, and what it needs beside it to show.
EFFECTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "map": ("hillcrest", {}),
    "map_variants": (4, {}),
    "agents_per_world": (4, {}),
    "dt": (0.1, {}),
    "horizon": (5.0, {}),
    "stagger": (False, {"horizon": 20.0}),
    "layout": ("full", {}),
    "preset": ("eval", {}),
    "reward": ({"collision": 2.5}, {}),
    "bodies": ("typed", {}),
    "action_type": ("continuous", {}),
    "dynamics": ("bicycle", {}),
    "action_bins": (5, {"dynamics": "bicycle"}),
    "jerk_long": ([-15.0, -4.0, 0.0, 3.0], {}),
    "jerk_lat": ([-3.0, 0.0, 4.0], {}),
    "on_collision": ("ignore", BUSY),
    "on_offroad": ("stop", {}),
    "tow_after": (1.0, {"on_collision": "stop", "on_offroad": "stop"}),
    "on_red_light": ("terminate", LIT),
    "reverse": ("allowed", {}),
    "on_goal": ("new_route", {"driver": "idm", "further_goals": 0, "first_goal": (20.0, 30.0)}),
    "first_goal": (None, {}),
    "further_goals": (0, {}),
    "initial_speed": (0.2, {}),
    "standing_share": (0.5, {}),
    "blind_share": (1.0, {}),
    "braking_share": (1.0, {"driver": "idm"}),
    "observation_noise": (1.0, {}),
    "lane_dropout": (0.5, {}),
    "boundary_dropout": (0.4, {}),
    "light_timing": ("fixed", {**LIT, **STILL}),
    "light_removal": (1.0, {**LIT, **STILL}),
    "lights_off": (1.0, {**LIT, **STILL}),
    "lights_green": (1.0, {**LIT, **STILL}),
    "traffic": ("still", {"learners": "one"}),
    "driver": ("idm", {}),
    "world_offset": (5, {}),
}

# Settings that must not change results have tests of their own below, or (the mode) the contract's;
# tests/envs/test_pictures.py has those of pictures.
ELSEWHERE = {
    "device",
    "output",
    "autoreset_mode",
    "num_threads",
    "copy",
    "obs_dtype",
    "observation",
    "record",
    "step_info",
}
PICTURES = {
    "render_view": "camera",
    "render_size": 96,
    "render_span": 40.0,
    "render_hud": True,
    "render_heading_up": True,
    "render_observed": True,
}


def test_every_setting_is_covered() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert set(EFFECTS) | ELSEWHERE | set(PICTURES) == names


@pytest.mark.parametrize("name", EFFECTS)
def test_a_setting_changes_something(name: str) -> None:
    value, beside = EFFECTS[name]
    steps = 150 if "driver" in beside else 40
    assert repeated(steps, json.dumps(beside)) != trace(steps, **{**beside, name: value})


def test_threads_and_copies_change_nothing() -> None:
    assert trace() == trace(num_threads=2) == trace(copy=False)


def test_infos_of_steps_change_nothing_else() -> None:
    assert trace() == trace(step_info=True)


def test_copy_false_hands_out_live_buffers() -> None:
    env = make(copy=False)
    first, _ = env.reset(seed=1)
    second = env.step(env.action_space.sample())[0]
    assert np.shares_memory(first, second)


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_setting_changes_the_picture(name: str) -> None:
    pytest.importorskip("PIL")
    plain = {"render_mode": "rgb_array", "render_size": 64}
    frames = []
    for chosen in (plain, {**plain, name: PICTURES[name]}):
        env = make(8, **chosen)
        env.reset(seed=1)
        frames.append(env.frame(0))
    assert frames[0].shape != frames[1].shape or not np.array_equal(*frames)


def test_an_agent_never_outlives_the_horizon() -> None:
    env = make(horizon=6.0, on_collision="ignore", on_offroad="ignore", on_goal="new_route")
    env.reset(seed=1)
    for _ in range(60):
        env.step(env.action_space.sample())
        assert env.engine.agents.age.max() <= env.settings.steps == 20


def test_bodies_come_from_their_table() -> None:
    names = list(BODY_TYPES)
    env = make(64, bodies={"bus": 1.0, "bicycle": 3.0}, agents_per_world=8)
    env.reset(seed=1)
    bodies = env.engine.bodies
    assert {names[kind] for kind in bodies.type.ravel()} == {"bus", "bicycle"}
    buses = bodies.type == names.index("bus")
    assert ((bodies.length[buses] >= 10.0) & (bodies.length[buses] <= 12.0)).all()
    assert (bodies.length[~buses] <= 1.9).all()
    assert buses.sum() < (~buses).sum()


def test_random_bodies_keep_the_papers_ranges() -> None:
    env = make(64)
    env.reset(seed=1)
    bodies = env.engine.bodies
    assert bodies.length.min() >= 0.8 and bodies.length.max() <= 7.0
    assert bodies.width.min() >= 0.8 and bodies.width.max() <= 3.0
    assert (bodies.width <= bodies.length).all()
    np.testing.assert_allclose(bodies.wheelbase, 0.6 * bodies.length, rtol=1e-6)


def test_weights_are_drawn_from_the_preset_and_the_overrides() -> None:
    env = make(64, preset="train", reward={"goal": 2.0, "reverse": [0.1, 0.2]})
    env.reset(seed=1)
    weight = dict(zip(WEIGHTS, np.moveaxis(env.engine.bodies.weight, -1, 0), strict=True))
    assert (weight["goal"] == 2.0).all()
    assert weight["reverse"].min() >= 0.1 and weight["reverse"].max() <= 0.2
    for name in ("goal_radius", "collision", "centre_bias"):
        low, high = TRAINING_RANGE[name]
        assert weight[name].min() >= low and weight[name].max() <= high
        assert np.ptp(weight[name]) > 0.5 * (high - low)


def test_goals_keep_to_their_settings() -> None:
    env = make(64, first_goal=(50.0, 60.0), further_goals=1)
    env.reset(seed=1)
    assert set(np.unique(env.engine.bodies.num_goals)) == {1, 2}
    distance = env.engine.agents.goal_distance
    assert distance.min() >= 49.0 and distance.max() <= 61.0 + LANE_CHANGE_COST


def test_initial_speed_zero_starts_standing() -> None:
    env = make(initial_speed=0.0)
    env.reset(seed=1)
    assert not env.engine.agents.speed.any()


def test_continuous_actions_span_the_jerks() -> None:
    env = make(8, action_type="continuous")
    env.reset(seed=1)
    env.step(np.array([[-1, -1], [1, 1], [0, 0], [0.5, -0.5]] * 2, np.float32))
    jerks = env.engine.motion.jerk.reshape(-1, 2)
    np.testing.assert_array_equal(jerks[:4], [[-15, -4], [4, 4], [0, 0], [2, -2]])


def test_discrete_actions_are_all_pairs_of_jerks() -> None:
    env = make(8)
    env.reset(seed=1)
    env.step(np.arange(8))
    jerks = env.engine.motion.jerk.reshape(-1, 2)
    assert env.single_action_space.n == 12
    np.testing.assert_array_equal(jerks[:4], [[-15, -4], [-15, 0], [-15, 4], [-4, -4]])


def test_presets_name_every_weight() -> None:
    for name, preset in PRESETS.items():
        assert set(preset) == set(WEIGHTS), name
        assert weight_ranges(name, {}).shape == (len(WEIGHTS), 2)
    assert set(WEIGHTS) >= set(REWARD_TERMS)


def test_settings_survive_json() -> None:
    settings = Settings(map=["riverside"], agents_per_world=[2, 4], reward={"goal": [1, 2]})
    again = Settings(**json.loads(json.dumps(dataclasses.asdict(settings))))
    assert again.digest() == settings.digest()


def test_digests_change_with_what_they_stand_for() -> None:
    assert Settings().digest() == Settings(num_threads=3, copy=False, render_size=99).digest()
    assert Settings().digest() != Settings(dt=0.1).digest()
    assert Settings().layout_digest() == Settings(dt=0.1, layout={}).layout_digest()
    assert Settings().layout_digest() != Settings(layout="lean").layout_digest()


def test_digests_from_before_a_setting_are_those_of_what_held_then() -> None:
    """So states and checkpoints of then fit, with `reverse="allowed"` and with nothing else."""
    before = Settings(map="riverside", **EARLIER)
    values = {n: v for n, v in vars(before).items() if n not in (*NOT_IN_DIGEST, *EARLIER)}
    text = json.dumps([OBSERVATION_VERSION, values], sort_keys=True, default=list)
    assert before.digest() == text_digest(text)
    for name in EARLIER:
        now = dataclasses.replace(before, **{name: getattr(Settings, name)})
        assert (now.digest() == before.digest()) == (EARLIER[name] == getattr(Settings, name))


def test_layout_slots_left_out_are_those_of_full() -> None:
    assert make_layout({"agents": 3}) == dataclasses.replace(LAYOUTS["full"], agents=3)


def test_choices_are_settings() -> None:
    names = {field.name for field in dataclasses.fields(Settings)}
    assert set(CHOICES) <= names
    assert make_params(Settings()).autoreset == CHOICES["autoreset_mode"].index("SameStep")


@pytest.mark.parametrize(
    ("jerks", "hold", "brake"),
    [
        ((-15.0, -4.0, 0.0, 4.0), -9.5, -15.0),
        ((3.0, -1.0, -6.0, -2.0, 0.0), -4.0, -6.0),
        ((-3.0, 0.0, 2.0), -3.0, -3.0),
    ],
)
def test_standing_still_is_held_by_the_hardest_brake_alone(
    jerks: tuple[float, ...], hold: float, brake: float
) -> None:
    """The bound lies half way to the second hardest one."""
    params = make_params(Settings(jerk_long=jerks))
    assert (params.hold_jerk, params.brake_jerk) == (hold, brake)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dt": 0.0}, r"dt must be a number from 0.01 to 0.4, got 0.0"),
        ({"dt": float("nan")}, r"dt must be a number from 0.01 to 0.4, got nan"),
        ({"dt": "fast"}, r"dt must be a number .* got 'fast'"),
        ({"dt": True}, r"dt must be a number"),
        ({"horizon": -1}, r"horizon must be a number from 0.01 to 1e\+06, got -1"),
        ({"agents_per_world": 0}, r"agents_per_world must be a whole number from 1 to"),
        ({"agents_per_world": 2.5}, r"agents_per_world must be .*got 2.5"),
        ({"agents_per_world": "8"}, r"agents_per_world must be .*got '8'"),
        ({"agents_per_world": [4, 2]}, r"agents_per_world must rise from low to high"),
        ({"agents_per_world": [1, 2, 3]}, r"agents_per_world must be a number or \[low, high\]"),
        ({"layout": "tiny"}, r"layout must be one of full, lean, got 'tiny'"),
        ({"layout": {"lanes": 3}}, r"layout has no 'lanes'; its slots are goals, lane_points"),
        ({"layout": {"agents": -1}}, r"layout\['agents'\] must be a whole number from 0"),
        ({"layout": 3}, r"layout must be .*got 3"),
        ({"preset": "evil"}, r"preset must be one of train, eval, cautious, aggressive"),
        ({"preset": ["train"]}, r"preset must be one of"),
        ({"reward": {"colision": 1}}, r"no weight 'colision' \(did you mean 'collision'\?\)"),
        ({"reward": {"goal": "much"}}, r"reward\['goal'\] must be a number"),
        ({"reward": {"goal": [2, 1]}}, r"reward\['goal'\] must rise from low to high"),
        ({"reward": {"goal": [1, 2, 3]}}, r"reward\['goal'\] must be a number or \[low, high\]"),
        (
            {"reward": {"offroad": -3.0}},
            r"reward\['offroad'\] is the magnitude of a penalty.*got -3",
        ),
        ({"reward": {"comfort": [-0.1, 0.1]}}, r"comfort.*at least 0, got \[-0.1, 0.1\]"),
        ({"reward": 3}, r"reward must be .*got 3"),
        ({"bodies": "heavy"}, r"bodies must be one of random, typed, got 'heavy'"),
        ({"bodies": {"tank": 1}}, r"bodies has no type 'tank'; types are random, car"),
        ({"bodies": {"car": 0}}, r"bodies needs a positive share"),
        ({"bodies": {"car": -1}}, r"bodies\['car'\] must be a number from 0"),
        ({"bodies": 3}, r"bodies must be .*got 3"),
        ({"jerk_long": [1.0, 2.0]}, r"jerk_long needs a negative and a positive jerk"),
        ({"jerk_long": []}, r"jerk_long must be a list of different jerks"),
        ({"jerk_lat": [1.0, 1.0]}, r"jerk_lat must be a list of different jerks"),
        ({"jerk_lat": 4.0}, r"jerk_lat must be .*got 4.0"),
        ({"first_goal": [20, 10]}, r"first_goal must be \[low, high\]"),
        ({"first_goal": 20}, r"first_goal must be .*got 20"),
        ({"further_goals": 4}, r"further_goals must be a whole number from 0 to 3, got 4"),
        ({"blind_share": 1.5}, r"blind_share must be a number from 0 to 1, got 1.5"),
        ({"on_collision": "explode"}, r"on_collision must be one of terminate, stop, ignore"),
        ({"tow_after": 0.0}, r"tow_after must be a number from 0.01 to 1e\+06, got 0.0"),
        ({"standing_share": 1.5}, r"standing_share must be a number from 0 to 1, got 1.5"),
        ({"standing_share": "few"}, r"standing_share must be a number .* got 'few'"),
        ({"tow_after": "soon"}, r"tow_after must be a number .* got 'soon'"),
        ({"reverse": "always"}, r"reverse must be one of never, allowed, got 'always'"),
        ({"reverse": True}, r"reverse must be one of never, allowed, got True"),
        ({"on_goal": "stop"}, r"on_goal must be one of terminate, new_route, got 'stop'"),
        ({"autoreset_mode": "Same"}, r"autoreset_mode must be one of NextStep, SameStep, Disabled"),
        ({"traffic": "external"}, r"traffic must be one of idm, constant, still"),
        ({"copy": 1}, r"copy must be True or False, got 1"),
        ({"num_threads": 0}, r"num_threads must be a whole number from 1 to 4, got 0 \(this proc"),
        ({"num_threads": -1}, r"num_threads must be a whole number from 1 to 4, got -1"),
        ({"num_threads": 2.0}, r"num_threads must be a whole number from 1 to 4, got 2.0"),
        ({"num_threads": "2"}, r"num_threads must be a whole number from 1 to 4, got '2'"),
        ({"num_threads": True}, r"num_threads must be a whole number from 1 to 4, got True"),
        ({"num_threads": 5}, r"got 5 \(this process may use 4 cores, None takes all\)"),
        ({"world_offset": -1}, r"world_offset must be a whole number from 0"),
        ({"map": []}, r"map must be a name or path, or a list of them"),
        ({"map": 3}, r"map must be .*got 3"),
        ({"render_size": 8}, r"render_size must be a whole number from 16 to 8192, got 8"),
        ({"render_view": "bev"}, r"render_view must be one of map, camera, got 'bev'"),
        ({"render_hud": 1}, r"render_hud must be True, False or None, got 1"),
        ({"render_heading_up": None}, r"render_heading_up must be True or False, got None"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_keywords(settings)


def test_threads_end_at_the_cores_that_the_process_may_use(monkeypatch: Any) -> None:
    monkeypatch.setattr(settings, "usable_cores", usable_cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert Settings().threads == Settings(num_threads=1).threads == 1
    with pytest.raises(ValueError, match=r"from 1 to 1, got 2 \(this process may use 1 core, "):
        Settings(num_threads=2)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert Settings().threads == Settings(num_threads=64).threads == 64
    with pytest.raises(ValueError, match="num_threads must be a whole number from 1 to 64, got 65"):
        Settings(num_threads=65)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("agent_per_world", "agents_per_world"), ("horizn", "horizon"), ("num_thread", "num_threads")],
)
def test_an_unknown_setting_names_its_nearest_relative(wrong: str, near: str) -> None:
    with pytest.raises(TypeError, match=f"unknown setting '{wrong}' .did you mean '{near}'"):
        Settings.from_keywords({wrong: 1})


def test_missing_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"training needs torch: pip install .*\[train\]"):
        require_torch("training", "train")


def test_no_weight_turns_a_penalty_into_a_reward():
    rng = np.random.default_rng(0)
    for weight in REWARDS:
        below = -float(rng.uniform(1e-3, 10.0))
        if weight.name in ("goal", "centre_bias", "velocity", "progress"):
            assert weight_ranges("eval", {weight.name: below}).min() == np.float32(below)
            continue
        with pytest.raises(ValueError, match=weight.name):
            weight_ranges("eval", {weight.name: below})
