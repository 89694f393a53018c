"""Turns the elements of a CommonRoad file into records: checked, numbers parsed, units SI."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps import xml
from selfdrive_env.maps.commonroad.records import (
    Contents,
    Incoming,
    Intersection,
    Lanelet,
    Light,
    Sign,
    StopMark,
)
from selfdrive_env.maps.commonroad.signs import MAX_LIMIT, read_sign, speed_shown
from selfdrive_env.maps.flaws import MAX_COORDINATE
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import MapError
from selfdrive_env.maps.xml import Element
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW

__all__ = ["SUFFIXES", "read_contents", "stem"]

Floats = NDArray[np.float64]

Record = TypeVar("Record")

SUFFIXES = (".xml", ".xml.gz", ".xml.xz")

VERSIONS = ("2018b", "2020a")

KEPT_TEXT = """
lanelet leftBound rightBound point x y z predecessor successor adjacentLeft adjacentRight stopLine
laneletType userOneWay userBidirectional trafficSignRef trafficLightRef speedLimit
trafficSign trafficSignElement trafficSignID trafficSignId additionalValue position virtual
trafficLight cycle cycleElement duration color timeOffset direction active
intersection incoming incomingLanelet successorsRight successorsStraight successorsLeft
crossing crossingLanelet
"""

KEPT = frozenset(KEPT_TEXT.split())

TEXTS = frozenset(
    (
        *("x", "y", "z", "laneletType", "userOneWay", "userBidirectional", "speedLimit"),
        *("trafficSignID", "trafficSignId", "additionalValue", "virtual"),
        *("duration", "color", "timeOffset", "direction", "active"),
    )
)
"""Elements with a value between their tags."""

SUCCESSORS = ("successorsRight", "successorsStraight", "successorsLeft")

COLOURS = {"red": RED, "redYellow": RED, "green": GREEN, "yellow": YELLOW, "inactive": NO_LIGHT}
"""What the colours of a cycle are to a driver: red with yellow is red still."""


def _is_kept(tag: str, attributes: dict[str, str]) -> bool:
    return tag in KEPT


SCHEMA = xml.Schema("a CommonRoad file", "commonRoad", SUFFIXES, _is_kept, TEXTS, with_root=True)


def read_contents(path: Path, problems: Problems) -> Contents:
    """Reads a file into records.

    Args:
        path: Ends in .xml, .xml.gz or .xml.xz.
        problems: Receives what is flawed but usable.

    Returns:
        The records, keyed by their ids.
    """
    skipped: Counter[str] = Counter()
    elements = xml.read_elements(path, SCHEMA, skipped)
    contents = _read_root(next(elements), path.name)
    for element in elements:
        if element.tag == "lanelet":
            lanelet = _read_lanelet(element, problems)
            if lanelet is not None:
                _put(contents.lanelets, lanelet.id, lanelet, "lanelet", problems)
        elif element.tag == "trafficSign":
            sign = _read_sign(element, contents.country, problems)
            _put(contents.signs, sign.id, sign, "sign", problems)
        elif element.tag == "trafficLight":
            light = _read_light(element, contents.step, problems)
            _put(contents.lights, light.id, light, "light", problems)
        elif element.tag == "intersection":
            crossing = _read_intersection(element)
            _put(contents.intersections, crossing.id, crossing, "intersection", problems)
    problems.skip(skipped)
    return contents


def _put(
    records: dict[str, Record], name: str, record: Record, what: str, problems: Problems
) -> None:
    """Adds a record unless there is one of its id."""
    if name in records:
        flaw = "{} elements have an id used before by one of their kind and are left out"
        problems.drop(flaw, f"{what} {name}")
    else:
        records[name] = record


def _read_root(root: Element, source: str) -> Contents:
    version = root.text("commonRoadVersion")
    if version not in VERSIONS:
        raise MapError(
            f"{source}: commonRoadVersion is {version[:40]!r}; only {' and '.join(VERSIONS)} are "
            "read"
        )
    country = root.text("benchmarkID").removeprefix("C-").partition("_")[0].upper()
    step = root.number("timeStepSize", 0.0)
    return Contents(version, country, step if step > 0.0 else 0.0)


def _texts(element: Element, tag: str) -> list[str]:
    """Returns the values of the children with a tag."""
    return [child.content.strip() for child in element.all(tag)]


def _flag(element: Element, tag: str, default: bool) -> bool:
    """Returns the truth value of a child."""
    values = _texts(element, tag)
    return values[0].lower() in ("true", "1") if values else default


def _refs(element: Element, *tags: str) -> list[str]:
    """Returns what the children with these tags refer to, each once."""
    return list(dict.fromkeys(c.text("ref") for tag in tags for c in element.all(tag)))


def _number(element: Element) -> float:
    """Returns the value of an element as a finite number."""
    try:
        value = float(element.content)
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_COORDINATE:
        raise element.error(
            f"is {element.content.strip()[:40]!r}; a number up to {MAX_COORDINATE:g} is needed"
        )
    return value


def _point(element: Element) -> tuple[float, float, float]:
    """Returns the coordinates of a point; z is 0 where it has none."""
    found = [element.child(axis) for axis in ("x", "y", "z")]
    if found[0] is None or found[1] is None:
        raise element.error("has no x or no y")
    x, y = _number(found[0]), _number(found[1])
    return x, y, 0.0 if found[2] is None else _number(found[2])


def _points(element: Element | None) -> Floats:
    """Returns the points of an element, [P, 3] [m]."""
    rows = [] if element is None else [_point(point) for point in element.all("point")]
    return np.array(rows, np.float64).reshape(-1, 3)


def _position(element: Element) -> Floats | None:
    """Returns where something stands, [3] [m], None where the file does not say."""
    points = [_point(point) for point in element.inside("position", "point")]
    return np.array(points[0]) if points else None


def _read_lanelet(element: Element, problems: Problems) -> Lanelet | None:
    name = element.text("id")
    left, right = (_points(element.child(tag)) for tag in ("leftBound", "rightBound"))
    if min(len(left), len(right)) < 2:
        problems.drop("{} lanelets have a bound of less than two points and are left out", name)
        return None
    if len(left) != len(right):
        problems.infer(
            "{} lanelets have bounds of unequal numbers of points (matched by their place)", name
        )
    speeds = element.all("speedLimit")
    return Lanelet(
        id=name,
        left=left,
        right=right,
        predecessors=_refs(element, "predecessor"),
        successors=_refs(element, "successor"),
        adjacent_left=_adjacent(element, "adjacentLeft"),
        adjacent_right=_adjacent(element, "adjacentRight"),
        stop_line=_stop_mark(element.child("stopLine"), name, problems),
        types=frozenset(_texts(element, "laneletType")),
        one_way=frozenset(_texts(element, "userOneWay")),
        both_ways=frozenset(_texts(element, "userBidirectional")),
        signs=_refs(element, "trafficSignRef"),
        lights=_refs(element, "trafficLightRef"),
        speed=_speed(speeds[0], name, problems) if speeds else None,
    )


def _adjacent(element: Element, tag: str) -> tuple[str, bool] | None:
    beside = element.child(tag)
    return None if beside is None else (beside.text("ref"), beside.text("drivingDir") == "same")


def _speed(element: Element, lanelet: str, problems: Problems) -> float | None:
    """Returns the limit of a lanelet of version 2018b [m/s]."""
    try:
        speed = float(element.content)
    except ValueError:
        speed = math.nan
    if 0.0 < speed <= MAX_LIMIT:
        return speed
    problems.drop(
        f"{{}} speed limits are not above 0 and up to {MAX_LIMIT:g} m/s and are left out",
        f"lanelet {lanelet} ({element.content.strip()[:20]})",
    )
    return None


def _stop_mark(element: Element | None, lanelet: str, problems: Problems) -> StopMark | None:
    if element is None:
        return None
    points = _points(element)
    if len(points) == 1 or len(points) > 2:
        problems.infer(
            "{} stop lines have not two ends and are moved to the end of their lanelet", lanelet
        )
        points = points[:0]
    return StopMark(points, _refs(element, "trafficSignRef"), _refs(element, "trafficLightRef"))


def _read_sign(element: Element, country: str, problems: Problems) -> Sign:
    name = element.text("id")
    elements = []
    for part in element.all("trafficSignElement"):
        ids = [*_texts(part, "trafficSignID"), *_texts(part, "trafficSignId")]
        kind = read_sign(country, ids[0]) if ids else ""
        if not kind:
            continue
        speed = None
        if kind == "speed_limit":
            values = _texts(part, "additionalValue")
            speed = speed_shown(ids[0], values)
            if speed is None:
                problems.drop(
                    f"{{}} speed signs show no speed above 0 and up to {MAX_LIMIT:g} m/s and are "
                    "left out",
                    f"sign {name} ({', '.join(values)[:20]})",
                )
                continue
        elements.append((kind, speed))
    virtual = _flag(element, "virtual", False)
    return Sign(name, elements, _position(element), virtual)


def _read_light(element: Element, step: float, problems: Problems) -> Light:
    name = element.text("id")
    directions = _texts(element, "direction")
    cycle, offset = _read_cycle(element.child("cycle"), step, name, problems)
    return Light(
        id=name,
        cycle=cycle,
        offset=offset,
        position=_position(element),
        direction=directions[0] if directions else "all",
        active=_flag(element, "active", True),
    )


def _read_cycle(
    element: Element | None, step: float, light: str, problems: Problems
) -> tuple[list[tuple[int, float]], float]:
    """Returns the phases of a light, and the time within them at which the scenario starts [s]."""
    parts = [] if element is None else element.all("cycleElement")
    cycle: list[tuple[int, float]] = []
    for part in parts:
        durations, colours = _texts(part, "duration"), _texts(part, "color")
        try:
            seconds = float(durations[0]) * step
            colour = COLOURS[colours[0]]
        except (IndexError, KeyError, ValueError):
            seconds, colour = math.nan, NO_LIGHT
        if not 0.0 < seconds <= MAX_COORDINATE:
            flaw = "{} lights have a cycle of which a phase is flawed (it is left out)"
            problems.drop(flaw, f"light {light}")
            return [], 0.0
        if cycle and cycle[-1][0] == colour:
            seconds += cycle.pop()[1]
        cycle.append((colour, seconds))
    if not cycle:
        return [], 0.0
    delays = [] if element is None else _texts(element, "timeOffset")
    try:
        delay = float(delays[0]) * step if delays else 0.0
    except ValueError:
        delay = math.nan
    if not abs(delay) <= MAX_COORDINATE:
        problems.infer(
            "{} lights have a time offset that is no number (0 is used)", f"light {light}"
        )
        delay = 0.0
    return cycle, -delay % sum(seconds for _, seconds in cycle)


def _read_intersection(element: Element) -> Intersection:
    incomings = [
        Incoming(
            arm.text("id"),
            _refs(arm, "incomingLanelet"),
            _refs(arm, *SUCCESSORS),
            _refs(arm, "successorsRight"),
            _refs(arm, "successorsLeft"),
        )
        for arm in element.all("incoming")
    ]
    crossings = [ref for part in element.all("crossing") for ref in _refs(part, "crossingLanelet")]
    return Intersection(element.text("id"), incomings, crossings)


def stem(path: Path) -> str:
    """Returns the name of a file without its ending."""
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
