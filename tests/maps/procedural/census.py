"""Counts what occurs on a map by seed, from its plan and its network."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np

from selfdrive_env.maps.procedural.roads.plan import Plan
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.maps.towns.centre_lines import pose_at

STRAIGHT = math.radians(25.0)
ODD = math.radians(15.0)
ASIDE = 1.0
"""A street that ends so far beside the middle of a junction is shifted there [m]."""

STAGGER = 75.0
"""Two T junctions with stems on opposite sides no farther apart than this are staggered [m]."""


def arms_of(plan: Plan) -> dict[int, list[float]]:
    """Directions in which streets leave each node [rad]."""
    arms: dict[int, list[float]] = defaultdict(list)
    for street in plan.streets:
        arms[street.start].append(pose_at(street.line, 0.0).heading)
        arms[street.end].append(pose_at(street.line, street.line.length).heading + math.pi)
    return arms


def gaps_of(headings: list[float]) -> list[float]:
    turned = sorted(heading % (2.0 * math.pi) for heading in headings)
    return [b - a for a, b in zip(turned, [*turned[1:], turned[0] + 2.0 * math.pi], strict=True)]


def shape_of(headings: list[float]) -> str:
    gaps = gaps_of(headings)
    if len(headings) == 3:
        return "T" if min(abs(gap - math.pi) for gap in gaps) < STRAIGHT else "Y"
    return {2: "bend", 4: "X", 5: "five arms", 6: "six arms"}.get(len(headings), "other")


def count_plan(plan: Plan) -> Counter[str]:
    """What the nodes and streets of a plan are."""
    found: Counter[str] = Counter()
    arms = arms_of(plan)
    shapes = {}
    for key, headings in arms.items():
        node = plan.nodes[key]
        found[node.control] += 1
        if node.control == "roundabout":
            found[f"roundabout of {node.ring_lanes}"] += 1
        if node.control == "loop":
            continue
        shapes[key] = shape_of(headings)
        found[shapes[key]] += 1
        right = [round(gap / (0.5 * math.pi)) * 0.5 * math.pi for gap in gaps_of(headings)]
        odd = [abs(a - b) for a, b in zip(gaps_of(headings), right, strict=True)]
        found["odd angles"] += len(headings) > 2 and max(odd) > ODD
    found["staggered"] += count_staggered(plan, shapes)
    found["end aside"] += sum(
        math.hypot(pose.x - plan.nodes[key].x, pose.y - plan.nodes[key].y) > ASIDE
        for street in plan.streets
        for key, s in ((street.start, 0.0), (street.end, street.line.length))
        for pose in [pose_at(street.line, s)]
    )
    found["kerb below 4.5 m"] += sum(
        node.kerb < 4.5 for node in plan.nodes if node.control not in ("loop", "roundabout")
    )
    for street in plan.streets:
        curvature = np.abs(street.line.curvature)
        found["clothoid"] += len(np.unique(np.round(curvature[curvature > 0.0], 9))) > 4
        found["no centre line"] += not street.marked
        found["one-way"] += not any(p.kind == "driving" for p in street.sections[0].backward)
        parts = [p for s in street.sections for p in (*s.forward, *s.backward)]
        widths = [p.width[0] for p in parts if p.kind == "driving" and p.width[0] == p.width[1]]
        found["lane below 2.9 m"] += min(widths, default=3.0) < 2.9
        found["lane above 3.6 m"] += max(widths, default=3.0) > 3.6
        for kind in ("parking", "biking", "sidewalk"):
            found[kind] += any(p.kind == kind for p in parts)
        found["turn lane"] += any(p.key == "pocket" for p in parts)
        changes = {
            (p.width[0] > p.width[1]) != back
            for s in street.sections
            for back, row in ((False, s.forward), (True, s.backward))
            for p in row
            if p.key.startswith("lane") and p.width[0] != p.width[1]
        }
        found["lane ends"] += True in changes
        found["lane opens"] += False in changes
        found["median"] += any(p.key == "median" for p in parts)
        if street.heights is not None:
            s, z = street.heights
            found["slope above 3 %"] += float(np.max(np.abs(np.diff(z) / np.diff(s)))) > 0.03
            steps = np.diff(z)
            found["crest or dip"] += bool((steps > 5e-3).any() and (steps < -5e-3).any())
    return found


def count_staggered(plan: Plan, shapes: dict[int, str]) -> int:
    """Short streets between two T junctions whose stems lie on opposite sides."""
    found = 0
    for street in plan.streets:
        ends = street.start, street.end
        if street.line.length > STAGGER or any(shapes.get(end) != "T" for end in ends):
            continue
        sides = []
        for end in ends:
            heading = pose_at(street.line, 0.5 * street.line.length).heading
            stem = stem_of(plan, end)
            sides.append(math.sin(stem - heading))
        found += sides[0] * sides[1] < -0.3
    return found


def stem_of(plan: Plan, key: int) -> float:
    """Direction of the street that ends at a T junction [rad]."""
    headings = arms_of(plan)[key]
    turned = sorted(heading % (2.0 * math.pi) for heading in headings)
    gaps = gaps_of(headings)
    through = int(np.argmin([abs(gap - math.pi) for gap in gaps]))
    return turned[(through + 2) % 3]


def count_network(network: RoadNetwork) -> Counter[str]:
    """What signs, rules and crosswalks a network has."""
    found: Counter[str] = Counter(signal.kind for signal in network.signals)
    found.update(f"rule {junction.rule}" for junction in network.junctions if junction.rule)
    found["crosswalk"] = len(network.crosswalks)
    found["group of several approaches"] = sum(len(g.signals) > 1 for g in network.signal_groups)
    heights = [lane.centre[:, 2] for lane in network.lanes if lane.drivable]
    found["two levels"] = crosses_above(network) if np.ptp(np.concatenate(heights)) > 4.0 else 0
    for lane in network.lanes:
        if lane.drivable and lane.junction < 0:
            found[f"limit {round(3.6 * lane.speed_limit)}"] += 1
    return found


def crosses_above(network: RoadNetwork) -> int:
    """Whether some lane passes at least five metres above another one."""
    points = np.concatenate([lane.centre[::2] for lane in network.lanes if lane.drivable])
    order = np.lexsort((points[:, 1] // 4.0, points[:, 0] // 4.0))
    points = points[order]
    cells = np.floor(points[:, :2] / 4.0)
    first = np.flatnonzero(np.any(np.diff(cells, axis=0, prepend=np.inf) != 0.0, axis=1))
    high = np.maximum.reduceat(points[:, 2], first)
    low = np.minimum.reduceat(points[:, 2], first)
    return int((high - low).max() > 5.0)
