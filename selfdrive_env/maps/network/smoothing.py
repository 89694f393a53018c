"""Rounds the kinks of centre lines that a format gives as a few points of a curve.

Points and bounds stay where they are; between points the centre line gets a cubic with their mean
direction (of Hermite, as Catmull and Rom chose it), and lanes that follow each other meet in one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import directions
from selfdrive_env.maps.road_network import Lane

__all__ = ["smooth_centres"]

Floats = NDArray[np.float64]

SMALL_KINK = np.cos(np.radians(2.0))
"""Cosine of the angle up to which a kink stays."""

SHARP_KINK = np.cos(np.radians(10.0))
"""Cosine of the angle from which on one is a corner."""

GREAT_KINK = np.cos(np.radians(80.0))
"""Cosine of the angle from which on one is no part of a curve."""

REACH = 3.0
"""How far before and after a kink a straight part is bent [m]."""

STEP = 0.5
"""Spacing of points on a bent part [m]."""

MAX_SHARE = 0.25
"""Farthest that the centre line may move, as a share of the width."""


def smooth_centres(lanes: list[Lane], *, room: float = 0.0) -> None:
    """Rounds the centre lines of drivable lanes.

    Where one lane forks, those after it begin in its direction; where lanes merge, they end in that
    of the one after them.

    Args:
        lanes: All lanes of the network, linked; changed in place.
        room: What stays on either side where a centre line moves [m].
    """
    ends = [directions(lane.centre) for lane in lanes]
    rounded = []
    for index, lane in enumerate(lanes):
        if lane.drivable:
            start = _shared([ends[i][1] for i in lane.predecessors], ends[index][0],
                [lanes[i].successors for i in lane.predecessors])  # fmt: skip
            end = _shared([ends[i][0] for i in lane.successors], ends[index][1],
                [lanes[i].predecessors for i in lane.successors])  # fmt: skip
            rounded.append((lane, start, end))
    for lane, start, end in rounded:
        _smooth(lane, start, end, room)


def _shared(others: list[Floats], own: Floats, beside: list[list[int]]) -> Floats:
    """Returns the direction in which lanes meet.

    Args:
        others: Of those on the other side of the joint, [2] each.
        own: Of the lane.
        beside: The lanes on its own side, for each of the others.
    """
    if len(others) != 1 or others[0] @ own < GREAT_KINK:
        return own
    if len(beside[0]) > 1:
        return others[0]
    mean = others[0] + own
    return mean / max(float(np.hypot(mean[0], mean[1])), 1e-9)


def _smooth(lane: Lane, start: Floats, end: Floats, room: float) -> None:
    """Rounds the centre line of a lane between given directions at its ends."""
    known = lane.arc_length
    turns = _turns(lane.centre, start, end)
    if not (turns < SMALL_KINK).any():
        return
    # Points close to a corner would keep it sharp; on long pieces the bend ends at some distance.
    corners = known[turns < SHARP_KINK]
    close = (np.abs(known[:, None] - corners) < REACH).any(axis=1) & (turns >= SHARP_KINK)
    close[[0, -1]] = False
    at, turns = known[~close], turns[~close]
    long = np.diff(at) > 2.0 * REACH
    after, before = long & (turns[:-1] < SMALL_KINK), long & (turns[1:] < SMALL_KINK)
    at = np.unique(np.concatenate([at, at[:-1][after] + REACH, at[1:][before] - REACH]))
    points = _at(lane.centre, known, at)
    steps = np.diff(points[:, :2], axis=0)
    length = np.hypot(*steps.T)
    ahead = steps / np.maximum(length, 1e-9)[:, None]
    mean = ahead[:-1] * length[1:, None] + ahead[1:] * length[:-1, None]
    mean /= np.maximum(np.hypot(*mean.T), 1e-9)[:, None]
    great = ((ahead[:-1] * ahead[1:]).sum(axis=1) < GREAT_KINK)[:, None]
    leaving = np.concatenate([[start], np.where(great, ahead[1:], mean)])
    arriving = np.concatenate([np.where(great, ahead[:-1], mean), [end]])
    bent = (leaving * ahead).sum(axis=1) < SMALL_KINK
    bent |= (arriving * ahead).sum(axis=1) < SMALL_KINK
    counts = np.where(bent, np.maximum(np.ceil(length / STEP), 2.0), 1.0).astype(np.int64)
    piece = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    part = (np.arange(counts.sum()) - first[piece]) / counts[piece]
    stations = np.append(at[piece] + part * (at[piece + 1] - at[piece]), at[-1])
    part, h = part[:, None], length[piece][:, None]
    shift = part * (1.0 - part) ** 2 * h * (leaving[piece] - ahead[piece])
    shift = shift - part**2 * (1.0 - part) * h * (arriving[piece] - ahead[piece])
    shift[~bent[piece]] = 0.0
    lane.left, lane.right = _at(lane.left, known, stations), _at(lane.right, known, stations)
    centre = _at(lane.centre, known, stations)
    width = lane.width[:-1]
    most = np.minimum(MAX_SHARE * width, np.maximum(0.5 * width - room, 0.0))
    moved = np.hypot(*shift.T)
    shift *= np.minimum(1.0, most / np.maximum(moved, 1e-9))[:, None]
    centre[:-1, :2] += shift
    lane.centre = centre


def _turns(centre: Floats, start: Floats, end: Floats) -> Floats:
    """Returns the cosine of the turn at each point of a line between given directions, [P]."""
    steps = np.diff(centre[:, :2], axis=0)
    ahead = steps / np.maximum(np.hypot(*steps.T), 1e-9)[:, None]
    ahead = np.concatenate([[start], ahead, [end]])
    turns: Floats = (ahead[:-1] * ahead[1:]).sum(axis=1)
    return turns


def _at(points: Floats, known: Floats, stations: Floats) -> Floats:
    """Returns the points of a line at stations, [S, 3] [m]."""
    return np.stack([np.interp(stations, known, points[:, axis]) for axis in range(3)], axis=1)
