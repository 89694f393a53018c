"""Records what happens in one world of an environment, step by step."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from selfdrive_env.config.checks import check_integer
from selfdrive_env.config.choices import DRIVERS
from selfdrive_env.config.installation import package_version
from selfdrive_env.config.observation import OBSERVATION, OBSERVATION_VERSION, slots
from selfdrive_env.config.presets import BODY_TYPES
from selfdrive_env.episodes.episode import Episode
from selfdrive_env.episodes.frame_recorder import FrameRecorder
from selfdrive_env.kernels.events import METRICS
from selfdrive_env.state.rewards import REWARD_TERMS

if TYPE_CHECKING:
    from selfdrive_env.engine.cpu import Engine

__all__ = ["Recorder"]


class Recorder:
    """Records one world of an environment.

    It reads the world and changes nothing. A world that is drawn anew begins a new episode; the one
    that has ended is kept until the first step after it.

    Args:
        env: Single or vector, wrapped or not.
        world: Which world of a vector environment.
        focus: Slot of the agent that a viewer follows at first.
        observed: Slots of the agents whose observations are kept, about 1 kB a step each; None
            takes `focus`, if it is observed.
        title: Shown by viewers.

    Raises:
        ValueError: For a world or an agent that there is not, one that is not observed, or worlds
            on a device.
    """

    def __init__(
        self,
        env: Any,
        *,
        world: int = 0,
        focus: int = 0,
        observed: Sequence[int] | None = None,
        title: str = "",
    ) -> None:
        vector = getattr(env.unwrapped, "vector", env.unwrapped)
        if not hasattr(vector, "engine"):
            raise TypeError(f"env must be an environment of selfdrive_env, got {env!r}")
        engine: Engine = vector.engine
        if not isinstance(engine.observations, np.ndarray):
            raise ValueError(
                f"device must be 'cpu' for worlds that are recorded, got {engine.settings.device!r}"
            )
        self._engine = engine
        self._world = check_integer("world", world, 0, engine.num_worlds - 1)
        self._focus = check_integer("focus", focus, 0, engine.num_slots - 1)
        rows = engine.bodies.row[self._world]
        if observed is None:
            observed = [focus] if rows[focus] >= 0 else []
        for agent in observed:
            check_integer("observed", agent, 0, engine.num_slots - 1)
            if rows[agent] < 0:
                raise ValueError(f"observed names agent {agent}, which has no observation")
        self._observed = np.array(list(observed), np.int32)
        self._title = title
        self._frames: FrameRecorder | None = None
        self._ended: FrameRecorder | None = None

    def record(self) -> None:
        """Notes the state of the world: to be called after each reset and after each step."""
        worlds, now = self._engine.worlds, self._frames
        clock, place = int(worlds.clock[self._world]), int(worlds.map[self._world])
        if now is not None and now.place == place:
            if clock == now.clock + 1:
                now.note(clock)
                return
            if clock == now.clock and len(now.frames) > 1:
                now.note(clock, again=True)
                return
        output = self._engine.output
        stepped = bool((output.terminated | output.truncated)[self._world].any())
        self._ended = None
        if now is not None and clock == 0 and stepped:  # the step itself drew the world anew
            now.close()
            self._ended = now
        self._frames = FrameRecorder(self._engine, self._world, self._observed)
        self._frames.note(clock)

    def episode(self) -> Episode:
        """Returns the running episode; of a world that was just drawn anew the one before.

        Raises:
            ValueError: If nothing was recorded.
        """
        frames = self._frames
        if frames is None:
            raise ValueError("nothing was recorded: call record() after reset() and each step()")
        if self._ended is not None and len(frames.frames) == 1:
            frames = self._ended
        engine = self._engine
        key = engine.worlds.key[self._world].tolist()
        town = engine.maps[frames.place]
        about = {
            "package": package_version(),
            "map": town.name,
            "map_digest": town.digest,
            "world": self._world,
            "seed": str(key[0] | key[1] << 32),
            "title": self._title,
            "dt": frames.dt,
            "start": frames.start * frames.dt,
            "focus": self._focus,
            "settings": engine.settings.plain(),
            "terms": list(REWARD_TERMS),
            "events": [metric.name for metric in METRICS],
            "body_types": list(BODY_TYPES),
            "drivers": list(DRIVERS),
            "observation_version": OBSERVATION_VERSION,
            "observation": [
                [name, count, [[c.name, c.text, str(c.scale)] for c in OBSERVATION[name]]]
                for name, count in slots(engine.counts).items()
            ],
        }
        return Episode(about, frames.arrays())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the episode, as .html (a web page) or .episode.

        Raises:
            ValueError: For another ending, or if nothing was recorded.
        """
        from selfdrive_env.episodes.page import save

        save(self.episode(), path)
