"""Builds a `RoadNetwork` from a short description of a town: nodes, streets and motorway ramps.

Streets are centre lines with lanes to either side, cut off before each node; nodes join them by
connecting lanes. Right-hand traffic. Lane lists run from the innermost lane to the outermost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.centre_lines import (
    CentreLine,
    Pose,
    arc,
    connection,
    evaluate,
    nearest_station,
    polyline_with_arcs,
    pose_at,
    stations,
)
from selfdrive_env.maps.road_network import (
    Crosswalk,
    Junction,
    Lane,
    RoadNetwork,
    Signal,
    SignalGroup,
    StopLine,
)

__all__ = ["Entry", "Exit", "Layout", "Node", "Street", "build"]

Floats = NDArray[np.float64]

TOWN_LIMIT = 13.9
TURN_LIMIT = 8.3
"""In roundabouts and for turns [m/s]."""

TURN_RADIUS = 9.5
"""Roughly that of a right turn at a right angle, at the lane centre [m]."""

RING_WIDTH = 4.5
RING_REACH = 15.0
"""From the ring's centre line to where the arms end [m]."""

RING_SPREAD = 34.0
"""Angle between an arm and where its entry meets the ring [deg]."""

SIDEWALK_WIDTH = 2.0
DIVERGING_LENGTH = 60.0
"""Of the piece in which an exit leaves the motorway [m]."""

TAPER_LENGTH = 40.0
TAPER_WIDTH = 1.5
"""The acceleration lane narrows to this over its last `TAPER_LENGTH` [m]."""

SLOW_LENGTH = 130.0
"""Either end of a motorway has the town's speed limit over this length [m]."""

RAMP_RADIUS = 70.0
"""Of the curve beside the motorway [m]."""

RAMP_LEAD = 40.0
"""Ramps run straight for this long beside the motorway [m]."""

STOP_SETBACK = 0.5
CREST_HALF_LENGTH = 22.0
CREST_HEIGHT = 6.2
CLIMB_LENGTH = 165.0
"""Length of the smooth rise to a bridge; its steepest grade is 1.5 CREST_HEIGHT / CLIMB_LENGTH [m]."""


@dataclass(frozen=True, slots=True)
class Node:
    """Where streets meet."""

    x: float
    y: float
    kind: str = "signals"
    """ "signals", "stop" (stop signs on the minor arm of a T, else on all) or "roundabout"."""

    radius: float = 0.0
    """Ring of a roundabout; else the distance at which arms end, 0: from the lanes [m]."""


@dataclass(frozen=True, slots=True)
class Street:
    """A road between two nodes."""

    start: str
    end: str
    via: tuple[tuple[float, float, float], ...] = ()
    """(x, y, radius of the arc) of each corner on the way [m]."""

    lanes: tuple[int, int] = (1, 1)
    """Forward and backward."""

    width: float = 3.5
    limit: float = TOWN_LIMIT
    motorway: bool = False
    bridge: tuple[float, float] | None = None
    """The street is raised over this point [m]."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A ramp that leaves the forward lanes of a motorway for a node."""

    motorway: tuple[str, str]
    at: tuple[float, float]
    end: str
    via: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A ramp from a node to an acceleration lane beside the forward lanes of a motorway."""

    motorway: tuple[str, str]
    at: tuple[float, float]
    length: float
    start: str
    via: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """A town."""

    nodes: dict[str, Node]
    streets: tuple[Street, ...]
    exits: tuple[Exit, ...] = ()
    entries: tuple[Entry, ...] = ()
    angle: float = 0.0
    """The whole town is turned by this [rad]."""


@dataclass(slots=True)
class _Arm:
    """The end of a street at a node."""

    mouth: Pose
    """On the line between the directions, looking away from the node."""

    incoming: list[int]
    outgoing: list[int]
    width_in: float
    width_out: float


@dataclass(slots=True)
class _Town:
    """The network under construction."""

    network: RoadNetwork
    poses: list[tuple[Pose, Pose]] = field(default_factory=list)
    """First and last pose of each lane, exact."""

    arms: dict[str, list[_Arm]] = field(default_factory=dict)


def build(name: str, layout: Layout) -> RoadNetwork:
    """Returns the road network of a town, centred on (0, 0).

    Args:
        name: Of the network.
        layout: What to build.
    """
    town = _Town(RoadNetwork(name, source=name))
    for street in layout.streets:
        _build_street(town, layout, street)
    for key, node in layout.nodes.items():
        if node.kind == "roundabout":
            _build_roundabout(town, key, node)
        else:
            _build_junction(town, key, node)

    cosine, sine = math.cos(layout.angle), math.sin(layout.angle)
    network = town.network.transformed(np.array([[cosine, -sine], [sine, cosine]]))
    _centre(network)
    return network


def _centre(network: RoadNetwork) -> None:
    """Moves the middle of the bounding box to (0, 0) and fills in the length."""
    points = np.concatenate([np.concatenate([lane.left, lane.right]) for lane in network.lanes])
    shift = np.append(-0.5 * (points.min(0) + points.max(0))[:2], 0.0)
    for lane in network.lanes:
        lane.centre, lane.left, lane.right = (
            p + shift for p in (lane.centre, lane.left, lane.right)
        )
    for signal in network.signals:
        signal.position = signal.position + shift
    for line in network.stop_lines:
        line.left, line.right = line.left + shift, line.right + shift
        line.guard_left, line.guard_right = line.guard_left + shift, line.guard_right + shift
    for crosswalk in network.crosswalks:
        crosswalk.outline = crosswalk.outline + shift


# Lanes


def _offset(line: CentreLine, s: Floats, z: Floats, d: Floats | float) -> Floats:
    """Points at lateral offset `d` from the line, [P, 3]."""
    x, y, heading = evaluate(line, s)
    return np.stack([x - d * np.sin(heading), y + d * np.cos(heading), z], -1)


def _smooth(fraction: Floats) -> Floats:
    """Rises from 0 to 1 with level ends."""
    t = np.clip(fraction, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _add_lane(
    town: _Town,
    road: str,
    name: str,
    line: CentreLine,
    s: Floats,
    z: Floats,
    edges: tuple[Floats | float, Floats | float],
    *,
    kind: str = "driving",
    limit: float = TOWN_LIMIT,
    junction: int = -1,
    backward: bool = False,
) -> int:
    """Adds one lane between two lateral offsets, (inner, outer) as seen from the line."""
    inner, outer = edges
    middle = 0.5 * (np.asarray(inner) + np.asarray(outer))
    left, centre, right = (_offset(line, s, z, d) for d in (inner, middle, outer))
    ends = [
        pose_at(line, s[k]).moved(0.0, float(np.broadcast_to(middle, s.shape)[k])) for k in (0, -1)
    ]
    if backward:
        left, centre, right = left[::-1].copy(), centre[::-1].copy(), right[::-1].copy()
        ends = [ends[1].reversed(), ends[0].reversed()]
    network = town.network
    network.lanes.append(
        Lane(name, kind, centre, left, right, speed_limit=limit, road=road, junction=junction)
    )
    town.poses.append((ends[0], ends[1]))
    lane = len(network.lanes) - 1
    if junction >= 0:
        network.junctions[junction].lanes.append(lane)
    if network.lanes[lane].drivable:
        network.driving_lane_km += float(s[-1] - s[0]) / 1000.0
    return lane


def _new_road(town: _Town) -> str:
    """Returns the name of the next road."""
    town.network.num_roads += 1
    return str(town.network.num_roads)


def _new_junction(town: _Town, name: str, kind: str = "default") -> int:
    """Adds an empty junction."""
    town.network.junctions.append(Junction(name, kind))
    return len(town.network.junctions) - 1


def _link(town: _Town, lane: int, successor: int) -> None:
    """Lets `successor` follow `lane`."""
    town.network.lanes[lane].successors.append(successor)
    town.network.lanes[successor].predecessors.append(lane)


def _pair(town: _Town, left: int, right: int) -> None:
    """Makes two lanes neighbours."""
    town.network.lanes[left].right_neighbour = right
    town.network.lanes[right].left_neighbour = left


def _connect(
    town: _Town, lane: int, target: Pose, target_width: float, limit: float, junction: int
) -> int:
    """Adds a connecting lane from the end of `lane` to a pose and links it at its start."""
    source = town.network.lanes[lane]
    line = connection(town.poses[lane][1], target)
    s = stations(line, 0.0, line.length)
    if s.size < math.ceil(line.length) + 1:
        s = np.linspace(0.0, line.length, math.ceil(line.length) + 1)
    start_width = float(source.width[-1])
    half = 0.5 * (start_width + (target_width - start_width) * _smooth(s / line.length))
    z = np.full(s.shape, source.centre[-1, 2])
    road = _new_road(town)
    new = _add_lane(
        town, road, f"{road}/0/-1", line, s, z, (half, -half), limit=limit, junction=junction
    )
    _link(town, lane, new)
    return new


# Streets


def _mouth_distance(layout: Layout, key: str) -> float:
    """Distance from a node's centre at which its arms end [m]."""
    node = layout.nodes[key]
    if node.kind == "roundabout":
        return node.radius + RING_REACH
    if node.radius > 0.0:
        return node.radius
    widest = 0.5 * 3.75
    for street in layout.streets:
        if key in (street.start, street.end):
            widest = max(widest, (max(street.lanes) - 0.5) * street.width)
    return widest + TURN_RADIUS


def _elevation(line: CentreLine, street: Street) -> tuple[Floats, Floats]:
    """Heights along a street as dense samples (station [m], z [m])."""
    samples = np.linspace(0.0, line.length, max(2, math.ceil(line.length)))
    if street.bridge is None:
        return samples, np.zeros_like(samples)
    away = np.abs(samples - nearest_station(line, *street.bridge)) - CREST_HALF_LENGTH
    return samples, CREST_HEIGHT * (1.0 - _smooth(away / CLIMB_LENGTH))


def _build_street(town: _Town, layout: Layout, street: Street) -> None:
    """Adds a street, in sections, with its ramps if it is a motorway."""
    ends = [layout.nodes[street.start], layout.nodes[street.end]]
    corners = [(ends[0].x, ends[0].y), *((x, y) for x, y, _ in street.via), (ends[1].x, ends[1].y)]
    line = polyline_with_arcs(corners, [radius for *_, radius in street.via])
    first = _mouth_distance(layout, street.start)
    last = line.length - _mouth_distance(layout, street.end)
    key = (street.start, street.end)
    exits = {nearest_station(line, *e.at): e for e in layout.exits if e.motorway == key}
    entries = {nearest_station(line, *e.at): e for e in layout.entries if e.motorway == key}

    breaks = {first, last}
    breaks |= {first + SLOW_LENGTH, last - SLOW_LENGTH} if street.motorway else set()
    breaks |= {s + extra for s in exits for extra in (0.0, DIVERGING_LENGTH)}
    breaks |= {s + extra for s, e in entries.items() for extra in (0.0, e.length)}
    edges = sorted(breaks)
    heights = _elevation(line, street)
    road = _new_road(town)
    previous: tuple[list[int], list[int]] = ([], [])
    outer: list[tuple[list[int], list[int]]] = []
    for section, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        slow = street.motorway and (high <= first + SLOW_LENGTH or low >= last - SLOW_LENGTH)
        limit = TOWN_LIMIT if slow else street.limit
        leaving = next((e for s, e in exits.items() if s == low), None)
        joining = next((e for s, e in entries.items() if s == low), None)
        junction = _new_junction(town, f"exit {road}", "direct") if leaving else -1
        s = stations(line, low, high)
        z = np.interp(s, *heights)
        forward, backward = _add_section(
            town, f"{road}/{section}", line, s, z, street, limit, junction
        )
        for lane, successor in zip(previous[0], forward, strict=False):
            _link(town, lane, successor)
        for lane, successor in zip(backward, previous[1], strict=False):
            _link(town, lane, successor)
        if leaving:
            _build_exit(town, layout, leaving, previous[0][-1], junction, street)
        if joining:
            _build_entry(town, layout, joining, f"{road}/{section}", line, s, z, forward, street)
        previous = (forward, backward)
        outer.append(previous)

    widths = [count * street.width for count in street.lanes]
    start, end = pose_at(line, first), pose_at(line, last).reversed()
    town.arms.setdefault(street.start, []).append(
        _Arm(start, outer[0][1], outer[0][0], widths[1], widths[0])
    )
    town.arms.setdefault(street.end, []).append(
        _Arm(end, outer[-1][0], outer[-1][1], widths[0], widths[1])
    )


def _add_section(
    town: _Town,
    prefix: str,
    line: CentreLine,
    s: Floats,
    z: Floats,
    street: Street,
    limit: float,
    junction: int,
) -> tuple[list[int], list[int]]:
    """Adds the lanes of one section; `junction` holds the forward ones."""
    road, width = prefix.split("/")[0], street.width
    sides: list[list[int]] = []
    for side, count in ((-1, street.lanes[0]), (1, street.lanes[1])):
        lanes: list[int] = []
        for k in range(count):
            lane = _add_lane(
                town,
                road,
                f"{prefix}/{side * (k + 1)}",
                line,
                s,
                z,
                (side * k * width, side * (k + 1) * width),
                limit=limit,
                backward=side > 0,
                junction=junction if side < 0 else -1,
            )
            if lanes:
                _pair(town, lanes[-1], lane)
            lanes.append(lane)
        sides.append(lanes)
    if not street.motorway:
        for side, count in ((-1, street.lanes[0]), (1, street.lanes[1])):
            kerb = side * count * width
            _add_lane(
                town,
                road,
                f"{prefix}/{side * (count + 1)}",
                line,
                s,
                z,
                (kerb, kerb + side * SIDEWALK_WIDTH),
                kind="sidewalk",
                limit=0.0,
                backward=side > 0,
            )
    return sides[0], sides[1]


def _build_exit(
    town: _Town, layout: Layout, ramp: Exit, lane: int, junction: int, street: Street
) -> None:
    """Adds the ramp that leaves `lane` at its end."""
    start = town.poses[lane][1]
    lead, node = start.moved(RAMP_LEAD), layout.nodes[ramp.end]
    corners = [start[:2], lead[:2], *((x, y) for x, y, _ in ramp.via), (node.x, node.y)]
    line = polyline_with_arcs(corners, [RAMP_RADIUS, *(radius for *_, radius in ramp.via)])
    last = line.length - _mouth_distance(layout, ramp.end)
    road, half = _new_road(town), 0.5 * street.width
    before = lane
    for section, (low, high) in enumerate(((0.0, DIVERGING_LENGTH), (DIVERGING_LENGTH, last))):
        s = stations(line, low, high)
        new = _add_lane(
            town,
            road,
            f"{road}/{section}/-1",
            line,
            s,
            np.zeros_like(s),
            (half, -half),
            kind="offRamp",
            limit=TOWN_LIMIT,
            junction=junction if section == 0 else -1,
        )
        _link(town, before, new)
        before = new
    mouth = pose_at(line, last).moved(0.0, half).reversed()
    town.arms.setdefault(ramp.end, []).append(_Arm(mouth, [before], [], street.width, 0.0))


def _build_entry(
    town: _Town,
    layout: Layout,
    ramp: Entry,
    prefix: str,
    line: CentreLine,
    s: Floats,
    z: Floats,
    forward: list[int],
    street: Street,
) -> None:
    """Adds the ramp from a node and the acceleration lane beside the section's forward lanes."""
    road, inner = prefix.split("/")[0], -street.lanes[0] * street.width
    narrowing = _smooth((s - (s[-1] - TAPER_LENGTH)) / TAPER_LENGTH)
    width = street.width - (street.width - TAPER_WIDTH) * narrowing
    acceleration = _add_lane(
        town,
        road,
        f"{prefix}/{-street.lanes[0] - 1}",
        line,
        s,
        z,
        (inner, inner - width),
        kind="entry",
        limit=street.limit,
    )
    _pair(town, forward[-1], acceleration)

    end, node = town.poses[acceleration][0], layout.nodes[ramp.start]
    lead = end.moved(-RAMP_LEAD)
    corners = [(node.x, node.y), *((x, y) for x, y, _ in ramp.via), lead[:2], end[:2]]
    line = polyline_with_arcs(corners, [*(radius for *_, radius in ramp.via), RAMP_RADIUS])
    first = _mouth_distance(layout, ramp.start)
    s = stations(line, first, line.length)
    road, half = _new_road(town), 0.5 * street.width
    lane = _add_lane(
        town, road, f"{road}/0/-1", line, s, np.zeros_like(s), (half, -half), kind="onRamp"
    )
    _link(town, lane, acceleration)
    mouth = pose_at(line, first).moved(0.0, half)
    town.arms.setdefault(ramp.start, []).append(_Arm(mouth, [], [lane], 0.0, street.width))


# Nodes


def _turn(arrival: _Arm, departure: _Arm) -> float:
    """Change of heading from one arm to another [rad]."""
    return math.remainder(departure.mouth.heading - arrival.mouth.heading - math.pi, 2.0 * math.pi)


def _direction(arrival: _Arm, departure: _Arm) -> str:
    """Returns "left", "straight" or "right"."""
    turn = _turn(arrival, departure)
    if abs(turn) < math.radians(40.0):
        return "straight"
    return "left" if turn > 0.0 else "right"


def _movements(arrival: _Arm, arms: list[_Arm]) -> list[tuple[int, int, str]]:
    """Lists (incoming lane, outgoing lane, direction) for one approach."""
    targets = [(_direction(arrival, arm), arm) for arm in arms if arm is not arrival]
    left_possible = any(where == "left" and arm.outgoing for where, arm in targets)
    result = []
    for where, arm in targets:
        lanes, out = arrival.incoming, arm.outgoing
        if not lanes or not out:
            continue
        if where == "left":
            result.append((lanes[0], out[0], where))
        elif where == "right":
            result.append((lanes[-1], out[-1], where))
        else:
            if len(lanes) > len(out):
                lanes = lanes[-len(out) :] if left_possible else lanes[: len(out)]
            padded = lanes + [lanes[-1]] * (len(out) - len(lanes))
            result += [(lane, target, where) for lane, target in zip(padded, out, strict=True)]
    return result


def _build_junction(town: _Town, key: str, node: Node) -> None:
    """Joins the arms of a node by connecting lanes and adds stop lines and signals."""
    network = town.network
    arms = sorted(town.arms[key], key=lambda arm: arm.mouth.heading % (2.0 * math.pi))
    junction = _new_junction(town, key)
    for arrival in arms:
        beside: dict[int, int] = {}
        for lane, target, direction in _movements(arrival, arms):
            width = float(network.lanes[target].width[0])
            limits = [network.lanes[k].speed_limit for k in (lane, target)]
            limit = min(limits) if direction == "straight" else TURN_LIMIT
            new = _connect(town, lane, town.poses[target][0], width, limit, junction)
            _link(town, new, target)
            if direction == "straight":
                _pair_parallel(town, beside, lane, new)

    for arm in arms:
        if not arm.incoming:
            continue
        minor = not any(_direction(arm, other) == "straight" for other in arms if other is not arm)
        if node.kind == "signals":
            _add_stop_line(town, arm, junction, "traffic_light")
            _add_crosswalk(town, arm)
        elif minor or len(arms) > 3:
            _add_stop_line(town, arm, junction, "stop_sign")
    if node.kind == "signals":
        for arm in arms:
            if not arm.incoming:
                _add_crosswalk(town, arm)


def _pair_parallel(town: _Town, beside: dict[int, int], lane: int, new: int) -> None:
    """Makes straight connecting lanes from neighbouring lanes neighbours where they are alike."""
    lanes = town.network.lanes
    other = beside.get(lanes[lane].left_neighbour, -1)
    if lane not in beside and other >= 0:
        alike = lanes[other].centre.shape == lanes[new].centre.shape
        if alike and abs(lanes[other].length - lanes[new].length) < 1e-6:
            _pair(town, other, new)
    beside.setdefault(lane, new)


def _point(pose: Pose, z: float) -> Floats:
    """The place of a pose with its height, [3]."""
    return np.array([pose.x, pose.y, z])


def _add_stop_line(town: _Town, arm: _Arm, junction: int, kind: str) -> None:
    """Adds the stop line of an approach with its traffic light or sign."""
    network = town.network
    z = float(network.lanes[arm.incoming[0]].centre[-1, 2])
    place = arm.mouth.moved(STOP_SETBACK).reversed()
    name = f"{network.junctions[junction].name} {len(network.signals)}"
    signal = Signal(
        name,
        kind,
        _point(place.moved(0.0, -arm.width_in - 1.0), z),
        place.heading,
        list(arm.incoming),
    )
    network.signals.append(signal)
    if kind == "traffic_light":
        signal.group = len(network.signal_groups)
        network.signal_groups.append(SignalGroup(name, [len(network.signals) - 1], junction))
        network.junctions[junction].signal_groups.append(signal.group)
    right = _point(place.moved(0.0, -arm.width_in), z)
    network.stop_lines.append(
        StopLine(
            _point(place, z),
            right,
            _point(place.moved(0.0, arm.width_out), z),
            right.copy(),
            math.remainder(place.heading, 2.0 * math.pi),
            [(lane, network.lanes[lane].length - STOP_SETBACK) for lane in arm.incoming],
            "signal" if kind == "traffic_light" else "stop_sign",
            len(network.signals) - 1,
        )
    )


def _add_crosswalk(town: _Town, arm: _Arm) -> None:
    """Adds a crossing over the whole carriageway, just inside the junction."""
    lane = (arm.incoming or arm.outgoing)[0]
    z = float(town.network.lanes[lane].centre[-1 if arm.incoming else 0, 2])
    corners = ((-0.3, -1), (-0.3, 1), (-3.3, 1), (-3.3, -1))
    sides = {-1: -arm.width_out, 1: arm.width_in}
    outline = [_point(arm.mouth.moved(ahead, sides[side]), z) for ahead, side in corners]
    town.network.crosswalks.append(Crosswalk(np.array(outline)))


def _build_roundabout(town: _Town, key: str, node: Node) -> None:
    """Adds a one-lane ring; each arm's entry and exit form a junction with the ring between them."""
    network = town.network
    full = 2.0 * math.pi
    arms = sorted(town.arms[key], key=lambda arm: arm.mouth.heading % full)
    angles = [arm.mouth.heading % full for arm in arms]
    spread, half = math.radians(RING_SPREAD), 0.5 * RING_WIDTH

    def ring_lane(first: float, angle: float, junction: int) -> int:
        x, y = node.x + node.radius * math.cos(first), node.y + node.radius * math.sin(first)
        line = arc(Pose(x, y, first + 0.5 * math.pi), 1.0 / node.radius, node.radius * angle)
        s, road = stations(line, 0.0, line.length), _new_road(town)
        return _add_lane(
            town,
            road,
            f"{road}/0/-1",
            line,
            s,
            np.zeros_like(s),
            (half, -half),
            limit=TURN_LIMIT,
            junction=junction,
        )

    passing, between = [], []
    for k, angle in enumerate(angles):
        junction = _new_junction(town, f"{key} {k}")
        passing.append(ring_lane(angle - spread, 2.0 * spread, junction))
        gap = (angles[(k + 1) % len(angles)] - angle) % full
        between.append(ring_lane(angle + spread, gap - 2.0 * spread, -1))
    for k, arm in enumerate(arms):
        junction = network.lanes[passing[k]].junction
        _link(town, between[k - 1], passing[k])
        _link(town, passing[k], between[k])
        entry = _connect(
            town, arm.incoming[0], town.poses[between[k]][0], RING_WIDTH, TURN_LIMIT, junction
        )
        _link(town, entry, between[k])
        width = float(network.lanes[arm.outgoing[0]].width[0])
        leaving = _connect(
            town, between[k - 1], town.poses[arm.outgoing[0]][0], width, TURN_LIMIT, junction
        )
        _link(town, leaving, arm.outgoing[0])
        side = arm.mouth.reversed().moved(0.0, -arm.width_in - 1.0)
        network.signals.append(
            Signal(f"{key} {k}", "yield_sign", _point(side, 0.0), side.heading, [arm.incoming[0]])
        )
