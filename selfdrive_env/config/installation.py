"""What this process runs with: packages, their versions, processor cores."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed_version", "package_version", "require_torch", "usable_cores"]

UNINSTALLED = "0.0.0"
"""The version of a source tree that is on the path, not installed."""


def installed_version(name: str) -> str | None:
    """Returns the version of an installed package, None where it is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def package_version() -> str:
    """Returns the version of this package."""
    return installed_version("selfdrive_env") or UNINSTALLED


def require_torch(what: str, extra: str) -> None:
    """Raises an ImportError that says what to install where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise ImportError(f"{what} needs torch: pip install 'selfdrive_env[{extra}]'")


def usable_cores() -> int:
    """Returns how many CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
