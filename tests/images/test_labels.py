"""Labels of camera pictures beside those of pixels: lanes, boxes in space, motion."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from selfdrive_env.datasets.formats import ABSENT, lane_line
from selfdrive_env.images.labels import boxes_of, lanes_of, motion_between, project
from selfdrive_env.maps import RoadNetwork
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import Junction
from selfdrive_env.state.camera.scenery import ImageClass
from tests.kernels.conftest import put, segment_of
from tests.kernels.images.camera.conftest import build, place, pose, redraw, straight_road
from tests.maps.conftest import connect, strip


def test_lanes_come_from_left_to_right_and_lie_on_the_paint() -> None:
    engine = build(straight_road(), view={"size": (90, 160)})
    shots = redraw(engine)
    found = lanes_of(engine, pose(engine), 0, 0, shots.depth[0])
    assert [(one.kind, one.order) for one in found] == [
        ("boundary", -1.5),
        ("centre", -1.0),
        ("boundary", -0.5),
        ("centre", 0.0),
        ("boundary", 0.5),
    ]
    for one in found:  # straight lines to one point: u grows with the order at each depth
        at = np.interp(12.0, one.depth, one.points[:, 0])
        assert at == pytest.approx(80.0 + 80.0 * 4.0 * one.order / 12.0, abs=0.2)
    centre = found[3]
    i, j = np.floor(centre.points[centre.shown]).astype(int).T
    assert (shots.kind[0][j, i] == ImageClass.ROAD).all()
    assert centre.shown.sum() > 60


def test_a_lane_ends_where_a_body_hides_it() -> None:
    engine = build(straight_road(), view={"size": (90, 160)})
    free = redraw(engine)
    alone = lanes_of(engine, pose(engine), 0, 0, free.depth[0])
    place(engine, 1, "bus", 15.0, 0.0, 0.0)
    hidden = lanes_of(engine, pose(engine), 0, 0, redraw(engine).depth[0])
    before = next(one for one in alone if one.order == 0.0)
    after = next(one for one in hidden if one.order == 0.0)
    assert before.depth[before.shown].max() > 80.0
    assert after.depth[after.shown].max() < 12.0


def test_boundaries_are_left_out_of_a_data_set_within_junctions() -> None:
    ends = [0, 110, 125, 400]
    lanes = [strip(str(a), [[a, 0, 0], [b, 0, 0]]) for a, b in pairwise(ends)]
    connect(lanes, (0, 1), (1, 2))
    lanes[1].junction = 0
    network = RoadNetwork("crossing", lanes, [Junction("crossing", lanes=[1])])
    engine = build(compile_map(network), view={"size": (90, 160)})
    camera = pose(engine)
    found = lanes_of(engine, camera, 0, 0, redraw(engine).depth[0])
    for one in found:
        within = one.depth + camera.place[0]
        assert (one.junction == (within > 109.9) & (within < 124.9)).all()

    line = lane_line(found, 160, 90, "one.png")
    assert line is not None and line["order"] == [-0.5, 0.5] and line["centre_order"] == [0.0]
    rows = np.array(line["h_samples"])
    away = camera.place[0] + camera.focal * camera.place[2] / (rows + 0.5 - 45.0)
    for columns in line["lanes"]:
        gone = np.array(columns) == ABSENT
        assert gone[(away > 112.0) & (away < 123.0)].all()
        assert not gone[(away > 125.5) & (away < 180.0)].any()
        assert not gone[(away > 105.0) & (away < 110.0)].any()
    assert ABSENT not in np.array(line["centres"])[:, (away > 105.0) & (away < 180.0)]


def test_a_box_in_space_is_where_its_body_is() -> None:
    engine = build(straight_road(), view={"size": (90, 160), "position": (0.0, 0.0, 1.5)})
    place(engine, 1, "truck", 18.0, -3.0, 0.5)
    labels = boxes_of(engine, pose(engine), 0, redraw(engine).box[0])
    assert labels.agent.tolist() == [1]
    assert np.allclose(labels.centre[0], [3.0, 1.5 - 3.3 / 2.0, 18.0], atol=1e-3)
    assert np.allclose(labels.size[0], [7.5, 2.3, 3.3], atol=1e-3)
    # As in KITTI: 0 is to the right, a quarter turn less is ahead, and less than that to the left.
    assert labels.yaw[0] == pytest.approx(-np.pi / 2.0 - 0.5, abs=1e-3)
    assert labels.truncation[0] == 0.0 and labels.occlusion[0] == 0.0
    low, high = labels.amodal[0, :2], labels.amodal[0, 2:]
    assert (labels.visible[0, :2] >= low - 1.0).all() and (
        labels.visible[0, 2:] <= high + 1.0
    ).all()


def test_a_body_partly_beside_the_picture_is_truncated() -> None:
    engine = build(straight_road(), view={"size": (90, 160)})
    place(engine, 1, "car", 10.0, 8.0, 0.0)
    labels = boxes_of(engine, pose(engine), 0, redraw(engine).box[0])
    assert 0.2 < labels.truncation[0] < 0.8
    assert labels.visible[0, 0] == 0.0 and labels.amodal[0, 0] < 0.0


def test_motion_leads_from_one_pose_to_the_next() -> None:
    engine = build(straight_road(), view={"yaw": 10.0, "pitch": -5.0})
    before = pose(engine)
    put(engine, 0, segment_of(engine, 0, 103.0), aside=0.5, turned=0.2)
    after = pose(engine)
    rotation, translation = motion_between(before, after)
    points = np.array([[130.0, 3.0, 0.5], [150.0, -8.0, 2.0]])
    first = (points - before.place) @ before.rotation.T
    second = (points - after.place) @ after.rotation.T
    assert np.allclose(first @ rotation.T + translation, second)
    where, depth = project(after, points)
    assert np.allclose(depth, second[:, 2])
    assert np.allclose(where[:, 0], 32.0 + after.focal * second[:, 0] / second[:, 2])
