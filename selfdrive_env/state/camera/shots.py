"""The structs of a camera and of what it has drawn, each field declared once.

Axes: V rows of the caller, H x W pixels, A agents.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

from selfdrive_env.state.arrays import F32, I32, I64, U8, U32
from selfdrive_env.state.camera.scenery import Scenery
from selfdrive_env.state.images import Frames

__all__ = ["CAMERA_STAGES", "Camera", "CameraView", "Shots"]

CAMERA_STAGES = ("sky", "ground", "bodies", "things", "store")
"""Columns of `Shots.cycles`."""


class Camera(NamedTuple):
    """A pinhole camera on the bodies of learners, and the weather, as scalars."""

    width: int
    """[pixels]"""

    height: int
    focal: np.float32
    """[pixels]"""

    x: np.float32
    """Of the pinhole from the middle of the box on the ground, forward [m]."""

    y: np.float32
    """To the left [m]."""

    z: np.float32
    """Upward [m]."""

    yaw_cos: np.float32
    """Of the axis against the heading, positive to the left."""

    yaw_sin: np.float32
    pitch_cos: np.float32
    """Positive upward."""

    pitch_sin: np.float32
    near: np.float32
    """Nothing nearer is drawn [m]."""

    far: np.float32
    """Nothing farther is drawn but ground and sky [m]."""

    sun_low: np.float32
    """Sine of the least elevation of the sun."""

    sun_high: np.float32
    fog_low: np.float32
    """Least extinction of the air [1/m]."""

    fog_high: np.float32
    noise: np.float32
    """Standard deviation of the noise of a pixel, of 255."""

    learners: int
    """Rows of the caller in each world: its first agents."""

    first: int
    """1: channels before rows and columns."""

    labelled: int
    """1: classes, agents, depths and boxes are written, too."""


# Columns of Shots.box.
(BOX_LEFT, BOX_TOP, BOX_RIGHT, BOX_BOTTOM, BOX_VISIBLE, BOX_ALONE) = range(6)
BOX_COLUMNS = 6


class Shots(NamedTuple):
    """What a camera has drawn, one entry a row of the caller, and what it works with."""

    kind: Annotated[U8, "label_shot pixel_row pixel_column"]
    """An `ImageClass`."""

    agent: Annotated[I32, "label_shot pixel_row pixel_column"]
    """Slot of the agent + 1, 0 for none."""

    depth: Annotated[F32, "label_shot pixel_row pixel_column"]
    """Along the optical axis, at most `Camera.far` [m]."""

    box: Annotated[I32, "label_shot agent box_column"]
    """What is seen of each agent: first and last column and row, all -1 where nothing is; how many
    of its pixels are seen, and how many would be if it were alone."""

    nearness: Annotated[F32, "worker pixel"]
    """1 / depth of what is drawn so far, 0 for the sky [1/m]."""

    owner: Annotated[I32, "label_worker label_pixel"]
    """Class of what is drawn, and 256 times its agent's slot + 1."""

    touched: Annotated[I32, "label_worker label_pixel"]
    """Agent that was last drawn there, seen or not."""

    canvas: Annotated[U8, "worker canvas_byte"]
    """Red, green and blue, where frames keep something else of them."""

    lit: Annotated[U32, "worker code"]
    """`Scenery.colour` under the sun, red in the lowest byte."""

    lit_role: Annotated[U32, "worker role"]
    """`Scenery.role` of the body that is drawn, likewise."""

    cycles: Annotated[I64, "worker camera_stage"]
    """Processor cycles spent in each stage since the buffers were made."""


class CameraView(NamedTuple):
    """All that the kernel of a camera gets beside `Model` and `Data`."""

    camera: Camera
    scenery: Scenery
    shots: Shots
    frames: Frames
