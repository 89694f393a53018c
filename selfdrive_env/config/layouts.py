"""How many slots each group of an observation row has: by name, or one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfdrive_env.config.checks import as_table, check_choice, check_integer
from selfdrive_env.config.observation import check_length, planes, row_length, slices
from selfdrive_env.state.params import Counts
from selfdrive_env.state.world import MAX_GOALS

__all__ = ["LAYOUTS", "ObservationLayout", "make_layout"]


@dataclass(frozen=True)
class ObservationLayout:
    """Slots of an observation row."""

    goals: int = MAX_GOALS
    lane_points: int = 64
    boundary_points: int = 80
    stop_lines: int = 4
    agents: int = 20

    def __post_init__(self) -> None:
        """Checks the counts."""
        for name, value in dataclasses.asdict(self).items():
            high = MAX_GOALS if name == "goals" else 10_000
            object.__setattr__(self, name, check_integer(f"layout[{name!r}]", value, 0, high))

    @property
    def counts(self) -> Counts:
        """The same for the kernels."""
        return Counts(*dataclasses.astuple(self))

    @property
    def slices(self) -> dict[str, slice]:
        """Where each group of `OBSERVATION` lies in a row."""
        return slices(self.counts)

    @property
    def width(self) -> int:
        """Columns of a row."""
        return row_length(self.counts)

    def group(self, rows: Any, name: str) -> Any:
        """Returns a group of rows as planes: a view, of an array or of a tensor.

        Args:
            rows: One row of this layout, [features], or many, [..., features].
            name: Of the group, one of `slices`.

        Returns:
            [..., columns, slots], scaled as the rows are.
        """
        groups = self.slices
        if name not in groups:
            raise ValueError(f"a row has no group {name!r}; its groups are {', '.join(groups)}")
        check_length("rows", tuple(rows.shape), self.counts)
        return planes(rows, self.counts, name)


LAYOUTS = {
    "full": ObservationLayout(),
    "lean": ObservationLayout(goals=2, lane_points=12, boundary_points=12, stop_lines=2, agents=8),
}


def make_layout(layout: str | Mapping[str, int]) -> ObservationLayout:
    """Returns the layout of a name or of slots by name."""
    if isinstance(layout, str):
        check_choice("layout", layout, tuple(LAYOUTS))
        return LAYOUTS[layout]
    names = [f.name for f in dataclasses.fields(ObservationLayout)]
    for name in as_table("layout", layout):
        if name not in names:
            raise ValueError(f"layout has no {name!r}; its slots are {', '.join(names)}")
    return ObservationLayout(**layout)
