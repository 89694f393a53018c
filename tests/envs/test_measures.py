"""Metrics by definition in infos and rewards of Scenes-v0."""

from __future__ import annotations

import dataclasses

import gymnasium
import numpy as np
import pytest

from selfdrive_env.envs import make_self_play
from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.poses import poses_of
from selfdrive_env.envs.scenes.recording import record
from selfdrive_env.envs.scenes.tables import learners_of, order_of
from selfdrive_env.maps import load as load_map
from selfdrive_env.metrics import METRICS, WAYMAX, compute, logged_routes, road_of_network
from selfdrive_env.scenes import Tracks
from selfdrive_env.scenes.tracks import KINDS
from selfdrive_env.testing import check_vector_env

SMALL = {"layout": "lean", "num_threads": 1}
RULES = {
    **dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore"),
    "on_goal": "new_route",
}
NAMES = [metric.name for metric in METRICS]
FORWARD = 10
SLOTS = 6


@pytest.fixture(scope="module")
def records():
    """Two scenes of scripted traffic on riverside, the fifth moment the present one."""
    envs = make_self_play(
        12, map="riverside", agents_per_world=6, driver="idm", dt=0.1, bodies="typed", **SMALL
    )
    envs.reset(seed=3)
    return record(envs, lambda _: np.zeros(12, np.int64), steps=45, current=4)


@pytest.fixture(scope="module")
def road():
    return road_of_network(load_map("riverside"))


def slots(scene):
    return [scene.ego, *(n for n in range(len(scene.agents)) if n != scene.ego)]


def driven(scene, frames, lights, order=None):
    """What was driven as tracks, and the log beside it, in the order of slots."""
    order = slots(scene) if order is None else order
    agents = [scene.agents[number] for number in order]
    own = {
        "id": np.array([agent.id for agent in agents]),
        "kind": np.array([KINDS.index(agent.kind) for agent in agents], np.uint8),
        "length": np.array([agent.length for agent in agents], np.float32),
        "width": np.array([agent.width for agent in agents], np.float32),
        "height": np.zeros(len(agents), np.float32),
    }
    names = ("x", "y", "z", "heading", "vx", "vy")
    stacked = [np.stack(one, 1)[: len(agents)] for one in zip(*frames, strict=True)]
    valid = stacked[6]
    kinds = (float, float, float, np.float32, np.float32, np.float32)
    series = {
        name: np.where(valid, stacked[place], 0.0).astype(kind)
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    cut = np.s_[order, scene.current :]
    log = {name: getattr(scene.tracks, name)[cut] for name in (*names, "valid")}
    return Tracks(**own, **series, valid=valid), Tracks(**own, **log), np.stack(lights, 1)


def drive(envs, action):
    """Drives the one world to its end; frames of poses, colours of lines, infos of steps."""
    frames, lights, told = [], [], []
    envs.reset(seed=0)

    def keep():
        found = poses_of(envs.engine)
        frames.append([one[0] for one in found])
        lights.append(envs.engine.lights.line_colour[0].copy())

    keep()
    ended = False
    while not ended:
        _, reward, terminated, truncated, infos = envs.step(np.full(envs.num_envs, action))
        keep()
        ended = bool((terminated | truncated).all())
        told.append((reward, infos))
    frames[-1][6][0] = True  # the ego leaves with the last moment
    return frames, lights, told


def test_metrics_of_steps_and_episodes_are_those_of_what_was_driven(records, road):
    envs = ScenesVectorEnv(
        1, scene=records[0], metrics=NAMES, step_info=True, autoreset_mode="NextStep", **RULES,
        **SMALL,
    )  # fmt: skip
    frames, lights, told = drive(envs, FORWARD)
    tracks, log, light = driven(records[0], frames, lights)
    assert tracks.num_steps == 41
    lines = len(road.stop_point)
    given = {"dt": 0.1, "log": log, "routes": logged_routes(log, [0])}
    wanted = compute(NAMES, tracks, road=dataclasses.replace(road, light=light[:lines]), **given)
    for step, (_, infos) in enumerate(told, 1):
        metrics = infos["metrics"]
        for name in NAMES:
            if name == "uncomfortable":  # its polynomials reach into the time to come
                continue
            assert metrics[f"_{name}"][0] == wanted[name].valid[0, step], (name, step)
            value = wanted[name].value[0, step]
            assert metrics[name][0] == pytest.approx(value, abs=1e-6), (name, step)
    final = told[-1][1]["episode_metrics"]
    assert final["log_divergence"][0] == pytest.approx(wanted["log_divergence"].value[0].mean())
    assert final["fde"][0] == pytest.approx(wanted["log_divergence"].value[0, -1])
    assert final["progression"][0] == pytest.approx(wanted["progression"].value[0, -1])
    assert final["uncomfortable"][0] == wanted["uncomfortable"].value[0].max()
    assert final["time_to_collision"][0] == wanted["time_to_collision"].value[0].min()
    assert wanted["log_divergence"].value[0, -1] > 1.0
    assert wanted["uncomfortable"].value[0].max() == 1.0


def test_worlds_that_are_measured_together_have_the_metrics_of_each_alone(records, road):
    """Two roads, three lengths, agents that the others do not have."""
    envs = make_self_play(
        5, map="hillcrest", agents_per_world=5, driver="idm", dt=0.1, bodies="typed", **SMALL
    )
    envs.reset(seed=5)
    (other,) = record(envs, lambda _: np.zeros(5, np.int64), steps=30, current=3)
    scenes = [records[0], records[1].shortened(28), other, records[1]]
    roads = [road, road, road_of_network(load_map("hillcrest")), road]
    envs = ScenesVectorEnv(
        24, scene=scenes, scene_order="sequence", learners="all", metrics=NAMES, step_info=True,
        autoreset_mode="NextStep", **RULES, **SMALL,
    )  # fmt: skip
    envs.reset(seed=0)
    frames, lights, told = [], [], []
    for step in range(24):  # then the second is over
        found = poses_of(envs.engine)
        frames.append([one.copy() for one in found])
        lights.append(envs.engine.lights.line_colour.copy())
        action = np.tile((np.arange(6) + step // 5) % 12, 4)
        told.append(envs.step(action)[-1])
    for place, scene in enumerate(scenes):
        order = order_of(scene, "all")
        own = [[one[place] for one in frame] for frame in frames]
        rows, colours = len(learners_of(scene, "all")), [one[place] for one in lights]
        if place == 1:  # who is at the end of a scene leaves, and was there
            own[-1][6][:rows] = True
        to_come = scene.steps - scene.current - len(own)
        own += to_come * [[*own[-1][:6], np.zeros(6, np.bool_)]]
        tracks, log, light = driven(scene, own, colours + to_come * colours[-1:], order)
        lines = len(roads[place].stop_point)
        own_road = dataclasses.replace(roads[place], light=light[:lines])
        given = {"dt": 0.1, "log": log, "routes": logged_routes(log, range(rows))}
        wanted = compute(NAMES, tracks, road=own_road, **given)
        for step in range(1, 24):
            metrics = told[step - 1]["metrics"]
            for name in NAMES:
                if name == "uncomfortable":  # its polynomials reach into the time to come
                    continue
                value, valid = metrics[name].reshape(4, 6), metrics[f"_{name}"].reshape(4, 6)
                assert (valid[place, :rows] == wanted[name].valid[:rows, step]).all(), (name, step)
                assert not valid[place, rows:].any()
                assert value[place, :rows] == pytest.approx(
                    wanted[name].value[:rows, step], abs=1e-6
                ), (name, step, place)
    ends = ["episode_metrics" in infos for infos in told[:23]]
    assert ends == [False] * 22 + [True]
    final = told[22]["episode_metrics"]["_fde"].reshape(4, 6)
    assert final.any(axis=1).tolist() == [False, True, False, False]


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_a_replayed_log_diverges_nowhere(records, mode):
    envs = ScenesVectorEnv(
        2, scene=records, metrics=WAYMAX, driver="replay", scene_order="sequence",
        autoreset_mode=mode, **RULES, **SMALL,
    )  # fmt: skip
    envs.reset(seed=0)
    ends = 0
    for _ in range(90):
        _, _, terminated, truncated, infos = envs.step(np.zeros(2, np.int64))
        done = terminated | truncated
        ends += int(done.sum())
        if not done.any():
            assert "episode_metrics" not in infos
            continue
        told = (infos["final_info"] if mode == "SameStep" else infos)["episode_metrics"]
        assert (told["_log_divergence"] == done).all()
        assert told["log_divergence"][done].max() < 1e-3
        assert told["progression"][done] == pytest.approx(1.0, abs=1e-3)
        assert not told["overlap"].any()
    assert ends >= 4


def test_the_last_step_counts_where_a_world_is_drawn_anew_at_once(records):
    """Of the same drives, SameStep tells what NextStep does."""
    found = []
    for mode in ("SameStep", "NextStep"):
        envs = ScenesVectorEnv(
            1, scene=records[0], metrics=NAMES, autoreset_mode=mode, **RULES, **SMALL
        )
        envs.reset(seed=0)
        done = False
        while not done:
            _, _, _, truncated, infos = envs.step(np.array([FORWARD]))
            done = bool(truncated[0])
        told = (infos["final_info"] if mode == "SameStep" else infos)["episode_metrics"]
        found.append({name: told[name][0] for name in (*NAMES, "fde")})
    for name, value in found[0].items():
        assert value == pytest.approx(found[1][name], abs=2e-3), name


def test_the_preset_waymax_takes_one_for_overlap_and_one_for_leaving_the_road(records):
    envs = ScenesVectorEnv(
        1, scene=records[0], preset="waymax", metrics=("overlap", "offroad"), step_info=True,
        autoreset_mode="NextStep", traffic="still", **RULES, **SMALL,
    )  # fmt: skip
    _, _, told = drive(envs, 11)  # hard to the left
    rewards = np.array([reward[0] for reward, _ in told])
    for reward, infos in told:
        metrics = infos["metrics"]
        assert reward[0] == -float(metrics["overlap"][0] > 0) - float(metrics["offroad"][0] > 0)
        terms = infos["weighted_terms"]
        total = sum(value[0] for name, value in terms.items() if name[0] != "_")
        assert total == pytest.approx(reward[0])
    assert rewards.min() < 0.0


def test_progress_pays_the_way_that_was_driven_and_no_more(records):
    envs = ScenesVectorEnv(
        1, scene=records[0], preset="waymax", reward={"progression": 10.0, "overlap": 0.0},
        driver="replay", autoreset_mode="NextStep", **RULES, **SMALL,
    )  # fmt: skip
    _, _, told = drive(envs, 0)
    assert sum(float(reward[0]) for reward, _ in told) == pytest.approx(10.0, abs=0.02)


def test_terms_and_metrics_add_up(records):
    common = {"scene": records[0], "autoreset_mode": "NextStep", **RULES, **SMALL}
    plain = drive(ScenesVectorEnv(1, **common), FORWARD)[2]
    both = drive(ScenesVectorEnv(1, reward={"log_divergence": 0.5}, **common), FORWARD)[2]
    told = drive(ScenesVectorEnv(1, metrics=["log_divergence"], step_info=True, **common), FORWARD)
    for (one, _), (two, _), (_, infos) in zip(plain, both, told[2], strict=True):
        assert two[0] == pytest.approx(
            one[0] - 0.5 * infos["metrics"]["log_divergence"][0], abs=1e-5
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics": ["overlapp"]}, "overlapp.*overlap"),
        ({"reward": {"overlap": -1.0}}, "reward\\['overlap'\\].*at least 0"),
        ({"reward": {"overlap": "much"}}, "number of at least 0"),
        ({"reward": {"metric.nothing": 1.0}}, "metric.nothing"),
    ],
)
def test_what_is_no_metric_is_refused_by_name(records, settings, words):
    with pytest.raises(ValueError, match=words):
        ScenesVectorEnv(1, scene=records[0], **settings, **SMALL)


def test_infos_name_scene_and_agent(records):
    envs = ScenesVectorEnv(2, scene=records, scene_order="sequence", **SMALL)
    _, infos = envs.reset(seed=0)
    assert infos["scene"].tolist() == [one.name for one in records]
    assert infos["agent"].tolist() == [one.agents[one.ego].id for one in records]
    assert infos["_scene"].all()


def test_tensors_hold_what_arrays_do_and_places_of_scenes(records):
    torch = pytest.importorskip("torch")
    arrays, tensors = (
        gymnasium.make_vec(
            "selfdrive_env/Scenes-v0", num_envs=2, scene=records, output=output, step_info=True,
            metrics=["overlap"], reward={"log_divergence": 0.5}, max_episode_steps=8,
            **RULES, **SMALL,
        ).unwrapped
        for output in ("numpy", "torch")
    )  # fmt: skip
    arrays.reset(seed=0)
    tensors.reset(seed=0)
    ended = False
    for _ in range(9):
        wanted, found = arrays.step(np.full(2, FORWARD)), tensors.step(torch.full((2,), FORWARD))
        for one, two in zip(wanted[:4], found[:4], strict=True):
            assert isinstance(two, torch.Tensor) and (one == two.numpy()).all()
        infos, told = wanted[4], found[4]
        assert infos["scene"].tolist() == [tensors.scenes[one].name for one in told["scene"]]
        for name in ("metrics", "weighted_terms"):
            assert told[name].keys() == infos[name].keys()
            assert all((told[name][key].numpy() == infos[name][key]).all() for key in infos[name])
        ended |= "final_info" in infos
        assert ("final_info" in told) == ("final_info" in infos)
        if "final_info" in told:
            last, same = (one["final_info"]["episode_metrics"] for one in (infos, told))
            assert (last["overlap"] == same["overlap"].numpy()).all()
    assert ended


def test_rows_of_all_agents_are_named_and_measured(records):
    envs = ScenesVectorEnv(
        2 * SLOTS, scene=records[0], learners="all", metrics=["overlap", "progression"],
        step_info=True, **RULES, **SMALL,
    )  # fmt: skip
    _, infos = envs.reset(seed=0)
    scene = records[0]
    present = [n for n in slots(scene) if scene.present[n] and scene.agents[n].kind == "vehicle"]
    assert infos["agent"][: len(present)].tolist() == [scene.agents[n].id for n in present]
    _, _, _, _, infos = envs.step(np.full(envs.num_envs, 7))
    assert infos["metrics"]["_progression"].all()


def test_the_single_form_tells_plain_numbers(records):
    env = gymnasium.make(
        "selfdrive_env/Scenes-v0", scene=records[0], metrics=["log_divergence"], layout="lean"
    )
    _, info = env.reset(seed=0)
    assert (info["scene"], info["agent"]) == (records[0].name, records[0].agents[records[0].ego].id)
    done = False
    while not done:
        _, _, terminated, truncated, info = env.step(FORWARD)
        assert isinstance(info["metrics"]["log_divergence"], float)
        done = terminated or truncated
    assert info["episode_metrics"]["fde"] >= info["metrics"]["log_divergence"] - 1e-9


def test_the_conformance_kit_passes_with_metrics(records):
    def make(num_envs, **keywords):
        return ScenesVectorEnv(num_envs, scene=records, metrics=["overlap"], **SMALL, **keywords)

    check_vector_env(make, steps=50, skip=("later_episodes", "spec"))


def test_metrics_go_on_from_a_state_that_was_set(records):
    settings = {
        "scene": records[0],
        "preset": "waymax",
        "reward": {"progression": 5.0},
        "autoreset_mode": "NextStep",
    }
    envs = ScenesVectorEnv(1, **settings, **RULES, **SMALL)
    envs.reset(seed=0)
    for _ in range(12):
        envs.step(np.array([FORWARD]))
    state = envs.get_state()
    wanted = [envs.step(np.array([7]))[1][0] for _ in range(8)]
    envs.set_state(state)
    assert [envs.step(np.array([7]))[1][0] for _ in range(8)] == wanted
