"""The working memory of the workers, each field declared once with axes, type and unit.

Axes: as in `state.world`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from selfdrive_env.state.arrays import F32, I32, I64, U8

__all__ = ["Scratch"]


class Scratch(NamedTuple):
    """Working memory of a worker: a thread on the CPU, a block of threads on CUDA."""

    path: Annotated[F32, "worker agent point 5"]
    """Way ahead of each agent along its route: x, y, cos, sin, elevation z at equal steps [m]."""

    path_info: Annotated[F32, "worker agent info"]
    """What scripted drivers know of each agent's way, columns of kernels/drivers/path_info.py."""

    way: Annotated[F32, "worker agent 2 point"]
    """x and y of the points of a path, side by side; far away behind its end [m]."""

    reach: Annotated[F32, "worker 4 agent"]
    """Box round the way and the body of each agent: west, east, south, north [m]."""

    halted: Annotated[U8, "worker agent"]
    """Whether the agent was halted before the step."""

    request: Annotated[U8, "worker agent"]
    """Which row of the agent to write, a `RowRequest`."""

    nearest: Annotated[I32, "world agent slot"]
    """Slots + 1 of the agents that were nearest when the agent was last observed, 0 for none; with
    bits of kernels/observation/neighbours.py: whether they lay on its way, and their kind."""

    way_ahead: Annotated[F32, "thread way_column way_point"]
    """Points of the way ahead of the agent that is looked at, rows `WAY_*` of
    kernels/observation/way.py [m]."""

    along: Annotated[F32, "thread body"]
    """How far along that way each body lies, far away for those that do not [m]."""

    near_square: Annotated[F32, "thread body"]
    """Squared distance of each body from the agent that is looked at [m^2]."""

    crowd: Annotated[F32, "worker crowd_plane body"]
    """All bodies in planes, rows of kernels/observation/crowd.py."""

    crowd_row: Annotated[F32, "worker body crowd_column"]
    """What rows show of each body, columns of kernels/observation/crowd.py."""

    kept_way: Annotated[I32, "world agent way_word"]
    """Whose way an agent keeps, and how long it is: columns of kernels/observation/kept_way.py."""

    kept_numbers: Annotated[F32, "world agent way_number"]
    """Likewise: goals, what the body can follow, and the bounds of the way."""

    chunk: Annotated[F32, "world agent 4 chunk"]
    """Bounds of the pieces of that way: west, east, south, north [m]."""

    stretch: Annotated[F32, "world agent stretch stretch_number"]
    """The lanes of that way, one after the other."""

    stretch_segment: Annotated[I32, "world agent stretch 2"]
    """First segment of each, and how many there are."""

    mark: Annotated[F32, "world agent mark mark_place"]
    """Where lines and junctions lie on that way [m]."""

    mark_line: Annotated[I32, "world agent mark"]
    """Which lines; below 0 where a junction begins."""

    aim: Annotated[I32, "worker agent 2 route"]
    """Segments of the points of its way that each agent is shown, and on which lane of it."""

    aim_s: Annotated[F32, "worker agent route"]
    """Where on those lanes [m]."""

    route: Annotated[F32, "worker agent route_column route"]
    """The points of its way that each agent is shown: x, y [m], cos, sin, room to the left and to
    the right [m], speed limit [m/s]."""

    ahead: Annotated[F32, "worker agent note"]
    """What an agent is shown of the next line and of the bodies before and behind it, columns of
    kernels/observation/way.py."""

    route_line: Annotated[I32, "worker agent route_line"]
    """Stop lines on its way, -1 for none."""

    seen: Annotated[F32, "worker seen"]
    """By how much x, y [m] and the speed [m/s] of the agents that a row shows are seen wrongly."""

    cached_cell: Annotated[I32, "world agent 4"]
    """Whose points an agent keeps: row of the near lists + 1 (0 for none), lane of the goal; how
    many lane points and boundary points there are."""

    cached_lane_point: Annotated[F32, "world agent 4 lane_point"]
    """Lane points of that row, x, y [m], cos, sin: in planes, as the map has them not."""

    cached_route_distance: Annotated[F32, "world agent lane_point"]
    """From each of them to the start of the goal's lane [m]."""

    cached_boundary_point: Annotated[F32, "world agent 4 boundary_point"]
    """Boundary points, likewise."""

    flags: Annotated[I32, "worker 32"]
    """Columns `REQUESTED`: whether any row is wanted, `IDLE`: whether the world had ended before
    the step; the others keep those of two threads in different cache lines."""

    key: Annotated[I64, "thread slot"]
    """Squared distance and slot of the nearest agents, in one number each."""

    centre_x: Annotated[F32, "worker agent"]
    """Box centre, far away for absent agents [m]."""

    centre_y: Annotated[F32, "worker agent"]
    radius: Annotated[F32, "worker agent"]
    """Of a circle round what a body covers in the step [m]."""

    square: Annotated[F32, "thread agent"]
    """While drivers look around, how far the `reach` of each agent is from that of the one who
    looks, no more than 0 where they overlap [m]."""

    near_row: Annotated[I32, "worker agent"]
    """Row of the near lists of each agent's observation cell, -1 for none."""

    row: Annotated[F32, "staging feature"]
    """An observation before it is rounded to half precision."""

    chosen: Annotated[U8, "world agent"]
    """Slots that a reset is asked for."""

    whole: Annotated[U8, "world"]
    """Worlds that a reset draws anew."""

    cycles: Annotated[I64, "worker stage"]
    """Processor cycles spent in each stage since the buffers were made."""
