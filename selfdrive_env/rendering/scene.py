"""From the arrays of an engine to the picture of one world."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from selfdrive_env.maps.compile.routes import route_points
from selfdrive_env.rendering.painter import Observed, Scene
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.params import Counts, Params
from selfdrive_env.state.places import box_centre, cell_at, observation_cell
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.road import VIEW_RANGE, Grid, Lanes, Routes, Signs
from selfdrive_env.state.world import ABSENT, Agents, Bodies, Lights, Worlds

__all__ = ["Trails", "between", "kept", "scene_of"]

LARGEST_STEP = 10.0
"""No body drives farther in one step [m]."""


class Tables(Protocol):
    """What a scene is read from: the structs of an engine."""

    params: Params
    counts: Counts
    lanes: Lanes
    routes: Routes
    grid: Grid
    signs: Signs
    lights: Lights
    worlds: Worlds
    agents: Agents
    bodies: Bodies


def scene_of(engine: Tables, world: int, agent: int, *, observed: bool = False) -> Scene:
    """Returns one world as a scene that follows an agent.

    Args:
        engine: The worlds.
        world: Which of them.
        agent: Slot of the ego.
        observed: Whether the scene tells what the ego observes.
    """
    agents, bodies = engine.agents, engine.bodies
    present = agents.status[world, agent] != ABSENT
    return Scene(
        x=agents.x[world],
        y=agents.y[world],
        cos=agents.cos[world],
        sin=agents.sin[world],
        speed=agents.speed[world],
        length=bodies.length[world],
        width=bodies.width[world],
        wheelbase=bodies.wheelbase[world],
        type=bodies.type[world],
        driver=bodies.driver[world],
        learner=bodies.learner[world],
        status=agents.status[world],
        line_colour=engine.lights.line_colour[world],
        map=int(engine.worlds.map[world]),
        focus=agent,
        time=float(engine.worlds.clock[world] * engine.worlds.dt[world]),
        route=_route(engine, world, agent) if present else None,
        goals=_goals(engine, world, agent) if present else None,
        observed=_observed(engine, world, agent) if observed and present else None,
    )


def kept(scene: Scene) -> Scene:
    """Returns a scene that later steps leave as it is."""
    arrays: dict[str, Any] = {
        name: one.copy() for name, one in scene._asdict().items() if isinstance(one, np.ndarray)
    }
    return scene._replace(**arrays)


def between(before: Scene, after: Scene, share: float) -> Scene:
    """Returns the scene at a share of the way from one to the next, for a smooth picture.

    Agents that were placed anew, or changed their status, are shown where they are afterwards.
    """
    if before.map != after.map or len(before.x) != len(after.x):
        return after
    near = np.hypot(after.x - before.x, after.y - before.y) < LARGEST_STEP
    near &= before.status == after.status
    part = np.where(near, np.float32(share), np.float32(1.0))

    def mix(name: str) -> F32:
        old, new = getattr(before, name), getattr(after, name)
        return np.asarray(old + part * (new - old), np.float32)

    x, y, cos, sin = mix("x"), mix("y"), mix("cos"), mix("sin")
    norm: F32 = np.maximum(np.hypot(cos, sin), np.float32(1e-6), dtype=np.float32)
    cos, sin = np.divide(cos, norm), np.divide(sin, norm)
    return after._replace(x=x, y=y, cos=cos, sin=sin, speed=mix("speed"))


class Trails:
    """Gives scenes the trails of their agents: one call for each step of a world.

    Args:
        steps: Length of a trail.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._places = np.zeros((0, 0, 2), np.float32)

    def __call__(self, scene: Scene) -> Scene:
        """Returns a scene with where its agents were in the scenes before.

        A trail ends where an agent was absent, or moved farther than anybody drives.
        """
        here = np.stack(scene.centre, axis=1).astype(np.float32)
        here[scene.status == ABSENT] = np.nan
        if self._places.shape[:1] != here.shape[:1]:
            self._places = np.zeros((len(here), 0, 2), np.float32)
        before = self._places[:, -self._steps :]
        if before.shape[1]:
            jump = ~(np.hypot(*(here - before[:, -1]).T) < LARGEST_STEP)
            before = np.where(jump[:, None, None], np.float32(np.nan), before)
        self._places = np.concatenate([before, here[:, None]], axis=1)
        return scene._replace(trails=self._places)


def _route(engine: Tables, world: int, agent: int) -> F32:
    goal = engine.agents.goal[world, agent]
    return route_points(
        engine.lanes,
        engine.routes,
        int(engine.agents.segment[world, agent]),
        int(engine.bodies.goal_lane[world, agent, goal]),
        float(engine.bodies.goal_s[world, agent, goal]),
    )


def _goals(engine: Tables, world: int, agent: int) -> F32:
    bodies = engine.bodies
    left = slice(engine.agents.goal[world, agent], bodies.num_goals[world, agent])
    x, y = bodies.goal_x[world, agent, left], bodies.goal_y[world, agent, left]
    radius = np.full_like(x, bodies.weight[world, agent, WEIGHT.goal_radius])
    return np.stack([x, y, radius], 1)


def _observed(engine: Tables, world: int, agent: int) -> Observed:
    grid, agents = engine.grid, engine.agents
    x, y = box_centre(
        agents.x[world], agents.y[world], agents.cos[world], agents.sin[world],
        engine.bodies.wheelbase[world],
    )  # fmt: skip
    layer = int(engine.lanes.segment_layer[agents.segment[world, agent]])
    cell = int(cell_at(grid, x[agent], y[agent], layer, int(engine.worlds.map[world])))
    row = int(grid.near[observation_cell(cell)]) if cell >= 0 else -1
    lists = (grid.near_lane_point, grid.near_boundary, grid.near_stop_line)
    counts = (
        engine.counts.lane_points,
        engine.counts.boundary_points,
        engine.counts.stop_lines,
    )
    found = [
        near[row, :count][near[row, :count] >= 0] if row >= 0 else np.zeros(0, np.int32)
        for near, count in zip(lists, counts, strict=True)
    ]
    distance = np.hypot(x - x[agent], y - y[agent])
    distance[(agents.status[world] == ABSENT) | (distance > VIEW_RANGE)] = np.inf
    distance[agent] = np.inf
    order = np.argsort(distance, kind="stable")[: engine.counts.agents]
    nearest = order[np.isfinite(distance[order])]
    return Observed(
        lane_points=grid.lane_point[found[0], :4],
        boundary_points=grid.boundary_point[found[1], :2],
        stop_lines=engine.signs.line[found[2], :2],
        agents=np.stack([x, y], 1)[nearest],
    )
