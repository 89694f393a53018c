"""Worlds for the tests of stages: engines with everything at hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.maps import compiled
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map
from selfdrive_env.maps.road_network import (
    Junction,
    Lane,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.state.world import EXTERNAL
from tests.maps.conftest import connect, strip

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


def lopsided_road() -> CompiledMap:
    """Eastward along y = 0, 3 m wide to the left and 1 m to the right; beside it, along y = -2.5,
    another one that is 1.5 m wide on both sides, and a westward one like that along y = 4.5.
    """
    lanes = [
        strip("east", [[0, 0, 0], [400, 0, 0]], 4.0, aside=-1.0),
        strip("slow", [[0, -2.5, 0], [400, -2.5, 0]], 3.0),
        strip("west", [[400, 4.5, 0], [0, 4.5, 0]], 3.0),
    ]
    lanes[0].right_neighbour, lanes[1].left_neighbour = 1, 0
    return compile_map(RoadNetwork("lopsided", lanes))


def skew_crossing(height: float) -> CompiledMap:
    """An eastward lane on the ground, and one to the north-east across it, `height` above and with
    a light over the place where they cross.
    """
    along = np.linspace(-150.0, 150.0, 301)
    z = height * np.clip((120.0 - np.abs(along)) / 80.0, 0.0, 1.0)
    diagonal = np.stack([along, along, z], axis=1) * [0.5**0.5, 0.5**0.5, 1.0]
    ends = [np.array([-2.0, 2.0, height]), np.array([2.0, -2.0, height])]
    return compile_map(
        RoadNetwork(
            "skew",
            [strip("low", [[-150, 0, 0], [150, 0, 0]]), strip("high", diagonal)],
            [Junction("0", signal_groups=[0])],
            [Signal("a", "traffic_light", np.array([2.0, -2.0, height]), np.pi / 4, group=0)],
            [SignalGroup("0")],
            [StopLine(*ends, *ends, np.pi / 4, [(1, 150.0)], signal=0)],
        )
    )


def three_lanes_with_two_lights() -> CompiledMap:
    """Three eastward lanes; the outer ones have a light of their own each, with lines at x = 150
    that guard the whole road, the middle one along y = 0 has none.
    """
    lanes = [strip(str(y), [[0, y, 0], [300, y, 0]]) for y in (4.0, 0.0, -4.0)]
    guard = np.array([150.0, 6.0, 0.0]), np.array([150.0, -6.0, 0.0])
    signals, lines = [], []
    for number, (lane, y) in enumerate(((0, 4.0), (2, -4.0))):
        ends = np.array([150.0, y + 2.0, 0.0]), np.array([150.0, y - 2.0, 0.0])
        signals.append(Signal(str(lane), "traffic_light", ends[1], 0.0, group=number))
        lines.append(StopLine(*ends, *guard, 0.0, [(lane, 150.0)], signal=number))
    groups = [SignalGroup("0"), SignalGroup("1")]
    return compile_map(RoadNetwork("three", lanes, [], signals, groups, lines))


def acceleration_lane(taper: bool) -> CompiledMap:
    """A road along y = 0 in lanes 0 to 7, each 80 m long, and lane 8, an entry to the right of the
    first. Without `taper` nothing follows it, with it lane 9 does, which closes over 30 m.
    """
    through = [strip(str(n), [[80 * n, 0, 0], [80 * (n + 1), 0, 0]]) for n in range(8)]
    lanes = [*through, strip("entry", [[0, -4, 0], [80, -4, 0]])]
    connect(lanes, *pairwise(range(8)))
    through[0].right_neighbour, lanes[8].left_neighbour = 8, 0
    if taper:
        x = np.linspace(80.0, 110.0, 31)
        left = np.stack([x, 0 * x - 2.0, 0 * x], axis=1)
        right = left - [0.0, 4.0, 0.0] * (110.0 - x[:, None]) / 30.0
        lanes.append(Lane("taper", "driving", 0.5 * (left + right), left, right))
        connect(lanes, (8, 9))
    return compile_map(RoadNetwork("entry", lanes))


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
    for field in (a.acceleration, a.lateral_acceleration, a.steering, a.contact, a.standing_time,
        a.hold, a.let_in_until):  # fmt: skip
        field[world, agent] = 0
    a.stopped_at[world, agent] = a.blocker[world, agent] = -1
    a.status[world, agent] = 1


def set_body(engine: Engine, length: float = 4.5, width: float = 1.8, world: int = 0) -> None:
    """Gives all agents of a world one body with coefficients of 1."""
    b = engine.bodies
    b.length[world], b.width[world], b.wheelbase[world] = length, width, 0.6 * length
    for field in (b.jerk_scale, b.lateral_jerk_scale, b.acceleration_scale, b.speed_scale):
        field[world] = 1.0


def segment_of(engine: Engine, lane: int, s: float) -> int:
    """The segment at arc length s of a lane."""
    first, after = engine.lanes.segment_first[lane : lane + 2]
    return int(first + min(int(s / engine.lanes.length[lane] * (after - first)), after - first - 1))


def send(engine: Engine, agent: int, lane: int, s: float) -> None:
    """Gives an agent of world 0 one goal, far ahead on a lane."""
    bodies = engine.bodies
    bodies.num_goals[0, agent] = 1
    bodies.goal_lane[0, agent, 0], bodies.goal_s[0, agent, 0] = lane, s
    engine.agents.goal[0, agent] = 0
    engine.agents.goal_distance[0, agent] = 1000.0
