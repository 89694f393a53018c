"""Where agents are along their routes, and beside lanes."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.metrics import Polylines, Road, Route, compute, logged_routes
from tests.metrics.traffic import DT, street, tracks


def one(name: str, scene: Any, **options: Any) -> Any:
    return compute(name, scene, dt=DT, **options)[name]


def test_far_from_lanes_is_the_wrong_way_whatever_the_heading() -> None:
    scene = tracks([[50.0] * 4] * 2, [[1.0, -1.7, -1.8, -6.0]] * 2, heading=[[0.0], [3.0]])
    found = one("wrong_way", scene, road=street())
    assert np.allclose(found.value, [[0.0, 0.0, 3.55, 7.75]] * 2)
    bikes = Road.of(lanes=street().lanes, drivable=[False] * 3)
    assert not one("wrong_way", scene, road=bikes).valid.any()


def test_off_the_route_by_distance_or_nearer_to_another_way() -> None:
    route = Polylines.of([[[0, 0], [100, 0]]])
    other = Polylines.of([[[0, 6], [100, 6]]])
    scene = tracks([[50.0] * 5], [[0.0, -4.9, -5.1, 3.9, 4.1]])
    alone = one("off_route", scene, routes=[Route(0, route)])
    assert np.allclose(alone.value, [[0, 0, 5.1, 0, 0]])
    both = one("off_route", scene, routes=[Route(0, route, other)])
    assert np.allclose(both.value, [[0, 0, 5.1, 0, 4.1]])  # 4.1 > 1.9 + 2


def test_progress_is_a_share_of_the_logged_way() -> None:
    log = tracks([np.linspace(10, 30, 5)] * 3, [[0.0] * 5] * 3, valid=[[1] * 5, [1] * 5, [0] * 5])
    line = Polylines.of([[[0, 0], [100, 0]]])
    scene = tracks([[10, 15, 30, 40, 5]] * 3, [[0.5] * 5] * 3)
    routes = [Route(0, line), Route(2, line)]
    found = one("progression", scene, log=log, routes=routes)
    assert np.allclose(found.value[0], [0, 0.25, 1, 1.5, -0.25])
    # Without a route, or a log, there is none.
    assert found.valid.tolist() == [[True] * 5, [False] * 5, [False] * 5]


def test_a_log_that_stands_is_driven_whole() -> None:
    log = tracks([[10.0] * 3], [[0.0] * 3])
    found = one("progression", log, log=log, routes=logged_routes(log, [0]))
    assert not found.valid.any()  # a route of one point leads nowhere
    line = [Route(0, Polylines.of([[[0, 0], [100, 0]]]))]
    assert one("progression", log, log=log, routes=line).value.tolist() == [[1.0] * 3]


def test_a_logged_route_is_followed_by_its_log() -> None:
    angle = np.linspace(0, np.pi, 60)
    log = tracks([40 * np.sin(angle)], [40 - 40 * np.cos(angle)], valid=[[1] * 55 + [0] * 5])
    routes = logged_routes(log, [0])
    assert not one("off_route", log, routes=routes).value.any()
    found = one("progression", log, log=log, routes=routes).value[0, :55]
    assert (np.diff(found) > 0).all()
    assert found[0] == 0 and np.isclose(found[-1], 1)
    assert len(routes[0].lines.point) == 55  # 2.1 m apart
