"""An episode of one world: its arrays, what they are about, and the checks of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.files import write_whole
from selfdrive_env.config.settings import Settings
from selfdrive_env.episodes.file import MAX_FILE, EpisodeError, decode, encode
from selfdrive_env.episodes.tracks import OUTLINES, SCHEMA, Tracks, as_numbers

__all__ = ["SUFFIX", "Episode"]

SUFFIX = ".episode"

TEXTS = ("package", "map", "map_digest", "seed", "title")
LISTS = ("terms", "events", "body_types", "drivers")


@dataclass(frozen=True)
class Episode:
    """One world over some time: map, bodies, poses, routes, lights, rewards, observations.

    `about` has, as JSON can hold it: `package` (its version), `map` (its name), `map_digest`,
    `seed` (digits), `title`, `world`, `dt` [s], `start` (of the world's clock at the first frame
    [s]), `focus` (the agent to follow), `settings`, the names `terms`, `events`, `body_types` and
    `drivers`, and `observation`: for each group its name, its slots and its columns (name, meaning,
    scale).
    """

    about: dict[str, Any]
    tracks: Tracks

    @property
    def num_agents(self) -> int:
        """Slots of the world."""
        return int(self.tracks.x.shape[0])

    @property
    def num_frames(self) -> int:
        """States: one at the beginning and one after each step."""
        return int(self.tracks.x.shape[1])

    @property
    def dt(self) -> float:
        """Time between frames [s]."""
        return float(self.about["dt"])

    @property
    def duration(self) -> float:
        """From the first frame to the last [s]."""
        return (self.num_frames - 1) * self.dt

    @property
    def settings(self) -> dict[str, Any]:
        """That made it, also those that came after it was recorded: with what held then."""
        return Settings.as_recorded(self.about["settings"])

    @property
    def seed(self) -> int:
        """Of the world's random numbers."""
        return int(self.about["seed"])

    def values(self, name: str) -> NDArray[Any]:
        """Returns an array of `tracks` in the units of its declaration.

        Args:
            name: "x", "speed", "reward" and so on.
        """
        if name not in SCHEMA:
            raise ValueError(f"name must be one of {', '.join(SCHEMA)}, got {name!r}")
        return as_numbers(name, getattr(self.tracks, name))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Episode:
        """Reads an episode file.

        Raises:
            EpisodeError: If it is no episode, of another version, cut short or altered.
            OSError: If it cannot be read.
        """
        with open(path, "rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise EpisodeError(
                f"{os.fspath(path)!r} is no episode: it is longer than {MAX_FILE} bytes"
            )
        return cls.from_bytes(content, os.fspath(path))

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Episode:
        """Reads the content of an episode file.

        Args:
            content: All of it.
            name: Of the file, for errors.
        """
        about, tracks = decode(content, name)
        problem = _problem(about, tracks)
        if problem is not None:
            raise EpisodeError(f"episode {name!r} is damaged: {problem}")
        return cls(about, tracks)

    def to_bytes(self) -> bytes:
        """Returns the content of its file."""
        return encode(self.about, self.tracks)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an episode file.

        Raises:
            ValueError: If the path does not end in .episode.
        """
        if Path(path).suffix != SUFFIX:
            raise ValueError(f"path must end in {SUFFIX}, got {os.fspath(path)!r}")
        write_whole(path, self.to_bytes())


def _problem(about: Mapping[str, Any], tracks: Tracks) -> str | None:
    """Returns what a reader of an episode would stumble over, None if there is nothing."""
    for key in TEXTS:
        if not isinstance(about.get(key), str):
            return f"{key} is {about.get(key)!r}, no text"
    for key in LISTS:
        if not _are_texts(about.get(key)):
            return f"{key} is no list of names"
    if not (about["seed"].isascii() and about["seed"].isdigit() and len(about["seed"]) <= 20):
        return f"seed is {about['seed'][:40]!r}, no number of 64 bits"
    agents, frames = tracks.x.shape
    for key, low, high in (("world", 0, 2**31), ("focus", 0, agents - 1)):
        if type(about.get(key)) is not int or not low <= about[key] <= high:
            return f"{key} is {about.get(key)!r}, allowed are {low} to {high}"
    for key, least, most in (("dt", 1e-6, 1e3), ("start", 0.0, 1e9)):
        value: Any = about.get(key)
        if not (isinstance(value, int | float) and least <= value <= most):
            return f"{key} is {value!r}, allowed are {least:g} to {most:g}"
    if not frames:
        return "it has no frame"
    if not isinstance(about.get("settings"), dict):
        return "settings is no table"
    features = _features(about.get("observation"))
    if features != tracks.observation.shape[1]:
        return f"its observations have {tracks.observation.shape[1]} columns, named are {features}"
    if not np.isfinite(tracks.reward).all():
        return "a reward is no number"
    if len(about["terms"]) != len(tracks.reward):
        return f"it has {len(tracks.reward)} reward terms, named are {len(about['terms'])}"
    return _bad_index(about, tracks)


def _bad_index(about: Mapping[str, Any], tracks: Tracks) -> str | None:
    """Returns which array points beyond what there is, None if none does."""
    agents, frames = tracks.x.shape
    count, goals = tracks.goal_x.shape
    ranges = {
        "track": (-1, count - 1),
        "route_leg": (-1, len(tracks.route_leg_track) - 1),
        "status": (0, 2),
        "light": (0, 4),
        "observed_agent": (0, agents - 1),
        "track_agent": (0, agents - 1),
        "track_frame": (0, frames - 1),
        "track_type": (0, len(about["body_types"]) - 1),
        "track_driver": (0, len(about["drivers"]) - 1),
        "track_goals": (0, goals),
        "left_frame": (-1, frames - 1),
        "route_leg_track": (0, count - 1),
        "route_leg_goal": (0, goals - 1),
        "outline_kind": (0, len(OUTLINES) - 1),
    }
    for name, (low, high) in ranges.items():
        array = getattr(tracks, name)
        if array.size and not low <= array.min() <= array.max() <= high:
            return f"{name} goes from {array.min()} to {array.max()}, allowed are {low} to {high}"
    if ((tracks.status != 0) & (tracks.track < 0)).any():
        return "an agent is present without a track"
    for first, of in (
        (tracks.route_leg_first, tracks.route_leg_x),
        (tracks.outline_first, tracks.outline_x),
    ):
        if first[0] != 0 or first[-1] != len(of) or (np.diff(first) < 0).any():
            return "its polylines do not follow each other"
    return None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _features(groups: Any) -> int | None:
    """Returns how many columns the groups of an observation have, None if they are none."""
    total = 0
    for group in groups if isinstance(groups, list) else [None]:
        if not (isinstance(group, list) and len(group) == 3 and isinstance(group[2], list)):
            return None
        name, slots, columns = group
        if not isinstance(name, str) or type(slots) is not int or not 0 <= slots <= 10_000:
            return None
        if not all(_are_texts(column) and len(column) == 3 for column in columns):
            return None
        total += slots * len(columns)
    return total
