from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps.inspection import connectivity
from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.road_network import RoadNetwork

FIGURES = {
    "carla/Town01.xodr": (122, 12, 6.40, 36, 0.0, 0.0),
    "carla/Town02.xodr": (84, 8, 2.92, 24, 0.0, 0.0),
    "carla/Town03.xodr.gz": (369, 35, 14.93, 38, -0.9, 8.5),
    "carla/Town04.xodr.gz": (276, 27, 33.45, 43, 0.0, 11.0),
    "carla/Town06.xodr.gz": (200, 23, 25.51, 19, 0.0, 0.0),
    "carla/Town10HD.xodr": (108, 9, 5.95, 17, 0.0, 0.0),
    "carla/Town11.xodr.gz": (2222, 174, 717.0, 602, 21.0, 791.0),
    "carla/Town12.xodr.xz": (7056, 628, 662.0, 1124, 298.0, 380.0),
    "esmini_multi_intersections.xodr": (63, 5, 6.43, 68, 0.0, 0.0),
    "esmini_fabriksgatan_traffic_lights.xodr": (16, 1, 1.22, 3, 0.0, 0.0),
    "esmini_e6mini.xodr": (1, 0, 8.79, 0, -3.0, 2.0),
    "esmini_soderleden.xodr": (5, 1, 3.69, 0, 0.0, 0.0),
    "asam_Ex_Entry_Exit.xodr": (6, 2, 3.97, 0, 0.0, 1.0),
    "maliput_cloverleaf.xodr": (148, 13, 24.23, 56, -0.6, 10.7),
    "nashville_chatt.xodr": (189, 24, 18.39, 82, 0.0, 0.0),
    "smarts_newmarket.xodr": (533, 68, 31.62, 0, 181.0, 190.0),
}
"""Roads, junctions, driving lane-km, traffic lights, lowest and highest z of the real maps [m]."""


def real_maps() -> list:
    marks = dict.fromkeys(("carla/Town11.xodr.gz", "carla/Town12.xodr.xz"), pytest.mark.full)
    return [pytest.param(name, marks=marks.get(name, ())) for name in FIGURES]


@pytest.mark.parametrize("name", real_maps())
def test_real_maps_agree_with_the_reference_figures(name: str) -> None:
    path = Path(__file__).parents[4] / "shared" / "data" / "opendrive" / name
    if not path.is_file():
        pytest.skip("the shared maps are absent")
    roads, junctions, length, lights, low, high = FIGURES[name]
    network = read_opendrive(path)
    assert network.num_roads == roads
    assert len(network.junctions) == junctions
    assert network.driving_lane_km == pytest.approx(length, rel=0.01)
    assert sum(s.kind == "traffic_light" for s in network.signals) == lights
    heights = np.concatenate([entry.centre[:, 2] for entry in network.lanes if entry.drivable])
    assert heights.min() + network.origin[2] == pytest.approx(low, abs=0.6)
    assert heights.max() + network.origin[2] == pytest.approx(high, abs=0.6)
    linked = connectivity(network)
    assert linked is None or linked >= 0.99
    check_consistency(network)


def check_consistency(network: RoadNetwork) -> None:
    for index, entry in enumerate(network.lanes):
        assert len(set(entry.successors)) == len(entry.successors)
        assert all(index in network.lanes[i].predecessors for i in entry.successors)
        assert all(network.lanes[i].drivable for i in entry.successors)
    listed = Counter(g for j in network.junctions for g in j.signal_groups)
    assert set(listed.values()) <= {1}
    at_junctions = {i for i, g in enumerate(network.signal_groups) if g.junction >= 0}
    assert at_junctions == set(listed)
    stopped = Counter(i for line in network.stop_lines for i, _ in line.lanes)
    assert set(stopped.values()) <= {1}
    for line in network.stop_lines:
        leftward = np.array([-np.sin(line.heading), np.cos(line.heading)])
        width = (line.left - line.right)[:2] @ leftward
        assert 0.0 < width <= (line.guard_left - line.guard_right)[:2] @ leftward + 1e-6
        assert all(0.0 <= s <= network.lanes[i].length + 1e-9 for i, s in line.lanes)
        assert network.signals[line.signal].kind in ("traffic_light", "stop_sign")
