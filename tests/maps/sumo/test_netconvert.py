"""The way from OpenStreetMap over netconvert, where that is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from selfdrive_env.maps import load
from selfdrive_env.maps.inspection import connectivity

PAGE = Path(__file__).parents[3] / "docs" / "formats" / "sumo.md"

EXTRACT = """<osm version="0.6">
<node id="1" lat="52.0020" lon="13.0000"/>
<node id="2" lat="52.0020" lon="13.0030"><tag k="highway" v="traffic_signals"/></node>
<node id="3" lat="52.0020" lon="13.0060"/>
<node id="4" lat="52.0000" lon="13.0030"/>
<node id="5" lat="52.0040" lon="13.0030"/>
<way id="10"><nd ref="1"/><nd ref="2"/><nd ref="3"/>
<tag k="highway" v="secondary"/><tag k="maxspeed" v="50"/><tag k="lanes" v="4"/></way>
<way id="11"><nd ref="4"/><nd ref="2"/><nd ref="5"/><tag k="highway" v="residential"/></way>
<way id="12"><nd ref="4"/><nd ref="5"/><tag k="highway" v="footway"/></way>
</osm>"""


@pytest.mark.parametrize("side", ["", "--lefthand"], ids=["right", "left"])
def test_a_crossing_of_openstreetmap(tmp_path: Path, side: str) -> None:
    program = shutil.which("netconvert")
    if program is None:
        pytest.skip("netconvert is not installed")
    found = re.search(r"netconvert (--osm-files.*?)\npython", PAGE.read_text(), re.DOTALL)
    assert found
    options = found[1].replace("\\\n", " ").split()
    (tmp_path / "town.osm").write_text(EXTRACT)
    command = [program, *options, *side.split()]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    network = load(tmp_path / "town.net.xml")
    assert network.left_hand == bool(side)
    assert network.num_roads == 8 and len(network.junctions) == 1
    assert connectivity(network) == 1.0
    assert len(network.signal_groups) >= 2 and all(one.cycle for one in network.signal_groups)
    assert {lane.type for lane in network.lanes} == {"driving"}
    assert max(lane.speed_limit for lane in network.lanes) == pytest.approx(50 / 3.6, abs=0.01)
