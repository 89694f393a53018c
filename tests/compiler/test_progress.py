"""What is told while kernels compile: true, little, and below no other line."""

from __future__ import annotations

import io
import re
import sys
from types import FunctionType
from typing import Any

import numba
import pytest

from selfdrive_env.compiler import progress
from selfdrive_env.compiler.progress import LAST_SHARE, Progress, parts_of

NAMES = [f"part_{number}" for number in range(20)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands, and a module that has told nothing."""
    for name, value in (("_current", []), ("_read", set()), ("_line", [])):
        monkeypatch.setattr(progress, name, value)
    return Clock()


def entries(number: int = 1) -> list[Any]:
    """Functions that call twenty others of the same length, as compiled ones are called."""
    code = "\n".join(f"def {name}(): pass" for name in NAMES)
    made = []
    for _ in range(number):
        names: dict[str, Any] = {}
        exec(code + "\ndef entry(): " + "; ".join(f"{name}()" for name in NAMES), names)
        for name in NAMES:
            names[name] = type("Compiled", (), {"py_func": staticmethod(names[name])})()
        made.append(names["entry"])
    return made


def compile_with(told: Progress, entry: FunctionType, clock: Clock, seconds: float) -> None:
    """Lets an entry compile, of which the last step takes its share of the time."""
    told.begin(entry)
    for part in parts_of(entry):
        clock.now += (1.0 - LAST_SHARE) * seconds / len(NAMES)
        told.note(part)
    clock.now += LAST_SHARE * seconds
    told.end(entry, True)


def estimates(text: str) -> list[float]:
    """The whole time that each line speaks of [s]."""
    found = re.findall(r"(\d+) s, about (\d+) s to go", text)
    return [float(spent) + float(left) for spent, left in found]


def test_each_part_is_found_once_and_builtins_are_none() -> None:
    (entry,) = entries()
    assert [one.__name__ for one in parts_of(entry)] == NAMES
    assert len(set(parts_of(entry).values())) == 1


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compiling is switched off")
def test_the_parts_of_the_kernels_are_found() -> None:
    from selfdrive_env.engine.cpu import compiled_worlds

    parts = {part.__name__ for part in parts_of(compiled_worlds().py_func)}
    assert len(parts) > 150
    assert parts >= {"advance_world", "observe_wanted", "settle_world", "philox", "take", "finish"}


@pytest.mark.parametrize("seconds", [4.0, 20.0, 90.0])
def test_where_no_terminal_is_few_lines_tell_the_truth(
    clock: Clock, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    (entry,) = entries()
    compile_with(Progress("kernels", [entry], clock), entry, clock, seconds)
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 4
    assert all(line.startswith("selfdrive_env: compiling kernels: ") for line in told.splitlines())
    assert estimates(told) == pytest.approx([seconds] * 3, abs=1.5)
    assert "19 of 20 functions" in told
    assert told.endswith(f": done in {seconds:.1f} s\n")


def test_what_is_quick_is_not_told(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = entries()
    compile_with(Progress("kernels", [entry], clock), entry, clock, 0.9)
    assert capsys.readouterr().err == ""


def test_in_a_terminal_one_line_changes_and_ends(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    (entry,) = entries()
    compile_with(Progress("kernels", [entry], clock), entry, clock, 30.0)
    told = sys.stderr.getvalue()
    assert told.count("\n") == 1 and told.endswith("\n")
    states = told.rstrip("\n").split("\r")[1:]
    assert len(states) == 19  # all parts but the first and second, and the end
    assert {len(state.ljust(79)) for state in states} == {79}
    assert "20 of 20 functions" in states[-2]
    assert states[-1].rstrip() == "selfdrive_env: compiling kernels: done in 30.0 s"


def test_other_lines_stand_below_and_a_failure_leaves_no_half_line(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    (entry,) = entries()
    told = Progress("kernels", [entry], clock)
    told.begin(entry)
    for part in list(parts_of(entry))[:10]:
        clock.now += 1.0
        told.note(part)
    progress.say("another")
    assert re.search(r"to go *\nselfdrive_env: another\n$", sys.stderr.getvalue())
    clock.now += 1.0
    told.note(list(parts_of(entry))[10])
    told.end(entry, False)
    assert re.search(r"to go *\n$", sys.stderr.getvalue())
    assert "done" not in sys.stderr.getvalue()
    told.end(entry, True)
    assert "done" not in sys.stderr.getvalue()


def test_several_entries_are_told_one_by_one(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    several = entries(4)
    progress.read(several[3])
    told = Progress("kernels for the GPU", several, clock)
    for entry in several[:3]:
        compile_with(told, entry, clock, 10.0)
        clock.now += 500.0  # of something else
    lines = capsys.readouterr().err.splitlines()
    head = "selfdrive_env: compiling kernels for the GPU: "
    assert lines == [
        f"{head}1 of 3 kernels, 10 s, about 20 s to go",
        f"{head}2 of 3 kernels, 20 s, about 10 s to go",
        f"{head}done in 30.0 s",
    ]
