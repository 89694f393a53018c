from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import MapError, load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.inspection import connectivity
from selfdrive_env.maps.sumo.contents import MAX_SHAPE
from selfdrive_env.maps.sumo.reader import read_sumo
from tests.maps.sumo.nets import (
    attributes,
    by_name,
    crossing,
    edge,
    follows,
    junction,
    lane,
    link,
    net,
    read,
    road,
)

EAST, NORTH = "0,0 100,0", "0,3.2 100,3.2"
"""Lane 0 and lane 1 of a road that runs to the east."""

ROAD = road("a", "A B", EAST, NORTH)


def test_a_road_of_two_lanes(tmp_path: Path) -> None:
    network = read(
        tmp_path, net(road("a", "A B", EAST, NORTH, each={1: {"width": 3.0, "speed": 9}}))
    )
    right, left = network.lanes
    assert (right.name, right.type, right.road, right.speed_limit) == ("a_0", "driving", "a", 13.89)
    assert left.speed_limit == 9.0
    assert network.name == "small" and network.num_roads == 1 and not network.left_hand
    assert right.left_neighbour == 1 and left.right_neighbour == 0
    assert right.right_neighbour == left.left_neighbour == -1
    # They overlap by 0.1 m, which is divided.
    assert right.width[0] == pytest.approx(3.25) and left.width[0] == pytest.approx(3.05)
    np.testing.assert_allclose(right.left, left.right, atol=1e-9)
    assert right.centre[0] + network.origin == pytest.approx([0.0, 0.0, 0.0])
    assert network.driving_lane_km == pytest.approx(0.2)


def test_left_hand_traffic(tmp_path: Path) -> None:
    network = read(tmp_path, net(road("a", "A B", NORTH, EAST), lefthand="true"))
    outer, inner = network.lanes
    assert network.left_hand
    assert outer.right_neighbour == 1 and inner.left_neighbour == 0
    np.testing.assert_allclose(outer.right, inner.left, atol=1e-9)


def test_packed_files_are_the_same(tmp_path: Path) -> None:
    text = crossing()
    plain = read(tmp_path, text)
    (tmp_path / "small.net.xml.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "small.net.xml.xz").write_bytes(lzma.compress(text.encode()))
    for ending in (".gz", ".xz"):
        assert load(tmp_path / f"small.net.xml{ending}") == plain


@pytest.mark.parametrize(
    ("allowed", "kind"),
    [
        ({}, "driving"),
        ({"allow": "all"}, "driving"),
        ({"allow": "bus passenger"}, "driving"),
        ({"disallow": "pedestrian tram rail"}, "driving"),
        ({"disallow": "passenger"}, "bus"),
        ({"allow": "bus"}, "bus"),
        ({"allow": "public_transport"}, "bus"),
        ({"allow": "taxi"}, "taxi"),
        ({"allow": "hov"}, "HOV"),
        ({"allow": "pedestrian bicycle"}, "biking"),
        ({"allow": "pedestrian"}, "sidewalk"),
        ({"allow": "tram"}, "tram"),
        ({"allow": "rail_electric rail"}, "rail"),
        ({"allow": "delivery"}, "restricted"),
        ({"disallow": "all"}, "restricted"),
    ],
)
def test_vehicle_classes(tmp_path: Path, allowed: dict[str, str], kind: str) -> None:
    network = read(tmp_path, net(road("a", "A B", EAST, NORTH, each={0: allowed})))
    assert by_name(network)["a_0"].type == kind
    drivable = kind == "driving"
    assert network.driving_lane_km == pytest.approx(0.2 if drivable else 0.1)
    assert (by_name(network)["a_1"].right_neighbour >= 0) == drivable


def test_edges_that_are_not_for_cars_are_left_out(tmp_path: Path) -> None:
    rail = road("r", "A B", "0,20 100,20", allow="rail")
    path = road("p", "A B", "0,30 100,30", allow="pedestrian")
    network = read(tmp_path, net(ROAD, rail, path, "<stop/><stop/><taz><stop/></taz>"))
    assert {one.road for one in network.lanes} == {"a"}
    assert network.problems == ["2 edges are not for cars and left out: r, p"]
    skipped = "2 kinds of elements are not read: <stop> (2), <taz> (1)"
    assert network.dropped == [*network.problems, skipped] and network.inferred == []


@pytest.mark.parametrize(
    ("inner", "outer", "beside", "listed"),
    [
        ("", "", True, False),
        ("passenger bus", "all", True, False),
        ("bus", "emergency", False, False),
        ("bus", "", True, True),
    ],
)
def test_lanes_that_one_may_not_change_to(
    tmp_path: Path, inner: str, outer: str, beside: bool, listed: bool
) -> None:
    each: dict[int, dict[str, object]] = {0: {"changeLeft": inner}, 1: {"changeRight": outer}}
    network = read(tmp_path, net(road("a", "A B", EAST, NORTH, each=each)))
    assert (network.lanes[0].left_neighbour == 1) == beside
    assert any("one way only" in one for one in network.problems) == listed


def test_heights_and_offset(tmp_path: Path) -> None:
    text = net(road("a", "A B", "0,0,5 50,0,6 100,0,5"), location="-500.00,20.00")
    network = read(tmp_path, text)
    np.testing.assert_allclose(network.lanes[0].centre[0] + network.origin, [500, -20, 5])
    assert network.lanes[0].centre[:, 2].max() == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize("internal", [True, False], ids=["internal", "version 0.13"])
def test_ways_through_a_crossing(tmp_path: Path, internal: bool) -> None:
    network = read(tmp_path, crossing(internal=internal))
    lanes = by_name(network)
    assert len(lanes) == 20 and len(network.junctions) == 1
    assert len(network.junctions[0].lanes) == 12
    assert connectivity(network) == 1.0
    for arm in "enws":
        for name in follows(network, f"{arm}_in_0"):
            way = lanes[name]
            before, after = lanes[f"{arm}_in_0"], network.lanes[way.successors[0]]
            np.testing.assert_allclose(way.centre[0], before.centre[-1])
            np.testing.assert_allclose(way.centre[-1], after.centre[0])
            np.testing.assert_allclose(way.left[0], before.left[-1], atol=1e-6)
            for one, other in ((before, way), (way, after)):
                a, b = one.centre[-1] - one.centre[-2], other.centre[1] - other.centre[0]
                assert a @ b / np.hypot(*a[:2]) / np.hypot(*b[:2]) > np.cos(np.radians(3.0))
    compiled = compile_map(network, lane_points=8, boundary_points=8)
    assert (compiled.lanes.max_curvature < 1.0 / 5.0).all()


def test_a_way_over_two_internal_lanes(tmp_path: Path) -> None:
    parts = [
        edge(":J_0", lane(":J_0_0", 0, "100,0 105,0"), function="internal"),
        edge(":J_1", lane(":J_1_0", 0, "105,0 110,2"), function="internal"),
        road("a", "A J", "0,0 100,0"),
        road("b", "J B", "110,2 200,2"),
        junction("J", "priority", "a_0", ":J_1_0"),
        junction(":J_1_0", "internal", "a_0"),
        link("a", "b", via=":J_0_0"),
        link(":J_0", "b", via=":J_1_0"),
        link(":J_1", "b"),
    ]
    network = read(tmp_path, net(*parts))
    assert follows(network, "a_0") == ["a_0 -> b_0"] and follows(network, "a_0 -> b_0") == ["b_0"]
    # Where a road only goes on there is no junction, and it is cut back to swing over.
    assert network.junctions == [] and by_name(network)["a_0 -> b_0"].length > 20.0


def test_tight_ways_back_are_left_out(tmp_path: Path) -> None:
    pair = [road("a", "A J", "0,-1.6 100,-1.6"), road("b", "J A", "100,1.6 0,1.6")]
    network = read(tmp_path, net(*pair, junction("J", "dead_end"), link("a", "b", dir="t")))
    assert follows(network, "a_0") == []
    assert network.problems == ["1 ways back are too tight for a car and left out: a_0 -> b_0"]
    pair = [road("a", "A J", "0,-9 100,-9"), road("b", "J A", "100,9 0,9")]
    network = read(tmp_path, net(*pair, junction("J", "dead_end"), link("a", "b", dir="t")))
    assert follows(network, "a_0") == ["a_0 -> b_0"]


def test_edges_without_length_are_led_through(tmp_path: Path) -> None:
    parts = [
        road("a", "A J", "0,0 100,0"),
        road("b", "J K", "100.2,0.1 100.1,0.3"),
        road("c", "K C", "100,0 200,0"),
        *(junction(name, "priority") for name in "JK"),
        link("a", "b"),
        link("b", "c"),
    ]
    network = read(tmp_path, net(*parts))
    assert set(by_name(network)) <= {"a_0", "a_0 -> c_0", "c_0"}
    assert network.driving_lane_km == pytest.approx(0.2, rel=0.01)
    assert all(np.ptp(one.centre[:, 1]) < 0.01 for one in network.lanes)


def test_edges_too_short_to_wait_on_join_junctions(tmp_path: Path) -> None:
    parts = [
        road("a", "A J", "0,0 100,0"),
        road("b", "J K", "110,0 116,0"),
        road("c", "K C", "126,0 200,0"),
        road("d", "D J", "105,90 105,5"),
        road("e", "E K", "121,90 121,5"),
        *(junction(name, "priority") for name in "JK"),
        *(link(*ends.split()) for ends in ("a b", "b c", "d b", "e c")),
    ]
    network = read(tmp_path, net(*parts))
    assert [one.name for one in network.junctions] == ["J + K"]
    assert by_name(network)["b_0"].junction == 0
    assert any("join the junctions" in one and one.endswith(": b") for one in network.problems)


def test_crossings_over_roads(tmp_path: Path) -> None:
    over = edge(
        ":J_c0", lane(":J_c0_0", 0, "3,-5 3,5", width=4), function="crossing", crossingEdges="a"
    )
    other = edge(
        ":J_c1", lane(":J_c1_0", 0, "9,-5 9,5", width=4), function="crossing", crossingEdges="r"
    )
    area = edge(":J_w0", lane(":J_w0_0", 0, "3,-5 3,5"), function="walkingarea")
    network = read(tmp_path, net(ROAD, road("r", "A B", EAST, allow="tram"), over, other, area))
    assert len(network.crosswalks) == 1
    outline = network.crosswalks[0].outline + network.origin
    np.testing.assert_allclose(outline[:, :2].min(axis=0), [1, -5], atol=1e-6)
    np.testing.assert_allclose(outline[:, :2].max(axis=0), [5, 5], atol=1e-6)


@pytest.mark.parametrize("turn", [1.0, -1.0], ids=["left", "right"])
def test_corners_are_rounded_about_one_centre(tmp_path: Path, turn: float) -> None:
    corners = [f"{100 - turn * d:g}" for d in (0.0, 3.2)]
    shapes = [
        f"0,{d:g} {x},{d:g} {x},{turn * 100:g}" for x, d in zip(corners, (0.0, 3.2), strict=True)
    ]
    network = read(tmp_path, net(road("a", "A B", *shapes)))
    outer, inner = network.lanes
    compiled = compile_map(network, lane_points=8, boundary_points=8)
    assert (compiled.lanes.max_curvature < 1.0 / 5.5).all()
    # No gap opens between the lanes.
    gaps = [np.hypot(*(inner.right - point)[:, :2].T).min() for point in outer.left]
    assert max(gaps[1:-1]) < 0.6
    for one in network.lanes:
        steps, ahead = np.diff(one.left, axis=0), np.diff(one.centre, axis=0)
        assert ((steps * ahead).sum(axis=1) > -1e-9).all()


def test_lanes_beside_each_other_through_a_junction(tmp_path: Path) -> None:
    text = net(
        road("a", "A J", EAST, NORTH),
        road("b", "J B", "110,0 200,0", "110,3.2 200,3.2"),
        road("c", "C J", "105,90 105,15"),
        junction("J", "priority"),
        link("a", "b"),
        link("a", "b", "1 1"),
        link("c", "b", "0 1"),
    )
    lanes = by_name(network := read(tmp_path, text))
    right, left = lanes["a_0 -> b_0"], lanes["a_1 -> b_1"]
    assert network.lanes[right.left_neighbour] is left
    assert network.lanes[left.right_neighbour] is right


def test_roundabouts_are_counted(tmp_path: Path) -> None:
    network = read(tmp_path, net(ROAD, '<roundabout nodes="A B" edges="a"/>'))
    assert network.problems == ["1 roundabouts are rings of roads with right of way: at A"]


BAD = {
    "no net": ("<routes><vehicle/></routes>", "as of a SUMO route file; only <net> is allowed"),
    "another root": ("<x/>", "only <net> is allowed in a SUMO network"),
    "nothing": ("", "not well-formed or truncated"),
    "truncated": (crossing()[:3000], "not well-formed or truncated"),
    "no edges": (net(), "none of 0 lanes"),
    "only rails": (net(road("r", "A B", EAST, allow="rail")), "none of 0 lanes.*not for cars.*: r"),
    "no shape": (net(edge("a", '<lane id="a_0" index="0" speed="9"/>')), "0 different points"),
    "one point": (net(road("a", "A B", "0,0 0,0")), "lane 'a_0' has 1 different points"),
    "no number": (net(road("a", "A B", "0,0 1,x")), "has the point '1,x'; x,y or x,y,z"),
    "four numbers": (net(road("a", "A B", "0,0 1,2,3,4")), "has the point '1,2,3,4'"),
    "not finite": (net(road("a", "A B", "0,0 nan,0")), "has the point 'nan,0'"),
    "too far": (net(road("a", "A B", "0,0 1e13,0")), "of finite numbers up to"),
    "no lanes": (net(edge("a")), "edge 'a' has no lane"),
    "no id": (net("<edge/>"), "attribute id is missing"),
    "no index": (net(edge("a", f'<lane id="a_0" shape="{EAST}"/>')), "attribute index is missing"),
    "an index twice": (net(edge("a", *[lane(n, 0, EAST) for n in "bc"])), "two lanes of index"),
    "an edge twice": (net(ROAD, ROAD), "id 'a' is used by an edge before it"),
    "a junction twice": (net(ROAD, *[junction("J", "priority")] * 2), "used by a junction before"),
    "too wide": (net(road("a", "A B", EAST, width=61)), r"width=61 of lane 'a_0' is not in"),
    "no width": (net(road("a", "A B", EAST, width="x")), "width='x' is not a finite number"),
    "no lane number": (net(ROAD, link("a", "a", "x 0")), "fromLane='x' is not an integer"),
    "no request": (
        net(ROAD, junction("J", "priority", inner="<request index='x'/>")),
        "index='x' is not an integer",
    ),
    "a long shape": (net(road("a", "A B", "0,0 " * (MAX_SHAPE + 1))), "at most 10000 are allowed"),
    "doctype": ("<!DOCTYPE net><net/>", "document type"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MapError, match=message) as caught:
        read(tmp_path, text)
    assert "small.net.xml" in str(caught.value)


FLAWED = {
    "classes": (road("b", "A B", "0,9 99,9", allow="passenger gnome"), "1 vehicle classes are unk"),
    "function": (edge("b", lane("b_0", 0, EAST), function="dream"), "unknown function.*: edge b"),
    "speed": (road("b", "A B", "0,9 99,9", speed=0), "no speed limit above 0"),
    "nowhere": (link("a", "b"), "1 connections name a lane that does not exist: a_0 -> b"),
    "no lane": (link("a", "a", "7 0"), "name a lane that does not exist: a_7 -> a"),
    "opposite": (
        edge("b", '<lane id="b_0" index="0" speed="9" shape="0,9 99,9"><neigh lane="c"/></lane>'),
        "overtaken on against the traffic",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("part", "message"), FLAWED.values(), ids=list(FLAWED))
def test_what_is_flawed_is_listed(tmp_path: Path, part: str, message: str) -> None:
    from re import search

    network = read(tmp_path, net(ROAD, part))
    assert any(search(message, one) for one in network.problems), network.problems


def test_other_endings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.xml"
    path.write_text(net(ROAD))
    with pytest.raises(MapError, match=r"allowed endings: \.net\.xml, "):
        read_sumo(path)
    with pytest.raises(FileNotFoundError):
        read_sumo(tmp_path / "none.net.xml")


def test_attributes_are_written(tmp_path: Path) -> None:
    assert attributes(from_="A", width=2) == ' from="A" width="2"'
