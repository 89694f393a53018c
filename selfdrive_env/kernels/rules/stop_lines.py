"""Who passes a stop line on red, or without having stopped."""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, segments_cross
from selfdrive_env.kernels.road import next_lane
from selfdrive_env.kernels.surface import cell_at, observation_cell
from selfdrive_env.state.road import (
    LINE_COS,
    LINE_SIN,
    LINE_X,
    LINE_X0,
    LINE_X1,
    LINE_Y,
    LINE_Y0,
    LINE_Y1,
    LINE_Z,
)
from selfdrive_env.state.world import (
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    PRESENT,
    RED,
    STOP_SIGN,
)

__all__ = ["check_stop_lines", "stands_on_line"]

STANDING = np.float32(0.3)  # [m/s]
STOP_ZONE = np.float32(6.0)  # [m]
STOP_FORGOTTEN = np.float32(12.0)  # before a line, straight [m]
SHORT = np.float32(0.5)  # [m]


@inline
def crosses_guard(line, index, x0, y0, x1, y1, cos, sin, z):
    """Whether a point that moved from (x0, y0) to (x1, y1) passed a stop line in its direction.

    The heading counts beside the two places, of which the last digits may be wrong.

    Args:
        line: `Signs.line`.
        index: Of the line.
        x0: Of the point before, east [m].
        y0: Of the point before, north [m].
        x1: Of the point now, east [m].
        y1: Of the point now, north [m].
        cos: Cosine of the heading, or of the one opposite in reverse.
        sin: Its sine.
        z: Elevation of the road below [m].
    """
    if cos * line[index, LINE_COS] + sin * line[index, LINE_SIN] <= ZERO:
        return False
    if abs(line[index, LINE_Z] - z) >= LEVEL_HEIGHT:
        return False
    ahead0 = (x0 - line[index, LINE_X]) * line[index, LINE_COS]
    ahead0 += (y0 - line[index, LINE_Y]) * line[index, LINE_SIN]
    ahead1 = (x1 - line[index, LINE_X]) * line[index, LINE_COS]
    ahead1 += (y1 - line[index, LINE_Y]) * line[index, LINE_SIN]
    if ahead1 <= ahead0:
        return False
    return segments_cross(
        x0 - x1,
        y0 - y1,
        ZERO,
        ZERO,
        line[index, LINE_X0] - x1,
        line[index, LINE_Y0] - y1,
        line[index, LINE_X1] - x1,
        line[index, LINE_Y1] - y1,
    )


@njit
def violation(colour, stopped_at, index):
    """Returns the event of passing a line of that colour: red light, stop sign or none."""
    if colour == RED:
        return EVENT_RED_LIGHT
    if colour == STOP_SIGN and stopped_at != index:
        return EVENT_STOP_SIGN
    return 0


@inline
def forgets_stop(line, index, x, y, reach):
    """Whether a body `reach` metres round (x, y) has left the line where it stood, either way."""
    ahead = (x - line[index, LINE_X]) * line[index, LINE_COS]
    ahead += (y - line[index, LINE_Y]) * line[index, LINE_SIN]
    return ahead > reach or ahead < -reach - STOP_FORGOTTEN


@njit
def line_event(model, data, world, agent, cell, x0, y0, x1, y1):
    """Returns the violation of a bumper that led from (x0, y0) to (x1, y1), 0 for none.

    A line over the agent's own lane decides alone. On a lane without one (the oncoming lane, say)
    the lines of the carriageway count, and one that is not red among them lets the agent pass.

    Args:
        model: Grid, lanes and signs.
        data: Lights, agents and what they moved.
        world: Of the agent.
        agent: Whose bumper.
        cell: Observation cell that the bumper is in.
        x0: Of the bumper before, east [m].
        y0: Of the bumper before, north [m].
        x1: Of the bumper now, east [m].
        y1: Of the bumper now, north [m].
    """
    grid, signs, agents = model.grid, model.signs, data.agents
    first_line = signs.map_line_first[data.worlds.map[world]]
    lane = np.int64(model.lanes.segment_lane[agents.segment[world, agent]])
    own = 0
    own_crossed = False
    other = 0
    other_free = False
    sense = ONE if data.motion.travel[world, agent] > ZERO else -ONE
    cos, sin = sense * agents.cos[world, agent], sense * agents.sin[world, agent]
    z = agents.z[world, agent]
    stopped_at = agents.stopped_at[world, agent]
    for entry in range(grid.guard_first[cell], grid.guard_first[cell + 1]):
        index = np.int64(grid.guard[entry])
        if not crosses_guard(signs.line, index, x0, y0, x1, y1, cos, sin, z):
            continue
        event = violation(data.lights.line_colour[world, index - first_line], stopped_at, index)
        mine = False
        for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
            mine = mine or signs.lane_line[link] == index
        if mine:
            own_crossed = True
            own |= event
        elif event == 0:
            other_free = True
        else:
            other |= event
    if own_crossed:
        return own
    return 0 if other_free else other


@njit
def stands_on_line(grid, signs, map_index, layer, x0, y0, x1, y1, z):
    """Whether a stop line lies between the bumpers of a body on a road.

    The lists of lines reach farther than half a body, so one cell tells.

    Args:
        grid: Of the pool.
        signs: Of the pool.
        map_index: Map of the world.
        layer: Level that the body is on.
        x0: One bumper, east [m].
        y0: The same, north [m].
        x1: The other bumper, east [m].
        y1: The same, north [m].
        z: Elevation of the road below [m].
    """
    cell = cell_at(grid, HALF * (x0 + x1), HALF * (y0 + y1), layer, map_index)
    if cell < 0:
        return False
    cell = observation_cell(cell)
    for entry in range(grid.guard_first[cell], grid.guard_first[cell + 1]):
        line = np.int64(grid.guard[entry])
        if abs(signs.line[line, LINE_Z] - z) < LEVEL_HEIGHT and segments_cross(
            x0,
            y0,
            x1,
            y1,
            signs.line[line, LINE_X0],
            signs.line[line, LINE_Y0],
            signs.line[line, LINE_X1],
            signs.line[line, LINE_Y1],
        ):
            return True
    return False


@njit
def check_stop_lines(model, data, worker, world):
    """Stage: tells who passed a red light or a stop sign without having stopped.

    The bumper that leads counts, the rear one in reverse.
    """
    lanes, grid, signs = model.lanes, model.grid, model.signs
    worlds, agents, bodies = data.worlds, data.agents, data.bodies
    motion, output = data.motion, data.output
    map_index = np.int64(worlds.map[world])
    first_line = np.int64(signs.map_line_first[map_index])
    if signs.map_line_first[map_index + 1] == first_line:
        return
    for agent in range(thread_index(), agents.x.shape[1], block_size()):
        status = agents.status[world, agent]
        if status != PRESENT:
            continue
        half_length = HALF * bodies.length[world, agent]
        to_bumper = half_length if motion.travel[world, agent] >= ZERO else -half_length
        ahead = HALF * bodies.wheelbase[world, agent] + to_bumper
        x1 = agents.x[world, agent] + ahead * agents.cos[world, agent]
        y1 = agents.y[world, agent] + ahead * agents.sin[world, agent]
        x0 = motion.x[world, agent] + ahead * motion.cos[world, agent]
        y0 = motion.y[world, agent] + ahead * motion.sin[world, agent]
        lane = np.int64(lanes.segment_lane[agents.segment[world, agent]])
        layer = np.int64(lanes.segment_layer[agents.segment[world, agent]])
        moved = motion.travel[world, agent] != ZERO
        cell = cell_at(grid, x1, y1, layer, map_index)
        if moved and cell >= 0:
            cell = observation_cell(cell)
            if grid.guard_first[cell] < grid.guard_first[cell + 1]:
                event = line_event(model, data, world, agent, cell, x0, y0, x1, y1)
                output.event[world, agent] |= event

        stopped_at = np.int64(agents.stopped_at[world, agent])
        if stopped_at >= 0:
            x1 -= to_bumper * agents.cos[world, agent]
            y1 -= to_bumper * agents.sin[world, agent]
            if forgets_stop(signs.line, stopped_at, x1, y1, half_length):
                agents.stopped_at[world, agent] = -1
        if abs(agents.speed[world, agent]) > STANDING:
            continue
        note_stop(model, data, world, agent, lane, map_index)


@njit
def note_stop(model, data, world, agent, lane, map_index):
    """Notes the stop line that an agent stands at, also behind short lanes of its way."""
    lanes, routes, signs = model.lanes, model.routes, model.signs
    agents, bodies = data.agents, data.bodies
    first_lane = np.int64(lanes.map_lane_first[map_index])
    num_lanes = np.int64(lanes.map_lane_first[map_index + 1]) - first_lane
    goal_lane = np.int64(bodies.goal_lane[world, agent, agents.goal[world, agent]])
    bend = bodies.max_curvature[world, agent]
    way = -agents.s[world, agent] - HALF * bodies.length[world, agent]
    while way < STOP_ZONE:
        for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
            gap = way + signs.lane_line_s[link]
            if gap > -ONE and gap < STOP_ZONE:
                if agents.stopped_at[world, agent] != signs.lane_line[link]:
                    agents.stop_tick[world, agent] = data.worlds.tick[world]
                agents.stopped_at[world, agent] = signs.lane_line[link]
                return
        way += max(lanes.length[lane], SHORT)
        lane = next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes)
        if lane < 0:
            return
