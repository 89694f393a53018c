"""README.md and docs/: every code block runs, every command parses, every table is complete.

Python blocks of a page run in order, in one namespace, in a process and a folder of their own. A
comment `<!-- needs: torch cuda -->` before a block names modules that it needs, or a CUDA device.
What a block prints is compared with the block that follows `<!-- output -->`.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import dataclasses
import functools
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium
import pytest

from selfdrive_env.__main__ import main
from selfdrive_env.config.images import BirdsEye, Camera
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.observation import OBSERVATION
from selfdrive_env.config.presets import BODY_TYPES, PRESETS
from selfdrive_env.config.settings import Settings
from selfdrive_env.envs.infos import FINALS
from selfdrive_env.maps import BUILT_IN
from selfdrive_env.metrics import METRICS as TRAFFIC_METRICS
from selfdrive_env.metrics.realism import FEATURES
from selfdrive_env.state.rewards import REWARD_TERMS, WEIGHTS
from tests import PATIENCE
from tests.conftest import missing_device

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    needs: tuple[str, ...]
    output: bool
    """Whether it shows what the block before it prints."""


def blocks(page: Path) -> list[Block]:
    """Fenced blocks, also indented ones, without what is only generated."""
    found, opened, note = [], None, ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.fullmatch(r"\s*```([\w{}-]*)\s*.*", line)
        if fence is None:
            if opened is not None:
                opened[2].append(line)
            elif line.strip():
                note = line.strip()
        elif opened is None:
            opened = (number, fence[1], [], note)
        else:
            start, language, lines, before = opened
            needs = re.fullmatch(r"<!-- needs: (.*) -->", before)
            text = textwrap.dedent("\n".join(lines)) + "\n"
            wanted = tuple(needs[1].split()) if needs else ()
            found.append(Block(page, start, language, text, wanted, before == "<!-- output -->"))
            opened, note = None, ""
    assert opened is None, f"{page}: the block of line {opened and opened[0]} is not closed"
    return found


def of_language(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


TRAINING = {
    DOCS / "how-to" / "lane-keeping.md": ("stable_baselines3",),
    DOCS / "how-to" / "pixels.md": ("stable_baselines3", "PIL"),
    DOCS / "training.md": ("torch",),
}
"""Cases that train for longer, as `examples/` do and tests/training: with --full."""


def python_cases(pages: Sequence[Path] = PAGES) -> list[Any]:
    """A case a page, with the blocks that need nothing, and one for each set of needs.

    Blocks run in every case that has what they need: a case whose blocks all run in another one
    here is for `--full`, which finds blocks that miss what is left out.
    """
    cases = []
    for page in pages:
        found = [block.needs for block in blocks(page) if block.language == "python"]
        wanted = {needs: set(needs) for needs in found}
        short = {k: v for k, v in wanted.items() if k != TRAINING.get(page)}
        here = [held for held in short.values() if not any(map(missing, held))]
        for needs, held in wanted.items():
            covered = any(held < other for other in here)
            marks = [pytest.mark.full] * (covered or needs not in short)
            cases.append(pytest.param(page, needs, marks=marks))
    return cases


@functools.cache
def missing(need: str) -> str | None:
    """Why a need is not met, None if it is."""
    if need == "cuda":
        return missing_device()
    return None if importlib.util.find_spec(need) else f"{need} is not installed"


def script(page: Path, needs: tuple[str, ...]) -> str:
    """The page as one program that names the block in which something fails."""
    steps, runs = [], False
    for block in blocks(page):
        if block.language == "python":
            runs = set(block.needs) <= set(needs)
            if runs:
                steps.append({"line": block.line, "code": block.text, "prints": None})
        elif block.output and runs:
            steps[-1]["prints"] = block.text
    program = PROGRAM.format(steps=json.dumps(steps), name=page.name)
    return UNHURRIED + program if "pygame" in needs else program


UNHURRIED = """
import pygame

class Clock:
    "Does not wait for the next picture, so that seconds of play take no seconds."
    def tick(self, fps=0):
        return 0

pygame.time.Clock = Clock
"""


PROGRAM = """
import contextlib, io, json, sys
names = {{"__name__": "__main__"}}
for step in json.loads({steps!r}):
    place = "{name}, line " + str(step["line"])
    # Lines are counted as in the page, so that a traceback points there.
    code = compile("\\n" * step["line"] + step["code"], place, "exec")
    printed = io.StringIO()
    print(place, file=sys.stderr)
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    if step["prints"] is not None:
        assert printed.getvalue() == step["prints"], (place, printed.getvalue(), step["prints"])
"""


def case_name(value: object) -> str:
    if isinstance(value, Path):
        return value.relative_to(ROOT).as_posix()
    return "+".join(value) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("page", "needs"), python_cases(), ids=case_name)
def test_the_python_blocks_of_a_page_run(
    page: Path, needs: tuple[str, ...], tmp_path: Path
) -> None:
    for why in filter(None, map(missing, needs)):
        pytest.skip(why)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment["SDL_VIDEODRIVER"] = "dummy"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script(page, needs)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]


class Understood(Exception):
    """The command line was parsed; nothing is run."""


READ_ARGUMENTS = argparse.ArgumentParser.parse_args


def parse_only(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    READ_ARGUMENTS(parser, arguments)
    raise Understood


def shell_lines(block: Block) -> list[str]:
    """Commands of a block, without comments and with continued lines joined."""
    joined = block.text.replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in joined.splitlines()]
    commands = []
    for words in lines:
        while words and re.fullmatch(r"\w+=.*", words[0]):  # environment variables
            words = words[1:]
        if words:
            commands.append(shlex.join(words))
    return commands


COMMANDS = [(block, line) for block in of_language("bash") for line in shell_lines(block)]


@pytest.mark.parametrize(
    ("block", "line"),
    [pytest.param(*one, id=f"{one[0].page.name}:{one[0].line}:{one[1]}") for one in COMMANDS],
)
def test_a_command_is_understood(block: Block, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    if words[:2] == ["uvx", "--from"] or words[:3] == ["pipx", "run", "--spec"]:
        words = words[words.index("selfdrive") :]  # from a wheel
    if words[:3] == ["python", "-m", "selfdrive_env"] or words[:1] == ["selfdrive"]:
        arguments = words[1:] if words[0] == "selfdrive" else words[3:]
        for need in ("torch",) if arguments[:1] == ["train"] else ():
            pytest.importorskip(need)
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        with (
            contextlib.redirect_stderr(io.StringIO()) as problem,
            pytest.raises((Understood, SystemExit)) as stopped,
        ):
            main(arguments)
        assert stopped.type is Understood, f"{block.page}:{block.line}: {problem.getvalue()}"
    elif words[0] == "python" and words[1].endswith(".py"):
        if "--env-id" in words:
            module, name = words[words.index("--env-id") + 1].split(":")
            assert module == "selfdrive_env" and gymnasium.spec(name)
        ours = block.page.name != "cleanrl.md" or "/" in words[1]  # else one of CleanRL's scripts
        assert not ours or (ROOT / words[1]).is_file(), f"{block.page}:{block.line} runs {words[1]}"
    elif words[0] == "./run":
        assert os.access(ROOT / "run", os.X_OK)
        assert words[1] in ("train", "test", "install")
    elif words[0] == "pip":
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        extras = set(setup["options.extras_require"])
        asked = re.findall(r"\[([\w,]+)\]", line)
        assert {name for names in asked for name in names.split(",")} <= extras
    else:
        known = {"python", "python3", ".", "cd", "git", "ruff", "mypy", "export", "for", "done",
            "sphinx-build", "compute-sanitizer", "uv",
            "netconvert"}  # fmt: skip  # run by tests/maps/sumo/test_netconvert.py
        assert words[0] in known, f"{block.page}:{block.line}: {words[0]} is not checked"


LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=case_name)
def test_links_and_file_names_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(text):
        if not re.match(r"https?://|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{page} links to {target}"
    names = re.findall(
        r"`((?:selfdrive_env|tests|docs|benchmarks|examples)/[\w./]+?)`", page.read_text()
    )
    for name in names:
        assert (ROOT / name).exists(), f"{page} names {name}"


def test_every_page_is_checked_by_its_blocks() -> None:
    """No fence with a language that nobody runs or reads."""
    known = {"", "python", "bash", "text", "json", "{generated}", "{toctree}", "{image}",
        "{include}", "{eval-rst}", "{figure}", "ini", "html", "javascript", "diff",
        "yaml"}  # fmt: skip
    found = {
        block.language: f"{block.page}:{block.line}" for page in PAGES for block in blocks(page)
    }
    assert {name: place for name, place in found.items() if name not in known} == {}


def test_hyperparameters_of_rl_zoo_name_environments_and_settings() -> None:
    yaml = pytest.importorskip("yaml")
    (block,) = of_language("yaml")
    for name, entry in yaml.safe_load(block.text).items():
        assert gymnasium.spec(name).entry_point == "selfdrive_env.envs.single:DrivingEnv"
        Settings(**entry["env_kwargs"])


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COLUMNS = {f"{group}.{one.name}" for group, columns in OBSERVATION.items() for one in columns}
CONTENTS: dict[str, Callable[[], set[str]]] = {
    "settings": lambda: {field.name for field in dataclasses.fields(Settings)},
    "bev": lambda: {field.name for field in dataclasses.fields(BirdsEye)},
    "camera": lambda: {field.name for field in dataclasses.fields(Camera)},
    "observation": lambda: {*OBSERVATION, *(name.split(".")[1] for name in COLUMNS)},
    "rewards": lambda: set(REWARD_TERMS),
    "weights": lambda: {*WEIGHTS, *PRESETS},
    "metrics": lambda: set(FINALS),
    "bodies": lambda: set(BODY_TYPES),
    "towns": lambda: set(BUILT_IN),
    "realism": lambda: {feature.name for feature in FEATURES},
    "traffic_metrics": lambda: {metric.name for metric in TRAFFIC_METRICS},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_generated_table_has_every_field(tables: ModuleType, name: str) -> None:
    text = tables.TABLES[name]()
    assert {field for field in CONTENTS[name]() if f"`{field}`" not in text} == set()


def test_every_setting_has_a_meaning_and_its_default(tables: ModuleType) -> None:
    rows = [line.strip("| ").split(" | ") for line in tables.settings().splitlines()[2:]]
    meaning = {row[0].strip("`"): (row[1], row[-1]) for row in rows}
    assert [name for name, (_, text) in meaning.items() if len(text) < 5] == []
    assert meaning["dt"][0] == "`0.3`"
    assert meaning["map"][0] == '`["riverside", "hillcrest"]`'
    assert '`"NextStep"`' in meaning["autoreset_mode"][1]


def test_the_table_of_observations_tells_where_groups_lie(tables: ModuleType) -> None:
    text = tables.observation()
    for layout in LAYOUTS.values():
        for place in layout.slices.values():
            assert f"{place.start}:{place.stop}" in text
        assert str(layout.width) in text


def test_actions_are_listed_as_the_environment_numbers_them(tables: ModuleType) -> None:
    rows = tables.actions().splitlines()[2:]
    assert len(rows) == 12
    assert rows[1] == "| 1 | -15 | 0 |"
    assert rows[10] == "| 10 | +4 | 0 |"


def test_every_table_is_used_and_every_use_has_a_table(tables: ModuleType) -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"```{generated} (\w+)", text)) == set(tables.TABLES)


def test_the_film_of_the_readme_is_small() -> None:
    film = DOCS / "images" / "selfplay.gif"
    assert film.read_bytes().startswith(b"GIF89a")
    assert film.stat().st_size < 1_500_000
    assert "docs/images/selfplay.gif" in (ROOT / "README.md").read_text()


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nx = 1\n```\n\n1. List:\n\n   ```python\n   x / 0\n   ```\n"
    )
    found = blocks(page)
    assert [(block.line, block.text) for block in found] == [(3, "x = 1\n"), (9, "x / 0\n")]
    done = subprocess.run(
        [sys.executable, "-c", script(page, ())], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'File "page.md, line 9", line 10' in done.stderr


def test_a_case_whose_blocks_run_in_another_is_for_full(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    plain, needy = "```python\nx = 1\n```\n\n", "<!-- needs: {} -->\n```python\nx\n```\n\n"
    page.write_text(plain + needy.format("json") + needy.format("no_such_module"))
    full = {case.values[1]: bool(case.marks) for case in python_cases([page])}
    assert full == {(): True, ("json",): False, ("no_such_module",): False}
    page.write_text(plain + needy.format("no_such_module"))
    full = {case.values[1]: bool(case.marks) for case in python_cases([page])}
    assert full == {(): False, ("no_such_module",): False}


def test_output_of_a_block_that_is_left_out_is_left_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint(1)\n```\n\n<!-- needs: torch -->\n```python\nprint(2)\n```\n\n"
        "<!-- output -->\n```text\n2\n```\n"
    )
    for needs in ((), ("torch",)):
        command = [sys.executable, "-c", script(page, needs)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_output_that_differs_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n<!-- output -->\n```text\n3\n```\n")
    command = [sys.executable, "-c", script(page, ())]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    page.write_text(page.read_text().replace("3\n", "2\n"))
    command = [sys.executable, "-c", script(page, ())]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_extra_is_explained(setup: configparser.ConfigParser) -> None:
    text = (DOCS / "install.md").read_text()
    assert [name for name in setup["options.extras_require"] if f"`{name}`" not in text] == []


def test_the_citation_is_of_this_version(setup: configparser.ConfigParser) -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {setup['metadata']['version']}\n" in citation
    assert f"\nlicense: {setup['metadata']['license_expression']}\n" in citation
