"""Where on the road an agent is: grid lookup, lane following, lane-graph distances.

Frenet coordinates are (s along the lane, d from its centre, positive left) of the box centre.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.simd import prefetch
from selfdrive_env.compiler.simd import way_ahead as plain_way_ahead
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO
from selfdrive_env.kernels.surface import (
    CELL_EDGE,
    box_offroad,
    cell_at,
    cell_range,
    observation_cell,
    row_cells,
)
from selfdrive_env.state.road import (
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
from selfdrive_env.state.road import UNREACHABLE as FAR
from selfdrive_env.state.world import ABSENT, CONTACT_OFFROAD, EVENT_OFFROAD

__all__ = [
    "lane_change_target",
    "lane_distance",
    "locate",
    "locate_agents",
    "next_lane",
    "route_distance",
    "segment_at",
    "way_ahead",
    "widest_bend",
]

UNREACHABLE = np.float32(FAR)
ALIGN_COST = np.float32(0.5)
CENTRE_COST = np.float32(0.05)
LANE_SLACK = np.float32(0.2)
LANE_CHANGE = np.float32(LANE_CHANGE_COST)
FRONT_SHARE = np.float32(0.8)
LANE_ROOM = np.float32(3.1)
STEERING_LIMIT = np.float32(0.5)
TWO = np.float32(2.0)
MAX_WALK = 64

way_ahead = inline(plain_way_ahead)


@njit
def lane_distance(goal_lane, lane, first_lane, num_lanes, route_first, route_lane, route_length):
    """Returns D[goal, lane]: from the start of a lane to the start of the goal's lane [m]."""
    low = route_first[goal_lane]
    high = route_first[goal_lane + 1]
    if high - low == num_lanes:
        return route_length[low + lane - first_lane]
    while low < high:
        middle = (low + high) >> 1
        found = route_lane[middle]
        if found == lane:
            return route_length[middle]
        if found < lane:
            low = middle + 1
        else:
            high = middle
    return UNREACHABLE


@njit
def widest_bend(length, width, wheelbase):
    """Returns the largest lane curvature that a body can follow without leaving a lane [1/m].

    With the rear axle on a circle the front swings out by (0.8 length)^2 curvature / 2; together
    with the width that has to fit a usual lane.
    """
    front = FRONT_SHARE * length
    swing = TWO * max(LANE_ROOM - width, ZERO) / (front * front)
    return min(STEERING_LIMIT / wheelbase, swing)


@njit
def route_distance(
    goal_lane,
    goal_s,
    lane,
    s,
    slack,
    first_lane,
    num_lanes,
    route_first,
    route_lane,
    route_length,
    route_cycle,
):
    """Returns the way from (lane, s) to (goal_lane, goal_s) along the lane graph [m].

    A goal up to `slack` behind counts as distance 0; one farther behind is a whole round away.
    """
    base = lane_distance(
        goal_lane, lane, first_lane, num_lanes, route_first, route_lane, route_length
    )
    if base >= UNREACHABLE:
        return UNREACHABLE
    return way_ahead(base - s, goal_s, slack, route_cycle[goal_lane])


@njit
def next_lane(
    lane,
    goal_lane,
    bend,
    first_lane,
    num_lanes,
    successor_first,
    successor,
    lane_curvature,
    route_first,
    route_lane,
    route_length,
):
    """Returns the successor on the shortest way to the goal (without one the first), or -1.

    Lanes that bend more than `bend` do not count.
    """
    best = np.int64(-1)
    best_distance = UNREACHABLE + ONE
    for link in range(successor_first[lane], successor_first[lane + 1]):
        candidate = np.int64(successor[link])
        if lane_curvature[candidate] > bend:
            continue
        distance = UNREACHABLE
        if goal_lane >= 0:
            distance = lane_distance(
                goal_lane, candidate, first_lane, num_lanes, route_first, route_lane, route_length
            )
        if distance < best_distance:
            best = candidate
            best_distance = distance
    return best


@njit
def lane_change_target(
    lane, goal_lane, first_lane, num_lanes, left, right, route_first, route_lane, route_length
):
    """Returns the neighbour lane that the route wants next, or `lane` itself."""
    here = lane_distance(
        goal_lane, lane, first_lane, num_lanes, route_first, route_lane, route_length
    )
    best = lane
    for side in range(2):
        beside = np.int64(left[lane] if side == 0 else right[lane])
        if beside < 0:
            continue
        there = lane_distance(
            goal_lane, beside, first_lane, num_lanes, route_first, route_lane, route_length
        )
        if there + LANE_CHANGE <= here + ONE and there < UNREACHABLE:
            best = beside
            here = there
    return best


@njit
def segment_at(lane, s, segment_first, lane_length):
    """Returns the segment of a lane at arc length s (segments of a lane are equally long)."""
    first = np.int64(segment_first[lane])
    count = np.int64(segment_first[lane + 1]) - first
    step = np.int64(max(s, ZERO) / max(lane_length[lane], np.float32(1e-3)) * np.float32(count))
    return first + min(step, count - 1)


@njit
def along_segment(segment, index, x, y):
    """Returns (t, d): distance along a segment and offset to its left [m]."""
    dx = x - segment[index, SEG_X]
    dy = y - segment[index, SEG_Y]
    cos = segment[index, SEG_COS]
    sin = segment[index, SEG_SIN]
    return dx * cos + dy * sin, dy * cos - dx * sin


@njit
def overhang(segment, index, d):
    """Returns how far an offset d lies outside the lane, 0 within [m]."""
    if d >= ZERO:
        return max(d - segment[index, SEG_LEFT], ZERO)
    return max(-d - segment[index, SEG_RIGHT], ZERO)


@njit
def search_cells(first, last, x, y, cos, sin, best, best_cost, segment, cell_first, cell_segment):
    """Returns the best segment of a run of cells and its cost, at least as good as that given."""
    for entry in range(cell_first[first], cell_first[last + 1]):
        index = np.int64(cell_segment[entry])
        t, d = along_segment(segment, index, x, y)
        beyond = max(max(-t, t - segment[index, SEG_LENGTH]), ZERO)
        align = cos * segment[index, SEG_COS] + sin * segment[index, SEG_SIN]
        cost = (
            overhang(segment, index, d) + beyond + ALIGN_COST * (ONE - align) + CENTRE_COST * abs(d)
        )
        if cost < best_cost:
            best = index
            best_cost = cost
    return best, best_cost


@njit
def search(x, y, cos, sin, layer, map_index, segment, grid):
    """Returns the segment nearest by lateral offset and heading, -1 if none is within a cell."""
    best = np.int64(-1)
    best_cost = UNREACHABLE
    first, entries = grid.segment_first, grid.segment
    origin, shape, block = grid.origin, grid.shape, grid.block
    cell = cell_at(x, y, layer, map_index, origin, shape, block)
    if cell >= 0:
        best, best_cost = search_cells(
            cell, cell, x, y, cos, sin, best, best_cost, segment, first, entries
        )
    # A segment that fits better lies no farther away than the cost says, perhaps in another cell.
    reach = min(best_cost, CELL_EDGE)
    left, right, bottom, top = cell_range(
        x - reach, x + reach, y - reach, y + reach, map_index, origin, shape
    )
    for j in range(bottom, top + 1):
        i = left
        while i <= right:
            low, high = row_cells(i, right, j, layer, map_index, shape, block)
            i = (i | 15) + 1
            if low >= 0 and (low != cell or high != cell):
                best, best_cost = search_cells(
                    low, high, x, y, cos, sin, best, best_cost, segment, first, entries
                )
    return best


@njit
def locate(
    index,
    x,
    y,
    cos,
    sin,
    goal_lane,
    bend,
    map_index,
    map_lane_first,
    segment,
    segment_lane,
    segment_layer,
    segment_first,
    successor_first,
    successor,
    lane_curvature,
    route_first,
    route_lane,
    route_length,
    grid,
):
    """Follows the lane from segment `index` to the box centre (x, y).

    Walks along the route while (x, y) stays within the lane; otherwise takes the nearest lane of
    the same level by lateral offset and heading.

    Returns:
        The segment.
    """
    first_lane = np.int64(map_lane_first[map_index])
    num_lanes = np.int64(map_lane_first[map_index + 1]) - first_lane
    forward = False
    ends = False
    t, d = along_segment(segment, index, x, y)
    for _ in range(MAX_WALK):
        if t > segment[index, SEG_LENGTH]:
            lane = np.int64(segment_lane[index])
            if index + 1 < segment_first[lane + 1]:
                index += 1
            else:
                lane = next_lane(
                    lane,
                    goal_lane,
                    bend,
                    first_lane,
                    num_lanes,
                    successor_first,
                    successor,
                    lane_curvature,
                    route_first,
                    route_lane,
                    route_length,
                )
                if lane < 0:
                    ends = True
                    break
                index = np.int64(segment_first[lane])
            forward = True
        elif t < ZERO and not forward:
            lane = np.int64(segment_lane[index])
            if index == segment_first[lane]:
                ends = t < -LANE_SLACK
                break
            index -= 1
        else:
            break
        t, d = along_segment(segment, index, x, y)

    if not ends and overhang(segment, index, d) <= ZERO:
        return index
    layer = np.int64(segment_layer[index])
    found = search(x, y, cos, sin, layer, map_index, segment, grid)
    return found if found >= 0 else index


@njit
def ask_for_road(lanes, routes, grid, signs, agents, bodies, around, map_index, world):
    """Asks for the cache lines that the road under each agent of a world lies in.

    One pass over all agents for each step of the way from an agent to its edges, so that what one
    pass reads has come by then.
    """
    num_agents = agents.x.shape[1]
    for agent in range(num_agents):
        index = np.int64(agents.segment[world, agent])
        prefetch(lanes.segment, index)
        prefetch(lanes.segment_lane, index)
        prefetch(lanes.segment_layer, index)
    for agent in range(num_agents):
        index = np.int64(agents.segment[world, agent])
        lane = np.int64(lanes.segment_lane[index])
        layer = np.int64(lanes.segment_layer[index])
        x, y = agents.x[world, agent], agents.y[world, agent]
        cell = cell_at(x, y, layer, map_index, grid.origin, grid.shape, grid.block)
        around[agent] = cell
        prefetch(lanes.segment_first, lane)
        prefetch(lanes.successor_first, lane)
        prefetch(signs.lane_line_first, lane)
        goal = np.int64(bodies.goal_lane[world, agent, agents.goal[world, agent]])
        if goal >= 0:
            prefetch(routes.distance, routes.first[goal] + lane - lanes.map_lane_first[map_index])
        if cell >= 0:
            prefetch(grid.inside, cell)
            prefetch(grid.edge_first, cell)
            prefetch(grid.segment_first, cell)
            prefetch(grid.guard_first, observation_cell(cell))
            prefetch(grid.near, observation_cell(cell))
    for agent in range(num_agents):
        cell = np.int64(around[agent])
        if cell >= 0:
            prefetch(grid.edge, np.int64(grid.edge_first[cell]))
            prefetch(grid.edge, np.int64(grid.edge_first[cell]) + 4)
            prefetch(grid.segment, np.int64(grid.segment_first[cell]))


@njit
def locate_agents(
    params, lanes, routes, grid, signs, worlds, agents, bodies, motion, output, scratch, worker,
    world,
):  # fmt: skip
    """Stage: localises every agent of a world and tells who left the road."""
    map_index = np.int64(worlds.map[world])
    if params.prefetch != 0:
        around = scratch.around[worker]
        ask_for_road(lanes, routes, grid, signs, agents, bodies, around, map_index, world)
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
            np.int64(agents.segment[world, agent]),
            x,
            y,
            cos,
            sin,
            np.int64(bodies.goal_lane[world, agent, goal]),
            bodies.bend[world, agent],
            map_index,
            lanes.map_lane_first,
            lanes.segment,
            lanes.segment_lane,
            lanes.segment_layer,
            lanes.segment_first,
            lanes.successor_first,
            lanes.successor,
            lanes.max_curvature,
            routes.first,
            routes.lane,
            routes.distance,
            grid,
        )
        place_on_segment(agents, lanes.segment, world, agent, index, x, y)

        offroad = box_offroad(
            motion.x[world, agent], motion.y[world, agent], motion.cos[world, agent],
            motion.sin[world, agent], agents.x[world, agent], agents.y[world, agent], cos, sin,
            motion.travel[world, agent], motion.curvature[world, agent], ahead,
            HALF * bodies.length[world, agent], HALF * bodies.width[world, agent],
            np.int64(lanes.segment_layer[index]), map_index, grid,
        )  # fmt: skip
        contact = agents.contact[world, agent]
        if offroad and not contact & CONTACT_OFFROAD:
            output.event[world, agent] |= EVENT_OFFROAD
        rest = contact & np.uint8(255 - CONTACT_OFFROAD)
        agents.contact[world, agent] = rest | np.uint8(CONTACT_OFFROAD if offroad else 0)


@njit
def place_on_segment(agents, segment, world, agent, index, x, y):
    """Writes the Frenet coordinates of an agent whose box centre (x, y) lies on segment `index`."""
    t, d = along_segment(segment, index, x, y)
    t = min(max(t, ZERO), segment[index, SEG_LENGTH])
    seg_cos = segment[index, SEG_COS]
    seg_sin = segment[index, SEG_SIN]
    cos = agents.cos[world, agent]
    sin = agents.sin[world, agent]
    agents.segment[world, agent] = index
    agents.s[world, agent] = segment[index, SEG_S] + t
    agents.d[world, agent] = d
    agents.angle_cos[world, agent] = cos * seg_cos + sin * seg_sin
    agents.angle_sin[world, agent] = sin * seg_cos - cos * seg_sin
    agents.z[world, agent] = segment[index, SEG_Z]
