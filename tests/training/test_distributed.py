"""Two processes with half the worlds each are one process with all of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

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
from selfdrive_env.training import TrainConfig, train
train(TrainConfig(**json.loads(sys.argv[1])), resume=sys.argv[2] == "resume", updates=3)
"""


def processes(config: TrainConfig, how: str, count: int = 2) -> list[subprocess.CompletedProcess]:
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
        command = [sys.executable, "-c", CODE, json.dumps(config.to_table()), how]
        running.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    done = []
    for one in running:
        out, error = one.communicate(timeout=240)
        done.append(subprocess.CompletedProcess(one.args, one.returncode, out, error))
    return done


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


def test_worlds_that_cannot_be_shared_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks("cpu")
    ranks.count = 3
    with pytest.raises(ValueError, match="num_worlds must be a multiple of the 3 processes, got 4"):
        ranks.share(4)
