"""Metrics by definition while scenes are driven: of steps, of episodes, and as rewards.

What drove is kept from the present moment of each scene on; a metric of a step is computed from as
much of it as its definition needs, one of an episode from all of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.poses import Poses, last_poses, nowhere, poses_of
from selfdrive_env.envs.scenes.situations import Situations
from selfdrive_env.metrics import Metric, Road, Route, compute, logged_routes
from selfdrive_env.metrics.table import BY_NAME, check_names
from selfdrive_env.scenes import Tracks
from selfdrive_env.scenes.tracks import KINDS
from selfdrive_env.state.arrays import F32

__all__ = ["WAYMAX", "Measures", "Values", "split_rewards"]

PREFIX = "metric."
"""Before the name of a metric in the setting `reward`, where a term of the reward has it too."""

WAYMAX = "waymax"
"""Preset whose reward has metrics alone."""

WAYMAX_REWARD = {"overlap": 1.0, "offroad": 1.0}
"""Their weights."""

FINAL_DISPLACEMENT = "fde"
"""What `final_info` has beside the mean of `log_divergence`: its last value."""

SHORTEST_TIME = 3.0
"""A time to collision that is not shorter costs nothing [s]."""

WHOLE = slice(0, None)
"""All moments of a scene."""

SERIES = ("x", "y", "z", "heading", "vx", "vy")

Values = dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]


def split_rewards(
    preset: str, reward: Mapping[str, Any], terms: Iterable[str]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the weights of the terms of a reward, and those of metrics in it.

    Args:
        preset: "waymax" stands for no terms and `WAYMAX_REWARD`.
        reward: Name -> weight; a metric that is called like a term has `PREFIX` before its name.
        terms: Names of all weights of terms.

    Raises:
        ValueError: The weight of a metric is no number of at least 0: it is the magnitude of a
            penalty, as elsewhere.
    """
    own, weights = {}, dict(WAYMAX_REWARD) if preset == WAYMAX else {}
    for name, value in reward.items():
        plain = str(name).removeprefix(PREFIX)
        if plain not in BY_NAME or (plain == name and name in set(terms)):
            own[name] = value
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and value >= 0.0):
            raise ValueError(
                f"reward[{name!r}] is the weight of a metric, a number of at least 0, got {value!r}"
            )
        weights[plain] = float(value)
    return own, weights


class Episode:
    """One scene as it is driven in one world.

    Args:
        situations: What it is one of.
        number: Which.
        num_lines: Stop lines of its map.
    """

    def __init__(self, situations: Situations, number: int, num_lines: int) -> None:
        scene = situations.scenes[number]
        self.situations, self.number, self.scene = situations, number, scene
        self.order = situations.order_of(number)
        self.learners = situations.learners_of(number)
        self.moments = max(scene.steps - scene.current, 1)
        shape = len(self.order), self.moments
        self.poses = nowhere(shape)
        self.light = np.zeros((num_lines, self.moments), np.uint8)
        self.now = -1

    def note(self, poses: Poses, light: NDArray[np.uint8]) -> None:
        """Keeps the next moment; those beyond the last one of the scene are let go.

        Args:
            poses: Of the agents of the world, each [agent].
            light: What its stop lines show.
        """
        self.now += 1
        if self.now >= self.moments:
            return
        for kept, value in zip(self.poses, poses, strict=True):
            kept[:, self.now] = value[: len(kept)]
        self.light[:, self.now] = light[: len(self.light)]

    def before(self) -> Poses:
        """Returns the poses of the moment that was kept last, each [agent]."""
        return self.poses.at(np.s_[:, self.last])

    @cached_property
    def statics(self) -> dict[str, NDArray[Any]]:
        """What does not change of the agents, in the order of slots."""
        agents = [self.scene.agents[number] for number in self.order]
        return {
            "id": np.array([agent.id for agent in agents], np.int64),
            "kind": np.array([KINDS.index(agent.kind) for agent in agents], np.uint8),
            "length": np.array([agent.length for agent in agents], np.float32),
            "width": np.array([agent.width for agent in agents], np.float32),
            "height": np.zeros(len(agents), np.float32),
        }

    @cached_property
    def log(self) -> Tracks | None:
        """What was recorded of the same agents from the present moment on."""
        tracks = self.scene.tracks
        if tracks is None:
            return None
        cut = np.s_[self.order, self.scene.current : self.scene.steps]
        series = {name: getattr(tracks, name)[cut] for name in (*SERIES, "valid")}
        return Tracks(**self.statics, **series)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The ways that its learners were recorded on."""
        return () if self.log is None else logged_routes(self.log, range(self.learners))

    @cached_property
    def road(self) -> Road:
        """What it is driven on."""
        return self.situations.road(self.number)

    @property
    def last(self) -> int:
        """The moment that was kept last."""
        return min(self.now, self.moments - 1)

    def measure(self, names: Sequence[str], part: slice = WHOLE) -> dict[str, Metric]:
        """Returns metrics of the learners at some moments; none where a record is missing.

        Args:
            names: Of metrics.
            part: Which moments; nobody is there at those to come.
        """
        alone = [name for name in names if not BY_NAME[name].others]
        found: dict[str, Metric] = {}
        for wanted, count in (
            (alone, self.learners),
            ([name for name in names if name not in alone], len(self.order)),
        ):
            if wanted:
                found |= self._measure(wanted, part, count)
        return {name: found[name].agents(np.arange(self.learners)) for name in names}

    def _measure(self, names: Sequence[str], part: slice, count: int) -> dict[str, Metric]:
        """Returns metrics of the first agents, computed as if there were no others."""
        place = np.s_[:count, part]
        valid = self.poses.there[place]
        x, y, z, heading, vx, vy = (np.where(valid, one[place], 0.0) for one in self.poses[:6])
        wide = {"heading": heading, "vx": vx, "vy": vy}
        small: dict[str, Any] = {name: one.astype(np.float32) for name, one in wide.items()}
        own = {name: one[:count] for name, one in self.statics.items()}
        tracks = Tracks(**own, x=x, y=y, z=z, valid=valid, **small)
        log = None
        if self.log is not None and any("log" in BY_NAME[name].needs for name in names):
            log = _cut(self.log, place)
        road = self.road
        if any("stop lines" in BY_NAME[name].needs for name in names):
            road = dataclasses.replace(road, light=self.light[:, part])
        known = [n for n in names if log is not None or "log" not in BY_NAME[n].needs]
        given = compute(known, tracks, dt=self.scene.dt, log=log, road=road, routes=self.routes)
        nothing = np.zeros(valid.shape)
        none = Metric(nothing, nothing.astype(np.bool_))
        return {name: given.get(name, none) for name in names}


def _cut(tracks: Tracks, place: tuple[slice, slice]) -> Tracks:
    """Returns some agents and moments of tracks."""
    series = {name: getattr(tracks, name)[place] for name in (*SERIES, "valid")}
    names = ("id", "kind", "length", "width", "height")
    return Tracks(**{name: getattr(tracks, name)[place[0]] for name in names}, **series)


class Measures:
    """Metrics of the rows of a vector environment.

    Args:
        names: Of metrics that infos tell.
        weights: Of metrics in the reward.
        backend: Of the worlds, on the CPU or a device.
        rows_per_world: Rows of a world.

    Raises:
        ValueError: For names that there are not.
    """

    def __init__(
        self, names: Iterable[str], weights: Mapping[str, float], backend: Any, rows_per_world: int
    ) -> None:
        self.names, self.weights = check_names(names), dict(weights)
        self.backend, self.rows = backend, rows_per_world
        worlds = backend.engine.num_worlds
        self.episodes: list[Episode | None] = [None] * worlds
        self._before = np.zeros((worlds, rows_per_world))
        self._every = list(dict.fromkeys((*self.names, *self.weights)))

    def begin(self, situations: Situations) -> None:
        """Notes where worlds begin that were drawn anew."""
        engine = self.backend.on_host()
        self._begin(engine, situations, np.flatnonzero(engine.worlds.clock == 0))

    def _begin(self, engine: Any, situations: Situations, worlds: NDArray[np.int64]) -> None:
        """Notes where some worlds begin.

        Args:
            engine: As `NumpyBackend.on_host` gives it.
            situations: From which they were drawn.
            worlds: Which.
        """
        poses = poses_of(engine)
        for world in worlds.tolist():
            number = int(engine.worlds.scene[world])
            lines = engine.signs.map_line_first
            place = int(engine.worlds.map[world])
            episode = Episode(situations, number, int(lines[place + 1] - lines[place]))
            episode.note(poses.at(world), engine.lights.line_colour[world])
            self.episodes[world] = episode
            self._before[world] = 0.0

    def move(self, backend: Any, situations: Situations, scenes: Mapping[int, int]) -> None:
        """Goes on in another backend.

        Args:
            backend: In which worlds go on.
            situations: From which it draws.
            scenes: Place of a scene that goes on in those before -> in these.
        """
        self.backend = backend
        for episode in self.episodes:
            if episode is not None:
                episode.situations = situations
                episode.number = scenes.get(episode.number, -1)

    def resume(self, situations: Situations) -> None:
        """Notes that worlds are in a state that was set: what led there is not known."""
        engine = self.backend.on_host()
        clock = engine.worlds.clock
        self._begin(engine, situations, np.arange(len(clock)))
        for world, episode in enumerate(self.episodes):
            assert episode is not None
            moment = min(int(clock[world]), episode.moments - 1)
            for kept in (*episode.poses, episode.light):
                kept[:, moment] = kept[:, 0]
            episode.poses.there[:, :moment] = False
            episode.now = moment
            for name in self.weights:
                if BY_NAME[name].pays == "rise":
                    found = episode.measure([name])[name]
                    count = episode.learners
                    self._before[world, :count] = found.value[:, episode.last]

    def step(
        self, situations: Situations, done: NDArray[np.bool_], dense: bool
    ) -> tuple[Values, Values, dict[str, F32]]:
        """Notes a step that is over.

        Args:
            situations: From which worlds are drawn anew.
            done: Rows whose episode ended in it, [rows].
            dense: Whether metrics of the step are asked for.

        Returns:
            Metrics of the step, and of the episodes that ended, by name: values and where they are
            valid, [rows]; and what the reward gets from metrics, by name, [rows].
        """
        engine, rows = self.backend.on_host(), self.rows
        ends = done.reshape(engine.num_worlds, rows)
        drawn = engine.worlds.clock == 0
        poses = poses_of(engine)
        step = _empty(self.names if dense else (), ends.shape)
        final = _empty(self._finals(), ends.shape)
        paid = {name: np.zeros(ends.shape) for name in self.weights}
        for world, episode in enumerate(self.episodes):
            if episode is None or not _note(engine, episode, world, poses, ends, drawn):
                continue
            count = episode.learners
            names = self._every if dense else list(self.weights)
            for name, found in self._of_step(episode, names).items():
                value, valid = found.value[:, -1], found.valid[:, -1]
                if name in paid:
                    own = self._pay(name, value, valid, world)
                    paid[name][world, :count] = self.weights[name] * own
                if name in step:
                    step[name][0][world, :count], step[name][1][world, :count] = value, valid
            if ends[world].any():
                self._finish(episode, ends[world, :count], final, world)
        self._begin(engine, situations, np.flatnonzero(drawn))
        flat = [
            {name: (a.ravel(), b.ravel()) for name, (a, b) in one.items()} for one in (step, final)
        ]
        given = {name: one.ravel().astype(np.float32) for name, one in paid.items()}
        return flat[0], flat[1], given

    def _of_step(self, episode: Episode, names: Sequence[str]) -> dict[str, Metric]:
        """Returns metrics of which the last column is the step's."""
        now, dt = episode.last, episode.scene.dt
        out: dict[str, Metric] = {}
        whole = [name for name in names if math.isinf(BY_NAME[name].history)]
        part = [name for name in names if name not in whole]
        if whole:
            out |= {name: one.steps(now, now + 1) for name, one in episode.measure(whole).items()}
        if part:
            steps = max(math.ceil(BY_NAME[name].history / dt - 1e-6) for name in part)
            out |= episode.measure(part, slice(max(now - max(steps, 1), 0), now + 1))
        return out

    def _pay(self, name: str, value: Any, valid: Any, world: int) -> NDArray[np.float64]:
        """Returns what a weight of 1 pays for a metric of a step, [learners]."""
        kind, limit = BY_NAME[name].pays, BY_NAME[name].limit
        if kind == "above":
            paid = -(value > limit).astype(np.float64)
        elif kind == "rise":
            rows = slice(0, len(value))
            paid = value - self._before[world, rows]
            self._before[world, rows] = np.where(valid, value, self._before[world, rows])
        elif kind == "short":
            paid = np.minimum(value / SHORTEST_TIME - 1.0, 0.0)
        else:
            paid = -value
        return np.where(valid, paid, 0.0)

    def _finals(self) -> list[str]:
        """Returns the names of what is told of episodes."""
        more = [FINAL_DISPLACEMENT] if "log_divergence" in self.names else []
        return [*self.names, *more]

    def _finish(self, episode: Episode, ends: Any, final: Values, world: int) -> None:
        """Writes metrics of the rows of a world that ended."""
        rows = np.flatnonzero(ends)
        if not self.names:
            return
        for name, found in episode.measure(self.names).items():
            one = getattr(found.agents(rows), BY_NAME[name].of_episode)()
            final[name][0][world, rows], final[name][1][world, rows] = one.value, one.valid
            if name == "log_divergence":
                last = found.agents(rows).last()
                target = final[FINAL_DISPLACEMENT]
                target[0][world, rows], target[1][world, rows] = last.value, last.valid


def _note(
    engine: Any, episode: Episode, world: int, poses: Poses, ends: Any, drawn: NDArray[np.bool_]
) -> bool:
    """Keeps where a step of a world has led; returns whether there was one."""
    if drawn[world]:
        if not ends[world].any():  # the step drew it anew and did nothing else
            return False
        own = last_poses(engine, world, episode.number, episode.now + 1, episode.before())
        light = episode.light[:, episode.last]
    elif int(engine.worlds.clock[world]) <= episode.now:
        return False
    else:
        own = poses.at(world)
        own.there[: len(ends[world])] |= ends[world]  # who ends leaves, and is where it was
        light = engine.lights.line_colour[world]
    episode.note(own, light)
    return True


def _empty(names: Iterable[str], shape: tuple[int, ...]) -> Values:
    return {name: (np.zeros(shape), np.zeros(shape, np.bool_)) for name in names}
