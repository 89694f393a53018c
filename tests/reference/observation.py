"""The slow oracle of observation rows: written from the meaning of each column, in float64.

Ways are found by brute force over the lane graph, gaps by Shapely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import shapely
import shapely.affinity

from selfdrive_env.config.observation import OBSERVATION, ROUTE_DISTANCES, encode
from selfdrive_env.config.presets import BODY_TYPES, TRAINING_RANGE
from selfdrive_env.state.params import Reverse
from selfdrive_env.state.rewards import NUM_CONDITIONS, WEIGHTS
from selfdrive_env.state.road import (
    LANE_CHANGE_COST,
    LEVEL_HEIGHT,
    SEG_COS,
    SEG_LEFT,
    SEG_RIGHT,
    SEG_S,
    SEG_SIN,
    SEG_X,
    SEG_Y,
    SEG_Z,
)
from selfdrive_env.state.world import (
    ABSENT,
    BLIND,
    EXTERNAL,
    GREEN,
    MAX_GOALS,
    NO_LIGHT,
    RED,
    STOP_SIGN,
    YELLOW,
)
from tests.reference.kernels import corners, lane_graph, normals, uniforms, way_to

STEP, REACH = 2.5, 80.0
"""Between points of the way, and how far along it lines are looked for [m]."""


class Place(NamedTuple):
    """A point of the way."""

    x: float
    y: float
    cos: float
    sin: float
    z: float
    left: float
    right: float
    limit: float


class Stretch(NamedTuple):
    """A lane of the way, from its start to its end as arc length from the agent [m]."""

    lane: int
    target: int
    start: float
    stop: float


class Observer:
    """Rebuilds rows from the arrays of an engine."""

    NOISE, DROPOUT, ERRATIC = 7, 8, 6

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.graph = lane_graph(engine.lanes, LANE_CHANGE_COST)

    def row(self, world: int, agent: int) -> np.ndarray:
        """The whole row of one agent."""
        e = self.engine
        a, b = e.agents, e.bodies
        self.world, self.agent = world, agent
        self.heading = math.atan2(a.sin[world, agent], a.cos[world, agent])
        ahead = 0.5 * float(b.wheelbase[world, agent])
        self.x = float(a.x[world, agent]) + ahead * math.cos(self.heading)
        self.y = float(a.y[world, agent]) + ahead * math.sin(self.heading)
        self.length, self.width = (float(s[world, agent]) for s in (b.length, b.width))
        self.key = e.worlds.key[world]
        self.stream, self.tick = e.worlds.stream[world], e.worlds.tick[world]
        self.lane = int(e.lanes.segment_lane[a.segment[world, agent]])
        self.stretches = list(self.walk())
        self.way = list(self.points())
        counts = e.counts
        near = self.near_row()
        lines = self.lines()
        tables = {
            "ego": [self.ego()],
            "goals": self.goals(),
            "conditions": [self.conditions()],
            "route": self.route(),
            "own_line": [self.own_line(lines)],
            "leader": [self.leader()],
            "follower": [self.follower()],
            "lane_points": self.lane_points(near, counts.lane_points),
            "boundary_points": self.boundaries(near, counts.boundary_points),
            "stop_lines": self.stop_lines(near, [line for line, *_ in lines[:4]]),
            "agents": self.neighbours(counts.agents),
        }
        slots = counts._asdict() | {"route": len(ROUTE_DISTANCES)}
        slots["goals"] = min(slots["goals"], MAX_GOALS)
        filled = {}
        for name, entries in tables.items():
            table = np.zeros((slots.get(name, 1), len(OBSERVATION[name])))
            if entries and len(table):
                table[: len(entries)] = entries[: len(table)]
            filled[name] = table
        return encode(filled, counts)

    # The way ahead.

    def distance(self, lane: int, goal_lane: int) -> float:
        return float(self.graph[goal_lane, lane]) if goal_lane >= 0 else math.inf

    def wanted(self, lane: int, goal_lane: int) -> int:
        """The lane beside, or beside that, from which the goal is nearer by a lane change."""
        lanes = self.engine.lanes
        for _ in range(4):
            here = self.distance(lane, goal_lane)
            if lanes.junction[lane] >= 0 or goal_lane < 0:
                break
            beside = [int(s[lane]) for s in (lanes.left, lanes.right) if s[lane] >= 0]
            ways = {one: self.distance(one, goal_lane) for one in beside}
            better = [one for one in beside if ways[one] + LANE_CHANGE_COST <= here + 1.0]
            if not better:
                break
            lane = min(better, key=lambda one: ways[one])
        return lane

    def walk(self) -> Iterator[Stretch]:
        """The lanes of the way, up to where it ends or is far enough."""
        e, w, i = self.engine, self.world, self.agent
        lanes, b = e.lanes, e.bodies
        goal = int(e.agents.goal[w, i])
        goal_lane = int(b.goal_lane[w, i, goal])
        lane, start = self.lane, -float(e.agents.s[w, i])
        while start < REACH:
            target = self.wanted(lane, goal_lane)
            stop = start + float(lanes.length[lane])
            yield Stretch(lane, target, start, stop)
            passes = start + float(b.goal_s[w, i, goal]) >= -float(b.weight[w, i, 0])
            if target == goal_lane and passes and goal + 1 < b.num_goals[w, i]:
                goal += 1
                goal_lane = int(b.goal_lane[w, i, goal])
            after = lanes.successor[
                lanes.successor_first[target] : lanes.successor_first[target + 1]
            ]
            if not len(after):
                return
            bend = float(b.max_curvature[w, i])
            fitting = [int(n) for n in after if lanes.max_curvature[n] <= bend]
            options = fitting or [int(n) for n in after]
            lane, start = min(options, key=lambda n: self.distance(n, goal_lane)), stop

    def place(self, distance: float) -> Place | None:
        """The point of the way at a distance, None behind its end."""
        lanes = self.engine.lanes
        for one in self.stretches:
            if distance <= one.stop + 1e-4:
                share = (distance - one.start) / max(one.stop - one.start, 1e-3)
                s = share * float(lanes.length[one.target])
                first, last = lanes.segment_first[one.target], lanes.segment_first[one.target + 1]
                starts = lanes.segment[first:last, SEG_S]
                index = first + max(int(np.searchsorted(starts, s + 1e-4, "right")) - 1, 0)
                segment = lanes.segment[index].astype(float)
                t, half = s - segment[SEG_S], 0.5 * self.width
                return Place(
                    segment[SEG_X] + t * segment[SEG_COS],
                    segment[SEG_Y] + t * segment[SEG_SIN],
                    segment[SEG_COS],
                    segment[SEG_SIN],
                    segment[SEG_Z],
                    segment[SEG_LEFT] - half,
                    segment[SEG_RIGHT] - half,
                    float(lanes.speed_limit[one.target]),
                )
        return None

    def points(self) -> Iterator[Place]:
        """Points of the way every 2.5 m."""
        for number in range(int(ROUTE_DISTANCES[-1] / STEP) + 1):
            place = self.place(STEP * number)
            if place is None:
                return
            yield place

    def route(self) -> list[list[float]]:
        shown = [self.place(distance) for distance in ROUTE_DISTANCES]
        return [[*self.pose(*p[:4]), p.left, p.right, p.limit, 1.0] for p in shown if p is not None]

    def lines(self) -> list[tuple[int, float, int]]:
        """Lines on the way that show something and that the front has not passed: line, gap [m],
        which stretch."""
        e, w = self.engine, self.world
        signs, first = e.signs, e.signs.map_line_first[e.worlds.map[w]]
        found = []
        for number, one in enumerate(self.stretches):
            lane = one.target if number else one.lane
            scale = (one.stop - one.start) / float(e.lanes.length[lane])
            for link in range(signs.lane_line_first[lane], signs.lane_line_first[lane + 1]):
                line = int(signs.lane_line[link])
                gap = one.start + scale * float(signs.lane_line_s[link]) - 0.5 * self.length
                if -1.0 <= gap <= REACH and e.lights.line_colour[w, line - first] != NO_LIGHT:
                    found.append((line, gap, number))
        return found

    def own_line(self, lines: list[tuple[int, float, int]]) -> list[float]:
        e, w, i = self.engine, self.world, self.agent
        lanes = [one.target if number else one.lane for number, one in enumerate(self.stretches)]
        inside = [n for n, lane in enumerate(lanes) if e.lanes.junction[lane] >= 0]
        yields = [n for n in inside if e.lanes.precedence[lanes[n]] < 0]
        entries = [
            (self.stretches[n].start - 0.5 * self.length, n)
            for n in yields
            if self.stretches[n].start - 0.5 * self.length >= -1.0
        ]
        first_line = lines[0][2] if lines else math.inf
        if entries and entries[0][1] < first_line:
            return [max(entries[0][0], 0.0), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]
        if not lines:
            return [0.0] * 9
        line, gap, number = lines[0]
        colour = e.lights.line_colour[w, line - e.signs.map_line_first[e.worlds.map[w]]]
        served = int(e.agents.stopped_at[w, i]) == line
        shown = line - e.signs.map_line_first[e.worlds.map[w]]
        since = e.agents.stop_tick[w, i] if served else e.lights.line_tick[w, shown]
        steps = int(self.tick) - int(since) if served or colour != STOP_SIGN else 0
        behind = [n for n in inside if n >= number]
        gives_way = bool(behind) and behind[0] in yields
        states = [float(colour == c) for c in (RED, YELLOW, GREEN, STOP_SIGN)]
        time = steps * float(e.params.dt)
        return [max(gap, 0.0), *states, float(served), float(gives_way), time, 1.0]

    # Who is on it.

    def box(self, j: int) -> Any:
        b, w = self.engine.bodies, self.world
        x, y, heading = self.centre(j)
        length, width = np.float64(b.length[w, j]), np.float64(b.width[w, j])
        return shapely.Polygon(corners(x, y, heading, length, width))

    def centre(self, j: int) -> tuple[float, float, float]:
        a, b, w = self.engine.agents, self.engine.bodies, self.world
        heading = math.atan2(a.sin[w, j], a.cos[w, j])
        ahead = 0.5 * float(b.wheelbase[w, j])
        return (
            float(a.x[w, j]) + ahead * math.cos(heading),
            float(a.y[w, j]) + ahead * math.sin(heading),
            heading,
        )

    def along(self, j: int) -> tuple[float, Place] | None:
        """How far along the way a body's box begins, and at which point."""
        a, w = self.engine.agents, self.world
        if j == self.agent or a.status[w, j] == ABSENT:
            return None
        box = self.box(j)
        x, y, _ = self.centre(j)
        half = np.float64(0.5 * self.width)
        for number, p in enumerate(self.way):
            if abs(float(a.z[w, j]) - p.z) >= LEVEL_HEIGHT:
                continue
            if number == 0 and (x - p.x) * p.cos + (y - p.y) * p.sin <= 0.0:
                continue
            heading = math.atan2(p.sin, p.cos)
            middle = p.x + 0.5 * STEP * p.cos, p.y + 0.5 * STEP * p.sin
            strip = shapely.Polygon(corners(*middle, heading, np.float64(STEP), 2.0 * half))
            if strip.intersects(box):
                points = np.array(box.exterior.coords) - (p.x, p.y)
                near = max(float((points @ (p.cos, p.sin)).min()), 0.0)
                return STEP * number + near, p
        return None

    def on_the_way(self) -> dict[int, tuple[float, Place]]:
        found = {j: self.along(j) for j in range(self.engine.agents.x.shape[1])}
        return {j: one for j, one in found.items() if one is not None}

    def leader(self) -> list[float]:
        e, w, i = self.engine, self.world, self.agent
        on_way = {} if self.is_blind() else self.on_the_way()
        if not on_way:
            return [0.0] * 4
        j = min(on_way, key=lambda j: on_way[j][0])
        distance, p = on_way[j]
        pace = float(e.agents.cos[w, j]) * p.cos + float(e.agents.sin[w, j]) * p.sin
        noise = self.noise(j)
        gap = max(distance - 0.5 * self.length + noise[0], 0.0)
        speed = float(e.agents.speed[w, j]) * pace + noise[2]
        return [gap, speed, float(e.agents.speed[w, i]) - speed, 1.0]

    def behind(self, j: int) -> float:
        """The shortest way from another body forward to the own place, over three lanes at most."""
        e, w, i = self.engine, self.world, self.agent
        lanes, a = e.lanes, e.agents
        lane, s, own_s = int(lanes.segment_lane[a.segment[w, j]]), float(a.s[w, j]), a.s[w, i]
        if lane == self.lane and own_s >= s:
            return float(own_s) - s
        best, open_ = math.inf, [(lane, -s)]
        for _ in range(3):
            reached = []
            for one, way in open_:
                beyond = way + float(lanes.length[one])
                for link in range(lanes.successor_first[one], lanes.successor_first[one + 1]):
                    after = int(lanes.successor[link])
                    reached.append((after, beyond))
                    if after == self.lane:
                        best = min(best, beyond + float(own_s))
            open_ = reached
        return best

    def follower(self) -> list[float]:
        e, w, i = self.engine, self.world, self.agent
        a, b = e.agents, e.bodies
        found = []
        for j in range(a.x.shape[1]):
            if j == i or a.status[w, j] == ABSENT or self.is_blind():
                continue
            x, y, _ = self.centre(j)
            beside = abs(float(a.d[w, j]) - float(a.d[w, i]))
            far = math.hypot(x - self.x, y - self.y) > 50.0
            level = abs(float(a.z[w, j]) - float(a.z[w, i])) < LEVEL_HEIGHT
            if far or not level or a.angle_cos[w, j] <= 0.0:
                continue
            if beside < 0.5 * float(b.width[w, j] + b.width[w, i]) and self.behind(j) < 50.0:
                found.append((self.behind(j), j))
        if not found:
            return [0.0] * 4
        way, j = min(found)
        noise = self.noise(j)
        speed = float(a.speed[w, j]) * float(a.angle_cos[w, j]) + noise[2]
        gap = max(way - 0.5 * (self.length + float(b.length[w, j])) + noise[0], 0.0)
        return [gap, speed, speed - float(a.speed[w, i]), 1.0]

    # What was there before.

    def ego(self) -> list[float]:
        e, w, i = self.engine, self.world, self.agent
        a, b = e.agents, e.bodies
        segment = a.segment[w, i]
        quantities = [
            a.d[w, i],
            math.atan2(a.angle_sin[w, i], a.angle_cos[w, i]),
            e.lanes.segment[segment, 7],
            a.speed[w, i],
            e.lanes.speed_limit[e.lanes.segment_lane[segment]],
            a.steering[w, i],
            a.acceleration[w, i],
            a.lateral_acceleration[w, i],
            b.jerk_scale[w, i],
            b.lateral_jerk_scale[w, i],
            b.acceleration_scale[w, i],
            b.speed_scale[w, i],
            b.length[w, i],
            b.width[w, i],
            a.goal_distance[w, i],
            e.params.dt,
            e.params.reverse == Reverse.ALLOWED or b.driver[w, i] != EXTERNAL,
        ]
        return [float(q) for q in quantities]

    def local(self, x: float, y: float) -> tuple[float, float]:
        dx, dy = x - self.x, y - self.y
        c, s = math.cos(self.heading), math.sin(self.heading)
        return dx * c + dy * s, dy * c - dx * s

    def pose(self, x: float, y: float, cos: float, sin: float) -> list[float]:
        turn = math.atan2(sin, cos) - self.heading
        return [*self.local(float(x), float(y)), math.cos(turn), math.sin(turn)]

    def goals(self) -> list[list[float]]:
        b, w, i = self.engine.bodies, self.world, self.agent
        left = range(self.engine.agents.goal[w, i], b.num_goals[w, i])
        return [
            [*self.local(float(b.goal_x[w, i, g]), float(b.goal_y[w, i, g])), 1.0] for g in left
        ]

    def conditions(self) -> np.ndarray:
        weight = self.engine.bodies.weight[self.world, self.agent, :NUM_CONDITIONS]
        low, high = np.array([TRAINING_RANGE[name] for name in WEIGHTS[:NUM_CONDITIONS]]).T
        return np.clip((weight - low) / (high - low) * 2.0 - 1.0, -1.0, 1.0)

    def near_row(self) -> int:
        e = self.engine
        grid, m = e.grid, e.worlds.map[self.world]
        layer = int(e.lanes.segment_layer[e.agents.segment[self.world, self.agent]])
        i = math.floor((self.x - float(grid.origin[m, 0])) / 4.0)
        j = math.floor((self.y - float(grid.origin[m, 1])) / 4.0)
        nx, ny, start, _ = grid.shape[m]
        if not (0 <= i < 16 * nx and 0 <= j < 16 * ny):
            return -1
        block = grid.block[start + (layer * ny + j // 16) * nx + i // 16]
        if block < 0:
            return -1
        return int(grid.near[block * 64 + j % 16 // 2 * 8 + i % 16 // 2])

    def dropped(self, share: float, index: int) -> bool:
        if share <= 0.0:
            return False
        draws = uniforms(self.key, self.stream, self.agent, self.tick, self.DROPOUT, index // 4)
        return draws[index % 4] < share

    def lane_points(self, near: int, slots: int) -> list[list[float]]:
        e, w, i = self.engine, self.world, self.agent
        out: list[list[float]] = []
        goal = e.agents.goal[w, i]
        for slot in range(min(slots, e.grid.near_lane_point.shape[1]) if near >= 0 else 0):
            index = e.grid.near_lane_point[near, slot]
            if index < 0:
                break
            if self.dropped(float(e.params.lane_dropout), slot):
                continue
            way = way_to(
                e.routes,
                e.bodies.goal_lane[w, i, goal],
                float(e.bodies.goal_s[w, i, goal]),
                int(e.grid.lane_point[index, 5]) + e.lanes.map_lane_first[e.worlds.map[w]],
                float(e.grid.lane_point[index, 4]),
                float(e.bodies.weight[w, i, 0]),
            )
            relative = way - float(e.agents.goal_distance[w, i])
            out.append([*self.pose(*e.grid.lane_point[index, :4]), relative, 1.0])
        return out

    def boundaries(self, near: int, slots: int) -> list[list[float]]:
        e = self.engine
        out: list[list[float]] = []
        for slot in range(min(slots, e.grid.near_boundary.shape[1]) if near >= 0 else 0):
            index = e.grid.near_boundary[near, slot]
            if index < 0:
                break
            if not self.dropped(float(e.params.boundary_dropout), 0x8000 + slot):
                out.append([*self.pose(*e.grid.boundary_point[index]), 1.0])
        return out

    def stop_lines(self, near: int, on_way: list[int]) -> list[list[float]]:
        e = self.engine
        first = e.signs.map_line_first[e.worlds.map[self.world]]
        out = []
        for index in e.grid.near_stop_line[near] if near >= 0 else []:
            if index < 0:
                break
            colour = e.lights.line_colour[self.world, index - first]
            if colour == NO_LIGHT:
                continue
            states = [float(colour == c) for c in (RED, YELLOW, GREEN, STOP_SIGN)]
            own = float(index in on_way)
            out.append([*self.pose(*e.signs.line[index, :4]), *states, own, 1.0])
        return out

    def is_blind(self) -> bool:
        erratic = self.engine.bodies.erratic[self.world, self.agent]
        spell = int(self.tick) * int(self.engine.worlds.dt_ns[self.world]) // 4_800_000_000
        draw = uniforms(self.key, self.stream, self.agent, spell, self.ERRATIC, 1)[0]
        return bool(erratic & BLIND) and draw < 0.5

    def noise(self, j: int) -> tuple[float, float, float]:
        """By how much place [m] and speed [m/s] of another body are seen wrongly."""
        e = self.engine
        if e.params.noise <= 0.0:
            return 0.0, 0.0, 0.0
        p, q, r, s = uniforms(self.key, self.stream, self.agent, self.tick, self.NOISE, j)
        x, y = normals(p, q)
        scale = float(e.params.noise)
        return scale * x, scale * y, scale * normals(r, s)[0]

    def neighbours(self, slots: int) -> list[list[float]]:
        e, w, i = self.engine, self.world, self.agent
        a, b = e.agents, e.bodies
        if self.is_blind():
            return []
        ahead = 0.5 * b.wheelbase[w].astype(np.float64)
        x, y = a.x[w] + ahead * a.cos[w], a.y[w] + ahead * a.sin[w]
        distance = np.hypot(x - self.x, y - self.y)
        seen = (a.status[w] != ABSENT) & (distance <= 200.0)
        seen[i] = False
        order = sorted(np.flatnonzero(seen), key=lambda j: distance[j])
        on_way = self.on_the_way()
        own = self.box(i)
        out = []
        for j in map(int, order[:slots]):
            noise = self.noise(j)
            at = self.pose(x[j] + noise[0], y[j] + noise[1], a.cos[w, j], a.sin[w, j])
            speed = float(a.speed[w, j]) + noise[2]
            along, across = speed * at[2], speed * at[3]
            closing = at[0] * (float(a.speed[w, i]) - along) - at[1] * across
            gap = own.distance(shapely.affinity.translate(self.box(j), noise[0], noise[1]))
            kind = list(BODY_TYPES)[b.type[w, j]]
            out.append(
                [
                    *at[:2],
                    *at,
                    along,
                    across,
                    gap,
                    closing / max(math.hypot(*at[:2]), 1e-3),
                    float(b.length[w, j]),
                    float(b.width[w, j]),
                    float(a.z[w, j]) - float(a.z[w, i]),
                    float(j in on_way),
                    {"pedestrian": 1.0, "bicycle": 0.5, "motorcycle": 0.5}.get(kind, 0.0),
                    1.0,
                ]
            )
        return out
