from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import selfdrive_env
from selfdrive_env.kernels import parallel
from selfdrive_env.kernels.parallel import cached, chunks, entry, run
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


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package's compiled sources, to edit."""
    package = tmp_path / "package"
    for path in Path(selfdrive_env.__file__).parent.rglob("*.py"):
        target = package / path.relative_to(Path(selfdrive_env.__file__).parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return package


def digest_of(package: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(parallel, "__file__", str(package / "kernels" / "parallel.py"))
    return parallel.source_digest.__wrapped__()


def test_the_digest_changes_with_every_source_of_compiled_code(copied, monkeypatch):
    before = digest_of(copied, monkeypatch)
    assert before == digest_of(copied, monkeypatch)
    sources = sorted(p for p in copied.rglob("*.py") if "njit" in p.read_text())
    sources = [p for p in sources if "maps" not in p.parts]  # they keep caches of their own
    assert {"world.py", "road.py", "reward.py"} <= {p.name for p in sources}
    for path in [*sources, copied / "state.py"]:
        text = path.read_text()
        path.write_text(text + "\n# edited\n")
        assert digest_of(copied, monkeypatch) != before, path.name
        path.write_text(text)
    assert before == digest_of(copied, monkeypatch)


def test_compiled_code_goes_to_the_folder_of_the_digest(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path))
    kernel = cached(entry(lambda x: x + np.float32(1.0)))
    assert kernel(np.float32(1.0)) == 2.0
    folder = tmp_path / "kernels" / parallel.source_digest()
    assert list(folder.glob("*.nbi"))
    assert list(folder.glob("*.nbc"))


def test_without_a_writable_folder_kernels_still_compile(tmp_path, monkeypatch, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("SELFDRIVE_CACHE", str(blocker))
    kernel = cached(entry(lambda x: x + np.float32(1.0)))
    assert kernel(np.float32(1.0)) == 2.0
    assert "SELFDRIVE_CACHE" in capsys.readouterr().err


def test_importing_compiles_nothing_and_writes_nothing(tmp_path):
    code = "import selfdrive_env.engine, sys; print(len(sys.modules))"
    environment = {**os.environ, "SELFDRIVE_CACHE": str(tmp_path / "cache")}
    root = str(Path(selfdrive_env.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    assert not (tmp_path / "cache").exists()
