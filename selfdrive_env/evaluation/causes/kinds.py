"""What kind of failure an incident is: where to look for what a policy has not learnt.

Kinds say how the bodies moved, not who is to blame; both sides of a collision are of one kind.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.evaluation.causes.pairs import ALIGNED_COS, Pair, lengthwise
from selfdrive_env.state.road import SEG_COS, SEG_SIN, Lanes

__all__ = ["KINDS", "collision_kind", "departure_kind", "lanes_meet", "light_kind"]

SOFT = 3.0
"""Contacts slower than this are soft, and red lights passed slower are rolled over [m/s]."""

SOON = 3.0
"""A departure so soon after a placing is one of the placing [s]."""

BEND_REACH = 12
"""Segments before and behind an agent in which its lane may bend, of about 1 m."""

BEND_ANGLE = np.radians(20.0)
"""From this change of heading on they are a bend."""

KINDS = {
    "placed_badly": "a contact or departure right after a placing, which nobody could avoid",
    "reversing": "somebody drove backwards",
    "obstacle": "into a vehicle that stands broken down",
    "rear_end_soft": f"one behind the other, slower than {SOFT:g} m/s against each other",
    "rear_end_hard": f"one behind the other, at {SOFT:g} m/s or more",
    "merge": "abreast where two lanes become one",
    "side": "abreast elsewhere: a lane change, or too far to one side",
    "oncoming": "against each other",
    "crossing": "across each other's way",
    "turn_too_wide": "off the road in a bend or a turn",
    "drift": "off the road on a straight lane",
    "red_rolled": f"over a red light at less than {SOFT:g} m/s",
    "red_run": f"over a red light at {SOFT:g} m/s or more",
}
"""Kind of an incident -> what it is, in the order in which they are decided."""


def collision_kind(
    pair: Pair, index: int, *, closing: float, start: bool, obstacle: bool, meet: bool
) -> str:
    """Returns the kind of a collision.

    Args:
        pair: Pairs of bodies just before they touch.
        index: Which of them.
        closing: Speed of the two against each other [m/s].
        start: Whether one of the two had just been placed.
        obstacle: Whether one of the two stands broken down.
        meet: Whether the lanes of the two become one.
    """
    if start:
        return "placed_badly"
    if pair.speed[index] < 0.0 or pair.other_speed[index] < 0.0:
        return "reversing"
    if obstacle:
        return "obstacle"
    if pair.cos[index] > ALIGNED_COS:
        if lengthwise(pair)[index]:
            return "rear_end_soft" if closing < SOFT else "rear_end_hard"
        return "merge" if meet else "side"
    return "oncoming" if pair.cos[index] < -ALIGNED_COS else "crossing"


def departure_kind(lanes: Lanes, segment: int, speed: float, age: float) -> str:
    """Returns the kind of a departure from the road.

    Args:
        lanes: Of the pool.
        segment: That the agent is on.
        speed: Of the agent, below 0 backwards [m/s].
        age: Time since its placing [s].
    """
    if age < SOON:
        return "placed_badly"
    if speed < 0.0:
        return "reversing"
    return "turn_too_wide" if _bends(lanes, segment) else "drift"


def light_kind(speed: float) -> str:
    """Returns the kind of a red light passed at a speed [m/s]."""
    return "red_rolled" if speed < SOFT else "red_run"


def lanes_meet(lanes: Lanes, one: int, other: int) -> bool:
    """Whether two lanes become one: both lead to the same, or one of two neighbours ends."""
    if one == other:
        return False
    first = lanes.successor_first
    ahead, beside = (
        set(lanes.successor[first[lane] : first[lane + 1]].tolist()) for lane in (one, other)
    )
    if ahead & beside:
        return True
    neighbours = other in (lanes.left[one], lanes.right[one])
    return neighbours and (not ahead or not beside)


def _bends(lanes: Lanes, segment: int) -> bool:
    """Whether a lane bends near a segment; what comes before its start does not count."""
    lane = lanes.segment_lane[segment]
    first = max(int(lanes.segment_first[lane]), segment - BEND_REACH)
    last = min(int(lanes.segment_first[lane + 1]), segment + BEND_REACH + 1)
    rows = lanes.segment[first:last].astype(np.float64)
    headings = np.unwrap(np.arctan2(rows[:, SEG_SIN], rows[:, SEG_COS]))
    return bool(np.ptp(headings) >= BEND_ANGLE)
