"""Finds where points of a network lie along its roads: a road, a station and an offset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.write.curves import project
from selfdrive_env.maps.opendrive.write.roads import Plan
from selfdrive_env.maps.road_network import RoadNetwork

__all__ = ["BESIDE", "Finder", "Site"]

Floats = NDArray[np.float64]

SPACING = 4.0
"""Between the points of a line from which the nearest one is chosen [m]."""

BESIDE = 1e-3
"""Points this far before or beyond a road are still beside it [m]."""

TRIED = 12
"""How many roads are tried, the nearest ones first."""


class Site(NamedTuple):
    """A place along a road."""

    road: int
    s: float
    """Station [m]."""

    t: float
    """Offset to the left [m]."""

    z: float
    """Height above the road [m]."""

    heading: float
    """Of the road [rad]."""


class Finder:
    """Looks up places along the roads of a plan."""

    def __init__(self, network: RoadNetwork, plan: Plan) -> None:
        self.plan, self.origin = plan, np.array(network.origin)
        self.lanes = network.lanes
        rows = []
        for index, road in enumerate(plan.roads):
            assert road.line is not None
            stations = np.linspace(0.0, road.length, 2 + int(road.length / SPACING))
            x, y, _, _ = road.line.evaluate(stations)
            rows.append(np.column_stack([np.full(len(x), index), stations, x, y]))
        self.points = np.concatenate(rows)

    def find(self, point: Floats, first: Iterable[int] = ()) -> Site:
        """Returns the place of a point on the nearest road beside which it lies.

        Args:
            point: [3] in the coordinates of the network [m].
            first: Roads that are preferred.
        """
        apart = self.points[:, 2:] - (point + self.origin)[:2]
        order = np.argsort((apart * apart).sum(axis=1), kind="stable")
        near = dict.fromkeys(self.points[order, 0].astype(int).tolist())
        tried = [*dict.fromkeys(first), *list(near)[:TRIED]]
        sites = []
        for road in tried:
            row = order[np.argmax(self.points[order, 0] == road)]
            site, beyond = self.on_road(road, point, float(self.points[row, 1]))
            if beyond <= BESIDE:
                return site
            sites.append((beyond, site))
        return min(sites, key=lambda pair: pair[0])[1]

    def on_road(self, road: int, point: Floats, guess: float) -> tuple[Site, float]:
        """Returns the place of a point along a road, and how far it lies beyond its ends [m]."""
        line = self.plan.roads[road].line
        assert line is not None
        x, y, z = (point + self.origin).tolist()
        s, t = project(line, np.array([[x, y]]), np.array([guess]))
        at_x, at_y, heading, _ = (float(value[0]) for value in line.evaluate(s))
        along = (x - at_x) * np.cos(heading) + (y - at_y) * np.sin(heading)
        height = z - self.height(road, float(s[0]))
        return Site(road, float(s[0]), float(t[0]), height, heading), abs(along)

    def height(self, road: int, station: float) -> float:
        """Returns the height of a road at a station [m]."""
        sections = self.plan.roads[road].sections
        section = [one for one in sections if one.start <= station or one is sections[0]][-1]
        shape = section.shape
        return float(np.interp(station - section.start, shape.stations, shape.heights))

    def along_lane(self, lane: int, distance: float) -> float:
        """Returns the station at a distance from the start of a lane [m]."""
        place, centre = self.plan.places[lane], self.lanes[lane].centre
        arc = self.lanes[lane].arc_length
        point = np.array([np.interp(distance, arc, column) for column in centre.T])
        first, last = self.span(lane)
        share = distance / max(float(arc[-1]), 1e-9)
        guess = first + (last - first) * (share if place.forward else 1.0 - share)
        site, _ = self.on_road(place.road, point, guess)
        return min(max(site.s, first), last)

    def span(self, lane: int) -> tuple[float, float]:
        """Returns the stations between which the section of a lane lies [m]."""
        place = self.plan.places[lane]
        section = self.plan.roads[place.road].sections[place.section]
        return section.start, section.start + section.shape.length
