"""What a signal of an OpenDRIVE file is: by the catalogue of its type, else by its name.

Types are those of ASAM ("OpenDRIVE"), of Germany (numbers, which CARLA and others use everywhere)
and of the United States (R1-1 and its like, which no other catalogue has).
"""

from __future__ import annotations

from math import isfinite

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.parse.records import SignalRecord
from selfdrive_env.maps.opendrive.parse.sections import SPEED_UNITS
from selfdrive_env.maps.xml import Element

__all__ = ["read_kind"]

LIGHT_TYPES = frozenset(
    {"1000001", "1000002", "1000007", *(str(number) for number in range(1000009, 1000014))}
)
"""Traffic lights."""

NOT_FOR_CARS = frozenset({"1000002", "1000007", "1000013"})
"""Lights for pedestrians and cyclists."""

LIGHT_NAMES = ("light", "ampel", "lichtzeichen", "lichtsignal", "semaphore")
"""Words in the names of traffic lights whose type says nothing."""

KINDS = {
    **dict.fromkeys(("206", "R1-1"), "stop_sign"),
    **dict.fromkeys(("205", "R1-2"), "yield_sign"),
    **dict.fromkeys(("301", "306"), "priority_sign"),
    **dict.fromkeys(("274", "R2-1"), "speed_limit"),
    "294": "stop_line",
}
"""Kind of a sign by its type."""

NAMES = {
    **dict.fromkeys(("signstop", "stop", "stopsign"), "stop_sign"),
    **dict.fromkeys(("signyield", "yield", "yieldsign"), "yield_sign"),
}
"""Kind of a sign by its name, without blanks and the like."""

OLD_NUMBERS = frozenset({*range(51, 60), *range(61, 64)})
"""Subtypes of 274 that count tens from 50 (274-56 is 60 km/h); later ones are the speed itself."""


def read_kind(element: Element, record: SignalRecord, problems: Problems) -> None:
    """Fills in the kind of a signal and the speed that it shows.

    Args:
        element: The signal.
        record: Has its id, name and type; the rest is written.
        problems: Receives what moves or shows a speed, and is not understood.
    """
    kind, number = _numbers(element)
    name = record.name.lower()
    words = name.replace("_", "").replace("-", "").replace(" ", "")
    dynamic = element.text("dynamic").lower() == "yes"
    record.kind = KINDS.get(kind, "") or NAMES.get(words, "")
    record.for_cars = kind not in NOT_FOR_CARS
    if record.kind == "speed_limit":
        record.speed = _speed_shown(element, kind, number, problems)
        if record.speed is None:
            record.kind = ""
            problems.drop("{} speed signs show no speed and are left out", f"signal {record.id}")
    elif not record.kind and words.startswith("stopline"):
        record.kind = "stop_line"
    elif not record.kind and (kind in LIGHT_TYPES or (dynamic and _named_light(words))):
        record.kind = "traffic_light"
    elif not record.kind and dynamic:
        about = f"signal {record.id} (type {kind or 'none'}, name {record.name[:40] or 'none'})"
        problems.drop("{} dynamic signals are no known traffic lights and are left out", about)


def _named_light(words: str) -> bool:
    """Returns whether a name without blanks is that of a traffic light."""
    return any(word in words for word in LIGHT_NAMES) or words.startswith("trafficsignal")


def _numbers(element: Element) -> tuple[str, str]:
    """Returns the type and the number after it: 274-56, 274.56, or 274 with the subtype 56."""
    kind = element.text("type").upper().replace(".", "-")
    subtype = element.text("subtype")
    head, _, tail = kind.partition("-")
    if head.startswith("R") and head[1:].isdigit():
        # "R1-1", or "R1" with the subtype 1.
        return f"{head}-{tail or subtype}", ""
    return (head, tail) if head and tail else (kind, subtype)


def _speed_shown(element: Element, kind: str, number: str, problems: Problems) -> float | None:
    """Returns the limit on a sign [m/s], None where neither value nor subtype give one."""
    usual = "mph" if kind == "R2-1" else "km/h"
    unit = element.text("unit").lower() or usual
    if unit not in SPEED_UNITS:
        about = f"signal {element.text('id')} ({unit[:40]})"
        problems.infer("{} speed signs have an unknown unit (read as in their country)", about)
    factor = SPEED_UNITS.get(unit, SPEED_UNITS[usual])
    for text, is_number in ((element.text("value"), False), (number, True)):
        try:
            value = float(text)
        except ValueError:
            continue
        if is_number and value in OLD_NUMBERS:
            return (value - 50.0) * 10.0 * SPEED_UNITS["km/h"]
        if isfinite(value) and value > 0.0:
            return value * factor
    return None
