"""What is painted on the road, and what fills it between the lanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.compile.paint import dashes, pieces_of, stripes
from selfdrive_env.maps.compile.segments import resample_lanes
from selfdrive_env.maps.compile.surface import lane_polygons
from selfdrive_env.state.road import CROSSWALK, GAP, GIVE_WAY, GUIDE_LINE


@pytest.mark.parametrize("name", BUILT_IN)
def test_lanes_and_gaps_are_the_whole_surface(
    name: str, surfaces: Callable[[str], list[Any]]
) -> None:
    network = load(name)
    lanes = lane_polygons([network.lanes[i] for i in resample_lanes(network).network_lane])
    found = pieces_of(compile_map(network).paint, GAP)
    gaps = np.array([shapely.Polygon(piece) for piece in found])
    surface = shapely.union_all(surfaces(name))
    left = shapely.difference(surface, shapely.union_all([*lanes, *gaps]))
    # What is left out are shreds.
    assert shapely.buffer(left, -0.11).is_empty
    assert shapely.area(shapely.difference(shapely.union_all(gaps), surface)) < 0.1
    assert (shapely.area(gaps) > 0.03).all()
    assert shapely.area(shapely.intersection(shapely.union_all(gaps), lanes)).max() < 0.1


def test_a_gap_with_a_hole_is_cut_through_it() -> None:
    from selfdrive_env.maps.compile.paint import _without_holes

    hole = shapely.box(2.0, 2.0, 3.0, 3.0)
    ring = shapely.difference(shapely.box(0.0, 0.0, 9.0, 9.0), hole)
    two = shapely.difference(ring, shapely.box(6.0, 5.0, 7.0, 7.0))
    pieces = _without_holes(two)
    assert all(not piece.interiors for piece in pieces)
    assert shapely.equals(shapely.union_all(pieces), two)


@pytest.mark.parametrize("name", BUILT_IN)
def test_crosswalks_are_those_of_the_network(name: str) -> None:
    network = load(name)
    painted = pieces_of(compile_map(network).paint, CROSSWALK)
    assert len(painted) == len(network.crosswalks) > 5
    for area, crosswalk in zip(painted, network.crosswalks, strict=True):
        np.testing.assert_allclose(area, crosswalk.outline[:, :2], atol=1e-3)


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_entry_of_a_roundabout_has_a_line_and_each_exit_its_guide(
    name: str, surfaces: Callable[[str], list[Any]]
) -> None:
    network = load(name)
    signs = [signal for signal in network.signals if signal.kind == "yield_sign"]
    surface = shapely.union_all(surfaces(name))
    paint = compile_map(network).paint
    for kind in (GIVE_WAY, GUIDE_LINE):
        lines = pieces_of(paint, kind)
        assert len(lines) == len(signs) >= 3
        for line in lines:
            length = shapely.length(shapely.linestrings(line))
            assert 4.0 < length < 9.0
            assert shapely.contains(surface, shapely.points(line)).all()
    for sign, line in zip(signs, pieces_of(paint, GIVE_WAY), strict=True):
        (lane,) = sign.lanes
        (way,) = network.lanes[lane].successors
        centre = network.lanes[way].centre[:, :2]
        distance = np.hypot(*(centre[:, None] - line[None]).transpose(2, 0, 1)).min(1)
        assert distance.min() < 1.5
        # Half of the way onto the ring, or less, lies before the line.
        assert 0.2 < distance.argmin() / len(centre) < 0.8


def test_a_sign_before_a_choice_of_ways_has_its_line_across_the_lane() -> None:
    network = load("riverside")
    stop = next(line for line in network.stop_lines if line.kind == "stop_sign")
    (lane, _), *_ = stop.lanes
    assert len(network.lanes[lane].successors) > 1
    sign = replace(network.signals[stop.signal], kind="yield_sign", lanes=[lane])
    alone = replace(network, signals=[sign], stop_lines=[])
    (line,) = pieces_of(compile_map(alone).paint, GIVE_WAY)
    ends = network.lanes[lane].left[-1, :2], network.lanes[lane].right[-1, :2]
    np.testing.assert_allclose(line, np.stack(ends), atol=1e-3)


def test_a_variant_is_painted_likewise() -> None:
    network = load("hillcrest")
    kinds = [compile_map(one).paint.kind for one in (network, network.varied(3))]
    for kind in (CROSSWALK, GIVE_WAY, GUIDE_LINE):
        assert (kinds[0] == kind).sum() == (kinds[1] == kind).sum()


def test_paint_is_no_part_of_what_a_map_is() -> None:
    network = load("riverside")
    plain = compile_map(replace(network, crosswalks=[]))
    assert plain.digest == compile_map(network).digest


def test_stripes_run_along_the_shorter_side_and_cover_half() -> None:
    area = np.array([(0.0, 0.0), (0.0, 3.0), (8.0, 3.0), (8.0, 0.0)])
    found = shapely.polygons(np.stack(stripes(area)))
    assert len(found) == 8
    assert shapely.union_all(found).area == pytest.approx(12.0)
    for one in found:
        x0, y0, x1, y1 = one.bounds
        assert (x1 - x0, y1 - y0) == pytest.approx((0.5, 3.0))
    (whole,) = stripes(area[:3])
    np.testing.assert_array_equal(whole, area[:3])


@pytest.mark.parametrize("length", [0.3, 5.0, 6.2])
def test_dashes_begin_and_end_where_the_line_does(length: float) -> None:
    corner = np.array([0.6 * length, 0.0])
    line = np.stack([np.zeros(2), corner, np.array([0.6, 0.4]) * length])
    found = dashes(line, 1.0, 0.5)
    np.testing.assert_allclose(found[0][0], line[0])
    np.testing.assert_allclose(found[-1][-1], line[-1])
    lengths = shapely.length([shapely.linestrings(one) for one in found])
    assert np.ptp(lengths) < 1e-9
    assert length == 0.3 or 0.7 < lengths[0] < 1.4
    assert (
        shapely.distance(shapely.linestrings(line), shapely.points(np.concatenate(found))).max()
        < 1e-9
    )
