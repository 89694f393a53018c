"""The setting `dynamics` in whole worlds: what actions do there, and what is told of it."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.utils.env_checker import check_env

import selfdrive_env  # noqa: F401
from selfdrive_env.config.choices import DRIVERS
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics
from selfdrive_env.state.places import along_way, box_centre
from selfdrive_env.state.world import EVENT_COMFORT
from selfdrive_env.testing import check_vector_env
from tests.kernels.conftest import put, set_body, town_engine
from tests.reference.dynamics import drive, wrapped

NAMES = [one.name.lower() for one in Dynamics if one is not Dynamics.JERK]
RANGED = [name for name in NAMES if name != "state"]
by_name = pytest.mark.parametrize("name", NAMES)
WHEELBASE = 0.6 * 4.5
DT = 0.1


def one_car(name: str, speed: float = 0.0, **settings: Any) -> Engine:
    """A car of 4.5 m, on its own, whose middle is on a lane of riverside."""
    settings = {"agents_per_world": 1, "dt": DT, "action_type": "continuous", **settings}
    engine = town_engine(dynamics=name, **settings)
    set_body(engine)
    put(engine, 0, 100, speed=speed)
    return engine


def pose(engine: Engine, agent: int = 0) -> np.ndarray:
    a = engine.agents
    x, y, cos, sin, speed = (
        getattr(a, name)[0, agent].astype(np.float64) for name in ("x", "y", "cos", "sin", "speed")
    )
    return np.array([*box_centre(x, y, cos, sin, WHEELBASE), cos, sin, speed])


def act(engine: Engine, name: str, action: Any) -> None:
    """A step by an action in the units of its columns."""
    size = (
        1.0 if name == "state" else np.array([one.size for one in DYNAMICS[Dynamics[name.upper()]]])
    )
    engine.command((np.array([action]) / size).astype(np.float32))
    engine.step()


@pytest.mark.parametrize(
    ("name", "action", "speed"),
    [
        ("bicycle", (0.0, 2.0 * np.pi / 40.0 / 0.6), 6.0),  # 40 chords of 0.6 m
        ("classic", (0.0, 0.5), 6.0),
        ("delta_local", (0.6, 0.1, 2.0 * np.pi / 40.0), 0.0),
    ],
)
def test_a_constant_action_leads_round_a_circle(
    name: str, action: tuple[float, ...], speed: float
) -> None:
    engine = one_car(name, speed)
    start = pose(engine)
    turn = 2.0 * np.pi / 40.0
    if name == "classic":  # the rate of turn of the middle: v cos(beta) tan(delta) / L
        turn = 0.6 * np.cos(np.arctan(np.tan(0.5) / 2.0)) * np.tan(0.5) / WHEELBASE
    chord = np.hypot(0.6, 0.1) if name == "delta_local" else 0.6
    radius = chord / 2.0 / np.sin(turn / 2.0)
    places = [start]
    for step in range(40):
        act(engine, name, action)
        places.append(pose(engine))
        angle = np.arctan2(places[-1][3], places[-1][2]) - np.arctan2(start[3], start[2])
        assert abs(wrapped(angle - (step + 1) * turn)) < 1e-4
    xy = np.array(places)[:, :2]
    middle = xy[:20].mean(0) if name == "classic" else xy[:40].mean(0)
    if name == "classic":  # through three of the points
        (ax, ay), (bx, by), (cx, cy) = xy[0], xy[7], xy[14]
        matrix = 2.0 * np.array([[bx - ax, by - ay], [cx - ax, cy - ay]])
        right = [bx**2 - ax**2 + by**2 - ay**2, cx**2 - ax**2 + cy**2 - ay**2]
        middle = np.linalg.solve(matrix, right)
    else:
        np.testing.assert_allclose(xy[40], xy[0], atol=2e-3)
    np.testing.assert_allclose(np.hypot(*(xy - middle).T), radius, atol=5e-3)


@by_name
def test_a_drive_in_an_environment_is_that_of_the_equations(name: str) -> None:
    engine = one_car(name, 5.0)
    random = np.random.default_rng(1)
    wanted = pose(engine)
    columns = DYNAMICS[Dynamics[name.upper()]]
    for step in range(60):
        if name == "state":
            heading = np.arctan2(wanted[3], wanted[2]) + random.uniform(-0.2, 0.2)
            velocity = 5.0 * np.cos(heading), 5.0 * np.sin(heading)
            action = [*(wanted[:2] + 0.1 * np.array(velocity)), heading, *velocity]
        else:
            action = random.uniform(-1.0, 1.0, len(columns)) * [0.4 * one.size for one in columns]
            action[0] = abs(action[0]) if step < 30 else -abs(action[0])
        before = pose(engine)
        act(engine, name, action)
        arrays = np.array([action]), np.array([WHEELBASE]), np.array([DT])
        wanted = drive(name, wanted[None], *arrays, 0.0)[0]
        np.testing.assert_allclose(pose(engine), wanted, atol=2e-3)
        # The arc that is told leads from one pose to the other.
        x, y, cos, sin = along_way(engine.motion, (0, 0))
        end = pose(engine)
        np.testing.assert_allclose(box_centre(x, y, cos, sin, WHEELBASE), end[:2], atol=3e-4)
        np.testing.assert_allclose([cos, sin], end[2:4], atol=1e-4)
        x, y, *_ = along_way(engine.motion, (0, 0), 0.0)
        assert np.hypot(x - before[0], y - before[1]) < WHEELBASE
        wanted = end  # what rounding adds does not add up
    assert pose(engine)[4] >= 0.0


def test_accelerations_and_jerks_are_differences() -> None:
    engine = one_car("bicycle", 5.0)
    act(engine, "bicycle", (2.0, 0.1))
    agents, motion = engine.agents, engine.motion
    assert agents.acceleration[0, 0] == pytest.approx(2.0, abs=1e-4)
    assert motion.realised_jerk[0, 0, 0] == pytest.approx(20.0, abs=1e-3)
    lateral = 5.2 * 0.1 * 5.1  # v' kappa ds / t
    assert agents.lateral_acceleration[0, 0] == pytest.approx(lateral, abs=1e-3)
    assert motion.realised_jerk[0, 0, 1] == pytest.approx(lateral / DT, abs=1e-2)
    assert engine.output.event[0, 0] & EVENT_COMFORT
    act(engine, "bicycle", (2.0, 0.1))
    assert motion.realised_jerk[0, 0, 0] == pytest.approx(0.0, abs=1e-2)
    # An axle ahead of the rear one that would lead it along its arc.
    bend = WHEELBASE * 0.1 / np.hypot(1.0, 0.1 * WHEELBASE / 2.0)
    assert agents.steering[0, 0] == pytest.approx(np.arctan(bend), abs=1e-3)
    act(engine, "bicycle", (0.0, 0.0))
    assert not engine.output.event[0, 0] & EVENT_COMFORT or motion.realised_jerk[0, 0, 0] < -5.0


def test_jerks_of_delta_are_those_of_its_velocity() -> None:
    engine = one_car("delta_local")
    for ahead, speed, acceleration in ((0.5, 5.0, 50.0), (0.5, 5.0, 0.0), (0.0, 0.0, -50.0)):
        act(engine, "delta_local", (ahead, 0.0, 0.0))
        assert engine.agents.speed[0, 0] == pytest.approx(speed, abs=1e-4)
        assert engine.agents.acceleration[0, 0] == pytest.approx(acceleration, abs=1e-2)
    act(engine, "delta_local", (0.0, 0.0, 0.0))
    assert engine.agents.acceleration[0, 0] == 0.0
    assert not engine.output.event[0, 0] & EVENT_COMFORT or engine.motion.realised_jerk[0, 0, 0] > 0


@by_name
def test_who_stands_stays_to_the_bit(name: str) -> None:
    engine = one_car(name)
    start = {field: getattr(engine.agents, field).copy() for field in ("x", "y", "cos", "sin")}
    here = pose(engine)
    action = [0.0] * len(DYNAMICS[Dynamics[name.upper()]])
    if name == "state":
        action = [*np.float32(here[:2]), np.arctan2(here[3], here[2]), 0.0, 0.0]
    for _ in range(20):
        act(engine, name, action)
    for field, value in start.items():
        atol = 1e-4 if name == "state" else 0.0
        np.testing.assert_allclose(getattr(engine.agents, field), value, rtol=0, atol=atol)
    assert abs(engine.agents.speed[0, 0]) == 0.0


def actions(random: np.random.Generator, engine: Engine, kind: str, rows: int) -> np.ndarray:
    if kind == "discrete":
        return random.integers(0, len(engine.draws.action), rows)
    columns = len(engine.draws.action_size)
    if engine.settings.dynamics != "state":
        return random.uniform(-1.0, 0.7, (rows, columns)).astype(np.float32)
    a = engine.agents
    near = [
        one.ravel() + random.uniform(-1.0, 1.0, rows)
        for one in (a.x, a.y, np.arctan2(a.sin, a.cos))
    ]
    return np.stack([*near, *random.uniform(-5.0, 5.0, (2, rows))], 1).astype(np.float32)


def speeds(name: str, kind: str = "continuous", **settings: Any) -> np.ndarray:
    engine = town_engine(worlds=2, dynamics=name, action_type=kind, **settings)
    random = np.random.default_rng(2)
    seen = []
    for _ in range(60):
        engine.command(actions(random, engine, kind, 16))
        engine.step()
        seen.append(engine.agents.speed.copy())
    return np.stack(seen)


@by_name
def test_rows_reverse_only_where_that_is_allowed(name: str) -> None:
    never = speeds(name)
    assert never.min() == 0.0 < never.max()
    assert speeds(name, reverse="allowed").min() < -0.5


@by_name
def test_scripted_drivers_drive_by_jerks_whatever_the_setting(name: str) -> None:
    drivers = [int(DRIVERS["idm"])] * 8
    found = [
        speeds(one, "continuous", drivers=drivers, driver="idm", blind_share=0.5)
        for one in ("jerk", name)
    ]
    np.testing.assert_array_equal(*found)
    mixed = town_engine(dynamics=name, action_type="continuous", drivers=[0, *drivers[1:]])
    mixed.command(actions(np.random.default_rng(0), mixed, "continuous", 8))
    mixed.step()
    assert (mixed.motion.slip_sin[0, 1:] == 0.0).all()


def test_who_brakes_at_random_does_so_under_other_dynamics() -> None:
    engine = one_car("bicycle", 12.0, braking_share=1.0)
    engine.bodies.erratic[:] = 2
    engine.agents.brake_until[:] = 10_000
    for _ in range(30):
        act(engine, "bicycle", (6.0, 0.0))
    assert engine.agents.speed[0, 0] < 1.0


@pytest.mark.parametrize("name", ["delta_local", "delta_global", "bicycle"])
def test_a_body_hits_what_it_passes_through(name: str) -> None:
    """From one side of a standing car to the other within a step."""
    engine = one_car(name, 15.0, agents_per_world=2, drivers=[0, int(DRIVERS["still"])], dt=0.4)
    put(engine, 1, 100)
    a = engine.agents
    cos, sin = a.cos[0, 1], a.sin[0, 1]
    away = np.array([0.0, 3.0]) if name != "bicycle" else np.array([-6.0, 0.0])
    turn = np.array([[cos, -sin], [sin, cos]])
    a.x[0, 0], a.y[0, 0] = np.array([a.x[0, 1], a.y[0, 1]]) + turn @ away
    if name == "bicycle":
        a.speed[0, 0] = 20.0
        act_of = (0.0, 0.0)
    else:
        move = np.array([0.0, -6.0])
        act_of = (*(move if name == "delta_local" else turn @ move), 0.0)
    engine.command(np.array([act_of, act_of], np.float32) / engine.draws.action_size)
    engine.step()
    assert engine.motion.hit_agent[0].tolist() == [1, 0]
    assert 0.0 < engine.motion.hit_time[0, 0] < 0.6


@pytest.mark.parametrize(
    "name",
    [
        name if name == "delta_local" else pytest.param(name, marks=pytest.mark.full)
        for name in NAMES
    ],
)
def test_the_conformance_kit_passes(name: str) -> None:
    def alone(num_envs: int, autoreset_mode: Any, **keywords: Any) -> Any:
        return gymnasium.make_vec(
            "selfdrive_env/SelfPlay-v0",
            num_envs=num_envs,
            autoreset_mode=autoreset_mode,
            dynamics=name,
            **{"map": "riverside", "layout": "lean", "num_threads": 1, "render_size": 64},
            **{"agents_per_world": 1, "horizon": 9.0, "action_type": "continuous"},
            **keywords,
        )

    check_vector_env(alone, skip={"later_episodes", "render"}, steps=40, modes=["SameStep"])


@pytest.mark.parametrize("name", RANGED)
def test_discrete_actions_are_those_of_the_table(name: str) -> None:
    columns = DYNAMICS[Dynamics[name.upper()]]
    bins = [3, 5, 2][: len(columns)]
    settings: dict[str, Any] = {"map": "riverside", "layout": "lean", "num_threads": 1}
    both = [
        DrivingVectorEnv(4, dynamics=name, action_bins=bins, **settings),
        DrivingVectorEnv(4, dynamics=name, action_type="continuous", **settings),
    ]
    assert both[0].single_action_space == Discrete(int(np.prod(bins)))
    assert both[1].single_action_space == Box(-1.0, 1.0, (len(columns),), np.float32)
    assert both[0].single_observation_space == both[1].single_observation_space
    for env in both:
        env.reset(seed=3)
    for number in range(0, int(np.prod(bins)), 3):
        place = np.unravel_index(number, bins)
        value = [2.0 * one / (count - 1) - 1.0 for one, count in zip(place, bins, strict=True)]
        chosen = both[0].step(np.full(4, number))
        told = both[1].step(np.tile(np.float32(value), (4, 1)))
        for one, other in zip(chosen[:4], told[:4], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["bicycle", "delta_local"])
def test_the_single_form_is_an_environment(name: str) -> None:
    env = gymnasium.make(
        "selfdrive_env/Drive-v0", map="riverside", agents_per_world=3, layout="lean",
        dynamics=name, action_bins=5,
    )  # fmt: skip
    check_env(env.unwrapped, skip_render_check=True)
    told = json.loads(env.spec.to_json())["kwargs"]
    assert (told["dynamics"], told["action_bins"]) == (name, 5)
    env.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (one.name.lower(), kind)
        for one in Dynamics
        for kind in ("discrete", "continuous")
        if (one, kind) != (Dynamics.STATE, "discrete")  # there are none
    ],
)
def test_the_single_form_takes_what_its_space_holds(name: str, kind: str) -> None:
    env = gymnasium.make(
        "selfdrive_env/Drive-v0", map="riverside", agents_per_world=1, layout="lean",
        dynamics=name, action_type=kind,
    )  # fmt: skip
    env.reset(seed=0)
    env.action_space.seed(0)
    assert np.isfinite(env.step(env.action_space.sample())[0]).all()
    env.close()


def test_keys_steer_a_bicycle() -> None:
    for kind in ("discrete", "continuous"):
        env: Any = gymnasium.make(
            "selfdrive_env/Drive-v0", map="riverside", agents_per_world=1, layout="lean",
            dynamics="classic", action_bins=[5, 9], action_type=kind,
        )  # fmt: skip
        keys = env.unwrapped.get_keys_to_action()
        found = [keys[held] for held in ("", (ord("w"),), (ord("s"), ord("a")))]
        wanted: list[Any] = [[-1.0, 0.0], [0.5, 0.0], [-0.5, 0.5]]
        if kind == "discrete":
            wanted = [0 * 9 + 4, 3 * 9 + 4, 1 * 9 + 6]
        np.testing.assert_array_equal(np.array(found), np.array(wanted))
        env.close()
    env = gymnasium.make(
        "selfdrive_env/Drive-v0", map="riverside", agents_per_world=1, dynamics="delta_local"
    )
    with pytest.raises(ValueError, match="get_keys_to_action"):
        env.unwrapped.get_keys_to_action()
    env.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dynamics": "bike"}, "dynamics must be one of jerk, bicycle, classic, delta_local"),
        ({"action_bins": 1}, "action_bins must be a whole number from 2 to 65536, got 1"),
        ({"action_bins": 2.5}, "action_bins must be a whole number from 2 to 65536, got 2.5"),
        (
            {"dynamics": "bicycle", "action_bins": [3, 3, 3]},
            r"action_bins must be one number, or 2 of them with dynamics='bicycle', got \[3, 3",
        ),
        (
            {"dynamics": "delta_local", "action_bins": 50},
            "at most 65536 actions, got 50 x 50 x 50 with dynamics='delta_local'",
        ),
        ({"dynamics": "state"}, "action_type must be 'continuous' with dynamics='state'"),
    ],
)
def test_what_is_not_allowed_is_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(**settings)


def test_actions_out_of_range_are_refused() -> None:
    env = DrivingVectorEnv(2, map="riverside", dynamics="delta_local", action_type="continuous")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions must be floats of shape \(2, 3\)"):
        env.step(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="actions must be finite and from -1 to 1, got"):
        env.step(np.float32([[0, 0, 2], [0, 0, 0]]))
    env = DrivingVectorEnv(2, map="riverside", dynamics="state", action_type="continuous")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="from -1000000 to 1000000"):
        env.step(np.full((2, 5), 2e6, np.float32))
    env.step(np.full((2, 5), 7e5, np.float32))
    assert np.isfinite(env.state.agents.x).all()


def test_digests_of_jerks_are_those_of_before() -> None:
    assert Settings().digest() == Settings(action_bins=9).digest()
    assert Settings().digest() != Settings(dynamics="bicycle").digest()
    fewer = Settings(dynamics="bicycle", action_bins=5)
    assert fewer.digest() != Settings(dynamics="bicycle").digest()
