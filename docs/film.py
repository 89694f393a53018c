"""Makes the film of the README: the policy that comes with the package drives every agent.

The camera stands over places of a town that the policy has not seen, or follows one agent. Each
body leaves a trail, and a line shows where it will be in a second if it drives straight on.
Steps are a third of those it was trained with and each of its actions is held for three of them, so
that the film is smooth::

    python docs/film.py docs/images/selfplay.gif
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import selfdrive_env
from selfdrive_env.rendering import Painter, Trails, scene_of, write_video

HELD = 3
"""Steps that an action is held for: the policy has learnt with steps of 0.3 s."""

FRAMES_PER_SECOND = 10.0

PLACES = [(-307.0, 35.0, 92.0), (-222.0, -124.0, 92.0)]
"""A roundabout and a crossing of `harbour`: x, y of the middle, and metres across."""

TRAIL = 2.5
"""How long a trail is [s]."""


def frames(options: argparse.Namespace) -> Iterator[NDArray[np.uint8]]:
    """Yields one picture a step, cut to the options' shape."""
    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=options.agents,
        agents_per_world=options.agents,
        map=options.map,
        dt=1.0 / FRAMES_PER_SECOND,
        layout="lean",
        bodies="typed",
        on_goal="new_route",
        lights_off=0.0,
        lights_green=0.0,
        light_removal=0.0,
        stagger=False,
    )
    policy = selfdrive_env.load_policy("selfplay")
    observations, _ = envs.reset(seed=options.seed)
    engine = envs.unwrapped.engine
    painter = Painter.of(engine)
    trails = Trails(round(TRAIL * FRAMES_PER_SECOND))
    cut = (options.width - options.height) // 2
    skipped = round(options.skip * FRAMES_PER_SECOND)
    shown = round(options.seconds * FRAMES_PER_SECOND)
    places = 1 if options.follow is not None else len(options.place)
    for step in range(skipped + shown * places):
        if step % HELD == 0:
            actions = policy.act(observations)
        observations = envs.step(actions)[0]
        scene = trails(scene_of(engine, 0, options.follow or 0))
        if step < skipped:
            continue
        place = None
        if options.follow is None:
            place = tuple(options.place[(step - skipped) // shown])
            scene = scene._replace(focus=-1, route=None, goals=None)
        picture = painter.draw(
            scene,
            size=options.width,
            span=options.span if place is None else place[2],
            centre=None if place is None else place[:2],
            show_headings=True,
            label=place is None,
        )
        yield picture[cut : cut + options.height]
    envs.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="a .gif or .mp4 file")
    parser.add_argument("--map", default="harbour")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--agents", type=int, default=150)
    parser.add_argument("--skip", type=float, default=35.0, help="seconds before the film")
    parser.add_argument("--seconds", type=float, default=9.0, help="at each place")
    parser.add_argument(
        "--place", type=float, nargs=3, action="append", metavar=("X", "Y", "SPAN"),
        help="where the camera stands, and metres across; again for the next place",
    )  # fmt: skip
    parser.add_argument("--follow", type=int, help="agent, instead of places")
    parser.add_argument("--span", type=float, default=80.0, help="metres across with --follow")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    options = parser.parse_args()
    options.place = options.place or PLACES
    write_video(frames(options), options.path, FRAMES_PER_SECOND)


if __name__ == "__main__":
    main()
