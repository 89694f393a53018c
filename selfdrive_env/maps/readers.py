"""The map formats: which function reads a file of which ending.

A new format is its reader and a row here. A reader takes a path and returns a `RoadNetwork`, which
it hands to `network.finish` once the lanes, their links and their signals are in; what cannot be
used is a `MapError`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfdrive_env.config.checks import suggestion
from selfdrive_env.config.choices import MAP_FAMILIES
from selfdrive_env.maps.road_network import MapError, RoadNetwork
from selfdrive_env.maps.towns import BUILT_IN

__all__ = ["READERS", "endings", "reader_of"]

Reader = Callable[[str | os.PathLike[str]], RoadNetwork]

READERS = {
    ".xodr": "selfdrive_env.maps.opendrive.reader:read_opendrive",
    ".xodr.gz": "selfdrive_env.maps.opendrive.reader:read_opendrive",
    ".xodr.xz": "selfdrive_env.maps.opendrive.reader:read_opendrive",
    ".net.xml": "selfdrive_env.maps.sumo.reader:read_sumo",
    ".net.xml.gz": "selfdrive_env.maps.sumo.reader:read_sumo",
    ".net.xml.xz": "selfdrive_env.maps.sumo.reader:read_sumo",
    ".osm": "selfdrive_env.maps.lanelet2.reader:read_lanelet2",
    ".osm.gz": "selfdrive_env.maps.lanelet2.reader:read_lanelet2",
    ".osm.xz": "selfdrive_env.maps.lanelet2.reader:read_lanelet2",
    ".xml": "selfdrive_env.maps.commonroad.reader:read_commonroad",
    ".xml.gz": "selfdrive_env.maps.commonroad.reader:read_commonroad",
    ".xml.xz": "selfdrive_env.maps.commonroad.reader:read_commonroad",
    ".roads": "selfdrive_env.maps.road_network:RoadNetwork.read",
}
"""Ending of a file's name -> module:function of its reader, imported when first needed."""


def endings() -> str:
    """Returns the endings of map files as a list for a sentence."""
    return ", ".join(READERS)


def reader_of(path: str) -> Reader:
    """Returns the function that reads a map file; a MapError where there is none.

    Args:
        path: Of a file that must exist.
    """
    fitting = [ending for ending in READERS if path.lower().endswith(ending)]
    if not fitting:
        raise MapError(
            f"unknown map {path!r}: use one of {', '.join(BUILT_IN)}, a family and a seed such as "
            f"city:17 ({', '.join(MAP_FAMILIES)}), or a file that ends in {endings()}"
            f"{suggestion(path, BUILT_IN, 'map')}"
        )
    if not Path(path).is_file():
        raise MapError(f"map file {path!r} does not exist")
    module, _, names = READERS[max(fitting, key=len)].partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    reader: Reader = found
    return reader
