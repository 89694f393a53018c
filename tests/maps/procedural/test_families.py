"""What maps by seed are made of: counted over many seeds of each family."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import shapely

from selfdrive_env.maps.inspection import describe
from selfdrive_env.maps.procedural import generate
from selfdrive_env.maps.procedural.families import MIXTURE, URBAN, drawn, family_of
from selfdrive_env.maps.procedural.layout.reach import tightest_radius
from selfdrive_env.maps.procedural.roads.plan import Plan
from selfdrive_env.maps.road_network import RoadNetwork
from tests.maps.procedural.census import arms_of, count_network, count_plan, gaps_of

SEEDS, MANY_SEEDS = 12, 50
"""Maps of a family; --full takes the many."""

LOOKED_AT = 8
"""Seeds of which every lane is looked at; with --full all."""

SHARES: dict[str, dict[str, float]] = {
    "grid": {
        **{"T": 0.9, "X": 0.9, "signals": 0.9, "stop": 0.8, "yield": 0.8, "priority": 0.7},
        **{"all_way_stop": 0.6, "right_first": 0.7, "one-way": 0.9, "loop": 0.5, "five arms": 0.1},
        **{"turn lane": 0.8, "crosswalk": 0.9, "parking": 0.9, "biking": 0.4, "lane ends": 0.3},
        **{"no centre line": 0.6, "group of several approaches": 0.9, "clothoid": 0.9},
        **{"sidewalk": 0.9, "lane opens": 0.3, "limit 60": 0.8, "lane above 3.6 m": 0.2},
    },
    "city": {
        **{"T": 0.9, "X": 0.9, "Y": 0.3, "five arms": 0.1, "staggered": 0.15, "odd angles": 0.8},
        **{"signals": 0.9, "roundabout": 0.5, "roundabout of 1": 0.2, "roundabout of 2": 0.3},
        **{"mini_roundabout": 0.15, "one-way": 0.7, "median": 0.05, "turn lane": 0.8},
        **{"lane ends": 0.4, "lane opens": 0.4, "two levels": 0.05, "parking": 0.8, "stop": 0.6},
        **{"sidewalk": 0.9, "biking": 0.3, "no centre line": 0.6, "kerb below 4.5 m": 0.2},
        **{"lane below 2.9 m": 0.3, "lane above 3.6 m": 0.15, "loop": 0.6, "limit 50": 0.9},
    },
    "village": {
        **{"T": 0.9, "Y": 0.3, "right_first": 0.8, "no centre line": 0.6, "loop": 0.6},
        **{"mini_roundabout": 0.2, "kerb below 4.5 m": 0.6, "priority": 0.4, "crosswalk": 0.6},
        **{"limit 30": 0.9, "staggered": 0.1, "sidewalk": 0.9, "lane below 2.9 m": 0.7},
    },
    "roundabouts": {
        **{"roundabout of 1": 0.6, "roundabout of 2": 0.5, "mini_roundabout": 0.4},
        **{"yield_sign": 0.9, "turn lane": 0.2, "odd angles": 0.6},
    },
    "hills": {
        **{"slope above 3 %": 0.9, "crest or dip": 0.9, "two levels": 0.5, "clothoid": 0.9},
        **{"limit 70": 0.1, "limit 100": 0.15, "stop": 0.7, "signals": 0.5, "loop": 0.5},
    },
    "boulevards": {
        **{"median": 0.55, "end aside": 0.9, "turn lane": 0.8, "T": 0.9, "X": 0.7, "loop": 0.5},
        **{"signals": 0.8, "lane ends": 0.2, "odd angles": 0.3, "crosswalk": 0.8},
    },
}
"""Share of many maps of a family on which something occurs, at least."""


class Drawn(NamedTuple):
    plan: Plan
    network: RoadNetwork


@pytest.fixture(scope="module", params=list(URBAN))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[SEEDS, pytest.param(MANY_SEEDS, marks=pytest.mark.full)])
def maps(family: str, request: pytest.FixtureRequest) -> list[Drawn]:
    return [Drawn(*drawn(URBAN[family], f"{family}:{seed}")) for seed in range(request.param)]


@pytest.fixture(scope="module")
def looked_at(maps: list[Drawn]) -> list[Drawn]:
    return maps if len(maps) == MANY_SEEDS else maps[:LOOKED_AT]


def test_everything_occurs_in_its_share(family: str, maps: list[Drawn]) -> None:
    seen: Counter[str] = Counter()
    for plan, network in maps:
        counts = count_plan(plan) + count_network(network)
        seen.update(kind for kind, count in counts.items() if count > 0)
    assert "other" not in seen
    spread = 0.0 if len(maps) == MANY_SEEDS else 2.0
    for kind, share in SHARES[family].items():
        least = share - spread * math.sqrt(share * (1.0 - share) / len(maps))
        assert seen[kind] >= least * len(maps), (kind, seen[kind], len(maps))


def test_lanes_are_linked(maps: list[Drawn]) -> None:
    for _, network in maps:
        found = describe(network)
        assert found["connectivity"] == 1.0, network.name
        assert found["share_reached"] == 1.0, network.name
        assert found["open_ends"] == found["problems"] == [], network.name
        for lane in network.lanes:
            if lane.drivable and not lane.successors:
                assert lane.width[-1] < 1e-3 and lane.left_neighbour >= 0, lane.name


def test_junctions_are_apart_and_not_at_grazing_angles(maps: list[Drawn]) -> None:
    for plan, network in maps:
        for headings in arms_of(plan).values():
            assert len(headings) < 2 or min(gaps_of(headings)) > math.radians(39.0), network.name
        met = {k for s in plan.streets for k in (s.start, s.end)}
        places = np.array([(n.x, n.y) for k, n in enumerate(plan.nodes) if k in met])
        gaps = np.hypot(*(places[:, None] - places[None]).T) + 1e3 * np.eye(len(places))
        assert gaps.min() > 25.0, network.name
        lit = [n for k, n in enumerate(plan.nodes) if k in met and n.control == "signals"]
        lights = np.array([(n.x, n.y) for n in lit])
        if len(lights) > 1:
            gaps = np.hypot(*(lights[:, None] - lights[None]).T) + 1e3 * np.eye(len(lights))
            assert gaps.min() > 70.0, network.name


def test_widths_and_radii_lie_within_their_ranges(looked_at: list[Drawn]) -> None:
    for plan, network in looked_at:
        for street in plan.streets:
            for section in street.sections:
                for part in (*section.forward, *section.backward):
                    if part.kind == "driving" and part.width[0] == part.width[1]:
                        assert 2.75 <= part.width[0] <= 3.75, network.name
        assert min(node.kerb for node in plan.nodes) >= 3.5, network.name
        for lane in network.lanes:
            if lane.drivable:
                assert tightest_radius(lane) > 4.0, (network.name, lane.name)
                grades = np.abs(np.diff(lane.centre[:, 2])) / np.hypot(
                    *np.diff(lane.centre[:, :2], axis=0).T
                )
                assert grades.max() < 0.14, (network.name, lane.name)


def test_lanes_do_not_overlap_outside_junctions(looked_at: list[Drawn]) -> None:
    for _, network in looked_at:
        lanes = [lane for lane in network.lanes if lane.drivable and lane.junction < 0]
        areas = shapely.polygons(
            [shapely.linearrings(np.concatenate([n.left, n.right[::-1]])[:, :2]) for n in lanes]
        )
        areas = shapely.make_valid(areas)
        for a, b in shapely.STRtree(areas).query(areas, predicate="intersects").T:
            if a < b and shapely.area(shapely.intersection(areas[a], areas[b])) > 0.05:
                place = shapely.centroid(shapely.intersection(areas[a], areas[b]))
                heights = [
                    n.centre[np.argmin(np.hypot(*(n.centre[:, :2] - (place.x, place.y)).T)), 2]
                    for n in (lanes[a], lanes[b])
                ]
                apart = abs(heights[0] - heights[1])
                assert apart > 5.0, (network.name, lanes[a].name, lanes[b].name)


def test_edges_have_no_steps(looked_at: list[Drawn]) -> None:
    for _, network in looked_at:
        for lane in network.lanes:
            for other in (network.lanes[k] for k in lane.successors if lane.drivable):
                gap = max(
                    np.abs(lane.left[-1] - other.left[0]).max(),
                    np.abs(lane.right[-1] - other.right[0]).max(),
                )
                assert gap < 1e-3, (network.name, lane.name, other.name)


def test_lights_of_one_group_do_not_conflict(looked_at: list[Drawn]) -> None:
    for _, network in looked_at:
        lanes = network.lanes
        for group in network.signal_groups:
            ways = [
                (signal, way)
                for signal in group.signals
                for lane in network.signals[signal].lanes
                for way in lanes[lane].successors
            ]
            for signal, way in ways:
                for other, beside in ways:
                    if signal < other:
                        ends = set(lanes[way].successors) & set(lanes[beside].successors)
                        assert not ends, (network.name, group.name)


def test_a_town_is_of_the_other_families() -> None:
    found = Counter(
        "motorway" if made is None else next(k for k, v in URBAN.items() if v.cells == made.cells)
        for made in (family_of("town", seed) for seed in range(400))
    )
    for name, share in MIXTURE.items():
        assert abs(found[name] / 400 - share) < 0.08, name


def test_a_map_is_named_after_its_seed() -> None:
    network = generate("village", 2**31 - 1)
    assert network.name == network.source == "village:2147483647"
    assert not network.left_hand and network.origin == (0.0, 0.0, 0.0)


def test_a_draft_that_loses_its_last_street_is_drawn_again() -> None:
    network = generate("village", 102)
    assert sum(lane.drivable for lane in network.lanes) > 20
    assert describe(network)["share_reached"] == 1.0
