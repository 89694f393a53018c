from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.kernels.functions import angle_of, arctangent, cosine, sine_share
from tests.kernels import from_python

F = np.float32
ULP = 2.0**-23

angle_of, arctangent = from_python(angle_of), from_python(arctangent)
cosine, sine_share = from_python(cosine), from_python(sine_share)

ANGLES = np.concatenate(
    [np.linspace(-7.0, 7.0, 4001), np.linspace(-1e-3, 1e-3, 201), [np.pi / 2, -np.pi / 2]]
).astype(F)


def worst(kernel, truth, values):
    found = np.array([kernel(value) for value in values], np.float64)
    return np.abs(found - truth(values.astype(np.float64))).max()


def test_sine_and_cosine_are_exact_to_the_last_place():
    assert worst(sine_share, lambda a: np.sinc(a / np.pi), ANGLES) < 1.5 * ULP
    assert worst(cosine, np.cos, ANGLES) < 1.5 * ULP


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
