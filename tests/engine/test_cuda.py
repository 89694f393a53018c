"""Environments on a CUDA device, in Numba's simulator: the CPU's bits, checks, hand-over."""

from __future__ import annotations

import pickle

import gymnasium
import numpy as np
import pytest
import torch

from selfdrive_env.images.scenery import pool
from tests.engine.device_rollouts import (
    BASE,
    CASES,
    NIGHTLY,
    ROWS,
    assert_equal,
    compiled,
    host,
    rollout,
)

pytestmark = [
    pytest.mark.cudasim,
    pytest.mark.filterwarnings("ignore:overflow encountered in scalar:RuntimeWarning"),
]

ID = "selfdrive_env/SelfPlay-v0"


def on_device(**settings):
    settings = BASE | {"device": "cuda"} | settings
    return gymnasium.make_vec(ID, num_envs=ROWS, **settings).unwrapped


@pytest.fixture(scope="module")
def on_cpu(request, tmp_path_factory):
    """What the compiled kernels give in each case, from one process of their own."""
    folder, full = tmp_path_factory.mktemp("cpu"), request.config.getoption("--full")
    names = [name for name in CASES if full or name == "plain" or name not in NIGHTLY]
    compiled("device_rollouts", str(folder), *names)

    def read(case):
        with np.load(folder / f"{list(CASES).index(case)}.npz") as stored:
            return dict(stored)

    return read


@pytest.fixture(scope="module")
def scenery(tmp_path_factory):
    """What cameras draw of maps, baked by compiled code: plain Python would take hours."""
    path = tmp_path_factory.mktemp("scenery") / "all.pickle"
    compiled("device_rollouts", "scenery", str(path))
    kept = pickle.loads(path.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_baked", lambda digest, one: kept[digest])
        yield


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[pytest.mark.full] * (name in NIGHTLY)) for name in CASES]
)
def test_a_device_gives_the_bits_of_the_cpu(case, on_cpu, request):
    if "camera" in case:
        request.getfixturevalue("scenery")
    wanted = on_cpu(case)
    ends = [name for name in wanted if name.endswith(("terminated", "truncated"))]
    assert any(wanted[name].any() for name in ends)
    assert_equal(rollout(torch.from_numpy, device="cuda", **CASES[case]), wanted)


def test_arrays_come_from_a_device_as_from_the_cpu(on_cpu):
    wanted = on_cpu("plain")
    found = rollout(device="cuda", output="numpy")
    assert_equal(found, wanted)


def test_a_state_of_the_cpu_continues_on_a_device(on_cpu):
    wanted = on_cpu("plain")
    env = on_device()
    env.reset(seed=1)
    state = {n.removeprefix("state "): v for n, v in wanted.items() if n.startswith("state ")}
    observation = env.set_state(state)
    np.testing.assert_array_equal(host(observation), wanted["11 observation"])
    again = env.get_state()
    for name, values in state.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
    env.step(torch.zeros(ROWS, dtype=torch.int64))


def test_tensors_are_live_or_copies():
    live, copies = on_device(), on_device(copy=True)
    for env, same in ((live, True), (copies, False)):
        first = env.reset(seed=3)[0]
        kept = first.clone()
        second = env.step(torch.full((ROWS,), 7))[0]
        assert isinstance(second, torch.Tensor) and second.dtype == torch.float32
        assert (second.data_ptr() == first.data_ptr()) is same
        assert torch.equal(first, second if same else kept)


def test_rows_in_bfloat16_are_rounded_ones():
    wide, narrow = on_device(), on_device(obs_dtype="bfloat16")
    wanted, found = wide.reset(seed=3)[0], narrow.reset(seed=3)[0]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        (np.zeros(ROWS), ValueError, r"integers of shape \(10,\), got torch.float64"),
        ([0] * ROWS, TypeError, "actions must be a tensor on cpu, got list"),
        (torch.zeros(ROWS), ValueError, r"integers of shape \(10,\), got torch.float32"),
        (torch.zeros(3, dtype=torch.int64), ValueError, r"integers of shape \(10,\)"),
        (torch.zeros(ROWS, dtype=torch.int64, device="meta"), ValueError, "on cpu, got .* meta"),
    ],
)
def test_actions_of_another_kind_are_refused(actions, error, message):
    env = on_device()
    env.reset(seed=3)
    with pytest.raises(error, match=message):
        env.step(actions)


@pytest.mark.parametrize(
    ("settings", "bad", "message"),
    [
        ({}, 12, "actions must be from 0 to 11: row 4"),
        ({}, -1, "actions must be from 0 to 11: row 4"),
        ({"action_type": "continuous"}, np.nan, "actions must be finite and from -1 to 1: row 4"),
        ({"action_type": "continuous"}, 1.5, "actions must be finite and from -1 to 1: row 4"),
    ],
)
def test_bad_actions_raise_at_the_next_check_and_give_no_jerk(settings, bad, message):
    env = on_device(**settings)
    env.reset(seed=3)
    shape, kind = ((ROWS, 2), torch.float32) if settings else ((ROWS,), torch.int64)
    actions = torch.full(shape, 0 if settings else 7, dtype=kind)
    env.step(actions)
    env.check()
    actions[4] = bad
    env.step(actions)
    assert not env.engine.motion.jerk.reshape(ROWS, 2)[4].any()
    with pytest.raises(ValueError, match=message):
        env.get_state()
    env.check()


def test_a_reset_mask_may_be_a_tensor():
    env = on_device(autoreset_mode="Disabled")
    env.reset(seed=3)
    mask = torch.zeros(ROWS, dtype=torch.bool)
    mask[2] = True
    age = env.engine.agents.age.copy()
    env.step(torch.full((ROWS,), 7))
    env.reset(options={"reset_mask": mask})
    assert (env.engine.agents.age.reshape(-1) == np.where(mask, 0, age.reshape(-1) + 1)).all()


def test_pictures_show_what_a_device_holds():
    env = on_device(render_size=64)
    env.render_mode = "rgb_array"
    env.reset(seed=3)
    assert env.frame(0).shape == (64, 64, 3)


def test_a_camera_shows_people_what_rows_see(scenery):
    view = {"kind": "camera", "size": [16, 16]}
    env = on_device(observation=view, render_view="camera", render_size=16, agents_per_world=2)
    env.render_mode = "rgb_array"
    seen, _ = env.reset(seed=3)
    np.testing.assert_array_equal(env.frame(3), host(seen[3]))


def test_cameras_that_do_not_fit_are_refused_with_what_they_take(monkeypatch):
    monkeypatch.setattr("selfdrive_env.engine.pictures.available_memory", lambda: 10_000)
    view = {"kind": "camera", "size": [10, 16]}
    with pytest.raises(MemoryError, match=r"pictures of 10 rows need .* GB .*: \d rows would fit"):
        on_device(observation=view)


def test_steps_may_be_waited_for():
    env, other = on_device(), on_device()
    env.reset(seed=3)
    other.reset(seed=3)
    actions = torch.full((ROWS,), 10)
    env.step_async(actions)
    found, wanted = env.step_wait(), other.step(actions)
    assert torch.equal(found[0], wanted[0])
    with pytest.raises(RuntimeError, match="step_async"):
        env.step_wait()


def test_rows_too_long_for_shared_memory_are_refused():
    with pytest.raises(
        ValueError, match=r"layout has rows of .* on a device a row has at most 12288"
    ):
        on_device(layout={"lane_points": 3000})


def test_a_graph_needs_a_device():
    with pytest.raises(RuntimeError, match=r"capture\(\) needs a CUDA device"):
        on_device().capture()
