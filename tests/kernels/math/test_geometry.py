from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.math.geometry import (
    box_cuts_edge,
    boxes_overlap,
    clamp,
    segments_cross,
    squash,
)
from tests.kernels import from_python
from tests.reference import MILLIMETRE, corners, gap

box_cuts_edge = from_python(box_cuts_edge)
boxes_overlap = from_python(boxes_overlap)
clamp = from_python(clamp)
segments_cross = from_python(segments_cross)
squash = from_python(squash)

F = np.float32


def overlap(a, b):
    """The kernel on two boxes (x, y, heading, length, width)."""
    values = (b[0] - a[0], b[1] - a[1])
    for _, _, heading, length, width in (a, b):
        values += (math.cos(heading), math.sin(heading), length / 2, width / 2)
    return boxes_overlap(*(F(v) for v in values))


def random_boxes(random, count):
    return np.stack(
        [
            *random.uniform(-8, 8, (2, count)),
            random.uniform(-np.pi, np.pi, count),
            *np.sort(random.uniform(0.6, 12, (2, count)), axis=0)[::-1],
        ],
        axis=1,
    )


def moved_to_touch(random, a, b):
    """Boxes `b` shifted along the line of centres until the gap to `a` is under 4 mm."""
    direction = b[:, :2] - a[:, :2]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    wanted = random.uniform(-4e-3, 4e-3, len(a))
    low, high = np.zeros(len(a)), np.full(len(a), 40.0)
    for _ in range(60):
        middle = (low + high) / 2
        moved = b.copy()
        moved[:, :2] = a[:, :2] + middle[:, None] * direction
        far = gap(corners(*a.T), corners(*moved.T)) > wanted
        low, high = np.where(far, low, middle), np.where(far, middle, high)
    return moved


@pytest.mark.parametrize("near", [False, True])
def test_box_overlap_agrees_with_shapely(near, capsys):
    random = np.random.default_rng(1)
    a, b = random_boxes(random, 4000), random_boxes(random, 4000)
    if near:
        b = moved_to_touch(random, a, b)
    boxes = corners(*a.T), corners(*b.T)
    wanted = shapely.intersects(*(shapely.polygons(box) for box in boxes))
    close = np.abs(gap(*boxes)) < MILLIMETRE
    found = np.array([overlap(*pair) for pair in zip(a, b, strict=True)])
    with capsys.disabled():
        print(f"\nbox overlap, near={near}: {close.sum()} of {len(a)} under 1 mm exempt", end=" ")
    assert (found == wanted)[~close].all()
    assert close.mean() < (0.5 if near else 0.01)
    assert 0.1 < wanted.mean() < 0.9


boxes = st.tuples(
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.floats(-3, 3),
    st.floats(0.6, 12),
    st.floats(0.6, 3),
)


@settings(deadline=None)
@given(a=boxes, b=boxes)
def test_box_overlap_does_not_depend_on_the_order(a, b):
    assert overlap(a, b) == overlap(b, a)


def test_boxes_that_share_an_edge_touch():
    a = (0.0, 0.0, 0.0, 4.0, 2.0)
    assert overlap(a, (4.0, 0.0, 0.0, 4.0, 2.0))
    assert not overlap(a, (4.01, 0.0, 0.0, 4.0, 2.0))
    assert overlap(a, (0.0, 2.0, 0.0, 4.0, 2.0))
    assert not overlap(a, (0.0, 2.01, 0.0, 4.0, 2.0))


def test_full_boxes_are_tested_not_shrunk_ones():
    a = (0.0, 0.0, 0.0, 4.0, 2.0)
    assert overlap(a, (3.99, 1.99, 0.0, 4.0, 2.0))
    assert overlap(a, (2.0 + math.sqrt(2.0) - 0.01, 0.0, math.pi / 4, 2.0, 2.0))


def test_box_and_edge_agree_with_shapely():
    random = np.random.default_rng(2)
    half_length, half_width = 2.0, 0.9
    box = shapely.box(-half_length, -half_width, half_length, half_width)
    outer, inner = box.buffer(MILLIMETRE, join_style="mitre"), box.buffer(-MILLIMETRE)
    exempt = 0
    for edge in random.uniform(-4, 4, (3000, 4)):
        line = shapely.LineString(edge.reshape(2, 2))
        if outer.intersects(line) != inner.intersects(line):
            exempt += 1
            continue
        found = box_cuts_edge(*(F(v) for v in edge), F(half_length), F(half_width))
        assert found == box.intersects(line), edge
    assert exempt < 60


@settings(deadline=None, max_examples=300)
@given(points=st.lists(st.integers(-9999, 9999), min_size=8, max_size=8))
def test_crossing_segments_agree_with_shapely(points):
    points = [p / 1000.0 for p in points]
    a, b = (shapely.LineString(np.reshape(p, (2, 2))) for p in (points[:4], points[4:]))
    if min(a.length, b.length) == 0.0:
        return
    ends = shapely.points(np.reshape(points, (4, 2)))
    if min(shapely.distance(ends[:2], b).min(), shapely.distance(ends[2:], a).min()) < MILLIMETRE:
        return
    assert segments_cross(*(F(p) for p in points)) == a.intersects(b)


def test_a_path_over_the_end_of_a_segment_crosses_one_of_two_neighbours_only():
    # Edges that share an end point: a ray through that point crosses exactly one of them.
    left, middle, right = (F(-1), F(0)), (F(0), F(0)), (F(1), F(0))
    ray = (F(0), F(-1), F(0), F(1))
    assert segments_cross(*ray, *left, *middle) != segments_cross(*ray, *middle, *right)


def test_clamp_and_squash():
    assert clamp(F(3), F(-1), F(2)) == 2
    assert clamp(F(-3), F(-1), F(2)) == -1
    assert squash(F(20), F(20)) == 0.5
    assert squash(F(-1e9), F(20)) >= -1.0
