"""What a run tells while it goes on: a line on the terminal, `progress.csv`, TensorBoard."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from selfdrive_env.config.files import write_whole

__all__ = ["Progress", "Stopwatch", "clock_text", "drive_figures"]

LINE_EVERY = 10.0
"""Between lines where the output is no terminal [s]."""


class Stopwatch:
    """Adds up how long parts of the work take; on CUDA the device's time, without waiting for it.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._seconds: dict[str, float] = {}
        self._events: list[tuple[str, Any, Any]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Times what the block does."""
        if self._cuda:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((part, start, end))
            return
        begun = time.perf_counter()
        yield
        self._add(part, time.perf_counter() - begun)

    def _add(self, part: str, seconds: float) -> None:
        self._seconds[part] = self._seconds.get(part, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """Returns part -> seconds since the last call."""
        if self._events:
            torch.cuda.synchronize(self._device)
            for part, start, end in self._events:
                self._add(part, start.elapsed_time(end) / 1000.0)
            self._events.clear()
        taken, self._seconds = self._seconds, {}
        return taken


class Progress:
    """Writes the figures of every update.

    Args:
        folder: Of the run.
        updates: Updates so far; later rows of a run that was cut off are taken back.
        tensorboard: Whether to write event files as well.
    """

    def __init__(self, folder: Path, updates: int, tensorboard: bool) -> None:
        self.path = folder / "progress.csv"
        self._names: list[str] | None = None
        self._told = 0.0
        self._writer: Any = None
        self._take_back(updates)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ImportError(
                    "tensorboard=true needs it: pip install 'selfdrive_env[train]'"
                ) from None
            self._writer = SummaryWriter(str(folder), purge_step=updates + 1)

    def _take_back(self, updates: int) -> None:
        """Keeps the rows of `progress.csv` up to an update."""
        if updates == 0 or not self.path.is_file():
            self.path.unlink(missing_ok=True)
            return
        with open(self.path, newline="", encoding="utf-8") as file:
            head, *rows = list(csv.reader(file)) or [[]]
        kept = [row for row in rows if len(row) == len(head) and int(row[0]) <= updates]
        text = io.StringIO()
        csv.writer(text).writerows([head, *kept])
        write_whole(self.path, text.getvalue().encode(), alone=True)
        self._names = head

    def tell(self, figures: Mapping[str, float], left: float | None) -> None:
        """Writes one row.

        Args:
            figures: `update` first, and always the same names.
            left: Estimated time to the end [s].
        """
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if self._names is None:
                self._names = list(figures)
                writer.writerow(self._names)
            writer.writerow([_short(figures[name]) for name in self._names])
        if self._writer is not None:
            for name, value in figures.items():
                if name != "update":
                    self._writer.add_scalar(name, value, int(figures["update"]))
        self._line(figures, left)

    def _line(self, figures: Mapping[str, float], left: float | None) -> None:
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        if not terminal and now - self._told < LINE_EVERY:
            return
        self._told = now
        busy = max(sum(figures[part] for part in ("simulate", "infer", "learn")), 1e-9)
        text = (
            f"{figures['steps'] / 1e6:9.2f} M  {figures['steps_per_second']:9,.0f}/s  "
            f"simulate {figures['simulate'] / busy:3.0%} infer {figures['infer'] / busy:3.0%} "
            f"learn {figures['learn'] / busy:3.0%}  goals/h {figures['goals_per_hour']:6.1f}  "
            f"incidents/km {figures['incidents_per_km']:6.2f}  kept {figures['kept']:4.0%}  "
            f"ETA {clock_text(left)}"
        )
        print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", flush=True,
              file=sys.stderr)  # fmt: skip

    def close(self) -> None:
        """Ends the line and the event file."""
        if sys.stderr.isatty():
            print(file=sys.stderr)
        if self._writer is not None:
            self._writer.close()


def clock_text(seconds: float | None) -> str:
    """Returns a time as h:mm:ss, "-" for None."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def drive_figures(sums: Mapping[str, float]) -> dict[str, float]:
    """Returns rates of the episodes that ended in a rollout.

    Args:
        sums: Over these: "length" [s], "km", and how often things happened.
    """
    hours, km = sums["length"] / 3600.0, sums["km"]
    incidents = sums["collisions"] + sums["offroad"]
    return {
        "goals_per_hour": sums["goals"] / hours if hours else 0.0,
        "incidents_per_km": incidents / km if km else 0.0,
        "red_lights_per_km": sums["red_lights"] / km if km else 0.0,
        "metres_per_second": km / hours / 3.6 if hours else 0.0,
    }
