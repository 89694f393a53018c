"""Times Scenes-v0 on one core: scenes a second with the ego alone, rows a second with all agents.

    python benchmarks/scenes.py [--map town:7] [--agents 30] [--worlds 64] [--rounds 9]
    python benchmarks/scenes.py --soak 5000 [--scenes FOLDER] [--window 32]

Scenes of 9 s are recorded of IDM traffic, then driven: constant actions, others replayed, nothing
ends a scene but its end. Every round drives each case for one scene's length, in turn; processor
time, medians. "with metrics" adds Waymax's seven over the same steps, of the ego or of all;
road and routes were made before. "with metrics in infos" has them told in every step, of rows that
are replayed.

With --soak so many scenes are streamed, from the files of a folder or from recordings of its own on
three maps, and the memory of the process is told at every tenth: it must not grow in the last half.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from selfdrive_env.commands.bench import processor
from selfdrive_env.envs.make import make_self_play
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.envs.scenes.tables import learners_of
from selfdrive_env.maps import load
from selfdrive_env.metrics import WAYMAX, compute, logged_routes, road_of_network
from selfdrive_env.scenes import Scene

STEPS = 90
RULES = dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore")


def recorded(map_name: str, agents: int, number: int) -> list[Scene]:
    """Some scenes of IDM traffic."""
    envs = make_self_play(
        number * agents, map=map_name, agents_per_world=agents, driver="idm", dt=0.1,
        bodies="typed", layout="lean", num_threads=1,
    )  # fmt: skip
    envs.reset(seed=1)
    return record(envs, lambda _: np.zeros(number * agents, np.int64), steps=STEPS + 1)


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


TENTHS = 10
GROWTH = 0.02
"""Most by which memory may grow from the middle of a soak to its end."""

LOOKED_AT = 3
"""Tenths before the middle and before the end of which the lowest count: scenes that are just being
read come and go, what leaks stays."""

SOAKED_MAPS = ("riverside", "hillcrest", "harbour")


def resident() -> float:
    """Memory that this process uses [MB]; what the allocator keeps for later is given back."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # not every C library can
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(source: str, number: int, window: int, worlds: int) -> list[float]:
    """Streams so many scenes, each driven to its end; returns memory after each tenth [MB]."""
    envs = ScenesVectorEnv(
        worlds, scene=source, window=window, layout="lean", num_threads=1, on_goal="new_route",
        metrics=["overlap", "log_divergence"], **RULES,
    )  # fmt: skip
    envs.reset(seed=0)
    actions, ended, found, since = np.full(worlds, 7), 0, [], time.monotonic()
    while len(found) < TENTHS:
        _, _, terminated, truncated, _ = envs.step(actions)
        ended += int(np.count_nonzero(terminated | truncated))
        while len(found) < TENTHS and TENTHS * ended >= (len(found) + 1) * number:
            found.append(resident())
            print(
                f"{ended:6} scenes {found[-1]:8.1f} MB {time.monotonic() - since:8.0f} s, "
                f"{len(envs.scenes)} held",
                flush=True,
            )
    envs.close()
    return found


def run_soak(parsed: argparse.Namespace) -> int:
    """Returns 1 where memory grew over the last half of a soak."""
    with tempfile.TemporaryDirectory() as folder:
        source = parsed.scenes
        if source is None:
            source = folder
            for name in SOAKED_MAPS:
                for place, scene in enumerate(recorded(name, parsed.agents, parsed.window)):
                    scene.shortened(parsed.steps + 1).save(Path(folder, f"{name}-{place}.scene"))
        found = soak(source, parsed.soak, parsed.window, parsed.worlds)
    growth = min(found[-LOOKED_AT:]) / min(found[TENTHS // 2 - LOOKED_AT : TENTHS // 2]) - 1.0
    print(f"memory grew by {growth:.2%} over the last half, at most {GROWTH:.0%} may be")
    return 1 if growth > GROWTH else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--map", default="town:7")
    parser.add_argument("--agents", type=int, default=30, help="of a scene (%(default)s)")
    parser.add_argument("--worlds", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--soak", type=int, metavar="N", help="stream so many scenes instead")
    parser.add_argument("--scenes", metavar="FOLDER", help="of --soak; recordings of its own")
    parser.add_argument("--window", type=int, default=32, help="of --soak (%(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of own recordings (%(default)s)")
    parsed = parser.parse_args()
    if parsed.soak is not None:
        return run_soak(parsed)
    scenes = recorded(parsed.map, parsed.agents, 8)
    settings = {"layout": "lean", "num_threads": 1, "copy": False, **RULES}
    cases = {}
    told = {"driver": "replay", "metrics": WAYMAX, "step_info": True}
    for learners, worlds in (("ego", parsed.worlds), ("all", parsed.worlds // 2)):
        rows = worlds
        if learners == "all":
            rows *= max(len(learners_of(scene, learners)) for scene in scenes)
        for name, more in ((learners, {}), (f"{learners} with metrics in infos", told)):
            envs = ScenesVectorEnv(rows, scene=scenes, learners=learners, **more, **settings)
            envs.reset(seed=0)
            cases[name] = envs, np.full(rows, 7), worlds
    road = road_of_network(load(parsed.map))
    routes = [logged_routes(scene.tracks, [scene.ego]) for scene in scenes]

    def drive(learners: str) -> None:
        envs, actions, _ = cases[learners]
        for _ in range(STEPS):
            envs.step(actions)

    def measure(all_agents: bool) -> None:
        for scene, route in zip(scenes, routes, strict=True):
            agents = None if all_agents else [scene.ego]
            given = {"log": scene.tracks, "road": road, "routes": route}
            compute(WAYMAX, scene.tracks, dt=0.1, agents=agents, **given)

    work: dict[str, Callable[[], None]] = {name: lambda name=name: drive(name) for name in cases}
    work["metrics"] = lambda: measure(True)
    work["metrics of the ego"] = lambda: measure(False)
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(parsed.rounds + 1):  # the first round compiles
        for name, one in work.items():
            took = timed(one)
            if number:
                times[name].append(took)

    agents = float(np.mean([len(scene.agents) for scene in scenes]))
    each, of_ego = (
        statistics.median(times[name]) / (len(scenes) * STEPS)
        for name in ("metrics", "metrics of the ego")
    )
    print(f"{parsed.map}, scenes of {agents:.0f} agents, layout lean, one core of {processor()}")
    print(f"metrics: {agents / each:,.0f} agent-steps/s")
    for name, (envs, _, worlds) in cases.items():
        step = statistics.median(times[name]) / (worlds * STEPS)
        rows = envs.rows_per_world
        more = {"ego": of_ego, "all": each}
        both = (("", step), (" with metrics", step + more.get(name, 0.0)))
        for words, took in both if name in more else both[:1]:
            print(
                f"{name}{words}: {1.0 / took:,.0f} scene-steps/s, {rows / took:,.0f} rows/s, "
                f"{agents / took:,.0f} agent-steps/s"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
