"""Flat faces in a picture, with a buffer of depths: what all things are made of.

A face is a corner O and two edges A and B in the frame of `camera_eye`: its points are
O + s A + t B. A pixel (x, y) sees it where d = (x, y, 1) and the matrix [A B O] tell:
(s, t, 1) / z = [A B O]^-1 d. All three are linear in x and y, and so is the side of each edge of
the face on which d lies: nothing has to be clipped, whatever of a face is behind the camera
(Olano and Greer, "Triangle Scan Conversion using 2D Homogeneous Coordinates", 1997).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import warp_barrier, warp_lane, warp_size
from selfdrive_env.kernels.images.camera.eye import blend
from selfdrive_env.state.camera.scenery import FIRST_LAMP

__all__ = [
    "Canvas",
    "Face",
    "cross",
    "draw_face",
    "narrow",
    "pixel_after",
    "pixel_range",
    "put_pixel",
]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
ENDLESS = np.float32(1.0e30)  # beyond all pixels [pixels]
LEAST = np.float32(1.0e-12)  # volume below which a face is seen from its edge [pixels^2 m^3]


class Canvas(NamedTuple):
    """What a picture is drawn into: pixels in rows from the top."""

    image: np.ndarray
    """Red, green and blue of all pixels, [3 H W]."""

    nearness: np.ndarray
    """1 / depth of what is drawn so far, 0 for the sky, [H W] [1/m]."""

    owner: np.ndarray
    """Class and agent of each pixel, [H W], or empty."""

    touched: np.ndarray
    """Agent drawn last at each pixel, seen or not, [H W], or empty."""


class Face(NamedTuple):
    """A flat face: its points are O + s A + t B."""

    corner: tuple[np.float32, np.float32, np.float32]
    """O, in the frame of the camera or, where that is said, the world [m]."""

    a: tuple[np.float32, np.float32, np.float32]
    """Edge A, likewise."""

    b: tuple[np.float32, np.float32, np.float32]
    """Edge B, likewise."""


@inline
def cross(ax, ay, az, bx, by, bz):
    """Returns the cross product of two vectors."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@inline
def pixel_after(place, count):
    """Returns the first of `count` pixels in a line whose middle is not before a place."""
    place = min(max(place - HALF, ZERO), np.float32(count))
    whole = np.int64(place)
    if np.float32(whole) < place:
        whole += 1
    return whole


@inline
def narrow(rise, rest, first, last, count):
    """Returns which of the pixels [first, last) of a line have rise * x + rest >= 0."""
    if rise > ZERO:
        first = max(first, pixel_after(-rest / rise, count))
    elif rise < ZERO:
        last = min(last, pixel_after(-rest / rise, count))
    elif rest < ZERO:
        last = first
    return first, last


@inline
def stretch(low, high, p0, z0, p1, z1, near):
    """Widens a range by where an edge from (p0, z0) to (p1, z1) begins and meets the near plane."""
    if z0 >= near:
        low, high = min(low, p0 / z0), max(high, p0 / z0)
    if (z0 >= near) != (z1 >= near):
        met = (p0 + (near - z0) / (z1 - z0) * (p1 - p0)) / near
        low, high = min(low, met), max(high, met)
    return low, high


@inline
def pixel_range(p0, z0, p1, z1, p2, z2, p3, z3, near, count):
    """Returns the first row, and the one after the last, in which a face of four corners lies.

    Args:
        p0: Of the first corner in the frame of the camera, down (or across, for columns).
        z0: Its depth; likewise the others [m].
        p1: Of the second corner.
        z1: Its depth.
        p2: Of the third corner.
        z2: Its depth.
        p3: Of the last corner.
        z3: Its depth.
        near: What is nearer is not seen [m].
        count: Rows.
    """
    low, high = ENDLESS, -ENDLESS
    low, high = stretch(low, high, p0, z0, p1, z1, near)
    low, high = stretch(low, high, p1, z1, p2, z2, near)
    low, high = stretch(low, high, p2, z2, p3, z3, near)
    low, high = stretch(low, high, p3, z3, p0, z0, near)
    return pixel_after(low, count), pixel_after(high, count)


@inline
def put_pixel(image, pixel, word):
    """Writes a colour to a pixel."""
    image[3 * pixel] = np.uint8(word & 255)
    image[3 * pixel + 1] = np.uint8((word >> 8) & 255)
    image[3 * pixel + 2] = np.uint8(word >> 16)


@njit
def draw_face(canvas, texture, flipped, role, code, eye, fog, two_sided, face, before, after):
    """Draws a face with two parallel edges, where nothing nearer is.

    Its corners are O, O + A, O + (1 - after) A + B and O + before A + B; seen from in front A
    leads to the left of B.

    Args:
        canvas: `Canvas`.
        texture: Roles, [rows, columns].
        flipped: Whether its columns run against A.
        role: Colour of each role in a word, [roles].
        code: What `Canvas.owner` is set to; of an agent also what `Canvas.touched` is.
        eye: The camera.
        fog: Of `fog_of`.
        two_sided: Whether its back is seen, too.
        face: `Face` in the frame of the camera.
        before: How far behind O the upper edge begins, as a share of A.
        after: How far it ends before A does, likewise.

    Returns:
        How many pixels came to be touched by this agent.
    """
    image, nearness, owner, touched = canvas
    (ox, oy, oz), (ax, ay, az), (bx, by, bz) = face
    rows, columns = eye.height, eye.width
    nx, ny, nz = cross(ax, ay, az, bx, by, bz)
    volume = ox * nx + oy * ny + oz * nz
    count = 0
    if abs(volume) < LEAST or (volume > ZERO and two_sided == 0):
        return count
    inverse = ONE / volume
    side = ONE if volume > ZERO else -ONE

    # Corners in order, then the planes through the eye and each edge.
    px, py, pz = ox + ax, oy + ay, oz + az
    qx, qy, qz = px + bx - after * ax, py + by - after * ay, pz + bz - after * az
    rx, ry, rz = ox + bx + before * ax, oy + by + before * ay, oz + bz + before * az
    top, bottom = pixel_range(oy, oz, py, pz, qy, qz, ry, rz, eye.near, rows)
    left, right = pixel_range(ox, oz, px, pz, qx, qz, rx, rz, eye.near, columns)
    if top >= bottom or left >= right:
        return count
    e0x, e0y, e0z = cross(ox, oy, oz, px, py, pz)
    e1x, e1y, e1z = cross(px, py, pz, qx, qy, qz)
    e2x, e2y, e2z = cross(qx, qy, qz, rx, ry, rz)
    e3x, e3y, e3z = cross(rx, ry, rz, ox, oy, oz)
    sx, sy, sz = cross(bx, by, bz, ox, oy, oz)
    tx, ty, tz = cross(ox, oy, oz, ax, ay, az)
    wide, high = np.float32(texture.shape[1]), np.float32(texture.shape[0])
    most_column, most_row = texture.shape[1] - 1, texture.shape[0] - 1
    scale_s, scale_t = inverse * wide, inverse * high
    labelled = owner.shape[0] > 0
    limit = ONE / eye.near
    rise = nx * inverse
    gain, red_and_blue, green, glow = fog

    for row in range(top, bottom):
        y = np.float32(row) + HALF
        nearest = inverse * (ny * y + nz)
        first, last = narrow(side * e0x, side * (e0y * y + e0z), left, right, columns)
        first, last = narrow(side * e1x, side * (e1y * y + e1z), first, last, columns)
        first, last = narrow(side * e2x, side * (e2y * y + e2z), first, last, columns)
        first, last = narrow(side * e3x, side * (e3y * y + e3z), first, last, columns)
        first, last = narrow(rise, nearest, first, last, columns)
        first, last = narrow(-rise, limit - nearest, first, last, columns)
        s_row, t_row = scale_s * (sy * y + sz), scale_t * (ty * y + tz)
        for column in range(first + warp_lane(), last, warp_size()):
            x = np.float32(column) + HALF
            close = nearest + rise * x
            depth = ONE / close
            u = np.int64(max((s_row + scale_s * sx * x) * depth, ZERO))
            v = np.int64(max((t_row + scale_t * tx * x) * depth, ZERO))
            u, v = min(u, most_column), min(v, most_row)
            if flipped != 0:
                u = most_column - u
            found = np.int64(texture[v, u])
            if found == 0:
                continue
            pixel = row * columns + column
            if labelled and touched[pixel] != code:
                touched[pixel] = code
                count += 1
            if close <= nearness[pixel]:
                continue
            nearness[pixel] = close
            light = glow if found >= FIRST_LAMP else gain
            put_pixel(image, pixel, blend(np.int64(role[found]), light, red_and_blue, green))
            if labelled:
                owner[pixel] = code
    warp_barrier()
    return count
