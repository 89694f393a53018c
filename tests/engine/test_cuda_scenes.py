"""Scenes and tasks on a CUDA device, in Numba's simulator: the CPU's bits, and what is refused."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from selfdrive_env.scenes import Agent, Scene
from tests.engine.device_rollouts import assert_equal, compiled, host
from tests.engine.device_scenes import CASES, STEPS, make, rollout

pytestmark = [
    pytest.mark.cudasim,
    pytest.mark.filterwarnings("ignore:overflow encountered in scalar:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recorded scenes, and what the compiled kernels make of them: from a process of its own."""
    folder = tmp_path_factory.mktemp("scenes")
    compiled("device_scenes", str(folder))
    return folder


def on_cpu(case, folder):
    with np.load(folder / f"{list(CASES).index(case)}.npz") as stored:
        return dict(stored)


@pytest.mark.parametrize("case", CASES)
def test_a_device_drives_scenes_as_the_cpu_does(case, folder):
    wanted = on_cpu(case, folder)
    ends = [name for name in wanted if name.endswith(("terminated", "truncated"))]
    assert any(wanted[name].any() for name in ends)
    assert_equal(rollout(case, folder, torch.from_numpy, device="cuda"), wanted)


@pytest.mark.parametrize("case", ["metrics and their rewards", "policy drives the others"])
def test_arrays_come_from_a_device_as_from_the_cpu(case, folder):
    assert_equal(rollout(case, folder, device="cuda", output="numpy"), on_cpu(case, folder))


def test_a_state_of_the_cpu_continues_on_a_device(folder):
    wanted = on_cpu("idm", folder)
    env = make("idm", folder, device="cuda")
    state = {n.removeprefix("state "): v for n, v in wanted.items() if n.startswith("state ")}
    observation = env.set_state(state)
    np.testing.assert_array_equal(host(observation), wanted[f"{STEPS - 1} observation"])
    again = env.get_state()
    for name, values in state.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)


def test_metrics_of_episodes_come_with_every_step(folder):
    env = make("metrics and their rewards", folder, device="cuda")
    env.reset(seed=5)
    for _ in range(2):
        _, _, terminated, truncated, infos = env.step(torch.full((2,), 7))
        final = infos["final_info"]
        assert torch.equal(final["_episode_metrics"], terminated | truncated)
        assert final["episode_metrics"]["overlap"].shape == (2,)
        assert final["scene"].dtype == final["agent"].dtype == torch.int64


@pytest.mark.parametrize("case", ["replay", "task"])
def test_what_a_graph_captures_is_a_step(case, folder):
    env, other = (make(case, folder, device="cuda") for _ in range(2))
    env.reset(seed=5)
    other.reset(seed=5)
    actions = torch.full((2,), 10)
    for _ in range(3):
        found, wanted = env.launch(actions), other.step(actions)
        for one, two in zip(found[:4], wanted[:4], strict=True):
            assert torch.equal(one, two)
        assert found[4].keys() == wanted[4].keys()
        for name in ("scene", "agent", "_scene"):
            assert torch.equal(found[4][name], wanted[4][name])


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("metrics and their rewards", "metrics"),
        ("stream", "a stream of scenes"),
        ("policy drives the others", "a policy as traffic"),
        ("replay", "needs a CUDA device"),
    ],
)
def test_a_graph_is_without_what_the_host_does(case, what, folder):
    with pytest.raises(RuntimeError, match=rf"capture\(\) .*{what}"):
        make(case, folder, device="cuda").capture()


def test_a_bad_action_is_told_by_the_row_of_the_caller(folder):
    env = make("policy drives the others", folder, device="cuda")
    env.reset(seed=5)
    env.step(torch.tensor([7, 12]))
    with pytest.raises(ValueError, match="actions must be from 0 to 11: row 1 was given another"):
        env.check()


@pytest.mark.parametrize(
    ("settings", "driver"),
    [({"traffic": "idm_log"}, "idm_log"), ({"driver": "waypoint"}, "waypoint"), ({}, "waypoint")],
)
def test_drivers_of_recorded_paths_are_refused_by_name(settings, driver):
    ego = Agent(0, x=-300.0, y=3.6, speed=8.0, driver="learner")
    other = Agent(7, x=-275.0, y=3.6, speed=8.0, driver="constant" if settings else "waypoint")
    scene = Scene((ego, other), map="riverside", dt=0.1, steps=21, ego=0, name="two cars")
    agent = 0 if "driver" in settings else 7
    with pytest.raises(
        ValueError,
        match=f"scene 'two cars', agent {agent}: driver '{driver}' is for device='cpu'; on a CUDA "
        "device it is 'replay', 'idm', 'constant' or 'still'",
    ):
        gymnasium.make_vec("selfdrive_env/Scenes-v0", scene=scene, device="cuda", **settings)
