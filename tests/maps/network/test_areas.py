from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.maps import MapError, RoadNetwork
from selfdrive_env.maps.network import areas
from selfdrive_env.maps.network.areas import infer_junctions, overlapping_lanes
from selfdrive_env.maps.network.finish import Problems, finish, lane_along
from selfdrive_env.maps.network.stop_lines import crossing_of, guard_beside, place_stop_lines
from selfdrive_env.maps.road_network import Lane, Signal


def strip(name: str, *points: tuple[float, ...], **fields: object) -> Lane:
    return lane_along(name, points, 3.5, **fields)


def crossing(**fields: object) -> RoadNetwork:
    """Roads from west and south, each of three lanes one after the other, that cross; a fork."""
    turn = [(-8.0 + 8.0 * np.sin(a), 8.0 * np.cos(a) - 8.0) for a in np.linspace(0, np.pi / 2, 9)]
    lanes = [
        strip("w", (-60, 0), (-8, 0), successors=[1, 6]),
        strip("w-e", (-8, 0), (8, 0), successors=[2]),
        strip("e", (8, 0), (60, 0)),
        strip("n", (0, 60), (0, 8), successors=[4]),
        strip("n-s", (0, 8), (0, -8), successors=[5]),
        strip("s", (0, -8), (0, -60)),
        strip("w-s", *turn, successors=[5]),
        strip("beside", (-60, 3.5), (60, 13.5), type="sidewalk"),
    ]
    return RoadNetwork("crossing", lanes, **fields)


def test_lanes_that_cross_fork_and_merge_are_one_junction() -> None:
    network = crossing()
    assert overlapping_lanes(network) == [(1, 4), (1, 6), (4, 6)]
    infer_junctions(network)
    assert [(j.name, j.lanes, j.kind) for j in network.junctions] == [
        ("at w-e", [1, 4, 6], "default")
    ]
    assert [lane.junction for lane in network.lanes] == [-1, 0, -1, -1, 0, -1, 0, -1]
    finish(network, Problems())


def test_lanes_on_another_level_are_no_junction() -> None:
    network = crossing()
    for lane in network.lanes[3:6]:
        for line in (lane.centre, lane.left, lane.right):
            line[:, 2] += 5.0
    network.lanes[6] = strip("w-s", (-8, 0), (0, -8), type="sidewalk")
    network.lanes[0].successors = [1]
    assert overlapping_lanes(network) == []


def test_lanes_beside_behind_and_against_each_other_are_no_junction() -> None:
    lanes = [
        strip("a", (0, 0), (50, 0), successors=[1]),
        strip("b", (50, 0), (90, 30)),
        strip("c", (0, 3.2), (50, 3.2)),
        strip("against", (46, 0.5), (0, 0.5)),
        strip("narrow", (50, 4.5), (0, 4.5)),
    ]
    network = RoadNetwork("none", lanes)
    assert overlapping_lanes(network) == []
    infer_junctions(network)
    assert network.junctions == []
    # What lies in a junction already is left alone.
    network = crossing()
    infer_junctions(network)
    infer_junctions(network)
    assert len(network.junctions) == 1


def test_too_much_to_compare_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(areas, "MAX_PAIRS", 1000)
    with pytest.raises(MapError, match=r"too many places: \d+ to compare, 1000 are allowed"):
        infer_junctions(crossing())
    monkeypatch.setattr(areas, "MAX_LENGTH", 200.0)
    with pytest.raises(MapError, match=r"0 km of lanes are too many; 0\.2 km are allowed"):
        infer_junctions(crossing())
    wide = [strip(n, (0, y), (1e5, 2e5 + y)) for n, y in (("1", 0.0), ("2", 9.0))]
    wide[0].left[:, 1] += 1e5
    monkeypatch.setattr(areas, "MAX_LENGTH", 1e9)
    with pytest.raises(MapError, match="too wide"):
        infer_junctions(RoadNetwork("wide", wide))


def approaches() -> RoadNetwork:
    """Three lanes side by side eastward, lane 3 comes towards them."""
    lanes = [strip(str(k), (0, -3.5 * k), (50, -3.5 * k), road="a") for k in range(3)]
    return RoadNetwork("approaches", [*lanes, strip("3", (50, 3.5), (0, 3.5), road="b")])


def test_lanes_side_by_side_share_a_line_and_guards_reach_over_the_road() -> None:
    network = approaches()
    place_stop_lines(network, [(1, 49.0), (0, 49.0)], "signal", 7)
    place_stop_lines(network, [(2, 48.0)], "signal", 8)
    guard_beside(network)
    first, second = network.stop_lines
    assert (first.lanes, first.signal, first.kind) == ([(0, 49.0), (1, 49.0)], 7, "signal")
    np.testing.assert_allclose([first.left, first.right], [[49, 1.75, 0], [49, -5.25, 0]])
    np.testing.assert_allclose([second.left, second.right], [[48, -5.25, 0], [48, -8.75, 0]])
    np.testing.assert_allclose(first.guard_right, second.right)
    np.testing.assert_allclose(second.guard_left, first.left)
    assert first.heading == 0.0
    network.signals = [Signal("light", "traffic_light", np.zeros(3), 0.0) for _ in range(9)]
    finish(network, Problems())
    height = first.guard_left[1] - first.guard_right[1]
    assert height == pytest.approx(14.0, abs=0.1)  # staggered, so slightly oblique


def test_lanes_apart_from_each_other_have_lines_of_their_own() -> None:
    network = approaches()
    place_stop_lines(network, [(2, 49.0), (0, 49.0), (3, 49.0)], "stop_sign", -1)
    assert sorted(line.lanes[0][0] for line in network.stop_lines) == [0, 2, 3]


def test_a_drawn_line_is_found_on_a_lane() -> None:
    lane = approaches().lanes[0]
    assert crossing_of(lane, np.array([[40.0, 2.0], [42.0, -2.0]])) == pytest.approx(41.0)
    assert crossing_of(lane, np.array([[40.0, 2.0], [40.0, 0.5]])) == pytest.approx(40.0)
    assert crossing_of(lane, np.array([[40.0, 4.0], [40.0, 2.0]])) is None
    assert crossing_of(lane, np.array([[60.0, 4.0], [60.0, -2.0]])) is None


def test_a_few_monstrous_lanes_are_refused_at_once() -> None:
    lanes = [lane_along(f"{n}", ((0, 3 * n), (1000, 1000 + 3 * n)), 200.0) for n in range(6)]
    with pytest.raises(MapError, match="to compare, 14245000 are allowed for 8490 m of lanes"):
        areas.overlapping_lanes(RoadNetwork("wide", lanes))
