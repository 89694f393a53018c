"""Compiled CUDA kernels on disk, without a device: read, not built again, and never stale."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

import selfdrive_env
from selfdrive_env.__main__ import main
from selfdrive_env.compiler import cache, device
from selfdrive_env.engine import devices
from selfdrive_env.engine import launch as kernels_cuda
from tests import PATIENCE
from tests.compiler.offline import compile_now, digest, pretended_device

PACKAGE = Path(selfdrive_env.__file__).parent
SMALLEST = "begin_reset"
SAID = "compiling kernels for the GPU, once: later starts read them"

pytestmark = pytest.mark.ptx


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels of this test go; not made yet."""
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_told", set())
    return tmp_path / "cache" / "kernels" / cache.source_digest()


def misses(capability: tuple[int, int] = (9, 0)) -> int:
    """Takes the smallest kernel; returns how often it was compiled."""
    kernel, _ = compile_now(SMALLEST, capability)
    assert kernel.stats.cache_misses.total() + kernel.stats.cache_hits.total() == 1
    return int(kernel.stats.cache_misses.total())


def start(package: Path, *names: str) -> subprocess.Popen[str]:
    """Starts a process that compiles kernels of a copy of the package, or reads them."""
    places = (package.parent, PACKAGE.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, "-W", "error", "-m", "tests.compiler.offline", *names]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=package.parent, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, list[int | str]], str]:
    """Name -> how often it was compiled and the digest of its code, and what was said."""
    out, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    return json.loads(out), error


def test_the_next_process_reads_what_was_compiled(folder, capsys):
    kernel, code = compile_now(SMALLEST)
    assert kernel.stats.cache_misses.total() == 1
    first, *later = capsys.readouterr().err.splitlines()
    assert first == f"selfdrive_env: {SAID}"
    # Where compiling takes its time there is more: how far it is, and when it is done.
    assert all(line.startswith("selfdrive_env: compiling kernels for the GPU: ") for line in later)
    # Where others were compiled before, in a cache of their own, some may still be to come.
    assert not later or re.search(r"(: done in [\d.]+ s|, about \d+ s to go)$", later[-1])
    assert [path.stem.split("-")[0] for path in folder.glob("*.nbc")] == ["begin_reset_kernel"]
    assert finish(start(PACKAGE, SMALLEST)) == ({SMALLEST: [0, digest(code)]}, "")


def test_what_was_read_can_be_launched_as_it_is(folder):
    _, compiled = compile_now(SMALLEST)
    kernel, read = compile_now(SMALLEST)
    assert kernel.stats.cache_hits.total() == 1
    assert digest(read) == digest(compiled)
    assert read.entry_name == compiled.entry_name
    assert read.signature.args == compiled.signature.args
    assert read.library.llvm_strs == []  # there is nothing to compile from
    with pretended_device():
        assert compiled.library.get_asm_str()


def test_an_edit_is_seen_and_of_two_processes_one_compiles(folder, tmp_path):
    misses()
    package = tmp_path / "copy" / "selfdrive_env"
    for path in PACKAGE.rglob("*.py"):
        target = package / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert finish(start(package, SMALLEST))[0][SMALLEST][0] == 0
    source = package / "kernels" / "collision.py"
    source.write_text(source.read_text() + "\n# edited\n")
    both = [start(package, SMALLEST) for _ in range(2)]
    ends = [finish(process) for process in both]
    assert sorted(figures[SMALLEST][0] for figures, _ in ends) == [0, 1]
    assert sum(SAID in error for _, error in ends) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
        lambda content: hashlib.sha256(b"\x80\x04]\x94.").digest() + b"\x80\x04]\x94.",
    ],
    ids=["empty", "half", "bit", "other pickle"],
)
def test_a_damaged_file_is_built_again(folder, damage):
    misses()
    (path,) = folder.glob("*.nbc")
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    assert misses() == 1
    assert path.read_bytes() != damaged
    assert misses() == 0


def test_each_capability_has_files_of_its_own(folder):
    assert [misses((9, 0)), misses((8, 0)), misses((9, 0))] == [1, 1, 0]
    assert len(list(folder.glob("*.nbc"))) == 2


def test_options_and_versions_are_part_of_the_name(folder, monkeypatch):
    assert misses() == 1
    monkeypatch.setitem(device.NVVM_OPTIONS, "prec-div", 1)
    assert misses() == 1
    versions = device.toolkit_versions()
    assert {"numba-cuda", "cuda-core"} < {name for name, _ in versions}
    assert any("nvvm" in name or "nvcc" in name for name, _ in versions)
    monkeypatch.setattr(device, "toolkit_versions", lambda: [*versions, ("another", "1")])
    assert misses() == 1
    assert misses() == 0


def test_a_folder_that_cannot_be_made_costs_a_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, "_told", set())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SELFDRIVE_CACHE", str(tmp_path / "file"))
    assert [misses(), misses()] == [1, 1]
    assert capsys.readouterr().err.count("SELFDRIVE_CACHE") == 1


def test_warmup_fills_the_cache_for_a_device(folder, monkeypatch, capsys):
    for place in (
        "envs.make.make_self_play",
        "maps.compile.compiled_map.compile_map",
    ):  # what warms up the CPU
        monkeypatch.setattr(f"selfdrive_env.{place}", MagicMock())
    monkeypatch.setattr(devices, "choose_device", lambda device: "cuda:0")
    monkeypatch.setattr(kernels_cuda, "KERNELS", {SMALLEST: kernels_cuda.KERNELS[SMALLEST]})
    kernels_cuda.compiled_kernel.cache_clear()
    with pretended_device():
        assert main(["warmup", "--device", "cuda", "--json"]) == 0
        assert f"engine.launch.{SMALLEST}" in json.loads(capsys.readouterr().out)["compiled"]
        assert main(["warmup", "--device", "cuda:0", "--json"]) == 0
        assert f"engine.launch.{SMALLEST}" in json.loads(capsys.readouterr().out)["present"]
    assert list(folder.glob(f"{SMALLEST}_kernel-*.nbc"))
    kernels_cuda.compiled_kernel.cache_clear()
