"""Reads CommonRoad scenarios (2018b and 2020a): roads, obstacles, planning problems as goals.

The roads are those of `maps.commonroad`, lights and their programs included. Each planning problem
becomes an agent that learns, with its goals; the first one is the ego.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.maps import load as load_map
from selfdrive_env.maps import xml
from selfdrive_env.maps.road_network import Lane, MapError, RoadNetwork
from selfdrive_env.maps.xml import Element
from selfdrive_env.scenes.agents import ALWAYS, KINDS, Agent, Goal, SceneError
from selfdrive_env.scenes.edits import wrapped
from selfdrive_env.scenes.readers.recorded import (
    MAX_CELLS,
    Place,
    Record,
    make_tracks,
    velocities,
)
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import BICYCLE, OTHER, PEDESTRIAN, VEHICLE, Tracks

__all__ = ["records"]

SUFFIXES = (".xml", ".xml.gz", ".xml.xz")

TYPES = {
    **dict.fromkeys(("car", "truck", "bus", "taxi", "motorcycle", "parkedVehicle"), VEHICLE),
    **dict.fromkeys(("priorityVehicle", "train"), VEHICLE),
    "pedestrian": PEDESTRIAN,
    "bicycle": BICYCLE,
}
"""Kind of an obstacle; every other type is OTHER."""

OBSTACLES = ("obstacle", "staticObstacle", "dynamicObstacle")

TEXTS = frozenset(
    (
        *("role", "type", "length", "width", "radius", "x", "y", "z", "exact", "orientation"),
        *("intervalStart", "intervalEnd"),
    )
)
KEPT = TEXTS | {
    *(*OBSTACLES, "planningProblem", "shape", "rectangle", "circle", "polygon"),
    *("point", "center", "initialState", "trajectory", "state", "position", "lanelet", "time"),
    *("velocity", "goalState", "occupancySet"),
}

MAX_STEP = 1_000_000
MAX_SIZE = 60.0


def _is_kept(tag: str, attributes: dict[str, str]) -> bool:
    # A lanelet of the road has bounds and an id; one of a goal is a reference.
    return tag in KEPT and not (tag == "lanelet" and "id" in attributes)


SCHEMA = xml.Schema("a CommonRoad scenario", "commonRoad", SUFFIXES, _is_kept, TEXTS, True)


@dataclass
class Contents:
    """What a file has beside its roads, in its own coordinates."""

    dt: float
    bodies: list[tuple[int, int, bool]] = field(default_factory=list)
    """id, kind, static."""

    sizes: list[tuple[float, float, float]] = field(default_factory=list)
    states: list[dict[int, tuple[float, ...]]] = field(default_factory=list)
    """Step -> x, y, heading, speed."""

    problems: list[Element] = field(default_factory=list)


def records(path: Path) -> Iterator[Record]:
    """Yields the scene of a file."""
    yield Record(path.name.partition(".xml")[0], lambda: read(path))


def read(path: Path) -> Scene:
    """Returns the scene of a file."""
    try:
        contents = _contents(path)
        if not contents.states and not contents.problems:
            raise Place(path.name).error(
                "the file", "has neither obstacles nor planning problems: it is a map alone"
            )
        network = load_map(path)
        return _scene(contents, network, path)
    except MapError as error:
        raise SceneError(str(error)) from None


def _contents(path: Path) -> Contents:
    elements = xml.read_elements(path, SCHEMA)
    root = next(elements)
    dt = root.number("timeStepSize", 0.1)
    if not 1e-3 <= dt <= 10.0:
        raise root.error(f"timeStepSize is {dt:g} s; 0.001 to 10 s are allowed")
    contents = Contents(dt)
    for element in elements:
        if element.tag in OBSTACLES:
            _add_obstacle(contents, element)
        elif element.tag == "planningProblem":
            contents.problems.append(element)
    return contents


def _add_obstacle(contents: Contents, element: Element) -> None:
    role = element.child("role")
    static = element.tag == "staticObstacle" or (role is not None and _word(role) == "static")
    words = element.child("type")
    kind = TYPES.get(_word(words), OTHER) if words is not None else OTHER
    first = element.child("initialState")
    if first is None:
        raise element.error("has no initialState")
    length, width, (ahead, aside), turn = _shape(element)
    states = dict([_state(first)])
    for state in element.inside("trajectory", "state"):
        step, values = _state(state)
        states[step] = values
    placed: dict[int, tuple[float, ...]] = {}
    for step, (x, y, heading, speed) in states.items():
        cos, sin = math.cos(heading), math.sin(heading)
        # The middle of the box may lie beside the point that the states tell of.
        middle = (x + cos * ahead - sin * aside, y + sin * ahead + cos * aside)
        placed[step] = (*middle, heading + turn, speed)
    contents.bodies.append((element.integer("id"), kind, static))
    contents.sizes.append((length, width, 0.0))
    contents.states.append(placed)


def _word(element: Element) -> str:
    return element.content.strip()


def _shape(element: Element) -> tuple[float, float, tuple[float, float], float]:
    """Returns length, width, middle and heading of a body in its own frame."""
    shape = element.child("shape")
    parts = [] if shape is None else shape.children
    if len(parts) > 1:
        corners = np.concatenate([_corners(part) for part in parts])
    elif parts and parts[0].tag == "rectangle":
        box = parts[0]
        turn = _value(box.child("orientation"), 0.0)
        centre = box.child("center")
        middle = _point(centre) if centre is not None else (0.0, 0.0)
        return _size(box, "length"), _size(box, "width"), middle, turn
    elif parts:
        corners = _corners(parts[0])
    else:
        raise element.error("has no shape of rectangle, circle or polygon")
    low, high = corners.min(0), corners.max(0)
    x, y = (0.5 * (low + high)).tolist()
    length, width = (float(extent) for extent in high - low)
    if not (0.0 < length <= MAX_SIZE and 0.0 < width <= MAX_SIZE):
        raise element.error(f"is {length:g} m by {width:g} m; up to {MAX_SIZE:g} m is allowed")
    return length, width, (x, y), 0.0


def _size(element: Element, tag: str) -> float:
    value = _value(element.child(tag), 0.0)
    if not 0.0 < value <= MAX_SIZE:
        raise element.error(f"has a {tag} of {value:g} m; above 0 and up to {MAX_SIZE:g} m")
    return value


def _corners(element: Element) -> Any:
    """Returns points around a rectangle, circle or polygon, [P, 2] [m]."""
    if element.tag == "rectangle":
        turn = _value(element.child("orientation"), 0.0)
        a, b = 0.5 * _size(element, "length"), 0.5 * _size(element, "width")
        shape = np.array([[a, b], [-a, b], [-a, -b], [a, -b]])
        cos, sin = math.cos(turn), math.sin(turn)
        return shape @ np.array([[cos, sin], [-sin, cos]]) + _centre(element)
    if element.tag == "circle":
        angles = np.linspace(0.0, 2.0 * math.pi, 24, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return _size(element, "radius") * circle + _centre(element)
    points = np.array([_point(point) for point in element.all("point")]).reshape(-1, 2)
    if element.tag != "polygon" or len(points) < 3:
        raise element.error("is no rectangle, circle or polygon of three points")
    return points[:-1] if (points[0] == points[-1]).all() else points


def _centre(element: Element) -> tuple[float, float]:
    centre = element.child("center")
    return (0.0, 0.0) if centre is None else _point(centre)


def _point(element: Element) -> tuple[float, float]:
    x, y = element.child("x"), element.child("y")
    if x is None or y is None:
        raise element.error("has no x or no y")
    return _value(x), _value(y)


def _value(element: Element | None, default: float | None = None) -> float:
    """Returns a number, exact or the middle of an interval."""
    if element is None:
        assert default is not None
        return default
    low, high = _interval(element)
    return 0.5 * (low + high)


def _interval(element: Element) -> tuple[float, float]:
    """Returns the least and the most that an element allows."""
    exact, ends = element.child("exact"), ("intervalStart", "intervalEnd")
    if exact is not None:
        return _interval(exact)
    if element.children:
        low, high = (element.child(tag) for tag in ends)
        if low is None or high is None:
            raise element.error("has neither an exact value nor an interval")
        return _interval(low)[0], _interval(high)[1]
    try:
        value = float(element.content)
    except ValueError:
        value = math.nan
    if not abs(value) <= xml.MAX_NUMBER:
        raise element.error(f"is {element.content.strip()[:40]!r}; a finite number is wanted")
    return value, value


def _state(element: Element) -> tuple[int, tuple[float, float, float, float]]:
    """Returns step, x, y, heading and speed (NaN where there is none) of a state."""
    position, time = element.child("position"), element.child("time")
    if position is None or not position.children:
        raise element.error("has no position")
    place = position.children[0]
    x, y = _point(place) if place.tag == "point" else _corners(place).mean(0).tolist()
    step = 0.0 if time is None else _value(time)
    if not 0.0 <= step <= MAX_STEP:
        raise element.error(f"has the time {step:g}; a step from 0 to {MAX_STEP} is wanted")
    heading, speed = element.child("orientation"), element.child("velocity")
    turn = _value(heading, 0.0)
    return round(step), (x, y, turn, math.nan if speed is None else _value(speed))


def _scene(contents: Contents, network: RoadNetwork, path: Path) -> Scene:
    learners, last = [], max((max(states) for states in contents.states), default=0)
    for problem in contents.problems:
        agent, until = _learner(problem, contents.dt, network)
        learners.append(agent)
        last = max(last, until)
    place, count = Place(path.name), len(contents.states) + len(learners)
    if count * (last + 1) > MAX_CELLS:
        raise place.error("the file", f"has {last + 1} steps of {count} agents, too many to keep")
    tracks = _tracks(contents, learners, last + 1, network, place)
    agents = []
    for row, (name, kind, static) in enumerate(contents.bodies):
        at = int(np.flatnonzero(tracks.valid[row])[0])
        x, y, z = (float(getattr(tracks, axis)[row, at]) for axis in "xyz")
        agents.append(
            Agent(
                id=name,
                kind=KINDS[kind],
                driver="still" if static else "replay",
                x=x,
                y=y,
                z=z,
                heading=float(tracks.heading[row, at]),
                speed=_speed(tracks, row, at),
                length=float(tracks.length[row]),
                width=float(tracks.width[row]),
                height=float(tracks.height[row]),
            )
        )
    agents += learners
    ids = [agent.id for agent in agents]
    for name in ids:
        if ids.count(name) > 1:
            raise place.error("ids", f"{name} stands more than once")
    return Scene(
        agents=tuple(agents),
        map=network,
        tracks=tracks,
        dt=contents.dt,
        steps=last + 1,
        ego=len(contents.bodies) if learners else -1,
        name=path.name.partition(".xml")[0],
        origin=network.origin,
        left_hand=network.left_hand,
        source=str(path),
    )


def _speed(tracks: Tracks, row: int, step: int) -> float:
    """Returns the speed along the heading [m/s]."""
    heading = float(tracks.heading[row, step])
    vx, vy = float(tracks.vx[row, step]), float(tracks.vy[row, step])
    return vx * math.cos(heading) + vy * math.sin(heading)


def _tracks(
    contents: Contents, learners: list[Agent], steps: int, network: RoadNetwork, place: Place
) -> Tracks:
    """Returns tracks of the obstacles, and such as are nowhere valid of those who learn."""
    count = len(contents.states)
    values = np.zeros((4, count + len(learners), steps))
    valid = np.zeros(values.shape[1:], bool)
    for row, ((_, _, static), states) in enumerate(
        zip(contents.bodies, contents.states, strict=True)
    ):
        at = np.array(sorted(states))
        values[:, row, at] = np.array([states[step] for step in at]).T
        valid[row, at] = True
        if static:
            values[:, row, :] = np.array(states[int(at[0])])[:, None]
            values[3, row, :], valid[row, :] = 0.0, True
    x, y, heading, speed = values
    vx, vy = speed * np.cos(heading), speed * np.sin(heading)
    unknown = np.isnan(speed)
    if unknown.any():
        by_place = velocities(x, y, valid, contents.dt)
        vx, vy = np.where(unknown, by_place[0], vx), np.where(unknown, by_place[1], vy)
    z = np.full(valid.shape, network.origin[2])
    sizes = [*contents.sizes, *((a.length, a.width, a.height) for a in learners)]
    series = {"x": x, "y": y, "z": z, "heading": heading, "vx": vx, "vy": vy}
    return make_tracks(
        place,
        series,
        valid,
        id=[*(name for name, _, _ in contents.bodies), *(agent.id for agent in learners)],
        kind=[*(kind for _, kind, _ in contents.bodies), *(VEHICLE for _ in learners)],
        sizes=sizes,
        origin=network.origin,
    )


def _learner(element: Element, dt: float, network: RoadNetwork) -> tuple[Agent, int]:
    """Returns the agent of a planning problem, and its last step."""
    first = element.child("initialState")
    if first is None:
        raise element.error("has no initialState")
    _, (x, y, heading, speed) = _state(first)
    states = [_goal(state, dt, network) for state in element.all("goalState")]
    goals, last = [goal for goal, _ in states], max((until for _, until in states), default=0)
    agent = Agent(
        id=element.integer("id"),
        x=x - network.origin[0],
        y=y - network.origin[1],
        heading=float(wrapped(heading)),
        speed=speed if math.isfinite(speed) else 0.0,
        driver="learner",
        goals=tuple(goals[:1]),  # the others are alternatives to it
        length=float(np.float32(4.5)),
        width=float(np.float32(1.9)),
        height=float(np.float32(1.6)),
    )
    return agent, last


def _goal(element: Element, dt: float, network: RoadNetwork) -> tuple[Goal, int]:
    """Returns a goal, and its last step."""
    spans: dict[str, Any] = {}
    for name, tag in (("time", "time"), ("heading", "orientation"), ("speed", "velocity")):
        child = element.child(tag)
        spans[name] = ALWAYS if child is None else _interval(child)
        low, high = spans[name]
        if low > high:
            raise element.error(f"has a {tag} from {low:g} to {high:g}")
    last = spans["time"][1]
    last = 0.0 if last == math.inf else last
    if not 0.0 <= last <= MAX_STEP:
        raise element.error(f"has the time {last:g}; a step from 0 to {MAX_STEP} is wanted")
    spans["time"] = (spans["time"][0] * dt, spans["time"][1] * dt)
    position = element.child("position")
    places = [] if position is None else position.children
    if not places:
        return Goal(radius=math.inf, **spans), math.ceil(last)
    names = [place.text("ref") for place in places if place.tag == "lanelet"]
    lanes = [lane for name in names for lane in _lanes(network, name)]
    if lanes:
        outline = np.concatenate([lanes[0].left[:, :2], lanes[0].right[::-1, :2]])
        x, y, z = lanes[0].centre[-1].tolist()
    else:
        areas = [place for place in places if place.tag != "lanelet"]
        if not areas:
            raise element.error(f"names lanelets {', '.join(names)[:60]}, which do not exist")
        outline = _corners(areas[0]) - network.origin[:2]
        x, y = outline.mean(0).tolist()
        z = 0.0
    goal = Goal(
        x=x,
        y=y,
        z=z,
        radius=float(np.hypot(*(outline - (x, y)).T).max()) or 1.0,
        outline=tuple((float(a), float(b)) for a, b in outline),
        lanes=tuple(lane.name for lane in lanes),
        **spans,
    )
    return goal, math.ceil(last)


def _lanes(network: RoadNetwork, name: str) -> list[Lane]:
    """Returns the lanes that a lanelet became."""
    return [lane for lane in network.lanes if lane.name.partition("/")[0] == name]
