"""Which signals are lights, signs or lines, whom they are for, and who gives way."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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

FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    network = read(tmp_path, crossing(controllers=circle))
    assert set(precedence(network).values()) == {0}
    (told,) = (problem for problem in network.problems if "contradict" in problem)
    assert told == (
        "2 priorities contradict one another and are left out: "
        f"junction 9: {high} over {low}, junction 9: {low} over {high}"
    )


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


types = st.one_of(
    st.sampled_from(
        ["", "-1", "1000001", "1000002", "1000007", *map(str, range(1000009, 1000014))]
    ),
    st.integers(1, 1010).map(str),
    st.integers(1_000_000, 1_000_040).map(str),
    st.from_regex(r"R[0-9]{1,2}-[0-9]", fullmatch=True),
)
words = st.lists(
    st.sampled_from(["Dynamic", "Sign", "VMS", "Light", "traffic", "Ampel", "gantry", "_3", "Post",
        "Signal", "board", "speed", " "]), max_size=4,
).map("".join)  # fmt: skip
LIGHTS = {"1000001", "1000002", "1000007", *map(str, range(1000009, 1000014))}


@FILES
@given(kind=types, name=words, dynamic=st.booleans())
def test_what_moves_is_a_light_by_type_or_name_or_is_listed(tmp_path, kind, name, dynamic) -> None:
    """Whatever the type: `dynamic` alone makes no light, and nothing that moves is left unsaid."""
    extra = f'dynamic="{"yes" if dynamic else "no"}" name="{name}" value="50"'
    tail = f"<signals>{signal('7', 30, kind=kind, extra=extra)}</signals>"
    network = read(tmp_path, road(tail=tail))
    told = [problem for problem in network.problems if "are no known traffic lights" in problem]
    kinds = [one.kind for one in network.signals]
    if "traffic_light" in kinds:
        spoken = name.lower().replace(" ", "").replace("_", "")
        named = "light" in spoken or "ampel" in spoken or spoken.startswith("trafficsignal")
        assert kind in LIGHTS or (dynamic and named)
    elif kind in LIGHTS:
        raise AssertionError("a light by its type is none")
    if dynamic:
        drawn = kind == "294"
        assert len(kinds) + len(told) + drawn == 1
    else:
        assert not told


ranges = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), max_size=3)
sides = st.tuples(st.integers(0, 3), st.integers(1, 4))


@FILES
@given(sides=sides, ranges=ranges, orientation=st.sampled_from("+-"))
def test_lights_are_for_the_lanes_that_they_name_else_for_those_they_face(
    tmp_path, sides, ranges, orientation
) -> None:
    left, right = sides
    inner = "".join(validity(*ends) for ends in ranges)
    light = signal("a", 50, inner=inner, orientation=orientation)
    network = read(
        tmp_path,
        road(
            left="".join(lane(k) for k in range(left, 0, -1)),
            right="".join(lane(-k) for k in range(1, right + 1)),
            tail=f"<signals>{light}</signals>",
        ),
    )
    lanes = [*range(left, 0, -1), *range(-1, -right - 1, -1)]
    named = [k for k in lanes if any(min(ends) <= k <= max(ends) for ends in ranges)]
    facing = [k for k in lanes if (k < 0) == (orientation == "+")]
    # Lanes of one direction are meant as named; of both those that it faces.
    if len({k < 0 for k in named}) == 1:
        wanted = named
    else:
        wanted = [k for k in facing if k in named] if named else facing
    found = {network.lanes[i].name for line in network.stop_lines for i, _ in line.lanes}
    assert found == {f"1/0/{k}" for k in wanted}
    listed = [p for p in network.problems if "control no driving lane" in p]
    assert bool(listed) == (not wanted)


@FILES
@given(sides=sides, signs=st.lists(st.tuples(ranges, st.booleans()), min_size=1, max_size=3))
def test_guards_hold_lanes_that_are_ruled_and_never_a_free_one(tmp_path, sides, signs) -> None:
    """Beyond its own lanes a guard goes on over others that are ruled, and over oncoming ones."""
    left, right = sides
    records = "".join(
        signal(str(k), 50, kind="1000001" if light else "206", extra=STILL,
               inner="".join(validity(*ends) for ends in own))
        for k, (own, light) in enumerate(signs)
    )  # fmt: skip
    network = read(
        tmp_path,
        road(
            left="".join(lane(k) for k in range(left, 0, -1)),
            right="".join(lane(-k) for k in range(1, right + 1)),
            tail=f"<signals>{records}</signals>",
        ),
    )
    ruled = {lane for lines in stopped(network) for lane in lines}
    # The lane k > 0 lies from 3.5 (k - 1) to 3.5 k, the lane -k as far below the reference line.
    places = {f"1/0/{k}": (3.5 * k, 3.5 * (k - 1)) for k in range(1, left + 1)}
    places |= {f"1/0/{-k}": (3.5 * (1 - k), -3.5 * k) for k in range(1, right + 1)}
    for number, own in enumerate(stopped(network)):
        ahead = next(iter(own))[4] == "-"
        top, bottom = sorted(guard(network, number), reverse=True)
        held = {n for n, (a, b) in places.items() if bottom - 0.1 < b and a < top + 0.1}
        touched = {n for n, (a, b) in places.items() if b < top - 0.1 and bottom + 0.1 < a}
        assert own <= held == touched
        same = {name for name in places if (name[4] == "-") == ahead}
        assert held & same <= ruled
        between = {name for name in same if places[name][0] > max(places[one][0] for one in own)}
        if not ahead:
            between = {n for n in same if places[n][1] < min(places[one][1] for one in own)}
        assert (places.keys() - same <= held) == (between <= ruled)


@FILES
@given(
    value=st.one_of(
        st.just(""), st.integers(-5, 130).map(str), st.sampled_from(["x", "nan", "inf"])
    ),
    number=st.one_of(st.just(""), st.integers(-5, 130).map(str)),
    unit=st.sampled_from(["", "km/h", "mph", "m/s", "knots"]),
    joined=st.booleans(),
)
def test_speed_signs_show_their_value_else_what_their_number_means(
    tmp_path, value, number, unit, joined
) -> None:
    joined = joined and number.isdigit()
    sign = signal("7", 10, kind=f"274-{number}" if joined else "274", extra=STILL
        + f' value="{value}" unit="{unit}"' + f' subtype="{number}"' * (not joined))  # fmt: skip
    network = read(tmp_path, road(tail=f"<signals>{sign}</signals>"))
    factor = {"mph": 0.44704, "m/s": 1.0}.get(unit, 1 / 3.6)
    shown = None
    if value.lstrip("-").isdigit() and int(value) > 0:
        shown = int(value) * factor
    elif number.isdigit() and int(number) in (51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 62, 63):
        shown = 10 * (int(number) - 50) / 3.6
    elif number.isdigit() and int(number) > 0:
        shown = int(number) * factor
    assert network.lanes[0].speed_limit == pytest.approx(shown or DEFAULT_SPEED_LIMIT)
    told = {re.sub("^.* (speed signs|driving lanes) ", "", p)[:11] for p in network.problems}
    wanted = {"show no spe": shown is None, "have an unk": unit == "knots"}
    wanted["have a spee"] = shown is not None and shown < 1.5
    assert told == {words for words, said in wanted.items() if said}


@pytest.mark.parametrize(("kind", "factor"), [("274", 1 / 3.6), ("R2-1", 0.44704)])
def test_a_sign_with_an_unknown_unit_is_read_as_in_its_country(tmp_path, kind, factor) -> None:
    sign = signal("7", 10, kind=kind, extra=f'{STILL} value="30" unit="furlongs"')
    network = read(tmp_path, road(tail=f"<signals>{sign}</signals>"))
    assert network.lanes[0].speed_limit == pytest.approx(30 * factor)
    assert network.problems == [
        "1 speed signs have an unknown unit (read as in their country): signal 7 (furlongs)"
    ]


@FILES
@given(
    s=st.floats(60.0, 99.9),
    t=st.floats(-12.0, 6.0),
    other=st.floats(60.0, 99.9),
    drawing=st.sampled_from(
        ['<object type="-1" name="StopLine" {}/>',
         '<object type="roadMark" subtype="signalLines" name="" {}/>',
         '<signal id="9" type="294" orientation="+" dynamic="no" {}/>']
    ),
)  # fmt: skip
def test_a_drawn_line_counts_near_the_junction_and_over_its_lanes(
    tmp_path, s, t, other, drawing
) -> None:
    """From 0.5 to 20 m before it, the nearest of two; else the line lies 0.7 m before it."""
    tag = "object" if drawing.startswith("<object") else "signal"
    drawn = drawing.format(f's="{s}" t="{t}" length="0.4" width="7"')
    drawn += drawing.format(f's="{other}" t="-3.5" length="0.4" width="7"').replace('"9"', '"8"')
    light = signal("a", 100)
    tail = f"<objects>{drawn}</objects><signals>{light}</signals>"
    if tag == "signal":
        tail = f"<signals>{drawn}{light}</signals>"
    network = read(tmp_path, crossing(approach=tail))
    (line,) = network.stop_lines
    usable = [place for place, beside in ((s, t), (other, -3.5))
              if 80.0 <= place <= 99.5 and -8.5 <= beside <= 1.5]  # fmt: skip
    wanted = max(usable, default=99.3)
    assert [place for _, place in line.lanes] == pytest.approx([wanted] * 2, abs=1e-6)


parts = st.sampled_from(["Simple", "Cross", "walk", "Crosswalk", "Ladder", "_", " 2", "Sign"])


@FILES
@given(
    kind=st.sampled_from(["crosswalk", "-1", "", "none", "pole", "barrier"]),
    parts=st.lists(parts, max_size=4),
)
def test_crosswalks_are_those_of_the_type_or_of_the_name_alone(tmp_path, kind, parts) -> None:
    name = "".join(parts)
    drawn = f'<object id="1" type="{kind}" name="{name}" s="20" t="0" length="8" width="3"/>'
    network = read(tmp_path, road(tail=f"<objects>{drawn}</objects>"))
    spoken = "crosswalk" in name.lower().replace("_", "").replace(" ", "")
    wanted = kind == "crosswalk" or (kind in ("-1", "", "none") and spoken)
    assert len(network.crosswalks) == wanted


@FILES
@given(
    roads=st.sampled_from(["45", "12"]),
    order=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=7),
)
def test_who_has_priority_in_a_junction_goes_before_who_gives_way(tmp_path, roads, order) -> None:
    """Road 4 leads on from 1 and 5 from 2, others are elsewhere. Circles count for nothing."""
    names = [*roads, "x", "y", "z"]
    pairs = [(names[high], names[low]) for high, low in order]
    text = "".join(f'<priority high="{high}" low="{low}"/>' for high, low in pairs)
    network = read(tmp_path, crossing(controllers=text))
    found = precedence(network)
    over = {name: {low for high, low in pairs if high == name} for name in names}
    for _ in names:
        over = {name: below.union(*(over[low] for low in below)) for name, below in over.items()}
    circling = {name for name in names if name in over[name]}
    assert any("contradict" in problem for problem in network.problems) == bool(circling)
    first, second = found["4/0/-1"], found["5/0/-1"]
    assert found["4/0/-2"] == first
    if not circling:
        high, low = roads
        assert first > second or low not in over[high] or second == -3
        assert second > first or high not in over[low] or first == -3
        for name, rank in zip(roads, (first, second), strict=True):
            assert (rank < 0) == any(name in below for below in over.values())
    elif circling == set(names):
        assert first == second == 0
