"""Towns by seed and CARLA's maps written as OpenDRIVE: equal when read back, and accepted."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.maps import RoadNetwork, load, save_opendrive
from selfdrive_env.maps.inspection import describe

SHORT = ("city:0", "village:0", "motorway:1", "roundabouts:4", "grid:0", "hills:2")
FAMILIES = ("city", "village", "motorway", "roundabouts", "grid", "hills")
LONG = [f"{family}:{seed}" for family in FAMILIES for seed in range(5)]
TOWNS = [*SHORT, *(pytest.param(n, marks=pytest.mark.full) for n in LONG if n not in SHORT)]
CARLA = ("Town01.xodr", "Town10HD.xodr", "Town03.xodr.gz")


@functools.cache
def town(name: str) -> RoadNetwork:
    """A town that no test changes."""
    return load(name)


ADDED = "direct junctions are there in addition"
"""Where lanes part, meet or turn back outside a junction, OpenDRIVE needs one."""

BANKED = "driving lanes end at another height"
"""All lanes of a section have one height in the file: slightly banked ones differ by some
centimetres."""


@pytest.mark.parametrize("name", TOWNS)
def test_a_town_by_seed_reads_back_the_same(name, tmp_path):
    network = town(name)
    found = save_opendrive(network, tmp_path / "map.xodr")
    again = load(tmp_path / "map.xodr")
    for sentence in found:
        heights = [float(by) for by in re.findall(r"by ([0-9.]+) m", sentence)]
        banked = BANKED in sentence and name.startswith("motorway") and max(heights) < 0.1
        assert ADDED in sentence or banked, sentence
    assert again.problems == []
    assert_same_figures(network, again)
    marks = [Counter(one.left_mark for one in n.lanes) for n in (network, again)]
    assert marks[0] == marks[1]


def assert_same_figures(network: RoadNetwork, again: RoadNetwork) -> None:
    one, two = describe(network), describe(again)
    assert len(network.lanes) == len(again.lanes)
    for key in ("connectivity", "share_reached"):
        assert one[key] == two[key], key
    assert again.driving_lane_km == pytest.approx(network.driving_lane_km, abs=1e-6)
    assert len(one["open_ends"]) == len(two["open_ends"])


def test_what_a_town_has_is_there_to_be_lost():
    """The towns above hold what their families are for."""
    networks = [town(name) for name in SHORT]
    lanes = [lane for network in networks for lane in network.lanes]
    assert {"biking", "parking", "shoulder", "sidewalk"} <= {lane.type for lane in lanes}
    assert any(lane.left_mark == "none" for lane in lanes)
    assert {lane.precedence for lane in lanes} >= {-1, 0, 1}
    assert any(junction.rule for network in networks for junction in network.junctions)
    assert any(np.ptp(lane.width) > 1.0 for lane in lanes if lane.drivable)


@pytest.mark.parametrize("name", [*TOWNS, *CARLA])
def test_netconvert_accepts_the_town(name, tmp_path, request):
    program = shutil.which("netconvert")
    if program is None:
        pytest.skip("netconvert is not installed")
    if name in CARLA:
        name = request.getfixturevalue("shared_data") / "opendrive/carla" / name
    save_opendrive(load(name), tmp_path / "map.xodr")
    assert_accepted(program, tmp_path)


def assert_accepted(program: str, folder: Path) -> None:
    done = subprocess.run(
        [program, "--opendrive-files", "map.xodr", "-o", "map.net.xml"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Error" not in done.stderr, done.stderr
