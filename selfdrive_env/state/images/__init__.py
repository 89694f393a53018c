"""Pictures that agents observe: their codes, and the structs of their buffers."""

from selfdrive_env.state.images.codes import (
    CHANNEL_CLASSES,
    CODES,
    EMPTY,
    GROUND_CLASSES,
    Code,
    GroundClass,
)
from selfdrive_env.state.images.structs import PICTURE_STAGES, TILE, Frames, Ground, Lens, View

__all__ = [
    "CHANNEL_CLASSES",
    "CODES",
    "EMPTY",
    "GROUND_CLASSES",
    "PICTURE_STAGES",
    "TILE",
    "Code",
    "Frames",
    "Ground",
    "GroundClass",
    "Lens",
    "View",
]
