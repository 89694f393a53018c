"""Pictures of a scene from above: the road, the tracks, and the bodies, now or at each moment."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_integer, check_number
from selfdrive_env.config.files import write_whole
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.rendering.canvas import (
    OVERSAMPLING,
    View,
    draw_disc,
    draw_words,
    flat,
    import_pillow,
)
from selfdrive_env.rendering.painter import draw_head
from selfdrive_env.rendering.palette import (
    ASPHALT,
    CENTRE_LINE,
    CYCLIST,
    DASH,
    EDGE,
    EGO,
    GRASS,
    GREY,
    LEARNER,
    LIGHT_COLOURS,
    OTHER,
    OUTLINE,
    PAINT,
    SCRIPTED,
    SIGN_RED,
    VERGE,
    WALKER,
    Colour,
)
from selfdrive_env.scenes.agents import Agent, SceneError
from selfdrive_env.scenes.roads import LIGHT_STATES, ROAD_TYPES, Roads, kind_of
from selfdrive_env.state.arrays import F64, U8
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from selfdrive_env.scenes.scene import Scene

__all__ = ["draw", "frames", "write_picture"]

MARGIN = 25.0
"""Ground around all bodies and tracks [m]."""

SMALLEST = 60.0
"""Shortest edge of what is shown [m]."""

TRAIL = 2.0
"""How long bodies leave a trail in a film [s]."""

LANE_WIDTH, BIKE_WIDTH = 3.6, 1.8
"""Of recorded lanes, which have a centre only [m]."""

KIND_COLOURS = {"pedestrian": WALKER, "bicycle": CYCLIST, "other": OTHER}

TRACK = LEARNER
"""Of tracks of vehicles."""

SHOWN_LIGHTS = {
    **dict.fromkeys(("arrow_stop", "stop", "flashing_stop"), RED),
    **dict.fromkeys(("arrow_caution", "caution", "flashing_caution"), YELLOW),
    **dict.fromkeys(("arrow_go", "go"), GREEN),
}

LINE_COLOURS = {"line": DASH, "edge": EDGE, "crosswalk": PAINT, "speed_bump": GREY}


def write_picture(picture: U8, path: str | os.PathLike[str]) -> None:
    """Writes a picture as PNG, whole or not at all."""
    content = io.BytesIO()
    import_pillow()[0].fromarray(picture).save(content, format="PNG")
    write_whole(Path(path), content.getvalue())


def draw(scene: Scene, size: int) -> U8:
    """Returns a picture of a scene, [H, W, 3].

    Args:
        scene: The scene.
        size: Longer side [pixels].
    """
    check_integer("size", size, 100, 8000)
    view, image = _empty(*_bounds(scene), size)
    pen = import_pillow()[1].Draw(image, "RGBA")
    _draw_ground(pen, scene, view)
    _draw_lights(pen, scene, scene.current, view)
    _draw_tracks(pen, scene, view)
    _draw_goals(pen, scene, view)
    order = sorted(np.flatnonzero(scene.present).tolist(), key=lambda n: n == scene.ego)
    for number in order:
        _draw_body(pen, scene.agents[number], _colour(scene, number), view)
    return np.array(image.reduce(OVERSAMPLING), np.uint8)


def frames(
    scene: Scene, *, size: int = 640, span: float | None = None, record: Scene | None = None
) -> Iterator[U8]:
    """Yields a picture of each moment of a scene, [H, W, 3]: bodies with trails, and lights.

    Agents without a record stand where they are.

    Args:
        scene: With recorded tracks.
        size: Longer side [pixels].
        span: Edge of what is shown around the ego [m]; None shows all that the tracks reach.
        record: The scene before somebody else drove in it: what its tracks reach is shown, and
            where the ego went, but not how far others left what was recorded of the road.

    Raises:
        SceneError: Nothing was recorded, or there is no ego to follow.
    """
    check_integer("size", size, 100, 4096)
    name = scene.name or scene.source
    if scene.tracks is None:
        raise SceneError(f"scene {name!r} has no record to film: let somebody drive it")
    if span is not None:
        check_number("span", span, 10.0, 5000.0)
        if scene.ego < 0:
            raise SceneError(f"scene {name!r} has no ego to follow: leave out span")
    corners = _bounds(scene)
    if record is not None and record.tracks is not None:
        corners = _bounds(record)
        if scene.ego >= 0:
            low, high = _bounds(scene.only(scene.agents[scene.ego].id))
            corners = np.minimum(corners[0], low), np.maximum(corners[1], high)
    middle = np.zeros(2)
    draw_module = import_pillow()[1]
    ground: Any = None
    for moment in range(scene.steps):
        agents = {number: _at(scene, number, moment) for number in _seen(scene, moment)}
        if span is not None:
            if scene.ego in agents:
                middle = np.array([agents[scene.ego].x, agents[scene.ego].y])
            corners = middle - 0.5 * span, middle + 0.5 * span
        if ground is None or span is not None:
            view, ground = _empty(*corners, size)
            _draw_ground(draw_module.Draw(ground, "RGBA"), scene, view)
        image = ground.copy()
        pen = draw_module.Draw(image, "RGBA")
        _draw_lights(pen, scene, moment, view)
        _draw_trails(pen, scene, moment, list(agents), view)
        _draw_goals(pen, scene, view)
        for number in sorted(agents, key=lambda n: n == scene.ego):
            _draw_body(pen, agents[number], _colour(scene, number), view)
        image = image.reduce(OVERSAMPLING)
        words = [f"{(moment - scene.current) * scene.dt:.1f} s"]
        if scene.ego in agents:
            words.insert(0, f"{round(3.6 * agents[scene.ego].speed)} km/h")
        draw_words(draw_module.Draw(image, "RGBA"), words, size, image.size[1])
        yield np.array(image, np.uint8)


def _empty(low: F64, high: F64, size: int) -> tuple[View, Any]:
    """Returns how a rectangle of the plane is seen, and an empty picture of it."""
    scale = OVERSAMPLING * size / float((high - low).max())
    width, height = (round(scale * extent) for extent in high - low)
    view = View(round(scale * low[0]), round(-scale * high[1]), scale, max(width, height))
    return view, import_pillow()[0].new("RGB", (max(width, 2), max(height, 2)), GRASS)


def _draw_ground(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws what does not change."""
    if scene.roads is not None:
        _draw_roads(pen, scene.roads, view)
    network = scene.network()
    if network is not None:
        _draw_network(pen, network, view)


def _seen(scene: Scene, moment: int) -> list[int]:
    """Returns which agents are there at a moment; who was never seen stands there all the time."""
    assert scene.tracks is not None
    valid = scene.tracks.valid
    there: list[int] = np.flatnonzero(valid[:, moment] | ~valid.any(axis=1)).tolist()
    return there


def _at(scene: Scene, number: int, moment: int) -> Agent:
    """Returns an agent where it was recorded at a moment."""
    agent, tracks = scene.agents[number], scene.tracks
    if tracks is None or not tracks.valid[number, moment]:
        return agent
    names = ("x", "y", "heading", "vx", "vy")
    x, y, heading, vx, vy = (float(getattr(tracks, name)[number, moment]) for name in names)
    return replace(agent, x=x, y=y, heading=heading, speed=float(np.hypot(vx, vy)))


def _bounds(scene: Scene) -> tuple[F64, F64]:
    """Lower left and upper right corner of what is shown, each [2] [m]."""
    points = [np.array([[agent.x, agent.y] for agent in scene.agents])]
    if scene.tracks is not None:
        there = scene.tracks.valid
        points.append(np.stack([scene.tracks.x[there], scene.tracks.y[there]], axis=1))
    joined = np.concatenate(points)
    low, high = joined.min(0) - MARGIN, joined.max(0) + MARGIN
    floor = max(SMALLEST, 0.5 * float((high - low).max()))
    missing = np.maximum(0.0, floor - (high - low))
    return low - 0.5 * missing, high + 0.5 * missing


def _draw_roads(pen: ImageDraw, roads: Roads, view: View) -> None:
    """Draws lanes as wide as usual, then lines, edges, crosswalks and stop signs."""
    kinds = [kind_of(code) for code in roads.type.tolist()]
    for index in (index for index, kind in enumerate(kinds) if kind == "driveway"):
        _polygon(pen, roads.line(index), view, VERGE)
    for index in (index for index, kind in enumerate(kinds) if kind == "lane"):
        width = BIKE_WIDTH if ROAD_TYPES[int(roads.type[index])] == "lane_bike" else LANE_WIDTH
        _polygon(pen, _ribbon(roads.line(index)[:, :2].astype(np.float64), width), view, ASPHALT)
    thin = max(1, round(0.15 * view.scale))
    for index, kind in enumerate(kinds):
        line = roads.line(index)
        if kind in ("crosswalk", "speed_bump"):
            _polygon(pen, line, view, (*LINE_COLOURS[kind], 130))
        elif kind in ("line", "edge"):
            yellow = 9 <= int(roads.type[index]) <= 13
            colour = CENTRE_LINE if yellow else LINE_COLOURS[kind]
            pen.line(flat(_pixels(line, view)), colour, thin if kind == "line" else 2 * thin)
    for index in (index for index, kind in enumerate(kinds) if kind == "stop_sign"):
        place = _pixels(roads.line(index)[:1], view)[0]
        draw_head(pen, STOP_SIGN, place, max(5.0, 0.7 * view.scale))


def _ribbon(line: F64, width: float) -> F64:
    """Returns the outline of a lane of even width around its centre line [P, 2]."""
    kept = np.append(np.hypot(*np.diff(line, axis=0).T) > 1e-3, True)
    line = line[kept]
    if len(line) < 2:
        return np.zeros((0, 2))
    ahead = np.gradient(line, axis=0)
    ahead /= np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    aside = 0.5 * width * ahead @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([line + aside, (line - aside)[::-1]])


def _draw_network(pen: ImageDraw, network: RoadNetwork, view: View) -> None:
    """Draws the lanes of a map, those that are not driven on below the others."""
    lanes = sorted(network.lanes, key=lambda lane: lane.drivable)
    for lane in lanes:
        outline = np.concatenate([lane.left, lane.right[::-1]])
        if lane.type != "none" and _shows(view, outline):
            _polygon(pen, outline, view, ASPHALT if lane.drivable else VERGE)
    thin = max(1, round(0.12 * view.scale))
    for lane in lanes:
        if lane.drivable and lane.junction < 0 and _shows(view, lane.left):
            for side, neighbour in ((lane.left, lane.left_neighbour), (lane.right, 0)):
                colour = DASH if neighbour >= 0 else CENTRE_LINE
                pen.line(flat(_pixels(side, view)), colour, thin)
    for crosswalk in network.crosswalks:
        _polygon(pen, crosswalk.outline, view, (*PAINT, 130))
    for line in network.stop_lines:
        ends = _pixels(np.stack([line.left, line.right]), view)
        pen.line(flat(ends), SIGN_RED if line.kind == "stop_sign" else PAINT, 3 * thin)


def _draw_lights(pen: ImageDraw, scene: Scene, moment: int, view: View) -> None:
    """Draws a disc where one stops for each recorded light."""
    if scene.lights is None:
        return
    states = scene.lights.state[:, moment].tolist()
    for place, code in zip(scene.lights.position, states, strict=True):
        shown = SHOWN_LIGHTS.get(LIGHT_STATES[code], NO_LIGHT) if code >= 0 else NO_LIGHT
        at = _pixels(place[None], view)[0]
        draw_disc(pen, at, max(4.0, 0.7 * view.scale), LIGHT_COLOURS[shown], OUTLINE, 2)


def _draw_tracks(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws where each agent was (faint) and will be."""
    if scene.tracks is None:
        return
    steps = np.arange(scene.steps)
    for number in range(len(scene.agents)):
        for part, opacity in ((steps <= scene.current, 70), (steps >= scene.current, 190)):
            _draw_way(pen, scene, number, part, opacity, view)


def _draw_trails(pen: ImageDraw, scene: Scene, moment: int, agents: list[int], view: View) -> None:
    """Draws where bodies have just been."""
    steps = np.arange(scene.steps)
    since = moment - round(TRAIL / scene.dt)
    for number in agents:
        _draw_way(pen, scene, number, (steps >= since) & (steps <= moment), 120, view)


def _draw_way(
    pen: ImageDraw, scene: Scene, number: int, part: NDArray[np.bool_], opacity: int, view: View
) -> None:
    """Draws a part of the track of an agent."""
    assert scene.tracks is not None
    colour = _colour(scene, number)
    colour = TRACK if colour == SCRIPTED else colour  # white is what lines are painted in
    chosen = scene.tracks.valid[number] & part
    points = np.stack([scene.tracks.x[number], scene.tracks.y[number]], axis=1)[chosen]
    if len(points) > 1:
        width = max(2, round(0.25 * view.scale))
        pen.line(flat(_pixels(points, view)), (*colour, opacity), width, joint="curve")


def _draw_goals(pen: ImageDraw, scene: Scene, view: View) -> None:
    """Draws the goals of the ego."""
    for goal in scene.agents[scene.ego].goals if scene.ego >= 0 else ():
        if goal.outline:
            pixels = _pixels(np.array(goal.outline), view)
            pen.polygon(flat(pixels), (*EGO, 90), EGO)
        elif np.isfinite(goal.radius):
            at = _pixels(np.array([[goal.x, goal.y]]), view)[0]
            draw_disc(pen, at, goal.radius * view.scale, (*EGO, 90), EGO, 2)


def _draw_body(pen: ImageDraw, agent: Agent, colour: Colour, view: View) -> None:
    """Draws a box with a blunt nose."""
    a, b = 0.5 * agent.length, 0.5 * agent.width
    nose = a - min(0.35 * a, b)
    shape = np.array([[-a, b], [nose, b], [a, 0.5 * b], [a, -0.5 * b], [nose, -b], [-a, -b]])
    cos, sin = np.cos(agent.heading), np.sin(agent.heading)
    points = shape @ np.array([[cos, sin], [-sin, cos]]) + (agent.x, agent.y)
    pixels = _pixels(points, view)
    least = 3.0 / max(1e-9, b * view.scale)
    if least > 1.0:  # far away a body would be a pixel or two
        pixels = pixels.mean(0) + least * (pixels - pixels.mean(0))
    pen.polygon(flat(pixels), colour, OUTLINE, 1)


def _colour(scene: Scene, number: int) -> Colour:
    agent = scene.agents[number]
    if number == scene.ego:
        return EGO
    if agent.kind in KIND_COLOURS:
        return KIND_COLOURS[agent.kind]
    if agent.driver == "still":
        return GREY
    return LEARNER if agent.driver in ("learner", "policy") else SCRIPTED


def _pixels(points: NDArray[Any], view: View) -> F64:
    return view.pixels(points[:, 0], points[:, 1])


def _shows(view: View, points: NDArray[Any]) -> bool:
    return view.touches(_pixels(points, view), 20.0 + view.scale)


def _polygon(pen: ImageDraw, points: NDArray[Any], view: View, fill: Colour) -> None:
    if len(points) > 2:
        pen.polygon(flat(_pixels(points, view)), fill)
