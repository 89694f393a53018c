"""What was driven in each world since its scene began, beside what was recorded, and metrics of it.

Worlds on the same road are measured in one call: their agents lie side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.poses import Poses, last_poses, poses_of
from selfdrive_env.envs.scenes.situations import Situations
from selfdrive_env.metrics import Metric, Road, compute
from selfdrive_env.metrics.lines.ways import COLUMNS, Ways
from selfdrive_env.metrics.table import BY_NAME
from selfdrive_env.scenes import Tracks
from selfdrive_env.scenes.tracks import SERIES
from selfdrive_env.state.arrays import I64

__all__ = ["Driven"]

WIDE = ("x", "y", "z")
"""Series in double precision."""

OF_ROAD = {"edges", "lanes", "stop lines"}
"""What metrics need of a road."""

EMPTY = {"length": 1.0, "width": 1.0, "kind": 0}
"""Of an agent that there is none of."""

Bools = NDArray[np.bool_]
Arrays = dict[str, NDArray[Any]]


def _series(worlds: int) -> Arrays:
    """Returns tracks without moments and agents, each [world, moment, agent]."""
    kinds = {**{name: np.float64 for name in WIDE}, "valid": np.bool_}
    return {
        name: np.zeros((worlds, 0, 0), kinds.get(name, np.float32)) for name in (*SERIES, "valid")
    }


def _grown(array: NDArray[Any], *shape: int, fill: float = 0.0) -> NDArray[Any]:
    """Returns an array with room for a shape, what was in it in its place."""
    wanted = tuple(max(pair) for pair in zip(array.shape, shape, strict=True))
    if wanted == array.shape:
        return array
    out = np.full(wanted, fill, array.dtype)
    out[tuple(map(slice, array.shape))] = array
    return out


def _by_history(names: Sequence[str]) -> list[tuple[float, list[str]]]:
    """Returns metrics by how much of the time before a step they need [s]."""
    out: dict[float, list[str]] = {}
    for name in names:
        out.setdefault(BY_NAME[name].history, []).append(name)
    return list(out.items())


class Driven:
    """The episodes of all worlds.

    Args:
        engine: As `NumpyBackend.on_host` gives it.
        rows: Rows of a world.
        names: Of all metrics that are ever asked for.
    """

    def __init__(self, engine: Any, rows: int, names: Iterable[str]) -> None:
        wanted = [BY_NAME[name] for name in names]
        worlds = engine.num_worlds
        self._needs = {need for one in wanted for need in one.needs}
        self._others = any(one.others for one in wanted)
        self.rows = rows
        self.begun = np.zeros(worlds, np.bool_)
        self.now = np.full(worlds, -1)
        self.moments = np.zeros(worlds, np.int64)
        self._scene = np.full(worlds, -1)
        self._agents, self._lines = np.zeros(worlds, np.int64), np.zeros(worlds, np.int64)
        self._dt = np.zeros(worlds)
        self._road: list[Road | None] = [None] * worlds
        self._place = np.zeros(worlds, np.int64)
        """Alike for worlds on the same road at steps of the same length."""
        self._last: Poses | None = None
        self._driven, self._log = _series(worlds), _series(worlds)
        self._logged = np.zeros(worlds, np.bool_)
        self._light = np.zeros((worlds, 0, 0), np.uint8)
        self._way = np.zeros((worlds, rows, 0, COLUMNS))
        self._way_count = np.zeros((worlds, rows), np.int64)
        self._way_logged = np.zeros((worlds, rows, 2))
        self._body = {
            "length": np.zeros((worlds, 0), np.float32),
            "width": np.zeros((worlds, 0), np.float32),
            "kind": np.zeros((worlds, 0), np.uint8),
        }

    @property
    def last(self) -> I64:
        """The moment of each world that was kept last, [world]."""
        return np.minimum(self.now, self.moments - 1)

    def begin(self, engine: Any, situations: Situations, worlds: Sequence[int]) -> None:
        """Notes where some worlds begin.

        Args:
            engine: As `NumpyBackend.on_host` gives it.
            situations: From which they were drawn.
            worlds: Which.
        """
        for world in worlds:
            self._begin(engine, situations, world)
        if len(worlds):
            which = np.asarray(worlds)
            self._keep(which, poses_of(engine), engine.lights.line_colour)

    def _begin(self, engine: Any, situations: Situations, world: int) -> None:
        number, place = int(engine.worlds.scene[world]), int(engine.worlds.map[world])
        scene, recorded = situations.scenes[number], situations.recorded(number)
        lines = engine.signs.map_line_first
        agents = recorded.agents if self._others else min(recorded.agents, self.rows)
        self.begun[world], self.now[world], self._scene[world] = True, 0, number
        self.moments[world] = max(scene.steps - scene.current, 1)
        self._agents[world], self._dt[world] = agents, scene.dt
        self._lines[world] = lines[place + 1] - lines[place]
        if self._needs & OF_ROAD:
            self._road[world] = situations.road(number)
        self._place[world] = hash((id(self._road[world]), scene.dt))
        self._fit(agents, int(self.moments[world]), recorded.ways, int(self._lines[world]))
        for name, empty in EMPTY.items():
            self._body[name][world] = empty
            self._body[name][world, :agents] = recorded.body[name][:agents]
        self._driven["valid"][world] = False
        self._logged[world] = recorded.log is not None
        if recorded.log is not None and "log" in self._needs:
            count = min(agents, self.rows)
            for name, value in recorded.log.items():
                self._log[name][world] = 0
                self._log[name][world, : value.shape[1], :count] = value[:count].T
        self._way_count[world] = 0
        if "routes" in self._needs:
            ways = recorded.ways
            self._way_count[world, : len(ways.count)] = ways.count
            self._way_logged[world, : len(ways.count)] = ways.logged
            for row, (first, count) in enumerate(zip(ways.first, ways.count, strict=True)):
                self._way[world, row, :count] = ways.row[first : first + count]

    def _fit(self, agents: int, moments: int, ways: Ways, lines: int) -> None:
        """Makes room for what is kept of one more scene."""
        worlds = len(self.now)
        for series, count in ((self._driven, max(agents, self.rows)), (self._log, self.rows)):
            if series is self._driven or "log" in self._needs:
                series.update(
                    {name: _grown(one, worlds, moments, count) for name, one in series.items()}
                )
        for name, empty in EMPTY.items():
            self._body[name] = _grown(
                self._body[name], worlds, max(agents, self.rows), fill=float(empty)
            )
        if "stop lines" in self._needs:
            self._light = _grown(self._light, worlds, moments, lines)
        if "routes" in self._needs:
            segments = int(ways.count.max(initial=0))
            self._way = _grown(self._way, worlds, self.rows, segments, COLUMNS)

    def _keep(self, worlds: I64, poses: Poses, colour: NDArray[np.uint8]) -> None:
        """Keeps the present moment of some worlds.

        Args:
            worlds: Which.
            poses: Of the agents of all worlds.
            colour: What their stop lines show.
        """
        agents, now = self._driven["valid"].shape[2], self.now[worlds]
        there = poses.there[worlds, :agents]
        width = there.shape[1]
        names = (*SERIES, "valid")
        for name, value in zip(names, (*poses[:6], poses.there), strict=True):
            own = np.where(there, value[worlds, :agents], 0)
            self._driven[name][worlds, now, :width] = own
        lines = min(self._light.shape[2], colour.shape[1])
        if lines:
            self._light[worlds, now, :lines] = colour[worlds, :lines]
        self._remember(worlds, poses)

    def _remember(self, worlds: I64, poses: Poses) -> None:
        """Keeps where the agents of some worlds are now, those that are not there as well."""
        if self._last is None or self._last.x.shape != poses.x.shape:
            self._last = poses.at(np.s_[:])
            return
        for kept, value in zip(self._last, poses, strict=True):
            kept[worlds] = value[worlds]

    def move(self, scenes: Mapping[int, int]) -> None:
        """Goes on in another backend.

        Args:
            scenes: Place of a scene that goes on in those before -> in these.
        """
        self._scene = np.array([scenes.get(number, -1) for number in self._scene.tolist()])

    def jump(self, clock: NDArray[Any]) -> None:
        """Takes the moments where worlds began for later ones: what led there is not known.

        Args:
            clock: Step of each world.
        """
        moment = np.minimum(clock, self.moments - 1).astype(np.int64)
        worlds = np.arange(len(moment))
        for kept in (*self._driven.values(), self._light):
            if kept.size:
                kept[worlds, moment] = kept[:, 0].copy()
        for world, first in enumerate(moment.tolist()):
            self._driven["valid"][world, :first] = False
        self.now = moment

    def note(self, engine: Any, ends: Bools) -> I64:
        """Keeps where a step has led; returns the worlds in which there was one.

        Args:
            engine: As `NumpyBackend.on_host` gives it.
            ends: Rows whose episode ended in it, [world, row].
        """
        drawn = engine.worlds.clock == 0
        ended = ends.any(axis=1)
        # A step may draw a world anew and do nothing else.
        moved = self.begun & np.where(drawn, ended, engine.worlds.clock > self.now)
        poses = poses_of(engine)
        poses.there[:, : self.rows] |= ends & ~drawn[:, None]  # who ends leaves, and was there
        colour = engine.lights.line_colour
        assert self._last is not None
        for world in np.flatnonzero(moved & drawn).tolist():
            own = last_poses(
                engine, world, int(self._scene[world]), int(self.now[world]) + 1,
                self._last.at(world),
            )  # fmt: skip
            own.there[: self.rows] |= ends[world]
            for array, value in zip(poses, own, strict=True):
                array[world] = value
        self.now[moved] += 1
        kept = np.flatnonzero(moved & (self.now < self.moments))
        if self._light.size and (moved & drawn).any():
            colour = self._before_drawn(colour, moved & drawn)
        self._keep(kept, poses, colour)
        return np.flatnonzero(moved)

    def _before_drawn(self, colour: NDArray[np.uint8], drawn: Bools) -> NDArray[np.uint8]:
        """Returns colours, of worlds that were drawn anew those kept last."""
        out, lines = colour.copy(), min(self._light.shape[2], colour.shape[1])
        for world in np.flatnonzero(drawn).tolist():
            out[world, :lines] = self._light[world, max(self.now[world] - 1, 0), :lines]
        return out

    def of_step(self, worlds: I64, names: Sequence[str]) -> dict[str, Metric]:
        """Returns metrics of the step that is over, each [world, row].

        Args:
            worlds: Which.
            names: Of metrics.
        """
        shape = len(worlds), self.rows
        out = {n: Metric(np.zeros(shape), np.zeros(shape, np.bool_)) for n in names}
        for before, chosen in _by_history(names):
            moments = np.ceil(before / self._dt[worlds] - 1e-6).clip(min=float(before > 0.0))
            length = np.minimum(moments, self.last[worlds]).astype(np.int64) + 1
            for place, found in self._measured(worlds, length, chosen):
                for name, one in found.items():
                    out[name].value[place] = one.value[:, -1].reshape(-1, self.rows)
                    out[name].valid[place] = one.valid[:, -1].reshape(-1, self.rows)
        return out

    def of_episode(self, worlds: I64, names: Sequence[str]) -> Iterator[tuple[I64, Any]]:
        """Gives metrics of all steps of worlds up to now, each [world x row, moment].

        Args:
            worlds: Which.
            names: Of metrics.

        Yields:
            Places among `worlds`, and metrics by name.
        """
        yield from self._measured(worlds, self.last[worlds] + 1, names)

    def _measured(
        self, worlds: I64, length: I64, names: Sequence[str]
    ) -> Iterator[tuple[I64, dict[str, Metric]]]:
        """Gives metrics of the last moments of worlds, those that are alike at once."""
        own = [name for name in names if "stop lines" in BY_NAME[name].needs]
        shared = [name for name in names if name not in own]
        key = np.stack([self._place[worlds], self._logged[worlds], length], axis=1)
        alike = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)
        for chosen, group in ((shared, alike), (own, np.arange(len(worlds)))):
            for number in range(group.max(initial=-1) + 1 if chosen else 0):
                place = np.flatnonzero(group == number)
                yield place, self._group(worlds[place], int(length[place[0]]), chosen)

    def _group(self, worlds: I64, length: int, names: Sequence[str]) -> dict[str, Metric]:
        """Returns metrics of the rows of worlds on one road, over as many moments."""
        moment = self.last[worlds][:, None] - np.arange(length - 1, -1, -1)
        known = [n for n in names if self._logged[worlds[0]] or "log" not in BY_NAME[n].needs]
        none = Metric(np.zeros((len(worlds) * self.rows, length)),
            np.zeros((len(worlds) * self.rows, length), np.bool_))  # fmt: skip
        found = dict.fromkeys(names, none)
        road = self._road[worlds[0]]
        if road is not None and any("stop lines" in BY_NAME[name].needs for name in known):
            lines = np.arange(self._lines[worlds[0]])
            light = self._light[worlds[0]][moment[0], lines[:, None]]
            road = dataclasses.replace(road, light=light)
        for others in (False, True):
            chosen = [name for name in known if BY_NAME[name].others == others]
            if not chosen:
                continue
            agents = int(self._agents[worlds].max()) if others else 0
            agents = max(agents, self.rows)
            log = None
            if any("log" in BY_NAME[name].needs for name in chosen):
                log = self._tracks(self._log, worlds, moment, agents)
            tracks = self._tracks(self._driven, worlds, moment, agents)
            given = compute(
                chosen, tracks, dt=float(self._dt[worlds[0]]),
                log=log, road=road, routes=self._ways(worlds) if not others else None,
                world=np.repeat(np.arange(len(worlds)), agents),
            )  # fmt: skip
            rows = (np.arange(len(worlds))[:, None] * agents + np.arange(self.rows)).ravel()
            found |= {name: one.agents(rows) for name, one in given.items()}
        return found

    def _tracks(self, series: Arrays, worlds: I64, moment: I64, agents: int) -> Tracks:
        """Returns the first agents of several worlds at some moments as those of one world."""
        count, place = len(worlds) * agents, (worlds[:, None], moment)
        body = {name: one[worlds, :agents].reshape(count) for name, one in self._body.items()}
        own = {
            name: one[..., :agents][place].transpose(0, 2, 1).reshape(count, -1)
            for name, one in series.items()
        }
        return Tracks(id=np.arange(count), height=np.zeros(count, np.float32), **body, **own)

    def _ways(self, worlds: I64) -> Ways:
        """Returns the routes of the rows of worlds."""
        segments = self._way.shape[2]
        first = (worlds[:, None] * self.rows + np.arange(self.rows)) * segments
        return Ways(
            self._way.reshape(-1, COLUMNS),
            first.ravel(),
            self._way_count[worlds].ravel(),
            self._way_logged[worlds].reshape(-1, 2),
        )
