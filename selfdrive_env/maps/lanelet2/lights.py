"""Places traffic lights: where one waits for them, and which turn green together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.lanelet2.waiting import junction_ahead, waiting_places
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.network.stop_lines import place_stop_lines
from selfdrive_env.maps.road_network import RoadNetwork, Signal, SignalGroup

__all__ = ["Light", "place_lights"]

Floats = NDArray[np.float64]

SAME_AXIS = np.radians(30.0)
"""Approaches of a junction within this angle of each other are green together [rad]."""

Key = tuple[str, int, int]
"""Program ("" for none), junction and place among its groups (-1 for none)."""


@dataclass(slots=True)
class Light:
    """A traffic light."""

    name: str
    position: Floats
    """[3] [m]"""

    lanes: list[int]
    """Lanes that heed it."""

    marks: list[Floats]
    """Lines drawn for it, [P, 3] [m] each."""

    bulbs: set[str] = field(default_factory=set)
    """What shows its colour: lights that share one are one."""

    program: str = ""
    """Name of the program that gives its cycle; lights of one name and cycle form a group."""

    cycle: list[tuple[int, float]] = field(default_factory=list)
    """(colour, duration [s]) of each phase."""


def place_lights(lights: list[Light], network: RoadNetwork, problems: Problems) -> set[int]:
    """Appends signals, groups and stop lines.

    Args:
        lights: All of them.
        network: Its lanes are linked and have their junctions; changed in place.
        problems: Receives lights that nobody heeds.

    Returns:
        The lanes at which one waits for a light.
    """
    taken: set[int] = set()
    placed: dict[int, list[tuple[int, float]]] = {}
    for number, light in enumerate(lights):
        signal = Signal(light.name, "traffic_light", light.position, 0.0, list(light.lanes))
        network.signals.append(signal)
        heeding = _heeding(light, lights)
        places: dict[int, float] = {}
        for lane in light.lanes:
            for where, s in waiting_places(network, lane, light.marks, heeding):
                places.setdefault(where, s)
        own = [(lane, s) for lane, s in places.items() if lane not in taken]
        taken.update(places)
        if not places:
            problems.drop("{} traffic lights control no lane for cars", light.name)
        elif own:
            placed[number] = own
        else:
            problems.drop("{} traffic lights stand where another one does already", light.name)
        if places:
            signal.heading = _heading(network, list(places.items()))
    _make_groups(lights, placed, network)
    return taken


def _heeding(light: Light, lights: list[Light]) -> set[int]:
    """Returns the lanes that heed a light or one that shows the same."""
    same = [other for other in lights if other is light or other.bulbs & light.bulbs]
    return {lane for other in same for lane in other.lanes}


def _heading(network: RoadNetwork, places: list[tuple[int, float]]) -> float:
    """Returns the direction of travel where one waits [rad]."""
    steps = []
    for lane, s in places:
        arc, centre = network.lanes[lane].arc_length, network.lanes[lane].centre
        piece = int(np.clip(np.searchsorted(arc, s), 1, len(arc) - 1))
        step = (centre[piece] - centre[piece - 1])[:2]
        steps.append(step / max(float(np.hypot(step[0], step[1])), 1e-9))
    x, y = np.sum(steps, axis=0)
    return float(np.arctan2(y, x))


def _make_groups(
    lights: list[Light], placed: dict[int, list[tuple[int, float]]], network: RoadNetwork
) -> None:
    """Appends the signal groups, in their order to the junctions, too, and their stop lines."""
    members: dict[Key, list[int]] = defaultdict(list)
    headings: dict[int, list[float]] = defaultdict(list)
    first = len(network.signals) - len(lights)
    alone: dict[str, int] = {}
    for number, places in placed.items():
        light = lights[number]
        junction = junction_ahead(places[0][0], network.lanes)
        if light.program:
            key = (f"{light.program} {light.cycle}", -1, -1)
        elif junction >= 0:
            axis = _axis(network.signals[first + number].heading, headings[junction])
            key = ("", junction, axis)
        else:
            shared = next((alone[b] for b in sorted(light.bulbs) if b in alone), number)
            alone.update(dict.fromkeys(light.bulbs, shared))
            key = ("", -1, shared)
        members[key].append(number)
    used: dict[str, int] = defaultdict(int)
    for numbers in members.values():
        group, light = len(network.signal_groups), lights[numbers[0]]
        junction = junction_ahead(placed[numbers[0]][0][0], network.lanes)
        for number in numbers:
            network.signals[first + number].group = group
        places = [place for number in numbers for place in placed[number]]
        owner = {lane: first + number for number in numbers for lane, _ in placed[number]}
        before = len(network.stop_lines)
        place_stop_lines(network, places, "signal", first + numbers[0])
        for line in network.stop_lines[before:]:
            line.signal = owner[line.lanes[0][0]]
        name = f"{light.program}/{used[light.program]}" if light.program else light.name
        used[light.program] += 1
        network.signal_groups.append(
            SignalGroup(
                name,
                [first + number for number in numbers],
                junction,
                list(light.cycle),
            )
        )
        if junction >= 0:
            network.junctions[junction].signal_groups.append(group)


def _axis(heading: float, known: list[float]) -> int:
    """Returns the place of a heading among those of a junction's groups; a new one is appended."""
    for place, other in enumerate(known):
        if abs((heading - other + np.pi) % (2.0 * np.pi) - np.pi) <= SAME_AXIS:
            return place
    known.append(heading)
    return len(known) - 1
