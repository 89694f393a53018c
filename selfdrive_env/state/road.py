"""The static structs of a pool of maps, each field declared once with axes, type and unit.

Axes: M maps, L lanes, Q lane segments, B grid blocks, R observation cells, T stop lines, G signal
groups, J signal programs. Arrays of all maps lie one after the other, every stored index is already
global.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from selfdrive_env.state.arrays import F32, I32, I64, U8, Record

__all__ = [
    "BLOCK_CELLS",
    "CELL",
    "LEVEL_HEIGHT",
    "VIEW_RANGE",
    "Grid",
    "Lanes",
    "Paint",
    "Routes",
    "Signs",
]

CELL = 4.0
"""Edge of a grid cell [m]."""

LEVEL_HEIGHT = 2.5
"""Least difference in elevation between two levels of a road: bodies on them never meet [m]."""

VIEW_RANGE = 200.0
"""Nothing further away is observed [m]."""

BLOCK_CELLS = 16
"""Cells along the edge of a grid block (64 m); an observation cell is 2 x 2 cells (8 m)."""

# Columns of Lanes.segment.
(SEG_X, SEG_Y, SEG_COS, SEG_SIN, SEG_LENGTH, SEG_LEFT, SEG_RIGHT, SEG_CURVATURE, SEG_Z,
    SEG_S) = range(10)  # fmt: skip
SEG_COLUMNS = 10

# Columns of Signs.line.
LINE_X, LINE_Y, LINE_COS, LINE_SIN, LINE_X0, LINE_Y0, LINE_X1, LINE_Y1, LINE_Z = range(9)
LINE_COLUMNS = 9


# What lies together in the arrays of a pool; a compiled map has arrays of their own.
SEGMENT = Record("segment", 64)
LANE = Record("lane", 64)
CELL_RECORD = Record("cell", 16)
OBSERVATION_CELL = Record("observation_cell", 8)
LINE = Record("line", 64)
LANE_LINE = Record("lane_line", 8)


class Lanes(NamedTuple):
    """Drivable lanes, cut into quadrilaterals one metre long (lane segments)."""

    segment: Annotated[F32, "segment column", SEGMENT]
    """One row a segment, columns `SEG_*`: x, y of the centre
    line where the segment starts [m]; cos, sin of its heading; length [m]; distance from the centre
    to the left and to the right boundary, both positive [m]; curvature, positive to the left [1/m];
    elevation z at its start [m]; arc length s along the lane at its start [m]."""

    segment_lane: Annotated[I32, "segment", SEGMENT]
    segment_layer: Annotated[U8, "segment", SEGMENT]
    """Which surface of `Grid` an agent on this segment sees: 0 but near bridges."""

    segment_first: Annotated[I32, "lane+1", LANE]
    """Segments of lane l: segment_first[l] up to, not including, segment_first[l + 1]."""

    length: Annotated[F32, "lane", LANE]
    """Along the centre line, the sum of its segments [m]."""

    speed_limit: Annotated[F32, "lane", LANE]
    """[m/s]"""

    junction: Annotated[I32, "lane", LANE]
    """Junction the lane runs through (numbered over the pool), -1 outside."""

    max_curvature: Annotated[F32, "lane", LANE]
    """Largest absolute curvature along the lane, averaged over 3 m [1/m]."""

    precedence: Annotated[I32, "lane", LANE]
    """Right of way within a junction: below 0 gives way, above 0 has the priority road."""

    narrowest: Annotated[F32, "lane", LANE]
    """Least width along the lane [m]."""

    turn: Annotated[F32, "lane", LANE]
    """Heading change from its start to its end, positive to the left [rad]."""

    successor_first: Annotated[I32, "lane+1", LANE]
    successor: Annotated[I32, "link"]
    left: Annotated[I32, "lane", LANE]
    """Drivable neighbour in the same direction, -1 where there is none."""

    right: Annotated[I32, "lane", LANE]
    map_lane_first: Annotated[I32, "map+1"]
    spawn_segment: Annotated[I32, "spawn"]
    """Segments to place agents on: not bidirectional, 1.6 m wide, 25 m of road ahead."""

    map_spawn_first: Annotated[I32, "map+1"]


class Routes(NamedTuple):
    """Distances over the lane graph to every goal lane, one contiguous row a goal.

    D[g, l] is the shortest way from the start of lane l to the start of lane g, forward over
    successors (cost: length of the lane left behind) and sideways to a neighbour (cost:
    `LANE_CHANGE_COST`, same arc length). From (l, s) to (g, s_g) it is D - s + s_g; a negative
    value means that the goal lies behind, then `cycle[g]` is added.
    """

    first: Annotated[I64, "lane+1", LANE]
    """Row of goal lane g: first[g] up to, not including, first[g + 1]. A row as long as its map has
    lanes is dense (entry l - map_lane_first); a shorter one is windowed: the lanes from which g is
    at most `ROUTE_WINDOW` away, ascending in `lane`."""

    lane: Annotated[I32, "entry"]
    """Lane of each entry of a windowed row."""

    distance: Annotated[F32, "entry"]
    """[m]; `UNREACHABLE` where there is no way."""

    cycle: Annotated[F32, "lane", LANE]
    """Shortest way from the start of the lane back to its start, `UNREACHABLE` without one [m]."""


UNREACHABLE = 1.0e6
"""Distance that stands for "no way" [m]."""

LANE_CHANGE_COST = 15.0
"""What a lane change costs on a route [m]."""

ROUTE_WINDOW = 1500.0
"""Reach of a windowed row of `Routes` [m]."""

DENSE_ROUTE_LANES = 3000
"""Maps of at most this many lanes have dense rows."""


class Grid(NamedTuple):
    """Spatial hash of every map: blocks of 16 x 16 cells, kept only where there is road.

    Cell (i, j) of map m covers origin + CELL * [i, i+1) x [j, j+1). Its block is
    block[shape[m, 2] + (layer * shape[m, 1] + j // 16) * shape[m, 0] + i // 16], -1 for "no road";
    its number is block * 256 + (j % 16) * 16 + i % 16. Observation cells (8 m) are numbered
    block * 64 + (j % 16 // 2) * 8 + i % 16 // 2.
    """

    origin: Annotated[F32, "map 2"]
    """Corner of the grid [m]."""

    shape: Annotated[I32, "map 4"]
    """Blocks along x, blocks along y, offset into `block`, number of layers."""

    block: Annotated[I32, "entry"]
    segment_first: Annotated[I32, "cell+1", CELL_RECORD]
    """Segments of the layer that overlap the cell: segment[segment_first[c]:segment_first[c+1]]."""

    segment: Annotated[I32, "entry"]
    edge_first: Annotated[I32, "cell+1", CELL_RECORD]
    edge: Annotated[F32, "entry 4"]
    """Edges of the drivable surface that touch the cell (whole edges, not clipped): x0, y0, x1, y1,
    the surface on the left [m]."""

    inside: Annotated[U8, "cell", CELL_RECORD]
    """1 if the centre of the cell lies on the drivable surface."""

    near: Annotated[I32, "observation_cell", OBSERVATION_CELL]
    """Row of the `near_*` lists, -1 for none (more than about 25 m from any road)."""

    near_lane_point: Annotated[I32, "row N1"]
    """Lane points by rising distance from the centre of the observation cell, -1 after the last."""

    near_boundary: Annotated[I32, "row N2"]
    near_stop_line: Annotated[I32, "row N3"]
    guard_first: Annotated[I32, "observation_cell+1", OBSERVATION_CELL]
    """Stop lines whose guard comes within 12 m of the observation cell: guard[first:next]."""

    guard: Annotated[I32, "entry"]
    lane_point: Annotated[F32, "point 8"]
    """x, y [m], cos, sin of the lane's heading; arc length along the lane [m]; the lane, counted
    from the first of its map; 0, 0 (half a cache line for all that an observation needs)."""

    boundary_point: Annotated[F32, "point 4"]
    """Midpoint of a piece of road edge x, y [m] and its direction cos, sin, road on the left."""


class Signs(NamedTuple):
    """Stop lines and the programs of the traffic lights."""

    line: Annotated[F32, "line column", LINE]
    """Columns `LINE_*`: middle of the line over the controlled lanes x, y [m]; direction of travel
    cos, sin; left and right end over the whole carriageway x0, y0, x1, y1 [m]; elevation z [m]."""

    line_group: Annotated[I32, "line", LINE]
    """Signal group, -1 for a stop sign."""

    group_line_first: Annotated[I32, "group+1"]
    group_line: Annotated[I32, "entry"]
    """Stop lines of group g: group_line[group_line_first[g]:group_line_first[g + 1]]."""

    lane_line_first: Annotated[I32, "lane+1", LANE]
    lane_line: Annotated[I32, "entry", LANE_LINE]
    """Stop lines along lane l in rising order of s: lane_line[lane_line_first[l]:...]."""

    lane_line_s: Annotated[F32, "entry", LANE_LINE]
    """Arc length of the line along the lane [m]."""

    program_first: Annotated[I32, "program+1"]
    """Groups of program (one a signalised junction) j in cycle order: program_group[...]."""

    program_group: Annotated[I32, "entry"]
    cycle_first: Annotated[I32, "group+1"]
    """Phases of the cycle that the map states for group g: cycle_first[g] up to, not including,
    cycle_first[g + 1]; none where it states none."""

    cycle_colour: Annotated[U8, "phase"]
    """A `Colour`."""

    cycle_end: Annotated[I64, "phase"]
    """When the phase ends, from the start of the cycle; the last one is its length [ns]."""

    cycle_offset: Annotated[I64, "group"]
    """Where in its cycle a group is when the lights' clock reads 0 [ns]."""

    foe_first: Annotated[I32, "lane+1", LANE]
    """Lanes that lane l of a junction gives way to: foe[foe_first[l]:foe_first[l + 1]]."""

    foe: Annotated[I32, "entry"]
    foe_rule: Annotated[U8, "entry"]
    """`FOE_GOES_FIRST`, or `FOE_FIRST_COME` where order of arrival decides."""

    foe_place: Annotated[F32, "entry 4"]
    """Columns `FOE_*`: where the two lanes meet, from the start of each [m]."""

    map_program_first: Annotated[I32, "map+1"]
    map_group_first: Annotated[I32, "map+1"]
    map_line_first: Annotated[I32, "map+1"]


# Signs.foe_rule
FOE_GOES_FIRST, FOE_FIRST_COME = range(2)

# Columns of Signs.foe_place: on the lane that gives way, and on the other.
FOE_BEGIN, FOE_END, FOE_OTHER_BEGIN, FOE_OTHER_END = range(4)
FOE_COLUMNS = 4

# Paint.kind
GAP, CROSSWALK, GIVE_WAY, GUIDE_LINE = range(4)


class Paint(NamedTuple):
    """What is drawn on a map and read by no kernel: of one map, never part of a pool."""

    kind: Annotated[U8, "piece"]
    """`GAP` (road between the lanes of a junction) and `CROSSWALK`, closed; `GIVE_WAY` (where to
    wait for those on a roundabout) and `GUIDE_LINE` (its edge where one may leave it), open."""

    first: Annotated[I32, "piece+1"]
    point: Annotated[F32, "entry 2"]
    """Points of piece p: x, y of point[first[p]:first[p + 1]] [m]."""

    unmarked: Annotated[I32, "item"]
    """Lanes of the map with no paint beside those that come the other way, ascending."""
