"""The kernel that CI tries with the newest Numba is right with the one that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from tests import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compiling is switched off")
def test_the_smallest_kernel_is_right_compiled_and_read():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(ROOT / ".ci" / "canary.py")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("right results") == 2
