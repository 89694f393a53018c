"""What commands are made of: their declaration, and options that several of them have."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from selfdrive_env.maps.readers import endings

__all__ = [
    *("FILES", "FOLDERS", "MAP", "MAPS", "Command", "add_json", "add_output", "seed_number"),
    *("whole", "with_completion"),
]

FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
FOLDERS = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/", "tcsh": "d"}
"""What a shell completes an option with."""

MAP = f"a built-in town, a map by seed (city:17) or a map file ({endings()})"
MAPS = f"{MAP}, or a range of seeds (city:0-15)"


class Command(NamedTuple):
    """One command."""

    name: str
    help: str
    run: str
    """module:function, which takes the parsed options and returns the exit code."""

    add: Callable[[argparse.ArgumentParser], None]
    """Adds the options."""

    example: str


def with_completion(action: argparse.Action, completion: dict[str, str]) -> None:
    """Tells shells what an option is completed with."""
    action.complete = completion  # type: ignore[attr-defined]


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the option that asks for one JSON object."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_output(parser: argparse.ArgumentParser, metavar: str, text: str, **keywords: Any) -> None:
    with_completion(
        parser.add_argument("-o", "--output", metavar=metavar, help=text, **keywords), FILES
    )


def whole(text: str) -> int:
    """Reads a whole number of at least 1."""
    return _whole(text, 1)


def seed_number(text: str) -> int:
    """Reads a whole number of at least 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of at least {least} and at most 12 digits, got {text!r}"
        )
    return int(text)
