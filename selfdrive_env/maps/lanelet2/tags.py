"""What the tags of lanelets, lines and signs mean: who drives, how fast, and over which lines.

As documented with Lanelet2: LaneletAndAreaTagging, LinestringTagging and RegulatoryElementTagging.
"""

from __future__ import annotations

import re
from math import isfinite

__all__ = ["default_speed", "is_known", "is_two_way", "lane_changes", "lane_type",
    "sign_kind", "sign_speed", "speed_of", "stated_speed"]  # fmt: skip

Tags = dict[str, str]

DRIVING = ("", "road", "lane", "highway", "play_street", "exit")
"""Subtypes of lanelets that are for cars."""

NON_DRIVING = {
    "emergency_lane": "restricted",
    "bus_lane": "bus",
    "bicycle_lane": "biking",
    "walkway": "sidewalk",
    "shared_walkway": "sidewalk",
    "pedestrian_lane": "sidewalk",
    "crosswalk": "sidewalk",
    "stairs": "sidewalk",
    "road_shoulder": "shoulder",
    "parking": "parking",
    "rail": "rail",
}
"""Subtype of other lanelets -> the type of their lanes, in the words of OpenDRIVE."""

OTHER = "restricted"
"""Type of lanes that are for no car, though their subtype says otherwise or nothing known."""

CAR = ("vehicle", "vehicle:car", "vehicle:car:combustion", "vehicle:car:electric")
"""Participants that are cars, or cars among others."""

PARTICIPANT = "participant:"

CITY, COUNTRY, MOTORWAY, PLAY_STREET = 50.0 / 3.6, 100.0 / 3.6, 130.0 / 3.6, 7.0 / 3.6
"""Speed limits where nothing else is said, those of Germany [m/s]."""

UNITS = {
    "": 1.0 / 3.6,
    **dict.fromkeys(("km/h", "kmh", "kph", "kmph"), 1.0 / 3.6),
    **dict.fromkeys(("mph", "mp/h", "mi/h"), 0.44704),
    **dict.fromkeys(("m/s", "mps", "ms"), 1.0),
}
"""Unit of a speed -> [m/s]."""

SPEED = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z/]*)\s*")

LINES = ("line_thin", "line_thick")
"""Types of lines that are painted."""

YES, NO = ("yes", "true", "1"), ("no", "false", "0", "-1")

SIGN_KINDS = {
    **dict.fromkeys(("de206", "usr1-1", "stop", "stop_sign"), "stop_sign"),
    **dict.fromkeys(("de205", "usr1-2", "yield", "yield_sign"), "yield_sign"),
    **dict.fromkeys(("de301", "de306"), "priority_sign"),
}
"""Subtype of a sign -> kind of signal."""

SPEED_SIGNS = (("de274.1", "de274_1"), ("de274", "usr2-1"))
"""Beginnings of the subtypes of signs of a zone of 30 km/h, and of others."""


def is_two_way(tags: Tags) -> bool:
    """Returns whether cars use a lanelet in both directions."""
    return any(tags.get(key, "").lower() in NO for key in ("one_way", "one_way:vehicle"))


def is_known(subtype: str) -> bool:
    """Returns whether a subtype of lanelets says who uses them."""
    return subtype.lower() in DRIVING or subtype.lower() in NON_DRIVING


def lane_type(tags: Tags) -> str:
    """Returns the type of a lanelet in the words of OpenDRIVE, "driving" where cars may go.

    Where participants are named, those alone may go, whatever the subtype.
    """
    subtype = tags.get("subtype", "").lower()
    named = {
        key[len(PARTICIPANT) :]: value.lower() in YES
        for key, value in tags.items()
        if key.startswith(PARTICIPANT)
    }
    usual = NON_DRIVING.get(subtype, "driving" if subtype in DRIVING else OTHER)
    if not named:
        return usual
    for_cars = any(named.get(who, False) for who in CAR) and named.get("vehicle:car", True)
    if for_cars:
        return "driving"
    return usual if usual != "driving" else _other_type(named)


def _other_type(named: dict[str, bool]) -> str:
    """Returns the type of a lanelet that is not for cars by whom it is for."""
    for who, type_ in (("pedestrian", "sidewalk"), ("bicycle", "biking"), ("vehicle:bus", "bus")):
        if named.get(who, False):
            return type_
    return OTHER


def speed_of(text: str) -> float | None:
    """Returns a speed with its unit, km/h where there is none, in m/s; None for what is none."""
    found = SPEED.fullmatch(text)
    if not found or found[2].lower() not in UNITS:
        return None
    value = float(found[1]) * UNITS[found[2].lower()]
    return value if isfinite(value) and 0.0 < value < 1e3 else None


def stated_speed(tags: Tags) -> str:
    """Returns the tag of a lanelet with the speed limit of cars, empty for none."""
    keys = [f"speed_limit:{who}" for who in reversed(CAR)]
    return next((tags[key] for key in (*keys, "speed_limit") if tags.get(key)), "")


def default_speed(tags: Tags) -> float:
    """Returns the speed limit of a lanelet by its kind and place [m/s]."""
    subtype = tags.get("subtype", "").lower()
    if subtype == "play_street":
        return PLAY_STREET
    if subtype == "highway":
        return MOTORWAY
    return COUNTRY if tags.get("location", "").lower() == "nonurban" else CITY


def sign_kind(tags: Tags) -> str:
    """Returns the kind of signal that a sign is, empty for others."""
    subtype = tags.get("subtype", "").lower().replace("_", "-")
    kind = SIGN_KINDS.get(subtype, "") or SIGN_KINDS.get(subtype.replace("-", "_"), "")
    return kind or ("speed_limit" if sign_speed(tags) is not None else "")


def sign_speed(tags: Tags) -> float | None:
    """Returns the limit on a sign [m/s], None where it shows none."""
    subtype = tags.get("subtype", "").lower()
    zones, signs = SPEED_SIGNS
    if subtype in zones:
        return 30.0 / 3.6
    for begin in signs:
        if subtype.startswith(begin):
            number = subtype[len(begin) :].strip("-_ ") or tags.get("value", "")
            unit = "mph" if begin.startswith("us") else ""
            return speed_of(number if number[-1:].isalpha() else number + unit)
    return None


def lane_changes(tags: Tags) -> tuple[bool, bool]:
    """Returns whether one may change lanes over a line, to the left and to the right of it.

    Left and right are those of the line's own direction. A dashed line may be crossed from either
    side, one that is dashed on one side (named first: the left one) from that; other lines not.
    """
    both = tags.get("lane_change", "").lower()
    if both:
        return both in YES, both in YES
    sides = [tags.get(f"lane_change:{side}", "").lower() for side in ("left", "right")]
    if any(sides):
        return sides[0] in YES, sides[1] in YES
    if tags.get("type", "").lower() not in LINES:
        return False, False
    subtype = tags.get("subtype", "").lower()
    to_left = subtype in ("dashed", "solid_dashed")
    to_right = subtype in ("dashed", "dashed_solid")
    return to_left, to_right
