"""Other systems: what they lack is taken away here, and processes start as they do there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv

import selfdrive_env
from selfdrive_env.maps import load

ROOT = Path(selfdrive_env.__file__).parents[1]
SETTINGS: dict[str, Any] = {"agents_per_world": 2, "num_threads": 1, "horizon": 50.0}

WITHOUT = """
import os
import sys

# Libraries first: what they find missing is theirs to mend.
import gymnasium, numba, numpy, safetensors.numpy, shapely
import subprocess, tempfile, multiprocessing, importlib.metadata

for name in ("fcntl", "resource", "pwd", "grp", "termios", "pty", "posix"):
    sys.modules[name] = None
for name in ("fork", "getuid", "geteuid", "kill", "O_DIRECTORY", "sched_getaffinity", "sysconf",
             "getloadavg", "sched_yield", "mkfifo", "fchmod", "chown", "killpg"):
    if hasattr(os, name):
        delattr(os, name)
os.cpu_count = lambda: 2

import selfdrive_env
from selfdrive_env.__main__ import main
from selfdrive_env.compiler import cache

assert cache.fcntl is None
cache._told.clear()
env = gymnasium.make("selfdrive_env/Drive-v0", agents_per_world=2, record=True)
env.reset(seed=0)
env.step(3)
env.unwrapped.save_replay("drive.html")
env.close()
for words in (["list"], ["map", "info", "harbour"]):
    assert main(words) == 0, words
assert main(["map", "info", "nowhere"]) == 2
"""
"""What nearly every user does, without modules and functions that Windows or macOS lack."""


def test_nothing_is_needed_that_only_one_system_has(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be kept" not in done.stderr
    assert (tmp_path / "drive.html").stat().st_size > 1000


def make_env() -> gym.Env[Any, Any]:
    return gym.make("selfdrive_env/Drive-v0", **SETTINGS)


def test_processes_may_be_spawned() -> None:
    """As on macOS and Windows, where a child imports everything anew."""
    envs = AsyncVectorEnv([make_env, make_env], context="spawn")
    try:
        rows, _ = envs.reset(seed=[0, 1])
        stepped = envs.step(np.array([3, 3]))[0]
    finally:
        envs.close()
    for place in range(2):
        env = make_env()
        assert np.array_equal(env.reset(seed=place)[0], rows[place])
        assert np.array_equal(env.step(3)[0], stepped[place])
        env.close()


def step(envs: Any) -> Any:
    """What a child does with an environment that it was sent."""
    return envs.step(np.full(envs.num_envs, 3))[0].copy()


def test_an_environment_is_sent_to_a_spawned_process() -> None:
    envs = gym.make_vec("selfdrive_env/SelfPlay-v0", num_envs=4, **SETTINGS)
    envs.reset(seed=3)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        there = pool.submit(step, envs).result(timeout=300)
    assert np.array_equal(there, step(envs))
    envs.close()


def test_what_is_printed_fits_every_console(tmp_path: Path) -> None:
    """A console of Windows has few characters; a name of a file may have others."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    place = tmp_path / "Straße.roads"
    load("harbour").save(place)
    bench = ["bench", "--steps", "1", "--repeats", "1", "--worlds", "1", "--agents", "2", "--map"]
    for words, shown in (
        (["list"], "selfdrive_env/Drive-v0"),
        ([*bench, str(place)], r"Stra\xdfe.roads"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "selfdrive_env", *words], env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        assert shown in done.stdout.decode("ascii")
