"""From what a caller names to scenes: one, several, a folder, a pattern, or the built-in ones."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from selfdrive_env.config.checks import is_list
from selfdrive_env.scenes import Agent, Goal, Scene, SceneError
from selfdrive_env.scenes.readers import files, load

__all__ = ["built_in", "parts_of", "scenes_of"]

PATTERN = set("*?[")


def scenes_of(source: Any) -> list[Scene]:
    """Returns the scenes that the argument `scene` names, at least one.

    Args:
        source: A `Scene`, a file, a folder (all of its files that hold scenes), a pattern such as
            "recorded/*.scene", a list of these, or None for `built_in`.

    Raises:
        SceneError: What is named holds no scene.
        FileNotFoundError: There is no such file or folder.
        TypeError: It is something else.
    """
    return [one if isinstance(one, Scene) else load(one) for one in parts_of(source)]


def parts_of(source: Any) -> list[Scene | Path]:
    """Returns the scenes that the argument `scene` names, those in files as files.

    Args:
        source: As for `scenes_of`.

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
