from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import load, save_opendrive
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, YELLOW
from tests.maps.sumo.nets import (
    by_name,
    crossing,
    follows,
    junction,
    link,
    net,
    read,
    request,
    road,
)

PLAN = ((30, "GGgrrrGGgrrr"), (3, "yyyrrryyyrrr"), (30, "rrrGGgrrrGGg"), (3, "rrryyyrrryyy"))
"""East and west first, then north and south."""


def program(*phases: tuple[float, str], name: str = "J", own: str = "0", **more: object) -> str:
    inner = "".join(f'<phase duration="{one}" state="{state}"/>' for one, state in phases)
    kind = more.get("type_", "static")
    offset = more.get("offset", 0)
    return (
        f'<tlLogic id="{name}" type="{kind}" programID="{own}" offset="{offset}">{inner}</tlLogic>'
    )


def lit(folder: Path, *phases: tuple[float, str], **more: object) -> RoadNetwork:
    text = crossing("traffic_light", lights=True, head=program(*phases, **more))
    return read(folder, text)


def test_links_that_show_the_same_are_one_group(tmp_path: Path) -> None:
    network = lit(tmp_path, *PLAN, offset=10)
    assert [one.name for one in network.signal_groups] == ["J/0", "J/1"]
    assert network.signal_groups[0].cycle == [(GREEN, 30.0), (YELLOW, 3.0), (RED, 33.0)]
    assert network.signal_groups[1].cycle == [(RED, 33.0), (GREEN, 30.0), (YELLOW, 3.0)]
    assert [one.offset for one in network.signal_groups] == [56.0, 56.0]
    assert network.junctions[0].signal_groups == [0, 1]
    assert [one.kind for one in network.signals] == ["traffic_light"] * 4
    assert len(network.stop_lines) == 4
    for line in network.stop_lines:
        ((index, at),) = line.lanes
        assert network.lanes[index].length - at == pytest.approx(0.7)
        signal = network.signals[line.signal]
        assert signal.lanes == [index]
        # It stands on the right of the lane, as its traffic sees it.
        aside = signal.position - network.lanes[index].centre[-1]
        ahead = np.array([np.cos(signal.heading), np.sin(signal.heading)])
        assert ahead[0] * aside[1] - ahead[1] * aside[0] == pytest.approx(-2.6)


def test_links_that_are_green_but_give_way(tmp_path: Path) -> None:
    lanes = by_name(lit(tmp_path, *PLAN))
    assert lanes["e_in_0 -> w_out_0"].precedence == 0
    assert lanes["e_in_0 -> s_out_0"].precedence == -1


def test_a_lane_whose_links_differ_has_lines_ahead(tmp_path: Path) -> None:
    phases = [(30, "GGrrrrGGgrrr"), (5, "GGgrrrGGgrrr"), (30, "rrrGGgrrrGGg")]
    network = lit(tmp_path, *phases)
    ahead = [line for line in network.stop_lines if network.lanes[line.lanes[0][0]].junction == 0]
    assert sorted(network.lanes[line.lanes[0][0]].name for line in ahead) == sorted(
        follows(network, "e_in_0")
    )
    assert all(line.lanes[0][1] == pytest.approx(0.1) for line in ahead)
    assert len(network.stop_lines) == 6 and len(network.signal_groups) == 3


@pytest.mark.parametrize(
    ("letter", "colour"),
    [
        *(("G", GREEN), ("g", GREEN), ("y", YELLOW), ("Y", YELLOW)),
        *(("r", RED), ("u", RED), ("s", RED), ("o", NO_LIGHT), ("O", NO_LIGHT)),
    ],
)
def test_colours(tmp_path: Path, letter: str, colour: int) -> None:
    network = lit(tmp_path, (20, letter * 12), (10, "r" * 12 if colour != RED else "G" * 12))
    assert network.signal_groups[0].cycle[0] == (colour, 20.0)
    assert "states of lights" not in " ".join(network.problems)


def test_unknown_colours_are_red(tmp_path: Path) -> None:
    network = lit(tmp_path, (20, "G" * 12), (10, "?" * 12))
    assert network.signal_groups[0].cycle == [(GREEN, 20.0), (RED, 10.0)]
    assert network.problems == [
        "12 states of lights are unknown and count as red: '?', '?', '?', '?' and 8 more"
    ]


def test_lights_that_are_off_are_none(tmp_path: Path) -> None:
    network = lit(tmp_path, (20, "o" * 12))
    assert not network.signals and not network.signal_groups


@pytest.mark.parametrize(
    ("plans", "green"),
    [((("0", 11), ("1", 12)), 11), ((("1", 12), ("0", 11)), 11), ((("3", 13), ("2", 14)), 13)],
)
def test_of_several_programs_0_or_the_first_counts(
    tmp_path: Path, plans: tuple[tuple[str, float], ...], green: float
) -> None:
    text = "".join(program((one, "G" * 12), (9, "r" * 12), own=own) for own, one in plans)
    network = read(tmp_path, crossing("traffic_light", lights=True, head=text))
    assert network.signal_groups[0].cycle[0] == (GREEN, green)
    assert any("several programs" in one for one in network.problems)


def test_programs_that_react_keep_their_durations(tmp_path: Path) -> None:
    network = lit(tmp_path, *PLAN, type_="actuated")
    assert network.signal_groups[0].cycle[0] == (GREEN, 30.0)
    assert any("react to traffic" in one for one in network.problems)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (((0, "G" * 12),), "phases have no duration"),
        (((9, "G" * 11),), "1 links have no state in the program of their light: light J, link 11"),
        ((), "12 links have a light without a program"),
    ],
)
def test_flawed_programs(
    tmp_path: Path, phases: tuple[tuple[float, str], ...], message: str
) -> None:
    assert any(message in one for one in lit(tmp_path, *phases).problems)


def test_an_offset_that_is_no_number(tmp_path: Path) -> None:
    network = lit(tmp_path, *PLAN, offset="begin")
    assert network.signal_groups[0].offset == 0.0
    assert any("offset that is no number" in one for one in network.problems)


def test_lines_over_lanes_side_by_side(tmp_path: Path) -> None:
    text = net(
        road("a", "A J", *(f"0,{d} 90,{d}" for d in (0.0, 3.2, 6.4)), each={0: {"endOffset": 2}}),
        road("b", "J B", *(f"110,{d} 200,{d}" for d in (0.0, 3.2, 6.4))),
        program((30, "GGr"), (30, "rrG")),
        junction("J", "traffic_light"),
        *(link("a", "b", f"{k} {k}", tl="J", linkIndex=k) for k in range(3)),
    )
    network = read(tmp_path, text)
    first, second = network.stop_lines
    assert [network.lanes[index].name for index, _ in first.lanes] == ["a_0", "a_1"]
    assert network.lanes[first.lanes[0][0]].length - first.lanes[0][1] == pytest.approx(2.0)
    assert [network.lanes[index].name for index, _ in second.lanes] == ["a_2"]
    # Guards reach over all lanes that wait.
    for line in network.stop_lines:
        assert np.hypot(*(line.guard_left - line.guard_right)[:2]) == pytest.approx(9.6, abs=0.2)


@pytest.mark.parametrize(("state", "kind"), [("s", "priority_stop"), ("w", "allway_stop")])
def test_stop_signs(tmp_path: Path, state: str, kind: str) -> None:
    states = dict.fromkeys("ns" if state == "s" else "enws", state)
    network = read(tmp_path, crossing(kind, states=states))
    assert [one.kind for one in network.stop_lines] == ["stop_sign"] * len(states)
    assert [one.kind for one in network.signals] == ["stop_sign"] * len(states)
    assert network.junctions[0].rule == ("all_way_stop" if state == "w" else "")


def test_yield_signs_stand_where_all_ways_give_way(tmp_path: Path) -> None:
    network = read(tmp_path, crossing(states={"n": "m", "s": "m"}))
    assert [one.kind for one in network.signals] == ["yield_sign"] * 2
    names = [network.lanes[one.lanes[0]].name for one in network.signals]
    assert sorted(names) == ["n_in_0", "s_in_0"]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [("right_before_left", "right_first"), ("left_before_right", "left_first"), ("priority", "")],
)
def test_rules_of_junctions(tmp_path: Path, kind: str, rule: str) -> None:
    # Everybody gives way to the next arm.
    bits = [format(0b111 << 3 * ((k // 3 + 1) % 4), "012b") for k in range(12)]
    requests = "".join(request(k, bit) for k, bit in enumerate(bits))
    network = read(tmp_path, crossing(kind, requests=requests))
    assert network.junctions[0].rule == rule
    ranks = {network.lanes[i].precedence for i in network.junctions[0].lanes}
    assert ranks == ({0} if rule else {-2})


@pytest.mark.parametrize("internal", [True, False], ids=["internal", "version 0.13"])
def test_requests_say_who_gives_way(tmp_path: Path, internal: bool) -> None:
    # Links 3 to 5 come from the north and give way to 0 and 1 from the east; 5 to 3 as well.
    rows = {3: "000000000011", 4: "000000000001", 5: "000000001010"}
    requests = "".join(request(k, rows.get(k, "0" * 12)) for k in range(12))
    network = read(tmp_path, crossing(requests=requests, internal=internal))
    lanes = by_name(network)
    assert [lanes[name].precedence for name in follows(network, "e_in_0")] == [0, 0, 0]
    assert [lanes[name].precedence for name in follows(network, "n_in_0")] == [-1, -1, -2]


def test_left_hand_lights_stand_on_the_left(tmp_path: Path) -> None:
    text = crossing("traffic_light", lights=True, head=program(*PLAN), lefthand="true")
    network = read(tmp_path, text)
    for signal in network.signals:
        aside = signal.position - network.lanes[signal.lanes[0]].centre[-1]
        ahead = np.array([np.cos(signal.heading), np.sin(signal.heading)])
        assert ahead[0] * aside[1] - ahead[1] * aside[0] == pytest.approx(2.6)


def test_a_lane_whose_links_differ_is_written_out(tmp_path: Path) -> None:
    phases = [(30, "GGrrrrGGgrrr"), (5, "GGgrrrGGgrrr"), (30, "rrrGGgrrrGGg")]
    network = lit(tmp_path, *phases)
    told = save_opendrive(network, tmp_path / "out.xodr")
    assert not any(word in one for one in told for word in ("signal", "stop lines", "succ", "pred"))
    text = (tmp_path / "out.xodr").read_text()
    assert text.count("selfdrive_env.waits_on") == 3
    (tmp_path / "out.xodr").write_text(text.replace('waits_on" value="', 'waits_on" value="no '))
    again = load(tmp_path / "out.xodr")
    assert any("flawed records are left out" in one for one in again.dropped)


def test_a_group_belongs_to_the_junction_that_names_it(tmp_path: Path) -> None:
    """A light of two junctions has groups in one of them that rule ways of the other."""
    path = tmp_path / "out.xodr"
    save_opendrive(lit(tmp_path, *PLAN), path)
    there = '<controller id="1" sequence="1" />'
    other = f'<junction id="7" name="K">{there}</junction>'
    text = path.read_text().replace(there, "").replace("</OpenDRIVE>", f"{other}</OpenDRIVE>")
    path.write_text(text)
    again = load(path)
    assert [junction.signal_groups for junction in again.junctions] == [[0], [1]]
    assert [group.name for group in again.signal_groups] == ["J/0", "J/1"]
    assert [group.junction for group in again.signal_groups] == [0, 1]
