from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.maps import MapError
from selfdrive_env.maps.network.lanelets import (
    Bound,
    is_folded,
    lane_between,
    link_by_bounds,
    oriented,
    turned_round,
)

QUARTER = np.linspace(0.0, np.pi / 2, 19)


def bend(radius: float, angles: np.ndarray = QUARTER) -> np.ndarray:
    return radius * np.stack([np.sin(angles), 1.0 - np.cos(angles)], axis=1) + [0.0, -radius]


def test_a_lane_keeps_the_points_of_both_bounds() -> None:
    lane = lane_between("1", [[0, 2], [30, 2], [60, 2]], [[0, -2, 1], [45, -1, 2], [60, -2, 4]])
    assert {tuple(p) for p in lane.left[:, :2]} >= {(0.0, 2.0), (30.0, 2.0), (60.0, 2.0)}
    assert (np.abs(lane.right - [45.0, -1.0, 2.0]).max(axis=1) < 1e-9).any()
    np.testing.assert_array_equal(lane.right[[0, -1]], [[0, -2, 1], [60, -2, 4]])
    np.testing.assert_allclose(lane.centre, 0.5 * (lane.left + lane.right))
    assert len(lane.left) == len(lane.right) == 4
    assert lane.type == "driving"


def test_a_bend_of_constant_width_has_its_centre_in_the_middle() -> None:
    lane = lane_between("1", bend(10.0), bend(14.0, QUARTER[::3]), speed_limit=5.0)
    radius = np.hypot(lane.centre[:, 0], lane.centre[:, 1] - 0.0)
    np.testing.assert_allclose(radius, 12.0, atol=0.06)
    np.testing.assert_allclose(lane.width, 4.0, atol=0.12)
    assert lane.speed_limit == 5.0
    assert not is_folded(lane)


def test_a_bay_beside_one_bound_does_not_slant_the_others_points() -> None:
    """20 m of bay on the right, whose length a match by shares would spread over the lane."""
    bay = [[0, -2], [30, -2], [30, -8], [36, -8], [36, -2], [100, -2]]
    lane = lane_between("1", [[0, 2], [100, 2]], bay)
    ahead = (lane.centre[:, 0] < 24.0) | (lane.centre[:, 0] > 42.0)
    slant = np.abs(lane.left[ahead, 0] - lane.right[ahead, 0])
    assert slant.max() < 2.5
    np.testing.assert_allclose(lane.centre[ahead, 1], 0.0, atol=1e-9)
    for side in (lane.left, lane.right):
        assert ((np.diff(side[:, :2], axis=0) ** 2).sum(axis=1) >= 0.0).all()
    for corner in bay:
        assert np.hypot(*(lane.right[:, :2] - corner).T).min() < 0.03


def test_matching_goes_forward_only() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        x = np.sort(random.uniform(0.0, 40.0, (2, 9)), axis=1)
        y = random.uniform(-0.8, 0.8, (2, 9))
        left = np.stack([x[0], 2.0 + y[0]], axis=1)
        right = np.stack([x[1], -2.0 + y[1]], axis=1)
        lane = lane_between("1", left, right)
        assert (np.diff(lane.left[:, 0]) >= 0.0).all()
        assert (np.diff(lane.right[:, 0]) >= 0.0).all()
        np.testing.assert_allclose(lane.left[[0, -1], :2], left[[0, -1]])
        np.testing.assert_allclose(lane.right[[0, -1], :2], right[[0, -1]])


@pytest.mark.parametrize("turn_left", [False, True])
@pytest.mark.parametrize("turn_right", [False, True])
def test_bounds_in_any_direction_are_put_in_order(turn_left: bool, turn_right: bool) -> None:
    left, right = bend(10.0), bend(14.0)
    left, right = left[:: -1 if turn_left else 1], right[:: -1 if turn_right else 1]
    assert oriented(left, right) == (turn_left, turn_right)
    assert oriented(right, left) == (not turn_right, not turn_left)


def test_bounds_without_a_length_are_refused() -> None:
    for bound in ([[0, 0]], [[0, 0], [0, 0]], [[0, 0], [np.nan, 1]], [[0, 0], [2e9, 0]], 5.0):
        with pytest.raises(MapError, match="bound of lanelet '7'"):
            lane_between("7", [[0, 2], [9, 2]], bound)
    with pytest.raises(MapError, match="no length between"):
        lane_between("7", [[0, 0], [9, 0]], [[9, 0], [0, 0]])


def test_points_on_top_of_each_other_are_one() -> None:
    lane = lane_between("1", [[0, 2], [0, 2], [9, 2], [9, 2]], [[0, -2], [9, -2], [9, -2.0001]])
    np.testing.assert_array_equal(lane.right[-1], [9, -2.0001, 0])
    assert len(lane.centre) == 2


def test_folds_are_found() -> None:
    assert is_folded(lane_between("1", [[0, 2], [9, 2], [5, 2.1], [20, 2]], [[0, -2], [20, -2]]))
    assert is_folded(lane_between("1", [[0, 2], [20, -6]], [[0, -2], [20, 2]]))
    assert not is_folded(lane_between("1", [[0, 2], [20, 2]], [[0, -2], [20, 2]]))


def test_lanes_are_linked_by_the_points_and_lines_of_their_bounds() -> None:
    """Two lanes side by side, two that follow, one that comes towards them; the left one is closed
    towards the right."""
    ends = {"a": (0, 10), "b": (1, 11), "c": (2, 12), "d": (10, 20), "e": (11, 21), "f": (12, 22)}
    y = {"a": 4, "b": 0, "c": -4, "d": 4, "e": 0, "f": -4}

    def bound(line: str, **fields: bool) -> Bound:
        return Bound(line, *ends[line], **fields)

    def lane(left: str, right: str) -> object:
        x = (0, 50) if left in "abc" else (50, 90)
        return lane_between(
            left + right, [[x[0], y[left]], [x[1], y[left]]], [[x[0], y[right]], [x[1], y[right]]]
        )

    lanes = [lane("a", "b"), lane("b", "c"), lane("d", "e"), lane("e", "f")]
    lanes.append(turned_round(lanes[0], "back"))
    link_by_bounds(
        lanes,
        {
            0: (bound("a"), bound("b", may_leave=False)),
            1: (bound("b"), bound("c")),
            2: (bound("d"), bound("e")),
            3: (bound("e"), bound("f")),
            4: (bound("b").reversed(), bound("a").reversed()),
        },
    )
    assert [lane.successors for lane in lanes] == [[2], [3], [], [], []]
    assert [lane.predecessors for lane in lanes] == [[], [], [0], [1], []]
    assert [lane.right_neighbour for lane in lanes] == [-1, -1, 3, -1, -1]
    assert [lane.left_neighbour for lane in lanes] == [-1, 0, -1, 2, -1]
    np.testing.assert_array_equal(lanes[4].left, lanes[0].right[::-1])
    assert lanes[4].length == lanes[0].length
