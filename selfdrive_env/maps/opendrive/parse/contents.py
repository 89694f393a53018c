"""Turns the elements of an OpenDRIVE file into records: checked, numbers parsed, units SI."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.flaws import MAX_COORDINATE
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.geometry import CubicCurve, ReferenceLine
from selfdrive_env.maps.opendrive.parse.records import (
    Connection,
    Contents,
    Controller,
    CrosswalkRecord,
    JunctionRecord,
    LineRecord,
    Road,
    RoadLink,
    SignalRecord,
)
from selfdrive_env.maps.opendrive.parse.sections import (
    MIN_SECTION,
    list_empty,
    read_polynomials,
    read_sections,
    read_speeds,
    usable,
)
from selfdrive_env.maps.opendrive.parse.signs import read_kind
from selfdrive_env.maps.opendrive.parse.user_data import (
    STOP_LINE,
    STOP_LINE_FRAME,
    STOP_LINE_PART,
    read_numbers,
)
from selfdrive_env.maps.opendrive.parse.xml import drawn_kind
from selfdrive_env.maps.xml import Element

__all__ = ["read_contents"]

Floats = NDArray[np.float64]

Record = TypeVar("Record")

MAX_LENGTH = 1e6
"""Longest road or geometry [m]."""

MAX_TURN = 200.0
"""Largest change of heading within one geometry [rad]."""

ROUNDING = 1e-3
"""Geometries shorter than nothing by at most this much have no length [m]."""


def read_contents(elements: Iterable[Element], problems: Problems) -> Contents:
    """Turns the children of the root element into records.

    Args:
        elements: Roads, junctions and controllers.
        problems: Receives what is flawed but usable.

    Returns:
        The records, keyed by their ids.
    """
    contents = Contents()
    for element in elements:
        name = element.text("id")
        if element.tag == "road":
            contents.num_roads += 1
            if name in contents.roads:
                problems.drop("{} roads have an id used before and are left out", f"road {name}")
                continue
            contents.roads[name] = _read_road(element, problems)
        elif element.tag == "junction":
            contents.junctions[name] = _read_junction(element, problems)
        elif element.tag == "controller":
            signals = [control.text("signalId") for control in element.all("control")]
            contents.controllers[name] = Controller(
                name, list(dict.fromkeys(signals)), element.all("userData")
            )
        elif element.tag == "header":
            contents.user_data += element.all("userData")
    return contents


def _read_road(element: Element, problems: Problems) -> Road:
    length = _length(element)
    name = element.text("id")
    line = _read_line(element, problems)
    if line.length <= MIN_SECTION:
        problems.infer(
            "{} roads have no planView geometry with a length over 0 (joined across)",
            f"road {name}",
        )
        length = 0.0
    elif abs(line.length - length) > 1.0 + 0.01 * length:
        problems.infer(
            "{} roads state another length than their geometry has (the shorter one is used)",
            f"road {name} ({length:.1f} m, {line.length:.1f} m)",
        )
        length = min(length, line.length)
    if np.any(line.gaps() > 0.1):
        problems.add("{} roads have gaps over 0.1 m in their reference line", f"road {name}")
    link = element.child("link")
    lanes = element.child("lanes")
    if len(element.all("lanes")) > 1:
        problems.drop("{} roads have <lanes> more than once (the first is read)", f"road {name}")
    sections = [] if lanes is None else read_sections(lanes, name, length, problems)
    drawn: dict[str, list[Element]] = {"crosswalk": [], "stop_line": []}
    for drawing in element.inside("objects", "object") if length else []:
        drawn[drawn_kind(drawing.attributes)].append(drawing)
    return Road(
        id=name,
        length=length,
        junction=element.text("junction", "-1") or "-1",
        left_hand=element.text("rule", "RHT").upper() == "LHT",
        line=line,
        elevations=read_polynomials(element.inside("elevationProfile", "elevation"), "s", problems),
        lane_offsets=read_polynomials(element.inside("lanes", "laneOffset"), "s", problems),
        sections=[section for section in sections if section.end - section.start > MIN_SECTION],
        linked_sections=sections,
        predecessor=_read_link(link, "predecessor"),
        successor=_read_link(link, "successor"),
        speeds=read_speeds([r for r in element.all("type") if r.child("speed")], "s", problems),
        signals=_read_signals(element, problems) if length else [],
        crosswalks=usable(drawn["crosswalk"], _read_crosswalk, problems),
        stop_marks=usable(drawn["stop_line"], _read_mark, problems),
        stop_lines=[one for one in usable(drawn["stop_line"], _read_own, problems) if one],
    )


def _read_mark(drawing: Element) -> tuple[float, float, bool]:
    """Reads where a stop line is drawn, and whether this package has drawn it."""
    codes = {child.text("code") for child in drawing.all("userData")}
    own = not codes.isdisjoint((STOP_LINE, STOP_LINE_FRAME))
    return drawing.number("s"), drawing.number("t", 0.0), own


def _read_own(drawing: Element) -> LineRecord | None:
    """Reads a stop line that this package has drawn with all that it says, None for others."""
    own = {child.text("code"): child for child in drawing.all("userData")}
    framed = STOP_LINE_FRAME in own
    child = own.get(STOP_LINE_FRAME if framed else STOP_LINE)
    if child is None or child.text("value") == "exact":
        return None
    ends = np.array(read_numbers(child, 8)).reshape(4, 2)
    validities = [_read_validity(one) for one in drawing.all("validity")]
    forward = drawing.text("orientation") != "-"
    part = own[STOP_LINE_PART].text("value") if STOP_LINE_PART in own else ""
    return LineRecord(drawing.number("s"), forward, validities, ends, framed, part)


def _length(element: Element) -> float:
    """Returns a length that is not absurd."""
    length = element.number("length")
    if not -ROUNDING <= length <= MAX_LENGTH:
        raise element.error(f"length={length:g} m is outside 0..{MAX_LENGTH:g} m")
    return max(length, 0.0)


def _read_line(road: Element, problems: Problems) -> ReferenceLine:
    """Reads the plan view."""
    pieces: list[list[float]] = []
    curves = {}
    geometries = sorted(road.inside("planView", "geometry"), key=lambda g: g.number("s"))
    for geometry in geometries:
        length = _length(geometry)
        if length == 0.0:
            place = f"road {road.text('id')} at s={geometry.number('s'):g}"
            problems.drop("{} geometries have no length and are left out", place)
            continue
        row = [geometry.number(name) for name in ("s", "x", "y", "hdg")]
        if max(abs(row[1]), abs(row[2])) > MAX_COORDINATE:
            raise geometry.error(f"x or y is beyond {MAX_COORDINATE:g} m")
        start, end, curve = _read_shape(geometry, length, problems)
        if curve is not None:
            curves[len(pieces)] = curve
        pieces.append([*row, start, (end - start) / length, length])
    if not pieces:
        first = geometries[0] if geometries else None
        x, y, heading = (first.number(n) if first else 0.0 for n in ("x", "y", "hdg"))
        pieces.append([0.0, x, y, heading, 0.0, 0.0, 0.0])
    columns = np.ascontiguousarray(np.array(pieces).T)
    length = float(columns[0, -1] + columns[6, -1])
    return ReferenceLine(*columns, length=length, curves=curves)  # type: ignore[misc]


def _read_shape(
    geometry: Element, length: float, problems: Problems
) -> tuple[float, float, CubicCurve | None]:
    """Returns the curvature at both ends and the curve, if it is neither line, arc nor spiral."""
    for shape in geometry.children:
        if shape.tag == "line":
            return 0.0, 0.0, None
        if shape.tag in ("arc", "spiral"):
            names = ("curvature",) * 2 if shape.tag == "arc" else ("curvStart", "curvEnd")
            start, end = (shape.number(name) for name in names)
            if max(abs(start), abs(end)) * length > MAX_TURN:
                raise shape.error(f"turns by more than {MAX_TURN:g} rad over {length:g} m")
            return start, end, None
        if shape.tag in ("poly3", "paramPoly3"):
            return 0.0, 0.0, _read_curve(shape, length, problems)
    raise geometry.error("has no line, arc, spiral, poly3 or paramPoly3")


def _read_curve(shape: Element, length: float, problems: Problems) -> CubicCurve:
    """Reads a poly3 or paramPoly3."""
    list_empty(shape, [*"abcd", *(f"{n}{axis}" for axis in "UV" for n in "abcd")], problems)
    if shape.tag == "poly3":
        v = np.array([shape.number(name, 0.0) for name in "abcd"])
        curve = CubicCurve(np.array([0.0, 1.0, 0.0, 0.0]), v, length, length, kind="poly3")
    else:
        u, v = (np.array([shape.number(f"{n}{axis}", 0.0) for n in "abcd"]) for axis in "UV")
        by_length = shape.text("pRange") == "arcLength"
        end, kind = (length, "arcLength") if by_length else (1.0, "normalized")
        curve = CubicCurve(u, v, end, length, kind=kind)
    total = float(curve.lengths[-1])
    if not isfinite(total) or not 1e-3 * length <= total <= 1e3 * length + 1.0:
        raise shape.error(f"is {total:g} m long where the geometry states {length:g} m")
    return curve


def _read_link(link: Element | None, name: str) -> RoadLink | None:
    record = link.child(name) if link is not None else None
    if record is None or not record.text("elementId"):
        return None
    contact = record.text("contactPoint")
    at_end = {"start": False, "end": True}.get(contact)
    return RoadLink(record.text("elementType"), record.text("elementId"), at_end)


def _read_signals(road: Element, problems: Problems) -> list[SignalRecord]:
    """Reads the signals of a road and its references to signals."""

    def read(element: Element) -> SignalRecord:
        ranges = usable(element.all("validity"), _read_validity, problems)
        record = SignalRecord(
            id=element.text("id"),
            s=element.number("s"),
            t=element.number("t", 0.0),
            orientation=element.text("orientation", "none"),
            validities=ranges,
            is_reference=element.tag == "signalReference",
        )
        if not record.is_reference:
            record.name, record.type = element.text("name"), element.text("type")
            record.z_offset = element.number("zOffset", 0.0)
            record.heading_offset = element.number("hOffset", 0.0)
            record.user_data = element.all("userData")
            read_kind(element, record, problems)
        return record

    tags = ("signal", "signalReference")
    elements = [e for group in road.all("signals") for e in group.children if e.tag in tags]
    return usable(elements, read, problems)


def _read_validity(element: Element) -> tuple[int, int]:
    ids = element.integer("fromLane"), element.integer("toLane")
    return min(ids), max(ids)


def _read_crosswalk(element: Element) -> CrosswalkRecord:
    """Reads the outline of a crosswalk, else the rectangle of its length and width."""
    outlines = [*element.all("outline"), *element.inside("outlines", "outline")]
    corners, on_road = [], False
    for outline in outlines[:1]:
        on_road = outline.child("cornerRoad") is not None
        names = ("s", "t", "dz") if on_road else ("u", "v", "z")
        tag = "cornerRoad" if on_road else "cornerLocal"
        corners = [[corner.number(n, 0.0) for n in names] for corner in outline.all(tag)]
    if len(corners) < 3:
        on_road = False
        u, v = 0.5 * element.number("length", 0.0), 0.5 * element.number("width", 0.0)
        corners = [[u, v, 0.0], [-u, v, 0.0], [-u, -v, 0.0], [u, -v, 0.0]]
    points = np.array(corners, np.float64)
    if len(points) > 3 and np.allclose(points[0], points[-1], atol=1e-3):
        points = points[:-1]
    return CrosswalkRecord(
        id=element.text("id"),
        s=element.number("s"),
        t=element.number("t", 0.0),
        z_offset=element.number("zOffset", 0.0),
        heading=element.number("hdg", 0.0),
        corners=points,
        on_road=on_road,
    )


def _read_junction(element: Element, problems: Problems) -> JunctionRecord:
    def read_link(link: Element) -> tuple[int, int]:
        return link.integer("from"), link.integer("to")

    connections = [
        Connection(
            incoming=record.text("incomingRoad"),
            connecting=record.text("connectingRoad") or record.text("linkedRoad"),
            at_end=record.text("contactPoint") == "end",
            lane_links=usable(record.all("laneLink"), read_link, problems),
        )
        for record in element.all("connection")
    ]
    controllers = usable(
        element.all("controller"), lambda c: (c.number("sequence", 0.0), c.text("id")), problems
    )
    controllers.sort(key=lambda pair: pair[0])
    return JunctionRecord(
        id=element.text("id"),
        kind=element.text("type", "default") or "default",
        connections=connections,
        controllers=list(dict.fromkeys(name for _, name in controllers)),
        priorities=[
            (high, low)
            for record in element.all("priority")
            if (high := record.text("high")) and (low := record.text("low"))
        ],
        user_data=element.all("userData"),
    )
