"""The order of a step, and what Python calls: one compiled function for steps and resets.

actions -> lights -> drivers -> dynamics -> road -> collision -> stop lines -> route -> metrics ->
reward -> last observation of finished rows -> placing -> observation. A step has four parts, so has
a reset: `advance_world`, `observe_wanted`, `settle_world`, `observe_wanted`. The CPU loops them
over worlds on threads; CUDA launches each with a block of threads a world.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.cycles import cycles, stamp
from selfdrive_env.compiler.njit import entry, inline, njit
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import (
    any_thread,
    barrier,
    block_size,
    thread_index,
)
from selfdrive_env.compiler.workers import ARGUMENTS, finish, take
from selfdrive_env.kernels.collision import collide
from selfdrive_env.kernels.drivers.idm import drive
from selfdrive_env.kernels.dynamics.actions import take_actions
from selfdrive_env.kernels.dynamics.jerk_bicycle import advance_bodies
from selfdrive_env.kernels.events import measure
from selfdrive_env.kernels.lights import advance_lights, check_stop_lines
from selfdrive_env.kernels.observation.rows import clear_row, keep_row, observe_wanted
from selfdrive_env.kernels.reward import give_rewards
from selfdrive_env.kernels.road import locate_agents
from selfdrive_env.kernels.route import follow_routes
from selfdrive_env.kernels.spawn import draw_world, place_agent
from selfdrive_env.state.params import Counts, Draws, Params
from selfdrive_env.state.road import (
    Grid,
    Lanes,
    Routes,
    Signs,
)
from selfdrive_env.state.world import (
    ABSENT,
    ASKED,
    HALTED,
    IDLE,
    NUM_COUNTS,
    NUM_TERMS,
    PRESENT,
    Actions,
    Agents,
    Bodies,
    Lights,
    Motion,
    Output,
    Rows,
    Scratch,
    Tallies,
    Worlds,
)

__all__ = ["RESET", "STAGGERED", "STEP", "STRUCTS", "run_worlds"]

NEXT_STEP, SAME_STEP, DISABLED = range(3)

KM = np.float32(1.0e-3)
STEP, RESET, STAGGERED = range(3)
"""Tasks of `run_worlds`: a step; a reset; a reset in which clocks get their head start."""

STRUCTS = (
    Params, Counts, Draws, Lanes, Routes, Grid, Signs, Lights, Worlds, Agents, Bodies, Motion,
    Tallies, Output, Rows, Scratch, Actions,
)  # fmt: skip
"""Structs whose tables `run_worlds` gets, in this order."""


@njit
def ask(scratch, worker, wanted):
    """Notes whether any row of a world is wanted; every thread says so for its own agents."""
    wanted = any_thread(wanted)
    if thread_index() == 0:
        scratch.note[worker, ASKED] = wanted
    barrier()


@inline
def forget_finals(rows, row):
    """Zeroes the tallies of a row whose episode ended in the step before."""
    if rows.final_age[row] == 0:
        return
    rows.final_age[row] = 0
    rows.final_km[row] = 0
    for term in range(NUM_TERMS):
        rows.final_term[row, term] = 0
    for count in range(NUM_COUNTS):
        rows.final_count[row, count] = 0


@njit
def finish_rows(worlds, agents, bodies, tallies, output, rows, scratch, worker, world):
    """Stage: rewards and flags of all rows, tallies of finished ones, whose last rows it wants."""
    any_done = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
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
            forget_finals(rows, row)
            continue
        for term in range(NUM_TERMS):
            rows.final_term[row, term] = tallies.term[world, agent, term]
        for count in range(NUM_COUNTS):
            rows.final_count[row, count] = tallies.count[world, agent, count]
        rows.final_km[row] = tallies.distance[world, agent] * KM
        rows.final_age[row] = agents.age[world, agent]
        scratch.wanted[worker, agent] = 2
        any_done = True
    ask(scratch, worker, any_done)


@inline
def placed_at_once(params, bodies, world, agent):
    """Whether an agent whose episode ends is placed again in the same step.

    In NextStep who has a row shows its last observation first; in Disabled only learners wait, for
    the caller.
    """
    if params.autoreset == NEXT_STEP:
        return bodies.row[world, agent] < 0
    return params.autoreset == SAME_STEP or bodies.learner[world, agent] == 0


@njit
def place_agents(
    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
    world,
):  # fmt: skip
    """Stage: re-places finished agents, or takes them out until they are due.

    One thread does it, slot by slot: where an agent may start depends on those before it.
    """
    if worlds.ended[world] and params.autoreset == SAME_STEP:
        draw_world(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, world, False,
        )  # fmt: skip
        return
    for agent in range(worlds.num_agents[world]):
        done = output.terminated[world, agent] or output.truncated[world, agent]
        waited = output.waits[world, agent] != 0
        at_once = placed_at_once(params, bodies, world, agent)
        if done and not at_once:
            agents.status[world, agent] = ABSENT
            output.waits[world, agent] = 1
            continue
        due = done or (waited and (at_once or params.autoreset == NEXT_STEP))
        if not due or worlds.ended[world]:
            continue
        output.waits[world, agent] = not place_agent(
            params, draws, lanes, routes, grid, signs, worlds, agents, bodies, tallies, world, agent
        )


@njit
def choose_rows(params, agents, bodies, output, rows, scratch, worker, world):
    """Wants the observations of all rows whose agent is in the world, and writes their masks."""
    wanted = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        if row < 0:
            continue
        status = agents.status[world, agent]
        rows.valid[row] = status != ABSENT
        at_once = placed_at_once(params, bodies, world, agent)
        kept = output.terminated[world, agent] or output.truncated[world, agent]
        placed = params.autoreset == NEXT_STEP and agents.age[world, agent] == 0
        placed = placed and status != ABSENT
        drives = status == PRESENT or (kept and not at_once)
        rows.learn[row] = drives and not placed and bodies.erratic[world, agent] == 0
        if status != ABSENT:
            scratch.wanted[worker, agent] = 1
            wanted = True
            continue
        if kept and not at_once:
            rows.valid[row] = 1
        if at_once or not (kept or output.waits[world, agent]):
            clear_row(rows, row)
        else:
            keep_row(rows, row)
    ask(scratch, worker, wanted)


@njit
def begin_step(agents, output, scratch, worker, world):
    """Clears the events and notes who was halted before."""
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        output.event[world, agent] = 0
        scratch.halted[worker, agent] = agents.status[world, agent] == HALTED


@njit
def clear_step(output, bodies, rows, world):
    """Clears what the last step gave: the world has ended and its rows have waited."""
    for agent in range(thread_index(), output.event.shape[1], block_size()):
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
            forget_finals(rows, row)
            keep_row(rows, row)


@njit
def advance_world(
    params, draws, actions, lanes, routes, grid, signs, lights, worlds, agents, bodies, motion,
    tallies, output, rows, scratch, worker, world,
):  # fmt: skip
    """First part of a step, up to the rows that it ends; wants their last observations."""
    ended = worlds.ended[world] != 0
    tick = worlds.tick[world] + np.uint32(1)
    barrier()
    if thread_index() == 0:
        worlds.tick[world] = tick
        scratch.note[worker, IDLE] = ended
    barrier()
    if ended:
        clear_step(output, bodies, rows, world)
        ask(scratch, worker, False)
        return
    begin_step(agents, output, scratch, worker, world)
    take_actions(draws, actions, bodies, motion, world)
    now = cycles()
    advance_lights(params, signs, lights, worlds, world)
    barrier()
    now = stamp(scratch, worker, 0, now)
    drive(
        params, lanes, routes, signs, lights, worlds, agents, bodies, motion, scratch, worker, world
    )
    barrier()
    now = stamp(scratch, worker, 1, now)
    advance_bodies(params, agents, bodies, motion, world)
    now = stamp(scratch, worker, 2, now)
    locate_agents(
        params, lanes, routes, grid, signs, worlds, agents, bodies, motion, output, scratch,
        worker, world,
    )  # fmt: skip
    barrier()
    now = stamp(scratch, worker, 3, now)
    collide(agents, bodies, motion, output, scratch, worker, world)
    now = stamp(scratch, worker, 4, now)
    check_stop_lines(lanes, grid, signs, lights, worlds, agents, bodies, motion, output, world)
    now = stamp(scratch, worker, 5, now)
    follow_routes(params, lanes, routes, worlds, agents, bodies, motion, output, world)
    barrier()
    now = stamp(scratch, worker, 6, now)
    measure(params, lanes, worlds, agents, motion, tallies, output, world)
    now = stamp(scratch, worker, 7, now)
    give_rewards(
        params, lanes, agents, bodies, motion, tallies, output, scratch.halted[worker], world
    )
    now = stamp(scratch, worker, 8, now)
    finish_rows(worlds, agents, bodies, tallies, output, rows, scratch, worker, world)
    stamp(scratch, worker, 9, now)


@njit
def settle_world(
    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
    rows, scratch, worker, world,
):  # fmt: skip
    """Last part of a step but the observation: places agents anew and wants everybody's rows."""
    if scratch.note[worker, IDLE] != 0 and params.autoreset != NEXT_STEP:
        ask(scratch, worker, False)
        return
    now = cycles()
    if thread_index() == 0:
        if scratch.note[worker, IDLE] != 0:
            draw_world(
                params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
                output, world, False,
            )  # fmt: skip
        else:
            place_agents(
                params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
                output, world,
            )  # fmt: skip
    barrier()
    choose_rows(params, agents, bodies, output, rows, scratch, worker, world)
    stamp(scratch, worker, 10, now)


@njit
def begin_reset(params, agents, bodies, output, rows, scratch, worker, world):
    """Wants the rows of a world that a reset leaves as they are: written from the state before."""
    if scratch.whole[world] != 0:
        ask(scratch, worker, False)
    else:
        choose_rows(params, agents, bodies, output, rows, scratch, worker, world)


@njit
def reset_slots(
    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
    scratch, staggered, world,
):  # fmt: skip
    """Starts new episodes of the slots of a world that are chosen in `scratch`, slot by slot."""
    chosen, whole = scratch.chosen[world], scratch.whole[world] != 0
    worlds.tick[world] += np.uint32(1)
    if whole:
        draw_world(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, world, staggered,
        )  # fmt: skip
    for agent in range(agents.x.shape[1]):
        if not chosen[agent] and not (whole and bodies.learner[world, agent] == 0):
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


@njit
def settle_reset(
    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
    rows, scratch, staggered, worker, world,
):  # fmt: skip
    """Resets the slots of a world that are chosen, all where it is whole, and wants their rows."""
    chosen, whole = scratch.chosen[world], scratch.whole[world] != 0
    touched = whole
    for agent in range(agents.x.shape[1]):
        touched = touched or chosen[agent] != 0
    if touched and thread_index() == 0:
        reset_slots(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, scratch, staggered, world,
        )  # fmt: skip
    barrier()
    wanted = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        drawn = bodies.learner[world, agent] == 0 or not output.waits[world, agent]
        if not touched or row < 0 or not (chosen[agent] or (whole and drawn)):
            continue
        status = agents.status[world, agent]
        rows.valid[row] = status != ABSENT
        rows.learn[row] = status != ABSENT and bodies.erratic[world, agent] == 0
        if status != ABSENT:
            scratch.wanted[worker, agent] = 1
            wanted = True
        else:
            clear_row(rows, row)
    ask(scratch, worker, wanted)


@entry
def run_worlds(board, worker):
    """Carries out a task, STEP, RESET or STAGGERED, in one world after the other.

    Resets read `chosen` and `whole` of `Scratch`.

    Args:
        board: Of compiler/workers.py; its arguments are the addresses of the tables of `STRUCTS`,
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
        motion, tallies, output, rows, scratch, actions = (
            struct_at(Motion, tables[11]), struct_at(Tallies, tables[12]),
            struct_at(Output, tables[13]), struct_at(Rows, tables[14]),
            struct_at(Scratch, tables[15]), struct_at(Actions, tables[16]),
        )  # fmt: skip
        task, row = tables[17], worker * tables[18]
        if task == STEP:
            advance_world(
                params, draws, actions, lanes, routes, grid, signs, lights, worlds, agents, bodies,
                motion, tallies, output, rows, scratch, row, world,
            )  # fmt: skip
        else:
            begin_reset(params, agents, bodies, output, rows, scratch, row, world)
        for part in range(2):
            now = cycles()
            observe_wanted(
                params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
                rows, scratch, row, world,
            )  # fmt: skip
            stamp(scratch, row, 9 if part == 0 else 11, now)
            if part == 1:
                continue
            if task == STEP:
                settle_world(
                    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
                    tallies, output, rows, scratch, row, world,
                )  # fmt: skip
            else:
                settle_reset(
                    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
                    tallies, output, rows, scratch, task == STAGGERED, row, world,
                )  # fmt: skip
        finish(board)
