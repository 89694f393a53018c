"""Scenes from more files than fit into memory: read ahead, and shuffled by seed.

Some scenes at a time are a window, from which worlds are drawn as often as it has scenes; then the
next one comes, which a thread has read and compiled meanwhile. A pass goes through all scenes in
an order of its own and begins anew after the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.envs.scenes.situations import Prepared, prepared
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.scenes import Scene, SceneError
from selfdrive_env.scenes.readers import load, records
from selfdrive_env.scenes.scene import SUFFIX

__all__ = ["Entry", "Stream", "entries"]


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
        known: dict[str, CompiledMap] = {}
        return [
            prepared(self._cut(self._load(next(self._order))), self.layout, known)
            for _ in range(self.window)
        ]

    def _load(self, entry: Entry) -> Scene:
        try:
            return load(entry.path, record=entry.record)
        except (OSError, SceneError) as error:
            if entry.path.name in str(error):
                raise
            raise SceneError(f"{entry.path.name}, record {entry.record}: {error}") from None

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
