"""What the setting `observation` stands for: rows of numbers, pictures, or several by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from selfdrive_env.config.checks import as_plain, suggestion
from selfdrive_env.config.images.camera import Camera
from selfdrive_env.config.images.pictures import BirdsEye, Picture

__all__ = ["KINDS", "STATE", "Views", "make_views", "require_rows"]

STATE = "state"
"""Kind of the rows of numbers, whose form the setting `layout` says."""

MOST_VIEWS = 8

KINDS: dict[str, type[Picture]] = {"bev": BirdsEye, "camera": Camera}
"""Kinds of pictures by name."""


@dataclass(frozen=True)
class Views:
    """What observations are made of, checked."""

    pictures: dict[str, Picture]
    """By name, in the order of the setting."""

    state: str | None
    """Name of the rows of numbers, None where they are not shown."""

    names: tuple[str, ...]
    """Of all of them, in the order of the setting."""

    single: bool
    """Whether observations are one array, and no table by name."""

    @property
    def plain(self) -> bool:
        """Whether observations are rows of numbers alone."""
        return self.single and self.state is not None


def make_views(observation: Any) -> Views:
    """Returns what a setting `observation` stands for.

    Args:
        observation: Name of a kind, its settings with its `kind`, or several by name.

    Raises:
        ValueError: For a kind or a setting that there is not, or a value out of range.
    """
    if isinstance(observation, str):
        return _single(observation, {})
    if not isinstance(observation, Mapping):
        raise ValueError(
            f"observation must be {_known()}, or a table with its settings, got {observation!r}"
        )
    table: dict[str, Any] = as_plain(observation)
    if "kind" in table:
        kind = table.pop("kind")
        return _single(kind, table)
    if not 1 <= len(table) <= MOST_VIEWS:
        raise ValueError(f"observation must have 1 to {MOST_VIEWS} entries, got {len(table)}")
    pictures, state = {}, None
    for name, one in table.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"observation must name its entries like variables, got {name!r}")
        words = {"kind": one} if isinstance(one, str) else one
        if not isinstance(words, Mapping) or "kind" not in words:
            raise ValueError(
                f"observation[{name!r}] must be {_known()}, or a table of its settings with its "
                f"'kind', got {one!r}"
            )
        found = _view(f"observation[{name!r}]", dict(words))
        if found is not None:
            pictures[name] = found
        elif state is None:
            state = name
        else:
            raise ValueError(f"observation has {STATE!r} twice, as {state!r} and {name!r}")
    return Views(pictures, state, tuple(table), single=False)


def require_rows(observation: Any, what: str) -> None:
    """Refuses pictures where something reads rows of numbers alone.

    Args:
        observation: The setting.
        what: Reads them.

    Raises:
        ValueError: For observations of another kind.
    """
    if not make_views(observation).plain:
        raise ValueError(
            f"observation must be {STATE!r} for {what}, which reads rows of numbers, got "
            f"{observation!r}"
        )


def _single(kind: Any, settings: dict[str, Any]) -> Views:
    found = _view("observation", {"kind": kind, **settings})
    if found is None:
        return Views({}, STATE, (STATE,), single=True)
    return Views({found.kind: found}, None, (found.kind,), single=True)


def _view(where: str, words: dict[str, Any]) -> Picture | None:
    """Returns the view of a table of settings, None for the rows of numbers."""
    kind = words.pop("kind")
    if not isinstance(kind, str) or kind not in (STATE, *KINDS):
        hint = suggestion(kind, (STATE, *KINDS), "")
        raise ValueError(f"{where} must be {_known()}, got {kind!r}{hint}")
    names = [] if kind == STATE else [one.name for one in fields(KINDS[kind])]
    for name in words:
        if name not in names:
            allowed = ", ".join(names) or "none (the setting layout says its form)"
            raise ValueError(
                f"{where} of kind {kind!r} has no setting {name!r}; its settings are {allowed}"
            )
    if kind == STATE:
        return None
    try:
        return KINDS[kind](**words)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _known() -> str:
    return "one of " + ", ".join(repr(one) for one in (STATE, *KINDS))
