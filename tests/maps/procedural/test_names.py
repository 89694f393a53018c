"""Names of maps by seed: where they are taken, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import gymnasium
import pytest

from selfdrive_env.config.choices import MAP_FAMILIES, maps_named
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs import make_drive
from selfdrive_env.maps import MapError, compiled, load
from selfdrive_env.maps.procedural import FAMILIES, generate

DIGESTS = {
    "city:0": "136ba0885cc447ea",
    "city:1": "6e27614e0b1c669e",
    "boulevards:0": "e2676493b7e95037",
    "boulevards:2": "18537cc825d7c378",
    "grid:0": "bb2b818b6ddde711",
    "grid:7": "465ffb7fee015f66",
    "hills:0": "3262eabe60d682b0",
    "hills:3": "b338d5bf7ad071df",
    "roundabouts:0": "4b40daedbdc396b6",
    "roundabouts:7": "6ac6ce7cc4e2706a",
    "village:0": "9185231edae0acff",
    "village:2147483647": "184c3e7ccc4f0592",
    "town:0": "b4801dc4c4989d43",
    "town:17": "c0e183cbf6d18866",
}
"""The first digits of the digests of some maps; they change with the generator only."""


@pytest.mark.parametrize("name", DIGESTS)
def test_the_same_name_is_the_same_map(name: str) -> None:
    assert load(name).digest()[:16] == DIGESTS[name]


def test_names_and_ranges() -> None:
    assert tuple(MAP_FAMILIES) == FAMILIES
    assert maps_named("town:17") == ("town:17",)
    assert maps_named("grid:9-11") == ("grid:9", "grid:10", "grid:11")
    assert len(maps_named("hills:0-1023") or ()) == 1024
    for other in ("riverside", "town", "maps/town.xodr", r"C:\town.xodr", "c:3", "", "a:b"):
        assert maps_named(other) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("twon:3", "did you mean 'town'"),
        ("Town:3", "did you mean 'town'"),
        ("town:", "write town:17"),
        ("town:x", "has no seed"),
        ("town:-1", "has no seed"),
        ("town:1.5", "has no seed"),
        ("town:007", "without zeros"),
        ("town:5-2", "must not be above"),
        ("town:0-1024", "1025 maps; at most 1024"),
        ("town:2147483648", "from 0 to 2147483647, got 2147483648"),
        ("town:0-99999999999999999999", "from 0 to 2147483647"),
        ("town:٣", "has no seed"),
    ],
)
def test_other_names_are_refused(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        maps_named(name)
    with pytest.raises(ValueError, match="map"):
        Settings(map=name)
    with pytest.raises(MapError):
        load(name)


def test_one_map_is_wanted_where_one_is_loaded() -> None:
    with pytest.raises(MapError, match="'grid:0-3' stands for 4 maps"):
        load("grid:0-3")


def test_a_range_is_a_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid:1").write_text("a file of that name is none of our business")
    settings = Settings(map=("riverside", "grid:0-2"))
    assert settings.map_names == ("riverside", "grid:0", "grid:1", "grid:2")
    assert settings.placed({"map": "grid:0-2"})["map"] == settings.map
    assert not any(os.path.isabs(name) for name in settings.map_names)
    assert load("grid:1").digest() == generate("grid", 1).digest()


def test_traffic_drives_on_a_pool() -> None:
    env = make_drive(3, map="village:0-2", agents_per_world=6)
    env.reset(seed=0)
    for _ in range(20):
        env.step(env.action_space.sample() * 0)
    assert env.settings.map_names == ("village:0", "village:1", "village:2")
    env.close()


def test_a_spec_keeps_the_names() -> None:
    env = gymnasium.make_vec("selfdrive_env/Drive-v0", 1, map="grid:4", agents_per_world=2)
    assert env.spec is not None
    assert "grid:4" in env.spec.to_json()
    env.close()


def test_kept_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path))
    first = compiled("village:3")
    assert [path.name.startswith("village_3-") for path in (tmp_path / "maps").iterdir()] == [True]
    assert compiled("village:3").digest == first.digest


def test_streets_without_a_centre_line_are_not_painted() -> None:
    from selfdrive_env.maps.compile.outline import outline

    network = generate("village", 8)
    unmarked = [lane for lane in network.lanes if lane.left_mark == "none" and lane.drivable]
    assert unmarked
    plain = compiled(network)
    assert len(plain.paint.unmarked) == len(unmarked)
    for lane in network.lanes:
        lane.left_mark = ""
    painted = compiled(network)
    lengths = [
        sum(len(line) for line in outline(one.lanes, one.grid, 0, one.paint).centre_line)
        for one in (plain, painted)
    ]
    assert lengths[0] < lengths[1]
    assert plain.digest == painted.digest
