"""The ego's way: the shortest route over the lane graph, and how it is drawn with its goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from selfdrive_env.arrays import F32
from selfdrive_env.rendering.canvas import Colour, View, draw_disc, flat, import_pillow
from selfdrive_env.state import (
    LANE_CHANGE_COST,
    SEG_S,
    SEG_X,
    SEG_Y,
    UNREACHABLE,
    Lanes,
    Routes,
)

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["draw_way", "route_points"]


def route_points(lanes: Lanes, routes: Routes, segment: int, goal_lane: int, goal_s: float) -> F32:
    """Returns the centre lines along the shortest way to a goal over the lane graph.

    Args:
        lanes: Lanes of the pool.
        routes: Distances to every goal lane.
        segment: Lane segment where the way starts.
        goal_lane: Lane of the goal.
        goal_s: Arc length of the goal on it [m].

    Returns:
        x, y of the segments on the way, [N, 2] [m]; just the start where there is no way.
    """
    lane = int(lanes.segment_lane[segment])
    s = float(lanes.segment[segment, SEG_S])
    pieces = []
    for step in range(1000):
        rows = lanes.segment[lanes.segment_first[lane] : lanes.segment_first[lane + 1]]
        ahead = rows[:, SEG_S] >= s - 0.01
        if lane == goal_lane and (s <= goal_s or step > 0):
            pieces.append(rows[ahead & (rows[:, SEG_S] <= goal_s)])
            break
        link = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        costs = {
            int(n): float(lanes.length[lane]) + _distance(lanes, routes, goal_lane, int(n))
            for n in link
        }
        sides = [int(n) for n in (lanes.left[lane], lanes.right[lane]) if n >= 0]
        costs |= {n: LANE_CHANGE_COST + _distance(lanes, routes, goal_lane, n) for n in sides}
        best = min(costs, key=lambda n: costs[n], default=-1)
        if best < 0 or costs[best] >= UNREACHABLE:
            pieces = []
            break
        if best in sides:
            pieces.append(rows[ahead & (rows[:, SEG_S] < s + 2.0)])
            s += LANE_CHANGE_COST
        else:
            pieces.append(rows[ahead])
            s = 0.0
        lane = best
    rows = np.concatenate([lanes.segment[segment : segment + 1], *pieces])
    return np.ascontiguousarray(rows[:, [SEG_X, SEG_Y]])


def _distance(lanes: Lanes, routes: Routes, goal_lane: int, lane: int) -> float:
    """Shortest way from the start of `lane` to the start of `goal_lane` [m]."""
    first, last = (int(n) for n in routes.first[goal_lane : goal_lane + 2])
    map_index = int(np.searchsorted(lanes.map_lane_first, goal_lane, "right")) - 1
    low, high = (int(n) for n in lanes.map_lane_first[map_index : map_index + 2])
    if last - first == high - low:
        return float(routes.distance[first + lane - low])
    entry = first + int(np.searchsorted(routes.lane[first:last], lane))
    if entry == last or routes.lane[entry] != lane:
        return UNREACHABLE
    return float(routes.distance[entry])


def draw_way(
    image: Image, view: View, route: F32 | None, goals: F32 | None, colour: Colour
) -> None:
    """Draws a route and its goals.

    Args:
        image: Drawn on.
        view: The part of the plane shown.
        route: x, y, [N, 2] [m].
        goals: x, y, radius, [G, 3] [m].
        colour: Red, green, blue.
    """
    if route is not None and len(route) > 1:
        # Drawn as a mask first: where pieces of a translucent line meet, it would be darker.
        mask = import_pillow()[0].new("L", image.size)
        points = view.pixels(route[:, 0], route[:, 1])
        width = max(4, round(1.2 * view.scale))
        import_pillow()[1].Draw(mask).line(flat(points), 130, width, joint="curve")
        image.paste(colour, mask=mask)
    pen = import_pillow()[1].Draw(image, "RGBA")
    for x, y, radius in [] if goals is None else goals.tolist():
        centre = view.pixels(x, y)
        draw_disc(pen, centre, max(8.0, radius * view.scale), (*colour, 60), colour, 4)
        draw_disc(pen, centre, 4.0, colour)
