"""What is left to do with a network that a reader has filled, whatever the format.

A reader adds lanes (with their links as far as the file has them), junctions, signals and stop
lines in the coordinates of its source, then calls `finish` once. Signals whose place depends on
the links can be put in after `join_lanes`, which `finish` calls too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from selfdrive_env.maps.flaws import listed
from selfdrive_env.maps.network.guards import widen_guards
from selfdrive_env.maps.road_network import DRIVABLE_TYPES, TWO_WAY, Lane, MapError, RoadNetwork

__all__ = ["Problems", "directions", "finish", "join_lanes", "lane_along", "move"]

Floats = NDArray[np.float64]

MAX_HEIGHT = 1000.0
"""Maps within this height of zero keep their z [m]."""

WALKING_PACE = 1.5
"""Speed limits below this are listed as doubtful [m/s]."""

NEAR = 0.5
"""An end and a start this near each other are joined where the file has no link [m]."""

NEAR_HEIGHT = 1.0
"""The same for the height [m]."""

NEAR_KINK = np.cos(np.radians(15.0))
"""The same for the change of heading (its cosine)."""


class Problems:
    """Collects what a reader has to tell as one sentence a kind, with a count and a few names.

    A sentence is a flaw of the file, or tells what was inferred or dropped, or both.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = defaultdict(list)
        self._flaws: set[str] = set()
        self._inferred: set[str] = set()
        self._dropped: set[str] = set()

    def add(self, sentence: str, name: str) -> None:
        """Notes a flaw: `sentence` ("{} lanes are ...", the count in braces) holds for `name`."""
        self.names[sentence].append(name)
        self._flaws.add(sentence)

    def infer(self, sentence: str, name: str, *, flaw: bool = True) -> None:
        """Notes that the reader supplied what the file does not say, or says wrongly.

        Args:
            sentence: As of `add`.
            name: Likewise.
            flaw: Whether the file should have said it.
        """
        self.names[sentence].append(name)
        self._inferred.add(sentence)
        if flaw:
            self._flaws.add(sentence)

    def drop(self, sentence: str, name: str, *, flaw: bool = True) -> None:
        """Notes that something of the file is not in the network, or not used.

        Args:
            sentence: As of `add`.
            name: Likewise.
            flaw: Whether that should be looked at.
        """
        self.names[sentence].append(name)
        self._dropped.add(sentence)
        if flaw:
            self._flaws.add(sentence)

    def skip(self, elements: Counter[str]) -> None:
        """Notes how many elements of each name a reader passes over; none of them is a flaw."""
        for name, count in sorted(elements.items()):
            self.names["{} kinds of elements are not read"].append(f"<{name}> ({count})")
            self._dropped.add("{} kinds of elements are not read")

    def sentences(self) -> list[str]:
        """Returns one sentence a kind of flaw."""
        return self._of(self._flaws)

    def inferred(self) -> list[str]:
        """Returns one sentence for each kind of thing that was inferred."""
        return self._of(self._inferred)

    def dropped(self) -> list[str]:
        """Returns one sentence for each kind of thing that was dropped."""
        return self._of(self._dropped)

    def _of(self, chosen: set[str]) -> list[str]:
        """Returns some sentences, in the order in which they were first noted."""
        return [listed(sentence, own) for sentence, own in self.names.items() if sentence in chosen]


def lane_along(name: str, centre: ArrayLike, width: ArrayLike, **fields: Any) -> Lane:
    """Returns a lane with boundaries half its width to either side of a centre line.

    Args:
        name: Unique within the network.
        centre: In the direction of travel, [P, 2] or [P, 3], P >= 2, no two neighbours equal [m].
        width: One for all points, or [P] [m].
        **fields: Of `Lane`; the type is "driving" unless given.
    """
    centre = np.array(centre, np.float64)
    if centre.ndim != 2 or centre.shape[0] < 2 or centre.shape[1] not in (2, 3):
        raise MapError(f"centre of lane {name!r} is {list(centre.shape)}, not [P >= 2, 2 or 3]")
    centre = np.pad(centre, ((0, 0), (0, 3 - centre.shape[1])))
    ahead = np.gradient(centre[:, :2], axis=0)
    ahead /= np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    aside = np.stack([-ahead[:, 1], ahead[:, 0], np.zeros(len(centre))], axis=1)
    half = 0.5 * np.broadcast_to(np.asarray(width, np.float64), len(centre))[:, None]
    fields.setdefault("type", "driving")
    return Lane(name, centre=centre, left=centre + half * aside, right=centre - half * aside,
        **fields)  # fmt: skip


def finish(
    network: RoadNetwork,
    problems: Problems,
    *,
    neighbours: bool = True,
    whole: Collection[int] = (),
) -> RoadNetwork:
    """Completes a network: links, junctions, guards, figures, and coordinates around the origin.

    Args:
        network: As the reader filled it; changed in place.
        problems: What is flawed but usable; ends up in the network.
        neighbours: Whether a neighbour known from one side is one from the other, too.
        whole: Indices of the stop lines whose guards are complete.

    Returns:
        The network.

    Raises:
        MapError: No lane is drivable, or `RoadNetwork.check` finds something.
    """
    network.check()
    name = Path(network.source).name or network.name
    if not any(lane.drivable for lane in network.lanes):
        flaws = "".join(f"; {sentence}" for sentence in problems.sentences())
        raise MapError(
            f"{name}: none of {len(network.lanes)} lanes in {network.num_roads} roads is "
            f"drivable; at least one of type {', '.join(sorted(DRIVABLE_TYPES))} is needed{flaws}"
        )
    for index, lane in enumerate(network.lanes):
        if not lane.drivable:
            continue
        if lane.junction >= 0 and index not in (inside := network.junctions[lane.junction].lanes):
            inside.append(index)
        if lane.speed_limit < WALKING_PACE:
            problems.add("{} driving lanes have a speed limit below 1.5 m/s", lane.name)
    join_lanes(network, problems, neighbours=neighbours)
    widen_guards(network, whole)
    if not network.driving_lane_km:
        total = sum(lane.length for lane in network.lanes if lane.drivable)
        network.driving_lane_km = total / 1000.0
    move(network, -_middle(network))
    network.problems = problems.sentences()
    network.inferred, network.dropped = problems.inferred(), problems.dropped()
    return network


def _middle(network: RoadNetwork) -> Floats:
    """Returns the middle of the drivable lanes, [3] [m]; z only of maps that lie high."""
    edges = [side for lane in network.lanes if lane.drivable for side in (lane.left, lane.right)]
    low = np.min([points.min(axis=0) for points in edges], axis=0)
    high = np.max([points.max(axis=0) for points in edges], axis=0)
    middle: Floats = 0.5 * (low + high)
    if max(abs(low[2]), abs(high[2])) <= MAX_HEIGHT:
        middle[2] = 0.0
    return middle


def move(network: RoadNetwork, shift: Floats) -> None:
    """Adds the same to all coordinates, and takes it from the origin.

    Args:
        network: Changed in place; its arrays are replaced, not written to.
        shift: [3] [m].
    """
    x, y, z = (float(o - s) for o, s in zip(network.origin, shift, strict=True))
    network.origin = (x, y, z)
    for lane in network.lanes:
        lane.centre, lane.left, lane.right = (
            p + shift for p in (lane.centre, lane.left, lane.right)
        )
    for signal in network.signals:
        signal.position = signal.position + shift
    for line in network.stop_lines:
        line.left, line.right = line.left + shift, line.right + shift
        line.guard_left, line.guard_right = line.guard_left + shift, line.guard_right + shift
    for crosswalk in network.crosswalks:
        crosswalk.outline = crosswalk.outline + shift


def join_lanes(network: RoadNetwork, problems: Problems, *, neighbours: bool = True) -> None:
    """Completes what drivable lanes say of each other; what is there already stays as it is.

    A successor gets its predecessor and the other way round, a neighbour its neighbour; an end
    without successor and a start without predecessor are joined where they coincide.

    Args:
        network: Changed in place.
        problems: Receives the links that were missing.
        neighbours: Whether those known from one side are completed; not where a line between two
            lanes may be crossed from one of them only.
    """
    lanes = network.lanes
    for index, lane in enumerate(lanes):
        for other in lane.successors:
            if index not in lanes[other].predecessors:
                lanes[other].predecessors.append(index)
        for other in lane.predecessors:
            if index not in lanes[other].successors:
                lanes[other].successors.append(index)
        if lane.type == TWO_WAY or not neighbours:
            continue
        if lane.left_neighbour >= 0 and lanes[lane.left_neighbour].right_neighbour < 0:
            lanes[lane.left_neighbour].right_neighbour = index
        if lane.right_neighbour >= 0 and lanes[lane.right_neighbour].left_neighbour < 0:
            lanes[lane.right_neighbour].left_neighbour = index
    _join_coincident(lanes, problems)


def directions(centre: Floats) -> tuple[Floats, Floats]:
    """Returns the unit directions in which a lane starts and ends, [2] each.

    Args:
        centre: Its centre line, [P, 3] [m].
    """
    return _direction(centre), -_direction(centre[::-1])


def _direction(centre: Floats) -> Floats:
    """Returns the unit direction from the first point to the next one that is apart from it."""
    for point in centre[1:]:
        dx, dy = point[0] - centre[0, 0], point[1] - centre[0, 1]
        length = float(np.hypot(dx, dy))
        if length > 1e-6:
            return np.array([dx / length, dy / length])
    return np.zeros(2)


def _join_coincident(lanes: list[Lane], problems: Problems) -> None:
    """Joins ends without successor and starts without predecessor where they coincide."""
    drivable = {i: lane for i, lane in enumerate(lanes) if lane.drivable}
    open_ends = {i for i, lane in drivable.items() if not lane.successors}
    open_starts = {i for i, lane in drivable.items() if not lane.predecessors}
    if not open_ends and not open_starts:
        return
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, lane in drivable.items():
        cells[int(lane.centre[0, 0] // 1.0), int(lane.centre[0, 1] // 1.0)].append(i)
    pairs = []
    for i, lane in drivable.items():
        column, row = int(lane.centre[-1, 0] // 1.0), int(lane.centre[-1, 1] // 1.0)
        for place in ((column + c, row + r) for c in (-1, 0, 1) for r in (-1, 0, 1)):
            for j in cells.get(place, ()):
                wanted = i in open_ends or j in open_starts
                # A lane that ends where it starts is a ring, unless it is hardly there at all.
                whole = i != j or lane.length > 4.0 * NEAR
                if wanted and whole and _coincide(lane.centre, lanes[j].centre):
                    pairs.append((i, j))
    for i, j in pairs:
        if j not in lanes[i].successors:
            lanes[i].successors.append(j)
            lanes[j].predecessors.append(i)
            name = f"{lanes[i].name} -> {lanes[j].name}"
            problems.infer("{} lane links were missing and are taken from geometry", name)


def _coincide(centre: Floats, other: Floats) -> bool:
    """Returns whether a centre line starts where another one ends, in its direction."""
    apart = other[0] - centre[-1]
    if np.hypot(apart[0], apart[1]) > NEAR or abs(apart[2]) >= NEAR_HEIGHT:
        return False
    return bool(directions(centre)[1] @ directions(other)[0] >= NEAR_KINK)
