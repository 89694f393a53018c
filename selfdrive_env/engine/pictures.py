"""The buffers of pictures: one set of frames and pictures a view, and the hooks that draw them.

What a view shows, and by which kernel, is handed to the engine; see `images.views`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.structs import Table
from selfdrive_env.compiler.workers import address_of
from selfdrive_env.config.images import Picture
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.buffers import Recycler, available_memory, sparse_zeros
from selfdrive_env.maps.pool.map_pool import MapPool
from selfdrive_env.state.arrays import U8, allocate
from selfdrive_env.state.images import CODES, PICTURE_STAGES, Frames

__all__ = ["PICTURES", "PictureBuffers", "ViewPlan", "Views", "check_picture_memory"]

PICTURES = "pictures"
"""What the names of arrays of views begin with in a state."""

KEPT = ("code", "newest", "age")
"""Fields of `Frames` that a state has."""

BUFFERS = 2
"""Pictures of all rows that there are at a time where the caller keeps some."""


@dataclass(frozen=True)
class ViewPlan:
    """A view before its buffers are made."""

    name: str
    """In observations."""

    picture: Picture
    """Its settings."""

    struct: Any
    """Class of what its kernel gets, with fields `lens` and `frames`."""

    parts: Callable[[int, int], Mapping[str, Any]]
    """Makes the fields of that struct but for the frames, for so many rows and workers."""

    kernel: Any
    """Hook of `run_worlds`."""

    tables: Mapping[str, NDArray[Any]]
    """`tint`, `shade` and `word` of `Frames`."""

    empty: int
    """What frames of rows without an agent hold."""

    prepare: Callable[[MapPool, Table], None]
    """Called before worlds are drawn on maps that were filled in: makes what is drawn of them
    ready, and points the fields of the table to it."""

    worker_bytes: int = 0
    """Working memory of each that draws, beside what rows have."""

    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Fields of parts that a state has, too."""


class PictureBuffers:
    """The pictures of one view of all rows of the caller.

    Args:
        plan: What it shows.
        rows: Rows of the caller.
        settings: Of the environment.
        workers: Length of the axis of workers of `Scratch`.
    """

    def __init__(self, plan: ViewPlan, rows: int, settings: Settings, workers: int) -> None:
        self.plan, self.name, self.picture = plan, plan.name, plan.picture
        floats = plan.picture.dtype == "float32"
        finals = rows if settings.autoreset_mode == "SameStep" else 0
        frames = allocate(
            Frames,
            view_row=rows,
            frame=plan.picture.history,
            code_byte=plan.picture.frame_bytes,
            byte_row=0 if floats else rows,
            float_row=rows if floats else 0,
            final_byte_row=0 if floats else finals,
            final_float_row=finals if floats else 0,
            value=int(np.prod(plan.picture.shape)),
            channel=plan.picture.channels,
            code=CODES,
            worker=workers,
            picture_stage=len(PICTURE_STAGES),
        )
        self.frames = frames._replace(**plan.tables)
        self.frames.code[:] = plan.empty
        self.parts = plan.parts(rows, workers)
        self.field, self.final = (
            ("number", "final_number") if floats else ("picture", "final_picture")
        )
        self.table = Table(plan.struct(**self.parts, frames=self.frames))
        self._fresh = Recycler(getattr(self.frames, self.field)) if settings.copy else None
        self._finals_are_out = False

    @property
    def hook(self) -> tuple[int, int]:
        """Addresses of the code that draws, compiled if need be, and of its table."""
        return address_of(self.plan.kernel), self.table.address

    @property
    def pictures(self) -> NDArray[Any]:
        """As the last step or reset left them, [rows, *shape]."""
        return self._shaped(getattr(self.frames, self.field))

    @property
    def final_pictures(self) -> NDArray[Any]:
        """The last of episodes that ended; only rows that finished in this step are defined."""
        return self._shaped(getattr(self.frames, self.final))

    def hand_out_finals(self) -> NDArray[Any]:
        """Returns `final_pictures` for the caller to keep."""
        self._finals_are_out = True
        return self.final_pictures

    def _shaped(self, flat: NDArray[Any]) -> NDArray[Any]:
        return flat.reshape(-1, *self.picture.shape)

    def turn_over(self) -> None:
        """Goes on in other buffers, so that a caller may keep the present ones."""
        if self._fresh is not None:
            self._point(self.field, self._fresh.take())
        if self._finals_are_out:
            finals = getattr(self.frames, self.final)
            self._point(self.final, sparse_zeros(finals.shape, finals.dtype))
            self._finals_are_out = False

    def _point(self, field: str, array: NDArray[Any]) -> None:
        self.table["frames"].point(field, array)
        self.frames = self.frames._replace(**{field: array})

    def state(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that a state has, by name."""
        start = f"{PICTURES}.{self.name}"
        return {
            f"{start}.{one}" if part == "frames" else f"{start}.{part}.{one}": array
            for (part, one), array in self.kept().items()
        }

    def kept(self) -> dict[tuple[str, str], NDArray[Any]]:
        """Returns the same arrays by part and field."""
        parts = {"frames": self.frames, **self.parts}
        fields = {"frames": KEPT, **self.plan.kept}
        return {(part, one): getattr(parts[part], one) for part in fields for one in fields[part]}

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raises a ValueError for arrays of a state that kernels could not read."""
        name = f"{PICTURES}.{self.name}.newest"
        newest, most = arrays[name], self.picture.history
        if ((newest < 0) | (newest >= most)).any():
            raise ValueError(f"state entry {name!r} must be from 0 to {most - 1}")

    def show(self) -> None:
        """Puts all pictures together from their frames, as the kernel does."""
        frames = self.frames
        table = frames.shade if self.field == "number" else frames.tint
        history = frames.code.shape[1]
        rows = np.arange(len(frames.code))
        out = self.pictures
        for number in range(history):
            code = frames.code[rows, (frames.newest + 1 + number) % history]
            first = number * len(table)
            if not table.shape[1]:  # colours as they are
                self._show_colours(out, code, first)
                continue
            for channel, values in enumerate(table):
                one = values[code].reshape(-1, self.picture.height, self.picture.width)
                if self.picture.channels_first:
                    out[:, first + channel] = one
                else:
                    out[..., first + channel] = one

    def _show_colours(self, out: NDArray[Any], code: U8, first: int) -> None:
        """Puts frames that hold red, green and blue of each pixel into pictures."""
        values: NDArray[Any] = code.reshape(-1, self.picture.height, self.picture.width, 3)
        if out.dtype != np.uint8:
            values = values * np.float32(1.0 / 255.0)
        if self.picture.channels_first:
            out[:, first : first + 3] = values.transpose(0, 3, 1, 2)
        else:
            out[..., first : first + 3] = values


class Views:
    """All views of an engine.

    Args:
        plans: What they show.
        rows: Rows of the caller.
        settings: Of the environment.
        workers: Length of the axis of workers of `Scratch`.
    """

    def __init__(
        self, plans: Sequence[ViewPlan], rows: int, settings: Settings, workers: int
    ) -> None:
        check_picture_memory([plan.picture for plan in plans], rows, settings)
        self.all = [PictureBuffers(plan, rows, settings, workers) for plan in plans]

    def __getitem__(self, name: str) -> PictureBuffers:
        """Returns the view of a name."""
        return next(view for view in self.all if view.name == name)

    @property
    def hooks(self) -> list[int]:
        """Words of `run_worlds` from `HOOKS` on."""
        return [len(self.all), *(word for view in self.all for word in view.hook)]

    def prepare(self, pool: MapPool) -> None:
        """Makes ready what is drawn of maps that were filled in."""
        for view in self.all:
            view.plan.prepare(pool, view.table)

    def turn_over(self) -> None:
        """Goes on in other buffers, so that a caller may keep the present ones."""
        for view in self.all:
            view.turn_over()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays that a state has, by name."""
        return {name: one for view in self.all for name, one in view.state().items()}

    def check(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Raises a ValueError for arrays of a state that kernels could not read."""
        for view in self.all:
            view.check(arrays)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes the arrays of a state, and shows its pictures."""
        for name, target in self.arrays().items():
            target[...] = arrays[name]
        for view in self.all:
            view.show()


def check_picture_memory(
    pictures: Sequence[Picture],
    rows: int,
    settings: Settings,
    *,
    work: int = 0,
    available: int | None = None,
) -> None:
    """Refuses pictures that take more memory than there is, before anything is allocated.

    Args:
        pictures: Of each row.
        rows: Of the caller.
        settings: Of the environment.
        work: Bytes that those who draw take beside them.
        available: Bytes that there are; None asks the system.

    Raises:
        MemoryError: With the size that is needed, the size there is, and how many rows would fit.
    """
    kept = BUFFERS * (1 + (settings.autoreset_mode == "SameStep")) if settings.copy else 2
    a_row = sum(
        kept * one.nbytes + one.history * one.frame_bytes + one.label_bytes for one in pictures
    )
    available = available_memory() if available is None else available
    needed = rows * a_row + work
    if available is None or needed <= available:
        return
    raise MemoryError(
        f"pictures of {rows} rows need {needed / 1e9:.1f} GB and {available / 1e9:.1f} GB are "
        f"available: {available * rows // needed} rows would fit, or take a smaller size, "
        "history=1, colour='gray', dtype='uint8' or copy=False"
    )
