"""Streets through the cells of a lattice: across, to the middle, diagonal, and dead ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.layout.sketch import (
    Edge,
    Sketch,
    distance_between,
    split,
)

__all__ = ["CELL_KINDS", "Sides", "add_crossing", "fill_cell"]

XY = tuple[float, float]

CELL_KINDS = ("none", "across", "tripod", "cross", "dead_end", "two_dead_ends", "diagonal")
"""What streets a cell of the lattice may have: one from side to side; one from each of three or
four sides to a junction in the middle; dead ends; one from corner to corner."""

NEAREST = 42.0
"""Between two junctions on a side, at least [m]."""

NEAREST_LOCAL = 30.0
"""The same of two side streets on opposite sides of it (staggered) [m]."""

STAGGER = 34.0
"""Between them, if they would else be closer [m]."""

SAME = 4.0
"""Nearer than this, side streets from both sides share a junction [m]."""

LEAST_ANGLE = math.radians(42.0)
"""Between two streets at a point."""

CROSSING_LEAD = (0.27, 0.06)
"""Where a street that crosses on another level bends, along its side and towards the far corner."""

LOOP_ROOM = 44.0
"""From the side street's start to the middle of the loop at its end, at least [m]."""


@dataclass(slots=True)
class Sides:
    """The sides of the cells of a lattice, as they are split."""

    sketch: Sketch
    points: dict[tuple[int, int], list[tuple[float, int]]] = field(default_factory=dict)
    """For (start, end) of an edge of the lattice: (share of its length, point) from end to end."""

    edges: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, sketch: Sketch) -> Sides:
        """Returns the sides of a sketch without corners."""
        sides = cls(sketch)
        for number in sketch.alive():
            edge = sketch.edge(number)
            key = (edge.start, edge.end)
            sides.points[key] = [(0.0, edge.start), (1.0, edge.end)]
            sides.edges[key] = [number]
        return sides

    def room(self, key: tuple[int, int], share: float) -> float | None:
        """Returns the share at which a street may start on a side, None where it may not."""
        if key not in self.points:
            return None
        length = distance_between(*(self.sketch.points[point] for point in key))
        inner = [other for other, _ in self.points[key][1:-1]]
        same = next((other for other in inner if abs(other - share) * length < SAME), None)
        if same is not None:
            return same
        # Beside a side street on the other side, one moves away from it, as far as it has to.
        for other in inner:
            if abs(other - share) * length < STAGGER:
                share = other + math.copysign(STAGGER / length, share - other)
        ends = min(share, 1.0 - share) * length
        gap = min((abs(other - share) * length for other in inner), default=math.inf)
        return share if ends >= NEAREST and gap >= NEAREST_LOCAL else None

    def point(self, key: tuple[int, int], share: float) -> int:
        """Returns the point on a side, which is split there unless there is one already."""
        points = self.points[key]
        for other, point in points:
            if abs(other - share) < 1e-9:
                return point
        place = next(k for k, (other, _) in enumerate(points) if other > share)
        (low, _), (high, _) = points[place - 1], points[place]
        new = split(self.sketch, self.edges[key][place - 1], (share - low) / (high - low))
        points.insert(place, (share, new))
        self.edges[key].insert(place, len(self.sketch.edges) - 1)
        return new


def fill_cell(
    draws: Draws,
    sides: Sides,
    corners: tuple[int, int, int, int],
    kinds: Mapping[str, float],
    loop: tuple[float, float],
) -> str:
    """Adds streets within a cell; returns their kind, "none" where the one drawn does not fit.

    Args:
        draws: Where chance comes from.
        sides: Of the lattice.
        corners: Of the cell: near left, near right, far left, far right.
        kinds: `CELL_KINDS` and their shares.
        loop: Range of the radius of loops at dead ends [m].
    """
    a, b, c, d = corners
    # Counter-clockwise, so that opposite sides are two apart.
    around = [(a, b), (b, d), (c, d), (a, c)]
    kind = draws.by_share(kinds)
    first = draws.whole((0, 3))
    shares = [draws.within((0.36, 0.64)) for _ in range(4)]
    order = [(first + k) % 4 for k in range(4)]
    sketch = sides.sketch
    if kind == "diagonal":
        return kind if _add_diagonal(sketch, (a, d) if first % 2 else (b, c)) else "none"
    wanted = {"across": (0, 2), "tripod": (0, 1, 2), "cross": (0, 1, 2, 3),
        "dead_end": (0,), "two_dead_ends": (0, 2)}.get(kind, ())  # fmt: skip
    places = []
    for k in wanted:
        side = around[order[k]]
        share = sides.room(side, shares[k])
        if share is None:
            return "none"
        places.append((side, share))
    if not places:
        return "none"
    starts = [_along(sketch, side, share) for side, share in places]
    middle = _middle([sketch.points[k] for k in corners])
    if (kind.endswith("s") and kind != "across") or kind == "dead_end":
        return _add_dead_ends(draws, sides, places, starts, middle, loop, kind)
    if kind == "across":
        points = [sides.point(*place) for place in places]
        sketch.edges.append(Edge(points[0], points[1]))
        return kind
    hub = _middle([*starts, middle])
    if min(distance_between(hub, start) for start in starts) < NEAREST:
        return "none"
    points = [sides.point(*place) for place in places]
    sketch.points.append(hub)
    sketch.edges += [Edge(point, len(sketch.points) - 1) for point in points]
    return kind


def _add_diagonal(sketch: Sketch, ends: tuple[int, int]) -> bool:
    """Adds a street from corner to corner unless the angles are too small; returns whether."""
    sketch.edges.append(Edge(*ends, rank=1))
    fits = min(map(sketch.narrowest_angle, ends)) >= LEAST_ANGLE
    if not fits:
        sketch.edges[-1] = None
    return fits


def add_crossing(
    draws: Draws, sketch: Sketch, columns: int, rows: int
) -> tuple[int, int, int, int] | None:
    """Lets two streets cross on two levels in a cell of a lattice; two of its sides go for it.

    Args:
        draws: Where chance comes from.
        sketch: The lattice, not yet split; changed in place.
        columns: Of the lattice.
        rows: Likewise.

    Returns:
        The corners of the cell, None where there is none with room for it.
    """
    cells = [(c, r) for r in range(rows - 1) for c in range(columns - 1)]
    over = 1 if draws.chance(0.5) else -1
    for column, row in draws.shuffled(cells):
        a = row * columns + column
        b, c, d = a + 1, a + columns, a + columns + 1
        pairs = (((a, b), (c, d)), ((a, c), (b, d)))
        long = distance_between(sketch.points[a], sketch.points[b])
        deep = distance_between(sketch.points[a], sketch.points[c])
        # Along the longer sides, so that they do not cross at too small an angle.
        for near, far in pairs if long > deep else pairs[::-1]:
            sides = [k for k in sketch.alive()
                if (sketch.edge(k).start, sketch.edge(k).end) in (near, far)]  # fmt: skip
            if len(sides) < 2 or max(sketch.edge(k).rank for k in sides) > 1:
                continue
            taken = [(k, sketch.edge(k)) for k in sides]
            for k in sides:
                sketch.edges[k] = None
            # From corner to corner: first along the side that goes, then across the cell.
            first = _across_cell(sketch, (near[0], near[1]), (far[1], far[0]), over)
            second = _across_cell(sketch, (near[1], near[0]), (far[0], far[1]), -over)
            sketch.edges += [first, second]
            corners = (a, b, c, d)
            if all(
                len(sketch.at(k)) > 2 and sketch.narrowest_angle(k) > LEAST_ANGLE for k in corners
            ):
                return corners
            del sketch.edges[-2:]
            for k, edge in taken:
                sketch.edges[k] = edge
    return None


def _across_cell(sketch: Sketch, near: tuple[int, int], far: tuple[int, int], level: int) -> Edge:
    """Returns a street from near[0] to far[0] that begins and ends along the sides."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (sketch.points[k] for k in (*near, *far))
    out, rise = CROSSING_LEAD
    via = [
        (x0 + out * (x1 - x0) + rise * (x2 - x0), y0 + out * (y1 - y0) + rise * (y2 - y0)),
        (x2 + out * (x3 - x2) + rise * (x0 - x2), y2 + out * (y3 - y2) + rise * (y0 - y2)),
    ]
    return Edge(near[0], far[0], via, 1, level=level)


def _add_dead_ends(
    draws: Draws,
    sides: Sides,
    places: list[tuple[tuple[int, int], float]],
    starts: list[XY],
    middle: XY,
    loop: tuple[float, float],
    kind: str,
) -> str:
    """Adds dead ends from sides towards the middle of a cell."""
    sketch = sides.sketch
    reach = 0.95 if len(places) == 1 else 0.62
    tips = [(x + reach * (middle[0] - x), y + reach * (middle[1] - y)) for x, y in starts]
    if min(map(distance_between, starts, tips)) < LOOP_ROOM:
        return "none"
    if len(tips) > 1 and distance_between(tips[0], tips[1]) < 4.0 * loop[1]:
        return "none"
    for place, tip in zip(places, tips, strict=True):
        point = sides.point(*place)
        sketch.points.append(tip)
        end = len(sketch.points) - 1
        sketch.edges.append(Edge(point, end))
        sketch.loops[end] = draws.within(loop)
    return kind


def _along(sketch: Sketch, side: tuple[int, int], share: float) -> XY:
    """Returns the place on a side."""
    (x0, y0), (x1, y1) = (sketch.points[point] for point in side)
    return (x0 + share * (x1 - x0), y0 + share * (y1 - y0))


def _middle(points: list[XY]) -> XY:
    """Returns the mean of some points."""
    return (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))
