"""Writes roads and junctions as XML elements."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.parse.user_data import (
    CENTRE,
    ENDS,
    KIND,
    LEFT_MARK,
    LEFT_NEIGHBOUR,
    NAME,
    PRECEDENCE,
    RIGHT_MARK,
    RIGHT_NEIGHBOUR,
    RULE,
    TYPE,
    numbers_text,
)
from selfdrive_env.maps.opendrive.write.cubics import Cubic, fit_cubics, merged
from selfdrive_env.maps.opendrive.write.curves import DIGITS, Piece
from selfdrive_env.maps.opendrive.write.links import End, Links
from selfdrive_env.maps.opendrive.write.roads import Plan, Road
from selfdrive_env.maps.opendrive.write.shapes import SQUARE_END
from selfdrive_env.maps.opendrive.write.strips import Strip
from selfdrive_env.maps.road_network import TWO_WAY, Lane, RoadNetwork

__all__ = ["add", "junction_element", "number", "road_element", "user_data"]

Floats = NDArray[np.float64]

OFFSET_TOLERANCE = 0.0007
"""How far an edge between the directions may lie from where it is described [m]."""

WIDTH_TOLERANCE = 0.0003
"""The same for a width [m]."""

ASIDE = 0.004
"""Centres that lie this near to the middle between their edges are not told apart [m]."""

CENTRE_TOLERANCE = 0.002
"""How far a centre may lie from where it is described [m]."""

HEIGHT_TOLERANCE = 0.002
"""The same for a height [m]."""

TYPES = frozenset(
    (
        *("shoulder", "border", "driving", "stop", "none", "restricted", "parking", "median"),
        *("biking", "sidewalk", "curb", "exit", "entry", "onRamp", "offRamp", "connectingRamp"),
        *("bidirectional", "special1", "special2", "special3", "roadWorks", "tram", "rail", "bus"),
        *("taxi", "HOV", "mwyEntry", "mwyExit"),
    )
)
"""Lane types of OpenDRIVE 1.7; others are kept beside one of these."""

DEPTH = 3
"""Precedences further below 0 are not told by priorities."""


def add(parent: Element, tag: str, **attributes: str | float) -> Element:
    """Appends an element.

    Args:
        parent: Of the element.
        tag: Of the element.
        **attributes: Texts or numbers.
    """
    texts = {
        name: value if isinstance(value, str) else number(value)
        for name, value in attributes.items()
    }
    return SubElement(parent, tag, texts)


def number(value: float) -> str:
    """Returns the shortest text of a number that is read as the same one."""
    text = repr(float(value) + 0.0)
    return text[:-2] if text.endswith(".0") else text


def user_data(parent: Element, code: str, value: str | float) -> None:
    """Appends what OpenDRIVE has no word for."""
    add(parent, "userData", code=code, value=value)


def road_element(network: RoadNetwork, plan: Plan, links: Links, index: int) -> Element:
    """Returns a road, without objects and signals.

    Args:
        network: Holds the lanes.
        plan: Where they are in the file.
        links: Between them.
        index: Of the road in the plan.
    """
    road = plan.roads[index]
    junction = "-1" if road.junction < 0 else links.junction_ids[road.junction]
    first = network.lanes[road.sections[0].strip.lanes[0]]
    element = Element("road", name=first.road, length=number(road.length), id=road.id)
    element.set("junction", junction)
    element.set("rule", "LHT" if network.left_hand else "RHT")
    link = SubElement(element, "link")
    for tag, last in (("predecessor", False), ("successor", True)):
        beyond = links.roads.get(End(index, last))
        if isinstance(beyond, End):
            add(link, tag, elementType="road", elementId=plan.roads[beyond.road].id,
                contactPoint="end" if beyond.last else "start")  # fmt: skip
        elif beyond is not None:
            add(link, tag, elementType="junction", elementId=links.junction_ids[beyond])
    _add_line(SubElement(element, "planView"), road.pieces)
    heights = SubElement(element, "elevationProfile")
    for row in _along_road(road, "heights"):
        _add_cubic(heights, "elevation", "s", row)
    lanes = SubElement(element, "lanes")
    offsets = _along_road(road, "offsets")
    if any(any(row[1:]) for row in offsets):
        for row in offsets:
            _add_cubic(lanes, "laneOffset", "s", row)
    for place in range(len(road.sections)):
        _add_section(lanes, network, plan, links, (index, place))
    return element


def _add_line(plan_view: Element, pieces: list[Piece]) -> None:
    """Appends the geometries of a reference line."""
    start = 0.0
    for piece in pieces:
        geometry = add(plan_view, "geometry", s=start, x=piece.x, y=piece.y, hdg=piece.heading,
            length=piece.length)  # fmt: skip
        if piece.u:
            coefficients = {
                f"{letter}{axis}": value
                for axis, values in (("U", piece.u), ("V", piece.v))
                for letter, value in zip("abcd", values, strict=True)
            }
            add(geometry, "paramPoly3", **coefficients, pRange="normalized")
        elif piece.curvature:
            add(geometry, "arc", curvature=piece.curvature)
        else:
            add(geometry, "line")
        start = round(start + piece.length, 9)


def _along_road(road: Road, what: str) -> list[Cubic]:
    """Returns the heights of a road, or the offset of the edge between the directions."""
    rows: list[Cubic] = []
    for section in road.sections:
        shape = section.shape
        heights = what == "heights"
        values = shape.heights if heights else shape.offsets[section.strip.left]
        tolerance = HEIGHT_TOLERANCE if heights else OFFSET_TOLERANCE
        found = fit_cubics(shape.stations, values, tolerance)
        if not heights and abs(values).max() <= 0.5 * tolerance:
            found = [(found[0][0], 0.0, 0.0, 0.0, 0.0)]
        rows += [(section.start + start, a, b, c, d) for start, a, b, c, d in found]
    return merged(rows)


def _add_cubic(parent: Element, tag: str, start: str, row: Sequence[float]) -> None:
    """Appends a polynomial; twelve digits are enough over any length."""
    a, b, c, d = (float(f"{value:.12g}") for value in row[1:])
    add(parent, tag, **{start: round(row[0], 9)}, a=a, b=b, c=c, d=d)


def _add_section(
    parent: Element, network: RoadNetwork, plan: Plan, links: Links, at: tuple[int, int]
) -> None:
    """Appends a lane section with its lanes."""
    section = plan.roads[at[0]].sections[at[1]]
    element = add(parent, "laneSection", s=section.start)
    strip, offsets = section.strip, section.shape.offsets
    groups: dict[str, list[int]] = {"left": [], "center": [0], "right": []}
    for place in range(len(strip.lanes)):
        groups["left" if place < strip.left else "right"].append(place)
    for side, places in groups.items():
        group = SubElement(element, side) if places else element
        if side == "center":
            _add_centre_lane(group, network, strip)
            continue
        for place in places:
            lane = network.lanes[strip.lanes[place]]
            lane_id = section.lane_id(place)
            back = place in strip.turned
            child = add(group, "lane", id=lane_id, type=_type(lane, back))
            link = SubElement(child, "link")
            for tag, last in (("predecessor", False), ("successor", True)):
                for other in links.lanes.get((*at, lane_id, last), ()):
                    add(link, tag, id=other)
            for row in fit_cubics(
                section.shape.stations, offsets[place] - offsets[place + 1], WIDTH_TOLERANCE
            ):
                _add_cubic(child, "width", "sOffset", row)
            if lane.speed_limit > 0.0:
                add(child, "speed", sOffset=0, max=lane.speed_limit, unit="m/s")
            _add_user_data(child, network, lane, back)
            if lane.drivable:
                _add_centre(child, section.shape.stations, section.shape.centres[place])
                if section.shape.ends is not None:
                    _add_ends(child, section.shape.ends[place])
                _add_neighbours(child, network, plan, strip, place)


def _add_centre_lane(parent: Element, network: RoadNetwork, strip: Strip) -> None:
    """Appends the lane without a width, whose mark is that between the directions."""
    lane = add(parent, "lane", id=0, type="none")
    beside = range(max(strip.left - 1, 0), min(strip.left + 1, len(strip.lanes)))
    if any(_inner_mark(network, strip, place) == "none" for place in beside):
        add(lane, "roadMark", sOffset=0, type="none", color="standard")


def _inner_mark(network: RoadNetwork, strip: Strip, place: int) -> str:
    """Returns what is painted on the side of a lane that is nearer to the reference line."""
    lane = network.lanes[strip.lanes[place]]
    on_left = place < strip.left
    return lane.right_mark if strip.forward[place] == on_left else lane.left_mark


def _add_centre(element: Element, stations: Floats, aside: Floats) -> None:
    """Appends how far left of the middle of a lane its centre lies, where it is not there."""
    if np.abs(aside).max() > ASIDE:
        for row in fit_cubics(stations, aside, CENTRE_TOLERANCE):
            user_data(element, CENTRE, numbers_text(row))


def _add_ends(element: Element, cuts: Floats) -> None:
    """Appends how much further than its section a lane begins and ends, where it does."""
    if np.abs(cuts).max() > SQUARE_END:
        user_data(element, ENDS, numbers_text(np.round(cuts, DIGITS).ravel()))


def _add_neighbours(
    element: Element, network: RoadNetwork, plan: Plan, strip: Strip, place: int
) -> None:
    """Appends which lanes are beside a lane, where its section does not say it."""
    lane = network.lanes[strip.lanes[place]]
    if place in strip.turned:
        return
    leftward = -1 if strip.forward[place] else 1
    for code, step, neighbour in (
        (LEFT_NEIGHBOUR, leftward, lane.left_neighbour),
        (RIGHT_NEIGHBOUR, -leftward, lane.right_neighbour),
    ):
        said, other = -1, place + step
        if 0 <= other < len(strip.lanes) and strip.forward[other] == strip.forward[place]:
            beside = network.lanes[strip.lanes[other]]
            said = strip.lanes[other] if beside.drivable and beside.type != TWO_WAY else -1
        if said != neighbour and (neighbour < 0 or neighbour in plan.places):
            user_data(element, code, plan.places[neighbour].name if neighbour >= 0 else "")


def _type(lane: Lane, back: bool) -> str:
    """Returns the word for a type that OpenDRIVE 1.7 has, the nearest one where it has none."""
    if lane.type == TWO_WAY and not back:
        return "driving"
    if lane.type in TYPES:
        return lane.type
    return "driving" if lane.drivable else "none"


def _add_user_data(element: Element, network: RoadNetwork, lane: Lane, back: bool) -> None:
    """Appends what a lane has no word for."""
    if _type(lane, back) != lane.type:
        user_data(element, TYPE, lane.type)
    if lane.left_mark:
        user_data(element, LEFT_MARK, lane.left_mark)
    if lane.right_mark:
        user_data(element, RIGHT_MARK, lane.right_mark)
    if lane.drivable and lane.junction >= 0:
        user_data(element, PRECEDENCE, lane.precedence)


def junction_element(
    network: RoadNetwork, plan: Plan, links: Links, index: int, groups: list[str]
) -> Element:
    """Returns a junction; those beyond the network's are direct ones, which have no name.

    Args:
        network: Holds the junctions.
        plan: Where the lanes are in the file.
        links: Between them.
        index: Of the junction.
        groups: Ids of the controllers.
    """
    junction = network.junctions[index] if index < len(network.junctions) else None
    kind = "default" if any(road.junction == index for road in plan.roads) else "direct"
    element = Element("junction", id=links.junction_ids[index], type=kind)
    element.set("name", junction.name if junction else "")
    for place, connection in enumerate(links.connections.get(index, {}).values()):
        through = plan.roads[connection.connecting]
        # Some programs look for the road of a direct junction under the name of the others.
        linked = {} if through.junction == index else {"linkedRoad": through.id}
        child = add(element, "connection", id=place,
            incomingRoad=plan.roads[connection.incoming].id, connectingRoad=through.id, **linked,
            contactPoint="end" if connection.last else "start")  # fmt: skip
        for lane, beyond in connection.lanes:
            child.append(Element("laneLink", {"from": str(lane), "to": str(beyond)}))
    if len(element) == 0:
        _add_entries(element, plan, links, index)
    if junction is not None:
        _add_priorities(element, network, plan, index)
        for place, group in enumerate(junction.signal_groups):
            if network.signal_groups[group].signals:
                add(element, "controller", id=groups[group], sequence=place)
        if element.get("id") != junction.name:
            user_data(element, NAME, junction.name)
        if junction.kind != kind:
            user_data(element, KIND, junction.kind)
        if junction.rule:
            user_data(element, RULE, junction.rule)
    return element


def _add_entries(element: Element, plan: Plan, links: Links, index: int) -> None:
    """Appends the connections of a junction that is entered from other junctions alone.

    OpenDRIVE has no connections from connecting roads, but no junction without a connection.
    """
    for number, road in enumerate(plan.roads):
        beyond = links.roads.get(End(number, False))
        if road.junction != index or not isinstance(beyond, End):
            continue
        child = add(element, "connection", id=len(element),
            incomingRoad=plan.roads[beyond.road].id, connectingRoad=road.id,
            contactPoint="start")  # fmt: skip
        for place in range(len(road.sections[0].strip.lanes)):
            lane = road.sections[0].lane_id(place)
            for other in links.lanes.get((number, 0, lane, False), ()):
                child.append(Element("laneLink", {"from": str(other), "to": str(lane)}))


def _add_priorities(element: Element, network: RoadNetwork, plan: Plan, index: int) -> None:
    """Appends which road through a junction goes before which, for programs that read no more."""
    ranks: dict[str, int] = {}
    for lane in network.junctions[index].lanes:
        if lane in plan.places:
            road = plan.roads[plan.places[lane].road].id
            ranks[road] = max(network.lanes[lane].precedence, ranks.get(road, -DEPTH))
    for high, above in ranks.items():
        for low, below in ranks.items():
            if above > below:
                add(element, "priority", high=high, low=low)
