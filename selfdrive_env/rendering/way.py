"""The ego's way: the shortest route over the lane graph, and how it is drawn with its goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from selfdrive_env.arrays import F32
from selfdrive_env.maps.routes import lane_graph_distance
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

MAX_STEPS = 1000
"""Lanes of the longest way that is followed."""


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
    pieces = [lanes.segment[segment : segment + 1]]
    for _ in range(MAX_STEPS):
        rows = lanes.segment[lanes.segment_first[lane] : lanes.segment_first[lane + 1]]
        rows = rows[rows[:, SEG_S] >= s - 0.01]
        if lane == goal_lane and s <= goal_s:
            pieces.append(rows[rows[:, SEG_S] <= goal_s])
            break
        length = float(lanes.length[lane])
        links = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        sides = [n for n in (int(lanes.left[lane]), int(lanes.right[lane])) if n >= 0]
        goal = goal_lane, goal_s
        costs = {
            n: length - s + lane_graph_distance(lanes, routes, (n, 0.0), goal)
            for n in links.tolist()
        }
        costs |= {
            n: LANE_CHANGE_COST + lane_graph_distance(lanes, routes, (n, s), goal) for n in sides
        }
        best = min(costs, key=lambda n: costs[n], default=-1)
        if best < 0 or costs[best] >= UNREACHABLE:
            del pieces[1:]
            break
        if best in sides:
            ahead = min(s + 10.0, length, goal_s if best == goal_lane and goal_s >= s else length)
            pieces.append(rows[rows[:, SEG_S] < min(s + 2.0, ahead)])
            s = ahead
        else:
            pieces.append(rows)
            s = 0.0
        lane = best
    return np.ascontiguousarray(np.concatenate(pieces)[:, [SEG_X, SEG_Y]])


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
