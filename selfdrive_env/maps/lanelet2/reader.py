"""Reads Lanelet2 maps into a `RoadNetwork`.

The steps: XML -> nodes, ways and relations -> lanes between bounds, linked by them -> junctions
where lanes overlap -> lights, stop lines, right of way and speed limits of the regulatory elements
-> stop lines and programs of CARLA's files beside it -> what every format needs (`network.finish`).
"""

from __future__ import annotations

from pathlib import Path

from selfdrive_env.maps.lanelet2.carla import add_carla
from selfdrive_env.maps.lanelet2.lanes import make_lanes
from selfdrive_env.maps.lanelet2.lights import place_lights
from selfdrive_env.maps.lanelet2.parse import read_contents
from selfdrive_env.maps.lanelet2.rules import (
    Rules,
    find_lights,
    place_signs,
    set_speed_limits,
)
from selfdrive_env.maps.lanelet2.sources import files_beside, stem
from selfdrive_env.maps.network.areas import infer_junctions
from selfdrive_env.maps.network.finish import Problems, finish, join_lanes
from selfdrive_env.maps.network.smoothing import smooth_centres
from selfdrive_env.maps.network.stop_lines import guard_beside
from selfdrive_env.maps.road_network import MapError, RoadNetwork

__all__ = ["read_lanelet2"]

JUNCTIONS = "{} junctions are where lanes lie over each other; the format names none"


def read_lanelet2(path: str | Path) -> RoadNetwork:
    """Reads a Lanelet2 map.

    Args:
        path: A file that ends in .osm, .osm.gz or .osm.xz.

    Returns:
        The road network, centred on its drivable lanes; what is flawed but usable is listed in
        `problems`.

    Raises:
        MapError: The file is damaged, has no lanelets, or none that cars may drive on.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    problems = Problems()
    contents = read_contents(path, problems)
    network = RoadNetwork(name=stem(path), source=str(path))
    try:
        made = make_lanes(contents, network, problems)
        join_lanes(network, problems, neighbours=False)
        smooth_centres(network.lanes)
        for name in infer_junctions(network):
            problems.infer(JUNCTIONS, name, flaw=False)
        rules = Rules(contents, made, network, problems)
        set_speed_limits(rules)
        lights = find_lights(rules)
        add_carla(files_beside(path), contents, lights, network, problems)
        lit = place_lights(lights, network, problems)
        place_signs(rules, lit)
        guard_beside(network)
    except MapError as error:
        raise MapError(f"{path.name}: {error}") from None
    for area in contents.areas:
        problems.drop("{} areas are left out; cars keep to lanelets", area)
    return finish(network, problems, neighbours=False)
