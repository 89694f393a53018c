"""Incidents to look at again: the state some seconds before, the actions since, and films of them.

A recording holds the state of all worlds, the actions of each step from there on, and who was towed
when. Played again it is the same drive, whatever the policy was; it is kept as an episode file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env import episodes
from selfdrive_env.envs.vector import DrivingVectorEnv
from selfdrive_env.episodes.episode import SUFFIX
from selfdrive_env.evaluation.incidents import Incident

__all__ = ["Recorder", "Recording", "replay", "write_films"]

PIECE = 4.0
"""A state is kept every so often; a film begins one to two pieces before its incident [s]."""

AFTERWARDS = 3.0
"""How much of the drive after an incident is kept [s]."""

FRAMES_PER_SECOND = 15.0


@dataclass
class Piece:
    """Some seconds of a drive."""

    first: int
    """Number of the first step."""

    state: dict[str, NDArray[Any]]
    actions: list[NDArray[Any]] = field(default_factory=list)
    towed: list[tuple[int, NDArray[Any]]] = field(default_factory=list)
    """(step, who was placed anew after it, [W, A])."""


@dataclass(frozen=True)
class Recording:
    """A piece of a drive with an incident in it."""

    incident: Incident
    first: int
    """Number of the first step that is played."""

    settings: dict[str, Any]
    """Keywords of the environment."""

    state: dict[str, NDArray[Any]]
    actions: NDArray[Any]
    """[steps, rows] or [steps, rows, 2]."""

    towed_step: NDArray[Any]
    """Steps after which somebody was placed anew, [T]."""

    towed: NDArray[Any]
    """Who, [T, W, A]."""


class Recorder:
    """Keeps what is needed to play the worst incidents of a drive again."""

    def __init__(
        self,
        env: DrivingVectorEnv,
        settings: dict[str, Any],
        keep: int,
        kinds: Sequence[str] = (),
    ) -> None:
        """Starts with the state after a reset.

        Args:
            env: The environment.
            settings: Its keywords, as JSON can hold them.
            keep: How many incidents to keep.
            kinds: Of which kinds of failure, any where empty.
        """
        self.env, self.settings, self.keep, self.kinds = env, settings, keep, tuple(kinds)
        self.dt = env.settings.one_dt("an evaluation")
        self.steps = max(1, round(PIECE / self.dt))
        self.pieces: list[Piece] = []
        self.worst: list[Incident] = []

    def before_step(self, step: int, actions: NDArray[Any]) -> None:
        """Notes the actions of a step, and now and then the state."""
        if self.keep == 0:
            return
        if step % self.steps == 0:
            self._forget(step)
            whole = self.env.get_state()
            state = {name: value for name, value in whole.items() if not name.startswith("rows.")}
            self.pieces.append(Piece(step, state))
        self.pieces[-1].actions.append(np.asarray(actions).copy())

    def towed(self, step: int, who: NDArray[Any]) -> None:
        """Notes who was placed anew after a step, [W, A]."""
        if self.keep:
            self.pieces[-1].towed.append((step, who.copy()))

    def add(self, incident: Incident) -> None:
        """Keeps an incident if it is among the worst: the fastest, of a collision only one side."""
        if self.keep == 0 or (self.kinds and incident.kind not in self.kinds):
            return
        twin = any(
            i.step == incident.step and i.world == incident.world and i.agent == incident.other
            for i in self.worst
        )
        if not twin:
            self.worst.append(incident)
            self.worst.sort(key=severity, reverse=True)
            del self.worst[self.keep :]

    def _forget(self, step: int) -> None:
        """Drops pieces that neither the worst incidents nor those to come need."""
        needed = {n for i in self.worst for n in self._span(i)}
        recent = step - 2 * self.steps
        self.pieces = [p for p in self.pieces if p.first >= recent or p.first in needed]

    def _span(self, incident: Incident) -> range:
        """First steps of the pieces in which an incident is told."""
        here = incident.step // self.steps * self.steps
        last = incident.step + round(AFTERWARDS / self.dt)
        return range(max(here - self.steps, 0), last + 1, self.steps)

    def recordings(self) -> list[Recording]:
        """Returns the worst incidents, the worst first."""
        return [self._recording(incident) for incident in self.worst]

    def _recording(self, incident: Incident) -> Recording:
        span = self._span(incident)
        pieces = [piece for piece in self.pieces if piece.first in span]
        first, last = pieces[0].first, incident.step + round(AFTERWARDS / self.dt)
        actions = np.stack([a for piece in pieces for a in piece.actions])[: last + 1 - first]
        towed = [entry for piece in pieces for entry in piece.towed if entry[0] <= last]
        shape = self.env.engine.agents.x.shape
        return Recording(
            incident,
            first,
            self.settings,
            pieces[0].state,
            actions,
            np.array([step for step, _ in towed], np.int64),
            np.array([who for _, who in towed], np.bool_).reshape(-1, *shape),
        )


def severity(incident: Incident) -> tuple[int, float]:
    """Orders incidents: collisions and departures before red lights, then by speed."""
    return int(incident.cause not in ("red_light", "start_in_collision")), incident.speed


def replay(
    recording: Recording, *, size: int = 512, span: float = 80.0
) -> Iterator[DrivingVectorEnv]:
    """Plays a recording; yields the environment after each step."""
    settings = {**recording.settings, "render_size": size, "render_span": span}
    env = DrivingVectorEnv(**settings)
    env.reset(seed=0)
    env.set_state(recording.state)
    tows = dict(zip(recording.towed_step.tolist(), recording.towed, strict=True))
    for step, actions in enumerate(recording.actions, recording.first):
        env.step(actions)
        yield env
        if step in tows:
            place_anew(env, tows[step])
    env.close()


def place_anew(env: DrivingVectorEnv, who: NDArray[Any]) -> None:
    """Gives chosen agents, [W, A], new places; one that finds none waits for the next step."""
    whole = np.zeros(env.num_worlds, np.uint8)
    env.engine.reset(who.astype(np.uint8), whole, staggered=False)


def write_films(
    recordings: Sequence[Recording], folder: Path, *, films: int, size: int = 512
) -> list[Path]:
    """Writes recordings as episodes, and films of the first of them.

    Args:
        recordings: The worst first.
        folder: Made if it is missing.
        films: How many films.
        size: Edge of a picture [px].

    Returns:
        The files written: `incident_00.episode` and `incident_00.mp4` (.gif without PyAV) and so
        on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, recording in enumerate(recordings):
        dt = recording.settings["dt"]
        every = max(1, round(1.0 / (FRAMES_PER_SECOND * dt))) if number < films else 0
        path = folder / f"incident_{number:02}{SUFFIX}"
        pictures = write_episode(recording, path, every=every, size=size)
        written.append(path)
        if every:
            written.append(_write_film(pictures, path, fps=1.0 / (every * dt)))
    return written


def write_episode(
    recording: Recording, path: Path, *, every: int = 0, size: int = 512
) -> list[NDArray[np.uint8]]:
    """Writes a recording as an episode of its world.

    Args:
        recording: What to play.
        path: Where to write it.
        every: Steps from one picture to the next, 0 for none.
        size: Edge of a picture [px].

    Returns:
        Pictures with the agent of the incident in the middle.
    """
    incident, pictures = recording.incident, []
    recorder: episodes.Recorder | None = None
    for step, env in enumerate(replay(recording, size=size)):
        if recorder is None:
            both = [incident.agent, *([incident.other] if incident.other >= 0 else [])]
            title = _title(incident, env.settings.one_dt("an evaluation"))
            recorder = episodes.Recorder(
                env, world=incident.world, focus=incident.agent, observed=both, title=title
            )
        recorder.record()
        if every and step % every == 0:
            row = incident.world * env.rows_per_world + incident.agent
            pictures.append(env.frame(row, hud=True))
    if recorder is not None:
        recorder.save(path)
    return pictures


def _title(incident: Incident, dt: float) -> str:
    other = f" with agent {incident.other}" if incident.other >= 0 else ""
    cause = f"{incident.cause} ({incident.kind})".replace("_", " ")
    time = (incident.step + 1) * dt
    return f"{cause}: agent {incident.agent}{other} at {time:.1f} s, {incident.speed:.1f} m/s"


def _write_film(pictures: list[NDArray[np.uint8]], path: Path, *, fps: float) -> Path:
    """Writes a film beside an episode; returns its path."""
    from selfdrive_env.rendering import write_video

    path = path.with_suffix(".mp4")
    try:
        write_video(pictures, path, fps)
    except ImportError:  # PyAV is missing
        path = path.with_suffix(".gif")
        write_video(pictures, path, fps)
    return path
