"""What the worlds of Scenes-v0 are drawn from: scenes, their maps, and who drives in them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.layouts import ObservationLayout
from selfdrive_env.envs.scenes.lane_graph import network_of
from selfdrive_env.envs.scenes.tables import learners_of, make_scenes
from selfdrive_env.maps import compiled
from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.scenes import Scene, SceneError
from selfdrive_env.state.arrays import digest
from selfdrive_env.state.params import SceneOrder

__all__ = ["Situations", "map_of"]


class Situations:
    """Scenes as a vector environment is handed them.

    Args:
        scenes: At least one.
        who: `learners`, `traffic`, `driver` and `takeover` as `tables.make_scenes` takes them.
        order: In which they come.
    """

    def __init__(
        self, scenes: Sequence[Scene], who: Mapping[str, str | None], order: SceneOrder
    ) -> None:
        self.scenes, self.order = scenes, order
        self.who: dict[str, Any] = dict(who)
        self.maps, self.map_of = _maps_of(scenes)
        self.rows_per_world = max(len(learners_of(one, self.who["learners"])) for one in scenes)

    def surroundings(self, layout: ObservationLayout) -> tuple[list[CompiledMap], dict[str, Any]]:
        """Returns the pool of maps, and what the engine is told of scenes."""
        names = ("lane_points", "boundary_points", "stop_lines")
        counts = {name: max(getattr(layout, name), 1) for name in names}
        maps = [compiled(source, **counts) for source in self.maps]
        table = make_scenes(self.scenes, maps, self.map_of, **self.who)
        return maps, {"scenes": table, "scene_order": self.order}

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


def _maps_of(scenes: Sequence[Scene]) -> tuple[list[str | RoadNetwork], list[int]]:
    """Returns the maps that scenes are on, each once, and which of them each scene is on."""
    maps: dict[str, str | RoadNetwork] = {}
    places = []
    for scene in scenes:
        source = map_of(scene)
        own = isinstance(source, RoadNetwork)
        key = f"{own}/{source.digest() if isinstance(source, RoadNetwork) else source}"
        maps.setdefault(key, source)
        places.append(list(maps).index(key))
    return list(maps.values()), places


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
    return network_of(scene.roads, name=name, left_hand=scene.left_hand)
