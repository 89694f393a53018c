"""The road from above, as an agent sees it: ground, own route, lights, goals, bodies.

Drawn are the map, the lights, all bodies near, and what is the ego's own: its route, its goals and
its body. Nothing else of the state reaches a picture.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import entry, inline, njit
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import (
    block_size,
    num_warps,
    thread_index,
    warp_barrier,
    warp_index,
)
from selfdrive_env.compiler.workers import cycles
from selfdrive_env.kernels.drivers.erratic import sees_nobody
from selfdrive_env.kernels.images.frames import (
    CLEAR,
    KEEP,
    LAST,
    SKIP,
    clear_frames,
    fate_of,
    next_frame,
    note_frame,
)
from selfdrive_env.kernels.images.shapes import fill_box, fill_disc
from selfdrive_env.kernels.images.store import store_picture
from selfdrive_env.kernels.images.tiles import sample_ground, walk_of
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.observation.crowd import (
    COS,
    HALF_LENGTH,
    HALF_WIDTH,
    KIND,
    SIN,
    X,
    Y,
    Z,
)
from selfdrive_env.kernels.observation.kept_way import STRETCHES
from selfdrive_env.kernels.observation.way import (
    WAY_COS,
    WAY_POINTS,
    WAY_SIN,
    WAY_STEP,
    WAY_X,
    WAY_Y,
    lay_way,
)
from selfdrive_env.kernels.surface import cell_at, point_on_surface
from selfdrive_env.state.images import PICTURE_STAGES, Code, View
from selfdrive_env.state.model import Data, Model
from selfdrive_env.state.road import (
    LEVEL_HEIGHT,
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_X0,
    LINE_X1,
    LINE_Y,
    LINE_Y0,
    LINE_Y1,
)
from selfdrive_env.state.world import NO_LIGHT

__all__ = ["draw_birds_eye", "draw_world"]

GROUND, ROUTE, LIGHTS, AGENTS, STORE = range(len(PICTURE_STAGES))

ROUTE_CODE, GOAL_CODE, GREEN_CODE = int(Code.ROUTE), int(Code.GOAL), int(Code.GREEN)
VEHICLE_CODE, EGO_CODE, EGO_FRONT_CODE = int(Code.VEHICLE), int(Code.EGO), int(Code.EGO_FRONT)
FRONT_CODES = int(Code.VEHICLE_FRONT) - VEHICLE_CODE
"""From the code of a body to that of its front."""

ROUTE_HALF_WIDTH = np.float32(0.5)  # [m]
ROUTE_OVERLAP = np.float32(0.2)  # of its pieces [m]
GOAL_RADIUS = np.float32(1.5)  # [m]
LINE_HALF_WIDTH = np.float32(0.4)  # [m]
LEAST = np.float32(0.75)  # half a side of what is small [pixels]
GOAL_LEAST = np.float32(1.5)  # [pixels]
FRONT = np.float32(0.35)  # share of a body's length
LEVEL = np.float32(LEVEL_HEIGHT)  # [m]
FAR = np.float32(1.0e8)  # [m]


class Sight(NamedTuple):
    """Where a frame lies in the world."""

    x: np.float32
    """Its middle, east [m]."""

    y: np.float32
    """North [m]."""

    up_x: np.float32
    """Direction that is up in it."""

    up_y: np.float32
    per_pixel: np.float32
    """[1/m]"""

    middle_x: np.float32
    """Its middle [pixels]."""

    middle_y: np.float32
    width: int
    """[pixels]"""

    height: int
    """[pixels]"""


@inline
def sight_of(lens, x, y, cos, sin):
    """Returns where the frame of an ego lies, given the middle of its box and its heading."""
    turned = lens.heading_up != 0
    up_x, up_y = cos if turned else ZERO, sin if turned else ONE
    ahead, left = np.float32(lens.ahead), np.float32(lens.left)
    width, height = np.int64(lens.width), np.int64(lens.height)
    return Sight(
        x + ahead * up_x - left * up_y, y + ahead * up_y + left * up_x, up_x, up_y,
        ONE / np.float32(lens.pixel), HALF * np.float32(width - 1), HALF * np.float32(height - 1),
        width, height,
    )  # fmt: skip


@inline
def pixel_of(sight, x, y):
    """Returns where in a frame a place of the world lies."""
    dx, dy = x - sight.x, y - sight.y
    right, up = dx * sight.up_y - dy * sight.up_x, dx * sight.up_x + dy * sight.up_y
    return sight.middle_x + right * sight.per_pixel, sight.middle_y - up * sight.per_pixel


@inline
def paint_box(code, sight, x, y, cos, sin, half_length, half_width, value):
    """Paints a box of the world; at least so large that it shows.

    Args:
        code: Frame.
        sight: Where it lies.
        x: Middle of the box, east [m].
        y: North [m].
        cos: Direction of its length.
        sin: Likewise.
        half_length: [m]
        half_width: [m]
        value: Code to paint.
    """
    column, row = pixel_of(sight, x, y)
    along_x = cos * sight.up_y - sin * sight.up_x
    along_y = -(cos * sight.up_x + sin * sight.up_y)
    fill_box(
        code, sight.width, sight.height, column, row, along_x, along_y,
        max(half_length * sight.per_pixel, LEAST), max(half_width * sight.per_pixel, LEAST), value,
    )  # fmt: skip


@njit
def paint_route(model, data, sight, code, worker, world, agent):
    """Paints the way ahead of the ego, and its goals."""
    agents, bodies, scratch = data.agents, data.bodies, data.scratch
    way = scratch.way_ahead[worker * block_size() + thread_index()]
    lay_way(
        model.lanes.segment, scratch.stretch[world, agent], scratch.stretch_segment[world, agent],
        np.int64(scratch.kept_way[world, agent, STRETCHES]), agents.s[world, agent], way,
    )  # fmt: skip
    half = HALF * WAY_STEP + ROUTE_OVERLAP
    for point in range(WAY_POINTS):
        x, y = way[WAY_X, point], way[WAY_Y, point]
        if x > FAR:
            break
        paint_box(
            code, sight, x, y, way[WAY_COS, point], way[WAY_SIN, point], half, ROUTE_HALF_WIDTH,
            ROUTE_CODE,
        )  # fmt: skip
    radius = max(GOAL_RADIUS * sight.per_pixel, GOAL_LEAST)
    for goal in range(agents.goal[world, agent], bodies.num_goals[world, agent]):
        x, y = pixel_of(sight, bodies.goal_x[world, agent, goal], bodies.goal_y[world, agent, goal])
        fill_disc(code, sight.width, sight.height, x, y, radius, GOAL_CODE)


@njit
def paint_lights(model, data, sight, code, map_index, world):
    """Paints the stop lines that have a light, or a sign, in its colour."""
    line, colours = model.signs.line, data.lights.line_colour[world]
    first = np.int64(model.signs.map_line_first[map_index])
    last = np.int64(model.signs.map_line_first[map_index + 1])
    reach = (sight.middle_x + sight.middle_y) / sight.per_pixel + FAR_LINE
    for index in range(first, last):
        x, y = line[index, LINE_X], line[index, LINE_Y]
        if abs(x - sight.x) > reach or abs(y - sight.y) > reach:
            continue
        colour = np.int64(colours[index - first])
        if colour == NO_LIGHT:
            continue
        paint_box(
            code, sight, x, y, -line[index, LINE_SIN], line[index, LINE_COS],
            half_line(line, index), LINE_HALF_WIDTH, GREEN_CODE + colour - 1,
        )  # fmt: skip


FAR_LINE = np.float32(15.0)  # half of a long line [m]


@inline
def half_line(line, index):
    """Returns half the length of a stop line over the lanes that it controls [m]."""
    x, y = line[index, LINE_X], line[index, LINE_Y]
    x0, y0 = line[index, LINE_X0] - x, line[index, LINE_Y0] - y
    x1, y1 = line[index, LINE_X1] - x, line[index, LINE_Y1] - y
    return np.float32(math.sqrt(min(x0 * x0 + y0 * y0, x1 * x1 + y1 * y1)))


@njit
def is_covered(model, segment, x, y, layer, map_index):
    """Whether a body on a segment lies below, or on, a road of the level that is shown.

    Its segment is then no part of the surface of that level where it lies.
    """
    lanes, grid = model.lanes, model.grid
    cell = cell_at(grid, x, y, layer, map_index)
    if cell < 0:  # there is one surface
        return False
    for number in range(grid.segment_first[cell], grid.segment_first[cell + 1]):
        if lanes.segment_lane[grid.segment[number]] == lanes.segment_lane[segment]:
            return False
    return point_on_surface(grid, x, y, layer, map_index)


@njit
def paint_agents(model, data, sight, code, layer, map_index, worker, world, ego):
    """Paints all bodies but the ego's, their fronts darker; none for a driver who is blind.

    Args:
        model: Of the batch.
        data: Of the batch.
        sight: Where the frame lies.
        code: Frame.
        layer: Surface of the map that lies over the others.
        map_index: Of the world.
        worker: Who works.
        world: Which.
        ego: Whose frame it is.
    """
    if sees_nobody(data, world, ego):
        return
    crowd, segment = data.scratch.crowd[worker], data.agents.segment[world]
    reach = max(sight.middle_x, sight.middle_y) / sight.per_pixel
    for agent in range(segment.shape[0]):
        x, y = crowd[X, agent], crowd[Y, agent]
        far = ROOT_TWO * reach + crowd[HALF_LENGTH, agent]
        if agent == ego or abs(x - sight.x) > far or abs(y - sight.y) > far:
            continue
        other_level = abs(crowd[Z, agent] - crowd[Z, ego]) >= LEVEL
        if other_level and is_covered(model, segment[agent], x, y, layer, map_index):
            continue
        paint_body(code, sight, crowd, agent, VEHICLE_CODE + np.int64(crowd[KIND, agent]))


ROOT_TWO = np.float32(math.sqrt(2.0))  # diagonal of a square by its side


@inline
def paint_body(code, sight, crowd, agent, value):
    """Paints a body and its front."""
    x, y, cos, sin = crowd[X, agent], crowd[Y, agent], crowd[COS, agent], crowd[SIN, agent]
    half_length = max(crowd[HALF_LENGTH, agent], LEAST / sight.per_pixel)
    half_width = crowd[HALF_WIDTH, agent]
    paint_box(code, sight, x, y, cos, sin, half_length, half_width, value)
    ahead = (ONE - FRONT) * half_length
    front = EGO_FRONT_CODE if value == EGO_CODE else value + FRONT_CODES
    paint_box(
        code, sight, x + ahead * cos, y + ahead * sin, cos, sin, FRONT * half_length, half_width,
        front,
    )  # fmt: skip


@inline
def clock(frames, worker, stage, since):
    """Adds the cycles since `since` to a stage; returns the counter."""
    now = cycles()
    if thread_index() == 0:
        frames.cycles[worker, stage] += now - since
    return now


@njit
def draw_frame(model, data, view, code, worker, world, agent):
    """Draws a frame of an agent."""
    map_index = np.int64(data.worlds.map[world])
    segment = np.int64(data.agents.segment[world, agent])
    layer = np.int64(model.lanes.segment_layer[segment])
    crowd, frames = data.scratch.crowd[worker], view.frames
    x, y, cos, sin = crowd[X, agent], crowd[Y, agent], crowd[COS, agent], crowd[SIN, agent]
    sight = sight_of(view.lens, x, y, cos, sin)
    now = cycles()
    walk = walk_of(view.ground, view.lens, map_index, sight.x, sight.y, sight.up_x, sight.up_y)
    sample_ground(code, sight.width, sight.height, view.ground, walk, map_index, layer)
    now = clock(frames, worker, GROUND, now)
    paint_route(model, data, sight, code, worker, world, agent)
    now = clock(frames, worker, ROUTE, now)
    paint_lights(model, data, sight, code, map_index, world)
    now = clock(frames, worker, LIGHTS, now)
    paint_agents(model, data, sight, code, layer, map_index, worker, world, agent)
    paint_body(code, sight, crowd, agent, EGO_CODE)
    clock(frames, worker, AGENTS, now)


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
    frames = view.frames
    learners = np.int64(view.lens.learners)
    for agent in range(warp_index(), learners, num_warps()):
        fate = fate_of(model, data, worker, world, agent, task, part)
        if fate == SKIP:
            continue
        row = world * learners + agent
        if fate == CLEAR:
            clear_frames(frames, row)
        elif fate != KEEP:
            age = data.agents.age[world, agent]
            place = next_frame(frames, row, age)
            draw_frame(model, data, view, frames.code[row, place], worker, world, agent)
            warp_barrier()
            note_frame(frames, row, place, age)
        warp_barrier()
        now = cycles()
        store_picture(frames, row, view.lens, fate == LAST)
        clock(frames, worker, STORE, now)


@entry
def draw_birds_eye(model, data, view, worker, world, task, part):
    """Hook of `run_worlds`; see there."""
    draw_world(
        struct_at(Model, model), struct_at(Data, data), struct_at(View, view), worker, world, task,
        part,
    )  # fmt: skip
