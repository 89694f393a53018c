"""Turns the elements of a SUMO network into records; what is flawed is listed or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps import xml
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import DEFAULT_SPEED_LIMIT, MapError
from selfdrive_env.maps.sumo.permissions import CAR, allowed_classes, lane_type
from selfdrive_env.maps.sumo.records import (
    ConnectionRecord,
    Contents,
    CrossingRecord,
    EdgeRecord,
    JunctionRecord,
    LaneRecord,
    ProgramRecord,
)
from selfdrive_env.maps.xml import Element

__all__ = ["SUFFIXES", "read_contents", "read_elements"]

Floats = NDArray[np.float64]

SUFFIXES = (".net.xml", ".net.xml.gz", ".net.xml.xz")

DEFAULT_WIDTH = 3.2
"""Of lanes for which the file gives none [m]."""

CROSSING_WIDTH = 4.0
"""Of crossings for which the file gives none [m]."""

MAX_WIDTH = 60.0
"""Widest lane [m]."""

MAX_SHAPE = 10_000
"""Most points of one shape; netconvert writes some hundreds."""

MAX_CONNECTIONS = 200_000
"""Most connections of a file; the whole of Cologne has 150,000."""

APART = 0.01
"""Points of a shape nearer to each other are one [m]."""

PARTS = """
location edge lane stopOffset neigh tlLogic phase junction request connection roundabout
"""

KEPT = frozenset(PARTS.split())

FUNCTIONS = ("", "normal", "connector", "internal", "crossing", "walkingarea", "macroscopic")

SCHEMA = xml.Schema("a SUMO network", "net", SUFFIXES, lambda tag, _: tag in KEPT, with_root=True)


def read_elements(path: str | Path, skipped: Counter[str] | None = None) -> Iterator[Element]:
    """Yields the root element without its children, then those that are read of a file.

    Args:
        path: Ends in .net.xml, .net.xml.gz or .net.xml.xz.
        skipped: Receives the names of elements that are not read, and how many there are.
    """
    return xml.read_elements(path, SCHEMA, skipped)


def read_contents(elements: Iterator[Element], problems: Problems) -> Contents:
    """Returns the records of a file.

    Args:
        elements: Of `read_elements`.
        problems: Receives what is left out.
    """
    contents = Contents()
    readers: dict[str, Callable[[Element, Contents, Problems], None]] = {
        "net": _read_net,
        "location": _read_location,
        "edge": _read_edge,
        "tlLogic": _read_program,
        "junction": _read_junction,
        "connection": _read_connection,
        "roundabout": _read_roundabout,
    }
    for element in elements:
        if element.tag in readers:
            readers[element.tag](element, contents, problems)
    return contents


def shape_of(element: Element, name: str = "shape") -> Floats:
    """Returns the points of a shape, [P, 3], without those that repeat the one before [m].

    Args:
        element: The element.
        name: Of its attribute: "x,y" or "x,y,z" with blanks between the points.
    """
    text = element.text(name).split()
    if len(text) > MAX_SHAPE:
        raise element.error(f"{name} has {len(text)} points; at most {MAX_SHAPE} are allowed")
    points = np.zeros((len(text), 3))
    for row, point in zip(points, text, strict=True):
        numbers = point.split(",")
        try:
            row[: len(numbers)] = [float(number) for number in numbers]
        except ValueError:
            numbers = []
        if len(numbers) not in (2, 3) or not (np.abs(row) <= xml.MAX_NUMBER).all():
            raise element.error(
                f"{name} has the point {point[:40]!r}; x,y or x,y,z of finite numbers up to "
                f"{xml.MAX_NUMBER:g} are allowed"
            )
    kept: list[int] = []
    for place in range(len(points)):
        if not kept or np.hypot(*(points[place] - points[kept[-1]])[:2]) >= APART:
            kept.append(place)
    # The end of a lane is where the next one starts.
    if len(kept) > 1:
        kept[-1] = len(points) - 1
    return points[kept]


def _read_net(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads the attributes of the root."""
    contents.left_hand = element.text("lefthand").lower() in ("true", "1", "yes", "on", "x", "t")


def _read_location(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads where the network lies."""
    numbers = element.text("netOffset", "0,0").split(",")
    try:
        x, y = (float(number) for number in numbers[:2])
    except ValueError:
        x = y = np.nan
    if not max(abs(x), abs(y)) <= xml.MAX_NUMBER:
        problems.infer("{} offsets of the network are no two numbers and count as 0", "location")
        return
    contents.offset = (x, y)


def _read_edge(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads an edge or a crossing."""
    name, function = _name(element), element.text("function")
    if function not in FUNCTIONS:
        problems.drop("{} edges have an unknown function and are left out", f"edge {name}")
        return
    if function == "crossing":
        _read_crossing(element, name, contents)
    if function in ("crossing", "walkingarea", "macroscopic"):
        return
    if name in contents.edges:
        raise element.error(f"id {name!r} is used by an edge before it; ids are unique")
    internal = function == "internal"
    lanes = [_lane(child, internal, problems) for child in element.all("lane")]
    if not lanes:
        raise element.error(f"edge {name!r} has no lane")
    if internal and len({lane.index for lane in lanes}) < len(lanes):
        # The second part of a way that waits within a junction.
        for place, lane in enumerate(lanes):
            lane.index = place
    lanes.sort(key=lambda lane: lane.index)
    edge = EdgeRecord(name, element.text("from"), element.text("to"), lanes, internal)
    contents.edges[name] = edge
    for place, lane in enumerate(lanes):
        if contents.lanes.setdefault(lane.id, (name, place)) != (name, place):
            raise element.error(f"lane id {lane.id!r} is used by a lane before it; ids are unique")
        if place and lane.index == lanes[place - 1].index:
            raise element.error(f"has two lanes of index {lane.index}")


def _lane(element: Element, internal: bool, problems: Problems) -> LaneRecord:
    """Returns a lane."""
    name = _name(element)
    classes, unknown = allowed_classes(element.text("allow"), element.text("disallow"))
    for one in dict.fromkeys(unknown):
        problems.drop("{} vehicle classes are unknown and left out", f"{one[:40]!r} of lane {name}")
    shape = shape_of(element)
    if len(shape) < 2 and not internal:
        raise element.error(
            f"lane {name!r} has {len(shape)} different points in its shape; at least 2 are needed"
        )
    width = element.number("width", DEFAULT_WIDTH)
    if not 0.0 < width <= MAX_WIDTH:
        if width != -1.0:
            raise element.error(f"width={width:g} of lane {name!r} is not in (0, {MAX_WIDTH:g}] m")
        width = DEFAULT_WIDTH
    speed = element.number("speed", DEFAULT_SPEED_LIMIT)
    if speed <= 0.0:
        problems.infer("{} lanes have no speed limit above 0; 13.9 m/s is used", f"lane {name}")
        speed = DEFAULT_SPEED_LIMIT
    record = LaneRecord(name, element.integer("index"), lane_type(classes), shape, width, speed)
    changes = [
        "all" in text.split() or not text or CAR in allowed_classes(text, "")[0]
        for text in (element.text("changeLeft"), element.text("changeRight"))
    ]
    record.inward, record.outward = changes
    offsets = element.all("stopOffset")
    record.setback = max(element.number("endOffset", 0.0), 0.0)
    for offset in offsets:
        for_cars = allowed_classes(offset.text("vClasses", "all"), offset.text("exceptions"))[0]
        if CAR in for_cars:
            record.setback = max(record.setback, offset.number("value", 0.0))
    if element.all("neigh"):
        problems.drop("{} lanes may be overtaken on against the traffic; that is left out", name)
    return record


def _read_crossing(element: Element, name: str, contents: Contents) -> None:
    """Reads where pedestrians cross."""
    for lane in element.all("lane"):
        width = lane.number("width", CROSSING_WIDTH)
        shape = shape_of(lane)
        if len(shape) > 1 and 0.0 < width <= MAX_WIDTH:
            edges = element.text("crossingEdges").split()
            contents.crossings.append(CrossingRecord(name, edges, shape, width))


def _read_program(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads a program of a traffic light; the one called 0 goes before others, else the first."""
    name, own = _name(element), element.text("programID", "0")
    phases = []
    for phase in element.all("phase"):
        duration = phase.number("duration", 0.0)
        if duration > 0.0 and phase.text("state"):
            phases.append((duration, phase.text("state")))
        else:
            problems.drop("{} phases have no duration or state and are left out", f"light {name}")
    known = contents.programs.get(name)
    if known is not None:
        problems.drop("{} lights have several programs; the one called 0 or the first counts", name)
        if known.name == "0" or own != "0":
            return
    if element.text("type", "static") != "static":
        problems.infer("{} lights react to traffic; here they keep the durations of the file", name)
    try:
        offset = element.number("offset", 0.0)
    except MapError:
        problems.infer("{} lights have an offset that is no number and counts as 0", name)
        offset = 0.0
    contents.programs[name] = ProgramRecord(name, own, phases, offset)


def _read_junction(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads a junction; those within a junction only say where one may wait."""
    name, kind = _name(element), element.text("type")
    if kind == "internal":
        return
    if name in contents.junctions:
        raise element.error(f"id {name!r} is used by a junction before it; ids are unique")
    incoming, internal = element.text("incLanes").split(), element.text("intLanes").split()
    record = JunctionRecord(name, kind, incoming, internal)
    for request in element.all("request"):
        index = request.integer("index")
        record.responses[index] = request.text("response")
        record.foes[index] = request.text("foes")
    contents.junctions[name] = record


def _read_connection(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads what follows a lane."""
    if len(contents.connections) >= MAX_CONNECTIONS:
        raise element.error(f"the file has more than {MAX_CONNECTIONS} connections")
    record = ConnectionRecord(
        _name(element, "from"),
        element.integer("fromLane"),
        _name(element, "to"),
        element.integer("toLane"),
        element.text("via"),
        element.text("tl"),
        element.integer("linkIndex") if element.text("linkIndex") else -1,
        element.text("dir"),
        element.text("state"),
    )
    contents.connections.append(record)


def _read_roundabout(element: Element, contents: Contents, problems: Problems) -> None:
    """Reads the name of a roundabout."""
    nodes = element.text("nodes").split() or element.text("edges").split()
    contents.roundabouts.append(nodes[0] if nodes else f"line {element.line}")


def _name(element: Element, attribute: str = "id") -> str:
    """Returns the name of something."""
    name = element.text(attribute)
    if not name:
        raise element.error(f"attribute {attribute} is missing; a name is needed")
    return name
