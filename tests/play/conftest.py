from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selfdrive_env.play.session import Session, make_env

SMALL: dict[str, Any] = {"agents_per_world": 8, "num_threads": 1, "layout": "lean"}


@pytest.fixture
def session() -> Iterator[Session]:
    env = make_env("riverside", "idm", None, SMALL)
    yield Session(env, None, 3)
    env.close()


@pytest.fixture
def opened(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A window on SDL's dummy display, as it opens."""
    pytest.importorskip("pygame", reason="needs pygame-ce, extra play")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from selfdrive_env.play.game import Game

    made = Game(session, episode=tmp_path / "a.episode", size=320)
    yield made
    made.window.close()


@pytest.fixture
def game(opened: Any) -> Any:
    """The same after the key that begins."""
    pygame = pytest.importorskip("pygame")
    for kind in (pygame.KEYDOWN, pygame.KEYUP):
        pygame.event.post(pygame.event.Event(kind, key=pygame.K_SPACE))
    opened.turn(0.0)
    return opened
