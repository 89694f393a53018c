"""Tests of the kernels one by one."""

from __future__ import annotations

from typing import Any

from selfdrive_env.kernels.compiling import entry


def from_python(kernel: Any) -> Any:
    """Returns a kernel that Python may call; the package compiles them without wrappers."""
    return entry(getattr(kernel, "py_func", kernel))
