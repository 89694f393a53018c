"""`./run` with a PATH of its own, on which stubs stand for Python: nothing is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("awk", "cat", "cksum", "cp", "df", "dirname", "grep", "mkdir", "rm")

PYTHON = """#!/bin/sh
echo "$*" >> "{calls}"
case $* in
  *"sys.version_info < "*) case {version} in 3.1[1-9]) exit 0 ;; *) exit 1 ;; esac ;;
  *"print("*) echo {version} ;;
  *"import venv"*) exit {venv} ;;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip --version") ;;
  "-m pip --log "*) echo "${{PIP_SAYS:-}}" > "$4"; exit "${{PIP_EXITS:-0}}" ;;
  *) echo "ran $*"; exit "${{EXITS:-0}}" ;;
esac
"""
"""Does what `run` asks a Python for, and notes it."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script")


class Machine:
    """A copy of the script among stubs of what a machine has."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.bin = folder / "clone", folder / "bin"
        self.calls = folder / "calls.txt"
        self.clone.mkdir()
        self.bin.mkdir()
        for name in ("run", "setup.cfg", "constraints.txt"):
            shutil.copy(ROOT / name, self.clone)
        for name in TOOLS:
            (self.bin / name).symlink_to(str(shutil.which(name)))

    def add_python(self, name: str, version: str, *, venv: bool = True) -> Path:
        """Puts a Python of a version on the PATH."""
        file = self.bin / name
        file.write_text(PYTHON.format(calls=self.calls, version=version, venv=int(not venv)))
        file.chmod(0o755)
        return file

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the script from another folder."""
        return subprocess.run(
            ["/bin/sh", str(self.clone / "run"), *words],
            cwd=self.bin,
            env={"PATH": str(self.bin), **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def installs(self) -> int:
        """How often packages were installed."""
        text = self.calls.read_text() if self.calls.exists() else ""
        return text.count("install -c constraints.txt -e .[all]")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("train", "ran examples/ppo_sb3.py --quick\n"),
        ("test", "ran -m pytest -n 2 --dist loadfile --quick\n"),
        ("install", ""),
    ],
)
def test_each_command_can_be_the_first_and_works_twice(
    command: str, runs: str, machine: Machine
) -> None:
    machine.add_python("python3.12", "3.12")
    for _ in range(2):
        done = machine.run(command, "--quick")
        assert (done.returncode, done.stdout) == (0, runs), done.stderr
        assert machine.installs == 1
    first = machine.run(command, VENV="other").stderr
    assert "+ python3.12 -m venv other\n" in first
    assert "+ other/bin/python -m pip --log other/install.log install -c" in first


def test_the_environment_may_be_as_on_windows(machine: Machine) -> None:
    """As Python makes it there, and the Git Bash runs the script."""
    file = machine.add_python("python3", "3.12")
    file.write_text(file.read_text().replace("$3/bin", "$3/Scripts"))
    first, second = machine.run("train", "--quick"), machine.run("train", "--quick")
    for done in (first, second):
        assert (done.returncode, done.stdout) == (0, "ran examples/ppo_sb3.py --quick\n")
    assert "+ .venv/Scripts/python -m pip" in first.stderr
    assert machine.installs == 1


def test_the_exit_code_is_that_of_what_runs(machine: Machine) -> None:
    machine.add_python("python3", "3.11")
    assert machine.run("test", EXITS="5").returncode == 5


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3": "3.9", "python3.11": "3.11", "python3.12": "3.12"}, "python3.12"),
        ({"python3": "3.14", "python": "2.7"}, "python3"),
        ({"python3": "3.8", "python": "3.13"}, "python"),
    ],
)
def test_a_new_enough_python_is_found_by_name(
    there: dict[str, str], taken: str, machine: Machine
) -> None:
    for name, version in there.items():
        machine.add_python(name, version)
    assert f"+ {taken} -m venv .venv\n" in machine.run("install").stderr


def test_a_python_that_does_not_run_is_passed_over(machine: Machine) -> None:
    broken = machine.bin / "python3.13"
    broken.write_text("#!/bin/sh\necho 'not installed' >&2\nexit 127\n")
    broken.chmod(0o755)
    machine.add_python("python3.11", "3.11")
    assert "+ python3.11 -m venv" in machine.run("install").stderr


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    done = machine.run("train")
    assert (done.returncode, done.stdout) == (2, "")
    assert "run: no Python was found: install Python 3.11 or newer" in done.stderr


def test_an_old_python_is_named_with_its_version(machine: Machine) -> None:
    old = machine.add_python("python3", "3.9")
    done = machine.run("test")
    assert done.returncode == 2
    assert "run: Python 3.11 or newer is needed, here python3 is 3.9\n" in done.stderr
    done = machine.run("test", PYTHON=str(old))
    assert f"run: PYTHON={old} is Python 3.9, 3.11 or newer is needed\n" in done.stderr
    done = machine.run("test", PYTHON="nowhere")
    assert (done.returncode, done.stderr) == (2, "run: PYTHON=nowhere does not run\n")


def test_an_environment_of_an_old_python_is_named(machine: Machine) -> None:
    machine.add_python("python3", "3.12")
    (machine.clone / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(machine.add_python("old", "3.10"), machine.clone / ".venv" / "bin" / "python")
    done = machine.run("test")
    assert done.returncode == 2
    assert ".venv has Python 3.10, 3.11 or newer is needed: remove .venv" in done.stderr


def test_a_missing_venv_module_names_the_package(machine: Machine) -> None:
    machine.add_python("python3", "3.11", venv=False)
    done = machine.run("test")
    assert done.returncode == 2
    assert "python3 has no module venv: on Debian or Ubuntu, sudo apt install python3.11-venv" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("NewConnectionError: Temporary failure in name resolution", "no network: pip could not"),
        ("OSError: [Errno 28] No space left on device", "the disk is full: .venv needs about 2 GB"),
        ("ERROR: no matching distribution", "pip could not install the packages: it says why"),
    ],
)
def test_a_failed_installation_says_why_and_is_tried_again(
    says: str, message: str, machine: Machine
) -> None:
    machine.add_python("python3", "3.11")
    done = machine.run("train", PIP_SAYS=says, PIP_EXITS="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"run: {message}" in done.stderr
    assert machine.run("train").returncode == 0
    assert machine.installs == 2


def test_other_pins_install_again(machine: Machine) -> None:
    machine.add_python("python3", "3.11")
    machine.run("install")
    with (machine.clone / "constraints.txt").open("a") as pins:
        pins.write("more==1.0\n")
    assert machine.run("install").returncode == 0
    assert machine.installs == 2


@pytest.mark.parametrize("words", [(), ("drive",), ("--help",)])
def test_anything_else_says_what_there_is(words: tuple[str, ...], machine: Machine) -> None:
    done = machine.run(*words)
    assert done.returncode == 2
    assert "usage: ./run COMMAND" in done.stderr


def test_the_readme_marks_the_commands_that_the_checks_take() -> None:
    text = (ROOT / "README.md").read_text()
    marked = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.*)\n```", text)
    assert dict(marked) == {"train": "./run train", "test": "./run test"}
