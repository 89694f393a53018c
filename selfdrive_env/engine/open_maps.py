"""The maps of an environment: what the cache lacks is built first, on all cores, and kept there.

Several maps are opened by the headers of their entries; `MapPool` reads the rest when a world is
drawn on them. Builders are processes of their own: NumPy holds on to the interpreter for most of
the time that a map takes, and a caller's script is not run again by them.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selfdrive_env.compiler.progress import Count, say
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.settings import Settings
from selfdrive_env.maps import MapError, RoadNetwork, compiled, kept
from selfdrive_env.maps.cache import map_folder
from selfdrive_env.maps.pool.kept_map import AnyMap, KeptMap

__all__ = ["count_of", "open_maps"]

MANY_MAPS = 8
"""From so many missing maps on, they are told of and built by several processes."""

MAPS_A_BUILDER = 4
"""A process that builds fewer does not pay: it starts for about as long as two maps take."""

MOST_BUILDERS = 16
"""Processes; each takes 200 MB."""

BUILDER = "from selfdrive_env.engine.open_maps import build_told; build_told()"


class Wanted(NamedTuple):
    """One map of a pool."""

    source: str | RoadNetwork
    variant: int


def open_maps(settings: Settings, layout: ObservationLayout) -> list[AnyMap]:
    """Returns the pool of maps of an environment: read, or to be read when they are needed.

    Args:
        settings: With their names and how many variants of each there are.
        layout: Says how long lists of near points are.
    """
    counts = {
        "lane_points": max(layout.lane_points, 1),
        "boundary_points": max(layout.boundary_points, 1),
        "stop_lines": max(layout.stop_lines, 1),
    }
    wanted = [
        Wanted(source, variant)
        for source in settings.maps
        for variant in range(settings.map_variants)
    ]
    if len(wanted) == 1:
        return [compiled(wanted[0].source, variant=wanted[0].variant, **counts)]
    found = [None if isinstance(one.source, RoadNetwork) else _kept(one, counts) for one in wanted]
    missing = [
        one
        for one, there in zip(wanted, found, strict=True)
        if there is None and isinstance(one.source, str)
    ]
    if len(missing) >= MANY_MAPS:
        _build(missing, counts, settings.threads)
    return [there or _open(one, counts) for one, there in zip(wanted, found, strict=True)]


def count_of(one: AnyMap, name: str) -> int:
    """Returns the length of an array of a map, which need not be read for that.

    Args:
        one: The map.
        name: Of the array, "struct.field".
    """
    if isinstance(one, KeptMap):
        return one.shapes[name][0]
    struct, field = name.split(".")
    return len(getattr(getattr(one, struct), field))


def _kept(wanted: Wanted, counts: dict[str, int]) -> KeptMap | None:
    return kept(wanted.source, variant=wanted.variant, **counts)


def _open(wanted: Wanted, counts: dict[str, int]) -> AnyMap:
    """Returns a map, built if the cache lacks it; a network of the caller's with its arrays."""
    if isinstance(wanted.source, RoadNetwork):
        return compiled(wanted.source, variant=wanted.variant, **counts)
    there = _kept(wanted, counts)
    if there is not None:
        return there
    made = compiled(wanted.source, variant=wanted.variant, **counts)
    return _kept(wanted, counts) or made


def _build(missing: Sequence[Wanted], counts: dict[str, int], threads: int) -> None:
    """Builds maps for the cache; what goes wrong with one shows when it is opened."""
    if not _keeps():
        return
    say(f"building {len(missing)} maps, once: later starts read them")
    count = Count("building maps", len(missing))
    builders = min(threads, MOST_BUILDERS, len(missing) // MAPS_A_BUILDER)
    if multiprocessing.parent_process() is not None:  # its siblings begin elsewhere
        start = os.getpid() % len(missing)
        missing = [*missing[start:], *missing[:start]]
    compiled(missing[0].source, variant=missing[0].variant, **counts)  # and code, once for all
    steps = _by_processes if builders > 1 and sys.executable else _by_this
    for done, _ in enumerate(steps(missing[1:], counts, builders), 2):
        count.tell(done)


def _keeps() -> bool:
    """Whether maps can be kept on disk."""
    folder = map_folder()
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return folder is not None and os.access(folder, os.W_OK)
    except OSError:
        return False


def _by_this(missing: Sequence[Wanted], counts: dict[str, int], _: int) -> Iterator[None]:
    """Builds maps one after the other, but for those that another process was faster with."""
    for one in missing:
        with contextlib.suppress(MapError):  # told where the map is opened
            _open(one, counts)
        yield


def _by_processes(missing: Sequence[Wanted], counts: dict[str, int], num: int) -> Iterator[None]:
    """Builds maps in several processes; they end with this one."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    ours, theirs = os.pipe()
    builders: list[subprocess.Popen[bytes]] = []
    try:
        with open(ours, "rb", buffering=0) as told:
            try:
                for first in range(num):
                    builder = subprocess.Popen(
                        [sys.executable, "-c", BUILDER], stdin=subprocess.PIPE, stdout=theirs,
                        stderr=subprocess.DEVNULL, env=environment,
                    )  # fmt: skip
                    builders.append(builder)
                    assert builder.stdin is not None
                    with builder.stdin as orders:
                        orders.write(json.dumps([missing[first::num], counts]).encode())
            finally:
                os.close(theirs)
            while told.read(1):
                yield
    finally:
        for builder in builders:
            builder.terminate()
            builder.wait()


def build_told() -> None:
    """Builds the maps that stdin names, a byte on stdout after each: what a builder does."""
    orders: list[Any] = json.load(sys.stdin)
    for _ in _by_this([Wanted(*one) for one in orders[0]], orders[1], 1):
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()
