"""Slow float64 oracles, written from the definitions of the dynamics, contacts, surface, reward and
observation, for the tests to hold the kernels against. Plain NumPy, and shapely for areas."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import shapely

from selfdrive_env.config.presets import TRAINING_RANGE
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHTS
from selfdrive_env.state.road import UNREACHABLE
from selfdrive_env.state.world import (
    ABSENT,
    BLIND,
    GREEN,
    MAX_GOALS,
    NO_LIGHT,
    RED,
    STOP_SIGN,
    YELLOW,
)

MILLIMETRE = 1e-3
MISSED = 0.02
"""Depth of an overlap that a swept contact may miss [m]."""


# Dynamics


class Car(NamedTuple):
    """State and coefficients of one vehicle."""

    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    lateral: float = 0.0
    steering: float = 0.0
    throttle: float = 1.0
    steer: float = 1.0
    pull: float = 1.0
    pace: float = 1.0
    wheelbase: float = 2.7
    realised: tuple[float, float] = (0.0, 0.0)
    """Jerk of the last step."""


def clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def snapped(old: float, new: float) -> float:
    """0 where a quantity would change its sign."""
    return 0.0 if old * new < 0.0 else new


def bicycle(
    car: Car,
    jerk: tuple[float, float],
    dt: float,
    hold_jerk: float = -9.5,
    *,
    may_reverse: bool = True,
) -> Car:
    """The jerk-actuated bicycle, one step."""
    long, lat = jerk
    holds = car.speed <= 0.0 and (long <= hold_jerk or (long < 0.0 and not may_reverse))
    if holds:
        long = -long
    a = snapped(
        car.acceleration, clip(car.acceleration + car.throttle * long * dt, -5.0, 2.5 * car.pull)
    )
    a_lat = snapped(car.lateral, clip(car.lateral + car.steer * lat * dt, -4.0, 4.0))
    free = car.speed + 0.5 * (car.acceleration + a) * dt
    v = snapped(car.speed, clip(free, -2.0 if may_reverse else 0.0, 20.0 * car.pace))
    if holds and (v >= 0.0 or car.speed == 0.0):
        v = 0.0
    realised = 0.0 if v != free and v == car.speed else (a - car.acceleration) / dt
    if v != free or (v == 0.0 and a < 0.0):
        a = 0.0
    wanted = math.atan(a_lat / max(v * v, 1e-5) * car.wheelbase)
    phi = clip(car.steering + clip(wanted - car.steering, -0.6 * dt, 0.6 * dt), -0.55, 0.55)
    curvature = math.tan(phi) / car.wheelbase
    travel = 0.5 * (car.speed + v) * dt
    x, y, heading = arc_pose(car.x, car.y, car.heading, travel, curvature)
    return car._replace(
        x=x,
        y=y,
        heading=heading,
        speed=v,
        acceleration=a,
        lateral=v * v * curvature,
        steering=phi,
        realised=(realised, (v * v * curvature - car.lateral) / dt),
    )


def arc_pose(x: Any, y: Any, heading: Any, travel: Any, curvature: Any) -> tuple[Any, Any, Any]:
    """Pose after `travel` metres along an arc; the chord has the mean heading."""
    turn = travel * curvature
    chord = travel * np.sinc(turn / (2.0 * np.pi))
    return (
        x + chord * np.cos(heading + turn / 2.0),
        y + chord * np.sin(heading + turn / 2.0),
        heading + turn,
    )


# Boxes


def corners(x: Any, y: Any, heading: Any, length: Any, width: Any) -> np.ndarray:
    """Corners of boxes around their centres, counter-clockwise, [..., 4, 2]."""
    x, y, heading, length, width = np.broadcast_arrays(x, y, heading, length, width)
    u = 0.5 * length[..., None] * np.array([1.0, -1.0, -1.0, 1.0])
    v = 0.5 * width[..., None] * np.array([1.0, 1.0, -1.0, -1.0])
    cos, sin = np.cos(heading)[..., None], np.sin(heading)[..., None]
    return np.stack([x[..., None] + u * cos - v * sin, y[..., None] + u * sin + v * cos], axis=-1)


def gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest distance of two boxes along their sides' normals, negative where they overlap."""
    found = []
    for box in (a, b):
        for side in (0, 1):
            axis = box[..., side + 1, :] - box[..., side, :]
            axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
            p = np.einsum("...ij,...j->...i", a, axis)
            q = np.einsum("...ij,...j->...i", b, axis)
            found.append(q.min(-1) - p.max(-1))
            found.append(p.min(-1) - q.max(-1))
    return np.max(found, axis=0)


class Sweep(NamedTuple):
    """A body and the arc of its rear axle in one step."""

    x: float
    y: float
    heading: float
    travel: float
    curvature: float
    length: float
    width: float
    wheelbase: float

    def boxes(self, parts: int) -> np.ndarray:
        """Corners at the end of each of `parts` equal parts of the arc, [parts, 4, 2]."""
        share = np.arange(1, parts + 1) / parts
        x, y, heading = arc_pose(self.x, self.y, self.heading, self.travel * share, self.curvature)
        ahead = 0.5 * self.wheelbase
        x, y = x + ahead * np.cos(heading), y + ahead * np.sin(heading)
        return corners(x, y, heading, self.length, self.width)

    def resized(self, by: float) -> Sweep:
        """The same with a body larger by `by` on every side."""
        return self._replace(length=self.length + 2.0 * by, width=self.width + 2.0 * by)


def swept_gap(a: Sweep, b: Sweep) -> float:
    """Smallest gap of two bodies in a step, negative for the depth of their overlap [m].

    Looked at so often that no point moves by more than 5 mm between two looks.
    """
    reach = sum(abs(s.travel) * (1.0 + abs(s.curvature) * (s.wheelbase + s.length)) for s in (a, b))
    parts = int(reach / 5e-3) + 1
    return float(gap(a.boxes(parts), b.boxes(parts)).min())


def swept_offroad(sweep: Sweep, surface: Any) -> bool:
    """Whether a body is not wholly on the surface at the end of some metre of its arc."""
    parts = min(int(abs(sweep.travel)) + 1, 32)
    return not shapely.covers(surface, shapely.polygons(sweep.boxes(parts))).all()


def offroad_is_close(sweep: Sweep, surface: Any) -> bool:
    """Whether a body a millimetre larger or smaller would change the answer."""
    parts_hang = abs(abs(sweep.travel) - round(abs(sweep.travel))) < 1e-4 < abs(sweep.travel)
    return parts_hang or swept_offroad(sweep.resized(MILLIMETRE), surface) != swept_offroad(
        sweep.resized(-MILLIMETRE), surface
    )


# Lane graph


def lane_graph(lanes: Any, lane_change: float) -> np.ndarray:
    """Shortest ways D[goal, lane] between the starts of all lanes (Floyd and Warshall)."""
    num = len(lanes.length)
    way = np.full((num, num), np.inf)
    np.fill_diagonal(way, 0.0)
    for lane in range(num):
        for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
            target = lanes.successor[link]
            way[lane, target] = min(way[lane, target], float(lanes.length[lane]))
        for side in (lanes.left[lane], lanes.right[lane]):
            if side >= 0:
                way[lane, side] = min(way[lane, side], lane_change)
    for middle in range(num):
        way = np.minimum(way, way[:, middle, None] + way[None, middle, :])
    return way.T


def way_to(routes: Any, goal_lane: int, goal_s: float, lane: int, s: float, slack: float) -> float:
    """Way from (lane, s) to a goal, from the table of distances between the starts of lanes."""
    low, high = routes.first[goal_lane], routes.first[goal_lane + 1]
    entry = np.flatnonzero(routes.lane[low:high] == lane)
    if not len(entry):
        return UNREACHABLE
    base = float(routes.distance[low + entry[0]])
    if base >= UNREACHABLE:
        return UNREACHABLE
    way = base - s + goal_s
    if way < -slack:
        way += float(routes.cycle[goal_lane])
    return min(max(way, 0.0), UNREACHABLE)


def lane_cost(segment: np.ndarray, x: float, y: float, heading: float) -> np.ndarray:
    """How badly each lane segment fits a pose: offset beyond the lane, distance beyond its ends,
    heading, and a little for the offset within."""
    sx, sy, cos, sin, length, left, right = segment.astype(np.float64).T[:7]
    t = (x - sx) * cos + (y - sy) * sin
    d = (y - sy) * cos - (x - sx) * sin
    over = np.where(d >= 0.0, np.maximum(d - left, 0.0), np.maximum(-d - right, 0.0))
    beyond = np.maximum(np.maximum(-t, t - length), 0.0)
    align = np.cos(heading) * cos + np.sin(heading) * sin
    return over + beyond + 0.5 * (1.0 - align) + 0.05 * np.abs(d)


# Random numbers


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 on Python integers."""
    c, k = list(counter), list(key)
    mask = 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & mask, (p >> 32) ^ c[3] ^ k[1], p & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return tuple(c)


def uniforms(
    key: Any, stream: int, agent: int, tick: int, purpose: int, draw: int
) -> tuple[float, ...]:
    """Four numbers in [0, 1) of a world, agent, step and purpose."""
    counter = (int(agent) + 1, int(stream), int(tick), purpose * 65536 + draw)
    return tuple((w >> 8) / 2.0**24 for w in philox(counter, (int(key[0]), int(key[1]))))


def normals(a: float, b: float) -> tuple[float, float]:
    radius = math.sqrt(-2.0 * math.log(a + 2.0**-25))
    return radius * math.cos(2.0 * math.pi * b), radius * math.sin(2.0 * math.pi * b)


# Reward


def reward_terms(
    event: Any,
    theta: Any,
    d: Any,
    speed: Any,
    speed_before: Any,
    acceleration: Any,
    lateral: Any,
    jerk: Any,
    limit: Any,
    progress: Any,
    weight: dict[str, Any],
    dt: float,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Raw and weighted reward terms from the table of the paper, by name.

    Args:
        event: Names of what happened -> 0 or 1.
        theta: Angle to the lane [rad].
        d: Lateral offset [m].
        speed: At the end of the step [m/s].
        speed_before: At its start [m/s].
        acceleration: [m/s^2]
        lateral: [m/s^2]
        jerk: Realised, [..., 2] [m/s^3].
        limit: Speed limit [m/s].
        progress: [m]
        weight: Weights by name.
        dt: [s]
    """
    cos = np.cos(theta)
    offset = np.minimum(np.abs(d - weight["centre_bias"]), 4.0)
    one = np.ones_like(cos)
    comfort = (
        (np.abs(acceleration) > 3.0) * one
        + (np.abs(lateral) > 3.0)
        + (np.abs(jerk) > 5.0).any(axis=-1)
    )
    moves = (np.abs(speed) > 0.0) | (np.abs(acceleration) > 0.0)
    raw = {
        "goal": event["goal"] * one,
        "collision": -event["collision"] * one,
        "offroad": -event["offroad"] * one,
        "comfort": -comfort,
        "lane_align": dt
        * (
            np.minimum(cos, 0.0)
            + weight["velocity_align"] * np.minimum(speed * cos, 0.0)
            + 0.0025 * (1.0 - np.abs(theta) / (np.pi / 2.0))
        ),
        "lane_centre": -dt * ((cos > 0.5) * offset - 0.05 * np.exp(-(offset - 0.5))),
        "velocity": dt * np.maximum(cos, 0.0) * (np.abs(speed) > 2.5),
        "reverse": -dt * (speed < 0.0),
        "stop_line": -event["stop_line"] * one,
        "timestep": -dt * moves,
        "overspeed": -dt * np.maximum(speed - limit, 0.0),
        "progress": progress * one,
        "yield_violation": -event["yield_violation"] * one,
    }
    weighted = {name: value * weight[name] for name, value in raw.items()}
    impact = weight["collision"] + 0.1 * np.abs(speed_before)
    weighted["collision"] = -event["collision"] * impact
    return raw, weighted


# Observation


def squash(value: float, scale: float) -> float:
    return value / (scale + abs(value))


def unit(value: float) -> float:
    return clip(value, -1.0, 1.0)


class Observer:
    """Rebuilds rows from the arrays of an engine."""

    NOISE, DROPOUT, ERRATIC = 7, 8, 6

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def row(self, world: int, agent: int) -> np.ndarray:
        """The whole row of one agent."""
        e = self.engine
        a, b = e.agents, e.bodies
        self.world, self.agent = world, agent
        self.heading = math.atan2(a.sin[world, agent], a.cos[world, agent])
        ahead = 0.5 * float(b.wheelbase[world, agent])
        self.x = float(a.x[world, agent]) + ahead * math.cos(self.heading)
        self.y = float(a.y[world, agent]) + ahead * math.sin(self.heading)
        self.key = e.worlds.key[world]
        self.stream, self.tick = e.worlds.stream[world], e.worlds.tick[world]
        counts = e.counts
        near = self.near_row()
        parts = [
            self.ego(),
            self.goals(min(counts.goals, MAX_GOALS)),
            self.conditions(),
            self.filled(self.lane_points(near, counts.lane_points), counts.lane_points, 7),
            self.filled(self.boundaries(near, counts.boundary_points), counts.boundary_points, 5),
            self.filled(self.stop_lines(near), counts.stop_lines, 9),
            self.filled(self.neighbours(counts.agents), counts.agents, 10),
        ]
        return np.concatenate(parts)

    @staticmethod
    def filled(entries: list[list[float]], slots: int, size: int) -> np.ndarray:
        out = np.zeros((slots, size))
        if entries and slots:
            out[: len(entries)] = entries[:slots]
        return out.ravel()

    def ego(self) -> list[float]:
        e, w, i = self.engine, self.world, self.agent
        a, b = e.agents, e.bodies
        segment = a.segment[w, i]
        limit = e.lanes.speed_limit[e.lanes.segment_lane[segment]]
        return [
            squash(float(a.d[w, i]), 2.0),
            math.atan2(a.angle_sin[w, i], a.angle_cos[w, i]) / math.pi,
            squash(float(e.lanes.segment[segment, 7]), 0.05),
            squash(float(a.speed[w, i]), 10.0),
            squash(float(limit), 10.0),
            unit(float(a.steering[w, i]) / 0.55),
            unit(float(a.acceleration[w, i]) / 5.0),
            unit(float(a.lateral_acceleration[w, i]) / 4.0),
            *[
                unit(float(c[w, i]) - 1.0)
                for c in (b.jerk_scale, b.lateral_jerk_scale, b.acceleration_scale, b.speed_scale)
            ],
            squash(float(b.length[w, i]), 5.0),
            squash(float(b.width[w, i]), 2.0),
        ]

    def local(self, x: float, y: float) -> tuple[float, float]:
        dx, dy = x - self.x, y - self.y
        c, s = math.cos(self.heading), math.sin(self.heading)
        return squash(dx * c + dy * s, 20.0), squash(dy * c - dx * s, 20.0)

    def pose(self, x: float, y: float, cos: float, sin: float) -> list[float]:
        turn = math.atan2(sin, cos) - self.heading
        return [*self.local(float(x), float(y)), math.cos(turn), math.sin(turn)]

    def goals(self, slots: int) -> np.ndarray:
        b, w, i = self.engine.bodies, self.world, self.agent
        left = range(self.engine.agents.goal[w, i], b.num_goals[w, i])
        entries = [
            [*self.local(float(b.goal_x[w, i, g]), float(b.goal_y[w, i, g])), 1.0] for g in left
        ]
        return self.filled(entries, slots, 3)

    def conditions(self) -> np.ndarray:
        weight = self.engine.bodies.weight[self.world, self.agent, :NUM_CONDITIONS]
        low, high = np.array([TRAINING_RANGE[name] for name in WEIGHTS[:NUM_CONDITIONS]]).T
        return np.clip((weight - low) / (high - low) * 2.0 - 1.0, -1.0, 1.0)

    def near_row(self) -> int:
        e = self.engine
        grid, m = e.grid, e.worlds.map[self.world]
        layer = int(e.lanes.segment_layer[e.agents.segment[self.world, self.agent]])
        i = math.floor((self.x - float(grid.origin[m, 0])) / 4.0)
        j = math.floor((self.y - float(grid.origin[m, 1])) / 4.0)
        nx, ny, start, _ = grid.shape[m]
        if not (0 <= i < 16 * nx and 0 <= j < 16 * ny):
            return -1
        block = grid.block[start + (layer * ny + j // 16) * nx + i // 16]
        if block < 0:
            return -1
        return int(grid.near[block * 64 + j % 16 // 2 * 8 + i % 16 // 2])

    def dropped(self, share: float, index: int) -> bool:
        if share <= 0.0:
            return False
        draws = uniforms(self.key, self.stream, self.agent, self.tick, self.DROPOUT, index // 4)
        return draws[index % 4] < share

    def lane_points(self, near: int, slots: int) -> list[list[float]]:
        e, w, i = self.engine, self.world, self.agent
        out: list[list[float]] = []
        goal = e.agents.goal[w, i]
        for slot in range(min(slots, e.grid.near_lane_point.shape[1]) if near >= 0 else 0):
            index = e.grid.near_lane_point[near, slot]
            if index < 0:
                break
            if self.dropped(float(e.params.lane_dropout), slot):
                continue
            way = way_to(
                e.routes,
                e.bodies.goal_lane[w, i, goal],
                float(e.bodies.goal_s[w, i, goal]),
                int(e.grid.lane_point[index, 5]) + e.lanes.map_lane_first[e.worlds.map[w]],
                float(e.grid.lane_point[index, 4]),
                float(e.bodies.weight[w, i, 0]),
            )
            relative = way - float(e.agents.goal_distance[w, i])
            out.append(
                [
                    *self.pose(*e.grid.lane_point[index, :4]),
                    squash(way, 100.0),
                    squash(relative, 20.0),
                    1.0,
                ]
            )
        return out

    def boundaries(self, near: int, slots: int) -> list[list[float]]:
        e = self.engine
        out: list[list[float]] = []
        for slot in range(min(slots, e.grid.near_boundary.shape[1]) if near >= 0 else 0):
            index = e.grid.near_boundary[near, slot]
            if index < 0:
                break
            if not self.dropped(float(e.params.boundary_dropout), 0x8000 + slot):
                out.append([*self.pose(*e.grid.boundary_point[index]), 1.0])
        return out

    def stop_lines(self, near: int) -> list[list[float]]:
        e = self.engine
        first = e.signs.map_line_first[e.worlds.map[self.world]]
        out = []
        for index in e.grid.near_stop_line[near] if near >= 0 else []:
            if index < 0:
                break
            colour = e.lights.line_colour[self.world, index - first]
            if colour == NO_LIGHT:
                continue
            states = [float(colour == c) for c in (RED, YELLOW, GREEN, STOP_SIGN)]
            out.append([*self.pose(*e.signs.line[index, :4]), *states, 1.0])
        return out

    def is_blind(self) -> bool:
        erratic = self.engine.bodies.erratic[self.world, self.agent]
        spell = int(self.tick) // 16
        draw = uniforms(self.key, self.stream, self.agent, spell, self.ERRATIC, 1)[0]
        return bool(erratic & BLIND) and draw < 0.5

    def neighbours(self, slots: int) -> list[list[float]]:
        e, w, i = self.engine, self.world, self.agent
        a, b = e.agents, e.bodies
        if self.is_blind():
            return []
        ahead = 0.5 * b.wheelbase[w].astype(np.float64)
        x, y = a.x[w] + ahead * a.cos[w], a.y[w] + ahead * a.sin[w]
        distance = np.hypot(x - self.x, y - self.y)
        seen = (a.status[w] != ABSENT) & (distance <= 200.0)
        seen[i] = False
        order = sorted(np.flatnonzero(seen), key=lambda j: distance[j])
        out = []
        for j in order[:slots]:
            noise = (0.0, 0.0, 0.0)
            if e.params.noise > 0.0:
                p, q, r, s = uniforms(self.key, self.stream, i, self.tick, self.NOISE, int(j))
                noise = (*normals(p, q), normals(r, s)[0])
            nx, ny, nv = (float(e.params.noise) * n for n in noise)
            pose = self.pose(x[j] + nx, y[j] + ny, a.cos[w, j], a.sin[w, j])
            speed = float(a.speed[w, j]) + nv
            out.append(
                [
                    *pose,
                    squash(speed * pose[2], 10.0),
                    squash(speed * pose[3], 10.0),
                    squash(float(b.length[w, j]), 5.0),
                    squash(float(b.width[w, j]), 2.0),
                    unit((float(a.z[w, j]) - float(a.z[w, i])) / 10.0),
                    1.0,
                ]
            )
        return out
