"""The command line: look at maps and replays, compile, measure speed, train and evaluate policies.

`python -m selfdrive_env -h` has all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Of the command line without the program's name, None for those of the process.

    Returns:
        Exit code: 0 after success, 2 after a mistake in what the user gave.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser(words).parse_args(words)
    try:
        return int(parsed.run(parsed))
    except (ValueError, OSError, ImportError) as error:
        text = " ".join(str(error).split())
        print(f"selfdrive: {text or type(error).__name__}", file=sys.stderr)
        return 2


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """Builds the parser; the options of a command in a file of its own are imported with it."""
    parser = argparse.ArgumentParser(prog="selfdrive", description=__doc__.split(": ")[1].strip())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_map_commands(commands)
    warmup = commands.add_parser("warmup", help="compile all kernels ahead of their first use")
    if words[:1] == ["warmup"]:
        from selfdrive_env import warmup as warmup_module

        warmup_module.add_arguments(warmup)
        warmup.set_defaults(run=warmup_module.run)
    bench = commands.add_parser("bench", help="measure simulation speed")
    if words[:1] == ["bench"]:
        from selfdrive_env import bench as bench_module

        bench_module.add_arguments(bench)
        bench.set_defaults(run=bench_module.run)
    train = commands.add_parser("train", help="train a policy by self-play")
    if words[:1] == ["train"]:
        from selfdrive_env.training import command

        command.add_arguments(train)
        train.set_defaults(run=command.run)
    evaluation = commands.add_parser("evaluate", help="measure how well a policy drives")
    if words[:1] == ["evaluate"]:
        from selfdrive_env.evaluation import report

        report.add_arguments(evaluation)
        evaluation.set_defaults(run=report.run)
    replay = commands.add_parser("replay", help="turn an episode file into a web page")
    if words[:1] == ["replay"]:
        from selfdrive_env.episodes import page

        page.add_arguments(replay)
        replay.set_defaults(run=page.run)
    return parser


def _add_map_commands(commands: Any) -> None:
    """Adds `map info` and `map plot`."""
    what = "an OpenDRIVE file (.xodr, .xodr.gz, .xodr.xz) or the name of a built-in town"
    maps = commands.add_parser("map", help="describe or draw a map")
    actions = maps.add_subparsers(required=True, metavar="ACTION")

    info = actions.add_parser("info", help="print figures about a map")
    info.add_argument("file", metavar="FILE", help=what)
    info.add_argument("--json", action="store_true", help="print one JSON object")
    info.set_defaults(run=_map_info)

    plot = actions.add_parser("plot", help="draw a map from above")
    plot.add_argument("file", metavar="FILE", help=what)
    plot.add_argument("-o", "--output", metavar="PNG", required=True, help="where to write it")
    plot.add_argument("--size", type=int, default=1600, help="longer side in pixels (%(default)s)")
    plot.set_defaults(run=_map_plot)


def _map_info(parsed: argparse.Namespace) -> int:
    """Prints the figures of one map."""
    from selfdrive_env.maps import load
    from selfdrive_env.maps.inspection import describe

    figures = describe(load(parsed.file))
    if parsed.json:
        print(json.dumps(figures, allow_nan=False))
        return 0
    problems = figures.pop("problems")
    for key, value in figures.items():
        print(f"{key:16} {'-' if value is None else value}")
    print(f"{'problems':16} {len(problems)}")
    for problem in problems:
        print(f"  {problem}")
    return 0


def _map_plot(parsed: argparse.Namespace) -> int:
    """Writes the picture of one map."""
    from selfdrive_env.maps import load
    from selfdrive_env.maps.plot import plot

    plot(load(parsed.file), parsed.output, size=parsed.size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
