"""Long-form evaluation: many agents drive on and on, and what goes wrong is counted by cause.

All agents of all worlds follow one policy. Nothing ends an episode: an agent in an incident drives
on, but what it drives until the incident is over counts neither as kilometres nor as hours. One
that is in an incident for `TOW_TIME`, or whose route takes far too long, is placed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.layouts import ObservationLayout, make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.open_maps import count_of, open_maps
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.evaluation.behaviour import Behaviour, Sums
from selfdrive_env.evaluation.films import Recorder, Recording, place_anew, severity
from selfdrive_env.evaluation.incidents import CAUSES, CRASHES, Incident, Watch
from selfdrive_env.evaluation.policies import Candidate, check_layout, fitting_layout
from selfdrive_env.evaluation.routes import RouteLog
from selfdrive_env.evaluation.statistics import Interval, km_between, paired_difference
from selfdrive_env.maps import MapError, RoadNetwork
from selfdrive_env.state.world import ABSENT, EVENT_COMFORT, EVENT_WRONG_WAY

__all__ = ["DEFAULTS", "Evaluation", "compare", "compare_presets", "evaluate"]

Maps = Sequence[str | RoadNetwork]
"""Names, files and networks."""

TOW_TIME = 10.0
"""After this long in an incident an agent is placed anew [s]."""

DEFAULTS: dict[str, Any] = {
    "agents_per_world": 50,
    "preset": "eval",
    "dt": 1.0 / 15.0,
    "reverse": Settings.reverse,
    "light_removal": 0.0,
    "lights_off": 0.0,
    "lights_green": 0.0,
}
"""Settings that differ from the environment's defaults, or are told always; may be overridden."""

FIXED: dict[str, Any] = {
    "on_collision": "ignore",
    "on_offroad": "ignore",
    "on_red_light": "ignore",
    "on_goal": "new_route",
    "stagger": False,
    "horizon": 1.0e6,
    "copy": False,
    "autoreset_mode": "SameStep",
}
"""Settings that the measurement needs as they are."""


@dataclass
class Evaluation:
    """What an evaluation counted; arrays hold one entry a world, that is one a seed."""

    policy: str
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    minutes: float
    km: NDArray[np.float64]
    hours: NDArray[np.float64]
    """Driven by all agents outside incidents."""

    counts: NDArray[np.int64]
    """Incidents by cause, [W, causes], in the order of `CAUSES`."""

    goals: NDArray[np.int64]
    routes: list[tuple[int, float, float, bool]]
    """World, share driven, score from 0 to 1, whether completed, of each route that ended."""

    goal_time: float
    goal_free_time: float
    """To all goals reached, and the same way at the speed limits [s]."""

    uncomfortable: float
    wrong_way: float
    """Share of steps beyond the comfort bounds, and driven against a lane."""

    agent_steps: int
    """Those that the two are shares of."""

    behaviour: dict[str, float | None]
    sums: Sums = field(repr=False)
    incidents: list[Incident] = field(repr=False)
    recordings: list[Recording] = field(repr=False)
    probes: dict[str, Any] = field(default_factory=dict)
    by_map: list[Evaluation] = field(default_factory=list, repr=False)
    """One a map, where each was driven on in turn."""

    @property
    def by_cause(self) -> dict[str, int]:
        """Number of incidents of each cause."""
        return dict(zip(CAUSES, self.counts.sum(0).tolist(), strict=True))

    def km_between(self, cause: str | None = None) -> Interval:
        """Returns the kilometres between incidents of a cause, None for all that count."""
        counts = self.counts.sum(0)
        count = counts[:CRASHES].sum() if cause is None else counts[CAUSES.index(cause)]
        return km_between(int(count), float(self.km.sum()))

    def hours_between(self) -> Interval:
        """Returns the hours between incidents."""
        return km_between(int(self.counts[:, :CRASHES].sum()), float(self.hours.sum()))

    @property
    def goal_rate(self) -> float | None:
        """Goals reached per agent-hour."""
        return _share(self.goals.sum(), self.hours.sum())

    @property
    def route_completion(self) -> float | None:
        """Mean share of a route that was driven, of routes that ended."""
        return _share(sum(share for _, share, _, _ in self.routes), len(self.routes))

    @property
    def routes_completed(self) -> float | None:
        """Share of the routes that ended which were driven to their last goal."""
        return _share(sum(completed for *_, completed in self.routes), len(self.routes))

    @property
    def driving_score(self) -> float | None:
        """CARLA's score, the mean over routes, 0 to 100."""
        return _share(100.0 * sum(score for _, _, score, _ in self.routes), len(self.routes))

    @property
    def goal_delay(self) -> float | None:
        """Time to goals over that of the same way at the speed limits."""
        return _share(self.goal_time, self.goal_free_time)


def _share(part: Any, whole: Any) -> float | None:
    """Returns part / whole, None where there is nothing."""
    return float(part) / float(whole) if whole > 0 else None


def make_env(
    policy: Candidate, maps: Maps, seeds: Sequence[int], settings: Mapping[str, Any]
) -> tuple[DrivingVectorEnv, dict[str, Any]]:
    """Makes the worlds of an evaluation, one a seed.

    Returns:
        The environment, and its keywords.
    """
    for name in settings:
        if name in FIXED or name in ("map", "driver", "learners", "device", "output"):
            raise ValueError(f"{name} cannot be set: the evaluation needs its own value")
    keywords: dict[str, Any] = {
        "layout": fitting_layout(policy),
        **DEFAULTS,
        **policy.settings,
        **settings,
        **FIXED,
        "map": list(maps),
    }
    agents = keywords["agents_per_world"]
    slots = agents[-1] if isinstance(agents, list | tuple) else agents
    if not isinstance(slots, int) or slots < 1:
        raise ValueError(f"agents_per_world must be a whole number of at least 1, got {agents!r}")
    keywords["num_envs"] = len(seeds) * slots
    known: dict[str, Any] = {n: keywords[n] for n in ("map", "map_variants") if n in keywords}
    _check_maps(Settings.from_keywords(known), make_layout(keywords["layout"]))
    env = DrivingVectorEnv(**keywords)
    check_layout(policy, env)
    return env, keywords


def _check_maps(settings: Settings, layout: ObservationLayout) -> None:
    """Raises a MapError for a map on which nobody can drive anywhere."""
    for one in open_maps(settings, layout):
        lanes, links, starts = (
            count_of(one, f"lanes.{name}") for name in ("length", "successor", "spawn_segment")
        )
        if not starts or not links:
            raise MapError(
                f"map {one.name} has no routes: it has {lanes} drivable lanes, {links} links "
                f"between them and {starts} places to start from"
            )


def evaluate(
    policy: Candidate,
    *,
    map: str | RoadNetwork | Maps = "harbour",
    minutes: float = 10.0,
    seeds: Sequence[int] = (0, 1, 2, 3),
    settings: Mapping[str, Any] | None = None,
    keep: int = 0,
    each_map: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Lets a policy drive and counts what happens.

    Args:
        policy: Drives every agent.
        map: Built-in town, file or network, or several of which each world draws one.
        minutes: Simulated time of each world.
        seeds: One a world; equal seeds give two policies the same starts and lights.
        settings: Of the environment, where they differ from `DEFAULTS`.
        keep: How many of the worst incidents are kept for playing them again.
        each_map: Whether the worlds drive on each map in turn, as if it were the only one; the
            result has all worlds of all maps, and `by_map`.
        progress: Called now and then with the share that is done.
    """
    if not 0.0 < minutes <= 1.0e6:
        raise ValueError(f"minutes must be a number above 0 and up to 1e6, got {minutes}")
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different numbers, got {list(seeds)}")
    maps = [map] if isinstance(map, str | RoadNetwork) else list(map)
    groups = [maps]
    if each_map:
        groups = [[one] for one in Settings.from_keywords({"map": maps}).maps]
    results = []
    for done, group in enumerate(groups):
        share = None if progress is None else _part_of(progress, done, len(groups))
        env, keywords = make_env(policy, group, seeds, settings or {})
        env.reset(seed=list(seeds))
        drive = _Drive(env, policy, Recorder(env, keywords, keep))
        steps = max(1, round(60.0 * minutes / env.settings.dt))
        for step in range(steps):
            drive.step(step)
            if share is not None and step % 100 == 0:
                share(step / steps)
        told = {**keywords, "map": list(env.settings.map_names)}
        results.append(drive.result(policy.name, tuple(seeds), told, minutes))
        env.close()
    return results[0] if len(results) == 1 else pooled(results, keep)


def _part_of(progress: Callable[[float], None], part: int, of: int) -> Callable[[float], None]:
    """Returns what is called with the share of one of several parts."""
    return lambda share: progress((part + share) / of)


def _average(values: Sequence[float], weights: Sequence[int]) -> float:
    return float(np.dot(values, weights)) / max(sum(weights), 1)


def pooled(results: Sequence[Evaluation], keep: int = 0) -> Evaluation:
    """Returns what several evaluations of one policy, each on a map of its own, counted together.

    Args:
        results: One a map, in the order in which worlds are numbered then.
        keep: How many recordings of the worst incidents are kept.
    """
    first = results[0]
    starts = np.cumsum([0, *(len(one.seeds) for one in results)]).tolist()
    numbered = list(zip(starts, results, strict=False))
    weights = [one.agent_steps for one in results]
    sums = sum((one.sums for one in results[1:]), first.sums)
    km = np.concatenate([one.km for one in results])
    counts = np.concatenate([one.counts for one in results])
    recordings = [recording for one in results for recording in one.recordings]
    names = [name for one in results for name in one.settings["map"]]
    return Evaluation(
        policy=first.policy,
        seeds=tuple(seed for one in results for seed in one.seeds),
        settings={**first.settings, "map": names},
        minutes=first.minutes,
        km=km,
        hours=np.concatenate([one.hours for one in results]),
        counts=counts,
        goals=np.concatenate([one.goals for one in results]),
        routes=[(w + world, *rest) for w, one in numbered for world, *rest in one.routes],
        goal_time=sum(one.goal_time for one in results),
        goal_free_time=sum(one.goal_free_time for one in results),
        uncomfortable=_average([one.uncomfortable for one in results], weights),
        wrong_way=_average([one.wrong_way for one in results], weights),
        agent_steps=sum(weights),
        sums=sums,
        behaviour=sums.figures(float(km.sum()), counts),
        incidents=[i._replace(world=w + i.world) for w, one in numbered for i in one.incidents],
        recordings=sorted(recordings, key=lambda r: severity(r.incident), reverse=True)[:keep],
        by_map=list(results),
    )


class _Drive:
    """The running sums of an evaluation."""

    def __init__(self, env: DrivingVectorEnv, policy: Candidate, recorder: Recorder) -> None:
        self.env, self.policy, self.recorder = env, policy, recorder
        self.dt = env.settings.dt
        self.watch, self.routes = Watch(env.engine), RouteLog(env.engine)
        self.behaviour = Behaviour(env.engine)
        worlds = env.num_worlds
        self.km, self.hours = np.zeros(worlds), np.zeros(worlds)
        self.counts = np.zeros((worlds, len(CAUSES)), np.int64)
        self.events = np.zeros(2)
        self.agent_steps = 0
        self.in_incident = np.zeros(env.engine.agents.x.shape)
        self.incidents: list[Incident] = []

    def step(self, step: int) -> None:
        """Drives one step and counts."""
        engine = self.env.engine
        actions = self.policy.act(self.env.engine.observations)
        self.recorder.before_step(step, actions)
        self.watch.before_step()
        remaining = engine.agents.goal_distance.astype(np.float64)
        free = self.watch.present & ~self.watch.edges.open
        self.env.step(actions)

        for incident in self.watch.after_step(step):
            self.counts[incident.world, CAUSES.index(incident.cause)] += 1
            self.incidents.append(incident)
            self.recorder.add(incident)
            if incident.other >= 0 and incident.cause != "start_in_collision":
                self.routes.collided(incident.world, incident.agent, incident.other)
        late = self.routes.after_step(remaining)

        self.km += np.where(free, np.abs(engine.motion.travel), 0.0).sum(1) / 1000.0
        self.hours += free.sum(1) * (self.dt / 3600.0)
        self.agent_steps += int(free.sum())
        event = engine.output.event
        for place, bit in enumerate((EVENT_COMFORT, EVENT_WRONG_WAY)):
            self.events[place] += np.count_nonzero(((event & bit) != 0) & free)
        self.behaviour.after_step(step, free)
        self._tow(step, late)

    def _tow(self, step: int, late: NDArray[np.bool_]) -> None:
        """Places anew who has been in an incident for long, or is far too late."""
        engine = self.env.engine
        still = self.watch.edges.open & (engine.agents.status != ABSENT)
        self.in_incident = np.where(still, self.in_incident + self.dt, 0.0)
        towed = (self.in_incident >= TOW_TIME) | late
        if not towed.any():
            return
        remaining = engine.agents.goal_distance.astype(np.float64)
        place_anew(self.env, towed)
        self.routes.close(towed, np.zeros_like(towed), remaining)
        self.watch.edges.open &= ~towed
        self.watch.since_light[towed] = np.inf
        self.recorder.towed(step, towed)
        self.in_incident[towed] = 0.0

    def result(
        self, name: str, seeds: tuple[int, ...], keywords: dict[str, Any], minutes: float
    ) -> Evaluation:
        """Returns what was counted."""
        shares = self.events / max(self.agent_steps, 1)
        return Evaluation(
            policy=name,
            seeds=seeds,
            settings=keywords,
            minutes=minutes,
            km=self.km,
            hours=self.hours,
            counts=self.counts,
            goals=self.routes.goals,
            routes=self.routes.ended,
            goal_time=float(self.routes.goal_time.sum()),
            goal_free_time=float(self.routes.goal_free_time.sum()),
            uncomfortable=float(shares[0]),
            wrong_way=float(shares[1]),
            agent_steps=self.agent_steps,
            behaviour=self.behaviour.sums.figures(float(self.km.sum()), self.counts),
            sums=self.behaviour.sums,
            incidents=self.incidents,
            recordings=self.recorder.recordings(),
        )


def compare(first: Evaluation, second: Evaluation) -> dict[str, Interval]:
    """Returns first - second, seed by seed, with intervals of Student's t.

    Args:
        first: One policy.
        second: Another with the same seeds.

    Returns:
        Differences of `incidents_per_km`, `goal_rate` (per agent-hour) and `driving_score`.
    """
    if first.seeds != second.seeds:
        raise ValueError(f"need the same seeds for both, got {first.seeds} and {second.seeds}")
    return {
        name: paired_difference(values(first), values(second))
        for name, values in {
            "incidents_per_km": lambda e: e.counts[:, :CRASHES].sum(1) / np.maximum(e.km, 1e-9),
            "goal_rate": lambda e: e.goals / np.maximum(e.hours, 1e-9),
            "driving_score": _scores,
        }.items()
    }


def compare_presets(
    policy: Candidate,
    presets: Sequence[str],
    *,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, dict[str, float | None]]:
    """Returns how a policy drives under each preset of reward weights, in figures of `ROWS`.

    Args:
        policy: Drives every agent.
        presets: Names of presets.
        settings: Of the environment.
        **options: Other keywords of `evaluate`.
    """
    return {
        preset: evaluate(
            policy, settings={**(settings or {}), "preset": preset}, **options
        ).behaviour
        for preset in presets
    }


def _scores(evaluation: Evaluation) -> NDArray[np.float64]:
    """Returns the driving score of each world, 0 where no route ended."""
    world = np.array([route[0] for route in evaluation.routes], np.int64)
    score = np.array([route[2] for route in evaluation.routes], np.float64)
    worlds = len(evaluation.seeds)
    count = np.bincount(world, minlength=worlds)
    total = np.bincount(world, score, minlength=worlds)
    return np.asarray(100.0 * total / np.maximum(count, 1))
