"""Scores of nuPlan, V-Max and Gigaflow: their arithmetic by hand, and recorded drivers' figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.metrics import WAYMAX, Road, Route, compute, logged_routes
from selfdrive_env.metrics.lines.polylines import Polylines
from selfdrive_env.metrics.scores import (
    NUPLAN,
    VMAX,
    Outcome,
    nuplan_score,
    outcomes,
    vmax_score,
    waymax_score,
)
from selfdrive_env.scenes.tracks import OTHER, Tracks
from selfdrive_env.state.world import RED
from tests.metrics.recorded import recorded_scene
from tests.metrics.traffic import DT, street, tracks

STEPS = 50
STEP = np.arange(STEPS)
ROUTE = [Route(0, Polylines.of([[[0, 1.75], [200, 1.75]]]))]


def drive(speed: float = 8.0, y: float = 1.75, **fields: Any) -> Tracks:
    """One along the first lane, and one that stands far away."""
    x = [10.0 + speed * DT * STEP, np.full(STEPS, 190.0)]
    return tracks(x, [np.full(STEPS, y), np.full(STEPS, 8.75)], **fields)


def score(function: Any, scene: Tracks, road: Road | None = None, log: Tracks | None = None) -> Any:
    found = function(scene, dt=DT, log=log or drive(), road=road or street(), routes=ROUTE)
    assert found["score"].valid.tolist() == [True, False]
    return {name: float(part.value[0]) for name, part in found.items()}


@pytest.mark.parametrize("function", [nuplan_score, vmax_score])
def test_the_expert_itself_is_worth_1(function: Any) -> None:
    assert set(score(function, drive()).values()) == {1.0}


def test_weights_and_gates() -> None:
    assert sum(NUPLAN.weights.values()) == 16 and sum(VMAX.weights.values()) == 19
    slow = score(nuplan_score, drive(4.0))
    assert np.isclose(slow["progress"], 0.5)
    assert np.isclose(slow["score"], (5 * 0.5 + 5 + 4 + 2) / 16)
    assert score(nuplan_score, drive(1.5))["score"] == 0.0  # progress below 0.2
    fast = score(nuplan_score, drive(11.0))  # the limit is 10
    assert np.isclose(fast["score"], (5 + 5 + 4 * (1 - 1 / 2.23) + 2) / 16, atol=1e-3)
    assert np.isclose(score(vmax_score, drive(11.0))["score"], (17 + 2 - 4 / 2.23) / 19, atol=1e-3)


def test_leaving_the_road_and_the_lane() -> None:
    out = drive(y=0.8)  # 0.2 m beside the road
    assert score(nuplan_score, out)["drivable_area"] == 1.0
    assert score(vmax_score, out)["score"] == 0.0
    assert score(nuplan_score, drive(y=0.6))["score"] == 0.0  # 0.4 m
    between = score(vmax_score, drive(y=3.5))
    assert between["one_lane"] == 0.0
    assert np.isclose(between["score"], 16 / 19)


def test_red_lights_are_a_gate_of_vmax() -> None:
    road = street(stop_point=[[30, 1.75]], stop_heading=[0.0], light=np.full((1, STEPS), RED))
    assert score(nuplan_score, drive(), road)["score"] == 1.0
    assert score(vmax_score, drive(), road)["score"] == 0.0


def test_against_the_traffic_is_worth_a_half_or_nothing() -> None:
    opposite = Road.of(edges=street().edges, lanes=[[[200, 1.75], [0, 1.75]]])
    for speed, wanted in ((1.9, 1.0), (4.0, 0.5), (8.0, 0.0)):
        found = score(nuplan_score, drive(speed), opposite, drive(speed))
        assert found["driving_direction"] == wanted


def test_collisions_and_near_ones() -> None:
    x = [10.0 + 0.8 * STEP, np.full(STEPS, 40.0)]
    ahead = tracks(x, np.full((2, STEPS), 1.75))
    found = score(nuplan_score, ahead)
    assert found["no_collision_at_fault"] == found["score"] == 0.0
    assert found["time_to_collision"] == 0.0
    thing = replace(ahead, kind=np.array([0, OTHER], np.uint8))
    assert score(nuplan_score, thing)["no_collision_at_fault"] == 0.5
    assert score(vmax_score, thing)["no_collision"] == 0.0
    stops = replace(ahead, x=np.minimum(ahead.x, [[30.0], [40.0]]))
    assert score(nuplan_score, stops)["no_collision_at_fault"] == 1.0


def test_driving_back_is_no_progress() -> None:
    back = tracks([100.0 - 0.1 * STEP, np.full(STEPS, 190.0)], np.full((2, STEPS), 1.75))
    assert score(nuplan_score, back)["progress"] == 0.0
    still = drive(0.0)
    assert score(nuplan_score, still, log=still)["progress"] == 1.0


def test_gigaflow_by_hand() -> None:
    scenes = [
        Outcome(50, 100, False, False),
        Outcome(90, 60, True, True),
        Outcome(0, 40, False, True),
    ]
    found = waymax_score(scenes)
    assert np.isclose(found["progress"], 140 / 200)
    assert np.isclose(found["success"], 1 / 3)
    assert np.isclose(found["score"], 0.7 / 3)
    assert waymax_score([Outcome(9, 0, False, False)])["score"] == 1.0
    assert waymax_score([Outcome(9, 5, False, False)])["progress"] == 1.0
    with pytest.raises(ValueError, match="one scene or more"):
        waymax_score([])


def test_outcomes_of_a_scene() -> None:
    (found,) = outcomes(drive(4.0), dt=DT, log=drive(), road=street(), routes=ROUTE)
    assert np.isclose(found.driven, 0.4 * (STEPS - 1)) and np.isclose(
        found.expert, 0.8 * (STEPS - 1)
    )
    assert not found.collision and not found.departure
    (out,) = outcomes(drive(y=0.9), dt=DT, log=drive(), road=street(), routes=ROUTE)
    assert out.departure and not out.collision


@pytest.fixture(scope="module")
def scenes(shared_data: Path) -> list[tuple[Tracks, Road]]:
    found = sorted((shared_data / "noncommercial" / "womd_json").glob("*.json"))
    if not found:
        pytest.skip("the recorded scenes are absent")
    return [recorded_scene(path) for path in found]


def test_recorded_drivers_stay_on_the_road_and_apart(scenes: Any) -> None:
    moving = total = 0
    for scene, road in scenes:
        speed = np.hypot(scene.vx, scene.vy)
        cars = np.flatnonzero((scene.kind == 0) & ((speed > 2.0).sum(axis=1) > 20))
        moving += len(cars)
        routes = logged_routes(scene, cars.tolist())
        found = compute(WAYMAX, scene, dt=DT, log=scene, road=road, routes=routes)
        own = {name: metric.agents(cars) for name, metric in found.items()}
        assert own["offroad"].above(0.0).mean() < 0.01
        assert own["offroad"].mean() < -1.0
        assert own["wrong_way"].above(0.0).mean() < 0.01
        assert own["overlap"].mean() == own["log_divergence"].mean() == 0.0
        assert np.isclose(own["progression"].last().mean(), 1.0)
        expert = nuplan_score(scene, dt=DT, log=scene, road=road, routes=routes)["score"]
        total += expert.value.sum()
    assert moving > 10
    assert total / moving > 0.8
