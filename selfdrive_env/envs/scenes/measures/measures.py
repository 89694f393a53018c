"""Metrics of the rows of a vector environment: in infos of steps and episodes, and as rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.measures.driven import Driven
from selfdrive_env.envs.scenes.measures.rewards import paid
from selfdrive_env.envs.scenes.situations import Situations
from selfdrive_env.metrics.table import BY_NAME, check_names
from selfdrive_env.state.arrays import F32, F64

__all__ = ["Measures", "Values"]

FINAL_DISPLACEMENT = "fde"
"""What `final_info` has beside the mean of `log_divergence`: its last value."""

Values = dict[str, tuple[F64, NDArray[np.bool_]]]


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
        self._every = list(dict.fromkeys((*self.names, *self.weights)))
        self._driven = Driven(backend.engine, rows_per_world, self._every)
        self._before = np.zeros((backend.engine.num_worlds, rows_per_world))

    def begin(self, situations: Situations) -> None:
        """Notes where worlds begin that were drawn anew."""
        engine = self.backend.on_host()
        self._begin(engine, situations, np.flatnonzero(engine.worlds.clock == 0))

    def _begin(self, engine: Any, situations: Situations, worlds: NDArray[np.int64]) -> None:
        self._driven.begin(engine, situations, worlds.tolist())
        self._before[worlds] = 0.0

    def move(self, backend: Any, scenes: Mapping[int, int]) -> None:
        """Goes on in another backend.

        Args:
            backend: In which worlds go on.
            scenes: Place of a scene that goes on in those before -> in these.
        """
        self.backend = backend
        self._driven.move(scenes)

    def resume(self, situations: Situations) -> None:
        """Notes that worlds are in a state that was set: what led there is not known."""
        engine = self.backend.on_host()
        worlds = np.arange(engine.num_worlds)
        self._begin(engine, situations, worlds)
        self._driven.jump(engine.worlds.clock)
        for name in self.weights:
            if BY_NAME[name].pays == "rise":
                self._before[:] = self._driven.of_step(worlds, [name])[name].value

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
        engine = self.backend.on_host()
        ends = done.reshape(engine.num_worlds, self.rows)
        drawn = np.flatnonzero(engine.worlds.clock == 0)
        moved = self._driven.note(engine, ends)
        told = self.names if dense else []
        step, final = _empty(told, ends.shape), _empty(self._finals(), ends.shape)
        given = {name: np.zeros(ends.shape) for name in self.weights}
        names = self._every if dense else list(self.weights)
        for name, found in self._driven.of_step(moved, names).items():
            if name in given:
                before = self._before[moved]
                given[name][moved] = self.weights[name] * paid(
                    name, found.value, found.valid, before
                )
                if BY_NAME[name].pays == "rise":
                    self._before[moved] = np.where(found.valid, found.value, before)
            if name in step:
                step[name][0][moved], step[name][1][moved] = found.value, found.valid
        over = moved[ends[moved].any(axis=1)]
        if self.names and len(over):
            self._finish(over, ends[over], final)
        self._begin(engine, situations, drawn)
        flat = [
            {name: (a.ravel(), b.ravel()) for name, (a, b) in one.items()} for one in (step, final)
        ]
        return flat[0], flat[1], {n: one.ravel().astype(np.float32) for n, one in given.items()}

    def _finals(self) -> list[str]:
        """Returns the names of what is told of episodes."""
        more = [FINAL_DISPLACEMENT] if "log_divergence" in self.names else []
        return [*self.names, *more]

    def _finish(self, worlds: NDArray[np.int64], ends: NDArray[np.bool_], final: Values) -> None:
        """Writes metrics of the rows of worlds that ended."""
        for place, found in self._driven.of_episode(worlds, self.names):
            here = worlds[place][:, None], np.arange(self.rows)
            for name, one in found.items():
                told = {name: getattr(one, BY_NAME[name].of_episode)()}
                if name == "log_divergence":
                    told[FINAL_DISPLACEMENT] = one.last()
                for key, metric in told.items():
                    shape = len(place), self.rows
                    value, valid = metric.value.reshape(shape), metric.valid.reshape(shape)
                    final[key][0][here] = np.where(ends[place], value, 0.0)
                    final[key][1][here] = valid & ends[place]


def _empty(names: Iterable[str], shape: tuple[int, ...]) -> Values:
    return {name: (np.zeros(shape), np.zeros(shape, np.bool_)) for name in names}
