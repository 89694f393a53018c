from __future__ import annotations

import base64
import importlib.util
import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.observation import WIDTHS
from selfdrive_env.config.presets import PRESETS
from selfdrive_env.envs import DrivingVectorEnv
from selfdrive_env.evaluation import policies
from selfdrive_env.evaluation.policies import Candidate, check_layout, load
from selfdrive_env.evaluation.run import make_env
from selfdrive_env.policies.deep_sets import SETS
from selfdrive_env.state.rewards import WEIGHTS

FULL, LEAN = LAYOUTS["full"].width, LAYOUTS["lean"].width

torch = pytest.importorskip("torch")
needs_sb3 = pytest.mark.skipif(
    importlib.util.find_spec("stable_baselines3") is None, reason="needs extra sb3"
)


def write_zip(path: Path, tensors: Any, about: dict[str, Any] | None = None) -> Path:
    weights = io.BytesIO()
    torch.save(tensors, weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", weights.getvalue())
        archive.writestr("data", json.dumps(about or {}))
    return path


def mlp(features: int = LEAN, actions: int = 12, **more: Any) -> dict[str, Any]:
    random = torch.Generator().manual_seed(1)
    shapes = {
        "mlp_extractor.policy_net.0": (16, features),
        "mlp_extractor.policy_net.2": (8, 16),
        "mlp_extractor.value_net.0": (16, features),
        "action_net": (actions, 8),
        "value_net": (1, 8),
    }
    tensors = {
        f"{name}.{kind}": torch.randn(shape[: 2 if kind == "weight" else 1], generator=random)
        for name, shape in shapes.items()
        for kind in ("weight", "bias")
    }
    return {**tensors, **more}


def test_unknown_policies_are_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown policy 'imd'.*did you mean 'idm'"):
        load("imd")


def test_a_folder_with_an_sb3_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "model.zip").touch()
    with pytest.raises(ValueError, match=r"without policy.safetensors; it holds an SB3 file, take"):
        load(str(tmp_path))
    with pytest.raises(ValueError, match=re.escape(f"take {tmp_path / 'model.zip'}")):
        load(str(tmp_path))
    (tmp_path / "best.zip").touch()
    with pytest.raises(ValueError, match=r"it holds SB3 files, take .*best.zip or .*model.zip"):
        load(str(tmp_path))


def test_random_actions_follow_their_seed() -> None:
    rows = np.zeros((50, 3))
    first, second = load("random", seed=1), load("random", seed=1)
    assert (first.act(rows) == second.act(rows)).all()
    assert (first.act(rows) != load("random", seed=2).act(rows)).any()


@pytest.mark.parametrize("action", [0, 10, 11])
def test_a_constant_action_is_always_the_same(action: int) -> None:
    policy = load(f"constant:{action}")
    assert policy.name == f"constant:{action}"
    assert policy.act(np.zeros((5, 3)), deterministic=False).tolist() == [action] * 5


@pytest.mark.parametrize("text", ["constant:12", "constant:-1", "constant:", "constant:1.0",
                                  "constant: 1", "constant:01", "constant:²"])  # fmt: skip
def test_an_action_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"constant:N needs an action N from 0 to 11, got 'const"):
        load(text)


def test_the_names_allowed_are_those_of_the_default_actions() -> None:
    env = DrivingVectorEnv(2, layout="lean", map="riverside")
    assert env.single_action_space.n == policies.NUM_ACTIONS == 12  # type: ignore[attr-defined]
    env.close()
    with pytest.raises(
        ValueError, match=r"use idm, constant, still, random, constant:N \(an action\)"
    ):
        load("nobody")


@needs_sb3
@pytest.mark.parametrize(("text", "function"), [("Tanh", np.tanh), ("ReLU", lambda x: x.clip(0))])
def test_an_sb3_file_acts_as_its_layers_say(tmp_path: Path, text: str, function: Any) -> None:
    tensors = mlp()
    about = {"policy_kwargs": {"activation_fn": f"<class 'torch.nn.modules.activation.{text}'>"}}
    policy = load(str(write_zip(tmp_path / "a.zip", tensors, about)))
    rows = np.random.default_rng(0).uniform(-1, 1, (9, LEAN)).astype(np.float32)
    values = rows
    for name in ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"):
        weight, bias = tensors[f"{name}.weight"].numpy(), tensors[f"{name}.bias"].numpy()
        values = function(values @ weight.T + bias)
    logits = values @ tensors["action_net.weight"].numpy().T + tensors["action_net.bias"].numpy()
    assert (policy.act(rows) == logits.argmax(1)).all()
    assert policy.features == LEAN


def test_a_saved_ppo_model_acts_as_in_sb3(tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from selfdrive_env.adapters.sb3 import SB3VecEnv

    env = SB3VecEnv("selfdrive_env/SelfPlay-v0", num_envs=8, layout="lean", map="riverside")
    model = sb3.PPO("MlpPolicy", env, n_steps=4, batch_size=8, device="cpu", seed=1)
    model.save(tmp_path / "model")
    rows = env.reset()
    expected = model.predict(rows, deterministic=True)[0]
    assert (load(str(tmp_path / "model.zip")).act(rows) == expected).all()
    env.close()


@pytest.mark.parametrize("share", [True, False], ids=["shared", "apart"])
def test_deep_sets_act_as_in_sb3(tmp_path: Path, share: bool) -> None:
    PPO = pytest.importorskip("stable_baselines3").PPO
    from selfdrive_env.adapters.sb3 import DeepSets, SB3VecEnv

    env = SB3VecEnv("selfdrive_env/SelfPlay-v0", num_envs=64, layout="lean", map="riverside")
    model = PPO(
        "MlpPolicy", env, n_steps=4, batch_size=64, device="cpu", seed=1,
        policy_kwargs=dict(
            net_arch=[32, 32], activation_fn=torch.nn.ReLU, features_extractor_class=DeepSets,
            share_features_extractor=share,
        ),
    )  # fmt: skip
    rows, seen, random = env.reset(), set(), np.random.default_rng(2)
    with torch.no_grad():  # at the start all actions are almost equally likely
        for parameter in model.policy.parameters():
            parameter.normal_(std=0.3)
        logits = model.policy.get_distribution(torch.as_tensor(rows)).distribution.logits
        model.policy.action_net.bias -= logits.mean(0)
    model.save(tmp_path / "model")
    policy = load(str(tmp_path / "model.zip"))
    assert policy.layout == LAYOUTS["lean"]
    assert policies.fitting_layout(policy) == vars(LAYOUTS["lean"])

    for _ in range(20):
        expected = model.predict(rows, deterministic=True)[0]
        assert (policy.act(rows) == expected).all()
        seen |= set(expected.tolist())
        rows = env.step(random.integers(0, 12, len(rows)))[0]
    assert len(seen) > 3
    env.close()


def sets(
    columns: tuple[int, ...] = tuple(WIDTHS[name] for name in SETS),
    scalars: int = LAYOUTS["lean"].slices[SETS[0]].start,
) -> dict[str, Any]:
    """Tensors of an encoder for so many scalars, and groups of so many columns."""
    name = "features_extractor.encoder"
    tensors = {
        f"{name}.scalar.weight": torch.ones(4, scalars),
        f"{name}.scalar.bias": torch.zeros(4),
    }
    for group, inputs in zip((*SETS, "more"), columns, strict=False):
        tensors[f"{name}.elements.{group}.0.weight"] = torch.ones(3, inputs)
        tensors[f"{name}.elements.{group}.1.weight"] = torch.ones(3, 3)
    return tensors


@needs_sb3
def test_the_scalars_tell_the_layout_of_deep_sets(tmp_path: Path) -> None:
    for number, layout in enumerate(LAYOUTS.values()):
        scalars = layout.slices["lane_points"].start
        path = write_zip(tmp_path / f"{number}.zip", mlp(4 + 4 * 3, **sets(scalars=scalars)))
        assert load(str(path)).layout == layout


def test_a_preset_gives_the_weights_that_varied_in_training() -> None:
    learnt = {
        "goal": 0.1,
        "collision": [1.2, 3.5],
        "stop_line": [2.0, 4.0],
        "overspeed": [0.0, 0.01],
    }
    policy = Candidate("own", load("still").act, settings={"driver": "external"}, weights=learnt)
    fixed = {"goal": 0.1, "collision": 3.0, "stop_line": 2.0, "overspeed": 0.0}
    assert policy.under() == {"driver": "external", "reward": fixed}
    assert policy.under("cautious")["reward"] == {**fixed, "overspeed": 0.01}
    assert policy.under("aggressive")["reward"] == {**fixed, "collision": 1.2}
    assert policy.under("train")["reward"] == learnt
    assert load("idm").under() == load("idm").settings


@pytest.mark.parametrize("preset", ["eval", "aggressive"])
def test_the_trained_policy_is_told_the_weights_of_the_preset(preset: str) -> None:
    policy = load("selfplay")
    env, _ = make_env(policy, ["harbour"], [0], {"preset": preset, "agents_per_world": 8})
    env.reset(seed=[0])
    for name, learnt in policy.weights.items():
        low, high = learnt if isinstance(learnt, list) else (learnt, learnt)
        asked = min(max(PRESETS[preset][name], low), high)
        told = env.engine.bodies.weight[..., WEIGHTS.index(name)]
        np.testing.assert_array_equal(told, np.float32(asked), name)
    env.close()


@needs_sb3
def test_continuous_actions_stay_in_their_box(tmp_path: Path) -> None:
    tensors = mlp(actions=2, log_std=torch.zeros(2))
    policy = load(str(write_zip(tmp_path / "a.zip", tensors)))
    assert policy.settings == {"action_type": "continuous"}
    actions = policy.act(np.ones((5, LEAN), np.float32), deterministic=False)
    assert actions.shape == (5, 2)
    assert np.abs(actions).max() <= 1.0


@needs_sb3
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (mlp(**{"features_extractor.cnn.weight": torch.zeros(1)}), "features_extractor"),
        ({"q_net.0.weight": torch.zeros(1)}, "q_net"),
        (
            mlp(16, **sets((6, 5, 10))),
            r"\(features_extractor\.encoder\.elements\.agents\.0\.weight is missing or unknown",
        ),
        (
            mlp(16, **sets((6, 5, 10, 16, 3))),
            r"\(features_extractor\.encoder\.elements\.more\.0\.weight is missing or unknown",
        ),
        (
            mlp(16, **sets((6, 5, 9, 16))),
            r"stop_lines\.0\.weight: .*\[3, 9\].* is torch\.Size\(\[3, 10\]\)",
        ),
        (mlp(31, **{"pi_features_extractor.a.weight": torch.zeros(1)}), "features_extractor"),
        (mlp(16, **sets(scalars=32)), r"rows with 32 scalars, .*\(full 121, lean 115\)$"),
        (mlp(16, **sets(scalars=31)), "rows with 31 scalars, .*it reads observation version 1"),
        (
            mlp(**{"mlp_extractor.policy_net.7.weight": torch.zeros(4, 8)}),
            "other layers: .* action_net",
        ),
        (mlp(**{"mlp_extractor.policy_net.2.bias": torch.zeros(9)}), r"policy_net\.2\.bias"),
        (mlp(**{"action_net.weight": torch.zeros(12)}), "action_net that is no matrix"),
        (
            mlp(16, **sets(), **{"features_extractor.encoder.norm.weight": torch.zeros(3)}),
            r"encoder\.norm\.weight is missing or unknown",
        ),
        (
            mlp(**{"features_extractor.encoders.0.0.weight": torch.zeros(3, 7)}),
            "unknown features_extractor: only DeepSets",
        ),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, tensors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(str(write_zip(tmp_path / "a.zip", tensors)))


@needs_sb3
def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    about = {"policy_kwargs": {"activation_fn": "<class 'mine.Strange'>"}}
    with pytest.raises(ValueError, match="Strange"):
        load(str(write_zip(tmp_path / "a.zip", mlp(), about)))


class Planted:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("/tmp/planted_by_a_pickle"),)


@needs_sb3
@pytest.mark.parametrize("place", ["weights", "tensors", "data"])
def test_nothing_is_unpickled(tmp_path: Path, place: str) -> None:
    planted = pickle.dumps(Planted())
    about = {"policy_kwargs": {":type:": "x", ":serialized:": base64.b64encode(planted).decode()}}
    path = write_zip(tmp_path / "a.zip", mlp(), about)
    if place == "data":  # what SB3 itself would unpickle is not looked at
        load(str(path))
        assert not Path("/tmp/planted_by_a_pickle").exists()
        return
    weights = io.BytesIO(planted)
    if place == "tensors":
        torch.save({**mlp(), "log_std": Planted()}, weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", weights.getvalue())
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match=r"a\.zip"):
        load(str(tmp_path / "a.zip"))
    assert not Path("/tmp/planted_by_a_pickle").exists()


@needs_sb3
def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="not a file of an SB3 policy"):
        load(str(tmp_path / "a.zip"))


def test_the_policy_of_a_run_drives_as_it_does_for_torch(tmp_path: Path) -> None:
    from selfdrive_env.training import load_torch_policy
    from tests.policies.policy_files import write_policy

    file = write_policy(tmp_path / "policy.safetensors")
    policy, torch_policy = load(str(tmp_path)), load_torch_policy(file)
    assert policy.layout == torch_policy.layout
    rows = np.random.default_rng(0).uniform(-1, 1, (50, torch_policy.features)).astype(np.float32)
    assert np.array_equal(policy.act(rows), torch_policy.act(rows))


@pytest.mark.parametrize(
    "policy",
    [
        Candidate("mine", lambda rows: rows, layout=LAYOUTS["full"]),
        Candidate("mine", lambda rows: rows, features=FULL),
    ],
)
def test_another_layout_is_refused_with_both_named(policy: Candidate) -> None:
    env = DrivingVectorEnv(2, layout="lean", map="riverside")
    with pytest.raises(ValueError, match=rf"mine.*{FULL}.*lean \({LEAN} values\)"):
        check_layout(policy, env)
    env.close()
    fitting = DrivingVectorEnv(2, layout=policies.fitting_layout(policy), map="riverside")
    check_layout(policy, fitting)
    fitting.close()


def test_an_environment_of_pictures_is_refused_by_name() -> None:
    env = DrivingVectorEnv(2, agents_per_world=2, map="riverside", observation="bev", layout="lean")
    policy = Candidate("mine", lambda rows: np.zeros(len(rows), np.int64))
    with pytest.raises(ValueError, match=r"'state' for policy mine, .* got 'bev'"):
        check_layout(policy, env)
    env.close()
