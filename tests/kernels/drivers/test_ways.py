"""Ways that fit a body: lanes that open and close, bends, starts, stop signs behind short lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels import walks
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import Junction, Lane, RoadNetwork, StopLine
from selfdrive_env.state.world import (
    ABSENT,
    CONSTANT,
    EVENT_COLLISION,
    EVENT_OFFROAD,
    EVENT_STOP_SIGN,
    EVENT_TOW,
    EXTERNAL,
    HOLD_LANE_END,
    IDM,
    STILL,
)
from tests.kernels import from_python
from tests.kernels.conftest import build, no_jerk, put, segment_of, set_body
from tests.maps.conftest import connect, strip

MARGIN = 0.4  # [m]
turn_out_room = from_python(walks.turn_out_room)


def tapering(name, y, widths, x):
    """An eastward lane whose right edge is straight at y and whose width changes along x."""
    zero = np.zeros(len(x))
    right = np.stack([x, zero + y, zero], axis=1)
    left = right + np.stack([zero, widths, zero], axis=1)
    return Lane(name, type="driving", centre=(left + right) / 2, left=left, right=right,
        speed_limit=14.0)  # fmt: skip


def two_lanes(begin: float, taper: float, opens: bool) -> RoadNetwork:
    """A ring road of two lanes, 400 m a side, whose left lane opens or closes over `taper` metres.

    The left lane is 0 to 3.5 m wide; it lies beside the right one between two that go on alone.
    """
    x = np.linspace(0.0, 400.0, 401)
    share = np.clip((x - begin) / taper, 0.0, 1.0)
    width = 3.5 * (share if opens else 1.0 - share)
    lanes = [
        strip("right", np.stack([x, 0 * x, 0 * x], axis=1), 3.5, speed_limit=14.0),
        tapering("left", 1.75, width, x),
        strip("on", [[400, 0, 0], [600, 0, 0]], 3.5, speed_limit=14.0),
        strip("on left", [[400, 3.5, 0], [600, 3.5, 0]], 3.5, speed_limit=14.0),
        strip("before", [[-200, 0, 0], [0, 0, 0]], 3.5, speed_limit=14.0),
    ]
    lanes[0].left_neighbour, lanes[1].right_neighbour = 1, 0
    connect(lanes, (0, 2), (4, 0), *([(1, 3)] if opens else []))
    return RoadNetwork("taper", lanes)


def bottleneck(width: float, at: float) -> RoadNetwork:
    """A road whose middle lane is `width` wide at one place; another way leads aside before it."""
    x = np.linspace(150.0, 210.0, 61)
    narrowed = 3.5 - (3.5 - width) * np.clip(1.0 - np.abs(x - at) / 10.0, 0.0, 1.0)
    lanes = [
        strip("from", [[0, 0, 0], [150, 0, 0]], 3.5),
        tapering("narrow", -1.75, narrowed, x),
        strip("on", [[210, 0, 0], [500, 0, 0]], 3.5),
        strip("aside", [[150, 0, 0], [500, -60, 0]], 3.5),
    ]
    connect(lanes, (0, 1), (1, 2), (0, 3))
    return RoadNetwork("bottleneck", lanes)


@settings(max_examples=12)
@given(width=st.floats(0.0, 3.4), at=st.floats(162.0, 198.0), anywhere=st.booleans())
def test_routes_lead_past_no_place_that_is_too_narrow_for_the_body(width, at, anywhere):
    """Of learners, too: whoever starts before it has no goal beyond it unless it fits through."""
    engine = build(
        [compile_map(bottleneck(width, at))],
        worlds=80, drivers=[EXTERNAL] * 4, bodies="typed",
        **({"first_goal": None} if anywhere else {}),
    )  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    before = (agents.status != ABSENT) & (engine.lanes.segment_lane[agents.segment] == 0)
    goals = np.arange(bodies.goal_lane.shape[2]) < bodies.num_goals[..., None]
    beyond = (goals & (bodies.goal_lane == 2)).any(-1)
    fits = bodies.width + MARGIN <= width + 1e-3
    assert before.sum() > 60
    assert not (before & beyond & ~fits).any()
    if (before & fits).sum() > 30:
        assert (before & beyond & fits).any()


def width_at(engine, segment):
    return engine.lanes.segment[segment, 5] + engine.lanes.segment[segment, 6]


@settings(max_examples=12, deadline=None)
@given(
    begin=st.floats(20.0, 250.0),
    taper=st.floats(10.0, 140.0),
    opens=st.booleans(),
    anywhere=st.booleans(),
)
def test_starts_and_goals_lie_where_the_lane_is_wide_enough(begin, taper, opens, anywhere):
    """Of learners, too."""
    engine = build(
        [compile_map(two_lanes(begin, taper, opens))],
        worlds=60, drivers=[EXTERNAL] * 4, bodies="typed",
        **({"first_goal": None} if anywhere else {}),
    )  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    for world, agent in np.argwhere(agents.status != ABSENT):
        needed = bodies.width[world, agent] + MARGIN - 1e-3
        assert width_at(engine, agents.segment[world, agent]) >= needed
        for goal in range(bodies.num_goals[world, agent]):
            lane = int(bodies.goal_lane[world, agent, goal])
            assert (
                width_at(engine, segment_of(engine, lane, bodies.goal_s[world, agent, goal]))
                >= needed
            )
    assert (agents.status != ABSENT).mean() > 0.6


@settings(max_examples=6, deadline=None)
@given(begin=st.floats(20.0, 250.0), taper=st.floats(10.0, 140.0))
def test_nobody_stands_beside_an_opening_lane(begin, taper):
    """All are on their way to the lane that opens: they stay on theirs until it is wide enough."""
    engine = build([compile_map(two_lanes(begin, taper, True))], worlds=8, drivers=[IDM] * 3,
        bodies={"car": 1.0})  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    bodies.num_goals[:] = 1
    bodies.goal_lane[..., 0], bodies.goal_s[..., 0] = 3, 190.0
    bodies.goal_x[..., 0], bodies.goal_y[..., 0] = 590.0, 3.5
    agents.goal[:] = 0
    reached = np.zeros(agents.x.shape, bool)
    bad = EVENT_COLLISION | EVENT_OFFROAD | EVENT_TOW
    arrived = 0
    for _ in range(400):
        lane = engine.lanes.segment_lane[agents.segment]
        engine.step(no_jerk(engine))
        assert not (engine.output.event & bad).any()
        reached |= lane == 3  # at its end they stand for good
        assert (agents.standing_time < 20.0)[~reached].all()
        arrived = max(arrived, int(reached.sum()))
    assert arrived > 0


@settings(max_examples=8, deadline=None)
@given(
    begin=st.floats(150.0, 250.0),
    taper=st.floats(10.0, 140.0),
    nearer=st.floats(-3.0, 2.5),
    speed=st.sampled_from([0.0, 1.0, 2.0]),
    kind=st.sampled_from(["car", "van", "truck", "bus"]),
)
def test_who_has_waited_at_the_end_of_a_lane_leaves_it(begin, taper, nearer, speed, kind):
    """It stands where drivers stop, or up to 2.5 m nearer to where the lane gets too narrow."""
    engine = build([compile_map(two_lanes(begin, taper, False))], drivers=[IDM],
        bodies={kind: 1.0})  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    length, needed = float(bodies.length[0, 0]), float(bodies.width[0, 0]) + MARGIN
    narrow = begin + taper * (1.0 - needed / 3.5)
    stop = narrow - 0.5 * length - float(turn_out_room(np.float32(length))) - 0.5
    put(engine, 0, segment_of(engine, 1, stop + nearer), speed=speed if nearer < 0.0 else 0.0)
    bodies.num_goals[0, 0] = 1
    bodies.goal_lane[0, 0, 0], bodies.goal_s[0, 0, 0] = 2, 190.0
    bodies.goal_x[0, 0, 0], bodies.goal_y[0, 0, 0] = 590.0, 0.0
    agents.goal[0, 0] = 0
    left = 0
    for _ in range(60):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & EVENT_OFFROAD).any()
        left += int(engine.lanes.segment_lane[agents.segment[0, 0]] != 1)
    assert left > 20


def closing_lane(taper, kinds, row, apart, shift, speed):
    """Drivers that stand before the end of the left lane, and a row that passes on the right one.

    The first car of the row is `shift` metres behind the front of the first that waits. Returns the
    engine and the slots of the row.
    """
    waiting = len(kinds)
    engine = build([compile_map(two_lanes(330.0, taper, False))], drivers=[IDM] * (waiting + row),
        bodies={"car": 1.0})  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    bodies.num_goals[0] = 1
    bodies.goal_lane[0, :, 0], bodies.goal_s[0, :, 0] = 2, 190.0
    bodies.goal_x[0, :, 0], bodies.goal_y[0, :, 0] = 590.0, 0.0
    agents.goal[0] = 0
    agents.status[0] = 1
    length, width = kinds[0]
    place = 330.0 + taper * (1.0 - (width + MARGIN) / 3.5)
    place -= float(turn_out_room(np.float32(length))) + 0.5
    front = place
    for agent, (length, width) in enumerate(kinds):
        bodies.length[0, agent], bodies.width[0, agent] = length, width
        bodies.wheelbase[0, agent] = 0.6 * length
        put(engine, agent, segment_of(engine, 1, place - 0.5 * length))
        place -= length + 2.5
    slots = np.arange(waiting, waiting + row)
    bodies.length[0, slots], bodies.wheelbase[0, slots], bodies.width[0, slots] = 4.5, 2.7, 1.8
    for number, agent in enumerate(slots):
        at = front - shift - 2.25 - apart * number
        put(engine, agent, segment_of(engine, 0, max(at, 0.0)), speed=speed)
        agents.status[0, agent] = 1 if at > 0.0 else ABSENT
    return engine, slots


BODIES = st.sampled_from([(2.2, 0.8), (4.5, 1.8), (6.0, 2.0), (9.0, 2.5), (12.0, 2.55)])


@settings(max_examples=20, deadline=None)
@given(
    taper=st.floats(10.0, 60.0),
    kinds=st.lists(BODIES, min_size=1, max_size=2),
    shift=st.floats(-12.0, 30.0),
    pace=st.sampled_from([(6.8, 9.0, 0.0), (10.0, 16.0, 4.0), (14.0, 22.0, 6.0)]),
    share=st.floats(0.0, 1.0),
)
def test_who_waits_at_the_end_of_a_lane_is_let_in(taper, kinds, shift, pace, share):
    """A queue without a gap sets off or passes on the lane beside: it closes up like a zip."""
    closest, widest, speed = pace
    engine, row = closing_lane(taper, kinds, 24, closest + share * (widest - closest), shift, speed)
    agents, lanes = engine.agents, engine.lanes
    engine.lanes.speed_limit[:] = 6.0
    waiting = np.arange(len(kinds))
    for _ in range(160):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & (EVENT_COLLISION | EVENT_OFFROAD)).any()
        begun = np.abs(agents.d[0, waiting]).max() > 0.5
        assert begun or (agents.acceleration[0, row] > -3.5).all()
        behind = (agents.status[0, row] != ABSENT) & (agents.x[0, row] < agents.x[0, waiting].max())
        if (lanes.segment_lane[agents.segment[0, waiting]] != 1).all():
            break
        assert behind.sum() > 2
    else:
        raise AssertionError("still waiting")


@settings(max_examples=8, deadline=None)
@given(speed=st.floats(8.0, 13.0), shift=st.floats(20.0, 100.0), kind=BODIES)
def test_who_drives_by_fast_and_alone_does_not_stop_for_one_that_waits(speed, shift, kind):
    """Where the gap is long enough the other goes in ahead, and is followed like anybody."""
    engine, row = closing_lane(20.0, [kind], 1, 100.0, shift, speed)
    slowest = speed
    for _ in range(int((shift + 20.0) / speed / 0.3)):
        engine.step(no_jerk(engine))
        if engine.agents.speed[0, 0] > 1.0:
            break
        slowest = min(slowest, float(engine.agents.speed[0, row[0]]))
    assert slowest > 7.0


@settings(max_examples=8, deadline=None)
@given(taper=st.floats(10.0, 60.0), length=st.floats(4.0, 14.0), back=st.floats(0.0, 30.0))
@example(taper=20.0, length=12.0, back=10.0)
def test_who_waits_at_the_end_of_a_lane_stops_where_it_can_turn_out(taper, length, back):
    """However long it is: a way of some metres ahead does not show where its front has to stop."""
    width = 2.55
    engine, row = closing_lane(taper, [(length, width)], 30, 4.9, -12.0, 0.0)
    agents, bodies = engine.agents, engine.bodies
    put(engine, 0, segment_of(engine, 1, float(agents.s[0, 0]) - back))
    bodies.driver[0, row] = STILL
    end = 330.0 + taper * (1.0 - (width + MARGIN) / 3.5)
    for _ in range(60):
        engine.step(no_jerk(engine))
    front = float(agents.s[0, 0]) + 0.5 * length
    assert end - front > float(turn_out_room(np.float32(length))) - 1.5
    assert agents.speed[0, 0] < 0.1
    assert agents.hold[0, 0] == HOLD_LANE_END


def test_a_start_is_as_slow_as_the_bends_of_its_route_ask():
    """A bend of 10 m radius behind a chain of short lanes; the other branch goes straight on."""
    angle = np.linspace(0.0, np.pi / 2, 91)
    bend = np.stack([75 + 10 * np.sin(angle), 10 - 10 * np.cos(angle), 0 * angle], axis=1)
    short = [[[60 + 3 * n, 0, 0], [63 + 3 * n, 0, 0]] for n in range(5)]
    points = ([[0, 0, 0], [60, 0, 0]], *short, bend, [[85, 10, 0], [85, 110, 0]],
        [[75, 0, 0], [275, 0, 0]])  # fmt: skip
    lanes = [strip(str(n), p, speed_limit=40.0) for n, p in enumerate(points)]
    connect(lanes, *((n, n + 1) for n in range(7)), (5, 8))
    engine = build([compile_map(RoadNetwork("late", lanes))], worlds=400, drivers=[IDM],
        bodies={"car": 1.0}, further_goals=0, initial_speed=1.0)  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    lane = engine.lanes.segment_lane[agents.segment[:, 0]]
    goal = bodies.goal_lane[:, 0, 0]
    turns = (agents.status[:, 0] != ABSENT) & (lane == 0) & np.isin(goal, (6, 7))
    on = (agents.status[:, 0] != ABSENT) & (lane == 0) & (goal == 8)
    room = 75.0 - agents.s[:, 0] - 0.5 * bodies.length[:, 0]
    assert (agents.speed[turns, 0] <= 1.01 * np.sqrt(25.0 + 4.0 * room[turns])).all()
    assert (agents.speed[on, 0] > np.sqrt(25.0 + 4.0 * room[on])).any()


def ring_with_a_way_out() -> RoadNetwork:
    """Two straight roads and two half circles of 30 m radius; a stub of 3 m before the first one,
    beside which a road goes straight on.
    """
    angle = np.linspace(-np.pi / 2, np.pi / 2, 181)
    east = np.stack([203 + 30 * np.cos(angle), 30 + 30 * np.sin(angle), 0 * angle], axis=1)
    west = np.stack([-30 * np.cos(angle), 30 - 30 * np.sin(angle), 0 * angle], axis=1)
    points = ([[0, 0, 0], [200, 0, 0]], [[200, 0, 0], [203, 0, 0]], east,
        [[203, 60, 0], [0, 60, 0]], west, [[200, 0, 0], [500, 0, 0]])  # fmt: skip
    lanes = [strip(str(n), p, speed_limit=20.0) for n, p in enumerate(points)]
    connect(lanes, (0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 5))
    return RoadNetwork("ring", lanes)


@settings(max_examples=8, deadline=None)
@given(ahead=st.floats(20.0, 150.0), behind=st.floats(12.0, 60.0))
def test_a_goal_behind_is_a_round_away_though_another_lies_straight_on(ahead, behind):
    """The driver goes where its route leads: it brakes for the bend and stays on the road."""
    engine = build([compile_map(ring_with_a_way_out())], drivers=[IDM], bodies={"car": 1.0})
    agents, bodies = engine.agents, engine.bodies
    start = 190.0 - ahead
    put(engine, 0, segment_of(engine, 0, start), speed=10.0)
    bodies.num_goals[0, 0] = 2
    bodies.goal_lane[0, 0, :2] = 0, 5
    bodies.goal_s[0, 0, :2] = max(start - behind, 0.0), 200.0
    bodies.goal_x[0, 0, :2], bodies.goal_y[0, 0, :2] = (max(start - behind, 0.0), 700.0), 0.0
    agents.goal[0, 0] = 0
    lanes = []
    for _ in range(120):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & EVENT_OFFROAD).any()
        lanes.append(int(engine.lanes.segment_lane[agents.segment[0, 0]]))
    assert {2, 3} <= set(lanes)
    assert 5 not in lanes


@settings(max_examples=8, deadline=None)
@given(rest=st.floats(0.3, 6.0), back=st.floats(0.05, 0.25))
def test_a_stop_sign_behind_a_short_last_lane_is_served(rest, back):
    """The lane before the junction is cut `rest` metres before its end; the line lies there."""
    cut = -rest
    lanes = [
        strip("far", [[-150, 0, 0], [cut, 0, 0]]),
        strip("last", [[cut, 0, 0], [0, 0, 0]]),
        strip("through", [[0, 0, 0], [15, 0, 0]], junction=0),
        strip("on", [[15, 0, 0], [300, 0, 0]]),
    ]
    connect(lanes, (0, 1), (1, 2), (2, 3))
    ends = np.array([-back, 2.0, 0.0]), np.array([-back, -2.0, 0.0])
    line = StopLine(*ends, *ends, 0.0, [(1, rest - back)], kind="stop_sign")
    network = RoadNetwork("sign", lanes, [Junction("j", lanes=[2])], stop_lines=[line])
    engine = build([compile_map(network)], worlds=6, drivers=[IDM], bodies={"car": 1.0})
    agents, bodies = engine.agents, engine.bodies
    bodies.num_goals[:] = 1
    bodies.goal_lane[..., 0], bodies.goal_s[..., 0] = 3, 270.0
    bodies.goal_x[..., 0], bodies.goal_y[..., 0] = 285.0, 0.0
    started = engine.lanes.segment_lane[agents.segment[:, 0]] == 0
    assert started.any()
    through = np.zeros(6, bool)
    for _ in range(250):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & (EVENT_STOP_SIGN | EVENT_TOW)).any()
        through |= agents.x[:, 0] > 20.0
    assert through[started].all()


def test_the_front_of_a_long_body_does_not_swing_beyond_its_lane():
    """Buses come over to the outer one of two lanes of 3.2 m, behind bodies slower than they."""
    lanes = [
        strip("inner", [[0, 0, 0], [400, 0, 0]], 3.2),
        strip("outer", [[0, 3.2, 0], [400, 3.2, 0]], 3.2),
    ]
    lanes[0].left_neighbour, lanes[1].right_neighbour = 1, 0
    engine = build([compile_map(RoadNetwork("two", lanes))], drivers=[IDM, CONSTANT], worlds=100)
    agents, bodies, random = engine.agents, engine.bodies, np.random.default_rng(0)
    for world in range(100):
        set_body(engine, random.uniform(9.5, 12.0), 2.55, world)
        bodies.wheelbase[world, 0], bodies.max_curvature[world, 0] = 7.0, 0.03
        ahead = random.uniform(20.0, 50.0)
        put(engine, 0, segment_of(engine, 0, 50.0), speed=random.uniform(2.0, 11.0), world=world)
        put(engine, 1, segment_of(engine, 1, 50.0 + ahead), speed=random.uniform(0.0, 4.0),
            world=world)  # fmt: skip
    bodies.num_goals[:] = 1
    bodies.goal_lane[..., 0], bodies.goal_s[..., 0] = 1, 390.0
    bodies.goal_x[..., 0], bodies.goal_y[..., 0] = 390.0, 3.2
    agents.goal[:] = 0
    over = np.zeros(100, bool)
    for _ in range(70):
        engine.step(no_jerk(engine))
        assert not (engine.output.event[:, 0] & EVENT_OFFROAD).any()
        over |= np.abs(agents.y[:, 0] - 3.2) < 0.2
    assert over.mean() > 0.8


@pytest.mark.parametrize("kind", ["truck", "bus", "van"])
def test_long_bodies_stay_on_the_road(kind):
    """On all towns, flipped and scaled: bends are left alone that a body only just fits."""
    engine = build([compile_map(two_lanes(100.0, 50.0, True))], drivers=[IDM] * 3,
        bodies={kind: 1.0}, worlds=4)  # fmt: skip
    for _ in range(300):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & EVENT_OFFROAD).any()


def fork(width: float) -> RoadNetwork:
    """Straight on, or by a turn of 8 m radius and some width through a junction."""
    angle = np.linspace(0.0, np.pi / 2, 13)
    turn = np.stack([8.0 * np.sin(angle), 8.0 * (1.0 - np.cos(angle)), 0.0 * angle], axis=1)
    lanes = [
        strip("from", [[-150, 0, 0], [0, 0, 0]]),
        strip("through", [[0, 0, 0], [8, 0, 0]], junction=0),
        strip("on", [[8, 0, 0], [300, 0, 0]]),
        strip("turn", turn, width, junction=0),
        strip("aside", [[8, 8, 0], [8, 300, 0]]),
    ]
    connect(lanes, (0, 1), (1, 2), (0, 3), (3, 4))
    return RoadNetwork("fork", lanes, [Junction("fork", lanes=[1, 3])])


@pytest.mark.parametrize("first_goal", [(20.0, 150.0), None])
@pytest.mark.parametrize("width", [2.5, 2.7, 2.9, 3.5])
def test_routes_lead_through_no_turn_that_has_no_room_for_a_body(width, first_goal):
    """Cars could follow the turn, were it as wide as usual: their fronts swing out of it."""
    engine = build(
        [compile_map(fork(width))],
        worlds=150, drivers=[EXTERNAL] * 2, bodies={"car": 1.0}, first_goal=first_goal,
    )  # fmt: skip
    agents, bodies, bend = engine.agents, engine.bodies, float(engine.lanes.max_curvature[3])
    before = (agents.status != ABSENT) & (engine.lanes.segment_lane[agents.segment] == 0)
    needed = bodies.width + (0.8 * bodies.length) ** 2 * bend / 2.0
    turned = before & np.isin(bodies.goal_lane, (3, 4)).any(-1)
    assert before.sum() > 40
    spare = 0.3 if width < 3.1 else 0.0
    assert not (turned & (needed > width - spare + 1e-3)).any()
    assert turned.any() == (needed[before] < width - spare - 0.2).any()


def narrow_turn(width: float, radius: float, side: int) -> RoadNetwork:
    """A way of some width with a turn through a right angle, and no road beside it."""
    angle = np.linspace(0.0, np.pi / 2, 13)
    zero = 0.0 * angle
    turn = np.stack([np.sin(angle), side * (1.0 - np.cos(angle)), zero], axis=1) * radius
    left = np.stack([-side * np.sin(angle), np.cos(angle), zero], axis=1) * width / 2
    lanes = [
        strip("from", [[-60, 0, 0], [0, 0, 0]], width),
        Lane("turn", "driving", turn, turn + left, turn - left, junction=0),
        strip("to", [[radius, side * radius, 0], [radius, side * (radius + 200), 0]], width),
    ]
    connect(lanes, (0, 1), (1, 2))
    return RoadNetwork("turn", lanes, [Junction("turn", lanes=[1])])


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("width", "radius"), [(2.5, 14.0), (2.75, 8.0), (2.75, 10.0), (3.0, 7.0), (3.3, 6.0)]
)
def test_bodies_stay_within_the_turns_that_routes_lead_them_through(width, radius, side):
    """They go inwards no earlier and no less long than their fronts swing out."""
    engine = build(
        [compile_map(narrow_turn(width, radius, side))], worlds=60, drivers=[IDM], dt=0.1,
        bodies={"car": 0.6, "van": 0.2, "truck": 0.1, "motorcycle": 0.1}, seed=3,
    )  # fmt: skip
    agents, bodies, bend = engine.agents, engine.bodies, float(engine.lanes.max_curvature[1])
    for world in range(60):
        put(engine, 0, segment_of(engine, 0, 30.0), world=world, speed=3.0 + world / 30.0)
    swing = (0.8 * bodies.length[:, 0]) ** 2 * bend / 2.0
    spare = np.minimum(width, 3.1) - bodies.width[:, 0] - swing
    led = (spare >= (0.3 if width < 3.1 else 0.15)) & (bodies.max_curvature[:, 0] >= bend)
    bodies.num_goals[:] = 1
    bodies.goal_lane[..., 0], bodies.goal_s[..., 0] = 2, 190.0
    bodies.goal_x[..., 0], bodies.goal_y[..., 0] = radius, side * (radius + 190.0)
    agents.goal[:] = 0
    for _ in range(150):
        engine.step(no_jerk(engine))
        assert not (engine.output.event[led, 0] & EVENT_OFFROAD).any()
    assert led.sum() > 4
    assert (engine.lanes.segment_lane[agents.segment[led, 0]] == 2).all()


def waist(narrowest: float) -> RoadNetwork:
    """A road of one lane, 300 m long and 3.5 m wide but for a waist in the middle, and one on."""
    x = np.linspace(0.0, 300.0, 301)
    width = narrowest + (3.5 - narrowest) * np.clip(np.abs(x - 150.0) / 30.0, 0.0, 1.0)
    lanes = [tapering("waist", -1.75, width, x),
        strip("on", [[300, 0, 0], [500, 0, 0]], 3.5, speed_limit=14.0)]  # fmt: skip
    connect(lanes, (0, 1))
    return RoadNetwork("waist", lanes)


@pytest.mark.parametrize("first_goal", [(20.0, 200.0), None])
@pytest.mark.parametrize("narrowest", [1.5, 2.0, 2.6])
def test_no_goal_lies_behind_a_place_too_narrow_for_a_body(narrowest, first_goal):
    """Nothing leads round the waist: who starts before it stays before it."""
    engine = build([compile_map(waist(narrowest))], worlds=150, drivers=[EXTERNAL] * 2,
        bodies="typed", first_goal=first_goal)  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    lane = engine.lanes.segment_lane[agents.segment]
    before = (agents.status != ABSENT) & (lane == 0) & (agents.s < 140.0)
    needed = bodies.width + MARGIN
    behind = ((bodies.goal_lane == 1) | ((bodies.goal_lane == 0) & (bodies.goal_s > 150.0))).any(-1)
    assert before.sum() > 40
    assert not (before & behind & (needed > narrowest + 0.02)).any()
    assert (before & behind).any()
