"""Faults of other simulators that this one must not have: one test, at least, for each.

Three of them are covered elsewhere: settings accepted and ignored in config/test_settings.py; the
same seed with another result in test_determinism.py; damaged map files in maps/test_cache.py.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, decode
from selfdrive_env.envs import DrivingVectorEnv
from selfdrive_env.state.road import (
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    GREEN,
    HALTED,
    PRESENT,
    RED,
)

F64 = NDArray[np.float64]

SMALL: dict[str, Any] = {"map": "riverside", "layout": "lean", "num_threads": 1}
HARMLESS: dict[str, Any] = {
    "on_collision": "ignore",
    "on_offroad": "ignore",
    "on_goal": "new_route",
    "stagger": False,
}
COAST = 7  # the action without jerk


def make(num_envs: int = 2, **settings: Any) -> DrivingVectorEnv:
    """A seeded environment after its first reset; one world unless told otherwise."""
    settings.setdefault("agents_per_world", num_envs)
    env = DrivingVectorEnv(num_envs, **{**SMALL, **settings})
    env.reset(seed=1)
    env.action_space.seed(1)
    return env


def straight(env: DrivingVectorEnv, length: float = 80.0) -> int:
    """First segment of a straight lane outside junctions, at the right edge of its road."""
    lanes = env.engine.lanes
    good = (lanes.length > length) & (lanes.junction < 0) & (lanes.max_curvature < 1e-4)
    good &= lanes.right < 0
    assert good.any()
    return int(lanes.segment_first[np.flatnonzero(good)[0]])


def put(
    env: DrivingVectorEnv,
    agent: int,
    segment: int,
    *,
    along: float = 0.0,
    left: float = 0.0,
    turn: float = 0.0,
    speed: float = 0.0,
    length: float = 4.0,
    width: float = 1.8,
) -> None:
    """Places a body by its box centre, from the start of a lane segment."""
    row = env.engine.lanes.segment[segment].astype(np.float64)
    x = row[SEG_X] + along * row[SEG_COS] - left * row[SEG_SIN]
    y = row[SEG_Y] + along * row[SEG_SIN] + left * row[SEG_COS]
    heading = np.arctan2(row[SEG_SIN], row[SEG_COS]) + turn
    put_at(env, agent, segment, x, y, heading, speed=speed, length=length, width=width)


def put_at(
    env: DrivingVectorEnv,
    agent: int,
    segment: int,
    x: float,
    y: float,
    heading: float,
    *,
    speed: float = 0.0,
    length: float = 4.0,
    width: float = 1.8,
) -> None:
    """Places a body by its box centre, localised on a segment."""
    agents, bodies = env.engine.agents, env.engine.bodies
    ahead = 0.3 * length
    values = {
        "x": x - ahead * np.cos(heading),
        "y": y - ahead * np.sin(heading),
        "cos": np.cos(heading),
        "sin": np.sin(heading),
        "speed": speed,
        "acceleration": 0.0,
        "lateral_acceleration": 0.0,
        "steering": 0.0,
        "z": env.engine.lanes.segment[segment, SEG_Z],
        "segment": segment,
        "status": PRESENT,
        "contact": 0,
        "stopped_at": -1,
    }
    for name, value in values.items():
        getattr(agents, name)[0, agent] = value
    sizes = {"length": length, "width": width, "wheelbase": 0.6 * length, "speed_scale": 1.5}
    for name, value in sizes.items():
        getattr(bodies, name)[0, agent] = value


def nearest_segment(env: DrivingVectorEnv, x: float, y: float) -> int:
    """Segment whose middle is nearest to a point."""
    row = env.engine.lanes.segment
    half = 0.5 * row[:, SEG_LENGTH]
    dx = row[:, SEG_X] + half * row[:, SEG_COS] - x
    dy = row[:, SEG_Y] + half * row[:, SEG_SIN] - y
    return int(np.argmin(dx * dx + dy * dy))


def coast(env: DrivingVectorEnv) -> Any:
    """One step without jerk; returns the event bits of world 0."""
    env.step(np.full(env.num_envs, COAST))
    return env.engine.output.event[0]


def boxes(env: DrivingVectorEnv) -> tuple[F64, F64, F64, F64]:
    """Centre, heading, half sizes of all bodies, float64, [W, A, 2]; and the elevation, [W, A]."""
    agents, bodies = env.engine.agents, env.engine.bodies
    heading = np.stack([agents.cos, agents.sin], -1).astype(np.float64)
    centre = np.stack([agents.x, agents.y], -1) + 0.5 * bodies.wheelbase[..., None] * heading
    half = 0.5 * np.stack([bodies.length, bodies.width], -1).astype(np.float64)
    return centre, heading, half, agents.z.astype(np.float64)


def gap(centre: F64, heading: F64, half: F64) -> float:
    """Largest gap between two boxes along the four axes of theirs, negative where they overlap."""
    axes = np.concatenate([heading, heading @ np.array([[0.0, 1.0], [-1.0, 0.0]])])
    side = np.stack([heading, heading @ np.array([[0.0, 1.0], [-1.0, 0.0]])], 1)
    reach = sum((np.abs(side[i] @ axes.T) * half[i][:, None]).sum(0) for i in (0, 1))
    return float((np.abs(axes @ (centre[1] - centre[0])) - reach).max())


# Declared spaces


@pytest.mark.parametrize(
    "layout",
    ["full", "lean", {"agents": 0, "goals": 1}, {"lane_points": 3, "stop_lines": 0, "agents": 41}],
)
def test_rows_are_as_wide_as_declared(layout: Any) -> None:
    env = make(4, layout=layout)
    made = LAYOUTS[layout] if isinstance(layout, str) else ObservationLayout(**layout)
    slots = {"route": 8, **dataclasses.asdict(made)}
    wide = sum(slots.get(name, 1) * len(columns) for name, columns in OBSERVATION.items())
    assert env.single_observation_space.shape == (wide,)
    assert env.step(env.action_space.sample())[0].shape == (4, wide)


@pytest.mark.parametrize("town", ["riverside", "hillcrest"])
def test_values_stay_inside_the_box(town: str) -> None:
    # Bodies that leave the road and drive on for good reach values that no ended one does.
    settings = {**HARMLESS, "horizon": 30.0, "observation_noise": 10.0, "bodies": "typed"}
    env = make(96, agents_per_world=24, map=town, layout="full", **settings)
    for _ in range(150):
        observation, reward, *_ = env.step(env.action_space.sample())
        assert np.abs(observation).max() <= 1.0 and np.isfinite(observation).all()
        assert np.isfinite(reward).all()


# Episode ends


@pytest.mark.parametrize("behaviour", ["ignore", "stop", "terminate"])
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_episodes_end_for_the_learner_whatever_happens(behaviour: str, mode: str) -> None:
    settings = {name: behaviour for name in ("on_collision", "on_offroad", "on_red_light")}
    env = make(
        16, agents_per_world=8, horizon=9.0, on_goal="new_route", autoreset_mode=mode, **settings
    )
    since = np.zeros(16, int)
    for _ in range(100):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        since = np.where(terminated | truncated, 0, since + 1)
        assert since.max() <= env.settings.steps


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_the_last_reward_of_an_episode_is_not_lost(mode: str) -> None:
    env = make(2, autoreset_mode=mode, reward={"collision": 2.0}, on_offroad="ignore")
    segment = straight(env)
    put(env, 0, segment, along=20.0, speed=10.0)
    put(env, 1, segment, along=26.0, turn=np.pi)
    _, reward, terminated, *_ = env.step(np.full(2, COAST))
    assert terminated.all()
    # -(2 + 0.1 v) and small terms of one step.
    np.testing.assert_allclose(reward, [-3.0, -2.0], atol=0.2)


def test_a_halted_agent_stands_and_is_not_to_be_learned_from() -> None:
    env = make(2, on_collision="stop", on_offroad="ignore", stagger=False)
    segment = straight(env)
    put(env, 0, segment, along=20.0, speed=10.0)
    put(env, 1, segment, along=26.0, turn=np.pi)
    coast(env)
    assert (env.engine.agents.status[0] == HALTED).all()
    *_, infos = env.step(np.full(2, COAST))
    assert not env.engine.agents.speed.any() and not infos["learn"].any()


# Contacts


@pytest.mark.parametrize("distance", [5.0, 6.0, 9.0, 11.9])
def test_bodies_do_not_pass_through_each_other_head_on(distance: float) -> None:
    env = make(2, **HARMLESS)
    segment = straight(env)
    size = {"length": 1.0, "width": 0.8, "speed": 20.0}
    put(env, 0, segment, along=20.0, **size)
    put(env, 1, segment, along=20.0 + distance, turn=np.pi, **size)
    event = coast(env)
    moved = env.engine.motion.travel[0]
    assert moved.sum() > distance + 0.05 or distance > 11.0
    assert (event & EVENT_COLLISION).all()


def test_bodies_do_not_pass_through_each_other_crosswise() -> None:
    env = make(2, **HARMLESS)
    segment = straight(env)
    put(env, 0, segment, along=20.0, speed=20.0, length=0.8, width=0.8)
    put(env, 1, segment, along=23.0, left=-3.0, turn=np.pi / 2, speed=20.0, length=0.8, width=0.8)
    assert (coast(env) & EVENT_COLLISION).all()


@pytest.mark.parametrize(("overlap", "touches"), [(0.1, True), (-0.1, False)])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_boxes_have_their_full_size(overlap: float, touches: bool, side: float) -> None:
    env = make(2, **HARMLESS)
    segment = straight(env)
    put(env, 0, segment, along=20.0, length=4.0, width=1.8)
    put(env, 1, segment, along=24.5 - overlap, left=side * (1.7 - overlap), length=5.0, width=1.6)
    hit = (coast(env) & EVENT_COLLISION) != 0
    assert (hit == touches).all()
    centre, heading, half, _ = (values[0] for values in boxes(env))
    assert (gap(centre, heading, half) < 0) == touches


def test_bodies_on_a_bridge_do_not_touch_those_below() -> None:
    env = make(2, map="hillcrest", **HARMLESS)
    upper, lower = crossing(env)
    row = env.engine.lanes.segment[upper]
    x, y = float(row[SEG_X]), float(row[SEG_Y])
    put_at(env, 0, upper, x, y, np.arctan2(row[SEG_SIN], row[SEG_COS]))
    below = env.engine.lanes.segment[lower]
    put_at(env, 1, lower, x, y, np.arctan2(below[SEG_SIN], below[SEG_COS]))
    assert not (coast(env) & EVENT_COLLISION).any()
    np.testing.assert_allclose(env.engine.agents.z[0], [row[SEG_Z], below[SEG_Z]], atol=1.0)

    put_at(env, 0, lower, x, y, 0.0)
    put_at(env, 1, lower, x, y, 0.0)
    assert (coast(env) & EVENT_COLLISION).all()


def crossing(env: DrivingVectorEnv) -> tuple[int, int]:
    """Two segments at the same place on different levels: upper, lower."""
    row = env.engine.lanes.segment
    for upper in np.flatnonzero(row[:, SEG_Z] > row[:, SEG_Z].min() + 4.0):
        near = np.hypot(row[:, SEG_X] - row[upper, SEG_X], row[:, SEG_Y] - row[upper, SEG_Y]) < 1.0
        lower = np.flatnonzero(near & (row[upper, SEG_Z] - row[:, SEG_Z] > 4.0))
        if len(lower):
            return int(upper), int(lower[0])
    raise AssertionError("the town has no overpass")


# Road


def test_a_body_off_the_road_that_touches_no_edge_is_off_the_road() -> None:
    env = make(2, **HARMLESS)
    lanes = env.engine.lanes.segment
    segment = straight(env)
    for left in (-9.0, -12.0, -20.0):
        put(env, 0, segment, along=40.0, left=left, length=0.8, width=0.8)
        put(env, 1, segment, along=20.0)
        centre = boxes(env)[0][0, 0]
        away = np.hypot(lanes[:, SEG_X] - centre[0], lanes[:, SEG_Y] - centre[1])
        assert (away > lanes[:, SEG_LEFT] + lanes[:, SEG_RIGHT] + 2.0).all()
        event = coast(env)
        assert event[0] & EVENT_OFFROAD, left
        assert not event[1] & EVENT_OFFROAD


@pytest.mark.parametrize(("beyond", "off"), [(0.1, True), (-0.1, False)])
def test_the_whole_box_has_to_be_on_the_road(beyond: float, off: bool) -> None:
    env = make(2, **HARMLESS)
    segment = straight(env)
    right = float(env.engine.lanes.segment[segment + 40, SEG_RIGHT])
    put(env, 0, segment + 40, left=-(right + beyond - 0.9), width=1.8)
    put(env, 1, segment, along=20.0)
    event = coast(env)
    assert bool(event[0] & EVENT_OFFROAD) == off


def red_line(env: DrivingVectorEnv) -> int:
    """A stop line with a light that spans more than its own lanes."""
    line, group = env.engine.signs.line, env.engine.signs.line_group
    for index in np.flatnonzero(group >= 0):
        x, y, _, _, x0, y0, x1, y1, _ = line[index]
        ends = sorted([np.hypot(x0 - x, y0 - y), np.hypot(x1 - x, y1 - y)])
        if ends[1] > ends[0] + 3.0:
            return int(index)
    raise AssertionError("no stop line spans the oncoming lane")


@pytest.mark.parametrize("oncoming", [False, True])
@pytest.mark.parametrize("colour", [RED, GREEN])
def test_a_red_light_is_not_passed_by_way_of_the_oncoming_lane(oncoming: bool, colour: int) -> None:
    env = make(2, light_removal=0.0, lights_off=0.0, lights_green=0.0, **HARMLESS)
    index = red_line(env)
    x, y, cos, sin, x0, y0, x1, y1, _ = env.engine.signs.line[index].astype(float)
    if oncoming:
        far = max([(x0, y0), (x1, y1)], key=lambda end: np.hypot(end[0] - x, end[1] - y))
        x, y = x + 0.75 * (far[0] - x), y + 0.75 * (far[1] - y)
    # The front bumper of a 4 m body stands 1 m before the line.
    x, y = x - 3.0 * cos, y - 3.0 * sin
    put_at(env, 0, nearest_segment(env, x, y), x, y, np.arctan2(sin, cos), speed=8.0)
    env.engine.lights.remaining[:] = 100.0
    env.engine.lights.line_colour[:] = colour
    assert bool(coast(env)[0] & EVENT_RED_LIGHT) == (colour == RED)


# Neighbours


def test_neighbours_are_the_nearest_in_order_of_distance() -> None:
    env = make(32)
    layout = env.layout
    rows = env.step(env.action_space.sample())[0]
    seen = decode(rows, layout.counts)["agents"]
    valid = seen[..., -1] > 0.5
    distance = np.hypot(seen[..., 0], seen[..., 1])
    centre = boxes(env)[0][0]
    own = np.hypot(*np.moveaxis(centre[:, None] - centre[None], -1, 0))
    for row in range(32):
        rest = np.sort(np.delete(own[row], row))
        expected = rest[rest < 200.0][: layout.agents]
        assert valid[row].sum() == len(expected)
        np.testing.assert_allclose(distance[row][valid[row]], expected, rtol=2e-3, atol=0.02)


# Starts


@pytest.mark.parametrize("bodies", ["random", "typed"])
def test_starts_are_on_the_road_and_clear_of_others(bodies: str) -> None:
    shapely = pytest.importorskip("shapely")
    env = make(160, agents_per_world=32, bodies=bodies, horizon=30.0)
    edges = np.unique(env.engine.grid.edge, axis=0).astype(np.float64)
    tree = shapely.STRtree(shapely.linestrings(edges.reshape(-1, 2, 2)))
    starts = 0
    fresh = np.ones((5, 32), bool)
    for _ in range(60):
        starts += check_starts(env, fresh, tree)
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        fresh = (terminated | truncated).reshape(5, 32)
    assert starts > 500


def check_starts(env: DrivingVectorEnv, fresh: NDArray[np.bool_], tree: Any) -> int:
    """Asserts that the fresh bodies overlap no other and no edge of the road; counts them."""
    import shapely

    centre, heading, half, z = boxes(env)
    there = env.engine.agents.status != ABSENT
    fresh = fresh & there
    for world, agent in zip(*np.nonzero(fresh), strict=True):
        near = np.hypot(*(centre[world] - centre[world, agent]).T) < 15.0
        near &= there[world] & (np.abs(z[world] - z[world, agent]) < 2.5)
        for other in np.flatnonzero(near):
            if other == agent:
                continue
            pair = [agent, other]
            space = gap(centre[world][pair], heading[world][pair], half[world][pair])
            assert space > 0.0, (world, agent, other)
        forward = heading[world, agent] * half[world, agent, 0]
        left = heading[world, agent] @ np.array([[0.0, 1.0], [-1.0, 0.0]]) * half[world, agent, 1]
        corners = centre[world, agent] + [
            forward + left,
            forward - left,
            -forward - left,
            -forward + left,
        ]
        assert len(tree.query(shapely.Polygon(corners), predicate="intersects")) == 0
    assert not (env.engine.agents.contact[fresh]).any()
    return int(fresh.sum())


# Memory and limits


def test_there_is_one_copy_of_a_map_however_many_worlds() -> None:
    def static(num_worlds: int) -> tuple[int, int]:
        env = make(num_worlds, agents_per_world=1, map=["riverside", "hillcrest"])
        engine = env.engine
        fixed = sum(
            array.nbytes
            for struct in (engine.lanes, engine.routes, engine.grid, engine.signs)
            for array in struct
        )
        return fixed, sum(array.nbytes for array in engine.agents)

    one, many = static(1), static(500)
    assert one[0] == many[0]
    assert many[1] == 500 * one[1]


def test_environments_in_one_process_do_not_disturb_each_other() -> None:
    def run(*envs: DrivingVectorEnv) -> list[Any]:
        for env in envs:
            env.reset(seed=3)
            env.action_space.seed(3)
        return [[env.step(env.action_space.sample())[0] for env in envs] for _ in range(20)]

    alone = run(make(8))
    both = run(make(8), make(12, map="hillcrest", layout="full", agents_per_world=6, dt=0.1))
    for one, two in zip(alone, both, strict=True):
        np.testing.assert_array_equal(one[0], two[0])


@pytest.mark.parametrize("agents", [1, 3, 67, 151])
def test_any_number_of_agents_drives(agents: int) -> None:
    env = make(2 * agents, agents_per_world=agents)
    for _ in range(5):
        observation, *_, infos = env.step(env.action_space.sample())
    assert observation.shape[0] == 2 * agents
    assert infos["valid"].mean() > 0.95


def test_any_number_of_slots_is_filled() -> None:
    env = make(151, layout={"agents": 149, "lane_points": 333, "boundary_points": 1})
    observation = env.step(env.action_space.sample())[0]
    lanes, neighbours = (env.layout.group(observation, one) for one in ("lane_points", "agents"))
    assert lanes.shape[2] == 333 and neighbours.shape[2] == 149
    assert (lanes[:, -1] > 0.5).sum(1).max() > 100
    assert (neighbours[:, -1] > 0.5).sum(1).max() > 20


# Angles


def test_headings_are_radians_and_unit_vectors() -> None:
    env = make(64, agents_per_world=16, **HARMLESS)
    for _ in range(200):
        observation = env.step(env.action_space.sample())[0]
    agents = env.engine.agents
    np.testing.assert_allclose(np.hypot(agents.cos, agents.sin), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.hypot(agents.angle_cos, agents.angle_sin), 1.0, atol=1e-5)
    lane = env.engine.lanes.segment[agents.segment.ravel()].astype(np.float64)
    angle = np.arctan2(agents.sin, agents.cos).ravel() - np.arctan2(
        lane[:, SEG_SIN], lane[:, SEG_COS]
    )
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    away = np.abs(np.abs(angle) - np.pi) < 1e-3  # -pi and pi are one
    shown = decode(observation, env.layout.counts)["ego"][:, 0, 1]
    np.testing.assert_allclose(shown[~away], angle[~away], atol=1e-3)
    assert np.ptp(angle) > np.pi


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    env = make(2, **HARMLESS)
    segment = straight(env)
    put(env, 0, segment, along=20.0, turn=np.pi / 2)
    put(env, 1, segment, along=60.0, turn=-np.pi / 4)
    observation = env.step(np.full(2, COAST))[0]
    shown = decode(observation, env.layout.counts)["ego"][:, 0, 1]
    np.testing.assert_allclose(shown, [np.pi / 2, -np.pi / 4], atol=3e-3)


# Caches


def test_compiled_code_is_found_by_all_its_sources() -> None:
    """A stage that was edited must not run as it was: every module with kernels counts."""
    from pathlib import Path

    import selfdrive_env.compiler.cache as cache
    from selfdrive_env.images import raster
    from selfdrive_env.images.scenery import baking
    from selfdrive_env.policies import deep_sets
    from selfdrive_env.scenes import experts
    from selfdrive_env.training.gradients import kernels

    package = Path(cache.__file__).parents[1]
    with_kernels = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "\n@njit" in path.read_text() and "maps" not in path.parts
    }
    sources = {*deep_sets.SOURCES, *kernels.SOURCES, *experts.SOURCES}
    own = {place for place in with_kernels if place in sources}
    assert own == {
        *("policies/deep_sets.py", "training/gradients/kernels.py", "scenes/experts.py"),
    }
    others = with_kernels - own
    assert {place for place in others if place.startswith("images/")} == {
        *("images/raster.py", "images/scenery/baking.py"),
    }
    assert "images/scenery" in baking.SOURCES
    assert "images" in raster.SOURCES
    assert {place.split("/")[0] for place in others} <= {*cache._SOURCES, "images"}
