"""Writes traffic lights, signs, stop lines and crosswalks, and the controllers of the lights.

A light or sign stands where it stands in the network. Where that is not before the lanes that it
is for, references say which they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from selfdrive_env.maps.opendrive.parse.user_data import (
    CYCLE,
    HEADING,
    NAME,
    OFFSET,
    STOP_LINE,
    STOP_LINE_FRAME,
    STOP_LINE_PART,
    WAITS_ON,
    WHOLE,
    cycle_text,
    numbers_text,
)
from selfdrive_env.maps.opendrive.write.elements import add, user_data
from selfdrive_env.maps.opendrive.write.roads import unique_ids
from selfdrive_env.maps.opendrive.write.sites import BESIDE, Finder, Site
from selfdrive_env.maps.road_network import RoadNetwork, Signal, StopLine

__all__ = ["Control", "controller_elements"]

DIGITS = 9
"""Of stations, offsets and heights, after the point."""

SETBACK = 0.7
"""Where a reference stands before the end of its lanes [m]."""

FARTHEST = 20.0
"""Signals whose line lies further before the end of its lanes stand there [m]."""

REACH = 40.0
"""A light or sign this far before a junction belongs to the junction [m]."""

TYPES = {
    "traffic_light": "1000001",
    "stop_sign": "206",
    "yield_sign": "205",
    "priority_sign": "301",
    "speed_limit": "274",
}
"""Of the catalogue of OpenDRIVE, and of Germany's for signs."""

NOT_FOR_CARS = "1000002"
"""The type of lights that are for no driving lane."""

TURNED = 0.005
"""The heading of a signal may be this far from that of its lanes [rad]."""

LINE_TURNED = 0.015
"""The same from that of their reference line [rad]."""

SAME = 0.005
"""Places along a road this near to each other are one [m]."""

NO_LANE = (0, 0)
"""Validity of a signal whose lanes are told by references."""


class Heed(NamedTuple):
    """Lanes of one section and direction that heed a signal."""

    road: int
    section: int
    forward: bool


@dataclass(slots=True)
class Control:
    """What is written along the roads: signals by road, then references, then objects."""

    network: RoadNetwork
    finder: Finder
    signals: dict[int, list[Element]] = field(default_factory=lambda: defaultdict(list))
    references: dict[int, list[Element]] = field(default_factory=lambda: defaultdict(list))
    objects: dict[int, list[Element]] = field(default_factory=lambda: defaultdict(list))
    ids: list[str] = field(default_factory=list)
    stations: dict[Heed, list[float]] = field(default_factory=lambda: defaultdict(list))
    """At which lanes wait."""

    def add_all(self) -> None:
        """Makes the elements of all signals, stop lines and crosswalks."""
        self.ids = unique_ids([signal.name for signal in self.network.signals])
        lines: dict[tuple[int, int], float] = {}
        for line in self.network.stop_lines:
            for lane, distance in line.lanes:
                lines.setdefault((line.signal, lane), distance)
                lines.setdefault((-1, lane), distance)
        for index in range(len(self.network.signals)):
            self._add_signal(index, lines)
        for number, line in enumerate(self.network.stop_lines):
            self._add_stop_line(number, line)
        for number, crosswalk in enumerate(self.network.crosswalks):
            self._add_crosswalk(number, crosswalk.outline)

    def write(self, road: Element, index: int) -> None:
        """Appends to a road what is along it."""
        if self.objects[index]:
            SubElement(road, "objects").extend(self.objects[index])
        if self.signals[index] or self.references[index]:
            signals = SubElement(road, "signals")
            signals.extend([*self.signals[index], *self.references[index]])

    def _add_signal(self, index: int, lines: dict[tuple[int, int], float]) -> None:
        """Adds a light or sign."""
        network, places = self.network, self.finder.plan.places
        signal = network.signals[index]
        lanes: dict[Heed, list[tuple[int, float]]] = defaultdict(list)
        for lane in signal.lanes:
            if lane in places:
                place = places[lane]
                heed = Heed(place.road, place.section, place.forward)
                station = self._shared(heed, self._station(lane, index, lines))
                lanes[heed].append((place.id, station))
        site = self.finder.find(signal.position, [heed.road for heed in lanes])
        ahead = np.cos(signal.heading - site.heading) >= 0.0
        validities = [NO_LANE]
        if len(lanes) == 1:
            heed, members = next(iter(lanes.items()))
            if self._stands_before(heed, members, site):
                validities, ahead, lanes = _ranges([i for i, _ in members]), heed.forward, {}
        element = self._element(index, signal, site, bool(ahead))
        for first, last in validities if signal.lanes else [NO_LANE]:
            add(element, "validity", fromLane=first, toLane=last)
        if self.ids[index] != signal.name:
            user_data(element, NAME, signal.name)
        starts = self._starts(index)
        if starts:
            user_data(element, WAITS_ON, " ".join(starts))
        if starts or not self._is_told(signal):
            user_data(element, HEADING, signal.heading)
        self.signals[site.road].append(element)
        for heed, members in lanes.items():
            reference = Element("signalReference", id=self.ids[index])
            reference.set("orientation", "+" if heed.forward else "-")
            for name, value in (("s", members[0][1]), ("t", 0.0)):
                reference.set(name, _text(value))
            for first, last in _ranges([i for i, _ in members]):
                add(reference, "validity", fromLane=first, toLane=last)
            self.references[heed.road].append(reference)

    def _starts(self, index: int) -> list[str]:
        """Returns the names of the lanes through a junction whose starts a light has its lines at.

        Lines before the junction and within it do not go together in the file.
        """
        network, places = self.network, self.finder.plan.places
        heeded = {
            lane for line in network.stop_lines if line.signal == index for lane, _ in line.lanes
        }
        inside = [lane for lane in heeded if network.lanes[lane].junction >= 0]
        usual = network.signals[index].kind != "traffic_light" or len(inside) < len(heeded)
        if usual or any(lane in network.signals[index].lanes for lane in inside):
            return []
        return [places[lane].name for lane in sorted(inside) if lane in places]

    def _is_told(self, signal: Signal) -> bool:
        """Returns whether the lanes of a signal tell its heading: readers turn it to them."""
        steps = [
            lane.centre[-1, :2] - lane.centre[-2, :2]
            for lane in (self.network.lanes[i] for i in signal.lanes)
            if lane.junction < 0
        ]
        headings = [np.arctan2(dy, dx) for dx, dy in steps]
        mean = np.arctan2(np.sin(headings).sum(), np.cos(headings).sum())
        turn = (mean - signal.heading + np.pi) % (2.0 * np.pi) - np.pi
        told = len(steps) == len(signal.lanes) > 0 and bool(abs(turn) < TURNED)
        return told and all(self._goes(lane, signal.heading) for lane in signal.lanes)

    def _goes(self, lane: int, heading: float) -> bool:
        """Returns whether the reference line of a lane ends in a direction, seen along the lane."""
        place = self.finder.plan.places.get(lane)
        line = self.finder.plan.roads[place.road].line if place else None
        if place is None or line is None:
            return False
        end = np.array([self.finder.span(lane)[place.forward]])
        own = float(line.evaluate(end)[2][0]) + (0.0 if place.forward else np.pi)
        return bool(abs((own - heading + np.pi) % (2.0 * np.pi) - np.pi) < LINE_TURNED)

    def _station(self, lane: int, signal: int, lines: dict[tuple[int, int], float]) -> float:
        """Returns where along its road a lane heeds a signal [m]."""
        lanes, place = self.network.lanes, self.finder.plan.places[lane]
        first, last = self.finder.span(lane)
        if lanes[lane].junction >= 0:
            return 0.5 * (first + last)
        distance = lines.get((signal, lane), lines.get((-1, lane)))
        if distance is not None:
            at_end = any(lanes[i].junction >= 0 for i in lanes[lane].successors)
            if not at_end or lanes[lane].length - distance > FARTHEST:
                return self.finder.along_lane(lane, distance)
        inset = min(SETBACK, 0.5 * (last - first))
        return last - inset if place.forward else first + inset

    def _stands_before(self, heed: Heed, members: list[tuple[int, float]], site: Site) -> bool:
        """Returns whether a signal stands where its lanes heed it."""
        road = self.finder.plan.roads[heed.road]
        section = road.sections[heed.section]
        first, last = section.start, section.start + section.shape.length
        if site.road != heed.road or not first <= site.s <= last or road.junction >= 0:
            return site.road == heed.road and first <= site.s <= last
        left = last - site.s if heed.forward else site.s - first
        end = last if heed.forward else first
        at_end = abs(end - members[0][1]) <= SETBACK + 1e-6
        return left < REACH - 1.0 if at_end else abs(site.s - members[0][1]) < 1e-3

    def _element(self, index: int, signal: Signal, site: Site, ahead: bool) -> Element:
        """Returns a light or sign without its lanes."""
        light = signal.kind == "traffic_light"
        kind = TYPES[signal.kind] if signal.lanes or not light else NOT_FOR_CARS
        attributes = {
            "name": signal.kind,
            "id": self.ids[index],
            "s": _text(site.s),
            "t": _text(site.t),
            "zOffset": _text(site.z),
            "orientation": "+" if ahead else "-",
            "dynamic": "yes" if light else "no",
            "type": kind,
            "subtype": "-1",
        }
        if not light:
            attributes["country"] = "DE"
        if signal.kind == "speed_limit":
            limits = [self.network.lanes[lane].speed_limit for lane in signal.lanes]
            attributes |= {"value": _text(3.6 * max(limits, default=50.0 / 3.6)), "unit": "km/h"}
        return Element("signal", attributes)

    def _shared(self, heed: Heed, station: float) -> float:
        """Returns a station at which lanes of a section wait: one for all that are nearly there."""
        near = (known for known in self.stations[heed] if abs(known - station) < SAME)
        if (known := next(near, None)) is not None:
            return known
        self.stations[heed].append(station)
        return station

    def _add_stop_line(self, number: int, line: StopLine) -> None:
        """Adds the marks of a stop line, one for each section and place along it with lanes."""
        places = self.finder.plan.places
        lanes: dict[tuple[Heed, float], list[int]] = defaultdict(list)
        for lane, distance in line.lanes:
            if lane in places:
                place = places[lane]
                heed = Heed(place.road, place.section, place.forward)
                station = self._shared(heed, self.finder.along_lane(lane, distance))
                lanes[heed, station].append(lane)
        for part, ((heed, station), members) in enumerate(lanes.items()):
            ends, beside = self._ends(line, heed, station)
            code = STOP_LINE if beside else STOP_LINE_FRAME
            middle = 0.5 * (line.left + line.right) if beside else self._at(members[0], line)
            site, _ = self.finder.on_road(heed.road, middle, station)
            name = f"line{number}" if part == 0 else f"line{number}.{part}"
            mark = Element("object", id=name, name="StopLine", type="none", subtype="",
                s=_text(station), t=_text(site.t), zOffset="0", hdg="0",
                orientation="+" if heed.forward else "-")  # fmt: skip
            for first, last in _ranges([places[i].id for i in members]):
                add(mark, "validity", fromLane=first, toLane=last)
            user_data(mark, code, numbers_text(ends.ravel()))
            if len(lanes) > 1:
                user_data(mark, STOP_LINE_PART, str(number))
            self.objects[heed.road].append(mark)

    def _at(self, lane: int, line: StopLine) -> np.ndarray:
        """Returns where a stop line meets the centre of one of its lanes, [3] [m]."""
        distance = next(distance for other, distance in line.lanes if other == lane)
        centre, arc = self.network.lanes[lane].centre, self.network.lanes[lane].arc_length
        return np.array([np.interp(distance, arc, column) for column in centre.T])

    def _ends(self, line: StopLine, heed: Heed, station: float) -> tuple[np.ndarray, bool]:
        """Returns where the four ends of a stop line lie along a road, or in its frame, [4, 2].

        Whether they are all beside the road is the other thing returned.
        """
        points = (line.left, line.right, line.guard_left, line.guard_right)
        found = [self.finder.on_road(heed.road, point, station) for point in points]
        if max(beyond for _, beyond in found) <= BESIDE:
            return np.array([(site.s, site.t) for site, _ in found]), True
        line_of = self.finder.plan.roads[heed.road].line
        assert line_of is not None
        x, y, heading, _ = (float(value[0]) for value in line_of.evaluate(np.array([station])))
        apart = np.stack(points)[:, :2] + self.finder.origin[:2] - (x, y)
        cosine, sine = np.cos(heading), np.sin(heading)
        return apart @ np.array([[cosine, -sine], [sine, cosine]]), False

    def _add_crosswalk(self, number: int, outline: np.ndarray) -> None:
        """Adds a crosswalk by its corners."""
        middle = 0.5 * (outline.min(axis=0) + outline.max(axis=0))
        site = self.finder.find(middle)
        line = self.finder.plan.roads[site.road].line
        assert line is not None
        x, y, heading, _ = (float(v[0]) for v in line.evaluate(np.array([site.s])))
        cosine, sine = np.cos(heading), np.sin(heading)
        base = self.finder.height(site.road, site.s)
        # The frame is put where the place along the road leads to, whatever that has missed.
        x, y = x - site.t * sine, y + site.t * cosine
        crossing = Element("object", id=f"crosswalk{number}", name="crosswalk", type="crosswalk",
            s=_text(site.s), t=_text(site.t), zOffset="0", hdg="0", orientation="none")  # fmt: skip
        corners = add(SubElement(crossing, "outlines"), "outline", id=0, closed="true")
        for point in outline + self.finder.origin:
            dx, dy = float(point[0]) - x, float(point[1]) - y
            add(corners, "cornerLocal", u=round(dx * cosine + dy * sine, DIGITS),
                v=round(dy * cosine - dx * sine, DIGITS), z=round(float(point[2]) - base, DIGITS),
                height=0)  # fmt: skip
        self.objects[site.road].append(crossing)


def _text(value: float) -> str:
    """Returns a length as a text."""
    text = repr(round(float(value), DIGITS) + 0.0)
    return text[:-2] if text.endswith(".0") else text


def _ranges(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Returns lane ids as ranges; 0 is no lane and parts the sides."""
    ranges: list[list[int]] = []
    for lane in sorted(set(ids)):
        if ranges and lane == ranges[-1][1] + 1:
            ranges[-1][1] = lane
        else:
            ranges.append([lane, lane])
    return [(first, last) for first, last in ranges]


def controller_elements(
    network: RoadNetwork, signal_ids: list[str]
) -> tuple[list[str], list[Element]]:
    """Returns the ids of the signal groups and their controllers; groups without lights have none.

    Args:
        network: Holds the groups.
        signal_ids: In the file.
    """
    ids = unique_ids([group.name for group in network.signal_groups])
    elements = []
    for name, group in zip(ids, network.signal_groups, strict=True):
        if not group.signals:
            continue
        element = Element("controller", id=name, name=group.name)
        for signal in group.signals:
            add(element, "control", signalId=signal_ids[signal])
        if name != group.name:
            user_data(element, NAME, group.name)
        user_data(element, WHOLE, "true")
        if group.cycle:
            user_data(element, CYCLE, cycle_text(group.cycle))
        if group.offset:
            user_data(element, OFFSET, group.offset)
        elements.append(element)
    return ids, elements
