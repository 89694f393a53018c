"""Rings, and what is said of links that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps.inspection import connectivity
from tests.maps.opendrive.test_reader import LINE, lane, read, road, successors

LINKED = '<link><predecessor id="{0}"/><successor id="{0}"/></link>'
RING = (
    '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
    '<successor elementType="road" elementId="1" contactPoint="start"/>'
)


@pytest.mark.parametrize("linked", [True, False])
def test_a_road_that_is_its_own_successor_is_a_ring(tmp_path: Path, linked: bool) -> None:
    """Without links the ring closes by its geometry, which is listed."""
    circle = LINE.format(x=60, y=0, hdg=np.pi / 2, length=120 * np.pi)
    circle = circle.replace("<line/>", f'<arc curvature="{1 / 60}"/>')
    inner = {side: LINKED.format(side) if linked else "" for side in (1, -1)}
    text = road(
        length=120 * np.pi,
        geometry=circle,
        left=lane(1, inner=inner[1]),
        right=lane(-1, inner=inner[-1]),
        links=RING if linked else "",
    )
    network = read(tmp_path, text)
    assert successors(network, "1/0/1") == {"1/0/1"}
    assert successors(network, "1/0/-1") == {"1/0/-1"}
    assert [entry.predecessors for entry in network.lanes] == [[0], [1]]
    assert connectivity(network) == 1.0
    assert len(network.problems) == (not linked)


def test_a_straight_road_is_no_ring(tmp_path: Path) -> None:
    network = read(tmp_path, road(right=lane(-1, inner=LINKED.format(-1)), links=RING))
    assert successors(network, "1/0/-1") == set()
    assert network.problems == [
        "1 lane links join ends that lie apart and are dropped: 1/0/-1 -> 1/0/-1 (100.0 m)"
    ]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"x": 110.0}, "10.0 m"),
        ({"head": '<elevationProfile><elevation s="0" a="6" b="0" c="0" d="0"/>'
          "</elevationProfile>"}, "6.0 m of height"),
        ({"hdg": np.pi / 2}, "90 deg"),
    ],
)  # fmt: skip
def test_a_dropped_link_says_what_lies_apart(tmp_path: Path, other: dict, words: str) -> None:
    link = '<successor elementType="road" elementId="2" contactPoint="start"/>'
    first = road("1", right=lane(-1, inner=LINKED.format(-1)), links=link)
    network = read(tmp_path, first, road("2", **{"x": 100.0, **other}))
    assert network.problems == [
        f"1 lane links join ends that lie apart and are dropped: 1/0/-1 -> 2/0/-1 ({words})"
    ]
