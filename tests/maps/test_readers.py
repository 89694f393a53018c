from __future__ import annotations

from pathlib import Path

import pytest

from selfdrive_env.commands.options import MAP
from selfdrive_env.maps import MapError, RoadNetwork, load
from selfdrive_env.maps.network.finish import Problems, finish, lane_along
from selfdrive_env.maps.opendrive.parse.xml import SUFFIXES
from selfdrive_env.maps.readers import READERS, reader_of
from selfdrive_env.maps.road_network import SUFFIX

ROOT = Path(__file__).parents[2]


def test_every_row_leads_to_a_function(tmp_path: Path) -> None:
    for ending in READERS:
        path = tmp_path / f"map{ending.upper()}"
        path.touch()
        assert callable(reader_of(str(path)))


def test_the_table_has_the_endings_that_readers_name() -> None:
    assert {*SUFFIXES, SUFFIX} <= set(READERS)


@pytest.mark.parametrize("ending", READERS)
def test_endings_stand_in_errors_help_and_documentation(ending: str) -> None:
    with pytest.raises(MapError, match="unknown map") as caught:
        load("town.txt")
    assert ending in str(caught.value)
    assert ending in MAP
    assert f"`{ending}`" in (ROOT / "docs" / "maps.md").read_text(encoding="utf-8")


def test_a_row_is_all_that_a_new_reader_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, ".txt", f"{__name__}:read_text")
    monkeypatch.setitem(READERS, ".long.txt", f"{__name__}:read_nothing")
    path = tmp_path / "one.txt"
    path.write_text("12.0")
    network = load(path)
    assert network.lanes[0].length == 12.0
    assert network.source == str(path)
    with pytest.raises(MapError, match="does not exist"):
        load(tmp_path / "two.txt")


def read_text(path: str) -> RoadNetwork:
    length = float(Path(path).read_text())
    network = RoadNetwork("one", [lane_along("1", [[0.0, 5.0], [length, 5.0]], 3.5)], source=path)
    return finish(network, Problems())


def read_nothing(path: str) -> RoadNetwork:
    raise AssertionError("the longer ending does not fit")
