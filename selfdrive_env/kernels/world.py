"""The order of a step, and what Python calls: one compiled function for steps and resets.

lights -> drivers -> dynamics -> road -> collision -> stop lines -> route -> metrics -> reward ->
last observation of finished rows -> placing -> observation. One compiled `step_world` is that list;
the CPU loops it over ranges of worlds on threads.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.kernels.clock import cycles, stamp
from selfdrive_env.kernels.collision import collide
from selfdrive_env.kernels.compiling import entry, njit
from selfdrive_env.kernels.drivers import drive
from selfdrive_env.kernels.dynamics import advance_bodies
from selfdrive_env.kernels.lights import advance_lights, check_stop_lines
from selfdrive_env.kernels.metrics import measure
from selfdrive_env.kernels.observation import clear_row, keep_row, observe_wanted
from selfdrive_env.kernels.parallel import ARGUMENTS, finish, take
from selfdrive_env.kernels.pointers import struct_at
from selfdrive_env.kernels.reward import give_rewards
from selfdrive_env.kernels.road import locate_agents
from selfdrive_env.kernels.route import follow_routes
from selfdrive_env.kernels.spawn import draw_world, place_agent
from selfdrive_env.params import Counts, Draws, Params
from selfdrive_env.state import (
    ABSENT,
    HALTED,
    NUM_COUNTS,
    NUM_TERMS,
    PRESENT,
    Agents,
    Bodies,
    Grid,
    Lanes,
    Lights,
    Motion,
    Output,
    Routes,
    Rows,
    Scratch,
    Signs,
    Tallies,
    Worlds,
)  # fmt: skip

__all__ = ["RESET", "STAGGERED", "STEP", "STRUCTS", "run_worlds"]

NEXT_STEP, SAME_STEP, DISABLED = range(3)

STEP, RESET, STAGGERED = range(3)
"""Tasks of `run_worlds`: a step; a reset; a reset in which clocks get their head start."""

STRUCTS = (
    Params, Counts, Draws, Lanes, Routes, Grid, Signs, Lights, Worlds, Agents, Bodies, Motion,
    Tallies, Output, Rows, Scratch,
)  # fmt: skip
"""Structs whose tables `run_worlds` gets, in this order."""


@njit
def finish_rows(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
    output, rows, scratch, worker, world,
):  # fmt: skip
    """Stage: rewards and flags of all rows, last observation and tallies of finished ones."""
    any_done = False
    for agent in range(agents.x.shape[1]):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        if row < 0:
            continue
        live = agents.status[world, agent] != ABSENT
        rows.reward[row] = output.reward[world, agent]
        rows.terminated[row] = output.terminated[world, agent]
        rows.truncated[row] = output.truncated[world, agent]
        done = output.terminated[world, agent] or output.truncated[world, agent]
        if not live or not done:
            continue
        for term in range(NUM_TERMS):
            rows.final_term[row, term] = tallies.term[world, agent, term]
        for count in range(NUM_COUNTS):
            rows.final_count[row, count] = tallies.count[world, agent, count]
        rows.final_distance[row] = tallies.distance[world, agent]
        rows.final_age[row] = agents.age[world, agent]
        scratch.wanted[worker, agent] = 2
        any_done = True
    if any_done:
        observe_wanted(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            rows, scratch, worker, world,
        )  # fmt: skip


@njit
def place_agents(
    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
    world,
):  # fmt: skip
    """Stage: re-places finished agents, or takes them out until they are due."""
    if worlds.ended[world] and params.autoreset == SAME_STEP:
        draw_world(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, world, False,
        )  # fmt: skip
        return
    for agent in range(worlds.num_agents[world]):
        done = output.terminated[world, agent] or output.truncated[world, agent]
        waited = output.waits[world, agent] != 0
        own_row = bodies.row[world, agent] >= 0
        if done and own_row and params.autoreset != SAME_STEP:
            agents.status[world, agent] = ABSENT
            output.waits[world, agent] = 1
            continue
        due = done or (waited and (not own_row or params.autoreset != DISABLED))
        if not due or worlds.ended[world]:
            continue
        output.waits[world, agent] = not place_agent(
            params, draws, lanes, routes, grid, signs, worlds, agents, bodies, tallies, world, agent
        )


@njit
def observe_rows(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, output,
    rows, scratch, worker, world,
):  # fmt: skip
    """Stage: observations of all rows whose agent is in the world, and their masks."""
    for agent in range(agents.x.shape[1]):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        if row < 0:
            continue
        status = agents.status[world, agent]
        rows.valid[row] = status != ABSENT
        same_step = params.autoreset == SAME_STEP
        kept = output.terminated[world, agent] or output.truncated[world, agent]
        placed = not same_step and status != ABSENT and agents.age[world, agent] == 0
        drives = status == PRESENT or (kept and not same_step)
        rows.learn[row] = drives and not placed and bodies.erratic[world, agent] == 0
        if status != ABSENT:
            scratch.wanted[worker, agent] = 1
            continue
        if kept and not same_step:
            rows.valid[row] = 1
        if same_step or not (kept or output.waits[world, agent]):
            clear_row(rows, row)
        else:
            keep_row(rows, row)
    observe_wanted(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, rows,
        scratch, worker, world,
    )  # fmt: skip


@njit
def begin_step(agents, output, scratch, worker, world):
    """Clears the events and notes who was halted before."""
    for agent in range(agents.x.shape[1]):
        output.event[world, agent] = 0
        scratch.halted[worker, agent] = agents.status[world, agent] == HALTED


@njit
def step_world(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, motion,
    tallies, output, rows, scratch, worker, world,
):  # fmt: skip
    """Advances one world by one step."""
    worlds.tick[world] += np.uint32(1)
    if worlds.ended[world]:
        clear_step(output, bodies, rows, world)
        if params.autoreset != NEXT_STEP:
            return
        draw_world(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, world, False,
        )  # fmt: skip
    else:
        advance_world(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            motion, tallies, output, rows, scratch, worker, world,
        )  # fmt: skip
    now = cycles()
    observe_rows(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, output,
        rows, scratch, worker, world,
    )  # fmt: skip
    stamp(scratch, worker, 11, now)


@njit
def clear_step(output, bodies, rows, world):
    """Clears what the last step gave: the world has ended and its rows have waited."""
    for agent in range(output.event.shape[1]):
        output.event[world, agent] = 0
        output.terminated[world, agent] = 0
        output.truncated[world, agent] = 0
        output.reward[world, agent] = 0
        for term in range(NUM_TERMS):
            output.term[world, agent, term] = 0
            output.weighted[world, agent, term] = 0
        row = bodies.row[world, agent]
        if row >= 0:
            rows.reward[row] = 0
            rows.terminated[row] = 0
            rows.truncated[row] = 0
            keep_row(rows, row)


@njit
def advance_world(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, motion,
    tallies, output, rows, scratch, worker, world,
):  # fmt: skip
    """All stages of a step but the observation."""
    begin_step(agents, output, scratch, worker, world)
    now = cycles()
    advance_lights(params, signs, lights, worlds, world)
    now = stamp(scratch, worker, 0, now)
    drive(
        params, lanes, routes, signs, lights, worlds, agents, bodies, motion, scratch, worker, world
    )
    now = stamp(scratch, worker, 1, now)
    advance_bodies(params, agents, bodies, motion, world)
    now = stamp(scratch, worker, 2, now)
    locate_agents(
        params, lanes, routes, grid, signs, worlds, agents, bodies, motion, output, scratch,
        worker, world,
    )  # fmt: skip
    now = stamp(scratch, worker, 3, now)
    collide(agents, bodies, motion, output, scratch, worker, world)
    now = stamp(scratch, worker, 4, now)
    check_stop_lines(lanes, grid, signs, lights, worlds, agents, bodies, motion, output, world)
    now = stamp(scratch, worker, 5, now)
    follow_routes(params, lanes, routes, worlds, agents, bodies, motion, output, world)
    now = stamp(scratch, worker, 6, now)
    measure(params, lanes, worlds, agents, motion, tallies, output, world)
    now = stamp(scratch, worker, 7, now)
    give_rewards(
        params, lanes, agents, bodies, motion, tallies, output, scratch.halted[worker], world
    )
    now = stamp(scratch, worker, 8, now)
    finish_rows(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
        output, rows, scratch, worker, world,
    )  # fmt: skip
    now = stamp(scratch, worker, 9, now)
    place_agents(
        params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
        world,
    )  # fmt: skip
    now = stamp(scratch, worker, 10, now)


@njit
def reset_world(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
    output, rows, scratch, staggered, worker, world,
):  # fmt: skip
    """Resets the slots of a world that are chosen in `scratch`, all where it is whole.

    The other rows stay as they are: they are written anew, from the state before the reset.
    """
    chosen, whole = scratch.chosen[world], scratch.whole[world] != 0
    touched = whole
    for agent in range(agents.x.shape[1]):
        touched = touched or chosen[agent] != 0
    if not whole:
        observe_rows(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            output, rows, scratch, worker, world,
        )  # fmt: skip
    if not touched:
        return
    worlds.tick[world] += np.uint32(1)
    if whole:
        draw_world(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, world, staggered,
        )  # fmt: skip
    for agent in range(agents.x.shape[1]):
        if not chosen[agent] and not (whole and bodies.row[world, agent] < 0):
            ended = output.terminated[world, agent] or output.truncated[world, agent]
            if whole and ended:
                agents.status[world, agent] = ABSENT
                output.waits[world, agent] = agent < worlds.num_agents[world]
            continue
        output.terminated[world, agent] = 0
        output.truncated[world, agent] = 0
        output.event[world, agent] = 0
        if not whole and agent < worlds.num_agents[world]:
            output.waits[world, agent] = not place_agent(
                params, draws, lanes, routes, grid, signs, worlds, agents, bodies, tallies, world,
                agent,
            )  # fmt: skip
    for agent in range(agents.x.shape[1]):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        fresh = whole and not output.waits[world, agent]
        if row < 0 or not (chosen[agent] or fresh):
            continue
        status = agents.status[world, agent]
        rows.valid[row] = status != ABSENT
        rows.learn[row] = status != ABSENT and bodies.erratic[world, agent] == 0
        if status != ABSENT:
            scratch.wanted[worker, agent] = 1
        else:
            clear_row(rows, row)
    observe_wanted(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, rows,
        scratch, worker, world,
    )  # fmt: skip


@entry
def run_worlds(board, worker):
    """Carries out a task, STEP, RESET or STAGGERED, in one world after the other.

    Resets read `chosen` and `whole` of `Scratch`.

    Args:
        board: Of kernels/parallel.py; its arguments are the addresses of the tables of `STRUCTS`,
            the task, and how far apart workers are in `Scratch`.
        worker: Number of the thread.
    """
    while True:
        world = take(board, worker)
        if world < 0:
            return
        tables = board[ARGUMENTS:]
        params, counts, draws = (
            struct_at(Params, tables[0]), struct_at(Counts, tables[1]), struct_at(Draws, tables[2])
        )  # fmt: skip
        lanes, routes, grid, signs = (
            struct_at(Lanes, tables[3]), struct_at(Routes, tables[4]), struct_at(Grid, tables[5]),
            struct_at(Signs, tables[6]),
        )  # fmt: skip
        lights, worlds, agents, bodies = (
            struct_at(Lights, tables[7]), struct_at(Worlds, tables[8]),
            struct_at(Agents, tables[9]), struct_at(Bodies, tables[10]),
        )  # fmt: skip
        motion, tallies, output, rows, scratch = (
            struct_at(Motion, tables[11]), struct_at(Tallies, tables[12]),
            struct_at(Output, tables[13]), struct_at(Rows, tables[14]),
            struct_at(Scratch, tables[15]),
        )  # fmt: skip
        task, row = tables[16], worker * tables[17]
        if task == STEP:
            step_world(
                params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
                motion, tallies, output, rows, scratch, row, world,
            )  # fmt: skip
        else:
            reset_world(
                params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
                tallies, output, rows, scratch, task == STAGGERED, row, world,
            )  # fmt: skip
        finish(board)
