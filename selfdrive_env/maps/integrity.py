"""Whether the arrays of a compiled map that was kept in a file belong together.

A checksum finds what a disk or a kill has damaged, not what somebody has written: kernels index by
these arrays and look nothing over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.pool.map_pool import BLOCK, COUNTED
from selfdrive_env.maps.pool.map_pool import FIRSTS as POOL_FIRSTS
from selfdrive_env.state.arrays import axes
from selfdrive_env.state.road import (
    FOE_FIRST_COME,
    GUIDE_LINE,
    LINE_COLUMNS,
    SEG_COLUMNS,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    Signs,
)
from selfdrive_env.state.world import RED

__all__ = ["check_compiled"]

STRUCTS = ("lanes", "routes", "grid", "signs", "paint")

FIRSTS = {
    **{name: of for name, of in POOL_FIRSTS.items() if name != "signs.map_program_first"},
    "paint.first": "paint.point",
}
"""Array of first entries -> array that it cuts into pieces."""

ALIKE = (("routes.lane", "routes.distance"), ("signs.lane_line_s", "signs.lane_line"),
    ("signs.cycle_colour", "signs.cycle_end"), ("signs.foe_rule", "signs.foe"),
    ("signs.foe_place", "signs.foe"))  # fmt: skip
"""Arrays of one length, beside those with an axis of the same name."""

INDICES = {
    **COUNTED,
    "signs.cycle_colour": "light",
    "signs.foe_rule": "foe_rule",
    "paint.kind": "kind",
    "paint.unmarked": "lane",
}
"""Array of indices -> what it counts."""

OR_NONE = ("lanes.left", "lanes.right", "lanes.junction", "grid.block", "grid.near",
    "grid.near_lane_point", "grid.near_boundary", "grid.near_stop_line",
    "signs.line_group")  # fmt: skip
"""Those that may have -1."""

FREE = ("entry", "link", "spawn", "point", "N1", "N2", "N3")
"""Axes whose name does not say their length."""

LONGEST_PHASE = 2**60
"""[ns]"""

FAR = 1.0e9
"""No number of a network is beyond, nor one that is made of it."""

NOT_NEGATIVE = ("lanes.speed_limit", "lanes.length", "lanes.max_curvature", "lanes.narrowest",
    "routes.distance", "routes.cycle")  # fmt: skip
"""Arrays of numbers from 0 on."""

RANGES = {
    SEG_COS: (-1.001, 1.001),
    SEG_SIN: (-1.001, 1.001),
    SEG_LENGTH: (0.0, FAR),
    SEG_LEFT: (0.0, FAR),
    SEG_RIGHT: (0.0, FAR),
    SEG_S: (0.0, FAR),
}
"""Column of `lanes.segment` -> least and most that it holds."""


def check_compiled(compiled: CompiledMap) -> None:
    """Raises a ValueError where arrays of a map are not as the compiler makes them.

    Args:
        compiled: Of one map, with arrays of the right types and numbers of axes.
    """
    arrays = {
        f"{struct}.{name}": array
        for struct in STRUCTS
        for name, array in getattr(compiled, struct)._asdict().items()
    }
    _check_lengths(compiled, arrays)
    for name, of in FIRSTS.items():
        first = arrays[name]
        good = first[0] == 0 and first[-1] == len(arrays[of]) and (first[1:] >= first[:-1]).all()
        _require(good, f"{name} does not cut {of} into pieces")
    _check_indices(compiled, arrays)
    _check_grid(arrays)
    lanes, programs = compiled.lanes, np.diff(compiled.signs.program_first)
    own = np.repeat(np.arange(len(lanes.length)), np.diff(lanes.segment_first))
    _require(np.diff(lanes.segment_first).min(initial=1) > 0, "a lane has no segment")
    _require(np.array_equal(lanes.segment_lane, own), "lanes.segment_lane is not by lane")
    _require(programs.min(initial=1) > 0, "a program of lights has no group")
    _check_cycles(compiled.signs)
    _check_numbers(arrays)


def _require(good: Any, what: str) -> None:
    if not good:
        raise ValueError(what)


def _check_numbers(arrays: dict[str, NDArray[Any]]) -> None:
    """Requires that numbers are in their ranges: kernels look for what is near by them."""
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            _require(
                (np.abs(array) <= FAR).all(), f"{name} has a number that is none, or too large"
            )
    for name in NOT_NEGATIVE:
        _require(arrays[name].min(initial=0.0) >= 0.0, f"{name} has a number below 0")
    for column, (low, high) in RANGES.items():
        values = arrays["lanes.segment"][:, column]
        good = values.min(initial=low) >= low and values.max(initial=low) <= high
        _require(good, f"lanes.segment has a number in column {column} that is not in its range")


def _check_lengths(compiled: CompiledMap, arrays: dict[str, NDArray[Any]]) -> None:
    """Compares the lengths of axes of the same name."""
    for struct in STRUCTS:
        sizes = {"lane": len(compiled.lanes.length), "map": 1, "group": compiled.num_groups}
        sizes["column"] = SEG_COLUMNS if struct == "lanes" else LINE_COLUMNS
        for name, (names, _) in axes(type(getattr(compiled, struct))).items():
            for axis, length in zip(names, arrays[f"{struct}.{name}"].shape, strict=True):
                plain = axis.removesuffix("+1")
                found = length - (axis != plain)
                wanted = int(plain) if plain.isdigit() else sizes.get(plain, found)
                if plain not in FREE:
                    sizes.setdefault(plain, found)
                    _require(found == wanted >= 0, f"{struct}.{name} has {length} for {axis}")
    for one, other in ALIKE:
        _require(len(arrays[one]) == len(arrays[other]), f"{one} is not as long as {other}")


def _check_indices(compiled: CompiledMap, arrays: dict[str, NDArray[Any]]) -> None:
    """Compares indices with what there is of what they count."""
    grid, signs = compiled.grid, compiled.signs
    counts = {
        "lane": len(compiled.lanes.length),
        "segment": len(compiled.lanes.segment),
        "block": len(grid.inside) // BLOCK,
        "row": len(grid.near_lane_point),
        "lane_point": len(grid.lane_point),
        "boundary_point": len(grid.boundary_point),
        "line": len(signs.line),
        "group": compiled.num_groups,
        "junction": compiled.num_junctions,
        "kind": GUIDE_LINE + 1,
        "light": RED + 1,
        "foe_rule": FOE_FIRST_COME + 1,
    }
    for name, of in INDICES.items():
        array, low = arrays[name], -1 if name in OR_NONE else 0
        good = array.min(initial=low) >= low and array.max(initial=low) < max(counts[of], low + 1)
        _require(good, f"{name} has an index that is not from {low} to {counts[of] - 1}")
        _require(low or not array.size or counts[of], f"{name} counts what is not there")
    lane = grid.lane_point[:, 5]
    _require(((lane >= 0) & (lane < counts["lane"])).all(), "grid.lane_point has no such lane")
    programs = len(signs.program_first) - 1
    for name, count in (("program", programs), ("group", compiled.num_groups)):
        first = arrays[f"signs.map_{name}_first"]
        _require(first.tolist() == [0, count], f"signs.map_{name}_first is not [0, {count}]")


def _check_cycles(signs: Signs) -> None:
    """Requires that the ends of the phases of each cycle rise from above 0."""
    length = np.diff(signs.cycle_end, prepend=0)
    starts = signs.cycle_first[:-1][np.diff(signs.cycle_first) > 0]
    length[starts] = signs.cycle_end[starts]
    good = length.min(initial=1) > 0 and length.max(initial=0) < LONGEST_PHASE
    _require(good, "signs.cycle_end has a phase that ends before it starts, or is too long")
    good = signs.cycle_offset.min(initial=0) >= 0 and signs.cycle_offset.max(initial=0) < 2**60
    _require(good, "signs.cycle_offset is out of bounds")


def _check_grid(arrays: dict[str, NDArray[Any]]) -> None:
    """Compares the sizes of the grid with those of its arrays."""
    across, up, offset, layers = arrays["grid.shape"][0].tolist()
    _require(min(across, up, layers) >= 1 and offset == 0, "grid.shape has no blocks")
    _require(across * up * layers == len(arrays["grid.block"]), "grid.block is not of grid.shape")
    cells = len(arrays["grid.inside"])
    _require(cells % BLOCK == 0, f"grid.inside has {cells} cells, which are no blocks")
    seen = len(arrays["grid.near"])
    _require(4 * seen == cells, f"grid.near has {seen} cells for {cells} in grid.inside")
    layer = arrays["lanes.segment_layer"].max(initial=0)
    _require(layer < layers, f"lanes.segment_layer has {layer} of {layers} layers")
