"""Compiles what draws pictures as observations, which `selfdrive warmup` leaves out."""

from __future__ import annotations

import numpy as np

from selfdrive_env.envs.make import make_self_play

SMALL = {"map": "riverside", "agents_per_world": 1, "num_threads": 1, "layout": "lean"}
VIEWS = {"above": {"kind": "bev", "size": 16}, "ahead": {"kind": "camera", "size": [16, 24]}}

if __name__ == "__main__":
    env = make_self_play(1, observation=VIEWS, **SMALL)
    env.reset(seed=0)
    env.step(np.zeros(1, np.int64))
    env.close()
