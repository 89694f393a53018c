"""Who takes the right of way of another, on crossings of four roads and in traffic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.maps import load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import Junction, RoadNetwork, Signal, StopLine
from selfdrive_env.state.road import (
    FOE_BEGIN,
    FOE_END,
    FOE_FIRST_COME,
    FOE_GOES_FIRST,
    FOE_OTHER_BEGIN,
    FOE_OTHER_END,
)
from selfdrive_env.state.world import EVENT_YIELD
from tests.kernels.conftest import build, no_jerk, put, set_body, town_engine
from tests.maps.conftest import connect, strip

ARMS = {"west": 0.0, "south": 90.0, "east": 180.0, "north": 270.0}
"""Arm -> direction in which traffic comes from it [deg]."""

NAMES = [f"{way} {arm}" for arm in ARMS for way in ("from", "straight", "left", "right")]
NAMES += [f"to {arm}" for arm in ARMS]
LANE = {name: number for number, name in enumerate(NAMES)}


def turned(points: list[list[float]], degrees: float) -> list[list[float]]:
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return [[*(matrix @ point), 0.0] for point in np.array(points, float)]


def four_arms(rule: str = "", left_hand: bool = False) -> RoadNetwork:
    """Four roads that meet in a square of 20 m, with all ways through it."""
    lanes, links = [], []
    turn = np.radians(np.linspace(0.0, 90.0, 12))
    for arm, degrees in ARMS.items():
        lanes.append(strip(f"from {arm}", turned([[-150, -2], [-10, -2]], degrees)))
        straight = [[-10, -2], [10, -2]]
        left = np.stack([-10 + 12 * np.sin(turn), 10 - 12 * np.cos(turn)], axis=1).tolist()
        right = np.stack([-10 + 8 * np.sin(turn), -10 + 8 * np.cos(turn)], axis=1).tolist()
        for way, points in (("straight", straight), ("left", left), ("right", right)):
            lanes.append(strip(f"{way} {arm}", turned(points, degrees), junction=0))
    for degrees in ARMS.values():
        lanes.append(strip("to", turned([[-10, 2], [-150, 2]], degrees)))
    arms = list(ARMS)
    for number, arm in enumerate(arms):
        for way, steps in (("straight", 2), ("left", 3), ("right", 1)):
            through = LANE[f"{way} {arm}"]
            links += [
                (LANE[f"from {arm}"], through),
                (through, LANE[f"to {arms[(number + steps) % 4]}"]),
            ]
    connect(lanes, *links)
    inside = [i for i, lane in enumerate(lanes) if lane.junction == 0]
    network = RoadNetwork("four arms", lanes, [Junction("cross", lanes=inside, rule=rule)])
    network = network.mirrored() if left_hand else network
    network.junctions[0].rule = rule
    return network


def signed(network: RoadNetwork, kind: str, *arms: str) -> RoadNetwork:
    """Puts signs on arms, those to stop with their lines."""
    for arm in arms:
        lane = LANE[f"from {arm}"]
        road = network.lanes[lane]
        ahead = road.centre[-1] - road.centre[0]
        heading = float(np.arctan2(ahead[1], ahead[0]))
        network.signals.append(Signal(arm, kind, road.right[-1], heading, [lane]))
        if kind == "stop_sign":
            ends = road.left[-1], road.right[-1]
            place = [(lane, road.length - 0.5)]
            network.stop_lines.append(
                StopLine(*ends, *ends, heading, place, kind, len(network.signals) - 1)
            )
    return network


def foes(network: RoadNetwork) -> dict[tuple[str, str], int]:
    """(who gives way, to whom) -> rule, by the names of lanes."""
    compiled = compile_map(network)
    signs, names = compiled.signs, [network.lanes[i].name for i in compiled.network_lane]
    count = np.diff(signs.foe_first)
    mine = np.repeat(np.arange(len(names)), count)
    pairs = zip(mine.tolist(), signs.foe.tolist(), signs.foe_rule.tolist(), strict=True)
    return {(names[a], names[b]): rule for a, b, rule in pairs}


def test_without_rule_or_sign_only_turns_across_oncoming_traffic_give_way() -> None:
    opposite = {"west": "east", "east": "west", "north": "south", "south": "north"}
    wanted = {
        (f"left {arm}", f"{way} {other}")
        for arm, other in opposite.items()
        for way in ("straight", "right")
    }
    found = foes(four_arms())
    assert set(found) == wanted
    assert set(found.values()) == {FOE_GOES_FIRST}


@pytest.mark.parametrize("left_hand", [False, True])
def test_right_or_left_first(left_hand: bool) -> None:
    rule = "left_first" if left_hand else "right_first"
    found = set(foes(four_arms(rule, left_hand)))
    plain = set(foes(four_arms("", left_hand)))
    assert plain < found
    # From the west, the road from the south lies to the right (mirrored: to the left).
    assert ("straight west", "straight south") in found
    assert ("straight south", "straight west") not in found
    assert ("straight west", "straight north") not in found
    assert ("left north", "straight west") in found


def test_signs_rank_before_right_first() -> None:
    network = signed(four_arms("right_first"), "yield_sign", "south", "north")
    found = foes(network)
    assert ("straight south", "straight west") in found
    assert ("straight west", "straight south") not in found
    assert ("left west", "straight east") in found
    by_rank = four_arms()
    for way in ("straight", "left", "right"):
        by_rank.lanes[LANE[f"{way} south"]].precedence = -1
    assert ("straight south", "straight north") not in foes(by_rank), "they do not meet"
    assert ("straight south", "straight west") in foes(by_rank)


def test_stop_signs_give_way_unless_all_have_them() -> None:
    some = foes(signed(four_arms(), "stop_sign", "south", "north"))
    assert some["straight south", "straight west"] == FOE_GOES_FIRST
    assert ("straight west", "straight south") not in some
    for network in (
        signed(four_arms(), "stop_sign", *ARMS),
        four_arms("all_way_stop"),
    ):
        found = foes(network)
        assert set(found.values()) == {FOE_FIRST_COME}
        assert all((b, a) in found for a, b in found)


def test_ways_meet_where_they_come_near() -> None:
    network = signed(four_arms(), "yield_sign", "south")
    compiled = compile_map(network)
    lane = compiled.network_lane.tolist().index(LANE["straight south"])
    other = compiled.network_lane.tolist().index(LANE["straight west"])
    entries = range(compiled.signs.foe_first[lane], compiled.signs.foe_first[lane + 1])
    (entry,) = [e for e in entries if compiled.signs.foe[e] == other]
    place = compiled.signs.foe_place[entry]
    # Lanes of 4 m cross at (2, -2): 8 m along the one, 12 m along the other.
    for begin, end, middle in ((FOE_BEGIN, FOE_END, 8.0), (FOE_OTHER_BEGIN, FOE_OTHER_END, 12.0)):
        assert 2.0 < middle - place[begin] < 5.0
        assert 2.0 < place[end] - middle < 5.0


def engine_on(network: RoadNetwork, agents: int = 2):
    engine = build([compile_map(network)], agents_per_world=agents)
    set_body(engine)
    engine.bodies.max_curvature[0] = 0.5
    engine.bodies.num_goals[0] = 1
    engine.bodies.goal_s[0] = 100.0
    engine.agents.goal[0] = 0
    engine.agents.front_junction[0] = -1
    return engine


def place(engine, agent: int, lane: str, goal: str, before: float, speed: float) -> None:
    """Puts an agent so that its front is `before` metres from the end of a lane."""
    number = LANE[lane]
    along = float(engine.lanes.length[number]) - before - 2.25
    put(engine, agent, int(engine.lanes.segment_first[number]) + int(along), along % 1.0,
        speed=speed)  # fmt: skip
    engine.bodies.goal_lane[0, agent, 0] = LANE[goal]


def is_flagged(engine, steps: int = 3) -> list[bool]:
    """Whether each agent took the right of way within some steps."""
    seen = np.zeros(engine.agents.x.shape[1], bool)
    for _ in range(steps):
        engine.step(no_jerk(engine))
        seen |= (engine.output.event[0] & EVENT_YIELD) != 0
    return seen.tolist()


@pytest.mark.parametrize(
    ("other_speed", "other_before", "flagged"),
    [
        (10.0, 10.0, True),  # there in a second
        (10.0, 90.0, False),  # far off
        (0.0, 2.0, False),  # stands
        (10.0, -40.0, False),  # gone
    ],
)
def test_who_makes_one_with_priority_brake_is_flagged(
    other_speed: float, other_before: float, flagged: bool
) -> None:
    engine = engine_on(signed(four_arms(), "yield_sign", "south"))
    place(engine, 0, "from south", "to north", 0.5, 8.0)
    if other_before < 0.0:
        place(engine, 1, "to east", "to east", 100.0, other_speed)
    else:
        place(engine, 1, "from west", "to east", other_before, other_speed)
    assert is_flagged(engine) == [flagged, False]


def test_who_has_priority_is_not_flagged() -> None:
    engine = engine_on(signed(four_arms(), "yield_sign", "south"))
    place(engine, 0, "from west", "to east", 0.5, 10.0)
    place(engine, 1, "from south", "to north", 8.0, 8.0)
    assert is_flagged(engine, 2) == [False, False]


def test_it_is_the_way_that_counts() -> None:
    """From the south to the right, before one that turns right itself."""
    engine = engine_on(signed(four_arms(), "yield_sign", "south"))
    place(engine, 0, "from south", "to east", 0.5, 6.0)
    place(engine, 1, "from west", "to south", 6.0, 8.0)
    assert is_flagged(engine) == [False, False]
    engine = engine_on(signed(four_arms(), "yield_sign", "south"))
    place(engine, 0, "from south", "to east", 0.5, 6.0)
    place(engine, 1, "from west", "to east", 6.0, 8.0)
    assert is_flagged(engine) == [True, False]


def test_who_goes_in_behind_another_is_not_flagged() -> None:
    """From the south to the right, behind one from the west that is about to leave the junction."""
    for before, flagged in ((4.0, False), (12.0, True)):
        engine = engine_on(signed(four_arms(), "yield_sign", "south"))
        place(engine, 0, "from south", "to east", 0.5, 5.0)
        place(engine, 1, "straight west", "to east", before, 6.0)
        assert is_flagged(engine) == [flagged, False], before


def test_it_is_flagged_once() -> None:
    engine = engine_on(signed(four_arms(), "yield_sign", "south"))
    place(engine, 0, "from south", "to north", 0.5, 8.0)
    place(engine, 1, "from west", "to east", 5.0, 8.0)
    count = 0
    for _ in range(6):
        engine.step(no_jerk(engine))
        count += int((engine.output.event[0, 0] & EVENT_YIELD) != 0)
    assert count == 1
    assert engine.tallies.count[0, 0, 10] == 1


@pytest.fixture(scope="module")
def yielding_arm():
    return engine_on(signed(four_arms(), "yield_sign", "south"))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    over=st.lists(st.floats(-2.0, 1.8), min_size=2, max_size=12),
    speed=st.floats(0.4, 3.0),
    leaves=st.booleans(),
)
def test_one_crossing_is_flagged_once_wherever_the_front_flickers(
    yielding_arm, over, speed, leaves
):
    """It moves back and forth over the edge, and may drive back and come in once more."""
    engine = yielding_arm
    engine.agents.front_junction[0] = -1

    def flags(places: list[float]) -> int:
        count = 0
        for before in places:
            place(engine, 0, "from south", "to north", before, speed)
            place(engine, 1, "from west", "to east", 8.0, 10.0)
            engine.step(no_jerk(engine))
            count += int((engine.output.event[0, 0] & EVENT_YIELD) != 0)
        return count

    assert flags([6.0]) == 0
    assert flags([-0.5, *over]) == 1
    assert flags([6.0] if leaves else [1.0]) == 0
    assert flags([*over, -0.5]) == int(leaves)


@pytest.mark.parametrize(("order", "flagged"), [((1, 0), True), ((0, 1), False)])
def test_at_an_all_way_stop_who_stood_first_goes_first(
    order: tuple[int, int], flagged: bool
) -> None:
    engine = engine_on(signed(four_arms(), "stop_sign", *ARMS))
    place(engine, 0, "from south", "to north", 100.0, 0.0)
    place(engine, 1, "from west", "to east", 100.0, 0.0)
    for agent in order:
        ways = ("from south", "to north"), ("from west", "to east")
        place(engine, agent, *ways[agent], 1.0, 0.0)
        assert not any(is_flagged(engine, 2))
    engine.agents.speed[0, 0] = 3.0
    assert is_flagged(engine, 6) == [flagged, False]


def test_nobody_is_flagged_on_a_map_without_rules() -> None:
    engine = engine_on(four_arms())
    place(engine, 0, "from south", "to north", 0.5, 8.0)
    place(engine, 1, "from west", "to east", 8.0, 8.0)
    assert is_flagged(engine) == [False, False]


@pytest.mark.parametrize("name", ["riverside", "harbour", "roundabouts:0"])
def test_scripted_drivers_hardly_ever_take_the_right_of_way(name: str) -> None:
    engine = town_engine(name, worlds=4, drivers=[1] * 40, on_goal="new_route")
    entered = flagged = 0
    before = engine.agents.front_junction.copy()
    for _ in range(1200):
        engine.step(no_jerk(engine))
        after = engine.agents.front_junction
        entered += int(((after >= 0) & (after != before)).sum())
        flagged += int(((engine.output.event & EVENT_YIELD) != 0).sum())
        before = after.copy()
    assert entered > 1000
    assert flagged < 0.01 * entered, f"{flagged} of {entered}"
    assert load(name).junctions


def arriving(rule: str, starts: dict[str, float], ticks: int = 400) -> tuple[list[str], int]:
    """Arms in the order in which scripted drivers from them come into the junction, straight on.

    Also how many of them took the right of way.
    """
    engine = build([compile_map(four_arms(rule))], drivers=[1] * len(starts))
    set_body(engine)
    engine.bodies.max_curvature[0] = 0.5
    engine.bodies.num_goals[0] = 1
    engine.bodies.goal_s[0] = 130.0
    engine.agents.goal[0] = 0
    engine.agents.front_junction[0] = -1
    arms = list(ARMS)
    for agent, (arm, before) in enumerate(starts.items()):
        opposite = arms[(arms.index(arm) + 2) % 4]
        place(engine, agent, f"from {arm}", f"to {opposite}", before, 8.0)
    order: list[str] = []
    flagged = 0
    for _ in range(ticks):
        engine.step(no_jerk(engine))
        for agent, arm in enumerate(starts):
            if engine.agents.front_junction[0, agent] == 0 and arm not in order:
                order.append(arm)
        flagged += int(np.count_nonzero(engine.output.event[0] & EVENT_YIELD))
    return order, flagged


@pytest.mark.parametrize("late", [0.0, 6.0, 12.0])
def test_scripted_drivers_let_the_one_from_the_right_go_first(late: float) -> None:
    # The road from the south lies to the right of the one from the west.
    assert arriving("right_first", {"west": 40.0, "south": 40.0 + late}) == (["south", "west"], 0)
    assert arriving("left_first", {"south": 40.0, "west": 40.0 + late}) == (["west", "south"], 0)


def test_four_at_once_do_not_wait_for_each_other_for_ever() -> None:
    order, _ = arriving("right_first", dict.fromkeys(ARMS, 40.0), ticks=900)
    assert sorted(order) == sorted(ARMS)
