"""Ways that run on as one: who does not go first goes in ahead or behind with a gap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from selfdrive_env.kernels.drivers import conflicts, lane_changes
from selfdrive_env.kernels.drivers.path_info import (
    BEND,
    HIGH_X,
    HIGH_Y,
    LOW_X,
    LOW_Y,
    PATH_INFO,
    POINTS,
    SWEEP,
)
from selfdrive_env.kernels.rules import gaps
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import Junction, RoadNetwork
from selfdrive_env.state.world import EVENT_COLLISION, EVENT_OFFROAD, IDM
from tests.kernels import from_python
from tests.kernels.conftest import build, no_jerk, put, set_body
from tests.maps.conftest import connect, strip

goes_in_ahead = from_python(gaps.goes_in_ahead)
time_over = from_python(gaps.time_over)
first_conflict = from_python(conflicts.first_conflict)
merge_at = from_python(lane_changes.merge_at)


def ramp() -> RoadNetwork:
    """Lanes 0 to 2 eastward; lane 3 beside them leads by lane 4 into lane 2."""
    x = np.linspace(0.0, 40.0, 41)
    bend = np.stack([x, -4.0 * (1.0 + np.cos(np.pi * x / 40.0)), 0.0 * x], axis=1)
    lanes = [
        strip("main", [[-250, 0, 0], [0, 0, 0]]),
        strip("through", [[0, 0, 0], [40, 0, 0]], junction=0),
        strip("on", [[40, 0, 0], [400, 0, 0]]),
        strip("ramp", [[-250, -8, 0], [0, -8, 0]]),
        strip("in", bend, junction=0),
    ]
    for lane in lanes:
        lane.speed_limit = 8.0
    connect(lanes, (0, 1), (1, 2), (3, 4), (4, 2))
    return RoadNetwork("ramp", lanes, [Junction("merge", lanes=[1, 4])])


@pytest.mark.parametrize("apart", [35.0, 45.0])
@pytest.mark.parametrize("ahead", [-15.0, -6.0, 0.0, 6.0, 15.0])
def test_a_ramp_flows_into_a_row_with_gaps(apart, ahead):
    """One comes by the ramp beside a row of cars, `ahead` of one of them; nobody stops for it."""
    engine = build([compile_map(ramp())], drivers=[IDM] * 5)
    set_body(engine)
    agents, bodies = engine.agents, engine.bodies
    bodies.max_curvature[0], bodies.weight[0], bodies.num_goals[0] = 0.15, 0.0, 1
    bodies.goal_lane[0, :, 0], bodies.goal_s[0, :, 0] = 2, 340.0
    agents.goal[0], agents.goal_distance[0] = 0, 1000.0
    first = engine.lanes.segment_first
    put(engine, 0, int(first[3]) + 170, speed=7.5)
    for agent in range(1, 5):
        put(engine, agent, int(first[0]) + int(170 - ahead - apart * (agent - 2)), speed=7.5)
    slowest, hardest = 8.0, 0.0
    for _ in range(140):
        engine.step(no_jerk(engine))
        assert not (engine.output.event[0] & (EVENT_COLLISION | EVENT_OFFROAD)).any()
        slowest = min(slowest, float(agents.speed[0].min()))
        hardest = min(hardest, float(agents.acceleration[0].min()))
    assert (agents.x[0] > 40.0).sum() == 5
    assert slowest > 2.5
    assert hardest > -4.0


def ways(angle: float, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two ways with points every 1.5 m: one to the east, one that crosses it at its 20th point."""
    along = 1.5 * (np.arange(count, dtype=np.float32) - 20)
    cos, sin = np.cos(angle), np.sin(angle)
    one = np.zeros((count, 5), np.float32)
    one[:, 0], one[:, 2] = along, 1.0
    two = np.zeros((count, 5), np.float32)
    two[:, 0], two[:, 1], two[:, 2], two[:, 3] = along * cos, along * sin, cos, sin
    return one, two


@pytest.mark.parametrize("angle", [0.2, 0.5, 1.5, -0.3, 3.0])
def test_ways_that_cross_do_not_run_on_as_one(angle):
    one, two = ways(angle)
    assert merge_at(one, 40, two, 40, 15, 15, 2.4) == -1


@pytest.mark.parametrize("angle", [0.2, 0.5, -0.8])
def test_ways_that_join_run_on_as_one_from_there(angle):
    one, two = ways(angle)
    two[20:, 0], two[20:, 1], two[20:, 2], two[20:, 3] = one[20:, 0], 0.0, 1.0, 0.0
    assert abs(merge_at(one, 40, two, 40, 10, 10, 12.0) - 20) <= 1
    assert merge_at(one, 21, two, 40, 10, 10, 12.0) == -1


def test_ways_that_cross_and_part_do_not_run_on_as_one_where_they_come_round_again():
    one, two = ways(1.5)
    along = 1.5 * np.arange(10, dtype=np.float32)
    two[30:, 0], two[30:, 1], two[30:, 2], two[30:, 3] = one[25, 0] + along, 0.0, 1.0, 0.0
    assert merge_at(one, 40, two, 40, 18, 19, 2.4) == -1


def arc(first: float, last: float) -> np.ndarray:
    """Points of a lane round the origin, 11 m away, between two bearings [degrees]."""
    angle = np.radians(np.linspace(first, last, int((last - first) / 5.0) + 2))
    return np.stack([11.0 * np.cos(angle), 11.0 * np.sin(angle), 0.0 * angle], axis=1)


def bezier(*points: tuple[float, float]) -> np.ndarray:
    t = np.linspace(0.0, 1.0, 31)[:, None]
    a, b, c, d = (np.array([*point, 0.0]) for point in points)
    return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t * t * (1 - t) * c + t**3 * d


def small_ring() -> RoadNetwork:
    """A ring that is entered by lane 7 and left by lane 8, which cross outside it."""
    joints = [-10, 160, 185, 255, 270, 340, 350]
    lanes = [
        strip(f"ring{k}", arc(a, b), junction=(0, -1, 1, -1, 2, -1)[k])
        for k, (a, b) in enumerate(pairwise(joints))
    ]
    start, end, leave = arc(160, 160)[0, :2], (20.0, 24.0), arc(-10, -10)[0, :2]
    lanes += [
        strip("from", [[46, 55, 0], [*end, 0]]),
        strip("in", bezier(end, (9.7, 11.7), (-6.9, 13.2), start), junction=0),
        strip("out", bezier(leave, (12.6, 7.9), (-1.9, 18.2), (-4, 30)), junction=0),
        strip("to", [[-4, 30, 0], [-18, 110, 0]]),
    ]
    for lane in lanes:
        lane.speed_limit = 8.0
        lane.precedence = 1 if lane.junction >= 0 else 0
    lanes[7].precedence = -1
    connect(lanes, (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (5, 8), (8, 9), (6, 7), (7, 1))
    junctions = [Junction(str(k), lanes=on) for k, on in enumerate([[0, 7, 8], [2], [4]])]
    return RoadNetwork("ring", lanes, junctions)


def test_ways_round_a_small_ring_hide_no_crossing():
    """One comes in to go all the way round, past one that leaves across its way."""
    compiled = compile_map(small_ring())
    for away in range(0, 44, 2):
        engine = build([compiled], drivers=[IDM] * 2)
        set_body(engine)
        agents, bodies = engine.agents, engine.bodies
        bodies.max_curvature[0], bodies.weight[0], bodies.num_goals[0] = 0.2, 0.0, 1
        bodies.goal_lane[0, :, 0], bodies.goal_s[0, :, 0] = 9, 70.0
        agents.goal[0], agents.goal_distance[0] = 0, 1000.0
        first = engine.lanes.segment_first
        put(engine, 0, int(first[6]), along=float(away) - 6.0, speed=5.0)
        put(engine, 1, int(first[4]), along=2.0, speed=3.5)
        for _ in range(150):
            engine.step(no_jerk(engine))
            assert not (engine.output.event[0] & EVENT_COLLISION).any(), away


def bend(radius: float, top: float, count: int = 20) -> np.ndarray:
    """Points every 1.5 m of a way to the west round (0, top - radius), by the left if above 0."""
    angle = 1.5 * (np.arange(count) - count // 2) / radius
    points = np.zeros((count, 5), np.float32)
    points[:, 0], points[:, 1] = -radius * np.sin(angle), top - radius * (1.0 - np.cos(angle))
    points[:, 2], points[:, 3] = -np.cos(angle), -np.sin(angle)
    return points


@pytest.mark.parametrize(("radii", "meet"), [((11.0, -7.0), True), ((1.0e4, -1.0e4), False)])
def test_bodies_sweep_beyond_their_width_in_bends(radii, meet):
    """Bodies 1.8 m wide on ways that come as near as 2.45 m pass straight on, not in bends."""
    paths = np.stack([bend(radii[0], 0.0), bend(radii[1], 2.45)])
    info, ways = np.zeros((2, PATH_INFO), np.float32), np.full((2, 2, 64), 1.0e9, np.float32)
    ways[:, :, :20] = paths[:, :, :2].transpose(0, 2, 1)
    info[:, POINTS], info[:, SWEEP], info[:, BEND] = 20, 0.16 * 4.5**2, 1.0 / np.abs(radii)
    info[:, [LOW_X, LOW_Y]], info[:, [HIGH_X, HIGH_Y]] = paths.min(1)[:, :2], paths.max(1)[:, :2]
    points = first_conflict(paths, info, ways, 0, 0, 1, 20, 0, np.float32(2.4), True)
    assert (points[0] in (8, 9, 10)) if meet else points == (-1, -1)
    nowhere = (-1, -1)
    assert first_conflict(paths, info, ways, 0, 0, 1, 20, 0, np.float32(2.4), False) == nowhere
    info[:, SWEEP] = 0.16 * 2.0**2
    assert first_conflict(paths, info, ways, 0, 0, 1, 20, 0, np.float32(2.4), True) == nowhere


def test_room_to_go_in_ahead_grows_with_the_way_and_pace_of_the_other():
    rng = np.random.default_rng(3)
    for way, speed, place, pace in rng.uniform([5, 0, 0, 0], [40, 12, 150, 15], (300, 4)):
        here = goes_in_ahead(way, speed, 8.0, place, pace, 0.8)
        assert here <= goes_in_ahead(way, speed, 8.0, place + 5.0, pace, 0.8)
        assert here <= goes_in_ahead(way, speed, 8.0, place, pace, 0.6)
        assert here <= goes_in_ahead(way, speed, 9.0, place, pace, 0.8)
        assert here >= goes_in_ahead(way, speed, 8.0, place, pace + 2.0, 0.8)
        assert not here or place > 2.0 * 0.8


def test_the_time_over_a_way_is_that_of_a_drive():
    """One speeds up or slows down to a top speed and keeps it; counted in steps of 1 ms."""
    rng = np.random.default_rng(4)
    for way, speed, top in rng.uniform([0.1, 0, 1], [60, 15, 15], (60, 3)):
        driven, now, steps = 0.0, speed, 0
        while driven < way:
            now = min(now + 1.2e-3, top) if now < top else max(now - 1.5e-3, top)
            driven += now * 1.0e-3
            steps += 1
        assert time_over(way, speed, top) == pytest.approx(1.0e-3 * steps, rel=0.01, abs=0.02)
