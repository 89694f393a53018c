"""Makes lanes of lanelets: their bounds, who uses them, how fast, and how they hang together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.lanelet2 import tags as meaning
from selfdrive_env.maps.lanelet2.parse import Contents, Relation, Way
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.network.lanelets import (
    Bound,
    is_folded,
    lane_between,
    link_by_bounds,
    oriented,
    turned_round,
)
from selfdrive_env.maps.road_network import TWO_WAY, Crosswalk, Lane, MapError, RoadNetwork

__all__ = ["Made", "make_lanes"]

Floats = NDArray[np.float64]

MAX_WIDTH = 60.0
"""Widest lane that is driven on [m]."""

MIRROR_COUNT, MIRROR_SHARE = 10, 0.95
"""Fewest lanelets, and share of those that run against both bounds, of a mirrored map."""

MAX_POINTS = 4_000_000
"""Most points on the bounds of all lanelets."""

MIN_AREA = 0.01
"""Crosswalks of a smaller area are left out [m^2]."""

LEFT_HAND_REGIONS = ("au", "gb", "hk", "id", "ie", "in", "jp", "my", "nz", "sg", "th", "uk", "za")
"""Where traffic keeps to the left, should no two lanelets tell."""


@dataclass(slots=True)
class Made:
    """What became of lanelets."""

    lanes: dict[str, list[int]] = field(default_factory=dict)
    """Lanes of a lanelet: one, and one against its direction where traffic runs both ways."""

    bounds: dict[int, tuple[Bound, Bound]] = field(default_factory=dict)
    """Of each lane, left and right, in its direction."""


class _Side(NamedTuple):
    """A bound of a lanelet in the lanelet's direction."""

    way: Way
    nodes: list[str]
    points: Floats
    turned: bool
    """Whether the way runs the other way."""

    def bound(self, is_left: bool) -> Bound:
        """Returns what tells it from others, and whether one may change lanes over it."""
        to_left, to_right = meaning.lane_changes(self.way.tags)
        may_leave = to_left if is_left != self.turned else to_right
        return Bound(self.way.id, self.nodes[0], self.nodes[-1], may_leave)


def make_lanes(contents: Contents, network: RoadNetwork, problems: Problems) -> Made:
    """Appends a lane or a crosswalk for each lanelet, links the lanes, and finds their side.

    Args:
        contents: The file.
        network: Receives lanes and crosswalks, the number of roads and the side of traffic.
        problems: Receives what is flawed but usable.
    """
    made = Made()
    points = 0
    sides_of = {lanelet.id: _sides(lanelet, contents, problems)
        for lanelet in contents.lanelets.values()}  # fmt: skip
    mirrored = _is_mirrored(list(sides_of.values()))
    if mirrored:
        contents.mirror()
        problems.infer("{} maps are mirrored: y points south, as in CARLA", network.name)
    for lanelet in contents.lanelets.values():
        sides = sides_of[lanelet.id]
        if sides is not None and mirrored:
            sides = _sides(lanelet, contents, problems)
        if sides is None:
            continue
        points += sum(len(side.points) for side in sides)
        if points > MAX_POINTS:
            raise MapError(f"the lanelets up to {lanelet.id} need more than {MAX_POINTS} points")
        _make(lanelet, sides, network, made, problems)
    drivable = {i: b for i, b in made.bounds.items() if network.lanes[i].drivable}
    link_by_bounds(network.lanes, drivable)
    _name_roads(network, made)
    network.left_hand = _keeps_left(contents, network, drivable)
    return made


def _is_mirrored(sides: list[tuple[_Side, _Side] | None]) -> bool:
    """Returns whether lanelets have their left bound on the right, going by their bounds.

    Bounds may run either way, but where nearly all of many lanelets run against both of theirs,
    it is the axes that differ.
    """
    known = [side for side in sides if side is not None]
    turned = sum(left.turned and right.turned for left, right in known)
    return len(known) >= MIRROR_COUNT and turned >= MIRROR_SHARE * len(known)


def _make(
    lanelet: Relation,
    sides: tuple[_Side, _Side],
    network: RoadNetwork,
    made: Made,
    problems: Problems,
) -> None:
    """Appends what becomes of a lanelet."""
    left, right = sides
    type_ = meaning.lane_type(lanelet.tags)
    if lanelet.tags.get("subtype", "").lower() == "crosswalk" and type_ != "driving":
        outline = np.concatenate([left.points, right.points[::-1]])
        if _area(outline) < MIN_AREA:
            problems.drop("{} crosswalks have no area and are left out", lanelet.id)
        else:
            network.crosswalks.append(Crosswalk(outline))
        return
    try:
        lane = lane_between(lanelet.id, left.points, right.points, type=type_)
    except MapError as error:
        problems.drop("{} lanelets have no shape and are left out", f"{lanelet.id} ({error})")
        return
    _check(lane, lanelet, problems)
    lane.speed_limit = _speed(lanelet, problems)
    two_way = lane.drivable and meaning.is_two_way(lanelet.tags)
    bounds = left.bound(True), right.bound(False)
    made.lanes[lanelet.id] = [len(network.lanes)]
    made.bounds[len(network.lanes)] = bounds
    network.lanes.append(lane)
    if two_way:
        lane.type = TWO_WAY
        made.lanes[lanelet.id].append(len(network.lanes))
        made.bounds[len(network.lanes)] = (
            right.bound(False).reversed(),
            left.bound(True).reversed(),
        )
        network.lanes.append(turned_round(lane, f"{lanelet.id}/back"))


def _sides(lanelet: Relation, contents: Contents, problems: Problems) -> tuple[_Side, _Side] | None:
    """Returns the left and the right bound of a lanelet, None where it has not both."""
    lines = []
    for role in ("left", "right"):
        refs = lanelet.refs("way", role)
        if len(refs) != 1:
            what = "{} lanelets have not one left and one right bound, and are left out"
            problems.drop(what, lanelet.id)
            return None
        if refs[0] not in contents.ways:
            what = "{} lanelets have a bound that is not in the file, and are left out"
            problems.drop(what, f"{lanelet.id} (way {refs[0]})")
            return None
        way = contents.ways[refs[0]]
        nodes = [node for node in way.nodes if node in contents.nodes]
        if len(nodes) < len(way.nodes):
            what = "{} bounds lack nodes that are not in the file or have no place"
            if way.id not in problems.names[what]:
                problems.drop(what, way.id)
        if len(nodes) < 2:
            what = "{} lanelets have a bound of fewer than two nodes, and are left out"
            problems.drop(what, f"{lanelet.id} (way {way.id})")
            return None
        lines.append((way, nodes, np.array([contents.nodes[node] for node in nodes])))
    turns = oriented(lines[0][2], lines[1][2])
    sides = [
        _Side(way, nodes[::-1] if turn else nodes, points[::-1] if turn else points, turn)
        for (way, nodes, points), turn in zip(lines, turns, strict=True)
    ]
    return sides[0], sides[1]


def _check(lane: Lane, lanelet: Relation, problems: Problems) -> None:
    """Lists what is odd about a lane; one that is far too wide is for no car."""
    if not lane.drivable:
        subtype = lanelet.tags.get("subtype", "")
        if not meaning.is_known(subtype):
            problems.drop("{} lanelets are of no known subtype and are not driven on",
                f"{lanelet.id} ({subtype[:40]})")  # fmt: skip
        return
    if lane.width.max() > MAX_WIDTH:
        what = f"{{}} lanelets are wider than {MAX_WIDTH:g} m in places and are not driven on"
        problems.drop(what, lanelet.id)
        lane.type = meaning.OTHER
        return
    if is_folded(lane):
        problems.add("{} lanelets for cars fold back or have bounds that cross", lanelet.id)


def _speed(lanelet: Relation, problems: Problems) -> float:
    """Returns the speed limit of a lanelet by its tags [m/s]."""
    text = meaning.stated_speed(lanelet.tags)
    speed = meaning.speed_of(text) if text else None
    if text and speed is None:
        problems.drop("{} speed limits of lanelets are none that is known, and are left out",
            f"{lanelet.id} ({text[:20]!r})")  # fmt: skip
    if speed is None:
        problems.infer("{} lanelets have no speed limit; that of their place and kind is used",
            lanelet.id, flaw=False)  # fmt: skip
    return meaning.default_speed(lanelet.tags) if speed is None else speed


def _name_roads(network: RoadNetwork, made: Made) -> None:
    """Gives lanes side by side in one direction the name of one road."""
    owner: dict[object, int] = {}
    group = list(range(len(network.lanes)))

    def root(lane: int) -> int:
        while group[lane] != lane:
            group[lane] = group[group[lane]]
            lane = group[lane]
        return lane

    for index, (left, _) in made.bounds.items():
        owner.setdefault(left[:3], index)
    for index, (_, right) in made.bounds.items():
        other = owner.get(right[:3])
        if other is not None:
            low, high = sorted((root(index), root(other)))
            group[high] = low
    for index, lane in enumerate(network.lanes):
        lane.road = network.lanes[root(index)].name
    network.num_roads = len({lane.road for lane in network.lanes})


def _keeps_left(
    contents: Contents, network: RoadNetwork, bounds: dict[int, tuple[Bound, Bound]]
) -> bool:
    """Returns whether traffic keeps to the left: lanelets that meet over a line have it right.

    Where none do, the regions of the lanelets decide.
    """
    from_left = {left.line: (i, left) for i, (left, _) in bounds.items()}
    from_right = {right.line: (i, right) for i, (_, right) in bounds.items()}
    right_hand = left_hand = 0.0
    for index, (left, right) in bounds.items():
        lane = network.lanes[index]
        if lane.type == TWO_WAY:
            continue
        for own, others, sign in ((left, from_left, 1), (right, from_right, -1)):
            other, bound = others[own.line]
            against = other != index and (bound.first, bound.last) == (own.last, own.first)
            if against and network.lanes[other].type != TWO_WAY:
                right_hand += lane.length * (sign > 0)
                left_hand += lane.length * (sign < 0)
    if right_hand or left_hand:
        return left_hand > right_hand
    regions = [lanelet.tags.get("region", "").lower()[:2] for lanelet in contents.lanelets.values()]
    known = [region for region in regions if region]
    return sum(region in LEFT_HAND_REGIONS for region in known) > 0.5 * max(len(known), 1)


def _area(outline: Floats) -> float:
    """Returns the area of a polygon in the plane [m^2]."""
    x, y = (outline[:, :2] - outline[0, :2]).T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
