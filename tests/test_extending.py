"""The walk-throughs of docs/extending.md, made in a copy of the package and driven.

The copy compiles into an empty cache, so it is there that a warmup is tried, too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.test_docs import DOCS, ROOT, blocks

PAGE = DOCS / "extending.md"
MAX_FILES, MAX_LINES = 2, 20
"""Of one walk-through, its test aside."""


class Edit(NamedTuple):
    """A piece of a file, before and after."""

    path: str
    old: str
    new: str


def sections() -> dict[str, tuple[int, int]]:
    """First and last line of each section of the page, by its title."""
    lines = PAGE.read_text().splitlines()
    starts = [number for number, line in enumerate(lines, 1) if line.startswith("## ")]
    ends = [*starts[1:], len(lines) + 1]
    return {lines[a - 1].removeprefix("## "): (a, b) for a, b in zip(starts, ends, strict=True)}


def edits(title: str) -> list[Edit]:
    """The edits of a section: blocks of `diff`, and files whose first line names them."""
    first, last = sections()[title]
    found = []
    for block in (block for block in blocks(PAGE) if first <= block.line < last):
        head, _, text = block.text.partition("\n")
        if block.language == "diff":
            path = head.removeprefix("--- ")
            for hunk in re.split(r"^@@\n", text, flags=re.MULTILINE):
                lines = hunk.splitlines(keepends=True)
                old, new = ("".join(one[1:] for one in lines if one[0] in kept)
                    for kept in (" -", " +"))  # fmt: skip
                found.append(Edit(path, old, new))
        elif block.language == "python" and head.startswith("# selfdrive_env/"):
            found.append(Edit(head.removeprefix("# "), "", text))
    return found


def make(edit: Edit, root: Path) -> None:
    path = root / edit.path
    if not edit.old:
        assert not path.exists(), edit.path
        path.write_text(edit.new)
        return
    text = path.read_text()
    assert text.count(edit.old) == 1, edit
    path.write_text(text.replace(edit.old, edit.new))


@pytest.mark.parametrize("title", sections())
def test_a_walk_through_touches_two_files_at_most(title: str) -> None:
    found = edits(title)
    assert found
    assert len({edit.path for edit in found}) <= MAX_FILES
    added = sum(code_lines(edit.new) - code_lines(edit.old) for edit in found)
    assert added <= MAX_LINES


def code_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


DRIVE = """
import json
from pathlib import Path

import gymnasium
import numpy as np

import selfdrive_env
from selfdrive_env.config.observation import OBSERVATION
from selfdrive_env.config.choices import TRAFFIC

settings = dict(agents_per_world=8, layout="lean", num_threads=1, horizon=9.0)
envs = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=8, map="hillcrest",
    reward={"jerk": 0.01}, **settings)
rows, _ = envs.reset(seed=0)
engine = envs.unwrapped.engine
standing = [column.name for column in OBSERVATION["ego"]].index("standing")
jerks, terms, ends, columns, speeds = [], [], {}, [], []
for step in range(30):
    rows, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    jerks.append(engine.motion.realised_jerk[0, :, 0].tolist())
    terms.append([engine.output.term[0, :, -1].tolist(), engine.output.weighted[0, :, -1].tolist()])
    columns.append(rows[:, standing].tolist())
    speeds.append(engine.agents.speed[0].tolist())
    if "final_info" in infos:
        ends.update({str(step): infos["final_info"]["reward_jerk"].tolist()})
envs.close()

envs = gymnasium.make_vec("selfdrive_env/Drive-v0", num_envs=2, map="hillcrest", traffic="alone",
    driver="alone", **settings)
envs.reset(seed=0)
engine = envs.unwrapped.engine
drivers = np.unique(engine.bodies.driver).tolist()
fast = 0.0
for step in range(20):
    envs.step(envs.action_space.sample())
    fast = max(fast, float(engine.agents.speed.max()))
envs.close()

angles = np.linspace(0.0, 2.0 * np.pi, 121)
ring = 60.0 * np.stack([np.cos(angles), np.sin(angles)], 1)
lanes = [{"centre": ring[30 * k : 30 * k + 31].tolist(), "width": 4.0, "successors": [(k + 1) % 4]}
    for k in range(4)]
Path("ring.lanes.json").write_text(json.dumps({"lanes": lanes}))
envs = gymnasium.make_vec("selfdrive_env/SelfPlay-v0", num_envs=8, map="ring.lanes.json",
    driver="idm", **settings)
envs.reset(seed=0)
for step in range(20):
    envs.step(envs.action_space.sample())
agents = envs.unwrapped.engine.agents
radius = np.hypot(agents.x[0], agents.y[0])[agents.status[0] != 0].tolist()
metres = float(envs.unwrapped.engine.tallies.distance.sum())
envs.close()
print(json.dumps(dict(jerks=jerks, terms=terms, ends=ends, columns=columns, speeds=speeds,
    drivers=drivers, fast=fast, traffic=TRAFFIC, radius=radius, metres=metres)))
"""


class Copy:
    """A copy of the package that has had all edits, with a cache of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Bytecode goes along, and is good for files that are not edited: it tells by their times.
        half_written = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / "selfdrive_env", root / "selfdrive_env", ignore=half_written)
        for title in sections():
            for edit in edits(title):
                make(edit, root)
        self.first_warmup = self.python("-m", "selfdrive_env", "warmup", "--json")

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}
        environment["SELFDRIVE_CACHE"] = str(self.root / "cache")
        done = subprocess.run(
            [sys.executable, "-W", "error", *words],
            cwd=self.root, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("extended"))


@pytest.fixture(scope="module")
def driven(copy: Copy) -> dict[str, Any]:
    """What came of a drive in the copy."""
    found: dict[str, Any] = json.loads(copy.python("-c", DRIVE).stdout.splitlines()[-1])
    return found


COUNT_PARTS = """
from selfdrive_env.compiler.progress import parts_of
from selfdrive_env.kernels.step import run_worlds
print(len(parts_of(run_worlds.py_func)))
"""


@pytest.mark.slow
def test_after_a_warmup_no_environment_compiles(copy: Copy) -> None:
    first = copy.first_warmup
    assert "kernels.run_worlds" in json.loads(first.stdout)["compiled"]
    told = first.stderr.splitlines()
    assert told[0] == "selfdrive_env: compiling kernels, once: later starts read them"
    assert 3 <= len(told) <= 8
    parts = int(copy.python("-c", COUNT_PARTS).stdout)
    line = (
        rf"selfdrive_env: compiling kernels: (\d+) of {parts} functions, (\d+) s, about \d+ s to go"
    )
    counts = [int(found[1]) for found in map(re.compile(line).fullmatch, told) if found]
    assert len(counts) == 3 and counts[-1] > 0.8 * parts  # the last is LLVM's to work on
    assert any(re.fullmatch(r"selfdrive_env: compiling kernels: done in [\d.]+ s", t) for t in told)
    second = copy.python("-m", "selfdrive_env", "warmup", "--json")
    assert json.loads(second.stdout)["compiled"] == []
    assert second.stderr == ""
    for name in ("SelfPlay-v0", "Drive-v0"):
        code = f"""
import gymnasium, selfdrive_env
from selfdrive_env.engine import cpu
envs = gymnasium.make_vec("selfdrive_env/{name}", num_envs=32, num_threads=1)
envs.reset(seed=0, options={{"reset_mask": envs.unwrapped._all}})
envs.step(envs.action_space.sample())
print(cpu.compiled_worlds().stats.cache_misses.total())
"""
        third = copy.python("-c", code)
        assert third.stdout.split() == ["0"]
        assert third.stderr == ""


@pytest.mark.slow
def test_a_new_term_is_weighed_and_reported(driven: dict[str, Any]) -> None:
    for jerks, (raw, weighted) in zip(driven["jerks"], driven["terms"], strict=True):
        for jerk, value, cost in zip(jerks, raw, weighted, strict=True):
            assert value in (0.0, pytest.approx(-0.3 * abs(jerk), rel=1e-5))
            assert cost == pytest.approx(0.01 * value, rel=1e-5)
    assert min(min(raw) for raw, _ in driven["terms"]) < -1.0
    assert min(min(values) for values in driven["ends"].values()) < 0.0


@pytest.mark.slow
def test_a_new_column_tells_who_stands(driven: dict[str, Any]) -> None:
    for column, speeds in zip(driven["columns"], driven["speeds"], strict=True):
        assert column == [float(speed == 0.0) for speed in speeds]
    assert {value for column in driven["columns"] for value in column} == {0.0, 1.0}


@pytest.mark.slow
def test_a_new_driver_drives(driven: dict[str, Any]) -> None:
    assert driven["traffic"][-1] == "alone"
    assert driven["drivers"] == [7]
    assert driven["fast"] > 5.0


@pytest.mark.slow
def test_a_new_map_format_is_driven_on(driven: dict[str, Any]) -> None:
    assert driven["metres"] > 100.0
    assert driven["radius"]
    assert all(57.0 < radius < 63.0 for radius in driven["radius"])
