"""What there is by name: environments, built-in maps, policies, presets, layouts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from selfdrive_env.config.choices import (
    BASELINES,
    ENVIRONMENTS,
    MAP_FAMILIES,
    POLICIES,
    SCENE_ENVIRONMENTS,
)
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.presets import PRESET_MEANINGS
from selfdrive_env.training.config import PRESET_MEANINGS as TRAINING_MEANINGS

__all__ = ["KINDS", "catalogue", "run"]


def catalogue(what: str | None = None) -> dict[str, Any]:
    """Returns what there is, kind -> name -> what it is.

    Args:
        what: Only this kind, None for all.
    """
    return {kind: find() for kind, find in KINDS.items() if what in (None, kind)}


def _environments() -> dict[str, str]:
    every = (*ENVIRONMENTS, *SCENE_ENVIRONMENTS)
    return {f"selfdrive_env/{one.name}": one.meaning for one in every}


def _maps() -> dict[str, dict[str, float]]:
    from selfdrive_env.maps import BUILT_IN, load
    from selfdrive_env.maps.inspection import describe

    found = {}
    for name in BUILT_IN:
        figures = describe(load(name))
        found[name] = {
            "lane_km": round(figures["driving_lane_km"], 1),
            "junctions": figures["junctions"],
            "traffic_lights": figures["traffic_lights"],
        }
    return found


def _layouts() -> dict[str, dict[str, int]]:
    return {name: {"columns": layout.width, **vars(layout)} for name, layout in LAYOUTS.items()}


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "environments": _environments,
    "maps": _maps,
    "map_families": lambda: MAP_FAMILIES,
    "policies": lambda: {**POLICIES, **BASELINES},
    "presets": lambda: PRESET_MEANINGS,
    "training_presets": lambda: TRAINING_MEANINGS,
    "layouts": _layouts,
}
"""What can be listed: kind -> finds name -> what it is."""


def run(parsed: argparse.Namespace) -> int:
    """Prints what there is; returns 0."""
    found = catalogue(parsed.what)
    if parsed.json:
        print(json.dumps(found))
        return 0
    for kind, entries in found.items():
        print(kind.replace("_", " "))
        width = max(28, *map(len, entries))
        for name, text in entries.items():
            print(f"  {name:{width}} {_sentence(text)}")
    return 0


def _sentence(what: Any) -> str:
    """Returns an entry in words."""
    if isinstance(what, str):
        return what
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in what.items())
