"""Tracks driven again by the actions that are found for them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from selfdrive_env.scenes.experts import INVERTIBLE, WHEELBASE_SHARE, expert_actions
from selfdrive_env.scenes.tracks import Tracks
from selfdrive_env.state.dynamics import DYNAMICS
from tests.reference.dynamics import RANGES, action_to, drive, pose_of

SHARED = Path(__file__).parents[3] / "shared" / "data" / "commonroad" / "scenarios"
FILES = ("USA_US101-4_1_T-1.xml", "USA_Lanker-1_1_T-1.xml")
CLOSE, ALIGNED = 0.05, np.radians(0.5)
FREE = -1.0e9
ACCELERATED = ("bicycle", "classic")


def tracks_of(x, y, heading, speed, valid=None, length=4.5) -> Tracks:  # type: ignore[no-untyped-def]
    """Tracks of cars that move along their headings."""
    agents = len(x)
    present = np.ones(x.shape, np.bool_) if valid is None else valid
    single = [heading, speed * np.cos(heading), speed * np.sin(heading)]
    heading, vx, vy = ((one * present).astype(np.float32) for one in single)
    return Tracks(
        id=np.arange(agents),
        kind=np.zeros(agents, np.uint8),
        length=np.full(agents, length, np.float32),
        width=np.full(agents, 1.8, np.float32),
        height=np.zeros(agents, np.float32),
        x=x * present,
        y=y * present,
        z=np.zeros(x.shape),
        heading=heading,
        vx=vx,
        vy=vy,
        valid=present,
    )


def recorded(name: str) -> Tracks:
    """Moving cars of a CommonRoad file, step by step."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    root = ElementTree.parse(path).getroot()
    cars = [one for one in root if one.tag in ("dynamicObstacle", "obstacle")]
    values = np.zeros((5, len(cars), 102))
    for number, car in enumerate(cars):
        start, series = car.find("initialState"), car.find("trajectory")
        assert start is not None and series is not None
        for state in (start, *series.iter("state")):
            x, y, heading, speed, moment = (
                float(state.findtext(tag) or "nan")
                for tag in (
                    *("position/point/x", "position/point/y", "orientation/exact"),
                    *("velocity/exact", "time/exact"),
                )
            )
            values[:, number, int(moment)] = x, y, heading, speed, 1.0
    assert np.isfinite(values).all()
    assert float(root.get("timeStepSize", "nan")) == 0.1
    return tracks_of(*values[:4], valid=values[4] > 0.0)


def feasible(model: str, tracks: Tracks, steps: int) -> np.ndarray:
    """Which tracks a model can follow for so many steps: from each recorded moment an action
    within the ranges has the speed and the heading of the next one, and leads to where it is but
    for what cameras are wrong by: 5 cm along the way, 1 cm aside.
    """
    heading = tracks.heading.astype(np.float64)
    speed = np.hypot(tracks.vx, tracks.vy).astype(np.float64)
    pose = pose_of(tracks.x, tracks.y, heading, speed)
    before, after = pose[:, :steps], pose[:, 1 : steps + 1]
    wheelbase = np.full(before.shape[:2], WHEELBASE_SHARE * 4.5)
    dt = np.full(before.shape[:2], 0.1)
    action = action_to(model, before, after, wheelbase, dt)
    missed = drive(model, before, action, wheelbase, dt, FREE) - after
    along = missed[..., 0] * after[..., 2] + missed[..., 1] * after[..., 3]
    aside = missed[..., 1] * after[..., 2] - missed[..., 0] * after[..., 3]
    close = np.hypot(along, aside) < 0.05
    close &= np.abs(aside) < (0.01 if model == "classic" else 0.05)
    close &= np.hypot(missed[..., 2], missed[..., 3]) < 0.1 * ALIGNED
    if model in ACCELERATED:
        close &= np.abs(missed[..., 4]) < 1e-6
    return (close & tracks.valid[:, :steps] & tracks.valid[:, 1 : steps + 1]).all(1)


@pytest.mark.parametrize(
    ("model", "able", "longer"),
    [
        ("bicycle", 10, 2),
        ("classic", 2, 0),
        ("delta_local", 36, 8),
        ("delta_global", 36, 8),
        ("state", 36, 8),
    ],
)
def test_feasible_tracks_of_ngsim_are_followed(model: str, able: int, longer: int) -> None:
    """36 of the 46 cars are there for 4 s, 8 for 8 s; accelerations within 6 m/s^2 fit the fewest.

    Those that a model is able to follow keep to 5 cm and 0.5 degrees.
    """
    for steps, wanted in ((40, able), (80, longer)):
        found = 0
        for name in FILES:
            tracks = recorded(name)
            expert = expert_actions(tracks, model, 0.1)
            chosen = feasible(model, tracks, steps)
            found += int(chosen.sum())
            far = expert.position_error[:, : steps + 1].max(1)[chosen]
            turned = expert.heading_error[:, : steps + 1].max(1)[chosen]
            assert (far < CLOSE).all() and (turned < ALIGNED).all()
        assert found == wanted


def smooth(random: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    """Values that change little from step to step, within +-size."""
    phase = random.uniform(0.0, 6.0, (*shape[:1], 1)) + np.arange(shape[1]) * 0.15
    return size * np.sin(phase) * random.uniform(0.1, 1.0, (*shape[:1], 1))


def made(model: str, agents: int = 40, steps: int = 60) -> tuple[Tracks, np.ndarray]:
    """Tracks that a model drove, far from the origin, and the actions that did it."""
    random = np.random.default_rng(len(model))
    sizes = {"bicycle": (2.0, 0.1), "classic": (2.0, 0.3)}.get(model, (0.2, 0.2, 0.05))
    action = np.stack([smooth(random, (agents, steps), size) for size in sizes], -1)
    if model.startswith("delta"):
        action[..., 0] += 1.0
    heading = random.uniform(-np.pi, np.pi, agents)
    start = pose_of(*random.uniform(5000.0, 5100.0, (2, agents)), heading, np.full(agents, 12.0))
    poses = [start]
    wheelbase, dt = np.full(agents, WHEELBASE_SHARE * 4.5), np.full(agents, 0.1)
    for step in range(steps):
        poses.append(drive(model, poses[-1], action[:, step], wheelbase, dt, FREE))
    x, y, cos, sin, speed = np.moveaxis(np.stack(poses, 1), -1, 0)
    return tracks_of(x, y, np.arctan2(sin, cos), speed), action


@pytest.mark.parametrize("model", [name for name in INVERTIBLE if name != "state"])
def test_what_a_model_drove_is_found_again(model: str) -> None:
    tracks, action = made(model)
    expert = expert_actions(tracks, model, 0.1)
    assert expert.valid.all()
    assert expert.position_error.max() < 0.005
    assert np.degrees(expert.heading_error.max()) < 0.05
    if model in ACCELERATED:
        assert np.abs(expert.action[..., 0] - action[..., 0]).max() < 0.05
        assert np.abs(expert.action[..., 1] - action[..., 1]).max() < 0.01
    else:
        assert np.abs(expert.action - action).max() < 1e-3


@pytest.mark.parametrize("model", INVERTIBLE)
def test_a_drive_begins_anew_after_a_gap(model: str) -> None:
    tracks, _ = made("bicycle", agents=3, steps=20)
    valid = tracks.valid.copy()
    valid[0, :4] = valid[1, 8:11] = valid[2] = False
    speed = np.hypot(tracks.vx, tracks.vy)
    tracks = tracks_of(tracks.x, tracks.y, tracks.heading, speed, valid)
    expert = expert_actions(tracks, model, 0.1)
    np.testing.assert_array_equal(expert.valid, valid[:, :-1] & valid[:, 1:])
    assert (expert.action[~expert.valid] == 0.0).all()
    assert expert.action.shape == (3, 20, len(DYNAMICS[INVERTIBLE[model]]))
    for agent, moment in ((0, 4), (1, 0), (1, 11)):
        assert expert.position_error[agent, moment] < 1e-3  # in steps of float32
    assert (expert.x[~valid] == 0.0).all()
    size = RANGES.get(model)
    assert size is None or (np.abs(expert.action) <= np.array(size) + 1e-6).all()


def test_actions_of_states_are_those_of_the_tracks() -> None:
    tracks, _ = made("classic", agents=2, steps=5)
    action = expert_actions(tracks, "state", 0.1).action
    wanted = [tracks.x, tracks.y, tracks.heading, tracks.vx, tracks.vy]
    for column, one in enumerate(wanted):
        np.testing.assert_allclose(action[..., column], one[:, 1:], atol=1e-4)


def test_errors_name_what_is_allowed() -> None:
    tracks, _ = made("bicycle", agents=1, steps=2)
    with pytest.raises(ValueError, match="model must be one of bicycle, classic, delta_local"):
        expert_actions(tracks, "jerk", 0.1)
    with pytest.raises(ValueError, match="dt must be"):
        expert_actions(tracks, "bicycle", 0.0)
