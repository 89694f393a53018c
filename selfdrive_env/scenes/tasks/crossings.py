"""Tasks on crossings: a left turn, a stop on all arms, a roundabout.

The ego's first goal lies shortly behind the crossing, its last one 40 to 60 m further on.
"""

from __future__ import annotations

from selfdrive_env.scenes.tasks.cast import Cast
from selfdrive_env.scenes.tasks.roads import OUTWARDS, arm

__all__ = ["four_way_stop", "left_turn", "roundabout"]

FAR = 235.0
"""Of the goals of others, at the end of an arm, from the middle [m]."""

ONCOMING = 7
"""Vehicles that come towards one who turns left."""


def left_turn(cast: Cast) -> None:
    """From the west to the north, through vehicles from the east; lights are dark."""
    name = cast.on("signals")
    goals = [arm(name, "north", away, leaving=True) for away in (60.0, 120.0)]
    gaps = cast.random.uniform(14.0, 60.0, ONCOMING)
    start = 70.0 + float(cast.bodies.uniform(-8.0, 8.0))
    cast.add(arm(name, "west", start, leaving=False), goals, speed=8.0)
    last = arm(name, "east", 20.0, leaving=False)
    cast.stream(last, arm(name, "west", FAR, leaving=True), speed=10.0, gaps=gaps)


def four_way_stop(cast: Cast) -> None:
    """One vehicle on each arm, each to another arm; the ego comes from the west."""
    name, ends = cast.on("stop"), list(OUTWARDS)
    for end in ends:
        others = [other for other in ends if other != end]
        to = others[cast.random.integers(3)]
        goals = [arm(name, to, away, leaving=True) for away in (50.0, 110.0)]
        start = arm(name, end, cast.draw(40.0, 80.0), leaving=False)
        cast.add(start, goals, speed=7.0)


def roundabout(cast: Cast) -> None:
    """From the west to the east, with vehicles from the north and east in front."""
    name = cast.on("roundabout")
    goals = [arm(name, "east", away, leaving=True) for away in (70.0, 110.0)]
    start = arm(name, "west", cast.draw(80.0, 110.0), leaving=False)
    cast.add(start, goals, speed=8.0)
    for end, to in (("north", "east"), ("east", "south")):
        gaps = cast.random.uniform(10.0, 35.0, 3)
        goal = arm(name, to, FAR, leaving=True)
        cast.stream(arm(name, end, 45.0, leaving=False), goal, speed=8.0, gaps=gaps)
