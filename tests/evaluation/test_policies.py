from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from selfdrive_env.config import LAYOUTS
from selfdrive_env.env import DrivingVectorEnv
from selfdrive_env.evaluation import policies
from selfdrive_env.evaluation.policies import Policy, check_layout, load

torch = pytest.importorskip("torch")


def write_zip(path: Path, tensors: Any, about: dict[str, Any] | None = None) -> Path:
    weights = io.BytesIO()
    torch.save(tensors, weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", weights.getvalue())
        archive.writestr("data", json.dumps(about or {}))
    return path


def mlp(features: int = 437, actions: int = 12, **more: Any) -> dict[str, Any]:
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


def test_random_actions_follow_their_seed() -> None:
    rows = np.zeros((50, 3))
    first, second = load("random", seed=1), load("random", seed=1)
    assert (first.act(rows) == second.act(rows)).all()
    assert (first.act(rows) != load("random", seed=2).act(rows)).any()


@pytest.mark.parametrize(("text", "function"), [("Tanh", np.tanh), ("ReLU", lambda x: x.clip(0))])
def test_an_sb3_file_acts_as_its_layers_say(tmp_path: Path, text: str, function: Any) -> None:
    tensors = mlp()
    about = {"policy_kwargs": {"activation_fn": f"<class 'torch.nn.modules.activation.{text}'>"}}
    policy = load(str(write_zip(tmp_path / "a.zip", tensors, about)))
    rows = np.random.default_rng(0).uniform(-1, 1, (9, 437)).astype(np.float32)
    values = rows
    for name in ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"):
        weight, bias = tensors[f"{name}.weight"].numpy(), tensors[f"{name}.bias"].numpy()
        values = function(values @ weight.T + bias)
    logits = values @ tensors["action_net.weight"].numpy().T + tensors["action_net.bias"].numpy()
    assert (policy.act(rows) == logits.argmax(1)).all()
    assert policy.features == 437


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


def test_continuous_actions_stay_in_their_box(tmp_path: Path) -> None:
    tensors = mlp(actions=2, log_std=torch.zeros(2))
    policy = load(str(write_zip(tmp_path / "a.zip", tensors)))
    assert policy.settings == {"action_type": "continuous"}
    actions = policy.act(np.ones((5, 437), np.float32), deterministic=False)
    assert actions.shape == (5, 2)
    assert np.abs(actions).max() <= 1.0


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (mlp(**{"features_extractor.cnn.weight": torch.zeros(1)}), "features_extractor"),
        ({"q_net.0.weight": torch.zeros(1)}, "q_net"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, tensors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(str(write_zip(tmp_path / "a.zip", tensors)))


def test_an_unknown_activation_is_refused(tmp_path: Path) -> None:
    about = {"policy_kwargs": {"activation_fn": "<class 'mine.Strange'>"}}
    with pytest.raises(ValueError, match="Strange"):
        load(str(write_zip(tmp_path / "a.zip", mlp(), about)))


class Planted:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("/tmp/planted_by_a_pickle"),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("policy.pth", pickle.dumps(Planted()))
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match=r"a\.zip"):
        load(str(tmp_path / "a.zip"))
    assert not Path("/tmp/planted_by_a_pickle").exists()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match="not a file of an SB3 policy"):
        load(str(tmp_path / "a.zip"))


def test_the_policy_of_a_run_is_read_by_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = SimpleNamespace(layout="full", act=lambda rows, deterministic: [3] * len(rows))
    module = SimpleNamespace(load_policy=lambda path: inner)
    monkeypatch.setattr(policies.importlib, "import_module", lambda name: module)
    policy = load(str(tmp_path))
    assert policy.layout == LAYOUTS["full"]
    assert policy.act(np.zeros((2, 1))).tolist() == [3, 3]


@pytest.mark.parametrize(
    "policy",
    [
        Policy("mine", lambda rows: rows, layout=LAYOUTS["full"]),
        Policy("mine", lambda rows: rows, features=1233),
    ],
)
def test_another_layout_is_refused_with_both_named(policy: Policy) -> None:
    env = DrivingVectorEnv(2, layout="lean", map="riverside")
    with pytest.raises(ValueError, match=r"mine.*1233.*lean \(437 values\)"):
        check_layout(policy, env)
    env.close()
    fitting = DrivingVectorEnv(2, layout=policies.fitting_layout(policy), map="riverside")
    check_layout(policy, fitting)
    fitting.close()
