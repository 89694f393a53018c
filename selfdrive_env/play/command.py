"""What `python -m selfdrive_env play` does with its options."""

from __future__ import annotations

import argparse
from pathlib import Path

from selfdrive_env.config.checks import check_integer
from selfdrive_env.evaluation import policies
from selfdrive_env.evaluation.report import read_settings
from selfdrive_env.play.game import Game
from selfdrive_env.play.session import Session, make_env
from selfdrive_env.rendering.canvas import import_pillow
from selfdrive_env.rendering.window import import_pygame

__all__ = ["run"]


def run(parsed: argparse.Namespace) -> int:
    """Opens the window and plays until the user quits; returns 0.

    Args:
        parsed: Options of the command.
    """
    check_integer("--size", parsed.size, 320, 2000)
    import_pygame()  # before anything is compiled
    import_pillow()
    settings = {"preset": parsed.preset, "dt": parsed.dt, "agents_per_world": parsed.agents}
    settings = {name: value for name, value in settings.items() if value is not None}
    settings |= read_settings(parsed.set)
    policy = None if parsed.policy is None else policies.load(parsed.policy, seed=parsed.seed or 0)
    env = make_env(parsed.map, parsed.traffic, policy, settings)
    try:
        session = Session(env, policy, parsed.seed)
        Game(
            session,
            episode=Path(parsed.output),
            size=parsed.size,
            observed=parsed.observed,
        ).run()
    finally:
        env.close()
    return 0
