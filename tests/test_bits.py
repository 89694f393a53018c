"""Results are those of before to the bit: short cases of `benchmarks/bits.py`, and its report."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SHORT = ("short-full", "short-rules", "short-disabled")
PROCESSORS = {
    "x86-64-v2": ("+sse4.2", "sse4_2"),
    "x86-64-v3": ("+avx2,+fma,+f16c", "avx2"),
    "x86-64-v4": ("+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx2,+fma,+f16c", "avx512vl"),
}
"""Numbers of 128, 256 and 512 bits: what Numba is told, and by what Linux knows the last."""

ONE_CASE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("bits", sys.argv[1])
bits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bits)
differs, lines = bits.compare(bits.read(bits.FILE)["short-full"], bits.Case("short-full", 1).run())
assert not differs, lines
"""


@pytest.fixture(scope="module")
def bits() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bits", ROOT / "benchmarks" / "bits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", SHORT)
def test_results_are_those_of_before_to_the_bit(bits: ModuleType, name: str, threads: int) -> None:
    differs, lines = bits.compare(bits.read(bits.FILE)[name], bits.Case(name, threads).run())
    assert not differs, "\n".join(lines)


@pytest.mark.full
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="an x86 processor")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_vectors_of_every_width_give_the_same_bits(processor: str, tmp_path: Path) -> None:
    features, name = PROCESSORS[processor]
    about = Path("/proc/cpuinfo")
    if not about.exists() or name not in about.read_text().split():
        pytest.skip(f"needs a processor with {name}")
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": features,
        "SELFDRIVE_CACHE": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", ONE_CASE, str(ROOT / "benchmarks" / "bits.py")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_case_has_digests_and_gives_what_it_is_for(bits: ModuleType) -> None:
    stored = bits.read(bits.FILE)
    assert list(stored) == list(bits.CASES)
    for name, case in stored.items():
        steps = bits.CASES[name].get("steps", bits.STEPS)
        assert case["moments"] == f"0 {steps // 5} {steps // 2} {steps}"
        assert all(len(set(case[part].split())) == 4 for part in bits.STREAMS)
        single = bits.CASES[name].get("single", False)
        same_step = "autoreset_mode" not in bits.CASES[name] and not single
        assert ("final_info/km" in case["infos"]) == same_step
        assert ("km" in case["infos"]) == (not same_step)
        assert len(case["states"]) > 50


def test_written_digests_are_found_again_and_one_that_differs_is_named(
    bits: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    words = ["--case", "short-rules", "--threads", "1", "--file", str(file)]
    assert bits.main([*words, "--write"]) == 0
    assert json.loads(file.read_text())["short-rules"] == bits.read(bits.FILE)["short-rules"]
    assert bits.main(words) == 0
    assert "all the same" in capsys.readouterr().out

    stored = json.loads(file.read_text())
    marks = stored["short-rules"]["rewards"].split()
    stored["short-rules"]["rewards"] = " ".join([*marks[:2], "0", "0"])
    file.write_text(json.dumps(stored))
    assert bits.main(words) == 1
    printed = capsys.readouterr().out
    assert "| short-rules | 1 | same | differs | same | same | same | same |" in printed
    assert "short-rules: rewards: differ by step 20, the same to step 8" in printed


def test_a_restored_run_goes_on_as_if_nothing_had_been(bits: ModuleType) -> None:
    """The case that goes back to a state ends in the state of the run that never left."""
    case = bits.Case("short-rules", 1)
    found = case.run()
    case = bits.Case("short-rules", 1)
    case.plan["restores"] = False
    straight = case.run()
    assert found["states"] == straight["states"]
    assert found["rewards"] != straight["rewards"]  # it has those of the steps that do not count


def example(**changes: Any) -> dict[str, Any]:
    streams = {name: "a b" for name in ("observations", "rewards", "terminated", "truncated")}
    case = {
        "moments": "0 8",
        "actions": "a b",
        **streams,
        "infos": {"km": "c", "valid": "d"},
        "states": {"agents.x": "float32 4x2 e", "agents.age": "int32 4 f", "worlds.key": "u 4 f"},
    }
    return {**case, **changes}


@pytest.mark.parametrize(
    ("changes", "differs", "line"),
    [
        ({"truncated": "z z"}, {"truncated"}, "truncated: differ by step 0"),
        ({"infos": {"km": "c"}}, {"infos"}, "infos: valid is gone"),
        ({"infos": {"km": "z", "valid": "d"}}, {"infos"}, "infos: km differs"),
        ({"infos": {"km": "c", "valid": "d", "m": "d"}}, {"infos"}, "infos: m is new"),
        ({"actions": "a z"}, set(), "actions: NumPy's generator gives other numbers"),
    ],
)
def test_the_report_names_what_differs(
    bits: ModuleType, changes: dict[str, Any], differs: set[str], line: str
) -> None:
    found, lines = bits.compare(example(), example(**changes))
    assert found == differs
    assert len(lines) == 1 and lines[0].startswith(line)


@pytest.mark.parametrize(
    ("states", "gone", "notes"),
    [
        (
            {"agents.x": "float32 4x2 e", "bodies.age": "int32 4 f", "worlds.key": "u 4 f"},
            [],
            ["states: agents.age is renamed, now bodies.age"],
        ),
        (
            {"agents.x": "float32 8 e", "agents.age": "int32 4 f", "worlds.key": "u 4 f"},
            [],
            ["states: agents.x was float32 4x2, is float32 8: same bytes"],
        ),
        (
            {"agents.x": "float32 4x2 z", "agents.age": "int32 4 f", "worlds.key": "u 4 f"},
            ["states: agents.x (float32 4x2) differs"],
            [],
        ),
        (  # one array cannot stand in for two
            {"agents.x": "float32 4x2 e", "agents.age": "int32 4 f", "agents.new": "u 2 z"},
            ["states: worlds.key (u 4) is gone: no array left has its bytes"],
            ["states: agents.new (u 2) is new"],
        ),
    ],
)
def test_states_are_compared_by_content(
    bits: ModuleType, states: dict[str, str], gone: list[str], notes: list[str]
) -> None:
    assert bits.compare_states(example()["states"], states) == (gone, notes)


def test_digests_of_another_map_need_a_file_of_their_own(
    bits: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bits.main(["--map", "harbour"])
    assert "--map needs --file" in capsys.readouterr().err
