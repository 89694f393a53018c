"""Small Lanelet2 files, written with metres of their own or with degrees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selfdrive_env.maps.lanelet2.reader import read_lanelet2
from selfdrive_env.maps.road_network import RoadNetwork

Tags = dict[str, str]


def tags_of(tags: Tags) -> str:
    return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())


class Map:
    """An OSM file in the making: points become nodes once, and lines with one name ways once."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[float, ...], int] = {}
        self.ways: dict[str, tuple[list[int], Tags]] = {}
        self.relations: list[str] = []
        self.extra = ""
        self.local = True

    def node(self, *point: float) -> int:
        return self.nodes.setdefault(point, 1000 + len(self.nodes))

    def way(self, name: str, points: Iterable[tuple[float, ...]], **tags: str) -> str:
        self.ways[name] = ([self.node(*p) for p in points], tags)
        return name

    def relation(self, name: str, members: Iterable[tuple[str, str, str]], tags: Tags) -> None:
        inner = "".join(f'<member type="{t}" ref="{r}" role="{o}"/>' for t, r, o in members)
        self.relations.append(f'<relation id="{name}">{inner}{tags_of(tags)}</relation>')

    def lanelet(self, name: str, left: str, right: str, *rules: str, **tags: str) -> None:
        members = [("way", left, "left"), ("way", right, "right")]
        members += [("relation", rule, "regulatory_element") for rule in rules]
        full = {"type": "lanelet", "subtype": "road"} | {
            key.replace("__", ":"): value for key, value in tags.items()
        }
        self.relation(name, members, full)

    def rule(self, name: str, subtype: str, *members: tuple[str, str, str], **tags: str) -> None:
        full = {"type": "regulatory_element", "subtype": subtype} | tags
        self.relation(name, members, full)

    def text(self) -> str:
        nodes = "".join(self._node(name, point) for point, name in self.nodes.items())
        ways = "".join(
            f'<way id="{name}">'
            + "".join(f'<nd ref="{node}"/>' for node in refs)
            + f"{tags_of(tags)}</way>"
            for name, (refs, tags) in self.ways.items()
        )
        return f'<osm version="0.6">{nodes}{ways}{"".join(self.relations)}{self.extra}</osm>'

    def _node(self, name: int, point: tuple[float, ...]) -> str:
        height = {"ele": str(point[2])} if len(point) > 2 else {}
        if self.local:
            place = {"local_x": str(point[0]), "local_y": str(point[1])}
            return f'<node id="{name}" lat="" lon="">{tags_of(place | height)}</node>'
        return f'<node id="{name}" lat="{point[0]!r}" lon="{point[1]!r}">{tags_of(height)}</node>'

    def read(self, folder: Path, name: str = "map.osm") -> RoadNetwork:
        path = folder / name
        path.write_text(self.text())
        return read_lanelet2(path)


def straight(made: Map, name: str, x0: float, x1: float, y: float, **tags: Any) -> None:
    """Adds a line along x."""
    made.way(name, [(x0, y), (x1, y)], **tags)


def crossing(*, lights: bool = True) -> Map:
    """A road from west to east and one from south to north, one lane each, that cross at (0, 0).

    Lanelets 1, 2, 3 run eastward, 4, 5, 6 northward, 7 turns from 1 into 6; the middle ones are
    within the junction.
    """
    made = Map()
    for k, (start, end) in enumerate(((-60, -6), (-6, 6), (6, 60)), 1):
        made.way(f"{k}l", [(start, 2.0), (end, 2.0)])
        made.way(f"{k}r", [(start, -2.0), (end, -2.0)])
        made.way(f"{k + 3}l", [(-2.0, start), (-2.0, end)])
        made.way(f"{k + 3}r", [(2.0, start), (2.0, end)])
    made.way("7l", [(-6.0, 2.0), (-3.0, 3.0), (-2.0, 6.0)])
    made.way("7r", [(-6.0, -2.0), (0.0, 0.0), (2.0, 6.0)])
    made.way("bulb", [(8.0, 4.0, 5.0), (8.0, 5.0, 5.0)], type="traffic_light")
    made.way("line", [(-9.0, 2.5), (-9.0, -2.5)], type="stop_line")
    rules = {"1": ["L1"], "4": ["L2"]} if lights else {}
    for k in range(1, 8):
        made.lanelet(str(k), f"{k}l", f"{k}r", *rules.get(str(k), ()))
    if lights:
        made.rule("L1", "traffic_light", ("way", "bulb", "refers"), ("way", "line", "ref_line"))
        made.rule("L2", "traffic_light", ("way", "2l", "refers"))
    return made
