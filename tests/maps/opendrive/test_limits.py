"""Small files that would fill the memory are refused early, each with one sentence."""

from __future__ import annotations

import lzma
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdrive_env.maps import load, xml
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.road_network import MapError
from tests.fuzz import harness
from tests.maps.opendrive.test_reader import document, lane, road

MEGABYTE = 1 << 20

FLOODS = {
    "nested": ([b"<OpenDRIVE><road>"] + [b"<a>" * MEGABYTE] * 4, "64 deep"),
    "nested links": ([b"<OpenDRIVE><road>"] + [b"<link>" * MEGABYTE] * 4, "64 deep"),
    "links": ([b"<OpenDRIVE><road>"] + [b"<link/>" * MEGABYTE] * 4, "more than 50000 elements"),
    "unknown": ([b"<OpenDRIVE>"] + [b"<a/>" * MEGABYTE] * 4, "more than 3000000 elements"),
    "attribute": (
        [b'<OpenDRIVE><road id="'] + [b"x" * MEGABYTE] * 64 + [b'"/></OpenDRIVE>'],
        "longer than 16 MiB",
    ),
    "comment": ([b"<OpenDRIVE><!--"] + [b"x" * MEGABYTE] * 64, "longer than 16 MiB"),
}

CHILD = """
import resource, sys, time
import selfdrive_env.maps.cache
from selfdrive_env.maps import load
from selfdrive_env.maps.road_network import MapError
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load(sys.argv[1])
except MapError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle)
"""


def packed(path: Path, parts: Iterator[bytes]) -> Path:
    with lzma.open(path, "wb", preset=0) as file:
        for part in parts:
            file.write(part)
    return path


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_refused_before_they_fill_the_memory(tmp_path: Path, name: str) -> None:
    pytest.importorskip("resource")
    parts, message = FLOODS[name]
    path = packed(tmp_path / "flood.xodr.xz", iter(parts))
    assert path.stat().st_size < MEGABYTE
    command = [sys.executable, "-c", CHILD, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sentence, kilobytes = done.stdout.splitlines()
    assert sentence.startswith("flood.xodr.xz")
    assert message in sentence
    assert int(kilobytes) < 1_000_000


@pytest.mark.parametrize(
    ("ending", "root"),
    [
        (".net.xml", b"<net>"),
        (".osm", b"<osm>"),
        (".xml", b'<commonRoad commonRoadVersion="2020a">'),
    ],
)
def test_floods_are_refused_in_every_format_of_xml(tmp_path, ending, root) -> None:
    path = packed(tmp_path / f"flood{ending}.xz", iter([root] + [b"<a>" * MEGABYTE] * 4))
    with pytest.raises(MapError, match=f"flood{ending}.xz.*64 deep"):
        load(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["driving", "onRamp", "none", "sidewalk", "shoulder", "border", "x"]),
    size=st.floats(-1.0, 8.0),
    slope=st.floats(-3.0, 3.0),
    length=st.floats(0.0, 4.0),
)
def test_lanes_of_any_width_are_compiled_within_the_memory_or_refused(
    tmp_path, kind, size, slope, length
) -> None:
    """Of any type, as wide as 10^size metres and widening by 10^slope a metre."""
    width = f'<width sOffset="0" a="{10**size}" b="{10**slope}" c="0" d="0"/>'
    before = harness.peak_memory()
    path = tmp_path / "map.xodr"
    path.write_text(document(road(length=10**length, right=lane(-1) + lane(-2, kind, width))))
    try:
        network = read_opendrive(path)
        compile_map(network)
    except MapError as error:
        assert "\n" not in str(error)
        assert "map" in str(error)
    else:
        driven = [entry for entry in network.lanes if entry.drivable]
        assert max(entry.width.max() for entry in driven) <= 60.0
    assert harness.peak_memory() - before < harness.MOST_MEMORY


def test_many_attributes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.xodr"
    many = " ".join(f'a{number}="0"' for number in range(xml.MAX_ATTRIBUTES + 1))
    path.write_text(document(f"<road {many}/>"))
    with pytest.raises(MapError, match=r"line 1: <road> has 257 attributes; at most 256"):
        read_opendrive(path)


@pytest.mark.parametrize("width", [61.0, 1_000.0, 10_000.0])
def test_lanes_wider_than_any_road_are_refused_by_name(tmp_path: Path, width: float) -> None:
    path = tmp_path / "map.xodr"
    path.write_text(document(road(right=lane(-1) + lane(-2, width=width))))
    with pytest.raises(MapError, match=rf"map.xodr: lane 1/0/-2 is {width:.0f} m wide; .* 60 m"):
        read_opendrive(path)
    path.write_text(document(road(right=lane(-1) + lane(-2, "none", width=width))))
    assert len(read_opendrive(path).lanes) == 2


def test_maps_of_too_many_points_are_refused(tmp_path: Path) -> None:
    """A hundred bends of 60 km: each of them is allowed."""
    path = tmp_path / "map.xodr"
    bend = '<geometry s="0" x="0" y="0" hdg="0" length="6e4"><arc curvature="0.003"/></geometry>'
    path.write_text(document(*(road(str(k), 6e4, geometry=bend) for k in range(100))))
    with pytest.raises(
        MapError, match=r"map.xodr: the lanes up to road \d+ need more than 4000000"
    ):
        read_opendrive(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(*(road(str(k), 9e5, y=100.0 * k) for k in range(2))), "1800 km long"),
        (document(road("1"), road("2", x=4e4, y=4e4)), "40 km x 40 km"),
    ],
)
def test_maps_beyond_the_grid_are_refused_before_it_is_made(tmp_path, text, message) -> None:
    path = tmp_path / "map.xodr"
    path.write_text(text)
    network = read_opendrive(path)
    with pytest.raises(MapError, match=message):
        compile_map(network)


def test_wide_lanes_of_a_network_made_by_hand_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.xodr"
    path.write_text(document(road("1", 25_000.0)))
    network = read_opendrive(path)
    network.lanes[0].left = network.lanes[0].left + np.array([0.0, 25_000.0, 0.0])
    with pytest.raises(MapError, match=r"map 'map': its lanes, up to 25004 m wide, touch about"):
        compile_map(network)
