"""The frames of one episode while it is recorded, and their arrays at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.episodes.tracks import SCHEMA, TERMINATED, TRUNCATED, Tracks, as_whole
from selfdrive_env.maps.compile.outline import outline, simplified, stop_line_ends
from selfdrive_env.maps.compile.routes import route_points
from selfdrive_env.state.arrays import F64
from selfdrive_env.state.places import along_way, box_centre
from selfdrive_env.state.rewards import WEIGHT
from selfdrive_env.state.world import ABSENT, HALTED

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = ["FrameRecorder"]

SAME_PLACE = 0.1
"""An agent further from where it was did not begin the step there: it was placed in between [m]."""

ROUTE_TOLERANCE = 0.2
"""How far a drawn way may be from the true one [m]."""

Arrays = dict[str, NDArray[Any]]
Bools = NDArray[np.bool_]


class RouteLeg(NamedTuple):
    """Where a way begins and ends."""

    track: int
    goal: int
    segment: int
    goal_lane: int
    goal_s: float


class FrameRecorder:
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
        self.tracks: list[Arrays] = []
        """Fields `track_*`, `goal_*` and `left_*` of each track."""

        self.route_legs: list[RouteLeg] = []
        self.clock = self.start = 0
        low, high = engine.settings.dt_range
        self.dt = low if low == high else float(engine.worlds.dt[world])
        agents = engine.num_slots
        self.track, self.route_leg = np.full(agents, -1), np.full(agents, -1)
        self.age = np.zeros(agents, np.int64)
        self.axle = np.zeros((2, agents))
        self.wheelbase = np.zeros(agents)
        """Middle of the rear axles, and the wheelbases, as the last frame shows them [m]."""

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
        goes_on = age == self.age + (not again)
        placed = present & ((self.track < 0) | ~goes_on)
        if old is not None:
            gone = (old["status"] != ABSENT) & (placed | ~present) & (self.track >= 0)
            self._leave(gone, old if again else None)
        kept = self._kept()
        other = (kept != self.kept).any(0) if len(self.kept) else np.ones_like(present)
        self.track[~present] = -1
        for agent in np.flatnonzero(present & (placed | other)).tolist():
            self._begin_track(agent, bool(placed[agent]))
        self._begin_route_legs(present, placed | other)
        self.clock, self.age, self.kept = clock, age, kept
        self.axle = np.stack([agents.x[world], agents.y[world]]).astype(np.float64)
        self.wheelbase = self.engine.bodies.wheelbase[world].astype(np.float64)
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
        speed = motion.travel[world] / self.dt
        if self.engine.settings.dynamics in ("jerk", "bicycle", "classic"):
            speed = 2.0 * speed - motion.speed[world]
        ends = {"x": x, "y": y, "heading": heading, "speed": speed}
        self.clock += 1
        self.frames.append({
            **old,
            **{name: as_whole(name, value) for name, value in ends.items()},
            "observation": self._observations(self.engine.final_observations),
            **self._results(),
        })  # fmt: skip

    def arrays(self) -> Tracks:
        """Returns all arrays."""
        frames = {name: np.stack([f[name] for f in self.frames], -1) for name in self.frames[0]}
        tracks = {name: np.array([track[name] for track in self.tracks]) for name in self.tracks[0]}
        found = {
            **frames,
            **tracks,
            "observed_agent": self.observed,
            **self._route_leg_arrays(),
            **self._map_arrays(),
        }
        return Tracks(
            **{name: np.asarray(found[name], field.dtype) for name, field in SCHEMA.items()}
        )

    def _frame(self) -> Arrays:
        """Returns the fields of a frame that show the state of the world."""
        world, agents = self.world, self.engine.agents
        x, y = box_centre(
            self.axle[0], self.axle[1], agents.cos[world], agents.sin[world], self.wheelbase
        )
        state = {
            "x": x,
            "y": y,
            "heading": np.arctan2(agents.sin[world], agents.cos[world]),
            "speed": agents.speed[world],
            "acceleration": agents.acceleration[world],
            "steering": agents.steering[world],
            "goal_distance": agents.goal_distance[world],
        }
        return {
            **{name: as_whole(name, value) for name, value in state.items()},
            "status": np.minimum(agents.status[world], np.uint8(HALTED)),
            "track": self.track.astype(np.int32),
            "route_leg": self.route_leg.astype(np.int32),
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
        """Returns what an agent keeps as long as one of its tracks, [fields, A]."""
        bodies, world = self.engine.bodies, self.world
        return np.concatenate([
            bodies.length[world][None], bodies.width[world][None], bodies.type[world][None],
            bodies.num_goals[world][None], bodies.goal_x[world].T, bodies.goal_y[world].T,
        ])  # fmt: skip

    def _begin_track(self, agent: int, placed: bool) -> None:
        bodies, at = self.engine.bodies, (self.world, agent)
        numbers = {
            "track_length": bodies.length[at],
            "track_width": bodies.width[at],
            "goal_x": bodies.goal_x[at],
            "goal_y": bodies.goal_y[at],
            "goal_radius": bodies.weight[at][WEIGHT.goal_radius],
            "left_x": 0.0,
            "left_y": 0.0,
            "left_heading": 0.0,
        }
        whole = {
            "track_agent": agent,
            "track_frame": len(self.frames),
            "track_placed": placed,
            "track_type": bodies.type[at],
            "track_driver": bodies.driver[at],
            "track_learner": bodies.learner[at],
            "track_goals": bodies.num_goals[at],
            "left_frame": -1,
        }
        self.track[agent] = len(self.tracks)
        self.tracks.append(
            {name: as_whole(name, value) for name, value in numbers.items()}
            | {name: np.asarray(value) for name, value in whole.items()}
        )

    def _begin_route_legs(self, present: Bools, new: Bools) -> None:
        """Begins the way to the next goal of every agent that has another one than before."""
        agents, bodies, world = self.engine.agents, self.engine.bodies, self.world
        goal = agents.goal[world].astype(np.int64)
        has = present & (goal < bodies.num_goals[world])
        begins = has & (new | (goal != self.goal) | (self.route_leg < 0))
        self.route_leg[~has] = -1
        self.goal = goal
        for agent in np.flatnonzero(begins).tolist():
            at, number = (world, agent), int(goal[agent])
            self.route_leg[agent] = len(self.route_legs)
            lane, s = int(bodies.goal_lane[at][number]), float(bodies.goal_s[at][number])
            segment = int(agents.segment[at])
            self.route_legs.append(RouteLeg(int(self.track[agent]), number, segment, lane, s))

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
            track = self.tracks[self.track[agent]]
            track["left_frame"] = np.asarray(len(self.frames))
            track.update({name: value[agent] for name, value in pose.items()})

    def _end_poses(self) -> tuple[F64, F64, F64]:
        """Returns x, y and heading after the step's arc, before anybody was placed anew."""
        x, y, cos, sin = along_way(self.engine.motion, self.world)
        return *box_centre(x, y, cos, sin, self.wheelbase), np.arctan2(sin, cos)

    def _route_leg_arrays(self) -> Arrays:
        engine = self.engine
        ways = [
            route_points(engine.lanes, engine.routes, leg.segment, leg.goal_lane, leg.goal_s)
            for leg in self.route_legs
        ]
        x, y, first = _joined(simplified(ways, ROUTE_TOLERANCE))
        return {
            "route_leg_track": np.array([leg.track for leg in self.route_legs]),
            "route_leg_goal": np.array([leg.goal for leg in self.route_legs]),
            "route_leg_first": first,
            "route_leg_x": as_whole("route_leg_x", x),
            "route_leg_y": as_whole("route_leg_y", y),
        }

    def _map_arrays(self) -> Arrays:
        parts = outline(
            self.engine.lanes, self.engine.grid, self.place, self.engine.maps[self.place].paint
        )
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
