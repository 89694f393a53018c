"""Sky and ground of a camera picture.

Rows of a level camera see flat ground at one distance each, so that texels are stepped along a
line. Hilly ground is drawn as triangles between nodes; bridges are decks over it.
"""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_barrier, warp_lane, warp_size
from selfdrive_env.compiler.vectors import put_three
from selfdrive_env.kernels.images.camera.eye import (
    blend,
    fog_of,
    fog_share,
    mix,
    pack,
    seen_at,
)
from selfdrive_env.kernels.images.camera.faces import Face, cross, narrow, pixel_range, put_pixel
from selfdrive_env.state.camera.scenery import (
    CLEAR,
    NODE,
    NODE_ENTRY,
    NODES_X,
    NODES_Y,
    SQUARE,
    SQUARE_ENTRY,
    TEXEL,
    TEXTURE_LEVELS,
    TILE_ENTRY,
    TILES_X,
    TILES_Y,
)

__all__ = ["draw_far", "draw_flat", "draw_hills", "draw_patch", "draw_sky", "draw_sun"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
TINY = np.float32(1.0e-6)
NOTHING = np.uint64(CLEAR)
SEVEN, FOURTEEN, TILE_MASK = np.uint64(7), np.uint64(14), np.uint64(127)
PER_TEXEL = np.float32(1.0 / TEXEL)  # [1/m]
TEXEL_EDGE = np.float32(TEXEL)  # [m]
BLUR = np.float32(1.5)  # texels are at most so much narrower than pixels
NODE_EDGE = np.float32(NODE)  # [m]
LEVELS = TEXTURE_LEVELS
UNIT = np.float32(65536.0)  # steps along a row are whole numbers of 1 / 65,536 texel
MOST = np.float32(1.0e9)  # texels from the origin that are counted
FADES = np.float32(1.0 / 128.0)  # less fog than this is not drawn
FINE_REACH = np.float32(110.0)  # of single cells [m]
REACH = np.float32(450.0)  # [m]
PLANE = np.float32(0.02)  # corners of a cell as good as plane [m]
SUN_SIZE = np.float32(0.035)  # radius of the sun [rad]
SUNNY = 0xD6F6FF  # colour of the sun


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


@inline
def share_at(air, distance):
    """Returns how much of the ground at a distance is fog, nothing where it is next to nothing."""
    share = fog_share(air, distance)
    return share if share >= FADES else ZERO


@inline
def fall_of(eye, row):
    """Returns by how much the rays of a row fall on a unit of depth."""
    v = (np.float32(row) + HALF - eye.middle_v) / eye.focal
    return -(eye.ahead_z + v * eye.down_z)


@inline
def sees_ground(eye, row, above):
    """Whether a row sees level ground so far below the camera."""
    return fall_of(eye, row) * eye.far * eye.far > above


@njit
def draw_sky(canvas, eye, air, above):
    """Fills the rows of a picture that see no level ground so far below the camera."""
    image, nearness, owner, _ = canvas
    columns = eye.width
    for row in range(eye.height):
        if sees_ground(eye, row, above):
            continue
        share = min(TWO * max(-fall_of(eye, row), ZERO), ONE)
        share = share * (TWO - share)
        word = pack(
            mix(air.fog_red, air.zenith_red, share),
            mix(air.fog_green, air.zenith_green, share),
            mix(air.fog_blue, air.zenith_blue, share),
        )
        first = row * columns
        for pixel in range(first + warp_lane(), first + columns - 1, warp_size()):
            put_three(image, 3 * pixel, np.uint32(word))
        if warp_lane() == 0:
            put_pixel(image, first + columns - 1, word)
        fill(nearness, first, columns, ZERO)
        if owner.shape[0] > 0:
            fill(owner, first, columns, 0)
    warp_barrier()


@inline
def fill(plane, first, count, value):
    """Sets a row of pixels to a value."""
    for pixel in range(first + warp_lane(), first + count, warp_size()):
        plane[pixel] = value


@njit
def draw_sun(canvas, eye, air):
    """Draws the sun where nothing is before it."""
    image, nearness = canvas.image, canvas.nearness
    u, v, depth = seen_at(eye, air.sun_x, air.sun_y, air.sun_z)
    if depth <= TINY:
        return
    u, v = u / depth, v / depth
    radius = SUN_SIZE * eye.focal
    top, bottom = max(v - radius, ZERO), min(v + radius, np.float32(eye.height))
    left, right = max(u - radius, ZERO), min(u + radius, np.float32(eye.width))
    if not (top < bottom and left < right):
        return
    for row in range(np.int64(top), np.int64(bottom)):
        for column in range(np.int64(left) + warp_lane(), np.int64(right), warp_size()):
            dx, dy = np.float32(column) + HALF - u, np.float32(row) + HALF - v
            pixel = row * eye.width + column
            if dx * dx + dy * dy <= radius * radius and nearness[pixel] == ZERO:
                put_pixel(image, pixel, SUNNY)
    warp_barrier()


@inline
def texel_at(tile, texel, entry, tiles_x, tiles_y, start, drop, at_x, at_y, outside):
    """Returns the code at a place; indices are unsigned, so that none is tested for its sign.

    Args:
        tile: Numbers of tiles.
        texel: Codes of all tiles.
        entry: Of the first tile of the sheet.
        tiles_x: Tiles along x.
        tiles_y: Tiles along y.
        start: Of the codes of the level.
        drop: Level.
        at_x: Place along x, in parts of the finest texels.
        at_y: Place along y.
        outside: Code of places beyond all tiles.
    """
    i, j = np.uint64(at_x >> 16), np.uint64(at_y >> 16)
    a, b = i >> SEVEN, j >> SEVEN
    if a >= tiles_x or b >= tiles_y:  # what lies before the first tile is large, unsigned
        return outside
    which = np.uint64(tile[entry + b * tiles_x + a])
    within = (((j & TILE_MASK) >> drop) << (SEVEN - drop)) + ((i & TILE_MASK) >> drop)
    return np.uint64(texel[start + (which << (FOURTEEN - (drop + drop))) + within])


@njit
def draw_flat(canvas, lit, scenery, map_index, eye, air, above):
    """Draws level ground below the camera, to the horizon, in all rows that see it.

    Args:
        canvas: `Canvas`.
        lit: Colour of each code in a word, [codes].
        scenery: `Scenery`.
        map_index: Map of the world.
        eye: The camera.
        air: The light.
        above: How far the camera is above the ground [m].
    """
    image, nearness, owner, _ = canvas
    columns = eye.width
    layout, tile, texel = scenery.layout, scenery.tile, scenery.texel
    tiles_x = np.uint64(layout[map_index, TILES_X])
    tiles_y = np.uint64(layout[map_index, TILES_Y])
    entry = np.uint64(layout[map_index, TILE_ENTRY])
    from_x = (eye.x - scenery.origin[map_index, 0]) * PER_TEXEL
    from_y = (eye.y - scenery.origin[map_index, 1]) * PER_TEXEL
    grass = np.uint64(texel[0])
    for row in range(eye.height):
        if not sees_ground(eye, row, above):
            continue
        v = (np.float32(row) + HALF - eye.middle_v) / eye.focal
        depth = above / fall_of(eye, row)
        drop = np.uint64(level_of(depth, eye))
        start = np.uint64(scenery.texel_first[drop])
        step = depth * PER_TEXEL
        u = (HALF - eye.middle_u) / eye.focal
        x = from_x + step * (eye.ahead_x + u * eye.right_x + v * eye.down_x)
        y = from_y + step * (eye.ahead_y + u * eye.right_y + v * eye.down_y)
        x, y = min(max(x, -MOST), MOST), min(max(y, -MOST), MOST)
        step_x = np.int64(step / eye.focal * eye.right_x * UNIT)
        step_y = np.int64(step / eye.focal * eye.right_y * UNIT)
        at_x = np.int64(x * UNIT) + step_x * warp_lane()
        at_y = np.int64(y * UNIT) + step_y * warp_lane()
        step_x, step_y = step_x * warp_size(), step_y * warp_size()
        gain, red_and_blue, green, _ = fog_of(air, share_at(air, depth), ONE)
        first = row * columns
        fill(nearness, first, columns, ONE / depth)
        last, faded = first + columns - 1, red_and_blue != 0
        for pixel in range(first + warp_lane(), first + columns, warp_size()):
            code = texel_at(tile, texel, entry, tiles_x, tiles_y, start, drop, at_x, at_y, grass)
            at_x += step_x
            at_y += step_y
            word = np.int64(lit[code])
            if faded:
                word = blend(word, gain, red_and_blue, green)
            if pixel < last:
                put_three(image, 3 * pixel, np.uint32(word))
            else:
                put_pixel(image, pixel, word)
            if owner.shape[0] > 0:
                owner[pixel] = np.int32(scenery.code_class[code])
    warp_barrier()


@inline
def copy_pixel(canvas, source, target):
    """Gives a pixel what another one shows."""
    image, nearness, owner, _ = canvas
    for channel in range(3):
        image[3 * target + channel] = image[3 * source + channel]
    nearness[target] = nearness[source]
    if owner.shape[0] > 0:
        owner[target] = owner[source]


@njit
def draw_far(canvas, lit, scenery, eye, air, above):
    """Draws grass to the horizon where nothing is drawn yet: what lies beyond the hills.

    Below ground that is drawn there is no far away: cracks between pieces are filled from above.

    Args:
        canvas: `Canvas`.
        lit: Colour of each code in a word, [codes].
        scenery: `Scenery`.
        eye: The camera.
        air: The light.
        above: How far the camera is above it [m].
    """
    image, nearness, owner, _ = canvas
    grass = np.int64(lit[np.int64(scenery.texel[0])])
    terrain = np.int32(scenery.code_class[np.int64(scenery.texel[0])])
    for row in range(eye.height):
        if not sees_ground(eye, row, above):
            continue
        depth = above / fall_of(eye, row)
        gain, red_and_blue, green, _ = fog_of(air, share_at(air, depth), ONE)
        word = blend(grass, gain, red_and_blue, green)
        first = row * eye.width
        for pixel in range(first + warp_lane(), first + eye.width, warp_size()):
            if nearness[pixel] > ZERO:
                continue
            if row > 0 and nearness[pixel - eye.width] > ZERO:  # a crack between two pieces
                copy_pixel(canvas, pixel - eye.width, pixel)
                continue
            put_pixel(image, pixel, word)
            nearness[pixel] = min(ONE / depth, ONE / eye.far)
            if owner.shape[0] > 0:
                owner[pixel] = terrain
    warp_barrier()


@njit
def draw_patch(canvas, lit, scenery, sheet, map_index, eye, air, triangle, face):
    """Draws a triangle O, O + A, O + B, or a parallelogram, of ground with its texels.

    Args:
        canvas: `Canvas`.
        lit: Colour of each code in a word, [codes].
        scenery: `Scenery`.
        sheet: Of the ground.
        map_index: Map of the world.
        eye: The camera.
        air: The light.
        triangle: 1 for a triangle, 0 for a parallelogram.
        face: `Face` in the world [m].
    """
    image, nearness, owner, _ = canvas
    (ox, oy, oz), (ax, ay, az), (bx, by, bz) = face
    rows, columns = eye.height, eye.width
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
    top, bottom = pixel_range(ov, ow, pv, pw, qv, qw, rv, rw, eye.near, rows)
    left, right = pixel_range(ou, ow, pu, pw, qu, qw, ru, rw, eye.near, columns)
    if top >= bottom or left >= right:
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
    tiles_x = np.uint64(layout[map_index, TILES_X])
    tiles_y = np.uint64(layout[map_index, TILES_Y])
    entry = np.uint64(layout[map_index, TILE_ENTRY]) + np.uint64(sheet) * tiles_x * tiles_y
    outside = np.uint64(texel[0]) if sheet == 0 else NOTHING
    labelled = owner.shape[0] > 0
    limit = ONE / eye.near
    rise = inverse * nx

    for row in range(top, bottom):
        y = np.float32(row) + HALF
        base = inverse * (ny * y + nz)
        first, last = narrow(side * e0x, side * (e0y * y + e0z), left, right, columns)
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
        drop = np.uint64(level)
        start = np.uint64(scenery.texel_first[level])
        gain, red_and_blue, green, _ = fog_of(air, share_at(air, distance), ONE)
        i_row, j_row = iy * y + iz, jy * y + jz
        for column in range(first + warp_lane(), last, warp_size()):
            x = np.float32(column) + HALF
            close = base + rise * x
            pixel = row * columns + column
            if close <= nearness[pixel]:
                continue
            depth = ONE / close
            at_x = np.int64((i_row + ix * x) * depth) << 16
            at_y = np.int64((j_row + jx * x) * depth) << 16
            code = texel_at(tile, texel, entry, tiles_x, tiles_y, start, drop, at_x, at_y, outside)
            if code == NOTHING:
                continue
            nearness[pixel] = close
            put_pixel(image, pixel, blend(np.int64(lit[code]), gain, red_and_blue, green))
            if labelled:
                owner[pixel] = np.int32(scenery.code_class[code])
    warp_barrier()


@inline
def is_ahead(eye, dx, dy, radius, half_view):
    """Whether a disc may be in the picture: it is not behind, nor wholly to a side."""
    level = np.float32(math.sqrt(eye.right_x * eye.right_x + eye.right_y * eye.right_y))
    along = (-dx * eye.right_y + dy * eye.right_x) / level
    across = dx * eye.right_x + dy * eye.right_y
    return along > -radius and abs(across) < half_view * max(along, ZERO) + radius


@njit
def draw_cell(canvas, lit, scenery, map_index, eye, air, i, j, size):
    """Draws a square of hilly ground between four nodes: as two triangles unless it is plane.

    Args:
        canvas: `Canvas`.
        lit: Colour of each code in a word, [codes].
        scenery: `Scenery`.
        map_index: Map of the world.
        eye: The camera.
        air: The light.
        i: First node of the square along x.
        j: Along y.
        size: Edge of the square [nodes].
    """
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
    plane = abs(a + c - b - d) <= PLANE
    # Number by number: a choice between two faces keeps CUDA's compiler busy without end.
    for half in range(1 if plane else 2):
        back = half == 1
        corner = x + wide if back else x, y + high if back else y, c if back else a
        along = -wide if back else wide, ZERO, d - c if back else b - a
        across = ZERO, -high if back else high, b - c if back else d - a
        face = Face(corner, along, across)
        draw_patch(canvas, lit, scenery, 0, map_index, eye, air, 0 if plane else 1, face)


@njit
def draw_hills(canvas, lit, scenery, map_index, eye, air):
    """Draws ground with hills: cells near the camera, squares of cells where these will do."""
    layout = scenery.layout
    columns = np.int64(layout[map_index, NODES_X]) - 1
    rows = np.int64(layout[map_index, NODES_Y]) - 1
    squares = columns // SQUARE
    plain = np.int64(layout[map_index, SQUARE_ENTRY])
    edge = np.float32(SQUARE) * NODE_EDGE
    half_view = eye.middle_u / eye.focal * (ONE + abs(eye.ahead_z)) + abs(eye.ahead_z)
    from_x = eye.x - scenery.origin[map_index, 0]
    from_y = eye.y - scenery.origin[map_index, 1]
    left = np.int64(max(from_x - REACH, ZERO) / edge)
    low = np.int64(max(from_y - REACH, ZERO) / edge)
    right = min(np.int64(max(from_x + REACH, ZERO) / edge), squares - 1)
    high = min(np.int64(max(from_y + REACH, ZERO) / edge), rows // SQUARE - 1)
    for j in range(low, high + 1):
        for i in range(left, right + 1):
            dx = (np.float32(i) + HALF) * edge - from_x
            dy = (np.float32(j) + HALF) * edge - from_y
            if not is_ahead(eye, dx, dy, edge, half_view):
                continue
            away = dx * dx + dy * dy
            if away > REACH * REACH:
                continue
            size = 1
            if away > FINE_REACH * FINE_REACH or scenery.plain[plain + j * squares + i] != 0:
                size = SQUARE
            for up in range(j * SQUARE, (j + 1) * SQUARE, size):
                for along in range(i * SQUARE, (i + 1) * SQUARE, size):
                    dx = (np.float32(along) + HALF) * NODE_EDGE - from_x
                    dy = (np.float32(up) + HALF) * NODE_EDGE - from_y
                    if size > 1 or is_ahead(eye, dx, dy, NODE_EDGE, half_view):
                        draw_cell(canvas, lit, scenery, map_index, eye, air, along, up, size)
