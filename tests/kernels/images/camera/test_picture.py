"""Camera pictures: against rays in double precision, the pinhole equation, and what must hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from selfdrive_env.images.labels import boxes_of, project
from selfdrive_env.state.camera.scenery import ImageClass
from selfdrive_env.state.camera.shots import (
    BOX_ALONE,
    BOX_BOTTOM,
    BOX_LEFT,
    BOX_RIGHT,
    BOX_TOP,
    BOX_VISIBLE,
)
from selfdrive_env.state.world import ABSENT, GREEN, RED
from tests.kernels.conftest import (
    put,
    segment_of,
    skew_crossing,
    three_lanes_with_two_lights,
)
from tests.kernels.images.camera.conftest import (
    body_triangles,
    build,
    cast,
    ground_triangles,
    hilly_road,
    place,
    pose,
    redraw,
    scenery,
    straight_road,
)

KINDS = ["car", "van", "truck", "bus", "motorcycle", "bicycle", "pedestrian"]


def image(engine: Any, row: int = 0) -> np.ndarray:
    return engine.views["camera"].pictures[row]


@pytest.mark.parametrize("pitch", [-10.0, 0.0, 8.0])
def test_the_horizon_is_where_the_pitch_puts_it(pitch: float) -> None:
    engine = build(straight_road(), view={"size": (90, 160), "pitch": pitch})
    kind = redraw(engine).kind[0]
    ground = (kind != ImageClass.SKY).all(axis=1)
    wanted = 45.0 + 80.0 * math.tan(math.radians(pitch))
    assert abs(int(ground.argmax()) - wanted) <= 1.0
    assert not (kind[: int(wanted) - 1] != ImageClass.SKY).any()


@pytest.mark.parametrize("yaw", [-20.0, 0.0, 15.0])
def test_the_road_runs_to_its_vanishing_point(yaw: float) -> None:
    engine = build(straight_road(), view={"size": (90, 160), "yaw": yaw})
    kind = redraw(engine).kind[0]
    wanted = 80.0 + 80.0 * math.tan(math.radians(yaw))
    for row in (47, 50, 54):
        road = np.flatnonzero(np.isin(kind[row], [ImageClass.ROAD, ImageClass.MARKING]))
        # The middle of the road, 2 m to the left, comes nearer to the point as rows rise to it.
        depth = 1.5 * 80.0 / (row + 0.5 - 45.0)
        middle = project(pose(engine), pose(engine).place + _ahead(depth, yaw))
        assert abs(0.5 * (road[0] + road[-1] + 1) - middle[0][0]) <= 1.5
        assert abs(middle[0][0] - wanted) <= 80.0 * 2.5 / depth / math.cos(math.radians(yaw)) + 1.0


def _ahead(depth: float, yaw: float) -> np.ndarray:
    """From the camera to the middle of the road at a depth along the optical axis [m]."""
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    return np.array([(depth - 2.0 * s) / c, 2.0, -1.5])


def test_a_car_has_the_size_that_the_pinhole_equation_gives() -> None:
    engine = build(straight_road(), view={"size": (180, 320), "position": (0.0, 0.0, 1.5)})
    place(engine, 1, "car", 20.0, 0.0, 0.0)
    box = redraw(engine).box[0, 1]
    rear = 20.0 - 0.5 * 4.4
    assert abs(box[BOX_RIGHT] + 1 - box[BOX_LEFT] - 160.0 * 1.8 / rear) <= 1.0
    # The roof begins 0.2 of the length behind the rear; it is as high as the camera.
    assert abs(box[BOX_BOTTOM] + 1 - (90.0 + 160.0 * 1.5 / rear)) <= 1.0
    assert abs(box[BOX_TOP] - 90.0) <= 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_bodies_reach_as_far_as_their_corners_in_double_precision(kind: str) -> None:
    engine = build(straight_road(), view={"size": (180, 320)})
    random = np.random.default_rng(KINDS.index(kind))
    for _ in range(6):
        ahead = random.uniform(6.0, 40.0)
        aside, turned = random.uniform(-0.4, 0.4) * ahead, random.uniform(-3.0, 3.0)
        place(engine, 1, kind, ahead, aside, turned)
        box = redraw(engine).box[0, 1]
        where, _ = project(pose(engine), body_triangles(engine, 1).reshape(-1, 3))
        left, top = where.min(axis=0).clip(0.0)
        right, bottom = where.max(axis=0).clip(0.0, [320.0, 180.0])
        slack = 0.51 if kind not in ("bicycle", "motorcycle") else 3.0  # wheels are round
        assert abs(box[BOX_LEFT] + 0.5 - left) <= 0.5 + slack
        assert abs(box[BOX_RIGHT] + 0.5 - right) <= 0.5 + slack
        assert abs(box[BOX_TOP] + 0.5 - top) <= 0.5 + slack
        assert abs(box[BOX_BOTTOM] + 0.5 - bottom) <= 0.5 + slack


@pytest.mark.parametrize("road", [straight_road, hilly_road])
def test_depths_are_those_of_rays_in_double_precision(road: Any) -> None:
    engine = build(road(), view={"far": 150.0})
    place(engine, 1, "truck", 12.0, 2.0, 0.3)
    place(engine, 2, "car", 25.0, -1.0, -2.0)
    place(engine, 3, "bus", 40.0, 0.0, 1.4)
    shots = redraw(engine)
    triangles = [ground_triangles(engine), *(body_triangles(engine, k) for k in (1, 2, 3))]
    if road is hilly_road:  # bodies tilt with the road there
        engine.agents.status[0, 1:] = ABSENT
        shots, triangles = redraw(engine), triangles[:1]
    owner = np.repeat(np.arange(len(triangles)), [len(one) for one in triangles])
    depth, which = cast(pose(engine), np.concatenate(triangles))
    known = (which >= 0) & (depth < 100.0)
    agent = np.where(which >= 0, owner[which] + (owner[which] > 0), 0)
    alike = known & (agent == shots.agent[0])
    assert alike.sum() >= 0.985 * known.sum()
    error = np.abs(shots.depth[0][alike] / depth[alike] - 1.0)
    assert np.quantile(error, 0.99) < 0.01
    assert known.mean() > 0.4


def test_labels_agree_with_the_pixels() -> None:
    engine = build(straight_road(), view={"size": (90, 160)})
    place(engine, 1, "bus", 12.0, 0.0, 0.0)
    place(engine, 2, "car", 22.0, 4.0, 0.0)
    place(engine, 3, "pedestrian", 8.0, -2.5, 1.0)
    shots = redraw(engine)
    classes = {1: ImageClass.BUS, 2: ImageClass.CAR, 3: ImageClass.PEDESTRIAN}
    for agent, kind in classes.items():
        rows, columns = np.nonzero(shots.agent[0] == agent + 1)
        box = shots.box[0, agent]
        assert list(box[: BOX_BOTTOM + 1]) == [
            *(columns.min(), rows.min()),
            *(columns.max(), rows.max()),
        ]
        assert box[BOX_VISIBLE] == len(rows) <= box[BOX_ALONE]
        assert (shots.kind[0][rows, columns] == kind).all()
    everybody = np.isin(shots.kind[0], list(classes.values()))
    assert (everybody == (shots.agent[0] > 0)).all()
    assert (shots.box[0, 0, :BOX_VISIBLE] == -1).all()  # its own body is not seen
    # The bus hides a part of the car behind it, which alone would be seen as it is without the bus.
    alone = shots.box[0, 2, BOX_ALONE]
    assert 0 < shots.box[0, 2, BOX_VISIBLE] < alone
    labels = boxes_of(engine, pose(engine), 0, shots.box[0])
    assert labels.agent.tolist() == [3, 1, 2]
    assert labels.occlusion[2] == pytest.approx(1.0 - shots.box[0, 2, BOX_VISIBLE] / alone)
    engine.agents.status[0, 1] = ABSENT
    assert redraw(engine).box[0, 2, BOX_VISIBLE] == alone


def test_labels_are_those_of_all_agents_where_few_have_rows() -> None:
    found = []
    for learners in (1, 6):
        engine = build(straight_road(), agents=6, worlds=2, learners=learners)
        for agent in range(1, 6):
            place(engine, agent, "car", 6.0 * agent, 1.0 - 0.4 * agent, 0.1)
        shots = redraw(engine)
        assert shots.box.shape[:2] == (2 * learners, 6)
        here = boxes_of(engine, pose(engine), 0, shots.box[0])
        found.append([shots.kind[0], shots.agent[0], shots.depth[0], shots.box[0], *here])
    for few, many in zip(*found, strict=True):
        assert np.array_equal(few, many)
    assert len(found[0][4]) >= 3


def test_pictures_do_not_depend_on_threads_or_on_how_worlds_are_split() -> None:
    view = {"noise": 5.0, "fog": (0.0, 0.03), "sun": (5.0, 80.0)}
    whole = build(straight_road(), worlds=4, view=view)
    threads = build(straight_road(), worlds=4, view=view, num_threads=3)
    part = build(straight_road(), worlds=2, view=view, world_offset=2)
    for engine in (whole, threads, part):
        redraw(engine)
    assert np.array_equal(whole.views["camera"].pictures, threads.views["camera"].pictures)
    assert np.array_equal(whole.views["camera"].pictures[8:], part.views["camera"].pictures)
    one, other = whole.views["camera"].pictures[[0, 4]]
    assert not np.array_equal(one, other)  # the weather of another world


@pytest.mark.parametrize("where", ["inside a body", "beside the road", "in the ground", "upward"])
def test_odd_places_of_cameras_draw_something_defined(where: str) -> None:
    views = {"in the ground": {"position": (0.0, 0.0, 0.0)}, "upward": {"pitch": 90.0}}
    engine = build(straight_road(), view=views.get(where, {}))
    if where == "inside a body":
        place(engine, 1, "bus", 0.0, 0.0, 0.1)
    if where == "beside the road":
        put(engine, 0, segment_of(engine, 0, 100.0), aside=-300.0, turned=2.0)
    first = redraw(engine)
    depth, kind, picture = first.depth[0].copy(), first.kind[0].copy(), image(engine).copy()
    assert np.isfinite(depth).all() and (depth > 0.0).all()
    assert kind.max() <= max(ImageClass)
    engine.views["camera"].frames.code[:] = 7
    again = redraw(engine)
    assert np.array_equal(again.depth[0], depth)
    assert np.array_equal(image(engine), picture)


def test_a_light_shows_its_colour() -> None:
    engine = build(three_lanes_with_two_lights(), view={"size": (180, 320)})
    seen = {}
    for colour in (RED, GREEN):
        engine.lights.line_colour[0, :] = colour
        shots = redraw(engine)
        lit = shots.kind[0] == ImageClass.TRAFFIC_LIGHT
        assert lit.any()
        pixels = image(engine)[lit].astype(int)
        seen[colour] = pixels[:, 0].max() - pixels[:, 1].max()
    assert seen[RED] > 100 and seen[GREEN] < -100


def test_fog_hides_what_is_far_and_noise_has_its_spread() -> None:
    clear = build(straight_road())
    foggy = build(straight_road(), view={"fog": 0.1})
    noisy = build(straight_road(), view={"noise": 6.0})
    for engine in (clear, foggy, noisy):
        redraw(engine)
    spread = image(noisy).astype(float) - image(clear)
    inner = (image(clear) > 30) & (image(clear) < 225)
    assert abs(spread[inner].std() - 6.0) < 0.5 and abs(spread[inner].mean()) < 0.3
    row = 20  # 24 m away: there fog leaves a tenth of the contrast
    assert np.ptp(image(foggy)[row].astype(int)) < 0.35 * np.ptp(image(clear)[row].astype(int))


def test_a_bridge_is_above_and_hides_what_is_behind_it() -> None:
    engine = build(skew_crossing(7.0), view={"size": (90, 160)})
    put(engine, 0, segment_of(engine, 0, 115.0))
    shots = redraw(engine)
    above = shots.kind[0][:40]
    assert np.isin(above, [ImageClass.ROAD, ImageClass.STRUCTURE, ImageClass.MARKING]).sum() > 150
    assert (scenery(engine).quad_kind == 0).sum() > 5
    deck = shots.depth[0][:40][above == ImageClass.STRUCTURE]
    assert 15.0 < np.median(deck) < 60.0


@pytest.mark.parametrize("colour", ["rgb", "gray", "classes"])
def test_forms_of_pictures_tell_the_same(colour: str) -> None:
    forms = {
        "bytes": {},
        "first": {"channels_first": True},
        "floats": {"dtype": "float32"},
        "history": {"history": 3},
    }
    found = {}
    for name, form in forms.items():
        engine = build(straight_road(), view={**form, "colour": colour})
        place(engine, 1, "car", 15.0, 0.0, 0.0)
        redraw(engine)
        found[name] = image(engine)
    channels = found["bytes"].shape[-1]
    assert channels == {"rgb": 3, "gray": 1, "classes": len(ImageClass)}[colour]
    assert np.array_equal(found["first"].transpose(1, 2, 0), found["bytes"])
    assert np.allclose(found["floats"], found["bytes"] / 255.0, atol=1e-6)
    assert np.array_equal(found["history"][..., -channels:], found["bytes"])
    if colour == "classes":
        assert (found["bytes"].astype(int).sum(axis=-1) == 255).all()
