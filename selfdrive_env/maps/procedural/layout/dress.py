"""From a sketch to a plan: what each street is made of, and who waits at each junction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.layout.profiles import Pocket, Profile, sections, shortest
from selfdrive_env.maps.procedural.layout.relief import (
    CLEARANCE,
    LEVEL,
    Relief,
    crossing_heights,
    meeting_place,
    street_heights,
)
from selfdrive_env.maps.procedural.layout.sketch import Sketch, distance_between
from selfdrive_env.maps.procedural.roads.lines import line_through
from selfdrive_env.maps.procedural.roads.plan import Node, Plan, mouths
from selfdrive_env.maps.procedural.roads.rounds import least_ring
from selfdrive_env.maps.procedural.roads.streets import Street
from selfdrive_env.maps.towns.centre_lines import CentreLine, pose_at

__all__ = ["Style", "Unfit", "dress"]

Range = tuple[float, float]

LEAD = 24.0
"""Streets run straight for so long from where they meet [m]."""

ONE_WAY_KERB = 6.0
"""Radius of the kerb where one-way streets meet others, at least [m]."""

ROUND_ANGLE = math.radians(55.0)
"""Between the arms of a roundabout, at least."""

CROSSING_ANGLE = math.radians(38.0)
"""Between streets that cross on two levels, at least."""

STRAIGHT = math.radians(40.0)

LIGHTS_APART = 75.0
"""Between two junctions with lights, at least [m]."""

POCKET_ROOM = 115.0
"""Streets of this length may have turn lanes [m]."""

DROP_ROOM = 215.0
"""... and these a lane that ends [m]."""


LEAST_RADII = (9.0, 12.0, 26.0)
"""Of bends between junctions, by rank [m]."""


FLAT = Relief((0.0, 0.0), crest=(0.0, 0.0))


FIELD_GRADE = 0.055
"""Between two junctions on average; hills are lower where it would be more."""


class Unfit(Exception):
    """A draft that cannot be built: another one is drawn."""


@dataclass(frozen=True, slots=True)
class Style:
    """Ranges and shares that streets and junctions are drawn from. Ranks: 0 local, 1, 2 main."""

    widths: tuple[Range, Range, Range] = ((2.75, 3.25), (2.9, 3.5), (3.0, 3.75))
    """Of lanes, by rank [m]."""

    double: float = 0.5
    """Share of maps whose main roads have two lanes each way."""

    kerbs: tuple[Range, Range, Range] = ((3.5, 6.0), (4.0, 8.0), (5.0, 10.0))
    """Radius at corners, by the highest rank that meets [m]."""

    limits: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] = (
        (8.3,),
        (8.3, 13.9),
        (13.9, 16.7),
    )
    """Speed limits, by rank [m/s]."""

    at_main: Mapping[str, float] = field(default_factory=dict)
    """Controls where a road of higher rank passes, and their shares."""

    among_equals: Mapping[str, float] = field(default_factory=dict)
    """Controls elsewhere."""

    pockets: float = 0.35
    """Share of approaches with room for it that have a turn lane."""

    lane_ends: float = 0.5
    """Share of streets with room for it on which lanes end and open."""

    one_way: float = 0.0
    """Share of local streets and collectors."""

    parking: float = 0.3
    """Share of the sides of local streets and collectors."""

    bicycle: float = 0.25
    """Share of collectors and main roads with lanes for bicycles, on three of five maps."""

    median: float = 0.25
    """Share of maps whose main roads of two lanes each way have one."""

    medians: Range = (1.5, 3.5)
    """Their width [m]."""

    unmarked: float = 0.5
    """Share of local streets without paint between the directions."""

    crosswalks: tuple[float, float] = (0.9, 0.2)
    """Share of junctions with lights, and of others."""

    bent: float = 0.2
    """Share of streets with bends between junctions."""

    radii: Range = (14.0, 45.0)
    """Of bends; three times as much on main roads [m]."""

    paved_loops: float = 0.4
    """Share of the loops at dead ends that have no island."""

    relief: Relief | None = None
    """Height of hills, from hill to hill, and crests of streets [m]."""

    straights: float = 0.0
    """From this length on a main road is a rural link ... [m]"""

    rural_limits: tuple[float, ...] = ()
    """... and has one of these limits [m/s]."""

    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far streets end beside the middle of junctions at most, by rank [m]."""


@dataclass(slots=True)
class _Draft:
    """A street to be."""

    edge: int
    line: CentreLine
    profile: Profile
    limit: float


def dress(draws: Draws, sketch: Sketch, style: Style) -> Plan:
    """Returns a plan of lanes and controls along a sketch.

    Args:
        draws: Where chance comes from.
        sketch: Contracted; some edges become one-way and get corners.
        style: What to draw.

    Raises:
        Unfit: The streets need more room than there is.
    """
    _bend(draws, sketch, style)
    _choose_one_way(draws, sketch, style)
    drafts = _drafts(draws, sketch, style)
    nodes = _nodes(draws, sketch, style, drafts)
    _add_pockets(draws, sketch, style, drafts, nodes)
    plan = _fitted(sketch, drafts, nodes)
    crossing = [k for k, d in enumerate(drafts) if sketch.edge(d.edge).level]
    if style.relief is not None or crossing:
        _raise_streets(draws, style.relief or FLAT, plan)
    if crossing:
        _raise_crossing(plan, crossing, [sketch.edge(drafts[k].edge).level for k in crossing])
    return plan


def _bend(draws: Draws, sketch: Sketch, style: Style) -> None:
    """Gives some straight edges one or two corners."""
    for number in sketch.alive():
        edge = sketch.edge(number)
        bends, twice = draws.chance(style.bent), draws.chance(0.4)
        most = 0.07 if edge.rank > 1 else 0.13
        aside, sense = draws.within((0.04, most)), 1.0 if draws.chance(0.5) else -1.0
        length = distance_between(sketch.points[edge.start], sketch.points[edge.end])
        least = 140.0 if edge.rank > 1 else 95.0
        if not bends or edge.via or length < least or sketch.is_dead_end(edge):
            continue
        (x0, y0), (x1, y1) = sketch.path(number)
        offsets = [(0.36, aside), (0.64, -aside)] if twice else [(0.5, aside)]
        edge.via = [
            (x0 + t * (x1 - x0) - sense * d * (y1 - y0), y0 + t * (y1 - y0) + sense * d * (x1 - x0))
            for t, d in offsets
        ]
        if min(map(sketch.narrowest_angle, (edge.start, edge.end))) < math.radians(52.0):
            edge.via = []


def _choose_one_way(draws: Draws, sketch: Sketch, style: Style) -> None:
    """Makes edges one-way as long as each street is reached from each."""
    for number in draws.shuffled(sketch.alive()):
        edge = sketch.edge(number)
        turned, chosen = draws.chance(0.5), draws.chance(style.one_way)
        if not chosen or edge.rank > 1 or sketch.is_dead_end(edge):
            continue
        if turned:
            edge.start, edge.end, edge.via = edge.end, edge.start, edge.via[::-1]
        edge.one_way = True
        if not strongly_connected(sketch):
            edge.one_way = False


def strongly_connected(sketch: Sketch) -> bool:
    """Whether every direction of every street is reached from each, without turning back."""
    directed = [(k, True) for k in sketch.alive()]
    directed += [(k, False) for k in sketch.alive() if not sketch.edge(k).one_way]
    leaving: dict[int, list[tuple[int, bool]]] = {}
    for number, ahead in directed:
        edge = sketch.edge(number)
        leaving.setdefault(edge.start if ahead else edge.end, []).append((number, ahead))

    def after(number: int, ahead: bool) -> list[tuple[int, bool]]:
        edge = sketch.edge(number)
        point = edge.end if ahead else edge.start
        there = leaving.get(point, [])
        return [one for one in there if one[0] != number or point in sketch.loops]

    links = {one: after(*one) for one in directed}
    back: dict[tuple[int, bool], list[tuple[int, bool]]] = {one: [] for one in directed}
    for one, others in links.items():
        for other in others:
            back[other].append(one)
    for table in (links, back):
        seen, stack = {directed[0]}, [directed[0]]
        while stack:
            for other in table[stack.pop()]:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        if len(seen) < len(directed):
            return False
    return True


def _drafts(draws: Draws, sketch: Sketch, style: Style) -> list[_Draft]:
    """Returns what each street is made of, without turn lanes."""
    double, median = draws.chance(style.double), draws.chance(style.median)
    median_width = draws.within(style.medians)
    common = [draws.within(bounds) for bounds in style.widths]
    bicycle, parking = draws.chance(0.6), draws.within((1.9, 2.3))
    out = []
    for number in sketch.alive():
        edge = sketch.edge(number)
        main = edge.rank > 1
        factor = 3.0 if main else 1.0
        least = LEAST_RADII[edge.rank]
        radii = [max(factor * draws.within(style.radii), 1.1 * least) for _ in edge.via]
        spiral = draws.within((0.3, 1.2))
        line = line_through(_path(draws, sketch, style, number), radii, spiral, LEAD)
        if float(np.max(np.abs(line.curvature))) > 1.0 / least:
            raise Unfit("bends are too tight")
        width = common[edge.rank] if draws.chance(0.7) else draws.within(style.widths[edge.rank])
        limit = draws.one_of(style.limits[edge.rank])
        rural = main and style.rural_limits and line.length > style.straights
        if rural:
            limit = draws.one_of(style.rural_limits)
        # A loop has one lane: of two the outer one would end there.
        count = 2 if main and double and not rural and not sketch.is_dead_end(edge) else 1
        ends, opens = draws.chance(style.lane_ends), draws.chance(0.5)
        parks = [parking if draws.chance(style.parking) and edge.rank < 2 else 0.0 for _ in "lr"]
        cycles = draws.chance(style.bicycle) and bicycle and edge.rank > 0
        lane_width = draws.within((1.4, 1.9))
        walk = 0.0 if rural else 2.0
        profile = Profile(
            width,
            (count, count),
            (count, count),
            bicycle=lane_width if cycles else 0.0,
            parking=(parks[0], parks[1]),
            walk=(walk, walk),
            median=median_width if main and median and count == 2 else 0.0,
            marked=edge.rank > 0 or not draws.chance(style.unmarked),
        )
        if edge.one_way:
            lanes = (2, 0) if width > 3.0 and draws.chance(0.35) else (1, 0)
            profile = replace(profile, lanes=lanes, lanes_end=lanes, marked=True)
        elif ends and edge.rank > 0 and line.length > DROP_ROOM and not profile.median:
            more, less = (2, 2), (1, 1)
            profile = replace(
                profile, lanes=more if opens else less, lanes_end=less if opens else more
            )
        out.append(_Draft(number, line, profile, limit))
    return out


def _path(draws: Draws, sketch: Sketch, style: Style, number: int) -> list[tuple[float, float]]:
    """Returns the corners of a street, its ends shifted to the side of where it meets others."""
    path, edge = sketch.path(number), sketch.edge(number)
    most = style.offsets[edge.rank]
    if most == 0.0:
        return path
    for place, point in ((0, edge.start), (-1, edge.end)):
        heading, aside = sketch.heading(number, point), draws.within((-most, most))
        if len(sketch.at(point)) > 2:
            x, y = path[place]
            path[place] = (x - aside * math.sin(heading), y + aside * math.cos(heading))
    return path


def _nodes(draws: Draws, sketch: Sketch, style: Style, drafts: list[_Draft]) -> list[Node]:
    """Returns the nodes with their controls."""
    nodes = [Node(x, y) for x, y in sketch.points]
    lights: list[tuple[float, float]] = []
    for point, node in enumerate(nodes):
        here = sketch.at(point)
        if not here:
            continue
        ranks = sorted((sketch.edge(k).rank for k in here), reverse=True)
        node.kerb = draws.within(style.kerbs[ranks[0]])
        if any(sketch.edge(k).one_way for k in here):
            # Who cannot turn left here has to turn right.
            node.kerb = max(node.kerb, ONE_WAY_KERB)
        table = dict(style.at_main if ranks[0] > ranks[-1] else style.among_equals)
        radius, ring, mini = (draws.within(b) for b in ((13.0, 20.0), (20.0, 26.0), (7.3, 8.8)))
        crossing = draws.chance(style.crosswalks[0]), draws.chance(style.crosswalks[1])
        node.paved = draws.chance(style.paved_loops)
        if point in sketch.loops:
            node.control, node.radius = "loop", sketch.loops[point]
            continue
        wide = any(
            max(*d.profile.lanes, *d.profile.lanes_end) > 1
            for d in drafts
            if point in (sketch.edge(d.edge).start, sketch.edge(d.edge).end)
        )
        angle = sketch.narrowest_angle(point)
        if angle < ROUND_ANGLE or len(here) < 3:
            table.pop("roundabout", None)
        if angle < ROUND_ANGLE or len(here) < 3 or wide or ranks[0] > 1:
            table.pop("mini_roundabout", None)
        if len(here) > 4 or (wide and ranks[0] == ranks[-1]):
            table = {k: v for k, v in table.items() if k in ("signals", "roundabout")} or {
                "signals": 1.0
            }
        if any(distance_between((node.x, node.y), other) < LIGHTS_APART for other in lights):
            table = {k: v for k, v in table.items() if k != "signals"} or {"yield": 1.0}
        node.control = "none" if len(here) < 3 else draws.by_share(table or {"yield": 1.0})
        if node.control == "signals":
            lights.append((node.x, node.y))
        if node.control == "roundabout":
            node.ring_lanes = 2 if wide else 1
            node.radius = max(ring if wide else radius, least_ring(angle, 5.3 if wide else 1.9))
        if node.control == "mini_roundabout":
            node.radius = mini
        node.crosswalks = crossing[0 if node.control == "signals" else 1]
        if node.control in ("roundabout", "mini_roundabout", "none"):
            node.crosswalks = False
    return nodes


def _turns(sketch: Sketch, point: int, number: int) -> str:
    """Returns where one may go at a point from an edge, of "l", "s" and "r"."""
    heading = sketch.heading(number, point)
    out = set()
    for other in sketch.at(point):
        edge = sketch.edge(other)
        if other == number or (edge.one_way and edge.end == point):
            continue
        change = math.remainder(sketch.heading(other, point) - heading - math.pi, 2.0 * math.pi)
        out.add("s" if abs(change) < STRAIGHT else "l" if change > 0.0 else "r")
    return "".join(turn for turn in "lsr" if turn in out)


def _add_pockets(
    draws: Draws, sketch: Sketch, style: Style, drafts: list[_Draft], nodes: list[Node]
) -> None:
    """Adds turn lanes to some approaches."""
    for draft in drafts:
        edge = sketch.edge(draft.edge)
        pockets: list[Pocket | None] = [None, None]
        for side, point in ((0, edge.end), (1, edge.start)):
            chosen, left = draws.chance(style.pockets), draws.chance(0.8)
            length = draws.within((25.0, 45.0))
            there = _turns(sketch, point, draft.edge)
            fits = nodes[point].control in ("signals", "yield", "stop", "priority")
            fits = fits and edge.rank > 0 and len(there) > 1 and not edge.one_way
            turn = "l" if left or "r" not in there else "r"
            if chosen and fits and turn in there and draft.line.length > POCKET_ROOM:
                pockets[side] = Pocket(turn, length)
        draft.profile = replace(draft.profile, pockets=(pockets[0], pockets[1]))


def _fitted(sketch: Sketch, drafts: list[_Draft], nodes: list[Node]) -> Plan:
    """Returns the plan, with what does not fit left out."""
    for _ in range(6):
        streets = []
        for draft in drafts:
            edge, profile = sketch.edge(draft.edge), draft.profile
            streets.append(
                Street(
                    edge.start,
                    edge.end,
                    draft.line,
                    sections(profile),
                    draft.limit,
                    edge.rank,
                    profile.marked,
                )
            )
        plan = Plan(nodes, streets)
        tight = [
            (draft, street)
            for draft, street, ends in zip(drafts, streets, mouths(plan), strict=True)
            if street.line.length - sum(ends) < shortest(draft.profile)
        ]
        if not tight:
            return plan
        for draft, street in tight:
            _loosen(draft, [nodes[street.start], nodes[street.end]])
    raise Unfit("streets are too short")


def _loosen(draft: _Draft, ends: list[Node]) -> None:
    """Leaves something out that takes room."""
    profile = draft.profile
    if profile.pockets != (None, None):
        draft.profile = replace(profile, pockets=(None, None))
    elif profile.lanes != profile.lanes_end:
        draft.profile = replace(profile, lanes_end=profile.lanes)
    elif profile.bicycle or max(profile.parking):
        draft.profile = replace(profile, bicycle=0.0, parking=(0.0, 0.0))
    elif any(node.control == "roundabout" for node in ends):
        for node in ends:
            if node.control == "roundabout":
                node.control = "yield"
    else:
        for node in ends:
            node.kerb = max(3.5, 0.6 * node.kerb)
            node.crosswalks = False


def _raise_streets(draws: Draws, relief: Relief, plan: Plan) -> None:
    """Gives nodes and streets their heights."""
    height_at = relief.field(draws)
    heights_of = [height_at(node.x, node.y) for node in plan.nodes]
    reaches = mouths(plan)
    grades = [
        abs(heights_of[street.start] - heights_of[street.end])
        / (street.line.length - sum(ends) - 2.0 * LEVEL)
        for street, ends in zip(plan.streets, reaches, strict=True)
    ]
    lower = min(1.0, FIELD_GRADE / max(max(grades), 1e-9))
    for node, height in zip(plan.nodes, heights_of, strict=True):
        node.z = lower * height
    for number, (street, ends) in enumerate(zip(plan.streets, reaches, strict=True)):
        z = plan.nodes[street.start].z, plan.nodes[street.end].z
        heights = street_heights(draws, relief, street.line, ends, z)
        plan.streets[number] = replace(street, heights=heights)


def _raise_crossing(plan: Plan, crossing: list[int], levels: list[int]) -> None:
    """Lets one street pass over another."""
    if sorted(levels) != [-1, 1]:
        raise Unfit("streets that cross on two levels have become one")
    lines = [plan.streets[k].line for k in crossing]
    places = meeting_place(lines[0], lines[1])
    headings = [pose_at(line, place).heading for line, place in zip(lines, places, strict=True)]
    if abs(math.sin(headings[0] - headings[1])) < math.sin(CROSSING_ANGLE):
        raise Unfit("streets cross at too small an angle")
    reaches = mouths(plan)
    before = [
        float(np.interp(place, *plan.streets[k].heights))  # type: ignore[misc]
        for k, place in zip(crossing, places, strict=True)
    ]
    for k, place, level in zip(crossing, places, levels, strict=True):
        street = plan.streets[k]
        height = 0.5 * sum(before) + 0.5 * level * CLEARANCE
        z = plan.nodes[street.start].z, plan.nodes[street.end].z
        heights = crossing_heights(street.line, reaches[k], z, place, height)
        if heights is None:
            raise Unfit("ramps are too steep")
        plan.streets[k] = replace(street, heights=heights)
