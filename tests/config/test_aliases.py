"""Words of other simulators: each names a setting that there is, and errors translate it."""

from __future__ import annotations

import dataclasses

import pytest

from selfdrive_env.config.aliases import ALIASES, translation
from selfdrive_env.config.checks import suggestion
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.settings import Settings
from selfdrive_env.maps import MapError, load
from selfdrive_env.state.rewards import WEIGHTS

SETTINGS = {field.name for field in dataclasses.fields(Settings)}
ENTRIES = {"reward": set(WEIGHTS), "layout": set(vars(LAYOUTS["full"]))}


@pytest.mark.parametrize("word", ALIASES)
def test_every_word_has_a_setting_and_is_none_itself(word: str) -> None:
    alias = ALIASES[word]
    assert alias.setting in SETTINGS or (not alias.setting and alias.text)
    assert word not in SETTINGS
    assert not alias.entry or alias.entry in ENTRIES[alias.setting]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"vehicles_count": 20}, r"highway-env's 'vehicles_count' is 'agents_per_world' here"),
        ({"duration": 40}, r"'duration' is 'horizon' here: in seconds"),
        ({"policy_frequency": 5}, r"is 'dt' here: seconds a step"),
        (
            {"num_agents": 20},
            r"MetaDrive and PufferDrive's 'num_agents' is 'agents_per_world' here",
        ),
        ({"crash_vehicle_done": True}, r"MetaDrive's 'crash_vehicle_done' is 'on_collision' here"),
        ({"collision_reward": -1}, r"is reward=\{'collision': ...\} here: taken away, so positive"),
        ({"Town": "Town01"}, r"CARLA's 'Town' is 'map' here"),
        ({"config": {}}, r"highway-env and MetaDrive's 'config' is not needed here: what it holds"),
        ({"controlled_object": 0}, r"Waymax's 'controlled_object' is an id here: SelfPlay-v0"),
    ],
)
def test_an_unknown_setting_is_translated(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Settings.from_keywords(keywords)


def test_a_weight_is_translated() -> None:
    with pytest.raises(ValueError, match=r"no weight 'crash' \(MetaDrive's 'crash' is 'collision'"):
        Settings(reward={"crash": 1.0})


@pytest.mark.parametrize("town", ["Town01", "town04", "Town10HD"])
def test_a_town_of_carla_is_a_file(town: str) -> None:
    with pytest.raises(MapError, match=f"CARLA's '{town}' is a file here: give its OpenDRIVE"):
        load(town)


def test_a_word_of_one_setting_says_nothing_about_another() -> None:
    assert translation("crash", "map") == translation("Town01") == ""
    assert translation("duration", "reward") == ""
    assert suggestion("duration", ["horizon"], "") == suggestion("config", [], "") == ""
