"""Counting against a slow reference, faults on scenes made by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from selfdrive_env.evaluation import incidents
from selfdrive_env.evaluation.causes import pairs
from selfdrive_env.evaluation.causes.pairs import own_faults
from selfdrive_env.evaluation.incidents import (
    CAUSES,
    CRASHES,
    Incident,
    Links,
    RisingEdges,
    Watch,
)
from selfdrive_env.state.world import EVENT_OFFROAD, EVENT_RED_LIGHT
from tests.evaluation.conftest import pair, run, scene
from tests.evaluation.placed import lane_at
from tests.kernels.conftest import build, lopsided_road, no_jerk, put, set_body

WEST, NORTH = math.pi, 0.5 * math.pi


def counted_slowly(states: list[bool], placed: list[bool], steps_apart: int) -> list[int]:
    """Steps at which one agent begins an incident, from the definition."""
    begun, last = [], -math.inf
    for step, (state, fresh) in enumerate(zip(states, placed, strict=True)):
        if state:
            if step - last - 1 >= steps_apart:
                begun.append(step)
            last = step
        if fresh:
            last = -math.inf
    return begun


@settings(deadline=None, max_examples=200)
@given(
    states=hnp.arrays(np.bool_, (60, 3), elements=st.booleans()),
    placed=hnp.arrays(np.bool_, (60, 3), elements=st.sampled_from([False] * 9 + [True])),
    steps_apart=st.integers(1, 12),
)
def test_incidents_are_those_of_the_definition(
    states: np.ndarray, placed: np.ndarray, steps_apart: int
) -> None:
    edges = RisingEdges((3,), dt=0.1, apart=0.1 * steps_apart)
    rising = np.array([edges.update(s, p) for s, p in zip(states, placed, strict=True)])
    for agent in range(3):
        expected = counted_slowly(states[:, agent].tolist(), placed[:, agent].tolist(), steps_apart)
        assert np.flatnonzero(rising[:, agent]).tolist() == expected


def test_two_seconds_apart_are_thirty_steps_of_a_fifteenth() -> None:
    assert RisingEdges((1,), 1.0 / 15.0).steps_apart == 30


def happened(step: int, agent: int, other: int = -1, cause: str = CAUSES[0]) -> Incident:
    return Incident(step, 0, agent, cause, other, 5.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("found", "count"),
    [
        ([happened(0, 0, 1), happened(0, 1, 0)], 1),
        ([happened(0, 0, 1), happened(0, 2, 3)], 2),
        ([happened(0, 0), happened(100, 0)], 1),
        ([happened(0, 0), happened(101, 0)], 2),
        ([happened(0, 0, 1), happened(90, 2, 1), happened(180, 3, 2)], 1),
        ([happened(0, 0, 1), happened(9, 2, 3), happened(30, 1, 2), happened(40, 0, 3)], 1),
        ([happened(0, 0, 1, "red_light"), happened(5, 0, 2, "start_in_collision")], 0),
    ],
    ids=["two sides", "elsewhere", "in time", "too late", "a chain", "two that meet", "no crash"],
)
def test_linked_incidents_by_hand(found: list[Incident], count: int) -> None:
    links = Links((1, 4), dt=0.1)
    for incident in found:
        links.add(incident)
    assert links.counts.tolist() == [count]


def test_who_was_placed_anew_is_linked_with_nothing_before() -> None:
    links = Links((2, 2), dt=0.1)
    links.add(happened(0, 0))
    links.forget(np.array([[True, False], [False, False]]))
    links.add(happened(1, 0))
    links.add(happened(1, 0)._replace(world=1))
    assert links.counts.tolist() == [2, 1]


def linked_slowly(steps: list[tuple[list[Incident], list[int]]], apart: int) -> int:
    """Chains of incidents from the definition: those that lead to each other over shared bodies."""
    lives, found = [0] * 5, []
    for incidents_now, placed in steps:
        found += [
            (one.step, {(body, lives[body]) for body in (one.agent, one.other) if body >= 0})
            for one in incidents_now
            if one.cause in CAUSES[:CRASHES]
        ]
        for body in placed:
            lives[body] += 1
    chains = [{place} for place in range(len(found))]
    for (i, (step, bodies)), (j, (then, others)) in itertools.combinations(enumerate(found), 2):
        if bodies & others and then - step <= apart and chains[i] is not chains[j]:
            both = chains[i] | chains[j]
            for place in both:
                chains[place] = both
    return len({id(chain) for chain in chains})


EVENTS = st.tuples(st.integers(0, 4), st.integers(-1, 4), st.sampled_from(CAUSES))


@settings(deadline=None, max_examples=200)
@given(
    drawn=st.lists(
        st.tuples(st.lists(EVENTS, max_size=2), st.lists(st.integers(0, 4), max_size=1)),
        max_size=30,
    )
)
def test_linked_incidents_are_those_of_the_definition(
    drawn: list[tuple[list[tuple[int, int, str]], list[int]]],
) -> None:
    links, steps = Links((1, 5), dt=2.0), []
    for step, (events, placed) in enumerate(drawn):
        now = [happened(step, a, b if b != a else -1, cause) for a, b, cause in events]
        for incident in now:
            links.add(incident)
        who = np.zeros((1, 5), np.bool_)
        who[0, placed] = True
        links.forget(who)
        steps.append((now, placed))
    assert links.counts.tolist() == [linked_slowly(steps, 5)]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, True),
        ({"dx": -5.0, "speed": 5.0, "other_speed": 10.0}, False),
        ({"dx": 2.0, "dy": 2.0}, False),
        ({"speed": 3.0}, False),
        ({"cos": 0.0, "sin": 1.0}, False),
        ({"cos": -1.0}, False),
        ({"dx": -5.0, "speed": -1.0}, True),
        ({"dx": 2.0, "dy": 2.0, "beyond_lane": 0.4}, True),
        ({"dx": 2.0, "dy": 2.0, "beyond_lane": 0.2}, False),
        ({"cos": 0.0, "sin": 1.0, "ran_light": True}, True),
        ({"cos": 0.766, "sin": 0.643, "other_speed": 12.0}, True),
        ({"cos": 0.766, "sin": 0.643, "other_speed": 14.0}, False),
        ({"speed": 0.0, "other_speed": -1.0}, False),
        ({"dx": 2.0, "dy": 2.0, "beyond_lane": math.inf}, True),
    ],
    ids=[
        "front into rear", "struck from behind", "side by side", "the other backs into it",
        "crossing", "head-on in the own lane", "reversing", "out of its lane", "nearly out",
        "red light", "faster along the own heading", "slower along it", "standing",
        "against the lane",
    ],
)  # fmt: skip
def test_own_faults_by_hand(values: dict[str, Any], fault: bool) -> None:
    assert own_faults(pair(**values)).tolist() == [fault]


def test_the_rule_in_the_docs_has_the_numbers_of_the_code() -> None:
    docs = Path(__file__).parents[2] / "docs" / "evaluation.md"
    for text in (docs.read_text(encoding="utf-8"), str(incidents.__doc__)):
        rule = " ".join(text.split())
        assert f"headings within {math.degrees(math.acos(pairs.ALIGNED_COS)):.0f} deg" in rule
        assert f"more than {pairs.LANE_SLACK} m beyond" in rule
        assert f"in the last {incidents.RED_MEMORY:g} s" in rule
        assert f"within {incidents.START_TIME:g} s of the placing" in rule
        assert f"apart for {incidents.APART:g} s" in rule
        assert f"begin at most {incidents.LINKED_TIME:g} s apart" in rule


def causes(found: list[Incident]) -> dict[int, str]:
    assert len({incident.agent for incident in found}) == len(found)
    return {incident.agent: incident.cause for incident in found}


@pytest.mark.parametrize("striker", [0, 1])
def test_who_runs_into_the_other_from_behind_is_at_fault(striker: int) -> None:
    env = scene("narrow")
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    goal = [(lane, s + 250.0)]
    env.put(0, striker, (lane, s), goal, speed=12.0)
    env.put(0, 1 - striker, (lane, s + 20.0), goal, speed=4.0)
    found = run(env, 4.0)
    assert causes(found) == {striker: "collision_at_fault", 1 - striker: "collision_not_at_fault"}
    assert found[0].speed == pytest.approx(8.0, abs=0.1)
    assert {i.agent: i.other for i in found} == {0: 1, 1: 0}


def test_who_leaves_its_lane_is_at_fault() -> None:
    env = scene("narrow")
    own, theirs = lane_at(env.scene, -40.0, -1.75, 0.0), lane_at(env.scene, -25.0, 1.75, WEST)
    env.put(0, 0, own, [(own[0], own[1] + 150.0)], speed=6.0)
    env.put(0, 1, theirs, [(theirs[0], theirs[1] + 150.0)], speed=6.0, aside=3.5)
    assert causes(run(env, 3.5)) == {0: "collision_not_at_fault", 1: "collision_at_fault"}


@pytest.mark.parametrize(
    ("aside", "theirs", "found"),
    [
        (2.0, 1.4, {0: "collision_not_at_fault", 1: "collision_at_fault"}),
        (2.0, 0.8, {0: "collision_at_fault", 1: "collision_at_fault"}),
        (2.6, 0.3, {0: "collision_at_fault", 1: "collision_not_at_fault"}),
    ],
    ids=["the other beyond its edge", "neither beyond, by 0.2 m at most", "the own beyond"],
)
def test_a_lane_is_left_where_its_own_edge_lies(
    aside: float, theirs: float, found: dict[int, str]
) -> None:
    """Head-on beside the edge between a lane 3 m wide on that side and one of 1.5 m."""
    engine = build([lopsided_road()], agents_per_world=2)
    set_body(engine)
    engine.bodies.width[0] = 1.8
    first = engine.lanes.segment_first
    put(engine, 0, int(first[0]) + 150, aside=aside, speed=8.0)
    put(engine, 1, int(first[2]) + 200, aside=theirs, speed=8.0)
    engine.agents.age[0] = 100
    watch, incidents = Watch(engine), []
    for step in range(30):
        watch.before_step()
        engine.step(no_jerk(engine))
        incidents += watch.after_step(step)
    assert causes(incidents) == found


def test_where_nobody_has_a_fault_both_are_at_fault() -> None:
    env = scene("signals")
    east, north = lane_at(env.scene, -36.5, -1.75, 0.0), lane_at(env.scene, 1.75, -40.0, NORTH)
    env.put(0, 0, east, [lane_at(env.scene, 90.0, -1.75, 0.0)], speed=8.0)
    env.put(0, 1, north, [lane_at(env.scene, 1.75, 90.0, NORTH)], speed=8.0)
    assert causes(run(env, 5.5)) == {0: "collision_at_fault", 1: "collision_at_fault"}


def test_a_contact_just_after_placing_is_a_start_in_collision() -> None:
    env = scene("narrow")
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    for agent in (0, 1):
        env.put(0, agent, (lane, s + agent), [(lane, s + 200.0)], speed=5.0)
    assert set(causes(run(env, 0.3)).values()) == {"start_in_collision"}


@pytest.mark.parametrize("fresh", [0, 1])
def test_a_start_in_collision_is_one_for_who_has_long_been_there_too(fresh: int) -> None:
    env = scene("narrow")
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    for agent in (0, 1):
        env.put(0, agent, (lane, s + agent), [(lane, s + 200.0)], speed=5.0)
        env.engine.agents.age[0, agent] = 0 if agent == fresh else 100
    assert set(causes(run(env, 0.3)).values()) == {"start_in_collision"}


def test_driving_off_the_road_is_an_incident_without_another() -> None:
    env = scene("narrow", 1)
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    env.put(0, 0, (lane, s), [(lane, s + 250.0)], speed=10.0, aside=-1.0)
    (incident,) = run(env, 2.0)
    assert (incident.cause, incident.other) == ("offroad", -1)
    assert incident.speed == pytest.approx(10.0, abs=0.1)


def test_a_red_light_is_counted_and_remembered_as_a_fault() -> None:
    env = scene("narrow", 1)
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    env.put(0, 0, (lane, s), [(lane, s + 250.0)], speed=5.0)
    watch = Watch(env.engine)
    env.step(np.zeros(1, np.int64))
    env.engine.output.event[0, 0] |= EVENT_RED_LIGHT
    (incident,) = watch.after_step(7)
    assert (incident.cause, incident.step) == ("red_light", 7)
    assert watch.since_light[0, 0] == 0.0
    env.close()


def test_a_red_light_is_remembered_until_the_junction_is_left() -> None:
    env = scene("signals", 1)
    start, end = lane_at(env.scene, -20.0, -1.75, 0.0), lane_at(env.scene, 90.0, -1.75, 0.0)
    env.put(0, 0, start, [end], speed=3.0)
    watch, ran, inside = Watch(env.engine), [], []
    for step in range(250):
        watch.before_step()
        env.step(np.zeros(1, np.int64))
        if step == 0:
            env.engine.output.event[0, 0] |= EVENT_RED_LIGHT
        watch.after_step(step)
        ran.append(bool(watch.ran_light[0, 0]))
        inside.append(bool(watch.junction[0, 0] >= 0))
    env.close()
    entered = inside.index(True)
    left = entered + inside[entered:].index(False)
    assert entered < 50 < left, "it is in the junction when 5 s are over"
    assert ran == [step < left for step in range(250)]


def test_a_red_light_is_forgotten_when_its_agent_starts_anew() -> None:
    env = scene("narrow", 1, on_offroad="terminate")
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    env.put(0, 0, (lane, s), [(lane, s + 250.0)], speed=10.0, aside=-1.0)
    watch = Watch(env.engine)
    for step in range(10):
        watch.before_step()
        env.step(np.zeros(1, np.int64))
        if env.engine.output.event[0, 0] & EVENT_OFFROAD:
            break
        env.engine.output.event[0, 0] |= EVENT_RED_LIGHT
        watch.after_step(step)
        assert watch.ran_light[0, 0]
    assert env.engine.agents.age[0, 0] == 0
    watch.after_step(step)
    watch.before_step()
    env.step(np.zeros(1, np.int64))
    watch.after_step(step + 1)
    env.close()
    assert not watch.ran_light[0, 0]


def test_the_touched_body_is_found_among_many() -> None:
    env = scene("wide", 6)
    lane, s = lane_at(env.scene, -150.0, -5.25, 0.0)
    left, _ = lane_at(env.scene, -150.0, -1.75, 0.0)
    goal = [(lane, s + 300.0)]
    env.put(0, 0, (lane, s), goal, speed=14.0)
    env.put(0, 3, (lane, s + 25.0), goal, speed=2.0)
    for agent, away in ((1, 0.0), (2, 20.0), (4, 25.0), (5, 33.0)):
        env.put(0, agent, (left, s + away), [(left, s + 300.0)], speed=14.0)
    found = run(env, 2.5)
    assert {i.agent: i.other for i in found} == {0: 3, 3: 0}


def test_agents_do_not_feel_how_many_others_there_are() -> None:
    alone = RisingEdges((1,), 0.1)
    many = RisingEdges((5, 4), 0.1)
    random = np.random.default_rng(3)
    nobody = np.zeros((5, 4), np.bool_)
    for _ in itertools.repeat(None, 100):
        state = random.random((5, 4)) < 0.2
        assert many.update(state, nobody)[2, 3] == alone.update(state[2:3, 3], nobody[0, :1])[0]
