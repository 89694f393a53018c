"""Sketches on a lattice: jittered, bent, with edges taken out and streets through its cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.layout.sketch import Edge, Sketch, bridges

__all__ = ["Lattice", "cut_corners", "lattice", "thin_out"]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Lattice:
    """Ranges of a lattice."""

    columns: tuple[int, int] = (3, 4)
    """Points along."""

    rows: tuple[int, int] = (3, 4)
    """Points across."""

    spacing: Range = (90.0, 130.0)
    """Between neighbouring points [m]."""

    jitter: float = 8.0
    """Of each point, along each axis [m]."""

    bend: Range = (0.0, 0.0)
    """By how much the far corner of the lattice is turned against the near one [rad]."""

    shear: Range = (-0.1, 0.1)
    """Along over across."""

    removed: Range = (0.1, 0.25)
    """Share of edges taken out."""

    arterials: tuple[int, int] = (1, 2)
    """Rows and columns of rank 2."""


def lattice(draws: Draws, ranges: Lattice) -> tuple[Sketch, int, int]:
    """Returns a sketch with all edges of a lattice, and its numbers of columns and rows.

    Point (column, row) has the number row * columns + column.

    Args:
        draws: Where chance comes from.
        ranges: Of the lattice.
    """
    columns, rows = draws.whole(ranges.columns), draws.whole(ranges.rows)
    across = [0.0]
    for _ in range(columns - 1):
        across.append(across[-1] + draws.within(ranges.spacing))
    along = [0.0]
    for _ in range(rows - 1):
        along.append(along[-1] + draws.within(ranges.spacing))
    shear, turn = draws.within(ranges.shear), draws.within((-math.pi, math.pi))
    bend = draws.within(ranges.bend) * (1.0 if draws.chance(0.5) else -1.0)
    sketch = Sketch()
    for y in along:
        for x in across:
            jx, jy = (draws.within((-ranges.jitter, ranges.jitter)) for _ in range(2))
            px, py = x + jx + shear * y, y + jy
            # Bent about a point far below: rows become arcs, columns spokes.
            place = (
                _bent((x, py), across[-1], bend) if abs(bend) > 0.05 else _turned((px, py), turn)
            )
            sketch.points.append(place)
    main = {("row", draws.whole((0, rows - 1)))}
    if draws.whole(ranges.arterials) > 1:
        main.add(("column", draws.whole((0, columns - 1))))
    for row in range(rows):
        for column in range(columns):
            here = row * columns + column
            if column + 1 < columns:
                rank = 2 if ("row", row) in main else 1
                sketch.edges.append(Edge(here, here + 1, rank=rank))
            if row + 1 < rows:
                rank = 2 if ("column", column) in main else 1
                sketch.edges.append(Edge(here, here + columns, rank=rank))
    return sketch, columns, rows


def _bent(place: tuple[float, float], width: float, bend: float) -> tuple[float, float]:
    """Returns where a place lies after the lattice is bent by an angle over its width."""
    sense = math.copysign(1.0, bend)
    angle = bend * (place[0] / width)
    radius = width / abs(bend) + math.copysign(place[1], bend)
    return radius * math.sin(angle) * sense, -sense * radius * math.cos(angle)


def _turned(place: tuple[float, float], turn: float) -> tuple[float, float]:
    """Returns a place turned about the origin."""
    x, y = place
    return x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)


def thin_out(draws: Draws, sketch: Sketch, share: float) -> None:
    """Takes edges out, so that any single further one might be closed without parting the rest.

    Args:
        draws: Where chance comes from.
        sketch: Changed in place.
        share: Of the edges.
    """
    wanted = int(share * len(sketch.alive()))
    for number in draws.shuffled(sketch.alive()):
        if wanted <= 0:
            return
        edge = sketch.edge(number)
        near = {k for point in (edge.start, edge.end) for k in sketch.at(point)}
        if any(sketch.edge(k).level for k in near):
            continue
        if edge.rank > 1 or min(len(sketch.at(edge.start)), len(sketch.at(edge.end))) < 3:
            continue
        if not bridges(sketch, [number]):
            sketch.edges[number] = None
            wanted -= 1


def cut_corners(draws: Draws, sketch: Sketch, columns: int, rows: int, share: float) -> None:
    """Takes corners of a lattice out, so that towns are not all rectangles.

    Args:
        draws: Where chance comes from.
        sketch: Changed in place.
        columns: Of the lattice.
        rows: Likewise.
        share: Of the corners.
    """
    for corner in (0, columns - 1, (rows - 1) * columns, rows * columns - 1):
        if draws.chance(share) and min(columns, rows) > 2:
            for number in sketch.at(corner):
                sketch.edges[number] = None
