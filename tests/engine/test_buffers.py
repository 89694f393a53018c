"""What callers may keep: rows in both precisions, alternating buffers, steps in the background."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.engine import buffers, cpu
from selfdrive_env.engine.buffers import Recycler, check_memory, pass_cache
from selfdrive_env.envs import DrivingVectorEnv, make_drive, make_self_play

FULL, LEAN = LAYOUTS["full"].width, LAYOUTS["lean"].width

ROWS = 32


@pytest.mark.parametrize(
    ("rows", "size", "dtype", "past"),
    [
        (2048, 5060, "float32", True),
        (1024, 5060, "float32", False),
        (65536, 1580, "float32", False),
        (65536, 5060, "float16", False),
        (65536, 5060, "bfloat16", False),
    ],
)
def test_many_long_rows_are_written_past_the_caches(
    monkeypatch: pytest.MonkeyPatch, rows: int, size: int, dtype: str, past: bool
) -> None:
    monkeypatch.setattr(buffers, "X86", True)
    monkeypatch.setattr(buffers, "SIMULATED", False)
    assert pass_cache(rows, size, dtype) == past
    monkeypatch.setattr(buffers, "X86", False)
    assert not pass_cache(rows, size, dtype)


def make(**settings: Any) -> DrivingVectorEnv:
    return make_self_play(ROWS, map="riverside", agents_per_world=8, num_threads=1, **settings)


def actions(steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 12, (steps, ROWS))


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
@pytest.mark.parametrize("obs_dtype", ["float32", "float16"])
def test_kept_observations_never_change(mode: str, obs_dtype: str) -> None:
    env = make(obs_dtype=obs_dtype, autoreset_mode=mode)
    kept = [env.reset(seed=1)[0]]
    copies = [kept[0].copy()]
    for action in actions(12):
        observation = env.step(action)[0]
        kept.append(observation)
        copies.append(observation.copy())
    for mine, copied in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(mine, copied)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_alternating_buffers_hold_what_a_single_one_does(mode: str) -> None:
    live, own = make(copy=False, autoreset_mode=mode), make(copy=True, autoreset_mode=mode)
    np.testing.assert_array_equal(live.reset(seed=2)[0], own.reset(seed=2)[0])
    ended = 0
    for action in actions(150):
        a, b = live.step(action), own.step(action)
        ended += int((a[2] | a[3]).sum())
        for one, other in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    assert ended > 20


def test_buffers_come_back_when_nobody_holds_them() -> None:
    env = make()
    env.reset(seed=0)
    places = set()
    for action in actions(20):
        observation = env.step(action)[0]
        places.add(observation.ctypes.data)
    assert len(places) <= 3


def test_a_view_holds_its_buffer() -> None:
    env = make()
    env.reset(seed=0)
    (first, *rest) = actions(8)
    view = env.step(first)[0][3:5]
    copied = view.copy()
    for action in rest:
        env.step(action)
    np.testing.assert_array_equal(view, copied)


def test_a_partial_reset_leaves_the_other_rows() -> None:
    env = make(autoreset_mode="Disabled")
    before = env.reset(seed=0)[0]
    mask = np.zeros(ROWS, np.bool_)
    mask[:3] = True
    after = env.reset(options={"reset_mask": mask})[0]
    np.testing.assert_array_equal(after[3:], before[3:])
    assert (after[:3] != before[:3]).any(axis=1).all()


@pytest.mark.parametrize("copy", [True, False])
def test_rows_that_wait_show_the_same_after_a_state_is_restored(copy: bool) -> None:
    first, second = (make(autoreset_mode="Disabled", copy=copy) for _ in range(2))
    first.reset(seed=6)
    second.reset(seed=7)
    ended = np.zeros(ROWS, np.bool_)
    for action in actions(200):
        _, _, terminated, truncated, _ = first.step(action)
        ended = terminated | truncated
        if ended.sum() > 1:
            break
        if ended.any():
            first.reset(options={"reset_mask": ended})
    second.set_state(first.get_state())
    mask = np.zeros(ROWS, np.bool_)
    mask[np.flatnonzero(ended)[0]] = True
    a = first.reset(options={"reset_mask": mask})[0]
    b = second.reset(options={"reset_mask": mask})[0]
    np.testing.assert_array_equal(a, b)
    assert (a[ended & ~mask] != 0.0).any(axis=1).all()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_half_precision_is_the_rounded_row(mode: str) -> None:
    full, half = make(autoreset_mode=mode), make(autoreset_mode=mode, obs_dtype="float16")
    assert half.single_observation_space.dtype == np.float16
    assert half.single_observation_space.shape == full.single_observation_space.shape
    a, b = full.reset(seed=3)[0], half.reset(seed=3)[0]
    finals = 0
    for action in actions(60):
        assert b.dtype == np.float16
        np.testing.assert_array_equal(a.astype(np.float16), b)
        assert half.observation_space.contains(b)
        a, *_, infos = full.step(action)
        b, *_, infos_b = half.step(action)
        if "final_obs" in infos:
            done = infos["_final_obs"]
            finals += int(done.sum())
            np.testing.assert_array_equal(
                infos["final_obs"][done].astype(np.float16), infos_b["final_obs"][done]
            )
    assert finals > 0 or mode == "NextStep"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"obs_dtype.*float32.*float16.*float64"):
        make(obs_dtype="float64")


@pytest.mark.parametrize("copy", [True, False])
def test_a_step_in_the_background_gives_what_a_step_does(copy: bool) -> None:
    a, b = make(copy=copy), make(copy=copy)
    a.reset(seed=4)
    b.reset(seed=4)
    for action in actions(20):
        b.step_async(action)
        for one, other in zip(a.step(action)[:4], b.step_wait()[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    b.close()


def test_a_step_in_the_background_keeps_others_away() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="step_async"):
        env.step_wait()
    env.step_async(actions(1)[0])
    for call in (lambda: env.step(actions(1)[0]), env.reset, env.get_state):
        with pytest.raises(RuntimeError, match="step_wait"):
            call()
    env.step_wait()
    env.step(actions(1)[0])
    env.step_async(actions(1)[0])
    env.close()  # waits for it


def test_too_large_a_batch_is_refused_before_it_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffers, "available_memory", lambda: 10**5)
    with pytest.raises(MemoryError, match=r"4 worlds.*needs.*GB.*available"):
        make()
    with pytest.raises(MemoryError, match="1000000 worlds"):
        make_drive(1_000_000, map="riverside", agents_per_world=8)


@pytest.mark.parametrize("large", [True, False])
def test_last_observations_are_zero_but_for_finished_rows(
    monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:  # such a buffer goes with the caller even without a copy
        monkeypatch.setattr(cpu, "LARGE_BUFFER", 1000)
    env = make(copy=not large)
    env.reset(seed=5)
    kept = []
    for action in actions(120):
        infos = env.step(action)[4]
        if "final_obs" in infos:
            final, done = infos["final_obs"], infos["_final_obs"]
            assert not final[~done].any()
            assert (final[done] != 0.0).any(axis=1).all()
            kept.append((final, final.copy()))
    assert len(kept) > 10
    for final, copied in kept:
        np.testing.assert_array_equal(final, copied)


def test_sparse_zeros_are_zero_and_can_be_written() -> None:
    array = buffers.sparse_zeros((1000, FULL), np.float32)
    assert array.shape == (1000, FULL)
    assert array.dtype == np.float32
    assert not array.any()
    array[7] = 1.0
    assert array.sum() == FULL
    assert buffers.sparse_zeros((0, 5), np.uint16).shape == (0, 5)


def test_there_is_some_memory() -> None:
    available = buffers.available_memory()
    assert available is None or available > 10**7
    check_memory(1, "nothing")


def test_a_recycler_remembers_few_arrays() -> None:
    recycler = Recycler(np.zeros((3, 4), np.float32))
    held = [recycler.take() for _ in range(10)]
    assert len({one.ctypes.data for one in held}) == 10
    assert all(one.shape == (3, 4) and one.dtype == np.float32 for one in held)
    last = held[-1].ctypes.data
    held.clear()
    assert recycler.take().ctypes.data != 0
    assert last in {one.ctypes.data for one in recycler._arrays}
    assert len(recycler._arrays) <= Recycler.KEPT


def test_last_observations_that_were_handed_out_are_the_callers_alone() -> None:
    env = make_self_play(64, map="riverside", agents_per_world=16, num_threads=1)
    env.reset(seed=1)
    first = weakref.ref(env.engine.rows.final_observation)
    random = np.random.default_rng(0)
    while "final_obs" not in env.step(random.integers(0, 12, 64))[-1]:
        assert first() is not None
    env.step(random.integers(0, 12, 64))
    assert first() is None


@pytest.mark.parametrize("obs_dtype", ["float32", "float16"])
def test_rows_are_written_into_an_array_of_the_callers(obs_dtype: str) -> None:
    settings: dict[str, Any] = dict(
        num_envs=4, map="riverside", layout="lean", num_threads=1, obs_dtype=obs_dtype
    )
    one, other = (make_self_play(copy=False, **settings) for _ in range(2))
    whole = np.full((6, LEAN), 2.0, obs_dtype)
    one.engine.observe_into(whole[1:5])
    for env in (one, other):
        env.reset(seed=0)
    for _ in range(3):
        rows = [env.step(np.full(4, 7))[0] for env in (one, other)]
        np.testing.assert_array_equal(whole[1:5], rows[1])
        assert np.shares_memory(rows[0], whole)
    assert (whole[[0, 5]] == 2.0).all()
    owner = make_self_play(**settings)
    with pytest.raises(ValueError, match="copy=False"):
        owner.engine.observe_into(whole[1:5])
    with pytest.raises(ValueError, match="C-contiguous"):
        one.engine.observe_into(np.zeros((LEAN, 4), obs_dtype).T)
