from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import MapError
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.lanelet2 import carla
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import GREEN, RED, YELLOW
from tests.maps.lanelet2.osm import Map, crossing, straight


def waits(network: RoadNetwork) -> dict[str, tuple[str, float]]:
    """Kind of stop line and where it lies, by the name of the lane."""
    return {
        network.lanes[lane].name: (line.kind, s)
        for line in network.stop_lines
        for lane, s in line.lanes
    }


def test_lights_have_lines_and_groups_by_direction(tmp_path: Path) -> None:
    network = crossing().read(tmp_path)
    assert [(s.name, s.kind, s.group) for s in network.signals] == [
        ("L1", "traffic_light", 0),
        ("L2", "traffic_light", 1),
    ]
    np.testing.assert_allclose(network.signals[0].position, [8.0, 4.5, 5.0])
    assert network.signals[1].heading == pytest.approx(np.pi / 2)
    places = waits(network)
    assert places["1"] == ("signal", pytest.approx(51.0))
    assert places["4"] == ("signal", pytest.approx(54.0 - 0.7))
    assert [g.name for g in network.signal_groups] == ["L1", "L2"]
    assert network.junctions[0].signal_groups == [0, 1]
    assert all(group.cycle == [] for group in network.signal_groups)
    assert network.problems == []
    compile_map(network)


def test_a_light_for_a_lanelet_in_the_junction_holds_before_it(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.relations = []
    for k, rules in enumerate(("", "L", "", "", "", "", "L"), 1):
        made.lanelet(str(k), f"{k}l", f"{k}r", *rules)
    made.rule("L", "traffic_light", ("way", "bulb", "refers"))
    assert waits(made.read(tmp_path)) == {"1": ("signal", pytest.approx(53.3))}


def test_who_turns_off_freely_need_not_wait(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.relations = []
    for k, rules in enumerate(("", "L", "", "", "", "", ""), 1):
        made.lanelet(str(k), f"{k}l", f"{k}r", *rules)
    made.rule("L", "traffic_light", ("way", "bulb", "refers"))
    assert waits(made.read(tmp_path)) == {"2": ("signal", pytest.approx(0.1))}


def test_a_line_may_lie_on_the_lanelet_before(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.relations = []
    for name, (x0, x1) in {"0": (-60, -8), "1": (-8, -6)}.items():
        made.way(f"{name}l", [(x0, 2.0), (x1, 2.0)])
        made.way(f"{name}r", [(x0, -2.0), (x1, -2.0)])
    for k in range(8):
        made.lanelet(str(k), f"{k}l", f"{k}r", *(["L"] if k == 1 else []))
    made.rule("L", "traffic_light", ("way", "bulb", "refers"), ("way", "line", "ref_line"))
    network = made.read(tmp_path)
    assert waits(network) == {"0": ("signal", pytest.approx(51.0))}
    assert network.signal_groups[0].junction == 0


def test_lights_that_nobody_heeds_and_unknown_elements_are_listed(tmp_path: Path) -> None:
    made = crossing()
    made.rule("L3", "traffic_light", ("way", "bulb", "refers"))
    made.rule("L4", "traffic_light", ("way", "nowhere", "refers"))
    made.rule("B", "speed_bump", ("way", "bulb", "refers"))
    made.lanelet("8", "8l", "8r", "gone")
    straight(made, "8l", 0.0, 20.0, 80.0)
    straight(made, "8r", 0.0, 20.0, 76.0)
    network = made.read(tmp_path)
    assert [s.group for s in network.signals] == [0, 1, -1, -1]
    assert network.problems == [
        "1 lanelets name a regulatory element that is not in the file: 8 (gone)",
        "1 regulatory elements are of no kind that is read: B (speed_bump)",
        "1 traffic lights have no place of their own: L4",
        "2 traffic lights control no lane for cars: L3, L4",
    ]


def test_right_of_way(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.rule(
        "W", "right_of_way",
        *(("relation", name, role) for name, role in (("1", "right_of_way"), ("4", "yield"))),
    )  # fmt: skip
    network = made.read(tmp_path)
    assert [lane.precedence for lane in network.lanes] == [0, 1, 0, 0, -1, 0, 1]
    assert network.stop_lines == []


def test_right_of_way_for_when_lights_fail_does_not_count_where_they_are(tmp_path: Path) -> None:
    made = crossing()
    members = (("relation", "1", "right_of_way"), ("relation", "4", "yield"))
    made.rule("W", "right_of_way", *members, fallback="yes")
    network = made.read(tmp_path)
    assert {lane.precedence for lane in network.lanes} == {0}
    made.rule("V", "right_of_way", *members)
    assert made.read(tmp_path).lanes[4].precedence == -1


def test_right_of_way_without_a_junction_is_listed(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.rule("W", "right_of_way", ("relation", "3", "yield"), ("relation", "99", "yield"))
    network = made.read(tmp_path)
    assert network.problems == ["1 lanelets with a right of way lead to no junction: 3"]


@pytest.mark.parametrize("subtype", ["de206", "usR1-1", "stop_sign"])
def test_stop_signs(tmp_path: Path, subtype: str) -> None:
    made = crossing(lights=False)
    made.way("sign", [(3.0, -8.0), (3.5, -8.0)], type="traffic_sign", subtype=subtype)
    made.way("halt", [(-3.0, -9.0), (3.0, -9.0)], type="stop_line")
    made.rule(
        "W", "right_of_way", ("relation", "1", "right_of_way"), ("relation", "4", "yield"),
        ("way", "sign", "refers"), ("way", "halt", "ref_line"),
    )  # fmt: skip
    network = made.read(tmp_path)
    assert waits(network) == {"4": ("stop_sign", pytest.approx(51.0))}
    (sign,) = network.signals
    assert (sign.kind, sign.lanes, network.stop_lines[0].signal) == ("stop_sign", [3], 0)
    assert network.lanes[4].precedence == -1
    compile_map(network)


def test_a_traffic_sign_stops_the_lanelets_that_name_it(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.relations[3] = ""
    made.lanelet("4", "4l", "4r", "S")
    made.way("sign", [(3.0, -8.0), (3.5, -8.0)], type="traffic_sign", subtype="de206")
    made.way("other", [(3.0, -8.0), (3.5, -8.0)], type="traffic_sign", subtype="de301")
    made.rule("S", "traffic_sign", ("way", "sign", "refers"), ("way", "other", "refers"))
    network = made.read(tmp_path)
    assert waits(network) == {"4": ("stop_sign", pytest.approx(53.3))}
    assert [s.kind for s in network.signals] == ["stop_sign", "priority_sign"]


def test_all_way_stop(tmp_path: Path) -> None:
    made = crossing(lights=False)
    made.rule("A", "all_way_stop", *(("relation", name, "yield") for name in "143"))
    network = made.read(tmp_path)
    assert waits(network).keys() == {"1", "3", "4"}
    assert network.junctions[0].rule == "all_way_stop"
    assert network.problems == ["1 lanelets of all-way stops lead to no junction: 3"]
    assert {line.signal for line in network.stop_lines} == {-1}


def test_drawn_stop_lines_hold_for_lights_without_one_and_stop_where_there_is_none(
    tmp_path: Path,
) -> None:
    made = crossing()
    made.way("halt", [(-3.0, -20.0), (3.0, -20.0)], type="stop_line")
    made.relations = [r for r in made.relations if 'relation id="4"' not in r]
    made.lanelet("4", "4l", "4r", "L2", "M")
    made.rule("M", "road_marking", ("way", "halt", "refers"))
    assert waits(made.read(tmp_path))["4"] == ("signal", pytest.approx(40.0))
    made.relations = [r for r in made.relations if 'relation id="4"' not in r]
    made.lanelet("4", "4l", "4r", "M")
    assert waits(made.read(tmp_path))["4"] == ("stop_sign", pytest.approx(40.0))


@pytest.mark.parametrize(
    ("sign", "tags", "speed"),
    [
        ("de274-30", {}, 30 / 3.6),
        ("de274.1", {}, 30 / 3.6),
        ("de274", {"sign_type": "20 mph"}, 20 * 0.44704),
        ("usR2-1", {}, None),
        ("", {"sign_type": "45"}, 45 / 3.6),
        ("", {}, None),
    ],
)
def test_speed_limit_elements(
    tmp_path: Path, sign: str, tags: dict[str, str], speed: float | None
) -> None:
    made = crossing(lights=False)
    made.relations[0] = ""
    made.lanelet("1", "1l", "1r", "V", speed_limit="80")
    made.way("sign", [(3.0, -8.0), (3.5, -8.0)], type="traffic_sign", subtype=sign)
    made.rule("V", "speed_limit", ("way", "sign", "refers"), **tags)
    network = made.read(tmp_path)
    lane = next(lane for lane in network.lanes if lane.name == "1")
    assert lane.speed_limit == pytest.approx(80 / 3.6 if speed is None else speed)
    assert bool(network.problems) == (speed is None)


def town(tmp_path: Path) -> Map:
    """A crossing near latitude 0, longitude 0, of whose two roads the northward one has a light."""
    made = crossing()
    made.local = False
    scale = 110_682.5  # metres of the zone a degree, with UTM's scale 3 degrees from its middle
    made.nodes = {(y / scale, x / 111_428.2, *z): name for (x, y, *z), name in made.nodes.items()}
    made.relations = [r for r in made.relations if 'id="L1"' not in r]
    return made


def stops(tmp_path: Path, *rows: dict[str, object], name: str = "map") -> None:
    (tmp_path / f"{name}_stoplines.json").write_text(json.dumps(rows))


def phases(*rows: tuple[dict[str, str], object]) -> list[dict[str, object]]:
    return [
        {"actor_states": states, "duration": seconds, "state": k, "next_state": (k + 1) % len(rows)}
        for k, (states, seconds) in enumerate(rows)
    ]


EAST = {"actor_id": 1, "agent_type": "traffic_light", "x": -9.0, "y": 0.0, "length": 1.0,
    "width": 4.0, "orientation": 0.0}  # fmt: skip
NORTH = EAST | {"actor_id": 2, "x": 0.0, "y": -9.0, "orientation": np.pi / 2}
CYCLE = phases(
    ({"1": "green", "2": "red"}, "20"), ({"1": "yellow", "2": "red"}, 5),
    ({"1": "red", "2": "green"}, 15.0), ({"1": "red", "2": "Yellow"}, 5),
)  # fmt: skip


def test_stop_lines_and_programs_beside_the_file(tmp_path: Path) -> None:
    made = town(tmp_path)
    stops(tmp_path, EAST, NORTH)
    (tmp_path / "map_traffic_light_controller.json").write_text(json.dumps([CYCLE]))
    network = made.read(tmp_path)
    assert waits(network)["1"] == ("signal", pytest.approx(51.0, abs=0.02))
    groups = {network.signals[g.signals[0]].name: g for g in network.signal_groups}
    assert groups["1"].cycle == [(GREEN, 20.0), (YELLOW, 5.0), (RED, 20.0)]
    assert groups["L2"].cycle == [(RED, 25.0), (GREEN, 15.0), (YELLOW, 5.0)]
    assert {g.name for g in network.signal_groups} >= {"controller 0/0", "controller 0/1"}
    assert network.junctions[0].signal_groups == [0, 1]
    compile_map(network)


def test_phases_follow_each_other_as_they_name_the_next(tmp_path: Path) -> None:
    stops(tmp_path, EAST)
    turned = [CYCLE[0], *CYCLE[:0:-1]]
    (tmp_path / "map_traffic_light_controller.json").write_text(json.dumps([turned]))
    network = town(tmp_path).read(tmp_path)
    group = next(g for g in network.signal_groups if g.cycle)
    assert group.cycle == [(GREEN, 20.0), (YELLOW, 5.0), (RED, 20.0)]


def test_stop_lines_that_lie_nowhere_are_listed(tmp_path: Path) -> None:
    stops(tmp_path, EAST | {"x": 500.0}, EAST | {"orientation": np.pi})
    (tmp_path / "map_traffic_light_controller.json").write_text(json.dumps([CYCLE]))
    network = town(tmp_path).read(tmp_path)
    assert network.problems[-2:] == [
        "2 stop lines of the file beside lie on no lane: actor 1, actor 1",
        "2 lights of controllers have no stop line: actor 1, actor 2",
    ]
    network = crossing().read(tmp_path)
    assert network.problems == [
        "1 files of stop lines are left out: their metres count from latitude 0, longitude 0: "
        "map_stoplines.json"
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("stoplines", "{", "damaged or no JSON"),
        ("stoplines", "[" * 100_000, "damaged or no JSON"),
        ("stoplines", "{}", "the file must be a list, got dict"),
        ("stoplines", "[1]", "an entry is '1', not an object"),
        ("stoplines", '[{"x": "near"}]', "x='near' of an entry is not a number"),
        ("stoplines", '[{"x": 1, "y": NaN}]', "y='nan' of an entry is not a number"),
        ("traffic_light_controller", "[{}]", "a controller must be a list, got dict"),
        ("traffic_light_controller", "[[]]", "controller 0 has 0 phases"),
        ("traffic_light_controller", "[[7]]", "a phase has no object actor_states"),
        (
            "traffic_light_controller",
            '[[{"actor_states": {"1": "pink"}}]]',
            "the colour 'pink' is none of green, yellow, red, off, none",
        ),
        (
            "traffic_light_controller",
            '[[{"actor_states": {"1": "red"}, "duration": 0}]]',
            "duration='0' of an entry is not a number from 0.001 to 3600",
        ),
    ],
)
def test_flawed_files_beside_are_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / f"map_{name}.json").write_text(text)
    with pytest.raises(MapError, match=f"map_{name}.json: {message}"):
        town(tmp_path).read(tmp_path)


def test_files_beside_that_are_too_long_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops(tmp_path, EAST)
    monkeypatch.setattr(carla, "MAX_BYTES", 9)
    with pytest.raises(MapError, match=r"map_stoplines\.json: more than 9 bytes"):
        town(tmp_path).read(tmp_path)


def test_lights_side_by_side_that_turn_green_together_share_a_line(tmp_path: Path) -> None:
    made = crossing()
    straight(made, "9", -60.0, -6.0, -6.0)
    made.way("bulb2", [(8.0, -4.0, 5.0), (8.0, -5.0, 5.0)], type="traffic_light")
    made.lanelet("9", "1r", "9", "L3")
    made.rule("L3", "traffic_light", ("way", "bulb2", "refers"), ("way", "line", "ref_line"))
    made.ways["line"] = ([made.node(-9.0, 2.5), made.node(-9.0, -7.0)], {"type": "stop_line"})
    straight(made, "10", -6.0, 6.0, -6.0)
    made.lanelet("10", "2r", "10")
    network = made.read(tmp_path)
    lines = {tuple(network.lanes[i].name for i, _ in p.lanes): p for p in network.stop_lines}
    assert sorted(lines) == [("1", "9"), ("4",)]
    assert network.signals[lines["4",].signal].name == "L2"
    assert network.signal_groups[0].signals == [0, 2]
