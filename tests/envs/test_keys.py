"""Gymnasium's own player drives the single form: keys that are held, and none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

pygame = pytest.importorskip("pygame", reason="needs pygame-ce, extra play")

W, S, A, D, SPACE = (getattr(pygame, f"K_{name}") for name in (*"wsad", "SPACE"))
UP, DOWN, LEFT, RIGHT = (getattr(pygame, f"K_{name}") for name in ("UP", "DOWN", "LEFT", "RIGHT"))
SMALL: dict[str, Any] = {
    **{"map": "riverside", "agents_per_world": 2, "layout": "lean", "render_size": 64},
    **{"dt": 0.1, "render_mode": "rgb_array"},
}


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Gymnasium's module, which wants a backend of Matplotlib with windows."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setattr(matplotlib, "use", lambda name: None)
    pygame.display.init()
    from gymnasium.utils import play

    yield play
    pygame.quit()


def make(**settings: Any) -> Any:
    return gymnasium.make("selfdrive_env/Drive-v0", **SMALL, **settings)


def jerks(env: Any, *keys: int) -> tuple[float, float]:
    """The pair of jerks that keys ask for, in any order."""
    (action,) = {
        one for held, one in env.unwrapped.get_keys_to_action().items() if {*held} == {*keys}
    }
    pairs = itertools.product(env.unwrapped.settings.jerk_long, env.unwrapped.settings.jerk_lat)
    return list(pairs)[action]


def test_each_key_is_a_jerk() -> None:
    env = make()
    for throttle, brake, left, right in ((W, S, A, D), (UP, DOWN, LEFT, RIGHT)):
        assert jerks(env, throttle) == (4.0, 0.0)
        assert jerks(env, brake) == (-4.0, 0.0)
        assert jerks(env, left) == (0.0, 4.0)
        assert jerks(env, right) == (0.0, -4.0)
        assert jerks(env, throttle, left) == (4.0, 4.0)
        assert jerks(env, brake, right) == (-4.0, -4.0)
        assert jerks(env, throttle, brake) == jerks(env, left, right) == (0.0, 0.0)
    assert jerks(env, SPACE) == (0.0, 0.0)
    assert jerks(env, W, LEFT) == (4.0, 4.0)
    assert jerks(env) == (-15.0, 0.0)
    env.close()


def test_own_jerks_and_continuous_actions_have_keys_too() -> None:
    env = make(jerk_long=(2.0, -1.0), jerk_lat=(0.0,))
    assert jerks(env, W, A) == (2.0, 0.0)
    assert jerks(env, S) == jerks(env) == (-1.0, 0.0)
    env = make(action_type="continuous")
    found = env.unwrapped.get_keys_to_action()
    assert all(action in env.action_space for action in found.values())
    np.testing.assert_allclose(found[(W, A)], (1.0, 1.0))
    np.testing.assert_allclose(found[(S, D)], (-4.0 / 15.0, -1.0), rtol=1e-6)
    np.testing.assert_allclose(found[""], (-1.0, 0.0))


def test_a_playable_game_reads_the_keys_of_the_environment(player: Any) -> None:
    env = make()
    env.reset(seed=0)
    game = player.PlayableGame(env)
    assert game.relevant_keys == {W, S, A, D, UP, DOWN, LEFT, RIGHT, SPACE}
    game.process_event(pygame.event.Event(pygame.KEYDOWN, key=W))
    game.process_event(pygame.event.Event(pygame.KEYDOWN, key=LEFT))
    assert game.pressed_keys == {W, LEFT}
    assert tuple(sorted(game.pressed_keys)) in {
        tuple(sorted(keys)) for keys in env.unwrapped.get_keys_to_action() if keys
    }
    env.close()


@pytest.mark.parametrize("name", ["Drive-v0", "DriveContinuous-v0"])
@pytest.mark.parametrize("held", [(), (W,), (W, S, A, D, SPACE, UP, RIGHT)])
def test_play_stands_without_keys_and_drives_with_them(
    player: Any, name: str, held: tuple[int, ...]
) -> None:
    env = gymnasium.make(f"selfdrive_env/{name}", **SMALL, initial_speed=0.0)
    speeds: list[float] = []

    def note(before: Any, after: Any, action: Any, reward: Any, *ends: Any) -> None:
        speeds.append(ends[-1]["speed"])
        if len(speeds) == 25:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    pygame.display.init()
    for key in held:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    player.play(env, fps=1000, callback=note, seed=0)
    assert len(speeds) == 25
    assert (speeds[-1] > 2.0) == (held == (W,))
    assert speeds[-1] >= 0.0
    if not held:
        assert set(speeds) == {0.0}
    env.close()


def test_who_touches_nothing_stops_from_any_speed_and_stays(player: Any) -> None:
    env = make()
    idle = env.unwrapped.get_keys_to_action()[""]
    for seed in range(4):
        env.reset(seed=seed)
        for _ in range(45):
            _, _, terminated, _, info = env.step(idle)
            assert not terminated
        assert info["speed"] == 0.0
    env.close()
