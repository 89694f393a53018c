"""All bodies of a world side by side, as those that observe them read them: in planes."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.math.geometry import HALF, ONE, TWO, ZERO
from selfdrive_env.state.world import ABSENT, BICYCLE, MOTORCYCLE, PEDESTRIAN

__all__ = [
    "COS",
    "CROWD_COLUMNS",
    "CROWD_PLANES",
    "FACING",
    "HALF_LENGTH",
    "HALF_WIDTH",
    "KIND",
    "LANE",
    "LEFT",
    "LENGTH",
    "SIN",
    "SIZE_X", "SIZE_Y",
    "SPEED",
    "WIDTH",
    "D",
    "S",
    "X",
    "Y",
    "Z",
    "note_crowd",
]  # fmt: skip

NOWHERE = np.float32(1.0e9)  # [m]

# Planes of Scratch.crowd, the first also columns of Scratch.crowd_row: box centre, far away for
# absent bodies [m]; heading; speed [m/s]; length, width, elevation, half of length and width, how
# far it reaches east and north [m]; number of the lane (exact below 2^24: beyond, a near miss costs
# time); s, what is left of the lane, d [m]; cosine of the angle with the lane; kind of road user, 1
# for two-wheelers, 2 for pedestrians.
(X, Y, COS, SIN, SPEED, LENGTH, WIDTH, Z, HALF_LENGTH, HALF_WIDTH, SIZE_X, SIZE_Y, LANE, S, LEFT, D,
    FACING, KIND) = range(18)  # fmt: skip
CROWD_PLANES, CROWD_COLUMNS = 18, 8


@njit
def note_crowd(lanes, data, worker, world):
    """Writes the planes of `Scratch.crowd`."""
    agents, bodies = data.agents, data.bodies
    crowd, shown = data.scratch.crowd[worker], data.scratch.crowd_row[worker]
    num_agents = agents.x.shape[1]
    for agent in range(thread_index(), crowd.shape[1], block_size()):
        crowd[X, agent] = NOWHERE
        if agent >= num_agents or agents.status[world, agent] == ABSENT:
            continue
        cos, sin = agents.cos[world, agent], agents.sin[world, agent]
        ahead = HALF * bodies.wheelbase[world, agent]
        length, width = bodies.length[world, agent], bodies.width[world, agent]
        lane = np.int64(lanes.segment_lane[agents.segment[world, agent]])
        crowd[X, agent] = agents.x[world, agent] + ahead * cos
        crowd[Y, agent] = agents.y[world, agent] + ahead * sin
        crowd[COS, agent] = cos
        crowd[SIN, agent] = sin
        crowd[SPEED, agent] = agents.speed[world, agent]
        crowd[LENGTH, agent] = length
        crowd[WIDTH, agent] = width
        crowd[HALF_LENGTH, agent] = HALF * length
        crowd[HALF_WIDTH, agent] = HALF * width
        crowd[SIZE_X, agent] = HALF * (length * abs(cos) + width * abs(sin))
        crowd[SIZE_Y, agent] = HALF * (length * abs(sin) + width * abs(cos))
        crowd[Z, agent] = agents.z[world, agent]
        crowd[LANE, agent] = np.float32(lane)
        crowd[S, agent] = agents.s[world, agent]
        crowd[LEFT, agent] = lanes.length[lane] - agents.s[world, agent]
        crowd[D, agent] = agents.d[world, agent]
        crowd[FACING, agent] = agents.angle_cos[world, agent]
        kind = np.int64(bodies.type[world, agent])
        two_wheeler = kind in (MOTORCYCLE, BICYCLE)
        crowd[KIND, agent] = TWO if kind == PEDESTRIAN else ONE if two_wheeler else ZERO
        for column in range(CROWD_COLUMNS):
            shown[agent, column] = crowd[column, agent]
