from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.maps.network.finish import directions, lane_along
from selfdrive_env.maps.network.smoothing import smooth_centres
from selfdrive_env.maps.road_network import Lane


def linked(*points: list[tuple[float, float]], width: float = 3.5) -> list[Lane]:
    """Lanes one after the other."""
    lanes = [lane_along(str(k), line, width) for k, line in enumerate(points)]
    for k in range(len(lanes) - 1):
        lanes[k].successors, lanes[k + 1].predecessors = [k + 1], [k]
    return lanes


def sharpest(lane: Lane) -> float:
    """The largest turn between two steps of a centre line [deg]."""
    steps = np.diff(lane.centre[:, :2], axis=0)
    angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return float(np.degrees(np.abs(np.diff(angles)).max(initial=0.0)))


def test_few_points_of_a_bend_become_a_bend() -> None:
    angles = np.radians(np.arange(0.0, 91.0, 22.5))
    bend = [(10.0 * np.sin(a), 10.0 - 10.0 * np.cos(a)) for a in angles]
    lanes = linked([(-30.0, 0.0), (0.0, 0.0)], bend, [(10.0, 10.0), (10.0, 40.0)])
    lane = lanes[1]
    before = lane.centre.copy()
    left, right = lane.left.copy(), lane.right.copy()
    smooth_centres(lanes)
    assert sharpest(lane) < 6.0
    radius = np.hypot(lane.centre[:, 0], lane.centre[:, 1] - 10.0)
    np.testing.assert_allclose(radius, 10.0, atol=0.1)
    for line, points in ((lane.centre, before), (lane.left, left), (lane.right, right)):
        for point in points:
            assert np.hypot(*(line - point)[:, :2].T).min() < 1e-9
    assert len(lane.centre) == len(lane.left) == len(lane.right)


def test_a_corner_between_lanes_is_rounded_within_reach() -> None:
    first, second = linked([(-50.0, 0.0), (0.0, 0.0)], [(0.0, 0.0), (35.0, 35.0)])
    smooth_centres([first, second])
    np.testing.assert_allclose(first.centre[-1], second.centre[0])
    np.testing.assert_allclose(directions(first.centre)[1], directions(second.centre)[0], atol=0.25)
    far = first.centre[:, 0] < -3.0
    np.testing.assert_allclose(first.centre[far, 1], 0.0, atol=1e-12)
    assert sharpest(first) < 15.0
    assert np.abs(first.centre[:, 1]).max() < 0.25 * 3.5


def test_lanes_fork_in_the_direction_of_the_one_before() -> None:
    lanes = [
        lane_along("in", [(-20.0, 0.0), (0.0, 0.0)], 3.5, successors=[1, 2]),
        lane_along("on", [(0.0, 0.0), (20.0, 0.0)], 3.5, predecessors=[0]),
        lane_along("off", [(0.0, 0.0), (20.0, 12.0)], 3.5, predecessors=[0]),
    ]
    smooth_centres(lanes)
    assert len(lanes[0].centre) == len(lanes[1].centre) == 2
    assert directions(lanes[2].centre)[0] @ [1.0, 0.0] == pytest.approx(1.0, abs=0.02)


def test_straight_lines_sharp_turns_and_other_lanes_stay() -> None:
    lanes = linked([(0.0, 0.0), (10.0, 0.0), (50.0, 0.0)], [(50.0, 0.0), (50.0, 30.0)])
    lanes.append(lane_along("walk", [(0.0, 9.0), (9.0, 9.0), (12.0, 15.0)], 2.0, type="sidewalk"))
    before = [lane.centre.copy() for lane in lanes]
    smooth_centres(lanes)
    for lane, centre in zip(lanes, before, strict=True):
        np.testing.assert_array_equal(lane.centre, centre)


def test_points_beside_a_corner_do_not_keep_it_sharp() -> None:
    near = [(-9.0, 0.0), (-0.3, 0.0), (0.0, 0.0), (0.2, 0.2), (8.0, 8.0)]
    (lane,) = linked(near)
    smooth_centres([lane])
    assert sharpest(lane) < 15.0
