"""Bodies that move askew to their heading: what they touch on the way, and what they leave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely

from selfdrive_env.kernels.collision import NO_TOUCH, first_touch
from selfdrive_env.kernels.dynamics.jerk_bicycle import Sweep, pose_at
from selfdrive_env.kernels.dynamics.pose import arc_between
from selfdrive_env.kernels.surface import box_offroad
from selfdrive_env.maps import compiled
from tests.kernels import from_python
from tests.reference.kernels import corners

F = np.float32
AHEAD, LENGTH, WIDTH = 1.35, 4.5, 1.8


def drawn(random: np.random.Generator, x: float, y: float, size: float) -> tuple[Any, np.ndarray]:
    """A sweep from a pose to any other near it, and x, y and heading of the box on its way.

    The way is integrated from a constant velocity in the body's frame, not along an arc.
    """
    heading, turn = random.uniform(-np.pi, np.pi), random.uniform(-1.5, 1.5)
    turn *= random.random() < 0.5  # straight aside, where no turn makes up for a wrong bound
    forward, aside = random.uniform(-size, size), random.uniform(-size, size)
    parts = 2000
    angles = heading + turn * (np.arange(parts) + 0.5) / parts
    steps = np.stack(
        [
            (forward * np.cos(angles) - aside * np.sin(angles)) / parts,
            (forward * np.sin(angles) + aside * np.cos(angles)) / parts,
        ],
        1,
    )
    rear = np.array([x, y]) + np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
    headings = heading + turn * np.arange(parts + 1) / parts
    cos, sin = math.cos(heading), math.sin(heading)
    d = rear[-1] - rear[0]
    arc = between(
        F(d[0]), F(d[1]), F(cos), F(sin), F(np.cos(headings[-1])), F(np.sin(headings[-1]))
    )
    values = (x, y, cos, sin, arc[0], arc[1], AHEAD, LENGTH / 2, WIDTH / 2, arc[2], arc[3])
    middle = rear + AHEAD * np.stack([np.cos(headings), np.sin(headings)], 1)
    return Sweep(*(F(v) for v in values)), np.column_stack([middle, headings])


between, pose_after, touch, leaves = (
    from_python(one) for one in (arc_between, pose_at, first_touch, box_offroad)
)


def boxes(way: np.ndarray, parts: int, more: float = 0.0) -> Any:
    """The body's box at poses on its way, larger by a margin, as polygons."""
    chosen = way[:: len(way) // parts]
    sizes = np.array(LENGTH + 2.0 * more), np.array(WIDTH + 2.0 * more)
    return shapely.polygons(corners(*chosen.T, *sizes))


def test_poses_on_the_way_are_those_of_a_constant_velocity_in_the_bodys_frame() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        sweep, way = drawn(random, 10.0, -20.0, 6.0)
        for share in (0.0, 0.25, 0.5, 1.0):
            x, y, cos, sin = pose_after(sweep, F(share))
            wanted = way[round(share * 2000)]
            np.testing.assert_allclose([x, y], wanted[:2], atol=2e-3)
            np.testing.assert_allclose(
                [cos, sin], [np.cos(wanted[2]), np.sin(wanted[2])], atol=1e-4
            )


def test_bodies_touch_where_their_boxes_meet_on_the_way() -> None:
    random = np.random.default_rng(1)
    count = [0, 0]
    for _ in range(160):
        a, way_a = drawn(random, 0.0, 0.0, 6.0)
        b, way_b = drawn(random, *random.uniform(-8.0, 8.0, 2), 6.0)
        apart = shapely.distance(boxes(way_a, 200), boxes(way_b, 200))
        touched = float(touch(a, b)) < float(NO_TOUCH)
        if apart.min() > 0.05:
            assert not touched
        elif (apart == 0.0).sum() > 4:  # deeper than a corner cut off
            assert touched
        count[int(touched)] += 1
    assert min(count) > 20


def test_bodies_leave_the_road_where_their_box_does_on_the_way() -> None:
    """A turn may swing a corner out and in again: poses a metre of its way apart are looked at."""
    town = compiled("riverside")
    edges = shapely.MultiLineString(
        [[(one[0], one[1]), (one[2], one[3])] for one in town.grid.edge.astype(np.float64)]
    )
    tree = shapely.STRtree(list(edges.geoms))
    random = np.random.default_rng(2)
    count = [0, 0]
    for _ in range(110):
        segment = int(random.integers(len(town.lanes.segment)))
        layer = int(town.lanes.segment_layer[segment])
        x, y = town.lanes.segment[segment, :2].astype(np.float64)
        sweep, way = drawn(random, x, y, 1.5)
        end = way[-1]
        cos, sin = math.cos(end[2]), math.sin(end[2])
        rear = end[0] - AHEAD * cos, end[1] - AHEAD * sin
        found = bool(leaves(town.grid, sweep, *(F(v) for v in (*rear, cos, sin)), layer, 0))
        cut = np.unique(tree.query(boxes(way, 100), "intersects")[0])
        near = tree.query(boxes(way, 100, more=0.1), "intersects")[0]
        if found:
            assert len(near)
        if len(cut) > 40 or 100 in cut:  # for long, or at the end
            assert found
        count[int(found)] += 1
    assert min(count) > 30
