"""Same seed, same bytes: whatever the threads, the split of the batch or the process."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.compiler.vectors import X86
from selfdrive_env.engine import buffers
from selfdrive_env.envs import DrivingVectorEnv

SETTINGS: dict[str, Any] = {
    "map": ["riverside", "hillcrest"],
    "layout": "lean",
    "agents_per_world": 6,
    "horizon": 12.0,
    "blind_share": 0.2,
    "braking_share": 0.2,
    "standing_share": 0.2,
    "observation_noise": 0.5,
    "lane_dropout": 0.5,
    "boundary_dropout": 0.4,
    "num_threads": 1,
}
WORLDS = 4
ROWS = 6
STEPS = 60


def make(worlds: int = WORLDS, **settings: Any) -> DrivingVectorEnv:
    learners = settings.get("learners", "all")
    rows = worlds if learners == "one" else worlds * ROWS
    return DrivingVectorEnv(rows, **{**SETTINGS, **settings})


def actions(steps: int = STEPS, rows: int = WORLDS * ROWS) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, 12, (steps, rows))


def play(env: DrivingVectorEnv, chosen: NDArray[np.int64]) -> list[tuple[Any, ...]]:
    """Observations, rewards, flags and metrics of a run; ended rows are reset where they wait."""
    out = []
    for action in chosen:
        observation, reward, terminated, truncated, infos = env.step(action)
        done = terminated | truncated
        final = infos.get("final_obs", np.zeros_like(observation))
        km = infos.get("final_info", infos).get("km", np.zeros(len(reward), np.float32))
        out.append((observation, reward, terminated, truncated, final, km))
        if env.settings.autoreset_mode == "Disabled" and done.any():
            observation, _ = env.reset(options={"reset_mask": done})
            out.append((observation,))
    return out


def same(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> bool:
    return len(a) == len(b) and all(
        x.tobytes() == y.tobytes()
        for one, two in zip(a, b, strict=True)
        for x, y in zip(one, two, strict=True)
    )


def digest(run: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256(b"".join(v.tobytes() for step in run for v in step)).hexdigest()


def started(**settings: Any) -> DrivingVectorEnv:
    env = make(**settings)
    env.reset(seed=11)
    return env


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_one_thread_and_two_give_the_same_bytes(mode: str) -> None:
    one, two, three = (
        play(started(autoreset_mode=mode, num_threads=threads), actions()) for threads in (1, 2, 3)
    )
    assert same(one, two) and same(one, three)


@pytest.mark.skipif(SIMULATED or not X86, reason="rows go through the caches")
@pytest.mark.parametrize(
    ("mode", "layout", "threads", "copy"),
    [
        ("SameStep", "lean", 1, True),
        ("SameStep", "full", 2, False),
        ("NextStep", "full", 1, True),
        ("NextStep", "lean", 2, False),
        ("Disabled", "lean", 1, False),
        ("Disabled", "full", 2, True),
    ],
)
def test_rows_are_the_same_past_the_caches(
    monkeypatch: pytest.MonkeyPatch, mode: str, layout: str, threads: int, copy: bool
) -> None:
    monkeypatch.setattr(buffers, "LONG_ROW", 0)
    found = []
    for limit in (0, 2**40):
        monkeypatch.setattr(buffers, "CACHED_ROWS", limit)
        env = started(autoreset_mode=mode, layout=layout, num_threads=threads, copy=copy)
        assert env.engine.params.past_cache == (limit == 0)
        steps = [play(env, action[None]) for action in actions()]
        found.append([digest(step) for step in steps])
        assert any(len(step) == 1 and step[0][4].any() for step in steps) or mode != "SameStep"
    assert found[0] == found[1]


@pytest.mark.parametrize("learners", ["all", "one"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_batch_split_in_two_gives_the_same_bytes(mode: str, learners: str) -> None:
    rows = WORLDS * (1 if learners == "one" else ROWS)
    chosen, half = actions(rows=rows), rows // 2
    settings = {"autoreset_mode": mode, "learners": learners}
    whole = play(started(**settings), chosen)
    halves = [
        play(started(worlds=WORLDS // 2, world_offset=offset, **settings), chosen[:, rows_of])
        for offset, rows_of in ((0, slice(half)), (WORLDS // 2, slice(half, None)))
    ]
    joined = [
        tuple(np.concatenate(pair) for pair in zip(*steps, strict=True))
        for steps in zip(*halves, strict=True)
    ]
    assert same(whole, joined)


def test_resetting_rows_of_one_world_leaves_the_other_worlds_alone() -> None:
    """What the callers of split batches rely on: a world does not feel the resets of another."""
    chosen = actions(20)
    one, two = (started(autoreset_mode="NextStep", horizon=360.0) for _ in range(2))
    mask = np.zeros(WORLDS * ROWS, bool)
    mask[0] = True
    for step, action in enumerate(chosen):
        a, b = one.step(action), two.step(action)
        np.testing.assert_array_equal(a[0][ROWS:], b[0][ROWS:], err_msg=f"step {step}")
        if step == 3:
            two.reset(options={"reset_mask": mask})


def test_the_same_seed_gives_the_same_bytes_again_and_elsewhere() -> None:
    env = make()
    runs = []
    for seed in (11, 12, 11):
        env.reset(seed=seed)
        runs.append(play(env, actions()))
    assert same(runs[0], runs[2]) and not same(runs[0], runs[1])
    assert same(runs[0], play(started(), actions()))


def test_a_second_process_gives_the_same_bytes() -> None:
    code = "import test_determinism as t; print(t.digest(t.play(t.started(), t.actions())))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "4"},
    )
    assert result.stdout.strip() == digest(play(started(), actions()))


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_pickled_copy_goes_on_with_the_same_bytes(mode: str) -> None:
    env = started(autoreset_mode=mode)
    play(env, actions()[:17])
    copy = pickle.loads(pickle.dumps(env))
    assert same(play(env, actions()[17:]), play(copy, actions()[17:]))


def test_observing_is_a_function_of_the_state() -> None:
    env = started()
    last = play(env, actions()[:17])[-1][0]
    state = env.get_state()
    other = make()
    np.testing.assert_array_equal(other.set_state(state), last)
    for name, value in other.get_state().items():
        np.testing.assert_array_equal(value, state[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    ["riverside", *(pytest.param(name, marks=pytest.mark.full) for name in ("hillcrest", "file"))],
)
def test_a_long_random_run_stays_in_bounds(source: str, request: Any) -> None:
    """A million agent-steps on three maps: inside the Box, and nothing is NaN."""
    if source == "file":
        source = str(request.getfixturevalue("shared_data") / "opendrive/maliput_cloverleaf.xodr")
    agents, worlds = 32, 32
    env = DrivingVectorEnv(agents * worlds, map=source, agents_per_world=agents, horizon=60.0)
    env.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(1 + 1_000_000 // (3 * agents * worlds)):
        observation, reward, _, _, infos = env.step(rng.integers(0, 12, env.num_envs))
        assert np.abs(observation).max() <= 1.0
        assert np.isfinite(reward).all()
        if "final_obs" in infos:
            assert np.abs(infos["final_obs"]).max() <= 1.0
    for name, value in env.get_state().items():
        assert np.isfinite(value).all(), name
