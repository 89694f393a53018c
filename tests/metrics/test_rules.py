"""Faults, times to collision, lanes, lights and comfort, by hand and against slow oracles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from selfdrive_env.metrics import Road, compute
from selfdrive_env.metrics.boxes import corners
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.rules.comfort import derivative, motion
from selfdrive_env.metrics.rules.faults import front_hits
from selfdrive_env.metrics.rules.lane_changes import lane_change_statistics, lane_changes_of
from selfdrive_env.metrics.rules.time_to_collision import HORIZON, TIME_STEP
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.world import GREEN, RED
from tests.metrics.traffic import DT, street, tracks, wrap


def one(name: str, scene: Tracks, road: Road | None = None, **options: Any) -> Any:
    return compute(name, scene, dt=DT, road=road or street(), **options)[name]


def approach(speed: float, other_speed: float, *, y: float = 1.75, other_y: float = 1.75,
        heading: float = 0.0, gap: float = 1.0) -> Any:  # fmt: skip
    """One drives towards another one `gap` ahead: whose fault the contact is."""
    step = np.arange(40)
    x = [20.0 + speed * DT * step, 24.0 + gap + other_speed * DT * step]
    scene = tracks(x, [[y] * 40, [other_y] * 40], heading=[[0.0] * 40, [heading] * 40])
    return one("collision_at_fault", scene).value.sum(axis=1).tolist()


def test_faults_by_hand() -> None:
    assert approach(10.0, 0.0) == [1, 0]  # into one that stands
    assert approach(10.0, 4.0) == [1, 0]  # into the rear of a slower one
    assert approach(0.0, -8.0, heading=np.pi - 1e-3) == [0, 1]  # hit head-on while it stands
    assert approach(6.0, -6.0, heading=np.pi - 1e-3) == [1, 1]  # head-on, both drive
    assert approach(5.0, 5.0) == [0, 0]  # never meet


@pytest.mark.parametrize(
    ("drift", "lead", "wanted"), [(0.0, 0.4, [1, 0]), (1.0, -0.4, [0, 1]), (1.0, 0.4, [1, 1])]
)
def test_at_the_sides_who_is_not_in_one_lane_is_at_fault(
    drift: float, lead: float, wanted: Any
) -> None:
    """One of two side by side leaves its lane; whose bumper is in the other is at fault, too."""
    step = np.arange(30)
    first = 1.75 + (1.0 - drift) * 0.1 * step
    second = 5.25 - drift * 0.1 * step
    scene = tracks([20.0 + step, 20.0 + lead + step], [first, second])
    assert one("collision_at_fault", scene).value.sum(axis=1).tolist() == wanted


def test_a_collision_begins_once_and_not_with_the_scene() -> None:
    x = [[0.0] * 6, [9, 3, 9, 3, 3, 9]]
    scene = tracks(x, np.full((2, 6), 1.75), vx=[[5.0] * 6, [-5.0] * 6])
    found = one("collision_at_fault", scene)
    assert found.value.sum() == 1 and found.value[0, 1] == 1
    assert not one(
        "collision_at_fault", tracks([[0.0] * 4, [3.0] * 4], [[1.75] * 4] * 2)
    ).value.any()
    late = tracks(x, np.full((2, 6), 1.75), vx=5.0, valid=[[1] * 6, [0, 1, 1, 1, 1, 1]])
    assert not one("collision_at_fault", late).value.any()


def test_front_bumpers_meet_boxes_as_shapely_says() -> None:
    rng = np.random.default_rng(0)
    shape = (2, 6000)
    scene = tracks(
        rng.uniform(-3, 3, shape), rng.uniform(-3, 3, shape),
        heading=wrap(np.concatenate([rng.uniform(0, 7, (2, 5000)), np.zeros((2, 1000))], axis=1)),
        vx=0.0, vy=0.0,
    )  # fmt: skip
    box = np.stack(corners(scene), axis=-1)
    wanted = shapely.intersects(shapely.linestrings(box[0, :, :2]), shapely.polygons(box[1]))
    step = np.arange(6000)
    found = front_hits(Case(scene, DT), step, step * 0, step * 0 + 1)
    assert 0.1 < wanted.mean() < 0.9
    assert (found == wanted).all()


def test_times_to_collision_by_hand() -> None:
    # 10 m between bumpers, 10 m/s faster: 1 s.
    scene = tracks([[20.0], [34.0]], [[1.75], [1.75]], vx=[[15.0], [5.0]], vy=0.0)
    assert np.allclose(one("time_to_collision", scene).value, [[1.0 + TIME_STEP], [HORIZON]])
    # The step after the touch counts; at 9.9 m it is the first one.
    scene = tracks([[20.1], [34.0]], [[1.75], [1.75]], vx=[[15.0], [5.0]], vy=0.0)
    assert np.allclose(one("time_to_collision", scene).value, [[1.0], [HORIZON]])
    # Beside each other in lanes of their own, drifting together: nobody in one lane is asked.
    scene = tracks([[20.0], [20.0]], [[1.75], [5.25]], vx=5.0, vy=[[1.0], [0.0]])
    assert (one("time_to_collision", scene).value == HORIZON).all()
    # Across the line it is.
    scene = tracks([[20.0], [20.0]], [[2.7], [5.25]], vx=5.0, vy=[[1.0], [0.0]])
    assert np.allclose(one("time_to_collision", scene).value, [[0.6], [HORIZON]])
    # Standing, overlapping, on another level: nobody meets.
    scene = tracks([[20.0], [30.0]], [[1.75]] * 2, vx=[[0.0], [-9.0]], vy=0.0)
    assert one("time_to_collision", scene).value[0] == HORIZON
    scene = tracks([[20.0], [23.0]], [[1.75]] * 2, vx=[[9.0], [0.0]], vy=0.0)
    assert one("time_to_collision", scene).value[0] == HORIZON
    scene = tracks([[20.0], [30.0]], [[1.75]] * 2, vx=[[9.0], [0.0]], vy=0.0, z=[[0.0], [6.0]])
    assert one("time_to_collision", scene).value[0] == HORIZON
    assert one("time_to_collision", scene, ignore_height=True).value[0] < 1.0


def test_times_to_collision_are_those_of_stepping_boxes() -> None:
    rng = np.random.default_rng(1)
    steps = 6000
    turn = wrap(rng.uniform(0, 2 * np.pi, (2, steps)))
    speed = rng.uniform(0.5, 12.0, (2, steps))
    scene = tracks(
        rng.uniform(-12, 12, (2, steps)), rng.uniform(-12, 12, (2, steps)), heading=turn,
        vx=speed * np.cos(turn), vy=speed * np.sin(turn), length=[4.5, 9.0], width=[1.9, 2.5],
    )  # fmt: skip
    found = compute("time_to_collision", scene, dt=DT, road=Road.of())["time_to_collision"].value

    def boxes(time: float) -> Any:
        return shapely.polygons(
            np.stack(
                corners(replace(scene, x=scene.x + time * scene.vx, y=scene.y + time * scene.vy)),
                axis=-1,
            )
        )

    now = boxes(0.0)
    apart = ~shapely.intersects(*now)
    wanted = np.full((2, steps), HORIZON)
    for time in np.arange(29, 0, -1) * TIME_STEP:
        meets = apart & shapely.intersects(*boxes(time))
        wanted[:, meets] = time
    for agent in (0, 1):  # without lanes all but those behind count
        dx, dy = scene.x[1 - agent] - scene.x[agent], scene.y[1 - agent] - scene.y[agent]
        along = np.cos(turn[agent]) * dx + np.sin(turn[agent]) * dy
        wanted[agent, along < -np.cos(np.pi / 6) * np.hypot(dx, dy)] = HORIZON
    close = np.abs(found - wanted) < 1e-6
    assert 0.1 < (wanted < HORIZON).mean() < 0.9
    assert close[:, apart].mean() > 0.999  # boxes that touch for no longer than rounding
    assert (np.abs(found - wanted)[~close] > 0).sum() < 15


def test_lights_by_hand() -> None:
    light = np.full((1, 6), RED, np.uint8)
    light[0, 4] = GREEN
    road = street(stop_point=[[50.0, 3.5]], stop_heading=[0.0], stop_half_width=[3.5], light=light)
    x = np.array([[46.0, 47, 48.5, 49, 50, 51]])  # the front is 2 m ahead
    assert one("red_light", tracks(x, np.full((1, 6), 1.75)), road).value.tolist() == [
        [0, 0, 1, 0, 0, 0]
    ]
    assert not one("red_light", tracks(x - 2, np.full((1, 6), 1.75)), road).value.any()  # green
    assert not one("red_light", tracks(x, np.full((1, 6), 8.75)), road).value.any()  # beside it
    above = tracks(x, np.full((1, 6), 1.75), z=6.0)
    assert not one("red_light", above, road).value.any()
    back = tracks(np.array([[55.0, 53, 51, 49, 47, 45]]), np.full((1, 6), 1.75), heading=3.1)
    assert not one("red_light", back, road).value.any()
    assert not one("red_light", tracks(x, x), street()).valid.any()


def test_lanes_by_hand() -> None:
    scene = tracks([[50.0] * 4], [[1.75, 2.5, 2.6, 5.25]], vx=12.0, vy=0.0)
    assert np.allclose(one("lane_excess", scene).value, [[-0.75, 0.0, 0.1, -0.75]])
    assert one("lane_changes", scene).value.tolist() == [[0, 0, 0, 1]]
    assert np.allclose(one("speeding", scene).value, 2.0)
    assert not one("speeding", scene, replace(street(), speed_limit=np.zeros(3, "f4"))).valid.any()
    # A lane that follows is no other one, nor is one within a junction.
    parts = [[[0, 0], [50, 0]], [[50, 0], [90, 0]]]
    ahead = tracks([[48.0, 52.0]], [[0.0, 0.0]])
    for fields, wanted in (({}, 1), ({"successors": [[0, 1]]}, 0), ({"junction": [0, 1]}, 0)):
        road = Road.of(lanes=parts, **fields)
        assert one("lane_changes", ahead, road).value[0, 1] == wanted


def test_lane_changes_are_those_of_a_walk_through_the_steps() -> None:
    """60 drivers over 400 steps between two lanes, against a loop over their corners."""
    rng = np.random.default_rng(6)
    agents, steps = 60, 400
    push = np.cumsum(rng.normal(0.0, 0.08, (agents, steps)), axis=1)
    y = 3.5 + 1.9 * np.sin(push + rng.uniform(0.0, 6.0, (agents, 1)))
    y += rng.choice([-0.006, 0.006], y.shape)  # corners just in the lane, or just not
    valid = rng.random(y.shape) > 0.002
    scene = tracks(np.linspace(2.0, 190.0, steps) + 0.0 * y, y, valid=valid, vy=0.0)
    wanted = []
    for agent in range(agents):
        left: Any = None  # lane and step of the last time wholly in one
        for step in range(steps):
            if not scene.valid[agent, step]:
                left = None
                continue
            lane = [k for k in (0, 1) if abs(y[agent, step] - 1.75 - 3.5 * k) + 1.0 <= 1.75]
            if lane:
                if left is not None and step > left[1] + 1:
                    wanted.append((agent, left[1], step, lane[0] == left[0]))
                left = lane[0], step
    found = lane_changes_of(Case(scene, DT, None, street()))
    assert [tuple(one) for one in found] == wanted
    failed = sum(one.failed for one in found)
    assert failed > 20 and len(found) - failed > 20
    assert one("failed_lane_changes", scene).value.sum() == failed
    figures = lane_change_statistics(scene, dt=DT, road=street())
    for agent in range(agents):
        own = [change for change in wanted if change[0] == agent]
        assert figures["number"].value[agent] == len(own)
        if own:
            times = [DT * (end - start) for _, start, end, _ in own]
            assert figures["longest"].value[agent] == pytest.approx(max(times))
            assert figures["mean"].value[agent] == pytest.approx(np.mean(times))
            share = np.mean([back for *_, back in own])
            assert figures["failed"].value[agent] == pytest.approx(share)
            assert figures["fine"].value[agent] == (share < 0.3)
        assert figures["failed"].valid[agent] == bool(own)


def test_a_lane_that_follows_is_the_lane_that_was_left() -> None:
    lanes = [[[0, 0], [50, 0]], [[50, 0], [90, 0]], [[0, 3.5], [90, 3.5]]]
    step = np.linspace(20.0, 80.0, 61)
    back = 1.2 * np.exp(-(((step - 50.0) / 8.0) ** 2))
    over = 3.5 / (1.0 + np.exp(-(step - 50.0)))
    road = Road.of(lanes=lanes, successors=[[0, 1]], half_width=[1.75] * 3)
    for y, failed in ((back, True), (over, False)):
        found = lane_changes_of(Case(tracks([step], [y], vy=0.0), DT, None, road))
        assert [change.failed for change in found] == [failed]
    inside = Road.of(lanes=lanes, successors=[[0, 1]], junction=[0, 1, 0])
    assert lane_changes_of(Case(tracks([step], [back], vy=0.0), DT, None, inside)) == []


def test_against_the_traffic_by_hand() -> None:
    step = np.arange(30)
    wrong = tracks([100.0 - 5.0 * DT * step], [[1.75] * 30], heading=-np.pi)
    found = one("driving_direction", wrong).value[0]
    assert np.allclose(found, np.minimum(step, 10) * 0.5)
    right = tracks([100.0 - 5.0 * DT * step], [[8.75] * 30], heading=-np.pi)
    assert not one("driving_direction", right).value.any()
    # Where two lanes cross, one of them runs along the way.
    both = Road.of(lanes=[[[0, 0], [200, 0]], [[200, 1], [0, 1]]])
    assert not one("driving_direction", tracks([100 - step * 0.5], [[0.0] * 30], heading=-np.pi),
        both).value.any()  # fmt: skip
    backing = tracks([100.0 - 5.0 * DT * step], [[1.75] * 30], heading=0.0)
    assert not one("driving_direction", backing).value.any()  # it reverses in its own lane


def test_derivatives_of_polynomials_are_exact() -> None:
    step = np.arange(40) * DT
    value = np.stack([3 + 2 * step - 1.5 * step**2, step**3])
    valid = np.ones((2, 40), bool)
    valid[0, [11, 14, 20]] = False
    first, known = derivative(np.where(valid, value, 0.0), valid, DT, 1, 2, 1.5)
    assert np.allclose(first[0, valid[0]][known[0, valid[0]]], (2 - 3 * step)[valid[0] & known[0]])
    assert known[0].tolist() == [
        *[True] * 11,
        *[False] * 3,
        False,
        *[True] * 5,
        False,
        *[True] * 19,
    ]
    second, _ = derivative(value, np.ones((2, 40), bool), DT, 2, 3, 1.5)
    assert np.allclose(second, np.stack([np.full(40, -3.0), 6 * step]))


def test_motion_in_a_circle() -> None:
    step = np.arange(60) * DT
    angle = 0.4 * step + 2.0
    scene = tracks(
        [20 * np.sin(angle)], [-20 * np.cos(angle)], heading=wrap(angle), vx=8 * np.cos(angle),
        vy=8 * np.sin(angle),
    )  # fmt: skip
    found = motion(Case(scene, DT))
    assert np.allclose(found.lateral_acceleration, 3.2, atol=0.05)
    assert np.allclose(found.longitudinal_acceleration, 0.0, atol=0.05)
    assert np.allclose(found.yaw_rate, 0.4, atol=1e-3)
    assert np.allclose(found.yaw_acceleration, 0.0, atol=1e-3)
    assert np.allclose(found.jerk, 3.2 * 0.4, atol=0.1)
    assert not one("uncomfortable", scene).value.any()


@pytest.mark.parametrize(("acceleration", "wanted"), [(2.3, 0), (2.5, 1), (-4.0, 0), (-4.2, 1)])
def test_bounds_of_comfort(acceleration: float, wanted: int) -> None:
    speed = 40.0 + acceleration * np.arange(30) * DT
    scene = tracks([np.cumsum(speed) * DT], [[1.75] * 30], vx=speed)
    found = one("uncomfortable", scene)
    assert found.valid.all() and (found.value == wanted).all()
