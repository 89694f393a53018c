"""Names of settings follow the codes that kernels know."""

from __future__ import annotations

import pytest
from gymnasium.vector import AutoresetMode

from selfdrive_env.config.choices import (
    AUTORESETS,
    BASELINES,
    CHOICES,
    CODES,
    DRIVERS,
    TRAFFIC,
    code_of,
    maps_named,
    ranges_of,
)
from selfdrive_env.config.params import make_params
from selfdrive_env.config.presets import PRESET_MEANINGS, PRESETS
from selfdrive_env.config.settings import Settings
from selfdrive_env.state.world import Driver
from selfdrive_env.training.config import PRESET_MEANINGS as TRAINING_MEANINGS
from selfdrive_env.training.config import PRESETS as TRAINING_PRESETS


def test_modes_have_the_names_of_gymnasium() -> None:
    assert set(AUTORESETS) == {mode.value for mode in AutoresetMode}


def test_drivers_have_names_and_meanings() -> None:
    assert {"external", "idm", "constant", "still"} <= set(DRIVERS)
    assert {"idm", "constant", "still"} <= set(TRAFFIC) == set(DRIVERS) - {"external"}
    assert all(BASELINES[name] == DRIVERS[name].meaning for name in TRAFFIC)
    assert all(len(driver.meaning) > 5 for driver in Driver)


@pytest.mark.parametrize("name", ["on_collision", "on_offroad", "on_red_light", "on_goal"])
def test_kernels_get_the_code_of_a_name(name: str) -> None:
    for code, choice in enumerate(CHOICES[name]):
        params = make_params(Settings(**{name: choice}))  # type: ignore[arg-type]
        assert getattr(params, name) == code_of(name, choice) == code
        assert type(getattr(params, name)) is int


def test_every_coded_setting_has_a_default_among_its_names() -> None:
    for name, codes in CODES.items():
        assert getattr(Settings(), name) in codes


def test_every_preset_has_a_meaning() -> None:
    assert list(PRESET_MEANINGS) == list(PRESETS)
    assert list(TRAINING_MEANINGS) == list(TRAINING_PRESETS)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        ([], []),
        (["riverside"], ["riverside"]),
        (["city:4"], ["city:4"]),
        (["city:4", "city:5", "city:6"], ["city:4-6"]),
        (["city:4", "city:6", "grid:7", "grid:8"], ["city:4", "city:6", "grid:7-8"]),
        (["a/b.xodr", "city:0", "city:1", "harbour"], ["a/b.xodr", "city:0-1", "harbour"]),
        (["C:1", "C:2", "city:x"], ["C:1", "C:2", "city:x"]),
    ],
)
def test_runs_of_seeds_are_told_as_ranges(names: list[str], short: list[str]) -> None:
    assert ranges_of(names) == short
    if "city:x" not in names:
        assert [name for one in short for name in maps_named(one) or (one,)] == names
