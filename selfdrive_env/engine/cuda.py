"""A batch of worlds in the memory of a CUDA device, which torch owns.

Buffers are tensors, kernels get the addresses of their tables. Whatever asks for an array of a
struct here (`engine.agents`, `engine.worlds`) gets a copy in host memory. With Numba's CUDA
simulator the same code runs on tensors in host memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from selfdrive_env.compiler.structs import Leaf, Nested, Table, simulate, table_fields
from selfdrive_env.compiler.threads import SIMULATED, WARP
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import BATCH_STRUCTS, Engine
from selfdrive_env.engine.device_pictures import DeviceViews
from selfdrive_env.engine.launch import Launcher
from selfdrive_env.engine.pictures import PICTURES, ViewPlan
from selfdrive_env.kernels.step import STAGGERED, STEP
from selfdrive_env.maps.pool.kept_map import AnyMap
from selfdrive_env.state.arrays import U8, axes, nbytes
from selfdrive_env.state.model import Data, Model
from selfdrive_env.state.world import ACTIONS_KEEP

__all__ = ["DeviceEngine", "HostCopy"]

MOST_THREADS = 256
"""Of a block; worlds of more agents give each thread several."""

ROW_WARPS = 4
"""Warps of a block that write rows, fewer where the rows are long."""

SHARED_BYTES = 48 * 1024
"""Shared memory that a block gets without asking; rows are put together there."""

_WORD = 8

# Elements that torch has no type for, or few operations on, are kept as signed ones of their size.
_TORCH = {
    "float32": torch.float32,
    "int32": torch.int32,
    "uint32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.int16,
}

_ROW_TYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

_own_names = {struct.__name__.lower(): struct for struct in BATCH_STRUCTS}


class HostCopy:
    """A batch as it is now: copies its structs to host memory, each when it is first asked for.

    Args:
        engine: Which.
    """

    def __init__(self, engine: DeviceEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        """Returns a struct of the batch, or another attribute of the engine."""
        value = getattr(self._engine, name)
        if name in _own_names:
            setattr(self, name, value)
        return value


class DeviceEngine(Engine):
    """A batch of worlds on a CUDA device; the interface is that of `Engine`."""

    def __init__(
        self,
        settings: Settings,
        maps: Sequence[AnyMap],
        num_worlds: int,
        driver: U8,
        learner: U8,
        device: torch.device,
        **scenes: Any,
    ) -> None:
        """Makes the buffers on the device and compiles the kernels, or reads them from the cache.

        Args:
            settings: The settings.
            maps: The pool of maps; all are read now, to be copied to the device.
            num_worlds: Worlds of this batch.
            driver: Driver of each slot, [A].
            learner: Whether the caller drives, or learns from, each slot, [A].
            device: Where.
            **scenes: `scenes` and `scene_order` of `Engine`.

        Raises:
            MemoryError: With the size that is needed and the size there is.
            ValueError: If a row does not fit into the shared memory of a block.
        """
        self.device = device
        self.tensors: dict[str, dict[str, torch.Tensor]] = {}
        self._mode = ACTIONS_KEEP
        super().__init__(settings, maps, num_worlds, driver, learner, **scenes)

    def __getattr__(self, name: str) -> Any:
        """Returns a struct of the batch as it is now, copied to host memory."""
        if name not in _own_names or "tensors" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.read(name)

    def read(self, struct: str) -> Any:
        """Returns a copy of a struct in host memory.

        Args:
            struct: Its name, "agents" for `Agents`.
        """
        kind = _own_names[struct]
        types = {name: element for name, (_, element) in axes(kind).items()}
        return kind(
            **{
                name: tensor.cpu().numpy().view(types[name]).copy()
                for name, tensor in self.tensors[struct].items()
            }
        )

    @property
    def tables(self) -> tuple[int, int]:
        """Addresses of tables of `Model`, and of a copy of `Data` as it is now, in host memory."""
        now = HostCopy(self)
        model = Table(Model(*(getattr(now, name) for name in Model._fields)))
        data = Table(Data(*(getattr(now, name) for name in Data._fields)))
        self._copies = model, data
        return model.address, data.address

    @property
    def step_lengths(self) -> Any:
        """How long the next step of each world takes, float32 [W] on the device [s]."""
        return self.tensors["worlds"]["dt"]

    def _sizes(self, rows_per_world: int) -> dict[str, int]:
        sizes = super()._sizes(rows_per_world)
        self._threads = min(MOST_THREADS, WARP * -(-self.num_slots // WARP))
        row_bytes = 4 * sizes["feature"]
        if row_bytes > SHARED_BYTES:
            raise ValueError(
                f"layout has rows of {sizes['feature']} numbers; on a device a row has at most "
                f"{SHARED_BYTES // 4}"
            )
        self._row_threads = WARP * min(ROW_WARPS, SHARED_BYTES // row_bytes)
        self._row_bytes = row_bytes * (self._row_threads // WARP)
        most = max(self._threads, self._row_threads)
        if SIMULATED:
            self._threads = self._row_threads = most = min(self.num_slots, 8)
        wide = self.settings.obs_dtype == "float32"
        rows = sizes["row"]
        return sizes | {
            "worker": self.num_worlds,
            "thread": self.num_worlds * most,
            "staging": self.num_worlds if SIMULATED else 1,
            "full_row": rows if wide else 0,
            "half_row": 0 if wide else rows,
        }

    def _check_memory(self, needed: int) -> None:
        if self.device.type != "cuda":
            return
        free, _ = torch.cuda.mem_get_info(self.device)
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        if needed > free:
            raise MemoryError(
                f"a batch of {self.num_worlds} worlds with {self.num_slots} agents needs "
                f"{needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on {self.device}: take "
                "fewer worlds, layout='lean' or obs_dtype='float16'"
            )

    def _allocate(self, sizes: Mapping[str, int]) -> None:
        self.pool.load_all()
        self.params = self.params._replace(prefetch=0, past_cache=0)
        self._check_memory(self._needed(sizes))
        for struct in BATCH_STRUCTS:
            self.tensors[struct.__name__.lower()] = {
                name: torch.zeros(
                    tuple(int(n) if n.isdigit() else sizes[n] for n in names),
                    dtype=_TORCH[str(element)],
                    device=self.device,
                )
                for name, (names, element) in axes(struct).items()
            }
        records = {name: self._to_device(one) for name, one in self.pool.records.items()}
        for name in ("draws", "lanes", "routes", "grid", "signs", "scenes"):
            self.tensors[name] = {
                field: self._column(records, f"{name}.{field}", array)
                for field, array in getattr(self, name)._asdict().items()
            }
        self._make_tables()
        self._launcher = Launcher(self.device.index or 0)

    def _make_views(self, plans: Sequence[ViewPlan], rows: int) -> None:
        self.views: DeviceViews = DeviceViews(
            plans, rows, self.settings, self.num_worlds, self.pool, self.device
        )

    def _to_device(self, array: NDArray[Any]) -> torch.Tensor:
        """Returns an array as a tensor of the same bits."""
        kind = _TORCH[str(array.dtype)]
        flat = np.ascontiguousarray(array)
        signed = {torch.int32: np.int32, torch.int16: np.int16}.get(kind)
        return torch.from_numpy(flat.view(signed) if signed else flat.copy()).to(self.device)

    def _column(
        self, records: Mapping[str, torch.Tensor], name: str, array: NDArray[Any]
    ) -> torch.Tensor:
        """Returns an array of a map as a tensor, a column of a record where it is one."""
        if name not in self.pool.places:
            return self._to_device(array)
        record, first = self.pool.places[name]
        row = records[record.name][: len(array)]
        last = first + math.prod(array.shape[1:]) * array.itemsize
        return row[:, first:last].view(_TORCH[str(array.dtype)]).view(array.shape)

    def _make_tables(self) -> None:
        """Writes the tables of `Model` and `Data` into one tensor, behind them all scalars."""
        words: list[int] = []
        scalars: list[tuple[int, int]] = []
        firsts = []
        for whole in (Model, Data):
            firsts.append(len(words))
            for name, part in table_fields(whole).items():
                assert isinstance(part, Nested)
                for field, leaf in table_fields(part.struct).items():
                    assert isinstance(leaf, Leaf)
                    if name in self.tensors:
                        tensor = self.tensors[name][field]
                        words += leaf.words(tensor.data_ptr(), tuple(tensor.shape))
                    else:
                        bits = leaf.bits(getattr(getattr(self, name), field))
                        scalars.append((len(words), bits))
                        words += leaf.words(0, ())
        place = len(words)
        self._tables_tensor = torch.zeros(
            place + len(scalars), dtype=torch.int64, device=self.device
        )
        base = self._tables_tensor.data_ptr()
        for number, (word, bits) in enumerate(scalars):
            words[word] = base + _WORD * (place + number)
            words.append(bits)
        self._tables_tensor.copy_(torch.from_numpy(np.array(words, np.int64)))
        self._addresses = tuple(base + _WORD * first for first in firsts)
        if SIMULATED:
            for kind, address in zip((Model, Data), self._addresses, strict=True):
                parts = [self._as_simulated(name) for name in table_fields(kind)]
                simulate(address, kind(*parts))

    def _as_simulated(self, name: str) -> Any:
        """Returns a struct whose arrays are the tensors themselves, for Numba's simulator."""
        if name not in self.tensors:
            return Table(getattr(self, name)).struct
        kind = get_type_hints(Data if name in Data._fields else Model)[name]
        elements = {field: element for field, (_, element) in axes(kind).items()}
        arrays = {f: tensor.numpy().view(elements[f]) for f, tensor in self.tensors[name].items()}
        return kind(**arrays)

    def _needed(self, sizes: Mapping[str, int]) -> int:
        """Returns the bytes of all buffers of the batch."""
        static = (self.lanes, self.routes, self.grid, self.signs, self.scenes)
        maps = sum(array.nbytes for part in static for array in part)
        return maps + sum(nbytes(struct, **sizes) for struct in BATCH_STRUCTS)

    def _write(self, struct: str, **fields: Any) -> None:
        for name, value in fields.items():
            target = self.tensors[struct][name]
            if isinstance(value, torch.Tensor):
                target.copy_(value)
                continue
            element = axes(_own_names[struct])[name][1]
            array = np.broadcast_to(np.asarray(value), tuple(target.shape)).astype(element)
            target.copy_(self._to_device(array))

    @property
    def observations(self) -> Any:
        """Observation rows as the last step or reset left them: a tensor [rows, features]."""
        return self._rows_of("half", "observation")

    @property
    def final_observations(self) -> Any:
        """Last observations of ended episodes; only rows that finished in this step are defined."""
        return self._rows_of("final_half", "final_observation")

    def _rows_of(self, half: str, full: str) -> torch.Tensor:
        kind = self.settings.obs_dtype
        rows = self.tensors["rows"]
        return rows[full] if kind == "float32" else rows[half].view(_ROW_TYPES[kind])

    def hand_out_finals(self) -> Any:
        """Returns `final_observations`."""
        return self.final_observations

    def command(self, actions: Any) -> None:
        """Takes the actions of the next step; the device checks them.

        Args:
            actions: A tensor on the device, or an array.
        """
        discrete = self.settings.action_type == "discrete"
        if self._mode != self.mode:
            self._write("actions", mode=self.mode)
            self._mode = self.mode
        if discrete:
            self._write("actions", choice=actions)
        else:
            self._write("actions", scale=actions)

    def step(self, jerk: Any = None) -> None:
        """Advances all worlds by one step; see `Engine.step`."""
        if jerk is not None:
            self._mode = ACTIONS_KEEP
        super().step(jerk)

    def warm(self) -> bool:
        """Whether the kernels of a step are compiled and loaded."""
        return self._launcher.has_launched("settle")

    def _turn_over(self) -> None:
        """Rows stay where they are."""

    def _run(self, task: int) -> None:
        launch, worlds = self._launcher.launch, self.num_worlds
        rows, shared = self._row_threads, self._row_bytes
        stream = self._stream()
        parts: list[tuple[str, tuple[int, ...]]] = [("advance", ()), ("settle", ())]
        if task != STEP:
            parts = [("begin_reset", ()), ("settle_reset", (int(task == STAGGERED),))]
        for part, (name, arguments) in enumerate(parts):
            launch(name, worlds, self._threads, 0, stream, *self._addresses, *arguments)
            launch("observe", worlds, rows, shared, stream, *self._addresses)
            for kernel, table, threads in self.views.launches():
                block = self._threads if SIMULATED or not threads else threads
                words = (*self._addresses, table, task, part)
                launch(kernel, worlds, block, 0, stream, *words)

    def _stream(self) -> int:
        """Returns the handle of torch's current stream."""
        if self.device.type != "cuda":
            return 0
        return int(torch.cuda.current_stream(self.device).cuda_stream)

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Puts arrays in the place of those named "struct.field"."""
        for name, value in arrays.items():
            struct, field = name.split(".", 1)
            if struct != PICTURES:
                self._write(struct, **{field: value})
        self.views.restore(arrays)
        self._write("scratch", nearest=0, cached_cell=0, kept_way=0)
        if self.settings.autoreset_mode != "SameStep":
            self.final_observations.copy_(self.observations)

    def fault(self) -> int | None:
        """Returns the last row that was given an action that is none, and forgets it."""
        row = int(self.tensors["actions"]["fault"].item()) - 1
        if row < 0:
            return None
        self._write("actions", fault=0)
        return row
