"""Parts of a run and what they come to together; files of evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.evaluation import Evaluation, evaluate, load
from selfdrive_env.evaluation.report import details, text
from selfdrive_env.evaluation.results.files import read, write
from selfdrive_env.evaluation.results.merge import merge, read_shard

POLICY = "constant:10"
"""Accelerates and does not steer, so that there is something to count."""

RUN: dict[str, Any] = {
    "map": "riverside",
    "minutes": 0.5,
    "seeds": (5, 3, 4),
    "settings": {"agents_per_world": 10, "dt": 0.2},
}
EACH = {**RUN, "map": ["riverside", "hillcrest"], "each_map": True, "seeds": (5, 3)}


@pytest.fixture(scope="module")
def whole() -> Evaluation:
    return evaluate(load(POLICY), **RUN)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of two shards of `whole`."""
    folder = tmp_path_factory.mktemp("shards")
    return [shard(folder, number, 2, RUN) for number in (1, 2)]


def shard(folder: Path, number: int, of: int, run: dict[str, Any]) -> Path:
    path = folder / f"{number}.json"
    write(path, evaluate(load(POLICY), **run, shard=(number, of)))
    return path


def test_shards_together_are_the_whole_run(whole: Evaluation, parts: list[Path]) -> None:
    assert whole.num_incidents > whole.num_linked > 5
    seeds = [read(path)[0].seeds for path in parts]
    assert seeds == [(5,), (3, 4)]
    for order in (parts, parts[::-1]):
        merged, other = merge(order)
        assert other is None
        assert details(merged) == details(whole)
        assert text(merged) == text(whole)


def test_shards_of_worlds_on_several_maps(tmp_path: Path) -> None:
    found = evaluate(load(POLICY), **EACH)
    paths = [shard(tmp_path, number, 3, EACH) for number in (1, 2, 3)]
    maps = [read(path)[0].maps for path in paths]
    assert maps == [("riverside",), ("riverside",), ("hillcrest", "hillcrest")]
    merged, _ = merge([paths[2], paths[0], paths[1]])
    assert details(merged) == details(found)
    assert text(merged) == text(found)


def test_shards_of_worlds_that_draw_their_maps(tmp_path: Path) -> None:
    run = {**RUN, "map": "village:0-2", "minutes": 0.2}
    paths = [shard(tmp_path, number, 3, run) for number in (1, 2, 3)]
    assert details(merge(paths)[0]) == details(evaluate(load(POLICY), **run))


def test_a_part_says_what_is_missing(parts: list[Path]) -> None:
    part, _ = merge(parts[:1])
    assert part.missing_worlds == 2
    assert "a part: 2 more make the whole" in text(part).splitlines()[0]
    assert "a part" not in text(merge(parts)[0])


def test_runs_with_other_seeds_add_up(whole: Evaluation, tmp_path: Path) -> None:
    for name, seeds in (("a", (5,)), ("b", (3, 4))):
        write(tmp_path / name, evaluate(load(POLICY), **{**RUN, "seeds": seeds}))
    merged, _ = merge([tmp_path / "a", tmp_path / "b"])
    assert details(merged) == details(whole)


def test_what_was_merged_merges_again(whole: Evaluation, parts: list[Path], tmp_path: Path) -> None:
    first = evaluate(load(POLICY), **RUN, shard=(1, 3))
    write(tmp_path / "first", first)
    write(tmp_path / "second", merge([tmp_path / "first"])[0])
    assert details(merge([tmp_path / "second", parts[1]])[0]) == details(whole)


def test_a_file_holds_all_counts(whole: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "whole.json"
    write(path, whole)
    found, other = read(path)
    assert other is None
    assert details(found) == details(whole) == json.loads(path.read_text())
    assert len(path.read_text().splitlines()) < 50 + len(whole.incidents)


def changed(path: Path, to: Path, **values: Any) -> Path:
    """Writes a file with other values; of dicts those keys that are given."""
    found = json.loads(path.read_text())
    for name, value in values.items():
        found[name] = {**found[name], **value} if isinstance(value, dict) else value
    to.write_text(json.dumps(found))
    return to


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"settings": {"dt": 0.1}}, "its dt is 0.1, but 0.2 in"),
        ({"settings": {"light_timing": "fixed"}}, "its light_timing is 'fixed', but 'file' in"),
        ({"settings": {"map": ["hillcrest"]}}, r"its map is \['hillcrest'\]"),
        ({"minutes": 1.0}, "its minutes is 1.0, but 0.5 in"),
        ({"policy": "idm"}, "its policy is 'idm', but 'constant:10' in"),
        ({"policy_digest": "12ab"}, "its policy is '12ab', but 'constant:10' in"),
        ({"map_digests": {"riverside": "12ab"}}, "its map digest of riverside is '12ab', but"),
        ({"package": "0.0.1"}, "its package version is '0.0.1', but"),
        ({"probes": {"merge": {"trials": 2}}}, "its probe merge is"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    values: dict[str, Any], problem: str, parts: list[Path], tmp_path: Path
) -> None:
    first = changed(parts[0], tmp_path / "first", probes={"merge": {"trials": 20}})
    second = changed(parts[1], tmp_path / "second", **values)
    with pytest.raises(ValueError, match=problem) as raised:
        merge([first, second])
    assert str(raised.value).startswith(f"{second} cannot be added")


def test_threads_and_folders_of_map_files_are_no_difference(
    whole: Evaluation, parts: list[Path], tmp_path: Path
) -> None:
    here, there = (
        changed(
            path,
            tmp_path / folder,
            settings={"map": [f"/{folder}/riverside"], "num_threads": threads},
            map_digests={f"/{folder}/riverside": "12ab"},
        )
        for path, folder, threads in zip(parts, "ab", (1, 2), strict=True)
    )
    for path in (here, there):
        found = json.loads(path.read_text())
        del found["map_digests"]["riverside"]
        path.write_text(json.dumps(found))
    merged, _ = merge([here, there])
    assert merged.settings["map"] == ["/a/riverside"]
    assert merged.map_digests == {"/a/riverside": "12ab"}
    assert merged.counts.tolist() == whole.counts.tolist()


def test_the_same_world_twice_is_refused(parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2\.json overlaps with .*2\.json: both hold seed 3"):
        merge([*parts, parts[1]])
    other = tmp_path / "other.json"
    write(other, evaluate(load(POLICY), **{**RUN, "seeds": (4, 9)}))
    with pytest.raises(ValueError, match=r"overlaps with .*: both hold seed 4"):
        merge([*parts, other])
    with pytest.raises(ValueError, match="needs files"):
        merge([])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("no json", "is no file of an evaluation"),
        ("[]", "is no file of an evaluation"),
        ('{"km": 3.0}', "is no file of an evaluation"),
        ('{"format": "selfdrive_env evaluation 0"}', "got 'selfdrive_env evaluation 0'"),
        ('{"format": "selfdrive_env evaluation 1"}', "is damaged: KeyError"),
    ],
)
def test_files_that_are_none_are_refused(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=problem) as raised:
        read(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("km", -1.0), ("km", "3"), ("goals", 1.5), ("linked", [1]), ("incidents", {"offroad": 1})],
)
def test_damaged_counts_are_refused(
    name: str, value: Any, parts: list[Path], tmp_path: Path
) -> None:
    rows = json.loads(parts[0].read_text())["by_seed"]
    rows[0][name] = value
    with pytest.raises(ValueError, match="is damaged"):
        read(changed(parts[0], tmp_path / "x.json", by_seed=rows))


@pytest.mark.parametrize("given", ["", "3", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b"])
def test_wrong_shards_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="--shard must be I/N"):
        read_shard(given)
    assert read_shard("2/8") == (2, 8)


def test_the_command_merges_shards_of_a_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--map riverside --minutes 0.1 --seeds 3 4 --probes closed_road --trials 2 --set dt=0.2"
    command = ["evaluate", "selfplay", "idm", *words.split(), "agents_per_world=5"]
    paths = [str(tmp_path / name) for name in ("whole", "1", "2", "merged")]
    assert main([*command, "-o", paths[0], "--json"]) == 0
    printed = capsys.readouterr().out
    for number in (1, 2):
        assert main([*command, "--shard", f"{number}/2", "-o", paths[number]]) == 0
    assert [bool(read(Path(path))[0].probes) for path in paths[1:3]] == [True, False]
    capsys.readouterr()
    assert main(["evaluate", "merge", *paths[1:3], "-o", paths[3], "--json"]) == 0
    assert capsys.readouterr().out == printed
    assert Path(paths[3]).read_bytes() == Path(paths[0]).read_bytes()
    against = json.loads(printed)["against"]
    assert set(against["ratios"]) == {"goal_rate", "speed"}
    assert read(Path(paths[0]))[1].policy == "idm"  # type: ignore[union-attr]
    found = json.loads(Path(paths[2]).read_text())
    del found["against"]
    Path(paths[2]).write_text(json.dumps(found))
    assert main(["evaluate", "merge", *paths[1:3]]) == 2
    assert "only one of them compares two policies" in capsys.readouterr().err
