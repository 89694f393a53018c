"""The parser as a whole: examples, completion, exit codes, the table of docs/cli.md."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import selfdrive_env
from selfdrive_env import __main__ as program
from selfdrive_env.__main__ import main
from selfdrive_env.commands.options import COMMANDS, GROUPS, PROBES, SHELLS, make_parser
from tests.interrupt import interrupt

ROOT = Path(selfdrive_env.__file__).parents[1]
DOCS = ROOT / "docs" / "cli.md"
GROUPED = {(word, c.name): c for word, (_, group) in GROUPS.items() for c in group}
ALL = [*COMMANDS, *GROUPED.values()]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(*words: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "selfdrive_env", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, **keywords
    )


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_a_command_has_an_example_that_parses_and_code_that_exists(command: Any) -> None:
    words = shlex.split(command.example)
    assert words[0] == "selfdrive"
    parsed = make_parser().parse_args(words[1:])
    assert parsed.run == command.run
    module, _, function = command.run.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_help_shows_the_example_and_a_text_for_each_option(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    grouped = [words for words, one in GROUPED.items() if one is command]
    words = grouped[0] if grouped else [command.name]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code == 0
    assert f"example:\n  {command.example}" in capsys.readouterr().out
    parser = argparse.ArgumentParser()
    command.add(parser)
    assert [a.dest for a in parser._actions if not a.help] == []


def test_the_probes_are_those_of_the_evaluation() -> None:
    from selfdrive_env.evaluation.probes import PROBES as THERE

    assert tuple(THERE) == PROBES


def test_the_docs_have_the_table_of_commands() -> None:
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| `(.+?)` \|$", DOCS.read_text(), re.MULTILINE)
    here = [(c.name, c.help, c.example) for c in COMMANDS]
    here += [(" ".join(words), c.help, c.example) for words, c in GROUPED.items()]
    assert rows == here


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert re.fullmatch(r"selfdrive_env (source tree|\d+\..*)\n", capsys.readouterr().out)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="tab completion needs it")
    with pytest.raises(SystemExit) as stopped:
        main(["--print-completion", shell])
    assert stopped.value.code == 0
    script = capsys.readouterr().out
    for command in ALL:
        assert command.name in script
    assert "--traffic" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_options_of_a_command(tmp_path: Path) -> None:
    pytest.importorskip("shtab", reason="tab completion needs it")
    script = tmp_path / "selfdrive.bash"
    script.write_text(run("--print-completion", "bash", check=True).stdout)
    for words, found in (
        (["selfdrive", "ev"], "evaluate"),
        (["selfdrive", "play", "--tr"], "--traffic"),
    ):
        program_text = (
            f"source {shlex.quote(str(script))}; COMP_WORDS=({' '.join(words)}); "
            f'COMP_CWORD={len(words) - 1}; _shtab_selfdrive; echo "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run(["bash", "-c", program_text], capture_output=True, text=True)
        assert found in done.stdout.split(), done.stderr


def test_without_shtab_completion_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as stopped:
        main(["--print-completion", "bash"])
    assert stopped.value.code == 2
    assert "pip install" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from selfdrive_env.commands.options import make_parser; make_parser(); "
        "heavy = ('torch', 'numba', 'matplotlib', 'PIL', 'pygame', 'shapely', 'shtab'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("raised, code", [(KeyboardInterrupt, 130), (ValueError, 2), (OSError, 2)])
def test_exit_codes(
    raised: type[BaseException], code: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(parsed: Any) -> int:
        raise raised

    monkeypatch.setattr(program, "import_module", lambda name: argparse.Namespace(run=fail))
    assert main(["list"]) == code
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "\x1b" not in told  # no terminal


def test_an_unexpected_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(parsed: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(program, "import_module", lambda name: argparse.Namespace(run=fail))
    with pytest.raises(ZeroDivisionError):
        main(["list"])


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize(
    "words", [["bench", "--repeats", "5000"], ["evaluate", "idm", "--minutes", "500"]]
)
def test_ctrl_c_in_the_middle_gives_130(words: list[str]) -> None:
    code, out, error = interrupt(words, ENVIRONMENT)
    assert code == 130
    assert error.splitlines()[-1] == "selfdrive: stopped"
    assert "%" not in out + error  # no progress where there is no terminal


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_reader_that_has_enough_gets_no_traceback() -> None:
    command = f"{shlex.quote(sys.executable)} -m selfdrive_env list | true"
    done = subprocess.run(
        ["sh", "-c", command], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_settings_may_be_given_in_several_words_and_turns() -> None:
    words = ["evaluate", "idm", "--set", "dt=0.3", "bodies=typed", "--set", "map_variants=2"]
    assert make_parser().parse_args(words).set == ["dt=0.3", "bodies=typed", "map_variants=2"]
    assert make_parser().parse_args(["evaluate", "idm"]).set == []


@pytest.mark.parametrize("words", [["bench", "--worlds", "0"], ["demo", "--seconds", "x"]])
def test_numbers_out_of_range_are_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "must be a whole number of at least 1" in capsys.readouterr().err


def test_seeds_begin_at_0(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dataset", "camera", "-o", "set", "--seed"]
    assert make_parser().parse_args([*words, "0"]).seed == 0
    for wrong in ("-1", "9" * 13):
        with pytest.raises(SystemExit):
            make_parser().parse_args([*words, wrong])
        assert "at least 0 and at most 12 digits" in capsys.readouterr().err


def test_list_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    from selfdrive_env.commands import listing
    from selfdrive_env.config.choices import (
        BASELINES,
        MAP_FAMILIES,
        POLICIES,
        SCENE_ENVIRONMENTS,
    )
    from selfdrive_env.config.layouts import LAYOUTS
    from selfdrive_env.config.presets import PRESETS
    from selfdrive_env.maps import BUILT_IN
    from selfdrive_env.training.config import PRESETS as TRAINING

    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    every = (*selfdrive_env.ENVIRONMENTS, *SCENE_ENVIRONMENTS)
    assert set(found["environments"]) == {f"selfdrive_env/{one.name}" for one in every}
    assert all(found["environments"].values())
    assert set(found["maps"]) == set(BUILT_IN)
    assert set(found["map_families"]) == set(MAP_FAMILIES)
    assert set(found["policies"]) == {*POLICIES, *BASELINES}
    assert set(found["presets"]) == set(PRESETS)
    assert set(found["training_presets"]) == set(TRAINING)
    assert set(found["layouts"]) == set(LAYOUTS)
    assert found["layouts"]["lean"]["columns"] == LAYOUTS["lean"].width
    assert main(["list", "environments"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    starts = {line.index(found["environments"][line.split()[0]]) for line in lines}
    assert len(starts) == 1
    assert main(["list", "layouts"]) == 0
    assert f"{LAYOUTS['lean'].width} columns, 2 goals" in capsys.readouterr().out
    assert listing.catalogue("maps")["maps"]["riverside"]["lane_km"] > 5.0
