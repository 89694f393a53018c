"""Skill probes: the same small scene many times, and how often the policy masters it.

One agent of each scene follows the policy, the others are scripted (IDM) drivers; in "dense" all
agents follow it. A trial fails with a collision at fault or a departure from the road; in the time
given the agent must also do what `PROBES` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.evaluation.incidents import Watch
from selfdrive_env.evaluation.policies import Candidate, check_layout, fitting_layout
from selfdrive_env.evaluation.scenes import SceneEnv, lane_at
from selfdrive_env.state.world import EVENT_GOAL, EVENT_STOP_SIGN

__all__ = ["PROBES", "ProbeResult", "probe"]

EAST, NORTH, WEST, SOUTH = 0.0, 0.5 * math.pi, math.pi, -0.5 * math.pi
HALF_LANE = 1.75
SECONDS = 60.0
DENSE_SECONDS, DENSE_AGENTS = 120.0, 150
BARRIER, NEEDED = 120.0, 60.0
"""Where the road is closed, and how far an agent must come by itself [m]."""

NORMAL = 1.959964

SETTINGS: dict[str, Any] = {
    "preset": "eval",
    "dt": 1.0 / 15.0,
    "bodies": {"car": 1.0},
    "on_collision": "ignore",
    "on_offroad": "ignore",
    "on_goal": "new_route",
    "stagger": False,
    "horizon": 1.0e6,
    "copy": False,
    "traffic": "idm",
    "lights_off": 1.0,
}

Place = tuple[int, float]


class ProbeResult(NamedTuple):
    """How often a probe was mastered."""

    successes: int
    trials: int
    rate: float
    low: float
    high: float
    """Ends of the 95 % interval of the rate (Wilson's)."""


class Probe(NamedTuple):
    """A skill probe."""

    road: str
    agents: int
    scene: Callable[[SceneEnv, int, Generator], None]
    """Places the bodies of one world."""

    rule: str
    """What an agent without incident must do, in words."""


def probe(policy: Candidate, name: str, *, trials: int = 20, first_seed: int = 0) -> ProbeResult:
    """Returns how often a policy masters a probe.

    Args:
        policy: Drives the ego.
        name: One of `PROBES`.
        trials: Scenes; in "dense" at least this many of its 150 agents' drives count.
        first_seed: The scene of trial i is drawn from seed first_seed + i.
    """
    if trials < 1:
        raise ValueError(f"trials must be a whole number of at least 1, got {trials}")
    if name not in PROBES:
        raise ValueError(f"unknown probe {name!r}: use {', '.join(PROBES)}")
    if name == "dense":
        return _rate(_dense(policy, trials, first_seed))
    chosen = PROBES[name]
    env = SceneEnv(
        chosen.road,
        trials,
        agents_per_world=chosen.agents,
        **{"layout": fitting_layout(policy), **SETTINGS, **policy.settings},
    )
    check_layout(policy, env)
    seeds = list(range(first_seed, first_seed + trials))
    env.reset(seed=seeds)
    env.clear()
    for world, seed in enumerate(seeds):
        chosen.scene(env, world, np.random.default_rng(seed))
    env.observe()
    succeeded = _drive(env, policy, name)
    env.close()
    return _rate(succeeded)


def _drive(env: DrivingVectorEnv, policy: Candidate, name: str) -> NDArray[Any]:
    """Returns whether the ego of each world succeeds."""
    engine = env.engine
    watch = Watch(engine)
    failed, reached = np.zeros(env.num_worlds, np.bool_), np.zeros(env.num_worlds, np.bool_)
    driven = np.zeros(env.num_worlds)
    route = engine.bodies.goal_lane[:, 0].copy()
    lost = np.zeros(env.num_worlds, np.bool_)
    for step in range(round(SECONDS / env.settings.one_dt("probes"))):
        watch.before_step()
        env.step(policy.act(engine.observations))
        event = engine.output.event[:, 0]
        for incident in watch.after_step(step):
            at_fault = incident.cause in ("collision_at_fault", "offroad", "start_in_collision")
            if incident.agent == 0 and at_fault and not reached[incident.world]:
                failed[incident.world] = True
        if name == "four_way_stop":
            failed |= ((event & EVENT_STOP_SIGN) != 0) & ~reached
        driven += np.abs(engine.motion.travel[:, 0])
        if name != "closed_road":
            # Who missed the turn was given another route, whose goals are not the probe's.
            lost |= (engine.bodies.goal_lane[:, 0] != route).any(1)
            reached |= ((event & EVENT_GOAL) != 0) & ~lost
            if (failed | reached | lost).all():
                break
    if name == "closed_road":
        reached = driven >= NEEDED
    return reached & ~failed


def _dense(policy: Candidate, trials: int, first_seed: int) -> NDArray[Any]:
    """Returns whether each agent of dense traffic succeeds."""
    worlds = math.ceil(trials / DENSE_AGENTS)
    settings = {"layout": fitting_layout(policy), **SETTINGS, **policy.settings}
    env = DrivingVectorEnv(
        worlds * DENSE_AGENTS,
        **{**settings, "map": "riverside", "agents_per_world": DENSE_AGENTS, "lights_off": 0.0},
    )
    check_layout(policy, env)
    engine = env.engine
    env.reset(seed=list(range(first_seed, first_seed + worlds)))
    watch = Watch(engine)
    failed = np.zeros(engine.agents.x.shape, np.bool_)
    reached = np.zeros_like(failed)
    for step in range(round(DENSE_SECONDS / env.settings.one_dt("probes"))):
        watch.before_step()
        env.step(policy.act(engine.observations))
        for incident in watch.after_step(step):
            if incident.cause in ("collision_at_fault", "offroad"):
                failed[incident.world, incident.agent] = True
        reached |= (engine.output.event & EVENT_GOAL) != 0
    env.close()
    return (reached & ~failed).reshape(-1)


def _rate(succeeded: NDArray[Any]) -> ProbeResult:
    """Returns the rate with Wilson's interval."""
    trials, successes = len(succeeded), int(succeeded.sum())
    share, square = successes / trials, NORMAL * NORMAL / trials
    middle = (share + 0.5 * square) / (1.0 + square)
    reach = NORMAL * math.sqrt(share * (1.0 - share) / trials + 0.25 * square / trials)
    reach /= 1.0 + square
    return ProbeResult(successes, trials, share, max(middle - reach, 0.0), min(middle + reach, 1.0))


def _stream(
    env: SceneEnv,
    world: int,
    agents: range,
    last: Place,
    goal: Place,
    speed: float,
    gaps: NDArray[Any],
) -> None:
    """Places vehicles one behind the other on a lane, the first `gaps[0]` behind a place."""
    lane, s = last
    for agent, gap in zip(agents, gaps.tolist(), strict=True):
        s -= gap
        if s < 4.0:
            return
        env.put(world, agent, (lane, s), [goal], speed=speed)


def _arm(env: SceneEnv, end: str, away: float, *, leaving: bool) -> Place:
    """Returns a place on an arm of a crossing, `away` from its middle [m]."""
    x, y = {"west": (-1, 0), "south": (0, -1), "east": (1, 0), "north": (0, 1)}[end]
    outwards = math.atan2(y, x)
    heading = outwards if leaving else outwards + math.pi
    right = heading - 0.5 * math.pi
    px, py = away * x + HALF_LANE * math.cos(right), away * y + HALF_LANE * math.sin(right)
    return lane_at(env.scene, px, py, heading)


def _left_turn(env: SceneEnv, world: int, random: Generator) -> None:
    goals = [_arm(env, "north", 60.0, leaving=True), _arm(env, "north", 230.0, leaving=True)]
    env.put(world, 0, _arm(env, "west", 70.0, leaving=False), goals, speed=8.0)
    lane, s = _arm(env, "east", 20.0, leaving=False)
    goal = _arm(env, "west", 235.0, leaving=True)
    gaps = random.uniform(14.0, 60.0, env.settings.slots - 1)
    _stream(env, world, range(1, env.settings.slots), (lane, s), goal, 10.0, gaps)


def _four_way_stop(env: SceneEnv, world: int, random: Generator) -> None:
    ends = ["west", "south", "east", "north"]
    for agent, end in enumerate(ends):
        others = [other for other in ends if other != end]
        to = others[random.integers(3)]
        goals = [_arm(env, to, 50.0, leaving=True), _arm(env, to, 235.0, leaving=True)]
        start = _arm(env, end, float(random.uniform(40.0, 80.0)), leaving=False)
        env.put(world, agent, start, goals, speed=7.0)


def _roundabout(env: SceneEnv, world: int, random: Generator) -> None:
    goals = [_arm(env, "east", 70.0, leaving=True), _arm(env, "east", 235.0, leaving=True)]
    start = _arm(env, "west", float(random.uniform(80.0, 110.0)), leaving=False)
    env.put(world, 0, start, goals, speed=8.0)
    for end, to, agents in (("north", "east", range(1, 4)), ("east", "south", range(4, 7))):
        gaps = random.uniform(10.0, 35.0, 3)
        goal = _arm(env, to, 235.0, leaving=True)
        _stream(env, world, agents, _arm(env, end, 45.0, leaving=False), goal, 8.0, gaps)


def _merge(env: SceneEnv, world: int, random: Generator) -> None:
    lanes = env.scene.lanes
    entry = int(np.flatnonzero((lanes.left >= 0) & _without_successor(env))[0])
    ramp = next(k for k in range(len(lanes.length)) if entry in _successors(env, k))
    beside = int(lanes.left[entry])
    behind = next(k for k in range(len(lanes.length)) if beside in _successors(env, k))
    onwards = _successors(env, beside)[0]
    goals = [(onwards, 60.0), (onwards, float(lanes.length[onwards]) - 20.0)]
    start = ramp, float(lanes.length[ramp]) - float(random.uniform(50.0, 80.0))
    env.put(world, 0, start, goals, speed=12.0)
    gaps = random.uniform(18.0, 55.0, env.settings.slots - 1)
    last = behind, float(lanes.length[behind]) - 5.0
    _stream(env, world, range(1, env.settings.slots), last, goals[1], 16.0, gaps)


def _successors(env: SceneEnv, lane: int) -> list[int]:
    lanes = env.scene.lanes
    links = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
    return [int(link) for link in links]


def _without_successor(env: SceneEnv) -> NDArray[Any]:
    """Whether each lane ends while its left neighbour goes on."""
    count = np.diff(env.scene.lanes.successor_first)
    left = np.maximum(env.scene.lanes.left, 0)
    return (count == 0) & (count[left] > 0)


def _overtake(env: SceneEnv, world: int, random: Generator) -> None:
    right = lane_at(env.scene, -150.0, -1.5 * 3.5, EAST)
    goals = [(right[0], right[1] + 220.0), (right[0], right[1] + 380.0)]
    env.put(world, 0, right, goals, speed=9.0)
    stopped = right[0], right[1] + float(random.uniform(70.0, 110.0))
    env.put(world, 1, stopped, goals, speed=0.0, still=True)
    left = lane_at(env.scene, -170.0, -0.5 * 3.5, EAST)
    goal = left[0], goals[1][1]
    _stream(env, world, range(2, 4), left, goal, 9.0, random.uniform(15.0, 45.0, 2))


def _closed_road(env: SceneEnv, world: int, random: Generator) -> None:
    own = lane_at(env.scene, -100.0, -HALF_LANE, EAST)
    goals = [(own[0], own[1] + 200.0), (own[0], own[1] + 300.0)]
    env.put(world, 0, own, goals, speed=float(random.uniform(7.0, 11.0)))
    place = own[0], own[1] + BARRIER
    for agent, aside in ((1, -0.6), (2, 1.7), (3, 4.0)):
        env.put(world, agent, place, goals, speed=0.0, still=True, aside=aside)


PROBES = {
    "merge": Probe("motorway", 13, _merge, "joins motorway traffic from a ramp and passes a goal"),
    "unprotected_left_turn": Probe(
        "signals", 8, _left_turn, "turns left through oncoming traffic and passes a goal"
    ),
    "four_way_stop": Probe(
        "stop", 4, _four_way_stop, "stops at the line, crosses and passes a goal"
    ),
    "roundabout_entry": Probe(
        "roundabout", 7, _roundabout, "enters a busy roundabout, leaves it and passes a goal"
    ),
    "overtaking": Probe(
        "wide", 4, _overtake, "passes a standing vehicle on a street of two lanes and then a goal"
    ),
    "dense": Probe("riverside", DENSE_AGENTS, _merge, "reaches a goal in 120 s among 150 agents"),
    "closed_road": Probe(
        "narrow", 4, _closed_road, "drives at least 60 m towards a closed road and hits nothing"
    ),
}
"""Probe -> its scene and what to do within 60 s (in "dense" 120 s)."""
