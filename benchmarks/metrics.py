"""Times the metrics of traffic: agent-steps a second on one core, each alone and all together.

    python benchmarks/metrics.py [--agents 128] [--steps 80] [--points 20000] [--repeats 7]

A made-up scene: streets that cross in a square of 300 m, 45 % of the road points on their edges and
the rest on lanes, half a metre apart, as in recorded scenes; half of the agents drive along lanes
and half stand in lanes. Each run starts from tracks alone, with the road's grid made
before; the first run, which compiles, is not counted. Processor time, best and median of the runs.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from selfdrive_env.commands.bench import processor
from selfdrive_env.metrics import METRICS, WAYMAX, Polylines, Road, Route, compute
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.world import RED

SIDE, SPACING, DT = 300.0, 0.5, 0.1
HALF_ROAD, LANE = 7.0, 3.5
"""From the middle of a street to its edge, and of a lane to the next [m]."""


def streets(points: int, steps: int) -> Road:
    """As many streets along both axes as there are points for."""
    count = max(round(points / (2.0 * 7.0 * SIDE / SPACING)), 1)
    middles = ((np.arange(count) + 0.5) * SIDE / count).tolist()
    along = np.arange(0.0, SIDE, SPACING)
    kerb = np.all([np.abs(along - middle) > HALF_ROAD for middle in middles], axis=0)
    parts = [along[run] for run in np.split(np.arange(len(along)), turns(kerb)) if kerb[run[0]]]
    edges, lanes = [], []
    for middle in middles:
        for swap in (False, True):
            for offset in (-HALF_ROAD, -HALF_ROAD - 2.0, HALF_ROAD, HALF_ROAD + 2.0):
                # A path for those on foot beside the road has an edge of its own.
                backward = (offset > 0) != swap
                edges += [line(part, middle + offset, swap, backward) for part in parts]
            for offset in (-1.5 * LANE, -0.5 * LANE, 0.5 * LANE, 1.5 * LANE):
                lanes.append(line(along, middle + offset, swap, (offset > 0) != swap))
    middle = [lane[len(lane) // 2] for lane in lanes]
    heading = [np.arctan2(*(lane[-1] - lane[0])[::-1]) for lane in lanes]
    return Road.of(
        edges=edges,
        lanes=lanes,
        speed_limit=np.full(len(lanes), 13.9),
        stop_point=middle,
        stop_heading=heading,
        light=np.full((len(lanes), steps), RED),
    )


def turns(mask: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(mask)) + 1


def line(along: np.ndarray, across: float, swap: bool, backward: bool) -> np.ndarray:
    pair = np.stack([along, np.full(len(along), across)], axis=1)
    pair = pair[:, ::-1] if swap else pair
    return pair[::-1] if backward else pair


def traffic(road: Road, agents: int, steps: int, rng: np.random.Generator) -> Tracks:
    """Half drive along lanes, half stand in the outer lane."""
    x, y, heading = np.zeros((3, agents, steps))
    speed = np.where(np.arange(agents) % 2, rng.uniform(3.0, 12.0, agents), 0.0)
    lanes = road.lanes.lines()
    for agent in range(agents):
        lane = lanes[int(rng.integers(len(lanes)))]
        start = rng.uniform(0.0, max(SIDE - speed[agent] * DT * steps, 1.0))
        s = np.clip(start + speed[agent] * DT * np.arange(steps), 0.0, SIDE - 1.0)
        arc = SPACING * np.arange(len(lane))
        way = lane[-1] - lane[0]
        heading[agent] = np.arctan2(way[1], way[0]) + rng.normal(0.0, 0.02)
        x[agent], y[agent] = (np.interp(s, arc, lane[:, axis]) for axis in (0, 1))
        x[agent] += rng.normal(0.0, 0.3) + rng.normal(0.0, 0.02, steps)  # as trackers see it
        y[agent] += rng.normal(0.0, 0.3) + rng.normal(0.0, 0.02, steps)
    heading = ((heading + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)
    return Tracks(
        id=np.arange(agents),
        kind=np.zeros(agents, np.uint8),
        length=rng.uniform(4.0, 5.5, agents).astype(np.float32),
        width=rng.uniform(1.8, 2.1, agents).astype(np.float32),
        height=np.full(agents, 1.5, np.float32),
        x=x,
        y=y,
        z=np.zeros_like(x),
        heading=heading,
        vx=(speed[:, None] * np.cos(heading)).astype(np.float32),
        vy=(speed[:, None] * np.sin(heading)).astype(np.float32),
        valid=np.ones((agents, steps), bool),
    )


def main(words: list[str] | None = None) -> None:
    """Parses the options and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=128)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--points", type=int, default=20_000, help="of the road, about")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(words)

    road = streets(options.points, options.steps)
    tracks = traffic(road, options.agents, options.steps, np.random.default_rng(0))
    lane = road.lanes.nearest(
        tracks.x[1, :1], tracks.y[1, :1], tracks.z[1, :1], tracks.valid[1, :1]
    )
    routes = [Route(1, Polylines.of([road.lanes.lines()[int(lane.line[0])]]), road.lanes)]
    edge, lanes = len(road.edges.point), len(road.lanes.point)
    print(f"{processor()}; {options.agents} agents, {options.steps} steps")
    print(f"{edge + lanes} road points, {edge} of them on edges")
    print("| metrics | first run, s | best, ms | agent-steps/s, best | median |")
    print("|---|---|---|---|---|")
    every = [one.name for one in METRICS]
    both = [("Waymax's seven", list(WAYMAX)), ("all", every)]
    for name, names in [*((one, [one]) for one in every), *both]:
        runs = []
        for _ in range(options.repeats + 1):
            start = time.process_time()
            compute(names, tracks, dt=DT, log=tracks, road=road, routes=routes)
            runs.append(time.process_time() - start)
        first, *rest = runs
        work = options.agents * options.steps
        print(
            f"| {name} | {first:.2f} | {min(rest) * 1e3:.1f} | {work / min(rest):,.0f} "
            f"| {work / statistics.median(rest):,.0f} |"
        )


if __name__ == "__main__":
    main()
