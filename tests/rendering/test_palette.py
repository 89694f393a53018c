"""One look: the page of a replay has the colours that frames are drawn with."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from selfdrive_env.rendering.palette import DAY, LIGHT_COLOURS, NIGHT, as_css


def part(name: str) -> str:
    return resources.files("selfdrive_env.episodes").joinpath(name).read_text(encoding="utf-8")


def test_a_rule_sets_one_variable_a_colour() -> None:
    rule = as_css(":root", {"ground": (1, 2, 255), "asphalt": (0, 16, 32)})
    assert rule == ":root {\n  --ground: #0102ff;\n  --asphalt: #001020;\n}\n"


def test_every_colour_of_the_page_is_set_and_in_one_place() -> None:
    named = re.search(r"const names = \[(.*?)\];", part("replay.js"), re.DOTALL)
    assert named is not None
    names = set(re.findall(r'"([\w-]+)"', named[1]))
    own = set(re.findall(r"--([\w-]+):", part("replay.css")))
    assert names <= own | set(DAY)
    assert not own & set(DAY), "the page sets what the palette sets"
    assert set(DAY) <= names, "nothing draws with this"


def test_night_changes_colours_that_there_are() -> None:
    assert set(NIGHT) < set(DAY)


@pytest.mark.parametrize("one", sorted(LIGHT_COLOURS))
def test_lights_are_told_apart(one: int) -> None:
    mine = LIGHT_COLOURS[one]
    for other, colour in LIGHT_COLOURS.items():
        if other != one:
            assert max(abs(a - b) for a, b in zip(mine, colour, strict=True)) > 60


def test_a_page_has_the_palette(tmp_path) -> None:
    import gymnasium as gym

    env = gym.make("selfdrive_env/Drive-v0", map="riverside", record=True, layout="lean")
    env.reset(seed=0)
    env.unwrapped.save_replay(tmp_path / "drive.html")
    text = (tmp_path / "drive.html").read_text(encoding="utf-8")
    assert as_css(":root", DAY) in text
    assert as_css(":root.dark", NIGHT) in text
