"""Which lanes through a junction have the right of way over which, and where they meet.

A lane through a junction gives way to another one where the two meet and

- the other has the higher rank: `Lane.precedence`, below 0 also behind a yield sign or, unless all
  approaches have one, behind a stop sign;
- or, ranks being equal, it turns across oncoming traffic that does not;
- or the junction says so: `Junction.rule` "right_first" or "left_first", away from lights;
- or, by order of arrival, at a junction of stop signs only or of the rule "all_way_stop".
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.arrays import F64, I32
from selfdrive_env.state.road import (
    FOE_COLUMNS,
    FOE_FIRST_COME,
    FOE_GOES_FIRST,
    SEG_COS,
    SEG_LEFT,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
    Lanes,
)

__all__ = ["compile_foes"]

OVERLAP = 0.6
"""Bodies on two lanes meet where their middles are nearer than the lanes are wide, by this [m]."""

LEVEL_HEIGHT = 2.5
"""Lanes this far above one another do not meet [m]."""

TURNING = np.radians(35.0)
"""A lane that bends further turns [rad]."""

ONCOMING = np.radians(140.0)
"""Lanes whose first directions differ by more come from opposite sides [rad]."""

ASIDE = np.radians(30.0)
"""Lanes whose first directions differ by less come from the same side [rad]."""

YIELDS = -1
"""Rank behind a yield or stop sign, where the map states no lower one."""

MAX_CHAIN = 8
"""Lanes of one junction in a row."""


def compile_foes(network: RoadNetwork, lanes: Lanes, network_lane: I32) -> dict[str, Any]:
    """Returns the fields of `Signs` about the right of way.

    Args:
        network: The map.
        lanes: Its compiled lanes.
        network_lane: Which lane of the network each of them is.
    """
    entries = _Entries(network, lanes, network_lane)
    rows: list[tuple[int, int, int, F64]] = []
    for junction in np.unique(lanes.junction[lanes.junction >= 0]).tolist():
        inside = np.flatnonzero(lanes.junction == junction)
        rule = network.junctions[junction].rule
        pairs = [(a, b, entries.rule(a, b, rule)) for a in inside.tolist() for b in inside.tolist()]
        pairs = [pair for pair in pairs if pair[2] >= 0]
        if pairs:
            places = _Places(lanes, sorted({lane for a, b, _ in pairs for lane in (a, b)}))
            rows += [
                (a, b, kind, where)
                for a, b, kind in pairs
                if (where := places.meeting(a, b)) is not None
            ]
    rows.sort(key=lambda row: row[:2])
    count = np.bincount([row[0] for row in rows], minlength=len(lanes.length))
    return {
        "foe_first": np.concatenate([[0], np.cumsum(count)]).astype(np.int32),
        "foe": np.array([row[1] for row in rows], np.int32),
        "foe_rule": np.array([row[2] for row in rows], np.uint8),
        "foe_place": np.array([row[3] for row in rows], np.float32).reshape(-1, FOE_COLUMNS),
    }


class _Entries:
    """How each lane through a junction is entered: rank, direction, turn, whether a light tells."""

    def __init__(self, network: RoadNetwork, lanes: Lanes, network_lane: I32) -> None:
        self.left_hand = network.left_hand
        self.lanes = lanes
        num = len(lanes.length)
        first = lanes.segment_first[:-1]
        last = lanes.segment_first[1:] - 1
        cos, sin = lanes.segment[:, SEG_COS], lanes.segment[:, SEG_SIN]
        self.heading = np.arctan2(sin[first], cos[first]).astype(np.float64)
        leaving = np.arctan2(sin[last], cos[last]).astype(np.float64)
        signs, lit = _signed_lanes(network)
        compiled = {int(n): k for k, n in enumerate(network_lane)}
        approach: list[list[int]] = [[] for _ in range(num)]
        for lane, (low, high) in enumerate(pairwise(lanes.successor_first.tolist())):
            for following in lanes.successor[low:high].tolist():
                approach[following].append(lane)
        self.lit = {compiled[i] for i in lit if i in compiled}
        self.stops = {compiled[i] for i in signs["stop_sign"] if i in compiled}
        yields = {compiled[i] for i in signs["yield_sign"] if i in compiled}
        stated = [network.lanes[i].precedence for i in network_lane.tolist()]
        self.rank = np.array(stated, np.int64)
        self.source: list[frozenset[int]] = [frozenset()] * num
        for lane in np.flatnonzero(lanes.junction >= 0).tolist():
            chain = _back_to_entry(lane, lanes, approach)
            outside = frozenset(i for i in approach[chain] if i not in (lane, chain))
            self.source[lane] = outside
            self.rank[lane] = min(self.rank[lane], self.rank[chain])
            if outside & yields or {lane, chain} & yields:
                self.rank[lane] = min(self.rank[lane], YIELDS)
            self.heading[lane] = self.heading[chain]
        self.turn = _wrap(leaving - self.heading)
        self.turn[np.abs(lanes.turn) > np.pi] = lanes.turn[np.abs(lanes.turn) > np.pi]
        self._rank_stop_signs()

    def _rank_stop_signs(self) -> None:
        """Lets lanes behind stop signs give way where some approaches of a junction have none."""
        self.all_way: set[int] = set()
        for junction in np.unique(self.lanes.junction[self.lanes.junction >= 0]).tolist():
            inside = np.flatnonzero(self.lanes.junction == junction).tolist()
            stopping = [i for i in inside if self.source[i] and self.source[i] <= self.stops]
            if stopping and len(stopping) == len([i for i in inside if self.source[i]]):
                self.all_way.add(junction)
            else:
                self.rank[stopping] = np.minimum(self.rank[stopping], YIELDS)

    def rule(self, lane: int, other: int, rule: str) -> int:
        """Returns the `foe_rule` by which one gives way to another, -1 for none."""
        if lane == other or not self.source[lane] or not self.source[other]:
            return -1
        if self.source[lane] & self.source[other]:
            return -1
        if rule == "all_way_stop" or int(self.lanes.junction[lane]) in self.all_way:
            return FOE_FIRST_COME
        if self.rank[lane] != self.rank[other]:
            return FOE_GOES_FIRST if self.rank[other] > self.rank[lane] else -1
        side = -1.0 if self.left_hand else 1.0
        aside = float(_wrap(self.heading[other] - self.heading[lane]))
        if abs(aside) > ONCOMING:
            crosses = side * self.turn[lane] > TURNING >= side * self.turn[other]
            return FOE_GOES_FIRST if crosses else -1
        lit = self.source[lane] & self.lit or self.source[other] & self.lit
        if lit or abs(aside) < ASIDE or rule not in ("right_first", "left_first"):
            return -1
        return FOE_GOES_FIRST if (aside > 0.0) == (rule == "right_first") else -1


def _signed_lanes(network: RoadNetwork) -> tuple[dict[str, set[int]], set[int]]:
    """Returns which lanes of the network each kind of sign is for, and those with a light."""
    signs: dict[str, set[int]] = {"stop_sign": set(), "yield_sign": set()}
    lit: set[int] = set()
    for signal in network.signals:
        if signal.kind in signs:
            signs[signal.kind].update(signal.lanes)
    for line in network.stop_lines:
        kind = signs["stop_sign"] if line.kind == "stop_sign" else lit
        kind.update(lane for lane, _ in line.lanes)
    return signs, lit


def _back_to_entry(lane: int, lanes: Lanes, approach: list[list[int]]) -> int:
    """Returns by which lane of its junction a lane is reached."""
    for _ in range(MAX_CHAIN):
        before = [i for i in approach[lane] if lanes.junction[i] == lanes.junction[lane]]
        if len(before) != len(approach[lane]) or len(before) != 1:
            return lane
        lane = before[0]
    return lane


def _wrap(angle: Any) -> Any:
    """Returns the angle in [-pi, pi)."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


class _Places:
    """Where lanes of a junction are, at each metre."""

    def __init__(self, lanes: Lanes, inside: list[int]) -> None:
        self.of: dict[int, F64] = {}
        for lane in inside:
            low, high = lanes.segment_first[lane], lanes.segment_first[lane + 1]
            table = lanes.segment[low:high].astype(np.float64)
            width = table[:, SEG_LEFT] + table[:, SEG_RIGHT]
            columns = [table[:, c] for c in (SEG_X, SEG_Y, SEG_Z, SEG_S)]
            self.of[lane] = np.stack([*columns, 0.5 * width], axis=1)
        self.length = {lane: float(lanes.length[lane]) for lane in inside}

    def meeting(self, lane: int, other: int) -> F64 | None:
        """Returns where two lanes meet: first and last place on each [m], None where they do not.

        Columns `FOE_BEGIN`, `FOE_END`, `FOE_OTHER_BEGIN`, `FOE_OTHER_END` of `Signs.foe_place`.
        """
        a, b = self.of[lane], self.of[other]
        low, high = a[:, :2].min(0) - 4.0, a[:, :2].max(0) + 4.0
        if (b[:, :2].min(0) > high).any() or (b[:, :2].max(0) < low).any():
            return None
        apart = np.hypot(*(a[:, None, :2] - b[None, :, :2]).transpose(2, 0, 1))
        near = apart < np.maximum(a[:, 4, None] + b[None, :, 4] - OVERLAP, 1.0)
        near &= np.abs(a[:, 2, None] - b[None, :, 2]) < LEVEL_HEIGHT
        if not near.any():
            return None
        mine, theirs = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
        ends = [
            self.length[k] if found[-1] + 1 == len(table) else table[found[-1] + 1, 3]
            for k, table, found in ((lane, a, mine), (other, b, theirs))
        ]
        return np.array([a[mine[0], 3], ends[0], b[theirs[0], 3], ends[1]])
