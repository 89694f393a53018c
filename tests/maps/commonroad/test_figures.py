"""Real files, where they are at hand, against a count of their elements with another reader."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from selfdrive_env.maps.commonroad.reader import read_commonroad
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.inspection import describe

SHARED = Path(__file__).parents[4] / "shared" / "data" / "commonroad"

LIGHTS = {
    "maps/CHN_Roundabout-1.xml": 0,
    "maps/DEU_AachenAseag-1.xml": 0,
    "maps/DEU_CologneKlettenberg-1.xml": 0,
    "maps/DEU_MONAEast-2.xml": 0,
    "maps/DEU_Thiergarten-1.xml": 0,
    "maps/MUC_TUMDOT-1.xml": 39,
    "scenarios/ARG_Carcarana-4_5_T-1.xml": 0,
    "scenarios/BEL_Putte-8_2_T-1.xml": 0,
    "scenarios/DEU_A9-3_1_T-1.xml": 0,
    "scenarios/DEU_Flensburg-10_1_T-1.xml": 0,
    "scenarios/USA_Lanker-1_1_T-1.xml": 0,
    "scenarios/USA_US101-4_1_T-1.xml": 0,
    "scenarios/ZAM_Tjunction-1_97_T-1.xml": 0,
}
"""Traffic lights of each file."""

NOT_DRIVEN = (
    *("sidewalk", "crosswalk", "bicycleLane", "busLane", "shoulder", "border", "restricted"),
)

SLIVERS = {
    "maps/DEU_Thiergarten-1.xml": {"73", "81", "104"},
    "maps/DEU_CologneKlettenberg-1.xml": {"434"},
    "maps/MUC_TUMDOT-1.xml": {"551"},
}
"""Lanelets that are nowhere 1.5 m wide, seen across their lane."""


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip("the shared maps are absent")
    return path


def counted(path: Path, slivers: set[str]) -> tuple[float, int, int, set[tuple[str, str]]]:
    """Kilometres of driven lanelets, their number, that of lights, and the links between them."""
    root = ET.parse(path).getroot()
    total, names, links = 0.0, set(), set()
    for lanelet in root.findall("lanelet"):
        kinds = {kind.text for kind in lanelet.findall("laneletType")}
        users = {
            user.text
            for tag in ("userOneWay", "userBidirectional")
            for user in lanelet.findall(tag)
        }
        name = lanelet.get("id")
        not_for_cars = kinds & set(NOT_DRIVEN) or (users and not users & {"car", "vehicle"})
        if not_for_cars or name in slivers:
            continue
        names.add(name)
        for side in ("leftBound", "rightBound"):
            points = [[float(v.text) for v in p] for p in lanelet.find(side).iter("point")]
            total += 0.5 * np.hypot(*np.diff(np.array(points)[:, :2], axis=0).T).sum() / 1000.0
        links |= {(name, after.get("ref")) for after in lanelet.findall("successor")}
    driven = {link for link in links if set(link) <= names}
    return total, len(names), len(root.findall("trafficLight")), driven


@pytest.mark.parametrize("name", LIGHTS)
def test_real_files_agree_with_a_count(name: str) -> None:
    path = shared(name)
    network = read_commonroad(path)
    length, lanes, lights, links = counted(path, SLIVERS.get(name, set()))
    own = [lane for lane in network.lanes if lane.drivable and not lane.name.endswith("/back")]
    assert len(own) == lanes
    assert network.driving_lane_km == pytest.approx(length, rel=0.02)
    assert lights == LIGHTS[name]
    figures = describe(network)
    assert figures["traffic_lights"] == lights
    assert figures["connectivity"] == 1.0
    found = {(lane.name, network.lanes[after].name) for lane in own for after in lane.successors}
    # One of Munich leads back over 50 m; those of a street in both directions are from geometry.
    back = {link for link in found if any(end.endswith("/back") for end in link)}
    assert len(links - found) <= 1 and not found - back - links
    compile_map(network, lane_points=8, boundary_points=8)


def test_programs_signs_and_limits_of_a_real_file() -> None:
    network = read_commonroad(shared("maps/MUC_TUMDOT-1.xml"))
    kinds = [signal.kind for signal in network.signals]
    assert kinds.count("yield_sign") == 22 and kinds.count("priority_sign") == 12
    assert len(network.signal_groups) == 8
    assert {group.junction >= 0 for group in network.signal_groups} == {True}
    alike = [problem for problem in network.problems if "green at once" in problem]
    assert alike and "4 junctions" in alike[0]
    limits = {round(3.6 * lane.speed_limit) for lane in network.lanes if lane.drivable}
    assert limits == {30, 50}


def test_limits_of_the_old_version() -> None:
    network = read_commonroad(shared("scenarios/DEU_A9-3_1_T-1.xml"))
    assert {lane.speed_limit for lane in network.lanes} == {27.78}
