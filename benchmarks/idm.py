"""Drives scripted (IDM) cars on maps and counts what goes wrong, by cause and per agent-hour.

    python benchmarks/idm.py [--minutes 10] [--agents 30] MAP [MAP ...]

Nothing ends an episode (endless routes, incidents ignored), so that every incident counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.envs import make_self_play
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.state.world import (
    EVENT_COLLISION,
    EVENT_OFFROAD,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
)

INCIDENTS = EVENT_COLLISION | EVENT_OFFROAD | EVENT_RED_LIGHT | EVENT_STOP_SIGN


def drive(place: str, minutes: float, agents: int, seed: int, show: bool) -> str:
    """Drives one world of a map and returns a row of the table."""
    env = make_self_play(
        agents,
        map=place,
        agents_per_world=agents,
        driver="idm",
        bodies="typed",
        on_goal="new_route",
        on_collision="ignore",
        on_offroad="ignore",
        horizon=1.0e5,
        stagger=False,
        layout="lean",
        copy=False,
    )
    env.reset(seed=seed)
    engine, steps = env.engine, int(minutes * 60.0 / env.settings.dt)
    counts, distance, still = np.zeros(len(METRICS)), 0.0, np.zeros(agents)
    actions = np.zeros(agents, np.int64)
    names = list(BODY_TYPES)
    for step in range(steps):
        env.step(actions)
        event = engine.output.event[0]
        counts += [np.count_nonzero(event & metric.event) for metric in METRICS]
        distance += float(np.abs(engine.motion.travel).sum())
        still = np.where(np.abs(engine.agents.speed[0]) < 0.1, still + 1, 0)
        for slot in np.flatnonzero(event & INCIDENTS) if show else ():
            causes = [m.name for m in METRICS if event[slot] & INCIDENTS & m.event]
            print(
                f"  {step * env.settings.dt:.0f} s: {', '.join(causes)}, agent {slot} "
                f"({names[engine.bodies.type[0, slot]]}) at x {engine.agents.x[0, slot]:.1f}, y "
                f"{engine.agents.y[0, slot]:.1f}, {engine.motion.speed[0, slot]:.1f} m/s, "
                f"d {engine.agents.d[0, slot]:.2f}"
            )
    env.close()
    hours = agents * minutes / 60.0
    by_name = dict(zip((metric.name for metric in METRICS), counts / hours, strict=True))
    shown = ("goals", "collisions", "offroad", "red_lights", "stop_signs", "wrong_way")
    waiting = int(np.count_nonzero(still * env.settings.dt > 60.0))
    return (
        f"| {Path(place).name} | "
        + " | ".join(f"{by_name[name]:.1f}" for name in shown)
        + f" | {distance / hours / 3600.0:.1f} | {waiting} |"
    )


def main() -> None:
    """Parses the options and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", nargs="+", metavar="MAP", help="built-in town or file")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="list every incident")
    options = parser.parse_args()
    print("per agent-hour")
    print(
        "| map | goals | collisions | off-road | red | stop sign | wrong way | m/s | > 60 s still |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for place in options.maps:
        print(drive(place, options.minutes, options.agents, options.seed, options.show), flush=True)


if __name__ == "__main__":
    main()
