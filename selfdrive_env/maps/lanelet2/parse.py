"""Reads the nodes, ways and relations of an OSM file, as far as a map of lanelets needs them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps import xml
from selfdrive_env.maps.flaws import MAX_COORDINATE
from selfdrive_env.maps.lanelet2.projection import MAX_LATITUDE, project, zone_of
from selfdrive_env.maps.lanelet2.sources import SUFFIXES
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.road_network import MapError

__all__ = ["Contents", "Member", "Relation", "Way", "read_contents"]

Floats = NDArray[np.float64]

NODE_TAGS = ("local_x", "local_y", "ele")
"""Tags of nodes that are read."""

TWICE = "{} ids are used more than once; the first is taken"

MAX_LINES = 500_000
"""Most ways and regulatory elements; a map of 371 lanelets has 1,100."""

MAX_LANELETS = 50_000
"""Most lanelets."""

MAX_AWAY = 6.0
"""Farthest that a node may be from the middle of the map [deg]."""

LOCAL_SHARE = 0.5
"""Share of nodes with metres of their own from which on degrees are not read."""


class Member(NamedTuple):
    """What a relation refers to."""

    kind: str
    """ "node", "way" or "relation"."""

    ref: str
    role: str


@dataclass(slots=True)
class Way:
    """A line through nodes."""

    id: str
    nodes: list[str]
    tags: dict[str, str]


@dataclass(slots=True)
class Relation:
    """A lanelet, an area or a regulatory element."""

    id: str
    members: list[Member]
    tags: dict[str, str]

    def refs(self, kind: str, role: str) -> list[str]:
        """Returns the ids of members of a kind with a role."""
        return [m.ref for m in self.members if (m.kind, m.role) == (kind, role)]


@dataclass(slots=True)
class Contents:
    """An OSM file."""

    nodes: dict[str, Floats] = field(default_factory=dict)
    """[3] in metres each: those of `local_x` and `local_y`, else UTM."""

    ways: dict[str, Way] = field(default_factory=dict)
    lanelets: dict[str, Relation] = field(default_factory=dict)
    rules: dict[str, Relation] = field(default_factory=dict)
    """Regulatory elements."""

    areas: list[str] = field(default_factory=list)

    anchor: Floats | None = None
    """Latitude 0, longitude 0 in the coordinates of the nodes, [3] [m]; None where these are
    metres of the file's own."""

    mirrored: bool = False
    """Whether the file's y points south."""

    def mirror(self) -> None:
        """Turns a map whose y points south, as CARLA's does, the right way up."""
        self.mirrored = True
        flip = np.array([1.0, -1.0, 1.0])
        self.nodes = {name: place * flip for name, place in self.nodes.items()}
        if self.anchor is not None:
            self.anchor = self.anchor * flip

    def points(self, way: str) -> Floats:
        """Returns the points of a way that are there, [P, 3] [m]."""
        nodes = self.ways[way].nodes if way in self.ways else []
        found = [self.nodes[node] for node in nodes if node in self.nodes]
        return np.array(found, np.float64).reshape(-1, 3)


def _is_kept(tag: str, attributes: dict[str, str]) -> bool:
    """Returns whether an element is read."""
    return tag in ("node", "way", "relation", "nd", "member") or (
        tag == "tag" and "k" in attributes
    )


SCHEMA = xml.Schema("a Lanelet2 file", "osm", SUFFIXES, _is_kept)


class _Places:
    """Where nodes lie, as far as they say: latitude, longitude, x, y, z; NaN for what they do not.

    Millions of nodes are kept as numbers, not as objects.
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.values = array("d")

    def add(self, element: xml.Element) -> bool:
        """Keeps a node; returns whether it is the first with its id."""
        if (name := element.text("id")) in self.rows:
            return False
        self.rows[name] = len(self.rows)
        tags = {t.text("k"): t.text("v") for t in element.all("tag") if t.text("k") in NODE_TAGS}
        self.values.append(_number(element.text("lat"), MAX_LATITUDE))
        self.values.append(_number(element.text("lon"), 360.0))
        self.values.append(_number(tags.get("local_x", ""), MAX_COORDINATE))
        self.values.append(_number(tags.get("local_y", ""), MAX_COORDINATE))
        self.values.append(_number(tags["ele"], MAX_COORDINATE) if tags.get("ele") else 0.0)
        return True

    def table(self, names: list[str]) -> Floats:
        """Returns the numbers of some nodes, [N, 5]."""
        whole = np.frombuffer(self.values, np.float64).reshape(-1, 5)
        return whole[[self.rows[name] for name in names]]


def read_contents(path: Path, problems: Problems) -> Contents:
    """Reads a file.

    Args:
        path: Ends in .osm, .osm.gz or .osm.xz.
        problems: Receives what is flawed but usable.

    Raises:
        MapError: The file is damaged, of another kind, or has no lanelets.
    """
    contents = Contents()
    places = _Places()
    others = 0
    skipped: Counter[str] = Counter()
    for element in xml.read_elements(path, SCHEMA, skipped):
        name = element.text("id")
        if not name or element.text("action") == "delete" or element.text("visible") == "false":
            continue
        if element.tag == "node":
            if not places.add(element):
                problems.drop(TWICE, f"node {name}")
            continue
        if len(contents.ways) + len(contents.rules) > MAX_LINES:
            raise element.error(f"is one of more than {MAX_LINES} ways and regulatory elements")
        if len(contents.lanelets) > MAX_LANELETS:
            raise element.error(f"comes after more than {MAX_LANELETS} lanelets")
        tags = {t.text("k").lower(): t.text("v") for t in element.all("tag")}
        if element.tag == "way":
            nodes = [nd.text("ref") for nd in element.all("nd")]
            _keep(contents.ways, name, Way(name, nodes, tags), "way", problems)
        elif element.tag == "relation":
            kind = tags.get("type", "")
            members = [
                Member(m.text("type"), m.text("ref"), m.text("role")) for m in element.all("member")
            ]
            relation = Relation(name, members, tags)
            if kind == "lanelet":
                _keep(contents.lanelets, name, relation, "lanelet", problems)
            elif kind == "regulatory_element":
                _keep(contents.rules, name, relation, "regulatory element", problems)
            elif kind in ("multipolygon", "area"):
                contents.areas.append(name)
            else:
                others += 1
    problems.skip(skipped)
    if not contents.lanelets:
        what = "an OpenStreetMap extract; " if _has_roads(contents) else ""
        others += len(contents.rules) + len(contents.areas)
        raise MapError(
            f"{path.name}: {what}no relation of {others} has type=lanelet; a Lanelet2 map has "
            "at least one (netconvert makes a SUMO network of plain OpenStreetMap data)"
        )
    _place_nodes(contents, places, path.name, problems)
    return contents


Kept = TypeVar("Kept")


def _keep(kept: dict[str, Kept], name: str, one: Kept, what: str, problems: Problems) -> None:
    """Keeps an element, the first of those with one id."""
    if name in kept:
        problems.drop(TWICE, f"{what} {name}")
    kept.setdefault(name, one)


def _has_roads(contents: Contents) -> bool:
    """Returns whether ways carry the tags of OpenStreetMap's roads."""
    return any("highway" in way.tags for way in contents.ways.values())


def _number(text: str, most: float) -> float:
    """Returns a number, NaN for what is none or beyond `most`."""
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if abs(value) <= most else float("nan")


def _place_nodes(contents: Contents, places: _Places, name: str, problems: Problems) -> None:
    """Writes the coordinates of the nodes of lanelets and regulatory elements."""
    bounds = _nodes_of(contents, contents.lanelets.values(), ("left", "right"))
    rules = _nodes_of(contents, contents.rules.values(), ("refers", "ref_line"))
    names = [node for node in {**bounds, **rules} if node in places.rows]
    table = places.table(names) if names else np.zeros((0, 5))
    chosen: NDArray[np.bool_] = np.array([node in bounds for node in names], bool)
    for node in np.flatnonzero(chosen & ~np.isfinite(table[:, 4])).tolist():
        problems.infer("{} nodes have no usable height (ele), and get 0", f"node {names[node]}")
    table[~np.isfinite(table[:, 4]), 4] = 0.0
    local = np.isfinite(table[:, 2]) & np.isfinite(table[:, 3])
    if chosen.any() and local[chosen].mean() > LOCAL_SHARE:
        good, plane = local, table[:, 2:4]
        wanted = "local_x and local_y"
    else:
        known = np.isfinite(table[:, 0]) & np.isfinite(table[:, 1])
        good, plane = _projected(contents, table, known, known & chosen, name)
        wanted = "lat and lon near the others'"
    for row in np.flatnonzero(chosen & ~good).tolist():
        problems.drop(f"{{}} nodes have no usable {wanted}, and are left out", f"node {names[row]}")
    for row in np.flatnonzero(good).tolist():
        contents.nodes[names[row]] = np.append(plane[row], table[row, 4])


def _nodes_of(
    contents: Contents, relations: Iterable[Relation], roles: tuple[str, ...]
) -> dict[str, None]:
    """Returns the nodes of the ways that relations refer to."""
    refs = (ref for relation in relations for role in roles for ref in relation.refs("way", role))
    ways = (contents.ways[ref] for ref in dict.fromkeys(refs) if ref in contents.ways)
    return {node: None for way in ways for node in way.nodes}


def _projected(
    contents: Contents, table: Floats, good: NDArray[np.bool_], chosen: NDArray[np.bool_], name: str
) -> tuple[NDArray[np.bool_], Floats]:
    """Returns which nodes are usable, and their places by longitude and latitude, [N, 2] [m]."""
    plane = np.full((len(table), 2), np.nan)
    if not chosen.any():
        raise MapError(
            f"{name}: no bound of {len(contents.lanelets)} lanelets has a node with lat (up to "
            f"{MAX_LATITUDE:g} degrees) and lon, or with local_x and local_y"
        )
    latitude, longitude = np.where(good[:, None], table[:, :2], 0.0).T
    middle, first = np.median(latitude[chosen]), longitude[chosen][0]
    meridian = first + np.median(np.remainder(longitude[chosen] - first + 180.0, 360.0) - 180.0)
    away = np.abs(np.remainder(longitude - meridian + 180.0, 360.0) - 180.0)
    good = good & (np.abs(latitude - middle) < MAX_AWAY) & (away < MAX_AWAY)
    zone, south = zone_of(float(meridian)), bool(middle < 0.0)
    plane[good] = project(latitude[good], longitude[good], zone, south)
    if abs(middle) < MAX_AWAY and min(abs(meridian) % 360.0, 360.0 - abs(meridian)) < MAX_AWAY:
        zero = project(np.zeros(1), np.zeros(1), zone, south)[0]
        contents.anchor = np.append(zero, 0.0)
    return good, plane
