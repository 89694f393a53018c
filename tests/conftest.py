"""Fixtures, and the rules for the markers `full`, `gpu`, `cudasim` and `ptx`."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests marked `full` as well")
    parser.addoption("--guard", choices=("before", "after"), help="see tests/guarded.py")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--guard"):
        from tests.guarded import guard

        guard(config.getoption("--guard"))
    # A worker that crashed is not replaced: pytest-xdist 3.8 may then wait for ever for tests that
    # have run already. It says which test it was and ends.
    if getattr(config.option, "maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "0"
    # pytest-xdist would hand out files with many tests first; `turn_of` says what is better.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False
    with contextlib.suppress(ImportError):  # tests without examples of Hypothesis run without it
        import hypothesis

        # How long an example takes says more of the machine than of the code. Examples are the same
        # in each run, so that a change and its failures belong together; --full looks for new ones.
        hypothesis.settings.register_profile(
            "any speed",
            deadline=None,
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
            derandomize=not config.getoption("--full"),
        )
        hypothesis.settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def spaces_sample_alike_in_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A space that nobody has seeded draws from seed 0: no test depends on chance."""
    from gymnasium.spaces import space

    drawn = space.seeding.np_random
    fixed = types.SimpleNamespace(np_random=lambda seed=None: drawn(0 if seed is None else seed))
    monkeypatch.setattr(space, "seeding", fixed)


LONG = ("examples", "benchmarks", "notebooks", "extending", "perception_example", "precision")
"""Files at the top (`tests/test_*.py`) that take long and have few tests."""


def turn_of(path: Path) -> int:
    """When a file comes; of one turn, in the order of their names.

    The pages come first, whose first process compiles the kernels if need be: the tests of maps,
    beside it, hardly need any. The longest files are next, so that short ones are left to fill up
    with when one process has nothing else to do.
    """
    here = Path(__file__).parent
    first, *rest = path.relative_to(here).parts if path.is_relative_to(here) else ("", "")
    if rest:
        return 1 if first == "maps" else 3
    name = first.removeprefix("test_").removesuffix(".py")
    return 0 if name == "docs" else 2 if name in LONG else 3


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: turn_of(item.path))
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    for item in items:
        if item.get_closest_marker("full") and not config.getoption("--full"):
            item.add_marker(pytest.mark.skip(reason="long, or more of the same: needs --full"))
        if item.get_closest_marker("cudasim") and not simulated:
            item.add_marker(pytest.mark.skip(reason="needs NUMBA_ENABLE_CUDASIM=1"))
        if item.get_closest_marker("gpu"):
            missing = "the simulator is none" if simulated else missing_device()
            if missing is not None:
                item.add_marker(pytest.mark.skip(reason=f"needs a CUDA device: {missing}"))
        if item.get_closest_marker("ptx") and (simulated or not has_toolkit()):
            item.add_marker(pytest.mark.skip(reason="needs numba-cuda with its toolkit"))


@functools.cache
def missing_device() -> str | None:
    """Returns why no CUDA device can be used, None if one can."""
    from selfdrive_env.engine.devices import choose_device

    try:
        choose_device("cuda")
    except (ImportError, RuntimeError, ValueError) as error:
        return str(error)
    return None


@functools.cache
def has_toolkit() -> bool:
    """Whether kernels can be compiled for CUDA, with or without a device."""
    if importlib.util.find_spec("numba_cuda") is None:
        return False
    from cuda import pathfinder

    try:
        for library in ("nvvm", "nvrtc", "nvJitLink"):
            pathfinder.load_nvidia_dynamic_lib(library)
    except pathfinder.DynamicLibNotFoundError:
        return False
    return True


@pytest.fixture(scope="session", autouse=True)
def several_cores() -> Iterator[None]:
    """Lets every machine run the tests of threads, which need no core of their own."""
    from selfdrive_env.config import settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "usable_cores", lambda: 4)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real maps beside the checkout; tests that need it are skipped without."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real maps is absent")
    return folder


@pytest.fixture(scope="session")
def surfaces() -> Callable[[str], list[Any]]:
    """Drivable surface of each layer of a built-in town, as shapely polygons."""
    from selfdrive_env.maps import load
    from selfdrive_env.maps.compile.surface import surface_polygons

    return functools.cache(lambda name: surface_polygons(load(name)))
