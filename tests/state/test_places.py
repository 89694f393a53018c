"""The host's places against the kernels' own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfdrive_env.kernels.math import geometry
from selfdrive_env.kernels.surface import cell_at as kernel_cell_at
from selfdrive_env.kernels.surface import observation_cell as kernel_observation_cell
from selfdrive_env.maps import compiled
from selfdrive_env.state.places import along_arc, box_centre, cell_at, observation_cell
from selfdrive_env.state.road import CELL
from tests.kernels import from_python

kernel_along_arc = from_python(geometry.along_arc)
kernel_cell_at = from_python(kernel_cell_at)
kernel_observation_cell = from_python(kernel_observation_cell)


@settings(deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(-10.0, 10.0), st.floats(-0.3, 0.3))
def test_arcs_end_where_those_of_the_kernel_do(
    heading: float, travel: float, curvature: float
) -> None:
    pose = np.array([3.0, -2.0, np.cos(heading), np.sin(heading)], np.float32)
    arc = np.float32(travel), np.float32(curvature)
    found = along_arc(*(one[None] for one in pose), *arc)
    np.testing.assert_allclose(np.ravel(found), kernel_along_arc(*pose, *arc), atol=1e-5)


def test_the_centre_lies_half_a_wheelbase_ahead() -> None:
    x, y = box_centre(np.array([1.0]), np.array([2.0]), np.array([0.0]), np.array([1.0]), 3.0)
    assert (x.tolist(), y.tolist()) == ([1.0], [3.5])


@pytest.mark.parametrize("name", ["riverside", "harbour"])
def test_cells_are_those_of_the_kernel(name: str) -> None:
    grid = compiled(name).grid
    random = np.random.default_rng(0)
    size = grid.shape[0, :2] * 16 * CELL
    points = (grid.origin[0] + random.uniform(-0.1, 1.1, (3000, 2)) * size).astype(np.float32)
    # A metre or less outside the grid counts as outside, too.
    points = np.concatenate([points, grid.origin[:1] - np.float32(0.5)])
    for layer in range(int(grid.shape[0, 3])):
        found = cell_at(grid, points[:, 0], points[:, 1], layer, 0)
        expected = [kernel_cell_at(grid, x, y, layer, 0) for x, y in points]
        assert found.tolist() == expected
        inside = found[found >= 0]
        assert len(inside)
        assert (inside < len(grid.edge_first)).all()
        assert observation_cell(inside).tolist() == [kernel_observation_cell(c) for c in inside]
