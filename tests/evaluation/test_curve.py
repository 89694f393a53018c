"""Figures of a policy on its way: what goes into the table, what is taken back, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from selfdrive_env.evaluation import evaluate, load
from selfdrive_env.evaluation.causes.kinds import KINDS
from selfdrive_env.evaluation.incidents import CAUSES
from selfdrive_env.evaluation.results.curve import COLUMNS, PICTURE, TABLE, Curve, draw, point
from tests.policies.policy_files import write_policy

OPTIONS: dict[str, Any] = {
    "map": ["riverside", "hillcrest"],
    "minutes": 0.3,
    "seeds": [4, 5],
    "probes": ["merge"],
    "trials": 2,
    "settings": {"agents_per_world": 6, "num_threads": 1, "dt": 0.3},
}


def test_the_table_has_what_evaluate_finds(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "a.safetensors")
    curve = Curve(tmp_path / "out", OPTIONS)
    assert curve.rows() == []
    curve.add(policy, "first", 1000)
    rows = curve.rows()
    assert [(row["map"], row["stage"], row["transitions"]) for row in rows] == [
        (name, "first", "1000") for name in ("riverside", "hillcrest", "probes")
    ]
    assert tuple(rows[0]) == COLUMNS
    found = evaluate(
        load(str(policy)), map="riverside", minutes=0.3, seeds=[4, 5], settings=OPTIONS["settings"]
    )
    assert {name: str(value) for name, value in point(found).items()} == {
        name: rows[0][name] for name in point(found)
    }
    assert float(rows[0]["km"]) == pytest.approx(float(found.km.sum()), rel=1e-5)
    assert [int(rows[0][cause]) for cause in CAUSES] == list(found.by_cause.values())
    assert sum(int(rows[0][f"kind_{kind}"]) for kind in KINDS) == len(found.incidents)
    assert 0 <= int(rows[2]["probe_merge"]) <= 2
    assert rows[2]["km"] == "" == rows[0]["probe_merge"]


def test_rows_further_on_are_taken_back(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "a.safetensors")
    curve = Curve(tmp_path, {**OPTIONS, "map": ["riverside"], "probes": []})
    for transitions in (1000, 3000, 2000):
        curve.add(policy, "first", transitions)
    again = Curve(tmp_path, {**OPTIONS, "map": ["riverside"], "probes": []})
    assert [row["transitions"] for row in again.rows()] == ["1000", "2000"]
    assert (tmp_path / TABLE).read_text(encoding="utf-8").count("\n") == 3
    pytest.importorskip("matplotlib")
    assert (tmp_path / PICTURE).stat().st_size > 10_000


def test_curves_without_incidents_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    row = {"map": "a", "km_between": "", "km_between_low": "3.2", "km_between_high": "",
        "goals_per_hour": "120"}  # fmt: skip
    draw([{**row, "transitions": n} for n in (1_000_000, 2_000_000)], tmp_path / "a.png")
    draw([], tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size > (tmp_path / "b.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": ["harbour"]}, "its settings must be one of map, minutes.*got 'maps'"),
        ({"map": "harbour"}, "map must be a list, got 'harbour'"),
        ({"map": []}, "map and seeds must name at least one"),
        ({"map": ["harbor"]}, "'harbor'.*harbour"),
        ({"seeds": [-1]}, "seeds must be a whole number from 0.*got -1"),
        ({"minutes": 0}, "minutes must be a number from.*got 0"),
        ({"probes": ["flying"]}, "probes must be one of.*got 'flying'"),
        ({"trials": 0}, "trials must be a whole number from 1"),
        ({"settings": {"dt": 9.0}}, "dt"),
        ({"settings": 3}, "settings must be .* table.*got 3"),
        ({"settings": {"agents_per_word": 3}}, "agents_per_word"),
        ({"settings": {"on_goal": "terminate"}}, "on_goal cannot be set"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Curve(tmp_path, options)
