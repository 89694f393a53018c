"""Right of way: who goes first, who keeps a junction clear, and who is towed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from selfdrive_env.envs import make_drive
from selfdrive_env.kernels.drivers import precedence
from selfdrive_env.kernels.drivers.path_info import (
    ARRIVAL,
    BLOCKER,
    ENTRY,
    HOLD,
    PATH_INFO,
    RANK,
    THROUGH,
)
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import (
    Junction,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.state.world import (
    EVENT_COLLISION,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_TOW,
    EXTERNAL,
    GREEN,
    HOLD_BODY,
    HOLD_NOTHING,
    HOLD_RIGHT_OF_WAY,
    IDM,
    PRESENT,
    RED,
    STILL,
)
from tests.kernels import from_python, plain
from tests.kernels.conftest import build, no_jerk, put, set_body, town_engine
from tests.maps.conftest import connect, strip

goes_first = from_python(precedence.goes_first)
first_of_chain = from_python(precedence.first_of_chain)
is_in_ring = from_python(precedence.is_in_ring)
waits_behind = plain(precedence.waits_behind)
tow_late = plain(precedence.tow_late)

STILL_SPEED, TOWED_AFTER = 0.05, 90.0  # [m/s], [s]


def crossing(gap: float = 60.0) -> RoadNetwork:
    """Two one-way roads that cross in a junction 12 m wide; lanes 0 to 2 eastward, 3 to 5
    northward; a further junction `gap` metres behind it on the eastward road.
    """
    far = 6.0 + gap
    lanes = [
        strip("from west", [[-150, 0, 0], [-6, 0, 0]]),
        strip("through east", [[-6, 0, 0], [6, 0, 0]], junction=0),
        strip("to east", [[6, 0, 0], [far, 0, 0]]),
        strip("from south", [[0, -150, 0], [0, -6, 0]]),
        strip("through north", [[0, -6, 0], [0, 6, 0]], junction=0),
        strip("to north", [[0, 6, 0], [0, 200, 0]]),
        strip("through again", [[far, 0, 0], [far + 12, 0, 0]], junction=1),
        strip("on", [[far + 12, 0, 0], [far + 200, 0, 0]]),
    ]
    connect(lanes, (0, 1), (1, 2), (3, 4), (4, 5), (2, 6), (6, 7))
    junctions = [Junction("cross", lanes=[1, 4]), Junction("next", lanes=[6])]
    return RoadNetwork("crossing", lanes, junctions)


def crossing_engine(drivers, gap=60.0, **settings):
    engine = build([compile_map(crossing(gap))], drivers=drivers, **settings)
    set_body(engine)
    engine.bodies.max_curvature[0] = 0.15
    engine.bodies.weight[0] = 0.0
    for agent in range(len(drivers)):
        engine.bodies.num_goals[0, agent] = 1
        engine.bodies.goal_lane[0, agent, 0], engine.bodies.goal_s[0, agent, 0] = 7, 150.0
        engine.agents.goal[0, agent] = 0
    return engine


def at(engine, agent, lane, s, speed=0.0, goal=7):
    """Puts an agent on a lane with its middle at s, on its way to a lane."""
    segment = int(engine.lanes.segment_first[lane])
    put(engine, agent, segment + int(s), s - int(s), speed=speed)
    engine.bodies.goal_lane[0, agent, 0] = goal
    engine.agents.goal_distance[0, agent] = 1000.0


def fronts(engine, agent):
    """East and north of the front bumper."""
    a, b = engine.agents, engine.bodies
    ahead = 0.5 * (b.wheelbase[0, agent] + b.length[0, agent])
    return (
        float(a.x[0, agent] + ahead * a.cos[0, agent]),
        float(a.y[0, agent] + ahead * a.sin[0, agent]),
    )


@pytest.mark.parametrize("nose", np.linspace(-1.0, 8.0, 13))
def test_who_stands_at_the_edge_lets_one_pass_that_cannot_stop(nose):
    """The front of the one that stands is `nose` before the junction, the other comes at 12.8 m/s
    from 13 m away.
    """
    engine = crossing_engine([IDM, IDM])
    at(engine, 0, 3, 144.0 - 2.25 - max(nose, 0.0), goal=5)
    if nose < 0.0:
        engine.agents.y[0, 0] -= nose
    at(engine, 1, 0, 144.0 - 2.25 - 13.0, speed=12.8)
    engine.lanes.speed_limit[:] = 13.0
    passed = False
    for _ in range(80):
        engine.step(no_jerk(engine))
        assert not (engine.output.event[0] & EVENT_COLLISION).any()
        passed = passed or fronts(engine, 1)[0] > 8.0
        if not passed and nose >= 1.0:
            assert fronts(engine, 0)[1] < -2.5
    assert passed
    assert fronts(engine, 0)[1] > 8.0


@pytest.mark.parametrize("place", [0.0, 2.5, 5.0])
def test_who_cannot_clear_a_junction_does_not_enter_it(place):
    """A body stands with its rear `place` metres behind the junction: too near for another."""
    engine = crossing_engine([IDM, STILL, IDM])
    at(engine, 0, 0, 100.0, speed=8.0)
    at(engine, 1, 2, place + 2.25)
    at(engine, 2, 3, 60.0, speed=8.0, goal=5)
    for _ in range(150):
        engine.step(no_jerk(engine))
        assert not (engine.output.event[0] & EVENT_COLLISION).any()
        assert fronts(engine, 0)[0] < -6.0
    assert fronts(engine, 0)[0] > -12.0
    assert engine.agents.y[0, 2] > 20.0


def test_who_has_room_behind_a_junction_enters_it():
    engine = crossing_engine([IDM, STILL])
    at(engine, 0, 0, 100.0, speed=8.0)
    at(engine, 1, 2, 9.0 + 2.25)
    for _ in range(100):
        engine.step(no_jerk(engine))
    assert 9.0 < fronts(engine, 0)[0] < 15.0
    assert not (engine.output.event[0] & EVENT_COLLISION).any()


def test_a_lane_too_short_to_stand_on_belongs_to_the_junction():
    """The next junction is 4 m behind this one and blocked: the car waits before both."""
    engine = crossing_engine([IDM, STILL], gap=4.0)
    at(engine, 0, 0, 100.0, speed=8.0)
    at(engine, 1, 7, 3.0)
    for _ in range(100):
        engine.step(no_jerk(engine))
    assert -12.0 < fronts(engine, 0)[0] < -6.0


def test_who_is_let_in_keeps_its_turn():
    """Two arrive together: whoever goes first is through before the other enters."""
    rng = np.random.default_rng(4)
    engine = crossing_engine([IDM, IDM])
    for _ in range(40):
        away = rng.uniform(20.0, 60.0, 2)
        at(engine, 0, 0, 144.0 - away[0], speed=rng.uniform(0.0, 13.0))
        at(engine, 1, 3, 144.0 - away[1], speed=rng.uniform(0.0, 13.0), goal=5)
        engine.lanes.speed_limit[:] = 13.0
        first = -1
        for _ in range(60):
            engine.step(no_jerk(engine))
            assert not (engine.output.event[0] & EVENT_COLLISION).any()
            let_in = engine.agents.let_in_until[0] > 0.0
            if first < 0 and let_in.any():
                assert let_in.sum() == 1
                first = int(np.argmax(let_in))
        assert fronts(engine, 0)[0] > 6.0
        assert fronts(engine, 1)[1] > 6.0


def test_the_first_of_a_chain_is_its_head_or_the_lowest_of_a_ring():
    info = np.full((6, PATH_INFO), -1.0, np.float32)
    info[:, BLOCKER] = [1, 2, -1, 5, 3, 4]
    assert [first_of_chain(info, agent) for agent in range(6)] == [2, 2, 2, 3, 3, 3]
    assert [bool(is_in_ring(info, agent)) for agent in range(6)] == [False] * 3 + [True] * 3
    info[2, BLOCKER] = 4
    assert first_of_chain(info, 0) == 3


def test_who_stands_behind_a_body_that_waits_for_one_lets_it_go_first():
    """Of 0 to 4: 0 waits for nobody, 1 for it, 2 and 3 stand behind the one before; 4 drives."""
    info = np.full((5, PATH_INFO), -1.0, np.float32)
    info[:, BLOCKER] = [-1, 0, 1, 2, 3]
    info[:, HOLD] = [HOLD_NOTHING, HOLD_RIGHT_OF_WAY, HOLD_BODY, HOLD_BODY, HOLD_BODY]
    agents = SimpleNamespace(speed=np.float32([[0.0, 0.0, 0.0, 0.2, 0.8]]))
    found = [[waits_behind(info, agents, 0, one, first) for first in range(5)] for one in range(5)]
    assert found[0] == found[1] == found[4] == [False] * 5
    assert found[2] == [True, True, False, False, False]
    assert found[3] == [True, True, True, False, False]
    info[0, BLOCKER] = 3  # a ring: whoever waits only for the right of way can end it
    assert waits_behind(info, agents, 0, 3, 0)
    assert not waits_behind(info, agents, 0, 1, 0)


def test_nobody_is_towed_in_a_roundabout_of_two_lanes():
    """One that leaves across the outer lane gave way to a car there that stood behind another,
    which gave way to it: all three stood until it was towed.
    """
    env = make_drive(
        1, map="roundabouts:7", agents_per_world=26, driver="idm", bodies="typed",
        on_goal="new_route", on_collision="ignore", on_offroad="ignore", horizon=1.0e5, dt=0.1,
        lights_off=0.0, lights_green=0.0, light_removal=0.0, layout="lean", copy=False,
    )  # fmt: skip
    env.reset(seed=0)
    for _ in range(6000):
        env.step(np.zeros(1, np.int64))
        assert not (env.engine.output.event & (EVENT_TOW | EVENT_COLLISION)).any()
    env.close()


def test_the_order_is_total():
    rng = np.random.default_rng(0)
    info = np.zeros((40, PATH_INFO), np.float32)
    info[:, RANK] = rng.integers(0, 3, 40)
    info[:, ARRIVAL] = rng.integers(0, 5, 40)
    before = np.array([[goes_first(info, a, b) for b in range(40)] for a in range(40)])
    off = ~np.eye(40, dtype=bool)
    assert (before ^ before.T)[off].all()
    assert sorted(before.sum(axis=1)) == list(range(40))


def test_who_stands_behind_a_body_that_never_moves_is_towed_after_ninety_seconds():
    engine = crossing_engine([IDM, STILL, IDM])
    at(engine, 0, 0, 100.0, speed=5.0)
    at(engine, 1, 0, 130.0)
    at(engine, 2, 0, 60.0, speed=5.0)
    towed = {}
    stood = 0.0
    for step in range(500):
        engine.step(no_jerk(engine))
        stood += 0.3 if engine.agents.speed[0, 0] < STILL_SPEED else 0.0
        for agent in np.flatnonzero(engine.output.event[0] & EVENT_TOW):
            towed.setdefault(int(agent), step)
            assert engine.output.truncated[0, agent]
            assert not engine.output.terminated[0, agent]
        if towed:
            break
    assert list(towed) == [0]
    assert TOWED_AFTER < stood < TOWED_AFTER + 10.0


@pytest.mark.parametrize("longest", [0, 1, 2])
def test_of_those_that_wait_for_one_another_the_one_that_stands_longest_is_towed(longest):
    """Agents 0 to 2 are a ring, 3 waits for it: its turn comes when the ring is open."""
    info = np.full((4, PATH_INFO), -1.0, np.float32)
    info[:, BLOCKER] = [1, 2, 0, 0]
    standing = np.full((1, 4), 60.0)
    standing[0, [longest, 3]] = 91.0
    data = SimpleNamespace(
        agents=SimpleNamespace(standing_time=standing, status=np.full((1, 4), PRESENT)),
        bodies=SimpleNamespace(driver=np.full((1, 4), IDM)),
        output=SimpleNamespace(event=np.zeros((1, 4), int)),
    )
    for agent in range(4):
        tow_late(data, info, 0, agent, int(first_of_chain(info, agent)))
    assert list(np.flatnonzero(data.output.event[0])) == [longest]


def test_nobody_is_towed_at_a_red_light_nor_who_does_not_drive_by_script():
    engine = town_engine("harbour", drivers=[IDM, EXTERNAL, STILL], agents_per_world=3)
    set_body(engine)
    signs, lanes = engine.signs, engine.lanes
    lane_of = np.repeat(np.arange(len(lanes.length)), np.diff(signs.lane_line_first))
    signal = signs.line_group[signs.lane_line] >= 0
    link = int(np.flatnonzero(signal & (signs.lane_line_s > 80.0))[0])
    lane, s = int(lane_of[link]), float(signs.lane_line_s[link])
    put(engine, 0, int(lanes.segment_first[lane]) + int(s) - 40, speed=8.0)
    put(engine, 1, int(lanes.segment_first[lane]) + int(s) - 60)
    engine.bodies.goal_lane[0, 0, 0] = int(lanes.successor[lanes.successor_first[lane]])
    engine.bodies.goal_s[0, 0, 0], engine.bodies.num_goals[0, 0] = 5.0, 1
    for _ in range(800):
        engine.lights.remaining[0] = 1000.0
        engine.lights.line_colour[0] = RED
        engine.step(no_jerk(engine))
        assert not (engine.output.event[0] & (EVENT_TOW | EVENT_RED_LIGHT)).any()
    assert engine.agents.speed[0, 0] < STILL_SPEED


def fork_before_a_crossing() -> RoadNetwork:
    """Lanes 0 to 3 eastward, 4 to 6 northward; lanes 1 and 7 fork in a junction of their own.

    Lanes 1 and 4 end at a light 1 m before the crossing.
    """
    x = np.linspace(0.0, 40.0, 41)
    branch = np.stack([x - 46.0, -2.0 * (1.0 - np.cos(np.pi * x / 40.0)), 0.0 * x], axis=1)
    lanes = [
        strip("from west", [[-150, 0, 0], [-46, 0, 0]]),
        strip("ahead", [[-46, 0, 0], [-6, 0, 0]], junction=1),
        strip("through east", [[-6, 0, 0], [6, 0, 0]], junction=0),
        strip("to east", [[6, 0, 0], [200, 0, 0]]),
        strip("from south", [[0, -150, 0], [0, -6, 0]]),
        strip("through north", [[0, -6, 0], [0, 6, 0]], junction=0),
        strip("to north", [[0, 6, 0], [0, 200, 0]]),
        strip("branch", branch, junction=1),
    ]
    connect(lanes, (0, 1), (0, 7), (1, 2), (2, 3), (4, 5), (5, 6))
    signals, lines = [], []
    for number, (lane, s, heading) in enumerate(((1, 39.0, 0.0), (4, 143.0, 0.5 * np.pi))):
        across = np.array([-np.sin(heading), np.cos(heading), 0.0])
        middle = np.array([-7.0, 0.0, 0.0]) if lane == 1 else np.array([0.0, -7.0, 0.0])
        ends = middle + 2.0 * across, middle - 2.0 * across
        signals.append(Signal(str(lane), "traffic_light", ends[1], heading, group=number))
        lines.append(StopLine(*ends, *ends, heading, [(lane, s)], signal=number))
    groups = [SignalGroup("0"), SignalGroup("1")]
    junctions = [Junction("cross", lanes=[2, 5], signal_groups=[0, 1]), Junction("fork", lanes=[1])]
    junctions[1].lanes.append(7)
    return RoadNetwork("fork", lanes, junctions, signals, groups, lines)


def test_who_waits_at_a_line_behind_a_fork_is_not_in_the_crossing():
    """At green it has no priority over one who has waited for longer at a line of the crossing."""
    engine = build([compile_map(fork_before_a_crossing())], drivers=[IDM] * 2)
    set_body(engine)
    engine.bodies.max_curvature[0], engine.bodies.weight[0] = 0.15, 0.0
    engine.bodies.num_goals[0] = 1
    engine.bodies.goal_s[0, :, 0] = 150.0
    engine.agents.goal[0] = 0
    at(engine, 0, 1, 25.0, speed=5.0, goal=3)
    at(engine, 1, 4, 129.0, speed=5.0, goal=6)
    for _ in range(40):
        engine.lights.remaining[0], engine.lights.line_colour[0] = 1000.0, RED
        engine.step(no_jerk(engine))
    info = engine.scratch.path_info[0, 0]
    assert (engine.agents.speed[0] < STILL_SPEED).all()
    assert info[THROUGH] == 2
    assert info[ENTRY] == pytest.approx(-6.0 + 2.25 - fronts(engine, 0)[0], abs=0.01)
    assert info[RANK] > 0.0
    engine.agents.standing_time[0, 1] = 20.0
    for _ in range(40):
        engine.lights.remaining[0], engine.lights.line_colour[0] = 1000.0, GREEN
        engine.step(no_jerk(engine))
        if fronts(engine, 1)[1] < 4.0:
            assert fronts(engine, 0)[0] < -4.0
        assert not (engine.output.event[0] & EVENT_COLLISION).any()
    assert fronts(engine, 1)[1] > 6.0
    assert fronts(engine, 0)[0] > 0.0


def test_a_green_in_which_one_only_gave_way_counts_for_long():
    """Once each, as 12 s of standing, up to 21 s; the red itself does not count."""
    engine = build([compile_map(fork_before_a_crossing())], drivers=[IDM])
    set_body(engine)
    engine.bodies.num_goals[0], engine.bodies.goal_s[0, :, 0] = 1, 150.0
    engine.agents.goal[0] = 0
    at(engine, 0, 4, 129.0, speed=5.0, goal=6)
    stood = []
    for step in range(80):
        engine.lights.remaining[0], engine.lights.line_colour[0] = 1000.0, RED
        if step in (50, 60, 70):
            engine.agents.hold[0, 0] = HOLD_RIGHT_OF_WAY
        engine.step(no_jerk(engine))
        stood.append(float(engine.agents.standing_time[0, 0]))
    assert stood[49] == pytest.approx(0.0, abs=0.5)
    assert stood[50] == stood[59] == pytest.approx(stood[49] + 12.0)
    assert stood[60] == stood[69] == stood[79] == pytest.approx(21.0)


@pytest.mark.parametrize(("name", "agents"), [
    ("harbour", 100), pytest.param("riverside", 100, marks=pytest.mark.full)
])  # fmt: skip
def test_traffic_does_not_lock_up(name, agents):
    """Ten minutes: nobody has stood for 90 s for no red light, hardly anybody was towed."""
    engine = town_engine(
        name, worlds=3, drivers=[IDM] * agents, on_goal="new_route", bodies="typed", seed=3
    )
    events = np.zeros(3, np.int64)
    kinds = (EVENT_COLLISION, EVENT_TOW, EVENT_OFFROAD | EVENT_RED_LIGHT)
    for _ in range(2000):
        engine.step(no_jerk(engine))
        events += [np.count_nonzero(engine.output.event & kind) for kind in kinds]
    hours = 3 * agents / 6.0
    assert (engine.agents.standing_time > TOWED_AFTER).mean() == 0.0
    assert (events[:2] <= 0.05 * hours + 2).all()
    assert events[2] == 0
    assert engine.motion.travel.mean() / 0.3 > 2.5


def test_no_variant_of_a_town_locks_up():
    """Flips, scales and shears of all towns: the kind, not the one place."""
    env = make_drive(
        12, map=["riverside", "hillcrest", "harbour"], map_variants=4, agents_per_world=60,
        driver="idm", bodies="typed", on_goal="new_route", on_collision="ignore",
        on_offroad="ignore", horizon=1.0e5, stagger=False, layout="lean", copy=False,
    )  # fmt: skip
    env.reset(seed=11)
    agents, collisions, tows = env.engine.agents, 0, 0
    for _ in range(1500):
        env.step(np.zeros(12, np.int64))
        collisions += np.count_nonzero(env.engine.output.event & EVENT_COLLISION)
        tows += np.count_nonzero(env.engine.output.event & EVENT_TOW)
    env.close()
    hours = 12 * 60 / 8.0
    assert collisions <= 0.05 * hours + 4
    assert tows <= 0.05 * hours + 2
    assert (agents.standing_time > TOWED_AFTER).mean() == 0.0
