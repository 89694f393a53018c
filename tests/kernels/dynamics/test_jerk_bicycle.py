from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.dynamics.jerk_bicycle import (
    Scales,
    Sweep,
    bicycle_step,
    pose_at,
    sub_steps,
)
from selfdrive_env.kernels.math.geometry import along_arc
from tests.kernels import from_python
from tests.reference import Car, arc_pose, bicycle

bicycle_step = from_python(bicycle_step)
pose_at = from_python(pose_at)
sub_steps = from_python(sub_steps)
along_arc = from_python(along_arc)

DT = 0.3
HOLD = -9.5

# Start speed, steps, jerks -> what the float64 model gives after them.
CHECKS = (
    (0.0, 10, (4.0, 0.0), {"x": 9.05625, "speed": 6.705, "acceleration": 2.5}),
    (10.0, 5, (0.0, 4.0), {"x": 14.60112, "y": 2.72694, "heading": 0.456, "steering": 0.10758}),
    (
        2.0,
        5,
        (4.0, 4.0),
        {"x": 4.39052, "y": 1.60403, "heading": 0.7647, "speed": 4.955, "steering": 0.41441},
    ),
    (20.0, 1, (-15.0, 0.0), {"speed": 19.325}),
    (20.0, 5, (-15.0, 0.0), {"speed": 13.4}),
    (20.0, 10, (-15.0, 0.0), {"speed": 5.9}),
    (20.0, 14, (-15.0, 0.0), {"speed": 0.0, "x": 43.5375}),
    (20.0, 200, (-15.0, 0.0), {"speed": 0.0, "x": 43.5375}),
)


def step(
    car: Car,
    jerk: tuple[float, float],
    dt: float = DT,
    hold: float = HOLD,
    *,
    may_reverse: bool = True,
) -> Car:
    """One step of the kernels, as the reference does it."""
    values = (car.speed, car.acceleration, car.lateral, car.steering, *jerk)
    scales = Scales(*(np.float32(v) for v in (car.throttle, car.steer, car.pull, car.pace)))
    rest = np.float32(car.wheelbase), np.float32(hold), may_reverse, np.float32(dt)
    speed, acceleration, lateral, steering, travel, curvature, *realised = bicycle_step(
        *(np.float32(v) for v in values), scales, *rest
    )
    x, y, cos, sin = along_arc(
        np.float32(car.x),
        np.float32(car.y),
        np.float32(math.cos(car.heading)),
        np.float32(math.sin(car.heading)),
        np.float32(travel),
        np.float32(curvature),
    )
    turns = round((car.heading + travel * curvature - math.atan2(sin, cos)) / (2 * math.pi))
    return car._replace(
        x=float(x),
        y=float(y),
        heading=math.atan2(sin, cos) + turns * 2 * math.pi,
        speed=float(speed),
        acceleration=float(acceleration),
        lateral=float(lateral),
        steering=float(steering),
        realised=tuple(float(jerk) for jerk in realised),
    )


def single(car: Car) -> Car:
    """The car in the values that float32 has."""
    return Car(*(float(np.float32(v)) for v in car[:-1]))


@pytest.mark.parametrize(("speed", "steps", "jerk", "expected"), CHECKS)
@pytest.mark.parametrize(("model", "tolerance"), [(bicycle, 1e-5), (step, 1e-4)])
def test_check_values_of_the_specification(speed, steps, jerk, expected, model, tolerance):
    car = Car(speed=speed)
    for _ in range(steps):
        car = model(car, jerk, DT)
    for name, value in expected.items():
        assert getattr(car, name) == pytest.approx(value, abs=tolerance), name


def numbers(low: float, high: float):
    """Floats of four digits: the products of smaller ones underflow in single precision only."""
    return st.floats(low, high).map(lambda value: round(value, 4))


coefficient = numbers(0.6, 1.6)
jerks = st.tuples(st.sampled_from([-15.0, -4.0, 0.0, 4.0]), st.sampled_from([-4.0, 0.0, 4.0]))
cars = st.builds(
    Car,
    x=numbers(-500, 500),
    y=numbers(-500, 500),
    heading=numbers(-3.1, 3.1),
    speed=st.one_of(st.just(0.0), numbers(-2.0, 12.0)),
    acceleration=st.one_of(st.just(0.0), numbers(-5.0, 1.5)),
    lateral=st.one_of(st.just(0.0), numbers(-4.0, 4.0)),
    steering=numbers(-0.55, 0.55),
    throttle=coefficient,
    steer=coefficient,
    pull=coefficient,
    pace=coefficient,
    wheelbase=numbers(0.48, 7.2),
)


@settings(deadline=None, max_examples=500)
@given(car=cars, jerk=jerks, dt=st.sampled_from([0.05, 1 / 15, 0.1, 0.3, 0.5]), back=st.booleans())
def test_one_step_agrees_with_float64(car, jerk, dt, back):
    car, dt = single(car), float(np.float32(dt))
    wanted = bicycle(car, jerk, dt, may_reverse=back)
    found = step(car, jerk, dt, may_reverse=back)
    # A sign change within a rounding error of zero may be seen by one of the two only.
    free = car.speed + 0.5 * (car.acceleration + wanted.acceleration) * dt
    if min(abs(free), abs(wanted.speed)) < 1e-5 and car.speed != 0.0:
        return
    for name in ("x", "y", "heading", "speed", "acceleration", "lateral", "steering"):
        tolerance = 1e-4 if name in "xy" else 2e-5
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), abs=tolerance), name
    assert found.realised == pytest.approx(wanted.realised, abs=1e-4 / dt)


def test_ten_thousand_steps_agree_with_float64():
    """A third of them near rest, where signs change and limits meet."""
    random = np.random.default_rng(0)
    skipped = 0
    for case in range(10_000):
        coefficients = random.uniform(0.6, 1.6, 4)
        near = case % 3 == 0
        values = dict(
            x=random.uniform(-500, 500), y=random.uniform(-500, 500),
            heading=random.uniform(-3.1, 3.1),
            speed=random.uniform(-0.1, 0.1) if near else random.uniform(-2.0, 20.0),
            acceleration=random.choice([0.0, random.uniform(-5.0, 2.5)]),
            lateral=random.choice([0.0, random.uniform(-4.0, 4.0)]),
            steering=random.uniform(-0.55, 0.55), throttle=coefficients[0],
            steer=coefficients[1], pull=coefficients[2], pace=coefficients[3],
            wheelbase=random.uniform(0.48, 7.2),
        )  # fmt: skip
        car = single(Car(**{name: float(value) for name, value in values.items()}))
        jerk = (float(random.choice([-15, -4, 0, 4])), float(random.choice([-4, 0, 4])))
        dt = float(np.float32(random.choice([0.05, 1 / 15, 0.1, 0.3, 0.5])))
        back = bool(random.integers(2))
        wanted = bicycle(car, jerk, dt, may_reverse=back)
        found = step(car, jerk, dt, may_reverse=back)
        free = car.speed + 0.5 * (car.acceleration + wanted.acceleration) * dt
        if min(abs(free), abs(wanted.speed)) < 1e-5 and car.speed != 0.0:
            skipped += 1  # a sign change that one of the two may not see
            continue
        for name in ("x", "y", "heading", "speed", "acceleration", "lateral", "steering"):
            most = 1e-4 if name in "xy" else 2e-5
            one, other = getattr(found, name), getattr(wanted, name)
            assert abs(one - other) < most * max(abs(other), 1.0), (case, name)
    assert skipped < 4000


@settings(deadline=None, max_examples=60)
@given(car=cars, drive=st.lists(jerks, min_size=1, max_size=60))
def test_values_stay_within_their_bounds(car, drive):
    car = single(car)
    for jerk in drive:
        car = step(car, jerk)
        assert -2.0 <= car.speed <= 20.0 * car.pace + 1e-5
        assert -5.0 <= car.acceleration <= 2.5 * car.pull + 1e-6
        assert abs(car.steering) <= 0.55 + 1e-7
        assert all(math.isfinite(v) for v in (*car[:-1], *car.realised))


@settings(deadline=None, max_examples=200)
@given(car=cars, jerk=jerks)
def test_no_quantity_jumps_over_zero(car, jerk):
    car = single(car)
    after = step(car, jerk)
    assert car.speed * after.speed >= 0.0
    assert car.acceleration * after.acceleration >= 0.0


@settings(deadline=None, max_examples=200)
@given(car=cars, drive=st.lists(jerks, min_size=1, max_size=10))
def test_a_mirrored_drive_is_the_mirror_image(car, drive):
    car = single(car._replace(x=0.0, y=0.0, heading=0.0))
    twin = car._replace(lateral=-car.lateral, steering=-car.steering)
    for long, lat in drive:
        car, twin = step(car, (long, lat)), step(twin, (long, -lat))
    assert (twin.x, twin.y, twin.speed) == (car.x, -car.y, car.speed)
    assert (twin.lateral, twin.steering) == (-car.lateral, -car.steering)
    assert twin.heading == pytest.approx(-car.heading, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(car=cars)
def test_hardest_braking_ends_and_stays_at_rest(car):
    car = single(car)
    for _ in range(60):
        before, car = car, step(car, (-15.0, 0.0))
        if before.speed == 0.0:
            assert (car.speed, car.acceleration) == (0.0, 0.0)
    assert (car.speed, car.acceleration) == (0.0, 0.0)
    assert (car.x, car.y) == (before.x, before.y)


@settings(deadline=None, max_examples=200)
@given(car=cars, jerk=jerks)
def test_realised_jerk_is_no_more_than_the_command(car, jerk):
    """Of the longitudinal one: the lateral one also follows from speed and the steering's limit."""
    car = single(car)
    long, _ = step(car, jerk).realised
    reversed_hold = jerk[0] == -15.0 and car.speed <= 0.0
    wanted = -jerk[0] if reversed_hold else jerk[0]
    assert abs(long) <= car.throttle * abs(wanted) + 1e-4
    assert long * wanted >= 0.0 or abs(car.acceleration) > 2.5 * car.pull - 1e-4


@pytest.mark.parametrize("command", [(-15.0, 0.0), (-15.0, 4.0), (0.0, 0.0), (0.0, -4.0)])
def test_who_stands_feels_no_jerk(command):
    car = Car()
    for _ in range(50):
        car = step(car, command)
        assert car.realised == (0.0, 0.0)


def test_a_limit_reached_leaves_no_jerk():
    at_top = step(Car(speed=20.0), (4.0, 0.0))
    assert at_top.realised[0] == 0.0
    braking = step(Car(speed=12.0, acceleration=-5.0), (-15.0, 0.0))
    assert braking.realised[0] == 0.0


def test_braking_that_ends_exactly_at_rest_holds():
    car = Car(speed=1.5, acceleration=-5.0)
    dt = 0.25
    car = step(car._replace(speed=1.25), (-15.0, 0.0), dt)
    assert car.speed == 0.0
    for _ in range(5):
        car = step(car, (-15.0, 0.0), dt)
        assert (car.speed, car.acceleration) == (0.0, 0.0)


def test_mild_braking_that_ends_exactly_at_rest_leaves_no_acceleration():
    """Speed 0 is then where the braking leads, no bound that cuts it off."""
    dt = 0.25
    for model in (step, bicycle):
        car = model(Car(speed=0.625, acceleration=-2.5), (0.0, 0.0), dt)
        assert (car.speed, car.acceleration) == (0.0, 0.0)
        for _ in range(5):
            car = model(car, (0.0, 0.0), dt)
            assert (car.speed, car.acceleration, car.x) == (0.0, 0.0, 0.078125)


@settings(deadline=None, max_examples=300)
@given(car=cars, jerk=jerks, dt=st.sampled_from([0.125, 0.25, 0.5]))
def test_who_stands_after_a_step_has_no_braking_left(car, jerk, dt):
    """Also for speeds from which this step brakes to exactly 0, which drawn ones hardly are."""
    after = step(car := single(car), jerk, dt)
    braking = max(-after.acceleration, 0.25)
    exact = step(Car(speed=braking * dt, acceleration=-braking), (0.0, jerk[1]), dt)
    for car in (after, exact):
        assert car.speed != 0.0 or car.acceleration >= 0.0


def test_coming_to_rest_does_not_turn_into_reversing():
    car = Car(speed=1.0, acceleration=-5.0)
    car = step(car, (-4.0, 0.0))
    assert (car.speed, car.acceleration) == (0.0, 0.0)
    for _ in range(20):
        car = step(car, (0.0, 0.0))
    assert car.speed == 0.0


def test_mild_braking_at_rest_reverses_up_to_two_metres_a_second():
    car = Car()
    for _ in range(20):
        car = step(car, (-4.0, 0.0))
    assert car.speed == -2.0
    assert car.x < -5.0


@settings(deadline=None, max_examples=200)
@given(car=cars, long=numbers(-15.0, -0.01), lat=st.sampled_from([-4.0, 0.0, 4.0]))
def test_every_braking_holds_who_may_not_reverse(car, long, lat):
    standing = single(car._replace(speed=0.0))
    for model in (bicycle, step):
        after = model(standing, (long, lat), DT, may_reverse=False)
        assert (after.speed, after.acceleration) == (0.0, 0.0)
        assert (after.x, after.y) == (standing.x, standing.y)
        assert after.realised[0] == 0.0


@settings(deadline=None, max_examples=60)
@given(car=cars, drive=st.lists(jerks, min_size=1, max_size=60))
def test_who_may_not_reverse_never_does_and_else_drives_alike(car, drive):
    """But for one who stands and accelerates already, which no drive leads to: braking holds it."""
    car = single(car._replace(speed=abs(car.speed)))
    if car.speed == 0.0:
        car = car._replace(acceleration=min(car.acceleration, 0.0))
    twin = car
    for jerk in drive:
        car = step(car, jerk, may_reverse=False)
        assert car.speed >= 0.0
        if twin is not None:
            twin = step(twin, jerk)
            twin = twin if twin.speed >= 0.0 else None
            assert twin is None or twin == car


def test_who_may_not_reverse_is_stopped_where_it_does():
    car = step(Car(speed=-1.0, acceleration=-1.0), (0.0, 0.0), may_reverse=False)
    assert (car.speed, car.acceleration) == (0.0, 0.0)
    assert car.x == pytest.approx(-0.5 * DT)


def test_reverse_gear_keeps_the_wheels_side():
    car = Car(speed=-2.0, steering=0.3, lateral=4.0 * math.tan(0.3) / 2.7)
    car = step(car, (0.0, 0.0))
    assert car.heading < 0.0
    assert car.steering > 0.0


def test_a_full_circle_returns():
    radius, parts = 12.0, 100
    travel = np.float32(2 * math.pi * radius / parts)
    pose = tuple(np.float32(v) for v in (100.0, -50.0, 0.6, 0.8))
    start = pose
    for _ in range(parts):
        pose = along_arc(*pose, travel, np.float32(1 / radius))
        pose = tuple(np.float32(v) for v in pose)
    np.testing.assert_allclose(pose[:2], start[:2], atol=1e-3)
    np.testing.assert_allclose(pose[2:], start[2:], atol=1e-5)
    assert pose[2] ** 2 + pose[3] ** 2 == pytest.approx(1.0, abs=1e-6)


@settings(deadline=None, max_examples=300)
@given(heading=st.floats(-3.1, 3.1), travel=st.floats(-10, 10), curvature=st.floats(-1.3, 1.3))
def test_arcs_agree_with_float64(heading, travel, curvature):
    travel, curvature = float(np.float32(travel)), float(np.float32(curvature))
    cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
    found = along_arc(
        np.float32(1), np.float32(2), cos, sin, np.float32(travel), np.float32(curvature)
    )
    x, y, turned = arc_pose(1.0, 2.0, heading, travel, curvature)
    np.testing.assert_allclose(found, [x, y, math.cos(turned), math.sin(turned)], atol=1e-5)


def test_the_box_centre_lies_ahead_of_the_rear_axle():
    one, zero = np.float32(1), np.float32(0)
    sweep = Sweep(zero, zero, zero, one, np.float32(4), zero, np.float32(1.5), one, one, one, zero)
    pose = pose_at(sweep, np.float32(0.5))
    np.testing.assert_allclose(pose, [0.0, 3.5, 0.0, 1.0], atol=1e-6)


def test_sweeps_are_cut_every_metre():
    assert [sub_steps(np.float32(v), 32) for v in (0.0, 0.99, -1.5, 8.0, 99.0)] == [1, 1, 2, 9, 32]
