"""Maps by seed and ranges of them, through the tools that take maps."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.episodes import Episode, Recorder
from selfdrive_env.evaluation import Evaluation, evaluate, load
from selfdrive_env.evaluation.report import details, text
from selfdrive_env.maps import compiled
from selfdrive_env.maps import load as load_map
from selfdrive_env.play.session import Session, make_env
from selfdrive_env.rendering import draw_sheet

SMALL: dict[str, Any] = {"agents_per_world": 4, "horizon": 3.0, "layout": "lean"}
SHORT: dict[str, Any] = {"minutes": 0.1, "seeds": (0, 1), "settings": {"agents_per_world": 6}}


def test_map_info_of_several_maps_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", "village:0-1", "riverside"]) == 0
    head, *rows, last = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["map", "lane-km", "roads"]
    assert [row.split()[0] for row in rows] == ["village:0", "village:1", "riverside"]
    assert {len(row) for row in [head, *rows]} == {len(head)}
    assert last.startswith("3 maps, ")


def test_map_info_of_several_maps_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "info", "village:0-1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["village:0", "village:1"]
    assert main(["map", "info", "village:1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found["village:1"]


def test_map_plot_of_several_maps_is_a_sheet(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "sheet.png"
    assert main(["map", "plot", "village:0-1", "riverside", "-o", str(path), "--size", "400"]) == 0
    sheet = np.asarray(image.open(path))
    assert sheet.shape == (400, 400, 3)
    tiles = [sheet[:200, :200], sheet[:200, 200:], sheet[200:, :200]]
    assert all(len(np.unique(tile.reshape(-1, 3), axis=0)) > 10 for tile in tiles)
    assert len(np.unique(sheet[205:, 205:].reshape(-1, 3), axis=0)) == 1


def test_a_sheet_of_too_many_maps_for_its_size_is_refused() -> None:
    pytest.importorskip("PIL")
    with pytest.raises(ValueError, match="a sheet of 10 maps needs 400 to 20000 pixels"):
        draw_sheet(iter(()), 10, size=300)


@pytest.mark.parametrize("words", [["vilage:0-1"], ["village:3-1"], ["village:0-1", "no.xodr"]])
def test_bad_names_among_several_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "info", *words, "--json"]) == 2
    assert words[-1].split(":")[0] in capsys.readouterr().err


@pytest.fixture(scope="module")
def each() -> Evaluation:
    return evaluate(load("idm"), map="village:0-1", each_map=True, **SHORT)


def test_each_map_is_driven_on_as_if_alone(each: Evaluation) -> None:
    alone = evaluate(load("idm"), map="village:1", **SHORT)
    (_, second) = each.by_map
    assert second.settings["map"] == ["village:1"]
    np.testing.assert_array_equal(second.km, alone.km)
    np.testing.assert_array_equal(second.counts, alone.counts)
    assert second.behaviour == alone.behaviour


def test_figures_of_all_maps_together_are_sums(each: Evaluation) -> None:
    assert each.seeds == (0, 1, 0, 1)
    np.testing.assert_array_equal(each.km, np.concatenate([one.km for one in each.by_map]))
    assert each.counts.shape[0] == len(each.goals) == 4
    assert len(each.routes) == sum(len(one.routes) for one in each.by_map)
    assert each.agent_steps.sum() == sum(one.agent_steps.sum() for one in each.by_map)
    speeds = [one.behaviour["speed"] for one in each.by_map]
    assert min(speeds) <= each.behaviour["speed"] <= max(speeds)  # type: ignore[type-var,operator]
    found = details(each)
    assert [one["map"] for one in found["by_map"]] == ["village:0", "village:1"]
    assert json.dumps(found, allow_nan=False)
    lines = text(each).splitlines()
    assert lines[0].startswith("idm on village:0-1, 4 worlds")
    assert [line.split()[0] for line in lines[-2:]] == ["village:0", "village:1"]


def test_evaluate_by_map_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = "evaluate idm --map village:0-1 --each-map --minutes 0.05 --seeds 0 --probes none"
    assert main([*words.split(), "--set", "agents_per_world=4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["by_map"]) == ["village:0", "village:1"]
    assert found["km"] == pytest.approx(sum(one["km"] for one in found["by_map"].values()))


def test_an_episode_names_the_map_that_was_drawn(tmp_path: Path) -> None:
    env = DrivingVectorEnv(4, map="village:0-3", **SMALL)
    recorder = Recorder(env)
    names = set()
    for seed in range(6):
        env.reset(seed=seed)
        recorder.record()
        name = f"village:{int(env.engine.worlds.map[0])}"
        for _ in range(3):
            env.step(np.zeros(4, np.int64))
            recorder.record()
        recorder.save(tmp_path / "a.episode")
        recorder.save(tmp_path / "a.html")
        about = Episode.load(tmp_path / "a.episode").about
        assert about["map"] == name
        assert about["map_digest"] == env.engine.maps[int(env.engine.worlds.map[0])].digest
        page = (tmp_path / "a.html").read_text(encoding="utf-8")
        assert base64.b64encode(recorder.episode().to_bytes()).decode() in page
        names.add(name)
    assert len(names) > 1
    env.close()


def test_pictures_do_not_depend_on_when_maps_are_read() -> None:
    pytest.importorskip("PIL")
    pictures = []
    for eager in (False, True):
        env = DrivingVectorEnv(4, map="village:0-3", render_mode="rgb_array", **SMALL)
        if eager:
            env.engine.pool.load_all()
        pictures.append([])
        for seed in range(4):
            env.reset(seed=seed)
            pictures[-1].append(env.frame(0))
        assert env.engine.pool.missing.any() != eager
        env.close()
    np.testing.assert_array_equal(*pictures)


def test_variants_of_maps_by_seed() -> None:
    env = DrivingVectorEnv(4, map="village:0-1", map_variants=2, **SMALL)
    names = [one.name for one in env.engine.maps]
    assert names == ["village:0", "village:0#1", "village:1", "village:1#1"]
    assert len({one.digest for one in env.engine.maps}) == 4
    twin = load_map("village:1").varied(1)
    assert twin.name == "village:1#1"
    assert env.engine.maps[3].digest == compiled("village:1", variant=1, **_counts(env)).digest
    env.reset(seed=0)
    env.step(np.zeros(4, np.int64))
    env.close()


def _counts(env: DrivingVectorEnv) -> dict[str, int]:
    layout = env.layout
    return {n: getattr(layout, n) for n in ("lane_points", "boundary_points", "stop_lines")}


def test_play_tells_the_map_that_was_drawn() -> None:
    env = make_env("village:0-3", "idm", None, {"agents_per_world": 4})
    session = Session(env, None)
    names = set()
    for seed in range(5):
        session.reset(seed)
        assert session.map_name == f"village:{int(env.engine.worlds.map[0])}"
        names.add(session.map_name)
    assert len(names) > 1
    env.close()
