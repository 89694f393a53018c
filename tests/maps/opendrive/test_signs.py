"""Which signals are lights, signs or lines, whom they are for, and who gives way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import DEFAULT_SPEED_LIMIT, RoadNetwork
from tests.maps.opendrive.test_reader import (
    by_name,
    crossing,
    in_file,
    lane,
    read,
    road,
    signal,
    validity,
)

STILL = 'dynamic="no"'


def stopped(network: RoadNetwork) -> list[set[str]]:
    """Names of the lanes of each stop line."""
    return [{network.lanes[i].name for i, _ in line.lanes} for line in network.stop_lines]


@pytest.mark.parametrize(
    ("kind", "name", "dynamic", "light"),
    [
        *((kind, "", "no", True) for kind in ("1000001", "1000009", "1000011", "1000012")),
        ("1000001", "anything", "yes", True),
        ("-1", "Signal_3Light_Post01", "yes", True),
        ("", "TrafficLight", "yes", True),
        ("-1", "DynamicSign", "yes", False),
        ("", "", "yes", False),
        ("1010", "VMS gantry", "yes", False),
        ("-1", "Signal_3Light_Post01", "no", False),
    ],
)
def test_only_known_types_and_names_are_lights(tmp_path, kind, name, dynamic, light) -> None:
    extra = f'dynamic="{dynamic}" name="{name}"'
    tail = f"<signals>{signal('7', 30, kind=kind, extra=extra)}</signals>"
    network = read(tmp_path, road(tail=tail))
    assert [s.kind for s in network.signals] == ["traffic_light"] * light
    assert len(network.stop_lines) == light
    listed = [p for p in network.problems if "no known traffic lights" in p]
    assert len(listed) == (dynamic == "yes" and not light)
    if listed:
        assert listed[0].endswith(f"signal 7 (type {kind or 'none'}, name {name or 'none'})")


@pytest.mark.parametrize(
    ("kind", "extra", "limit"),
    [
        ("274", 'value="50"', 50 / 3.6),
        ("274", 'value="-1" subtype="50"', 50 / 3.6),
        ("274", 'value="0" subtype="56"', 60 / 3.6),
        ("274", 'subtype="60"', 60 / 3.6),
        ("274", 'value="30" subtype="56"', 30 / 3.6),
        ("274-56", "", 60 / 3.6),
        ("274.53", "", 30 / 3.6),
        ("R2-1", 'value="25"', 25 * 0.44704),
        ("R2", 'subtype="1" value="25" unit="mph"', 25 * 0.44704),
        ("R2-1", 'value="40" unit="km/h"', 40 / 3.6),
    ],
)
def test_speed_signs_of_both_catalogues(tmp_path, kind, extra, limit) -> None:
    sign = signal("7", 10, kind=kind, extra=f"{STILL} {extra}")
    network = read(tmp_path, road(tail=f"<signals>{sign}</signals>"))
    assert [s.kind for s in network.signals] == ["speed_limit"]
    assert network.lanes[0].speed_limit == pytest.approx(limit)


@pytest.mark.parametrize("extra", ['value="0"', 'value="-1" subtype="-1"', 'value="x"', ""])
def test_speed_signs_without_a_speed_are_listed(tmp_path: Path, extra: str) -> None:
    sign = signal("7", 10, kind="274", extra=f"{STILL} {extra}")
    network = read(tmp_path, road(tail=f"<signals>{sign}</signals>"))
    assert network.signals == []
    assert network.lanes[0].speed_limit == DEFAULT_SPEED_LIMIT
    assert network.problems == ["1 speed signs show no speed and are left out: signal 7"]


@pytest.mark.parametrize(("kind", "extra"), [("R1-1", ""), ("R1", 'subtype="1"'), ("206", "")])
def test_stop_signs_of_both_catalogues(tmp_path: Path, kind: str, extra: str) -> None:
    sign = signal("7", 100, kind=kind, extra=f"{STILL} {extra}")
    network = read(tmp_path, crossing(approach=f"<signals>{sign}</signals>"))
    assert [line.kind for line in network.stop_lines] == ["stop_sign"]


def test_validities_that_name_no_lane_leave_it_to_the_orientation(tmp_path: Path) -> None:
    """Lanes counted from 0, as an old converter writes them."""
    lights = signal("a", 99, inner=validity(0, 0)) + signal("b", 99, inner=validity(7, 8))
    network = read(tmp_path, crossing(approach=f"<signals>{lights}</signals>"))
    assert stopped(network) == [{"1/0/-1", "1/0/-2"}]
    assert not any("control no driving lane" in problem for problem in network.problems)


def test_a_light_for_another_kind_of_lane_stops_no_car(tmp_path: Path) -> None:
    lights = f"<signals>{signal('a', 50, inner=validity(-2, -2))}</signals>"
    network = read(tmp_path, road(right=lane(-1) + lane(-2, "biking"), tail=lights))
    assert network.stop_lines == []


def test_a_light_for_no_lane_leaves_those_that_another_controls(tmp_path: Path) -> None:
    lights = signal("a", 99, inner=validity(0, 0)) + signal("b", 99, inner=validity(-2, -1))
    network = read(tmp_path, crossing(approach=f"<signals>{lights}</signals>"))
    assert network.signals[0].lanes == []
    assert network.stop_lines[0].signal == 1


@pytest.mark.parametrize("orientation", ["+", "-", "none"])
def test_references_on_a_one_way_connecting_road_are_for_its_traffic(
    tmp_path: Path, orientation: str
) -> None:
    pole = signal("a", 18, inner=validity(0, 0), orientation="-")
    reference = signal("a", 0, tag="signalReference", orientation=orientation)
    network = read(tmp_path, crossing(signals=f"<signals>{pole}{reference}</signals>"))
    assert stopped(network) == [{"1/0/-1", "1/0/-2"}]


def guard(network: RoadNetwork, line: int = 0) -> list[float]:
    """Where the guard of a line across y begins and ends in the file [m]."""
    ends = network.stop_lines[line]
    return [float(in_file(network, end)[1]) for end in (ends.guard_left, ends.guard_right)]


@pytest.mark.parametrize(
    ("controlled", "span"),
    [
        ((-1, -1), (3.5, -3.5)),  # The oncoming lane, too, but not the free one.
        ((-2, -2), (-3.5, -7.0)),
        ((-2, -1), (3.5, -7.0)),
    ],
)
@pytest.mark.parametrize("kind", ["1000001", "206"])
def test_a_guard_leaves_lanes_without_a_light_free(tmp_path, controlled, span, kind) -> None:
    sign = signal("a", 100, kind=kind, inner=validity(*controlled))
    network = read(tmp_path, crossing(approach=f"<signals>{sign}</signals>"))
    assert guard(network) == pytest.approx(span)


def test_a_guard_spans_a_lane_in_both_directions(tmp_path: Path) -> None:
    light = f"<signals>{signal('a', 50, inner=validity(-2, -2))}</signals>"
    right = lane(-1, "bidirectional") + lane(-2)
    network = read(tmp_path, road(left=lane(1), right=right, tail=light))
    assert guard(network) == pytest.approx((3.5, -7.0))


@pytest.mark.parametrize("other", ["1000001", "206"])
def test_a_guard_spans_lanes_that_have_lines_of_their_own(tmp_path: Path, other: str) -> None:
    signs = signal("a", 100, inner=validity(-1, -1))
    signs += signal("b", 100, kind=other, inner=validity(-2, -2), extra=STILL)
    network = read(tmp_path, crossing(approach=f"<signals>{signs}</signals>"))
    lines = range(len(network.stop_lines))
    assert [guard(network, line) for line in lines] == [pytest.approx((3.5, -7.0))] * len(lines)


@pytest.mark.parametrize(
    "drawing",
    [
        '<object type="roadMark" subtype="signalLines" name="" {}/>',
        '<object type="-1" name="StopLine" {}/>',
        '<object type="roadMark" name="Stop_Line 3" {}/>',
    ],
)
def test_a_stop_line_drawn_as_an_object_is_where_it_is_drawn(tmp_path, drawing) -> None:
    drawing = drawing.format('id="1" s="91" t="-3.5" length="0.4" width="7"')
    tail = f"<objects>{drawing}</objects><signals>{signal('a', 100)}</signals>"
    network = read(tmp_path, crossing(approach=tail))
    (line,) = network.stop_lines
    assert all(s == pytest.approx(91.0) for _, s in line.lanes)
    assert network.crosswalks == []


def test_crosswalks_are_known_by_their_names_where_the_type_says_nothing(tmp_path: Path) -> None:
    head = '<object id="{}" type="{}" name="{}" s="20" t="0" length="8" width="3"/>'
    names = ["SimpleCrosswalk", "Ladder_Crosswalk 2", "Pole", "CrosswalkSign"]
    objects = "".join(head.format(k, "-1", name) for k, name in enumerate(names[:3]))
    objects += head.format(9, "pole", names[3])
    network = read(tmp_path, road(tail=f"<objects>{objects}</objects>"))
    assert len(network.crosswalks) == 2


def precedence(network: RoadNetwork) -> dict[str, int]:
    return {n: e.precedence for n, e in by_name(network).items() if e.junction >= 0}


@pytest.mark.parametrize("kind", ["205", "R1-2"])
def test_who_passes_a_yield_sign_gives_way(tmp_path: Path, kind: str) -> None:
    sign = signal("a", 95, kind=kind, extra=STILL)
    network = read(tmp_path, crossing(approach=f"<signals>{sign}</signals>"))
    assert precedence(network) == {"4/0/-1": -1, "4/0/-2": -1, "5/0/-1": 0}
    assert network.stop_lines == []


def test_a_yield_sign_in_a_junction_is_for_the_lane_where_it_stands(tmp_path: Path) -> None:
    sign = signal("a", 10, kind="205", extra=STILL, inner=validity(-2, -2))
    network = read(tmp_path, crossing(signals=f"<signals>{sign}</signals>"))
    assert precedence(network) == {"4/0/-1": 0, "4/0/-2": -1, "5/0/-1": 0}


@pytest.mark.parametrize("kind", ["306", "301"])
def test_who_meets_a_priority_road_gives_way(tmp_path: Path, kind: str) -> None:
    sign = signal("a", 95, kind=kind, extra=STILL)
    network = read(tmp_path, crossing(approach=f"<signals>{sign}</signals>"))
    assert precedence(network) == {"4/0/-1": 1, "4/0/-2": 1, "5/0/-1": -1}
    assert [s.kind for s in network.signals] == ["priority_sign"]


@pytest.mark.parametrize(("high", "low"), [("4", "5"), ("1", "2"), ("4", "2")])
def test_a_junction_states_priorities_of_its_roads(tmp_path: Path, high: str, low: str) -> None:
    network = read(tmp_path, crossing(controllers=f'<priority high="{high}" low="{low}"/>'))
    assert precedence(network) == {"4/0/-1": 0, "4/0/-2": 0, "5/0/-1": -1}
    circle = f'<priority high="{high}" low="{low}"/><priority high="{low}" low="{high}"/>'
    assert set(precedence(read(tmp_path, crossing(controllers=circle))).values()) <= {-2, -3}


def test_lights_go_before_signs(tmp_path: Path) -> None:
    signs = signal("a", 95, kind="205", extra=STILL) + signal("b", 100)
    network = read(tmp_path, crossing(approach=f"<signals>{signs}</signals>"))
    assert set(precedence(network).values()) == {0}


def test_right_of_way_is_kept_in_files_and_reaches_the_kernels(tmp_path: Path) -> None:
    sign = signal("a", 95, kind="205", extra=STILL)
    network = read(tmp_path, crossing(approach=f"<signals>{sign}</signals>"))
    network.save(tmp_path / "map.roads")
    again = RoadNetwork.read(tmp_path / "map.roads")
    assert precedence(again) == precedence(network)
    assert again.digest() == network.digest()
    compiled = compile_map(again)
    names = [again.lanes[i].name for i in compiled.network_lane]
    kept = dict(zip(names, compiled.lanes.precedence.tolist(), strict=True))
    assert (kept["4/0/-1"], kept["5/0/-1"]) == (-1, 0)
    for entry in network.lanes:
        entry.precedence = 0
    assert network.digest() != again.digest()
    assert compile_map(network).digest != compiled.digest
    assert not any(name.startswith("lanes.precedence") for name in network.arrays())
    assert not np.any(compile_map(network).lanes.precedence)
