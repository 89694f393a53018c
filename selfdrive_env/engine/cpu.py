"""A batch of worlds: its buffers, and the compiled function that works on them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.compiler.cache import cached
from selfdrive_env.compiler.simd import padded
from selfdrive_env.compiler.structs import Table
from selfdrive_env.compiler.workers import ARGUMENTS, run
from selfdrive_env.config.choices import acts_in_units
from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.observation import ROUTE_DISTANCES, row_length
from selfdrive_env.config.params import make_draws, make_params
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.buffers import Recycler, check_memory, pass_cache, sparse_zeros
from selfdrive_env.engine.next_maps import due_worlds, maps_drawn, steps_to_go
from selfdrive_env.engine.pictures import PICTURES, ViewPlan, Views
from selfdrive_env.engine.states import as_array, check_maps, check_values
from selfdrive_env.kernels.drivers.path_info import MAX_PATH_POINTS, PATH_INFO
from selfdrive_env.kernels.observation.crowd import CROWD_COLUMNS, CROWD_PLANES
from selfdrive_env.kernels.observation.kept_way import (
    CHUNKS,
    KEY_WORDS,
    MARK_PLACES,
    MOST_LANES,
    MOST_MARKS,
    NUMBERS,
    STRETCH_NUMBERS,
)
from selfdrive_env.kernels.observation.neighbours import SEEN_PLANES
from selfdrive_env.kernels.observation.way import (
    NOTES,
    ROUTE_COLUMNS,
    ROUTE_LINES,
    WAY_COLUMNS,
    WAY_ROOM,
)
from selfdrive_env.kernels.step import HOOKS, RESET, STAGES, STAGGERED, STEP, TASK, run_worlds
from selfdrive_env.maps.pool.kept_map import AnyMap
from selfdrive_env.maps.pool.map_pool import MapPool
from selfdrive_env.state.arrays import F32, U8, allocate, axes, nbytes
from selfdrive_env.state.model import Data, Model, Scenes
from selfdrive_env.state.params import SceneOrder
from selfdrive_env.state.rewards import NUM_TERMS, NUM_WEIGHTS
from selfdrive_env.state.road import Grid, Lanes, Routes, Signs
from selfdrive_env.state.scratch import Scratch
from selfdrive_env.state.world import (
    ACTIONS_CHOOSE,
    ACTIONS_KEEP,
    ACTIONS_SCALE,
    ACTIONS_SET,
    EXTERNAL,
    MAX_GOALS,
    NUM_COUNTS,
    Actions,
    Agents,
    Bodies,
    Lights,
    Motion,
    Output,
    Rows,
    Tallies,
    Worlds,
)

__all__ = ["BATCH_STRUCTS", "STATE_STRUCTS", "Engine", "compiled_worlds"]

STATE_STRUCTS = ("worlds", "lights", "agents", "bodies", "tallies")
"""What a state is made of; the other structs are recomputed by each step."""

SHOWN_OUTPUT = ("awaiting_reset", "terminated", "truncated")
"""Fields of `Output` that a state has beside these."""

CACHED_MAP = 10 * 2**20
"""Maps of more bytes are read ahead of their use."""

LARGE_BUFFER = 64 * 2**20
"""Buffers of more bytes are not kept for rows that few agents need at a time."""

NO_SCENE = {axis: 1 for names, _ in axes(Scenes).values() for axis in names}
"""Lengths of the axes of `Scenes` where there are none."""

CACHE_LINE_PAD = 128
"""Bytes from what one thread writes to the next one's: threads that write to one cache line, or
to neighbours, wait for each other."""

BATCH_STRUCTS = tuple(get_type_hints(Data).values())
"""Structs that a batch has of its own."""


class Engine:
    """A batch of worlds: buffers, and the compiled function that works on them."""

    def __init__(
        self,
        settings: Settings,
        maps: Sequence[AnyMap],
        num_worlds: int,
        driver: U8,
        learner: U8,
        scenes: Scenes | None = None,
        scene_order: SceneOrder = SceneOrder.NONE,
        num_scenes: int | None = None,
        views: Sequence[ViewPlan] = (),
    ) -> None:
        """Makes the buffers.

        Args:
            settings: The settings.
            maps: The pool of maps; those that are kept are read when a world is drawn on them.
            num_worlds: Worlds of this batch.
            driver: Driver of each slot, [A].
            learner: Whether the caller drives, or learns from, each slot, [A]. Learners have rows,
                and so have co-drivers: slots that listen to actions (`EXTERNAL`) and are none.
            scenes: What worlds are drawn from, on maps of the pool; None for random worlds.
            scene_order: In which order they come.
            num_scenes: How many of them come, None for all.
            views: Pictures that learners observe.
        """
        self.settings = settings
        self.num_worlds = num_worlds
        self.num_slots = len(driver)
        self.pool = MapPool(maps)
        has_row = (learner != 0) | (driver == EXTERNAL)
        self.params = make_params(settings, co_drivers=bool(has_row[learner == 0].any()))
        self.layout = make_layout(settings.layout)
        self.counts = self.layout.counts
        self.draws = make_draws(settings, driver, learner)
        self.scenes = allocate(Scenes, **NO_SCENE) if scenes is None else scenes
        if scenes is not None:
            count = len(scenes.map) if num_scenes is None else num_scenes
            self.params = self.params._replace(scene_order=int(scene_order), num_scenes=count)
            self.params = self.params._replace(goal_speed=np.float32(np.inf))
        self._no_draw_for = 0
        size = sum(array.nbytes for part in (self.lanes, self.routes, self.grid) for array in part)
        self.params = self.params._replace(prefetch=int(size > CACHED_MAP))

        self._worker_rows = 1 + math.ceil(CACHE_LINE_PAD / self.num_slots)
        self.rows_per_world = int(np.count_nonzero(has_row))
        self.num_rows = num_worlds * self.rows_per_world
        rows = self.num_rows, 4 * row_length(self.counts), settings.obs_dtype
        self.params = self.params._replace(past_cache=int(pass_cache(*rows)))
        self._allocate(self._sizes(self.rows_per_world))
        self._make_views(views, num_worlds * int(np.count_nonzero(learner)))

        row = np.full(self.num_slots, -1, np.int64)
        row[has_row] = np.arange(self.rows_per_world)
        row = np.where(row >= 0, row + np.arange(num_worlds)[:, None] * self.rows_per_world, -1)
        self._write("bodies", row=row, driver=driver, learner=learner)
        number = (settings.world_offset + np.arange(num_worlds)).astype(np.uint32)
        times = {name: getattr(self.params, name) for name in ("dt", "dt_ns", "horizon")}
        self._write("worlds", number=number, stream=number, **times)

    def _allocate(self, sizes: Mapping[str, int]) -> None:
        """Makes the buffers, and the tables by which kernels find them."""
        self._check_memory(sum(nbytes(struct, **sizes) for struct in BATCH_STRUCTS))
        self.worlds = allocate(Worlds, **sizes)
        self.lights = allocate(Lights, **sizes)
        self.agents = allocate(Agents, **sizes)
        self.bodies = allocate(Bodies, **sizes)
        self.motion = allocate(Motion, **sizes)
        self.tallies = allocate(Tallies, **sizes)
        self.output = allocate(Output, **sizes)
        self.rows = allocate(Rows, **sizes)
        self.scratch = allocate(Scratch, **sizes)
        self.actions = allocate(Actions, **sizes)
        self._model = Table(Model(*(getattr(self, name) for name in Model._fields)))
        self._data = Table(Data(*(getattr(self, name) for name in Data._fields)))
        alternate = self.settings.copy and self.params.writes_rows
        self._fresh_rows = Recycler(self.observations) if alternate else None
        self._finals_are_out = False

    def _make_views(self, plans: Sequence[ViewPlan], rows: int) -> None:
        """Makes the buffers of pictures, which are drawn when rows of numbers are written."""
        self.views = Views(plans, rows, self.settings, len(self.scratch.cycles))
        self.views.prepare(self.pool)
        words = [*self.tables, STEP, self._worker_rows, *self.views.hooks]
        self._arguments = np.array(words, np.int64)

    def show_pictures(self, shown: bool) -> None:
        """Says whether steps and resets from now on draw pictures, or leave them as they are."""
        self._arguments[HOOKS - ARGUMENTS] = len(self.views.all) if shown else 0

    @property
    def maps(self) -> list[Any]:
        """What each map of the pool is called and painted with; the arrays of a single one."""
        return self.pool.maps

    @property
    def lanes(self) -> Lanes:
        """Of all maps; those on which no world was so far may be missing."""
        return self.pool.lanes

    @property
    def routes(self) -> Routes:
        """Likewise."""
        return self.pool.routes

    @property
    def grid(self) -> Grid:
        """Likewise."""
        return self.pool.grid

    @property
    def signs(self) -> Signs:
        """Likewise."""
        return self.pool.signs

    @property
    def step_lengths(self) -> Any:
        """How long the next step of each world takes, float32 [W] [s]."""
        return self.worlds.dt

    @property
    def tables(self) -> tuple[int, int]:
        """Addresses of the tables of `Model` and `Data`, as compiled code takes them."""
        return self._model.address, self._data.address

    def _check_memory(self, needed: int) -> None:
        """Refuses a batch that takes more bytes than there are."""
        what = f"a batch of {self.num_worlds} worlds with {self.num_slots} agents"
        check_memory(needed * (2 if self.settings.copy else 1), what)

    def _write(self, struct: str, **fields: Any) -> None:
        """Writes arrays, or what broadcasts to them, into fields of a struct."""
        for name, value in fields.items():
            getattr(getattr(self, struct), name)[...] = value

    def seed(self, seed: int | Sequence[int]) -> None:
        """Starts the random numbers: one seed for all worlds, or one each.

        Args:
            seed: A number of 64 bits, or [W] of them.
        """
        if isinstance(seed, int | np.integer):
            seeds = [int(seed)] * self.num_worlds
            stream: Any = self.worlds.number
        else:
            seeds = [int(s) for s in seed]
            stream = 0
        key = np.array([(s & 0xFFFFFFFF, (s >> 32) & 0xFFFFFFFF) for s in seeds], np.uint32)
        self._write("worlds", tick=0, scene=-1, stream=stream, key=key)

    def _sizes(self, rows_per_world: int) -> dict[str, int]:
        """Returns the length of every axis of the structs that belong to this batch."""
        signs, rows = self.signs, self.num_worlds * rows_per_world
        narrow = self.settings.obs_dtype == "float16"
        return {
            "world": self.num_worlds,
            "agent": self.num_slots,
            "goal": MAX_GOALS,
            "weight": NUM_WEIGHTS,
            "term": NUM_TERMS,
            "count": NUM_COUNTS,
            "column": len(self.draws.action_size),
            "program": int(np.diff(signs.map_program_first).max(initial=1)),
            "group": int(np.diff(signs.map_group_first).max(initial=1)),
            "line": int(np.diff(signs.map_line_first).max(initial=1)),
            "row": rows,
            "full_row": 0 if narrow else rows,
            "half_row": rows if narrow else 0,
            "feature": row_length(self.counts),
            "worker": self.settings.threads * self._worker_rows,
            "thread": self.settings.threads * self._worker_rows,
            "staging": self.settings.threads * self._worker_rows,
            "slot": padded(self.counts.agents),
            "lane_point": padded(self.counts.lane_points),
            "boundary_point": padded(self.counts.boundary_points),
            "seen": SEEN_PLANES * padded(self.counts.agents),
            "route": padded(len(ROUTE_DISTANCES)),
            "route_column": ROUTE_COLUMNS,
            "route_line": ROUTE_LINES,
            "way_column": WAY_COLUMNS,
            "way_point": WAY_ROOM,
            "body": padded(self.num_slots),
            "crowd_plane": CROWD_PLANES,
            "crowd_column": CROWD_COLUMNS,
            "way_word": KEY_WORDS,
            "way_number": NUMBERS,
            "chunk": CHUNKS,
            "stretch": MOST_LANES,
            "stretch_number": STRETCH_NUMBERS,
            "mark": MOST_MARKS,
            "mark_place": MARK_PLACES,
            "note": NOTES,
            "point": MAX_PATH_POINTS,
            "info": PATH_INFO,
            "stage": len(STAGES),
        }

    @property
    def observations(self) -> NDArray[Any]:
        """Observation rows as the last step or reset left them, [rows, features]."""
        if self.settings.obs_dtype == "float16":
            return self.rows.half.view(np.float16)
        return self.rows.observation

    @property
    def final_observations(self) -> NDArray[Any]:
        """Last observations of ended episodes; only rows that finished in this step are defined."""
        if self.settings.obs_dtype == "float16":
            return self.rows.final_half.view(np.float16)
        return self.rows.final_observation

    def hand_out_finals(self) -> NDArray[Any]:
        """Returns `final_observations` for the caller to keep; without `copy`, for this step.

        A large buffer goes with the caller in any case: its next one takes memory only for the rows
        that are written.
        """
        finals = self.final_observations
        self._finals_are_out = self.settings.copy or finals.nbytes > LARGE_BUFFER
        return finals

    def observe_into(self, array: NDArray[Any]) -> None:
        """Writes observation rows into an array of the caller's from now on.

        Args:
            array: [rows, features] of the type of `observations`, C-contiguous.

        Raises:
            ValueError: If it is not, or if the settings have `copy`.
        """
        if self.settings.copy:
            raise ValueError("observe_into needs copy=False: with copy=True buffers alternate")
        rows = self.observations
        if array.shape != rows.shape or array.dtype != rows.dtype:
            raise ValueError(
                f"array must be {rows.dtype} of shape {rows.shape}, got {array.dtype} of shape "
                f"{array.shape}"
            )
        self._point_to("half", "observation", array)

    def _turn_over(self) -> None:
        """Goes on in other buffers of rows, so that a caller may keep the present ones."""
        if self._fresh_rows is not None:
            self._point_to("half", "observation", self._fresh_rows.take())
        if self._finals_are_out:
            finals = self.final_observations
            fresh = sparse_zeros(finals.shape, finals.dtype)
            self._point_to("final_half", "final_observation", fresh)
            self._finals_are_out = False
        self.views.turn_over()

    def _point_to(self, half: str, full: str, array: NDArray[Any]) -> None:
        """Puts an array in the place of one of `Rows`: `half` or `full`, as its type is."""
        name = full
        if self.settings.obs_dtype == "float16":
            name, array = half, array.view(np.uint16)
        self._data["rows"].point(name, array)
        self.rows = self.rows._replace(**{name: array})

    def reset(self, chosen: U8, whole: U8, *, staggered: bool) -> None:
        """Starts new episodes of the chosen slots.

        Args:
            chosen: [W, A].
            whole: Worlds to draw anew, [W].
            staggered: Whether their clocks get a head start.
        """
        self._write("scratch", chosen=chosen, whole=whole)
        if not self.pool.is_whole:
            self._load_maps(np.flatnonzero(whole))
        self._turn_over()
        self._run(STAGGERED if staggered else RESET)

    def step(self, jerk: F32 | None = None) -> None:
        """Advances all worlds by one step.

        Args:
            jerk: Commanded longitudinal and lateral jerk, [W, A, 2] [m/s^3]; scripted drivers
                overwrite their own. None takes what `command` was given.
        """
        if jerk is not None:
            self._write("motion", jerk=jerk)
            self._write("actions", mode=ACTIONS_KEEP)
        if not self.pool.is_whole:
            self._foresee()
        self._turn_over()
        self._run(STEP)

    def _foresee(self) -> None:
        """Fills in the maps on which the next step draws worlds anew."""
        if self._no_draw_for:
            self._no_draw_for -= 1
            return
        self._load_maps(due_worlds(self.worlds, self.params))
        self._no_draw_for = steps_to_go(self.worlds, self.params)

    def _load_maps(self, chosen: NDArray[np.int64]) -> None:
        """Fills in the maps on which some worlds are drawn next."""
        if len(chosen):
            self.pool.load(maps_drawn(self.worlds, chosen, len(self.maps)).tolist())
            self.views.prepare(self.pool)
        self._no_draw_for = 0

    def command(self, actions: NDArray[Any]) -> None:
        """Takes the actions of the next step, checked, as settings say: [rows] or [rows, columns].

        Args:
            actions: Numbers of actions, or numbers from -1 to 1, of poses in units.
        """
        field = "choice" if self.settings.action_type == "discrete" else "scale"
        self._write("actions", **{field: actions}, mode=self.mode)

    @property
    def mode(self) -> int:
        """An `ActionMode`: how actions are meant under these settings."""
        if self.settings.action_type == "discrete":
            return ACTIONS_CHOOSE
        return ACTIONS_SET if acts_in_units(self.settings.dynamics) else ACTIONS_SCALE

    def _run(self, task: int) -> None:
        self._arguments[TASK - ARGUMENTS] = task
        run(compiled_worlds(), self.num_worlds, self.settings.threads, self._arguments)

    def state(self) -> dict[str, Any]:
        """Returns copies of all arrays that make up the state, by "struct.field"."""
        return {name: array.copy() for name, array in self._arrays(STATE_STRUCTS).items()}

    def shown(self) -> dict[str, Any]:
        """Returns copies of the flags and rows that callers have seen last, by "struct.field"."""
        output, rows = self._arrays(("output",)), self._arrays(("rows",))
        found = {f"output.{name}": output[f"output.{name}"] for name in SHOWN_OUTPUT}
        found |= {name: array for name, array in rows.items() if not name.startswith("rows.final_")}
        found |= self.views.arrays()
        return {name: array.copy() for name, array in found.items()}

    def _arrays(self, structs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Returns the arrays of some structs, by "struct.field"."""
        return {
            f"{name}.{key}": value
            for name in structs
            for key, value in getattr(self, name)._asdict().items()
        }

    def state_bytes(self) -> int:
        """Returns how many bytes a state takes, at most."""
        structs = (Worlds, Lights, Agents, Bodies, Tallies, Output, Rows)
        sizes = self._sizes(self.rows_per_world)
        pictures = sum(array.nbytes for array in self.views.arrays().values())
        return pictures + sum(nbytes(struct, **sizes) for struct in structs)

    def check_state(self, arrays: Mapping[str, Any]) -> None:
        """Refuses arrays that `restore` cannot take.

        Args:
            arrays: By "struct.field", as `state` and `shown` give them.

        Raises:
            ValueError: If one is missing, unknown, of another type or shape, or damaged.
        """
        targets = self._arrays((*STATE_STRUCTS, "output", "rows")) | self.views.arrays()
        needed = (*STATE_STRUCTS, PICTURES)
        missing = [n for n in targets if n.split(".")[0] in needed and n not in arrays]
        if missing:
            raise ValueError(f"state lacks {missing[0]}")
        given = {}
        for name in arrays:
            if name not in targets:
                raise ValueError(f"state has an unknown entry {name!r}")
            given[name] = as_array(name, arrays[name])
            value, target = given[name], targets[name]
            if value.shape != target.shape or value.dtype != target.dtype:
                raise ValueError(
                    f"state entry {name!r} must be {target.dtype} of shape {target.shape}, got "
                    f"{value.dtype} of shape {value.shape}"
                )
        check_maps(self, given["worlds.map"])
        self.pool.load(np.unique(given["worlds.map"]).tolist())
        self.views.prepare(self.pool)
        check_values(self, given, targets["bodies.row"])
        self.views.check(given)

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Puts arrays in the place of those named "struct.field", rows in a buffer of their own."""
        self._no_draw_for = 0
        rows = self.observations
        self._turn_over()
        self.observations[:] = rows
        for name, value in arrays.items():
            struct, field = name.split(".", 1)
            if struct != PICTURES:
                self._write(struct, **{field: value})
        self.views.restore(arrays)
        if self.settings.autoreset_mode != "SameStep":  # what rows that wait go on to show
            self.final_observations[:] = self.observations


@functools.cache
def compiled_worlds() -> Any:
    """Returns `run_worlds` with its cache on disk; nothing is compiled before its first call."""
    return cached(run_worlds)
