"""The table of metrics, what it refuses, and what is made of values."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from selfdrive_env.metrics import (
    METRICS,
    WAYMAX,
    Metric,
    Polylines,
    Road,
    Route,
    compute,
    logged_routes,
)
from selfdrive_env.state.world import RED
from tests.metrics.traffic import DT, moved, moved_road, moved_route, street, tracks

NAMES = [metric.name for metric in METRICS]


def everything(scene: Any, **options: Any) -> dict[str, Metric]:
    given: dict[str, Any] = {"log": scene, "road": street(), "routes": logged_routes(scene, [0])}
    return compute(NAMES, scene, dt=DT, **{**given, **options})


def test_names_are_given_once_and_units_are_said() -> None:
    assert len(set(NAMES)) == len(NAMES) > 6
    assert WAYMAX == (
        "log_divergence", "overlap", "offroad", "kinematic_infeasibility", "wrong_way", "off_route",
        "progression",
    )  # fmt: skip
    for metric in METRICS:
        assert metric.unit and metric.meaning and metric.source
        assert set(metric.needs) <= {"log", "edges", "lanes", "stop lines", "routes"}


@pytest.mark.parametrize("agents", [[2], [3, 0]])
def test_metrics_of_some_agents_are_those_among_all(agents: list[int]) -> None:
    """Four drive along the first lane, from one another at distances that end in overlaps."""
    step, speed = np.arange(40), np.array([[9.0], [6.0], [4.0], [3.0]])
    x = np.array([[10.0], [16.0], [22.0], [27.0]]) + speed * DT * step
    scene = tracks(x, np.full(x.shape, 1.75) + 0.5 * np.sin(step / 9.0))
    routes = logged_routes(scene, range(4))
    whole = everything(scene, routes=routes)
    assert whole["overlap"].value.any() and not whole["overlap"].value.all()
    for name, one in everything(scene, routes=routes, agents=agents).items():
        assert np.array_equal(one.valid, whole[name].valid[agents]), name
        assert np.allclose(one.value, whole[name].value[agents], rtol=1e-12, atol=1e-12), name


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_what_is_missing_is_named(metric: Any) -> None:
    scene = tracks(np.zeros((1, 4)), np.zeros((1, 4)))
    if not metric.needs:
        assert compute(metric.name, scene, dt=DT).keys() == {metric.name}
        return
    with pytest.raises(ValueError, match=f"metric '{metric.name}' needs {metric.needs[0]}: give"):
        compute([metric.name], scene, dt=DT)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    scene = tracks(np.zeros((1, 4)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"'overlaps' is unknown \(did you mean 'overlap'\?\)"):
        compute(["overlaps"], scene, dt=DT)


def test_parts_that_do_not_fit_are_refused() -> None:
    scene = tracks(np.zeros((2, 4)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"log: \(2, 3\)"):
        compute("overlap", scene, dt=DT, log=tracks(np.zeros((2, 3)), np.zeros((2, 3))))
    with pytest.raises(ValueError, match="its agents are others"):
        compute("overlap", scene, dt=DT, log=replace(scene, id=scene.id + 1))
    for dt in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="dt is"):
            compute("overlap", scene, dt=dt)
    with pytest.raises(ValueError, match=r"routes: agents \[2\]"):
        compute("overlap", scene, dt=DT, routes=[Route(2, Polylines.of(()))])
    stops: dict[str, Any] = {"stop_point": [[1, 1]], "stop_heading": [0.0]}
    with pytest.raises(ValueError, match=r"road\.light: 3 steps, wanted 4"):
        compute("overlap", scene, dt=DT, road=Road.of(**stops, light=np.zeros((1, 3))))
    with pytest.raises(ValueError, match=r"road\.light: 9, wanted 0 to 4"):
        Road.of(**stops, light=np.full((1, 3), 9))
    with pytest.raises(ValueError, match=r"road\.stop_heading: shape \(0,\), wanted \(1,\)"):
        Road.of(stop_point=[[1, 1, 1]])
    with pytest.raises(ValueError, match=r"road\.successors: lanes beyond 0 to 0"):
        Road.of(lanes=[[[0, 0], [1, 0]]], successors=[[0, 1]])
    with pytest.raises(ValueError, match=r"road\.speed_limit: wanted 0"):
        Road.of(lanes=[[[0, 0], [1, 0]]], speed_limit=[-1.0])


def test_summing_up_by_hand() -> None:
    value = np.array([[1.0, 5.0, 9.0], [2.0, 0.0, 0.0], [7.0, 7.0, 7.0]])
    valid = np.array([[True, True, False], [True, False, True], [False] * 3])
    metric = Metric.of(value, valid)
    assert metric.value[0, 2] == 0.0
    assert metric.mean() == 2.0
    assert metric.by_agent().value.tolist() == [3.0, 1.0, 0.0]
    assert metric.by_agent().valid.tolist() == [True, True, False]
    assert metric.last().value.tolist() == [5.0, 0.0, 0.0]
    assert metric.most().value.tolist() == [5.0, 2.0, 0.0]
    assert metric.share(2.0) == 0.5
    assert metric.above(2.0).mean() == 0.25
    assert metric.steps(1).mean() == 2.5
    assert metric.agents([1]).mean() == 1.0
    assert Metric.of(value[:0], valid[:0]).mean() is None
    empty = Metric.of(value[:, :0], valid[:, :0])
    assert empty.last().mean() is empty.most().mean() is empty.by_agent().mean() is None
    with pytest.raises(ValueError, match="metric: value"):
        Metric(value, valid[:1])


@settings(max_examples=40)
@given(
    valid=hnp.arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 6))),
    seed=st.integers(0, 1000),
)
def test_any_validity_gives_finite_values_where_they_are_valid(valid: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = tracks(rng.uniform(0, 60, valid.shape), rng.uniform(-3, 13, valid.shape), valid=valid)
    for name, found in everything(scene).items():
        assert found.value.shape == found.valid.shape == valid.shape, name
        assert np.isfinite(found.value).all(), name
        assert not (found.valid & ~valid).any(), name
        assert not found.value[~found.valid].any(), name


@pytest.mark.parametrize("mirror", [False, True])
def test_nothing_depends_on_where_one_looks_from(mirror: bool) -> None:
    rng = np.random.default_rng(0)
    step = np.arange(30)
    speed = rng.uniform(0, 15, (12, 1))
    scene = tracks(
        rng.uniform(10, 60, (12, 1)) + speed * DT * step,
        rng.uniform(-2, 12, (12, 1)) + rng.normal(0, 0.1, (12, 1)) * step,
        valid=rng.random((12, 30)) < 0.95,
    )
    log = tracks(scene.x + rng.normal(0, 1, scene.x.shape), scene.y, valid=scene.valid)
    lights: Any = {"stop_point": [[40.0, 3.5]], "stop_heading": [0.0], "stop_half_width": [3.5]}
    road = street(**lights, light=np.full((1, 30), RED))
    routes = logged_routes(scene, range(12))
    place: Any = (2.3, (-300.0, 80.0), mirror)
    first = everything(scene, log=log, road=road, routes=routes)
    second = everything(
        moved(scene, *place),
        log=moved(log, *place),
        road=moved_road(road, *place),
        routes=[moved_route(route, *place) for route in routes],
    )
    assert first["red_light"].value.any()
    for name in NAMES:
        assert (first[name].valid == second[name].valid).all(), name
        assert np.allclose(first[name].value, second[name].value, atol=2e-3), name
        assert first[name].valid.any(), name


def test_the_benchmark_runs(capsys: Any) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "metrics.py"
    spec = importlib.util.spec_from_file_location("metrics_benchmark", path)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.main(["--agents", "6", "--steps", "5", "--points", "3000", "--repeats", "1"])
    printed = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0].strip("| ") for row in printed[4:]] == [
        *NAMES,
        "Waymax's seven",
        "all",
    ]
