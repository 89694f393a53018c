"""Links lanes to their successors: from the links of an OpenDRIVE file, checked.

Links whose ends lie apart are dropped and listed among the problems.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from selfdrive_env.maps.network.finish import Problems, directions
from selfdrive_env.maps.opendrive.lanes import SampledSection, lane_name, runs_forward
from selfdrive_env.maps.opendrive.parse.records import (
    Connection,
    Contents,
    JunctionRecord,
    LaneRecord,
    Road,
    RoadLink,
)
from selfdrive_env.maps.road_network import DRIVABLE_TYPES, Lane

__all__ = ["link_lanes"]

MAX_GAP = 4.0
"""Links over a larger distance are wrong [m]; half a lane is usual where lanes split."""

MAX_STEP_UP = 2.0
"""Links over a larger difference of height are wrong [m]."""

MAX_KINK = np.cos(np.radians(75.0))
"""Links over a larger change of heading are wrong (its cosine)."""

End = tuple[list[int], bool]
"""The nodes of a lane and whether its end in the direction of the reference line is meant."""


def link_lanes(
    contents: Contents,
    sampled: dict[str, list[SampledSection]],
    lanes: list[Lane],
    problems: Problems,
) -> None:
    """Fills in the successors and predecessors of all drivable lanes.

    Args:
        contents: The records of the file.
        sampled: The lane sections of each road.
        lanes: All lanes; their links are written.
        problems: Receives links that are wrong or missing.
    """
    linker = _Linker(contents, sampled, lanes, problems)
    for road in contents.roads.values():
        linker.link_road(road)
    for junction in contents.junctions.values():
        for connection in junction.connections:
            linker.link_connection(junction, connection)
    linker.write()


class _Linker:
    """Collects links between lane ends, then writes those that are sound.

    Nodes are the lanes of the network, then those of sections and roads without a length: links
    lead through these.
    """

    def __init__(
        self,
        contents: Contents,
        sampled: dict[str, list[SampledSection]],
        lanes: list[Lane],
        problems: Problems,
    ) -> None:
        self.contents, self.lanes, self.problems = contents, lanes, problems
        self.index: dict[tuple[str, int, int], list[int]] = {}
        self.names = [lane.name for lane in lanes]
        self.types = [lane.type for lane in lanes]
        self.forward = [True] * len(lanes)
        self.edges: dict[tuple[int, int], None] = {}
        self.interrupted: dict[int, int] = {}
        for road in contents.roads.values():
            real = dict(zip(map(id, road.sections), sampled[road.id], strict=True))
            for number, section in enumerate(road.linked_sections):
                mine = real.get(id(section))
                for k, record in enumerate(section.lanes):
                    if mine is None:
                        nodes = self._new_nodes(lane_name(road, section, record), record)
                    else:
                        nodes = [mine.lanes[k], *([mine.turned[k]] if record.two_way else [])]
                    self.index[road.id, number, record.id] = nodes
                    for node, turned in zip(nodes, (False, True), strict=False):
                        self.forward[node] = runs_forward(road, record) != turned

    def _new_nodes(self, name: str, record: LaneRecord) -> list[int]:
        """Returns the nodes of a lane without a length, one for each direction of its traffic."""
        first, count = len(self.names), 1 + record.two_way
        self.names += [name] * count
        self.types += [record.type] * count
        self.forward += [True] * count
        return list(range(first, first + count))

    def link_road(self, road: Road) -> None:
        """Follows the lane links within a road and over its road links."""
        last = len(road.linked_sections) - 1
        for number, section in enumerate(road.linked_sections):
            for lane in section.lanes:
                here = self.index[road.id, number, lane.id]
                if lane.type not in DRIVABLE_TYPES:
                    continue
                for at_end, ids in ((True, lane.successors), (False, lane.predecessors)):
                    target = self._beyond(road, number, at_end, last)
                    if target is None:
                        continue
                    for other in ids:
                        self._join((here, at_end), *target, other)

    def _beyond(
        self, road: Road, number: int, at_end: bool, last: int
    ) -> tuple[str, int, bool] | None:
        """Returns road, section and end that a section touches, or None at junctions and ends."""
        if at_end and number < last:
            return road.id, number + 1, False
        if not at_end and number > 0:
            return road.id, number - 1, True
        link = road.successor if at_end else road.predecessor
        if link is None or link.kind == "junction":
            return None
        other = self.contents.roads.get(link.id)
        if other is None or not other.linked_sections:
            self.problems.drop("{} road links lead to no road", f"road {road.id} -> {link.id}")
            return None
        other_end = link.at_end
        if other_end is None:
            other_end = _points_at(other.successor, road.id)
        return other.id, len(other.linked_sections) - 1 if other_end else 0, other_end

    def link_connection(self, junction: JunctionRecord, connection: Connection) -> None:
        """Follows the lane links of a connection in a junction."""
        name = f"junction {junction.id}: {connection.incoming} -> {connection.connecting}"
        incoming = self.contents.roads.get(connection.incoming)
        connecting = self.contents.roads.get(connection.connecting)
        if incoming is None or connecting is None:
            self.problems.drop("{} junction connections name a road that does not exist", name)
            return
        if not incoming.linked_sections or not connecting.linked_sections:
            return
        at_end = connection.at_end
        target = (connecting.id, len(connecting.linked_sections) - 1 if at_end else 0, at_end)
        sides = [
            side
            for side, link in ((True, incoming.successor), (False, incoming.predecessor))
            if link is not None and link.kind == "junction" and link.id == junction.id
        ]
        side = sides[0] if len(sides) == 1 else self._nearer_side(incoming, target)
        if len(sides) != 1 and not self._fits(incoming, side, target, connection):
            side ^= self._fits(incoming, not side, target, connection)
        number = len(incoming.linked_sections) - 1 if side else 0
        for a, b in connection.lane_links:
            here = self.index.get((incoming.id, number, a))
            if here is not None and self.types[here[0]] in DRIVABLE_TYPES:
                self._join((here, side), *target, b)
            elif here is None and a != 0:
                self.problems.drop("{} lane links name a lane that does not exist", f"{name}, {a}")

    def _nearer_side(self, incoming: Road, target: tuple[str, int, bool]) -> bool:
        """Returns whether the end of a road, not its start, is nearer to the end of another."""
        other = self.contents.roads[target[0]]
        x, y, _, _ = other.line.evaluate(np.array([other.length if target[2] else 0.0]))
        ends_x, ends_y, _, _ = incoming.line.evaluate(np.array([0.0, incoming.length]))
        distances = np.hypot(ends_x - x, ends_y - y)
        return bool(distances[1] < distances[0])

    def _fits(
        self, incoming: Road, side: bool, target: tuple[str, int, bool], connection: Connection
    ) -> bool:
        """Returns whether the lanes of a connection run the same way at this end of its road."""
        road, number, at_end = target
        own = len(incoming.linked_sections) - 1 if side else 0
        for a, b in connection.lane_links:
            here = self.index.get((incoming.id, own, a), ())
            others = self.index.get((road, number, b), ())
            if any((self.forward[lane] == side) == (self.forward[other] != at_end)
                   for lane in here for other in others):  # fmt: skip
                return True
        return False

    def _join(self, here: End, road: str, number: int, at_end: bool, lane_id: int) -> None:
        """Notes a link from the end of a lane to the end of another, in every direction of both."""
        others = self.index.get((road, number, lane_id))
        nodes, from_end = here
        if others is None:
            if lane_id != 0:
                section = self.contents.roads[road].linked_sections[number].name
                name = f"{self.names[nodes[0]]} -> {road}/{section}/{lane_id}"
                self.problems.drop("{} lane links name a lane that does not exist", name)
            return
        if self.types[others[0]] not in DRIVABLE_TYPES:
            for lane in nodes:
                if self.forward[lane] == from_end:
                    self.interrupted.setdefault(lane, others[0])
            return
        fitting = [
            (lane, other) if self.forward[lane] == from_end else (other, lane)
            for lane in nodes
            for other in others
            if (self.forward[lane] == from_end) == (self.forward[other] != at_end)
        ]
        self.edges.update(dict.fromkeys(fitting))
        if not fitting:
            name = f"{self.names[nodes[0]]} -> {self.names[others[0]]}"
            self.problems.add("{} lane links join lanes of opposite direction", name)

    def write(self) -> None:
        """Writes the sound links."""
        headings = [directions(lane.centre) for lane in self.lanes]
        for a, b in self._between_lanes():
            end, start = self.lanes[a].centre, self.lanes[b].centre
            gap = np.hypot(*(end[-1] - start[0])[:2])
            rise = abs(end[-1, 2] - start[0, 2])
            kink = headings[a][1] @ headings[b][0]
            if gap > MAX_GAP or rise > MAX_STEP_UP or kink < MAX_KINK:
                apart = f"{gap:.1f} m"
                if gap <= MAX_GAP:
                    turn = np.degrees(np.arccos(np.clip(kink, -1.0, 1.0)))
                    apart = f"{rise:.1f} m of height" if rise > MAX_STEP_UP else f"{turn:.0f} deg"
                name = f"{self.lanes[a].name} -> {self.lanes[b].name} ({apart})"
                self.problems.drop("{} lane links join ends that lie apart and are dropped", name)
                continue
            self.lanes[a].successors.append(b)
            self.lanes[b].predecessors.append(a)
        for node, other in self.interrupted.items():
            if node < len(self.lanes) and not self.lanes[node].successors:
                name = f"{self.names[node]} -> {self.names[other]} ({self.types[other]})"
                self.problems.add(
                    "{} driving lanes lead only to a lane of a type that is not driven on", name
                )

    def _between_lanes(self) -> list[tuple[int, int]]:
        """Returns the links between lanes of the network, those through other nodes last."""
        num = len(self.lanes)
        after: dict[int, list[int]] = defaultdict(list)
        for a, b in self.edges:
            if a >= num:
                after[a].append(b)
        links = {edge: None for edge in self.edges if max(edge) < num}
        for a, b in self.edges:
            if a >= num or b < num:
                continue
            seen, border = {b}, [b]
            while border:
                for c in after[border.pop()]:
                    if c < num:
                        links[a, c] = None
                    elif c not in seen:
                        seen.add(c)
                        border.append(c)
        return list(links)


def _points_at(link: RoadLink | None, road: str) -> bool:
    """Returns whether a link leads to the road."""
    return link is not None and link.kind == "road" and link.id == road
