"""Compiled kernels on disk: never stale, never in the way."""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llvmlite
import numba
import numpy as np
import pytest

import selfdrive_env
from selfdrive_env.compiler import cache
from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.njit import entry
from tests import PATIENCE

PACKAGE = Path(selfdrive_env.__file__).parent
DAY = 86400.0
COMPILED = {"njit", "inline", "entry", "intrinsic", "overload"}

TINY = """
from selfdrive_env.compiler.njit import entry
from selfdrive_env.kernels.tiny_helper import times
@entry
def tiny(x):
    return times(x)
"""
HELPER = """
from selfdrive_env.compiler.njit import njit
FACTOR = 2
@njit
def times(x):
    return FACTOR * x
"""
# With a folder as its argument it waits there for a file "go" before it compiles.
PROGRAM = """
import sys, time
from pathlib import Path
from selfdrive_env.compiler.cache import cached
from selfdrive_env.kernels.tiny import tiny
compile_now = tiny._compiler.compile
def slowly(*arguments):
    pace = Path(sys.argv[1])
    (pace / "started").touch()
    while not (pace / "go").exists():
        time.sleep(0.01)
    return compile_now(*arguments)
if sys.argv[1:]:
    tiny._compiler.compile = slowly
print(cached(tiny)(10), tiny.stats.cache_misses.total())
"""

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compiling is switched off")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels of this test go; not made yet."""
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_told", set())
    return tmp_path / "cache" / "kernels" / cache.source_digest()


def make_kernel() -> Any:
    """The same function each time, compiled anew or read."""

    @entry
    def plus_one(x):
        return x + np.float32(1.0)

    return cached(plus_one)


def misses(kernel: Any) -> int:
    """Calls a kernel; returns how often it was compiled."""
    assert kernel(np.float32(1.0)) == 2.0
    return int(kernel.stats.cache_misses.total())


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the package to edit, with two small kernels of its own."""
    package = tmp_path / "copy" / "selfdrive_env"
    # Bytecode goes along, and is good for files that are not edited: it tells by their times.
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("*.pyc.*"))
    (package / "kernels" / "tiny.py").write_text(TINY)
    (package / "kernels" / "tiny_helper.py").write_text(HELPER)
    return package


def start(copied: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SELFDRIVE_CACHE": str(copied.parents[1] / "cache")}
    environment |= {"PYTHONPATH": str(copied.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PROGRAM, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=copied.parent, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[list[int], str]:
    """The value of the kernel and how often it was compiled, and what was said."""
    out, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    return [int(word) for word in out.split()], error


def digest_of(package: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cache, "__file__", str(package / "compiler" / "cache.py"))
    return cache.source_digest.__wrapped__()


def test_an_edit_of_an_imported_kernel_is_seen_by_the_next_process(copied):
    assert finish(start(copied))[0] == [20, 1]
    assert finish(start(copied))[0] == [20, 0]
    helper = copied / "kernels" / "tiny_helper.py"
    helper.write_text(helper.read_text().replace("FACTOR = 2", "FACTOR = 3"))
    assert finish(start(copied))[0] == [30, 1]


def test_the_digest_changes_with_every_source_of_compiled_code(copied, monkeypatch):
    before = digest_of(copied, monkeypatch)
    assert before == digest_of(copied, monkeypatch)
    inner = copied / "kernels" / "inner" / "deep.py"
    inner.parent.mkdir()
    inner.write_text("")
    assert digest_of(copied, monkeypatch) != before
    before = digest_of(copied, monkeypatch)
    places = [copied / name for name in cache._SOURCES]
    sources = [
        path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))
    ]
    assert {"structs.py", "road.py", "reward.py", "deep.py"} <= {path.name for path in sources}
    for path in sources:
        text = path.read_text()
        path.write_text(text + "\n# edited\n")
        assert digest_of(copied, monkeypatch) != before, path.name
        path.write_text(text)
    assert before == digest_of(copied, monkeypatch)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (numba, "__version__", "0"),
        (llvmlite, "__version__", "0"),
        (np, "__version__", "0"),
        (numba.config, "BOUNDSCHECK", 1),
        (numba.config, "OPT", 1),
    ],
)
def test_the_digest_changes_with_versions_and_options(monkeypatch, module, name, value):
    before = cache.source_digest.__wrapped__()
    monkeypatch.setattr(module, name, value)
    assert cache.source_digest.__wrapped__() != before


def imported_from(tree: ast.Module) -> dict[str, str]:
    """Name -> module of the package that it is imported from."""
    return {
        alias.asname or alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("selfdrive_env")
        for alias in node.names
    }


def compiled_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {ast.unparse(d).split("(")[0] for d in node.decorator_list}
            if names & COMPILED:
                yield node


def is_covered(module, covered):
    inside = module.removeprefix("selfdrive_env.")
    return any(inside == one or inside.startswith(f"{one}.") for one in covered)


def test_compiled_code_depends_on_nothing_outside_the_digest():
    covered = tuple(name.removesuffix(".py").replace("/", ".") for name in cache._SOURCES)
    found = 0
    for path in [*(PACKAGE / "kernels").rglob("*.py"), *(PACKAGE / "compiler").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        places = imported_from(tree)
        outside = [module for module in places.values() if not is_covered(module, covered)]
        assert outside == [], path.name
        for function in compiled_functions(tree):
            found += 1
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            used = [places[name] for name in names & set(places)]
            assert all(is_covered(one, covered) for one in used), f"{path.name}: {function.name}"
    assert found > 100


def test_code_of_another_processor_is_not_read(folder):
    assert misses(make_kernel()) == 1
    (path,) = folder.glob("*.nbc")
    cache = make_kernel()._cache
    signature = (numba.float32,)
    codegen = numba.core.registry.cpu_target.target_context.codegen()
    assert cache._path(signature, codegen) == path
    triple, processor, features = codegen.magic_tuple()
    for other in ((triple, "generic", features), (triple, processor, "-avx2")):
        assert cache._path(signature, SimpleNamespace(magic_tuple=lambda m=other: m)) != path


def test_compiled_code_goes_to_a_private_folder_of_the_digest(folder):
    assert not folder.exists()
    assert misses(make_kernel()) == 1
    assert list(folder.glob("*.nbc"))
    if os.name == "posix":
        for made in (folder, folder.parent):
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert misses(make_kernel()) == 0


def test_the_user_is_told_once_that_kernels_compile(folder, capsys):
    assert misses(make_kernel()) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "selfdrive_env: compiling kernels, once: later starts read them\n"
    other = cached(entry(lambda x: x * x))
    assert other(3) == 9 and other(2.0) == 4.0
    assert capsys.readouterr().err == ""


def test_reading_kernels_says_nothing(folder, capsys, monkeypatch):
    misses(make_kernel())
    capsys.readouterr()
    monkeypatch.setattr(cache, "_told", set())
    assert misses(make_kernel()) == 0
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_made_costs_one_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, "_told", set())
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("SELFDRIVE_CACHE", str(blocker))
    for _ in range(2):
        kernel = make_kernel()
        assert misses(kernel) == 1
        assert not kernel._cache.kept
    error = capsys.readouterr().err
    assert error.count("SELFDRIVE_CACHE") == error.count(str(blocker / "kernels")) == 1
    assert "once" not in error


def test_without_a_home_kernels_still_compile(monkeypatch, capsys):
    def unknown():
        raise RuntimeError("no home")

    monkeypatch.setattr(cache, "_told", set())
    monkeypatch.setattr(Path, "home", unknown)
    for name in ("SELFDRIVE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert misses(make_kernel()) == 1
    assert "no home" in (error := capsys.readouterr().err)
    assert "SELFDRIVE_CACHE" in error


def test_a_full_folder_that_may_only_be_read_is_used(folder, monkeypatch, capsys):
    assert misses(make_kernel()) == 1
    capsys.readouterr()

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(cache, "_told", set())
    for name in ("_make_folder", "_lock_file", "write_whole"):
        monkeypatch.setattr(cache, name, refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    kernel = make_kernel()
    assert misses(kernel) == 0
    assert kernel._cache.kept
    assert capsys.readouterr().err == ""


needs_owners = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owners")


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a folder or file another user's: for root really, for others by their own name."""
    if os.getuid() == 0:
        os.chown(path, 65534, -1)
    else:
        user = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: user)


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Checks that nothing is read or kept because of a folder or file; returns what is said."""
    capsys.readouterr()
    cache._told.clear()
    before = [(p, p.stat().st_mtime_ns) for p in sorted(path.parent.rglob("*.nbc"))]
    for _ in range(2):
        kernel = make_kernel()
        assert misses(kernel) == 1
        assert not kernel._cache.kept
    assert before == [(p, p.stat().st_mtime_ns) for p in sorted(path.parent.rglob("*.nbc"))]
    error = capsys.readouterr().err
    assert error.count(f"{path} belongs to user {path.stat().st_uid}") == 1
    assert f"mode {stat.S_IMODE(path.stat().st_mode):04o};" in error
    assert f"allowed is what belongs to user {os.getuid()}" in error
    assert "SELFDRIVE_CACHE" in error
    return error


def places(folder: Path) -> dict[str, Path]:
    """What is looked at before code is read, by name."""
    (file,) = folder.glob("*.nbc")
    return {"root": folder.parent, "folder": folder, "file": file}


@needs_owners
@pytest.mark.parametrize("place", ["root", "folder", "file"])
def test_what_belongs_to_another_user_is_not_read(folder, monkeypatch, capsys, place):
    misses(make_kernel())
    path = places(folder)[place]
    give_away(path, monkeypatch)
    if os.getuid() != path.stat().st_uid and os.geteuid() != 0:
        path = folder.parent  # all of them are another user's now: the first is named
    refused(path, capsys)


@needs_owners
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
@pytest.mark.parametrize("place", ["root", "folder", "file"])
def test_what_others_may_write_is_not_read(folder, capsys, place, mode):
    misses(make_kernel())
    path = places(folder)[place]
    path.chmod(mode)
    refused(path, capsys)


@needs_owners
def test_what_root_wrote_is_read(folder, monkeypatch, capsys):
    misses(make_kernel())
    capsys.readouterr()
    stat_now, owner = os.fstat, os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)

    def by_root(found):
        return os.stat_result([*found[:4], 0, *found[5:10]])

    monkeypatch.setattr(os, "fstat", lambda number: by_root(stat_now(number)))
    monkeypatch.setattr(Path, "stat", lambda path: by_root(os.stat(path)))
    assert misses(make_kernel()) == 0
    assert capsys.readouterr().err == ""


@needs_owners
def test_folders_above_may_be_anybodys(folder, capsys):
    above = folder.parents[1]
    above.mkdir()
    for mode in (0o1777, 0o777, 0o775):
        above.chmod(mode)
        misses(make_kernel())
        cache._told.clear()
        capsys.readouterr()
        assert misses(make_kernel()) == 0
        assert capsys.readouterr().err == ""


@needs_owners
def test_files_are_private_whatever_the_mask(folder):
    mask = os.umask(0)
    try:
        misses(make_kernel())
    finally:
        os.umask(mask)
    for path in places(folder).values():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert misses(make_kernel()) == 0


def test_without_owners_nothing_is_checked(folder, monkeypatch):
    misses(make_kernel())
    monkeypatch.delattr(os, "getuid", raising=False)
    folder.chmod(0o777)
    assert misses(make_kernel()) == 0


def test_a_package_that_may_only_be_read_is_enough(copied):
    before = sorted(copied.rglob("*"))
    for path in [copied, *before]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert finish(start(copied))[0] == [20, 1]
        assert finish(start(copied))[0] == [20, 0]
        assert sorted(copied.rglob("*")) == before
    finally:
        for path in [copied, *before]:
            path.chmod(0o755)


def of_digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: np.random.default_rng(0).bytes(len(content)),
        lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        lambda content: of_digest(b"no pickle"),
        lambda content: of_digest(b"\x80\x04]\x94."),  # an empty list
    ],
    ids=["empty", "short", "half", "cut", "garbage", "bit", "no pickle", "other pickle"],
)
def test_a_damaged_file_is_built_again(folder, damage):
    misses(make_kernel())
    (path,) = folder.glob("*.nbc")
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    assert misses(make_kernel()) == 1
    assert path.read_bytes() != damaged
    assert misses(make_kernel()) == 0


@pytest.mark.skipif(os.name != "posix", reason="needs limits of a process")
def test_a_full_disk_costs_a_message_only(folder, capsys):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kernel = make_kernel()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        assert misses(kernel) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "SELFDRIVE_CACHE" in capsys.readouterr().err
    assert not kernel._cache.kept
    assert {path.suffix for path in folder.iterdir()} <= {".lock"}
    assert misses(make_kernel()) == 1
    assert misses(make_kernel()) == 0


def test_a_folder_removed_while_compiling_is_made_again(folder, monkeypatch):
    kernel = make_kernel()
    compile_now = kernel._compiler.compile

    def compile_and_remove(*arguments):
        cache.shutil.rmtree(folder)
        return compile_now(*arguments)

    monkeypatch.setattr(kernel._compiler, "compile", compile_and_remove)
    assert misses(kernel) == 1
    assert kernel._cache.kept
    assert misses(make_kernel()) == 0


needs_locks = pytest.mark.skipif(
    cache.fcntl is None and cache.msvcrt is None, reason="files cannot be locked"
)


class LocksOfWindows:
    """What `msvcrt` does for the cache, by the locks of this system."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.fcntl = pytest.importorskip("fcntl")

    def locking(self, descriptor: int, mode: int, length: int) -> None:
        assert (mode, length) == (self.LK_NBLCK, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
        try:
            self.fcntl.flock(descriptor, self.fcntl.LOCK_EX | self.fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None


def test_files_are_locked_as_windows_does(folder, monkeypatch, capsys):
    misses(make_kernel())
    (path,) = folder.glob("*.nbc")
    monkeypatch.setattr(cache, "msvcrt", LocksOfWindows())
    monkeypatch.setattr(cache, "fcntl", None)
    monkeypatch.setattr(cache, "PATIENCE", 0.3)
    held = cache._lock_file(path.with_suffix(".lock"))
    assert held is not None
    assert cache._lock_file(path.with_suffix(".lock")) is None
    assert "waiting" in capsys.readouterr().err
    os.close(held)
    path.unlink()
    assert misses(make_kernel()) == 1
    held = cache._lock_file(path.with_suffix(".lock"))
    assert held is not None
    os.close(held)


def test_without_locks_everybody_compiles(folder, monkeypatch, capsys):
    for name in ("fcntl", "msvcrt"):
        monkeypatch.setattr(cache, name, None)
    kernel = make_kernel()
    assert misses(kernel) == 1
    assert kernel._cache.kept
    assert misses(make_kernel()) == 0
    assert "waiting" not in capsys.readouterr().err


@contextlib.contextmanager
def two_at_once(copied: Path) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """A process that is compiling and one that waits for it; both are ended afterwards."""
    first = start(copied, str(copied.parent))
    processes = [first]
    try:
        end = time.monotonic() + PATIENCE
        while not (copied.parent / "started").exists():
            assert first.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        second = start(copied)
        processes.append(second)
        assert second.stderr is not None
        assert "waiting for another process" in second.stderr.readline()
        yield first, second
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@needs_locks
def test_of_two_processes_one_compiles(copied):
    with two_at_once(copied) as (first, second):
        (copied.parent / "go").touch()
        value, error = finish(first)
        assert value == [20, 1]
        assert error.count("compiling kernels") == 1
        value, error = finish(second)
        assert value == [20, 0]
        assert error == ""


@needs_locks
def test_the_death_of_a_compiling_process_frees_the_others(copied):
    with two_at_once(copied) as (first, second):
        first.kill()
        value, error = finish(second)
        assert value == [20, 1]
        assert error.count("compiling kernels") == 1


@needs_locks
def test_a_stuck_process_is_waited_for_so_long_and_no_longer(folder, monkeypatch, capsys):
    misses(make_kernel())
    (path,) = folder.glob("*.nbc")
    path.unlink()
    held = cache._lock_file(path.with_suffix(".lock"))
    assert held is not None
    monkeypatch.setattr(cache, "PATIENCE", 0.3)
    begin = time.monotonic()
    assert misses(make_kernel()) == 1
    assert time.monotonic() - begin > 0.3
    os.close(held)
    assert "waiting" in capsys.readouterr().err
    assert misses(make_kernel()) == 0


@needs_locks
def test_code_that_does_not_compile_frees_the_others(folder, monkeypatch, capsys):
    kernel = cached(entry(lambda x: x.nothing))
    with pytest.raises(numba.TypingError):
        kernel(1.0)
    (lock,) = folder.glob("*.lock")
    monkeypatch.setattr(cache, "_told", set())
    descriptor = cache._lock_file(lock)
    assert descriptor is not None
    os.close(descriptor)
    assert "waiting" not in capsys.readouterr().err


def old_folder(root: Path, name: str, *, days: float, marked: float | None = None) -> Path:
    path = root / name
    path.mkdir(parents=True)
    (path / "kernel.nbc").write_text("")
    if marked is not None:
        (path / "used").touch()
        os.utime(path / "used", times=(time.time() - marked * DAY,) * 2)
    os.utime(path, times=(time.time() - days * DAY,) * 2)
    return path


def test_folders_that_nobody_used_go_with_the_next_digest(folder):
    root = folder.parent
    gone = [
        old_folder(root, "0" * 16, days=31.0),
        old_folder(root, "1" * 16, days=40.0, marked=31.0),
        old_folder(root, "2" * 16 + ".unused-ab", days=31.0),
    ]
    kept = [
        old_folder(root, "3" * 16, days=29.0),
        old_folder(root, "4" * 16, days=40.0, marked=29.0),
        old_folder(root, "of the user", days=90.0),
    ]
    misses(make_kernel())
    assert sorted(root.iterdir()) == sorted([*kept, folder])
    assert not any(path.exists() for path in gone)


def test_folders_stay_as_long_as_no_new_one_is_made(folder):
    misses(make_kernel())
    old = old_folder(folder.parent, "0" * 16, days=31.0)
    assert misses(make_kernel()) == 0
    assert cached(entry(lambda x: -x))(1) == -1
    assert old.exists()


def test_use_is_marked(folder):
    misses(make_kernel())
    os.utime(folder / "used", times=(0, 0))
    before = time.time() - 60.0  # clocks of files may lag
    assert misses(make_kernel()) == 0
    assert (folder / "used").stat().st_mtime > before


def test_importing_compiles_nothing_and_writes_nothing(tmp_path):
    code = "import selfdrive_env.engine.cpu, sys; print(len(sys.modules))"
    environment = {**os.environ, "SELFDRIVE_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(PACKAGE.parent), environment.get("PYTHONPATH", "")]
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    assert not (tmp_path / "cache").exists()
