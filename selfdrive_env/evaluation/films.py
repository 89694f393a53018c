"""Incidents to look at again: the state some seconds before, the actions since, and films of them.

A recording is an .npz file of plain arrays (read with `allow_pickle=False`): the state of all
worlds, the actions of each step from there on, and who was towed when. Played again it is the same
drive, whatever the policy was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.env import DrivingVectorEnv
from selfdrive_env.evaluation.incidents import Incident

__all__ = ["Recorder", "Recording", "frames", "read", "write_films"]

VERSION = 1
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

    def write(self, path: Path) -> None:
        """Writes an .npz file without pickles."""
        about = {
            "version": VERSION,
            "incident": self.incident._asdict(),
            "first": self.first,
            "settings": self.settings,
        }
        arrays = {f"state.{name}": value for name, value in self.state.items()}
        text = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez_compressed(
            path,
            about=text,
            actions=self.actions,
            towed_step=self.towed_step,
            towed=self.towed,
            **arrays,  # type: ignore[arg-type]
        )


def read(path: str | Path) -> Recording:
    """Returns a recording that `Recording.write` wrote.

    Raises:
        ValueError: For a file that is none, or of another version.
    """
    with np.load(path, allow_pickle=False) as file:
        if "about" not in file:
            raise ValueError(f"{path} is no recording of an incident")
        about = json.loads(bytes(file["about"]).decode())
        if about["version"] != VERSION:
            raise ValueError(f"{path} has version {about['version']}, this package reads {VERSION}")
        state = {
            name.removeprefix("state."): file[name]
            for name in file.files
            if name.startswith("state.")
        }
        return Recording(
            Incident(**about["incident"]),
            about["first"],
            about["settings"],
            state,
            file["actions"],
            file["towed_step"],
            file["towed"],
        )


class Recorder:
    """Keeps what is needed to play the worst incidents of a drive again."""

    def __init__(self, env: DrivingVectorEnv, settings: dict[str, Any], keep: int) -> None:
        """Starts with the state after a reset.

        Args:
            env: The environment.
            settings: Its keywords, as JSON can hold them.
            keep: How many incidents to keep.
        """
        self.env, self.settings, self.keep = env, settings, keep
        self.dt = env.settings.dt
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
        if self.keep == 0:
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


def frames(recording: Recording, *, size: int = 512) -> Iterator[NDArray[np.uint8]]:
    """Yields the pictures of a recording, the agent of the incident in the middle.

    Args:
        recording: What to show.
        size: Edge of a picture [px].
    """
    incident = recording.incident
    for env in replay(recording, size=size):
        yield env.frame(incident.world * env.rows_per_world + incident.agent)


def write_films(
    recordings: Sequence[Recording], folder: Path, *, films: int, size: int = 512
) -> list[Path]:
    """Writes recordings, and films of the first of them.

    Args:
        recordings: The worst first.
        folder: Made if it is missing.
        films: How many films.
        size: Edge of a picture [px].

    Returns:
        The files written: `incident_00.npz` and `incident_00.mp4` (.gif without PyAV) and so on.
    """
    from selfdrive_env.rendering import write_video

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, recording in enumerate(recordings):
        path = folder / f"incident_{number:02}.npz"
        recording.write(path)
        written.append(path)
        if number >= films:
            continue
        every = max(1, round(1.0 / (FRAMES_PER_SECOND * recording.settings["dt"])))
        fps = 1.0 / (every * recording.settings["dt"])
        pictures = list(frames(recording, size=size))[::every]
        path = path.with_suffix(".mp4")
        try:
            write_video(pictures, path, fps)
        except ImportError:  # PyAV is missing
            path = path.with_suffix(".gif")
            write_video(pictures, path, fps)
        written.append(path)
    return written
