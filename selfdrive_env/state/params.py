"""What kernels get of the settings: structs of scalars and small tables."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

import numpy as np

from selfdrive_env.state.arrays import F32, I32, U8

__all__ = ["Autoreset", "Counts", "Draws", "GoalRule", "LightTiming", "Params", "Reverse", "Rule",
    "SceneOrder"]  # fmt: skip


class Rule(IntEnum):
    """`Params.on_collision`, `on_offroad` and `on_red_light`: what such an event does."""

    TERMINATE = 0
    """Ends the episode."""

    STOP = 1
    """Stops the body for good."""

    IGNORE = 2


class GoalRule(IntEnum):
    """`Params.on_goal`: what the last goal does."""

    TERMINATE = 0
    NEW_ROUTE = 1


class Reverse(IntEnum):
    """`Params.reverse`: whether agents whom no script drives may drive backwards."""

    NEVER = 0
    ALLOWED = 1


class Autoreset(IntEnum):
    """`Params.autoreset`: when a row whose episode ended starts anew."""

    NEXT_STEP = 0
    SAME_STEP = 1
    DISABLED = 2


class SceneOrder(IntEnum):
    """`Params.scene_order`: where worlds come from, and in which order scenes follow each other."""

    NONE = 0
    """Worlds are drawn at random."""

    RANDOM = 1
    """Any scene, with equal chances."""

    SEQUENCE = 2
    """World i of W worlds takes scenes i, i + W, and so on, and begins again after the last."""


class LightTiming(IntEnum):
    """`Params.light_timing`: how long phases of traffic lights last."""

    FIXED = 0
    RANDOM = 1
    """Drawn for each phase."""

    FILE = 2
    """As the map states; drawn where it states nothing."""


# Plain numbers for kernels, which cannot do everything with an enum.
TERMINATE, STOP, IGNORE = map(int, Rule)
NEW_ROUTE = int(GoalRule.NEW_ROUTE)
REVERSE_ALLOWED = int(Reverse.ALLOWED)
NEXT_STEP, SAME_STEP, DISABLED = map(int, Autoreset)
FIXED_LIGHTS, RANDOM_LIGHTS, FILE_LIGHTS = map(int, LightTiming)
NO_SCENES, RANDOM_SCENES, SCENES_IN_SEQUENCE = map(int, SceneOrder)


class Params(NamedTuple):
    """Settings as scalars, constant through a run; `config.make_params` fills it."""

    dt: np.float32
    """Of all worlds, or the shortest that they draw [s]."""

    dt_high: np.float32
    """The longest that they draw [s]."""

    dt_ns: int
    """`dt` [ns]."""

    horizon: int
    """Episode of a world with steps of `dt` [steps]."""

    horizon_time: np.float32
    """The same [s]."""

    on_collision: int
    """A `Rule`, like the next two."""

    on_offroad: int
    on_red_light: int
    tow_after: np.float32
    """How long who was stopped for good stands, infinite for ever [s]."""

    on_goal: int
    """A `GoalRule`."""

    reverse: int
    """A `Reverse`."""

    dynamics: int
    """A `Dynamics`."""

    autoreset: int
    """An `Autoreset`."""

    stagger: int
    """1: the first clock of each world gets a head start."""

    hold_jerk: np.float32
    """Commands at or below hold a standing vehicle [m/s^3]."""

    brake_jerk: np.float32
    """Hardest braking command [m/s^3]."""

    first_goal_low: np.float32
    """Range of the first goal along the lane graph [m]; low < 0 means anywhere reachable."""

    first_goal_high: np.float32
    max_further_goals: int
    initial_speed: np.float32
    """Upper bound as a share of min(limit, top speed); 0 starts standing."""

    standing_share: np.float32
    """Chance that an agent stands for the world's episode."""

    blind_share: np.float32
    braking_share: np.float32
    noise: np.float32
    """Standard deviation of observed positions [m] and speeds [m/s]."""

    lane_dropout: np.float32
    boundary_dropout: np.float32
    light_timing: int
    """A `LightTiming`."""

    light_removal: np.float32
    """Chance that a light, and that a group, is removed."""

    lights_off: np.float32
    """Chance of an episode without lights."""

    scene_order: int
    """A `SceneOrder`."""

    num_scenes: int
    """That worlds are drawn from: those behind them in `Scenes` end and do not come again."""

    goal_speed: np.float32
    """Below which the last goal is reached [m/s]."""

    prefetch: int
    """1: the maps do not fit into a processor's cache, so lines are asked for ahead."""

    past_cache: int
    """1: rows do not fit into a processor's cache, so they are written past it."""

    bfloat16: int
    """1: rows of two bytes a number are in bfloat16, else in float16."""

    writes_rows: int
    """1: rows of numbers are written; 0: nobody reads them, where all see pictures alone."""

    lights_green: np.float32
    """Chance of an episode in which all lights stay green."""

    step_info: int
    """1: `Output.outlook` is written."""


class Counts(NamedTuple):
    """Slots of the observation layout."""

    goals: int
    lane_points: int
    boundary_points: int
    stop_lines: int
    agents: int


class Draws(NamedTuple):
    """Ranges that placing draws from."""

    weight: Annotated[F32, "weight 2"]
    """Low and high of each reward weight."""

    condition: Annotated[F32, "2 weight"]
    """Factor and summand that bring the training range of each weight to [-1, 1]."""

    body: Annotated[F32, "type column"]
    """Columns `BODY_*`: share, length and width ranges [m], mean of the four coefficients."""

    driver: Annotated[U8, "agent"]
    """Driver of each slot."""

    learner: Annotated[U8, "agent"]
    agents: Annotated[I32, "2"]
    """Smallest and largest number of agents of a world."""

    jerk: Annotated[F32, "choice 2"]
    """Longitudinal and lateral jerk of each discrete action of jerks [m/s^3]."""

    jerk_range: Annotated[F32, "2 2"]
    """Smallest and largest jerk, longitudinal and lateral [m/s^3]."""

    action: Annotated[F32, "number column"]
    """Each discrete action, in the units of `state.dynamics`."""

    action_size: Annotated[F32, "column"]
    """The largest of each column, to either side."""
