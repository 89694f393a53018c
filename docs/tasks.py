"""Draws the pictures of the pages on tasks: `python docs/tasks.py docs/images`.

The reference driver has driven for some seconds; the camera follows it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from selfdrive_env.envs.scenes.tasks import TaskVectorEnv

PICTURES = {
    "merge": (2, 7.0, 130.0),
    "roundabout": (5, 10.0, 110.0),
    "unprotected_left_turn": (3, 6.0, 100.0),
    "four_way_stop": (3, 8.5, 80.0),
    "overtake": (4, 8.0, 90.0),
    "lane_keeping": (9, 9.0, 130.0),
}
"""Task -> seed, seconds, metres across."""

EDGE, COLOURS, DT = 420, 64, 0.1


def main() -> None:
    """Writes the pictures to the folder that the command line names."""
    for task, (seed, seconds, span) in PICTURES.items():
        envs = TaskVectorEnv(
            1, task=task, first_seed=seed, num_seeds=1, driver="reference", preset="eval", dt=DT
        )
        envs.reset(seed=seed)
        for _ in range(round(seconds / DT)):
            envs.step(np.zeros(1, np.int64))
        picture = Image.fromarray(envs.frame(0, span=span, size=EDGE))
        name = f"task_{task}.png"
        picture.quantize(COLOURS).save(Path(sys.argv[1]) / name, optimize=True)
        envs.close()


if __name__ == "__main__":
    main()
