"""Where on the road an agent is: grid lookup, lane following, lane-graph distances.

Frenet coordinates are (s along the lane, d from its centre, positive left) of the box centre.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import below, least, most, prefetch
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.dynamics.jerk_bicycle import sweep_of
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.surface import (
    CELL_EDGE,
    box_offroad,
    cell_at,
    cell_range,
    observation_cell,
    row_cells,
)
from selfdrive_env.state import road
from selfdrive_env.state.road import (
    BLOCK_CELLS,
    LANE_CHANGE_COST,
    SEG_COS,
    SEG_LEFT,
    SEG_LENGTH,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import ABSENT, CONTACT_OFFROAD, EVENT_OFFROAD, IDM

__all__ = [
    "CURVATURE_SLACK",
    "along_segment",
    "lane_ahead",
    "lane_change_target",
    "lane_distance",
    "locate",
    "locate_agents",
    "max_lane_curvature",
    "next_lane",
    "route_distance",
    "segment_at",
    "way_ahead",
]

UNREACHABLE = np.float32(road.UNREACHABLE)  # [m]
ALIGN_COST = np.float32(0.5)  # [m] at right angles to a lane
CENTRE_COST = np.float32(0.05)  # [m/m] from the centre of a lane
CURVATURE_SLACK = np.float32(1.15)  # factor: bends that a body takes where there is no other way
TIGHT_COST = np.float32(2.0)  # on a lane that a scripted driver's body cannot follow [m]
LANE_SLACK = np.float32(0.2)  # [m]
LANE_CHANGE = np.float32(LANE_CHANGE_COST)  # [m]
FRONT_SHARE = np.float32(0.8)  # of the length
TINY = np.float32(1.0e-3)  # [m]
LANE_ROOM = np.float32(3.1)  # [m]
BEND_MARGIN = np.float32(0.15)  # [m]
NARROW_MARGIN = np.float32(0.4)  # [m]
STEERING_LIMIT = np.float32(0.5)  # tangent of the steering angle
FAST = np.float32(8.0)  # [m/s]
LATE_BRAKING = np.float32(3.0)  # [m/s^2]
LATE_LATERAL = np.float32(4.0)  # [m/s^2]
TWO = np.float32(2.0)
MAX_WALK = 64
LINE_EDGES = 4  # of `Grid.edge`, in a cache line
MOST_EDGES = 16  # asked for at a time


@inline
def way_ahead(way, goal_s, slack, cycle):
    """Returns the way to goal_s on the goal's lane, `way` from the start of that lane [m]."""
    distance = way + goal_s
    distance = distance + below(distance, -slack, cycle, ZERO)
    return least(most(distance, ZERO), UNREACHABLE)


@njit
def lane_distance(routes, goal_lane, lane, first_lane, num_lanes):
    """Returns D[goal, lane]: from the start of a lane to the start of the goal's lane [m]."""
    low = routes.first[goal_lane]
    high = routes.first[goal_lane + 1]
    if high - low == num_lanes:
        return routes.distance[low + lane - first_lane]
    while low < high:
        middle = (low + high) >> 1
        found = routes.lane[middle]
        if found == lane:
            return routes.distance[middle]
        if found < lane:
            low = middle + 1
        else:
            high = middle
    return UNREACHABLE


@njit
def max_lane_curvature(length, width, wheelbase):
    """Returns the largest lane curvature that a body can follow without leaving a lane [1/m].

    With the rear axle on a circle the front swings out by (0.8 length)^2 curvature / 2; together
    with the width that has to fit a usual lane.
    """
    front = FRONT_SHARE * length
    swing = TWO * max(LANE_ROOM - BEND_MARGIN - width, ZERO) / (front * front)
    return min(STEERING_LIMIT / wheelbase, swing)


@njit
def route_distance(routes, goal_lane, goal_s, lane, s, slack, first_lane, num_lanes):
    """Returns the way from (lane, s) to (goal_lane, goal_s) along the lane graph [m].

    A goal up to `slack` behind counts as distance 0; one farther behind is a whole round away.
    """
    base = lane_distance(routes, goal_lane, lane, first_lane, num_lanes)
    if base >= UNREACHABLE:
        return UNREACHABLE
    return way_ahead(base - s, goal_s, slack, routes.cycle[goal_lane])


@njit
def next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes):
    """Returns the successor on the shortest way to the goal (without one the first), or -1.

    Lanes that bend more than `bend` do not count.
    """
    best = np.int64(-1)
    best_distance = UNREACHABLE + ONE
    for link in range(lanes.successor_first[lane], lanes.successor_first[lane + 1]):
        candidate = np.int64(lanes.successor[link])
        if lanes.max_curvature[candidate] > bend:
            continue
        distance = UNREACHABLE
        if goal_lane >= 0:
            distance = lane_distance(routes, goal_lane, candidate, first_lane, num_lanes)
        if distance < best_distance:
            best = candidate
            best_distance = distance
    return best


@njit
def lane_ahead(lanes, routes, lane, ways, bend, speed, room):
    """Returns the lane that a driver goes on to, -1 for none.

    A bend that it is too fast for, `room` metres ahead, it lets be if it can: a goal may lie so
    that the way goes round a corner from one step to the next.

    Args:
        lanes: Of the pool.
        routes: To the goal's lane.
        lane: The one before.
        ways: Lane of the goal, first lane of the map, number of its lanes.
        bend: Largest lane curvature that its body can follow [1/m].
        speed: [m/s]
        room: Until the end of the lane [m].
    """
    goal_lane, first_lane, num_lanes = ways
    best = next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes)
    if best < 0:
        return best
    if speed <= FAST:
        return best
    excess = speed * speed - TWO * LATE_BRAKING * max(room, ZERO)
    if excess * lanes.max_curvature[best] <= LATE_LATERAL:
        return best
    gentle = LATE_LATERAL / excess
    other = next_lane(lanes, routes, lane, goal_lane, gentle, first_lane, num_lanes)
    return other if other >= 0 else best


@njit
def lane_change_target(lanes, routes, lane, goal_lane, first_lane, num_lanes):
    """Returns the neighbour lane that the route wants next, or `lane` itself."""
    here = lane_distance(routes, goal_lane, lane, first_lane, num_lanes)
    best = lane
    for side in range(2):
        beside = np.int64(lanes.left[lane] if side == 0 else lanes.right[lane])
        if beside < 0:
            continue
        there = lane_distance(routes, goal_lane, beside, first_lane, num_lanes)
        if there + LANE_CHANGE <= here + ONE and there < UNREACHABLE:
            best = beside
            here = there
    return best


@njit
def segment_at(lanes, lane, s):
    """Returns the segment of a lane at arc length s (segments of a lane are equally long)."""
    first = np.int64(lanes.segment_first[lane])
    count = np.int64(lanes.segment_first[lane + 1]) - first
    step = np.int64(max(s, ZERO) / max(lanes.length[lane], TINY) * np.float32(count))
    return first + min(step, count - 1)


@njit
def along_segment(lanes, index, x, y):
    """Returns (t, d): distance along a segment and offset to its left [m]."""
    dx = x - lanes.segment[index, SEG_X]
    dy = y - lanes.segment[index, SEG_Y]
    cos = lanes.segment[index, SEG_COS]
    sin = lanes.segment[index, SEG_SIN]
    return dx * cos + dy * sin, dy * cos - dx * sin


@njit
def overhang(lanes, index, d):
    """Returns how far an offset d lies outside the lane, 0 within [m]."""
    if d >= ZERO:
        return max(d - lanes.segment[index, SEG_LEFT], ZERO)
    return max(-d - lanes.segment[index, SEG_RIGHT], ZERO)


@njit
def search_cells(lanes, grid, first, last, x, y, cos, sin, tight, best, best_cost):
    """Returns the best segment of a run of cells and its cost, at least as good as that given.

    Args:
        lanes: Of the pool.
        grid: Of the pool.
        first: Number of the first cell.
        last: Number of the last cell.
        x: East [m].
        y: North [m].
        cos: Cosine of the heading.
        sin: Sine of the heading.
        tight: Curvature beyond which a lane counts as farther away [1/m].
        best: Best segment so far, -1 for none.
        best_cost: Its cost [m].
    """
    for entry in range(grid.segment_first[first], grid.segment_first[last + 1]):
        index = np.int64(grid.segment[entry])
        t, d = along_segment(lanes, index, x, y)
        beyond = max(max(-t, t - lanes.segment[index, SEG_LENGTH]), ZERO)
        align = cos * lanes.segment[index, SEG_COS] + sin * lanes.segment[index, SEG_SIN]
        cost = (
            overhang(lanes, index, d) + beyond + ALIGN_COST * (ONE - align) + CENTRE_COST * abs(d)
        )
        if cost < best_cost and lanes.max_curvature[lanes.segment_lane[index]] > tight:
            cost += TIGHT_COST
        if cost < best_cost:
            best = index
            best_cost = cost
    return best, best_cost


@njit
def search(lanes, grid, x, y, cos, sin, tight, layer, map_index):
    """Returns the segment nearest by lateral offset and heading, -1 if none is within a cell.

    Args:
        lanes: Of the pool.
        grid: Of the pool.
        x: East [m].
        y: North [m].
        cos: Cosine of the heading.
        sin: Sine of the heading.
        tight: Curvature beyond which a lane counts as farther away [1/m].
        layer: Level on which to look.
        map_index: Map of the world.
    """
    best = np.int64(-1)
    best_cost = UNREACHABLE
    cell = cell_at(grid, x, y, layer, map_index)
    if cell >= 0:
        best, best_cost = search_cells(
            lanes, grid, cell, cell, x, y, cos, sin, tight, best, best_cost
        )
    # A segment that fits better lies no farther away than the cost says, perhaps in another cell.
    reach = min(best_cost, CELL_EDGE)
    left, right, bottom, top = cell_range(
        grid, x - reach, x + reach, y - reach, y + reach, map_index
    )
    for j in range(bottom, top + 1):
        i = left
        while i <= right:
            low, high = row_cells(grid, i, right, j, layer, map_index)
            i = (i | 15) + 1
            if low >= 0 and (low != cell or high != cell):
                best, best_cost = search_cells(
                    lanes, grid, low, high, x, y, cos, sin, tight, best, best_cost
                )
    return best


@njit
def locate(lanes, routes, grid, index, x, y, cos, sin, goal_lane, bend, speed, map_index):
    """Follows the lane from segment `index` to the box centre (x, y).

    Walks along the route while (x, y) stays within the lane; otherwise takes the nearest lane of
    the same level by lateral offset and heading. Where lanes fork, a scripted driver in the middle
    of a lane change is not taken to be on one that its body cannot follow.

    Args:
        lanes: Of the pool.
        routes: To the goal's lane.
        grid: To look the nearest lane up.
        index: Segment at the step before.
        x: Box centre, east [m].
        y: Box centre, north [m].
        cos: Cosine of the heading.
        sin: Sine of the heading.
        goal_lane: Where the agent goes.
        bend: Largest lane curvature that its body can follow [1/m].
        speed: Of a scripted driver, which goes straight on where it is too fast for a bend; else 0
            [m/s].
        map_index: Map of the world.

    Returns:
        The segment.
    """
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    forward = False
    ends = False
    t, d = along_segment(lanes, index, x, y)
    for _ in range(MAX_WALK):
        if t > lanes.segment[index, SEG_LENGTH]:
            lane = np.int64(lanes.segment_lane[index])
            if index + 1 < lanes.segment_first[lane + 1]:
                index += 1
            else:
                ways = (goal_lane, first_lane, num_lanes)
                lane = lane_ahead(lanes, routes, lane, ways, bend, speed, ZERO)
                if lane < 0:
                    ends = True
                    break
                index = np.int64(lanes.segment_first[lane])
            forward = True
        elif t < ZERO and not forward:
            lane = np.int64(lanes.segment_lane[index])
            if index == lanes.segment_first[lane]:
                ends = t < -LANE_SLACK
                break
            index -= 1
        else:
            break
        t, d = along_segment(lanes, index, x, y)

    if not ends and overhang(lanes, index, d) <= ZERO:
        return index
    layer = np.int64(lanes.segment_layer[index])
    tight = bend * CURVATURE_SLACK if speed > ZERO else UNREACHABLE
    found = search(lanes, grid, x, y, cos, sin, tight, layer, map_index)
    return found if found >= 0 else index


@njit
def prefetch_road(model, data, around, map_index, world):
    """Asks for the cache lines that the road under each agent of a world lies in.

    One pass over all agents for each step of the way from an agent to its edges, so that what one
    pass reads has come by then.
    """
    lanes, routes, grid = model.lanes, model.routes, model.grid
    agents, bodies = data.agents, data.bodies
    num_agents = agents.x.shape[1]
    for agent in range(num_agents):
        index = np.int64(agents.segment[world, agent])
        prefetch(lanes.segment, index)
        goal = np.int64(bodies.goal_lane[world, agent, agents.goal[world, agent]])
        if goal >= 0:
            prefetch(routes.first, goal)
    for agent in range(num_agents):
        index = np.int64(agents.segment[world, agent])
        lane = np.int64(lanes.segment_lane[index])
        layer = np.int64(lanes.segment_layer[index])
        ahead = HALF * bodies.wheelbase[world, agent]
        x = agents.x[world, agent] + ahead * agents.cos[world, agent]
        y = agents.y[world, agent] + ahead * agents.sin[world, agent]
        cell = cell_at(grid, x, y, layer, map_index)
        around[agent] = cell
        prefetch(lanes.length, lane)
        goal = np.int64(bodies.goal_lane[world, agent, agents.goal[world, agent]])
        if goal >= 0:
            prefetch(routes.distance, routes.first[goal] + lane - lanes.map_lane_first[map_index])
        if cell >= 0:
            prefetch(grid.inside, cell)
            prefetch(grid.near, observation_cell(cell))
            below, _, above = rows_around(cell)
            prefetch(grid.edge_first, below)
            prefetch(grid.edge_first, above)
    for agent in range(num_agents):
        cell = np.int64(around[agent])
        if cell >= 0:
            prefetch(grid.segment, np.int64(grid.segment_first[cell]))
            for row in rows_around(cell):
                prefetch_edges(grid, row)


@inline
def rows_around(cell):
    """Returns the numbers of the cells below, at and above a cell, as far as its block goes."""
    row = cell & (BLOCK_CELLS - 1) * BLOCK_CELLS
    below = cell - BLOCK_CELLS if row > 0 else cell
    above = cell + BLOCK_CELLS if row < (BLOCK_CELLS - 1) * BLOCK_CELLS else cell
    return below, cell, above


@inline
def prefetch_edges(grid, cell):
    """Asks for the edges of a cell and of those beside it."""
    begin = np.int64(grid.edge_first[max(cell - 1, 0)])
    end = np.int64(grid.edge_first[min(cell + 2, grid.edge_first.shape[0] - 1)])
    for entry in range(begin, min(end, begin + MOST_EDGES), LINE_EDGES):
        prefetch(grid.edge, entry)


@njit
def locate_agents(model, data, worker, world):
    """Stage: localises every agent of a world and tells who left the road."""
    params, lanes, grid = model.params, model.lanes, model.grid
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    output, scratch = data.output, data.scratch
    map_index = np.int64(worlds.map[world])
    if params.prefetch != 0:
        around = scratch.near_row[worker]
        prefetch_road(model, data, around, map_index, world)
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        if agents.status[world, agent] == ABSENT:
            continue
        ahead = HALF * bodies.wheelbase[world, agent]
        cos = agents.cos[world, agent]
        sin = agents.sin[world, agent]
        x = agents.x[world, agent] + ahead * cos
        y = agents.y[world, agent] + ahead * sin
        goal = agents.goal[world, agent]
        index = locate(
            lanes,
            model.routes,
            grid,
            np.int64(agents.segment[world, agent]),
            x,
            y,
            cos,
            sin,
            np.int64(bodies.goal_lane[world, agent, goal]),
            bodies.max_curvature[world, agent],
            agents.speed[world, agent] if bodies.driver[world, agent] == IDM else ZERO,
            map_index,
        )
        place_on_segment(lanes, agents, world, agent, index, x, y)

        offroad = box_offroad(
            grid,
            sweep_of(data, world, agent),
            agents.x[world, agent],
            agents.y[world, agent],
            cos,
            sin,
            np.int64(lanes.segment_layer[index]),
            map_index,
        )
        contact = agents.contact[world, agent]
        if offroad and not contact & CONTACT_OFFROAD:
            output.event[world, agent] |= EVENT_OFFROAD
        rest = contact & np.uint8(255 - CONTACT_OFFROAD)
        agents.contact[world, agent] = rest | np.uint8(CONTACT_OFFROAD if offroad else 0)


@njit
def place_on_segment(lanes, agents, world, agent, index, x, y):
    """Writes the Frenet coordinates of an agent whose box centre (x, y) lies on segment `index`."""
    t, d = along_segment(lanes, index, x, y)
    t = min(max(t, ZERO), lanes.segment[index, SEG_LENGTH])
    seg_cos = lanes.segment[index, SEG_COS]
    seg_sin = lanes.segment[index, SEG_SIN]
    cos = agents.cos[world, agent]
    sin = agents.sin[world, agent]
    agents.segment[world, agent] = index
    agents.s[world, agent] = lanes.segment[index, SEG_S] + t
    agents.d[world, agent] = d
    agents.angle_cos[world, agent] = cos * seg_cos + sin * seg_sin
    agents.angle_sin[world, agent] = sin * seg_cos - cos * seg_sin
    agents.z[world, agent] = lanes.segment[index, SEG_Z]
