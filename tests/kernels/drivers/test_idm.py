from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.kernels.drivers.conflicts import Box, first_contact
from selfdrive_env.kernels.drivers.idm import idm_acceleration
from selfdrive_env.kernels.drivers.path_info import ARRIVAL, CHANGES, LEAVE_END, PATH_INFO, RANK
from selfdrive_env.kernels.drivers.precedence import goes_first
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.kernels.route import way_to_dead_end
from selfdrive_env.maps import compiled
from selfdrive_env.state.world import (
    CONSTANT,
    EVENT_COLLISION,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EXTERNAL,
    IDM,
    RED,
    STILL,
)
from tests.kernels import from_python
from tests.kernels.conftest import no_jerk, put, send, set_body, town_engine
from tests.reference.recorded import idm

first_contact = from_python(first_contact)
goes_first = from_python(goes_first)
idm_acceleration = from_python(idm_acceleration)
way_to_dead_end = from_python(way_to_dead_end)

F = np.float32


def straight_lane(engine):
    lanes = engine.lanes
    return int(np.argmax(lanes.length * (lanes.junction < 0) * (lanes.max_curvature < 0.001)))


def test_idm_accelerates_on_a_free_road_and_brakes_behind_others():
    assert idm_acceleration(F(0), F(10), F(1e6), F(0)) > 1.0
    assert idm_acceleration(F(10), F(10), F(1e6), F(0)) == pytest.approx(0.0, abs=1e-5)
    assert idm_acceleration(F(12), F(10), F(1e6), F(0)) < 0.0
    assert idm_acceleration(F(10), F(10), F(15), F(10)) < -3.0


@pytest.mark.parametrize(
    ("speed", "wanted", "gap", "closing", "acceleration"),
    [
        (5.0, 10.0, 1e6, 0.0, 1.8 * (1 - 0.5**4)),
        (8.0, 10.0, 1e6, 0.0, 1.8 * (1 - 0.8**4)),
        (5.0, 10.0, 20.0, 0.0, 1.8 * (1 - 0.5**4 - (8.0 / 20.0) ** 2)),
        (5.0, 10.0, 20.0, 2.0, 1.8 * (1 - 0.5**4 - ((8.0 + 10.0 / 14.4**0.5) / 20.0) ** 2)),
        (5.0, 10.0, 20.0, -2.0, 1.8 * (1 - 0.5**4 - ((8.0 - 10.0 / 14.4**0.5) / 20.0) ** 2)),
        (5.0, 10.0, 20.0, -9.0, 1.8 * (1 - 0.5**4 - (2.0 / 20.0) ** 2)),
    ],
)
def test_idm_has_the_terms_of_the_paper(speed, wanted, gap, closing, acceleration):
    """1.8 (1 - (v/v0)^4 - (s*/s)^2), s* = 2 + max(1.2 v + v dv / (2 sqrt(1.8 * 2)), 0)."""
    found = idm_acceleration(F(speed), F(wanted), F(gap), F(closing))
    assert found == pytest.approx(acceleration, abs=1e-4)


def test_idm_agrees_with_float64_on_ten_thousand_cases():
    """Half of them close behind another one, where the gap decides."""
    random = np.random.default_rng(0)
    speed, wanted = random.uniform(0.0, 30.0, (2, 12_000))
    gap, closing = random.uniform(0.0, 100.0, 12_000), random.normal(0.0, 8.0, 12_000)
    gap[::2] = random.uniform(0.0, 3.0, 6000)
    gap[::10] = 1e6
    arrays = [one.astype(np.float32) for one in (speed, wanted, gap, closing)]
    found = np.array([idm_acceleration(*case) for case in zip(*arrays, strict=True)])
    speed, wanted, gap, closing = (one.astype(np.float64) for one in arrays)
    right = idm(speed, wanted, np.where(gap < 1e6, gap, np.inf), closing)
    edge = np.abs(speed - wanted - 0.5) < 1e-5
    assert (np.abs(found - right) <= 1e-5 * np.maximum(np.abs(right), 1.0))[~edge].all()


def test_an_idm_driver_stops_behind_a_standing_car():
    engine = town_engine(drivers=[IDM, STILL], agents_per_world=2)
    set_body(engine)
    lane = straight_lane(engine)
    first = int(engine.lanes.segment_first[lane])
    put(engine, 0, first + 10, speed=8.0)
    put(engine, 1, first + 70)
    send(engine, 0, lane, 110.0)
    for _ in range(100):
        engine.step(no_jerk(engine))
        assert not (engine.output.event[0] & (EVENT_COLLISION | EVENT_OFFROAD)).any()
    gap = engine.agents.s[0, 1] - engine.agents.s[0, 0] - 4.5
    assert 0.3 < gap < 8.0
    assert engine.agents.speed[0, 0] < 0.3


@pytest.mark.parametrize(
    ("closer", "faster", "sign"), [(0, 0, 0), (4, 0, -1), (-6, 0, 1), (0, -3, -1)]
)
def test_an_idm_driver_keeps_its_distance_to_one_that_drives_on(closer, faster, sign):
    """Where (s*/s)^2 = 1 - (v/v0)^4 it neither speeds up nor brakes."""
    engine = town_engine(drivers=[IDM, CONSTANT], agents_per_world=2)
    set_body(engine)
    lane = straight_lane(engine)
    limit = float(min(engine.lanes.speed_limit[lane], 18.5))
    gap = (2.0 + 1.2 * 8.0) / np.sqrt(1.0 - (8.0 / limit) ** 4) - closer
    first = int(engine.lanes.segment_first[lane])
    put(engine, 0, first + 20, speed=8.0)
    put(engine, 1, first + 20, gap + 4.5, speed=8.0 + faster)
    for agent in (0, 1):
        send(engine, agent, lane, float(engine.lanes.length[lane]) - 1.0)
    engine.step(no_jerk(engine))
    acceleration = engine.agents.acceleration[0, 0]
    assert abs(acceleration) < 0.2 if sign == 0 else acceleration * sign > 0.2


def test_who_has_the_lower_rank_goes_first_then_who_is_there_first():
    info = np.zeros((4, PATH_INFO), np.float32)
    info[:, RANK] = [1.0, 0.0, 1.0, 1.0]
    info[:, ARRIVAL] = [2.0, 9.0, 1.0, 2.0]
    order = [1, 2, 0, 3]
    for place, agent in enumerate(order):
        for later in order[place + 1 :]:
            assert goes_first(info, agent, later)
            assert not goes_first(info, later, agent)


def test_an_idm_driver_waits_at_a_red_light():
    engine = town_engine("harbour", drivers=[IDM], agents_per_world=1)
    set_body(engine)
    signs, lanes = engine.signs, engine.lanes
    lane_of = np.repeat(np.arange(len(lanes.length)), np.diff(signs.lane_line_first))
    signal = signs.line_group[signs.lane_line] >= 0
    link = int(np.flatnonzero(signal & (signs.lane_line_s > 80.0))[0])
    lane, s = int(lane_of[link]), float(signs.lane_line_s[link])
    put(engine, 0, int(lanes.segment_first[lane]) + int(s) - 60, speed=8.0)
    send(engine, 0, int(lanes.successor[lanes.successor_first[lane]]), 5.0)
    for _ in range(100):
        engine.lights.remaining[0] = 1000.0
        engine.lights.line_colour[0] = RED
        engine.step(no_jerk(engine))
        assert not engine.output.event[0, 0] & EVENT_RED_LIGHT
    front = engine.agents.s[0, 0] + 0.5 * 4.5
    assert engine.agents.speed[0, 0] < 0.3
    assert s - 8.0 < front < s


def test_an_idm_driver_follows_a_bend_within_its_lane():
    engine = town_engine("hillcrest", drivers=[IDM], agents_per_world=1)
    set_body(engine)
    lanes = engine.lanes
    bends = (lanes.junction < 0) & (lanes.max_curvature > 0.02) & (lanes.length > 100.0)
    lane = int(np.flatnonzero(bends)[0])
    put(engine, 0, int(lanes.segment_first[lane]) + 5, speed=6.0)
    send(engine, 0, lane, float(lanes.length[lane]) - 2.0)
    driven, wide = 0.0, 0.0
    while driven < 90.0:
        engine.step(no_jerk(engine))
        driven += float(engine.motion.travel[0, 0])
        wide = max(wide, abs(float(engine.agents.d[0, 0])))
        assert engine.worlds.clock[0] < 300
        assert not engine.output.event[0, 0] & EVENT_OFFROAD
    assert wide < 0.8


def lane_with_a_neighbour(engine):
    """The longest lane with a left neighbour, and that neighbour."""
    lanes = engine.lanes
    lane = int(np.argmax(lanes.length * (lanes.junction < 0) * (lanes.left >= 0)))
    return lane, int(lanes.left[lane])


def changes_lane(engine, aside, ahead=18.0, speed=4.0):
    """Whether a driver `aside` of its lane's centre, `ahead` of the lane's end, changes lanes."""
    lane, left = lane_with_a_neighbour(engine)
    first, after = engine.lanes.segment_first[lane : lane + 2]
    put(engine, 0, int(after) - int(ahead * (after - first) / engine.lanes.length[lane]))
    put(engine, 0, int(engine.agents.segment[0, 0]), speed=speed, aside=aside)
    send(engine, 0, left, float(engine.lanes.length[left]) - 1.0)
    engine.step(no_jerk(engine))
    info = engine.scratch.path_info[0, 0]
    assert info[LEAVE_END] >= UNREACHABLE
    return info[CHANGES] > 0.0


def test_a_lane_change_begins_only_with_room_ahead_but_is_brought_to_its_end():
    engine = town_engine(drivers=[IDM], agents_per_world=1)
    set_body(engine)
    engine.bodies.max_curvature[0] = 0.15
    assert changes_lane(engine, 0.0, ahead=60.0)
    assert not changes_lane(engine, 0.0)
    assert changes_lane(engine, 0.8)


def test_a_way_ends_where_no_lane_goes_on_that_a_body_can_follow():
    length = np.float32([30.0, 10.0, 20.0])
    first, successor = np.int32([0, 1, 2, 2]), np.int32([1, 2])
    bends = np.float32([0.0, 0.0, 0.1])
    town = compiled("riverside").lanes
    lanes = town._replace(
        length=length,
        successor_first=first,
        successor=successor,
        max_curvature=bends,
        narrowest=np.full(3, 3.5, np.float32),
    )
    assert way_to_dead_end(lanes, 0, F(0), F(100), F(0.2), F(2.2)) == 60.0
    assert way_to_dead_end(lanes, 0, F(0), F(100), F(0.05), F(2.2)) == 40.0
    assert way_to_dead_end(lanes, 0, F(25), F(100), F(0.05), F(2.2)) == 15.0
    assert way_to_dead_end(lanes, 0, F(0), F(20), F(0.05), F(2.2)) >= UNREACHABLE


@pytest.mark.parametrize(("height", "found"), [(9.0, True), (14.0, False)])
def test_a_driver_sees_a_body_up_the_slope_but_none_on_a_bridge(height, found):
    path = np.zeros((30, 5), np.float32)
    path[:, 0], path[:, 2], path[:, 4] = 1.5 * np.arange(30), 1.0, 0.45 * np.arange(30)
    box = Box(F(30), F(0), F(height), F(1), F(0), F(2.25), F(0.9))
    place = first_contact(path, 30, 1, F(0.9), F(0.3), box, F(0), F(0), F(1))
    assert (place < UNREACHABLE) == found
    assert not found or place == pytest.approx(27.75, abs=1.5)


def test_constant_drivers_keep_their_speed_and_still_ones_stand():
    engine = town_engine(drivers=[CONSTANT, STILL, EXTERNAL], agents_per_world=3)
    set_body(engine)
    lane = straight_lane(engine)
    first = int(engine.lanes.segment_first[lane])
    for agent, (place, speed) in enumerate(((60, 5.0), (5, 4.0), (35, 3.0))):
        put(engine, agent, first + place, speed=speed)
        send(engine, agent, lane, 119.0)
    action = no_jerk(engine)
    action[..., 0] = 4.0
    for _ in range(20):
        engine.step(action)
    speed = engine.agents.speed[0]
    assert speed[0] == pytest.approx(5.0, abs=0.2)
    assert speed[1] == 0.0
    assert speed[2] > 8.0  # the caller's own
    assert not (engine.output.event[0] & EVENT_OFFROAD).any()


@pytest.mark.parametrize("dt", [0.1, 0.25])
def test_erratic_drivers_brake_every_fifty_seconds_for_about_three(dt):
    engine = town_engine(worlds=8, agents_per_world=16, braking_share=1.0, dt=dt)
    steps = round(60.0 / dt)
    brakes = np.zeros((steps + 1, 8, 16), bool)
    for step in range(1, steps + 1):
        engine.step(no_jerk(engine))
        brakes[step] = engine.motion.jerk[..., 0] == -15.0
    starts = brakes[1:] & ~brakes[:-1]
    assert starts.sum() == pytest.approx(8 * 16 * 60.0 * 0.02, rel=0.25)
    assert brakes.sum() / starts.sum() * dt == pytest.approx(3.0, rel=0.15)
