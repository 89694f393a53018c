"""States with arrays changed at random: refused by `set_state`, or kernels go on from them."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.engine.states import limits_of
from selfdrive_env.envs import DrivingVectorEnv
from selfdrive_env.state.bounds import BOUNDS, default_bound
from tests.fuzz import harness, isolated
from tests.fuzz.values import check_named, log_number, odd

Random = np.random.Generator
Change = tuple[int, dict[str, Any]]

SEED = 30
STEPS = 3
SMALL: dict[str, Any] = {"layout": "lean", "num_threads": 1, "horizon": 9.0}
FREE = {name: "ignore" for name in ("on_collision", "on_offroad", "on_red_light")}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"num_envs": 8, "map": "riverside", "agents_per_world": 4, **FREE},
    {
        "num_envs": 2,
        "learners": "one",
        "map": ["riverside", "hillcrest"],
        "agents_per_world": [2, 6],
        "bodies": "typed",
        "on_goal": "new_route",
        "step_info": True,
    },
    {
        "num_envs": 8,
        "map": "hillcrest",
        "agents_per_world": 4,
        "autoreset_mode": "NextStep",
        "action_type": "continuous",
        "on_collision": "stop",
        "blind_share": 0.5,
        "braking_share": 0.5,
        "standing_share": 0.5,
        "first_goal": None,
    },
    {"num_envs": 4, "map": "harbour", "agents_per_world": 4, "autoreset_mode": "Disabled", **FREE},
)


@functools.cache
def environment(which: int) -> tuple[DrivingVectorEnv, tuple[dict[str, Any], ...]]:
    """An environment, and two states of it."""
    env = DrivingVectorEnv(**{**SMALL, **SETTINGS[which]})
    env.reset(seed=which)
    env.action_space.seed(which)
    first = env.get_state()
    for _ in range(7):
        step(env)
    return env, (first, env.get_state())


def step(env: DrivingVectorEnv) -> Any:
    """One step; rows that wait are reset first."""
    if env.settings.autoreset_mode == "Disabled":
        waits = env.backend.waiting()
        if waits.any():
            env.reset(options={"reset_mask": waits})
            if env.backend.waiting().any():
                return env.reset()
    return env.step(env.action_space.sample())


def make(random: Random) -> Change:
    """Which environment, and the state that it is to take."""
    which = int(random.integers(len(SETTINGS)))
    env, states = environment(which)
    state = dict(states[random.integers(2)])
    for _ in range(random.integers(1, 4)):
        name = str(random.choice(list(state)))
        kind = random.random()
        if name not in states[0] or name in ("version", "digest"):
            continue
        if kind < 0.02:
            del state[name]
        elif kind < 0.04:
            state[name] = odd(random)
        elif kind < 0.06:
            state[str(odd(random))[:30]] = odd(random)
        elif kind < 0.12:
            state[name] = states[random.integers(2)][name]
        elif getattr(state[name], "dtype", None) == states[0][name].dtype:
            state[name] = changed(name, state[name], random, limits_of(env.engine))
        if not state:
            break
    return which, state


def changed(name: str, array: Any, random: Random, limits: dict[str, float]) -> Any:
    """An array with some elements, or all, changed; most of them to what is allowed."""
    array = np.array(array)
    bound = BOUNDS.get(name, default_bound(array.dtype))
    low, high = (float(limits[one] if isinstance(one, str) else one) for one in bound[:2])
    if random.random() < 0.3:
        low, high = (-1e38, 1e38) if array.dtype.kind == "f" else (low - 3.0, high + 3.0)
    where = random.random(array.shape) < random.choice([0.05, 0.5, 1.0])
    values = np.array([log_number(random, low, high) for _ in range(int(where.sum()))])
    if array.dtype.kind != "f":
        span = np.iinfo(array.dtype)
        values = np.clip(np.rint(values), span.min, span.max)
    array[where] = values.astype(array.dtype)
    if array.dtype.kind == "f" and random.random() < 0.03:
        array[where] = random.choice([np.nan, np.inf, -np.inf])
    kind = random.random()
    if kind < 0.02:
        return array.astype(random.choice(["f8", "U4", "c8", "O"]))
    return array[..., :1] if kind < 0.04 and array.ndim else array


def use(one: Change, number: int) -> str:
    """Sets a state and goes on from it."""
    which, state = one
    env, _ = environment(which)
    try:
        env.set_state(state)
    except ValueError as error:
        check_named(error, ("state",))
        return "refused"
    for _ in range(STEPS):
        step(env)
    env.get_state()
    return "used"


def test_no_state_harms_kernels(tmp_path: Path) -> None:
    ends = isolated.run("tests.fuzz.test_states", tmp_path, harness.budget(300))
    assert "'used'" in ends and "'refused'" in ends


if __name__ == "__main__":
    number = int(sys.argv[1])
    print(dict(harness.fuzz(make, isolated.guarded(use), seed=SEED, count=number, allowed=())))
