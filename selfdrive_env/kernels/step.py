"""The order of a step, and what Python calls: one compiled function for steps and resets.

actions -> lights -> drivers -> dynamics -> road -> collision -> stop lines -> right of way ->
route -> metrics -> reward -> last observation of finished rows -> placing -> observation. A step
has four parts, so has a reset: `advance_world`, `observe_wanted`, `settle_world`, `observe_wanted`.
The CPU loops them over worlds on threads; CUDA launches each with a block of threads a world.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import entry, njit
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import barrier, thread_index
from selfdrive_env.compiler.workers import ARGUMENTS, call_at, cycles, finish, stamp, take
from selfdrive_env.kernels.collision import collide
from selfdrive_env.kernels.drivers.scripted import drive
from selfdrive_env.kernels.dynamics.actions import take_actions
from selfdrive_env.kernels.dynamics.jerk_bicycle import advance_bodies
from selfdrive_env.kernels.events import begin_step, measure
from selfdrive_env.kernels.observation.outlook import note_last_outlook, note_outlook
from selfdrive_env.kernels.observation.rows import observe_wanted
from selfdrive_env.kernels.reward import give_rewards
from selfdrive_env.kernels.road import locate_agents
from selfdrive_env.kernels.route import follow_routes
from selfdrive_env.kernels.rows import (
    choose_reset_rows,
    choose_rows,
    clear_step,
    finish_rows,
    request_rows,
)
from selfdrive_env.kernels.rules.lights import advance_lights
from selfdrive_env.kernels.rules.right_of_way import check_right_of_way
from selfdrive_env.kernels.rules.stop_lines import check_stop_lines
from selfdrive_env.kernels.spawn import draw_world, place_agents, reset_slots
from selfdrive_env.state.model import Data, Model
from selfdrive_env.state.params import NEXT_STEP
from selfdrive_env.state.world import IDLE

__all__ = ["HOOKS", "MOST_HOOKS", "RESET", "STAGES", "STAGGERED", "STEP", "TASK", "run_worlds"]

STEP, RESET, STAGGERED = range(3)
"""Tasks of `run_worlds`: a step; a reset; a reset in which clocks get their head start."""

STAGES = (
    "lights",
    "drivers",
    "dynamics",
    "road",
    "collision",
    "stop lines",
    "route",
    "metrics",
    "reward",
    "finished rows",
    "placing",
    "observation",
)
"""Columns of `Scratch.cycles`, in the order of a step."""

(LIGHTS, DRIVERS, DYNAMICS, ROAD, COLLISION, STOP_LINES, ROUTE, METRICS, REWARD, FINISHED_ROWS,
    PLACING, OBSERVATION) = range(len(STAGES))  # fmt: skip

MODEL, DATA, TASK, STRIDE, HOOKS, FIRST_HOOK = range(ARGUMENTS, ARGUMENTS + 6)
"""Arguments of `run_worlds` among its control words: the addresses of the tables of `Model` and
`Data`; the task; how far apart workers are in `Scratch`; how many hooks there are, and from
`FIRST_HOOK` on the address of the code and of the table of each. A hook is called when the rows of
a world are written: hook(model, data, table, worker, world, task, part)."""

MOST_HOOKS = 8


@njit
def advance_world(model, data, worker, world):
    """First part of a step, up to the rows that it ends; wants their last observations."""
    worlds, scratch = data.worlds, data.scratch
    ended = worlds.ended[world] != 0
    tick = worlds.tick[world] + np.uint32(1)
    barrier()
    if thread_index() == 0:
        worlds.tick[world] = tick
        scratch.flags[worker, IDLE] = ended
    barrier()
    if ended:
        clear_step(model, data, worker, world)
        request_rows(scratch, worker, False)
        return
    begin_step(model, data, worker, world)
    take_actions(model, data, worker, world)
    now = cycles()
    advance_lights(model, data, worker, world)
    barrier()
    now = stamp(scratch, worker, LIGHTS, now)
    drive(model, data, worker, world)
    barrier()
    now = stamp(scratch, worker, DRIVERS, now)
    advance_bodies(model, data, worker, world)
    now = stamp(scratch, worker, DYNAMICS, now)
    locate_agents(model, data, worker, world)
    barrier()
    now = stamp(scratch, worker, ROAD, now)
    collide(model, data, worker, world)
    now = stamp(scratch, worker, COLLISION, now)
    check_stop_lines(model, data, worker, world)
    barrier()
    check_right_of_way(model, data, worker, world)
    barrier()
    now = stamp(scratch, worker, STOP_LINES, now)
    follow_routes(model, data, worker, world)
    barrier()
    now = stamp(scratch, worker, ROUTE, now)
    measure(model, data, worker, world)
    now = stamp(scratch, worker, METRICS, now)
    give_rewards(model, data, worker, world)
    if model.params.step_info != 0:
        note_last_outlook(data, worker, world)
    now = stamp(scratch, worker, REWARD, now)
    finish_rows(model, data, worker, world)
    stamp(scratch, worker, FINISHED_ROWS, now)


@njit
def settle_world(model, data, worker, world):
    """Last part of a step but the observation: places agents anew and wants everybody's rows."""
    params = model.params
    scratch = data.scratch
    if scratch.flags[worker, IDLE] != 0 and params.autoreset != NEXT_STEP:
        request_rows(scratch, worker, False)
        return
    now = cycles()
    if thread_index() == 0:
        if scratch.flags[worker, IDLE] != 0:
            draw_world(model, data, world, False)
        else:
            place_agents(model, data, world)
    barrier()
    if params.step_info != 0:
        note_outlook(data, worker, world)
    choose_rows(model, data, worker, world)
    stamp(scratch, worker, PLACING, now)


@njit
def begin_reset(model, data, worker, world):
    """Wants the rows of a world that a reset leaves as they are: written from the state before."""
    scratch = data.scratch
    if scratch.whole[world] != 0:
        request_rows(scratch, worker, False)
    else:
        choose_rows(model, data, worker, world)


@njit
def settle_reset(model, data, staggered, worker, world):
    """Resets the slots of a world that are chosen, all where it is whole, and wants their rows."""
    chosen, whole = data.scratch.chosen[world], data.scratch.whole[world] != 0
    touched = whole
    for agent in range(chosen.shape[0]):
        touched = touched or chosen[agent] != 0
    if touched and thread_index() == 0:
        reset_slots(model, data, staggered, world)
    barrier()
    if model.params.step_info != 0:  # of worlds as they are, too: a state may have come between
        note_outlook(data, worker, world)
    choose_reset_rows(data, touched, worker, world)


@entry
def run_worlds(control, worker):
    """Carries out a task, STEP, RESET or STAGGERED, in one world after the other.

    Resets read `chosen` and `whole` of `Scratch`.

    Args:
        control: Of compiler/workers.py, with the arguments `MODEL` and so on.
        worker: Number of the thread.
    """
    while True:
        world = take(control, worker)
        if world < 0:
            return
        model = struct_at(Model, control[MODEL])
        data = struct_at(Data, control[DATA])
        task, place = control[TASK], worker * control[STRIDE]
        if task == STEP:
            advance_world(model, data, place, world)
        else:
            begin_reset(model, data, place, world)
        for part in range(2):
            now = cycles()
            observe_wanted(model, data, place, world)
            stamp(data.scratch, place, FINISHED_ROWS if part == 0 else OBSERVATION, now)
            for hook in range(control[HOOKS]):
                code, table = control[FIRST_HOOK + 2 * hook], control[FIRST_HOOK + 2 * hook + 1]
                call_at(code, control[MODEL], control[DATA], table, place, world, task, part)
            if part == 1:
                continue
            if task == STEP:
                settle_world(model, data, place, world)
            else:
                settle_reset(model, data, task == STAGGERED, place, world)
        finish(control)
