"""Reading and checking what somebody wrote: errors name the setting, the value and what may be."""

from __future__ import annotations

import difflib
import enum
import json
import math
import os
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.aliases import translation

__all__ = ["Network", "as_list", "as_plain", "as_table", "check_action", "check_actions",
    "check_choice", "check_integer", "check_number", "check_options", "check_path", "check_seeds",
    "is_list", "read_pairs", "suggestion"]  # fmt: skip

MAX_SEED = 2**64 - 1
LIKENESS = 0.6
"""Least likeness of a name that is suggested, 0 to 1."""

PASSED_ON = ("minari_autoseed",)
"""Options of a wrapper, which it reads and hands on to what it wraps."""


@runtime_checkable
class Network(Protocol):
    """What a setting knows of a `RoadNetwork`, which lies in a layer above."""

    name: str

    def digest(self) -> str:
        """Returns what changes with anything that the network holds."""

    def save(self, path: Any) -> None:
        """Writes the network to a file, whose path stands for it where only text can."""


def suggestion(word: Any, known: Iterable[str], setting: str | None = None) -> str:
    """Returns what somebody may have meant, in brackets; "" where nothing is near.

    A word of another simulator is translated, any other gives " (did you mean 'NAME'?)".

    Args:
        word: What somebody wrote.
        known: Names that there are.
        setting: That the word is a value or an entry of, None for the name of a setting, "" for
            what other simulators have no words for.
    """
    text, names = str(word), {name.lower(): name for name in known}
    translated = translation(text, setting)
    if translated:
        return f" ({translated})"
    near = difflib.get_close_matches(text.lower(), list(names), 1, LIKENESS)
    return f" (did you mean {names[near[0]]!r}?)" if near else ""


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
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {reprlib.repr(value)}")


def check_number(name: str, value: Any, low: float, high: float) -> float:
    """Returns a number from `low` to `high`, raises a ValueError for anything else."""
    good = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not good or not low <= value <= high or value in (math.inf, -math.inf):
        raise ValueError(
            f"{name} must be a number from {low:g} to {high:g}, got {reprlib.repr(value)}"
        )
    return float(value)


def check_integer(name: str, value: Any, low: int, high: int) -> int:
    """Returns a whole number from `low` to `high`, raises a ValueError for anything else."""
    good = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not good or not low <= value <= high:
        raise ValueError(
            f"{name} must be a whole number from {low} to {high}, got {reprlib.repr(value)}"
        )
    return int(value)


def as_list(name: str, value: Any) -> tuple[Any, ...]:
    """Returns a list as a tuple, raises a ValueError for what is none."""
    if not is_list(value):
        raise ValueError(f"{name} must be a list, got {reprlib.repr(value)}")
    return tuple(value)


def check_path(name: str, value: str | os.PathLike[Any]) -> None:
    """Raises a ValueError for what the system takes as no path, whether there is a file or not."""
    try:
        good = isinstance(os.fspath(value), str) and b"\0" not in os.fsencode(value)
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"{name} must be a path without characters that no path has, got {reprlib.repr(value)}"
        )


def is_list(value: Any) -> bool:
    """Whether a value is a list, a tuple or an array with axes."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def as_plain(value: Any) -> Any:
    """Returns a setting as JSON can hold it: enums, paths and what is NumPy's, in any depth."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {as_plain(name): as_plain(one) for name, one in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    return value.value if isinstance(value, enum.Enum) else value


def as_table(name: str, value: Any) -> Mapping[str, Any]:
    """Returns a table of values by name, raises a ValueError for what is none."""
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} must be a name or a table of numbers by name, got {reprlib.repr(value)}"
        )
    return value


def check_options(options: Any, known: Sequence[str]) -> Mapping[str, Any]:
    """Returns the options of a reset, an empty table for None.

    Args:
        options: What a caller gave.
        known: Names of options that there are.

    Raises:
        ValueError: For an option that there is not, or for what is no table.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(f"options must be None or a table of values by name, got {options!r}")
    for name in options:
        if name not in known and name not in PASSED_ON:
            there = f"the only one is {', '.join(known)}" if known else "there are none here"
            raise ValueError(
                f"reset() knows no option {name!r}{suggestion(name, known, '')}; {there}"
            )
    return options


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
    if not single and not isinstance(seed, list | tuple | range | np.ndarray):
        raise ValueError(f"seed must be a whole number or a list of them, got {reprlib.repr(seed)}")
    given: Any = [seed] if single else seed
    seeds = []
    for one in given:
        if isinstance(one, bool) or not isinstance(one, int | np.integer):
            raise ValueError(f"seed must be a whole number or a list of them, got {one!r} in it")
        seeds.append(int(one))
    if not single:
        if len(seeds) == rows:
            seeds = seeds[:: rows // worlds]
        if len(seeds) != worlds:
            raise ValueError(
                f"seed must have one entry a world ({worlds}) or a row ({rows}), got {len(seeds)}"
            )
    for value in seeds:
        if not 0 <= value <= MAX_SEED:
            raise ValueError(f"seed must be from 0 to 2**64 - 1, got {reprlib.repr(value)}")
    return seeds[0] if single else seeds


def check_action(action: Any, choices: int, columns: int = 2, most: float = 1.0) -> NDArray[Any]:
    """Returns the action of a single environment as an array.

    Args:
        action: What a caller gave.
        choices: How many discrete actions there are; 0 for some numbers.
        columns: How many numbers.
        most: The largest that they may be, to either side.

    Raises:
        ValueError: If it is not what the action space holds.
    """
    array = np.asarray(action)
    kind, shape = ("iu", ()) if choices else ("f", (columns,))
    if array.shape != shape or array.dtype.kind not in kind:
        wanted = "an integer" if choices else f"floats of shape {shape}"
        kinds = f"{array.dtype} of shape {array.shape}"
        got = f"{action!r}" if array.ndim == 0 else kinds
        raise ValueError(f"action must be {wanted}, got {got}")
    if choices:
        if not 0 <= array.item() < choices:
            raise ValueError(f"action must be from 0 to {choices - 1}, got {array}")
    elif not (np.isfinite(array) & (np.abs(array) <= most)).all():
        raise ValueError(
            f"action must be finite and from {-most:.9g} to {most:.9g}, got {array.tolist()}"
        )
    return array


def check_actions(
    actions: Any, rows: int, choices: int, columns: int = 2, most: float = 1.0
) -> NDArray[Any]:
    """Returns actions as an array.

    Args:
        actions: What a caller gave.
        rows: How many there must be.
        choices: How many discrete actions there are; 0 for some numbers each.
        columns: How many numbers.
        most: The largest that they may be, to either side.

    Raises:
        ValueError: If they are not what the action space holds.
    """
    actions = np.asarray(actions)
    shape = (rows,) if choices else (rows, columns)
    if actions.shape != shape or actions.dtype.kind not in ("iu" if choices else "f"):
        raise ValueError(
            f"actions must be {'integers' if choices else 'floats'} of shape {shape}, got "
            f"{actions.dtype} of shape {actions.shape}"
        )
    if choices:
        low, high = (actions.min(), actions.max()) if rows > 1 else (actions.item(),) * 2
        if low < 0 or high >= choices:
            raise ValueError(f"actions must be from 0 to {choices - 1}, got {low} to {high}")
    elif not np.isfinite(actions).all() or np.abs(actions).max() > most:
        raise ValueError(
            f"actions must be finite and from {-most:.9g} to {most:.9g}, got "
            f"{actions.min()} to {actions.max()}"
        )
    return actions
