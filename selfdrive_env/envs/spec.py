"""What an environment is made with and says of itself: arguments, metadata, its `EnvSpec`."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
from gymnasium import logger
from gymnasium.envs.registration import EnvSpec

from selfdrive_env.config.checks import as_plain
from selfdrive_env.config.settings import Settings
from selfdrive_env.maps import RoadNetwork

__all__ = ["METADATA", "check_arguments", "metadata_of", "plain_spec", "warn_of_no_mode"]

METADATA: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 1.0 / Settings.dt}
"""Of an environment with the default step; `metadata_of` knows that of others."""


@dataclasses.dataclass
class NetworkSpec(EnvSpec):
    """The spec of an environment whose `map` holds a `RoadNetwork`; only JSON cannot hold it."""

    def to_json(self) -> str:
        """Raises a ValueError that says how to get a spec that JSON can hold."""
        names = ", ".join(repr(one.name) for one in _networks(self.kwargs))
        raise ValueError(
            f"map holds the RoadNetwork {names}, which JSON cannot hold: save it with "
            "RoadNetwork.save(path) and give the path as map"
        )


def metadata_of(settings: Settings) -> dict[str, Any]:
    """Returns the metadata of an environment: a film of one frame a step runs in real time."""
    return {**METADATA, "render_fps": 1.0 / settings.dt}


def check_arguments(num_envs: int, learners: str, render_mode: str | None) -> None:
    """Raises a ValueError for what can be no argument, whatever the settings."""
    if learners not in ("all", "one"):
        raise ValueError(f"learners must be 'all' or 'one', got {learners!r}")
    if render_mode not in (None, *METADATA["render_modes"]):
        raise ValueError(f"render_mode must be None, human or rgb_array, got {render_mode!r}")
    if not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise ValueError(f"num_envs must be a whole number of at least 1, got {num_envs!r}")


def plain_spec(spec: Any) -> Any:
    """Returns a copy of a spec with keywords as JSON can hold them; None for None.

    Args:
        spec: What `gymnasium.make` or `make_vec` sets.
    """
    if spec is None:
        return None
    kwargs = {name: as_plain(one) for name, one in spec.kwargs.items()}
    if not _networks(kwargs):
        spec = copy.copy(spec)
        spec.kwargs = kwargs
        return spec
    fields = {one.name: getattr(spec, one.name) for one in dataclasses.fields(spec) if one.init}
    return NetworkSpec(**{**fields, "kwargs": kwargs})


def warn_of_no_mode(spec: Any, maker: str) -> None:
    """Warns, as Gymnasium's own environments do, that `render` draws nothing without a mode.

    Args:
        spec: The environment's, None where it was made without Gymnasium.
        maker: "make" or "make_vec".
    """
    id = "selfdrive_env/Drive-v0" if spec is None else spec.id
    logger.warn(
        "You are calling render method without specifying any render mode. You can specify the "
        f'render_mode at initialization, e.g. gym.{maker}("{id}", render_mode="rgb_array")'
    )


def _networks(kwargs: dict[str, Any]) -> list[RoadNetwork]:
    """Returns the networks that the setting `map` holds."""
    maps = kwargs.get("map")
    found = maps if isinstance(maps, list) else [maps]
    return [one for one in found if isinstance(one, RoadNetwork)]
