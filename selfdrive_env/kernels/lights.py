"""Traffic lights and stop lines.

Every signalised junction runs through its groups, green, yellow, all red, next group, with phase
lengths drawn anew each time. Groups of one junction are never green together. A group for which the
map states a cycle follows that instead, by a clock that all lights of a world share.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import inline, njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.collision import LEVEL_HEIGHT
from selfdrive_env.kernels.math.geometry import HALF, ONE, ZERO, segments_cross
from selfdrive_env.kernels.math.random import DRAW_LIGHTS, uniform, uniforms
from selfdrive_env.kernels.road import next_lane
from selfdrive_env.kernels.surface import cell_at, observation_cell
from selfdrive_env.state.params import FILE_LIGHTS, FIXED_LIGHTS
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
    ABSENT,
    EVENT_RED_LIGHT,
    EVENT_STOP_SIGN,
    GREEN,
    HALTED,
    LIGHTS_GREEN,
    LIGHTS_OFF,
    LIGHTS_ON,
    NO_LIGHT,
    PHASE_GREEN,
    PHASE_RED,
    PHASE_YELLOW,
    RED,
    STOP_SIGN,
    YELLOW,
)

__all__ = ["advance_lights", "check_stop_lines", "draw_lights", "stands_on_line"]

GREEN_LOW, GREEN_HIGH, GREEN_FIXED = np.float32(1.0), np.float32(10.0), np.float32(10.0)  # [s]
YELLOW_LOW, YELLOW_HIGH, YELLOW_FIXED = np.float32(1.5), np.float32(2.25), np.float32(3.0)  # [s]
ALL_RED_LOW, ALL_RED_HIGH, ALL_RED_FIXED = np.float32(0.3), np.float32(10.0), np.float32(2.0)  # [s]
NANOSECONDS = 1.0e9  # [ns/s]
MILLISECOND = 1_000_000  # [ns]
LATEST_START = np.float32(3.6e6)  # of the clock, an hour [ms]
STANDING = np.float32(0.3)  # [m/s]
STOP_ZONE = np.float32(6.0)  # [m]
STOP_FORGOTTEN = np.float32(12.0)  # before a line, straight [m]
SHORT = np.float32(0.5)  # [m]
DRAW_GROUP_DARK = 0x4000
DRAW_LINE_DARK = 0x8000


@njit
def phase_length(phase, unit, drawn):
    """Returns the length of a phase, drawn by a number in [0, 1) or fixed [s]."""
    if phase == PHASE_GREEN:
        return uniform(GREEN_LOW, GREEN_HIGH, unit) if drawn else GREEN_FIXED
    if phase == PHASE_YELLOW:
        return uniform(YELLOW_LOW, YELLOW_HIGH, unit) if drawn else YELLOW_FIXED
    return uniform(ALL_RED_LOW, ALL_RED_HIGH, unit) if drawn else ALL_RED_FIXED


@njit
def draw_lights(model, data, world):
    """Draws which lights of a world work and where in its cycle each junction starts."""
    params, signs = model.params, model.signs
    lights, worlds = data.lights, data.worlds
    key0 = worlds.key[world, 0]
    key1 = worlds.key[world, 1]
    stream = worlds.stream[world]
    tick = worlds.tick[world]
    map_index = worlds.map[world]
    removal = np.float32(params.light_removal)

    mode, start, _, _ = uniforms(key0, key1, stream, -1, tick, DRAW_LIGHTS, 0xFFFF)
    worlds.light_start[world] = np.uint32(start * LATEST_START)
    off = np.float32(params.lights_off)
    worlds.light_mode[world] = LIGHTS_ON
    if mode < off:
        worlds.light_mode[world] = LIGHTS_OFF
    elif mode < off + np.float32(params.lights_green):
        worlds.light_mode[world] = LIGHTS_GREEN

    for group in range(signs.map_group_first[map_index + 1] - signs.map_group_first[map_index]):
        dark, _, _, _ = uniforms(key0, key1, stream, -1, tick, DRAW_LIGHTS, DRAW_GROUP_DARK + group)
        lights.group_dark[world, group] = dark < removal
    for line in range(signs.map_line_first[map_index + 1] - signs.map_line_first[map_index]):
        dark, _, _, _ = uniforms(key0, key1, stream, -1, tick, DRAW_LIGHTS, DRAW_LINE_DARK + line)
        lights.line_dark[world, line] = dark < removal

    first = signs.map_program_first[map_index]
    for program in range(signs.map_program_first[map_index + 1] - first):
        begin = signs.program_first[first + program]
        count = signs.program_first[first + program + 1] - begin
        a, b, c, _ = uniforms(key0, key1, stream, -1, tick, DRAW_LIGHTS, program)
        lights.turn[world, program] = min(np.int64(a * np.float32(count)), count - 1)
        lights.phase[world, program] = PHASE_GREEN
        lights.remaining[world, program] = (
            phase_length(PHASE_GREEN, b, params.light_timing != FIXED_LIGHTS) * c
        )
    show_lights(model, data, world)


@njit
def show_turn(model, data, world, program, turn):
    """Writes the colours of one group of a program, and of its stop lines, from its phase."""
    signs = model.signs
    lights, worlds = data.lights, data.worlds
    begin = signs.program_first[signs.map_program_first[worlds.map[world]] + program]
    phase = lights.phase[world, program]
    group = np.int64(signs.program_group[begin + turn])
    if has_cycle(model, group):
        return
    colour = RED
    if turn == lights.turn[world, program] and phase != PHASE_RED:
        colour = GREEN if phase == PHASE_GREEN else YELLOW
    show_group(model, data, world, group, colour)


@njit
def has_cycle(model, group):
    """Whether a group follows the cycle that the map states."""
    first = model.signs.cycle_first
    return model.params.light_timing == FILE_LIGHTS and first[group + 1] > first[group]


@njit
def show_group(model, data, world, group, colour):
    """Writes the colour of a group and of its stop lines."""
    signs = model.signs
    lights, worlds = data.lights, data.worlds
    map_index = worlds.map[world]
    first_group = signs.map_group_first[map_index]
    first_line = signs.map_line_first[map_index]
    mode = worlds.light_mode[world]
    lights.group_colour[world, group - first_group] = colour
    if mode == LIGHTS_GREEN:
        colour = GREEN
    dark = lights.group_dark[world, group - first_group] != 0 or mode == LIGHTS_OFF
    for entry in range(signs.group_line_first[group], signs.group_line_first[group + 1]):
        line = signs.group_line[entry] - first_line
        hidden = dark or lights.line_dark[world, line] != 0
        lights.line_colour[world, line] = NO_LIGHT if hidden else colour


@njit
def show_cycles(model, data, world, ahead):
    """Writes the colours of the groups that follow a cycle, where they have changed.

    A phase ends at the step that is nearest to its end.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        ahead: Steps after the one that the world's clock shows.
    """
    params, signs = model.params, model.signs
    worlds = data.worlds
    map_index = worlds.map[world]
    first = np.int64(signs.map_group_first[map_index])
    last = np.int64(signs.map_group_first[map_index + 1])
    if params.light_timing != FILE_LIGHTS or signs.cycle_first[first] == signs.cycle_first[last]:
        return
    dt = np.int64(np.float64(params.dt) * NANOSECONDS)
    now = np.int64(worlds.light_start[world]) * MILLISECOND + dt // 2
    now += (np.int64(worlds.clock[world]) + ahead) * dt
    for group in range(first + thread_index(), last, block_size()):
        begin, end = np.int64(signs.cycle_first[group]), np.int64(signs.cycle_first[group + 1])
        if begin == end:
            continue
        place = (now + signs.cycle_offset[group]) % signs.cycle_end[end - 1]
        phase = begin
        while signs.cycle_end[phase] <= place:
            phase += 1
        colour = signs.cycle_colour[phase]
        if ahead == 0 or colour != data.lights.group_colour[world, group - first]:
            show_group(model, data, world, group, colour)


@njit
def show_lights(model, data, world):
    """Writes the colours of all groups and stop lines."""
    signs = model.signs
    lights, worlds = data.lights, data.worlds
    map_index = worlds.map[world]
    first = signs.map_program_first[map_index]
    for program in range(signs.map_program_first[map_index + 1] - first):
        begin = signs.program_first[first + program]
        for turn in range(signs.program_first[first + program + 1] - begin):
            show_turn(model, data, world, program, turn)
    show_cycles(model, data, world, 0)
    first_line = signs.map_line_first[map_index]
    for line in range(signs.map_line_first[map_index + 1] - first_line):
        if signs.line_group[first_line + line] < 0:
            lights.line_colour[world, line] = STOP_SIGN


@njit
def advance_lights(model, data, worker, world):
    """Stage: moves the programs of a world on by one step."""
    params, signs = model.params, model.signs
    lights, worlds = data.lights, data.worlds
    map_index = worlds.map[world]
    first = signs.map_program_first[map_index]
    num_programs = signs.map_program_first[map_index + 1] - first
    show_cycles(model, data, world, 1)
    dt = np.float32(params.dt)
    half_step = HALF * dt  # a phase ends at the step that is nearest, and the next makes up for it
    remaining = lights.remaining[world]
    due = np.int64(0)
    for program in range(thread_index(), num_programs, block_size()):
        remaining[program] -= dt
        due += remaining[program] <= half_step
    if due == 0:
        return
    for program in range(thread_index(), num_programs, block_size()):
        if remaining[program] > half_step:
            continue
        phase = lights.phase[world, program] + 1
        if phase > PHASE_RED:
            phase = PHASE_GREEN
            begin = signs.program_first[first + program]
            count = signs.program_first[first + program + 1] - begin
            lights.turn[world, program] = (lights.turn[world, program] + 1) % count
        unit, _, _, _ = uniforms(
            worlds.key[world, 0],
            worlds.key[world, 1],
            worlds.stream[world],
            -1,
            worlds.tick[world],
            DRAW_LIGHTS,
            program,
        )
        lights.phase[world, program] = phase
        remaining[program] += phase_length(phase, unit, params.light_timing != FIXED_LIGHTS)
        # The group whose turn it is is the only one that is not red, before and after.
        show_turn(model, data, world, program, lights.turn[world, program])


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
def stands_on_line(signs, map_index, x0, y0, x1, y1, z):
    """Whether a stop line of a map lies between the bumpers (x0, y0) and (x1, y1) [m]."""
    for line in range(signs.map_line_first[map_index], signs.map_line_first[map_index + 1]):
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
        if status in (ABSENT, HALTED):
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
                agents.stopped_at[world, agent] = signs.lane_line[link]
                return
        way += max(lanes.length[lane], SHORT)
        lane = next_lane(lanes, routes, lane, goal_lane, bend, first_lane, num_lanes)
        if lane < 0:
            return
