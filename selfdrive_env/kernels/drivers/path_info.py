"""What scripted drivers know of the way ahead of each agent: the columns of `Scratch.path_info`."""

from __future__ import annotations

import numpy as np

__all__ = ["MAX_PATH_POINTS", "PATH_INFO", "PATH_STEP"]

MAX_PATH_POINTS = 64
PATH_STEP = np.float32(1.5)  # [m]

# Points in use; way of the box centre to the next junction (negative inside one) and to where it
# has cleared it; rank and arrival, by which the first to go is chosen; way of the front to a stop
# line and its colour; way to where the lane ends; bounding box; whether it goes over to another
# lane, and the way to the dead end of the lane that it leaves; the lane that it stays on and its
# neighbours, -1 for none; how long it has been standing, red lights apart [s]; for whom it waits,
# -1 for nobody; the lane by which it enters the next junction, -1 for none; the lane that it waits
# for where its own ends, -1 for none.
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
) = range(23)
PATH_INFO = 23

TWO = np.float32(2.0)
TINY_GAP = np.float32(0.05)  # [m]
