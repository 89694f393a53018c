"""The two structs that every stage of a step gets: what never changes, and what does."""

from __future__ import annotations

from typing import NamedTuple

from selfdrive_env.state.params import Counts, Draws, Params
from selfdrive_env.state.road import Grid, Lanes, Routes, Signs
from selfdrive_env.state.scenes import Scenes
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

__all__ = ["Data", "Model"]


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
