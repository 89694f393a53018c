"""Programs in processes of their own, forked from one that has imported what training needs.

Importing torch and this package takes most of the time of a process that trains a tiny run.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import PATIENCE

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT: Any = multiprocessing.get_context("forkserver" if FORKS else "spawn")

PRELOADED = [
    *("pytest", "numba", "torch.distributed"),
    "torch._dynamo",  # any optimizer imports it, which takes longer than the rest of torch
    *("selfdrive_env.training.ppo", "selfdrive_env.envs.vector", "selfdrive_env.__main__"),
    __name__,
]


def run(words: list[str], environment: dict[str, str], files: tuple[Path, Path]) -> None:
    """Runs in the new process what `python WORDS` runs, with its output in two files."""
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(files, 1):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        assert words[0] == "-c"
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})


class Program:
    """A program that runs, as `python WORDS` would, in a process of its own.

    Args:
        words: `-c CODE` or `-m MODULE`, and arguments.
        environment: Of the process, whole.
    """

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = tuple(Path(self._folder.name) / name for name in ("out", "error"))
        for path in self._files:
            path.touch()
        self._process = CONTEXT.Process(target=run, args=(words, environment, self._files))
        with pytest.MonkeyPatch.context() as patch:
            for name in ("PYTHONPATH", "OMP_NUM_THREADS"):  # of the process that forks
                patch.setenv(name, environment[name])
            if FORKS:
                CONTEXT.set_forkserver_preload(PRELOADED)
            self._process.start()

    @property
    def returncode(self) -> int | None:
        """Exit code, the negative number of a signal that ended it, None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def kill(self) -> None:
        """Ends it with no chance to tidy up."""
        self._process.kill()

    def finish(self, seconds: float = PATIENCE) -> tuple[str, str]:
        """Waits for the end; returns what it printed and its errors."""
        self._process.join(seconds)
        assert self.returncode is not None, f"still runs after {seconds} s"
        return self._files[0].read_text(), self._files[1].read_text()

    def close(self) -> None:
        """Ends it if it runs, and removes its output."""
        self.kill()
        self._process.join()
        self._folder.cleanup()
