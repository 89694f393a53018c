"""Labels of pictures of `selfdrive dataset camera`, and how well a network finds them again.

Vehicles are measured by average precision, lanes by TuSimple's accuracy. `perception.py` learns
from these and is measured by them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 320, 180
ROWS = np.arange(HEIGHT // 2 + 2, HEIGHT, 2)  # in which the data set tells lanes
ORDERS = np.arange(-3.5, 4.0)  # boundaries from left to right, the ego's are -0.5 and 0.5
VEHICLES = {1, 2, 3, 4}  # cars, vans, trucks, buses; bicycles and motorcycles are to be left alone
NEAR, OVERLAP = 25.0, 0.5  # [m]; intersection over union that counts as found
LANE_TOLERANCE = 20.0 * WIDTH / 1280.0  # TuSimple's 20 pixels, whose pictures are 1280 wide

Floats = NDArray[np.float32]


class Frame(NamedTuple):
    """A picture's file and labels: vehicles from near to far, and lanes."""

    file: Path
    boxes: Floats  # left, top, right, bottom of what is seen, [N, 4] [pixels]
    wanted: NDArray[np.bool_]  # near and at least half seen: counts in the test, [N]
    clear: NDArray[np.bool_]  # is learnt; others are neither right nor wrong, [N]
    lanes: Floats  # columns, NaN where none is seen, [ORDERS, ROWS]


def read_frames(folder: Path) -> list[Frame]:
    """Reads the labels of a folder of `selfdrive dataset camera`."""
    labels = json.loads((folder / "boxes.json").read_text())
    boxes: dict[int, list[dict[str, Any]]] = {one["id"]: [] for one in labels["images"]}
    for box in labels["annotations"]:
        if box["category_id"] in VEHICLES:
            boxes[box["image_id"]].append(box)
    frames = []
    lines = (folder / "lanes.jsonl").read_text().splitlines()
    for image, line in zip(labels["images"], map(json.loads, lines), strict=True):
        here = boxes[image["id"]]
        corners = np.array([one["bbox"] for one in here], np.float32).reshape(-1, 4)
        seen = np.array([(1.0 - one["occlusion"]) * (1.0 - one["truncation"]) for one in here])
        away = np.array([math.hypot(one["centre_3d"][0], one["centre_3d"][2]) for one in here])
        wanted, clear = (away <= NEAR) & (seen >= 0.5), (corners[:, 3] >= 6.0) & (seen >= 0.35)
        corners[:, 2:] += corners[:, :2]
        lanes = np.full((len(ORDERS), len(ROWS)), np.nan, np.float32)
        for order, columns in zip(line["order"], line["lanes"], strict=True):
            lanes[order == ORDERS] = np.where(np.array(columns) < 0.0, np.nan, columns)
        frames.append(Frame(folder / image["file_name"], corners, wanted, clear, lanes))
    return frames


def read_picture(frame: Frame) -> NDArray[np.uint8]:
    with Image.open(frame.file) as picture:
        return np.array(picture.convert("RGB"))


def overlaps(boxes: Floats, one: Floats) -> tuple[Floats, Floats]:
    """Returns intersection of boxes [N, 4] with one over their union, and over this one's area."""
    shared = (np.minimum(boxes, one)[:, 2:] - np.maximum(boxes, one)[:, :2]).clip(0.0).prod(1)
    area = (one[2:] - one[:2]).prod()
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + area - shared), shared / area


def judge(boxes: Floats, scores: Floats, frame: Frame) -> list[tuple[float, bool]]:
    """Returns scores of found boxes, the best first, and whether each is right.

    A wanted vehicle is found once. What lies on a vehicle that is far or hidden does not count.
    """
    judged, free = [], frame.wanted.copy()
    for one in np.argsort(-scores):
        union, inside = overlaps(frame.boxes, boxes[one])
        mine = np.where(free, union, 0.0)
        if mine.max(initial=0.0) >= OVERLAP:
            free[mine.argmax()] = False
            judged.append((float(scores[one]), True))
        elif np.maximum(union, inside)[~frame.wanted].max(initial=0.0) < OVERLAP:
            judged.append((float(scores[one]), False))
    return judged


def average_precision(judged: list[tuple[float, bool]], wanted: int) -> float:
    """Returns the area under precision over recall, precision being the best from there on."""
    right = np.array([hit for _, hit in sorted(judged, key=lambda pair: -pair[0])], bool)
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[right].sum() / max(wanted, 1))


def lane_points(found: Floats, true: Floats) -> NDArray[np.int64]:
    """Returns how many true points are found, are found under their own order, and there are.

    TuSimple's accuracy is the first over the last: a point is found where a boundary is within 20
    pixels of it in its row (scaled to the width); the boundary that fits a true one best counts.
    """
    close = (np.abs(found[:, None] - true[None]) <= LANE_TOLERANCE).sum(axis=2)
    return np.array([close.max(axis=0).sum(), np.trace(close), (~np.isnan(true)).sum()])


class Tally:
    """What was found in pictures, summed over them."""

    def __init__(self) -> None:
        self.judged: list[tuple[float, bool]] = []
        self.wanted, self.beyond, self.points = 0, 0, np.zeros(3, np.int64)

    def add(self, frame: Frame, boxes: Floats, scores: Floats, lanes: Floats) -> None:
        """Takes in what was found in a picture: boxes [N, 4], scores [N], lanes [ORDERS, ROWS]."""
        self.judged += judge(boxes, scores, frame)
        self.wanted += int(frame.wanted.sum())
        self.points += lane_points(lanes, frame.lanes)
        self.beyond += int((np.isnan(frame.lanes) & ~np.isnan(lanes)).sum())

    def rates(self) -> dict[str, float]:
        """Returns the measures; the last is how many points are found where no lane is seen."""
        found, ordered, there = self.points.clip(1).tolist()
        return {
            "average precision": average_precision(self.judged, self.wanted),
            "lane accuracy": found / there,
            "lane accuracy by order": ordered / there,
            "lane points beyond": self.beyond / there,
        }
