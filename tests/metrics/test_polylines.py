"""The nearest place on lines: distances, sides, arcs, against shapely and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from selfdrive_env.metrics import Polylines

Point = st.tuples(*[st.integers(-40, 40)] * 3)


def nearest(lines: Polylines, points: Any, **options: Any) -> Any:
    points = np.asarray(points, np.float64)
    x, y = points[..., 0], points[..., 1]
    z = points[..., 2] if points.shape[-1] > 2 else np.zeros_like(x)
    return lines.nearest(x, y, z, np.ones(x.shape, bool), **options)


def brute(lines: Polylines, points: Any, weight: float) -> tuple[Any, Any]:
    """Weighted distance, and the distance in the plane, of the nearest segment of each point."""
    start = np.concatenate([line[:-1] for line in lines.lines()])
    way = np.concatenate([np.diff(line, axis=0) for line in lines.lines()])
    kept = (way[:, :2] != 0).any(axis=1)
    start, way = start[kept], way[kept]
    off = points[:, None] - start
    share = (off[..., :2] * way[:, :2]).sum(-1) / (way[:, :2] ** 2).sum(-1)
    rest = off - np.clip(share, 0, 1)[..., None] * way
    plane = np.hypot(rest[..., 0], rest[..., 1])
    space = np.hypot(plane, weight * rest[..., 2])
    best = space.argmin(axis=1)
    return space.min(axis=1), plane[np.arange(len(points)), best]


def test_by_hand() -> None:
    lines = Polylines.of([[[0, 0], [10, 0]], [[0, 20, 5], [0, 30, 10]]])
    found = nearest(lines, [[4, -1], [4, 2], [13, 4], [-3, 25]], z_weight=0.0)
    assert found.line.tolist() == [0, 0, 0, 1]
    assert found.distance.tolist() == [1, -2, -5, -3]  # positive on the right
    assert found.arc.tolist() == [4, 4, 10, 5]
    assert found.height.tolist() == [0, 0, 0, 7.5]
    assert found.beyond.tolist() == [False, False, True, False]
    assert np.allclose(found.heading, [0, 0, 0, np.pi / 2])


def test_without_lines_nothing_is_found() -> None:
    for lines in (Polylines.of(()), Polylines.of([[[1, 1]], [[2, 2], [2, 2]]])):
        found = nearest(lines, np.zeros((3, 2)))
        assert not found.found.any()
        assert not found.distance.any() and not found.arc.any() and not found.height.any()


def test_a_line_along_the_way_is_looked_for() -> None:
    lines = Polylines.of([[[0, 0], [10, 0]], [[10, 3], [0, 3]]])
    x, y = np.array([5.0, 5.0]), np.array([1.0, 1.0])
    heading = np.array([0.1, 3.0])
    found = lines.nearest(x, y, x * 0, x > 0, heading=heading, least_cosine=0.5)
    assert found.line.tolist() == [0, 1]
    assert found.distance.tolist() == [-1, -2]


def test_the_side_at_sharp_corners_is_that_of_the_area() -> None:
    """A star with corners of all kinds, whose inside lies to the left."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 41)[:-1]
    radius = np.where(np.arange(40) % 2, 5.0, 30.0) * rng.uniform(0.7, 1.3, 40)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    ring = np.concatenate([ring, ring[:1]])
    points = rng.uniform(-45, 45, (20_000, 2))
    inside = shapely.contains_xy(shapely.polygons(ring), points)
    distance = shapely.distance(shapely.linestrings(ring), shapely.points(points))
    pieces = [ring[k : k + 2] for k in range(40)]  # lines of their own are joined
    for lines in ([ring], [ring[:15], ring[14:33], ring[32:]], pieces):
        found = nearest(Polylines.of(lines), points)
        assert np.allclose(found.distance, np.where(inside, -distance, distance), atol=1e-9)
        assert not found.beyond.any()


def random_lines(rng: np.random.Generator) -> Polylines:
    """Lines of long and short segments on several levels, far from the origin."""
    lines = []
    for _ in range(40):
        count = int(rng.integers(1, 60))
        step = rng.normal(0.0, rng.choice([0.3, 3.0, 40.0]), (count, 3)) * [1.0, 1.0, 0.05]
        lines.append(np.cumsum(step, axis=0) + rng.uniform(-200, 200, 3) * [1, 1, 0.03])
    return Polylines.of([line + np.array([4000.0, -9000.0, 30.0]) for line in lines])


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_nearest_is_what_brute_force_finds(weight: float) -> None:
    rng = np.random.default_rng(1)
    lines = random_lines(rng)
    points = rng.uniform(-400, 400, (5000, 3)) * [1, 1, 0.03] + [4000.0, -9000.0, 30.0]
    points[0] = [1e6, -1e6, 0.0]  # where there is no cell
    found = nearest(lines, points, z_weight=weight)
    space, plane = brute(lines, points, weight)
    assert np.allclose(np.abs(found.distance), plane, rtol=1e-9, atol=1e-9)
    own = np.hypot(found.distance, weight * (points[:, 2] - found.height))
    assert np.allclose(own, space, rtol=1e-9, atol=1e-9)
    line = [shapely.linestrings(one[:, :2]) for one in lines.lines() if len(one) > 1]
    at = shapely.line_interpolate_point(
        np.array([shapely.linestrings(lines.lines()[k][:, :2]) for k in found.line]), found.arc
    )
    assert np.allclose(shapely.distance(at, shapely.points(points[:, :2])), plane, atol=1e-6)
    if not weight:
        everything = shapely.union_all(line)
        assert np.allclose(plane, shapely.distance(everything, shapely.points(points[:, :2])))


def test_nearest_along_a_heading_is_what_brute_force_finds() -> None:
    rng = np.random.default_rng(2)
    lines = random_lines(rng)
    points = rng.uniform(-200, 200, (800, 3)) * [1, 1, 0] + [4000.0, -9000.0, 30.0]
    heading = rng.uniform(-np.pi, np.pi, 800)
    found = nearest(lines, points, z_weight=0.0, heading=heading, least_cosine=0.5)
    segments = lines.segments
    way = segments.way[:, :2] / np.hypot(*segments.way[:, :2].T)[:, None]
    for number in range(0, 800, 8):
        along = way @ [np.cos(heading[number]), np.sin(heading[number])]
        chosen = np.flatnonzero(along >= 0.5)
        ends = segments.start[chosen, :2], (segments.start + segments.way)[chosen, :2]
        pieces = shapely.linestrings(np.stack(ends, axis=1))
        wanted = shapely.distance(pieces, shapely.Point(*points[number, :2])).min()
        assert np.isclose(abs(found.distance[number]), wanted)
        assert np.cos(found.heading[number] - heading[number]) >= 0.5 - 1e-9


@given(
    lines=st.lists(st.lists(Point, min_size=1, max_size=6), max_size=5),
    points=st.lists(Point, min_size=1, max_size=8),
)
def test_any_lines_are_searched(lines: Any, points: Any) -> None:
    made = Polylines.of(lines)
    at = np.array(points, np.float64)
    found = nearest(made, at)
    if not len(made.segments.line):
        assert not found.found.any()
        return
    assert found.found.all()
    own = np.hypot(found.distance, 2.0 * (at[:, 2] - found.height))
    assert np.allclose(own, brute(made, at, 2.0)[0])


def test_far_lines_and_points_are_searched() -> None:
    lines = Polylines.of([[[-1e9, 0], [1e9, 0]], [[0, 5], [1e-3, 5]], [[3, 1e9], [3, 1e9 - 1]]])
    found = nearest(lines, [[3.0, 2.0], [0.0, 4.0], [5.0, 1e300], [-1e300, -7.0]])
    assert found.line.tolist() == [0, 1, 2, 0]
    assert np.allclose(found.distance, [-2.0, 1.0, -2.0, 7.0])


def test_flawed_lines_are_refused() -> None:
    with pytest.raises(ValueError, match=r"polylines\.point: numbers"):
        Polylines.of([[[0, np.nan]]])
    with pytest.raises(ValueError, match=r"polylines\.point: 1e\+10 m, wanted at most 1e\+09"):
        Polylines.of([[[0, 1e10]]])
    with pytest.raises(ValueError, match=r"a line of shape \(2, 1\)"):
        Polylines.of([[[0], [1]]])
    with pytest.raises(ValueError, match=r"polylines\.first"):
        Polylines(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match=r"polylines\.point: shape"):
        Polylines(np.zeros((2, 2)), np.array([0, 2]))
