"""Bodies that are placed broken down: where they stand, and that nobody drives them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdrive_env.maps import BUILT_IN
from selfdrive_env.state.world import (
    ABSENT,
    EVENT_COLLISION,
    EVENT_TOW,
    HOLD_LANE_END,
    IDM,
    PRESENT,
    STANDING,
)
from tests.kernels.conftest import (
    acceleration_lane,
    build,
    no_jerk,
    put,
    random_jerks,
    segment_of,
    send,
    set_body,
    town_engine,
)
from tests.reference import Sweep

POSE = ("x", "y", "cos", "sin", "speed", "segment")
SCRIPTED = dict(agents_per_world=3, drivers=[IDM] * 3, standing_share=1e-6)
"""Of a world in which nobody stands but who is put so."""


def standing(engine):
    """World and slot of each body that stands."""
    return np.argwhere(engine.agents.status == STANDING)


def box(engine, world, agent, ahead=0.0, left=0.0, length=None, width=None):
    """A rectangle about a body, `ahead` and `left` of its middle, by default the body's own."""
    a, b = engine.agents, engine.bodies
    cos, sin = float(a.cos[world, agent]), float(a.sin[world, agent])
    shift = 0.5 * float(b.wheelbase[world, agent]) + ahead
    x = float(a.x[world, agent]) + shift * cos - left * sin
    y = float(a.y[world, agent]) + shift * sin + left * cos
    length = float(b.length[world, agent]) if length is None else length
    width = float(b.width[world, agent]) if width is None else width
    turn = np.arctan2(sin, cos)
    return Sweep(x, y, turn, 0.0, 0.0, length, width, 0.0).boxes(1)[0]


@pytest.mark.parametrize("name", BUILT_IN)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    share=st.sampled_from([0.05, 0.2, 0.6]),
    bodies=st.sampled_from(["random", "typed"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_they_stand_on_lanes_where_others_get_past(name, surfaces, share, bodies, seed):
    engine = town_engine(
        name, worlds=4, agents_per_world=24, bodies=bodies, seed=seed, standing_share=share
    )
    agents, lanes, signs = engine.agents, engine.lanes, engine.signs
    found = standing(engine)
    expected, spread = 92 * share, np.sqrt(92 * share * (1.0 - share))
    assert len(found) <= expected + 4.5 * spread
    if share < 0.5:  # more do not find a place apart from the others
        assert len(found) >= 0.8 * expected - 4.5 * spread
    assert not (found[:, 1] == 0).any()
    assert (agents.status != ABSENT).all()
    ends = shapely.linestrings(signs.line[:, 4:8].reshape(-1, 2, 2).astype(np.float64))
    for world, agent in found:
        segment = int(agents.segment[world, agent])
        lane = int(lanes.segment_lane[segment])
        half_length = 0.5 * float(engine.bodies.length[world, agent])
        assert lanes.junction[lane] < 0 and agents.speed[world, agent] == 0.0
        assert abs(agents.d[world, agent]) < 0.01 and agents.angle_cos[world, agent] > 0.9999
        assert agents.s[world, agent] - half_length >= 29.99
        surface = surfaces(name)[int(lanes.segment_layer[segment])]
        assert surface.buffer(0.01).covers(shapely.polygons(box(engine, world, agent)))
        way = box(engine, world, agent, 0.5 * 30.0, length=2.0 * half_length + 30.0, width=0.1)
        near = shapely.intersects(shapely.polygons(way), ends)
        own = signs.lane_line[signs.lane_line_first[lane] : signs.lane_line_first[lane + 1]]
        assert not near[own].any()
        half_width = 0.5 * float(engine.bodies.width[world, agent])
        passages = [
            box(
                engine, world, agent, left=side * (half_width + 1.8), width=3.0,
                length=2.0 * half_length + 20.0,
            )
            for side in (1.0, -1.0)
        ]  # fmt: skip
        assert any(surface.buffer(0.01).covers(shapely.polygons(one)) for one in passages)
    for world in range(4):
        here = found[found[:, 0] == world][:, 1]
        x, y, z = (getattr(agents, axis)[world, here] for axis in "xyz")
        away = np.hypot(x[:, None] - x, y[:, None] - y) + np.where(abs(z[:, None] - z) < 2.5, 0, 99)
        np.fill_diagonal(away, 99.0)
        assert (away >= 59.9).all()
        for agent in here:
            speed = agents.speed[world]
            apart = np.hypot(agents.x[world] - agents.x[world, agent],
                             agents.y[world] - agents.y[world, agent])  # fmt: skip
            level = abs(agents.z[world] - agents.z[world, agent]) < 2.5
            level[agent] = False
            assert (apart >= 0.3 * speed + speed * speed / 8.0)[level].all()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_they_stand_until_their_world_is_drawn_anew(mode):
    """And are no agents of the caller: no row, no reward, no event, no end of an episode."""
    engine = town_engine(
        worlds=8, agents_per_world=12, standing_share=0.2, autoreset_mode=mode, horizon=12.0,
        on_collision="terminate", on_offroad="stop", tow_after=1.0,
    )  # fmt: skip
    random = np.random.default_rng(0)
    stand = engine.agents.status == STANDING
    rows = stand.reshape(-1)
    assert 5 < rows.sum() < 40
    before = {name: getattr(engine.agents, name)[stand].copy() for name in POSE}
    for step in range(40):
        engine.step(random_jerks(random, engine))
        out = engine.output
        assert (engine.agents.status == STANDING)[stand].all() or step == 39
        if step == 39:
            break
        for name, values in before.items():
            np.testing.assert_array_equal(getattr(engine.agents, name)[stand], values)
        assert not engine.rows.valid[rows].any() and not engine.rows.learn[rows].any()
        assert engine.rows.valid[~rows].any()
        assert not engine.observations[rows].any()
        for values in (out.event, out.reward, out.term, out.terminated, out.truncated,
                       out.awaiting_reset, engine.agents.contact):  # fmt: skip
            assert not values[stand].any()
        tallies = engine.tallies
        for values in (tallies.count, tallies.distance, tallies.term):
            assert not values[stand].any()
        if mode == "Disabled" and step < 38:
            waits = out.awaiting_reset != 0
            engine.reset(waits.astype(np.uint8), np.zeros(8, np.uint8), staggered=False)
    assert not engine.output.terminated[stand].any() and not engine.output.truncated[stand].any()
    assert not engine.rows.final_age[rows].any()
    if mode == "Disabled":
        waits = engine.output.awaiting_reset != 0
        assert waits[~stand].all() and not waits[stand].any()
        engine.reset(waits.astype(np.uint8), np.ones(8, np.uint8), staggered=False)
    elif mode == "NextStep":
        engine.step(no_jerk(engine))
    again = engine.agents.status == STANDING
    assert again.any() and (again != stand).any()
    np.testing.assert_array_equal(engine.rows.valid != 0, ~again.reshape(-1))


def test_resetting_its_row_leaves_it_standing():
    engine = town_engine(worlds=2, agents_per_world=12, standing_share=0.5)
    stand = engine.agents.status == STANDING
    x = engine.agents.x.copy()
    engine.reset(np.ones((2, 12), np.uint8), np.zeros(2, np.uint8), staggered=False)
    np.testing.assert_array_equal(engine.agents.status == STANDING, stand)
    np.testing.assert_array_equal(engine.agents.x[stand], x[stand])
    assert (engine.agents.x[~stand] != x[~stand]).any()
    assert not engine.rows.valid[stand.reshape(-1)].any()


def test_who_hits_one_has_a_collision_and_it_has_none():
    engine = build([acceleration_lane(False)], worlds=1, agents_per_world=2, standing_share=1e-6)
    set_body(engine)
    put(engine, 0, segment_of(engine, 2, 20.0), speed=10.0)
    put(engine, 1, segment_of(engine, 2, 40.0))
    engine.agents.status[0, 1] = STANDING
    for _ in range(6):
        engine.step(no_jerk(engine))
    assert engine.tallies.count[0, 0, 2] == 1 and engine.motion.hit_agent[0, 0] == 1
    assert not engine.tallies.count[0, 1].any() and engine.agents.contact[0, 1] == 0
    assert not engine.output.event[0, 1] & EVENT_COLLISION and engine.agents.speed[0, 1] == 0.0
    assert engine.agents.status[0].tolist() == [PRESENT, STANDING]


def test_the_others_see_a_body_at_rest():
    engine = build([acceleration_lane(False)], worlds=1, agents_per_world=2, standing_share=1e-6)
    rows = []
    for status in (STANDING, PRESENT):
        set_body(engine)
        put(engine, 0, segment_of(engine, 2, 20.0), speed=10.0)
        put(engine, 1, segment_of(engine, 3, 0.0))
        engine.agents.status[0, 1] = status
        engine.step(no_jerk(engine))
        rows.append(engine.observations[0].copy())
    np.testing.assert_array_equal(*rows)
    assert engine.rows.valid.tolist() == [1, 1]


@pytest.mark.parametrize("speed", [3.0, 10.0])
@pytest.mark.parametrize("blocked", [0, 8])
def test_scripted_drivers_change_lanes_before_one(blocked, speed):
    """Beside it comes one along whom they let by; both go on behind it, nobody is towed."""
    engine = two_lanes()
    set_body(engine)
    other = 1 - blocked // 8
    put(engine, 0, segment_of(engine, blocked // 8, 20.0), speed=speed)
    put(engine, 1, segment_of(engine, other, 12.0), speed=speed)
    put(engine, 2, segment_of(engine, blocked // 8, 120.0))
    engine.agents.status[0, 2] = STANDING
    for agent in (0, 1):
        send(engine, agent, other, 390.0)
    for _ in range(150):
        engine.step(no_jerk(engine))
        assert not engine.output.event[0].any(), engine.output.event[0]
        if (engine.agents.s[0, :2] > 200.0).all():
            break
    assert (engine.agents.s[0, :2] > 200.0).all()
    assert engine.agents.hold[0, 0] != HOLD_LANE_END


def two_lanes():
    """Two eastward lanes side by side, 400 m long, with three scripted drivers."""
    from selfdrive_env.maps.compile.compiled_map import compile_map
    from selfdrive_env.maps.road_network import RoadNetwork
    from tests.maps.conftest import strip

    lanes = [strip("left", [[0, 0, 0], [400, 0, 0]]), strip("right", [[0, -4, 0], [400, -4, 0]])]
    lanes[0].right_neighbour, lanes[1].left_neighbour = 1, 0
    return build([compile_map(RoadNetwork("two", lanes))], **SCRIPTED)


def test_without_a_lane_beside_who_stands_behind_one_is_towed_soon():
    """It creeps up to its place at first, which counts for half."""
    engine = build([acceleration_lane(False)], **SCRIPTED)
    set_body(engine)
    put(engine, 0, segment_of(engine, 1, 30.0), speed=8.0)
    put(engine, 1, segment_of(engine, 1, 10.0), speed=8.0)
    put(engine, 2, segment_of(engine, 3, 10.0))
    engine.agents.status[0, 2] = STANDING
    for agent in (0, 1):
        send(engine, agent, 7, 70.0)
    stood, towed = 0.0, []
    for _ in range(200):
        engine.step(no_jerk(engine))
        event = engine.output.event[0]
        assert not event[2] and not (event & ~np.int32(EVENT_TOW | 64)).any()
        stood += 0.3 if engine.agents.speed[0, 0] < 0.05 else 0.0
        towed += np.flatnonzero(event & EVENT_TOW).tolist()
        if towed:
            break
    assert towed == [0] and 8.0 < stood < 20.0
    assert engine.output.truncated[0].tolist() == [1, 0, 0]
    assert engine.agents.status[0, 2] == STANDING


def test_traffic_gets_past_them():
    """Half an hour of a world with many: few are towed, nobody hits anybody, all go on."""
    engine = town_engine(
        "harbour", worlds=6, agents_per_world=24, drivers=[IDM] * 24, standing_share=0.15,
        bodies="typed", on_goal="new_route",
    )  # fmt: skip
    drives = engine.agents.status == PRESENT
    events = np.zeros(12, int)
    since = np.zeros(drives.shape)
    for _ in range(1000):
        engine.step(no_jerk(engine))
        event = engine.output.event[drives]
        events += [np.count_nonzero(event & (1 << bit)) for bit in range(12)]
        stands = np.abs(engine.agents.speed) < 0.05
        since = np.where(stands & drives & (engine.agents.age > 0), since + 0.3, 0.0)
        assert since.max() < 150.0
    goals, collisions, offroad, tows = events[[0, 2, 3, 9]]
    hours = drives.sum() * 300.0 / 3600.0
    assert collisions == 0 and offroad == 0
    assert goals > 120 * hours and tows < 3 * hours
