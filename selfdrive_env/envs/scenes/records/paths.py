"""The way that an agent was recorded on, as drivers keep to it: points, stop lines, moments.

Who has no record goes straight from goal to goal. Past the end of either the way follows the lane
that it ends on, and goes on straight where it ends on none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.records.places import places_near
from selfdrive_env.kernels.rules.gaps import LATERAL_COMFORT
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.model import (
    MOST_PATH_LINES,
    PATH_COS,
    PATH_S,
    PATH_SIN,
    PATH_SPEED,
    PATH_X,
    PATH_Y,
    PATH_Z,
    Scenes,
)
from selfdrive_env.state.road import (
    LEVEL_HEIGHT,
    LINE_COS,
    LINE_SIN,
    LINE_X0,
    LINE_X1,
    LINE_Y0,
    LINE_Y1,
    LINE_Z,
    SEG_COS,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)

__all__ = ["MOST_POINTS", "write_path", "write_waypoints"]

SPACING = 1.0
"""Least distance of two points of a record that count: standing bodies are not recorded still [m].
Who never comes so far stands."""

BEYOND, STEP = 150.0, 2.5
"""How far a way goes on along lanes, in what steps [m]."""

MOST_POINTS = 1 + 4 + int(BEYOND / STEP)
"""Points of a way beside one a recorded moment: the start, goals, those along lanes."""

ON_LANE = 1.0
"""The way follows a lane if it ends no farther beside one [m]."""

BEND_REACH, BEND_BRAKING = 3.0, 1.5
"""Half of the way over which a bend is measured [m], and the braking before it [m/s^2]."""

STOPPING = 2.0
"""Braking before a last goal, if there is room for it [m/s^2]."""

FREE_SPEED = 100.0
"""Where no bend asks for less [m/s]."""

SAME_LANE = 0.3
"""Lanes that fit a place nearly as well as the best one are its lanes, too [m]."""


class Way(NamedTuple):
    """Points that an agent is to pass, the first where it is now."""

    x: F64
    y: F64
    z: F64
    heading: F64
    """Of the body [rad]."""

    speed: F64
    """Recorded there, 0 where nothing was [m/s]."""


def write_path(
    table: Scenes, at: tuple[int, int], scene: Scene, number: int, road: CompiledMap
) -> None:
    """Writes the path that an agent keeps to.

    Args:
        table: Receives it.
        at: Scene and slot in the table.
        scene: The scene.
        number: Of the agent.
        road: The map of the scene.
    """
    way, pace = _way_of(scene, number)
    recorded = len(way.x)
    stands = recorded < 2 and bool(_moments(scene, number).size)
    if not stands:
        way = _beyond(way, road)
    x, y, z, heading, speed = way
    s = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    count = len(s)
    agent = scene.agents[number]
    allowed = _bend_speed(s, heading, speed)
    if agent.kind != "vehicle":
        allowed = np.minimum(allowed, pace)
    elif not stands and count == recorded and _reverses(way):
        allowed[-1] = 0.0  # nobody reverses on and on
        allowed = _braked(s, allowed)
    table.path_points[at] = count
    table.path_pace[at] = pace
    rows = table.path[at]
    for column, value in {
        PATH_X: x, PATH_Y: y, PATH_Z: z, PATH_COS: np.cos(heading), PATH_SIN: np.sin(heading),
        PATH_S: s, PATH_SPEED: allowed,
    }.items():  # fmt: skip
        rows[:count, column] = value
    table.path_line[at] = -1
    if count > 1 and agent.kind != "pedestrian":
        for place, (line, along) in enumerate(_lines_on(way, s, road)[:MOST_PATH_LINES]):
            table.path_line[at][place], table.path_line_s[at][place] = line, along


def write_waypoints(table: Scenes, at: tuple[int, int], scene: Scene, number: int) -> None:
    """Writes where an agent is to be at each moment.

    Moments at which it was not seen lie evenly between those at which it was; past the last one it
    goes on as it was then. Who has no record passes its goals at its speed, and stops at the last.

    Args:
        table: Receives it.
        at: Scene and slot in the table.
        scene: The scene.
        number: Of the agent.
    """
    moments, agent = table.x.shape[2], scene.agents[number]
    seen = _moments(scene, number)
    time = np.arange(moments, dtype=np.float64)
    if not seen.size:
        way, _ = _way_of(scene, number)
        s = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(way.x), np.diff(way.y)))])
        along, speed = _up_to(float(s[-1]), max(agent.speed, 0.0), scene.dt * time)
        x, y = np.interp(along, s, way.x), np.interp(along, s, way.y)
        heading = np.interp(along, s, np.unwrap(way.heading))
    else:
        tracks: Any = scene.tracks
        known = (seen - scene.current).astype(np.float64)
        x, y, heading = (
            np.interp(time, known, np.asarray(value, np.float64))
            for value in (
                tracks.x[number, seen],
                tracks.y[number, seen],
                np.unwrap(tracks.heading[number, seen].astype(np.float64)),
            )
        )
        cos, sin = np.cos(tracks.heading[number, seen]), np.sin(tracks.heading[number, seen])
        along = tracks.vx[number, seen] * cos + tracks.vy[number, seen] * sin
        speed = np.interp(time, known, along.astype(np.float64))
        on = np.maximum(time - known[-1], 0.0) * scene.dt * speed[-1]
        x, y = x + on * math.cos(heading[-1]), y + on * math.sin(heading[-1])
    for field, value in (
        (table.x, x),
        (table.y, y),
        (table.cos, np.cos(heading)),
        (table.sin, np.sin(heading)),
        (table.speed, speed),
    ):
        field[at][1:] = value[1:]


def _up_to(end: float, speed: float, time: F64) -> tuple[F64, F64]:
    """Returns way and speed of one who keeps a speed and stops at the end of its way.

    Args:
        end: Length of the way [m].
        speed: [m/s]
        time: From the start [s].
    """
    if end <= 0.0 or speed <= 0.0:
        return np.zeros_like(time), np.zeros_like(time)
    braking = max(STOPPING, speed**2 / (2.0 * end))
    since = np.clip(time - (end / speed - speed / (2.0 * braking)), 0.0, speed / braking)
    way = np.minimum(speed * time, end - speed**2 / (2.0 * braking))
    return way + speed * since - 0.5 * braking * since**2, speed - braking * since


def _moments(scene: Scene, number: int) -> NDArray[np.int64]:
    """Returns the moments from the present one on at which an agent was seen."""
    if scene.tracks is None:
        return np.zeros(0, np.int64)
    return scene.current + np.flatnonzero(scene.tracks.valid[number, scene.current : scene.steps])


def _way_of(scene: Scene, number: int) -> tuple[Way, float]:
    """Returns the points of a record, or the goals, and the fastest that the agent was [m/s]."""
    agent, seen = scene.agents[number], _moments(scene, number)
    pace = abs(agent.speed)
    if not seen.size:
        goals = [goal for goal in agent.goals if math.isfinite(goal.radius)]
        x = np.array([agent.x, *(goal.x for goal in goals)])
        y = np.array([agent.y, *(goal.y for goal in goals)])
        heading = np.full(len(x), agent.heading)
        if goals:
            heading[1:] = np.arctan2(np.diff(y), np.diff(x))
        z = np.array([agent.z, *(goal.z for goal in goals)])
        return Way(x, y, z, heading, np.zeros(len(x))), pace
    tracks: Any = scene.tracks
    x, y, z = (getattr(tracks, name)[number, seen] for name in ("x", "y", "z"))
    kept = [0]
    for point in range(1, len(x)):
        if math.hypot(x[point] - x[kept[-1]], y[point] - y[kept[-1]]) >= SPACING:
            kept.append(point)
    heading = tracks.heading[number, seen].astype(np.float64)[kept]
    speed = np.hypot(tracks.vx[number, seen], tracks.vy[number, seen]).astype(np.float64)
    return Way(x[kept], y[kept], z[kept], heading, speed[kept]), max(pace, float(speed.max()))


def _reverses(way: Way) -> bool:
    """Whether a way ends against the heading of the body."""
    if len(way.x) < 2:
        return False
    dx, dy = way.x[-1] - way.x[-2], way.y[-1] - way.y[-2]
    return bool(dx * math.cos(way.heading[-1]) + dy * math.sin(way.heading[-1]) < 0.0)


def _beyond(way: Way, road: CompiledMap) -> Way:
    """Returns a way that goes on along the lanes that it ends on, as far beside them as it is."""
    x, y, heading = float(way.x[-1]), float(way.y[-1]), float(way.heading[-1])
    direction = math.cos(heading), math.sin(heading)
    place = places_near(road, x, y, direction, None)[0]
    lanes: Any = road.lanes
    row = lanes.segment[place.segment].astype(np.float64)
    aligned = direction[0] * row[SEG_COS] + direction[1] * row[SEG_SIN] > math.cos(0.5)
    if place.cost > ON_LANE or not aligned or _reverses(way):
        return way if len(way.x) > 1 else _straight_on(way)
    aside = (y - row[SEG_Y]) * row[SEG_COS] - (x - row[SEG_X]) * row[SEG_SIN]
    lane, s, left = place.lane, place.s + STEP, BEYOND
    parts: list[F64] = []
    while left >= STEP:
        first, last = lanes.segment_first[lane : lane + 2].tolist()
        rows = lanes.segment[first:last].astype(np.float64)
        length = float(lanes.length[lane])
        at = np.arange(s, min(length, s + left - STEP) + 1e-9, STEP)
        rows = rows[np.maximum(np.searchsorted(rows[:, SEG_S], at, "right") - 1, 0)]
        cos, sin, along = rows[:, SEG_COS], rows[:, SEG_SIN], at - rows[:, SEG_S]
        points = (
            rows[:, SEG_X] + along * cos - aside * sin,
            rows[:, SEG_Y] + along * sin + aside * cos,
        )
        parts.append(np.stack([*points, rows[:, SEG_Z], np.arctan2(sin, cos)]))
        left -= STEP * len(at)
        following = lanes.successor[slice(*lanes.successor_first[lane : lane + 2].tolist())]
        if not len(following):
            break
        s = (float(at[-1]) + STEP if len(at) else s) - length
        lane = int(following[np.argmin(np.abs(lanes.turn[following]))])
    added = np.concatenate(parts, axis=1)
    if not added.size:
        return way if len(way.x) > 1 else _straight_on(way)
    added = np.concatenate([added, np.zeros((1, added.shape[1]))])
    return Way(*(np.concatenate(both) for both in zip(way, added, strict=True)))


def _straight_on(way: Way) -> Way:
    """Returns a way of one point with another one ahead of it."""
    x, y, z, heading, speed = (float(one[0]) for one in way)
    xs, ys = [x, x + math.cos(heading)], [y, y + math.sin(heading)]
    return Way(*(np.array(one) for one in (xs, ys, [z, z], [heading] * 2, [speed] * 2)))


def _bend_speed(s: F64, heading: F64, speed: F64) -> F64:
    """Returns the speed that bends ahead allow at each point, or that was driven there [m/s].

    Args:
        s: Arc length of each point [m].
        heading: Of the body [rad].
        speed: Recorded [m/s].
    """
    turned = np.unwrap(heading)
    low, high = np.maximum(s - BEND_REACH, s[0]), np.minimum(s + BEND_REACH, s[-1])
    turn = np.abs(np.interp(high, s, turned) - np.interp(low, s, turned))
    curvature = turn / np.maximum(high - low, SPACING)
    allowed = np.sqrt(float(LATERAL_COMFORT) / np.maximum(curvature, 1e-9))
    return _braked(s, np.clip(np.maximum(allowed, speed), 0.0, FREE_SPEED))


def _braked(s: F64, allowed: F64) -> F64:
    """Returns the speed at each point from which one brakes in time for those after it [m/s]."""
    square = allowed**2 + 2.0 * BEND_BRAKING * s
    after: F64 = np.minimum.accumulate(square[::-1])[::-1] - 2.0 * BEND_BRAKING * s
    return np.sqrt(np.maximum(after, 0.0))


def _lines_on(way: Way, s: F64, road: CompiledMap) -> list[tuple[int, float]]:
    """Returns the stop lines of its lanes that a way passes, with where on it, in order."""
    line = road.signs.line.astype(np.float64)
    if not len(line):
        return []
    x0, x1 = way.x[:-1, None], way.x[1:, None]
    y0, y1 = way.y[:-1, None], way.y[1:, None]
    ax, ay, bx, by = (line[:, column] for column in (LINE_X0, LINE_Y0, LINE_X1, LINE_Y1))
    dx, dy, ex, ey = x1 - x0, y1 - y0, bx - ax, by - ay
    across = dx * ey - dy * ex
    with np.errstate(divide="ignore", invalid="ignore"):
        share = ((ax - x0) * ey - (ay - y0) * ex) / across
        place = ((ax - x0) * dy - (ay - y0) * dx) / across
    passes = (share >= 0.0) & (share < 1.0) & (place >= 0.0) & (place <= 1.0)
    passes &= dx * line[:, LINE_COS] + dy * line[:, LINE_SIN] > 0.0
    passes &= np.abs(way.z[:-1, None] - line[:, LINE_Z]) < LEVEL_HEIGHT
    found = []
    for point, index in np.argwhere(passes).tolist():
        part = float(share[point, index])
        x, y = x0[point, 0] + part * dx[point, 0], y0[point, 0] + part * dy[point, 0]
        size = math.hypot(dx[point, 0], dy[point, 0])
        direction = dx[point, 0] / size, dy[point, 0] / size
        lanes = places_near(road, float(x), float(y), direction, float(way.z[point]))
        best = lanes[0].cost + SAME_LANE
        if any(index in _lines_of(road, one.lane) for one in lanes if one.cost <= best):
            found.append((index, float(s[point] + part * (s[point + 1] - s[point]))))
    return sorted(found, key=lambda one: one[1])


def _lines_of(road: CompiledMap, lane: int) -> list[int]:
    """Returns the stop lines over a lane."""
    first, last = road.signs.lane_line_first[lane : lane + 2].tolist()
    lines: list[int] = road.signs.lane_line[first:last].tolist()
    return lines
