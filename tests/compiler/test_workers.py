from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest

from selfdrive_env.compiler import workers as parallel
from selfdrive_env.compiler.njit import entry
from selfdrive_env.compiler.structs import Table, struct_at
from selfdrive_env.compiler.workers import ARGUMENTS, finish, run, take
from selfdrive_env.state.arrays import I64, axes
from tests import PATIENCE
from tests.kernels.conftest import no_jerk, town_engine


class Cells(NamedTuple):
    times: Annotated[I64, "world"]
    worker: Annotated[I64, "world"]
    rounds: Annotated[I64, "one"]


@entry
def fill(control, worker):
    """Counts how often each world is worked on, by whom, with some work in between."""
    while True:
        world = take(control, worker)
        if world < 0:
            return
        cells = struct_at(Cells, control[ARGUMENTS])
        value = 0
        for number in range(cells.rounds[0]):
            value ^= number * world
        cells.times[world] += 1 + (value & 0)
        cells.worker[world] = worker
        finish(control)


class Work:
    """Cells for a number of worlds, and the arguments of a task on them."""

    def __init__(self, count: int, rounds: int = 0) -> None:
        self.cells = Cells(np.zeros(count, np.int64), np.full(count, -1), np.array([rounds]))
        self.table = Table(self.cells)
        self.arguments = np.array([self.table.address], np.int64)

    def run(self, num_threads: int, stage: Any = fill) -> None:
        run(stage, len(self.cells.times), num_threads, self.arguments)


def controls(stage: Any) -> list[I64]:
    return [
        pool._control
        for (_, kind, _), pools in parallel._idle.items()
        for pool in pools
        if kind is stage
    ]


@pytest.mark.parametrize(("count", "threads"), [(1, 1), (1, 8), (7, 3), (64, 5), (3, 3), (1000, 7)])
def test_every_world_is_worked_on_once(count, threads):
    work = Work(count)
    for turn in range(50):
        work.run(threads)
        assert (work.cells.times == turn + 1).all()
        assert ((work.cells.worker >= 0) & (work.cells.worker < threads)).all()


def test_helpers_take_part():
    work, found = Work(64, rounds=20_000), set()
    end = time.monotonic() + PATIENCE
    while len(found) < 2 and time.monotonic() < end:
        work.run(2)
        found |= set(work.cells.worker.tolist())
    assert found == {0, 1}


def test_the_caller_does_not_wait_for_helpers_that_do_not_come(monkeypatch):
    monkeypatch.setattr(parallel.ThreadPool, "_wake", lambda pool: None)
    work = Work(20)
    for _ in range(3):
        work.run(6)  # a size of its own, so that its helpers have never run
    assert (work.cells.times == 3).all()
    assert (work.cells.worker == 0).all()


def test_nothing_is_left_to_do_after_a_task():
    """Then no helper looks at the caller's arrays, which may be gone."""
    for _ in range(20):
        Work(50, rounds=100).run(3)
        for control in controls(fill):
            assert control[parallel.PENDING] == control[parallel.POSTED] == 0
            worlds = int(control[parallel.WORLDS])
            assert worlds >> 32 == worlds & parallel.LAST


def test_helpers_sleep_soon_after_a_task():
    work = Work(50, rounds=100)
    for _ in range(20):
        work.run(4)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_several_callers_at_once_do_not_disturb_each_other():
    works = [Work(200) for _ in range(6)]

    def call(work):
        for _ in range(100):
            work.run(3)

    callers = [threading.Thread(target=call, args=(work,)) for work in works]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for work in works:
        assert (work.cells.times == 100).all()


def test_a_stage_that_fails_before_it_begins_says_so():
    def broken(control, worker):
        raise ValueError("does not compile")

    work = Work(5)
    for _ in range(2):
        with pytest.raises(ValueError, match="does not compile"):
            work.run(2, broken)


def test_an_interrupt_comes_after_all_worlds_are_finished():
    def interrupted(control, worker):
        fill(control, worker)
        if worker == 0:
            raise KeyboardInterrupt

    work = Work(40, rounds=1000)
    for turn in range(10):
        with pytest.raises(KeyboardInterrupt):
            work.run(2, interrupted)
        assert (work.cells.times == turn + 1).all()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")
def test_a_signal_leaves_whole_tasks():
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    work, before = Work(40, rounds=1000), signal.signal(signal.SIGALRM, ring)
    work.run(2)
    try:
        for turn in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.003 + 0.0001 * turn)
            with pytest.raises(Alarm):
                while True:
                    work.run(2)
            assert len(set(work.cells.times.tolist())) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_a_process_ends_while_helpers_look_for_work():
    code = """
from tests.compiler.test_workers import Work
work = Work(50, rounds=1000)
for _ in range(30):
    work.run(4)
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("agents", [1, 6, 32])
def test_threads_write_to_cache_lines_of_their_own(agents):
    engine = town_engine(agents_per_world=agents, num_threads=2)
    for name, (names, _) in axes(type(engine.scratch)).items():
        array = getattr(engine.scratch, name)
        if names[0] == "worker" and array.size:
            first, second = array[0], array[len(array) // 2]
            end = first.ctypes.data + first.nbytes
            assert second.ctypes.data - end >= 64, name


def test_engines_step_in_several_python_threads():
    engines = [town_engine(worlds=4, agents_per_world=8, num_threads=2) for _ in range(3)]

    def work(engine):
        for _ in range(30):
            engine.step(no_jerk(engine))

    work(town_engine(worlds=4, agents_per_world=8, num_threads=2))
    callers = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for engine in engines[1:]:
        assert engine.agents.x.tobytes() == engines[0].agents.x.tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="forks as Gymnasium does on Linux")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_steps_on():
    engine = town_engine(worlds=4, agents_per_world=8, num_threads=2)
    engine.step(no_jerk(engine))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            engine.step(no_jerk(engine))
            os.write(write, engine.agents.x.tobytes())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    engine.step(no_jerk(engine))
    assert found == engine.agents.x.tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="forks as Gymnasium does on Linux")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_children_that_are_forked_in_the_middle_of_a_task_work_on():
    done = threading.Event()
    busy, work = Work(64, rounds=2000), Work(64)
    work.run(2)

    def keep_busy():
        while not done.is_set():
            busy.run(2)

    caller = threading.Thread(target=keep_busy)
    caller.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(round(PATIENCE))
                for _ in range(5):
                    work.run(2)
                os._exit(0 if (work.cells.times == 6).all() else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        caller.join()
    assert len(set(busy.cells.times.tolist())) == 1
