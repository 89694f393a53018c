"""Makes junctions of the intersections of a file, and of lanes that cross elsewhere."""

from __future__ import annotations

from selfdrive_env.maps.commonroad.lanes import LaneletLanes
from selfdrive_env.maps.commonroad.records import Contents, Intersection
from selfdrive_env.maps.network.areas import infer_junctions
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import Junction, RoadNetwork

__all__ = ["place_junctions"]


def place_junctions(
    contents: Contents, made: LaneletLanes, network: RoadNetwork, problems: Problems
) -> None:
    """Appends the intersections of a file as junctions, then those that it does not name.

    Args:
        contents: The records of the file.
        made: Which lane each lanelet became.
        network: Its lanes are linked; receives junctions.
        problems: Receives unknown references, and what was inferred.
    """
    for intersection in contents.intersections.values():
        names = _members(intersection, contents, problems)
        lanes = [made.driven(name, network) for name in names]
        lanes += [made.back.get(name) for name in names]
        free = [i for i in lanes if i is not None and network.lanes[i].junction < 0]
        if not free:
            problems.drop("{} intersections have no lanes of their own", intersection.id)
            continue
        for lane in free:
            network.lanes[lane].junction = len(network.junctions)
        network.junctions.append(Junction(intersection.id, lanes=free))
    for name in infer_junctions(network):
        problems.infer("{} junctions are inferred from lanes that lie over others", name)


def _members(intersection: Intersection, contents: Contents, problems: Problems) -> dict[str, None]:
    """Returns the lanelets within an intersection: those that follow its arms.

    The type "intersection" does not tell: converters give it to the roads that lead away as well.
    """
    named = [name for arm in intersection.incomings for name in arm.successors]
    arms = [name for arm in intersection.incomings for name in arm.lanelets]
    for name in dict.fromkeys([*named, *arms]):
        if name not in contents.lanelets:
            flaw = "{} intersections refer to lanelets that do not exist"
            problems.drop(flaw, f"{intersection.id} -> {name}")
    return dict.fromkeys(named)
