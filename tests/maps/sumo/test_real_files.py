"""The real networks beside the checkout, against figures that another reader counted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.maps import load
from selfdrive_env.maps.inspection import connectivity, open_ends
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import Event


class Figures(NamedTuple):
    roads: int
    lane_km: float
    plans: int
    roundabouts: int


FILES = {
    "bologna_acosta.net.xml": Figures(164, 30.9, 7, 1),
    "hamburg_tavf.net.xml.gz": Figures(607, 98.2, 43, 0),
    "wildau.net.xml.gz": Figures(674, 43.7, 3, 3),
    "toronto_minicity.net.xml": Figures(803, 36.1, 88, 2),
    "ngsim_peachtree.net.xml": Figures(34, 3.9, 0, 0),
    "cologne8.net.xml": Figures(149, 15.9, 8, 0),
    "esmini_e6mini.net.xml": Figures(2, 11.7, 0, 0),
}


LONG = ("hamburg_tavf.net.xml.gz", "wildau.net.xml.gz")
"""Whose kinds of roads, lights and roundabouts others have, or `test_signals.py`: with --full."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.full] * (name in LONG)) for name in FILES],
)
def known(request: pytest.FixtureRequest, shared_data: Path) -> tuple[RoadNetwork, Figures]:
    return load(shared_data / "sumo" / request.param), FILES[request.param]


def counted(network: RoadNetwork, words: str) -> int:
    return sum(int(one.split()[0]) for one in network.problems if words in one)


def test_figures(known: tuple[RoadNetwork, Figures]) -> None:
    network, figures = known
    assert network.num_roads == figures.roads
    assert network.driving_lane_km == pytest.approx(figures.lane_km, rel=0.02)
    shown = {group.name.rpartition("/")[0] for group in network.signal_groups}
    assert len(shown) + counted(network, "lights rule no way") == figures.plans
    assert counted(network, "roundabouts") == figures.roundabouts
    assert connectivity(network) in (1.0, None)


def test_lanes_hang_together(known: tuple[RoadNetwork, Figures]) -> None:
    network, _ = known
    # A car park of Wildau whose two ways in lie over lanes of the main road.
    assert set(open_ends(network)) <= {"36847354#0_0", "36847354#5_0"}
    for lane in network.lanes:
        if not lane.drivable:
            continue
        steps = np.diff(lane.centre[:, :2], axis=0)
        assert (np.hypot(*steps.T) > 0.0).all(), lane.name
        for index in lane.successors:
            other = network.lanes[index]
            gap = other.centre[0] - lane.centre[-1]
            assert np.hypot(gap[0], gap[1]) < 0.05, f"{lane.name} -> {other.name}"
            ahead = (steps[-1], np.diff(other.centre[:2, :2], axis=0)[0])
            turn = (ahead[0][0] * ahead[1][1] - ahead[0][1] * ahead[1][0]) / np.prod(
                [np.hypot(*step) for step in ahead]
            )
            assert abs(turn) < np.sin(np.radians(8.0)), f"{lane.name} -> {other.name}"


def test_the_same_motorway_in_two_formats(shared_data: Path) -> None:
    """netconvert left the median of 2.6 m out and parts lanes by 0.1 m: all else is the same."""
    drive = load(shared_data / "opendrive" / "esmini_e6mini.xodr")
    sumo = load(shared_data / "sumo" / "esmini_e6mini.net.xml")
    twins = {f"-0.0.00_{k}": f"0/0/-{5 - k}" for k in (1, 2, 3)}
    twins |= {f"0.0.00_{k}": f"0/0/{5 - k}" for k in (1, 2, 3)}
    lanes = {lane.name: lane for lane in drive.lanes}
    for lane in sumo.lanes:
        assert lane.successors == []
        if lane.name not in twins:
            continue
        other = lanes[twins[lane.name]]
        assert other.drivable and other.successors == []
        apart = []
        for point in (lane.centre + sumo.origin)[10:-10:5]:
            line = other.centre + drive.origin
            near = int(np.clip(np.argmin(np.hypot(*(line - point)[:, :2].T)), 1, len(line) - 2))
            step = (line[near + 1] - line[near - 1])[:2]
            gap = (point - line[near])[:2]
            apart.append((step[0] * gap[1] - step[1] * gap[0]) / np.hypot(*step))
            assert abs(point[2] - line[near, 2]) < 0.1
        assert np.mean(apart) == pytest.approx(2.45, abs=0.11)
        assert np.ptp(apart) < 0.05
        beside = [sumo.lanes[i].name for i in (lane.left_neighbour, lane.right_neighbour) if i >= 0]
        others = [
            drive.lanes[i].name for i in (other.left_neighbour, other.right_neighbour) if i >= 0
        ]
        assert {twins[name] for name in beside if name in twins} == set(others)


@pytest.mark.parametrize("name", ["ngsim_peachtree.net.xml", "cologne8.net.xml"])
def test_scripted_drivers_drive(shared_data: Path, name: str) -> None:
    envs = gym.make_vec(
        "selfdrive_env/Drive-v0",
        num_envs=2,
        map=str(shared_data / "sumo" / name),
        agents_per_world=12,
        driver="idm",
        bodies="typed",
        on_goal="new_route",
        on_collision="ignore",
        on_offroad="ignore",
        horizon=1.0e4,
        light_removal=0.0,
        lights_off=0.0,
    )
    envs.reset(seed=1)
    bad = Event.OFFROAD | Event.RED_LIGHT | Event.COLLISION | Event.WRONG_WAY
    actions = np.zeros(2, np.int64)
    for step in range(200):
        envs.step(actions)
        event = envs.unwrapped.engine.output.event
        names = [one.name for one in METRICS if (event & bad & one.event).any()]
        assert not names, f"{names} in step {step}"
    envs.close()
