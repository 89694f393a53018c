"""Road maps: a name, a file or a `RoadNetwork`, read, compiled to arrays, and kept on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from selfdrive_env.config.choices import maps_named
from selfdrive_env.maps.readers import READERS, reader_of
from selfdrive_env.maps.road_network import SUFFIX, MapError, RoadNetwork
from selfdrive_env.maps.towns import BUILT_IN

if TYPE_CHECKING:
    from selfdrive_env.maps.compile.compiled_map import CompiledMap
    from selfdrive_env.maps.pool.kept_map import KeptMap

__all__ = [
    "BUILT_IN",
    "READERS",
    "MapError",
    "RoadNetwork",
    "compiled",
    "kept",
    "load",
    "save_opendrive",
]


def load(source: str | os.PathLike[str] | RoadNetwork) -> RoadNetwork:
    """Returns a map as a road network: a built-in town, that of a file, or the one given.

    Args:
        source: One of `BUILT_IN`, a map by seed ("city:17"), a network, or the path of a file whose
            name ends in one of `READERS`.
    """
    if isinstance(source, RoadNetwork):
        source.check()
        return source
    text = _text(source)
    seeded = _seeded(text)
    if seeded is not None:
        from selfdrive_env.maps.procedural import generate as generate_by_seed

        family, _, seed = seeded.partition(":")
        return generate_by_seed(family, int(seed))
    if text in BUILT_IN:
        from selfdrive_env.maps.towns.towns import generate

        return generate(text)
    reader = reader_of(text)
    if text.lower().endswith(SUFFIX):  # nothing to parse, so nothing to keep
        return reader(text)

    from selfdrive_env.maps.cache import cached_network

    return cached_network(text, reader)


def _seeded(text: str) -> str | None:
    """Returns the name of one map by seed, None for names of another kind."""
    try:
        names = maps_named(text)
    except ValueError as error:
        raise MapError(str(error)) from None
    if names is not None and len(names) > 1:
        raise MapError(f"{text!r} stands for {len(names)} maps; one is wanted here: {names[0]!r}")
    return None if names is None else names[0]


def save_opendrive(network: RoadNetwork, path: str | os.PathLike[str]) -> list[str]:
    """Writes a network as OpenDRIVE 1.7, reads the file back and compares the two.

    Args:
        network: Any, such as `load` returns.
        path: Of the file, which ends in .xodr, .xodr.gz or .xodr.xz; one that is there is replaced.

    Returns:
        What reads back otherwise, one sentence each; lanes that are driven on are compared to 1 cm.

    Raises:
        MapError: The path ends otherwise, or the network has no drivable lane or is flawed.
        OSError: The file cannot be written.
    """
    from selfdrive_env.maps.opendrive.write.writer import save_opendrive as save

    return save(network, path)


def _text(source: str | os.PathLike[str]) -> str:
    """Returns a name or path as text, with a leading ~ replaced."""
    text = os.fspath(source)
    if not isinstance(text, str):
        raise MapError(f"a map must be a name or a path as text, got {text!r}")
    return os.path.expanduser(text)


def compiled(
    source: str | os.PathLike[str] | RoadNetwork,
    *,
    variant: int = 0,
    lane_points: int = 80,
    boundary_points: int = 80,
    stop_lines: int = 4,
) -> CompiledMap:
    """Returns a map as flat arrays, from the cache on disk where possible.

    How far points of lanes and edges are seen depends on how many of them a list has room for, so
    maps for other counts of these are compiled apart. A shorter list of stop lines is the beginning
    of a longer one: one entry of the cache serves all the usual lengths.

    Args:
        source: As for `load`.
        variant: Seed of a random variant of the map, 0 for the map itself.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines.
    """
    from selfdrive_env.maps.cache import LISTED_STOP_LINES, cached_map
    from selfdrive_env.maps.compile.compiled_map import compile_map, with_stop_lines

    source = _checked(source)
    counts = {
        "lane_points": lane_points,
        "boundary_points": boundary_points,
        "stop_lines": max(stop_lines, LISTED_STOP_LINES),
    }

    def build() -> CompiledMap:
        return compile_map(load(source).varied(variant), **counts)

    return with_stop_lines(cached_map(source, build, variant=variant, **counts), stop_lines)


def kept(
    source: str | os.PathLike[str] | RoadNetwork,
    *,
    variant: int = 0,
    lane_points: int = 80,
    boundary_points: int = 80,
    stop_lines: int = 4,
) -> KeptMap | None:
    """Returns what the cache knows of a map, to be read later; None if it is not there.

    Args:
        source: As for `load`.
        variant: As for `compiled`; likewise the others.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines.
    """
    from selfdrive_env.maps.cache import kept_map

    source = _checked(source)
    counts = {
        "variant": variant,
        "lane_points": lane_points,
        "boundary_points": boundary_points,
        "stop_lines": stop_lines,
    }
    return kept_map(source, lambda: compiled(source, **counts), **counts)


def _checked(source: str | os.PathLike[str] | RoadNetwork) -> str | RoadNetwork:
    """Returns a name or path as text, or a network that was looked over."""
    if isinstance(source, RoadNetwork):
        source.check()  # also where it lies in the cache
        return source
    return _text(source)
