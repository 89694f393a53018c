"""The families of towns by seed, and the ranges and shares that each is drawn from."""

from __future__ import annotations

from selfdrive_env.config.checks import suggestion
from selfdrive_env.maps.procedural import FAMILIES, LAST_SEED
from selfdrive_env.maps.procedural.draws import Draws
from selfdrive_env.maps.procedural.layout.lattice import Lattice, lattice, thin_out
from selfdrive_env.maps.procedural.roads.lines import line_through
from selfdrive_env.maps.procedural.roads.plan import Node, Plan, build, rounded
from selfdrive_env.maps.procedural.layout.sketch import Sketch, contract
from selfdrive_env.maps.procedural.roads.streets import Part, Section, Street
from selfdrive_env.maps.road_network import MapError, RoadNetwork

__all__ = ["generate"]


def generate(family: str, seed: int) -> RoadNetwork:
    """Returns a map of a family; see `selfdrive_env.maps.procedural.generate`."""
    if family not in FAMILIES:
        raise MapError(
            f"no family of maps {family!r}: use one of {', '.join(FAMILIES)}"
            f"{suggestion(family, FAMILIES, 'family')}"
        )
    if not 0 <= seed <= LAST_SEED:
        raise MapError(f"seed of {family!r} must lie between 0 and {LAST_SEED}, got {seed}")
    draws = Draws(f"{family}:{seed}")
    sketch, _, _ = lattice(draws, Lattice())
    thin_out(draws, sketch, 0.2)
    contract(sketch)
    network, _, _ = build(f"{family}:{seed}", _dressed(draws, sketch))
    return rounded(network)


def _dressed(draws: Draws, sketch: Sketch) -> Plan:
    """Returns a plan with lanes and controls."""
    plan = Plan([Node(x, y) for x, y in sketch.points])
    for node in plan.nodes:
        node.kerb = draws.within((4.0, 9.0))
        node.control = draws.by_share({"signals": 0.5, "yield": 0.3, "right_first": 0.2})
        node.crosswalks = node.control == "signals"
    for number in sketch.alive():
        edge = sketch.edge(number)
        path = sketch.path(number)
        line = line_through(path, [30.0] * (len(path) - 2), 0.5)
        width = draws.within((2.75, 3.75))
        count = 2 if edge.rank == 2 else 1
        side = (
            *(Part((width, width), key=f"lane {k}") for k in range(count)),
            Part((2.0, 2.0), "sidewalk", "walk"),
        )
        plan.streets.append(
            Street(edge.start, edge.end, line, (Section(side, side),), 13.9, edge.rank)
        )
    return plan
