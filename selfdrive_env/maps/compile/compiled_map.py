"""`RoadNetwork` -> the static structs that the kernels read, for one map.

Indices in a `CompiledMap` count within its map; `maps.pool` puts maps one after the other and adds
the offsets, so that every stored index is global.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from selfdrive_env.maps.compile.grid import Cells, Frame, compile_cells, frame_of, segment_pairs
from selfdrive_env.maps.compile.levels import find_layers
from selfdrive_env.maps.compile.paint import compile_paint
from selfdrive_env.maps.compile.segments import compile_lanes, resample_lanes
from selfdrive_env.maps.compile.signs.stop_lines import compile_signs, guard_lists
from selfdrive_env.maps.compile.snap import snap, snapped
from selfdrive_env.maps.compile.surface import (
    build_surfaces,
    false_edge_areas,
    outside_areas,
    surface_edges,
)
from selfdrive_env.maps.road_network import MapError, RoadNetwork
from selfdrive_env.state.arrays import F32, F64, I32, I64
from selfdrive_env.state.road import LINE_X, LINE_Y, VIEW_RANGE, Grid, Lanes, Paint, Routes, Signs

__all__ = ["CompiledMap", "compile_map", "with_stop_lines"]


@dataclass(frozen=True, slots=True)
class CompiledMap:
    """One map as flat arrays, all indices counted within the map."""

    name: str
    digest: str
    """Changes with anything that kernels read, but for the length of the lists of stop lines."""

    network_lane: I32
    """Index in `RoadNetwork.lanes` of each compiled lane, [L]."""

    num_junctions: int
    num_groups: int
    """Signal groups: those of the network, then one for each signal without a group."""

    lanes: Lanes
    routes: Routes
    grid: Grid
    signs: Signs
    paint: Paint


def compile_map(
    network: RoadNetwork,
    *,
    lane_points: int = 80,
    boundary_points: int = 80,
    stop_lines: int = 4,
) -> CompiledMap:
    """Returns the arrays of one map.

    Args:
        network: The map.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines.
    """
    from selfdrive_env.maps.compile.routes import compile_routes

    strips = resample_lanes(network)
    frame = frame_of(np.concatenate([strips.left, strips.right]))
    try:
        pairs = segment_pairs(strips, frame)
    except MapError as error:
        raise MapError(f"map {network.name!r}: {error}") from None
    layers = find_layers(strips, pairs)
    lanes = snap(compile_lanes(network, strips, layers.layer))
    signs = snap(compile_signs(network, strips, lanes))
    areas = build_surfaces(network, strips, layers)
    surfaces = [surface_edges(area) for area in areas]
    cells = compile_cells(frame, pairs, [edges for edges, _ in surfaces], layers.removal)
    counts = (lane_points, boundary_points, stop_lines)
    false_edges = false_edge_areas(strips, layers)
    near = _near_lists(lanes, signs, surfaces, false_edges, cells, frame, counts)
    grid = Grid(
        origin=frame.origin[None].astype(np.float32),
        shape=np.array([[frame.blocks_x, frame.blocks_y, 0, layers.count]], np.int32),
        block=cells.block,
        segment_first=cells.segment_first,
        segment=cells.segment,
        edge_first=cells.edge_first,
        edge=cells.edge,
        inside=cells.inside,
        near=cells.near,
        **near,
    )
    structs = (lanes, snap(compile_routes(lanes)), snap(grid), signs)
    return CompiledMap(
        name=network.name,
        digest=_digest(structs),
        network_lane=strips.network_lane,
        num_junctions=len(network.junctions),
        num_groups=int(signs.map_group_first[-1]),
        lanes=structs[0],
        routes=structs[1],
        grid=structs[2],
        signs=structs[3],
        paint=compile_paint(network, strips, areas),
    )


def with_stop_lines(compiled: CompiledMap, count: int) -> CompiledMap:
    """Returns a map with shorter lists of near stop lines: nearest first, they are only cut.

    Args:
        compiled: With lists of at least `count`.
        count: New length.
    """
    grid = compiled.grid
    if count == grid.near_stop_line.shape[1]:
        return compiled
    shorter = np.ascontiguousarray(grid.near_stop_line[:, :count])
    return replace(compiled, grid=grid._replace(near_stop_line=shorter))


def _near_lists(
    lanes: Lanes,
    signs: Signs,
    surfaces: list[tuple[F64, I64]],
    false_edges: list[Any],
    cells: Cells,
    frame: Frame,
    counts: tuple[int, int, int],
) -> dict[str, Any]:
    """Returns the fields of `Grid` that say what is near each observation cell."""
    from selfdrive_env.maps.compile import near

    centre, layer = cells.observation_centres(frame)
    point, point_lane, point_s, number = near.lane_points(lanes)
    reach = near.lane_reach(number, counts[0])
    boundary: list[F32] = []
    near_boundary: list[I32] = []
    total = 0
    for k, (edges, ring) in enumerate(surfaces):
        mine = centre[layer == k]
        points, number = near.boundary_points(edges, ring)
        points, number = outside_areas(snapped(points), number, false_edges[k])
        lists = near.nearest_points(
            mine,
            points[:, :2].astype(np.float64),
            near.boundary_reach(number, counts[1]),
            counts[1],
        )
        # Layers above the first are built near bridges only: the points elsewhere are not stored.
        used = np.unique(lists[lists >= 0]) if k else np.arange(len(points))
        place = np.full(len(points) + 1, -1, np.int32)
        place[used] = total + np.arange(len(used))
        near_boundary.append(place[lists])
        boundary.append(points[used])
        total += len(used)
    line = signs.line[:, [LINE_X, LINE_Y]].astype(np.float64)
    guard_first, guard = guard_lists(signs, cells, frame)
    return {
        "near_lane_point": near.nearest_points(
            centre, point[:, :2].astype(np.float64), reach, counts[0]
        ),
        "near_boundary": np.concatenate(near_boundary),
        "near_stop_line": near.nearest_points(
            centre, line, np.full(len(line), VIEW_RANGE), counts[2]
        ),
        "guard_first": guard_first,
        "guard": guard,
        "lane_point": np.concatenate(
            [point, point_s[:, None], point_lane[:, None], np.zeros((len(point), 2))], axis=1
        ).astype(np.float32),
        "boundary_point": np.concatenate(boundary),
    }


WHERE_STATED = ("precedence", "cycle_first", "cycle_colour", "cycle_end", "cycle_offset")
"""Fields that a digest leaves out where they say nothing."""

FOLLOWING = ("near_stop_line", "foe_first", "foe", "foe_rule", "foe_place")
"""Fields that follow from others, as routes do."""


def _digest(structs: tuple[Lanes, Routes, Grid, Signs]) -> str:
    """Returns 16 hexadecimal digits of the SHA-256 of all arrays but those that follow from others.

    These are the routes and the lists of near stop lines and of foes. Right of way and cycles count
    where there are some.
    """
    digest = hashlib.sha256()
    for struct in structs:
        if isinstance(struct, Routes):
            continue
        for name, array in struct._asdict().items():
            if name in FOLLOWING or (name in WHERE_STATED and not array.any()):
                continue
            digest.update(str((array.shape, array.dtype)).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
