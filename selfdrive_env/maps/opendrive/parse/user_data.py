"""What this package keeps in the <userData> of an OpenDRIVE file, since the format has no word.

The writer writes it; a reader of another program skips it.
"""

from __future__ import annotations

import math

from selfdrive_env.maps.flaws import MAX_RANK, RULES
from selfdrive_env.maps.xml import Element
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW

__all__ = [
    "CYCLE",
    "KIND",
    "NAME",
    "OFFSET",
    "PRECEDENCE",
    "RULE",
    "STOP_LINE",
    "TYPE",
    "cycle_text",
    "is_own",
    "read_cycle",
    "read_kind",
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

KIND = f"{PREFIX}kind"
"""Of a junction, as in `Junction.kind`."""

RULE = f"{PREFIX}rule"
"""Of a junction, as in `Junction.rule`."""

CYCLE = f"{PREFIX}cycle"
"""Of a controller, as in `SignalGroup.cycle`: "green 30 yellow 3 red 27"."""

OFFSET = f"{PREFIX}offset"
"""Of a controller, as in `SignalGroup.offset` [s]."""

KINDS = ("default", "direct", "virtual")

STOP_LINE = f"{PREFIX}stop_line"
"""Of the object that marks a stop line: it lies just there, however near to the junction."""

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


def read_precedence(element: Element) -> int:
    """Returns the precedence of a lane."""
    rank = element.integer("value")
    if abs(rank) > MAX_RANK:
        raise element.error(f"value={rank} is beyond {MAX_RANK}")
    return rank


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
