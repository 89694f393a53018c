"""What metrics know of a road: edges, lanes, stop lines with their lights, and routes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.lines.polylines import Polylines
from selfdrive_env.state.arrays import F32, F64, I64, U8
from selfdrive_env.state.world import Colour

__all__ = ["Road", "Route"]


@dataclass(frozen=True, eq=False)
class Road:
    """The road around recorded or simulated traffic; `Road.of` fills in what is not known.

    Axes: L lanes, S stop lines.

    Raises:
        ValueError: Arrays whose shapes do not fit, or values that there are none of.
    """

    edges: Polylines
    """Where the road ends: it lies on the left of each line."""

    lanes: Polylines
    """Centre lines in the direction of travel."""

    drivable: NDArray[np.bool_]
    """Whether cars may drive there (a lane for bicycles is none), [L]."""

    junction: NDArray[np.bool_]
    """Whether it runs through a junction, [L]."""

    speed_limit: F32
    """0 where it is not known, [L] [m/s]."""

    half_width: F32
    """From the centre line to either boundary, [L] [m]."""

    successors: I64
    """(lane, lane that follows) pairs, [K, 2]."""

    stop_point: F64
    """Middle of each stop line over the lanes that it is for, [S, 3] [m]."""

    stop_heading: F32
    """Direction of travel of those who stop there, [S] [rad]."""

    stop_half_width: F32
    """How far the line reaches to either side, [S] [m]."""

    light: U8
    """What those at the line see, `Colour`, [S, step]; no step where it is not known."""

    def __post_init__(self) -> None:
        lanes, stops = len(self.lanes), len(self.stop_point)
        shapes = {
            "drivable": (lanes,),
            "junction": (lanes,),
            "speed_limit": (lanes,),
            "half_width": (lanes,),
            "successors": (len(self.successors), 2),
            "stop_point": (stops, 3),
            "stop_heading": (stops,),
            "stop_half_width": (stops,),
            "light": (stops, self.light.shape[-1]),
        }
        for name, wanted in shapes.items():
            value = getattr(self, name)
            if value.shape != wanted:
                raise ValueError(f"road.{name}: shape {value.shape}, wanted {wanted}")
            if not np.isfinite(value).all():
                raise ValueError(f"road.{name}: numbers that are not finite")
        if self.successors.size and not 0 <= self.successors.min() <= self.successors.max() < lanes:
            raise ValueError(f"road.successors: lanes beyond 0 to {lanes - 1}")
        if (self.speed_limit < 0).any():
            raise ValueError("road.speed_limit: wanted 0 (not known) or more")
        if self.light.size and self.light.max() > max(Colour):
            raise ValueError(f"road.light: {self.light.max()}, wanted 0 to {int(max(Colour))}")

    @classmethod
    def of(
        cls,
        *,
        edges: Any = (),
        lanes: Any = (),
        drivable: Any = None,
        junction: Any = None,
        speed_limit: Any = None,
        half_width: Any = None,
        successors: Any = (),
        stop_point: Any = (),
        stop_heading: Any = (),
        stop_half_width: Any = None,
        light: Any = None,
    ) -> Road:
        """Returns a road from what is known of it; see the fields.

        Args:
            edges: `Polylines`, or one array [P, 2] or [P, 3] a line [m].
            lanes: Likewise.
            drivable: None for all.
            junction: None for no lane.
            speed_limit: None where it is not known.
            half_width: None for 1.75 m.
            successors: Pairs of lanes.
            stop_point: [S, 2] or [S, 3] [m].
            stop_heading: [S] [rad].
            stop_half_width: None for 1.75 m.
            light: [S, step], None where it is not known.
        """
        lines = [one if isinstance(one, Polylines) else Polylines.of(one) for one in (edges, lanes)]
        count = len(lines[1])
        point = np.asarray(stop_point, np.float64)
        point = point.reshape(len(point), point.shape[-1] if point.size else 3)
        point = np.pad(point, ((0, 0), (0, max(3 - point.shape[1], 0))))
        stops = len(point)

        def known(value: Any, default: Any, kind: Any, shape: Any) -> Any:
            return np.full(shape, default, kind) if value is None else np.asarray(value, kind)

        return cls(
            edges=lines[0],
            lanes=lines[1],
            drivable=known(drivable, True, np.bool_, count),
            junction=known(junction, False, np.bool_, count),
            speed_limit=known(speed_limit, 0.0, np.float32, count),
            half_width=known(half_width, HALF_WIDTH, np.float32, count),
            successors=np.asarray(successors, np.int64).reshape(-1, 2),
            stop_point=point,
            stop_heading=np.asarray(stop_heading, np.float32),
            stop_half_width=known(stop_half_width, HALF_WIDTH, np.float32, stops),
            light=known(light, 0, np.uint8, (stops, 0)),
        )

    @cached_property
    def driven_lanes(self) -> Polylines:
        """The lanes that cars may drive on."""
        return self.lanes if self.drivable.all() else self.lanes.take(self.drivable)


HALF_WIDTH = 1.75
"""Of lanes and stop lines of which only the middle is known [m]."""


@dataclass(frozen=True, eq=False)
class Route:
    """The way that one agent is to follow."""

    agent: int
    """Row in the tracks."""

    lines: Polylines
    """On the route: arc lengths of all of them count from where the agent may start."""

    others: Polylines = field(default_factory=lambda: Polylines.of(()))
    """Ways off the route that it might have taken instead."""
