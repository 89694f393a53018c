from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.events import METRICS
from selfdrive_env.kernels.math.geometry import closest_approach
from selfdrive_env.kernels.walks import DEAD_END
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.road import LANE_CHANGE_COST, SEG_X, UNREACHABLE
from selfdrive_env.state.world import EVENT_GOAL, EVENT_LAST_GOAL, EVENT_LOST
from tests.kernels import from_python
from tests.kernels.conftest import acceleration_lane, build, no_jerk, put, set_body, town_engine
from tests.maps.conftest import connect, strip
from tests.reference import lane_graph

closest_approach = from_python(closest_approach)

RADIUS = 4.0


def routed(engine):
    """(start lane, start s, [(lane, s) of the goals]) of every agent."""
    a, b = engine.agents, engine.bodies
    for world, agent in np.ndindex(a.x.shape):
        lane = engine.lanes.segment_lane[a.segment[world, agent]]
        goals = [
            (int(b.goal_lane[world, agent, g]), float(b.goal_s[world, agent, g]))
            for g in range(b.num_goals[world, agent])
        ]
        yield int(lane), float(a.s[world, agent]), goals


@pytest.mark.parametrize("name", ["riverside", "hillcrest"])
def test_goals_lie_along_the_lane_graph(name):
    """Each 20 to 200 m after the one before; a way with changes costs more than its metres."""
    engine = town_engine(name, worlds=12, agents_per_world=24)
    way = lane_graph(engine.lanes, LANE_CHANGE_COST)
    lengths = []
    for lane, s, goals in routed(engine):
        assert 1 <= len(goals) <= 4
        for goal, goal_s in goals:
            if lane == goal and goal_s >= s:
                lengths.append(goal_s - s)
            else:
                after = engine.lanes.successor_first[lane : lane + 2]
                rest = [way[goal, n] for n in engine.lanes.successor[after[0] : after[1]]]
                direct = way[goal, lane] - s + goal_s if lane != goal else np.inf
                around = min(rest, default=np.inf) + engine.lanes.length[lane] - s + goal_s
                lengths.append(min(direct, around))
            lane, s = goal, goal_s
    lengths = np.array(lengths)
    assert (lengths < 0.5 * UNREACHABLE).all()
    assert lengths.max() <= 200.0 + 6 * LANE_CHANGE_COST
    # The drawn way is the shortest one but for rounds (roundabouts) and lane changes.
    assert ((lengths >= 19.9) & (lengths <= 200.1)).mean() > 0.9
    assert np.histogram(lengths, 4, (20, 200))[0].min() > 0.1 * len(lengths)


def test_further_goals_turn_by_sixty_degrees_at_most():
    engine = town_engine("harbour", worlds=8, agents_per_world=24)
    segment = engine.lanes.segment
    seen = set()
    for _, _, goals in routed(engine):
        seen.add(len(goals))
        headings = []
        for lane, s in goals:
            own = slice(*engine.lanes.segment_first[lane : lane + 2])
            at = np.searchsorted(segment[own, 9], s + 1e-3, "right") - 1
            headings.append(np.arctan2(segment[own][at, 3], segment[own][at, 2]))
        turn = np.abs((np.diff(headings) + np.pi) % (2 * np.pi) - np.pi)
        assert (np.rad2deg(turn) <= 61.0).all()
    assert seen == {1, 2, 3, 4}


def test_the_range_of_the_first_goal_is_a_setting():
    engine = town_engine(worlds=4, agents_per_world=16, first_goal=(50.0, 60.0), further_goals=0)
    assert (engine.bodies.num_goals == 1).all()
    distance = engine.agents.goal_distance
    assert ((distance > 49.0) & (distance < 61.0)).mean() > 0.75
    assert distance.max() < 60.0 + 6 * LANE_CHANGE_COST
    anywhere = town_engine(worlds=4, agents_per_world=16, first_goal=None, further_goals=0)
    assert anywhere.agents.goal_distance.max() > 400.0
    assert anywhere.agents.goal_distance.max() < 0.5 * UNREACHABLE


@pytest.mark.parametrize("taper", [False, True])
def test_goals_of_an_acceleration_lane_lie_beyond_its_end(taper):
    """One in nine of the starts lies on it, and all find goals, by a change of lanes."""
    engine = build(
        [acceleration_lane(taper)], worlds=600, agents_per_world=1, bodies={"car": 1.0},
        first_goal=(120.0, 180.0), further_goals=0,
    )  # fmt: skip
    entered = [goals for lane, _, goals in routed(engine) if lane == 8]
    assert len(entered) > 35
    assert {lane for ((lane, _),) in entered} <= {1, 2, 3}


@settings(deadline=None, max_examples=200)
@given(points=st.lists(st.integers(-1000, 1000), min_size=6, max_size=6))
def test_closest_approach_of_a_straight_move(points):
    x0, y0, x1, y1, x, y = (p / 100.0 for p in points)
    share = np.linspace(0.0, 1.0, 4001)
    distance = np.hypot(x0 + share * (x1 - x0) - x, y0 + share * (y1 - y0) - y).min()
    found = closest_approach(*(np.float32(v) for v in (x0, y0, x1, y1, x, y)))
    assert np.sqrt(found) == pytest.approx(distance, abs=1e-2)


def scene(last, **settings):
    """A car on a long straight lane and the goal 20 m ahead of its box centre, 3 m to the side."""
    engine = town_engine(agents_per_world=1, **settings)
    set_body(engine)
    lanes, bodies = engine.lanes, engine.bodies
    lane = int(np.argmax(lanes.length * (lanes.junction < 0) * (lanes.max_curvature < 0.001)))
    segment = int(lanes.segment_first[lane]) + 10
    put(engine, 0, segment)
    row = lanes.segment[segment + 20].astype(np.float64)
    bodies.weight[0, 0, WEIGHT.goal_radius] = RADIUS
    bodies.num_goals[0, 0] = 1 if last else 2
    bodies.goal_lane[0, 0, :2] = lane
    bodies.goal_s[0, 0, :2] = row[9], row[9] + 40.0
    for goal in range(2):
        bodies.goal_x[0, 0, goal] = row[0] + 40.0 * goal * row[2] - 3.0 * row[3]
        bodies.goal_y[0, 0, goal] = row[1] + 40.0 * goal * row[3] + 3.0 * row[2]
    engine.agents.goal[0, 0] = 0
    engine.agents.goal_distance[0, 0] = 20.0
    return engine, segment


def reach(engine, segment, metres_before, speed):
    """Events of one step that starts `metres_before` the goal."""
    put(engine, 0, segment + 20, -metres_before, speed=speed)
    engine.step(no_jerk(engine))
    return int(engine.output.event[0, 0])


def test_an_intermediate_goal_is_reached_within_its_radius_only():
    side = np.sqrt(RADIUS**2 - 3.0**2)
    for before, wanted in ((side + 0.3, False), (side - 0.3, True)):
        engine, segment = scene(last=False)
        event = reach(engine, segment, before, 0.0)
        assert bool(event & EVENT_GOAL) == wanted
        assert not event & EVENT_LAST_GOAL
        assert engine.agents.goal[0, 0] == wanted


@pytest.mark.parametrize("speed", [12.0, 18.0])
def test_an_intermediate_goal_is_not_missed_between_two_steps(speed):
    engine, segment = scene(last=False)
    engine.bodies.weight[0, 0, WEIGHT.goal_radius] = 3.2
    step = 0.3 * speed
    assert reach(engine, segment, step / 2, speed) & EVENT_GOAL
    # Both ends of that step lie farther away than the radius.
    assert np.hypot(step / 2, 3.0) > 3.2
    np.testing.assert_allclose(engine.agents.goal_distance[0, 0], 40.0 - step / 2, atol=0.1)


@pytest.mark.parametrize(("speed", "wanted"), [(2.9, True), (3.1, False), (-1.9, True)])
def test_the_last_goal_wants_a_slow_car(speed, wanted):
    engine, segment = scene(last=True)
    event = reach(engine, segment, 0.5, speed)
    assert bool(event & EVENT_GOAL) == wanted
    assert bool(event & EVENT_LAST_GOAL) == wanted
    assert bool(engine.output.terminated[0, 0]) == wanted


def test_a_goal_on_another_level_is_not_reached():
    engine, segment = scene(last=False)
    lanes = engine.lanes
    lanes.segment[segment + 19 : segment + 22, 8] += np.float32(5.0)
    try:
        put(engine, 0, segment + 18)
        engine.bodies.weight[0, 0, WEIGHT.goal_radius] = 8.0
        engine.step(no_jerk(engine))
        assert not engine.output.event[0, 0] & EVENT_GOAL
    finally:
        lanes.segment[segment + 19 : segment + 22, 8] -= np.float32(5.0)


def test_who_finds_no_way_on_is_lost_and_has_completed_nothing():
    """It overshot its goal on a road that ends; a route completed is another thing."""
    road = compile_map(RoadNetwork("road", [strip("only", [[0, 0, 0], [200, 0, 0]])]))
    engine = build(
        [road], agents_per_world=1, on_goal="new_route", first_goal=(20.0, 30.0), further_goals=0
    )
    set_body(engine)
    put(engine, 0, int(np.searchsorted(road.lanes.segment[:, 9], 190.0)) - 1, speed=2.0)
    lost = EVENT_GOAL | EVENT_LAST_GOAL | EVENT_LOST
    bodies = engine.bodies
    bodies.goal_lane[0, 0, 0], bodies.goal_s[0, 0, 0], bodies.num_goals[0, 0] = 0, 100.0, 1
    bodies.goal_x[0, 0, 0], bodies.goal_y[0, 0, 0] = 100.0, 0.0
    engine.agents.goal[0, 0] = 0
    engine.step(no_jerk(engine))
    assert int(engine.output.event[0, 0]) & lost == EVENT_LOST
    assert engine.output.terminated[0, 0]
    counts = dict(zip((m.name for m in METRICS), engine.rows.final_count[0], strict=True))
    assert (counts["lost"], counts["last_goal"], counts["goals"]) == (1, 0, 0)


@settings(max_examples=40, deadline=None)
@given(
    place=st.floats(5.0, 195.0), goal=st.floats(5.0, 200.0 - float(DEAD_END)),
    speed=st.floats(0.0, 2.0), mode=st.sampled_from(["new_route", "terminate"]),
)  # fmt: skip
def test_nobody_is_lost_and_at_its_goal_at_once(place, goal, speed, mode):
    """Wherever on a road that ends: who is lost has reached nothing, and has its goal behind it.

    Goals lie no closer to its end than they are placed.
    """
    road = compile_map(RoadNetwork("road", [strip("only", [[0, 0, 0], [200, 0, 0]])]))
    engine = build(
        [road], agents_per_world=1, on_goal=mode, first_goal=(20.0, 30.0), further_goals=0
    )
    set_body(engine)
    segment = int(np.searchsorted(road.lanes.segment[:, 9], place)) - 1
    put(engine, 0, segment, place - float(road.lanes.segment[segment, 9]), speed=speed)
    bodies = engine.bodies
    bodies.goal_lane[0, 0, 0], bodies.goal_s[0, 0, 0], bodies.num_goals[0, 0] = 0, goal, 1
    bodies.goal_x[0, 0, 0], bodies.goal_y[0, 0, 0] = goal, 0.0
    engine.agents.goal[0, 0] = 0
    engine.step(no_jerk(engine))
    event = int(engine.output.event[0, 0])
    if event & EVENT_LOST:
        assert not event & (EVENT_GOAL | EVENT_LAST_GOAL)
        assert engine.output.terminated[0, 0]
        counts = dict(zip((m.name for m in METRICS), engine.rows.final_count[0], strict=True))
        assert (counts["lost"], counts["last_goal"], counts["goals"]) == (1, 0, 0)
        assert goal < place
    if mode == "new_route" and goal < place - 15.0 and place > 190.0:
        assert event & EVENT_LOST


@settings(max_examples=20, deadline=None)
@given(stubs=st.lists(st.floats(0.5, 3.0), max_size=2), left=st.floats(0.2, 1.0))
def test_who_stands_before_a_bend_that_its_body_cannot_take_is_lost(stubs, left):
    """Also where short lanes lie between it and the bend; bodies that can take it go on."""
    angle = np.linspace(0.0, np.pi / 2, 46)
    ends = 60.0 + np.concatenate([[0.0], np.cumsum(stubs)])
    far = ends[-1]
    bend = np.stack([far + 5 * np.sin(angle), 5 - 5 * np.cos(angle), 0 * angle], axis=1)
    between = [[[a, 0, 0], [b, 0, 0]] for a, b in pairwise(ends)]
    ways = [[[0, 0, 0], [60, 0, 0]], *between, bend, [[far + 5, 5, 0], [far + 5, 105, 0]]]
    lanes = [strip(str(n), points) for n, points in enumerate(ways)]
    connect(lanes, *pairwise(range(len(lanes))))
    engine = build(
        [compile_map(RoadNetwork("stub", lanes))], agents_per_world=1, on_goal="new_route"
    )
    set_body(engine)
    bodies = engine.bodies
    for curvature, lost in ((0.1, EVENT_LOST), (0.3, 0)):
        bodies.max_curvature[0, 0], bodies.num_goals[0, 0] = curvature, 1
        bodies.goal_lane[0, 0, 0], bodies.goal_s[0, 0, 0] = len(lanes) - 1, 50.0
        engine.agents.goal[0, 0] = 0
        s = far - 2.25 - left
        lane = int(np.searchsorted(ends, s, side="right"))
        first, after = engine.lanes.segment_first[lane : lane + 2]
        part = (s - (ends[lane - 1] if lane else 0.0)) / engine.lanes.length[lane]
        segment = first + int(part * (after - first))
        put(engine, 0, segment, s - float(engine.lanes.segment[segment, SEG_X]))
        engine.step(no_jerk(engine))
        assert int(engine.output.event[0, 0]) & EVENT_LOST == lost


def test_a_new_route_goes_on_where_the_old_one_ended():
    engine, segment = scene(last=True, on_goal="new_route")
    event = reach(engine, segment, 0.5, 1.0)
    assert event & EVENT_GOAL
    assert not event & EVENT_LAST_GOAL
    assert not engine.output.terminated[0, 0]
    assert engine.agents.goal[0, 0] == 0
    assert 15.0 < engine.agents.goal_distance[0, 0] < 200.0 + 6 * LANE_CHANGE_COST
    assert engine.agents.age[0, 0] > 0


def test_a_new_route_begins_where_the_agent_is():
    engine, segment = scene(last=True, on_goal="new_route", first_goal=(30.0, 33.0))
    assert reach(engine, segment, 0.5, 1.0) & EVENT_GOAL
    changes = (engine.agents.goal_distance[0, 0] - 30.0) // LANE_CHANGE_COST
    assert 0 <= changes <= 2
    left = engine.agents.goal_distance[0, 0] - changes * LANE_CHANGE_COST
    assert 29.9 <= left <= 33.1


def test_progress_is_the_way_driven_along_the_route():
    engine, segment = scene(last=False, reverse="allowed")
    put(engine, 0, segment, speed=10.0)
    engine.agents.goal_distance[0, 0] = 20.0
    engine.step(no_jerk(engine))
    assert engine.motion.progress[0, 0] == pytest.approx(3.0, abs=0.02)
    put(engine, 0, segment, speed=-2.0)
    engine.agents.goal_distance[0, 0] = 20.0
    engine.step(no_jerk(engine))
    assert engine.motion.progress[0, 0] == pytest.approx(-0.6, abs=0.02)


@pytest.mark.parametrize(("before", "progress"), [(200.0, 15.0), (2.0, -15.0), (25.0, 8.0)])
def test_progress_of_a_step_is_at_most_fifteen_metres(before, progress):
    """A lane change or a missed turn makes the way a lot shorter or longer at once."""
    engine, segment = scene(last=False)
    put(engine, 0, segment, speed=10.0)
    engine.agents.goal_distance[0, 0] = before
    engine.step(no_jerk(engine))
    assert engine.motion.progress[0, 0] == pytest.approx(progress, abs=0.02)
