"""The Stable-Baselines3 adapter: `VecEnv`'s contract, and batched values for truncated rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

import torch
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from selfdrive_env.adapters.sb3 import BatchedBootstrap, DeepSets, SB3VecEnv
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.training import load_torch_policy

SELF_PLAY = "selfdrive_env/SelfPlay-v0"
DRIVE = "selfdrive_env/Drive-v0"
SMALL: dict[str, Any] = dict(
    num_envs=8, map="riverside", agents_per_world=4, layout="lean", num_threads=1
)
torch.set_num_threads(1)


def make(**settings: Any) -> SB3VecEnv:
    return SB3VecEnv(SELF_PLAY, **{**SMALL, **settings})


def random_actions(rng: np.random.Generator, rows: int) -> np.ndarray:
    return rng.integers(0, 12, rows)


def make_ppo(env: Any, **settings: Any) -> PPO:
    settings = dict(n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu") | settings
    return PPO("MlpPolicy", env, **settings)


def test_another_autoreset_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'SameStep'.*'NextStep'"):
        make(autoreset_mode="NextStep")


def test_an_environment_and_settings_do_not_go_together() -> None:
    env = gymnasium.make_vec(SELF_PLAY, **SMALL)
    with pytest.raises(TypeError, match="layout"):
        SB3VecEnv(env, layout="lean")
    with pytest.raises(TypeError, match="env must be an id"):
        SB3VecEnv(gymnasium.make(DRIVE, map="riverside"))  # type: ignore[arg-type]


def test_steps_equal_those_of_the_vector_environment() -> None:
    env = gymnasium.make_vec(SELF_PLAY, **SMALL, horizon=6.0)
    adapted = make(horizon=6.0)
    adapted.seed(5)
    observation, _ = env.reset(seed=5)
    np.testing.assert_array_equal(adapted.reset(), observation)
    rng = np.random.default_rng(0)
    ends = {True: 0, False: 0}
    for _ in range(60):
        actions = random_actions(rng, 8)
        observation, reward, terminated, truncated, infos = env.step(actions)
        got, got_reward, done, row_infos = adapted.step(actions)
        np.testing.assert_array_equal(got, observation)
        np.testing.assert_array_equal(got_reward, reward)
        assert got_reward.dtype == np.float32
        np.testing.assert_array_equal(done, terminated | truncated)
        for row in range(8):
            if not done[row]:
                assert row_infos[row] == {}
                continue
            info = row_infos[row]
            np.testing.assert_array_equal(info["terminal_observation"], infos["final_obs"][row])
            assert info["TimeLimit.truncated"] is bool(truncated[row])
            assert info["km"] == infos["final_info"]["km"][row]
            assert type(info["goals"]) is int
            ends[info["TimeLimit.truncated"]] += 1
    assert min(ends.values()) > 0


@pytest.mark.parametrize("copy", [True, False])
def test_returned_arrays_are_not_touched_by_the_next_step(copy: bool) -> None:
    env = make(copy=copy, horizon=3.0)
    rng = np.random.default_rng(0)
    returned = [env.reset()]
    kept = [returned[0].copy()]
    for _ in range(12):
        observation, reward, done, infos = env.step(random_actions(rng, 8))
        arrays = [observation, reward, done]
        arrays += [info["terminal_observation"] for info in infos if info]
        returned += arrays
        kept += [array.copy() for array in arrays]
    env.close()
    for before, after in zip(kept, returned, strict=True):
        np.testing.assert_array_equal(before, after)


def test_no_wrapper_of_sb3_writes_to_the_infos_that_rows_share() -> None:
    env = make(horizon=3.0)
    wrapped: VecEnvWrapper = VecNormalize(VecFrameStack(VecMonitor(env), 2))
    make_ppo(wrapped).learn(128, callback=BatchedBootstrap())
    assert env._idle == [{}] * 8


def test_a_seed_gives_the_same_observations_again() -> None:
    env = make()
    assert env.seed(3) == list(range(3, 11))
    first = env.reset()
    other = env.reset()
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), first)
    assert not np.array_equal(other, first)


def test_options_reach_the_next_reset_only() -> None:
    env = make()
    env.reset()
    mask = np.arange(8) < 4
    env.set_options({"reset_mask": mask})
    before = env.step(np.full(8, 7))[0]
    after = env.reset()
    np.testing.assert_array_equal(after[4:], before[4:])
    assert not np.array_equal(after[:4], before[:4])
    assert not np.array_equal(env.reset()[4:], before[4:])
    env.set_options([{"a": 1}, *[{}] * 7])
    with pytest.raises(ValueError, match="same for all rows"):
        env.reset()


def test_reset_infos_have_a_row_each() -> None:
    env = make()
    env.reset()
    assert env.reset_infos == [{"valid": True, "learn": True}] * 8


def test_indices_choose_the_rows_of_attributes_and_methods() -> None:
    env = make(render_mode="rgb_array", render_size=64)
    env.reset()
    assert env.get_attr("num_worlds") == [2] * 8
    assert env.get_attr("num_worlds", indices=[1, 5]) == [2, 2]
    assert env.get_attr("num_worlds", indices=3) == [2]
    assert len(env.env_method("get_state", indices=[0, 2])) == 2
    assert not env.has_attr("no_such_name")
    with pytest.raises(IndexError):
        env.get_attr("num_worlds", indices=8)

    env.set_attr("nickname", "bus")
    assert env.get_attr("nickname", indices=-1) == ["bus"]
    with pytest.raises(ValueError, match="all 8 rows"):
        env.set_attr("nickname", "tram", indices=[0])


def test_gymnasium_wrappers_are_found() -> None:
    plain = gymnasium.make_vec(SELF_PLAY, **SMALL)
    env = SB3VecEnv(RecordEpisodeStatistics(plain))
    assert env.env_is_wrapped(RecordEpisodeStatistics, indices=[0, 1]) == [True, True]
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 8
    assert env.get_attr("num_worlds")[0] == 2
    env.seed(0)
    env.reset()
    env.step(np.zeros(8, np.int64))


def test_images_follow_their_rows() -> None:
    pytest.importorskip("PIL")
    env = make(render_mode="rgb_array", render_size=64)
    env.seed(0)
    env.reset()
    images = env.get_images()
    assert len(images) == 8
    assert all(image is not None and image.shape == (64, 64, 3) for image in images)
    picked = env.env_method("render", indices=[5])[0]
    np.testing.assert_array_equal(picked, images[5])
    picture = env.render()
    assert picture is not None
    assert picture.shape == (192, 192, 3)


def test_closing_twice_is_fine() -> None:
    env = make()
    env.reset()
    env.close()
    env.close()
    assert env.env.unwrapped.closed


def test_monitor_counts_episodes() -> None:
    env = VecMonitor(make(horizon=6.0), info_keywords=("goals", "km"))
    env.seed(0)
    env.reset()
    rng = np.random.default_rng(0)
    total = np.zeros(8)
    episodes = 0
    for _ in range(60):
        _, reward, done, infos = env.step(random_actions(rng, 8))
        total += reward
        for row in np.flatnonzero(done):
            episode = infos[row]["episode"]
            assert episode["l"] == infos[row]["length"]
            assert episode["r"] == pytest.approx(total[row], abs=1e-4)
            assert episode["km"] == infos[row]["km"]
            total[row] = 0.0
            episodes += 1
    assert episodes == env.episode_count > 8


class KeepRollout(BaseCallback):
    """Copies the first rollout."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.locals["rollout_buffer"]
        self.rewards, self.returns = buffer.rewards.copy(), buffer.returns.copy()


@pytest.mark.parametrize("normalise", [False, True])
def test_batched_values_equal_those_of_sb3(normalise: bool) -> None:
    rollouts = []
    for callbacks in ([], [BatchedBootstrap()]):
        env: Any = VecMonitor(make(num_envs=32, horizon=4.5))
        env = VecNormalize(env) if normalise else env
        model = make_ppo(env, n_steps=32, gamma=0.9)
        kept = KeepRollout()
        model.learn(1, callback=[*callbacks, kept])
        rollouts.append((kept, [dict(e, t=0) for e in model.ep_info_buffer or ()]))
    (one, one_episodes), (other, other_episodes) = rollouts
    assert one_episodes == other_episodes
    np.testing.assert_allclose(one.rewards, other.rewards, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.returns, other.returns, rtol=1e-5, atol=1e-5)


def test_batched_values_are_added_once_to_truncated_rows_only() -> None:
    env = make(horizon=3.0)
    model = make_ppo(env, gamma=0.5)
    callback = BatchedBootstrap()
    callback.init_callback(model)
    finals = np.random.default_rng(0).uniform(-1, 1, (3, LAYOUTS["lean"].width)).astype(np.float32)
    infos: list[dict[str, Any]] = [
        {"terminal_observation": finals[0], "TimeLimit.truncated": True},
        {"terminal_observation": finals[1], "TimeLimit.truncated": False},
        {},
        {"terminal_observation": finals[2], "TimeLimit.truncated": True},
    ]
    rewards = np.zeros(4, np.float32)
    dones = np.array([True, True, False, True])
    for _ in range(2):
        callback.update_locals(dict(infos=infos, rewards=rewards, dones=dones))
        callback.on_step()
    with torch.no_grad():
        values = model.policy.predict_values(torch.as_tensor(finals)).flatten().numpy()
    np.testing.assert_allclose(rewards, [0.5 * values[0], 0.0, 0.0, 0.5 * values[2]], rtol=1e-5)


def test_batched_values_need_an_on_policy_algorithm() -> None:
    model = DQN("MlpPolicy", make(), buffer_size=100)
    with pytest.raises(TypeError, match="DQN"):
        model.learn(8, callback=BatchedBootstrap())


def test_a_model_is_saved_loaded_and_evaluated(tmp_path: Path) -> None:
    env = VecMonitor(make(horizon=6.0))
    model = make_ppo(env)
    model.learn(256, callback=BatchedBootstrap())
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=env, device="cpu")
    observation = env.reset()
    np.testing.assert_array_equal(
        model.predict(observation, deterministic=True)[0],
        loaded.predict(observation, deterministic=True)[0],
    )
    loaded.learn(128)
    mean, deviation = evaluate_policy(loaded, env, n_eval_episodes=16)
    assert np.isfinite([mean, deviation]).all()


def test_deep_sets_start_from_the_encoder_of_a_policy() -> None:
    env = make(layout="lean")
    model = PPO("MlpPolicy", env, policy_kwargs={"features_extractor_class": DeepSets})
    model.policy.features_extractor.start_from("selfplay")
    rows = env.reset()
    policy = load_torch_policy("selfplay")
    with torch.no_grad():
        code = model.policy.extract_features(torch.as_tensor(rows))
        expected = policy.networks.encoders[0](torch.as_tensor(rows))
    assert code.abs().sum() > 0.0
    np.testing.assert_array_equal(code, expected)


def test_deep_sets_refuse_the_encoder_of_another_layout_or_size() -> None:
    spaces = {layout: make(layout=layout).observation_space for layout in ("lean", "full")}
    with pytest.raises(ValueError, match=r"selfplay.*has the layout .*agents=8.*agents=20"):
        DeepSets(spaces["full"], layout="full").start_from("selfplay")
    with pytest.raises(ValueError, match=r"selfplay.*other layers: .*lane_points\.0\.weight"):
        DeepSets(spaces["lean"], set_widths=(16, 32)).start_from("selfplay")
    with pytest.raises(ValueError, match="layout full has rows of 1265 values"):
        DeepSets(spaces["lean"], layout="full")


def test_continuous_actions_train() -> None:
    model = make_ppo(make(action_type="continuous"))
    model.learn(128, callback=BatchedBootstrap())
    assert model.num_timesteps >= 128


def test_the_single_form_passes_the_checker_of_sb3() -> None:
    env = gymnasium.make(DRIVE, map="riverside", agents_per_world=4)
    check_env(env.unwrapped, warn=True)


@pytest.mark.slow
def test_worker_processes_step_the_single_form_as_one_process_does() -> None:
    settings = dict(map="riverside", layout="lean", horizon=6.0)
    rows: list[list[np.ndarray]] = []
    for vector, options in ((DummyVecEnv, {}), (SubprocVecEnv, {"start_method": "spawn"})):
        envs = make_vec_env(
            f"selfdrive_env:{DRIVE}",
            n_envs=2,
            seed=3,
            env_kwargs=settings,
            vec_env_cls=vector,
            vec_env_kwargs=options,
        )
        envs.action_space.seed(0)
        rows.append([envs.reset()])
        for _ in range(40):
            actions = np.array([envs.action_space.sample() for _ in range(2)])
            observations, rewards, done, infos = envs.step(actions)
            rows[-1] += [observations, rewards, done]
            assert all("episode" in info for info, over in zip(infos, done, strict=True) if over)
        envs.close()
    assert sum(done.sum() for done in rows[0][3::3]) >= 4
    assert all(np.array_equal(*pair) for pair in zip(*rows, strict=True))


PIXELS: dict[str, Any] = {"kind": "bev", "size": 40, "history": 2}


@pytest.mark.parametrize(
    ("policy", "observation"),
    [
        ("CnnPolicy", PIXELS),
        ("CnnPolicy", {**PIXELS, "channels_first": True}),
        ("MultiInputPolicy", {"road": PIXELS, "row": "state"}),
    ],
)
def test_networks_of_pictures_learn_and_truncated_rows_are_bootstrapped(
    policy: str, observation: Any
) -> None:
    env = make(observation=observation, horizon=1.5)
    model = PPO(policy, env, n_steps=8, batch_size=32, n_epochs=1, seed=0, device="cpu")
    before = [one.clone() for one in model.policy.parameters()]
    model.learn(64, BatchedBootstrap())
    after = list(model.policy.parameters())
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    seen = env.reset()
    assert len(model.predict(seen)[0]) == 8


def test_the_last_pictures_of_an_episode_reach_the_infos() -> None:
    settings: dict[str, Any] = {"horizon": 1.5, "observation": {"road": PIXELS, "row": "state"}}
    env, twin = make(**settings), gymnasium.make_vec(SELF_PLAY, **SMALL, **settings)
    env.seed(3)
    env.reset()
    twin.reset(seed=3)
    ends = 0
    for _ in range(12):
        seen, _, done, row_infos = env.step(np.full(8, 7))
        observation, *_, infos = twin.step(np.full(8, 7))
        for name in ("road", "row"):
            np.testing.assert_array_equal(seen[name], observation[name])
            for row in np.flatnonzero(done):
                last = row_infos[row]["terminal_observation"][name]
                np.testing.assert_array_equal(last, infos["final_obs"][name][row])
        ends += int(done.sum())
    assert ends
