"""What an evaluation counted, world by world, and the figures that follow from it.

Everything is kept a world, so that the worlds of several evaluations (maps driven on in turn, parts
of one run on several machines) can be put together, and all figures are those of a single run.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.installation import package_version
from selfdrive_env.evaluation.behaviour import Sums
from selfdrive_env.evaluation.causes.kinds import KINDS
from selfdrive_env.evaluation.films import Recording, severity
from selfdrive_env.evaluation.incidents import CAUSES, CRASHES, Incident
from selfdrive_env.evaluation.statistics import Interval, event_rate, km_between, paired_ratio

__all__ = ["ROUTE_SUMS", "TALLIES", "Evaluation", "joined", "route_sums"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

TALLIES = (
    *("km", "hours", "counts", "linked", "goals", "route_sums", "goal_time", "goal_free_time"),
    *("uncomfortable_steps", "wrong_way_steps", "agent_steps"),
)
"""Arrays of an evaluation with a row a world."""

ROUTE_SUMS = ("ended", "share", "score", "completed")
"""Columns of `Evaluation.route_sums`."""

METRES_PER_SECOND = 1.0 / 3.6


@dataclass
class Evaluation:
    """What an evaluation counted; arrays hold one entry a world, that is one a seed."""

    policy: str
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    minutes: float
    km: F64
    hours: F64
    """Driven by all agents outside incidents."""

    counts: I64
    """Incidents by cause, [W, causes], in the order of `CAUSES`."""

    linked: I64
    """Incidents that count between kilometres, those linked with one another once."""

    goals: I64
    route_sums: F64
    """Over the routes that ended, [W, `ROUTE_SUMS`]."""

    goal_time: F64
    goal_free_time: F64
    """To all goals reached, and the same way at the speed limits [s]."""

    uncomfortable_steps: I64
    wrong_way_steps: I64
    """Steps of agents beyond the comfort bounds, and driven against a lane."""

    agent_steps: I64
    """Those that the two are among."""

    sums: Sums = field(repr=False)
    incidents: list[Incident] = field(repr=False)
    routes: list[tuple[int, float, float, bool]] = field(default_factory=list, repr=False)
    """World, share driven, score from 0 to 1, whether completed, of each route that ended; not kept
    in files."""

    recordings: list[Recording] = field(default_factory=list, repr=False)
    probes: dict[str, Any] = field(default_factory=dict)
    maps: tuple[str, ...] = ()
    """Map of each world, where each map was driven on in turn."""

    all_seeds: tuple[int, ...] = ()
    """Seeds of the whole run, of which this may be a part."""

    policy_digest: str = ""
    """Of the file that holds the policy, "" for what its name tells."""

    map_digests: dict[str, str] = field(default_factory=dict)
    package: str = field(default_factory=package_version)
    """Version that drove."""

    @property
    def by_cause(self) -> dict[str, int]:
        """Number of incidents of each cause."""
        return dict(zip(CAUSES, self.counts.sum(0).tolist(), strict=True))

    @property
    def by_kind(self) -> dict[str, int]:
        """Number of incidents of each kind of failure, red lights included, the most first."""
        found = Counter(one.kind for one in self.incidents)
        kinds = [*KINDS, *sorted(set(found) - set(KINDS))]
        return dict(sorted(((k, found[k]) for k in kinds if found[k]), key=lambda kc: -kc[1]))

    @property
    def num_incidents(self) -> int:
        """Number of incidents that count between kilometres."""
        return int(self.counts[:, :CRASHES].sum())

    @property
    def num_linked(self) -> int:
        """The same, those linked with one another once."""
        return int(self.linked.sum())

    @property
    def missing_worlds(self) -> int:
        """Worlds of the whole run that are not among these."""
        maps = len(self.settings["map"]) if self.maps else 1
        return max(0, maps * len(self.all_seeds) - len(self.seeds))

    def _count(self, cause: str | None) -> int:
        """Returns the number of incidents of a cause, None for all that count."""
        if cause is None:
            return self.num_incidents
        return int(self.counts[:, CAUSES.index(cause)].sum())

    def km_between(self, cause: str | None = None) -> Interval:
        """Returns the kilometres between incidents of a cause, None for all that count."""
        return km_between(self._count(cause), float(self.km.sum()))

    def km_between_linked(self) -> Interval:
        """Returns the kilometres between incidents, those linked with one another once."""
        return km_between(self.num_linked, float(self.km.sum()))

    def hours_between(self) -> Interval:
        """Returns the hours between incidents."""
        return km_between(self.num_incidents, float(self.hours.sum()))

    def incident_rate(self, cause: str | None = None) -> Interval:
        """Returns incidents of a cause per agent-hour, None for all that count."""
        return event_rate(self._count(cause), float(self.hours.sum()))

    def linked_rate(self) -> Interval:
        """Returns incidents per agent-hour, those linked with one another once."""
        return event_rate(self.num_linked, float(self.hours.sum()))

    @property
    def speed(self) -> Interval:
        """Mean speed outside incidents [m/s], with the interval over worlds."""
        values = paired_ratio(self.km.tolist(), self.hours.tolist())
        return Interval(*(None if v is None else v * METRES_PER_SECOND for v in values))

    @property
    def goal_rate(self) -> float | None:
        """Goals reached per agent-hour."""
        return _share(self.goals.sum(), self.hours.sum())

    @property
    def num_routes(self) -> int:
        """Number of routes that ended."""
        return int(self.route_sums[:, 0].sum())

    def _of_routes(self, name: str) -> float | None:
        """Returns the mean of a column of `route_sums` over routes."""
        return _share(self.route_sums[:, ROUTE_SUMS.index(name)].sum(), self.num_routes)

    @property
    def route_completion(self) -> float | None:
        """Mean share of a route that was driven, of routes that ended."""
        return self._of_routes("share")

    @property
    def routes_completed(self) -> float | None:
        """Share of the routes that ended which were driven to their last goal."""
        return self._of_routes("completed")

    @property
    def driving_score(self) -> float | None:
        """CARLA's score, the mean over routes, 0 to 100."""
        score = self._of_routes("score")
        return None if score is None else 100.0 * score

    @property
    def goal_delay(self) -> float | None:
        """Time to goals over that of the same way at the speed limits."""
        return _share(self.goal_time.sum(), self.goal_free_time.sum())

    @property
    def uncomfortable(self) -> float:
        """Share of steps beyond the comfort bounds."""
        return float(self.uncomfortable_steps.sum() / max(self.agent_steps.sum(), 1))

    @property
    def wrong_way(self) -> float:
        """Share of steps driven against a lane."""
        return float(self.wrong_way_steps.sum() / max(self.agent_steps.sum(), 1))

    @property
    def behaviour(self) -> dict[str, float | None]:
        """The figures of `behaviour.ROWS`."""
        return self.sums.figures(float(self.km.sum()), self.counts)

    @property
    def by_map(self) -> list[Evaluation]:
        """One a map, where each of several was driven on in turn."""
        names = list(dict.fromkeys(self.maps))
        return [self._on(name) for name in names] if len(names) > 1 else []

    def _on(self, name: str) -> Evaluation:
        """Returns what was counted on one map."""
        places = [world for world, one in enumerate(self.maps) if one == name]
        there = _worlds(self, places)
        settings = {**self.settings, "map": [name]}
        return dataclasses.replace(there, settings=settings, maps=(), recordings=[], probes={})


def _share(part: Any, whole: Any) -> float | None:
    """Returns part / whole, None where there is nothing."""
    return float(part) / float(whole) if whole > 0 else None


def route_sums(routes: Sequence[tuple[int, float, float, bool]], worlds: int) -> F64:
    """Returns `Evaluation.route_sums`.

    Args:
        routes: As in `Evaluation.routes`.
        worlds: Number of worlds.
    """
    sums = np.zeros((worlds, len(ROUTE_SUMS)))
    for world, share, score, completed in routes:
        sums[world] += 1.0, share, score, completed
    return sums


def _worlds(evaluation: Evaluation, places: Sequence[int]) -> Evaluation:
    """Returns chosen worlds of an evaluation, in the order of their places."""
    chosen, place = np.array(places, np.intp), {old: new for new, old in enumerate(places)}
    sums = Sums(len(places))
    for name, values in vars(evaluation.sums).items():
        setattr(sums, name, values[chosen])
    return dataclasses.replace(
        evaluation,
        **{name: getattr(evaluation, name)[chosen] for name in TALLIES},
        seeds=tuple(evaluation.seeds[old] for old in places),
        maps=tuple(evaluation.maps[old] for old in places) if evaluation.maps else (),
        sums=sums,
        routes=[(place[w], a, b, c) for w, a, b, c in evaluation.routes if w in place],
        incidents=[
            one._replace(world=place[one.world])
            for one in evaluation.incidents
            if one.world in place
        ],
    )


def joined(parts: Sequence[Evaluation], *, keep: int = 0) -> Evaluation:
    """Returns the worlds of several evaluations together, ordered by map, then as in `all_seeds`.

    Args:
        parts: Parts of one run; what is no matter of a world is that of the first one.
        keep: How many recordings of the worst incidents are kept.
    """
    first = parts[0]
    starts = np.cumsum([0, *(len(one.seeds) for one in parts)]).tolist()
    numbered = list(zip(starts, parts, strict=False))
    sums = Sums(0)
    for name in vars(sums):
        setattr(sums, name, np.concatenate([getattr(one.sums, name) for one in parts]))
    tallies: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in parts]) for name in TALLIES
    }
    recordings = [recording for one in parts for recording in one.recordings]
    whole = dataclasses.replace(
        first,
        **tallies,
        seeds=tuple(seed for one in parts for seed in one.seeds),
        maps=tuple(name for one in parts for name in one.maps),
        all_seeds=tuple(dict.fromkeys(seed for one in parts for seed in one.all_seeds)),
        map_digests={
            name: one.map_digests[name]
            for name in first.settings["map"]
            for one in parts
            if name in one.map_digests
        },
        sums=sums,
        routes=[(w + world, a, b, c) for w, one in numbered for world, a, b, c in one.routes],
        incidents=[i._replace(world=w + i.world) for w, one in numbered for i in one.incidents],
        recordings=sorted(recordings, key=lambda r: severity(r.incident), reverse=True)[:keep],
        probes={name: found for one in parts for name, found in one.probes.items()},
    )
    map_place = {name: place for place, name in enumerate(first.settings["map"])}
    seed_place = {seed: place for place, seed in enumerate(whole.all_seeds)}
    maps = [map_place[name] for name in whole.maps] or [0] * len(whole.seeds)
    keys = [(place, seed_place[seed]) for place, seed in zip(maps, whole.seeds, strict=True)]
    places = sorted(range(len(keys)), key=keys.__getitem__)
    return _worlds(whole, places)
