"""Readers of recorded scenes against one recording written in every format, and real files."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfdrive_env.scenes import ROAD_TYPES, Scene, SceneError, files, kind_of, load, records
from selfdrive_env.scenes.readers.recorded import velocities
from selfdrive_env.scenes.readers.womd import wire
from selfdrive_env.scenes.readers.womd.crc32c import SHORT, crc32c
from tests.scenes import builders as made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The recording in each format, as files."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = {
        "scenario": folder / "a.tfrecord-00000-of-00001",
        "example": folder / "b.tfrecord",
        "gpudrive": folder / "c.json",
        "nocturne": folder / "d.json",
        "scenarionet": folder / "e.npz",
    }
    paths["scenario"].write_bytes(made.tfrecord(made.scenario()))
    paths["example"].write_bytes(made.tfrecord(made.example()))
    paths["gpudrive"].write_text(json.dumps(made.gpudrive()))
    paths["nocturne"].write_text(json.dumps(made.gpudrive(degrees=True)))
    np.savez(paths["scenarionet"], **made.scenarionet())
    return paths


FORMATS = ("scenario", "example", "gpudrive", "nocturne", "scenarionet")


@pytest.mark.parametrize("name", FORMATS)
def test_tracks_are_as_they_were_written(name: str, written: dict[str, Path]) -> None:
    found = load(written[name])
    nocturne = name == "nocturne"
    made.same_tracks(found) if not nocturne else None
    assert found.tracks is not None and found.steps == made.STEPS
    wanted = [0, 1, 2, 3] if nocturne else [11, 12, 13, 14]
    assert found.tracks.id.tolist() == wanted
    assert (found.current, found.dt) == (made.CURRENT, 0.1)
    assert found.ego == (-1 if nocturne else 0)
    assert found.present.tolist() == [True, False, True, False]
    drivers = ["replay" if nocturne else "learner", "replay", "replay", "replay"]
    assert [agent.driver for agent in found.agents] == drivers
    if nocturne:  # without heights
        np.testing.assert_allclose(found.tracks.heading, made.expected().heading, atol=1e-5)
        return
    assert found.name == "made"
    assert 2 in found.of_interest
    np.testing.assert_allclose(found.tracks.height, made.expected().height)
    lights = found.lights
    assert lights is not None and lights.lane.tolist() == [8]
    assert lights.state[0].tolist() == [-1, -1] + [4] * 18
    at = lights.position[0] + np.array(found.origin) - made.ORIGIN
    np.testing.assert_allclose(at, (50.0, 0.0, 0.0), atol=2e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_lanes_are_as_they_were_written(name: str, written: dict[str, Path]) -> None:
    found = load(written[name])
    assert found.roads is not None and found.map is None
    lanes = found.roads.of_kind("lane")
    assert len(lanes) == 3
    if name != "nocturne":
        assert found.roads.id[lanes].tolist() == [7, 8, 9]
    start = np.subtract(made.ORIGIN, found.origin)
    for lane, points in zip(lanes, made.LANES.values(), strict=True):
        line = found.roads.line(lane) - start
        np.testing.assert_allclose(line[:, :2], points, atol=2e-3)
    if name in ("scenario", "scenarionet"):
        limit = 30 * 0.44704 if name == "scenario" else 10.0
        np.testing.assert_allclose(found.roads.limit[lanes], limit, rtol=1e-6)
        assert found.roads.linked(7, "exit") == [8]
        assert [kind_of(code) for code in found.roads.type[3:4]] == ["edge"]


def test_a_scenario_has_links_signs_and_areas(written: dict[str, Path]) -> None:
    roads = load(written["scenario"]).roads
    assert roads is not None
    assert roads.linked(8, "entry") == [7] and roads.linked(7, "left") == [9]
    assert roads.linked(21, "stop") == [7]
    (crosswalk,) = roads.of_kind("crosswalk")
    assert len(roads.line(crosswalk)) == 4
    assert len(roads.of_kind("stop_sign")) == 1


def test_a_scene_that_was_read_is_kept_in_a_file(written: dict[str, Path], tmp_path: Path) -> None:
    for name in FORMATS:
        found = load(written[name])
        found.save(tmp_path / f"{name}.scene")
        assert load(tmp_path / f"{name}.scene") == found


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_cut_is_refused(
    name: str, written: dict[str, Path], tmp_path: Path
) -> None:
    content = written[name].read_bytes()
    path = tmp_path / written[name].name
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(SceneError, match=f"^{path.name}"):
            load(path)


# TFRecord and protocol buffers


@given(st.binary(max_size=300))
def test_the_checksum_is_that_of_the_definition(data: bytes) -> None:
    assert crc32c(data) == made.slow_crc32c(data)


def test_the_checksum_of_long_messages_is_that_of_the_definition() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    random = np.random.default_rng(0)
    for length in (SHORT - 1, SHORT, SHORT + 1, 3 * SHORT + 77):
        data = random.bytes(length)
        assert crc32c(data) == made.slow_crc32c(data)


def test_a_file_of_several_records_is_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "two.tfrecord"
    content = made.tfrecord(made.scenario(), made.example(), b"", checksum=crc32c)
    path.write_bytes(content)
    found = list(records(path))
    assert [entry.name for entry in found] == ["00000", "00001", "00002"]
    assert found[0].read() == load(path)
    made.same_tracks(load(path, record=1))
    with pytest.raises(SceneError, match=r"two.tfrecord, record 2: the record is damaged, or no"):
        found[2].read()
    with pytest.raises(SceneError, match=r"two.tfrecord has 3 scenes, there is no record 3"):
        load(path, record=3)
    # A record that was altered does not hide the one that follows.
    altered = bytearray(content)
    altered[40] ^= 1
    path.write_bytes(altered)
    with pytest.raises(SceneError, match=r"record 0: the record was altered: its CRC-32C"):
        load(path)
    made.same_tracks(load(path, record=1))


def test_damaged_records_are_named(tmp_path: Path) -> None:
    path = tmp_path / "one.tfrecord"
    content = made.tfrecord(made.scenario(), made.scenario(), checksum=crc32c)
    second = len(content) // 2
    cases = {
        content[: second + 5]: "record 1: the record is cut short within its length",
        content[:-1]: r"record 1: the record has \d+ bytes; \d+ are left",
        content[:second] + b"\1" + content[second + 1 :]: "record 1: the length was altered",
        b"\1" + content[1:]: "is no TFRecord file",
        b"": "is empty",
        b"PAR1" * 30: r"is no TFRecord file \(a Parquet file\)",
    }
    for damaged, message in cases.items():
        path.write_bytes(damaged)
        with pytest.raises(SceneError, match=message):
            for entry in records(path):
                entry.read()
    length = struct.pack("<Q", 2**62)
    path.write_bytes(made.tfrecord(b"x" * 100).replace(struct.pack("<Q", 100), length, 1))
    with pytest.raises(SceneError, match="is no TFRecord file"):
        load(path)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_packed_numbers_are_read_all_at_once(values: list[int]) -> None:
    packed = memoryview(b"".join(made.varint(value) for value in values))
    assert wire.varints(packed).tolist() == values


@given(st.binary(max_size=80))
def test_any_bytes_are_fields_or_an_error(data: bytes) -> None:
    try:
        found = list(wire.fields(memoryview(data)))
    except wire.WireError:
        return
    assert all(number > 0 for number, _ in found)


def test_points_that_differ_from_each_other_are_read_one_by_one() -> None:
    """Zeros may be left out, fields may come in another order: then no run of equal messages."""
    whole = made.scenario()
    point = made.map_point(2, 100.0, 6.0)
    x, y, z = (100.0 + made.ORIGIN[0], 6.0 + made.ORIGIN[1], made.ORIGIN[2])
    other = made.inside(2, made.double(3, z), made.double(1, x), made.double(2, y))
    assert whole.count(point) == 1 and len(other) == len(point)
    from selfdrive_env.scenes.readers.recorded import Place
    from selfdrive_env.scenes.readers.womd.scenario import read

    found = read(memoryview(whole.replace(point, other)), Place("x", 0), "")
    assert found == read(memoryview(whole), Place("x", 0), "")


def changed_scenario(*parts: bytes) -> bytes:
    return made.tfrecord(made.scenario() + b"".join(parts), checksum=crc32c)


def edge_feature(id: int, x: float) -> bytes:
    return made.inside(8, made.whole(1, id), made.inside(5, made.map_point(2, x, 0.0)))


Y = struct.pack("<f", 3.5 + made.ORIGIN[1])
"""Of the car that comes later, in an example."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed_scenario(made.whole(10, 20)), "current_time_index is 20; 0 to 19 is wanted"),
        (changed_scenario(made.whole(6, 9)), "sdc_track_index is 9, there are 4 tracks"),
        (changed_scenario(made.double(1, 7.0)), "timestamps_seconds are 21, tracks have 20"),
        (changed_scenario(made.inside(2, made.whole(1, 15))), "track 15 has 0 states, the first"),
        (changed_scenario(made.inside(7)), "dynamic_map_states are 21"),
        (changed_scenario(made.whole(2, 5)), "tracks is no message"),
        (changed_scenario(made.inside(5, b"\xff")), "scenario_id is no text"),
        (changed_scenario(edge_feature(7, 0.0)), "map_features do not fit: roads.id"),
        (changed_scenario(edge_feature(99, math.nan)), "road 99 has points that are no numbers"),
        (
            made.tfrecord(made.example().replace(Y, struct.pack("<f", math.nan)), checksum=crc32c),
            "y of track 12 is nan at step 1",
        ),
        (made.tfrecord(made.inside(1, made.inside(1, made.inside(1, b"a"))), checksum=crc32c),
         "features are others than those of the motion data set"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "one.tfrecord"
    path.write_bytes(content)
    with pytest.raises(SceneError, match=f"one.tfrecord, record 0: .*{message}"):
        load(path)


@pytest.mark.parametrize("kind", ["scenario", "example"])
def test_any_change_of_a_record_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    """Checksums are right again after the change."""
    content = made.scenario() if kind == "scenario" else made.example()
    path, random = tmp_path / "one.tfrecord", np.random.default_rng(0)
    ends: Counter[str] = Counter()
    for _ in range(120):
        damaged = bytearray(content)
        for _ in range(int(random.integers(1, 4))):
            place = int(random.integers(len(damaged)))
            if random.random() < 0.2:
                del damaged[place : place + int(random.integers(1, 200))]
            else:
                damaged[place] = int(random.integers(256))
            damaged = damaged or bytearray(b"\0")
        path.write_bytes(made.tfrecord(bytes(damaged), checksum=crc32c))
        try:
            load(path)
            ends["read"] += 1
        except SceneError as error:
            assert "one.tfrecord, record 0" in str(error) or "scene" in str(error)
            ends["refused"] += 1
    assert ends["read"] > 5 and ends["refused"] > 5


# JSON


def test_units_of_headings_show_in_the_numbers(tmp_path: Path) -> None:
    for degrees in (False, True):
        whole = made.gpudrive(degrees)
        path = tmp_path / "one.json"
        path.write_text(json.dumps(whole))
        found = load(path).tracks
        assert found is not None
        np.testing.assert_allclose(found.heading, made.expected().heading, atol=1e-5)
    # Small angles in degrees look like radians, but not like the way that cars drive.
    whole = made.gpudrive(degrees=True)
    whole["objects"] = [whole["objects"][0]]
    one = whole["objects"][0]
    one["velocity"] = [{"x": 10 * math.cos(0.05), "y": 10 * math.sin(0.05)}] * made.STEPS
    one["heading"] = [math.degrees(0.05)] * made.STEPS
    path.write_text(json.dumps(whole))
    found = load(path).tracks
    assert found is not None
    np.testing.assert_allclose(found.heading, 0.05, rtol=1e-6)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("objects", 1, "heading", 12), "north", r"objects\[1\].heading must be a list of numbers"),
        (("objects", 1, "heading", 12), None, r"objects\[1\].heading must be a list of numbers"),
        (("objects", 1, "heading", 12), 10**400, r"objects\[1\].heading must be a list of number"),
        (("objects", 0, "position", 3), {"y": 1.0}, r"objects\[0\].position has an entry with"),
        (("objects", 0, "position", 3), 7, r"objects\[0\].position must be a list of points"),
        (("objects", 0, "position", 3, "x"), [1], r"objects\[0\].position.x must be a list of num"),
        (("objects", 0, "valid", 3), 2, r"objects\[0\].valid must be a list of true and false"),
        (("objects", 2, "velocity"), [], r"objects\[2\].velocity has 0 entries, .* has 20"),
        (("objects", 0, "length"), "4.5", r"objects\[0\].length is '4.5'; a number is wanted"),
        (("objects", 0, "length"), 400.0, "track 11 is 400 m long"),
        (("objects", 0, "type"), None, r"objects\[0\].type is missing; a str is wanted"),
        (("objects", 0, "position", 3, "x"), 1e300, "x of track 11 is 1e[+]300 at step 3"),
        (("objects", 0, "velocity", 10, "x"), 900.0, "scene 'made': agent 11: speed must be a"),
        (("objects",), [], "objects is empty"),
        (("objects",), "none", "objects is 'none'; a list is wanted"),
        (("objects", 0), 7, r"objects\[0\].valid is missing"),
        (("roads", 0, "map_element_id"), 99, r"roads\[0\].map_element_id is 99; one of"),
        (("roads", 0, "geometry", 1), {"x": 0}, r"roads\[0\].geometry has an entry without y"),
        (("roads", 0, "geometry", 1, "x"), 1e300, "road 7 has points that are no numbers"),
        (("tl_states", "8", "state", 3), "blue", r"tl_states\['8'\].state has others than unknown"),
        (("tl_states", "8", "time_index", 3), 20, r"tl_states\['8'\].time_index is not from 0 to"),
        (("tl_states", "8", "x"), [1.0], r"tl_states\['8'\] has lists of unequal lengths"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_is_named(
    place: tuple[Any, ...], value: Any, message: str, tmp_path: Path
) -> None:
    whole = made.gpudrive()
    inside: Any = whole
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    path = tmp_path / "one.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(SceneError, match=f"^one.json: {message}"):
        load(path)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers()),
)  # fmt: skip
SMALL = made.gpudrive()


@given(data=st.data())
def test_any_change_of_an_entry_is_read_or_refused(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = copy.deepcopy(SMALL)
    inside: Any = whole
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(inside[key], dict | list) and len(inside[key])
        if not deeper or data.draw(st.integers(0, 4)) == 0:
            inside[key] = data.draw(JUNK)
            break
        inside = inside[key]
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(whole))
    try:
        load(path)
    except SceneError as error:
        assert "\n" not in str(error)


def test_a_record_of_nobody_is_refused(tmp_path: Path) -> None:
    whole = made.gpudrive()
    for one in whole["objects"]:
        one["valid"] = [False] * made.STEPS
    path = tmp_path / "one.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(SceneError, match=r"one.json: tracks are valid nowhere"):
        load(path)


# What is no scene


def test_a_file_of_another_kind_says_what_it_is(tmp_path: Path) -> None:
    cases = [
        ("a.json", b"[1, 2]", "has a list; a GPUDrive"),
        ("a.json", b'{"a": NaN}', "NaN is no number"),
        ("a.json", b"<xml/>", "is XML; a GPUDrive"),
        ("a.json", b"[" * 100_000, "is no JSON"),
        ("a.json", b'{"lane_segments": {}}', "an Argoverse 2 map, which is read with"),
        ("a.json.gz", b"\x1f\x8bnone", "damaged or truncated archive"),
        ("a.npz", b"\x80\x04K\x01.", "is a pickle; a scene in the layout of ScenarioNet"),
        ("a.npz", b"PK\x03\x04" + b"x" * 50, "is damaged"),
        ("a.pkl", b"\x80\x04K\x01.", "a pickle, which could run any code and is never read"),
        ("a.bin", b"\x80\x04K\x01.", "a pickle, which could run any code"),
        ("a.csv", b"x,y", r"a.csv is something else; a file that ends in .scene, .xml"),
        ("a.xml", b"<osm/>", "the root element is <osm>, as of an OpenStreetMap"),
        ("a.xml", b"{}", "not well-formed"),
    ]
    for name, content, message in cases:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SceneError, match=message):
            load(path)
    with pytest.raises(SceneError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.json")


def test_files_of_a_folder_are_those_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    names = ["a.json", "b.npz", "c.tfrecord-1-of-2", "d.csv", ".e.json", "deep/f.scene"]
    for name in [*names, "log_map_archive_1.json"]:
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in files(tmp_path)]
    assert found == ["a.json", "b.npz", "c.tfrecord-1-of-2", "deep/f.scene"]


# ScenarioNet


def test_arrays_that_need_a_pickle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    np.savez(path, **made.scenarionet() | {"id": np.array([{}], object)})
    with pytest.raises(SceneError, match="id holds Python objects, which only a pickle can"):
        load(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tracks/12/state/position", np.zeros((19, 3)), "has shape .19, 3.; 20 steps of 2"),
        ("tracks/12/state/position", np.array(["1"]), "an array of numbers is wanted"),
        ("tracks/12/state/valid", None, "is missing"),
        ("tracks/11/state/heading", np.full(20, np.nan), "heading of track 11 is nan"),
        ("metadata/ts", np.zeros(20), "must be 20 times at steps"),
        ("metadata/current_time_index", np.array(20), "must be a number from 0 to 19"),
        ("map_features/7/polyline", np.zeros((4, 7)), "has shape .4, 7., not .P, 3."),
        ("map_features/7/polyline", None, "has neither polyline, polygon nor position"),
        ("map_features/7/speed_limit_kmh", np.array(-3.0), "must be a number from 0 to 400"),
        ("dynamic_map_states/8/state/object_state", np.array(["x"] * 20), "no state of a light"),
        ("dynamic_map_states/8/state/object_state", np.array(["x"]), "has 1 entries, 20 are"),
    ],
)
def test_an_array_that_cannot_be_is_named(
    name: str, value: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "one.npz"
    changed = made.scenarionet() | {name: value}
    np.savez(path, **{key: array for key, array in changed.items() if array is not None})
    with pytest.raises(
        SceneError, match=f"^one.npz: {name.rpartition('/')[0]}.*{message}|{message}"
    ):
        load(path)


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    import io
    import zipfile

    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    np.lib.format.write_array_header_1_0(stream, header)
    path = tmp_path / "one.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tracks/1/state/valid.npy", stream.getvalue())
    with pytest.raises(SceneError, match=r"is float64 of shape .1099511627776,., with 0 bytes"):
        load(path)


# Helpers


def test_velocities_are_differences() -> None:
    x = np.array([[0.0, 1.0, 3.0, 99.0, 7.0]])
    valid = np.array([[True, True, True, False, True]])
    vx, vy = velocities(x, 0.0 * x, valid, 0.5)
    np.testing.assert_allclose(vx[valid], [2.0, 3.0, 4.0, 0.0])
    assert not vy.any()


# Real files


def counts(found: Scene) -> tuple[Any, ...]:
    kinds = Counter(agent.kind for agent in found.agents)
    return found.steps, kinds["vehicle"], kinds["pedestrian"], kinds["bicycle"]


def test_a_scene_of_pufferdrive_has_the_lanes_of_its_town(shared_data: Path) -> None:
    found = load(shared_data / "pufferdrive_json" / "Town01_0.json.gz")
    assert counts(found) == (91, 32, 0, 0)
    assert found.roads is not None and len(found.roads.of_kind("lane")) == 124


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("gpudrive_tfrecord-00000-of-01000_4", (91, 68, 12, 1)),
        ("gpudrive_tfrecord-00002-of-01000_407", (91, 15, 0, 0)),
        ("nocturne_example_scenario", (91, 25, 20, 0)),
    ],
)
def test_scenes_of_womd_in_json(name: str, wanted: tuple[int, ...], shared_data: Path) -> None:
    found = load(noncommercial(shared_data, f"womd_json/{name}.json"))
    assert counts(found) == wanted
    drives_ahead(found)


def noncommercial(shared_data: Path, name: str) -> Path:
    path = shared_data / "noncommercial" / name
    if not path.exists():
        pytest.skip("recordings for research are absent")
    return path


def drives_ahead(found: Scene) -> None:
    """Asserts that headings agree with velocities, and these with places."""
    assert found.tracks is not None
    t = found.tracks
    quick = t.valid & (np.hypot(t.vx, t.vy) > 3.0) & (t.kind == 0)[:, None]
    off = (t.heading - np.arctan2(t.vy, t.vx) + math.pi) % (2 * math.pi) - math.pi
    assert np.median(np.abs(off[quick])) < 0.05
    both = quick[:, 1:] & quick[:, :-1]
    speed = np.hypot(np.diff(t.x, axis=1), np.diff(t.y, axis=1))[both] / found.dt
    np.testing.assert_allclose(np.median(speed / np.hypot(t.vx, t.vy)[:, 1:][both]), 1.0, atol=0.05)


def test_a_scenario_of_womd(shared_data: Path) -> None:
    path = noncommercial(shared_data, "womd_tfrecord/motion_data_one_scenario.tfrecord")
    found = load(path)
    assert (len(found.agents), found.steps, found.name) == (83, 91, "637f20cafde22ff8")
    assert found.roads is not None and found.lights is not None
    lanes = found.roads.of_kind("lane")
    assert len(lanes) == 199
    assert found.lights.num_lights >= (found.lights.state >= 0).sum(axis=0).max() == 12
    known = set(found.roads.id[lanes].tolist())
    exits = [other for lane in sorted(known) for other in found.roads.linked(lane, "exit")]
    assert len(exits) > 100 and len(set(exits) - known) == 0
    limits = found.roads.limit[lanes] / 0.44704
    assert {round(float(limit)) for limit in limits} <= {0, *range(10, 46, 5)}
    drives_ahead(found)
    # The ground lies at the height of the lanes.
    points = np.concatenate([found.roads.line(lane) for lane in lanes])
    ego = found.agents[found.ego]
    near = points[np.argmin(np.hypot(points[:, 0] - ego.x, points[:, 1] - ego.y))]
    assert abs(near[2] - ego.z) < 1.0


def test_an_example_of_womd(shared_data: Path) -> None:
    path = noncommercial(shared_data, "womd_tfrecord/motion_data_one_example.tfrecord")
    found = load(path)
    assert (found.steps, found.current, found.name) == (91, 10, "a3bb37c25ce56418")
    assert found.roads is not None and len(found.roads.points) == 20_000
    assert set(np.unique(found.roads.type).tolist()) <= set(ROAD_TYPES)
    assert found.lights is not None and len(found.agents) <= 128
    drives_ahead(found)


def test_a_scene_of_argoverse(shared_data: Path) -> None:
    pytest.importorskip("pyarrow", reason="Argoverse 2 needs it")
    (path,) = noncommercial(shared_data, "av2_motion").rglob("*.parquet")
    found = load(path)
    assert (len(found.agents), found.steps, found.current) == (58, 110, 49)
    assert found.roads is not None and found.agents[found.ego].driver == "learner"
    lanes = found.roads.of_kind("lane")
    bikes = [line for line in lanes if ROAD_TYPES[int(found.roads.type[line])] == "lane_bike"]
    assert (len(lanes), len(bikes), len(found.roads.of_kind("crosswalk"))) == (71, 37, 6)
    assert {found.agents[n].id for n in found.of_interest} >= {138951}
    drives_ahead(found)
    # The ego drives to the left of each edge: nearest piece, its direction, the side.
    ego = found.agents[found.ego]
    pieces = [found.roads.line(line) for line in found.roads.of_kind("edge")]
    a = np.concatenate([line[:-1] for line in pieces])[:, :2]
    b = np.concatenate([line[1:] for line in pieces])[:, :2]
    share = np.clip(((ego.x, ego.y) - a) * (b - a), None, None).sum(1) / ((b - a) ** 2).sum(1)
    foot = a + np.clip(share, 0, 1)[:, None] * (b - a)
    near = int(np.argmin(np.hypot(*(foot - (ego.x, ego.y)).T)))
    (dx, dy), (px, py) = b[near] - a[near], np.array((ego.x, ego.y)) - a[near]
    assert dx * py - dy * px > 0.0


def test_a_scenario_of_argoverse_needs_its_library_and_its_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    path = tmp_path / "scenario_x.parquet"
    path.write_bytes(b"none")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r'pip install "selfdrive_env\[scenes\]"'):
            load(path)
    pytest.importorskip("pyarrow")
    with pytest.raises(SceneError, match=r"scenario_x.parquet: the file is no Parquet file"):
        load(path)


def test_a_digest_of_a_scene_that_was_read_is_stable(written: dict[str, Path]) -> None:
    first, second = load(written["scenario"]), load(written["scenario"])
    assert first.digest() == second.digest()
    assert first == dataclasses.replace(second, source="")
