"""Draws what cars see ahead for the page on cameras: `python docs/camera.py FILE`."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

import selfdrive_env  # noqa: F401
from selfdrive_env.state.camera.scenery import ImageClass

MAPS = ("town:1", "city:2", "motorway:3", "riverside")
AGENTS, STEPS, SHOWN, ZOOM, GAP = 40, 90, 2, 2, 6


def seen(name: str, **view: Any) -> Any:
    """Returns what the cars see that have most bodies in view, after a while in traffic."""
    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=AGENTS, agents_per_world=AGENTS, map=name, dt=0.2,
        driver="idm", bodies="typed", lights_off=0.0,
        observation={"kind": "camera", "size": (90, 160), "labels": True, **view},
    )  # fmt: skip
    pictures, _ = envs.reset(seed=3)
    for _ in range(STEPS):
        pictures, *_ = envs.step(np.zeros(AGENTS, np.int64))
    kind = envs.unwrapped.engine.views["camera"].parts["shots"].kind
    share = (kind >= ImageClass.POLE).mean(axis=(1, 2))
    share[share > 0.12] = 0.0  # too near to show the road
    return pictures[np.argsort(share)[::-1][:SHOWN]]


def main() -> None:
    """Writes the picture to the path that the command line names."""
    rows = np.concatenate([seen(name) for name in MAPS])
    height, width = ZOOM * rows.shape[1] + GAP, ZOOM * rows.shape[2] + GAP
    columns = len(MAPS)
    size = columns * width - GAP, SHOWN * height - GAP
    sheet = Image.new("RGB", size, (255, 255, 255))
    for number, row in enumerate(rows):
        picture = Image.fromarray(row).resize((width - GAP, height - GAP), Image.Resampling.NEAREST)
        sheet.paste(picture, (width * (number // SHOWN), height * (number % SHOWN)))
    sheet.quantize(128).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
