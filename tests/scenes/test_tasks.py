"""Scenes of tasks: who is where is drawn by seed, on roads that are whole."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.maps import compiled
from selfdrive_env.scenes import Scene
from selfdrive_env.scenes.tasks.roads import LAYOUTS, Place, lane_at, pose, road
from selfdrive_env.scenes.tasks.streets import told_to_overtake
from selfdrive_env.scenes.tasks.table import TASKS, task_scene


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_roads_compile_without_loose_ends(name: str) -> None:
    scene = compiled(road(name), lane_points=24, boundary_points=24, stop_lines=2)
    assert len(scene.lanes.spawn_segment) > 0
    assert np.isfinite(scene.lanes.segment).all()


@pytest.mark.parametrize("task", list(TASKS))
def test_everybody_stands_on_a_lane_and_apart(task: str) -> None:
    for seed in range(15):
        scene = task_scene(task, seed)
        scene.check()
        assert (scene.ego, scene.agents[0].driver) == (0, "learner")
        assert {agent.driver for agent in scene.agents[1:]} <= {"idm", "still"}


@pytest.mark.parametrize("task", list(TASKS))
def test_a_seed_is_a_scene_and_another_seed_another(task: str) -> None:
    scenes = [task_scene(task, seed) for seed in range(20)]
    assert len({scene.digest() for scene in scenes}) == 20
    assert scenes[7] == task_scene(task, 7)
    egos = [scene.agents[0] for scene in scenes]
    for field in ("length", "width", "speed"):
        values = [getattr(ego, field) for ego in egos]
        assert len(set(values)) == 20
        assert max(values) > 1.03 * min(values)


def test_cars_are_as_large_as_cars() -> None:
    scenes = [task_scene("roundabout", seed) for seed in range(40)]
    lengths = np.array([agent.length for scene in scenes for agent in scene.agents])
    widths = np.array([agent.width for scene in scenes for agent in scene.agents])
    for values, low, high in ((lengths, 4.0, 4.8), (widths, 1.7, 1.9)):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high


def test_gaps_do_not_depend_on_bodies() -> None:
    """Two vehicles of a stream are as far apart as a generator of the seed says."""
    scene = task_scene("unprotected_left_turn", 5)
    gaps = np.random.default_rng(5).uniform(14.0, 60.0, 7)
    x = np.array([agent.x for agent in scene.agents[1:]])
    np.testing.assert_allclose(np.diff(x), gaps[1 : len(x)], atol=1e-6)


def test_the_length_of_a_step_changes_nothing_but_the_steps() -> None:
    fine, coarse = (task_scene("merge", 1, dt=dt) for dt in (0.1, 0.3))
    assert (fine.steps, coarse.steps) == (601, 201)
    assert dataclasses.replace(coarse, dt=0.1, steps=601) == fine


def test_a_scene_is_kept_in_a_file(tmp_path: Path) -> None:
    scene = task_scene("four_way_stop", 2)
    scene.save(tmp_path / "stop.scene")
    assert Scene.read(tmp_path / "stop.scene") == scene


def test_a_place_is_found_and_has_its_pose() -> None:
    place = lane_at("narrow", -100.0, -1.0, 0.0)
    assert pose(place) == pytest.approx((-100.0, -1.75, 0.0, 0.0))
    assert pose(place.ahead(30.0), 0.5) == pytest.approx((-70.0, -1.25, 0.0, 0.0))
    back = lane_at("narrow", -100.0, -1.0, math.pi)
    x, y, _, heading = pose(back, 0.5)
    assert (x, y) == pytest.approx((-100.0, 1.25))
    assert abs(heading) == pytest.approx(math.pi)


def test_poses_lie_on_the_bends_of_a_lane() -> None:
    lane = max(road("winding 0").lanes, key=lambda lane: lane.length * lane.drivable)
    places = [pose(Place(lane, s)) for s in np.arange(10.0, lane.length - 10.0, 0.5)]
    x, y, _, heading = np.array(places).T
    step = np.hypot(np.diff(x), np.diff(y))
    np.testing.assert_allclose(step, 0.5, atol=5e-3)
    along = np.arctan2(np.diff(y), np.diff(x))
    assert np.abs(np.angle(np.exp(1j * (along - heading[1:])))).max() < 0.06
    assert np.ptp(heading) > 0.8


def test_the_waypoint_of_an_overtaker_lies_beside_who_stands() -> None:
    scene = task_scene("overtake", 4)
    told = told_to_overtake(scene)
    ego, standing = told.agents[:2]
    waypoint, *goals = ego.goals
    assert tuple(goals) == scene.agents[0].goals
    assert told.agents[1:] == scene.agents[1:]
    assert 0.0 < waypoint.x - standing.x < 10.0
    assert waypoint.y - standing.y == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "parking"}, r"task must be one of merge, .*'parking'"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"dt": 3.0}, "dt must be"),
    ],
)
def test_what_is_no_scene_of_a_task_is_refused(values: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"task": "merge", "seed": 0, "dt": 0.1, **values}
    with pytest.raises(ValueError, match=message):
        task_scene(given["task"], given["seed"], dt=given["dt"])
