"""How scripted drivers go round tight bends, in and out of them."""

from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.maps.compile.compiled_map import compile_map
from selfdrive_env.maps.road_network import RoadNetwork
from selfdrive_env.state.world import EVENT_OFFROAD, IDM
from tests.kernels.conftest import build, no_jerk, put, segment_of
from tests.maps.conftest import connect, strip


def corner(radius: float, turn: float, width: float) -> RoadNetwork:
    """40 m straight on, a bend of some angle to the left, 100 m on."""
    angle = np.linspace(0.0, turn, 61)
    bend = np.stack([radius * np.sin(angle), radius * (1.0 - np.cos(angle))], axis=1)
    ahead = np.array([np.cos(turn), np.sin(turn)])
    points = ([[-40, 0], [0, 0]], bend, [bend[-1], bend[-1] + 100.0 * ahead])
    lanes = [strip(str(n), np.insert(np.array(p, float), 2, 0.0, axis=1), width, speed_limit=14.0)
        for n, p in enumerate(points)]  # fmt: skip
    connect(lanes, (0, 1), (1, 2))
    return RoadNetwork("corner", lanes)


@pytest.mark.parametrize(("radius", "kind"), [(6.5, "car"), (8.0, "car"), (9.5, "van")])
@pytest.mark.parametrize("dt", [0.1, 0.3])
def test_who_fits_a_tight_bend_stays_on_a_road_of_one_lane(radius, kind, dt):
    """Neither its front leaves it, nor what is cut on the inner side."""
    engine = build([compile_map(corner(radius, 1.7, 3.2))], worlds=100, drivers=[IDM],
        bodies={kind: 1.0}, dt=dt)  # fmt: skip
    agents, bodies = engine.agents, engine.bodies
    for world in range(100):
        put(engine, 0, segment_of(engine, 0, 10.0), speed=5.0, world=world)
    bodies.num_goals[:] = 1
    bodies.goal_lane[..., 0], bodies.goal_s[..., 0] = 2, 90.0
    agents.goal[:] = 0
    fits = bodies.max_curvature[:, 0] > 1.02 / radius
    assert fits.sum() > 10
    through = np.zeros(100, bool)
    for _ in range(int(18.0 / dt)):
        engine.step(no_jerk(engine))
        through |= (engine.lanes.segment_lane[agents.segment[:, 0]] == 2) & (agents.s[:, 0] > 20.0)
        left = (engine.output.event[:, 0] & EVENT_OFFROAD) != 0
        assert not (left & fits & ~through).any()
    assert through[fits].all()
