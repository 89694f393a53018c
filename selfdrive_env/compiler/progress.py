"""What the user is told while kernels compile: how many of how many, and how long it will take.

The estimate is the time so far over the share done, so it holds on any machine and under any load.
Functions count by the length of their bytecode: over the whole of `run_worlds` the front end keeps
to that within 5 % of its time. What follows it, LLVM's work on all of them at once, has a share of
its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Count", "Progress", "begin", "end", "note", "read", "say"]

LAST_SHARE = 0.22
"""Of the time to compile an entry: LLVM's, after the last function (0.20 to 0.26 measured)."""

FIRST_TIME, FIRST_SHARE = 1.0, 0.1
"""Nothing is estimated before so long [s] and so large a share."""

PLAIN_SHARES = (FIRST_SHARE, 0.4, 0.72)
"""Where no terminal is, a line tells of each of these once."""

FEW_PARTS = 10
"""So few parts of an entry are not told one by one: those of the map compiler have two at most."""

REFRESH = 0.1
"""Least time between two states of the line in a terminal [s]."""

WIDTH = 79
"""Of that line: what is left of a longer one is covered [characters]."""


def parts_of(function: Callable[..., Any]) -> dict[Any, int]:
    """Returns what compiles with a function: each function it reaches, and its length in bytes.

    Args:
        function: Plain Python, as the kernels and all they call are written.
    """
    found: dict[Any, int] = {}
    waiting = [function]
    while waiting:
        one = waiting.pop()
        for name in one.__code__.co_names:
            called = getattr(one.__globals__.get(name), "py_func", None)
            if called is not None and called not in found:
                found[called] = len(called.__code__.co_code)
                waiting.append(called)
    return found


class Progress:
    """Tells of an entry that compiles, or of several that do so one after the other.

    Args:
        name: What compiles.
        entries: Functions that Python calls. Of one, its parts are told; of several, themselves.
        clock: Gives the time [s].
    """

    def __init__(
        self,
        name: str,
        entries: Iterable[Callable[..., Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.entries = tuple(entries)
        self._name, self._clock = name, clock
        self._parts = {one: parts_of(one) for one in self.entries}
        self._entry: Any = None
        self._noted: set[Any] = set()
        self._ended: set[Any] = set()
        self._spent = self._since = 0.0
        self._shown: float | None = None
        self._plain = list(PLAIN_SHARES)

    @property
    def share(self) -> float:
        """Of the work that is done, from 0 to 1."""
        size = {one: sum(parts.values()) + 1 for one, parts in self._parts.items()}
        done = float(sum(size[one] for one in self._ended))
        if self._entry is not None:
            parts = self._parts[self._entry]
            done += (1.0 - LAST_SHARE) * sum(parts[one] for one in self._noted)
        return done / sum(size[one] for one in self.entries if one not in _read)

    @property
    def time(self) -> float:
        """For which it has compiled [s]."""
        return self._spent + (0.0 if self._entry is None else self._clock() - self._since)

    def begin(self, entry: Callable[..., Any]) -> None:
        """Takes notice that an entry compiles from now on."""
        self._entry, self._since = entry, self._clock()
        self._noted.clear()

    def note(self, function: Callable[..., Any]) -> None:
        """Takes notice of a function that is through the front end."""
        if self._entry is not None and function in self._parts[self._entry]:
            self._noted.add(function)
            if len(self.entries) == 1 and len(self._parts[self._entry]) > FEW_PARTS:
                self._tell_parts()

    def end(self, entry: Callable[..., Any], whole: bool) -> None:
        """Takes notice that an entry compiles no more; nothing if it did not."""
        if self._entry is not entry:
            return
        self._spent, self._entry = self.time, None
        if not whole:
            _break_line()
            return
        self._ended.add(entry)
        if not {*self.entries} <= self._ended | _read:
            self._tell(len(self._ended), len({*self.entries} - _read), "kernels", live=False)
        elif self._shown is not None:
            _replace_line(f"compiling {self._name}: done in {self._spent:.1f} s")

    def _tell_parts(self) -> None:
        """Tells how far an entry is, in a terminal often and elsewhere few times."""
        share, live = self.share, _in_terminal()
        passed = share >= self._plain[0] if self._plain else False
        recent = self._shown is not None and self._clock() - self._shown < REFRESH
        if not passed and (recent or not live):
            return
        if self.time >= FIRST_TIME:
            self._plain = [one for one in self._plain if one > share]
        self._tell(len(self._noted), len(self._parts[self._entry]), "functions", live=live)

    def _tell(self, done: int, of: int, what: str, *, live: bool) -> None:
        """Tells of the share and the time so far, and how long it will take."""
        spent = self.time
        if spent < FIRST_TIME or self.share < FIRST_SHARE:
            return
        self._shown = self._clock()
        left = max(spent / self.share - spent, 1.0)
        text = f"compiling {self._name}: {done} of {of} {what}, {spent:.0f} s"
        (_show if live else say)(f"{text}, about {left:.0f} s to go")


_current: list[Progress] = []
_read: set[Any] = set()
"""Entries that were on disk."""

_line: list[str] = []
"""The line in the terminal that is not finished."""


def begin(name: str, entry: Callable[..., Any], together: tuple[Callable[..., Any], ...]) -> None:
    """Tells of an entry that compiles from now on.

    Args:
        name: What compiles.
        entry: What Python calls.
        together: Entries that are told of as one, in case there are others.
    """
    if not (together and _current and _current[0].entries == together):
        _current[:] = [Progress(name, together or (entry,))]
    _read.discard(entry)
    _current[0].begin(entry)


def note(function: Callable[..., Any]) -> None:
    """Takes notice of a function that is through the front end."""
    for progress in _current:
        progress.note(function)


def end(entry: Callable[..., Any], *, whole: bool) -> None:
    """Takes notice that an entry compiles no more; nothing if it did not.

    Args:
        entry: What Python calls.
        whole: Whether it can be called now.
    """
    for progress in _current:
        progress.end(entry, whole)


def read(entry: Callable[..., Any]) -> None:
    """Takes notice of an entry that was on disk: nobody has to wait for it."""
    _read.add(entry)


class Count:
    """Tells how many of several things are made, in a terminal often and elsewhere few times.

    Args:
        title: What is done, "building maps".
        of: How many things there are.
        clock: Gives the time [s].
    """

    def __init__(self, title: str, of: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._of, self._clock = title, of, clock
        self._since = self._last = clock()
        self._plain = list(PLAIN_SHARES)
        self._told = False

    def tell(self, done: int) -> None:
        """Tells that so many are made."""
        now, share = self._clock(), done / self._of
        spent = now - self._since
        if done >= self._of:
            if self._told:
                _replace_line(f"{self._title}: done in {spent:.1f} s")
            return
        live = _in_terminal()
        passed = bool(self._plain) and share >= self._plain[0]
        if spent < FIRST_TIME or share <= 0.0 or (not passed and not live):
            return
        if not passed and now - self._last < REFRESH:
            return
        self._plain = [one for one in self._plain if one > share]
        self._last, self._told = now, True
        left = max(spent / share - spent, 1.0)
        text = f"{self._title}: {done} of {self._of}, {spent:.0f} s, about {left:.0f} s to go"
        (_show if live else say)(text)


def say(text: str) -> None:
    """Prints a line on stderr, below the one that was not finished."""
    _break_line()
    print(f"selfdrive_env: {text}", file=sys.stderr, flush=True)


def _in_terminal() -> bool:
    return bool(sys.stderr is not None and sys.stderr.isatty())


def _show(text: str) -> None:
    """Shows a line that the next one takes the place of."""
    _line[:] = [text]
    print(f"\rselfdrive_env: {text}".ljust(WIDTH), end="", file=sys.stderr, flush=True)


def _break_line() -> None:
    """Begins a new line after one that was not finished."""
    if _line:
        _line.clear()
        print(file=sys.stderr, flush=True)


def _replace_line(text: str) -> None:
    """Says the last line, in the place of the one that was not finished."""
    if _line:
        _show(text)
        _break_line()
    else:
        say(text)
