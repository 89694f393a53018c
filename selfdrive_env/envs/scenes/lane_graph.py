"""A map from recorded lines: lanes around their centres, as wide as edges and neighbours let them.

Links are those of the record; where it has none, an end and a start that coincide are joined.
Junctions are inferred from lanes that lie over each other. Stop lines lie where lights and stop
signs were recorded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.light_records import add_signals
from selfdrive_env.maps.network.areas import infer_junctions
from selfdrive_env.maps.network.finish import Problems, finish, join_lanes, move
from selfdrive_env.maps.road_network import Crosswalk, Lane, RoadNetwork
from selfdrive_env.metrics import Polylines
from selfdrive_env.scenes import ROAD_TYPES, Lights, Roads, SceneError
from selfdrive_env.state.road import LEVEL_HEIGHT

__all__ = ["network_of"]

Floats = NDArray[np.float64]

HALF_WIDTH = 1.85
"""Of a lane where nothing else is known [m]."""

NARROWEST, WIDEST = 1.2, 4.5
"""Half widths that lines may ask for: room to park beside a lane counts as part of it [m]."""

BESIDE = 6.0
"""Lanes whose ends are within this of each other lie beside each other [m]."""

SHORTEST = 0.5
"""Lanes below this are left out [m]."""

MIN_STEP = 0.05
"""Points of a lane closer than this are one [m]."""

DEFAULT_LIMIT = 13.9
"""Where the record has none [m/s]."""


def network_of(
    roads: Roads, *, name: str, left_hand: bool = False, lights: Lights | None = None
) -> RoadNetwork:
    """Returns a map of the lanes of a record, in its coordinates.

    Args:
        roads: The lines.
        name: What the map is called.
        left_hand: Whether traffic keeps to the left.
        lights: As they were recorded: their colours are no part of the map.

    Raises:
        SceneError: There is no lane that cars may drive on.
    """
    network = RoadNetwork(name=name, left_hand=left_hand)
    index: dict[int, int] = {}
    edges = Polylines.of([roads.line(one) for one in roads.of_kind("edge")])
    for line in roads.of_kind("lane"):
        centre = _cleaned(roads.line(line).astype(np.float64))
        if len(centre) < 2 or _length(centre) < SHORTEST:
            continue
        index[int(roads.id[line])] = len(network.lanes)
        bike = ROAD_TYPES[int(roads.type[line])] == "lane_bike"
        network.lanes.append(
            Lane(
                name=str(int(roads.id[line])),
                type="biking" if bike else "driving",
                centre=centre,
                left=centre,
                right=centre,
                speed_limit=float(roads.limit[line]) or DEFAULT_LIMIT,
                road=str(int(roads.id[line])),
            )
        )
    if not any(lane.drivable for lane in network.lanes):
        raise SceneError(f"scene {name!r} has no lane that cars may drive on: no map can be made")
    _link(network, roads, index)
    sides = [_sides(network, number, edges) for number in range(len(network.lanes))]
    for lane, (left, right) in zip(network.lanes, sides, strict=True):
        lane.left, lane.right = left, right
    network.crosswalks = [
        Crosswalk(roads.line(one).astype(np.float64))
        for one in roads.of_kind("crosswalk")
        if roads.first[one + 1] - roads.first[one] >= 3
    ]
    network.num_roads = len(network.lanes)
    problems = Problems()
    join_lanes(network, problems)
    infer_junctions(network)
    add_signals(network, roads, lights, index)
    finish(network, problems)
    move(network, np.array(network.origin))
    return network


def _cleaned(points: Floats) -> Floats:
    """Returns points without those that lie on the one before."""
    step = np.hypot(*np.diff(points[:, :2], axis=0).T)
    return points[np.concatenate([[True], step > MIN_STEP])]


def _length(points: Floats) -> float:
    return float(np.hypot(*np.diff(points[:, :2], axis=0).T).sum())


def _link(network: RoadNetwork, roads: Roads, index: dict[int, int]) -> None:
    """Writes which lanes follow each other and lie beside each other, as the record has it."""
    for own, number in index.items():
        lane = network.lanes[number]
        lane.successors = [index[one] for one in roads.linked(own, "exit") if one in index]
        lane.predecessors = [index[one] for one in roads.linked(own, "entry") if one in index]
        for side in ("left", "right"):
            for one in roads.linked(own, side):
                if one in index and _lies_beside(lane, network.lanes[index[one]]):
                    setattr(lane, f"{side}_neighbour", index[one])


def _lies_beside(lane: Lane, other: Lane) -> bool:
    """Whether two lanes begin and end beside each other."""
    ends = zip((lane.centre[0], lane.centre[-1]), (other.centre[0], other.centre[-1]), strict=True)
    return other.type == lane.type and all(np.hypot(*(a - b)[:2]) < BESIDE for a, b in ends)


def _sides(network: RoadNetwork, number: int, edges: Polylines) -> tuple[Floats, Floats]:
    """Returns the left and right boundary of a lane."""
    lane = network.lanes[number]
    centre = lane.centre
    along = np.gradient(centre[:, :2], axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    half = {1.0: np.full(len(centre), HALF_WIDTH), -1.0: np.full(len(centre), HALF_WIDTH)}
    for side, neighbour in ((1.0, lane.left_neighbour), (-1.0, lane.right_neighbour)):
        if neighbour >= 0:
            beside = network.lanes[neighbour].centre[:, :2]
            apart = np.hypot(*(centre[:, None, :2] - beside[None]).transpose(2, 0, 1)).min(1)
            half[side] = 0.5 * apart
    if len(edges):
        everywhere = np.ones(len(centre), np.bool_)
        x, y, z = centre.T
        places = edges.nearest(x, y, z, everywhere)
        normal = np.stack([-np.sin(places.heading), np.cos(places.heading)], 1)
        side_of = places.distance * (normal * across).sum(1)  # to its left the line is
        distance = np.abs(places.distance)
        near = places.found & (distance < WIDEST)
        near &= np.abs(places.height - centre[:, 2]) < LEVEL_HEIGHT
        for side, neighbour in ((1.0, lane.left_neighbour), (-1.0, lane.right_neighbour)):
            counts = near & (side * side_of > 0.0) & (neighbour < 0)
            half[side] = np.where(counts, distance, half[side])
    boundaries = []
    for side in (1.0, -1.0):
        width = np.clip(half[side], NARROWEST, WIDEST)
        boundary = centre.copy()
        boundary[:, :2] += side * width[:, None] * across
        boundaries.append(boundary)
    return boundaries[0], boundaries[1]
