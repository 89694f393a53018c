"""Import paths: what the documentation names, and what it named before modules moved."""

from __future__ import annotations

import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfdrive_env.moved import MOVED

DOCUMENTED = {
    "selfdrive_env": "ENVIRONMENTS __version__ load_policy",
    "selfdrive_env.env": "DrivingVectorEnv make_drive make_self_play",
    "selfdrive_env.single": "DrivingEnv",
    "selfdrive_env.traffic": "PolicyTrafficEnv",
    "selfdrive_env.device_env": "TorchVectorEnv CudaVectorEnv CapturedStep environment_class",
    "selfdrive_env.config": "Settings Layout LAYOUTS PRESETS BODY_TYPES",
    "selfdrive_env.layout": "OBSERVATION Column decode slices slots",
    "selfdrive_env.maps": "BUILT_IN MapError RoadNetwork compiled load",
    "selfdrive_env.maps.inspection": "describe",
    "selfdrive_env.maps.road_network": (
        "DRIVABLE_TYPES Crosswalk Junction Lane MapError RoadNetwork Signal SignalGroup StopLine"
    ),
    "selfdrive_env.policies.policy": "Policy load_policy",
    "selfdrive_env.rendering": "Observed Painter Scene between kept scene_of write_video",
    "selfdrive_env.episodes": "Episode EpisodeError Recorder",
    "selfdrive_env.training": "PRESETS TrainConfig load_config load_policy train",
    "selfdrive_env.evaluation": "CAUSES Evaluation Incident Policy compare evaluate load",
    "selfdrive_env.testing": "CHECKS ContractError check_vector_env",
    "selfdrive_env.adapters.pettingzoo": "DrivingParallelEnv",
    "selfdrive_env.adapters.sb3": "BatchedBootstrap SB3VecEnv",
}
"""Module -> public names, as the reference had them before modules moved."""


@pytest.mark.parametrize("module", DOCUMENTED)
def test_names_are_importable_where_they_were(module: str) -> None:
    found = importlib.import_module(module)
    for name in DOCUMENTED[module].split():
        assert hasattr(found, name), name


@pytest.mark.parametrize("old", MOVED)
def test_a_module_that_moved_is_the_same_object(old: str) -> None:
    found = importlib.import_module(old)
    assert found is importlib.import_module(MOVED[old])
    assert found.__name__ == MOVED[old]
    assert found.__spec__ is not None and found.__spec__.name == MOVED[old]


def test_classes_have_one_identity_and_pickle_by_their_new_path() -> None:
    from selfdrive_env.env import DrivingVectorEnv as before

    from selfdrive_env.envs import DrivingVectorEnv as after

    assert before is after
    assert b"envs.vector" in pickle.dumps(after) and pickle.loads(pickle.dumps(after)) is after


def test_nothing_heavy_is_imported_and_nothing_warned_of() -> None:
    code = """
import sys, selfdrive_env
assert not {"numba", "torch"} & set(sys.modules)
import selfdrive_env.env, selfdrive_env.layout
assert selfdrive_env.env.DrivingVectorEnv and "torch" not in sys.modules
try:
    import selfdrive_env.nowhere
except ModuleNotFoundError as error:
    assert error.name == "selfdrive_env.nowhere"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_classes_of_the_reference_are_where_it_says() -> None:
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
    paths = re.findall(r"autoclass:: (\S+)", text)
    assert len(paths) >= 6
    for path in paths:
        module, _, name = path.rpartition(".")
        assert name in importlib.import_module(module).__all__, path
