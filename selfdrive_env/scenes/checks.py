"""What cannot be right in a scene: sizes, ids, tracks, bodies in each other or off the road."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_choice, check_integer, check_number, suggestion
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.scenes.agents import ALWAYS, DRIVERS, KINDS, Agent, Goal, SceneError
from selfdrive_env.scenes.roads import MAX_COORDINATE

if TYPE_CHECKING:
    from selfdrive_env.scenes.scene import Scene

__all__ = ["check_apart", "check_parts", "check_road"]

MAX_AGENTS, MAX_STEPS, MAX_LIGHTS = 10_000, 1_000_000, 10_000

NUMBERS = {
    **dict.fromkeys(("x", "y", "z"), (-MAX_COORDINATE, MAX_COORDINATE)),
    "heading": (-1e6, 1e6),
    "speed": (-200.0, 200.0),
    "length": (0.05, 60.0),
    "width": (0.05, 60.0),
    "height": (0.0, 60.0),
}
"""Least and most of each number of an agent; long and wide things lie about on real roads."""

STOREY = 2.5
"""Bodies further apart than this in height are on different levels of a road [m]."""


def check_parts(scene: Scene) -> None:
    """Raises a SceneError where parts of a scene do not fit each other."""
    try:
        check_number("dt", scene.dt, 1e-3, 10.0)
        check_integer("steps", scene.steps, 1, MAX_STEPS)
        check_integer("current", scene.current, 0, scene.steps - 1)
        check_integer("number of agents", len(scene.agents), 1, MAX_AGENTS)
        check_integer("ego", scene.ego, -1, len(scene.agents) - 1)
        for number in scene.of_interest:
            check_integer("of_interest", number, 0, len(scene.agents) - 1)
        if not _all_usual(scene.agents):
            for agent in scene.agents:
                _check_agent(agent)
    except ValueError as error:
        raise SceneError(f"{_name(scene)}: {error}") from None
    for wrong in (_odd_ids(scene), _odd_surroundings(scene), _odd_tracks(scene)):
        if wrong:
            raise SceneError(f"{_name(scene)}: {wrong}")
    check_apart(scene)


def _name(scene: Any) -> str:
    return f"scene {scene.name!r}" if scene.name else "scene"


def _all_usual(agents: Any) -> bool:
    """Whether agents are beyond doubt as they should be; looks at them all at once."""
    if not all(
        type(agent) is Agent
        and type(agent.id) is int
        and agent.kind in KINDS
        and agent.driver in DRIVERS
        and not agent.route
        and all(type(g) is Goal and not (g.lanes or g.outline) for g in agent.goals)
        for agent in agents
    ):
        return False
    body = [[getattr(agent, name) for name in NUMBERS] for agent in agents]
    goals = [[g.x, g.y, g.z, g.radius] for agent in agents for g in agent.goals]
    spans = [[g.time, g.heading, g.speed] for agent in agents for g in agent.goals]
    if not all(type(value) is float for row in [*body, *goals] for value in row):
        return False
    low, high = np.array(list(NUMBERS.values())).T
    numbers, places = np.array(body), np.array(goals).reshape(-1, 4)
    return bool(
        ((numbers >= low) & (numbers <= high)).all()
        and (np.abs(places[:, :3]) <= MAX_COORDINATE).all()
        and (places[:, 3] > 0.0).all()
        and all(span == (ALWAYS,) * 3 for span in map(tuple, spans))
        and all(abs(agent.id) < 2**63 for agent in agents)
    )


def _check_agent(agent: Any) -> None:
    if not isinstance(agent, Agent):
        raise ValueError(f"agents must be a list of Agent, got {str(agent)[:80]!r} in it")
    name = f"agent {agent.id!r}"
    check_integer("id of an agent", agent.id, -(2**63), 2**63 - 1)
    check_choice(f"{name}: kind", agent.kind, KINDS)
    if agent.driver not in DRIVERS:
        raise ValueError(
            f"{name}: driver must be one of {', '.join(DRIVERS)}, got {agent.driver!r}"
            f"{suggestion(agent.driver, DRIVERS, '')}"
        )
    for field, (low, high) in NUMBERS.items():
        check_number(f"{name}: {field}", getattr(agent, field), low, high)
    if not all(isinstance(lane, str) for lane in agent.route):
        raise ValueError(f"{name}: route must be names of lanes, got {agent.route!r}")
    for goal in agent.goals:
        if not isinstance(goal, Goal):
            raise ValueError(f"{name}: goals must be a list of Goal, got {str(goal)[:80]!r} in it")
        for field in ("x", "y", "z"):
            check_number(f"{name}: goal.{field}", getattr(goal, field), *NUMBERS[field])
        if not goal.radius > 0.0:
            raise ValueError(f"{name}: goal.radius must be above 0, got {goal.radius!r}")
        for field in ("time", "heading", "speed"):
            low, high = getattr(goal, field)
            if not (low <= high and low < math.inf and high > -math.inf):
                raise ValueError(f"{name}: goal.{field} must be from low to high, got {low, high}")
        if not all(len(p) == 2 and all(map(math.isfinite, p)) for p in goal.outline):
            raise ValueError(f"{name}: goal.outline must be pairs of finite numbers")


def _odd_ids(scene: Scene) -> str | None:
    seen: set[int] = set()
    for agent in scene.agents:
        if agent.id in seen:
            return f"agents: the id {agent.id} stands more than once"
        seen.add(agent.id)
    if len(set(scene.of_interest)) < len(scene.of_interest):
        return f"of_interest: an agent stands more than once in {scene.of_interest}"
    return None


def _odd_surroundings(scene: Scene) -> str | None:
    if scene.map is not None and scene.roads is not None:
        return "it has a map and recorded roads; one of them is allowed"
    source: Any = scene.map
    if not isinstance(source, str | RoadNetwork | None):
        return f"map must be a name, a path, a RoadNetwork or None, got {type(source).__name__}"
    if scene.lights is not None and scene.lights.state.shape[1] != scene.steps:
        return f"lights have {scene.lights.state.shape[1]} steps, the scene {scene.steps}"
    return None


def _odd_tracks(scene: Scene) -> str | None:
    tracks = scene.tracks
    if tracks is None:
        for agent in scene.agents:
            if agent.driver == "replay":
                return f"agent {agent.id} is to be replayed, but the scene has no tracks"
        return None
    if tracks.num_steps != scene.steps:
        return f"tracks have {tracks.num_steps} steps, the scene {scene.steps}"
    if tracks.id.tolist() != [agent.id for agent in scene.agents]:
        return "tracks.id must be the ids of the agents, in their order"
    recorded: NDArray[np.bool_] = np.asarray(tracks.valid.any(axis=1))
    for number, agent in enumerate(scene.agents):
        if agent.driver == "replay" and not recorded[number]:
            return f"agent {agent.id} is to be replayed, but its track is nowhere valid"
        if KINDS[int(tracks.kind[number])] != agent.kind:
            return f"agent {agent.id}: kind is {agent.kind!r}, that of its track another"
        for size in ("length", "width", "height"):
            kept = float(getattr(tracks, size)[number])
            if float(np.float32(getattr(agent, size))) != kept:
                return f"agent {agent.id}: {size} is {getattr(agent, size)}, its track has {kept}"
    return None


def check_apart(scene: Scene) -> None:
    """Raises a SceneError where two bodies overlap that are not both as a record has them."""
    present = scene.present
    moved = [
        agent
        for agent, there in zip(scene.agents, present.tolist(), strict=True)
        if there and agent.driver != "replay"
    ]
    at = np.array([[agent.x, agent.y] for agent in moved]).reshape(-1, 2)
    reach = np.array([0.5 * math.hypot(agent.length, agent.width) for agent in moved])
    for number, one in enumerate(moved):
        distance = np.hypot(*(at[number + 1 :] - at[number]).T)
        for near in np.flatnonzero(distance < reach[number + 1 :] + reach[number]).tolist():
            other = moved[number + 1 + near]
            if _overlap(one, other):
                raise SceneError(
                    f"{_name(scene)}: agents {one.id} and {other.id} overlap at the start, around "
                    f"({one.x:.1f}, {one.y:.1f}); bodies must be apart unless one is replayed"
                )


def _overlap(one: Agent, other: Agent) -> bool:
    """Whether the boxes of two agents share an area: no axis of either parts them."""
    x, y = other.x - one.x, other.y - one.y
    if abs(one.z - other.z) > STOREY:
        return False
    for turn in (0.0, 0.5 * math.pi):
        for axis in (one.heading + turn, other.heading + turn):
            width = sum(
                0.5 * abs(agent.length * math.cos(agent.heading - axis))
                + 0.5 * abs(agent.width * math.sin(agent.heading - axis))
                for agent in (one, other)
            )
            if abs(x * math.cos(axis) + y * math.sin(axis)) >= width - 1e-9:
                return False
    return True


def check_road(scene: Scene, network: RoadNetwork) -> None:
    """Raises a SceneError where a vehicle that is not replayed does not stand on the road.

    Args:
        scene: The scene.
        network: Its map.
    """
    from selfdrive_env.maps.compile.surface import surface_edges, surface_polygons

    agents = [
        agent
        for agent, there in zip(scene.agents, scene.present.tolist(), strict=True)
        if there and agent.driver != "replay" and agent.kind == "vehicle"
    ]
    if not agents:
        return
    at = np.array([[agent.x, agent.y] for agent in agents])
    inside = np.zeros(len(agents), bool)
    for surface in surface_polygons(network):
        inside |= _within(at, surface_edges(surface)[0])
    for agent in (agents[number] for number in np.flatnonzero(~inside)):
        raise SceneError(
            f"{_name(scene)}: agent {agent.id} at ({agent.x:.1f}, {agent.y:.1f}) is not on the "
            f"road of map {network.name!r}"
        )
    names = {lane.name for lane in network.lanes}
    for agent in scene.agents:
        for lane in [*agent.route, *(lane for goal in agent.goals for lane in goal.lanes)]:
            if lane not in names:
                raise SceneError(
                    f"{_name(scene)}: agent {agent.id} is to drive on lane {lane!r}, which map "
                    f"{network.name!r} does not have"
                )


def _within(at: Any, edges: Any) -> Any:
    """Whether points [N, 2] lie within rings of edges [E, 4]: a ray crosses an odd number."""
    x0, y0, x1, y1 = edges.T
    out = np.zeros(len(at), bool)
    for number, (x, y) in enumerate(at):
        crossed = (y0 > y) != (y1 > y)
        where = x0[crossed] + (y - y0[crossed]) / (y1 - y0)[crossed] * (x1 - x0)[crossed]
        out[number] = np.count_nonzero(where > x) % 2
    return out
