"""The road of a map, whatever format it came in, as metrics need it.

Edges are those of the drivable surface of every level, at the elevation of the nearest lane there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from selfdrive_env.maps.compile.grid import frame_of, segment_pairs
from selfdrive_env.maps.compile.levels import Layers, find_layers
from selfdrive_env.maps.compile.segments import Strips, resample_lanes
from selfdrive_env.maps.compile.surface import (
    build_surfaces,
    false_edge_areas,
    outside_areas,
    surface_edges,
)
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.metrics.lines.polylines import Polylines
from selfdrive_env.metrics.road import Road
from selfdrive_env.scenes.roads import Roads
from selfdrive_env.state.arrays import F64, I64

__all__ = ["road_of_network", "with_recorded_edges"]

PIECE = 2.0
"""Longest piece of an edge where the ground is not flat: each has its elevation [m]."""


def road_of_network(network: RoadNetwork) -> Road:
    """Returns the drivable lanes, the edges and the stop lines of a map, in its coordinates.

    What lights show is not in a map: add `light` with `dataclasses.replace`.

    Args:
        network: The map.
    """
    strips = resample_lanes(network)
    frame = frame_of(np.concatenate([strips.left, strips.right]))
    layers = find_layers(strips, segment_pairs(strips, frame))
    lanes = [network.lanes[number] for number in strips.network_lane]
    lines = network.stop_lines
    ends = [np.array([getattr(line, side) for line in lines]) for side in ("left", "right")]
    left, right = (end.reshape(-1, 3) for end in ends)
    return Road.of(
        edges=_edges(network, strips, layers),
        lanes=[lane.centre for lane in lanes],
        junction=[lane.junction >= 0 for lane in lanes],
        speed_limit=[lane.speed_limit for lane in lanes],
        half_width=[0.5 * lane.width.mean() for lane in lanes],
        successors=strips.link,
        stop_point=0.5 * (left + right),
        stop_heading=[line.heading for line in lines],
        stop_half_width=0.5 * np.hypot(*(left - right)[:, :2].T),
    )


def with_recorded_edges(road: Road, roads: Roads) -> Road:
    """Returns a road that ends at the edges of a record, where it has any.

    Args:
        road: Of the map that was made of the record.
        roads: The record.
    """
    lines = [roads.line(one) for one in roads.of_kind("edge")]
    return replace(road, edges=Polylines.of(lines)) if lines else road


def _edges(network: RoadNetwork, strips: Strips, layers: Layers) -> Polylines:
    """Returns the edges of all levels, those that several levels share once."""
    flat = layers.count == 1 and not np.ptp(strips.centre[:, 2])
    areas = build_surfaces(network, strips, layers)
    false = false_edge_areas(strips, layers)
    taken: set[tuple[int, ...]] = set()
    lines: list[F64] = []
    for layer, area in enumerate(areas):
        edges, ring = surface_edges(area)
        if not flat:
            edges, ring = _cut(edges, ring)
        middle = 0.5 * (edges[:, :2] + edges[:, 2:])
        place = np.arange(len(edges), dtype=np.int32)
        kept = outside_areas(middle.astype(np.float32), place, false[layer])[1]
        heights = _heights(edges, strips, layers, layer)
        points = np.concatenate([edges[:, :2], heights[:, :1], edges[:, 2:], heights[:, 1:]], 1)
        keys = [tuple(row) for row in np.round(points * 1e3).astype(np.int64).tolist()]
        chosen = [number for number in kept.tolist() if keys[number] not in taken]
        taken.update(keys[number] for number in chosen)
        lines += _joined(points[chosen], ring[chosen], np.array(chosen, np.int64))
    return Polylines.of(lines)


def _cut(edges: F64, ring: I64) -> tuple[F64, I64]:
    """Returns edges cut into equal pieces that are not longer than `PIECE`."""
    way = edges[:, 2:] - edges[:, :2]
    count = np.maximum(1, np.ceil(np.hypot(*way.T) / PIECE)).astype(np.int64)
    owner = np.repeat(np.arange(len(edges)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    share = np.stack([number, number + 1], 1) / count[owner][:, None]
    ends = [edges[owner, :2] + share[:, side, None] * way[owner] for side in (0, 1)]
    return np.concatenate(ends, axis=1), ring[owner]


def _heights(edges: F64, strips: Strips, layers: Layers, layer: int) -> F64:
    """Returns the elevation of both ends of each edge: of the nearest lane of its level, [N, 2]."""
    own = np.flatnonzero((layers.removal < 0) | (layers.removal == layer))
    start = strips.start[own]
    point = np.stack([strips.centre[start], strips.centre[start + 1]], axis=1).reshape(-1, 3)
    lanes = Polylines(point, np.arange(0, len(point) + 1, 2))
    x, y = edges[:, 0::2], edges[:, 1::2]
    found = lanes.nearest(x, y, np.zeros_like(x), np.ones(x.shape, np.bool_), z_weight=0.0)
    return found.height


def _joined(points: F64, ring: I64, number: I64) -> list[F64]:
    """Returns edges that follow one another along a ring as lines, each [P, 3]."""
    if not len(points):
        return []
    follows = (np.diff(number) == 1) & (np.diff(ring) == 0)
    parts = np.split(points, np.flatnonzero(~follows) + 1)
    return [np.concatenate([part[:, :3], part[-1:, 3:]]) for part in parts]
