"""Draws stop lines across the approaches of traffic lights and stop signs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.opendrive.crosswalks import road_points
from selfdrive_env.maps.opendrive.lanes import SampledSection, runs_forward
from selfdrive_env.maps.opendrive.parse.records import Contents, LineRecord, Road, Section
from selfdrive_env.maps.road_network import Lane, RoadNetwork, StopLine

__all__ = ["Approach", "LanePlaces", "place_stop_lines"]

Floats = NDArray[np.float64]

SETBACK = 0.7
"""Distance of a stop line before the junction where the file does not draw one [m]."""

MIN_SETBACK = 0.5
"""Smallest distance before the junction of a line that the file draws [m]."""

MAX_SETBACK = 20.0
"""Largest distance before the junction of a line that the file draws [m]."""

BESIDE = 1.5
"""How far beside its lanes the middle of a line that the file draws may lie [m]."""


class Approach(NamedTuple):
    """A lane on which traffic waits for a signal."""

    lane: int
    junction: int
    """Index of the junction ahead, -1 for none."""

    at: str = "end"
    """Where: "end" or "start" of the lane, or "station"."""

    station: float = 0.0
    """Along the reference line, for "station" [m]."""


class LanePlaces:
    """Where lanes lie on their roads: road, section and direction of every lane.

    The lanes of the network stand in the order of `sampled`.
    """

    def __init__(
        self, contents: Contents, sampled: dict[str, list[SampledSection]], lanes: list[Lane]
    ) -> None:
        self.lanes = lanes
        self.sampled = sampled
        self.road: list[Road] = []
        self.section: list[int] = []
        self.forward: list[bool] = []
        for name in sampled:
            road = contents.roads[name]
            for number, section in enumerate(road.sections):
                for _, place, turned in sampled[name][number].both_ways():
                    self.road.append(road)
                    self.section.append(number)
                    self.forward.append(runs_forward(road, section.lanes[place]) != turned)

    def section_at(self, road: Road, s: float) -> tuple[Section, SampledSection] | None:
        """Returns the lane section at a station, the nearest one outside the road."""
        if not road.sections:
            return None
        starts = [section.start for section in road.sections]
        number = max(0, int(np.searchsorted(starts, s, side="right")) - 1)
        return road.sections[number], self.sampled[road.id][number]

    def junction_ahead(self, lane: int) -> int:
        """Returns the junction that a lane leads into, -1 for none."""
        ahead = (self.lanes[i].junction for i in self.lanes[lane].successors)
        return next((junction for junction in ahead if junction >= 0), -1)

    def sampled_section(self, lane: int) -> SampledSection:
        """Returns the section that holds a lane."""
        return self.sampled[self.road[lane].id][self.section[lane]]

    def distance_along(self, lane: int, station: float) -> float:
        """Returns the arc length along the centre line of a lane at a station [m]."""
        section = self.sampled_section(lane)
        stations = section.own.get(section.row(lane), section.stations)
        arc = self.lanes[lane].arc_length
        if self.forward[lane]:
            return float(np.interp(station, stations, arc))
        return float(np.interp(-station, -stations[::-1], arc))

    def heading(self, approach: Approach) -> float:
        """Returns the direction of travel where traffic waits [rad]."""
        lane = self.lanes[approach.lane]
        if approach.at == "station":
            distance = self.distance_along(approach.lane, approach.station)
            point = int(
                np.clip(np.searchsorted(lane.arc_length, distance), 1, len(lane.centre) - 1)
            )
        else:
            point = 1 if approach.at == "start" else len(lane.centre) - 1
        dx, dy = (lane.centre[point] - lane.centre[point - 1])[:2]
        return float(np.arctan2(dy, dx))


def place_stop_lines(
    owners: dict[Approach, tuple[int, int]],
    kind: str,
    contents: Contents,
    network: RoadNetwork,
    places: LanePlaces,
    others: Iterable[int] = (),
) -> set[int]:
    """Appends one stop line for each run of adjacent lanes with the same owner.

    The guard of a line spans its lanes, the oncoming ones, and those beside them that some signal
    or sign rules, too: who passes there has a line of his own. A lane that none rules is free.

    Args:
        owners: (signal group or sign, signal) of each approach.
        kind: "signal" or "stop_sign".
        contents: The records of the file.
        network: Receives the stop lines.
        places: Where the lanes lie.
        others: Lanes that have lines of other kinds.

    Returns:
        Indices of the stop lines that this package has written with their guards.
    """
    whole: set[int] = set()
    parts: dict[tuple[int, str], StopLine] = {}
    marks = _marks(contents)
    ruled = {approach.lane for approach in owners} | set(others)
    runs: dict[tuple[int, str, int, bool, str, float], list[Approach]] = defaultdict(list)
    for approach, (owner, _) in owners.items():
        lane = approach.lane
        road, section = places.road[lane].id, places.section[lane]
        key = (owner, road, section, places.forward[lane], approach.at, approach.station)
        runs[key].append(approach)
    for (owner, *_), members in runs.items():
        for run in _adjacent(members, places):
            signal = owners[run[0]][1]
            line = _stop_line(run, signal, kind, marks, places, ruled)
            if (own := _own_line(run, places)) is not None:
                line = _as_written(line, own, run, places)
                first = parts.setdefault((owner, own.part), line) if own.part else line
                if first is not line:
                    first.lanes += line.lanes
                    continue
                whole.add(len(network.stop_lines))
            network.stop_lines.append(line)
    return whole


def _own_line(run: list[Approach], places: LanePlaces) -> LineRecord | None:
    """Returns the stop line of this package that is for one lane at least, and for no other."""
    road, forward = places.road[run[0].lane], places.forward[run[0].lane]
    number = places.section[run[0].lane]
    section = road.sections[number]
    row = places.sampled_section(run[0].lane).row
    ids = [section.lanes[row(approach.lane)].id for approach in run]
    for line in road.stop_lines:
        here = section.start <= line.s <= section.end and line.forward == forward
        if here and all(line.names(lane) for lane in ids):
            return line
    return None


def _as_written(
    line: StopLine, own: LineRecord, run: list[Approach], places: LanePlaces
) -> StopLine:
    """Returns a stop line with the ends that this package has written."""
    road = places.road[run[0].lane]
    along, aside = own.ends.T
    ends = road_points(road, np.full(4, own.s) if own.framed else along, aside, 0.0)
    if own.framed:
        heading = float(road.line.evaluate(np.array([own.s]))[2][0])
        ends[:, :2] += along[:, None] * np.array([np.cos(heading), np.sin(heading)])
    return replace(
        line,
        left=ends[0],
        right=ends[1],
        guard_left=ends[2],
        guard_right=ends[3],
        heading=_heading(run[0].lane, own.s, places),
        lanes=[(a.lane, places.distance_along(a.lane, own.s)) for a in run],
    )


def _adjacent(approaches: list[Approach], places: LanePlaces) -> list[list[Approach]]:
    """Splits approaches of one section into runs of neighbouring lanes, as own lines are split."""
    sampled = places.sampled_section(approaches[0].lane)
    drivable = [lane for lane in sampled.lanes if places.lanes[lane].drivable]
    rank = {lane: place for place, lane in enumerate(drivable)}
    rank |= {lane: rank[sampled.lanes[place]] for place, lane in sampled.turned.items()}
    runs: list[list[Approach]] = []
    for approach in sorted(set(approaches), key=lambda a: rank[a.lane]):
        beside = runs and rank[approach.lane] - rank[runs[-1][-1].lane] <= 1
        if beside and _own_line([approach], places) is _own_line(runs[-1][-1:], places):
            if approach.lane != runs[-1][-1].lane:
                runs[-1].append(approach)
        else:
            runs.append([approach])
    return runs


def _stop_line(
    run: list[Approach],
    signal: int,
    kind: str,
    marks: dict[str, Floats],
    places: LanePlaces,
    ruled: set[int],
) -> StopLine:
    """Returns the line over a run of lanes, ordered from left to right along the road."""
    lane = run[0].lane
    sampled, forward = places.sampled_section(lane), places.forward[lane]
    station = _station(run, marks, places)
    rows = [sampled.row(approach.lane) for approach in run]
    guarded = _guarded(sampled, rows, forward, places, ruled)
    left, right = _across(sampled, min(rows), max(rows), station, forward)
    guard_left, guard_right = _across(sampled, guarded[0], guarded[1], station, forward)
    return StopLine(
        left=left,
        right=right,
        guard_left=guard_left,
        guard_right=guard_right,
        heading=_heading(lane, station, places),
        lanes=[(a.lane, places.distance_along(a.lane, station)) for a in run],
        kind=kind,
        signal=signal,
    )


def _guarded(
    sampled: SampledSection, rows: list[int], forward: bool, places: LanePlaces, ruled: set[int]
) -> tuple[int, int]:
    """Returns the first and last row that a guard spans: outwards until a lane that is free.

    A lane in both directions belongs to the oncoming side.
    """

    def free(row: int) -> bool:
        lane = sampled.lanes[row]
        one_way = row not in sampled.turned
        return one_way and lane not in ruled and places.forward[lane] == forward

    drivable = [row for row, lane in enumerate(sampled.lanes) if places.lanes[lane].drivable]
    first, last = min(rows), max(rows)
    for row in (row for row in reversed(drivable) if row < first):
        if free(row):
            break
        first = row
    for row in (row for row in drivable if row > last):
        if free(row):
            break
        last = row
    return first, last


def _heading(lane: int, station: float, places: LanePlaces) -> float:
    """Returns the direction of travel at a station [rad]."""
    return places.heading(Approach(lane, -1, at="station", station=station))


def _across(
    sampled: SampledSection, first: int, last: int, station: float, forward: bool
) -> tuple[Floats, Floats]:
    """Returns the left and right end of the strip from lane `first` to lane `last`, [3] each."""
    ends = [
        np.array([np.interp(station, sampled.stations, row[:, axis]) for axis in range(3)])
        for row in (sampled.boundaries[first], sampled.boundaries[last + 1])
    ]
    return (ends[0], ends[1]) if forward else (ends[1], ends[0])


def _station(run: list[Approach], marks: dict[str, Floats], places: LanePlaces) -> float:
    """Returns the station of a stop line [m]."""
    lane = run[0].lane
    stations, forward = places.sampled_section(lane).stations, places.forward[lane]
    start, end = (stations[0], stations[-1]) if forward else (stations[-1], stations[0])
    length = abs(end - start)
    if run[0].at == "station":
        inset = min(SETBACK, 0.5 * length)
        return float(np.clip(run[0].station, stations[0] + inset, stations[-1] - inset))
    inward = 1.0 if forward else -1.0
    if run[0].at == "start":
        return float(start + inward * min(0.1, 0.5 * length))
    setback = _drawn_setback(run, float(end), marks, places)
    return float(end - inward * min(setback, 0.5 * length))


def _drawn_setback(
    run: list[Approach], end: float, marks: dict[str, Floats], places: LanePlaces
) -> float:
    """Returns how far before the end of the lanes the file draws the line, else the default [m]."""
    lane = run[0].lane
    sampled, road = places.sampled_section(lane), places.road[lane]
    inward = 1.0 if places.forward[lane] else -1.0
    rows = [sampled.row(approach.lane) for approach in run]
    found = []
    for s, t, own in marks.get(road.id, ()):
        setback = (end - s) * inward
        if not (0.0 if own else MIN_SETBACK) <= setback <= MAX_SETBACK:
            continue
        left, right = _across(sampled, min(rows), max(rows), s, True)
        mark = road_points(road, np.array([s]), np.array([t]), 0.0)[0]
        width = max(float(np.hypot(*(left - right)[:2])), 1e-6)
        along = float((mark - right)[:2] @ (left - right)[:2]) / width
        if -BESIDE <= along <= width + BESIDE:
            found.append(setback)
    return min(found, default=SETBACK)


def _marks(contents: Contents) -> dict[str, Floats]:
    """Returns where stop lines are drawn on each road, as signals or objects, [M, 3].

    That is (s, t) [m], and whether the line lies just there.
    """
    marks = {}
    for road in contents.roads.values():
        rows = [
            (signal.s, signal.t, False) for signal in road.signals if signal.kind == "stop_line"
        ]
        if rows or road.stop_marks:
            marks[road.id] = np.array(rows + road.stop_marks)
    return marks
