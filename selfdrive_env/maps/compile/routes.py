"""Shortest ways over the lane graph to every goal lane: Dijkstra backwards from each goal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from selfdrive_env.compiler.cache import MAP_SOURCES, cached
from selfdrive_env.compiler.njit import host, njit
from selfdrive_env.state.arrays import F32, F64, I32
from selfdrive_env.state.road import (
    DENSE_ROUTE_LANES,
    LANE_CHANGE_COST,
    ROUTE_WINDOW,
    SEG_S,
    SEG_X,
    SEG_Y,
    UNREACHABLE,
    Lanes,
    Routes,
)

__all__ = ["compile_routes", "compiled", "is_spread", "lane_graph_distance", "route_points",
    "spread"]  # fmt: skip

MAX_STEPS = 1000
"""Lanes of the longest way that is followed."""

SPREAD_BYTES = 512 * 2**20
"""A map whose table of distances takes at most so much has all of it in memory."""


def compiled(function: Any) -> Any:
    """Compiles a function when first called, kept on disk if there is a folder to write to."""
    return cached(host(function), MAP_SOURCES)


def compile_routes(
    lanes: Lanes, *, dense_lanes: int = DENSE_ROUTE_LANES, window: float = ROUTE_WINDOW
) -> Routes:
    """Returns the distances between all lanes of one map.

    Args:
        lanes: The lanes of one map.
        dense_lanes: A map of at most this many lanes has rows with an entry for every lane.
        window: Reach of a row otherwise [m].
    """
    num = len(lanes.length)
    dense = num <= dense_lanes
    first, source, cost = _reversed_graph(lanes)
    length = lanes.length.astype(np.float64)
    return _rows(first, source, cost, length, lanes, math.inf if dense else window, dense)


def spread(routes: Routes, *, most_bytes: int = SPREAD_BYTES) -> Routes:
    """Returns the distances of one map with an entry for every lane, if they are not too many.

    What a windowed row leaves out is as unreachable as before; only finding an entry is faster.

    Args:
        routes: Of one map.
        most_bytes: A larger table stays as it is.
    """
    num = len(routes.cycle)
    count = np.diff(routes.first)
    if not is_spread(num, len(routes.distance), most_bytes):
        return routes
    distance = np.full((num, num), UNREACHABLE, np.float32)
    distance[np.repeat(np.arange(num), count), routes.lane] = routes.distance
    return Routes(
        first=np.arange(num + 1, dtype=np.int64) * num,
        lane=np.zeros(num * num, np.int32),
        distance=distance.reshape(-1),
        cycle=routes.cycle,
    )


def is_spread(num_lanes: int, num_entries: int, most_bytes: int = SPREAD_BYTES) -> bool:
    """Returns whether `spread` changes a table: it has windowed rows, and there is room for all.

    Args:
        num_lanes: Of the map.
        num_entries: Of the table.
        most_bytes: As for `spread`.
    """
    return num_entries != num_lanes**2 and 4 * num_lanes**2 <= most_bytes


def _reversed_graph(lanes: Lanes) -> tuple[I32, I32, F64]:
    """Returns for each lane the lanes one step before it (first, source) and the step's cost."""
    num = len(lanes.length)
    every = np.arange(num, dtype=np.int32)
    source = np.repeat(every, np.diff(lanes.successor_first))
    edges = [(source, lanes.successor, lanes.length[source].astype(np.float64))]
    for side in (lanes.left, lanes.right):
        beside = side >= 0
        edges.append((every[beside], side[beside], np.full(beside.sum(), LANE_CHANGE_COST)))
    source, target, cost = (np.concatenate(part) for part in zip(*edges, strict=True))
    order = np.argsort(target, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=num))])
    return first.astype(np.int32), source[order].astype(np.int32), cost[order]


def _rows(
    first: I32,
    source: I32,
    cost: F64,
    length: F64,
    lanes: Lanes,
    window: float,
    dense: bool,
) -> Routes:
    """Returns the rows of all goals, one after the other."""
    num = len(length)
    best = np.full(num, np.inf)
    heap_key, heap_lane = np.empty(len(source) + 1), np.empty(len(source) + 1, np.int32)
    reached = np.empty(num, np.int32)
    row_lanes, row_distances = [], []
    cycle = np.empty(num, np.float32)
    sides = (lanes.successor_first, lanes.successor, lanes.left, lanes.right)
    every = np.arange(num, dtype=np.int32)
    for goal in range(num):
        count = _search(goal, first, source, cost, window, best, heap_key, heap_lane, reached)
        cycle[goal] = _cycle(goal, best, length, *sides)
        row = every if dense else np.sort(reached[:count])
        row_lanes.append(row)
        row_distances.append(np.minimum(best[row], UNREACHABLE).astype(np.float32))
        best[reached[:count]] = np.inf
    row_first = np.cumsum([0] + [len(row) for row in row_lanes], dtype=np.int64)
    return Routes(row_first, np.concatenate(row_lanes), np.concatenate(row_distances), cycle)


@compiled
def _search(
    goal: int,
    first: I32,
    source: I32,
    cost: F64,
    window: float,
    best: F64,
    heap_key: F64,
    heap_lane: I32,
    reached: I32,
) -> int:
    """Fills `best` with distances to `goal` and `reached` with the lanes; returns their number.

    `best` is infinite on entry. A binary heap with stale entries: each edge pushes at most once.
    """
    best[goal] = 0.0
    reached[0] = goal
    count = 1
    heap_key[0], heap_lane[0] = 0.0, goal
    size = 1
    while size > 0:
        key, lane = heap_key[0], heap_lane[0]
        size -= 1
        _sift_down(heap_key, heap_lane, size, heap_key[size], heap_lane[size])
        if key > best[lane]:
            continue
        for e in range(first[lane], first[lane + 1]):
            before = source[e]
            d = key + cost[e]
            if d >= best[before] or d > window:
                continue
            if best[before] == np.inf:
                reached[count] = before
                count += 1
            best[before] = d
            _sift_up(heap_key, heap_lane, size, d, before)
            size += 1
    return count


@njit
def _sift_up(heap_key: F64, heap_lane: I32, place: int, key: float, lane: int) -> None:
    """Puts (key, lane) at the end of the heap and restores the order."""
    while place > 0:
        parent = (place - 1) >> 1
        if heap_key[parent] <= key:
            break
        heap_key[place], heap_lane[place] = heap_key[parent], heap_lane[parent]
        place = parent
    heap_key[place], heap_lane[place] = key, lane


@njit
def _sift_down(heap_key: F64, heap_lane: I32, size: int, key: float, lane: int) -> None:
    """Puts (key, lane) at the root of a heap of `size` and restores the order."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap_key[child + 1] < heap_key[child]:
            child += 1
        if key <= heap_key[child]:
            break
        heap_key[place], heap_lane[place] = heap_key[child], heap_lane[child]
        place = child
    heap_key[place], heap_lane[place] = key, lane


@compiled
def _cycle(
    goal: int,
    best: F64,
    length: F64,
    successor_first: I32,
    successor: I32,
    left: I32,
    right: I32,
) -> float:
    """Returns the shortest way from the start of `goal` back to it, by one successor at least.

    Changing lanes there and back is no cycle: it ends where it began.
    """
    shortest = UNREACHABLE
    for side in range(2):
        lane, changes = goal, 0
        # A ring of neighbours would be a flaw of the map; eight lanes aside is far enough.
        while lane >= 0 and changes < 8:
            for e in range(successor_first[lane], successor_first[lane + 1]):
                d = changes * LANE_CHANGE_COST + length[lane] + best[successor[e]]
                shortest = min(shortest, d)
            lane = left[lane] if side == 0 else right[lane]
            changes += 1
    return shortest


def lane_graph_distance(
    lanes: Lanes, routes: Routes, start: tuple[int, float], goal: tuple[int, float]
) -> float:
    """Returns the shortest way from one place to another over the lane graph [m].

    Args:
        lanes: Lanes of the pool.
        routes: Distances to every goal lane.
        start: Lane and arc length on it [m].
        goal: Likewise.
    """
    lane, s = start
    goal_lane, goal_s = goal
    first, last = routes.first[goal_lane : goal_lane + 2].tolist()
    place = int(np.searchsorted(lanes.map_lane_first, goal_lane, "right")) - 1
    low, high = lanes.map_lane_first[place : place + 2].tolist()
    entry = first + lane - low
    if last - first != high - low:
        entry = first + int(np.searchsorted(routes.lane[first:last], lane))
        if entry == last or routes.lane[entry] != lane:
            return UNREACHABLE
    distance = float(routes.distance[entry]) + goal_s - s
    return distance if distance >= 0.0 else distance + float(routes.cycle[goal_lane])


def route_points(lanes: Lanes, routes: Routes, segment: int, goal_lane: int, goal_s: float) -> F32:
    """Returns the centre lines along the shortest way to a goal over the lane graph.

    Args:
        lanes: Lanes of the pool.
        routes: Distances to every goal lane.
        segment: Lane segment where the way starts.
        goal_lane: Lane of the goal.
        goal_s: Arc length of the goal on it [m].

    Returns:
        x, y of the segments on the way, [N, 2] [m]; just the start where there is no way.
    """
    lane = int(lanes.segment_lane[segment])
    s = float(lanes.segment[segment, SEG_S])
    pieces = [lanes.segment[segment : segment + 1]]
    for _ in range(MAX_STEPS):
        rows = lanes.segment[lanes.segment_first[lane] : lanes.segment_first[lane + 1]]
        rows = rows[rows[:, SEG_S] >= s - 0.01]
        if lane == goal_lane and s <= goal_s:
            pieces.append(rows[rows[:, SEG_S] <= goal_s])
            break
        length = float(lanes.length[lane])
        links = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        sides = [n for n in (int(lanes.left[lane]), int(lanes.right[lane])) if n >= 0]
        goal = goal_lane, goal_s
        costs = {
            n: length - s + lane_graph_distance(lanes, routes, (n, 0.0), goal)
            for n in links.tolist()
        }
        costs |= {
            n: LANE_CHANGE_COST + lane_graph_distance(lanes, routes, (n, s), goal) for n in sides
        }
        best = min(costs, key=lambda n: costs[n], default=-1)
        if best < 0 or costs[best] >= UNREACHABLE:
            del pieces[1:]
            break
        if best in sides:
            ahead = min(s + 10.0, length, goal_s if best == goal_lane and goal_s >= s else length)
            pieces.append(rows[rows[:, SEG_S] < min(s + 2.0, ahead)])
            s = ahead
        else:
            pieces.append(rows)
            s = 0.0
        lane = best
    return np.ascontiguousarray(np.concatenate(pieces)[:, [SEG_X, SEG_Y]])
