"""Training, with evaluations on the way: a recipe may ask for some, see its table `evaluation`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfdrive_env.training.recipes.recipe import Follow

__all__ = ["run"]


def run(parsed: argparse.Namespace) -> int:
    """Trains as the options say; returns the exit code."""
    from selfdrive_env.training import command

    return command.run(parsed, _curve)


def _curve(folder: Path, options: Mapping[str, Any]) -> Follow:
    """Returns what evaluates a policy and adds it to the curve in a folder."""
    from selfdrive_env.evaluation.results.curve import TABLE, Curve

    curve = Curve(folder, options)

    def follow(policy: Path, stage: str, transitions: int) -> None:
        curve.add(policy, stage, transitions)
        rows = [row for row in curve.rows() if int(row["transitions"]) == transitions]
        told = (f"{row['map']} {row['km_between'] or '-'}" for row in rows if row["km"])
        text = f"selfdrive_env: {transitions / 1e6:.1f} M, km between incidents: {', '.join(told)}"
        print(f"{text}; {folder / TABLE}", file=sys.stderr)

    return follow
