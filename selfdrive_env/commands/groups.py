"""Commands with a word before their own: those of maps, of scenes and of data sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from selfdrive_env.commands.parts import (
    FILES,
    FOLDERS,
    MAP,
    MAPS,
    Command,
    add_json,
    add_output,
    seed_number,
    whole,
    with_completion,
)

__all__ = ["GROUPS"]

SCENES = "a file of a data set, or .scene; or a folder of them"


def _add_map_info(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("file", metavar="MAP", nargs="+", help=MAPS), FILES)
    add_json(parser)


def _add_map_plot(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("file", metavar="MAP", nargs="+", help=MAPS), FILES)
    add_output(parser, "PNG", "where to write it", required=True)
    parser.add_argument("--size", type=int, default=1600,
        help="longer side [px]; of several maps, that of the whole sheet (%(default)s)",
    )  # fmt: skip


def _add_map_export(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("file", metavar="MAP", help=MAP), FILES)
    add_output(parser, "XODR", "where to write it (.xodr, .xodr.gz or .xodr.xz)", required=True)


def _add_scenes_info(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("source", metavar="SRC", nargs="+", help=SCENES), FILES)
    add_json(parser)


def _add_scenes_plot(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("source", metavar="SRC", help="a file of scenes"), FILES)
    add_output(parser, "PNG", "where to write it", required=True)
    parser.add_argument(
        "--record", type=int, default=0, help="which scene of the file, from 0 (%(default)s)"
    )
    parser.add_argument("--size", type=int, default=1200, help="longer side [px] (%(default)s)")


def _add_scenes_film(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("source", metavar="SRC", help="a file of scenes"), FILES)
    add_output(parser, "FILM", "where to write it (.gif, .png or .mp4)", required=True)
    parser.add_argument(
        "--record", type=int, default=0, help="which scene of the file, from 0 (%(default)s)"
    )
    words = "replay, idm_log, waypoint, idm, constant, still, or a policy such as selfplay"
    for name, who in (("driver", "the ego"), ("traffic", "the others")):
        text = f"who drives {who}: {words} (as recorded)"
        with_completion(parser.add_argument(f"--{name}", metavar="DRIVER", help=text), FILES)
    parser.add_argument("--size", type=int, default=640, help="longer side [px] (%(default)s)")
    parser.add_argument("--span", type=float, help="follow the ego, so many metres across (all)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (%(default)s)")


def _add_scenes_convert(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("source", metavar="SRC", nargs="+", help=SCENES), FILES)
    folder = parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True,
        help="folder for .scene files and a report",
    )  # fmt: skip
    with_completion(folder, FOLDERS)
    parser.add_argument(
        "--jobs", type=whole, default=1, help="processes that read at once (%(default)s)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out what the folder has already"
    )
    add_json(parser)


def _add_scenes_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", nargs="+", default=["riverside"], metavar="MAP", help=MAPS)
    parser.add_argument(
        "--traffic", default="selfplay", metavar="POLICY", help="selfplay, idm or a policy file"
    )
    parser.add_argument("-n", "--number", type=whole, default=10, help="of scenes (%(default)s)")
    parser.add_argument("--agents", type=whole, default=30, help="of a world (%(default)s)")
    parser.add_argument("--seconds", type=float, default=9.0, help="of a scene (%(default)s)")
    parser.add_argument("--dt", type=float, default=0.1, help="length of a step in s (%(default)s)")
    parser.add_argument(
        "--ego", choices=("farthest", "any"), default="farthest",
        help="who drives farthest (the default), or any that drives, drawn by the seed",
    )  # fmt: skip
    parser.add_argument("--worlds", type=whole, default=8, help="at a time (%(default)s)")
    parser.add_argument("--seed", type=seed_number, default=1, help="of the first (%(default)s)")
    folder = parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="folder for .scene files"
    )
    with_completion(folder, FOLDERS)


def _add_scenes_experts(parser: argparse.ArgumentParser) -> None:
    with_completion(parser.add_argument("source", metavar="SRC", nargs="+", help=SCENES), FILES)
    folder = parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True, help="folder of Minari datasets"
    )
    with_completion(folder, FOLDERS)
    parser.add_argument(
        "--dataset", default="selfdrive/experts-v0", metavar="NAME",
        help="its name there (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--dynamics", default="bicycle", metavar="MODEL",
        help="what actions mean: bicycle, classic, delta_local, delta_global, state (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--learners", default="ego", metavar="WHO",
        help="who is an expert: ego, all, valid, interest (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--layout", default="full", metavar="NAME", help="of the observations (%(default)s)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="add what the dataset does not have yet"
    )
    add_json(parser)


def _add_dataset_camera(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", nargs="+", default=["town:0-31"], metavar="MAP", help=MAPS)
    parser.add_argument(
        "-n", "--number", type=whole, default=1000, help="of pictures (%(default)s)"
    )
    parser.add_argument(
        "--traffic", default="idm", metavar="POLICY", help="idm, selfplay or a policy file"
    )
    parser.add_argument("--width", type=whole, default=320, help="[px] (%(default)s)")
    parser.add_argument("--height", type=whole, default=180, help="[px] (%(default)s)")
    parser.add_argument("--fov", type=float, default=90.0, help="across [deg] (%(default)s)")
    for name, low, high, what in (
        ("sun", 10.0, 70.0, "elevation of the sun, drawn between [deg]"),
        ("fog", 0.0, 0.02, "extinction of the air, drawn between [1/m]"),
    ):
        parser.add_argument(
            f"--{name}", nargs=2, type=float, default=[low, high], metavar=("LOW", "HIGH"),
            help=what,
        )  # fmt: skip
    parser.add_argument("--noise", type=float, default=4.0, help="of 255 (%(default)s)")
    parser.add_argument("--seed", type=seed_number, default=1, help="(%(default)s)")
    folder = parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", required=True,
        help="folder for pictures and labels; one that was begun is gone on with",
    )  # fmt: skip
    with_completion(folder, FOLDERS)


MAP_COMMANDS: Sequence[Command] = (
    Command(
        "info",
        "print figures about a map",
        "selfdrive_env.commands.maps:info",
        _add_map_info,
        "selfdrive map info riverside --json",
    ),
    Command(
        "plot",
        "draw a map from above",
        "selfdrive_env.commands.maps:draw",
        _add_map_plot,
        "selfdrive map plot riverside -o riverside.png",
    ),
    Command(
        "export",
        "write a map as OpenDRIVE",
        "selfdrive_env.commands.maps:export",
        _add_map_export,
        "selfdrive map export riverside -o riverside.xodr",
    ),
)

SCENE_COMMANDS: Sequence[Command] = (
    Command(
        "info",
        "print figures about recorded scenes",
        "selfdrive_env.scenes.command:info",
        _add_scenes_info,
        "selfdrive scenes info recorded/ --json",
    ),
    Command(
        "plot",
        "draw a scene from above",
        "selfdrive_env.scenes.command:plot",
        _add_scenes_plot,
        "selfdrive scenes plot training.tfrecord-00000-of-01000 --record 3 -o scene.png",
    ),
    Command(
        "film",
        "film a scene as recorded, or as somebody drives it",
        "selfdrive_env.evaluation.scene_films:run",
        _add_scenes_film,
        "selfdrive scenes film junction.scene --driver selfplay --traffic idm_log -o junction.gif",
    ),
    Command(
        "convert",
        "turn scenes of data sets into .scene files",
        "selfdrive_env.scenes.command:convert",
        _add_scenes_convert,
        "selfdrive scenes convert recorded/ -o scenes --jobs 4 --resume",
    ),
    Command(
        "record",
        "let traffic drive and keep it as .scene files",
        "selfdrive_env.envs.scenes.recording:run",
        _add_scenes_record,
        "selfdrive scenes record --map town:7 --traffic selfplay -n 100 -o scenes",
    ),
    Command(
        "experts",
        "write what recorded drivers saw and did as a Minari dataset",
        "selfdrive_env.adapters.minari_experts:run",
        _add_scenes_experts,
        "selfdrive scenes experts scenes -o datasets --dynamics bicycle --learners all",
    ),
)

DATASET_COMMANDS: Sequence[Command] = (
    Command(
        "camera",
        "draw what cameras in traffic see, with boxes and lanes",
        "selfdrive_env.datasets.camera:run",
        _add_dataset_camera,
        "selfdrive dataset camera --map town:0-31 -n 20000 -o pictures",
    ),
)

GROUPS: dict[str, tuple[str, Sequence[Command]]] = {
    "map": ("describe, draw or write a map", MAP_COMMANDS),
    "scenes": ("describe, draw, film, convert or drive recorded scenes", SCENE_COMMANDS),
    "dataset": ("make data sets by driving", DATASET_COMMANDS),
}
"""First word -> what the commands below it do, and these."""
