"""Baked ground: where tiles are, how fine, and maps of a pool that are filled in later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfdrive_env.envs.make import make_self_play
from selfdrive_env.images import ground
from selfdrive_env.images.codes import class_of_codes, mixtures
from selfdrive_env.images.raster import fill_tiles, tiles_touched
from selfdrive_env.state.images import TILE, GroundClass

BEV: dict[str, Any] = {"kind": "bev", "size": 24, "span": 60.0}


def view_of(env: Any) -> Any:
    return env.engine.views["bev"].table.struct.ground


def test_a_polygon_covers_the_texels_that_lie_in_it() -> None:
    square = np.array([(10.0, 20.0), (30.0, 20.0), (30.0, 25.5), (10.0, 25.5)])
    first = np.array([0, 4])
    count = tiles_touched(first, square, 2, 2, 0)[0]
    listed = tiles_touched(first, square, 2, 2, count)[1]
    assert listed.tolist() == [[0, 0]]
    codes = fill_tiles(
        first, square, np.array([GroundClass.ROAD], np.uint8), np.array([(0, 0)]),
        np.array([0, 1]), np.array([0]), 6, mixtures(),
    )  # fmt: skip
    found = class_of_codes()[codes[0]].reshape(TILE, TILE)
    assert (found[20:25, 10:30] == GroundClass.ROAD).all()
    assert np.count_nonzero(found) == 6 * 20  # half of the last row counts
    half = codes[0].reshape(TILE, TILE)[25, 15]
    assert half not in (GroundClass.ROAD, GroundClass.NOTHING)


def test_tiles_are_kept_where_there_is_road() -> None:
    env = make_self_play(2, agents_per_world=2, map="riverside", num_threads=1,
                         observation={**BEV, "span": 24.0})  # fmt: skip
    tiles = view_of(env)
    columns, rows, first, layers = tiles.shape[0].tolist()
    used = tiles.tile_at[first : first + columns * rows]
    assert layers == 1
    assert (used == 0).mean() > 0.3
    assert not tiles.tile[0].any()
    assert np.mean([tiles.tile[one].any() for one in used[used > 0]]) > 0.9
    assert tiles.texel[0] == pytest.approx(1.0 / 3.0)


def test_much_road_takes_coarser_texels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "FEW_BYTES", 0)
    monkeypatch.setattr(ground, "MOST_BYTES", 4 * TILE**2)
    env = make_self_play(2, agents_per_world=2, map="riverside", num_threads=1,
                         observation={**BEV, "span": 24.0})  # fmt: skip
    tiles = view_of(env)
    assert tiles.texel[0] >= 2.0
    assert tiles.shape[0, :2].prod() <= 8
    seen, _ = env.reset(seed=0)
    assert len(np.unique(seen)) > 3


def test_maps_that_are_filled_in_later_are_baked_then() -> None:
    names = ["riverside", "hillcrest", "harbour"]
    plain = {"agents_per_world": 2, "horizon": 3.0, "num_threads": 1, "observation": BEV}
    make_self_play(2, map=names, **plain).close()  # all of them in the cache
    env = make_self_play(2, map=names, **plain)
    env.reset(seed=0)
    shown = set()
    for _ in range(120):
        seen, *_ = env.step(np.zeros(2, np.int64))
        index = int(env.engine.worlds.map[0])
        shown.add(index)
        assert view_of(env).shape[index, 0] > 0
        assert len(np.unique(seen)) > 3
    assert len(shown) > 1
