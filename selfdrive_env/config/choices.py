"""What has a name: environments, drivers, policies that need no file, codes of kernels."""

from __future__ import annotations

from enum import IntEnum

from selfdrive_env.state.params import Autoreset, GoalRule, Rule
from selfdrive_env.state.world import Driver

__all__ = [
    "AUTORESETS",
    "BASELINES",
    "CHOICES",
    "DRIVERS",
    "ENVIRONMENTS",
    "POLICIES",
    "TRAFFIC",
    "code_of",
]

ENVIRONMENTS = (
    ("SelfPlay-v0", "make_self_play", "every agent of every world is a row"),
    ("Drive-v0", "make_drive", "one ego a world among scripted drivers or a policy's"),
)
"""Id, what makes its vector form, and what it is."""

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
}
"""Setting -> its names and what kernels know them as."""

CHOICES: dict[str, tuple[str, ...]] = {
    **{name: tuple(codes) for name, codes in CODES.items()},
    "action_type": ("discrete", "continuous"),
    "obs_dtype": ("float32", "float16", "bfloat16"),
    "light_timing": ("random", "fixed"),
}
"""Setting -> the names that it may have."""


def code_of(setting: str, name: str) -> int:
    """Returns what kernels know the name in a setting as."""
    return int(CODES[setting][name])
