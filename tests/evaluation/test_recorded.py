"""Policies in recorded scenes, by the metrics of `selfdrive_env.metrics`."""

from __future__ import annotations

import gc
import json
from dataclasses import replace

import numpy as np
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.evaluation import policies
from selfdrive_env.evaluation.results import recorded
from selfdrive_env.evaluation.results.recorded import (
    EXPERT,
    drive,
    evaluate_scenes,
    scores_of,
    with_recorded_ego,
)
from selfdrive_env.scenes import Agent, Scene, SceneError


@pytest.fixture(scope="module")
def scenes():
    """Three scenes of scripted traffic, of different lengths."""
    envs = make_self_play(
        15, map="riverside", agents_per_world=5, driver="idm", dt=0.1, layout="lean", num_threads=1
    )
    envs.reset(seed=4)
    found = record(envs, lambda _: np.zeros(15, np.int64), steps=50, current=5)
    return [found[0], found[1].shortened(30), found[2]]


def test_the_expert_drives_as_recorded(scenes):
    found = evaluate_scenes([EXPERT], scenes)[EXPERT]
    assert found["scenes"] == 3
    assert found["ade"] < 1e-3 and found["fde"] < 1e-3
    assert found["progression"] == pytest.approx(1.0, abs=1e-3)
    assert found["collision_or_departure"] == found["off_route"] == 0.0
    assert found["waymax_score"] == pytest.approx(1.0, abs=1e-3)


def test_who_stands_falls_behind(scenes):
    found = evaluate_scenes(["still", "idm"], scenes)
    moved = [
        np.hypot(np.diff(s.tracks.x[s.ego, 5:]), np.diff(s.tracks.y[s.ego, 5:])).sum()
        for s in scenes
    ]
    assert found["still"]["fde"] == pytest.approx(np.mean(moved), rel=0.5)
    assert found["still"]["progression"] < found["idm"]["progression"]
    assert found["still"]["waymax_score"] < found["idm"]["waymax_score"]


def test_tracks_come_in_the_order_of_the_agents(scenes):
    driven = drive(policies.load("constant:1"), scenes)
    for one, scene in zip(driven, scenes, strict=True):
        others = [n for n in range(len(scene.agents)) if n != scene.ego]
        assert one.simulated.valid.shape == one.log.valid.shape
        assert (one.simulated.valid[others] == one.log.valid[others]).all()
        assert np.allclose(one.simulated.x[others], one.log.x[others], atol=1e-3)
        assert np.allclose(one.simulated.y[:, 0], one.log.y[:, 0], atol=1e-3)
        assert np.hypot(*(one.simulated.x - one.log.x, one.simulated.y - one.log.y))[scene.ego, -1]


def test_an_expert_that_leaves_early_is_measured_until_then(scenes):
    tracks = scenes[0].tracks
    valid = tracks.valid.copy()
    valid[scenes[0].ego, 25:] = False
    scene = replace(scenes[0], tracks=replace(tracks, valid=valid))
    policy = policies.load("constant")
    expert = policies.Candidate(EXPERT, policy.act, settings={"driver": "replay"})
    one = drive(expert, [scene, *scenes[1:]])[0]
    seen = one.simulated.valid[scene.ego]
    assert seen[:20].all() and not seen[21:].any()
    assert evaluate_scenes([EXPERT], [scene])[EXPERT]["ade"] < 1e-3


def test_an_ego_without_a_record_is_stood_in_for(scenes):
    planned = Agent(99, x=-300.0, y=3.6, driver="learner")
    scene = scenes[0].with_agent(planned).with_ego(99)
    best = with_recorded_ego(scene)
    assert best.ego >= 0 and 99 not in [agent.id for agent in best.agents]
    nobody = Scene((planned,), map="riverside", dt=0.1, steps=9, ego=0, name="alone")
    with pytest.raises(SceneError, match="'alone' has no vehicle that was recorded"):
        drive(policies.load("idm"), [nobody])


def test_a_folder_goes_through_some_scenes_at_a_time(scenes, tmp_path, monkeypatch):
    """With the figures that all at once have, to the bit, and few scenes in memory."""
    for number in range(12):
        scenes[number % 3].save(tmp_path / f"{number:02}.scene")
    whole = [Scene.read(path) for path in sorted(tmp_path.iterdir())]
    monkeypatch.setattr(recorded, "WORLDS", 2)
    at_once = {name: scores_of(drive(policies.load(name), whole)) for name in ("random", "idm")}
    before, alive = scenes_in_memory(), []

    def counting(*arguments, **keywords):
        alive.append(scenes_in_memory() - before)
        return drive(*arguments, **keywords)

    monkeypatch.setattr(recorded, "drive", counting)
    assert evaluate_scenes(["random", "idm"], str(tmp_path)) == at_once
    assert len(alive) == 2 * 6 and max(alive) <= 2 * 2, alive


def scenes_in_memory():
    gc.collect()
    return sum(type(one) is Scene for one in gc.get_objects())


def test_the_command_prints_one_row_a_policy(scenes, tmp_path, capsys):
    for number, scene in enumerate(scenes):
        scene.save(tmp_path / f"{number}.scene")
    assert main(["evaluate", "expert", "idm", "--scenes", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"expert", "idm"} and found["idm"]["scenes"] == 3
    assert main(["evaluate", "expert", "--scenes", str(tmp_path)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert "nuPlan" in head and row.startswith("expert")
