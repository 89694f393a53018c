"""An episode as one web page that needs nothing else; the command `replay`.

The page holds the bytes of the episode file in base64, which has no character that means anything
in HTML, and a script that reads and plays them; beside it, on request, what a camera sees. Its
content security policy lets in that script and its styles by their digests, and nothing from
elsewhere.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from selfdrive_env.config.files import write_whole
from selfdrive_env.episodes.episode import SUFFIX, Episode
from selfdrive_env.rendering.palette import DAY, NIGHT, as_css

if TYPE_CHECKING:
    from selfdrive_env.episodes.camera import CameraFilm

__all__ = ["page", "run", "save"]


def page(episode: Episode, film: CameraFilm | None = None) -> bytes:
    """Returns the web page of an episode.

    Args:
        episode: What it plays.
        film: What a camera on one of its agents sees, shown beside the map.
    """
    colours = as_css(":root", DAY) + as_css(":root.dark", NIGHT)
    style, script = colours + _part("replay.css"), _part("replay.js")
    values = {
        "STYLE_HASH": _digest(style),
        "SCRIPT_HASH": _digest(script),
        "STYLE": style,
        "SCRIPT": script,
        "EPISODE": base64.b64encode(episode.to_bytes()).decode(),
        "CAMERA": "null" if film is None else film.as_json(),
    }
    pieces = _part("replay.html").split("@")
    # Every second piece is the name of what comes there.
    return "".join(values[p] if n % 2 else p for n, p in enumerate(pieces)).encode()


def save(episode: Episode, path: str | os.PathLike[str], film: CameraFilm | None = None) -> None:
    """Writes an episode as the ending of the path says: .html (a web page) or .episode.

    Args:
        episode: What to write.
        path: Where.
        film: See `page`; an .episode has none.

    Raises:
        ValueError: For another ending.
    """
    suffix = Path(path).suffix
    if suffix not in (SUFFIX, ".html"):
        raise ValueError(f"path must end in .html or {SUFFIX}, got {os.fspath(path)!r}")
    if suffix == SUFFIX:
        episode.save(path)
    else:
        write_whole(path, page(episode, film))


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def run(parsed: argparse.Namespace) -> int:
    """Writes the web page of an episode file; returns 0."""
    output = parsed.output or parsed.episode.with_suffix(".html")
    if output.suffix != ".html":
        raise ValueError(f"--output must end in .html, got {str(output)!r}")
    episode = Episode.load(parsed.episode)
    film = None
    if parsed.camera is not None:
        from selfdrive_env.episodes.camera import film_of

        film = film_of(episode, parsed.camera)
    save(episode, output, film)
    size = output.stat().st_size / 1e6
    print(f"wrote {output}: {episode.duration:.1f} s, {episode.num_agents} agents, {size:.2f} MB")
    if film is not None:
        print(
            f"camera of agent {film.agent}: {sum(map(bool, film.frames))} pictures of "
            f"{film.width} x {film.height}, {film.nbytes / 1e6:.2f} MB"
        )
    return 0
