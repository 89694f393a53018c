"""The whole command line: each command with its options, an example, and the code that runs it.

Only settings are imported here. What a command does is named by module and function and imported
when it runs, so that `--help` and tab completion are quick and a command needs its own extra only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfdrive_env.commands.groups import GROUPS
from selfdrive_env.commands.listing import KINDS
from selfdrive_env.commands.parts import (
    FILES,
    FOLDERS,
    MAP,
    Command,
    add_json,
    add_output,
    whole,
    with_completion,
)
from selfdrive_env.config.choices import AUTORESETS, BASELINES, POLICIES, TRAFFIC
from selfdrive_env.config.installation import package_version
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.config.presets import PRESETS
from selfdrive_env.training.config import PRESETS as TRAINING_PRESETS

__all__ = ["COMMANDS", "GROUPS", "MAP", "PROBES", "SHELLS", "Command", "make_parser"]

EXIT_CODES = """exit codes:
  0    done
  1    it ran and failed: a promise is broken, or the loss is no number any more
  2    a mistake in what was given, or something is missing; one line says what
  130  stopped by Ctrl-C"""

SHELLS = ("bash", "zsh", "tcsh")

PROBES = (
    *("merge", "unprotected_left_turn", "four_way_stop", "roundabout_entry", "overtaking"),
    *("dense", "closed_road"),
)
"""Of `evaluation.probes`, whose import takes long."""

POLICY = (
    f"{', '.join(BASELINES)} (an action), {', '.join(POLICIES)}, a run's folder, a policy file, or "
    "an SB3 file (.zip)"
)
SETTING = "a setting of the environment; the value is JSON, or else text"


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line; the attribute `run` names what runs."""
    parser = argparse.ArgumentParser(
        prog="selfdrive",
        description="Road scenes for learning to drive: look at maps, train, evaluate, play.",
        epilog=f"selfdrive COMMAND --help has an example of each command\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument(
        "--print-completion", action=_Completion, choices=SHELLS, help="print a completion script"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in COMMANDS:
        _add(commands, command)
    for name, (text, group) in GROUPS.items():
        grouped = commands.add_parser(name, help=text)
        actions = grouped.add_subparsers(required=True, metavar="ACTION", dest="action")
        for command in group:
            _add(actions, command)
    return parser


def _add(commands: Any, command: Command) -> None:
    parser = commands.add_parser(
        command.name,
        help=command.help,
        description=command.help[0].upper() + command.help[1:] + ".",
        epilog=f"example:\n  {command.example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add(parser)
    parser.set_defaults(run=command.run)


class _Version(argparse.Action):
    """Prints the version and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"selfdrive_env {package_version()}")
        parser.exit()


class _Completion(argparse.Action):
    """Prints the completion script of a shell and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: Any
    ) -> None:
        try:
            import shtab
        except ImportError:
            print('selfdrive: tab completion needs shtab: pip install "shtab"', file=sys.stderr)
            parser.exit(2)
        print(shtab.complete(parser, values))
        parser.exit()


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=SETTING
    )


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=tuple(KINDS),
        help="only these (all)",
    )
    add_json(parser)


def _add_warmup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        type=_device,
        default="cpu",
        help="cpu (the default), cuda, or cuda:1 and so on: compile kernels for that one, too",
    )
    add_json(parser)


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"must be cpu, cuda or cuda:1 and so on, got {text!r}")
    return text


def _add_bench(parser: argparse.ArgumentParser) -> None:
    with_completion(
        parser.add_argument("--map", default="riverside", help=f"{MAP} (%(default)s)"), FILES
    )
    parser.add_argument("--worlds", type=whole, default=32, help="number of worlds (%(default)s)")
    parser.add_argument("--agents", type=whole, default=32, help="of each world (%(default)s)")
    parser.add_argument("--threads", type=whole, default=1, help="of the CPU (%(default)s)")
    parser.add_argument(
        "--layout", default="full", choices=tuple(LAYOUTS), help="of a row (%(default)s)"
    )
    parser.add_argument("--steps", type=whole, default=100, help="of one run (%(default)s)")
    parser.add_argument(
        "--repeats", type=whole, default=9, help="runs; the median counts (%(default)s)"
    )
    parser.add_argument("--stages", action="store_true", help="print the time of each stage")
    add_json(parser)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", choices=tuple(TRAINING_PRESETS), help="settings to start from (cpu)"
    )
    file = parser.add_argument(
        "--config", metavar="FILE", help="JSON or TOML file of settings that change the preset"
    )
    with_completion(file, FILES)
    recipe = parser.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="train in stages: selfplay, or a TOML or JSON file of stages",
    )
    with_completion(recipe, FILES)
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change settings; env.KEY=VALUE for one of the environment",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint of the folder"
    )
    with_completion(
        parser.add_argument("--out-dir", metavar="DIR", help="folder of the run"), FOLDERS
    )
    parser.add_argument("--updates", type=int, help="stop after so many updates, to go on later")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    policies = f"{POLICY}; with a second one it is compared; merge FILE ... adds up what -o wrote"
    with_completion(
        parser.add_argument("policy", metavar="POLICY", nargs="+", help=policies), FILES
    )
    with_completion(
        parser.add_argument(
            "--map",
            nargs="+",
            default=["harbour"],
            help="built-in towns, maps by seed (town:100-115) or files (harbour); of several, each "
            "world draws one",
        ),
        FILES,
    )
    parser.add_argument(
        "--each-map",
        action="store_true",
        help="drive with all seeds on each map in turn: figures map by map, and of all together",
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="simulated time of each world (%(default)g)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0, 1, 2, 3],
        help="one a world (0 1 2 3); equal seeds make policies comparable",
    )
    scenes = "drive recorded scenes instead, as their ego; POLICY may be expert: who was recorded"
    with_completion(parser.add_argument("--scenes", metavar="SRC", help=scenes), FILES)
    others = "who drives the others of --scenes: replay, idm, constant or still (as the scene says)"
    parser.add_argument("--traffic", metavar="DRIVER", help=others)
    with_completion(
        parser.add_argument("--against", metavar="POLICY", help="compare on the same seeds"), FILES
    )
    parser.add_argument(
        "--preset",
        nargs="+",
        choices=list(PRESETS),
        default=["eval"],
        help="reward weights (eval); several give a table of behaviour",
    )
    parser.add_argument(
        "--probes",
        nargs="*",
        default=list(PROBES),
        metavar="PROBE",
        help=f"skill probes, or none (all: {', '.join(PROBES)})",
    )
    parser.add_argument("--trials", type=int, default=20, help="of each probe (%(default)s)")
    _settings(parser)
    parser.add_argument(
        "--film", type=int, default=0, metavar="N", help="film the N worst incidents"
    )
    kinds = "of these kinds alone, as the table calls them: rear_end_soft and so on"
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help=kinds)
    folder = parser.add_argument(
        "--out-dir",
        type=Path,
        metavar="DIR",
        help="for evaluation.json, recordings and films (with --film runs/evaluation)",
    )
    with_completion(folder, FOLDERS)
    parser.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the worlds")
    counts = "file for all counts; merge reads it"
    with_completion(
        parser.add_argument("-o", "--output", type=Path, metavar="JSON", help=counts), FILES
    )
    add_json(parser)
    drives = ("map", "minutes", "seeds", "preset", "probes", "trials")
    parser.set_defaults(usual={name: parser.get_default(name) for name in drives})


def _add_play(parser: argparse.ArgumentParser) -> None:
    with_completion(
        parser.add_argument("--map", default="riverside", help=f"{MAP} (%(default)s)"), FILES
    )
    with_completion(
        parser.add_argument(
            "--traffic",
            default="idm",
            metavar="DRIVER",
            help=f"who drives the others: {', '.join((*TRAFFIC, *POLICIES))}, a run's folder or "
            "a policy file (%(default)s)",
        ),
        FILES,
    )
    with_completion(
        parser.add_argument(
            "--policy", metavar="POLICY", help=f"drives until you take over: {POLICY}"
        ),
        FILES,
    )
    parser.add_argument("--agents", type=whole, help="of the world, you included (30)")
    parser.add_argument("--seed", type=int, help="of the first episode (any)")
    parser.add_argument("--dt", type=float, help="length of a step in seconds (0.1)")
    parser.add_argument("--preset", choices=list(PRESETS), help="reward weights (eval)")
    _settings(parser)
    parser.add_argument("--observed", action="store_true", help="begin with the observation shown")
    parser.add_argument("--size", type=int, default=720, help="of the picture [px] (%(default)s)")
    where = "where the key E saves; a number is added (%(default)s)"
    add_output(parser, "EPISODE", where, default="play.episode")


def _add_replay(parser: argparse.ArgumentParser) -> None:
    file = parser.add_argument(
        "episode", metavar="EPISODE", type=Path, help="a file that ends in .episode"
    )
    with_completion(file, FILES)
    parser.add_argument(
        "--camera",
        metavar="AGENT",
        type=int,
        help="show what this agent sees ahead, too: 320 x 180 pixels a frame",
    )
    add_output(parser, "HTML", "where to write the page (beside the episode)", type=Path)


def _add_export(parser: argparse.ArgumentParser) -> None:
    text = f"{', '.join(POLICIES)}, a run's folder or a policy file"
    with_completion(parser.add_argument("policy", metavar="POLICY", help=text), FILES)
    add_output(parser, "ONNX", "where to write it (.onnx)", required=True)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "env",
        nargs="?",
        metavar="ENV",
        help="id of an environment, or module:factory; without it only the installation is checked",
    )
    _settings(parser)
    parser.add_argument("--num-envs", type=whole, default=3, help="rows, 2 or more (%(default)s)")
    parser.add_argument("--steps", type=whole, default=60, help="of each run (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="(%(default)s)")
    parser.add_argument(
        "--modes",
        nargs="+",
        default=["SameStep", "NextStep", "Disabled"],
        choices=list(AUTORESETS),
        metavar="MODE",
        help="autoreset modes that it has (SameStep NextStep Disabled)",
    )
    parser.add_argument("--skip", nargs="+", default=[], metavar="CHECK", help="to leave out")
    add_json(parser)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    add_output(parser, "FILM", "film to write, .mp4 or .gif (%(default)s)", default="selfdrive.mp4")
    parser.add_argument("--map", default="harbour", help=f"{MAP} (%(default)s)")
    parser.add_argument("--agents", type=whole, default=100, help="in the world (%(default)s)")
    parser.add_argument("--seconds", type=whole, default=30, help="of the film (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the world (%(default)s)")
    parser.add_argument("--size", type=int, default=512, help="of the picture [px] (%(default)s)")
    add_json(parser)


COMMANDS: Sequence[Command] = (
    Command(
        "demo",
        "film a trained policy in a built-in town",
        "selfdrive_env.commands.demo:run",
        _add_demo,
        "selfdrive demo -o film.mp4",
    ),
    Command(
        "list",
        "list environments, maps, policies, presets and layouts",
        "selfdrive_env.commands.listing:run",
        _add_list,
        "selfdrive list maps",
    ),
    Command(
        "check",
        "check the installation, and whether an environment keeps the vector contract",
        "selfdrive_env.commands.check:run",
        _add_check,
        "selfdrive check selfdrive_env/SelfPlay-v0",
    ),
    Command(
        "play",
        "drive with the keyboard, or watch a policy",
        "selfdrive_env.play.command:run",
        _add_play,
        "selfdrive play --map hillcrest --traffic selfplay",
    ),
    Command(
        "replay",
        "turn an episode file into a web page",
        "selfdrive_env.episodes.page:run",
        _add_replay,
        "selfdrive replay play-1.episode -o play.html",
    ),
    Command(
        "train",
        "train a policy by self-play",
        "selfdrive_env.commands.train:run",
        _add_train,
        "selfdrive train --preset cpu --set minutes=5 --out-dir runs/first",
    ),
    Command(
        "evaluate",
        "measure how well a policy drives",
        "selfdrive_env.evaluation.report:run",
        _add_evaluate,
        "selfdrive evaluate selfplay --minutes 2 --against idm --film 3",
    ),
    Command(
        "export",
        "write a trained policy as an ONNX file",
        "selfdrive_env.policies.onnx_export:run",
        _add_export,
        "selfdrive export selfplay -o policy.onnx",
    ),
    Command(
        "bench",
        "measure simulation speed",
        "selfdrive_env.commands.bench:run",
        _add_bench,
        "selfdrive bench --worlds 32 --agents 32 --stages",
    ),
    Command(
        "warmup",
        "compile all kernels ahead of their first use",
        "selfdrive_env.commands.warmup:run",
        _add_warmup,
        "selfdrive warmup",
    ),
)
"""Commands in the order of `--help`; `GROUPS` have their own below them."""
