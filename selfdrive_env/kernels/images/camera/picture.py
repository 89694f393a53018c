"""What cameras on bodies see: one picture of each row, from the arrays of the engine.

sky -> ground -> bridges, lights and signs -> shadows and bodies -> noise, and labels where they are
asked for. All is kept in a buffer of depths but the sky and level ground, which come first.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import entry, inline, njit
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.compiler.workers import ARGUMENTS, cycles, finish, take
from selfdrive_env.kernels.images.camera.bodies import (
    draw_bodies,
    draw_deck,
    draw_signs,
    light_roles,
)
from selfdrive_env.kernels.images.camera.eye import eye_of, slope_at, weather
from selfdrive_env.kernels.images.camera.ground import (
    draw_flat,
    draw_hills,
    draw_patch,
    draw_sky,
    draw_sun,
)
from selfdrive_env.kernels.math.random import DRAW_GRAIN, philox
from selfdrive_env.state.model import Data, Model
from selfdrive_env.state.scenery import (
    BLOCK_ENTRY,
    BLOCKS_X,
    BLOCKS_Y,
    DECK,
    FLAT,
    CameraView,
)
from selfdrive_env.state.world import ABSENT

__all__ = ["draw_row", "draw_worlds"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
FULL = np.float32(255.0)
CODES = 256
BLOCK_EDGE = np.float32(64.0)  # [m]
BRIDGE_REACH = np.float32(220.0)  # [m]
BYTE = np.uint32(255)
FOUR_BYTES_MEAN = np.float32(510.0)  # of the sum of four bytes
FOUR_BYTES_SPREAD = np.float32(1.0 / 147.8)  # 1 over its standard deviation

MODEL, DATA, VIEW = range(ARGUMENTS, ARGUMENTS + 3)
SKY, GROUND, THINGS, BODIES, STORE = range(5)


@njit
def light_ground(lit, scenery, air):
    """Fills in the colours of the ground under the sun."""
    for code in range(CODES):
        lit[code, 0] = min(np.float32(scenery.colour[code, 0]) * air.red, FULL)
        lit[code, 1] = min(np.float32(scenery.colour[code, 1]) * air.green, FULL)
        lit[code, 2] = min(np.float32(scenery.colour[code, 2]) * air.blue, FULL)


@njit
def draw_bridges(image, nearness, owner, touched, lit, role, scenery, map_index, eye, air):
    """Draws decks and walls of the bridges around."""
    layout = scenery.layout
    blocks_x = np.int64(layout[map_index, BLOCKS_X])
    blocks_y = np.int64(layout[map_index, BLOCKS_Y])
    first = np.int64(layout[map_index, BLOCK_ENTRY])
    if scenery.quad_first[first] == scenery.quad_first[first + blocks_x * blocks_y]:
        return
    x, y = eye.x - scenery.origin[map_index, 0], eye.y - scenery.origin[map_index, 1]
    left = np.int64(max(x - BRIDGE_REACH, ZERO) / BLOCK_EDGE)
    low = np.int64(max(y - BRIDGE_REACH, ZERO) / BLOCK_EDGE)
    right = min(np.int64(max(x + BRIDGE_REACH, ZERO) / BLOCK_EDGE), blocks_x - 1)
    high = min(np.int64(max(y + BRIDGE_REACH, ZERO) / BLOCK_EDGE), blocks_y - 1)
    for j in range(low, high + 1):
        for i in range(left, right + 1):
            block = first + j * blocks_x + i
            for quad in range(scenery.quad_first[block], scenery.quad_first[block + 1]):
                if scenery.quad_kind[quad] != DECK:
                    draw_deck(
                        image, nearness, owner, touched, scenery, role, eye, air, quad
                    )
                    continue
                deck = scenery.quad[quad]
                draw_patch(
                    image, nearness, owner, lit, scenery, 1, map_index, eye, air, 0,
                    deck[0], deck[1], deck[2], deck[3], deck[4], deck[5],
                    deck[6], deck[7], deck[8],
                )  # fmt: skip


@njit
def add_noise(image, noise, worlds, world, agent):
    """Adds independent noise, about normal, to all channels of a picture."""
    rows, columns, _ = image.shape
    key0, key1 = worlds.key[world, 0], worlds.key[world, 1]
    stream, tick = worlds.stream[world], worlds.tick[world]
    word = np.uint32(DRAW_GRAIN * 65536)
    number = (np.uint32(agent) + np.uint32(1)) << np.uint32(24)
    for row in range(rows):
        for column in range(columns):
            place = np.uint32(row * columns + column)
            a, b, c, _ = philox(number + place, stream, tick, word, key0, key1)
            image[row, column, 0] = with_noise(image[row, column, 0], a, noise)
            image[row, column, 1] = with_noise(image[row, column, 1], b, noise)
            image[row, column, 2] = with_noise(image[row, column, 2], c, noise)


@inline
def with_noise(value, bits, noise):
    """Returns a byte with noise, from the sum of the four bytes of a random word."""
    total = (bits & BYTE) + ((bits >> np.uint32(8)) & BYTE)
    total += ((bits >> np.uint32(16)) & BYTE) + (bits >> np.uint32(24))
    drawn = (np.float32(total) - FOUR_BYTES_MEAN) * FOUR_BYTES_SPREAD
    return np.uint8(min(max(np.float32(value) + noise * drawn + HALF, ZERO), FULL))


@njit
def write_labels(kind, agent, depth, box, nearness, owner, far):
    """Writes classes, agents and depths, and what is seen of each agent."""
    rows, columns = nearness.shape
    for other in range(box.shape[0]):
        for column in range(5):
            box[other, column] = -1
        box[other, 4] = 0
    for row in range(rows):
        for column in range(columns):
            code = owner[row, column]
            number = np.int64(code >> 8)
            kind[row, column] = np.uint8(code & 255)
            agent[row, column] = np.int32(number)
            close = nearness[row, column]
            depth[row, column] = far if close * far <= ONE else ONE / close
            if number == 0:
                continue
            other = number - 1
            if box[other, 4] == 0:
                box[other, 0] = column
                box[other, 1] = row
                box[other, 2] = column
            box[other, 0] = min(box[other, 0], np.int32(column))
            box[other, 2] = max(box[other, 2], np.int32(column))
            box[other, 3] = row
            box[other, 4] += 1


@inline
def stamp(shots, worker, stage, since):
    """Adds the cycles since `since` to a stage; returns the counter."""
    now = cycles()
    shots.cycles[worker, stage] += now - since
    return now


@njit
def draw_row(model, data, view, worker, world, agent, row):
    """Draws what an agent sees."""
    camera, scenery, shots = view.camera, view.scenery, view.shots
    agents, bodies = data.agents, data.bodies
    image, nearness = shots.image[row], shots.nearness[worker]
    labelled = camera.labelled != 0
    slot = worker if labelled else 0
    label = row if labelled else 0
    owner, touched = shots.owner[slot], shots.touched[slot]
    box = shots.box[label]
    lit, role = shots.lit[worker], shots.lit_role[worker]
    map_index = np.int64(data.worlds.map[world])

    now = cycles()
    air = weather(camera, data.worlds, world)
    cos, sin = agents.cos[world, agent], agents.sin[world, agent]
    half = HALF * bodies.wheelbase[world, agent]
    x, y = agents.x[world, agent] + half * cos, agents.y[world, agent] + half * sin
    slope = slope_at(model.lanes, np.int64(agents.segment[world, agent]))
    slope = slope * agents.angle_cos[world, agent]
    eye = eye_of(camera, x, y, agents.z[world, agent], cos, sin, slope)
    light_ground(lit, scenery, air)
    light_roles(scenery, role, air)
    draw_sky(image, nearness, owner, eye, air)
    if labelled:
        for line in range(touched.shape[0]):
            for column in range(touched.shape[1]):
                touched[line, column] = 0
        for other in range(box.shape[0]):
            box[other, 5] = 0
    now = stamp(shots, worker, SKY, now)
    if scenery.layout[map_index, FLAT] != 0:
        draw_flat(image, nearness, owner, lit, scenery, map_index, eye, air, 0)
    else:
        draw_hills(image, nearness, owner, lit, scenery, map_index, eye, air)
        draw_flat(image, nearness, owner, lit, scenery, map_index, eye, air, 1)
    draw_bridges(image, nearness, owner, touched, lit, role, scenery, map_index, eye, air)
    draw_sun(image, nearness, eye, air)
    now = stamp(shots, worker, GROUND, now)
    draw_bodies(image, nearness, owner, touched, box, model, data, scenery, role, eye, air,
        world, agent)  # fmt: skip
    now = stamp(shots, worker, BODIES, now)
    draw_signs(image, nearness, owner, touched, model, data, scenery, role, eye, air, world)
    now = stamp(shots, worker, THINGS, now)
    if camera.noise > ZERO:
        add_noise(image, camera.noise, data.worlds, world, agent)
    if labelled:
        write_labels(
            shots.kind[row], shots.agent[row], shots.depth[row], box, nearness, owner, camera.far
        )
    stamp(shots, worker, STORE, now)


@njit
def clear_row(view, row):
    """Empties the picture and the labels of a row without an agent."""
    shots = view.shots
    image = shots.image[row]
    for line in range(image.shape[0]):
        for column in range(image.shape[1]):
            for channel in range(3):
                image[line, column, channel] = 0
    if view.camera.labelled == 0:
        return
    for line in range(image.shape[0]):
        for column in range(image.shape[1]):
            shots.kind[row, line, column] = 0
            shots.agent[row, line, column] = 0
            shots.depth[row, line, column] = view.camera.far
    for other in range(shots.box.shape[1]):
        for column in range(6):
            shots.box[row, other, column] = -1 if column < 4 else 0


@njit
def draw_world(model, data, view, worker, world):
    """Draws what all rows of a world see."""
    for agent in range(thread_index(), data.agents.x.shape[1], block_size()):
        row = np.int64(data.bodies.row[world, agent])
        if row < 0:
            continue
        if data.agents.status[world, agent] == ABSENT:
            clear_row(view, row)
        else:
            draw_row(model, data, view, worker, world, agent, row)


@entry
def draw_worlds(control, worker):
    """Draws one world after the other.

    Args:
        control: Of compiler/workers.py, with the addresses of `Model`, `Data` and `CameraView`.
        worker: Number of the thread.
    """
    while True:
        world = take(control, worker)
        if world < 0:
            return
        model = struct_at(Model, control[MODEL])
        data = struct_at(Data, control[DATA])
        view = struct_at(CameraView, control[VIEW])
        draw_world(model, data, view, worker, world)
        finish(control)
