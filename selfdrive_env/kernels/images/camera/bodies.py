"""Bodies of a camera picture: up to four boxes each, with textures, and their shadows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_barrier, warp_lane, warp_size
from selfdrive_env.kernels.drivers.erratic import sees_nobody
from selfdrive_env.kernels.images.camera.eye import (
    SUN_SHARE,
    fog_of,
    fog_share,
    pack,
    seen_at,
    slope_at,
)
from selfdrive_env.kernels.images.camera.faces import Face, cross, draw_face, narrow, pixel_range
from selfdrive_env.kernels.math.random import DRAW_PAINT, uniforms
from selfdrive_env.state.camera.scenery import (
    FACE_FRONT,
    FACE_REAR,
    FACE_SIDE,
    FACE_TOP,
    MOST_PARTS,
    PART_FRONT,
    PART_HIGH,
    PART_LOW,
    PART_REAR,
    PART_TOP_FRONT,
    PART_TOP_REAR,
    PART_TOP_WIDE,
    PART_WIDE,
    ROLE_BRAKE,
    ROLE_PAINT,
    ROLE_TAIL,
)
from selfdrive_env.state.camera.shots import BOX_ALONE
from selfdrive_env.state.world import ABSENT

__all__ = [
    "Place",
    "Size",
    "draw_bodies",
    "draw_body",
    "is_in_view",
    "lamp_word",
    "light_colours",
    "light_on",
]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
FULL = np.float32(255.0)  # the brightest value of a channel
LEAST = np.float32(1.0e-6)  # of the length of a normal [m^2], and a volume [pixels^2 m^3]
BRAKES = np.float32(-0.6)  # acceleration from which brake lights are on [m/s^2]
STANDS = np.float32(0.1)  # speed below which they are [m/s]
SHADOW_WIDER = np.float32(0.12)  # [m]
SHADOW_SHARE = np.float32(0.4)  # of the body's height that casts the drawn shadow
SHADOW_LONGEST = np.float32(1.6)  # [m]
SHADOW_REACH = np.float32(80.0)  # [m]
SHADOW_LIGHT = 140  # what it leaves of the ground, of 256
SHADOW_FIT = np.float32(0.04)  # the ground lies within so much of the depth of a shadow
LOWEST_SUN = np.float32(0.2)  # sine of its elevation, from which shadows get no longer


class Place(NamedTuple):
    """Where a body is in the world."""

    x: np.float32
    """Middle of its box, east [m]."""

    y: np.float32
    """North [m]."""

    z: np.float32
    """Of its bottom [m]."""

    cos: np.float32
    """Of the heading."""

    sin: np.float32
    slope: np.float32
    """Rise along the heading."""


class Size(NamedTuple):
    """The box of a body."""

    length: np.float32
    """[m]"""

    width: np.float32
    """[m]"""

    height: np.float32
    """[m]"""


@inline
def is_in_view(eye, u, v, depth, radius):
    """Whether a ball at a place of the camera's frame may be seen."""
    if depth < eye.near - radius or depth > eye.far + radius:
        return False
    margin = TWO * radius * eye.focal
    wide, high = TWO * eye.middle_u, TWO * eye.middle_v
    if u < -margin or u > wide * max(depth, ZERO) + margin + wide * radius:
        return False
    return v >= -margin and v <= high * max(depth, ZERO) + margin + high * radius


@inline
def light_on(air, nx, ny, nz):
    """Returns how bright a face with a normal is, which may have any length."""
    length = np.float32(math.sqrt(nx * nx + ny * ny + nz * nz)) + LEAST
    sun = max((nx * air.sun_x + ny * air.sun_y + nz * air.sun_z) / length, ZERO)
    sky = HALF + HALF * nz / length
    return ONE - SUN_SHARE + SUN_SHARE * sun - (ONE - sky) * HALF * SUN_SHARE


@njit
def draw_body(canvas, scenery, role, eye, air, kind, code, place, size):
    """Draws all faces of a body that are seen.

    Args:
        canvas: `Canvas`.
        scenery: `Scenery`.
        role: Colour of each role in a word, [roles].
        eye: The camera.
        air: The light.
        kind: Row of `Scenery.part`.
        code: Class, and 256 times the number of the agent.
        place: `Place` [m].
        size: `Size` [m].

    Returns:
        How many pixels it would have alone, where that is counted.
    """
    x, y, z, cos, sin, slope = place
    length, width, height = size
    dx, dy, dz = x - eye.x, y - eye.y, z - eye.z
    ou, ov, depth = seen_at(eye, dx, dy, dz + HALF * height)
    count = 0
    if not is_in_view(eye, ou, ov, depth, HALF * (length + width + height)):
        return count
    share = fog_share(air, max(depth, ZERO))
    part = scenery.part
    for number in range(MOST_PARTS):
        if scenery.part_texture[kind, number, 0] < 0:
            break
        rear, front = part[kind, number, PART_REAR], part[kind, number, PART_FRONT]
        top_rear, top_front = part[kind, number, PART_TOP_REAR], part[kind, number, PART_TOP_FRONT]
        wide, top_wide = part[kind, number, PART_WIDE], part[kind, number, PART_TOP_WIDE]
        low, high = part[kind, number, PART_LOW], part[kind, number, PART_HIGH]
        for face in range(5):
            # Corner and edges as shares of length, width and height; the upper edge's insets.
            which, flipped = FACE_SIDE, 0
            az = ZERO
            bz = high - low
            oz = low
            before, after = ZERO, ZERO
            if face == 0:
                which = FACE_FRONT
                ox, oy, ax, ay, bx, by = front, -wide, ZERO, TWO * wide, top_front - front, ZERO
                before = after = HALF - HALF * top_wide / wide
            elif face == 1:
                which = FACE_REAR
                ox, oy, ax, ay, bx, by = rear, wide, ZERO, -TWO * wide, top_rear - rear, ZERO
                before = after = HALF - HALF * top_wide / wide
            elif face == 2:
                flipped = 1
                ox, oy, ax, ay, bx, by = front, wide, rear - front, ZERO, ZERO, top_wide - wide
                before = (front - top_front) / (front - rear)
                after = (top_rear - rear) / (front - rear)
            elif face == 3:
                ox, oy, ax, ay, bx, by = rear, -wide, front - rear, ZERO, ZERO, wide - top_wide
                before = (top_rear - rear) / (front - rear)
                after = (front - top_front) / (front - rear)
            else:
                which = FACE_TOP
                ox, oy, ax, ay = top_rear, -top_wide, top_front - top_rear, ZERO
                bx, by = ZERO, TWO * top_wide
                oz, bz = high, ZERO

            ox, ax, bx = ox * length, ax * length, bx * length
            oy, ay, by = oy * width, ay * width, by * width
            px, py, pz = ox * cos - oy * sin, ox * sin + oy * cos, oz * height + ox * slope
            ex, ey, ez = ax * cos - ay * sin, ax * sin + ay * cos, az + ax * slope
            hx, hy, hz = bx * cos - by * sin, bx * sin + by * cos, bz * height + bx * slope
            nx, ny, nz = cross(ex, ey, ez, hx, hy, hz)
            fog = fog_of(air, share, light_on(air, nx, ny, nz))
            seen = Face(
                seen_at(eye, dx + px, dy + py, dz + pz),
                seen_at(eye, ex, ey, ez),
                seen_at(eye, hx, hy, hz),
            )
            texture = scenery.texture[scenery.part_texture[kind, number, which]]
            count += draw_face(
                canvas, texture, flipped, role, code, eye, fog, 0, seen, before, after
            )
    return count


@njit
def draw_shadow(canvas, eye, air, place, size):
    """Darkens the ground below a body, and beside it away from the sun."""
    image, nearness = canvas.image, canvas.nearness
    x, y, z, cos, sin, slope = place
    length, width, height = size
    way = min(SHADOW_SHARE * height / max(air.sun_z, LOWEST_SUN), SHADOW_LONGEST)
    dx, dy = x - eye.x - way * HALF * air.sun_x, y - eye.y - way * HALF * air.sun_y
    long = HALF * length + SHADOW_WIDER + HALF * way * abs(air.sun_x * cos + air.sun_y * sin)
    wide = HALF * width + SHADOW_WIDER + HALF * way * abs(air.sun_y * cos - air.sun_x * sin)
    ou, ov, ow = seen_at(
        eye, dx - long * cos + wide * sin, dy - long * sin - wide * cos, z - eye.z - long * slope
    )
    if not is_in_view(eye, ou, ov, ow, TWO * long + TWO * wide):
        return
    au, av, aw = seen_at(eye, TWO * long * cos, TWO * long * sin, TWO * long * slope)
    bu, bv, bw = seen_at(eye, -TWO * wide * sin, TWO * wide * cos, ZERO)
    rows, columns = eye.height, eye.width
    nx, ny, nz = cross(au, av, aw, bu, bv, bw)
    volume = ou * nx + ov * ny + ow * nz
    if abs(volume) < LEAST:
        return
    inverse = ONE / volume
    side = ONE if volume > ZERO else -ONE
    pu, pv, pw = ou + au, ov + av, ow + aw
    qu, qv, qw = pu + bu, pv + bv, pw + bw
    ru, rv, rw = ou + bu, ov + bv, ow + bw
    top, bottom = pixel_range(ov, ow, pv, pw, qv, qw, rv, rw, eye.near, rows)
    e0x, e0y, e0z = cross(ou, ov, ow, pu, pv, pw)
    e1x, e1y, e1z = cross(pu, pv, pw, qu, qv, qw)
    e2x, e2y, e2z = cross(qu, qv, qw, ru, rv, rw)
    e3x, e3y, e3z = cross(ru, rv, rw, ou, ov, ow)
    for row in range(top, bottom):
        y = np.float32(row) + HALF
        base = inverse * (ny * y + nz)
        first, last = narrow(side * e0x, side * (e0y * y + e0z), 0, columns, columns)
        first, last = narrow(side * e1x, side * (e1y * y + e1z), first, last, columns)
        first, last = narrow(side * e2x, side * (e2y * y + e2z), first, last, columns)
        first, last = narrow(side * e3x, side * (e3y * y + e3z), first, last, columns)
        first, last = narrow(inverse * nx, base, first, last, columns)
        for column in range(first + warp_lane(), last, warp_size()):
            close = base + inverse * nx * (np.float32(column) + HALF)
            pixel = row * columns + column
            if abs(close - nearness[pixel]) > SHADOW_FIT * close:
                continue
            for channel in range(3 * pixel, 3 * pixel + 3):
                image[channel] = np.uint8((np.int64(image[channel]) * SHADOW_LIGHT) >> 8)
    warp_barrier()


@inline
def lit_word(colour, air):
    """Returns a colour under the sun in one word."""
    return pack(
        min(np.float32(colour[0]) * air.red, FULL),
        min(np.float32(colour[1]) * air.green, FULL),
        min(np.float32(colour[2]) * air.blue, FULL),
    )


@inline
def lamp_word(colour, brightness):
    """Returns the colour of a lamp in one word."""
    return pack(
        np.float32(colour[0]) * brightness,
        np.float32(colour[1]) * brightness,
        np.float32(colour[2]) * brightness,
    )


@njit
def light_colours(lit, colour, air):
    """Fills in words for colours under the sun."""
    for number in range(warp_lane(), colour.shape[0], warp_size()):
        lit[number] = lit_word(colour[number], air)


@inline
def add_shares(box, other, count):
    """Adds what the threads of a warp have counted of a body, one after the other."""
    for lane in range(warp_size()):
        if lane == warp_lane():
            box[other, BOX_ALONE] += count
        warp_barrier()


@njit
def draw_bodies(canvas, box, model, data, scenery, role, eye, air, world, agent):
    """Draws shadows and bodies of all but the one that carries the camera; none if it is blind.

    Args:
        canvas: `Canvas`.
        box: Of all agents, columns `BOX_*`; gets how many pixels each would have alone, or empty.
        model: Of the batch.
        data: Of the batch.
        scenery: `Scenery`.
        role: Colour of each role in a word, [roles]; those of a body are set for it.
        eye: The camera.
        air: The light.
        world: Which.
        agent: Whose camera it is.
    """
    if sees_nobody(data, world, agent):
        return
    agents, bodies, worlds = data.agents, data.bodies, data.worlds
    began = worlds.tick[world] - np.uint32(worlds.clock[world])
    everybody = agents.x.shape[1]
    for turn in range(2):
        for other in range(everybody):
            if other == agent or agents.status[world, other] == ABSENT:
                continue
            kind = np.int64(bodies.type[world, other])
            cos, sin = agents.cos[world, other], agents.sin[world, other]
            half = HALF * bodies.wheelbase[world, other]
            x, y = agents.x[world, other] + half * cos, agents.y[world, other] + half * sin
            length, width = bodies.length[world, other], bodies.width[world, other]
            z, height = agents.z[world, other], scenery.body_height[kind]
            u, v, depth = seen_at(eye, x - eye.x, y - eye.y, z + HALF * height - eye.z)
            if not is_in_view(eye, u, v, depth, HALF * (length + width + height)):
                continue
            slope = slope_at(model.lanes, np.int64(agents.segment[world, other]))
            slope = slope * agents.angle_cos[world, other]
            place, size = Place(x, y, z, cos, sin, slope), Size(length, width, height)
            if turn == 0:
                if depth <= SHADOW_REACH:
                    draw_shadow(canvas, eye, air, place, size)
                continue
            paint = uniforms(
                worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world], other, began,
                DRAW_PAINT, 0,
            )[0]  # fmt: skip
            colour = scenery.paint[np.int64(paint * np.float32(scenery.paint.shape[0]))]
            role[ROLE_PAINT] = lit_word(colour, air)
            slows = agents.acceleration[world, other] < BRAKES
            slows = slows or abs(agents.speed[world, other]) < STANDS
            lamp = ROLE_BRAKE if slows else ROLE_TAIL
            role[ROLE_TAIL] = lamp_word(scenery.role[lamp], ONE)
            code = np.int32(scenery.body_class[kind]) + np.int32(256) * np.int32(other + 1)
            count = draw_body(canvas, scenery, role, eye, air, kind, code, place, size)
            if box.shape[0] > 0:
                add_shares(box, other, count)
