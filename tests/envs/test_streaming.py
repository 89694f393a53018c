"""Scenes from more files than fit into memory, in Scenes-v0."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from selfdrive_env.engine.states import check_values
from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.loading import windows
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.scenes import Scene, SceneError
from selfdrive_env.scenes.readers.womd.crc32c import crc32c
from selfdrive_env.testing import check_vector_env
from tests.scenes import builders as made

SMALL = {"layout": "lean", "num_threads": 1, "scene_agents": 8}
RULES = {
    **dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore"),
    "max_episode_steps": 30,
}
FILES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten scenes of two towns in files, which take 10 to 30 steps."""
    folder = tmp_path_factory.mktemp("scenes")
    envs = make_self_play(
        60, map=["riverside", "hillcrest"], agents_per_world=6, driver="idm", dt=0.1,
        bodies="typed", layout="lean", num_threads=1,
    )  # fmt: skip
    envs.reset(seed=3)
    scenes = record(envs, lambda _: np.zeros(60, np.int64), steps=40)
    assert len({scene.map for scene in scenes}) == 2
    for number, scene in enumerate(scenes):
        cut = scene.shortened(12 + 2 * number)
        cut.save(folder / f"{number}.scene")
    return folder


def names(envs):
    return [envs.scenes[number].name for number in envs.engine.worlds.scene.tolist()]


def drive(folder, steps, **settings):
    """Drives on; observations, and the scenes that worlds were in."""
    envs = ScenesVectorEnv(3, scene=str(folder), **{**SMALL, **RULES, **settings})
    observations, infos = envs.reset(seed=5)
    rows, seen = [observations], [infos["scene"].tolist()]
    for step in range(steps):
        found = envs.step(np.full(3, step % 12))
        rows.append(found[0])
        seen.append(found[4]["scene"].tolist())
    envs.close()
    return np.stack(rows), seen, envs


def test_all_scenes_come_and_no_more_than_two_windows_are_kept(folder):
    _, seen, envs = drive(folder, 400, window=4, on_goal="new_route")
    assert len({name for row in seen for name in row}) == FILES
    assert len(envs.scenes) <= 4 + 3


def test_worlds_drive_their_scene_to_its_end_as_if_nothing_had_changed(folder):
    """A window that changes after every draw, against worlds that know all scenes."""
    common = {"on_goal": "new_route", "autoreset_mode": "NextStep", "scene_order": "sequence"}
    streamed = ScenesVectorEnv(3, scene=str(folder), window=3, **common, **SMALL, **RULES)
    whole = ScenesVectorEnv(3, scene=str(folder), **common, **SMALL, **RULES)
    rows = streamed.reset(seed=5)[0], whole.reset(seed=5)[0]
    assert (rows[0] == rows[1]).all()
    same = np.ones(3, bool)
    compared = changes = 0
    for step in range(120):
        engine = streamed.engine
        found = [envs.step(np.full(3, step % 12)) for envs in (streamed, whole)]
        changes += engine is not streamed.engine
        same &= np.array(names(streamed)) == np.array(names(whole))
        compared += int(same.sum())
        for one, two in zip(found[0][:4], found[1][:4], strict=True):
            assert (one[same] == two[same]).all(), step
    assert changes > 5
    assert compared > 100


def test_slots_that_stand_empty_do_not_point_beyond_the_maps_of_a_window(folder, tmp_path):
    """They keep what belonged to a scene before, which may have been on another map."""
    for path in folder.iterdir():
        scene = Scene.read(path)
        if int(path.stem) % 2:
            scene = scene.only(*[agent.id for agent in scene.agents[:2]])
            scene = scene.with_ego(scene.agents[0].id).driven("learner", scene.agents[0].id)
        scene.save(tmp_path / path.name)
    envs = ScenesVectorEnv(3, scene=str(tmp_path), window=2, on_goal="new_route", **SMALL, **RULES)
    envs.reset(seed=5)
    changes = 0
    for _ in range(150):
        before = envs.engine
        envs.step(np.full(3, 7))
        if envs.engine is not before:
            changes += 1
            check_values(envs.engine, envs.engine.state(), envs.engine.bodies.row)
    assert changes > 5
    envs.close()


def test_the_same_seed_gives_the_same_stream(folder):
    first, second = (drive(folder, 150, window=4) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert first[1] == second[1]


def test_a_seed_gives_an_order_of_its_own_and_sequence_that_of_the_files(folder):
    orders = []
    for seed in (1, 2):
        envs = ScenesVectorEnv(3, scene=str(folder), window=4, **SMALL, **RULES)
        envs.reset(seed=seed)
        orders.append([scene.name for scene in envs.scenes])
        envs.close()
    assert orders[0] != orders[1]
    envs = ScenesVectorEnv(3, scene=str(folder), window=4, scene_order="sequence", **SMALL, **RULES)
    envs.reset(seed=1)
    files = [scene.source for scene in envs.scenes]
    assert files == sorted(files)
    envs.close()


def test_seeds_are_taken_and_refused_as_elsewhere(folder):
    envs = ScenesVectorEnv(2, scene=str(folder), window=4, **SMALL, **RULES)
    orders = []
    for seed in (3, np.int64(3), [3, 4]):
        envs.reset(seed=seed)
        orders.append([scene.name for scene in envs.scenes])
    assert orders[0] == orders[1] == orders[2]
    with pytest.raises(ValueError, match="seed"):
        envs.reset(seed=-1)
    envs.close()


def test_metrics_follow_scenes_over_windows(folder):
    envs = ScenesVectorEnv(
        3, scene=str(folder), window=3, driver="replay", metrics=["log_divergence"],
        on_goal="new_route", **SMALL, **RULES,
    )  # fmt: skip
    envs.reset(seed=5)
    ends = 0
    for _ in range(120):
        _, _, terminated, truncated, infos = envs.step(np.zeros(3, np.int64))
        done = terminated | truncated
        if done.any():
            told = infos["final_info"]["episode_metrics"]
            assert (told["_log_divergence"] == done).all()
            assert told["log_divergence"].max() < 1e-3
            ends += int(done.sum())
    assert ends > 10
    envs.close()


def test_the_conformance_kit_passes(folder):
    def make(num_envs, **keywords):
        return ScenesVectorEnv(num_envs, scene=str(folder), window=4, **SMALL, **RULES, **keywords)

    check_vector_env(make, steps=50, skip=("later_episodes", "spec", "pickling"))


def test_what_does_not_fit_is_refused_by_name(folder, tmp_path):
    with pytest.raises(SceneError, match=r"6 agents.*room for 2.*scene_agents=6"):
        ScenesVectorEnv(2, scene=str(folder), window=4, **{**SMALL, "scene_agents": 2})
    with pytest.raises(ValueError, match="window must be"):
        ScenesVectorEnv(2, scene=str(folder), window=0, **SMALL)
    with pytest.raises(ValueError, match=r"record=True.*window=4"):
        ScenesVectorEnv(2, scene=str(folder), window=4, record=True, **SMALL)
    envs = ScenesVectorEnv(2, scene=str(folder), window=2, scene_order="sequence", **SMALL)
    with pytest.raises(SceneError, match=r"steps, the stream began with .*max_episode_steps"):
        envs.reset(seed=0)
        for _ in range(80):
            envs.step(np.zeros(2, np.int64))
    envs.close()
    for number in range(3):
        (tmp_path / f"{number}.scene").write_bytes(b"nothing" if number == 2 else
            (folder / "0.scene").read_bytes())  # fmt: skip
    envs = ScenesVectorEnv(
        2, scene=str(tmp_path), window=2, scene_order="sequence", max_episode_steps=5, **SMALL
    )
    envs.reset(seed=0)
    with pytest.raises(SceneError, match=r"2\.scene"):
        for _ in range(40):
            envs.step(np.zeros(2, np.int64))
    envs.close()


def test_a_stream_that_runs_is_not_pickled(folder):
    envs = ScenesVectorEnv(2, scene=str(folder), window=4, **SMALL)
    assert pickle.loads(pickle.dumps(envs)).num_envs == 2
    envs.reset(seed=0)
    with pytest.raises(TypeError, match="streams scenes"):
        pickle.dumps(envs)
    envs.close()


def test_windows_have_all_scenes_once_and_in_order(folder, tmp_path):
    path = tmp_path / "two.tfrecord"
    path.write_bytes(made.tfrecord(made.scenario(), made.example(), checksum=crc32c))
    found = list(windows([str(folder), str(path)], 5))
    assert [len(window) for window in found] == [5, 5, 2]
    names = [scene.source for window in found for scene in window]
    assert names[:FILES] == sorted(map(str, folder.glob("*.scene")))
    assert all("two.tfrecord" in name for name in names[FILES:]) and len(set(names)) == 12
    path.write_bytes(b"")
    with pytest.raises(SceneError, match="is empty"):
        list(windows(str(path), 5))
    bad = tmp_path / "bad.scene"
    bad.write_bytes(b"nothing")
    with pytest.raises(SceneError, match=r"bad\.scene"):
        list(windows([str(folder), str(bad)], 5))
