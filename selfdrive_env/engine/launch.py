"""The kernels that CUDA launches: each is one part of a step or reset, one block a world.

They call the functions that the CPU calls and give the same bits.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

from selfdrive_env.compiler.device import (
    compute_capability,
    on_device,
    signature,
    stream,
    to_launch,
)
from selfdrive_env.compiler.structs import struct_at
from selfdrive_env.compiler.threads import SIMULATED, block_index
from selfdrive_env.kernels.images.bev import draw_world
from selfdrive_env.kernels.images.camera.picture import draw_world as draw_ahead
from selfdrive_env.kernels.observation.rows import observe_wanted
from selfdrive_env.kernels.step import advance_world, begin_reset, settle_reset, settle_world
from selfdrive_env.state.camera.shots import CameraView
from selfdrive_env.state.images import View
from selfdrive_env.state.model import Data, Model

__all__ = ["KERNELS", "SIGNATURES", "Launcher", "compiled_kernel"]


def advance_kernel(model, data):
    """First part of a step."""
    world = block_index()
    advance_world(struct_at(Model, model), struct_at(Data, data), world, world)


def observe_kernel(model, data):
    """Writes the rows that the part before it wants."""
    world = block_index()
    observe_wanted(struct_at(Model, model), struct_at(Data, data), world, world)


def settle_kernel(model, data):
    """Last part of a step but the observation."""
    world = block_index()
    settle_world(struct_at(Model, model), struct_at(Data, data), world, world)


def begin_reset_kernel(model, data):
    """First part of a reset."""
    world = block_index()
    begin_reset(struct_at(Model, model), struct_at(Data, data), world, world)


def settle_reset_kernel(model, data, staggered):
    """Last part of a reset but the observation."""
    world = block_index()
    settle_reset(struct_at(Model, model), struct_at(Data, data), staggered != 0, world, world)


def draw_bev_kernel(model, data, view, task, part):
    """Draws the pictures from above of the rows that have been written."""
    world = block_index()
    draw_world(
        struct_at(Model, model), struct_at(Data, data), struct_at(View, view), world, world, task,
        part,
    )  # fmt: skip


def draw_camera_kernel(model, data, view, task, part):
    """Draws what the cameras of the rows that have been written see."""
    world = block_index()
    draw_ahead(
        struct_at(Model, model), struct_at(Data, data), struct_at(CameraView, view), world, world,
        task, part,
    )  # fmt: skip


KERNELS: dict[str, Any] = {
    "advance": advance_kernel,
    "observe": observe_kernel,
    "settle": settle_kernel,
    "begin_reset": begin_reset_kernel,
    "settle_reset": settle_reset_kernel,
    "draw_bev": draw_bev_kernel,
    "draw_camera": draw_camera_kernel,
}
"""Functions to launch by name; a step is advance, observe, settle, observe, where views are drawn
after each time that rows are written."""

SIGNATURES: dict[str, Any] = {
    name: signature(function.__code__.co_argcount) for name, function in KERNELS.items()
}
"""Of each kernel: the addresses of the tables of `Model` and `Data`, and what else it takes."""


class Launcher:
    """The kernels of one device, compiled when first launched."""

    def __init__(self, device: int) -> None:
        """Compiles nothing yet.

        Args:
            device: Number of the device.
        """
        self._device = device
        self._kernels: dict[str, Any] = {}
        self._streams: dict[int, Any] = {}
        self._launches: dict[tuple[Any, ...], Any] = {}

    def launch(
        self, name: str, worlds: int, threads: int, shared: int, handle: int, *arguments: Any
    ) -> None:
        """Starts a kernel on a block for each world.

        Args:
            name: Of `KERNELS`.
            worlds: Number of blocks.
            threads: Of each block.
            shared: Shared memory of a block [bytes].
            handle: Of the stream.
            *arguments: Of the kernel.
        """
        if SIMULATED:
            self._kernel(name)[worlds, threads](*arguments)
            return
        with on_device(self._device):
            key = (name, worlds, threads, handle, shared)
            if key not in self._launches:
                with warnings.catch_warnings():  # Numba warns of few worlds
                    warnings.simplefilter("ignore")
                    queue, kernel = self._stream(handle), self._kernel(name)
                    self._launches[key] = kernel[worlds, threads, queue, shared]
            self._launches[key](*arguments)

    def has_launched(self, name: str) -> bool:
        """Whether a kernel is compiled and loaded."""
        return any(key[0] == name for key in self._launches)

    def kernels(self) -> dict[str, Any]:
        """Returns all kernels by name, compiled or not."""
        with on_device(self._device):
            return {name: self._kernel(name) for name in KERNELS}

    def compile_all(self) -> None:
        """Compiles all kernels, or reads them from the cache."""
        for name, kernel in self.kernels().items():
            with on_device(self._device):
                kernel.compile(SIGNATURES[name].args)

    def _kernel(self, name: str) -> Any:
        """Returns a kernel for the device that is current."""
        if name not in self._kernels:
            self._kernels[name] = compiled_kernel(name, compute_capability())
        return self._kernels[name]

    def _stream(self, handle: int) -> Any:
        if handle not in self._streams:
            self._streams[handle] = stream(handle)
        return self._streams[handle]


@functools.cache
def compiled_kernel(name: str, capability: tuple[int, int] | None) -> Any:
    """Returns a kernel that can be launched; it is compiled, or read from disk, when it first is.

    Args:
        name: Of `KERNELS`.
        capability: Compute capability of the devices that launch it.
    """
    return to_launch(KERNELS[name], KERNELS.values())
