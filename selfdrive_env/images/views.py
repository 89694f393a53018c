"""From settings to what the engine draws: a plan for each view."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.compiler.cache import cached
from selfdrive_env.config.images import BirdsEye, Camera, Picture, make_views
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.pictures import ViewPlan
from selfdrive_env.images.camera import camera_plan
from selfdrive_env.images.codes import tables_of
from selfdrive_env.images.ground import GroundTiles
from selfdrive_env.kernels.images.bev import draw_birds_eye
from selfdrive_env.state.images import EMPTY, Lens, View

__all__ = ["plans_of"]


def plans_of(settings: Settings, learners: int, agents: int) -> list[ViewPlan]:
    """Returns the plans of all pictures that rows observe.

    Args:
        settings: Of the environment.
        learners: Rows of each world.
        agents: Slots of each world.
    """
    plan: dict[type[Picture], Any] = {BirdsEye: _birds_eye, Camera: camera_plan}
    views = make_views(settings.observation)
    return [plan[type(one)](name, one, learners, agents) for name, one in views.pictures.items()]


def _birds_eye(name: str, picture: BirdsEye, learners: int, _: int) -> ViewPlan:
    ahead, left = picture.middle
    tiles = GroundTiles(picture.pixel)
    lens = Lens(
        width=picture.width,
        height=picture.height,
        pixel=np.float32(picture.pixel),
        ahead=np.float32(ahead),
        left=np.float32(left),
        heading_up=int(picture.heading_up),
        learners=learners,
        first=int(picture.channels_first),
    )
    return ViewPlan(
        name=name,
        picture=picture,
        struct=View,
        parts=lambda rows, workers: {"lens": lens, "ground": tiles.ground},
        kernel=cached(draw_birds_eye),
        tables=tables_of(picture.colour),
        empty=EMPTY,
        prepare=tiles.prepare,
    )
