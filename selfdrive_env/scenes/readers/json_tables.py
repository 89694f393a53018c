"""Reads JSON files whose entries are checked one by one: each error names file, entry and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.readers.recorded import Place, read_bytes, what_it_is

__all__ = ["coordinate", "get", "numbers", "points", "read_json"]

Kind = TypeVar("Kind")


def read_json(path: Path, wanted: str) -> Any:
    """Returns what a file holds, compressed or not.

    Args:
        path: Of the file.
        wanted: What it should be, for errors.
    """
    content = read_bytes(path)
    try:
        return json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        kind = what_it_is(content[:64])
        told = f"is no JSON ({str(error)[:120]})" if kind == "JSON" else f"is {kind}"
        raise Place(path.name).error("the file", f"{told}; {wanted} is wanted") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def get(table: Any, name: str, kind: type[Kind], place: Place, where: str) -> Kind:
    """Returns an entry of a table, which has to be of a kind."""
    value = table.get(name) if isinstance(table, dict) else None
    if not isinstance(value, kind):
        got = "missing" if value is None else repr(value)[:60]
        raise place.error(
            f"{where}.{name}" if where else name, f"is {got}; a {kind.__name__} is wanted"
        )
    return value


def numbers(values: Any, place: Place, where: str) -> NDArray[np.float64]:
    """Returns a list of numbers as an array; texts, lists and huge whole numbers are none."""
    try:
        array = np.array(values) if isinstance(values, list) else np.array("")
    except (ValueError, OverflowError):  # lists among numbers
        array = np.array("")
    if array.ndim != 1 or (array.dtype.kind not in "iufb" and len(array)):
        raise place.error(where, "must be a list of numbers")
    return array.astype(np.float64)


def coordinate(points: list[Any], axis: str, place: Place, where: str) -> NDArray[np.float64]:
    """Returns a coordinate of points; z is 0 where they have none."""
    try:
        values = [point[axis] for point in points]
    except KeyError:
        if axis == "z" and not any("z" in point for point in points):
            return np.zeros(len(points))
        raise place.error(where, f"has an entry without {axis}") from None
    except TypeError:
        raise place.error(where, "must be a list of points with x and y") from None
    return numbers(values, place, f"{where}.{axis}")


def points(values: Any, place: Place, where: str) -> NDArray[np.float64]:
    """Returns a list of points as an array, [P, 3] [m]."""
    if not isinstance(values, list):
        raise place.error(where, "must be a list of points with x and y")
    return np.stack([coordinate(values, axis, place, where) for axis in "xyz"], axis=1)
