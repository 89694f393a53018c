"""The interfaces of other libraries, one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from selfdrive_env.config.images import STATE, require_rows


def make_rows(
    adapter: str,
    refused: Sequence[str],
    id: str,
    num_envs: int,
    settings: Mapping[str, Any],
    *,
    pictures: bool = False,
    **chosen: Any,
) -> Any:
    """Returns the vector environment behind an adapter, without wrappers.

    Args:
        adapter: Name of the adapter, for errors.
        refused: Settings that the adapter chooses itself.
        id: Of the environment.
        num_envs: Rows.
        settings: What the user gave.
        pictures: Whether the adapter knows observations other than rows of numbers.
        **chosen: What the adapter chooses, where that is not the default.

    Raises:
        TypeError: For a setting in `refused`.
        ValueError: For pictures that the adapter does not know.
    """
    if not pictures:
        require_rows(settings.get("observation", STATE), adapter)
    for name in refused:
        if name in settings:
            raise TypeError(f"{name} is chosen by {adapter}, got {settings[name]!r}")
    return gymnasium.make_vec(id, num_envs=num_envs, **chosen, **settings).unwrapped
