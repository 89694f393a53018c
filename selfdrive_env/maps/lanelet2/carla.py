"""Reads the JSON files that lie beside maps of CARLA's towns: stop lines, and programs of lights.

`NAME_stoplines.json` lists where one waits for which light, `NAME_traffic_light_controller.json`
the phases of each controller. Their metres count from latitude 0, longitude 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.flaws import MAX_COORDINATE
from selfdrive_env.maps.lanelet2.lights import Light
from selfdrive_env.maps.lanelet2.parse import Contents
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.network.stop_lines import crossing_of
from selfdrive_env.maps.road_network import MapError, RoadNetwork
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW

__all__ = ["add_carla"]

Floats = NDArray[np.float64]

MAX_BYTES = 1 << 24
"""Longest file."""

MAX_PHASES = 1000
"""Most phases of a controller."""

MAX_SECONDS = 3600.0
"""Longest phase."""

MATCH = 3.0
"""A light of the map whose line is this near a stop line is the same [m]."""

SAME_WAY = np.cos(np.radians(45.0))
"""Cosine of the angle between a lane and the stop line's orientation."""

COLOURS = {"green": GREEN, "yellow": YELLOW, "red": RED, "off": NO_LIGHT, "none": NO_LIGHT}


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where one waits for a light."""

    actor: str
    x: float
    y: float
    width: float
    orientation: float

    def mirrored(self) -> _Stop:
        """Returns it for a map that was mirrored."""
        return replace(self, y=-self.y, orientation=-self.orientation)

    def mark(self, anchor: Floats) -> Floats:
        """Returns the line in the coordinates of the map, [2, 3] [m]."""
        aside = (
            0.5 * self.width * np.array([-np.sin(self.orientation), np.cos(self.orientation), 0.0])
        )
        middle = anchor + np.array([self.x, self.y, 0.0])
        return np.stack([middle + aside, middle - aside])


def add_carla(
    files: tuple[Path, Path],
    contents: Contents,
    lights: list[Light],
    network: RoadNetwork,
    problems: Problems,
) -> None:
    """Adds stop lines and programs to the lights of a map.

    Args:
        files: As of `files_beside`; either may be absent.
        contents: The map's file.
        lights: Those of the map; some get programs, and others are appended.
        network: Its lanes are linked.
        problems: Receives what is not used.

    Raises:
        MapError: A file is damaged, or not as it should be.
    """
    stops = _stops(files[0]) if files[0].is_file() else []
    cycles = _cycles(files[1]) if files[1].is_file() else {}
    if contents.anchor is None and stops:
        problems.drop(
            "{} files of stop lines are left out: their metres count from latitude 0, longitude 0",
            files[0].name,
        )
        return
    for stop in stops:
        assert contents.anchor is not None
        stop = stop.mirrored() if contents.mirrored else stop
        light = _light_of(stop, stop.mark(contents.anchor), lights, network)
        if light is None:
            problems.drop("{} stop lines of the file beside lie on no lane", f"actor {stop.actor}")
            continue
        if stop.actor in cycles:
            light.program, light.cycle = cycles.pop(stop.actor)
    for actor in cycles:
        problems.drop("{} lights of controllers have no stop line", f"actor {actor}")


def _light_of(stop: _Stop, mark: Floats, lights: list[Light], network: RoadNetwork) -> Light | None:
    """Returns the light of a stop line, a new one where the map has none there."""
    middle = mark.mean(axis=0)
    for light in lights:
        near = [m for m in light.marks if np.hypot(*(m.mean(axis=0) - middle)[:2]) < MATCH]
        if near and not light.program:
            return light
    ahead = np.array([np.cos(stop.orientation), np.sin(stop.orientation)])
    found = []
    for index, lane in enumerate(network.lanes):
        s = crossing_of(lane, mark, 0.0) if lane.drivable else None
        if s is None:
            continue
        piece = int(np.clip(np.searchsorted(lane.arc_length, s), 1, len(lane.centre) - 1))
        step = (lane.centre[piece] - lane.centre[piece - 1])[:2]
        if step @ ahead > SAME_WAY * np.hypot(*step):
            found.append(index)
    if not found:
        return None
    for light in lights:
        if not light.marks and not light.program and set(found) & set(light.lanes):
            light.marks.append(mark)
            return light
    mark[:, 2] = network.lanes[found[0]].centre[0, 2]
    lights.append(Light(stop.actor, mark.mean(axis=0), found, [mark]))
    return lights[-1]


def _read(path: Path) -> Any:
    """Returns what a JSON file holds."""
    if path.stat().st_size > MAX_BYTES:
        raise MapError(f"{path.name}: more than {MAX_BYTES} bytes")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:100]
        raise MapError(f"{path.name}: damaged or no JSON ({reason})") from None


def _rows(value: Any, path: Path, what: str) -> list[Any]:
    """Returns a value that has to be a list."""
    if not isinstance(value, list):
        raise MapError(f"{path.name}: {what} must be a list, got {type(value).__name__}")
    return value


def _number(row: Any, key: str, path: Path, low: float, high: float) -> float:
    """Returns a number of an entry, which may be written as text."""
    value = row.get(key)
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if not low <= number <= high:
        raise MapError(
            f"{path.name}: {key}={str(value)[:40]!r} of an entry is not a number from {low:g} to "
            f"{high:g}"
        )
    return number


def _stops(path: Path) -> list[_Stop]:
    """Returns the stop lines of traffic lights of a file."""
    stops = []
    for row in _rows(_read(path), path, "the file"):
        if not isinstance(row, dict):
            raise MapError(f"{path.name}: an entry is {str(row)[:40]!r}, not an object")
        if row.get("agent_type", "traffic_light") != "traffic_light":
            continue
        place = [
            _number(row, key, path, -MAX_COORDINATE, MAX_COORDINATE)
            for key in ("x", "y", "orientation")
        ]
        width = _number(row, "width", path, 0.1, 100.0)
        stops.append(_Stop(str(row.get("actor_id", "")), place[0], place[1], width, place[2]))
    return stops


def _cycles(path: Path) -> dict[str, tuple[str, list[tuple[int, float]]]]:
    """Returns the name of its controller and its cycle for each light of a file."""
    cycles: dict[str, tuple[str, list[tuple[int, float]]]] = {}
    for number, controller in enumerate(_rows(_read(path), path, "the file")):
        phases = _rows(controller, path, "a controller")
        if not 0 < len(phases) <= MAX_PHASES:
            raise MapError(
                f"{path.name}: controller {number} has {len(phases)} phases; 1 to {MAX_PHASES} "
                "are allowed"
            )
        states = [_colours(phase, path) for phase in phases]
        seconds = [_number(phase, "duration", path, 1e-3, MAX_SECONDS) for phase in phases]
        order = _order(phases)
        for actor in states[0]:
            cycle: list[tuple[int, float]] = []
            for place in order:
                colour = states[place].get(actor, NO_LIGHT)
                if cycle and cycle[-1][0] == colour:
                    cycle[-1] = (colour, cycle[-1][1] + seconds[place])
                else:
                    cycle.append((colour, seconds[place]))
            cycles.setdefault(actor, (f"controller {number}", cycle))
    return cycles


def _colours(phase: Any, path: Path) -> dict[str, int]:
    """Returns the colour of each light in a phase."""
    states = phase.get("actor_states") if isinstance(phase, dict) else None
    if not isinstance(states, dict):
        raise MapError(f"{path.name}: a phase has no object actor_states")
    for colour in states.values():
        if str(colour).lower() not in COLOURS:
            raise MapError(
                f"{path.name}: the colour {str(colour)[:40]!r} is none of {', '.join(COLOURS)}"
            )
    return {str(actor): COLOURS[str(colour).lower()] for actor, colour in states.items()}


def _order(phases: list[Any]) -> list[int]:
    """Returns the places of phases as each names the next, from the first; else as they stand."""
    places = {str(phase.get("state")): place for place, phase in enumerate(phases)}
    order = [0]
    while len(order) <= len(phases):
        ahead = places.get(str(phases[order[-1]].get("next_state")), -1)
        if ahead == 0 and len(set(order)) == len(order):
            return order
        if ahead < 0 or ahead in order:
            break
        order.append(ahead)
    return list(range(len(phases)))
