"""Scenes as the arrays that kernels read: where each agent is on the lanes, and where it wants to.

A place is put on the lane that fits best: by how far it lies outside the lane, along and across,
by heading and height. Of the lanes that pass a goal those count first that can be reached.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.envs.scenes.light_records import line_colours
from selfdrive_env.envs.scenes.records.paths import MOST_POINTS, write_path, write_waypoints
from selfdrive_env.envs.scenes.records.places import Place, places_near
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.compile.routes import lane_graph_distance
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.metrics.boxes import contacts
from selfdrive_env.scenes.agents import Agent, SceneError
from selfdrive_env.scenes.scene import Scene
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.arrays import allocate
from selfdrive_env.state.model import MOST_PATH_LINES, PATH_COLUMNS, Scenes
from selfdrive_env.state.road import SEG_COS, SEG_S, SEG_SIN, SEG_X, SEG_Y, UNREACHABLE
from selfdrive_env.state.world import (
    CONSTANT,
    EXTERNAL,
    IDM,
    IDM_LOG,
    MAX_GOALS,
    REPLAY,
    STILL,
    WAYPOINT,
)

__all__ = ["LEARNERS", "OTHERS", "POLICY", "TAKEOVERS", "learners_of", "make_scenes", "order_of"]

LEARNERS = ("ego", "all", "valid", "interest")
"""Which agents of a scene are rows: the ego; all vehicles that are there at the present moment; all
that are, of any kind; those of interest, the ego among them."""

OTHERS = {
    "replay": REPLAY,
    "idm_log": IDM_LOG,
    "idm": IDM,
    "waypoint": WAYPOINT,
    "constant": CONSTANT,
    "still": STILL,
}
"""Who drives the other agents, by the setting `traffic` and by `Agent.driver`."""

LED = (REPLAY, IDM_LOG, WAYPOINT)
"""Drivers who go by a record, wherever lanes are."""

TAKEOVERS = ("apart", "all")
"""Whom scripts may drive: who overlaps nobody at first, or all."""

POLICY = "policy"
"""Who drives the others where `traffic` is a trained policy: those whose kind is `DRIVEN`."""

DRIVEN = ("vehicle", "bicycle")

OFF_ROAD = 8.0
"""An agent that drives on lanes starts no farther beside one [m]."""

SOME_WAY = 100.0
"""Of an agent without a goal [m]."""

SIZES = ((5.0, "car"), (6.2, "van"), (9.0, "truck"), (math.inf, "bus"))
"""Up to which length a vehicle counts as which type of body [m]."""


def learners_of(scene: Scene, learners: str) -> list[int]:
    """Returns which agents of a scene are rows, in order.

    Args:
        scene: The scene.
        learners: One of `LEARNERS`.

    Raises:
        SceneError: There is none.
    """
    present = scene.present
    there = [n for n in range(len(scene.agents)) if present[n]]
    if learners == "ego":
        chosen = [scene.ego] if scene.ego in there else []
    elif learners == "all":
        chosen = [n for n in there if scene.agents[n].kind == "vehicle"]
    elif learners == "valid":
        chosen = there
    else:
        wanted = dict.fromkeys((scene.ego, *scene.of_interest))
        chosen = [n for n in wanted if n in there]
    if not chosen:
        raise SceneError(
            f"scene {scene.name or scene.source!r} has nobody for learners={learners!r} who is "
            "there at the present moment"
        )
    return sorted(chosen, key=lambda n: (n != scene.ego, n))


def order_of(scene: Scene, learners: str) -> list[int]:
    """Returns which agent each slot of a scene is: those that are rows come first.

    Args:
        scene: The scene.
        learners: One of `LEARNERS`.
    """
    first = learners_of(scene, learners)
    return [*first, *(n for n in range(len(scene.agents)) if n not in first)]


def make_scenes(
    scenes: Sequence[Scene],
    maps: Sequence[CompiledMap],
    map_of: Sequence[int],
    sources: Sequence[str | RoadNetwork],
    *,
    slots: int,
    learners: str = "ego",
    traffic: str | None = None,
    driver: str = "external",
    takeover: str = "apart",
    left_out: Collection[int] = (),
) -> Scenes:
    """Returns scenes as arrays; the agents that are rows come first in each.

    Args:
        scenes: At least one.
        maps: Their maps.
        map_of: Which map each scene is on.
        sources: What the maps were made of.
        slots: Agents that there is room for, at least those of the largest scene.
        learners: One of `LEARNERS`.
        traffic: One of `OTHERS` or `POLICY`, who drives the others; None as each scene says.
        driver: Of the rows: "external", which takes the caller's actions, or one of `OTHERS`.
        takeover: One of `TAKEOVERS`: of the others, who overlaps another body at first is replayed
            if it was recorded, or driven like all.
        left_out: Drivers that there are not where worlds live.

    Raises:
        SceneError: An agent to drive stands beside all lanes, has more goals than there is room
            for, or a driver that is left out; it names scene and agent.
    """
    colours = [
        _colours(scene, maps[place], sources[place])
        for scene, place in zip(scenes, map_of, strict=True)
    ]
    keeps = {traffic, driver} | {agent.driver for scene in scenes for agent in scene.agents}
    moments = max(_moments(scene, led="waypoint" in keeps) for scene in scenes)
    table = allocate(
        Scenes,
        scene=len(scenes),
        scene_line=max(1, *(len(one) for one in colours)),
        scene_agent=slots,
        goal=MAX_GOALS,
        moment=moments,
        path_point=moments + MOST_POINTS if "idm_log" in keeps else 1,
        path_column=PATH_COLUMNS,
        path_line=MOST_PATH_LINES,
    )
    for row, scene in enumerate(scenes):
        touching = _overlapping(scene) if takeover == "apart" else set()
        count = len(learners_of(scene, learners))
        table.map[row] = map_of[row]
        table.dt[row] = scene.dt
        table.dt_ns[row] = round(scene.dt * 1e9)
        table.horizon[row] = max(scene.steps - scene.current - 1, 1)
        table.num_agents[row] = len(scene.agents)
        table.num_lines[row] = len(colours[row])
        table.line_colour[row, : len(colours[row]), : colours[row].shape[1]] = colours[row]
        for slot, number in enumerate(order_of(scene, learners)):
            learns = slot < count
            who = _other(scene, number, driver if learns else traffic)
            if who not in (EXTERNAL, REPLAY) and not learns and number in touching:
                who = REPLAY
            if who in left_out:
                raise _left_out(who, left_out, scene, number)
            table.driver[row, slot] = EXTERNAL if learns and driver == "external" else who
            table.learner[row, slot] = learns
            _write_agent(table, row, slot, scene, number, maps[map_of[row]])
    return table


def _left_out(who: int, left_out: Collection[int], scene: Scene, number: int) -> SceneError:
    """Returns the error that a driver of an agent is not there on a CUDA device."""
    (name,) = (name for name, code in OTHERS.items() if code == who)
    *first, last = (repr(name) for name, code in OTHERS.items() if code not in left_out)
    return SceneError(
        f"scene {scene.name or scene.source!r}, agent {scene.agents[number].id}: driver {name!r} "
        f"is for device='cpu'; on a CUDA device it is {', '.join(first)} or {last}: take one of "
        "these as traffic, driver or Agent.driver"
    )


def _colours(scene: Scene, road: CompiledMap, source: str | RoadNetwork) -> NDArray[np.uint8]:
    """Returns what the stop lines of a scene show, [line, moment]; none without recorded lights."""
    if scene.lights is None or not scene.lights.num_lights:
        return np.zeros((0, 0), np.uint8)
    made = source if scene.map is None and isinstance(source, RoadNetwork) else None
    return line_colours(scene.lights, road, made, scene.current)


def _moments(scene: Scene, *, led: bool) -> int:
    """Returns how many moments of a scene are kept: one where nothing was recorded, and a spare.

    Args:
        scene: The scene.
        led: Whether somebody is told where to be at each moment.
    """
    nothing = scene.tracks is None and scene.lights is None and not led
    return 2 if nothing else max(scene.steps - scene.current, 2)


def _other(scene: Scene, number: int, traffic: str | None) -> int:
    """Returns who drives an agent to whom actions of the caller do not go.

    Who comes later comes as it was recorded, whoever drives the others.
    """
    recorded = scene.tracks is not None and bool(scene.tracks.valid[number].any())
    wanted = scene.agents[number].driver if traffic is None else traffic
    if wanted == POLICY and traffic == POLICY and scene.agents[number].kind in DRIVEN:
        return EXTERNAL if scene.present[number] else REPLAY
    if wanted not in OTHERS or not scene.present[number]:
        wanted = "replay"
    if wanted == "replay" and not recorded:
        own = scene.agents[number].driver
        wanted = own if own in OTHERS and own != "replay" else "idm"
    return int(OTHERS[wanted])


def _overlapping(scene: Scene) -> set[int]:
    """Returns which agents with a record overlap another one at the present moment."""
    if scene.tracks is None:
        return set()
    present = np.array(scene.present, np.bool_)[:, None]
    poses = [[one.x, one.y, one.z, one.heading] for one in scene.agents]
    x, y, z, heading = np.array(poses).T[..., None]
    still = np.zeros(present.shape, np.float32)
    now = Tracks(
        id=scene.tracks.id,
        kind=scene.tracks.kind,
        length=scene.tracks.length,
        width=scene.tracks.width,
        height=scene.tracks.height,
        x=x,
        y=y,
        z=z,
        heading=heading.astype(np.float32),
        vx=still,
        vy=still,
        valid=present,
    )
    recorded = np.array(scene.tracks.valid.any(axis=1), np.bool_)
    return {agent for agent in contacts(now).agent.tolist() if recorded[agent]}


def _write_agent(
    table: Scenes, row: int, slot: int, scene: Scene, number: int, road: CompiledMap
) -> None:
    """Writes one agent."""
    agent = scene.agents[number]
    at = (row, slot)
    table.type[at] = _type_of(agent)
    table.length[at], table.width[at] = agent.length, agent.width
    replayed = table.driver[at] == REPLAY
    there = _write_poses(table, at, scene, number, replayed)
    names = ("x", "y", "cos", "sin")
    x, y, cos, sin = (float(getattr(table, name)[row, slot, 0]) for name in names)
    start = places_near(road, x, y, (cos, sin), agent.z if there else None)[0]
    if table.driver[at] not in LED and start.cost > OFF_ROAD:
        raise SceneError(
            f"scene {scene.name or scene.source!r}, agent {agent.id}: it stands {start.cost:.0f} m "
            f"beside the lanes of map {road.name!r}, at {x:.1f}, {y:.1f}"
        )
    table.segment[at] = start.segment
    goals = _goals_of(scene, number, road, start)
    table.num_goals[at] = len(goals)
    for place, (goal_x, goal_y, lane, s) in enumerate(goals):
        table.goal_lane[row, slot, place], table.goal_s[row, slot, place] = lane, s
        table.goal_x[row, slot, place], table.goal_y[row, slot, place] = goal_x, goal_y
    if table.driver[at] == IDM_LOG:
        write_path(table, at, scene, number, road)
    elif table.driver[at] == WAYPOINT:
        write_waypoints(table, at, scene, number)


def _type_of(agent: Agent) -> int:
    """Returns the row of `BODY_TYPES` that an agent is most like."""
    names = list(BODY_TYPES)
    if agent.kind in ("bicycle", "pedestrian"):
        return names.index(agent.kind)
    return names.index(next(name for most, name in SIZES if agent.length <= most))


def _write_poses(
    table: Scenes, at: tuple[int, int], scene: Scene, number: int, replayed: bool
) -> bool:
    """Writes where an agent is at first, or always; returns whether it is there at first."""
    agent, tracks = scene.agents[number], scene.tracks
    fields = (table.x, table.y, table.cos, table.sin, table.speed)
    own = (agent.x, agent.y, math.cos(agent.heading), math.sin(agent.heading), agent.speed)
    for field, value in zip(fields, own, strict=True):
        field[at][0] = value
    present = bool(scene.present[number])
    table.there[at][0] = present
    if not replayed or tracks is None:
        return present
    cut = slice(scene.current, scene.steps)
    valid = tracks.valid[number, cut]
    heading = tracks.heading[number, cut].astype(np.float64)
    cos, sin = np.cos(heading), np.sin(heading)
    speed = tracks.vx[number, cut] * cos + tracks.vy[number, cut] * sin
    poses = (tracks.x[number, cut], tracks.y[number, cut], cos, sin, speed)
    table.there[at][: len(valid)] = valid
    for field, series in zip(fields, poses, strict=True):
        field[at][: len(valid)][valid] = series[valid]
    return present


def _goals_of(
    scene: Scene, number: int, road: CompiledMap, start: Place
) -> list[tuple[float, float, int, float]]:
    """Returns x, y, lane and arc length of each goal of an agent, one at least."""
    agent = scene.agents[number]
    if len(agent.goals) > MAX_GOALS:
        raise SceneError(
            f"scene {scene.name or scene.source!r}, agent {agent.id}: {len(agent.goals)} goals, at "
            f"most {MAX_GOALS} are allowed"
        )
    points: list[tuple[float, float, tuple[float, float] | None]] = [
        (goal.x, goal.y, None) for goal in agent.goals if math.isfinite(goal.radius)
    ]
    last = _last_seen(scene, number)
    if last is not None and (not points or math.dist(points[-1][:2], last[:2]) < 1.0):
        points = [*points[:-1], (last[0], last[1], (math.cos(last[2]), math.sin(last[2])))]
    goals, here = [], (start.lane, start.s)
    for x, y, heading in points:
        places = places_near(road, x, y, heading, None)
        ways = [lane_graph_distance(road.lanes, road.routes, here, p[1:3]) for p in places]
        reached = [p for p, way in zip(places, ways, strict=True) if way < UNREACHABLE]
        place = (reached or places)[0]
        here = (place.lane, place.s)
        goals.append((x, y, *here))
    return goals or [_some_way_on(road, start)]


def _last_seen(scene: Scene, number: int) -> tuple[float, float, float] | None:
    """Returns x, y and heading at the end of an agent's track, None where there is none."""
    tracks = scene.tracks
    if tracks is None or not tracks.valid[number].any():
        return None
    end = int(np.flatnonzero(tracks.valid[number])[-1])
    return tuple(float(getattr(tracks, name)[number, end]) for name in ("x", "y", "heading"))  # type: ignore[return-value]


def _some_way_on(road: CompiledMap, start: Place) -> tuple[float, float, int, float]:
    """Returns a goal along the lanes that lead on from a place, or at the end of them."""
    lanes: Any = road.lanes
    lane, s, left = start.lane, start.s, SOME_WAY
    while left > float(lanes.length[lane]) - s:
        first, last = lanes.successor_first[lane : lane + 2].tolist()
        if first == last or left <= 0.0:
            break
        left -= float(lanes.length[lane]) - s
        lane, s = int(lanes.successor[first]), 0.0
    s = min(s + left, float(lanes.length[lane]))
    x, y = _point(lanes, lane, s)
    return x, y, lane, s


def _point(lanes: Any, lane: int, s: float) -> tuple[float, float]:
    """Returns x and y of a place on a lane's centre."""
    first, last = lanes.segment_first[lane : lane + 2].tolist()
    rows: NDArray[np.float64] = lanes.segment[first:last].astype(np.float64)
    row = rows[max(int(np.searchsorted(rows[:, SEG_S], s, "right")) - 1, 0)]
    along = s - row[SEG_S]
    return float(row[SEG_X] + along * row[SEG_COS]), float(row[SEG_Y] + along * row[SEG_SIN])
