from __future__ import annotations

import itertools

import numpy as np
import pytest

from selfdrive_env.kernels.events import METRICS, uncomfortable
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import Junction, RoadNetwork
from selfdrive_env.state.world import (
    EVENT_COMFORT,
    EVENT_GOAL,
    EVENT_WRONG_WAY,
    HALTED,
    NUM_COUNTS,
    PRESENT,
)
from tests.kernels import from_python
from tests.kernels.conftest import build, no_jerk, put, random_jerks, set_body, town_engine
from tests.maps.conftest import strip

uncomfortable = from_python(uncomfortable)

F = np.float32
METRICS_BY_NAME = {metric.name: column for column, metric in enumerate(METRICS)}


def test_comfort_counts_each_bound_once():
    grid = itertools.product((0.0, 2.9, -3.1), (3.0, -3.1), (-5.1, 4.0), (5.1, -4.0))
    for a, lat, long, side in grid:
        wanted = (abs(a) > 3) + (abs(lat) > 3) + (abs(long) > 5 or abs(side) > 5)
        assert uncomfortable(F(a), F(lat), F(long), F(side)) == wanted


@pytest.mark.parametrize("brake", [-15.0, 0.0])
def test_waiting_at_rest_is_comfortable(brake):
    """Half a minute with the brake held is what a red light asks for."""
    engine = town_engine(agents_per_world=1)
    set_body(engine)
    put(engine, 0, straight_lane(engine))
    jerk = no_jerk(engine)
    jerk[..., 0] = brake
    for _ in range(100):
        engine.step(jerk)
        assert not engine.output.event[0, 0] & EVENT_COMFORT
    assert engine.tallies.count[0, 0, METRICS_BY_NAME["uncomfortable"]] == 0
    engine.agents.speed[0, 0] = 10.0
    engine.step(jerk)
    assert bool(engine.output.event[0, 0] & EVENT_COMFORT) == (brake < 0.0)


def test_every_event_has_a_metric():
    assert [metric.event for metric in METRICS] == [1 << bit for bit in range(NUM_COUNTS)]
    names = {metric.event: metric.name for metric in METRICS}
    assert names[EVENT_GOAL] == "goals"
    assert names[EVENT_WRONG_WAY] == "wrong_way"
    assert names[EVENT_COMFORT] == "uncomfortable"


def straight_lane(engine):
    lanes = engine.lanes
    lane = int(np.argmax(lanes.length * (lanes.junction < 0) * (lanes.max_curvature < 0.001)))
    return int(lanes.segment_first[lane]) + 30


@pytest.mark.parametrize(
    ("turned", "speed", "wrong"),
    [(0.0, 5.0, False), (np.pi, 5.0, True), (np.pi, 0.5, False), (np.pi / 2, 5.0, False)],
)
def test_wrong_way_is_driving_against_the_lane(turned, speed, wrong):
    # A road without an oncoming lane: the motorway of the town is the only one next to nothing.
    engine = town_engine(agents_per_world=1)
    set_body(engine, 2.0, 0.8)
    segment = straight_lane(engine)
    put(engine, 0, segment, speed=speed, turned=turned, aside=0.0)
    engine.step(no_jerk(engine))
    agents = engine.agents
    assert bool(engine.output.event[0, 0] & EVENT_WRONG_WAY) == wrong
    assert (agents.angle_cos[0, 0] < -0.5) == (turned == np.pi)


@pytest.mark.parametrize("junction", [-1, 0])
def test_nobody_drives_the_wrong_way_within_a_junction(junction):
    lane = strip("only", [[0, 0, 0], [100, 0, 0]], junction=junction)
    junctions = [Junction("0", lanes=[0])] if junction == 0 else []
    engine = build(
        [compile_map(RoadNetwork("road", [lane], junctions))],
        agents_per_world=1, first_goal=(20.0, 30.0), further_goals=0,
    )  # fmt: skip
    put(engine, 0, 50, speed=5.0, turned=np.pi)
    engine.step(no_jerk(engine))
    assert bool(engine.output.event[0, 0] & EVENT_WRONG_WAY) == (junction < 0)


def test_tallies_are_the_sums_of_events_and_rewards():
    engine = town_engine(
        worlds=3, agents_per_world=16, on_collision="terminate", on_offroad="terminate"
    )
    random = np.random.default_rng(0)
    out, tallies = engine.output, engine.tallies
    count = np.zeros_like(tallies.count)
    term = np.zeros(tallies.term.shape)
    distance = np.zeros(tallies.distance.shape)
    ended = 0
    for _ in range(80):
        engine.step(random_jerks(random, engine))
        count += (out.event[..., None] >> np.arange(NUM_COUNTS)) & 1
        term += out.weighted
        distance += np.abs(engine.motion.travel)
        done = (out.terminated | out.truncated) != 0
        ended += done.sum()
        rows = engine.bodies.row[done]
        np.testing.assert_array_equal(engine.rows.final_count[rows], count[done])
        np.testing.assert_allclose(engine.rows.final_term[rows], term[done], atol=1e-3)
        np.testing.assert_allclose(1000 * engine.rows.final_km[rows], distance[done], rtol=1e-4)
        count[done] = term[done] = distance[done] = 0
        np.testing.assert_array_equal(tallies.count, count)
        np.testing.assert_allclose(tallies.term, term, atol=1e-3)
    assert ended > 10


@pytest.mark.parametrize(
    ("behaviour", "status", "terminated"),
    [("terminate", PRESENT, 1), ("stop", HALTED, 0), ("ignore", PRESENT, 0)],
)
def test_what_a_collision_does_is_a_setting(behaviour, status, terminated):
    engine = town_engine(agents_per_world=2, on_collision=behaviour)
    set_body(engine)
    segment = straight_lane(engine)
    put(engine, 0, segment, speed=3.0)
    put(engine, 1, segment + 4)
    engine.step(no_jerk(engine))
    assert engine.output.terminated[0].tolist() == [terminated] * 2
    assert engine.agents.status[0].tolist() == [status] * 2
    assert (engine.output.reward[0] < -2.9).all()
    if behaviour == "stop":
        assert not engine.agents.speed[0].any()
        engine.step(random_jerks(np.random.default_rng(0), engine))
        assert not engine.output.reward[0].any()
        assert not engine.agents.speed[0].any()
        assert not engine.rows.learn.any()


@pytest.mark.parametrize("behaviour", ["stop", "ignore"])
def test_length_counts_every_step_of_the_episode(behaviour):
    """Those at a halt, too: an episode lasts until its end, whatever its agent does."""
    engine = town_engine(agents_per_world=2, on_collision=behaviour, horizon=6.0)
    set_body(engine)
    segment = straight_lane(engine)
    put(engine, 0, segment, speed=3.0)
    put(engine, 1, segment + 4)
    for _ in range(20):
        engine.step(no_jerk(engine))
    halted = behaviour == "stop"
    assert (engine.output.terminated[0] == halted).all()
    assert (engine.output.truncated[0] != halted).all()
    assert engine.rows.final_age.tolist() == [20, 20]


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_who_is_stopped_for_good_is_towed_after_that_time(mode):
    """Its episode is terminated: nothing comes after it that a value could stand for."""
    engine = town_engine(
        agents_per_world=2, on_collision="stop", tow_after=3.0, autoreset_mode=mode
    )
    set_body(engine)
    segment = straight_lane(engine)
    put(engine, 0, segment, speed=3.0)
    put(engine, 1, segment + 4)
    engine.step(no_jerk(engine))
    assert engine.agents.status[0].tolist() == [HALTED] * 2
    for _ in range(9):
        engine.step(no_jerk(engine))
        assert engine.agents.status[0].tolist() == [HALTED] * 2
        assert not engine.output.terminated[0].any() and not engine.output.truncated[0].any()
    engine.step(no_jerk(engine))
    assert engine.output.terminated[0].all() and not engine.output.truncated[0].any()
    assert (engine.agents.status[0] != HALTED).all()
    assert not engine.output.reward[0].any()
    if mode == "SameStep":
        assert engine.agents.age[0].tolist() == [0, 0]
        assert engine.agents.standing_time[0].tolist() == [0.0, 0.0]


def test_without_a_time_nobody_who_is_stopped_is_towed():
    engine = town_engine(agents_per_world=2, on_collision="stop")
    set_body(engine)
    segment = straight_lane(engine)
    put(engine, 0, segment, speed=3.0)
    put(engine, 1, segment + 4)
    for _ in range(700):
        engine.step(no_jerk(engine))
    assert engine.agents.status[0].tolist() == [HALTED] * 2
    assert not engine.output.terminated.any()


def test_all_rows_are_truncated_when_the_clock_runs_out():
    engine = town_engine(worlds=2, agents_per_world=4, horizon=3.0)
    for step in range(1, 25):
        engine.step(no_jerk(engine))
        due = step % 10 == 0
        live = engine.output.terminated == 0
        assert (engine.output.truncated[live] == due).all()
        assert not (engine.output.truncated & engine.output.terminated).any()
        assert (engine.worlds.clock == step % 10).all()
