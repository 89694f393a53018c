"""Pictures on a CUDA device: frames, pictures and the baked ground of all maps, in tensors.

A view from above is drawn by the threads of a step. A warp that draws what a camera sees needs a
buffer of depths besides, so a camera has as many warps a world as `WORK_BYTES` allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfdrive_env.compiler.structs import Leaf, Nested, Table, simulate, table_fields
from selfdrive_env.compiler.threads import SIMULATED, WARP
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.pictures import (
    PictureBuffers,
    ViewPlan,
    Views,
    check_picture_memory,
)
from selfdrive_env.maps.pool.map_pool import MapPool
from selfdrive_env.state.arrays import axes

__all__ = ["DeviceViews"]

WORK_BYTES = 2 * 2**30
"""A camera works with no more, unless one warp a world takes more."""

MOST_WARPS = 8
"""Of a world that draw what a camera sees."""

_WORD = 8
_SIGNED = {"uint32": np.int32, "uint16": np.int16}


class DevicePictures:
    """The pictures of one view, in tensors.

    Args:
        plan: What it shows.
        rows: Rows of the caller.
        settings: Of the environment.
        worlds: Of the batch.
        pool: Maps, all of them filled in.
        device: Where.
    """

    def __init__(
        self, plan: ViewPlan, rows: int, settings: Settings, worlds: int, pool: MapPool,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.warps = _warps_of(plan, rows, worlds)
        self.host = PictureBuffers(plan, rows, settings, worlds * max(self.warps, 1))
        self.plan, self.name, self.picture = plan, plan.name, plan.picture
        plan.prepare(pool, self.host.table)
        struct = self.host.table.struct
        self._kind: Any = type(struct)
        self.tensors: dict[str, dict[str, torch.Tensor]] = {}
        for name, part in struct._asdict().items():
            if axes(type(part)):  # no struct of scalars
                arrays = part._asdict()
                self.tensors[name] = {field: _tensor(one, device) for field, one in arrays.items()}
        self._make_table(struct, device)

    def _make_table(self, struct: Any, device: torch.device) -> None:
        """Writes the table that the kernel gets, behind it all scalars."""
        words: list[int] = []
        scalars: list[tuple[int, int]] = []
        for name, part in table_fields(self._kind).items():
            assert isinstance(part, Nested)
            for field, leaf in table_fields(part.struct).items():
                assert isinstance(leaf, Leaf)
                if name in self.tensors:
                    tensor = self.tensors[name][field]
                    words += leaf.words(tensor.data_ptr(), tuple(tensor.shape))
                else:
                    scalars.append((len(words), leaf.bits(getattr(getattr(struct, name), field))))
                    words += leaf.words(0, ())
        first = len(words)
        self._table = torch.zeros(first + len(scalars), dtype=torch.int64, device=device)
        self.address = self._table.data_ptr()
        for number, (word, bits) in enumerate(scalars):
            words[word] = self.address + _WORD * (first + number)
            words.append(bits)
        self._table.copy_(torch.from_numpy(np.array(words, np.int64)))
        if SIMULATED:
            parts = {name: self._as_simulated(struct, name) for name in struct._fields}
            simulate(self.address, self._kind(**parts))

    def _as_simulated(self, struct: Any, name: str) -> Any:
        """Returns a part whose arrays are the tensors themselves, for Numba's simulator."""
        part = getattr(struct, name)
        if name not in self.tensors:
            return Table(part).struct
        kinds = {field: one.dtype for field, one in part._asdict().items()}
        return type(part)(**{f: t.numpy().view(kinds[f]) for f, t in self.tensors[name].items()})

    @property
    def pictures(self) -> torch.Tensor:
        """See `PictureBuffers.pictures`."""
        return self._shaped(self.host.field)

    @property
    def final_pictures(self) -> torch.Tensor:
        """See `PictureBuffers.final_pictures`."""
        return self._shaped(self.host.final)

    @property
    def parts(self) -> dict[str, Any]:
        """See `ViewPlan.parts`: structs of tensors, as "shots" of a camera with its labels."""
        made = self.host.parts
        return {
            name: type(part)(**self.tensors[name]) if name in self.tensors else part
            for name, part in made.items()
        }

    def _shaped(self, field: str) -> torch.Tensor:
        return self.tensors["frames"][field].view(-1, *self.picture.shape)

    def state(self) -> dict[str, NDArray[Any]]:
        """See `PictureBuffers.state`: copies in host memory."""
        for (part, one), array in self.host.kept().items():
            array[...] = self.tensors[part][one].cpu().numpy()
        return self.host.state()

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See `PictureBuffers.check`."""
        self.host.check(arrays)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes the arrays of a state, and shows its pictures."""
        for name, array in self.host.state().items():
            array[...] = arrays[name]
        self.host.show()
        shown = {("frames", self.host.field): getattr(self.host.frames, self.host.field)}
        for (part, one), array in {**self.host.kept(), **shown}.items():
            self.tensors[part][one].copy_(torch.from_numpy(array))


def _tensor(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Returns an array as a tensor of the same bits."""
    signed = _SIGNED.get(str(array.dtype))
    flat = np.ascontiguousarray(array)
    tensor = torch.from_numpy(flat.view(signed) if signed else flat)
    if not array.any():  # the host keeps no memory for zeros that nobody has written
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
    return tensor.clone().to(device)


def _warps_of(plan: ViewPlan, rows: int, worlds: int) -> int:
    """Returns how many warps of each world draw a view, 0 for those of a step."""
    if not plan.worker_bytes:
        return 0
    if SIMULATED:  # a block is one warp there
        return 1
    fitting = WORK_BYTES // (worlds * plan.worker_bytes)
    return max(1, min(MOST_WARPS, rows // worlds, fitting))


def _check_memory(
    plans: Sequence[ViewPlan], rows: int, settings: Settings, worlds: int, device: torch.device
) -> None:
    """Refuses views for which the device, and the host beside it, have no memory."""
    work = sum(worlds * _warps_of(one, rows, worlds) * one.worker_bytes for one in plans)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    pictures = [plan.picture for plan in plans]
    check_picture_memory(pictures, rows, settings, work=work, available=free)


class DeviceViews(Views):
    """All views of an engine on a device; see `Views`.

    Args:
        plans: What they show.
        rows: Rows of the caller.
        settings: Of the environment.
        worlds: Of the batch.
        pool: Maps, all of them filled in.
        device: Where.
    """

    def __init__(
        self, plans: Sequence[ViewPlan], rows: int, settings: Settings, worlds: int, pool: MapPool,
        device: torch.device,
    ) -> None:  # fmt: skip
        _check_memory(plans, rows, settings, worlds, device)
        self.all: list[Any] = [
            DevicePictures(plan, rows, settings, worlds, pool, device) for plan in plans
        ]

    def prepare(self, pool: MapPool) -> None:
        """All maps have been baked."""

    def turn_over(self) -> None:
        """Pictures stay where they are."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See `Views.restore`."""
        for view in self.all:
            view.restore(arrays)

    def launches(self) -> Iterator[tuple[str, int, int]]:
        """Yields the kernel that draws each view, by its name in `engine.launch`.

        Yields:
            Its name, its table, and the threads of a block; 0 for those of a step.
        """
        for view in self.all:
            yield f"draw_{view.plan.picture.kind}", view.address, WARP * view.warps
