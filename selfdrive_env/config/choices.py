"""What has a name: environments, drivers, policies that need no file, codes of kernels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from selfdrive_env.config.checks import check_integer, is_list, suggestion
from selfdrive_env.state.dynamics import DYNAMICS, LARGEST_SET, ActionColumn, Dynamics
from selfdrive_env.state.params import Autoreset, GoalRule, LightTiming, Reverse, Rule
from selfdrive_env.state.world import Driver

__all__ = [
    "AUTORESETS",
    "BASELINES",
    "CHOICES",
    "DRIVERS",
    "ENVIRONMENTS",
    "LAST_SEED",
    "MAP_FAMILIES",
    "MOST_ACTIONS",
    "MOST_MAPS",
    "POLICIES",
    "SCENE_ENVIRONMENTS",
    "TRAFFIC",
    "Environment",
    "action_columns",
    "acts_in_units",
    "bins_of",
    "check_bins",
    "code_of",
    "is_scripted",
    "largest_action",
    "maps_named",
    "ranges_of",
]


class Environment(NamedTuple):
    """An id that Gymnasium knows."""

    name: str
    """What follows "selfdrive_env/" in the id."""

    vector: str
    """What makes its vector form: a function of `envs.make`."""

    keywords: Mapping[str, Any]
    """Settings that the id stands for; a caller's own come before them."""

    meaning: str


_CONTINUOUS = {"action_type": "continuous"}

ENVIRONMENTS = (
    Environment("SelfPlay-v0", "make_self_play", {}, "every agent of every world is a row"),
    Environment(
        "Drive-v0", "make_drive", {}, "one ego a world among scripted drivers or a policy's"
    ),
    Environment(
        "SelfPlayContinuous-v0", "make_self_play", _CONTINUOUS, "SelfPlay-v0, continuous actions"
    ),
    Environment("DriveContinuous-v0", "make_drive", _CONTINUOUS, "Drive-v0, continuous actions"),
)
"""All of them; the continuous ones are for tools that take an id and no settings."""

SCENE_ENVIRONMENTS = (
    Environment("Scenes-v0", "make_scenes", {"scene": None}, "recorded and hand-made situations"),
    *(
        Environment(f"{name}-v0", "make_task", {"task": task}, meaning)
        for name, task, meaning in (
            ("Merge", "merge", "joining a motorway from a ramp"),
            ("Roundabout", "roundabout", "entering a busy roundabout and leaving it"),
            ("UnprotectedLeft", "unprotected_left_turn", "turning left through oncoming traffic"),
            ("FourWayStop", "four_way_stop", "a crossing with a stop on each arm"),
            ("Overtake", "overtake", "passing a standing vehicle"),
            ("LaneKeeping", "lane_keeping", "following a winding road of one lane"),
        )
    ),
)
"""Those whose worlds are scenes."""

RULES = {one.name.lower(): one for one in Rule}
GOAL_RULES = {one.name.lower(): one for one in GoalRule}
REVERSES = {one.name.lower(): one for one in Reverse}
AUTORESETS = {one.name.title().replace("_", ""): one for one in Autoreset}
"""Gymnasium's names."""

RECORDED = (Driver.REPLAY, Driver.IDM_LOG, Driver.WAYPOINT)
"""Drivers that need a record of what to do, as scenes have."""

DRIVERS = {one.name.lower(): one for one in Driver if one not in RECORDED}
"""Who may drive in worlds that are drawn at random, by the name in settings."""

TRAFFIC = tuple(name for name, driver in DRIVERS.items() if driver is not Driver.EXTERNAL)
"""Scripted drivers of traffic; anything else is a policy."""

POLICIES = {"selfplay": "trained by self-play, comes with the package"}
"""Trained policies that come with the package: name -> what it is."""

BASELINES = {
    **{name: DRIVERS[name].meaning for name in TRAFFIC},
    "random": "draws actions with equal chances",
    "constant:N": "always takes action N, 0 to 11",
}
"""What is measured and watched like a policy but needs no file: name -> what it does."""

MAP_FAMILIES = {
    "town": "one of the families below, drawn by its seed",
    "city": "bent blocks, avenues, lights, odd angles",
    "village": "narrow winding streets, dead ends, right before left",
    "motorway": "motorways with ramps and interchanges",
    "roundabouts": "mini, one-lane and two-lane roundabouts",
    "grid": "straight streets, one-way pairs, lights and stop signs",
    "hills": "slopes, crests, bends and a bridge",
    "boulevards": "medians, turn lanes, arms shifted sideways at junctions",
}
"""Maps by seed, "city:17": family -> what its maps are like."""

LAST_SEED = 2**31 - 1
"""Seeds of maps run from 0 to this one."""

MOST_MAPS = 1024
"""Maps that a range of seeds may have."""

CODES: dict[str, dict[str, IntEnum]] = {
    "on_collision": {**RULES},
    "on_offroad": {**RULES},
    "on_red_light": {**RULES},
    "on_goal": {**GOAL_RULES},
    "reverse": {**REVERSES},
    "dynamics": {one.name.lower(): one for one in Dynamics},
    "autoreset_mode": {**AUTORESETS},
    "driver": {**DRIVERS},
    "light_timing": {one.name.lower(): one for one in LightTiming},
}
"""Setting -> its names and what kernels know them as."""

CHOICES: dict[str, tuple[str, ...]] = {
    **{name: tuple(codes) for name, codes in CODES.items()},
    "action_type": ("discrete", "continuous"),
    "obs_dtype": ("float32", "float16", "bfloat16"),
    "render_view": ("map", "camera"),
}
"""Setting -> the names that it may have."""

MOST_ACTIONS = 65_536
"""Discrete actions that there may be."""


def action_columns(dynamics: str) -> tuple[ActionColumn, ...]:
    """Returns of what an action is made under some dynamics, by their name."""
    return DYNAMICS[Dynamics[dynamics.upper()]]


def acts_in_units(dynamics: str) -> bool:
    """Whether continuous actions are in the units of their columns, not from -1 to 1."""
    return dynamics != "jerk" and any(math.isinf(one.size) for one in action_columns(dynamics))


def largest_action(dynamics: str) -> float:
    """Returns how large the numbers of continuous actions may be."""
    return LARGEST_SET if acts_in_units(dynamics) else 1.0


def check_bins(dynamics: str, action_type: str, bins: Any) -> int | tuple[int, ...]:
    """Returns a setting `action_bins`, checked together with two others.

    Args:
        dynamics: That setting.
        action_type: That setting.
        bins: A number, or one a column.

    Raises:
        ValueError: For numbers below 2, not one a column, or too many actions; of jerks, which are
            listed by settings of their own, for the first only.
    """
    many, columns = is_list(bins), len(action_columns(dynamics))
    found = tuple(
        check_integer("action_bins", one, 2, MOST_ACTIONS) for one in (bins if many else [bins])
    )
    if many and dynamics != "jerk" and len(found) != columns:
        raise ValueError(
            f"action_bins must be one number, or {columns} of them with dynamics={dynamics!r}, got "
            f"{list(found)}"
        )
    if dynamics == "jerk" or action_type != "discrete":
        return found if many else found[0]
    if acts_in_units(dynamics):
        raise ValueError(
            f"action_type must be 'continuous' with dynamics={dynamics!r}, whose actions have no "
            f"range to take values from, got {action_type!r}"
        )
    if math.prod(bins_of(dynamics, found)) > MOST_ACTIONS:
        raise ValueError(
            f"action_bins must make at most {MOST_ACTIONS} actions, got "
            f"{' x '.join(map(str, bins_of(dynamics, found)))} with dynamics={dynamics!r}"
        )
    return found if many else found[0]


def bins_of(dynamics: str, bins: Any) -> tuple[int, ...]:
    """Returns how many values each column has, from a setting `action_bins`."""
    given = tuple(bins) if is_list(bins) else (bins,)
    return given * len(action_columns(dynamics)) if len(given) == 1 else given


def is_scripted(traffic: Any) -> bool:
    """Whether a setting `traffic` is one of `TRAFFIC`; if not, it should name a policy."""
    return isinstance(traffic, str) and traffic in TRAFFIC


def code_of(setting: str, name: str) -> int:
    """Returns what kernels know the name in a setting as."""
    return int(CODES[setting][name])


def maps_named(name: str) -> tuple[str, ...] | None:
    """Returns the maps by seed that a name stands for, None for names of another kind.

    Args:
        name: "family:seed", or a range "family:first-last", which stands for all from the first to
            the last.

    Returns:
        One name a map, in order of their seeds.

    Raises:
        ValueError: The family is none, or its seeds are not allowed.
    """
    family, colon, seeds = name.partition(":")
    numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", seeds, re.ASCII)
    if not colon or (family not in MAP_FAMILIES and (not numbers or len(family) < 2)):
        return None
    if family not in MAP_FAMILIES:
        known = ", ".join(MAP_FAMILIES)
        raise ValueError(
            f"no family of maps {family!r} in {name!r}: use one of {known}"
            f"{suggestion(family, MAP_FAMILIES, 'family')}"
        )
    form = f"write {family}:17 for one map and {family}:0-63 for 64 of them"
    if not numbers:
        raise ValueError(f"map {name!r} has no seed: {form}")
    for digits in numbers.groups(""):
        if digits != digits.lstrip("0") and digits != "0":
            raise ValueError(f"map {name!r}: a seed is written without zeros before it: {form}")
        if digits and (len(digits) > 10 or int(digits) > LAST_SEED):
            raise ValueError(f"map {name!r}: seeds run from 0 to {LAST_SEED}, got {digits}")
    first, last = int(numbers[1]), int(numbers[2] or numbers[1])
    if last < first:
        raise ValueError(f"map {name!r}: the first seed must not be above the last: {form}")
    if last - first >= MOST_MAPS:
        raise ValueError(
            f"map {name!r} stands for {last - first + 1} maps; at most {MOST_MAPS} are allowed"
        )
    return tuple(f"{family}:{seed}" for seed in range(first, last + 1))


def ranges_of(names: Iterable[str]) -> list[str]:
    """Returns names of maps with runs of seeds as ranges: the reverse of `maps_named`.

    Args:
        names: As a person should read them: of maps by seed, and others, which stay as they are.
    """
    found: list[list[Any]] = []
    for name in names:
        family, _, seed = name.partition(":")
        number = int(seed) if family in MAP_FAMILIES and seed.isdecimal() else None
        if found and number is not None and found[-1][:2] == [family, number - 1]:
            found[-1][1] = number
        else:
            found.append([family, number, number, name])
    return [
        name if first == last else f"{family}:{first}-{last}" for family, last, first, name in found
    ]
