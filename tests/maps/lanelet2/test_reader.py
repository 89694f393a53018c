from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import MapError, load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.inspection import describe
from selfdrive_env.maps.lanelet2 import lanes as lanes_module
from selfdrive_env.maps.lanelet2 import parse
from selfdrive_env.maps.lanelet2.projection import project
from selfdrive_env.maps.lanelet2.reader import read_lanelet2
from selfdrive_env.maps.road_network import TWO_WAY, RoadNetwork
from tests.maps.lanelet2.osm import Map, crossing, straight


def by_name(network: RoadNetwork) -> dict[str, int]:
    return {lane.name: index for index, lane in enumerate(network.lanes)}


def two_lanes(line: dict[str, str] | None = None, **tags: str) -> Map:
    """Lanelet a above lanelet b, both eastward, and c, d behind them; a shares its right bound."""
    made = Map()
    for part, (x0, x1) in {"": (0, 50), "'": (50, 90)}.items():
        straight(made, f"top{part}", x0, x1, 3.5, type="line_thin", subtype="solid")
        straight(made, f"mid{part}", x0, x1, 0.0, **(line or {}))
        straight(made, f"low{part}", x0, x1, -3.5, type="road_border")
    made.lanelet("a", "top", "mid", **tags)
    made.lanelet("b", "mid", "low", **tags)
    made.lanelet("c", "top'", "mid'")
    made.lanelet("d", "mid'", "low'")
    return made


def one(tmp_path: Path, **tags: str) -> RoadNetwork:
    """A lanelet with tags beside a usual one."""
    made = Map()
    for name, y in (("p", 2.0), ("q", -2.0), ("r", 12.0), ("s", 8.0)):
        straight(made, name, 0.0, 40.0, y)
    made.lanelet("a", "p", "q", **tags)
    made.lanelet("usual", "r", "s")
    return made.read(tmp_path)


def test_lanelets_follow_and_neighbour_each_other(tmp_path: Path) -> None:
    network = two_lanes({"type": "line_thin", "subtype": "dashed"}).read(tmp_path)
    a, b, c, d = network.lanes
    assert [lane.name for lane in network.lanes] == ["a", "b", "c", "d"]
    assert (a.successors, b.successors) == ([2], [3])
    assert (c.predecessors, d.predecessors) == ([0], [1])
    assert (a.right_neighbour, b.left_neighbour) == (1, 0)
    assert (a.left_neighbour, b.right_neighbour) == (-1, -1)
    assert a.road == b.road != c.road == d.road
    assert network.num_roads == 2
    assert network.junctions == []
    assert network.problems == []
    assert network.driving_lane_km == pytest.approx(0.18)
    np.testing.assert_allclose(a.centre[0] + np.array(network.origin), [0.0, 1.75, 0.0])
    assert describe(network)["connectivity"] == 1.0


@pytest.mark.parametrize(
    ("line", "rightwards", "leftwards"),
    [
        ({}, False, False),
        ({"type": "line_thin", "subtype": "solid"}, False, False),
        ({"type": "line_thick", "subtype": "dashed"}, True, True),
        ({"type": "line_thin", "subtype": "dashed_solid"}, True, False),
        ({"type": "line_thin", "subtype": "solid_dashed"}, False, True),
        ({"type": "virtual", "subtype": "dashed"}, False, False),
        ({"type": "virtual", "lane_change": "yes"}, True, True),
        ({"type": "line_thin", "subtype": "dashed", "lane_change": "no"}, False, False),
        ({"lane_change:left": "yes", "lane_change:right": "no"}, False, True),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_lines_say_whether_one_may_change_lanes(
    tmp_path: Path, line: dict[str, str], rightwards: bool, leftwards: bool, turned: bool
) -> None:
    made = two_lanes(line)
    if turned:
        for name in ("mid", "mid'"):
            made.ways[name][0].reverse()
        rightwards, leftwards = leftwards, rightwards
    a, b, *_ = made.read(tmp_path).lanes
    assert (a.right_neighbour == 1, b.left_neighbour == 0) == (rightwards, leftwards)


def test_bounds_may_run_either_way(tmp_path: Path) -> None:
    """Lanelets against each other share a way, which runs against one of them."""
    made = Map()
    straight(made, "top", 0, 50, 3.5)
    straight(made, "mid", 0, 50, 0.0)
    straight(made, "low", 0, 50, -3.5)
    made.lanelet("east", "mid", "low")
    made.lanelet("west", "mid", "top")
    network = made.read(tmp_path)
    east, west = network.lanes
    assert east.centre[-1, 0] > east.centre[0, 0]
    assert west.centre[-1, 0] < west.centre[0, 0]
    assert not network.left_hand
    made.relations.clear()
    made.lanelet("east", "top", "mid")
    made.lanelet("west", "low", "mid")
    network = made.read(tmp_path)
    assert network.left_hand
    assert network.lanes[1].centre[-1, 0] < 0.0


def test_the_region_decides_where_no_lanelets_meet(tmp_path: Path) -> None:
    assert one(tmp_path, region="jp").left_hand
    assert not one(tmp_path, region="de").left_hand
    assert not one(tmp_path).left_hand


@pytest.mark.parametrize(
    ("tags", "type_"),
    [
        ({}, "driving"),
        ({"subtype": ""}, "driving"),
        ({"subtype": "highway"}, "driving"),
        ({"subtype": "play_street"}, "driving"),
        ({"subtype": "exit"}, "driving"),
        ({"subtype": "bus_lane"}, "bus"),
        ({"subtype": "bicycle_lane"}, "biking"),
        ({"subtype": "walkway"}, "sidewalk"),
        ({"subtype": "stairs"}, "sidewalk"),
        ({"subtype": "emergency_lane"}, "restricted"),
        ({"subtype": "road_shoulder"}, "shoulder"),
        ({"subtype": "parking"}, "parking"),
        ({"subtype": "rail"}, "rail"),
        ({"participant__vehicle": "yes"}, "driving"),
        ({"subtype": "bus_lane", "participant__vehicle__car": "yes"}, "driving"),
        ({"subtype": "walkway", "participant__vehicle": "yes"}, "driving"),
        ({"participant__vehicle": "yes", "participant__vehicle__car": "no"}, "restricted"),
        ({"participant__bicycle": "yes", "participant__pedestrian": "yes"}, "sidewalk"),
        ({"participant__bicycle": "yes"}, "biking"),
        ({"participant__vehicle__bus": "yes"}, "bus"),
        ({"participant__vehicle__taxi": "yes"}, "restricted"),
    ],
)
def test_subtype_and_participants_say_who_drives(
    tmp_path: Path, tags: dict[str, str], type_: str
) -> None:
    network = one(tmp_path, **tags)
    assert network.lanes[0].type == type_
    assert network.problems == []


def test_unknown_subtypes_are_listed(tmp_path: Path) -> None:
    network = one(tmp_path, subtype="runway")
    assert not network.lanes[0].drivable
    assert network.problems == [
        "1 lanelets are of no known subtype and are not driven on: a (runway)"
    ]


@pytest.mark.parametrize(
    ("tags", "speed"),
    [
        ({}, 50 / 3.6),
        ({"location": "nonurban"}, 100 / 3.6),
        ({"subtype": "highway"}, 130 / 3.6),
        ({"subtype": "play_street"}, 7 / 3.6),
        ({"speed_limit": "30"}, 30 / 3.6),
        ({"speed_limit": "30 km/h"}, 30 / 3.6),
        ({"speed_limit": "30kmh"}, 30 / 3.6),
        ({"speed_limit": "25 mph"}, 25 * 0.44704),
        ({"speed_limit": "8.5 m/s"}, 8.5),
        ({"speed_limit": "80", "speed_limit__vehicle": "60"}, 60 / 3.6),
    ],
)
def test_speed_limits_of_lanelets(tmp_path: Path, tags: dict[str, str], speed: float) -> None:
    network = one(tmp_path, **tags)
    assert network.lanes[0].speed_limit == pytest.approx(speed)
    assert network.problems == []


@pytest.mark.parametrize("text", ["fast", "-5", "0", "1e5", "50 knots", "nan", "50 60", "1_0"])
def test_speed_limits_that_are_none_are_listed(tmp_path: Path, text: str) -> None:
    network = one(tmp_path, speed_limit=text)
    assert network.lanes[0].speed_limit == pytest.approx(50 / 3.6)
    assert "1 speed limits of lanelets are none" in network.problems[0]


def test_lanelets_in_both_directions_are_two_lanes(tmp_path: Path) -> None:
    made = Map()
    for part, (x0, x1) in {"": (0, 50), "'": (50, 90)}.items():
        straight(made, f"top{part}", x0, x1, 2.0)
        straight(made, f"low{part}", x0, x1, -2.0)
        made.lanelet(f"a{part}", f"top{part}", f"low{part}", one_way="no")
    network = made.read(tmp_path)
    at = by_name(network)
    assert list(at) == ["a", "a/back", "a'", "a'/back"]
    assert {lane.type for lane in network.lanes} == {TWO_WAY}
    assert network.lanes[at["a"]].successors == [at["a'"]]
    assert network.lanes[at["a'/back"]].successors == [at["a/back"]]
    back = network.lanes[at["a/back"]]
    np.testing.assert_array_equal(back.centre, network.lanes[at["a"]].centre[::-1])
    assert back.left[0, 1] < 0.0
    assert network.junctions == []


def test_crosswalks_and_areas(tmp_path: Path) -> None:
    made = two_lanes()
    made.way("w1", [(20.0, -6.0), (20.0, 6.0)])
    made.way("w2", [(24.0, 6.0), (24.0, -6.0)])
    made.lanelet("walk", "w1", "w2", subtype="crosswalk")
    made.lanelet("flat", "w1", "w1", subtype="crosswalk")
    made.relation("area", [("way", "w1", "outer")], {"type": "multipolygon"})
    network = made.read(tmp_path)
    (crosswalk,) = network.crosswalks
    assert np.ptp(crosswalk.outline, axis=0).tolist() == [4.0, 12.0, 0.0]
    assert network.problems == [
        "1 crosswalks have no area and are left out: flat",
        "1 areas are left out; cars keep to lanelets: area",
    ]


def test_lanes_that_cross_and_fork_are_a_junction(tmp_path: Path) -> None:
    network = crossing(lights=False).read(tmp_path)
    at = by_name(network)
    (junction,) = network.junctions
    inferred = (
        f"1 junctions are where lanes lie over each other; the format names none: {junction.name}"
    )
    assert inferred in network.inferred and network.problems == []
    assert [network.lanes[i].name for i in junction.lanes] == ["2", "5", "7"]
    assert network.lanes[at["1"]].successors == [at["2"], at["7"]]
    assert network.lanes[at["6"]].predecessors == [at["5"], at["7"]]
    compile_map(network)


def test_heights_keep_levels_apart(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.relations = [r for r in made.relations if 'id="7"' not in r]
    for way in ("4l", "4r", "5l", "5r", "6l", "6r"):
        points = {node: point for point, node in made.nodes.items()}
        made.way(way, [(*points[node][:2], 6.0) for node in made.ways[way][0]])
    network = made.read(tmp_path)
    assert network.junctions == []
    assert network.lanes[by_name(network)["5"]].centre[0, 2] == 6.0


def test_degrees_are_projected_to_the_metres_of_utm(tmp_path: Path) -> None:
    """One degree of latitude at the equator is 110 574 m, of the meridian up to 45 degrees
    4 984 944.378 m (both WGS 84)."""
    middle = project(np.array([0.0, 1.0, 45.0]), np.full(3, 9.0), 32, False)
    np.testing.assert_allclose(middle[:, 0], 500_000.0, atol=1e-9)
    assert (middle[1, 1] - middle[0, 1]) / 0.9996 == pytest.approx(110_574.389, abs=1e-3)
    assert middle[2, 1] / 0.9996 == pytest.approx(4_984_944.378, abs=1e-3)
    south = project(np.array([-1.0]), np.array([9.0]), 32, True)
    assert south[0, 1] == pytest.approx(1e7 - middle[1, 1])
    made = Map()
    made.local = False
    made.way("l", [(48.0001, 9.0), (48.0001, 9.001)])
    made.way("r", [(48.0, 9.0), (48.0, 9.001)])
    made.lanelet("a", "l", "r")
    network = made.read(tmp_path)
    lane = network.lanes[0]
    # Radii of curvature of WGS 84 at 48 degrees, times the scale.
    assert lane.length == pytest.approx(np.radians(0.001) * 6_389_949.0 * 0.669126 * 0.9996, 1e-4)
    assert lane.width[0] == pytest.approx(np.radians(1e-4) * 6_370_795.0 * 0.9996, rel=1e-3)
    assert network.origin[0] == pytest.approx(500_000.0, abs=100.0)


def test_angles_and_lengths_agree_with_the_ellipsoid_over_ten_kilometres() -> None:
    """Along any direction the projection scales by one factor: it keeps angles."""
    latitude, longitude, d = 49.0, 8.4, 1e-4
    around = [(0.0, 0.0), (d, 0.0), (0.0, d)]
    p = project(np.array([latitude + a for a, _ in around]),
        np.array([longitude + b for _, b in around]), 32, False)  # fmt: skip
    sine = np.sin(np.radians(latitude))
    e2 = 1.0 - (1.0 - 1.0 / 298.257223563) ** 2
    across = 6_378_137.0 / np.sqrt(1.0 - e2 * sine**2)
    along = across * (1.0 - e2) / (1.0 - e2 * sine**2)
    north, east = p[1] - p[0], p[2] - p[0]
    scales = (
        np.hypot(*north) / (np.radians(d) * along),
        np.hypot(*east) / (np.radians(d) * across * np.cos(np.radians(latitude))),
    )
    assert scales[0] == pytest.approx(scales[1], rel=2e-6)
    assert north @ east / np.hypot(*north) / np.hypot(*east) == pytest.approx(0.0, abs=2e-6)


def test_the_antimeridian_does_not_cut_a_map(tmp_path: Path) -> None:
    made = Map()
    made.local = False
    made.way("l", [(10.0001, 179.9995), (10.0001, -179.9995)])
    made.way("r", [(10.0, 179.9995), (10.0, -179.9995)])
    made.lanelet("a", "l", "r")
    assert made.read(tmp_path).lanes[0].length == pytest.approx(109.6, abs=0.2)


def test_a_map_whose_y_points_south_is_mirrored(tmp_path: Path) -> None:
    made = Map()
    for k in range(12):
        straight(made, f"l{k}", 20 * k, 20 * k + 20, -2.0)
        straight(made, f"r{k}", 20 * k, 20 * k + 20, 2.0)
        made.lanelet(str(k), f"l{k}", f"r{k}")
    network = made.read(tmp_path)
    assert network.problems == ["1 maps are mirrored: y points south, as in CARLA: map"]
    assert all(lane.centre[-1, 0] > lane.centre[0, 0] for lane in network.lanes)
    assert network.lanes[0].left[0, 1] == 2.0
    made.relations = made.relations[:9]
    network = made.read(tmp_path)
    assert network.problems == []
    assert all(lane.centre[-1, 0] < lane.centre[0, 0] for lane in network.lanes)


@pytest.mark.parametrize(("suffix", "pack"), [(".osm", bytes), (".osm.gz", gzip.compress),
    (".osm.xz", lzma.compress), (".OSM", bytes)])  # fmt: skip
def test_files_may_be_packed(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"town{suffix}"
    path.write_bytes(pack(two_lanes().text().encode()))
    network = load(path)
    assert (network.name, len(network.lanes)) == ("town", 4)


def test_files_without_lanelets_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "city.osm"
    way = '<way id="1"><nd ref="2"/><tag k="highway" v="residential"/></way>'
    path.write_text(f'<osm><node id="2" lat="1" lon="1"/>{way}</osm>')
    with pytest.raises(MapError, match=r"city\.osm: an OpenStreetMap extract; no relation of 0"):
        read_lanelet2(path)
    path.write_text("<osm/>")
    with pytest.raises(MapError, match="no relation of 0 has type=lanelet"):
        read_lanelet2(path)
    path.write_text("<net/>")
    with pytest.raises(MapError, match="as of a SUMO network; only <osm> is allowed"):
        read_lanelet2(path)
    with pytest.raises(MapError, match=r"allowed endings: \.osm, \.osm\.gz, \.osm\.xz"):
        read_lanelet2(tmp_path / "city.xodr")
    with pytest.raises(FileNotFoundError):
        read_lanelet2(tmp_path / "none.osm")
    made = two_lanes()
    made.relations = [r.replace('"road"', '"walkway"') for r in made.relations]
    with pytest.raises(MapError, match="none of 4 lanes in 2 roads is drivable"):
        made.read(tmp_path)


def test_lanelets_with_flawed_bounds_are_left_out_and_listed(tmp_path: Path) -> None:
    made = two_lanes()
    made.way("short", [(0.0, 9.0)])
    made.way("still", [(0.0, 9.0), (0.0, 9.00001)])
    made.way("folded", [(0.0, 12.0), (30.0, 12.0), (20.0, 12.5), (50.0, 12.0)])
    made.way("cut", [(0.0, 8.0), (50.0, 8.0)])
    made.ways["cut"][0].insert(1, 777)
    made.lanelet("e", "top", "nowhere")
    made.lanelet("f", "top", "short")
    made.lanelet("g", "top", "still")
    made.lanelet("h", "folded", "cut")
    made.relation("i", [("way", "top", "left")], {"type": "lanelet"})
    network = made.read(tmp_path)
    assert [lane.name for lane in network.lanes] == ["a", "b", "c", "d", "h"]
    assert network.problems == [
        "1 lanelets have a bound that is not in the file, and are left out: e (way nowhere)",
        "1 lanelets have a bound of fewer than two nodes, and are left out: f (way short)",
        "1 bounds lack nodes that are not in the file or have no place: cut",
        "1 lanelets have not one left and one right bound, and are left out: i",
        "1 lanelets have no shape and are left out: g (right bound of lanelet 'g' has no two "
        "points apart from each other)",
        "1 lanelets for cars fold back or have bounds that cross: h",
    ]


def test_lanelets_that_are_far_too_wide_are_not_driven_on(tmp_path: Path) -> None:
    made = two_lanes()
    straight(made, "far", 0, 50, 90.0)
    made.lanelet("e", "far", "top")
    network = made.read(tmp_path)
    assert network.lanes[4].type == "restricted"
    assert network.problems == ["1 lanelets are wider than 60 m in places and are not driven on: e"]


def test_what_is_deleted_does_not_count_and_the_first_of_an_id_does(tmp_path: Path) -> None:
    made = two_lanes()
    made.relations.append(made.relations[0].replace('"road"', '"walkway"'))
    made.relations[3] = made.relations[3].replace("<relation", '<relation action="delete"')
    network = made.read(tmp_path)
    assert [(lane.name, lane.type) for lane in network.lanes] == [
        ("a", "driving"),
        ("b", "driving"),
        ("c", "driving"),
    ]
    assert network.problems == ["1 ids are used more than once; the first is taken: lanelet a"]


def test_nodes_without_a_place_are_left_out(tmp_path: Path) -> None:
    made = two_lanes()
    made.way("top", [(0.0, 3.5), (20.0, 3.5, 1e13), (50.0, 3.5)])
    text = made.text().replace('k="local_x" v="20.0"', 'k="local_x" v="nan"')
    (tmp_path / "map.osm").write_text(text)
    network = read_lanelet2(tmp_path / "map.osm")
    assert "1 nodes have no usable local_x and local_y, and are left out" in network.problems[1]
    assert "1 nodes have no usable height (ele), and get 0" in network.problems[0]
    text = made.text().replace("local_x", "x")
    (tmp_path / "map.osm").write_text(text)
    with pytest.raises(MapError, match="no bound of 4 lanelets has a node with lat"):
        read_lanelet2(tmp_path / "map.osm")


def test_far_nodes_are_left_out(tmp_path: Path) -> None:
    made = Map()
    made.local = False
    made.way("l", [(48.0001, 9.0), (48.0001, 9.0005), (48.0001, 9.001), (1.0, 100.0)])
    made.way("r", [(48.0, 9.0), (48.0, 9.0005), (48.0, 9.001)])
    made.lanelet("a", "l", "r")
    network = made.read(tmp_path)
    assert "1 nodes have no usable lat and lon near the others'" in network.problems[0]
    assert network.lanes[0].length < 100.0


def test_bounds_of_too_many_points_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "MAX_POINTS", 9)
    with pytest.raises(MapError, match=r"map\.osm: the lanelets up to c need more than 9 points"):
        two_lanes().read(tmp_path)


def test_too_many_ways_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "MAX_LINES", 3)
    with pytest.raises(MapError, match="<way> is one of more than 3 ways and regulatory"):
        two_lanes().read(tmp_path)
    monkeypatch.setattr(parse, "MAX_LINES", 99)
    monkeypatch.setattr(parse, "MAX_LANELETS", 2)
    with pytest.raises(MapError, match="<relation> comes after more than 2 lanelets"):
        two_lanes().read(tmp_path)
