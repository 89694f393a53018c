"""`render_mode="human"` on SDL's dummy display."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401 registers the environments
from selfdrive_env.envs import make_self_play
from selfdrive_env.rendering import window
from selfdrive_env.rendering.painter import EGO

pygame = pytest.importorskip("pygame", reason="needs pygame-ce, extra play")

SMALL: dict[str, Any] = {"agents_per_world": 4, "num_threads": 1, "layout": "lean"}


@pytest.fixture(autouse=True)
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    assert not window._OPENED


def pixels(shown: Any) -> np.ndarray:
    surface = shown._window.surface
    raw = pygame.image.tobytes(surface, "RGB")
    return np.frombuffer(raw, np.uint8).reshape(*surface.get_size()[::-1], 3)


def test_a_single_environment_shows_each_step() -> None:
    env = gymnasium.make("selfdrive_env/Drive-v0", render_mode="human", render_size=200, **SMALL)
    own = env.unwrapped
    own.vector.metadata["render_fps"] = 1000
    assert own.vector._viewer is None
    env.reset(seed=1)
    shown = own.vector._viewer
    first = pixels(shown).copy()
    assert first.shape == (200, 200, 3)
    assert (np.abs(first.astype(int) - EGO).max(2) < 12).sum() > 10
    np.testing.assert_array_equal(first, own.vector.frame(0, hud=True))
    for _ in range(3):
        env.step(9)
    assert not np.array_equal(pixels(shown), first)
    assert env.render() is None
    env.close()
    env.close()


def test_rows_stand_beside_each_other() -> None:
    env = make_self_play(6, render_mode="human", **{**SMALL, "agents_per_world": 6})
    env.metadata["render_fps"] = 1000
    env.reset(seed=1)
    env.step(env.action_space.sample())
    shown = pixels(env._viewer)
    assert shown.shape == (640, 960, 3)
    for row in range(6):
        top, left = 320 * (row // 3), 320 * (row % 3)
        tile = shown[top : top + 320, left : left + 320]
        np.testing.assert_array_equal(tile, env.frame(row, size=320, hud=True))
    env.close()


def test_a_closed_window_stays_closed_and_the_run_goes_on() -> None:
    env = make_self_play(1, render_mode="human", **{**SMALL, "agents_per_world": 1})
    env.metadata["render_fps"] = 1000
    env.reset(seed=1)
    shown = env._viewer
    event = pygame.event.Event(pygame.WINDOWCLOSE, window=shown._window._window)
    pygame.event.post(event)
    for _ in range(3):
        env.step(np.array([9]))
    assert shown._window.closed
    env.close()


def test_two_environments_have_two_windows() -> None:
    envs = [make_self_play(1, render_mode="human", **{**SMALL, "agents_per_world": 1})
            for _ in range(2)]  # fmt: skip
    for env in envs:
        env.metadata["render_fps"] = 1000
        env.reset(seed=1)
    assert len(window._OPENED) == 2
    envs[0].close()
    envs[1].step(np.array([9]))
    envs[1].close()


def test_it_waits_for_the_time_of_a_frame() -> None:
    env = make_self_play(1, render_mode="human", render_size=64, **{**SMALL, "agents_per_world": 1})
    env.reset(seed=1)
    before = pygame.time.get_ticks()
    for _ in range(5):
        env.step(np.array([9]))
    assert pygame.time.get_ticks() - before > 400  # ten a second
    env.close()


def test_too_many_rows_are_refused() -> None:
    env = make_self_play(17, render_mode="human", **{**SMALL, "agents_per_world": 17})
    with pytest.raises(ValueError, match="shows at most 16 rows, got num_envs=17"):
        env.reset(seed=1)
    env.close()


def test_a_missing_pygame_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = make_self_play(1, render_mode="human", **{**SMALL, "agents_per_world": 1})
    with pytest.raises(ImportError, match=r'pip install "selfdrive_env\[play\]"'):
        env.reset(seed=1)
    env.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for an X display")
@pytest.mark.parametrize("display", [None, ":987"])
def test_without_a_display_it_says_so(display: str | None) -> None:
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    known = {name: value for name, value in os.environ.items() if name not in names}
    known["PYTHONPATH"] = os.pathsep.join(sys.path)
    if display is not None:
        known["DISPLAY"] = display
    code = "from selfdrive_env.rendering.window import Window; Window((99, 99), 'a')"
    done = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError: no display to open a window on" in done.stderr
