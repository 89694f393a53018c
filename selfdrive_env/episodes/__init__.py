"""Episodes of one world: recorded, kept in small files, shown as a web page."""

from selfdrive_env.episodes.episode import Episode
from selfdrive_env.episodes.file import EpisodeError
from selfdrive_env.episodes.recorder import Recorder

__all__ = ["Episode", "EpisodeError", "Recorder"]
