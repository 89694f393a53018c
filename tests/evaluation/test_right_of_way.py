"""Scripted drivers heed right of way that a map states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps.road_network import RoadNetwork
from tests.evaluation.placed import PlacedEnv
from tests.maps.opendrive.test_reader import lane, read, road, signal

AHEAD = '<link><predecessor id="-1"/><successor id="-1"/></link>'
LINK = '<{} elementType="{}" elementId="{}" contactPoint="{}"/>'


def plus(folder: Path, sign: str) -> RoadNetwork:
    """Two one-way roads, 10/11 from the west and 20/21 from the south, that cross in a junction."""
    right = lane(-1, inner=AHEAD)
    tail = signal("7", 80, kind=sign, extra='dynamic="no"') if sign else ""
    into = LINK.format("successor", "junction", 9, "start")
    parts = []
    for name, x, y, hdg, signs in (("1", -110, 0, 0.0, ""), ("2", 0, -110, np.pi / 2, tail)):
        cos, sin = np.cos(hdg), np.sin(hdg)
        ends = LINK.format("predecessor", "road", f"{name}0", "end")
        ends += LINK.format("successor", "road", f"{name}1", "start")
        parts += [
            road(f"{name}0", 100.0, x=x, y=y, hdg=hdg, right=right, links=into,
                 tail=f"<signals>{signs}</signals>"),
            road(f"{name}5", 20.0, x=x + 100 * cos, y=y + 100 * sin, hdg=hdg, right=right,
                 links=ends, junction="9"),
            road(f"{name}1", 200.0, x=x + 120 * cos, y=y + 120 * sin, hdg=hdg, right=right),
        ]  # fmt: skip
    connection = (
        '<connection incomingRoad="{0}0" connectingRoad="{0}5" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection>'
    )
    both = connection.format(1) + connection.format(2)
    return read(folder, *parts, f'<junction id="9">{both}</junction>')


class Scene(PlacedEnv):
    """Bodies on a network of one's own."""

    def __init__(self, network: RoadNetwork) -> None:
        super().__init__(network, 1, agents_per_world=2, driver="idm")


@pytest.mark.parametrize(("sign", "first"), [("", 1), ("205", 0), ("306", 1)])
def test_who_gives_way_lets_the_later_one_pass(tmp_path: Path, sign: str, first: int) -> None:
    """The car from the south would be at the junction a second before that from the west."""
    network = plus(tmp_path, sign)
    env = Scene(network)
    env.reset(seed=0)
    env.clear()
    env.engine.worlds.num_agents[...] = 2
    names = [network.lanes[i].name for i in env.scene.network_lane]
    for agent, (arm, away) in enumerate((("1", 42.0), ("2", 32.0))):
        start = (names.index(f"{arm}0/0/-1"), 100.0 - away)
        env.put(0, agent, start, [(names.index(f"{arm}1/0/-1"), 150.0)], speed=10.0)
    env.observe()
    entered: dict[int, int] = {}
    junction = env.engine.lanes.junction
    for step in range(200):
        env.step(env.action_space.sample() * 0)
        agents = env.engine.agents
        for agent in range(2):
            if junction[env.engine.lanes.segment_lane[agents.segment[0, agent]]] >= 0:
                entered.setdefault(agent, step)
        assert agents.contact[0].tolist() == [0, 0]
        if len(entered) == 2:
            break
    env.close()
    assert min(entered, key=lambda agent: entered[agent]) == first
    assert len(entered) == 2
