"""What the traffic signs of a country mean, and the speeds that they show.

Ids are those of the national traffic laws. German ones count everywhere: CommonRoad uses them for
places that do not exist, and its converters for those of any country.
"""

from __future__ import annotations

import math
import re

__all__ = ["LEFT_HAND", "RIGHT_FIRST", "read_sign", "speed_shown"]

SPEED_UNITS = {
    **dict.fromkeys(("", "m/s", "ms", "mps"), 1.0),
    **dict.fromkeys(("km/h", "kmh", "kph", "kmph"), 1.0 / 3.6),
    "mph": 0.44704,
}
"""[m/s] a unit; CommonRoad has m/s only, some tools write others."""

MAX_LIMIT = 45.0
"""Limits above this are no m/s [m/s]."""

ZONE, ZONE_SPEED = "274.1", 30.0 / 3.6
"""Sign of a zone, and its limit where the sign shows none [m/s]."""

VALUE = re.compile(r"\s*([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z/]*)\s*")


def _kinds(
    stop: str = "", give_way: str = "", priority: str = "", limit: str = "", right_first: str = ""
) -> dict[str, str]:
    """Returns the kind of a sign by its id; ids of one kind stand apart by blanks."""
    return {
        **dict.fromkeys(stop.split(), "stop_sign"),
        **dict.fromkeys(give_way.split(), "yield_sign"),
        **dict.fromkeys(priority.split(), "priority_sign"),
        **dict.fromkeys(limit.split(), "speed_limit"),
        **dict.fromkeys(right_first.split(), "right_first"),
    }


GERMAN = _kinds("206", "205", "301 306", f"274 {ZONE}", "102")
AMERICAN = _kinds("R1-1", "R1-2", "", "R2-1")
GREEK_RHO = "\u03a1"

NATIONAL = {
    "USA": AMERICAN,
    "PRI": AMERICAN,
    "AUS": _kinds("R1-1", "R1-2", "", "R4-1"),
    "ARG": _kinds("R27", "R28", "", "R15"),
    "BEL": _kinds("B5", "B1", "B9 B15", "C43", "B17"),
    "ESP": _kinds("R2", "R1", "R3", "R301"),
    "FRA": _kinds("AB4", "AB3A", "AB2 AB6", "B14", "AB1"),
    "GRC": _kinds(f"{GREEK_RHO}-2", f"{GREEK_RHO}-1", f"{GREEK_RHO}-3", f"{GREEK_RHO}-32"),
    "HRV": _kinds("B02", "B01", "", "B31"),
    "RUS": _kinds("2.5", "2.4", "2.1", "3.24"),
}
"""Kinds of the signs of a country by their ids in capitals."""

RIGHT_FIRST = frozenset(
    (
        *("ARG", "AUS", "AUT", "BEL", "CHE", "CHN", "CZE", "DEU", "DNK", "ESP", "EST", "FIN"),
        *("FRA", "GRC", "HRV", "HUN", "ITA", "LTU", "LUX", "LVA", "NLD", "NOR", "POL", "PRT"),
        *("ROU", "RUS", "SRB", "SVK", "SVN", "SWE", "TUR", "UKR", "ZAM"),
    )
)
"""Countries in which who comes from the right goes first where no sign says otherwise."""

LEFT_HAND = frozenset(
    (
        *("AUS", "BGD", "CYP", "GBR", "HKG", "IDN", "IND", "IRL", "JPN", "KEN", "LKA", "MLT"),
        *("MYS", "NPL", "NZL", "PAK", "SGP", "THA", "ZAF"),
    )
)
"""Countries in which traffic keeps to the left."""


def read_sign(country: str, name: str) -> str:
    """Returns what a sign is: a kind of `Signal`, "right_first", or "" for any other.

    Args:
        country: Three letters, as in "DEU".
        name: Id of the sign.
    """
    name = name.upper()
    return NATIONAL.get(country, {}).get(name) or GERMAN.get(name, "")


def speed_shown(name: str, values: list[str]) -> float | None:
    """Returns the limit that a sign shows [m/s], None where it shows none that is usable.

    Args:
        name: Id of the sign.
        values: Its additional values; -1 stands for none.
    """
    for value in values:
        found = VALUE.fullmatch(value)
        try:
            speed = float(found[1]) * SPEED_UNITS[found[2].lower()] if found else math.nan
        except (KeyError, ValueError):
            continue
        if 0.0 < speed <= MAX_LIMIT:
            return speed
        if speed > MAX_LIMIT:
            return None
    return ZONE_SPEED if name == ZONE else None
