"""Long-form evaluation: many agents drive on and on, and what goes wrong is counted by cause.

All agents of all worlds follow one policy. Nothing ends an episode: an agent in an incident drives
on, but what it drives until the incident is over counts neither as kilometres nor as hours. One
that is in an incident for `TOW_TIME`, or whose route takes far too long, is placed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.layouts import ObservationLayout, make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.open_maps import count_of, open_maps
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.evaluation.behaviour import Behaviour
from selfdrive_env.evaluation.films import Recorder, place_anew
from selfdrive_env.evaluation.incidents import CAUSES, Incident, Links, Watch
from selfdrive_env.evaluation.policies import Candidate, check_layout, fitting_layout, observed
from selfdrive_env.evaluation.results.evaluation import Evaluation, joined, route_sums
from selfdrive_env.evaluation.routes import RouteLog
from selfdrive_env.maps import MapError, RoadNetwork
from selfdrive_env.state.world import ABSENT, EVENT_COMFORT, EVENT_WRONG_WAY

__all__ = ["DEFAULTS", "check_maps", "check_settings", "compare_presets", "evaluate"]

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
    "light_timing": Settings.light_timing,
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


def make_env(
    policy: Candidate, maps: Maps, seeds: Sequence[int], settings: Mapping[str, Any]
) -> tuple[DrivingVectorEnv, dict[str, Any]]:
    """Makes the worlds of an evaluation, one a seed.

    Returns:
        The environment, and its keywords.
    """
    check_settings(settings)
    preset = {**DEFAULTS, **settings}["preset"]
    keywords: dict[str, Any] = {
        "layout": fitting_layout(policy),
        **DEFAULTS,
        **policy.under(preset),
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
    check_maps(Settings.from_keywords(known), make_layout(keywords["layout"]))
    env = DrivingVectorEnv(**keywords)
    check_layout(policy, env)
    return env, keywords


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises a ValueError for settings that are unknown, not allowed or the evaluation's own."""
    for name in settings:
        if name in FIXED or name in ("map", "driver", "learners", "device", "output"):
            raise ValueError(f"{name} cannot be set: the evaluation needs its own value")
    try:
        Settings.from_keywords({**DEFAULTS, **settings})
    except TypeError as error:
        raise ValueError(str(error)) from None


def check_maps(settings: Settings, layout: ObservationLayout) -> None:
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
    kinds: Sequence[str] = (),
    each_map: bool = False,
    shard: tuple[int, int] = (1, 1),
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
        kinds: Of which kinds of failure those are, any where empty; see `causes.kinds.KINDS`.
        each_map: Whether the worlds drive on each map in turn, as if it were the only one; the
            result has all worlds of all maps, and `by_map`.
        shard: I and N: only the I-th of N parts of the worlds is driven, which together are exactly
            the whole run.
        progress: Called now and then with the share that is done.
    """
    if not 0.0 < minutes <= 1.0e6:
        raise ValueError(f"minutes must be a number above 0 and up to 1e6, got {minutes}")
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different numbers, got {list(seeds)}")
    asked = Settings.from_keywords({"map": [map] if isinstance(map, str | RoadNetwork) else map})
    groups = [[one] for one in asked.maps] if each_map else [list(asked.maps)]
    parts = [one for one in _part(groups, seeds, shard, policy) if one[1]]
    results = []
    for done, (group, chosen) in enumerate(parts):
        share = None if progress is None else _part_of(progress, done, len(parts))
        env, keywords = make_env(policy, group, chosen, settings or {})
        env.reset(seed=list(chosen))
        drive = _Drive(env, policy, Recorder(env, keywords, keep, kinds))
        steps = max(1, round(60.0 * minutes / env.settings.one_dt("an evaluation")))
        for step in range(steps):
            drive.step(step)
            if share is not None and step % 100 == 0:
                share(step / steps)
        names = list(env.settings.map_names)
        told = {name: value for name, value in keywords.items() if name != "num_envs"}
        one = drive.result(policy, tuple(chosen), {**told, "map": names}, minutes)
        one.all_seeds = tuple(seeds)
        if each_map:
            one.maps = tuple(names * len(chosen))
        results.append(one)
        env.close()
    for one in results:
        one.settings["map"] = list(asked.map_names)
    return results[0] if len(results) == 1 else joined(results, keep=keep)


def _part(
    groups: Sequence[Maps], seeds: Sequence[int], shard: tuple[int, int], policy: Candidate
) -> list[tuple[Maps, list[int]]]:
    """Returns the seeds with which a shard drives on each group of maps."""
    number, of = shard
    worlds = [(place, seed) for place in range(len(groups)) for seed in seeds]
    if not 1 <= number <= of or of > len(worlds):
        raise ValueError(
            f"shard must be I/N with I from 1 to N and N up to the number of worlds, "
            f"{len(worlds)}, got {number}/{of}"
        )
    if of > 1 and not policy.by_row:
        raise ValueError(
            f"policy {policy.name} draws the actions of all worlds in turn, so that parts are not "
            f"those of the whole run: shard must be 1/1, got {number}/{of}"
        )
    first, end = ((number - 1) * len(worlds)) // of, (number * len(worlds)) // of
    own = worlds[first:end]
    return [(group, [s for at, s in own if at == place]) for place, group in enumerate(groups)]


def _part_of(progress: Callable[[float], None], part: int, of: int) -> Callable[[float], None]:
    """Returns what is called with the share of one of several parts."""
    return lambda share: progress((part + share) / of)


class _Drive:
    """The running sums of an evaluation."""

    def __init__(self, env: DrivingVectorEnv, policy: Candidate, recorder: Recorder) -> None:
        self.env, self.policy, self.recorder = env, policy, recorder
        self.dt = env.settings.one_dt("an evaluation")
        self.watch, self.routes = Watch(env.engine), RouteLog(env.engine)
        self.behaviour = Behaviour(env.engine)
        self.links = Links(env.engine.agents.x.shape, self.dt)
        worlds = env.num_worlds
        self.km, self.hours = np.zeros(worlds), np.zeros(worlds)
        self.counts = np.zeros((worlds, len(CAUSES)), np.int64)
        self.events = np.zeros((2, worlds), np.int64)
        self.agent_steps = np.zeros(worlds, np.int64)
        self.in_incident = np.zeros(env.engine.agents.x.shape)
        self.incidents: list[Incident] = []

    def step(self, step: int) -> None:
        """Drives one step and counts."""
        engine = self.env.engine
        actions = self.policy.act(observed(self.policy, self.env))
        self.recorder.before_step(step, actions)
        self.watch.before_step()
        remaining = engine.agents.goal_distance.astype(np.float64)
        free = self.watch.present & ~self.watch.edges.open
        self.env.step(actions)

        for incident in self.watch.after_step(step):
            self.counts[incident.world, CAUSES.index(incident.cause)] += 1
            self.incidents.append(incident)
            self.links.add(incident)
            self.recorder.add(incident)
            if incident.other >= 0 and incident.cause != "start_in_collision":
                self.routes.collided(incident.world, incident.agent, incident.other)
        self.links.forget(engine.agents.age == 0)
        late = self.routes.after_step(remaining)

        self.km += np.where(free, np.abs(engine.motion.travel), 0.0).sum(1) / 1000.0
        self.hours += free.sum(1) * (self.dt / 3600.0)
        self.agent_steps += free.sum(1)
        event = engine.output.event
        for place, bit in enumerate((EVENT_COMFORT, EVENT_WRONG_WAY)):
            self.events[place] += np.count_nonzero(((event & bit) != 0) & free, axis=1)
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
        self.links.forget(towed)
        self.recorder.towed(step, towed)
        self.in_incident[towed] = 0.0

    def result(
        self, policy: Candidate, seeds: tuple[int, ...], keywords: dict[str, Any], minutes: float
    ) -> Evaluation:
        """Returns what was counted."""
        settings = self.env.settings
        maps = self.env.engine.maps[:: settings.map_variants]
        return Evaluation(
            policy=policy.name,
            policy_digest=policy.digest,
            map_digests={
                name: one.digest for name, one in zip(settings.map_names, maps, strict=True)
            },
            seeds=seeds,
            settings=keywords,
            minutes=minutes,
            km=self.km,
            hours=self.hours,
            counts=self.counts,
            linked=self.links.counts,
            goals=self.routes.goals,
            routes=self.routes.ended,
            route_sums=route_sums(self.routes.ended, len(seeds)),
            goal_time=self.routes.goal_time,
            goal_free_time=self.routes.goal_free_time,
            uncomfortable_steps=self.events[0],
            wrong_way_steps=self.events[1],
            agent_steps=self.agent_steps,
            sums=self.behaviour.sums,
            incidents=self.incidents,
            recordings=self.recorder.recordings(),
        )


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
