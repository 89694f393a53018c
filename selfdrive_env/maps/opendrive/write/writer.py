"""Writes any road network as an OpenDRIVE 1.7 file, and says what of it reads back otherwise."""

from __future__ import annotations

import gzip
import lzma
import os
from pathlib import Path
from xml.etree import ElementTree

from selfdrive_env.config.files import write_whole
from selfdrive_env.maps.network.differences import differences
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
from selfdrive_env.maps.road_network import MapError, RoadNetwork

__all__ = ["save_opendrive"]


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
    plan = find_roads(network)
    write_whole(path, _packed(_document(network, plan), path))
    names = {index: place.name for index, place in plan.places.items()}
    return differences(network, read_opendrive(path), names)


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
