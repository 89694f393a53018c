"""Who matters to whom: bounds of ways hide no place where two ways meet, nor a body on a way."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.drivers import conflicts, path_info
from selfdrive_env.kernels.drivers.conflicts import CONFLICT_MARGIN, Box
from selfdrive_env.kernels.drivers.path_info import (
    ASIDE,
    BEND,
    ENTRY,
    HIGH_X,
    HIGH_Y,
    HIGH_Z,
    LOW_X,
    LOW_Y,
    LOW_Z,
    PATH_INFO,
    POINTS,
    ROOM,
    STAYS,
    SWEEP,
)
from selfdrive_env.kernels.road import UNREACHABLE
from tests.kernels import from_python, plain

first_conflict = from_python(conflicts.first_conflict)
first_contact = from_python(conflicts.first_contact)
may_meet = plain(conflicts.may_meet)
bound_reach, way_room = plain(path_info.bound_reach), plain(path_info.way_room)

COUNT = 24
F = np.float32


def arc(x: float, y: float, heading: float, curvature: float) -> np.ndarray:
    """Points every 1.5 m of a way that bends evenly."""
    angle = heading + 1.5 * curvature * np.arange(COUNT)
    points = np.zeros((COUNT, 5), np.float32)
    points[:, 2], points[:, 3] = np.cos(angle), np.sin(angle)
    points[:, 0] = x + 1.5 * np.cumsum(points[:, 2])
    points[:, 1] = y + 1.5 * np.cumsum(points[:, 3])
    return points


def notes(paths: np.ndarray, lengths: tuple, widths: tuple, bends: tuple) -> np.ndarray:
    """What is known of ways on which nobody stays and that enter no junction."""
    info = np.zeros((len(paths), PATH_INFO), np.float32)
    info[:, POINTS], info[:, STAYS], info[:, ENTRY] = COUNT, -1.0, UNREACHABLE
    info[:, SWEEP], info[:, BEND] = 0.16 * np.square(lengths), np.abs(bends)
    for agent, path in enumerate(paths):
        low, high = path.min(0), path.max(0)
        info[agent, [LOW_X, LOW_Y, LOW_Z]] = low[[0, 1, 4]]
        info[agent, [HIGH_X, HIGH_Y, HIGH_Z]] = high[[0, 1, 4]]
        info[agent, ROOM] = way_room(info[agent], F(widths[agent]))
    return info


BODIES = st.sampled_from([(1.8, 0.6), (4.5, 1.8), (6.0, 2.1), (10.8, 2.5), (12.0, 2.55)])
BENDS = st.floats(-0.3, 0.3)


def meets(paths: np.ndarray, info: np.ndarray, widths: tuple) -> bool:
    ways = np.ascontiguousarray(paths[:, :, :2].transpose(0, 2, 1))
    width = F(0.5 * sum(widths) + CONFLICT_MARGIN)
    return bool(first_conflict(paths, info, ways, 0, 0, 1, COUNT, 0, width, True)[0] >= 0)


@settings(max_examples=300, deadline=None)
@given(
    bodies=st.tuples(BODIES, BODIES),
    bends=st.tuples(BENDS, BENDS),
    heading=st.floats(-3.2, 3.2),
    across=st.floats(-8.0, 8.0),
    ahead=st.floats(-40.0, 40.0),
)
def test_bounds_hide_no_place_where_two_ways_meet(bodies, bends, heading, across, ahead):
    paths = np.stack([arc(0, 0, 0, bends[0]), arc(ahead, across, heading, bends[1])])
    lengths, widths = zip(*bodies, strict=True)
    info = notes(paths, lengths, widths, bends)
    if meets(paths, info, widths):
        assert may_meet(None, info, 0, 1)
        assert may_meet(None, info, 1, 0)


@pytest.mark.parametrize(("apart", "found"), [(2.9, True), (3.2, False)])
def test_two_buses_on_ways_three_metres_apart_meet_along_an_axis_too(apart, found):
    """They are kept apart by their widths and 0.6 m: 3.1 m, whatever the direction."""
    for turn in (0.0, 0.4, np.pi / 2):
        x, y = -apart * np.sin(turn), apart * np.cos(turn)
        paths = np.stack([arc(0, 0, turn, 0.0), arc(x, y, turn, 0.0)])
        info = notes(paths, (12.0, 12.0), (2.5, 2.5), (0.0, 0.0))
        assert meets(paths, info, (2.5, 2.5)) == found
        assert not found or may_meet(None, info, 0, 1)


@settings(max_examples=300, deadline=None)
@given(
    bodies=st.tuples(BODIES, BODIES),
    bend=BENDS,
    aside=st.floats(-4.0, 4.0),
    place=st.tuples(st.floats(-20.0, 50.0), st.floats(-30.0, 30.0), st.floats(-3.2, 3.2)),
)
def test_bounds_hide_no_body_on_a_way(bodies, bend, aside, place):
    """One that is aside of its way comes back to it: a body beside the way may be in its way."""
    (length, width), (other_length, other_width) = bodies
    paths = np.stack([arc(0, 0, 0, bend), arc(*place, 0.0)])
    info = notes(paths, (length, other_length), (width, other_width), (bend, 0.0))
    info[:, ASIDE] = aside, 0.0
    x, y, heading = place
    agents = SimpleNamespace(
        x=np.array([[0.0, x]], F), y=np.array([[aside, y]], F),
        cos=np.array([[1.0, np.cos(heading)]], F), sin=np.array([[0.0, np.sin(heading)]], F),
    )  # fmt: skip
    wheelbases = np.zeros((1, 2), F)
    sizes = SimpleNamespace(length=F([[length, other_length]]), width=F([[width, other_width]]),
        wheelbase=wheelbases)  # fmt: skip
    reach = np.zeros((4, 2), np.float32)
    for agent in range(2):
        bound_reach(agents, sizes, info, reach, 0, agent, True)
    half = F(0.5 * np.array([length, width, other_length, other_width]))
    box = Box(F(x), F(y), F(0), F(np.cos(heading)), F(np.sin(heading)), half[2], half[3])
    found = first_contact(
        paths[0], COUNT, 1, half[1], F(0.3), box, F(aside), half[0], F(5.0 * abs(aside) + 1.5)
    )
    if found < UNREACHABLE:
        assert (reach[::2].max(1) <= reach[1::2].min(1)).all()
