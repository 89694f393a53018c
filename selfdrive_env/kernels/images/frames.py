"""Which frames are drawn, kept or emptied, as rows of numbers are; the history of each row.

A frame goes into a ring of each row. What the caller gets is put together from the ring at each
step, so that a picture of a row that waits for its reset stays as it was.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_lane, warp_size
from selfdrive_env.kernels.rows import is_observed, shows_agent
from selfdrive_env.kernels.spawn import placed_at_once
from selfdrive_env.kernels.step import STEP
from selfdrive_env.state.images import EMPTY
from selfdrive_env.state.params import NEXT_STEP
from selfdrive_env.state.world import IDLE, REQUESTED, RowRequest

__all__ = ["CLEAR", "DRAW", "KEEP", "LAST", "SKIP", "clear_frames", "fate_of", "next_frame",
    "note_frame"]  # fmt: skip

NO_ROW, OBSERVATION, LAST_OBSERVATION = (int(request) for request in RowRequest)

SKIP, DRAW, LAST, KEEP, CLEAR = range(5)
"""What becomes of the picture of a row: nothing; a new frame; the last frame of an episode; it is
shown once more; it is empty."""


@njit
def fate_of(model, data, worker, world, agent, task, part):
    """Returns what becomes of a row's picture after `observe_wanted`, as of its numbers.

    Args:
        model: Of the batch.
        data: Of the batch; `scratch.request` is what rows of numbers were written by.
        worker: Who works.
        world: Which.
        agent: One of its learners.
        task: Of `run_worlds`.
        part: 0: after the first part of a step or reset, 1: after the last.
    """
    scratch = data.scratch
    request = scratch.request[worker, agent]
    if scratch.flags[worker, REQUESTED] == 0:  # then requests are those of another world
        request = NO_ROW
    if task == STEP and part == 0:
        return LAST if request == LAST_OBSERVATION else SKIP
    if request == OBSERVATION:
        return DRAW
    if task == STEP:
        if scratch.flags[worker, IDLE] != 0 and model.params.autoreset != NEXT_STEP:
            return KEEP
        return fate_of_absent(model, data, world, agent)
    if part == 0:  # of worlds that are drawn anew nothing is written here
        return SKIP if scratch.whole[world] != 0 else fate_of_absent(model, data, world, agent)
    return fate_in_reset(data, world, agent)


@njit
def fate_of_absent(model, data, world, agent):
    """Returns whether the picture of a row that shows no agent is kept or empty."""
    output = data.output
    at_once = placed_at_once(model.params, data.bodies, world, agent)
    ended = output.terminated[world, agent] or output.truncated[world, agent]
    if at_once or not (ended or output.awaiting_reset[world, agent]):
        return CLEAR
    return KEEP


@njit
def fate_in_reset(data, world, agent):
    """Returns what becomes of the picture of a row that a reset does not draw."""
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    whole = scratch.whole[world] != 0
    drawn = bodies.learner[world, agent] == 0 or not data.output.awaiting_reset[world, agent]
    here = shows_agent(agents.status[world, agent]) and is_observed(bodies, world, agent)
    if scratch.chosen[world, agent] != 0 or (whole and drawn):
        return SKIP if here else CLEAR
    return KEEP if whole else SKIP


@inline
def next_frame(frames, row, age):
    """Returns the place in a row's ring that a new frame is drawn at.

    A frame of the same moment is drawn over, and so is any where an episode begins.

    Args:
        frames: `Frames` of the view.
        row: Of the view.
        age: Of the agent; an episode begins with 0.
    """
    place = np.int64(frames.newest[row])
    if age != 0 and frames.age[row] != age:
        place += 1
        if place == frames.code.shape[1]:
            place = np.int64(0)
    return place


@inline
def note_frame(frames, row, place, age):
    """Makes a frame that is drawn the newest; the first one stands for all before it, too."""
    for other in range(frames.code.shape[1]):
        if age == 0 and other != place:
            for entry in range(warp_lane(), frames.code.shape[2], warp_size()):
                frames.code[row, other, entry] = frames.code[row, place, entry]
    if warp_lane() == 0:
        frames.newest[row] = np.int32(place)
        frames.age[row] = age


@inline
def clear_frames(frames, row):
    """Empties the frames of a row."""
    for place in range(frames.code.shape[1]):
        for entry in range(warp_lane(), frames.code.shape[2], warp_size()):
            frames.code[row, place, entry] = EMPTY
