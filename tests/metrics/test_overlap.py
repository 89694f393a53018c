"""Boxes that overlap: by hand, and against shapely."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.metrics import compute
from selfdrive_env.metrics.boxes import contacts, corners
from selfdrive_env.scenes.tracks import Tracks
from tests.metrics.traffic import DT, moved, tracks, wrap

CASES = 12_000


def overlap(scene: Tracks, **options: Any) -> Any:
    return compute(["overlap"], scene, dt=DT, **options)["overlap"].value > 0


def polygons(scene: Tracks) -> Any:
    return shapely.polygons(np.stack(corners(scene), axis=-1))


def pairs(rng: np.random.Generator, count: int = CASES, spread: float = 4.0) -> Tracks:
    """Two boxes near each other at each of many steps."""
    shape = (2, count)
    return tracks(
        rng.uniform(-spread, spread, shape) + 3000.0,
        rng.uniform(-spread, spread, shape) - 8000.0,
        heading=wrap(rng.uniform(0.0, 2 * np.pi, shape)),
        length=rng.uniform(0.5, 6.0, 2),
        width=rng.uniform(0.3, 2.5, 2),
        vx=0.0,
        vy=0.0,
    )


def test_by_hand() -> None:
    # Beside each other, 2 m wide: they touch at 2 m.
    scene = tracks([[0.0] * 4] * 2, [[0.0] * 4, [1.9, 2.0, 2.1, -1.9]])
    assert overlap(scene).tolist() == [[True, False, False, True]] * 2
    # Behind each other, 4 m long.
    scene = tracks([[0.0] * 3, [3.9, 4.0, 4.1]], np.zeros((2, 3)))
    assert overlap(scene).tolist() == [[True, False, False]] * 2
    # A corner that points into a side reaches sqrt(5) = 2.236 m before its middle.
    angle = np.arctan2(1.0, 2.0)
    scene = tracks([[0.0] * 2, [2.0 + 2.23, 2.0 + 2.24]], np.zeros((2, 2)), heading=[[0], [angle]])
    assert overlap(scene).tolist() == [[True, False]] * 2


def test_levels_part_bodies_unless_height_is_ignored() -> None:
    scene = tracks(np.zeros((2, 3)), np.zeros((2, 3)), z=[[0.0] * 3, [2.4, 2.5, -6.0]])
    assert overlap(scene).tolist() == [[True, False, False]] * 2
    assert overlap(scene, ignore_height=True).all()


def test_who_is_not_there_touches_nobody() -> None:
    scene = tracks(np.zeros((3, 2)), np.zeros((3, 2)), valid=[[1, 1], [1, 0], [0, 0]])
    found = compute(["overlap"], scene, dt=DT)["overlap"]
    assert found.value.tolist() == [[1, 0], [1, 0], [0, 0]]
    assert found.valid.tolist() == scene.valid.tolist()


def test_random_boxes_overlap_as_polygons_do() -> None:
    scene = pairs(np.random.default_rng(0))
    a, b = polygons(scene)
    area = shapely.area(shapely.intersection(a, b))
    touching = (area > 0.0) & (area < 1e-11)
    assert 0.2 < (area > 0.0).mean() < 0.8
    assert touching.mean() < 1e-3
    assert (overlap(scene) == (area > 0.0))[:, ~touching].all()


@pytest.mark.parametrize("deeper", [-1e-3, -1e-5, 1e-4, 1e-3])
def test_boxes_that_all_but_touch(deeper: float) -> None:
    """Boxes apart are moved onto each other along their shortest connection, and a bit more."""
    scene = pairs(np.random.default_rng(1), spread=7.0)
    a, b = polygons(scene)
    line = shapely.get_coordinates(shapely.shortest_line(a, b)).reshape(-1, 2, 2)
    way = line[:, 0] - line[:, 1]
    distance = np.hypot(*way.T)
    apart = distance > 0.01
    way *= (1.0 + deeper / np.where(apart, distance, 1.0))[:, None]
    scene.x[1] += way[:, 0]
    scene.y[1] += way[:, 1]
    assert apart.sum() > 6000
    assert (overlap(scene)[:, apart] == (deeper > 0)).all()


def test_a_crowd_is_as_its_pairs() -> None:
    rng = np.random.default_rng(2)
    shape = (40, 30)
    scene = tracks(
        rng.uniform(-25, 25, shape), rng.uniform(-25, 25, shape), valid=rng.random(shape) < 0.8,
        heading=wrap(rng.uniform(0, 7, shape)), length=rng.uniform(1, 9, 40), vx=0.0, vy=0.0,
    )  # fmt: skip
    boxes = polygons(scene)
    wanted = set()
    for step in range(shape[1]):
        here = np.flatnonzero(scene.valid[:, step])
        tree = shapely.STRtree(boxes[here, step])
        i, j = tree.query(boxes[here, step], predicate="intersects")
        wanted |= {(step, int(here[a]), int(here[b])) for a, b in zip(i, j, strict=True)}
    found = contacts(scene)
    triples = list(
        zip(found.step.tolist(), found.agent.tolist(), found.other.tolist(), strict=True)
    )
    wanted = {(step, a, b) for step, a, b in wanted if a != b}
    assert len(wanted) > 300
    assert set(triples) == wanted
    assert triples == sorted(triples)


@pytest.mark.parametrize("mirror", [False, True])
def test_overlap_does_not_depend_on_where_one_looks_from(mirror: bool) -> None:
    scene = pairs(np.random.default_rng(3))
    scene.x[:] -= 3000.0
    scene.y[:] += 8000.0
    other = moved(scene, 2.1, (-700.0, 300.0), mirror)
    a, b = polygons(scene)
    # Headings are single precision: what is turned is not the same to the last bit.
    clear = (shapely.distance(a, b) > 1e-5) | (shapely.area(shapely.intersection(a, b)) > 1e-4)
    assert (overlap(scene) == overlap(other))[:, clear].all()
    assert clear.mean() > 0.95
