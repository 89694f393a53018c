from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.maps.opendrive.geometry import CubicCurve, ReferenceLine, evaluate_polynomials


def piece(
    length: float,
    curvature: float = 0.0,
    rate: float = 0.0,
    *,
    x: float = 0.0,
    y: float = 0.0,
    heading: float = 0.0,
    curve: CubicCurve | None = None,
) -> ReferenceLine:
    columns = (np.array([v]) for v in (0.0, x, y, heading, curvature, rate, length))
    curves = {} if curve is None else {0: curve}
    return ReferenceLine(*columns, length=length, curves=curves)


def fine_length(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.hypot(np.diff(x), np.diff(y)).sum())


def test_line_runs_along_its_heading() -> None:
    x, y, heading, curvature = piece(10.0, x=1.0, y=2.0, heading=np.pi / 2).evaluate(
        np.array([0.0, 4.0])
    )
    np.testing.assert_allclose(x, [1.0, 1.0])
    np.testing.assert_allclose(y, [2.0, 6.0])
    np.testing.assert_allclose(heading, np.pi / 2)
    assert not curvature.any()


def test_quarter_circle_ends_a_radius_ahead_and_beside() -> None:
    radius = 20.0
    length = radius * np.pi / 2
    x, y, heading, curvature = piece(length, 1.0 / radius).evaluate(np.array([length]))
    assert x[0] == pytest.approx(radius)
    assert y[0] == pytest.approx(radius)
    assert heading[0] == pytest.approx(np.pi / 2)
    assert curvature[0] == pytest.approx(1.0 / radius)


def test_spiral_follows_the_fresnel_integrals() -> None:
    # C(1) and S(1) with the argument pi t^2 / 2, Abramowitz & Stegun, table 7.7
    x, y, heading, curvature = piece(1.0, 0.0, np.pi).evaluate(np.array([1.0]))
    assert x[0] == pytest.approx(0.7798934003768228, abs=1e-12)
    assert y[0] == pytest.approx(0.4382591473903548, abs=1e-12)
    assert heading[0] == pytest.approx(np.pi / 2)
    assert curvature[0] == pytest.approx(np.pi)


def test_poly3_passes_the_point_at_its_arc_length() -> None:
    curve = CubicCurve(
        np.array([0.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.75, 0.0, 0.0]), 10.0, 10.0, kind="poly3"
    )
    x, y, heading, _ = piece(10.0, curve=curve).evaluate(np.array([0.0, 5.0, 10.0]))
    np.testing.assert_allclose(x, [0.0, 4.0, 8.0], atol=1e-9)
    np.testing.assert_allclose(y, [0.0, 3.0, 6.0], atol=1e-9)
    np.testing.assert_allclose(heading, np.arctan(0.75))


@pytest.mark.parametrize(("kind", "end"), [("normalized", 1.0), ("arcLength", 8.0)])
def test_parametric_cubic_reaches_its_end_in_both_ranges(kind: str, end: float) -> None:
    u, v = np.array([0.0, 8.0 / end, 0.0, 0.0]), np.array([0.0, 0.0, 2.0 / end**2, 0.0])
    x, y, heading, _ = piece(8.0, curve=CubicCurve(u, v, end, 8.0, kind=kind)).evaluate(
        np.array([0.0, 8.0])
    )
    np.testing.assert_allclose(x, [0.0, 8.0], atol=1e-9)
    np.testing.assert_allclose(y, [0.0, 2.0], atol=1e-9)
    np.testing.assert_allclose(heading, [0.0, np.arctan2(4.0, 8.0)], atol=1e-9)


def test_normalized_cubic_is_found_by_arc_length() -> None:
    u, v = np.array([0.0, 11.8, 11.8, -7.87]), np.array([0.0, 0.0, 3.0, -1.0])
    curve = CubicCurve(u, v, 1.0, 16.0)
    s = np.linspace(0.0, 16.0, 2001)
    x, y, _, _ = piece(16.0, curve=curve).evaluate(s)
    steps = np.hypot(np.diff(x), np.diff(y))
    assert steps.max() / steps.min() < 1.001


def test_beyond_its_end_a_line_goes_on_straight() -> None:
    length = 10.0
    line = piece(length, 0.1)
    x, y, heading, _ = line.evaluate(np.array([length, length + 3.0]))
    assert np.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(3.0)
    assert np.arctan2(y[1] - y[0], x[1] - x[0]) == pytest.approx(1.0)
    assert heading[1] == pytest.approx(1.0)


def test_polynomials_take_the_piece_before_the_station_where_asked() -> None:
    records = np.array([[0.0, 1.0, 0.0, 0.0, 0.0], [5.0, 3.0, 1.0, 0.0, 0.0]])
    s = np.array([0.0, 5.0, 7.0])
    value, slope, _ = evaluate_polynomials(records, s)
    np.testing.assert_allclose(value, [1.0, 3.0, 5.0])
    np.testing.assert_allclose(slope, [0.0, 1.0, 1.0])
    left, _, _ = evaluate_polynomials(records, s, s - 1e-9)
    np.testing.assert_allclose(left, [1.0, 1.0, 5.0])


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1.0, 200.0),
    st.floats(-0.2, 0.2),
    st.floats(-0.2, 0.2),
    st.floats(-10.0, 10.0),
)
def test_curves_have_the_stated_length_and_heading(
    length: float, start: float, end: float, heading: float
) -> None:
    line = piece(length, start, (end - start) / length, heading=heading)
    s = np.linspace(0.0, length, 4001)
    x, y, angle, _ = line.evaluate(s)
    assert fine_length(x, y) == pytest.approx(length, rel=1e-5)
    middle = 0.5 * (angle[:-1] + angle[1:])
    np.testing.assert_allclose(np.diff(x), np.diff(s) * np.cos(middle), atol=1e-6)
    np.testing.assert_allclose(np.diff(y), np.diff(s) * np.sin(middle), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(5.0, 80.0),
    st.tuples(*[st.floats(-0.15, 0.15)] * 4),
)
def test_cubic_curves_are_continuous_and_of_the_stated_length(
    length: float, shape: tuple[float, float, float, float]
) -> None:
    u = np.array([0.0, length, shape[0] * length, shape[1] * length])
    v = np.array([0.0, 0.0, shape[2] * length, shape[3] * length])
    curve = CubicCurve(u, v, 1.0, length)
    s = np.linspace(0.0, length, 2001)
    x, y, _, _ = piece(length, curve=curve).evaluate(s)
    steps = np.hypot(np.diff(x), np.diff(y))
    assert steps.sum() == pytest.approx(curve.lengths[-1], rel=1e-4)
    assert steps.max() < 1.02 * curve.lengths[-1] / 2000
    np.testing.assert_allclose([x[-1], y[-1]], [u.sum(), v.sum()], atol=1e-6)
