"""Small SUMO networks, written by hand."""

from __future__ import annotations

from pathlib import Path

from selfdrive_env.maps.road_network import Lane, RoadNetwork
from selfdrive_env.maps.sumo.reader import read_sumo

HALF = 10.0
"""From the middle of a crossing to the ends of its roads [m]."""

ARMS = {"e": (1, 0), "n": (0, 1), "w": (-1, 0), "s": (0, -1)}


def attributes(**values: object) -> str:
    return "".join(f' {name.rstrip("_")}="{value}"' for name, value in values.items())


def lane(name: str, index: int, shape: str, **more: object) -> str:
    values = {"speed": 13.89, "length": 100, **more}
    return f'<lane id="{name}" index="{index}" shape="{shape}"{attributes(**values)}/>'


def edge(name: str, *lanes: str, **more: object) -> str:
    return f'<edge id="{name}"{attributes(**more)}>{"".join(lanes)}</edge>'


def road(
    name: str,
    ends: str,
    *shapes: str,
    each: dict[int, dict[str, object]] | None = None,
    **more: object,
) -> str:
    """An edge with a lane a shape; `each` has what single lanes have besides."""
    start, end = ends.split()
    lanes = [
        lane(f"{name}_{k}", k, shape, **{**more, **(each or {}).get(k, {})})
        for k, shape in enumerate(shapes)
    ]
    return edge(name, *lanes, from_=start, to=end)


def link(source: str, target: str, lanes: str = "0 0", **more: object) -> str:
    first, second = lanes.split()
    values = {"from_": source, "to": target, "fromLane": first, "toLane": second, "dir": "s"}
    return f"<connection{attributes(**{**values, 'state': 'M', **more})}/>"


def junction(name: str, kind: str, incoming: str = "", internal: str = "", inner: str = "") -> str:
    values = {"id": name, "type": kind, "x": 0, "y": 0, "incLanes": incoming, "intLanes": internal}
    return f"<junction{attributes(**values)}>{inner}</junction>"


def request(index: int, response: str, foes: str = "") -> str:
    return f'<request index="{index}" response="{response}" foes="{foes or response}" cont="0"/>'


def net(*parts: str, location: str = "0.00,0.00", **root: object) -> str:
    values = {"version": "1.20", **root}
    return f'<net{attributes(**values)}><location netOffset="{location}"/>{"".join(parts)}</net>'


def crossing(
    kind: str = "priority",
    *,
    states: dict[str, str] | None = None,
    lights: bool = False,
    requests: str = "",
    head: str = "",
    tail: str = "",
    internal: bool = True,
    width: float = 3.2,
    **root: object,
) -> str:
    """Four two-way roads that meet; on each one may go straight on and to either side.

    Links are numbered along the arms e, n, w, s that traffic comes from, on each right, on, left.

    Args:
        kind: Type of the junction.
        states: Arm that traffic comes from -> `state` of its connections.
        lights: Whether the connections are links of the light J.
        requests: Children of the junction.
        head: Elements before the junction.
        tail: Elements at the end.
        internal: Whether there are internal lanes.
        width: Of the lanes [m].
        root: Attributes of the root.
    """
    side = -1.0 if root.get("lefthand") == "true" else 1.0
    order = list(ARMS)
    edges, inner, links, incoming = [], [], [], []
    for number, (arm, (x, y)) in enumerate(ARMS.items()):
        shift = (-y * side * width / 2, x * side * width / 2)
        far, near = (
            [(r * x + shift[0] * way, r * y + shift[1] * way) for way in (1, -1)]
            for r in (100.0, HALF)
        )
        text = [[f"{a:.2f},{b:.2f}" for a, b in points] for points in (far, near)]
        edges.append(road(f"{arm}_in", f"{arm} J", f"{text[0][0]} {text[1][0]}", width=width))
        edges.append(road(f"{arm}_out", f"J {arm}", f"{text[1][1]} {text[0][1]}", width=width))
        incoming.append(f"{arm}_in_0")
        for turn, where in enumerate(("r", "s", "l")):
            target = order[(number + (1, 2, 3)[turn] * (1 if side > 0 else -1)) % 4]
            if side < 0:
                where = {"r": "l", "l": "r"}.get(where, where)
            u, v = ARMS[target]
            end = (HALF * u + v * side * width / 2, HALF * v - u * side * width / 2)
            via = f":J_{3 * number + turn}"
            shape = f"{text[1][0]} {end[0]:.2f},{end[1]:.2f}"
            inner.append(edge(via, lane(f"{via}_0", 0, shape, width=width), function="internal"))
            more: dict[str, object] = {"dir": where, "state": (states or {}).get(arm, "M")}
            if internal:
                more["via"] = f"{via}_0"
                links.append(link(via, f"{target}_out"))
            if lights:
                more |= {"tl": "J", "linkIndex": 3 * number + turn}
            links.append(link(f"{arm}_in", f"{target}_out", **more))
    names = " ".join(f":J_{k}_0" for k in range(12)) if internal else ""
    return net(
        *(inner if internal else []), *edges, head,
        junction("J", kind, " ".join(incoming), names, requests),
        *[junction(arm, "dead_end") for arm in ARMS], *links, tail, **root,
    )  # fmt: skip


def read(folder: Path, text: str, name: str = "small.net.xml") -> RoadNetwork:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_sumo(path)


def by_name(network: RoadNetwork) -> dict[str, Lane]:
    return {one.name: one for one in network.lanes}


def follows(network: RoadNetwork, name: str) -> list[str]:
    return [network.lanes[i].name for i in by_name(network)[name].successors]
