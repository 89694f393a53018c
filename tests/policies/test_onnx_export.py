"""Policies as ONNX files: what they compute, what their metadata says, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import selfdrive_env
from selfdrive_env.__main__ import main
from selfdrive_env.config.layouts import LAYOUTS, ObservationLayout
from selfdrive_env.config.observation import OBSERVATION, Kind, decode
from selfdrive_env.config.presets import PRESETS
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs import make_self_play
from selfdrive_env.policies.choice import likeliest
from selfdrive_env.policies.encoder import Sizes
from selfdrive_env.policies.files import HEADER, PolicyFile
from selfdrive_env.policies.onnx_export import SCHEMA, export_onnx
from selfdrive_env.policies.row_schema import FORMULAS, policy_schema
from selfdrive_env.state.arrays import F32
from selfdrive_env.training import load_torch_policy
from tests.policies.policy_files import SIZES, write_policy

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

FEW = ObservationLayout(goals=1, lane_points=5, boundary_points=0, stop_lines=1, agents=3)
NO_SETS = ObservationLayout(1, 0, 0, 0, 0)
TOLERANCE = 1e-4

CASES = [
    (LAYOUTS["lean"], SIZES),
    (LAYOUTS["full"], Sizes((16, 32), 8, (32, 16))),
    (FEW, Sizes((24, 8, 5), 8, (16,))),
    (FEW, Sizes((8,), 8, (), shared_sets=True)),
    (NO_SETS, SIZES),
]
NAMES = ["lean", "full", "three layers a set", "no trunk", "no sets"]


def real_rows(layout: ObservationLayout) -> F32:
    """Rows of cars on their way through a town, [480, features]."""
    envs = make_self_play(48, map="riverside", agents_per_world=24, layout=vars(layout).copy(),
        preset="eval", num_threads=1)  # fmt: skip
    random = np.random.default_rng(1)
    found = [envs.reset(seed=3)[0].copy()]
    for _ in range(45):
        found.append(envs.step(random.integers(0, 12, 48))[0].copy())
    envs.close()
    return np.concatenate(found[::5])


def results(path: Path, rows: F32) -> dict[str, F32]:
    """What onnx's own evaluator makes of rows: output -> array."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    from onnx.reference import ReferenceEvaluator

    found = ReferenceEvaluator(model).run(None, {"observations": rows})
    return dict(zip([one.name for one in model.graph.output], found, strict=True))


def table(path: Path, key: str) -> Any:
    return json.loads({one.key: one.value for one in onnx.load(path).metadata_props}[key])


def change(file: Path, tensors: dict[str, F32 | None]) -> None:
    """Replaces tensors of a policy file, or takes them away."""
    with safetensors.safe_open(file, "numpy") as opened:
        header = opened.metadata()
    kept = {**safetensors.numpy.load_file(file), **tensors}
    file.write_bytes(
        safetensors.numpy.save({n: a for n, a in kept.items() if a is not None}, header)
    )


@pytest.mark.parametrize(("layout", "sizes"), CASES, ids=NAMES)
def test_logits_and_values_are_those_of_the_policy(
    tmp_path: Path, layout: ObservationLayout, sizes: Sizes
) -> None:
    file = write_policy(tmp_path / "a.safetensors", layout, sizes)
    change(file, {"value_mean": np.array(-3.0, np.float32), "value_scale": np.array(7.0, "f4")})
    export_onnx(file, tmp_path / "a.onnx")
    policy, rows = selfdrive_env.load_policy(file), real_rows(layout)
    found = results(tmp_path / "a.onnx", rows)
    assert {name: (one.dtype, one.shape) for name, one in found.items()} == {
        "logits": (np.float32, (len(rows), 12)),
        "values": (np.float32, (len(rows),)),
    }
    np.testing.assert_allclose(found["logits"], policy.logits(rows), atol=TOLERANCE, rtol=0.0)
    actions = likeliest(found["logits"], 3)
    assert np.array_equal(actions, policy.act(rows)) and len(np.unique(actions)) > 1
    values = load_torch_policy(file).networks.values(_tensor(rows)).numpy()
    np.testing.assert_allclose(found["values"], values, atol=TOLERANCE, rtol=0.0)
    assert values.std() > 0.01


def _tensor(rows: F32) -> Any:
    import torch

    return torch.from_numpy(rows)


def test_the_policy_of_the_package_drives_the_same(tmp_path: Path) -> None:
    policy = selfdrive_env.load_policy("selfplay")
    path = tmp_path / "policy.onnx"
    assert main(["export", "selfplay", "-o", str(path)]) == 0
    rows = real_rows(policy.layout)
    logits = results(path, rows)["logits"]
    np.testing.assert_allclose(logits, policy.logits(rows), atol=TOLERANCE, rtol=0.0)
    laterals = table(path, SCHEMA)["actions"]["laterals"]
    assert np.array_equal(likeliest(logits, laterals), policy.act(rows))
    assert table(path, HEADER) == policy.description


@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_may_have_any_length(tmp_path: Path, count: int) -> None:
    file = write_policy(tmp_path / "a.safetensors")
    export_onnx(file, tmp_path / "a.onnx")
    policy = selfdrive_env.load_policy(file)
    rows = np.random.default_rng(2).uniform(-1, 1, (count, policy.features)).astype(np.float32)
    found = results(tmp_path / "a.onnx", rows)
    assert found["values"].shape == (count,)
    assert results(tmp_path / "a.onnx", rows[:0])["logits"].shape == (0, 12)
    np.testing.assert_allclose(found["logits"], policy.logits(rows), atol=TOLERANCE, rtol=0.0)


def test_a_policy_without_a_critic_has_logits_alone(tmp_path: Path) -> None:
    file = write_policy(tmp_path / "a.safetensors", sizes=Sizes((16, 32), 8, (32,)))
    names = safetensors.numpy.load_file(file)
    change(file, {n: None for n in names if n.startswith(("critic", "encoders.1", "value_"))})
    export_onnx(file, tmp_path / "a.onnx")
    policy = selfdrive_env.load_policy(file)
    rows = np.random.default_rng(2).uniform(-1, 1, (5, policy.features)).astype(np.float32)
    found = results(tmp_path / "a.onnx", rows)
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], policy.logits(rows), atol=TOLERANCE, rtol=0.0)


@pytest.mark.parametrize("layout", [LAYOUTS["lean"], FEW], ids=["lean", "few"])
def test_rows_can_be_written_from_the_schema_alone(
    tmp_path: Path, layout: ObservationLayout
) -> None:
    env = {"preset": "eval", "reward": {"comfort": 0.02}}
    export_onnx(write_policy(tmp_path / "a.safetensors", layout, env=env), tmp_path / "a.onnx")
    schema = table(tmp_path / "a.onnx", SCHEMA)
    rows = real_rows(layout)[::20]
    told = decode(rows, layout.counts)
    weights = {**schema["training"]["reward"], "comfort": PRESETS["eval"]["comfort"]}
    written = np.full_like(rows, np.nan)
    for group in schema["groups"]:
        for number, column in enumerate(group["columns"]):
            formula = schema["scales"][column["scale"].pop("kind")]
            for slot in range(group["slots"]):
                values = told[group["name"]][:, slot, number]
                if group["name"] == "conditions":
                    values = np.full(len(rows), weights[column["name"]])
                written[:, group["first"] + number * group["slots"] + slot] = [
                    eval(formula, {"v": float(v), **column["scale"]}) for v in values
                ]
    # A slot that is not in use is all zero, whatever its columns would be at 0.
    empty = np.zeros_like(rows, bool)
    for group in schema["groups"]:
        if group["columns"][-1]["name"] == "valid" and group["slots"]:
            end = group["first"] + len(group["columns"]) * group["slots"]
            planes = empty[:, group["first"] : end].reshape(len(rows), -1, group["slots"])
            unused = told[group["name"]][:, :, -1] == 0.0
            empty[:, group["first"] : end] = (planes | unused[:, None]).reshape(len(rows), -1)
    assert 0.0 < empty.mean() < 0.9
    written[empty] = 0.0
    np.testing.assert_allclose(written, rows, atol=2e-5)
    assert schema["features"] == rows.shape[1]


def test_formulas_are_those_of_the_scales() -> None:
    assert set(FORMULAS) == set(Kind)
    scales = {column.scale for columns in OBSERVATION.values() for column in columns}
    for scale in scales:
        if scale.kind is not Kind.TRAINED:
            for v in (-40.0, -0.3, 0.0, 0.2, 1.7, 60.0):
                if scale.kind is Kind.PLAIN and abs(v) > 1.0:
                    continue
                found = eval(FORMULAS[scale.kind], {"v": v, **scale._asdict()})
                assert found == pytest.approx(float(scale.scaled(np.float32(v))), abs=1e-6)


def test_the_schema_says_how_the_policy_was_trained(tmp_path: Path) -> None:
    env = {"preset": "train", "reward": {"goal": 0.5}, "reverse": "allowed", "dt": 0.1,
        "jerk_long": [-6.0, 0.0, 2.0], "jerk_lat": [-1.0, 1.0]}  # fmt: skip
    file = write_policy(tmp_path / "a.safetensors", actions=6, env=env)
    found = policy_schema(PolicyFile.read(file))
    training = found["training"]
    assert (training["reverse"], training["dt"], training["bodies"]) == (
        "allowed", 0.1, Settings.bodies,
    )  # fmt: skip
    assert training["reward"]["goal"] == 0.5
    assert training["reward"]["collision"] == list(PRESETS["train"]["collision"])  # type: ignore[arg-type]
    assert found["actions"]["jerks"][3] == [0.0, 1.0]
    assert (found["actions"]["count"], found["actions"]["laterals"]) == (6, 2)


def test_jerks_that_a_file_does_not_tell_are_none(tmp_path: Path) -> None:
    file = write_policy(tmp_path / "a.safetensors", actions=5)
    actions = policy_schema(PolicyFile.read(file))["actions"]
    assert (actions["jerks"], actions["laterals"]) == (None, 5)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"preset": "bold"}, r"a\.safetensors': env: preset .*'bold'"),
        ({"reward": {"gaol": 1.0}}, "env: reward has no weight 'gaol'"),
        ({"reward": [1.0]}, "env: reward"),
    ],
)
def test_training_that_this_package_does_not_know_is_refused(
    tmp_path: Path, env: dict[str, Any], message: str
) -> None:
    file = write_policy(tmp_path / "a.safetensors", env=env)
    with pytest.raises(ValueError, match=message):
        export_onnx(file, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_file_that_is_there_is_replaced_by_the_same_bytes_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    write_policy(folder / "policy.safetensors")
    path = tmp_path / "policy.onnx"
    path.write_text("before")
    assert main(["export", str(folder), "-o", str(path)]) == 0
    columns = LAYOUTS["lean"].width
    assert capsys.readouterr().out == (
        f"wrote {path}: logits and values of rows of {columns} columns\n"
    )
    first = path.read_bytes()
    assert main(["export", str(folder), "-o", str(path)]) == 0
    assert path.read_bytes() == first
    assert {one.name for one in tmp_path.iterdir()} == {"run", "policy.onnx"}


def test_a_damaged_policy_leaves_the_file_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_policy(tmp_path / "a.safetensors")
    change(file, {"critic.head.weight": np.full((1, 32), np.inf, np.float32)})
    path = tmp_path / "policy.onnx"
    path.write_text("before")
    assert main(["export", str(file), "-o", str(path)]) == 2
    assert "critic.head.weight is not finite" in capsys.readouterr().err
    assert path.read_text() == "before"
    change(file, {"critic.head.weight": np.zeros((1, 3), np.float32)})
    assert main(["export", str(file), "-o", str(path)]) == 2
    assert "critic.head.weight must be float32 [1, 32], got" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "output", "message"),
    [
        ("selfpaly", "a.onnx", "policy 'selfpaly' does not exist"),
        ("idm", "a.onnx", "policy 'idm' does not exist"),
        ("selfplay", "a.safetensors", "output must end in .onnx, got"),
        ("selfplay", "a", "output must end in .onnx, got"),
        ("selfplay", "nowhere/a.onnx", "nowhere/a.onnx"),
    ],
)
def test_mistakes_are_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str, output: str, message: str
) -> None:
    assert main(["export", policy, "-o", str(tmp_path / output)]) == 2
    said = capsys.readouterr().err
    assert message in said.replace("\\", "/") and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "selfplay", "-o", str(tmp_path / "a.onnx")]) == 2
    assert 'needs onnx: pip install "selfdrive_env[onnx]"' in capsys.readouterr().err
