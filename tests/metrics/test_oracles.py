"""Every metric of the table against its definition, on ten thousand steps and more of each.

Oracles are plain NumPy and Shapely in double precision, agent by agent where that is clearer. Half
of the cases lie just on either side of what decides.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from selfdrive_env.metrics import METRICS, Polylines, Road, Route, compute
from selfdrive_env.metrics.boxes import corners
from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.rules.comfort import BOUNDS, motion
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.world import GREEN, RED
from tests.metrics.traffic import DT, street, tracks, wrap

AGENTS, STEPS = 120, 100
SHAPE = AGENTS, STEPS
ELSEWHERE = {
    "overlap": "test_overlap",
    "offroad": "test_offroad",
    "time_to_collision": "test_rules",
    "failed_lane_changes": "test_rules",
}
"""Metrics whose oracles stand in other files."""

CENTRES = (1.75, 5.25, 8.75)
"""Lanes of `street`, the last one to the west."""


def test_every_metric_has_an_oracle() -> None:
    here = {name.removeprefix("test_oracle_of_") for name in globals() if "oracle_of_" in name}
    assert here | set(ELSEWHERE) == {metric.name for metric in METRICS}


def found(name: str, scene: Tracks, **given: Any) -> Any:
    return compute(name, scene, dt=DT, **given)[name]


def on_street(seed: int, **fields: Any) -> Tracks:
    """Bodies anywhere across a street, in any direction; half of them at the edges of lanes."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0.0, 0.4, SHAPE), axis=1) + rng.uniform(60.0, 140.0, (AGENTS, 1))
    y = rng.uniform(-1.0, 12.0, (AGENTS, 1)) + np.cumsum(rng.normal(0.0, 0.25, SHAPE), axis=1)
    heading = rng.uniform(-np.pi, np.pi, SHAPE)
    heading[: AGENTS // 2] = rng.choice([0.0, -np.pi], (AGENTS // 2, STEPS))
    near = rng.choice([0.0, 3.5, 7.0, 10.5], (AGENTS // 2, STEPS))
    near += rng.choice([-1.0, 0.0, 1.0], near.shape) + rng.normal(0.0, 0.01, near.shape)
    y[: AGENTS // 2] = near
    valid = rng.random(SHAPE) > 0.03
    return tracks(x, y, heading=wrap(heading), valid=valid, **fields)


def lanes_of(scene: Tracks) -> tuple[np.ndarray, np.ndarray]:
    """Nearest lane along the heading (-1 without one), and nearest lane of all, by `street`."""
    away = np.abs(scene.y[..., None] - np.array(CENTRES))
    along = np.cos(scene.heading.astype(np.float64))
    fits = np.stack([along >= 0.5, along >= 0.5, -along >= 0.5], -1)
    own = np.where(fits, away, np.inf)
    return np.where(fits.any(-1), own.argmin(-1), -1), away.argmin(-1)


def sure_lanes(scene: Tracks) -> np.ndarray:
    """Whether rounding does not decide which lane is the nearest, or which way one looks."""
    y = scene.y
    sure = (np.abs(y - 3.5) > 1e-6) & (np.abs(y - 7.0) > 1e-6)
    return sure & (np.abs(np.abs(np.cos(scene.heading.astype(np.float64))) - 0.5) > 1e-6)


def test_oracle_of_log_divergence() -> None:
    rng = np.random.default_rng(0)
    valid = rng.random((2, *SHAPE)) > 0.1
    log, scene = (tracks(*rng.normal(0.0, 1e4, (2, *SHAPE)), valid=one) for one in valid)
    got = found("log_divergence", scene, log=log)
    for agent in range(AGENTS):
        for step in range(STEPS):
            assert got.valid[agent, step] == valid[:, agent, step].all()
            if got.valid[agent, step]:
                ends = ((one.x[agent, step], one.y[agent, step]) for one in (log, scene))
                assert math.isclose(got.value[agent, step], math.dist(*ends), rel_tol=1e-12)


def test_oracle_of_kinematic_infeasibility() -> None:
    """Accelerations around 10.4 m/s² and curvatures around 0.3 1/m, and any other ones."""
    rng = np.random.default_rng(1)
    speed, yaw = np.full(AGENTS, 60.0), rng.uniform(-3.0, 3.0, AGENTS)
    vx, vy = np.zeros((2, *SHAPE))
    for step in range(STEPS):
        vx[:, step], vy[:, step] = speed * np.cos(yaw), speed * np.sin(yaw)
        a = rng.choice([-1.0, 1.0], AGENTS) * (10.401 + rng.normal(0.0, 0.02, AGENTS))
        a[::2] = rng.uniform(-12.0, 12.0, AGENTS // 2)
        a = np.where(speed + a * DT < 0.0, np.abs(a), a)
        a = np.where(speed > 70.0, -np.abs(a), a)
        way = speed * DT + 0.5 * a * DT**2
        yaw = yaw + way * rng.choice([-1.0, 1.0], AGENTS) * (0.301 + rng.normal(0.0, 2e-3, AGENTS))
        speed = speed + a * DT
    valid = rng.random(SHAPE) > 0.05
    scene = tracks(np.zeros(SHAPE), np.zeros(SHAPE), vx=vx, vy=vy, valid=valid)
    got = found("kinematic_infeasibility", scene)
    beyond, checked = 0, 0
    for agent in range(AGENTS):
        for step in range(STEPS):
            known = valid[agent, step] and (step == 0 or valid[agent, step - 1])
            assert got.valid[agent, step] == known
            if not known or step == 0:
                assert got.value[agent, step] == 0.0
                continue
            v0, v1 = (complex(scene.vx[agent, s], scene.vy[agent, s]) for s in (step - 1, step))
            a = (abs(v1) - abs(v0)) / DT
            bend = 0.0
            if min(abs(v0), abs(v1)) >= 0.6:
                bend = cmath.phase(v1 / v0) / (abs(v0) * DT + 0.5 * a * DT**2)
            over = max(abs(a) - 10.401, 35.0 * (abs(bend) - 0.301))
            if abs(over) > 1e-5:
                assert got.value[agent, step] == (over > 0.0)
                checked, beyond = checked + 1, beyond + (over > 0.0)
    assert checked > 10_000 and 0.2 < beyond / checked < 0.9


def winding(rng: np.random.Generator, count: int = 8) -> list[np.ndarray]:
    """Bent lines that cross each other."""
    out = []
    for _ in range(count):
        heading = rng.uniform(0.0, 6.0) + np.cumsum(rng.normal(0.0, 0.1, 60))
        step = 2.0 * np.stack([np.cos(heading), np.sin(heading)], 1)
        out.append(np.cumsum(step, 0) + rng.uniform(-40.0, 40.0, 2))
    return out


def beside(rng: np.random.Generator, lines: list[np.ndarray], away: float) -> tuple[Any, Any]:
    """Places anywhere, and in half of the cases about `away` metres beside a line."""
    x, y = rng.uniform(-120.0, 120.0, (2, *SHAPE))
    for agent in range(0, AGENTS, 2):
        line = lines[int(rng.integers(len(lines)))]
        at = rng.integers(0, len(line) - 1, STEPS)
        way = line[at + 1] - line[at]
        side = np.stack([-way[:, 1], way[:, 0]], 1) / np.hypot(*way.T)[:, None]
        distance = rng.choice([-1.0, 1.0], STEPS) * (away + rng.normal(0.0, 0.01, STEPS))
        x[agent], y[agent] = (line[at] + 0.5 * way + distance[:, None] * side).T
    return x, y


def test_oracle_of_wrong_way() -> None:
    rng = np.random.default_rng(2)
    lines = winding(rng)
    x, y = beside(rng, lines, 3.5)
    scene = tracks(x, y, valid=rng.random(SHAPE) > 0.03)
    got = found("wrong_way", scene, road=Road.of(lanes=lines))
    distance = shapely.distance(
        shapely.union_all([shapely.linestrings(one) for one in lines]), shapely.points(x, y)
    )
    wanted = np.where(distance > 3.5, distance, 0.0)
    sure = scene.valid & (np.abs(distance - 3.5) > 1e-6)
    assert sure.sum() > 10_000 and 0.1 < (wanted[sure] > 0.0).mean() < 0.9
    np.testing.assert_allclose(got.value[sure], wanted[sure], atol=1e-6)
    np.testing.assert_array_equal(got.valid, scene.valid)


def test_oracle_of_off_route() -> None:
    rng = np.random.default_rng(3)
    ways, others = winding(rng), winding(rng)
    x, y = beside(rng, ways, 5.0)
    scene = tracks(x, y, valid=rng.random(SHAPE) > 0.03)
    routes = [
        Route(n, Polylines.of([ways[n % 8]]), Polylines.of(others[: n % 4])) for n in range(AGENTS)
    ]
    got = found("off_route", scene, routes=routes)
    for n in range(AGENTS):
        points = shapely.points(x[n], y[n])
        own = shapely.distance(shapely.linestrings(ways[n % 8]), points)
        other = np.full(STEPS, np.inf)
        for line in others[: n % 4]:
            other = np.minimum(other, shapely.distance(shapely.linestrings(line), points))
        off = (own > 5.0) | (own > other + 2.0)
        sure = (np.abs(own - 5.0) > 1e-6) & (np.abs(own - other - 2.0) > 1e-6) & scene.valid[n]
        np.testing.assert_allclose(got.value[n, sure], np.where(off, own, 0.0)[sure], atol=1e-6)


def test_oracle_of_progression() -> None:
    rng = np.random.default_rng(4)
    heading = np.cumsum(rng.normal(0.0, 0.03, (AGENTS, 60)), axis=1)
    way = np.cumsum(2.0 * np.stack([np.cos(heading), np.sin(heading)], -1), axis=1)
    line = [shapely.linestrings(one) for one in way]

    def near(share: Any) -> Tracks:
        at = np.array(
            [
                shapely.get_coordinates(shapely.line_interpolate_point(line[n], 110.0 * share[n]))
                for n in range(AGENTS)
            ]
        )
        at += rng.normal(0.0, 1.0, at.shape)
        return tracks(at[..., 0], at[..., 1], valid=rng.random(SHAPE) > 0.05)

    log = near(np.sort(rng.uniform(0.1, 0.9, SHAPE), axis=1))
    scene = near(rng.uniform(0.0, 1.0, SHAPE))
    routes = [Route(n, Polylines.of([way[n]]), Polylines.of(())) for n in range(AGENTS)]
    got = found("progression", scene, log=log, routes=routes)
    for n in range(AGENTS):
        arc, own = (
            shapely.line_locate_point(line[n], shapely.points(one.x[n], one.y[n]))
            for one in (log, scene)
        )
        first, last = np.flatnonzero(log.valid[n])[[0, -1]]
        wanted = (own - arc[first]) / (arc[last] - arc[first])
        here = scene.valid[n]
        np.testing.assert_allclose(got.value[n, here], wanted[here], atol=1e-6)


def test_oracle_of_collision_at_fault() -> None:
    """12,000 pairs that are apart at first, 50 m from the next pair on a very long street."""
    rng = np.random.default_rng(5)
    pairs = 12_000
    middle = 30.0 + 50.0 * np.arange(pairs)
    x = np.zeros((2, pairs, 2))
    y = rng.uniform(0.0, 10.5, (2, pairs, 2))
    y[..., 1] = rng.choice([*CENTRES, 2.5, 4.5, 2.501, 2.499], (2, pairs))
    x[0, :, :], x[1, :, 0] = middle[:, None], middle + 20.0
    x[1, :, 1] = middle + rng.uniform(-5.0, 5.0, pairs)
    heading = rng.choice([0.0, 0.1, -3.1, 1.5], (2, pairs, 1)) + rng.normal(0, 0.05, (2, pairs, 1))
    heading[:, ::3] = 0.0
    speed = rng.choice([0.0, 0.04, 0.06, 5.0], (2, pairs, 1))
    turn = np.broadcast_to(wrap(heading), x.shape)
    scene = tracks(
        x.reshape(-1, 2), y.reshape(-1, 2), heading=turn.reshape(-1, 2),
        vx=(speed * np.cos(turn)).reshape(-1, 2), vy=(speed * np.sin(turn)).reshape(-1, 2),
    )  # fmt: skip
    ends = np.array([0.0, 50.0 * pairs + 100.0])
    lanes = [
        np.stack([ends[::way], ends * 0.0 + y], 1)
        for y, way in zip(CENTRES, (1, 1, -1), strict=True)
    ]
    road = Road.of(lanes=lanes)
    got = found("collision_at_fault", scene, road=road).value[:, 1].reshape(2, pairs)
    box = np.stack(corners(scene), -1)[:, 1].reshape(2, pairs, 4, 2)
    body = shapely.polygons(box)
    shared = shapely.area(shapely.intersection(body[0], body[1]))
    now = replace(scene, **{n: getattr(scene, n)[:, 1:] for n in ("x", "y", "heading", "valid")},
        **{n: getattr(scene, n)[:, 1:] for n in ("z", "vx", "vy")})  # fmt: skip
    lane = lanes_of(now)[0].reshape(2, pairs)
    beyond = np.abs(box[..., 1] - np.array(CENTRES)[lane][..., None]).max(-1) - 1.75
    within = (lane >= 0) & (beyond <= 0.0)
    sure = (shared == 0.0) | (shared > 1e-5)
    sure &= ((np.abs(beyond) > 1e-5) & sure_lanes(now).reshape(2, pairs)).all(0)
    hits = 0
    for one in (0, 1):
        other = 1 - one
        to = np.stack([x[other, :, 1] - x[one, :, 1], y[other, :, 1] - y[one, :, 1]], -1)
        size = np.hypot(*to.T)
        facing = np.stack([np.cos(turn[one, :, 1]), np.sin(turn[one, :, 1])], -1)
        behind = (to * facing).sum(-1) / np.maximum(size, 1e-12) < -math.cos(math.pi / 6)
        front = shapely.intersects(shapely.linestrings(box[one, :, :2]), body[other])
        stands = speed[..., 0] <= 0.05
        guilty = (shared > 1e-5) & ~stands[one]
        guilty &= stands[other] | (~behind & (front | ~within[one]))
        wrong = sure & (guilty != (got[one] == 1.0))
        assert wrong.sum() <= 3, np.flatnonzero(wrong)[:9]  # bumpers that touch within rounding
        hits += int(guilty.sum())
    assert sure.sum() > 10_000 and hits > 3000


def test_oracle_of_red_light() -> None:
    rng = np.random.default_rng(7)
    direction = rng.uniform(-np.pi, np.pi, 4)
    point = rng.uniform(-30.0, 30.0, (4, 2))
    half = rng.uniform(2.0, 6.0, 4)
    light = rng.choice(np.array([RED, GREEN], np.uint8), (4, STEPS))
    x, y, heading = np.zeros((3, *SHAPE))
    for agent in range(AGENTS):
        line = agent % 4
        turn = direction[line] + rng.normal(0.0, 0.6)
        along = rng.normal(0.0, 1.0, STEPS)
        aside = rng.choice([-1.0, 1.0], STEPS) * (half[line] + rng.normal(0.0, 0.05, STEPS))
        aside[::2] = rng.uniform(-8.0, 8.0, STEPS // 2)
        front = point[line, :, None] + np.stack(
            [
                along * np.cos(direction[line]) - aside * np.sin(direction[line]),
                along * np.sin(direction[line]) + aside * np.cos(direction[line]),
            ]
        )
        heading[agent] = turn
        x[agent], y[agent] = front[0] - 2.0 * np.cos(turn), front[1] - 2.0 * np.sin(turn)
    z = rng.choice([0.0, 2.49, 2.51], (AGENTS, 1)) + np.zeros(SHAPE)
    scene = tracks(x, y, z=z, heading=wrap(heading), valid=rng.random(SHAPE) > 0.03)
    road = street(stop_point=np.concatenate([point, np.zeros((4, 1))], 1), stop_heading=direction,
        stop_half_width=half, light=light)  # fmt: skip
    got = found("red_light", scene, road=road)
    passed = unsure = 0
    for agent in range(AGENTS):
        for step in range(1, STEPS):
            wanted, doubt = False, False
            if scene.valid[agent, step] and scene.valid[agent, step - 1]:
                for line in range(4):
                    way = cmath.exp(1j * float(road.stop_heading[line]))
                    place = complex(*road.stop_point[line, :2])
                    ends = []
                    for at in (step - 1, step):
                        own = cmath.exp(1j * float(scene.heading[agent, at]))
                        front = complex(scene.x[agent, at], scene.y[agent, at]) + 2.0 * own
                        ends.append((front - place) / way)
                    turn = (own / way).real
                    aside = float(road.stop_half_width[line]) - abs(ends[1].imag)
                    margins = (-ends[0].real, ends[1].real, turn - 0.5, aside, 2.5 - z[agent, 0])
                    crosses = min(margins) >= 0.0
                    doubt |= min(map(abs, margins)) < 1e-5
                    wanted |= crosses and light[line, step] == RED
            unsure += doubt
            passed += wanted
            assert doubt or got.value[agent, step] == wanted
    assert passed > 150 and unsure < 50


def test_oracle_of_speeding() -> None:
    rng = np.random.default_rng(8)
    speed = np.where(rng.random(SHAPE) < 0.5, 10.0 + rng.normal(0, 0.01, SHAPE), 0.0)
    speed += rng.uniform(0.0, 20.0, SHAPE) * (speed == 0.0)
    angle = rng.uniform(-np.pi, np.pi, SHAPE)
    scene = on_street(8, vx=speed * np.cos(angle), vy=speed * np.sin(angle))
    road = replace(street(), speed_limit=np.array([10.0, 7.0, 12.0], np.float32))
    got, own = found("speeding", scene, road=road), lanes_of(scene)[0]
    size = np.hypot(scene.vx.astype(np.float64), scene.vy)
    wanted = np.maximum(size - np.array([10.0, 7.0, 12.0])[own], 0.0)
    sure = scene.valid & sure_lanes(scene)
    np.testing.assert_array_equal(got.valid[sure], (own >= 0)[sure])
    here = sure & (own >= 0)
    assert here.sum() > 5000 and sure.sum() > 10_000
    np.testing.assert_allclose(got.value[here], wanted[here], atol=1e-6)


def test_oracle_of_lane_excess() -> None:
    scene = on_street(9)
    got, own = found("lane_excess", scene, road=street()), lanes_of(scene)[0]
    y = corners(scene)[1]
    wanted = np.abs(y - np.array(CENTRES)[own][..., None]).max(-1) - 1.75
    sure = scene.valid & sure_lanes(scene)
    here = sure & (own >= 0)
    assert sure.sum() > 10_000
    np.testing.assert_array_equal(got.valid[sure], here[sure])
    np.testing.assert_allclose(got.value[here], wanted[here], atol=1e-5)


def test_oracle_of_lane_changes() -> None:
    scene = on_street(10)
    got, own = found("lane_changes", scene, road=street()), lanes_of(scene)[0]
    sure = sure_lanes(scene)
    checked = changes = 0
    for agent in range(AGENTS):
        for step in range(1, STEPS):
            both = scene.valid[agent, step - 1 : step + 1].all()
            known = both and (own[agent, step - 1 : step + 1] >= 0).all()
            if sure[agent, step - 1 : step + 1].all():
                wanted = known and own[agent, step] != own[agent, step - 1]
                assert got.value[agent, step] == wanted
                checked, changes = checked + 1, changes + wanted
    assert checked > 10_000 and changes > 500


def test_oracle_of_driving_direction() -> None:
    scene = on_street(11)
    got = found("driving_direction", scene, road=street())
    own, nearest = lanes_of(scene)
    way = np.array([1.0, 1.0, -1.0])
    centres = np.array(CENTRES)
    inside = (own >= 0) & (np.abs(scene.y - centres[own]) <= 1.75)
    there = np.abs(scene.y - centres[nearest]) <= 1.75
    doubt = ~sure_lanes(scene) | (np.abs(np.abs(scene.y - centres[nearest]) - 1.75) < 1e-6)
    checked = against = 0
    for agent in range(AGENTS):
        for step in range(STEPS):
            steps = range(max(step - 9, 1), step + 1)
            total = 0.0
            for at in steps:
                if not (scene.valid[agent, at] and scene.valid[agent, at - 1]):
                    continue
                if there[agent, at] and not inside[agent, at]:
                    moved = scene.x[agent, at] - scene.x[agent, at - 1]
                    total += moved * way[nearest[agent, at]]
            if not scene.valid[agent, step] or doubt[agent, steps.start : step + 1].any():
                continue
            assert math.isclose(got.value[agent, step], max(-total, 0.0), abs_tol=1e-6)
            checked, against = checked + 1, against + (total < -0.1)
    assert checked > 8000 and against > 500


def test_oracle_of_uncomfortable() -> None:
    """Polynomials fitted anew at each step; half of the drivers are near a bound all along."""
    rng = np.random.default_rng(12)
    time = DT * np.arange(STEPS)
    speed = 60.0 + rng.choice([2.4, -4.05, 0.3, 0.0], (AGENTS, 1)) * time * rng.uniform(
        0.97, 1.03, (AGENTS, 1)
    )
    speed += rng.uniform(0.0, 2.0, (AGENTS, 1)) * np.sin(rng.uniform(0.2, 2.0, (AGENTS, 1)) * time)
    bend = rng.choice([0.0, 4.89, 3.0], (AGENTS, 1)) * rng.uniform(0.98, 1.02, (AGENTS, 1))
    angle = wrap(rng.uniform(-3, 3, (AGENTS, 1)) + np.cumsum(bend / speed * DT, axis=1))
    vx, vy = speed * np.cos(angle), speed * np.sin(angle)
    scene = tracks(np.cumsum(vx * DT, 1), np.cumsum(vy * DT, 1), heading=angle, vx=vx, vy=vy)

    def fitted(value: np.ndarray, order: int, degree: int, window: float) -> np.ndarray:
        size = round(window / DT) | 1
        out = np.zeros(SHAPE)
        for step in range(STEPS):
            first = min(max(step - size // 2, 0), STEPS - size)
            at = time[first : first + size] - time[step]
            fit = np.polynomial.polynomial.polyfit(at, value[:, first : first + size].T, degree)
            out[:, step] = fit[order] * math.factorial(order)
        return out

    ax, ay = (fitted(one.astype(np.float64), 1, 2, 0.8) for one in (scene.vx, scene.vy))
    turn = np.unwrap(scene.heading.astype(np.float64), axis=1)
    cos, sin = np.cos(turn), np.sin(turn)
    long, lat = ax * cos + ay * sin, ay * cos - ax * sin
    wanted = {
        "longitudinal_acceleration": long,
        "lateral_acceleration": lat,
        "yaw_rate": fitted(turn, 1, 2, 1.5),
        "yaw_acceleration": fitted(turn, 2, 3, 1.5),
        "longitudinal_jerk": fitted(long, 1, 2, 1.5),
        "jerk": np.hypot(*(fitted(one, 1, 2, 1.5) for one in (ax, ay))),
    }
    got, beyond = motion(Case(scene, DT)), np.zeros(SHAPE, bool)
    sure = np.ones(SHAPE, bool)
    for name, value in wanted.items():
        np.testing.assert_allclose(getattr(got, name), value, atol=1e-6, err_msg=name)
        low, high = BOUNDS[name]
        beyond |= (value < low) | (value > high)
        sure &= (np.abs(value - low) > 1e-6) & (np.abs(value - high) > 1e-6)
    assert sure.sum() > 10_000 and 0.1 < beyond.mean() < 0.9
    assert (found("uncomfortable", scene).value[sure] == beyond[sure]).all()
