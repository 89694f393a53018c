"""Describes where the lanes of a strip lie: a reference line, offsets from it and heights.

The line follows the edge between the two directions of traffic. What it misses of that edge, and
ends that are not cut squarely, are taken up by the offsets, which are measured from the line as a
reader will have it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.differences import offset
from selfdrive_env.maps.opendrive.geometry import ReferenceLine
from selfdrive_env.maps.opendrive.parse.user_data import MAX_CUT
from selfdrive_env.maps.opendrive.write.curves import (
    Guide,
    Piece,
    centre_guide,
    find_guide,
    fit_line,
    project,
    reference_line,
)
from selfdrive_env.maps.opendrive.write.strips import MAX_REACH, Strip
from selfdrive_env.maps.road_network import Lane

__all__ = ["SQUARE_END", "Shape", "centre_shape", "find_shape", "sides"]

Floats = NDArray[np.float64]

BULGE = 0.0085
"""Chords from which the line is further away are measured between their ends, too [m]."""

FINE = 0.002
"""The same where the lanes were not sampled at right angles to the line [m]."""

JOGGED = 0.6
"""An edge with a corner by more than this is no guide where a centre is smooth [rad]."""

ALSO = 0.75
"""Share of that from which a chord is measured, too, where another one has to be."""

CHECKED = (0.2, 0.5, 0.8)
"""At these shares of a chord its distance from the line is looked at."""

PART = 0.5
"""Length of the parts in which such a chord is measured [m]."""

MIN_PARTS, MAX_PARTS = 5, 200

SAME = 1e-5
"""Stations that are nearer to each other count as one [m]."""

SHORT = 0.3
"""The edge between the directions is no guide where it is this much shorter than another one."""

SHORT_BESIDE = 0.8
"""The same of lanes that nobody drives on."""

STRAY = 0.02
"""Where nobody drives, lines that miss edges by more are led along the inside of the bend [m]."""

SQUARE_END = 0.002
"""Lanes that end this near to the ends of their line are cut squarely [m]."""

MAX_CUT_OFF = 0.9
"""Share of its length that a lane may lose at ends that are cut obliquely."""

LOOKED_AT = 1.0
"""Spacing at which centres are compared with what readers have [m]."""

GAP = 1e-3
"""Ends of a line this near to those of the edge are the same [m]."""


@dataclass(slots=True)
class Shape:
    """Where the lanes of a strip lie."""

    pieces: list[Piece]
    """Of the reference line."""

    length: float
    """[m]"""

    stations: Floats
    """Ascending from 0 to the length, [S] [m]."""

    offsets: Floats
    """Of the edges from left to right from the line, positive left, [B + 1, S] [m]."""

    centres: Floats
    """How far left of the middles between the edges the centres of the lanes lie, [B, S] [m]."""

    heights: Floats
    """[S] [m]"""

    centred: bool
    """Whether the line is the edge between the directions, so that roads can be continued."""

    missed: float
    """How far from where they lie readers have the centres of driving lanes, at most [m]."""

    ends: Floats | None = None
    """How much further than the line left edge, right edge and centre of each lane begin and end,
    [B, 3, 2] [m]."""


def sides(lanes: list[Lane], strip: Strip, place: int) -> tuple[Floats, Floats]:
    """Returns the left and right edge of a lane as seen along the reference line, [P, 3] each."""
    lane = lanes[strip.lanes[place]]
    if strip.forward[place]:
        return lane.left, lane.right
    return lane.right[::-1], lane.left[::-1]


def find_shape(
    lanes: list[Lane],
    strip: Strip,
    origin: Floats,
    *,
    inside: bool = False,
) -> Shape | None:
    """Returns where the lanes of a strip lie, None where they have no length.

    Args:
        lanes: Of the network.
        strip: The lanes.
        origin: Added to all coordinates, [3] [m].
        inside: Whether it follows the shortest edge, from which no other one is hidden in a bend.
    """
    edges, centres = _edges(lanes, strip)
    edges, centres = edges + origin, centres + origin
    driven = [k for k, lane in enumerate(strip.lanes) if lanes[lane].drivable]
    base = _base(edges, strip.left, SHORT if driven else SHORT_BESIDE, inside=inside)
    width = float(np.hypot(*(edges[0, :, :2] - edges[-1, :, :2]).T).max())
    guide = _guide(edges, base, centres[driven] if not strip.road else centres[:0])
    # Readers sample what nobody drives on coarsely, but where a piece begins.
    pieces = fit_line(guide, width, merged=bool(driven))
    if not pieces:
        return None
    line = reference_line(pieces)
    tips = _tips(lanes, strip)[driven] + origin[:2]
    whole = strip.road or not driven or len(strip.lanes) == 1
    along, before = (line, 0.0) if whole else _extended(pieces, tips)
    edges, centres, s, t = _measured(edges, centres, along, base, BULGE if guide.square else FINE)
    if not (driven or inside) and _stray(edges, line, s, t).max() > STRAY:
        return find_shape(lanes, strip, origin, inside=True)
    own, aside = _placed(centres, along, 0.5 * (s[:-1] + s[1:]))
    s, own = s - before, own - before
    stations = _stations(line, s)
    offsets = np.stack([np.interp(stations, *row) for row in zip(s, t, strict=True)])
    offsets = np.minimum.accumulate(offsets, axis=0)
    middles = np.stack([np.interp(stations, *row) for row in zip(own, aside, strict=True)])
    chosen = driven or list(range(len(strip.lanes)))
    heights = edges[[*chosen, *(k + 1 for k in chosen)], :, 2].mean(axis=0)
    heights = np.interp(stations, s[base], heights)
    shape = Shape(pieces, line.length, stations, offsets, middles, heights, False, 0.0)
    shape.centred = base == strip.left and bool(np.abs(t[base, [0, -1]]).max() < GAP)
    if along is not line:
        cuts = _cuts(along, tips) - np.array([before, before - along.length + line.length])
        shape.ends = np.zeros((len(strip.lanes), 3, 2))
        shape.ends[driven] = cuts
    shape.missed = max((_missed(line, centres[k], own[k], shape, k) for k in driven), default=0.0)
    shape.centres = middles - 0.5 * (offsets[:-1] + offsets[1:])
    return shape


def _measured(
    edges: Floats, centres: Floats, line: ReferenceLine, base: int, bulge: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns edges and centres with points enough, and stations and offsets of the edges'.

    Args:
        edges: From left to right, [B + 1, P, 3] [m].
        centres: [B, P, 3] [m].
        line: The reference line.
        base: The edge that it follows.
        bulge: How far the line may be from the chords between points [m].
    """
    s, t = _placed(edges, line, np.tile(_shares(edges[base]) * line.length, (len(edges), 1)))
    counts = _bulging(edges, line, s, t, bulge, sorted({0, base, len(edges) - 1}))
    if counts.max() > 1:
        edges, centres = _divided(edges, counts), _divided(centres, counts)
        s, t = _placed(edges, line, _divided(s[..., None], counts)[..., 0])
    return edges, centres, s, t


def _tips(lanes: list[Lane], strip: Strip) -> Floats:
    """Returns where left edge, right edge and centre of each lane begin and end, [B, 3, 2, 2]."""
    tips = []
    for k, lane in enumerate(strip.lanes):
        centre = lanes[lane].centre[:: 1 if strip.forward[k] else -1]
        tips.append([line[[0, -1], :2] for line in (*sides(lanes, strip, k), centre)])
    return np.array(tips)


def _beyond(line: ReferenceLine, tips: Floats) -> Floats:
    """Returns how far ahead of the start and end of a line starts and ends lie, [..., 2] [m]."""
    x, y, heading, _ = line.evaluate(np.array([0.0, line.length]))
    beyond: Floats = (tips[..., 0] - x) * np.cos(heading) + (tips[..., 1] - y) * np.sin(heading)
    return beyond


def _extended(pieces: list[Piece], tips: Floats) -> tuple[ReferenceLine, float]:
    """Returns a line that goes on straight as far as lanes reach that end just beyond its ends.

    Args:
        pieces: Of the line.
        tips: Where the lanes begin and end, [..., 2, 2] [m].

    Returns:
        The line, and how much earlier it begins [m].
    """
    line = reference_line(pieces)
    beyond = _beyond(line, tips)
    x, y, heading, _ = line.evaluate(np.array([0.0, line.length]))
    before = max(-float(beyond[..., 0].min()), 0.0)
    after = max(float(beyond[..., 1].max()), 0.0)
    before, after = (by if by <= MAX_REACH else 0.0 for by in (before, after))
    longer = list(pieces)
    if before > SAME:
        at = x[0] - before * np.cos(heading[0]), y[0] - before * np.sin(heading[0])
        longer.insert(0, Piece(float(at[0]), float(at[1]), float(heading[0]), before))
    if after > SAME:
        longer.append(Piece(float(x[1]), float(y[1]), float(heading[1]), after))
    return reference_line(longer), before if before > SAME else 0.0


def _cuts(line: ReferenceLine, tips: Floats) -> Floats:
    """Returns how much further than a line lanes begin and end, [D, 3, 2] [m].

    Args:
        line: The reference line, which reaches as far as any of them.
        tips: Where they begin and end, [D, 3, 2, 2] [m].
    """
    ends = np.array([0.0, line.length])
    guess = _beyond(line, tips) + ends
    s, _ = project(line, tips.reshape(-1, 2), guess.ravel())
    cuts: Floats = s.reshape(guess.shape) - ends
    return cuts


def centre_shape(lanes: list[Lane], strip: Strip, origin: Floats) -> Shape | None:
    """Returns where a single lane lies along its own centre, None where that has no length.

    However its edges jog and its ends are cut, the centre stays where it is.

    Args:
        lanes: Of the network.
        strip: Of that lane.
        origin: Added to all coordinates, [3] [m].
    """
    edges, centres = _edges(lanes, strip)
    edges, centre = edges + origin, centres[0] + origin
    width = float(np.hypot(*(edges[0] - edges[1])[:, :2].T).max())
    pieces = fit_line(centre_guide(centre[:, :2]), width)
    if not pieces:
        return None
    line = reference_line(pieces)
    own, aside = (v[0] for v in _placed(centre[None], line, _shares(centre)[None] * line.length))
    s, t = _placed(edges, line, np.stack([own, own]))
    counts = _bulging(edges, line, s, t, BULGE, [0, 1])
    if counts.max() > 1:
        edges, centre = _divided(edges, counts), _divided(centre[None], counts)[0]
        guess = _divided(own[None, :, None], counts)[..., 0]
        own, aside = (v[0] for v in _placed(centre[None], line, guess))
        s, t = _placed(edges, line, np.stack([own, own]))
    # What lies beyond the ends, or further inside a bend than its centre, is beside its own point.
    x, y, heading, _ = line.evaluate(own)
    beside = (edges[..., 1] - y) * np.cos(heading) - (edges[..., 0] - x) * np.sin(heading)
    lost = _stray(edges, line, s, t) > STRAY
    s, t = np.maximum.accumulate(np.where(lost, own, s), axis=1), np.where(lost, beside, t)
    # Where a centre turns back for a step, its left edge stays on the left.
    t = aside + np.abs(t - aside) * np.array([[1.0], [-1.0]])
    stations = _stations(line, np.append(s, own))
    offsets = np.stack([np.interp(stations, *row) for row in zip(s, t, strict=True)])
    offsets = np.minimum.accumulate(offsets, axis=0)
    middle = np.interp(stations, own, aside)
    heights = np.interp(stations, own, centre[:, 2])
    shape = Shape(pieces, line.length, stations, offsets, middle[None], heights, False, 0.0)
    shape.missed = _missed(line, centre, own, shape, 0)
    shape.centres = (middle - 0.5 * (offsets[0] + offsets[1]))[None]
    shape.ends = _oblique(edges, line, s)
    return shape


def _oblique(edges: Floats, line: ReferenceLine, s: Floats) -> Floats | None:
    """Returns how much further than a line two edges begin and end, None where they do not.

    Args:
        edges: [2, P, 3] [m].
        line: Along the centre between them.
        s: Stations of their points, [2, P] [m].
    """
    beyond = _beyond(line, edges[:, [0, -1], :2])
    beyond[:, 0] = np.where(beyond[:, 0] < 0.0, beyond[:, 0], s[:, 0])
    beyond[:, 1] = np.where(beyond[:, 1] > 0.0, beyond[:, 1], s[:, -1] - line.length)
    short = (beyond[:, 0] - beyond[:, 1]).max() > MAX_CUT_OFF * line.length
    if short or np.abs(beyond).max() > MAX_CUT or np.abs(beyond).max() < SQUARE_END:
        return None
    return np.concatenate([beyond, np.zeros((1, 2))])[None]


def _stations(line: ReferenceLine, s: Floats) -> Floats:
    """Returns stations of both ends of a line and of points along it, ascending [m]."""
    inside = np.clip(s.ravel(), 0.0, line.length)
    stations = np.unique(np.concatenate([inside, [0.0, line.length]]))
    stations = stations[np.append(True, np.diff(stations) > SAME)]
    stations[-1] = line.length
    return stations


def _guide(edges: Floats, base: int, centres: Floats) -> Guide:
    """Returns what a line along an edge should run through, or a smoother centre in its place.

    Args:
        edges: From left to right, [B + 1, P, 3] [m].
        base: The edge.
        centres: That may take its place, [C, P, 3] [m].
    """
    followed = edges[base]
    steps = np.gradient(followed[:, :2], axis=0)
    aside = edges[0, :, :2] - edges[-1, :, :2]
    across = np.arctan2(-aside[:, 0], aside[:, 1])
    along = np.arctan2(steps[:, 1], steps[:, 0])
    across = np.where(np.hypot(*aside.T) > 0.05, across, along)
    if len(centres) and _largest_turn(followed) > JOGGED:
        smooth = min(centres, key=_largest_turn)
        if _largest_turn(smooth) < 0.5 * JOGGED:
            followed = smooth
            steps = np.gradient(followed[:, :2], axis=0)
            across = np.arctan2(steps[:, 1], steps[:, 0])
    return find_guide(followed[:, :2], across, float(np.hypot(*aside.T).max()))


def _missed(line: ReferenceLine, centre: Floats, own: Floats, shape: Shape, k: int) -> float:
    """Returns how far readers have the centre of a lane from where it lies, at most [m].

    They do not let it be outside its edges.

    Args:
        line: The reference line.
        centre: [P, 3] [m].
        own: The stations of its points, [P] [m].
        shape: With the offset of the centre from the line in `centres`.
        k: The place of the lane.
    """
    stations, middle = shape.stations, shape.centres[k]
    cuts = (0.0, 0.0) if shape.ends is None else shape.ends[k, 2]
    first, last = cuts[0], line.length + cuts[1]
    known = _shares(centre)
    shares = np.union1d(known, np.linspace(0.0, 1.0, 2 + int(line.length / LOOKED_AT)))
    own = np.concatenate([[first], np.interp(shares, known, own), [last]])
    x, y, heading, _ = line.evaluate(own)
    aside = np.interp(own, stations, middle)
    found = np.stack([x - aside * np.sin(heading), y + aside * np.cos(heading)], axis=-1)
    ends = np.hypot(*(found[[0, -1]] - centre[[0, -1], :2]).T)
    inside = (stations >= first) & (stations <= last)
    outside = np.maximum(middle - shape.offsets[k], shape.offsets[k + 1] - middle)[inside]
    return max(offset(found[1:-1], centre), float(ends.max()), float(outside.max(initial=0.0)))


def _largest_turn(line: Floats) -> float:
    """Returns the largest angle between two steps of a polyline [rad]."""
    steps = np.diff(line[:, :2], axis=0)
    steps = steps[np.hypot(*steps.T) > SAME]
    turns = np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
    return float(np.abs((turns + np.pi) % (2.0 * np.pi) - np.pi).max(initial=0.0))


def _edges(lanes: list[Lane], strip: Strip) -> tuple[Floats, Floats]:
    """Returns the edges and centres of a strip, with as many points each.

    They stand from left to right, [B + 1, P, 3] and [B, P, 3].
    """
    lines = [
        (*sides(lanes, strip, k), lanes[lane].centre[:: 1 if strip.forward[k] else -1])
        for k, lane in enumerate(strip.lanes)
    ]
    counts = {len(left) for left, _, _ in lines}
    if len(counts) > 1:
        shares = [_shares(0.5 * (left + right)) for left, right, _ in lines]
        all_shares: Floats = np.unique(np.round(np.concatenate(shares), 9))
        lines = [
            (_at(left, own, all_shares), _at(right, own, all_shares), _at(mid, own, all_shares))
            for (left, right, mid), own in zip(lines, shares, strict=True)
        ]
    edges = [lines[0][0], *(right for _, right, _ in lines)]
    if strip.left < len(lines):
        edges[strip.left] = lines[strip.left][0]
    return np.stack(edges), np.stack([centre for _, _, centre in lines])


def _shares(line: Floats) -> Floats:
    """Returns the length up to each point of a polyline as a share of its whole, [P]."""
    lengths = np.append(0.0, np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T)))
    if lengths[-1] <= 0.0:
        return np.linspace(0.0, 1.0, len(line))
    shares: Floats = lengths / lengths[-1]
    return shares


def _at(edge: Floats, shares: Floats, wanted: Floats) -> Floats:
    """Returns the points of an edge at other shares of its length, [W, 3]."""
    return np.stack([np.interp(wanted, shares, column) for column in edge.T], axis=-1)


def _base(edges: Floats, left: int, short: float, *, inside: bool) -> int:
    """Returns which edge the line follows: that between the directions where it is any guide."""
    steps = np.diff(edges[..., :2], axis=1)
    lengths = np.hypot(steps[..., 0], steps[..., 1]).sum(axis=1)
    folded = ((steps[:, 1:] * steps[:, :-1]).sum(axis=-1) < -1e-6).any(axis=1)
    if lengths[left] >= short * lengths.max() and not folded[left]:
        return left
    if inside and not folded.all():
        return int(np.argmin(np.where(folded, np.inf, lengths)))
    return int(np.argmax(np.where(folded, 0.0, lengths)))


def _stray(edges: Floats, line: ReferenceLine, s: Floats, t: Floats) -> Floats:
    """Returns how far stations and offsets lead from the points they stand for, [B + 1, P] [m].

    Where a line along the outside of a bend bends more tightly than the lanes are wide, points on
    the inside have no place along it.
    """
    x, y, heading, _ = line.evaluate(s.ravel())
    dx = (x - t.ravel() * np.sin(heading)).reshape(s.shape) - edges[..., 0]
    dy = (y + t.ravel() * np.cos(heading)).reshape(s.shape) - edges[..., 1]
    stray: Floats = np.hypot(dx, dy)
    return stray


def _placed(edges: Floats, line: ReferenceLine, guess: Floats) -> tuple[Floats, Floats]:
    """Returns stations and offsets of the points of edges, [B + 1, P] each [m]."""
    s, t = project(line, edges[..., :2].reshape(-1, 2), guess.ravel())
    return np.maximum.accumulate(s.reshape(guess.shape), axis=1), t.reshape(guess.shape)


def _bulging(
    edges: Floats, line: ReferenceLine, s: Floats, t: Floats, bulge: float, looked_at: list[int]
) -> NDArray[np.int64]:
    """Returns in how many parts each chord is measured, by how far the line is from it, [P - 1].

    Args:
        edges: [B + 1, P, 3] [m].
        line: The reference line.
        s: Stations of their points, [B + 1, P] [m].
        t: Offsets of their points, [B + 1, P] [m].
        bulge: How far the line may be away [m].
        looked_at: Which edges count.
    """
    share = np.array(CHECKED)[:, None, None]
    chosen, s, t = edges[looked_at, :, :2], s[looked_at], t[looked_at]
    inner = chosen[:, :-1] + share[..., None] * np.diff(chosen, axis=1)
    guess, expected = (v[:, :-1] + share * np.diff(v) for v in (s, t))
    _, between = project(line, inner.reshape(-1, 2), guess.ravel())
    missed = np.abs(between.reshape(expected.shape) - expected).max(axis=(0, 1))
    # Those that are nearly as far would be led astray by their neighbours.
    return _parts(edges, missed > (ALSO * bulge if missed.max() > bulge else np.inf))


def _parts(edges: Floats, far: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns in how many parts each chord is measured, [P - 1]."""
    steps = np.diff(edges[..., :2], axis=1)
    lengths = np.hypot(steps[..., 0], steps[..., 1]).max(axis=0)
    parts = np.clip(np.ceil(lengths / PART), MIN_PARTS, MAX_PARTS)
    counts: NDArray[np.int64] = np.where(far, parts, 1).astype(np.int64)
    return counts


def _divided(rows: Floats, counts: NDArray[np.int64]) -> Floats:
    """Returns rows of points with more points between some of them, [R, P, D]."""
    interval = np.repeat(np.arange(len(counts)), counts)
    first = np.append(0, np.cumsum(counts))
    share = ((np.arange(first[-1]) - first[interval]) / counts[interval])[:, None]
    inner = rows[:, interval] * (1.0 - share) + rows[:, interval + 1] * share
    return np.concatenate([inner, rows[:, -1:]], axis=1)
