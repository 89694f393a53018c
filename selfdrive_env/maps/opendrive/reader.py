"""Reads ASAM OpenDRIVE maps (1.4 to 1.8) into a `RoadNetwork`.

The steps: XML -> records -> sampled lanes -> links -> signals, stop lines and crosswalks -> what
every format needs (`network.finish`). Superelevation, crossfall and lane heights are not applied.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from selfdrive_env.maps.network.finish import Problems, finish, join_lanes
from selfdrive_env.maps.opendrive.crosswalks import place_crosswalks
from selfdrive_env.maps.opendrive.lanes import SampledSection, sample_road
from selfdrive_env.maps.opendrive.links import link_lanes
from selfdrive_env.maps.opendrive.parse.contents import read_contents
from selfdrive_env.maps.opendrive.parse.records import Contents
from selfdrive_env.maps.opendrive.parse.sections import usable
from selfdrive_env.maps.opendrive.parse.user_data import DRIVING_LANES, read_numbers
from selfdrive_env.maps.opendrive.parse.xml import SUFFIXES, read_elements
from selfdrive_env.maps.opendrive.signals import place_signals
from selfdrive_env.maps.opendrive.user_data import take_user_data
from selfdrive_env.maps.road_network import DRIVABLE_TYPES, Junction, MapError, RoadNetwork

__all__ = ["read_opendrive"]

MAX_POINTS = 4_000_000
"""Most points on the boundaries of all lanes; a town of 660 km of lanes has 0.7 million."""

SAME_LENGTH = 1e-6
"""Lengths that differ by a smaller share are the same."""


def read_opendrive(path: str | Path) -> RoadNetwork:
    """Reads an OpenDRIVE map.

    Args:
        path: A file that ends in .xodr, .xodr.gz or .xodr.xz.

    Returns:
        The road network, centred on its drivable lanes; what is flawed but usable is listed in
        `problems`.

    Raises:
        MapError: The file is damaged, is not OpenDRIVE or has no drivable lane.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    problems = Problems()
    skipped: Counter[str] = Counter()
    contents = read_contents(read_elements(path, skipped), problems)
    network = RoadNetwork(name=_stem(path), source=str(path), num_roads=contents.num_roads)
    junctions = {name: index for index, name in enumerate(contents.junctions)}
    network.junctions = [Junction(j.id, j.kind) for j in contents.junctions.values()]

    sampled: dict[str, list[SampledSection]] = {}
    points = 0
    try:
        for road in contents.roads.values():
            junction = junctions.get(road.junction, -1)
            if road.junction != "-1" and junction < 0:
                problems.add(
                    "{} roads run through a junction that does not exist", f"road {road.id}"
                )
            sampled[road.id] = sample_road(road, junction, network.lanes, problems)
            points += sum(section.boundaries.size for section in sampled[road.id]) // 3
            if points > MAX_POINTS:
                raise MapError(f"the lanes up to road {road.id} need more than {MAX_POINTS} points")
    except MapError as error:
        raise MapError(f"{path.name}: {error}") from None
    link_lanes(contents, sampled, network.lanes, problems)
    join_lanes(network, problems)
    whole = place_signals(contents, sampled, network, problems)
    place_crosswalks(contents, network, problems)
    take_user_data(contents, sampled, network, problems)
    _summarise(contents, network, problems)
    # Neighbours are complete; this package may have written that one may change one way only.
    problems.skip(skipped)
    return finish(network, problems, neighbours=False, whole=whole)


def _stem(path: Path) -> str:
    """Returns the file name without its ending."""
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _summarise(contents: Contents, network: RoadNetwork, problems: Problems) -> None:
    """Fills in the lane length and the side of traffic."""
    total, sides = 0.0, {False: 0, True: 0}
    for road in contents.roads.values():
        for section in road.sections:
            drivable = sum(lane.type in DRIVABLE_TYPES for lane in section.lanes)
            total += drivable * (section.end - section.start)
            sides[road.left_hand] += drivable
    network.driving_lane_km = total / 1000.0
    own = [element for element in contents.user_data if element.text("code") == DRIVING_LANES]
    for km, along in usable(own, lambda element: read_numbers(element, 2), problems):
        if km > 0.0 and abs(along - network.driving_lane_km) < SAME_LENGTH * along:
            network.driving_lane_km = km
    network.left_hand = sides[True] > sides[False]
    if sides[True] and sides[False]:
        for road in contents.roads.values():
            if road.left_hand != network.left_hand:
                problems.add("{} roads keep to the other side than most", f"road {road.id}")
