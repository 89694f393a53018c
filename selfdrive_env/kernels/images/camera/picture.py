"""What cameras on bodies see: one frame of each row, from the arrays of the engine.

sky -> ground -> bridges -> shadows and bodies -> lights and signs -> noise, and labels where they
are asked for. All is kept in a buffer of depths but the sky and level ground, which come first.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import entry, inline, njit
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import (
    num_warps,
    thread_index,
    warp_barrier,
    warp_index,
    warp_lane,
    warp_size,
)
from selfdrive_env.compiler.workers import cycles
from selfdrive_env.kernels.images.camera.bodies import draw_bodies, light_colours
from selfdrive_env.kernels.images.camera.eye import eye_of, slope_at, weather
from selfdrive_env.kernels.images.camera.faces import Canvas
from selfdrive_env.kernels.images.camera.ground import (
    draw_far,
    draw_flat,
    draw_hills,
    draw_sky,
    draw_sun,
)
from selfdrive_env.kernels.images.camera.labels import clear_labels, write_labels
from selfdrive_env.kernels.images.camera.noise import add_noise
from selfdrive_env.kernels.images.camera.store import empty_frames, keep_codes, store_frame
from selfdrive_env.kernels.images.camera.things import draw_bridges, draw_signs
from selfdrive_env.kernels.images.frames import (
    CLEAR,
    KEEP,
    LAST,
    SKIP,
    fate_of,
    next_frame,
    note_frame,
)
from selfdrive_env.state.camera.scenery import FLAT
from selfdrive_env.state.camera.shots import BOX_ALONE, CAMERA_STAGES, CameraView
from selfdrive_env.state.model import Data, Model

__all__ = ["draw_camera", "draw_one", "draw_world"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
LOWEST = np.float32(0.2)  # the camera is at least so far above level ground [m]
ENDLESS = np.float32(1.0e30)  # no ground is so far below the camera [m]
SKY, GROUND, BODIES, THINGS, STORE = range(len(CAMERA_STAGES))


@inline
def stamp(shots, worker, stage, since):
    """Adds the cycles since `since` to a stage; returns the counter."""
    now = cycles()
    if thread_index() == 0:
        shots.cycles[worker, stage] += now - since
    return now


@njit
def draw_frame(model, data, view, image, worker, world, agent, row):
    """Draws what an agent sees.

    Args:
        model: Of the batch.
        data: Of the batch.
        view: `CameraView`.
        image: Red, green and blue of all pixels, [3 H W].
        worker: Place in `Shots` to work at.
        world: Which.
        agent: One of its learners.
        row: Of the view.
    """
    camera, scenery, shots = view.camera, view.scenery, view.shots
    agents, bodies = data.agents, data.bodies
    labelled = np.int64(camera.labelled) != 0
    nearness, lit, role = shots.nearness[worker], shots.lit[worker], shots.lit_role[worker]
    owner = shots.owner[worker if labelled else 0]
    touched = shots.touched[worker if labelled else 0]
    canvas = Canvas(image, nearness, owner, touched)
    box = shots.box[row if labelled else 0]
    map_index = np.int64(data.worlds.map[world])

    now = cycles()
    air = weather(camera, data.worlds, world)
    cos, sin = agents.cos[world, agent], agents.sin[world, agent]
    half = HALF * bodies.wheelbase[world, agent]
    x, y = agents.x[world, agent] + half * cos, agents.y[world, agent] + half * sin
    slope = slope_at(model.lanes, np.int64(agents.segment[world, agent]))
    slope = slope * agents.angle_cos[world, agent]
    eye = eye_of(camera, x, y, agents.z[world, agent], cos, sin, slope)
    light_colours(lit, scenery.colour, air)
    light_colours(role, scenery.role, air)
    above = max(eye.z - scenery.level[map_index], LOWEST)
    flat = np.int64(scenery.layout[map_index, FLAT]) != 0
    draw_sky(canvas, eye, air, above if flat else ENDLESS)
    for pixel in range(warp_lane(), touched.shape[0], warp_size()):
        touched[pixel] = 0
    for other in range(warp_lane(), box.shape[0], warp_size()):
        box[other, BOX_ALONE] = 0
    now = stamp(shots, worker, SKY, now)

    if flat:
        draw_flat(canvas, lit, scenery, map_index, eye, air, above)
    else:
        draw_hills(canvas, lit, scenery, map_index, eye, air)
        draw_far(canvas, lit, scenery, eye, air, above)
        draw_bridges(canvas, lit, role, scenery, map_index, eye, air)
    draw_sun(canvas, eye, air)
    now = stamp(shots, worker, GROUND, now)
    draw_bodies(canvas, box, model, data, scenery, role, eye, air, world, agent)
    now = stamp(shots, worker, BODIES, now)
    draw_signs(canvas, model, data, scenery, role, eye, air, world)
    now = stamp(shots, worker, THINGS, now)
    if camera.noise > ZERO:
        add_noise(image, camera.noise, data.worlds, world, agent)
    if labelled:
        write_labels(
            shots.kind[row], shots.agent[row], shots.depth[row], box, nearness, owner, camera.far
        )
    stamp(shots, worker, STORE, now)


@njit
def draw_row(model, data, view, worker, world, agent, row, place):
    """Draws a frame into the ring of a row, as its colours are kept there."""
    camera, shots = view.camera, view.shots
    code = view.frames.code[row, place]
    if shots.canvas.shape[1] == 0:
        draw_frame(model, data, view, code, worker, world, agent, row)
        return
    draw_frame(model, data, view, shots.canvas[worker], worker, world, agent, row)
    keep_codes(code, shots.canvas[worker], shots.owner[worker if camera.labelled != 0 else 0])


@njit
def draw_world(model, data, view, worker, world, task, part):
    """Draws the pictures of a world whose rows of numbers have been written.

    Args:
        model: Of the batch.
        data: Of the batch.
        view: Its frames get the pictures.
        worker: Who works.
        world: Which.
        task: Of `run_worlds`.
        part: 0: after the first part of a step or reset, 1: after the last.
    """
    frames, camera = view.frames, view.camera
    learners = np.int64(camera.learners)
    place_of_work = worker * num_warps() + warp_index()
    for agent in range(warp_index(), learners, num_warps()):
        fate = fate_of(model, data, worker, world, agent, task, part)
        if fate == SKIP:
            continue
        row = world * learners + agent
        if fate == CLEAR:
            empty_frames(frames, row)
            if camera.labelled != 0:
                clear_labels(view.shots, row, camera.far)
        elif fate != KEEP:
            age = data.agents.age[world, agent]
            place = next_frame(frames, row, age)
            draw_row(model, data, view, place_of_work, world, agent, row, place)
            warp_barrier()
            note_frame(frames, row, place, age)
        warp_barrier()
        now = cycles()
        store_frame(frames, row, camera, fate == LAST)
        stamp(view.shots, place_of_work, STORE, now)


@entry
def draw_camera(model, data, view, worker, world, task, part):
    """Hook of `run_worlds`; see there."""
    draw_world(
        struct_at(Model, model), struct_at(Data, data), struct_at(CameraView, view), worker, world,
        task, part,
    )  # fmt: skip


@entry
def draw_one(model, data, view, world, agent):
    """Draws what one agent sees into the first frame of a view of a single row."""
    view = struct_at(CameraView, view)
    image = view.frames.code[0, 0]
    draw_frame(struct_at(Model, model), struct_at(Data, data), view, image, 0, world, agent, 0)
