"""Lights and stop signs of a record, as stop lines show them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.lane_graph import network_of
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.scenes import Agent, Goal, Lights, Roads, Scene
from selfdrive_env.scenes.readers import load
from selfdrive_env.scenes.roads import LIGHT_STATES, Line
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW

SMALL = {"layout": "lean", "num_threads": 1}
CODE = {name: code for code, name in enumerate(LIGHT_STATES)}
RULES = dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore")


def straight(name, y, stretch):
    """A lane along x as recorded roads have it."""
    x = np.arange(stretch[0], stretch[1] + 0.1, 1.0)
    points = np.stack([x, np.full_like(x, y), np.zeros_like(x)], 1)
    return Line(name, 2, points, 13.0)


def street(states, *, signs=()):
    """A scene of one lane, in two pieces, whose second one has a light at its start."""
    lines = [straight(1, 0.0, (0.0, 60.0)), straight(2, 0.0, (60.0, 160.0)), *signs]
    links = [(1, 1, 2), (2, 0, 1), *((sign.id, 4, 2) for sign in signs)]
    lights = None
    if states is not None:
        series = np.array([[CODE.get(state, -1) for state in states]], np.int8)
        lights = Lights.of([2], [[60.0, 0.0, 0.0]], series)
    ego = Agent(0, x=20.0, y=0.0, speed=8.0, driver="learner", goals=(Goal(140.0, 0.0),))
    steps = 60 if states is None else len(states)
    roads = Roads.of(lines, links)
    return Scene((ego,), roads=roads, lights=lights, dt=0.1, steps=steps, ego=0, name="street")


def shown(envs, steps):
    """What the first line shows at first and after each step."""
    out = [int(envs.engine.lights.line_colour[0, 0])]
    for _ in range(steps):
        envs.step(np.array([7] * envs.num_envs))
        out.append(int(envs.engine.lights.line_colour[0, 0]))
    return out


def test_a_line_shows_what_was_recorded_from_the_present_moment_on():
    states = (
        ["go"] * 3 + ["caution"] * 2 + ["none"] + ["stop"] * 3 + ["arrow_go", "unknown", "stop"]
    )
    scene = dataclasses.replace(street(states), current=2)
    envs = ScenesVectorEnv(1, scene=scene, **RULES, **SMALL)
    envs.reset(seed=0)
    wanted = [GREEN] + [YELLOW] * 3 + [RED] * 3 + [GREEN, NO_LIGHT]
    assert shown(envs, len(wanted) - 1) == wanted


def test_the_age_of_a_colour_begins_with_it():
    envs = ScenesVectorEnv(1, scene=street(["go"] * 10 + ["stop"] * 30), **RULES, **SMALL)
    envs.reset(seed=0)
    for _ in range(15):
        envs.step(np.array([7]))
    tick = int(envs.engine.worlds.tick[0])
    assert tick - int(envs.engine.lights.line_tick[0, 0]) == 15 - 10


@pytest.mark.parametrize(("state", "runs"), [("stop", True), ("go", False), ("unknown", False)])
def test_who_drives_on_through_red_is_told(state, runs):
    rules = {**RULES, "on_red_light": "terminate"}
    envs = ScenesVectorEnv(1, scene=street([state] * 80), **rules, **SMALL)
    envs.reset(seed=0)
    ended = [bool(envs.step(np.array([7]))[2][0]) for _ in range(60)]
    assert any(ended) == runs


@pytest.mark.parametrize(("state", "waits"), [("stop", True), ("go", False)])
def test_scripted_drivers_wait_at_a_recorded_red_light(state, waits):
    envs = ScenesVectorEnv(1, scene=street([state] * 120), driver="idm", **RULES, **SMALL)
    envs.reset(seed=0)
    for _ in range(90):
        envs.step(np.array([0]))
    front = float(envs.engine.agents.x[0, 0]) + 3.0
    assert (front < 60.5) == waits


def test_a_recorded_stop_sign_has_a_line_on_its_lane():
    sign = Line(9, 17, np.array([[61.0, -3.0, 0.0]]))
    scene = street(None, signs=[sign])
    network = network_of(scene.roads, name="street")
    assert [line.kind for line in network.stop_lines] == ["stop_sign"]
    assert network.stop_lines[0].lanes == [(1, pytest.approx(1.0, abs=0.01))]
    envs = ScenesVectorEnv(1, scene=scene, **RULES, **SMALL)
    envs.reset(seed=0)
    assert shown(envs, 3) == [STOP_SIGN] * 4


def test_own_traffic_is_recorded_with_its_lights_and_shows_them_again(tmp_path):
    envs = make_self_play(12, map="riverside", agents_per_world=6, driver="idm", dt=0.1, **SMALL)
    envs.reset(seed=3)
    before = []

    def act(_):
        before.append(envs.engine.lights.line_colour[0].copy())
        return np.zeros(12, np.int64)

    scene = record(envs, act, steps=101)[0]
    scene.save(tmp_path / "a.scene")
    again = ScenesVectorEnv(1, scene=load(tmp_path / "a.scene"), driver="replay", **RULES, **SMALL)
    again.reset(seed=11)
    assert len({colours.tobytes() for colours in before}) > 3
    for moment in range(100):
        assert (again.engine.lights.line_colour[0] == before[moment]).all(), moment
        again.step(np.zeros(1, np.int64))


def test_programs_go_on_where_nothing_was_recorded():
    envs = make_self_play(12, map="riverside", agents_per_world=6, driver="idm", dt=0.1, **SMALL)
    envs.reset(seed=3)
    scene = record(envs, lambda _: np.zeros(12, np.int64), steps=60)[0]
    plain = dataclasses.replace(scene, lights=None)
    seen = []
    for seed in (1, 2):
        again = ScenesVectorEnv(1, scene=plain, driver="replay", **RULES, **SMALL)
        again.reset(seed=seed)
        seen.append(again.engine.lights.line_colour.tobytes())
        assert again.engine.scenes.num_lines[0] == 0
    assert seen[0] != seen[1]
