"""The readers of recorded scenes: which module reads a file of which name.

A format is a module with a function `records(path)`, which yields what can be read one by one, and
a row here.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

from selfdrive_env.scenes.agents import SceneError
from selfdrive_env.scenes.readers.recorded import Record, what_it_is
from selfdrive_env.scenes.scene import SUFFIX, Scene

__all__ = ["READERS", "REPORT", "Record", "files", "load", "records"]

READERS = {
    (".xml", ".xml.gz", ".xml.xz"): "commonroad",
    (".json", ".json.gz", ".json.xz"): "gpudrive",
    (".parquet",): "argoverse",
    (".npz",): "scenarionet",
}
"""Endings of a file's name -> module of this folder, imported when first needed."""

TFRECORD = ".tfrecord"
"""Within the name of a file of the Waymo Open Motion Dataset, whose ending counts its parts."""

REPORT = "conversion.json"
"""What `scenes convert` tells beside the scenes that it writes."""

PICKLES = (".pkl", ".pickle")


def load(source: str | os.PathLike[str], *, record: int = 0) -> Scene:
    """Returns a scene of a file.

    Args:
        source: A file that ends in .scene, or one of the formats that are read.
        record: Which scene of the file, from 0.

    Raises:
        SceneError: The file is of another kind, damaged or has fewer scenes.
        FileNotFoundError: There is no such file.
    """
    count = 0
    for entry in records(source):
        if count == record:
            return entry.read()
        count += 1
    raise SceneError(f"{Path(source).name} has {count} scenes, there is no record {record}")


def records(source: str | os.PathLike[str]) -> Iterator[Record]:
    """Yields the scenes of a file, to be read one by one.

    Args:
        source: As for `load`.

    Raises:
        SceneError: The file is of another kind, or what comes next cannot be found in it.
        FileNotFoundError: There is no such file.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        raise SceneError(f"{path} is a folder; a file that ends in {_endings()} is wanted")
    with path.open("rb") as file:
        head = file.read(64)
    name = path.name.lower()
    if name.endswith(SUFFIX):
        yield Record(path.name[: -len(SUFFIX)], lambda: Scene.read(path))
        return
    module = _module(name)
    if module is None:
        told = f"{path.name} is {what_it_is(head)}; a file that ends in {_endings()} is wanted"
        if name.endswith(PICKLES) or what_it_is(head) == "a pickle":
            told = (
                f"{path.name} is a pickle, which could run any code and is never read: keep the "
                "scene as .npz instead (docs/scenes.md shows how)"
            )
        raise SceneError(told)
    reader = importlib.import_module(f"selfdrive_env.scenes.readers.{module}")
    for entry in reader.records(path):
        yield Record(entry.name, functools.partial(_read, path, entry))


def _read(path: Path, entry: Record) -> Scene:
    """Returns the scene of a record; what a scene finds of itself is told with the file."""
    try:
        return entry.read()
    except SceneError as error:
        if not str(error).startswith("scene"):
            raise
        where = path.name if path.name.startswith(entry.name) else f"{path.name}, {entry.name}"
        raise SceneError(f"{where}: {error}") from None


def files(source: str | os.PathLike[str]) -> list[Path]:
    """Returns a file, or all files of a folder and those below it that a reader may take."""
    path = Path(source).expanduser()
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        return [path]
    found = [
        one
        for one in sorted(path.rglob("*"))
        if one.is_file() and not one.name.startswith((".", "log_map_archive_", REPORT))
    ]
    return [one for one in found if one.name.lower().endswith(SUFFIX) or _module(one.name.lower())]


def _module(name: str) -> str | None:
    """Returns which module reads a file of that name, None where none does."""
    for endings, module in READERS.items():
        if name.endswith(endings):
            return module
    return "womd.reader" if TFRECORD in name else None


def _endings() -> str:
    known = [ending for endings in READERS for ending in endings]
    return f"{SUFFIX}, {', '.join(known)}, or has {TFRECORD} in its name"
