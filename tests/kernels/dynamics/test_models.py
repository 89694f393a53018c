"""The models that actions drive by, against their equations in double precision."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

from selfdrive_env.compiler.njit import entry
from selfdrive_env.kernels.dynamics.models import find_action, moved
from selfdrive_env.kernels.dynamics.pose import Limits, Pose, arc_between, turned
from selfdrive_env.kernels.math.geometry import along_arc
from selfdrive_env.state.dynamics import DYNAMICS, Dynamics
from tests.kernels import from_python
from tests.reference.dynamics import RANGES, action_to, drive, wrapped

CASES = 10_000
FREE = -1.0e9
MODELS = [one for one in Dynamics if one is not Dynamics.JERK]
by_model = pytest.mark.parametrize("model", MODELS, ids=lambda one: one.name.lower())


@functools.cache
def loops() -> tuple[Any, Any]:
    """Both directions over many cases."""

    @entry
    def forward(dynamics, pose, action, wheelbase, dt, least, most, reach, after):  # type: ignore[no-untyped-def]
        for case in range(pose.shape[0]):
            row = pose[case]
            now = Pose(row[0], row[1], row[2], row[3], row[4])
            limits = Limits(least, most, reach)
            then = moved(dynamics, now, action[case], wheelbase[case], limits, dt[case])
            for column in range(5):
                after[case, column] = then[column]

    @entry
    def inverse(dynamics, pose, after, wheelbase, dt, action):  # type: ignore[no-untyped-def]
        for case in range(pose.shape[0]):
            row, end = pose[case], after[case]
            now = Pose(row[0], row[1], row[2], row[3], row[4])
            then = Pose(end[0], end[1], end[2], end[3], end[4])
            find_action(dynamics, now, then, wheelbase[case], dt[case], action[case])

    return forward, inverse


def forward(
    model: Dynamics, case: Any, least: float = FREE, most: float = 1e9, reach: float = 1e9
) -> np.ndarray:
    pose, action, wheelbase, dt = case
    after = np.zeros_like(pose)
    limits = [np.float32(v) for v in (least, most, reach)]
    loops()[0](int(model), pose, action, wheelbase, dt, *limits, after)
    return after


def inverse(model: Dynamics, pose: Any, after: Any, wheelbase: Any, dt: Any) -> np.ndarray:
    action = np.zeros((len(pose), len(DYNAMICS[model])), np.float32)
    loops()[1](int(model), pose, after, wheelbase, dt, action)
    return action


def cases(model: Dynamics, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Poses, actions, wheelbases and lengths of steps; a quarter near rest, some steps long."""
    random = np.random.default_rng([int(model), seed])
    heading = random.uniform(-np.pi, np.pi, CASES)
    heading[:500] = np.pi - random.uniform(0.0, 0.01, 500)
    speed = random.uniform(-2.0, 30.0, CASES)
    speed[::4] = random.uniform(-0.3, 0.3, CASES // 4)
    speed[::16] = 0.0
    pose = np.stack(
        [*random.uniform(-500.0, 500.0, (2, CASES)), np.cos(heading), np.sin(heading), speed], 1
    )
    dt = random.choice([0.01, 0.1, 0.3, 0.4, 1.0], CASES)
    if model is Dynamics.STATE:
        step = random.uniform(-6.0, 6.0, (CASES, 5)) + np.array([0.0, 0.0, 0.0, 5.0, 0.0])
        action = np.concatenate([pose[:, :2] + step[:, :2], step[:, 2:]], 1)
    else:
        size = np.array(RANGES[model.name.lower()])
        action = random.uniform(-size, size, (CASES, len(size)))
        action[::7, -1] = 0.0
    wheelbase = random.uniform(0.6, 7.0, CASES)
    return tuple(one.astype(np.float32) for one in (pose, action, wheelbase, dt))


def in_double(*arrays: np.ndarray) -> list[np.ndarray]:
    return [one.astype(np.float64) for one in arrays]


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(wrapped(np.arctan2(a[:, 3], a[:, 2]) - np.arctan2(b[:, 3], b[:, 2])))


def borderline(model: Dynamics, case: Any, wanted: np.ndarray) -> np.ndarray:
    """Whether rounding decides if a displacement, or a velocity, is one backwards."""
    pose, action, *_ = in_double(*case)
    psi = np.arctan2(pose[:, 3], pose[:, 2])
    if model is Dynamics.STATE:
        d = action[:, :2] - pose[:, :2]
        middle = psi + wrapped(action[:, 2] - psi) / 2.0
        sure = np.abs(action[:, 3] * wanted[:, 2] + action[:, 4] * wanted[:, 3]) > 1e-4
        sure &= np.abs(np.abs(wrapped(action[:, 2] - psi)) - np.pi) > 1e-4
    elif model in (Dynamics.DELTA_LOCAL, Dynamics.DELTA_GLOBAL):
        d, sure = action[:, :2], np.ones(len(action), np.bool_)
        middle = action[:, 2] / 2.0 + (psi if model is Dynamics.DELTA_GLOBAL else 0.0)
    else:
        return np.zeros(len(pose), np.bool_)
    ahead = d[:, 0] * np.cos(middle) + d[:, 1] * np.sin(middle)
    return ~sure | (np.abs(ahead) < 1e-3)


@by_model
@pytest.mark.parametrize("least", [FREE, 0.0])
def test_a_step_is_that_of_the_equations(model: Dynamics, least: float) -> None:
    case = cases(model)
    if least == 0.0:
        case[0][:, 4] = np.abs(case[0][:, 4])
    pose, action, wheelbase, dt = in_double(*case)
    found = forward(model, case, least)
    wanted = drive(model.name.lower(), pose, action, wheelbase, dt, least)
    usual = ~borderline(model, case, wanted)
    assert usual.mean() > 0.99
    found, wanted = found[usual], wanted[usual]
    np.testing.assert_allclose(found[:, :2], wanted[:, :2], atol=1e-4)
    np.testing.assert_allclose(found[:, 4], wanted[:, 4], rtol=1e-6, atol=1e-5)
    assert angle_between(found, wanted).max() < 3e-6
    np.testing.assert_allclose(np.hypot(found[:, 2], found[:, 3]), 1.0, atol=3e-7)
    if least == 0.0:
        assert found[:, 4].min() == 0.0


@by_model
def test_an_inverse_is_that_of_the_equations(model: Dynamics) -> None:
    pose, _, wheelbase, dt = cases(model, 1)
    random = np.random.default_rng(5)
    heading = np.arctan2(pose[:, 3], pose[:, 2]) + random.normal(0.0, 0.3, CASES)
    after = pose.copy()
    after[:, :2] += random.uniform(-7.0, 7.0, (CASES, 2))
    after[:, 2], after[:, 3] = np.cos(heading), np.sin(heading)
    after[:, 4] += random.normal(0.0, 3.0, CASES) * dt
    found = inverse(model, pose, after, wheelbase, dt)
    p, a, w, t = in_double(pose, after, wheelbase, dt)
    wanted = action_to(model.name.lower(), p, a, w, t)
    # What rounding may change of a difference of speeds, of an angle, and of a bend.
    way = np.maximum(np.abs(p[:, 4] + a[:, 4]) / 2.0 * t, 1e-9)
    if model in (Dynamics.BICYCLE, Dynamics.CLASSIC):
        usual = np.abs(way - 0.6 * t) > 1e-4 * t
        per_way = 1.0 if model is Dynamics.BICYCLE else 2.0 * w
        allowed = np.stack([1e-6 + 1e-5 / t, 2e-6 + 2e-6 * per_way / way], 1)
        assert ((np.abs(found - wanted) <= allowed).all(1) | ~usual).all()
        size = np.array(RANGES[model.name.lower()])
        assert (np.abs(found[way < 0.59 * t, 1]) == 0.0).all() and (way < 0.59 * t).sum() > 100
        assert (np.abs(found) <= size + 1e-6).all()
        assert (np.abs(found[:, 1]) < size[1]).mean() > 0.3
    else:
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@by_model
def test_the_inverse_finds_the_action_again(model: Dynamics) -> None:
    """For turns of less than half a turn, and for bicycles that are not slow."""
    case = cases(model, 2)
    pose, action, wheelbase, dt = case
    after = forward(model, case)
    found = inverse(model, pose, after, wheelbase, dt)
    if model is Dynamics.STATE:
        np.testing.assert_allclose(found[:, :2], action[:, :2], atol=1e-4)
        assert np.abs(wrapped(found[:, 2] - action[:, 2].astype(np.float64))).max() < 3e-6
        size = np.hypot(found[:, 3], found[:, 4])
        np.testing.assert_allclose(size, np.hypot(action[:, 3], action[:, 4]), rtol=1e-5)
        return
    if model in (Dynamics.DELTA_LOCAL, Dynamics.DELTA_GLOBAL):
        np.testing.assert_allclose(found, action, atol=2e-4)
        return
    way = np.abs(pose[:, 4] + after[:, 4]) / 2.0 * dt
    turn = angle_between(pose, after)
    straight = np.abs(action[:, 1]) * way / wheelbase < 3.0
    fits = (way > 0.61 * dt) & (turn < 3.1) & (way * 0.3 < 3.1) & straight
    assert fits.mean() > 0.6
    allowed = 2e-6 + 3e-6 * np.maximum(wheelbase, 1.0) / np.maximum(way, 1e-9)
    assert (np.abs(found - action)[fits, 0] < (2e-5 + 2e-5 / dt)[fits]).all()
    assert (np.abs(found - action)[fits, 1] < allowed[fits]).all()


@pytest.mark.parametrize("model", ["bicycle", "classic"])
def test_braking_ends_at_rest_unless_reversing_is_allowed(model: str) -> None:
    dynamics = Dynamics[model.upper()]
    car = np.array([[3.0, 4.0, 1.0, 0.0, 1.0]], np.float32)
    brake = np.array([[-5.0, 0.1]], np.float32)
    case = car, brake, np.float32([2.7]), np.float32([0.4])
    stopped = forward(dynamics, case, least=0.0)[0]
    assert stopped[4] == 0.0
    assert np.hypot(*(stopped[:2] - car[0, :2])) == pytest.approx(0.2)  # (1 + 0) / 2 * 0.4
    assert forward(dynamics, case, least=-2.0)[0, 4] == -1.0
    again = forward(dynamics, (stopped[None], *case[1:]), least=0.0)[0]
    np.testing.assert_array_equal(again, stopped)


@pytest.mark.parametrize("model", ["delta_local", "delta_global", "state"])
def test_displacements_backwards_are_none_where_reversing_is_not_allowed(model: str) -> None:
    dynamics = Dynamics[model.upper()]
    car = np.array([[3.0, 4.0, 1.0, 0.0, 1.0]], np.float32)
    back = {"state": [2.0, 4.0, 0.2, -2.0, 0.0]}.get(model, [-1.0, 0.0, 0.2])
    case = car, np.float32([back]), np.float32([2.7]), np.float32([0.5])
    held = forward(dynamics, case, least=0.0)[0]
    np.testing.assert_allclose(held, [3.0, 4.0, math.cos(0.2), math.sin(0.2), 0.0], atol=1e-6)
    gone = forward(dynamics, case, least=-2.0)[0]
    np.testing.assert_allclose(gone, [2.0, 4.0, math.cos(0.2), math.sin(0.2), -2.0], atol=1e-6)


def test_a_state_is_reached_no_faster_than_allowed() -> None:
    car = np.array([[3.0, 4.0, 1.0, 0.0, 1.0]], np.float32)
    far = np.float32([[100.0, -0.5, 0.0, 5.0, 0.0]])
    case = car, far, np.float32([2.7]), np.float32([0.5])
    np.testing.assert_allclose(forward(Dynamics.STATE, case, reach=6.0)[0, :2], [9.0, -0.5])


def test_an_arc_leads_from_pose_to_pose() -> None:
    """`along_arc` of the arc between two poses ends at the second, with the same slip all along."""
    between, along, turn_by = from_python(arc_between), from_python(along_arc), from_python(turned)
    random = np.random.default_rng(3)
    for case in range(10_000):
        heading, turn = random.uniform(-np.pi, np.pi), random.uniform(-3.0, 3.0)
        dx, dy = random.uniform(-6.0, 6.0, 2) * (0.0 if case % 10 == 0 else 1.0)
        cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
        cos2, sin2 = np.float32(math.cos(heading + turn)), np.float32(math.sin(heading + turn))
        arc = between(np.float32(dx), np.float32(dy), cos, sin, cos2, sin2)
        travel, curvature, slip_cos, slip_sin = (float(one) for one in arc)
        assert slip_cos >= 0.0 and slip_cos**2 + slip_sin**2 == pytest.approx(1.0, abs=1e-5)
        way_cos, way_sin = turn_by(cos, sin, np.float32(math.atan2(slip_sin, slip_cos)))
        zero = np.float32(0.0)
        x, y, c, s = along(
            zero, zero, np.float32(way_cos), np.float32(way_sin), *map(np.float32, arc[:2])
        )
        assert math.hypot(x - dx, y - dy) < (2e-4 if case % 10 == 0 else 2e-5)
        end = math.atan2(s, c) - math.atan2(slip_sin, slip_cos) - heading - turn
        assert abs((end + math.pi) % (2.0 * math.pi) - math.pi) < 2e-5
        assert travel * curvature == pytest.approx(turn, abs=1e-5)
