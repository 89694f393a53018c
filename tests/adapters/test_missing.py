"""Without its library an adapter says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from selfdrive_env.adapters import make_rows

PACKAGES = {
    "pettingzoo": ("pettingzoo", r"selfdrive_env\[pettingzoo\]"),
    "torchrl": ("tensordict", "torchrl>=0.14"),
    "rsl_rl": ("rsl_rl", "rsl-rl-lib>=5"),
    "rl_games": ("rl_games", "rl-games>=1.6.5"),
    "pufferlib": ("pufferlib", "pufferlib>=3"),
    "minari": ("minari", r"selfdrive_env\[minari\]"),
}


@pytest.mark.parametrize("adapter", sorted(PACKAGES))
def test_the_error_names_the_package(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if adapter in ("torchrl", "rsl_rl", "rl_games"):
        pytest.importorskip("torch")
    library, package = PACKAGES[adapter]
    name = f"selfdrive_env.adapters.{adapter}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    loaded = [one for one in sys.modules if one.startswith(f"{library}.")]
    for one in (library, *loaded):
        monkeypatch.setitem(sys.modules, one, None)
    with pytest.raises(ImportError, match=f'pip install "{package}"'):
        importlib.import_module(name)


@pytest.mark.parametrize("adapter", ["DrivingPufferEnv", "RslRlVecEnv"])
def test_an_adapter_that_knows_rows_alone_refuses_pictures_by_name(adapter: str) -> None:
    with pytest.raises(ValueError, match=f"observation must be 'state' for {adapter}"):
        make_rows(adapter, (), "selfdrive_env/SelfPlay-v0", 2, {"observation": "bev"})
