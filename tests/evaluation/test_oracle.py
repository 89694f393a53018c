"""Evaluations against the slow recount of the same drive in tests/reference/evaluation.py."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.evaluation import CAUSES, Evaluation, evaluate, load
from selfdrive_env.evaluation.policies import Candidate
from tests.reference.evaluation import Counts, Recount, State, state_of

DRIVES: dict[str, dict[str, Any]] = {
    "mixed": dict(
        map="harbour", minutes=1.5, seeds=(3, 1 << 40),
        settings=dict(agents_per_world=24, dt=0.12, bodies={"car": 0.6, "pedestrian": 0.4}),
    ),
    "idm": dict(
        map="riverside", minutes=3.0, seeds=(5,),
        settings=dict(
            agents_per_world=30, dt=0.12, blind_share=0.5, braking_share=0.2, further_goals=2,
            first_goal=(20.0, 80.0),
        ),
    ),
}  # fmt: skip
"""Policy -> a drive: one with departures, red lights and tows, one with goals and collisions.

The step is one that no time of the rules is a multiple of, so that rounding decides nothing."""


def mixed() -> Candidate:
    """Every other agent accelerates straight on, the others act at random."""
    random = np.random.default_rng(0)

    def act(observations: Any, deterministic: bool = True) -> Any:
        actions = random.integers(0, 12, len(observations))
        actions[::2] = 10
        return actions

    return Candidate("mixed", act)


@functools.cache
def drive(name: str) -> tuple[Evaluation, Counts, list[State]]:
    """An evaluation, what the recount says, and the states at which its steps began and ended."""
    states: list[State] = []
    step, engines = DrivingVectorEnv.step, []

    def recorded(self: DrivingVectorEnv, actions: Any) -> Any:
        engines.append(self.engine)
        states.append(state_of(self.engine))
        result = step(self, actions)
        states.append(state_of(self.engine))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrivingVectorEnv, "step", recorded)
        evaluation = evaluate(mixed() if name == "mixed" else load(name), **DRIVES[name])
    engine = engines[0]
    recount = Recount(states[0], engine.lanes, engine.routes, float(engine.params.dt))
    following = [*states[2::2], states[-1]]
    for number, then in enumerate(following):
        recount.step(number, states[2 * number], states[2 * number + 1], then)
    return evaluation, recount.counts, states


def test_the_drives_have_something_to_count() -> None:
    """Else the tests below say little."""
    causes: Counter[str] = Counter()
    for name in DRIVES:
        evaluation, counts, _ = drive(name)
        causes.update(evaluation.by_cause)
        assert min(map(len, (counts.speeds, counts.laterals, counts.routes))) > 20
    assert all(count > 4 for cause, count in causes.items() if cause != "start_in_collision")
    assert evaluation.goals.sum() > 100
    assert len(counts.gaps) > 100
    assert len(drive("mixed")[1].tows) > 20


@pytest.mark.parametrize("name", DRIVES)
def test_kilometres_and_hours_are_those_outside_incidents(name: str) -> None:
    evaluation, counts, _ = drive(name)
    np.testing.assert_allclose(evaluation.km, counts.km, rtol=1e-4)
    np.testing.assert_allclose(evaluation.hours, counts.hours, rtol=1e-6)


@pytest.mark.parametrize("name", DRIVES)
def test_goals_and_the_time_to_them(name: str) -> None:
    evaluation, counts, _ = drive(name)
    assert evaluation.goals.tolist() == counts.goals.tolist()
    assert evaluation.goal_time.sum() == pytest.approx(counts.goal_time, rel=1e-6)
    assert evaluation.goal_free_time.sum() == pytest.approx(counts.goal_free_time, rel=1e-4)


@pytest.mark.parametrize("name", DRIVES)
def test_incidents_are_the_same_ones_with_the_same_causes(name: str) -> None:
    evaluation, counts, _ = drive(name)
    kinds = {"red_light": 1}
    listed, recounted = (
        sorted((i.step, i.world, i.agent, kinds.get(cause, 0)) for i, cause in found)
        for found in (
            [(i, i.cause) for i in evaluation.incidents],
            [(i, min(i.causes)) for i in counts.incidents],
        )
    )
    assert listed == recounted
    causes = {
        (i.step, i.world, i.agent, kinds.get(min(i.causes), 0)): i.causes for i in counts.incidents
    }
    for i in evaluation.incidents:
        assert i.cause in causes[i.step, i.world, i.agent, kinds.get(i.cause, 0)], i
    clear = [len(found) == 1 for found in causes.values()]
    assert np.mean(clear) > 0.9, "rounding decides now and then, not often"
    for place, cause in enumerate(CAUSES):
        total = sum(i.cause == cause for i in evaluation.incidents)
        assert evaluation.counts[:, place].sum() == total


@pytest.mark.parametrize("name", DRIVES)
def test_shares_of_uncomfortable_and_wrong_way_steps(name: str) -> None:
    evaluation, counts, _ = drive(name)
    steps = counts.agent_steps
    assert evaluation.uncomfortable == pytest.approx(counts.uncomfortable / steps, abs=1e-12)
    assert evaluation.wrong_way == pytest.approx(counts.wrong_way / steps, abs=1e-12)


@pytest.mark.parametrize("name", DRIVES)
def test_routes_with_their_shares_and_scores(name: str) -> None:
    evaluation, counts, _ = drive(name)
    assert len(evaluation.routes) == len(counts.routes)
    listed = sorted(evaluation.routes, key=lambda route: (route[0], route[1], route[2]))
    unclear = [route for route in counts.routes if route.score is None]
    assert len(unclear) <= 0.1 * len(counts.routes)
    shares = sorted((route.world, route.share) for route in counts.routes)
    np.testing.assert_allclose([route[:2] for route in listed], shares, atol=1e-3)
    assert sum(r[3] for r in listed) == sum(r.completed for r in counts.routes)
    scores = sum(route.score for route in counts.routes if route.score is not None)
    least, most = scores - 1e-2, scores + sum(route.share for route in unclear) + 1e-2
    assert least <= sum(route[2] for route in listed) <= most


@pytest.mark.parametrize("name", DRIVES)
def test_who_is_towed_has_been_in_an_incident_for_ten_seconds(name: str) -> None:
    _, counts, states = drive(name)
    found = [
        (number, *at)
        for number, (after, then) in enumerate(zip(states[1:-1:2], states[2::2], strict=True))
        for at in np.argwhere((then.agents.age == 0) & (after.agents.age > 0)).tolist()
    ]
    last = len(states) // 2 - 1
    assert found == sorted(tow for tow in counts.tows if tow[0] < last)


@pytest.mark.parametrize("name", DRIVES)
def test_behaviour_is_the_mean_over_looks(name: str) -> None:
    evaluation, counts, _ = drive(name)
    behaviour = evaluation.behaviour
    for figure, values in (
        ("gap", counts.gaps), ("headway", counts.headways), ("speed", counts.speeds),
        ("lateral_acceleration", counts.laterals),
    ):  # fmt: skip
        assert behaviour[figure] == pytest.approx(np.mean(values), rel=1e-4), figure
    high = np.quantile(counts.laterals, 0.95, method="inverted_cdf")
    assert behaviour["lateral_acceleration_95"] == pytest.approx(high, abs=0.026)
    reds = sum(i.causes == {"red_light"} for i in counts.incidents)
    assert behaviour["red_lights_per_km"] == pytest.approx(reds / counts.km.sum(), rel=1e-4)
