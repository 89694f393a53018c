"""Road maps: built-in towns and OpenDRIVE files, read into a `RoadNetwork`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from selfdrive_env.config.checks import suggestion
from selfdrive_env.maps.road_network import MapError, RoadNetwork
from selfdrive_env.maps.towns.towns import BUILT_IN, generate

if TYPE_CHECKING:
    from selfdrive_env.maps.compile.compiled_map import CompiledMap

__all__ = ["BUILT_IN", "MapError", "RoadNetwork", "compiled", "load"]

FILE_ENDINGS = (".xodr", ".xodr.gz", ".xodr.xz")


def load(source: str | os.PathLike[str]) -> RoadNetwork:
    """Returns the road network of a built-in town or of an OpenDRIVE file.

    Args:
        source: One of `BUILT_IN`, or the path of a file that ends in .xodr, .xodr.gz or .xodr.xz.
    """
    text = os.fspath(source)
    if text in BUILT_IN:
        return generate(text)
    if not text.endswith(FILE_ENDINGS):
        raise MapError(
            f"unknown map {text!r}: use one of {', '.join(BUILT_IN)} or a file that ends in "
            f"{', '.join(FILE_ENDINGS)}{suggestion(text, BUILT_IN)}"
        )
    if not Path(text).is_file():
        raise MapError(f"map file {text!r} does not exist")

    from selfdrive_env.maps.cache import cached_network
    from selfdrive_env.maps.opendrive.reader import read_opendrive

    return cached_network(text, read_opendrive)


def compiled(
    source: str | os.PathLike[str],
    *,
    variant: int = 0,
    lane_points: int = 80,
    boundary_points: int = 80,
    stop_lines: int = 4,
) -> CompiledMap:
    """Returns a map as flat arrays, from the cache on disk where possible.

    Args:
        source: As for `load`.
        variant: Seed of a random variant of the map, 0 for the map itself.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines.
    """
    from selfdrive_env.maps.cache import cached_map
    from selfdrive_env.maps.compile.compiled_map import compile_map

    counts = {
        "lane_points": lane_points,
        "boundary_points": boundary_points,
        "stop_lines": stop_lines,
    }

    def build() -> CompiledMap:
        return compile_map(load(source).varied(variant), **counts)

    return cached_map(os.fspath(source), build, variant=variant, **counts)
