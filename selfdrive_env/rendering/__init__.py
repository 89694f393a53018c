"""Top-down pictures of a world, and films; needs the extra `render`, works without a display."""

from selfdrive_env.rendering.network import draw_network, draw_sheet
from selfdrive_env.rendering.painter import Observed, Painter, Scene
from selfdrive_env.rendering.scene import Trails, between, kept, scene_of
from selfdrive_env.rendering.video import write_video

__all__ = [
    "Observed",
    "Painter",
    "Scene",
    "Trails",
    "between",
    "draw_network",
    "draw_sheet",
    "kept",
    "scene_of",
    "write_video",
]
