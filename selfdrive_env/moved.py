"""Modules that moved: their documented paths of before still lead to the same module objects."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "install"]

MOVED = {
    "selfdrive_env.device_env": "selfdrive_env.envs.torch",
    "selfdrive_env.env": "selfdrive_env.envs",
    "selfdrive_env.layout": "selfdrive_env.config.observation",
    "selfdrive_env.policies.policy": "selfdrive_env.policies.numpy_policy",
    "selfdrive_env.single": "selfdrive_env.envs.single",
    "selfdrive_env.traffic": "selfdrive_env.envs.traffic",
}
"""Path of before -> the module. Nothing is imported before somebody asks for it."""


class _MovedModules(MetaPathFinder, Loader):
    """Finds modules by the paths in `MOVED`; comes after all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system wrote the spec of the path of before into the module.
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Makes the paths of before importable; a second call changes nothing."""
    if not any(isinstance(one, _MovedModules) for one in sys.meta_path):
        sys.meta_path.append(_MovedModules())
