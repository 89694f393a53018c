"""Top-down pictures of one world, drawn on the host with pillow.

The ground comes from tiles that are kept, so that a camera that follows an agent only pastes them;
lights, agents and the ego's route go on top. All is drawn at twice the size and averaged down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from selfdrive_env.maps.compile.outline import stop_line_ends
from selfdrive_env.rendering.bodies import draw_agents, draw_headings
from selfdrive_env.rendering.canvas import (
    OVERSAMPLING,
    View,
    draw_disc,
    draw_words,
    flat,
    import_pillow,
)
from selfdrive_env.rendering.ground import Ground
from selfdrive_env.rendering.palette import (
    EGO,
    GRASS,
    LIGHT_COLOURS,
    OBSERVED,
    OBSERVED_EDGE,
    OUTLINE,
    SIGN_RED,
    SIGN_RIM,
)
from selfdrive_env.rendering.way import draw_trails, draw_way
from selfdrive_env.state.arrays import F32, F64, U8
from selfdrive_env.state.places import box_centre
from selfdrive_env.state.road import LINE_X, LINE_Y, SEG_X, SEG_Y, Grid, Lanes, Paint, Signs
from selfdrive_env.state.world import NO_LIGHT, STOP_SIGN

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["Observed", "Painter", "Scene", "draw_head"]

CLEAR = (255, 255, 255, 0)

SMALLEST_HEAD = 5.5
"""Radius of a light or a sign on a coarse picture [drawn pixels]."""


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

    route: F32 = np.zeros((0, 2), np.float32)
    """Points of the way ahead that a row shows: x, y [m], [N, 2]; known where there is a row."""


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

    trails: F32 | None = None
    """Where the middle of each body was, the latest last: x, y, [A, K, 2] [m]; NaN for nowhere."""

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
        paints: What is painted on each of its maps; without, there are no crosswalks.
    """

    def __init__(
        self, lanes: Lanes, grid: Grid, signs: Signs, paints: Sequence[Paint] = ()
    ) -> None:
        import_pillow()
        self._lanes, self._signs = lanes, signs
        self._ground = Ground(lanes, grid, paints)

    @classmethod
    def of(cls, engine: Any) -> Self:
        """Returns a painter of the worlds of an engine, such as `env.unwrapped.engine`."""
        return cls(engine.lanes, engine.grid, engine.signs, engine.pool.paints)

    def draw(
        self,
        scene: Scene,
        *,
        size: int = 512,
        span: float | None = 120.0,
        centre: tuple[float, float] | None = None,
        heading_up: bool = False,
        show_observed: bool = False,
        show_headings: bool = False,
        label: bool = True,
        patience: float | None = None,
    ) -> U8:
        """Returns a picture of one world, north up unless asked otherwise.

        Args:
            scene: The world.
            size: Edge of the picture [pixels].
            span: Edge of the part shown [m]; None shows the whole map.
            centre: Middle of the part shown [m]; None follows `scene.focus`.
            heading_up: Turns the picture so that `scene.focus`, where there is one, heads up.
            show_observed: Marks the places in `scene.observed`.
            show_headings: Shows where each body will be in a second if it drives straight on.
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
        turned = heading_up and scene.focus >= 0
        view = self._view(scene, size, span, centre, turned=turned)
        image = image_module.new("RGB", (view.edge, view.edge), GRASS)
        self._ground.paste(image, scene.map, view, patience=patience)

        if scene.focus >= 0:
            draw_way(image, view, scene.route, scene.goals, EGO)
        pen = draw_module.Draw(image, "RGBA")
        self._draw_stop_lines(pen, scene, view)
        observed = scene.observed if show_observed else None
        if observed is not None:
            _draw_observed_road(pen, observed, view)
        if scene.trails is not None:
            draw_trails(pen, scene, view)
        if show_headings:
            draw_headings(pen, scene, view)
        draw_agents(pen, scene, view)
        if observed is not None:
            _draw_observed_agents(pen, observed, view)

        if turned:
            image = _turned(image, scene, size * OVERSAMPLING)
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
        self,
        scene: Scene,
        size: int,
        span: float | None,
        centre: tuple[float, float] | None,
        turned: bool = False,
    ) -> View:
        """Returns the part of the plane to draw, with the corners of a picture that is `turned`."""
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
        if turned:
            edge = 2 * math.ceil(math.sqrt(0.5) * edge + 1.0)
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
        radius = max(SMALLEST_HEAD, 0.95 * view.scale)
        shown = view.holds(view.pixels(lines[:, LINE_X], lines[:, LINE_Y]), 25.0 * view.scale)
        places = stop_line_ends(lines[shown])
        for place, colour in zip(places, colours[shown].tolist(), strict=True):
            fill = LIGHT_COLOURS[colour]
            ends = view.pixels(place[:, 0], place[:, 1])
            pen.line(flat(ends), fill=fill, width=max(4, round(0.55 * view.scale)))
            if colour == NO_LIGHT:
                continue
            outward = (ends[1] - ends[0]) / max(float(np.hypot(*(ends[1] - ends[0]))), 1e-6)
            draw_head(pen, colour, ends[1] + 1.7 * radius * outward, radius)


def draw_head(pen: ImageDraw, colour: int, at: F64, radius: float) -> None:
    """Draws a traffic light, or a stop sign.

    Args:
        pen: Draws.
        colour: Of the light, or `STOP_SIGN`.
        at: Its middle [drawn pixels].
        radius: [drawn pixels]
    """
    if colour == STOP_SIGN:
        turn = math.pi / 8 + math.pi / 4 * np.arange(8)
        corners = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        for share, fill in ((1.25, OUTLINE), (1.08, SIGN_RIM), (0.76, SIGN_RED)):
            pen.polygon(flat(at + share * radius * corners), fill=fill)
        return
    draw_disc(pen, at, radius, OUTLINE)
    draw_disc(pen, at, 0.72 * radius, LIGHT_COLOURS[colour])


def _turned(image: Image, scene: Scene, edge: int) -> Image:
    """Returns the middle of a picture, of an edge [drawn pixels], so that the ego heads up."""
    image_module = import_pillow()[0]
    cos, sin = float(scene.cos[scene.focus]), float(scene.sin[scene.focus])
    middle, half = 0.5 * image.size[0], 0.5 * edge
    rows = (sin, -cos, middle - half * (sin - cos), cos, sin, middle - half * (cos + sin))
    out: Image = image.transform(
        (edge, edge), image_module.Transform.AFFINE, rows, image_module.Resampling.BILINEAR
    )
    return out


def _draw_observed_road(pen: ImageDraw, observed: Observed, view: View) -> None:
    for x, y, cos, sin in observed.lane_points.tolist():
        ends = view.pixels([x, x + 2.0 * cos], [y, y + 2.0 * sin])
        pen.line(flat(ends), fill=OBSERVED, width=3)
        draw_disc(pen, ends[0], 4.0, OBSERVED)
    for point in view.pixels(observed.boundary_points[:, 0], observed.boundary_points[:, 1]):
        draw_disc(pen, point, 3.5, OBSERVED_EDGE)
    for point in view.pixels(observed.stop_lines[:, 0], observed.stop_lines[:, 1]):
        draw_disc(pen, point, 12.0, CLEAR, OBSERVED, 4)
    for point in view.pixels(observed.route[:, 0], observed.route[:, 1]):
        draw_disc(pen, point, 7.0, CLEAR, OBSERVED, 3)


def _draw_observed_agents(pen: ImageDraw, observed: Observed, view: View) -> None:
    for point in view.pixels(observed.agents[:, 0], observed.agents[:, 1]):
        draw_disc(pen, point, max(12.0, 3.0 * view.scale), CLEAR, OBSERVED, 4)


def _draw_text(pen: ImageDraw, scene: Scene, size: int) -> None:
    """Writes the ego's speed and the time into the lower left corner."""
    words = []
    if scene.focus >= 0:
        words.append(f"{round(3.6 * float(scene.speed[scene.focus]))} km/h")
    if scene.time is not None:
        words.append(f"{scene.time:.1f} s")
    draw_words(pen, words, size, size)
