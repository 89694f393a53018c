"""Places the lights, signs, stop lines and crosswalks of a SUMO network.

A light has a state for each link, the way from a lane to the next one. Links of one light that show
the same all the time are one group. Where the links of a lane differ, each has its line at the
start of its own lane through the junction.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import Crosswalk, RoadNetwork, Signal, SignalGroup, StopLine
from selfdrive_env.maps.sumo.curves import boundary
from selfdrive_env.maps.sumo.records import Contents, EdgeRecord, LaneRecord, ProgramRecord
from selfdrive_env.maps.sumo.ways import Way
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW

__all__ = ["place_crosswalks", "place_signals"]

Floats = NDArray[np.float64]

COLOURS = {
    **{"G": GREEN, "g": GREEN, "y": YELLOW, "Y": YELLOW},
    # Red with yellow before green; and an arrow to turn right by after a stop.
    **{"r": RED, "R": RED, "u": RED, "s": RED},
    **{"o": NO_LIGHT, "O": NO_LIGHT},
}
"""State of a link -> what its light shows."""

YIELDS = "g"
"""State of a link that is green but gives way."""

STOPS = frozenset(("s", "w"))
"""States of connections at which all stop."""

DIFFERENT, STOP = -1, -2
"""In place of the group of a lane: its links have several, or it has a stop sign."""

SETBACK = 0.7
"""Distance of a stop line before the end of its lanes where the file gives none [m]."""

AT_START = 0.1
"""Distance of a line from the start of a lane through a junction [m]."""

BESIDE = 1.0
"""Distance of lights and signs from the outer lane [m]."""


class _Site:
    """What is needed to place signals."""

    def __init__(self, contents: Contents, indices: dict[str, int], network: RoadNetwork) -> None:
        self.contents, self.indices, self.network = contents, indices, network
        self.ruled: set[str] = set()

    def place(self, edge: EdgeRecord, lanes: list[LaneRecord], kind: str, group: int = -1) -> int:
        """Appends a light or sign beside the end of some lanes of an edge; returns its index."""
        outer = self.network.lanes[self.indices[edge.lanes[0].id]]
        left_hand = self.contents.left_hand
        side = outer.left if left_hand else outer.right
        station = self.station(lanes[0])
        position, opposite = (
            self.point(edge.lanes[0].id, line, station)
            for line in (side, outer.right if left_hand else outer.left)
        )
        aside = position - opposite
        aside = aside / max(float(np.hypot(*aside[:2])), 1e-6)
        numbers = [self.indices[lane.id] for lane in lanes]
        heading = self.heading(lanes[0].id)
        name = f"{edge.id}/{len(self.network.signals)}"
        signal = Signal(name, kind, position + BESIDE * aside, heading, numbers, group)
        self.network.signals.append(signal)
        if group >= 0:
            self.network.signal_groups[group].signals.append(len(self.network.signals) - 1)
        return len(self.network.signals) - 1

    def station(self, lane: LaneRecord) -> float:
        """Returns how far before the end of a lane its line lies [m]."""
        length = self.network.lanes[self.indices[lane.id]].length
        return min(max(SETBACK, lane.setback), 0.5 * length)

    def heading(self, name: str) -> float:
        """Returns the direction of travel at the end of a lane [rad]."""
        centre = self.network.lanes[self.indices[name]].centre
        dx, dy = (centre[-1] - centre[-2])[:2]
        return float(np.arctan2(dy, dx))

    def point(self, name: str, line: Floats, station: float) -> Floats:
        """Returns the point of a boundary at a distance before the end of the lane, [3]."""
        arc = self.network.lanes[self.indices[name]].arc_length
        return _at(line, arc, float(arc[-1]) - station)

    def add_line(self, edge: EdgeRecord, lanes: list[LaneRecord], kind: str, signal: int) -> None:
        """Appends a stop line across lanes side by side, which stand in the order of the edge."""
        own = [edge.lanes.index(lane) for lane in lanes]
        first, last = min(own), max(own)
        low, high = first, last
        while low > 0 and edge.lanes[low - 1].id in self.ruled:
            low -= 1
        while high + 1 < len(edge.lanes) and edge.lanes[high + 1].id in self.ruled:
            high += 1
        left, right = self.ends(edge.lanes[first], edge.lanes[last])
        guard_left, guard_right = self.ends(edge.lanes[low], edge.lanes[high])
        places = [
            (index, self.network.lanes[index].length - self.station(lane))
            for lane in lanes
            for index in [self.indices[lane.id]]
        ]
        heading = self.heading(lanes[0].id)
        self.network.stop_lines.append(
            StopLine(left, right, guard_left, guard_right, heading, places, kind, signal)
        )

    def ends(self, outer: LaneRecord, inner: LaneRecord) -> tuple[Floats, Floats]:
        """Returns the left and right end of a line from one lane to another."""
        left, right = (outer, inner) if self.contents.left_hand else (inner, outer)
        lanes = self.network.lanes
        return (
            self.point(left.id, lanes[self.indices[left.id]].left, self.station(left)),
            self.point(right.id, lanes[self.indices[right.id]].right, self.station(right)),
        )


def place_signals(
    ways: list[Way],
    lanes: dict[int, int],
    inner: set[str],
    contents: Contents,
    indices: dict[str, int],
    junctions: dict[str, int],
    network: RoadNetwork,
    problems: Problems,
) -> dict[int, bool]:
    """Fills in signals, signal groups and stop lines of the network.

    Args:
        ways: From lane to lane.
        lanes: Place of a way in `ways` -> index of its lane.
        inner: Edges within junctions, on which nobody waits.
        contents: The records of the file.
        indices: Index of each lane of an edge by its name.
        junctions: Index of each junction by its name.
        network: Has its lanes; receives signals, groups and stop lines.
        problems: Receives links without a state.

    Returns:
        Place of each way that has lights -> whether it gives way when they are green.
    """
    groups, yields = _make_groups(ways, contents, junctions, network, problems)
    _place_all(_Site(contents, indices, network), ways, lanes, inner, groups)
    return yields


def _place_all(
    site: _Site, ways: list[Way], lanes: dict[int, int], inner: set[str], groups: dict[int, int]
) -> None:
    """Appends lights, signs and stop lines."""
    by_lane: dict[str, list[int]] = defaultdict(list)
    for place, way in enumerate(ways):
        if way.source_edge not in inner:
            by_lane[way.source.id].append(place)
    whole: dict[str, int] = {}
    for name, places in by_lane.items():
        own = {groups.get(place, -1) for place in places}
        if own != {-1}:
            whole[name] = own.pop() if len(own) == 1 else DIFFERENT
        elif all(ways[place].record.state in STOPS for place in places):
            whole[name] = STOP
    # Lanes whose lines lie ahead of their end are not held by the lines beside them.
    site.ruled = {name for name, owner in whole.items() if owner != DIFFERENT}
    for edge in site.contents.edges.values():
        if not any(lane.id in by_lane for lane in edge.lanes):
            continue
        for run in _runs(edge, whole):
            group = whole[run[0].id]
            if group >= 0:
                signal = site.place(edge, run, "traffic_light", group)
                site.add_line(edge, run, "signal", signal)
            elif group == STOP:
                site.add_line(edge, run, "stop_sign", site.place(edge, run, "stop_sign"))
            else:
                for lane in run:
                    _add_lines_ahead(site, edge, lane, by_lane[lane.id], groups, lanes)
        _place_yield_sign(site, edge, by_lane, ways, whole)


def _make_groups(
    ways: list[Way],
    contents: Contents,
    junctions: dict[str, int],
    network: RoadNetwork,
    problems: Problems,
) -> tuple[dict[int, int], dict[int, bool]]:
    """Makes the signal groups; returns that of each way, and whether it gives way at green."""
    members: dict[str, dict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    yields: dict[int, bool] = {}
    for place, way in enumerate(ways):
        if not way.record.controller:
            continue
        program = contents.programs.get(way.record.controller)
        name = f"light {way.record.controller}, link {way.record.link}"
        if program is None or not program.phases:
            problems.infer("{} links have a light without a program and count as without", name)
            continue
        states = "".join(
            state[way.record.link] if 0 <= way.record.link < len(state) else "-"
            for _, state in program.phases
        )
        if "-" in states or way.junction not in junctions:
            problems.add("{} links have no state in the program of their light", name)
            continue
        for letter in dict.fromkeys(states):
            if letter not in COLOURS:
                problems.infer("{} states of lights are unknown and count as red", f"{letter!r}")
        colours = tuple(COLOURS.get(letter, RED) for letter in states)
        if set(colours) != {NO_LIGHT}:
            members[way.record.controller][colours].append(place)
            yields[place] = YIELDS in states
    for name, program in contents.programs.items():
        if program.phases and name not in members:
            problems.drop("{} lights rule no way on which cars wait", f"light {name}")
    groups: dict[int, int] = {}
    for controller, own in members.items():
        program = contents.programs[controller]
        junction = junctions[ways[min(places[0] for places in own.values())].junction]
        ordered = sorted(own.items(), key=lambda item: _first_green(item[0]))
        for number, (colours, places) in enumerate(ordered):
            index = len(network.signal_groups)
            cycle, offset = _cycle(colours, program)
            network.signal_groups.append(
                SignalGroup(f"{controller}/{number}", [], junction, cycle, offset)
            )
            network.junctions[junction].signal_groups.append(index)
            groups.update(dict.fromkeys(places, index))
    return groups, yields


def _first_green(colours: tuple[int, ...]) -> int:
    """Returns in which phase a group turns green, the last one where it never does."""
    for phase, colour in enumerate(colours):
        if colour == GREEN and colours[phase - 1] != GREEN:
            return phase
    return 0 if GREEN in colours else len(colours)


def _cycle(
    colours: tuple[int, ...], program: ProgramRecord
) -> tuple[list[tuple[int, float]], float]:
    """Returns the cycle of a group and where in it the world starts [s]."""
    cycle: list[tuple[int, float]] = []
    for colour, (duration, _) in zip(colours, program.phases, strict=True):
        if cycle and cycle[-1][0] == colour:
            cycle[-1] = (colour, cycle[-1][1] + duration)
        else:
            cycle.append((colour, duration))
    total = sum(duration for _, duration in cycle)
    return cycle, float(-program.offset % total)


def _runs(edge: EdgeRecord, whole: dict[str, int]) -> list[list[LaneRecord]]:
    """Returns the lanes of an edge that have lines, those side by side with one owner together."""
    runs: list[list[LaneRecord]] = []
    before = -3
    for lane in edge.lanes:
        owner = whole.get(lane.id, -3)
        if owner != -3 and owner == before:
            runs[-1].append(lane)
        elif owner != -3:
            runs.append([lane])
        before = owner
    return runs


def _add_lines_ahead(
    site: _Site,
    edge: EdgeRecord,
    lane: LaneRecord,
    places: list[int],
    groups: dict[int, int],
    lanes: dict[int, int],
) -> None:
    """Appends a line at the start of each lane with a light that follows a lane."""
    for place in places:
        if place not in groups or place not in lanes:
            continue
        signal = site.place(edge, [lane], "traffic_light", groups[place])
        ahead = site.network.lanes[lanes[place]]
        arc = ahead.arc_length
        at = min(AT_START, 0.5 * float(arc[-1]))
        left, right = (_at(side, arc, at) for side in (ahead.left, ahead.right))
        heading = site.heading(lane.id)
        site.network.stop_lines.append(
            StopLine(
                left, right, left.copy(), right.copy(), heading, [(lanes[place], at)],
                "signal", signal,
            )
        )  # fmt: skip


def _place_yield_sign(
    site: _Site,
    edge: EdgeRecord,
    by_lane: dict[str, list[int]],
    ways: list[Way],
    whole: dict[str, int],
) -> None:
    """Appends a sign where an edge without lights gives way on all of its ways."""
    lanes = [lane for lane in edge.lanes if lane.id in by_lane]
    places = [place for lane in lanes for place in by_lane[lane.id]]
    if any(lane.id in whole for lane in lanes):
        return
    if all(ways[place].record.state == "m" for place in places):
        site.place(edge, lanes, "yield_sign")


def _at(line: Floats, arc: Floats, station: float) -> Floats:
    """Returns the point of a line at a station of the lane that it belongs to, [3]."""
    return np.array([np.interp(station, arc, line[:, axis]) for axis in range(3)])


def place_crosswalks(contents: Contents, network: RoadNetwork) -> None:
    """Appends the crossings over edges that cars use.

    Args:
        contents: The records of the file.
        network: Receives the crosswalks.
    """
    for crossing in contents.crossings:
        if not crossing.edges or any(contents.of_cars(edge) for edge in crossing.edges):
            half = 0.5 * crossing.width
            left, right = (boundary(crossing.shape, side) for side in (half, -half))
            network.crosswalks.append(Crosswalk(np.concatenate([left, right[::-1]])))
