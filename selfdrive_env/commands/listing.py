"""What there is by name: environments, built-in maps, policies, presets, layouts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

__all__ = ["catalogue", "run"]

MEANINGS = {
    "SelfPlay-v0": "every agent of every world is a row",
    "Drive-v0": "one ego a world among scripted drivers or a policy's",
}

POLICIES = {
    "selfplay": "trained by self-play, comes with the package",
    "idm": "scripted: follows its route, keeps its distance, yields",
    "random": "draws actions with equal chances",
    "constant:N": "always takes action N, 0 to 11",
}

PRESETS = {
    "train": "ranges from which each agent draws its weights",
    "eval": "fixed weights, crashes dear",
    "cautious": "as eval, comfort and the middle of the lane dearer, speeding costs",
    "aggressive": "as eval, crashes and red lights cheaper, comfort free",
}

TRAINING = {
    "cpu": "two cores, ten minutes, two towns",
    "gpu": "one CUDA device, two towns and their variants",
}


def catalogue(what: str | None = None) -> dict[str, Any]:
    """Returns what there is, kind -> name -> what it is.

    Args:
        what: Only this kind, None for all.
    """
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "environments": _environments,
        "maps": _maps,
        "policies": lambda: POLICIES,
        "presets": lambda: PRESETS,
        "training_presets": lambda: TRAINING,
        "layouts": _layouts,
    }
    return {kind: find() for kind, find in kinds.items() if what in (None, kind)}


def _environments() -> dict[str, str]:
    import gymnasium

    ids = [name for name in gymnasium.registry if name.startswith("selfdrive_env/")]
    return {name: MEANINGS.get(name.partition("/")[2], "") for name in ids}


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
    from selfdrive_env.config.layouts import LAYOUTS

    found = {}
    for name, layout in LAYOUTS.items():
        found[name] = {"columns": layout.width, **vars(layout)}
    return found


def run(parsed: argparse.Namespace) -> int:
    """Prints what there is; returns 0."""
    found = catalogue(parsed.what)
    if parsed.json:
        print(json.dumps(found))
        return 0
    for kind, entries in found.items():
        print(kind.replace("_", " "))
        for name, text in entries.items():
            print(f"  {name:28} {_sentence(text)}")
    return 0


def _sentence(what: Any) -> str:
    """Returns an entry in words."""
    if isinstance(what, str):
        return what
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in what.items())
