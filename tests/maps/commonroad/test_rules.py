"""Lights, signs, stop lines, speed limits and right of way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps.commonroad.signs import read_sign, speed_shown
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW
from tests.maps.commonroad.files import (
    arm,
    beside,
    crossing,
    lanelet,
    light,
    named,
    point,
    read,
    refs,
    sign,
    street,
)

USUAL = ((60, "red"), (10, "redYellow"), (50, "green"), (30, "yellow"))
LATER = ((60, "green"), (30, "yellow"), (60, "red"))


def stop(line: str = "", lights: str = "", signs: str = "") -> str:
    return (
        f"<stopLine>{line}<lineMarking>solid</lineMarking>{refs('trafficSignRef', signs)}"
        f"{refs('trafficLightRef', lights)}</stopLine>"
    )


def lit(west: str, south: str, *lights: str) -> tuple[str, ...]:
    return crossing(
        refs("trafficLightRef", west), refs("trafficLightRef", south), extra="".join(lights)
    )


def test_the_program_of_a_light_counts_steps(tmp_path: Path) -> None:
    """Steps are 0.1 s; the cycle begins at step 20, so the world starts 2 s before its end."""
    network = read(tmp_path, *lit("21", "22", light("21", *USUAL, offset=20), light("22", *LATER)))
    one, two = network.signal_groups
    assert one.cycle == [(RED, pytest.approx(7.0)), (GREEN, 5.0), (YELLOW, 3.0)]
    assert one.offset == pytest.approx(13.0)
    assert two.cycle == [(GREEN, 6.0), (YELLOW, 3.0), (RED, 6.0)] and two.offset == 0.0
    assert network.junctions[0].signal_groups == [0, 1]
    assert [(s.kind, s.group) for s in network.signals] == [("traffic_light", k) for k in (0, 1)]
    assert network.problems == []


def test_stop_lines_lie_across_the_ends_of_lanes(tmp_path: Path) -> None:
    network = read(tmp_path, *lit("21", "22", light("21", *USUAL), light("22", *LATER)))
    first, second = network.stop_lines
    np.testing.assert_allclose(first.left[:2], [-6.7, 2.0])
    np.testing.assert_allclose(first.right[:2], [-6.7, -2.0])
    assert first.heading == pytest.approx(0.0) and second.heading == pytest.approx(np.pi / 2)
    assert first.lanes == [(0, pytest.approx(53.3))]
    assert first.kind == "signal" and network.signals[first.signal].name == "21"


@pytest.mark.parametrize(
    ("x", "expected"), [(-9.0, 51.0), (-6.1, 53.5), (-4.0, 53.3), (-50.0, 53.3), (90.0, 53.3)]
)
def test_drawn_stop_lines_hold_unless_they_lie_elsewhere(
    tmp_path: Path, x: float, expected: float
) -> None:
    drawn = stop(point((x, -2.0)) + point((x, 2.0)), "21")
    network = read(tmp_path, *crossing(drawn, extra=light("21", *USUAL)))
    assert network.stop_lines[0].lanes == [(0, pytest.approx(expected))]
    off = any("stop lines lie off their lanelet" in p for p in network.problems)
    assert off == (x in (-50.0, 90.0))


def test_a_stop_line_without_points_lies_at_the_end(tmp_path: Path) -> None:
    network = read(tmp_path, *crossing(stop("", "21"), extra=light("21", *USUAL)))
    assert network.stop_lines[0].lanes == [(0, pytest.approx(53.3))]


def test_a_stop_line_of_no_light_or_sign_is_listed(tmp_path: Path) -> None:
    network = read(tmp_path, *crossing(stop(point((-9, -2)) + point((-9, 2)))))
    assert network.stop_lines == []
    assert "stop lines are those of no light or sign" in network.problems[0]


def test_crossing_roads_are_not_green_at_once(tmp_path: Path) -> None:
    """Both lights have the cycle that an editor puts in: it is no program."""
    network = read(tmp_path, *lit("21", "22", light("21", *USUAL), light("22", *USUAL)))
    assert [group.cycle for group in network.signal_groups] == [[], []]
    assert network.junctions[0].signal_groups == [0, 1]
    assert "1 junctions have crossing roads green at once" in network.problems[0]


def test_lights_with_one_cycle_form_a_group(tmp_path: Path) -> None:
    """Two lanes side by side, each with a light."""
    to_north = beside("Left", "2")
    network = read(
        tmp_path,
        street("1", 0.0, 50.0, inner=to_north + refs("trafficLightRef", "21")),
        street("2", 0.0, 50.0, 4.0, inner=refs("trafficLightRef", "22")),
        light("21", *USUAL),
        light("22", *USUAL),
    )
    assert len(network.signal_groups) == 1
    assert network.signal_groups[0].signals == [0, 1]
    assert network.signal_groups[0].junction == -1
    assert len(network.signal_groups[0].cycle) == 3
    assert len(network.stop_lines) == 1
    assert sorted(lane for lane, _ in network.stop_lines[0].lanes) == [0, 1]


def test_the_light_for_straight_ahead_counts_for_a_lane(tmp_path: Path) -> None:
    left = "<direction>left</direction>"
    lights = light("21", *LATER, inner=left) + light("22", *USUAL)
    network = read(tmp_path, *crossing(refs("trafficLightRef", "21 22"), extra=lights))
    assert network.signal_groups[0].cycle[0] == (RED, pytest.approx(7.0))
    assert [signal.group for signal in network.signals] == [0, 0]
    assert any("lights of several cycles" in problem for problem in network.problems)


def test_a_light_that_is_switched_off_stops_nobody(tmp_path: Path) -> None:
    off = light("21", *USUAL, inner="<active>false</active>")
    network = read(tmp_path, *crossing(refs("trafficLightRef", "21"), extra=off))
    assert network.stop_lines == [] and network.signals[0].group == -1
    assert any("switched off" in problem for problem in network.problems)


def test_phases_without_a_light_are_kept(tmp_path: Path) -> None:
    own = light("21", (40, "inactive"), (20, "green"))
    network = read(tmp_path, *crossing(refs("trafficLightRef", "21"), extra=own))
    assert network.signal_groups[0].cycle == [(NO_LIGHT, 4.0), (GREEN, 2.0)]


@pytest.mark.parametrize("phase", [(0, "red"), (-5, "red"), ("long", "red"), (5, "blue")])
def test_a_flawed_phase_costs_the_cycle(tmp_path: Path, phase: tuple[int, str]) -> None:
    own = light("21", (40, "green"), phase)
    network = read(tmp_path, *crossing(refs("trafficLightRef", "21"), extra=own))
    assert network.signal_groups[0].cycle == []
    assert any("a phase is flawed" in problem for problem in network.problems)


def test_lights_stand_where_the_file_puts_them(tmp_path: Path) -> None:
    at = f"<position>{point((7, 7))}</position>"
    network = read(tmp_path, *crossing(refs("trafficLightRef", "21"), extra=light("21", inner=at)))
    np.testing.assert_allclose(network.signals[0].position + network.origin, [7, 7, 0])
    assert network.signals[0].lanes == [0] and network.signals[0].heading == pytest.approx(0.0)


def test_lanes_of_an_arm_heed_its_light(tmp_path: Path) -> None:
    """Lanelet 7 beside 1 has no light, and leads over the junction; 10 can only turn right."""
    parts = (
        *crossing(refs("trafficLightRef", "21"), extra=light("21", *USUAL), intersection=False),
        street("7", -60.0, -6.0, 2.0, before="11"),
        street("11", -6.0, 6.0, 2.0, after="7"),
        street("10", -60.0, -6.0, -6.0, before="12"),
        lanelet("12", [(-6, -2), (-2, -6)], [(-6, -6), (-5, -7)], after="10"),
        f'<intersection id="8">{arm("1 7 10", right="12", straight="2 11")}{arm("4", straight="5")}'
        "</intersection>",
    )
    network = read(tmp_path, *parts)
    stopped = {network.lanes[i].name for line in network.stop_lines for i, _ in line.lanes}
    assert stopped == {"1", "7"}
    assert any("no light though their arm has" in problem for problem in network.problems)


def precedence(network: RoadNetwork) -> tuple[int, int]:
    return tuple(network.lanes[named(network, name)].precedence for name in ("2", "5"))


@pytest.mark.parametrize(
    ("west", "south", "expected"),
    [("205", "", (-1, 0)), ("306", "205", (1, -1)), ("301", "", (1, -1)), ("", "", (0, 0))],
)
def test_signs_say_who_gives_way(
    tmp_path: Path, west: str, south: str, expected: tuple[int, int]
) -> None:
    signs = "".join(sign(n, kind) for n, kind in (("31", west), ("32", south)) if kind)
    network = read(
        tmp_path,
        *crossing(
            refs("trafficSignRef", "31" if west else ""),
            refs("trafficSignRef", "32" if south else ""),
            extra=signs,
        ),
    )
    assert precedence(network) == expected
    assert network.junctions[0].rule == ("" if west or south else "right_first")


def test_where_a_light_is_signs_do_not_count(tmp_path: Path) -> None:
    signs = sign("31", "205") + sign("32", "306") + light("21", *USUAL)
    both = refs("trafficSignRef", "31") + refs("trafficLightRef", "21")
    network = read(tmp_path, *crossing(both, refs("trafficSignRef", "32"), extra=signs))
    assert precedence(network) == (0, 1)


@pytest.mark.parametrize(("place", "kind"), [("DEU_A-1", "206"), ("USA_A-1", "R1-1")])
def test_stop_signs_have_lines(tmp_path: Path, place: str, kind: str) -> None:
    network = read(
        tmp_path,
        *crossing(refs("trafficSignRef", "31"), extra=sign("31", kind, at=(-7.0, -5.0))),
        place=place,
    )
    line = network.stop_lines[0]
    assert (line.kind, line.lanes) == ("stop_sign", [(0, pytest.approx(53.3))])
    assert network.signals[line.signal].kind == "stop_sign"
    assert network.junctions[0].rule == ""


def test_where_all_stop_the_order_of_arrival_holds(tmp_path: Path) -> None:
    signs = sign("31", "R1-1") + sign("32", "R1-1")
    one, two = refs("trafficSignRef", "31"), refs("trafficSignRef", "32")
    network = read(tmp_path, *crossing(one, two, extra=signs), place="USA_A-1")
    assert network.junctions[0].rule == "all_way_stop"


@pytest.mark.parametrize(("place", "rule"), [("FRA_A-1", "right_first"), ("USA_A-1", "")])
def test_right_goes_first_where_the_country_has_it(tmp_path: Path, place: str, rule: str) -> None:
    assert read(tmp_path, *crossing(), place=place).junctions[0].rule == rule


def test_the_sign_for_right_before_left_holds_anywhere(tmp_path: Path) -> None:
    own = crossing(refs("trafficSignRef", "31"), extra=sign("31", "102"))
    network = read(tmp_path, *own, place="USA_A-1")
    assert network.junctions[0].rule == "right_first"
    assert network.signals == []


def ring(radius: float = 20.0, arms: int = 4) -> list[str]:
    """A roundabout of the lanelets 11 to 14, entered from 21 to 24 through 31 to 34."""
    parts = []
    for k in range(arms):
        a = np.linspace(0.0, 2.0 * np.pi / arms, 13) + 2.0 * np.pi * k / arms
        inner = [(radius * np.cos(t), radius * np.sin(t)) for t in a]
        outer = [((radius + 4) * np.cos(t), (radius + 4) * np.sin(t)) for t in a]
        before, after = 11 + (k - 1) % arms, 11 + (k + 1) % arms
        parts.append(
            lanelet(
                str(11 + k),
                inner,
                outer,
                after=f"{before} {31 + (k - 1) % arms}",
                before=str(after),
            )
        )
        # The way in comes from outside, over the second half of the lane, to its end.
        b = a[6:]
        t = np.linspace(1.0, 0.0, len(b))[:, None]
        out = np.stack([np.cos(b), np.sin(b)], axis=1)
        left, right = (radius + 7.0 * t) * out, (radius + 4.0 + 7.0 * t) * out
        ahead = np.array([-np.sin(b[0]), np.cos(b[0])])
        away = [side[0] - 30.0 * ahead + 8.0 * out[0] for side in (left, right)]
        parts.append(
            lanelet(
                str(31 + k),
                map(tuple, left),
                map(tuple, right),
                after=str(21 + k),
                before=str(after),
            )
        )
        parts.append(
            lanelet(
                str(21 + k),
                [tuple(away[0]), tuple(left[0])],
                [tuple(away[1]), tuple(right[0])],
                before=str(31 + k),
            )
        )
    return parts


def test_traffic_in_a_roundabout_goes_first(tmp_path: Path) -> None:
    network = read(tmp_path, *ring())
    for k in range(4):
        assert network.lanes[named(network, str(31 + k))].precedence == -1
        assert network.lanes[named(network, str(31 + k))].junction >= 0
    assert all(junction.rule == "" for junction in network.junctions)


def test_on_motorways_right_does_not_go_first(tmp_path: Path) -> None:
    parts = [part.replace(">urban<", ">interstate<") for part in crossing()]
    assert read(tmp_path, *parts).junctions[0].rule == ""


@pytest.mark.parametrize(
    ("kind", "shown", "limit"),
    [
        ("274", ["13.5"], 13.5),
        ("274", ["30kmh"], 30 / 3.6),
        ("274.1", ["-1.0"], 30 / 3.6),
        ("274.1", [], 30 / 3.6),
        ("274", ["-1.0"], 50 / 3.6),
        ("274", ["80"], 50 / 3.6),
        ("350", ["10"], 50 / 3.6),
    ],
)
def test_speed_signs_hold_all_along_their_lanelets(
    tmp_path: Path, kind: str, shown: list[str], limit: float
) -> None:
    own = street("1", 0.0, 50.0, before="2", inner=refs("trafficSignRef", "31"))
    network = read(tmp_path, own, street("2", 50.0, 99.0), sign("31", kind, *shown))
    assert network.lanes[0].speed_limit == pytest.approx(limit, rel=2e-3)
    assert network.lanes[1].speed_limit == pytest.approx(13.9)
    assert (len(network.problems) > 0) == (shown in (["-1.0"], ["80"]) and kind == "274")


@pytest.mark.parametrize(
    ("kinds", "limit"), [("country", 100), ("interstate urban", 130), ("highway exitRamp", 80)]
)
def test_types_have_limits_of_their_own(tmp_path: Path, kinds: str, limit: float) -> None:
    network = read(tmp_path, street("1", 0.0, 50.0, kinds=kinds))
    assert network.lanes[0].speed_limit == pytest.approx(limit / 3.6)


@pytest.mark.parametrize(("value", "limit"), [("20.5", 20.5), ("inf", 13.9), ("0", 13.9)])
def test_the_old_version_has_limits_in_its_lanelets(
    tmp_path: Path, value: str, limit: float
) -> None:
    own = f"<speedLimit>{value}</speedLimit>"
    network = read(tmp_path, street("1", 0.0, 50.0, kinds="", inner=own), version="2018b")
    assert network.lanes[0].speed_limit == limit
    assert (len(network.problems) == 1) == (limit == 13.9)


@pytest.mark.parametrize(
    ("country", "name", "kind"),
    [
        ("DEU", "206", "stop_sign"),
        ("ARG", "274", "speed_limit"),
        ("ARG", "R15", "speed_limit"),
        ("BEL", "C43", "speed_limit"),
        ("USA", "R2-1", "speed_limit"),
        ("ESP", "r301", "speed_limit"),
        ("ESP", "r1", "yield_sign"),
        ("FRA", "B31", ""),
        ("HRV", "B31", "speed_limit"),
        ("CHN", "306", "priority_sign"),
        ("", "205", "yield_sign"),
        ("DEU", "310", ""),
    ],
)
def test_signs_are_those_of_the_country_or_german(country: str, name: str, kind: str) -> None:
    assert read_sign(country, name) == kind


def test_speeds_in_other_units_are_read() -> None:
    assert speed_shown("274", ["oak", "36 km/h"]) == pytest.approx(10.0)
    assert speed_shown("R2-1", ["25mph"]) == pytest.approx(11.176)
    assert speed_shown("274", []) is None
