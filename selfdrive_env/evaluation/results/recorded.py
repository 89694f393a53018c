"""Driving recorded scenes: what a policy does in the ego's place, against what was recorded.

Every scene is driven once, its lights as recorded or by the programs of the map, everybody but the
ego as the scene or `traffic` says. Nothing ends an episode before the scene does, as in Waymax;
what went wrong is told by the metrics of `selfdrive_env.metrics`. Scenes go through some at a time,
and figures alone are kept of them: a folder may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.envs.scenes.environment import ScenesVectorEnv
from selfdrive_env.envs.scenes.loading import windows
from selfdrive_env.envs.scenes.poses import poses_of
from selfdrive_env.envs.scenes.situations import map_of
from selfdrive_env.envs.scenes.tables import order_of
from selfdrive_env.evaluation.policies import Candidate, fitting_layout, load
from selfdrive_env.maps import load as load_map
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.metrics import (
    WAYMAX,
    Road,
    compute,
    logged_routes,
    road_of_network,
    with_recorded_edges,
)
from selfdrive_env.metrics.scores import Outcome, nuplan_score, outcomes, waymax_score
from selfdrive_env.scenes import Scene, SceneError, Tracks

__all__ = ["EXPERT", "drive", "evaluate_scenes", "run", "scores_of", "with_recorded_ego"]

EXPERT = "expert"
"""Whoever drove when the scene was recorded: the name by which it is measured like a policy."""

WORLDS = 16
"""Scenes that are driven together, and read ahead while others are."""

RULES: dict[str, Any] = {
    **dict.fromkeys(("on_collision", "on_offroad", "on_red_light"), "ignore"), "preset": "eval",
}  # fmt: skip
SHARES = ("overlap", "offroad", "kinematic_infeasibility", "wrong_way", "off_route")
"""Metrics of which the share of scenes counts in which the ego was ever wrong."""

HEADS = {
    "scenes": "scenes",
    "collision_or_departure": "failed",
    "overlap": "overlap",
    "offroad": "off-road",
    "kinematic_infeasibility": "infeasible",
    "wrong_way": "wrong way",
    "off_route": "off route",
    "progression": "progress",
    "ade": "ADE",
    "fde": "FDE",
    "nuplan_score": "nuPlan",
    "waymax_score": "Waymax",
}
"""Figure -> its column in a table."""


class Figures(NamedTuple):
    """What is kept of a scene that was driven."""

    row: dict[str, float]
    """Figures of the ego."""

    outcomes: list[Outcome]
    """For the score over all scenes."""


class Driven(NamedTuple):
    """A scene from its present moment on."""

    scene: Scene
    simulated: Tracks
    log: Tracks
    """What was recorded of the same agents at the same moments."""


def drive(
    policy: Candidate, scenes: Sequence[Scene], *, traffic: str | None = None, seed: int = 0
) -> list[Driven]:
    """Drives each scene once, with a policy as its ego.

    Args:
        policy: Drives; its likeliest actions.
        scenes: With recorded tracks.
        traffic: Who drives the others, as for `ScenesVectorEnv`.
        seed: Of all that is drawn.

    Raises:
        SceneError: A scene has no recorded track or nobody to drive.
    """
    out: list[Driven] = []
    for first in range(0, len(scenes), WORLDS):
        out += _drive_some(policy, scenes[first : first + WORLDS], traffic, seed)
    return out


def _drive_some(
    policy: Candidate, scenes: Sequence[Scene], traffic: str | None, seed: int
) -> list[Driven]:
    """Drives some scenes together, each in a world of its own."""
    scenes = [with_recorded_ego(scene) for scene in scenes]
    envs = ScenesVectorEnv(
        len(scenes), scene=list(scenes), traffic=traffic, scene_order="sequence",
        autoreset_mode="NextStep", on_goal="new_route", layout=fitting_layout(policy),
        **RULES, **policy.under(),
    )  # fmt: skip
    observations, _ = envs.reset(seed=seed)
    frames, over = [poses_of(envs.engine)], np.zeros(len(scenes), np.bool_)
    for _ in range(int(envs.engine.scenes.horizon.max())):
        observations, _, terminated, truncated, _ = envs.step(policy.act(observations))
        ends, poses = terminated | truncated, poses_of(envs.engine)
        poses.there[ends, 0] = True  # who learns leaves with the last moment, and is where it was
        poses.there[over] = False
        frames.append(poses)
        over |= ends
    envs.close()
    stacked = [np.stack(column, 2) for column in zip(*frames, strict=True)]
    return [_driven(scene, [one[world] for one in stacked]) for world, scene in enumerate(scenes)]


def with_recorded_ego(scene: Scene) -> Scene:
    """Returns a scene whose ego was recorded: its own, else the vehicle that drove farthest.

    An ego without a record, such as that of a planning problem of CommonRoad, is left out then.

    Raises:
        SceneError: No vehicle that is there at the present moment was recorded.
    """
    tracks, ego = scene.tracks, scene.ego
    if tracks is not None and ego >= 0 and tracks.valid[ego, scene.current]:
        return scene
    best, most = -1, -1.0
    for number, agent in enumerate(scene.agents):
        if tracks is None or agent.kind != "vehicle" or not tracks.valid[number, scene.current]:
            continue
        way = float(np.hypot(tracks.vx[number], tracks.vy[number]).sum())
        if way > most:
            best, most = agent.id, way
    if most < 0.0:
        raise SceneError(f"scene {scene.name or scene.source!r} has no vehicle that was recorded")
    if ego >= 0:
        scene = scene.without(scene.agents[ego].id)
    return scene.with_ego(best)


def _driven(scene: Scene, columns: Sequence[NDArray[Any]]) -> Driven:
    """Returns a scene with its tracks in the order of its agents."""
    assert scene.tracks is not None
    order = order_of(scene, "ego")
    moments = scene.steps - scene.current
    agents = np.empty(len(order), np.int64)
    agents[order] = np.arange(len(order))
    x, y, z, heading, vx, vy, there = (column[agents, :moments] for column in columns)
    tracks, valid = scene.tracks, there.astype(np.bool_)
    own: dict[str, Any] = {
        name: getattr(tracks, name) for name in ("id", "kind", "length", "width", "height")
    }
    series: dict[str, Any] = {"x": x, "y": y, "z": z, "heading": heading, "vx": vx, "vy": vy}
    for name, value in series.items():
        series[name] = np.where(valid, value, 0.0).astype(getattr(tracks, name).dtype)
    cut = {name: getattr(tracks, name)[:, scene.current :] for name in (*series, "valid")}
    return Driven(scene, Tracks(**own, **series, valid=valid), Tracks(**own, **cut))


def scores_of(driven: Sequence[Driven], roads: dict[str, Road] | None = None) -> dict[str, Any]:
    """Returns figures over scenes: shares, means, and the scores of nuPlan and Gigaflow.

    Args:
        driven: At least one.
        roads: Those of maps that are known by name; gets those that are looked up.
    """
    known: dict[str, Road] = {} if roads is None else roads
    return _means([_figures(one, known) for one in driven])


def _means(figures: Sequence[Figures]) -> dict[str, Any]:
    """Returns figures over scenes."""
    rows = [one.row for one in figures]
    found = [outcome for one in figures for outcome in one.outcomes]
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    waymax = waymax_score(found)["score"] if found else 0.0
    return {"scenes": len(rows), **means, "waymax_score": waymax}


def _figures(one: Driven, known: dict[str, Road]) -> Figures:
    """Returns the figures of a scene."""
    ego, road = one.scene.ego, _road_of(one.scene, known)
    routes = logged_routes(one.log, [ego])
    given: dict[str, Any] = {"dt": one.scene.dt, "log": one.log, "road": road, "routes": routes}
    metrics = compute(WAYMAX, one.simulated, agents=[ego], **given)
    row = {name: float(metrics[name].above(0.0).most().value[0]) for name in SHARES}
    row["collision_or_departure"] = max(row["overlap"], row["offroad"])
    apart = metrics["log_divergence"]
    row["ade"], row["fde"] = (float(m.value[0]) for m in (apart.by_agent(), apart.last()))
    row["progression"] = float(metrics["progression"].last().value[0])
    row["nuplan_score"] = float(nuplan_score(one.simulated, **given)["score"].value[ego])
    return Figures(row, outcomes(one.simulated, **given))


def _road_of(scene: Scene, known: dict[str, Road]) -> Road:
    """Returns the road of a scene for metrics, made once of a map with a name."""
    source = map_of(scene)
    if isinstance(source, RoadNetwork):
        road = road_of_network(source)
        return road if scene.roads is None else with_recorded_edges(road, scene.roads)
    if source not in known:
        known[source] = road_of_network(load_map(source))
    return known[source]


def evaluate_scenes(
    names: Sequence[str], source: Any, *, traffic: str | None = None, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Returns the figures of policies in recorded scenes, by policy.

    Args:
        names: Policies as of `evaluation.policies.load`, and `EXPERT`.
        source: Scenes, as for `ScenesVectorEnv`.
        traffic: Who drives the others.
        seed: Of all that is drawn.

    Raises:
        SceneError: Of scenes that cannot be driven.
        ValueError: Of policies that there are not.
    """
    policies = {name: _candidate(name, seed) for name in names}
    found: dict[str, list[Figures]] = {name: [] for name in policies}
    roads: dict[str, Road] = {}
    for scenes in windows(source, WORLDS):
        here = {scene.map for scene in scenes if isinstance(scene.map, str)}
        roads = {name: road for name, road in roads.items() if name in here}
        for name, policy in policies.items():
            found[name] += [
                _figures(one, roads) for one in drive(policy, scenes, traffic=traffic, seed=seed)
            ]
    return {name: _means(figures) for name, figures in found.items()}


def _candidate(name: str, seed: int) -> Candidate:
    """Returns a policy, or whoever drove when the scene was recorded."""
    if name != EXPERT:
        return load(name, seed=seed)
    return Candidate(name, load("constant").act, settings={"driver": "replay"})


def run(names: Sequence[str], source: str, *, traffic: str | None, as_json: bool) -> int:
    """Prints the figures of policies in recorded scenes; returns 0."""
    found = evaluate_scenes(names, source, traffic=traffic)
    if as_json:
        print(json.dumps(found, allow_nan=False))
        return 0
    print(f"{'':12}" + "".join(f"{head:>11}" for head in HEADS.values()))
    for name, figures in found.items():
        cells = (f"{figures[key]:>11.3g}" for key in HEADS)
        print(f"{name:12}" + "".join(cells))
    return 0
