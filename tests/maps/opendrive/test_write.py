"""Networks written as OpenDRIVE and read back: all that a network says is still there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.maps import BUILT_IN, MapError, RoadNetwork, load, save_opendrive
from selfdrive_env.maps.network.differences import differences
from selfdrive_env.maps.network.finish import Problems, finish, lane_along
from selfdrive_env.maps.road_network import (
    TWO_WAY,
    Crosswalk,
    Junction,
    Lane,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.state.world import GREEN, RED, YELLOW

Written = Callable[[RoadNetwork], tuple[RoadNetwork, list[str]]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a network and reads it back; what differs but for junctions of merging lanes."""

    def write(network: RoadNetwork) -> tuple[RoadNetwork, list[str]]:
        found = save_opendrive(network, tmp_path / "map.xodr")
        added = "direct junctions are there in addition"
        return load(tmp_path / "map.xodr"), [one for one in found if added not in one]

    return write


def closed(*lanes: Lane, **fields: Any) -> RoadNetwork:
    return finish(RoadNetwork("made", list(lanes), **fields), Problems())


@pytest.mark.parametrize("town", BUILT_IN)
def test_a_town_reads_back_the_same(town, written):
    network = load(town)
    again, found = written(network)
    assert found == [] and again.problems == []
    assert again.driving_lane_km == pytest.approx(network.driving_lane_km, rel=1e-9)
    assert len(again.lanes) == len(network.lanes)


@pytest.mark.parametrize(
    "town,seed",
    [
        ("riverside", 1),
        pytest.param("hillcrest", 2, marks=pytest.mark.full),
        pytest.param("harbour", 3, marks=pytest.mark.full),
        pytest.param("riverside", 5, marks=pytest.mark.full),
    ],
)
def test_variants_of_a_town_read_back_the_same(town, seed, written):
    network = load(town).varied(seed)
    again, found = written(network)
    assert found == [] and again.left_hand == network.left_hand


def test_edges_with_few_points_beside_a_bent_centre_stay_where_they_are(written):
    """Chords of 2 m, which lie up to 2 cm from the bend; ends cut by 0.6 m."""
    radius, length = 25.0, 12.0
    along = np.linspace(0.0, length, 7)

    def at(stations: np.ndarray, aside: float) -> np.ndarray:
        angle = stations / radius
        x, y = (radius - aside) * np.sin(angle), radius - (radius - aside) * np.cos(angle)
        return np.stack([x, y, np.zeros_like(x)], axis=-1)

    sheared = 0.6 * (1.0 - 2.0 * along / length)
    lane = lane_along("a", at(along, 0.0), 3.0)
    lane.left, lane.right = at(along - sheared, 1.6), at(along + sheared, -1.6)
    assert written(closed(lane))[1] == []


def test_traffic_on_the_left_is_written_as_such(written, tmp_path):
    network = load("harbour").mirrored()
    again, found = written(network)
    assert found == [] and again.left_hand
    assert 'rule="LHT"' in (tmp_path / "map.xodr").read_text()


def test_mirrored_streets_without_a_centre_line_read_back_the_same(written, tmp_path):
    """Their middle is on the right of their lanes."""
    network = load("village:0")
    counts = []
    for one in (network, network.mirrored()):
        _, found = written(one)
        assert not any("mark" in sentence or "rule" in sentence for sentence in found)
        text = (tmp_path / "map.xodr").read_text()
        middle = '<lane id="0" type="none"><roadMark'
        counts.append(re.sub(r">\s+<", "><", text).count(middle))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    "name",
    [
        "Town01.xodr",
        *(pytest.param(n, marks=pytest.mark.full) for n in ("Town10HD.xodr", "Town03.xodr.gz")),
    ],
)
def test_a_real_map_reads_back_the_same(name, shared_data, written):
    network = load(shared_data / "opendrive/carla" / name)
    again, found = written(network)
    assert found == []
    assert np.abs(np.array(again.origin) - network.origin).max() < 0.01


def test_names_of_roads_and_lanes_stay_where_they_can(written):
    network = load("hillcrest")
    again, _ = written(network)
    names = {lane.name for lane in again.lanes}
    assert len(names & {lane.name for lane in network.lanes}) > 0.7 * len(network.lanes)


def test_heights_are_kept_all_along(written, tmp_path):
    network = load("hillcrest")
    again, _ = written(network)
    bridge = max(network.lanes, key=lambda lane: lane.centre[:, 2].max())
    found = min(
        again.lanes, key=lambda lane: float(np.abs(lane.centre[0] - bridge.centre[0]).sum())
    )
    heights = np.interp(bridge.arc_length, found.arc_length, found.centre[:, 2])
    assert bridge.centre[:, 2].max() > 6.0
    assert np.abs(heights - bridge.centre[:, 2]).max() < 0.01


def test_lanes_that_part_and_meet_outside_junctions_keep_their_links(written):
    def line(start, end):
        return np.linspace(start, end, 6)

    lanes = [
        lane_along("in", line((0, 0), (50, 0)), 3.5),
        lane_along("straight", line((50, 0), (100, 0)), 3.5),
        lane_along("aside", line((50, 0), (99, 12)), 3.5),
        lane_along("beyond", line((100, 0), (160, 0)), 3.5),
        lane_along("joining", line((52, -12), (100, 0)), 3.5),
    ]
    for lane, following in ((0, 1), (0, 2), (1, 3), (4, 3)):
        lanes[lane].successors.append(following)
    again, found = written(closed(*lanes))
    assert found == []
    assert [junction.kind for junction in again.junctions] == ["direct", "direct"]


def test_direct_junctions_of_a_map_are_used_for_lanes_that_part(shared_data, written):
    network = load(shared_data / "opendrive/asam_Ex_Entry_Exit.xodr")
    again, found = written(network)
    assert found == []
    assert sorted(j.name for j in again.junctions) == sorted(j.name for j in network.junctions)


def test_a_lane_in_both_directions_stays_one_surface(written):
    points = np.stack([np.linspace(0.0, 80.0, 9), 3.0 * np.sin(np.linspace(0.0, 3.0, 9))], axis=1)
    there = lane_along("there", points, 4.0, type=TWO_WAY)
    back = Lane("back", TWO_WAY, there.centre[::-1], there.right[::-1], there.left[::-1])
    again, found = written(closed(there, back))
    assert found == [] and len(again.lanes) == 2
    np.testing.assert_array_equal(again.lanes[0].centre, again.lanes[1].centre[::-1])


def test_opposite_lanes_of_any_format_become_one_road(written, tmp_path):
    angles = np.linspace(0.0, 1.5, 90)

    def arc(radius):
        return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    lanes = [
        lane_along("a", arc(60.0), 3.5),
        lane_along("b", arc(63.5), 3.5),
        lane_along("c", arc(56.5)[::-1], 3.5),
    ]
    lanes[0].right_neighbour = 1
    again, found = written(closed(*lanes))
    assert again.num_roads == 1
    assert found == []


def test_corners_and_oblique_ends_are_kept(written):
    # A polyline that turns by 15 degrees at once, and lanes cut 0.4 rad from square.
    bent = lane_along("bent", [(0, 0), (40, 0), (80, 11), (120, 11)], 3.5)
    slanted = lane_along("slanted", np.linspace((0, 60), (80, 60), 9), 3.5)
    slanted.left[:, 0] += 0.7
    slanted.right[:, 0] -= 0.7
    beside = replace(slanted, name="beside", successors=[], predecessors=[])
    beside.left, beside.right = slanted.right.copy(), slanted.right + np.array([-1.4, -3.5, 0.0])
    beside.centre = 0.5 * (beside.left + beside.right)
    slanted.right_neighbour = 2
    _, found = written(closed(bent, slanted, beside))
    assert found == []


def test_lanes_that_fit_no_common_section_become_roads_of_their_own(shared_data, written):
    """A side lane of this map would end metres off and lose its links."""
    network = load(shared_data / "commonroad" / "maps" / "DEU_Thiergarten-1.xml")
    again, found = written(network)
    assert not any("successors" in one or "predecessors" in one for one in found)
    assert len(again.lanes) == len(network.lanes)


def test_neighbours_that_were_sampled_otherwise_become_one_section(written):
    angles = np.linspace(0.0, 1.0, 31)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    inner, outer = lane_along("inner", 40.0 * ring, 3.0), lane_along("outer", 43.0 * ring, 3.0)
    inner.right_neighbour = 1
    fine = np.linspace(0.0, 1.0, 2 * len(angles) - 1)
    for side in ("centre", "left", "right"):
        line = getattr(outer, side)
        columns = [np.interp(fine, np.linspace(0.0, 1.0, len(line)), c) for c in line.T]
        setattr(outer, side, np.stack(columns, axis=1))
    again, found = written(closed(inner, outer))
    assert again.lanes[0].right_neighbour == 1
    assert all("end elsewhere" in one for one in found)  # each was cut square to itself


def crossing() -> RoadNetwork:
    """Two one-way streets that cross, each with a light, and a sign on the second one."""

    def line(start, end):
        return np.linspace(start, end, 8)

    lanes = [
        lane_along("west", line((-60, 0), (-10, 0)), 3.5, road="main street"),
        lane_along("through", line((-10, 0), (10, 0)), 3.5, junction=0, precedence=2),
        lane_along("east", line((10, 0), (60, 0)), 3.5, speed_limit=8.3),
        lane_along("south", line((0, -60), (0, -10)), 3.5),
        lane_along("across", line((0, -10), (0, 10)), 3.5, junction=0, precedence=-1),
        lane_along("north", line((0, 10), (0, 60)), 3.5),
    ]
    for lane, following in ((0, 1), (1, 2), (3, 4), (4, 5)):
        lanes[lane].successors.append(following)
    signals = [
        Signal("light <one>", "traffic_light", np.array([-11.0, -3.0, 2.0]), 0.0, [0], 0),
        Signal("light 2", "traffic_light", np.array([12.0, 14.0, 2.0]), np.pi / 2, [3], 1),
        Signal("give way", "yield_sign", np.array([3.0, -11.0, 2.0]), np.pi / 2, [3]),
    ]
    cycle = [(GREEN, 20.5), (YELLOW, 3.0), (RED, 31.25)]
    groups = [SignalGroup("one & only", [0], 0, cycle, 7.5), SignalGroup("2", [1], 0)]
    lines = []
    for signal, lane, place, heading in ((0, 0, 48.9, 0.0), (1, 3, 44.0, np.pi / 2)):
        s = lanes[lane].arc_length
        left, right = (
            np.array([np.interp(place, s, c) for c in side.T])
            for side in (lanes[lane].left, lanes[lane].right)
        )
        line_of = StopLine(left, right, left.copy(), right.copy(), heading, [(lane, place)])
        line_of.signal = signal
        lines.append(line_of)
    outline = np.array([[11.0, -2.0, 0.0], [14.0, -2.0, 0.0], [14.0, 2.0, 0.0], [11.0, 2.0, 0.1]])
    return closed(
        *lanes,
        junctions=[Junction("the crossing", signal_groups=[1, 0], rule="right_first")],
        signals=signals,
        signal_groups=groups,
        stop_lines=lines,
        crosswalks=[Crosswalk(outline)],
    )


def test_lights_signs_cycles_and_rules_read_back(written):
    network = crossing()
    again, found = written(network)
    assert found == []
    assert again.junctions[0] == network.junctions[0] or again.junctions[0].rule == "right_first"
    groups = {group.name: group for group in again.signal_groups}
    assert groups["one & only"].cycle == network.signal_groups[0].cycle
    assert groups["one & only"].offset == 7.5
    assert sorted(lane.precedence for lane in again.lanes) == [-1, 0, 0, 0, 0, 2]


def test_a_flawed_cycle_is_listed_and_left_out(tmp_path):
    path = tmp_path / "map.xodr"
    save_opendrive(crossing(), path)
    for flaw in ("green 20 purple 3", "green", "green -1", "green nan", ""):
        path.write_text(path.read_text().replace("green 20.5 yellow 3.0 red 31.25", flaw))
        again = load(path)
        assert not any(group.cycle for group in again.signal_groups)
        assert any("flawed records" in problem for problem in again.problems), flaw
        save_opendrive(crossing(), path)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    paths = [
        tmp_path / name for name in ("a.xodr", "b.xodr", "a.xodr.gz", "b.xodr.gz", "c.xodr.xz")
    ]
    for path in paths:
        save_opendrive(crossing(), path)
    texts = [path.read_bytes() for path in paths]
    assert texts[0] == texts[1] and texts[2] == texts[3]
    assert load(paths[0]).digest() == replace(load(paths[4]), name="a").digest()


def test_centres_marks_and_neighbours_of_overlapping_lanes_read_back(written, tmp_path):
    x = np.linspace(0.0, 60.0, 61)
    lanes = [lane_along(name, np.stack([x, y], axis=1), 3.5)
        for name, y in (("one", 3.5 + 0 * x), ("two", 0 * x))]  # fmt: skip
    lanes[0].centre[:, 1] += 0.2 * np.sin(np.pi * x / 60.0) ** 2
    lanes[0].right[:, 1] -= 0.3 * np.sin(np.pi * x / 60.0)
    lanes[0].right_neighbour, lanes[1].left_neighbour = 1, 0
    lanes[0].left_mark, lanes[1].right_mark = "none", "none"
    again, found = written(closed(*lanes))
    assert found == []
    assert [lane.left_mark for lane in again.lanes] == ["none", ""]
    assert [lane.right_mark for lane in again.lanes] == ["", "none"]
    text = (tmp_path / "map.xodr").read_text()
    assert text.count('<roadMark sOffset="0" type="none" color="standard" />') == 1
    flawed = {
        "selfdrive_env.centre": "1 2 3",
        "selfdrive_env.left_mark": "gold",
        "selfdrive_env.right_mark": "gold",
        "selfdrive_env.right_neighbour": "nowhere",
    }
    for code, value in flawed.items():
        broken = re.sub(f'code="{code}" value="[^"]*"', f'code="{code}" value="{value}"', text)
        assert broken != text
        (tmp_path / "flawed.xodr").write_text(broken)
        problems = load(tmp_path / "flawed.xodr").problems
        assert any("flawed records are left out" in one for one in problems), code


def test_one_way_of_changing_lanes_is_kept(written):
    lanes = [lane_along(name, [(0, y), (50, y)], 3.5) for name, y in (("one", 3.5), ("two", 0))]
    network = closed(*lanes)
    network.lanes[1].left_neighbour = 0
    again, found = written(network)
    assert found == []
    assert sorted((lane.left_neighbour, lane.right_neighbour) for lane in again.lanes) == [
        (-1, -1),
        (0, -1),
    ]


def test_lines_of_one_group_stay_apart_with_their_guards(written, tmp_path):
    network = crossing()
    lane = network.lanes[0]
    beside = replace(lane, name="beside", successors=[1], predecessors=[])
    shift = np.array([0.0, -3.5, 0.0])
    beside.centre, beside.left, beside.right = (
        p + shift for p in (lane.centre, lane.left, lane.right)
    )
    network.lanes.append(beside)
    network.lanes[1].predecessors.append(6)
    lane.right_neighbour, beside.left_neighbour = 6, 0
    network.signals.append(replace(network.signals[0], name="light 3", lanes=[6]))
    network.signal_groups[0].signals.append(3)
    line = network.stop_lines[0]
    line.guard_left = line.left + np.array([0.0, 2.5, 0.0])
    second = replace(line, lanes=[(6, line.lanes[0][1])], signal=3)
    second.left, second.right = line.left + shift, line.right + shift
    second.guard_left, second.guard_right = second.left.copy(), second.right.copy()
    network.stop_lines.append(second)
    again, found = written(network)
    assert found == [] and len(again.stop_lines) == 3
    path = tmp_path / "map.xodr"
    ends = r'(code="selfdrive_env.stop_line" value=")[^"]*'
    path.write_text(re.sub(ends, r"\g<1>1 2", path.read_text()))
    again = load(path)
    assert any("flawed records are left out" in one for one in again.problems)
    assert len(again.stop_lines) == 2


def test_groups_of_crossing_approaches_stay_whole(written):
    network = crossing()
    network.signals[1].group = 0
    network.signal_groups[0].signals.append(1)
    network.signal_groups.pop()
    network.junctions[0].signal_groups = [0]
    again, found = written(network)
    assert found == [] and len(again.signal_groups) == 1


def test_a_loop_at_a_dead_end_keeps_its_way_back(written):
    there = lane_along("there", [(0, -1.75), (60, -1.75)], 3.5)
    back = lane_along("back", [(60, 1.75), (0, 1.75)], 3.5)
    turn = np.linspace(-np.pi / 2.0, np.pi / 2.0, 25)
    start, end = (60.0, -1.75), (60.0, 1.75)
    bulb = np.stack([70.0 + 9.0 * np.cos(turn), 9.0 * np.sin(turn)], axis=1)
    loop = lane_along("loop", [start, (62.0, -3.0), *bulb, (62.0, 3.0), end], 3.5)
    there.successors, loop.successors = [2], [1]
    again, found = written(closed(there, back, loop))
    assert [one for one in found if "elsewhere" not in one] == []
    assert not any("link" in problem for problem in again.problems)


def test_an_edge_that_folds_back_does_not_lead_the_road_astray(written):
    x = np.linspace(0.0, 18.0, 19)
    lanes = [
        lane_along("in", np.stack([x, 0 * x], axis=1), 3.2),
        lane_along("out", np.stack([x + 18.0, 0 * x], axis=1), 3.2),
    ]
    lanes[0].left[-1, :2] += (-0.7, -0.9)
    lanes[0].successors = [1]
    again, found = written(closed(*lanes))
    assert [one for one in found if "elsewhere" not in one] == []
    np.testing.assert_allclose(again.lanes[0].centre[-2, 1], 0.0, atol=0.05)


def test_what_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(MapError, match=r"ends in \.xodr, \.xodr\.gz, \.xodr\.xz"):
        save_opendrive(crossing(), tmp_path / "map.xml")
    with pytest.raises(OSError, match="nowhere"):
        save_opendrive(crossing(), tmp_path / "nowhere" / "map.xodr")
    path = lane_along("path", [(0, 0), (9, 0)], 2.0, type="sidewalk")
    with pytest.raises(MapError, match="none of 1 lanes is drivable"):
        save_opendrive(RoadNetwork("paths", [path]), tmp_path / "map.xodr")
    broken = crossing()
    broken.lanes[0].successors.append(99)
    with pytest.raises(MapError, match="there are 6 lanes"):
        save_opendrive(broken, tmp_path / "map.xodr")
    assert not any(tmp_path.iterdir())


def test_what_differs_is_told():
    network, other = crossing(), crossing()
    names = {index: lane.name for index, lane in enumerate(network.lanes)}
    assert differences(network, other, names) == []
    other.lanes[0].left[2, 1] += 0.02
    other.lanes[1].precedence = 0
    other.lanes[2].speed_limit = 9.0
    other.lanes[3].successors.clear()
    other.lanes[4].type = "driving " if other.lanes[4].type != "driving" else "exit"
    other.signals[0].position[0] += 1.0
    other.signal_groups[1].offset = 1.0
    other.stop_lines.pop()
    other.crosswalks[0].outline[0, 0] += 0.1
    other.junctions[0].rule = ""
    told = " ".join(differences(network, other, names))
    for part in (
        *("lie elsewhere: west (left by 0.020 m)", "another precedence: through"),
        *("another speed limit: east", "other successors: south", "another type: across"),
        *("stand elsewhere or are turned: light <one>", "another cycle: light 2"),
        *("1 stop lines are missing", "1 crosswalks are missing", "another kind or rule"),
    ):
        assert part in told


@pytest.mark.parametrize("name", [*BUILT_IN, "crossing"])
def test_netconvert_accepts_the_file(name, tmp_path):
    program = shutil.which("netconvert")
    if program is None:
        pytest.skip("netconvert is not installed")
    network = crossing() if name == "crossing" else load(name)
    save_opendrive(network, tmp_path / "map.xodr")
    done = subprocess.run(
        [program, "--opendrive-files", "map.xodr", "-o", "map.net.xml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr


@pytest.mark.parametrize("name", [*BUILT_IN, "crossing"])
def test_the_quality_checker_of_asam_finds_nothing(name, tmp_path):
    if find_spec("qc_opendrive") is None:
        pytest.skip("asam-qc-opendrive is not installed")
    network = crossing() if name == "crossing" else load(name)
    save_opendrive(network, tmp_path / "map.xodr")
    (tmp_path / "config.xml").write_text(
        f'<Config><Param name="InputFile" value="{tmp_path}/map.xodr"/>'
        '<CheckerBundle application="xodrBundle"><Param name="resultFile" value="out.xqar"/>'
        "</CheckerBundle></Config>"
    )
    words = [sys.executable, "-m", "qc_opendrive.main", "-c", "config.xml"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    assert "<Issue " not in (tmp_path / "out.xqar").read_text()
