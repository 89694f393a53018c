"""Pools whose maps are read as worlds are drawn on them: the same to the bit as read at once."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.engine import open_maps
from selfdrive_env.engine.next_maps import maps_drawn
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.maps import MapError, cache, compiled, kept
from selfdrive_env.maps.pool.kept_map import STRUCTS, KeptMap, shapes_of
from selfdrive_env.maps.pool.map_pool import MapPool

RANGE = "village:0-5"
NAMES = [f"village:{seed}" for seed in range(6)]
COUNTS = {"lane_points": 20, "boundary_points": 20, "stop_lines": 4}
SETTINGS: dict[str, Any] = {
    "agents_per_world": 4,
    "horizon": 3.0,
    "layout": {"lane_points": 20, "boundary_points": 20},
}


@pytest.fixture(autouse=True)
def maps_in_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """All maps of the range lie in a cache of this module's own, and in no other."""
    folder = tmp_path_factory.getbasetemp() / "pool_cache"
    compiled("riverside")  # compiles code into the usual cache, once for all tests
    monkeypatch.setattr("selfdrive_env.maps.cache.map_folder", lambda: folder)
    monkeypatch.setattr("selfdrive_env.engine.open_maps.map_folder", lambda: folder)
    for name in NAMES:
        compiled(name, **COUNTS)
    return folder


def kept_maps() -> list[KeptMap]:
    found = [kept(name, **COUNTS) for name in NAMES]
    assert None not in found
    return found  # type: ignore[return-value]


def arrays_of(pool: MapPool) -> dict[str, Any]:
    return {
        f"{struct}.{name}": array
        for struct in STRUCTS
        for name, array in getattr(pool, struct)._asdict().items()
    }


def test_what_is_kept_of_a_map_fits_its_arrays() -> None:
    for name, one in zip(NAMES, kept_maps(), strict=True):
        whole = compiled(name, **COUNTS)
        assert one.shapes == shapes_of(whole)
        assert (one.name, one.digest) == (name, whole.digest)
        assert (one.num_groups, one.num_junctions) == (whole.num_groups, whole.num_junctions)


def test_a_shorter_list_of_stop_lines_is_known_to_be_cut() -> None:
    short = {**COUNTS, "stop_lines": 2}
    one = kept(NAMES[0], **short)
    assert one is not None and one.shapes == shapes_of(compiled(NAMES[0], **short))
    assert one.load().grid.near_stop_line.shape[1] == 2


@pytest.mark.parametrize("order", [range(6), (5, 0, 3, 1, 4, 2), (2, 2, 4, 0, 1, 5, 3)])
def test_a_pool_is_the_same_in_whatever_order_it_is_filled(order: Any) -> None:
    whole = MapPool([compiled(name, **COUNTS) for name in NAMES])
    pool = MapPool(kept_maps())
    assert whole.is_whole and not pool.is_whole
    for index in order:
        pool.load([index])
        assert not pool.missing[index]
    assert pool.is_whole
    for name, array in arrays_of(whole).items():
        np.testing.assert_array_equal(arrays_of(pool)[name], array, err_msg=name, strict=True)


def test_a_pool_knows_where_maps_start_before_it_has_them() -> None:
    whole = MapPool([compiled(name, **COUNTS) for name in NAMES])
    pool = MapPool(kept_maps())
    for name, array in arrays_of(whole).items():
        if ".map_" in name:
            np.testing.assert_array_equal(arrays_of(pool)[name], array, err_msg=name, strict=True)
        assert arrays_of(pool)[name].shape == array.shape


def test_what_is_read_together_lies_in_one_row_of_whole_cache_lines(
    pytestconfig: pytest.Config,
) -> None:
    if pytestconfig.getoption("--guard"):
        pytest.skip("guarded arrays begin elsewhere")
    for maps in (kept_maps(), kept_maps()[:1]):
        pool = MapPool(maps)
        arrays = arrays_of(pool)
        for name, (record, first) in pool.places.items():
            memory, array = pool.records[record.name], arrays[name]
            assert memory.ctypes.data % 64 == 0 and memory.shape[1] == record.nbytes
            assert array.ctypes.data == memory.ctypes.data + first
            assert array.strides[0] == record.nbytes
            assert first % array.itemsize == 0
        ends = sorted(
            (record.name, first, first + int(np.prod(arrays[name].shape[1:])) * array.itemsize)
            for name, (record, first) in pool.places.items()
            for array in (arrays[name],)
        )
        for (one, _, end), (other, begin, _) in itertools.pairwise(ends):
            assert one != other or end <= begin
        for name, array in arrays.items():
            if name not in pool.places:
                assert len(maps) == 1 or not array.size or array.ctypes.data % 64 == 0, name


def test_a_pool_of_one_map_holds_what_the_map_does() -> None:
    whole = compiled(NAMES[2], **COUNTS)
    pool = MapPool([whole])
    for struct in STRUCTS:
        for field, array in getattr(whole, struct)._asdict().items():
            found = arrays_of(pool)[f"{struct}.{field}"]
            np.testing.assert_array_equal(found, array, err_msg=field, strict=True)


def rollout(eager: bool, mode: str, **settings: Any) -> tuple[list[bytes], Any]:
    env = DrivingVectorEnv(12, map=RANGE, autoreset_mode=mode, **SETTINGS, **settings)
    if eager:
        env.engine.pool.load_all()
    found = [env.reset(seed=5)[0].tobytes()]
    missing = [env.engine.pool.missing.copy()]
    rng = np.random.default_rng(0)
    for step in range(25):
        observation, reward, terminated, truncated, _ = env.step(rng.integers(0, 12, env.num_envs))
        done = terminated | truncated
        if mode == "Disabled" and done.any():
            observation, _ = env.reset(options={"reset_mask": done})
        if step == 12:
            env.set_state(env.get_state())
        found += [observation.tobytes(), reward.tobytes(), env.engine.worlds.map.tobytes()]
        missing.append(env.engine.pool.missing.copy())
    env.close()
    return found, np.array(missing)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_results_do_not_depend_on_when_maps_are_read(mode: str) -> None:
    late, missing = rollout(False, mode)
    at_once, none_missing = rollout(True, mode)
    assert late == at_once
    assert missing[0].any() and not none_missing.any()
    assert missing[-1].sum() < missing[0].sum(), "no map was read later"


def test_without_stagger_maps_are_read_at_the_horizon() -> None:
    late, missing = rollout(False, "SameStep", stagger=False)
    assert late == rollout(True, "SameStep", stagger=False)[0]
    count = missing.sum(axis=1)
    assert (count[:10] == count[0]).all() and count[10] < count[0]  # 10 steps of 0.3 s


@pytest.mark.parametrize("num_maps", [2, 6, 7, 256])
def test_the_host_foresees_what_kernels_draw(num_maps: int) -> None:
    env = DrivingVectorEnv(8, map=[NAMES[0], NAMES[1]], **{**SETTINGS, "agents_per_world": 2})
    env.engine.pool.load_all()
    for seed in range(5):
        env.reset(seed=seed)
        worlds = env.engine.worlds
        worlds.tick[:] -= np.uint32(1)
        everyone = np.arange(env.num_worlds)
        assert maps_drawn(worlds, everyone, 2).tolist() == worlds.map.tolist()
        assert maps_drawn(worlds, everyone, num_maps).max() < num_maps
    env.close()


def test_a_state_needs_its_maps_only() -> None:
    env = DrivingVectorEnv(12, map=RANGE, **SETTINGS)
    env.reset(seed=2)
    state = env.get_state()
    other = DrivingVectorEnv(12, map=RANGE, **SETTINGS)
    np.testing.assert_array_equal(other.set_state(state), env.engine.observations)
    np.testing.assert_array_equal(other.engine.pool.missing, env.engine.pool.missing)
    actions = np.zeros(12, np.int64)
    for _ in range(12):
        np.testing.assert_array_equal(other.step(actions)[0], env.step(actions)[0])
    env.close()
    other.close()


def test_a_map_that_is_no_longer_in_the_cache_is_built_again(maps_in_cache: Path) -> None:
    pool = MapPool(kept_maps())
    entry = next(maps_in_cache.glob("village_3-*.map"))
    content = entry.read_bytes()
    for damaged in (None, content[:-1] + bytes([content[-1] ^ 1])):
        entry.unlink()
        if damaged is not None:
            entry.write_bytes(damaged)
        assert pool.maps[3].load().digest == compiled("village:3", **COUNTS).digest
        assert kept_maps()[3].load().digest == pool.maps[3].digest  # and is kept once more
        assert cache._read_map(entry).digest == pool.maps[3].digest


def test_another_map_under_a_name_is_refused(maps_in_cache: Path) -> None:
    one = kept_maps()[0]
    files = [next(maps_in_cache.glob(f"village_{seed}-*.map")) for seed in (0, 1)]
    content = files[0].read_bytes()
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(MapError, match="'village:0' is not what it was"):
        one.load()
    files[0].write_bytes(content)


def test_many_missing_maps_are_built_by_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path))  # for the builders
    monkeypatch.setattr("selfdrive_env.maps.cache.map_folder", lambda: tmp_path / "maps")
    monkeypatch.setattr(open_maps, "map_folder", lambda: tmp_path / "maps")
    monkeypatch.setattr(open_maps, "MANY_MAPS", 3)
    monkeypatch.setattr(open_maps, "MAPS_A_BUILDER", 2)
    made_here = []
    real = open_maps._by_this
    monkeypatch.setattr(open_maps, "_by_this", lambda *a: made_here.append(a) or real(*a))
    env = DrivingVectorEnv(4, map="village:0-4", num_threads=2, **SETTINGS)
    assert "building 5 maps, once" in capfd.readouterr().err
    assert not made_here
    assert len(list((tmp_path / "maps").glob("*.map"))) == 5
    digests = [compiled(name, **COUNTS).digest for name in NAMES[:5]]
    assert [one.digest for one in env.engine.maps] == digests
    env.close()


def test_siblings_build_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("selfdrive_env.maps.cache.map_folder", lambda: tmp_path)
    monkeypatch.setattr(open_maps, "map_folder", lambda: tmp_path)
    monkeypatch.setattr(open_maps, "MANY_MAPS", 2)
    monkeypatch.setattr(open_maps.multiprocessing, "parent_process", lambda: object())
    monkeypatch.setattr(os, "getpid", lambda: 1)
    env = DrivingVectorEnv(4, map="village:0-2", num_threads=1, **SETTINGS)
    assert "building 3 maps" in capfd.readouterr().err
    by_age = sorted(tmp_path.glob("*.map"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name.split("-")[0] for path in by_age] == ["village_1", "village_2", "village_0"]
    env.close()


def test_without_a_cache_all_maps_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfdrive_env.maps.cache.map_folder", lambda: None)
    monkeypatch.setattr(open_maps, "map_folder", lambda: None)
    env = DrivingVectorEnv(4, map="village:0-1", **SETTINGS)
    assert env.engine.pool.is_whole
    env.reset(seed=1)
    env.close()
