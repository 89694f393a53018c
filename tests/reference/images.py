"""The road from above by definition: polygons and points in shapely, many samples a pixel."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from selfdrive_env.config.images import BirdsEye
from selfdrive_env.images.ground import shapes_of
from selfdrive_env.rendering.ground import Ground
from selfdrive_env.state.images import Code, GroundClass
from selfdrive_env.state.places import box_centre
from selfdrive_env.state.road import (
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_X0,
    LINE_X1,
    LINE_Y,
    LINE_Y0,
    LINE_Y1,
)
from selfdrive_env.state.world import ABSENT, BICYCLE, MOTORCYCLE, NO_LIGHT, PEDESTRIAN
from tests.reference.observation import Observer

__all__ = ["commonest", "ground_shares", "near_edge", "overlay", "pixel_points"]

Codes = NDArray[np.int64]

LEAST = 0.75
"""Half a side of the smallest thing that is drawn [pixels]."""


def pixel_points(engine: Any, picture: BirdsEye, agent: int, samples: int = 1) -> Any:
    """Returns places in the world, [height, samples, width, samples, 2] [m]."""
    (x, y), (cos, sin) = _ego(engine, agent)
    up = np.array([cos, sin]) if picture.heading_up else np.array([0.0, 1.0])
    right = np.array([up[1], -up[0]])
    ahead, left = picture.middle
    middle = np.array([x, y]) + ahead * up - left * right
    down = (np.arange(picture.height * samples) + 0.5) / samples - 0.5 * picture.height
    along = (np.arange(picture.width * samples) + 0.5) / samples - 0.5 * picture.width
    points = middle + picture.pixel * (along[None, :, None] * right - down[:, None, None] * up)
    return points.reshape(picture.height, samples, picture.width, samples, 2)


def _ego(engine: Any, agent: int) -> tuple[tuple[float, float], tuple[float, float]]:
    agents, bodies = engine.agents, engine.bodies
    pose = [getattr(agents, name)[0, agent].astype(float) for name in ("x", "y", "cos", "sin")]
    x, y = box_centre(*pose, float(bodies.wheelbase[0, agent]))
    return (x, y), (pose[2], pose[3])


def ground_shares(engine: Any, picture: BirdsEye, agent: int, samples: int = 5) -> Codes:
    """Returns how many samples of each pixel are of each class, [height, width, classes]."""
    points = pixel_points(engine, picture, agent, samples)
    pool = engine.pool
    painted = Ground(pool.lanes, pool.grid, pool.paints)
    layer = int(pool.lanes.segment_layer[engine.agents.segment[0, agent]])
    world = shapely.points(points.reshape(-1, 2))
    tree = shapely.STRtree(world)
    found = np.zeros(len(world), np.int64)
    for shape in shapes_of(pool, painted, int(engine.worlds.map[0]), layer, picture.pixel):
        found[tree.query(shapely.polygons(shape.points), "contains")] = shape.value
    split = found.reshape(points.shape[:4]).transpose(0, 2, 1, 3)
    split = split.reshape(picture.height, picture.width, -1)
    return (split[..., None] == np.arange(len(GroundClass))).sum(2)


def commonest(shares: Codes) -> Codes:
    """Returns the commonest class of each pixel: of two equal ones the later."""
    return shares.shape[-1] - 1 - np.argmax(shares[..., ::-1], axis=-1)


def overlay(engine: Any, picture: BirdsEye, agent: int) -> Codes:
    """Returns the code of what lies over the ground in the middle of each pixel, -1 for nothing."""
    points = pixel_points(engine, picture, agent)[:, 0, :, 0]
    world = shapely.points(points)
    out = np.full(world.shape, -1, np.int64)
    for code, shape in _objects(engine, picture, agent):
        out[shapely.covers(shape, world)] = code
    return out


def _objects(engine: Any, picture: BirdsEye, ego: int) -> list[tuple[int, Any]]:
    """Returns what is drawn, in that order."""
    agents, bodies, signs = engine.agents, engine.bodies, engine.signs
    pixel, least = picture.pixel, LEAST * picture.pixel
    found: list[tuple[int, Any]] = []
    for x, y, cos, sin in route(engine, ego):
        found.append((Code.ROUTE, _box(x, y, cos, sin, 1.45, 0.5, least)))
    for goal in range(int(agents.goal[0, ego]), int(bodies.num_goals[0, ego])):
        place = shapely.points(bodies.goal_x[0, ego, goal], bodies.goal_y[0, ego, goal])
        found.append((Code.GOAL, shapely.buffer(place, max(1.5, 1.5 * pixel), quad_segs=32)))
    for line, colour in zip(signs.line.astype(float), engine.lights.line_colour[0], strict=True):
        if colour == NO_LIGHT:
            continue
        x, y = line[LINE_X], line[LINE_Y]
        half = min(np.hypot(line[LINE_X0] - x, line[LINE_Y0] - y),
                   np.hypot(line[LINE_X1] - x, line[LINE_Y1] - y))  # fmt: skip
        box = _box(x, y, -line[LINE_SIN], line[LINE_COS], half, 0.4, least)
        found.append((Code.GREEN + int(colour) - 1, box))
    order = [one for one in range(agents.x.shape[1]) if one != ego] + [ego]
    for one in order:
        if agents.status[0, one] == ABSENT:
            continue
        (x, y), (cos, sin) = _ego(engine, one)
        kind = bodies.type[0, one]
        code = Code.PEDESTRIAN if kind == PEDESTRIAN else Code.VEHICLE
        code = Code.CYCLIST if kind in (BICYCLE, MOTORCYCLE) else code
        code = Code.EGO if one == ego else code
        half = max(0.5 * float(bodies.length[0, one]), least)
        wide = 0.5 * float(bodies.width[0, one])
        found.append((code, _box(x, y, cos, sin, half, wide, least)))
        front = Code.EGO_FRONT if one == ego else code + 3
        x, y = x + 0.65 * half * cos, y + 0.65 * half * sin
        found.append((front, _box(x, y, cos, sin, 0.35 * half, wide, least)))
    return found


def route(engine: Any, agent: int) -> list[tuple[float, float, float, float]]:
    """Returns x, y, cos, sin of points of the way ahead, every 2.5 m up to 50 m."""
    observer = Observer(engine)
    observer.row(0, agent)
    return [(p.x, p.y, p.cos, p.sin) for p in observer.way]


def _box(
    x: float, y: float, cos: float, sin: float, half_length: float, half_width: float, least: float
) -> Any:
    a, b = max(half_length, least), max(half_width, least)
    corners = np.array([(a, b), (-a, b), (-a, -b), (a, -b)]) @ np.array([(cos, sin), (-sin, cos)])
    return shapely.polygons(corners + np.array([x, y]))


def near_edge(classes: Codes, shares: Codes | None, wanted: Codes) -> NDArray[np.bool_]:
    """Returns where a class is found in a pixel or one of its eight neighbours.

    Args:
        classes: Of each pixel.
        shares: Samples of each pixel by class of the ground, where there are some.
        wanted: What is looked for.
    """
    height, width = classes.shape
    found = np.zeros(classes.shape, bool)
    for down, right in itertools.product(range(3), repeat=2):
        rows = np.clip(np.arange(height) + down - 1, 0, height - 1)[:, None]
        columns = np.clip(np.arange(width) + right - 1, 0, width - 1)
        found |= classes[rows, columns] == wanted
        if shares is not None:
            known = np.minimum(wanted, shares.shape[-1] - 1)
            there = np.take_along_axis(shares[rows, columns], known[..., None], -1)[..., 0] > 0
            found |= there & (wanted < shares.shape[-1])
    return found
