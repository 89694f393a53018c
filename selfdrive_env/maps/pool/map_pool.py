"""The arrays of a pool: one map after the other, every stored index counted over the pool.

Room is made for all maps at once; a map of which only the size is known so far is filled in later.
Memory that nobody wrote to costs nothing, so a pool takes as much as the maps that were needed.
What a map's arrays hold does not depend on when it was filled in, nor on which others are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.maps.compile.compiled_map import CompiledMap
from selfdrive_env.maps.pool.kept_map import STRUCTS, AnyMap, KeptMap, shapes_of
from selfdrive_env.state.arrays import Record, axes, records, zeros
from selfdrive_env.state.road import Grid, Lanes, Paint, Routes, Signs

__all__ = ["MapPool", "pool"]

BLOCK = 256
"""Cells of a block."""

FIRSTS = {
    "lanes.segment_first": "lanes.segment",
    "lanes.successor_first": "lanes.successor",
    "lanes.map_lane_first": "lanes.length",
    "lanes.map_spawn_first": "lanes.spawn_segment",
    "routes.first": "routes.distance",
    "grid.segment_first": "grid.segment",
    "grid.edge_first": "grid.edge",
    "grid.guard_first": "grid.guard",
    "signs.group_line_first": "signs.group_line",
    "signs.lane_line_first": "signs.lane_line",
    "signs.program_first": "signs.program_group",
    "signs.map_line_first": "signs.line",
    "signs.cycle_first": "signs.cycle_end",
    "signs.foe_first": "signs.foe",
    "signs.map_group_first": "signs.cycle_offset",
    "signs.map_program_first": "signs.program_first",
}
"""Array of first entries -> array that it cuts into pieces; of programs there is one less."""

COUNTED = {
    "lanes.segment_lane": "lane",
    "lanes.junction": "junction",
    "lanes.successor": "lane",
    "lanes.left": "lane",
    "lanes.right": "lane",
    "lanes.spawn_segment": "segment",
    "routes.lane": "lane",
    "grid.block": "block",
    "grid.segment": "segment",
    "grid.near": "row",
    "grid.near_lane_point": "lane_point",
    "grid.near_boundary": "boundary_point",
    "grid.near_stop_line": "line",
    "grid.guard": "line",
    "signs.line_group": "group",
    "signs.group_line": "line",
    "signs.lane_line": "line",
    "signs.program_group": "group",
    "signs.foe": "lane",
}
"""Array of indices -> what it counts; -1 stays what it is."""

ALIKE = ("grid.near_lane_point", "grid.near_boundary", "grid.near_stop_line")
"""Arrays of lists that must have one length in all maps."""

OFFSET_COLUMN = 2
"""Of `Grid.shape`: where a map starts in `Grid.block`."""

Place = dict[str, int]


class MapPool:
    """Some maps as one set of arrays; of a single map they are its own, but for records.

    Attributes:
        lanes: Of all maps; likewise `routes`, `grid` and `signs`.
        records: Memory of each record, uint8 [entries, bytes], of which some arrays are columns.
        places: Which record such an array lies in, and its first byte there, by "struct.field".
        missing: Maps that are not filled in yet, bool [M].
        is_whole: Whether all maps are filled in.

    Args:
        maps: Compiled with the same counts of points.
    """

    lanes: Lanes
    routes: Routes
    grid: Grid
    signs: Signs
    records: dict[str, NDArray[Any]]
    places: dict[str, tuple[Record, int]]

    def __init__(self, maps: Sequence[AnyMap]) -> None:
        if not maps:
            raise ValueError("maps must hold at least one map, got none")
        self._maps = list(maps)
        self.missing = np.zeros(len(maps), np.bool_)
        self.is_whole = True
        if len(maps) == 1:
            self._maps = [_loaded(maps[0])]
        self._shapes = [one.shapes if isinstance(one, KeptMap) else shapes_of(one) for one in maps]
        for name in ALIKE:
            counts = [shapes[name][1] for shapes in self._shapes]
            if len(set(counts)) > 1:
                what = name.removeprefix("grid.")
                raise ValueError(f"maps must have one length of {what}, got {counts}")
        self._offsets = self._find_offsets()
        self._make_room()
        self._write_map_firsts()
        self.missing[:] = True
        self.load(i for i, one in enumerate(self._maps) if isinstance(one, CompiledMap))

    @property
    def maps(self) -> list[Any]:
        """What each map is called and painted with; a single one has its own arrays, too."""
        return self._maps

    @property
    def paints(self) -> Sequence[Paint]:
        """What is drawn on each map and read by no kernel, read when it is asked for."""
        return _Paints(self._maps)

    def load(self, indices: Iterable[int] | NDArray[Any]) -> None:
        """Fills in maps that are missing.

        Args:
            indices: Places in the pool, others are left as they are.
        """
        for index in indices:
            if self.missing[index]:
                self._fill(index, _loaded(self._maps[index]))
                self.missing[index] = False
        self.is_whole = not self.missing.any()

    def offset(self, index: int, what: str) -> int:
        """Returns what is added to the indices of a map to count them over the pool.

        Args:
            index: Place of the map in the pool.
            what: "lane", "segment", "junction", "line" or another value of `COUNTED`.
        """
        return self._offsets[index][what]

    def end(self, index: int, what: str) -> int:
        """Returns the index after the last one of a map, counted over the pool.

        Args:
            index: Place of the map in the pool.
            what: As for `offset`.
        """
        following = self._offsets[index + 1] if index + 1 < len(self._offsets) else self._totals
        return following[what]

    def load_all(self) -> None:
        """Fills in all maps that are missing."""
        self.load(range(len(self._maps)))

    def _find_offsets(self) -> list[Place]:
        """Returns where the rows of each map start, and what is added to its indices."""
        offsets, before = [], dict.fromkeys((*self._shapes[0], *_sizes(self._maps[0])), 0)
        for one, shapes in zip(self._maps, self._shapes, strict=True):
            offsets.append(dict(before))
            for name, shape in shapes.items():
                before[name] += shape[0] - (name in FIRSTS)
            for what, count in _sizes(one).items():
                before[what] += count
        self._totals = before
        return offsets

    def _make_room(self) -> None:
        """Makes the arrays for all maps; fields of a record share a table, a row an entry.

        A single map keeps its own arrays, but for those in records.
        """
        alone = self._maps[0] if len(self._maps) == 1 else None
        shapes: dict[str, tuple[int, ...]] = {}
        for struct, kind in STRUCTS.items():
            for field in axes(kind):
                name = f"{struct}.{field}"
                rows = self._totals[name] + (name in FIRSTS)
                shapes[name] = (rows, *self._shapes[0][name][1:])
        self.places = _places_in_records(shapes)
        lengths: dict[Record, int] = {}
        for name, (record, _) in self.places.items():
            lengths[record] = max(lengths.get(record, 0), shapes[name][0])
        self.records = {
            one.name: zeros((length, one.nbytes), np.uint8) for one, length in lengths.items()
        }
        for struct, kind in STRUCTS.items():
            fields: dict[str, NDArray[Any]] = {}
            for field, (_, element) in axes(kind).items():
                name = f"{struct}.{field}"
                if name not in self.places:
                    own = getattr(getattr(alone, struct), field) if alone is not None else None
                    fields[field] = zeros(shapes[name], element) if own is None else own
                    continue
                record, first = self.places[name]
                last = first + math.prod(shapes[name][1:]) * element.itemsize
                column = self.records[record.name][: shapes[name][0], first:last]
                fields[field] = column.view(element).reshape(shapes[name])
            setattr(self, struct, kind(**fields))

    def _write_map_firsts(self) -> None:
        """Writes where each map starts: that is known of all of them."""
        for name, of in FIRSTS.items():
            struct, field = name.split(".")
            if field.startswith("map_"):
                starts = [place[of] for place in (*self._offsets, self._totals)]
                getattr(getattr(self, struct), field)[:] = starts

    def _fill(self, index: int, compiled: CompiledMap) -> None:
        """Writes the arrays of a map into the room that they have."""
        offset = self._offsets[index]
        for struct in STRUCTS:
            target = getattr(self, struct)
            for field, array in getattr(compiled, struct)._asdict().items():
                name = f"{struct}.{field}"
                whole = getattr(target, field)
                if field.startswith("map_") or whole is array:
                    continue
                first = offset[name]
                room = whole[first : first + len(array)]
                if name in FIRSTS:
                    np.add(array, offset[FIRSTS[name]], out=room, casting="same_kind")
                elif name in COUNTED:
                    np.add(array, offset[COUNTED[name]], out=room, where=array >= 0)
                    np.copyto(room, array, where=array < 0)
                else:
                    room[...] = array
                if name == "grid.shape":
                    room[:, OFFSET_COLUMN] += offset["grid.block"]


def pool(maps: Sequence[CompiledMap]) -> tuple[Lanes, Routes, Grid, Signs]:
    """Returns one set of arrays that holds all maps; with a single map its own, but for records.

    Args:
        maps: Compiled with the same counts of points.
    """
    whole = MapPool(maps)
    return whole.lanes, whole.routes, whole.grid, whole.signs


def _places_in_records(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[Record, int]]:
    """Returns the record of each array that lies in one, and its first byte there."""
    found = [
        (name, record, axes(kind)[field][1].itemsize)
        for struct, kind in STRUCTS.items()
        for field, record in records(kind).items()
        for name in (f"{struct}.{field}",)
    ]
    taken: dict[str, int] = {}
    places: dict[str, tuple[Record, int]] = {}
    for name, record, size in sorted(found, key=lambda one: -one[2]):  # so each is aligned
        places[name] = record, taken.get(record.name, 0)
        taken[record.name] = places[name][1] + size * math.prod(shapes[name][1:])
        assert taken[record.name] <= record.nbytes, f"record {record.name!r} is too short"
    return places


class _Paints(Sequence[Paint]):
    """The paint of some maps."""

    def __init__(self, maps: Sequence[AnyMap]) -> None:
        self._maps = maps

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: Any) -> Any:
        return self._maps[index].paint


def _loaded(one: AnyMap) -> CompiledMap:
    return one.load() if isinstance(one, KeptMap) else one


def _sizes(one: AnyMap) -> Mapping[str, int]:
    """Returns how many of each thing a map has."""
    shapes = one.shapes if isinstance(one, KeptMap) else shapes_of(one)
    return {
        "lane": shapes["lanes.length"][0],
        "segment": shapes["lanes.segment"][0],
        "junction": one.num_junctions,
        "block": shapes["grid.inside"][0] // BLOCK,
        "row": shapes["grid.near_lane_point"][0],
        "lane_point": shapes["grid.lane_point"][0],
        "boundary_point": shapes["grid.boundary_point"][0],
        "line": shapes["signs.line"][0],
        "group": one.num_groups,
    }
