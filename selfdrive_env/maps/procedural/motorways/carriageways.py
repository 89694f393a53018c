"""Carriageways: lanes of one direction along a line, which open, end, leave and join.

A carriageway has places for lanes, counted from the inside. A `Slot` is the life of a lane at one
place: it opens from nothing or follows a lane of another carriageway, and ends likewise. Nothing
overlaps: ramps begin beside the lanes that they leave, so that there is no junction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.motorways.alignment import Profile, places
from selfdrive_env.maps.procedural.roads.streets import Work, add_lane, link, new_road, pair
from selfdrive_env.maps.road_network import Lane
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, evaluate, pose_at

__all__ = ["Carriageway", "Slot", "lay_carriageway"]

Floats = NDArray[np.float64]

THINNEST = 0.05
"""Shoulders that are nowhere wider are left out [m]."""

GORE = 260.0
"""Along which a ramp comes near the carriageway that it leaves or joins, at most [m]."""

MARGIN = 1e-6
SHORTEST = 20.0
"""Pieces that speed limits make [m]."""

SNAP = 120.0
"""A speed limit begins where a section does that starts this near [m]."""

NEAR = 60.0
"""The same for the limit of a lane that leaves [m]."""


@dataclass(slots=True, eq=False)
class Slot:
    """A lane along a part of a carriageway."""

    place: int
    """From the inside."""

    start: float
    """[m]"""

    end: float = math.inf
    opens: float = 0.0
    """Length over which it opens from nothing; 0: it follows another lane [m]."""

    closes: float = 0.0
    """Length over which it ends; 0: another lane follows [m]."""

    kind: str = "driving"
    left: bool = False
    """It opens and ends at its left edge, not at its right one."""

    slow: tuple[float, float] = (math.inf, math.inf)
    """Station from which on it has a limit of its own, and this limit [m], [m/s]."""

    lanes: list[int] = field(default_factory=list)
    """Of the network, in order, once laid."""


@dataclass(slots=True, eq=False)
class Carriageway:
    """Lanes of one direction along a line."""

    line: CentreLine
    """In the direction of travel."""

    heights: Profile
    width: Profile
    """Of a lane [m]."""

    inner: Profile
    """Offset of the inner edge of place 0 from the line, positive to the left [m]."""

    shoulder: Profile
    """Width of the hard shoulder on the right [m]."""

    limit: float
    """[m/s]"""

    slots: list[Slot] = field(default_factory=list)
    limits: list[tuple[float, float]] = field(default_factory=list)
    """(station, speed limit from there on), increasing [m], [m/s]."""

    gores: list[tuple[float, Carriageway, bool]] = field(default_factory=list)
    """(station, ramp, whether the ramp leaves there, else it joins) [m]."""

    @property
    def length(self) -> float:
        """Of the line [m]."""
        return self.line.length

    def now(self, s: float) -> list[Slot]:
        """Returns the slots at a station, from the inside."""
        found = [slot for slot in self.slots if slot.start <= s + MARGIN and s < slot.end - MARGIN]
        return sorted(found, key=lambda slot: slot.place)

    def before(self, s: float) -> list[Slot]:
        """Returns the slots right before a station, from the inside."""
        found = [slot for slot in self.slots if slot.start < s - MARGIN and s <= slot.end + MARGIN]
        return sorted(found, key=lambda slot: slot.place)

    def centre(self, s: float, first: int, count: int) -> Pose:
        """Returns the pose in the middle of some lanes at a station.

        Args:
            s: Station [m].
            first: Their lowest place.
            count: How many lanes.
        """
        offset = float(self.inner.at(s)) - (first + 0.5 * count) * float(self.width.at(s))
        return pose_at(self.line, s).moved(0.0, offset)

    def station_of(self, x: float, y: float) -> float:
        """Returns the station of a point beside a straight part of the line [m]."""
        s = np.arange(0.0, self.length, 1.0)
        px, py, _ = evaluate(self.line, s)
        near = float(s[np.argmin(np.hypot(px - x, py - y))])
        for _ in range(3):
            pose = pose_at(self.line, near)
            near += (x - pose.x) * math.cos(pose.heading) + (y - pose.y) * math.sin(pose.heading)
        return near

    def edges(self, slot: Slot, s: Floats) -> tuple[Floats, Floats]:
        """Returns the offsets of the left and the right edge of a slot at some stations."""
        width = self.width.at(s)
        left = self.inner.at(s) - slot.place * width
        right = left - width
        share = np.ones(s.shape)
        if slot.opens > 0.0:
            share = share * smooth((s - slot.start) / slot.opens)
        if slot.closes > 0.0:
            share = share * (1.0 - smooth((s - slot.end + slot.closes) / slot.closes))
        return (right + width * share, right) if slot.left else (left, left - width * share)


def _cuts(way: Carriageway) -> list[float]:
    """Returns where sections begin and end [m]."""
    cuts = [0.0, way.length]
    for slot in way.slots:
        slot.end = min(slot.end, way.length)
        cuts += [slot.start, slot.end]
        cuts += [slot.start + slot.opens] if slot.opens > 0.0 else []
        cuts += [slot.end - slot.closes] if slot.closes > 0.0 else []
    for slot in way.slots:
        if slot.start < slot.slow[0] < slot.end:
            at = min(cuts, key=lambda cut: (abs(cut - slot.slow[0]), cut))
            at = at if abs(at - slot.slow[0]) < NEAR else slot.slow[0]
            slot.slow = (at, slot.slow[1])
            cuts.append(at)
    out: list[float] = []
    for cut in sorted(cuts):
        if not out or cut > out[-1] + MARGIN:
            out.append(cut)
    _snap_limits(way, out)
    return sorted({*out, *(s for s, _ in way.limits if MARGIN < s < way.length - MARGIN)})


def _snap_limits(way: Carriageway, cuts: list[float]) -> None:
    """Moves speed limits to where sections begin, lower ones backwards and higher ones ahead."""
    moved = []
    before = way.limit
    for s, limit in way.limits:
        near = [cut for cut in cuts if abs(cut - s) < SNAP]
        lower = limit < before
        ahead = [cut for cut in near if (cut <= s + MARGIN if lower else cut >= s - MARGIN)]
        if ahead:
            s = ahead[-1] if lower else ahead[0]
        elif near:
            # No piece of lane is shorter than that.
            s = min(s, near[0] - SHORTEST) if lower else max(s, near[-1] + SHORTEST)
            s = min(max(s, 0.0), way.length - SHORTEST)
        moved.append((s, limit))
        before = limit
    way.limits = moved


def lay_carriageway(work: Work, way: Carriageway) -> None:
    """Adds the lanes and shoulders of a carriageway; lanes of a slot are linked.

    Args:
        work: Extended by the lanes.
        way: Its slots learn their lanes.
    """
    road = new_road(work)
    for number, (low, high) in enumerate(pairwise(_cuts(way))):
        here = way.now(0.5 * (low + high))
        if not here:
            continue
        limit = way.limit
        for begins, value in way.limits:
            limit = value if begins <= low + MARGIN else limit
        s = places(way.line, low, high, even=_is_even(way, low, high))
        z = way.heights.at(s)
        before: tuple[int, Slot] | None = None
        for count, slot in enumerate(here, start=1):
            name = f"{road}/{number}/-{count}"
            own = slot.slow[1] if slot.slow[0] <= low + MARGIN else limit
            lane = _blank(name, slot.kind, min(limit, own))
            index = add_lane(work, lane, way.line, s, z, way.edges(slot, s))
            if slot.lanes:
                link(work, slot.lanes[-1], index)
            slot.lanes.append(index)
            if before is not None and before[1].place + 1 == slot.place:
                pair(work, before[0], index)
            before = (index, slot)
        edge = way.edges(here[-1], s)[1]
        width = _shoulder_width(way, s, edge)
        if float(width.max()) > THINNEST:
            name = f"{road}/{number}/-{len(here) + 1}"
            add_lane(work, _blank(name, "shoulder", 0.0), way.line, s, z, (edge, edge - width))


def _is_even(way: Carriageway, low: float, high: float) -> bool:
    """Whether nothing but the line changes within a section."""
    for slot in way.now(0.5 * (low + high)):
        opens = slot.opens > 0.0 and low < slot.start + slot.opens - MARGIN
        closes = slot.closes > 0.0 and high > slot.end - slot.closes + MARGIN
        if opens or closes:
            return False
    for profile in (way.heights, way.width, way.inner, way.shoulder):
        s = np.append(profile.station, (low, high))
        value = profile.at(s[(s >= low) & (s <= high)])
        if float(np.ptp(value)) > MARGIN:
            return False
    return not any(abs(s - c) < GORE for s, *_ in way.gores for c in (low, high))


def _blank(name: str, kind: str, limit: float) -> Lane:
    """Returns a lane without points."""
    none = np.zeros((0, 3))
    return Lane(name, kind, none, none, none, limit, road=name.split("/")[0])


def _shoulder_width(way: Carriageway, s: Floats, edge: Floats) -> Floats:
    """Returns the width of the shoulder, which fills gores as far as there is room [m]."""
    width = way.shoulder.at(s)
    for station, ramp, leaves in way.gores:
        far = (s - station) if leaves else (station - s)
        close = (far > -MARGIN) & (far < GORE)
        if not close.any():
            continue
        x, y, heading = evaluate(way.line, s[close])
        px, py = x - edge[close] * np.sin(heading), y + edge[close] * np.cos(heading)
        along = np.arange(0.0, min(1.2 * GORE, ramp.length), 0.5)
        along = along if leaves else ramp.length - along[::-1]
        rx, ry, turned = evaluate(ramp.line, along)
        side = ramp.inner.at(along)
        qx, qy = rx - side * np.sin(turned), ry + side * np.cos(turned)
        gap = _distance(np.stack([px, py], -1), np.stack([qx, qy], -1))
        width[close] = np.minimum(width[close], gap)
    return width


def _distance(points: Floats, row: Floats) -> Floats:
    """Returns the distance of points, [P, 2], from a polyline, [Q, 2] [m]."""
    step = np.diff(row, axis=0)
    square = np.maximum((step**2).sum(axis=1), 1e-12)
    away = points[:, None] - row[None, :-1]
    t = np.clip((away * step[None]).sum(axis=2) / square[None], 0.0, 1.0)
    gap = away - t[..., None] * step[None]
    out: Floats = np.sqrt((gap**2).sum(axis=2).min(axis=1))
    return out
