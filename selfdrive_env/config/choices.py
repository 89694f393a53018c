"""What has a name: environments, drivers, policies that need no file, codes of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from selfdrive_env.state.params import Autoreset, GoalRule, LightTiming, Rule
from selfdrive_env.state.world import Driver

__all__ = [
    "AUTORESETS",
    "BASELINES",
    "CHOICES",
    "DRIVERS",
    "ENVIRONMENTS",
    "POLICIES",
    "TRAFFIC",
    "Environment",
    "code_of",
    "is_scripted",
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

RULES = {one.name.lower(): one for one in Rule}
GOAL_RULES = {one.name.lower(): one for one in GoalRule}
AUTORESETS = {one.name.title().replace("_", ""): one for one in Autoreset}
"""Gymnasium's names."""

DRIVERS = {one.name.lower(): one for one in Driver}
"""Who may drive, by the name in settings."""

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

CODES: dict[str, dict[str, IntEnum]] = {
    "on_collision": {**RULES},
    "on_offroad": {**RULES},
    "on_red_light": {**RULES},
    "on_goal": {**GOAL_RULES},
    "autoreset_mode": {**AUTORESETS},
    "driver": {**DRIVERS},
    "light_timing": {one.name.lower(): one for one in LightTiming},
}
"""Setting -> its names and what kernels know them as."""

CHOICES: dict[str, tuple[str, ...]] = {
    **{name: tuple(codes) for name, codes in CODES.items()},
    "action_type": ("discrete", "continuous"),
    "obs_dtype": ("float32", "float16", "bfloat16"),
}
"""Setting -> the names that it may have."""


def is_scripted(traffic: Any) -> bool:
    """Whether a setting `traffic` is one of `TRAFFIC`; if not, it should name a policy."""
    return isinstance(traffic, str) and traffic in TRAFFIC


def code_of(setting: str, name: str) -> int:
    """Returns what kernels know the name in a setting as."""
    return int(CODES[setting][name])
