"""Samples the lanes of OpenDRIVE roads: centre lines and boundaries in the direction of travel.

Stations are chosen so that chords stay within a centimetre of every boundary. Superelevation is not
applied: lanes keep the height of the reference line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.flaws import MAX_COORDINATE
from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.geometry import evaluate_polynomials
from selfdrive_env.maps.opendrive.parse.records import LaneRecord, Road, Section
from selfdrive_env.maps.road_network import (
    DEFAULT_SPEED_LIMIT,
    DRIVABLE_TYPES,
    TWO_WAY,
    Lane,
    MapError,
)

__all__ = ["SampledSection", "sample_road"]

Floats = NDArray[np.float64]

CHORD_ERROR = 0.008
"""Largest distance between a chord and the curve on drivable lanes [m]."""

COARSE_CHORD_ERROR = 0.05
"""The same where a section has no drivable lane [m]."""

MAX_STEP = 5.0
"""Station spacing on straight parts [m]."""

CURVED_STEP = 1.0
"""Station spacing on curved parts [m]."""

CURVED = 2e-4
"""Curvature from which a part counts as curved [1/m]."""

MIN_STEP = 0.1
"""Smallest station spacing within an interval [m]."""

MIN_INTERVAL = 0.02
"""Breakpoints closer than this are merged [m]."""

NEGLIGIBLE_WIDTH = 0.01
"""Negative widths down to this are rounding; lanes never wider have no width [m]."""

MAX_POINTS = 10_000_000
"""Most points of one lane section."""

MANY_POINTS = f"road {{}}: a lane section needs more than {MAX_POINTS} points"

MAX_WIDTH = 60.0
"""Widest lane that is driven on; a toll plaza of twelve lanes written as one [m]."""

NO_LIMIT = f"{{}} driving lanes have no speed limit; {DEFAULT_SPEED_LIMIT:g} m/s is used"

SHEARED = 3.0
"""Cross sections turn to an end that is cut obliquely over so many times what is cut off."""

LEFT = 0.05
"""Share of the length of a section that the ends of a lane must leave."""

PROBES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


@dataclass(slots=True)
class SampledSection:
    """Where the lanes of a lane section lie; the lanes' points are views into these arrays."""

    stations: Floats
    """Along the reference line, ascending, [S] [m]."""

    boundaries: Floats
    """From left to right in the direction of the reference line, [B + 1, S, 3] [m]."""

    centres: Floats
    """[B, S, 3] [m]"""

    lanes: list[int]
    """Index of each lane in the network, from left to right, [B]."""

    forward: list[bool]
    """Whether the traffic of each lane runs along the reference line, [B]."""

    turned: dict[int, int]
    """Place in `lanes` of those with traffic in both directions -> index of the same surface as a
    lane against the usual direction; these follow the section's other lanes in the network."""

    own: dict[int, Floats]
    """Place in `lanes` of those that end elsewhere than the section -> where the points of their
    centres lie along the reference line, [S] [m]."""

    def row(self, lane: int) -> int:
        """Returns the place in `lanes` of a lane."""
        if lane <= self.lanes[-1]:
            return lane - self.lanes[0]
        return next(place for place, other in self.turned.items() if other == lane)

    def both_ways(self) -> list[tuple[int, int, bool]]:
        """Returns lane, place in `lanes` and whether turned, of all, in the network's order."""
        usual = [(lane, place, False) for place, lane in enumerate(self.lanes)]
        return usual + [(lane, place, True) for place, lane in self.turned.items()]


def sample_road(
    road: Road, junction: int, lanes: list[Lane], problems: Problems
) -> list[SampledSection]:
    """Appends the lanes of a road to `lanes`.

    Args:
        road: The road.
        junction: Index of the junction it runs through, or -1.
        lanes: All lanes of the network so far; grows.
        problems: Receives what is flawed but usable.

    Returns:
        One entry a lane section, [len(road.sections)].
    """
    sampled = []
    for section in road.sections:
        stations = _stations(road, section)
        boundaries = _boundaries(road, section, stations, problems)
        centres = _centres(section, stations, boundaries)
        lefts, rights, own = boundaries[:-1], boundaries[1:], dict[int, Floats]()
        if any(record.ends is not None for record in section.lanes):
            (lefts, rights, centres), own = _cut(road, section, stations, problems)
        first = len(lanes)
        lanes += [
            Lane(
                name=lane_name(road, section, record),
                type=record.type,
                centre=centres[k],
                left=lefts[k],
                right=rights[k],
                speed_limit=_speed_limit(road, section, record, problems),
                road=road.id,
                junction=junction,
            )
            for k, record in enumerate(section.lanes)
        ]
        indices, turned = list(range(first, len(lanes))), {}
        for k, record in enumerate(section.lanes):
            if not runs_forward(road, record):
                _turn_round(lanes[first + k])
            if record.two_way:
                turned[k] = len(lanes)
                lanes.append(replace(lanes[first + k], name=f"{lanes[first + k].name}/back"))
                lanes[-1].successors, lanes[-1].predecessors = [], []
                _turn_round(lanes[-1])
        forward = [runs_forward(road, record) for record in section.lanes]
        sampled.append(SampledSection(stations, boundaries, centres, indices, forward, turned, own))
        _set_neighbours(sampled[-1], lanes)
        _list_folds((lefts, rights, centres), indices, lanes, problems)
    return sampled


def _turn_round(lane: Lane) -> None:
    """Turns the direction of travel."""
    lane.centre = lane.centre[::-1]
    lane.left, lane.right = lane.right[::-1], lane.left[::-1]


def lane_name(road: Road, section: Section, record: LaneRecord) -> str:
    """Returns what a lane is called: "road/section/lane id"."""
    return f"{road.id}/{section.name}/{record.id}"


def runs_forward(road: Road, record: LaneRecord) -> bool:
    """Returns whether traffic in the lane runs in the direction of the reference line."""
    return ((record.id < 0) != road.left_hand) != record.reversed


def _list_folds(
    lines: tuple[Floats, Floats, Floats], indices: list[int], lanes: list[Lane], problems: Problems
) -> None:
    """Lists drivable lanes that bend more tightly than their width or turn back within a step."""
    lefts, rights, middles = (np.diff(line[..., :2], axis=1) for line in lines)
    folded = ((lefts * rights).sum(axis=-1) < -1e-6).any(axis=-1)
    turned = ((middles[:, :-1] * middles[:, 1:]).sum(axis=-1) < -1e-6).any(axis=-1)
    for k in np.flatnonzero(folded | turned):
        lane = lanes[indices[k]]
        if lane.drivable and turned[k]:
            problems.add("{} driving lanes turn back sharply within their length", lane.name)
        elif lane.drivable:
            problems.add("{} driving lanes bend so tightly that a boundary folds back", lane.name)


def _set_neighbours(sampled: SampledSection, lanes: list[Lane]) -> None:
    """Links drivable lanes side by side with the same direction of travel.

    Out of a lane with traffic in both directions one may change, not into it.
    """
    runs: list[dict[bool, Lane]] = [{} for _ in sampled.lanes]
    indices = {}
    for index, place, turned in sampled.both_ways():
        forward = sampled.forward[place] != turned
        runs[place][forward] = lanes[index]
        indices[place, forward] = index
    for k in range(len(runs) - 1):
        for forward in runs[k].keys() & runs[k + 1].keys():
            first, second = (k, k + 1) if forward else (k + 1, k)
            left, right = runs[first][forward], runs[second][forward]
            if not (left.drivable and right.drivable):
                continue
            if right.type != TWO_WAY:
                left.right_neighbour = indices[second, forward]
            if left.type != TWO_WAY:
                right.left_neighbour = indices[first, forward]


def _stations(road: Road, section: Section) -> Floats:
    """Returns stations from the start to the end of a section, both included, [S] [m]."""
    breaks = _breakpoints(road, section)
    lengths = np.diff(breaks)
    probes = breaks[:-1, None] + lengths[:, None] * (1e-6 + (1.0 - 2e-6) * PROBES)
    at = probes.ravel()
    _, _, _, curvature = road.line.evaluate(at)
    bend, rise = _second_derivatives(road, section, at, curvature)
    bend = bend.reshape(probes.shape).max(axis=1)
    rise = rise.reshape(probes.shape).max(axis=1)
    drivable = any(lane.type in DRIVABLE_TYPES for lane in section.lanes)
    error = CHORD_ERROR if drivable else COARSE_CHORD_ERROR
    step = np.sqrt(8.0 * error / np.maximum(np.maximum(bend, rise), 1e-9))
    limit = np.where(bend > CURVED, CURVED_STEP if drivable else MAX_STEP, MAX_STEP)
    step = np.clip(step, MIN_STEP, limit)
    counts = np.maximum(1, np.ceil(lengths / step - 1e-9).astype(np.int64))
    if counts.sum() * (len(section.lanes) + 1) > MAX_POINTS:
        raise MapError(MANY_POINTS.format(road.id))
    first = np.concatenate([[0], np.cumsum(counts)])
    interval = np.repeat(np.arange(len(counts)), counts)
    fraction = (np.arange(first[-1]) - first[interval]) / counts[interval]
    return np.append(breaks[interval] + fraction * lengths[interval], section.end)


def _breakpoints(road: Road, section: Section) -> Floats:
    """Returns the stations where a polynomial or a geometry begins, ends included."""
    starts = [road.line.starts, road.lane_offsets[:, 0], road.elevations[:, 0]]
    for lane in section.lanes:
        records = lane.widths if len(lane.widths) else lane.borders
        starts += [rows[1:, 0] + section.start for rows in (records, lane.centres) if len(rows) > 1]
    inner = np.unique(np.concatenate(starts))
    inner = inner[(inner > section.start + MIN_INTERVAL) & (inner < section.end - MIN_INTERVAL)]
    if len(inner) > 1:
        inner = inner[np.append(True, np.diff(inner) > MIN_INTERVAL)]
    return np.concatenate([[section.start], inner, [section.end]])


def _second_derivatives(
    road: Road, section: Section, stations: Floats, curvature: Floats
) -> tuple[Floats, Floats]:
    """Bounds how far boundaries bend in the plane and how far the height bends, [S] each."""
    _, _, rise = evaluate_polynomials(road.elevations, stations)
    t, slope, bend = evaluate_polynomials(road.lane_offsets, stations)
    largest = np.abs(curvature)
    local = stations - section.start
    for left in (True, False):
        edge, edge_slope, edge_bend = t, slope, bend
        side = [lane for lane in section.lanes if (lane.id > 0) == left]
        drivable = [i for i, lane in enumerate(side) if lane.type in DRIVABLE_TYPES]
        if not drivable:
            continue
        ordered = side[drivable[0] :][::-1] if left else side[: drivable[-1] + 1]
        sign = 1.0 if left else -1.0
        for lane in ordered:
            width, width_slope, width_bend = evaluate_polynomials(lane.widths, local)
            edge = edge + sign * width
            edge_slope, edge_bend = edge_slope + sign * width_slope, edge_bend + sign * width_bend
            turn = np.abs(curvature * (1.0 - curvature * edge) + edge_bend)
            largest = np.maximum(largest, turn + 2.0 * np.abs(curvature * edge_slope))
            if len(lane.centres):
                middle_bend = edge_bend - 0.5 * sign * width_bend
                middle_bend = middle_bend + evaluate_polynomials(lane.centres, local)[2]
                largest = np.maximum(largest, np.abs(curvature) + np.abs(middle_bend))
    return largest, np.abs(rise)


def _boundaries(road: Road, section: Section, stations: Floats, problems: Problems) -> Floats:
    """Returns the lane boundaries from left to right, [B + 1, S, 3] [m].

    Beyond its section a boundary goes on as it begins or ends.
    """
    length = section.end - section.start
    first, last = min(1e-9, 0.1 * length), min(1e-6, 0.5 * length)
    lookup = np.clip(stations, section.start + first, section.end - last)
    x, y, heading, _ = road.line.evaluate(stations, lookup)
    stations = np.clip(stations, section.start, section.end)
    z, _, _ = evaluate_polynomials(road.elevations, stations, lookup)
    offset, _, _ = evaluate_polynomials(road.lane_offsets, stations, lookup)

    middle = sum(lane.id > 0 for lane in section.lanes)
    t = np.empty((len(section.lanes) + 1, len(stations)))
    t[middle] = offset
    for k in range(middle - 1, -1, -1):
        t[k] = t[k + 1] + _width(road, section, k, stations, t[k + 1] - offset, problems)
    for k in range(middle, len(section.lanes)):
        t[k + 1] = t[k] - _width(road, section, k, stations, offset - t[k], problems)

    points = np.empty((*t.shape, 3))
    points[..., 0] = x - t * np.sin(heading)
    points[..., 1] = y + t * np.cos(heading)
    points[..., 2] = z
    if not np.abs(points).max() <= MAX_COORDINATE:
        raise MapError(
            f"road {road.id}, lane section at s={section.start:g}: lanes reach beyond "
            f"{MAX_COORDINATE:g} m"
        )
    return points


def _cut(
    road: Road, section: Section, stations: Floats, problems: Problems
) -> tuple[tuple[Floats, Floats, Floats], dict[int, Floats]]:
    """Returns left edges, right edges and centres of lanes that end elsewhere than their section.

    Args:
        road: The road.
        section: With at least one such lane.
        stations: From the start to the end of the section, [S] [m].
        problems: Receives lanes of which nothing would be left; they end where the section does.

    Returns:
        The lines of all lanes, [B, S, 3] each [m], and the stations of the points of centres by the
        places of such lanes, [S] each [m].
    """
    count = sum(record.ends is not None for record in section.lanes)
    if 3 * count * len(stations) * (len(section.lanes) + 1) > MAX_POINTS:
        raise MapError(MANY_POINTS.format(road.id))
    boundaries = _boundaries(road, section, stations, Problems())
    lefts, rights = boundaries[:-1].copy(), boundaries[1:].copy()
    centres, own = _centres(section, stations, boundaries), {}
    for k, record in enumerate(section.lanes):
        if record.ends is None:
            continue
        length = section.end - section.start
        if (length + record.ends[:, 1] - record.ends[:, 0]).min() < LEFT * length:
            name = lane_name(road, section, record)
            problems.add("{} lanes are cut off by their own ends (ignored)", name)
            continue
        left, right, own[k] = (_moved(section, stations, record.ends, side) for side in range(3))
        lefts[k] = _boundaries(road, section, left, Problems())[k]
        rights[k] = _boundaries(road, section, right, Problems())[k + 1]
        if np.any(record.ends[2]):
            middle = _boundaries(road, section, own[k], Problems())
            centres[k] = _centres(section, own[k], middle)[k]
    return (lefts, rights, centres), own


def _moved(section: Section, stations: Floats, ends: Floats, side: int) -> Floats:
    """Returns stations that begin and end as much further as one of the lines of a lane, [S].

    Args:
        section: Of the lane.
        stations: From the start to the end of the section, [S] [m].
        ends: How much further each line begins and ends, [3, 2] [m].
        side: Which line.
    """
    length = section.end - section.start
    reach = max(SHEARED * float(np.abs(ends).max()), 1.0)
    reach = reach if 2.0 * reach < length else length
    first = np.maximum(1.0 - (stations - section.start) / reach, 0.0)
    last = np.maximum(1.0 - (section.end - stations) / reach, 0.0)
    moved: Floats = np.maximum.accumulate(stations + ends[side, 0] * first + ends[side, 1] * last)
    return moved


def _centres(section: Section, stations: Floats, boundaries: Floats) -> Floats:
    """Returns the centres of the lanes: the middles, unless this package has said how far aside."""
    centres: Floats = 0.5 * (boundaries[:-1] + boundaries[1:])
    for k, lane in enumerate(section.lanes):
        if len(lane.centres):
            aside = boundaries[k] - boundaries[k + 1]
            width = np.hypot(aside[:, 0], aside[:, 1])
            shift = evaluate_polynomials(lane.centres, stations - section.start)[0]
            # The centre stays between the edges.
            share = np.clip(shift / np.maximum(width, 1e-6), -0.5, 0.5)
            centres[k] += share[:, None] * aside
    return centres


def _width(
    road: Road,
    section: Section,
    k: int,
    stations: Floats,
    inner: Floats,
    problems: Problems,
) -> Floats:
    """Returns the width of lane `k` whose inner boundary is `inner` from the middle, [S] [m]."""
    lane = section.lanes[k]
    local = stations - section.start
    if len(lane.widths):
        width, _, _ = evaluate_polynomials(lane.widths, local)
    elif len(lane.borders):
        width = np.abs(evaluate_polynomials(lane.borders, local)[0]) - inner
    else:
        width = np.zeros_like(stations)
    name = lane_name(road, section, lane)
    if width.min() < -NEGLIGIBLE_WIDTH:
        problems.infer("{} lanes have a negative width in places (taken as 0)", name)
    if lane.type in DRIVABLE_TYPES and width.max() > MAX_WIDTH:
        raise MapError(
            f"lane {name} is {width.max():.0f} m wide; a {lane.type} lane may be at most "
            f"{MAX_WIDTH:g} m wide"
        )
    if lane.type in DRIVABLE_TYPES and width.max() < NEGLIGIBLE_WIDTH:
        problems.add("{} driving lanes have no width anywhere", name)
    return np.maximum(width, 0.0)


def _speed_limit(road: Road, section: Section, record: LaneRecord, problems: Problems) -> float:
    """Returns the limit of a lane: its own, else the road's, else a sign's, else the default."""
    middle = 0.5 * (section.start + section.end)
    own = [limit for start, limit in sorted(record.speeds) if section.start + start <= middle]
    if own:
        return own[-1]
    of_road = [limit for start, limit in sorted(road.speeds) if start <= middle]
    if of_road:
        return of_road[-1]
    forward = runs_forward(road, record)
    signs = [
        (signal.s if forward else -signal.s, signal.speed)
        for signal in road.signals
        if signal.speed is not None
        and signal.orientation in ("+" if forward else "-", "none")
        # Validities that name no lane here leave the direction to decide, as no validity does.
        and (signal.names(record.id) or not any(signal.names(other.id) for other in section.lanes))
    ]
    passed = [limit for s, limit in sorted(signs) if s <= (middle if forward else -middle)]
    if not passed and record.type in DRIVABLE_TYPES:
        problems.infer(NO_LIMIT, lane_name(road, section, record), flaw=False)
    return passed[-1] if passed else DEFAULT_SPEED_LIMIT
