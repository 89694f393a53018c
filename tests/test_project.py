"""The files around the package agree: workflows, pins, metadata, checks, names of files."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import LONG, turn_of

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
OTHERS = ["fcntl", "resource", "pwd", "grp", "termios"]
"""Modules that Windows does not have."""
PORTS = {f"{port}{number}" for port in ("com", "lpt") for number in range(10)}
RESERVED = {"aux", "con", "nul", "prn", *PORTS}
"""Names that no file can have on Windows."""

SYSTEMS = [
    {
        "os_name": "nt" if system == "win32" else "posix",
        "sys_platform": system,
        "platform_system": name,
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "python_version": python,
        "python_full_version": f"{python}.9",
    }
    for system, name, machine in (
        ("linux", "Linux", "x86_64"),
        ("darwin", "Darwin", "arm64"),
        ("win32", "Windows", "AMD64"),
    )
    for python in ("3.11", "3.12", "3.13")
]
"""Environments of markers: each system with each Python that is tested."""


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.strip().startswith("#")]


def pythons(setup: configparser.ConfigParser) -> list[str]:
    """Versions of Python that the classifiers name."""
    return re.findall(r"Python :: (3\.\d+)$", setup["metadata"]["classifiers"], re.MULTILINE)


def load(path: Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text(encoding="utf-8"))


def pins() -> list[Requirement]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [Requirement(line) for line in lines(text)]


def test_workflows_test_the_pythons_of_the_classifiers(setup: configparser.ConfigParser) -> None:
    named = pythons(setup)
    assert Requirement(f"python{setup['options']['python_requires']}").specifier.contains(named[0])
    matrix = load(ROOT / ".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == named == sorted({one["python_version"] for one in SYSTEMS})
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    for path in WORKFLOWS:
        used = re.findall(r"\b3\.\d+\b", path.read_text(encoding="utf-8"))
        assert set(used) <= set(named), path.name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_whole(path: Path) -> None:
    workflow = load(path)
    assert set(workflow) >= {"name", "jobs", "permissions"}
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["name"] == path.stem
    for name, job in workflow["jobs"].items():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file(), name
            continue
        assert job["timeout-minutes"] <= 360, name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), name
            check_words(step.get("run", ""))


def check_words(command: str) -> None:
    """Checks that the files and markers which a command names are there."""
    for word in shlex.split(command):
        if re.match(r"(\.ci|tests|docs|examples)(/|$)", word):
            assert (ROOT / word).exists(), word


def test_only_the_one_who_publishes_may_prove_who_it_is() -> None:
    allowed = []
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            rights = job.get("permissions", {})
            assert set(rights) <= {"id-token"}, (path.name, name)
            allowed += [(path.stem, name)] if rights else []
    assert allowed == [("publish", "publish")]
    job = load(ROOT / ".github/workflows/publish.yml")["jobs"]["publish"]
    assert [step["uses"].split("@")[0] for step in job["steps"]] == [
        "actions/download-artifact", "pypa/gh-action-pypi-publish",
    ]  # fmt: skip
    assert "secrets." not in "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)


@pytest.mark.parametrize("name", ["ISSUE_TEMPLATE/fault.yml", "ISSUE_TEMPLATE/wish.yml"])
def test_a_form_has_what_it_needs(name: str) -> None:
    form = load(ROOT / ".github" / name)
    assert set(form) == {"name", "description", "labels", "body"}
    names = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(names)) == len(names) > 0


def test_hooks_run_what_the_checks_run() -> None:
    (repo,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook["entry"] for hook in repo["hooks"]}
    assert hooks["mypy"] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for entry in hooks.values():
        check_words(entry)


@pytest.mark.parametrize(
    "system", SYSTEMS, ids=lambda one: f"{one['sys_platform']}-{one['python_version']}"
)
def test_pins_satisfy_setup_cfg(setup: configparser.ConfigParser, system: dict[str, str]) -> None:
    pinned: dict[str, Version] = {}
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate(system):
            assert canonicalize_name(pin.name) not in pinned, f"{pin.name} is pinned twice"
            ((operator, version),) = ((one.operator, one.version) for one in pin.specifier)
            assert (operator, pin.extras, pin.url) == ("==", set(), None), str(pin)
            pinned[canonicalize_name(pin.name)] = Version(version)
    wanted = [setup["options"]["install_requires"], *dict(setup["options.extras_require"]).values()]
    for line in lines("\n".join(wanted)):
        need = Requirement(line)
        if need.name == "selfdrive_env" or (need.marker and not need.marker.evaluate(system)):
            continue
        version = pinned.get(canonicalize_name(need.name))
        assert version is not None, f"constraints.txt has no {need.name}"
        assert need.specifier.contains(version), f"{need} against {version}"


def test_pins_hold_everywhere() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "--" not in "\n".join(lines(text)), "an index or a hash"
    assert "://" not in text and "/tmp" not in text
    command = re.search(r"^#    (uv pip compile .*)$", text, re.MULTILINE)
    assert command is not None
    assert command[1] in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for line in lines((ROOT / "constraints.in").read_text(encoding="utf-8")):
        assert line in lines(text)


def test_addresses_are_said_to_be_placeholders(setup: configparser.ConfigParser) -> None:
    addresses = setup["metadata"]["project_urls"]
    assert all("example.invalid" in line for line in lines(addresses))
    before = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("project_urls")[0]
    assert "# Placeholders:" in before


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
@pytest.mark.parametrize("words", [["--ful"], ["--full", "more"], [""]])
def test_checks_refuse_what_they_do_not_know(words: list[str]) -> None:
    done = subprocess.run([str(ROOT / ".ci/run"), *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: .ci/run [--full]\n")


def test_the_longest_tests_wait_for_their_option(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    full: long\n")
    pytester.makepyfile("import pytest\n@pytest.mark.full\ndef test_long():\n    pass\n")
    pytester.runpytest_inprocess().assert_outcomes(skipped=1)
    pytester.runpytest_inprocess("--full").assert_outcomes(passed=1)


def test_the_files_that_take_long_have_their_names() -> None:
    assert [name for name in LONG if not (ROOT / f"tests/test_{name}.py").is_file()] == []
    names = ("test_docs.py", "maps/towns/test_x.py", "test_examples.py", "envs/x.py", "test_x.py")
    turns = [turn_of(ROOT / "tests" / name) for name in names]
    assert turns == [0, 1, 2, 3, 3]
    assert turn_of(ROOT / "docs" / "conf.py") == 3


def tracked() -> list[Path]:
    """Files of the repository, or of a source package."""
    folders = ("selfdrive_env", "tests", "docs", "examples", "benchmarks", ".github", ".ci")
    found = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    return [path.relative_to(ROOT) for path in found if "__pycache__" not in path.parts]


def test_file_names_fit_every_system() -> None:
    seen: set[str] = set()
    for path in tracked():
        name = path.as_posix()
        assert name.lower() not in seen, f"{name} differs from another in case only"
        seen.add(name.lower())
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", name), name
        assert len(name) < 150, name
        for part in path.parts:
            assert part.partition(".")[0].lower() not in RESERVED, name
            assert not part.endswith("."), name


def test_modules_of_one_system_are_not_imported_at_the_top() -> None:
    for path in tracked():
        if path.suffix == ".py":
            for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
                names = [alias.name for alias in getattr(node, "names", [])]
                assert not set(names) & set(OTHERS), f"{path} imports {names}"
