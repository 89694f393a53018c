"""Turns a `Site` into a `RoadNetwork`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.motorways.carriageways import lay_carriageway
from selfdrive_env.maps.procedural.motorways.site import Foot, Site
from selfdrive_env.maps.procedural.roads.plan import build_node, mouths, rounded
from selfdrive_env.maps.procedural.roads.streets import Laid, Work, lay_street, link
from selfdrive_env.maps.road_network import RoadNetwork

__all__ = ["build_site"]

Floats = NDArray[np.float64]

WAVES = (900.0, 700.0)
"""Length of the waves of the ground, along its slope and across [m]."""

SLOPE_SHARE, WAVE_SHARE = 0.4, 0.35
"""Of the steepest slope: that of the whole ground, and that of each wave."""


def build_site(name: str, site: Site) -> RoadNetwork:
    """Returns the network of a site, turned at random and with the ground's slopes.

    Args:
        name: Of the network.
        site: What to build.
    """
    work = Work(RoadNetwork(name, source=name))
    for way in site.ways:
        lay_carriageway(work, way)
    laid = []
    for number, (street, (first, last)) in enumerate(
        zip(site.plan.streets, mouths(site.plan), strict=True)
    ):
        first = 0.0 if street.start in site.open_nodes else first
        last = 0.0 if street.end in site.open_nodes else last
        laid.append(lay_street(work, street, number, first, street.line.length - last))
    for before, after in site.joints:
        pairs = zip(_lanes(before, laid, -1), _lanes(after, laid, 0), strict=True)
        for lane, successor in pairs:
            link(work, lane, successor)
    for key, node in enumerate(site.plan.nodes):
        if key not in site.open_nodes:
            build_node(work, key, node)
    network = work.network
    _add_ground(network, site)
    angle = site.draws.within((0.0, 2.0 * math.pi))
    cosine, sine = math.cos(angle), math.sin(angle)
    kilometres = network.driving_lane_km
    network = network.transformed(np.array([[cosine, -sine], [sine, cosine]]))
    network.driving_lane_km = kilometres
    return rounded(network)


def _lanes(foot: Foot, laid: list[Laid], end: int) -> list[int]:
    """Returns the lanes of a foot, from the inside; of slots the last (-1) or first (0) ones."""
    if foot.stub is None:
        return [slot.lanes[end] for slot in foot.slots]
    street = laid[foot.stub.street]
    rows = street.forward if foot.stub.leaving else street.backward
    return [lane for lane in rows[-1] if lane >= 0][: foot.stub.lanes]


def _add_ground(network: RoadNetwork, site: Site) -> None:
    """Adds the height of the ground to everything."""
    draws = site.draws
    steep = draws.within(site.family.terrain)
    angle = draws.within((0.0, 2.0 * math.pi))
    phases = [draws.within((0.0, 2.0 * math.pi)) for _ in WAVES]

    def ground(points: Floats) -> Floats:
        x, y = points[..., 0], points[..., 1]
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        z = SLOPE_SHARE * steep * along
        for length, phase, place in zip(WAVES, phases, (along, across), strict=True):
            turn = 2.0 * math.pi / length
            z = z + WAVE_SHARE * steep / turn * np.sin(turn * place + phase)
        out = np.array(points, np.float64)
        out[..., 2] += z
        return out

    for lane in network.lanes:
        lane.left, lane.centre, lane.right = map(ground, (lane.left, lane.centre, lane.right))
    for signal in network.signals:
        signal.position = ground(signal.position)
    for line in network.stop_lines:
        line.left, line.right = ground(line.left), ground(line.right)
        line.guard_left, line.guard_right = ground(line.guard_left), ground(line.guard_right)
    for crosswalk in network.crosswalks:
        crosswalk.outline = ground(crosswalk.outline)
