"""What stands beside the road in a camera picture, and the bridges: lights, signs, decks, walls."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.images.camera.bodies import (
    Place,
    Size,
    draw_body,
    is_in_view,
    lamp_word,
    light_on,
)
from selfdrive_env.kernels.images.camera.eye import fog_of, fog_share, seen_at
from selfdrive_env.kernels.images.camera.faces import Face, cross, draw_face
from selfdrive_env.kernels.images.camera.ground import draw_patch
from selfdrive_env.state.camera.scenery import (
    BLOCK_ENTRY,
    BLOCKS_X,
    BLOCKS_Y,
    DECK,
    LIGHT_KIND,
    ROLE_GREEN,
    ROLE_RED,
    ROLE_YELLOW,
    SIGN_KIND,
    ImageClass,
)
from selfdrive_env.state.road import (
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_X0,
    LINE_X1,
    LINE_Y,
    LINE_Y0,
    LINE_Y1,
    LINE_Z,
)
from selfdrive_env.state.world import GREEN, RED, STOP_SIGN, YELLOW

__all__ = ["draw_bridges", "draw_signs"]

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
LEAST = np.float32(1.0e-6)  # no stop line is shorter [m]

LIGHT_CLASS, SIGN_CLASS = int(ImageClass.TRAFFIC_LIGHT), int(ImageClass.STOP_SIGN)
WALL_CLASS = int(ImageClass.STRUCTURE)
LIGHT_SIZE = np.float32(0.36)  # [m]
LIGHT_HEIGHT = np.float32(3.3)  # [m]
SIGN_SIZE = np.float32(0.8)  # [m]
SIGN_HEIGHT = np.float32(2.9)  # [m]
ASIDE = np.float32(1.1)  # from the end of the stop line [m]
BEYOND = np.float32(2.0)  # of a light from the line, along the road [m]
SIGN_REACH = np.float32(150.0)  # [m]
DARK = np.float32(0.22)  # brightness of lenses that are off

BLOCK_EDGE = np.float32(64.0)  # [m]
BRIDGE_REACH = np.float32(220.0)  # [m]


@inline
def kerb_end(line, index):
    """Returns the end of a stop line at the kerb, the one nearer to its lanes, and where that is.

    Returns:
        x, y [m] and the direction from the road to there.
    """
    x, y = line[index, LINE_X], line[index, LINE_Y]
    x0, y0 = line[index, LINE_X0], line[index, LINE_Y0]
    x1, y1 = line[index, LINE_X1], line[index, LINE_Y1]
    left = (x0 - x) * (x0 - x) + (y0 - y) * (y0 - y)
    right = (x1 - x) * (x1 - x) + (y1 - y) * (y1 - y)
    if left < right:
        x0, y0, x1, y1 = x1, y1, x0, y0
    dx, dy = x1 - x0, y1 - y0
    long = np.float32(math.sqrt(dx * dx + dy * dy)) + LEAST
    return x1, y1, dx / long, dy / long


@njit
def draw_signs(canvas, model, data, scenery, role, eye, air, world):
    """Draws the traffic light, or the stop sign, at the kerb beside each stop line."""
    signs, colours = model.signs, data.lights.line_colour
    map_index = data.worlds.map[world]
    first = np.int64(signs.map_line_first[map_index])
    lines = np.int64(signs.map_line_first[map_index + 1]) - first
    for number in range(lines):
        index = first + number
        x, y, out_x, out_y = kerb_end(signs.line, index)
        if (x - eye.x) * (x - eye.x) + (y - eye.y) * (y - eye.y) > SIGN_REACH * SIGN_REACH:
            continue
        x, y, z = x + ASIDE * out_x, y + ASIDE * out_y, signs.line[index, LINE_Z]
        cos, sin = signs.line[index, LINE_COS], signs.line[index, LINE_SIN]
        colour = colours[world, number]
        kind, code = SIGN_KIND, SIGN_CLASS
        width, height = SIGN_SIZE, SIGN_HEIGHT
        if colour != STOP_SIGN:
            x, y = x + BEYOND * cos, y + BEYOND * sin
            kind, code = LIGHT_KIND, LIGHT_CLASS
            width, height = LIGHT_SIZE, LIGHT_HEIGHT
            light_lenses(scenery, role, colour)
        place, size = Place(x, y, z, -cos, -sin, ZERO), Size(width, width, height)
        draw_body(canvas, scenery, role, eye, air, kind, code, place, size)


@inline
def light_lenses(scenery, role, colour):
    """Gives the lenses of a traffic light their colours."""
    role[ROLE_RED] = lamp_word(scenery.role[ROLE_RED], ONE if colour == RED else DARK)
    role[ROLE_YELLOW] = lamp_word(scenery.role[ROLE_YELLOW], ONE if colour == YELLOW else DARK)
    role[ROLE_GREEN] = lamp_word(scenery.role[ROLE_GREEN], ONE if colour == GREEN else DARK)


@njit
def draw_wall(canvas, scenery, role, eye, air, quad):
    """Draws a wall of a bridge, both sides of it."""
    wall = scenery.quad[quad]
    ox, oy, oz = wall[0] - eye.x, wall[1] - eye.y, wall[2] - eye.z
    ou, ov, ow = seen_at(eye, ox, oy, oz)
    if not is_in_view(eye, ou, ov, ow, abs(wall[3]) + abs(wall[4]) + abs(wall[8])):
        return
    seen = Face(
        (ou, ov, ow),
        seen_at(eye, wall[3], wall[4], wall[5]),
        seen_at(eye, wall[6], wall[7], wall[8]),
    )
    nx, ny, nz = cross(wall[3], wall[4], wall[5], wall[6], wall[7], wall[8])
    away = ONE if ox * nx + oy * ny + oz * nz < ZERO else -ONE
    light = light_on(air, away * nx, away * ny, away * nz)
    fog = fog_of(air, fog_share(air, max(ow, ZERO)), light)
    draw_face(canvas, scenery.texture[0], 0, role, WALL_CLASS, eye, fog, 1, seen, ZERO, ZERO)


@njit
def draw_bridges(canvas, lit, role, scenery, map_index, eye, air):
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
                    draw_wall(canvas, scenery, role, eye, air, quad)
                    continue
                deck = scenery.quad[quad]
                face = Face(
                    (deck[0], deck[1], deck[2]),
                    (deck[3], deck[4], deck[5]),
                    (deck[6], deck[7], deck[8]),
                )
                draw_patch(canvas, lit, scenery, 1, map_index, eye, air, 0, face)
