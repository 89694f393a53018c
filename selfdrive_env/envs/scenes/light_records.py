"""Lights and stop signs of a record: on the map that is made of it, and as colours of stop lines.

A light is meant for one lane. On a map that a scene names, `Lights.lane` counts the lanes of its
`RoadNetwork`; in recorded roads it is the id of a line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.network.stop_lines import place_stop_lines
from selfdrive_env.maps.road_network import Lane, RoadNetwork, Signal
from selfdrive_env.scenes import LIGHT_STATES, Lights, Roads
from selfdrive_env.state.road import LINE_X, LINE_Y
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW

__all__ = ["STATE_OF", "add_signals", "line_colours", "recorded_lights"]

COLOURS = {
    **dict.fromkeys(("unknown", "flashing_caution"), NO_LIGHT),
    **dict.fromkeys(("arrow_stop", "stop"), RED),
    **dict.fromkeys(("arrow_caution", "caution"), YELLOW),
    **dict.fromkeys(("arrow_go", "go"), GREEN),
    "flashing_stop": STOP_SIGN,
}
"""State of a recorded light -> what its stop line shows: a flashing red light is a stop sign, a
flashing yellow one is none."""

STATE_OF = {
    colour: LIGHT_STATES.index(name)
    for colour, name in ((NO_LIGHT, "unknown"), (RED, "stop"), (YELLOW, "caution"), (GREEN, "go"))
}
"""The other way: what a line shows -> the state that is recorded."""

COLOUR_OF = np.array([COLOURS[name] for name in LIGHT_STATES], np.uint8)

REACH = 15.0
"""A light farther than this from every line of its lane belongs to none [m]."""


def add_signals(
    network: RoadNetwork, roads: Roads, lights: Lights | None, index: dict[int, int]
) -> None:
    """Puts stop lines for recorded lights and stop signs on the lanes that they are meant for.

    Args:
        network: Its lanes are there and joined.
        roads: With the stop signs.
        lights: The lights, None for none.
        index: Id of a recorded lane -> its place in the network.
    """
    for sign in roads.of_kind("stop_sign"):
        place = roads.line(sign)[0].astype(np.float64)
        lanes = [index[lane] for lane in roads.linked(int(roads.id[sign]), "stop") if lane in index]
        if lanes:
            _add(network, f"stop sign {int(roads.id[sign])}", "stop_sign", place, lanes)
    if lights is None:
        return
    for lane, place in zip(lights.lane.tolist(), lights.position.astype(np.float64), strict=True):
        if lane in index:
            _add(network, f"light {lane}", "traffic_light", place, [index[lane]])


def _add(
    network: RoadNetwork, name: str, kind: str, place: NDArray[np.float64], lanes: list[int]
) -> None:
    """Adds a signal, and the stop lines across its lanes beside it."""
    places = [(lane, _along(network.lanes[lane], place)) for lane in lanes]
    lane, s = places[0]
    centre, arc = network.lanes[lane].centre, network.lanes[lane].arc_length
    piece = int(np.clip(np.searchsorted(arc, s), 1, len(arc) - 1))
    dx, dy = (centre[piece] - centre[piece - 1])[:2]
    number = len(network.signals)
    heading = float(np.arctan2(dy, dx))
    network.signals.append(Signal(name, kind, place.copy(), heading, [lane for lane, _ in places]))
    place_stop_lines(network, places, "stop_sign" if kind == "stop_sign" else "signal", number)


def _along(lane: Lane, place: NDArray[np.float64]) -> float:
    """Returns the arc length at which a lane passes a place nearest [m]."""
    start, step = lane.centre[:-1, :2], np.diff(lane.centre[:, :2], axis=0)
    square = np.maximum((step * step).sum(1), 1e-12)
    part = np.clip(((place[:2] - start) * step).sum(1) / square, 0.0, 1.0)
    apart = np.hypot(*(start + part[:, None] * step - place[:2]).T)
    best = int(apart.argmin())
    return float(lane.arc_length[best] + part[best] * np.sqrt(square[best]))


def line_colours(
    lights: Lights, road: CompiledMap, network: RoadNetwork | None, current: int
) -> NDArray[np.uint8]:
    """Returns what each stop line of a map shows from the present moment on, [line, moment].

    What was not seen at a moment shows what it showed before. Lines that a light is not recorded
    for are dark; stop signs stay.

    Args:
        lights: As they were recorded.
        road: The map.
        network: The same where it was made of recorded roads, None where `Lights.lane` counts its
            lanes.
        current: Index of the present moment.
    """
    line_group = road.signs.line_group
    steps = lights.state.shape[1]
    colours = np.full((len(line_group), steps - current), NO_LIGHT, np.uint8)
    colours[line_group < 0] = STOP_SIGN
    number = {int(lane): compiled for compiled, lane in enumerate(road.network_lane.tolist())}
    if network is not None:
        names = {lane.name: place for place, lane in enumerate(network.lanes)}
    for light, lane in enumerate(lights.lane.tolist()):
        place = lane if network is None else names.get(str(lane), -1)
        line = _line_of(road, number.get(place, -1), lights.position[light])
        if line < 0:
            continue
        state = lights.state[light]
        seen = np.where(state >= 0, np.arange(steps), -1)
        last = np.maximum.accumulate(seen)[current:]
        colours[line] = np.where(last >= 0, COLOUR_OF[state[np.maximum(last, 0)]], NO_LIGHT)
    return colours


def _line_of(road: CompiledMap, lane: int, position: NDArray[np.float32]) -> int:
    """Returns the stop line with a group across a lane nearest to a place, -1 where none is."""
    if lane < 0:
        return -1
    signs = road.signs
    first, last = signs.lane_line_first[lane : lane + 2].tolist()
    lines = [line for line in signs.lane_line[first:last].tolist() if signs.line_group[line] >= 0]
    if not lines:
        return -1
    middle = signs.line[lines][:, [LINE_X, LINE_Y]].astype(np.float64)
    apart = np.hypot(*(middle - position[:2].astype(np.float64)).T)
    return lines[int(apart.argmin())] if apart.min() < REACH else -1


def recorded_lights(road: CompiledMap, line_colour: NDArray[np.uint8]) -> Lights | None:
    """Returns what stop lines showed as recorded lights, None where the map has no light.

    Args:
        road: The map.
        line_colour: Of the stop lines, [line, moment].
    """
    signs, lanes, places, states = road.signs, [], [], []
    for lane in range(len(road.network_lane)):
        first, last = signs.lane_line_first[lane : lane + 2].tolist()
        for line in signs.lane_line[first:last].tolist():
            if signs.line_group[line] >= 0:
                lanes.append(int(road.network_lane[lane]))
                places.append([*signs.line[line, [LINE_X, LINE_Y]], 0.0])
                states.append([STATE_OF.get(colour, 0) for colour in line_colour[line].tolist()])
                break
    if not lanes:
        return None
    return Lights.of(lanes, places, np.array(states, np.int8))
