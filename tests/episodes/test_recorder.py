"""What a recorder notes: compared with the arrays of the environment, step by step."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import selfdrive_env  # noqa: F401
from selfdrive_env.config.observation import WIDTHS
from selfdrive_env.config.settings import Settings
from selfdrive_env.episodes import Episode, Recorder
from selfdrive_env.episodes.tracks import ASPHALT, OUTLINES
from selfdrive_env.maps import compiled
from selfdrive_env.state.road import GAP
from selfdrive_env.state.world import ABSENT

SMALL: dict[str, Any] = {
    "agents_per_world": 12, "map": "riverside", "num_threads": 1, "stagger": False,
    "layout": "lean",
}  # fmt: skip


def vector(worlds: int = 1, **settings: Any) -> Any:
    keywords = {**SMALL, **settings}
    return gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0", num_envs=12 * worlds, **keywords
    ).unwrapped


def actions(env: Any, rng: np.random.Generator) -> Any:
    return rng.integers(0, 12, env.num_envs)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_frames_show_what_the_environment_did(mode: str, tmp_path: Path) -> None:
    env = vector(worlds=2, autoreset_mode=mode)
    env.reset(seed=[5, 6])
    recorder = Recorder(env, world=1, observed=[0, 7])
    recorder.record()
    rng = np.random.default_rng(0)
    engine, mine = env.engine, slice(12, 24)
    rewards, events = [np.zeros(12)], [np.zeros(12)]
    states = [[a[1].copy() for a in (engine.agents.speed, engine.agents.x, engine.agents.status)]]
    seen = [env.engine.observations[mine].copy()]
    for _ in range(60):
        rewards.append(env.step(actions(env, rng))[1][mine])
        recorder.record()
        agents = engine.agents
        states.append([a[1].copy() for a in (agents.speed, agents.x, agents.status)])
        events.append(engine.output.event[1].copy())
        seen.append(engine.observations[mine].copy())
    recorder.save(tmp_path / "a.episode")
    episode = Episode.load(tmp_path / "a.episode")
    assert (episode.num_frames, episode.seed, episode.about["world"]) == (61, 6, 1)
    np.testing.assert_allclose(episode.values("reward").sum(0).T, rewards, atol=2e-3)
    np.testing.assert_array_equal(episode.tracks.event.T, events)
    speed, rear, status = (np.array(one) for one in zip(*states, strict=True))
    np.testing.assert_array_equal(episode.tracks.status.T, status)
    np.testing.assert_allclose(episode.values("speed").T, speed, atol=0.0051)
    there = status != ABSENT
    track = episode.tracks.track.T[there]
    apart = np.abs(episode.values("x").T - rear)[there]
    assert (apart <= 0.51 * episode.values("track_length")[track]).all()  # middle and rear axle
    observation = np.array(seen)[:, [0, 7]]
    kept = episode.values("observation").transpose(2, 0, 1)
    np.testing.assert_allclose(kept, observation, atol=0.00026)


def test_tracks_are_what_was_placed() -> None:
    env = vector()
    env.reset(seed=1)
    recorder = Recorder(env)
    recorder.record()
    rng = np.random.default_rng(1)
    ends = 0
    for _ in range(80):
        *_, terminated, truncated, _ = env.step(actions(env, rng))
        ends += int((terminated | truncated).sum())
        recorder.record()
    episode = recorder.episode()
    tracks = episode.tracks
    assert ends > 5
    assert tracks.track_placed.sum() == 12 + ends == len(tracks.track_agent)
    assert (tracks.left_frame >= 0).sum() == ends
    # Who was placed anew had come to within a step's way of where it was before.
    for track in np.flatnonzero(tracks.left_frame >= 0):
        agent, frame = tracks.track_agent[track], tracks.left_frame[track]
        assert tracks.ended[agent, frame]
        assert tracks.track[agent, frame - 1] == track
        before = np.array([episode.values(n)[agent, frame - 1] for n in ("x", "y")])
        left = np.array([episode.values(f"left_{n}")[track] for n in ("x", "y")])
        way = abs(episode.values("speed")[agent, frame - 1]) * episode.dt
        assert np.hypot(*(left - before)) < way + 1.0


def test_where_an_agent_left_is_where_it_would_be_seen_without_a_placing() -> None:
    poses = []
    for mode in ("SameStep", "NextStep"):
        env = vector(autoreset_mode=mode, driver="constant", on_goal="new_route")
        env.reset(seed=3)
        recorder = Recorder(env)
        recorder.record()
        frames = 0
        while frames < 100:
            frames += 1
            ended = env.step(np.zeros(12, int))[2]
            recorder.record()
            if ended.any():
                break
        agent = int(np.flatnonzero(ended)[0])
        episode = recorder.episode()
        track = int(np.flatnonzero(episode.tracks.left_frame == frames)[0])
        assert episode.tracks.track_agent[track] == agent
        poses.append([episode.values(f"left_{n}")[track] for n in ("x", "y", "heading")])
    assert poses[0] == poses[1]


def test_route_legs_lead_from_the_agent_to_its_goal() -> None:
    env = vector(driver="idm", on_goal="new_route")
    env.reset(seed=2)
    recorder = Recorder(env)
    recorder.record()
    for _ in range(150):
        env.step(np.zeros(12, int))
        recorder.record()
    episode = recorder.episode()
    tracks = episode.tracks
    assert len(tracks.route_leg_track) > 24
    x, y = episode.values("route_leg_x"), episode.values("route_leg_y")
    goals = np.stack([episode.values("goal_x"), episode.values("goal_y")], -1)
    for leg, (track, goal) in enumerate(
        zip(tracks.route_leg_track, tracks.route_leg_goal, strict=True)
    ):
        first, end = tracks.route_leg_first[leg : leg + 2]
        agent = tracks.track_agent[track]
        frame = int(np.flatnonzero(tracks.route_leg[agent] == leg)[0])
        start = np.array([episode.values(n)[agent, frame] for n in ("x", "y")])
        assert np.hypot(*(start - (x[first], y[first]))) < 8.0
        assert np.hypot(*(goals[track, goal] - (x[end - 1], y[end - 1]))) < 2.0


def test_lights_and_the_map_are_there() -> None:
    env = vector(lights_off=0.0, lights_green=0.0, light_removal=0.0)
    env.reset(seed=2)
    recorder = Recorder(env)
    recorder.record()
    colours = [env.engine.lights.line_colour[0].copy()]
    for _ in range(60):
        env.step(np.zeros(12, int))
        recorder.record()
        colours.append(env.engine.lights.line_colour[0].copy())
    episode = recorder.episode()
    town = compiled("riverside", lane_points=12, boundary_points=12, stop_lines=2)
    count = len(town.signs.line)
    np.testing.assert_array_equal(episode.tracks.light.T, np.array(colours)[:, :count])
    assert len(np.unique(episode.tracks.light)) > 2
    assert (episode.about["map"], episode.about["map_digest"]) == ("riverside", town.digest)
    kinds = np.bincount(episode.tracks.outline_kind, minlength=len(OUTLINES))
    assert kinds[ASPHALT] == len(town.lanes.length) + np.count_nonzero(town.paint.kind == GAP)
    assert (kinds > 0).all()


def test_an_episode_says_whether_rows_could_reverse(small: Episode) -> None:
    assert small.settings["reverse"] == "never"
    settings = {n: one for n, one in small.about["settings"].items() if n != "reverse"}
    older = Episode({**small.about, "settings": settings}, small.tracks)
    again = Episode.from_bytes(older.to_bytes(), "older")
    assert again.settings == {**small.settings, "reverse": "allowed"}
    assert again.about == older.about


def test_a_world_drawn_anew_by_a_step_is_another_episode() -> None:
    env = vector(horizon=3.0)
    env.reset(seed=2)
    recorder = Recorder(env)
    recorder.record()
    for _ in range(10):
        env.step(np.zeros(12, int))
        recorder.record()
    ended = recorder.episode()  # the episode that has ended, not the one of a single frame
    assert ended.num_frames == 11
    assert (ended.tracks.ended[:, -1] != 0).all()
    assert ended.values("reward")[:, :, -1].any()
    env.step(np.zeros(12, int))
    recorder.record()
    assert recorder.episode().num_frames == 2
    assert not recorder.episode().tracks.ended[:, 0].any()


def test_a_reset_begins_again() -> None:
    env = vector()
    env.reset(seed=2)
    recorder = Recorder(env)
    recorder.record()
    for _ in range(5):
        env.step(np.zeros(12, int))
        recorder.record()
    env.reset(seed=3)
    recorder.record()
    episode = recorder.episode()
    assert (episode.num_frames, episode.seed) == (1, 3)
    assert not episode.tracks.reward.any()


def test_a_partial_reset_replaces_the_last_frame() -> None:
    env = vector(autoreset_mode="Disabled")
    env.reset(seed=2)
    recorder = Recorder(env)
    recorder.record()
    env.step(np.zeros(12, int))
    recorder.record()
    before = recorder.episode()
    mask = np.zeros(12, bool)
    mask[4] = True
    env.reset(options={"reset_mask": mask})
    recorder.record()
    after = recorder.episode()
    assert after.num_frames == before.num_frames == 2
    np.testing.assert_array_equal(after.tracks.reward, before.tracks.reward)
    moved = np.flatnonzero((after.tracks.x != before.tracks.x).any(1))
    assert moved.tolist() == [4]
    track = before.tracks.track[4, 1]
    assert after.tracks.left_frame[track] == 1
    assert after.tracks.left_x[track] == before.tracks.x[4, 1]


def test_recording_changes_no_result() -> None:
    results = []
    for record in (False, True):
        env = vector(record=record)
        env.reset(seed=4)
        rng = np.random.default_rng(4)
        for _ in range(20):
            observations, rewards, *_ = env.step(actions(env, rng))
        results.append((observations.tobytes(), rewards.tobytes()))
    assert results[0] == results[1]
    assert Settings(record=True).digest() == Settings().digest()


def test_the_single_environment_saves_its_episode(tmp_path: Path) -> None:
    env = gymnasium.make("selfdrive_env/Drive-v0", map="riverside", agents_per_world=8, record=True)
    replay: Any = env.unwrapped
    with pytest.raises(ValueError, match=r"reset\(\)"):
        replay.save_replay(tmp_path / "a.episode")
    env.reset(seed=11)
    rewards = [0.0]
    for _ in range(30):
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rewards.append(float(reward))
        if terminated or truncated:
            break
    replay.save_replay(tmp_path / "a.episode")
    replay.save_replay(str(tmp_path / "a.html"))
    episode = Episode.load(tmp_path / "a.episode")
    assert episode.seed == 11
    assert episode.tracks.observed_agent.tolist() == [0]
    np.testing.assert_allclose(episode.values("reward").sum(0)[0], rewards, atol=2e-3)
    assert (tmp_path / "a.html").read_bytes().startswith(b"<!doctype html>")
    with pytest.raises(ValueError, match=r"end in \.html or \.episode, got .*a\.gif"):
        replay.save_replay(tmp_path / "a.gif")
    env.close()


def test_without_the_setting_the_error_names_it(tmp_path: Path) -> None:
    env: Any = gymnasium.make("selfdrive_env/Drive-v0", map="riverside", agents_per_world=8)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="record=True"):
        env.unwrapped.save_replay(tmp_path / "a.html")
    with pytest.raises(ValueError, match="record must be True or False, got 1"):
        vector(record=1)


def test_among_trained_traffic_everybody_is_recorded() -> None:
    env: Any = gymnasium.make(
        "selfdrive_env/Drive-v0", map="riverside", agents_per_world=8, traffic="selfplay"
    )
    env.reset(seed=0)
    recorder = Recorder(env, observed=range(8))
    recorder.record()
    env.step(4)
    recorder.record()
    episode = recorder.episode()
    assert episode.tracks.observation.shape[::2] == (8, 2)
    assert (episode.tracks.observation[1:, : WIDTHS["ego"], 1] != 0).any(1).all()


def test_worlds_with_tensors_on_the_cpu_are_recorded() -> None:
    torch = pytest.importorskip("torch")
    env = vector(record=True, output="torch")
    env.reset(seed=0)
    env.step(torch.zeros(12, dtype=torch.int64))
    assert env._recorder.episode().num_frames == 2


@pytest.mark.cudasim
def test_worlds_on_a_device_are_refused() -> None:
    with pytest.raises(ValueError, match=r"device must be .cpu. .* got .cuda."):
        vector(record=True, device="cuda")


def test_a_copy_of_a_recording_environment_records_from_there() -> None:
    env = vector(record=True)
    env.reset(seed=0)
    env.step(np.zeros(12, int))
    env.step(np.zeros(12, int))
    again = pickle.loads(pickle.dumps(env))
    again.step(np.zeros(12, int))
    assert again._recorder.episode().num_frames == 2
    assert again._recorder.episode().about["start"] == pytest.approx(2 * 0.3)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"world": 2}, "world must be a whole number from 0 to 1, got 2"),
        ({"focus": 12}, "focus must be a whole number from 0 to 11, got 12"),
        ({"observed": [0, 12]}, "observed must be a whole number from 0 to 11, got 12"),
        ({"observed": [0.5]}, "observed must be a whole number"),
    ],
)
def test_mistakes_are_named(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorder(vector(worlds=2), **keywords)


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(TypeError, match="selfdrive_env"):
        Recorder(gymnasium.make("CartPole-v1"))
    env = gymnasium.make("selfdrive_env/Drive-v0", map="riverside", agents_per_world=8)
    with pytest.raises(ValueError, match="agent 3, which has no observation"):
        Recorder(env, observed=[3])
    with pytest.raises(ValueError, match="nothing was recorded"):
        Recorder(env).episode()
