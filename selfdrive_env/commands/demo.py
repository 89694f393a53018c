"""One command from an empty folder to a film: the policy that comes with the package drives a town.

Nothing ends: an agent in a collision drives on, so that the figures count what a film shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.config.checks import check_integer
from selfdrive_env.state.arrays import U8

__all__ = ["demo", "run"]

POLICY = "selfplay"
STEPS_PER_SECOND = 10
FRAMES_PER_STEP = 2
SPAN = 80.0
"""Metres across the film."""

AROUND = 45.0
"""Others so near make an agent worth filming [m]."""

LARGEST_STEP = 4.0
"""Who moves farther in one step was placed anew [m]."""

LINE_EVERY = 10.0
"""Between lines of progress where there is no terminal [s]."""


def demo(
    path: Path,
    *,
    map: str = "harbour",
    agents: int = 100,
    seconds: int = 30,
    seed: int = 0,
    size: int = 512,
    tell: Any = None,
) -> dict[str, Any]:
    """Lets the trained policy drive every agent of a world and films it.

    Args:
        path: Film to write, .mp4 or .gif.
        map: Built-in town or file.
        agents: In the world.
        seconds: Of the film.
        seed: Of the world.
        size: Edge of the picture [px].
        tell: Called with a text and the share that is done.

    Returns:
        The figures of the drive, by name.
    """
    from selfdrive_env.evaluation.policies import load
    from selfdrive_env.rendering import write_video

    begun = time.perf_counter()
    policy = load(POLICY)
    env = _make_env(policy, map, agents, seconds)
    try:
        if tell is not None:
            tell("starting (the first time compiles)", 0.0)
        drive = _Drive(env, policy, seconds * STEPS_PER_SECOND, seed)
        drive.find_busy()
        frames_per_second = STEPS_PER_SECOND * FRAMES_PER_STEP
        write_video(drive.frames(size, tell), path, frames_per_second)
    finally:
        env.close()
    return {
        "film": str(path),
        "seconds": seconds,
        "policy": POLICY,
        "map": map,
        "agents": agents,
        **drive.figures(),
        "wall_seconds": round(time.perf_counter() - begun, 1),
    }


def _make_env(policy: Any, map: str, agents: int, seconds: int) -> Any:
    """Returns the world of a film, which nothing ends."""
    from selfdrive_env.envs.make import make_self_play

    return make_self_play(
        agents, map=map, agents_per_world=agents, dt=1.0 / STEPS_PER_SECOND, stagger=False,
        bodies="typed", preset="eval", layout=vars(policy.layout), on_collision="ignore",
        on_offroad="ignore", on_goal="new_route", light_removal=0.0, lights_off=0.0,
        lights_green=0.0,
        horizon=float(seconds + 1), render_mode="rgb_array", **policy.under(),
    )  # fmt: skip


class _Drive:
    """The drive of a film, and what is counted on the way. Driven again, it is the same."""

    def __init__(self, env: Any, policy: Any, steps: int, seed: int) -> None:
        self._env, self._policy, self._steps, self._seed = env, policy, steps, seed
        self._focus = 0
        self._km = 0.0
        self._counts = {"goals": 0, "collisions": 0, "offroad": 0, "red_lights": 0}

    def _steps_done(self) -> Iterator[int]:
        """Drives, and yields the number of each step after it, first 0 before them all."""
        observations, _ = self._env.reset(seed=self._seed)
        yield 0
        for step in range(self._steps):
            observations = self._env.step(self._policy.act(observations))[0]
            yield step + 1

    def find_busy(self) -> None:
        """Chooses whom the camera follows: who has most others around and is never placed anew."""
        agents = self._env.engine.agents
        near = np.zeros(agents.x.shape[1])
        whole = np.ones(agents.x.shape[1], np.bool_)
        last: Any = None
        for _ in self._steps_done():
            at = np.stack([agents.x[0], agents.y[0]], 1)
            between = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
            near += (between < AROUND).sum(1)
            if last is not None:
                whole &= np.hypot(*(at - last).T) < LARGEST_STEP
            last = at
        self._focus = int(np.where(whole, near, -1.0).argmax())

    def frames(self, size: int, tell: Any) -> Iterator[U8]:
        """Yields the pictures of the drive, and counts."""
        from selfdrive_env.rendering import Painter, between, kept, scene_of

        engine = self._env.engine
        painter = Painter.of(engine)
        before: Any = None
        for step in self._steps_done():
            after = kept(scene_of(engine, 0, self._focus))
            if before is not None:
                self._count()
                for part in range(FRAMES_PER_STEP):
                    scene = between(before, after, (part + 1) / FRAMES_PER_STEP)
                    yield painter.draw(scene, size=size, span=SPAN)
            before = after
            if tell is not None:
                tell("filming", step / self._steps)

    def _count(self) -> None:
        from selfdrive_env.kernels.events import METRICS

        engine = self._env.engine
        self._km += float(np.abs(engine.motion.travel).sum()) / 1000.0
        for metric in METRICS:
            if metric.name in self._counts:
                count = np.count_nonzero(engine.output.event & metric.event)
                self._counts[metric.name] += int(count)

    def figures(self) -> dict[str, Any]:
        """Returns what was counted."""
        hours = self._env.num_envs * self._steps / STEPS_PER_SECOND / 3600.0
        return {
            "km": round(self._km, 2),
            "mean_speed_km_h": round(self._km / hours, 1),
            "goals_per_hour": round(self._counts["goals"] / hours, 1),
            **self._counts,
        }


def run(parsed: argparse.Namespace) -> int:
    """Writes the film and prints its figures; returns 0."""
    path = Path(parsed.output)
    check_integer("--size", parsed.size, 64, 2048)
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"--output must end in .mp4 or .gif, got {parsed.output!r}")
    if not path.parent.is_dir():
        raise ValueError(f"--output: there is no folder {str(path.parent)!r}")
    _check_extra(path)
    figures = demo(
        path, map=parsed.map, agents=parsed.agents, seconds=parsed.seconds, seed=parsed.seed,
        size=parsed.size, tell=_teller(),
    )  # fmt: skip
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if parsed.json:
        print(json.dumps(figures))
        return 0
    print(
        f"{figures['film']}: {figures['seconds']} s of {figures['agents']} agents on "
        f"{figures['map']}, driven by the policy {figures['policy']}\n"
        f"  {figures['km']:.2f} km at {figures['mean_speed_km_h']:.0f} km/h on average, "
        f"{figures['goals']} goals ({figures['goals_per_hour']:.0f} an agent-hour)\n"
        f"  {figures['collisions']} bodies in collisions, {figures['offroad']} off the road, "
        f"{figures['red_lights']} red lights passed\n"
        f"  done in {figures['wall_seconds']:.0f} s"
    )
    return 0


def _check_extra(path: Path) -> None:
    """Raises an ImportError before anything is compiled if the film could not be written."""
    from selfdrive_env.rendering.canvas import import_pillow
    from selfdrive_env.rendering.video import import_av

    import_pillow()
    if path.suffix == ".mp4":
        import_av()


def _teller() -> Any:
    """Returns what shows progress: a line that changes on a terminal, else one now and then."""
    terminal, told = sys.stderr.isatty(), [0.0]

    def tell(text: str, share: float) -> None:
        now = time.monotonic()
        if terminal:
            bar = "#" * round(30 * share)
            line = f"\r\x1b[K{text} [{bar:30}] {share:4.0%}"
            print(line, end="", file=sys.stderr, flush=True)
        elif now - told[0] >= LINE_EVERY:
            told[0] = now
            print(f"{text} {share:.0%}", file=sys.stderr, flush=True)

    return tell
