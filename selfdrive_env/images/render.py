"""Frames that `render` returns: the world of an agent from above, or what it sees ahead."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.structs import Table
from selfdrive_env.config.images import Camera
from selfdrive_env.config.settings import Settings
from selfdrive_env.images.camera import camera_plan
from selfdrive_env.kernels.images.camera.picture import draw_one
from selfdrive_env.rendering import Painter, scene_of
from selfdrive_env.state.arrays import U8, allocate
from selfdrive_env.state.images import CODES, PICTURE_STAGES, Frames

__all__ = ["CameraFrames", "Renderer"]


class Renderer:
    """Draws frames of an engine as its settings ask for; what is needed is made when it is.

    Args:
        engine: On the CPU.
        settings: Of the environment.
    """

    def __init__(self, engine: Any, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._painter: Painter | None = None
        self._cameras: dict[int, CameraFrames] = {}

    def draw(
        self,
        world: int,
        agent: int,
        *,
        span: float | None = None,
        size: int | None = None,
        hud: bool | None = None,
    ) -> NDArray[np.uint8]:
        """Returns a frame that follows an agent, uint8 [size, size, 3].

        Args:
            world: Which.
            agent: Slot.
            span: Metres across a frame from above; None takes the setting `render_span`.
            size: Edge [px]; None takes the setting `render_size`.
            hud: Whether a frame from above shows speed and time; None takes `render_hud`.
        """
        settings = self._settings
        size = settings.render_size if size is None else size
        if settings.render_view == "camera":
            if size not in self._cameras:
                self._cameras[size] = CameraFrames(self._engine, self._camera(size))
            return self._cameras[size].draw(world, agent)
        self._painter = self._painter or Painter.of(self._engine)
        return self._painter.draw(
            scene_of(self._engine, world, agent, observed=settings.render_observed),
            size=size,
            span=settings.render_span if span is None else span,
            heading_up=settings.render_heading_up,
            show_observed=settings.render_observed,
            label=bool(settings.render_hud if hud is None else hud),
        )

    def _camera(self, size: int) -> Camera:
        """Returns the first camera that is observed, or a plain one, in colour and as large."""
        observed = [view.picture for view in self._engine.views.all]
        first = next((one for one in observed if isinstance(one, Camera)), Camera())
        return dataclasses.replace(
            first,
            size=(size, size),
            history=1,
            colour="rgb",
            dtype="uint8",
            channels_first=False,
            labels=False,
        )


class CameraFrames:
    """Draws what agents of an engine see, one at a time.

    Args:
        engine: On the CPU.
        camera: In colour and without labels.
    """

    def __init__(self, engine: Any, camera: Camera) -> None:
        self._engine, self._camera = engine, camera
        self._plan = camera_plan("camera", camera, learners=1, agents=0)
        frames = allocate(
            Frames,
            view_row=1,
            frame=1,
            code_byte=camera.frame_bytes,
            byte_row=0,
            float_row=0,
            final_byte_row=0,
            final_float_row=0,
            value=0,
            channel=3,
            code=CODES,
            worker=1,
            picture_stage=len(PICTURE_STAGES),
        )
        self._code = frames.code
        self._table = Table(self._plan.struct(**self._plan.parts(1, 1), frames=frames))
        self._kernel = cached(draw_one)

    def draw(self, world: int, agent: int) -> U8:
        """Returns what an agent sees, [height, width, 3]."""
        self._plan.prepare(self._engine.pool, self._table)
        self._kernel(*self._engine.tables, self._table.address, world, agent)
        return self._code[0, 0].reshape(self._camera.height, self._camera.width, 3).copy()
