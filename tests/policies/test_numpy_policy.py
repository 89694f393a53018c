"""Policy files without torch, and cars that a policy drives around the ego."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import selfdrive_env
from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.envs import make_drive, make_self_play
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.policies.files import HEADER
from selfdrive_env.state.world import PRESENT
from selfdrive_env.training import load_torch_policy
from tests.policies.policy_files import SIZES, write_policy

BRAKE, COAST, ACCELERATE = 1, 7, 10
SMALL: dict[str, Any] = {"map": "riverside", "agents_per_world": 6, "num_threads": 1}


@pytest.fixture
def policy(tmp_path: Path) -> str:
    return str(write_policy(tmp_path / "policy.safetensors"))


@pytest.mark.parametrize(
    "sizes", [SIZES, Sizes((16, 32), 8, (32, 16)), Sizes((24, 8), 8, (16,)), Sizes((8,), 8, (16,))]
)
@pytest.mark.parametrize("layout", [LAYOUTS["lean"], ObservationLayout(0, 3, 0, 0, 0)])
def test_logits_are_those_of_torch(tmp_path: Path, sizes: Sizes, layout: ObservationLayout) -> None:
    file = write_policy(tmp_path / "a.safetensors", layout, sizes)
    ours, theirs = selfdrive_env.load_policy(file), load_torch_policy(file)
    random = np.random.default_rng(1)
    rows = random.uniform(-1, 1, (40, ours.features)).astype(np.float32)
    for name, part in layout.slices.items():
        if name in ("agents", "lane_points"):
            rows[:20, part] = 0.0
    wanted = theirs.networks.log_probabilities(torch.from_numpy(rows)).numpy()
    found = ours.logits(rows)
    found -= np.log(np.exp(found).sum(1, keepdims=True))
    # The last layer's weights are a hundred times the usual ones.
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert len(np.unique(ours.act(rows))) > 1


@pytest.mark.parametrize("sizes", [SIZES, Sizes((24, 8), 8, (16,))])
def test_a_row_gives_the_same_bits_in_any_batch(tmp_path: Path, sizes: Sizes) -> None:
    policy = selfdrive_env.load_policy(write_policy(tmp_path / "a.safetensors", sizes=sizes))
    rows = np.random.default_rng(4).uniform(-1, 1, (600, policy.features)).astype(np.float32)
    whole = policy.logits(rows)
    assert np.array_equal(whole[37:53], policy.logits(rows[37:53]))
    assert np.array_equal(whole[599:], policy.logits(rows[599:]))
    policy.threads = 2
    assert np.array_equal(whole, policy.logits(rows))
    assert policy.logits(rows[:0]).shape == (0, whole.shape[1])
    assert policy.act(rows[:0]).shape == (0,)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    file = write_policy(tmp_path / "a.safetensors")
    data = bytearray(file.read_bytes())
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    start = 8 + length + table["actor.head.bias"]["data_offsets"][0]
    data[start : start + 4] = np.float32(np.nan).tobytes()
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"actor\.head\.bias is not finite"):
        selfdrive_env.load_policy(file)


def test_drawn_actions_follow_their_chances(tmp_path: Path) -> None:
    policy = selfdrive_env.load_policy(write_policy(tmp_path / "a.safetensors"))
    row = np.random.default_rng(2).uniform(-1, 1, (1, policy.features)).astype(np.float32)
    chances = np.exp(policy.logits(row)[0] - policy.logits(row)[0].max())
    policy.seed(5)
    drawn = policy.act(row.repeat(4000, 0), deterministic=False)
    share = np.bincount(drawn, minlength=12) / 4000
    assert np.abs(share - chances / chances.sum()).max() < 0.04


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version 1, this package reads 2"),
        ({"observation_version": 1}, "observation version 1 in the file, 2 in this package: train"),
        ({"sizes": {"scalar_width": 3}}, "lacks 'set_widths'"),
        ({"actions": 5}, r"actor.head.weight must be float32 \[5, 32\], got float32 \[12, 32\]"),
        ({"layout": {"goals": 1}}, "in one of file and package"),
        ({"layout": [1]}, "layout is no table"),
        ({"layout": {"goals": "two"}}, "goals is 'two'"),
        ({"sizes": 3}, "sizes is no table"),
        ({"sizes": {**SIZES._asdict(), "set_widths": [-1]}}, r"set_widths is \[-1\]"),
        ({"actions": True}, "actions is True"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = write_policy(tmp_path / "a.safetensors")
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = {**json.loads(header["__metadata__"][HEADER]), **change}
    header["__metadata__"][HEADER] = json.dumps(about)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ValueError, match=message):
        selfdrive_env.load_policy(file)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    file = write_policy(tmp_path / "a.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a\.safetensors.* is damaged"):
        selfdrive_env.load_policy(file)
    with pytest.raises(ValueError, match="did you mean 'selfplay'"):
        selfdrive_env.load_policy("selfplaay")


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_the_policy_drives_the_others_and_not_the_ego(tmp_path: Path, mode: str) -> None:
    brakes = str(write_policy(tmp_path / "a.safetensors", action=BRAKE))
    env = make_drive(4, traffic=brakes, autoreset_mode=mode, **SMALL)
    env.reset(seed=1)
    for _ in range(25):
        _, _, terminated, truncated, _ = env.step(np.full(4, ACCELERATE))
        done = terminated | truncated
        if mode == "Disabled" and done.any():
            env.reset(options={"reset_mask": done})
    speed = np.abs(env.engine.agents.speed)
    # Some were placed anew, at speed, in the last steps.
    assert np.median(speed[:, 1:]) == 0.0
    assert (speed[:, 0] > 0.0).any()
    env.close()


def test_the_ego_sees_and_earns_what_its_row_in_self_play_does(policy: str) -> None:
    """The same worlds with all agents as rows, driven by the same policy."""
    drive = make_drive(3, traffic=policy, **SMALL)
    play = make_self_play(18, **SMALL, layout="lean")
    driver = selfdrive_env.load_policy(policy)
    ours, _ = drive.reset(seed=4)
    rows, _ = play.reset(seed=4)
    ends = 0
    for step in range(250):
        assert np.array_equal(ours, rows[::6])
        actions = driver.act(rows)
        actions[::6] = step % 12
        rows, *others, infos = play.step(actions)
        ours, *found, told = drive.step(actions[::6])
        for one, other in zip(found, others, strict=True):
            assert np.array_equal(one, other[::6])
        done = found[1] | found[2]
        ends += done.sum()
        assert ("final_obs" in told) == bool(done.any())
        if done.any():
            assert np.array_equal(told["final_obs"][done], infos["final_obs"][::6][done])
            assert not told["final_obs"][~done].any()
            for name, value in told["final_info"].items():
                assert np.array_equal(value[done], infos["final_info"][name][::6][done]), name
    assert ends > 3
    drive.close()
    play.close()


def test_results_do_not_depend_on_threads_or_on_a_return_to_a_state(policy: str) -> None:
    one = make_drive(3, traffic=policy, **SMALL)
    two = make_drive(3, traffic=policy, **{**SMALL, "num_threads": 2})
    one.reset(seed=2)
    two.reset(seed=2)
    for step in range(30):
        found, wanted = (env.step(np.full(3, step % 12)) for env in (one, two))
        for a, b in zip(found[:4], wanted[:4], strict=True):
            assert np.array_equal(a, b)
    copy = pickle.loads(pickle.dumps(one))
    state = one.get_state()
    wanted = [one.step(np.full(3, COAST))[0].copy() for _ in range(10)]
    assert np.array_equal(one.set_state(state), copy.engine.observations[::6])
    for env in (one, copy):
        for row in wanted:
            assert np.array_equal(env.step(np.full(3, COAST))[0], row)
    for env in (one, two, copy):
        env.close()


def test_an_ego_that_ended_shows_its_last_row_and_must_be_reset(tmp_path: Path) -> None:
    file = str(write_policy(tmp_path / "a.safetensors", action=COAST))
    env = make_drive(4, traffic=file, autoreset_mode="Disabled", **SMALL)
    same = make_drive(4, traffic=file, **SMALL)
    env.reset(seed=3)
    same.reset(seed=3)
    for _ in range(300):
        rows, _, terminated, truncated, _ = env.step(np.full(4, ACCELERATE))
        infos = same.step(np.full(4, ACCELERATE))[4]
        done = terminated | truncated
        if done.any():
            break
    assert done.any()
    assert np.array_equal(rows[done], infos["final_obs"][done])
    with pytest.raises(ResetNeeded):
        env.step(np.full(4, COAST))
    after, _ = env.reset(options={"reset_mask": done})
    assert not np.array_equal(after[done], rows[done])
    assert np.array_equal(after[~done], rows[~done])
    env.step(np.full(4, COAST))
    env.close()
    same.close()


def test_a_reset_places_traffic_that_ended_with_the_ego(tmp_path: Path) -> None:
    file = str(write_policy(tmp_path / "a.safetensors", action=ACCELERATE))
    settings = {**SMALL, "agents_per_world": 12}
    env = make_drive(4, traffic=file, autoreset_mode="Disabled", **settings)
    env.reset(seed=0)
    resets = 0
    for _ in range(600):
        _, _, terminated, truncated, _ = env.step(np.full(4, ACCELERATE))
        done = terminated | truncated
        if done.any():
            env.reset(options={"reset_mask": done})
            resets += done.sum()
            assert (env.engine.agents.status[done] == PRESENT).all()
    assert resets > 30
    env.close()


def test_make_and_its_checker(policy: str) -> None:
    env = gymnasium.make("selfdrive_env/Drive-v0", traffic=policy, **SMALL)
    check_env(env.unwrapped, skip_render_check=True)
    assert json.loads(env.spec.to_json())["kwargs"]["traffic"] == policy
    env.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"traffic": "selfpley"}, "traffic must be .*selfplay"),
        ({"traffic": "idmm"}, r"got 'idmm' \(did you mean 'idm'\?\)"),
        ({"layout": "full"}, "layout must be that of the policy.*lane_points 12 in the file"),
        ({"action_type": "continuous"}, "action_type must be 'discrete'"),
        ({"driver": "idm"}, "driver must be 'external'"),
        ({"jerk_long": [-9.0, -4.0, 0.0, 4.0]}, r"jerk_long must be \[-15.0, -4.0, 0.0, 4.0\]"),
        ({"jerk_lat": [-4.0, 0.0]}, "was trained for 12 actions, the environment has 8"),
    ],
)
def test_what_does_not_go_together_is_refused(
    policy: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_drive(1, **{"traffic": policy, **SMALL, **settings})


def test_self_play_has_no_traffic(policy: str) -> None:
    with pytest.raises(ValueError, match="for Drive-v0"):
        make_self_play(6, traffic=policy, **SMALL)


def test_no_torch_is_loaded(policy: str) -> None:
    code = f"""
import sys, gymnasium, numpy, selfdrive_env
env = gymnasium.make("selfdrive_env/Drive-v0", traffic={policy!r}, map="riverside")
env.reset(seed=0)
env.step(7)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_policy_that_comes_with_the_package_drives() -> None:
    policy = selfdrive_env.load_policy("selfplay")
    assert policy.path.stat().st_size < 5_000_000
    assert policy.path.with_suffix(".md").exists()
    env = make_drive(4, traffic="selfplay", map="harbour", agents_per_world=16, num_threads=1)
    env.reset(seed=0)
    metres = 0.0
    for _ in range(60):
        env.step(np.full(4, COAST))
        metres += float(np.abs(env.engine.motion.travel[:, 1:]).mean())
    assert metres / (60 * env.settings.dt) > 3.0
    env.close()
