"""A flawed record costs the record, not the map: it is left out, joined across and listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps.road_network import DEFAULT_SPEED_LIMIT
from tests.maps.opendrive.test_reader import (
    LINE,
    by_name,
    controller,
    crossing,
    lane,
    read,
    road,
    section,
    signal,
    successors,
    validity,
)

BOTH = '<link><predecessor id="{0}"/><successor id="{0}"/></link>'


@pytest.mark.parametrize(
    ("unit", "limit"),
    [("kph", 10.0), ("kmph", 10.0), ("KM/H", 10.0), ("mph", 16.0934), ("mps", 36.0),
     ("knots", DEFAULT_SPEED_LIMIT)],
)  # fmt: skip
def test_units_of_speed_in_their_spellings(tmp_path: Path, unit: str, limit: float) -> None:
    network = read(tmp_path, road(right=lane(-1, inner=f'<speed max="36" unit="{unit}"/>')))
    assert network.lanes[0].speed_limit == pytest.approx(limit, abs=1e-3)
    flaws = ["1 flawed records are left out: line 1: <speed> unit='knots' is not one of"]
    listed = [problem[: len(flaws[0])] for problem in network.problems]
    assert listed == (flaws if unit == "knots" else [])


FLAWED = {
    "signal": signal("z", 50).replace(' s="50"', ""),
    "number of a signal": signal("z", 50).replace('t="-5"', 't="left"'),
    "reference": signal("z", 50, tag="signalReference").replace(' s="50"', ' s=""'),
    "validity": signal("a", 100, inner='<validity fromLane="-1"/>' + validity(-2, -1)),
    "speed sign": signal("z", 50, kind="274", extra='value="50" zOffset="x"'),
}


@pytest.mark.parametrize("name", FLAWED)
def test_a_flawed_signal_leaves_the_others(tmp_path: Path, name: str) -> None:
    whole = signal("a", 100, inner=validity(-2, -1)) if name != "validity" else ""
    network = read(tmp_path, crossing(approach=f"<signals>{FLAWED[name]}{whole}</signals>"))
    (line,) = network.stop_lines
    assert {network.lanes[i].name for i, _ in line.lanes} == {"1/0/-1", "1/0/-2"}
    assert [s.name for s in network.signals] == ["a"]
    flaws = [problem for problem in network.problems if "missing and" not in problem]
    assert [flaw[:31] for flaw in flaws] == ["1 flawed records are left out: "]


def test_flawed_links_crosswalks_controllers_and_road_types_are_left_out(tmp_path: Path) -> None:
    flawed = '<object type="crosswalk" id="1" length="3" width="2"/>'
    whole = '<object type="crosswalk" id="2" s="5" length="3" width="2"/>'
    text = crossing(
        signals=f"<objects>{flawed}{whole}</objects>",
        approach=f"<signals>{signal('a', 100)}</signals>",
        controllers='<controller id="q" sequence="first"/><controller id="p" sequence="1"/>',
    )
    text = text.replace('<laneLink from="-2" to="-2"/>', '<laneLink from="-2"/>')
    head = '<type s="0"><speed max="fast"/></type><type s="0"><speed max="7"/></type>'
    inner = '<link><predecessor id=""/><successor id="x"/></link>'
    extra = road("8", y=500.0, head=head, right=lane(-1, inner=inner))
    network = read(tmp_path, text, extra, controller("p", "a"))
    assert len(network.crosswalks) == 1
    assert successors(network, "1/0/-1") == {"4/0/-1"}
    assert by_name(network)["8/0/-1"].speed_limit == 7.0
    (flaws,) = (p for p in network.problems if "flawed" in p)
    assert flaws.startswith("6 flawed records are left out: ")


def test_an_empty_coefficient_is_nought(tmp_path: Path) -> None:
    width = '<width sOffset="" a="3" b="" c="0" d=" "/>'
    network = read(tmp_path, road(right=lane(-1, width=width)))
    np.testing.assert_allclose(network.lanes[0].width, 3.0)
    assert network.problems == [
        "3 coefficients are empty (taken as 0): line 1: <width> sOffset, line 1: <width> b, "
        "line 1: <width> d"
    ]


@pytest.mark.parametrize("length", [0.0, -1e-4])
def test_geometries_without_a_length_are_joined_across(tmp_path: Path, length: float) -> None:
    pieces = LINE.format(x=0, y=0, hdg=0, length=50)
    pieces += LINE.format(x=50, y=0, hdg=2, length=length).replace('s="0"', 's="50"')
    pieces += LINE.format(x=50, y=0, hdg=0, length=50).replace('s="0"', 's="50"')
    network = read(tmp_path, road(geometry=pieces))
    assert network.lanes[0].length == pytest.approx(100.0)
    assert np.ptp(network.lanes[0].centre[:, 1]) == pytest.approx(0.0)
    assert network.problems == ["1 geometries have no length and are left out: road 1 at s=50"]


@pytest.mark.parametrize("turned", [False, True])
def test_roads_without_a_length_are_joined_across(tmp_path: Path, turned: bool) -> None:
    """Two of them, one after the other, in a junction; the second may run against the traffic."""
    to = '<{} elementType="road" elementId="{}" contactPoint="{}"/>'
    link = '<link><predecessor id="{}"/><successor id="{}"/></link>'
    start = "end" if turned else "start"
    middle = lane(1 if turned else -1, inner=link.format(-1, -1))
    ends = [to.format("{}", "3", "end"), to.format("{}", "2", "start")]
    before, after = reversed(ends) if turned else ends
    parts = [
        road("1", 50.0, links='<successor elementType="junction" elementId="9"/>'),
        road("3", 0.0, x=50.0, junction="9", links=to.format("successor", "4", start),
             right=lane(-1, inner=link.format(-1, 1 if turned else -1))),
        road("4", 0.0, x=50.0, junction="9", left=middle if turned else lane(1, "none"),
             right=lane(-1, "none") if turned else middle,
             links=before.format("predecessor") + after.format("successor")),
        road("2", 50.0, x=50.0),
        '<junction id="9"><connection id="0" incomingRoad="1" connectingRoad="3" '
        'contactPoint="start"><laneLink from="-1" to="-1"/></connection></junction>',
    ]  # fmt: skip
    network = read(tmp_path, *parts)
    assert {entry.name for entry in network.lanes} == {"1/0/-1", "2/0/-1"}
    assert successors(network, "1/0/-1") == {"2/0/-1"}
    assert network.problems == [
        "2 geometries have no length and are left out: road 3 at s=0, road 4 at s=0",
        "2 roads have no planView geometry with a length over 0 (joined across): road 3, road 4",
    ]


def test_sections_without_a_length_are_joined_across_and_keep_their_numbers(
    tmp_path: Path,
) -> None:
    """The lane changes its number twice, at one station; the last section has no width."""
    after = '<link><successor id="{}"/></link>'
    sections = section(0, right=lane(-1, inner=after.format(-2)) + lane(-2, "none"))
    wild = '<width sOffset="0" a="1e15" b="0" c="0" d="0"/>'
    sections += section(50, right=lane(-1, "none") + lane(-2, width=wild, inner=after.format(-1)))
    sections += section(50, right=lane(-1, inner=after.format(-7)))
    sections += section(100, right=lane(-7))
    network = read(tmp_path, road(sections=sections))
    assert set(by_name(network)) == {"1/0/-1", "1/0/-2", "1/2/-1"}
    assert successors(network, "1/0/-1") == {"1/2/-1"}
    assert network.problems == ["2 lane sections have no length: road 1 at s=50, road 1 at s=100"]
