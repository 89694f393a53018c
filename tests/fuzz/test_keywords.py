"""Settings of any type and value: an environment is made, or one clear error names the setting."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import numpy as np
import pytest

from selfdrive_env.config.choices import CHOICES, ENVIRONMENTS
from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.config.settings import Settings
from selfdrive_env.state.rewards import WEIGHTS
from tests.fuzz import harness
from tests.fuzz.values import check_named, log_number, odd

Random = np.random.Generator

SEED = 32
ARGUMENTS = ("num_envs", "learners", "render_mode", "max_episode_steps", "seed", "options")
FIELDS = dataclasses.fields(Settings)
NAMES = (*(field.name for field in FIELDS), *ARGUMENTS)
LEFT_OUT = ("map_variants",)
"""A thousand variants of a map are a fair wish, and take minutes."""

SMALL: dict[str, Any] = {
    "map": "riverside",
    "layout": "lean",
    "agents_per_world": 2,
    "num_threads": 1,
}
ALLOWED = (ValueError, TypeError, MemoryError, OSError, ImportError, RuntimeError)
"""The last two where torch or a CUDA device is asked for and missing."""


def make(random: Random) -> tuple[str, bool, dict[str, Any]]:
    """An id, whether the vector form is wanted, and keywords."""
    names = [name for name in NAMES if name not in LEFT_OUT]
    chosen = random.choice(names, random.choice([1, 1, 2, 3]), replace=False)
    keywords = {str(name): odd(random) for name in chosen}
    if random.random() < 0.4:
        keywords = {str(name): fair(str(name), random) for name in chosen}
    if random.random() < 0.05:
        keywords[str(odd(random))[:40]] = odd(random)
    for name, kind in (("render_mode", str), ("max_episode_steps", int)):
        if not isinstance(keywords.get(name), kind):  # Gymnasium itself stumbles over others
            keywords.pop(name, None)
    one = ENVIRONMENTS[random.integers(len(ENVIRONMENTS))]
    return f"selfdrive_env/{one.name}", bool(random.random() < 0.5), {**SMALL, **keywords}


def fair(name: str, random: Random) -> Any:
    """A value that a setting may have, as far as it is known here; else any."""
    if name in CHOICES:
        return str(random.choice(list(CHOICES[name])))
    kind = str(next((field.type for field in FIELDS if field.name == name), ""))
    if kind == "bool":
        return bool(random.random() < 0.5)
    if kind == "float":
        return log_number(
            random, *{"horizon": (0.01, 1e6), "dt": (0.01, 0.4)}.get(name, (0.0, 1.0))
        )
    if kind == "int":
        return int(random.integers(0, 4))
    if name in ("jerk_long", "jerk_lat"):
        return [log_number(random, -100.0, 100.0) for _ in range(random.integers(1, 5))]
    if name == "reward":
        weights = random.choice(list(WEIGHTS), 3, replace=False)
        return {str(weight): log_number(random, -1000.0, 1000.0) for weight in weights}
    if name == "bodies":
        return {str(kind): float(random.random()) for kind in random.choice(list(BODY_TYPES), 2)}
    if name == "agents_per_world":
        return sorted(random.integers(1, 40, 2).tolist())
    if name == "first_goal":
        return sorted(log_number(random, 1.0, 2000.0) for _ in range(2))
    if name == "num_envs":
        return int(random.integers(1, 9))
    if name == "map":
        return [str(town) for town in random.choice(["riverside", "hillcrest", "harbour"], 2)]
    return odd(random)


def use(one: tuple[str, bool, dict[str, Any]], number: int) -> str:
    """Makes the environment, resets it and takes a step."""
    id, vector, keywords = one
    start = {name: keywords.pop(name) for name in ("seed", "options") if name in keywords}
    if isinstance(keywords.get("num_envs"), int) and 64 < keywords["num_envs"] < 10**6:
        keywords["num_envs"] = 64
    try:
        env = gymnasium.make_vec(id, **keywords) if vector else gymnasium.make(id, **keywords)
        env.reset(**start)
        env.step(env.action_space.sample())
        env.close()
    except (*ALLOWED, gymnasium.error.Error) as error:
        check_named(error, [*keywords, *start, "device", "map", "torch", "option"])
        return type(error).__name__
    return "made"


@pytest.mark.filterwarnings("ignore:.*render_mode:UserWarning")
@pytest.mark.filterwarnings("ignore:.*share an object:UserWarning")  # copy=False, as asked for
def test_every_keyword_is_taken_or_named() -> None:
    for one in ENVIRONMENTS:  # what compiles the first time takes its time
        use((f"selfdrive_env/{one.name}", True, dict(SMALL)), 0)
    ends = harness.fuzz(make, use, seed=SEED, count=harness.budget(150), allowed=())
    assert ends["made"]
