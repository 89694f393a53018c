"""Kinds of failures: by hand, on scenes, and what an evaluation tells of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.evaluation import evaluate, load
from selfdrive_env.evaluation.causes.kinds import (
    BEND_REACH,
    KINDS,
    SOFT,
    collision_kind,
    departure_kind,
    lanes_meet,
    light_kind,
)
from selfdrive_env.evaluation.report import text
from selfdrive_env.evaluation.results.evaluation import Evaluation, joined
from selfdrive_env.evaluation.results.files import details, figures
from selfdrive_env.maps import compiled
from selfdrive_env.state.road import SEG_CURVATURE
from tests.evaluation.conftest import pair, run, scene
from tests.evaluation.placed import lane_at
from tests.kernels.conftest import acceleration_lane

SHORT: dict[str, Any] = dict(
    map="riverside", minutes=0.5, seeds=(1, 2), settings={"agents_per_world": 8, "num_threads": 1}
)


@pytest.fixture(scope="module")
def by_random() -> Evaluation:
    return evaluate(load("random"), **SHORT, keep=3)


@pytest.mark.parametrize(
    ("values", "told", "kind"),
    [
        ({}, {"closing": 2.9}, "rear_end_soft"),
        ({}, {"closing": SOFT}, "rear_end_hard"),
        ({"dx": -5.0}, {"closing": 5.0}, "rear_end_hard"),
        ({"dx": 2.0, "dy": 2.0}, {}, "side"),
        ({"dx": 2.0, "dy": 2.0}, {"meet": True}, "merge"),
        ({"cos": -1.0}, {}, "oncoming"),
        ({"cos": 0.0, "sin": 1.0}, {}, "crossing"),
        ({"cos": 0.0, "sin": 1.0}, {"obstacle": True}, "obstacle"),
        ({"speed": -0.1}, {"obstacle": True}, "reversing"),
        ({"other_speed": -0.1}, {}, "reversing"),
        ({"speed": -0.1}, {"start": True}, "placed_badly"),
    ],
)
def test_collisions_by_hand(values: dict[str, Any], told: dict[str, Any], kind: str) -> None:
    usual = {"closing": 1.0, "start": False, "obstacle": False, "meet": False}
    assert collision_kind(pair(**values), 0, **{**usual, **told}) == kind


@pytest.mark.parametrize(("speed", "kind"), [(2.9, "red_rolled"), (3.0, "red_run")])
def test_red_lights_by_hand(speed: float, kind: str) -> None:
    assert light_kind(speed) == kind


def test_who_leaves_the_road_in_a_bend_turned_too_wide() -> None:
    lanes = compiled("riverside").lanes
    bent = int(np.argmax(np.abs(lanes.segment[:, SEG_CURVATURE])))
    long = np.flatnonzero(lanes.length > 3 * BEND_REACH)
    lane = int(long[np.argmin(lanes.max_curvature[long])])
    straight = int(lanes.segment_first[lane : lane + 2].mean())
    for segment, kind in ((bent, "turn_too_wide"), (straight, "drift")):
        assert departure_kind(lanes, segment, 8.0, 60.0) == kind
        assert departure_kind(lanes, segment, 8.0, 2.9) == "placed_badly"
        assert departure_kind(lanes, segment, -0.5, 60.0) == "reversing"


def test_lanes_meet_where_both_lead_to_one_or_one_ends_beside_the_other() -> None:
    lanes = acceleration_lane(False).lanes
    ends = [k for k in range(len(lanes.length)) if lanes.left[k] >= 0]
    meeting = [k for k in ends if not np.diff(lanes.successor_first[k : k + 2])[0]]
    assert meeting
    for lane in meeting:
        beside = int(lanes.left[lane])
        assert lanes_meet(lanes, lane, beside) and lanes_meet(lanes, beside, lane)
        assert not lanes_meet(lanes, lane, lane)
    town = compiled("riverside").lanes
    following = {}
    for lane in range(len(town.length)):
        first, last = town.successor_first[lane : lane + 2]
        for after in town.successor[first:last].tolist():
            following.setdefault(after, []).append(lane)
    one, other = next(lanes for lanes in following.values() if len(lanes) > 1)[:2]
    assert lanes_meet(town, one, other) and not lanes_meet(town, one, int(town.successor[0]) + 10)


def test_kinds_on_scenes() -> None:
    env = scene("narrow")
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    env.put(0, 0, (lane, s), [(lane, s + 250.0)], speed=12.0)
    env.put(0, 1, (lane, s + 20.0), [(lane, s + 250.0)], speed=4.0)
    assert [one.kind for one in run(env, 4.0)] == ["rear_end_hard"] * 2

    env = scene("signals")
    east, north = (
        lane_at(env.scene, -36.5, -1.75, 0.0),
        lane_at(env.scene, 1.75, -40.0, math.pi / 2),
    )
    env.put(0, 0, east, [lane_at(env.scene, 90.0, -1.75, 0.0)], speed=8.0)
    env.put(0, 1, north, [lane_at(env.scene, 1.75, 90.0, math.pi / 2)], speed=8.0)
    assert [one.kind for one in run(env, 5.5)] == ["crossing"] * 2

    env = scene("narrow", 1)
    lane, s = lane_at(env.scene, -100.0, -1.75, 0.0)
    env.put(0, 0, (lane, s), [(lane, s + 250.0)], speed=10.0, aside=-1.0)
    env.engine.agents.age[0, 0] = 1000
    assert [one.kind for one in run(env, 2.0)] == ["drift"]


def test_an_evaluation_counts_kinds(by_random: Evaluation) -> None:
    counts = by_random.by_kind
    assert sum(counts.values()) == by_random.counts.sum() == len(by_random.incidents)
    assert set(counts) <= set(KINDS) and len(counts) > 1
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert figures(by_random)["kinds"] == counts
    for kind, count in counts.items():
        assert f"kind {kind}" in text(by_random) and count > 0
    assert {one["kind"] for one in details(by_random)["list"]} == set(counts)
    assert joined([by_random, by_random]).by_kind == {k: 2 * n for k, n in counts.items()}
    old = dataclasses.replace(
        by_random, incidents=[one._replace(kind="") for one in by_random.incidents]
    )
    assert "kind unknown" in text(old)


def test_only_incidents_of_the_kinds_asked_for_are_kept(by_random: Evaluation) -> None:
    worst = {one.incident.kind for one in by_random.recordings}
    rare = min(by_random.by_kind, key=lambda kind: (kind in worst, by_random.by_kind[kind]))
    found = evaluate(load("random"), **SHORT, keep=3, kinds=[rare])
    assert {one.incident.kind for one in found.recordings} == {rare}
    assert found.by_kind == by_random.by_kind


def test_the_page_on_evaluation_tells_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs/evaluation.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
