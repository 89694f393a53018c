"""Realism: distances and times against slow oracles, likelihoods by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.metrics import Road
from selfdrive_env.metrics.boxes import corners
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.realism import FEATURES, histogram_likelihood, realism
from selfdrive_env.metrics.realism.likelihoods import bins_of
from selfdrive_env.metrics.realism.neighbours import FAR, HORIZON, neighbours
from selfdrive_env.metrics.realism.score import features
from selfdrive_env.scenes.tracks import Tracks
from tests.metrics.traffic import DT, street, tracks, wrap


def test_distances_are_those_of_polygons() -> None:
    rng = np.random.default_rng(0)
    shape = (6, 2500)
    scene = tracks(
        rng.uniform(-9, 9, shape), rng.uniform(-9, 9, shape), vx=0.0, vy=0.0,
        heading=wrap(rng.uniform(0, 7, shape)), length=rng.uniform(0.5, 8, 6),
        width=rng.uniform(0.3, 2.5, 6), valid=rng.random(shape) < 0.9,
    )  # fmt: skip
    distance, _ = neighbours(scene)
    box = shapely.polygons(np.stack(corners(scene), axis=-1))
    for agent in range(6):
        apart = np.full(shape[1], FAR)
        for other in set(range(6)) - {agent}:
            gap = shapely.distance(box[agent], box[other])
            apart = np.where(scene.valid[other], np.minimum(apart, gap), apart)
        own = scene.valid[agent]
        assert np.allclose(np.maximum(distance[agent], 0.0)[own], apart[own], atol=1e-9)
        assert (distance[agent][own & (apart == 0.0)] <= 1e-9).all()
        assert 0.1 < (apart[own] > 0).mean() < 0.9


def test_overlap_is_the_least_way_apart() -> None:
    scene = tracks([[0.0, 0.0], [3.5, 0.5]], [[0.0, 0.0], [0.0, 1.9]])
    distance, _ = neighbours(scene)
    assert np.allclose(distance, [[-0.5, -0.1]] * 2)
    assert np.allclose(neighbours(tracks([[0.0]], [[0.0]]))[0], FAR)
    above = tracks([[0.0], [0.0]], [[0.0]] * 2, z=[[0.0], [6.0]])
    assert np.allclose(neighbours(above)[0], FAR)


def meets(**fields: Any) -> float:
    """When the first of two meets the other, 6 m ahead of its front, at 5 m/s more."""
    given = {"vx": [[8.0], [3.0]], "vy": 0.0, **fields}
    y = given.pop("y", 0.0)
    return float(neighbours(tracks([[0.0], [10.0]], [[0.0], [y]], **given))[1][0, 0])


def test_times_to_the_one_ahead_by_hand() -> None:
    assert np.isclose(meets(), 6.0 / 5.0)
    assert np.isclose(meets(y=1.9), 6.0 / 5.0)
    assert meets(y=2.1) == HORIZON  # beside the own way
    assert meets(vx=[[3.0], [8.0]]) == HORIZON  # it drives away
    assert meets(vx=[[3.5], [3.0]]) == HORIZON  # 12 s
    assert meets(heading=[[0.0], [2.0]]) == HORIZON  # headed elsewhere
    across = meets(heading=[[0.0], [1.0]])
    assert np.isclose(across, (10 - 2 - 2 * np.cos(1.0) - np.sin(1.0)) / 5)


def test_likelihoods_by_hand() -> None:
    simulated = np.array([[[0.1, 0.1, 0.9]], [[0.9, -7.0, 0.5]]])  # 2 rollouts of one agent
    valid = np.ones((2, 1, 3), bool)
    valid[1, 0, 2] = False
    recorded = np.array([[0.2, 0.7, 5.0]])
    found = histogram_likelihood(
        recorded, np.array([[True, True, False]]), simulated, valid, (0.0, 1.0), 2
    )
    assert np.allclose(np.exp(found), [[3.1 / 5.2, 2.1 / 5.2, 1.0]])
    assert bins_of(np.array([-1.0, 0.0, 0.5, 1.0, 9.0]), (0.0, 1.0), 2).tolist() == [0, 0, 1, 1, 1]


def test_features_by_hand() -> None:
    step = np.arange(20)
    scene = tracks([0.05 * step**2 + step], [[0.0] * 20], heading=[wrap(0.02 * step + 3.1)])
    found = features(Case(scene, DT, road=street()))
    inner = slice(1, -1)
    assert np.allclose(found["speed"].value[0, inner], (0.1 * step + 1)[inner] / DT)
    assert found["speed"].valid[0].tolist() == [False, *[True] * 18, False]
    assert np.allclose(found["acceleration"].value[0, 2:-2], 10.0)
    assert np.allclose(found["yaw_rate"].value[0, inner], 0.2, atol=1e-5)
    assert np.allclose(found["yaw_acceleration"].value[0, 2:-2], 0.0, atol=1e-4)
    assert found["acceleration"].valid.sum() == 16


def scene_of(rng: np.random.Generator, noise: float) -> Tracks:
    step = np.arange(40)
    speed = np.linspace(4, 12, 8)[:, None] * (1 + noise * rng.normal(0, 1, (8, 1)))
    y = np.where(np.arange(8) % 2, 1.75, 5.25)[:, None] + noise * rng.normal(0, 3, (8, 1))
    return tracks(15.0 * np.arange(8)[:, None] + speed * DT * step, y + 0.0 * step)


def test_the_log_itself_is_the_most_realistic() -> None:
    rng = np.random.default_rng(0)
    log = scene_of(rng, 0.0)
    options: Any = {"dt": DT, "road": street(400.0), "start": 5}
    same = realism(log, [log] * 4, **options)
    near = realism(log, [scene_of(rng, 0.05) for _ in range(4)], **options)
    wild = realism(log, [scene_of(rng, 0.6) for _ in range(4)], **options)
    assert same["realism"] > near["realism"] > wild["realism"] > 0.0
    assert sum(one.weight for one in FEATURES) == pytest.approx(1.0)
    assert set(same) == {"realism", *(one.name for one in FEATURES)}
    # All 4 rollouts agree with the log: (4 + 0.1) / (4 + 0.2).
    assert same["collision"] == pytest.approx(4.1 / 4.2)
    assert same["speed"] == pytest.approx((4 * 34 + 0.1) / (4 * 34 + 1.0))
    assert same["red_light"] == 1.0
    assert all(0.0 < value <= 1.0 for value in wild.values())


def test_only_those_asked_for_are_compared() -> None:
    rng = np.random.default_rng(1)
    log, other = scene_of(rng, 0.0), scene_of(rng, 0.5)
    keep = np.arange(8) < 2
    mixed = replace(
        log,
        **{
            name: np.where(keep[:, None], getattr(log, name), getattr(other, name))
            for name in ("x", "y", "vx", "vy")
        },
    )
    road = street(400.0)
    own = realism(log, [mixed], dt=DT, road=road, agents=[0, 1])
    assert own["speed"] > realism(log, [mixed], dt=DT, road=road)["speed"]
    assert own["offroad"] == pytest.approx(1.1 / 1.2)


def test_what_does_not_fit_is_refused() -> None:
    log = scene_of(np.random.default_rng(0), 0.0)
    with pytest.raises(ValueError, match="one rollout or more"):
        realism(log, [], dt=DT, road=Road.of())
    with pytest.raises(ValueError, match="start is 40, wanted 0 to 39"):
        realism(log, [log], dt=DT, road=Road.of(), start=40)
    with pytest.raises(ValueError, match=r"agents: \[8\], wanted 0 to 7"):
        realism(log, [log], dt=DT, road=Road.of(), agents=[8])
    with pytest.raises(ValueError, match="log: "):
        realism(log, [tracks(np.zeros((8, 3)), 0.0)], dt=DT, road=Road.of())
