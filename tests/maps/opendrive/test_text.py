"""Encodings of the text, and the places and names of files."""

from __future__ import annotations

import codecs
import gzip
import os
import pickle
from pathlib import Path

import gymnasium as gym
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.config.settings import Settings
from selfdrive_env.maps import MapError, compiled, load
from selfdrive_env.maps.opendrive.reader import read_opendrive
from tests.maps.opendrive.test_reader import document, road

ROADS = document(road("道路一号"), road("道路二号", y=50.0))


def declared(encoding: str) -> str:
    return ROADS.replace('"1.0"?', f'"1.0" encoding="{encoding}"?')


@pytest.mark.parametrize(
    "encoding", ["GBK", "gb2312", "GB18030", "Shift_JIS", "EUC-JP", "Big5", "UTF-8", "UTF-16"]
)
def test_text_in_the_encodings_of_east_asia(tmp_path: Path, encoding: str) -> None:
    text = declared(encoding)
    if encoding in ("Big5", "Shift_JIS", "EUC-JP"):
        text = text.replace("号", "號" if encoding == "Big5" else "番")
    path = tmp_path / "map.xodr"
    path.write_bytes(text.encode(encoding))
    names = [lane.road for lane in read_opendrive(path).lanes]
    assert len(set(names)) == 2
    assert all(name.startswith("道路") for name in names)


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis"])
@pytest.mark.parametrize("text", [ROADS, declared("UTF-8")])
def test_text_in_another_encoding_than_stated_keeps_names_apart(tmp_path, encoding, text) -> None:
    path = tmp_path / "map.xodr"
    path.write_bytes(text.replace("号", "番").encode(encoding))
    network = read_opendrive(path)
    assert len({lane.road for lane in network.lanes}) == 2
    assert not any("before" in problem for problem in network.problems)


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "map.xodr"
    path.write_bytes(codecs.BOM_UTF8 + declared("UTF-8").encode())
    assert len(read_opendrive(path).lanes) == 2


@pytest.mark.parametrize("encoding", ["rot13", "hex", "idna", "utf-7", "nonesuch"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "map.xodr"
    path.write_bytes(declared(encoding).encode())
    with pytest.raises(MapError, match=r"map\.xodr.*encoding"):
        read_opendrive(path)


@pytest.mark.parametrize("name", ["TOWN.XODR", "Town.Xodr.GZ"])
def test_endings_in_any_case(tmp_path: Path, name: str) -> None:
    content = document(road()).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
    network = load(path)
    assert network.name.lower() == "town"
    network.save(tmp_path / "A.ROADS")
    assert load(tmp_path / "A.ROADS").digest() == network.digest()


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "town.xodr").write_text(document(road()))
    assert load("~/town.xodr").name == compiled("~/town.xodr").name == "town"
    assert Settings(map="~/town.xodr").map == (str(tmp_path / "town.xodr"),)
    with pytest.raises(MapError, match=r"other\.xodr' does not exist"):
        load("~/other.xodr")


def test_a_copy_of_an_environment_is_made_in_another_folder(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "town.xodr").write_text(document(road()))
    monkeypatch.chdir(tmp_path)
    envs = gym.make_vec("selfdrive_env/SelfPlay-v0", num_envs=2, map="town.xodr")
    envs.reset(seed=0)
    kept = pickle.dumps(envs.unwrapped)
    state = envs.unwrapped.get_state()
    envs.close()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    copy = pickle.loads(kept)
    assert copy.settings.map == (os.path.join(tmp_path, "town.xodr"),)
    again = copy.get_state()
    assert all((again[name] == state[name]).all() for name in state if hasattr(state[name], "all"))
    copy.close()


def test_names_that_are_no_path_stay_as_they_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(map="riverside").map == ("riverside",)
    assert Settings(map="nowhere.xodr").map == ("nowhere.xodr",)
    with pytest.raises(MapError, match="as text"):
        load(b"riverside")
