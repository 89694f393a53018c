"""The colours of roads and agents: one look for frames, map pictures and the web replay."""

from __future__ import annotations

from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW

__all__ = [
    "DAY",
    "LIGHT_COLOURS",
    "NIGHT",
    "Colour",
    "as_css",
]

Colour = tuple[int, ...]
"""Red, green, blue, and for some opacity, from 0 to 255."""

# Ground.
GRASS = (206, 214, 196)
VERGE = (184, 194, 175)
ASPHALT = (86, 91, 99)
EDGE = (236, 238, 240)
PAINT = (240, 241, 238)
"""Of crosswalks and of lines where one gives way."""

DASH = (214, 217, 221)
CENTRE_LINE = (240, 196, 76)
CHEVRON = (112, 118, 127)
ARROW = (176, 181, 189)

# Agents.
EGO = (255, 122, 24)
LEARNER = (66, 153, 255)
SCRIPTED = (238, 240, 244)
OTHER = (190, 174, 214)
WALKER = (240, 82, 156)
CYCLIST = (38, 194, 170)
GREY = (134, 136, 140)
"""Of who has halted for good."""

CROSS = (200, 40, 48)
GLASS = (34, 40, 49)
HEADLIGHT = (255, 250, 215)
BRAKE_LIGHT = (255, 45, 60)
OUTLINE = (30, 33, 38)

# What an agent observes.
OBSERVED = (94, 232, 255)
OBSERVED_EDGE = (255, 92, 214)

# Lights and signs.
SIGN_RED = (214, 40, 57)
SIGN_RIM = (250, 250, 250)
WARNING = (240, 160, 0)
PLATE = (43, 108, 176)
LIGHT_COLOURS = {
    GREEN: (52, 211, 92),
    YELLOW: (255, 208, 40),
    RED: (240, 48, 54),
    STOP_SIGN: SIGN_RIM,
    NO_LIGHT: (150, 154, 160),
}
"""Of stop lines, by what stands beside them."""

DAY: dict[str, Colour] = {
    "ground": GRASS,
    "asphalt": ASPHALT,
    "edge": EDGE,
    "paint": PAINT,
    "lane-line": DASH,
    "centre-line": CENTRE_LINE,
    "outline": OUTLINE,
    "glass": GLASS,
    "headlight": HEADLIGHT,
    "brake-light": BRAKE_LIGHT,
    "route": EGO,
    "focus": EGO,
    "learner": LEARNER,
    "scripted": SCRIPTED,
    "other": OTHER,
    "walker": WALKER,
    "cyclist": CYCLIST,
    "halted": GREY,
    "cross": CROSS,
    "observed": OBSERVED,
    "observed-edge": OBSERVED_EDGE,
    "sign-red": SIGN_RED,
    **{f"light-{code}": colour for code, colour in LIGHT_COLOURS.items()},
}
"""What a web page draws with, by the name of its variable there."""

NIGHT: dict[str, Colour] = {
    "ground": (26, 33, 28),
    "asphalt": (60, 66, 73),
    "edge": (141, 149, 157),
    "paint": (168, 174, 180),
    "lane-line": (109, 117, 125),
    "centre-line": (184, 150, 58),
    "outline": (13, 15, 17),
    "scripted": (213, 218, 223),
}
"""What differs in the dark theme of a page."""


def as_css(selector: str, colours: dict[str, Colour]) -> str:
    """Returns a rule of a style sheet that sets a variable for each colour."""
    lines = [
        f"  --{name}: #{''.join(f'{channel:02x}' for channel in colour)};"
        for name, colour in colours.items()
    ]
    return "\n".join([f"{selector} {{", *lines, "}\n"])
