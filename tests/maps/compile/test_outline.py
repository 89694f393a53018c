"""The lines a map is drawn with, against its surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.maps import compiled
from selfdrive_env.maps.compile.outline import Outline, outline, simplified, stop_line_ends
from selfdrive_env.state.road import GAP, LINE_COLUMNS


@pytest.fixture(scope="module")
def lines() -> Outline:
    town = compiled("riverside")
    return outline(town.lanes, town.grid, 0, town.paint)


def test_edges_lie_on_the_edge_of_the_surface(
    lines: Outline, surfaces: Callable[[str], list[Any]]
) -> None:
    (surface,) = surfaces("riverside")
    border = shapely.boundary(surface)
    points = shapely.points(np.concatenate(lines.edge))
    assert shapely.distance(border, points).max() < 0.01
    length = sum(shapely.length(shapely.linestrings(line)) for line in lines.edge)
    assert length == pytest.approx(shapely.length(border), rel=0.001)


def test_asphalt_covers_the_surface(lines: Outline, surfaces: Callable[[str], list[Any]]) -> None:
    (surface,) = surfaces("riverside")
    pieces = [shapely.make_valid(shapely.polygons(piece)) for piece in lines.asphalt]
    whole = shapely.union_all(pieces)
    town = compiled("riverside")
    gaps = np.count_nonzero(town.paint.kind == GAP)
    assert len(pieces) == len(town.lanes.length) + gaps > len(town.lanes.length)
    assert shapely.area(shapely.symmetric_difference(whole, surface)) < 0.01 * surface.area
    # Nothing is left out within a junction but shreds.
    assert shapely.buffer(shapely.difference(surface, whole), -0.15).is_empty


def test_markings_lie_between_lanes(lines: Outline, surfaces: Callable[[str], list[Any]]) -> None:
    (surface,) = surfaces("riverside")
    border = shapely.boundary(surface)
    for marking in (lines.lane_line, lines.centre_line):
        assert len(marking) > 10
        middle = shapely.points(np.concatenate([(one[1:] + one[:-1]) / 2 for one in marking]))
        assert shapely.contains(surface, middle).mean() > 0.99
        assert np.median(shapely.distance(border, middle)) > 2.5
    lane, centre = (
        shapely.multilinestrings([shapely.linestrings(one) for one in marking])
        for marking in (lines.lane_line, lines.centre_line)
    )
    assert shapely.length(shapely.intersection(lane, shapely.buffer(centre, 0.5))) < 50.0


def test_a_map_of_several_is_drawn_where_it_is() -> None:
    from selfdrive_env.maps.pool.map_pool import pool

    towns = [compiled(name) for name in ("riverside", "harbour")]
    lanes, _, grid, _ = pool(towns)
    alone = outline(towns[1].lanes, towns[1].grid, 0, towns[1].paint)
    pooled = outline(lanes, grid, 1, towns[1].paint)
    for one, other in zip(alone, pooled, strict=True):
        assert len(one) == len(other)
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_simple_lines_keep_their_ends_and_lose_what_is_straight() -> None:
    line = np.stack([np.arange(11.0), np.zeros(11)], 1)
    bend = np.array([[0.0, 0.0], [5.0, 1.0], [10.0, 0.0]])
    point = np.zeros((1, 2))
    straight, bent, single = simplified([line, bend, point])
    assert straight.tolist() == [[0.0, 0.0], [10.0, 0.0]]
    assert bent.tolist() == bend.tolist()
    assert single.tolist() == [[0.0, 0.0]]


def test_a_stop_line_reaches_from_the_middle_of_the_road_to_the_kerb() -> None:
    row = np.zeros((2, LINE_COLUMNS))
    # Northwards, lanes from x = 0 to 4 on the right of a carriageway from -6 to 4; then eastwards.
    row[0] = [2.0, 10.0, 0.0, 1.0, -6.0, 10.0, 4.0, 10.0, 0.0]
    row[1] = [5.0, 1.5, 1.0, 0.0, 5.0, 3.0, 5.0, -9.0, 0.0]
    ends = stop_line_ends(row)
    np.testing.assert_allclose(ends[0], [[0.0, 10.0], [4.0, 10.0]], atol=1e-9)
    np.testing.assert_allclose(ends[1], [[5.0, 0.0], [5.0, 3.0]], atol=1e-9)
