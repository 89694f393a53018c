"""`selfdrive dataset camera`: what is in the folder, and going on where one stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from selfdrive_env.datasets import camera
from selfdrive_env.datasets.camera import Plan, make
from selfdrive_env.datasets.formats import ABSENT, columns_at, lane_line, sample_rows
from selfdrive_env.images.labels import LaneLabel
from selfdrive_env.maps import RoadNetwork
from selfdrive_env.maps.network.finish import Problems, finish, lane_along

PLAN: dict[str, Any] = {"maps": ("riverside", "town:1"), "width": 64, "height": 36}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three parts of four pictures, two of them on the first map."""
    place = tmp_path_factory.mktemp("sets") / "pictures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camera, "PART", 4)
        patch.setattr(camera, "CALM", 12)
        assert make(Plan(number=10, **PLAN), place) == 10
    return place


def test_boxes_and_lanes_belong_to_the_pictures(folder: Path) -> None:
    from PIL import Image

    boxes = json.loads((folder / "boxes.json").read_text())
    lines = [json.loads(line) for line in (folder / "lanes.jsonl").read_text().splitlines()]
    assert [one["id"] for one in boxes["images"]] == list(range(10))
    assert [one["raw_file"] for one in lines] == [one["file_name"] for one in boxes["images"]]
    assert {one["map"] for one in boxes["images"]} == set(PLAN["maps"])
    kinds = {one["id"] for one in boxes["categories"]}
    for one in boxes["images"]:
        with Image.open(folder / one["file_name"]) as picture:
            assert picture.size == (64, 36)
    assert len(boxes["annotations"]) > 5
    for box in boxes["annotations"]:
        x, y, width, height = box["bbox"]
        assert 0 <= x < x + width <= 64 and 0 <= y < y + height <= 36
        assert 0 < box["area"] <= width * height and box["category_id"] in kinds
        assert 0.0 <= box["occlusion"] <= 1.0 and 0.0 <= box["truncation"] <= 1.0
    shown = [x for line in lines for lane in line["lanes"] for x in lane if x != ABSENT]
    assert len(shown) > 50 and min(shown) >= 0.0 and max(shown) < 64.0
    assert all(line["order"] == sorted(line["order"]) for line in lines)
    moved = [one["motion"] for one in boxes["images"] if one["motion"]]
    assert moved and all(np.hypot(*one["translation"][::2]) < 10.0 for one in moved)
    assert "10 pictures of 64 x 36" in (folder / "README.md").read_text()


def test_a_part_that_is_missing_is_made_again_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "PART", 4)
    monkeypatch.setattr(camera, "CALM", 12)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert make(Plan(number=10, **PLAN), folder) == 0
    (folder / "parts" / "00002.json").unlink()
    (folder / "images" / "000009.png").unlink()
    assert make(Plan(number=10, **PLAN), folder) == 2
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a data set with number 10, not 20"):
        make(Plan(number=20, **PLAN), folder)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no data set"):
        make(Plan(number=20, **PLAN), tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"maps": ("riverside", "riversyde")}, r"unknown map 'riversyde'"),
        ({"maps": ("nowhere.xodr",)}, r"map file 'nowhere.xodr' does not exist"),
        ({"traffic": "idmm"}, r"idmm"),
        ({"field_of_view": float("nan")}, r"field_of_view must be .*got nan"),
    ],
)
def test_a_typo_leaves_no_folder_behind(
    tmp_path: Path, words: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        make(Plan(number=1, **{**PLAN, **words}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_a_data_set_was_made_from_must_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A street with room for about 20 agents, then a longer one under the same name."""
    monkeypatch.setattr(camera, "CALM", 12)
    street, place = tmp_path / "street.roads", tmp_path / "set"
    plan = Plan(maps=(str(street),), number=3, width=64, height=36)
    closed(150.0).save(street)
    assert make(plan, place) == 3
    shutil.rmtree(place / "images")
    assert make(plan, place) == 3 and len(list((place / "images").iterdir())) == 3
    closed(160.0).save(street)
    with pytest.raises(ValueError, match=r"made from other contents of .*street\.roads; take"):
        make(plan, place)
    (place / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan\.json is damaged"):
        make(plan, place)
    with pytest.raises(ValueError, match="is a file; a data set is a folder"):
        make(plan, street)


def closed(length: float) -> RoadNetwork:
    lane = lane_along("street", [[0.0, 0.0], [length, 0.0]], 3.5)
    return finish(RoadNetwork("street", [lane]), Problems())


def test_agents_who_see_others_clearly_are_picked_before_those_who_see_specks() -> None:
    from selfdrive_env.state.camera.shots import BOX_COLUMNS, BOX_VISIBLE
    from selfdrive_env.state.world import ABSENT as GONE

    status = np.full((camera.WORLDS, camera.AGENTS), GONE + 1)
    status[0, 3] = GONE
    box = np.zeros((status.size, camera.AGENTS, BOX_COLUMNS), np.int32)
    box[:, 0, BOX_VISIBLE] = 57  # of 57,600 pixels: a speck
    clear = {(0, 3), (0, 7), (0, 20), (2, 5)}
    for world, agent in clear:
        box[world * camera.AGENTS + agent, 1, BOX_VISIBLE] = 58
    shots = SimpleNamespace(box=box, kind=np.zeros((status.size, 180, 320), np.uint8))
    engine = SimpleNamespace(
        agents=SimpleNamespace(status=status),
        views={camera.VIEW: SimpleNamespace(parts={"shots": shots})},
    )
    found = camera._picked(SimpleNamespace(engine=engine), np.random.default_rng(0))  # type: ignore[arg-type]
    assert [world for world, _ in found] == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    assert set(found[:2]) == {(0, 7), (0, 20)} and found[10] == (2, 5)
    assert len(set(found)) == 20 and (0, 3) not in found


def test_lanes_are_told_where_they_cross_the_middles_of_rows() -> None:
    rows = sample_rows(36)
    assert rows[0] == 19 and rows[-1] == 35
    v = np.array([40.0, 30.0, 20.0])
    points = np.stack([10.0 + v, v], axis=1)
    depth, shown = np.array([2.0, 4.0, 8.0]), np.ones(3, bool)
    line = LaneLabel("boundary", 0.5, points, depth, shown, ~shown)
    found = columns_at(line, rows, 44)
    assert found[0] == ABSENT  # above its end
    assert found[5] == pytest.approx(rows[5] + 0.5 + 10.0)
    assert found[-1] == ABSENT  # beside the picture
    edge = LaneLabel("boundary", 0.5, np.array([[43.98, 40.0], [43.98, 20.0]]), depth[:2],
        np.ones(2, bool), np.zeros(2, bool))  # fmt: skip
    told = lane_line([edge], 44, 36, "edge.png")
    assert told is not None and max(told["lanes"][0]) == 43.9
