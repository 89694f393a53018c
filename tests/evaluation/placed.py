"""Bodies put on lanes by hand, at whatever place and speed: what tests of incidents need."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.routes import lane_graph_distance
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.scenes.tasks.roads import road
from selfdrive_env.state.road import SEG_COS, SEG_S, SEG_SIN, SEG_X, SEG_Y, SEG_Z
from selfdrive_env.state.world import MAX_GOALS, PRESENT, STILL


class PlacedEnv(DrivingVectorEnv):
    """One ego a world, with bodies that `put` places, in each other or off the road as well."""

    def __init__(self, where: str | RoadNetwork, num_envs: int, **settings: Any) -> None:
        network = road(where) if isinstance(where, str) else where
        super().__init__(num_envs, learners="one", map=network, **settings)

    @property
    def scene(self) -> CompiledMap:
        """The road."""
        return self.engine.maps[0]

    def clear(self) -> None:
        """Takes all bodies but the egos out of the worlds, for good."""
        self.engine.agents.status[:, 1:] = 0
        self.engine.output.awaiting_reset[...] = 0
        self.engine.worlds.num_agents[...] = 1

    def put(
        self,
        world: int,
        agent: int,
        place: tuple[int, float],
        goals: list[tuple[int, float]],
        *,
        speed: float,
        still: bool = False,
        aside: float = 0.0,
    ) -> None:
        """Places a body on a lane and gives it a route.

        Args:
            world: Where.
            agent: Slot.
            place: Lane and arc length of the box centre [m].
            goals: Lane and arc length of each goal [m]; the last needs |v| < 3 m/s.
            speed: [m/s]
            still: Whether it stands for good.
            aside: To the left of the lane's centre [m].
        """
        engine, at = self.engine, (world, agent)
        lanes = engine.lanes
        segment, x, y = self._point(*place)
        row = lanes.segment[segment].astype(np.float64)
        cos, sin = row[SEG_COS], row[SEG_SIN]
        back = 0.5 * float(engine.bodies.wheelbase[at])
        goal_lane = [lane for lane, _ in goals] + [-1] * (MAX_GOALS - len(goals))
        values = {
            "x": x - aside * sin - back * cos, "y": y + aside * cos - back * sin,
            "cos": cos, "sin": sin, "speed": speed, "acceleration": 0.0,
            "lateral_acceleration": 0.0, "steering": 0.0, "z": row[SEG_Z], "segment": segment,
            "s": place[1], "d": aside, "angle_cos": 1.0, "angle_sin": 0.0, "goal": 0, "age": 0,
            "goal_distance": lane_graph_distance(lanes, engine.routes, place, goals[0]),
            "status": PRESENT, "contact": 0, "stopped_at": -1, "standing_time": 0.0,
            "hold": 0, "blocker": -1, "let_in_until": 0.0, "let_in_tick": 0,
        }  # fmt: skip
        for name, value in values.items():
            getattr(engine.agents, name)[at] = value
        engine.bodies.goal_lane[at] = goal_lane
        engine.bodies.num_goals[at] = len(goals)
        for number, goal in enumerate(goals):
            engine.bodies.goal_s[world, agent, number] = goal[1]
            _, goal_x, goal_y = self._point(*goal)
            engine.bodies.goal_x[world, agent, number] = goal_x
            engine.bodies.goal_y[world, agent, number] = goal_y
        if still:
            engine.bodies.driver[at] = STILL

    def _point(self, lane: int, s: float) -> tuple[int, float, float]:
        """Returns segment, x and y of a place on a lane's centre."""
        lanes = self.engine.lanes
        first, last = lanes.segment_first[lane : lane + 2].tolist()
        starts = lanes.segment[first:last, SEG_S]
        segment = first + max(int(np.searchsorted(starts, s, "right")) - 1, 0)
        row = lanes.segment[segment].astype(np.float64)
        along = s - row[SEG_S]
        return segment, row[SEG_X] + along * row[SEG_COS], row[SEG_Y] + along * row[SEG_SIN]

    def observe(self) -> None:
        """Writes the observations of worlds whose bodies were placed by hand."""
        nobody = np.zeros((self.num_worlds, self.settings.slots), np.uint8)
        self.engine.reset(nobody, nobody[:, 0].copy(), staggered=False)


def lane_at(scene: CompiledMap, x: float, y: float, heading: float) -> tuple[int, float]:
    """Returns the lane that passes a point in a direction, and the arc length there [m].

    Args:
        scene: The road.
        x: East [m].
        y: North [m].
        heading: Counter-clockwise from +x, within 45 degrees of the lane's [rad].
    """
    row = scene.lanes.segment.astype(np.float64)
    aligned = row[:, SEG_COS] * np.cos(heading) + row[:, SEG_SIN] * np.sin(heading) > 0.7
    away = np.where(aligned, np.hypot(row[:, SEG_X] - x, row[:, SEG_Y] - y), np.inf)
    segment = int(away.argmin())
    return int(scene.lanes.segment_lane[segment]), float(row[segment, SEG_S])
