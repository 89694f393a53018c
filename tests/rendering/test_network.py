from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.maps import load
from selfdrive_env.rendering import draw_network, network
from selfdrive_env.rendering.canvas import OVERSAMPLING
from selfdrive_env.rendering.ground import FINE
from selfdrive_env.state.arrays import U8

pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def riverside() -> Callable[[int], U8]:
    """Its picture of a size, drawn once."""
    return functools.cache(lambda size: draw_network(load("riverside"), size=size))


def test_the_longer_side_is_the_size_and_north_is_up() -> None:
    town = load("hillcrest")
    picture = draw_network(town, size=500)
    assert picture.shape[1] == 500 and picture.shape[0] < 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    mirrored = draw_network(town.mirrored(), size=500)
    # Signs keep upright and arrows are made of pixels: nearly all of the rest is the mirror image.
    assert (picture == mirrored[::-1]).all(axis=-1).mean() > 0.95
    assert (picture == mirrored).all(axis=-1).mean() < 0.9


@pytest.mark.parametrize("part", ["crosswalks", "stop_lines", "signals"])
@pytest.mark.parametrize("size", [400, 1100])
def test_each_part_of_a_map_shows(
    part: str, size: int, riverside: Callable[[int], U8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a coarse picture of one piece, and in one of several pieces with all details."""
    town = load("riverside")
    low, high = network._bounds(town)
    assert (OVERSAMPLING * size / (high - low).max() >= FINE) == (size == 1100)
    monkeypatch.setattr(network, "PIECE", 576)
    without = replace(town, **{part: []})
    if part == "signals":
        without.stop_lines = [replace(line, signal=-1) for line in town.stop_lines]
    differs = (riverside(size) != draw_network(without, size=size)).any(axis=-1)
    assert differs.sum() > len(getattr(town, part))


def test_pieces_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    town = load("riverside")
    whole = draw_network(town, size=600)
    monkeypatch.setattr("selfdrive_env.rendering.network.PIECE", 256)
    pieces = draw_network(town, size=600)
    assert (whole == pieces).all(axis=-1).mean() > 0.999


def test_a_silly_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 3"):
        draw_network(load("riverside"), size=3)


def test_without_pillow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "selfdrive_env\[render\]"'):
        draw_network(load("riverside"))


def test_map_plot_writes_a_png(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "map"
    assert main(["map", "plot", "riverside", "-o", str(path), "--size", "300"]) == 0
    with Image.open(path) as image:
        assert (image.format, max(image.size)) == ("PNG", 300)
