"""Writes any road network as an OpenDRIVE 1.7 file, and says what of it reads back otherwise."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.files import write_whole
from selfdrive_env.maps.network.differences import differences, distance_bound, offset
from selfdrive_env.maps.opendrive.parse.user_data import DRIVING_LANES, numbers_text
from selfdrive_env.maps.opendrive.parse.xml import SUFFIXES
from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.opendrive.write.control import Control, controller_elements
from selfdrive_env.maps.opendrive.write.elements import (
    add,
    junction_element,
    road_element,
    user_data,
)
from selfdrive_env.maps.opendrive.write.links import find_links
from selfdrive_env.maps.opendrive.write.roads import Plan, driving_lane_km, find_roads
from selfdrive_env.maps.opendrive.write.sites import Finder
from selfdrive_env.maps.road_network import Lane, MapError, RoadNetwork

__all__ = ["save_opendrive"]

Floats = NDArray[np.float64]

CENTRE = 0.0095
"""Lanes whose centre comes back further off are roads of their own [m]."""

EDGE = 0.05
"""The same of edges, where several lanes are one section [m]."""


def save_opendrive(network: RoadNetwork, path: str | os.PathLike[str]) -> list[str]:
    """Writes a network to an OpenDRIVE file, in the coordinates of its source.

    The file is read back: lanes to 1 cm, links, neighbours, junctions, signals and what belongs to
    them are compared with the network.

    Args:
        network: Any.
        path: Ends in .xodr, .xodr.gz or .xodr.xz.

    Returns:
        What reads back otherwise, one sentence each.

    Raises:
        MapError: The path ends otherwise, or the network has no drivable lane or is flawed.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise MapError(f"{path}: an OpenDRIVE file ends in {', '.join(SUFFIXES)}")
    network.check()
    if not any(lane.drivable for lane in network.lanes):
        raise MapError(f"map {network.name!r}: none of {len(network.lanes)} lanes is drivable")
    apart: set[int] = set()
    while True:
        plan = find_roads(network, apart)
        write_whole(path, _packed(_document(network, plan), path))
        again = read_opendrive(path)
        missed = _missed(network, plan, again) - apart
        if not missed:
            break
        apart |= missed
    names = {index: place.name for index, place in plan.places.items()}
    return differences(network, again, names)


def _missed(network: RoadNetwork, plan: Plan, again: RoadNetwork) -> set[int]:
    """Returns the lanes of sections in which a driving lane has not come back to where it was.

    What names of the network have put together stays so.
    """
    indices = {lane.name: index for index, lane in enumerate(again.lanes)}
    shift = np.array(again.origin) - np.array(network.origin)
    missed: set[int] = set()
    for road in plan.roads:
        for strip in (section.strip for section in road.sections if not section.strip.road):
            members = [index for index, *_ in strip.members() if network.lanes[index].drivable]
            limits = (CENTRE, EDGE if len(strip.lanes) > 1 else np.inf)
            for index in members:
                lane = network.lanes[index]
                found = indices.get(plan.places[index].name)
                if found is None or _is_off(lane, again.lanes[found], shift, limits):
                    missed.update(members)
                    break
    return missed


def _is_off(lane: Lane, found: Lane, shift: Floats, limits: tuple[float, float]) -> bool:
    """Returns whether the centre or an edge of a lane lies further off than a limit [m]."""
    for name, limit in zip(("centre", "left", "right"), (*limits, limits[1]), strict=True):
        one, two = getattr(lane, name), getattr(found, name) + shift
        if distance_bound(one, two) > limit and max(offset(one, two), offset(two, one)) > limit:
            return True
    return False


def _document(network: RoadNetwork, plan: Plan) -> bytes:
    """Returns the text of the file."""
    links = find_links(network, plan)
    control = Control(network, Finder(network, plan))
    control.add_all()
    groups, controllers = controller_elements(network, control.ids)
    root = ElementTree.Element("OpenDRIVE")
    header = add(root, "header", revMajor=1, revMinor=7, name=network.name, version="1.00")
    lengths = (network.driving_lane_km, driving_lane_km(network, plan))
    user_data(header, DRIVING_LANES, numbers_text(lengths))
    for index in range(len(plan.roads)):
        road = road_element(network, plan, links, index)
        control.write(road, index)
        root.append(road)
    root.extend(controllers)
    for index in range(len(links.junction_ids)):
        junction = junction_element(network, plan, links, index, groups)
        inside = any(road.junction == index for road in plan.roads)
        if inside or junction.find("connection") is not None:  # else it is no junction
            root.append(junction)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _packed(text: bytes, path: Path) -> bytes:
    """Returns a text in the way that the end of a file's name says, the same bytes each time."""
    if path.suffix.lower() == ".gz":
        return gzip.compress(text, mtime=0)
    if path.suffix.lower() == ".xz":
        return lzma.compress(text)
    return text
