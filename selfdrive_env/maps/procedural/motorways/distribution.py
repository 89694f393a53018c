"""How often the maps of the family `motorway:` have what: ranges and shares."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MotorwayFamily"]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class MotorwayFamily:
    """Ranges of lengths [m] and limits [km/h], and shares of what occurs."""

    layouts: dict[str, float] = field(
        default_factory=lambda: {
            "diamond": 0.26,
            "parclo": 0.16,
            "trumpet": 0.2,
            "weave": 0.16,
            "fork": 0.14,
            "cloverleaf": 0.08,
        }
    )
    """Share of each kind of interchange."""

    lanes: dict[int, float] = field(default_factory=lambda: {2: 0.66, 3: 0.28, 4: 0.06})
    """Lanes a direction on the widest part; a fork has three or four, a cloverleaf two."""

    limits: dict[int, float] = field(
        default_factory=lambda: {80: 0.1, 100: 0.25, 110: 0.1, 120: 0.3, 130: 0.25}
    )
    """Speed limit of the motorway [km/h]."""

    lane_width: Range = (3.5, 3.75)
    ramp_width: float = 4.2
    """Of a lane on a ramp, so that long bodies fit into its bends [m]."""

    road_width: float = 3.5
    median: Range = (2.5, 5.0)
    shoulder: Range = (2.0, 2.5)
    curve: Range = (450.0, 1200.0)
    """Radius of the bends of a motorway."""

    turn: Range = (4.0, 24.0)
    """By how much such a bend turns [deg]."""

    aside: Range = (150.0, 230.0)
    """Length of acceleration and deceleration lanes at full width."""

    taper: Range = (55.0, 75.0)
    """Length over which such lanes open and end."""

    dropped: Range = (100.0, 130.0)
    """Length over which a lane of the motorway ends."""

    drop_left: float = 0.3
    """Share of lane drops at which the innermost lane ends."""

    exit_only: float = 0.5
    """Share of motorways of three and more lanes on which the outermost lane leaves at the exits
    and is added at the entries, where both sides of the interchange have as many lanes."""

    both_sides: float = 0.5
    """Share of those of three lanes on which they have; else, and of four, one side has less."""

    clearance: Range = (6.0, 7.2)
    """From road to road at bridges."""

    over: float = 0.5
    """Share of motorways that cross a road on a bridge; the others lie in a cutting."""

    loop_radius: Range = (38.0, 55.0)
    """Of loop ramps."""

    clover_radius: Range = (50.0, 60.0)
    """Of the loops of a cloverleaf."""

    two_lane_branch: float = 0.6
    """Share of trumpets whose branch has two lanes a direction."""

    fork: Range = (34.0, 52.0)
    """Angle at which two motorways meet [deg]."""

    fork_of_four: float = 0.5
    """Share of forks with four lanes a direction; the others have three."""

    weave_of_three: float = 0.35
    """Share of motorways with a weaving lane that have three lanes beside it; the others two."""

    weaving: Range = (230.0, 330.0)
    """Length on which lanes weave."""

    closing: dict[str, float] = field(default_factory=lambda: {"loop": 0.4, "roundabout": 0.6})
    """How an end of the motorway is closed where a road can lead back."""

    single_ring: float = 0.6
    """Share of such roundabouts with one lane at motorways of two lanes; else they have two."""

    bulb: Range = (38.0, 52.0)
    """Radius of turning loops at the end."""

    terminals: dict[str, float] = field(
        default_factory=lambda: {"signals": 0.4, "roundabout": 0.3, "yield": 0.2, "stop": 0.1}
    )
    """Control where ramps meet the other road."""

    crosswalks: float = 0.5
    """Share of such junctions with lights that have crosswalks."""

    flares: float = 0.6
    """Share of ramps on which a lane opens before such a junction."""

    crossing: Range = (78.0, 102.0)
    """Angle between the motorway and the road that it crosses [deg]."""

    crossing_loops: Range = (86.0, 94.0)
    """The same where there are loops [deg]."""

    dead_end: Range = (90.0, 140.0)
    """Length of roads that end in a loop."""

    terrain: Range = (0.0, 0.018)
    """Steepest slope of the ground [m/m]."""
