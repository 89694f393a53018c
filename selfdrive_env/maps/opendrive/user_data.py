"""Takes over what this package has written beside OpenDRIVE's own elements.

That is names, the precedence of lanes, cycles of lights and rules of junctions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.lanes import SampledSection
from selfdrive_env.maps.opendrive.parse import user_data
from selfdrive_env.maps.opendrive.parse.records import Contents
from selfdrive_env.maps.opendrive.parse.sections import usable
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.maps.xml import Element

__all__ = ["take_user_data"]

FIELDS: dict[str, dict[str, tuple[str, Callable[[Element], Any]]]] = {
    "lane": {
        user_data.TYPE: ("type", user_data.read_text),
        user_data.PRECEDENCE: ("precedence", user_data.read_precedence),
        user_data.LEFT_MARK: ("left_mark", user_data.read_mark),
        user_data.RIGHT_MARK: ("right_mark", user_data.read_mark),
    },
    "junction": {
        user_data.NAME: ("name", user_data.read_text),
        user_data.KIND: ("kind", user_data.read_kind),
        user_data.RULE: ("rule", user_data.read_rule),
    },
    "signal": {
        user_data.NAME: ("name", user_data.read_text),
        user_data.HEADING: ("heading", user_data.read_heading),
    },
    "controller": {
        user_data.NAME: ("name", user_data.read_text),
        user_data.CYCLE: ("cycle", user_data.read_cycle),
        user_data.OFFSET: ("offset", user_data.read_offset),
    },
}
"""Which field of a part of the network each code is for, and what reads it."""


def take_user_data(
    contents: Contents,
    sampled: dict[str, list[SampledSection]],
    network: RoadNetwork,
    problems: Problems,
) -> None:
    """Writes to a network what the <userData> of a file says.

    Args:
        contents: The records of the file.
        sampled: The lane sections of each road.
        network: Complete but for that; changed in place.
        problems: Receives what cannot be read.
    """
    neighbour = _neighbour_reader(network)
    beside = {
        user_data.LEFT_NEIGHBOUR: ("left_neighbour", neighbour),
        user_data.RIGHT_NEIGHBOUR: ("right_neighbour", neighbour),
    }

    def take(kind: str, item: Any, elements: list[Element]) -> None:
        for element in elements:
            fields = FIELDS[kind] | (beside if kind == "lane" else {})
            field, read = fields.get(element.text("code"), ("", None))
            for value in usable([element], read, problems) if read else ():
                setattr(item, field, value)

    for name, sections in sampled.items():
        for section, own in zip(contents.roads[name].sections, sections, strict=True):
            for lane, place, _ in own.both_ways():
                take("lane", network.lanes[lane], section.lanes[place].user_data)
    for group in network.signal_groups:
        for name in (group.name, group.name.rpartition("/")[0]):
            if name in contents.controllers:
                split = group.name[len(name) :]
                take("controller", group, contents.controllers[name].user_data)
                group.name += split if group.name != name + split else ""
                break
    signals = {s.id: s.user_data for r in contents.roads.values() for s in r.signals if s.user_data}
    for signal in network.signals:
        take("signal", signal, signals.get(signal.name, []))
    for junction, record in zip(network.junctions, contents.junctions.values(), strict=True):
        take("junction", junction, record.user_data)


def _neighbour_reader(network: RoadNetwork) -> Callable[[Element], int]:
    """Returns what reads the name of a driving lane, or "" for none, as its index."""
    indices = {lane.name: i for i, lane in enumerate(network.lanes) if lane.drivable}

    def read(element: Element) -> int:
        name = element.text("value")
        if name and name not in indices:
            raise element.error(f"value={name[:40]!r} is no driving lane")
        return indices.get(name, -1)

    return read
