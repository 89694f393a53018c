from __future__ import annotations

import dataclasses
import functools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env import maps
from selfdrive_env.maps import cache, columns
from selfdrive_env.maps.cache import cached_map, cached_network
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map

COUNTS = {"lane_points": 8, "boundary_points": 8, "stop_lines": 2}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "maps"


@functools.cache
def town() -> CompiledMap:
    """A town that no test changes."""
    return compile_map(maps.load("riverside"), **COUNTS)


class Builder:
    """Hands out a town and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> CompiledMap:
        self.calls += 1
        return town()


def fetch(build, source="riverside", **changes):
    return cached_map(source, build, **{"variant": 0, **COUNTS, **changes})


def same(a: CompiledMap, b: CompiledMap) -> bool:
    structs = ("lanes", "routes", "grid", "signs")
    equal = [
        np.array_equal(x, y) and x.dtype == y.dtype
        for s in structs
        for x, y in zip(getattr(a, s), getattr(b, s), strict=True)
    ]
    about = ("name", "digest", "num_junctions", "num_groups")
    equal += [getattr(a, n) == getattr(b, n) for n in about]
    return all(equal) and np.array_equal(a.network_lane, b.network_lane)


def test_the_second_map_comes_from_the_cache(folder):
    build = Builder()
    first = fetch(build)
    second = fetch(build)
    assert build.calls == 1
    assert same(first, second)
    assert len(list(folder.iterdir())) == 1


def test_settings_and_sources_have_entries_of_their_own(folder, tmp_path):
    build = Builder()
    fetch(build)
    fetch(build, variant=1)
    fetch(build, stop_lines=3)
    file = tmp_path / "a.xodr"
    file.write_text("one")
    fetch(build, str(file))
    assert build.calls == 4
    stat = file.stat()
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    fetch(build, str(file))
    assert build.calls == 5
    assert len(list(folder.iterdir())) == 5


@pytest.mark.parametrize("name", ["town.osm", "town.OSM.gz"])
@pytest.mark.parametrize("beside", ["stoplines", "traffic_light_controller"])
def test_files_beside_a_lanelet2_map_have_a_say(folder, tmp_path, name, beside):
    build = Builder()
    file, other = tmp_path / name, tmp_path / f"town_{beside}.json"
    file.write_text("the map")
    texts = [None, "", "[]", "[1]"]
    for calls, text in enumerate(texts, start=1):
        if text is not None:
            other.write_text(text)
        for _ in range(2):
            fetch(build, str(file))
            assert build.calls == calls
    other.unlink()
    fetch(build, str(file))
    assert build.calls == len(texts)  # as at first
    (tmp_path / "village_stoplines.json").write_text("of another map")
    fetch(build, str(file))
    assert build.calls == len(texts)


def test_other_code_finds_no_entry(folder, monkeypatch):
    build = Builder()
    fetch(build)
    monkeypatch.setattr(cache, "_code_digest", lambda: "other")
    fetch(build)
    assert build.calls == 2
    monkeypatch.undo()


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "older", "missing"])
def test_damaged_entries_are_built_again(folder, damage):
    build = Builder()
    first = fetch(build)
    (file,) = folder.iterdir()
    content = file.read_bytes()
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "foreign":
        columns.write(file, cache.MAP_HEADER, cache.MAP_VERSION, {"a": np.zeros(3)})
    elif damage == "older":
        arrays = columns.read(file, cache.MAP_HEADER, cache.MAP_VERSION)
        columns.write(file, cache.MAP_HEADER, cache.MAP_VERSION - 1, arrays)
    else:
        arrays = columns.read(file, cache.MAP_HEADER, cache.MAP_VERSION)
        del arrays["grid.edge"]
        columns.write(file, cache.MAP_HEADER, cache.MAP_VERSION, arrays)
    assert same(first, fetch(build))
    assert build.calls == 2
    fetch(build)
    assert build.calls == 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("lanes.successor", lambda a: a + 10**6),
        ("lanes.segment_first", lambda a: a[::-1].copy()),
        ("lanes.segment_lane", lambda a: a * 0),
        ("lanes.length", lambda a: a * np.nan),
        ("lanes.left", lambda a: a[:-1]),
        ("lanes.speed_limit", lambda a: -a),
        ("lanes.length", lambda a: a - 1e4),
        ("lanes.segment", lambda a: -a),
        ("lanes.turn", lambda a: a + 1e30),
        ("routes.first", lambda a: a * 2),
        ("routes.distance", lambda a: a[: len(a) // 2]),
        ("grid.shape", lambda a: a * 100),
        ("grid.near_lane_point", lambda a: a + 10**6),
        ("grid.block", lambda a: a + 1000),
        ("signs.program_group", lambda a: a - 1),
        ("network_lane", lambda a: a.astype(np.int64)),
        ("about", lambda _: columns.to_text(dict.fromkeys(cache._ABOUT, "x"))),
    ],
)
def test_arrays_that_do_not_belong_together_are_built_again(folder, name, change):
    build = Builder()
    first = fetch(build)
    (file,) = folder.iterdir()
    arrays = columns.read(file, cache.MAP_HEADER, cache.MAP_VERSION)
    columns.write(file, cache.MAP_HEADER, cache.MAP_VERSION, {**arrays, name: change(arrays[name])})
    assert same(first, fetch(build))
    assert build.calls == 2


def test_pickled_objects_are_refused(folder):
    build = Builder()
    fetch(build)
    (file,) = folder.iterdir()
    with open(file, "wb") as opened:
        np.savez(opened, grid=np.array([{"a": 1}], dtype=object))
    fetch(build)
    assert build.calls == 2


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("SELFDRIVE_CACHE", str(blocked))
    build = Builder()
    assert same(fetch(build), fetch(build))
    assert build.calls == 2


def test_an_empty_setting_turns_the_cache_off(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFDRIVE_CACHE", "")
    monkeypatch.chdir(tmp_path)
    build = Builder()
    fetch(build)
    fetch(build)
    assert build.calls == 2
    assert not list(tmp_path.iterdir())


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("SELFDRIVE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetch(Builder())
    assert len(list((tmp_path / "selfdrive_env" / "maps").iterdir())) == 1


def test_a_failed_write_leaves_nothing_behind(folder, monkeypatch):
    def fail(*args):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    fetch(Builder())
    assert not list(folder.iterdir())


def test_networks_survive_the_cache(folder, tmp_path):
    network = maps.load("riverside")
    file = tmp_path / "town.xodr"
    file.write_text("stands for the town")
    calls = []

    def read(path):
        calls.append(path)
        return dataclasses.replace(network, source=path)

    first = cached_network(str(file), read)
    second = cached_network(str(file), read)
    assert len(calls) == 1
    for field in dataclasses.fields(network):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, list) and field.name not in ("problems", "inferred", "dropped"):
            assert len(a) == len(b)
            for x, y in zip(a, b, strict=True):
                for part in dataclasses.fields(x):
                    u, v = getattr(x, part.name), getattr(y, part.name)
                    assert type(u) is type(v), part.name
                    assert np.array_equal(u, v) if isinstance(u, np.ndarray) else u == v
        else:
            assert a == b, field.name
    assert type(second.origin) is tuple
    assert second.stop_lines[0].lanes[0] == network.stop_lines[0].lanes[0]


def test_a_network_in_memory_has_an_entry_of_its_content(folder):
    network = maps.load("riverside")
    first = maps.compiled(network, **COUNTS)
    assert same(first, maps.compiled(dataclasses.replace(network, source="elsewhere"), **COUNTS))
    assert len(list(folder.iterdir())) == 1
    other = dataclasses.replace(network, lanes=list(network.lanes))
    other.lanes[0] = dataclasses.replace(other.lanes[0], speed_limit=9.0)
    assert maps.compiled(other, **COUNTS).digest != first.digest
    assert len(list(folder.iterdir())) == 2
    assert same(first, maps.compiled("riverside", **COUNTS))


def test_lengths_of_the_lists_of_stop_lines_share_an_entry(folder):
    counts = {"lane_points": 8, "boundary_points": 8}
    entries = [maps.compiled("riverside", **counts, stop_lines=n) for n in (4, 2, 1, 6)]
    assert len(list(folder.iterdir())) == 2
    network = maps.load("riverside")
    for one, length in zip(entries, (4, 2, 1, 6), strict=True):
        assert same(one, compile_map(network, **counts, stop_lines=length))
        assert one.grid.near_stop_line.flags.c_contiguous


def test_compiled_goes_through_the_cache(folder):
    first = maps.compiled("riverside", **COUNTS)
    assert same(first, maps.compiled("riverside", **COUNTS))
    other = maps.compiled("riverside", variant=3, **COUNTS)
    assert other.name == "riverside#3"
    assert other.digest != first.digest
    assert len(list(folder.iterdir())) == 2


def test_real_files_load_the_same_from_the_cache(folder, shared_data, tmp_path):
    source = shared_data / "opendrive/carla/Town10HD.xodr"
    file = tmp_path / source.name
    shutil.copyfile(source, file)
    first, second = maps.compiled(file, **COUNTS), maps.compiled(file, **COUNTS)
    assert same(first, second)
    assert compile_map(maps.load(file), **COUNTS).digest == first.digest
