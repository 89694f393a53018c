from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.maps import MapError, load
from selfdrive_env.maps.commonroad.reader import read_commonroad
from selfdrive_env.maps.inspection import describe
from tests.maps.commonroad.files import (
    arm,
    beside,
    crossing,
    document,
    lanelet,
    point,
    read,
    refs,
    street,
    values,
)

ROAD = (
    street("1", 0.0, 50.0, before="2", inner=beside("Left", "3", "opposite")),
    street("2", 50.0, 100.0, after="1"),
    street("3", 50.0, 0.0, 8.0, inner=beside("Left", "1", "opposite")),
)


def test_lanelets_become_lanes_with_their_links(tmp_path: Path) -> None:
    network = read(tmp_path, *ROAD)
    assert network.name == "map"
    assert [lane.name for lane in network.lanes] == ["1", "2", "3"]
    first, second, oncoming = network.lanes
    assert first.successors == [1] and second.predecessors == [0] and not oncoming.successors
    np.testing.assert_allclose(first.width, 4.0)
    np.testing.assert_allclose(first.centre[[0, -1], :2], [[-50.0, -2.0], [0.0, -2.0]])
    np.testing.assert_allclose(network.origin, [50.0, 4.0, 0.0])
    np.testing.assert_allclose(oncoming.centre[[0, -1], 0], [0.0, -50.0])
    assert network.driving_lane_km == pytest.approx(0.15)
    assert not network.left_hand
    assert network.problems == []


@pytest.mark.parametrize("ending", [".xml", ".xml.gz", ".xml.xz", ".XML"])
def test_files_may_be_packed(tmp_path: Path, ending: str) -> None:
    content = document(*ROAD).encode()
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(ending[4:], bytes)
    (tmp_path / f"town{ending}").write_bytes(pack(content))
    assert load(tmp_path / f"town{ending}").name == "town"


def test_heights_are_kept(tmp_path: Path) -> None:
    left, right = [(0, 4, 1), (50, 4, 3)], [(0, 0, 1), (50, 0, 3)]
    network = read(tmp_path, lanelet("1", left, right))
    np.testing.assert_allclose(network.lanes[0].centre[[0, -1], 2], [1.0, 3.0])


def test_traffic_on_the_left_is_seen_by_the_side_of_oncoming_lanes(tmp_path: Path) -> None:
    network = read(
        tmp_path,
        street("1", 0.0, 50.0, inner=beside("Right", "2", "opposite")),
        street("2", 50.0, 0.0, 0.0, inner=beside("Right", "1", "opposite")),
    )
    assert network.left_hand


@pytest.mark.parametrize(("place", "left"), [("GBR_A-1", True), ("FRA_A-1", False), ("", False)])
def test_the_country_tells_the_side_where_no_lane_does(
    tmp_path: Path, place: str, left: bool
) -> None:
    assert read(tmp_path, street("1", 0.0, 50.0), place=place).left_hand == left


def test_neighbours_are_those_in_the_same_direction(tmp_path: Path) -> None:
    network = read(
        tmp_path,
        street("1", 0.0, 50.0, inner=beside("Left", "2")),
        street("2", 0.0, 50.0, 4.0, inner=beside("Right", "1") + beside("Left", "3", "opposite")),
        street("3", 50.0, 0.0, 12.0, inner=beside("Left", "2", "opposite")),
    )
    one, two, three = network.lanes
    assert (one.left_neighbour, two.right_neighbour, two.left_neighbour) == (1, 0, -1)
    assert three.left_neighbour == three.right_neighbour == -1
    assert one.road == two.road != three.road


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("urban", "driving"),
        ("unknown", "driving"),
        ("interstate mainCarriageWay", "driving"),
        ("accessRamp", "driving"),
        ("driveWay", "driving"),
        ("urban sidewalk", "sidewalk"),
        ("bicycleLane", "biking"),
        ("busLane", "bus"),
        ("highway shoulder", "shoulder"),
        ("parking", "parking"),
        ("border", "border"),
        ("restricted_area", "restricted"),
    ],
)
def test_types_of_lanelets(tmp_path: Path, kinds: str, expected: str) -> None:
    network = read(tmp_path, street("1", 0.0, 50.0, kinds=kinds), street("2", 0.0, 50.0, 9.0))
    assert network.lanes[0].type == expected
    assert network.lanes[0].drivable == (expected == "driving")


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ("", "driving"),
        ("vehicle", "driving"),
        ("car bicycle", "driving"),
        ("bus taxi", "restricted"),
        ("bicycle", "biking"),
        ("pedestrian", "sidewalk"),
    ],
)
def test_users_of_lanelets(tmp_path: Path, users: str, expected: str) -> None:
    own = street("1", 0.0, 50.0, inner=values("userOneWay", users))
    network = read(tmp_path, own, street("2", 0.0, 50.0, 9.0))
    assert network.lanes[0].type == expected


def test_a_lanelet_for_both_directions_is_two_lanes(tmp_path: Path) -> None:
    """It opens into two lanes to the east, and is followed by another such one to the west."""
    both = values("userBidirectional", "car bicycle")
    network = read(
        tmp_path,
        street("1", 0.0, 50.0, before="2", inner=both),
        street("2", 50.0, 100.0, after="1", before="3", inner=both),
        street("3", 100.0, 150.0, -1.0, after="2", inner=beside("Left", "4", "opposite")),
        street("4", 150.0, 100.0, 7.0, inner=beside("Left", "3", "opposite")),
    )
    name = {lane.name: i for i, lane in enumerate(network.lanes)}
    assert list(name) == ["1", "2", "3", "4", "1/back", "2/back"]
    lanes = network.lanes
    assert [lanes[name[n]].type for n in ("1", "1/back", "3")] == [
        *["bidirectional"] * 2,
        "driving",
    ]
    assert lanes[name["2/back"]].successors == [name["1/back"]]
    assert lanes[name["4"]].successors == [name["2/back"]]
    assert lanes[name["2"]].successors == [name["3"]]
    np.testing.assert_array_equal(lanes[name["1/back"]].left, lanes[name["1"]].right[::-1])
    assert network.driving_lane_km == pytest.approx(0.2)


def test_a_crosswalk_has_the_corners_of_its_lanelet(tmp_path: Path) -> None:
    left = [(25.0, -1.0), (25.0, 2.0), (25.0, 5.0)]
    right = [(x + 3.0, y) for x, y in left]
    network = read(tmp_path, *ROAD, lanelet("9", left, right, kinds="crosswalk"))
    assert [lane.name for lane in network.lanes] == ["1", "2", "3"]
    outline = network.crosswalks[0].outline[:, :2] + network.origin[:2]
    assert {tuple(p) for p in outline} == {(25, -1), (25, 5), (28, 5), (28, -1)}


def test_crossings_of_an_intersection_are_crosswalks(tmp_path: Path) -> None:
    walk = lanelet("9", [(-9, -5), (-9, 5)], [(-7, -5), (-7, 5)], kinds="sidewalk")
    over = refs("crossingLanelet", "9")
    more = (
        f'<intersection id="7">{arm("1", straight="2")}<crossing>{over}</crossing></intersection>'
    )
    network = read(tmp_path, *crossing(intersection=False), walk, more)
    assert len(network.crosswalks) == 1


def test_intersections_are_junctions(tmp_path: Path) -> None:
    network = read(tmp_path, *crossing())
    assert [j.name for j in network.junctions] == ["8"]
    assert [network.lanes[i].name for i in network.junctions[0].lanes] == ["2", "5"]
    assert [lane.junction for lane in network.lanes] == [-1, 0, -1, -1, 0, -1]
    assert network.problems == []


def test_junctions_that_the_file_does_not_name_are_inferred(tmp_path: Path) -> None:
    network = read(tmp_path, *crossing(intersection=False))
    assert [network.lanes[i].name for i in network.junctions[0].lanes] == ["2", "5"]
    assert "1 junctions are inferred" in network.problems[0]
    assert network.inferred[-1] == network.problems[0]
    assert network.dropped == ["1 kinds of elements are not read: <lineMarking> (12)"]


def test_bounds_with_unlike_numbers_of_points_are_matched(tmp_path: Path) -> None:
    left = [(0.0, 4.0), (10.0, 4.0), (37.0, 4.0), (50.0, 4.0)]
    network = read(tmp_path, lanelet("1", left, [(0.0, 0.0), (50.0, 0.0)]))
    np.testing.assert_allclose(network.lanes[0].width, 4.0)
    assert "1 lanelets have bounds of unequal numbers of points" in network.problems[0]


def test_bounds_on_the_wrong_side_are_exchanged(tmp_path: Path) -> None:
    network = read(tmp_path, lanelet("1", [(0, 0), (50, 0)], [(0, 4), (50, 4)]))
    assert network.lanes[0].centre[0, 0] < network.lanes[0].centre[-1, 0]
    assert network.lanes[0].left[0, 1] > network.lanes[0].right[0, 1]
    assert "left bound on the right" in network.problems[0]


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (lanelet("9", [(0, 4)], [(0, 0), (9, 0)]), "a bound of less than two points"),
        ('<lanelet id="9"/>', "a bound of less than two points"),
        (lanelet("9", [(5, 5), (5, 5)], [(5, 5), (5, 5)]), "bounds without a length"),
        (street("1", 0.0, 9.0, 90.0), "an id used before by one of their kind"),
        (street("9", 0.0, 50.0, 90.0, before="77"), "lanelets that do not exist: 9 -> 77"),
        (street("9", 0.0, 50.0, 90.0, inner=beside("Left", "78")), "do not exist: 9 -> 78"),
        (street("9", 0.0, 50.0, 90.0, before="1"), "lead elsewhere than their lanes"),
        (street("9", 0.0, 50.0, 90.0, inner=beside("Left", "1")), "are no neighbours"),
        (
            lanelet("9", [(0, 91), (50, 91)], [(0, 90), (50, 90)]),
            "nowhere 1.5 m wide and are not driven on: 9",
        ),
        (
            street("9", 0, 50, 90, inner=refs("trafficSignRef", "5")),
            "signs that do not exist: 9 -> 5",
        ),
        (street("9", 0, 50, 90, inner=refs("trafficLightRef", "5")), "lights that do not exist"),
        (f'<intersection id="9">{arm("1", left="79")}</intersection>', "do not exist: 9 -> 79"),
        ('<intersection id="9"/>', "no lanes of their own"),
    ],
)
def test_what_is_flawed_is_listed(tmp_path: Path, part: str, problem: str) -> None:
    network = read(tmp_path, *ROAD, part)
    assert any(problem in sentence for sentence in network.problems), network.problems
    network.check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<CommonRoadSolution/>", "as of a CommonRoad solution; only <commonRoad> is allowed"),
        ("<routes/>", "as of a SUMO route file"),
        ("<html/>", "the root element is <html>; only <commonRoad>"),
        ("<commonRoad/>", "commonRoadVersion is ''; only 2018b and 2020a are read"),
        (document(*ROAD, version="2017a"), "map.xml: commonRoadVersion is '2017a'"),
        (document(), "none of 0 lanes in 0 roads is drivable"),
        (document(street("1", 0, 50, kinds="sidewalk")), "none of 1 lanes"),
        (document(street("1", 0, 50)).replace("50", "x"), "<x> is 'x'; a number up to 1e"),
        (document(street("1", 0, 50)).replace("50", "nan"), "<x> is 'nan'"),
        (document(street("1", 0, 50)).replace("<y>0.0</y>", ""), "<point> has no x or no y"),
        (document(street("1", 0, 50), step="fast"), "timeStepSize='fast' is not a finite number"),
        (document(*ROAD)[:-30], "not well-formed or truncated XML"),
    ],
)
def test_what_cannot_be_used_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "map.xml").write_text(text)
    with pytest.raises(MapError) as caught:
        read_commonroad(tmp_path / "map.xml")
    assert message in str(caught.value)
    assert "map.xml" in str(caught.value)


def test_other_files_are_told_apart_by_their_ending(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="not the name of a CommonRoad file"):
        read_commonroad(tmp_path / "map.xodr")
    with pytest.raises(FileNotFoundError):
        read_commonroad(tmp_path / "map.xml")


def test_obstacles_and_planning_problems_are_passed_over(tmp_path: Path) -> None:
    place = f'<position><lanelet ref="1"/>{point((1, 2))}</position>'
    other = f'<dynamicObstacle id="40"><initialState>{place}</initialState></dynamicObstacle>'
    problem = f'<planningProblem id="50"><goalState>{place}</goalState></planningProblem>'
    network = read(tmp_path, *ROAD, other, problem)
    assert len(network.lanes) == 3 and network.problems == []


def test_one_drives_on_it(tmp_path: Path) -> None:
    (tmp_path / "map.xml").write_text(document(*crossing()))
    network = load(tmp_path / "map.xml")
    assert describe(network)["connectivity"] == 1.0
    envs = gym.make_vec(
        "selfdrive_env/Drive-v0", num_envs=2, map=str(tmp_path / "map.xml"), agents_per_world=3
    )
    observations, _ = envs.reset(seed=0)
    for _ in range(5):
        observations, *_ = envs.step(envs.action_space.sample())
    assert np.isfinite(observations).all()
    envs.close()
