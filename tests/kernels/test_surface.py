from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from selfdrive_env.kernels.dynamics import jerk_bicycle
from selfdrive_env.kernels.math.geometry import along_arc
from selfdrive_env.kernels.surface import box_offroad, cell_at, observation_cell, point_on_surface
from selfdrive_env.maps import BUILT_IN, compiled
from selfdrive_env.state.world import EVENT_OFFROAD
from tests.kernels import from_python
from tests.kernels.conftest import no_jerk, set_body, town_engine
from tests.reference import MILLIMETRE, Sweep, offroad_is_close, swept_offroad

along_arc = from_python(along_arc)
box_offroad = from_python(box_offroad)
cell_at = from_python(cell_at)
observation_cell = from_python(observation_cell)
point_on_surface = from_python(point_on_surface)

F = np.float32


def is_offroad(town, sweep, layer):
    pose = (sweep.x, sweep.y, math.cos(sweep.heading), math.sin(sweep.heading))
    pose = tuple(F(v) for v in pose)
    travel, curvature = F(sweep.travel), F(sweep.curvature)
    end = tuple(F(v) for v in along_arc(*pose, travel, curvature))
    sizes = (F(sweep.wheelbase / 2), F(sweep.length / 2), F(sweep.width / 2))
    swept = jerk_bicycle.Sweep(*pose, travel, curvature, *sizes, F(1), F(0))
    return box_offroad(town.grid, swept, *end, layer, 0)


def random_sweep(random, town, moving):
    """A body near a lane, more or less along it, and the layer it is on."""
    segment = random.integers(len(town.lanes.segment))
    x, y, cos, sin, *_ = town.lanes.segment[segment].astype(np.float64)
    heading = math.atan2(sin, cos) + random.normal(0.0, 0.3) + math.pi * random.integers(2)
    aside = random.normal(0.0, 1.5)
    length = random.uniform(0.8, 12.0)
    wheelbase = 0.6 * length
    travel = random.uniform(-0.6, 9.0) if moving else 0.0
    curvature = math.tan(random.normal(0.0, 0.1)) / wheelbase
    x, y = x - aside * sin, y + aside * cos
    x, y = x - wheelbase / 2 * math.cos(heading), y - wheelbase / 2 * math.sin(heading)
    width = random.uniform(0.6, min(3.0, length))
    sweep = Sweep(x, y, heading, travel, curvature, length, width, wheelbase)
    return Sweep(*(float(F(v)) for v in sweep)), int(town.lanes.segment_layer[segment])


def moved_to_edge(random, sweep, surface):
    """The body shifted sideways until it just leaves the surface, give or take 4 mm."""
    side = random.choice([-1.0, 1.0])
    across = side * np.array([-math.sin(sweep.heading), math.cos(sweep.heading)])
    low, high = 0.0, 12.0
    for _ in range(30):
        middle = (low + high) / 2
        moved = sweep._replace(x=sweep.x + middle * across[0], y=sweep.y + middle * across[1])
        low, high = (low, middle) if swept_offroad(moved, surface) else (middle, high)
    shift = high + random.uniform(-4e-3, 4e-3)
    moved = sweep._replace(x=sweep.x + shift * across[0], y=sweep.y + shift * across[1])
    return Sweep(*(float(F(v)) for v in moved))


def local_part(surface, sweep):
    """The surface around a body: small polygons answer faster."""
    reach = 25.0
    x, y = sweep.x, sweep.y
    return shapely.clip_by_rect(surface, x - reach, y - reach, x + reach, y + reach)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize(("near", "count"), [(False, 1000), (True, 300)])
def test_offroad_agrees_with_the_polygons_of_the_map(name, near, count, surfaces, capsys):
    town, random = compiled(name), np.random.default_rng(4)
    exempt = left = 0
    for k in range(count):
        sweep, layer = random_sweep(random, town, moving=k % 2 == 0)
        surface = local_part(surfaces(name)[layer], sweep)
        shapely.prepare(surface)
        if near:
            sweep = moved_to_edge(random, sweep, surface)
        if offroad_is_close(sweep, surface):
            exempt += 1
            continue
        wanted = swept_offroad(sweep, surface)
        left += wanted
        assert is_offroad(town, sweep, layer) == wanted, (sweep, layer)
    with capsys.disabled():
        print(f"\noff-road on {name}, near={near}: {exempt} of {count} under 1 mm exempt", end=" ")
    assert exempt < (0.6 if near else 0.02) * count
    assert 0.15 * count < left < 0.9 * count


def test_a_body_outside_the_road_that_touches_no_edge_is_offroad():
    engine = town_engine(agents_per_world=2)
    set_body(engine)
    a = engine.agents
    a.x[0, 0] += 1000.0
    a.contact[0] = 0
    before = a.contact[0, 0]
    engine.step(no_jerk(engine))
    assert not before
    assert engine.output.event[0, 0] & EVENT_OFFROAD
    # It is one departure, however long it lasts.
    engine.step(no_jerk(engine))
    assert not engine.output.event[0, 0] & EVENT_OFFROAD


@pytest.mark.parametrize("name", BUILT_IN)
def test_points_agree_with_the_polygons_of_the_map(name, surfaces):
    town, random = compiled(name), np.random.default_rng(5)
    grid = town.grid
    low, high = town.lanes.segment[:, :2].min(0) - 30, town.lanes.segment[:, :2].max(0) + 30
    points = random.uniform(low, high, (3000, 2)).astype(np.float32)
    surface = surfaces(name)[0]
    wanted = shapely.covers(surface, shapely.points(points))
    close = shapely.distance(surface.boundary, shapely.points(points)) < MILLIMETRE
    found = [point_on_surface(grid, *point, 0, 0) for point in points]
    assert (np.array(found) == wanted)[~close].all()
    assert 100 < wanted.sum() < 2900


def test_cells_follow_their_definition():
    town, random = compiled("hillcrest"), np.random.default_rng(6)
    grid = town.grid
    nx, ny, start, layers = grid.shape[0]
    assert layers == 2
    span = 64.0 * np.array([nx, ny])
    for point in random.uniform(-20, 20 + span.max(), (2000, 2)):
        x, y = (grid.origin[0] + point).astype(np.float32)
        layer = int(random.integers(layers))
        i = math.floor((x - grid.origin[0, 0]) / 4)
        j = math.floor((y - grid.origin[0, 1]) / 4)
        wanted = -1
        if 0 <= i < 16 * nx and 0 <= j < 16 * ny:
            block = grid.block[start + (layer * ny + j // 16) * nx + i // 16]
            wanted = block * 256 + j % 16 * 16 + i % 16 if block >= 0 else -1
        found = cell_at(grid, x, y, layer, 0)
        assert found == wanted
        if found >= 0:
            assert observation_cell(found) == block * 64 + j % 16 // 2 * 8 + i % 16 // 2
