"""Which files a Lanelet2 map is read from: its own, and those of CARLA's towns beside it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SUFFIXES", "files_beside", "is_lanelet2", "stem"]

SUFFIXES = (".osm", ".osm.gz", ".osm.xz")

STOP_LINES, CONTROLLERS = "_stoplines.json", "_traffic_light_controller.json"
"""What follows the name of the map."""


def is_lanelet2(path: Path) -> bool:
    """Returns whether a file's name ends as those of Lanelet2 maps do.

    Args:
        path: Of a file, which need not exist.
    """
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """Returns the name of a map's file without its ending.

    Args:
        path: Of a map, which need not exist.
    """
    ending = max((s for s in SUFFIXES if path.name.lower().endswith(s)), key=len)
    return path.name[: -len(ending)]


def files_beside(path: Path) -> tuple[Path, Path]:
    """Returns where the stop lines and the controllers of a map would be.

    Args:
        path: Of the map, which need not exist.

    Returns:
        Two files; either may be absent.
    """
    name = stem(path)
    return path.with_name(name + STOP_LINES), path.with_name(name + CONTROLLERS)
