"""Maps changed at random are read, compiled and driven on, or refused with a `MapError`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.maps import MapError, columns, load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.inspection import describe
from selfdrive_env.maps.opendrive.reader import read_opendrive
from selfdrive_env.maps.road_network import FILE_HEADER, FILE_VERSION, RoadNetwork
from tests.fuzz.harness import budget, fuzz
from tests.fuzz.xml_mutations import as_bytes, changed, damaged
from tests.maps.commonroad import files as commonroad
from tests.maps.opendrive.test_reader import (
    LINE,
    controller,
    crossing,
    lane,
    road,
    section,
    signal,
    validity,
)

SEED = 20_260
SHORT, SMALL = 12.0, 3e3
"""Maps of less road [km] and extent [m] are compiled; how long others take is no matter here."""

EACH_COMPILED, EACH_DRIVEN = 7, 97
"""One in so many is compiled if it is small, one in so many is driven on."""

SMALL_FILES = (
    *("esmini_fabriksgatan_traffic_lights.xodr", "esmini_soderleden.xodr", "esmini_e6mini.xodr"),
    *("asam_Ex_Entry_Exit.xodr", "carla/Town02.xodr", "esmini_multi_intersections.xodr"),
)

TYPES = ("int32", "float32", "int64", "float64", "uint8")

BOTH = '<link><predecessor id="{0}"/><successor id="{0}"/></link>'
LIMIT = '<speed sOffset="0" max="50" unit="km/h"/>'
DENIED = '<access sOffset="20" rule="deny" restriction="passengerCar"/>'
WIDE = (
    '<width sOffset="0" a="3" b="0.01" c="0" d="0"/><width sOffset="50" a="3.5" b="0" c="0" d="0"/>'
)
LINK = '<{} elementType="road" elementId="{}" contactPoint="{}"/>'
BEND = LINE.replace("<line/>", '<arc curvature="0.02"/>')
SPIRAL = LINE.replace("<line/>", '<spiral curvStart="0" curvEnd="0.02"/>')
CUBIC = LINE.replace(
    "<line/>",
    '<paramPoly3 aU="0" bU="60" cU="0" dU="0" aV="0" bV="0" cV="9" dV="-6" pRange="normalized"/>',
)
POLY = LINE.replace("<line/>", '<poly3 a="0" b="0" c="0.002" d="0"/>')
HILL = '<elevationProfile><elevation s="0" a="1" b="0.01" c="0.001" d="0"/></elevationProfile>'
TYPE = '<type s="0" type="town"><speed max="30" unit="mph"/></type>'
OFFSET = '<laneOffset s="0" a="0" b="0.01" c="0" d="0"/>'
CROSSWALK = (
    '<objects><object id="1" type="crosswalk" s="20" t="0" hdg="0.1" length="8" width="3"><outline>'
    '<cornerRoad s="18" t="3" dz="0"/><cornerRoad s="22" t="3" dz="0"/>'
    '<cornerRoad s="22" t="-3" dz="0"/></outline></object>'
    '<object id="2" type="-1" name="StopLine" s="96" t="-3" length="0.4" width="7"/></objects>'
)
SIGNS = "".join(
    (
        "<signals>",
        signal("a", 100, inner=validity(-1, -1)),
        signal("b", 100, inner=validity(0, 0)),
        signal("c", 60, kind="274", extra='value="50"'),
        signal("d", 95, kind="206"),
        signal("e", 90, kind="205"),
        signal("f", 97, kind="294"),
        "</signals>",
    )
)


def _shapes() -> str:
    """Returns a chain of roads of every kind of geometry, with what roads can have."""
    pieces = (
        BEND.format(x=0, y=0, hdg=0, length=60),
        SPIRAL.format(x=200, y=0, hdg=1, length=60),
        CUBIC.format(x=400, y=0, hdg=2, length=60),
        POLY.format(x=600, y=0, hdg=3, length=60),
    )
    lanes = lane(-1, inner=BOTH.format(-1) + LIMIT, width=WIDE) + lane(-2, inner=DENIED)
    roads = [
        road(
            str(k),
            60.0,
            geometry=piece,
            head=TYPE + HILL,
            offset=OFFSET,
            left=lane(1, "bidirectional", inner=BOTH.format(1)),
            right=lanes,
            links=LINK.format("successor", (k + 1) % 4, "start"),
            tail=CROSSWALK,
        )
        for k, piece in enumerate(pieces)
    ]
    return "".join(roads)


def _sides() -> str:
    """Returns a road with sections of one side, and a ring."""
    one = [
        section(0, left=lane(1, inner=BOTH.format(1))),
        section(0, right=lane(-1, inner=BOTH.format(-1))),
        section(40, right=lane(-1, inner=BOTH.format(-1)) + lane(-2, "sidewalk")),
    ]
    ring = BEND.replace("0.02", str(1 / 40)).format(x=300, y=0, hdg=0, length=80 * np.pi)
    sections = "".join(s.replace("<laneSection", '<laneSection singleSide="true"') for s in one)
    around = LINK.format("predecessor", "8", "end") + LINK.format("successor", "8", "start")
    inner = lane(-1, inner=BOTH.format(-1))
    return road("7", sections=sections) + road(
        "8", 80 * np.pi, geometry=ring, links=around, right=inner
    )


DOCUMENTS = tuple(
    f"<OpenDRIVE><header/>{body}</OpenDRIVE>"
    for body in (
        crossing(approach=SIGNS + CROSSWALK, controllers='<priority high="4" low="5"/>')
        + controller("p", "a", "b"),
        crossing(signals=SIGNS + CROSSWALK, controllers='<controller id="p" sequence="1"/>')
        + controller("p", "a"),
        _shapes(),
        _sides(),
        road(left=lane(1), right=lane(-1), tail=SIGNS),
    )
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """The content of a .roads file."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "map.xodr").write_text(DOCUMENTS[0])
    read_opendrive(folder / "map.xodr").save(folder / "map.roads")
    yield (folder / "map.roads").read_bytes()


def use_map(path: Path, number: int) -> str:
    """Reads a map; compiles some, and drives on a few."""
    network = load(path)
    network.check()
    figures = describe(network)
    corners = np.concatenate([np.concatenate([lane.left, lane.right]) for lane in network.lanes])
    small = figures["driving_lane_km"] < SHORT and np.ptp(corners[:, :2], axis=0).max() < SMALL
    if number % EACH_COMPILED or not small:
        return "read"
    compile_map(network.varied(number % 3), lane_points=8, boundary_points=8)
    if number % EACH_DRIVEN:
        return "compiled"
    try:
        envs = gym.make_vec("selfdrive_env/Drive-v0", num_envs=2, map=network, agents_per_world=3)
        envs.reset(seed=0)
    except ValueError as error:
        assert "has room for" in str(error) or "more than the maps hold" in str(error)
        return "too small to drive on"
    for _ in range(20):
        observations = envs.step(envs.action_space.sample())[0]
        assert np.isfinite(observations).all()
    envs.close()
    return "driven on"


@pytest.fixture(scope="module", autouse=True)
def compiled_kernels() -> None:
    """Compiles all kernels, which may take longer than an input may."""
    envs = gym.make_vec("selfdrive_env/Drive-v0", num_envs=2, agents_per_world=3)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    envs.close()


@pytest.fixture(autouse=True)
def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFDRIVE_CACHE", "")


def fuzz_documents(
    folder: Path, documents: tuple[str, ...], seed: int, count: int, ending: str = ".xodr"
) -> None:
    """Reads documents that are changed at random; at least a fifth must stay usable."""

    def make(random: np.random.Generator) -> tuple[bytes, str]:
        return as_bytes(changed(str(random.choice(documents)), random), random, ending)

    def use(made: tuple[bytes, str], number: int) -> str:
        path = folder / f"map{made[1]}"
        path.write_bytes(made[0])
        return use_map(path, number)

    ends = fuzz(make, use, seed=seed, count=count, allowed=(MapError,))
    if ends.total() >= 50:
        assert ends["MapError"]
        assert ends["read"] > 0.2 * ends.total()


def test_changed_opendrive_files(tmp_path: Path) -> None:
    fuzz_documents(tmp_path, DOCUMENTS, SEED, budget(200))


def test_changed_real_files(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "opendrive"
    files = [folder / name for name in SMALL_FILES if (folder / name).is_file()]
    if not files:
        pytest.skip("the shared maps are absent")
    documents = tuple(path.read_text() for path in files)
    fuzz_documents(tmp_path, documents, SEED + 2, budget(75) // 15)


def test_changed_commonroad_files(tmp_path: Path) -> None:
    fuzz_documents(tmp_path, commonroad.documents(), SEED + 3, budget(200), ".xml")


def test_changed_network_files(tmp_path: Path, whole: bytes) -> None:
    """Bytes are changed, or arrays, with a header and a checksum that fit."""
    (tmp_path / "whole.roads").write_bytes(whole)
    arrays = columns.read(tmp_path / "whole.roads", FILE_HEADER, FILE_VERSION)

    def make(random: np.random.Generator) -> columns.Arrays | bytes:
        if random.random() < 0.3:
            return damaged(whole, random)
        out = dict(arrays)
        for _ in range(int(random.integers(1, 4))):
            name = str(random.choice(list(out)))
            array = out[name].copy()
            kind = random.random()
            if kind < 0.1:
                del out[name]
                continue
            if kind < 0.2:
                array = array[: int(random.integers(len(array) + 1))]
            elif kind < 0.3:
                array = array.astype(
                    random.choice(["int32", "float32", "int64", "float64", "uint8"])
                )
            elif len(array):
                values = [-2, -1, 0, 1, 7, 10**6, 2**40, np.nan, np.inf, 1e12, -1e-12, 255]
                with np.errstate(all="ignore"):
                    value = np.array([random.choice(values)]).astype(array.dtype)[0]
                array[int(random.integers(len(array)))] = value
            out[name] = array
        return out

    def use(made: columns.Arrays | bytes, number: int) -> str:
        path = tmp_path / "map.roads"
        if isinstance(made, bytes):
            path.write_bytes(made)
        else:
            columns.write(path, FILE_HEADER, FILE_VERSION, made)
        network = RoadNetwork.read(path)
        if not any(lane.drivable for lane in network.lanes):
            return "no lane"
        return use_map(path, number)

    ends = fuzz(make, use, seed=SEED + 1, count=budget(200) // 2, allowed=(MapError,))
    assert ends.total() < 50 or ends["MapError"]
