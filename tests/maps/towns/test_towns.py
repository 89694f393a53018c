from __future__ import annotations

import math

import numpy as np
import pytest

from selfdrive_env.maps import BUILT_IN, MapError, RoadNetwork, load
from selfdrive_env.maps.road_network import Lane
from selfdrive_env.maps.towns.centre_lines import (
    Pose,
    connection,
    polyline_with_arcs,
    pose_at,
    stations,
)
from selfdrive_env.maps.towns.towns import generate


@pytest.fixture(scope="module", params=BUILT_IN)
def town(request: pytest.FixtureRequest) -> RoadNetwork:
    return generate(request.param)


def drivable(network: RoadNetwork) -> list[int]:
    return [i for i, lane in enumerate(network.lanes) if lane.drivable]


def chord_headings(lane: Lane) -> np.ndarray:
    steps = np.diff(lane.centre[:, :2], axis=0)
    return np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))


def curvature(lane: Lane) -> np.ndarray:
    steps = np.hypot(*np.diff(lane.centre[:, :2], axis=0).T)
    return np.diff(chord_headings(lane)) / (0.5 * (steps[1:] + steps[:-1]))


def boundary_heading(lane: Lane, end: int) -> float:
    """Heading from the exact normal between the boundaries."""
    across = (lane.left - lane.right)[end, :2]
    return math.atan2(across[1], across[0]) - 0.5 * math.pi


def reachable(network: RoadNetwork, start: int, *, backward: bool = False) -> set[int]:
    seen, waiting = {start}, [start]
    while waiting:
        lane = network.lanes[waiting.pop()]
        ways = lane.predecessors if backward else lane.successors
        for other in [*ways, lane.left_neighbour, lane.right_neighbour]:
            if other >= 0 and other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def intersect(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two plane polylines cross."""
    p, r = a[:-1, None, :2], np.diff(a[:, None, :2], axis=0)
    q, s = b[None, :-1, :2], np.diff(b[None, :, :2], axis=1)
    cross = r[..., 0] * s[..., 1] - r[..., 1] * s[..., 0]
    gap = q - p
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (gap[..., 0] * s[..., 1] - gap[..., 1] * s[..., 0]) / cross
        u = (gap[..., 0] * r[..., 1] - gap[..., 1] * r[..., 0]) / cross
    return bool(((t > 0.0) & (t < 1.0) & (u > 0.0) & (u < 1.0)).any())


def test_same_name_gives_the_same_town(town: RoadNetwork) -> None:
    again = generate(town.name)
    assert len(again.lanes) == len(town.lanes)
    for one, other in zip(town.lanes, again.lanes, strict=True):
        assert one.name == other.name
        assert one.successors == other.successors
        assert np.array_equal(one.centre, other.centre)


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(MapError, match=r"'harbor'.*riverside.*'harbour'"):
        generate("harbor")
    with pytest.raises(MapError, match=r"'rverside'.*xodr.*'riverside'"):
        load("rverside")
    with pytest.raises(MapError, match="does not exist"):
        load("nowhere.xodr")


def test_load_knows_built_in_names(town: RoadNetwork) -> None:
    assert load(town.name).name == town.name


def test_fields_of_the_network_are_filled(town: RoadNetwork) -> None:
    assert not town.left_hand
    assert not town.problems
    assert town.origin == (0.0, 0.0, 0.0)
    assert town.num_roads == len({lane.road for lane in town.lanes})
    total = sum(town.lanes[i].length for i in drivable(town)) / 1000.0
    assert total == pytest.approx(town.driving_lane_km, rel=0.01)
    assert 4.0 < total < 14.0
    points = np.concatenate([edge for lane in town.lanes for edge in (lane.left, lane.right)])
    assert points[:, :2].min(0) + points[:, :2].max(0) == pytest.approx(0.0, abs=1e-9)


def test_lane_names_are_unique_and_junctions_list_their_lanes(town: RoadNetwork) -> None:
    assert len({lane.name for lane in town.lanes}) == len(town.lanes)
    for i, lane in enumerate(town.lanes):
        assert lane.name.startswith(lane.road + "/")
        held = [k for k, junction in enumerate(town.junctions) if i in junction.lanes]
        assert held == ([lane.junction] if lane.junction >= 0 else [])


def test_samples_are_dense_and_widths_sensible(town: RoadNetwork) -> None:
    for lane in town.lanes:
        assert lane.centre.shape == lane.left.shape == lane.right.shape
        steps = np.hypot(*np.diff(lane.centre[:, :2], axis=0).T)
        assert steps.min() > 0.05
        assert steps.max() < 5.01
        bent = np.abs(np.concatenate([[0.0], curvature(lane), [0.0]])) > 1e-4
        assert np.all(steps[bent[:-1] & bent[1:]] <= 1.01)
        assert np.allclose(lane.centre, 0.5 * (lane.left + lane.right), atol=1e-9)
        if lane.drivable:
            assert lane.width.min() >= (1.49 if lane.type == "entry" else 3.2)
            assert lane.width.max() <= 4.51


def test_left_boundary_lies_to_the_left(town: RoadNetwork) -> None:
    for lane in town.lanes:
        along = np.diff(lane.centre[:, :2], axis=0)
        across = (lane.left - lane.right)[:-1, :2]
        assert np.all(along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0] > 0.0)


def test_links_hold_both_ways_and_join_without_gap_or_kink(town: RoadNetwork) -> None:
    for i, lane in enumerate(town.lanes):
        assert all(i in town.lanes[k].successors for k in lane.predecessors)
        for k in lane.successors:
            after = town.lanes[k]
            assert i in after.predecessors
            for edge in ("centre", "left", "right"):
                assert np.abs(getattr(lane, edge)[-1] - getattr(after, edge)[0]).max() < 1e-6
            turn = boundary_heading(after, 0) - boundary_heading(lane, -1)
            assert abs(math.remainder(turn, 2.0 * math.pi)) < math.radians(0.01)
            step = chord_headings(after)[0] - chord_headings(lane)[-1]
            assert abs(math.remainder(step, 2.0 * math.pi)) < math.radians(4.0)


def test_curves_are_not_too_tight(town: RoadNetwork) -> None:
    for i in drivable(town):
        lane = town.lanes[i]
        bend = np.abs(curvature(lane)).max(initial=0.0)
        assert bend < (1.0 / 8.0 if lane.junction >= 0 else 1.0 / 12.0)
        if lane.speed_limit > 15.0:
            assert bend * lane.speed_limit**2 < 4.0


def test_neighbours_lie_side_by_side(town: RoadNetwork) -> None:
    count = 0
    for i, lane in enumerate(town.lanes):
        if lane.right_neighbour < 0:
            continue
        count += 1
        other = town.lanes[lane.right_neighbour]
        assert other.left_neighbour == i
        assert other.junction == lane.junction
        assert lane.junction >= 0 or other.road == lane.road
        assert np.abs(lane.right - other.left).max() < 1e-6
    assert count > 10


def test_only_the_acceleration_lane_ends_without_successor(town: RoadNetwork) -> None:
    ends = [town.lanes[i] for i in drivable(town) if not town.lanes[i].successors]
    assert {lane.type for lane in ends} == {"entry"}
    assert all(lane.left_neighbour >= 0 and lane.length > 150.0 for lane in ends)
    assert all(town.lanes[i].predecessors for i in drivable(town))


def test_every_lane_reaches_every_other(town: RoadNetwork) -> None:
    everything = set(drivable(town))
    assert reachable(town, 0) == everything
    assert reachable(town, 0, backward=True) == everything


def test_grades_stay_below_six_percent(town: RoadNetwork) -> None:
    for lane in town.lanes:
        steps = np.diff(lane.centre, axis=0)
        assert np.all(np.abs(steps[:, 2]) <= 0.06 * np.hypot(steps[:, 0], steps[:, 1]))


def test_each_town_holds_the_elements_of_a_town(town: RoadNetwork) -> None:
    lanes = [town.lanes[i] for i in drivable(town)]
    assert {"driving", "onRamp", "offRamp", "entry"} == {lane.type for lane in lanes}
    assert any(junction.kind == "direct" for junction in town.junctions)
    approaches = [len(junction.signal_groups) for junction in town.junctions]
    assert 4 in approaches or town.name == "hillcrest"
    assert 3 in approaches
    kinds = {signal.kind for signal in town.signals}
    assert kinds == {"traffic_light", "stop_sign", "yield_sign"}
    assert {line.kind for line in town.stop_lines} == {"signal", "stop_sign"}
    assert {8.3, 13.9, 22.0} == {lane.speed_limit for lane in lanes}
    two_lanes = [lane for lane in lanes if lane.right_neighbour >= 0 and lane.junction < 0]
    assert any(lane.speed_limit == 13.9 for lane in two_lanes)
    assert any(lane.speed_limit == 22.0 for lane in two_lanes)
    radii = [1.0 / np.abs(curvature(lane)).max(initial=1e-9) for lane in lanes if lane.junction < 0]
    assert any(12.0 < radius < 25.0 for radius in radii)
    assert any(50.0 < radius < 110.0 for radius in radii)


def test_ring_of_the_roundabout_closes(town: RoadNetwork) -> None:
    inner = [i for i in drivable(town) if town.lanes[i].width[0] > 4.4]
    ring = {i for i in inner if town.lanes[i].width[-1] > 4.4}
    lane, steps = min(ring), 0
    while steps == 0 or lane != min(ring):
        (lane,) = (k for k in town.lanes[lane].successors if k in ring)
        steps += 1
    assert steps == len(ring)
    turned = sum(np.ptp(chord_headings(town.lanes[i])) for i in ring)
    assert math.degrees(turned) == pytest.approx(360.0, abs=20.0)


def test_one_town_has_an_overpass() -> None:
    town = generate("hillcrest")
    street = [i for i in drivable(town) if town.lanes[i].speed_limit == 13.9]
    bridge = [i for i in drivable(town) if town.lanes[i].centre[:, 2].max() > 6.0]
    crossings = [
        (i, k) for i in street for k in bridge
        if intersect(town.lanes[i].centre, town.lanes[k].centre)
    ]  # fmt: skip
    assert len(crossings) == 2 * 4
    assert all(town.lanes[i].centre[:, 2].max() < 0.1 for i, _ in crossings)


def test_plain_roads_do_not_cross_on_a_level(town: RoadNetwork) -> None:
    plain = [town.lanes[i] for i in drivable(town) if town.lanes[i].junction < 0]
    for k, lane in enumerate(plain):
        for other in plain[:k]:
            if intersect(lane.centre, other.centre):
                assert abs(lane.centre[:, 2].max() - other.centre[:, 2].max()) > 5.0


def test_lights_never_let_crossing_movements_go_together(town: RoadNetwork) -> None:
    for k, junction in enumerate(town.junctions):
        movements: dict[int, list[int]] = {group: [] for group in junction.signal_groups}
        for group in junction.signal_groups:
            assert town.signal_groups[group].junction == k
            for signal in town.signal_groups[group].signals:
                for lane in town.signals[signal].lanes:
                    movements[group] += town.lanes[lane].successors
        if not movements:
            continue
        assert sorted(i for group in movements.values() for i in group) == sorted(junction.lanes)
        for lanes in movements.values():
            for i in lanes:
                for other in lanes:
                    assert not intersect(
                        town.lanes[i].centre[1:], town.lanes[other].centre[1:]
                    ) or (town.lanes[i].predecessors == town.lanes[other].predecessors)


def test_stop_lines_lie_across_the_ends_of_their_lanes(town: RoadNetwork) -> None:
    for line in town.stop_lines:
        direction = np.array([math.cos(line.heading), math.sin(line.heading), 0.0])
        signal = town.signals[line.signal]
        assert signal.lanes == [lane for lane, _ in line.lanes]
        assert (signal.kind == "traffic_light") == (line.kind == "signal")
        lanes = [town.lanes[lane] for lane, _ in line.lanes]
        for lane, (_, s) in zip(lanes, line.lanes, strict=True):
            assert s == pytest.approx(lane.length - 0.5)
            assert lane.centre[-1] - 0.5 * direction == pytest.approx(
                [np.interp(s, lane.arc_length, lane.centre[:, axis]) for axis in range(3)], abs=1e-6
            )
        assert lanes[0].left[-1] - 0.5 * direction == pytest.approx(line.left, abs=1e-6)
        assert lanes[-1].right[-1] - 0.5 * direction == pytest.approx(line.right, abs=1e-6)
        across = line.guard_left - line.guard_right
        assert abs(across @ direction) < 1e-6
        assert np.linalg.norm(across) >= np.linalg.norm(line.left - line.right) - 1e-9


def test_mirrored_town_keeps_lengths_and_swaps_sides(town: RoadNetwork) -> None:
    mirrored = town.mirrored()
    assert mirrored.left_hand
    assert mirrored.driving_lane_km == pytest.approx(town.driving_lane_km)
    for lane, other in zip(town.lanes, mirrored.lanes, strict=True):
        assert other.length == pytest.approx(lane.length)
        assert other.successors == lane.successors
        assert other.left_neighbour == lane.right_neighbour
    test_left_boundary_lies_to_the_left(mirrored)
    twice = mirrored.mirrored()
    assert all(
        np.allclose(lane.left, other.left)
        for lane, other in zip(town.lanes, twice.lanes, strict=True)
    )


def test_varied_town_stays_joined(town: RoadNetwork) -> None:
    assert town.varied(0) is town
    for seed in (1, 2, 3):
        other = town.varied(seed)
        assert 0.7 < other.driving_lane_km / town.driving_lane_km < 1.3
        for lane in other.lanes:
            for k in lane.successors:
                assert np.abs(lane.centre[-1] - other.lanes[k].centre[0]).max() < 1e-6
        for line in other.stop_lines:
            assert all(0.0 < s < other.lanes[lane].length for lane, s in line.lanes)


def test_connection_joins_poses_exactly() -> None:
    starts = Pose(3.0, -2.0, 0.4)
    targets = (
        (20.0, 0.0, 0.0),
        (30.0, 3.5, 0.0),
        (15.0, 15.0, 1.5),
        (12.0, -9.0, -1.2),
        (25.0, 6.0, -0.3),
    )
    for ahead, left, turn in targets:
        target = starts.moved(ahead, left)._replace(heading=starts.heading + turn)
        line = connection(starts, target)
        assert pose_at(line, 0.0) == pytest.approx(starts)
        assert pose_at(line, line.length) == pytest.approx(target)


def test_quarter_circle_has_the_length_of_a_quarter_circle() -> None:
    line = polyline_with_arcs([(0.0, 0.0), (30.0, 0.0), (30.0, 30.0)], [20.0])
    assert line.length == pytest.approx(20.0 + 10.0 * math.pi)
    s = stations(line, 5.0, 25.0)
    assert s[0] == 5.0
    assert s[-1] == 25.0
    assert np.abs(s - 10.0).min() < 1e-9
    middle = pose_at(line, 10.0 + 5.0 * math.pi)
    assert math.hypot(middle.x - 10.0, middle.y - 20.0) == pytest.approx(20.0)
    with pytest.raises(MapError, match="overlap"):
        polyline_with_arcs([(0.0, 0.0), (30.0, 0.0), (30.0, 30.0)], [40.0])


def test_even_variants_wind() -> None:
    town = load("town:3")
    straight, bent = town.varied(1), town.varied(2)
    assert [lane.successors for lane in bent.lanes] == [lane.successors for lane in town.lanes]
    turned = []
    for network in (straight, bent):
        lanes = [lane for lane in network.lanes if lane.drivable and lane.junction < 0]
        width = np.concatenate([lane.width for lane in lanes])
        assert 2.5 < np.median(width) < 3.8 and width.max() < 6.5
        steps = [np.diff(lane.centre[:, :2], axis=0) for lane in lanes]
        angles = [np.unwrap(np.arctan2(step[:, 1], step[:, 0])) for step in steps]
        turned.append(sum(np.abs(np.diff(angle)).sum() for angle in angles))
        for line in network.stop_lines:
            lane, s = line.lanes[0]
            arc, centre = network.lanes[lane].arc_length, network.lanes[lane].centre
            near = np.interp([s - 0.5, s, s + 0.5], arc, centre[:, 0])
            high = np.interp([s - 0.5, s, s + 0.5], arc, centre[:, 1])
            along = np.arctan2(high[2] - high[0], near[2] - near[0])
            assert abs(np.angle(np.exp(1j * (along - line.heading)))) < 0.1
            middle = 0.5 * (line.left + line.right)[:2]
            assert np.hypot(middle[0] - near[1], middle[1] - high[1]) < 12.0
    assert turned[1] > 1.5 * turned[0]
