"""How agents are drawn: bodies with windscreen and lights, or arrows on a coarse map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.rendering.canvas import View, flat
from selfdrive_env.rendering.palette import (
    CROSS,
    CYCLIST,
    EGO,
    GLASS,
    GREY,
    HEADLIGHT,
    LEARNER,
    OTHER,
    OUTLINE,
    SCRIPTED,
    WALKER,
    Colour,
)
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.world import ABSENT, EXTERNAL, HALTED, IDM, STANDING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from selfdrive_env.rendering.painter import Scene

__all__ = ["colour_of", "draw_agents", "draw_headings"]

TYPE_COLOURS = {
    row: {"pedestrian": WALKER}.get(name, CYCLIST)
    for row, name in enumerate(BODY_TYPES)
    if name in ("motorcycle", "bicycle", "pedestrian")
}
"""Of the bodies too small for a windscreen, by row of `BODY_TYPES`."""

CAR = 4.5
"""Length of a car [m]."""

COARSE = 7.0
"""All bodies are arrows where a car would be shorter than this [drawn pixels]."""

FINE = 5.5
"""A body drawn at least twice as wide has a rim and lights [drawn pixels]."""


def draw_agents(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws every agent that is in the world, the ego last."""
    points, shown = _shown(scene, view)
    for agent in sorted(shown, key=lambda index: index == scene.focus):
        _draw_agent(pen, scene, agent, points[agent], view.scale)


def draw_headings(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws a line from each body that moves to where it will be in a second, straight on."""
    points, shown = _shown(scene, view)
    width = max(2, round(0.3 * view.scale))
    for agent in shown:
        way = float(scene.speed[agent]) * view.scale
        ahead = np.array([float(scene.cos[agent]), -float(scene.sin[agent])])
        nose = points[agent] + 0.5 * float(scene.length[agent]) * view.scale * ahead
        if way < 3.0 * width:
            continue
        tip, aside = nose + way * ahead, ahead[::-1] * (1.0, -1.0)
        colour = colour_of(scene, agent)
        pen.line(flat(np.stack([nose, tip - width * ahead])), fill=colour, width=width)
        corners = [tip, tip - 3.0 * width * ahead + 1.7 * width * aside]
        corners.append(corners[1] - 3.4 * width * aside)
        pen.polygon(flat(np.stack(corners)), fill=colour)


def _shown(scene: Scene, view: View) -> tuple[F64, list[int]]:
    """Returns the middle of each body [drawn pixels], and which of them a view shows."""
    points = view.pixels(*scene.centre)
    margin = float(np.max(scene.length, initial=1.0)) * view.scale + 20.0
    drawn = view.holds(points, margin) & (scene.status != ABSENT)
    return points, np.flatnonzero(drawn).tolist()


def _draw_agent(pen: ImageDraw, scene: Scene, agent: int, centre: F64, scale: float) -> None:
    """Draws one body: a rounded box with a windscreen, or an arrow on a coarse map."""
    ego = agent == scene.focus
    length, width = float(scene.length[agent]), float(scene.width[agent])
    cos, sin = float(scene.cos[agent]), float(scene.sin[agent])
    fill = colour_of(scene, agent)
    coarse = CAR * scale < COARSE
    # Far away a body would be a pixel or two: it is shown larger than it is.
    a, b = max(0.5 * length * scale, 6.0 if ego else 4.0), max(0.5 * width * scale, 3.0)
    if coarse:
        a = b = 12.0 if ego else 8.0
    forward = np.array([a * cos, -a * sin])
    leftward = np.array([-b * sin, -b * cos])

    def place(*shape: tuple[float, float]) -> list[float]:
        return flat(centre + np.array(shape) @ np.stack([forward, leftward]))

    if coarse:
        pen.polygon(place((1, 0), (-0.9, 0.75), (-0.5, 0), (-0.9, -0.75)), fill, OUTLINE, 1)
        return
    rim = 0 if b < FINE else 2 if b > 6.0 else 1
    pen.polygon(place(*_rounded_box(a, b)), fill, OUTLINE if rim else None, rim)
    if scene.type[agent] in TYPE_COLOURS:
        pen.polygon(place((0.8, 0), (0.1, 0.6), (0.1, -0.6)), GLASS)
    else:
        # The windscreen keeps its place behind the front of lorries and cars alike.
        front = 1.0 - 1.3 * min(1.0, 3.2 / length)
        top, base = front + min(0.25, 0.9 / length), front
        pen.polygon(place((top, 0.8), (top, -0.8), (base, -0.66), (base, 0.66)), GLASS)
        if b >= FINE:
            pen.line(place((0.93, 0.75), (0.93, 0.4)), HEADLIGHT, 2)
            pen.line(place((0.93, -0.75), (0.93, -0.4)), HEADLIGHT, 2)
    if scene.status[agent] in (HALTED, STANDING):
        pen.line(place((-0.6, 0.6), (0.6, -0.6)), CROSS, 3)
        pen.line(place((-0.6, -0.6), (0.6, 0.6)), CROSS, 3)


def colour_of(scene: Scene, agent: int) -> Colour:
    """Returns what an agent is filled with."""
    if scene.status[agent] in (HALTED, STANDING):
        return GREY
    if agent == scene.focus:
        return EGO
    if scene.type[agent] in TYPE_COLOURS:
        return TYPE_COLOURS[scene.type[agent]]
    if scene.learner[agent]:
        return LEARNER
    return SCRIPTED if scene.driver[agent] in (EXTERNAL, IDM) else OTHER


def _rounded_box(a: float, b: float) -> list[tuple[float, float]]:
    """Outline of a box of half length `a` and half width `b`, in units of these."""
    radius = 0.45 * min(a, b)
    quarter = np.linspace(0.0, 0.5 * math.pi, 4)
    arc = np.stack([np.cos(quarter), np.sin(quarter)], axis=1) * radius
    out = []
    for turn in range(4):
        sign = ((1, 1), (-1, 1), (-1, -1), (1, -1))[turn]
        corner = arc if turn % 2 == 0 else arc[::-1]
        points = (corner + np.array([a - radius, b - radius])) * sign / (a, b)
        out += [(float(x), float(y)) for x, y in points]
    return out
