"""One environment serves one thread at a time: two in its kernels at once ended the process."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from selfdrive_env.engine.cpu import Engine

SMALL: dict[str, Any] = {"map": "riverside", "layout": "lean", "render_size": 32}
REFUSAL = r"\(\) while another thread is in this environment"


def single() -> Any:
    env = gymnasium.make("selfdrive_env/Drive-v0", agents_per_world=4, **SMALL)
    return env.unwrapped


def vector() -> Any:
    return gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=4, num_threads=1, **SMALL)


MAKERS = (single, vector)
HARMLESS = {
    single: {"get_keys_to_action"},
    vector: {"call", "get_attr", "set_attr", "close_extras"},
}
"""Methods that touch no world, or by way of others alone."""


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """A function that puts another thread into a step of an environment, where it stays."""
    entered, leave = threading.Event(), threading.Event()
    step = Engine.step
    callers: list[threading.Thread] = []

    def wait_and_step(engine: Engine, jerk: Any = None) -> None:
        entered.set()
        assert leave.wait(60.0)
        step(engine, jerk)

    def enter(env: Any) -> None:
        actions = env.action_space.sample()
        caller = threading.Thread(target=env.step, args=(actions,))
        callers.append(caller)
        caller.start()
        assert entered.wait(60.0)

    monkeypatch.setattr(Engine, "step", wait_and_step)
    yield enter
    leave.set()
    for caller in callers:
        caller.join(60.0)


@pytest.mark.parametrize("make", MAKERS)
def test_a_second_thread_is_refused_by_all_that_touches_worlds(
    make: Callable[[], Any], inside: Callable[[Any], None]
) -> None:
    env = make()
    env.reset(seed=0)
    state, actions = env.get_state(), env.action_space.sample()
    inside(env)
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: env.step(actions),
        "reset": env.reset,
        "get_state": env.get_state,
        "set_state": lambda: env.set_state(state),
        "render": env.render,
        "frame": env.frame,
        "save_replay": lambda: env.save_replay("a.html"),
        "close": env.close,
    }
    if make is vector:
        calls |= {"step_async": lambda: env.step_async(actions), "step_wait": env.step_wait}
    for name, call in calls.items():
        with pytest.raises(RuntimeError, match=f"^{name}{REFUSAL}"):
            call()
    own = [cls for cls in type(env).__mro__ if cls.__module__.startswith("selfdrive_env.")]
    methods = {name for cls in own for name, one in vars(cls).items() if callable(one)}
    assert {name for name in methods if name[0] != "_"} - set(calls) == HARMLESS[make]


@pytest.mark.parametrize("make", MAKERS)
def test_threads_may_take_turns_and_a_failure_ends_a_turn(make: Callable[[], Any]) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="must be"):
        env.step("nothing")
    for seed in range(3):
        caller = threading.Thread(target=env.reset, kwargs={"seed": seed})
        caller.start()
        caller.join()
        env.step(env.action_space.sample())
    env.close()
    env.close()


@pytest.mark.parametrize("make", MAKERS)
def test_copies_have_turns_of_their_own(
    make: Callable[[], Any], inside: Callable[[Any], None]
) -> None:
    env = make()
    env.reset(seed=0)
    others = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    inside(env)
    for other in others:
        other.get_state()
        other.reset(seed=1)


def test_two_threads_in_one_environment_end_no_process() -> None:
    env = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=64, num_threads=1, agents_per_world=16, **SMALL
    )
    env.reset(seed=0)
    finished, refused = [0, 0], [0, 0]

    def work(worker: int) -> None:
        random = np.random.default_rng(worker)
        for _ in range(1500):
            try:
                if random.random() < 0.02:
                    env.reset(seed=int(random.integers(1000)))
                else:
                    env.step(random.integers(0, 12, 64))
                finished[worker] += 1
            except RuntimeError as error:
                assert "while another thread" in str(error)
                refused[worker] += 1

    callers = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert sum(finished) > 0 and sum(refused) > 0
    assert [sum(one) for one in zip(finished, refused, strict=True)] == [1500, 1500]
    env.close()
