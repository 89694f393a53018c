"""Draws what cars see from above for the page on it: `python docs/pixels.py FILE`."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

import selfdrive_env  # noqa: F401

MAPS = ("city:2", "motorway:3", "roundabouts:1", "riverside")
AGENTS, STEPS, SHOWN, ZOOM, GAP = 40, 90, 2, 3, 6


def seen(name: str, **view: Any) -> Any:
    """Returns what the first cars of a town with scripted traffic see after a while."""
    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=AGENTS, agents_per_world=AGENTS, map=name, dt=0.2,
        driver="idm", bodies="typed", lights_off=0.0, observation={"kind": "bev", **view},
    )  # fmt: skip
    pictures, _ = envs.reset(seed=3)
    for _ in range(STEPS):
        pictures, *_ = envs.step(np.zeros(AGENTS, np.int64))
    counts = [len(np.unique(one.reshape(-1, 3), axis=0)) for one in pictures]
    return pictures[np.argsort(counts)[::-1][:SHOWN]]


def main() -> None:
    """Writes the picture to the path that the command line names."""
    rows = np.concatenate([seen(name) for name in MAPS])
    edge = ZOOM * rows.shape[1] + GAP
    columns = len(MAPS)
    sheet = Image.new("RGB", (columns * edge - GAP, SHOWN * edge - GAP), (255, 255, 255))
    for number, row in enumerate(rows):
        picture = Image.fromarray(row).resize((edge - GAP, edge - GAP), Image.Resampling.NEAREST)
        sheet.paste(picture, (edge * (number // SHOWN), edge * (number % SHOWN)))
    sheet.quantize(48).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
