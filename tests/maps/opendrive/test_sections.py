"""Lane sections of one side, lanes closed to cars, lanes in both directions, the types of lanes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
