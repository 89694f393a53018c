"""Small tracks, moved and mirrored, for the tests of metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics import Polylines, Road, Route
from selfdrive_env.scenes.tracks import Tracks

DT = 0.1


def tracks(x: Any, y: Any, **fields: Any) -> Tracks:
    """Bodies from positions [agent, step]; cars that face east, as fast as they move."""
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    agents = x.shape[0]

    def series(name: str, default: Any, kind: Any = np.float32) -> NDArray[Any]:
        value = np.asarray(fields.get(name, default), kind)
        return np.array(np.broadcast_to(value, x.shape))

    def sizes(name: str, default: Any, kind: Any = np.float32) -> NDArray[Any]:
        return np.array(np.broadcast_to(np.asarray(fields.get(name, default), kind), agents))

    def rate(value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.gradient(value, DT, axis=1) if value.shape[1] > 1 else np.zeros_like(value)

    out = Tracks(
        id=np.arange(agents),
        kind=sizes("kind", 0, np.uint8),
        length=sizes("length", 4.0),
        width=sizes("width", 2.0),
        height=sizes("height", 1.5),
        x=np.array(x),
        y=np.array(y),
        z=series("z", 0.0, np.float64),
        heading=series("heading", 0.0),
        vx=series("vx", rate(x)),
        vy=series("vy", rate(y)),
        valid=series("valid", True, np.bool_),
    )
    names = ("x", "y", "z", "heading", "vx", "vy")
    return replace(out, **{n: np.where(out.valid, getattr(out, n), 0) for n in names})


def wrap(angle: Any) -> Any:
    return ((np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)


def moved(scene: Tracks, angle: float, shift: tuple[float, float], mirror: bool = False) -> Tracks:
    """The same traffic mirrored in the x axis, then turned, then shifted."""
    sign = -1.0 if mirror else 1.0
    x, y = turned(scene.x, sign * scene.y, angle)
    vx, vy = turned(scene.vx, sign * scene.vy, angle)
    return replace(
        scene,
        x=np.where(scene.valid, x + shift[0], 0.0),
        y=np.where(scene.valid, y + shift[1], 0.0),
        heading=wrap(np.where(scene.valid, sign * scene.heading + angle, 0.0)),
        vx=vx.astype(np.float32),
        vy=vy.astype(np.float32),
    )


def turned(x: Any, y: Any, angle: float) -> tuple[Any, Any]:
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos - y * sin, x * sin + y * cos


def moved_lines(lines: Polylines, angle: float, shift: tuple[float, float], mirror: bool, *,
        reverse: bool) -> Polylines:  # fmt: skip
    """The same lines; mirrored edges run the other way, for the road to stay on their left."""
    out = []
    for line in lines.lines():
        x, y = turned(line[:, 0], line[:, 1] * (-1.0 if mirror else 1.0), angle)
        new = np.stack([x + shift[0], y + shift[1], line[:, 2]], axis=1)
        out.append(new[::-1] if mirror and reverse else new)
    return Polylines.of(out)


def moved_road(road: Road, angle: float, shift: tuple[float, float], mirror: bool = False) -> Road:
    """The same road."""
    sign = -1.0 if mirror else 1.0
    stop = moved_lines(
        Polylines.of([road.stop_point]), angle, shift, mirror, reverse=False
    ).point  # fmt: skip
    return replace(
        road,
        edges=moved_lines(road.edges, angle, shift, mirror, reverse=True),
        lanes=moved_lines(road.lanes, angle, shift, mirror, reverse=False),
        stop_point=stop,
        stop_heading=wrap(sign * road.stop_heading + angle),
    )


def moved_route(route: Route, angle: float, shift: tuple[float, float], mirror: bool) -> Route:
    """The same route."""
    lines = (
        moved_lines(one, angle, shift, mirror, reverse=False) for one in (route.lines, route.others)
    )
    return Route(route.agent, *lines)


def street(length: float = 200.0, **fields: Any) -> Road:
    """Two lanes to the east and one back, 3.5 m wide, from x = 0; edges at y = 0 and 10.5."""
    xs = np.linspace(0.0, length, int(length) + 1)
    east = [np.stack([xs, np.full_like(xs, y)], axis=1) for y in (1.75, 5.25)]
    west = np.stack([xs, np.full_like(xs, 8.75)], axis=1)[::-1]
    edges = [[[0.0, 0.0], [length, 0.0]], [[length, 10.5], [0.0, 10.5]]]
    return Road.of(edges=edges, lanes=[*east, west], speed_limit=[10.0] * 3, **fields)
