"""What `map info` and `map plot` do."""

from __future__ import annotations

import argparse
import json

__all__ = ["draw", "info"]


def info(parsed: argparse.Namespace) -> int:
    """Prints the figures of one map; returns 0."""
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


def draw(parsed: argparse.Namespace) -> int:
    """Writes the picture of one map; returns 0."""
    from selfdrive_env.maps import load
    from selfdrive_env.rendering import draw_network
    from selfdrive_env.rendering.canvas import import_pillow

    image = import_pillow()[0]
    picture = draw_network(load(parsed.file), size=parsed.size)
    image.fromarray(picture).save(parsed.output, format="PNG")
    return 0
