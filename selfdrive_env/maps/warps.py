"""Maps moved, mirrored and bent: the same network on other ground.

Topology and elevation stay. A warp is a function of the place in the plane, so what touches before
touches afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["transformed", "varied"]

Points = NDArray[np.float64]

NUM_WAVES = 2
WAVELENGTHS = 30.0, 60.0
"""Of the waves that bend a map [m]."""

SLOPES = 0.1, 0.2
"""Of a street that a wave runs along, where it is steepest."""

SPACING = 2.0
"""Of the points of a lane before it is bent, at most [m]."""

MIRRORED_RULES = {"right_first": "left_first", "left_first": "right_first"}
"""`Junction.rule` -> that of the mirror image."""


class Warp(NamedTuple):
    """Where each place goes."""

    points: Callable[[Points], Points]
    """Of points [..., 2 or 3], new ones."""

    jacobian: Callable[[Points], NDArray[np.float64]]
    """Of one point [2 or 3], the matrix that turns directions there, [2, 2]."""

    mirrors: bool = False
    """Whether left and right swap: sides of lanes, their marks, the rules of junctions."""


def linear(matrix: NDArray[np.float64]) -> Warp:
    """Returns the warp that applies a matrix to every (x, y)."""

    def points(p: Points) -> Points:
        out = np.array(p, np.float64)
        out[..., :2] = out[..., :2] @ matrix.T
        return out

    return Warp(points, lambda point: matrix, bool(np.linalg.det(matrix) < 0.0))


def waves(random: np.random.Generator) -> Warp:
    """Returns a warp by transverse waves: a place moves across the way that a wave runs.

    Each wave is a shear, p + a sin(k p.u + phase) n with n normal to u, so areas stay.
    """
    angle = random.uniform(0.0, np.pi) + np.arange(NUM_WAVES) * np.pi / NUM_WAVES
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    number = 2.0 * np.pi / random.uniform(*WAVELENGTHS, NUM_WAVES)
    amplitude = random.uniform(*SLOPES, NUM_WAVES) / number
    phase = random.uniform(0.0, 2.0 * np.pi, NUM_WAVES)

    def phases(p: Points) -> Points:
        return np.asarray(p[..., :2] @ along.T * number + phase)

    def points(p: Points) -> Points:
        out = np.array(p, np.float64)
        out[..., :2] += (amplitude * np.sin(phases(out))) @ across
        return out

    def jacobian(point: Points) -> NDArray[np.float64]:
        slopes = amplitude * number * np.cos(phases(point))
        return np.asarray(np.eye(2) + np.einsum("w,wi,wj->ij", slopes, across, along))

    return Warp(points, jacobian)


def warped(network: Any, warp: Warp) -> Any:
    """Returns a `RoadNetwork` with every place warped."""
    flip = warp.mirrors

    def heading(angle: float, at: Points) -> float:
        x, y = warp.jacobian(at) @ np.array([np.cos(angle), np.sin(angle)])
        return float(np.arctan2(y, x))

    def sides(left: Points, right: Points) -> tuple[Points, Points]:
        left, right = warp.points(left), warp.points(right)
        return (right, left) if flip else (left, right)

    lanes, scales = [], []
    for lane in network.lanes:
        left, right = sides(lane.left, lane.right)
        new = replace(lane, centre=warp.points(lane.centre), left=left, right=right)
        new.successors, new.predecessors = list(lane.successors), list(lane.predecessors)
        if flip:
            new.left_neighbour, new.right_neighbour = lane.right_neighbour, lane.left_neighbour
            new.left_mark, new.right_mark = lane.right_mark, lane.left_mark
        lanes.append(new)
        scales.append((lane.arc_length, new.arc_length))

    stop_lines = []
    for line in network.stop_lines:
        left, right = sides(line.left, line.right)
        middle = 0.5 * (line.left + line.right)
        new_line = replace(line, left=left, right=right, heading=heading(line.heading, middle))
        new_line.guard_left, new_line.guard_right = sides(line.guard_left, line.guard_right)
        new_line.lanes = [(i, float(np.interp(s, *scales[i]))) for i, s in line.lanes]
        stop_lines.append(new_line)
    signals = [
        replace(s, position=warp.points(s.position), heading=heading(s.heading, s.position))
        for s in network.signals
    ]
    junctions = [
        replace(j, rule=MIRRORED_RULES.get(j.rule, j.rule) if flip else j.rule)
        for j in network.junctions
    ]
    before = sum(old[-1] for old, _ in scales)
    after = sum(new[-1] for _, new in scales)
    return replace(
        network,
        lanes=lanes,
        junctions=junctions,
        signals=signals,
        stop_lines=stop_lines,
        crosswalks=[replace(c, outline=warp.points(c.outline)) for c in network.crosswalks],
        left_hand=network.left_hand != flip,
        driving_lane_km=network.driving_lane_km * (after / before if before else 1.0),
    )


def densified(network: Any) -> Any:
    """Returns a `RoadNetwork` whose lanes have points every `SPACING` metres at least."""

    def more(lane: Any) -> Any:
        steps = np.diff(lane.arc_length)
        parts = np.maximum(np.ceil(steps / SPACING).astype(int), 1)
        places = [i + np.arange(n) / n for i, n in enumerate(parts.tolist())]
        place = np.append(np.concatenate(places), float(len(steps)))
        stations = np.arange(len(steps) + 1.0)

        def at_places(p: Points) -> Points:
            return np.stack([np.interp(place, stations, column) for column in p.T], 1)

        return replace(
            lane,
            **{name: at_places(getattr(lane, name)) for name in ("centre", "left", "right")},
        )

    return replace(network, lanes=[more(lane) for lane in network.lanes])


def transformed(network: Any, matrix: NDArray[np.float64]) -> Any:
    """Returns a `RoadNetwork` as `RoadNetwork.transformed` says."""
    matrix = np.asarray(matrix, np.float64)
    determinant = float(np.linalg.det(matrix))
    if matrix.shape != (2, 2) or not np.isfinite(determinant) or abs(determinant) < 1e-6:
        raise ValueError(f"matrix must be 2 x 2 and invertible, got {matrix.tolist()}")
    return warped(network, linear(matrix))


def varied(network: Any, seed: int) -> Any:
    """Returns a `RoadNetwork` as `RoadNetwork.varied` says."""
    if seed == 0:
        return network
    random = np.random.default_rng(seed)
    flip = -1.0 if random.random() < 0.5 else 1.0
    scale = random.uniform(0.9, 1.1, 2)
    shear = random.uniform(-0.1, 0.1)
    matrix = np.array([[scale[0], shear], [0.0, flip * scale[1]]])
    variant = transformed(network, matrix)
    if seed % 2 == 0:
        variant = warped(densified(variant), waves(random))
    return replace(variant, name=f"{network.name}#{seed}")
