"""Merge-v0 and the other tasks: who solves them, what infos say, and the contract."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from selfdrive_env.config.choices import SCENE_ENVIRONMENTS
from selfdrive_env.envs.scenes.tasks import TaskVectorEnv, is_solved
from selfdrive_env.scenes.tasks.table import TASKS, task_scene
from selfdrive_env.state.world import ABSENT
from selfdrive_env.testing import check_vector_env

SMALL: dict[str, Any] = {"layout": "lean", "num_threads": 1}
IDS = {one.name: one.keywords["task"] for one in SCENE_ENVIRONMENTS if "task" in one.keywords}


def solved(task: str, driver: str, seeds: int, action: int = 0, **settings: Any) -> int:
    """How many of the first seeds are solved."""
    kept = {"scene_order": "sequence", "preset": "eval", **SMALL, **settings}
    envs = TaskVectorEnv(seeds, task=task, num_seeds=seeds, driver=driver, **kept)
    envs.reset(seed=0)
    found, over = np.zeros(seeds, bool), np.zeros(seeds, bool)
    for _ in range(envs.settings.steps):
        _, _, terminated, truncated, infos = envs.step(np.full(seeds, action))
        new = (terminated | truncated) & ~over
        if new.any():
            found |= new & infos["final_info"]["solved"]
        over |= new
    assert over.all()
    envs.close()
    return int(found.sum())


@pytest.mark.parametrize("task", IDS.values())
def test_the_reference_driver_solves_nine_of_ten(task: str) -> None:
    assert solved(task, "reference", 20) >= 18


@pytest.mark.parametrize("task", TASKS)
def test_nobody_starts_off_the_road_or_in_another(task: str) -> None:
    envs = TaskVectorEnv(
        60, task=task, num_seeds=60, scene_order="sequence", dt=0.02, on_offroad="ignore", **SMALL
    )
    envs.reset(seed=0)
    agents = envs.engine.agents
    there = agents.status != ABSENT
    if task == "lane_keeping":  # the width of a lane is all there is
        agents.x[0, 0] -= 1.2 * agents.sin[0, 0]
        agents.y[0, 0] += 1.2 * agents.cos[0, 0]
    envs.step(np.full(60, 7))
    touches = (agents.contact != 0) & there
    assert touches.sum() == (task == "lane_keeping")
    envs.close()


def test_an_overtaker_needs_to_be_told() -> None:
    assert solved("overtake", "idm", 6) == 0


def test_a_closed_road_is_solved_by_standing_before_it() -> None:
    assert solved("closed_road", "idm", 6) == 6
    assert solved("closed_road", "external", 6, action=0) == 0  # stands where it is
    assert solved("closed_road", "constant", 6) == 0


@pytest.mark.parametrize("task", IDS.values())
@pytest.mark.parametrize("action", [0, 10])
def test_standing_and_driving_straight_on_solve_nothing(task: str, action: int) -> None:
    assert solved(task, "external", 6, action=action) == 0


def test_solved_is_the_last_goal_without_a_fault() -> None:
    rows = np.array(list(itertools.product((0, 1), repeat=4)))
    names = ("last_goal", "collisions", "offroad", "stop_signs")
    finals = {**dict(zip(names, rows.T, strict=True)), "km": np.zeros(16)}
    for row, free, stops in zip(
        rows,
        is_solved(TASKS["merge"], finals),
        is_solved(TASKS["four_way_stop"], finals),
        strict=True,
    ):
        assert free == (row[0] and not row[1:3].any())
        assert stops == (row[0] and not row[1:].any())


def test_running_a_stop_sign_is_told() -> None:
    """A driver of constant speed passes the sign at speed; the same run is no fault elsewhere."""
    rules = dict.fromkeys(("on_collision", "on_offroad"), "ignore")
    envs = TaskVectorEnv(
        8, task="four_way_stop", num_seeds=8, driver="constant", max_episode_steps=150, **rules,
        **SMALL,
    )  # fmt: skip
    envs.reset(seed=0)
    for _ in range(150):
        infos = envs.step(np.zeros(8, np.int64))[-1]
    finals = infos["final_info"]
    assert (finals["stop_signs"] > 0).any()
    assert not finals["solved"].any()


def test_every_id_is_made_in_both_forms() -> None:
    for name, task in IDS.items():
        env = gymnasium.make(f"selfdrive_env/{name}", num_seeds=2, layout="lean")
        env.reset(seed=0)
        assert env.unwrapped.vector.task is TASKS[task]
        spec = gymnasium.make_vec(f"selfdrive_env/{name}", num_envs=1, num_seeds=2, **SMALL).spec
        made = gymnasium.make_vec(EnvSpec.from_json(spec.to_json()), num_envs=1)
        assert made.unwrapped.scenes == [task_scene(task, 0), task_scene(task, 1)]
        env.close(), made.close()


def test_the_single_form_says_whether_it_was_solved() -> None:
    env = gymnasium.make("selfdrive_env/Overtake-v0", driver="reference", num_seeds=4)
    env.reset(seed=3)
    terminated = truncated = False
    while not (terminated or truncated):
        _, _, terminated, truncated, info = env.step(0)
    assert (info["solved"], info["last_goal"], terminated) == (True, 1, True)
    env.reset(seed=3)
    _, _, terminated, truncated, info = env.step(0)
    assert "solved" not in info


HERE = ("Merge-v0", "LaneKeeping-v0")
"""Whose contract is looked at every day: one with others and one without. It is one environment."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name not in HERE)) for name in IDS]
)
def test_the_contract_of_vector_environments_is_kept(name: str) -> None:
    settings = {**SMALL, "render_size": 64, "max_episode_steps": 25, "num_seeds": 3}

    def make(**keywords: Any) -> Any:
        id, mode = f"selfdrive_env/{name}", "vector_entry_point"
        return gymnasium.make_vec(id, vectorization_mode=mode, **{**settings, **keywords})

    check_vector_env(make, steps=30, skip=("later_episodes",))


def drive(envs: TaskVectorEnv, columns: slice, seed: int = 4) -> np.ndarray:
    """Observations of 60 steps with random actions, of which each row takes its own."""
    rng = np.random.default_rng(0)
    seen = [envs.reset(seed=seed)[0].copy()]
    for _ in range(60):
        seen.append(envs.step(rng.integers(0, 12, 6)[columns])[0].copy())
    return np.stack(seen)


@pytest.mark.parametrize("task", ["merge", "lane_keeping"])
def test_same_seed_same_bytes_over_threads_and_splits(task: str) -> None:
    settings: dict[str, Any] = {"task": task, "num_seeds": 5, "layout": "lean"}
    settings["max_episode_steps"] = 20
    whole = drive(TaskVectorEnv(6, num_threads=1, **settings), slice(6))
    threads = drive(TaskVectorEnv(6, num_threads=2, **settings), slice(6))
    assert threads.tobytes() == whole.tobytes()
    parts = [
        drive(TaskVectorEnv(3, num_threads=1, world_offset=k, **settings), slice(k, k + 3))
        for k in (0, 3)
    ]
    assert np.concatenate(parts, 1).tobytes() == whole.tobytes()


def test_first_seed_says_which_scenes_there_are() -> None:
    envs = TaskVectorEnv(2, task="merge", first_seed=40, num_seeds=3, dt=0.2, **SMALL)
    assert [one.name for one in envs.scenes] == ["merge/40", "merge/41", "merge/42"]
    assert envs.settings.steps == 300


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"task": "parking"}, ValueError, "task must be one of merge"),
        ({"scene": None}, TypeError, "scene is decided by task='merge'"),
        ({"num_seeds": 0}, ValueError, "num_seeds"),
        ({"first_seed": 2**31}, ValueError, "first_seed"),
        ({"dt": [0.1, 0.2]}, ValueError, "dt must be"),
        ({"map": "harbour"}, TypeError, "map is decided by the scenes"),
        ({"driver": "nobody"}, ValueError, "driver"),
    ],
)
def test_what_the_task_decides_is_refused(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TaskVectorEnv(1, **{"num_seeds": 1, **SMALL, **settings})
