"""Read and compiled maps on disk, so that a second start needs neither parsing nor compiling.

Two caches: `cached_network` in front of the readers, `cached_map` in front of the compiler, of
which `kept_map` reads the header alone until the arrays are needed. The
name of an entry has a SHA-256 over the content of the source, the settings, the version of the
package and the sources of `maps`, so a stale one is never found; what cannot be read is made again.
The folder is `$SELFDRIVE_CACHE` (empty: no cache), else selfdrive_env in `$XDG_CACHE_HOME` or
~/.cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from selfdrive_env.config.choices import maps_named
from selfdrive_env.config.installation import package_version
from selfdrive_env.maps import columns
from selfdrive_env.maps.compile.compiled_map import CompiledMap, with_stop_lines
from selfdrive_env.maps.compile.routes import is_spread, spread
from selfdrive_env.maps.integrity import check_compiled
from selfdrive_env.maps.lanelet2.sources import files_beside, is_lanelet2
from selfdrive_env.maps.pool.kept_map import STRUCTS, KeptMap
from selfdrive_env.maps.road_network import SUFFIX, RoadNetwork
from selfdrive_env.state.arrays import axes
from selfdrive_env.state.road import Paint

__all__ = ["cached_map", "cached_network", "kept_map", "map_folder"]

MAP_HEADER, MAP_VERSION = "selfdrive_env_map", 3
"""What the file of a compiled map is called in its header, and the version of its format."""

LISTED_STOP_LINES = 4
"""Lists of near stop lines are compiled this long, and cut for layouts that show fewer."""

_STRUCTS: dict[str, Any] = {**STRUCTS, "paint": Paint}
_ABOUT = {"name": str, "digest": str, "num_junctions": int, "num_groups": int}

Made = TypeVar("Made")


def cached_network(path: str, read: Callable[[str], RoadNetwork]) -> RoadNetwork:
    """Returns the network of a file, from the cache if its content was read before.

    Args:
        path: The map file.
        read: Makes the network from the path.
    """
    place = _place(path, "network", SUFFIX)
    network = _cached(place, lambda: read(path), RoadNetwork.read, RoadNetwork.save)
    network.source = path
    return network


def cached_map(
    source: str | RoadNetwork,
    build: Callable[[], CompiledMap],
    *,
    variant: int,
    lane_points: int,
    boundary_points: int,
    stop_lines: int,
) -> CompiledMap:
    """Returns a compiled map, from the cache if it was compiled before with the same settings.

    Args:
        source: A map file, the name of a built-in town, or a network.
        build: Compiles the map.
        variant: Seed of the variant, 0 for the map itself.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines.
    """
    settings = f"{variant}-{lane_points}-{boundary_points}-{stop_lines}"
    compiled = _cached(_place(source, settings, ".map"), build, _read_map, _write_map)
    return dataclasses.replace(compiled, routes=spread(compiled.routes))


def kept_map(
    source: str | RoadNetwork,
    build: Callable[[], CompiledMap],
    *,
    variant: int,
    lane_points: int,
    boundary_points: int,
    stop_lines: int,
) -> KeptMap | None:
    """Returns what the cache knows of a compiled map, None if it is not there.

    Args:
        source: As for `cached_map`.
        build: Gives the map with its arrays if it is no longer there when it is needed.
        variant: As for `cached_map`.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines that are wanted.
    """
    longest = max(stop_lines, LISTED_STOP_LINES)
    place = _place(source, f"{variant}-{lane_points}-{boundary_points}-{longest}", ".map")
    if place is None:
        return None
    try:
        shapes, arrays = columns.glance(place, MAP_HEADER, MAP_VERSION, "about")
        about = _about(arrays)
        shapes = {name: shapes[name] for name in _pooled_arrays()}
    except (OSError, ValueError, KeyError):
        return None
    if not all(shapes.values()):  # a number where an array should be
        return None
    num = shapes["lanes.length"][0]
    if is_spread(num, shapes["routes.distance"][0]):
        shapes |= {"routes.lane": (num * num,), "routes.distance": (num * num,)}
    shapes["grid.near_stop_line"] = (shapes["grid.near_stop_line"][0], stop_lines)

    def read() -> CompiledMap:
        try:  # the entry itself: a map file may have been edited since
            found = _read_map(place)
        except (OSError, ValueError):
            return build()
        found = dataclasses.replace(found, routes=spread(found.routes))
        return with_stop_lines(found, stop_lines)

    return KeptMap(**about, shapes=shapes, read=read)


def _cached(
    place: Path | None,
    make: Callable[[], Made],
    read: Callable[[Path], Made],
    write: Callable[[Made, Path], None],
) -> Made:
    """Returns what a file holds, else what `make` gives, which is written to it.

    Args:
        place: The file, which need not exist; None for no cache.
        make: Called where there is no file, or none that can be used.
        read: Of the file.
        write: Of the file; a folder that cannot be written to is no failure.
    """
    if place is None:
        return make()
    try:
        return read(place)
    except (OSError, ValueError):
        made = make()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write(made, place)
    except (OSError, ValueError):
        pass
    return made


def map_folder() -> Path | None:
    """Returns where maps are kept, or None for no cache."""
    named = os.environ.get("SELFDRIVE_CACHE")
    if named is not None:
        return Path(named) / "maps" if named else None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "selfdrive_env" / "maps"


@functools.cache
def _code_digest() -> str:
    """Returns the SHA-256 of the package's version and of the sources that a map depends on."""
    digest = hashlib.sha256(f"{MAP_VERSION} {package_version()}".encode())
    here = Path(__file__).parent
    for path in sorted([*here.rglob("*.py"), *(here.parent / "state").glob("*.py")]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _place(source: str | RoadNetwork, settings: str, suffix: str) -> Path | None:
    """Returns the cache file of a source, which need not exist; None for no cache."""
    folder = map_folder()
    if folder is None:
        return None
    name = source.name if isinstance(source, RoadNetwork) else Path(source).name
    digest = hashlib.sha256(f"{_code_digest()} {name} {settings} ".encode(errors="replace"))
    digest.update(_content_digest(source))
    start = re.sub(r"[^A-Za-z0-9_-]", "_", name.split(".")[0])[:40]
    return folder / f"{start}-{settings}-{digest.hexdigest()[:32]}{suffix}"


def _content_digest(source: str | RoadNetwork) -> bytes:
    """Returns what tells one source from another, whatever its name is.

    Of a file that is what it holds, and what those hold that its reader takes from beside it.
    """
    if isinstance(source, RoadNetwork):
        return source.digest().encode()
    if maps_named(source) is not None:
        return source.encode()
    try:
        digest = _file_digest(source)
    except (OSError, ValueError):
        # A built-in town, like a map by seed: its name and the sources of the generator say all.
        return source.encode(errors="surrogatepass")
    path = Path(source)
    for beside in files_beside(path) if is_lanelet2(path) else ():
        with contextlib.suppress(OSError, ValueError):  # none, or one that the reader refuses
            digest += beside.name.encode(errors="surrogatepass") + _file_digest(beside)
    return digest


def _file_digest(path: str | Path) -> bytes:
    """Returns the SHA-256 of what a file holds."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _write_map(compiled: CompiledMap, path: Path) -> None:
    """Writes a compiled map."""
    arrays: columns.Arrays = {
        f"{struct}.{name}": array
        for struct in _STRUCTS
        for name, array in getattr(compiled, struct)._asdict().items()
    }
    arrays["network_lane"] = compiled.network_lane
    arrays["about"] = columns.to_text({name: getattr(compiled, name) for name in _ABOUT})
    columns.write(path, MAP_HEADER, MAP_VERSION, arrays)


def _read_map(path: Path) -> CompiledMap:
    """Returns the compiled map of a file, a ValueError if it is none."""
    arrays = columns.read(path, MAP_HEADER, MAP_VERSION)
    structs = {}
    for struct, kind in _STRUCTS.items():
        fields = {}
        for name, (names, element) in axes(kind).items():
            array = arrays.get(f"{struct}.{name}")
            if array is None or array.dtype != element or array.ndim != len(names):
                raise ValueError(f"{struct}.{name} is missing or has another type or shape")
            fields[name] = array
        structs[struct] = kind(**fields)
    about = _about(arrays)
    network_lane = arrays.get("network_lane")
    if network_lane is None:
        raise ValueError("network_lane is missing")
    if network_lane.dtype != np.int32 or network_lane.shape != structs["lanes"].length.shape:
        raise ValueError("network_lane has another type or length than lanes")
    compiled = CompiledMap(network_lane=network_lane, **about, **structs)
    check_compiled(compiled)
    return compiled


def _about(arrays: columns.Arrays) -> dict[str, Any]:
    """Returns what is known of a map beside its arrays."""
    about = columns.from_text(arrays, "about")
    if not isinstance(about, dict) or about.keys() != set(_ABOUT):
        raise ValueError(f"about has not the entries {', '.join(_ABOUT)}")
    if not all(isinstance(about[name], kind) for name, kind in _ABOUT.items()):
        raise ValueError("about has entries of other types")
    return about


def _pooled_arrays() -> list[str]:
    """Returns the names of the arrays that go into a pool."""
    return [f"{struct}.{name}" for struct, kind in STRUCTS.items() for name in axes(kind)]
