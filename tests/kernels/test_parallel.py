from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

from selfdrive_env.kernels.compiling import entry
from selfdrive_env.kernels.parallel import chunks, run
from tests.kernels.conftest import no_jerk, town_engine


@entry
def fill(out, value, worker, first, last):
    for world in range(first, last):
        out[world] += value
        out[world] += 1000 * worker


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (1, 8), (7, 3), (64, 5), (3, 3), (1000, 7)])
def test_chunks_cover_everything_once_and_evenly(count, parts):
    found = chunks(count, parts)
    assert [i for low, high in found for i in range(low, high)] == list(range(count))
    sizes = [high - low for low, high in found]
    assert max(sizes) - min(sizes) <= 1
    assert len(found) == min(count, parts)


def test_every_range_goes_to_a_worker_of_its_own():
    out = np.zeros(10, np.int64)
    run(fill, 10, 4, out, 1)
    wanted = np.concatenate([[1 + 1000 * w] * (b - a) for w, (a, b) in enumerate(chunks(10, 4))])
    np.testing.assert_array_equal(out, wanted)


def test_nothing_is_written_outside_the_range():
    guarded = np.full(30, -7, np.int64)
    run(fill, 10, 3, guarded[10:20], 0)
    assert (guarded[:10] == -7).all()
    assert (guarded[20:] == -7).all()


def test_several_callers_at_once_do_not_disturb_each_other():
    outs = [np.zeros(200, np.int64) for _ in range(6)]
    run(fill, 200, 2, np.zeros(200, np.int64), 0)  # compiled before the threads start

    def work(out):
        for _ in range(100):
            run(fill, 200, 3, out, 1)

    callers = [threading.Thread(target=work, args=(out,)) for out in outs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for out in outs:
        assert (out % 1000 == 100).all()


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
