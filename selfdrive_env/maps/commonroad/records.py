"""What a CommonRoad file holds, as plain records: numbers parsed, units SI, ids as in the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Contents", "Incoming", "Intersection", "Lanelet", "Light", "Sign", "StopMark"]

Floats = NDArray[np.float64]


@dataclass(slots=True)
class StopMark:
    """A stop line or give way line of a lanelet."""

    points: Floats
    """Its two ends, [2, 3]; [0, 3] for one across the end of the lanelet [m]."""

    signs: list[str] = field(default_factory=list)
    lights: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Lanelet:
    """A piece of a lane between two bounds, in the direction of travel."""

    id: str
    left: Floats
    """[P >= 2, 3] [m]"""

    right: Floats
    """[Q >= 2, 3] [m]"""

    predecessors: list[str] = field(default_factory=list)
    successors: list[str] = field(default_factory=list)
    adjacent_left: tuple[str, bool] | None = None
    """(lanelet, whether traffic runs the same way there)."""

    adjacent_right: tuple[str, bool] | None = None
    stop_line: StopMark | None = None
    types: frozenset[str] = frozenset()
    """Such as "urban" or "sidewalk"; none in version 2018b."""

    one_way: frozenset[str] = frozenset()
    """Who may use it in its direction; everybody where nobody is named."""

    both_ways: frozenset[str] = frozenset()
    """Who may use it in both directions."""

    signs: list[str] = field(default_factory=list)
    lights: list[str] = field(default_factory=list)
    speed: float | None = None
    """Limit of version 2018b [m/s]."""


@dataclass(slots=True)
class Sign:
    """Traffic signs on one pole."""

    id: str
    elements: list[tuple[str, float | None]]
    """(kind, limit that is shown [m/s]) of each sign that matters: a kind of `Signal`, or
    "right_first" at a junction where right goes before left."""

    position: Floats | None
    """[3] [m]"""

    virtual: bool
    """Not there in the world, though it holds."""


@dataclass(slots=True)
class Light:
    """A traffic light."""

    id: str
    cycle: list[tuple[int, float]]
    """As in `SignalGroup.cycle`; empty where the file has no usable one."""

    offset: float
    """Time within the cycle at the start of the scenario [s]."""

    position: Floats | None
    """[3] [m]"""

    direction: str
    """Whom it is for: "all", "straight", "left", "leftStraight" and the like."""

    active: bool


@dataclass(slots=True)
class Incoming:
    """An arm of an intersection."""

    id: str
    lanelets: list[str]
    """Those that lead into the intersection."""

    successors: list[str]
    """Those that follow within the intersection: right, straight and left."""

    right: list[str]
    """Those of them that turn right."""

    left: list[str]


@dataclass(slots=True)
class Intersection:
    """An area where roads meet."""

    id: str
    incomings: list[Incoming]
    crossings: list[str]
    """Lanelets of pedestrians that cross an arm."""


@dataclass(slots=True)
class Contents:
    """All of a file that is read."""

    version: str
    country: str
    """Three letters of the benchmark ID, "ZAM" for a place that does not exist."""

    step: float
    """Of the time-discrete scenario, 0 where the file has none [s]."""

    lanelets: dict[str, Lanelet] = field(default_factory=dict)
    signs: dict[str, Sign] = field(default_factory=dict)
    lights: dict[str, Light] = field(default_factory=dict)
    intersections: dict[str, Intersection] = field(default_factory=dict)
