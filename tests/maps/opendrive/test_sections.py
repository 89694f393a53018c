"""Lane sections of one side, lanes closed to cars, lanes in both directions, the types of lanes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdrive_env.maps.road_network import Lane, RoadNetwork
from tests.maps.opendrive.test_reader import (
    by_name,
    in_file,
    lane,
    read,
    road,
    section,
    signal,
    successors,
)

BOTH = '<link><predecessor id="{0}"/><successor id="{0}"/></link>'
FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
TAPER = '<width sOffset="0" a="2" b="0.01" c="0" d="0"/>'


def one_side(s: float, left: str = "", right: str = "") -> str:
    return section(s, left, right).replace("<laneSection", '<laneSection singleSide="true"')


def test_sections_of_one_side_are_a_sequence_of_their_own(tmp_path: Path) -> None:
    sections = one_side(0, left=lane(1, width=TAPER))
    sections += one_side(0, right=lane(-1, inner=BOTH.format(-1)))
    sections += one_side(60, right=lane(-1, inner=BOTH.format(-1)) + lane(-2))
    network = read(tmp_path, road(sections=sections))
    names = by_name(network)
    assert set(names) == {"1/0/1", "1/0/-1", "1/1/1", "1/1/-1", "1/1/-2"}
    assert successors(network, "1/1/1") == {"1/0/1"}
    assert successors(network, "1/0/-1") == {"1/1/-1"}
    ends = in_file(network, names["1/1/1"].centre)[[0, -1], 0]
    np.testing.assert_allclose(ends, [100.0, 60.0])
    np.testing.assert_allclose(names["1/1/1"].width[[0, -1]], [3.0, 2.6])
    np.testing.assert_allclose(names["1/0/1"].width[[0, -1]], [2.6, 2.0])
    assert network.problems == []


def test_a_section_of_both_sides_ends_those_of_one(tmp_path: Path) -> None:
    sections = one_side(0, left=lane(1, inner='<link><successor id="2"/></link>'))
    sections += one_side(0, right=lane(-1, inner=BOTH.format(-1)))
    sections += one_side(30, right=lane(-1, inner=BOTH.format(-1)))
    sections += section(60, lane(1, "none") + lane(2), lane(-1, inner=BOTH.format(-1)))
    network = read(tmp_path, road(sections=sections))
    kept = {name for name, entry in by_name(network).items() if entry.drivable}
    assert kept == {"1/0/1", "1/1/1", "1/2/2", "1/0/-1", "1/1/-1", "1/2/-1"}
    assert successors(network, "1/1/1") == {"1/0/1"}
    assert successors(network, "1/0/-1") == {"1/1/-1"}
    assert successors(network, "1/1/-1") == {"1/2/-1"}


ACCESS = '<access sOffset="0" rule="{}" restriction="{}"/>'


@pytest.mark.parametrize(
    ("access", "open_to_cars"),
    [
        (ACCESS.format("deny", "passengerCar"), False),
        (ACCESS.format("allow", "bus"), False),
        (ACCESS.format("allow", "bus") + ACCESS.format("allow", "passengerCar"), True),
        (ACCESS.format("deny", "truck"), True),
        ('<access restriction="passengerCar"/>', False),
        ('<access rule="allow"><restriction type="taxi"/><restriction type="bus"/></access>',
         False),
        ('<access rule="deny"><restriction type="passengerCar"/></access>', False),
        ('<access sOffset="x" rule="deny" restriction="passengerCar"/>', True),
    ],
)  # fmt: skip
def test_lanes_closed_to_cars_are_not_driven_on(tmp_path: Path, access, open_to_cars) -> None:
    network = read(tmp_path, road(right=lane(-1) + lane(-2, inner=access)))
    assert by_name(network)["1/0/-2"].drivable == open_to_cars
    assert (by_name(network)["1/0/-1"].right_neighbour >= 0) == open_to_cars


def test_a_lane_may_be_closed_to_cars_on_a_part_of_its_section(tmp_path: Path) -> None:
    access = '<access sOffset="{}" rule="{}" restriction="passengerCar"/>'
    inner = access.format(40, "deny") + access.format(70, "allow")
    right = lane(-1, inner=BOTH.format(-1)) + lane(-2, width=TAPER, inner=inner)
    network = read(tmp_path, road(right=right))
    names = by_name(network)
    kept = [name for name, entry in names.items() if entry.drivable]
    assert kept == ["1/0.0/-1", "1/0.0/-2", "1/0.1/-1", "1/0.2/-1", "1/0.2/-2"]
    assert successors(network, "1/0.0/-1") == {"1/0.1/-1"}
    assert successors(network, "1/0.1/-1") == {"1/0.2/-1"}
    assert names["1/0.1/-2"].type == "restricted"
    np.testing.assert_allclose(names["1/0.2/-2"].width[[0, -1]], [2.7, 3.0])


def test_a_lane_for_both_directions_is_two_lanes_over_one_surface(tmp_path: Path) -> None:
    both = lane(-1, inner=BOTH.format(-1)).replace("<lane ", '<lane direction="both" ')
    link = '<{} elementType="road" elementId="{}" contactPoint="{}"/>'
    network = read(
        tmp_path,
        road("1", left=lane(1, inner=BOTH.format(-1)), right=lane(-1, inner=BOTH.format(-1)),
             links=link.format("successor", 2, "start")),
        road("2", 50.0, x=100.0, right=both + lane(-2), links=link.format("predecessor", 1, "end")
             + link.format("successor", 3, "start")),
        road("3", x=150.0, right=lane(-1, "bidirectional", inner=BOTH.format(-1)),
             links=link.format("predecessor", 2, "end")),
    )  # fmt: skip
    names = by_name(network)
    assert list(names) == [
        *("1/0/1", "1/0/-1", "2/0/-1", "2/0/-2", "2/0/-1/back", "3/0/-1", "3/0/-1/back"),
    ]
    assert successors(network, "1/0/-1") == {"2/0/-1"}
    assert successors(network, "2/0/-1") == {"3/0/-1"}
    assert successors(network, "3/0/-1/back") == {"2/0/-1/back"}
    assert successors(network, "2/0/-1/back") == {"1/0/1"}
    ahead, back = names["2/0/-1"], names["2/0/-1/back"]
    np.testing.assert_allclose(ahead.centre, back.centre[::-1])
    np.testing.assert_allclose(ahead.left, back.right[::-1])
    assert {ahead.type, back.type} == {"bidirectional"}
    assert network.lanes[ahead.right_neighbour] is names["2/0/-2"]
    assert back.left_neighbour == back.right_neighbour == names["2/0/-2"].left_neighbour == -1
    assert network.problems == []


@pytest.mark.parametrize("orientation", ["+", "-", "none"])
def test_a_sign_at_a_lane_for_both_directions_stops_those_it_faces(
    tmp_path: Path, orientation: str
) -> None:
    stop = signal("a", 50, kind="206", orientation=orientation, extra='dynamic="no"')
    text = road(right=lane(-1, "bidirectional"), tail=f"<signals>{stop}</signals>")
    network = read(tmp_path, text)
    stopped = {network.lanes[i].name for line in network.stop_lines for i, _ in line.lanes}
    ahead, back = {"1/0/-1"}, {"1/0/-1/back"}
    assert stopped == {"+": ahead, "-": back, "none": ahead | back}[orientation]


@pytest.mark.parametrize("kind", ["connectingRamp", "slipLane", "mwyEntry", "mwyExit"])
def test_lanes_of_ramps_are_driven_on(tmp_path: Path, kind: str) -> None:
    network = read(tmp_path, road(right=lane(-1) + lane(-2, kind)))
    assert by_name(network)["1/0/-1"].right_neighbour >= 0


def test_a_lane_that_leads_only_to_an_undrivable_one_is_listed(tmp_path: Path) -> None:
    first = section(0, right=lane(-1, inner=BOTH.format(-1)) + lane(-2, inner=BOTH.format(-2)))
    second = section(50, right=lane(-1, inner=BOTH.format(-1)) + lane(-2, "special1"))
    network = read(tmp_path, road(sections=first + second))
    assert network.problems == [
        "1 driving lanes lead only to a lane of a type that is not driven on: "
        "1/0/-2 -> 1/1/-2 (special1)"
    ]


def reach(network: RoadNetwork, entry: Lane) -> tuple[float, float]:
    """The stations between which a lane of a straight road along x lies [m]."""
    low, high = sorted(in_file(network, entry.centre)[[0, -1], 0].tolist())
    return low, high


def lane_at(network: RoadNetwork, number: int, s: float) -> Lane:
    """The one lane of a number at a station."""
    (found,) = (
        entry
        for entry in network.lanes
        if entry.name.endswith(f"/{number}")
        and reach(network, entry)[0] <= s < reach(network, entry)[1]
    )
    return found


cuts = st.lists(st.integers(1, 9), unique=True, max_size=4).map(lambda c: [0, *sorted(c)])
widths = st.lists(st.sampled_from([2.5, 3.0, 3.5, 4.0]), min_size=5, max_size=5)


@FILES
@given(cuts=st.tuples(cuts, cuts), widths=st.tuples(widths, widths), order=st.randoms())
def test_each_side_is_one_sequence_wherever_its_sections_lie(tmp_path, cuts, widths, order) -> None:
    sections = []
    for side, starts, own in zip((1, -1), cuts, widths, strict=True):
        for start, width in zip(starts, own, strict=False):
            text = lane(side, width=width, inner=BOTH.format(side))
            sections.append(one_side(10 * start, **{"left" if side > 0 else "right": text}))
    order.shuffle(sections)
    network = read(tmp_path, road(sections="".join(sections)))
    assert network.problems == []
    for side, starts, own in zip((1, -1), cuts, widths, strict=True):
        lanes = [entry for entry in network.lanes if entry.name.endswith(f"/{side}")]
        assert sum(entry.length for entry in lanes) == pytest.approx(100.0, abs=1.0)
        (here,) = (entry for entry in lanes if not entry.predecessors)
        driven = [here]
        while here.successors:
            here = network.lanes[here.successors[0]]
            driven.append(here)
        assert driven == sorted(lanes, key=lambda entry: -side * reach(network, entry)[0])
        for s in range(5, 100, 10):
            wanted = own[sum(10 * start < s for start in starts) - 1]
            np.testing.assert_allclose(lane_at(network, side, s).width, wanted)


users = st.sampled_from(["passengerCar", "bus", "truck", "bicycle"])
rules = st.lists(
    st.tuples(st.sampled_from([0, 20, 40, 70]), st.sampled_from(["allow", "deny"]), users),
    max_size=6,
)


@FILES
@given(rules=rules, listed=st.booleans())
def test_cars_drive_wherever_the_access_of_a_lane_lets_them(tmp_path, rules, listed) -> None:
    """The records of the last offset count; each is an attribute or an element."""
    form = '<access sOffset="{}" rule="{}" restriction="{}"/>'
    if listed:
        form = '<access sOffset="{}" rule="{}"><restriction type="{}"/></access>'
    inner = "".join(form.format(*rule) for rule in rules)
    right = lane(-1, inner=BOTH.format(-1)) + lane(-2, inner=BOTH.format(-2) + inner)
    network = read(tmp_path, road(right=right))
    for s in (10, 30, 55, 85):
        last = max((start for start, _, _ in rules if start <= s), default=0)
        said = {who: {u for at, rule, u in rules if at == last and rule == who} for who in
                ("allow", "deny")}  # fmt: skip
        closed = "passengerCar" in said["deny"] or (
            bool(said["allow"]) and "passengerCar" not in said["allow"]
        )
        assert lane_at(network, -2, s).drivable != closed
        assert lane_at(network, -1, s).drivable


WAYS = ("one", "both", "bidirectional")


@FILES
@given(ways=st.lists(st.tuples(*[st.sampled_from(WAYS)] * 2), min_size=1, max_size=4))
def test_lanes_for_both_directions_are_driven_both_ways_and_changed_out_of(tmp_path, ways) -> None:
    """Beside each other and one after the other, in any mixture."""

    def one(number: int, way: str) -> str:
        kind = way if way == "bidirectional" else "driving"
        text = lane(number, kind, inner=BOTH.format(number))
        return text.replace("<lane ", '<lane direction="both" ') if way == "both" else text

    right = ["".join(one(-1 - k, pair[part]) for k, pair in enumerate(ways)) for part in (0, 1)]
    sections = section(0, lane(1, inner=BOTH.format(1)), right[0])
    sections += section(50, lane(1, inner=BOTH.format(1)), right[1])
    network = read(tmp_path, road(sections=sections))
    names = by_name(network)
    assert network.problems == []
    for part in (0, 1):
        for k, pair in enumerate(ways):
            name, two_way = f"1/{part}/{-1 - k}", pair[part] != "one"
            ahead = names[name]
            assert (f"{name}/back" in names) == two_way
            beside = [1 if -1 - k + step == 0 else -1 - k + step for step in (1, -1)]
            found = [ahead.left_neighbour, ahead.right_neighbour]
            for number, index in zip(beside, found, strict=True):
                free = number < 0 and -number <= len(ways) and ways[-1 - number][part] == "one"
                assert index == (
                    network.lanes.index(names[f"1/{part}/{number}"]) if free else -1
                )  # fmt: skip
            if two_way:
                back = names[f"{name}/back"]
                np.testing.assert_allclose(ahead.centre, back.centre[::-1])
                oncoming = network.lanes.index(names[f"1/{part}/1"]) if k == 0 else -1
                assert (back.left_neighbour, back.right_neighbour) == (-1, oncoming)
        assert names[f"1/{part}/1"].left_neighbour == -1
    for k, pair in enumerate(ways):
        first, second = f"1/0/{-1 - k}", f"1/1/{-1 - k}"
        assert successors(network, first) == {second}
        if pair[1] != "one":
            assert successors(network, f"{second}/back") == (
                {f"{first}/back"} if pair[0] != "one" else set()
            )  # fmt: skip


DRIVEN = (
    *("driving", "entry", "exit", "onRamp", "offRamp"),
    *("connectingRamp", "slipLane", "mwyEntry", "mwyExit"),
)
OTHERS = ("none", "shoulder", "border", "stop", "sidewalk", "biking", "restricted", "parking",
    "median", "special1", "tram", "rail", "curb", "walking", "", "x")  # fmt: skip


@FILES
@given(kinds=st.lists(st.sampled_from((*DRIVEN, *OTHERS)), min_size=2, max_size=5))
def test_a_lane_goes_on_as_far_as_its_types_are_driven_on(tmp_path, kinds) -> None:
    """And where it does not, that is said."""
    sections = "".join(
        section(20 * k, right=lane(-1, inner=BOTH.format(-1)) + lane(-2, kind, 3.0,
                BOTH.format(-2)))
        for k, kind in enumerate(kinds)
    )  # fmt: skip
    network = read(tmp_path, road(sections=sections))
    names = by_name(network)
    interrupted = []
    for k, kind in enumerate(kinds):
        assert names[f"1/{k}/-2"].drivable == (kind in DRIVEN)
        if kind in DRIVEN and k + 1 < len(kinds):
            goes_on = kinds[k + 1] in DRIVEN
            assert successors(network, f"1/{k}/-2") == ({f"1/{k + 1}/-2"} if goes_on else set())
            if not goes_on:
                to = kinds[k + 1] or "none"
                interrupted.append(f"1/{k}/-2 -> 1/{k + 1}/-2 ({to})")
    said = [problem for problem in network.problems if "lead only to a lane" in problem]
    assert len(said) == bool(interrupted)
    if interrupted:
        assert said[0].startswith(f"{len(interrupted)} driving lanes lead only")
        assert interrupted[0] in said[0]
