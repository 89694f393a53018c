"""Sessions without a window: who drives, what is counted, what a scene shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from selfdrive_env.config.choices import POLICIES
from selfdrive_env.evaluation.policies import load
from selfdrive_env.play.controls import Pressed
from selfdrive_env.play.session import Session, make_env

SMALL: dict[str, Any] = {"agents_per_world": 8, "num_threads": 1}
GO = Pressed(throttle=True)


def test_keys_move_the_ego_and_rewards_add_up(session: Session) -> None:
    start = session.scene(1.0)
    rewards = []
    for _ in range(20):
        session.step(GO)
        rewards.append(float(session.env.engine.output.reward[0, 0]))
    end = session.scene(1.0)
    assert session.ended is None
    assert np.hypot(end.x[0] - start.x[0], end.y[0] - start.y[0]) > 2.0
    assert session.time == pytest.approx(2.0)
    assert session.total.sum() == pytest.approx(sum(rewards), abs=1e-4)
    assert session.last.sum() == pytest.approx(rewards[-1], abs=1e-5)


def test_a_scene_lies_between_two_steps(session: Session) -> None:
    for _ in range(10):
        session.step(GO)
    x = [session.scene(share).x for share in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(x[1], 0.5 * (x[0] + x[2]), atol=1e-3)
    assert not np.array_equal(x[0], x[2])


def test_observed_places_are_those_of_the_map(session: Session) -> None:
    for _ in range(5):
        session.step(GO)
    observed = session.scene(1.0, observed=True).observed
    assert observed is not None
    known = session.env.engine.grid.lane_point[:, :2]
    assert len(observed.lane_points) == session.env.layout.lane_points
    for point in observed.lane_points:
        assert np.hypot(*(known - point[:2]).T).min() < 0.05
    assert 1 <= len(observed.route) <= 8
    steps = np.hypot(*np.diff(observed.route, axis=0).T)
    assert (steps < 15.5).all() and (steps > 1.0).all()
    engine = session.env.engine
    centres = np.stack([engine.agents.x[0], engine.agents.y[0]], 1)
    for point in observed.agents:  # the observation has box centres, up to half a wheelbase ahead
        assert np.hypot(*(centres - point).T).min() < 4.0


def test_after_the_end_nothing_moves_until_the_reset(session: Session) -> None:
    for _ in range(400):
        session.step(Pressed(throttle=True, left=True))
        if session.ended is not None:
            break
    assert session.ended in ("offroad", "collision", "collision, offroad")
    steps = session.steps
    session.step(GO)
    assert session.steps == steps
    assert session.scene(1.0).status[0] != 0
    session.reset()
    assert session.ended is None
    assert session.total.sum() == 0.0


@pytest.mark.parametrize("name", ["idm", *POLICIES])
def test_a_policy_drives_until_hands_take_over(name: str) -> None:
    policy = load(name)
    env = make_env("riverside", "idm", policy, SMALL)
    session = Session(env, policy, 2)
    assert session.driver == name
    for _ in range(30):
        session.step(Pressed())
    assert session.body().speed > 1.0
    session.manual = True
    assert session.driver == "you"
    for _ in range(80):
        session.step(Pressed(brake=True))
    assert session.ended is not None or session.body().speed == 0.0
    env.close()


def test_self_play_traffic_takes_the_discrete_actions_it_learnt() -> None:
    env = make_env("riverside", "selfplay", None, SMALL)
    session = Session(env, None, 1)
    for _ in range(20):
        session.step(GO)
    assert env.settings.action_type == "discrete"
    assert session.body().speed > 0.5
    moved = np.abs(env.engine.agents.speed[0, 1:]) > 1.0
    assert moved.any()
    env.close()


def test_an_episode_is_recorded(session: Session) -> None:
    for _ in range(12):
        session.step(GO)
    episode = session.episode()
    assert episode.num_frames == 13
    assert episode.dt == pytest.approx(0.1)
    assert episode.values("speed")[0, -1] == pytest.approx(session.body().speed, abs=0.01)


def test_settings_of_play_itself_are_refused() -> None:
    with pytest.raises(ValueError, match="driver cannot be set: play needs its own value"):
        make_env("riverside", "idm", None, {"driver": "idm"})
