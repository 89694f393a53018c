"""Which vehicles a lane is for, and what it is called in the words of OpenDRIVE."""

from __future__ import annotations

__all__ = ["CAR", "allowed_classes", "lane_type"]

CAR = "passenger"
"""The vehicle class of a car."""

ROAD_CLASSES = frozenset(
    (
        *("private", "emergency", "authority", "army", "vip", "passenger", "hov", "taxi", "bus"),
        *("coach", "delivery", "truck", "trailer", "motorcycle", "moped", "evehicle"),
        *("custom1", "custom2"),
        # Up to version 0.20.
        *("public_transport", "public_emergency", "public_authority", "public_army", "transport"),
    )
)
RAIL_CLASSES = frozenset(
    (
        *("tram", "rail_urban", "rail", "rail_electric", "rail_fast", "cable_car", "subway"),
        *("lightrail", "cityrail", "rail_slow"),
    )
)
OTHER_CLASSES = frozenset(
    (
        *("pedestrian", "wheelchair", "bicycle", "scooter", "ship", "container", "aircraft"),
        *("drone", "ignoring"),
    )
)
CLASSES = ROAD_CLASSES | RAIL_CLASSES | OTHER_CLASSES

TYPES = (
    (frozenset((CAR,)), "driving"),
    (frozenset(("bus", "coach", "public_transport")), "bus"),
    (frozenset(("taxi",)), "taxi"),
    (frozenset(("hov",)), "HOV"),
    (frozenset(("bicycle",)), "biking"),
    (frozenset(("tram",)), "tram"),
    (RAIL_CLASSES, "rail"),
    (frozenset(("pedestrian",)), "sidewalk"),
)
"""Classes -> type of a lane that admits one of them, the first that fits."""


def allowed_classes(allow: str, disallow: str) -> tuple[frozenset[str], list[str]]:
    """Returns the vehicle classes that a lane or a change of lanes is for.

    Args:
        allow: The attribute, names with blanks between them; "" where it is absent.
        disallow: Likewise; counts where `allow` is absent.

    Returns:
        The classes, and the names that are none.
    """
    names = (allow or disallow).replace(",", " ").replace(";", " ").replace("|", " ").split()
    unknown = [name for name in names if name not in CLASSES and name not in ("all", "none")]
    named = CLASSES if "all" in names else CLASSES & frozenset(names)
    return (named if allow else CLASSES - named), unknown


def lane_type(classes: frozenset[str]) -> str:
    """Returns the type of a lane for some vehicle classes.

    Args:
        classes: As `allowed_classes` returns them.
    """
    return next((name for some, name in TYPES if classes & some), "restricted")
