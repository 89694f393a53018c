"""What the worlds of Scenes-v0 are drawn from: scenes, their maps, and who drives in them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.envs.scenes.lane_graph import network_of
from selfdrive_env.envs.scenes.tables import learners_of, make_scenes, order_of
from selfdrive_env.maps import compiled
from selfdrive_env.maps import load as load_map
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.metrics import Road, logged_routes, road_of_network, with_recorded_edges
from selfdrive_env.metrics.lines.ways import Ways
from selfdrive_env.metrics.routes import logged_arcs
from selfdrive_env.scenes import Scene, SceneError, Tracks
from selfdrive_env.scenes.tracks import KINDS, SERIES
from selfdrive_env.state.arrays import digest
from selfdrive_env.state.params import SceneOrder

__all__ = ["Known", "Prepared", "Situations", "map_of", "prepared"]


class Prepared(NamedTuple):
    """A scene and the map that it is on, ready to be driven."""

    scene: Scene
    key: str
    """Alike for scenes on one map."""

    source: str | RoadNetwork
    road: CompiledMap


class Known(NamedTuple):
    """What was found of maps before."""

    roads: dict[str, CompiledMap]
    """By key."""

    keys: dict[int, str]
    """Of networks that scenes share, by their `id`."""


def prepared(scene: Scene, layout: ObservationLayout, known: Known) -> Prepared:
    """Returns a scene ready to be driven.

    Args:
        scene: The scene.
        layout: Of observations.
        known: Of maps before; gets what is found.

    Raises:
        SceneError: It has no map, and none can be made.
    """
    source = map_of(scene)
    key = "" if scene.map is None else known.keys.get(id(scene.map), "")
    if not key:
        own = isinstance(source, RoadNetwork)
        key = f"{own}/{source.digest() if isinstance(source, RoadNetwork) else source}"
        known.keys[id(scene.map)] = key
    if key not in known.roads:
        names = ("lane_points", "boundary_points", "stop_lines")
        counts = {name: max(getattr(layout, name), 1) for name in names}
        known.roads[key] = compiled(source, **counts)
    return Prepared(scene, key, source, known.roads[key])


class Recorded(NamedTuple):
    """What is known of the agents of a scene from its present moment on, in the order of slots."""

    agents: int
    body: dict[str, NDArray[Any]]
    """Length, width and kind, each [agent]."""

    log: dict[str, NDArray[Any]] | None
    """Series of `Tracks`, each [agent, moment]; None where nothing was recorded."""

    ways: Ways
    """That its learners were recorded on."""


class Situations:
    """Scenes as a vector environment is handed them.

    Args:
        scenes: At least one.
        who: `learners`, `traffic`, `driver` and `takeover` as `tables.make_scenes` takes them.
        order: In which they come.
        layout: Of observations.
        slots: Agents that there is room for in a world, None for those of the largest scene.
        left_over: So many scenes at the end are driven to their end and do not come again.
        before: Those that they come after: what metrics know of the same maps is not made again.
    """

    def __init__(
        self,
        scenes: Sequence[Scene | Prepared],
        who: Mapping[str, str | None],
        order: SceneOrder,
        layout: ObservationLayout,
        *,
        slots: int | None = None,
        left_over: int = 0,
        before: Situations | None = None,
    ) -> None:
        known = Known({}, {})
        self.ready = [
            one if isinstance(one, Prepared) else prepared(one, layout, known) for one in scenes
        ]
        self.scenes = [one.scene for one in self.ready]
        self.order, self.left_over = order, left_over
        self.who: dict[str, Any] = dict(who)
        keys = list(dict.fromkeys(one.key for one in self.ready))
        place = {key: number for number, key in enumerate(keys)}
        first = {one.key: one for one in reversed(self.ready)}
        self.map_of = [place[one.key] for one in self.ready]
        self.maps = [first[key].source for key in keys]
        self.roads = [first[key].road for key in keys]
        self.most = max(len(one.agents) for one in self.scenes) if slots is None else slots
        for scene in self.scenes:
            if len(scene.agents) > self.most:
                raise SceneError(
                    f"scene {scene.name or scene.source!r} has {len(scene.agents)} agents, a world "
                    f"has room for {self.most}: give scene_agents={len(scene.agents)} or more"
                )
        roads: dict[str, Road] = {} if before is None else before._metric_roads
        self._metric_roads: dict[str, Road] = {
            key: road for key, road in roads.items() if key in place
        }
        self._recorded: dict[int, Recorded] = {}
        rows = max(len(learners_of(one, self.who["learners"])) for one in self.scenes)
        self.rows_per_world = rows if slots is None or self.who["learners"] == "ego" else slots

    def surroundings(
        self, left_out: Collection[int] = ()
    ) -> tuple[list[CompiledMap], dict[str, Any]]:
        """Returns the pool of maps, and what the engine is told of scenes.

        Args:
            left_out: Drivers that the engine is without.

        Raises:
            SceneError: As `make_scenes` does.
        """
        table = make_scenes(
            self.scenes, self.roads, self.map_of, self.maps, slots=self.most, left_out=left_out,
            **self.who,
        )  # fmt: skip
        count = len(self.scenes) - self.left_over
        return self.roads, {"scenes": table, "scene_order": self.order, "num_scenes": count}

    def learners_of(self, number: int) -> int:
        """Returns how many agents of a scene are rows."""
        return len(learners_of(self.scenes[number], self.who["learners"]))

    def order_of(self, number: int) -> list[int]:
        """Returns which agent of a scene each slot is: those that are rows come first."""
        return order_of(self.scenes[number], self.who["learners"])

    def road(self, number: int) -> Road:
        """Returns the road that a scene is on, as metrics take it; made once a map."""
        key, scene = self.ready[number].key, self.scenes[number]
        if key not in self._metric_roads:
            road = road_of_network(load_map(self.maps[self.map_of[number]]))
            if scene.map is None and scene.roads is not None:
                road = with_recorded_edges(road, scene.roads)
            self._metric_roads[key] = road
        return self._metric_roads[key]

    def recorded(self, number: int) -> Recorded:
        """Returns what is known of the agents of a scene; made once."""
        if number not in self._recorded:
            scene, order = self.scenes[number], self.order_of(number)
            agents = [scene.agents[one] for one in order]
            body: dict[str, NDArray[Any]] = {
                "length": np.array([agent.length for agent in agents], np.float32),
                "width": np.array([agent.width for agent in agents], np.float32),
                "kind": np.array([KINDS.index(agent.kind) for agent in agents], np.uint8),
            }
            log, ways = None, Ways.of([None] * self.learners_of(number))
            if scene.tracks is not None:
                cut = np.s_[order, scene.current : scene.steps]
                log = {name: getattr(scene.tracks, name)[cut] for name in (*SERIES, "valid")}
                ways = self._ways(log, body, self.learners_of(number))
            self._recorded[number] = Recorded(len(agents), body, log, ways)
        return self._recorded[number]

    @staticmethod
    def _ways(log: dict[str, NDArray[Any]], body: dict[str, NDArray[Any]], count: int) -> Ways:
        """Returns the ways that the first agents were recorded on."""
        own = {name: one[:count] for name, one in (log | body).items()}
        tracks = Tracks(id=np.arange(count), height=np.zeros(count, np.float32), **own)
        lines = {route.agent: route.lines for route in logged_routes(tracks, range(count))}
        ways = Ways.of([lines.get(agent) for agent in range(count)])
        return replace(ways, logged=logged_arcs(ways, tracks))

    def check_mask(self, by_world: NDArray[np.bool_]) -> None:
        """Raises a ValueError for rows to reset that are only some of a world's.

        Args:
            by_world: Which rows, [worlds, rows of a world].
        """
        if (by_world.any(1) != by_world.all(1)).any():
            raise ValueError(
                "options['reset_mask'] must be alike for all rows of a world: a scene starts "
                f"as a whole, and has {self.rows_per_world} rows"
            )

    @functools.cached_property
    def digest(self) -> str:
        """Of everything that it is made with."""
        how = "/".join((*map(str, self.who.values()), self.order.name))
        return digest("/".join((how, *(one.digest() for one in self.scenes))))


def map_of(scene: Scene) -> str | RoadNetwork:
    """Returns the map of a scene: its own, or one that is made of its recorded lines.

    Raises:
        SceneError: It has neither, or no lane that cars may drive on.
    """
    if scene.map is not None:
        return scene.map
    name = scene.name or Path(scene.source).name or "scene"
    if scene.roads is None:
        raise SceneError(f"scene {name!r} has neither map nor roads: Scenes-v0 needs lanes")
    return network_of(scene.roads, name=name, left_hand=scene.left_hand, lights=scene.lights)
