"""Which rows are written, and what the caller sees beside observations: rewards, flags, tallies."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import any_thread, barrier, block_size, thread_index
from selfdrive_env.kernels.observation.rows import clear_row, keep_row
from selfdrive_env.kernels.spawn import placed_at_once
from selfdrive_env.state.params import NEXT_STEP
from selfdrive_env.state.rewards import NUM_TERMS
from selfdrive_env.state.world import (
    ABSENT,
    EXTERNAL,
    NUM_COUNTS,
    PRESENT,
    REQUESTED,
    STANDING,
    RowRequest,
)

__all__ = ["choose_reset_rows", "choose_rows", "clear_step", "finish_rows", "request_rows"]

NO_ROW, OBSERVATION, LAST_OBSERVATION = (int(request) for request in RowRequest)

KM = np.float32(1.0e-3)  # [km/m]


@njit
def request_rows(scratch, worker, wanted):
    """Notes whether any row of a world is wanted; every thread says so for its own agents."""
    wanted = any_thread(wanted)
    if thread_index() == 0:
        scratch.flags[worker, REQUESTED] = wanted
    barrier()


@inline
def shows_agent(status):
    """Whether a row shows its agent; those of bodies that are broken down are empty."""
    return status != ABSENT and status != STANDING


@inline
def is_observed(bodies, world, agent):
    """Whether a row shows its agent in this scene: one to learn from, or whom actions drive."""
    return bodies.learner[world, agent] != 0 or bodies.driver[world, agent] == EXTERNAL


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
def finish_rows(model, data, worker, world):
    """Stage: rewards and flags of all rows, tallies of finished ones, whose last rows it wants."""
    agents, bodies, tallies, output = data.agents, data.bodies, data.tallies, data.output
    rows, scratch = data.rows, data.scratch
    any_done = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        scratch.request[worker, agent] = NO_ROW
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
        scratch.request[worker, agent] = LAST_OBSERVATION
        any_done = True
    request_rows(scratch, worker, any_done)


@njit
def choose_rows(model, data, worker, world):
    """Wants the observations of all rows whose agent is in the world, and writes their masks."""
    params = model.params
    agents, bodies, output, rows = data.agents, data.bodies, data.output, data.rows
    scratch = data.scratch
    wanted = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        scratch.request[worker, agent] = NO_ROW
        row = bodies.row[world, agent]
        if row < 0:
            continue
        status = agents.status[world, agent]
        here = shows_agent(status) and is_observed(bodies, world, agent)
        rows.valid[row] = here
        at_once = placed_at_once(params, bodies, world, agent)
        kept = output.terminated[world, agent] or output.truncated[world, agent]
        placed = params.autoreset == NEXT_STEP and agents.age[world, agent] == 0
        placed = placed and here
        drives = status == PRESENT or (kept and not at_once)
        rows.learn[row] = drives and not placed and bodies.erratic[world, agent] == 0
        if here:
            scratch.request[worker, agent] = OBSERVATION
            wanted = True
            continue
        if kept and not at_once:
            rows.valid[row] = 1
        if at_once or not (kept or output.awaiting_reset[world, agent]):
            clear_row(rows, row)
        else:
            keep_row(rows, row)
    request_rows(scratch, worker, wanted)


@njit
def clear_step(model, data, worker, world):
    """Clears what the last step gave: the world has ended and its rows have waited."""
    bodies, output, rows = data.bodies, data.output, data.rows
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
def choose_reset_rows(data, touched, worker, world):
    """Wants the rows of all slots that a reset has started, if it has `touched` the world."""
    agents, bodies, output, rows = data.agents, data.bodies, data.output, data.rows
    scratch = data.scratch
    chosen, whole = scratch.chosen[world], scratch.whole[world] != 0
    wanted = False
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        scratch.request[worker, agent] = NO_ROW
        row = bodies.row[world, agent]
        drawn = bodies.learner[world, agent] == 0 or not output.awaiting_reset[world, agent]
        if not touched or row < 0 or not (chosen[agent] or (whole and drawn)):
            continue
        here = shows_agent(agents.status[world, agent]) and is_observed(bodies, world, agent)
        rows.valid[row] = here
        rows.learn[row] = here and bodies.erratic[world, agent] == 0
        if here:
            scratch.request[worker, agent] = OBSERVATION
            wanted = True
        else:
            clear_row(rows, row)
    request_rows(scratch, worker, wanted)
