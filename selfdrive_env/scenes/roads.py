"""What a record tells of its surroundings: lines of the road, and lights as they were seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.scenes.agents import SceneError

__all__ = ["LIGHT_STATES", "LINKS", "ROAD_TYPES", "Lights", "Line", "Roads", "kind_of"]

ROAD_TYPES = {
    -1: "unknown",
    **dict(enumerate(("lane_undefined", "lane_freeway", "lane_surface_street", "lane_bike"))),
    5: "line_unknown",
    6: "line_broken_single_white",
    7: "line_solid_single_white",
    8: "line_solid_double_white",
    9: "line_broken_single_yellow",
    10: "line_broken_double_yellow",
    11: "line_solid_single_yellow",
    12: "line_solid_double_yellow",
    13: "line_passing_double_yellow",
    14: "edge_unknown",
    15: "edge_boundary",
    16: "edge_median",
    17: "stop_sign",
    18: "crosswalk",
    19: "speed_bump",
    20: "driveway",
}
"""Code of a line -> what it is; the codes are those of the Waymo Open Motion Dataset. The word
before the first underscore is its kind, but for stop signs and speed bumps."""

WHOLE_WORDS = ("stop_sign", "speed_bump")

LINKS = ("entry", "exit", "left", "right", "stop")
ENTRY, EXIT, LEFT, RIGHT, STOP = range(len(LINKS))
"""How a line is linked to a lane: the lane leads into it, or out of it, or lies beside it; a stop
sign is meant for it."""

LIGHT_STATES = (
    *("unknown", "arrow_stop", "arrow_caution", "arrow_go", "stop", "caution", "go"),
    *("flashing_stop", "flashing_caution"),
)
"""What a light shows, by its code."""

MIRRORED = {LEFT: RIGHT, RIGHT: LEFT}
MAX_COORDINATE = 1e9


def kind_of(code: int) -> str:
    """Returns lane, line, edge, stop_sign, crosswalk, speed_bump, driveway or unknown."""
    name = ROAD_TYPES.get(int(code), "unknown")
    return name if name in WHOLE_WORDS else name.partition("_")[0]


class Line(NamedTuple):
    """A line, an outline or a point of a road, as a reader hands it over."""

    id: int
    type: int
    points: NDArray[np.float64]
    """[P, 3] [m]"""

    limit: float = 0.0


@dataclass(frozen=True, eq=False)
class Roads:
    """Lines of a road without a lane graph that a car could be placed in.

    Raises:
        SceneError: Arrays whose shapes do not fit each other, codes or numbers that cannot be.
    """

    id: NDArray[np.int64]
    """[line], each once."""

    type: NDArray[np.int8]
    """[line], code of `ROAD_TYPES`. The road lies to the left of an edge; outlines of crosswalks,
    speed bumps and driveways are closed without the first point again; a stop sign is a point."""

    limit: NDArray[np.float32]
    """[line], speed limit of a lane, 0 where it is not known [m/s]."""

    first: NDArray[np.int64]
    """[line + 1], points of line l: points[first[l]:first[l + 1]]."""

    points: NDArray[np.float32]
    """[point, 3] [m]"""

    links: NDArray[np.int64]
    """[link, 3]: id of a line, place in `LINKS`, id of a lane, which may lie out of the record."""

    def __post_init__(self) -> None:
        shapes = {"first": (self.num_lines + 1,), "points": (len(self.points), 3)}
        shapes["links"] = (len(self.links), 3)
        for field in fields(self):
            value, wanted = getattr(self, field.name), shapes.get(field.name, (self.num_lines,))
            if value.shape != wanted:
                raise SceneError(f"roads.{field.name}: shape {value.shape}, wanted {wanted}")
            if not (np.abs(value) <= MAX_COORDINATE).all() and value.dtype.kind == "f":
                raise SceneError(f"roads.{field.name}: numbers that are none, or above 1e9")
        if self.first[0] or self.first[-1] != len(self.points) or (np.diff(self.first) < 1).any():
            raise SceneError("roads.first: does not count the points, at least one a line")
        if len(np.unique(self.id)) != self.num_lines:
            raise SceneError("roads.id: one that stands more than once")
        strange = np.setdiff1d(self.type, list(ROAD_TYPES))
        if strange.size:
            raise SceneError(f"roads.type: {strange[0]}, wanted one of {list(ROAD_TYPES)}")
        if self.links.size and not ((self.links[:, 1] >= 0) & (self.links[:, 1] <= STOP)).all():
            raise SceneError(f"roads.links: a kind that is not from 0 to {STOP}")
        if (self.limit < 0).any():
            raise SceneError("roads.limit: below 0")

    @classmethod
    def of(cls, lines: Sequence[Line], links: Iterable[tuple[int, int, int]] = ()) -> Roads:
        """Returns roads that are made of lines; those without a point are left out.

        Args:
            lines: In any order.
            links: Rows of `links`.
        """
        lines = [line for line in lines if len(line.points)]
        counts = [len(line.points) for line in lines]
        points = [np.asarray(line.points, np.float32).reshape(-1, 3) for line in lines]
        rows = np.array(list(links), np.int64).reshape(-1, 3)
        return cls(
            id=np.array([line.id for line in lines], np.int64),
            type=np.array([line.type for line in lines], np.int8),
            limit=np.array([line.limit for line in lines], np.float32),
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            points=np.concatenate([np.zeros((0, 3), np.float32), *points]),
            links=np.unique(rows, axis=0),
        )

    @property
    def num_lines(self) -> int:
        """How many lines there are."""
        return len(self.id)

    def of_kind(self, kind: str) -> list[int]:
        """Returns which lines are of a kind that `kind_of` names."""
        codes = [code for code in ROAD_TYPES if kind_of(code) == kind]
        return np.flatnonzero(np.isin(self.type, codes)).tolist()

    def line(self, index: int) -> NDArray[np.float32]:
        """Returns the points of a line, [P, 3] [m]."""
        return self.points[self.first[index] : self.first[index + 1]]

    def linked(self, line: int, link: str) -> list[int]:
        """Returns ids of the lanes that a line is linked with.

        Args:
            line: Its id.
            link: One of `LINKS`.
        """
        wanted = (self.links[:, 0] == line) & (self.links[:, 1] == LINKS.index(link))
        return self.links[wanted, 2].tolist()

    def mirrored(self) -> Roads:
        """Returns the roads reflected in the x axis; edges still have the road on their left."""
        points, links = self.points * np.array([1, -1, 1], np.float32), self.links.copy()
        for before, after in MIRRORED.items():
            links[self.links[:, 1] == before, 1] = after
        for index in self.of_kind("edge"):
            place = slice(self.first[index], self.first[index + 1])
            points[place] = points[place][::-1].copy()
        return replace(self, points=points, links=np.unique(links, axis=0))


@dataclass(frozen=True, eq=False)
class Lights:
    """Traffic lights as a record has them.

    Raises:
        SceneError: Arrays whose shapes do not fit each other, or codes that there are not.
    """

    lane: NDArray[np.int64]
    """[light], id of the lane that each is meant for, once; beside a map the index of the lane in
    its `RoadNetwork`."""

    position: NDArray[np.float32]
    """[light, 3], where one stops [m]."""

    state: NDArray[np.int8]
    """[light, step], place in `LIGHT_STATES`, -1 where it was not seen."""

    def __post_init__(self) -> None:
        num = len(self.lane)
        if self.lane.shape != (num,) or self.position.shape != (num, 3):
            raise SceneError(f"lights: shapes {self.lane.shape}, {self.position.shape}")
        if self.state.ndim != 2 or len(self.state) != num:
            raise SceneError(f"lights.state: shape {self.state.shape}, wanted ({num}, steps)")
        if not (np.abs(self.position) <= MAX_COORDINATE).all():
            raise SceneError("lights.position: numbers that are none, or above 1e9")
        if ((self.state < -1) | (self.state >= len(LIGHT_STATES))).any():
            raise SceneError(f"lights.state: not from -1 to {len(LIGHT_STATES) - 1}")
        if len(np.unique(self.lane)) != num:
            raise SceneError("lights.lane: one that stands more than once")

    @classmethod
    def of(cls, lane: Iterable[int], position: Any, state: NDArray[np.int8]) -> Lights:
        """Returns lights of lists.

        Args:
            lane: Of each light.
            position: [light, 3] [m]
            state: As the field.
        """
        place = np.asarray(position, np.float64).reshape(-1, 3)
        if not (np.abs(place) <= MAX_COORDINATE).all():
            raise SceneError("lights.position: numbers that are none, or above 1e9")
        return cls(np.array(list(lane), np.int64), place.astype(np.float32), state)

    @property
    def num_lights(self) -> int:
        """How many lights there are."""
        return len(self.lane)

    def mirrored(self) -> Lights:
        """Returns the lights reflected in the x axis."""
        return replace(self, position=self.position * np.array([1, -1, 1], np.float32))
