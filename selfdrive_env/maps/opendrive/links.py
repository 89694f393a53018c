"""Links lanes to their successors: from the links of an OpenDRIVE file, checked.

Links whose ends lie apart are dropped and listed among the problems.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.maps.network.finish import Problems, directions
from selfdrive_env.maps.opendrive.lanes import SampledSection, runs_forward
from selfdrive_env.maps.opendrive.records import (
    Connection,
    Contents,
    JunctionRecord,
    Road,
    RoadLink,
)
from selfdrive_env.maps.road_network import Lane

__all__ = ["link_lanes"]

MAX_GAP = 4.0
"""Links over a larger distance are wrong [m]; half a lane is usual where lanes split."""

MAX_STEP_UP = 2.0
"""Links over a larger difference of height are wrong [m]."""

MAX_KINK = np.cos(np.radians(75.0))
"""Links over a larger change of heading are wrong (its cosine)."""

End = tuple[int, bool]
"""A lane and whether its end in the direction of the reference line is meant."""


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
    """Collects links between lane ends, then writes those that are sound."""

    def __init__(
        self,
        contents: Contents,
        sampled: dict[str, list[SampledSection]],
        lanes: list[Lane],
        problems: Problems,
    ) -> None:
        self.contents, self.lanes, self.problems = contents, lanes, problems
        self.index: dict[tuple[str, int, int], int] = {}
        self.forward = np.zeros(len(lanes), bool)
        self.edges: dict[tuple[int, int], None] = {}
        for name, sections in sampled.items():
            road = contents.roads[name]
            for number, (section, record) in enumerate(zip(sections, road.sections, strict=True)):
                for lane, lane_record in zip(section.lanes, record.lanes, strict=True):
                    self.index[name, number, lane_record.id] = lane
                    self.forward[lane] = runs_forward(road, lane_record)

    def link_road(self, road: Road) -> None:
        """Follows the lane links within a road and over its road links."""
        last = len(road.sections) - 1
        for number, section in enumerate(road.sections):
            for lane in section.lanes:
                here = self.index[road.id, number, lane.id]
                if not self.lanes[here].drivable:
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
        if other is None or not other.sections:
            self.problems.add("{} road links lead to no road", f"road {road.id} -> {link.id}")
            return None
        other_end = link.at_end
        if other_end is None:
            other_end = _points_at(other.successor, road.id)
        return other.id, len(other.sections) - 1 if other_end else 0, other_end

    def link_connection(self, junction: JunctionRecord, connection: Connection) -> None:
        """Follows the lane links of a connection in a junction."""
        name = f"junction {junction.id}: {connection.incoming} -> {connection.connecting}"
        incoming = self.contents.roads.get(connection.incoming)
        connecting = self.contents.roads.get(connection.connecting)
        if incoming is None or connecting is None:
            self.problems.add("{} junction connections name a road that does not exist", name)
            return
        if not incoming.sections or not connecting.sections:
            return
        at_end = connection.at_end
        target = (connecting.id, len(connecting.sections) - 1 if at_end else 0, at_end)
        sides = [
            side
            for side, link in ((True, incoming.successor), (False, incoming.predecessor))
            if link is not None and link.kind == "junction" and link.id == junction.id
        ]
        side = sides[0] if len(sides) == 1 else self._nearer_side(incoming, target)
        number = len(incoming.sections) - 1 if side else 0
        for a, b in connection.lane_links:
            here = self.index.get((incoming.id, number, a))
            if here is not None and self.lanes[here].drivable:
                self._join((here, side), *target, b)
            elif here is None and a != 0:
                self.problems.add("{} lane links name a lane that does not exist", f"{name}, {a}")

    def _nearer_side(self, incoming: Road, target: tuple[str, int, bool]) -> bool:
        """Returns whether the end of a road, not its start, is nearer to the end of another."""
        other = self.contents.roads[target[0]]
        x, y, _, _ = other.line.evaluate(np.array([other.length if target[2] else 0.0]))
        ends_x, ends_y, _, _ = incoming.line.evaluate(np.array([0.0, incoming.length]))
        distances = np.hypot(ends_x - x, ends_y - y)
        return bool(distances[1] < distances[0])

    def _join(self, here: End, road: str, number: int, at_end: bool, lane_id: int) -> None:
        """Notes a link from the end of a lane to the end of another."""
        other = self.index.get((road, number, lane_id))
        if other is None:
            if lane_id != 0:
                name = f"{self.lanes[here[0]].name} -> {road}/{number}/{lane_id}"
                self.problems.add("{} lane links name a lane that does not exist", name)
            return
        lane, lane_at_end = here
        if not self.lanes[other].drivable or other == lane:
            return
        leaves = bool(self.forward[lane]) == lane_at_end
        arrives = bool(self.forward[other]) != at_end
        if leaves != arrives:
            name = f"{self.lanes[lane].name} -> {self.lanes[other].name}"
            self.problems.add("{} lane links join lanes of opposite direction", name)
            return
        self.edges[(lane, other) if leaves else (other, lane)] = None

    def write(self) -> None:
        """Writes the sound links."""
        wrong = set()
        headings = [directions(lane.centre) for lane in self.lanes]
        for a, b in self.edges:
            end, start = self.lanes[a].centre, self.lanes[b].centre
            gap = np.hypot(*(end[-1] - start[0])[:2])
            rise = abs(end[-1, 2] - start[0, 2])
            kink = headings[a][1] @ headings[b][0]
            if gap > MAX_GAP or rise > MAX_STEP_UP or kink < MAX_KINK:
                wrong.add((a, b))
                name = f"{self.lanes[a].name} -> {self.lanes[b].name} ({gap:.1f} m)"
                self.problems.add("{} lane links join ends that lie apart and are dropped", name)
                continue
            self.lanes[a].successors.append(b)
            self.lanes[b].predecessors.append(a)


def _points_at(link: RoadLink | None, road: str) -> bool:
    """Returns whether a link leads to the road."""
    return link is not None and link.kind == "road" and link.id == road
