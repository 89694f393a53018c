"""Recipes: what they say is checked, and their stages run one after the other."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.policies.files import POLICY_FILE, PolicyFile
from selfdrive_env.training.recipes.recipe import RECIPES, load_recipe, train_recipe
from tests.training.conftest import TINY

COMMON = {**TINY, "gamma": 0.9, "shared_sets": False, "normalize_values": False}
STAGES = [{"name": "a", "steps": 256}, {"name": "b", "steps": 384, "env": {"horizon": 2.0}}]


def write(folder: Path, **parts: Any) -> Path:
    file = folder / "small.json"
    table = {"common": COMMON, "stages": STAGES, "out_dir": str(folder / "out"), **parts}
    file.write_text(json.dumps(table))
    return file


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_the_package_are_whole(name: str) -> None:
    recipe = load_recipe(name)
    configs = [stage.config for stage in recipe.stages]
    assert [one.start_from for one in configs] == [None, *(one.out_dir for one in configs[:-1])]
    assert all(one.minutes is None for one in configs)
    assert recipe.out_dir == f"runs/{name}"


def test_settings_lie_over_one_another(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), ["gamma=0.5", "env.horizon=9"], "elsewhere")
    first, second = (stage.config for stage in recipe.stages)
    assert (first.gamma, second.gamma) == (0.5, 0.5)
    assert (first.steps, second.steps) == (256, 384)
    assert (first.env["horizon"], second.env["horizon"]) == (9, 9)
    assert Path(second.out_dir) == Path("elsewhere", "b")
    recipe = load_recipe(write(tmp_path))
    assert [stage.config.env["horizon"] for stage in recipe.stages] == [3.0, 2.0]
    assert recipe.stages[0].config.env["layout"] == TINY["env"]["layout"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"stages": []}, "at least one table in stages, got none"),
        ({"stages": {}}, "stages"),
        ({"stages": [{"steps": 1}]}, "name must be 1 to 64 letters"),
        ({"stages": [{"name": "../a"}]}, "name must be 1 to 64 letters.*'../a'"),
        ({"stages": [STAGES[0], STAGES[0]]}, r"stages\[1\]: name must be another.*'a'"),
        ({"stages": [{"name": "a", "minutes": 3}]}, "minutes cannot be set.*got 3"),
        ({"stages": [{"name": "a", "out_dir": "x"}]}, "out_dir cannot be set.*got 'x'"),
        ({"stages": [STAGES[0], {**STAGES[1], "start_from": "x"}]}, "start_from cannot be set"),
        ({"stages": [{"name": "a", "gama": 0.9}]}, r"\(a\): unknown setting 'gama'.*gamma"),
        ({"stages": [{"name": "a", "gamma": 2}]}, r"\(a\): gamma must be .* got 2"),
        ({"common": 3}, r"common must be .* table.*got 3"),
        ({"preset": "huge"}, "preset must be one of cpu, gpu, got 'huge'"),
        ({"out_dir": 3}, "out_dir must be the path of a folder, got 3"),
        ({"stage": []}, "its parts must be one of preset, out_dir, common, stages, .* got 'stage'"),
        ({"evaluation": 3}, "evaluation must be .* table.*got 3"),
        ({"evaluation": {"every": 0}}, "every must be a whole number from 1 .*got 0"),
    ],
)
def test_a_bad_recipe_is_refused(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe(write(tmp_path, **parts))
    assert "small.json" in str(caught.value)


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"or a file that is there, got .selfply..*selfpl"):
        load_recipe("selfply")


def test_stages_go_on_from_one_another_and_a_cut_recipe_is_resumed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file, out = write(tmp_path), tmp_path / "out"
    stage, figures = train_recipe(load_recipe(file))
    assert stage.name == "b" and figures["steps"] == 384
    newest = (out / POLICY_FILE).read_bytes()
    assert newest == (out / "b" / POLICY_FILE).read_bytes()
    assert PolicyFile.read(out).description["actions"] == 12
    with pytest.raises(ValueError, match="holds a run of this recipe already"):
        train_recipe(load_recipe(file))

    # Cut off within its last stage: the same as without.
    cut = tmp_path / "cut"
    short = [STAGES[0], {**STAGES[1], "steps": 256}]
    train_recipe(load_recipe(write(tmp_path, stages=short), out_dir=str(cut)))
    stage, _ = train_recipe(load_recipe(write(tmp_path), out_dir=str(cut)), resume=True)
    assert stage.name == "b"
    weights = [PolicyFile.read(folder).weights for folder in (out, cut)]
    assert set(weights[0]) == set(weights[1])
    # A stage that is over does not begin anew.
    before = (cut / POLICY_FILE).stat().st_mtime_ns, (cut / "a" / POLICY_FILE).read_bytes()
    _, figures = train_recipe(load_recipe(file, out_dir=str(cut)), resume=True)
    assert figures["steps"] == 384
    assert (cut / "a" / POLICY_FILE).read_bytes() == before[1]


def test_a_stage_begins_with_the_policy_of_the_one_before(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    still = [STAGES[0], {**STAGES[1], "learning_rate": 0.0}]
    train_recipe(load_recipe(write(tmp_path, stages=still)))
    a, b = (PolicyFile.read(tmp_path / "out" / name).weights for name in "ab")
    learnt = [name for name in a if "value" not in name]
    assert all((a[name] == b[name]).all() for name in learnt)


def test_the_command_trains_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["train", "--recipe", str(write(tmp_path)), "--set", "steps=128"]) == 0
    text = capsys.readouterr()
    assert "stage 2 of 2, b" in text.err
    assert f"{tmp_path / 'out' / 'b'}: 128 transitions" in text.out


def test_a_recipe_is_followed_on_its_way_and_learns_the_same(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    stages = [STAGES[0], {**STAGES[1], "steps": 768}]
    file = write(tmp_path, stages=stages, evaluation={"every": 500})
    train_recipe(load_recipe(file))
    seen: list[tuple[str, int]] = []
    kept: list[bytes] = []

    def follow(policy: Path, stage: str, transitions: int) -> None:
        seen.append((stage, transitions))
        kept.append(policy.read_bytes())

    train_recipe(load_recipe(file, out_dir=str(tmp_path / "b")), follow=follow)
    assert seen == [("a", 256), ("b", 512), ("b", 1024)]
    assert len(set(kept)) == 3
    ends = [(tmp_path / folder / POLICY_FILE).read_bytes() for folder in ("out", "b")]
    assert ends[0] == ends[1] == kept[-1]
    train_recipe(load_recipe(file, out_dir=str(tmp_path / "b")), resume=True, follow=follow)
    assert len(seen) == 3  # there was nothing to do


def test_the_command_evaluates_a_recipe_on_its_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    settings = {"agents_per_world": 4, "num_threads": 1, "dt": 0.3}
    table = {"every": 256, "map": ["riverside"], "minutes": 0.2, "seeds": [1], "settings": settings}
    file = write(tmp_path, evaluation=table)
    assert main(["train", "--recipe", str(file)]) == 0
    with open(tmp_path / "out" / "evaluation.csv", newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["stage"], row["transitions"]) for row in rows] == [
        ("a", "256"), ("b", "512"), ("b", "640")
    ]  # fmt: skip
    assert all(float(row["km"]) > 0.0 for row in rows)
    assert "0.0 M, km between incidents: riverside" in capsys.readouterr().err

    wrong = write(tmp_path, evaluation={"maps": ["riverside"]}, out_dir=str(tmp_path / "wrong"))
    assert main(["train", "--recipe", str(wrong)]) == 2
    assert "its settings must be one of map, minutes" in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("words", [["--preset", "cpu"], ["--config", "x.toml"], ["--updates", "3"]])
def test_options_of_a_single_run_do_not_go_with_a_recipe(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--recipe", "selfplay", *words]) == 2
    assert f"{words[0]} does not go with --recipe" in capsys.readouterr().err
