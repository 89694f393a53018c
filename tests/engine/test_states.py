"""What `set_state` takes: no more than kernels can go on from, and all that a run can reach."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from selfdrive_env.engine.cpu import STATE_STRUCTS
from selfdrive_env.engine.states import limits_of
from selfdrive_env.envs import DrivingVectorEnv
from selfdrive_env.state.arrays import axes
from selfdrive_env.state.bounds import BOUNDS, default_bound
from selfdrive_env.state.world import (
    ABSENT,
    Agents,
    Bodies,
    Lights,
    Output,
    Rows,
    Tallies,
    Worlds,
)

STRUCTS = (Agents, Bodies, Lights, Output, Rows, Tallies, Worlds)
DTYPES = {
    f"{struct.__name__.lower()}.{name}": kind
    for struct in STRUCTS
    for name, (_, kind) in axes(struct).items()
}
FREE = {name: "ignore" for name in ("on_collision", "on_offroad", "on_red_light")}


@functools.cache
def driven() -> DrivingVectorEnv:
    """Two maps, worlds with some slots free, some steps on."""
    env = DrivingVectorEnv(
        12, map=["riverside", "hillcrest"], layout="lean", agents_per_world=[2, 4], num_threads=1
    )
    env.reset(seed=3)
    for _ in range(3):
        env.step(np.full(12, 7))
    return env


def refused(changes: dict[str, Any], match: str) -> None:
    env = driven()
    before = env.get_state()
    with pytest.raises(ValueError, match=match):
        env.set_state({**before, **changes})
    for name, array in env.get_state().items():
        np.testing.assert_array_equal(array, before[name])


def test_every_line_of_the_table_is_of_a_field() -> None:
    assert set(BOUNDS) <= set(DTYPES)


def test_every_field_of_a_state_has_limits() -> None:
    state = set(driven().get_state()) - {"version", "digest"}
    assert state <= set(DTYPES)
    assert state >= {name for name in DTYPES if name.split(".")[0] in STATE_STRUCTS}
    for name in state:
        bound = BOUNDS.get(name, default_bound(DTYPES[name]))
        assert isinstance(bound.high, str) or bound.low < bound.high < np.inf, name
        if DTYPES[name].kind == "f" and not isinstance(bound.high, str) and name != "tallies.term":
            # Places in cells are whole numbers of 32 bits.
            assert max(abs(bound.low), abs(bound.high)) <= 2.0**31, name


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_one_value_beyond_a_limit_is_refused_with_its_name(name: str) -> None:
    """Of every field that kernels go on from, with a line in the table or without one."""
    env = driven()
    state = env.get_state()
    if name not in state or name == "bodies.row":
        pytest.skip("is not part of a state, or follows from the settings")
    bound = BOUNDS.get(name, default_bound(DTYPES[name]))
    array = state[name].copy()
    if not array.size:
        pytest.skip("has no entries here")
    limits = limits_of(env.engine)
    low, high = (limits[one] if isinstance(one, str) else one for one in bound[:2])
    # The next number of the type, or one more.
    for value in (high + max(1.0, 1e-6 * abs(high)), low - max(1.0, 1e-6 * abs(low))):
        kind = array.dtype
        fits = kind.kind == "f" or np.iinfo(kind).min <= value <= np.iinfo(kind).max
        if fits:
            array.flat[0] = value
            refused({name: array}, f"state entry '{name}' is damaged: it must be from .*, got ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bodies.wheelbase", 0.0),
        ("agents.x", 1e30),
        ("agents.y", -1e30),
        ("agents.goal", 4),
        ("lights.turn", 100),
        ("agents.s", 1e30),
        ("bodies.jerk_scale", 0.0),
        ("bodies.driver", 200),
        ("worlds.clock", 2**31 - 1),
        ("bodies.row", 3),
    ],
)
def test_finite_values_that_would_harm_kernels_are_refused(name: str, value: float) -> None:
    refused({name: np.full_like(driven().get_state()[name], value)}, f"'{name}' is damaged")


def test_an_agent_on_the_lane_of_another_map_is_refused() -> None:
    state, lanes = driven().get_state(), driven().engine.lanes
    other = 1 - state["worlds.map"]
    first = lanes.map_lane_first[other][:, None]
    segment = np.broadcast_to(lanes.segment_first[first], state["agents.segment"].shape)
    refused({"agents.segment": segment.copy()}, "a segment of the world's map")
    goals = np.broadcast_to(first[..., None], state["bodies.goal_lane"].shape).astype(np.int32)
    refused({"bodies.goal_lane": goals.copy()}, "a lane of the world's map")


def test_an_agent_without_goal_or_heading_is_refused() -> None:
    state = driven().get_state()
    refused({"bodies.num_goals": state["bodies.num_goals"] * 0}, "at least 1")
    refused({"agents.goal": state["bodies.num_goals"].clip(0, 3)}, "below bodies.num_goals|from 0")
    refused({"agents.cos": state["agents.cos"] * 0}, "cosine to the sine")


@pytest.mark.parametrize("entry", [None, 3, "x", [[1.0], [2.0, 3.0]], object()])
def test_what_is_no_array_is_refused(entry: Any) -> None:
    refused({"agents.x": entry}, "state entry 'agents.x'")


@pytest.mark.parametrize(
    "changes",
    [{"version": "x"}, {"version": np.zeros(2)}, {"digest": object()}, {"digest": ["x"]}, {3: 1}],
)
def test_odd_versions_digests_and_names_are_refused(changes: dict[Any, Any]) -> None:
    refused(changes, "state")


@pytest.mark.parametrize("state", [None, 3, "agents.x", [("agents.x", 1)]])
def test_what_is_no_table_is_no_state(state: Any) -> None:
    with pytest.raises(ValueError, match="state must be what get_state gave"):
        driven().set_state(state)


@pytest.mark.parametrize(
    "settings",
    [
        {"action_type": "continuous", **FREE},
        {"map": ["riverside", "harbour"], "agents_per_world": [1, 8], "bodies": "typed"},
        {"learners": "one", "num_envs": 4, "on_goal": "new_route", "blind_share": 1.0, **FREE},
        {"autoreset_mode": "NextStep", "on_collision": "stop", "obs_dtype": "float16"},
    ],
)
def test_whatever_a_run_reaches_is_taken(settings: dict[str, Any]) -> None:
    defaults = {"num_envs": 16, "map": "hillcrest", "agents_per_world": 8, "horizon": 60.0}
    env = DrivingVectorEnv(**{"layout": "lean", "num_threads": 1, **defaults, **settings})
    env.reset(seed=5)
    env.action_space.seed(5)
    for step in range(220):
        actions = env.action_space.sample()
        if env.settings.action_type == "continuous":
            actions[:, 0] = 1.0  # off the road and away
        env.step(actions)
        if step % 20 == 0:
            state = env.get_state()
            assert (state["agents.status"] != ABSENT).any()
            env.set_state(state)
