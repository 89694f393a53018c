"""Who goes by a record in Scenes-v0: step by step against definitions in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.maps.road_network import (
    Junction,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.scenes import Agent, Goal, Scene, SceneError, Tracks
from selfdrive_env.state.world import GREEN, IDM, IDM_LOG, RED, REPLAY, WAYPOINT, YELLOW
from tests.maps.conftest import strip
from tests.reference.dynamics import drive, pose_of
from tests.reference.recorded import LOOK, MARGIN, along, depth, idm, step_on_path

RULES = dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore")
SMALL = {"layout": "lean", "num_threads": 1, **RULES}
STEPS, DT = 91, 0.1
FIELDS = ("x", "y", "cos", "sin", "speed", "acceleration", "path_s", "segment", "z", "status")


def tracks_of(x, y, heading, speed, valid=None, length=4.5, width=1.8):
    agents = len(x)
    valid = np.ones(x.shape, bool) if valid is None else valid
    x, y, heading, speed = (np.where(valid, one, 0.0) for one in (x, y, heading, speed))
    full = np.ones(agents, np.float32)
    return Tracks(
        id=np.arange(agents), kind=np.zeros(agents, np.uint8), length=length * full,
        width=width * full, height=1.5 * full, x=x, y=y, z=np.zeros(x.shape),
        heading=((heading + np.pi) % (2 * np.pi) - np.pi).astype(np.float32) * valid,
        vx=(speed * np.cos(heading)).astype(np.float32),
        vy=(speed * np.sin(heading)).astype(np.float32), valid=valid,
    )  # fmt: skip


def bent(seed, agents=24, room=70.0):
    """Tracks that bend, slow down, stand and set off, across each other; not on any lane."""
    random = np.random.default_rng(seed)
    time = DT * np.arange(STEPS)
    speed = random.uniform(2.0, 9.0, (agents, 1)) + 4.0 * np.sin(
        random.uniform(0.3, 0.9, (agents, 1)) * time + random.uniform(0.0, 6.0, (agents, 1))
    )
    speed = np.maximum(speed, 0.0)
    bend = random.uniform(-0.05, 0.05, (agents, 1)) + 0.03 * np.sin(time)
    turn = np.cumsum(bend * speed * DT, 1)
    heading = random.uniform(-np.pi, np.pi, (agents, 1)) + np.concatenate(
        [np.zeros((agents, 1)), turn[:, :-1]], 1
    )
    start = np.stack(np.meshgrid(np.arange(6), np.arange(4)), -1).reshape(-1, 2)[:agents]
    start = start * room / 6.0 + random.uniform(-1.0, 1.0, (agents, 2)) + [-280.0, -30.0]
    moved = [np.cumsum(speed * f(heading) * DT, 1) for f in (np.cos, np.sin)]
    x, y = (
        start[:, axis : axis + 1] + np.concatenate([np.zeros((agents, 1)), m[:, :-1]], 1)
        for axis, m in enumerate(moved)
    )
    return tracks_of(x, y, heading, speed)


def scene_of(tracks, **parts):
    return Scene.recorded(tracks, current=0, map="riverside", dt=DT, **{"ego": 0, **parts})


def made(scene, traffic, **settings):
    """The environment, and the table of its scenes."""
    keywords = {"driver": traffic, "takeover": "all", **SMALL, **settings}
    envs = ScenesVectorEnv(1, scene=scene, traffic=traffic, **keywords)
    envs.reset(seed=0)
    return envs, envs.engine.scenes


def now(engine):
    """The agents of world 0 in double precision, poses of the middle of boxes."""
    a = engine.agents
    state = {name: getattr(a, name)[0].astype(np.float64) for name in FIELDS}
    ahead = 0.5 * engine.bodies.wheelbase[0].astype(np.float64)
    state["x"] = state["x"] + ahead * state["cos"]
    state["y"] = state["y"] + ahead * state["sin"]
    state["segment"] = a.segment[0].copy()
    return state


def step(envs):
    envs.step(np.zeros(envs.num_envs, np.int64))


def gap_of(path, agent, state, half, least):
    """How far an agent gets before it overlaps one by `least` metres, and whom: by small steps."""
    way = np.arange(0.0, LOOK, 0.5)
    x, y, z, *_ = along(path, state["path_s"][agent] + way)
    others = [n for n in range(len(half)) if n != agent and state["status"][n] != 0]
    best, leader = np.inf, -1
    own = half[agent] + MARGIN
    ahead = along(path, state["path_s"][agent])[5:7]
    for other in others:
        dx, dy = state["x"][other] - x, state["y"][other] - y
        reach = np.hypot(*own) + np.hypot(*half[other]) + 0.5
        near = np.flatnonzero((dx**2 + dy**2 < reach**2) & (np.abs(z - state["z"][other]) < 2.5))
        if not near.size:
            continue
        same = state["cos"][other] * ahead[0] + state["sin"][other] * ahead[1]
        behind = dx[0] * ahead[0] + dy[0] * ahead[1] < 0.0
        box = [state[name][other] for name in ("x", "y", "cos", "sin")] + list(half[other])
        fine = way[near[0]] + np.arange(0.0, way[near[-1]] - way[near[0]] + 0.5, 0.01)
        places = along(path, state["path_s"][agent] + fine)
        bodies = (places[0], places[1], places[3], places[4], *(np.full(len(fine), h) for h in own))
        deep = depth(bodies, tuple(np.full(len(fine), value) for value in box))
        if behind and (same > 0.5 or (fine[0] == 0.0 and deep[0] >= 0.0)):
            continue
        meets = np.flatnonzero(deep > least)
        if meets.size and fine[meets[0]] < best:
            best, leader = float(fine[meets[0]]), other
    return best, leader


FULL = [
    pytest.param(2, STEPS - 2, marks=pytest.mark.slow),
    *(pytest.param(seed, STEPS - 2, marks=pytest.mark.full) for seed in (3, 4, 5, 6)),
]


@pytest.mark.parametrize(("seed", "steps"), [(1, 25), *FULL])
def test_idm_on_a_recorded_path_is_that_of_the_formula(seed, steps):
    """Scenes of 23 bodies, 10,235 of their steps in full: each follows from the one before it."""
    envs, table = made(scene_of(bent(seed)), "idm_log", driver="replay")
    engine = envs.engine
    assert engine.bodies.driver[0].tolist() == [REPLAY] + 23 * [IDM_LOG]
    half = 0.5 * np.stack([engine.bodies.length[0], engine.bodies.width[0]], 1).astype(np.float64)
    limit = engine.lanes.speed_limit[engine.lanes.segment_lane].astype(np.float64)
    cases = leaders = 0
    for _ in range(steps):
        before = now(engine)
        step(envs)
        after = now(engine)
        for agent in range(1, 24):
            count = int(table.path_points[0, agent])
            path = table.path[0, agent, :count].astype(np.float64)
            speed, s = abs(before["speed"][agent]), before["path_s"][agent]
            fastest = max(limit[before["segment"][agent]], float(table.path_pace[0, agent]))
            wanted = min(float(along(path, s)[7]), fastest)
            bounds = []
            for touch, slack in ((-0.002, -0.13), (0.03, 0.04)):
                gap, leader = gap_of(path, agent, before, half, touch)
                pace, gap = 0.0, max(gap + slack, 0.0)
                if leader >= 0:
                    ahead = along(path, s + gap)[5:7]
                    turn = before["cos"][leader] * ahead[0] + before["sin"][leader] * ahead[1]
                    pace = before["speed"][leader] * turn
                wish = idm(speed, wanted, gap, speed - pace)
                bounds.append(step_on_path(s, speed, wish, gap, DT))
            least, most = np.sort(np.array(bounds), axis=0)
            assert least[0] - 1e-3 <= after["path_s"][agent] <= most[0] + 1e-3
            assert least[1] - 2e-2 <= abs(after["speed"][agent]) <= most[1] + 2e-2
            x, y, _, cos, sin, *_ = along(path, after["path_s"][agent])
            assert np.hypot(after["x"][agent] - x, after["y"][agent] - y) < 2e-4
            assert np.hypot(after["cos"][agent] - cos, after["sin"][agent] - sin) < 1e-5
            cases, leaders = cases + 1, leaders + (leader >= 0)
    assert cases == 23 * steps and leaders > 0.1 * cases


def unlike(agents, seed):
    """Tracks that no body can drive exactly: noise, gaps, jumps, reversing, and some that end."""
    random = np.random.default_rng(seed)
    clean = bent(seed, agents)
    x = clean.x + random.normal(0.0, 0.05, clean.x.shape)
    y = clean.y + random.normal(0.0, 0.05, clean.y.shape)
    heading = clean.heading.astype(np.float64) + random.normal(0.0, 0.02, x.shape)
    speed = np.hypot(clean.vx, clean.vy).astype(np.float64)
    x[:4], y[:4], heading[2:4] = x[:4, ::-1], y[:4, ::-1], heading[2:4, ::-1]
    speed[2:4] = -speed[2:4, ::-1]  # backwards, and before that with a wrong heading
    valid = np.ones(x.shape, bool)
    valid[4:8, 20:35] = False
    valid[8:12, 50:] = False
    x[12:14, 40:] += 6.0
    return tracks_of(x, y, heading, speed, valid)


def goals_by_moment(scene, slot):
    """Where a waypoint driver is to be, from the tracks alone: x, y, heading, speed by moment."""
    t = scene.tracks
    seen = np.flatnonzero(t.valid[slot])
    time = np.arange(STEPS)
    heading = np.interp(time, seen, np.unwrap(t.heading[slot, seen].astype(np.float64)))
    speed = t.vx * np.cos(t.heading) + t.vy * np.sin(t.heading)
    speed = np.interp(time, seen, speed[slot, seen].astype(np.float64))
    x, y = (np.interp(time, seen, one[slot, seen]) for one in (t.x, t.y))
    on = np.maximum(time - seen[-1], 0) * DT * speed[-1]
    return x + on * np.cos(heading), y + on * np.sin(heading), heading, speed


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_waypoints_are_pursued_by_the_bicycle(seed):
    """Five scenes of 23 bodies over 89 steps against the definition, 10,235 in all."""
    scene = scene_of(unlike(24, seed))
    envs, _ = made(scene, "waypoint", driver="replay")
    engine = envs.engine
    assert (engine.bodies.driver[0, 1:] == WAYPOINT).all()
    aims = [goals_by_moment(scene, slot) for slot in range(24)]
    cases = doubtful = 0
    for moment in range(1, STEPS - 1):
        before = now(engine)
        step(envs)
        after = now(engine)
        for slot in range(1, 24):
            x, y, heading, speed = aims[slot]
            px, py, v = (before[name][slot] for name in ("x", "y", "speed"))
            cos, sin = before["cos"][slot], before["sin"][slot]
            way = (x[moment] - px) * np.cos(heading[moment])
            way += (y[moment] - py) * np.sin(heading[moment])
            wanted = speed[moment] + (way - speed[moment] * DT) / 0.5
            forwards = speed[moment] >= 0.0
            wanted = max(wanted, 0.0) if forwards else min(wanted, 0.0)
            acceleration = np.clip((wanted - v) / DT, -6.0, 6.0)
            curvature, doubt = 0.0, False
            if abs(wanted) > 0.05 or abs(v) > 0.05:
                sense = 1.0 if wanted >= 0.0 else -1.0
                reach = 1.5 + 0.3 * abs(wanted)
                dx, dy = x[moment:] - px, y[moment:] - py
                ahead = (dx * cos + dy * sin) * sense
                far = (np.hypot(dx, dy) >= reach) & (ahead > 0.0)
                edge = np.abs(np.hypot(dx, dy) - reach) < 1e-3
                doubt = bool((edge & (ahead > -1e-3)).any())  # rounding decides which place it is
                at = int(np.argmax(far)) if far.any() else len(dx) - 1
                short = max(reach - np.hypot(dx[at], dy[at]), 0.0)
                dx = dx[at] + sense * short * np.cos(heading[moment + at])
                dy = dy[at] + sense * short * np.sin(heading[moment + at])
                bend = 2.0 * (dy * cos - dx * sin) / max(dx**2 + dy**2, 1.0)
                curvature = np.clip(bend, -0.3, 0.3)
            pose = pose_of(px, py, np.arctan2(sin, cos), v)
            action = np.array([acceleration, curvature])
            least = min(wanted, v, 0.0)
            x, y, c, s, v = drive("bicycle", pose, action, 2.7, DT, least)
            assert np.hypot(after["x"][slot] - x, after["y"][slot] - y) < 2e-3
            assert doubt or np.hypot(after["cos"][slot] - c, after["sin"][slot] - s) < 1e-3
            assert abs(after["speed"][slot] - v) < 2e-2
            cases, doubtful = cases + 1, doubtful + doubt
    assert cases == 23 * (STEPS - 2) and doubtful < 0.1 * cases


def test_waypoints_lead_along_the_record():
    scene = scene_of(bent(9))
    envs, _ = made(scene, "waypoint", driver="replay")
    worst = 0.0
    for moment in range(1, STEPS - 1):
        step(envs)
        state = now(envs.engine)
        apart = np.hypot(
            state["x"] - scene.tracks.x[:, moment], state["y"] - scene.tracks.y[:, moment]
        )
        worst = max(worst, float(apart.max()))
    assert worst < 0.6


def test_a_replayed_body_is_where_its_record_has_it():
    """Five scenes of 24 bodies over 89 steps, with gaps and jumps."""
    cases = 0
    for seed in range(5):
        scene = scene_of(unlike(24, seed), ego=15)
        envs, _ = made(scene, "replay")
        order = [15, *(n for n in range(24) if n != 15)]
        for moment in range(1, STEPS - 1):
            step(envs)
            state, t = now(envs.engine), scene.tracks
            valid = t.valid[order, moment]
            np.testing.assert_array_equal(state["status"] != 0, valid)
            x, y = t.x[order, moment], t.y[order, moment]
            cos, sin = (f(t.heading[order, moment]) for f in (np.cos, np.sin))
            speed = t.vx[order, moment] * cos + t.vy[order, moment] * sin
            for name, one, most in (("x", x, 1e-4), ("y", y, 1e-4), ("cos", cos, 1e-6),
                ("sin", sin, 1e-6), ("speed", speed, 1e-4)):  # fmt: skip
                assert np.abs(state[name] - one)[valid].max() < most
            cases += len(valid)
    assert cases > 10_000


def column(gaps, speeds, wanted=None):
    """Cars one behind the other along riverside's road, recorded at their speeds."""
    x = -300.0 + np.concatenate([[0.0], np.cumsum(np.array(gaps) + 4.5)])
    time = DT * np.arange(STEPS)
    speeds = np.array(speeds)[:, None] * np.ones(STEPS)
    return tracks_of(x[:, None] + speeds * time, np.full(speeds.shape, 3.6), 0.0 * speeds, speeds)


def test_nobody_drives_into_who_is_ahead():
    """From starts up to too close to brake at 8 m/s^2, behind one who stands."""
    for gap in (0.3, 1.0, 4.0, 12.0, 30.0):
        scene = scene_of(column([8.0, 5.0, gap], [6.0, 9.0, 12.0, 0.0]))
        envs, _ = made(scene, "idm_log", driver="replay")
        for _ in range(STEPS - 2):
            step(envs)
            x = now(envs.engine)["x"][1:]
            assert (np.diff(x) > 4.5).all(), gap
        speed = envs.engine.agents.speed[0]
        assert speed[2] < 0.5 and speed[3] == 0.0  # who never moved stands


def test_two_that_come_together_do_not_wait_for_each_other():
    time = DT * np.arange(STEPS)
    x = -300.0 + 8.0 * time + np.array([[0.0], [0.4], [-40.0]])
    aside = 3.5 * np.clip(1.0 - time / 5.0, 0.0, 1.0)
    y = 3.6 + np.stack([aside, 0.0 * time, 0.0 * time - 20.0])
    heading = np.arctan2(np.gradient(y, axis=1), np.gradient(x, axis=1))
    scene = scene_of(tracks_of(x, y, heading, np.full(x.shape, 8.0)), ego=2)
    envs, _ = made(scene, "idm_log", driver="replay")
    for _ in range(STEPS - 2):
        step(envs)
        assert not (envs.engine.output.event[0, 1:] & 4).any()
    assert (now(envs.engine)["path_s"][1:] > 35.0).all()


def test_a_way_goes_on_along_the_lane_it_ends_on():
    tracks = column([40.0], [10.0, 10.0])
    valid = tracks.valid.copy()
    valid[1, 20:] = False
    cut = tracks_of(tracks.x, tracks.y, tracks.heading, np.hypot(tracks.vx, tracks.vy), valid)
    envs, table = made(scene_of(cut), "idm_log", driver="replay")
    count = table.path_points[0, 1]
    path = table.path[0, 1, :count]
    assert path[-1, 5] > 150.0
    for _ in range(STEPS - 2):
        step(envs)
    agents, bodies = envs.engine.agents, envs.engine.bodies
    assert agents.path_s[0, 1] > 60.0 and agents.status[0, 1] == 1
    assert abs(agents.d[0, 1]) + 0.5 * bodies.width[0, 1] < 2.5


def test_who_overlaps_at_the_start_is_replayed_unless_all_are_taken_over():
    tracks = column([20.0, -3.0, 10.0], [8.0, 8.0, 8.0, 8.0])
    scene = scene_of(tracks)
    for traffic, code in (("idm", IDM), ("idm_log", IDM_LOG), ("waypoint", WAYPOINT)):
        envs, _ = made(scene, traffic, driver="external", takeover="apart")
        assert envs.engine.bodies.driver[0].tolist() == [0, REPLAY, REPLAY, code]
        envs, _ = made(scene, traffic, driver="external", takeover="all")
        assert envs.engine.bodies.driver[0].tolist() == [0, code, code, code]
    with pytest.raises(ValueError, match="takeover must be one of apart, all"):
        ScenesVectorEnv(1, scene=scene, takeover="none", **SMALL)


def test_made_up_agents_go_from_goal_to_goal():
    goals = (Goal(-270.0, 3.6), Goal(-240.0, 3.6))
    ego = Agent(0, x=-340.0, y=3.6, driver="learner")
    scene = Scene(
        (
            ego,
            Agent(1, x=-300.0, y=3.6, speed=6.0, driver="idm_log", goals=goals),
            Agent(2, x=-300.0, y=0.1, speed=6.0, driver="waypoint", goals=(Goal(-270.0, 0.1),)),
        ),
        map="riverside", dt=DT, steps=STEPS, ego=0,
    )  # fmt: skip
    envs = ScenesVectorEnv(1, scene=scene, **SMALL)
    envs.reset(seed=0)
    assert envs.engine.bodies.driver[0].tolist() == [0, IDM_LOG, WAYPOINT]
    for _ in range(STEPS - 2):
        envs.step(np.array([2]))
    x, y = (now(envs.engine)[name] for name in ("x", "y"))
    assert x[1] > -240.0 and abs(y[1] - 3.6) < 0.01
    assert abs(x[2] + 270.0) < 0.3 and abs(y[2] - 0.1) < 0.01


def test_who_learns_may_be_driven_so_too():
    scene = scene_of(column([30.0], [8.0, 8.0]))
    for driver in ("idm_log", "waypoint"):
        envs, _ = made(scene, "replay", driver=driver)
        for _ in range(20):
            step(envs)
        assert now(envs.engine)["x"][0] > -290.0
    with pytest.raises(SceneError, match="driver must be one of"):
        Scene((Agent(0, x=0.0, y=0.0, driver="idm_logs"),), steps=9)


def guarded(kind):
    """A straight road of two lanes; the left one has a light or a stop sign at x = 60."""
    lanes = [strip(str(y), [[-50, y, 0], [400, y, 0]]) for y in (4.0, 0.0)]
    ends = np.array([60.0, 6.0, 0.0]), np.array([60.0, 2.0, 0.0])
    guard = np.array([60.0, 6.0, 0.0]), np.array([60.0, -2.0, 0.0])
    light = kind == "signal"
    named = "traffic_light" if light else "stop_sign"
    signal = Signal("a", named, ends[1], 0.0, group=0 if light else -1)
    cycle = [(RED, 9.0), (GREEN, 4.0), (YELLOW, 2.0)]
    return RoadNetwork(
        "guarded",
        lanes,
        [Junction("0", signal_groups=[0])] if light else [],
        [signal],
        [SignalGroup("0", [0], cycle=cycle)] if light else [],
        [StopLine(*ends, *guard, 0.0, [(0, 110.0)], kind=kind, signal=0)],
    )


def towards_the_line(kind):
    """Two cars recorded through the line at 10 m/s, one in each lane, and one far behind."""
    time = DT * np.arange(181)
    speed = np.full((3, 181), 10.0)
    x = np.array([[0.0], [0.0], [-40.0]]) + 10.0 * time
    y = np.array([[4.0], [0.0], [0.0]]) + 0.0 * time
    tracks = tracks_of(x, y, 0.0 * speed, speed)
    return Scene.recorded(tracks, current=0, map=guarded(kind), dt=DT, ego=2)


def test_red_lights_of_its_lane_stop_one_on_its_path():
    scene = towards_the_line("signal")
    lights = {"lights_off": 0.0, "lights_green": 0.0, "light_removal": 0.0}
    envs = ScenesVectorEnv(
        12, scene=scene, traffic="idm_log", driver="replay", **{**SMALL, **lights}
    )
    envs.reset(seed=3)
    table = envs.engine.scenes
    assert table.path_line[0, 1:].tolist() == [[0] + 7 * [-1], 8 * [-1]]
    assert table.path_line_s[0, 1, 0] == pytest.approx(60.0)
    fronts, passed = [], []
    agents, bodies = envs.engine.agents, envs.engine.bodies
    for _ in range(179):
        before = agents.path_s[:, 1] + 2.25
        envs.step(np.zeros(12, np.int64))
        front = agents.path_s[:, 1] + 2.25
        colour = envs.engine.lights.line_colour[:, 0]
        assert not ((colour == RED) & (before < 59.9) & (front > 60.0)).any()
        fronts.append(front.copy())
        passed.append(colour[(before < 60.0) & (front >= 60.0)].copy())
        other = agents.path_s[:, 2] + 0.5 * bodies.length[:, 2]
    waits = (np.diff(fronts, axis=0) < 0.05) & (np.abs(np.array(fronts[1:]) - 58.5) < 1.5)
    assert waits.any(0).sum() >= 3  # stood before the line
    assert (np.concatenate(passed) == GREEN).sum() >= 3
    assert (other > 150.0).all()


def test_stop_signs_let_one_on_its_path_go_once_it_has_stood():
    envs, table = made(towards_the_line("stop_sign"), "idm_log", driver="replay")
    assert table.path_line[0, 1, 0] == 0
    speeds = []
    for _ in range(179):
        step(envs)
        assert not envs.engine.output.event[0, 1] & 32
        state = now(envs.engine)
        if 52.0 < state["path_s"][1] + 2.25 < 60.0:
            speeds.append(state["speed"][1])
    assert min(speeds) < 0.3
    assert state["path_s"][1] > 80.0 and state["path_s"][2] > 150.0
