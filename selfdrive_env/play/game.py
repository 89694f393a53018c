"""The window of `play`: keys, clock and pictures around a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from selfdrive_env.config.images import Camera
from selfdrive_env.episodes.episode import SUFFIX
from selfdrive_env.images.render import CameraFrames
from selfdrive_env.play.controls import Pressed
from selfdrive_env.play.panel import WIDTH, Panel
from selfdrive_env.play.session import Session
from selfdrive_env.rendering import Painter, Scene
from selfdrive_env.rendering.window import Window, import_pygame
from selfdrive_env.state.arrays import U8

__all__ = ["Game"]

FRAMES_PER_SECOND = 30
SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
SPANS = (30.0, 45.0, 65.0, 90.0, 130.0, 190.0, 280.0, 420.0, 800.0)
"""Metres across the picture, by zoom."""

MESSAGE_TIME = 3.0
"""How long a message stays [s]."""

WATCHED_PAUSE = 2.0
"""After an episode that a policy drove, the next one begins so much later [s]."""

PATIENCE = 0.03
"""A picture waits so long for ground that is new; the rest comes with the next ones [s]."""

START = "W A S D, an arrow or space: begin"
"""What the window says as long as the clock has not been let go."""

CORNER = 0.45
"""Width of the camera's picture, as a share of the whole."""

MARGIN, FRAME = 12, 2
"""From it to the edges, and of its frame [px]."""

LATEST = 0.25
"""A frame that took longer lets the clock stand still meanwhile [s]."""


class Game:
    """Drives a session in a window.

    It opens with the keys on the screen, and the clock stands until a driving key or space.

    Args:
        session: What is driven.
        episode: Where the key E saves: name.episode becomes name-1.episode and so on.
        size: Edge of the picture [px].
        observed: Whether to begin with what the agent observes.

    Raises:
        ImportError: Without pygame-ce or pillow.
        OSError: Without a display.
    """

    def __init__(
        self, session: Session, *, episode: Path, size: int = 720, observed: bool = False
    ) -> None:
        self.session, self.episode, self.observed = session, episode, observed
        self._pygame = import_pygame()
        engine = session.env.engine
        self._painter = Painter.of(engine)
        self._size = size
        self.window = Window((size + WIDTH, size), "selfdrive_env play")
        self.panel = Panel(self.window.surface, size)
        self.begun = False
        """Whether the user has let the clock go, or made a step."""

        self.paused, self.running, self.helps = True, True, True
        self.camera = False
        """Whether a corner shows what a camera on the body sees."""

        self._frames: CameraFrames | None = None
        self._seen: tuple[Scene, U8] | None = None
        self.zoom, self.speed = SPANS.index(90.0), SPEEDS.index(1.0)
        self._held: set[int] = set()
        self._due = 0.0
        self._since_end = 0.0
        self._message: tuple[str, float] | None = None
        self.saved: list[Path] = []
        self._keys = self._make_keys()

    def run(self) -> None:
        """Plays until the user quits or closes the window."""
        clock = self._pygame.time.Clock()
        try:
            while self.running:
                self.turn(min(clock.tick(FRAMES_PER_SECOND) / 1000.0, LATEST))
        finally:
            self.window.close()

    def turn(self, seconds: float) -> None:
        """Handles what was typed, advances and draws.

        Args:
            seconds: Since the last turn.
        """
        for event in self.window.events():
            self._handle(event)
        if self.window.closed:
            self.running = False
        if not self.running:
            return
        self._advance(seconds)
        self._draw()

    def _make_keys(self) -> dict[int, Any]:
        """Returns key -> what it does, but for those that are held."""
        k = self._pygame
        return {
            k.K_SPACE: self._pause,
            k.K_n: self._single_step,
            k.K_PERIOD: self._single_step,
            k.K_LEFTBRACKET: lambda: self._change_speed(-1),
            k.K_RIGHTBRACKET: lambda: self._change_speed(1),
            k.K_PLUS: lambda: self._change_zoom(-1),
            k.K_EQUALS: lambda: self._change_zoom(-1),
            k.K_KP_PLUS: lambda: self._change_zoom(-1),
            k.K_MINUS: lambda: self._change_zoom(1),
            k.K_KP_MINUS: lambda: self._change_zoom(1),
            k.K_o: lambda: setattr(self, "observed", not self.observed),
            k.K_c: self._toggle_camera,
            k.K_t: self._take_over,
            k.K_r: self._reset,
            k.K_e: self._save,
            k.K_h: lambda: setattr(self, "helps", not self.helps),
            k.K_F1: lambda: setattr(self, "helps", not self.helps),
            k.K_q: lambda: setattr(self, "running", False),
            k.K_ESCAPE: lambda: setattr(self, "running", False),
        }

    def _handle(self, event: Any) -> None:
        kind = event.type
        if kind == self._pygame.KEYDOWN:
            self._held.add(event.key)
            drives = self._pressed() != Pressed()
            if drives and not self.session.manual:
                self._take_over()
            if drives and not self.begun:
                self._pause()
            action = self._keys.get(event.key)
            if action is not None:
                action()
        elif kind == self._pygame.KEYUP:
            self._held.discard(event.key)
        elif kind == self._pygame.WINDOWFOCUSLOST:
            self._held.clear()
        elif kind == self._pygame.MOUSEWHEEL:
            self._change_zoom(-1 if event.y > 0 else 1)

    def _pressed(self) -> Pressed:
        k, held = self._pygame, self._held
        return Pressed(
            throttle=bool({k.K_w, k.K_UP} & held),
            brake=bool({k.K_s, k.K_DOWN} & held),
            left=bool({k.K_a, k.K_LEFT} & held),
            right=bool({k.K_d, k.K_RIGHT} & held),
        )

    def _pause(self) -> None:
        self.paused = not self.paused
        self._begin()

    def _begin(self) -> None:
        """Takes the keys off the screen where they are still there from the start."""
        if not self.begun:
            self.begun, self.helps = True, False

    def _single_step(self) -> None:
        self._begin()
        self.paused, self._due = True, 0.0
        self._step()

    def _change_speed(self, by: int) -> None:
        self.speed = min(max(self.speed + by, 0), len(SPEEDS) - 1)
        self._say(f"clock x {SPEEDS[self.speed]:g}")

    def _change_zoom(self, by: int) -> None:
        self.zoom = min(max(self.zoom + by, 0), len(SPANS) - 1)

    def _take_over(self) -> None:
        if self.session.policy is None:
            self._say("no policy drives: start with --policy")
            return
        self.session.manual = not self.session.manual
        self.session.hands.reset()
        self._say("you drive" if self.session.manual else f"{self.session.policy.name} drives")

    def _toggle_camera(self) -> None:
        self.camera = not self.camera
        if self._frames is None:  # the first time it is compiled, and the ground is baked
            self.panel.say("preparing the camera")
            self.window.flip()
            width = round(CORNER * self._size)
            camera = Camera(size=(round(width * 9 / 16), width))
            self._frames = CameraFrames(self.session.env.engine, camera)

    def _camera_picture(self, frames: CameraFrames) -> U8:
        """Returns what a camera on the body saw after the last step, with a frame."""
        shown = self.session.after
        if self._seen is None or self._seen[0] is not shown:
            picture = np.pad(frames.draw(0, 0), [(FRAME, FRAME), (FRAME, FRAME), (0, 0)])
            self._seen = shown, picture
        return self._seen[1]

    def _reset(self) -> None:
        self.session.reset()
        self._due = self._since_end = 0.0

    def _save(self) -> None:
        stem, number = self.episode.with_suffix(""), 1
        while (path := stem.with_name(f"{stem.name}-{number}{SUFFIX}")).exists():
            number += 1
        try:
            self.session.episode().save(path)
        except OSError as error:
            self._say(f"not saved: {error.strerror or error}")
            return
        self.saved.append(path)
        self._say(f"saved {path}")

    def _say(self, text: str) -> None:
        self._message = text, MESSAGE_TIME

    def _step(self) -> None:
        self.session.step(self._pressed())

    def _advance(self, seconds: float) -> None:
        """Makes the steps that are due, and begins anew where a policy's episode has ended."""
        if self._message is not None:
            text, left = self._message
            self._message = (text, left - seconds) if left > seconds else None
        if self.paused:
            return
        dt = self.session.env.settings.one_dt("play")
        self._due += seconds * SPEEDS[self.speed]
        while self._due >= dt - 1e-6:
            self._due = max(self._due - dt, 0.0)
            self._step()
        if self.session.ended is not None and not self.session.manual:
            self._since_end += seconds
            if self._since_end >= WATCHED_PAUSE:
                self._reset()

    def _draw(self) -> None:
        session, span = self.session, SPANS[self.zoom]
        share = 1.0 if self.paused else self._due / session.env.settings.one_dt("play")
        scene = session.scene(min(share, 1.0), observed=self.observed)
        picture = self._painter.draw(
            scene, size=self._size, span=span, show_observed=self.observed, label=False,
            patience=PATIENCE if self.begun else None,
        )  # fmt: skip
        self.window.paste(picture)
        if self.camera and self._frames is not None:
            view = self._camera_picture(self._frames)
            self.window.paste(view, (self._size - view.shape[1] - MARGIN, MARGIN))
        self.panel.draw(
            session, speed=SPEEDS[self.speed], paused=self.paused, observed=self.observed
        )
        if self.helps:
            self.panel.help("" if self.begun else START)
        elif self._message is not None:
            self.panel.say(self._message[0])
        elif session.ended is not None:
            self.panel.say(session.ended, "R  a new episode     E  save this one")
        elif not self.begun:
            self.panel.say("ready", START)
        elif self.paused:
            self.panel.say("paused", "space  go on     N  one step")
        self.window.flip()
        self._painter.prepare(scene, size=self._size, span=span)
