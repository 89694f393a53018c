"""What a camera on an agent of an episode sees, drawn anew from its tracks: frames of a web page.

The map is opened again. Episodes keep neither lanes nor elevations, so agents are put on the lane
segments that fit their poses, near the elevation that they had a frame before. Sun, fog and paint
are those of the first episode after the seed was set.
"""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.checks import check_integer
from selfdrive_env.config.images import Camera
from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.engine.cpu import Engine
from selfdrive_env.engine.open_maps import open_maps
from selfdrive_env.episodes.episode import Episode
from selfdrive_env.episodes.file import EpisodeError
from selfdrive_env.images.render import CameraFrames
from selfdrive_env.rendering.canvas import import_pillow
from selfdrive_env.state.arrays import F64, I64, U8
from selfdrive_env.state.road import SEG_COS, SEG_LENGTH, SEG_SIN, SEG_X, SEG_Y, SEG_Z
from selfdrive_env.state.world import ABSENT, EXTERNAL

__all__ = ["MOST_BYTES", "MOST_FRAMES", "CameraFilm", "film_of"]

SIZE = (180, 320)
"""Height and width of a picture [pixels]."""

QUALITY = 72
"""Of JPEG."""

MOST_FRAMES = 3000
"""Of an episode; a page of so many loads quickly."""

MOST_BYTES = 32 * 2**20
"""Of all pictures of a page."""

CELL = 16.0
"""Edge of the squares by which segments are looked up [m]."""

TURNED = 6.0
"""A segment that heads elsewhere counts as farther, by so much times 1 - cos [m]."""

LEVELS = 3.0
"""So does one of another elevation, by so many times the difference."""


FIRST_TICK = 1
"""Counter of the random numbers of a world that was reset once after its seed was set."""


class CameraFilm(NamedTuple):
    """Pictures of one agent, one a frame of its episode."""

    agent: int
    """Slot."""

    width: int
    """[pixels]"""

    height: int
    frames: list[bytes]
    """JPEG; empty where the agent is absent."""

    @property
    def nbytes(self) -> int:
        """Of all pictures."""
        return sum(map(len, self.frames))

    def as_json(self) -> str:
        """Returns it as a web page reads it; no character in it means anything in HTML."""
        frames = [base64.b64encode(frame).decode() for frame in self.frames]
        return json.dumps(
            {"agent": self.agent, "width": self.width, "height": self.height, "frames": frames}
        )


def film_of(episode: Episode, agent: int) -> CameraFilm:
    """Returns what an agent of an episode sees ahead, in every frame.

    Args:
        episode: Of a map that can be opened here.
        agent: Slot.

    Raises:
        ValueError: For an agent that there is not, an episode of too many frames, or pictures that
            take too many bytes.
        EpisodeError: If its map is not what it was.
    """
    check_integer("camera", agent, 0, episode.num_agents - 1)
    if episode.num_frames > MOST_FRAMES:
        raise ValueError(
            f"camera shows at most {MOST_FRAMES} frames, the episode has {episode.num_frames}"
        )
    stage = _Stage(episode, agent)
    frames: list[bytes] = []
    total = 0
    for frame in range(episode.num_frames):
        picture = stage.picture(frame)
        frames.append(b"" if picture is None else _as_jpeg(picture))
        total += len(frames[-1])
        if total > MOST_BYTES:
            raise ValueError(
                f"camera takes more than {MOST_BYTES / 2**20:.0f} MB of pictures, the first "
                f"{frame + 1} of {episode.num_frames} frames alone"
            )
    height, width = SIZE
    return CameraFilm(agent, width, height, frames)


def _as_jpeg(picture: U8) -> bytes:
    buffer = io.BytesIO()
    import_pillow()[0].fromarray(picture).save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()


class _Stage:
    """A world in which the frames of an episode are put up, one after the other."""

    def __init__(self, episode: Episode, agent: int) -> None:
        self._agent = agent
        self._engine = _engine_of(episode)
        self._segments = _Segments(self._engine.lanes)
        self._frames = CameraFrames(self._engine, Camera(size=SIZE))
        tracks = episode.tracks
        names = ("x", "y", "heading", "speed", "acceleration")
        self._values = {name: episode.values(name) for name in names}
        self._track, self._status, self._light = tracks.track, tracks.status, tracks.light
        self._placed = tracks.track_placed != 0
        self._bodies = {
            "length": episode.values("track_length"),
            "width": episode.values("track_width"),
            "type": tracks.track_type,
        }
        self._start = round(episode.about["start"] / episode.dt)
        self._z = np.full(episode.num_agents, np.nan)
        self._last = np.full(episode.num_agents, -1)

    def picture(self, frame: int) -> U8 | None:
        """Returns what the camera sees in a frame, None while its agent is absent."""
        engine, track = self._engine, self._track[:, frame]
        present = self._status[:, frame] != ABSENT
        engine.worlds.tick[0] = FIRST_TICK + frame
        engine.worlds.clock[0] = self._start + frame
        engine.lights.line_colour[0, : len(self._light)] = self._light[:, frame]
        now = {name: values[:, frame] for name, values in self._values.items()}
        cos, sin = np.cos(now["heading"]), np.sin(now["heading"])
        agents, bodies = engine.agents, engine.bodies
        agents.status[0] = self._status[:, frame]
        agents.x[0], agents.y[0], agents.cos[0], agents.sin[0] = now["x"], now["y"], cos, sin
        agents.speed[0], agents.acceleration[0] = now["speed"], now["acceleration"]
        for name, values in self._bodies.items():
            getattr(bodies, name)[0, present] = values[track[present]]
        other = track != self._last
        self._z[other & (~present | self._placed[track])] = np.nan
        self._last = track
        for one in np.flatnonzero(present).tolist():
            at = (float(now["x"][one]), float(now["y"][one]), float(cos[one]), float(sin[one]))
            segment, z, along = self._segments.under(*at, float(self._z[one]))
            self._z[one] = z
            agents.segment[0, one], agents.z[0, one] = segment, z
            agents.angle_cos[0, one] = along
        return self._frames.draw(0, self._agent) if present[self._agent] else None


def _engine_of(episode: Episode) -> Engine:
    """Returns a world on the map of an episode with as many agents, none of which is placed."""
    kept = episode.settings
    chosen: dict[str, Any] = {
        name: kept[name] for name in ("map", "map_variants", "world_offset") if name in kept
    }
    agents = episode.num_agents
    settings = Settings.from_keywords(
        {**chosen, "agents_per_world": agents, "layout": "lean", "num_threads": 1}
    )
    name, digest = episode.about["map"], episode.about["map_digest"]
    maps = [
        one
        for one in open_maps(settings, make_layout(settings.layout))
        if (one.name, one.digest) == (name, digest)
    ]
    if not maps:
        raise EpisodeError(
            f"camera needs map {name!r} as the episode was recorded on it, with digest {digest}: "
            "no map of its settings is that"
        )
    engine = Engine(
        settings, maps[:1], 1, np.full(agents, EXTERNAL, np.uint8), np.ones(agents, np.uint8)
    )
    engine.pool.load_all()
    engine.seed(episode.seed)
    engine.worlds.stream[0] = settings.world_offset + episode.about["world"]
    return engine


class _Segments:
    """Finds the lane segment of a pose.

    Args:
        lanes: Of one map.
    """

    def __init__(self, lanes: Any) -> None:
        row, lane = lanes.segment.astype(np.float64), lanes.segment_lane
        self._row = row
        self._rise = np.zeros(len(row))
        same = lane[1:] == lane[:-1]
        step = np.diff(row[:, SEG_Z]) / np.maximum(row[:-1, SEG_LENGTH], 1e-6)
        self._rise[:-1] = np.where(same, step, 0.0)
        ends = np.flatnonzero(~same)
        self._rise[ends] = np.where(lane[ends] == lane[ends - 1], self._rise[ends - 1], 0.0)
        half = 0.5 * row[:, SEG_LENGTH]
        x, y = row[:, SEG_X] + half * row[:, SEG_COS], row[:, SEG_Y] + half * row[:, SEG_SIN]
        cells: dict[tuple[int, int], list[int]] = {}
        for number, (i, j) in enumerate(zip(_cell(x).tolist(), _cell(y).tolist(), strict=True)):
            cells.setdefault((i, j), []).append(number)
        self._cells = {key: np.array(numbers) for key, numbers in cells.items()}

    def under(
        self, x: float, y: float, cos: float, sin: float, z: float
    ) -> tuple[int, float, float]:
        """Returns the segment that fits a pose best.

        Args:
            x: Middle of the body, east [m].
            y: North [m].
            cos: Heading.
            sin: Heading.
            z: Elevation a moment ago, NaN if that is not known [m].

        Returns:
            Its number; the elevation there [m]; the cosine of the angle between the headings. Off
            all roads these are 0, the elevation as before, and 0, which stands for level ground.
        """
        i, j = (int(_cell(np.float64(one))) for one in (x, y))
        near = [
            self._cells[i + a, j + b]
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (i + a, j + b) in self._cells
        ]
        if not near:
            return 0, 0.0 if math.isnan(z) else z, 0.0
        found: I64 = np.concatenate(near)
        row = self._row[found]
        dx, dy = x - row[:, SEG_X], y - row[:, SEG_Y]
        way = dx * row[:, SEG_COS] + dy * row[:, SEG_SIN]
        way = np.clip(way, 0.0, row[:, SEG_LENGTH])
        away: F64 = np.hypot(dx - way * row[:, SEG_COS], dy - way * row[:, SEG_SIN])
        along: NDArray[np.float64] = cos * row[:, SEG_COS] + sin * row[:, SEG_SIN]
        height = row[:, SEG_Z] + way * self._rise[found]
        cost = away + TURNED * (1.0 - along)
        if not math.isnan(z):
            cost = cost + LEVELS * np.abs(height - z)
        best = int(np.argmin(cost))
        return int(found[best]), float(height[best]), float(along[best])


def _cell(place: Any) -> Any:
    return np.floor(place / CELL).astype(np.int64)
