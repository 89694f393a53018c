"""Stop lines and traffic light programs of one map: the arrays of `Signs`, and the guard lists."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from selfdrive_env.maps.compile.grid import OBSERVATION_CELL, Cells, Frame
from selfdrive_env.maps.compile.segments import Strips
from selfdrive_env.maps.compile.signs.right_of_way import compile_foes
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.arrays import F64, I32
from selfdrive_env.state.road import BLOCK_CELLS, LINE_COLUMNS, LINE_X0, LINE_Y1, Lanes, Signs

__all__ = ["compile_signs", "guard_lists"]

NANOSECONDS = 1.0e9
"""[ns/s]"""

GUARD_REACH = 12.0
"""How far from an observation cell a stop line is still listed in it [m]."""


def compile_signs(network: RoadNetwork, strips: Strips, lanes: Lanes) -> Signs:
    """Returns stop lines and programs of one map, groups numbered as in the network.

    A traffic light without a group gets one of its own, after those of the network.
    """
    line = np.zeros((len(network.stop_lines), LINE_COLUMNS), np.float32)
    places = []
    for i, stop in enumerate(network.stop_lines):
        middle = 0.5 * (stop.left + stop.right)
        line[i] = (
            *middle[:2],
            math.cos(stop.heading),
            math.sin(stop.heading),
            *stop.guard_left[:2],
            *stop.guard_right[:2],
            middle[2],
        )
        for network_lane, s in stop.lanes:
            lane = int(strips.compiled_lane[network_lane])
            if lane >= 0:
                length = float(lanes.length[lane])
                # Chords are a little shorter than the arc that `s` counts along.
                scale = length / network.lanes[network_lane].length
                places.append((lane, min(max(s * scale, 0.0), length), i))
    places.sort()
    line_group, num_groups = _line_groups(network)
    program_first, program_group = _programs(network, num_groups)
    count = np.bincount([p[0] for p in places], minlength=len(lanes.length)) if places else 0
    count = np.broadcast_to(count, len(lanes.length))
    per_group = np.bincount(line_group[line_group >= 0], minlength=num_groups)
    return Signs(
        line=line,
        line_group=line_group,
        group_line_first=np.concatenate([[0], np.cumsum(per_group)]).astype(np.int32),
        group_line=np.argsort(line_group, kind="stable")[np.sum(line_group < 0) :].astype(np.int32),
        lane_line_first=np.concatenate([[0], np.cumsum(count)]).astype(np.int32),
        lane_line=np.array([p[2] for p in places], np.int32),
        lane_line_s=np.array([p[1] for p in places], np.float32),
        program_first=program_first,
        program_group=program_group,
        **_cycles(network, num_groups),
        **compile_foes(network, lanes, strips.network_lane),
        map_program_first=np.array([0, len(program_first) - 1], np.int32),
        map_group_first=np.array([0, num_groups], np.int32),
        map_line_first=np.array([0, len(line)], np.int32),
    )


def guard_lists(signs: Signs, cells: Cells, frame: Frame) -> tuple[I32, I32]:
    """Returns `Grid.guard_first` and `Grid.guard`: the stop lines near each observation cell."""
    half = BLOCK_CELLS // 2
    table = cells.block.reshape(-1, frame.blocks_y, frame.blocks_x)
    found = []
    for number, row in enumerate(signs.line.astype(np.float64)):
        ends = row[LINE_X0 : LINE_Y1 + 1].reshape(2, 2)
        low = np.floor((ends.min(axis=0) - GUARD_REACH - frame.origin) / OBSERVATION_CELL).astype(
            int
        )
        high = np.floor((ends.max(axis=0) + GUARD_REACH - frame.origin) / OBSERVATION_CELL).astype(
            int
        )
        low = np.maximum(low, 0)
        high = np.minimum(high, np.array([frame.blocks_x, frame.blocks_y]) * half - 1)
        column, line_row = (g.ravel() for g in np.meshgrid(*map(np.arange, low, high + 1)))
        centre = frame.origin + OBSERVATION_CELL * (np.stack([column, line_row], axis=1) + 0.5)
        near = _square_distance(centre, 0.5 * OBSERVATION_CELL, ends) <= GUARD_REACH
        column, line_row = column[near], line_row[near]
        inner = (line_row % half) * half + column % half
        for layer in np.unique(table[:, line_row // half, column // half], axis=0):
            cell = layer * half * half + inner
            found += [(int(c), number) for c in cell[layer >= 0]]
    pairs = np.array(sorted(set(found)), np.int64).reshape(-1, 2)
    count = np.bincount(pairs[:, 0], minlength=len(cells.near))
    first = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    return first, pairs[:, 1].astype(np.int32)


def _line_groups(network: RoadNetwork) -> tuple[I32, int]:
    """Returns the group of each stop line and the number of groups."""
    num = len(network.signal_groups)
    own: dict[int, int] = {}
    out = np.full(len(network.stop_lines), -1, np.int32)
    for i, stop in enumerate(network.stop_lines):
        if stop.kind == "stop_sign":
            continue
        group = network.signals[stop.signal].group if stop.signal >= 0 else -1
        if group < 0:
            group = own.setdefault(stop.signal if stop.signal >= 0 else -1 - i, num + len(own))
        out[i] = group
    return out, num + len(own)


def _programs(network: RoadNetwork, num_groups: int) -> tuple[I32, I32]:
    """Returns first and group of the programs: one a junction, one for each group left over."""
    programs: list[list[int]] = []
    used: set[int] = set()
    for junction in network.junctions:
        groups = [g for g in dict.fromkeys(junction.signal_groups) if g not in used]
        used.update(groups)
        if groups:
            programs.append(groups)
    programs += [[g] for g in range(num_groups) if g not in used]
    first = np.concatenate([[0], np.cumsum([len(p) for p in programs])]).astype(np.int32)
    return first, np.array([g for p in programs for g in p], np.int32)


def _cycles(network: RoadNetwork, num_groups: int) -> dict[str, Any]:
    """Returns the fields of `Signs` for the cycles that the network states, in whole nanoseconds.

    A group that stands for a light without one has none.
    """
    cycles = [group.cycle for group in network.signal_groups]
    cycles += [[]] * (num_groups - len(cycles))
    ends = [np.cumsum([seconds for _, seconds in cycle]) for cycle in cycles if cycle]
    offset = np.zeros(num_groups, np.int64)
    for number, group in enumerate(network.signal_groups):
        if group.cycle:
            length = sum(seconds for _, seconds in group.cycle)
            offset[number] = round(group.offset % length * NANOSECONDS)
    return {
        "cycle_first": np.cumsum([0, *map(len, cycles)]).astype(np.int32),
        "cycle_colour": np.array([colour for c in cycles for colour, _ in c], np.uint8),
        "cycle_end": np.rint(np.concatenate([[], *ends]) * NANOSECONDS).astype(np.int64),
        "cycle_offset": offset,
    }


def _square_distance(centre: F64, half: float, ends: F64) -> F64:
    """Returns the distance between squares and a line between two points.

    Args:
        centre: Middles of the squares, [N, 2] [m].
        half: Half the edge of a square [m].
        ends: Ends of the line, [2, 2] [m].
    """
    a, b = ends[0] - centre, ends[1] - centre
    outside = [np.hypot(*np.maximum(np.abs(p) - half, 0.0).T) for p in (a, b)]
    step = b - a
    square = np.maximum((step * step).sum(axis=1), 1e-12)
    best = np.minimum(*outside)
    normal = step[:, ::-1] * [-1.0, 1.0]
    sides = []
    for corner in half * np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]):
        t = np.clip(((corner - a) * step).sum(axis=1) / square, 0.0, 1.0)
        best = np.minimum(best, np.hypot(*(a + t[:, None] * step - corner).T))
        sides.append(((corner - a) * normal).sum(axis=1))
    # The line runs through the square: corners on both sides and overlapping bounding boxes.
    through = (np.min(sides, axis=0) <= 0.0) & (np.max(sides, axis=0) >= 0.0)
    through &= (np.minimum(a, b) <= half).all(axis=1) & (np.maximum(a, b) >= -half).all(axis=1)
    return np.where(through, 0.0, best)
