"""The frames of one episode while it is recorded, and their arrays at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.episodes.tracks import SCHEMA, TERMINATED, TRUNCATED, Tracks, as_whole
from selfdrive_env.maps.compile.outline import outline, simplified, stop_line_ends
from selfdrive_env.maps.compile.routes import route_points
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.world import ABSENT, HALTED

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = ["Take"]

SAME_PLACE = 0.1
"""An agent further from where it was did not begin the step there: it was placed in between [m]."""

ROUTE_TOLERANCE = 0.2
"""How far a drawn way may be from the true one [m]."""

Arrays = dict[str, NDArray[Any]]
Bools = NDArray[np.bool_]


class Leg(NamedTuple):
    """Where a way begins and ends."""

    life: int
    goal: int
    segment: int
    goal_lane: int
    goal_s: float


class Take:
    """Frames of one world from one drawing to the next."""

    def __init__(self, engine: Engine, world: int, observed: NDArray[np.int32]) -> None:
        """Begins without a frame.

        Args:
            engine: The worlds.
            world: Which of them.
            observed: Slots of the agents whose observations are kept.
        """
        self.engine, self.world, self.observed = engine, world, observed
        self.place = int(engine.worlds.map[world])
        first, last = engine.signs.map_line_first[self.place : self.place + 2].tolist()
        self.lines = engine.signs.line[first:last]
        self.frames: list[Arrays] = []
        self.lives: list[Arrays] = []
        """Fields `life_*`, `goal_*` and `left_*` of each life."""

        self.legs: list[Leg] = []
        self.clock = self.start = 0
        agents = engine.num_slots
        self.life, self.leg = np.full(agents, -1), np.full(agents, -1)
        self.age = np.zeros(agents, np.int64)
        self.axle = np.zeros((2, agents))
        self.half = np.zeros(agents)
        """Middle of the rear axles, and half the wheelbases, as the last frame shows them [m]."""

        self.kept: NDArray[Any] = np.zeros((0, agents))
        self.goal = np.zeros(agents, np.int64)

    def note(self, clock: int, *, again: bool = False) -> None:
        """Adds the present state as a frame.

        Args:
            clock: Of the world [steps].
            again: The last frame showed the same time, before agents were reset: it is replaced.
        """
        if not self.frames:
            self.start = clock
        old = self.frames[-1] if self.frames else None
        if again:
            self.frames.pop()
        agents, world = self.engine.agents, self.world
        status, age = agents.status[world], agents.age[world].astype(np.int64)
        present = status != ABSENT
        goes_on = (age == self.age + (not again)) | ((status == HALTED) & (age == self.age))
        placed = present & ((self.life < 0) | ~goes_on)
        if old is not None:
            gone = (old["status"] != ABSENT) & (placed | ~present) & (self.life >= 0)
            self._leave(gone, old if again else None)
        kept = self._kept()
        other = (kept != self.kept).any(0) if len(self.kept) else np.ones_like(present)
        self.life[~present] = -1
        for agent in np.flatnonzero(present & (placed | other)).tolist():
            self._begin_life(agent, bool(placed[agent]))
        self._begin_legs(present, placed | other)
        self.clock, self.age, self.kept = clock, age, kept
        self.axle = np.stack([agents.x[world], agents.y[world]]).astype(np.float64)
        self.half = 0.5 * self.engine.bodies.wheelbase[world].astype(np.float64)
        frame = self._frame()
        for name in ("event", "ended", "reward"):
            if old is None:  # no step led here
                frame[name] = np.zeros_like(frame[name])
            elif again:
                frame[name] = old[name]
        self.frames.append(frame)

    def close(self) -> None:
        """Adds a last frame from what the step did that drew the world anew at its end."""
        old, motion, world = self.frames[-1], self.engine.motion, self.world
        x, y, heading = self._end_poses()
        speed = 2.0 * motion.travel[world] / self.engine.settings.dt - motion.speed[world]
        ends = {"x": x, "y": y, "heading": heading, "speed": speed}
        self.clock += 1
        self.frames.append({
            **old,
            **{name: as_whole(name, value) for name, value in ends.items()},
            "observation": self._observations(self.engine.final_observations),
            **self._results(),
        })  # fmt: skip

    def tracks(self) -> Tracks:
        """Returns all arrays."""
        frames = {name: np.stack([f[name] for f in self.frames], -1) for name in self.frames[0]}
        lives = {name: np.array([life[name] for life in self.lives]) for name in self.lives[0]}
        found = {
            **frames,
            **lives,
            "observed_agent": self.observed,
            **self._leg_arrays(),
            **self._map_arrays(),
        }
        return Tracks(
            **{name: np.asarray(found[name], field.dtype) for name, field in SCHEMA.items()}
        )

    def _frame(self) -> Arrays:
        """Returns the fields of a frame that show the state of the world."""
        world, agents = self.world, self.engine.agents
        state = {
            "x": self.axle[0] + self.half * agents.cos[world],
            "y": self.axle[1] + self.half * agents.sin[world],
            "heading": np.arctan2(agents.sin[world], agents.cos[world]),
            "speed": agents.speed[world],
            "acceleration": agents.acceleration[world],
            "steering": agents.steering[world],
            "goal_distance": agents.goal_distance[world],
        }
        return {
            **{name: as_whole(name, value) for name, value in state.items()},
            "status": agents.status[world].copy(),
            "life": self.life.astype(np.int32),
            "leg": self.leg.astype(np.int32),
            "light": self.engine.lights.line_colour[world, : len(self.lines)].copy(),
            "observation": self._observations(self.engine.observations),
            **self._results(),
        }

    def _results(self) -> Arrays:
        """Returns the fields of a frame that tell what the step did."""
        output, world = self.engine.output, self.world
        ended = TERMINATED * (output.terminated[world] != 0)
        ended = ended + TRUNCATED * (output.truncated[world] != 0)
        return {
            "event": output.event[world].astype(np.uint8),
            "ended": ended.astype(np.uint8),
            "reward": as_whole("reward", output.weighted[world].T),
        }

    def _observations(self, rows: NDArray[Any]) -> NDArray[Any]:
        row = self.engine.bodies.row[self.world, self.observed]
        return as_whole("observation", np.asarray(rows[row], np.float64))

    def _kept(self) -> NDArray[Any]:
        """Returns what an agent keeps as long as one of its lives, [fields, A]."""
        bodies, world = self.engine.bodies, self.world
        return np.concatenate([
            bodies.length[world][None], bodies.width[world][None], bodies.type[world][None],
            bodies.num_goals[world][None], bodies.goal_x[world].T, bodies.goal_y[world].T,
        ])  # fmt: skip

    def _begin_life(self, agent: int, placed: bool) -> None:
        bodies, at = self.engine.bodies, (self.world, agent)
        numbers = {
            "life_length": bodies.length[at],
            "life_width": bodies.width[at],
            "goal_x": bodies.goal_x[at],
            "goal_y": bodies.goal_y[at],
            "goal_radius": bodies.weight[at][WEIGHT.goal_radius],
            "left_x": 0.0,
            "left_y": 0.0,
            "left_heading": 0.0,
        }
        whole = {
            "life_agent": agent,
            "life_frame": len(self.frames),
            "life_placed": placed,
            "life_type": bodies.type[at],
            "life_driver": bodies.driver[at],
            "life_learner": bodies.learner[at],
            "life_goals": bodies.num_goals[at],
            "left_frame": -1,
        }
        self.life[agent] = len(self.lives)
        self.lives.append(
            {name: as_whole(name, value) for name, value in numbers.items()}
            | {name: np.asarray(value) for name, value in whole.items()}
        )

    def _begin_legs(self, present: Bools, new: Bools) -> None:
        """Begins the way to the next goal of every agent that has another one than before."""
        agents, bodies, world = self.engine.agents, self.engine.bodies, self.world
        goal = agents.goal[world].astype(np.int64)
        has = present & (goal < bodies.num_goals[world])
        begins = has & (new | (goal != self.goal) | (self.leg < 0))
        self.leg[~has] = -1
        self.goal = goal
        for agent in np.flatnonzero(begins).tolist():
            at, number = (world, agent), int(goal[agent])
            self.leg[agent] = len(self.legs)
            lane, s = int(bodies.goal_lane[at][number]), float(bodies.goal_s[at][number])
            segment = int(agents.segment[at])
            self.legs.append(Leg(int(self.life[agent]), number, segment, lane, s))

    def _leave(self, gone: Bools, old: Arrays | None) -> None:
        """Notes where agents were that the end of the step placed anew or took away.

        Args:
            gone: Which, [A].
            old: The frame that showed them there; None where no frame did.
        """
        if not gone.any():
            return
        motion, world = self.engine.motion, self.world
        if old is None:
            jump = np.hypot(motion.x[world] - self.axle[0], motion.y[world] - self.axle[1])
            gone = gone & (jump < SAME_PLACE)
            poses = self._end_poses()
            pose = {
                f"left_{name}": as_whole(f"left_{name}", value)
                for name, value in zip(("x", "y", "heading"), poses, strict=True)
            }
        else:
            pose = {f"left_{name}": old[name] for name in ("x", "y", "heading")}
        for agent in np.flatnonzero(gone).tolist():
            life = self.lives[self.life[agent]]
            life["left_frame"] = np.asarray(len(self.frames))
            life.update({name: value[agent] for name, value in pose.items()})

    def _end_poses(self) -> tuple[F64, F64, F64]:
        """Returns x, y and heading after the step's arc, before anybody was placed anew."""
        motion, world = self.engine.motion, self.world
        travel = motion.travel[world].astype(np.float64)
        turn = travel * motion.curvature[world]
        cos, sin = motion.cos[world].astype(np.float64), motion.sin[world].astype(np.float64)
        ahead = travel * np.sinc(turn / np.pi)
        left = travel * np.sinc(0.5 * turn / np.pi) * np.sin(0.5 * turn)
        heading = np.arctan2(sin, cos) + turn
        x = motion.x[world] + ahead * cos - left * sin + self.half * np.cos(heading)
        y = motion.y[world] + ahead * sin + left * cos + self.half * np.sin(heading)
        return x, y, heading

    def _leg_arrays(self) -> Arrays:
        engine = self.engine
        ways = [
            route_points(engine.lanes, engine.routes, leg.segment, leg.goal_lane, leg.goal_s)
            for leg in self.legs
        ]
        x, y, first = _joined(simplified(ways, ROUTE_TOLERANCE))
        return {
            "leg_life": np.array([leg.life for leg in self.legs]),
            "leg_goal": np.array([leg.goal for leg in self.legs]),
            "leg_first": first,
            "leg_x": as_whole("leg_x", x),
            "leg_y": as_whole("leg_y", y),
        }

    def _map_arrays(self) -> Arrays:
        parts = outline(self.engine.lanes, self.engine.grid, self.place)
        x, y, first = _joined([line for lines in parts for line in lines])
        ends = stop_line_ends(self.lines)
        return {
            "line_x": as_whole("line_x", ends[..., 0]),
            "line_y": as_whole("line_y", ends[..., 1]),
            "outline_kind": np.repeat(np.arange(len(parts)), [len(lines) for lines in parts]),
            "outline_first": first,
            "outline_x": as_whole("outline_x", x),
            "outline_y": as_whole("outline_y", y),
        }


def _joined(lines: list[F64]) -> tuple[F64, F64, NDArray[np.int64]]:
    """Returns x, y of all points of polylines, and where each begins."""
    points = np.concatenate([np.zeros((0, 2)), *lines])
    return points[:, 0], points[:, 1], np.cumsum([0, *(len(line) for line in lines)])
