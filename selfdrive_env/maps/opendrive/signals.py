"""Places traffic lights and signs: which lanes they are for, and which lights are green together.

CARLA's maps put a light beyond the junction and refer to it from the connecting roads; other tools
put it beside the approach. Both end up as a set of approach lanes with a line at their end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.network.finish import Problems
from selfdrive_env.maps.opendrive.crosswalks import road_points
from selfdrive_env.maps.opendrive.lanes import SampledSection
from selfdrive_env.maps.opendrive.parse.records import Contents, Road, SignalRecord
from selfdrive_env.maps.opendrive.parse.sections import usable
from selfdrive_env.maps.opendrive.parse.user_data import WAITS_ON, WHOLE
from selfdrive_env.maps.opendrive.precedence import set_precedence
from selfdrive_env.maps.opendrive.stop_lines import Approach, LanePlaces, place_stop_lines
from selfdrive_env.maps.road_network import RoadNetwork, Signal, SignalGroup
from selfdrive_env.maps.xml import Element

__all__ = ["place_signals"]

Floats = NDArray[np.float64]

MAX_APPROACH = 40.0
"""A light or sign this far before a junction belongs to the junction [m]."""

SAME_AXIS = np.radians(30.0)
"""Approaches within this angle of each other, or of opposite, may be green together [rad]."""

RANKS = {"yield_sign": -1, "priority_sign": 1}
"""Precedence of the lanes beyond a sign."""

DRAWN = ("", "stop_line")
"""Kinds of signals that are nothing at the roadside."""

GroupKey = tuple[str, int, str]
"""Controller ("" for none), junction, and road where there is no junction."""


@dataclass(slots=True)
class _Placed:
    """A signal with the approaches it controls."""

    index: int
    record: SignalRecord
    approaches: list[Approach] = field(default_factory=list)


def place_signals(
    contents: Contents,
    sampled: dict[str, list[SampledSection]],
    network: RoadNetwork,
    problems: Problems,
) -> set[int]:
    """Fills in signals, signal groups and stop lines of the network.

    Args:
        contents: The records of the file.
        sampled: The lane sections of each road.
        network: Has its lanes linked; receives signals, groups and stop lines.
        problems: Receives lights that control nothing and controllers that had to be split.

    Returns:
        Indices of the stop lines whose guards are complete.
    """
    places = LanePlaces(contents, sampled, network.lanes)
    sites: dict[str, list[tuple[Road, SignalRecord]]] = defaultdict(list)
    for road in contents.roads.values():
        for record in road.signals:
            sites[record.id].append((road, record))
    placed = _place(contents, sites, network, places, problems)
    _find_unnamed_lanes(placed, sites, network, places)
    _check_sites(sites, problems)
    lights = [p for p in placed if network.signals[p.index].kind == "traffic_light"]
    for light in lights:
        if not light.approaches and light.record.for_cars:
            problems.drop("{} traffic lights control no driving lane", f"signal {light.record.id}")
    owners = _assign_groups(contents, lights, network, places, problems)
    signs = _stops(placed, network, owners)
    lit, stopped = ({approach.lane for approach in own} for own in (owners, signs))
    whole = place_stop_lines(owners, "signal", contents, network, places, stopped)
    stops = {a: (i, i) for a, i in signs.items()}
    whole |= place_stop_lines(stops, "stop_sign", contents, network, places, lit)
    signs_of_way = [
        (RANKS[kind], network.signals[sign.index].lanes, sign.approaches)
        for sign in placed
        if (kind := network.signals[sign.index].kind) in RANKS
    ]
    set_precedence(signs_of_way, contents, network, places, lit, problems)
    return whole


def _place(
    contents: Contents,
    sites: dict[str, list[tuple[Road, SignalRecord]]],
    network: RoadNetwork,
    places: LanePlaces,
    problems: Problems,
) -> list[_Placed]:
    """Appends the signals of all roads to the network and returns them with their lanes."""
    placed: list[_Placed] = []
    inside = {x.name: i for i, x in enumerate(network.lanes) if x.junction >= 0 and x.drivable}
    for road in contents.roads.values():
        for record in road.signals:
            if record.is_reference or record.kind in DRAWN:
                continue
            entry = _Placed(len(network.signals), record)
            signal = _signal(road, record)
            network.signals.append(signal)
            # A second signal with the same id keeps to its own site.
            others = [s for s in sites[record.id] if s[1].is_reference or s[1] is record]
            if record.for_cars:
                _find_lanes(entry, signal, others, places)
                _take_starts(entry, inside, network, problems)
            placed.append(entry)
    return placed


def _stops(
    placed: list[_Placed], network: RoadNetwork, lit: Container[Approach]
) -> dict[Approach, int]:
    """Returns the stop sign of each approach that has one and no light."""
    signs: dict[Approach, int] = {}
    for sign in placed:
        if network.signals[sign.index].kind == "stop_sign":
            for approach in sign.approaches:
                if approach not in lit:
                    signs.setdefault(approach, sign.index)
    return signs


def _signal(road: Road, record: SignalRecord) -> Signal:
    """Returns a signal at its place, with the heading that its orientation implies."""
    at = np.array([np.clip(record.s, 0.0, road.length)])
    position = road_points(road, at, np.array([record.t]), record.z_offset)[0]
    _, _, heading, _ = road.line.evaluate(at)
    angle = float(heading[0]) + (np.pi if record.orientation == "-" else 0.0)
    return Signal(record.id, record.kind, position, _wrapped(angle))


def _check_sites(sites: dict[str, list[tuple[Road, SignalRecord]]], problems: Problems) -> None:
    """Lists references to signals that do not exist and ids used twice."""
    for name, entries in sites.items():
        own = sum(not record.is_reference for _, record in entries)
        if own == 0:
            problems.drop(
                "{} signal references name a signal that does not exist", f"signal {name}"
            )
        elif own > 1:
            problems.add("{} signal ids are used more than once", f"signal {name}")


def _find_lanes(
    entry: _Placed,
    signal: Signal,
    sites: list[tuple[Road, SignalRecord]],
    places: LanePlaces,
) -> None:
    """Finds the lanes a signal is valid for and the approaches that have to heed it."""
    for road, record in sites:
        for lane in _valid_lanes(road, record, places):
            if lane not in signal.lanes:
                signal.lanes.append(lane)
            for approach in _approaches(road, record, lane, places):
                if approach not in entry.approaches:
                    entry.approaches.append(approach)
    _set_heading(entry, signal, places)


def _take_starts(
    entry: _Placed, inside: dict[str, int], network: RoadNetwork, problems: Problems
) -> None:
    """Has traffic wait for a light at the starts of lanes, where this package has named them."""

    def read(element: Element) -> list[int]:
        names = element.text("value").split()
        for name in names:
            if name not in inside:
                raise element.error(f"value has {name[:40]!r}, no driving lane through a junction")
        return [inside[name] for name in names]

    stated = [one for one in entry.record.user_data if one.text("code") == WAITS_ON]
    for lanes in usable(stated, read, problems):
        starts = [Approach(i, network.lanes[i].junction, at="start") for i in lanes]
        entry.approaches = list(dict.fromkeys(starts))


def _set_heading(entry: _Placed, signal: Signal, places: LanePlaces) -> None:
    """Turns a signal to those that have to heed it."""
    if entry.approaches:
        headings = [places.heading(approach) for approach in entry.approaches]
        signal.heading = float(np.arctan2(np.sin(headings).sum(), np.cos(headings).sum()))


def _find_unnamed_lanes(
    placed: list[_Placed],
    sites: dict[str, list[tuple[Road, SignalRecord]]],
    network: RoadNetwork,
    places: LanePlaces,
) -> None:
    """Finds lanes by the orientation alone where the validities of a signal name none at all.

    Old versions of netconvert count lanes from 0. CARLA writes 0 where a signal is for no lane at
    its pole, so a lane that has a line already is left to that.
    """
    lines = {"traffic_light", "stop_sign"}
    taken = {
        approach.lane
        for entry in placed
        if network.signals[entry.index].kind in lines
        for approach in entry.approaches
    }
    for entry in placed:
        signal, record = network.signals[entry.index], entry.record
        own = [(road, r) for road, r in sites[record.id] if r.is_reference or r is record]
        if signal.lanes or not record.for_cars or any(_names_lanes(places, *site) for site in own):
            continue
        for road, site in own:
            for lane in _valid_lanes(road, replace(site, validities=[]), places):
                found = [a for a in _approaches(road, site, lane, places) if a.lane not in taken]
                entry.approaches += [a for a in found if a not in entry.approaches]
                signal.lanes += [lane] if found and lane not in signal.lanes else []
        _set_heading(entry, signal, places)


def _names_lanes(places: LanePlaces, road: Road, record: SignalRecord) -> bool:
    """Returns whether a signal names a lane where it stands, or leaves all to its orientation."""
    found = places.section_at(road, record.s)
    if found is None or not record.validities:
        return found is not None
    return any(record.names(lane.id) for lane in found[0].lanes)


def _valid_lanes(road: Road, record: SignalRecord, places: LanePlaces) -> list[int]:
    """Returns the drivable lanes a signal or reference names where it stands."""
    found = places.section_at(road, record.s)
    if found is None:
        return []
    section, sampled = found
    choice = [
        (lane, places.forward[lane])
        for lane, place, _ in sampled.both_ways()
        if places.lanes[lane].drivable
        and (not record.validities or record.names(section.lanes[place].id))
    ]
    # CARLA's references carry the orientation of the pole, so it counts only where lane ids leave
    # the direction open, and not at all on a one-way connecting road.
    directions = {forward for _, forward in choice}
    one_way = record.is_reference and road.junction != "-1"
    undecided = len(directions) > 1 or not (record.validities or one_way)
    if record.orientation in ("+", "-") and undecided:
        wanted = record.orientation == "+"
        choice = [c for c in choice if c[1] == wanted]
    return [lane for lane, _ in choice]


def _approaches(road: Road, record: SignalRecord, lane: int, places: LanePlaces) -> list[Approach]:
    """Returns where traffic has to wait for a signal that is valid for a lane."""
    lanes = places.lanes
    junction = lanes[lane].junction
    if junction < 0:
        return [_approach_ahead(road, record, lane, places)]
    seen, border, entries = {lane}, [lane], []
    while border:
        here = border.pop()
        for before in lanes[here].predecessors:
            if lanes[before].junction != junction:
                entries.append(Approach(before, junction))
            elif before not in seen:
                seen.add(before)
                border.append(before)
    if entries:
        return list(dict.fromkeys(entries))
    return [Approach(lane, junction, at="start")]


def _approach_ahead(road: Road, record: SignalRecord, lane: int, places: LanePlaces) -> Approach:
    """Returns the lane end at the junction soon after a signal, else the signal's own station."""
    lanes = places.lanes
    here, left = lane, lanes[lane].length - places.distance_along(lane, record.s)
    while left <= MAX_APPROACH:
        ahead = lanes[here].successors
        junction = next((lanes[a].junction for a in ahead if lanes[a].junction >= 0), -1)
        if junction >= 0:
            return Approach(here, junction)
        if len(ahead) != 1 or lanes[ahead[0]].road != road.id:
            break
        here = ahead[0]
        left += lanes[here].length
    return Approach(lane, -1, at="station", station=record.s)


def _assign_groups(
    contents: Contents,
    lights: list[_Placed],
    network: RoadNetwork,
    places: LanePlaces,
    problems: Problems,
) -> dict[Approach, tuple[int, int]]:
    """Makes the signal groups; returns (group, light) of each approach, so that none has two."""
    controllers: dict[str, str] = {}
    for controller in contents.controllers.values():
        for name in controller.signals:
            controllers.setdefault(name, controller.id)
    homes = _homes(contents)
    votes: dict[Approach, dict[GroupKey, int]] = defaultdict(lambda: defaultdict(int))
    for light in lights:
        for approach in light.approaches:
            key = _group_key(controllers.get(light.record.id, ""), approach, places, homes)
            votes[approach][key] += 100 if key[0] else 1
    members: dict[GroupKey, list[Approach]] = defaultdict(list)
    for approach, counts in votes.items():
        members[max(counts, key=lambda key: counts[key])].append(approach)

    owners: dict[Approach, tuple[int, int]] = {}
    group_controllers: list[str] = []
    for key, approaches in members.items():
        clusters = _clusters(approaches, places, both_ways=bool(key[0]))
        if key[0] in homes:
            clusters = [approaches]
        if key[0] and len(clusters) > 1:
            problems.infer(
                "{} controllers hold crossing approaches and are split", f"controller {key[0]}"
            )
        for number, cluster in enumerate(clusters):
            group = len(network.signal_groups)
            suffix = f"/{number}" if len(clusters) > 1 else ""
            place = f"junction {network.junctions[key[1]].name}" if key[1] >= 0 else key[2]
            name = key[0] or place
            group_controllers.append(key[0])
            network.signal_groups.append(SignalGroup(f"{name}{suffix}", [], key[1]))
            owners.update({approach: (group, -1) for approach in cluster})
    _attach_lights(lights, controllers, owners, network, problems)
    _order_groups(contents, network, group_controllers)
    return owners


def _homes(contents: Contents) -> dict[str, int]:
    """Returns the junction that names each controller whose lights are one group, -1 for none."""
    junctions = {
        name: index
        for index, junction in enumerate(contents.junctions.values())
        for name in junction.controllers
    }
    return {
        controller.id: junctions.get(controller.id, -1)
        for controller in contents.controllers.values()
        if any(element.text("code") == WHOLE for element in controller.user_data)
    }


def _group_key(
    controller: str, approach: Approach, places: LanePlaces, homes: dict[str, int]
) -> GroupKey:
    """Returns what decides which lights may share a group."""
    if controller in homes:
        return controller, homes[controller], ""
    if approach.junction >= 0:
        return controller, approach.junction, ""
    return controller, -1, f"road {places.lanes[approach.lane].road}"


def _clusters(
    approaches: list[Approach], places: LanePlaces, *, both_ways: bool
) -> list[list[Approach]]:
    """Splits approaches by heading, opposite ones together where `both_ways`."""
    period = np.pi if both_ways else 2.0 * np.pi
    clusters: list[tuple[float, list[Approach]]] = []
    for approach in approaches:
        heading = places.heading(approach)
        for centre, cluster in clusters:
            apart = (heading - centre + 0.5 * period) % period - 0.5 * period
            if abs(apart) <= SAME_AXIS:
                cluster.append(approach)
                break
        else:
            clusters.append((heading, [approach]))
    return [cluster for _, cluster in clusters]


def _attach_lights(
    lights: list[_Placed],
    controllers: dict[str, str],
    owners: dict[Approach, tuple[int, int]],
    network: RoadNetwork,
    problems: Problems,
) -> None:
    """Gives each light the group of its first approach and each approach one of its lights."""
    for light in lights:
        groups = [owners[approach][0] for approach in light.approaches]
        if not groups:
            continue
        signal = network.signals[light.index]
        signal.group = groups[0]
        network.signal_groups[groups[0]].signals.append(light.index)
        if len(set(groups)) > 1:
            problems.add("{} lights stand for several signal groups", f"signal {light.record.id}")
        for approach, group in zip(light.approaches, groups, strict=True):
            if owners[approach][1] < 0:
                owners[approach] = (group, light.index)


def _order_groups(contents: Contents, network: RoadNetwork, group_controllers: list[str]) -> None:
    """Lists each group in its junction, in the order of the junction's controllers."""
    for index, group in enumerate(network.signal_groups):
        if group.junction >= 0:
            network.junctions[group.junction].signal_groups.append(index)
    for junction, record in zip(network.junctions, contents.junctions.values(), strict=True):
        order = {name: place for place, name in enumerate(record.controllers)}
        junction.signal_groups.sort(key=lambda g: order.get(group_controllers[g], len(order)))


def _wrapped(angle: float) -> float:
    """Returns an angle in [-pi, pi)."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi
