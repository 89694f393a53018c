"""Reads enough of a recorded scene (the JSON of Nocturne and GPUDrive) to measure it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.metrics import Road
from selfdrive_env.scenes.tracks import Tracks
from tests.metrics.traffic import wrap

BICYCLE_LANE = 3
KINDS = {"vehicle": 0, "pedestrian": 1, "cyclist": 2}


def recorded_scene(path: Path) -> tuple[Tracks, Road]:
    """The tracks, and road edges and lanes; positions less their mean."""
    scene = json.loads(path.read_text())
    objects = [one for one in scene["objects"] if one["length"] > 0.0 < one["width"]]
    valid = np.array([one["valid"] for one in objects], bool)

    def series(name: str, axis: str) -> Any:
        return np.where(valid, [[p.get(axis, 0.0) for p in one[name]] for one in objects], 0.0)

    x, y, z = (series("position", axis) for axis in "xyz")
    middle = np.array([x[valid].mean(), y[valid].mean(), 0.0])
    degrees = "scenario_id" not in scene
    heading = np.array([one["heading"] for one in objects], np.float64)
    heading = np.where(valid, np.radians(heading) if degrees else heading, 0.0)
    tracks = Tracks(
        id=np.arange(len(objects)),
        kind=np.array([KINDS.get(one["type"], 3) for one in objects], np.uint8),
        length=np.array([one["length"] for one in objects], np.float32),
        width=np.array([one["width"] for one in objects], np.float32),
        height=np.zeros(len(objects), np.float32),
        x=np.where(valid, x - middle[0], 0.0),
        y=np.where(valid, y - middle[1], 0.0),
        z=z,
        heading=wrap(heading),
        vx=series("velocity", "x").astype(np.float32),
        vy=series("velocity", "y").astype(np.float32),
        valid=valid,
    )
    lines: dict[str, list[Any]] = {"road_edge": [], "lane": []}
    for road in scene["roads"]:
        if road["type"] in lines and road.get("map_element_id") != BICYCLE_LANE:
            points = [[p["x"], p["y"], p.get("z", 0.0)] for p in road["geometry"]]
            lines[road["type"]].append(np.array(points) - middle)
    return tracks, Road.of(edges=lines["road_edge"], lanes=lines["lane"])
