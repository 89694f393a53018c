from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.rules.lights import PHASE_GREEN, PHASE_RED, PHASE_YELLOW, advance_lights
from selfdrive_env.kernels.rules.lights import draw_lights as redraw_lights
from selfdrive_env.maps import BUILT_IN, RoadNetwork, compiled, load
from selfdrive_env.maps.road_network import SignalGroup
from selfdrive_env.state.world import (
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    GREEN,
    LIGHTS_GREEN,
    LIGHTS_OFF,
    LIGHTS_ON,
    NO_LIGHT,
    RED,
    STOP_SIGN,
    YELLOW,
)
from tests.kernels import of_tables
from tests.kernels.conftest import (
    build,
    no_jerk,
    put,
    set_body,
    skew_crossing,
    three_lanes_with_two_lights,
    town_engine,
)

advance_lights = of_tables(advance_lights)


@of_tables
def draw_lights(model, data, worker, world):
    redraw_lights(model, data, world)


RANGES = {PHASE_GREEN: (1.0, 10.0), PHASE_YELLOW: (1.5, 2.25), PHASE_RED: (0.3, 10.0)}
FIXED = {PHASE_GREEN: 10.0, PHASE_YELLOW: 3.0, PHASE_RED: 2.0}


def records(name, steps, **settings):
    """Group and line colours, phases and turns of one world over `steps` steps."""
    engine = town_engine(name, agents_per_world=1, **settings)
    out = []
    for _ in range(steps):
        engine.worlds.tick[0] += 1
        advance_lights(*engine.tables, 0, 0)
        lights = engine.lights
        fields = lights.group_colour, lights.line_colour, lights.phase, lights.turn
        out.append([field[0].copy() for field in fields])
    return engine, [np.array(column) for column in zip(*out, strict=True)]


def runs(values):
    """(value, length) of the stretches of equal values."""
    starts = np.flatnonzero(np.diff(values, prepend=-1, axis=0))
    return list(zip(values[starts], np.diff(np.append(starts, len(values))), strict=True))


@pytest.mark.parametrize("name", BUILT_IN)
def test_conflicting_groups_are_never_green_together(name):
    engine, (groups, lines, _, _) = records(name, 4000)
    signs = engine.signs
    assert len(signs.program_first) > 1
    for low, high in zip(signs.program_first[:-1], signs.program_first[1:], strict=True):
        members = signs.program_group[low:high]
        assert ((groups[:, members] == GREEN).sum(axis=1) <= 1).all()
        assert ((groups[:, members] != RED).sum(axis=1) <= 1).all()
        assert (groups[:, members] == GREEN).any(axis=0).all()  # each has its turn
        shown = np.isin(signs.line_group, members)
        green = (lines[:, shown] == GREEN) * (signs.line_group[shown] + 1)
        assert all(len(np.unique(row[row > 0])) <= 1 for row in green)


def test_yellow_lies_between_green_and_red():
    _, (groups, _, _, _) = records("riverside", 4000)
    follows = {GREEN: YELLOW, YELLOW: RED, RED: GREEN}
    for column in groups.T:
        stretches = [colour for colour, _ in runs(column)]
        assert all(follows[a] == b for a, b in itertools.pairwise(stretches))


@pytest.mark.parametrize("dt", [0.1, 0.3])
@pytest.mark.parametrize("timing", ["random", "fixed"])
def test_phases_last_as_long_as_said(timing, dt):
    engine, (_, _, phases, _) = records("harbour", 20_000, dt=dt, light_timing=timing)
    found = {phase: [] for phase in RANGES}
    for column in phases.T[: len(engine.signs.program_first) - 1]:
        for phase, length in runs(column)[1:-1]:
            found[int(phase)].append(length * dt)
    for phase, lengths in found.items():
        low, high = RANGES[phase] if timing == "random" else (FIXED[phase],) * 2
        assert min(lengths) >= max(low - dt, dt) - 1e-3
        assert max(lengths) <= high + dt + 1e-3
        if timing == "random":
            assert np.mean(lengths) == pytest.approx((low + high) / 2, rel=0.05)
        else:
            assert np.mean(lengths) == pytest.approx(FIXED[phase], abs=0.5 * dt + 1e-3)


@pytest.mark.parametrize("dt", [1 / 30, 1 / 15, 0.1, 0.2, 0.3, 0.4])
def test_fixed_phases_keep_the_clock(dt):
    """No error adds up: after any number of steps each program is where its cycle is then."""
    engine = town_engine("harbour", agents_per_world=1, dt=dt, light_timing="fixed")
    counts = np.diff(engine.signs.program_first)
    lights = engine.lights
    lengths = np.array([FIXED[phase] for phase in (PHASE_GREEN, PHASE_YELLOW, PHASE_RED)])
    begins = np.cumsum(lengths) - lengths  # of each phase in a turn

    def place():
        turn, phase = lights.turn[0, : len(counts)], lights.phase[0, : len(counts)]
        return turn * lengths.sum() + begins[phase], lengths[phase]

    start = place()[0] + lengths[PHASE_GREEN] - lights.remaining[0, : len(counts)]
    for step in range(1, 6001):
        engine.worlds.tick[0] += 1
        advance_lights(*engine.tables, 0, 0)
        begin, length = place()
        into = (start + step * dt - begin + dt) % (counts * lengths.sum()) - dt
        assert (into >= -0.5 * dt - 0.01).all()
        assert (into <= length + 0.5 * dt + 0.01).all()


def test_groups_take_turns():
    engine, (_, _, _, turns) = records("riverside", 3000)
    first = engine.signs.program_first
    for program, column in enumerate(turns.T[: len(first) - 1]):
        count = first[program + 1] - first[program]
        order = [turn for turn, _ in runs(column)]
        assert all(b == (a + 1) % count for a, b in itertools.pairwise(order))


def test_lights_are_removed_as_often_as_said():
    settings = dict(light_removal=0.2, lights_off=0.2, lights_green=0.05)
    engine = town_engine("riverside", agents_per_world=1, **settings)
    signs, lights, worlds = engine.signs, engine.lights, engine.worlds
    modes, groups, lines = [], [], []
    for _ in range(4000):
        worlds.tick[0] += 1
        draw_lights(*engine.tables, 0, 0)
        modes.append(worlds.light_mode[0])
        groups.append(lights.group_dark[0].copy())
        lines.append(lights.line_dark[0].copy())
        colour, signal = lights.line_colour[0], signs.line_group >= 0
        assert (colour[~signal] == STOP_SIGN).all()
        dark = (lights.group_dark[0][signs.line_group] | lights.line_dark[0]) != 0
        if modes[-1] == LIGHTS_OFF:
            assert (colour[signal] == NO_LIGHT).all()
        elif modes[-1] == LIGHTS_GREEN:
            assert (colour[signal] == np.where(dark, NO_LIGHT, GREEN)[signal]).all()
        else:
            assert ((colour == NO_LIGHT) == (dark & signal)).all()
    share = np.bincount(modes, minlength=3) / len(modes)
    assert share[LIGHTS_OFF] == pytest.approx(0.2, abs=0.03)
    assert share[LIGHTS_GREEN] == pytest.approx(0.05, abs=0.015)
    assert np.mean(groups) == pytest.approx(0.2, abs=0.02)
    assert np.mean(lines) == pytest.approx(0.2, abs=0.02)
    assert LIGHTS_ON in modes


def approach(kind):
    """An engine whose only car stands 3 m before a stop line, the line and its lane."""
    engine = town_engine("harbour", agents_per_world=1, reverse="allowed")
    set_body(engine)
    signs, lanes = engine.signs, engine.lanes
    lane_of = np.repeat(np.arange(len(lanes.length)), np.diff(signs.lane_line_first))
    signal = signs.line_group[signs.lane_line] >= 0
    wanted = np.flatnonzero((signal == (kind == "signal")) & (signs.lane_line_s > 30.0))
    link = int(wanted[0])
    return engine, int(signs.lane_line[link]), int(lane_of[link]), float(signs.lane_line_s[link])


def stand_before(engine, lane, s, gap, speed):
    """The front bumper `gap` metres before arc length s of a lane."""
    centre = s - gap - 0.5 * engine.bodies.length[0, 0]
    lanes = engine.lanes
    segment = int(lanes.segment_first[lane]) + int(
        np.searchsorted(
            lanes.segment[lanes.segment_first[lane] : lanes.segment_first[lane + 1], 9],
            centre,
            "right",
        )
        - 1
    )
    put(engine, 0, segment, centre - float(lanes.segment[segment, 9]), speed=speed)


def step_with(engine, line, colour, jerk=(0.0, 0.0)):
    """One step in which the line shows `colour`; returns the event bits of stop lines."""
    engine.lights.remaining[0] = 1000.0
    engine.lights.line_colour[0, line] = colour
    action = no_jerk(engine)
    action[0, 0] = jerk
    engine.step(action)
    return int(engine.output.event[0, 0]) & (EVENT_RED_LIGHT | EVENT_STOP_SIGN)


@pytest.mark.parametrize("speed", [4.0, 12.0, 28.0])
@pytest.mark.parametrize(
    ("colour", "event"),
    [(RED, EVENT_RED_LIGHT), (YELLOW, 0), (GREEN, 0), (NO_LIGHT, 0)],
)
def test_passing_a_line_counts_on_red_only(speed, colour, event):
    engine, line, lane, s = approach("signal")
    engine.bodies.speed_scale[0] = 1.5
    stand_before(engine, lane, s, 0.5, speed)
    assert step_with(engine, line, colour) == event
    assert step_with(engine, line, colour) == 0  # once


def test_stopping_before_the_line_is_no_violation():
    engine, line, lane, s = approach("signal")
    stand_before(engine, lane, s, 3.0, 4.0)
    assert step_with(engine, line, RED) == 0


def test_a_light_that_turns_red_behind_the_bumper_does_not_matter():
    engine, line, lane, s = approach("signal")
    stand_before(engine, lane, s, -0.3, 6.0)
    assert step_with(engine, line, RED) == 0


def test_the_oncoming_lane_does_not_lead_around_a_red_light():
    engine, line, lane, s = approach("signal")
    lanes = engine.lanes
    # The opposite lane lies to the left: its centre is a lane width away.
    segment = int(
        np.argmin(np.abs(lanes.segment[:, 9] - (s - 3.0)) + 1e6 * (lanes.segment_lane != lane))
    )
    width = float(lanes.segment[segment, 5:7].sum())
    x, y, cos, sin = lanes.segment[segment, :4].astype(np.float64)
    opposite = None
    for q in range(len(lanes.segment)):
        dx, dy = lanes.segment[q, 0] - x, lanes.segment[q, 1] - y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        against = lanes.segment[q, 2] * cos + lanes.segment[q, 3] * sin < -0.9
        if against and abs(along) < 1.0 and 0.5 * width < across < 3.5 * width:
            opposite = across
            break
    assert opposite is not None
    stand_before(engine, lane, s, 0.5, 8.0)
    agents = engine.agents
    agents.x[0, 0] -= np.float32(opposite * agents.sin[0, 0])
    agents.y[0, 0] += np.float32(opposite * agents.cos[0, 0])
    assert step_with(engine, line, RED) == EVENT_RED_LIGHT
    assert engine.lanes.segment_lane[engine.agents.segment[0, 0]] != lane


def test_reversing_over_a_line_is_no_violation():
    engine, line, lane, s = approach("signal")
    stand_before(engine, lane, s, -0.2, -1.9)
    assert step_with(engine, line, RED) == 0


@pytest.mark.parametrize(
    ("kind", "colour", "event"),
    [
        ("signal", RED, EVENT_RED_LIGHT),
        ("signal", GREEN, 0),
        ("stop_sign", STOP_SIGN, EVENT_STOP_SIGN),
    ],
)
@pytest.mark.parametrize("gap", [0.05, 0.2, 0.4])
def test_entering_a_junction_in_reverse_is_a_violation_like_any_other(kind, colour, event, gap):
    """The rear bumper leads: it is the one that passes the line, and once."""
    engine, line, lane, s = approach(kind)
    stand_before(engine, lane, s, gap, 0.0)
    agents = engine.agents
    ahead = engine.bodies.wheelbase[0, 0]
    agents.x[0, 0] += ahead * agents.cos[0, 0]
    agents.y[0, 0] += ahead * agents.sin[0, 0]
    agents.cos[0, 0], agents.sin[0, 0] = -agents.cos[0, 0], -agents.sin[0, 0]
    agents.speed[0, 0] = -1.9
    assert step_with(engine, line, colour) == event
    assert [step_with(engine, line, colour) for _ in range(20)] == [0] * 20


def test_driving_the_other_way_over_a_line_is_no_violation():
    engine, line, lane, s = approach("signal")
    stand_before(engine, lane, s, -5.0, 0.0)
    agents = engine.agents
    ahead = engine.bodies.wheelbase[0, 0]
    agents.x[0, 0] += ahead * agents.cos[0, 0]
    agents.y[0, 0] += ahead * agents.sin[0, 0]
    agents.cos[0, 0], agents.sin[0, 0] = -agents.cos[0, 0], -agents.sin[0, 0]
    agents.speed[0, 0] = 12.0
    assert step_with(engine, line, RED) == 0
    assert step_with(engine, line, RED) == 0


def test_a_stop_sign_wants_a_stop():
    engine, line, lane, s = approach("stop_sign")
    stand_before(engine, lane, s, 0.5, 5.0)
    assert step_with(engine, line, STOP_SIGN) == EVENT_STOP_SIGN


def test_a_stop_sign_lets_pass_who_stopped_before_it():
    engine, line, lane, s = approach("stop_sign")
    stand_before(engine, lane, s, 2.0, 0.0)
    assert step_with(engine, line, STOP_SIGN) == 0
    assert engine.agents.stopped_at[0, 0] == line
    passed = [step_with(engine, line, STOP_SIGN, (4.0, 0.0)) for _ in range(12)]
    assert passed == [0] * 12
    assert engine.agents.s[0, 0] < s - 5.0 or engine.agents.speed[0, 0] > 5.0


def carry(engine, lane, s, gap, speed):
    """Puts the car elsewhere as `stand_before` does; it keeps what it knows of lines."""
    known = engine.agents.stopped_at[0, 0]
    stand_before(engine, lane, s, gap, speed)
    engine.agents.stopped_at[0, 0] = known


@pytest.mark.parametrize("way", ["on and round", "back and on"])
def test_a_stop_counts_for_one_pass(way):
    engine, line, lane, s = approach("stop_sign")
    stand_before(engine, lane, s, 2.0, 0.0)
    assert step_with(engine, line, STOP_SIGN) == 0
    if way == "on and round":
        assert [step_with(engine, line, STOP_SIGN, (4.0, 0.0)) for _ in range(20)] == [0] * 20
    carry(engine, lane, s, 25.0, 5.0)
    assert step_with(engine, line, STOP_SIGN) == 0
    carry(engine, lane, s, 0.5, 10.0)
    assert step_with(engine, line, STOP_SIGN) == EVENT_STOP_SIGN


def test_who_creeps_on_after_the_stop_has_still_stopped():
    engine, line, lane, s = approach("stop_sign")
    stand_before(engine, lane, s, 5.0, 0.0)
    assert step_with(engine, line, STOP_SIGN) == 0
    for gap in np.arange(5.0, -2.0, -0.25):
        carry(engine, lane, s, gap, 1.0)
        assert step_with(engine, line, STOP_SIGN) == 0


def test_stopping_far_before_a_stop_sign_does_not_count():
    engine, line, lane, s = approach("stop_sign")
    stand_before(engine, lane, s, 12.0, 0.0)
    step_with(engine, line, STOP_SIGN)
    assert engine.agents.stopped_at[0, 0] == -1


@pytest.mark.parametrize(("height", "event"), [(0.0, EVENT_RED_LIGHT), (6.0, 0)])
def test_a_light_on_a_bridge_is_not_for_those_below(height, event):
    engine = build([skew_crossing(height)], agents_per_world=1)
    set_body(engine)
    stand_before(engine, 0, 150.0, 0.8, 8.0)
    assert engine.agents.z[0, 0] == 0.0
    assert step_with(engine, 0, RED) == event
    stand_before(engine, 1, 150.0, 0.8, 8.0)
    assert engine.agents.z[0, 0] == pytest.approx(height, abs=0.01)
    assert step_with(engine, 0, RED) == EVENT_RED_LIGHT


@pytest.mark.parametrize(
    ("lane", "first", "second", "event"),
    [
        (1, RED, RED, EVENT_RED_LIGHT),
        (1, RED, GREEN, 0),
        (1, GREEN, RED, 0),
        (1, GREEN, GREEN, 0),
        (0, RED, GREEN, EVENT_RED_LIGHT),
        (0, GREEN, RED, 0),
        (2, GREEN, RED, EVENT_RED_LIGHT),
        (2, RED, GREEN, 0),
    ],
)
def test_a_lane_without_a_line_heeds_the_others_while_all_are_red(lane, first, second, event):
    engine = build([three_lanes_with_two_lights()], agents_per_world=1)
    set_body(engine)
    stand_before(engine, lane, 150.0, 0.8, 8.0)
    engine.lights.line_colour[0, 0] = first
    assert step_with(engine, 1, second) == event


def test_lights_follow_the_seed():
    """Worlds that differ in nothing but their seeds have other lights, equal ones the same."""
    settings = dict(lights_off=0.4, lights_green=0.3, light_removal=0.3)
    for seeds in ([*range(30), 29], [*(n << 32 for n in range(30)), 29 << 32]):
        engine = town_engine(worlds=31, agents_per_world=1, seed=seeds, **settings)
        modes = engine.worlds.light_mode
        assert set(modes.tolist()) == {LIGHTS_ON, LIGHTS_OFF, LIGHTS_GREEN}
        for name in ("group_dark", "line_dark", "turn", "remaining"):
            values = getattr(engine.lights, name)
            assert (values[1:30] != values[0]).any(axis=1).sum() > 20, name
            assert (values[29] == values[30]).all()


def timed_network() -> RoadNetwork:
    """harbour with cycles for all groups but one: of 7, 11 and 20.5 s by turns."""
    network = load("harbour")
    for number, group in enumerate(network.signal_groups[1:]):
        group.cycle = CYCLES[number % 3]
        group.offset = 1.7 * number
    return network


CYCLES: list[list[tuple[int, float]]] = [
    [(RED, 3.0), (GREEN, 2.5), (YELLOW, 1.5)],
    [(GREEN, 5.05), (YELLOW, 0.95), (RED, 5.0)],
    [(NO_LIGHT, 10.0), (RED, 10.5)],
]


def stated_colour(group: SignalGroup, seconds: float) -> int:
    """What a group shows at a time, in plain Python."""
    place = (seconds + group.offset) % sum(duration for _, duration in group.cycle)
    for colour, duration in group.cycle:
        if place < duration:
            return colour
        place -= duration
    raise AssertionError


@pytest.mark.parametrize("dt", [0.1, 0.3])
def test_lights_follow_the_cycles_of_the_map(dt: float) -> None:
    network = timed_network()
    settings = {"agents_per_world": 2, "dt": dt, "worlds": 3, "horizon": 1e5}
    lit = {"light_removal": 0.0, "lights_off": 0.0, "lights_green": 0.0}
    engine = build([compiled(network)], **settings, **lit)
    starts = engine.worlds.light_start.copy()
    assert len(set(starts.tolist())) == 3
    own = set()
    for step in range(400):
        for world in range(3):
            seconds = starts[world] * 1e-3 + (step + 0.5) * dt
            for number, group in enumerate(network.signal_groups):
                colour = int(engine.lights.group_colour[world, number])
                if group.cycle:
                    assert colour == stated_colour(group, seconds), (step, number)
                else:
                    own.add(colour)
                first = engine.signs.group_line_first
                lines = engine.signs.group_line[first[number] : first[number + 1]]
                assert (engine.lights.line_colour[world, lines] == colour).all()
        engine.step(no_jerk(engine))
    assert own == {GREEN, YELLOW, RED}, "a group without a cycle takes its turns"


@pytest.mark.parametrize("timing", ["random", "fixed"])
def test_cycles_of_the_map_are_passed_over_on_request(timing: str) -> None:
    settings = {"agents_per_world": 2, "light_timing": timing, "worlds": 2}
    maps = [compiled(network) for network in (timed_network(), load("harbour"))]
    engines = [build([one], **settings) for one in maps]
    for _ in range(300):
        first, second = (engine.lights.group_colour for engine in engines)
        np.testing.assert_array_equal(first, second)
        for engine in engines:
            engine.step(no_jerk(engine))


@functools.cache
def shared_approach(kind):
    return approach(kind)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["signal", "stop_sign"]),
    colour=st.sampled_from([RED, YELLOW, GREEN, NO_LIGHT]),
    reverse=st.booleans(),
    gap=st.floats(-1.0, 5.0),
    speed=st.floats(0.0, 18.0),
    aside=st.floats(-0.5, 0.5),
    turned=st.floats(-0.2, 0.2),
)
def test_whoever_leads_over_a_line_by_either_bumper_is_seen(
    kind, colour, reverse, gap, speed, aside, turned
):
    """At any pace, place and angle, forwards and in reverse; others are not, and all but once."""
    engine, line, lane, s = shared_approach(kind)
    stand_before(engine, lane, s, gap, 0.0)
    agents, bodies = engine.agents, engine.bodies
    put(engine, 0, int(agents.segment[0, 0]), float(agents.s[0, 0]) - float(
        engine.lanes.segment[agents.segment[0, 0], 9]), aside=aside, turned=turned)  # fmt: skip
    if reverse:
        ahead = bodies.wheelbase[0, 0]
        agents.x[0, 0] += ahead * agents.cos[0, 0]
        agents.y[0, 0] += ahead * agents.sin[0, 0]
        agents.cos[0, 0], agents.sin[0, 0] = -agents.cos[0, 0], -agents.sin[0, 0]
    agents.speed[0, 0] = -min(speed, 1.9) if reverse else speed

    def bumper():
        """How far the middle of the leading bumper is beyond the line [m]."""
        x, y, cos, sin = engine.signs.line[line, :4].astype(np.float64)
        half = float(bodies.length[0, 0]) / 2.0 * (-1.0 if reverse else 1.0)
        ahead = float(bodies.wheelbase[0, 0]) / 2.0 + half
        to_x = float(agents.x[0, 0]) + ahead * float(agents.cos[0, 0]) - x
        to_y = float(agents.y[0, 0]) + ahead * float(agents.sin[0, 0]) - y
        return to_x * cos + to_y * sin

    before = bumper()
    found = step_with(engine, line, colour if kind == "signal" else STOP_SIGN)
    after = bumper()
    if min(abs(before), abs(after)) < 1e-3:
        return
    event = EVENT_STOP_SIGN if kind == "stop_sign" else EVENT_RED_LIGHT * (colour == RED)
    stopped = speed < 0.31  # before the line, which a sign asks for
    if before < 0.0 < after and not (kind == "stop_sign" and stopped):
        assert found == event
        assert step_with(engine, line, colour if kind == "signal" else STOP_SIGN) == 0
    elif not stopped:
        assert found == 0


near, far = st.floats(0.4, 5.6), st.floats(12.5, 25.0)
moves = st.one_of(
    st.tuples(near, st.sampled_from([0.0, 0.0, 1.0])),  # stands or creeps before the line
    st.tuples(st.floats(0.4, 2.6), st.just(10.0)),  # passes it
    st.tuples(st.one_of(far, st.floats(-15.0, -6.0)), st.sampled_from([0.0, 1.0])),  # is elsewhere
    st.tuples(st.floats(7.0, 11.5), st.sampled_from([0.0, 1.0])),
)
"""How far before the line the front is [m], and how fast [m/s]."""


@settings(max_examples=100)
@given(moves=st.lists(moves, min_size=3, max_size=12))
def test_a_stop_is_remembered_until_the_line_is_left(moves):
    """Wherever it goes: who passes has stood before the line since it was last away from it."""
    engine, line, lane, s = shared_approach("stop_sign")
    engine.agents.stopped_at[0, 0] = -1
    length = float(engine.bodies.length[0, 0])
    stopped = False
    for gap, speed in moves:
        carry(engine, lane, s, gap, speed)
        found = step_with(engine, line, STOP_SIGN)
        after = gap - 0.3 * speed
        if min(abs(gap), abs(after), abs(after + length), abs(after - 12.0), abs(after - 6.0),
               abs(after + 1.0)) < 0.2:  # fmt: skip
            return  # where which of the two it is hangs on centimetres
        passes = gap > 0.0 > after
        assert found == (EVENT_STOP_SIGN if passes and not stopped else 0)
        if after < -length or after > 12.0:
            stopped = False
        if speed == 0.0 and -1.0 < after < 6.0:
            stopped = True
        assert (engine.agents.stopped_at[0, 0] == line) == stopped


def test_a_line_knows_since_when_it_shows_its_colour():
    engine = town_engine("riverside", agents_per_world=1, light_removal=0.2)
    lights, tick = engine.lights, engine.worlds.tick
    since, before, changes = lights.line_tick[0].copy(), lights.line_colour[0].copy(), 0
    assert (since == tick[0]).all()
    for _ in range(600):
        tick[0] += 1
        advance_lights(*engine.tables, 0, 0)
        changed = lights.line_colour[0] != before
        since[changed] = tick[0]
        assert (lights.line_tick[0] == since).all()
        before, changes = lights.line_colour[0].copy(), changes + changed.sum()
    assert changes > 100
