"""The view from above: against shapely, turned worlds, levels, and what must not show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.images import BirdsEye
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.images.codes import class_of_codes
from selfdrive_env.images.views import plans_of
from selfdrive_env.maps import RoadNetwork, compiled
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.state.images import Code, GroundClass
from selfdrive_env.state.world import ABSENT, EXTERNAL
from tests.kernels.conftest import PLAIN, no_jerk, skew_crossing
from tests.maps.conftest import strip
from tests.reference.images import commonest, ground_shares, near_edge, overlay

VEHICLE, EGO, ROUTE = int(Code.VEHICLE), int(Code.EGO), int(Code.ROUTE)


def build(maps: Any, agents: int = 8, seed: int = 0, **settings: Any) -> Engine:
    view = {"kind": "bev", **settings.pop("view", {})}
    keywords = {**PLAIN, "agents_per_world": agents, "observation": view, **settings}
    chosen = Settings.from_keywords(keywords)
    driver = np.full(agents, EXTERNAL, np.uint8)
    learner = np.ones(agents, np.uint8)
    engine = Engine(chosen, maps, 1, driver, learner, views=plans_of(chosen, agents, agents))
    engine.seed(seed)
    engine.reset(np.ones((1, agents), np.uint8), np.ones(1, np.uint8), staggered=True)
    return engine


def frame(engine: Engine, agent: int = 0) -> Any:
    view = engine.views["bev"]
    code = view.frames.code[agent, view.frames.newest[agent]]
    return code.reshape(view.picture.height, view.picture.width)


def redraw(engine: Engine) -> None:
    """Draws the present state again: a reset of nobody."""
    engine.reset(np.zeros((1, engine.num_slots), np.uint8), np.zeros(1, np.uint8), staggered=False)


def put(engine: Engine, agent: int, **fields: float) -> None:
    for name, value in fields.items():
        getattr(engine.agents, name)[0, agent] = value


def classes_of(code: Any) -> Any:
    """Class of the ground, or the code of what lies over it, in each pixel."""
    return np.where(code < Code.ROUTE, class_of_codes()[code], code).astype(int)


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("riverside", {}),
        ("hillcrest", {"size": 96, "span": 40.0, "offset": [8.0, 3.0]}),
        ("riverside", {"size": [60, 90], "span": 120.0, "heading_up": False}),
    ],
)
def test_frames_are_those_of_a_supersampled_drawing(name: str, view: dict[str, Any]) -> None:
    engine = build([compiled(name)], view=view, bodies="typed")
    picture = engine.views["bev"].picture
    assert isinstance(picture, BirdsEye)
    same = []
    for agent in range(2):  # of thousands of pixels each
        found = classes_of(frame(engine, agent))
        over = overlay(engine, picture, agent)
        ground = ground_shares(engine, picture, agent)
        wanted = np.where(over >= 0, over, commonest(ground))
        same.append(found == wanted)
        assert near_edge(wanted, ground, found)[~same[-1]].all()
    assert np.mean(same) > 0.99


def test_the_ground_is_the_drivable_surface() -> None:
    engine = build([compiled("riverside")], agents=4)
    from selfdrive_env.rendering.ground import _asphalt
    from tests.reference.images import pixel_points

    picture = engine.views["bev"].picture
    assert isinstance(picture, BirdsEye)
    agreed = []
    for agent in range(4):
        x, y = pixel_points(engine, picture, agent)[:, 0, :, 0].reshape(-1, 2).T
        on_road = np.array(
            [_asphalt(engine.grid, 0, x[[k]], y[[k]])[0, 0] for k in range(0, len(x), 7)]
        )
        code = frame(engine, agent).ravel()[::7]
        known = code < Code.ROUTE
        agreed += ((class_of_codes()[code] > 0) == on_road)[known].tolist()
    assert np.mean(agreed) > 0.985  # pixels that the edge cuts apart


def turned_map(turn: float) -> Any:
    def points(*listed: tuple[float, float]) -> Any:
        plane = np.array([(x, y) for x, y in listed], float)
        cos, sin = math.cos(turn), math.sin(turn)
        plane = plane @ np.array([(cos, sin), (-sin, cos)])
        return np.column_stack([plane, np.zeros(len(plane))]).tolist()

    lanes = [
        strip("east", points((0, 0), (400, 0)), 3.5),
        strip("west", points((400, 3.5), (0, 3.5)), 3.5),
    ]
    return compile_map(RoadNetwork("turned", lanes))


@pytest.mark.parametrize("turn", [0.3, 1.9, -2.4])
def test_turning_the_world_leaves_pictures_as_they_are_but_for_interpolation(turn: float) -> None:
    drawn = []
    for angle in (0.0, turn):
        engine = build([turned_map(angle)], agents=2, first_goal=None)
        cos, sin = math.cos(angle), math.sin(angle)
        engine.agents.status[0, :] = 1
        segment = engine.lanes.segment
        for agent, (x, y) in enumerate(((150.0, 0.2), (170.0, -0.5))):
            wx, wy = x * cos - y * sin, x * sin + y * cos
            nearest = int(np.argmin(np.hypot(segment[:, 0] - wx, segment[:, 1] - wy)))
            wheel = 0.5 * float(engine.bodies.wheelbase[0, 0])
            put(engine, agent, x=wx - wheel * cos, y=wy - wheel * sin, cos=cos, sin=sin,
                segment=nearest)  # fmt: skip
        engine.bodies.length[0], engine.bodies.width[0] = 4.5, 2.0
        engine.bodies.wheelbase[0] = engine.bodies.wheelbase[0, 0]
        engine.bodies.type[0] = 0
        engine.bodies.num_goals[0] = 0
        redraw(engine)
        drawn.append(classes_of(frame(engine)))
    differs = drawn[0] != drawn[1]
    assert differs.mean() < 0.02
    assert near_edge(drawn[0], None, drawn[1])[differs].all()


def test_nothing_shows_that_is_not_drawn() -> None:
    """Who is out of view, speeds, drivers, weights and the goals of others leave no trace."""
    engine = build([compiled("riverside")], agents=6, view={"span": 30.0, "offset": [0.0, 0.0]})
    before = frame(engine).copy()
    agents, bodies = engine.agents, engine.bodies
    for name in ("speed", "acceleration", "lateral_acceleration", "steering"):
        getattr(agents, name)[:] = 1.5
    agents.standing_time[:] = 9.0
    bodies.driver[0, 1:] = 2
    bodies.speed_scale[:] = 1.3
    engine.worlds.clock[:] = 77
    bodies.goal_x[0, 1:] += 4.0
    far = np.hypot(agents.x[0] - agents.x[0, 0], agents.y[0] - agents.y[0, 0]) > 40.0
    assert far.any()
    agents.x[0, far] += 3.0
    agents.status[0, np.flatnonzero(far)[0]] = ABSENT
    redraw(engine)
    np.testing.assert_array_equal(frame(engine), before)


def test_a_body_in_view_shows_where_it_heads() -> None:
    engine = build([turned_map(0.0)], agents=2, view={"size": 64, "span": 32.0, "offset": [0, 0]})
    engine.agents.status[0] = 1
    engine.bodies.length[0], engine.bodies.width[0], engine.bodies.wheelbase[0] = 4.0, 2.0, 0.0
    engine.bodies.num_goals[0], engine.bodies.type[0] = 0, 0
    put(engine, 0, x=100.0, y=0.0, cos=1.0, sin=0.0)
    put(engine, 1, x=108.0, y=0.0, cos=-1.0, sin=0.0)
    redraw(engine)
    code = frame(engine)
    rows, columns = np.nonzero((code == Code.VEHICLE) | (code == Code.VEHICLE_FRONT))
    # Half a metre a pixel: 8 m ahead are 16 pixels above the middle of the picture.
    assert (rows.min(), rows.max()) == (12, 19)
    assert (columns.min(), columns.max()) == (30, 33)
    assert np.nonzero(code == Code.VEHICLE_FRONT)[0].min() == 17  # it comes towards the ego
    rows, columns = np.nonzero((code == Code.EGO) | (code == Code.EGO_FRONT))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (28, 35, 30, 33)


def test_the_level_of_the_ego_lies_over_others() -> None:
    engine = build([skew_crossing(6.0)], agents=2, view={"size": 64, "span": 32.0,
                                                         "offset": [0, 0]})  # fmt: skip
    engine.bodies.length[0], engine.bodies.width[0], engine.bodies.wheelbase[0] = 4.0, 2.0, 0.0
    engine.bodies.num_goals[0], engine.bodies.type[0] = 0, 0
    engine.agents.status[0] = 1
    segment, lane = engine.lanes.segment, engine.lanes.segment_lane
    near = {
        one: int(np.argmin(np.hypot(segment[:, 0], segment[:, 1]) + 1e6 * (lane != one)))
        for one in (0, 1)
    }
    heights = {one: float(segment[index, 8]) for one, index in near.items()}
    low, high = sorted((0, 1), key=lambda one: heights[one])
    assert heights[high] - heights[low] > 4.0
    shown = {}
    for ego, other in ((low, high), (high, low)):
        for agent, one in ((0, ego), (1, other)):
            cos, sin = segment[near[one], 2], segment[near[one], 3]
            put(engine, agent, x=8.0 * cos * (agent == 0), y=8.0 * sin * (agent == 0), cos=cos,
                sin=sin, z=heights[one], segment=near[one])  # fmt: skip
        redraw(engine)
        shown[ego] = frame(engine).copy()
    for ego in (low, high):
        assert not (shown[ego] == VEHICLE).any()  # below or above the own road
    put(engine, 1, z=heights[high])
    put(engine, 1, segment=near[high])
    redraw(engine)
    assert (frame(engine) == VEHICLE).any()


def test_a_light_shows_its_colour_on_its_line() -> None:
    engine = build([compiled("riverside")], agents=1, lights_off=0.0, light_removal=0.0,
                   view={"size": 48, "span": 24.0, "offset": [0, 0]})  # fmt: skip
    lines = engine.signs.line
    engine.agents.status[0] = 1
    x, y, cos, sin = lines[0, :4]
    put(engine, 0, x=x - 6.0 * cos, y=y - 6.0 * sin, cos=cos, sin=sin)
    engine.bodies.num_goals[0] = 0
    for colour in range(1, 5):
        engine.lights.line_colour[0, 0] = colour
        redraw(engine)
        assert (frame(engine) == Code.GREEN + colour - 1).any()
    engine.lights.line_colour[0, 0] = 0
    redraw(engine)
    code = frame(engine)
    assert not ((code >= Code.GREEN) & (code <= Code.STOP_SIGN)).any()
    assert (class_of_codes()[code[code < Code.ROUTE]] == GroundClass.STOP_LINE).any()


def test_a_step_draws_what_a_reset_draws() -> None:
    engine = build([compiled("riverside")], agents=4)
    for _ in range(3):
        engine.step(no_jerk(engine))
        stepped = engine.views["bev"].frames.code.copy()
        redraw(engine)
        np.testing.assert_array_equal(engine.views["bev"].frames.code, stepped)
