"""Where a camera is and what the light is like: the frame that all it draws is given in.

Camera frame: x to the right, y down, z along the optical axis. Places in it are scaled so that the
pinhole equation is a division: a point (u, v, z) is seen at the pixel (u / z, v / z).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.kernels.math.elementary import direction, exponential
from selfdrive_env.kernels.math.random import DRAW_WEATHER, uniforms
from selfdrive_env.state.road import SEG_LENGTH, SEG_Z

__all__ = [
    "Air",
    "Eye",
    "blend",
    "eye_of",
    "fog_of",
    "fog_share",
    "pack",
    "seen_at",
    "slope_at",
    "weather",
]

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)

WHOLE_GAIN = np.float32(256.0)  # of `blend`, which leaves a colour as it is
OUTER, INNER, BYTE = 0xFF00FF, 0x00FF00, 0xFF  # channels of a word
CLEAR_AIR = np.float32(1.0 / 2500.0)  # extinction without fog [1/m]
THICKEST = np.float32(20.0)  # extinction times distance from which all is fog
DIMMEST, BRIGHTEST = np.float32(0.72), np.float32(1.12)  # of the light, sun low and high
WARMTH = np.float32(0.16)  # what blue lacks of red when the sun is low
SUN_SHARE = np.float32(0.38)  # of the light, from the sun and not the sky

ZENITH_R, ZENITH_G, ZENITH_B = (np.float32(v) for v in (94.0, 148.0, 214.0))  # of 255
HORIZON_R, HORIZON_G, HORIZON_B = (np.float32(v) for v in (196.0, 212.0, 226.0))  # of 255
FOG_R, FOG_G, FOG_B = (np.float32(v) for v in (190.0, 195.0, 200.0))  # of 255
FOGGY = np.float32(0.01)  # extinction from which the sky is grey [1/m]


class Eye(NamedTuple):
    """A camera in the world."""

    x: np.float32
    """East [m]."""

    y: np.float32
    """North [m]."""

    z: np.float32
    """Elevation [m]."""

    ahead_x: np.float32
    """Optical axis."""

    ahead_y: np.float32
    ahead_z: np.float32
    right_x: np.float32
    """To the right; always level."""

    right_y: np.float32
    down_x: np.float32
    down_y: np.float32
    down_z: np.float32
    focal: np.float32
    """[pixels]"""

    middle_u: np.float32
    """Where the optical axis is seen [pixels]."""

    middle_v: np.float32
    near: np.float32
    """[m]"""

    far: np.float32
    """[m]"""

    width: int
    """[pixels]"""

    height: int
    """[pixels]"""


class Air(NamedTuple):
    """Sun and fog of an episode of a world."""

    sun_x: np.float32
    """Direction to the sun."""

    sun_y: np.float32
    sun_z: np.float32
    red: np.float32
    """Brightness of what the sun and the sky light evenly."""

    green: np.float32
    blue: np.float32
    extinction: np.float32
    """Share of the light that is lost a metre [1/m]."""

    fog_red: np.float32
    """Of far away, 0 to 255."""

    fog_green: np.float32
    fog_blue: np.float32
    zenith_red: np.float32
    zenith_green: np.float32
    zenith_blue: np.float32


@inline
def mix(a, b, share):
    """Returns what lies at a share of the way from a to b."""
    return a + (b - a) * share


@njit
def slope_at(lanes, segment):
    """Returns how much the lane of a segment rises a metre, along the lane."""
    after = segment + 1
    before = segment
    last = after >= lanes.segment_lane.shape[0]
    if last or lanes.segment_lane[after] != lanes.segment_lane[segment]:
        after = segment
        before = segment - 1
        if before < 0 or lanes.segment_lane[before] != lanes.segment_lane[segment]:
            return ZERO
    way = lanes.segment[before, SEG_LENGTH]
    if way <= ZERO:
        return ZERO
    return (lanes.segment[after, SEG_Z] - lanes.segment[before, SEG_Z]) / way


@njit
def eye_of(camera, x, y, z, cos, sin, slope):
    """Returns the camera on a body.

    Args:
        camera: `Camera`.
        x: Middle of the box, east [m].
        y: North [m].
        z: Elevation of the road [m].
        cos: Heading.
        sin: Heading.
        slope: Rise of the road along the heading.
    """
    yaw_cos = cos * camera.yaw_cos - sin * camera.yaw_sin
    yaw_sin = sin * camera.yaw_cos + cos * camera.yaw_sin
    rise = slope * camera.yaw_cos
    norm = ONE / np.float32(math.sqrt(ONE + rise * rise))
    pitch_cos = (camera.pitch_cos - camera.pitch_sin * rise) * norm
    pitch_sin = (camera.pitch_sin + camera.pitch_cos * rise) * norm
    return Eye(
        x + camera.x * cos - camera.y * sin,
        y + camera.x * sin + camera.y * cos,
        z + camera.z + camera.x * slope,
        yaw_cos * pitch_cos,
        yaw_sin * pitch_cos,
        pitch_sin,
        yaw_sin,
        -yaw_cos,
        yaw_cos * pitch_sin,
        yaw_sin * pitch_sin,
        -pitch_cos,
        camera.focal,
        HALF * np.float32(camera.width),
        HALF * np.float32(camera.height),
        camera.near,
        camera.far,
        np.int64(camera.width),
        np.int64(camera.height),
    )


@inline
def seen_at(eye, dx, dy, dz):
    """Returns u, v, z of a vector in the world: scaled so that it is seen at (u / z, v / z)."""
    depth = dx * eye.ahead_x + dy * eye.ahead_y + dz * eye.ahead_z
    across = dx * eye.right_x + dy * eye.right_y
    down = dx * eye.down_x + dy * eye.down_y + dz * eye.down_z
    return eye.focal * across + eye.middle_u * depth, eye.focal * down + eye.middle_v * depth, depth


@inline
def fog_share(air, distance):
    """Returns how much of what is seen at a distance is fog."""
    return ONE - exponential(-min(air.extinction * distance, THICKEST))


@inline
def pack(red, green, blue):
    """Returns a colour in one word, red in its lowest byte; channels are from 0 to 255."""
    return np.int64(red) | (np.int64(green) << 8) | (np.int64(blue) << 16)


@inline
def fog_of(air, share, light):
    """Returns what `blend` needs to light a colour and to mix it with a share of fog.

    Args:
        air: `Air`.
        share: From 0 to 1.
        light: On the colour, from 0 to 1.

    Returns:
        Gain of what is lit, what is added, and the gain of lamps.
    """
    whole = WHOLE_GAIN * share
    return (
        np.int64(WHOLE_GAIN * (ONE - share) * light),
        np.int64(whole * air.fog_red) | (np.int64(whole * air.fog_blue) << 16),
        np.int64(whole * air.fog_green),
        np.int64(WHOLE_GAIN * (ONE - share)),
    )


@inline
def blend(word, gain, red_and_blue, green):
    """Returns a colour, in one word, times `gain` of 256, with what is added to each channel."""
    outer = ((word & OUTER) * gain + red_and_blue) >> 8
    inner = ((word >> 8) & BYTE) * gain + green
    return (outer & OUTER) | (inner & INNER)


@njit
def weather(camera, worlds, world):
    """Returns sun and fog of the running episode of a world, drawn by its seed."""
    began = worlds.tick[world] - np.uint32(worlds.clock[world])
    units = uniforms(
        worlds.key[world, 0], worlds.key[world, 1], worlds.stream[world], -1, began, DRAW_WEATHER, 0
    )
    sun_z = mix(camera.sun_low, camera.sun_high, units[0])
    level = np.float32(math.sqrt(max(ONE - sun_z * sun_z, ZERO)))
    cos, sin = direction(units[1])
    fog = mix(camera.fog_low, camera.fog_high, units[2])
    light = mix(DIMMEST, BRIGHTEST, sun_z)
    grey = min(fog / FOGGY, ONE)
    cold = ONE - WARMTH * (ONE - sun_z)
    return Air(
        level * cos,
        level * sin,
        sun_z,
        light,
        light * mix(ONE, cold, HALF),
        light * cold,
        CLEAR_AIR + fog,
        light * mix(HORIZON_R, FOG_R, grey),
        light * mix(HORIZON_G, FOG_G, grey),
        light * mix(HORIZON_B, FOG_B, grey),
        light * mix(ZENITH_R, FOG_R, grey),
        light * mix(ZENITH_G, FOG_G, grey),
        light * mix(ZENITH_B, FOG_B, grey),
    )
