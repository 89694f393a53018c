"""Saving and resuming: what was written, what is refused, and what a kill or a full disk leaves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import selfdrive_env
from selfdrive_env.__main__ import main
from selfdrive_env.config import files as whole_files
from selfdrive_env.training import TrainConfig, checkpoint, load_torch_policy, train
from selfdrive_env.training.checkpoint import (
    CheckpointError,
    array_bytes,
    read_file,
    read_folder,
    tensor_bytes,
    write_folder,
)
from tests.training.conftest import TINY, tiny_config
from tests.training.processes import Program

ALWAYS: dict[str, Any] = {"checkpoint_minutes": 0.0, "keep_checkpoints": 2}


def files_of(config: TrainConfig, number: int) -> dict[str, bytes]:
    return read_folder(Path(config.out_dir) / "checkpoints" / f"{number:08d}")


def same_training(a: dict[str, bytes], b: dict[str, bytes]) -> bool:
    """Whether all but times and settings of saving are the same, to the last bit."""
    plain = []
    for files in (a, b):
        state = json.loads(files["state.json"])
        state.pop("seconds")
        state.pop("config")
        plain.append({**files, "state.json": json.dumps(state).encode()})
    return plain[0] == plain[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Six updates in one go."""
    config = tiny_config(tmp_path_factory.mktemp("whole") / "run", **ALWAYS)
    train(config)
    return config


def test_a_resumed_run_is_the_uninterrupted_one_to_the_last_bit(
    whole: TrainConfig, tiny: TrainConfig
) -> None:
    train(tiny, updates=3)
    train(tiny, resume=True)
    assert same_training(files_of(tiny, 6), files_of(whole, 6))
    rows = (Path(tiny.out_dir) / "progress.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["update", "1", "2", "3", "4", "5", "6"]


def test_resuming_brings_the_policy_to_the_checkpoint(tiny: TrainConfig) -> None:
    """A kill between the two leaves an older policy, also after the last update."""
    train(tiny, updates=2)
    policy = Path(tiny.out_dir) / "policy.safetensors"
    older = policy.read_bytes()
    train(tiny, resume=True)
    policy.write_bytes(older)
    train(tiny, resume=True)
    assert policy.read_bytes() == files_of(tiny, 6)["policy.safetensors"] != older


def test_only_the_newest_are_kept(whole: TrainConfig) -> None:
    names = sorted(path.name for path in (Path(whole.out_dir) / "checkpoints").iterdir())
    assert names == ["00000005", "00000006"]


def test_no_file_is_a_pickle(whole: TrainConfig) -> None:
    for name, content in files_of(whole, 6).items():
        assert content[:1] != b"\x80"
        assert Path(name).suffix in (".json", ".safetensors", ".npz")


def test_without_worlds_a_run_starts_new_episodes(
    tiny: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.changed(save_worlds=False)
    train(config, updates=2)
    assert train(config, resume=True, updates=1)["update"] == 3
    assert "they start anew" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["short", "altered", "manifest", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tiny: TrainConfig, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.changed(**ALWAYS)
    train(config, updates=3)
    newest = Path(config.out_dir) / "checkpoints" / "00000003"
    spoil(newest, damage)
    assert train(config, resume=True, updates=1)["update"] == 3
    assert f"{newest} is damaged" in capsys.readouterr().err
    read_folder(newest)


def spoil(folder: Path, damage: str) -> None:
    file = folder / ("manifest.json" if damage == "manifest" else "optimizer.safetensors")
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "altered":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        file.write_bytes(content[: len(content) // 2])


def test_without_a_good_checkpoint_resuming_is_refused(tiny: TrainConfig) -> None:
    with pytest.raises(CheckpointError, match="there is none"):
        train(tiny, resume=True)
    train(tiny, updates=1)
    spoil(Path(tiny.out_dir) / "checkpoints" / "00000001", "short")
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors has \d+ bytes instead"):
        train(tiny, resume=True)


def test_another_layout_version_or_setting_is_refused_by_name(tiny: TrainConfig) -> None:
    train(tiny, updates=1)
    layout = {**tiny.env["layout"], "agents": 5}
    other = tiny.changed(env={**tiny.env, "layout": layout})
    with pytest.raises(CheckpointError, match="layout: agents 3 in the file, 5 here"):
        train(other, resume=True)
    with pytest.raises(CheckpointError, match=r"gamma is 0.999 in the checkpoint and 0.5 here"):
        train(tiny.changed(gamma=0.5), resume=True)
    with pytest.raises(CheckpointError, match=r"env.horizon is 3.0 in the checkpoint and 6.0"):
        train(tiny.changed(env={**tiny.env, "horizon": 6.0}), resume=True)

    folder = Path(tiny.out_dir) / "checkpoints" / "00000001"
    files = read_folder(folder)
    state = json.loads(files["state.json"])
    write_folder(folder, {**files, "state.json": json.dumps({**state, "version": 0}).encode()})
    with pytest.raises(CheckpointError, match="has version 0, this package reads 1"):
        train(tiny, resume=True)


def test_a_longer_budget_may_be_given_on_resuming(tiny: TrainConfig) -> None:
    train(tiny, updates=1)
    assert train(tiny.changed(steps=10**6), resume=True, updates=1)["update"] == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "cannot be read"),
        ("altered", "was altered (wrong checksum)"),
        ("short", "has 100 bytes instead of"),
        ("unlisted", "is missing from manifest.json"),
    ],
)
@pytest.mark.parametrize("file", ["optimizer", "policy"])
def test_a_damaged_file_is_refused_by_its_name(
    whole: TrainConfig,
    tmp_path: Path,
    file: str,
    damage: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = whole.changed(out_dir=str(tmp_path / "run"))
    shutil.copytree(whole.out_dir, config.out_dir)
    newest = Path(config.out_dir) / "checkpoints" / "00000006"
    path = newest / f"{file}.safetensors"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "altered":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "short":
        path.write_bytes(content[:100])
    else:
        manifest = json.loads((newest / "manifest.json").read_bytes())
        del manifest[path.name]
        (newest / "manifest.json").write_text(json.dumps(manifest))
    expected = f"{newest} is damaged: {path.name} {message}"
    with pytest.raises(CheckpointError, match=re.escape(expected)):
        read_folder(newest, [path.name])
    if file == "policy":
        with pytest.raises(ValueError, match=re.escape(expected)):
            load_torch_policy(newest)
    else:
        load_torch_policy(newest)
    assert train(config, resume=True, updates=1)["update"] == 6
    assert f"{expected}" in capsys.readouterr().err


def fill_disk(monkeypatch: pytest.MonkeyPatch, victim: str, good: int = 0) -> None:
    """Lets the disk be full in the middle of a file, after so many good ones of its name."""
    write, names = whole_files.write_flushed, list[str]()

    def full(path: Path, content: bytes, *mode: int) -> None:
        names.append(path.name)
        if path.name.startswith(victim) and names.count(path.name) > good:
            path.write_bytes(content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content, *mode)

    for module in (whole_files, checkpoint):
        monkeypatch.setattr(module, "write_flushed", full)


@pytest.mark.parametrize("victim", ["policy", "worlds", "manifest"])
def test_a_full_disk_leaves_the_last_good_checkpoint(
    tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    train(tiny, updates=2)
    before = files_of(tiny, 2)
    fill_disk(monkeypatch, victim)
    with pytest.raises(OSError, match=r"No space left on device.*the last good one is .*00000002"):
        train(tiny, resume=True, updates=1)
    folder = Path(tiny.out_dir) / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["00000002"]
    assert files_of(tiny, 2) == before


def test_a_disk_that_is_full_after_the_checkpoint_leaves_the_policy_before(
    tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.changed(**ALWAYS)
    fill_disk(monkeypatch, ".saving-policy", good=2)
    with pytest.raises(OSError, match="No space left on device"):
        train(config)
    monkeypatch.undo()
    folder = Path(config.out_dir)
    assert (folder / "policy.safetensors").read_bytes() == files_of(config, 2)["policy.safetensors"]
    assert not list(folder.glob(".saving-*"))
    assert train(config, resume=True, updates=1)["update"] == 4


KILLED = """
import json, os, signal, sys
from pathlib import Path
from selfdrive_env.training import TrainConfig, checkpoint, train

victim, table = sys.argv[1], json.loads(sys.argv[2])
write = checkpoint.write_flushed

def killed(path, content):
    if path.parent.name.endswith("00000003") and path.name == victim:
        path.write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)

checkpoint.write_flushed = killed
train(TrainConfig(**table))
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
@pytest.mark.parametrize("victim", ["optimizer.safetensors", "manifest.json"])
def test_a_run_killed_while_saving_resumes_from_the_interval_before(
    whole: TrainConfig, tiny: TrainConfig, victim: str
) -> None:
    config = tiny.changed(**ALWAYS)
    result = python(["-c", KILLED, victim, json.dumps(config.to_table())])
    assert result.returncode == -signal.SIGKILL, result.stderr
    names = sorted(path.name for path in (Path(config.out_dir) / "checkpoints").iterdir())
    assert names == [".saving-00000003", "00000001", "00000002"]
    load_torch_policy(config.out_dir)
    train(config, resume=True)
    assert same_training(files_of(config, 6), files_of(whole, 6))


KILLED_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from selfdrive_env.config.files import write_whole
from selfdrive_env.training.checkpoint import Checkpoints, read_folder
from selfdrive_env.training.distributed import Ranks

left = -1

def kill_in_time(event, arguments):
    global left
    if left >= 0 and event.split(".")[0] in ("open", "os", "shutil"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def content(number):
    return bytes([number]) * 5000

def save(checkpoints, number):
    same = content(number)
    checkpoints.save(number, {"a": same, "b": same}, {"own": same})
    write_whole(checkpoints.folder.parent / "policy", same, alone=True)

sys.addaudithook(kill_in_time)
moment, ended = -1, False
while not ended:
    moment += 1
    folder = Path(sys.argv[1]) / str(moment)
    checkpoints = Checkpoints(folder / "checkpoints", 2, Ranks("cpu"))
    save(checkpoints, 1)
    save(checkpoints, 2)
    child = os.fork()
    if child == 0:
        left = moment
        save(checkpoints, 3)
        os._exit(0)
    ended = os.WIFEXITED(os.waitpid(child, 0)[1])
    for number in checkpoints.numbers():
        read_folder(checkpoints.path(number))  # is there as a whole, or not at all
    found, files = checkpoints.newest()
    assert files == {name: content(found) for name in ("a", "b", "own")}, moment
    assert found == 3 or found == 2 and not ended, moment
    assert (folder / "policy").read_bytes() in (content(2), content(3)), moment
    save(checkpoints, found + 1)
    assert sorted(os.listdir(folder)) == ["checkpoints", "policy"], moment
    assert checkpoints.newest()[0] == found + 1, moment
    assert sorted(os.listdir(checkpoints.folder)) == [f"{found:08d}", f"{found + 1:08d}"], moment
print(moment)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_kill_at_any_touch_of_the_disk_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    result = python(["-c", KILLED_EVERYWHERE, str(tmp_path)])
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 20


def forge(folder: Path, name: str, content: bytes) -> None:
    """Writes another content of a file of a checkpoint, with a checksum that is right again."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    manifest[name] = {"bytes": len(content), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b"[]"),
        ("state.json", b"{"),
        ("random.safetensors", b"nonsense"),
        ("optimizer.safetensors", tensor_bytes({"0.exp_avg": torch.zeros(3)})),
        ("optimizer.safetensors", tensor_bytes({"999.step": torch.zeros(())})),
        ("policy.safetensors", tensor_bytes({"a": torch.zeros(1)})),
        ("worlds-00000000.npz", b"PK"),
        ("worlds-00000000.npz", array_bytes({"a": np.zeros(3)})),
    ],
)
def test_a_forged_file_of_a_checkpoint_is_named(
    tiny: TrainConfig, name: str, content: bytes
) -> None:
    train(tiny, updates=1)
    folder = Path(tiny.out_dir) / "checkpoints" / "00000001"
    forge(folder, name, content)
    with pytest.raises(CheckpointError) as error:
        train(tiny, resume=True)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\0b", ".hidden", "\ud800"])
def test_a_manifest_lists_files_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, {"a": b"1"})
    manifest = {name: {"bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"manifest.json lists .* no file"):
        read_folder(folder)


def python(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(selfdrive_env.__file__).parents[1])
    program = Program(words, environment)
    try:
        out, error = program.finish()
        return subprocess.CompletedProcess(words, program.returncode, out, error)
    finally:
        program.close()


def test_a_policy_file_that_is_damaged_or_none_of_ours_is_refused(tmp_path: Path) -> None:
    import safetensors.torch
    import torch

    file = tmp_path / "policy.safetensors"
    file.write_bytes(b"\x10" * 20)
    with pytest.raises(ValueError, match="is damaged"):
        load_torch_policy(file)
    safetensors.torch.save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="not written by us"):
        load_torch_policy(file)
    with pytest.raises(ValueError, match="does not exist"):
        load_torch_policy(tmp_path / "none.safetensors")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.dictionaries(st.sampled_from(["a", "b", "c.json"]), st.binary(max_size=40), min_size=1),
       st.data())  # fmt: skip
def test_a_folder_comes_back_or_is_refused(
    tmp_path: Path, files: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path / "folder"
    write_folder(folder, files)
    assert read_folder(folder) == files
    assert {name: read_file(folder, name) for name in files} == files
    victim = data.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    content = data.draw(st.binary(max_size=60))
    if content == (folder / victim).read_bytes():
        return
    (folder / victim).write_bytes(content)
    try:
        assert read_folder(folder) == files or victim == "manifest.json"
    except CheckpointError:
        return


def test_a_run_from_before_a_setting_goes_on_as_it_began(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files do not say `reverse`; rows could reverse then."""
    config = tiny_config(tmp_path / "run", env={"reverse": "allowed"}, **ALWAYS)
    train(config, updates=1)
    folder = Path(config.out_dir)
    table = json.loads((folder / "config.json").read_text())
    assert table["env"].pop("reverse") == "allowed"
    (folder / "config.json").write_text(json.dumps(table))
    files = files_of(config, 1)
    state = json.loads(files["state.json"])
    assert state["config"]["env"].pop("reverse") == "allowed"
    write_folder(
        folder / "checkpoints" / "00000001", {**files, "state.json": json.dumps(state).encode()}
    )
    assert main(["train", "--resume", "--out-dir", str(folder), "--updates", "1"]) == 0
    assert "start anew" not in capsys.readouterr().err
    state = json.loads(files_of(config, 2)["state.json"])
    assert state["config"]["env"]["reverse"] == "allowed"
    with pytest.raises(CheckpointError, match=r"env\.reverse is 'allowed' .* and 'never' here"):
        train(config.changed(env={**config.env, "reverse": "never"}), resume=True)


def test_runs_say_whether_rows_may_reverse(tiny: TrainConfig) -> None:
    assert tiny.env["reverse"] == "never"
    train(tiny, updates=1)
    description = load_torch_policy(tiny.out_dir).description
    assert description["env"]["reverse"] == "never"


def test_the_command_trains_resumes_and_sums_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(TINY))
    folder = str(tmp_path / "run")
    words = ["train", "--config", str(file), "--out-dir", folder, "--set", "minutes=null"]
    words += ["--set", f"env={json.dumps({**TINY['env'], 'reward': {}})}"]
    assert main([*words, "--updates", "2"]) == 0
    assert "256 transitions" in capsys.readouterr().out
    assert main(["train", "--resume", "--out-dir", folder, "--updates", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{folder}: 384 transitions in")
    assert main(words) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "--out-dir", folder, "--resume", "--set", "gamma=0.5"]) == 2
    assert "gamma is" in capsys.readouterr().err
    assert main(["train", "--set", "gama=1"]) == 2
    assert "did you mean 'gamma'" in capsys.readouterr().err
