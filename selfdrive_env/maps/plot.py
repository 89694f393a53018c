"""A picture of a road network: lanes with arrows, boundaries, stop lines, signals, crosswalks."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.road_network import Lane, RoadNetwork

__all__ = ["plot"]

Floats = NDArray[np.float64]

MARGIN = 10.0
"""Around the map [m]."""

ARROW_SPACING = 40.0
"""One arrow for about this much of a lane [m]."""

DOTS_PER_INCH = 100

STOREY_HEIGHT = 4.0
"""Lanes are drawn in the order of their height, in steps of this [m]."""

GROUND, VERGE, ROAD = "#eef0ea", "#d5d8d0", "#a9adb3"
"""Background, lanes for others than cars, drivable lanes."""

BOUNDARY, CROSSING, STOP, ARROW = "#4a4d52", "#ffffff", "#c2185b", "#2f4f7f"

SIGNAL_MARKS = {
    "traffic_light": ("o", "#1a9641"),
    "stop_sign": ("8", "#d7191c"),
    "yield_sign": ("v", "#f0a000"),
    "speed_limit": ("s", "#2b6cb0"),
}


def plot(network: RoadNetwork, path: str | os.PathLike[str], *, size: int = 1600) -> None:
    """Writes a top-down picture of a map; higher lanes lie over lower ones.

    Args:
        network: The map.
        path: Where to write the PNG.
        size: Longer side [pixel].
    """
    if not 100 <= size <= 20_000:
        raise ValueError(f"size is {size}, allowed are 100 to 20000 pixels")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        message = 'plotting needs matplotlib: pip install "selfdrive_env[render]"'
        raise ImportError(message) from error

    low, high = _bounds(network)
    extent = high - low
    inches = extent / extent.max() * size / DOTS_PER_INCH
    figure = Figure(figsize=(inches[0], inches[1]), dpi=DOTS_PER_INCH, facecolor=GROUND)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    _draw_lanes(axes, network, line_width=_line_width(0.2, extent, size))
    _draw_signs(axes, network, line_width=_line_width(0.6, extent, size))
    figure.savefig(path, format="png", facecolor=GROUND)


def _bounds(network: RoadNetwork) -> tuple[Floats, Floats]:
    """Lower left and upper right corner of the picture, each [2] [m]."""
    edges = [edge[:, :2] for lane in network.lanes for edge in (lane.left, lane.right)]
    points = np.concatenate(edges) if edges else np.zeros((1, 2))
    low, high = points.min(0) - MARGIN, points.max(0) + MARGIN
    # Narrow maps get some ground around them, so that no side of the picture vanishes.
    missing = np.maximum(0.0, 0.2 * (high - low).max() - (high - low))
    return low - 0.5 * missing, high + 0.5 * missing


def _line_width(width: float, extent: Floats, size: int) -> float:
    """Width of a drawn line in points for one on the road [m], never too thin to be seen."""
    return max(0.35, width / float(extent.max()) * size / DOTS_PER_INCH * 72.0)


def _draw_lanes(axes: Any, network: RoadNetwork, *, line_width: float) -> None:
    """Draws surfaces and boundaries level by level, then crosswalks and arrows."""
    from matplotlib.collections import LineCollection, PolyCollection

    levels: dict[tuple[bool, int], list[Lane]] = {}
    for lane in network.lanes:
        storey = int(lane.centre[:, 2].max() // STOREY_HEIGHT)
        levels.setdefault((lane.drivable, storey), []).append(lane)
    for (drivable, _), lanes in sorted(levels.items()):
        colour = ROAD if drivable else VERGE
        outlines = [np.concatenate([lane.left, lane.right[::-1]])[:, :2] for lane in lanes]
        axes.add_collection(
            PolyCollection(outlines, facecolors=colour, edgecolors=colour, linewidths=0.3, zorder=1)
        )
        open_road = [lane for lane in lanes if drivable and lane.junction < 0]
        edges = [edge[:, :2] for lane in open_road for edge in (lane.left, lane.right)]
        axes.add_collection(LineCollection(edges, colors=BOUNDARY, linewidths=line_width, zorder=1))

    crosswalks = [crosswalk.outline[:, :2] for crosswalk in network.crosswalks]
    axes.add_collection(
        PolyCollection(crosswalks, facecolors=CROSSING, edgecolors=BOUNDARY, alpha=0.7, zorder=2)
    )
    arrows = [_arrows(lane) for lane in network.lanes if lane.drivable]
    if arrows:
        x, y, u, v = np.concatenate(arrows).T
        style = dict(width=0.35, headwidth=4.0, pivot="middle", color=ARROW, zorder=3)
        axes.quiver(x, y, u, v, angles="xy", units="xy", scale_units="xy", scale=0.25, **style)


def _arrows(lane: Lane) -> Floats:
    """Places and directions of a lane's arrows, [A, 4]."""
    s = lane.arc_length
    count = max(1, round(s[-1] / ARROW_SPACING))
    places = (np.arange(count) + 0.5) / count * s[-1]
    around = [np.clip(places + step, 0.0, s[-1]) for step in (-0.5, 0.0, 0.5)]
    before, middle, after = (
        np.stack([np.interp(at, s, lane.centre[:, axis]) for axis in (0, 1)], -1) for at in around
    )
    steps = after - before
    lengths = np.maximum(np.hypot(*steps.T), 1e-9)
    return np.concatenate([middle, steps / lengths[:, None]], -1)


def _draw_signs(axes: Any, network: RoadNetwork, *, line_width: float) -> None:
    """Draws stop lines and what stands at the roadside."""
    from matplotlib.collections import LineCollection

    lines = [np.stack([line.left, line.right])[:, :2] for line in network.stop_lines]
    axes.add_collection(LineCollection(lines, colors=STOP, linewidths=2 * line_width, zorder=4))
    for kind, (mark, colour) in SIGNAL_MARKS.items():
        places = [signal.position[:2] for signal in network.signals if signal.kind == kind]
        if places:
            x, y = np.array(places).T
            axes.scatter(x, y, s=(4.0 * line_width) ** 2, marker=mark, color=colour, zorder=5)
