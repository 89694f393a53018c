"""A scene: all that makes a world what it is at its start, and what was recorded of it, as data.

Every reader returns scenes, and the engine is given them; `Scene.save` keeps one in a file that
ends in .scene. Coordinates are in metres, `origin` was subtracted; headings run counter-clockwise
from +x.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import is_list
from selfdrive_env.maps import columns, load
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.scenes import edits
from selfdrive_env.scenes.agents import KINDS, Agent, Goal, SceneError
from selfdrive_env.scenes.checks import check_parts, check_road
from selfdrive_env.scenes.packing import pack, unpack
from selfdrive_env.scenes.roads import Lights, Roads
from selfdrive_env.scenes.tracks import Tracks

if TYPE_CHECKING:
    from selfdrive_env.state.arrays import U8

__all__ = ["SUFFIX", "Scene"]

SUFFIX = ".scene"
"""Of the files that `Scene.save` writes."""

FILE_HEADER, FILE_VERSION = "selfdrive_env_scene", 1


@dataclass(frozen=True, eq=False)
class Scene:
    """One situation.

    Raises:
        SceneError: Ids that stand more than once, sizes or speeds that cannot be, tracks that do
            not fit the agents, or bodies in each other that are not as a record has them.
    """

    agents: tuple[Agent, ...]
    """All road users, those that come later included."""

    map: str | RoadNetwork | None = None
    """A name as `selfdrive_env.maps.load` takes it, a file, or a network; None where there is no
    lane graph that could be driven on. Its lights run by their own programs unless `lights` has
    them."""

    roads: Roads | None = None
    """Recorded lines in place of a map."""

    lights: Lights | None = None
    """Recorded lights, seen at each step. Beside a map their lanes count those of its network."""

    tracks: Tracks | None = None
    """What was recorded: one row an agent, in the order of `agents`; nowhere valid for agents that
    were not."""

    dt: float = 0.1
    """Between two moments [s]."""

    steps: int = 91
    """Moments from the first to the last, both counted."""

    current: int = 0
    """Index of the present moment: so many steps of warm-up come before it."""

    ego: int = -1
    """Index of the agent that the scene is about, -1 for none."""

    of_interest: tuple[int, ...] = ()
    """Indices of the agents that whoever made it says matter."""

    name: str = ""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What was subtracted from the coordinates of the source [m]."""

    left_hand: bool = False
    """Traffic keeps to the left."""

    source: str = ""
    """File and record it came from."""

    def __post_init__(self) -> None:
        for name in ("agents", "of_interest", "origin"):
            if is_list(getattr(self, name)):  # lists are taken as well
                object.__setattr__(self, name, tuple(getattr(self, name)))
        source: Any = self.map
        if isinstance(source, os.PathLike):
            object.__setattr__(self, "map", os.fspath(source))
        check_parts(self)

    @classmethod
    def recorded(
        cls, tracks: Tracks, *, current: int, ego: int = -1, goals: bool = True, **parts: Any
    ) -> Scene:
        """Returns a scene of recorded tracks: the ego is to learn, all others are replayed.

        Agents that are nowhere valid are left out.

        Args:
            tracks: One row an agent.
            current: Index of the present moment.
            ego: Row of the ego, -1 for none.
            goals: Whether each agent is to reach the last valid place of its track.
            **parts: Other fields of a scene.
        """
        rows = np.flatnonzero(tracks.valid.any(axis=1))
        place = {int(row): number for number, row in enumerate(rows)}
        if len(rows) < tracks.num_agents:
            values = {name: getattr(tracks, name)[rows] for name in tracks.__dataclass_fields__}
            tracks = Tracks(**values)
        wanted = parts.pop("of_interest", ())
        ego = place.get(ego, -1)
        return cls(
            agents=tuple(
                _recorded_agent(tracks, row, current, row == ego, goals) for row in range(len(rows))
            ),
            tracks=tracks,
            steps=tracks.num_steps,
            current=current,
            ego=ego,
            of_interest=tuple(place[row] for row in wanted if row in place),
            **parts,
        )

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which agents are there at the present moment, [agent]; the others come later or left."""
        out = np.ones(len(self.agents), bool)
        if self.tracks is not None:
            valid = self.tracks.valid
            out &= valid[:, self.current] | ~valid.any(axis=1)
        out.flags.writeable = False
        return out

    def index(self, id: int) -> int:
        """Returns which agent has an id; a SceneError where none has."""
        for number, agent in enumerate(self.agents):
            if agent.id == id:
                return number
        known = ", ".join(str(agent.id) for agent in self.agents[:12])
        more = ", ..." if len(self.agents) > 12 else ""
        raise SceneError(f"scene {self.name!r} has no agent {id!r}; its agents are {known}{more}")

    def agent(self, id: int) -> Agent:
        """Returns the agent of an id."""
        return self.agents[self.index(id)]

    def network(self) -> RoadNetwork | None:
        """Returns the map, None where there is none."""
        return None if self.map is None else load(self.map)

    def check(self) -> None:
        """Raises a SceneError where a vehicle does not stand on its map, or a lane is unknown.

        What is replayed may have left the road. Takes up to seconds: the surface is made.
        """
        network = self.network()
        if network is not None:
            check_road(self, network)

    def without(self, *ids: int) -> Scene:
        """Returns the scene without these agents."""
        return edits.left_out(self, ids)

    def only(self, *ids: int) -> Scene:
        """Returns the scene with these agents alone, in this order."""
        return edits.picked(self, ids)

    def with_agent(self, agent: Agent) -> Scene:
        """Returns the scene with one more agent, which has no recorded track."""
        return edits.added(self, agent)

    def with_ego(self, id: int) -> Scene:
        """Returns the scene about another agent, which takes over the driver of the ego before."""
        number = self.index(id)
        if self.ego < 0 or self.ego == number:
            return replace(self, ego=number)
        before, after = self.agents[self.ego], self.agents[number]
        agents = list(self.agents)
        agents[number] = replace(after, driver=before.driver)
        agents[self.ego] = replace(before, driver=after.driver)
        return replace(self, agents=tuple(agents), ego=number)

    def moved(self, id: int, **place: float) -> Scene:
        """Returns the scene with an agent elsewhere; its recorded track moves and turns with it.

        Args:
            id: Of the agent.
            **place: What is new of x, y, z [m], heading [rad] and speed [m/s].
        """
        return edits.moved(self, id, place)

    def driven(self, driver: str, *ids: int) -> Scene:
        """Returns the scene with another driver for these agents, or for all but the ego."""
        chosen = ids or [a.id for n, a in enumerate(self.agents) if n != self.ego]
        return edits.driven(self, driver, chosen)

    def shortened(self, steps: int, *, start: int = 0) -> Scene:
        """Returns `steps` moments from `start` on; the present moment must be among them."""
        return edits.shortened(self, steps, start)

    def mirrored(self) -> Scene:
        """Returns the scene reflected in the x axis; traffic changes its side."""
        return edits.mirrored(self)

    def sped_up(self, factor: float, *ids: int) -> Scene:
        """Returns the scene with these agents, or all, faster by a factor, below 1 slower.

        Recorded tracks are run through faster from the present moment on.
        """
        return edits.sped_up(self, factor, ids or [agent.id for agent in self.agents])

    def plot(self, path: str | os.PathLike[str] | None = None, *, size: int = 1200) -> U8:
        """Returns a picture from above of the present moment with the tracks, [H, W, 3].

        Args:
            path: Of a PNG file to write it to, None for none.
            size: Longer side [pixels].
        """
        from selfdrive_env.scenes.plot import draw, write_picture

        picture = draw(self, size)
        if path is not None:
            write_picture(picture, path)
        return picture

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the scene to a file that `read` and `selfdrive_env.scenes.load` read.

        All is kept to the bit but `source`. A map that is a name or path is kept as that.

        Args:
            path: Ends in .scene.

        Raises:
            SceneError: The path ends otherwise.
        """
        path = Path(path)
        if not path.name.lower().endswith(SUFFIX):
            raise SceneError(f"a scene is saved to a file that ends in {SUFFIX}, not {path}")
        columns.write(path, FILE_HEADER, FILE_VERSION, self.arrays())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Scene:
        """Returns the scene that `save` wrote.

        Raises:
            SceneError: The file is damaged, of another version, or none that `save` wrote.
            FileNotFoundError: There is no such file.
        """
        path = Path(path)
        try:
            arrays = columns.read(path, FILE_HEADER, FILE_VERSION)
            return cls(**unpack(arrays), source=str(path))
        except ValueError as error:
            raise SceneError(f"{path.name} is no scene: {error}") from None

    def arrays(self) -> columns.Arrays:
        """Returns everything but `source` as named arrays."""
        return pack(self)

    def digest(self) -> str:
        """Returns 64 hexadecimal digits that change with anything but `source`.

        A map that is a name or a path counts as that, not as what it holds.
        """
        return columns.digest(self.arrays())

    def __eq__(self, other: object) -> bool:
        """Whether two scenes have one digest."""
        if not isinstance(other, Scene):
            return NotImplemented
        return self is other or self.digest() == other.digest()

    __hash__ = None  # type: ignore[assignment]


def _recorded_agent(tracks: Tracks, row: int, current: int, ego: bool, goals: bool) -> Agent:
    """Returns an agent as a track has it now, or as it comes, or as it left."""
    valid = np.flatnonzero(tracks.valid[row])
    later = valid[valid >= current]
    at, end = int(later[0] if len(later) else valid[-1]), int(valid[-1])

    def value(name: str, step: int = at) -> float:
        return float(getattr(tracks, name)[row, step])

    heading = value("heading")
    goal = Goal(x=value("x", end), y=value("y", end), z=value("z", end))
    return Agent(
        id=int(tracks.id[row]),
        x=value("x"),
        y=value("y"),
        z=value("z"),
        heading=heading,
        speed=value("vx") * math.cos(heading) + value("vy") * math.sin(heading),
        driver="learner" if ego else "replay",
        goals=(goal,) if goals else (),
        kind=KINDS[int(tracks.kind[row])],
        length=float(tracks.length[row]),
        width=float(tracks.width[row]),
        height=float(tracks.height[row]),
    )
