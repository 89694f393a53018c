"""Pictures of a small crossing: what is drawn where, and films that can be read back."""

from __future__ import annotations

import builtins
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.maps import BUILT_IN, load
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map
from selfdrive_env.maps.compile.paint import pieces_of
from selfdrive_env.maps.compile.routes import route_points
from selfdrive_env.maps.pool.map_pool import pool
from selfdrive_env.rendering import Observed, Painter, Scene, Trails, between, kept, write_video
from selfdrive_env.rendering.palette import (
    ASPHALT,
    CYCLIST,
    EDGE,
    EGO,
    GLASS,
    GRASS,
    GREY,
    LEARNER,
    LIGHT_COLOURS,
    OBSERVED,
    OBSERVED_EDGE,
    PAINT,
    SCRIPTED,
    SIGN_RED,
    SIGN_RIM,
    WALKER,
)
from selfdrive_env.state.arrays import U8
from selfdrive_env.state.road import (
    CROSSWALK,
    GIVE_WAY,
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_Y,
    SEG_COS,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
)
from selfdrive_env.state.world import (
    ABSENT,
    EXTERNAL,
    GREEN,
    HALTED,
    IDM,
    NO_LIGHT,
    PRESENT,
    RED,
    STOP_SIGN,
    YELLOW,
)

SIZE = 256

TYPES = list(BODY_TYPES)


@pytest.fixture(scope="module")
def town() -> CompiledMap:
    return compile_map(load("riverside"))


@pytest.fixture(scope="module")
def painter(town: CompiledMap) -> Painter:
    return Painter(town.lanes, town.grid, town.signs, [town.paint])


@pytest.fixture
def scene(town: CompiledMap) -> Scene:
    """One car in the middle of the grass, far from any road, heading east."""
    low = town.lanes.segment[:, [SEG_X, SEG_Y]].min(0)
    return make_scene(town, [(*(low - 200.0), 0.0)])


def make_scene(town: CompiledMap, poses: list[tuple[float, float, float]]) -> Scene:
    """Cars at (x, y, heading) of their rear axles, the first one the ego."""
    x, y, heading = np.array(poses, np.float32).T
    num = len(poses)
    return Scene(
        x=x,
        y=y,
        cos=np.cos(heading),
        sin=np.sin(heading),
        speed=np.full(num, 10.0, np.float32),
        length=np.full(num, 4.5, np.float32),
        width=np.full(num, 2.0, np.float32),
        wheelbase=np.full(num, 2.7, np.float32),
        type=np.full(num, TYPES.index("car"), np.uint8),
        driver=np.full(num, EXTERNAL, np.uint8),
        learner=np.ones(num, np.uint8),
        status=np.full(num, PRESENT, np.uint8),
        line_colour=np.full(len(town.signs.line), NO_LIGHT, np.uint8),
    )


def count(picture: U8, colour: tuple[int, ...], tolerance: int = 12) -> int:
    """Pixels of a colour."""
    return len(where(picture, colour, tolerance))


def where(picture: U8, colour: tuple[int, ...], tolerance: int = 12) -> np.ndarray:
    """Column and row of the pixels of a colour, [N, 2]."""
    close = np.abs(picture.astype(int) - colour).max(axis=2) <= tolerance
    return np.argwhere(close)[:, ::-1]


def test_a_picture_is_uint8_rgb_of_the_size_asked_for(painter: Painter, scene: Scene) -> None:
    for size in (64, 255, 512):
        picture = painter.draw(scene, size=size)
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous


def test_drawing_twice_gives_the_same_bytes_in_memory_of_its_own(
    painter: Painter, scene: Scene
) -> None:
    first = painter.draw(scene, size=SIZE)
    kept = first.copy()
    second = painter.draw(scene, size=SIZE)
    assert not np.shares_memory(first, second)
    assert np.array_equal(second, kept)


@pytest.mark.parametrize("heading", [0.0, 0.5, 1.5707964, 3.0, -2.0])
def test_the_ego_lies_in_the_middle_along_its_heading(
    town: CompiledMap, painter: Painter, scene: Scene, heading: float
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    picture = painter.draw(make_scene(town, [(x, y, heading)]), size=SIZE, span=16.0)
    pixels = where(picture, EGO)
    metres = (pixels - (SIZE - 1) / 2) * (16.0 / SIZE) * (1.0, -1.0)
    direction = np.array([np.cos(heading), np.sin(heading)])
    along, across = metres @ direction, metres @ (-direction[1], direction[0])

    assert np.ptp(along) == pytest.approx(4.5, abs=0.35)
    assert np.ptp(across) == pytest.approx(2.0, abs=0.35)
    assert (along.max() + along.min()) / 2 == pytest.approx(0.0, abs=0.15)
    assert (across.max() + across.min()) / 2 == pytest.approx(0.0, abs=0.15)


@pytest.mark.parametrize("heading", [0.0, 2.2])
def test_the_windscreen_lies_ahead_of_the_middle(
    town: CompiledMap, painter: Painter, scene: Scene, heading: float
) -> None:
    pose = (float(scene.x[0]), float(scene.y[0]), heading)
    picture = painter.draw(
        make_scene(town, [pose])._replace(speed=np.zeros(1)), size=SIZE, span=16.0
    )
    middle = slice(SIZE // 2 - 40, SIZE // 2 + 40)
    glass = where(picture[middle, middle], GLASS, 3)
    ahead = (glass - 39.5) @ (np.cos(heading), -np.sin(heading))
    # The outline is dark too, but lies evenly around the middle.
    assert ahead.mean() > 3.0


def test_the_box_lies_half_a_wheelbase_ahead_of_the_rear_axle(
    town: CompiledMap, painter: Painter, scene: Scene
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    picture = painter.draw(scene, size=SIZE, span=16.0, centre=(x, y))
    column = where(picture, EGO)[:, 0]
    middle = (column.max() + column.min()) / 2
    assert (middle - (SIZE - 1) / 2) * 16.0 / SIZE == pytest.approx(2.7 / 2, abs=0.15)


def test_each_kind_of_agent_has_its_colour(
    town: CompiledMap, painter: Painter, scene: Scene
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    world = make_scene(town, [(x, y + 7.0 * k, 0.0) for k in range(7)])
    names = ("car", "car", "van", "bicycle", "pedestrian", "car", "car")
    world = world._replace(
        length=np.array([4.5, 4.5, 4.5, 1.8, 0.6, 4.5, 4.5], np.float32),
        width=np.array([2.0, 2.0, 2.0, 0.7, 0.6, 2.0, 2.0], np.float32),
        type=np.array([TYPES.index(name) for name in names], np.uint8),
        learner=np.array([1, 1, 0, 0, 0, 0, 1], np.uint8),
        driver=np.array([EXTERNAL, EXTERNAL, IDM, IDM, IDM, IDM, EXTERNAL], np.uint8),
        status=np.array([PRESENT] * 5 + [HALTED, ABSENT], np.uint8),
    )
    picture = painter.draw(world, size=512, span=100.0)
    rows = [256 - round(7.0 * k * 5.12) for k in range(7)]
    bands = [picture[row - 15 : row + 15] for row in rows]
    colours = (EGO, LEARNER, SCRIPTED, CYCLIST, WALKER, GREY)
    for band, colour in zip(bands, colours, strict=False):
        # Where two colours meet their mean may look like a third: the most frequent one counts.
        assert max(colours, key=lambda c: count(band, c)) == colour
    assert (bands[6] == GRASS).all()


def test_the_ego_is_drawn_over_the_others(
    town: CompiledMap, painter: Painter, scene: Scene
) -> None:
    pose = (float(scene.x[0]), float(scene.y[0]), 0.0)
    world = make_scene(town, [pose, pose])
    assert count(painter.draw(world, size=SIZE, span=30.0), EGO) > 300
    assert count(painter.draw(world, size=SIZE, span=30.0), LEARNER) == 0
    assert count(painter.draw(world._replace(focus=1), size=SIZE, span=30.0), EGO) > 300


def test_lanes_are_asphalt_and_the_rest_is_grass(town: CompiledMap, painter: Painter) -> None:
    points = town.lanes.segment[:: len(town.lanes.segment) // 40]
    world = make_scene(town, [(0.0, 0.0, 0.0)])._replace(status=np.zeros(1, np.uint8), focus=-1)
    on_road = 0
    for x, y, cos, sin in points[:, [SEG_X, SEG_Y, SEG_COS, SEG_SIN]].tolist():
        # A metre beside the centre line: clear of arrows and of the lines between lanes.
        picture = painter.draw(world, size=64, span=16.0, centre=(x - sin, y + cos))
        on_road += int(np.abs(picture[31:33, 31:33].astype(int) - ASPHALT).max() <= 30)
        assert not (picture[31:33, 31:33] == GRASS).all()
    assert on_road >= 0.85 * len(points)

    corner = town.lanes.segment[:, [SEG_X, SEG_Y]].max(0) + 300.0
    assert (painter.draw(world, size=64, centre=tuple(corner.tolist())) == GRASS).all()


def test_the_whole_map_is_shown_without_a_span(town: CompiledMap, painter: Painter) -> None:
    world = make_scene(town, [(0.0, 0.0, 0.0)])
    picture = painter.draw(
        world._replace(status=np.zeros(1, np.uint8), speed=np.zeros(1)), size=512, span=None
    )
    road = where(picture[:470], ASPHALT, 40)
    segment = town.lanes.segment
    extent = np.ptp(segment[:, [SEG_X, SEG_Y]], axis=0)
    shown = np.ptp(road, axis=0)
    assert shown.max() > 460
    assert shown[1] / shown[0] == pytest.approx(extent[1] / extent[0], rel=0.05)
    assert (picture[0] == GRASS).all()
    assert (picture[:, [0, -1]] == GRASS).all()


@pytest.mark.parametrize("colour", [RED, YELLOW, GREEN])
def test_lights_show_their_colour_at_their_line_only(
    town: CompiledMap, painter: Painter, colour: int
) -> None:
    lines = town.signs.line
    line = int(np.flatnonzero(town.signs.line_group >= 0)[0])
    colours = np.full(len(lines), NO_LIGHT, np.uint8)
    colours[line] = colour
    x, y, cos, sin = lines[line, [LINE_X, LINE_Y, LINE_COS, LINE_SIN]].tolist()
    world = make_scene(town, [(x, y, 0.0)])._replace(focus=-1, status=np.zeros(1, np.uint8))
    picture = painter.draw(world._replace(line_colour=colours), size=SIZE, span=32.0, centre=(x, y))
    assert count(picture[124:132, 124:132], LIGHT_COLOURS[colour]) > 8
    for other in {RED, YELLOW, GREEN} - {colour}:
        assert count(picture, LIGHT_COLOURS[other]) == 0

    metres = (where(picture, LIGHT_COLOURS[colour]) - 127.5) / 8.0 * (1.0, -1.0)
    along, across = metres @ (cos, sin), metres @ (-sin, cos)
    near = across > -1.0
    assert np.abs(along[near]).max() < 0.6
    # The light itself stands to the right of the line, where the driver looks for it.
    assert across.min() < -2.0
    dark = painter.draw(world, size=SIZE, span=32.0, centre=(x, y))
    assert count(dark, LIGHT_COLOURS[colour]) == 0


def test_lights_stand_at_the_kerb_where_traffic_keeps_left() -> None:
    town = compile_map(load("riverside").mirrored())
    line = town.signs.line[np.flatnonzero(town.signs.line_group >= 0)[0]]
    x, y, cos, sin = line[[LINE_X, LINE_Y, LINE_COS, LINE_SIN]].tolist()
    world = make_scene(town, [(x, y, 0.0)])._replace(focus=-1, status=np.zeros(1, np.uint8))
    world.line_colour[:] = RED
    painter = Painter(town.lanes, town.grid, town.signs)
    picture = painter.draw(world, size=SIZE, span=16.0, centre=(x, y))
    metres = (where(picture, LIGHT_COLOURS[RED]) - 127.5) / 16.0 * (1.0, -1.0)
    across = metres @ (-sin, cos)
    assert across.max() > 2.0
    assert across.max() > -across.min() + 1.0


def test_the_route_and_the_goals_are_shown(
    town: CompiledMap, painter: Painter, scene: Scene
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    route = np.array([[x, y], [x + 30.0, y]], np.float32)
    goals = np.array([[x + 30.0, y, 8.0]], np.float32)
    plain = painter.draw(scene, size=SIZE, span=100.0)
    with_route = painter.draw(scene._replace(route=route), size=SIZE, span=100.0)
    with_goals = painter.draw(scene._replace(goals=goals), size=SIZE, span=100.0)

    changed = np.argwhere((with_route != plain).any(2))
    assert np.ptp(changed[:, 1]) > 50
    assert np.ptp(changed[:, 0]) < 6
    changed = np.argwhere((with_goals != plain).any(2))
    assert np.ptp(changed, axis=0) * 100.0 / SIZE == pytest.approx([16.0, 16.0], abs=1.2)


def test_what_the_ego_observes_is_marked_on_request(painter: Painter, scene: Scene) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    empty = np.zeros((0, 2), np.float32)
    observed = Observed(
        lane_points=np.array([[x + 10.0, y, 1.0, 0.0]], np.float32),
        boundary_points=np.array([[x - 10.0, y]], np.float32),
        stop_lines=empty,
        agents=np.array([[x, y + 12.0]], np.float32),
        route=np.array([[x + 5.0, y + 5.0]], np.float32),
    )
    bare = painter.draw(
        scene._replace(observed=observed._replace(route=empty)), size=SIZE, span=40.0,
        show_observed=True,
    )  # fmt: skip
    scene = scene._replace(observed=observed)
    picture = painter.draw(scene, size=SIZE, span=40.0, show_observed=True)
    assert count(picture, OBSERVED, 40) > 20
    assert count(picture, OBSERVED_EDGE, 40) > 4
    changed = np.argwhere((picture != bare).any(2))
    assert 4 < np.ptp(changed[:, 0]) < 0.1 * SIZE and 4 < np.ptp(changed[:, 1]) < 0.1 * SIZE
    hidden = painter.draw(scene, size=SIZE, span=40.0)
    assert count(hidden, OBSERVED, 40) == count(hidden, OBSERVED_EDGE, 40) == 0


def test_speed_and_time_are_written_into_the_corner(painter: Painter, scene: Scene) -> None:
    slow = painter.draw(scene._replace(speed=np.array([1.0])), size=SIZE)
    fast = painter.draw(scene._replace(speed=np.array([20.0]), time=3.5), size=SIZE)
    changed = np.argwhere((slow != fast).any(2))
    assert len(changed) > 0
    assert changed[:, 0].min() > 0.8 * SIZE


def test_without_a_label_a_picture_tells_neither_speed_nor_time(
    painter: Painter, scene: Scene
) -> None:
    plain = painter.draw(scene, size=84, label=False)
    later = scene._replace(time=99.0, speed=np.array([20.0], np.float32))
    assert np.array_equal(painter.draw(later, size=84, label=False), plain)
    assert not np.array_equal(painter.draw(later, size=84), plain)


@functools.cache
def town_of(name: str) -> CompiledMap:
    """A built-in town that no test changes."""
    return compile_map(load(name))


BY_NIGHT = {"hillcrest", "harbour"}
"""Towns that only --full looks at in large pictures."""


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=[pytest.mark.full] * (size > 84 and name in BY_NIGHT))
        for name in BUILT_IN
        for size in (84, 512)
    ],
)
def test_crosswalks_and_lines_to_give_way_at_are_painted(name: str, size: int) -> None:
    town = town_of(name)
    nobody = make_scene(town, [(0.0, 0.0, 0.0)])._replace(focus=-1, status=np.zeros(1, np.uint8))
    bare = Painter(town.lanes, town.grid, town.signs)
    painted = Painter(town.lanes, town.grid, town.signs, [town.paint])
    for kind, least in ((CROSSWALK, 20), (GIVE_WAY, 4)):
        for piece in pieces_of(town.paint, kind)[:4]:
            place = tuple(piece.mean(0).tolist())
            pictures = [p.draw(nobody, size=size, span=40.0, centre=place) for p in (bare, painted)]
            middle = slice(size // 4, -size // 4)
            dark, light = (count(p[middle, middle], PAINT, 40) for p in pictures)
            assert light - dark > least * (size / 84) ** 2


@pytest.mark.parametrize("size", [84, 512])
def test_a_stop_sign_and_a_light_are_seen_and_told_apart(town: CompiledMap, size: int) -> None:
    """At the default span: each colour of a light, and the sign, red within white."""
    painter = Painter(town.lanes, town.grid, town.signs)
    signs = town.signs.line_group < 0
    shown = {}
    for colour in (RED, YELLOW, GREEN, STOP_SIGN):
        line = int(np.flatnonzero(signs == (colour == STOP_SIGN))[0])
        colours = np.full(len(signs), NO_LIGHT, np.uint8)
        colours[line] = colour
        x, y, cos, sin = town.signs.line[line, [LINE_X, LINE_Y, LINE_COS, LINE_SIN]].tolist()
        nobody = make_scene(town, [(x, y, 0.0)])._replace(focus=-1, status=np.zeros(1, np.uint8))
        # What stands at the kerb, six metres to the right, in the middle.
        centre = x + 4.0 * sin, y - 4.0 * cos
        at = painter.draw(nobody._replace(line_colour=colours), size=size, span=80.0, centre=centre)
        part = at[(size - size // 8) // 2 : (size + size // 8) // 2]
        part = part[:, (size - size // 8) // 2 : (size + size // 8) // 2]
        fill = SIGN_RED if colour == STOP_SIGN else LIGHT_COLOURS[colour]
        assert count(part, fill, 30) >= {84: 4, 512: 50}[size]
        shown[colour] = count(part, SIGN_RIM, 25)
    assert shown[STOP_SIGN] >= shown[RED] + 3


def test_heading_up_the_picture_turns_with_the_ego(
    town: CompiledMap, painter: Painter, scene: Scene
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    for heading in (0.0, 1.1, 2.9, -2.0):
        cos, sin = np.cos(heading), np.sin(heading)
        # A learner 12 m ahead and 5 m to the left of the ego.
        other = (x + 12.0 * cos - 5.0 * sin, y + 12.0 * sin + 5.0 * cos, heading)
        world = make_scene(town, [(x, y, heading), other])
        picture = painter.draw(world, size=512, span=40.0, heading_up=True)
        ego = (where(picture, EGO) - 255.5) * 40.0 / 512
        assert ego.mean(0) == pytest.approx([0.0, 0.0], abs=0.4)
        assert np.ptp(ego, axis=0) == pytest.approx([2.0, 4.5], abs=0.5)
        place = (where(picture, LEARNER) - 255.5).mean(0) * 40.0 / 512
        assert place == pytest.approx([-5.0, -12.0], abs=0.4)
        assert not (picture == 0).all(axis=2).any(), "corners that nothing was drawn on"


def test_heading_north_both_ways_up_are_one(town: CompiledMap, painter: Painter) -> None:
    x, y = town.lanes.segment[50, [SEG_X, SEG_Y]].tolist()
    world = make_scene(town, [(x, y, 0.5 * np.pi)])
    north = painter.draw(world, size=SIZE, span=60.0, label=False).astype(int)
    up = painter.draw(world, size=SIZE, span=60.0, label=False, heading_up=True)
    assert np.abs(north - up).mean() < 3.0
    east = painter.draw(make_scene(town, [(x, y, 0.0)]), size=SIZE, span=60.0, label=False)
    assert np.abs(north - east).mean() > 3.0 or np.abs(np.rot90(east) - north).mean() > 3.0


def test_without_an_ego_north_stays_up(painter: Painter, scene: Scene) -> None:
    nobody = scene._replace(focus=-1)
    pictures = [painter.draw(nobody, size=64, heading_up=turn) for turn in (False, True)]
    assert np.array_equal(*pictures)


def test_trails_fade_and_end_where_nobody_was(
    town: CompiledMap, painter: Painter, scene: Scene
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    trail = np.stack([x - np.linspace(30.0, 0.0, 31), np.full(31, y)], 1)[None]
    plain = painter.draw(scene, size=SIZE, span=80.0, label=False).astype(int)
    picture = painter.draw(scene._replace(trails=trail), size=SIZE, span=80.0, label=False)
    strength = np.abs(picture - plain).sum((0, 2))  # along x
    assert strength[40:110].min() > 0
    assert strength[100] > 1.5 * strength[60] > 0
    assert strength[:25].max() == strength[140:].max() == 0
    trail[0, :15] = np.nan
    picture = painter.draw(scene._replace(trails=trail), size=SIZE, span=80.0, label=False)
    assert np.abs(picture - plain).sum((0, 2))[:75].max() == 0


def test_headings_point_to_where_a_body_will_be(painter: Painter, scene: Scene) -> None:
    plain = painter.draw(scene, size=SIZE, span=80.0, label=False)
    picture = painter.draw(scene, size=SIZE, span=80.0, label=False, show_headings=True)
    changed = np.argwhere((picture != plain).any(2))[:, ::-1]
    metres = (changed - 127.5) * 80.0 / SIZE
    assert metres[:, 0].max() == pytest.approx(4.5 / 2 + 10.0, abs=0.6)
    assert np.abs(metres[:, 1]).max() < 1.5
    still = scene._replace(speed=np.zeros(1, np.float32))
    pictures = [
        painter.draw(still, size=SIZE, show_headings=on, label=False) for on in (True, False)
    ]
    assert np.array_equal(*pictures)


def test_worlds_of_one_pool_are_drawn_on_their_own_map(town: CompiledMap) -> None:
    other = compile_map(load("harbour"))
    lanes, _, grid, signs = pool([town, other])
    both = Painter(lanes, grid, signs, [town.paint, other.paint])
    for index, single in enumerate((town, other)):
        x, y, cos, sin = single.lanes.segment[50, [SEG_X, SEG_Y, SEG_COS, SEG_SIN]].tolist()
        world = make_scene(single, [(x, y, float(np.arctan2(sin, cos)))])
        painter = Painter(single.lanes, single.grid, single.signs, [single.paint])
        alone = painter.draw(world, size=SIZE)
        assert np.array_equal(both.draw(world._replace(map=index), size=SIZE), alone)


def test_cut_layers_leave_no_line_across_the_road_of_a_bridge() -> None:
    town = compile_map(load("hillcrest"))
    painter = Painter(town.lanes, town.grid, town.signs)
    world = make_scene(town, [(0.0, 0.0, 0.0)])._replace(focus=-1, status=np.zeros(1, np.uint8))
    bridge = town.lanes.segment[town.lanes.segment_layer > 0]
    crossed = []
    for x, y, cos, sin in bridge[:, [SEG_X, SEG_Y, SEG_COS, SEG_SIN]].tolist():
        picture = painter.draw(world, size=32, span=4.0, centre=(x - 0.9 * sin, y + 0.9 * cos))
        crossed.append(count(picture[12:20, 12:20], EDGE, 6) > 4)
    # Each lane crosses the two sides of the road on the other level, and nothing else.
    num_lanes = len(np.unique(town.lanes.segment_lane[town.lanes.segment_layer > 0]))
    assert sum(crossed) == 2 * num_lanes


def test_a_route_leads_from_the_start_to_the_goal_over_connected_lanes(town: CompiledMap) -> None:
    lanes, routes = town.lanes, town.routes
    start = int(lanes.spawn_segment[0])
    found = 0
    for goal in lanes.spawn_segment[5::97].tolist():
        lane, s = int(lanes.segment_lane[goal]), float(lanes.segment[goal, SEG_S])
        points = route_points(lanes, routes, start, lane, s)
        assert points.shape[1] == 2
        assert np.allclose(points[0], lanes.segment[start, [SEG_X, SEG_Y]])
        if len(points) == 1:
            continue
        found += 1
        assert np.hypot(*(points[-1] - lanes.segment[goal, [SEG_X, SEG_Y]])) < 1.1
        # A change of lane is one step to the side, otherwise a step is one segment.
        assert np.hypot(*np.diff(points, axis=0).T).max() < 20.0
    assert found > 10


def test_a_goal_behind_on_the_same_lane_is_reached_the_long_way(town: CompiledMap) -> None:
    lanes = town.lanes
    closed = (lanes.junction < 0) & (town.routes.cycle < 5000.0)
    lane = int(np.argmax(np.where(closed, lanes.length, 0.0)))
    first = int(lanes.segment_first[lane])
    ahead = route_points(lanes, town.routes, first + 5, lane, 30.0)
    assert 20 <= len(ahead) <= 30
    behind = route_points(lanes, town.routes, first + 30, lane, 5.0)
    length = np.hypot(*np.diff(behind, axis=0).T).sum()
    assert length == pytest.approx(town.routes.cycle[lane] - 25.0, abs=25.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, "size must be in"),
        ({"span": 0.0}, "span must be in"),
        ({"span": float("nan")}, "span must be in"),
    ],
)
def test_wrong_options_are_named(
    painter: Painter, scene: Scene, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        painter.draw(scene, **options)  # type: ignore[arg-type]


def film(num: int, height: int = 48, width: int = 64) -> Iterator[U8]:
    """A bright square that moves to the right, a pixel a frame."""
    for k in range(num):
        frame = np.full((height, width, 3), 40, np.uint8)
        frame[10:30, k + 5 : k + 25] = (250, 120, 20)
        yield frame


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_an_animated_picture_can_be_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    write_video(film(12), path, 20)
    with Image.open(path) as image:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
        assert image.info["duration"] == 50
        assert image.info["loop"] == 0
    assert len(frames) == 12
    for frame, original in zip(frames, film(12), strict=True):
        assert np.abs(frame.astype(int) - original).max() <= 8


def test_colours_that_come_late_in_a_film_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    late = np.full((48, 64, 3), (20, 200, 60), np.uint8)
    write_video(itertools.chain(film(20), [late] * 4), path, 10)
    with Image.open(path) as image:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert np.abs(frames[-1].astype(int) - late).max() <= 8


@pytest.mark.parametrize("shape", [(48, 64), (49, 65)])
def test_an_mp4_can_be_read_back(tmp_path: Path, shape: tuple[int, int]) -> None:
    import av

    path = tmp_path / "film.mp4"
    write_video(film(12, *shape), path, 15)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate or 0) == pytest.approx(15)
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    assert len(frames) == 12
    for frame, original in zip(frames, film(12), strict=True):
        assert frame.shape == (48, 64, 3)
        assert np.abs(frame.astype(int) - original).mean() < 8.0


@pytest.mark.parametrize(
    ("make", "name", "fps", "message"),
    [
        (lambda: film(3), "film.avi", 10, r"must end in \.gif, \.png or \.mp4"),
        (lambda: film(3), "film.gif", 0, "fps must be in"),
        (lambda: film(3), "film.mp4", float("nan"), "fps must be in"),
        (lambda: [], "film.gif", 10, "at least one picture"),
        (lambda: [], "film.png", 10, "at least one picture"),
        (lambda: [], "film.mp4", 10, "at least one picture"),
        (lambda: [np.zeros((4, 4), np.uint8)], "film.gif", 10, "frame 0 must be uint8"),
        (lambda: [np.zeros((4, 4, 3))], "film.gif", 10, "frame 0 must be uint8"),
        (
            lambda: itertools.chain(film(1), film(1, 20, 40)),
            "film.mp4",
            10,
            "frame 1 is",
        ),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_no_film(
    tmp_path: Path, make: Callable[[], list[U8]], name: str, fps: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(make(), tmp_path / name, fps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("library", ["PIL", "av"])
def test_a_missing_library_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, town: CompiledMap, library: str
) -> None:
    original = builtins.__import__

    def fail(name: str, *args: object, **options: object) -> object:
        if name.split(".")[0] == library:
            raise ImportError(name)
        return original(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ImportError, match=r'pip install "selfdrive_env\[render\]"'):
        if library == "PIL":
            Painter(town.lanes, town.grid, town.signs)
        else:
            write_video(film(2), tmp_path / "film.mp4", 10)


def test_drawing_needs_no_display_and_imports_no_window_library(tmp_path: Path) -> None:
    code = """
import sys
from tests.rendering.test_rendering import make_scene
from selfdrive_env.maps import load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.rendering import Painter
town = compile_map(load("riverside"))
print(Painter(town.lanes, town.grid, town.signs).draw(make_scene(town, [(0, 0, 0)])).shape)
print(*[name for name in ("pygame", "tkinter", "matplotlib.pyplot") if name in sys.modules])
"""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=env,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["(512, 512, 3)", ""]


def test_between_two_scenes_bodies_are_on_their_way(town: CompiledMap, scene: Scene) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    before = make_scene(town, [(x, y, 3.0), (x, y + 20.0, 0.0)])
    after = make_scene(town, [(x + 2.0, y, -3.0), (x + 60.0, y + 20.0, 0.5)])
    half = between(before, after, 0.5)
    assert half.x[0] == pytest.approx(x + 1.0, abs=1e-3)
    assert np.hypot(half.cos[0], half.sin[0]) == pytest.approx(1.0, abs=1e-5)
    assert half.cos[0] < -0.99  # through the west, not all the way round
    assert half.x[1] == after.x[1]  # placed anew, not driven there
    assert np.array_equal(between(before, after, 1.0).x, after.x)


def test_a_scene_that_is_kept_does_not_change(scene: Scene) -> None:
    same = kept(scene)
    scene.x[0] += 5.0
    assert same.x[0] == scene.x[0] - 5.0


def test_ground_that_is_left_out_comes_with_later_pictures(town: CompiledMap, scene: Scene) -> None:
    middle = town.lanes.segment[len(town.lanes.segment) // 2, [SEG_X, SEG_Y]]
    at = make_scene(town, [(*middle, 0.0)])
    whole = Painter(town.lanes, town.grid, town.signs).draw(at, size=SIZE, span=60.0)
    painter = Painter(town.lanes, town.grid, town.signs)
    first = painter.draw(at, size=SIZE, span=60.0, patience=0.0)
    assert not np.array_equal(first, whole)
    for _ in range(60):
        last = painter.draw(at, size=SIZE, span=60.0, patience=0.001)
    assert np.array_equal(last, whole)


def test_ground_can_be_prepared_ahead(town: CompiledMap, scene: Scene) -> None:
    middle = town.lanes.segment[len(town.lanes.segment) // 2, [SEG_X, SEG_Y]]
    at = make_scene(town, [(*middle, 0.0)])
    painter = Painter(town.lanes, town.grid, town.signs)
    tiles = sum(1 for _ in iter(lambda: painter.prepare(at, size=SIZE, span=60.0), False))
    assert 9 <= tiles <= 36
    assert not painter.prepare(at, size=SIZE, span=60.0)


def test_the_label_can_be_left_out(painter: Painter, scene: Scene) -> None:
    corner = np.s_[-40:, :90]
    with_label = painter.draw(scene, size=SIZE)
    without = painter.draw(scene, size=SIZE, label=False)
    assert (without[corner] == GRASS).all()
    assert not (with_label[corner] == GRASS).all()


def test_a_film_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    def pictures() -> Iterator[U8]:
        yield np.zeros((32, 32, 3), np.uint8)
        raise KeyboardInterrupt

    for name in ("a.gif", "a.mp4"):
        with pytest.raises(KeyboardInterrupt):
            write_video(pictures(), tmp_path / name, 10)
    assert list(tmp_path.iterdir()) == []


def test_trails_are_kept_and_cut_where_an_agent_was_placed_anew(
    town: CompiledMap, scene: Scene
) -> None:
    x, y = float(scene.x[0]), float(scene.y[0])
    trails = Trails(3)
    for step in range(6):
        shift = 0.0 if step < 4 else 50.0
        here = make_scene(town, [(x + step, y, 0.0), (x + step + shift, y + 9.0, 0.0)])
        found = trails(here).trails
        assert found.shape == (2, min(step, 3) + 1, 2)
        np.testing.assert_allclose(found[:, -1], np.stack(here.centre, 1))
    middle = float(here.centre[0][0])
    np.testing.assert_allclose(found[0, :, 0], middle - np.arange(3, -1, -1.0))
    assert np.isnan(found[1, :2]).all() and np.isfinite(found[1, 2:]).all()
    gone = trails(here._replace(status=np.array([PRESENT, ABSENT], np.uint8))).trails
    assert np.isnan(gone[1]).all() and np.isfinite(gone[0]).all()
    fewer = trails(make_scene(town, [(x, y, 0.0)])).trails
    assert fewer.shape == (1, 1, 2)
