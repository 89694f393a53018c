"""The setting `observation`: what it may be, and what is said of what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from selfdrive_env.config.images import BirdsEye, make_views, require_rows
from selfdrive_env.config.settings import Settings


def test_a_name_or_a_table_with_a_kind_stands_for_one_view() -> None:
    assert make_views("state").plain
    for one in ("bev", {"kind": "bev"}):
        views = make_views(one)
        assert views.single
        assert views.pictures == {"bev": BirdsEye()}
        assert views.state is None


def test_a_table_by_name_stands_for_several() -> None:
    views = make_views({"near": {"kind": "bev", "span": 32.0}, "far": "bev", "row": "state"})
    assert views.names == ("near", "far", "row")
    assert not views.single
    assert not views.plain
    assert views.state == "row"
    assert [one.span for one in views.pictures.values()] == [32.0, 64.0]  # type: ignore[attr-defined]


def test_the_middle_lies_ahead_of_an_ego_that_heads_up() -> None:
    assert BirdsEye(size=(40, 80), span=160.0).middle == (20.0, 0.0)
    assert BirdsEye(heading_up=False).middle == (0.0, 0.0)
    assert BirdsEye(offset=(5.0, -2.0)).middle == (5.0, -2.0)


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        ("radar", "one of 'state', 'bev'"),
        (3, "one of 'state', 'bev'"),
        ({}, "1 to 8 entries"),
        ({"a": {"size": 4}}, "observation['a'] must be"),
        ({"a b": "bev"}, "like variables"),
        ({"a": "state", "b": "state"}, "twice"),
        ({"kind": "bev", "span": 0.0}, "span must be a number from 1 to 4000, got 0.0"),
        (
            {"kind": "bev", "size": 256, "span": 2.0},
            "span must be at least 2.56 m in a picture 256",
        ),
        ({"kind": "bev", "size": 4}, "size must be a whole number from 8 to 2048, got 4"),
        ({"kind": "bev", "size": [8, 9, 10]}, "[height, width]"),
        ({"kind": "bev", "sise": 84}, "no setting 'sise'"),
        ({"kind": "bev", "history": 0}, "history must be a whole number from 1 to 64"),
        ({"kind": "bev", "colour": "hsv"}, "colour must be one of rgb, gray, classes"),
        ({"kind": "bev", "channels_first": 1}, "channels_first must be True or False"),
        ({"kind": "bev", "offset": [1.0]}, "offset must be [ahead, left]"),
        ({"kind": "state", "size": 84}, "layout"),
    ],
)
def test_what_is_wrong_is_named(observation: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        Settings(observation=observation)
    assert "observation" in str(caught.value)
    assert words in str(caught.value)


def test_earlier_digests_hold_where_rows_are_observed() -> None:
    assert Settings(observation="state").digest() == Settings().digest()
    assert Settings(observation="bev").digest() != Settings().digest()


def test_what_reads_rows_refuses_pictures() -> None:
    require_rows("state", "training")
    with pytest.raises(ValueError, match="'state' for training"):
        require_rows({"row": "state"}, "training")
