from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from selfdrive_env.maps import MapError, RoadNetwork
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.inspection import describe
from selfdrive_env.maps.network.finish import Problems, finish, join_lanes, lane_along, move
from selfdrive_env.maps.road_network import Crosswalk, Junction, Lane, Signal, StopLine


def straight(name: str, x: float, end: float, y: float = 0.0, **fields: object) -> Lane:
    return lane_along(name, [[x, y], [end, y]], 3.5, **fields)


def finished(*lanes: Lane, **fields: object) -> RoadNetwork:
    return finish(RoadNetwork("hand", list(lanes), **fields), Problems())


def test_lane_along_has_its_boundaries_to_the_left_and_right() -> None:
    lane = lane_along("1", [[0.0, 0.0, 1.0], [0.0, 10.0, 2.0]], [2.0, 4.0], speed_limit=5.0)
    np.testing.assert_allclose(lane.left, [[-1.0, 0.0, 1.0], [-2.0, 10.0, 2.0]])
    np.testing.assert_allclose(lane.right, [[1.0, 0.0, 1.0], [2.0, 10.0, 2.0]])
    np.testing.assert_allclose(lane.width, [2.0, 4.0])
    assert (lane.type, lane.speed_limit) == ("driving", 5.0)
    assert lane_along("1", [[0, 0], [1, 0]], 2, type="sidewalk").drivable is False
    with pytest.raises(MapError, match=r"centre of lane '1' is \[1, 2\]"):
        lane_along("1", [[0.0, 0.0]], 2.0)


@pytest.mark.parametrize("known", ["successors", "predecessors", "none"])
def test_links_are_completed_whichever_way_they_are_known(known: str) -> None:
    one, two = straight("1", 0.0, 50.0), straight("2", 50.0, 90.0)
    if known != "none":
        setattr(one if known == "successors" else two, known, [1 if known == "successors" else 0])
    network = finished(one, two)
    assert (one.successors, two.predecessors) == ([1], [0])
    assert (one.predecessors, two.successors) == ([], [])
    assert len(network.problems) == (known == "none")


def test_links_that_are_there_keep_their_order() -> None:
    lanes = [straight("0", 0.0, 50.0), straight("1", 0.0, 50.0), straight("2", 50.0, 90.0)]
    lanes[2].predecessors = [1, 0]
    finished(*lanes)
    assert lanes[2].predecessors == [1, 0]


def test_ends_are_joined_where_a_lane_starts_in_their_direction_and_height() -> None:
    lanes = [straight("0", 0.0, 50.0), straight("1", 50.4, 90.0), straight("2", 50.0, 90.0)]
    for line in (lanes[2].centre, lanes[2].left, lanes[2].right):
        line += [0.0, 0.0, 5.0]
    back = straight("3", 49.8, 0.0)
    join_lanes(RoadNetwork("hand", [*lanes, back]), problems := Problems())
    assert lanes[0].successors == [1]
    assert list(problems.names.values()) == [["0 -> 1"]]


def test_neighbours_know_each_other() -> None:
    left, right = straight("1", 0.0, 50.0, 3.5), straight("2", 0.0, 50.0)
    left.right_neighbour = 1
    finished(left, right)
    assert (left.left_neighbour, right.left_neighbour, right.right_neighbour) == (-1, 0, -1)


def test_junctions_list_their_drivable_lanes_once() -> None:
    lanes = [
        straight("1", 0.0, 50.0, junction=0),
        straight("2", 0.0, 50.0, 3.5, junction=0),
        straight("3", 0.0, 50.0, 9.0, junction=0, type="sidewalk"),
    ]
    network = finished(*lanes, junctions=[Junction("0", lanes=[1])])
    assert network.junctions[0].lanes == [1, 0]


def test_the_middle_of_the_drivable_lanes_becomes_the_origin() -> None:
    lanes = [straight("1", 1000.0, 1100.0, 500.0), straight("2", 0.0, 50.0, type="sidewalk")]
    line = StopLine(*(np.array([1099.0, 500.0 + d, 0.0]) for d in (2, -2, 2, -2)), 0.0, [(0, 99.0)])
    signal = Signal("1", "traffic_light", np.array([1100.0, 503.0, 4.0]), 0.0, [0])
    crossing = Crosswalk(np.array([[1090.0, 498.0, 0.0], [1090, 502, 0], [1092, 502, 0]]))
    network = finished(
        *lanes, stop_lines=[line], signals=[signal], crosswalks=[crossing], origin=(7.0, 0.0, 0.0)
    )
    assert network.origin == (1057.0, 500.0, 0.0)
    np.testing.assert_allclose(network.lanes[0].centre, [[-50.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    np.testing.assert_allclose(network.lanes[1].centre[0], [-1050.0, -500.0, 0.0])
    np.testing.assert_allclose(line.guard_right, [49.0, -2.0, 0.0])
    np.testing.assert_allclose(signal.position, [50.0, 3.0, 4.0])
    np.testing.assert_allclose(crossing.outline[0], [40.0, -2.0, 0.0])
    assert network.driving_lane_km == pytest.approx(0.1)


@pytest.mark.parametrize(("height", "kept"), [(900.0, True), (1100.0, False)])
def test_only_maps_that_lie_high_are_moved_down(height: float, kept: bool) -> None:
    lane = lane_along("1", [[0.0, 0.0, height], [50.0, 0.0, height]], 3.5)
    network = finished(lane)
    assert lane.centre[0, 2] == (height if kept else 0.0)
    assert network.origin[2] == (0.0 if kept else height)


def test_points_that_lanes_share_are_moved_once() -> None:
    one = straight("1", 0.0, 50.0)
    two = Lane("2", "driving", one.centre - [0, 3.5, 0], one.right, one.right - [0, 3.5, 0])
    move(RoadNetwork("hand", [one, two]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(one.right, two.left)
    np.testing.assert_allclose(two.left[0], [1.0, 0.25, 3.0])


def test_guards_reach_over_oncoming_lanes_of_other_roads() -> None:
    lanes = [straight("1", 0.0, 50.0, road="a"), straight("2", 50.0, 0.0, 3.5, road="b")]
    ends = [np.array([45.0, y, 0.0]) for y in (1.75, -1.75, 1.75, -1.75)]
    network = finished(*lanes, stop_lines=[StopLine(*ends, 0.0, [(0, 45.0)])])
    line = network.stop_lines[0]
    assert np.hypot(*(line.guard_left - line.guard_right)[:2]) == pytest.approx(7.0)
    assert np.hypot(*(line.left - line.right)[:2]) == pytest.approx(3.5)


def test_slow_lanes_are_listed_and_maps_without_lanes_refused() -> None:
    assert finished(straight("1", 0.0, 50.0, speed_limit=1.0)).problems == [
        "1 driving lanes have a speed limit below 1.5 m/s: 1"
    ]
    with pytest.raises(MapError, match=r"hand: none of 1 lanes in 0 roads is drivable"):
        finished(straight("1", 0.0, 50.0, type="sidewalk"))
    with pytest.raises(MapError, match=r"lanes\.successors of entry 0 is 7"):
        finished(straight("1", 0.0, 50.0, successors=[7]))


def test_a_finished_network_compiles() -> None:
    compiled = compile_map(finished(straight("1", 0.0, 50.0), straight("2", 50.0, 90.0)))
    assert compiled.lanes.successor.tolist() == [1]


def test_what_was_inferred_and_dropped_has_lists_of_its_own() -> None:
    problems = Problems()
    problems.add("{} lanes are odd", "1")
    problems.infer("{} widths are guessed", "2")
    problems.infer("{} junctions are inferred", "3", flaw=False)
    for name in "45678":
        problems.drop("{} signs are left out", name)
    problems.skip(Counter({"tunnel": 2, "bridge": 1}))
    network = finish(RoadNetwork("hand", [straight("1", 0.0, 50.0)]), problems)
    assert network.problems == [
        "1 lanes are odd: 1",
        "1 widths are guessed: 2",
        "5 signs are left out: 4, 5, 6, 7 and 1 more",
    ]
    assert network.inferred == ["1 widths are guessed: 2", "1 junctions are inferred: 3"]
    assert network.dropped == [
        "5 signs are left out: 4, 5, 6, 7 and 1 more",
        "2 kinds of elements are not read: <bridge> (1), <tunnel> (2)",
    ]
    found = describe(network)
    assert found["problems"] == ["1 lanes are odd: 1"]
    assert (found["inferred"], found["dropped"]) == (network.inferred, network.dropped)
