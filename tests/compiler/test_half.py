"""float16 by instructions of the processor and, where it has none, by bits: always the same."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import selfdrive_env
from selfdrive_env.compiler.half import half_bits, write_halves
from selfdrive_env.compiler.njit import entry

CHECK = "from tests.compiler.test_half import check; check()"
ROWS = """
import gymnasium
import selfdrive_env
envs = gymnasium.make_vec(
    "selfdrive_env/SelfPlay-v0", num_envs=2, agents_per_world=2, obs_dtype="float16"
)
rows, _ = envs.reset(seed=0)
assert rows.any()
"""
OLD = {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": "+sse4.2"}
"""A processor of 2009, as every x86 processor can be."""


@entry
def convert(row, table):
    """Writes the numbers of a row to two rows of a table, eight at a time and one by one."""
    for place in range(0, row.shape[0], 8):
        write_halves(table, 0, row, place)
    for place in range(row.shape[0]):
        table[1, place] = half_bits(row[place])


def numbers() -> np.ndarray:
    """All numbers of float16, those beside them and beside the middles between them, and others."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
    steps = (0, 1, 4095, 4096, 4097, 2**32 - 1, 2**32 - 4095, 2**32 - 4096, 2**32 - 4097)
    beside = [halves + np.uint32(step) for step in steps]
    random = np.random.default_rng(0).integers(0, 2**32, 65536, np.uint32)
    return np.concatenate([*beside, random]).view(np.float32)


def check() -> None:
    row = numbers()
    table = np.zeros((2, len(row)), np.uint16)
    convert(row, table)
    with np.errstate(all="ignore"):
        expected = row.astype(np.float16).view(np.uint16)
    nan = np.isnan(row)
    np.testing.assert_array_equal(table[0], table[1])
    np.testing.assert_array_equal(table[0, ~nan], expected[~nan])
    assert np.isnan(table.view(np.float16)[:, nan]).all()


def test_halves_are_rounded_as_numpy_does() -> None:
    check()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="an x86 processor")
@pytest.mark.parametrize(
    "program", [CHECK, pytest.param(ROWS, marks=pytest.mark.full)], ids=["numbers", "rows"]
)
def test_a_processor_without_halves_makes_the_same(program: str, tmp_path: Path) -> None:
    environment = {**os.environ, **OLD, "SELFDRIVE_CACHE": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(selfdrive_env.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
