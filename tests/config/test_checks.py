"""Words that somebody wrote: read, and answered with what was meant."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.checks import (
    as_plain,
    check_action,
    check_choice,
    check_integer,
    check_number,
    check_options,
    check_path,
    check_seeds,
    read_pairs,
    suggestion,
)


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
    assert suggestion("IDM", ["goal", "idm"]) == " (did you mean 'idm'?)"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert suggestion("xyz", ["goal"]) == ""
    assert suggestion("xyz", []) == ""
    assert suggestion(3, ["goal"]) == ""


def test_options_of_a_reset_are_those_that_there_are() -> None:
    mask = {"reset_mask": [True]}
    assert check_options(None, ()) == {}
    assert check_options({}, ()) == {}
    assert check_options(mask, ("reset_mask",)) is mask
    assert check_options({"minari_autoseed": False}, ()) == {"minari_autoseed": False}


@pytest.mark.parametrize(
    ("options", "known", "message"),
    [
        ({"foo": 1}, ("reset_mask",), r"no option 'foo'; the only one is reset_mask"),
        ({"reset_maks": 1}, ("reset_mask",), r"'reset_maks' \(did you mean 'reset_mask'\?\)"),
        ({"reset_mask": 1}, (), r"no option 'reset_mask'; there are none here"),
        ({3: 1}, (), r"no option 3; there are none here"),
        (
            ["reset_mask"],
            ("reset_mask",),
            r"options must be None or a table .*got \['reset_mask'\]",
        ),
    ],
)
def test_other_options_are_named(options: Any, known: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_options(options, known)


@pytest.mark.parametrize(
    ("action", "choices", "message"),
    [
        (12, 12, "action must be from 0 to 11, got 12"),
        (-1, 12, "action must be from 0 to 11, got -1"),
        (1.5, 12, "action must be an integer, got 1.5"),
        (None, 12, "action must be an integer, got None"),
        ([3], 12, r"action must be an integer, got int64 of shape \(1,\)"),
        (7, 0, r"action must be floats of shape \(2,\), got 7"),
        ([0.0, 0.0, 0.0], 0, r"of shape \(2,\), got float64 of shape \(3,\)"),
        ([1.5, 0.0], 0, r"action must be finite and from -1 to 1, got \[1.5, 0.0\]"),
        ([0.0, math.nan], 0, r"action must be finite .* got \[0.0, nan\]"),
    ],
)
def test_a_wrong_action_is_named_as_it_was_given(action: Any, choices: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_action(action, choices)


def test_an_action_of_the_space_is_taken() -> None:
    assert check_action(np.int64(11), 12) == 11
    assert check_action(np.zeros((), np.uint8), 12).shape == ()
    assert check_action(np.float32([-1.0, 1.0]), 0).tolist() == [-1.0, 1.0]
    assert check_action(np.float32([9.0, 0.0, 1.0]), 0, 3, 100.0).tolist() == [9.0, 0.0, 1.0]
    with pytest.raises(ValueError, match=r"from -100 to 100, got \[101.0, 0.0, 1.0\]"):
        check_action([101.0, 0.0, 1.0], 0, 3, 100.0)


def test_arrays_of_settings_become_what_json_can_hold() -> None:
    assert as_plain(np.array(["riverside", "harbour"])) == ["riverside", "harbour"]
    assert json.loads(json.dumps(as_plain((np.float32(0.5), np.arange(2))))) == [0.5, [0, 1]]


def test_tables_of_settings_become_what_json_can_hold() -> None:
    table = {"car": np.float32(0.5), "more": {"file": Path("a"), "list": (np.int64(1),)}}
    wanted = {"car": 0.5, "more": {"file": "a", "list": [1]}}
    assert json.loads(json.dumps(as_plain(table))) == wanted


def test_seeds_are_numbers_or_lists_of_them() -> None:
    assert check_seeds(np.uint64(7), 2, 4) == 7
    for given in ([1, 2], (1, 2), range(1, 3), np.array([1, 2]), [1, 1, 2, 2]):
        assert check_seeds(given, 2, 4) == [1, 2]


@pytest.mark.parametrize(
    "seed", [[None, 3], [1.0, 2.0], ["1", "2"], [True, 1], 1.5, "12", {1, 2}, {}]
)
def test_other_seeds_are_named(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number or a list of them, got"):
        check_seeds(seed, 2, 4)


@pytest.mark.parametrize("value", [10**400, -(10**400), math.nan, math.inf, 1j, "1", None, True])
def test_what_is_no_number_in_a_range_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="dt must be a number from 0 to 1, got"):
        check_number("dt", value, 0.0, 1.0)
    with pytest.raises(ValueError, match="dt must be a whole number from 0 to 0, got"):
        check_integer("dt", value, 0, 0)


@pytest.mark.parametrize("value", [{}, [], np.array(["a", "b"]), None, b"a", 3])
def test_what_is_no_name_is_no_choice(value: Any) -> None:
    with pytest.raises(ValueError, match="preset must be one of a, b, got"):
        check_choice("preset", value, ("a", "b"))


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_what_the_system_takes_as_no_path_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="map must be a path"):
        check_path("map", value)
