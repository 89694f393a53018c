"""What several processes of one training run share: sums, maxima and gradients.

Started by `torchrun`, one process a device; each has its own shard of the worlds. Every process
draws the random numbers of all rows and takes its own, so the result does not depend on how many
there are, up to the order of sums.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Ranks"]

TIMEOUT = timedelta(minutes=10)
"""A process that waits longer for the others takes one of them for lost."""


class Ranks:
    """The processes of a run; alone, every operation returns what it was given.

    Args:
        device: The device of this process, as it was asked for.
    """

    def __init__(self, device: str) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = device
        self._ours = False
        if self.count == 1:
            return
        if device == "cuda":
            self.device = f"cuda:{int(os.environ.get('LOCAL_RANK', self.rank))}"
        if not dist.is_initialized():
            if self.device != "cpu":
                torch.cuda.set_device(self.device)
            backend = "gloo" if self.device == "cpu" else "nccl"
            with self._together():
                dist.init_process_group(backend, timeout=TIMEOUT)
            self._ours = True

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Raises a ConnectionError when another process is lost: ended, or silent for too long."""
        try:
            yield
        except RuntimeError as error:
            raise ConnectionError(
                f"process {self.rank} of {self.count} has lost another one, which ended or was "
                f"silent for {TIMEOUT.total_seconds():g} s: start the run again with --resume, "
                f"with as many processes as there are ({str(error).splitlines()[0]})"
            ) from error

    def share(self, worlds: int) -> int:
        """Returns how many of all worlds this process has."""
        if worlds % self.count:
            raise ValueError(
                f"num_worlds must be a multiple of the {self.count} processes, got {worlds}"
            )
        return worlds // self.count

    def sum(self, tensor: Tensor) -> Tensor:
        """Returns the sum over all processes."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def max(self, tensor: Tensor) -> Tensor:
        """Returns the largest over all processes."""
        return self._reduce(tensor, dist.ReduceOp.MAX)

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.count == 1:
            return tensor
        tensor = tensor.clone()
        with self._together():
            dist.all_reduce(tensor, operation)
        return tensor

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sums gradients over all processes, in one go."""
        if self.count == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:  # no sample of this minibatch is here
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with self._together():
            dist.all_reduce(flat)
        for gradient, part in zip(
            gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Returns whether any process says so; all of them wait for each other here."""
        if self.count == 1:
            return flag
        return bool(self.max(torch.tensor(float(flag), device=self.device)).item())

    def agree(self, number: int) -> int:
        """Returns the number that the first process has."""
        if self.count == 1:
            return number
        shared = torch.tensor(number, device=self.device)
        with self._together():
            dist.broadcast(shared, 0)
        return int(shared.item())

    def close(self) -> None:
        """Leaves the group."""
        if self._ours:
            dist.destroy_process_group()
            self._ours = False
