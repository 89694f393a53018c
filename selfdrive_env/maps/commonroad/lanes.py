"""Makes lanes and crosswalks of lanelets, and links them as the file says.

Lanelets that cars may use in both directions become two lanes over one surface; the second is
called after the first with "/back".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.commonroad.records import Contents, Lanelet
from selfdrive_env.maps.commonroad.signs import LEFT_HAND
from selfdrive_env.maps.network.finish import Problems, directions
from selfdrive_env.maps.network.lanelets import is_folded, lane_between, oriented, turned_round
from selfdrive_env.maps.road_network import (
    DEFAULT_SPEED_LIMIT,
    TWO_WAY,
    Crosswalk,
    Lane,
    MapError,
    RoadNetwork,
)

__all__ = ["LaneletLanes", "make_lanes"]

Floats = NDArray[np.float64]

NOT_DRIVEN = {
    "crosswalk": "crosswalk",
    "sidewalk": "sidewalk",
    "bicycleLane": "biking",
    "busLane": "bus",
    "busStop": "bus",
    "parking": "parking",
    "shoulder": "shoulder",
    "border": "border",
    "restricted": "restricted",
    "restricted_area": "restricted",
}
"""Types of lanelets that cars do not drive on -> type of the lane; the first that fits counts."""

CARS = frozenset(("vehicle", "car"))
"""Users that are cars."""

LIMITS = {
    **dict.fromkeys(("accessRamp", "exitRamp"), 80.0 / 3.6),
    **dict.fromkeys(("interstate", "highway", "mainCarriageWay"), 130.0 / 3.6),
    "country": 100.0 / 3.6,
}
"""Speed limits of lanelets without one by their types; the first that fits counts [m/s]."""

NOT_THERE = "{} references of lanelets lead to lanelets that do not exist"

MIN_WIDTH = 1.5
"""Lanelets that are nowhere as wide are not driven on [m]."""

MAX_GAP = 4.0
"""Links over a larger distance are wrong [m]; half a lane is usual where lanes split."""

MAX_KINK = np.cos(np.radians(75.0))
"""Links over a larger change of heading are wrong (its cosine)."""

BESIDE = 1.5
"""Neighbours whose bounds lie further apart in their middle are none [m]."""

STRAIGHT = 0.2
"""How far from a straight line the points of a straight bound may lie [m]."""

MIN_AREA = 0.01
"""Crosswalks of a smaller area are left out [m^2]."""


class LaneletLanes:
    """Which lane of the network each lanelet became."""

    def __init__(self) -> None:
        self.there: dict[str, int] = {}
        """Lane in the direction of the lanelet."""

        self.back: dict[str, int] = {}
        """Lane against it, of those in both directions."""

    def driven(self, name: str, network: RoadNetwork) -> int | None:
        """Returns the lane of a lanelet, None unless it is drivable."""
        lane = self.there.get(name)
        return lane if lane is not None and network.lanes[lane].drivable else None


def make_lanes(contents: Contents, network: RoadNetwork, problems: Problems) -> LaneletLanes:
    """Appends the lanes and crosswalks of a file, linked.

    Args:
        contents: The records of the file.
        network: Receives lanes, crosswalks and what is known of all of them.
        problems: Receives what is flawed.

    Returns:
        Which lane each lanelet became.
    """
    made = LaneletLanes()
    roads = _roads(contents)
    crossings = {ref for one in contents.intersections.values() for ref in one.crossings}
    for lanelet in contents.lanelets.values():
        kind = _lane_type(lanelet)
        limit = _speed_limit(lanelet, contents, problems)
        lane = _lane(lanelet, kind, problems, road=roads[lanelet.id], speed_limit=limit)
        if lane is None:
            continue
        if kind == "crosswalk" or (lanelet.id in crossings and not lane.drivable):
            _add_crosswalk(lane, network, problems)
            continue
        made.there[lanelet.id] = len(network.lanes)
        network.lanes.append(lane)
        if lane.drivable:
            network.driving_lane_km += lane.length / 1000.0
            if is_folded(lane):
                problems.add("{} driving lanes bend so tightly that they fold", lane.name)
    for lanelet in contents.lanelets.values():
        index = made.there.get(lanelet.id, -1)
        if index >= 0 and network.lanes[index].type == TWO_WAY:
            made.back[lanelet.id] = len(network.lanes)
            network.lanes.append(turned_round(network.lanes[index], f"{lanelet.id}/back"))
    _link(contents, made, network, problems)
    _set_neighbours(contents, made, network, problems)
    network.num_roads = len({lane.road for lane in network.lanes if lane.drivable})
    network.left_hand = _keeps_left(contents, made, network)
    return made


def _roads(contents: Contents) -> dict[str, str]:
    """Returns the road of each lanelet: the first of those side by side in one direction."""
    roads: dict[str, str] = {}
    for name in contents.lanelets:
        border = [name]
        while border:
            here = border.pop()
            if here in roads:
                continue
            roads[here] = name
            lanelet = contents.lanelets[here]
            for beside in (lanelet.adjacent_left, lanelet.adjacent_right):
                if beside is not None and beside[1] and beside[0] in contents.lanelets:
                    border.append(beside[0])
    return roads


def _lane_type(lanelet: Lanelet) -> str:
    """Returns the type of lane that a lanelet becomes."""
    for kind, lane_type in NOT_DRIVEN.items():
        if kind in lanelet.types:
            return lane_type
    if lanelet.both_ways & CARS:
        return TWO_WAY
    users = lanelet.one_way | lanelet.both_ways
    if not users or users & CARS:
        return "driving"
    if users <= {"pedestrian"}:
        return "sidewalk"
    return "biking" if users <= {"bicycle", "pedestrian"} else "restricted"


def _speed_limit(lanelet: Lanelet, contents: Contents, problems: Problems) -> float:
    """Returns the limit of a lanelet: its own, the lowest of its signs, or that of its type."""
    signs = [contents.signs[name] for name in lanelet.signs if name in contents.signs]
    shown = [speed for sign in signs for _, speed in sign.elements if speed is not None]
    limits = [*shown, *([] if lanelet.speed is None else [lanelet.speed])]
    if limits:
        return min(limits)
    problems.infer(
        "{} lanelets have no speed limit; that of their kind is used", lanelet.id, flaw=False
    )
    return next((LIMITS[kind] for kind in LIMITS if kind in lanelet.types), DEFAULT_SPEED_LIMIT)


def _lane(lanelet: Lanelet, kind: str, problems: Problems, **fields: object) -> Lane | None:
    """Returns the lane between the bounds of a lanelet, None where they have no use."""
    left, right = lanelet.left, lanelet.right
    turns = oriented(left, right)
    if all(turns):
        left, right = right, left
        problems.infer("{} lanelets have their left bound on the right (exchanged)", lanelet.id)
    elif any(turns):
        left, right = left[:: -1 if turns[0] else 1], right[:: -1 if turns[1] else 1]
        problems.add("{} lanelets have bounds that run against each other", lanelet.id)
    try:
        lane = lane_between(lanelet.id, left, right, type=kind, **fields)
    except MapError:
        problems.drop("{} lanelets have bounds without a length and are left out", lanelet.id)
        return None
    if lane.drivable and lane.width.max() < MIN_WIDTH:
        flaw = f"{{}} lanelets are nowhere {MIN_WIDTH:g} m wide and are not driven on"
        problems.drop(flaw, lanelet.id)
        lane.type = "restricted"
    return lane


def _add_crosswalk(lane: Lane, network: RoadNetwork, problems: Problems) -> None:
    """Appends the area of a lane as a crosswalk: four corners where its bounds are straight."""
    left, right = (
        edge[[0, -1]] if _is_straight(edge) else edge for edge in (lane.left, lane.right)
    )
    outline = np.concatenate([left, right[::-1]])
    x, y = outline[:, 0] - outline[0, 0], outline[:, 1] - outline[0, 1]
    if 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) < MIN_AREA:
        problems.drop("{} crosswalks have no area and are left out", lane.name)
        return
    network.crosswalks.append(Crosswalk(outline))


def _is_straight(line: Floats) -> bool:
    """Returns whether the points of a line lie on the way from its first to its last one."""
    step = line[-1, :2] - line[0, :2]
    aside = (line[:, :2] - line[0, :2]) @ np.array([-step[1], step[0]])
    return bool(np.abs(aside).max() <= STRAIGHT * max(float(np.hypot(step[0], step[1])), 1e-9))


def _link(contents: Contents, made: LaneletLanes, network: RoadNetwork, problems: Problems) -> None:
    """Links drivable lanes as the lanelets are."""
    pairs: dict[tuple[str, str], None] = {}
    for lanelet in contents.lanelets.values():
        for ref in (*lanelet.successors, *lanelet.predecessors):
            if ref not in contents.lanelets:
                problems.drop(NOT_THERE, f"{lanelet.id} -> {ref}")
        pairs.update(dict.fromkeys((lanelet.id, ref) for ref in lanelet.successors))
        pairs.update(dict.fromkeys((ref, lanelet.id) for ref in lanelet.predecessors))
    for before, after in pairs:
        one, other = made.driven(before, network), made.driven(after, network)
        if one is None or other is None:
            continue
        _join(one, other, network.lanes, problems)
        if before in made.back and after in made.back:
            _join(made.back[after], made.back[before], network.lanes, problems)
        # Where a street in both directions opens into two lanes, it goes on in the oncoming one.
        elif after in made.back:
            for lane in _oncoming(before, contents, made, network):
                _join(made.back[after], lane, network.lanes, problems)
        elif before in made.back:
            for lane in _oncoming(after, contents, made, network):
                _join(lane, made.back[before], network.lanes, problems)


def _oncoming(name: str, contents: Contents, made: LaneletLanes, network: RoadNetwork) -> list[int]:
    """Returns the drivable lanes beside a lanelet in which traffic runs against it."""
    lanelet = contents.lanelets[name]
    sides = (lanelet.adjacent_left, lanelet.adjacent_right)
    names = [beside[0] for beside in sides if beside is not None and not beside[1]]
    lanes = (made.driven(one, network) for one in names)
    return [lane for lane in lanes if lane is not None]


def _join(one: int, other: int, lanes: list[Lane], problems: Problems) -> None:
    """Lets a lane follow another one, unless they lie apart."""
    end, start = lanes[one].centre[-1], lanes[other].centre[0]
    kink = directions(lanes[one].centre)[1] @ directions(lanes[other].centre)[0]
    if np.linalg.norm(start - end) > MAX_GAP or kink < MAX_KINK:
        name = f"{lanes[one].name} -> {lanes[other].name}"
        problems.drop("{} lane links lead elsewhere than their lanes and are dropped", name)
    elif other not in lanes[one].successors:
        lanes[one].successors.append(other)
        lanes[other].predecessors.append(one)


def _set_neighbours(
    contents: Contents, made: LaneletLanes, network: RoadNetwork, problems: Problems
) -> None:
    """Writes which lanes one may change into from which: those beside it in its direction."""
    for lanelet in contents.lanelets.values():
        index = made.driven(lanelet.id, network)
        for side, beside in (("left", lanelet.adjacent_left), ("right", lanelet.adjacent_right)):
            if beside is None:
                continue
            if beside[0] not in contents.lanelets:
                problems.drop(NOT_THERE, f"{lanelet.id} -> {beside[0]}")
                continue
            other = made.driven(beside[0], network)
            if not beside[1] or index is None or other is None or other == index:
                continue
            if network.lanes[other].type == TWO_WAY:
                continue
            if _apart(network.lanes[index], network.lanes[other], side) > BESIDE:
                name = f"{lanelet.id} and {beside[0]}"
                problems.drop("{} lanelets are no neighbours though the file says so", name)
                continue
            setattr(network.lanes[index], f"{side}_neighbour", other)


def _apart(lane: Lane, other: Lane, side: str) -> float:
    """Returns how far the bounds of two lanes between them lie apart in the middle [m]."""
    edges = (lane.left, other.right) if side == "left" else (lane.right, other.left)
    one, two = (edge[:, :2] for edge in edges)
    middle = one[len(one) // 2]
    a, step = two[:-1], np.diff(two, axis=0)
    along = ((middle - a) * step).sum(axis=1) / np.maximum((step * step).sum(axis=1), 1e-12)
    nearest = a + np.clip(along, 0.0, 1.0)[:, None] * step
    return float(np.hypot(*(nearest - middle).T).min())


def _keeps_left(contents: Contents, made: LaneletLanes, network: RoadNetwork) -> bool:
    """Returns whether traffic keeps to the left: oncoming lanes are on the right, or by country."""
    sides = {True: 0, False: 0}
    for name in made.there:
        if made.driven(name, network) is None:
            continue
        lanelet = contents.lanelets[name]
        for on_right, beside in ((False, lanelet.adjacent_left), (True, lanelet.adjacent_right)):
            if beside is not None and not beside[1] and made.driven(beside[0], network) is not None:
                sides[on_right] += 1
    if sides[True] == sides[False]:
        return contents.country in LEFT_HAND
    return sides[True] > sides[False]
