"""Words that somebody wrote: read, and answered with what was meant."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.checks import as_plain, read_pairs, suggestion


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=[1, 2]", [1, 2]),
        (" a = null ", None),
        ("a=text", "text"),
        ("a=b=c", "b=c"),
        ("a=", ""),
        ("a=NaN", "NaN"),
        ("a=-Infinity", "-Infinity"),
        ("a=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_or_else_text(word: str, value: Any) -> None:
    assert read_pairs([word]) == {"a": value}


def test_the_last_of_equal_names_counts() -> None:
    assert read_pairs(["a=1", "env.b=2", "a=3"]) == {"a": 3, "env.b": 2}


@pytest.mark.parametrize("word", ["a", "=1", "1a=2", "a b=1", ""])
def test_a_word_without_a_name_and_value_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="--set must be key=value, got"):
        read_pairs([word])


def test_the_nearest_name_is_suggested() -> None:
    assert suggestion("colision", ["goal", "collision"]) == " (did you mean 'collision'?)"
    assert suggestion("xyz", ["goal"]) == " (did you mean 'goal'?)"
    assert suggestion("xyz", ["goal"], 0.5) == ""
    assert suggestion("xyz", []) == ""
    assert suggestion(3, ["goal"], 0.5) == ""


def test_arrays_of_settings_become_what_json_can_hold() -> None:
    assert as_plain(np.array(["riverside", "harbour"])) == ["riverside", "harbour"]
    assert json.loads(json.dumps(as_plain((np.float32(0.5), np.arange(2))))) == [0.5, [0, 1]]
