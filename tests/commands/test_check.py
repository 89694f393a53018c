"""`check`: the report, and the kit on an id and on a factory of one's own."""

from __future__ import annotations

import configparser
import json
import re
import textwrap
from pathlib import Path

import pytest

import selfdrive_env
from selfdrive_env.__main__ import main
from selfdrive_env.commands import check
from selfdrive_env.testing import CHECKS

ROOT = Path(__file__).parents[2]


def test_the_report_has_versions_cache_device_and_extras(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["installation"]
    assert set(report) == {
        "versions", "system", "cores", "cache", "device", "extras", "first_step",
    }  # fmt: skip
    assert report["versions"]["numba"]
    assert report["cores"] >= 1
    assert (report["device"]["cuda"] is None) == bool(report["device"]["why_not"])
    assert report["first_step"]["seconds"] > 0.0


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = check._is_there
    monkeypatch.setattr(check, "_is_there", lambda module: module != "pygame" and there(module))
    assert main(["check"]) == 0
    assert 'misses pygame-ce: pip install "selfdrive_env[play]"' in capsys.readouterr().out


def test_the_extras_are_those_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    wanted = {
        extra: set(re.findall(r"^[\w-]+", packages, re.MULTILINE))
        for extra, packages in setup["options.extras_require"].items()
        if extra not in ("all", "docs", "test")
    }
    assert {extra: set(packages) for extra, packages in check.EXTRAS.items()} == wanted


def test_every_environment_of_ours_has_settings_that_part_its_rows() -> None:
    for one in selfdrive_env.ENVIRONMENTS:
        envs = check.factory(f"selfdrive_env/{one.name}", {})(num_envs=2)
        assert envs.rows_per_world == 1
        assert envs.settings.action_type == one.keywords.get("action_type", "discrete")


@pytest.mark.slow
def test_our_own_environment_keeps_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "selfdrive_env/Drive-v0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["conformance"]
    assert report["broken"] == {}
    assert report["left_out"] == ["later_episodes"]
    assert set(report["kept"]) == set(CHECKS) - {"later_episodes"}


def test_a_factory_that_breaks_a_promise_gives_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "factory_of_mine.py").write_text(
        textwrap.dedent("""
        from selfdrive_env.envs import make_self_play

        def make(num_envs, autoreset_mode, **settings):
            env = make_self_play(
                num_envs, autoreset_mode=autoreset_mode, agents_per_world=1, num_threads=1
            )
            env.metadata["autoreset_mode"] = "of mine"
            return env
        """)
    )
    monkeypatch.chdir(tmp_path)
    some = sorted(set(CHECKS) - {"metadata", "spaces"})
    assert main(["check", "factory_of_mine:make", "--skip", *some]) == 1
    out = capsys.readouterr().out
    assert "spaces           kept" in out
    assert "metadata['autoreset_mode'] must be an AutoresetMode, got 'of mine'" in out
    assert "1 of 2 broken" in out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["Nope-v1"], "doesn't exist"),
        (["no_such_module:make"], "there is no module 'no_such_module'"),
        (["os:nothing"], "module 'os' has no function 'nothing'"),
        (["os:getcwd"], "cannot make os:getcwd"),
        (["selfdrive_env/Drive-v0", "--skip", "nothing"], "--skip has no check 'nothing'"),
        (["selfdrive_env/Drive-v0", "--num-envs", "1"], "--num-envs must be at least 2, got 1"),
        (["selfdrive_env/Drive-v0", "--set", "dt"], "--set must be key=value, got 'dt'"),
        (["selfdrive_env/Drive-v0", "--set", "fly=1"], "unknown setting 'fly'"),
    ],
)
def test_mistakes_are_told(
    words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 2
    told = capsys.readouterr().err
    assert error in told
    assert len(told.splitlines()) == 1
