"""Scenes for cameras: a straight road, bodies put by hand, and rays cast in double precision."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.images.labels import CameraPose, pose_of
from selfdrive_env.images.views import plans_of
from selfdrive_env.maps import RoadNetwork
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map
from selfdrive_env.state.camera.scenery import (
    MOST_PARTS,
    NODE,
    NODE_ENTRY,
    NODES_X,
    NODES_Y,
    PART_FRONT,
    PART_HIGH,
    PART_LOW,
    PART_REAR,
    PART_TOP_FRONT,
    PART_TOP_REAR,
    PART_TOP_WIDE,
    PART_WIDE,
)
from selfdrive_env.state.road import SEG_S
from selfdrive_env.state.world import ABSENT, EXTERNAL
from tests.kernels.conftest import PLAIN, put, segment_of, set_body
from tests.maps.conftest import strip

SIZE = (36, 64)
AIR = {"fog": 0.0, "sun": 45.0}


@functools.cache
def straight_road() -> CompiledMap:
    """Two lanes eastward, 4 m wide, the right one along y = 0."""
    lanes = [strip("right", [[0, 0, 0], [400, 0, 0]]), strip("left", [[0, 4, 0], [400, 4, 0]])]
    lanes[0].left_neighbour, lanes[1].right_neighbour = 1, 0
    return compile_map(RoadNetwork("straight", lanes))


@functools.cache
def hilly_road() -> CompiledMap:
    """The same over a hill 5 m high."""
    x = np.linspace(0.0, 400.0, 401)
    z = 2.5 - 2.5 * np.cos(2.0 * np.pi * x / 200.0)
    line = np.stack([x, 0.0 * x, z], axis=1)
    return compile_map(RoadNetwork("hilly", [strip("hill", line)]))


def build(one: CompiledMap, agents: int = 4, worlds: int = 1, **settings: Any) -> Engine:
    """An engine with a labelled camera, in whose worlds nobody is but agent 0, at x = 100.

    The first `learners` of its agents have rows, all unless said.
    """
    view = {"kind": "camera", "size": SIZE, "labels": True, **AIR, **settings.pop("view", {})}
    seed, learners = settings.pop("seed", 0), settings.pop("learners", agents)
    keywords = {**PLAIN, "agents_per_world": agents, "observation": view, **settings}
    chosen = Settings.from_keywords(keywords)
    driver, learner = np.full(agents, EXTERNAL, np.uint8), np.zeros(agents, np.uint8)
    learner[:learners] = 1
    views = plans_of(chosen, int(learner.sum()), agents)
    engine = Engine(chosen, [one], worlds, driver, learner, views=views)
    engine.seed(seed)
    engine.reset(np.ones((worlds, agents), np.uint8), np.ones(worlds, np.uint8), staggered=True)
    for world in range(worlds):
        set_body(engine, world=world)
        for agent in range(agents):
            put(engine, agent, segment_of(engine, 0, 100.0), world=world)
            if agent:
                engine.agents.status[world, agent] = ABSENT
    return engine


def place(engine: Engine, agent: int, kind: str, ahead: float, aside: float, turned: float) -> None:
    """Puts a body of a kind so far ahead of x = 100, with the size in the middle of its range."""
    row = list(BODY_TYPES).index(kind)
    _, length_low, length_high, width_low, width_high, *_ = BODY_TYPES[kind]
    bodies = engine.bodies
    bodies.type[0, agent] = row
    bodies.length[0, agent] = 0.5 * (length_low + length_high)
    bodies.width[0, agent] = 0.5 * (width_low + width_high)
    bodies.wheelbase[0, agent] = 0.6 * bodies.length[0, agent]
    segment = segment_of(engine, 0, 100.0 + ahead)
    along = 100.0 + ahead - float(engine.lanes.segment[segment, SEG_S])
    put(engine, agent, segment, along, aside=aside, turned=turned)


def redraw(engine: Engine) -> Any:
    """Draws the present state again, by a reset of nobody; returns the labels."""
    nobody = np.zeros((engine.num_worlds, engine.num_slots), np.uint8)
    engine.reset(nobody, np.zeros(engine.num_worlds, np.uint8), staggered=False)
    return engine.views["camera"].parts["shots"]


def pose(engine: Engine, agent: int = 0) -> CameraPose:
    return pose_of(engine, engine.views["camera"].picture, 0, agent)


def scenery(engine: Engine) -> Any:
    return engine.views["camera"].plan.prepare.__self__.arrays


def body_triangles(engine: Engine, agent: int) -> np.ndarray:
    """Triangles of all boxes of a body in the world, [N, 3, 3] [m]."""
    agents, bodies, shapes = engine.agents, engine.bodies, scenery(engine)
    kind = int(bodies.type[0, agent])
    cos, sin = float(agents.cos[0, agent]), float(agents.sin[0, agent])
    half = 0.5 * float(bodies.wheelbase[0, agent])
    middle = np.array(
        [
            agents.x[0, agent] + half * cos,
            agents.y[0, agent] + half * sin,
            agents.z[0, agent],
        ],
        np.float64,
    )
    size = np.array([bodies.length[0, agent], bodies.width[0, agent], shapes.body_height[kind]])
    found = []
    for number in range(MOST_PARTS):
        if shapes.part_texture[kind, number, 0] < 0:
            break
        part = shapes.part[kind, number].astype(np.float64)
        levels = (
            (part[PART_REAR], part[PART_FRONT], part[PART_WIDE], part[PART_LOW]),
            (part[PART_TOP_REAR], part[PART_TOP_FRONT], part[PART_TOP_WIDE], part[PART_HIGH]),
        )
        corner = (
            np.array(
                [
                    [x, y, high]
                    for rear, front, wide, high in levels
                    for x, y in ((rear, -wide), (front, -wide), (front, wide), (rear, wide))
                ]
            )
            * size
        )
        world = np.stack(
            [
                middle[0] + corner[:, 0] * cos - corner[:, 1] * sin,
                middle[1] + corner[:, 0] * sin + corner[:, 1] * cos,
                middle[2] + corner[:, 2],
            ],
            axis=1,
        )
        quads = [(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7)]
        found += [[world[a], world[b], world[c]] for a, b, c, _ in quads]
        found += [[world[a], world[c], world[d]] for a, _, c, d in quads]
    return np.array(found)


def ground_triangles(engine: Engine, reach: float = 160.0) -> np.ndarray:
    """Triangles of the ground around x = 100, [N, 3, 3] [m]."""
    arrays = scenery(engine)
    layout = arrays.layout[0]
    shape = int(layout[NODES_Y]), int(layout[NODES_X])
    height = arrays.height[int(layout[NODE_ENTRY]) :][: shape[0] * shape[1]].reshape(shape)
    origin = arrays.origin[0].astype(np.float64)
    found = []
    for j in range(shape[0] - 1):
        for i in range(shape[1] - 1):
            x, y = origin + NODE * np.array([i, j])
            if np.hypot(x - 100.0, y) > reach:
                continue
            corner = np.array(
                [
                    [x + a * NODE, y + b * NODE, height[j + b, i + a]]
                    for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))
                ]
            )
            found += [corner[[0, 1, 3]], corner[[2, 3, 1]]]
    return np.array(found)


def cast(pose: CameraPose, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Casts a ray through the middle of each pixel (Moeller and Trumbore, 1997).

    Returns:
        Depth [H, W] [m], inf where nothing is met; number of the triangle, -1 for none.
    """
    rows, columns = np.mgrid[0 : pose.height, 0 : pose.width] + 0.5
    local = np.stack(
        [
            (columns - 0.5 * pose.width) / pose.focal,
            (rows - 0.5 * pose.height) / pose.focal,
            np.ones_like(rows),
        ],
        axis=-1,
    )
    rays = (local @ pose.rotation).reshape(-1, 3)
    a, b, c = (triangles[:, k] for k in range(3))
    e, f, start = b - a, c - a, pose.place - a
    p = np.cross(rays[:, None], f[None])
    det = (e[None] * p).sum(-1)
    det = np.where(np.abs(det) < 1e-12, np.nan, det)
    u = (start[None] * p).sum(-1) / det
    q = np.cross(start, e)
    v = (rays[:, None] * q[None]).sum(-1) / det
    t = (f * q).sum(-1)[None] / det
    met = (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (t >= pose.near)
    t = np.where(met, t, np.inf)
    which = t.argmin(axis=1)
    depth = t[np.arange(len(rays)), which]
    which = np.where(np.isfinite(depth), which, -1)
    return depth.reshape(pose.height, pose.width), which.reshape(pose.height, pose.width)
