from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdrive_env.maps.inspection import connectivity
from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.road_network import DEFAULT_SPEED_LIMIT, Lane, MapError, RoadNetwork

LINE = '<geometry s="0" x="{x}" y="{y}" hdg="{hdg}" length="{length}"><line/></geometry>'


def lane(number: int, kind: str = "driving", width: float | str = 3.5, inner: str = "") -> str:
    if not isinstance(width, str):
        width = f'<width sOffset="0" a="{width}" b="0" c="0" d="0"/>'
    attribute = f'type="{kind}"' if kind else ""
    return f'<lane id="{number}" {attribute}>{inner}{width}</lane>'


def section(s: float, left: str = "", right: str = "") -> str:
    return (
        f'<laneSection s="{s}"><left>{left}</left><center><lane id="0"/></center>'
        f"<right>{right}</right></laneSection>"
    )


def road(
    name: str = "1",
    length: float = 100.0,
    *,
    x: float = 0.0,
    y: float = 0.0,
    hdg: float = 0.0,
    geometry: str | None = None,
    left: str = "",
    right: str = "",
    sections: str = "",
    links: str = "",
    junction: str = "-1",
    head: str = "",
    tail: str = "",
    offset: str = "",
    attributes: str = "",
) -> str:
    if geometry is None:
        geometry = LINE.format(x=x, y=y, hdg=hdg, length=length)
    if not left and not right:
        right = lane(-1)
    return (
        f'<road id="{name}" length="{length}" junction="{junction}" {attributes}>'
        f"<link>{links}</link>{head}<planView>{geometry}</planView>"
        f"<lanes>{offset}{sections or section(0, left, right)}</lanes>{tail}</road>"
    )


def document(*parts: str) -> str:
    return f'<?xml version="1.0"?><OpenDRIVE><header/>{"".join(parts)}</OpenDRIVE>'


def read(folder: Path, *parts: str) -> RoadNetwork:
    path = folder / "map.xodr"
    path.write_text(document(*parts))
    return read_opendrive(path)


def by_name(network: RoadNetwork) -> dict[str, Lane]:
    return {entry.name: entry for entry in network.lanes}


def successors(network: RoadNetwork, name: str) -> set[str]:
    return {network.lanes[i].name for i in by_name(network)[name].successors}


def in_file(network: RoadNetwork, points: np.ndarray) -> np.ndarray:
    return points + np.array(network.origin)


def test_right_hand_lanes_run_along_the_road_and_left_ones_against(tmp_path: Path) -> None:
    network = read(tmp_path, road(left=lane(1), right=lane(-1)))
    forward, backward = by_name(network)["1/0/-1"], by_name(network)["1/0/1"]
    np.testing.assert_allclose(in_file(network, forward.centre)[[0, -1], 0], [0.0, 100.0])
    np.testing.assert_allclose(in_file(network, backward.centre)[[0, -1], 0], [100.0, 0.0])
    np.testing.assert_allclose(in_file(network, forward.left)[:, 1], 0.0, atol=1e-9)
    np.testing.assert_allclose(in_file(network, forward.right)[:, 1], -3.5)
    np.testing.assert_allclose(in_file(network, backward.left)[:, 1], 0.0, atol=1e-9)
    np.testing.assert_allclose(in_file(network, backward.right)[:, 1], 3.5)
    assert not network.left_hand
    assert network.driving_lane_km == pytest.approx(0.2)
    assert network.origin == pytest.approx((50.0, 0.0, 0.0))


def test_left_hand_rule_turns_the_lanes_round(tmp_path: Path) -> None:
    network = read(tmp_path, road(left=lane(1), right=lane(-1), attributes='rule="LHT"'))
    assert network.left_hand
    entry = by_name(network)["1/0/1"]
    np.testing.assert_allclose(in_file(network, entry.centre)[[0, -1], 0], [0.0, 100.0])
    np.testing.assert_allclose(in_file(network, entry.left)[:, 1], 3.5)


def test_points_are_dense_on_curves_and_sparse_on_straights(tmp_path: Path) -> None:
    radius, length = 50.0, 50.0 * np.pi
    arc = LINE.format(x=0, y=0, hdg=0, length=length).replace(
        "<line/>", f'<arc curvature="{1 / radius}"/>'
    )
    network = read(tmp_path, road(length=length, geometry=arc), road("2", 100.0, y=500.0))
    curved, straight = by_name(network)["1/0/-1"], by_name(network)["2/0/-1"]
    middle = in_file(network, curved.right)[:, :2] - [0.0, radius]
    np.testing.assert_allclose(np.hypot(*middle.T), radius + 3.5)
    half = 0.5 * (middle[1:] + middle[:-1])
    assert np.abs(np.hypot(*half.T) - radius - 3.5).max() < 0.01
    assert np.diff(curved.arc_length).max() < 1.1
    assert len(straight.centre) == 21
    assert curved.length == pytest.approx((radius + 1.75) * np.pi, rel=1e-3)


def test_lane_offset_widths_borders_and_elevation(tmp_path: Path) -> None:
    offset = '<laneOffset s="0" a="1" b="0" c="0" d="0"/>'
    widening = '<width sOffset="0" a="3" b="0" c="0" d="0"/>'
    widening += '<width sOffset="50" a="3" b="0.02" c="0" d="0"/>'
    head = '<elevationProfile><elevation s="0" a="5" b="0.1" c="0" d="0"/></elevationProfile>'
    network = read(tmp_path, road(right=lane(-1, width=widening), offset=offset, head=head))
    entry = by_name(network)["1/0/-1"]
    assert entry.width[0] == pytest.approx(3.0)
    assert entry.width[-1] == pytest.approx(4.0)
    assert in_file(network, entry.left)[0, 1] == pytest.approx(1.0)
    np.testing.assert_allclose(entry.centre[[0, -1], 2], [5.0, 15.0])
    border = '<border sOffset="0" a="-{}" b="0" c="0" d="0"/>'
    right = lane(-1, width=border.format(3)) + lane(-2, width=border.format(7))
    network = read(tmp_path, road(right=right))
    assert by_name(network)["1/0/-2"].width[0] == pytest.approx(4.0)


def test_great_heights_are_moved_to_zero(tmp_path: Path) -> None:
    head = '<elevationProfile><elevation s="0" a="2000" b="0" c="0" d="0"/></elevationProfile>'
    network = read(tmp_path, road(head=head))
    assert network.origin[2] == pytest.approx(2000.0)
    assert np.abs(network.lanes[0].centre[:, 2]).max() < 1e-9


def test_neighbours_share_section_and_direction(tmp_path: Path) -> None:
    right = lane(-1) + lane(-2) + lane(-3, "sidewalk")
    network = read(tmp_path, road(left=lane(1), right=right))
    names = by_name(network)
    inner, outer = names["1/0/-1"], names["1/0/-2"]
    assert network.lanes[inner.right_neighbour] is outer
    assert network.lanes[outer.left_neighbour] is inner
    assert inner.left_neighbour == outer.right_neighbour == -1
    assert names["1/0/1"].left_neighbour == -1


def test_links_lead_over_sections_and_roads_both_ways(tmp_path: Path) -> None:
    after = '<link><successor id="{}"/></link>'
    both = '<link><predecessor id="{}"/><successor id="{}"/></link>'
    sections = section(0, lane(1, inner=after.format(1)), lane(-1, inner=after.format(-1)))
    sections += section(40, lane(1, inner=both.format(1, -1)), lane(-1, inner=both.format(-1, 1)))
    first = road(
        "1",
        sections=sections,
        links='<successor elementType="road" elementId="2" contactPoint="end"/>',
    )
    turned = road(
        "2",
        50.0,
        x=150.0,
        hdg=np.pi,
        left=lane(1, inner=after.format(-1)),
        right=lane(-1, inner=after.format(1)),
        links='<successor elementType="road" elementId="1" contactPoint="end"/>',
    )
    network = read(tmp_path, first, turned)
    assert successors(network, "1/0/-1") == {"1/1/-1"}
    assert successors(network, "1/1/-1") == {"2/0/1"}
    assert successors(network, "2/0/-1") == {"1/1/1"}
    assert successors(network, "1/1/1") == {"1/0/1"}
    assert network.problems == []
    for index, entry in enumerate(network.lanes):
        assert all(index in network.lanes[i].predecessors for i in entry.successors)


def crossing(*, signals: str = "", approach: str = "", top: str = "", controllers: str = "") -> str:
    """Returns a road from the west and one from the south through junction 9 to the east."""
    to = '<successor elementType="junction" elementId="9"/>'
    arc = LINE.format(x=100, y=-20, hdg=np.pi / 2, length=10 * np.pi).replace(
        "<line/>", '<arc curvature="-0.05"/>'
    )
    roads = [
        road("1", left=lane(1), right=lane(-1) + lane(-2), links=to, tail=approach),
        road("2", 80.0, x=100.0, y=-100.0, hdg=np.pi / 2, links=to, left=lane(1), right=lane(-1)),
        road("3", 50.0, x=120.0, right=lane(-1) + lane(-2)),
        road(
            "4",
            20.0,
            x=100.0,
            right=lane(-1) + lane(-2),
            junction="9",
            links='<predecessor elementType="road" elementId="1" contactPoint="end"/>'
            '<successor elementType="road" elementId="3" contactPoint="start"/>',
            tail=signals,
        ),
        road("5", 10 * np.pi, geometry=arc, right=lane(-1), junction="9", tail=top),
    ]
    junction = (
        '<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="4" '
        'contactPoint="start"><laneLink from="-1" to="-1"/><laneLink from="-2" to="-2"/>'
        '</connection><connection id="1" incomingRoad="2" connectingRoad="5" '
        f'contactPoint="start"><laneLink from="-1" to="-1"/></connection>{controllers}</junction>'
    )
    return "".join(roads) + junction


def test_junction_connections_link_incoming_to_connecting_lanes(tmp_path: Path) -> None:
    network = read(tmp_path, crossing())
    assert successors(network, "1/0/-1") == {"4/0/-1"}
    assert successors(network, "1/0/-2") == {"4/0/-2"}
    assert successors(network, "4/0/-2") == {"3/0/-2"}
    assert successors(network, "2/0/-1") == {"5/0/-1"}
    lanes = {network.lanes[i].name for i in network.junctions[0].lanes}
    assert lanes == {"4/0/-1", "4/0/-2", "5/0/-1"}
    assert connectivity(network) == 1.0


def test_direct_junctions_link_roads_without_connecting_ones(tmp_path: Path) -> None:
    text = (
        road("1", links='<successor elementType="junction" elementId="7"/>')
        + road("2", x=100.0)
        + '<junction id="7" type="direct"><connection id="0" incomingRoad="1" linkedRoad="2" '
        'contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction>'
    )
    network = read(tmp_path, text)
    assert successors(network, "1/0/-1") == {"2/0/-1"}
    assert network.junctions[0].kind == "direct"
    assert network.junctions[0].lanes == []


def test_missing_links_come_from_geometry_and_wrong_ones_are_dropped(tmp_path: Path) -> None:
    inner = '<link><successor id="-1"/></link>'
    links = '<successor elementType="road" elementId="3" contactPoint="start"/>'
    network = read(
        tmp_path,
        road("1", right=lane(-1, inner=inner), links=links),
        road("2", x=100.2),
        road("3", x=500.0),
    )
    assert successors(network, "1/0/-1") == {"2/0/-1"}
    assert len(network.problems) == 2
    assert "1 lane links join ends that lie apart" in network.problems[0]
    assert "1 lane links were missing" in network.problems[1]


def test_links_to_another_level_are_not_made(tmp_path: Path) -> None:
    head = '<elevationProfile><elevation s="0" a="6" b="0" c="0" d="0"/></elevationProfile>'
    network = read(tmp_path, road("1"), road("2", x=100.0, head=head))
    assert successors(network, "1/0/-1") == set()


def test_dangling_links_are_listed(tmp_path: Path) -> None:
    inner = '<link><successor id="-5"/></link>'
    links = '<successor elementType="road" elementId="{}" contactPoint="start"/>'
    network = read(
        tmp_path,
        road("1", right=lane(-1, inner=inner), links=links.format(2)),
        road("2", x=100.0, links=links.format(77)),
        '<junction id="3"><connection id="0" incomingRoad="1" connectingRoad="88"/></junction>',
    )
    text = " ".join(network.problems)
    assert "name a lane that does not exist: 1/0/-1 -> 2/0/-5" in text
    assert "road links lead to no road: road 2 -> 77" in text
    assert "name a road that does not exist" in text


def signal(name: str, s: float, *, kind: str = "1000001", tag: str = "signal", inner: str = "",
           orientation: str = "+", extra: str = 'dynamic="yes"') -> str:  # fmt: skip
    return (
        f'<{tag} id="{name}" s="{s}" t="-5" orientation="{orientation}" type="{kind}" {extra}>'
        f"{inner}</{tag}>"
    )


def validity(first: int, last: int) -> str:
    return f'<validity fromLane="{first}" toLane="{last}"/>'


def controller(name: str, *signals: str) -> str:
    inner = "".join(f'<control signalId="{s}"/>' for s in signals)
    return f'<controller id="{name}">{inner}</controller>'


def test_light_beyond_the_junction_stops_the_lanes_that_lead_into_it(tmp_path: Path) -> None:
    far = road("6", x=300.0, tail=f"<signals>{signal('a', 5, inner=validity(0, 0))}</signals>")
    reference = signal("a", 0.5, tag="signalReference", inner=validity(-2, -1))
    network = read(tmp_path, crossing(signals=f"<signals>{reference}</signals>"), far)
    assert [s.kind for s in network.signals] == ["traffic_light"]
    (line,) = network.stop_lines
    assert {network.lanes[i].name for i, _ in line.lanes} == {"1/0/-1", "1/0/-2"}
    assert all(99.0 <= s < 100.0 for _, s in line.lanes)
    assert line.heading == pytest.approx(0.0)
    np.testing.assert_allclose(in_file(network, line.left)[:2], [99.3, 0.0], atol=1e-6)
    np.testing.assert_allclose(in_file(network, line.right)[:2], [99.3, -7.0], atol=1e-6)
    np.testing.assert_allclose(in_file(network, line.guard_left)[:2], [99.3, 3.5], atol=1e-6)
    np.testing.assert_allclose(in_file(network, line.guard_right)[:2], [99.3, -7.0], atol=1e-6)
    assert network.junctions[0].signal_groups == [0]
    assert network.signal_groups[0].signals == [0]
    lanes = {network.lanes[i].name for i in network.signals[0].lanes}
    assert lanes == {"4/0/-1", "4/0/-2"}


def test_light_on_the_approach_heeds_orientation_validity_and_drawn_line(tmp_path: Path) -> None:
    lights = signal("a", 100, inner=validity(-1, 1)) + signal("b", 100, inner=validity(-2, -2))
    lights += signal("c", 96, kind="294", extra='dynamic="no"')
    lights += signal("d", 100, kind="1000002")
    network = read(tmp_path, crossing(approach=f"<signals>{lights}</signals>"))
    assert [s.kind for s in network.signals] == ["traffic_light"] * 3
    assert [s.group for s in network.signals] == [0, 0, -1]
    (line,) = network.stop_lines
    assert {network.lanes[i].name for i, _ in line.lanes} == {"1/0/-1", "1/0/-2"}
    assert all(s == pytest.approx(96.0) for _, s in line.lanes)


@pytest.mark.parametrize(("first", "last"), [(-2, -1), (-1, -2)])
def test_the_lanes_of_a_light_are_named_from_either_end(
    tmp_path: Path, first: int, last: int
) -> None:
    light = signal("a", 100, inner=validity(first, last))
    network = read(tmp_path, crossing(approach=f"<signals>{light}</signals>"))
    (line,) = network.stop_lines
    assert {network.lanes[i].name for i, _ in line.lanes} == {"1/0/-1", "1/0/-2"}


def test_lanes_of_one_approach_with_other_controllers_get_their_own_lines(tmp_path: Path) -> None:
    lights = signal("a", 100, inner=validity(-1, -1)) + signal("b", 100, inner=validity(-2, -2))
    text = crossing(
        approach=f"<signals>{lights}</signals>",
        controllers='<controller id="q" sequence="0"/><controller id="p" sequence="1"/>',
    )
    network = read(tmp_path, text, controller("p", "a"), controller("q", "b"))
    assert len(network.stop_lines) == 2
    assert [len(line.lanes) for line in network.stop_lines] == [1, 1]
    order = [network.signal_groups[g].name for g in network.junctions[0].signal_groups]
    assert order == ["q", "p"]


@pytest.mark.parametrize("first", ["p", "q"])
def test_groups_take_their_turns_by_the_sequence_of_their_controllers(
    tmp_path: Path, first: str
) -> None:
    lights = signal("a", 100, inner=validity(-1, -1)) + signal("b", 100, inner=validity(-2, -2))
    place = {name: 1 + (name != first) for name in "pq"}
    inner = "".join(f'<controller id="{name}" sequence="{place[name]}"/>' for name in "pq")
    text = crossing(approach=f"<signals>{lights}</signals>", controllers=inner)
    network = read(tmp_path, text, controller("p", "a"), controller("q", "b"))
    order = [network.signal_groups[g].name for g in network.junctions[0].signal_groups]
    assert order == sorted(place, key=lambda name: place[name])


def test_controller_with_crossing_approaches_is_split(tmp_path: Path) -> None:
    reference = signal("b", 0.0, tag="signalReference", inner=validity(-1, -1))
    lights = signal("a", 100) + signal("b", 90, inner=validity(0, 0))
    network = read(
        tmp_path,
        crossing(
            approach=f"<signals>{lights}</signals>",
            top=f"<signals>{reference}</signals>",
        ),
        controller("p", "a", "b"),
    )
    assert len(network.signal_groups) == 2
    assert network.junctions[0].signal_groups == [0, 1]
    assert {s.group for s in network.signals} == {0, 1}
    assert any("hold crossing approaches" in p for p in network.problems)


def test_opposing_approaches_share_a_controller(tmp_path: Path) -> None:
    to = '<{} elementType="junction" elementId="9"/>'
    light = f"<signals>{signal('{}', 50)}</signals>"
    parts = [
        road("1", 50.0, links=to.format("successor"), tail=light.format("a")),
        road("2", 50.0, x=130.0, hdg=np.pi, links=to.format("successor"), tail=light.format("b")),
        road("3", 30.0, x=50.0, junction="9"),
        road("4", 30.0, x=80.0, hdg=np.pi, junction="9"),
        '<junction id="9"/>',
        controller("p", "a", "b"),
    ]
    network = read(tmp_path, *parts)
    assert [sorted(g.signals) for g in network.signal_groups] == [[0, 1]]
    assert len(network.stop_lines) == 2


def test_guard_covers_an_oncoming_road_beside_it(tmp_path: Path) -> None:
    away = road("8", x=98.0, hdg=np.pi)
    network = read(tmp_path, crossing(approach=f"<signals>{signal('a', 100)}</signals>"), away)
    without = read(tmp_path, crossing(approach=f"<signals>{signal('a', 100)}</signals>"))
    widths = [
        np.hypot(*(n.stop_lines[0].guard_left - n.stop_lines[0].guard_right)[:2])
        for n in (network, without)
    ]
    assert widths == pytest.approx([10.5, 10.5])
    lone = road("1", right=lane(-1), links='<successor elementType="junction" elementId="9"/>',
                tail=f"<signals>{signal('a', 100)}</signals>")  # fmt: skip
    through = road("4", 20.0, x=100.0, junction="9") + '<junction id="9"/>'
    (line,) = read(tmp_path, lone, through, away).stop_lines
    assert np.hypot(*(line.guard_left - line.guard_right)[:2]) == pytest.approx(7.0)
    assert np.hypot(*(line.left - line.right)[:2]) == pytest.approx(3.5)


def test_stop_sign_makes_a_stop_line_and_other_signs_do_not(tmp_path: Path) -> None:
    still = 'dynamic="no"'
    signs = signal("a", 100, kind="206", extra=still) + signal("b", 100, kind="205", extra=still)
    network = read(tmp_path, crossing(approach=f"<signals>{signs}</signals>"))
    assert [s.kind for s in network.signals] == ["stop_sign", "yield_sign"]
    (line,) = network.stop_lines
    assert line.kind == "stop_sign"
    assert line.signal == 0
    assert network.signal_groups == []
    assert network.signals[1].group == -1


def test_light_far_from_junctions_stands_where_the_file_says(tmp_path: Path) -> None:
    network = read(tmp_path, road(tail=f"<signals>{signal('a', 30)}</signals>"))
    (line,) = network.stop_lines
    assert line.lanes == [(0, pytest.approx(30.0))]
    assert network.signal_groups[0].junction == -1


def test_speed_limits_come_from_lane_road_or_sign(tmp_path: Path) -> None:
    own = lane(-1, inner='<speed sOffset="0" max="36" unit="km/h"/>')
    of_road = '<type s="0" type="town"><speed max="{}" unit="mph"/></type>'
    sign = signal("a", 10, kind="274", extra='value="50" unit="km/h" dynamic="no"')
    network = read(
        tmp_path,
        road("1", right=own, head=of_road.format(50)),
        road("2", y=50.0, head=of_road.format(10)),
        road("3", y=100.0, tail=f"<signals>{sign}</signals>"),
        road("4", y=150.0, head=of_road.format("undefined")),
        road("5", y=200.0, head=of_road.format("no limit")),
        road("6", y=250.0, right=lane(-1, inner='<speed max="7"/>')),
    )
    limits = [entry.speed_limit for entry in network.lanes]
    assert limits == pytest.approx([10.0, 4.4704, 50 / 3.6, DEFAULT_SPEED_LIMIT, 130 / 3.6, 7.0])


def test_a_sign_faces_the_traffic_of_its_orientation(tmp_path: Path) -> None:
    """Both signs stand where no lane says which way; without a unit the number is in km/h."""
    sign = {o: signal(o, 10, kind="274", orientation=o, extra='value="36"') for o in "+-"}
    network = read(
        tmp_path,
        road("1", hdg=0.3, right=lane(-1, "sidewalk"), tail=f"<signals>{sign['+']}</signals>"),
        road("2", y=50.0, hdg=0.3, right=lane(-1, "sidewalk"),
             tail=f"<signals>{sign['-']}</signals>"),
        road("3", y=100.0, tail=f"<signals>{sign['+']}</signals>"),
    )  # fmt: skip
    assert [s.kind for s in network.signals] == ["speed_limit"] * 3
    headings = [s.heading for s in network.signals]
    assert headings == pytest.approx([0.3, 0.3 - np.pi, 0.0], abs=1e-6)
    assert network.lanes[-1].speed_limit == pytest.approx(10.0)


def test_elements_by_which_nothing_is_lost_are_not_listed(tmp_path: Path) -> None:
    line = lane(-1, inner='<link/><roadMark sOffset="0" type="solid"/>')
    plain = section(0, right=lane(-1))
    marked = section(50, right=line).replace(
        '<lane id="0"/>', '<lane id="0"><roadMark sOffset="0" type="broken"/></lane>'
    )
    head = "<header><geoReference><![CDATA[+proj=utm +zone=32]]></geoReference>{}</header>"
    for inner, sections, dropped in (
        ("", plain, []),
        ("", plain + marked, ["1 kinds of elements are not read: <roadMark> (2)"]),
        ("<offset/>", plain, ["1 kinds of elements are not read: <offset> (1)"]),
    ):
        network = read(tmp_path, head.format(inner), road(sections=sections))
        assert network.dropped == dropped
        assert len(network.lanes) == 1 + (sections != plain)


def test_crosswalks_have_outlines_in_the_plane(tmp_path: Path) -> None:
    head = '<object id="{}" type="{}" s="20" t="0" hdg="{}" length="8" width="3">'
    corners = "".join(f'<cornerLocal u="{u}" v="{v}" z="0"/>' for u, v in
                      [(4, 1), (-4, 1), (-4, -1), (4, -1), (4, 1)])  # fmt: skip
    on_road = "".join(f'<cornerRoad s="{s}" t="{t}" dz="0"/>' for s, t in [(1, 2), (3, 2), (3, -2)])
    objects = (
        f"{head.format(1, 'crosswalk', np.pi / 2)}<outline>{corners}</outline></object>"
        f"{head.format(2, 'crosswalk', 0)}<outlines><outline>{on_road}</outline></outlines>"
        f"</object>"
        f"{head.format(3, 'crosswalk', 0)}</object>{head.format(4, 'pole', 0)}</object>"
    )
    network = read(tmp_path, road(tail=f"<objects>{objects}</objects>"))
    first, second, third = (in_file(network, c.outline) for c in network.crosswalks)
    assert network.dropped == ["1 kinds of elements are not read: <object> (1)"]
    assert "driving lanes have no speed limit; 13.9 m/s is used" in network.inferred[0]
    np.testing.assert_allclose(first[:, :2], [[19, 4], [19, -4], [21, -4], [21, 4]], atol=1e-9)
    np.testing.assert_allclose(second[:, :2], [[1, 2], [3, 2], [3, -2]], atol=1e-9)
    assert np.ptp(third[:, 0]) == pytest.approx(8.0)
    assert np.ptp(third[:, 1]) == pytest.approx(3.0)


def test_lanes_without_type_are_listed_and_not_driven_on(tmp_path: Path) -> None:
    network = read(tmp_path, road(right=lane(-1) + lane(-2, "")))
    assert not by_name(network)["1/0/-2"].drivable
    assert "1 lanes have no type" in network.problems[0]


def test_lanes_that_bend_too_tightly_are_listed(tmp_path: Path) -> None:
    arc = LINE.format(x=0, y=0, hdg=0, length=6).replace("<line/>", '<arc curvature="-0.5"/>')
    network = read(tmp_path, road(length=6, geometry=arc))
    assert network.problems == [
        "1 driving lanes bend so tightly that a boundary folds back: 1/0/-1"
    ]


def test_negative_and_zero_widths_are_clipped_and_listed(tmp_path: Path) -> None:
    tiny = '<width sOffset="0" a="3" b="-0.030001" c="0" d="0"/>'
    negative = '<width sOffset="0" a="3" b="-0.05" c="0" d="0"/>'
    right = lane(-1) + lane(-2, width=tiny) + lane(-3, width=negative) + lane(-4, width=0.0)
    network = read(tmp_path, road(right=right))
    assert min(entry.width.min() for entry in network.lanes) >= 0.0
    assert network.problems == [
        "1 lanes have a negative width in places (taken as 0): 1/0/-3",
        "1 driving lanes have no width anywhere: 1/0/-4",
    ]


@pytest.mark.parametrize(("suffix", "module"), [(".gz", gzip), (".xz", lzma)])
def test_compressed_files_are_read_and_truncated_ones_refused(tmp_path, suffix, module) -> None:
    path = tmp_path / f"town.xodr{suffix}"
    packed = module.compress(document(road()).encode())
    path.write_bytes(packed)
    network = read_opendrive(path)
    assert network.name == "town"
    assert len(network.lanes) == 1
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(MapError, match="truncated"):
        read_opendrive(path)
    path.write_bytes(b"nonsense" * 10)
    with pytest.raises(MapError, match="damaged"):
        read_opendrive(path)


ENTITY = '<!DOCTYPE OpenDRIVE [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(road())[:-30], "map.xodr, line 1: not well-formed or truncated"),
        ("", "not well-formed or truncated"),
        ("<net/>", "root element is <net>"),
        (ENTITY + document(road())[21:], "document type and entity declarations"),
        ('<!DOCTYPE a SYSTEM "file:///etc/hostname">' + document()[21:], "declarations"),
        ('<?xml version="1.0" encoding="nonesuch"?><OpenDRIVE/>', "map.xodr"),
        (document(), "none of 0 lanes"),
        (document(road(right=lane(-1, "sidewalk"))), "is drivable"),
        (document(road(geometry="")), "no planView geometry"),
        (document(road(length=-5.0)), "length=-5 m is outside"),
        (document(road(length=1e7)), r"length=1e\+07 m is outside"),
        (document(road().replace('length="100.0"', 'length="inf"')), "not a finite number"),
        (document(road(geometry=LINE.format(x="nan", y=0, hdg=0, length=9))), "x='nan'"),
        (document(road(geometry=LINE.format(x=1e11, y=0, hdg=0, length=9))), "beyond"),
        (document(road(geometry=LINE.format(x="1e400", y=0, hdg=0, length=9))), "x='1e400'"),
        (document(road(geometry=LINE.format(x="one", y=0, hdg=0, length=9))), "x='one'"),
        (document(road().replace("<line/>", '<arc curvature="1e6"/>')), "turns by more"),
        (document(road().replace("<line/>", "")), "has no line, arc"),
        (document(road().replace("<line/>", "<paramPoly3/>")), "is 0 m long"),
        (document(road(right=lane(-1, width=float("nan")))), "a='nan'"),
        (document(road(right=lane(-1, width=1e11))), "is 100000000000 m wide"),
        (document(road(right=lane(-1) + lane(-2, "none", 1e11))), "lanes reach beyond"),
        (document(road().replace('lane id="-1"', 'lane id="x"')), "id='x' is not an integer"),
        (document(road(right=lane(-1) + lane(-1))), "two lanes with the same id"),
    ],
)
def test_bad_files_raise_errors_that_name_the_place(tmp_path: Path, text, message) -> None:
    path = tmp_path / "map.xodr"
    path.write_text(text)
    with pytest.raises(MapError, match=message) as caught:
        read_opendrive(path)
    assert "map.xodr" in str(caught.value)


def test_missing_files_and_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such map file"):
        read_opendrive(tmp_path / "none.xodr")
    with pytest.raises(MapError, match=r"allowed endings: \.xodr"):
        read_opendrive(tmp_path / "none.osm")


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("selfdrive_env.maps.xml.MAX_BYTES", 1 << 21)
    path = tmp_path / "bomb.xodr.xz"
    path.write_bytes(lzma.compress(b"<OpenDRIVE>" + b" " * (1 << 23)))
    with pytest.raises(MapError, match="when decompressed"):
        read_opendrive(path)


WHOLE = document(
    crossing(
        approach=f"<signals>{signal('a', 100)}{signal('b', 90, kind='206')}</signals>",
        signals='<objects><object type="crosswalk" id="1" s="2" length="3" width="2"/></objects>',
    ),
    controller("p", "a"),
).encode()
VALUES = [b"nan", b"-1", b"0", b"1e9", b"1e300", b"", b"x", b"9" * 30, b"-3.5", b"end", b"inf"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_files_give_a_map_error_or_a_network(tmp_path: Path, data) -> None:
    text = bytearray(WHOLE)
    if data.draw(st.booleans()):
        quotes = [i for i, c in enumerate(text) if c == ord('"')]
        for _ in range(data.draw(st.integers(1, 3))):
            at = 2 * data.draw(st.integers(0, len(quotes) // 2 - 1))
            text[quotes[at] + 1 : quotes[at + 1]] = data.draw(st.sampled_from(VALUES))
            quotes = [i for i, c in enumerate(text) if c == ord('"')]
    else:
        for _ in range(data.draw(st.integers(0, 4))):
            text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
        text = text[: data.draw(st.integers(0, len(text)))]
    path = tmp_path / "map.xodr"
    path.write_bytes(text)
    try:
        network = read_opendrive(path)
    except MapError:
        return
    assert all(np.isfinite(entry.left).all() for entry in network.lanes)
