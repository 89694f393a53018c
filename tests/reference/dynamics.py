"""Models of the dynamics in double precision, on arrays, from their equations.

A pose is [..., 5]: x, y, cosine and sine of the heading, speed. No limits but the least speed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RANGES: dict[str, tuple[float, ...]] = {
    "bicycle": (6.0, 0.3),
    "classic": (6.0, 0.55),
    "delta_local": (6.0, 6.0, np.pi),
    "delta_global": (6.0, 6.0, np.pi),
}


def wrapped(angle: Array) -> Array:
    """Angles in [-pi, pi)."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


def pose_of(x: Array, y: Array, heading: Array, speed: Array) -> Array:
    return np.stack([x, y, np.cos(heading), np.sin(heading), speed], -1)


def drive(
    model: str, pose: Array, action: Array, wheelbase: Array, dt: Array, least: float
) -> Array:
    """Where an action leads; speeds below `least` are not reached."""
    x, y, cos, sin, v = np.moveaxis(pose, -1, 0)
    psi = np.arctan2(sin, cos)
    columns = np.moveaxis(action, -1, 0)
    if model in ("bicycle", "classic"):
        after = np.maximum(v + columns[0] * dt, least)
        way = (v + after) / 2.0 * dt
        beta, rate = np.zeros_like(way), columns[1]
        if model == "classic":
            beta = np.arctan(np.tan(columns[1]) / 2.0)
            rate = np.cos(beta) * np.tan(columns[1]) / wheelbase
        turned = psi + way * rate
        return pose_of(x + way * np.cos(psi + beta), y + way * np.sin(psi + beta), turned, after)
    if model == "state":
        dx, dy = columns[0] - x, columns[1] - y
        turn = wrapped(columns[2] - psi)
        ahead = columns[3] * np.cos(psi + turn) + columns[4] * np.sin(psi + turn)
        speed = np.hypot(columns[3], columns[4]) * np.where(ahead < 0.0, -1.0, 1.0)
        speed = np.maximum(speed, least)
    else:
        dx, dy, turn = columns
        if model == "delta_local":
            dx, dy = dx * np.cos(psi) - dy * np.sin(psi), dx * np.sin(psi) + dy * np.cos(psi)
        speed = np.hypot(dx, dy) / dt
    back = dx * np.cos(psi + turn / 2.0) + dy * np.sin(psi + turn / 2.0) < 0.0
    stays = back & (least >= 0.0)
    if model != "state":
        speed = np.where(back, -speed, speed) * ~stays
    return pose_of(x + dx * ~stays, y + dy * ~stays, psi + turn, speed)


def action_to(model: str, pose: Array, after: Array, wheelbase: Array, dt: Array) -> Array:
    """The action that leads from one pose to another, within the ranges of the model."""
    x, y, cos, sin, v = np.moveaxis(pose, -1, 0)
    x2, y2, cos2, sin2, v2 = np.moveaxis(after, -1, 0)
    psi, psi2 = np.arctan2(sin, cos), np.arctan2(sin2, cos2)
    turn, dx, dy = wrapped(psi2 - psi), x2 - x, y2 - y
    if model == "state":
        return np.stack([x2, y2, psi2, v2 * cos2, v2 * sin2], -1)
    if model in ("bicycle", "classic"):
        way = (v + v2) / 2.0 * dt
        slow = np.abs(way) < 0.6 * dt
        rate = turn / np.where(slow, 1.0, way)
        if model == "classic":  # g = 2 sin(beta) with tan(beta) = tan(delta) / 2
            g = np.clip(wheelbase * rate, -1.9, 1.9)
            rate = np.arctan(2.0 * np.tan(np.arcsin(g / 2.0)))
        found = np.stack([(v2 - v) / dt, np.where(slow, 0.0, rate)], -1)
    elif model == "delta_local":
        found = np.stack([dx * cos + dy * sin, dy * cos - dx * sin, turn], -1)
    else:
        found = np.stack([dx, dy, turn], -1)
    size = np.array(RANGES[model])
    return np.clip(found, -size, size)
