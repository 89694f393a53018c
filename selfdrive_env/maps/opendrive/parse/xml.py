"""Which elements of an OpenDRIVE file are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from selfdrive_env.maps import xml
from selfdrive_env.maps.opendrive.parse.user_data import is_own
from selfdrive_env.maps.xml import Element

__all__ = ["SUFFIXES", "drawn_kind", "read_elements"]

SUFFIXES = (".xodr", ".xodr.gz", ".xodr.xz")

KEPT_TEXT = """
header road link predecessor successor type speed planView geometry line arc spiral poly3
paramPoly3 elevationProfile elevation lanes laneOffset laneSection left right lane width
border access restriction objects object outlines outline cornerLocal cornerRoad signals signal
signalReference validity junction connection laneLink priority controller control userData
"""

NOTHING_LOST = ("center", "geoReference")
"""Kept though nobody asks for them, so that they are not listed: the middle of the road, whose lane
has no width, and the projection of coordinates that are metres already. What stands within them and
is not kept, such as road marks, is."""

KEPT = frozenset((*KEPT_TEXT.split(), *NOTHING_LOST))


def read_elements(path: str | Path, skipped: Counter[str] | None = None) -> Iterator[Element]:
    """Yields the roads, junctions and controllers of a file, each complete with its children.

    Args:
        path: A file that ends in .xodr, .xodr.gz or .xodr.xz.
        skipped: Receives the names of elements that are not read, and how many there are.

    Yields:
        The children of the root element, in the order of the file.
    """
    return xml.read_elements(path, SCHEMA, skipped)


def drawn_kind(attributes: dict[str, str]) -> str:
    """Returns what an object draws on the road: "crosswalk", "stop_line" or "" for other things.

    Some tools say it by the type, some (with type -1) by the name alone.

    Args:
        attributes: Of the <object>.
    """
    kind, subtype, name = (
        attributes.get(key, "").strip().lower() for key in ("type", "subtype", "name")
    )
    words = name.replace("_", "").replace(" ", "")
    if kind == "crosswalk" or (kind in ("", "-1", "none") and "crosswalk" in words):
        return "crosswalk"
    if words.startswith("stopline") or (kind == "roadmark" and subtype == "signallines"):
        return "stop_line"
    return ""


def _is_kept(tag: str, attributes: dict[str, str]) -> bool:
    """Returns whether an element is read; of objects, those that draw something on the road.

    Files of some tools hold more <userData> than all the rest.
    """
    if tag == "userData":
        return is_own(attributes)
    return tag in KEPT and (tag != "object" or bool(drawn_kind(attributes)))


SCHEMA = xml.Schema("an OpenDRIVE file", "OpenDRIVE", SUFFIXES, _is_kept)
