"""The drivable surface: the union of lanes and junction areas as polygons, and its edges.

Built with shapely, which is imported when first needed. Near bridges there is one surface a layer:
layer k lacks the pieces of lane that belong to another layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.grid import frame_of, segment_pairs
from selfdrive_env.maps.compile.levels import Layers, find_layers
from selfdrive_env.maps.compile.segments import Strips, resample_lanes
from selfdrive_env.maps.road_network import Lane, RoadNetwork
from selfdrive_env.state.arrays import F32, F64, I32, I64

if TYPE_CHECKING:
    from shapely import Geometry

__all__ = ["build_surfaces", "surface_edges", "surface_polygons"]

GAP = 0.05
"""Half the widest gap between lanes that is closed [m]."""

JUNCTION_GAP = 2.0
"""Half the widest gap between the connecting lanes of a junction that is closed [m]: there is no
kerb between the two directions of a street there, even if it has a median."""

SMALLEST_HOLE = 0.5
"""Holes of less area are filled [m^2]."""

JOINT = 4.0
"""Widest gap between the end of a lane and the start of its successor that is bridged [m], the same
as for links of OpenDRIVE."""

CUT = 0.15
"""Boundary points this close to where a layer was cut are no road edge [m]."""

TOLERANCE = 1e-3
"""How far the outline may lie from the lane boundaries [m]."""

Geometries = NDArray[np.object_]


def surface_polygons(network: RoadNetwork) -> list[Geometry]:
    """Returns the drivable surface of each layer as a shapely geometry."""
    strips = resample_lanes(network)
    frame = frame_of(np.concatenate([strips.left, strips.right]))
    return build_surfaces(network, strips, find_layers(strips, segment_pairs(strips, frame)))


def build_surfaces(network: RoadNetwork, strips: Strips, layers: Layers) -> list[Geometry]:
    """Returns the drivable surface of each layer as a shapely geometry.

    Args:
        network: The map.
        strips: Its resampled lanes.
        layers: Which segments belong to which layer only.
    """
    import shapely

    whole = lane_polygons([network.lanes[i] for i in strips.network_lane])
    joints, joint_lane = _joints(strips)
    cut = np.unique(strips.segment_lane[layers.removal >= 0])
    pieces = {
        lane: _pieces(network.lanes[strips.network_lane[lane]], lane, strips, layers)
        for lane in cut
    }
    out = []
    for layer in range(layers.count):
        polygons = whole.copy()
        for lane, parts in pieces.items():
            polygons[lane] = shapely.union_all([g for g, own in parts if own < 0 or own == layer])
        junctions, mouths = _junction_areas(network, strips, polygons)
        absent = np.zeros(len(polygons), bool)
        for lane in cut:
            absent[lane] = _ends_removed(lane, strips, layers, layer)
        kept = joints[~absent[joint_lane].any(axis=1)] if len(joints) else joints
        out.append(_closed(np.concatenate([polygons, junctions, kept]), mouths))
    return out


def surface_edges(surface: Geometry) -> tuple[F64, I64]:
    """Returns the edges of a surface in order along its rings, the surface on their left.

    Returns:
        x0, y0, x1, y1 [N, 4] [m], exact in single precision; ring of each edge, [N].
    """
    import shapely

    parts = shapely.get_parts(surface)
    parts = parts[shapely.get_type_id(parts) == 3]
    rings, polygon = shapely.get_rings(parts, return_index=True)
    hole = np.zeros(len(rings), bool)
    hole[1:] = polygon[1:] == polygon[:-1]
    # Orientation of shapely is not fixed: holes run clockwise, outlines counter-clockwise.
    wrong = shapely.is_ccw(rings) == hole
    rings[wrong] = shapely.reverse(rings[wrong])
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    xy = xy.astype(np.float32).astype(np.float64)
    within = ring[1:] == ring[:-1]
    edges = np.concatenate([xy[:-1], xy[1:]], axis=1)[within]
    ring = ring[:-1][within]
    distinct = (edges[:, :2] != edges[:, 2:]).any(axis=1)
    return edges[distinct], ring[distinct]


def false_edge_areas(strips: Strips, layers: Layers) -> list[Geometries]:
    """Returns for each layer thin areas over the edges where a road was cut off."""
    import shapely

    cut, beyond = layers.border.T
    hulls = [
        shapely.buffer(shapely.convex_hull(shapely.multipoints(strips.quads[side])), CUT)
        for side in (cut, beyond)
    ]
    areas = shapely.intersection(*hulls)
    own = layers.removal[layers.border]
    out = []
    for layer in range(layers.count):
        absent = (own >= 0) & (own != layer)
        out.append(areas[absent[:, 0] != absent[:, 1]])
    return out


def outside_areas(points: F32, number: I32, areas: Geometries) -> tuple[F32, I32]:
    """Returns the boundary points, and their numbers, that lie in none of `areas`."""
    import shapely

    if not len(areas):
        return points, number
    inside = shapely.STRtree(areas).query(shapely.points(points[:, :2]), predicate="intersects")[0]
    kept = np.ones(len(points), bool)
    kept[inside] = False
    return points[kept], number[kept]


def lane_polygons(lanes: list[Lane]) -> Geometries:
    """Returns a valid geometry for each lane."""
    import shapely

    outline = [np.concatenate([lane.left[:, :2], lane.right[::-1, :2]]) for lane in lanes]
    count = [len(o) for o in outline]
    rings = shapely.linearrings(
        np.concatenate(outline), indices=np.repeat(np.arange(len(lanes)), count)
    )
    polygons: Geometries = shapely.polygons(rings)
    for i in np.flatnonzero(~shapely.is_valid(polygons)):
        polygons[i] = _from_quads(lanes[i].left[:, :2], lanes[i].right[:, :2])
    return polygons


def _from_quads(left: F64, right: F64) -> Any:
    """Returns the union of the convex hulls between successive stations."""
    import shapely

    corners = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    hulls = shapely.convex_hull(shapely.multipoints(corners))
    return shapely.union_all(hulls[shapely.get_type_id(hulls) == 3])


def _joints(strips: Strips) -> tuple[Geometries, I32]:
    """Returns hulls over the gaps between lanes and their successors, and the two lanes of each."""
    import shapely

    source, target = strips.link.T
    end = strips.segment_first[source + 1] + source
    start = strips.segment_first[target] + target
    corners = np.stack(
        [strips.left[end], strips.right[end], strips.right[start], strips.left[start]], axis=1
    )
    gap = np.hypot(*(strips.centre[end, :2] - strips.centre[start, :2]).T)
    near = (gap > 1e-6) & (gap < JOINT)
    hulls = shapely.convex_hull(shapely.multipoints(corners[near]))
    real = shapely.get_type_id(hulls) == 3
    return hulls[real], strips.link[near][real]


def _pieces(lane: Lane, number: int, strips: Strips, layers: Layers) -> list[tuple[Any, int]]:
    """Returns the lane cut where its layer changes: (geometry, layer or -1 for all layers)."""
    first, last = strips.segment_first[number], strips.segment_first[number + 1]
    removal = layers.removal[first:last]
    starts = np.flatnonzero(np.diff(removal, prepend=-2))
    ends = np.append(starts[1:], len(removal))
    known = lane.arc_length
    station = strips.station[first + number : last + number + 1]
    out = []
    for a, b in zip(starts, ends, strict=True):
        s0, s1 = station[a], station[b]
        s = np.concatenate([[s0], known[(known > s0) & (known < s1)], [s1]])
        sides = [
            np.stack([np.interp(s, known, side[:, c]) for c in (0, 1)], axis=1)
            for side in (lane.left, lane.right)
        ]
        out.append((_from_quads(*sides), int(removal[a])))
    return out


def _ends_removed(lane: int, strips: Strips, layers: Layers, layer: int) -> bool:
    """Returns whether either end of a lane is missing from a layer."""
    ends = layers.removal[[strips.segment_first[lane], strips.segment_first[lane + 1] - 1]]
    return bool(((ends >= 0) & (ends != layer)).any())


def _junction_areas(
    network: RoadNetwork, strips: Strips, polygons: Geometries
) -> tuple[Geometries, Geometries]:
    """Returns what junctions add to their lanes: enclosed holes and narrow gaps; and these gaps."""
    import shapely

    junction = np.array([network.lanes[i].junction for i in strips.network_lane])
    out, between = [], []
    for j in np.unique(junction[junction >= 0]):
        if network.junctions[j].kind != "default":
            continue
        area = shapely.union_all(polygons[junction == j], grid_size=1e-4)
        filled = _filled(area, np.inf)
        closed = shapely.buffer(shapely.buffer(filled, JUNCTION_GAP), -JUNCTION_GAP)
        gaps = shapely.get_parts(shapely.difference(closed, filled))
        # Round corners of the buffer leave shreds along the outline: only real gaps are wide.
        gaps = gaps[shapely.area(gaps) > 0.05 * np.maximum(shapely.length(gaps), 1.0)]
        out.append(shapely.union_all([filled, *_filled_each(gaps)]))
        between += list(gaps)
    return np.array(out, dtype=object), np.array(between, dtype=object)


def _filled_each(polygons: Geometries) -> list[Any]:
    """Returns gaps grown by a millimetre, so that they join what surrounds them."""
    import shapely

    return list(shapely.buffer(polygons, TOLERANCE, join_style="mitre"))


def _filled(area: Any, largest: float, mouths: Geometries | None = None) -> Any:
    """Returns the area without its holes smaller than `largest` [m^2] or within one of `mouths`."""
    import shapely

    parts = shapely.get_parts(area)
    parts = parts[shapely.get_type_id(parts) == 3]
    out = []
    for part in parts:
        holes = shapely.get_rings(part)[1:]
        if len(holes):
            polygons = shapely.polygons(holes)
            kept = shapely.area(polygons) >= largest
            if mouths is not None and len(mouths):
                kept[shapely.STRtree(polygons).query(mouths, predicate="contains")[1]] = False
            part = shapely.Polygon(part.exterior, holes[kept])
        out.append(part)
    return shapely.union_all(out)


def _closed(geometries: Geometries, gaps: Geometries) -> Any:
    """Returns the union with narrow gaps and small holes closed and its outline thinned out.

    Closed gaps of junctions end in a hollow arc. Where a lane between the directions ends there (to
    turn left from in either), arc and lane enclose a hole that is part of the road.
    """
    import shapely

    area = shapely.union_all(geometries, grid_size=1e-4)
    grown = shapely.buffer(area, GAP, join_style="mitre", mitre_limit=5.0)
    area = shapely.buffer(grown, -GAP, join_style="mitre", mitre_limit=5.0)
    mouths = shapely.buffer(gaps, JUNCTION_GAP)
    return shapely.simplify(_filled(area, SMALLEST_HOLE, mouths), TOLERANCE)
