"""Ctrl-C for a command that is in the middle of its work, however long it took to get there."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import selfdrive_env
from tests import PATIENCE

ROOT = Path(selfdrive_env.__file__).parents[1]

MARK = "in the middle\n"
CALLS = 20
"""Of a method, before a command counts as in the middle of its work."""

PROGRAM = f"""
import runpy, sys
from importlib import import_module

module, owner, name = sys.argv.pop(1).split(":")
owner = getattr(import_module(module), owner)
method, calls = getattr(owner, name), 0

def counted(*arguments, **keywords):
    global calls
    calls += 1
    if calls == {CALLS}:
        sys.stderr.write({MARK!r})
        sys.stderr.flush()
    return method(*arguments, **keywords)

setattr(owner, name, counted)
runpy.run_module("selfdrive_env", run_name="__main__", alter_sys=True)
"""


def interrupt(
    words: list[str],
    environment: Mapping[str, str],
    method: str = "selfdrive_env.engine.cpu:Engine:step",
) -> tuple[int, str, str]:
    """Runs a command until it calls a method again and again, and sends it Ctrl-C.

    Args:
        words: Of the command line, without the program's name.
        environment: Of the process, whole.
        method: Module, class and name.

    Returns:
        Exit code, output and errors.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, method, *words],
        env=environment,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    try:
        assert process.stderr is not None
        before = []
        while (line := process.stderr.readline()) != MARK:
            assert line, "".join(before)  # it ended
            before.append(line)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        out, error = process.communicate()
        return process.returncode, out, "".join(before) + error
    finally:
        guard.cancel()
        process.kill()
        process.communicate()
