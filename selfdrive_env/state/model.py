"""The structs that every stage of a step gets: what never changes, scenes too, and what does."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from selfdrive_env.state.arrays import F32, I32, I64, U8
from selfdrive_env.state.params import Counts, Draws, Params
from selfdrive_env.state.road import Grid, Lanes, Routes, Signs
from selfdrive_env.state.scratch import Scratch
from selfdrive_env.state.world import (
    Actions,
    Agents,
    Bodies,
    Lights,
    Motion,
    Output,
    Rows,
    Tallies,
    Worlds,
)

__all__ = ["Data", "Model", "Scenes"]

# Columns of Scenes.path.
PATH_X, PATH_Y, PATH_Z, PATH_COS, PATH_SIN, PATH_S, PATH_SPEED = range(7)
PATH_COLUMNS = 7

MOST_PATH_LINES = 8
"""Stop lines on a path that count, the first ones."""


class Scenes(NamedTuple):
    """Scenes one after the other, with room for as many agents and moments as the largest has.

    Lanes and segments are counted from the first of the scene's map; the first moment is the one
    at which an episode begins. Empty where worlds are drawn at random.
    """

    map: Annotated[I32, "scene"]
    dt: Annotated[F32, "scene"]
    """Between two moments [s]."""

    dt_ns: Annotated[I64, "scene"]
    """The same [ns]."""

    horizon: Annotated[I32, "scene"]
    """Moments after the first."""

    num_agents: Annotated[I32, "scene"]
    driver: Annotated[U8, "scene scene_agent"]
    """A `Driver`."""

    learner: Annotated[U8, "scene scene_agent"]
    type: Annotated[U8, "scene scene_agent"]
    """Row of `config.BODY_TYPES`."""

    length: Annotated[F32, "scene scene_agent"]
    """[m]"""

    width: Annotated[F32, "scene scene_agent"]
    """[m]"""

    segment: Annotated[I32, "scene scene_agent"]
    """Lane segment where the agent is at first."""

    num_goals: Annotated[I32, "scene scene_agent"]
    """At least one."""

    goal_lane: Annotated[I32, "scene scene_agent goal"]
    goal_s: Annotated[F32, "scene scene_agent goal"]
    """[m]"""

    goal_x: Annotated[F32, "scene scene_agent goal"]
    """[m]"""

    goal_y: Annotated[F32, "scene scene_agent goal"]
    there: Annotated[U8, "scene scene_agent moment"]
    """Whether a replayed agent is in the world; of others the first moment counts alone, as in the
    fields up to `speed`, which of one that steers for its record go on after it."""

    x: Annotated[F32, "scene scene_agent moment"]
    """Middle of the box, east [m]."""

    y: Annotated[F32, "scene scene_agent moment"]
    cos: Annotated[F32, "scene scene_agent moment"]
    """Heading."""

    sin: Annotated[F32, "scene scene_agent moment"]
    speed: Annotated[F32, "scene scene_agent moment"]
    """Along the heading, negative in reverse [m/s]."""

    num_lines: Annotated[I32, "scene"]
    """Stop lines that show what was recorded: all of the map, or 0 where lights have programs."""

    line_colour: Annotated[U8, "scene scene_line moment"]
    """A `Colour`, of the stop lines counted from the first of the map."""

    path: Annotated[F32, "scene scene_agent path_point path_column"]
    """Points of the ways of those who keep to their record, columns `PATH_*`: middle of the box x,
    y and elevation z [m], heading cos, sin; arc length s from the start [m]; speed that bends ahead
    allow there [m/s]."""

    path_points: Annotated[I32, "scene scene_agent"]
    """How many; 1 for one that stands."""

    path_pace: Annotated[F32, "scene scene_agent"]
    """The fastest that it was recorded at [m/s]."""

    path_line: Annotated[I32, "scene scene_agent path_line"]
    """Stop lines on the way, counted from the first of the map; -1 for none."""

    path_line_s: Annotated[F32, "scene scene_agent path_line"]
    """Where on it [m]."""


class Model(NamedTuple):
    """All that a step never changes: settings, the maps of the pool, scenes."""

    params: Params
    counts: Counts
    draws: Draws
    lanes: Lanes
    routes: Routes
    grid: Grid
    signs: Signs
    scenes: Scenes


class Data(NamedTuple):
    """All that a step changes: the worlds of a batch, its results, and working memory."""

    lights: Lights
    worlds: Worlds
    agents: Agents
    bodies: Bodies
    motion: Motion
    tallies: Tallies
    output: Output
    rows: Rows
    scratch: Scratch
    actions: Actions
