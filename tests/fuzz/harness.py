"""Runs a fuzzer: time, memory and kinds of errors of every input are watched."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import numpy as np

try:
    import resource
except ImportError:  # Windows: neither memory nor time are limited.
    resource = None  # type: ignore[assignment]

Input = TypeVar("Input")

MOST_SECONDS = 10.0
"""Of the processor, for one input."""

MOST_MEMORY = 1e9
"""Above that of the process before the first input [bytes]."""


class TooSlow(BaseException):
    """An input took longer than allowed; no handler of errors catches it by chance."""


def budget(default: int) -> int:
    """Returns how many inputs to try: `FUZZ_BUDGET`, or the default for every day."""
    return int(os.environ.get("FUZZ_BUDGET", default))


def fuzz(
    make: Callable[[np.random.Generator], Input],
    use: Callable[[Input, int], str],
    *,
    seed: int,
    count: int,
    allowed: tuple[type[Exception], ...],
) -> Counter[str]:
    """Makes and uses inputs; raises an AssertionError that names each one that went wrong.

    Args:
        make: Makes an input from a generator of its own.
        use: Uses an input, of which it gets the number, too; returns a word for what became of it.
        seed: Of the fuzzer.
        count: How many inputs; `FUZZ_ONLY` names a single one instead.
        allowed: Errors with which an input may be refused. One of another type is a failure, and
            so is one without a message.

    Returns:
        How many inputs ended with each word, or with an error of each type.
    """
    only = os.environ.get("FUZZ_ONLY")
    numbers = [int(only)] if only else range(count)
    ends: Counter[str] = Counter()
    failures: list[str] = []
    idle = peak_memory()
    for number in numbers:
        one = make(np.random.default_rng([seed, number]))
        try:
            with limited(MOST_SECONDS):
                ends[use(one, number)] += 1
        except allowed as error:
            ends[type(error).__name__] += 1
            if not str(error) or "\n" in str(error):
                failures.append(f"{number}: {type(error).__name__} is no one sentence: {error}")
        except TooSlow:
            failures.append(f"{number}: more than {MOST_SECONDS:g} s\n{traceback.format_exc(8)}")
        except Exception:
            failures.append(f"{number}: {traceback.format_exc(limit=-6)}")
        if peak_memory() - idle > MOST_MEMORY:
            failures.append(f"{number}: {(peak_memory() - idle) / 1e9:.1f} GB above idle")
            break
        if len(failures) >= 5:
            break
    assert not failures, "\n\n".join(f"input {failure}" for failure in failures)
    return ends


def peak_memory() -> float:
    """Returns the most memory that the process has had so far [bytes]."""
    if resource is None:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `TooSlow` in what runs longer, by the clock of the process, not the wall's."""
    if not hasattr(signal, "SIGPROF"):
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
