"""Lane changes: in bends, before lanes part, of long bodies."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.drivers.path_info import CHANGES
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import EVENT_OFFROAD, IDM
from tests.kernels.conftest import build, no_jerk, put, segment_of, send
from tests.maps.conftest import strip


def bent(radius: float, before: float, after: float, turn: float) -> np.ndarray:
    """Points of an eastward line that turns left by `turn` about (before, 30), then goes on."""
    angle = np.linspace(0.0, turn, 61)
    bend = np.stack([before + radius * np.sin(angle), 30.0 - radius * np.cos(angle)], axis=1)
    ahead = np.array([np.cos(turn), np.sin(turn)])
    points = [[0.0, 30.0 - radius], *bend, bend[-1] + after * ahead]
    return np.insert(np.array(points), 2, 0.0, axis=1)


@settings(max_examples=20, deadline=None)
@given(
    before=st.floats(40.0, 300.0),
    after=st.floats(40.0, 300.0),
    turn=st.floats(0.3, 3.0),
    left=st.booleans(),
    share=st.floats(0.0, 1.0),
)
def test_who_changes_lanes_in_a_bend_aims_at_the_place_beside(before, after, turn, left, share):
    """The lanes differ in length: the same share of both lies metres apart."""
    lanes = [strip("outer", bent(30.0, before, after, turn)),
        strip("inner", bent(26.0, before, after, turn))]  # fmt: skip
    lanes[0].left_neighbour, lanes[1].right_neighbour = 1, 0
    engine = build([compile_map(RoadNetwork("bend", lanes))], drivers=[IDM], bodies={"car": 1.0})
    agents, own = engine.agents, 0 if left else 1
    place = before - 5.0 + share * (30.0 - 4.0 * own) * turn
    put(engine, 0, segment_of(engine, own, place), speed=6.0)
    send(engine, 0, 1 - own, float(engine.lanes.length[1 - own]) - 5.0)
    changed = 0
    for _ in range(20):
        cos, sin = agents.cos[0, 0], agents.sin[0, 0]
        ahead = 0.5 * engine.bodies.wheelbase[0, 0]
        centre = agents.x[0, 0] + ahead * cos, agents.y[0, 0] + ahead * sin
        engine.step(no_jerk(engine))
        assert not engine.output.event[0, 0] & EVENT_OFFROAD
        changed += engine.scratch.path_info[0, 0, CHANGES] > 0.0
        x, y, cos, sin, _ = engine.scratch.path[0, 0, 0]
        assert abs((centre[0] - x) * cos + (centre[1] - y) * sin) < 1.0
    assert changed > 0
