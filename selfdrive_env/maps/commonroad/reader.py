"""Reads CommonRoad files (2018b and 2020a) into a `RoadNetwork`.

The steps: XML -> records -> lanes and links -> junctions -> lights, signs and stop lines -> what
every format needs (`network.finish`). Obstacles and planning problems are not read.
"""

from __future__ import annotations

import os
from pathlib import Path

from selfdrive_env.maps.commonroad.contents import read_contents, stem
from selfdrive_env.maps.commonroad.junctions import place_junctions
from selfdrive_env.maps.commonroad.lanes import make_lanes
from selfdrive_env.maps.commonroad.signals import place_signals
from selfdrive_env.maps.network.finish import Problems, finish, join_lanes
from selfdrive_env.maps.network.smoothing import smooth_centres
from selfdrive_env.maps.road_network import MapError, RoadNetwork

__all__ = ["read_commonroad"]

ROOM = 1.75
"""What a rounded centre line keeps of its lane on either side [m]."""


def read_commonroad(path: str | os.PathLike[str]) -> RoadNetwork:
    """Reads the roads of a CommonRoad file.

    Args:
        path: A file that ends in .xml, .xml.gz or .xml.xz.

    Returns:
        The road network, centred on its drivable lanes; what is flawed but usable is listed in
        `problems`.

    Raises:
        MapError: The file is damaged, is not CommonRoad of a known version or has no drivable lane.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    problems = Problems()
    contents = read_contents(path, problems)
    network = RoadNetwork(name=stem(path), source=str(path))
    try:
        made = make_lanes(contents, network, problems)
        join_lanes(network, problems)
        smooth_centres(network.lanes, room=ROOM)
        place_junctions(contents, made, network, problems)
    except MapError as error:
        raise MapError(f"{path.name}: {error}") from None
    place_signals(contents, made, network, problems)
    return finish(network, problems)
