from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.collision import NO_TOUCH, first_touch
from selfdrive_env.kernels.dynamics import jerk_bicycle
from selfdrive_env.state.world import EVENT_COLLISION, HALTED
from tests.kernels import from_python
from tests.kernels.conftest import no_jerk, put, set_body, town_engine
from tests.reference import MISSED, Sweep, gap, swept_gap

first_touch = from_python(first_touch)

F = np.float32
LOOK = 5e-3  # by which bodies move between two looks of `swept_gap` [m]


def single(sweep):
    return Sweep(*(float(F(v)) for v in sweep))


def touch(a, b):
    return touched_at(a, b) < NO_TOUCH


def touched_at(a, b):
    sweeps = []
    for s in (a, b):
        values = [s.x, s.y, math.cos(s.heading), math.sin(s.heading), s.travel, s.curvature]
        values += [s.wheelbase / 2, s.length / 2, s.width / 2, 1.0, 0.0]
        sweeps.append(jerk_bicycle.Sweep(*(F(v) for v in values)))
    return first_touch(*sweeps)


def random_sweep(random, spread):
    length = random.uniform(0.8, 12.0)
    wheelbase = 0.6 * length
    curvature = math.tan(random.uniform(-0.55, 0.55)) / wheelbase
    if random.random() < 0.5:
        curvature *= 0.1
    return single(
        Sweep(
            *random.uniform(-spread, spread, 2),
            random.uniform(-3.1, 3.1),
            random.uniform(-0.6, 9.0),
            curvature,
            length,
            random.uniform(0.6, min(3.0, length)),
            wheelbase,
        )
    )


def shifted_to_touch(random, a, b):
    """`b` shifted away from `a` until their sweeps miss or meet each other by centimetres."""
    angle, wanted = random.uniform(-np.pi, np.pi), random.uniform(-0.06, 0.03)
    parts = int(20 * (abs(a.travel) + abs(b.travel))) + 1
    boxes = a.boxes(parts), b.boxes(parts)
    low, high = 0.0, 60.0
    for _ in range(50):
        middle = (low + high) / 2
        shift = middle * np.array([math.cos(angle), math.sin(angle)])
        low, high = (
            (low, middle) if gap(boxes[0], boxes[1] + shift).min() > wanted else (middle, high)
        )
    return single(b._replace(x=b.x + low * math.cos(angle), y=b.y + low * math.sin(angle)))


@pytest.mark.parametrize(
    ("near", "count"),
    [(False, 800), (True, 200), pytest.param(True, 800, marks=pytest.mark.full)],
)
def test_no_overlap_deeper_than_two_centimetres_is_missed(near, count, capsys):
    """And none is seen that is not there, but for what lies between two looks of the oracle."""
    random = np.random.default_rng(3)
    exempt = touching = 0
    for _ in range(count):
        a, b = random_sweep(random, 8.0), random_sweep(random, 8.0)
        if near:
            b = shifted_to_touch(random, a, b)
        least = swept_gap(a, b)
        if -MISSED < least < LOOK:
            exempt += 1
            continue
        touching += least < 0.0
        assert touch(a, b) == (least < 0.0), (a, b, least)
        assert touch(b, a) == (least < 0.0), (a, b, least)
    with capsys.disabled():
        print(f"\nswept contacts, near={near}: {exempt} of {count} within 2 cm", end=" ")
    assert exempt < (0.5 if near else 0.02) * count
    assert 0.1 * count < touching < 0.9 * count


@settings(deadline=None, max_examples=200)
@given(
    speed=st.floats(20.0, 30.0),
    depth=st.floats(0.021, 0.2),
    place=st.floats(0.05, 0.95),
    angle=st.floats(0.2, 1.4),
    dt=st.sampled_from([1 / 15, 0.3]),
)
def test_a_corner_that_is_passed_fast_is_hit(speed, depth, place, angle, dt):
    """A body passes the corner of a standing one that is turned, and cuts it by `depth`."""
    standing = Sweep(0.0, 0.0, angle, 0.0, 0.0, 4.5, 1.8, 2.7)
    top = standing.boxes(1)[0].max(axis=0)  # its northernmost corner
    corner = standing.boxes(1)[0][standing.boxes(1)[0][:, 1].argmax()]
    travel = speed * dt
    passing = Sweep(0.0, 0.0, 0.0, travel, 0.0, 4.5, 1.8, 2.7)
    x = corner[0] - place * travel - passing.wheelbase / 2
    passing = passing._replace(x=x, y=top[1] + 0.9 - depth)
    least = swept_gap(passing, standing)
    if least < -MISSED:
        assert touch(passing, standing)
        assert touch(standing, passing)


@settings(deadline=None, max_examples=300)
@given(
    speed_a=st.floats(0.0, 30.0),
    speed_b=st.floats(-2.0, 30.0),
    length=st.floats(0.8, 5.0),
    width=st.floats(0.6, 0.8),
    aside=st.floats(-0.5, 0.5),
    dt=st.sampled_from([1 / 15, 0.3, 0.5]),
    place=st.floats(0.0, 1.0),
)
def test_nobody_passes_through_an_oncoming_body(speed_a, speed_b, length, width, aside, dt, place):
    a = Sweep(0.0, 0.0, 0.0, speed_a * dt, 0.0, length, width, 0.6 * length)
    b = Sweep(0.0, aside, math.pi, speed_b * dt, 0.0, length, width, 0.6 * length)
    # They start clear of each other, pass, and end behind each other.
    closing = a.travel + b.travel
    first = length + 0.01 + a.wheelbase
    if closing <= 2.0 * length + 0.1:
        return
    start = first + place * (closing - 2.0 * length - 0.02)
    assert touch(a, b._replace(x=start))
    assert touch(b._replace(x=start), a)


@settings(deadline=None, max_examples=300)
@given(speed_a=st.floats(3.0, 30.0), speed_b=st.floats(0.0, 30.0), share=st.floats(0.0, 1.0))
def test_nobody_passes_through_crossing_traffic(speed_a, speed_b, share):
    dt, size = 0.3, 0.8
    a = Sweep(0.0, 0.0, 0.0, speed_a * dt, 0.0, size, size, 0.6 * size)
    # Both centres are at the crossing point at the same time.
    when = share * dt
    cross = a.wheelbase / 2 + speed_a * when
    b = Sweep(cross, 0.0, math.pi / 2, speed_b * dt, 0.0, size, size, 0.6 * size)
    b = b._replace(y=-b.wheelbase / 2 - speed_b * when)
    start = [sweep._replace(travel=0.0).boxes(1) for sweep in (a, b)]
    if gap(*start) > 0.0:  # otherwise the step before has seen them
        assert touch(a, b)


def test_bodies_touch_by_their_full_boxes():
    a = Sweep(0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 2.0, 2.4)
    assert touch(a, a._replace(x=3.99))
    assert not touch(a, a._replace(x=4.01))
    assert touch(a, a._replace(y=1.99))
    assert not touch(a, a._replace(y=2.01))


def pair(height: float, speed: float = 0.0):
    """Two cars nose to tail within a metre on one lane, the second `height` above the first."""
    engine = town_engine(agents_per_world=2)
    set_body(engine)
    lanes = engine.lanes
    lane = int(np.argmax(lanes.length * (lanes.junction < 0) * (lanes.max_curvature < 0.001)))
    segment = int(lanes.segment_first[lane]) + 20
    lanes.segment[segment + 3 : segment + 200, 8] += np.float32(height)
    try:
        put(engine, 0, segment, speed=speed)
        put(engine, 1, segment + 4)
        engine.step(no_jerk(engine))
    finally:
        lanes.segment[segment + 3 : segment + 200, 8] -= np.float32(height)
    return engine


def test_bodies_on_one_level_collide():
    engine = pair(0.0, speed=3.0)
    assert (engine.output.event[0] & EVENT_COLLISION).tolist() == [EVENT_COLLISION] * 2
    # The speed that counts is one's own at the start of the step.
    np.testing.assert_allclose(engine.motion.impact_speed[0], [3.0, 0.0])


@pytest.mark.parametrize(("height", "collides"), [(2.4, True), (2.6, False), (-6.0, False)])
def test_bodies_on_different_levels_do_not_touch(height, collides):
    events = pair(height).output.event[0] & EVENT_COLLISION
    assert (events != 0).tolist() == [collides] * 2


def test_a_lasting_contact_is_one_collision():
    engine = pair(0.0)
    assert (engine.output.event[0] & EVENT_COLLISION).all()
    engine.step(no_jerk(engine))
    assert not (engine.output.event[0] & EVENT_COLLISION).any()
    engine.agents.x[0, 1] += 100.0
    engine.agents.contact[0] &= 2
    engine.step(no_jerk(engine))
    engine.agents.x[0, 1] -= 100.0
    engine.step(no_jerk(engine))
    assert (engine.output.event[0] & EVENT_COLLISION).all()


def test_a_halted_body_can_be_hit():
    engine = pair(0.0)
    engine.agents.status[0, 1] = HALTED
    engine.agents.contact[0] = 0
    engine.step(no_jerk(engine))
    assert engine.output.event[0, 0] & EVENT_COLLISION


def test_when_two_bodies_touch_is_told_by_a_pose_just_before():
    """At three metres a step, a gap of 1.6 m is closed after a share of 0.533."""
    a = Sweep(0.0, 0.0, 0.0, 3.0, 0.0, 4.0, 2.0, 2.4)
    standing = a._replace(x=5.6, travel=0.0)
    fine = 0.05 / 3.0
    for found in (touched_at(a, standing), touched_at(standing, a)):
        assert 1.6 / 3.0 - fine < found < 1.6 / 3.0
    assert touched_at(a, a._replace(x=3.9)) == 0.0
    assert touched_at(a, a._replace(x=7.1, travel=0.0)) >= NO_TOUCH


@pytest.mark.parametrize("slots", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_who_is_hit_first_is_told(slots):
    engine = town_engine(agents_per_world=3)
    set_body(engine)
    lanes = engine.lanes
    lane = int(np.argmax(lanes.length * (lanes.junction < 0) * (lanes.max_curvature < 0.001)))
    segment = int(lanes.segment_first[lane]) + 20
    own, near, far = slots
    put(engine, own, segment, speed=20.0)
    put(engine, near, segment + 8)
    put(engine, far, segment + 9, aside=1.0)
    engine.step(no_jerk(engine))
    hit, time = engine.motion.hit_agent[0], engine.motion.hit_time[0]
    assert hit[own] == near
    assert {hit[near], hit[far]} == {near, far}  # they overlap from the start
    assert time[near] == time[far] == 0.0 < time[own] < 1.0
    engine.agents.x[0] += np.float32([0.0, 100.0, 200.0])
    engine.step(no_jerk(engine))
    assert engine.motion.hit_agent[0].tolist() == [-1, -1, -1]
