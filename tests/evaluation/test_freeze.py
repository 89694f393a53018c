"""Who stands without a reason, on scenes with one to three bodies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.evaluation.behaviour import FROZEN_TIME, Behaviour, reason_to_stand
from selfdrive_env.evaluation.policies import load
from selfdrive_env.evaluation.run import evaluate
from selfdrive_env.state.world import GREEN, RED, STANDING, STOP_SIGN, YELLOW
from tests.evaluation.conftest import scene
from tests.evaluation.placed import PlacedEnv, lane_at
from tests.evaluation.test_right_of_way import Scene, plus

LENGTH = 4.0
STOPS = (RED, YELLOW)


def at_crossing(*others: tuple[float, float, float], away: float = 10.0) -> PlacedEnv:
    """A car whose front is `away` metres before the line of the west arm, and standing ones.

    Args:
        *others: East and north of each, and its heading.
        away: [m]
    """
    env = scene("signals", 3, lights_off=0.0)
    bodies, signs = env.engine.bodies, env.engine.signs
    bodies.length[0], bodies.width[0], bodies.wheelbase[0] = LENGTH, 1.8, 0.6 * LENGTH
    lane, _ = lane_at(env.scene, -100.0, -1.75, 0.0)
    line = float(signs.lane_line_s[signs.lane_line_first[lane]])
    beyond = lane_at(env.scene, 100.0, -1.75, 0.0)
    env.put(0, 0, (lane, line - away - 0.5 * LENGTH), [beyond], speed=0.0)
    for agent, (x, y, heading) in enumerate(others, 1):
        place = lane_at(env.scene, x, y, heading)
        env.put(0, agent, place, [beyond], speed=0.0)
    env.engine.lights.line_colour[...] = GREEN
    return env


def own_line(env: PlacedEnv) -> int:
    """The stop line of the car's lane."""
    lane = env.engine.lanes.segment_lane[env.engine.agents.segment[0, 0]]
    return int(env.engine.signs.lane_line[env.engine.signs.lane_line_first[lane]])


@pytest.mark.parametrize("colour", [GREEN, YELLOW, RED, STOP_SIGN])
@pytest.mark.parametrize("away", [-1.5, -0.5, 0.0, 10.0, 24.0, 26.0])
def test_the_own_light_is_a_reason(colour: int, away: float) -> None:
    env = at_crossing(away=away)
    assert reason_to_stand(env.engine, 0, 0) == ""
    env.engine.lights.line_colour[0, own_line(env)] = colour
    waits = colour in STOPS and -1.0 < away <= 25.0
    assert reason_to_stand(env.engine, 0, 0) == ("light" if waits else "")
    env.close()


def test_the_light_of_another_arm_is_none() -> None:
    env = at_crossing()
    env.engine.lights.line_colour[...] = RED
    env.engine.lights.line_colour[0, own_line(env)] = GREEN
    assert reason_to_stand(env.engine, 0, 0) == ""
    env.close()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ((-20.0, -1.75, 0.0), "body"),
        ((0.0, -1.75, 0.0), "body"),
        ((1.75, 0.0, np.pi / 2), "body"),
        ((1.75, -4.5, np.pi / 2), "body"),
        ((1.75, -5.0, np.pi / 2), ""),
        ((-20.0, 1.75, np.pi), ""),
        ((1.75, -20.0, np.pi / 2), ""),
        ((40.0, -1.75, 0.0), ""),
    ],
    ids=[
        *("before the line", "in the junction", "across", "nose in", "nose outside", "oncoming"),
        *("other arm", "far beyond"),
    ],
)
def test_a_body_on_the_way_is_a_reason(other: tuple[float, float, float], reason: str) -> None:
    env = at_crossing(other)
    assert reason_to_stand(env.engine, 0, 0) == reason
    env.engine.agents.z[0, 1] += 5.0
    assert reason_to_stand(env.engine, 0, 0) == ""
    env.close()


def test_a_body_in_a_bend_of_the_way_is_a_reason() -> None:
    env = at_crossing((-1.75, -30.0, -np.pi / 2), away=2.0)
    assert reason_to_stand(env.engine, 0, 0) == ""
    agents, bodies = env.engine.agents, env.engine.bodies
    lane, s = lane_at(env.scene, -1.75, -100.0, -np.pi / 2)
    place = int(env.engine.lanes.segment_lane[agents.segment[0, 0]]), float(agents.s[0, 0])
    env.put(0, 0, place, [(lane, s)], speed=0.0)
    near = lane_at(env.scene, -1.75, -13.0, -np.pi / 2)
    env.put(0, 1, near, [(lane, s)], speed=0.0)
    bodies.max_curvature[0, 0] = 1.0
    assert reason_to_stand(env.engine, 0, 0) == "body"
    bodies.max_curvature[0, 0] = 0.0  # it can go straight on alone
    assert reason_to_stand(env.engine, 0, 0) == ""
    env.close()


@pytest.mark.parametrize(
    ("sign", "speed", "away", "reason"),
    [
        ("205", 10.0, 30.0, "right_of_way"),
        ("205", 10.0, 90.0, ""),
        ("205", 0.5, 10.0, ""),
        ("306", 10.0, 30.0, ""),
        ("206", 10.0, 30.0, "right_of_way"),
        ("", 10.0, 30.0, ""),
    ],
    ids=["yields", "far", "creeps", "goes first", "stop sign", "comes from the left"],
)
def test_who_goes_first_is_a_reason(
    tmp_path: Path, sign: str, speed: float, away: float, reason: str
) -> None:
    env = Scene(plus(tmp_path, sign))
    env.reset(seed=0)
    env.clear()
    names = [plus(tmp_path, sign).lanes[i].name for i in env.scene.network_lane]
    for agent, (arm, far, pace) in enumerate((("2", 8.0, 0.0), ("1", away, speed))):
        start = (names.index(f"{arm}0/0/-1"), 100.0 - far)
        env.put(0, agent, start, [(names.index(f"{arm}1/0/-1"), 150.0)], speed=pace)
    assert reason_to_stand(env.engine, 0, 0) == reason
    env.close()


def frozen(env: PlacedEnv, seconds: float, reds: range = range(0)) -> list[float]:
    """Runs of looks at all agents; returns agents frozen and looked at.

    Args:
        env: Where nobody moves.
        seconds: For how long.
        reds: Steps in which the car's light is red.
    """
    behaviour, dt = Behaviour(env.engine), float(env.engine.params.dt)
    agents = env.engine.agents
    for step in range(round(seconds / dt)):
        agents.age[...] += 1
        env.engine.lights.line_colour[0, own_line(env)] = RED if step in reds else GREEN
        behaviour.after_step(step, agents.status != 0)
    found: list[float] = behaviour.sums.frozen.sum(0).tolist()
    return found


def test_frozen_is_who_stood_for_twenty_seconds_without_a_reason() -> None:
    env = at_crossing()
    assert frozen(env, FROZEN_TIME - 2.0)[0] == 0.0
    env.engine.agents.age[...] = 0
    assert frozen(env, 40.0) == [10.0, 20.0]
    env.engine.agents.age[...] = 0
    assert frozen(env, 40.0, range(200)) == [1.0, 20.0]  # the light was red for 20 s of them
    env.engine.agents.speed[0, 0] = 0.2
    assert frozen(env, 40.0) == [0.0, 20.0]
    env.engine.agents.speed[0, 0] = 0.0
    env.engine.agents.status[0, 0] = STANDING
    assert frozen(env, 40.0) == [0.0, 0.0]
    env.close()


def test_who_is_placed_anew_begins_to_stand_anew() -> None:
    env = at_crossing()
    behaviour = Behaviour(env.engine)
    for step in range(600):
        env.engine.agents.age[...] += 1
        if step % 150 == 0:
            env.engine.agents.age[...] = 0
        behaviour.after_step(step, env.engine.agents.status != 0)
    assert behaviour.sums.frozen.sum(0).tolist() == [0.0, 30.0]
    env.close()


def test_of_a_queue_the_first_alone_is_frozen() -> None:
    env = at_crossing((-40.0, -1.75, 0.0), (-50.0, -1.75, 0.0))
    assert frozen(env, 40.0) == [10.0, 60.0]
    env.close()


def test_who_only_brakes_freezes_and_scripted_drivers_do_not() -> None:
    common = dict(map="harbour", minutes=1.5, seeds=[200], settings={"dt": 0.3})
    still = evaluate(load("constant:0"), **common).behaviour["frozen"]  # type: ignore[arg-type]
    driven = evaluate(load("idm"), **common).behaviour["frozen"]  # type: ignore[arg-type]
    assert still is not None
    assert driven is not None
    assert still > 0.2
    assert driven < 0.002
