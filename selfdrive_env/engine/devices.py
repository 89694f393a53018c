"""Which device worlds live on, and what to do where it cannot be used."""

from __future__ import annotations

import sys

from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.config.installation import installed_version

__all__ = ["choose_device"]

_TOOLKITS = ("nvidia-nvvm", "nvidia-cuda-nvcc", "nvidia-cuda-nvcc-cu12")
"""Packages whose version is that of the CUDA toolkit that numba-cuda compiles with."""

_told: set[str] = set()


def choose_device(device: str) -> str:
    """Returns "cpu" or the CUDA device, "cuda:0" and so on.

    Args:
        device: As the setting: "cpu", "cuda", "cuda:1" and so on, or "auto".

    Raises:
        ImportError: If a package is missing, with the command that installs it.
        RuntimeError: If no device can be used, with what mends it.
        ValueError: If there is no device of that number.
    """
    if device == "cpu":
        return "cpu"
    if SIMULATED:
        return "cuda:0"
    number = int(device.partition(":")[2] or 0) if device != "auto" else 0
    try:
        _check(number)
    except (ImportError, RuntimeError) as error:
        if device != "auto":
            raise
        if "auto" not in _told:
            _told.add("auto")
            print(f"selfdrive_env: device='auto' takes the CPU: {error}", file=sys.stderr)
        return "cpu"
    return f"cuda:{number}"


def _check(number: int) -> None:
    """Raises an error that says what is missing for a CUDA device."""
    try:
        import torch
    except ImportError:
        raise ImportError(
            "a CUDA device needs torch: pip install 'selfdrive_env[cuda13]' (or [cuda12])"
        ) from None
    toolkit = getattr(torch.version, "cuda", None)
    if toolkit is None:
        raise RuntimeError(
            f"torch {torch.__version__} is built without CUDA: install a build with it, see "
            "https://pytorch.org/get-started/locally"
        )
    if not torch.cuda.is_available():
        raise RuntimeError(
            "torch finds no CUDA device: check that `nvidia-smi` lists one and what "
            "CUDA_VISIBLE_DEVICES says, or take device='cpu'"
        )
    devices = torch.cuda.device_count()
    if number >= devices:
        raise ValueError(f"device must be cuda:0 to cuda:{devices - 1}, got 'cuda:{number}'")
    if installed_version("numba-cuda") is None:
        raise ImportError(
            f"a CUDA device needs numba-cuda: pip install 'selfdrive_env[cuda{toolkit[:2]}]'"
        )
    _check_driver(int(torch._C._cuda_getDriverVersion()))  # type: ignore[attr-defined]


def _check_driver(driver: int) -> None:
    """Raises an error if the driver is older than the toolkit: 13000 stands for CUDA 13.0."""
    toolkit = _toolkit()
    if toolkit is not None and int(toolkit.partition(".")[0]) > driver // 1000:
        raise RuntimeError(
            f"the NVIDIA driver is for CUDA {driver // 1000}.{driver % 1000 // 10} and numba-cuda "
            f"compiles for CUDA {toolkit}: update the driver, or "
            f"pip install 'selfdrive_env[cuda{driver // 1000}]' in a new environment"
        )


def _toolkit() -> str | None:
    """Returns the version of the installed CUDA toolkit, None where it is not from a package."""
    found = (installed_version(name) for name in _TOOLKITS)
    return next((one for one in found if one is not None), None)
