from __future__ import annotations

import math

import numpy as np
import pytest

from selfdrive_env.config.presets import PRESETS, TRAINING_RANGE
from selfdrive_env.kernels.reward import Outcome, agent_terms, lane_align, lane_centre
from selfdrive_env.state.rewards import (
    NUM_CONDITIONS,
    NUM_TERMS,
    REWARD_TERMS,
    REWARDS,
    TERM,
    TERM_WEIGHT,
    WEIGHT,
    WEIGHTS,
)
from selfdrive_env.state.world import (
    EVENT_COLLISION,
    EVENT_GOAL,
    EVENT_LAST_GOAL,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    EVENT_YIELD,
    IDM,
    PRESENT,
    STANDING,
)
from tests.kernels import bits, from_python, plain
from tests.kernels.conftest import no_jerk, random_jerks, town_engine
from tests.reference import reward_terms

PLAIN = {"lane_align": plain(lane_align), "lane_centre": plain(lane_centre)}
agent_terms = from_python(agent_terms)
lane_align = from_python(lane_align)
lane_centre = from_python(lane_centre)

F = np.float32
DT = 0.3
EVALUATION = {name: PRESETS["eval"][name] for name in WEIGHTS}


def terms(event=0, theta=0.0, d=0.0, speed=0.0, jerk=(0.0, 0.0), weight=EVALUATION, blocked=0.0,
    **values):  # fmt: skip
    """Raw and weighted terms of the kernel by name, and their sum."""
    row = np.array([weight[name] for name in WEIGHTS], np.float32)
    raw, weighted = np.zeros(NUM_TERMS, np.float32), np.zeros(NUM_TERMS, np.float32)
    names = ("impact_speed", "acceleration", "lateral")
    numbers = [math.cos(theta), math.sin(theta), d, speed]
    numbers += [*(values.pop(n, 0.0) for n in names), *jerk]
    numbers += [values.pop("limit", 13.9), values.pop("progress", 0.0)]
    assert not values
    step = Outcome(np.int32(event), *(F(n) for n in numbers), F(blocked))
    total = agent_terms(step, row, F(DT), raw, weighted)
    by_name = (dict(zip(REWARD_TERMS, column.tolist(), strict=True)) for column in (raw, weighted))
    return *by_name, total


# Arguments -> weighted terms with the evaluation weights; those not named are 0.
CASES = (
    (dict(event=EVENT_GOAL), {"goal": 1.0}),
    (dict(event=EVENT_GOAL | EVENT_LAST_GOAL), {"goal": 1.0}),
    (dict(event=EVENT_COLLISION, impact_speed=10.0), {"collision": -4.0}),
    (dict(event=EVENT_OFFROAD), {"offroad": -3.0}),
    (dict(event=EVENT_RED_LIGHT), {"stop_line": -1.0}),
    (dict(event=EVENT_STOP_SIGN), {"stop_line": -1.0}),
    (dict(event=EVENT_RED_LIGHT | EVENT_STOP_SIGN), {"stop_line": -1.0}),
    (dict(acceleration=3.1), {"comfort": -0.05, "timestep": -2.5e-5 * DT}),
    (dict(acceleration=-3.1, lateral=3.1), {"comfort": -0.10, "timestep": -2.5e-5 * DT}),
    (dict(jerk=(-15.0, 0.0)), {"comfort": -0.05}),
    (dict(jerk=(0.0, -15.0)), {"comfort": -0.05}),
    (dict(jerk=(4.0, 4.0), lateral=-2.9), {}),
    (dict(speed=3.0), {"velocity": 0.0025 * DT, "timestep": -2.5e-5 * DT}),
    (dict(speed=2.4), {"timestep": -2.5e-5 * DT}),
    (dict(speed=-1.0), {"reverse": -0.005 * DT, "timestep": -2.5e-5 * DT}),
    (dict(speed=20.0, limit=10.0), {"velocity": 0.0025 * DT, "timestep": -2.5e-5 * DT}),
)


@pytest.mark.parametrize(("arguments", "expected"), CASES, ids=lambda c: "-".join(map(str, c)))
def test_terms_by_hand(arguments, expected):
    _, weighted, total = terms(**arguments)
    backwards = arguments.get("speed", 0.0) < 0.0
    align = 0.0025 + (arguments["speed"] if backwards else 0.0)
    lane = {"lane_align": 0.025 * DT * align, "lane_centre": 3.8e-3 * DT * 0.05 * math.exp(0.5)}
    wanted = {name: 0.0 for name in REWARD_TERMS} | lane | expected
    for name, value in wanted.items():
        assert weighted[name] == pytest.approx(value, rel=1e-5, abs=1e-9), name
    assert total == pytest.approx(sum(wanted.values()), rel=1e-5)


def test_driving_against_the_lane_costs_by_speed():
    value = lane_align(F(-1.0), F(0.0), F(10.0), F(0.5), F(DT))
    assert value == pytest.approx(DT * (-1.0 - 5.0 - 0.0025), rel=1e-6)
    assert lane_align(F(0.0), F(1.0), F(9.0), F(1.0), F(1.0)) == pytest.approx(0.0, abs=1e-6)


def test_lane_centre_is_capped_at_four_metres():
    far = [lane_centre(F(1.0), F(d), F(0.0), F(1.0)) for d in (4.0, 5.0, -300.0)]
    assert far[0] == far[1] == far[2] == pytest.approx(-4.0 + 0.05 * math.exp(-3.5), rel=1e-6)
    assert lane_centre(F(1.0), F(3.0), F(0.0), F(1.0)) > far[0]


def test_lane_centre_prefers_the_bias():
    best = lane_centre(F(1.0), F(0.4), F(0.4), F(1.0))
    assert best == pytest.approx(0.05 * math.exp(0.5), rel=1e-6)
    assert best > lane_centre(F(1.0), F(0.0), F(0.4), F(1.0))
    # Across the lane only the bonus remains.
    assert lane_centre(F(0.5), F(2.5), F(0.0), F(1.0)) == pytest.approx(0.05 * math.exp(-2))


def test_lane_terms_have_the_same_bits_in_plain_python():
    random = np.random.default_rng(2)
    for theta, d, speed, weight in random.uniform(-6, 6, (500, 4)).astype(np.float32):
        cos, sin = np.cos(theta), np.sin(theta)
        centre = F(lane_centre(cos, d, weight, F(DT)))
        align = F(lane_align(cos, sin, speed, weight, F(DT)))
        assert bits(PLAIN["lane_centre"](cos, d, weight, F(DT))) == bits(centre)
        assert bits(PLAIN["lane_align"](cos, sin, speed, weight, F(DT))) == bits(align)


def test_random_steps_agree_with_the_table():
    random = np.random.default_rng(0)
    events = {"goal": EVENT_GOAL, "collision": EVENT_COLLISION, "offroad": EVENT_OFFROAD}
    events["stop_line"], events["yield_violation"] = EVENT_STOP_SIGN, EVENT_YIELD
    for _ in range(1500):
        happened = {name: float(random.random() < 0.3) for name in events}
        weight = {n: random.uniform(*TRAINING_RANGE.get(n, (0.0, 1.0))) for n in WEIGHTS}
        theta, d, speed = random.uniform(-3, 3), random.normal(0, 3), random.uniform(-2, 25)
        a, lat, limit = random.uniform(-5, 4), random.uniform(-4, 4), random.uniform(5, 25)
        jerk, before = random.uniform(-15, 5, 2), random.uniform(-2, 25)
        progress, blocked = random.normal(0, 3), max(random.uniform(-1, 1), 0.0)
        event = sum(events[n] for n in events if happened[n])
        raw, weighted, total = terms(
            event, theta, d, speed, jerk, weight, impact_speed=abs(before), acceleration=a,
            lateral=lat, limit=limit, progress=progress, blocked=blocked,
        )  # fmt: skip
        wanted = reward_terms(
            happened, theta, d, speed, before, a, lat, jerk, limit, progress, blocked, weight, DT
        )
        for found, expected in zip((raw, weighted), wanted, strict=True):
            for name in REWARD_TERMS:
                assert found[name] == pytest.approx(float(expected[name]), rel=1e-5, abs=1e-6), name
        assert total == pytest.approx(sum(wanted[1].values()), rel=1e-4, abs=1e-5)


def test_rewards_of_running_worlds_agree_with_the_table():
    engine = town_engine(worlds=4, agents_per_world=24, preset="train")
    random = np.random.default_rng(1)
    a, m, out, b = engine.agents, engine.motion, engine.output, engine.bodies
    for _ in range(60):
        engine.step(random_jerks(random, engine))
        gone = out.terminated != 0  # placed anew since
        event = {
            "goal": (out.event & EVENT_GOAL) != 0,
            "collision": (out.event & EVENT_COLLISION) != 0,
            "offroad": (out.event & EVENT_OFFROAD) != 0,
            "stop_line": (out.event & (EVENT_RED_LIGHT | EVENT_STOP_SIGN)) != 0,
            "yield_violation": (out.event & EVENT_YIELD) != 0,
        }
        event = {name: flag.astype(float) for name, flag in event.items()}
        weight = {name: b.weight[..., k].astype(float) for k, name in enumerate(WEIGHTS)}
        theta = np.arctan2(a.angle_sin, a.angle_cos).astype(float)
        limit = engine.lanes.speed_limit[engine.lanes.segment_lane[a.segment]]
        raw, weighted = reward_terms(
            event, theta, a.d, a.speed, m.speed, a.acceleration, a.lateral_acceleration,
            m.realised_jerk, limit, m.progress, np.zeros_like(a.s), weight, DT,
        )  # fmt: skip
        for k, name in enumerate(REWARD_TERMS):
            np.testing.assert_allclose(out.term[..., k][~gone], raw[name][~gone], atol=1e-5)
            np.testing.assert_allclose(
                out.weighted[..., k][~gone], weighted[name][~gone], atol=1e-5
            )
        np.testing.assert_allclose(out.weighted.sum(-1), out.reward, atol=1e-4)


def ended_by_standing(engine, world, agent):
    """The share of the width in which a body that stands within 40 m ends an agent's way."""
    lanes, a, length = engine.lanes, engine.agents, engine.bodies.length[world]
    on = lanes.segment_lane[a.segment[world]]
    lane, way = on[agent], -a.s[world, agent]
    if lanes.junction[lane] >= 0:
        return 0.0
    for _ in range(4):
        there = (a.status[world] == STANDING) & (on == lane)
        behind = way + a.s[world] - 0.5 * length
        ends = np.where(there & (behind + length + 0.5 * length[agent] > 0.0), behind, np.inf)
        first = ends.argmin()
        if ends[first] < np.inf:
            aside = abs(float(a.d[world, agent]) - float(a.d[world, first]))
            width = 0.5 * float(engine.bodies.width[world, [agent, first]].sum()) + 0.3
            return max(1.0 - aside / width, 0.0) if ends[first] - 1.0 < 40.0 else 0.0
        way += lanes.length[lane]
        after = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        if way > 80.0 or len(after) != 1:
            break
        lane = after[0]
    return 0.0


def test_who_comes_up_behind_a_broken_down_body_is_blocked():
    engine = town_engine(
        worlds=6, agents_per_world=24, standing_share=0.5, drivers=[IDM] * 24, dt=DT, seed=4,
        reward={"blocked": 0.5},
    )  # fmt: skip
    a, out = engine.agents, engine.output
    shares = []
    for _ in range(60):
        engine.step(no_jerk(engine))
        for world, agent in zip(*np.nonzero(a.status == PRESENT), strict=True):
            if out.terminated[world, agent] or out.truncated[world, agent]:
                continue  # placed anew since
            blocked = ended_by_standing(engine, world, agent)
            shares.append(blocked)
            assert out.term[world, agent, TERM.blocked] == pytest.approx(-DT * blocked, abs=1e-5)
            cost = out.weighted[world, agent, TERM.blocked]
            assert cost == pytest.approx(-0.5 * DT * blocked, abs=1e-5)
    shares = np.array(shares)
    seen = [(shares == 0.0).sum(), ((shares > 0.0) & (shares < 0.9)).sum(), (shares > 0.9).sum()]
    assert min(seen) > 25, seen


def test_the_table_numbers_terms_and_weights():
    assert [row.name for row in REWARDS if row.formula] == list(REWARD_TERMS)
    assert {row.name for row in REWARDS} == set(WEIGHTS)
    assert [WEIGHTS[column] for column in TERM_WEIGHT] == list(REWARD_TERMS)
    assert [row.name for row in REWARDS if row.observed] == list(WEIGHTS[:NUM_CONDITIONS])
    assert list(TERM._fields) == list(REWARD_TERMS)
    assert list(WEIGHT._fields) == list(WEIGHTS)


def test_the_table_keeps_its_order():
    """Policies and recorded episodes count on these columns; what is new comes behind them."""
    assert REWARD_TERMS[:12] == ("goal", "collision", "offroad", "comfort", "lane_align",
        "lane_centre", "velocity", "reverse", "stop_line", "timestep", "overspeed",
        "progress")  # fmt: skip
    assert WEIGHTS[:15] == ("goal_radius", "collision", "offroad", "comfort", "lane_align",
        "velocity_align", "lane_centre", "centre_bias", "reverse", "stop_line", "overspeed",
        "goal", "velocity", "timestep", "progress")  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_give_every_weight(preset):
    engine = town_engine(worlds=8, agents_per_world=16, preset=preset)
    weight = engine.bodies.weight.reshape(-1, len(WEIGHTS))
    for k, name in enumerate(WEIGHTS):
        value = PRESETS[preset][name]
        low, high = value if isinstance(value, tuple) else (value, value)
        assert (weight[:, k] >= F(low)).all(), name
        assert (weight[:, k] <= F(high)).all(), name
        if high > low:
            assert np.ptp(weight[:, k]) > 0.9 * (high - low), name


def test_a_weight_of_ones_own_replaces_that_of_the_preset():
    engine = town_engine(agents_per_world=8, reward={"collision": 7.0, "offroad": [1.0, 2.0]})
    assert (engine.bodies.weight[0, :, WEIGHTS.index("collision")] == 7.0).all()
    offroad = engine.bodies.weight[0, :, WEIGHTS.index("offroad")]
    assert ((offroad >= 1.0) & (offroad <= 2.0)).all()
    assert len(np.unique(offroad)) == 8
