"""Top-down pictures of one world, drawn on the host with pillow.

The ground comes from tiles that are kept, so that a camera that follows an agent only pastes them;
lights, agents and the ego's route go on top. All is drawn at twice the size and averaged down.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.maps.compile.outline import stop_line_ends
from selfdrive_env.rendering.canvas import (
    OVERSAMPLING,
    Colour,
    View,
    draw_disc,
    flat,
    import_pillow,
)
from selfdrive_env.rendering.ground import GRASS, Ground
from selfdrive_env.rendering.way import draw_way
from selfdrive_env.state.arrays import F32, F64, U8
from selfdrive_env.state.places import box_centre
from selfdrive_env.state.road import LINE_X, LINE_Y, SEG_X, SEG_Y, Grid, Lanes, Signs
from selfdrive_env.state.world import (
    ABSENT,
    EXTERNAL,
    GREEN,
    HALTED,
    IDM,
    NO_LIGHT,
    RED,
    STOP_SIGN,
    YELLOW,
)

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

__all__ = ["Observed", "Painter", "Scene"]

EGO = (255, 122, 24)
LEARNER = (66, 153, 255)
SCRIPTED = (238, 240, 244)
OTHER = (190, 174, 214)
WALKER = (240, 82, 156)
CYCLIST = (38, 194, 170)
GREY = (134, 136, 140)
CROSS = (200, 40, 48)
GLASS = (34, 40, 49)
HEADLIGHT = (255, 250, 215)
OUTLINE = (30, 33, 38)
OBSERVED_LANE = (94, 232, 255)
OBSERVED_EDGE = (255, 92, 214)
CLEAR = (255, 255, 255, 0)
LIGHT_COLOURS = {
    GREEN: (52, 211, 92),
    YELLOW: (255, 208, 40),
    RED: (240, 48, 54),
    STOP_SIGN: (250, 250, 250),
    NO_LIGHT: (150, 154, 160),
}

TYPE_COLOURS = {
    row: {"pedestrian": WALKER}.get(name, CYCLIST)
    for row, name in enumerate(BODY_TYPES)
    if name in ("motorcycle", "bicycle", "pedestrian")
}
"""Of the bodies too small for a windscreen, by row of `BODY_TYPES`."""


class Observed(NamedTuple):
    """Places that an observation holds, world frame."""

    lane_points: F32
    """x, y [m], cos, sin of the lane's heading, [N, 4]."""

    boundary_points: F32
    """x, y [m], [N, 2]."""

    stop_lines: F32
    """x, y [m], [N, 2]."""

    agents: F32
    """x, y [m], [N, 2]."""


class Scene(NamedTuple):
    """One world at one time. The first fields are rows of `Agents`, `Bodies` and `Lights`, [A]."""

    x: F32
    """Middle of the rear axle, east [m]."""

    y: F32
    """Middle of the rear axle, north [m]."""

    cos: F32
    """Heading."""

    sin: F32
    speed: F32
    """[m/s]"""

    length: F32
    """[m]"""

    width: F32
    """[m]"""

    wheelbase: F32
    """[m]"""

    type: U8
    """Row of `config.BODY_TYPES`."""

    driver: U8
    learner: U8
    status: U8
    line_colour: U8
    """Of the stop lines of this map, [T]; a longer array is cut."""

    map: int = 0
    """Position in the pool."""

    focus: int = 0
    """The ego: the agent that the camera follows, -1 for none."""

    time: float | None = None
    """Shown beside the ego's speed [s]."""

    route: F32 | None = None
    """Way of the ego to its next goal: x, y, [N, 2] [m]."""

    goals: F32 | None = None
    """Of the ego, the next one first: x, y, radius, [G, 3] [m]."""

    observed: Observed | None = None

    @property
    def centre(self) -> tuple[F32, F32]:
        """x, y of the middle of each body, [A] [m]."""
        return box_centre(self.x, self.y, self.cos, self.sin, self.wheelbase)


class Painter:
    """Draws the worlds of one pool of maps.

    Args:
        lanes: Lanes of the pool.
        grid: Its grid.
        signs: Its stop lines.
    """

    def __init__(self, lanes: Lanes, grid: Grid, signs: Signs) -> None:
        import_pillow()
        self._lanes, self._signs = lanes, signs
        self._ground = Ground(lanes, grid)

    def draw(
        self,
        scene: Scene,
        *,
        size: int = 512,
        span: float | None = 120.0,
        centre: tuple[float, float] | None = None,
        show_observed: bool = False,
        label: bool = True,
        patience: float | None = None,
    ) -> U8:
        """Returns a picture of one world, north up.

        Args:
            scene: The world.
            size: Edge of the picture [pixels].
            span: Edge of the part shown [m]; None shows the whole map.
            centre: Middle of the part shown [m]; None follows `scene.focus`.
            show_observed: Marks the places in `scene.observed`.
            label: Writes speed and time into a corner.
            patience: Longest time for ground that was not drawn yet, the rest comes with later
                pictures; None draws all [s].

        Returns:
            RGB, [size, size, 3].
        """
        if not 16 <= size <= 4096:
            raise ValueError(f"size must be in [16, 4096], got {size}")
        if span is not None and not 1.0 <= span <= 1e5:
            raise ValueError(f"span must be in [1, 100000] m or None, got {span}")
        image_module, draw_module = import_pillow()[:2]
        view = self._view(scene, size, span, centre)
        image = image_module.new("RGB", (view.edge, view.edge), GRASS)
        self._ground.paste(image, scene.map, view, patience=patience)

        if scene.focus >= 0:
            draw_way(image, view, scene.route, scene.goals, EGO)
        pen = draw_module.Draw(image, "RGBA")
        self._draw_stop_lines(pen, scene, view)
        if show_observed and scene.observed is not None:
            _draw_observed_road(pen, scene.observed, view)
        _draw_agents(pen, scene, view)
        if show_observed and scene.observed is not None:
            _draw_observed_agents(pen, scene.observed, view)

        image = image.reduce(OVERSAMPLING)
        if label:
            _draw_text(draw_module.Draw(image, "RGBA"), scene, size)
        return np.array(image, np.uint8)

    def prepare(self, scene: Scene, *, size: int, span: float) -> bool:
        """Draws a piece of the ground beside what `draw` shows of a scene, ahead of its use.

        Returns:
            Whether there was one to draw.
        """
        return self._ground.prepare(scene.map, self._view(scene, size, span, None))

    def _view(
        self, scene: Scene, size: int, span: float | None, centre: tuple[float, float] | None
    ) -> View:
        edge = size * OVERSAMPLING
        low, high = self._bounds(scene.map)
        if span is None:
            span = 1.04 * float((high - low).max())
        elif centre is None and scene.focus >= 0:
            x, y = scene.centre
            centre = float(x[scene.focus]), float(y[scene.focus])
        if centre is None:
            centre = float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2
        scale = edge / span
        left = round(centre[0] * scale - edge / 2)
        top = round(-centre[1] * scale - edge / 2)
        return View(left, top, scale, edge)

    def _bounds(self, map_index: int) -> tuple[F64, F64]:
        """Lower left and upper right corner of the lanes of a map [m]."""
        lanes = self._lanes.map_lane_first[map_index : map_index + 2]
        first, last = self._lanes.segment_first[lanes]
        points = self._lanes.segment[first:last, [SEG_X, SEG_Y]].astype(np.float64)
        if not len(points):
            return np.array([-50.0, -50.0]), np.array([50.0, 50.0])
        return points.min(0) - 10.0, points.max(0) + 10.0

    def _draw_stop_lines(self, pen: ImageDraw, scene: Scene, view: View) -> None:
        """Draws each stop line in the colour of its light, and the light beside it."""
        first, last = self._signs.map_line_first[scene.map : scene.map + 2]
        lines = self._signs.line[first:last].astype(np.float64)
        colours = scene.line_colour[: last - first]
        radius = max(4.0, 0.95 * view.scale)
        shown = view.holds(view.pixels(lines[:, LINE_X], lines[:, LINE_Y]), 25.0 * view.scale)
        places = stop_line_ends(lines[shown])
        for place, colour in zip(places, colours[shown].tolist(), strict=True):
            fill = LIGHT_COLOURS[colour]
            ends = view.pixels(place[:, 0], place[:, 1])
            pen.line(flat(ends), fill=fill, width=max(3, round(0.55 * view.scale)))
            if colour == NO_LIGHT:
                continue
            outward = (ends[1] - ends[0]) / max(float(np.hypot(*(ends[1] - ends[0]))), 1e-6)
            dot = ends[1] + 1.7 * radius * outward
            draw_disc(pen, dot, radius, OUTLINE)
            bright = 0.72 * radius
            if colour == STOP_SIGN:
                turn = math.pi / 8 + math.pi / 4 * np.arange(8)
                corners = dot + bright * np.stack([np.cos(turn), np.sin(turn)], axis=1)
                pen.polygon(flat(corners), fill=(214, 40, 57), outline=fill)
            else:
                draw_disc(pen, dot, bright, fill)


def _draw_observed_road(pen: ImageDraw, observed: Observed, view: View) -> None:
    for x, y, cos, sin in observed.lane_points.tolist():
        ends = view.pixels([x, x + 2.0 * cos], [y, y + 2.0 * sin])
        pen.line(flat(ends), fill=OBSERVED_LANE, width=3)
        draw_disc(pen, ends[0], 4.0, OBSERVED_LANE)
    for point in view.pixels(observed.boundary_points[:, 0], observed.boundary_points[:, 1]):
        draw_disc(pen, point, 3.5, OBSERVED_EDGE)
    for point in view.pixels(observed.stop_lines[:, 0], observed.stop_lines[:, 1]):
        draw_disc(pen, point, 12.0, CLEAR, OBSERVED_LANE, 4)


def _draw_observed_agents(pen: ImageDraw, observed: Observed, view: View) -> None:
    for point in view.pixels(observed.agents[:, 0], observed.agents[:, 1]):
        draw_disc(pen, point, max(12.0, 3.0 * view.scale), CLEAR, OBSERVED_LANE, 4)


def _draw_agents(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws every agent that is in the world, the ego last."""
    points = view.pixels(*scene.centre)
    margin = float(np.max(scene.length, initial=1.0)) * view.scale + 20.0
    drawn = np.flatnonzero(view.holds(points, margin) & (scene.status != ABSENT)).tolist()
    for agent in sorted(drawn, key=lambda index: index == scene.focus):
        _draw_agent(pen, scene, agent, points[agent], view.scale)


def _draw_agent(pen: ImageDraw, scene: Scene, agent: int, centre: F64, scale: float) -> None:
    """Draws one body: a rounded box with a windscreen, or an arrow on a coarse map."""
    ego = agent == scene.focus
    length, width = float(scene.length[agent]), float(scene.width[agent])
    cos, sin = float(scene.cos[agent]), float(scene.sin[agent])
    fill = _colour(scene, agent)
    coarse = max(length, 3.0) * scale < 14.0
    # Far away a body would be a pixel or two: it is shown larger than it is.
    a, b = max(0.5 * length * scale, 7.0), max(0.5 * width * scale, 4.5)
    if coarse:
        a = b = 12.0 if ego else 8.0
    forward = np.array([a * cos, -a * sin])
    leftward = np.array([-b * sin, -b * cos])

    def place(*shape: tuple[float, float]) -> list[float]:
        return flat(centre + np.array(shape) @ np.stack([forward, leftward]))

    if coarse:
        pen.polygon(place((1, 0), (-0.9, 0.75), (-0.5, 0), (-0.9, -0.75)), fill, OUTLINE, 1)
        return
    pen.polygon(place(*_rounded_box(a, b)), fill, OUTLINE, 2 if b > 6.0 else 1)
    if scene.type[agent] in TYPE_COLOURS:
        pen.polygon(place((0.8, 0), (0.1, 0.6), (0.1, -0.6)), GLASS)
    else:
        # The windscreen keeps its place behind the front of lorries and cars alike.
        front = 1.0 - 1.3 * min(1.0, 3.2 / length)
        top, base = front + 0.9 / length, front
        pen.polygon(place((top, 0.8), (top, -0.8), (base, -0.66), (base, 0.66)), GLASS)
        pen.line(place((0.93, 0.75), (0.93, 0.4)), HEADLIGHT, 2)
        pen.line(place((0.93, -0.75), (0.93, -0.4)), HEADLIGHT, 2)
    if scene.status[agent] == HALTED:
        pen.line(place((-0.6, 0.6), (0.6, -0.6)), CROSS, 3)
        pen.line(place((-0.6, -0.6), (0.6, 0.6)), CROSS, 3)


def _colour(scene: Scene, agent: int) -> Colour:
    if scene.status[agent] == HALTED:
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


def _draw_text(pen: ImageDraw, scene: Scene, size: int) -> None:
    """Writes the ego's speed and the time into the lower left corner."""
    words = []
    if scene.focus >= 0:
        words.append(f"{round(3.6 * float(scene.speed[scene.focus]))} km/h")
    if scene.time is not None:
        words.append(f"{scene.time:.1f} s")
    if not words:
        return
    font = import_pillow()[2].load_default(max(10, size // 30))
    text = "   ".join(words)
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    pad = size // 80 + 1
    x, y = pad, size - pad - bottom - 2 * pad
    box = (x, y + top - pad, x + right - left + 2 * pad, y + bottom + pad)
    pen.rounded_rectangle(box, pad, (24, 28, 34, 190))
    pen.text((x + pad - left, y), text, (250, 250, 250), font)
