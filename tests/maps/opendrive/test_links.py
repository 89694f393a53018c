"""Rings, and what is said of links that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from selfdrive_env.maps.inspection import connectivity, open_ends, share_reached
from tests.maps.opendrive.test_reader import (
    LINE,
    by_name,
    in_file,
    lane,
    read,
    road,
    section,
    successors,
)

FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

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


@FILES
@given(
    radius=st.floats(15.0, 80.0),
    turn=st.sampled_from([1, -1]),
    sections=st.lists(st.integers(1, 3), min_size=1, max_size=4),
)
def test_rings_of_roads_and_sections_close(tmp_path: Path, radius, turn, sections) -> None:
    """Of one road of one section, and of many: each lane is followed by one, all the way round."""
    count = len(sections)
    length = 2.0 * np.pi * radius / count
    roads = []
    for k, parts in enumerate(sections):
        angle = k * 2.0 * np.pi / count
        x, y = radius * np.sin(angle), turn * radius * (1.0 - np.cos(angle))
        arc = LINE.format(x=x, y=y, hdg=turn * angle, length=length)
        ends = (("predecessor", (k - 1) % count, "end"), ("successor", (k + 1) % count, "start"))
        roads.append(
            road(
                str(k),
                length,
                geometry=arc.replace("<line/>", f'<arc curvature="{turn / radius}"/>'),
                sections="".join(
                    section(
                        length * part / parts,
                        lane(1, inner=LINKED.format(1)),
                        lane(-1, inner=LINKED.format(-1)),
                    )
                    for part in range(parts)
                ),
                links="".join(
                    f'<{which} elementType="road" elementId="{other}" contactPoint="{end}"/>'
                    for which, other, end in ends
                ),
            )
        )
    network = read(tmp_path, *roads)
    assert network.problems == []
    assert connectivity(network) == 1.0
    assert open_ends(network) == []
    assert share_reached(network) == 0.5
    for start in (0, 1):
        seen, here = [], start
        while here not in seen:
            seen.append(here)
            (here,) = network.lanes[here].successors
        assert here == start
        assert len(seen) == sum(sections)


@FILES
@given(
    gap=st.floats(0.0, 20.0),
    aside=st.floats(-6.0, 6.0),
    rise=st.floats(-6.0, 6.0),
    degrees=st.floats(0.0, 180.0),
)
def test_a_link_is_kept_or_says_how_far_its_ends_lie_apart(
    tmp_path: Path, gap, aside, rise, degrees
) -> None:
    """By the ends themselves: 4 m, 2 m of height, 75 degrees; never "0.0 m"."""
    link = '<successor elementType="road" elementId="2" contactPoint="start"/>'
    head = f'<elevationProfile><elevation s="0" a="{rise}" b="0" c="0" d="0"/></elevationProfile>'
    first = road("1", right=lane(-1, inner=LINKED.format(-1)), links=link)
    second = road("2", x=100.0 + gap, y=aside, hdg=np.radians(degrees), head=head)
    network = read(tmp_path, first, second)
    lanes = by_name(network)
    end = in_file(network, lanes["1/0/-1"].centre[-1])
    start = in_file(network, lanes["2/0/-1"].centre[0])
    apart, step = float(np.hypot(*(start - end)[:2])), abs(float((start - end)[2]))
    assume(min(abs(apart - 4.0), abs(step - 2.0), abs(degrees - 75.0)) > 0.1)
    said = [problem for problem in network.problems if "lie apart" in problem]
    if apart < 4.0 and step < 2.0 and degrees < 75.0:
        assert successors(network, "1/0/-1") == {"2/0/-1"}
        assert not said
        return
    words = f"{apart:.1f} m"
    if apart < 4.0:
        words = f"{step:.1f} m of height" if step > 2.0 else f"{degrees:.0f} deg"
    assert said == [
        f"1 lane links join ends that lie apart and are dropped: 1/0/-1 -> 2/0/-1 ({words})"
    ]
