"""Fixtures and the rules for the markers `gpu` and `cudasim`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    for item in items:
        if item.get_closest_marker("cudasim") and not simulated:
            item.add_marker(pytest.mark.skip(reason="needs NUMBA_ENABLE_CUDASIM=1"))
        if item.get_closest_marker("gpu") and (simulated or not has_device()):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def has_device() -> bool:
    from numba import cuda

    return bool(cuda.is_available())


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real maps beside the checkout; tests that need it are skipped without."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real maps is absent")
    return folder
