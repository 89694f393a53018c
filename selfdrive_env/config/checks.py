"""Reading and checking what somebody wrote: errors name the setting, the value and what may be."""

from __future__ import annotations

import difflib
import enum
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Network", "as_list", "as_plain", "as_table", "check_actions", "check_choice",
    "check_integer", "check_number", "check_seeds", "read_pairs", "suggestion"]  # fmt: skip

MAX_SEED = 2**64 - 1


@runtime_checkable
class Network(Protocol):
    """What a setting knows of a `RoadNetwork`, which lies in a layer above."""

    name: str

    def digest(self) -> str:
        """Returns what changes with anything that the network holds."""

    def save(self, path: Any) -> None:
        """Writes the network to a file, whose path stands for it where only text can."""


def suggestion(word: Any, known: Iterable[str], cutoff: float = 0.0) -> str:
    """Returns " (did you mean 'NAME'?)" with the nearest known name.

    Args:
        word: What somebody wrote.
        known: Names that there are.
        cutoff: Least likeness of the name, 0 to 1; "" if none is as like.
    """
    near = difflib.get_close_matches(str(word), list(known), 1, cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


def read_pairs(words: Iterable[str]) -> dict[str, Any]:
    """Returns values by name from words such as `dt=0.3`; a value is JSON, or else plain text."""
    found = {}
    for word in words:
        match = re.fullmatch(r"\s*([A-Za-z_][\w.]*)\s*=(.*)", word, re.DOTALL)
        if match is None:
            raise ValueError(f"--set must be key=value, got {word!r}")
        found[match[1]] = _plain_value(match[2].strip())
    return found


def _plain_value(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises a ValueError unless a value is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """Returns a number from `low` to `high`, raises a ValueError for anything else."""
    good = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def check_integer(name: str, value: Any, low: int, high: int) -> int:
    """Returns a whole number from `low` to `high`, raises a ValueError for anything else."""
    good = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not good or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
    return int(value)


def as_list(name: str, value: Any) -> tuple[Any, ...]:
    """Returns a list as a tuple, raises a ValueError for what is none."""
    if not isinstance(value, list | tuple | np.ndarray):
        raise ValueError(f"{name} must be a list, got {value!r}")
    return tuple(value)


def as_plain(value: Any) -> Any:
    """Returns a setting as JSON can hold it: enums, paths and what is NumPy's become plain."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    return value.value if isinstance(value, enum.Enum) else value


def as_table(name: str, value: Any) -> Mapping[str, Any]:
    """Returns a table of values by name, raises a ValueError for what is none."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a name or a table of numbers by name, got {value!r}")
    return value


def check_seeds(seed: int | Sequence[int], worlds: int, rows: int) -> int | list[int]:
    """Returns one seed for all worlds, or one each.

    Args:
        seed: A number of 64 bits, or a list with one a world or one a row.
        worlds: How many worlds there are.
        rows: How many rows, the same number in each world.

    Raises:
        ValueError: For another number of them, or one out of range.
    """
    single = isinstance(seed, int | np.integer)
    given: Any = [seed] if single else seed
    seeds = [int(one) for one in given]
    if not single:
        if len(seeds) == rows:
            seeds = seeds[:: rows // worlds]
        if len(seeds) != worlds:
            raise ValueError(
                f"seed must have one entry a world ({worlds}) or a row ({rows}), got {len(seeds)}"
            )
    for value in seeds:
        if not 0 <= value <= MAX_SEED:
            raise ValueError(f"seed must be from 0 to 2**64 - 1, got {value}")
    return seeds[0] if single else seeds


def check_actions(actions: Any, rows: int, choices: int) -> NDArray[Any]:
    """Returns actions as an array.

    Args:
        actions: What a caller gave.
        rows: How many there must be.
        choices: How many discrete actions there are; 0 for pairs of numbers from -1 to 1.

    Raises:
        ValueError: If they are not what the action space holds.
    """
    actions = np.asarray(actions)
    shape = (rows,) if choices else (rows, 2)
    if actions.shape != shape or actions.dtype.kind not in ("iu" if choices else "f"):
        raise ValueError(
            f"actions must be {'integers' if choices else 'floats'} of shape {shape}, got "
            f"{actions.dtype} of shape {actions.shape}"
        )
    if choices:
        if actions.min() < 0 or actions.max() >= choices:
            raise ValueError(
                f"actions must be from 0 to {choices - 1}, got {actions.min()} to {actions.max()}"
            )
    elif not np.isfinite(actions).all() or np.abs(actions).max() > 1.0:
        raise ValueError(
            f"actions must be finite and from -1 to 1, got {actions.min()} to {actions.max()}"
        )
    return actions
