"""Takes the picture of the page on playing: `python docs/play.py docs/images/play.png`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from selfdrive_env.play.game import Game
from selfdrive_env.play.session import Session, make_env
from selfdrive_env.rendering.window import import_pygame


def main() -> None:
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    pygame = import_pygame()
    env = make_env("riverside", "idm", None, {"num_threads": 1, "agents_per_world": 60})
    game = Game(Session(env, None, 4), episode=Path("play.episode"))
    game.turn(0.0)
    pygame.image.save(game.window.surface, sys.argv[1])
    env.close()


if __name__ == "__main__":
    main()
