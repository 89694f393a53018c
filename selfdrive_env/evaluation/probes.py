"""Skill probes: the same small scene many times, and how often the policy masters it.

One agent of each scene follows the policy, the others are scripted (IDM) drivers; in "dense" all
agents follow it. A trial fails with a collision at fault or a departure from the road; in the time
given the agent must also do what `PROBES` says.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.tasks import TaskVectorEnv
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.evaluation.incidents import Watch
from selfdrive_env.evaluation.policies import Candidate, check_layout, fitting_layout, observed
from selfdrive_env.state.world import EVENT_GOAL, EVENT_STOP_SIGN

__all__ = ["PROBES", "ProbeResult", "probe"]

DENSE_SECONDS, DENSE_AGENTS = 120.0, 150
NORMAL = 1.959964

SETTINGS: dict[str, Any] = {
    "preset": "eval",
    "dt": 1.0 / 15.0,
    "bodies": {"car": 1.0},
    "on_collision": "ignore",
    "on_offroad": "ignore",
    "on_goal": "new_route",
    "copy": False,
}
DENSE: dict[str, Any] = {
    "map": "riverside",
    "agents_per_world": DENSE_AGENTS,
    "stagger": False,
    "horizon": 1.0e6,
    "lights_off": 0.0,
}
"""Settings of all probes, and of the one that is no scene."""


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

    task: str
    """Whose scenes it takes, one of `TASKS`; "" for none."""

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
    settings = {"layout": fitting_layout(policy), **SETTINGS, **policy.under()}
    seeds = list(range(first_seed, first_seed + trials))
    env = TaskVectorEnv(
        trials,
        task=PROBES[name].task,
        first_seed=first_seed,
        num_seeds=trials,
        scene_order="sequence",
        **settings,
    )
    check_layout(policy, env)
    env.reset(seed=seeds)
    succeeded = _drive(env, policy, name)
    env.close()
    return _rate(succeeded)


def _drive(env: TaskVectorEnv, policy: Candidate, name: str) -> NDArray[Any]:
    """Returns whether the ego of each world succeeds."""
    engine = env.engine
    watch = Watch(engine)
    failed, reached, lost, over = np.zeros((4, env.num_worlds), np.bool_)
    driven = np.zeros(env.num_worlds)
    route = engine.bodies.goal_lane[:, 0].copy()
    needed = env.task.distance
    for step in range(env.settings.steps):
        watch.before_step()
        _, _, terminated, truncated, _ = env.step(policy.act(observed(policy, env)))
        event = engine.output.event[:, 0]
        counts = ~reached & ~over
        for incident in watch.after_step(step):
            at_fault = incident.cause in ("collision_at_fault", "offroad", "start_in_collision")
            if incident.agent == 0 and at_fault and counts[incident.world]:
                failed[incident.world] = True
        if name == "four_way_stop":
            failed |= ((event & EVENT_STOP_SIGN) != 0) & counts
        driven += np.where(over, 0.0, np.abs(engine.motion.travel[:, 0]))
        if needed == 0.0:
            # Who missed the turn was given another route, whose goals are not the probe's.
            lost |= (engine.bodies.goal_lane[:, 0] != route).any(1)
            reached |= ((event & EVENT_GOAL) != 0) & ~lost & ~over
        over |= terminated | truncated
        if (failed | reached | lost | over).all():
            break
    if needed > 0.0:
        reached = driven >= needed
    return reached & ~failed


def _dense(policy: Candidate, trials: int, first_seed: int) -> NDArray[Any]:
    """Returns whether each agent of dense traffic succeeds."""
    worlds = math.ceil(trials / DENSE_AGENTS)
    settings = {"layout": fitting_layout(policy), **SETTINGS, **policy.under()}
    env = DrivingVectorEnv(
        worlds * DENSE_AGENTS,
        **{**settings, **DENSE},
    )
    check_layout(policy, env)
    engine = env.engine
    env.reset(seed=list(range(first_seed, first_seed + worlds)))
    watch = Watch(engine)
    failed = np.zeros(engine.agents.x.shape, np.bool_)
    reached = np.zeros_like(failed)
    for step in range(round(DENSE_SECONDS / env.settings.one_dt("probes"))):
        watch.before_step()
        env.step(policy.act(observed(policy, env)))
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


PROBES = {
    "merge": Probe("merge", "joins motorway traffic from a ramp and passes a goal"),
    "unprotected_left_turn": Probe(
        "unprotected_left_turn", "turns left through oncoming traffic and passes a goal"
    ),
    "four_way_stop": Probe("four_way_stop", "stops at the line, crosses and passes a goal"),
    "roundabout_entry": Probe(
        "roundabout", "enters a busy roundabout, leaves it and passes a goal"
    ),
    "overtaking": Probe(
        "overtake", "passes a standing vehicle on a street of two lanes and then a goal"
    ),
    "dense": Probe("", "reaches a goal in 120 s among 150 agents"),
    "closed_road": Probe(
        "closed_road", "drives at least 60 m towards a closed road and hits nothing"
    ),
}
"""Probe -> its scenes and what to do within 60 s (in "dense" 120 s)."""
