"""What is read of a SUMO network, before lanes have boundaries."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ConnectionRecord",
    "Contents",
    "CrossingRecord",
    "EdgeRecord",
    "JunctionRecord",
    "LaneRecord",
    "ProgramRecord",
]

Floats = NDArray[np.float64]


@dataclass(slots=True)
class LaneRecord:
    """A lane of an edge."""

    id: str
    index: int
    """0 is the outer one."""

    type: str
    """In the words of OpenDRIVE."""

    shape: Floats
    """Centre line in the direction of travel, [P, 3], no two neighbours equal; P may be below 2 for
    an internal lane [m]."""

    width: float
    """[m]"""

    speed: float
    """[m/s]"""

    inward: bool = True
    """Whether cars may change to the lane of the next higher index."""

    outward: bool = True
    """Whether they may change to that of the next lower one."""

    setback: float = 0.0
    """How far before its end traffic waits [m]."""


@dataclass(slots=True)
class EdgeRecord:
    """A road in one direction, or a way through a junction."""

    id: str
    source: str
    """Junction at which it starts, "" within one."""

    target: str
    """Junction at which it ends, "" within one."""

    lanes: list[LaneRecord]
    """By index."""

    internal: bool = False


@dataclass(slots=True)
class CrossingRecord:
    """Where pedestrians cross edges."""

    id: str
    edges: list[str]
    shape: Floats
    """Middle line from side to side of the road, [P, 3] [m]."""

    width: float
    """[m]"""


@dataclass(slots=True)
class ConnectionRecord:
    """What follows a lane."""

    source: str
    source_lane: int
    target: str
    target_lane: int
    via: str = ""
    """Internal lane that leads there, "" for none."""

    controller: str = ""
    """Traffic light that rules it, "" for none."""

    link: int = -1
    """Its place in the states of that light."""

    direction: str = ""
    state: str = ""
    """Right of way: "M" has it, "m" gives way, "=" is equal, "s" stops, "w" stops as all do, ..."""


@dataclass(slots=True)
class JunctionRecord:
    """Where edges meet."""

    id: str
    kind: str
    incoming: list[str] = field(default_factory=list)
    """Lanes that end here, by the number of their first link."""

    internal: list[str] = field(default_factory=list)
    """Internal lane of each link, the last of each way through."""

    responses: dict[int, str] = field(default_factory=dict)
    """Link -> which links it gives way to: bits, the last one for link 0."""

    foes: dict[int, str] = field(default_factory=dict)
    """Link -> which links cross it or end where it does."""


@dataclass(slots=True)
class ProgramRecord:
    """What a traffic light shows."""

    id: str
    name: str
    phases: list[tuple[float, str]]
    """(duration [s], state of each link)."""

    offset: float = 0.0
    """How much later than the world it begins [s]."""


@dataclass(slots=True)
class Contents:
    """All that is read of a file."""

    edges: dict[str, EdgeRecord] = field(default_factory=dict)
    lanes: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Name of a lane -> its edge and its place among the lanes there."""

    crossings: list[CrossingRecord] = field(default_factory=list)
    connections: list[ConnectionRecord] = field(default_factory=list)
    junctions: dict[str, JunctionRecord] = field(default_factory=dict)
    programs: dict[str, ProgramRecord] = field(default_factory=dict)
    roundabouts: list[str] = field(default_factory=list)
    """First junction of each."""

    starts: dict[str, list[EdgeRecord]] = field(default_factory=dict)
    """Edges that cars use by the junction at which they start, once asked for."""

    contracted: list[EdgeRecord] = field(default_factory=list)
    """Edges taken out because they are hardly there."""

    joined: list[tuple[str, str]] = field(default_factory=list)
    """Junctions that were at the two ends of such an edge."""

    left_hand: bool = False
    offset: tuple[float, float] = (0.0, 0.0)
    """What was added to the coordinates of the projection, east and north [m]."""

    def of_cars(self, edge: str) -> bool:
        """Returns whether an edge has a lane that cars may use."""
        return edge in self.edges and any(lane.type == "driving" for lane in self.edges[edge].lanes)
