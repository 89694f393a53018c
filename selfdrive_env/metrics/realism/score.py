"""The realism of rollouts of a scene, 0 to 1, with the features and weights of WOSAC 2025."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.metrics.case import Case
from selfdrive_env.metrics.divergence import wrapped
from selfdrive_env.metrics.metric import Metric
from selfdrive_env.metrics.realism.likelihoods import histogram_likelihood
from selfdrive_env.metrics.realism.neighbours import neighbours
from selfdrive_env.metrics.road import Road
from selfdrive_env.metrics.rules.lights import red_light
from selfdrive_env.metrics.surroundings import offroad
from selfdrive_env.scenes.tracks import VEHICLE, Tracks
from selfdrive_env.state.arrays import F64

__all__ = ["FEATURES", "Feature", "features", "realism"]

Bools = NDArray[np.bool_]


class Feature(NamedTuple):
    """What is compared."""

    name: str
    unit: str
    bounds: tuple[float, float]
    num_bins: int
    weight: float

    ever: bool = False
    """Whether it is 1 for an agent that is above 0 at some step: two bins a rollout."""

    cars_only: bool = False


FEATURES = (
    Feature("speed", "m/s", (0.0, 25.0), 10, 0.05),
    Feature("acceleration", "m/s²", (-12.0, 12.0), 11, 0.05),
    Feature("yaw_rate", "rad/s", (-0.628, 0.628), 11, 0.05),
    Feature("yaw_acceleration", "rad/s²", (-3.14, 3.14), 11, 0.05),
    Feature("nearest_distance", "m", (-5.0, 40.0), 10, 0.10),
    Feature("collision", "1", (0.0, 1.0), 2, 0.25, ever=True),
    Feature("time_to_collision", "s", (0.0, 5.0), 10, 0.10, cars_only=True),
    Feature("edge_distance", "m", (-20.0, 40.0), 10, 0.05),
    Feature("offroad", "1", (0.0, 1.0), 2, 0.25, ever=True),
    Feature("red_light", "1", (0.0, 1.0), 2, 0.05, ever=True, cars_only=True),
)
"""Weights add up to 1."""


def realism(
    log: Tracks,
    rollouts: Sequence[Tracks],
    *,
    dt: float,
    road: Road,
    start: int = 0,
    agents: Sequence[int] | None = None,
) -> dict[str, float]:
    """Returns the likelihood of the log under rollouts of its scene, by feature, and their mean.

    A feature's likelihood is the exponential of the mean logarithm over all agents and steps at
    which the log is valid; of those that hold for a whole rollout, over agents. A feature of which
    nothing is known, such as lights without any, is 1.

    Args:
        log: What was recorded.
        rollouts: Simulations of the same agents at the same steps, 32 in WOSAC.
        dt: Between steps [s].
        road: What they drive on.
        start: First step that was simulated; those before only serve derivatives.
        agents: Whom to compare, None for all.

    Returns:
        "realism", and each of `FEATURES` by name.

    Raises:
        ValueError: No rollout, or parts that do not fit each other.
    """
    if not rollouts:
        raise ValueError("realism needs one rollout or more")
    if not 0 <= start < log.num_steps:
        raise ValueError(f"start is {start}, wanted 0 to {log.num_steps - 1}")
    which = np.arange(log.num_agents) if agents is None else np.asarray(agents, np.int64)
    if which.size and not 0 <= which.min() <= which.max() < log.num_agents:
        raise ValueError(f"agents: {which.tolist()}, wanted 0 to {log.num_agents - 1}")
    recorded = features(Case(log, dt, road=road))
    simulated = [features(Case(rollout, dt, log, road)) for rollout in rollouts]
    cars = log.kind[which] == VEHICLE
    out = {}
    for one in FEATURES:
        chosen = which[cars] if one.cars_only else which
        parts = [found[one.name].agents(chosen).steps(start) for found in (recorded, *simulated)]
        if one.ever:
            parts = [_ever(part) for part in parts]
        own, others = parts[0], parts[1:]
        value = np.stack([part.value for part in others])
        valid = np.stack([part.valid for part in others])
        known = own.valid & np.any(valid, axis=(0, 2), keepdims=True)[0]
        found = histogram_likelihood(own.value, known, value, valid, one.bounds, one.num_bins)
        out[one.name] = float(np.exp(found[known].mean())) if known.any() else 1.0
    mean = sum(one.weight * out[one.name] for one in FEATURES)
    return {"realism": mean, **out}


def features(case: Case) -> dict[str, Metric]:
    """Returns the features of traffic by name, each [agent, step].

    Args:
        case: The traffic.
    """
    tracks, dt = case.tracks, case.dt
    ways = [_central(value) / dt for value in (tracks.x, tracks.y, tracks.z)]
    inner = _both_beside(tracks.valid)
    speed = np.sqrt(ways[0] ** 2 + ways[1] ** 2 + ways[2] ** 2)
    twice = _both_beside(inner)
    heading = tracks.heading.astype(np.float64)
    rate = np.zeros(heading.shape)
    rate[:, 1:-1] = wrapped(heading[:, 2:] - heading[:, :-2]) / (2.0 * dt)
    distance, time = neighbours(tracks)
    edge = offroad(case)
    return {
        "speed": Metric.of(speed, inner),
        "acceleration": Metric.of(_central(np.where(inner, speed, 0.0)) / dt, twice),
        "yaw_rate": Metric.of(rate, inner),
        "yaw_acceleration": Metric.of(_central(np.where(inner, rate, 0.0)) / dt, twice),
        "nearest_distance": Metric.of(distance, tracks.valid),
        "collision": Metric.of(distance < 0.0, tracks.valid),
        "time_to_collision": Metric.of(time, tracks.valid),
        "edge_distance": edge,
        "offroad": edge.above(0.0),
        "red_light": red_light(case),
    }


def _ever(metric: Metric) -> Metric:
    """Returns whether agents are above 0 at some step, [agent, 1]."""
    most = metric.most()
    return Metric.of((most.value > 0.0)[:, None], most.valid[:, None])


def _central(value: F64) -> F64:
    """Returns half the difference of the steps before and after, 0 at the ends."""
    out = np.zeros(value.shape)
    out[:, 1:-1] = 0.5 * (value[:, 2:] - value[:, :-2])
    return out


def _both_beside(valid: Bools) -> Bools:
    """Returns whether a step, the one before and the one after are valid."""
    out = np.zeros(valid.shape, np.bool_)
    out[:, 1:-1] = valid[:, 2:] & valid[:, 1:-1] & valid[:, :-2]
    return out
