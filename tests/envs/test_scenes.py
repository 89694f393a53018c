"""Scenes-v0: worlds that are scenes, and recorded traffic in them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from selfdrive_env.__main__ import main
from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.loading import built_in
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.scenes import Agent, Scene, SceneError, Tracks
from selfdrive_env.scenes.readers import load
from selfdrive_env.testing import check_vector_env

SMALL = {"layout": "lean", "num_threads": 1}


@pytest.fixture(scope="module")
def records():
    """Two scenes of scripted traffic on riverside as it drove, the first moment the present one."""
    envs = make_self_play(
        12, map="riverside", agents_per_world=6, driver="idm", dt=0.1, bodies="typed", **SMALL
    )
    envs.reset(seed=3)
    return record(envs, lambda _: np.zeros(12, np.int64), steps=60)


@pytest.fixture(scope="module")
def scene(records):
    return records[0]


def centres(engine, world=0):
    """Middles of the boxes of a world, [agent, 2]."""
    a, b = engine.agents, engine.bodies
    ahead = 0.5 * b.wheelbase[world]
    x, y = a.x[world] + ahead * a.cos[world], a.y[world] + ahead * a.sin[world]
    return np.stack([x, y], 1)


def order_of(scene):
    """The agents of a scene by slot: the ego first."""
    return [scene.ego, *(number for number in range(len(scene.agents)) if number != scene.ego)]


def follow(envs, scene):
    """Replays a scene and returns the largest distance to its record, and events that came."""
    slots = order_of(scene)
    ignore = np.zeros(envs.num_envs, np.int64)
    events, worst = 0, 0.0
    for moment in range(scene.current + 1, scene.steps - 1):
        envs.step(ignore)
        valid = scene.tracks.valid[slots, moment]
        assert ((envs.engine.agents.status[0] != 0) == valid).all()
        x, y = scene.tracks.x[slots, moment], scene.tracks.y[slots, moment]
        apart = np.hypot(*(centres(envs.engine) - np.stack([x, y], 1))[valid].T)
        worst = max(worst, float(apart.max()))
        events |= int(np.bitwise_or.reduce(envs.engine.output.event[0]))
    return worst, events


def test_a_record_is_replayed_as_it_was(scene):
    rules = dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore")
    envs = ScenesVectorEnv(1, scene=scene, driver="replay", **rules, **SMALL)
    observations, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observations)
    worst, events = follow(envs, scene)
    assert worst < 1e-3
    assert not events & 4


def test_who_is_driven_leaves_the_record_and_the_others_do_not(scene):
    envs = ScenesVectorEnv(1, scene=scene, on_collision="ignore", on_offroad="ignore", **SMALL)
    envs.reset(seed=0)
    for _ in range(25):
        envs.step(np.array([2]))  # brakes
    at = np.stack([scene.tracks.x[:, 25], scene.tracks.y[:, 25]], 1)[order_of(scene)]
    apart = np.hypot(*(centres(envs.engine) - at).T)
    assert apart[0] > 1.0
    assert (apart[1:] < 1e-3).all()


def test_agents_come_and_go_with_their_record(scene):
    tracks = scene.tracks
    valid = tracks.valid.copy()
    valid[2, :10], valid[3, 20:], valid[4, 5:15] = False, False, False
    values = {name: getattr(tracks, name) for name in tracks.__dataclass_fields__}
    cut = Scene.recorded(Tracks(**{**values, "valid": valid}), current=0, ego=0, map="riverside")
    envs = ScenesVectorEnv(1, scene=cut, driver="replay", on_collision="ignore", **SMALL)
    envs.reset(seed=0)
    worst, _ = follow(envs, cut)
    assert worst < 1e-3


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_scenes_follow_each_other_in_every_mode(mode):
    envs = ScenesVectorEnv(3, autoreset_mode=mode, scene_order="sequence", **SMALL)
    envs.reset(seed=1)
    assert envs.scene_of_row.tolist() == [0, 1, 0]
    seen, waiting = set(), np.zeros(3, bool)
    for _ in range(700):
        if mode == "Disabled" and waiting.any():
            envs.reset(options={"reset_mask": waiting})
        _, _, terminated, truncated, infos = envs.step(np.full(3, 7))
        waiting = terminated | truncated
        seen |= set(zip(range(3), envs.scene_of_row.tolist(), strict=True))
        if mode == "SameStep":
            assert infos["valid"].all()
    assert seen == {(row, number) for row in range(3) for number in range(2)}


def test_an_episode_ends_with_the_scene():
    first = built_in()[0]
    alone = first.only(0)
    envs = ScenesVectorEnv(2, scene=alone, **SMALL)
    envs.reset(seed=0)
    for step in range(1, alone.steps):
        _, _, terminated, truncated, _ = envs.step(np.full(2, 0))  # stands
        assert not terminated.any()
        assert truncated.all() == (step == alone.steps - 1)


def test_a_goal_is_reached_at_speed():
    scene = built_in()[0].only(0)
    envs = ScenesVectorEnv(1, scene=scene, driver="constant", **SMALL)
    envs.reset(seed=0)
    for _ in range(scene.steps):
        _, _, terminated, _, infos = envs.step(np.zeros(1, np.int64))
        if terminated[0]:
            assert infos["final_info"]["last_goal"][0] == 1
            return
    raise AssertionError("it did not arrive")


def test_rows_are_the_agents_that_are_asked_for(scene):
    other = built_in()[0]
    envs = ScenesVectorEnv(
        12, scene=[scene, other], learners="all", scene_order="sequence", **SMALL
    )
    _, infos = envs.reset(seed=0)
    assert envs.rows_per_world == 6
    assert infos["valid"].reshape(2, 6).sum(1).tolist() == [6, 3]
    with pytest.raises(ValueError, match="alike for all rows of a world"):
        envs.reset(options={"reset_mask": np.arange(12) < 3})
    nobody = Scene(other.agents, map="riverside", dt=0.1, steps=10)
    with pytest.raises(SceneError, match="nobody for learners='interest'"):
        ScenesVectorEnv(1, scene=nobody, learners="interest", **SMALL)


def test_same_seed_same_bytes_whatever_the_threads(scene):
    runs = []
    for threads in (1, 2):
        envs = ScenesVectorEnv(8, scene=[scene, *built_in()], layout="lean", num_threads=threads)
        observations = [envs.reset(seed=5)[0].copy()]
        rng = np.random.default_rng(0)
        for _ in range(80):
            observations.append(envs.step(rng.integers(0, 12, 8))[0].copy())
        runs.append(np.stack(observations).tobytes())
    assert runs[0] == runs[1]


def test_a_state_comes_back_and_a_damaged_one_does_not(scene):
    envs = ScenesVectorEnv(4, scene=[scene, *built_in()], **SMALL)
    envs.reset(seed=2)
    for _ in range(20):
        envs.step(np.full(4, 5))
    state = envs.get_state()
    after = [envs.step(np.full(4, 5))[0].copy() for _ in range(60)]
    envs.set_state(state)
    assert all((envs.step(np.full(4, 5))[0] == one).all() for one in after)
    bad = dict(state, **{"worlds.scene": np.full(4, 3, np.int32)})
    with pytest.raises(ValueError, match=r"worlds\.scene.*from -1 to 2"):
        envs.set_state(bad)


def test_both_forms_are_made_by_their_id():
    env = gymnasium.make("selfdrive_env/Scenes-v0", layout="lean")
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation) and info["speed"] == pytest.approx(8.0)
    observation, _, _, _, info = env.step(env.action_space.sample())
    assert np.isfinite(info["distance_to_goal"])
    envs = gymnasium.make_vec("selfdrive_env/Scenes-v0", num_envs=2, layout="lean")
    assert envs.reset(seed=0)[0].shape == (2, 395)


def test_the_contract_of_vector_environments_is_kept():
    settings = {**SMALL, "render_size": 64, "max_episode_steps": 25}

    def make(**keywords):
        id = "selfdrive_env/Scenes-v0"
        mode = "vector_entry_point"
        return gymnasium.make_vec(id, vectorization_mode=mode, **{**settings, **keywords})

    check_vector_env(make, skip=("later_episodes",))


def test_json_holds_scenes_that_have_a_file(scene, tmp_path):
    path = str(tmp_path / "one.scene")
    scene.save(path)
    id = "selfdrive_env/Scenes-v0"
    spec = gymnasium.make_vec(id, num_envs=1, scene=path, layout="lean").spec
    made = gymnasium.make_vec(EnvSpec.from_json(spec.to_json()), num_envs=1)
    assert made.unwrapped.scenes == [scene]
    spec = gymnasium.make_vec(id, num_envs=1, scene=[scene], layout="lean").spec
    with pytest.raises(ValueError, match=r"scene holds the Scene 'riverside/0'.*Scene\.save"):
        spec.to_json()


def test_a_policy_drives_the_others(scene):
    envs = ScenesVectorEnv(1, scene=scene, traffic="selfplay", on_collision="ignore", num_threads=1)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (1, 395)
    agents, bodies = envs.engine.agents, envs.engine.bodies
    assert (bodies.driver[0] == 0).all() and bodies.learner[0].tolist() == [1, 0, 0, 0, 0, 0]
    for _ in range(40):
        envs.step(np.full(1, 7))
    speed, order = agents.speed[0, 1:], order_of(scene)[1:]
    at = np.stack([scene.tracks.x[order, 40], scene.tracks.y[order, 40]], 1)
    apart = np.hypot(*(centres(envs.engine)[1:] - at).T)
    assert speed.max() > 3.0 and apart.max() > 0.5
    with pytest.raises(ValueError, match="needs learners='ego'"):
        ScenesVectorEnv(6, scene=scene, traffic="selfplay", learners="all")


def test_who_comes_later_comes_as_recorded(scene):
    tracks = scene.tracks
    valid = tracks.valid.copy()
    late = order_of(scene)[2]
    valid[late, :10] = False
    values = {name: getattr(tracks, name) for name in tracks.__dataclass_fields__}
    cut = Scene.recorded(
        Tracks(**{**values, "valid": valid}), current=0, ego=scene.ego, map="riverside"
    )
    envs = ScenesVectorEnv(1, scene=cut, traffic="idm", **SMALL)
    envs.reset(seed=0)
    for moment in range(1, 20):
        envs.step(np.full(1, 7))
        assert (envs.engine.agents.status[0, 2] != 0) == (moment >= 10)


def test_what_scenes_decide_is_refused():
    with pytest.raises(TypeError, match="map is decided by the scenes"):
        ScenesVectorEnv(1, map="harbour")
    with pytest.raises(ValueError, match="learners"):
        ScenesVectorEnv(1, learners="egos")
    with pytest.raises(ValueError, match="traffic"):
        ScenesVectorEnv(1, traffic="nobody")
    with pytest.raises(TypeError, match="scene must be a Scene"):
        ScenesVectorEnv(1, scene=3)
    astray = Scene(
        (Agent(7, x=-220.0, y=100.0, driver="learner"),), map="riverside", steps=9, ego=0
    )
    with pytest.raises(SceneError, match=r"agent 7: it stands .* m beside the lanes"):
        ScenesVectorEnv(1, scene=astray, **SMALL)
    with pytest.raises(SceneError, match="has neither map nor roads"):
        ScenesVectorEnv(1, scene=Scene((Agent(7, x=0.0, y=0.0),), steps=9, ego=0), **SMALL)


FILES = ["ARG_Carcarana-4_5_T-1", "BEL_Putte-8_2_T-1", "DEU_A9-3_1_T-1", "DEU_Flensburg-10_1_T-1",
    "USA_Lanker-1_1_T-1", "USA_US101-4_1_T-1", "ZAM_Tjunction-1_97_T-1"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_recorded_scenes_are_replayed(name, shared_data):
    scene = load(shared_data / f"commonroad/scenarios/{name}.xml")
    known = np.flatnonzero(scene.tracks.valid.any(1))
    scene = scene.only(*[scene.agents[number].id for number in known])
    scene = scene.with_ego(scene.agents[int(np.flatnonzero(scene.tracks.valid[:, 0])[0])].id)
    rules = dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore")
    envs = ScenesVectorEnv(1, scene=scene, driver="replay", **rules, **SMALL)
    envs.reset(seed=0)
    worst, _ = follow(envs, scene)
    assert worst < 0.01


def test_what_is_recorded_is_what_drove(tmp_path):
    envs = make_self_play(8, map="riverside", agents_per_world=4, driver="idm", dt=0.2, **SMALL)
    envs.reset(seed=9)
    start = [centres(envs.engine, world) for world in range(2)]
    scenes = record(envs, lambda _: np.zeros(8, np.int64), steps=40, current=5)
    assert [one.name for one in scenes] == ["riverside/0", "riverside/1"]
    for world, one in enumerate(scenes):
        tracks = one.tracks
        assert (one.dt, one.steps, one.current) == (0.2, 40, 5)
        assert np.allclose(np.stack([tracks.x[:, 0], tracks.y[:, 0]], 1), start[world])
        step = np.hypot(np.diff(tracks.x), np.diff(tracks.y))
        speed = np.hypot(tracks.vx, tracks.vy)
        both = tracks.valid[:, 1:] & tracks.valid[:, :-1]
        assert np.abs(step - 0.1 * (speed[:, 1:] + speed[:, :-1]))[both].max() < 0.1
        assert np.hypot(tracks.vx, tracks.vy)[one.ego].sum() > 100.0
        one.save(tmp_path / f"{world}.scene")
    envs = ScenesVectorEnv(2, scene=tmp_path, scene_order="sequence", driver="replay", **SMALL)
    envs.reset(seed=0)
    assert envs.scenes[0] == scenes[0]
    ego = scenes[0].agents[scenes[0].ego]
    assert np.allclose(centres(envs.engine)[0], [ego.x, ego.y], atol=1e-3)


def test_traffic_is_recorded_by_command(tmp_path):
    folder = tmp_path / "scenes"
    words = ["scenes", "record", "--map", "riverside", "--traffic", "idm", "-n", "3"]
    assert main([*words, "--agents", "5", "--worlds", "2", "-o", str(folder)]) == 0
    files = sorted(folder.iterdir())
    assert len(files) == 3
    assert {load(one).steps for one in files} == {91}
    more = ["--seconds", "6", "--dt", "0.2", "--ego", "any", "-n", "8", "--agents", "8"]
    assert main([*words, *more, "--worlds", "2", "-o", str(tmp_path / "drawn")]) == 0
    scenes = [load(one) for one in sorted((tmp_path / "drawn").iterdir())]
    assert {(one.steps, one.dt, one.current) for one in scenes} == {(31, 0.2, 5)}
    speeds = [np.hypot(one.tracks.vx, one.tracks.vy) for one in scenes]
    assert all(v[one.ego, one.current] > 1.0 for v, one in zip(speeds, scenes, strict=True))
    farthest = [v.sum(1).argmax() == one.ego for v, one in zip(speeds, scenes, strict=True)]
    assert not all(farthest)


def test_recording_refuses_lengths_out_of_range(tmp_path, capsys):
    words = ["scenes", "record", "--map", "riverside", "-o", str(tmp_path)]
    assert main([*words, "--seconds", "1"]) != 0
    assert "--seconds must be a number from 2 to 300, got 1" in capsys.readouterr().err
