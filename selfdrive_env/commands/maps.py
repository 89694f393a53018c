"""What `map info`, `map plot` and `map export` do."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from selfdrive_env.config.choices import maps_named

__all__ = ["draw", "export", "info"]

LINES = 20
"""Most lines that are printed of a list."""

WIDTH = 24
"""Of the names in a table; longer ones shift their row [characters]."""

COLUMNS = {
    "driving_lane_km": "lane-km",
    "roads": "roads",
    "junctions": "junctions",
    "traffic_lights": "lights",
    "connectivity": "linked",
    "share_reached": "reached",
    "open_ends": "open ends",
    "inferred": "inferred",
    "dropped": "dropped",
    "problems": "problems",
}
"""Figure of a map -> its column in a table of several."""


def named(words: Sequence[str]) -> list[str]:
    """Returns the maps that a command line names, a range of seeds as its maps.

    Args:
        words: Names, ranges and files.

    Raises:
        ValueError: As of `maps_named`.
    """
    return [name for word in words for name in maps_named(word) or (word,)]


def info(parsed: argparse.Namespace) -> int:
    """Prints the figures of one map, or a table of several; returns 0."""
    from selfdrive_env.maps import load
    from selfdrive_env.maps.inspection import describe

    names = named(parsed.file)
    if len(names) == 1:
        figures = describe(load(names[0]))
        if parsed.json:
            print(json.dumps(figures, allow_nan=False))
        else:
            _print_figures(figures)
        return 0
    if not parsed.json:
        print(_row("map", COLUMNS.values()))
    found = {}
    for name in names:
        found[name] = describe(load(name))
        if not parsed.json:
            print(_row(name, (_short(found[name][key]) for key in COLUMNS)), flush=True)
    if parsed.json:
        print(json.dumps(found, allow_nan=False))
        return 0
    km = [figures["driving_lane_km"] for figures in found.values()]
    print(f"{len(km)} maps, {sum(km):.1f} lane-km, {min(km):.1f} to {max(km):.1f} each")
    if any(figures["problems"] or figures["open_ends"] for figures in found.values()):
        print("`map info` of one map lists its problems and open ends")
    return 0


def _print_figures(figures: dict[str, Any]) -> None:
    """Prints the figures of one map, a line each, and the beginnings of lists."""
    for key, value in figures.items():
        if isinstance(value, list):
            print(f"{key:16} {len(value)}")
            for line in value[:LINES]:
                print(f"  {line}")
            if len(value) > LINES:
                print(f"  and {len(value) - LINES} more (--json lists them all)")
        else:
            print(f"{key:16} {'-' if value is None else value}")


def _row(name: str, cells: Any) -> str:
    return f"{name:{WIDTH}}" + "".join(f"{cell:>11}" for cell in cells)


def _short(value: Any) -> str:
    """Returns a figure as it stands in a table: of a list its length."""
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else str(value)


def draw(parsed: argparse.Namespace) -> int:
    """Writes the picture of one map, or a sheet of several; returns 0."""
    from selfdrive_env.maps import load
    from selfdrive_env.rendering import draw_network, draw_sheet
    from selfdrive_env.rendering.canvas import import_pillow

    image = import_pillow()[0]
    names = named(parsed.file)
    if len(names) == 1:
        picture = draw_network(load(names[0]), size=parsed.size)
    else:
        picture = draw_sheet((load(name) for name in names), len(names), size=parsed.size)
    image.fromarray(picture).save(parsed.output, format="PNG")
    return 0


def export(parsed: argparse.Namespace) -> int:
    """Writes one map as OpenDRIVE and tells what reads back otherwise; returns 0."""
    from selfdrive_env.maps import load, save_opendrive

    network = load(parsed.file)
    found = save_opendrive(network, parsed.output)
    print(f"{parsed.output}: {len(network.lanes)} lanes, {network.driving_lane_km:.1f} lane-km")
    for line in found:
        print(f"  reads back otherwise: {line}")
    return 0
