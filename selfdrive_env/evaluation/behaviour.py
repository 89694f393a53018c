"""How a policy drives: the gap it keeps, how it takes bends, its pace, and whether it freezes.

These are the figures that tell whether behaviour follows the reward weights an agent is given.

An agent is *frozen* that has stood for `FROZEN_TIME` and had nothing to wait for all the while: no
red or yellow light and no body close ahead on its way, and nobody who comes and goes first. Who
stands behind one that is frozen waits for a body, so of a queue only the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.evaluation.incidents import CAUSES
from selfdrive_env.maps.compile.routes import lane_graph_distance
from selfdrive_env.state.places import box_centre
from selfdrive_env.state.road import LEVEL_HEIGHT, SEG_COS, SEG_S, SEG_SIN, SEG_X, SEG_Y
from selfdrive_env.state.world import ABSENT, PRESENT, RED, STOP_SIGN, YELLOW

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = ["FROZEN_TIME", "ROWS", "Behaviour", "Sums", "reason_to_stand"]

EVERY = 0.5
"""Time between two looks at the gaps [s]."""

FOLLOWING_SPEED, FOLLOWING_REACH = 3.0, 40.0
"""An agent follows another from this speed on [m/s], at up to this gap [m]."""

ALIGNED_COS = 0.9
BEND = 0.5
"""Lateral acceleration counts where it is at least this [m/s^2]."""

FROZEN_TIME, FROZEN_EVERY = 20.0, 2.0
"""Who stands for longer without a reason is frozen; time between two looks for reasons [s]."""

STANDING_SPEED = 0.1
"""Who is slower stands [m/s]."""

REASON_REACH, LINE_PASSED = 25.0, 1.0
"""How far ahead of the front a light or a body is a reason to stand, and how far behind it a line
may lie [m]."""

COMING_SPEED, COMING_TIME = 1.0, 6.0
"""Who goes first is a reason from this speed on [m/s], until this long before it is there [s]."""

ROWS = {
    "gap": "gap to the vehicle ahead, mean [m]",
    "headway": "the same over the own speed, mean [s]",
    "lateral_acceleration": "lateral acceleration in bends, mean [m/s^2]",
    "lateral_acceleration_95": "95 % of it lies below [m/s^2]",
    "speed": "mean speed [m/s]",
    "red_lights_per_km": "red lights run [1/km]",
    "frozen": "standing without a reason, share of time",
}
"""Figure -> meaning."""

MAX_LANES = 64
"""Of a way: lanes without length might lead round and round."""

HISTOGRAM = np.linspace(0.0, 5.0, 201)


class Sums:
    """What behaviour is told from, one row a world."""

    def __init__(self, worlds: int) -> None:
        """Starts from nothing.

        Args:
            worlds: Number of worlds.
        """
        self.gaps = np.zeros((worlds, 3))
        self.speeds = np.zeros((worlds, 2))
        self.lateral = np.zeros((worlds, 2))
        self.histogram = np.zeros((worlds, len(HISTOGRAM) - 1), np.int64)
        self.frozen = np.zeros((worlds, 2))

    def figures(self, km: float, counts: NDArray[np.int64]) -> dict[str, float | None]:
        """Returns the figures of `ROWS`; None where there was nothing to look at.

        Args:
            km: Driven.
            counts: Incidents by world and cause, [W, causes].
        """
        gaps = self.gaps.sum(0)
        below = np.cumsum(self.histogram.sum(0))
        high = None
        if below[-1] > 0:
            high = float(HISTOGRAM[1:][np.searchsorted(below, 0.95 * below[-1])])
        reds = int(counts[:, CAUSES.index("red_light")].sum())
        return {
            "gap": _mean(gaps[0], gaps[2]),
            "headway": _mean(gaps[1], gaps[2]),
            "lateral_acceleration": _mean(*self.lateral.sum(0)),
            "lateral_acceleration_95": high,
            "speed": _mean(*self.speeds.sum(0)),
            "red_lights_per_km": _mean(reds, km),
            "frozen": _mean(*self.frozen.sum(0)),
        }


class Behaviour:
    """Looks at an evaluation: called after each step."""

    def __init__(self, engine: Engine) -> None:
        """Starts from nothing."""
        dt = float(engine.params.dt)
        self.engine = engine
        self.every = max(1, round(EVERY / dt))
        self.idle_every = max(1, round(FROZEN_EVERY / dt))
        self.idle = np.zeros(engine.agents.x.shape)
        """How long each agent has stood with nothing to wait for [s]."""

        self.sums = Sums(len(engine.agents.x))

    def after_step(self, step: int, free: NDArray[np.bool_]) -> None:
        """Looks at chosen agents.

        Args:
            step: Number of the step.
            free: Agents outside incidents, [W, A].
        """
        if step % self.idle_every == 0:
            self._look_for_reasons(free)
        if step % self.every:
            return
        agents = self.engine.agents
        sums = self.sums
        for world, chosen in enumerate(free & (agents.status != ABSENT)):
            speed = agents.speed[world]
            sums.speeds[world] += speed[chosen].sum(), np.count_nonzero(chosen)
            lateral = np.abs(agents.lateral_acceleration[world, chosen])
            lateral = lateral[lateral >= BEND]
            sums.lateral[world] += lateral.sum(), len(lateral)
            sums.histogram[world] += np.histogram(np.minimum(lateral, HISTOGRAM[-1]), HISTOGRAM)[0]
            gap = gaps_ahead(self.engine, world)
            follows = chosen & np.isfinite(gap) & (speed > FOLLOWING_SPEED)
            headway = gap[follows] / speed[follows]
            sums.gaps[world] += gap[follows].sum(), headway.sum(), len(headway)

    def _look_for_reasons(self, free: NDArray[np.bool_]) -> None:
        """Counts who is frozen among chosen agents, [W, A]."""
        agents, dt = self.engine.agents, float(self.engine.params.dt)
        free = free & (agents.status == PRESENT)
        stands = free & (np.abs(agents.speed) < STANDING_SPEED)
        for world, agent in np.argwhere(stands).tolist():
            stands[world, agent] = not reason_to_stand(self.engine, world, agent)
        longer = np.minimum(self.idle + self.idle_every * dt, agents.age * dt)
        self.idle = np.where(stands, longer, 0.0)
        frozen = np.count_nonzero(self.idle >= FROZEN_TIME, axis=1)
        self.sums.frozen += np.stack([frozen, np.count_nonzero(free, axis=1)], 1)


def _mean(total: float, count: float) -> float | None:
    return float(total) / float(count) if count > 0 else None


def gaps_ahead(engine: Engine, world: int) -> NDArray[np.float64]:
    """Returns the gap from each front to the next rear straight ahead, infinite without one [m].

    Counted are bodies with headings within 26 degrees that overlap the agent sideways.

    Args:
        engine: The worlds.
        world: Which of them.
    """
    agents, bodies = engine.agents, engine.bodies
    cos, sin = agents.cos[world].astype(np.float64), agents.sin[world].astype(np.float64)
    x, y = box_centre(agents.x[world], agents.y[world], cos, sin, bodies.wheelbase[world])
    east, north = x[None] - x[:, None], y[None] - y[:, None]
    along = east * cos[:, None] + north * sin[:, None]
    across = np.abs(north * cos[:, None] - east * sin[:, None])
    half_length, half_width = 0.5 * bodies.length[world], 0.5 * bodies.width[world]
    gap = along - half_length[:, None] - half_length[None]
    ahead = (along > 0.0) & (across < half_width[:, None] + half_width[None])
    ahead &= cos[:, None] * cos[None] + sin[:, None] * sin[None] > ALIGNED_COS
    ahead &= np.abs(agents.z[world][:, None] - agents.z[world][None]) < LEVEL_HEIGHT
    ahead &= (gap >= 0.0) & (gap <= FOLLOWING_REACH) & (agents.status[world] != ABSENT)[None]
    np.fill_diagonal(ahead, False)
    return np.where(ahead, gap, np.inf).min(1)


def reason_to_stand(engine: Engine, world: int, agent: int) -> str:
    """Returns what an agent has to wait for: "light", "body", "right_of_way", or "" for nothing.

    Args:
        engine: The worlds.
        world: Which of them.
        agent: Who stands.
    """
    half_length = 0.5 * float(engine.bodies.length[world, agent])
    way = _way(engine, world, agent, half_length + REASON_REACH)
    for colour, place in _lines(engine, world, way):
        if colour in (RED, YELLOW) and -LINE_PASSED < place - half_length <= REASON_REACH:
            return "light"
    if gaps_ahead(engine, world)[agent] <= REASON_REACH or _is_blocked(engine, world, agent, way):
        return "body"
    return "right_of_way" if _is_to_yield(engine, world, agent, way) else ""


def _way(engine: Engine, world: int, agent: int, reach: float) -> list[tuple[int, float]]:
    """Returns the lanes of an agent's way with where each starts, from its box centre on [m].

    Args:
        engine: The worlds.
        world: Which of them.
        agent: Whose way it is.
        reach: How far it is followed [m].
    """
    lanes, agents, bodies = engine.lanes, engine.agents, engine.bodies
    number = agents.goal[world, agent]
    goal = int(bodies.goal_lane[world, agent, number]), float(bodies.goal_s[world, agent, number])
    lane = int(lanes.segment_lane[agents.segment[world, agent]])
    way = [(lane, -float(agents.s[world, agent]))]
    while (start := way[-1][1] + float(lanes.length[lane])) <= reach and len(way) < MAX_LANES:
        ahead = lanes.successor[lanes.successor_first[lane] : lanes.successor_first[lane + 1]]
        bends = lanes.max_curvature[ahead] <= bodies.max_curvature[world, agent]
        if not bends.any():
            break
        lane = min(
            ahead[bends].tolist(),
            key=lambda one: lane_graph_distance(lanes, engine.routes, (one, 0.0), goal),
        )
        way.append((lane, start))
    return way


def _lines(engine: Engine, world: int, way: list[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Yields the colour of each stop line on a way, and where it lies [m]."""
    signs = engine.signs
    first = signs.map_line_first[engine.worlds.map[world]]
    for lane, start in way:
        for link in range(*signs.lane_line_first[lane : lane + 2].tolist()):
            colour = engine.lights.line_colour[world, signs.lane_line[link] - first]
            yield int(colour), start + float(signs.lane_line_s[link])


def _is_blocked(engine: Engine, world: int, agent: int, way: list[tuple[int, float]]) -> bool:
    """Whether a body reaches into what a body of the own width sweeps over ahead on a way."""
    agents, bodies = engine.agents, engine.bodies
    others = agents.status[world] != ABSENT
    others &= np.abs(agents.z[world] - agents.z[world, agent]) < LEVEL_HEIGHT
    others[agent] = False
    cos, sin = agents.cos[world, others], agents.sin[world, others]
    centre = agents.x[world, others], agents.y[world, others]
    centre = box_centre(*centre, cos, sin, bodies.wheelbase[world, others])
    long, wide = 0.5 * bodies.length[world, others], 0.5 * bodies.width[world, others]
    half_width = 0.5 * float(bodies.width[world, agent])
    begin = 0.5 * float(bodies.length[world, agent])
    x, y, way_cos, way_sin = _pieces(engine, way, begin, begin + REASON_REACH)[:, :, None]
    east, north = x - centre[0], y - centre[1]
    turned_cos = np.abs(cos * way_cos + sin * way_sin)
    turned_sin = np.abs(sin * way_cos - cos * way_sin)
    # Boxes that are apart are so along an axis of one of them.
    meets = np.abs(east * cos + north * sin) <= long + 0.5 * turned_cos + half_width * turned_sin
    meets &= np.abs(north * cos - east * sin) <= wide + 0.5 * turned_sin + half_width * turned_cos
    ahead, aside = east * way_cos + north * way_sin, north * way_cos - east * way_sin
    meets &= np.abs(ahead) <= 0.5 + long * turned_cos + wide * turned_sin
    meets &= np.abs(aside) <= half_width + long * turned_sin + wide * turned_cos
    return bool(meets.any())


def _pieces(
    engine: Engine, way: list[tuple[int, float]], begin: float, end: float
) -> NDArray[np.float64]:
    """Returns the middles and directions of pieces of a way, one metre long each.

    Args:
        engine: The worlds.
        way: As `_way` returns it.
        begin: Where the first piece begins [m].
        end: Where the last one ends [m].

    Returns:
        x, y [m], cos, sin, [4, pieces].
    """
    lanes, points = engine.lanes, []
    for lane, start in way:
        rows = lanes.segment[slice(*lanes.segment_first[lane : lane + 2].tolist())]
        s = np.arange(max(begin - start, 0.0), min(float(lanes.length[lane]), end - start)) + 0.5
        at = rows[np.maximum(np.searchsorted(rows[:, SEG_S], s, "right") - 1, 0)].T
        along = s - at[SEG_S]
        x, y = at[SEG_X] + along * at[SEG_COS], at[SEG_Y] + along * at[SEG_SIN]
        points.append(np.array([x, y, at[SEG_COS], at[SEG_SIN]], np.float64))
    return np.concatenate(points, 1)


def _is_to_yield(engine: Engine, world: int, agent: int, way: list[tuple[int, float]]) -> bool:
    """Whether somebody who goes first comes to the junction that is next on a way."""
    lanes, signs, agents = engine.lanes, engine.signs, engine.agents
    junctions = [int(lanes.junction[lane]) for lane, _ in way]
    inside = [junction for junction in junctions if junction >= 0][:1]
    foes = {
        int(foe)
        for (lane, _), junction in zip(way, junctions, strict=True)
        if junction in inside
        for foe in signs.foe[slice(*signs.foe_first[lane : lane + 2].tolist())]
    }
    comes = (agents.status[world] == PRESENT) & (agents.speed[world] >= COMING_SPEED)
    comes[agent] = False
    for other in np.flatnonzero(comes).tolist() if foes else []:
        half_length = 0.5 * float(engine.bodies.length[world, other])
        reach = half_length + COMING_TIME * float(agents.speed[world, other])
        for place, (lane, start) in enumerate(ahead := _way(engine, world, other, reach)):
            if lane in foes:
                lines = list(_lines(engine, world, ahead[: place + 1]))
                if not any(
                    colour in (RED, YELLOW, STOP_SIGN) and half_length < at <= max(start, 0.0) + 1.0
                    for colour, at in lines
                ):
                    return True
    return False
