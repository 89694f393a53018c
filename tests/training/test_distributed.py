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

import pytest
import torch

import selfdrive_env
from selfdrive_env.training import TrainConfig, train
from selfdrive_env.training.checkpoint import read_folder, tensors_from
from selfdrive_env.training.distributed import Ranks
from tests import PATIENCE
from tests.training.conftest import tiny_config
from tests.training.processes import Program

TOLERANCE = 1e-5
"""Of the weights after three updates: sums are taken in another order."""

CODE = """
import json, sys
from pathlib import Path
from selfdrive_env.__main__ import leave
from selfdrive_env.training import TrainConfig, train
train(TrainConfig(**json.loads(sys.argv[1])), resume=sys.argv[2] == "resume", updates=3)
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
assert [name for name in threads if name.startswith(("gloo", "pt_"))] == [], threads
leave(0)
"""
# Threads of a group that outlived it could abort the interpreter when that ends.

Start = Callable[..., list[Program]]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Start:
    """Starts processes of one group, which do not outlive the test."""

    def started(words: list[str], count: int = 2) -> list[Program]:
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
            running.append(Program(words, environment))
            request.addfinalizer(running[-1].close)
        return running

    return started


def check_success(running: list[Program]) -> None:
    for one in running:
        _, error = one.finish()
        assert one.returncode == 0, error


def weights(config: TrainConfig, number: int) -> dict[str, torch.Tensor]:
    files = read_folder(Path(config.out_dir) / "checkpoints" / f"{number:08d}")
    return tensors_from(files["policy.safetensors"])


@pytest.mark.parametrize("widths", [(8, 8), (16, 16)], ids=["by autograd", "in one pass"])
def test_two_processes_with_half_the_worlds_are_one_with_all(
    tmp_path: Path, start: Start, widths: tuple[int, int]
) -> None:
    alone, shared = (
        tiny_config(tmp_path / name, set_widths=widths, shared_sets=widths[0] == 16)
        for name in ("alone", "shared")
    )
    words = ["-c", CODE, json.dumps(shared.to_table())]
    train(alone, updates=3)
    check_success(start([*words, "start"]))
    expected, found = weights(alone, 3), weights(shared, 3)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=TOLERANCE)

    check_success(start([*words, "resume"]))
    train(alone, resume=True)
    expected, found = weights(alone, 6), weights(shared, 6)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=10 * TOLERANCE)


def newest(folder: Path) -> int:
    """Number of the newest checkpoint, 0 without one."""
    found = (path.name for path in folder.glob("checkpoints/*") if path.name.isdigit())
    return max(map(int, found), default=0)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_the_run_resumes(
    tmp_path: Path, victim: int, start: Start
) -> None:
    config = tiny_config(tmp_path / "run", steps=10**9, checkpoint_minutes=0.0)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_table()))
    running = start(["-m", "selfdrive_env", "train", "--config", str(file)])
    end = time.monotonic() + PATIENCE
    while newest(tmp_path / "run") < 3:
        assert all(one.returncode is None for one in running), running[0].finish()
        assert time.monotonic() < end
        time.sleep(0.02)
    running[victim].kill()
    _, error = running[1 - victim].finish()
    assert running[1 - victim].returncode == 2
    assert f"selfdrive: process {1 - victim} of 2 has lost another one, which ended" in error
    assert "Traceback" not in error

    resume = ["train", "--resume", "--out-dir", str(tmp_path / "run"), "--updates", "2"]
    for count in (1, 2) if victim else (2,):
        last = newest(tmp_path / "run")
        assert last >= 3
        check_success(start(["-m", "selfdrive_env", *resume], count))
        assert newest(tmp_path / "run") == last + 2


SILENT = """
import os, signal
from datetime import timedelta
import torch
import torch.distributed as dist
from selfdrive_env.__main__ import leave
from selfdrive_env.training import distributed

ranks = distributed.Ranks("cpu")
patience = dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout
assert patience == distributed.TIMEOUT == timedelta(minutes=10), patience
assert ranks.sum(torch.ones(1)).item() == 2.0
if ranks.rank == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
distributed.TIMEOUT = timedelta(seconds=1)
dist.distributed_c10d._set_pg_timeout(distributed.TIMEOUT)
try:
    ranks.sum(torch.ones(1))
except ConnectionError as error:
    print(error)
leave(0)
"""
# The wait is cut short only once both have met, which may take a loaded machine long.


@pytest.mark.skipif(os.name != "posix", reason="stops by a signal")
def test_a_process_that_is_silent_for_too_long_is_lost(start: Start) -> None:
    waiting, _ = start(["-c", SILENT])
    out, error = waiting.finish()
    assert "process 0 of 2 has lost another one, which ended or was silent for 1 s" in out, error


def test_worlds_that_cannot_be_shared_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks("cpu")
    ranks.count = 3
    with pytest.raises(ValueError, match="num_worlds must be a multiple of the 3 processes, got 4"):
        ranks.share(4)


@pytest.mark.parametrize(("count", "tidied"), [("1", "tidied\n"), ("2", "")])
def test_one_of_several_processes_ends_without_tidying_up(count: str, tidied: str) -> None:
    code = """
import atexit
from selfdrive_env.__main__ import leave
atexit.register(print, "tidied")
print("done")
leave(3)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "WORLD_SIZE": count}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "done\n" + tidied)
