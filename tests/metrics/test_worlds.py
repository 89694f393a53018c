"""What the engine sees of its worlds is what metrics see of their tracks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfdrive_env.envs import make_self_play
from selfdrive_env.maps import load
from selfdrive_env.metrics import compute, road_of_network
from selfdrive_env.metrics.realism.neighbours import neighbours
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.world import ABSENT, CONTACT_BODY, CONTACT_OFFROAD, Event
from tests.metrics.traffic import wrap

AGENTS, STEPS, DT = 100, 200, 0.1
ROUNDING = 1e-3
"""Of poses in single precision, far from the origin [m]."""
CORNER = 0.05
"""Corners cut off by less may be missed by the engine [m]."""
REACH = 3.0
"""Further than anybody gets in a step [m]."""


@pytest.fixture(scope="module")
def driven() -> tuple[Tracks, dict[str, np.ndarray]]:
    """Random driving that nothing ends: tracks, and by agent or line contacts, events, lights."""
    env = make_self_play(
        AGENTS, map="riverside", agents_per_world=AGENTS, dt=DT, on_goal="new_route",
        on_collision="ignore", on_offroad="ignore", horizon=1.0e5, stagger=False, layout="lean",
        num_threads=1, light_removal=0.0, lights_off=0.0, lights_green=0.0,
    )  # fmt: skip
    env.reset(seed=3)
    engine, rng = env.engine, np.random.default_rng(0)
    names = ("x", "y", "z", "cos", "sin", "speed", "contact", "event", "light", "length")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    action = rng.integers(0, 12, AGENTS)
    for step in range(STEPS):
        if step % 8 == 0:  # long enough to get somewhere
            action = rng.choice([9, 10, 10, 10, 10, 11], AGENTS)
        env.step(action)
        agents, wheelbase = engine.agents, engine.bodies.wheelbase[0]
        rows["x"].append(agents.x[0] + 0.5 * wheelbase * agents.cos[0])
        rows["y"].append(agents.y[0] + 0.5 * wheelbase * agents.sin[0])
        for name in ("z", "cos", "sin", "speed", "contact"):
            rows[name].append(getattr(agents, name)[0].copy())
        rows["event"].append(engine.output.event[0].copy())
        rows["light"].append(engine.lights.line_colour[0].copy())
        rows["length"].append(np.where(agents.status[0] != ABSENT, engine.bodies.length[0], 0.0))
    body = engine.bodies
    found = {name: np.stack(values, axis=-1) for name, values in rows.items()}
    valid = found["length"] == body.length[0][:, None]  # one that is placed anew is another one
    tracks = Tracks(
        id=np.arange(AGENTS),
        kind=np.zeros(AGENTS, np.uint8),
        length=body.length[0].copy(),
        width=body.width[0].copy(),
        height=np.zeros(AGENTS, np.float32),
        **{n: np.where(valid, found[n], 0.0).astype(np.float64) for n in ("x", "y", "z")},
        heading=wrap(np.where(valid, np.arctan2(found["sin"], found["cos"]), 0.0)),
        vx=found["speed"] * found["cos"],
        vy=found["speed"] * found["sin"],
        valid=valid,
    )
    env.close()
    return tracks, found


def test_contacts_and_departures_are_those_of_the_engine(driven: Any) -> None:
    """It looks at whole steps, so it also sees what is over at their end."""
    tracks, found = driven
    road = road_of_network(load("riverside"))
    offroad = compute("offroad", tracks, dt=DT, road=road)["offroad"].value
    contact = np.where(tracks.valid, found["contact"], 0)
    touching, off = (contact & CONTACT_BODY) != 0, (contact & CONTACT_OFFROAD) != 0
    depth = neighbours(tracks)[0]
    overlap = compute("overlap", tracks, dt=DT)["overlap"].value > 0
    assert (overlap == (depth < -1e-6))[tracks.valid].all()
    assert touching[depth < -CORNER].all() and (depth < -CORNER).sum() > 30
    whole = tracks.valid.all(axis=0)
    assert whole.sum() > 20 and not touching[:, whole][depth[:, whole] > REACH].any()

    assert off[offroad > ROUNDING].all()
    assert not off[offroad < -REACH].any()
    assert (offroad > 0)[off].mean() > 0.9
    assert 0.2 < off.mean() < 0.95


def test_lights_passed_on_red_are_those_of_the_engine(driven: Any) -> None:
    """Whose lines guard the whole carriageway: who passes far beside or across is counted there."""
    tracks, found = driven
    road = replace(road_of_network(load("riverside")), light=found["light"])
    passed = compute("red_light", tracks, dt=DT, road=road)["red_light"].value > 0
    event = tracks.valid & ((found["event"] & Event.RED_LIGHT) != 0)
    assert not (passed & ~event).any()
    assert 3 < passed.sum() > 0.6 * event.sum()
