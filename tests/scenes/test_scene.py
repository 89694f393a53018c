"""Scenes: built by hand, checked, changed, compared, kept in files."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfdrive_env.maps import load as load_map
from selfdrive_env.maps.columns import read, write
from selfdrive_env.scenes import Agent, Goal, Scene, SceneError, load
from selfdrive_env.scenes.checks import _overlap
from selfdrive_env.scenes.scene import FILE_HEADER, FILE_VERSION
from tests.scenes.builders import CURRENT, STEPS, expected, scene


@pytest.fixture(scope="module")
def street() -> Scene:
    """Two cars one behind the other in a built-in town, made of its own lanes."""
    network = load_map("riverside")
    lane = max((lane for lane in network.lanes if lane.drivable), key=lambda lane: lane.length)
    at = [
        np.interp(s, lane.arc_length, lane.centre[:, axis]) for s in (20.0, 40.0) for axis in (0, 1)
    ]
    heading = math.atan2(at[3] - at[1], at[2] - at[0])
    goal = Goal(*lane.centre[-1].tolist(), lanes=(lane.name,), time=(0.0, 8.0))
    return Scene(
        agents=[
            Agent(1, float(at[0]), float(at[1]), heading, 8.0, "learner", (goal,), (lane.name,)),
            Agent(2, float(at[2]), float(at[3]), heading, 4.0, length=9.0),
        ],
        map="riverside",
        steps=80,
        ego=0,
        name="behind a lorry",
    )


def test_a_scene_by_hand_stands_on_its_road(street: Scene) -> None:
    street.check()
    assert street.present.tolist() == [True, True]
    assert street.agent(2).driver == "idm"
    beside = street.moved(2, x=street.agent(2).x + 500.0)
    with pytest.raises(SceneError, match=r"agent 2 at .* is not on the road of map 'riverside'"):
        beside.check()
    lost = dataclasses.replace(street.agent(1), route=("nowhere",))
    with pytest.raises(SceneError, match="lane 'nowhere', which map 'riverside' does not have"):
        dataclasses.replace(street, agents=(lost,), ego=-1).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(dt=0.0), "dt must be a number from 0.001"),
        (dict(steps=0), "steps must be a whole number"),
        (dict(current=STEPS), "current must be a whole number from 0 to 19"),
        (dict(ego=4), "ego must be a whole number from -1 to 3"),
        (dict(of_interest=(9,)), "of_interest must be"),
        (dict(agents=()), "number of agents"),
        (dict(map="riverside"), "a map and recorded roads"),
        (dict(steps=21), "lights have 20 steps, the scene 21"),
        (dict(tracks=None), "agent 12 is to be replayed, but the scene has no tracks"),
        (dict(length=1e3), r"agent 11: length must be a number from 0.05 to 60, got 1000"),
        (dict(width=2.1), "agent 11: width is 2.1, its track has 2"),
        (dict(kind="pedestrian"), "agent 11: kind is 'pedestrian', that of its track another"),
        (dict(kind="tram"), "agent 11: kind must be one of vehicle, pedestrian"),
        (dict(driver="lerner"), r"driver must be .* got 'lerner' \(did you mean 'learner'\?\)"),
        (dict(x=math.nan), "agent 11: x must be a number"),
        (dict(speed="fast"), "agent 11: speed must be a number"),
        (dict(id=12), "the id 12 stands more than once"),
        (dict(id=99), "tracks.id must be the ids of the agents"),
        (dict(goals=(Goal(radius=0.0),)), "goal.radius must be above 0"),
        (dict(goals=(Goal(time=(2.0, 1.0)),)), "goal.time must be from low to high"),
        (dict(route=(7,)), "route must be names of lanes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    made = scene()
    names = {field.name for field in dataclasses.fields(Agent)}
    if set(change) <= names:
        first = dataclasses.replace(made.agents[0], **change)
        change = {"agents": (first, *made.agents[1:])}
    with pytest.raises(SceneError, match=message):
        dataclasses.replace(made, **change)


def test_bodies_that_drive_must_be_apart_at_the_start() -> None:
    cars = (Agent(1, 0.0, 0.0), Agent(2, 4.4, 0.0))
    with pytest.raises(SceneError, match="agents 1 and 2 overlap at the start"):
        Scene(cars)
    Scene((cars[0], dataclasses.replace(cars[1], x=4.51)))  # 4.5 m long each
    Scene((cars[0], dataclasses.replace(cars[1], z=5.0)))  # on a bridge
    made = scene()  # a record has them as it has them
    twice = dataclasses.replace(made.agents[1], x=made.agents[0].x)
    dataclasses.replace(made, agents=(made.agents[0], twice, *made.agents[2:]))


@given(x=st.floats(-6, 6), y=st.floats(-6, 6), turns=st.tuples(st.floats(-4, 4), st.floats(-4, 4)))
def test_overlap_is_that_of_polygons(x: float, y: float, turns: tuple[float, float]) -> None:
    shapely = pytest.importorskip("shapely")
    from shapely import affinity

    boxes = (Agent(1, 0.0, 0.0, turns[0]), Agent(2, x, y, turns[1], length=2.0, width=1.0))
    areas = [
        affinity.translate(
            affinity.rotate(
                shapely.box(-a.length / 2, -a.width / 2, a.length / 2, a.width / 2),
                a.heading, origin=(0, 0), use_radians=True,
            ),
            a.x, a.y,
        )
        for a in boxes
    ]  # fmt: skip
    shared = areas[0].intersection(areas[1]).area
    if shared > 1e-6 or areas[0].distance(areas[1]) > 1e-6:
        assert _overlap(*boxes) == (shared > 1e-6)


def test_recorded_agents_are_where_their_tracks_are() -> None:
    made = scene()
    assert [agent.driver for agent in made.agents] == ["learner", "replay", "replay", "replay"]
    assert made.present.tolist() == [True, False, True, False]
    car, later, walker, gone = made.agents
    assert (car.x, car.speed, car.goals[0].x) == (10.0, 10.0, 19.0)
    assert later.x == 54.0 and later.speed == pytest.approx(5.0)  # where it comes, at step 12
    assert walker.heading == pytest.approx(0.5 * math.pi) and walker.speed == pytest.approx(1.0)
    assert gone.x == pytest.approx(31.6)  # where it left, at step 4
    with pytest.raises(SceneError, match="has no agent 99; its agents are 11, 12, 13, 14"):
        made.agent(99)


def test_agents_come_and_go() -> None:
    made = scene()
    less = made.without(11, 14)
    assert [agent.id for agent in less.agents] == [12, 13]
    assert less.ego == -1 and less.of_interest == (1,)
    assert less.tracks is not None and less.tracks.id.tolist() == [12, 13]
    more = less.with_agent(Agent(5, 200.0, 0.0, kind="bicycle", length=1.8, width=0.6))
    assert more.tracks is not None and more.tracks.kind.tolist() == [0, 1, 2]
    assert more.present.tolist() == [False, True, True]
    assert made.only(13, 11).ego == 1
    assert made == scene()  # nothing of it has changed


def test_the_ego_and_drivers_change() -> None:
    made = scene()
    other = made.with_ego(13)
    assert other.ego == 2
    assert [agent.driver for agent in other.agents] == ["replay", "replay", "learner", "replay"]
    assert [a.driver for a in made.driven("idm").agents] == ["learner", "idm", "idm", "idm"]
    assert [a.driver for a in made.driven("still", 12).agents][1] == "still"


def test_a_moved_agent_takes_its_track_along() -> None:
    made = scene().moved(11, x=3.0, y=4.0, heading=0.5 * math.pi)
    assert made.tracks is not None
    step = np.arange(STEPS)
    np.testing.assert_allclose(made.tracks.x[0], 3.0, atol=1e-12)
    np.testing.assert_allclose(made.tracks.y[0], 4.0 + (step - CURRENT), atol=1e-12)
    np.testing.assert_allclose(made.tracks.vy[0], 10.0, atol=1e-5)
    assert np.array_equal(made.tracks.x[1], expected().x[1])
    with pytest.raises(SceneError, match="can be moved in x, y, z, heading, speed, not in 'size'"):
        made.moved(11, size=3.0)


def test_a_shorter_scene_leaves_out_who_is_never_seen() -> None:
    made = scene().shortened(8, start=6)
    assert (made.steps, made.current) == (8, 4)
    assert [agent.id for agent in made.agents] == [11, 12, 13]  # 14 left at step 5
    assert made.tracks is not None and made.lights is not None
    assert np.array_equal(made.tracks.x, expected().x[:3, 6:14])
    assert made.lights.state.shape == (1, 8)
    with pytest.raises(ValueError, match="start must be a whole number from 0 to 10"):
        scene().shortened(3, start=11)


def test_a_mirrored_scene_keeps_the_road_on_the_left_of_edges() -> None:
    made = scene()
    found = made.mirrored()
    assert found.mirrored().tracks is not None
    assert found.left_hand and found != made and found.mirrored() == made
    assert found.roads is not None and made.roads is not None
    assert found.roads.linked(7, "right") == [9] and found.roads.linked(7, "left") == []
    edge = found.roads.of_kind("edge")[0]
    assert found.roads.line(edge)[:, 0].tolist() == [0.0, 100.0]  # the other way round
    # Left of the edge is still where the lanes are: y = 0, from an edge at y = -6.
    assert found.roads.line(edge)[0, 1] == -6.0


def test_a_mirrored_map_is_that_of_the_network(street: Scene) -> None:
    found = street.mirrored()
    network = found.network()
    assert network is not None and network == load_map("riverside").mirrored()
    found.check()


def test_a_faster_track_reaches_places_sooner() -> None:
    made = scene().sped_up(2.0, 11)
    assert made.tracks is not None
    there = made.tracks.valid[0]
    assert there.tolist() == [step <= 14 for step in range(STEPS)]  # 9 steps were left
    np.testing.assert_allclose(made.tracks.x[0, 10:15], [10, 12, 14, 16, 18])
    np.testing.assert_allclose(made.tracks.vx[0, [9, 10]], [10.0, 20.0])
    assert made.agent(11).speed == 20.0 and made.agent(12) == scene().agent(12)
    slower = scene().sped_up(0.5, 11)
    assert slower.tracks is not None and slower.tracks.valid[0].all()
    np.testing.assert_allclose(slower.tracks.x[0, 10:13], [10.0, 10.5, 11.0])


def test_a_turn_through_the_back_is_the_short_way() -> None:
    tracks = expected()
    heading = tracks.heading.copy()
    heading[0, 11:] = np.where(np.arange(9) % 2 == 0, 3.1, -3.1)
    turning = dataclasses.replace(tracks, heading=heading)
    found = Scene.recorded(turning, current=CURRENT).sped_up(0.5, 11).tracks
    assert found is not None
    assert abs(abs(found.heading[0, 13]) - math.pi) < 1e-5  # between 3.1 and -3.1


def test_equal_scenes_have_equal_digests() -> None:
    made = scene()
    assert made == scene() and made.digest() == scene().digest()
    assert made == dataclasses.replace(made, source="elsewhere")
    for change in (dict(name="other"), dict(dt=0.2), dict(ego=1), dict(left_hand=True)):
        assert made != dataclasses.replace(made, **change)
    assert made != made.driven("idm", 12)
    assert made != "a scene"


@pytest.mark.parametrize("kind", ["recorded", "by name", "network", "bare"])
def test_a_file_gives_back_the_scene(kind: str, tmp_path: Path, street: Scene) -> None:
    made = {
        "recorded": scene(),
        "by name": street,
        "network": dataclasses.replace(street, map=load_map("riverside")),
        "bare": Scene((Agent(1, 0.0, 0.0, goals=(Goal(outline=((0, 0), (1, 0), (1, 1))),)),)),
    }[kind]
    path = tmp_path / "one.scene"
    made.save(path)
    found = load(path)
    assert found == made and found.agents == made.agents and found.source == str(path)
    assert [one.name for one in tmp_path.iterdir()] == ["one.scene"]
    if made.tracks is not None and found.tracks is not None:
        for field in dataclasses.fields(made.tracks):
            old, new = (getattr(one.tracks, field.name) for one in (made, found))
            assert old.dtype == new.dtype and np.array_equal(old, new), field.name


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.scene"
    with pytest.raises(SceneError, match=r"a file that ends in .scene"):
        scene().save(tmp_path / "one.npz")
    with pytest.raises(FileNotFoundError):
        load(path)
    for content in (b"", b"PK\x03\x04 none", b"\xff" * 100, b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(SceneError, match=r"one.scene is no scene: it is damaged, or another"):
            load(path)
    arrays = scene().arrays()
    write(path, FILE_HEADER, FILE_VERSION + 1, arrays)
    with pytest.raises(SceneError, match="it has version 2, this package reads 1"):
        load(path)
    write(path, "selfdrive_env_roads", 1, arrays)
    with pytest.raises(SceneError, match="its header has no 'selfdrive_env_scene'"):
        load(path)


def test_every_altered_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "one.scene"
    scene().save(path)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(content), 60).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(SceneError):
            load(path)
    for length in random.integers(0, len(content), 20).tolist():
        path.write_bytes(content[:length])
        with pytest.raises(SceneError):
            load(path)


def test_arrays_that_lie_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.scene"
    scene().save(path)
    whole = read(path, FILE_HEADER, FILE_VERSION)
    lies: list[tuple[str, Any]] = [
        ("agents.kind", np.full(4, 200, np.uint8)),
        ("agents.goals", np.array([1, 1, 1, 2**62])),
        ("agents.goals", np.array([-1, 3, 1, 1])),
        ("agents.number", np.full((4, 8), np.nan)),
        ("agents.number", np.zeros((4, 7))),
        ("roads.first", np.array([0, 2, 2**60, 6, 8, 9])),
        ("roads.points", np.full((9, 3), np.inf, np.float32)),
        ("roads.type", np.full(5, 99, np.int8)),
        ("lights.state", np.full((1, STEPS), 9, np.int8)),
        ("tracks.valid", np.zeros((4, STEPS), np.bool_)),
        ("tracks.x", np.zeros((4, STEPS), np.float32)),
        ("tracks.kind", np.full(4, 7, np.uint8)),
        ("about", np.frombuffer(b"[" * 5000, np.uint8).copy()),
        ("about", np.frombuffer(b'{"name": 1}', np.uint8).copy()),
    ]
    for name, array in lies:
        assert name in whole
        write(path, FILE_HEADER, FILE_VERSION, {**whole, name: array})
        with pytest.raises(SceneError, match=r"one.scene is no scene"):
            load(path)
    for name in whole:
        write(path, FILE_HEADER, FILE_VERSION, {k: a for k, a in whole.items() if k != name})
        with pytest.raises(SceneError, match=r"one.scene is no scene"):
            load(path)


def test_a_large_scene_is_a_small_file_that_is_read_soon(tmp_path: Path) -> None:
    made = large()
    path = tmp_path / "one.scene"
    made.save(path)
    assert path.stat().st_size < 1_000_000
    spent = []
    for _ in range(5):
        since = time.perf_counter()
        load(path)
        spent.append(time.perf_counter() - since)
    assert min(spent) < 0.05  # 5 ms where nothing else runs


def large() -> Scene:
    """Returns a scene with as many bodies and points as one of WOMD."""
    from selfdrive_env.scenes import Line, Roads, Tracks

    agents, steps, random = 128, 91, np.random.default_rng(0)
    shape = (agents, steps)
    ones = np.ones(agents, np.float32)
    tracks = Tracks(
        id=np.arange(agents), kind=np.zeros(agents, np.uint8), length=4 * ones, width=2 * ones,
        height=ones, x=random.normal(size=shape), y=random.normal(size=shape),
        z=random.normal(size=shape), heading=np.zeros(shape, np.float32),
        vx=np.zeros(shape, np.float32), vy=np.zeros(shape, np.float32), valid=np.ones(shape, bool),
    )  # fmt: skip
    lines = [Line(n, 2, random.normal(size=(60, 3)), 10.0) for n in range(350)]
    links = [(n, 1, n + 1) for n in range(349)]
    return Scene.recorded(tracks, current=10, ego=0, roads=Roads.of(lines, links))
