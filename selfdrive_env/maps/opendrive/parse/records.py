"""What an OpenDRIVE file holds, as plain records: numbers parsed, units SI.

Names follow ASAM OpenDRIVE 1.8; polynomials are rows (start, a, b, c, d).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.geometry import ReferenceLine
from selfdrive_env.maps.xml import Element

__all__ = [
    "Connection",
    "Contents",
    "Controller",
    "CrosswalkRecord",
    "JunctionRecord",
    "LaneRecord",
    "LineRecord",
    "Road",
    "RoadLink",
    "Section",
    "SignalRecord",
]

Floats = NDArray[np.float64]


@dataclass(slots=True)
class LaneRecord:
    """A lane of a lane section; ids are positive left of the reference line."""

    id: int
    type: str
    widths: Floats
    """Width polynomials over s - section start, [R, 5]."""

    borders: Floats
    """Outer border polynomials, used where there are no widths, [R, 5]."""

    predecessors: list[int]
    successors: list[int]
    speeds: list[tuple[float, float]]
    """(start from the section start [m], limit [m/s])."""

    reversed: bool = False
    """Traffic runs against the usual direction of this side."""

    two_way: bool = False
    """Traffic runs in both directions."""

    centres: Floats = field(default_factory=lambda: np.zeros((0, 5)))
    """How far left of the middle between its edges the centre lies, seen along the road, where
    this package has said so: polynomials over s - section start, [R, 5]."""

    ends: Floats | None = None
    """How much further along the road than their section left edge, right edge and centre begin and
    end, where this package has said so, [3, 2] [m]."""

    closed: list[tuple[float, bool]] = field(default_factory=list)
    """(start from the section start [m], whether cars may not drive there from then on)."""

    user_data: list[Element] = field(default_factory=list)
    """What this package has written beside it."""


@dataclass(slots=True)
class Section:
    """A lane section, lanes from left to right (ids descending, without 0)."""

    name: str
    """Number among the sections of the road in the file."""

    start: float
    end: float
    lanes: list[LaneRecord]


@dataclass(slots=True)
class RoadLink:
    """What a road begins or ends at."""

    kind: str
    """ "road" or "junction"."""

    id: str
    at_end: bool | None
    """Whether it touches the other road's end, not its start; None for junctions."""


@dataclass(slots=True)
class SignalRecord:
    """A signal or a reference to one, where it stands along a road."""

    id: str
    s: float
    t: float
    orientation: str
    validities: list[tuple[int, int]]
    """Ranges of lane ids; empty means all lanes in the direction of `orientation`."""

    is_reference: bool
    name: str = ""
    type: str = ""
    kind: str = ""
    """As in `Signal.kind`, "stop_line" for one that is drawn, "" for one that does not matter."""

    for_cars: bool = True
    speed: float | None = None
    """Limit shown [m/s]."""

    z_offset: float = 0.0
    heading_offset: float = 0.0

    user_data: list[Element] = field(default_factory=list)
    """What this package has written beside it."""

    def names(self, lane: int) -> bool:
        """Returns whether the validities name a lane id."""
        return any(first <= lane <= last for first, last in self.validities)


@dataclass(slots=True)
class CrosswalkRecord:
    """A crosswalk object, its corners still in road or object coordinates."""

    id: str
    s: float
    t: float
    z_offset: float
    heading: float
    corners: Floats
    """[C, 3]: u, v, z in the object's frame, or s, t, z of the road where `on_road`."""

    on_road: bool


@dataclass(slots=True)
class LineRecord:
    """A stop line of this package, with all that it says."""

    s: float
    forward: bool
    """Whether it is for traffic along the road."""

    validities: list[tuple[int, int]]
    ends: Floats
    """(s, t) of the ends over its lanes, left and right, and of its guard, [4, 2] [m]."""

    framed: bool = False
    """Whether they are along and across the reference line from its point at s instead."""

    part: str = ""
    """What all parts of a line over several roads have in common."""

    def names(self, lane: int) -> bool:
        """Returns whether it is for a lane id."""
        return any(first <= lane <= last for first, last in self.validities)


@dataclass(slots=True)
class Road:
    """A road with everything that lies along it."""

    id: str
    length: float
    junction: str
    """Id of the junction it runs through, "-1" for none."""

    left_hand: bool
    line: ReferenceLine
    elevations: Floats
    lane_offsets: Floats
    sections: list[Section]
    """Those that have a length."""

    linked_sections: list[Section]
    """These and those without a length, which links lead through."""

    predecessor: RoadLink | None
    successor: RoadLink | None
    speeds: list[tuple[float, float]]
    """(station [m], limit [m/s])."""

    signals: list[SignalRecord]
    crosswalks: list[CrosswalkRecord]
    stop_marks: list[tuple[float, float, bool]]
    """(s, t) of the middle of each stop line that is drawn as an object [m], and whether it lies
    just there."""

    stop_lines: list[LineRecord] = field(default_factory=list)
    """Those that this package has written."""


@dataclass(slots=True)
class Connection:
    """A way through a junction: from an incoming road into a connecting or linked road."""

    incoming: str
    connecting: str
    at_end: bool
    """Whether it touches the connecting road's end, not its start."""

    lane_links: list[tuple[int, int]]


@dataclass(slots=True)
class JunctionRecord:
    """A junction; `controllers` are ids in the order of their sequence."""

    id: str
    kind: str
    connections: list[Connection]
    controllers: list[str]
    priorities: list[tuple[str, str]]
    """(road that goes first, road that gives way to it)."""

    user_data: list[Element] = field(default_factory=list)
    """What this package has written beside it."""


@dataclass(slots=True)
class Controller:
    """Signals that switch together."""

    id: str
    signals: list[str]

    user_data: list[Element] = field(default_factory=list)
    """What this package has written beside it."""


@dataclass(slots=True)
class Contents:
    """All of a file."""

    roads: dict[str, Road] = field(default_factory=dict)
    junctions: dict[str, JunctionRecord] = field(default_factory=dict)
    controllers: dict[str, Controller] = field(default_factory=dict)
    num_roads: int = 0

    user_data: list[Element] = field(default_factory=list)
    """What this package has written in the header."""
