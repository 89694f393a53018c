"""Hands on a body in the environment's own dynamics, and on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.settings import Settings
from selfdrive_env.kernels.dynamics.actions import scaled_jerk
from selfdrive_env.kernels.dynamics.jerk_bicycle import Scales, bicycle_step
from selfdrive_env.play.controls import BRAKE, LATERAL, THROTTLE, Body, Hands, Pressed
from selfdrive_env.play.session import DEFAULTS
from tests.kernels import from_python

bicycle_step, scaled_jerk = from_python(bicycle_step), from_python(scaled_jerk)

GO, STOP, LEFT, RIGHT = (Pressed(**{n: True}) for n in ("throttle", "brake", "left", "right"))
KINDS = ("continuous", "discrete")
HOLD = np.float32(-9.5)


def drive(kind: str, keys: list[Pressed], speed: float = 0.0) -> list[Any]:
    """Speed, acceleration, lateral acceleration and steering angle after each step."""
    settings = Settings(action_type=kind, dt=0.1, reverse=DEFAULTS["reverse"])
    hands, dt = Hands(settings), np.float32(0.1)
    pairs = [(a, b) for a in settings.jerk_long for b in settings.jerk_lat]
    state = (np.float32(speed), np.float32(0), np.float32(0), np.float32(0))
    seen = []
    for pressed in keys:
        body = Body(float(state[0]), float(state[1]), float(state[2]), wheelbase=2.7)
        action = hands.action(pressed, body)
        if kind == "discrete":
            assert action.dtype == np.int64
            jerk = pairs[int(action)]
        else:
            assert action.dtype == np.float32
            assert np.abs(action).max() <= 1.0
            jerk = tuple(
                float(scaled_jerk(np.float32(a), np.float32(min(j)), np.float32(max(j))))
                for a, j in zip(action, (settings.jerk_long, settings.jerk_lat), strict=True)
            )
        one = np.float32(1)
        state = bicycle_step(
            *state, np.float32(jerk[0]), np.float32(jerk[1]), Scales(one, one, one, one),
            np.float32(2.7), HOLD, settings.reverse == "allowed", dt,
        )[:4]  # fmt: skip
        seen.append(tuple(float(value) for value in state))
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_throttle_reaches_its_acceleration_and_the_brake_stops(kind: str) -> None:
    seen = drive(kind, [GO] * 30 + [STOP] * 60)
    assert seen[29][1] == pytest.approx(THROTTLE, abs=0.25)
    assert seen[29][0] > 4.0
    assert min(a for _, a, *_ in seen) == pytest.approx(BRAKE, abs=0.8)
    assert seen[-1][0] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_without_a_key_stands(kind: str) -> None:
    assert {speed for speed, *_ in drive(kind, [Pressed()] * 20)} == {0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_a_brake_that_is_held_stands_and_pressed_again_backs_up(kind: str) -> None:
    held = drive(kind, [STOP] * 40, speed=3.0)
    assert held[-1][0] == 0.0
    again = drive(kind, [STOP] * 40 + [Pressed()] * 2 + [STOP] * 30, speed=3.0)
    assert -2.0 <= again[-1][0] < -0.5
    gone = drive(kind, [STOP] * 40 + [Pressed()] * 2 + [STOP] * 30 + [GO] * 30, speed=3.0)
    assert gone[-1][0] > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_left_and_right_mirror_each_other_and_the_wheel_comes_back(kind: str) -> None:
    keys = [LEFT] * 15 + [Pressed()] * 15
    left = drive(kind, keys, speed=10.0)
    right = drive(kind, [RIGHT if k == LEFT else k for k in keys], speed=10.0)
    assert max(lateral for _, _, lateral, _ in left) == pytest.approx(LATERAL, abs=0.5)
    np.testing.assert_allclose([s[2] for s in left], [-s[2] for s in right], atol=1e-4)
    assert left[-1][2] == pytest.approx(0.0, abs=0.21)


def test_the_wheel_turns_a_body_that_crawls() -> None:
    assert drive("discrete", [LEFT] * 20, speed=1.0)[-1][3] > 0.1


def test_reset_straightens_the_wheel() -> None:
    hands = Hands(Settings(dt=0.1))
    body = Body(5.0, 0.0, 0.0, 2.7)
    for _ in range(5):
        hands.action(LEFT, body)
    assert hands.wheel == 1.0
    hands.reset()
    assert hands.wheel == 0.0
