"""Small CommonRoad files, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from selfdrive_env.maps.commonroad.reader import read_commonroad
from selfdrive_env.maps.road_network import RoadNetwork

Line = Iterable[tuple[float, ...]]


def point(at: tuple[float, ...]) -> str:
    return (
        "<point>" + "".join(f"<{a}>{v}</{a}>" for a, v in zip("xyz", at, strict=False)) + "</point>"
    )


def bound(tag: str, line: Line) -> str:
    return f"<{tag}>{''.join(map(point, line))}<lineMarking>solid</lineMarking></{tag}>"


def refs(tag: str, names: str) -> str:
    return "".join(f'<{tag} ref="{name}"/>' for name in names.split())


def values(tag: str, names: str) -> str:
    return "".join(f"<{tag}>{name}</{tag}>" for name in names.split())


def lanelet(
    name: str,
    left: Line,
    right: Line,
    after: str = "",
    before: str = "",
    kinds: str = "urban",
    inner: str = "",
) -> str:
    """A lanelet; `after` are the lanelets that it follows, `before` those that follow it."""
    return (
        f'<lanelet id="{name}">{bound("leftBound", left)}{bound("rightBound", right)}'
        f"{refs('predecessor', after)}{refs('successor', before)}{inner}"
        f"{values('laneletType', kinds)}</lanelet>"
    )


def street(name: str, x0: float, x1: float, y: float = 0.0, **fields: str) -> str:
    """A lanelet 4 m wide along the x axis, with its right bound at `y`, against it for x1 < x0."""
    side = 4.0 if x1 > x0 else -4.0
    return lanelet(name, [(x0, y + side), (x1, y + side)], [(x0, y), (x1, y)], **fields)


def beside(side: str, name: str, direction: str = "same") -> str:
    return f'<adjacent{side} ref="{name}" drivingDir="{direction}"/>'


def sign(name: str, kind: str, *shown: str, at: tuple[float, float] | None = None) -> str:
    position = "" if at is None else f"<position>{point(at)}</position>"
    more = "".join(f"<additionalValue>{value}</additionalValue>" for value in shown)
    return (
        f'<trafficSign id="{name}"><trafficSignElement><trafficSignID>{kind}</trafficSignID>{more}'
        f"</trafficSignElement>{position}<virtual>false</virtual></trafficSign>"
    )


def light(name: str, *phases: tuple[int, str], offset: int = 0, inner: str = "") -> str:
    parts = "".join(
        f"<cycleElement><duration>{steps}</duration><color>{colour}</color></cycleElement>"
        for steps, colour in phases
    )
    return (
        f'<trafficLight id="{name}"><cycle>{parts}<timeOffset>{offset}</timeOffset></cycle>'
        f"{inner}</trafficLight>"
    )


def arm(lanelets: str, right: str = "", straight: str = "", left: str = "") -> str:
    return (
        f'<incoming id="9{lanelets.split()[0]}">{refs("incomingLanelet", lanelets)}'
        f"{refs('successorsRight', right)}{refs('successorsStraight', straight)}"
        f"{refs('successorsLeft', left)}</incoming>"
    )


def document(
    *parts: str, version: str = "2020a", place: str = "DEU_Test-1", step: str = "0.1"
) -> str:
    return (
        f'<commonRoad commonRoadVersion="{version}" benchmarkID="{place}" timeStepSize="{step}">'
        f"{''.join(parts)}</commonRoad>"
    )


def read(
    folder: Path, *parts: str, version: str = "2020a", place: str = "DEU_Test-1"
) -> RoadNetwork:
    path = folder / "map.xml"
    path.write_text(document(*parts, version=version, place=place))
    return read_commonroad(path)


def named(network: RoadNetwork, name: str) -> int:
    return next(i for i, lane in enumerate(network.lanes) if lane.name == name)


def crossing(
    west: str = "", south: str = "", extra: str = "", intersection: bool = True
) -> tuple[str, ...]:
    """Two one-way streets that cross at the origin: 1 -> 2 -> 3 eastward, 4 -> 5 -> 6 northward.

    Args:
        west: Within lanelet 1.
        south: Within lanelet 4.
        extra: Beside the lanelets.
        intersection: Whether the file names it.
    """

    def north(name: str, y0: float, y1: float, **fields: str) -> str:
        return lanelet(name, [(-2.0, y0), (-2.0, y1)], [(2.0, y0), (2.0, y1)], **fields)

    return (
        street("1", -60.0, -6.0, -2.0, before="2", inner=west),
        street("2", -6.0, 6.0, -2.0, after="1", before="3"),
        street("3", 6.0, 60.0, -2.0, after="2"),
        north("4", -60.0, -6.0, before="5", inner=south),
        north("5", -6.0, 6.0, after="4", before="6"),
        north("6", 6.0, 60.0, after="5"),
        f'<intersection id="8">{arm("1", straight="2")}{arm("4", straight="5")}</intersection>'
        if intersection
        else "",
        extra,
    )


def documents() -> tuple[str, ...]:
    """Files that have all that is read, to be changed at random."""
    both = "".join(f"<{tag}>car</{tag}>" for tag in ("userOneWay", "userBidirectional"))
    line = f"<stopLine>{point((-9, -2))}{point((-9, 2))}<lineMarking>solid</lineMarking></stopLine>"
    lights = light("21", (60, "red"), (10, "redYellow"), (50, "green"), (30, "yellow"), offset=20)
    lights += light("22", (60, "green"), (30, "inactive"), inner="<active>true</active>")
    signs = sign("31", "205") + sign("32", "274", "13.9", at=(5.0, 5.0)) + sign("33", "206")
    held = refs("trafficLightRef", "21") + refs("trafficSignRef", "31 32") + line
    walk = lanelet("7", [(-9, -5), (-9, 5)], [(-7, -5), (-7, 5)], kinds="crosswalk")
    high = lanelet("8", [(0, 34, 1), (9, 34, 2)], [(0, 30, 1), (5, 30, 1), (9, 30, 2)])
    streets = (
        street("1", 0.0, 50.0, before="2", inner=beside("Left", "3", "opposite")),
        street("2", 50.0, 99.0, after="1", inner=both),
        street("3", 50.0, 0.0, 8.0, inner=beside("Left", "1", "opposite") + line),
    )
    limit = "<speedLimit>13.9</speedLimit>"
    old = street("1", 0.0, 50.0, before="2", inner=limit) + street("2", 50.0, 99.0)
    return (
        document(*crossing(held, refs("trafficLightRef", "22"), lights + signs + walk)),
        document(*crossing(refs("trafficSignRef", "33"), extra=signs, intersection=False)),
        document(*streets, high, walk),
        document(old, version="2018b", place="USA_Old-1"),
    )
