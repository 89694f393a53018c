"""Lane changes: in bends, before lanes part, of long bodies."""

from __future__ import annotations

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels import road, walks
from selfdrive_env.kernels.drivers.path_info import CHANGES
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import ABSENT, EVENT_OFFROAD, IDM
from tests.kernels import plain
from tests.kernels.conftest import build, no_jerk, put, segment_of, send, set_body
from tests.maps.conftest import connect, strip

max_lane_curvature = plain(road.max_lane_curvature)
tail_room, turn_out_room = plain(walks.tail_room), plain(walks.turn_out_room)


def bent(radius: float, before: float, after: float, turn: float) -> np.ndarray:
    """Points of an eastward line that turns left by `turn` about (before, 30), then goes on."""
    angle = np.linspace(0.0, turn, 61)
    bend = np.stack([before + radius * np.sin(angle), 30.0 - radius * np.cos(angle)], axis=1)
    ahead = np.array([np.cos(turn), np.sin(turn)])
    points = [[0.0, 30.0 - radius], *bend, bend[-1] + after * ahead]
    return np.insert(np.array(points), 2, 0.0, axis=1)


@settings(max_examples=20, deadline=None)
@given(
    before=st.floats(40.0, 300.0),
    after=st.floats(40.0, 300.0),
    turn=st.floats(0.3, 3.0),
    left=st.booleans(),
    share=st.floats(0.0, 1.0),
)
def test_who_changes_lanes_in_a_bend_aims_at_the_place_beside(before, after, turn, left, share):
    """The lanes differ in length: the same share of both lies metres apart."""
    lanes = [strip("outer", bent(30.0, before, after, turn)),
        strip("inner", bent(26.0, before, after, turn))]  # fmt: skip
    lanes[0].left_neighbour, lanes[1].right_neighbour = 1, 0
    engine = build([compile_map(RoadNetwork("bend", lanes))], drivers=[IDM], bodies={"car": 1.0})
    agents, own = engine.agents, 0 if left else 1
    place = before - 5.0 + share * (30.0 - 4.0 * own) * turn
    put(engine, 0, segment_of(engine, own, place), speed=6.0)
    send(engine, 0, 1 - own, float(engine.lanes.length[1 - own]) - 5.0)
    changed = 0
    for _ in range(20):
        cos, sin = agents.cos[0, 0], agents.sin[0, 0]
        ahead = 0.5 * engine.bodies.wheelbase[0, 0]
        centre = agents.x[0, 0] + ahead * cos, agents.y[0, 0] + ahead * sin
        engine.step(no_jerk(engine))
        assert not engine.output.event[0, 0] & EVENT_OFFROAD
        changed += engine.scratch.path_info[0, 0, CHANGES] > 0.0
        x, y, cos, sin, _ = engine.scratch.path[0, 0, 0]
        assert abs((centre[0] - x) * cos + (centre[1] - y) * sin) < 1.0
    assert changed > 0


def parting(side_by_side: float, on: float) -> RoadNetwork:
    """Two lanes side by side, 3.2 m wide, of which the right one bends away (60 m) and ends."""
    end, angle = side_by_side, np.linspace(0.0, 0.15, 7)
    bend = np.stack([end + 60.0 * np.sin(angle), 60.0 * np.cos(angle) - 60.0, 0 * angle], axis=1)
    straight = (on - 9.0) * np.array([np.cos(0.15), -np.sin(0.15), 0.0])
    lanes = [
        strip("right", [[0, 0, 0], [end, 0, 0]], 3.2, speed_limit=14.0),
        strip("left", [[0, 3.2, 0], [end, 3.2, 0]], 3.2, speed_limit=14.0),
        strip("right on", [*bend, bend[-1] + straight], 3.2, speed_limit=14.0),
        strip("left on", [[end, 3.2, 0], [end + 300, 3.2, 0]], 3.2, speed_limit=14.0),
    ]
    lanes[0].left_neighbour, lanes[1].right_neighbour = 1, 0
    connect(lanes, (1, 3), (0, 2))
    return RoadNetwork("parting", lanes)


@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(
    ahead=st.floats(15.0, 60.0),
    on=st.sampled_from([20.0, 40.0]),
    speed=st.floats(0.0, 10.0),
    kind=st.sampled_from(["car", "van", "truck", "bus"]),
)
def test_who_leaves_a_dead_end_is_in_the_lane_beside_before_they_part(ahead, on, speed, kind):
    """With all of its body; who is too late stays, and stops where it may still turn out."""
    engine = build([compile_map(parting(150.0, on))], worlds=8, drivers=[IDM],
        bodies={kind: 1.0})  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    for world in range(8):
        put(engine, 0, segment_of(engine, 0, 150.0 - ahead), speed=speed, world=world)
    bodies.num_goals[:] = 1
    bodies.goal_lane[..., 0], bodies.goal_s[..., 0] = 3, 290.0
    bodies.goal_x[..., 0], bodies.goal_y[..., 0] = 440.0, 3.2
    agents.goal[:] = 0
    rear_in = 150.0 - ahead - 0.5 * bodies.length[:, 0] > 0.0
    stops = speed**2 / 4.0 + 0.5 * bodies.length[:, 0] < ahead
    for _ in range(50):
        engine.step(no_jerk(engine))
        left = (engine.output.event[:, 0] & EVENT_OFFROAD) != 0
        assert not (left & rear_in & stops).any()


def fork() -> RoadNetwork:
    """Lanes 0 and 1 eastward, 1 to the right; 2 and 3 go on from them, 4 turns back from lane 0."""
    angle = np.linspace(0.0, np.pi, 31)
    back = np.stack([100 + 3.0 * np.sin(angle), 5.0 - 3.0 * np.cos(angle), 0 * angle], axis=1)
    lanes = [
        strip("left", [[0, 2, 0], [100, 2, 0]]),
        strip("right", [[0, -2, 0], [100, -2, 0]]),
        strip("on left", [[100, 2, 0], [300, 2, 0]]),
        strip("on right", [[100, -2, 0], [300, -2, 0]]),
        strip("back", back),
    ]
    for left, right in ((0, 1), (2, 3)):
        lanes[left].right_neighbour, lanes[right].left_neighbour = right, left
    connect(lanes, (0, 4), (0, 2), (1, 3))
    return RoadNetwork("fork", lanes)


@settings(max_examples=20, deadline=None)
@given(
    aside=st.floats(2.1, 2.6),
    turned=st.floats(0.1, 0.4),
    along=st.floats(98.5, 99.5),
    speed=st.floats(2.0, 6.0),
)
def test_who_comes_over_where_lanes_fork_takes_none_that_it_cannot_follow(
    aside, turned, along, speed
):
    """Its heading is that of the lane that turns back, which bends too much for a van."""
    engine = build([compile_map(fork())], drivers=[IDM])
    set_body(engine, 5.9, 2.1)
    engine.bodies.max_curvature[0, 0] = 0.076
    put(engine, 0, segment_of(engine, 1, along), along % 1.0, aside=aside, turned=turned,
        speed=speed)  # fmt: skip
    send(engine, 0, 3, 190.0)
    for _ in range(6):
        engine.step(no_jerk(engine))
        assert engine.lanes.segment_lane[engine.agents.segment[0, 0]] != 4


def ending(width: float, left: bool) -> RoadNetwork:
    """Lane 1 beside lane 0, from which lane 2 goes on; it ends at x = 200, as wide as it is."""
    y = width if left else -width
    lanes = [strip("stays", [[0, 0, 0], [200, 0, 0]], width),
        strip("ends", [[0, y, 0], [200, y, 0]], width),
        strip("on", [[200, 0, 0], [500, 0, 0]], width)]  # fmt: skip
    stays, ends = lanes[:2]
    if left:
        stays.left_neighbour, ends.right_neighbour = 1, 0
    else:
        stays.right_neighbour, ends.left_neighbour = 1, 0
    connect(lanes, (0, 2))
    return RoadNetwork("ending", lanes)


@settings(max_examples=12, deadline=None)
@given(
    body=st.sampled_from([(7.5, 2.3), (9.0, 2.5), (10.8, 2.5), (12.0, 2.55)]),
    spare=st.floats(0.45, 1.1),
    left=st.booleans(),
    nearer=st.floats(0.0, 1.5),
)
def test_the_tail_of_a_long_body_has_left_a_lane_that_ends_as_wide_as_it_is(
    body, spare, left, nearer
):
    """It stands where drivers stop, or up to 1.5 m nearer, on lanes that leave it little room."""
    length, width = body
    engine = build([compile_map(ending(width + spare, left))], drivers=[IDM])
    set_body(engine, length, width)
    engine.bodies.max_curvature[0, 0] = max_lane_curvature(length, width, 0.6 * length)
    tail = tail_room(engine.lanes, 1, np.float32(length), np.float32(width + 0.4))
    assert tail > 0.0 or spare > 0.99
    stop = 200.0 - 0.5 * length - turn_out_room(np.float32(length)) - tail - 0.5
    put(engine, 0, segment_of(engine, 1, stop + nearer))
    send(engine, 0, 2, 290.0)
    for _ in range(80):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & EVENT_OFFROAD).any()
    assert engine.lanes.segment_lane[engine.agents.segment[0, 0]] == 2


def test_long_bodies_start_where_they_can_still_leave_a_lane_that_ends():
    """On lanes 3.2 m wide: nobody leaves the road, nobody waits at the end for good."""
    engine = build(
        [compile_map(ending(3.2, True))], worlds=300, drivers=[IDM], bodies={"bus": 1.0},
        first_goal=(20.0, 60.0), further_goals=0, initial_speed=1.0,
    )  # fmt: skip
    agents = engine.agents
    there = engine.lanes.segment_lane[agents.segment[:, 0]] == 1
    assert (there & (agents.status[:, 0] != ABSENT)).sum() > 60
    for _ in range(150):
        engine.step(no_jerk(engine))
        assert not (engine.output.event & EVENT_OFFROAD).any()
    ends = engine.lanes.segment_lane[agents.segment[:, 0]] == 1
    assert not (ends & (agents.standing_time[:, 0] > 20.0) & (agents.s[:, 0] > 150.0)).any()
