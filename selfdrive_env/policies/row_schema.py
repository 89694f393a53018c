"""What a policy reads and what its actions are, as JSON can hold it, for programs without us."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from selfdrive_env.config.checks import as_plain, as_table, check_choice
from selfdrive_env.config.choices import CHOICES, action_columns, bins_of, check_bins
from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, OBSERVATION_VERSION, Kind, Scale, slots
from selfdrive_env.config.presets import PRESETS, TRAINING_RANGE, weight_ranges
from selfdrive_env.config.settings import Settings
from selfdrive_env.policies.choice import lateral_choices
from selfdrive_env.policies.files import PolicyFile

__all__ = ["SCHEMA_VERSION", "policy_schema"]

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes."""

ORDER = (
    "column c of slot s of a group stands at first + c * slots + s of the row; "
    "a slot that is not in use is all zero"
)

FRAME = "origin in the middle of the ego's box, x along its heading, y to its left"

CHOICE = (
    "the longitudinal jerk whose actions together are likeliest, then the likeliest lateral jerk "
    "with it; or an action drawn from softmax(logits)"
)

FORMULAS = {
    Kind.PLAIN: "v",
    Kind.SQUASHED: "max(offset + (1 - offset) * v / (size + abs(v)), -1)",
    Kind.CLIPPED: "min(max((v - offset) / size, -1), 1)",
    Kind.TRAINED: "min(max(2 * (v - low) / (high - low) - 1, -1), 1)",
}
"""What a row holds of a quantity v."""

CONTEXT = ("dt", "bodies", "reverse", "dynamics")
"""Settings of the environment that a policy got used to in training."""


def policy_schema(file: PolicyFile) -> dict[str, Any]:
    """Returns the columns of the rows, the jerks of the actions and the settings of training.

    Args:
        file: What was read of a policy.

    Raises:
        ValueError: If the file says of its training what this package does not know.
    """
    said = file.description.get("env")
    env = Settings.as_recorded(said if isinstance(said, Mapping) else {})
    try:
        training = {name: as_plain(env.get(name, getattr(Settings, name))) for name in CONTEXT}
        training.update(_weights(env))
        check_choice("dynamics", env["dynamics"], CHOICES["dynamics"])
        check_bins(env["dynamics"], "discrete", env["action_bins"])
    except ValueError as error:
        raise ValueError(f"policy {str(file.path)!r}: env: {error}") from None
    return {
        "version": SCHEMA_VERSION,
        "observation_version": OBSERVATION_VERSION,
        "features": file.layout.width,
        "layout": dataclasses.asdict(file.layout),
        "order": ORDER,
        "frame": FRAME,
        "scales": {kind.name.lower(): formula for kind, formula in FORMULAS.items()},
        "groups": _groups(file.layout),
        "actions": _actions(file.description["actions"], env),
        "training": training,
    }


def _groups(layout: ObservationLayout) -> list[dict[str, Any]]:
    """Returns the groups of a row in their order; those without a slot, too."""
    repeats = slots(layout.counts)
    return [
        {
            "name": name,
            "first": layout.slices[name].start,
            "slots": repeats[name],
            "columns": [
                {
                    "name": column.name,
                    "meaning": column.meaning,
                    "unit": column.unit,
                    "scale": _scale(column.name, column.scale),
                }
                for column in columns
            ],
        }
        for name, columns in OBSERVATION.items()
    ]


def _scale(column: str, scale: Scale) -> dict[str, Any]:
    """Returns the kind of a scale and the numbers of its formula."""
    found: dict[str, Any] = {"kind": scale.kind.name.lower()}
    if scale.kind in (Kind.SQUASHED, Kind.CLIPPED):
        found.update(size=scale.size, offset=scale.offset)
    elif scale.kind is Kind.TRAINED:
        found["low"], found["high"] = TRAINING_RANGE[column]
    return found


def _actions(count: int, env: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the actions command; the jerks are None where the file does not tell them."""
    laterals = lateral_choices(count, env)
    if env["dynamics"] != "jerk":
        columns = action_columns(env["dynamics"])
        return {
            "count": count,
            "laterals": laterals,
            "jerks": None,
            "columns": [one.name for one in columns],
            "units": [one.unit for one in columns],
            "sizes": [one.size for one in columns],
            "bins": list(bins_of(env["dynamics"], env["action_bins"])),
            "choice": CHOICE,
        }
    along, across = (env.get(name, getattr(Settings, name)) for name in ("jerk_long", "jerk_lat"))
    known = isinstance(along, list | tuple) and len(along) * laterals == count
    return {
        "count": count,
        "laterals": laterals,
        "jerks": [[a, b] for a in along for b in across] if known else None,
        "columns": ["longitudinal", "lateral, positive left"],
        "unit": "m/s^3",
        "choice": CHOICE,
    }


def _weights(env: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the preset of the reward, and each weight: a number, or the range it was drawn from.

    Raises:
        ValueError: If there is no such preset, weight or range.
    """
    preset, changes = env.get("preset", Settings.preset), env.get("reward", {})
    check_choice("preset", preset, tuple(PRESETS))
    weight_ranges(preset, as_table("reward", changes))
    return {"preset": preset, "reward": as_plain({**PRESETS[preset], **changes})}
