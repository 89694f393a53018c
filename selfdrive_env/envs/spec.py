"""What an environment is made with and says of itself: arguments, metadata, its `EnvSpec`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from gymnasium import logger
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Space

from selfdrive_env.config.checks import as_plain, check_integer
from selfdrive_env.config.images import make_views
from selfdrive_env.config.settings import USUAL_DT, Settings
from selfdrive_env.maps import RoadNetwork
from selfdrive_env.scenes import Scene

__all__ = ["METADATA", "check_arguments", "metadata_of", "observation_space_of", "plain_spec",
    "warn_of_no_mode"]  # fmt: skip

METADATA: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 1.0 / USUAL_DT}
"""Of an environment with the default step; `metadata_of` knows that of others."""

MOST_ENVS = 2**31 - 1


class OwnLimit(int):
    """Length of an episode that the environment sees to itself.

    `gymnasium.make` puts a `TimeLimit` around whatever is made from a spec with a limit, and that
    would call an episode that ends in its last step truncated as well, or cut short one of a longer
    horizon. It asks `steps >= limit`, and Python asks a subclass first: never.
    """

    def __le__(self, other: object) -> bool:
        """Returns False."""
        return False


@dataclasses.dataclass
class OwnSpec(EnvSpec):
    """The spec of an environment that ends its episodes itself, with that length as the limit."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets a field, but keeps its own length from that of the spec that it was made from.

        `TimeLimit` writes that one over it, which another horizon has made out of date.
        """
        if name == "max_episode_steps" and isinstance(value, OwnLimit):
            value = self.__dict__.get(name) or value
        super().__setattr__(name, value)

    def to_json(self) -> str:
        """Returns the spec without such a limit: the environment made from it has it again."""
        spec = EnvSpec(**_fields(self))
        if isinstance(self.max_episode_steps, OwnLimit):
            spec.max_episode_steps = None
        return spec.to_json()


@dataclasses.dataclass
class ObjectSpec(OwnSpec):
    """The spec of an environment that a `RoadNetwork` or `Scene` was given; JSON cannot hold it."""

    def to_json(self) -> str:
        """Raises a ValueError that says how to get a spec that JSON can hold."""
        setting, found = _objects(self.kwargs)[0]
        names = ", ".join(repr(one.name) for name, one in _objects(self.kwargs) if name == setting)
        kind = type(found).__name__
        raise ValueError(
            f"{setting} holds the {kind} {names}, which JSON cannot hold: save it with "
            f"{kind}.save(path) and give the path as {setting}"
        )


def metadata_of(settings: Settings) -> dict[str, Any]:
    """Returns the metadata of an environment: a film of one frame a step runs in real time."""
    return {**METADATA, "render_fps": 1.0 / settings.dt_range[1]}


def check_arguments(num_envs: int, learners: str, render_mode: str | None) -> None:
    """Raises a ValueError for what can be no argument, whatever the settings."""
    if learners not in ("all", "one"):
        raise ValueError(f"learners must be 'all' or 'one', got {learners!r}")
    if render_mode not in (None, *METADATA["render_modes"]):
        raise ValueError(f"render_mode must be None, human or rgb_array, got {render_mode!r}")
    check_integer("num_envs", num_envs, 1, MOST_ENVS)


def observation_space_of(settings: Settings, features: int) -> Space[Any]:
    """Returns the space of what one row observes.

    Args:
        settings: Of the environment.
        features: Numbers of a row of numbers.
    """
    views = make_views(settings.observation)
    spaces: dict[str, Space[Any]] = {}
    for name in views.names:
        if name == views.state:
            narrow = settings.obs_dtype == "float16"  # NumPy has no bfloat16
            spaces[name] = Box(-1.0, 1.0, (features,), np.float16 if narrow else np.float32)
            continue
        one = views.pictures[name]
        kind: Any = one.element.type
        spaces[name] = Box(kind(0), kind(one.high), one.shape, kind)
    return spaces[views.names[0]] if views.single else Dict(spaces)


def plain_spec(spec: Any, steps: int | None = None) -> Any:
    """Returns a copy of a spec with keywords as JSON can hold them; None for None.

    Args:
        spec: What `gymnasium.make` or `make_vec` sets.
        steps: Length of an episode, which wrappers ask for; a spec that a caller has given another
            limit keeps it.
    """
    if spec is None:
        return None
    fields = _fields(spec)
    # `make_vec` hands the limit of a spec on as an argument, which a longer horizon would not pass.
    kwargs = {name: one for name, one in spec.kwargs.items() if not isinstance(one, OwnLimit)}
    fields["kwargs"] = {name: as_plain(one) for name, one in kwargs.items()}
    limit = spec.max_episode_steps
    if steps is not None and (limit is None or isinstance(limit, OwnLimit)):
        fields["max_episode_steps"] = OwnLimit(steps)
    return (ObjectSpec if _objects(fields["kwargs"]) else OwnSpec)(**fields)


def _fields(spec: EnvSpec) -> dict[str, Any]:
    """Returns what makes a spec."""
    return {one.name: getattr(spec, one.name) for one in dataclasses.fields(spec) if one.init}


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


def _objects(kwargs: dict[str, Any]) -> list[tuple[str, RoadNetwork | Scene]]:
    """Returns the networks and scenes that the settings `map` and `scene` hold, with its name."""
    found = []
    for name in ("map", "scene"):
        value = kwargs.get(name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, RoadNetwork | Scene):
                found.append((name, one))
    return found
