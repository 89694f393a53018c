"""Checkpoints whose files were changed at random, with checksums that are right again."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fuzz import harness
from tests.fuzz.test_policies import changed_weights
from tests.fuzz.values import changed_bytes, changed_json, check_named

pytest.importorskip("torch")

import safetensors.numpy

from selfdrive_env.training import train
from selfdrive_env.training.checkpoint import (
    MANIFEST,
    CheckpointError,
    array_bytes,
    arrays_from,
)
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.ppo import Trainer
from selfdrive_env.training.snapshot import restore
from tests.training.conftest import tiny_config

Random = np.random.Generator
Files = dict[str, bytes]

SEED = 35


@functools.cache
def run() -> tuple[Trainer, Path, Files]:
    """A run, the folder of its only checkpoint, and the files in it but the manifest."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz_checkpoints_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = tiny_config(folder / "run", checkpoint_minutes=0.0, keep_checkpoints=1)
    train(config, updates=1)
    place = folder / "run" / "checkpoints" / "00000001"
    files = {path.name: path.read_bytes() for path in place.iterdir() if path.name != MANIFEST}
    return Trainer(config, Ranks("cpu")), place, files


def make(random: Random) -> tuple[Files, Any]:
    """Files of a checkpoint, and its manifest."""
    _, _, files = run()
    files = dict(files)
    for name in random.choice(list(files), random.choice([1, 1, 2]), replace=False):
        files[str(name)] = changed(str(name), files[str(name)], random)
        if random.random() < 0.05:
            del files[str(name)]
    manifest: Any = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    return files, changed_json(manifest, random) if random.random() < 0.15 else manifest


def changed(name: str, content: bytes, random: Random) -> bytes:
    """The content of a file with something changed, mostly within its format."""
    if random.random() < 0.2:
        return changed_bytes(content, random)
    if name.endswith(".json"):
        return json.dumps(changed_json(json.loads(content), random)).encode()
    if name.endswith(".npz"):
        arrays = changed_weights(arrays_from(content, 2**30), random)
        return array_bytes(arrays)
    return bytes(safetensors.numpy.save(changed_weights(safetensors.numpy.load(content), random)))


def use(one: tuple[Files, Any], number: int) -> str:
    """Goes on from the checkpoint."""
    trainer, place, _ = run()
    files, manifest = one
    for path in place.parent.iterdir():
        shutil.rmtree(path)
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    (place / MANIFEST).write_text(json.dumps(manifest))
    try:
        restore(trainer.state, trainer.checkpoints)
    except CheckpointError as error:
        check_named(error, (str(place.parent),))
        return "refused"
    return "restored"


def test_checkpoints_are_restored_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    ends = harness.fuzz(make, use, seed=SEED, count=harness.budget(60), allowed=())
    assert ends["restored"] and ends["refused"]


def test_worlds_that_unpack_to_gigabytes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, files = run()
    content = array_bytes({"agents.x": np.zeros(2**23, np.float32)})
    assert len(content) < 2**16
    name = next(name for name in files if name.endswith(".npz"))
    manifest = {
        name: {"bytes": len(one), "sha256": hashlib.sha256(one).hexdigest()}
        for name, one in {**files, name: content}.items()
    }
    assert use(({**files, name: content}, manifest), 0) == "refused"
