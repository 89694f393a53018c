"""Windows on the screen, with pygame-ce: what `render_mode="human"` shows, and `play` draws on.

They are given pictures and know nothing of what these show. Nothing is opened before the first
picture, and no other window of the process is touched.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

import numpy as np

from selfdrive_env.state.arrays import U8

__all__ = ["MAX_ROWS", "Viewer", "Window", "import_pygame"]

MAX_ROWS = 16
"""Rows that `render_mode="human"` shows beside each other."""

MAX_EDGE = 960
"""Of a window with several rows [px]."""


def import_pygame() -> Any:
    """Returns pygame-ce."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # or SIGTERM would end nothing
    try:
        import pygame
    except ImportError as error:
        raise ImportError('a window needs pygame-ce: pip install "selfdrive_env[play]"') from error
    if not hasattr(pygame, "Window"):
        raise ImportError(
            f"a window needs pygame-ce, found pygame {pygame.version.ver}: pip uninstall pygame, "
            'then pip install "selfdrive_env[play]"'
        )
    return pygame


HIDDEN = ("dummy", "offscreen")
"""Drivers that show nothing: only for who asks for them."""


_OPENED: WeakSet[Window] = WeakSet()
"""Windows of this process: their events come in one queue."""


class Window:
    """A window and its events.

    Args:
        size: Width and height [px].
        title: Above the window.

    Raises:
        ImportError: Without pygame-ce.
        OSError: Without a display.
    """

    def __init__(self, size: tuple[int, int], title: str) -> None:
        self._pygame = import_pygame()
        has_server = any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
        chosen = os.environ.get("SDL_VIDEODRIVER")
        try:
            if sys.platform.startswith("linux") and not (has_server or chosen):
                raise OSError("neither DISPLAY nor WAYLAND_DISPLAY is set")
            self._pygame.display.init()
            if self._pygame.display.get_driver() in HIDDEN and not chosen:  # what SDL falls back to
                raise OSError("it does not answer")
            self._pygame.font.init()
            self._window = self._pygame.Window(title, size)
        except (OSError, self._pygame.error) as error:
            raise OSError(
                f"no display to open a window on ({error}): run it on a desktop or under xvfb-run, "
                'or take pictures with render_mode="rgb_array"'
            ) from None
        self.size = size
        self.closed = False
        _OPENED.add(self)

    @property
    def surface(self) -> Any:
        """What `flip` brings to the screen, a pygame surface."""
        return self._window.get_surface()

    def flip(self) -> None:
        """Brings what was drawn to the screen."""
        self._window.flip()

    def paste(self, picture: U8, place: tuple[int, int] = (0, 0)) -> None:
        """Draws a picture, RGB [H, W, 3], its upper left corner at `place` [px]."""
        height, width = picture.shape[:2]
        pixels = np.ascontiguousarray(picture)
        self.surface.blit(self._pygame.image.frombuffer(pixels, (width, height), "RGB"), place)

    def set_title(self, title: str) -> None:
        """Changes what stands above the window."""
        self._window.title = title

    def events(self) -> list[Any]:
        """Returns what was typed since the last call; notes which windows were closed."""
        found: list[Any] = []
        if not _OPENED:
            return found
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                for one in _OPENED:
                    one.closed = True
            elif event.type == self._pygame.WINDOWCLOSE:
                for one in _OPENED:
                    one.closed |= getattr(event, "window", None) is one._window
            else:
                found.append(event)
        return found

    def close(self) -> None:
        """Closes the window; twice is fine."""
        self.closed = True
        if self in _OPENED:
            _OPENED.discard(self)
            self._window.destroy()
        if not _OPENED:
            self._pygame.display.quit()


class Viewer:
    """A window that shows the rows of an environment beside each other.

    Args:
        rows: How many there are, up to `MAX_ROWS`.
        size: Edge of the picture of a single row, and the largest of several [px].
        title: Above the window.

    Raises:
        ImportError: Without pygame-ce.
        OSError: Without a display.
        ValueError: With too many rows.
    """

    def __init__(self, rows: int, size: int, title: str) -> None:
        if rows > MAX_ROWS:
            raise ValueError(
                f"render_mode='human' shows at most {MAX_ROWS} rows, got num_envs={rows}"
            )
        self._columns = math.ceil(math.sqrt(rows))
        lines = math.ceil(rows / self._columns)
        most = MAX_EDGE // self._columns if rows > 1 else size
        self.edge = max(min(size, most), 16)
        """Of the picture of a row [px]."""

        self._window = Window((self._columns * self.edge, lines * self.edge), title)
        self._clock = import_pygame().time.Clock()

    def show(self, pictures: Iterable[U8], fps: float) -> None:
        """Shows pictures, and waits until it is time for the next ones.

        Args:
            pictures: One a row, RGB [edge, edge, 3]; none is asked for once the user has closed
                the window, which then stays closed.
            fps: Pictures a second.
        """
        self._window.events()
        if self._window.closed:
            self._window.close()
            return
        for row, picture in enumerate(pictures):
            place = row % self._columns * self.edge, row // self._columns * self.edge
            self._window.paste(picture, place)
        self._window.flip()
        self._clock.tick(fps)

    def close(self) -> None:
        """Closes the window; twice is fine."""
        self._window.close()
