"""The plan of a camera: from its settings to what the engine draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.config import images as config
from selfdrive_env.engine.pictures import ViewPlan
from selfdrive_env.images.scenery.pool import PoolScenery
from selfdrive_env.kernels.images.camera.picture import draw_camera
from selfdrive_env.state.arrays import allocate
from selfdrive_env.state.camera.scenery import ROLES, ImageClass
from selfdrive_env.state.camera.shots import BOX_COLUMNS, CAMERA_STAGES, Camera, CameraView, Shots
from selfdrive_env.state.images import CODES, EMPTY

__all__ = ["camera_plan"]

LABELS = ("kind", "agent", "depth", "box")
"""Fields of `Shots` that belong to the pictures as they are."""


def camera_plan(name: str, picture: config.Camera, learners: int, agents: int) -> ViewPlan:
    """Returns the plan of a camera.

    Args:
        name: In observations.
        picture: Its settings.
        learners: Rows of each world.
        agents: Slots of each world, whom labels tell apart.
    """
    scenery = PoolScenery()
    return ViewPlan(
        name=name,
        picture=picture,
        struct=CameraView,
        parts=lambda rows, workers: {
            "camera": _camera_of(picture, learners),
            "scenery": scenery.arrays,
            "shots": _shots(picture, rows, agents, workers),
        },
        kernel=cached(draw_camera),
        tables=_tables(picture.colour),
        empty=0 if picture.colour == "rgb" else EMPTY,
        prepare=scenery.prepare,
        worker_bytes=sum(part.nbytes for part in _work(_shots(picture, 0, agents, 1))),
        kept={"shots": LABELS} if picture.labels else {},
    )


def _work(shots: Shots) -> list[NDArray[Any]]:
    """Returns what each that draws works with."""
    return [shots.nearness, shots.owner, shots.touched, shots.canvas, shots.lit, shots.lit_role]


def _camera_of(picture: config.Camera, learners: int) -> Camera:
    yaw, pitch = math.radians(picture.yaw), math.radians(picture.pitch)
    ahead, left, up = picture.position
    numbers: Mapping[str, float] = {
        "focal": picture.focal,
        "x": ahead,
        "y": left,
        "z": up,
        "yaw_cos": math.cos(yaw),
        "yaw_sin": math.sin(yaw),
        "pitch_cos": math.cos(pitch),
        "pitch_sin": math.sin(pitch),
        "near": picture.near,
        "far": picture.far,
        "sun_low": math.sin(math.radians(picture.sun[0])),
        "sun_high": math.sin(math.radians(picture.sun[1])),
        "fog_low": picture.fog[0],
        "fog_high": picture.fog[1],
        "noise": picture.noise,
    }
    return Camera(
        width=picture.width,
        height=picture.height,
        learners=learners,
        first=int(picture.channels_first),
        labelled=int(picture.labelled),
        **{name: np.float32(value) for name, value in numbers.items()},
    )


def _shots(picture: config.Camera, rows: int, agents: int, workers: int) -> Shots:
    """Returns the buffers of a camera; without labels there is an empty label."""
    labelled = picture.labelled
    pixels = picture.height * picture.width
    return allocate(
        Shots,
        label_shot=rows if labelled else 1,
        pixel_row=picture.height if labelled else 0,
        pixel_column=picture.width if labelled else 0,
        agent=agents if labelled else 0,
        box_column=BOX_COLUMNS,
        worker=max(workers, 1),
        pixel=pixels,
        label_worker=max(workers, 1) if labelled else 1,
        label_pixel=pixels if labelled else 0,
        canvas_byte=0 if picture.colour == "rgb" else 3 * pixels,
        code=CODES,
        role=ROLES,
        camera_stage=len(CAMERA_STAGES),
    )


def _tables(colour: str) -> dict[str, NDArray[Any]]:
    """Returns `tint`, `shade` and `word` of frames: empty where frames hold colours."""
    if colour == "rgb":
        none = np.zeros((3, 0))
        return {
            "tint": none.astype(np.uint8),
            "shade": none.astype(np.float32),
            "word": np.zeros(0, np.uint32),
        }
    code = np.arange(CODES)
    tint = code[None] if colour == "gray" else 255 * (code == np.arange(len(ImageClass))[:, None])
    tint = np.where(code == EMPTY, 0, tint).astype(np.uint8)
    word = np.zeros(CODES, np.uint32)
    for channel, values in enumerate(tint[:3]):
        word |= values.astype(np.uint32) << np.uint32(8 * channel)
    return {"tint": tint, "shade": (tint / 255.0).astype(np.float32), "word": word}
