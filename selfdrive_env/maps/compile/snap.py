"""Numbers of a map on a grid, so that the same map has the same bits on every processor.

What is computed in double precision differs by some 1e-13 m between processors: their libraries
multiply matrices and take sines in different ways. Rounding to single precision hides that, but for
what should be zero: a straight lane may have a curvature of 1e-16 1/m on one and of 0 on another.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["snap", "snapped"]

STEPS = np.float32(2.0**24)
"""Steps of the grid to one: as fine as single precision is from 1/2 to 1; larger numbers stay."""

Struct = TypeVar("Struct", bound=tuple[Any, ...])


def snapped(numbers: NDArray[Any]) -> NDArray[Any]:
    """Returns numbers of single precision rounded to multiples of 2^-24, none of them -0."""
    return np.rint(numbers * STEPS) / STEPS + np.float32(0.0)


def snap(struct: Struct) -> Struct:
    """Returns a named tuple with all its arrays of single precision on the grid."""
    fields: Any = struct
    made: Struct = fields._replace(
        **{
            name: snapped(array)
            for name, array in fields._asdict().items()
            if array.dtype == np.float32
        }
    )
    return made
