"""What scripted drivers know of the way ahead of each agent: the columns of `Scratch.path_info`."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.math.geometry import HALF

__all__ = ["MAX_PATH_POINTS", "PATH_INFO", "PATH_STEP", "bound_reach", "look_around",
    "write_bounds"]  # fmt: skip

MAX_PATH_POINTS = 64
PATH_STEP = np.float32(1.5)  # [m]

# Points in use; way of the box centre to the next junction (negative inside one) and to where it
# has cleared it; rank and arrival, by which the first to go is chosen; way of the front to a stop
# line and its colour; way to where the lane ends; bounding box; whether it goes over to another
# lane, and the way to the dead end of the lane that it leaves; the lane that it stays on and its
# neighbours, -1 for none; how long it has been standing, red lights apart [s]; for whom it waits,
# -1 for nobody; the lane by which it enters the next junction, -1 for none; the lane that it waits
# for where its own ends, -1 for none; how far it sweeps beyond its width for each unit of curvature
# [m2], and the sharpest bend of the lanes on its way [1/m].
(
    POINTS,
    ENTRY,
    EXIT,
    RANK,
    ARRIVAL,
    LINE_GAP,
    LINE_COLOUR,
    PATH_END,
    LOW_X,
    LOW_Y,
    LOW_Z,
    HIGH_X,
    HIGH_Y,
    HIGH_Z,
    CHANGES,
    LEAVE_END,
    STAYS,
    BESIDE_LEFT,
    BESIDE_RIGHT,
    WAITED,
    BLOCKER,
    THROUGH,
    WAITS_FOR,
    SWEEP,
    BEND,
) = range(25)
PATH_INFO = 25

TWO = np.float32(2.0)
TINY_GAP = np.float32(0.05)  # [m]
REACH_MARGIN = np.float32(1.1)  # half the room that ways are kept apart by, and rounding [m]
NOWHERE = np.float32(1.0e9)  # [m]


@njit
def write_bounds(path, info, count):
    """Writes the bounding box of a path."""
    west = east = path[0, 0]
    south = north = path[0, 1]
    low = high = path[0, 4]
    for point in range(1, count):
        west = min(west, path[point, 0])
        east = max(east, path[point, 0])
        south = min(south, path[point, 1])
        north = max(north, path[point, 1])
        low = min(low, path[point, 4])
        high = max(high, path[point, 4])
    info[LOW_X], info[HIGH_X] = west, east
    info[LOW_Y], info[HIGH_Y] = south, north
    info[LOW_Z], info[HIGH_Z] = low, high


@inline
def bound_reach(agents, bodies, info, reach, world, agent, present):
    """Writes the box outside of which nobody matters to an agent, an empty one if not present.

    It holds the way and the body with what is kept free around them: where two boxes are apart,
    neither lies on the way of the other, nor do their ways meet or their bodies touch.

    Args:
        agents: Of the worlds.
        bodies: Likewise.
        info: `Scratch.path_info` of all agents.
        reach: `Scratch.reach` of all agents.
        world: Where.
        agent: Whose.
        present: Whether it is in the world.
    """
    if not present:
        reach[0, agent] = reach[2, agent] = NOWHERE
        reach[1, agent] = reach[3, agent] = -NOWHERE
        return
    shift = HALF * bodies.wheelbase[world, agent]
    x = agents.x[world, agent] + shift * agents.cos[world, agent]
    y = agents.y[world, agent] + shift * agents.sin[world, agent]
    size = bodies.length[world, agent] + bodies.width[world, agent] + TWO
    reach[0, agent] = min(info[agent, LOW_X], x - size) - REACH_MARGIN
    reach[1, agent] = max(info[agent, HIGH_X], x + size) + REACH_MARGIN
    reach[2, agent] = min(info[agent, LOW_Y], y - size) - REACH_MARGIN
    reach[3, agent] = max(info[agent, HIGH_Y], y + size) + REACH_MARGIN


@inline
def look_around(agent, west, east, south, north, apart):
    """Writes how far the box of each agent is from that of one [m]; it is not near itself."""
    own_west = west[agent]
    own_east = east[agent]
    own_south = south[agent]
    own_north = north[agent]
    for other in range(west.shape[0]):
        across = max(west[other] - own_east, own_west - east[other])
        along = max(south[other] - own_north, own_south - north[other])
        apart[other] = max(across, along)
    apart[agent] = NOWHERE
