"""Traffic lights.

Every signalised junction runs through its groups, green, yellow, all red, next group, with phase
lengths drawn anew each time. Groups of one junction are never green together. A group for which the
map states a cycle follows that instead, by a clock that all lights of a world share. In a scene
with a record of its lights they show what was recorded.
"""

from __future__ import annotations

import numpy as np

from selfdrive_env.compiler.njit import njit
from selfdrive_env.compiler.threads import block_size, thread_index
from selfdrive_env.kernels.math.geometry import HALF
from selfdrive_env.kernels.math.random import DRAW_LIGHTS, uniform, uniforms
from selfdrive_env.state.params import FILE_LIGHTS, FIXED_LIGHTS, NO_SCENES
from selfdrive_env.state.world import (
    GREEN,
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

__all__ = ["advance_lights", "draw_lights"]

GREEN_LOW, GREEN_HIGH, GREEN_FIXED = np.float32(1.0), np.float32(10.0), np.float32(10.0)  # [s]
YELLOW_LOW, YELLOW_HIGH, YELLOW_FIXED = np.float32(1.5), np.float32(2.25), np.float32(3.0)  # [s]
ALL_RED_LOW, ALL_RED_HIGH, ALL_RED_FIXED = np.float32(0.3), np.float32(10.0), np.float32(2.0)  # [s]
MILLISECOND = 1_000_000  # [ns]
LATEST_START = np.float32(3.6e6)  # of the clock, an hour [ms]
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
        lights.line_tick[world, line] = tick

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
        shown = NO_LIGHT if dark or lights.line_dark[world, line] != 0 else colour
        if lights.line_colour[world, line] != shown:
            lights.line_colour[world, line] = shown
            lights.line_tick[world, line] = worlds.tick[world]


@njit
def show_cycles(model, data, world, ahead, thread, threads):
    """Writes the colours of the groups that follow a cycle, where they have changed.

    A phase ends at the step that is nearest to its end.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        ahead: Steps after the one that the world's clock shows.
        thread: Which of the threads calls; each has groups of its own.
        threads: How many call.
    """
    params, signs = model.params, model.signs
    worlds = data.worlds
    map_index = worlds.map[world]
    first = np.int64(signs.map_group_first[map_index])
    last = np.int64(signs.map_group_first[map_index + 1])
    if params.light_timing != FILE_LIGHTS or signs.cycle_first[first] == signs.cycle_first[last]:
        return
    dt = worlds.dt_ns[world]
    now = np.int64(worlds.light_start[world]) * MILLISECOND + dt // 2
    now += (np.int64(worlds.clock[world]) + ahead) * dt
    for group in range(first + thread, last, threads):
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
def show_record(model, data, world, ahead, thread, threads):
    """Writes the colours of stop lines as a scene has them; returns whether it has.

    Args:
        model: Of the batch.
        data: Of the batch.
        world: Which.
        ahead: Moments after the one that the world's clock shows.
        thread: Which of the threads calls; each has lines of its own.
        threads: How many call.
    """
    scenes, lights, worlds = model.scenes, data.lights, data.worlds
    if model.params.scene_order == NO_SCENES or scenes.num_lines[worlds.scene[world]] == 0:
        return False
    scene = np.int64(worlds.scene[world])
    moment = min(np.int64(worlds.clock[world]) + ahead, scenes.line_colour.shape[2] - 1)
    for line in range(thread, scenes.num_lines[scene], threads):
        shown = scenes.line_colour[scene, line, moment]
        if lights.line_colour[world, line] != shown:
            lights.line_colour[world, line] = shown
            lights.line_tick[world, line] = worlds.tick[world]
    return True


@njit
def show_lights(model, data, world):
    """Writes the colours of all groups and stop lines; one thread does it."""
    signs = model.signs
    lights, worlds = data.lights, data.worlds
    map_index = worlds.map[world]
    first = signs.map_program_first[map_index]
    for program in range(signs.map_program_first[map_index + 1] - first):
        begin = signs.program_first[first + program]
        for turn in range(signs.program_first[first + program + 1] - begin):
            show_turn(model, data, world, program, turn)
    show_cycles(model, data, world, 0, 0, 1)
    first_line = signs.map_line_first[map_index]
    for line in range(signs.map_line_first[map_index + 1] - first_line):
        if signs.line_group[first_line + line] < 0:
            lights.line_colour[world, line] = STOP_SIGN
    show_record(model, data, world, 0, 0, 1)


@njit
def advance_lights(model, data, worker, world):
    """Stage: moves the programs of a world on by one step."""
    params, signs = model.params, model.signs
    lights, worlds = data.lights, data.worlds
    map_index = worlds.map[world]
    first = signs.map_program_first[map_index]
    num_programs = signs.map_program_first[map_index + 1] - first
    if show_record(model, data, world, 1, thread_index(), block_size()):
        return
    show_cycles(model, data, world, 1, thread_index(), block_size())
    dt = worlds.dt[world]
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
