"""Runs a fuzzer in a process of its own, which may crash or hang in compiled code.

The process is `python -m MODULE`, whose main code calls `guarded` with what to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import harness

try:
    import resource
except ImportError:  # Windows: time is not limited
    resource = None  # type: ignore[assignment]

ROOT = Path(__file__).parents[2]
AT = "FUZZ_AT"
"""Variable with the file in which the process notes the number of the input that it is at."""


def run(module: str, folder: Path, count: int) -> str:
    """Runs `python -m MODULE COUNT` and returns what it printed; fails where it failed.

    Args:
        module: With the fuzzer.
        folder: For files.
        count: How many inputs.
    """
    at = folder / "at"
    variables = {**os.environ, AT: str(at), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", module, str(count)],
        env=variables, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    where = at.read_text() if at.exists() else "none"
    assert done.returncode == 0, (
        f"input {where} ended the process with {done.returncode}:\n{done.stdout[-3000:]}\n"
        f"{done.stderr[-6000:]}"
    )
    return done.stdout


def guarded(use: Callable[[object, int], str]) -> Callable[[object, int], str]:
    """Returns `use`, which notes its input first and is ended where it takes too long.

    The system ends it, by the time of the processor: compiled code heeds no handler.
    """
    path = os.environ.get(AT)

    def call(one: object, number: int) -> str:
        if path:
            Path(path).write_text(str(number))
        if resource is None:
            return use(one, number)
        limit = int(time.process_time() + harness.MOST_SECONDS + 2)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        return use(one, number)

    return call
