"""The codes of frames: one byte a pixel, which stands for ground or for what lies over it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CHANNEL_CLASSES", "CODES", "EMPTY", "GROUND_CLASSES", "Code", "GroundClass"]

CODES = 256
EMPTY = CODES - 1
"""What frames of rows without an agent hold: all channels of it are 0."""


class GroundClass(IntEnum):
    """What the ground is, the least of it first; its codes are the first of `images.codes`."""

    NOTHING = 0
    ROAD = 1
    LANE_LINE = 2
    CENTRE_LINE = 3
    CROSSWALK = 4
    STOP_LINE = 5


class Code(IntEnum):
    """What is drawn over the ground."""

    ROUTE = 80
    GOAL = 81
    GREEN = 82
    YELLOW = 83
    RED = 84
    STOP_SIGN = 85
    VEHICLE = 86
    CYCLIST = 87
    PEDESTRIAN = 88
    VEHICLE_FRONT = 89
    CYCLIST_FRONT = 90
    PEDESTRIAN_FRONT = 91
    EGO = 92
    EGO_FRONT = 93


GROUND_CLASSES = len(GroundClass)

CHANNEL_CLASSES = (
    *("road", "lane_line", "centre_line", "crosswalk", "stop_line"),
    *("route", "goal", "green", "yellow", "red", "stop_sign"),
    *("vehicle", "cyclist", "pedestrian", "front", "ego"),
)
"""Channels of pictures of classes. "front" is the front part of any body, which is in the channel
of its kind as well; "ego" is the own body."""
