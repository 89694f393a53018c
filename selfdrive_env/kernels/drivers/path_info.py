"""What scripted drivers know of the way ahead of each agent: the columns of `Scratch.path_info`."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.math.geometry import HALF, ZERO

__all__ = ["MAX_PATH_POINTS", "PATH_INFO", "PATH_STEP", "bound_reach", "look_around",
    "path_offset", "way_room", "write_bounds"]  # fmt: skip

MAX_PATH_POINTS = 64
PATH_STEP = np.float32(1.5)  # [m]

# Points in use; way of the box centre to the next junction (negative inside one) and to where it
# has cleared it; rank and arrival, by which the first to go is chosen; way of the front to a stop
# line and its colour; way to where the lane ends; bounding box; whether it goes over to another
# lane, and the way to the dead end of the lane that it leaves; the lane that it stays on and its
# neighbours, -1 for none; how long it has been standing, red lights apart [s]; for whom it waits,
# -1 for nobody; the lane by which it enters the next junction, -1 for none; the lane that it waits
# for where its own ends, -1 for none; how far it sweeps beyond its width for each unit of curvature
# [m2], and the sharpest bend of the lanes on its way [1/m]; the room that its way takes at most of
# what two ways are kept apart by; how far to the left of its way it is; what it waits for.
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
    ROOM,
    ASIDE,
    HOLD,
) = range(28)
PATH_INFO = 28

TWO = np.float32(2.0)
TINY_GAP = np.float32(0.05)  # [m]
CONFLICT_MARGIN = np.float32(0.6)  # between two bodies where their ways meet [m]
SPARE_MARGIN = np.float32(0.3)  # of it that bodies may sweep over [m]
MOST_SWEPT = np.float32(1.0)  # by one body [m]
ROUNDING = np.float32(0.01)  # [m]
BODY_ROOM = np.float32(3.1)  # around a body and half of it, where no way of others leads [m]
NOWHERE = np.float32(1.0e9)  # [m]


@inline
def most_swept(info):
    """Returns how far beyond its width a body sweeps at most on its way [m]."""
    return min(info[SWEEP] * info[BEND], MOST_SWEPT)


@inline
def way_room(info, width):
    """Returns the most that a body `width` wide takes of what two ways are kept apart by [m].

    Two ways whose points lie farther apart than what both take do not meet.
    """
    swept = max(most_swept(info) - HALF * SPARE_MARGIN, ZERO)
    return HALF * (width + CONFLICT_MARGIN) + swept + ROUNDING


@njit
def path_offset(path, agents, bodies, world, agent):
    """Returns how far to the left of its path the centre of an agent lies [m]."""
    ahead = HALF * bodies.wheelbase[world, agent]
    dx = agents.x[world, agent] + ahead * agents.cos[world, agent] - path[0, 0]
    dy = agents.y[world, agent] + ahead * agents.sin[world, agent] - path[0, 1]
    return dy * path[0, 2] - dx * path[0, 3]


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

    It holds the way and the body with what is kept free around them, and the shift of one that is
    aside of its way: where two boxes are apart, neither lies on the way of the other, nor do their
    ways meet or their bodies touch.

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
    aside = abs(info[agent, ASIDE])
    size = bodies.length[world, agent] + bodies.width[world, agent] + BODY_ROOM + aside
    room = info[agent, ROOM] + aside
    reach[0, agent] = min(info[agent, LOW_X] - room, x - size)
    reach[1, agent] = max(info[agent, HIGH_X] + room, x + size)
    reach[2, agent] = min(info[agent, LOW_Y] - room, y - size)
    reach[3, agent] = max(info[agent, HIGH_Y] + room, y + size)


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
