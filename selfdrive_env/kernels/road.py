"""Where on the road an agent is: grid lookup, lane following, lane-graph distances, off-road.

Frenet coordinates are (s along the lane, d from its centre, positive left) of the box centre.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.kernels.dynamics import pose_at, sub_steps
from selfdrive_env.kernels.geometry import HALF, ONE, ZERO, box_cuts_edge, segments_cross
from selfdrive_env.kernels.parallel import inline, njit
from selfdrive_env.state import (
    ABSENT,
    CELL,
    EVENT_OFFROAD,
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
from selfdrive_env.state import UNREACHABLE as FAR

__all__ = [
    "box_offroad",
    "cell_at",
    "lane_distance",
    "locate",
    "locate_agents",
    "next_lane",
    "observation_cell",
    "route_distance",
    "segment_at",
    "way_ahead",
]

INVERSE_CELL = np.float32(1.0 / CELL)
CELL_EDGE = np.float32(CELL)
UNREACHABLE = np.float32(FAR)
ALIGN_COST = np.float32(0.5)
CENTRE_COST = np.float32(0.05)
LANE_SLACK = np.float32(0.2)
MAX_WALK = 64
MAX_SWEEP_PARTS = 32
CONTACT_OFFROAD = 2


@njit
def cell_at(x, y, layer, map_index, grid_origin, grid_shape, grid_block):
    """Returns the number of the grid cell that holds (x, y) on a layer, -1 away from roads."""
    along = (x - grid_origin[map_index, 0]) * INVERSE_CELL
    up = (y - grid_origin[map_index, 1]) * INVERSE_CELL
    if not (along >= ZERO and up >= ZERO):
        return np.int64(-1)
    i = np.int64(along)
    j = np.int64(up)
    blocks_x = np.int64(grid_shape[map_index, 0])
    blocks_y = np.int64(grid_shape[map_index, 1])
    block_i = i >> 4
    block_j = j >> 4
    if block_i >= blocks_x or block_j >= blocks_y:
        return np.int64(-1)
    start = np.int64(grid_shape[map_index, 2])
    block = np.int64(grid_block[start + (layer * blocks_y + block_j) * blocks_x + block_i])
    if block < 0:
        return np.int64(-1)
    return block * 256 + ((j & 15) << 4) + (i & 15)


@njit
def observation_cell(cell):
    """Returns the number of the observation cell that holds a grid cell."""
    return (cell >> 8) * 64 + (((cell >> 4) & 15) >> 1) * 8 + ((cell & 15) >> 1)


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


@inline
def way_ahead(base, s, goal_s, slack, cycle):
    """Returns the way from s on a lane to goal_s on the goal's, `base` apart at their starts [m]."""
    if base >= UNREACHABLE:
        return UNREACHABLE
    distance = base - s + goal_s
    if distance < -slack:
        distance += cycle
    return min(max(distance, ZERO), UNREACHABLE)


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
    return way_ahead(base, s, goal_s, slack, route_cycle[goal_lane])


@njit
def next_lane(
    lane,
    goal_lane,
    first_lane,
    num_lanes,
    successor_first,
    successor,
    route_first,
    route_lane,
    route_length,
):
    """Returns the successor on the shortest way to the goal, the first one without a goal, or -1."""
    begin = successor_first[lane]
    end = successor_first[lane + 1]
    if begin == end:
        return np.int64(-1)
    best = np.int64(successor[begin])
    if end == begin + 1 or goal_lane < 0:
        return best
    best_distance = UNREACHABLE + ONE
    for link in range(begin, end):
        candidate = np.int64(successor[link])
        distance = lane_distance(
            goal_lane, candidate, first_lane, num_lanes, route_first, route_lane, route_length
        )
        if distance < best_distance:
            best = candidate
            best_distance = distance
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
def search_cell(cell, x, y, cos, sin, best, best_cost, segment, cell_first, cell_segment):
    """Returns the best segment of one cell and its cost, at least as good as the one given."""
    for entry in range(cell_first[cell], cell_first[cell + 1]):
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
def search(
    x,
    y,
    cos,
    sin,
    layer,
    map_index,
    segment,
    grid_origin,
    grid_shape,
    grid_block,
    cell_first,
    cell_segment,
):
    """Returns the segment nearest by lateral offset and heading, -1 if none is within a cell."""
    best = np.int64(-1)
    best_cost = UNREACHABLE
    cell = cell_at(x, y, layer, map_index, grid_origin, grid_shape, grid_block)
    if cell >= 0:
        best, best_cost = search_cell(
            cell, x, y, cos, sin, best, best_cost, segment, cell_first, cell_segment
        )
    # A segment that fits better lies no farther away than the cost says, perhaps in another cell.
    reach = min(best_cost, CELL_EDGE)
    for side in range(9):
        sx = x + reach * np.float32(side % 3 - 1)
        sy = y + reach * np.float32(side // 3 - 1)
        beside = cell_at(sx, sy, layer, map_index, grid_origin, grid_shape, grid_block)
        if beside >= 0 and beside != cell:
            best, best_cost = search_cell(
                beside, x, y, cos, sin, best, best_cost, segment, cell_first, cell_segment
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
    map_index,
    map_lane_first,
    segment,
    segment_lane,
    segment_layer,
    segment_first,
    successor_first,
    successor,
    route_first,
    route_lane,
    route_length,
    grid_origin,
    grid_shape,
    grid_block,
    cell_first,
    cell_segment,
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
                    first_lane,
                    num_lanes,
                    successor_first,
                    successor,
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
    found = search(
        x,
        y,
        cos,
        sin,
        np.int64(segment_layer[index]),
        map_index,
        segment,
        grid_origin,
        grid_shape,
        grid_block,
        cell_first,
        cell_segment,
    )
    return found if found >= 0 else index


@njit
def on_surface(x, y, cell, map_index, grid_origin, grid_shape, edge_first, edge, inside, i, j):
    """Whether (x, y), which lies in a cell with corner indices (i, j), is on the surface.

    The way from the point to the cell's centre stays in the cell, so the number of the cell's
    edges that it crosses tells whether both are on the same side.
    """
    centre_x = grid_origin[map_index, 0] + (np.float32(i) + HALF) * CELL_EDGE
    centre_y = grid_origin[map_index, 1] + (np.float32(j) + HALF) * CELL_EDGE
    result = inside[cell] != 0
    for entry in range(edge_first[cell], edge_first[cell + 1]):
        crosses = segments_cross(
            x - centre_x,
            y - centre_y,
            ZERO,
            ZERO,
            edge[entry, 0] - centre_x,
            edge[entry, 1] - centre_y,
            edge[entry, 2] - centre_x,
            edge[entry, 3] - centre_y,
        )
        if crosses:
            result = not result
    return result


@njit
def point_on_surface(
    x, y, layer, map_index, grid_origin, grid_shape, grid_block, edge_first, edge, inside
):
    """Whether a point lies on the drivable surface of a layer."""
    cell = cell_at(x, y, layer, map_index, grid_origin, grid_shape, grid_block)
    if cell < 0:
        return False
    if edge_first[cell] == edge_first[cell + 1]:
        return inside[cell] != 0
    i = np.int64((x - grid_origin[map_index, 0]) * INVERSE_CELL)
    j = np.int64((y - grid_origin[map_index, 1]) * INVERSE_CELL)
    return on_surface(
        x, y, cell, map_index, grid_origin, grid_shape, edge_first, edge, inside, i, j
    )


@njit
def sweep_cuts_edge(
    x0, y0, x1, y1, x, y, cos, sin, travel, curvature, ahead, half_length, half_width
):
    """Whether the edge (x0, y0)-(x1, y1) meets the box at one of the poses of its sweep."""
    parts = sub_steps(travel, MAX_SWEEP_PARTS)
    for part in range(1, parts + 1):
        fraction = np.float32(part) / np.float32(parts)
        px, py, pc, ps = pose_at(x, y, cos, sin, travel, curvature, fraction, ahead)
        ax = x0 - px
        ay = y0 - py
        bx = x1 - px
        by = y1 - py
        if box_cuts_edge(
            ax * pc + ay * ps,
            ay * pc - ax * ps,
            bx * pc + by * ps,
            by * pc - bx * ps,
            half_length,
            half_width,
        ):
            return True
    return False


@njit
def box_offroad(
    x,
    y,
    cos,
    sin,
    travel,
    curvature,
    ahead,
    half_length,
    half_width,
    layer,
    map_index,
    grid_origin,
    grid_shape,
    grid_block,
    edge_first,
    edge,
    inside,
):
    """Whether a box leaves the drivable surface anywhere on its arc.

    The box lies wholly on the surface exactly if its centre does and no edge of the surface meets
    it. The arc is cut into equal parts of at most one metre and the box tested at the end of each.

    Args:
        x: Rear axle at the start of the arc [m].
        y: Likewise [m].
        cos: Heading at the start.
        sin: Heading at the start.
        travel: Arc length [m].
        curvature: Of the arc [1/m].
        ahead: Distance from the rear axle to the centre of the box [m].
        half_length: [m]
        half_width: [m]
        layer: Surface the agent drives on.
        map_index: Map of the world.
        grid_origin: Field of `Grid`, like all arguments after it.
        grid_shape: Likewise.
        grid_block: Likewise.
        edge_first: Likewise.
        edge: Likewise.
        inside: Likewise.
    """
    start_x = x + ahead * cos
    start_y = y + ahead * sin
    end_x, end_y, _end_cos, _end_sin = pose_at(x, y, cos, sin, travel, curvature, ONE, ahead)
    if not point_on_surface(
        end_x,
        end_y,
        layer,
        map_index,
        grid_origin,
        grid_shape,
        grid_block,
        edge_first,
        edge,
        inside,
    ):
        return True

    reach = half_length + half_width + HALF * abs(travel * travel * curvature)
    low_x = min(start_x, end_x) - reach
    high_x = max(start_x, end_x) + reach
    low_y = min(start_y, end_y) - reach
    high_y = max(start_y, end_y) + reach
    columns = np.int64((high_x - low_x) * INVERSE_CELL) + 2
    rows = np.int64((high_y - low_y) * INVERSE_CELL) + 2
    for row in range(rows):
        cell_y = min(low_y + CELL_EDGE * np.float32(row), high_y)
        for column in range(columns):
            cell_x = min(low_x + CELL_EDGE * np.float32(column), high_x)
            cell = cell_at(cell_x, cell_y, layer, map_index, grid_origin, grid_shape, grid_block)
            if cell < 0:
                continue
            for entry in range(edge_first[cell], edge_first[cell + 1]):
                x0 = edge[entry, 0]
                y0 = edge[entry, 1]
                x1 = edge[entry, 2]
                y1 = edge[entry, 3]
                if max(x0, x1) < low_x or min(x0, x1) > high_x:
                    continue
                if max(y0, y1) < low_y or min(y0, y1) > high_y:
                    continue
                if sweep_cuts_edge(
                    x0,
                    y0,
                    x1,
                    y1,
                    x,
                    y,
                    cos,
                    sin,
                    travel,
                    curvature,
                    ahead,
                    half_length,
                    half_width,
                ):
                    return True
    return False


@njit
def locate_agents(lanes, routes, grid, worlds, agents, bodies, motion, output, world):
    """Stage: localises every agent of a world and tells who left the road."""
    map_index = np.int64(worlds.map[world])
    for agent in range(agents.x.shape[1]):
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
            map_index,
            lanes.map_lane_first,
            lanes.segment,
            lanes.segment_lane,
            lanes.segment_layer,
            lanes.segment_first,
            lanes.successor_first,
            lanes.successor,
            routes.first,
            routes.lane,
            routes.distance,
            grid.origin,
            grid.shape,
            grid.block,
            grid.segment_first,
            grid.segment,
        )
        place_on_segment(agents, lanes.segment, world, agent, index, x, y)

        offroad = box_offroad(
            motion.x[world, agent],
            motion.y[world, agent],
            motion.cos[world, agent],
            motion.sin[world, agent],
            motion.travel[world, agent],
            motion.curvature[world, agent],
            ahead,
            HALF * bodies.length[world, agent],
            HALF * bodies.width[world, agent],
            np.int64(lanes.segment_layer[index]),
            map_index,
            grid.origin,
            grid.shape,
            grid.block,
            grid.edge_first,
            grid.edge,
            grid.inside,
        )
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
