"""Kept maps whose arrays were changed at random, with a checksum that is right again.

A compiled map is used, if kernels can, or compiled anew; a network is read, or refused in one line.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.maps import RoadNetwork, cache, columns, load
from selfdrive_env.maps.compile.compiled_map import CompiledMap, compile_map
from selfdrive_env.maps.road_network import FILE_HEADER, FILE_VERSION
from tests.fuzz import harness, isolated
from tests.fuzz.values import changed_bytes, changed_json, check_named, log_number

Random = np.random.Generator

SEED = 36
SETTINGS = {"map": "riverside", "layout": "lean", "agents_per_world": 6, "num_threads": 1}
COUNTS = {"variant": 0, "lane_points": 12, "boundary_points": 12, "stop_lines": 4}


@functools.cache
def town() -> tuple[CompiledMap, columns.Arrays, columns.Arrays]:
    """A compiled map, the arrays of its file, and those of the file of its network."""
    network = load("riverside")
    counts = {name: count for name, count in COUNTS.items() if name != "variant"}
    compiled = compile_map(network, **counts)
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder) / "a.map", Path(folder) / "a.roads"
        cache._write_map(compiled, one)
        network.save(other)
        return (
            compiled,
            columns.read(one, cache.MAP_HEADER, cache.MAP_VERSION),
            columns.read(other, FILE_HEADER, FILE_VERSION),
        )


def make(random: Random) -> tuple[bool, columns.Arrays, int | None]:
    """Whether it is a compiled map, its arrays, and the seed of what becomes of its bytes."""
    compiled = bool(random.random() < 0.6)
    arrays = dict(town()[1 if compiled else 2])
    for _ in range(random.integers(1, 3)):
        name = str(random.choice(list(arrays)))
        arrays[name] = changed(arrays[name], random)
        if random.random() < 0.03:
            del arrays[name]
    return compiled, arrays, int(random.integers(2**31)) if random.random() < 0.1 else None


def changed(array: Any, random: Random) -> Any:
    """An array with some elements, or its shape or type, changed."""
    array = np.array(array)
    kind = random.random()
    if kind < 0.08 and array.ndim:
        return array[: len(array) // 2]
    if kind < 0.14:
        return array.astype(random.choice(["f8", "i8", "i4", "u1", "f4"]))
    if array.dtype == np.uint8 and array.ndim == 1 and array[:1].tobytes() in (b"{", b"["):
        with contextlib.suppress(ValueError):  # one that was cut before
            table = changed_json(json.loads(array.tobytes()), random)
            return np.frombuffer(json.dumps(table).encode(), np.uint8)
    if not array.size:
        return array
    where = random.integers(0, array.size, random.choice([1, 1, 5, 100]))
    if array.dtype.kind == "f":
        values: Any = [log_number(random, -1e9, 1e9) for _ in where]
    else:
        span = np.iinfo(array.dtype)
        near = array.flat[where].astype(np.int64) + random.integers(-2, 3, len(where))
        values = near if random.random() < 0.7 else random.integers(-2, 200, len(where))
        values = np.clip(values, span.min, span.max)
    array.flat[where] = np.asarray(values).astype(array.dtype)
    return array


def use(one: tuple[bool, columns.Arrays, int | None], number: int) -> str:
    """Reads a file, and drives on the map that comes of it."""
    compiled, arrays, damage = one
    path = Path(os.environ["SELFDRIVE_CACHE"]) / ("a.map" if compiled else "a.roads")
    header = (cache.MAP_HEADER, cache.MAP_VERSION) if compiled else (FILE_HEADER, FILE_VERSION)
    columns.write(path, *header, arrays)
    if damage is not None:
        path.write_bytes(changed_bytes(path.read_bytes(), np.random.default_rng(damage)))
    if not compiled:
        try:
            network = RoadNetwork.read(path)
        except ValueError as error:
            check_named(error, (path.name,))
            return "refused"
        return drive_network(network)
    made: list[int] = []

    def build() -> CompiledMap:
        made.append(1)
        return town()[0]

    found = cache._cached(path, build, cache._read_map, cache._write_map)
    if not made:
        drive(found)
    return "built anew" if made else "used"


def drive_network(network: RoadNetwork) -> str:
    """Drives on a network that was read, where it can be compiled."""
    counts = {name: count for name, count in COUNTS.items() if name != "variant"}
    try:
        compiled = compile_map(network, **counts)
    except ValueError as error:
        check_named(error, (network.name, network.source))
        return "not compiled"
    try:
        drive(compiled)
    except ValueError as error:
        check_named(error, (network.name, network.source))
        return "not driven"
    return "read"


def drive(compiled: CompiledMap) -> None:
    """Some steps on a map, of scripted and other drivers."""
    settings = Settings(**SETTINGS)
    assert make_layout(settings.layout).lane_points == COUNTS["lane_points"]
    driver = np.array([0, 0, 1, 1, 1, 2], np.uint8)
    engine = Engine(settings, [compiled], 1, driver, (driver == 0).astype(np.uint8))
    engine.seed(1)
    engine.reset(np.ones((1, 6), np.uint8), np.ones(1, np.uint8), staggered=False)
    for _ in range(4):
        engine.step(np.full((1, 6, 2), 1.0, np.float32))


def test_kept_maps_harm_nobody(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FUZZ_FOLDER", str(tmp_path))
    ends = isolated.run("tests.fuzz.test_map_caches", tmp_path, harness.budget(60))
    assert all(repr(word) in ends for word in ("used", "built anew", "refused", "read"))


if __name__ == "__main__":
    drive(town()[0])  # kernels come from the usual cache; maps do not
    os.environ["SELFDRIVE_CACHE"] = os.environ.get("FUZZ_FOLDER", tempfile.gettempdir())
    number = int(sys.argv[1])
    print(dict(harness.fuzz(make, isolated.guarded(use), seed=SEED, count=number, allowed=())))
