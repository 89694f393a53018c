"""The promises of the vector contract about what an environment says and returns."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array

from selfdrive_env.testing.rollouts import (
    Actions,
    Case,
    finals,
    is_object,
    leaves,
    mode_of,
    owned_arrays,
    require,
    run,
    same,
)

__all__ = [
    "check_aliasing",
    "check_dense_finals",
    "check_metadata",
    "check_mode_attribute",
    "check_render",
    "check_spaces",
    "check_values",
]

GARBAGE = 77


def check_spaces(case: Case) -> None:
    """Batched spaces repeat the single ones `num_envs` times."""
    with case.env() as env:
        require(env.num_envs == case.num_envs, f"num_envs is {env.num_envs}, not {case.num_envs}")
        for kind in ("observation", "action"):
            single = getattr(env, f"single_{kind}_space")
            batch = getattr(env, f"{kind}_space")
            require(
                batch == batch_space(single, env.num_envs),
                f"{kind}_space must be batch_space(single_{kind}_space, num_envs), got {batch}",
            )


def check_metadata(case: Case) -> None:
    """The mode stands in the metadata of the instance, as an enum."""
    for mode in case.modes:
        with case.env(mode) as env:
            require(
                mode_of(env) is AutoresetMode(mode),
                f"made with autoreset_mode={mode!r}, metadata says {mode_of(env)}",
            )
    if len(case.modes) > 1:
        with case.env(case.modes[0]) as first, case.env(case.modes[1]):
            require(
                mode_of(first) is AutoresetMode(case.modes[0]),
                "metadata is shared: a second environment changed the mode of the first",
            )


def check_mode_attribute(case: Case) -> None:
    """The mode is an attribute too (TorchRL reads it), and may be given as an enum."""
    for mode in case.modes:
        with case.env(mode) as env:
            got = getattr(env, "autoreset_mode", None)
            require(got is AutoresetMode(mode), f".autoreset_mode must be {mode}, got {got!r}")
        env = case.make(num_envs=case.num_envs, autoreset_mode=AutoresetMode(mode))
        got = mode_of(env)
        env.close()
        require(got is AutoresetMode(mode), f"made with AutoresetMode {mode}, metadata says {got}")


def check_values(case: Case) -> None:
    """What reset and step return has the right types, shapes and bounds."""
    for mode in case.modes:
        with case.env(mode) as env:
            result = env.reset(seed=case.seed)
            require(
                isinstance(result, tuple) and len(result) == 2,
                f"reset must return (observations, infos), got {type(result).__name__}",
            )
            _require_observation(env, result[0], "reset")
            _require_infos(env, result[1])
        with case.env(mode) as env:
            for result in run(env, case.seed, case.steps, case.seed)[1:]:
                _require_observation(env, result[0], "step" if len(result) == 5 else "reset")
                _require_infos(env, result[-1])
                if len(result) != 2:
                    _require_step(env, result)


def _require_observation(env: VectorEnv[Any, Any, Any], observations: Any, where: str) -> None:
    expected = leaves(create_empty_array(env.single_observation_space, env.num_envs))
    for got, want in zip(leaves(observations), expected, strict=True):
        require(
            got.shape == want.shape and got.dtype == want.dtype,
            f"{where} must return observations {want.dtype} of shape {want.shape}, got "
            f"{got.dtype} of shape {got.shape}",
        )
    require(
        env.observation_space.contains(observations),
        f"{where} returned observations outside observation_space",
    )


def _require_step(env: VectorEnv[Any, Any, Any], result: Any) -> None:
    require(
        isinstance(result, tuple) and len(result) == 5,
        f"step must return a tuple of 5, got {type(result).__name__}",
    )
    names = ("rewards", "terminated", "truncated")
    for name, value, kind in zip(names, result[1:4], ("f", "b", "b"), strict=True):
        require(
            isinstance(value, np.ndarray)
            and value.shape == (env.num_envs,)
            and value.dtype.kind == kind,
            f"{name} must be an array of {'floats' if kind == 'f' else 'bool'} of shape "
            f"({env.num_envs},), got {getattr(value, 'dtype', type(value).__name__)} of shape "
            f"{np.shape(value)}",
        )
    require(np.isfinite(result[1]).all(), f"rewards must be finite, got {result[1]}")


def _require_infos(env: VectorEnv[Any, Any, Any], infos: Any) -> None:
    require(isinstance(infos, dict), f"infos must be a dict, got {type(infos).__name__}")
    require(
        "episode" not in infos,
        "infos must not hold 'episode': RecordEpisodeStatistics writes it and raises if it exists",
    )
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        mask = infos.get(f"_{key}")
        require(
            isinstance(mask, np.ndarray)
            and mask.shape == (env.num_envs,)
            and mask.dtype == np.bool_,
            f"infos[{key!r}] needs a mask infos['_{key}'], bool of shape ({env.num_envs},)",
        )
        if isinstance(value, dict) and key != "final_obs":  # observations may be a table, too
            _require_infos(env, value)
            continue
        for leaf in owned_arrays(value):
            require(
                len(leaf) == env.num_envs,
                f"infos[{key!r}] must have one entry a row, got shape {leaf.shape}",
            )


def check_dense_finals(case: Case) -> None:
    """Last observations are dense: object arrays do not survive the way to torch."""
    if "SameStep" not in case.modes:
        return
    with case.env("SameStep") as env:
        found = False
        for result in run(env, case.seed, case.steps, case.seed)[1:]:
            ended = np.logical_or(result[2], result[3])
            require(
                ended.any() or "final_obs" not in result[4],
                "infos has 'final_obs' on a step without an end",
            )
            if not ended.any():
                continue
            found = True
            finals(env, result[4], ended)
            final = result[4]["final_obs"]
            require(
                not is_object(final), "infos['final_obs'] must be dense, got an array of objects"
            )
            for got, want in zip(leaves(final), leaves(result[0]), strict=True):
                require(
                    got.dtype == want.dtype and got.shape == want.shape,
                    f"infos['final_obs'] must be {want.dtype} of shape {want.shape} like the "
                    f"observations, got {got.dtype} of shape {got.shape}",
                )
            require(
                env.observation_space.contains(final),
                "infos['final_obs'] lies outside observation_space",
            )
        require(found, f"no episode ended in {case.steps} steps: give a shorter horizon")


def check_aliasing(case: Case) -> None:
    """Arrays returned are the caller's: they do not change, and changing them changes nothing."""
    for mode in case.modes:
        with case.env(mode) as env, case.env(mode) as twin:
            expected = run(twin, case.seed, case.steps, 2)
            actions = Actions(env, 2)
            held: list[tuple[Any, Any]] = []
            result: Any = env.reset(seed=case.seed)
            step = 0
            for number, want in enumerate(expected):
                require(
                    same(result, want),
                    f"{mode}: arrays written into by the caller changed result {number}",
                )
                _require_unchanged(held, mode)
                held = [*held[-8:], (result, copy.deepcopy(result))]
                if number + 1 == len(expected):
                    break
                if len(expected[number + 1]) == 2:
                    ended = np.logical_or(want[2], want[3])
                    following: Any = env.reset(options={"reset_mask": ended})
                else:
                    following = env.step(actions.at(step))
                    step += 1
                _require_unchanged(held, mode)
                _spoil(result)
                held[-1] = (result, copy.deepcopy(result))
                result = following


def _require_unchanged(held: list[tuple[Any, Any]], mode: str) -> None:
    for result, copied in held:
        require(
            same(result, copied),
            f"{mode}: arrays returned earlier changed with a later call (aliased buffers)",
        )


def _spoil(result: Any) -> None:
    """Overwrites every array returned, one that is there twice only once."""
    for leaf in {id(leaf): leaf for leaf in owned_arrays(result)}.values():
        if leaf.flags.writeable and leaf.dtype.kind != "O":
            leaf.fill(not leaf.flat[0] if leaf.dtype == np.bool_ else GARBAGE)


def check_render(case: Case) -> None:
    """`render` returns a tuple with one frame a row."""
    with case.env(render_mode="rgb_array") as env:
        env.reset(seed=case.seed)
        require(env.render_mode == "rgb_array", f"render_mode is {env.render_mode!r}")
        frames = env.render()
        require(
            isinstance(frames, tuple) and len(frames) == case.num_envs,
            f"render must return a tuple of {case.num_envs} frames, got {type(frames).__name__}",
        )
        for frame in frames or ():
            require(
                isinstance(frame, np.ndarray)
                and frame.dtype == np.uint8
                and frame.ndim == 3
                and frame.shape[2] == 3,
                f"a frame must be uint8 [height, width, 3], got {getattr(frame, 'dtype', None)} "
                f"of shape {np.shape(frame)}",
            )
