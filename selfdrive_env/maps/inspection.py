"""Figures about a road network: what it holds, and how well its lanes are linked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.flaws import listed
from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["connectivity", "describe", "open_ends", "share_reached"]

Floats = NDArray[np.float64]

AHEAD = 2.0
"""How far beyond the end of a lane the road must go on for it to be open [m]."""

CAR_WIDTH = 1.6
"""Narrower ends are those of lanes that merge [m]."""

SAME_WAY = np.cos(np.radians(75.0))
"""A lane beyond an end is oncoming or crossing from this angle on (its cosine)."""

JOINT_GAP = 0.5
"""A lane starts at another's end if it is at most this far away in the plane [m]."""

JOINT_STEP = 1.0
"""... and less than this higher or lower [m]."""

JOINT_TURN = np.radians(15.0)
"""... and heads the same way to within this [rad]."""


def describe(network: RoadNetwork) -> dict[str, Any]:
    """Returns a summary that JSON can hold.

    Args:
        network: The map.

    Returns:
        `roads`, `junctions` and `traffic_lights` are counts; `driving_lane_km` [km];
        `connectivity`, `share_reached` and `open_ends` (names) as in the functions of these names;
        `z_min`, `z_max`: lowest and highest point
        of the drivable lanes (of all lanes if none is drivable) in the source's own heights, None
        without lanes [m]; `inferred`: what is assumed where the map says nothing, or says it
        wrongly; `dropped`: what of its source is not in it, or not used; `problems`: other flaws;
        one sentence each.
    """
    told = {*network.inferred, *network.dropped}
    low, high = _height_range(network)
    return {
        "roads": network.num_roads,
        "junctions": len(network.junctions),
        "driving_lane_km": round(network.driving_lane_km, 3),
        "traffic_lights": sum(signal.kind == "traffic_light" for signal in network.signals),
        "connectivity": connectivity(network),
        "share_reached": share_reached(network),
        "z_min": low,
        "z_max": high,
        "open_ends": open_ends(network),
        "inferred": [*network.inferred, *_assumed(network)],
        "dropped": list(network.dropped),
        "problems": [problem for problem in network.problems if problem not in told],
    }


def _assumed(network: RoadNetwork) -> list[str]:
    """Returns what a simulation adds to what a map says of its lights and of the right of way."""
    notes: dict[str, list[str]] = {}
    ruled = {"stop_sign": set[int](), "yield_sign": set[int]()}
    for signal in network.signals:
        if signal.kind in ruled:
            ruled[signal.kind].update(signal.lanes)
    signed = ruled["stop_sign"] | ruled["yield_sign"]
    for group in network.signal_groups:
        if group.signals and not group.cycle:
            name = network.signals[group.signals[0]].name
            sentence = "{} groups of lights have no times; theirs are drawn"
            notes.setdefault(sentence, []).append(f"that of {name}")
    side = "right" if network.left_hand else "left"
    for junction in network.junctions:
        lanes = [network.lanes[i] for i in junction.lanes]
        entries = {i for lane in lanes for i in lane.predecessors} | set(junction.lanes)
        stated = junction.rule or junction.signal_groups or any(lane.precedence for lane in lanes)
        if len(lanes) > 1 and not stated and not entries & signed:
            sentence = f"{{}} junctions state no right of way; who turns {side} waits"
            notes.setdefault(sentence, []).append(junction.name)
    return [listed(sentence, names) for sentence, names in notes.items()]


def _height_range(network: RoadNetwork) -> tuple[float | None, float | None]:
    """Lowest and highest boundary point, in the source's heights [m]."""
    lanes = [lane for lane in network.lanes if lane.drivable] or network.lanes
    if not lanes:
        return None, None
    heights = np.concatenate([edge[:, 2] for lane in lanes for edge in (lane.left, lane.right)])
    up = network.origin[2]
    # Adding 0.0 turns -0.0 into 0.0.
    return round(float(heights.min()) + up, 3) + 0.0, round(float(heights.max()) + up, 3) + 0.0


def connectivity(network: RoadNetwork) -> float | None:
    """Returns the share of lane ends that are linked, of those where another lane goes on.

    Counted are the ends of drivable lanes at which some other drivable lane of the same level, or
    the lane itself as a ring, starts in the same direction. Ends where nothing starts (the rim of
    the map) do not count.

    Args:
        network: The map.

    Returns:
        Share in [0, 1], None if no lane starts at another's end.
    """
    lanes = [lane for lane in network.lanes if lane.drivable]
    if not lanes:
        return None
    ring = np.array([lane.length > 4.0 * JOINT_GAP for lane in lanes])
    joined = _has_start_nearby(_poses(lanes, -1), _poses(lanes, 0), ring)
    if not joined.any():
        return None
    linked = np.array([bool(lane.successors) for lane in lanes])
    return float(linked[joined].mean())


def share_reached(network: RoadNetwork) -> float | None:
    """Returns the share of driving lanes of the largest set in which each is reached from each.

    It is 1 where every other lane is reached from every lane, by links and lane changes.

    Args:
        network: The map.

    Returns:
        Share in (0, 1], None without a drivable lane.
    """
    lanes = network.lanes
    ahead: dict[int, list[int]] = {}
    behind: dict[int, list[int]] = {i: [] for i, lane in enumerate(lanes) if lane.drivable}
    for i in behind:
        sides = (lanes[i].left_neighbour, lanes[i].right_neighbour)
        ahead[i] = [j for j in (*lanes[i].successors, *sides) if j in behind]
        for j in ahead[i]:
            behind[j].append(i)
    if not behind:
        return None
    # A lane that is done after all that follow it begins a set that leads to itself backwards.
    order: list[int] = []
    seen: set[int] = set()
    for i in ahead:
        order += _done(i, ahead, seen)
    seen.clear()
    largest = max(len(_done(i, behind, seen)) for i in reversed(order))
    return largest / len(behind)


def _done(start: int, ahead: dict[int, list[int]], seen: set[int]) -> list[int]:
    """Returns what is reached from a lane and was not seen before, each after all that follow."""
    if start in seen:
        return []
    seen.add(start)
    order, stack = [], [(start, iter(ahead[start]))]
    while stack:
        lane, rest = stack[-1]
        other = next((j for j in rest if j not in seen), None)
        if other is None:
            order.append(lane)
            stack.pop()
        else:
            seen.add(other)
            stack.append((other, iter(ahead[other])))
    return order


def open_ends(network: RoadNetwork) -> list[str]:
    """Returns the names of driving lanes that lead nowhere although the road goes on.

    They have no successor, are wide enough for a car at their end, and `AHEAD` of it lies another
    driving lane of the same level that does not come from the opposite side.

    Args:
        network: The map.
    """
    lanes = [lane for lane in network.lanes if lane.drivable]
    ends = [i for i, lane in enumerate(lanes) if not lane.successors and lane.width[-1] > CAR_WIDTH]
    if not ends:
        return []
    edges = [np.concatenate([lane.left, lane.right]) for lane in lanes]
    low = np.array([points.min(axis=0) for points in edges])
    high = np.array([points.max(axis=0) for points in edges])
    poses = _poses([lanes[i] for i in ends], -1)
    found = []
    for i, (x, y, z, heading) in zip(ends, poses.tolist(), strict=True):
        ahead = np.array([np.cos(heading), np.sin(heading)])
        point = np.array([x, y]) + AHEAD * ahead
        near = ((low[:, :2] <= point) & (point <= high[:, :2])).all(axis=1)
        near &= (low[:, 2] < z + JOINT_STEP) & (high[:, 2] > z - JOINT_STEP)
        near[i] = False
        if any(_leads_on(lanes[j], point, ahead) for j in np.flatnonzero(near)):
            found.append(lanes[i].name)
    return found


def _leads_on(lane: Lane, point: Floats, ahead: Floats) -> bool:
    """Returns whether a point lies on a lane that heads the same way there, more or less."""
    outline = np.concatenate([lane.left[:, :2], lane.right[::-1, :2]]) - point
    after = np.roll(outline, -1, axis=0)
    crosses = (outline[:, 1] > 0.0) != (after[:, 1] > 0.0)
    a, b = outline[crosses], after[crosses]
    x = a[:, 0] - a[:, 1] * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    if np.count_nonzero(x > 0.0) % 2 == 0:
        return False
    place = int(np.argmin(np.hypot(*(lane.centre[:, :2] - point).T)))
    place = min(place, len(lane.centre) - 2)
    step = lane.centre[place + 1, :2] - lane.centre[place, :2]
    return bool(step @ ahead > SAME_WAY * np.hypot(*step))


def _poses(lanes: list[Lane], end: int) -> Floats:
    """Position and heading (x, y, z, heading) of each lane at its start (0) or end (-1)."""
    rows = np.empty((len(lanes), 4))
    for row, lane in zip(rows, lanes, strict=True):
        steps = np.diff(lane.centre[:, :2], axis=0)
        steps = steps[np.hypot(*steps.T) > 1e-6]
        step = steps[end] if steps.size else (1.0, 0.0)
        row[:3] = lane.centre[end]
        row[3] = np.arctan2(step[1], step[0])
    return rows


def _has_start_nearby(ends: Floats, starts: Floats, ring: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a lane starts at each end, its own only if `ring`, by a hash of `JOINT_GAP` cells."""
    base = np.floor(np.minimum(ends, starts).min(0)[:2] / JOINT_GAP) - 1
    end_cells = (np.floor(ends[:, :2] / JOINT_GAP) - base).astype(np.int64)
    start_cells = (np.floor(starts[:, :2] / JOINT_GAP) - base).astype(np.int64)
    stride = int(max(end_cells.max(), start_cells.max())) + 2
    start_keys = start_cells[:, 0] * stride + start_cells[:, 1]
    order = np.argsort(start_keys, kind="stable")
    start_keys = start_keys[order]

    found = np.zeros(len(ends), bool)
    for dx in (-1, 0, 1):
        keys = (end_cells[:, 0] + dx) * stride + end_cells[:, 1]
        first = np.searchsorted(start_keys, keys - 1, "left")
        count = np.searchsorted(start_keys, keys + 1, "right") - first
        for k in range(int(count.max(initial=0))):
            lane = np.nonzero(count > k)[0]
            other = order[first[lane] + k]
            apart = (lane != other) | ring[lane]
            found[lane] |= apart & _alike(ends[lane], starts[other])
    return found


def _alike(ends: Floats, starts: Floats) -> NDArray[np.bool_]:
    """Whether each start continues the end beside it."""
    gap = starts - ends
    turn = np.abs(np.remainder(gap[:, 3] + np.pi, 2.0 * np.pi) - np.pi)
    alike: NDArray[np.bool_] = np.hypot(gap[:, 0], gap[:, 1]) <= JOINT_GAP
    alike &= (np.abs(gap[:, 2]) < JOINT_STEP) & (turn <= JOINT_TURN)
    return alike
