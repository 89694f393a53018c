"""The window on a dummy display: keys come in as events, and something is drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import selfdrive_env
from selfdrive_env.__main__ import main
from selfdrive_env.config.images import Camera
from selfdrive_env.episodes import Episode
from selfdrive_env.images.render import CameraFrames
from selfdrive_env.rendering.palette import OBSERVED
from tests import PATIENCE
from tests.interrupt import interrupt

pygame = pytest.importorskip("pygame", reason="needs pygame-ce, extra play")

FRAME = 1.0 / 30.0
FRAME_WIDTH = 2


def press(game: Any, *keys: int, up: bool = True) -> None:
    """Posts keys and lets the game handle them, without time to pass."""
    for key in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        if up:
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=key))
    game.turn(0.0)


def let_go(game: Any, key: int) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYUP, key=key))
    game.turn(0.0)


def pixels(game: Any) -> np.ndarray:
    raw = pygame.image.tobytes(game.window.surface, "RGB")
    width, height = game.window.size
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


def count(picture: np.ndarray, colour: tuple[int, ...]) -> int:
    return int((np.abs(picture.astype(int) - colour).max(2) <= 12).sum())


def test_whoever_touches_nothing_stands_before_the_keys(opened: Any) -> None:
    opened.turn(0.0)
    helped = pixels(opened).copy()
    before = opened.session.scene(1.0)
    for _ in range(90):
        opened.turn(FRAME)
    after = opened.session.scene(1.0)
    assert opened.session.steps == 0
    assert (after.x == before.x).all()
    press(opened, pygame.K_h)
    assert not np.array_equal(pixels(opened), helped)
    press(opened, pygame.K_h, pygame.K_o, pygame.K_EQUALS)
    assert opened.paused and opened.helps and not opened.begun


@pytest.mark.parametrize("key", [pygame.K_w, pygame.K_LEFT, pygame.K_SPACE])
def test_a_driving_key_or_space_begins(opened: Any, key: int) -> None:
    press(opened, key, up=False)
    assert opened.begun and not opened.paused and not opened.helps
    for _ in range(30):
        opened.turn(FRAME)
    assert opened.session.steps == 10
    assert (opened.session.body().speed > 0.5) == (key == pygame.K_w)


def test_a_single_step_takes_the_keys_away_and_stays_paused(opened: Any) -> None:
    press(opened, pygame.K_n)
    assert opened.session.steps == 1
    assert opened.paused and not opened.helps
    press(opened, pygame.K_w, up=False)
    assert opened.paused


def test_a_body_that_keys_drive_stands_at_each_start(game: Any) -> None:
    for _ in range(5):
        for _ in range(60):
            game.turn(FRAME)
        assert game.session.steps == 20
        assert game.session.ended is None
        assert game.session.body().speed == 0.0
        press(game, pygame.K_r)


def test_a_held_key_drives_until_it_is_let_go(game: Any) -> None:
    start, slow = game.session.scene(1.0), game.session.body().speed
    press(game, pygame.K_w, up=False)
    for _ in range(60):
        game.turn(FRAME)
    fast = game.session.body().speed
    assert game.session.steps == 20
    end = game.session.scene(1.0)
    assert np.hypot(end.x[0] - start.x[0], end.y[0] - start.y[0]) > 2.0
    assert fast > slow + 2.0
    let_go(game, pygame.K_w)
    press(game, pygame.K_s, up=False)
    for _ in range(60):
        game.turn(FRAME)
    assert game.session.body().speed < fast - 2.0


def test_a_corner_shows_what_a_camera_sees(game: Any) -> None:
    press(game, pygame.K_SPACE)  # pauses
    press(game, pygame.K_c)
    assert game.camera
    height, width = 81 + 2 * FRAME_WIDTH, 144 + 2 * FRAME_WIDTH
    box = np.s_[12 : 12 + height, 320 - 12 - width : 320 - 12]
    inside = pixels(game)[box][FRAME_WIDTH:-FRAME_WIDTH, FRAME_WIDTH:-FRAME_WIDTH].copy()
    frames = CameraFrames(game.session.env.engine, Camera(size=(81, 144)))
    assert np.array_equal(inside, frames.draw(0, 0))
    for _ in range(12):
        press(game, pygame.K_n)
    assert np.array_equal(pixels(game)[box][2:-2, 2:-2], frames.draw(0, 0))
    assert not np.array_equal(frames.draw(0, 0), inside)
    press(game, pygame.K_c)
    assert not game.camera
    assert not np.array_equal(pixels(game)[box][2:-2, 2:-2], frames.draw(0, 0))


def test_pause_stops_the_world_and_a_single_step_is_one(game: Any) -> None:
    for _ in range(6):
        game.turn(FRAME)
    press(game, pygame.K_SPACE)
    steps = game.session.steps
    for _ in range(20):
        game.turn(FRAME)
    assert game.paused
    assert game.session.steps == steps == 2
    press(game, pygame.K_n)
    assert game.session.steps == steps + 1
    game.turn(FRAME)
    assert game.session.steps == steps + 1
    press(game, pygame.K_SPACE)
    for _ in range(6):
        game.turn(FRAME)
    assert game.session.steps == steps + 3


def test_slow_motion_makes_fewer_steps(game: Any) -> None:
    press(game, pygame.K_LEFTBRACKET)
    for _ in range(60):
        game.turn(FRAME)
    assert game.session.steps == 10  # two seconds at half speed, 0.1 s each
    press(game, pygame.K_RIGHTBRACKET, pygame.K_RIGHTBRACKET)
    for _ in range(30):
        game.turn(FRAME)
    assert game.session.steps == 30


def test_the_observation_is_drawn_when_it_is_asked_for(game: Any) -> None:
    game.turn(0.0)
    assert count(pixels(game), OBSERVED) == 0
    press(game, pygame.K_o)
    shown = pixels(game)
    size = 320
    assert count(shown[:, :size], OBSERVED) > 20
    press(game, pygame.K_o)
    assert count(pixels(game), OBSERVED) == 0


def test_zoom_help_and_reward_change_the_picture(game: Any) -> None:
    game.turn(0.0)
    first = pixels(game).copy()
    press(game, pygame.K_EQUALS)
    zoomed = pixels(game).copy()
    assert not np.array_equal(first, zoomed)
    press(game, pygame.K_h)
    helped = pixels(game).copy()
    assert not np.array_equal(zoomed, helped)
    press(game, pygame.K_h)
    pygame.event.post(pygame.event.Event(pygame.MOUSEWHEEL, y=-1, x=0))
    game.turn(0.0)
    assert game.zoom == 3
    for _ in range(30):
        game.turn(FRAME)
    assert (pixels(game)[:, 320:] != first[:, 320:]).any()


def test_save_writes_files_that_load(game: Any, tmp_path: Path) -> None:
    for _ in range(30):
        game.turn(FRAME)
    press(game, pygame.K_e)
    press(game, pygame.K_e)
    assert [path.name for path in game.saved] == ["a-1.episode", "a-2.episode"]
    episode = Episode.load(tmp_path / "a-1.episode")
    assert episode.num_frames == 11
    assert episode.about["map"] == "riverside"


def test_saving_where_nothing_can_be_written_says_so(game: Any, tmp_path: Path) -> None:
    game.episode = tmp_path / "missing" / "a.episode"
    press(game, pygame.K_e)
    assert game.saved == []
    assert "not saved" in game._message[0]


def test_reset_begins_anew_and_quit_ends(game: Any) -> None:
    for _ in range(9):
        game.turn(FRAME)
    press(game, pygame.K_r)
    assert game.session.steps == 0
    press(game, pygame.K_q)
    assert not game.running
    assert game.run() is None
    assert game.window.closed


def test_closing_the_window_quits(game: Any) -> None:
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=game.window._window))
    game.turn(0.0)
    assert not game.running


def test_the_docs_have_the_keys_of_the_help() -> None:
    from selfdrive_env.play.panel import HELP

    text = (Path(selfdrive_env.__file__).parents[1] / "docs" / "play.md").read_text()
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [tuple(row) for row in table[1:]] == list(HELP)


def test_without_a_policy_nobody_takes_over(game: Any) -> None:
    press(game, pygame.K_t)
    assert game.session.manual
    assert "--policy" in game._message[0]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--size", "5"], "--size must be a whole number from 320 to 2000, got 5"),
        (["--map", "nowhere"], "unknown map 'nowhere'"),
        (["--traffic", "nobody"], "traffic"),
        (["--policy", "nobody"], "unknown policy 'nobody'"),
        (["--traffic", "selfplay", "--set", "action_type=continuous"], "action_type must be"),
        (["--policy", "selfplay", "--set", "layout=full"], "reads the layout"),
    ],
)
def test_mistakes_give_one_line(
    words: list[str],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert main(["play", *words]) == 2
    told = capsys.readouterr().err
    assert error in told
    assert len(told.splitlines()) == 1


def environment(**changes: str | None) -> dict[str, str]:
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **changes}
    return {name: value for name, value in known.items() if value is not None}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for an X display")
def test_without_a_display_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "selfdrive_env", "play", "--agents", "4"],
        env=environment(DISPLAY=None, WAYLAND_DISPLAY=None, SDL_VIDEODRIVER=None),
        cwd=Path(selfdrive_env.__file__).parents[1],
        text=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "no display to open a window on" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_ends_without_a_traceback() -> None:
    words = ["play", "--agents", "4"]
    turn = "selfdrive_env.play.game:Game:turn"
    code, out, error = interrupt(words, environment(SDL_VIDEODRIVER="dummy"), turn)
    assert code == 130
    assert error.splitlines()[-1] == "selfdrive: stopped"
    assert "Traceback" not in out + error
