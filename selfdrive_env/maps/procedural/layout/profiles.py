"""Cross-sections of streets: lanes, turn lanes that open, lanes that end, and what lies beside.

A `Profile` says what a street is made of; `sections` lays it out along a length, from the start:
pocket, its taper, the middle (with the place where a lane ends or opens), taper, pocket.
"""

from __future__ import annotations

from dataclasses import dataclass

from selfdrive_env.maps.procedural.roads.streets import Part, Section

__all__ = ["Pocket", "Profile", "sections", "shortest"]

TAPER = 22.0
"""Over which a turn lane opens [m]."""

DROP = 45.0
"""Over which a lane ends [m]."""

OPENING = 25.0
"""Over which a lane opens [m]."""

BARE = 12.0
"""Before junctions there is neither parking nor a bicycle lane [m]."""

LEAST_MIDDLE = 12.0
LEAST_LANE = 55.0
"""Length of the pieces before and behind a lane that ends, at least [m]."""


@dataclass(frozen=True, slots=True)
class Pocket:
    """A turn lane before a junction."""

    side: str
    """ "l" or "r"."""

    length: float
    """Of its full width [m]."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a street is made of. Pairs are (forward, backward)."""

    width: float
    """Of its lanes [m]."""

    lanes: tuple[int, int] = (1, 1)
    """At its start."""

    lanes_end: tuple[int, int] = (1, 1)
    """At its end; one more or one less than at the start."""

    pockets: tuple[Pocket | None, Pocket | None] = (None, None)
    """Of the forward lanes before the end, of the backward lanes before the start."""

    bicycle: float = 0.0
    """Width of a lane beside the outermost one, 0 for none [m]."""

    parking: tuple[float, float] = (0.0, 0.0)
    walk: tuple[float, float] = (2.0, 2.0)
    median: float = 0.0
    """Between the directions [m]."""

    marked: bool = True


@dataclass(frozen=True, slots=True)
class _Piece:
    """A section to be: lanes and the pocket of each direction, where it starts and ends."""

    length: float
    lanes: tuple[tuple[int, int], tuple[int, int]]
    """Of (forward, backward): at its start and end."""

    pocket: tuple[tuple[float, float], tuple[float, float]]
    """Share of the pocket's width, likewise."""

    bare: bool = False


def shortest(profile: Profile) -> float:
    """Returns the length that a profile needs [m]."""
    fixed = sum(piece.length for piece in _pieces(profile))
    flexible = sum(piece.length <= 0.0 for piece in _pieces(profile))
    return fixed + (flexible * LEAST_LANE if flexible > 1 else LEAST_MIDDLE)


def sections(profile: Profile) -> tuple[Section, ...]:
    """Returns the sections of a street.

    Args:
        profile: What it is made of.
    """
    return tuple(_section(profile, piece) for piece in _pieces(profile))


def _pieces(profile: Profile) -> list[_Piece]:
    """Returns the sections to be, from start to end."""
    start = tuple((n, n) for n in profile.lanes)
    end = tuple((n, n) for n in profile.lanes_end)
    none = ((0.0, 0.0), (0.0, 0.0))
    ahead, back = profile.pockets
    beside = profile.bicycle > 0.0 or max(profile.parking) > 0.0
    out = []
    if back is not None:
        out.append(_Piece(back.length, start, ((0.0, 0.0), (1.0, 1.0)), True))  # type: ignore[arg-type]
        out.append(_Piece(TAPER, start, ((0.0, 0.0), (1.0, 0.0)), True))  # type: ignore[arg-type]
    elif beside:
        out.append(_Piece(BARE, start, none, True))  # type: ignore[arg-type]
    out.append(_Piece(0.0, start, none))  # type: ignore[arg-type]
    if profile.lanes != profile.lanes_end:
        ends = profile.lanes_end[0] < profile.lanes[0] or profile.lanes_end[1] > profile.lanes[1]
        both = tuple(zip(profile.lanes, profile.lanes_end, strict=True))
        out.append(_Piece(DROP if ends else OPENING, both, none))  # type: ignore[arg-type]
        out.append(_Piece(0.0, end, none))  # type: ignore[arg-type]
    if ahead is not None:
        out.append(_Piece(TAPER, end, ((0.0, 1.0), (0.0, 0.0)), True))  # type: ignore[arg-type]
        out.append(_Piece(ahead.length, end, ((1.0, 1.0), (0.0, 0.0)), True))  # type: ignore[arg-type]
    elif beside:
        out.append(_Piece(BARE, end, none, True))  # type: ignore[arg-type]
    return out


def _section(profile: Profile, piece: _Piece) -> Section:
    """Returns one section; the carriageway as a whole stays in the middle of the street."""
    rows = [_lanes(profile, piece, side) for side in (0, 1)]
    across = [[sum(part.width[end] for part in row) for end in (0, 1)] for row in rows]
    shift = [0.5 * (across[0][end] - across[1][end]) for end in (0, 1)]
    ahead, back = ((*row, *_beside(profile, k, piece.bare)) for k, row in enumerate(rows))
    return Section(ahead, back, piece.length, (shift[0], shift[1]))


def _lanes(profile: Profile, piece: _Piece, side: int) -> list[Part]:
    """Returns the lanes of one direction, and its half of the median."""
    pocket, counts = profile.pockets[side], piece.lanes[side]
    wide = [profile.width * share for share in piece.pocket[side]]
    opens = pocket is not None and max(wide) > 0.0
    inner = opens and pocket is not None and pocket.side == "l"
    row = []
    half = 0.5 * profile.median
    if half > 0.0:
        # A turn lane takes the median's room.
        left = [half - (min(one, half) if inner else 0.0) for one in wide]
        row.append(Part((left[0], left[1]), "gap", "median"))
    if inner:
        row.append(Part((wide[0], wide[1]), key="pocket", turns="l"))
    for lane in range(max(counts)):
        widths = [profile.width if lane < count else 0.0 for count in counts]
        turns = ("sr" if inner else "ls") if opens else ""
        row.append(Part((widths[0], widths[1]), key=f"lane {lane}", turns=turns))
    if opens and not inner:
        row.append(Part((wide[0], wide[1]), key="pocket", turns="r"))
    return row


def _beside(profile: Profile, side: int, bare: bool) -> list[Part]:
    """Returns what lies beside the lanes of one direction, from the inside outwards."""
    out = []
    if not bare:
        if profile.bicycle > 0.0 and max(profile.lanes[side], profile.lanes_end[side]):
            out.append(Part((profile.bicycle,) * 2, "biking", "bicycle"))
        if profile.parking[side] > 0.0:
            out.append(Part((profile.parking[side],) * 2, "parking", "parking"))
    if profile.walk[side] > 0.0:
        out.append(Part((profile.walk[side],) * 2, "sidewalk", "walk"))
    return out
