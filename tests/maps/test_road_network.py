from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfdrive_env.config import Settings
from selfdrive_env.maps import BUILT_IN, MapError, columns, compiled, load
from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import (
    FILE_HEADER,
    FILE_VERSION,
    Crosswalk,
    Junction,
    Lane,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)
from selfdrive_env.state.world import GREEN, RED

SAVED = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def same(a: Any, b: Any) -> bool:
    """Whether values are of equal types and equal to the bit, arrays too."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a) if field.name != "source"]
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, list | tuple):
        return (
            type(a) is type(b)
            and len(a) == len(b)
            and all(same(x, y) for x, y in zip(a, b, strict=True))
        )
    return type(a) is type(b) and a == b


def numbers() -> st.SearchStrategy[float]:
    return st.floats(-1e9, 1e9)


def points(count: int) -> st.SearchStrategy[np.ndarray]:
    row = st.tuples(numbers(), numbers(), numbers())
    return st.lists(row, min_size=count, max_size=count).map(lambda p: np.array(p, np.float64))


def one_point() -> st.SearchStrategy[np.ndarray]:
    return points(1).map(lambda p: p[0])


@st.composite
def networks(draw: Any) -> RoadNetwork:
    """Networks that make no sense on the road but whose indices lead somewhere."""
    sizes = {
        name: draw(st.integers(0, 3))
        for name in ("lanes", "junctions", "signals", "signal_groups", "stop_lines", "crosswalks")
    }

    def index(of: str) -> int:
        return int(draw(st.integers(-1, sizes[of] - 1)))

    def indices(of: str) -> list[int]:
        if not sizes[of]:
            return []
        return list(draw(st.lists(st.integers(0, sizes[of] - 1), max_size=3)))

    def lane() -> Lane:
        count = draw(st.integers(2, 4))
        lines = [draw(points(count)) for _ in range(3)]
        links = (index("junctions"), indices("lanes"), indices("lanes"))
        neighbours = index("lanes"), index("lanes")
        limit, road = abs(draw(numbers())), draw(st.text())
        return Lane(draw(st.text()), draw(st.text()), *lines, limit, road, *links, *neighbours)

    def line() -> StopLine:
        places = [(lane, draw(numbers())) for lane in indices("lanes")]
        ends = [draw(one_point()) for _ in range(4)]
        return StopLine(*ends, draw(numbers()), places, draw(st.text()), index("signals"))

    network = RoadNetwork(draw(st.text()))
    network.lanes = [lane() for _ in range(sizes["lanes"])]
    network.junctions = [
        Junction(draw(st.text()), draw(st.text()), indices("lanes"), indices("signal_groups"))
        for _ in range(sizes["junctions"])
    ]
    network.signals = [
        Signal(
            *(draw(st.text()), draw(st.text()), draw(one_point()), draw(numbers())),
            *(indices("lanes"), index("signal_groups")),
        )
        for _ in range(sizes["signals"])
    ]
    network.signal_groups = [
        SignalGroup(draw(st.text()), indices("signals"), index("junctions"))
        for _ in range(sizes["signal_groups"])
    ]
    network.stop_lines = [line() for _ in range(sizes["stop_lines"])]
    network.crosswalks = [
        Crosswalk(draw(points(draw(st.integers(0, 4))))) for _ in range(sizes["crosswalks"])
    ]
    for crosswalk in network.crosswalks:
        crosswalk.outline = crosswalk.outline.reshape(-1, 3)
    network.origin = (draw(numbers()), draw(numbers()), draw(numbers()))
    network.left_hand = draw(st.booleans())
    network.num_roads = draw(st.integers(0, 2**70))
    network.driving_lane_km = draw(numbers())
    for heading in ("problems", "inferred", "dropped"):
        setattr(network, heading, draw(st.lists(st.text(), max_size=2)))
    return network


@pytest.mark.parametrize("name", BUILT_IN)
def test_towns_come_back_to_the_bit(tmp_path: Path, name: str) -> None:
    town, path = load(name), tmp_path / "town.roads"
    town.save(path)
    again = load(path)
    assert same(town, again)
    assert (again.source, again.digest()) == (str(path), town.digest())
    assert compile_map(again).digest == compile_map(town).digest
    again.lanes[0].centre += 1.0  # what was read may be written to


@SAVED
@given(network=networks())
def test_any_network_comes_back_to_the_bit(tmp_path: Path, network: RoadNetwork) -> None:
    path = tmp_path / "any.roads"
    network.save(path)
    again = RoadNetwork.read(path)
    assert same(network, again)
    assert again.digest() == network.digest()


def test_hand_made_networks_come_back(tmp_path: Path, road: RoadNetwork, fork: RoadNetwork) -> None:
    for network in (road, fork):
        network.save(tmp_path / "hand.roads")
        assert same(network, load(tmp_path / "hand.roads"))


def test_numbers_of_numpy_are_kept_as_those_of_python(tmp_path: Path, road: RoadNetwork) -> None:
    road.lanes[0].speed_limit = np.float32(0.1)
    road.lanes[0].successors = [np.int64(3)]
    road.save(tmp_path / "road.roads")
    lane = load(tmp_path / "road.roads").lanes[0]
    assert (type(lane.speed_limit), lane.speed_limit) == (float, float(np.float32(0.1)))
    assert (type(lane.successors[0]), lane.successors) == (int, [3])


def test_the_digest_follows_everything_but_the_source(road: RoadNetwork) -> None:
    first = road.digest()
    assert dataclasses.replace(road, source="elsewhere").digest() == first
    assert dataclasses.replace(road, name="other").digest() != first
    assert dataclasses.replace(road, left_hand=True).digest() != first
    road.lanes[0].centre = road.lanes[0].centre + 1e-9
    assert road.digest() != first


def test_networks_are_equal_that_hold_the_same(road: RoadNetwork, fork: RoadNetwork) -> None:
    again = copy.deepcopy(road)
    assert road == again and road != fork and road != "road"
    assert Settings(map=[road, "harbour"]) == Settings(map=[again, "harbour"])
    again.lanes[0].centre[0, 0] += 1e-9
    assert road != again


def wrong(attribute: str, value: Any) -> Any:
    def change(network: RoadNetwork) -> None:
        owner, name = attribute.split(".")
        setattr(getattr(network, owner)[0], name, value)

    return change


FLAWS = [
    (wrong("lanes.successors", [9]), r"lanes.successors of entry 0 is 9; there are 5 lanes"),
    (wrong("lanes.successors", [-1]), "is -1"),
    (wrong("lanes.successors", [0.5]), "whole number"),
    (wrong("lanes.left_neighbour", -2), "left_neighbour of entry 0 is -2"),
    (wrong("lanes.junction", 0), "there are 0 junctions"),
    (wrong("lanes.centre", np.zeros((1, 3))), "centre of lane 'east' has no two points"),
    (wrong("lanes.centre", np.zeros(3)), "centre of lane 'east' has no two points"),
    (wrong("lanes.centre", np.zeros((3, 2))), r"points must be \[P, 3\]"),
    (wrong("lanes.left", np.zeros((2, 3))), "left of lane 'east' is not shaped"),
    (wrong("lanes.right", np.full((3, 3), np.nan)), "lanes.right has a number"),
    (wrong("lanes.speed_limit", float("inf")), "lanes.speed_limit has a number"),
    (wrong("lanes.speed_limit", "fast"), "lanes.speed_limit cannot be kept"),
    (wrong("lanes.speed_limit", "5"), "lanes.speed_limit cannot be kept: it must be a number"),
    (wrong("lanes.successors", ["1"]), "lanes.successors cannot be kept: .* whole number"),
    (wrong("lanes.successors", [True]), "lanes.successors cannot be kept: .* whole number"),
    (lambda network: setattr(network, "lanes", ["east"]), "lanes must be a list of Lane"),
    (lambda network: setattr(network, "lanes", None), "lanes must be a list of Lane"),
    (lambda network: setattr(network, "name", None), "name must be text, got None"),
]


@pytest.mark.parametrize(("change", "message"), FLAWS)
def test_flawed_networks_are_neither_saved_nor_loaded(
    tmp_path: Path, road: RoadNetwork, change: Any, message: str
) -> None:
    change(road)
    with pytest.raises(MapError, match=message):
        road.save(tmp_path / "road.roads")
    with pytest.raises(MapError, match=message):
        load(road)
    assert list(tmp_path.iterdir()) == []


def test_lists_in_place_of_arrays_are_saved_but_not_compiled(
    tmp_path: Path, road: RoadNetwork
) -> None:
    left = road.lanes[0].left
    road.lanes[0].left = left.tolist()
    with pytest.raises(MapError, match=r"lanes\.left of entry 0 must be an array of float64"):
        load(road)
    road.save(tmp_path / "road.roads")
    assert same(load(tmp_path / "road.roads").lanes[0].left, left)


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_arrays_that_are_not_float64_are_not_compiled(road: RoadNetwork, kind: Any) -> None:
    """They have the digest of the same numbers in float64, and would compile to others."""
    compiled(road)  # lies in the cache
    for line in ("centre", "left", "right"):
        setattr(road.lanes[0], line, np.round(getattr(road.lanes[0], line)))
    compiled(road)
    road.lanes[0].left = road.lanes[0].left.astype(kind)
    for take in (load, compiled):
        with pytest.raises(MapError, match=r"lanes\.left of entry 0 must be an array of float64"):
            take(road)


def test_lists_in_place_of_arrays_are_refused_whatever_is_cached(road: RoadNetwork) -> None:
    road.crosswalks.append(Crosswalk(np.zeros((3, 3))))
    compiled(road)
    road.crosswalks[0].outline = road.crosswalks[0].outline.tolist()
    with pytest.raises(MapError, match=r"crosswalks.outline of entry 0 must be an array"):
        compiled(road)


@pytest.mark.parametrize("far", [(1e9, 0.0), (0.0, 1e9), (3e5, 3e5)])
def test_maps_that_no_memory_holds_are_refused(road: RoadNetwork, far: Any) -> None:
    lane = road.lanes[3]
    for line in (lane.centre, lane.left, lane.right):
        line[-1, :2] = far
    with pytest.raises(MapError, match=r"map 'road': .* at most"):
        compile_map(load(road))


def test_other_endings_are_refused(tmp_path: Path, road: RoadNetwork) -> None:
    with pytest.raises(MapError, match=r"ends in \.roads"):
        road.save(tmp_path / "road.xodr")
    with pytest.raises(MapError, match="does not exist"):
        load(tmp_path / "road.roads")


def test_versions_and_other_files_are_told_apart(tmp_path: Path, road: RoadNetwork) -> None:
    path, arrays = tmp_path / "road.roads", road.arrays()
    columns.write(path, FILE_HEADER, FILE_VERSION + 1, arrays)
    with pytest.raises(MapError, match=r"road.roads is no road network: it has version 2, .* 1"):
        load(path)
    columns.write(path, "selfdrive_env_map", FILE_VERSION, arrays)
    with pytest.raises(MapError, match="its header has no 'selfdrive_env_roads'"):
        load(path)
    path.write_text("<OpenDRIVE/>")
    with pytest.raises(MapError, match="damaged, or another program wrote it"):
        load(path)


@pytest.mark.parametrize("lost", ["about", "lanes.count", "lanes.centre", "lanes.centre.length"])
def test_a_missing_array_is_named(tmp_path: Path, road: RoadNetwork, lost: str) -> None:
    arrays = road.arrays()
    del arrays[lost]
    columns.write(tmp_path / "road.roads", FILE_HEADER, FILE_VERSION, arrays)
    with pytest.raises(MapError, match=f"{lost} is missing"):
        load(tmp_path / "road.roads")


@settings(SAVED, max_examples=300)
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.roads"
    path.write_bytes(content)
    with pytest.raises(MapError):
        load(path)


def test_no_flipped_bit_and_no_cut_goes_unseen(tmp_path: Path, fork: RoadNetwork) -> None:
    path, random = tmp_path / "fork.roads", np.random.default_rng(0)
    fork.save(path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(min(header, 400)), *random.integers(0, len(content), 600).tolist()]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            again = load(path)
        except MapError:
            continue
        assert same(fork, again)  # such as a blank of the header that became another blank
        assert place < header
    for length in random.integers(0, len(content), 200).tolist():
        path.write_bytes(content[:length])
        with pytest.raises(MapError):
            load(path)


@settings(SAVED, max_examples=400)
@given(data=st.data())
def test_hostile_arrays_give_a_map_error_or_a_sound_network(
    tmp_path: Path, fork: RoadNetwork, data: Any
) -> None:
    """Files with a true checksum whose arrays were tampered with."""
    arrays = fork.arrays()
    name = data.draw(st.sampled_from(sorted(arrays)))
    kinds = (np.int64, np.float64, np.uint8, np.float32)
    edit = data.draw(st.sampled_from(["value", "shorter", "longer", "kind", "shape"]))
    array = arrays[name].copy()
    if edit == "value" and len(array):
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
        values = numbers() if limits is None else st.integers(limits.min, limits.max)
        array[data.draw(st.integers(0, len(array) - 1))] = data.draw(
            st.one_of(values, st.integers(0, 9))
        )
    elif edit == "kind":
        array = array.astype(data.draw(st.sampled_from(kinds)))
    elif edit == "shape":
        array = array.reshape(1, -1)
    else:
        array = array[:-1] if edit == "shorter" else np.append(array, array[:1])
    arrays[name] = array
    path = tmp_path / "hostile.roads"
    columns.write(path, FILE_HEADER, FILE_VERSION, arrays)
    try:
        network = load(path)
    except MapError:
        return
    network.check()
    network.save(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "town.roads"
    with open(path, "wb") as file:
        np.savez(file, about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(MapError):
        load(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("precedence", 2**40, "lanes.precedence of entry 1 is 1099511627776; -9 to 9 is allowed"),
        ("precedence", -(2**62), "lanes.precedence of entry 1"),
        ("speed_limit", -9.6e7, "lanes.speed_limit of entry 1 is -9.6e+07 m/s; 0 and more is allo"),
    ],
)
def test_numbers_of_lanes_have_bounds(road: RoadNetwork, field, value, message) -> None:
    setattr(road.lanes[1], field, value)
    with pytest.raises(MapError, match=re.escape(message)):
        road.check()


def test_cycles_and_rules_are_kept_and_checked(tmp_path: Path) -> None:
    network = load("harbour")
    bare = network.digest()
    group, junction = network.signal_groups[0], network.junctions[0]
    group.cycle, group.offset, junction.rule = (
        [(int(RED), 4.0), (int(GREEN), 9.5)],
        3.0,
        "right_first",
    )
    network.save(tmp_path / "timed.roads")
    again = load(tmp_path / "timed.roads")
    assert again.signal_groups[0].cycle == group.cycle
    assert again.signal_groups[0].offset == 3.0
    assert again.signal_groups[1].cycle == []
    assert [one.rule for one in again.junctions[:2]] == ["right_first", ""]
    assert again.digest() == network.digest() != bare
    for colour, seconds, rule, words in (
        (9, 1.0, "", "colour 9"),
        (RED, 0.0, "", "0.01 to 86400 s"),
        (RED, 1.0, "loudest_first", "loudest_first"),
    ):
        group.cycle, junction.rule = [(int(colour), seconds)], rule
        with pytest.raises(MapError, match=words):
            network.check()


@pytest.mark.parametrize("name", ["village:8", "city:3", "motorway:1"])
def test_a_mirrored_network_swaps_all_that_has_a_side(name: str) -> None:
    network = load(name)
    mirrored = network.mirrored()
    swapped = {"right_first": "left_first", "left_first": "right_first"}
    for lane, image in zip(network.lanes, mirrored.lanes, strict=True):
        assert (image.left_mark, image.right_mark) == (lane.right_mark, lane.left_mark)
        assert (image.left_neighbour, image.right_neighbour) == (
            lane.right_neighbour,
            lane.left_neighbour,
        )
        assert np.allclose(image.left * [1.0, -1.0, 1.0], lane.right)
    for junction, other in zip(network.junctions, mirrored.junctions, strict=True):
        assert other.rule == swapped.get(junction.rule, junction.rule)
    twice = mirrored.mirrored()
    assert [one.rule for one in twice.junctions] == [one.rule for one in network.junctions]
    assert [one.left_mark for one in twice.lanes] == [one.left_mark for one in network.lanes]
    turned = network.transformed(np.array([[0.0, -1.0], [1.0, 0.0]]))
    assert [one.left_mark for one in turned.lanes] == [one.left_mark for one in network.lanes]
    assert [one.rule for one in turned.junctions] == [one.rule for one in network.junctions]


def test_the_mark_of_a_lane_is_checked(road: RoadNetwork) -> None:
    for side in ("left_mark", "right_mark"):
        setattr(road.lanes[1], side, "gold")
        with pytest.raises(MapError, match=f"lanes.{side} of entry 1 is 'gold'"):
            road.check()
        setattr(road.lanes[1], side, "none")
    road.check()
