"""Sketches of street networks: a graph of points and edges in the plane, before it has lanes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Edge", "Sketch", "bridges", "contract", "distance_between", "prune", "split"]

XY = tuple[float, float]


@dataclass(slots=True)
class Edge:
    """A street to be, between two points."""

    start: int
    end: int
    via: list[XY] = field(default_factory=list)
    """Corners on the way [m]."""

    rank: int = 0
    """0 local, 1 collector, 2 arterial."""

    one_way: bool = False
    """From start to end only."""

    level: int = 0
    """1 passes over, -1 below another street on its way."""


@dataclass(slots=True)
class Sketch:
    """Points and edges; an edge that was taken out is None."""

    points: list[XY] = field(default_factory=list)
    edges: list[Edge | None] = field(default_factory=list)
    loops: dict[int, float] = field(default_factory=dict)
    """Points where a dead end turns: radius of the loop [m]."""

    def alive(self) -> list[int]:
        """Returns the numbers of the edges that are there."""
        return [k for k, edge in enumerate(self.edges) if edge is not None]

    def edge(self, number: int) -> Edge:
        """Returns an edge that is there."""
        edge = self.edges[number]
        assert edge is not None
        return edge

    def is_dead_end(self, edge: Edge) -> bool:
        """Whether an edge leads to a loop."""
        return edge.start in self.loops or edge.end in self.loops

    def at(self, point: int) -> list[int]:
        """Returns the edges at a point."""
        return [
            k
            for k, edge in enumerate(self.edges)
            if edge is not None and point in (edge.start, edge.end)
        ]

    def path(self, number: int) -> list[XY]:
        """Returns the corners of an edge, its ends included."""
        edge = self.edge(number)
        return [self.points[edge.start], *edge.via, self.points[edge.end]]

    def heading(self, number: int, point: int) -> float:
        """Returns the direction in which an edge leaves a point [rad]."""
        path = self.path(number)
        if self.edge(number).start != point:
            path = path[::-1]
        (x0, y0), (x1, y1) = path[:2]
        return math.atan2(y1 - y0, x1 - x0)

    def narrowest_angle(self, point: int) -> float:
        """Returns the smallest angle between two edges at a point [rad]."""
        headings = sorted(self.heading(k, point) for k in self.at(point))
        if len(headings) < 2:
            return 2.0 * math.pi
        gaps = [b - a for a, b in itertools.pairwise(headings)]
        return min([*gaps, headings[0] + 2.0 * math.pi - headings[-1]])


def distance_between(a: XY, b: XY) -> float:
    """Returns the distance between two points [m]."""
    return math.hypot(b[0] - a[0], b[1] - a[1])


def bridges(sketch: Sketch, without: Iterable[int] = ()) -> set[int]:
    """Returns the edges that are the only link between two parts, after some are taken out.

    An edge to a point that is then not reached at all counts, too.

    Args:
        sketch: The graph.
        without: Numbers of the edges taken out.
    """
    out = set(without)
    beside: dict[int, list[tuple[int, int]]] = {}
    for number in sketch.alive():
        edge = sketch.edge(number)
        beside.setdefault(edge.start, [])
        beside.setdefault(edge.end, [])
        if number not in out:
            beside[edge.start].append((edge.end, number))
            beside[edge.end].append((edge.start, number))
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    found: set[int] = set()
    root = next(iter(beside))
    stack: list[tuple[int, int, int]] = [(root, -1, 0)]
    order[root] = low[root] = 0
    while stack:
        point, came, place = stack.pop()
        if place < len(beside[point]):
            stack.append((point, came, place + 1))
            other, number = beside[point][place]
            if number == came:
                continue
            if other in order:
                low[point] = min(low[point], order[other])
            else:
                order[other] = low[other] = len(order)
                stack.append((other, number, 0))
        elif stack:
            before = stack[-1][0]
            low[before] = min(low[before], low[point])
            if low[point] > order[before]:
                found.add(came)
    if len(order) < len(beside):
        found |= {k for k in sketch.alive() if sketch.edge(k).start not in order}
        found.add(-1)
    return found


def split(sketch: Sketch, number: int, share: float) -> int:
    """Puts a new point on a straight edge and returns it.

    Args:
        sketch: Changed in place; the edge ends at the point, a new one goes on.
        number: Of the edge, which has no corners.
        share: Of its length before the point.
    """
    edge = sketch.edge(number)
    (x0, y0), (x1, y1) = sketch.path(number)
    sketch.points.append((x0 + share * (x1 - x0), y0 + share * (y1 - y0)))
    point = len(sketch.points) - 1
    sketch.edges.append(Edge(point, edge.end, [], edge.rank, edge.one_way))
    edge.end = point
    return point


def prune(sketch: Sketch) -> None:
    """Takes out dead ends that have no loop, until none is left."""
    while True:
        for point in range(len(sketch.points)):
            here = sketch.at(point)
            if len(here) == 1 and point not in sketch.loops:
                sketch.edges[here[0]] = None
                break
        else:
            return


def contract(sketch: Sketch) -> None:
    """Makes one edge of two where only they meet; the point becomes a corner."""
    for point in range(len(sketch.points)):
        here = sketch.at(point)
        if len(here) != 2 or point in sketch.loops:
            continue
        first, second = (sketch.edge(k) for k in here)
        ends = {first.start, first.end, second.start, second.end} - {point}
        if len(ends) < 2 or first.one_way != second.one_way:
            continue
        before = list(first.via) if first.end == point else first.via[::-1]
        after = list(second.via) if second.start == point else second.via[::-1]
        start = first.start if first.end == point else first.end
        end = second.end if second.start == point else second.start
        first.via = [*before, sketch.points[point], *after]
        first.start, first.end = start, end
        first.rank = max(first.rank, second.rank)
        first.level = first.level or second.level
        sketch.edges[here[1]] = None
