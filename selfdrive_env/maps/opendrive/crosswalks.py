"""Places the crosswalk objects of OpenDRIVE roads in the plane.

An outline is given in the frame of the object (u along its heading, v to the left) or along the
road (s, t); objects without one are rectangles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.geometry import evaluate_polynomials
from selfdrive_env.maps.opendrive.parse.records import Contents, CrosswalkRecord, Road
from selfdrive_env.maps.road_network import Crosswalk, RoadNetwork

__all__ = ["place_crosswalks", "road_points"]

Floats = NDArray[np.float64]

MIN_AREA = 0.01
"""Outlines of a smaller area are left out [m^2]."""


def road_points(road: Road, s: Floats, t: Floats, height: Floats | float) -> Floats:
    """Returns points given along a road.

    Args:
        road: The road.
        s: Stations, moved onto the road where outside, [P] [m].
        t: Offsets from the reference line, positive left, [P] [m].
        height: Above the road, [P] [m].

    Returns:
        World coordinates, [P, 3] [m].
    """
    s = np.clip(s, 0.0, road.length)
    x, y, heading, _ = road.line.evaluate(s)
    z, _, _ = evaluate_polynomials(road.elevations, s)
    return np.stack([x - t * np.sin(heading), y + t * np.cos(heading), z + height], axis=-1)


def place_crosswalks(contents: Contents, network: RoadNetwork, problems: Problems) -> None:
    """Appends the crosswalks of all roads to the network.

    Args:
        contents: The records of the file.
        network: Receives the crosswalks.
        problems: Receives outlines without an area.
    """
    for road in contents.roads.values():
        for record in road.crosswalks:
            outline = _outline(road, record)
            if _area(outline) < MIN_AREA:
                problems.drop("{} crosswalks have no area and are left out", f"object {record.id}")
                continue
            network.crosswalks.append(Crosswalk(outline))


def _outline(road: Road, record: CrosswalkRecord) -> Floats:
    """Returns the polygon of a crosswalk, [P, 3] [m]."""
    first, second, height = record.corners.T
    if record.on_road:
        return road_points(road, first, second, height)
    at, across = np.array([record.s]), np.array([record.t])
    _, _, heading, _ = road.line.evaluate(at)
    origin = road_points(road, at, across, record.z_offset)[0]
    angle = float(heading[0]) + record.heading
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack(
        [
            origin[0] + first * cosine - second * sine,
            origin[1] + first * sine + second * cosine,
            origin[2] + height,
        ],
        axis=-1,
    )


def _area(outline: Floats) -> float:
    """Returns the area of a polygon in the plane [m^2]."""
    x, y = outline[:, 0] - outline[0, 0], outline[:, 1] - outline[0, 1]
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
