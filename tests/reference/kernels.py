"""Slow float64 oracles, written from the definitions of the dynamics, contacts, surface, reward and
observation, for the tests to hold the kernels against. Plain NumPy, and shapely for areas."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import shapely

from selfdrive_env.state.road import UNREACHABLE

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
    blocked: Any,
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
        blocked: Share of the width in which a body that is broken down close ahead is in the way.
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
        "comfort": -comfort * (dt / 0.3),
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
        "blocked": -dt * (blocked * one),
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
