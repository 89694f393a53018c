"""Bodies, lights and signs of a camera picture: up to four boxes each, with textures."""

from __future__ import annotations

import math

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.images.camera.eye import fog_share, seen_at, slope_at
from selfdrive_env.kernels.images.camera.faces import draw_face, narrow, row_range, cross
from selfdrive_env.kernels.images.camera.eye import SUN_SHARE
from selfdrive_env.kernels.math.random import DRAW_PAINT, uniforms
from selfdrive_env.state.road import (
    LINE_COS,
    LINE_SIN,
    LINE_X0,
    LINE_X1,
    LINE_Y0,
    LINE_Y1,
    LINE_Z,
)
from selfdrive_env.state.scenery import (
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
    ROLE_GREEN,
    ROLE_PAINT,
    ROLE_RED,
    ROLE_TAIL,
    ROLE_YELLOW,
    ROLES,
    ImageClass,
)
from selfdrive_env.state.world import ABSENT, GREEN, RED, STOP_SIGN, YELLOW

__all__ = ["LIGHT_KIND", "SIGN_KIND", "draw_bodies", "draw_deck", "draw_signs"]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
WHOLE_GAIN = np.float32(256.0)
LEAST = np.float32(1.0e-6)

LIGHT_KIND, SIGN_KIND = 8, 9
"""Rows of `Scenery.part` after those of `config.BODY_TYPES`."""

LIGHT_CLASS, SIGN_CLASS = int(ImageClass.TRAFFIC_LIGHT), int(ImageClass.STOP_SIGN)
WALL_CLASS = int(ImageClass.STRUCTURE)
LIGHT_SIZE = np.float32(0.36)  # [m]
LIGHT_HEIGHT = np.float32(4.4)  # [m]
SIGN_SIZE = np.float32(0.8)  # [m]
SIGN_HEIGHT = np.float32(2.9)  # [m]
ASIDE = np.float32(1.1)  # from the end of the stop line [m]
BEYOND = np.float32(2.0)  # of a light from the line, along the road [m]
SIGN_REACH = np.float32(150.0)  # [m]

BRAKES = np.float32(-0.6)  # acceleration from which brake lights are on [m/s^2]
STANDS = np.float32(0.1)  # speed below which they are [m/s]
DARK = np.float32(0.22)  # brightness of lenses that are off
SHADOW_WIDER = np.float32(0.12)  # [m]
SHADOW_SHARE = np.float32(0.4)  # of the body's height that casts the drawn shadow
SHADOW_LONGEST = np.float32(1.6)  # [m]
SHADOW_LIGHT = np.int32(140)  # what it leaves of the ground, of 256
SHADOW_FIT = np.float32(0.04)  # the ground lies within so much of the depth of a shadow
LOWEST_SUN = np.float32(0.2)
EIGHT = np.int32(8)


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
def draw_body(
    image, nearness, owner, touched, scenery, role, eye, air, kind, code,
    x, y, z, cos, sin, slope, length, width, height,
):  # fmt: skip
    """Draws all faces of a body that are seen.

    Args:
        image: [H, W, 3].
        nearness: [H, W] [1/m].
        owner: [H, W], or empty.
        touched: Likewise.
        scenery: `Scenery`.
        role: Colour of each role, [roles, 3].
        eye: The camera.
        air: The light.
        kind: Row of `Scenery.part`.
        code: Class, and 256 times the number of the agent.
        x: Middle of the box, east [m].
        y: North [m].
        z: Of its bottom [m].
        cos: Heading.
        sin: Heading.
        slope: Rise along the heading.
        length: [m]
        width: [m]
        height: [m]

    Returns:
        How many pixels it would have alone, where that is counted.
    """
    dx, dy, dz = x - eye.x, y - eye.y, z - eye.z
    ou, ov, depth = seen_at(eye, dx, dy, dz + HALF * height)
    count = 0
    if not is_in_view(eye, ou, ov, depth, HALF * (length + width + height)):
        return count
    share = fog_share(air, max(depth, ZERO))
    fog_r = np.int32(WHOLE_GAIN * share * air.fog_red)
    fog_g = np.int32(WHOLE_GAIN * share * air.fog_green)
    fog_b = np.int32(WHOLE_GAIN * share * air.fog_blue)
    clear = WHOLE_GAIN * (ONE - share)
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
            gain = np.int32(clear * light_on(air, nx, ny, nz))
            ou, ov, ow = seen_at(eye, dx + px, dy + py, dz + pz)
            au, av, aw = seen_at(eye, ex, ey, ez)
            bu, bv, bw = seen_at(eye, hx, hy, hz)
            texture = scenery.texture[scenery.part_texture[kind, number, which]]
            count += draw_face(
                image, nearness, owner, touched, texture, flipped, role, code, gain,
                fog_r, fog_g, fog_b, eye.near, 0,
                ou, ov, ow, au, av, aw, bu, bv, bw, before, after,
            )  # fmt: skip
    return count


@njit
def draw_shadow(image, nearness, eye, air, x, y, z, cos, sin, slope, length, width, height):
    """Darkens the ground below a body, and beside it away from the sun."""
    way = min(
        SHADOW_SHARE * height / max(air.sun_z, LOWEST_SUN), SHADOW_LONGEST
    )
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
    rows, columns = nearness.shape
    nx, ny, nz = cross(au, av, aw, bu, bv, bw)
    volume = ou * nx + ov * ny + ow * nz
    if abs(volume) < LEAST:
        return
    inverse = ONE / volume
    side = ONE if volume > ZERO else -ONE
    pu, pv, pw = ou + au, ov + av, ow + aw
    qu, qv, qw = pu + bu, pv + bv, pw + bw
    ru, rv, rw = ou + bu, ov + bv, ow + bw
    top, bottom = row_range(ov, ow, pv, pw, qv, qw, rv, rw, eye.near, rows)
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
        for column in range(first, last):
            close = base + inverse * nx * (np.float32(column) + HALF)
            if abs(close - nearness[row, column]) > SHADOW_FIT * close:
                continue
            for channel in range(3):
                image[row, column, channel] = (
                    np.int32(image[row, column, channel]) * SHADOW_LIGHT
                ) >> EIGHT


@njit
def light_roles(scenery, role, air):
    """Fills in the colours of all roles under the sun."""
    for number in range(ROLES):
        role[number, 0] = min(np.float32(scenery.role[number, 0]) * air.red, np.float32(255.0))
        role[number, 1] = min(np.float32(scenery.role[number, 1]) * air.green, np.float32(255.0))
        role[number, 2] = min(np.float32(scenery.role[number, 2]) * air.blue, np.float32(255.0))


@inline
def set_role(role, number, colour, brightness):
    """Gives a role a colour, in a light of its own."""
    for channel in range(3):
        role[number, channel] = np.uint8(np.float32(colour[channel]) * brightness)


@njit
def draw_bodies(image, nearness, owner, touched, box, model, data, scenery, role, eye, air,
        world, agent):  # fmt: skip
    """Draws shadows and bodies of everybody but the one that carries the camera."""
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
            dx, dy = x - eye.x, y - eye.y
            reach = eye.far + length
            if dx * dx + dy * dy > reach * reach:
                continue
            if dx * eye.ahead_x + dy * eye.ahead_y + length + width < (
                -abs(eye.ahead_z) * eye.far
            ):
                continue
            z = agents.z[world, other]
            slope = slope_at(model.lanes, np.int64(agents.segment[world, other]))
            slope = slope * agents.angle_cos[world, other]
            height = scenery.body_height[kind]
            if turn == 0:
                draw_shadow(
                    image, nearness, eye, air, x, y, z, cos, sin, slope, length, width, height
                )
                continue
            paint = uniforms(
                worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world], other, began,
                DRAW_PAINT, 0,
            )[0]  # fmt: skip
            colour = scenery.paint[np.int64(paint * np.float32(scenery.paint.shape[0]))]
            role[ROLE_PAINT, 0] = np.float32(colour[0]) * min(air.red, ONE)
            role[ROLE_PAINT, 1] = np.float32(colour[1]) * min(air.green, ONE)
            role[ROLE_PAINT, 2] = np.float32(colour[2]) * min(air.blue, ONE)
            slows = agents.acceleration[world, other] < BRAKES
            slows = slows or abs(agents.speed[world, other]) < STANDS
            lamp = scenery.role[ROLE_BRAKE] if slows else scenery.role[ROLE_TAIL]
            set_role(role, ROLE_TAIL, lamp, ONE)
            code = np.int32(scenery.body_class[kind]) + np.int32(256) * np.int32(other + 1)
            count = draw_body(
                image, nearness, owner, touched, scenery, role, eye, air, kind, code,
                x, y, z, cos, sin, slope, length, width, height,
            )  # fmt: skip
            if box.shape[0] > 0:
                box[other, 5] = count


@njit
def draw_signs(image, nearness, owner, touched, model, data, scenery, role, eye, air, world):
    """Draws the traffic light, or the stop sign, at the right end of each stop line."""
    signs = model.signs
    map_index = data.worlds.map[world]
    first = np.int64(signs.map_line_first[map_index])
    lines = np.int64(signs.map_line_first[map_index + 1]) - first
    for number in range(lines):
        line = signs.line[first + number]
        x, y = line[LINE_X1], line[LINE_Y1]
        if (x - eye.x) * (x - eye.x) + (y - eye.y) * (y - eye.y) > SIGN_REACH * SIGN_REACH:
            continue
        out_x, out_y = x - line[LINE_X0], y - line[LINE_Y0]
        long = np.float32(math.sqrt(out_x * out_x + out_y * out_y)) + LEAST
        x, y = x + ASIDE * out_x / long, y + ASIDE * out_y / long
        cos, sin = line[LINE_COS], line[LINE_SIN]
        colour = data.lights.line_colour[world, number]
        if colour == STOP_SIGN:
            draw_body(
                image, nearness, owner, touched, scenery, role, eye, air, SIGN_KIND, SIGN_CLASS,
                x, y, line[LINE_Z], -cos, -sin, ZERO, SIGN_SIZE, SIGN_SIZE, SIGN_HEIGHT,
            )  # fmt: skip
            continue
        x, y = x + BEYOND * cos, y + BEYOND * sin
        set_role(role, ROLE_RED, scenery.role[ROLE_RED], ONE if colour == RED else DARK)
        set_role(role, ROLE_YELLOW, scenery.role[ROLE_YELLOW], ONE if colour == YELLOW else DARK)
        set_role(role, ROLE_GREEN, scenery.role[ROLE_GREEN], ONE if colour == GREEN else DARK)
        draw_body(
            image, nearness, owner, touched, scenery, role, eye, air, LIGHT_KIND, LIGHT_CLASS,
            x, y, line[LINE_Z], -cos, -sin, ZERO, LIGHT_SIZE, LIGHT_SIZE, LIGHT_HEIGHT,
        )  # fmt: skip


@njit
def draw_deck(image, nearness, owner, touched, scenery, role, eye, air, quad):
    """Draws a wall of a bridge, both sides of it."""
    wall = scenery.quad[quad]
    ox, oy, oz = wall[0] - eye.x, wall[1] - eye.y, wall[2] - eye.z
    ou, ov, ow = seen_at(eye, ox, oy, oz)
    radius = abs(wall[3]) + abs(wall[4]) + abs(wall[8])
    if not is_in_view(eye, ou, ov, ow, radius):
        return
    au, av, aw = seen_at(eye, wall[3], wall[4], wall[5])
    bu, bv, bw = seen_at(eye, wall[6], wall[7], wall[8])
    nx, ny, nz = cross(wall[3], wall[4], wall[5], wall[6], wall[7], wall[8])
    away = ONE if ox * nx + oy * ny + oz * nz < ZERO else -ONE
    share = fog_share(air, max(ow, ZERO))
    gain = np.int32(WHOLE_GAIN * (ONE - share) * light_on(air, away * nx, away * ny, away * nz))
    draw_face(
        image, nearness, owner, touched, scenery.texture[0], 0, role, WALL_CLASS, gain,
        np.int32(WHOLE_GAIN * share * air.fog_red), np.int32(WHOLE_GAIN * share * air.fog_green),
        np.int32(WHOLE_GAIN * share * air.fog_blue), eye.near, 1,
        ou, ov, ow, au, av, aw, bu, bv, bw, ZERO, ZERO,
    )  # fmt: skip
