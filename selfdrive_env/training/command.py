"""What `python -m selfdrive_env train` does with its options, and prints at the end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from selfdrive_env.training.config import (
    PRESETS,
    TrainConfig,
    as_recorded,
    load_config,
    parse_assignments,
    read_file,
)

__all__ = ["run"]

DEFAULT_PRESET = "cpu"


def run(parsed: argparse.Namespace) -> int:
    """Trains and prints one line.

    Args:
        parsed: Its options.

    Returns:
        Exit code: 0 after success, 1 if the loss is no number any more.
    """
    if parsed.updates is not None and parsed.updates < 1:
        raise ValueError(f"--updates must be a whole number of at least 1, got {parsed.updates}")
    words = list(parsed.set)
    if parsed.out_dir is not None:
        words.append(f"out_dir={json.dumps(parsed.out_dir)}")
    config = _resumed(parsed, words) if parsed.resume else None
    if config is None:
        config = load_config(parsed.preset or DEFAULT_PRESET, parsed.config, words)

    from selfdrive_env.config.installation import require_torch
    from selfdrive_env.training import train

    require_torch("training", "train")
    _check_device(config.device)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from selfdrive_env.training.ppo import NotFiniteError

    try:
        figures = train(config, resume=parsed.resume, updates=parsed.updates)
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
