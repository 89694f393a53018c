"""Drives scripted (IDM) cars on maps and counts what goes wrong, by cause and per agent-hour.

    python benchmarks/idm.py [--minutes 20] [--agents 60 100] [--seeds 64] MAP [MAP ...]

Nothing ends an episode (endless routes, incidents ignored), so that every incident counts. The
seeds are worlds of one environment. *Stuck* is who has been slower than 0.05 m/s for 90 s, unless
the first car of its chain of leaders waits at a red light or has moved 5 m in the last 90 s. One
that drives and waited at a red light until 3 s ago counts as waiting: its queue moves off. Bodies
placed broken down (`--standing`) are no drivers: they count nowhere, and explain no waiting.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.envs import make_drive
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.state.road import SEG_COS, SEG_LENGTH, SEG_S, SEG_SIN, SEG_X, SEG_Y
from selfdrive_env.state.world import ABSENT, RED, STANDING, YELLOW, Event, Hold

INCIDENTS = Event.COLLISION | Event.OFFROAD | Event.RED_LIGHT | Event.STOP_SIGN
SHOWN = ("goals", "collisions", "offroad", "red_lights", "stop_signs", "wrong_way", "tows")
STILL_SPEED, STILL_TIME, MOVED = 0.05, 90.0, 5.0
"""[m/s], [s], [m]"""
LOOK_EVERY, MOVING_OFF = 3.0, 3.0
"""[s], and how long after its red light the first of a queue may take to have gone `MOVED` [s]."""
LEADER_GAP, LINE_GAP = 40.0, 15.0
"""How far ahead of a front its leader (beyond the junction that it keeps clear) or the line that it
waits at may be [m]."""


class Standing:
    """Who stands still, for how long, and whether a red light explains it."""

    def __init__(self, engine: Any, dt: float) -> None:
        shape = engine.agents.x.shape
        self._engine, self._dt = engine, dt
        self._every = max(round(LOOK_EVERY / dt), 1)
        self._step = 0
        self._still = np.zeros(shape)
        self._way = np.zeros(shape)
        self._ways: list[NDArray[np.float64]] = []
        self._red = np.full(shape, -np.inf)
        self.stuck = np.zeros(shape, bool)
        self.spells = 0

    def add(self) -> None:
        """Looks at the state after a step."""
        engine = self._engine
        here = drivers(engine)
        fresh = engine.agents.age <= 1
        still = here & ~fresh & (np.abs(engine.agents.speed) < STILL_SPEED)
        self._still = np.where(still, self._still + self._dt, 0.0)
        self._way += np.abs(engine.motion.travel)
        self._step += 1
        if self._step % self._every:
            return
        self._ways.append(self._way.copy())
        self._ways = self._ways[-round(STILL_TIME / LOOK_EVERY) - 1 :]
        stuck = np.zeros_like(self.stuck)
        for world, agent in np.argwhere(self._still >= STILL_TIME - MOVING_OFF):
            explained = not self.stuck[world, agent] and self._explained(world, agent)
            stuck[world, agent] = self._still[world, agent] >= STILL_TIME and not explained
        self.spells += int(np.count_nonzero(stuck & ~self.stuck))
        self.stuck = stuck

    def _explained(self, world: int, agent: int) -> bool:
        """Whether the first of the chain of leaders moves, or waits at a red light."""
        seen, now = {agent}, self._step * self._dt
        leader, red = look_ahead(self._engine, world, agent)
        while True:
            if red:
                self._red[world, agent] = now
            if leader < 0 or leader in seen:
                break
            seen.add(leader)
            agent = leader
            leader, red = look_ahead(self._engine, world, agent)
        drives = abs(self._engine.agents.speed[world, agent]) >= STILL_SPEED
        moves_off = drives and now - self._red[world, agent] <= MOVING_OFF + 0.5 * self._dt
        moved = self._way[world, agent] - self._ways[0][world, agent] >= MOVED
        return moved or moves_off or (leader < 0 and red)


def drivers(engine: Any) -> NDArray[np.bool_]:
    """Returns where there is an agent that is not broken down."""
    status: NDArray[np.uint8] = engine.agents.status
    return (status != ABSENT) & (status != STANDING)


def look_ahead(engine: Any, world: int, agent: int) -> tuple[int, bool]:
    """Returns the leader of an agent, -1 for none, and whether a red line lies close ahead.

    Who stands beyond the red line leads nobody before it. Where nobody is ahead on the own lane,
    it is whom the agent stands behind on its way to another lane.
    """
    lanes, signs, agents, bodies = engine.lanes, engine.signs, engine.agents, engine.bodies
    first_lane = lanes.map_lane_first[engine.worlds.map[world]]
    first_line = signs.map_line_first[engine.worlds.map[world]]
    index = int(agents.segment[world, agent])
    goal = int(bodies.goal_lane[world, agent, agents.goal[world, agent]])
    row = engine.routes.distance[engine.routes.first[goal] : engine.routes.first[goal + 1]]
    dense = len(row) == lanes.map_lane_first[engine.worlds.map[world] + 1] - first_lane
    half_length = 0.5 * bodies.length[world, agent]
    way, red, points = -float(agents.s[world, agent]), np.inf, []
    place = float(agents.s[world, agent])
    for _ in range(8):
        lane = int(lanes.segment_lane[index])
        for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
            gap = way + signs.lane_line_s[link] - half_length
            colour = engine.lights.line_colour[world, signs.lane_line[link] - first_line]
            if -1.0 < gap < LINE_GAP and colour in (RED, YELLOW):
                red = min(red, gap + half_length)
        for segment in range(index, lanes.segment_first[lane + 1]):
            start, length = lanes.segment[segment, SEG_S], lanes.segment[segment, SEG_LENGTH]
            for t in np.arange(max(place - start, 0.0), length, 0.5):
                points.append((segment, t, way + start + t))
        way += float(lanes.length[lane])
        if way > half_length + LEADER_GAP:
            break
        ahead = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        if not len(ahead):
            break
        if dense:
            ahead = ahead[np.argsort(row[ahead - first_lane], kind="stable")]
        fits = ahead[lanes.max_curvature[ahead] <= bodies.max_curvature[world, agent]]
        index, place = int(lanes.segment_first[(fits if len(fits) else ahead)[0]]), 0.0
    waits = bool(red < np.inf)
    if not points:
        return -1, waits
    reach = min(half_length + LEADER_GAP, red)
    at = np.array([point for point in points if point[2] <= reach] or points[:1])
    table = lanes.segment[at[:, 0].astype(int)]
    shift = 0.5 * bodies.wheelbase[world]
    others = np.flatnonzero(agents.status[world] != ABSENT)
    others = others[others != agent]
    cos, sin = agents.cos[world, others], agents.sin[world, others]
    dx = (table[:, SEG_X] + at[:, 1] * table[:, SEG_COS])[:, None]
    dy = (table[:, SEG_Y] + at[:, 1] * table[:, SEG_SIN])[:, None]
    dx = dx - agents.x[world, others] - shift[others] * cos
    dy = dy - agents.y[world, others] - shift[others] * sin
    wide = 0.5 * (bodies.width[world, others] + bodies.width[world, agent]) + 0.3
    hit = np.abs(dx * cos + dy * sin) <= 0.5 * bodies.length[world, others] + 0.5
    hit &= np.abs(dy * cos - dx * sin) <= wide
    hit &= table[:, SEG_COS][:, None] * cos + table[:, SEG_SIN][:, None] * sin > 0.5
    hit &= np.abs(agents.z[world, others] - agents.z[world, agent]) < 2.5
    found = np.flatnonzero(hit.any(axis=1))
    if not len(found):
        return (-1, True) if waits else (body_followed(engine, world, agent), False)
    return int(others[np.argmax(hit[found[0]])]), waits


def body_followed(engine: Any, world: int, agent: int) -> int:
    """Returns whom an agent stands behind that goes over to another lane, -1 for nobody."""
    follows = engine.agents.hold[world, agent] == Hold.BODY
    return int(engine.agents.blocker[world, agent]) if follows else -1


def tell(engine: Any, step: int, dt: float) -> None:
    """Prints the incidents of a step."""
    event, names = engine.output.event, list(BODY_TYPES)
    for world, slot in np.argwhere(event & INCIDENTS):
        causes = [m.name for m in METRICS if event[world, slot] & INCIDENTS & m.event]
        print(
            f"  {step * dt:.1f} s: {', '.join(causes)}, world {world}, agent {slot} "
            f"({names[engine.bodies.type[world, slot]]}) at x {engine.agents.x[world, slot]:.1f}, "
            f"y {engine.agents.y[world, slot]:.1f}, {engine.motion.speed[world, slot]:.1f} m/s, "
            f"d {engine.agents.d[world, slot]:.2f}, with {engine.motion.hit_agent[world, slot]}"
        )


def drive(place: str, agents: int, options: argparse.Namespace) -> str:
    """Drives all seeds of a map and returns a row of the table."""
    lights = {} if options.lights == "drawn" else {"light_removal": 0.0, "lights_off": 0.0}
    env = make_drive(
        options.seeds,
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
        num_threads=options.threads,
        standing_share=options.standing,
        **(lights if options.lights == "drawn" else {**lights, "lights_green": 0.0}),
    )
    env.reset(seed=options.seed)
    engine, dt = env.engine, env.settings.dt
    standing = Standing(engine, dt)
    counts, distance, present = np.zeros(len(METRICS)), 0.0, 0
    actions = np.zeros(options.seeds, np.int64)
    started = time.process_time()
    for step in range(int(options.minutes * 60.0 / dt)):
        env.step(actions)
        event = engine.output.event
        counts += [np.count_nonzero(event & metric.event) for metric in METRICS]
        distance += float(np.abs(engine.motion.travel).sum())
        present += int(np.count_nonzero(drivers(engine)))
        standing.add()
        if options.show:
            tell(engine, step, dt)
    spent = time.process_time() - started
    env.close()
    hours = present * dt / 3600.0
    by_name = dict(zip((metric.name for metric in METRICS), counts / hours, strict=True))
    return (
        f"| {Path(place).name} | {agents} | {hours:.0f} | "
        + " | ".join(f"{by_name.get(name, 0.0):.3g}" for name in SHOWN)
        + f" | {distance / hours / 3600.0:.2f} | {standing.spells} | {standing.stuck.mean():.3f}"
        f" | {1.0e6 * spent * dt / 3600.0 / hours:.1f} |"
    )


def main() -> None:
    """Parses the options and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", nargs="+", metavar="MAP", help="built-in town or file")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--agents", type=int, nargs="+", default=[30])
    parser.add_argument("--seeds", type=int, default=64, help="worlds of the batch")
    parser.add_argument("--seed", type=int, default=1, help="of the batch")
    parser.add_argument("--lights", choices=("on", "drawn"), default="on")
    parser.add_argument("--standing", type=float, default=0.0, help="share placed broken down")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="list every incident")
    options = parser.parse_args()
    print("incidents per agent-hour; stuck: spells begun, share of agents at the end")
    print(f"| map | cars | agent-hours | {' | '.join(SHOWN)} | m/s | stuck | share | us |")
    print("|---" * (len(SHOWN) + 7) + "|")
    for place in options.maps:
        for agents in options.agents:
            print(drive(place, agents, options), flush=True)


if __name__ == "__main__":
    main()
