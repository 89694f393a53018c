"""Makes a replay that plays in a browser: the policy that comes with the package drives everybody.

Steps are a third of those it was trained with and each of its actions is held for three of them, so
that it runs smoothly. The pages have it as `live-replay.html`; for one of your own::

    python docs/web_replay.py replay.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np

import selfdrive_env
from selfdrive_env.episodes import Recorder

HELD = 3
"""Steps that an action is held for: the policy has learnt with steps of 0.3 s."""

DT = 0.1
"""Length of a step [s]."""

NEAR = 60.0
"""The page follows the agent that has most others within this distance at the start [m]."""


def write(path: Path, *, town: str = "harbour", agents: int = 80, seconds: float = 30.0) -> None:
    """Drives, and writes the page.

    Args:
        path: Ends in .html.
        town: A built-in town or a map file.
        agents: All of them follow the policy.
        seconds: That the page lasts.
    """
    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=agents,
        agents_per_world=agents,
        map=town,
        dt=DT,
        layout="lean",
        bodies="typed",
        on_goal="new_route",
        lights_off=0.0,
        lights_green=0.0,
        light_removal=0.0,
        stagger=False,
    )
    policy = selfdrive_env.load_policy("selfplay")
    observations, _ = envs.reset(seed=0)
    recorder = _recorder(envs)
    for step in range(round(seconds / DT)):
        if step % HELD == 0:
            actions = policy.act(observations)
        observations = envs.step(actions)[0]
        recorder.record()
    recorder.save(path)
    envs.close()


def _recorder(envs: gym.vector.VectorEnv) -> Recorder:
    """Starts to record, with the observations of the agent that the page follows."""
    x, y = (getattr(envs.unwrapped.state.agents, name)[0] for name in "xy")
    near = np.hypot(x[:, None] - x, y[:, None] - y) < NEAR
    busiest = int(near.sum(axis=1).argmax())
    recorder = Recorder(envs, world=0, focus=busiest, observed=[busiest], title="self-play")
    recorder.record()
    return recorder


def main() -> None:
    """Reads the options and writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--map", default="harbour", help="town or file (%(default)s)")
    parser.add_argument("--agents", type=int, default=80, help="that drive (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="that it lasts (%(default)s)")
    options = parser.parse_args()
    write(options.path, town=options.map, agents=options.agents, seconds=options.seconds)


if __name__ == "__main__":
    main()
