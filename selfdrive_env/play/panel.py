"""The panel beside the picture: figures, reward by term, and what the agent observes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from selfdrive_env.config.observation import OBSERVATION, plane_of
from selfdrive_env.play.session import Session
from selfdrive_env.rendering.window import import_pygame
from selfdrive_env.state.arrays import F32
from selfdrive_env.state.rewards import REWARD_TERMS

__all__ = ["HELP", "WIDTH", "Panel"]

WIDTH = 320
"""Of the panel [px]."""

COLUMN, KEYS = 350, 105
"""Of a column of the help, and of the keys in it [px]."""

RANGE = 60.0
"""From the middle of the observed scene to its edge [m]."""

PAPER = (24, 28, 34)
FIELD = (36, 41, 49)
INK = (238, 240, 244)
FAINT = (150, 157, 168)
GOOD = (52, 211, 92)
BAD = (240, 80, 80)
EGO = (255, 122, 24)
LANE = (94, 232, 255)
EDGE = (255, 92, 214)
OTHER = (238, 240, 244)
LIGHTS = {"red": BAD, "yellow": (255, 208, 40), "green": GOOD, "stop_sign": (214, 40, 57)}

SHOWN = ("x", "y", "cos", "sin", "speed_along", "speed_across", "length", "width", "on_route")
"""Columns of the other agents that are drawn."""

HELP = (
    ("W / up", "throttle"),
    ("S / down", "brake; again at rest: back up"),
    ("A D / left right", "steer"),
    ("space", "pause, go on"),
    ("N", "one step (pauses)"),
    ("[  ]", "slower, faster"),
    ("+  -  wheel", "zoom"),
    ("O", "show what the agent observes"),
    ("C", "show what a camera sees"),
    ("T", "take over, give back"),
    ("R", "reset: a new episode"),
    ("E", "save the episode so far"),
    ("H", "this help"),
    ("Q / escape", "quit"),
)
"""Keys and what they do."""


class Panel:
    """Draws onto the right-hand side of a surface, and messages over the picture.

    Args:
        surface: Of the window.
        edge: Of the picture, which lies left of the panel [px].
    """

    def __init__(self, surface: Any, edge: int) -> None:
        self._pygame = import_pygame()
        self._surface, self._edge = surface, edge
        self._fonts = {size: self._pygame.font.Font(None, size) for size in (19, 22, 30, 54)}
        self._left = edge + 18
        self._right = edge + WIDTH - 18

    def draw(self, session: Session, *, speed: float, paused: bool, observed: bool) -> None:
        """Draws the figures of a session.

        Args:
            session: What is driven.
            speed: Of the clock, 1 for real time.
            paused: Whether it stands still.
            observed: Whether to draw the observation.
        """
        height = self._surface.get_height()
        self._surface.fill(PAPER, (self._edge, 0, WIDTH, height))
        row = session.observation()
        y = self._figures(session, row, speed, paused)
        y = self._rewards(session, y)
        if observed:
            self._observation(row, session, y, height)
        else:
            self._text("H  help     O  what the agent observes", self._left, height - 30, FAINT, 19)

    def _text(
        self, text: str, x: int, y: int, colour: Sequence[int], size: int, right: bool = False
    ) -> None:
        drawn = self._fonts[size].render(text, True, colour)
        self._surface.blit(drawn, (x - drawn.get_width() if right else x, y))

    def _figures(self, session: Session, row: dict[str, F32], speed: float, paused: bool) -> int:
        """Draws speed, limit and what is to be done; returns where it ends [px]."""
        body = session.body()
        ego = dict(zip((c.name for c in OBSERVATION["ego"]), row["ego"][0].tolist(), strict=True))
        left, right = self._left, self._right
        self._text(f"{abs(3.6 * body.speed):.0f}", left, 16, INK, 54)
        width = self._fonts[54].size(f"{abs(3.6 * body.speed):.0f}")[0]
        self._text("km/h" + (" back" if body.speed < 0.0 else ""), left + width + 8, 34, FAINT, 22)
        over = abs(body.speed) > ego["speed_limit"] + 1.0
        limit = f"limit {3.6 * ego['speed_limit']:.0f}"
        self._text(limit, right, 34, BAD if over else FAINT, 22, right=True)
        engine = session.env.engine
        left_goals = int(engine.bodies.num_goals[0, 0] - engine.agents.goal[0, 0])
        clock = "paused" if paused else f"x {speed:g}"
        rows = (
            ("driver", session.driver),
            ("traffic", f"{session.env.settings.traffic}, {session.env.settings.slots - 1} agents"),
            ("map", session.map_name),
            ("time", f"{session.time:.1f} s   {clock}"),
            ("next goal", f"{float(engine.agents.goal_distance[0, 0]):.0f} m, {left_goals} left"),
            ("acceleration", f"{body.acceleration:+.1f} m/s²"),
            ("lateral", f"{body.lateral:+.1f} m/s²"),
            ("steering", f"{math.degrees(ego['steering']):+.0f}°"),
            ("next line", _line_text(row["own_line"][0])),
            ("ahead", _body_text(row["leader"][0])),
            ("action", _action_text(session.action)),
        )
        y = 70
        for name, value in rows:
            self._text(name, left, y, FAINT, 19)
            text = value if len(value) < 26 else f"{value[:12]}...{value[-11:]}"
            self._text(text, right, y, INK, 19, right=True)
            y += 20
        return y + 8

    def _rewards(self, session: Session, y: int) -> int:
        """Draws the reward by term: of the last step, and as a bar of the episode."""
        left, right, pen = self._left, self._right, self._pygame.draw
        self._text("reward", left, y, INK, 22)
        self._text("step", right - 70, y + 3, FAINT, 19, right=True)
        self._text("episode", right, y + 3, FAINT, 19, right=True)
        y += 22
        most = max(float(np.abs(session.total).max()), 0.1)
        rows = [*zip(REWARD_TERMS, session.last, session.total, strict=True)]
        rows.append(("sum", session.last.sum(), session.total.sum()))
        for name, last, total in rows:
            colour = GOOD if total > 5e-4 else BAD if total < -5e-4 else FAINT
            if name != "sum":
                length = round(abs(total) / most * (right - left))
                strong = tuple(c // 3 + 16 for c in colour)
                pen.rect(self._surface, strong, (left, y - 1, length, 15), border_radius=3)
            shade = INK if abs(total) > 5e-4 or name == "sum" else FAINT
            self._text(name.replace("_", " "), left + 3, y, shade, 19)
            self._text(_signed(last, 4), right - 70, y, shade, 19, right=True)
            self._text(_signed(total, 3), right, y, colour, 19, right=True)
            y += 17
        return y + 10

    def _observation(self, row: dict[str, F32], session: Session, y: int, height: int) -> None:
        """Draws one observation in the ego frame, ahead is up."""
        pygame, pen, surface = self._pygame, self._pygame.draw, self._surface
        box = pygame.Rect(self._left, y + 16, self._right - self._left, height - y - 30)
        self._text(f"observed, {2 * RANGE:.0f} m across", self._left, y - 2, FAINT, 19)
        pen.rect(surface, FIELD, box, border_radius=6)
        if box.height < 40:
            return
        scale = 0.5 * box.width / RANGE
        cx, cy = box.centerx, box.top + 0.62 * box.height
        surface.set_clip(box)

        def place(x: Any, y_left: Any) -> Any:
            return np.stack([cx - scale * np.asarray(y_left), cy - scale * np.asarray(x)], -1)

        for name, colour in (("boundary_points", EDGE), ("lane_points", LANE)):
            for at in place(*_used(row[name])[:, :2].T).tolist():
                pen.circle(surface, colour, at, 1.6)
        for line in _used(row["stop_lines"]):
            flags = [
                c.name for c, v in zip(OBSERVATION["stop_lines"], line, strict=True) if v > 0.5
            ]
            colour = next((LIGHTS[name] for name in flags if name in LIGHTS), FAINT)
            pen.circle(surface, colour, place(line[0], line[1]).tolist(), 5)
        for at in place(*_used(row["route"])[:, :2].T).tolist():
            pen.circle(surface, EGO, at, 3, 1)
        shown = [plane_of("agents", name) for name in SHOWN]
        for body in _used(row["agents"])[:, shown].tolist():
            x, y_left, cos, sin, along, across, length, width, on_route = body
            corners = _box(x, y_left, cos, sin, length, width)
            pen.polygon(surface, EGO if on_route > 0.5 else OTHER, place(*corners).tolist())
            ends = place([x, x + along], [y_left, y_left + across]).tolist()
            pen.line(surface, GOOD, *ends)
        for x, y_left, _ in _used(row["goals"]).tolist():
            at = place(x, y_left)
            inside = (
                min(max(at[0], box.left + 7), box.right - 7),
                min(max(at[1], box.top + 7), box.bottom - 7),
            )
            pen.circle(surface, EGO, inside, 6, 0 if inside == tuple(at) else 2)
        length, width = (float(row["ego"][0, plane_of("ego", one)]) for one in ("length", "width"))
        pen.polygon(surface, EGO, place(*_box(0.0, 0.0, 1.0, 0.0, length, width)).tolist())
        surface.set_clip(None)

    def say(self, text: str, more: str = "") -> None:
        """Draws a message over the lower part of the picture."""
        title = self._fonts[30].render(text, True, INK)
        line = self._fonts[22].render(more, True, FAINT)
        width = max(title.get_width(), line.get_width()) + 40
        height = 48 + (24 if more else 0)
        left, top = (self._edge - width) // 2, round(0.78 * self._edge) - height // 2
        self._shade((left, top, width, height))
        for drawn, y in ((title, top + 14), (line, top + 42)):
            self._surface.blit(drawn, (left + (width - drawn.get_width()) // 2, y))

    def help(self, more: str = "") -> None:
        """Draws the keys over the picture, below what is driven, and a line under them."""
        high = self._surface.get_height()
        columns = 2 if self._edge >= 2 * COLUMN + 16 else 1
        rows = -(-len(HELP) // columns)
        step = min(21, (high - 84) // rows)
        width, height = columns * COLUMN, 56 + step * rows + (28 if more else 0)
        left = max((self._edge - width) // 2, 8)
        top = max(high - height - (16 if columns > 1 else (high - height) // 2), 0)
        self._shade((left, top, width, height))
        self._text("Keys", left + 20, top + 12, INK, 22)
        for number, (keys, meaning) in enumerate(HELP):
            column, row = divmod(number, rows)
            x, y = left + 20 + column * COLUMN, top + 40 + step * row
            self._text(keys, x, y, EGO, 19)
            self._text(meaning, x + KEYS, y, INK, 19)
        self._text(more, left + 20, top + height - 28, GOOD, 22)

    def _shade(self, box: tuple[int, int, int, int]) -> None:
        shade = self._pygame.Surface(box[2:], self._pygame.SRCALPHA)
        self._pygame.draw.rect(shade, (*PAPER, 225), shade.get_rect(), border_radius=10)
        self._surface.blit(shade, box[:2])


def _used(rows: F32) -> F32:
    """Returns the slots that are in use: the last column says so."""
    return rows[rows[:, -1] > 0.5]


def _box(
    x: float, y: float, cos: float, sin: float, length: float, width: float
) -> tuple[F32, F32]:
    """Returns x and y of the corners of a body, [4] [m]."""
    a = 0.5 * length * np.array([1, 1, -1, -1], np.float32)
    b = 0.5 * width * np.array([1, -1, -1, 1], np.float32)
    return x + a * cos - b * sin, y + a * sin + b * cos


def _signed(value: float, digits: int) -> str:
    """Returns a number with its sign, "-" for one that would be written as zero."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else "-"


def _line_text(line: F32) -> str:
    """Returns what the row tells of the next line on the way."""
    found = dict(zip((c.name for c in OBSERVATION["own_line"]), line.tolist(), strict=True))
    if found["valid"] < 0.5:
        return "-"
    states = ("red", "yellow", "green", "stop_sign", "gives_way", "served")
    words = [name.replace("_", " ") for name in states if found[name] > 0.5]
    return f"{' '.join(words)}, {found['gap']:.0f} m"


def _body_text(body: F32) -> str:
    """Returns what the row tells of the first body on the way."""
    gap, speed, _, valid = body.tolist()
    return f"{gap:.0f} m, {3.6 * speed:.0f} km/h" if valid > 0.5 else "-"


def _action_text(action: Any) -> str:
    if action is None:
        return "-"
    numbers = np.atleast_1d(action)
    if numbers.dtype.kind == "f":
        return "  ".join(f"{number:+.2f}" for number in numbers)
    return f"number {int(numbers[0])}"
