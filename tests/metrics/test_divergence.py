"""Distance from the log, and motion that no vehicle is capable of."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.metrics import compute
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.divergence import inverse_bicycle
from selfdrive_env.scenes.tracks import Tracks
from tests.metrics.traffic import DT, tracks


def driven(speed: float, acceleration: Any, curvature: Any, yaw: float = 3.0) -> Tracks:
    """One that drives as the bicycle does: yaw += kappa (v t + a t^2 / 2), v += a t."""
    yaws, speeds = [yaw], [speed]
    for a, k in zip(acceleration, curvature, strict=True):
        yaws.append(yaws[-1] + k * (speeds[-1] * DT + 0.5 * a * DT * DT))
        speeds.append(speeds[-1] + a * DT)
    vx, vy = np.array(speeds) * np.cos(yaws), np.array(speeds) * np.sin(yaws)
    return tracks([np.cumsum(vx * DT)], [np.cumsum(vy * DT)], vx=vx, vy=vy)


def test_distance_from_the_log_by_hand() -> None:
    log = tracks([[0.0, 1, 2, 3]], [[0.0] * 4], valid=[[1, 1, 1, 0]])
    scene = tracks([[0.0, 4, 2, 9]], [[0.0, 4, 2, 9]], valid=[[1, 1, 1, 1]])
    found = compute("log_divergence", scene, dt=DT, log=log)["log_divergence"]
    assert found.value.tolist() == [[0, 5, 2, 0]]
    assert found.valid.tolist() == [[True, True, True, False]]
    assert found.by_agent().value.tolist() == [7 / 3]  # ADE
    assert found.last().value.tolist() == [2]  # FDE


def test_the_inverse_gives_back_what_the_bicycle_was_driven_with() -> None:
    rng = np.random.default_rng(0)
    a, k = rng.uniform(-3, 3, 400), rng.uniform(-0.3, 0.3, 400)
    scene = driven(30.0, a, k)
    acceleration, curvature = inverse_bicycle(Case(scene, DT))
    assert np.allclose(acceleration[0, 1:], a, atol=1e-3)
    assert np.allclose(curvature[0, 1:], k, atol=1e-4)
    assert acceleration[0, 0] == curvature[0, 0] == 0.0


def test_bounds_by_hand() -> None:
    name = "kinematic_infeasibility"
    scene = driven(
        20.0, [10.3, 10.5, -10.3, -10.5, 0, 0, 0, 0], [0, 0, 0, 0, 0.29, 0.31, -0.29, -0.31]
    )
    found = compute(name, scene, dt=DT)[name]
    assert found.value.tolist() == [[0, 0, 1, 0, 1, 0, 1, 0, 1]]
    assert found.valid.all()
    # Who stands turns as it likes.
    slow = driven(0.5, [0.0] * 3, [9.0] * 3)
    assert not compute(name, slow, dt=DT)[name].value.any()


def test_after_a_gap_nothing_is_known() -> None:
    name = "kinematic_infeasibility"
    scene = tracks([[0.0] * 5], [[0.0] * 5], vx=[[0, 50, 0, 0, 0]], valid=[[1, 0, 1, 1, 0]])
    found = compute(name, scene, dt=DT)[name]
    assert found.valid.tolist() == [[True, False, False, True, False]]
    assert not found.value.any()


def test_turning_past_the_end_of_the_circle_is_a_small_turn() -> None:
    scene = driven(10.0, [0.0] * 40, [0.2] * 40, yaw=np.pi - 0.5)
    _, curvature = inverse_bicycle(Case(scene, DT))
    assert np.allclose(curvature[0, 1:], 0.2, atol=1e-4)
