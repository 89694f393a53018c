"""Who may drive backwards: the setting `reverse` in whole worlds."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.config.choices import DRIVERS
from selfdrive_env.config.settings import EARLIER, Settings
from tests.kernels.conftest import town_engine

BRAKES = 12 * [3, 4, 5] + list(range(12))
"""Actions to draw from: mostly those that reverse from rest where that is allowed."""


def speeds(kind: str, steps: int = 200, **settings: Any) -> np.ndarray:
    """Speeds after each step of a drive by actions that brake a lot."""
    engine = town_engine(worlds=3, action_type=kind, **settings)
    random = np.random.default_rng(4)
    seen = []
    for _ in range(steps):
        shape = (3 * 8,) if kind == "discrete" else (3 * 8, 2)
        actions = random.choice(BRAKES, shape)
        if kind == "continuous":
            actions = random.uniform([-0.5, -1.0], [0.3, 1.0], shape).astype(np.float32)
        engine.command(actions)
        engine.step()
        seen.append(engine.agents.speed.copy())
    return np.stack(seen)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_rows_reverse_only_where_that_is_allowed(kind: str) -> None:
    never = speeds(kind)
    assert never.min() == 0.0 < never.max()
    assert speeds(kind, reverse="allowed").min() == -2.0


@pytest.mark.parametrize("name", ["idm", "constant", "still"])
def test_scripted_drivers_are_the_same_either_way(name: str) -> None:
    drivers = [int(DRIVERS[name])] * 8
    found = [speeds("discrete", drivers=drivers, reverse=one) for one in ("never", "allowed")]
    np.testing.assert_array_equal(*found)


def test_it_is_a_keyword_of_gymnasium_and_survives_json() -> None:
    env: Any = gymnasium.make(
        "selfdrive_env/Drive-v0", map="riverside", agents_per_world=2, reverse="allowed"
    )
    assert json.loads(env.spec.to_json())["kwargs"]["reverse"] == "allowed"
    assert env.unwrapped.settings.reverse == "allowed"
    env.close()
    with pytest.raises(ValueError, match="reverse must be one of never, allowed, got 'no'"):
        gymnasium.make("selfdrive_env/Drive-v0", reverse="no")


def test_what_was_recorded_without_a_setting_was_recorded_as_it_was_then() -> None:
    assert EARLIER == {
        **{"reverse": "allowed", "tow_after": None, "standing_share": 0.0},
        **{"dynamics": "jerk", "action_bins": 9, "observation": "state"},
    }
    assert Settings.as_recorded({"dt": 0.1}) == {"dt": 0.1, **EARLIER}
    assert Settings.as_recorded({"reverse": "never"})["reverse"] == "never"
