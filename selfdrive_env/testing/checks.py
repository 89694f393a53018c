"""The promises of the vector contract about how runs go, and the table of all promises."""

from __future__ import annotations

import copy
import functools
import json
import pickle
from collections.abc import Callable, Collection, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from selfdrive_env.testing.rollouts import (
    Actions,
    Case,
    ContractError,
    Transition,
    leaves,
    mode_of,
    require,
    rows_of,
    run,
    same,
    transitions,
)
from selfdrive_env.testing.values import (
    check_aliasing,
    check_dense_finals,
    check_metadata,
    check_mode_attribute,
    check_render,
    check_spaces,
    check_values,
)

__all__ = ["CHECKS", "check_vector_env"]

MODES = ("SameStep", "NextStep", "Disabled")
MASK_ERRORS = (AssertionError, ValueError, TypeError)


def check_vector_env(
    make: Callable[..., VectorEnv[Any, Any, Any]],
    *,
    num_envs: int = 3,
    steps: int = 60,
    seed: int = 7,
    modes: Sequence[str] = MODES,
    skip: Collection[str] = (),
) -> tuple[str, ...]:
    """Checks that an environment keeps the contract of a Gymnasium vector environment.

    Rows must not influence one another: give one agent a world. Within `steps` steps of random
    actions at least one episode has to end, so give a short horizon.

    Args:
        make: Called as `make(num_envs=..., autoreset_mode=...)`, the mode a string of `modes`; the
            check "render" adds `render_mode="rgb_array"`.
        num_envs: Rows, at least 2.
        steps: Steps of each run.
        seed: Seed of environments and actions.
        modes: Autoreset modes that the environment has.
        skip: Names of `CHECKS` to leave out.

    Raises:
        ContractError: At the first promise broken.

    Returns:
        Names of the checks passed.
    """
    if num_envs < 2:
        raise ValueError(f"num_envs must be at least 2, got {num_envs}")
    for name in modes:
        AutoresetMode(name)
    if unknown := sorted(set(skip) - set(CHECKS)):
        raise ValueError(f"skip has no check {unknown[0]!r}; checks are {', '.join(CHECKS)}")
    case = Case(make, num_envs, steps, seed, tuple(modes))
    names = tuple(name for name in CHECKS if name not in skip)
    for name in names:
        CHECKS[name](case)
    return names


def _check_modes(case: Case) -> None:
    """Up to the first end of a row all modes tell the same story, its last observation included."""
    runs = {mode: transitions(case, mode) for mode in case.modes}
    first, (reference, _) = next(iter(runs.items()))
    for mode, (rows, quiet) in runs.items():
        for row, (one, other) in enumerate(zip(reference, rows, strict=True)):
            ends = [number for number, step in enumerate(one) if step.ends]
            stop = ends[0] + 1 if ends else min(len(one), len(other))
            # A reset by mask may touch the random numbers of all rows.
            if "Disabled" in (mode, first):
                stop = min(stop, quiet)
            _require_same(one[:stop], other[:stop], f"{first} and {mode}", row)


def _check_later_episodes(case: Case) -> None:
    """Episodes after the first agree too, where a row draws its numbers in its own order."""
    runs = {mode: transitions(case, mode)[0] for mode in case.modes}
    first, reference = next(iter(runs.items()))
    for mode, rows in runs.items():
        for row, (one, other) in enumerate(zip(reference, rows, strict=True)):
            length = min(len(one), len(other)) - 1  # the last may wait for its next episode
            _require_same(one[:length], other[:length], f"{first} and {mode}", row)
            for a, b in zip(one[:length], other[:length], strict=True):
                require(
                    same(a.following, b.following),
                    f"{first} and {mode} start another next episode in row {row}",
                )


def _require_same(a: list[Transition], b: list[Transition], names: str, row: int) -> None:
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        for field in ("reward", "terminated", "truncated", "observation"):
            ending = "last " if one.ends and field == "observation" else ""
            require(
                same(getattr(one, field), getattr(other, field)),
                f"{names} differ in the {ending}{field} of step {number} of row {row}",
            )


def _check_seeding(case: Case) -> None:
    """The same seed gives the same run, in a new environment and again in the old one."""
    short = min(case.steps, 20)
    with case.env() as env, case.env() as twin:
        any_env: Any = env
        first = run(env, case.seed, short, 1)
        require(same(first, run(twin, case.seed, short, 1)), "the same seed gave another run")
        require(
            same(first, run(env, case.seed, short, 1)),
            "the same seed gave another run the second time: reset keeps something",
        )
        other = run(env, case.seed + 1000, short, 1)
        require(not same(first, other), "another seed gave the same run")
        rows = rows_of(env, first[0][0])
        require(not same(rows[0], rows[1]), "an int seed started rows 0 and 1 alike")
        seeds = [case.seed + 3 * row for row in range(case.num_envs)]
        listed = run(env, seeds, short, 1)
        require(same(listed, run(twin, seeds, short, 1)), "the same seeds gave another run")
        equal = rows_of(env, any_env.reset(seed=[case.seed] * case.num_envs)[0])
        require(
            all(same(equal[0], row) for row in equal),
            "a list of equal seeds started rows that differ",
        )
        require(
            not same(env.reset(seed=case.seed)[0], env.reset()[0]),
            "reset without a seed repeated the episode instead of going on with the stream",
        )


def _check_reset_mask(case: Case) -> None:
    """A reset by mask touches its rows alone; wrong masks raise and change nothing."""
    for mode in case.modes:
        with case.env(mode) as env:
            env.reset(seed=case.seed)
            before = rows_of(env, env.step(Actions(env, case.seed).at(0))[0])
            mask = np.zeros(case.num_envs, np.bool_)
            mask[0] = True
            after = rows_of(env, env.reset(options={"reset_mask": mask.copy()})[0])
            require(not same(before[0], after[0]), f"{mode}: reset_mask did not reset row 0")
            require(
                same(before[1:], after[1:]),
                f"{mode}: reset_mask for row 0 changed the observations of other rows",
            )
            for wrong, what in (
                (np.ones(case.num_envs + 1, np.bool_), "a mask of the wrong shape"),
                (np.ones(case.num_envs, np.int64), "a mask of integers"),
                (np.zeros(case.num_envs, np.bool_), "a mask without a row"),
            ):
                reset = functools.partial(env.reset, options={"reset_mask": wrong})
                _require_raises(reset, MASK_ERRORS, f"{mode}: reset took {what}")
            env.step(Actions(env, case.seed).at(1))


def _require_raises(call: Callable[[], Any], kinds: tuple[type[Exception], ...], text: str) -> None:
    try:
        call()
    except kinds:
        return
    raise ContractError(f"{text} without an error")


def _check_options(case: Case) -> None:
    """`options` belongs to the caller: later wrappers read it too.

    An environment may refuse an option that it does not know.
    """
    with case.env() as env:
        env.reset(seed=case.seed)
        mask = np.ones(case.num_envs, np.bool_)
        mask[-1] = False
        for more in ({}, {"note": [1]}):
            options = {"reset_mask": mask.copy(), **more}
            before = copy.deepcopy(options)
            try:
                env.reset(options=options)
            except (ValueError, TypeError, KeyError):
                if not more:
                    raise
            require(
                list(options) == list(before) and same(options, before),
                f"reset changed its options: keys {list(before)} became {list(options)}",
            )


def _check_wrong_calls(case: Case) -> None:
    """Stepping before reset and after close raises; so do actions of a wrong shape."""
    with case.env() as env:
        actions = Actions(env, case.seed).at(0)
        _require_raises(lambda: env.step(actions), (Exception,), "step before reset")
        env.reset(seed=case.seed)
        short = [leaf[:-1] for leaf in leaves(actions)]
        if len(short) == 1:
            _require_raises(lambda: env.step(short[0]), (Exception,), "step took too few actions")
        env.close()
        _require_raises(lambda: env.step(actions), (Exception,), "step after close")
        _require_raises(lambda: env.reset(), (Exception,), "reset after close")


def _check_spec(case: Case) -> None:
    """The spec survives JSON and makes the same environment, also after an enum was passed."""
    with case.env() as env:
        spec = env.spec
        require(spec is not None, "env.spec is missing: make it with gymnasium.make_vec")
        assert spec is not None
        keywords = {k: v for k, v in spec.kwargs.items() if k != "autoreset_mode"}
        keywords.pop("vectorization_mode", None)
        keywords["num_envs"] = env.num_envs
        spaces = (env.observation_space, env.action_space)
    mode = AutoresetMode(case.modes[-1])
    made = gymnasium.make_vec(spec.id, autoreset_mode=mode, **keywords)
    texts = []
    for source in (spec, made.spec):
        assert source is not None
        try:
            texts.append(source.to_json())
            json.loads(texts[-1])
        except (TypeError, ValueError) as error:
            raise ContractError(f"env.spec does not survive JSON: {error}") from error
    made.close()
    for source in (spec, type(spec).from_json(texts[0]), type(spec).from_json(texts[1])):
        again = gymnasium.make_vec(source)
        got = (again.observation_space, again.action_space)
        again.close()
        require(got == spaces, "make_vec(env.spec) made an environment of other spaces")
    require(mode_of(again) is mode, "make_vec(env.spec) lost the autoreset mode")


def _check_pickling(case: Case) -> None:
    """A copy through pickle goes on exactly like the original, in the middle of an episode."""
    import cloudpickle

    for mode in case.modes:
        for module in (pickle, cloudpickle):
            with case.env(mode) as env:
                env.reset(seed=case.seed)
                actions = Actions(env, case.seed)
                env.step(actions.at(0))
                twin = module.loads(module.dumps(env))
                for step in range(1, case.steps):
                    result = env.step(actions.at(step))
                    require(
                        same(result, twin.step(actions.at(step))),
                        f"{mode}: the copy through {module.__name__} went another way at step "
                        f"{step}",
                    )
                    ended = np.logical_or(result[2], result[3])
                    if mode == "Disabled" and ended.any():
                        options = {"reset_mask": ended}
                        require(
                            same(env.reset(options=options)[0], twin.reset(options=options)[0]),
                            f"{mode}: the copy through {module.__name__} was reset otherwise",
                        )
                twin.close()


def _check_attributes(case: Case) -> None:
    """`call`, `get_attr` and `set_attr` exist (skrl and TorchRL call them), one entry a row."""
    with case.env() as env:
        env.reset(seed=case.seed)
        for name in ("call", "get_attr", "set_attr"):
            require(callable(getattr(env, name, None)), f"{name} is missing")
        any_env: Any = env
        for values in (any_env.get_attr("render_mode"), any_env.call("render")):
            require(
                isinstance(values, tuple) and len(values) == case.num_envs,
                f"get_attr and call must return a tuple of {case.num_envs}, got {values!r}",
            )
        any_env.set_attr("mark", 5)
        require(
            any_env.get_attr("mark") == (5,) * case.num_envs, "set_attr did not set the attribute"
        )


def _check_closing(case: Case) -> None:
    """Closing twice is fine, also before the first reset."""
    for resets in (False, True):
        env = case.make(num_envs=case.num_envs, autoreset_mode=case.modes[0])
        if resets:
            env.reset(seed=case.seed)
        env.close()
        try:
            env.close()
        except Exception as error:
            raise ContractError(f"the second close() raised {error!r}") from error
        require(env.closed, "closed is False after close()")


CHECKS: dict[str, Callable[[Case], None]] = {
    "spaces": check_spaces,
    "metadata": check_metadata,
    "mode_attribute": check_mode_attribute,
    "values": check_values,
    "dense_finals": check_dense_finals,
    "modes": _check_modes,
    "later_episodes": _check_later_episodes,
    "seeding": _check_seeding,
    "reset_mask": _check_reset_mask,
    "options": _check_options,
    "aliasing": check_aliasing,
    "wrong_calls": _check_wrong_calls,
    "spec": _check_spec,
    "pickling": _check_pickling,
    "render": check_render,
    "attributes": _check_attributes,
    "closing": _check_closing,
}
"""Name -> check, in the order in which they run; names go into `skip`."""
