"""Reads road networks of Eclipse SUMO (from version 0.13 on) into a `RoadNetwork`.

The steps: XML -> records -> ways from lane to lane -> lanes -> right of way, signals, stop lines
and crosswalks -> what every format needs (`network.finish`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from selfdrive_env.maps.network.finish import Problems, finish
from selfdrive_env.maps.road_network import Junction, MapError, RoadNetwork
from selfdrive_env.maps.sumo.contents import SUFFIXES, read_contents, read_elements
from selfdrive_env.maps.sumo.lanes import lay_edges, lay_ways
from selfdrive_env.maps.sumo.precedence import set_precedence
from selfdrive_env.maps.sumo.records import Contents
from selfdrive_env.maps.sumo.signals import place_crosswalks, place_signals
from selfdrive_env.maps.sumo.ways import Way, clusters, contract, find_ways, joints, stubs

__all__ = ["read_sumo"]

RULES = {
    "right_before_left": "right_first",
    "left_before_right": "left_first",
    "allway_stop": "all_way_stop",
}
"""Type of a junction -> `Junction.rule`."""


def read_sumo(path: str | Path) -> RoadNetwork:
    """Reads a SUMO network.

    Args:
        path: A file that ends in .net.xml, .net.xml.gz or .net.xml.xz.

    Returns:
        The road network, centred on its drivable lanes; what is left out or changed is listed in
        `problems`. Its origin is that of the projection: of the coordinates of the file less their
        `netOffset`.

    Raises:
        MapError: The file is damaged, is no SUMO network or has no lane for cars.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    problems = Problems()
    skipped: Counter[str] = Counter()
    contents = read_contents(read_elements(path, skipped), problems)
    network = RoadNetwork(name=_stem(path), source=str(path), left_hand=contents.left_hand)
    network.origin = (-contents.offset[0], -contents.offset[1], 0.0)
    network.num_roads = _count_roads(contents, problems)
    try:
        ways = contract(find_ways(contents, problems), contents)
        indices, ways = lay_edges(contents, ways, network, problems)
        junctions = _junctions(ways, contents, network)
        inner = stubs(ways, contents)
        for name in sorted(inner):
            for lane in contents.edges[name].lanes:
                index = indices[lane.id]
                network.lanes[index].junction = junctions[contents.edges[name].target]
            problems.infer(
                "{} edges are too short to wait on and join the junctions they are between", name
            )
        lanes = lay_ways(ways, contents, indices, junctions, network)
        lit = place_signals(ways, lanes, inner, contents, indices, junctions, network, problems)
        set_precedence(ways, lanes, lit, contents, network)
        place_crosswalks(contents, network)
    except MapError as error:
        raise MapError(f"{path.name}: {error}") from None
    for name in contents.roundabouts:
        problems.add("{} roundabouts are rings of roads with right of way", f"at {name}")
    problems.skip(skipped)
    return finish(network, problems)


def _stem(path: Path) -> str:
    """Returns the file name without its ending."""
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _count_roads(contents: Contents, problems: Problems) -> int:
    """Returns the number of edges that cars use; others are listed as left out."""
    count = 0
    for edge in contents.edges.values():
        if edge.internal:
            continue
        if contents.of_cars(edge.id):
            count += 1
        else:
            problems.drop("{} edges are not for cars and left out", edge.id)
    return count


def _junctions(ways: list[Way], contents: Contents, network: RoadNetwork) -> dict[str, int]:
    """Appends the junctions where roads meet; returns the index of each by its name."""
    open_roads, one = joints(ways, contents), clusters(ways, contents)
    out: dict[str, int] = {}
    for way in ways:
        if way.junction in open_roads or way.junction in out:
            continue
        members = one[way.junction]
        kinds = {contents.junctions[name].kind for name in members if name in contents.junctions}
        rules = {RULES.get(kind, "") for kind in kinds}
        out.update(dict.fromkeys(members, len(network.junctions)))
        rule = rules.pop() if len(rules) == 1 else ""
        network.junctions.append(Junction(" + ".join(members), rule=rule))
    return out
