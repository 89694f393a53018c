"""Read and compiled maps on disk, so that a second start needs neither parsing nor compiling.

One uncompressed .npz a map, without pickled objects: arrays, and texts as JSON. The file name has a
SHA-256 over the content of the source, the settings, the version of the package and the sources of
`maps`, so a stale entry is never found; what cannot be read is built again. The folder is
`$SELFDRIVE_CACHE` (empty: no cache), else selfdrive_env in `$XDG_CACHE_HOME` or ~/.cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.config.files import replacing
from selfdrive_env.config.installation import package_version
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.routes import spread
from selfdrive_env.maps.road_network import (
    Crosswalk,
    Junction,
    Lane,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.state.arrays import axes
from selfdrive_env.state.road import (
    Grid,
    Lanes,
    Routes,
    Signs,
)

__all__ = ["cached_map", "cached_network"]

FORMAT_VERSION = 1
"""Of the cache files."""

Arrays = dict[str, Any]

_STRUCTS: dict[str, Any] = {"lanes": Lanes, "routes": Routes, "grid": Grid, "signs": Signs}
_PARTS: dict[str, Any] = {
    "lanes": Lane,
    "junctions": Junction,
    "signals": Signal,
    "signal_groups": SignalGroup,
    "stop_lines": StopLine,
    "crosswalks": Crosswalk,
}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def cached_network(path: str, read: Callable[[str], RoadNetwork]) -> RoadNetwork:
    """Returns the network of a file, from the cache if its content was read before.

    Args:
        path: The map file.
        read: Makes the network from the path.
    """
    place = _place(path, "network")
    network: RoadNetwork | None = _load(place, _network_from_arrays)
    if network is None:
        network = read(path)
        _store(place, lambda: _arrays_of_network(network))
    else:
        network.source = path
    return network


def cached_map(
    source: str,
    build: Callable[[], CompiledMap],
    *,
    variant: int,
    lane_points: int,
    boundary_points: int,
    stop_lines: int,
) -> CompiledMap:
    """Returns a compiled map, from the cache if it was compiled before with the same settings.

    Args:
        source: A map file or the name of a built-in town.
        build: Compiles the map.
        variant: Seed of the variant, 0 for the map itself.
        lane_points: Length of the lists of near lane points.
        boundary_points: Length of the lists of near road edges.
        stop_lines: Length of the lists of near stop lines.
    """
    place = _place(source, f"{variant}-{lane_points}-{boundary_points}-{stop_lines}")
    compiled: CompiledMap | None = _load(place, _map_from_arrays)
    if compiled is None:
        compiled = build()
        _store(place, lambda: _arrays_of_map(compiled))
    return dataclasses.replace(compiled, routes=spread(compiled.routes))


def _folder() -> Path | None:
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
    digest = hashlib.sha256(f"{FORMAT_VERSION} {package_version()}".encode())
    here = Path(__file__).parent
    for path in sorted([*here.rglob("*.py"), *(here.parent / "state").glob("*.py")]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _place(source: str, settings: str) -> Path | None:
    """Returns the cache file of a source, which need not exist; None for no cache."""
    folder = _folder()
    if folder is None:
        return None
    digest = hashlib.sha256(f"{_code_digest()} {Path(source).name} {settings} ".encode())
    try:
        with open(source, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:
        # A built-in town: its name and the sources of the generator say all.
        digest.update(source.encode())
    name = re.sub(r"[^A-Za-z0-9_-]", "_", Path(source).name.split(".")[0])[:40]
    return folder / f"{name}-{settings}-{digest.hexdigest()[:32]}.npz"


def _load(place: Path | None, decode: Callable[[Arrays], Any]) -> Any:
    """Returns what `decode` makes of a cache file, None if there is none or it cannot be used."""
    if place is None or not place.is_file():
        return None
    try:
        with open(place, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            return decode({name: file[name] for name in file.files})
    except _UNREADABLE:
        return None


def _store(place: Path | None, encode: Callable[[], Arrays]) -> None:
    """Writes a cache file in one step; a folder that cannot be written to is no failure."""
    if place is None:
        return
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as unfinished:
            np.savez(unfinished, allow_pickle=False, **encode())


def _text(value: Any) -> Any:
    """Returns a value as JSON in an array of bytes."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _value(array: Any) -> Any:
    """Returns the value that `_text` turned into an array."""
    return json.loads(array.tobytes())


def _arrays_of_map(compiled: CompiledMap) -> Arrays:
    """Returns a compiled map as named arrays."""
    out = {
        f"{struct}.{name}": array
        for struct in _STRUCTS
        for name, array in getattr(compiled, struct)._asdict().items()
    }
    out["network_lane"] = compiled.network_lane
    names = ("name", "digest", "num_junctions", "num_groups")
    out["about"] = _text({name: getattr(compiled, name) for name in names})
    return out


def _map_from_arrays(arrays: Arrays) -> CompiledMap:
    """Returns the compiled map that `_arrays_of_map` was given."""
    structs = {}
    for struct, kind in _STRUCTS.items():
        fields = {}
        for name, (names, element) in axes(kind).items():
            array = arrays[f"{struct}.{name}"]
            if array.dtype != element or array.ndim != len(names):
                raise ValueError(f"{struct}.{name} has type {array.dtype} and {array.ndim} axes")
            fields[name] = array
        structs[struct] = kind(**fields)
    about = _value(arrays["about"])
    return CompiledMap(network_lane=arrays["network_lane"], **about, **structs)


def _arrays_of_network(network: RoadNetwork) -> Arrays:
    """Returns a network as named arrays: points joined, everything else as columns of JSON."""
    out: Arrays = {}
    about: dict[str, Any] = {}
    for field in dataclasses.fields(network):
        items = getattr(network, field.name)
        if field.name not in _PARTS:
            about[field.name] = items
            continue
        columns: dict[str, Any] = {"": len(items)}
        for part in dataclasses.fields(_PARTS[field.name]):
            values = [getattr(item, part.name) for item in items]
            if values and isinstance(values[0], np.ndarray):
                key = f"{field.name}.{part.name}"
                out[key] = np.concatenate([v.reshape(-1, v.shape[-1]) for v in values])
                columns[part.name] = [len(v) if v.ndim > 1 else -1 for v in values]
            else:
                columns[part.name] = values
        about[field.name] = columns
    out["about"] = _text(about)
    return out


def _network_from_arrays(arrays: Arrays) -> RoadNetwork:
    """Returns the network that `_arrays_of_network` was given."""
    about = _value(arrays["about"])
    for name, kind in _PARTS.items():
        columns = about[name]
        num = columns.pop("")
        for part in columns:
            key = f"{name}.{part}"
            if key in arrays:
                columns[part] = _split(arrays[key], columns[part])
        names = list(columns)
        about[name] = [
            kind(**dict(zip(names, values, strict=True)))
            for values in zip(*columns.values(), strict=True)
        ]
        if len(about[name]) != num:
            raise ValueError(f"{name} has {len(about[name])} entries, not {num}")
    for line in about["stop_lines"]:
        line.lanes = [(lane, s) for lane, s in line.lanes]
    about["origin"] = tuple(about["origin"])
    return RoadNetwork(**about)


def _split(joined: Any, counts: list[int]) -> list[Any]:
    """Returns the arrays that were joined; a count of -1 stands for one point."""
    out, end = [], 0
    for count in counts:
        start, end = end, end + abs(count)
        out.append(joined[start:end] if count >= 0 else joined[start])
    return out
