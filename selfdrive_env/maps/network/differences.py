"""What is different in two networks of the same place, such as one and what was read back of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import Lane, RoadNetwork, Signal, StopLine

__all__ = ["differences", "distance_bound", "longer", "offset"]

Floats = NDArray[np.float64]

NEAR = 0.0105
"""Points of driven lanes this far apart in the plane are the same [m]."""

COARSE = 0.5
"""The same for lanes that are not driven on, which readers sample coarsely in tight bends [m]."""

LINE = 0.02
"""The same for ends of stop lines [m]."""

HEIGHT = 0.05
"""The same for heights [m]."""

SPEED = 1e-3
"""Speed limits this far apart are the same [m/s]."""

ANGLE = 0.02
"""Headings of signals this far apart are the same [rad]."""


def offset(points: Floats, line: Floats) -> float:
    """Returns the largest distance of points from a polyline in the plane [m].

    Args:
        points: [P, 2 or 3] [m].
        line: [L, 2 or 3] [m].
    """
    start, step = line[:-1, :2], np.diff(line[:, :2], axis=0)
    square = np.maximum((step * step).sum(axis=1), 1e-12)
    largest = 0.0
    for part in np.array_split(points[:, :2], max(1, len(points) * len(step) // 1_000_000)):
        apart = part[:, None] - start
        share = np.clip((apart * step).sum(axis=-1) / square, 0.0, 1.0)
        rest = apart - share[..., None] * step
        largest = max(largest, float(np.sqrt((rest * rest).sum(axis=-1).min(axis=1)).max()))
    return largest


def longer(line: Floats, by: float = 0.5) -> Floats:
    """Returns a polyline that goes on straight at both ends, [L + 2, 2].

    Args:
        line: [L, 2 or 3] [m].
        by: How far [m].
    """
    ends = []
    for end, before in ((0, 1), (-1, -2)):
        step = line[end, :2] - line[before, :2]
        step = step * (by / max(float(np.hypot(*step)), 1e-6))
        ends.append(line[end, :2] + step)
    return np.concatenate([ends[:1], line[:, :2], ends[1:]])


def distance_bound(one: Floats, two: Floats) -> float:
    """Returns a bound of the distance between two polylines, by the shares of their lengths [m].

    Args:
        one: [P, 2 or 3] [m].
        two: [Q, 2 or 3] [m].
    """
    shares = []
    for line in (one, two):
        arc = np.append(0.0, np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T)))
        shares.append(arc / max(float(arc[-1]), 1e-9))
    all_shares = np.unique(np.concatenate(shares))
    places = [
        np.stack([np.interp(all_shares, share, line[:, axis]) for axis in (0, 1)])
        for share, line in zip(shares, (one, two), strict=True)
    ]
    return float(np.hypot(*(places[0] - places[1])).max())


def differences(network: RoadNetwork, other: RoadNetwork, names: dict[int, str]) -> list[str]:
    """Returns what is different in another network, one sentence a kind.

    Compared are the lanes of a name (where they lie and end, type, links, neighbours, junction,
    and of driven ones limit and precedence), junctions, signals with their groups, stop lines,
    crosswalks and the side of traffic. Signals and groups are told apart by their names.

    Args:
        network: The one.
        other: The other one; its coordinates may have another origin.
        names: Index of a lane -> its name in the other network.
    """
    return _Comparison(network, other, names).sentences()


class _Comparison:
    """Two networks, with the lanes of one found in the other."""

    def __init__(self, network: RoadNetwork, other: RoadNetwork, names: dict[int, str]) -> None:
        self.network, self.other = network, other
        self.shift = np.array(other.origin) - np.array(network.origin)
        indices = {lane.name: index for index, lane in enumerate(other.lanes)}
        self.lanes = {i: indices[name] for i, name in names.items() if name in indices}
        self.problems = Problems()

    def sentences(self) -> list[str]:
        """Returns what is different."""
        for index, lane in enumerate(self.network.lanes):
            if index not in self.lanes:
                self.problems.add("{} lanes are missing", lane.name)
                continue
            self._compare_places(lane, self.other.lanes[self.lanes[index]])
            self._compare_links(index)
        known = set(self.lanes.values())
        for index, lane in enumerate(self.other.lanes):
            if index not in known:
                self.problems.add("{} lanes are there in addition", lane.name)
        self._compare_junctions()
        self._compare_signals()
        self._compare_stop_lines()
        self._compare_crosswalks()
        if self.network.left_hand != self.other.left_hand:
            self.problems.add("{} networks keep to the other side", self.network.name)
        return self.problems.sentences()

    def _compare_places(self, lane: Lane, found: Lane) -> None:
        """Compares where a lane lies; one that is not driven on may run the other way."""
        limit = NEAR if lane.drivable else COARSE
        pairs = [("centre", found.centre), ("left", found.left), ("right", found.right)]
        there = found.centre[-1] - found.centre[0]
        if not lane.drivable and (lane.centre[-1] - lane.centre[0]) @ there < 0.0:
            pairs = [("centre", found.centre[::-1]), ("left", found.right[::-1]),
                ("right", found.left[::-1])]  # fmt: skip
        for name, line in pairs:
            one, two = getattr(lane, name), line + self.shift
            ends = np.abs(one[[0, -1]] - two[[0, -1]])
            apart = distance_bound(one, two)
            if apart > limit:
                apart = max(offset(one, longer(two)), offset(two, longer(one)))
            kind = "driving" if lane.drivable else "other"
            if apart > limit:
                place = f"{lane.name} ({name} by {apart:.3f} m)"
                self.problems.add("{} lines of " + kind + " lanes lie elsewhere", place)
            ending = float(np.hypot(ends[:, 0], ends[:, 1]).max())
            if ending > limit:
                place = f"{lane.name} ({name} by {ending:.3f} m)"
                self.problems.add("{} lines of " + kind + " lanes end elsewhere", place)
            if lane.drivable and name == "centre" and ends[:, 2].max() > HEIGHT:
                place = f"{lane.name} (by {ends[:, 2].max():.2f} m)"
                self.problems.add("{} driving lanes end at another height", place)

    def _compare_links(self, index: int) -> None:
        """Compares what a lane says of itself and of others."""
        lane, found = self.network.lanes[index], self.other.lanes[self.lanes[index]]
        if lane.type != found.type:
            place = f"{lane.name} ({lane.type}, {found.type})"
            self.problems.add("{} lanes have another type", place)
        if not lane.drivable:
            return
        for field in ("successors", "predecessors"):
            own = {self.lanes.get(i, -1) for i in getattr(lane, field)}
            if own != set(getattr(found, field)):
                self.problems.add("{} lanes have other " + field, lane.name)
        for field in ("left_neighbour", "right_neighbour"):
            neighbour = getattr(lane, field)
            if (self.lanes.get(neighbour, -2) if neighbour >= 0 else -1) != getattr(found, field):
                self.problems.add("{} lanes have another " + field.replace("_", " "), lane.name)
        junctions = [
            network.junctions[one.junction].name if one.junction >= 0 else None
            for network, one in ((self.network, lane), (self.other, found))
        ]
        if junctions[0] != junctions[1]:
            self.problems.add("{} lanes are in another junction", lane.name)
        if abs(lane.speed_limit - found.speed_limit) > SPEED:
            place = f"{lane.name} ({lane.speed_limit:g}, {found.speed_limit:g} m/s)"
            self.problems.add("{} lanes have another speed limit", place)
        for side in ("left", "right"):
            if getattr(lane, f"{side}_mark") != getattr(found, f"{side}_mark"):
                self.problems.add("{} lanes have another mark on their " + side, lane.name)
        if lane.precedence != found.precedence:
            self.problems.add("{} lanes have another precedence", lane.name)

    def _compare_junctions(self) -> None:
        """Compares junctions by their names."""
        others = {junction.name: junction for junction in self.other.junctions}
        for junction in self.network.junctions:
            found = others.pop(junction.name, None)
            if found is None:
                self.problems.add("{} junctions are missing", junction.name)
                continue
            if (junction.kind, junction.rule) != (found.kind, found.rule):
                self.problems.add("{} junctions have another kind or rule", junction.name)
            groups = [
                [network.signal_groups[i].name for i in one.signal_groups]
                for network, one in ((self.network, junction), (self.other, found))
            ]
            if groups[0] != groups[1]:
                self.problems.add("{} junctions have other signal groups", junction.name)
        for name, junction in others.items():
            kind = f"{junction.kind} junctions"
            self.problems.add("{} " + kind + " are there in addition", name)

    def _compare_signals(self) -> None:
        """Compares lights and signs by their names, and their groups."""
        others: dict[str, list[Signal]] = {}
        for signal in self.other.signals:
            others.setdefault(signal.name, []).append(signal)
        for signal in self.network.signals:
            if not others.get(signal.name):
                self.problems.add("{} signals are missing", signal.name)
                continue
            place = signal.position - self.shift
            found = min(
                others[signal.name], key=lambda s: float(np.hypot(*(s.position - place)[:2]))
            )
            others[signal.name] = [s for s in others[signal.name] if s is not found]
            if signal.kind != found.kind:
                self.problems.add("{} signals are of another kind", signal.name)
            apart = np.abs(signal.position - found.position - self.shift)
            turn = (signal.heading - found.heading + np.pi) % (2.0 * np.pi) - np.pi
            if np.hypot(*apart[:2]) > NEAR or apart[2] > HEIGHT or abs(turn) > ANGLE:
                self.problems.add("{} signals stand elsewhere or are turned", signal.name)
            if {self.lanes.get(i, -1) for i in signal.lanes} != set(found.lanes):
                self.problems.add("{} signals are for other lanes", signal.name)
            groups = [
                (group.name, group.cycle, group.offset)
                for network, one in ((self.network, signal), (self.other, found))
                for group in network.signal_groups[one.group : one.group + 1 or None]
                if one.group >= 0
            ]
            if (signal.group < 0) != (found.group < 0) or groups[:1] != groups[1:]:
                place = signal.name
                self.problems.add("{} signals are in another group or have another cycle", place)
        for name, rest in others.items():
            for _ in rest:
                self.problems.add("{} signals are there in addition", name)

    def _compare_stop_lines(self) -> None:
        """Compares stop lines by the lanes that they are for."""
        waiting: dict[tuple[str, frozenset[int]], list[StopLine]] = {}
        for line in self.other.stop_lines:
            key = (line.kind, frozenset(lane for lane, _ in line.lanes))
            waiting.setdefault(key, []).append(line)
        for line in self.network.stop_lines:
            key = (line.kind, frozenset(self.lanes.get(lane, -1) for lane, _ in line.lanes))
            name = self.network.lanes[line.lanes[0][0]].name if line.lanes else "none"
            found = waiting.get(key)
            if not found:
                self.problems.add("{} stop lines are missing", f"that of lane {name}")
                continue
            one = found.pop(0)
            for what, fields in (("lie", ("left", "right")), ("guard", _GUARDS)):
                apart = max(
                    float(np.hypot(*(getattr(line, f) - getattr(one, f) - self.shift)[:2]))
                    for f in fields
                )
                if apart > LINE:
                    place = f"that of lane {name} (by {apart:.2f} m)"
                    self.problems.add("{} stop lines " + what + " elsewhere", place)
            if _group(self.network, line) != _group(self.other, one):
                self.problems.add("{} stop lines have another signal group", f"that of lane {name}")
        for (_, lanes), rest in waiting.items():
            for _ in rest:
                names = ", ".join(self.other.lanes[lane].name for lane in sorted(lanes))
                self.problems.add("{} stop lines are there in addition", f"that of lane {names}")

    def _compare_crosswalks(self) -> None:
        """Compares crosswalks by their outlines."""
        ones = [c.outline for c in self.network.crosswalks]
        twos = [c.outline + self.shift for c in self.other.crosswalks]
        for number, one in enumerate(ones):
            for place, two in enumerate(twos):
                if one.shape == two.shape and np.abs(one - two)[:, :2].max() <= NEAR:
                    del twos[place]
                    break
            else:
                self.problems.add("{} crosswalks are missing or lie elsewhere", str(number))
        for number, _ in enumerate(twos):
            self.problems.add("{} crosswalks are there in addition", str(number))


_GUARDS = ("guard_left", "guard_right")


def _group(network: RoadNetwork, line: StopLine) -> str | None:
    """Returns the name of the signal group that a stop line heeds, None for a sign or nothing."""
    group = network.signals[line.signal].group if line.signal >= 0 else -1
    return network.signal_groups[group].name if group >= 0 else None
