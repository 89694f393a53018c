"""The arrays of the worlds as a user reads them, by struct and field, and as he gives them back."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from selfdrive_env.state.world import Agents, Bodies, Lights, Motion, Output, Tallies, Worlds

__all__ = ["State", "arrays_of", "state_of"]


class State(NamedTuple):
    """Read-only views of the state: `state.agents.speed` is float32 [worlds, agents] in m/s.

    They show the present state at any time; `.copy()` keeps one. Fields, axes and units are those
    of the structs in `selfdrive_env.state.world`. The agents of a world that are rows come first.
    """

    worlds: Worlds
    lights: Lights
    agents: Agents
    bodies: Bodies
    motion: Motion
    tallies: Tallies
    output: Output


def state_of(engine: Any) -> State:
    """Returns views of an engine's arrays; those of a device are copies.

    Args:
        engine: On the CPU or a device.
    """
    return State(*(_read_only(getattr(engine, name)) for name in State._fields))


def arrays_of(state: Any, version: int, digest: str) -> dict[str, Any]:
    """Returns the arrays of a state by "struct.field", which are not looked at yet.

    Args:
        state: What somebody says that `get_state` gave.
        version: That it must have.
        digest: Of the settings and maps that it must be of.

    Raises:
        ValueError: If it is none, or of another version or of other settings.
    """
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"state must be what get_state gave, got {reprlib.repr(state)}")
    there: Any = state.get("version")
    if isinstance(there, np.ndarray | np.integer) and there.size == 1:
        there = there.item()
    if type(there) is not int or there != version:
        raise ValueError(f"state has version {reprlib.repr(there)}, this package reads {version}")
    letters = state.get("digest")
    text = reprlib.repr(letters)
    if isinstance(letters, np.ndarray) and letters.dtype == np.uint8:
        text = letters.tobytes().decode(errors="replace")
    if text != digest:
        raise ValueError(f"state belongs to other settings or maps: digest {text}, here {digest}")
    return {name: one for name, one in state.items() if name not in ("version", "digest")}


def _read_only(struct: Any) -> Any:
    views = {name: array.view() for name, array in struct._asdict().items()}
    for view in views.values():
        view.flags.writeable = False
    return struct._replace(**views)
