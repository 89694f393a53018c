"""Tasks along a road: joining a motorway, overtaking, keeping a lane, a closed road."""

from __future__ import annotations

import math
from dataclasses import replace

from selfdrive_env.maps.road_network import Lane, RoadNetwork
from selfdrive_env.scenes.agents import Goal
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tasks.cast import Cast
from selfdrive_env.scenes.tasks.roads import (
    EAST,
    HALF_LANE,
    WINDING_ROADS,
    Place,
    lane_at,
    road,
)

__all__ = ["closed_road", "keep_lane", "merge", "overtake", "told_to_overtake"]

ON_MOTORWAY = 12
"""Vehicles that come along a motorway."""

BARRIER = 120.0
"""Where the road is closed, from the ego [m]."""

BEYOND = 6.0
"""Waypoint beside a standing vehicle, ahead of its middle [m]."""

ASIDE, TURNED = 0.2, 3.0
"""Up to which one starts beside the middle of its lane [m] and turned [degrees]: the longest van
is within the narrowest lane even in its tightest bend."""


def merge(cast: Cast) -> None:
    """From a ramp onto a motorway, into a stream on the lane beside."""
    ramp, behind, onwards = _merging_lanes(road(cast.on("motorway")))
    goals = [Place(onwards, 60.0), Place(onwards, 160.0)]
    start = Place(ramp, ramp.length - cast.draw(50.0, 80.0))
    cast.add(start, goals, speed=12.0)
    gaps = cast.random.uniform(18.0, 55.0, ON_MOTORWAY)
    last, end = Place(behind, behind.length - 5.0), Place(onwards, onwards.length - 20.0)
    cast.stream(last, end, speed=16.0, gaps=gaps)


def _merging_lanes(network: RoadNetwork) -> tuple[Lane, Lane, Lane]:
    """Returns the ramp, and the motorway lane beside its entry before it and behind it."""
    lanes = network.lanes
    entry = next(lane for lane in lanes if lane.type == "entry")
    beside = lanes[entry.left_neighbour]
    ramp, behind = lanes[entry.predecessors[0]], lanes[beside.predecessors[0]]
    return ramp, behind, lanes[beside.successors[0]]


def overtake(cast: Cast) -> None:
    """Past a standing vehicle on a street of two lanes, the other of which is in use."""
    name = cast.on("wide")
    start = lane_at(name, -150.0, -3.0 * HALF_LANE, EAST)
    goals = [start.ahead(220.0), start.ahead(280.0)]
    cast.add(start, goals, speed=9.0)
    cast.add(start.ahead(cast.draw(70.0, 110.0)), goals, speed=0.0, driver="still")
    left = lane_at(name, -170.0, -HALF_LANE, EAST)
    beside = lane_at(name, -150.0, -HALF_LANE, EAST)
    gaps = cast.random.uniform(15.0, 45.0, 2)
    cast.stream(left, beside.ahead(380.0), speed=9.0, gaps=gaps)


def told_to_overtake(scene: Scene) -> Scene:
    """Returns a scene of `overtake` whose ego has a waypoint beside the standing vehicle as well.

    Scripted drivers change lanes for their route alone: with it they do.
    """
    ego, standing = scene.agents[:2]
    waypoint = Goal(standing.x + BEYOND, standing.y + 2.0 * HALF_LANE, standing.z)
    ego = replace(ego, goals=(waypoint, *ego.goals))
    return replace(scene, agents=(ego, *scene.agents[1:]))


def keep_lane(cast: Cast) -> None:
    """Along a winding road, from aside and turned; every second time behind somebody."""
    lanes = road(cast.on(f"winding {int(cast.random.integers(WINDING_ROADS))}")).lanes
    lane = max((lane for lane in lanes if lane.drivable), key=lambda lane: lane.length)
    start = Place(lane, cast.draw(10.0, lane.length - 480.0))
    goals = [start.ahead(200.0), start.ahead(300.0)]
    turned = math.radians(cast.draw(-TURNED, TURNED))
    aside = cast.draw(-ASIDE, ASIDE)
    body = ("car", "van")[int(cast.random.integers(2))]
    cast.add(start, goals, speed=cast.draw(5.0, 8.0), aside=aside, turned=turned, body=body)
    if cast.random.random() < 0.5:
        ahead = start.ahead(cast.draw(25.0, 60.0))
        cast.add(ahead, [start.ahead(450.0)], speed=cast.draw(3.0, 8.0))


def closed_road(cast: Cast) -> None:
    """Towards vehicles that stand over the whole width of a street."""
    name = cast.on("narrow")
    start = lane_at(name, -100.0, -HALF_LANE, EAST)
    goals = [start.ahead(200.0), start.ahead(300.0)]
    cast.add(start, goals, speed=cast.draw(7.0, 11.0))
    for aside in (-0.6, 1.7, 4.0):
        cast.add(start.ahead(BARRIER), goals, speed=0.0, driver="still", aside=aside)
