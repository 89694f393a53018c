"""The arrays of the worlds as a user may read them: by struct and field, and not to be written."""

from __future__ import annotations

from typing import Any, NamedTuple

from selfdrive_env.state.world import Agents, Bodies, Lights, Motion, Output, Tallies, Worlds

__all__ = ["State", "state_of"]


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


def _read_only(struct: Any) -> Any:
    views = {name: array.view() for name, array in struct._asdict().items()}
    for view in views.values():
        view.flags.writeable = False
    return struct._replace(**views)
