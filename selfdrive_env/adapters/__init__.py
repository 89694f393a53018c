"""The interfaces of other libraries, one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium


def make_rows(
    adapter: str,
    refused: Sequence[str],
    id: str,
    num_envs: int,
    settings: Mapping[str, Any],
    **chosen: Any,
) -> Any:
    """Returns the vector environment behind an adapter, without wrappers.

    Args:
        adapter: Name of the adapter, for errors.
        refused: Settings that the adapter chooses itself.
        id: Of the environment.
        num_envs: Rows.
        settings: What the user gave.
        **chosen: What the adapter chooses, where that is not the default.

    Raises:
        TypeError: For a setting in `refused`.
    """
    for name in refused:
        if name in settings:
            raise TypeError(f"{name} is chosen by {adapter}, got {settings[name]!r}")
    return gymnasium.make_vec(id, num_envs=num_envs, **chosen, **settings).unwrapped
