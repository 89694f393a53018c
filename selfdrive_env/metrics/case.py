"""What metrics are computed from, and what several of them need, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.boxes import Contacts, contacts, corners
from selfdrive_env.metrics.lines.polylines import Places
from selfdrive_env.metrics.lines.ways import Along, Ways
from selfdrive_env.metrics.road import Road, Route
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import F64, I64

__all__ = ["LEAST_COSINE", "Case"]

LEAST_COSINE = 0.5
"""Of the angle between a body and the lane that it is on (60 degrees)."""

SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


@dataclass(frozen=True, eq=False)
class Case:
    """Traffic, and what it is measured against.

    Raises:
        ValueError: Parts that do not fit each other.
    """

    tracks: Tracks
    """What is measured: simulated, or recorded itself."""

    dt: float
    """Between steps [s]."""

    log: Tracks | None = None
    """What was recorded of the same agents at the same steps."""

    road: Road | None = None
    routes: tuple[Route, ...] | None = None
    ignore_height: bool = False
    """Whether bodies on different levels of a road overlap."""

    world: I64 | None = None
    """Of each agent, in rising order: those of different ones do not meet; None: all in one."""

    own_ways: Ways | None = None
    """Lines of the routes of all agents, in their order, in place of `routes`."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt) and self.dt > 0.0):
            raise ValueError(f"dt is {self.dt}, wanted more than 0 seconds")
        shape = self.tracks.valid.shape
        if self.log is not None:
            if self.log.valid.shape != shape:
                raise ValueError(
                    f"log: {self.log.valid.shape} agents and steps, the simulated ones are {shape}"
                )
            if not np.array_equal(self.log.id, self.tracks.id):
                raise ValueError("log: its agents are others than the simulated ones (tracks.id)")
        if self.road is not None and self.road.light.shape[1] not in (0, shape[1]):
            raise ValueError(f"road.light: {self.road.light.shape[1]} steps, wanted {shape[1]}")
        if self.world is not None and (
            self.world.shape != shape[:1] or (np.diff(self.world) < 0).any()
        ):
            raise ValueError("world: wanted a number of each agent, in rising order")
        if self.own_ways is not None and len(self.own_ways.first) != shape[0]:
            raise ValueError(f"routes: of {len(self.own_ways.first)} agents, wanted {shape[0]}")
        agents = [route.agent for route in self.routes or ()]
        wrong = [agent for agent in agents if not 0 <= agent < shape[0]]
        if wrong or len(set(agents)) != len(agents):
            raise ValueError(f"routes: agents {agents}, wanted each once, from 0 to {shape[0] - 1}")

    def only(self, agents: Sequence[int]) -> Case:
        """Returns the traffic without all others.

        Args:
            agents: Indices of those that stay, in their new order.
        """
        place = {agent: number for number, agent in enumerate(agents)}
        ways = tuple(
            replace(route, agent=place[route.agent])
            for route in self.routes or ()
            if route.agent in place
        )
        rows = np.asarray(agents, np.int64)
        tracks, log = (
            None
            if one is None
            else Tracks(**{f.name: getattr(one, f.name)[rows] for f in fields(one)})
            for one in (self.tracks, self.log)
        )
        assert tracks is not None
        return replace(
            self,
            tracks=tracks,
            log=log,
            routes=None if self.routes is None else ways,
            world=None if self.world is None else self.world[rows],
            own_ways=None if self.own_ways is None else self.own_ways.take(agents),
        )

    @cached_property
    def ways(self) -> Ways:
        """The lines of all routes."""
        return self._ways("lines") if self.own_ways is None else self.own_ways

    @cached_property
    def other_ways(self) -> Ways:
        """Lines off the routes that agents might have taken instead."""
        return self._ways("others") if self.own_ways is None else self.own_ways.none()

    def _ways(self, name: str) -> Ways:
        own = {route.agent: getattr(route, name) for route in self.routes or ()}
        return Ways.of([own.get(agent) for agent in range(self.tracks.num_agents)])

    @cached_property
    def along(self) -> Along:
        """Where each agent is along its route, [agent, step]."""
        tracks = self.tracks
        return self.ways.nearest(tracks.x, tracks.y, tracks.z, tracks.valid)

    @cached_property
    def company(self) -> I64:
        """First agent of the world of each agent, and the one after its last, [agent, 2]."""
        world = np.zeros(self.tracks.num_agents, np.int64) if self.world is None else self.world
        return np.stack([np.searchsorted(world, world, side) for side in SIDES], axis=1)

    @cached_property
    def known_road(self) -> Road:
        """The road, one of which nothing is known where there is none."""
        return Road.of() if self.road is None else self.road

    @cached_property
    def corners(self) -> tuple[F64, F64]:
        """East and north of the corners of each box, [agent, step, 4] [m]."""
        return corners(self.tracks)

    @cached_property
    def contacts(self) -> Contacts:
        """Which boxes overlap."""
        return contacts(self.tracks, ignore_height=self.ignore_height, world=self.world)

    @cached_property
    def edge_distance(self) -> F64:
        """Of each corner from the nearest edge, positive off the road, [agent, step, 4] [m]."""
        x, y = self.corners
        z = np.broadcast_to(self.tracks.z[..., None], x.shape)
        valid = np.broadcast_to(self.tracks.valid[..., None], x.shape)
        return self.known_road.edges.nearest(x, y, z, valid).distance

    @cached_property
    def nearest_lane(self) -> Places:
        """The nearest lane for cars whatever its direction, [agent, step]."""
        tracks = self.tracks
        return self.known_road.driven_lanes.nearest(tracks.x, tracks.y, tracks.z, tracks.valid)

    @cached_property
    def own_lane(self) -> Places:
        """The nearest lane for cars along the heading of each body, [agent, step]."""
        tracks = self.tracks
        return self.known_road.driven_lanes.nearest(
            tracks.x,
            tracks.y,
            tracks.z,
            tracks.valid,
            heading=tracks.heading,
            least_cosine=LEAST_COSINE,
        )

    def of_own_lane(self, value: NDArray[Any]) -> NDArray[Any]:
        """Returns what is known of the own lane of each body, 0 without one, [agent, step].

        Args:
            value: Of each lane of the road.
        """
        driven = np.append(value[self.known_road.drivable], value.dtype.type(0))
        return driven[self.own_lane.line]

    @cached_property
    def speed(self) -> F64:
        """Of each body, [agent, step] [m/s]."""
        speed: F64 = np.hypot(self.tracks.vx.astype(np.float64), self.tracks.vy)
        return speed

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """Whether an agent was there at the step before as well, [agent, step]."""
        valid = self.tracks.valid.copy()
        valid[:, 1:] &= self.tracks.valid[:, :-1]
        valid[:, :1] = False
        return valid
