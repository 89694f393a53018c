"""What this package keeps in the <userData> of an OpenDRIVE file, since the format has no word.

The writer writes it; a reader of another program skips it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from selfdrive_env.maps.flaws import MARKS, MAX_COORDINATE, MAX_RANK, RULES
from selfdrive_env.maps.xml import Element
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW

__all__ = [
    "CENTRE",
    "CYCLE",
    "DRIVING_LANES",
    "ENDS",
    "HEADING",
    "KIND",
    "LEFT_MARK",
    "LEFT_NEIGHBOUR",
    "MAX_CUT",
    "NAME",
    "OFFSET",
    "PRECEDENCE",
    "RIGHT_MARK",
    "RIGHT_NEIGHBOUR",
    "RULE",
    "STOP_LINE",
    "STOP_LINE_FRAME",
    "STOP_LINE_PART",
    "TYPE",
    "WAITS_ON",
    "WHOLE",
    "cycle_text",
    "is_own",
    "numbers_text",
    "read_cycle",
    "read_heading",
    "read_kind",
    "read_mark",
    "read_numbers",
    "read_offset",
    "read_precedence",
    "read_rule",
    "read_text",
]

PREFIX = "selfdrive_env."

NAME = f"{PREFIX}name"
"""Of a junction, signal or controller whose name cannot be its id."""

TYPE = f"{PREFIX}type"
"""Of a lane, where OpenDRIVE 1.7 does not have it."""

PRECEDENCE = f"{PREFIX}precedence"
"""Of a lane through a junction, as in `Lane.precedence`."""

LEFT_MARK = f"{PREFIX}left_mark"
"""Of a lane, as in `Lane.left_mark`."""

RIGHT_MARK = f"{PREFIX}right_mark"
"""Of a lane, as in `Lane.right_mark`."""

LEFT_NEIGHBOUR = f"{PREFIX}left_neighbour"
"""Of a lane, where the lanes of its section do not say it: the name of the lane, "" for none."""

RIGHT_NEIGHBOUR = f"{PREFIX}right_neighbour"
"""The same on the right."""

HEADING = f"{PREFIX}heading"
"""Of a signal, as in `Signal.heading`, where its lanes do not say it [rad]."""

CENTRE = f"{PREFIX}centre"
"""Of a lane whose centre is not the middle between its edges: sOffset, a, b, c and d of how far
left of the middle it lies, seen along the road [m]."""

ENDS = f"{PREFIX}ends"
"""Of a lane whose ends are not those of its section, cut squarely: how much further along the road
its left edge begins and ends, seen along the road, then its right edge, then its centre [m]."""

KIND = f"{PREFIX}kind"
"""Of a junction, as in `Junction.kind`."""

RULE = f"{PREFIX}rule"
"""Of a junction, as in `Junction.rule`."""

CYCLE = f"{PREFIX}cycle"
"""Of a controller, as in `SignalGroup.cycle`: "green 30 yellow 3 red 27"."""

OFFSET = f"{PREFIX}offset"
"""Of a controller, as in `SignalGroup.offset` [s]."""

DRIVING_LANES = f"{PREFIX}driving_lanes"
"""Of the header: `RoadNetwork.driving_lane_km`, and the same along the reference lines of the file
[km]. Who changes the file changes the second one: then the first one no longer holds."""

WAITS_ON = f"{PREFIX}waits_on"
"""Of a light: the names of lanes through a junction at whose start traffic waits for it, where a
lane that leads there has a light for each way on."""

WHOLE = f"{PREFIX}whole"
"""Of a controller: its lights are one group, whatever the angles between their approaches."""

MAX_CUT = 50.0
"""Lanes are cut no more obliquely than that [m]."""

KINDS = ("default", "direct", "virtual")

STOP_LINE = f"{PREFIX}stop_line"
"""Of the object that marks a stop line: it lies just there, however near to the junction. "exact",
or s and t of the four ends of a `StopLine` [m], which is then for the lanes of the validities."""

STOP_LINE_FRAME = f"{PREFIX}stop_line_frame"
"""The same where the ends are not all beside the road: u and v of the four ends from the point on
the reference line at the object's s, along its heading and to the left [m]."""

STOP_LINE_PART = f"{PREFIX}stop_line_part"
"""Of an object that marks a stop line over lanes of several roads or sections: what the objects of
one line have in common."""

COLOURS = {"none": NO_LIGHT, "green": GREEN, "yellow": YELLOW, "red": RED}


def is_own(attributes: dict[str, str]) -> bool:
    """Returns whether a <userData> with these attributes is of this package.

    Args:
        attributes: Of the element.
    """
    return attributes.get("code", "").startswith(PREFIX)


def cycle_text(cycle: list[tuple[int, float]]) -> str:
    """Returns the phases of a light as a text.

    Args:
        cycle: Colour and duration [s] of each.
    """
    words = {colour: word for word, colour in COLOURS.items()}
    return " ".join(f"{words[colour]} {seconds!r}" for colour, seconds in cycle)


def read_cycle(element: Element) -> list[tuple[int, float]]:
    """Returns the phases that a text has; a MapError for what is no cycle."""
    words = element.text("value").split()
    cycle = []
    for word, text in zip(words[::2], words[1::2], strict=False):
        seconds = _number(element, text)
        if word not in COLOURS or seconds <= 0.0:
            break
        cycle.append((COLOURS[word], seconds))
    if not words or 2 * len(cycle) != len(words):
        shown = element.text("value")[:40]
        raise element.error(
            f"value={shown!r} is no cycle; pairs of {', '.join(COLOURS)} and seconds are allowed"
        )
    return cycle


def read_offset(element: Element) -> float:
    """Returns a time [s]."""
    return element.number("value")


def read_heading(element: Element) -> float:
    """Returns a heading in [-pi, pi) [rad]."""
    return (element.number("value") + math.pi) % (2.0 * math.pi) - math.pi


def read_precedence(element: Element) -> int:
    """Returns the precedence of a lane."""
    rank = element.integer("value")
    if abs(rank) > MAX_RANK:
        raise element.error(f"value={rank} is beyond {MAX_RANK}")
    return rank


def numbers_text(numbers: Iterable[float]) -> str:
    """Returns numbers as a text.

    Args:
        numbers: Any.
    """
    return " ".join(f"{value + 0.0:.12g}" for value in numbers)


def read_numbers(element: Element, count: int) -> list[float]:
    """Returns the numbers of a text; a MapError unless it has so many in range."""
    words = element.text("value").split()
    if len(words) != count:
        shown = element.text("value")[:40]
        raise element.error(f"value={shown!r} is {len(words)} numbers, not {count}")
    numbers = [_number(element, word) for word in words]
    if any(abs(number) > MAX_COORDINATE for number in numbers):
        raise element.error(f"value has a number beyond {MAX_COORDINATE:g}")
    return numbers


def read_mark(element: Element) -> str:
    """Returns what is painted on one side of a lane."""
    mark = element.text("value")
    if mark not in MARKS:
        raise element.error(f"value={mark[:40]!r} is none of {', '.join(map(repr, MARKS))}")
    return mark


def read_text(element: Element) -> str:
    """Returns a text."""
    return element.text("value")


def read_kind(element: Element) -> str:
    """Returns the kind of a junction."""
    kind = element.text("value")
    if kind not in KINDS:
        raise element.error(f"value={kind[:40]!r} is none of {', '.join(KINDS)}")
    return kind


def read_rule(element: Element) -> str:
    """Returns the rule of a junction."""
    rule = element.text("value")
    if rule not in RULES:
        raise element.error(f"value={rule[:40]!r} is none of {', '.join(map(repr, RULES))}")
    return rule


def _number(element: Element, text: str) -> float:
    """Returns a finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise element.error(f"{text[:40]!r} is not a finite number")
    return number
