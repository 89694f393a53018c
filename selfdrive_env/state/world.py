"""The structs of a batch of worlds, each field declared once with axes, type and unit.

Axes: W worlds, A agents, T stop lines, G signal groups, J signal programs.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated, NamedTuple

from selfdrive_env.state.arrays import F32, I32, I64, U8, U16, U32

__all__ = ["Actions", "Agents", "Bodies", "Lights", "Motion", "Output", "Rows", "Tallies",
    "Worlds"]  # fmt: skip

MAX_GOALS = 4
"""Targets of one route: the first and up to three further ones."""

MAX_STEERING = 0.55
"""Largest steering angle to either side [rad]."""


class Status(IntEnum):
    """`Agents.status`."""

    ABSENT = 0
    PRESENT = 1
    HALTED = 2
    """In the world but standing for good after an incident."""

    STANDING = 3
    """Broken down where it was placed: nobody drives it, and its row is as if it were empty."""


class Driver(IntEnum):
    """`Bodies.driver`, who chooses the jerk: the caller, or a branch of `kernels.drivers`.

    A name in small letters is one of the settings `driver` and `traffic`.
    """

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Driver:
        """Makes a member from its code and from what lists and help texts say of it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    EXTERNAL = 0, "takes the caller's actions"
    IDM = 1, "scripted: follows its route, keeps its distance, yields"
    CONSTANT = 2, "scripted: keeps its speed and follows its lane"
    STILL = 3, "scripted: stands"
    REPLAY = 4, "repeats what was recorded"
    IDM_LOG = 5, "scripted: keeps to the path it was recorded on, at a speed of its own"
    WAYPOINT = 6, "scripted: steers for where it was recorded, as its body can"


class Erratic(IntFlag):
    """`Bodies.erratic`."""

    BLIND = 1
    BRAKING = 2


class Colour(IntEnum):
    """`Lights.line_colour` and `group_colour`; a light that was removed is none."""

    NO_LIGHT = 0
    GREEN = 1
    YELLOW = 2
    RED = 3
    STOP_SIGN = 4


class Phase(IntEnum):
    """`Lights.phase`."""

    GREEN = 0
    YELLOW = 1
    RED = 2
    """Of all groups."""


class LightMode(IntEnum):
    """`Worlds.light_mode`."""

    LIGHTS_ON = 0
    LIGHTS_OFF = 1
    LIGHTS_GREEN = 2


class Contact(IntFlag):
    """`Agents.contact`."""

    BODY = 1
    """Overlaps another body."""

    OFFROAD = 2
    """Is not wholly on the drivable surface."""


class Event(IntFlag):
    """`Output.event`; the columns of `Tallies.count` count them in this order."""

    GOAL = 1
    LAST_GOAL = 2
    COLLISION = 4
    OFFROAD = 8
    RED_LIGHT = 16
    STOP_SIGN = 32
    COMFORT = 64
    WRONG_WAY = 128
    LOST = 256
    TOW = 512
    YIELD = 1024


class Hold(IntEnum):
    """`Agents.hold`."""

    NOTHING = 0
    BODY = 1
    """Another body on its way."""

    RIGHT_OF_WAY = 2
    """One that goes first."""

    ROOM = 3
    """Behind the junction there is no room for it."""

    LINE = 4
    """A red light, or a stop sign where it has not stood yet."""

    LANE_END = 5
    """The end of its lane: it waits there for a gap beside it, if a lane beside it leads on."""


class ActionMode(IntEnum):
    """`Actions.mode`."""

    KEEP = 0
    CHOOSE = 1
    SCALE = 2
    SET = 3


# Plain numbers for kernels, which cannot do everything with an enum.
ABSENT, PRESENT, HALTED, STANDING = map(int, Status)
EXTERNAL, IDM, CONSTANT, STILL, REPLAY, IDM_LOG, WAYPOINT = map(int, Driver)
BLIND, BRAKING = map(int, Erratic)
NO_LIGHT, GREEN, YELLOW, RED, STOP_SIGN = map(int, Colour)
PHASE_GREEN, PHASE_YELLOW, PHASE_RED = map(int, Phase)
LIGHTS_ON, LIGHTS_OFF, LIGHTS_GREEN = map(int, LightMode)
CONTACT_BODY, CONTACT_OFFROAD = map(int, Contact)
(EVENT_GOAL, EVENT_LAST_GOAL, EVENT_COLLISION, EVENT_OFFROAD, EVENT_RED_LIGHT, EVENT_STOP_SIGN,
    EVENT_COMFORT, EVENT_WRONG_WAY, EVENT_LOST, EVENT_TOW,
    EVENT_YIELD) = map(int, Event)  # fmt: skip
NUM_COUNTS = len(Event)
(HOLD_NOTHING, HOLD_BODY, HOLD_RIGHT_OF_WAY, HOLD_ROOM, HOLD_LINE,
    HOLD_LANE_END) = map(int, Hold)  # fmt: skip
ACTIONS_KEEP, ACTIONS_CHOOSE, ACTIONS_SCALE, ACTIONS_SET = map(int, ActionMode)

# Columns of Draws.body, one row a type of body.
(BODY_SHARE, BODY_LENGTH_LOW, BODY_LENGTH_HIGH, BODY_WIDTH_LOW, BODY_WIDTH_HIGH,
    BODY_THROTTLE, BODY_STEER, BODY_ACCELERATION, BODY_SPEED) = range(9)  # fmt: skip
BODY_COLUMNS = 9

# Its rows, in the order of `config.BODY_TYPES`, that stand for no cars, vans, trucks or buses.
MOTORCYCLE, BICYCLE, PEDESTRIAN = 5, 6, 7

# Columns of Output.outlook.
OUTLOOK_SPEED, OUTLOOK_GOAL, OUTLOOK_TIME = range(3)


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
    """`Contact` bits."""

    stopped_at: Annotated[I32, "world agent"]
    """Stop line in front of which the agent has stood, until it leaves it, -1 for none."""

    stop_tick: Annotated[U32, "world agent"]
    """When it came to stand there."""

    front_junction: Annotated[I32, "world agent"]
    """Junction that its front came into and that it has not left since, -1 for none."""

    brake_until: Annotated[I32, "world agent"]
    """Tick until which an erratic driver brakes hard."""

    standing_time: Annotated[F32, "world agent"]
    """How long a scripted driver has been standing, red lights apart, or who was stopped for good
    [s]."""

    hold: Annotated[U8, "world agent"]
    """What a scripted driver waits for, a `Hold`."""

    blocker: Annotated[I32, "world agent"]
    """For which agent it waits, -1 for none."""

    let_in_until: Annotated[F32, "world agent"]
    """Up to where it has been let into a junction, as `Tallies.distance` counts [m]."""

    let_in_tick: Annotated[I32, "world agent"]
    """When: who was let in first goes first."""

    path_s: Annotated[F32, "world agent"]
    """How far along its recorded path it has come, of one that keeps to it [m]."""


class Motion(NamedTuple):
    """What one step did to each agent: written by dynamics, read by the stages after it."""

    jerk: Annotated[F32, "world agent 2"]
    """Commanded longitudinal and lateral jerk; none where `action` moves the body [m/s^3]."""

    action: Annotated[F32, "world agent column"]
    """What moves those whom no script drives under dynamics other than jerks, in the units of
    `state.dynamics`."""

    realised_jerk: Annotated[F32, "world agent 2"]
    """What the body's limits left of the jerk, none while it stands; under other dynamics by how
    much accelerations changed [m/s^3]."""

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

    slip_cos: Annotated[F32, "world agent"]
    """Angle from the heading to the arc, the same all along; jerks lead to none."""

    slip_sin: Annotated[F32, "world agent"]

    progress: Annotated[F32, "world agent"]
    """By how much the way to the next goal shrank [m]."""

    impact_speed: Annotated[F32, "world agent"]
    """Speed at the start of the step in which it collided [m/s]."""

    hit_agent: Annotated[I32, "world agent"]
    """Slot of the body that it touched first in the step, -1 if it touched none."""

    hit_time: Annotated[F32, "world agent"]
    """When in the step the two were last seen apart, 0 at its start; below 1."""


class Bodies(NamedTuple):
    """What an agent keeps from one placing to the next."""

    length: Annotated[F32, "world agent"]  # [m]
    width: Annotated[F32, "world agent"]  # [m]
    wheelbase: Annotated[F32, "world agent"]  # [m]

    max_curvature: Annotated[F32, "world agent"]
    """Largest lane curvature it can follow [1/m]."""

    jerk_scale: Annotated[F32, "world agent"]
    """C_throttle, of the longitudinal jerk."""

    lateral_jerk_scale: Annotated[F32, "world agent"]
    """C_steer, of the lateral jerk."""

    acceleration_scale: Annotated[F32, "world agent"]
    """C_acc, of the largest acceleration."""

    speed_scale: Annotated[F32, "world agent"]
    """C_vel, of the largest speed."""

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
    """A `Phase`."""

    turn: Annotated[I32, "world program"]
    """Position in the cycle: which group is green, yellow or was it last."""

    remaining: Annotated[F32, "world program"]
    """Of the phase, below 0 by what it lasted too long for steps to count [s]."""

    group_colour: Annotated[U8, "world group"]
    group_dark: Annotated[U8, "world group"]
    """Removed for this episode."""

    line_colour: Annotated[U8, "world line"]
    line_dark: Annotated[U8, "world line"]
    line_tick: Annotated[U32, "world line"]
    """`Worlds.tick` when the line came to show its colour, or when the world was drawn."""


class Worlds(NamedTuple):
    """One entry a world."""

    scene: Annotated[I32, "world"]  # of `Scenes`, -1 before the first
    map: Annotated[I32, "world"]
    dt: Annotated[F32, "world"]
    """Length of a step [s]."""

    dt_ns: Annotated[I64, "world"]
    """The same [ns]."""

    horizon: Annotated[I32, "world"]
    """Length of the episode [steps]."""

    clock: Annotated[I32, "world"]
    """Steps since the world was drawn (plus the head start of a staggered first episode)."""

    tick: Annotated[U32, "world"]
    """Steps since the seed was set: the counter of the random numbers."""

    key: Annotated[U32, "world 2"]  # both halves of the 64-bit seed
    stream: Annotated[U32, "world"]
    """world_offset + world, or 0 where each world has its own seed."""

    number: Annotated[U32, "world"]
    """world_offset + world, orders the staggered first clocks."""

    light_mode: Annotated[U8, "world"]
    light_start: Annotated[U32, "world"]
    """What the clock of lights that have a cycle read when the world was drawn [ms]."""

    num_agents: Annotated[I32, "world"]
    """Slots in use in this episode of the world."""

    ended: Annotated[U8, "world"]
    """The horizon has run out and the world waits to be drawn anew."""


class Tallies(NamedTuple):
    """Sums over the running episode of each agent."""

    term: Annotated[F32, "world agent term"]
    """Weighted reward by term."""

    count: Annotated[I32, "world agent count"]  # type: ignore[assignment]
    """How often each event came, columns in the order of `Event`."""

    distance: Annotated[F32, "world agent"]  # driven [m]


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
    `scale` does; `ACTIONS_SET`: it does as it is."""

    choice: Annotated[I64, "row"]
    """Row of `Draws.action`."""

    scale: Annotated[F32, "row column"]
    """A number a column of the dynamics, from -1 to 1 or in its unit."""

    fault: Annotated[I32, "1"]
    """Row + 1 of an action that was none of these, 0 while there was none."""


class Output(NamedTuple):
    """Result of a step for every agent, learner or not."""

    event: Annotated[I32, "world agent"]
    """`Event` bits."""

    term: Annotated[F32, "world agent term"]
    """Raw (unweighted) value of each reward term; times its weight it is in `weighted`."""

    weighted: Annotated[F32, "world agent term"]
    reward: Annotated[F32, "world agent"]
    terminated: Annotated[U8, "world agent"]
    truncated: Annotated[U8, "world agent"]
    awaiting_reset: Annotated[U8, "world agent"]
    """Finished and not yet placed again (NextStep, Disabled)."""

    outlook: Annotated[F32, "world agent 3"]
    """Columns `OUTLOOK_*`: speed [m/s], way to the next goal [m] and time to a collision [s] of the
    state that is observed; of learners, and only with the setting `step_info`."""

    last_outlook: Annotated[F32, "world agent 3"]
    """Likewise at the end of the episode, where one ended in the step; else zero."""
