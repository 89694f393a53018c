"""Worlds for the tests of stages: engines with everything at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.maps import compiled
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.state.world import EXTERNAL

PLAIN: dict[str, Any] = dict(
    num_threads=1,
    stagger=False,
    preset="eval",
    on_collision="ignore",
    on_offroad="ignore",
    lights_off=0.0,
    lights_green=0.0,
    light_removal=0.0,
    horizon=100_000.0,
)
"""Settings under which nothing interferes: no episode ends, every light works."""


def build(
    maps: list[CompiledMap], *, worlds: int = 1, drivers: list[int] | None = None, **settings: Any
) -> Engine:
    """A fresh engine after its reset: `drivers` of the slots, all of them learners."""
    agents = settings.setdefault("agents_per_world", len(drivers) if drivers else 8)
    seed = settings.pop("seed", 0)
    chosen = Settings.from_keywords({**PLAIN, **settings})
    assert isinstance(agents, int)
    driver = np.array(drivers or [EXTERNAL] * agents, np.uint8)
    engine = Engine(chosen, maps, worlds, driver, np.ones(agents, np.uint8))
    engine.seed(seed)
    everyone = np.ones((worlds, agents), np.uint8)
    engine.reset(everyone, np.ones(worlds, np.uint8), staggered=True)
    return engine


def town_engine(name: str = "riverside", **settings: Any) -> Engine:
    return build([compiled(name)], **settings)


def random_jerks(random: np.random.Generator, engine: Engine) -> np.ndarray:
    """Jerks of the discrete actions for every agent."""
    shape = engine.agents.x.shape
    long = random.choice(np.float32([-15, -4, 0, 4]), shape, p=[0.1, 0.15, 0.3, 0.45])
    lat = random.choice(np.float32([-4, 0, 4]), shape, p=[0.2, 0.6, 0.2])
    return np.stack([long, lat], axis=-1)


def no_jerk(engine: Engine) -> np.ndarray:
    return np.zeros((*engine.agents.x.shape, 2), np.float32)


def put(
    engine: Engine,
    agent: int,
    segment: int,
    along: float = 0.0,
    *,
    world: int = 0,
    aside: float = 0.0,
    turned: float = 0.0,
    speed: float = 0.0,
) -> None:
    """Puts the box centre of an agent `along` metres from the start of a lane segment."""
    a, b = engine.agents, engine.bodies
    x, y, cos, sin, *_ = engine.lanes.segment[segment].astype(np.float64)
    s = float(engine.lanes.segment[segment, 9]) + along
    x, y = x + along * cos - aside * sin, y + along * sin + aside * cos
    heading = np.arctan2(sin, cos) + turned
    ahead = 0.5 * b.wheelbase[world, agent]
    a.cos[world, agent], a.sin[world, agent] = np.cos(heading), np.sin(heading)
    a.x[world, agent] = x - ahead * np.cos(heading)
    a.y[world, agent] = y - ahead * np.sin(heading)
    a.angle_cos[world, agent], a.angle_sin[world, agent] = np.cos(turned), np.sin(turned)
    a.speed[world, agent] = speed
    a.segment[world, agent], a.s[world, agent], a.d[world, agent] = segment, s, aside
    a.z[world, agent] = engine.lanes.segment[segment, 8]
    for field in (a.acceleration, a.lateral_acceleration, a.steering, a.contact, a.waiting):
        field[world, agent] = 0
    a.stopped_at[world, agent] = -1
    a.status[world, agent] = 1


def set_body(engine: Engine, length: float = 4.5, width: float = 1.8, world: int = 0) -> None:
    """Gives all agents of a world one body with coefficients of 1."""
    b = engine.bodies
    b.length[world], b.width[world], b.wheelbase[world] = length, width, 0.6 * length
    for field in (b.throttle, b.steer, b.pull, b.pace):
        field[world] = 1.0
