"""A `RoadNetwork` as the setting `map`: made, varied, copied, digested, and saved where JSON is."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.config import Settings
from selfdrive_env.envs import DrivingVectorEnv, make_drive
from selfdrive_env.evaluation import evaluate
from selfdrive_env.evaluation import load as load_driver
from selfdrive_env.maps import RoadNetwork, load

SMALL: dict[str, Any] = {"layout": "lean", "agents_per_world": 4, "num_threads": 1}
FORWARD = 10


@pytest.fixture(scope="module")
def network() -> RoadNetwork:
    return load("riverside")


def narrower(network: RoadNetwork) -> RoadNetwork:
    other = copy.deepcopy(network)
    other.lanes[0].speed_limit = 0.5 * other.lanes[0].speed_limit
    return other


def rows_of(map: Any, steps: int = 20, **settings: Any) -> list[np.ndarray]:
    env = DrivingVectorEnv(8, map=map, **{**SMALL, **settings})
    rows = [env.reset(seed=1)[0]]
    rows += [env.step(np.full(8, FORWARD))[0] for _ in range(steps)]
    env.close()
    return rows


@pytest.mark.parametrize("variants", [1, 2])
def test_a_network_drives_like_the_town_it_is(network: RoadNetwork, variants: int) -> None:
    by_name = rows_of(["riverside", "hillcrest"], map_variants=variants)
    by_network = rows_of([network, "hillcrest"], map_variants=variants)
    for one, other in zip(by_name, by_network, strict=True):
        assert np.array_equal(one, other)


def test_names_files_and_networks_mix(network: RoadNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "mine.roads")
    env = DrivingVectorEnv(8, map=["hillcrest", tmp_path / "mine.roads", network], **SMALL)
    assert [one.name for one in env.engine.maps] == ["hillcrest", "riverside", "riverside"]
    assert env.engine.maps[1].digest == env.engine.maps[2].digest
    assert env.settings.map_names == ("hillcrest", str(tmp_path / "mine.roads"), "riverside")
    env.close()


def test_json_says_how_to_save_a_network_and_the_path_does(
    network: RoadNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "mine.roads"
    for map in (network, ["hillcrest", network]):
        vector = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=4, map=map, **SMALL)
        single = gymnasium.make("selfdrive_env/Drive-v0", map=map, **SMALL)
        for spec in (vector.spec, single.unwrapped.spec, single.spec):
            assert spec is not None
            with pytest.raises(ValueError, match=r"'riverside'.*RoadNetwork\.save\(path\)"):
                spec.to_json()
    network.save(path)
    env = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=4, map=path, **SMALL)
    assert json.loads(env.spec.to_json())["kwargs"]["map"] == str(path)
    assert Settings(map=network).plain()["map"] == ["riverside"]


def test_specs_and_environments_are_copied_with_their_network(network: RoadNetwork) -> None:
    env = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=4, map=network, **SMALL)
    env.reset(seed=3)
    again = gymnasium.make_vec(copy.deepcopy(env.spec))
    again.reset(seed=3)
    third = pickle.loads(pickle.dumps(env))
    wanted = env.step(np.full(4, FORWARD))[0]
    for one in (again, third):
        assert np.array_equal(one.step(np.full(4, FORWARD))[0], wanted)
    single = gymnasium.make("selfdrive_env/Drive-v0", map=network, **SMALL)
    same = gymnasium.make(pickle.loads(pickle.dumps(single.spec)))
    assert np.array_equal(single.reset(seed=1)[0], same.reset(seed=1)[0])


def test_worker_processes_get_the_network(network: RoadNetwork) -> None:
    envs = gymnasium.make_vec(
        "selfdrive_env/Drive-v0", num_envs=2, vectorization_mode="async", map=network, **SMALL
    )
    rows, _ = envs.reset(seed=5)
    one = make_drive(1, map="riverside", autoreset_mode="Disabled", **SMALL)
    assert np.array_equal(rows[0], one.reset(seed=5)[0][0])
    envs.close()


def test_digests_change_with_the_content(network: RoadNetwork) -> None:
    other = narrower(network)
    assert Settings(map=network).digest() == Settings(map=copy.deepcopy(network)).digest()
    assert Settings(map=network).digest() != Settings(map=other).digest()
    assert Settings(map=network).digest() != Settings(map="riverside").digest()
    one, two = (DrivingVectorEnv(4, map=each, **SMALL) for each in (network, other))
    one.reset(seed=1)
    with pytest.raises(ValueError, match="other settings or maps"):
        two.set_state(one.get_state())


def test_what_is_no_map_is_refused(network: RoadNetwork) -> None:
    for wrong in ([network, 3], dataclasses.asdict(network), None):
        with pytest.raises(ValueError, match=r"map must be a name or path, .*a RoadNetwork, got"):
            Settings(map=wrong)  # type: ignore[arg-type]


def test_an_episode_and_an_evaluation_name_the_network(network: RoadNetwork) -> None:
    env = make_drive(1, map=network, record=True, **SMALL)
    env.reset(seed=0)
    env.step(np.full(1, FORWARD))
    assert env._recorder.episode().about["settings"]["map"] == ["riverside"]
    driver, settings = load_driver("idm"), {"agents_per_world": 4, "num_threads": 1}
    found = [
        evaluate(driver, map=map, minutes=0.1, seeds=(1,), settings=settings)
        for map in (network, [network], "riverside")
    ]
    assert found[0].settings["map"] == ["riverside"]
    assert found[0].km.tolist() == found[1].km.tolist() == found[2].km.tolist()


def test_specs_with_networks_can_be_compared() -> None:
    env = gymnasium.make("selfdrive_env/Drive-v0", map=load("riverside"), agents_per_world=2)
    again = gymnasium.make(env.spec)
    assert again.spec == env.spec
    env.close()
    again.close()
