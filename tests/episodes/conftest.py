"""Episodes to test with."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.episodes import Episode, Recorder

MARKUP = "</script><script>alert(1)</script><!-- <b>&amp;\"'"


def drive(seconds: float, agents: int, *, seed: int = 0, **settings: Any) -> Episode:
    """Lets random actions drive one world and records it."""
    keywords = {"map": "riverside", "num_threads": 1, "stagger": False, "bodies": "typed"}
    envs: Any = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=agents,
        agents_per_world=agents,
        **{**keywords, **settings},
    )
    envs.reset(seed=seed)
    recorder = Recorder(envs)
    recorder.record()
    rng = np.random.default_rng(seed)
    for _ in range(round(seconds / envs.settings.dt)):
        envs.step(rng.integers(0, 12, agents))
        recorder.record()
    return recorder.episode()


@pytest.fixture(scope="session")
def small() -> Episode:
    """Three agents for three seconds."""
    return drive(3.0, 3, layout="lean")


@pytest.fixture(scope="session")
def long() -> Episode:
    """A minute of 150 agents that act at random."""
    return drive(60.0, 150, dt=0.1, preset="eval", on_goal="new_route")


@pytest.fixture(scope="session")
def hostile(small: Episode) -> Episode:
    """Every text that a reader may show is markup."""
    about = {
        **small.about,
        "title": MARKUP,
        "map": MARKUP,
        "package": MARKUP,
        "settings": {MARKUP: MARKUP},
        "terms": [MARKUP for _ in small.about["terms"]],
        "events": [MARKUP for _ in small.about["events"]],
        "body_types": [MARKUP for _ in small.about["body_types"]],
        "drivers": [MARKUP for _ in small.about["drivers"]],
        "observation": [
            [MARKUP, slots, [[MARKUP] * 3 for _ in columns]]
            for _, slots, columns in small.about["observation"]
        ],
    }
    return dataclasses.replace(small, about=about)
