"""The host-side description of a road map: lanes, junctions, stop lines, signals, crosswalks.

Every reader and generator returns a `RoadNetwork`; `compile` turns it into flat arrays. All
coordinates are centred (`origin` was subtracted), in metres; headings run counter-clockwise from
+x. `RoadNetwork.save` keeps one in a file that ends in .roads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps import columns, warps
from selfdrive_env.maps.flaws import SINGLE, flawed_index, flawed_number

__all__ = [
    "DRIVABLE_TYPES",
    "TWO_WAY",
    "Crosswalk",
    "Junction",
    "Lane",
    "MapError",
    "RoadNetwork",
    "Signal",
    "SignalGroup",
    "StopLine",
]

DRIVABLE_TYPES = frozenset(
    (
        *("driving", "bidirectional", "entry", "exit", "onRamp", "offRamp"),
        *("connectingRamp", "slipLane", "mwyEntry", "mwyExit"),
    )
)
"""Lane types a car may drive on."""

TWO_WAY = "bidirectional"
"""The type of lanes in which traffic runs both ways: one changes out of them, not into them."""

DEFAULT_SPEED_LIMIT = 13.9
"""Used where neither lane, road nor signal gives a limit [m/s]."""

HEADINGS = ("inferred", "dropped")
"""Lists of sentences that a network may have beside its problems."""

SUFFIX = ".roads"
"""Of the files that `RoadNetwork.save` writes."""

FILE_HEADER, FILE_VERSION = "selfdrive_env_roads", 1
"""What such a file is called in its header, and the version of its format."""

Points = NDArray[np.float64]


class MapError(ValueError):
    """A map that cannot be used; the message names file, element, value and what is allowed."""


@dataclass(slots=True)
class Lane:
    """One lane of one lane section, with its points in the direction of travel."""

    name: str
    """Unique within the network, "road/section/lane id" for OpenDRIVE."""

    type: str
    """In the words of OpenDRIVE, such as "driving", "biking", "sidewalk" or "parking"."""

    centre: Points
    """Centre line, [P, 3], P >= 2 [m]. `left` and `right` are sampled at the same stations."""

    left: Points
    """Left boundary seen in the direction of travel, [P, 3] [m]."""

    right: Points
    """Right boundary seen in the direction of travel, [P, 3] [m]."""

    speed_limit: float = DEFAULT_SPEED_LIMIT
    """[m/s]"""

    road: str = ""
    """Name of the road that holds the lane."""

    junction: int = -1
    """Index of the junction the lane runs through, -1 outside junctions."""

    successors: list[int] = field(default_factory=list)
    predecessors: list[int] = field(default_factory=list)

    left_neighbour: int = -1
    """The drivable lane beside this one, same section and same direction of travel, or -1."""

    right_neighbour: int = -1

    precedence: int = field(default=0, metadata=columns.SPARSE)
    """Right of way within a junction: below 0 gives way, above 0 has the priority road."""

    left_mark: str = field(default="", metadata=columns.SPARSE)
    """What is painted on its left boundary: "" (as its neighbours ask for) or "none"."""

    right_mark: str = field(default="", metadata=columns.SPARSE)
    """Likewise on its right boundary: the middle of a road where traffic keeps to the left."""

    @property
    def drivable(self) -> bool:
        """Whether cars may drive here."""
        return self.type in DRIVABLE_TYPES

    @property
    def arc_length(self) -> NDArray[np.float64]:
        """Arc length of the centre line in the plane at each point, [P], from 0 [m]."""
        steps = np.hypot(*np.diff(self.centre[:, :2], axis=0).T)
        return np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length(self) -> float:
        """Length of the centre line in the plane [m]."""
        return float(self.arc_length[-1])

    @property
    def width(self) -> NDArray[np.float64]:
        """Width along the lane in the plane, [P] [m]."""
        return np.hypot(*(self.left - self.right)[:, :2].T)


@dataclass(slots=True)
class Junction:
    """An area where roads meet; all of it is drivable, holes between the lanes included."""

    name: str
    kind: str = "default"
    """ "default" (connecting roads), "direct" (motorway entry or exit) or "virtual"."""

    lanes: list[int] = field(default_factory=list)
    """Lanes that run through it (connecting lanes)."""

    signal_groups: list[int] = field(default_factory=list)
    """Indices into `RoadNetwork.signal_groups` in the order they turn green: one at a time, unless
    the groups have cycles of their own."""

    rule: str = field(default="", metadata=columns.SPARSE)
    """Who goes first among lanes of equal precedence: "" (the source says nothing), "right_first",
    "left_first" or "all_way_stop" (in order of arrival)."""


@dataclass(slots=True)
class Signal:
    """A traffic light or sign at the roadside."""

    name: str
    kind: str
    """ "traffic_light", "stop_sign", "yield_sign", "priority_sign" or "speed_limit"."""

    position: Points
    """[3] [m]"""

    heading: float
    """Direction of travel of the traffic it is meant for [rad]."""

    lanes: list[int] = field(default_factory=list)
    """Lanes it is valid for (as seen where the signal stands)."""

    group: int = -1
    """Index into `RoadNetwork.signal_groups`, -1 for signs."""


@dataclass(slots=True)
class SignalGroup:
    """Traffic lights that always show the same colour (one OpenDRIVE controller)."""

    name: str
    signals: list[int] = field(default_factory=list)
    junction: int = -1

    cycle: list[tuple[int, float]] = field(default_factory=list, metadata=columns.SPARSE)
    """(colour, duration [s]) of each phase that the source gives, round and round; the colour is
    GREEN, YELLOW, RED or NO_LIGHT of `state.world`. Empty: the source says nothing."""

    offset: float = field(default=0.0, metadata=columns.SPARSE)
    """Time within the cycle at which the world starts [s]."""


@dataclass(slots=True)
class StopLine:
    """Where to wait for a traffic light or at a stop sign."""

    left: Points
    """Left end over the lanes it controls, [3] [m]."""

    right: Points
    """Right end over the lanes it controls, [3] [m]."""

    guard_left: Points
    """Left end over the whole carriageway, oncoming lanes included, [3] [m]."""

    guard_right: Points
    """Right end over the whole carriageway, [3] [m]."""

    heading: float
    """Direction of travel of the traffic that has to stop [rad]."""

    lanes: list[tuple[int, float]] = field(default_factory=list)
    """(lane, arc length along its centre where the line lies [m]) for each controlled lane."""

    kind: str = "signal"
    """ "signal" or "stop_sign"."""

    signal: int = -1
    """Index of the traffic light or sign."""


@dataclass(slots=True)
class Crosswalk:
    """A pedestrian crossing."""

    outline: Points
    """Closed polygon without the repeated first point, [P, 3] [m]."""


@dataclass(slots=True, eq=False)
class RoadNetwork:
    """A whole map on the host."""

    name: str
    lanes: list[Lane] = field(default_factory=list)
    junctions: list[Junction] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    signal_groups: list[SignalGroup] = field(default_factory=list)
    stop_lines: list[StopLine] = field(default_factory=list)
    crosswalks: list[Crosswalk] = field(default_factory=list)

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What was subtracted from the coordinates of the source [m]."""

    left_hand: bool = False
    """Traffic keeps to the left."""

    num_roads: int = 0
    """Roads in the source."""

    driving_lane_km: float = 0.0
    """Lengths of drivable lanes summed over lane sections, along the reference line [km]."""

    problems: list[str] = field(default_factory=list)
    """What is flawed but usable, one sentence each, naming the element."""

    inferred: list[str] = field(default_factory=list)
    """What the reader supplied because the source does not say it, or says it wrongly; sentences as
    in `problems`, which has those of them that are flaws, too."""

    dropped: list[str] = field(default_factory=list)
    """What of the source is not in the network, or not used; likewise."""

    source: str = ""
    """The file or the built-in name it came from."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the network to a file that `selfdrive_env.maps.load` reads.

        All is kept to the bit but `source`, which becomes the path that the file is read from.

        Args:
            path: Ends in .roads.

        Raises:
            MapError: The path ends otherwise, or `check` finds something that cannot be used.
        """
        path = Path(path)
        if not path.name.lower().endswith(SUFFIX):
            raise MapError(f"a road network is saved to a file that ends in {SUFFIX}, not {path}")
        arrays = self.arrays()
        self._check(arrays)
        columns.write(path, FILE_HEADER, FILE_VERSION, arrays)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RoadNetwork:
        """Returns the network that `save` wrote.

        Args:
            path: Of the file.

        Raises:
            MapError: The file is damaged, of another version, or none that `save` wrote.
            FileNotFoundError: There is no such file.
        """
        path = Path(path)
        try:
            arrays = columns.read(path, FILE_HEADER, FILE_VERSION)
            network = cls.from_arrays(arrays)
            network._check(arrays)
        except ValueError as error:
            raise MapError(f"{path.name} is no road network: {error}") from None
        network.source = str(path)
        return network

    def __eq__(self, other: object) -> bool:
        """Whether two networks have one digest: settings and specs that hold them are compared."""
        if not isinstance(other, RoadNetwork):
            return NotImplemented
        return self is other or self.digest() == other.digest()

    __hash__ = None  # type: ignore[assignment]

    def digest(self) -> str:
        """Returns 64 hexadecimal digits that change with anything but `source`."""
        return columns.digest(self.arrays())

    def arrays(self) -> columns.Arrays:
        """Returns everything but `source` as named arrays; a MapError where a value is none."""
        if not isinstance(self.name, str):
            raise MapError(f"map {self.name!r}: name must be text, got {self.name!r}")
        about = {
            "name": str(self.name),
            "origin": [float(value) for value in self.origin],
            "left_hand": bool(self.left_hand),
            "num_roads": int(self.num_roads),
            "driving_lane_km": float(self.driving_lane_km),
            "problems": [str(problem) for problem in self.problems],
        }
        for heading in HEADINGS:  # where there is nothing to tell, digests are as they ever were
            if told := getattr(self, heading):
                about[heading] = [str(sentence) for sentence in told]
        out = {"about": columns.to_text(about)}
        try:
            for name, kind in _PARTS.items():
                out.update(columns.pack(getattr(self, name), kind, name))
        except ValueError as error:
            raise MapError(f"map {self.name!r}: {error}") from None
        return out

    @classmethod
    def from_arrays(cls, arrays: columns.Arrays) -> RoadNetwork:
        """Returns the network that `arrays` was made from; a ValueError for other arrays."""
        about = columns.from_text(arrays, "about")
        kinds = {"name": str, "left_hand": bool, "num_roads": int, "driving_lane_km": float}
        kinds |= {"origin": list, "problems": list}
        if not isinstance(about, dict) or about.keys() - set(HEADINGS) != kinds.keys():
            raise ValueError(f"about has not the entries {', '.join(kinds)}")
        kinds |= {heading: list for heading in HEADINGS if heading in about}
        for name, kind in kinds.items():
            if type(about[name]) is not kind:
                raise ValueError(f"{name} is {about[name]!r}, which is no {kind.__name__}")
        if [type(value) for value in about["origin"]] != [float] * 3:
            raise ValueError(f"origin is {about['origin']}, not three numbers")
        for name in ("problems", *HEADINGS):
            if not all(isinstance(sentence, str) for sentence in about.get(name, ())):
                raise ValueError(f"{name} holds what is no text")
        about["origin"] = tuple(about["origin"])
        parts: dict[str, Any] = {
            name: columns.unpack(arrays, kind, name) for name, kind in _PARTS.items()
        }
        return cls(**about, **parts)

    def check(self) -> None:
        """Raises a MapError where an index leads nowhere or a line has no shape.

        What it lets pass compiles, given that some lane is drivable.
        """
        self._check(self.arrays())
        for part, kind in _PARTS.items():
            names = [one.name for one in fields(kind) if one.type == "Points"]
            for number, item in enumerate(getattr(self, part)):
                for name in names:
                    value = getattr(item, name)
                    # Equal numbers have one digest, but compile to others in another precision.
                    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
                        kept = getattr(value, "dtype", type(value).__name__)
                        raise MapError(
                            f"map {self.name!r}: {part}.{name} of entry {number} must be an array "
                            f"of float64, got {kept}"
                        )

    def _check(self, arrays: columns.Arrays) -> None:
        """Checks the network in the form of `arrays`."""
        flaw = flawed_number(arrays) or flawed_index(arrays) or self._flawed_line(arrays)
        if flaw:
            raise MapError(f"map {self.name!r}: {flaw}")

    def _flawed_line(self, arrays: columns.Arrays) -> str | None:
        lengths = [arrays[f"lanes.{line}.length"] for line in ("centre", "left", "right")]
        for lane in np.flatnonzero(lengths[0] < 2).tolist():
            return f"centre of lane {self.lanes[lane].name!r} has no two points in rows"
        for side, length in zip(("left", "right"), lengths[1:], strict=True):
            for lane in np.flatnonzero(length != lengths[0]).tolist():
                return f"{side} of lane {self.lanes[lane].name!r} is not shaped like its centre"
        for name, single in SINGLE.items():
            for number in np.flatnonzero((arrays[f"{name}.length"] < 0) != single).tolist():
                return f"{name} of entry {number} must be {'one point' if single else 'a list'}"
        return None

    def mirrored(self) -> RoadNetwork:
        """Returns the network reflected in the x axis; traffic changes its side."""
        return self.transformed(np.diag([1.0, -1.0]))

    def transformed(self, matrix: NDArray[np.float64]) -> RoadNetwork:
        """Returns the network with `matrix` applied to every (x, y).

        Args:
            matrix: Rotation, flip, scale, shear or a product of them, [2, 2], determinant not 0.

        Returns:
            A new network; topology and elevation stay. Where the matrix mirrors, left and right
            swap: sides of lanes, their marks, the rules of junctions.
        """
        return warps.transformed(self, matrix)

    def varied(self, seed: int) -> RoadNetwork:
        """Returns a random variant: flipped half the time, scaled by 0.9-1.1, sheared by up to 0.1.

        Even seeds also bend it: two waves 30 to 60 m long make straight streets wind, with radii
        from 20 m, and change widths by up to an eighth.

        Args:
            seed: Same seed, same variant; 0 returns the network itself.
        """
        return warps.varied(self, seed)


_PARTS: dict[str, Any] = {
    "lanes": Lane,
    "junctions": Junction,
    "signals": Signal,
    "signal_groups": SignalGroup,
    "stop_lines": StopLine,
    "crosswalks": Crosswalk,
}
"""The lists of a network and what they hold."""
