"""Reads the lane sections of a road, and what other records have in common with them.

A section of one side is joined with those of the other side, and one with a lane that is closed to
cars on a part of it is cut, so that all the rest of the reader sees plain sections.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.parse.records import LaneRecord, Section
from selfdrive_env.maps.opendrive.parse.user_data import CENTRE, ENDS, MAX_CUT, read_numbers
from selfdrive_env.maps.road_network import DRIVABLE_TYPES, TWO_WAY, MapError
from selfdrive_env.maps.xml import Element

__all__ = [
    "MIN_SECTION",
    "SPEED_UNITS",
    "list_empty",
    "read_polynomials",
    "read_sections",
    "read_speeds",
    "usable",
]

Floats = NDArray[np.float64]

Record = TypeVar("Record")

MIN_SECTION = 1e-6
"""Lane sections at most this long are left out [m]."""

CLOSED = "restricted"
"""The type of lanes that cars may not drive on, whatever their own type."""

CARS = frozenset({"passengercar", "car"})
"""What cars are called where access to a lane is ruled, in lower case."""

MAX_CHANGES = 100
"""Most places where a lane of one section is closed to cars or opened again."""

ALLOWED = CARS | {"autonomoustraffic", "simulator", "none"}
"""Who is allowed, cars among them."""

SPEED_UNITS = {
    **dict.fromkeys(("", "m/s", "mps"), 1.0),
    **dict.fromkeys(("km/h", "kmh", "kph", "kmph", "km/hr"), 1.0 / 3.6),
    **dict.fromkeys(("mph", "mi/h"), 0.44704),
}

STANDARD_UNITS = frozenset(("", "m/s", "km/h", "mph"))
"""Those of the standard; others have only one meaning, too."""

NO_LIMIT = 130.0 / 3.6
"""Stands for "no limit" [m/s]."""


def read_sections(lanes: Element, road: str, length: float, problems: Problems) -> list[Section]:
    """Reads the lane sections, also those without a length."""
    elements = sorted(lanes.all("laneSection"), key=lambda section: section.number("s"))
    number = {id(element): str(k) for k, element in enumerate(lanes.all("laneSection"))}
    starts = [max(0.0, section.number("s")) for section in elements]
    if starts:
        starts[0] = min(starts[0], 0.0) if starts[0] < 0.1 else starts[0]
    single = [element.text("singleSide").lower() in ("true", "1") for element in elements]
    sections = []
    for element, start, end in zip(elements, starts, [*starts[1:], length], strict=False):
        shaped = any(single) or min(end, length) - start > MIN_SECTION
        records = [
            _read_lane(lane, road, shaped, problems)
            for side in ("left", "right")
            for lane in element.inside(side, "lane")
        ]
        records = sorted((r for r in records if r.id != 0), key=lambda r: -r.id)
        ids = [r.id for r in records]
        if len(set(ids)) < len(ids):
            raise element.error(f"of road {road} has two lanes with the same id: {ids}")
        sections.append(Section(number[id(element)], start, min(end, length), records))
    if any(single):
        sections = _joined_sides(sections, single, length)
    for section in sections:
        if section.end - section.start <= MIN_SECTION and length:
            problems.infer("{} lane sections have no length", f"road {road} at s={section.start:g}")
    return [part for section in sections for part in _by_access(section)]


def _joined_sides(sections: list[Section], single: list[bool], length: float) -> list[Section]:
    """Returns sections of both sides from those that tell of one; they are numbered anew."""
    sides: list[list[Section]] = []
    for sign in (1, -1):
        own = [
            replace(section, lanes=lanes)
            for section, one_side in zip(sections, single, strict=True)
            if (lanes := [r for r in section.lanes if r.id * sign > 0]) or not one_side
        ]
        for section, end in zip(own, [*(s.start for s in own[1:]), length], strict=False):
            section.end = min(end, length)
        sides.append(own)
    starts = [[section.start for section in own] for own in sides]
    cuts = sorted({start for own in starts for start in own})

    def active(start: float) -> list[Section]:
        places = [bisect_right(own, start) - 1 for own in starts]
        return [own[place] for own, place in zip(sides, places, strict=True) if place >= 0]

    return [
        Section(
            str(k),
            start,
            end,
            [record for section in active(start) for record in _cut(section, start, end).lanes],
        )
        for k, (start, end) in enumerate(pairwise([*cuts, length]))
    ]


def _by_access(section: Section) -> list[Section]:
    """Returns a section in parts, so that each lane of a part is open to cars or is not."""
    length = section.end - section.start
    changes = {offset for record in section.lanes for offset, _ in record.closed}
    cuts = [section.start + o for o in sorted(changes) if MIN_SECTION < o < length - MIN_SECTION]
    ends = [section.start, *cuts, section.end]
    parts = [_cut(section, start, end) for start, end in pairwise(ends)] if cuts else [section]
    for number, part in enumerate(parts):
        part.name += f".{number}" if cuts else ""
        for record in part.lanes:
            states = [closed for offset, closed in record.closed if offset <= MIN_SECTION]
            if states and states[-1] and record.type in DRIVABLE_TYPES:
                record.type = CLOSED
            elif record.two_way and record.type in DRIVABLE_TYPES:
                record.type = TWO_WAY
            record.two_way = record.type == TWO_WAY
    return parts


def _cut(section: Section, start: float, end: float) -> Section:
    """Returns the part of a section between two stations; its lanes lead on to the other parts."""
    offset = start - section.start
    moved = np.array([offset, 0.0, 0.0, 0.0, 0.0])
    records = [
        replace(
            record,
            widths=record.widths - moved,
            borders=record.borders - moved,
            centres=record.centres - moved,
            ends=None,
            predecessors=[record.id] if start > section.start else record.predecessors,
            successors=[record.id] if end < section.end else record.successors,
            speeds=[(s - offset, limit) for s, limit in record.speeds],
            closed=[(s - offset, closed) for s, closed in record.closed],
        )
        for record in section.lanes
    ]
    return Section(section.name, start, end, records)


def _read_lane(lane: Element, road: str, shaped: bool, problems: Problems) -> LaneRecord:
    """Reads a lane; one without a length is not `shaped`, its width may be anything."""
    number = lane.integer("id")
    kind = lane.text("type")
    if not kind:
        kind = "none"
        if number != 0:
            problems.infer("{} lanes have no type and are not driven on", f"{road}/{number}")

    def links(name: str) -> list[int]:
        return usable(lane.inside("link", name), lambda link: link.integer("id"), problems)

    return LaneRecord(
        id=number,
        type=kind,
        widths=read_polynomials(lane.all("width") if shaped else [], "sOffset", problems),
        borders=read_polynomials(lane.all("border") if shaped else [], "sOffset", problems),
        predecessors=links("predecessor"),
        successors=links("successor"),
        speeds=read_speeds(lane.all("speed"), "sOffset", problems),
        reversed=lane.text("direction") == "reversed",
        two_way=kind == TWO_WAY or lane.text("direction") == "both",
        centres=_read_centres(lane if shaped else None, problems),
        ends=_read_ends(lane if shaped else None, problems),
        closed=_read_access(lane, road, problems),
        user_data=lane.all("userData"),
    )


def _read_centres(lane: Element | None, problems: Problems) -> Floats:
    """Returns how far left of the middle of a lane its centre lies, [R, 5]."""
    own = [e for e in lane.all("userData") if e.text("code") == CENTRE] if lane else []
    rows = usable(own, lambda element: read_numbers(element, 5), problems)
    return np.array(sorted(rows), np.float64).reshape(-1, 5)


def _read_ends(lane: Element | None, problems: Problems) -> Floats | None:
    """Returns how much further edges and centre of a lane begin and end, [3, 2], None if not."""

    def read(element: Element) -> list[float]:
        ends = read_numbers(element, 6)
        if max(abs(end) for end in ends) > MAX_CUT:
            raise element.error(f"value={element.text('value')[:60]!r} is beyond {MAX_CUT:g} m")
        return ends

    own = [e for e in lane.all("userData") if e.text("code") == ENDS] if lane else []
    rows = usable(own, read, problems)
    return np.array(rows[0]).reshape(3, 2) if rows else None


def _read_access(lane: Element, road: str, problems: Problems) -> list[tuple[float, bool]]:
    """Returns from which offsets on cars are kept out of a lane, or are not."""

    def read(element: Element) -> tuple[float, str, set[str]]:
        kinds = [one.text("type") for one in element.all("restriction")]
        users = {kind.lower() for kind in (*kinds, element.text("restriction")) if kind}
        return element.number("sOffset", 0.0), element.text("rule", "deny").lower(), users

    rules = usable(lane.all("access"), read, problems)
    denied: dict[float, set[str]] = defaultdict(set)
    allowed: dict[float, set[str]] = defaultdict(set)
    for start, rule, users in rules:
        (allowed if rule == "allow" else denied)[start] |= users
    closed: list[tuple[float, bool]] = []
    for start in sorted({start for start, _, _ in rules}):
        others = allowed[start]
        state = bool(denied[start] & CARS or (others and not others & ALLOWED))
        if not closed or closed[-1][1] != state:
            closed.append((start, state))
    if len(closed) > MAX_CHANGES:
        raise lane.error(f"of road {road} is closed to cars and opened {len(closed)} times; at "
            f"most {MAX_CHANGES} are allowed")  # fmt: skip
    return closed


def read_polynomials(elements: list[Element], start: str, problems: Problems) -> Floats:
    """Returns rows (start, a, b, c, d) in ascending order, [R, 5]."""
    for element in elements:
        list_empty(element, (start, *"abcd"), problems)
    rows = [[e.number(start, 0.0), *(e.number(n, 0.0) for n in "abcd")] for e in elements]
    if len(rows) > 1:
        rows.sort(key=lambda row: row[0])
    return np.array(rows, np.float64).reshape(-1, 5)


def list_empty(element: Element, names: Iterable[str], problems: Problems) -> None:
    """Lists the coefficients of an element that are there and say nothing."""
    for name in names:
        if not element.text(name, "0"):
            place = f"line {element.line}: <{element.tag}> {name}"
            problems.infer("{} coefficients are empty (taken as 0)", place)


def read_speeds(
    elements: list[Element], start: str, problems: Problems
) -> list[tuple[float, float]]:
    """Returns (start, limit) of the records that give a limit."""

    def read(element: Element) -> list[tuple[float, float]]:
        speeds = element.all("speed") if element.tag == "type" else [element]
        limits = [limit for speed in speeds if (limit := _speed(speed, problems)) is not None]
        return [(element.number(start, 0.0), limit) for limit in limits]

    return [pair for pairs in usable(elements, read, problems) for pair in pairs]


def _speed(element: Element, problems: Problems) -> float | None:
    """Returns a speed limit [m/s], or None where the file leaves it open."""
    value = element.text("max").lower()
    if value == "no limit":
        return NO_LIMIT
    if value in ("", "undefined"):
        return None
    speed = element.number("max")
    unit = element.text("unit").lower()
    if unit not in SPEED_UNITS:
        raise element.error(f"unit={unit[:40]!r} is not one of m/s, km/h, mph")
    if unit not in STANDARD_UNITS:
        problems.infer("{} units of speed are spelt otherwise than m/s, km/h or mph (and read)",
            f"line {element.line}: {unit}")  # fmt: skip
    return speed * SPEED_UNITS[unit] if speed > 0.0 else None


def usable(
    elements: Iterable[Element], read: Callable[[Element], Record], problems: Problems
) -> list[Record]:
    """Returns the records that can be read; a map goes without the others, which are listed."""
    records = []
    for element in elements:
        try:
            records.append(read(element))
        except MapError as error:
            place = str(error).removeprefix(f"{element.source}, ")
            problems.drop("{} flawed records are left out", place)
    return records
