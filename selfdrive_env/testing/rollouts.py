"""Runs of a vector environment under random actions, told row by row.

Rows are compared by their transitions, so that the autoreset modes, which report the end of an
episode in different places, can be laid side by side.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from numpy.typing import NDArray

__all__ = [
    "Actions",
    "Case",
    "ContractError",
    "Transition",
    "finals",
    "is_object",
    "leaves",
    "mode_of",
    "owned_arrays",
    "require",
    "rows_of",
    "run",
    "same",
    "transitions",
]

Leaves = list[NDArray[Any]]


class ContractError(AssertionError):
    """An environment breaks a promise of the vector contract."""


class Transition(NamedTuple):
    """One step of one row, without the steps on which a row is only reset."""

    reward: float
    terminated: bool
    truncated: bool
    observation: Leaves
    """After the step; at an end the last one of the episode."""

    following: Leaves
    """First observation of the next episode after an end, empty otherwise."""

    @property
    def ends(self) -> bool:
        """Whether the episode ended."""
        return self.terminated or self.truncated


@dataclass(frozen=True)
class Case:
    """What a check works with."""

    make: Callable[..., VectorEnv[Any, Any, Any]]
    num_envs: int
    steps: int
    seed: int
    modes: tuple[str, ...]

    @contextlib.contextmanager
    def env(self, mode: str | None = None, **keywords: Any) -> Iterator[VectorEnv[Any, Any, Any]]:
        """Makes an environment and closes it in the end."""
        env = self.make(num_envs=self.num_envs, autoreset_mode=mode or self.modes[0], **keywords)
        try:
            yield env
        finally:
            env.close()


def require(condition: Any, message: str) -> None:
    """Raises `ContractError` unless the condition holds."""
    if not condition:
        raise ContractError(message)


def leaves(value: Any) -> Leaves:
    """Returns copies of all arrays in a tree of dicts, tuples and arrays."""
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    if isinstance(value, tuple | list) or is_object(value):
        return [leaf for entry in value for leaf in leaves(entry)]
    return [np.array("nothing" if value is None else value)]


def same(a: Any, b: Any) -> bool:
    """Whether two trees hold the same arrays bit for bit."""
    first, second = leaves(a), leaves(b)
    return len(first) == len(second) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(first, second, strict=True)
    )


def is_object(value: Any) -> bool:
    """Whether a value is an array of Python objects."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "O"


def owned_arrays(value: Any) -> Leaves:
    """Returns the arrays themselves of a tree, not copies."""
    if isinstance(value, Mapping):
        return [leaf for entry in value.values() for leaf in owned_arrays(entry)]
    if isinstance(value, tuple | list):
        return [leaf for entry in value for leaf in owned_arrays(entry)]
    return [value] if isinstance(value, np.ndarray) else []


class Actions:
    """Random actions: that of a row at its k-th step depends on seed, row and k alone."""

    def __init__(self, env: VectorEnv[Any, Any, Any], seed: int) -> None:
        """Takes the action space of one row."""
        self._space = copy.deepcopy(env.single_action_space)
        self._num_envs = env.num_envs
        self._seed = seed

    def at(self, counts: Sequence[int] | int) -> Any:
        """Returns a batch: each row's action number `counts`."""
        numbers = [counts] * self._num_envs if isinstance(counts, int) else counts
        rows = []
        for row, count in enumerate(numbers):
            self._space.seed(int(self._seed * 1_000_003 + row * 10_007 + count) % 2**31)
            rows.append(self._space.sample())
        out: Any = create_empty_array(self._space, self._num_envs)
        return concatenate(self._space, rows, out)


def rows_of(env: VectorEnv[Any, Any, Any], observations: Any) -> list[Leaves]:
    """Returns the observation of each row."""
    return [leaves(row) for row in iterate(env.observation_space, observations)]


def mode_of(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Returns the autoreset mode that an environment declares."""
    mode = env.metadata.get("autoreset_mode")
    require(
        isinstance(mode, AutoresetMode),
        f"metadata['autoreset_mode'] must be an AutoresetMode, got {mode!r}",
    )
    return AutoresetMode(mode)


def run(env: VectorEnv[Any, Any, Any], seed: Any, steps: int, actions_seed: int) -> list[Any]:
    """Returns copies of all that a reset and some steps return; resets ended rows by mask."""
    actions = Actions(env, actions_seed)
    disabled = mode_of(env) is AutoresetMode.DISABLED
    trace: list[Any] = [copy.deepcopy(env.reset(seed=seed))]
    for step in range(steps):
        result = env.step(actions.at(step))
        trace.append(copy.deepcopy(result))
        ended = np.logical_or(result[2], result[3])
        if disabled and ended.any():
            trace.append(copy.deepcopy(env.reset(options={"reset_mask": ended})))
    return trace


def transitions(case: Case, mode: str) -> tuple[list[list[Transition]], int]:
    """Returns the transitions of each row, and the number of those before any row had ended."""
    with case.env(mode) as env:
        require(
            mode_of(env) is AutoresetMode(mode),
            f"made with autoreset_mode={mode!r}, metadata says {mode_of(env)}",
        )
        rows: list[list[Transition]] = [[] for _ in range(case.num_envs)]
        actions = Actions(env, case.seed)
        env.reset(seed=case.seed)
        waiting = np.zeros(case.num_envs, np.bool_)
        quiet = -1
        for step in range(case.steps):
            result = env.step(actions.at([len(row) for row in rows]))
            _record(env, mode, rows, result, waiting)
            waiting = np.logical_or(result[2], result[3])
            if waiting.any() and quiet < 0:
                quiet = step + 1
            if mode == "Disabled" and waiting.any():
                fresh, _ = env.reset(options={"reset_mask": waiting.copy()})
                after = rows_of(env, fresh)
                for row in np.flatnonzero(waiting):
                    rows[row][-1] = rows[row][-1]._replace(following=after[row])
                waiting[:] = False
    require(quiet > 0, f"no episode ended in {case.steps} steps ({mode}): give a shorter horizon")
    return rows, quiet


def _record(
    env: VectorEnv[Any, Any, Any],
    mode: str,
    rows: list[list[Transition]],
    result: tuple[Any, ...],
    waiting: NDArray[np.bool_],
) -> None:
    """Adds the transitions of one step, and checks the rules of the mode on the way."""
    observations, rewards, terminated, truncated, infos = result
    after = rows_of(env, observations)
    ended = np.logical_or(terminated, truncated)
    lasts = after
    if mode == "SameStep" and ended.any():
        lasts = finals(env, infos, ended)
    for row, history in enumerate(rows):
        if mode == "NextStep" and waiting[row]:
            require(
                rewards[row] == 0 and not ended[row],
                f"NextStep: on the step after its end row {row} must have reward 0 and both flags "
                f"False, got {rewards[row]}, {terminated[row]}, {truncated[row]}",
            )
            history[-1] = history[-1]._replace(following=after[row])
            continue
        last = lasts[row] if ended[row] else after[row]
        fresh = after[row] if ended[row] and mode == "SameStep" else []
        if fresh:
            require(
                not same(fresh, last),
                f"SameStep: row {row} ended, but its observation and its last one are the same",
            )
        history.append(
            Transition(
                float(rewards[row]), bool(terminated[row]), bool(truncated[row]), last, fresh
            )
        )


def finals(
    env: VectorEnv[Any, Any, Any], infos: Mapping[str, Any], ended: NDArray[np.bool_]
) -> list[Leaves]:
    """Returns the last observations in the infos of a step, empty for rows that went on."""
    require("final_obs" in infos, "SameStep: a row ended, but infos lacks 'final_obs'")
    mask = infos.get("_final_obs")
    require(
        mask is not None and np.array_equal(mask, ended),
        f"SameStep: infos['_final_obs'] must be terminated | truncated, got {mask}",
    )
    final = infos["final_obs"]
    if is_object(final):
        return [leaves(final[row]) if ended[row] else [] for row in range(len(ended))]
    return rows_of(env, final)
