"""What `map info`, `map plot` and `map export` do."""

from __future__ import annotations

import argparse
import json

__all__ = ["draw", "export", "info"]

LINES = 20
"""Most lines that are printed of a list."""


def info(parsed: argparse.Namespace) -> int:
    """Prints the figures of one map; returns 0."""
    from selfdrive_env.maps import load
    from selfdrive_env.maps.inspection import describe

    figures = describe(load(parsed.file))
    if parsed.json:
        print(json.dumps(figures, allow_nan=False))
        return 0
    for key, value in figures.items():
        if isinstance(value, list):
            print(f"{key:16} {len(value)}")
            for line in value[:LINES]:
                print(f"  {line}")
            if len(value) > LINES:
                print(f"  and {len(value) - LINES} more (--json lists them all)")
        else:
            print(f"{key:16} {'-' if value is None else value}")
    return 0


def draw(parsed: argparse.Namespace) -> int:
    """Writes the picture of one map; returns 0."""
    from selfdrive_env.maps import load
    from selfdrive_env.rendering import draw_network
    from selfdrive_env.rendering.canvas import import_pillow

    image = import_pillow()[0]
    picture = draw_network(load(parsed.file), size=parsed.size)
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
