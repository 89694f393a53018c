"""Lanes that each lie as they like, as other formats draw them, written and read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.maps import MapError, RoadNetwork, load, save_opendrive
from selfdrive_env.maps.network.differences import offset
from selfdrive_env.maps.network.finish import Problems, finish, lane_along
from selfdrive_env.maps.road_network import (
    TWO_WAY,
    Junction,
    Lane,
    Signal,
    SignalGroup,
    StopLine,
)

CENTRE = 0.01
"""How far a centre line may come back from where it was [m]."""

FILES = (
    "sumo/esmini_e6mini.net.xml",
    "lanelet2/carla_Town02/carla_Town02.osm",
    "commonroad/maps/DEU_MONAEast-2.xml",
    "commonroad/scenarios/USA_Lanker-1_1_T-1.xml",
)

LONG = (
    "commonroad/maps/DEU_AachenAseag-1.xml",
    "sumo/ngsim_peachtree.net.xml",
    "commonroad/scenarios/ARG_Carcarana-4_5_T-1.xml",
    "sumo/bologna_acosta.net.xml",
    "lanelet2/autoware_intersection.osm",
    "lanelet2/karlsruhe_mapping_example.osm",
)

DIFFERENT = ("centre by", "successors", "predecessors", "limit", "neighbour", "stop lines",
    "signals", "type", "junction: ")  # fmt: skip
"""What no sentence about a file may be about, but for lanes that nobody drives on."""


def oblique(lane: Lane, cuts: tuple[float, float]) -> Lane:
    """Cuts the ends of a lane obliquely: its edges begin and end further on, or earlier."""
    for end, cut in zip((0, -1), cuts, strict=True):
        step = lane.centre[1] - lane.centre[0] if end == 0 else lane.centre[-1] - lane.centre[-2]
        ahead = step / np.hypot(*step[:2])
        lane.left[end] += cut * ahead
        lane.right[end] -= cut * ahead
    return lane


@st.composite
def loose_lanes(draw: Any) -> list[Lane]:
    """Lanes that follow each other, of drawn turns, steps, widths and ends."""
    place, heading, lanes = np.zeros(2), draw(st.floats(-3.0, 3.0)), []
    for number in range(draw(st.integers(1, 3))):
        points = [place]
        for _ in range(draw(st.integers(1, 6))):
            heading += draw(st.floats(-0.6, 0.6))
            length = draw(st.floats(0.5, 40.0))
            points.append(points[-1] + length * np.array([np.cos(heading), np.sin(heading)]))
        place = points[-1]
        width = np.linspace(draw(st.floats(2.5, 5.0)), draw(st.floats(2.5, 5.0)), len(points))
        lane = lane_along(str(number), np.array(points), width, speed_limit=10.0 + number)
        cuts = draw(st.tuples(*[st.floats(-0.2, 0.2)] * 2))
        lanes.append(oblique(lane, cuts))
        if number:
            lanes[number - 1].successors.append(number)
    return lanes


@settings(max_examples=25, deadline=None)
@given(lanes=loose_lanes())
def test_centres_of_any_lanes_come_back_where_they_were(lanes, tmp_path_factory):
    network = finish(RoadNetwork("made", lanes), Problems())
    path = tmp_path_factory.mktemp("drawn") / "map.xodr"
    save_opendrive(network, path)
    again = load(path)
    assert len(again.lanes) == len(lanes)
    shift = np.array(again.origin) - np.array(network.origin)
    for lane, found in zip(network.lanes, again.lanes, strict=True):
        line = found.centre + shift
        assert max(offset(lane.centre, line), offset(line, lane.centre)) < CENTRE
        assert lane.speed_limit == found.speed_limit
        assert len(lane.successors) == len(found.successors)


def test_edges_keep_ends_that_are_cut_obliquely(tmp_path):
    x = np.linspace(0.0, 40.0, 21)
    lane = lane_along("one", np.stack([x, 3.0 * np.sin(x / 8.0)], axis=1), 3.5)
    beside = lane_along("two", np.stack([x, 3.0 * np.sin(x / 8.0) - 3.5], axis=1), 3.5)
    lanes = [oblique(lane, (1.5, -1.0)), oblique(beside, (-1.0, 2.0))]
    network = finish(RoadNetwork("made", lanes), Problems())
    assert not any("centre" in one for one in save_opendrive(network, tmp_path / "map.xodr"))
    again = load(tmp_path / "map.xodr")
    shift = np.array(again.origin) - np.array(network.origin)
    for one, two in zip(network.lanes, again.lanes, strict=True):
        for side in ("left", "right"):
            ends = getattr(one, side)[[0, -1]] - getattr(two, side)[[0, -1]] - shift
            assert np.abs(ends).max() < 0.03
    text = (tmp_path / "map.xodr").read_text()
    for value in ("1 2 3 4", "1 2 3 4 5 nan", "900 0 0 0 0 0"):
        broken = re.sub(r'(code="selfdrive_env.ends" value=")[^"]*', rf"\g<1>{value}", text)
        assert broken != text
        (tmp_path / "flawed.xodr").write_text(broken)
        assert any("flawed records" in one for one in load(tmp_path / "flawed.xodr").problems)


def test_a_stop_line_over_two_roads_stays_one(tmp_path):
    lanes = [
        lane_along("near", [(0, 0), (60, 0)], 3.5),
        lane_along("far", [(0, -9), (57, -9)], 3.5),
    ]
    ends = np.array([[55.0, 1.75, 0.0], [54.0, -10.75, 0.0]])
    line = StopLine(ends[0], ends[1], ends[0] + (0, 4, 0), ends[1], 0.0, [(0, 55.0), (1, 54.0)])
    line.signal = 0
    signal = Signal("1", "traffic_light", np.array([56.0, -5.0, 3.0]), 0.0, [0, 1], 0)
    network = finish(
        RoadNetwork("made", lanes, signals=[signal], signal_groups=[SignalGroup("1", [0])],
            stop_lines=[line]),
        Problems(),
    )  # fmt: skip
    assert save_opendrive(network, tmp_path / "map.xodr") == []
    again = load(tmp_path / "map.xodr")
    assert [len(one.lanes) for one in again.stop_lines] == [2]


def test_two_directions_with_centres_of_their_own_stay_apart(tmp_path):
    x = np.linspace(0.0, 40.0, 21)
    there = lane_along("there", np.stack([x, 0.0 * x], axis=1), 4.0, type=TWO_WAY)
    back = lane_along("back", np.stack([x, 0.0 * x], axis=1)[::-1], 4.0, type=TWO_WAY)
    back.centre[:, 1] += 0.2 * np.sin(np.pi * x / 40.0)
    network = finish(RoadNetwork("made", [there, back]), Problems())
    assert save_opendrive(network, tmp_path / "map.xodr") == []
    assert {lane.type for lane in load(tmp_path / "map.xodr").lanes} == {TWO_WAY}


def row(*ends: tuple[float, float]) -> list[Lane]:
    """Returns lanes from left to right, 3.5 m wide, that run from x to x [m], as neighbours."""
    lanes = []
    for place, (first, last) in enumerate(ends):
        points = np.stack([np.linspace(first, last, 12), np.full(12, -3.5 * place)], axis=1)
        lanes.append(lane_along(str(place), points, 3.5))
    for place in range(1, len(lanes)):
        lanes[place - 1].right_neighbour, lanes[place].left_neighbour = place, place - 1
    return lanes


def test_lanes_of_one_section_keep_ends_of_their_own(tmp_path):
    lanes = [oblique(lane, (0.05, -0.1)) for lane in row((0, 40), (0.2, 39.7), (-0.1, 40.1))]
    ends = np.array([[39.0, 1.75, 0.0], [38.5, -8.75, 0.0]])
    line = StopLine(*ends, *ends, 0.0, [(0, 38.9), (1, 38.6), (2, 38.8)], signal=0)
    signal = Signal("1", "traffic_light", np.array([39.0, -9.0, 3.0]), 0.0, [0, 1, 2], 0)
    network = finish(
        RoadNetwork("made", lanes, signals=[signal], signal_groups=[SignalGroup("1", [0])],
            stop_lines=[line]),
        Problems(),
    )  # fmt: skip
    assert save_opendrive(network, tmp_path / "map.xodr") == []
    again = load(tmp_path / "map.xodr")
    assert again.num_roads == 1
    shift = np.array(again.origin) - np.array(network.origin)
    for one, two in zip(network.lanes, again.lanes, strict=True):
        for name in ("centre", "left", "right"):
            apart = getattr(one, name)[[0, -1]] - getattr(two, name)[[0, -1]] - shift
            assert np.hypot(*apart[:, :2].T).max() < 0.01
    (found,) = again.stop_lines
    for (lane, distance), (other, place) in zip(line.lanes, sorted(found.lanes), strict=True):
        assert lane == other and abs(distance - place) < 0.01


def test_lanes_that_end_far_apart_are_roads_of_their_own(tmp_path):
    network = finish(RoadNetwork("made", row((0, 40), (0, 41.0))), Problems())
    assert save_opendrive(network, tmp_path / "map.xodr") == []
    again = load(tmp_path / "map.xodr")
    assert again.num_roads == 2
    assert [lane.right_neighbour for lane in again.lanes] == [1, -1]


def connections(path: Path) -> list[list[tuple[str, str]]]:
    """Returns incoming and connecting road of all connections, by junction."""
    junctions = ElementTree.parse(path).getroot().findall("junction")
    return [
        [(one.attrib["incomingRoad"], one.attrib["connectingRoad"]) for one in found]
        for found in (junction.findall("connection") for junction in junctions)
    ]


def test_connecting_lanes_from_several_roads_are_roads_of_their_own(tmp_path):
    """A connecting road has one road before it and one beyond."""
    lanes = row((0, 40), (0, 41.0)) + row((40, 60), (40.3, 60)) + row((60, 100), (60, 100))
    lanes[3].left[0, 0], lanes[3].right[0, 0], lanes[3].centre[0, 0] = 41.0, 41.0, 41.0
    for number, lane in enumerate(lanes):
        lane.name, lane.junction = str(number), 0 if number in (2, 3) else -1
        if number < 4:
            lane.successors.append(number + 2)
        for side in ("left_neighbour", "right_neighbour"):
            beside = getattr(lane, side)
            setattr(lane, side, beside + number // 2 * 2 if beside >= 0 else -1)
    lanes[2].right_neighbour = lanes[3].left_neighbour = -1
    network = finish(RoadNetwork("made", lanes, junctions=[Junction("0")]), Problems())
    assert save_opendrive(network, tmp_path / "map.xodr") == []
    (found,) = connections(tmp_path / "map.xodr")
    assert len({road for _, road in found}) == len(found) == 2


def test_junctions_that_follow_each_other_have_connections(tmp_path):
    lanes = []
    for number in range(4):
        points = np.stack(
            [np.linspace(20.0 * number, 20.0 * number + 20.0, 8), np.zeros(8)], axis=1
        )
        lanes.append(lane_along(str(number), points, 3.5, successors=[number + 1][: number < 3]))
        lanes[-1].junction = (-1, 0, 1, -1)[number]
    junctions = [Junction("0"), Junction("1", rule="right_first")]
    network = finish(RoadNetwork("made", lanes, junctions=junctions), Problems())
    assert save_opendrive(network, tmp_path / "map.xodr") == []
    assert [len(found) for found in connections(tmp_path / "map.xodr")] == [1, 1]


def test_a_road_is_the_connecting_one_of_direct_junctions_once(tmp_path):
    """Where two lanes part from one and meet again, four pairs share the four roads."""

    lanes = []
    for number, (first, last, aside) in enumerate(
        [(0, 50, 0), (50, 99, 4), (50, 99, -4), (99, 150, 0)]
    ):
        x = np.linspace(first, last, 60)
        y = aside * np.sin(np.pi * (x - first) / (last - first)) ** 2
        lanes.append(lane_along(str(number), np.stack([x, y], axis=1), 3.5))
    lanes[0].successors, lanes[1].successors, lanes[2].successors = [1, 2], [3], [3]
    network = finish(RoadNetwork("made", lanes), Problems())
    found = save_opendrive(network, tmp_path / "map.xodr")
    assert found == ["2 direct junctions are there in addition: 0, 1"]
    roads = [road for junction in connections(tmp_path / "map.xodr") for _, road in junction]
    assert len(roads) == len(set(roads)) == 4


def test_ends_that_leave_nothing_of_a_lane_are_listed(tmp_path):
    network = finish(RoadNetwork("made", row((0, 40), (0.2, 40))), Problems())
    save_opendrive(network, tmp_path / "map.xodr")
    text = (tmp_path / "map.xodr").read_text()
    for ends in ("39 0 39 0 39 0", "0 0 0 0 45 0", "0 0 25 -25 0 0"):
        broken = re.sub(r'(code="selfdrive_env.ends" value=")[^"]*', rf"\g<1>{ends}", text)
        (tmp_path / "flawed.xodr").write_text(broken)
        again = load(tmp_path / "flawed.xodr")
        assert any("cut off by their own ends" in one for one in again.problems)
        assert min(lane.length for lane in again.lanes) > 39.0


def test_sections_with_many_cut_lanes_are_refused(tmp_path):
    network = finish(RoadNetwork("made", row((0, 40), (0.2, 40))), Problems())
    save_opendrive(network, tmp_path / "map.xodr")
    text = (tmp_path / "map.xodr").read_text()
    lanes = re.findall(r'<lane id="-\d+" type="driving">.*?</lane>', text, re.DOTALL)
    cut = next(lane for lane in lanes if "selfdrive_env.ends" in lane)
    many = "".join(re.sub(r'lane id="-\d+"', f'lane id="-{k}"', cut) for k in range(1, 2000))
    many = re.sub(r"<link>.*?</link>|<link ?/>", "", many, flags=re.DOTALL)
    start, end = text.index(lanes[0]), text.index(lanes[-1]) + len(lanes[-1])
    (tmp_path / "many.xodr").write_text(text[:start] + many + text[end:])
    with pytest.raises(MapError, match="needs more than 10000000 points"):
        load(tmp_path / "many.xodr")


@pytest.mark.parametrize("name", [*FILES, *(pytest.param(n, marks=pytest.mark.full) for n in LONG)])
def test_a_map_of_another_format_reads_back_the_same(name: str, shared_data: Path, tmp_path: Path):
    network = load(shared_data / name)
    found = save_opendrive(network, tmp_path / "map.xodr")
    driven = [one for one in found if " of other lanes " not in one]
    assert [one for one in driven if any(word in one for word in DIFFERENT)] == []
    assert len(load(tmp_path / "map.xodr").lanes) >= len(network.lanes)
