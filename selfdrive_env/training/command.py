"""What `python -m selfdrive_env train` does with its options, and prints at the end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdrive_env.training.config import (
    PRESETS,
    TrainConfig,
    as_recorded,
    load_config,
    parse_assignments,
    read_file,
)

if TYPE_CHECKING:
    from selfdrive_env.training.recipes.recipe import Follow

__all__ = ["run"]

DEFAULT_PRESET = "cpu"


def run(
    parsed: argparse.Namespace, follow: Callable[[Path, Mapping[str, Any]], Follow] | None = None
) -> int:
    """Trains and prints one line.

    Args:
        parsed: Its options.
        follow: Makes what evaluates a recipe on its way from its folder and table `evaluation`.

    Returns:
        Exit code: 0 after success, 1 if the loss is no number any more.
    """
    if parsed.updates is not None and parsed.updates < 1:
        raise ValueError(f"--updates must be a whole number of at least 1, got {parsed.updates}")
    if parsed.recipe is not None:
        return _run_recipe(parsed, follow)
    words = list(parsed.set)
    if parsed.out_dir is not None:
        words.append(f"out_dir={json.dumps(parsed.out_dir)}")
    config = _resumed(parsed, words) if parsed.resume else None
    if config is None:
        config = load_config(parsed.preset or DEFAULT_PRESET, parsed.config, words)

    def job() -> tuple[TrainConfig, dict[str, float]]:
        from selfdrive_env.training import train

        return config, train(config, resume=parsed.resume, updates=parsed.updates)

    return _run(config.device, job)


def _run_recipe(parsed: argparse.Namespace, make: Any) -> int:
    """Trains the stages of a recipe."""
    from selfdrive_env.training.recipes.recipe import load_recipe, train_recipe

    for option in ("preset", "config", "updates"):
        if (value := getattr(parsed, option)) is not None:
            raise ValueError(f"--{option} does not go with --recipe, got {value!r}")
    recipe = load_recipe(parsed.recipe, parsed.set, parsed.out_dir)
    follow = None
    if recipe.evaluation is not None and make is not None:
        follow = make(Path(recipe.out_dir), recipe.evaluation)

    def job() -> tuple[TrainConfig, dict[str, float]]:
        stage, figures = train_recipe(recipe, resume=parsed.resume, follow=follow)
        return stage.config, figures

    return _run(recipe.stages[0].config.device, job)


def _run(device: str, job: Callable[[], tuple[TrainConfig, dict[str, float]]]) -> int:
    """Does a job that needs torch and a device, and prints what came out."""
    from selfdrive_env.config.installation import require_torch

    require_torch("training", "train")
    _check_device(device)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from selfdrive_env.training.ppo import NotFiniteError

    try:
        config, figures = job()
    except NotFiniteError as error:
        print(f"selfdrive: {error}", file=sys.stderr)
        return 1
    if os.environ.get("RANK", "0") == "0":
        print(_summary(config, figures))
    return 0


def _check_device(device: str) -> None:
    """Raises a ValueError that says why, where the device cannot be used."""
    from selfdrive_env.engine.devices import choose_device

    try:
        choose_device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r}: {error}") from None


def _resumed(parsed: argparse.Namespace, words: list[str]) -> TrainConfig | None:
    """Returns the settings that the run in the folder was started with, changed as is asked."""
    changes: dict[str, Any] = read_file(parsed.config) if parsed.config else {}
    changes = {**changes, **parse_assignments(words)}
    preset: dict[str, Any] = PRESETS[parsed.preset or DEFAULT_PRESET]
    folder = Path(str(changes.get("out_dir", preset.get("out_dir", TrainConfig.out_dir))))
    file = folder / "config.json"
    if parsed.preset is not None or not file.is_file():
        return None
    base = as_recorded(read_file(file))
    return load_config(None, parsed.config, [*words, f"out_dir={json.dumps(str(folder))}"],
                       base=base)  # fmt: skip


def _summary(config: TrainConfig, figures: dict[str, float]) -> str:
    spent = figures["steps"] / config.steps
    if config.minutes is not None:
        spent = max(spent, figures["seconds"] / (60.0 * config.minutes))
    rest = "" if spent >= 1.0 else "; stopped before its budget was spent, --resume goes on"
    return (
        f"{config.out_dir}: {figures['steps']:,.0f} transitions in {figures['seconds']:,.0f} s, "
        f"{figures['steps_per_second']:,.0f}/s; goals/h {figures['goals_per_hour']:.1f}, "
        f"incidents/km {figures['incidents_per_km']:.2f}{rest}"
    )
