from __future__ import annotations

import json
import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.inspection import connectivity, describe, open_ends, share_reached
from selfdrive_env.maps.road_network import Junction, Lane, RoadNetwork, Signal, SignalGroup


def straight(
    x: float, y: float, heading: float = 0.0, z: float = 0.0, length: float = 10.0
) -> Lane:
    s = np.linspace(0.0, length, 3)[:, None]
    along = np.array([np.cos(heading), np.sin(heading), 0.0])
    left = np.array([-along[1], along[0], 0.0]) * 1.75
    centre = np.array([x, y, z]) + s * along
    return Lane(f"{x}/{y}/{z}/{heading}", "driving", centre, centre + left, centre - left)


def network(*lanes: Lane) -> RoadNetwork:
    return RoadNetwork("test", list(lanes))


@pytest.mark.parametrize("name", BUILT_IN)
def test_towns_are_wholly_connected(name: str) -> None:
    figures = describe(load(name))
    assert list(figures) == [
        "roads", "junctions", "driving_lane_km", "traffic_lights", "connectivity", "share_reached",
        "z_min", "z_max", "open_ends", "inferred", "dropped", "problems",
    ]  # fmt: skip
    assert figures["connectivity"] == figures["share_reached"] == 1.0
    assert figures["open_ends"] == []
    assert figures["traffic_lights"] > 8
    assert figures["z_min"] == 0.0
    assert json.loads(json.dumps(figures)) == figures


def test_missing_link_lowers_connectivity() -> None:
    one, two, three = straight(0.0, 0.0), straight(10.0, 0.0), straight(20.0, 0.0)
    one.successors = [1]
    assert connectivity(network(one, two, three)) == 0.5


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (straight(10.3, 0.3), 0.0),
        (straight(10.6, 0.0), None),
        (straight(10.0, 0.0, z=0.9), 0.0),
        (straight(10.0, 0.0, z=1.1), None),
        (straight(10.0, 0.0, np.radians(14.0)), 0.0),
        (straight(10.0, 0.0, np.radians(-16.0)), None),
    ],
)
def test_only_lanes_that_go_on_count_as_joints(other: Lane, expected: float | None) -> None:
    assert connectivity(network(straight(0.0, 0.0), other)) == expected


def test_headings_are_compared_across_the_wrap() -> None:
    one = straight(0.0, 0.0, np.radians(178.0))
    x, y, _ = one.centre[-1]
    assert connectivity(network(one, straight(x, y, np.radians(-178.0)))) == 0.0


def test_the_share_of_lanes_that_reach_each_other() -> None:
    """A triangle, a lane into it, one out of it, and one beside."""
    lanes = [straight(10.0 * i, 0.0) for i in range(6)]
    for lane, after in zip(lanes, ([1], [2], [0, 4], [0], [], []), strict=True):
        lane.successors = after
    assert share_reached(network(*lanes)) == 0.5
    lanes[4].left_neighbour, lanes[5].successors = 5, [1]
    assert share_reached(network(*lanes)) == 5 / 6
    assert share_reached(network(straight(0.0, 0.0))) == 1.0
    lanes[1].type = "sidewalk"
    assert share_reached(network(*lanes)) == 1 / 5


@settings(max_examples=100)
@given(data=st.data(), count=st.integers(1, 9))
def test_the_share_reached_is_that_of_a_count_by_reachability(data, count) -> None:
    """Any links and neighbours, some lanes not for cars."""
    lanes = [straight(10.0 * i, 0.0) for i in range(count)]
    some = st.integers(0, count - 1)
    for lane in lanes:
        lane.successors = data.draw(st.lists(some, unique=True, max_size=2))
        lane.left_neighbour = data.draw(st.one_of(st.just(-1), some))
        lane.type = data.draw(st.sampled_from(["driving", "driving", "driving", "sidewalk"]))
    drivable = np.array([lane.drivable for lane in lanes])
    reach = np.eye(count, dtype=bool)
    for i, lane in enumerate(lanes):
        reach[i, [j for j in (*lane.successors, lane.left_neighbour) if j >= 0]] = True
    reach &= drivable & drivable[:, None]
    for k in range(count):
        reach |= reach[:, k, None] & reach[None, k]
    both = (reach & reach.T).sum(axis=1)
    wanted = both.max() / drivable.sum() if drivable.any() else None
    assert share_reached(network(*lanes)) == (wanted and pytest.approx(wanted))


@settings(max_examples=100)
@given(
    gap=st.floats(0.0, 4.0),
    aside=st.floats(-4.0, 4.0),
    turn=st.floats(-180.0, 180.0),
    rise=st.floats(-2.0, 2.0),
    linked=st.booleans(),
)
def test_an_end_is_open_where_the_road_goes_on_and_no_link_does(gap, aside, turn, rise, linked):
    """Two metres on, on the same level, within 75 degrees: by the polygons themselves."""
    one, other = straight(0.0, 0.0), straight(10.0 + gap, aside, np.radians(turn), rise)
    one.successors = [1] * linked
    outline = shapely.polygons(np.concatenate([other.left, other.right[::-1]])[:, :2])
    point = shapely.points(12.0, 0.0)
    if shapely.distance(shapely.boundary(outline), point) < 1e-6:
        return
    if min(abs(abs(rise) - 1.0), abs(abs(turn) - 75.0)) < 1e-6:
        return
    goes_on = shapely.contains(outline, point) and abs(rise) < 1.0 and abs(turn) < 75.0
    found = open_ends(network(one, other))
    assert (one.name in found) == (goes_on and not linked)


def test_a_long_chain_of_lanes_needs_no_deep_stack() -> None:
    lanes = [straight(10.0 * i, 0.0) for i in range(20_000)]
    for i, lane in enumerate(lanes):
        lane.successors = [(i + 1) % len(lanes)]
    assert share_reached(network(*lanes)) == 1.0


@pytest.mark.parametrize(
    ("other", "is_open"),
    [
        (straight(10.0, 0.0), True),
        (straight(11.0, 0.9), True),  # Too far for a joint, and the road goes on all the same.
        (straight(11.0, 0.0, np.radians(60.0)), True),
        (straight(11.0, 0.0, np.radians(80.0)), False),
        (straight(20.0, 0.0, np.pi), False),
        (straight(13.0, 0.0), False),
        (straight(10.0, 4.0), False),
        (straight(10.0, 0.0, z=3.0), False),
    ],
)
def test_ends_that_lead_nowhere_though_the_road_goes_on(other: Lane, is_open: bool) -> None:
    assert open_ends(network(straight(0.0, 0.0), other)) == ["0.0/0.0/0.0/0.0"] * is_open


def test_ends_of_merging_lanes_are_not_open() -> None:
    one = straight(0.0, 0.0)
    one.left = one.right + (one.left - one.right) * np.linspace(1.0, 0.3, len(one.left))[:, None]
    assert open_ends(network(one, straight(10.0, 0.0))) == []


def test_empty_map_has_no_figures() -> None:
    figures = describe(network())
    assert figures["open_ends"] == []
    assert (
        figures["share_reached"]
        is figures["connectivity"]
        is figures["z_min"]
        is figures["z_max"]
        is None
    )


def test_heights_are_those_of_the_source() -> None:
    raised = network(straight(0.0, 0.0, z=1.0), straight(0.0, 20.0, z=3.0))
    raised.origin = (0.0, 0.0, 100.0)
    assert (describe(raised)["z_min"], describe(raised)["z_max"]) == (101.0, 103.0)


def test_connectivity_of_a_large_map_takes_little_work() -> None:
    lanes = [straight(10.0 * i, 10.0 * j) for i in range(125) for j in range(200)]
    start = time.process_time()
    assert connectivity(network(*lanes)) == 0.0
    spent = time.process_time() - start
    assert spent < 20.0  # each with each are 625 million pairs


def test_what_a_map_does_not_say_of_lights_and_right_of_way_is_inferred() -> None:
    lanes = [straight(0.0, 0.0), straight(10.0, 0.0), straight(10.0, 0.0, 1.0)]
    lanes[0].successors, lanes[1].predecessors, lanes[2].predecessors = [1, 2], [0], [0]
    fork = network(*lanes)
    fork.junctions = [Junction("j", lanes=[1, 2])]
    told = ["1 junctions state no right of way; who turns left waits: j"]
    assert describe(fork)["inferred"] == told
    fork.left_hand = True
    assert describe(fork)["inferred"] == [told[0].replace("left", "right")]
    fork.junctions[0].rule = "right_first"
    assert describe(fork)["inferred"] == []
    fork.junctions[0].rule = ""
    fork.signals = [Signal("s", "yield_sign", np.zeros(3), 0.0, lanes=[0])]
    assert describe(fork)["inferred"] == []
    fork.signals = [Signal("s", "traffic_light", np.zeros(3), 0.0, lanes=[0], group=0)]
    fork.signal_groups = [SignalGroup("g", [0], 0)]
    fork.junctions[0].signal_groups = [0]
    assert describe(fork)["inferred"] == [
        "1 groups of lights have no times; theirs are drawn: that of s"
    ]
    fork.signal_groups[0].cycle = [(1, 10.0), (3, 10.0)]
    assert describe(fork)["inferred"] == []
