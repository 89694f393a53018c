"""Maps that are made of recorded lines."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.lane_graph import network_of
from selfdrive_env.envs.scenes.situations import map_of
from selfdrive_env.evaluation.results.recorded import with_recorded_ego
from selfdrive_env.maps.inspection import describe
from selfdrive_env.scenes import Line, Roads, SceneError
from selfdrive_env.scenes.readers import load

SURFACE, BIKE, EDGE, CROSSWALK = 2, 3, 15, 18


def straight(x0, x1, y, *, step=1.0):
    """Points along x."""
    x = np.arange(x0, x1 + np.sign(x1 - x0) * 0.5 * step, np.sign(x1 - x0) * step)
    return np.stack([x, np.full_like(x, y), np.zeros_like(x)], 1)


def street():
    """Two lanes to the east that lie beside each other, one that follows the right one, an edge."""
    lines = [
        Line(1, SURFACE, straight(100.0, 160.0, 50.0), 10.0),
        Line(2, SURFACE, straight(100.0, 160.0, 46.6), 10.0),
        Line(3, SURFACE, straight(160.0, 220.0, 46.6)),
        Line(4, EDGE, straight(220.0, 100.0, 43.6)[::-1]),
        Line(5, BIKE, straight(100.0, 220.0, 41.0)),
        Line(6, CROSSWALK, np.array([[150.0, 44, 0], [153, 44, 0], [153, 52, 0], [150, 52, 0]])),
    ]
    links = [(2, 1, 3), (1, 3, 2), (2, 2, 1)]  # 2 exits to 3; 2 is right of 1, and 1 left of 2
    return Roads.of(lines, links)


def test_lanes_are_as_wide_as_lines_let_them():
    network = network_of(street(), name="street")
    first, second, third, bike = network.lanes
    assert (first.type, bike.type) == ("driving", "biking")
    assert np.allclose(first.centre[0], [100.0, 50.0, 0.0])
    assert np.allclose(first.left[:, 1], 51.85) and np.allclose(first.right[:, 1], 48.3)
    assert np.allclose(second.left[:, 1], 48.3) and np.allclose(second.right[:, 1], 43.6)
    assert np.allclose(third.left[:, 1], 48.45) and np.allclose(third.right[:, 1], 43.6)
    assert first.right_neighbour == 1 and second.left_neighbour == 0
    assert second.successors == [2] and third.predecessors == [1] and not first.successors
    assert first.speed_limit == 10.0 and third.speed_limit == pytest.approx(13.9)
    assert len(network.crosswalks) == 1


def test_lanes_without_links_are_joined_where_they_meet():
    roads = street()
    bare = Roads.of(
        [
            Line(int(i), int(t), roads.line(n))
            for n, (i, t) in enumerate(zip(roads.id, roads.type, strict=True))
        ]
    )
    assert network_of(bare, name="bare").lanes[1].successors == [2]


def test_lines_without_a_lane_are_refused():
    roads = Roads.of([Line(4, EDGE, straight(0.0, 50.0, 0.0)), Line(5, BIKE, straight(0, 9, 0.0))])
    with pytest.raises(SceneError, match="'nothing' has no lane that cars may drive on"):
        network_of(roads, name="nothing")


def test_a_town_of_another_simulator_is_the_same_town(shared_data):
    scene = load(shared_data / "pufferdrive_json" / "Town01_0.json.gz")
    figures = describe(map_of(scene))
    assert figures["driving_lane_km"] == pytest.approx(6.40, rel=0.02)
    assert (figures["junctions"], figures["connectivity"]) == (12, 1.0)
    envs = ScenesVectorEnv(2, scene=with_recorded_ego(scene), layout="lean", num_threads=1)
    envs.reset(seed=0)
    for _ in range(30):
        observations = envs.step(np.full(2, 7))[0]
    assert np.isfinite(observations).all()


RECORDS = (
    "womd_tfrecord/motion_data_one_scenario.tfrecord",
    "womd_json/nocturne_example_scenario.json",
)


@pytest.mark.parametrize("name", RECORDS)
def test_recorded_scenes_drive_on_maps_of_their_lines(name, shared_data):
    path = shared_data / "noncommercial" / name
    if not path.exists():
        pytest.skip("the folder of research data is absent")
    scene = with_recorded_ego(load(path))
    rules = dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore")
    envs = ScenesVectorEnv(
        1, scene=scene, driver="replay", layout="lean", num_threads=1, step_info=False, **rules
    )
    envs.reset(seed=0)
    left = np.zeros(len(scene.agents), bool)
    for moment in range(scene.current + 1, scene.steps - 1):
        envs.step(np.zeros(1, np.int64))
        left |= (envs.engine.output.event[0] & 8) != 0
        a = envs.engine.agents
        ahead = 0.5 * envs.engine.bodies.wheelbase[0, 0]
        place = a.x[0, 0] + ahead * a.cos[0, 0], a.y[0, 0] + ahead * a.sin[0, 0]
        tracks = scene.tracks
        assert np.allclose(
            place, (tracks.x[scene.ego, moment], tracks.y[scene.ego, moment]), atol=0.01
        )
    order = [scene.ego, *(n for n in range(len(scene.agents)) if n != scene.ego)]
    speed = np.hypot(tracks.vx, tracks.vy)[order, scene.current :]
    cars = np.array([scene.agents[n].kind == "vehicle" for n in order]) & (speed.max(1) > 4.0)
    assert cars.any() and left[cars].mean() < 0.2
