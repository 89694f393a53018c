"""Labels of camera pictures in the forms that perception reads: COCO's boxes, TuSimple's lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.images.labels import BoxLabels, LaneLabel
from selfdrive_env.state.arrays import F64

__all__ = ["ABSENT", "CATEGORIES", "box_annotations", "lane_line", "sample_rows"]

ABSENT = -2
"""Of a lane in a row where it is not seen, in the words of TuSimple."""

CATEGORIES = [
    {"id": row, "name": name, "supercategory": "road user"}
    for row, name in enumerate(BODY_TYPES)
    if name != "random"
]
"""Of COCO: types of bodies; one of random size counts as a car."""

CAR = list(BODY_TYPES).index("car")

ROW_STEP = 72
"""Lanes are told in every row that is a multiple of the picture's height over this, about."""


def box_annotations(labels: BoxLabels, image: int) -> list[dict[str, Any]]:
    """Returns the annotations of one picture, without numbers of their own.

    Args:
        labels: Of the picture.
        image: Its number.
    """
    found = []
    for k in range(len(labels.agent)):
        left, top, right, bottom = labels.visible[k].tolist()
        low_u, low_v, high_u, high_v = labels.amodal[k].tolist()
        found.append(
            {
                "image_id": image,
                "category_id": int(labels.type[k]) or CAR,
                "bbox": [left, top, right - left, bottom - top],
                "area": int(labels.pixels[k]),
                "iscrowd": 0,
                "agent": int(labels.agent[k]),
                "amodal_bbox": _rounded([low_u, low_v, high_u - low_u, high_v - low_v]),
                "occlusion": round(float(labels.occlusion[k]), 4),
                "truncation": round(float(labels.truncation[k]), 4),
                "centre_3d": _rounded(labels.centre[k]),
                "size_3d": _rounded(labels.size[k]),
                "yaw": round(float(labels.yaw[k]), 4),
            }
        )
    return found


def _rounded(values: Any) -> list[float]:
    return [round(float(one), 3) for one in values]


def sample_rows(height: int) -> list[int]:
    """Returns the rows of a picture in which lanes are told, from below its horizon down."""
    step = max(1, height // ROW_STEP)
    return list(range(height // 2 + step, height, step))


def lane_line(
    lanes: Sequence[LaneLabel], width: int, height: int, file: str
) -> dict[str, Any] | None:
    """Returns one line of TuSimple's form: the boundaries of lanes from left to right.

    Args:
        lanes: Of the picture.
        width: Of the picture [pixels].
        height: [pixels]
        file: Name of the picture.

    Returns:
        `lanes`, `h_samples` and `raw_file`, and beside them the `order` of each boundary: -0.5 and
        0.5 are those of the ego's lane. `centres` are the middles of lanes, `centre_order` theirs.
        Boundaries are left out within junctions, where nothing is painted; centres are not.
    """
    rows = sample_rows(height)
    out: dict[str, Any] = {"lanes": [], "order": [], "centres": [], "centre_order": []}
    for lane in lanes:
        if lane.kind == "boundary":
            lane = lane._replace(shown=lane.shown & ~lane.junction)
        places = columns_at(lane, rows, width)
        if (places == ABSENT).all():
            continue
        names = ("lanes", "order") if lane.kind == "boundary" else ("centres", "centre_order")
        told = places.round(1).clip(max=width - 0.1)  # not rounded out of the picture
        row = zip(places.tolist(), told.round(1).tolist(), strict=True)
        out[names[0]].append([ABSENT if place == ABSENT else x for place, x in row])
        out[names[1]].append(lane.order)
    return {**out, "h_samples": rows, "raw_file": file}


def columns_at(lane: LaneLabel, rows: Sequence[int], width: int) -> F64:
    """Returns where a line crosses the middles of rows, `ABSENT` where it is not seen."""
    out = np.full(len(rows), float(ABSENT))
    u, v = lane.points.T
    for k, row in enumerate(rows):
        at = row + 0.5
        cut = (v[:-1] >= at) & (v[1:] < at) & (lane.shown[:-1] | lane.shown[1:])
        for first in np.flatnonzero(cut)[:1].tolist():
            share = (v[first] - at) / (v[first] - v[first + 1])
            x = u[first] + share * (u[first + 1] - u[first])
            if 0.0 <= x < width:
                out[k] = x
    return out
