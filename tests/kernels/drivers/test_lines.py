from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.kernels.drivers.lines import note_line
from selfdrive_env.kernels.drivers.path_info import LINE_COLOUR, LINE_GAP
from selfdrive_env.kernels.road import UNREACHABLE
from selfdrive_env.state.world import GREEN, NO_LIGHT, RED, STOP_SIGN, YELLOW
from tests.kernels import from_python

note_line = from_python(note_line)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (GREEN, RED, 1),
        (GREEN, YELLOW, 1),
        (GREEN, STOP_SIGN, 1),
        (GREEN, GREEN, 0),
        (GREEN, NO_LIGHT, 0),
        (NO_LIGHT, GREEN, 1),
        (RED, GREEN, 0),
        (YELLOW, RED, 0),
        (STOP_SIGN, RED, 0),
    ],
)
def test_the_first_line_at_which_one_may_have_to_stop_counts(
    first: int, second: int, kept: int
) -> None:
    info = np.zeros(max(LINE_GAP, LINE_COLOUR) + 1, np.float32)
    info[LINE_GAP] = UNREACHABLE
    for base, colour in ((10.0, first), (30.0, second)):
        note_line(info, np.float32(5.0), colour, False, np.float32(base), np.float32(2.0))
    assert info[LINE_GAP] == (13.0, 33.0)[kept]
    assert info[LINE_COLOUR] == (first, second)[kept]
