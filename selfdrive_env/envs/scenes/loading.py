"""From what a caller names to scenes: one, several, a folder, a pattern, or the built-in ones.

More files than fit into memory are a stream, read ahead and shuffled by seed: some scenes at a time
are a window, from which worlds are drawn as often as it has scenes; then the next one comes, which
a thread has read and compiled meanwhile. A pass goes through all scenes in an order of its own and
begins anew after the last.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.config.checks import is_list
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.envs.scenes.situations import Known, Prepared, prepared
from selfdrive_env.scenes import Agent, Goal, Scene, SceneError
from selfdrive_env.scenes.readers import files, load, records
from selfdrive_env.scenes.scene import SUFFIX

__all__ = ["Entry", "Stream", "built_in", "entries", "parts_of", "windows"]

PATTERN = set("*?[")


def parts_of(source: Any) -> list[Scene | Path]:
    """Returns the scenes that the argument `scene` names, those in files as files.

    Args:
        source: A `Scene`, a file, a folder (all of its files that hold scenes), a pattern such as
            "recorded/*.scene", a list of these, or None for `built_in`.

    Raises:
        SceneError: What is named holds no scene.
        FileNotFoundError: There is no such file or folder.
        TypeError: It is something else.
    """
    found: list[Scene | Path]
    if source is None:
        return [*built_in()]
    if isinstance(source, Scene):
        return [source]
    if is_list(source):
        found = [part for one in source for part in parts_of(one)]
    elif isinstance(source, str | os.PathLike):
        found = [*_named(os.fspath(source))]
    else:
        raise TypeError(
            f"scene must be a Scene, a file, a folder, a pattern or a list of them, got {source!r}"
        )
    if not found:
        raise SceneError(f"scene={source!r} names no scene")
    return found


def _named(text: str) -> list[Path]:
    """Returns the files that a file, a folder or a pattern names."""
    path = Path(text)
    if path.is_dir():
        return files(path)
    if PATTERN & set(text) and not path.exists():
        return [Path(one) for one in sorted(glob.glob(text, recursive=True))]
    return [path]


def built_in() -> list[Scene]:
    """Returns hand-made scenes on the town riverside: round a parked car, and behind a slow one."""
    ego = Agent(0, x=-300.0, y=3.6, speed=8.0, driver="learner", goals=(Goal(-190.0, 3.6),))
    slow = Agent(1, x=-275.0, y=3.6, speed=5.0, driver="constant", goals=(Goal(-182.0, 3.6),))
    parked = Agent(2, x=-240.0, y=3.2, driver="still")
    behind = Agent(3, x=-312.0, y=0.1, speed=8.0, goals=(Goal(-190.0, 0.1),))
    shared: dict[str, Any] = {"map": "riverside", "dt": 0.1, "steps": 301, "ego": 0}
    return [
        Scene((ego, parked, behind), name="parked car", **shared),
        Scene((ego, slow, behind), name="slow car", **shared),
    ]


def windows(source: Any, size: int) -> Iterator[list[Scene]]:
    """Yields all scenes that the argument `scene` names, so many at a time, in their order.

    No more than two windows are in memory: a thread reads the next one meanwhile.

    Args:
        source: As for `parts_of`; all scenes of a file that has several.
        size: Scenes of a window; the last one may have fewer.

    Raises:
        SceneError: What is named holds no scene, or one that cannot be read.
        FileNotFoundError: There is no such file or folder.
        TypeError: It is something else.
    """
    scenes, count = _each(parts_of(source)), 0
    with ThreadPoolExecutor(1, thread_name_prefix="selfdrive_env_scenes") as worker:
        following = worker.submit(_some, scenes, size)
        while window := following.result():
            following = worker.submit(_some, scenes, size)
            count += len(window)
            yield window
            del window  # not kept while the next one is waited for
    if not count:
        raise SceneError(f"scene={source!r} names no scene")


def _some(scenes: Iterator[Scene], size: int) -> list[Scene]:
    return list(itertools.islice(scenes, size))


def _each(parts: Sequence[Scene | Path]) -> Iterator[Scene]:
    """Yields scenes, each file read as its scenes are asked for."""
    for part in parts:
        if isinstance(part, Scene):
            yield part
            continue
        for number, record in enumerate(records(part)):
            yield _read(part, number, record.read)


def _read(path: Path, record: int, read: Callable[[], Scene]) -> Scene:
    """Returns a scene; an error in it names the file."""
    try:
        return read()
    except (OSError, SceneError) as error:
        if path.name in str(error):
            raise
        raise SceneError(f"{path.name}, record {record}: {error}") from None


class Entry(NamedTuple):
    """Where a scene is kept."""

    path: Path
    record: int
    """Which scene of the file."""


def entries(paths: Sequence[Path]) -> list[Entry]:
    """Returns all scenes of some files, none of which is read for that beyond what finds it.

    Args:
        paths: Files.

    Raises:
        SceneError: A file cannot be taken apart.
    """
    out = []
    for path in paths:
        alone = path.name.lower().endswith(SUFFIX)
        out += [Entry(path, n) for n, _ in enumerate([None] if alone else records(path))]
    return out


class Stream:
    """Windows of scenes.

    Args:
        found: Where scenes are kept, at least as many as a window has.
        window: Scenes of a window.
        layout: Of observations.
        shuffled: Whether every pass has an order of its own.
        steps: Moments after which scenes are cut off, None to leave them whole.
    """

    def __init__(
        self,
        found: Sequence[Entry],
        window: int,
        layout: ObservationLayout,
        *,
        shuffled: bool,
        steps: int | None = None,
    ) -> None:
        self.found, self.window, self.layout = list(found), window, layout
        self.shuffled, self.steps = shuffled, steps
        self._worker: ThreadPoolExecutor | None = None
        self._next: Future[list[Prepared]] | None = None
        self._order: Iterator[Entry] = iter(())

    def begin(self, seed: int) -> list[Prepared]:
        """Returns the first window.

        Args:
            seed: Of the order.
        """
        self.close()
        self._order = self._endless(seed)
        first = self._read()
        self._ahead()
        return first

    def take(self) -> list[Prepared]:
        """Returns the next window, and has the one after it read.

        Raises:
            SceneError: One of its scenes cannot be read; it names the file.
        """
        assert self._next is not None
        out = self._next.result()
        self._ahead()
        return out

    def close(self) -> None:
        """Ends reading ahead."""
        if self._worker is not None:
            self._worker.shutdown(cancel_futures=True)
        self._worker = self._next = None

    def _ahead(self) -> None:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="selfdrive_env_scenes")
        self._next = self._worker.submit(self._read)

    def _read(self) -> list[Prepared]:
        """Reads the next window."""
        known = Known({}, {})
        return [
            prepared(self._cut(self._load(next(self._order))), self.layout, known)
            for _ in range(self.window)
        ]

    def _load(self, entry: Entry) -> Scene:
        path, record = entry
        return _read(path, record, lambda: load(path, record=record))

    def _cut(self, scene: Scene) -> Scene:
        most = scene.steps if self.steps is None else scene.current + self.steps
        return scene if scene.steps <= most else scene.shortened(most)

    def _endless(self, seed: int) -> Iterator[Entry]:
        """Yields all entries, pass after pass."""
        number = 0
        while True:
            order = np.arange(len(self.found))
            if self.shuffled:
                order = np.random.default_rng([seed, number]).permutation(len(self.found))
            yield from (self.found[place] for place in order.tolist())
            number += 1
