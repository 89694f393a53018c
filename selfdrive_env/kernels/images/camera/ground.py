"""Sky and ground of a camera picture.

Rows of a level camera see flat ground at one distance each, so that texels are stepped along a
line. Hilly ground is drawn as triangles between nodes; bridges are decks over it.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.images.camera.eye import fog_share, mix, seen_at
from selfdrive_env.kernels.images.camera.faces import cross, narrow, row_range
from selfdrive_env.state.scenery import (
    CLEAR,
    FLAT,
    NODE,
    NODE_ENTRY,
    NODES_X,
    NODES_Y,
    TEXEL,
    TEXTURE_LEVELS,
    TILE_ENTRY,
    TILES_X,
    TILES_Y,
)

__all__ = ["draw_flat", "draw_hills", "draw_patch", "draw_sky", "draw_sun"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
TINY = np.float32(1.0e-6)
FULL = np.int32(255)
EIGHT = np.int32(8)
WHOLE_GAIN = np.float32(256.0)
COLOUR_GAIN = np.float32(65536.0)
PER_TEXEL = np.float32(1.0 / TEXEL)
TEXEL_EDGE = np.float32(TEXEL)
BLUR = np.float32(1.1)  # texels are at most so much narrower than pixels
NODE_EDGE = np.float32(NODE)
NODE_TEXELS = np.float32(NODE / TEXEL)
LEVELS = TEXTURE_LEVELS
UNIT = np.float32(65536.0)  # steps along a row are whole numbers of 1 / 65,536 texel
MOST = np.float32(1.0e9)  # texels from the origin that are counted
FADES = np.float32(1.0 / 128.0)  # less fog than this is not drawn
COARSE = 4  # cells along the edge of a coarse one
FINE_REACH = np.float32(120.0)  # [m]
COARSE_REACH = np.float32(480.0)  # [m]
SINK = np.float32(0.02)  # by how much hills lie below the decks of bridges [m]
SUN_SIZE = np.float32(0.035)  # radius of the sun [rad]
LOWEST = np.float32(0.2)  # the camera is at least so far above level ground [m]
BACK = np.float32(12.0)  # so far behind the camera cells are drawn, too [m]


@inline
def level_of(distance, eye):
    """Returns the level of texels whose width fits pixels at a distance."""
    width = BLUR * distance / eye.focal
    level = 0
    edge = TWO * TEXEL_EDGE
    while level < LEVELS - 1 and edge <= width:
        edge = edge + edge
        level += 1
    return level


@njit
def draw_sky(image, nearness, owner, eye, air):
    """Fills a picture: sky down to the horizon, far ground below it."""
    rows, columns = nearness.shape
    labelled = owner.shape[0] > 0
    for row in range(rows):
        v = (np.float32(row) + HALF - eye.middle_v) / eye.focal
        up = eye.ahead_z + v * eye.down_z
        share = min(TWO * max(up, ZERO), ONE)
        share = share * (TWO - share)
        red = np.uint8(mix(air.fog_red, air.zenith_red, share))
        green = np.uint8(mix(air.fog_green, air.zenith_green, share))
        blue = np.uint8(mix(air.fog_blue, air.zenith_blue, share))
        for column in range(columns):
            image[row, column, 0] = red
            image[row, column, 1] = green
            image[row, column, 2] = blue
            nearness[row, column] = ZERO
        if labelled:
            for column in range(columns):
                owner[row, column] = 0


@njit
def draw_sun(image, nearness, eye, air):
    """Draws the sun where nothing is before it."""
    u, v, depth = seen_at(eye, air.sun_x, air.sun_y, air.sun_z)
    if depth <= TINY:
        return
    rows, columns = nearness.shape
    u, v = u / depth, v / depth
    radius = SUN_SIZE * eye.focal
    top, bottom = max(v - radius, ZERO), min(v + radius, np.float32(rows))
    left, right = max(u - radius, ZERO), min(u + radius, np.float32(columns))
    if not (top < bottom and left < right):
        return
    for row in range(np.int64(top), np.int64(bottom)):
        for column in range(np.int64(left), np.int64(right)):
            dx, dy = np.float32(column) + HALF - u, np.float32(row) + HALF - v
            if dx * dx + dy * dy <= radius * radius and nearness[row, column] == ZERO:
                image[row, column, 0] = FULL
                image[row, column, 1] = max(image[row, column, 1], np.uint8(246))
                image[row, column, 2] = max(image[row, column, 2], np.uint8(214))


@inline
def fog_of(air, distance):
    """Returns gain, of 256, and what is added to red, green and blue, of 65,536."""
    share = fog_share(air, distance)
    if share < FADES:
        share = ZERO
    return (
        np.int32(WHOLE_GAIN * (ONE - share)),
        np.int32(WHOLE_GAIN * share * air.fog_red),
        np.int32(WHOLE_GAIN * share * air.fog_green),
        np.int32(WHOLE_GAIN * share * air.fog_blue),
    )


@njit
def draw_flat(image, nearness, owner, lit, scenery, map_index, eye, air, behind):
    """Draws level ground below the camera, to the horizon.

    Args:
        image: [H, W, 3].
        nearness: [H, W] [1/m].
        owner: [H, W], or empty.
        lit: Colour of each code, [codes, 3].
        scenery: `Scenery`.
        map_index: Map of the world.
        eye: The camera.
        air: The light.
        behind: 1: only where nothing is drawn yet.
    """
    rows, columns = nearness.shape
    layout, tile, texel = scenery.layout, scenery.tile, scenery.texel
    tiles_x = np.int64(layout[map_index, TILES_X])
    tiles_y = np.int64(layout[map_index, TILES_Y])
    entry = np.int64(layout[map_index, TILE_ENTRY])
    from_x = (eye.x - scenery.origin[map_index, 0]) * PER_TEXEL
    from_y = (eye.y - scenery.origin[map_index, 1]) * PER_TEXEL
    above = max(eye.z - scenery.level[map_index], LOWEST)
    labelled = owner.shape[0] > 0
    grass = np.int64(texel[0])
    for row in range(rows):
        v = (np.float32(row) + HALF - eye.middle_v) / eye.focal
        fall = -(eye.ahead_z + v * eye.down_z)
        if fall * eye.far * eye.far <= above:
            continue
        depth = above / fall
        level = level_of(depth, eye)
        mask, drop = np.int64(127), np.int64(level)
        first = scenery.texel_first[level]
        shift = 14 - 2 * drop
        line = 7 - drop
        step = depth * PER_TEXEL
        u = (HALF - eye.middle_u) / eye.focal
        x = from_x + step * (eye.ahead_x + u * eye.right_x + v * eye.down_x)
        y = from_y + step * (eye.ahead_y + u * eye.right_y + v * eye.down_y)
        x, y = min(max(x, -MOST), MOST), min(max(y, -MOST), MOST)
        at_x, at_y = np.int64(x * UNIT), np.int64(y * UNIT)
        step_x = np.int64(step / eye.focal * eye.right_x * UNIT)
        step_y = np.int64(step / eye.focal * eye.right_y * UNIT)
        gain, fog_r, fog_g, fog_b = fog_of(air, depth)
        close = ONE / depth
        for column in range(columns):
            i, j = at_x >> 16, at_y >> 16
            at_x += step_x
            at_y += step_y
            if behind != 0 and nearness[row, column] > ZERO:
                continue
            a, b = i >> 7, j >> 7
            code = grass
            if np.uint64(a) < np.uint64(tiles_x) and np.uint64(b) < np.uint64(tiles_y):
                which = np.int64(tile[entry + b * tiles_x + a])
                within = (((j & mask) >> drop) << line) + ((i & mask) >> drop)
                code = np.int64(texel[first + (which << shift) + within])
            image[row, column, 0] = (np.int32(lit[code, 0]) * gain + fog_r) >> EIGHT
            image[row, column, 1] = (np.int32(lit[code, 1]) * gain + fog_g) >> EIGHT
            image[row, column, 2] = (np.int32(lit[code, 2]) * gain + fog_b) >> EIGHT
            nearness[row, column] = close
            if labelled:
                owner[row, column] = np.int32(scenery.code_class[code])


@njit
def draw_patch(
    image, nearness, owner, lit, scenery, sheet, map_index, eye, air, triangle,
    ox, oy, oz, ax, ay, az, bx, by, bz,
):  # fmt: skip
    """Draws a triangle O, O + A, O + B, or a parallelogram, of ground with its texels.

    Args:
        image: [H, W, 3].
        nearness: [H, W] [1/m].
        owner: [H, W], or empty.
        lit: Colour of each code, [codes, 3].
        scenery: `Scenery`.
        sheet: Of the ground.
        map_index: Map of the world.
        eye: The camera.
        air: The light.
        triangle: 1 for a triangle, 0 for a parallelogram.
        ox: Corner O in the world; likewise oy and oz [m].
        oy: Corner [m].
        oz: Corner [m].
        ax: Edge A; likewise ay and az [m].
        ay: Edge [m].
        az: Edge [m].
        bx: Edge B; likewise by and bz [m].
        by: Edge [m].
        bz: Edge [m].
    """
    rows, columns = nearness.shape
    ou, ov, ow = seen_at(eye, ox - eye.x, oy - eye.y, oz - eye.z)
    au, av, aw = seen_at(eye, ax, ay, az)
    bu, bv, bw = seen_at(eye, bx, by, bz)
    nx, ny, nz = cross(au, av, aw, bu, bv, bw)
    volume = ou * nx + ov * ny + ow * nz
    if abs(volume) < TINY:
        return
    pu, pv, pw = ou + au, ov + av, ow + aw
    ru, rv, rw = ou + bu, ov + bv, ow + bw
    qu, qv, qw = pu, pv, pw
    if triangle == 0:
        qu, qv, qw = pu + bu, pv + bv, pw + bw
    top, bottom = row_range(ov, ow, pv, pw, qv, qw, rv, rw, eye.near, rows)
    if top >= bottom:
        return
    inverse = ONE / volume
    side = ONE if volume > ZERO else -ONE
    e0x, e0y, e0z = cross(ou, ov, ow, pu, pv, pw)
    e1x, e1y, e1z = cross(pu, pv, pw, qu, qv, qw)
    e2x, e2y, e2z = cross(qu, qv, qw, ru, rv, rw)
    e3x, e3y, e3z = cross(ru, rv, rw, ou, ov, ow)
    sx, sy, sz = cross(bu, bv, bw, ou, ov, ow)
    tx, ty, tz = cross(ou, ov, ow, au, av, aw)

    # Place on the ground over depth, in texels: linear in x and y as s, t and 1 over depth are.
    layout, tile, texel = scenery.layout, scenery.tile, scenery.texel
    base_x = (ox - scenery.origin[map_index, 0]) * PER_TEXEL
    base_y = (oy - scenery.origin[map_index, 1]) * PER_TEXEL
    scale = inverse * PER_TEXEL
    ix = inverse * base_x * nx + scale * (ax * sx + bx * tx)
    iy = inverse * base_x * ny + scale * (ax * sy + bx * ty)
    iz = inverse * base_x * nz + scale * (ax * sz + bx * tz)
    jx = inverse * base_y * nx + scale * (ay * sx + by * tx)
    jy = inverse * base_y * ny + scale * (ay * sy + by * ty)
    jz = inverse * base_y * nz + scale * (ay * sz + by * tz)
    tiles_x = np.int64(layout[map_index, TILES_X])
    tiles_y = np.int64(layout[map_index, TILES_Y])
    entry = np.int64(layout[map_index, TILE_ENTRY]) + sheet * tiles_x * tiles_y
    grass = np.int64(texel[0]) if sheet == 0 else np.int64(CLEAR)
    labelled = owner.shape[0] > 0
    limit = ONE / eye.near
    rise = inverse * nx

    for row in range(top, bottom):
        y = np.float32(row) + HALF
        base = inverse * (ny * y + nz)
        first, last = narrow(side * e0x, side * (e0y * y + e0z), 0, columns, columns)
        first, last = narrow(side * e1x, side * (e1y * y + e1z), first, last, columns)
        first, last = narrow(side * e2x, side * (e2y * y + e2z), first, last, columns)
        first, last = narrow(side * e3x, side * (e3y * y + e3z), first, last, columns)
        first, last = narrow(rise, base, first, last, columns)
        first, last = narrow(-rise, limit - base, first, last, columns)
        if first >= last:
            continue
        middle = HALF * np.float32(first + last)
        distance = ONE / max(base + rise * middle, TINY)
        level = level_of(distance, eye)
        drop = np.int64(level)
        start = scenery.texel_first[level]
        shift, line = 14 - 2 * drop, 7 - drop
        gain, fog_r, fog_g, fog_b = fog_of(air, distance)
        i_row, j_row = iy * y + iz, jy * y + jz
        for column in range(first, last):
            x = np.float32(column) + HALF
            close = base + rise * x
            if close <= nearness[row, column]:
                continue
            depth = ONE / close
            i = np.int64((i_row + ix * x) * depth)
            j = np.int64((j_row + jx * x) * depth)
            a, b = i >> 7, j >> 7
            code = grass
            if np.uint64(a) < np.uint64(tiles_x) and np.uint64(b) < np.uint64(tiles_y):
                which = np.int64(tile[entry + b * tiles_x + a])
                within = (((j & 127) >> drop) << line) + ((i & 127) >> drop)
                code = np.int64(texel[start + (which << shift) + within])
            if code == CLEAR:
                continue
            nearness[row, column] = close
            image[row, column, 0] = (np.int32(lit[code, 0]) * gain + fog_r) >> EIGHT
            image[row, column, 1] = (np.int32(lit[code, 1]) * gain + fog_g) >> EIGHT
            image[row, column, 2] = (np.int32(lit[code, 2]) * gain + fog_b) >> EIGHT
            if labelled:
                owner[row, column] = np.int32(scenery.code_class[code])


@inline
def is_ahead(eye, dx, dy, radius, half_view):
    """Whether a disc may be in the picture: it is not behind, nor wholly to a side."""
    level = np.float32(math.sqrt(eye.right_x * eye.right_x + eye.right_y * eye.right_y))
    along = (-dx * eye.right_y + dy * eye.right_x) / level
    across = dx * eye.right_x + dy * eye.right_y
    return along > -radius and abs(across) < half_view * max(along, ZERO) + radius


@njit
def draw_cell(image, nearness, owner, lit, scenery, map_index, eye, air, i, j, size):
    """Draws a square of hilly ground between four nodes, as two triangles."""
    layout = scenery.layout
    nodes_x = np.int64(layout[map_index, NODES_X])
    nodes_y = np.int64(layout[map_index, NODES_Y])
    first = np.int64(layout[map_index, NODE_ENTRY])
    right = min(i + size, nodes_x - 1)
    up = min(j + size, nodes_y - 1)
    a = scenery.height[first + j * nodes_x + i]
    b = scenery.height[first + j * nodes_x + right]
    c = scenery.height[first + up * nodes_x + right]
    d = scenery.height[first + up * nodes_x + i]
    x = scenery.origin[map_index, 0] + np.float32(i) * NODE_EDGE
    y = scenery.origin[map_index, 1] + np.float32(j) * NODE_EDGE
    wide, high = np.float32(right - i) * NODE_EDGE, np.float32(up - j) * NODE_EDGE
    draw_patch(
        image, nearness, owner, lit, scenery, 0, map_index, eye, air, 1,
        x, y, a, wide, ZERO, b - a, ZERO, high, d - a,
    )  # fmt: skip
    draw_patch(
        image, nearness, owner, lit, scenery, 0, map_index, eye, air, 1,
        x + wide, y + high, c, -wide, ZERO, d - c, ZERO, -high, b - c,
    )  # fmt: skip


@njit
def draw_hills(image, nearness, owner, lit, scenery, map_index, eye, air):
    """Draws ground with hills: cells near the camera, squares of several cells farther away."""
    layout = scenery.layout
    columns = np.int64(layout[map_index, NODES_X]) - 1
    rows = np.int64(layout[map_index, NODES_Y]) - 1
    coarse = np.float32(COARSE) * NODE_EDGE
    radius = coarse
    half_view = eye.middle_u / eye.focal * (ONE + abs(eye.ahead_z)) + abs(eye.ahead_z)
    from_x = eye.x - scenery.origin[map_index, 0]
    from_y = eye.y - scenery.origin[map_index, 1]
    left = np.int64(max(from_x - COARSE_REACH, ZERO) / coarse)
    low = np.int64(max(from_y - COARSE_REACH, ZERO) / coarse)
    right = min(np.int64(max(from_x + COARSE_REACH, ZERO) / coarse), (columns - 1) // COARSE)
    high = min(np.int64(max(from_y + COARSE_REACH, ZERO) / coarse), (rows - 1) // COARSE)
    for j in range(low, high + 1):
        for i in range(left, right + 1):
            dx = (np.float32(i) + HALF) * coarse - from_x
            dy = (np.float32(j) + HALF) * coarse - from_y
            if not is_ahead(eye, dx, dy, radius + BACK, half_view):
                continue
            if dx * dx + dy * dy > FINE_REACH * FINE_REACH:
                draw_cell(image, nearness, owner, lit, scenery, map_index, eye, air,
                    i * COARSE, j * COARSE, COARSE)  # fmt: skip
                continue
            for up in range(j * COARSE, min((j + 1) * COARSE, rows)):
                for along in range(i * COARSE, min((i + 1) * COARSE, columns)):
                    dx = (np.float32(along) + HALF) * NODE_EDGE - from_x
                    dy = (np.float32(up) + HALF) * NODE_EDGE - from_y
                    if is_ahead(eye, dx, dy, NODE_EDGE, half_view):
                        draw_cell(image, nearness, owner, lit, scenery, map_index, eye, air,
                            along, up, 1)  # fmt: skip
