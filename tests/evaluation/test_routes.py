"""Routes on a straight road, with a pencil."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.evaluation.routes import RouteLog
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.world import EVENT_RED_LIGHT, EVENT_STOP_SIGN
from tests.evaluation.conftest import scene
from tests.evaluation.placed import PlacedEnv, lane_at

ONE = np.ones((1, 1), np.bool_)


def straight(goals: list[float], speed: float, aside: float = 0.0) -> tuple[PlacedEnv, RouteLog]:
    """One car of a speed, goals of a radius of 1 m so far ahead, and its log."""
    env = scene("narrow", 1)
    lane, s = lane_at(env.scene, -150.0, -1.75, 0.0)
    env.put(0, 0, (lane, s), [(lane, s + away) for away in goals], speed=speed, aside=aside)
    env.engine.bodies.weight[0, 0, WEIGHT.goal_radius] = 1.0
    return env, RouteLog(env.engine)


def drive(env: PlacedEnv, log: RouteLog, steps: int, events: dict[int, int] | None = None) -> int:
    """Drives on, with some more events in given steps; returns the step in which time was up."""
    for step in range(steps):
        remaining = env.engine.agents.goal_distance.astype(np.float64)
        env.step(np.zeros(1, np.int64))
        env.engine.output.event[0, 0] |= (events or {}).get(step, 0)
        if log.after_step(remaining).any():
            return step
    return -1


def test_goals_are_counted_once_with_the_time_to_each_from_the_one_before() -> None:
    env, log = straight([30.0, 50.0, 200.0], speed=10.0)
    limit = float(env.engine.lanes.speed_limit[0])
    drive(env, log, 28)
    assert log.goals.tolist() == [0]
    drive(env, log, 4)
    assert log.goals.tolist() == [1]
    assert log.goal_time[0] == pytest.approx(2.9, abs=0.11)
    drive(env, log, 30)
    assert log.goals.tolist() == [2]
    assert log.goal_time[0] == pytest.approx(4.9, abs=0.11)
    assert log.goal_free_time[0] == pytest.approx(10.0 * log.goal_time[0] / limit, rel=1e-3)
    env.close()


def test_what_was_driven_of_a_route_counts_over_all_its_goals() -> None:
    env, log = straight([30.0, 50.0, 200.0], speed=10.0)
    drive(env, log, 65)
    log.close(ONE, ~ONE, env.engine.agents.goal_distance.astype(np.float64))
    ((world, share, score, completed),) = log.ended
    assert (world, completed) == (0, False)
    assert share == pytest.approx(65.0 / 200.0, abs=1e-3)
    assert score == pytest.approx(share, abs=1e-6)
    env.close()


@pytest.mark.parametrize(
    ("event", "factor"), [(EVENT_STOP_SIGN, 0.8), (EVENT_RED_LIGHT, 0.7), (0, 1.0)]
)
def test_each_infraction_takes_its_part_of_the_score(event: int, factor: float) -> None:
    env, log = straight([200.0], speed=10.0)
    drive(env, log, 50, {10: event, 30: event})
    log.close(ONE, ~ONE, env.engine.agents.goal_distance.astype(np.float64))
    ((_, share, score, _),) = log.ended
    assert score / share == pytest.approx(factor**2)
    env.close()


def test_a_collision_costs_by_what_is_hit() -> None:
    env, log = straight([200.0], speed=10.0)
    drive(env, log, 50)
    log.collided(0, 0, -1)
    log.close(ONE, ~ONE, env.engine.agents.goal_distance.astype(np.float64))
    ((_, share, score, _),) = log.ended
    assert score / share == pytest.approx(0.6)
    env.close()


def test_metres_off_the_road_take_their_share_of_the_score() -> None:
    env, log = straight([200.0], speed=10.0)
    drive(env, log, 30)
    engine = env.engine
    engine.agents.y[0, 0] -= 4.0
    drive(env, log, 10)
    assert engine.agents.contact[0, 0] & 2
    log.close(ONE, ~ONE, engine.agents.goal_distance.astype(np.float64))
    ((_, share, score, _),) = log.ended
    assert score / share == pytest.approx(0.75, abs=1e-3)
    env.close()


def test_a_route_is_late_after_two_minutes_and_its_length_at_two_metres_a_second() -> None:
    env, log = straight([40.0], speed=0.0)
    assert drive(env, log, 1500) == pytest.approx(1400, abs=1)
    env.close()
