from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import shapely

from selfdrive_env.maps import RoadNetwork, load
from selfdrive_env.maps.inspection import connectivity, open_ends, share_reached
from selfdrive_env.maps.procedural.layout.reach import tightest_radius
from selfdrive_env.maps.procedural.motorways.alignment import Corner, line_along, zones
from selfdrive_env.maps.procedural.motorways.distribution import MotorwayFamily
from selfdrive_env.maps.procedural.motorways.family import LAYOUTS, motorway
from selfdrive_env.maps.road_network import Lane, MapError
from selfdrive_env.maps.towns.centre_lines import evaluate, pose_at

SEEDS, MANY_SEEDS = 14, 50
"""Maps that are counted; --full takes the many."""

FAMILY = MotorwayFamily()
DECK = 3.0
"""Lanes that overlap in plan are on two levels from this difference of height on [m]."""


@dataclass
class Map:
    network: RoadNetwork
    outlines: np.ndarray


SHORT = [(layout, 0) for layout in LAYOUTS]
LONG = [
    *(pytest.param((layout, 1), marks=pytest.mark.full) for layout in LAYOUTS),
    *(pytest.param(("", k), id=f"drawn-{k}", marks=pytest.mark.full) for k in range(MANY_SEEDS)),
]
"""Second ones, and layouts as they are drawn: with --full every lane of all is looked at."""


@pytest.fixture(scope="module", params=[*SHORT, *LONG])
def built(request: pytest.FixtureRequest) -> Map:
    layout, number = request.param
    network = motorway(f"motorway:{number}", layout=layout)
    outlines = [
        shapely.make_valid(
            shapely.polygons(np.concatenate([lane.left[:, :2], lane.right[::-1, :2]]))
        )
        for lane in network.lanes
    ]
    return Map(network, np.array(outlines))


@pytest.fixture(scope="module", params=[SEEDS, pytest.param(MANY_SEEDS, marks=pytest.mark.full)])
def networks(request: pytest.FixtureRequest) -> list[RoadNetwork]:
    return [load(f"motorway:{seed}") for seed in range(request.param)]


def drivable(network: RoadNetwork) -> list[Lane]:
    return [lane for lane in network.lanes if lane.drivable]


def plain(lane: Lane) -> bool:
    """Neither opens nor ends."""
    return bool(lane.drivable and np.ptp(lane.width) < 0.3)


def curvature(lane: Lane) -> np.ndarray:
    steps = np.diff(lane.centre[:, :2], axis=0)
    length = np.hypot(*steps.T)
    turn = np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    out: np.ndarray = np.abs(turn) / np.maximum(0.5 * (length[1:] + length[:-1]), 0.2)
    return out


def chain_length(network: RoadNetwork, lane: Lane) -> float:
    """Length of a lane and of what it follows on its road, at full width [m]."""
    way = 0.0
    while plain(lane):
        way += lane.length
        if len(lane.predecessors) != 1 or network.lanes[lane.predecessors[0]].road != lane.road:
            break
        lane = network.lanes[lane.predecessors[0]]
    return way


def abreast(network: RoadNetwork, index: int) -> list[int]:
    """Lanes beside each other, the given one the leftmost."""
    row = [index]
    while (beside := network.lanes[row[-1]].right_neighbour) >= 0:
        row.append(beside)
    return row


def rows(network: RoadNetwork) -> list[list[int]]:
    return [
        abreast(network, k)
        for k, lane in enumerate(network.lanes)
        if lane.drivable and lane.left_neighbour < 0 and lane.junction < 0
    ]


def crossings(built: Map) -> list[tuple[int, int, float]]:
    """Pairs of lanes that overlap by more than a few dm2, and by how much they differ in height."""
    lanes, outlines = built.network.lanes, built.outlines
    first, second = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    kept = first < second
    first, second = first[kept], second[kept]
    shared = shapely.intersection(outlines[first], outlines[second])
    out = []
    for a, b, area in zip(first, second, shared, strict=True):
        if area.area < 0.05:
            continue
        middle = np.array(area.centroid.coords[0])
        heights = []
        for lane in (lanes[a], lanes[b]):
            nearest = np.argmin(np.hypot(*(lane.centre[:, :2] - middle).T))
            heights.append(float(lane.centre[nearest, 2]))
        out.append((int(a), int(b), abs(heights[0] - heights[1])))
    return out


def test_strongly_connected(built: Map) -> None:
    assert share_reached(built.network) == 1.0
    assert connectivity(built.network) == 1.0
    assert open_ends(built.network) == []
    assert built.network.problems == []


def test_nothing_overlaps_on_one_level_and_bridges_are_clear(built: Map) -> None:
    lanes = built.network.lanes
    levels = 0
    for a, b, rise in crossings(built):
        if lanes[a].junction >= 0 and lanes[a].junction == lanes[b].junction:
            continue
        assert rise > DECK, f"{lanes[a].name} and {lanes[b].name} overlap"
        assert rise >= 5.5, f"{lanes[a].name} and {lanes[b].name} are {rise:.2f} m apart"
        levels += 1
    assert levels > 0, "there is no bridge"


def test_lanes_follow_each_other_without_steps(built: Map) -> None:
    lanes = built.network.lanes
    for lane in drivable(built.network):
        for after in (lanes[k] for k in lane.successors):
            for end, start in (
                (lane.left, after.left),
                (lane.centre, after.centre),
                (lane.right, after.right),
            ):
                assert np.abs(end[-1] - start[0]).max() < 0.01, f"{lane.name} {after.name}"


def test_lanes_open_and_end_smoothly_beside_others(built: Map) -> None:
    lanes = built.network.lanes
    for lane in drivable(built.network):
        if lane.junction >= 0 or (lane.successors and lane.predecessors):
            continue
        assert max(lane.left_neighbour, lane.right_neighbour) >= 0
        assert min(lane.width[0], lane.width[-1]) < 0.01
        slope = np.abs(np.diff(lane.width)) / np.maximum(np.diff(lane.arc_length), 0.1)
        # A flare before a junction is steeper than a lane of the motorway.
        assert slope.max() < (0.12 if lane.length > 50.0 else 0.3), lane.name
        if not lane.successors:
            (before,) = (lanes[k] for k in lane.predecessors)
            beside = max(before.left_neighbour, before.right_neighbour)
            assert lanes[beside].successors
            assert chain_length(built.network, before) > 100.0, "no time to change lanes"


def test_limits_fit_the_bends(built: Map) -> None:
    for lane in drivable(built.network):
        assert 8.0 / 3.6 < lane.speed_limit <= 130.0 / 3.6 + 1e-6
        if lane.junction >= 0 or not plain(lane) or len(lane.centre) < 4:
            continue
        ring = curvature(lane).max() > 1.0 / 30.0
        lateral = lane.speed_limit**2 * curvature(lane).max()
        assert lateral < (4.2 if ring else 3.4), f"{lane.name}: {lateral:.2f} m/s2"


def test_limits_step_down(built: Map) -> None:
    lanes = built.network.lanes
    for lane in drivable(built.network):
        for after in (lanes[k] for k in lane.successors):
            if lane.junction < 0 and after.junction < 0:
                assert lane.speed_limit - after.speed_limit < 51.0 / 3.6, lane.name


def test_widths(built: Map) -> None:
    for lane in drivable(built.network):
        if lane.junction < 0 and plain(lane):
            assert 2.75 <= lane.width.min() <= lane.width.max() <= 4.9, lane.name


def test_nothing_turns_too_tightly(built: Map) -> None:
    for lane in drivable(built.network):
        assert tightest_radius(lane) > 4.0, lane.name


def test_grades(built: Map) -> None:
    for lane in drivable(built.network):
        step = np.diff(lane.centre, axis=0)
        grade = np.abs(step[:, 2]) / np.hypot(step[:, 0], step[:, 1])
        assert grade.max() < 0.075, lane.name


def test_shares_of_layouts() -> None:
    from selfdrive_env.maps.procedural.draws import Draws

    count = 2000
    found = Counter(Draws(f"motorway:{k}").by_share(FAMILY.layouts) for k in range(count))
    total = sum(FAMILY.layouts.values())
    for layout, share in FAMILY.layouts.items():
        assert found[layout] / count == pytest.approx(share / total, abs=0.03), layout
    assert set(FAMILY.layouts) == set(LAYOUTS)


def test_features_occur(networks: list[RoadNetwork]) -> None:
    found: Counter[str] = Counter()
    for network in networks:
        lanes = network.lanes
        kinds = {lane.type for lane in lanes}
        widest = max(len(row) for row in rows(network))
        through = [lane for lane in drivable(network) if lane.junction < 0 and lane.length > 40.0]
        ended = [k for k in through if k.type == "driving" and not k.successors]
        begun = [k for k in through if k.type == "driving" and not k.predecessors]
        found.update(
            {
                "entry": "entry" in kinds,
                "exit": "exit" in kinds,
                "shoulder": "shoulder" in kinds,
                "lane ends": bool(ended),
                "lane ends on the left": any(k.right_neighbour >= 0 for k in ended),
                "lane opens": bool(begun),
                "three abreast": widest >= 3,
                "four abreast": widest >= 4,
                "lights": any(signal.kind == "traffic_light" for signal in network.signals),
                "yield": any(signal.kind == "yield_sign" for signal in network.signals),
                "130": any(abs(lane.speed_limit - 130.0 / 3.6) < 0.1 for lane in lanes),
                "loop": any(
                    lane.length > 60.0 and 1.0 / 62.0 < np.median(curvature(lane)) < 1.0 / 35.0
                    for lane in through
                ),
            }
        )
    for feature, least in {
        "entry": 0.6,
        "exit": 0.6,
        "shoulder": 1.0,
        "lane ends": 0.3,
        "lane ends on the left": 0.1,
        "lane opens": 0.3,
        "three abreast": 0.9,
        "four abreast": 0.15,
        "lights": 0.25,
        "yield": 0.4,
        "130": 0.1,
        "loop": 0.6,
    }.items():
        assert found[feature] >= least * len(networks), (feature, found[feature], len(networks))


def test_sizes(networks: list[RoadNetwork]) -> None:
    sizes = np.array([network.driving_lane_km for network in networks])
    assert sizes.min() > 6.0
    assert sizes.max() < 23.0
    assert np.median(sizes) < 15.0


def test_lanes_beside_ramps_are_long_enough(networks: list[RoadNetwork]) -> None:
    low, high = FAMILY.aside
    lengths = []
    for network in networks:
        for lane in network.lanes:
            following = [network.lanes[k] for k in lane.successors]
            last = not any(plain(k) and k.type == lane.type for k in following)
            if lane.type in ("entry", "exit") and plain(lane) and last:
                lengths.append(chain_length(network, lane))
    assert low - 1.0 < min(lengths)
    assert max(lengths) < high + 1.0


def test_the_same_name_gives_the_same_map() -> None:
    first, again = (motorway("motorway:7") for _ in range(2))
    assert first.digest() == again.digest() == load("motorway:7").digest()
    assert first.digest() != load("motorway:8").digest()
    assert first.name == first.source == "motorway:7"
    for lane in first.lanes:
        assert (lane.centre * 2.0**20 == np.round(lane.centre * 2.0**20)).all()


def test_loop_corner() -> None:
    loop = Corner(0.0, 0.0, 40.0, 20.0, True, math.pi)
    line = line_along([Corner(0.0, -100.0), loop, Corner(20.0, 0.0)])
    end = pose_at(line, line.length)
    assert (end.x, end.y) == pytest.approx((20.0, 0.0), abs=1e-9)
    assert math.cos(end.heading) == pytest.approx(-1.0)
    x, _, heading = evaluate(line, np.array([0.0, line.length]))
    assert x == pytest.approx([0.0, 20.0], abs=1e-9)
    assert heading[1] - heading[0] == pytest.approx(-1.5 * math.pi)


def test_overlapping_bends_are_refused() -> None:
    corners = [Corner(0.0, 0.0), Corner(10.0, 0.0, 50.0), Corner(10.0, 20.0)]
    with pytest.raises(MapError, match="overlap"):
        line_along(corners)


def test_zones_hold_every_cap_and_are_long() -> None:
    caps = [(100.0, 130.0, 10.0), (160.0, 200.0, 14.0), (500.0, 1000.0, 20.0)]
    found = zones(1000.0, caps, 30.0)
    starts = np.array([s for s, _ in found])
    for s in np.arange(0.5, 1000.0):
        limit = found[int(np.searchsorted(starts, s, "right")) - 1][1]
        assert limit <= min((v for a, b, v in caps if a <= s <= b), default=30.0)
    assert found[0] == (0.0, 30.0)
    assert found[-1] == (500.0, 20.0)
    assert (160.0, 14.0) not in found or starts.size > 3
