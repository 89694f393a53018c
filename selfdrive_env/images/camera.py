"""Cameras on the bodies of an engine: settings of a camera, its buffers, and their filling."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.structs import Table
from selfdrive_env.compiler.workers import run
from selfdrive_env.images.scenery.pool import make_scenery
from selfdrive_env.kernels.images.camera.picture import draw_worlds
from selfdrive_env.maps.pool.kept_map import KeptMap
from selfdrive_env.state.arrays import allocate
from selfdrive_env.state.scenery import BOX_COLUMNS, CAMERA_STAGES, ROLES, Camera, CameraView, Shots

__all__ = ["CameraSettings", "Cameras"]

SOURCES = ("kernels", "compiler", "state")


@dataclass(frozen=True)
class CameraSettings:
    """A pinhole camera on a body, and the weather."""

    width: int = 160
    height: int = 90
    field_of_view: float = 90.0
    """Horizontal [deg]."""

    x: float = 0.4
    """Forward from the middle of the body [m]."""

    y: float = 0.0
    """To the left [m]."""

    z: float = 1.5
    """Above the road [m]."""

    yaw: float = 0.0
    """Positive to the left [deg]."""

    pitch: float = 0.0
    """Positive upward [deg]."""

    near: float = 0.3
    far: float = 300.0
    sun: tuple[float, float] = (20.0, 70.0)
    """Elevation: range from which it is drawn for each episode [deg]."""

    fog: tuple[float, float] = (0.0, 0.0)
    """Extinction: likewise [1/m]."""

    noise: float = 0.0
    """Standard deviation, of 255."""


class Cameras:
    """Draws what one camera on each learner of an engine sees."""

    def __init__(self, engine: Any, settings: CameraSettings, *, labels: bool = False) -> None:
        self.engine, self.settings = engine, settings
        self.camera = _camera_of(settings, labels)
        maps = [one.load() if isinstance(one, KeptMap) else one for one in engine.pool.maps]
        self.scenery = make_scenery(maps)
        self.shots = _shots(engine, settings, labels)
        self._view = Table(CameraView(self.camera, self.scenery, self.shots))

    def draw(self) -> None:
        """Draws the pictures of all rows."""
        arguments = np.array([*self.engine.tables, self._view.address], np.int64)
        run(_compiled(), self.engine.num_worlds, self.engine.settings.threads, arguments)


@functools.cache
def _compiled() -> Any:
    return cached(draw_worlds, SOURCES)


def _camera_of(settings: CameraSettings, labels: bool) -> Camera:
    half = math.radians(0.5 * settings.field_of_view)
    yaw, pitch = math.radians(settings.yaw), math.radians(settings.pitch)
    numbers: Mapping[str, float] = dict(
        focal=0.5 * settings.width / math.tan(half),
        x=settings.x,
        y=settings.y,
        z=settings.z,
        yaw_cos=math.cos(yaw),
        yaw_sin=math.sin(yaw),
        pitch_cos=math.cos(pitch),
        pitch_sin=math.sin(pitch),
        near=settings.near,
        far=settings.far,
        sun_low=math.sin(math.radians(settings.sun[0])),
        sun_high=math.sin(math.radians(settings.sun[1])),
        fog_low=settings.fog[0],
        fog_high=settings.fog[1],
        noise=settings.noise,
    )
    return Camera(
        width=settings.width,
        height=settings.height,
        labelled=int(labels),
        **{name: np.float32(value) for name, value in numbers.items()},
    )


def _shots(engine: Any, settings: CameraSettings, labels: bool) -> Shots:
    """Returns buffers for the rows of an engine; a view without labels has one empty label."""
    shots = allocate(
        Shots,
        shot=engine.num_rows,
        image_row=settings.height,
        image_column=settings.width,
        label_shot=engine.num_rows if labels else 1,
        agent=engine.num_slots if labels else 0,
        box_column=BOX_COLUMNS,
        worker=engine.settings.threads,
        work_row=settings.height,
        label_worker=engine.settings.threads if labels else 1,
        code=256,
        role=ROLES,
        camera_stage=len(CAMERA_STAGES),
    )
    if labels:
        return shots
    none = np.zeros((1, 0, 0), np.int32)
    return shots._replace(owner=none, touched=none)
