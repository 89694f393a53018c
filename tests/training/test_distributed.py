"""Two processes with half the worlds each are one process with all of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import selfdrive_env
from selfdrive_env.training import TrainConfig, train
from selfdrive_env.training.checkpoint import read_folder, tensors_from
from selfdrive_env.training.distributed import Ranks
from tests.training.conftest import tiny_config

TOLERANCE = 1e-5
"""Of the weights after three updates: sums are taken in another order."""

CODE = """
import json, sys
from selfdrive_env.__main__ import leave
from selfdrive_env.training import TrainConfig, train
train(TrainConfig(**json.loads(sys.argv[1])), resume=sys.argv[2] == "resume", updates=3)
leave(0)
"""


def start(words: list[str], count: int = 2) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(count):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(selfdrive_env.__file__).parents[1]),
            **dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count)),
            **dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)),
        }
        running.append(
            subprocess.Popen(
                [sys.executable, *words],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return running


def finish(running: list[subprocess.Popen[str]]) -> list[subprocess.CompletedProcess[str]]:
    done = []
    for one in running:
        out, error = one.communicate(timeout=240)
        done.append(subprocess.CompletedProcess(one.args, one.returncode, out, error))
    return done


def processes(config: TrainConfig, how: str) -> list[subprocess.CompletedProcess[str]]:
    return finish(start(["-c", CODE, json.dumps(config.to_table()), how]))


def weights(config: TrainConfig, number: int) -> dict[str, torch.Tensor]:
    files = read_folder(Path(config.out_dir) / "checkpoints" / f"{number:08d}")
    return tensors_from(files["policy.safetensors"])


def test_two_processes_with_half_the_worlds_are_one_with_all(tmp_path: Path) -> None:
    alone, shared = tiny_config(tmp_path / "alone"), tiny_config(tmp_path / "shared")
    train(alone, updates=3)
    for result in processes(shared, "start"):
        assert result.returncode == 0, result.stderr
    expected, found = weights(alone, 3), weights(shared, 3)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=TOLERANCE)

    for result in processes(shared, "resume"):
        assert result.returncode == 0, result.stderr
    train(alone, resume=True)
    expected, found = weights(alone, 6), weights(shared, 6)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=10 * TOLERANCE)


def newest(folder: Path) -> int:
    """Number of the newest checkpoint, 0 without one."""
    found = (path.name for path in folder.glob("checkpoints/*") if path.name.isdigit())
    return max(map(int, found), default=0)


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Callable[..., list[subprocess.Popen[str]]]:
    """`start`, whose processes do not outlive the test."""

    def started(*arguments: Any) -> list[subprocess.Popen[str]]:
        running = start(*arguments)
        for one in running:
            request.addfinalizer(one.communicate)
            request.addfinalizer(one.kill)
        return running

    return started


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_resumes(
    tmp_path: Path, victim: int, ends: Callable[..., list[subprocess.Popen[str]]]
) -> None:
    config = tiny_config(tmp_path / "run", steps=10**9, checkpoint_minutes=0.0)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_table()))
    running = ends(["-m", "selfdrive_env", "train", "--config", str(file)])
    end = time.monotonic() + 120.0
    while newest(tmp_path / "run") < 3 and time.monotonic() < end:
        time.sleep(0.02)
    running[victim].kill()
    _, error = running[1 - victim].communicate(timeout=30.0)
    assert running[1 - victim].returncode == 2
    assert f"selfdrive: process {1 - victim} of 2 has lost another one, which ended" in error
    assert "Traceback" not in error

    resume = ["train", "--resume", "--out-dir", str(tmp_path / "run"), "--updates", "2"]
    for count in (1, 2) if victim else (2,):
        last = newest(tmp_path / "run")
        assert last >= 3
        for result in finish(ends(["-m", "selfdrive_env", *resume], count)):
            assert result.returncode == 0, result.stderr
        assert newest(tmp_path / "run") == last + 2


SILENT = """
import os, signal, sys, time
from datetime import timedelta
from pathlib import Path
import torch
from selfdrive_env.training import distributed

folder, rank = Path(sys.argv[1]), os.environ["RANK"]
(folder / rank).touch()
while len(list(folder.iterdir())) < 2:
    time.sleep(0.01)
distributed.TIMEOUT = timedelta(seconds=4)
ranks = distributed.Ranks("cpu")
assert ranks.sum(torch.ones(1)).item() == 2.0
if rank == "1":
    os.kill(os.getpid(), signal.SIGSTOP)
try:
    ranks.sum(torch.ones(1))
except ConnectionError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="stops by a signal")
def test_a_process_that_is_silent_for_too_long_is_lost(
    tmp_path: Path, ends: Callable[..., list[subprocess.Popen[str]]]
) -> None:
    waiting, _ = ends(["-c", SILENT, str(tmp_path)])
    out, error = waiting.communicate(timeout=60.0)
    assert "process 0 of 2 has lost another one, which ended or was silent for 4 s" in out, error


def test_worlds_that_cannot_be_shared_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks("cpu")
    ranks.count = 3
    with pytest.raises(ValueError, match="num_worlds must be a multiple of the 3 processes, got 4"):
        ranks.share(4)
