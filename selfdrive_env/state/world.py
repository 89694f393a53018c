"""The structs of a batch of worlds, each field declared once with axes, type and unit.

Axes: W worlds, A agents, T stop lines, G signal groups, J signal programs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

from selfdrive_env.state.arrays import (
    F32,
    I32,
    I64,
    U8,
    U16,
    U32,
)

__all__ = [
    "Actions",
    "Agents",
    "Bodies",
    "Lights",
    "Motion",
    "Output",
    "Rows",
    "Scratch",
    "Tallies",
    "Worlds",
]

MAX_GOALS = 4
"""Targets of one route: the first and up to three further ones."""

# Agents.status
ABSENT, PRESENT, HALTED = range(3)
"""Not in the world; driving; in the world but standing for good after an incident."""

# Bodies.driver
EXTERNAL, IDM, CONSTANT, STILL = range(4)
"""Who chooses the jerk: the caller's actions, the scripted drivers of kernels/drivers/idm.py."""

# Bodies.erratic, bits
BLIND, BRAKING = 1, 2

# Lights.line_colour; NO_LIGHT also stands for a light that was removed
NO_LIGHT, GREEN, YELLOW, RED, STOP_SIGN = range(5)

# Worlds.light_mode
LIGHTS_ON, LIGHTS_OFF, LIGHTS_GREEN = range(3)

# Output.event, bits
(EVENT_GOAL, EVENT_LAST_GOAL, EVENT_COLLISION, EVENT_OFFROAD, EVENT_RED_LIGHT,
    EVENT_STOP_SIGN, EVENT_COMFORT, EVENT_WRONG_WAY) = (1 << bit for bit in range(8))  # fmt: skip

# Columns of Tallies.count, one for each event bit in the same order.
NUM_COUNTS = 8

# Terms of the reward, the last axis of Output.term and Tallies.term.
REWARD_TERMS = ("goal", "collision", "offroad", "comfort", "lane_align", "lane_centre",
    "velocity", "reverse", "stop_line", "timestep", "overspeed", "progress")  # fmt: skip
NUM_TERMS = len(REWARD_TERMS)
(TERM_GOAL, TERM_COLLISION, TERM_OFFROAD, TERM_COMFORT, TERM_LANE_ALIGN, TERM_LANE_CENTRE,
    TERM_VELOCITY, TERM_REVERSE, TERM_STOP_LINE, TERM_TIMESTEP, TERM_OVERSPEED,
    TERM_PROGRESS) = range(NUM_TERMS)  # fmt: skip

# Columns of Bodies.weight. The first eleven are the conditioning group of the observation.
WEIGHTS = ("goal_radius", "collision", "offroad", "comfort", "lane_align",
    "velocity_align", "lane_centre", "centre_bias", "reverse", "stop_line", "overspeed",
    "goal", "velocity", "timestep", "progress")  # fmt: skip
NUM_WEIGHTS = len(WEIGHTS)
NUM_CONDITIONS = 11
(WEIGHT_GOAL_RADIUS, WEIGHT_COLLISION, WEIGHT_OFFROAD, WEIGHT_COMFORT, WEIGHT_LANE_ALIGN,
    WEIGHT_VELOCITY_ALIGN, WEIGHT_LANE_CENTRE, WEIGHT_CENTRE_BIAS, WEIGHT_REVERSE,
    WEIGHT_STOP_LINE, WEIGHT_OVERSPEED, WEIGHT_GOAL, WEIGHT_VELOCITY, WEIGHT_TIMESTEP,
    WEIGHT_PROGRESS) = range(NUM_WEIGHTS)  # fmt: skip

# Columns of Draws.body, one row a type of body.
(BODY_SHARE, BODY_LENGTH_LOW, BODY_LENGTH_HIGH, BODY_WIDTH_LOW, BODY_WIDTH_HIGH,
    BODY_THROTTLE, BODY_STEER, BODY_ACCELERATION, BODY_SPEED) = range(9)  # fmt: skip
BODY_COLUMNS = 9

# Actions.mode
ACTIONS_KEEP, ACTIONS_CHOOSE, ACTIONS_SCALE = range(3)


class RowRequest(IntEnum):
    """Which row of an agent is to be written."""

    NONE = 0
    OBSERVATION = 1
    LAST_OBSERVATION = 2


# Columns of Scratch.flags.
REQUESTED, IDLE = range(2)


class Agents(NamedTuple):
    """What changes at each step, one entry an agent. x, y is the middle of the rear axle."""

    x: Annotated[F32, "world agent"]
    """East [m]."""

    y: Annotated[F32, "world agent"]
    """North [m]."""

    cos: Annotated[F32, "world agent"]
    """Heading."""

    sin: Annotated[F32, "world agent"]
    speed: Annotated[F32, "world agent"]
    """Along the heading, negative in reverse [m/s]."""

    acceleration: Annotated[F32, "world agent"]
    """Along the heading [m/s^2]."""

    lateral_acceleration: Annotated[F32, "world agent"]
    """Positive to the left [m/s^2]."""

    steering: Annotated[F32, "world agent"]
    """Steering angle, positive to the left [rad]."""

    z: Annotated[F32, "world agent"]
    """Elevation of the road under the agent [m]."""

    segment: Annotated[I32, "world agent"]
    """Lane segment the agent is localised on."""

    s: Annotated[F32, "world agent"]
    """Arc length along the lane of that segment [m]."""

    d: Annotated[F32, "world agent"]
    """Lateral offset of the box centre from the lane centre, positive to the left [m]."""

    angle_cos: Annotated[F32, "world agent"]
    """Angle between heading and lane."""

    angle_sin: Annotated[F32, "world agent"]
    goal: Annotated[I32, "world agent"]
    """Index of the next goal in the agent's route."""

    goal_distance: Annotated[F32, "world agent"]
    """Along the lane graph to the next goal [m]."""

    age: Annotated[I32, "world agent"]
    """Steps since it was placed."""

    status: Annotated[U8, "world agent"]
    contact: Annotated[U8, "world agent"]
    """Bit 1: overlaps another body; bit 2: not wholly on the drivable surface."""

    stopped_at: Annotated[I32, "world agent"]
    """Stop line in front of which the agent has stood last, -1 for none."""

    brake_until: Annotated[I32, "world agent"]
    """Tick until which an erratic driver brakes hard."""

    waiting: Annotated[F32, "world agent"]
    """How long a scripted driver has been standing [s]."""


class Motion(NamedTuple):
    """What one step did to each agent: written by dynamics, read by the stages after it."""

    jerk: Annotated[F32, "world agent 2"]
    """Commanded longitudinal and lateral jerk [m/s^3]."""

    x: Annotated[F32, "world agent"]
    """Pose and speed at the start of the step [m], [m/s]."""

    y: Annotated[F32, "world agent"]
    cos: Annotated[F32, "world agent"]
    sin: Annotated[F32, "world agent"]
    speed: Annotated[F32, "world agent"]
    travel: Annotated[F32, "world agent"]
    """Arc length driven, negative in reverse [m]."""

    curvature: Annotated[F32, "world agent"]
    """Of the arc [1/m]."""

    progress: Annotated[F32, "world agent"]
    """By how much the way to the next goal shrank [m]."""

    hit_speed: Annotated[F32, "world agent"]
    """Speed at the start of the step in which it collided [m/s]."""

    hit_agent: Annotated[I32, "world agent"]
    """Slot of the body that it touched first in the step, -1 if it touched none."""

    hit_time: Annotated[F32, "world agent"]
    """When in the step the two were last seen apart, 0 at its start; below 1."""


class Bodies(NamedTuple):
    """What an agent keeps from one placing to the next."""

    length: Annotated[F32, "world agent"]
    """[m]"""

    width: Annotated[F32, "world agent"]
    """[m]"""

    wheelbase: Annotated[F32, "world agent"]
    """[m]"""

    bend: Annotated[F32, "world agent"]
    """Largest lane curvature it can follow [1/m]."""

    throttle: Annotated[F32, "world agent"]
    """C_throttle, scales the longitudinal jerk."""

    steer: Annotated[F32, "world agent"]
    """C_steer, scales the lateral jerk."""

    pull: Annotated[F32, "world agent"]
    """C_acc, scales the largest acceleration."""

    pace: Annotated[F32, "world agent"]
    """C_vel, scales the largest speed."""

    type: Annotated[U8, "world agent"]
    """Row of `config.BODY_TYPES`."""

    driver: Annotated[U8, "world agent"]
    learner: Annotated[U8, "world agent"]
    """Whether the caller drives it or learns from it; in Disabled it waits for the caller."""

    erratic: Annotated[U8, "world agent"]
    row: Annotated[I32, "world agent"]
    """Row of the observation, -1 for agents that are not observed."""

    weight: Annotated[F32, "world agent weight"]
    """Reward weights, columns `WEIGHTS`."""

    goal_lane: Annotated[I32, "world agent goal"]
    goal_s: Annotated[F32, "world agent goal"]
    goal_x: Annotated[F32, "world agent goal"]
    """[m]"""

    goal_y: Annotated[F32, "world agent goal"]
    num_goals: Annotated[I32, "world agent"]


class Lights(NamedTuple):
    """Traffic lights of each world. Programs, groups and lines count from the first of its map."""

    phase: Annotated[I32, "world program"]
    """0 green, 1 yellow, 2 all red."""

    turn: Annotated[I32, "world program"]
    """Position in the cycle: which group is green, yellow or was it last."""

    remaining: Annotated[F32, "world program"]
    """Of the phase [s]."""

    group_colour: Annotated[U8, "world group"]
    group_dark: Annotated[U8, "world group"]
    """Removed for this episode."""

    line_colour: Annotated[U8, "world line"]
    line_dark: Annotated[U8, "world line"]


class Worlds(NamedTuple):
    """One entry a world."""

    map: Annotated[I32, "world"]
    clock: Annotated[I32, "world"]
    """Steps since the world was drawn (plus the head start of a staggered first episode)."""

    tick: Annotated[U32, "world"]
    """Steps since the seed was set: the counter of the random numbers."""

    key: Annotated[U32, "world 2"]
    """Both halves of the 64-bit seed."""

    stream: Annotated[U32, "world"]
    """world_offset + world, or 0 where each world has its own seed."""

    number: Annotated[U32, "world"]
    """world_offset + world, orders the staggered first clocks."""

    light_mode: Annotated[U8, "world"]
    num_agents: Annotated[I32, "world"]
    """Slots in use in this episode of the world."""

    ended: Annotated[U8, "world"]
    """The horizon has run out and the world waits to be drawn anew."""


class Tallies(NamedTuple):
    """Sums over the running episode of each agent."""

    term: Annotated[F32, "world agent term"]
    """Weighted reward by term."""

    count: Annotated[I32, "world agent count"]  # type: ignore[assignment]
    """How often each event came, columns in the order of the EVENT bits."""

    distance: Annotated[F32, "world agent"]
    """Driven [m]."""


class Rows(NamedTuple):
    """What is seen of agents, one entry a row: of learners and, in their worlds, of co-drivers."""

    observation: Annotated[F32, "full_row feature"]
    """Rows in single precision, none where they are in half precision."""

    half: Annotated[U16, "half_row feature"]
    """Rows in half precision, the bits of float16 or bfloat16 numbers."""

    reward: Annotated[F32, "row"]
    terminated: Annotated[U8, "row"]
    truncated: Annotated[U8, "row"]
    final_observation: Annotated[F32, "full_row feature"]
    """Last observation of the episode, written for finished rows only."""

    final_half: Annotated[U16, "half_row feature"]

    final_term: Annotated[F32, "row term"]
    """Tallies of the episode that ended in this step, like the next ones; zero for other rows."""

    final_count: Annotated[I32, "row count"]
    final_km: Annotated[F32, "row"]
    final_age: Annotated[I32, "row"]
    valid: Annotated[U8, "row"]
    learn: Annotated[U8, "row"]


class Actions(NamedTuple):
    """What the caller commands, one entry a row."""

    mode: Annotated[I32, "1"]
    """`ACTIONS_KEEP`: `Motion.jerk` stands; `ACTIONS_CHOOSE`: `choice` counts; `ACTIONS_SCALE`:
    `scale` does."""

    choice: Annotated[I64, "row"]
    """Row of `Draws.jerk`."""

    scale: Annotated[F32, "row 2"]
    """Longitudinal and lateral, from -1 to 1."""

    fault: Annotated[I32, "1"]
    """Row + 1 of an action that was none of these, 0 while there was none."""


class Output(NamedTuple):
    """Result of a step for every agent, learner or not."""

    event: Annotated[I32, "world agent"]
    """EVENT bits."""

    term: Annotated[F32, "world agent term"]
    """Raw (unweighted) value of each reward term; times its weight it is in `weighted`."""

    weighted: Annotated[F32, "world agent term"]
    reward: Annotated[F32, "world agent"]
    terminated: Annotated[U8, "world agent"]
    truncated: Annotated[U8, "world agent"]
    waits: Annotated[U8, "world agent"]
    """Finished and not yet placed again (NextStep, Disabled)."""


class Scratch(NamedTuple):
    """Working memory of a worker: a thread on the CPU, a block of threads on CUDA."""

    path: Annotated[F32, "worker agent point 5"]
    """Way ahead of each agent along its route: x, y, cos, sin, elevation z at equal steps [m]."""

    path_info: Annotated[F32, "worker agent info"]
    """What scripted drivers know of each agent's way, columns of kernels/drivers/idm.py."""

    halted: Annotated[U8, "worker agent"]
    """Whether the agent was halted before the step."""

    request: Annotated[U8, "worker agent"]
    """Which row of the agent to write, a `RowRequest`."""

    known: Annotated[I32, "world agent slot"]
    """Slots + 1 of the agents that were nearest when the agent was last observed, 0 for none."""

    kept: Annotated[I32, "world agent 4"]
    """Whose points an agent keeps: row of the near lists + 1 (0 for none), lane of the goal; how
    many lane points and boundary points there are."""

    kept_lane: Annotated[F32, "world agent lane_point 4"]
    """Lane points of that row, x, y [m], cos, sin: side by side, as the map has them not."""

    kept_way: Annotated[F32, "world agent lane_point"]
    """From each of them to the start of the goal's lane [m]."""

    kept_boundary: Annotated[F32, "world agent boundary_point 4"]
    """Boundary points, likewise."""

    flags: Annotated[I32, "worker 32"]
    """Columns `REQUESTED`: whether any row is wanted, `IDLE`: whether the world had ended before
    the step; the others keep those of two threads in different cache lines."""

    key: Annotated[I64, "thread slot"]
    """Squared distance and slot of the nearest agents, in one number each."""

    pose: Annotated[F32, "worker pose 4"]
    """Box centre x, y [m] and heading cos, sin of each agent, then a row a thread for noise."""

    centre_x: Annotated[F32, "worker agent"]
    """Box centre, far away for absent agents [m]."""

    centre_y: Annotated[F32, "worker agent"]
    radius: Annotated[F32, "worker agent"]
    """Of a circle round what a body covers in the step [m]."""

    square: Annotated[F32, "thread agent"]
    """Squared distance to each agent [m^2]."""

    size_part: Annotated[F32, "worker agent 2"]
    """Observed values of each body's length and width."""

    around: Annotated[I32, "worker agent"]
    """Row of the near lists of each agent's observation cell, -1 for none."""

    row: Annotated[F32, "staging feature"]
    """An observation before it is rounded to half precision."""

    chosen: Annotated[U8, "world agent"]
    """Slots that a reset is asked for."""

    whole: Annotated[U8, "world"]
    """Worlds that a reset draws anew."""

    cycles: Annotated[I64, "worker stage"]
    """Processor cycles spent in each stage since the buffers were made."""
