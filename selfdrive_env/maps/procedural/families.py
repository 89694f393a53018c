"""The families of towns by seed, and the ranges and shares that each is drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from selfdrive_env.config.checks import suggestion
from selfdrive_env.config.choices import LAST_SEED, MAP_FAMILIES
from selfdrive_env.maps.inspection import share_reached
from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.layout.cells import Sides, add_crossing, fill_cell
from selfdrive_env.maps.procedural.layout.clearance import too_close
from selfdrive_env.maps.procedural.layout.dress import Style, Unfit, dress
from selfdrive_env.maps.procedural.layout.lattice import Lattice, cut_corners, lattice, thin_out
from selfdrive_env.maps.procedural.layout.reach import tightest_radius, within_reach
from selfdrive_env.maps.procedural.layout.relief import Relief
from selfdrive_env.maps.procedural.layout.sketch import contract, prune
from selfdrive_env.maps.procedural.roads.plan import Plan, build, rounded
from selfdrive_env.maps.road_network import MapError, RoadNetwork

__all__ = ["MIXTURE", "URBAN", "Family", "drawn", "family_of", "generate"]

ATTEMPTS = 40
"""Drafts of a map that are drawn until one can be built."""


CROSSING_ATTEMPTS = 30
"""After so many no street passes over another."""


@dataclass(frozen=True, slots=True)
class Family:
    """What maps of a family are drawn from."""

    lattice: Lattice
    cells: Mapping[str, float]
    """What streets there are in the cells of the lattice, and their shares."""

    loops: tuple[float, float]
    """Radius of the loops at dead ends [m]."""

    crossings: float = 0.0
    """Share of maps where one street passes over another."""

    corners_cut: float = 0.3
    """Share of the corners of the lattice that are left out."""

    style: Style = field(default_factory=Style)


_SIGNS = {"yield": 0.3, "stop": 0.3, "priority": 0.2, "right_first": 0.2}
_EQUALS = {"right_first": 0.35, "all_way_stop": 0.25, "signals": 0.15, "yield": 0.15, "stop": 0.1}

URBAN: dict[str, Family] = {
    "grid": Family(
        Lattice((4, 6), (3, 5), (95.0, 150.0), 3.0, (0.0, 0.0), (-0.12, 0.12), (0.0, 0.12)),
        {"none": 0.3, "across": 0.25, "dead_end": 0.2, "two_dead_ends": 0.1, "diagonal": 0.15},
        (7.3, 9.5),
        style=Style(
            at_main={"signals": 0.45, **{k: 0.5 * v for k, v in _SIGNS.items()}},
            among_equals=_EQUALS,
            one_way=0.3,
            bent=0.0,
        ),
    ),
    "city": Family(
        Lattice((4, 6), (3, 5), (95.0, 160.0), 16.0, (0.0, 1.2), (-0.3, 0.3), (0.05, 0.25)),
        {
            "none": 0.15,
            "across": 0.2,
            "tripod": 0.15,
            "cross": 0.1,
            "dead_end": 0.15,
            "diagonal": 0.25,
        },
        (7.3, 9.5),
        style=Style(
            double=0.7,
            at_main={
                "signals": 0.45,
                "roundabout": 0.1,
                **{k: 0.45 * v for k, v in _SIGNS.items()},
            },
            among_equals={**_EQUALS, "mini_roundabout": 0.1, "roundabout": 0.1},
            one_way=0.15,
        ),
        crossings=0.15,
    ),
    "village": Family(
        Lattice((3, 4), (3, 4), (110.0, 190.0), 30.0, (0.0, 0.8), (-0.4, 0.4), (0.15, 0.4), (1, 1)),
        {"none": 0.1, "across": 0.15, "tripod": 0.2, "dead_end": 0.25, "two_dead_ends": 0.3},
        (7.3, 8.5),
        style=Style(
            widths=((2.75, 3.0), (2.75, 3.2), (3.0, 3.5)),
            double=0.0,
            kerbs=((3.5, 5.0), (3.5, 6.0), (4.0, 8.0)),
            limits=((8.3,), (8.3, 13.9), (13.9,)),
            at_main={**_SIGNS, "right_first": 0.4, "mini_roundabout": 0.1},
            among_equals={"right_first": 0.8, "mini_roundabout": 0.2},
            pockets=0.1,
            lane_ends=0.0,
            parking=0.15,
            bicycle=0.1,
            unmarked=0.8,
            bent=0.7,
            radii=(10.0, 35.0),
            straights=260.0,
            rural_limits=(19.4, 22.2, 27.8),
        ),
    ),
    "roundabouts": Family(
        Lattice((3, 5), (3, 4), (125.0, 180.0), 14.0, (0.0, 0.8), (-0.2, 0.2), (0.0, 0.15)),
        {"none": 0.4, "across": 0.2, "cross": 0.2, "tripod": 0.2},
        (7.3, 9.5),
        style=Style(
            at_main={"roundabout": 0.8, "yield": 0.2},
            among_equals={"roundabout": 0.6, "mini_roundabout": 0.4},
            double=0.6,
        ),
    ),
    "hills": Family(
        Lattice((3, 5), (3, 4), (150.0, 230.0), 25.0, (0.0, 0.9), (-0.3, 0.3), (0.05, 0.3)),
        {"none": 0.4, "across": 0.3, "dead_end": 0.3},
        (7.3, 9.5),
        style=Style(
            at_main={"signals": 0.15, **_SIGNS},
            among_equals=_EQUALS,
            bent=0.8,
            radii=(16.0, 60.0),
            relief=Relief(),
            straights=240.0,
            rural_limits=(16.7, 19.4, 22.2, 27.8),
        ),
        crossings=0.8,
    ),
    "boulevards": Family(
        Lattice(
            (3, 5), (3, 4), (110.0, 170.0), 10.0, (0.0, 0.8), (-0.25, 0.25), (0.0, 0.2), (2, 2)
        ),
        {"none": 0.3, "across": 0.25, "tripod": 0.1, "cross": 0.1, "dead_end": 0.25},
        (7.3, 13.0),
        style=Style(
            at_main={
                "signals": 0.6,
                "roundabout": 0.05,
                **{k: 0.35 * v for k, v in _SIGNS.items()},
            },
            among_equals=_EQUALS,
            double=0.85,
            median=0.85,
            medians=(0.6, 4.5),
            pockets=0.5,
            offsets=(0.0, 1.3, 2.4),
        ),
    ),
}
"""Families without motorways."""


MIXTURE = {"city": 0.22, "grid": 0.14, "village": 0.18, "roundabouts": 0.12, "hills": 0.14,
    "motorway": 0.2}  # fmt: skip
"""Families that the maps of `town` are of, and their shares."""

MIXED = 0.3
"""Share of these whose streets are laid out as in one family and made as in another."""

CAR_RADIUS = 6.9
"""Each street is reached by ways that are nowhere tighter: those of the longest cars [m]."""


LEAST_TURN = 4.2
"""Radius of turns, at least [m]."""

WIDE_KERB = 7.0
"""Radius of kerbs of a map where some streets would else be out of reach, at least [m]."""


def generate(family: str, seed: int) -> RoadNetwork:
    """Returns a map of a family; see `selfdrive_env.maps.procedural.generate`."""
    if family not in MAP_FAMILIES:
        raise MapError(
            f"no family of maps {family!r}: use one of {', '.join(MAP_FAMILIES)}"
            f"{suggestion(family, MAP_FAMILIES, 'family')}"
        )
    if not 0 <= seed <= LAST_SEED:
        raise MapError(f"seed of {family!r} must lie between 0 and {LAST_SEED}, got {seed}")
    name = f"{family}:{seed}"
    made = family_of(family, seed)
    if made is None:
        from selfdrive_env.maps.procedural.motorways.family import motorway

        return motorway(name)
    return drawn(made, name)[1]


def drawn(family: Family, name: str) -> tuple[Plan, RoadNetwork]:
    """Returns the plan of a map and the map: the first of its drafts that can be built.

    Args:
        family: What it is drawn from.
        name: From which all is drawn.
    """
    crossed = Draws(f"{name}:crossing").chance(family.crossings)
    for attempt in range(ATTEMPTS):
        try:
            draws = Draws(f"{name}:{attempt}")
            return _drawn(draws, family, name, crossed=crossed and attempt < CROSSING_ATTEMPTS)
        except Unfit:
            continue
    raise MapError(f"map {name!r} could not be drawn")


def family_of(family: str, seed: int) -> Family | None:
    """Returns what a map is drawn from, None for a motorway; `town` draws one of the others."""
    if family == "motorway":
        return None
    if family != "town":
        return URBAN[family]
    draws = Draws(f"{family}:{seed}")
    chosen, mixed = draws.by_share(MIXTURE), draws.chance(MIXED)
    other = draws.one_of([one for one in URBAN if one in MIXTURE])
    if chosen == "motorway":
        return None
    return replace(URBAN[chosen], style=URBAN[other].style) if mixed else URBAN[chosen]


def _drawn(draws: Draws, family: Family, name: str, *, crossed: bool) -> tuple[Plan, RoadNetwork]:
    """Returns the plan of a map and the map, or raises `Unfit`."""
    sketch, columns, rows = lattice(draws, family.lattice)
    cut_corners(draws, sketch, columns, rows, family.corners_cut)
    taken = add_crossing(draws, sketch, columns, rows) if crossed else None
    if crossed and taken is None:
        raise Unfit("no two streets can cross on two levels")
    sides = Sides.of(sketch)
    for row in range(rows - 1):
        for column in range(columns - 1):
            near = row * columns + column
            corners = (near, near + 1, near + columns, near + columns + 1)
            if corners != taken:
                fill_cell(draws, sides, corners, family.cells, family.loops)
    thin_out(draws, sketch, draws.within(family.lattice.removed))
    prune(sketch)
    contract(sketch)
    if not sketch.alive():
        raise Unfit("no street is left")
    if any(
        sketch.narrowest_angle(point) < math.radians(40.0) for point in range(len(sketch.points))
    ):
        raise Unfit("streets meet at too small an angle")
    plan = dress(draws, sketch, family.style)
    if too_close(plan):
        raise Unfit("streets come too close to each other")
    network, _, _ = build(name, plan)
    if not within_reach(network, CAR_RADIUS):
        for node in plan.nodes:
            node.kerb = max(node.kerb, WIDE_KERB)
        network, _, _ = build(name, plan)
    if share_reached(network) != 1.0 or not within_reach(network, CAR_RADIUS):
        raise Unfit("streets are not all reached")
    if min(tightest_radius(lane) for lane in network.lanes if lane.drivable) < LEAST_TURN:
        raise Unfit("turns are too tight")
    return plan, rounded(network)
