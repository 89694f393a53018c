"""Lanes laid along a centre line: what a street is made of, and how it becomes lanes.

A street is cut into sections, each with parts to either side, from the middle outwards; the widths
of a part change smoothly from the start of a section to its end. Lateral offsets are positive to
the left of the line; forward parts lie on its right. Right-hand traffic.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.procedural.roads.lines import stations
from selfdrive_env.maps.road_network import DRIVABLE_TYPES, Junction, Lane, RoadNetwork
from selfdrive_env.maps.towns.builder import smooth
from selfdrive_env.maps.towns.centre_lines import CentreLine, Pose, evaluate, pose_at

__all__ = [
    "Arm",
    "Laid",
    "Part",
    "Section",
    "Street",
    "Work",
    "add_lane",
    "lay_street",
    "link",
    "middle_at",
    "new_junction",
    "new_road",
    "pair",
    "width_at",
]

Floats = NDArray[np.float64]

NARROW_STEP = 2.0
"""Largest step of stations where widths change [m]."""

BEND_WIDTH = 3.25
"""Narrower lanes grow to this in bends and where they end at a junction, for long bodies [m]."""

WIDE_BEND = 1.0 / 30.0
"""Curvature from which lanes have all of it; none below a quarter [1/m]."""

BEND_REACH = 8.0
MOUTH_REACH = 12.0
"""How far before a bend and before a junction lanes begin to grow [m]."""

LEAST_LANE = 2.2
"""Lanes narrower than this open or end: they do not grow [m]."""

MARGIN = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """A strip along a street: a lane, or what lies beside or between lanes."""

    width: tuple[float, float]
    """Where the section starts and where it ends, seen along the line [m]."""

    kind: str = "driving"
    """Type of lane in the words of OpenDRIVE; "gap" makes no lane."""

    key: str = ""
    """Parts of one key on one side of successive sections follow each other."""

    turns: str = ""
    """Ways through the junction at its end, of "l", "s" and "r"; empty: as its place says."""


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a street."""

    forward: tuple[Part, ...]
    """Right of the line, from the middle outwards."""

    backward: tuple[Part, ...] = ()
    """Left of the line, from the middle outwards; these are driven against the line."""

    length: float = 0.0
    """0 takes what the others leave; sections without a length share it [m]."""

    middle: tuple[float, float] = (0.0, 0.0)
    """Offset of the line between the directions from the centre line, at start and end [m]."""

    limit: float = 0.0
    """Speed limit where it is not that of the street [m/s]."""

    junction: int = -1
    """Junction that its lanes run through, or -1."""


@dataclass(frozen=True, slots=True)
class Street:
    """A street between two nodes."""

    start: int
    end: int
    """Keys of nodes of the plan."""

    line: CentreLine
    """From node to node."""

    sections: tuple[Section, ...]
    limit: float
    """[m/s]"""

    rank: int = 0
    """Where streets of different rank meet, the highest has priority."""

    marked: bool = True
    """Paint parts the directions."""

    heights: tuple[Floats, Floats] | None = None
    """Stations and heights, interpolated between [m]; level at 0 without."""


@dataclass(slots=True)
class Arm:
    """The end of a street at a node. Lanes run from the innermost to the outermost."""

    mouth: Pose
    """Between the directions, looking away from the node."""

    incoming: list[int]
    outgoing: list[int]
    width_in: float
    """From the mouth to the edge of the incoming lanes [m]."""

    width_out: float
    z: float
    rank: int
    limit: float
    turns: list[str]
    """For each incoming lane."""

    gap_in: float = 0.0
    """From the mouth to the innermost incoming lane [m]."""

    gap_out: float = 0.0
    street: int = -1
    """Number of the street in the plan."""


@dataclass(slots=True)
class Laid:
    """What became of a street: for each section, the lane of each part (-1: none)."""

    forward: list[list[int]]
    backward: list[list[int]]
    arms: tuple[Arm, Arm]
    stations: list[tuple[float, float]]
    """Where each section starts and ends along the line [m]."""


@dataclass(slots=True)
class Work:
    """The network under construction."""

    network: RoadNetwork
    poses: list[tuple[Pose, Pose]] = field(default_factory=list)
    """First and last pose of each lane, exact."""

    arms: dict[int, list[Arm]] = field(default_factory=dict)
    """Of each node."""


def new_road(work: Work) -> str:
    """Returns the name of the next road."""
    work.network.num_roads += 1
    return str(work.network.num_roads)


def new_junction(work: Work, name: str, kind: str = "default") -> int:
    """Adds an empty junction and returns its index."""
    work.network.junctions.append(Junction(name, kind))
    return len(work.network.junctions) - 1


def link(work: Work, lane: int, successor: int) -> None:
    """Lets `successor` follow `lane`."""
    work.network.lanes[lane].successors.append(successor)
    work.network.lanes[successor].predecessors.append(lane)


def pair(work: Work, left: int, right: int) -> None:
    """Makes two lanes neighbours."""
    work.network.lanes[left].right_neighbour = right
    work.network.lanes[right].left_neighbour = left


def add_lane(
    work: Work,
    lane: Lane,
    line: CentreLine,
    s: Floats,
    z: Floats,
    edges: tuple[Floats | float, Floats | float],
    *,
    backward: bool = False,
    centre: float | None = None,
) -> int:
    """Adds a lane along a part of a line.

    Args:
        work: Extended by the lane.
        lane: All but its points.
        line: Reference line.
        s: Stations, increasing, [P] [m].
        z: Heights at the stations, [P] [m].
        edges: Offsets of the inner and the outer boundary, each one number or [P] [m].
        backward: It runs against the line.
        centre: Offset of the centre line; half way between the edges without [m].

    Returns:
        Index of the lane.
    """
    x, y, heading = evaluate(line, s)
    normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
    inner, outer = (np.broadcast_to(edge, s.shape) for edge in edges)
    middle = 0.5 * (inner + outer) if centre is None else np.full(s.shape, centre)
    base = np.stack([x, y], axis=-1)
    sides = [
        np.column_stack([base + offset[:, None] * normal, z]) for offset in (inner, middle, outer)
    ]
    turned = [pose_at(line, float(s[k])).moved(0.0, float(middle[k])) for k in (0, -1)]
    if backward:
        sides = [np.ascontiguousarray(side[::-1]) for side in sides]
        turned = [turned[1].reversed(), turned[0].reversed()]
    lane.left, lane.centre, lane.right = sides
    network = work.network
    network.lanes.append(lane)
    work.poses.append((turned[0], turned[1]))
    index = len(network.lanes) - 1
    if lane.drivable:
        network.driving_lane_km += float(s[-1] - s[0]) / 1000.0
        if lane.junction >= 0:
            network.junctions[lane.junction].lanes.append(index)
    return index


def width_at(parts: Iterable[Part], end: int) -> tuple[float, float]:
    """Returns from where to where the lanes of one side reach, from the middle [m].

    Args:
        parts: From the middle outwards.
        end: 0 where the section starts, 1 where it ends.
    """
    first, last, reach = -1.0, 0.0, 0.0
    for part in parts:
        width = part.width[end]
        if part.kind in DRIVABLE_TYPES:
            first = reach if first < 0.0 else first
            width += grown(width)
            last = reach + width
        reach += width
    return max(first, 0.0), last


def grown(width: float) -> float:
    """Returns by how much a lane is wider where it ends at a junction [m]."""
    return max(BEND_WIDTH - width, 0.0) if width > LEAST_LANE else 0.0


def _growth(street: Street, s: Floats, ends: tuple[float, float]) -> Floats:
    """Returns the share of `BEND_WIDTH` that narrow lanes grow to, [P]."""
    around = s[:, None] + np.linspace(-BEND_REACH, BEND_REACH, 17)
    piece = np.searchsorted(street.line.station, around, "right") - 1
    bend = np.abs(street.line.curvature[np.clip(piece, 0, None)]).mean(axis=1)
    bent = smooth((bend / WIDE_BEND - 0.25) / 0.75)
    near = np.minimum(s - ends[0], ends[1] - s)
    share: Floats = np.maximum(bent, smooth(1.0 - near / MOUTH_REACH))
    return share


def lay_street(work: Work, street: Street, number: int, first: float, last: float) -> Laid:
    """Adds the lanes of a street and its arms.

    Args:
        work: Extended by the lanes and arms.
        street: What to lay.
        number: Of the street in its plan.
        first: Station of the mouth at its start [m].
        last: Of the mouth at its end [m].
    """
    road = new_road(work)
    spans = _spans(street.sections, first, last)
    forward: list[list[int]] = []
    backward: list[list[int]] = []
    for k, (section, span) in enumerate(zip(street.sections, spans, strict=True)):
        ahead, back = _lay_section(work, street, section, span, (first, last), f"{road}/{k}")
        forward.append(ahead)
        backward.append(back)
        if k:
            before = street.sections[k - 1]
            _join(work, before.forward, forward[k - 1], section.forward, ahead)
            _join(work, section.backward, back, before.backward, backward[k - 1])
    arms = tuple(
        _arm(street, number, (forward, backward), end, span[end], work)
        for end, span in ((0, spans[0]), (1, spans[-1]))
    )
    work.arms.setdefault(street.start, []).append(arms[0])
    work.arms.setdefault(street.end, []).append(arms[1])
    return Laid(forward, backward, (arms[0], arms[1]), spans)


def _spans(sections: Sequence[Section], first: float, last: float) -> list[tuple[float, float]]:
    """Returns where each section starts and ends."""
    known = sum(section.length for section in sections)
    flexible = sum(section.length <= 0.0 for section in sections)
    rest = last - first - known
    if rest < -MARGIN or (flexible and rest < MARGIN):
        raise ValueError(f"sections of {known:.1f} m do not fit into {last - first:.1f} m")
    lengths = [section.length or rest / flexible for section in sections]
    if not flexible:
        lengths = [length * (last - first) / known for length in lengths]
    bounds = first + np.concatenate([[0.0], np.cumsum(lengths)])
    bounds[-1] = last
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def _lay_section(
    work: Work,
    street: Street,
    section: Section,
    span: tuple[float, float],
    ends: tuple[float, float],
    prefix: str,
) -> tuple[list[int], list[int]]:
    """Adds the lanes of one section; returns the lane of each part, forward and backward."""
    s = _stations_of(street, section, span, ends)
    share = smooth((s - span[0]) / (span[1] - span[0]))
    z = np.zeros(s.shape) if street.heights is None else np.interp(s, *street.heights)
    growth = _growth(street, s, ends)
    rows, across = [], []
    for row in (section.forward, section.backward):
        widths = []
        for part in row:
            width = part.width[0] + (part.width[1] - part.width[0]) * share
            if part.kind in DRIVABLE_TYPES and max(part.width) > 0.0:
                # Lanes that open or end grow by as much of it as there is of them.
                width = width * (1.0 + grown(max(part.width)) / max(part.width) * growth)
            widths.append(width)
        rows.append(widths)
        across.append(sum(widths, np.zeros(s.shape)) - _across(row, share))
    middle = section.middle[0] + (section.middle[1] - section.middle[0]) * share
    middle = middle + 0.5 * (across[0] - across[1])
    out: list[list[int]] = []
    for side, row, widths in ((-1, section.forward, rows[0]), (1, section.backward, rows[1])):
        edge, lanes = middle, []
        for part, width in zip(row, widths, strict=True):
            outer = edge + side * width
            if part.kind == "gap":
                lanes.append(-1)
            else:
                number = side * (sum(lane >= 0 for lane in lanes) + 1)
                lane = _blank(street, section, part, f"{prefix}/{number}")
                if not street.marked and not lanes:
                    lane.left_mark = "none"
                lanes.append(
                    add_lane(work, lane, street.line, s, z, (edge, outer), backward=side > 0)
                )
            edge = outer
        _pair_beside(work, lanes)
        out.append(lanes)
    return out[0], out[1]


def _across(row: Iterable[Part], share: Floats) -> Floats:
    """Returns the width of all parts of one side without growth, [P] [m]."""
    widths = [part.width[0] + (part.width[1] - part.width[0]) * share for part in row]
    return sum(widths, np.zeros(share.shape))


def _stations_of(
    street: Street, section: Section, span: tuple[float, float], ends: tuple[float, float]
) -> Floats:
    """Returns the stations of a section, dense where it bends, rises or changes its width."""
    parts = (*section.forward, *section.backward)
    changes = any(abs(p.width[1] - p.width[0]) > MARGIN for p in parts)
    changes = changes or abs(section.middle[1] - section.middle[0]) > MARGIN
    dense = changes or street.heights is not None
    s = stations(street.line, *span, *([NARROW_STEP] if dense else []))
    narrow = any(p.kind in DRIVABLE_TYPES and p.width[0] < BEND_WIDTH for p in parts)
    if narrow and not dense:
        near = [end + sign * np.arange(1.0, MOUTH_REACH + 1.0, NARROW_STEP)
            for end, sign in zip(ends, (1.0, -1.0), strict=True)]  # fmt: skip
        extra = np.concatenate(near)
        extra = extra[(extra > span[0] + 0.5) & (extra < span[1] - 0.5)]
        gap = np.abs(extra[:, None] - s[None]).min(axis=1, initial=np.inf)
        s = np.sort(np.concatenate([s, extra[gap > 0.25]]))
    return s


def _blank(street: Street, section: Section, part: Part, name: str) -> Lane:
    """Returns a lane without points."""
    drivable = part.kind in DRIVABLE_TYPES
    none = np.zeros((0, 3))
    return Lane(
        name,
        part.kind,
        none,
        none,
        none,
        speed_limit=(section.limit or street.limit) if drivable else 0.0,
        road=name.split("/")[0],
        junction=section.junction if drivable else -1,
    )


def _pair_beside(work: Work, lanes: list[int]) -> None:
    """Makes neighbours of drivable lanes beside each other."""
    for left, right in itertools.pairwise(lanes):
        both = left >= 0 and right >= 0
        if both and work.network.lanes[left].drivable and work.network.lanes[right].drivable:
            pair(work, left, right)


def _join(
    work: Work,
    before: Sequence[Part],
    lanes_before: Sequence[int],
    after: Sequence[Part],
    lanes_after: Sequence[int],
) -> None:
    """Links parts of one key, in the direction of travel."""
    following = {part.key: lane for part, lane in zip(after, lanes_after, strict=True)}
    for part, lane in zip(before, lanes_before, strict=True):
        other = following.get(part.key, -1)
        if part.key and lane >= 0 and other >= 0 and work.network.lanes[lane].drivable:
            link(work, lane, other)


def _lane_widths(row: Iterable[Part], end: int) -> list[float]:
    """Returns the widths of the lanes of one side [m]."""
    return [part.width[end] for part in row if part.kind in DRIVABLE_TYPES]


def middle_at(section: Section, end: int) -> float:
    """Returns where the directions part at a junction, from the line [m].

    Args:
        section: The first or the last of a street.
        end: 0 where the section starts, 1 where it ends.
    """
    wider = [sum(map(grown, _lane_widths(row, end))) for row in (section.forward, section.backward)]
    return section.middle[end] + 0.5 * (wider[0] - wider[1])


def _arm(
    street: Street,
    number: int,
    lanes: tuple[list[list[int]], list[list[int]]],
    end: int,
    station: float,
    work: Work,
) -> Arm:
    """Returns the arm at the start (0) or the end (1) of a street."""
    section = street.sections[-end]
    place = -end
    rows = ((section.backward, lanes[1][place]), (section.forward, lanes[0][place]))
    (arriving, arrivals), (leaving, departures) = rows if end == 0 else rows[::-1]
    mouth = pose_at(street.line, station).moved(0.0, middle_at(section, end))
    all_lanes = work.network.lanes
    incoming = [k for k in arrivals if k >= 0 and all_lanes[k].drivable]
    outgoing = [k for k in departures if k >= 0 and all_lanes[k].drivable]
    turns = [
        part.turns
        for part, k in zip(arriving, arrivals, strict=True)
        if k >= 0 and all_lanes[k].drivable
    ]
    gap_in, width_in = width_at(arriving, end)
    gap_out, width_out = width_at(leaving, end)
    z = 0.0 if street.heights is None else float(np.interp(station, *street.heights))
    return Arm(
        mouth.reversed() if end else mouth,
        incoming,
        outgoing,
        width_in,
        width_out,
        z,
        street.rank,
        street.limit,
        turns,
        gap_in,
        gap_out,
        number,
    )
