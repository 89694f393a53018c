"""What is said of how a policy drives, on scenes with two or three cars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfdrive_env.evaluation.behaviour import Behaviour
from selfdrive_env.evaluation.incidents import CAUSES
from tests.evaluation.conftest import scene
from tests.evaluation.placed import PlacedEnv, lane_at

LENGTH = 4.0


def queue(*places: tuple[float, float]) -> PlacedEnv:
    """Cars of 4 m with their middles so far ahead of the first, each with a speed."""
    env = scene("wide", len(places))
    lane, s = lane_at(env.scene, -150.0, -1.75, 0.0)
    bodies = env.engine.bodies
    bodies.length[0], bodies.width[0], bodies.wheelbase[0] = LENGTH, 1.8, 0.6 * LENGTH
    for agent, (away, speed) in enumerate(places):
        env.put(0, agent, (lane, s + away), [(lane, s + 250.0)], speed=speed)
    return env


def look(env: PlacedEnv, which: int = 0, **reds: int) -> dict[str, Any]:
    """Figures of one look at one agent; kilometre by kilometre 2 of them."""
    behaviour = Behaviour(env.engine)
    free = np.zeros(env.engine.agents.x.shape, np.bool_)
    free[0, which] = True
    behaviour.after_step(0, free)
    counts = np.zeros((1, len(CAUSES)), np.int64)
    for cause, count in reds.items():
        counts[0, CAUSES.index(cause)] = count
    return behaviour.sums.figures(2.0, counts)


def test_the_gap_is_from_bumper_to_bumper_of_the_next_one_ahead() -> None:
    env = queue((0.0, 10.0), (40.0, 5.0), (20.0, 20.0), (-9.0, 10.0))
    figures = look(env)
    assert figures["gap"] == pytest.approx(20.0 - LENGTH, abs=1e-3)
    assert figures["headway"] == pytest.approx(1.6, abs=1e-3)
    assert figures["speed"] == pytest.approx(10.0)
    assert look(env, 3)["gap"] == pytest.approx(9.0 - LENGTH, abs=1e-3)
    assert look(env, 1)["gap"] is None
    env.close()


def test_who_overlaps_is_not_ahead() -> None:
    env = queue((0.0, 10.0), (1.5, 10.0), (25.0, 10.0))
    assert look(env)["gap"] == pytest.approx(25.0 - LENGTH, abs=1e-3)
    assert look(queue((0.0, 10.0), (1.5, 10.0)))["gap"] is None
    env.close()


@pytest.mark.parametrize(
    ("field", "change"),
    [("z", 3.0), ("status", 0), ("y", 2.0), ("x", 30.0), ("cos", -1.0)],
    ids=["above", "absent", "beside", "far", "oncoming"],
)
def test_nobody_is_followed_who_is(field: str, change: float) -> None:
    env = queue((0.0, 10.0), (20.0, 10.0))
    values = getattr(env.engine.agents, field)
    if field in ("status", "cos"):
        values[0, 1] = change
    else:
        values[0, 1] += np.float32(change)
    assert look(env)["gap"] is None
    env.close()


def test_who_creeps_follows_nobody() -> None:
    env = queue((0.0, 2.9), (10.0, 2.9))
    assert look(env)["gap"] is None
    env.close()


def test_bends_count_to_either_side() -> None:
    env = queue((0.0, 10.0))
    for lateral in (2.0, -2.0):
        env.engine.agents.lateral_acceleration[0, 0] = lateral
        figures = look(env)
        assert figures["lateral_acceleration"] == pytest.approx(2.0)
        assert figures["lateral_acceleration_95"] == pytest.approx(2.0, abs=0.03)
    env.engine.agents.lateral_acceleration[0, 0] = 0.4
    assert look(env)["lateral_acceleration"] is None
    env.close()


def test_red_lights_are_those_a_kilometre() -> None:
    env = queue((0.0, 10.0))
    others = {cause: 50 for cause in CAUSES if cause != "red_light"}
    assert look(env, red_light=3, **others)["red_lights_per_km"] == pytest.approx(1.5)
    env.close()
