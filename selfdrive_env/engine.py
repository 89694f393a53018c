"""The order of a step, and the buffers it works on.

lights -> drivers -> dynamics -> road -> collision -> stop lines -> route -> metrics -> reward ->
last observation of finished rows -> placing -> observation. One compiled `step_world` is that list;
the CPU loops it over ranges of worlds on threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfdrive_env.arrays import F32, U8, allocate
from selfdrive_env.config import Settings, make_draws, make_layout, make_params
from selfdrive_env.kernels.clock import STAGES, cycles, stamp
from selfdrive_env.kernels.collision import collide
from selfdrive_env.kernels.drivers import drive
from selfdrive_env.kernels.dynamics import advance_bodies
from selfdrive_env.kernels.lights import advance_lights, check_stop_lines
from selfdrive_env.kernels.metrics import measure
from selfdrive_env.kernels.observation import observe_wanted, row_length
from selfdrive_env.kernels.parallel import cached, entry, njit, run
from selfdrive_env.kernels.path import MAX_PATH_POINTS, PATH_INFO
from selfdrive_env.kernels.pointers import Table, struct_at
from selfdrive_env.kernels.reward import give_rewards
from selfdrive_env.kernels.road import locate_agents
from selfdrive_env.kernels.route import follow_routes
from selfdrive_env.kernels.spawn import draw_world, place_agent
from selfdrive_env.maps.compile import CompiledMap, pool
from selfdrive_env.params import Counts, Draws, Params
from selfdrive_env.state import (
    ABSENT,
    HALTED,
    MAX_GOALS,
    NUM_COUNTS,
    NUM_TERMS,
    NUM_WEIGHTS,
    PRESENT,
    Agents,
    Bodies,
    Grid,
    Lanes,
    Lights,
    Motion,
    Output,
    Routes,
    Rows,
    Scratch,
    Signs,
    Tallies,
    Worlds,
)

__all__ = ["STATE_STRUCTS", "Engine"]

NEXT_STEP, SAME_STEP, DISABLED = range(3)
STATE_STRUCTS = ("worlds", "lights", "agents", "bodies", "tallies")
"""What a state is made of; the other structs are recomputed by each step."""


@njit
def finish_rows(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
    output, rows, scratch, worker, world,
):  # fmt: skip
    """Stage: rewards and flags of all rows, last observation and tallies of finished ones."""
    any_done = False
    for agent in range(agents.x.shape[1]):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        if row < 0:
            continue
        live = agents.status[world, agent] != ABSENT
        rows.reward[row] = output.reward[world, agent]
        rows.terminated[row] = output.terminated[world, agent]
        rows.truncated[row] = output.truncated[world, agent]
        done = output.terminated[world, agent] or output.truncated[world, agent]
        if not live or not done:
            continue
        for term in range(NUM_TERMS):
            rows.final_term[row, term] = tallies.term[world, agent, term]
        for count in range(NUM_COUNTS):
            rows.final_count[row, count] = tallies.count[world, agent, count]
        rows.final_distance[row] = tallies.distance[world, agent]
        rows.final_age[row] = agents.age[world, agent]
        scratch.wanted[worker, agent] = 2 if params.autoreset == SAME_STEP else 1
        any_done = True
    if any_done:
        observe_wanted(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            rows, scratch, worker, world,
        )  # fmt: skip


@njit
def place_agents(
    params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
    world,
):  # fmt: skip
    """Stage: re-places finished agents, or takes them out until they are due."""
    if worlds.ended[world] and params.autoreset == SAME_STEP:
        draw_world(
            params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
            output, world, False,
        )  # fmt: skip
        return
    for agent in range(worlds.num_agents[world]):
        done = output.terminated[world, agent] or output.truncated[world, agent]
        waited = output.waits[world, agent] != 0
        own_row = bodies.row[world, agent] >= 0
        if done and own_row and params.autoreset != SAME_STEP:
            agents.status[world, agent] = ABSENT
            output.waits[world, agent] = 1
            continue
        due = done or (waited and (not own_row or params.autoreset != DISABLED))
        if not due or worlds.ended[world]:
            continue
        output.waits[world, agent] = not place_agent(
            params, draws, lanes, routes, grid, signs, worlds, agents, bodies, tallies, world, agent
        )


@njit
def observe_rows(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, output,
    rows, scratch, worker, world,
):  # fmt: skip
    """Stage: observations of all rows whose agent is in the world, and their masks."""
    for agent in range(agents.x.shape[1]):
        scratch.wanted[worker, agent] = 0
        row = bodies.row[world, agent]
        if row < 0:
            continue
        status = agents.status[world, agent]
        rows.valid[row] = status != ABSENT
        same_step = params.autoreset == SAME_STEP
        kept = output.terminated[world, agent] or output.truncated[world, agent]
        placed = not same_step and status != ABSENT and agents.age[world, agent] == 0
        drives = status == PRESENT or (kept and not same_step)
        rows.learn[row] = drives and not placed and bodies.erratic[world, agent] == 0
        if status != ABSENT:
            scratch.wanted[worker, agent] = 1
            continue
        if kept and not same_step:
            rows.valid[row] = 1
        if same_step or not (kept or output.waits[world, agent]):
            for feature in range(rows.observation.shape[1]):
                rows.observation[row, feature] = 0
    observe_wanted(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, rows,
        scratch, worker, world,
    )  # fmt: skip


@njit
def begin_step(agents, output, scratch, worker, world):
    """Clears the events and notes who was halted before."""
    for agent in range(agents.x.shape[1]):
        output.event[world, agent] = 0
        scratch.halted[worker, agent] = agents.status[world, agent] == HALTED


@njit
def step_world(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, motion,
    tallies, output, rows, scratch, worker, world,
):  # fmt: skip
    """Advances one world by one step."""
    worlds.tick[world] += np.uint32(1)
    if worlds.ended[world]:
        restart_world(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            tallies, output, rows, scratch, worker, world,
        )  # fmt: skip
        return
    begin_step(agents, output, scratch, worker, world)
    now = cycles()
    advance_lights(params, signs, lights, worlds, world)
    now = stamp(scratch, worker, 0, now)
    drive(
        params, lanes, routes, signs, lights, worlds, agents, bodies, motion, scratch, worker, world
    )
    now = stamp(scratch, worker, 1, now)
    advance_bodies(params, agents, bodies, motion, world)
    now = stamp(scratch, worker, 2, now)
    locate_agents(lanes, routes, grid, worlds, agents, bodies, motion, output, world)
    now = stamp(scratch, worker, 3, now)
    collide(agents, bodies, motion, output, scratch, worker, world)
    now = stamp(scratch, worker, 4, now)
    check_stop_lines(lanes, grid, signs, lights, worlds, agents, bodies, motion, output, world)
    now = stamp(scratch, worker, 5, now)
    follow_routes(params, lanes, routes, worlds, agents, bodies, motion, output, world)
    now = stamp(scratch, worker, 6, now)
    measure(params, lanes, worlds, agents, motion, tallies, output, world)
    now = stamp(scratch, worker, 7, now)
    give_rewards(
        params, lanes, agents, bodies, motion, tallies, output, scratch.halted[worker], world
    )
    now = stamp(scratch, worker, 8, now)
    finish_rows(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
        output, rows, scratch, worker, world,
    )  # fmt: skip
    now = stamp(scratch, worker, 9, now)
    place_agents(
        params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
        world,
    )  # fmt: skip
    now = stamp(scratch, worker, 10, now)
    observe_rows(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, output,
        rows, scratch, worker, world,
    )  # fmt: skip
    now = stamp(scratch, worker, 11, now)


@njit
def restart_world(
    params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
    output, rows, scratch, worker, world,
):  # fmt: skip
    """The step after the end of a world whose rows waited (NextStep): it is drawn anew."""
    for agent in range(agents.x.shape[1]):
        output.event[world, agent] = 0
        output.terminated[world, agent] = 0
        output.truncated[world, agent] = 0
        output.reward[world, agent] = 0
        for term in range(NUM_TERMS):
            output.term[world, agent, term] = 0
            output.weighted[world, agent, term] = 0
        row = bodies.row[world, agent]
        if row >= 0:
            rows.reward[row] = 0
            rows.terminated[row] = 0
            rows.truncated[row] = 0
    if params.autoreset != NEXT_STEP:
        return
    draw_world(
        params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies, output,
        world, False,
    )  # fmt: skip
    observe_rows(
        params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, output,
        rows, scratch, worker, world,
    )  # fmt: skip


@entry
def step_worlds(tables, worker, first, last):
    """Advances worlds first to last - 1."""
    params, counts, draws = (
        struct_at(Params, tables[0]), struct_at(Counts, tables[1]), struct_at(Draws, tables[2])
    )  # fmt: skip
    lanes, routes, grid, signs = (
        struct_at(Lanes, tables[3]), struct_at(Routes, tables[4]), struct_at(Grid, tables[5]),
        struct_at(Signs, tables[6]),
    )  # fmt: skip
    lights, worlds, agents, bodies = (
        struct_at(Lights, tables[7]), struct_at(Worlds, tables[8]), struct_at(Agents, tables[9]),
        struct_at(Bodies, tables[10]),
    )  # fmt: skip
    motion, tallies, output, rows, scratch = (
        struct_at(Motion, tables[11]), struct_at(Tallies, tables[12]),
        struct_at(Output, tables[13]), struct_at(Rows, tables[14]), struct_at(Scratch, tables[15]),
    )  # fmt: skip
    for world in range(first, last):
        step_world(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            motion, tallies, output, rows, scratch, worker, world,
        )  # fmt: skip


@entry
def reset_worlds(tables, chosen, whole, staggered, worker, first, last):
    """Resets slots of worlds first to last - 1: those `chosen` [W, A], all where `whole` [W].

    With `staggered` the clocks of whole worlds get their head start.
    """
    params, counts, draws = (
        struct_at(Params, tables[0]), struct_at(Counts, tables[1]), struct_at(Draws, tables[2])
    )  # fmt: skip
    lanes, routes, grid, signs = (
        struct_at(Lanes, tables[3]), struct_at(Routes, tables[4]), struct_at(Grid, tables[5]),
        struct_at(Signs, tables[6]),
    )  # fmt: skip
    lights, worlds, agents, bodies = (
        struct_at(Lights, tables[7]), struct_at(Worlds, tables[8]), struct_at(Agents, tables[9]),
        struct_at(Bodies, tables[10]),
    )  # fmt: skip
    tallies, output, rows, scratch = (
        struct_at(Tallies, tables[12]), struct_at(Output, tables[13]), struct_at(Rows, tables[14]),
        struct_at(Scratch, tables[15]),
    )  # fmt: skip
    for world in range(first, last):
        touched = whole[world] != 0
        for agent in range(agents.x.shape[1]):
            touched = touched or chosen[world, agent] != 0
        if not touched:
            continue
        if whole[world]:
            draw_world(
                params, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies, tallies,
                output, world, staggered,
            )  # fmt: skip
        for agent in range(agents.x.shape[1]):
            if not chosen[world, agent] and not (whole[world] and bodies.row[world, agent] < 0):
                ended = output.terminated[world, agent] or output.truncated[world, agent]
                if whole[world] and ended:
                    agents.status[world, agent] = ABSENT
                    output.waits[world, agent] = agent < worlds.num_agents[world]
                continue
            output.terminated[world, agent] = 0
            output.truncated[world, agent] = 0
            output.event[world, agent] = 0
            if not whole[world] and agent < worlds.num_agents[world]:
                output.waits[world, agent] = not place_agent(
                    params, draws, lanes, routes, grid, signs, worlds, agents, bodies, tallies,
                    world, agent,
                )  # fmt: skip
        for agent in range(agents.x.shape[1]):
            scratch.wanted[worker, agent] = 0
            row = bodies.row[world, agent]
            fresh = whole[world] and not output.waits[world, agent]
            if row < 0 or not (chosen[world, agent] or fresh):
                continue
            status = agents.status[world, agent]
            rows.valid[row] = status != ABSENT
            rows.learn[row] = status != ABSENT and bodies.erratic[world, agent] == 0
            if status != ABSENT:
                scratch.wanted[worker, agent] = 1
                continue
            for feature in range(rows.observation.shape[1]):
                rows.observation[row, feature] = 0
        observe_wanted(
            params, counts, draws, lanes, routes, grid, signs, lights, worlds, agents, bodies,
            rows, scratch, worker, world,
        )  # fmt: skip


class Engine:
    """A batch of worlds: buffers, and the two compiled entry points on them."""

    def __init__(
        self,
        settings: Settings,
        maps: Sequence[CompiledMap],
        num_worlds: int,
        driver: U8,
        learner: U8,
    ) -> None:
        """Makes the buffers.

        Args:
            settings: The settings.
            maps: The pool of maps.
            num_worlds: Worlds of this batch.
            driver: Driver of each slot, [A].
            learner: Whether each slot is a row, [A].
        """
        self.settings = settings
        self.num_worlds = num_worlds
        self.num_slots = len(driver)
        self.maps = list(maps)
        self.params = make_params(settings)
        self.layout = make_layout(settings.layout)
        self.counts = self.layout.counts
        self.draws = make_draws(settings, driver, learner)
        self.lanes, self.routes, self.grid, self.signs = pool(self.maps)

        signs = self.signs
        sizes = {
            "world": num_worlds,
            "agent": self.num_slots,
            "agent+1": self.num_slots + 1,
            "goal": MAX_GOALS,
            "weight": NUM_WEIGHTS,
            "term": NUM_TERMS,
            "count": NUM_COUNTS,
            "program": int(np.diff(signs.map_program_first).max(initial=1)),
            "group": int(np.diff(signs.map_group_first).max(initial=1)),
            "line": int(np.diff(signs.map_line_first).max(initial=1)),
            "row": num_worlds * int(np.count_nonzero(learner)),
            "feature": row_length(*self.counts),
            "worker": settings.threads,
            "slot": max(self.counts.agents, 1),
            "point": MAX_PATH_POINTS,
            "info": PATH_INFO,
            "stage": len(STAGES),
        }
        self.worlds = allocate(Worlds, **sizes)
        self.lights = allocate(Lights, **sizes)
        self.agents = allocate(Agents, **sizes)
        self.bodies = allocate(Bodies, **sizes)
        self.motion = allocate(Motion, **sizes)
        self.tallies = allocate(Tallies, **sizes)
        self.output = allocate(Output, **sizes)
        self.rows = allocate(Rows, **sizes)
        self.scratch = allocate(Scratch, **sizes)

        structs = (
            self.params, self.counts, self.draws, self.lanes, self.routes, self.grid, self.signs,
            self.lights, self.worlds, self.agents, self.bodies, self.motion, self.tallies,
            self.output, self.rows, self.scratch,
        )  # fmt: skip
        self.tables = [Table(struct) for struct in structs]
        self.addresses = np.array([table.address for table in self.tables], np.int64)

        row = np.full(self.num_slots, -1, np.int64)
        row[learner != 0] = np.arange(np.count_nonzero(learner))
        base = np.arange(num_worlds)[:, None] * np.count_nonzero(learner)
        self.bodies.row[:] = np.where(row >= 0, base + row, -1)
        self.bodies.driver[:] = driver
        self.bodies.learner[:] = learner
        number = settings.world_offset + np.arange(num_worlds)
        self.worlds.number[:] = number.astype(np.uint32)
        self.worlds.stream[:] = self.worlds.number

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts the random numbers: one seed for all worlds, or one each.

        Args:
            seed: A number of 64 bits, or [W] of them.
        """
        self.worlds.tick[:] = 0
        if isinstance(seed, int | np.integer):
            seeds = [int(seed)] * self.num_worlds
            self.worlds.stream[:] = self.worlds.number
        else:
            seeds = [int(s) for s in seed]
            self.worlds.stream[:] = 0
        self.worlds.key[:, 0] = [s & 0xFFFFFFFF for s in seeds]
        self.worlds.key[:, 1] = [(s >> 32) & 0xFFFFFFFF for s in seeds]

    def reset(self, chosen: U8, whole: U8, *, staggered: bool) -> None:
        """Starts new episodes of the chosen slots.

        Args:
            chosen: [W, A].
            whole: Worlds to draw anew, [W].
            staggered: Whether their clocks get a head start.
        """
        touched = chosen.any(1) | (whole != 0)
        self.worlds.tick[touched] += np.uint32(1)
        run(
            _reset_worlds(), self.num_worlds, self.settings.threads,
            self.addresses, chosen, whole, staggered,
        )  # fmt: skip

    def step(self, jerk: F32) -> None:
        """Advances all worlds by one step.

        Args:
            jerk: Commanded longitudinal and lateral jerk, [W, A, 2] [m/s^3]; scripted drivers
                overwrite their own.
        """
        self.motion.jerk[:] = jerk
        run(
            _step_worlds(), self.num_worlds, self.settings.threads,
            self.addresses,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Returns copies of all arrays that make up the state, by "struct.field"."""
        return {
            f"{name}.{key}": value.copy()
            for name in STATE_STRUCTS
            for key, value in getattr(self, name)._asdict().items()
        }

    def index_range(self, entry: str) -> tuple[float, float]:
        """Returns the least and largest value of a state entry; kernels index by some of them.

        Args:
            entry: As in `state`, "struct.field".
        """
        lanes = len(self.lanes.length)
        last = {
            "worlds.map": len(self.maps) - 1,
            "worlds.num_agents": self.num_slots,
            "agents.segment": len(self.lanes.segment) - 1,
            "agents.goal": MAX_GOALS,
            "agents.status": HALTED,
            "bodies.goal_lane": lanes - 1,
            "bodies.num_goals": MAX_GOALS,
            "bodies.row": len(self.rows.reward) - 1,
        }
        return (-1.0 if entry in last else -np.inf), float(last.get(entry, np.inf))


_compiled: dict[str, Any] = {}


def _step_worlds() -> Any:
    if "step" not in _compiled:
        _compiled["step"] = cached(step_worlds)
    return _compiled["step"]


def _reset_worlds() -> Any:
    if "reset" not in _compiled:
        _compiled["reset"] = cached(reset_worlds)
    return _compiled["reset"]
