"""Applies regulatory elements: lights, stop signs, right of way and speed limits."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.lanelet2 import tags as meaning
from selfdrive_env.maps.lanelet2.lanes import Made
from selfdrive_env.maps.lanelet2.lights import Light
from selfdrive_env.maps.lanelet2.parse import Contents, Relation
from selfdrive_env.maps.lanelet2.waiting import beyond, entries, junction_ahead, waiting_places
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.network.stop_lines import crossing_of, place_stop_lines
from selfdrive_env.maps.road_network import RoadNetwork, Signal

__all__ = ["Rules", "find_lights", "place_signs", "set_speed_limits"]

Floats = NDArray[np.float64]

KNOWN = ("traffic_light", "right_of_way", "speed_limit", "all_way_stop", "traffic_sign",
    "road_marking")  # fmt: skip
"""Subtypes of regulatory elements that are read."""


class Rules:
    """The regulatory elements of a file by kind, with the lanes that they are for."""

    def __init__(
        self, contents: Contents, made: Made, network: RoadNetwork, problems: Problems
    ) -> None:
        self.contents = contents
        self.made = made
        self.network = network
        self.problems = problems
        self.users: dict[str, list[str]] = defaultdict(list)
        for lanelet in contents.lanelets.values():
            for name in lanelet.refs("relation", "regulatory_element"):
                if name in contents.rules:
                    self.users[name].append(lanelet.id)
                else:
                    what = "{} lanelets name a regulatory element that is not in the file"
                    problems.drop(what, f"{lanelet.id} ({name})")
        for rule in contents.rules.values():
            subtype = rule.tags.get("subtype", "")
            if subtype not in KNOWN:
                what = "{} regulatory elements are of no kind that is read"
                problems.drop(what, f"{rule.id} ({subtype[:40] or 'no subtype'})")

    def of(self, subtype: str) -> list[Relation]:
        """Returns the elements of a subtype."""
        return [r for r in self.contents.rules.values() if r.tags.get("subtype") == subtype]

    def lanes(self, lanelets: list[str], marks: list[Floats]) -> list[int]:
        """Returns the lanes for cars of lanelets, the one that a mark lies at the end of if two."""
        found: list[int] = []
        for name in dict.fromkeys(lanelets):
            own = [i for i in self.made.lanes.get(name, ()) if self.network.lanes[i].drivable]
            if len(own) > 1:
                own = [max(own, key=lambda i: self._share(i, marks))]
            found += own
        return found

    def _share(self, lane: int, marks: list[Floats]) -> float:
        """Returns where along a lane the first of some lines crosses it, -1 for nowhere."""
        whole = max(self.network.lanes[lane].length, 1e-9)
        places = (crossing_of(self.network.lanes[lane], mark) for mark in marks)
        return next((s / whole for s in places if s is not None), -1.0)

    def lines(self, rule: Relation, role: str) -> list[Floats]:
        """Returns the lines that an element refers to, of two points at least, [P, 3] [m]."""
        lines = [self.contents.points(name) for name in rule.refs("way", role)]
        return [line for line in lines if len(line) > 1]

    def position(self, rule: Relation) -> Floats | None:
        """Returns where the lights or signs of an element are, [3] [m]; None for nowhere."""
        lines = [self.contents.points(name) for name in rule.refs("way", "refers")]
        middles = [line.mean(axis=0) for line in lines if len(line)]
        return np.mean(middles, axis=0) if middles else None


def set_speed_limits(rules: Rules) -> None:
    """Writes the limits of speed limit elements to the lanes of their lanelets.

    Args:
        rules: Those of the file.
    """
    for rule in rules.of("speed_limit"):
        signs = [rules.contents.ways[w] for w in rule.refs("way", "refers")
            if w in rules.contents.ways]  # fmt: skip
        text = rule.tags.get("sign_type", "") or rule.tags.get("speed_limit", "")
        speeds = [meaning.speed_of(text) if text else None]
        speeds += [meaning.sign_speed(sign.tags) for sign in signs]
        speed = next((value for value in speeds if value is not None), None)
        users = rules.users.get(rule.id, [])
        if speed is None:
            rules.problems.drop("{} speed limit elements state no limit that is known", rule.id)
        elif not users:
            rules.problems.drop("{} speed limit elements are for no lanelet", rule.id)
        else:
            for lanelet in users:
                for lane in rules.made.lanes.get(lanelet, ()):
                    rules.network.lanes[lane].speed_limit = speed


def find_lights(rules: Rules) -> list[Light]:
    """Returns the traffic lights, one for each element.

    Args:
        rules: Those of the file.
    """
    drawn = _road_markings(rules)
    lights = []
    for rule in rules.of("traffic_light"):
        marks = rules.lines(rule, "ref_line")
        lanes = rules.lanes(rules.users.get(rule.id, []), marks)
        marks = marks or [mark for lane in lanes for mark in drawn.get(lane, ())]
        position = rules.position(rule)
        if position is None:
            places = [*marks, *(rules.network.lanes[i].centre[-1:] for i in lanes)]
            position = places[0].mean(axis=0) if places else np.zeros(3)
            rules.problems.infer("{} traffic lights have no place of their own", rule.id)
        bulbs = set(rule.refs("way", "refers"))
        lights.append(Light(rule.id, position, lanes, marks, bulbs))
    return lights


def _road_markings(rules: Rules) -> dict[int, list[Floats]]:
    """Returns the stop lines that Autoware's elements draw, by lane."""
    drawn: dict[int, list[Floats]] = defaultdict(list)
    for rule in rules.of("road_marking"):
        refs = rule.refs("way", "refers")
        ways = [rules.contents.ways[w] for w in refs if w in rules.contents.ways]
        for way in ways:
            mark = rules.contents.points(way.id)
            if way.tags.get("type") == "stop_line" and len(mark) > 1:
                for lane in rules.lanes(rules.users.get(rule.id, []), [mark]):
                    drawn[lane].append(mark)
    return drawn


def place_signs(rules: Rules, lit: set[int]) -> None:
    """Appends signs and stop lines without lights, and writes who goes first.

    Args:
        rules: Those of the file.
        lit: Lanes at which one waits for a light.
    """
    stops = _Stops(rules, lit)
    for subtype in ("traffic_sign", "right_of_way", "all_way_stop"):
        for rule in rules.of(subtype):
            stops.add(rule)
    for lane, marks in _road_markings(rules).items():
        stops.wait([lane], marks, -1)
    _set_precedence(rules, lit)


class _Stops:
    """Places signs, and stop lines at stop signs, each lane once."""

    def __init__(self, rules: Rules, lit: set[int]) -> None:
        self.rules = rules
        self.taken = set(lit)
        self.placed: dict[str, int] = {}

    def add(self, rule: Relation) -> None:
        """Places the signs of an element and the lines of those that have to stop."""
        rules, all_way = self.rules, rule.tags.get("subtype") == "all_way_stop"
        marks = rules.lines(rule, "ref_line")
        yielding = rule.refs("relation", "yield")
        users = yielding or rules.users.get(rule.id, [])
        lanes = rules.lanes(users, marks)
        signs = [(w, rules.contents.ways[w]) for w in rule.refs("way", "refers")
            if w in rules.contents.ways]  # fmt: skip
        stop = -1
        for name, way in signs:
            kind = meaning.sign_kind(way.tags)
            if kind and way.tags.get("type", "traffic_sign") == "traffic_sign":
                index = self._sign(name, kind, lanes)
                stop = index if kind == "stop_sign" else stop
        if all_way:
            for lane in lanes:
                junction = junction_ahead(lane, rules.network.lanes)
                if junction >= 0:
                    rules.network.junctions[junction].rule = "all_way_stop"
                else:
                    what = "{} lanelets of all-way stops lead to no junction"
                    rules.problems.drop(what, rules.network.lanes[lane].name)
        if stop >= 0 or all_way:
            self.wait(lanes, marks, stop)

    def wait(self, lanes: list[int], marks: list[Floats], sign: int) -> None:
        """Appends the lines at which lanes stop."""
        places: dict[int, float] = {}
        for lane in lanes:
            if self.taken.intersection(entries(lane, self.rules.network.lanes)):
                continue
            for where, s in waiting_places(self.rules.network, lane, marks, lanes):
                if where not in self.taken:
                    places[where] = s
        self.taken.update(places)
        place_stop_lines(self.rules.network, list(places.items()), "stop_sign", sign)

    def _sign(self, name: str, kind: str, lanes: list[int]) -> int:
        """Returns the index of a sign, which is appended once."""
        if name not in self.placed:
            self.placed[name] = len(self.rules.network.signals)
            position = self.rules.contents.points(name)
            heading = 0.0
            if lanes:
                step = np.diff(self.rules.network.lanes[lanes[0]].centre[-2:, :2], axis=0)[0]
                heading = float(np.arctan2(step[1], step[0]))
            place = position.mean(axis=0) if len(position) else np.zeros(3)
            self.rules.network.signals.append(Signal(name, kind, place, heading, list(lanes)))
        return self.placed[name]


def _set_precedence(rules: Rules, lit: set[int]) -> None:
    """Writes who gives way to whom: 1 for those with priority, -1 for those that yield to any.

    Where a light is, elements that are for when it fails do not count.
    """
    lanes = rules.network.lanes
    yields: set[int] = set()
    goes_first: set[int] = set()
    for rule in rules.of("right_of_way"):
        fallback = rule.tags.get("fallback", "").lower() in meaning.YES
        for role, chosen in (("yield", yields), ("right_of_way", goes_first)):
            for lane in rules.lanes(rule.refs("relation", role), []):
                inside = [i for i in beyond(lane, lanes) if lanes[i].drivable]
                before = {e for i in inside for e in entries(i, lanes)} | set(inside)
                if not inside:
                    what = "{} lanelets with a right of way lead to no junction"
                    rules.problems.drop(what, lanes[lane].name)
                if not (fallback and before & lit):
                    chosen.update(inside)
    for lane in goes_first - yields:
        lanes[lane].precedence = 1
    for lane in yields:
        lanes[lane].precedence = -1
