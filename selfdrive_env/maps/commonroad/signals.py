"""Places traffic lights, signs and stop lines.

A light or sign holds from the end of the lanelet that refers to it, a speed limit all along it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.commonroad.lanes import LaneletLanes
from selfdrive_env.maps.commonroad.lights import Approach, make_groups
from selfdrive_env.maps.commonroad.precedence import approach_from, set_precedence
from selfdrive_env.maps.commonroad.records import Contents, Lanelet
from selfdrive_env.maps.network.finish import Problems, directions
from selfdrive_env.maps.network.stop_lines import (
    SETBACK,
    crossing_of,
    guard_beside,
    place_stop_lines,
)
from selfdrive_env.maps.road_network import Lane, RoadNetwork, Signal

__all__ = ["place_signals"]

Floats = NDArray[np.float64]

Holders = dict[str, list[str]]
"""Lanelets that refer to each light or sign."""

MIN_SETBACK = 0.5
"""Smallest distance of a drawn stop line before the end of its lane [m]."""

MAX_SETBACK = 20.0
"""Largest distance of a drawn stop line before the end of its lane [m]."""

MAX_BEYOND = 3.0
"""How far beyond the end of its lane a drawn stop line may lie [m]."""

STRAIGHT = ("all", "straight", "leftStraight", "straightRight")
"""Directions of lights that are for traffic straight ahead."""


def place_signals(
    contents: Contents, made: LaneletLanes, network: RoadNetwork, problems: Problems
) -> None:
    """Fills in signals, their groups, stop lines, and the right of way at junctions.

    Args:
        contents: The records of the file.
        made: Which lane each lanelet became.
        network: Has its lanes linked and its junctions; receives the rest.
        problems: Receives what refers to nothing or has no use.
    """
    lights, signs = _holders(contents, problems)
    places = _add_lights(contents, lights, made, network, problems)
    approaches = _approaches(contents, made, network, problems)
    make_groups(contents, approaches, network, problems)
    lit = {approach.lane for approach in approaches}
    stations = _Stations(contents, lit, made, network, problems)
    by_group: dict[int, list[Approach]] = defaultdict(list)
    for approach in approaches:
        by_group[approach.group].append(approach)
        for name in approach.lights:
            signal = network.signals[places[name]]
            if signal.group < 0:
                signal.group = approach.group
                network.signal_groups[approach.group].signals.append(places[name])
    for members in by_group.values():
        where = [(a.lane, stations.of(a.lane)) for a in members]
        place_stop_lines(network, where, "signal", places[members[0].lights[0]])
    stopped = _add_signs(contents, signs, lit, made, network, problems)
    for sign, lanes in stopped.items():
        where = [(lane, stations.of(lane)) for lane in lanes]
        place_stop_lines(network, where, "stop_sign", sign)
    guard_beside(network)
    ends = {lane for lanes in stopped.values() for lane in lanes}
    set_precedence(contents, signs, made, network, lit, ends)


def _lights_of(lanelet: Lanelet) -> list[str]:
    """Returns the lights that a lanelet or its stop line refers to."""
    drawn = lanelet.stop_line.lights if lanelet.stop_line else []
    return list(dict.fromkeys([*lanelet.lights, *drawn]))


def _signs_of(lanelet: Lanelet) -> list[str]:
    """Returns the signs that a lanelet or its stop line refers to."""
    drawn = lanelet.stop_line.signs if lanelet.stop_line else []
    return list(dict.fromkeys([*lanelet.signs, *drawn]))


def _holders(contents: Contents, problems: Problems) -> tuple[Holders, Holders]:
    """Returns which lanelets refer to each light and to each sign."""
    lights: Holders = {name: [] for name in contents.lights}
    signs: Holders = {name: [] for name in contents.signs}
    for lanelet in contents.lanelets.values():
        for what, found, names in (
            ("lights", lights, _lights_of(lanelet)),
            ("signs", signs, _signs_of(lanelet)),
        ):
            for name in names:
                if name in found:
                    found[name].append(lanelet.id)
                else:
                    flaw = f"{{}} lanelets refer to {what} that do not exist"
                    problems.drop(flaw, f"{lanelet.id} -> {name}")
    return lights, signs


def _lanes_of(names: Iterable[str], made: LaneletLanes, network: RoadNetwork) -> list[int]:
    """Returns the drivable lanes of lanelets."""
    found = (made.driven(name, network) for name in names)
    return [lane for lane in found if lane is not None]


def _end_of(names: list[str], made: LaneletLanes, network: RoadNetwork) -> Lane | None:
    """Returns the first lane of lanelets, a drivable one if there is one."""
    lanes = _lanes_of(names, made, network) or [made.there[n] for n in names if n in made.there]
    return network.lanes[lanes[0]] if lanes else None


def _signal(
    name: str, kind: str, position: Floats | None, holders: list[str], made: LaneletLanes,
    network: RoadNetwork,
) -> Signal | None:  # fmt: skip
    """Returns a signal for lanelets, None where the file does not say where it stands."""
    lane = _end_of(holders, made, network)
    heading = 0.0
    if lane is not None:
        way = directions(lane.centre)[1]
        heading = float(np.arctan2(way[1], way[0]))
        if position is None:
            position = lane.right[0 if kind == "speed_limit" else -1]
    if position is None:
        return None
    return Signal(name, kind, position.copy(), heading, _lanes_of(holders, made, network))


def _add_lights(
    contents: Contents, holders: Holders, made: LaneletLanes, network: RoadNetwork,
    problems: Problems,
) -> dict[str, int]:  # fmt: skip
    """Appends the traffic lights; returns their places among the signals."""
    places = {}
    for name, light in contents.lights.items():
        signal = _signal(name, "traffic_light", light.position, holders[name], made, network)
        if not holders[name]:
            problems.drop("{} traffic lights are referred to by no lanelet", name)
        if signal is not None:
            places[name] = len(network.signals)
            network.signals.append(signal)
    return places


def _approaches(
    contents: Contents, made: LaneletLanes, network: RoadNetwork, problems: Problems
) -> list[Approach]:
    """Returns where traffic waits for lights, the one for straight ahead first of each."""
    found: dict[str, list[str]] = {}
    for name in made.there:
        refs = _lights_of(contents.lanelets[name]) if made.driven(name, network) is not None else []
        lights = [contents.lights[ref] for ref in refs if ref in contents.lights]
        working = [light for light in lights if light.active]
        for light in lights:
            if not light.active:
                problems.drop("{} traffic lights are switched off", light.id)
        working.sort(key=lambda light: light.direction not in STRAIGHT)
        if any(one.cycle != working[0].cycle for one in working):
            flaw = "{} lanes have lights of several cycles (that for straight ahead counts)"
            problems.drop(flaw, name)
        if working:
            found[name] = [light.id for light in working]
    for name, beside in _unlit(contents, set(found), made, network).items():
        found[name] = found[beside]
        problems.infer("{} lanes have no light though their arm has (they heed that)", name)
    approaches = []
    for name, lights_ahead in found.items():
        lane = made.there[name]
        approaches.append(Approach(lane, approach_from(lane, network)[1], lights_ahead))
    return approaches


def _unlit(
    contents: Contents, lit: set[str], made: LaneletLanes, network: RoadNetwork
) -> dict[str, str]:
    """Returns lanelets without a light, and one of their arm that has: those to cross by.

    Lanes from which one can only turn off without crossing may be free.
    """
    found: dict[str, str] = {}
    for intersection in contents.intersections.values():
        for arm in intersection.incomings:
            with_light = [name for name in arm.lanelets if name in lit]
            ahead = set(arm.successors) - set(arm.left if network.left_hand else arm.right)
            for name in arm.lanelets:
                if name in lit or made.driven(name, network) is None or not with_light:
                    continue
                if ahead.intersection(contents.lanelets[name].successors):
                    found.setdefault(name, with_light[0])
    return found


def _add_signs(
    contents: Contents, holders: Holders, lit: set[int], made: LaneletLanes, network: RoadNetwork,
    problems: Problems,
) -> dict[int, list[int]]:  # fmt: skip
    """Appends the signs; returns the lanes at whose ends each stop sign stands, -1 for virtual."""
    stopped: dict[int, list[int]] = defaultdict(list)
    taken = set(lit)
    for name, sign in contents.signs.items():
        for number, (kind, _) in enumerate(sign.elements):
            if not _lanes_of(holders[name], made, network):
                problems.drop("{} signs are for no driving lane", f"{name} ({kind})")
            if kind == "right_first":
                continue
            place = -1
            own = f"{name}/{number}" if number else name
            signal = _signal(own, kind, sign.position, holders[name], made, network)
            if signal is not None and not sign.virtual:
                place = len(network.signals)
                network.signals.append(signal)
            for lane in _lanes_of(holders[name], made, network) if kind == "stop_sign" else ():
                end = approach_from(lane, network)[0]
                if end not in taken:
                    taken.add(end)
                    stopped[place].append(end)
    return stopped


class _Stations:
    """Where along its lane traffic waits."""

    def __init__(
        self, contents: Contents, lit: set[int], made: LaneletLanes, network: RoadNetwork,
        problems: Problems,
    ) -> None:  # fmt: skip
        self.lanes = network.lanes
        self.drawn: dict[int, float] = {}
        for name, lanelet in contents.lanelets.items():
            lane = made.driven(name, network)
            mark = lanelet.stop_line
            if lane is None or mark is None:
                continue
            if lane not in lit and not _signs_of(lanelet):
                problems.drop("{} stop lines are those of no light or sign and are left out", name)
            if len(mark.points):
                self._draw(lane, mark.points, problems)

    def _draw(self, lane: int, points: Floats, problems: Problems) -> None:
        """Notes where a drawn line crosses a lane."""
        length = self.lanes[lane].length
        s = crossing_of(self.lanes[lane], points)
        if s is not None and length - s <= MAX_SETBACK:
            self.drawn[lane] = s
        elif s is not None or _distance(self.lanes[lane].centre[-1], points) > MAX_BEYOND:
            name = self.lanes[lane].name
            problems.infer("{} stop lines lie off their lanelet and are moved to its end", name)

    def of(self, lane: int) -> float:
        """Returns the arc length along a lane at which traffic waits at its end [m]."""
        length = self.lanes[lane].length
        s = min(self.drawn.get(lane, length - SETBACK), length - MIN_SETBACK)
        return max(s, 0.5 * length)


def _distance(point: Floats, line: Floats) -> float:
    """Returns the distance of a point from a line of two points in the plane [m]."""
    step = (line[1] - line[0])[:2]
    part = float((point[:2] - line[0, :2]) @ step) / max(float(step @ step), 1e-12)
    return float(np.hypot(*(line[0, :2] + np.clip(part, 0.0, 1.0) * step - point[:2])))
