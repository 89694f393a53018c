"""Compiled maps have the same bits whatever the processor computes with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfdrive_env.maps import compiled
from selfdrive_env.maps.compile.snap import snapped
from selfdrive_env.maps.pool.kept_map import STRUCTS

ROOT = Path(__file__).parents[3]

NAMES = ("harbour", "riverside", "roundabouts:3", "town:5")

PROCESSORS = {
    "matrix products of an early one": {"OPENBLAS_CORETYPE": "Prescott"},
    "matrix products of a later one": {"OPENBLAS_CORETYPE": "Haswell"},
    "functions without fused products": {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX2_Usable,-FMA_Usable"
    },
    "NumPy without wide vectors": {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
    },
}

DIGESTS = """
import sys
from selfdrive_env.maps import compiled
print(*[compiled(name).digest for name in sys.argv[1:]])
"""


@given(st.floats(-1e6, 1e6, width=32))
def test_numbers_move_by_half_a_step_at_most(number: float) -> None:
    found = snapped(np.array([number], np.float32))
    assert found.dtype == np.float32
    assert abs(float(found[0]) - number) <= 2.0**-25
    assert found[0] == snapped(found)[0]
    assert float(found[0]) * 2.0**24 == round(float(found[0]) * 2.0**24)
    if abs(number) >= 0.5:
        assert found[0] == np.float32(number)


def test_what_should_be_zero_is() -> None:
    noise = np.array([1e-16, -1e-16, -0.0, 7e-12, 0.0], np.float32)
    found = snapped(noise)
    assert found.tobytes() == np.zeros(5, np.float32).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_all_numbers_of_a_map_lie_on_the_grid(name: str) -> None:
    one = compiled(name)
    for struct in STRUCTS:
        for field, array in getattr(one, struct)._asdict().items():
            if array.dtype == np.float32:
                assert array.tobytes() == snapped(array).tobytes(), f"{struct}.{field}"


@pytest.mark.full
@pytest.mark.parametrize("processor", PROCESSORS)
def test_other_processors_make_the_same_maps(processor: str, tmp_path: Path) -> None:
    environment: dict[str, Any] = {
        **os.environ, **PROCESSORS[processor], "SELFDRIVE_CACHE": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGESTS, *NAMES], env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [compiled(name).digest for name in NAMES]
