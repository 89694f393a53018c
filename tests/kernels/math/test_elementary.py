from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.compiler.njit import entry
from selfdrive_env.kernels.math import elementary as functions
from tests.kernels import bits, from_python, plain

F = np.float32
ULP = 2.0**-23

angle_of, arctangent = from_python(functions.angle_of), from_python(functions.arctangent)
cosine, sine_share = from_python(functions.cosine), from_python(functions.sine_share)
direction = from_python(functions.direction)
exponential, logarithm = from_python(functions.exponential), from_python(functions.logarithm)

ANGLES = np.concatenate(
    [np.linspace(-7.0, 7.0, 4001), np.linspace(-1e-3, 1e-3, 201), [np.pi / 2, -np.pi / 2]]
).astype(F)
# Around all multiples of pi / 4, where the branch changes and values are close to 0 or 1.
FAR_ANGLES = np.concatenate(
    [np.linspace(-1000.0, 1000.0, 400_001)]
    + [np.arange(-1270, 1271) * np.pi / 4 + nudge for nudge in (-1e-3, -1e-7, 0.0, 1e-7, 1e-3)]
).astype(F)
FAR_ANGLES = FAR_ANGLES[np.abs(FAR_ANGLES) <= 1000.0]


def over_arrays(kernel):
    """Returns a kernel of one number as a function of an array of them."""

    @entry
    def fill(values, out):
        for place in range(values.size):
            out[place] = kernel(values[place])

    def values_of(values):
        out = np.empty_like(values)
        fill(values, out)
        return out.astype(np.float64)

    return values_of


def worst(kernel, truth, values):
    found = over_arrays(kernel)(values)
    return np.abs(found - truth(values.astype(np.float64))).max()


def worst_place(kernel, truth, values):
    """The largest error in units in the last place of the result."""
    exact = truth(values.astype(np.float64))
    error = np.abs(over_arrays(kernel)(values) - exact)
    return (error / np.spacing(np.abs(exact).astype(F)).astype(np.float64)).max()


@pytest.mark.parametrize("angles", [ANGLES, FAR_ANGLES], ids=["near", "far"])
def test_sine_and_cosine_are_exact_to_the_last_place(angles):
    assert worst(functions.sine_share, lambda a: np.sinc(a / np.pi), angles) < 1.5 * ULP
    assert worst(functions.cosine, np.cos, angles) < 1.5 * ULP


def test_sine_and_cosine_are_even():
    for angle in (0.3, 1.6, 3.0, 4.0, 6.0, 500.0):
        assert sine_share(F(-angle)) == sine_share(F(angle))
        assert cosine(F(-angle)) == cosine(F(angle))


def test_direction_of_every_turn():
    turns = np.arange(0, 2**24 + 1, 41, dtype=np.int32).astype(F) * F(2.0**-24)
    found = np.array([direction(turn) for turn in turns], np.float64)
    angles = 2.0 * np.pi * turns.astype(np.float64)
    assert np.abs(found[:, 0] - np.cos(angles)).max() < ULP
    assert np.abs(found[:, 1] - np.sin(angles)).max() < ULP


def test_quarter_turns_are_exact():
    for turn, expected in ((0.0, (1, 0)), (0.25, (0, 1)), (0.5, (-1, 0)), (0.75, (0, -1))):
        assert direction(F(turn)) == expected
    assert direction(F(1.0)) == (1, 0)


def test_logarithm_is_exact_to_the_last_place():
    every = (np.arange(2**24) * 2.0**-24).astype(F) + F(2.0**-25)  # those of normal_pair
    assert worst_place(functions.logarithm, np.log, every) < 1.0
    wide = np.exp(np.linspace(-87.0, 88.0, 100_001)).astype(F)
    assert worst_place(functions.logarithm, np.log, wide) < 1.0


def test_logarithm_has_the_sign_of_what_exceeds_one():
    values = np.nextafter(F(1.0), F([0.0, 1.0, 2.0]))
    assert [np.sign(logarithm(value)) for value in values] == [-1.0, 0.0, 1.0]
    below = np.linspace(2.0**-25, 1.0, 100_001).astype(F)
    assert (over_arrays(functions.logarithm)(below) <= 0.0).all()


def test_exponential_is_exact_to_the_last_place():
    assert exponential(F(0.0)) == 1.0
    reward = np.linspace(-3.5, 0.5, 400_001).astype(F)
    assert worst_place(functions.exponential, np.exp, reward) < 1.0
    wide = np.linspace(-80.0, 80.0, 400_001).astype(F)
    assert worst_place(functions.exponential, np.exp, wide) < 1.0


# Function and the range of each argument.
RANGES = {
    "sine_share": [(-1000.0, 1000.0)],
    "cosine": [(-1000.0, 1000.0)],
    "sine_share_within": [(-1.5, 1.5)],
    "cosine_within": [(-1.5, 1.5)],
    "direction": [(0.0, 1.0)],
    "arctangent": [(F(-1e30), F(1e30))],
    "angle_of": [(-50.0, 50.0), (-50.0, 50.0)],
    "logarithm": [(2.0**-25, 1.0)],
    "exponential": [(-80.0, 80.0)],
}
COMPILED = {name: from_python(getattr(functions, name)) for name in RANGES}
PLAIN = {name: plain(getattr(functions, name)) for name in RANGES}


def test_every_function_is_compared_with_plain_python():
    assert sorted(RANGES) == sorted(functions.__all__)


@pytest.mark.parametrize("name", RANGES)
def test_plain_python_gives_the_same_bits(name):
    numbers = [
        st.floats(float(low), float(high), width=32, allow_subnormal=False).map(F)
        for low, high in RANGES[name]
    ]

    @settings(max_examples=200, deadline=None)
    @given(st.tuples(*numbers))
    def agree(values):
        expected = [F(v) for v in np.atleast_1d(COMPILED[name](*values))]
        assert bits(PLAIN[name](*values)) == bits(tuple(expected))

    agree()


def test_a_straight_line_stays_straight():
    assert sine_share(F(0.0)) == 1.0
    assert cosine(F(0.0)) == 1.0
    assert arctangent(F(0.0)) == 0.0
    assert angle_of(F(1.0), F(0.0)) == 0.0


def test_arctangent_is_exact_to_the_last_place():
    values = np.concatenate([ANGLES, F([1.0, -1.0, 1e6, -1e6, 1e30, -1e30])])
    assert worst(arctangent, np.arctan, values) < 2.0 * ULP


@pytest.mark.parametrize("length", [1.0, 1e-3, 50.0])
def test_the_angle_of_a_direction(length):
    for angle in np.linspace(-np.pi, np.pi, 1001):
        cos, sin = F(length * np.cos(angle)), F(length * np.sin(angle))
        true = np.arctan2(np.float64(sin), np.float64(cos))
        assert angle_of(cos, sin) == pytest.approx(true, abs=4.0 * ULP)


def test_no_direction_has_the_angle_zero():
    assert angle_of(F(0.0), F(0.0)) == 0.0
