"""What cannot be right in a road network in the form of arrays: numbers and indices."""

from __future__ import annotations

import numpy as np

from selfdrive_env.maps import columns
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW

__all__ = ["MAX_COORDINATE", "SINGLE", "flawed_index", "flawed_number", "listed"]

MAX_COORDINATE = 1e9
"""Largest coordinate, and largest number of any kind [m]."""

MAX_RANK = 9
"""Largest precedence of a lane, above or below 0."""

LIGHT_COLOURS = (NO_LIGHT, GREEN, YELLOW, RED)
"""What a phase of a traffic light may show."""

SHORTEST_PHASE, LONGEST_PHASE = 0.01, 86_400.0
"""Of a traffic light [s]."""

RULES = ("", "right_first", "left_first", "all_way_stop")
"""Who goes first among equals at a junction."""

MARKS = ("", "none")
"""What is painted on the left boundary of a lane: as usual, or nothing."""

INDICES = {
    "lanes.junction": ("junctions", -1),
    "lanes.successors": ("lanes", 0),
    "lanes.predecessors": ("lanes", 0),
    "lanes.left_neighbour": ("lanes", -1),
    "lanes.right_neighbour": ("lanes", -1),
    "junctions.lanes": ("lanes", 0),
    "junctions.signal_groups": ("signal_groups", 0),
    "signals.lanes": ("lanes", 0),
    "signals.group": ("signal_groups", -1),
    "signal_groups.signals": ("signals", 0),
    "signal_groups.junction": ("junctions", -1),
    "stop_lines.lanes": ("lanes", 0),
    "stop_lines.signal": ("signals", -1),
}
"""Which list an index counts in, and the smallest that is allowed."""

SINGLE = {
    "signals.position": True,
    **{f"stop_lines.{name}": True for name in ("left", "right", "guard_left", "guard_right")},
    "crosswalks.outline": False,
}
"""Whether a field beside those of lanes is one point and no list of them."""


def listed(sentence: str, names: list[str]) -> str:
    """Returns a sentence with the count of what it holds for, and the first few names.

    Args:
        sentence: "{} lanes are ...", with the count in braces.
        names: Of what it holds for.
    """
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{sentence.format(len(names))}: {', '.join(names[:4])}{more}"


def flawed_number(arrays: columns.Arrays) -> str | None:
    """Returns what is wrong with a number of a network in the form of arrays, None for nothing."""
    for name, array in arrays.items():
        if array.dtype == np.float64 and not (np.abs(array) <= MAX_COORDINATE).all():
            return f"{name} has a number that is none, or beyond {MAX_COORDINATE:g}"
    limits = arrays.get("lanes.speed_limit", np.zeros(0))
    for lane in np.flatnonzero(limits < 0.0).tolist():
        return f"lanes.speed_limit of entry {lane} is {limits[lane]:g} m/s; 0 and more is allowed"
    ranks = arrays.get("lanes.precedence", np.zeros(0, np.int64))
    for lane in np.flatnonzero((ranks < -MAX_RANK) | (ranks > MAX_RANK)).tolist():
        allowed = f"-{MAX_RANK} to {MAX_RANK}"
        return f"lanes.precedence of entry {lane} is {ranks[lane]}; {allowed} is allowed"
    for name in ("lanes.left_mark", "lanes.right_mark"):
        for lane, mark in enumerate(columns.from_text(arrays, name) if name in arrays else []):
            if mark not in MARKS:
                allowed = ", ".join(map(repr, MARKS))
                return f"{name} of entry {lane} is {str(mark)[:40]!r}; one of {allowed} is allowed"
    return _flawed_control(arrays)


def _flawed_control(arrays: columns.Arrays) -> str | None:
    """Returns what is wrong with cycles of lights or rules of junctions, None for nothing."""
    colours = arrays.get("signal_groups.cycle", np.zeros(0, np.int64))
    for colour in colours[~np.isin(colours, LIGHT_COLOURS)].tolist():
        return f"signal_groups.cycle has the colour {colour}; 0 (none), 1, 2 and 3 are allowed"
    seconds = arrays.get("signal_groups.cycle.second", np.zeros(0))
    for duration in seconds[(seconds < SHORTEST_PHASE) | (seconds > LONGEST_PHASE)].tolist():
        return (
            f"signal_groups.cycle has a phase of {duration:g} s; {SHORTEST_PHASE} to "
            f"{LONGEST_PHASE:g} s are allowed"
        )
    rules = columns.from_text(arrays, "junctions.rule") if "junctions.rule" in arrays else []
    for rule in rules:
        if rule not in RULES:
            allowed = ", ".join(map(repr, RULES))
            return f"junctions.rule is {str(rule)[:40]!r}; one of {allowed} is allowed"
    return None


def flawed_index(arrays: columns.Arrays) -> str | None:
    """Returns which index of a network in the form of arrays leads nowhere, None for none."""
    for name, (part, low) in INDICES.items():
        array, num = arrays[name], int(arrays[f"{part}.count"][0])
        for place in np.flatnonzero((array < low) | (array >= num)).tolist():
            number = place
            if f"{name}.length" in arrays:
                ends = np.cumsum(arrays[f"{name}.length"])
                number = int(np.searchsorted(ends, place, "right"))
            return f"{name} of entry {number} is {array[place]}; there are {num} {part}"
    return None
