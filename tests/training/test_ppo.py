from __future__ import annotations

import csv
import dataclasses
import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from selfdrive_env.policies.numpy_policy import load_policy
from selfdrive_env.state.world import STANDING
from selfdrive_env.training import TrainConfig, load_torch_policy, train
from selfdrive_env.training.advantages import estimate_advantages, filter_advantages
from selfdrive_env.training.checkpoint import tensors_from
from selfdrive_env.training.distributed import Ranks
from selfdrive_env.training.ppo import NotFiniteError, Trainer
from tests.training.conftest import tiny_config

ALONE = Ranks("cpu")


def slow_advantages(
    rewards: NDArray[Any], values: NDArray[Any], done: NDArray[Any], last: NDArray[Any],
    gamma: NDArray[Any], lam: NDArray[Any],
) -> NDArray[Any]:  # fmt: skip
    """From the definition: A_t = sum_k (gamma lambda)^k delta_{t+k}, up to the episode's end."""
    steps, rows = rewards.shape
    following = np.vstack([values[1:], last[None]])
    advantages = np.zeros((steps, rows))
    for row in range(rows):
        for step in range(steps):
            weight = 1.0
            for later in range(step, steps):
                ended = done[later, row]
                future = 0.0 if ended else gamma[later, row] * following[later, row]
                delta = rewards[later, row] + future - values[later, row]
                advantages[step, row] += weight * delta
                weight *= gamma[later, row] * lam[later, row]
                if ended:
                    break
    return advantages


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_advantages_are_those_of_the_definition(
    seed: int, steps: int, most_gamma: float, most_lam: float
) -> None:
    draw = np.random.default_rng(seed)
    gamma, lam = most_gamma * draw.random((steps, 3)), most_lam * draw.random((steps, 3))
    rewards, values = draw.normal(size=(2, steps, 3))
    done, last = draw.random((steps, 3)) < 0.3, draw.normal(size=3)
    result = estimate_advantages(
        *(torch.from_numpy(one) for one in (rewards, values, done, last, gamma, gamma * lam))
    )
    np.testing.assert_allclose(
        result, slow_advantages(rewards, values, done, last, gamma, lam), atol=1e-9
    )


def test_the_filter_follows_the_running_largest_advantage() -> None:
    draw = np.random.default_rng(0)
    level: float | None = None
    expected = 0.0
    for turn in range(5):
        advantages = draw.normal(size=(6, 4)) ** 3 * (turn + 1)
        learn = draw.random((6, 4)) < 0.8
        largest = max(abs(a) for a, good in zip(advantages.flat, learn.flat, strict=True) if good)
        expected = largest if turn == 0 else 0.25 * largest + 0.75 * expected
        keep, level = filter_advantages(
            torch.from_numpy(advantages), torch.from_numpy(learn), level, 0.1, 0.25, ALONE
        )
        assert level == pytest.approx(expected)
        for place in np.ndindex(6, 4):
            assert bool(keep[place]) == (
                bool(learn[place]) and abs(advantages[place]) >= 0.1 * expected
            )


def test_a_share_of_zero_keeps_all_that_may_be_learnt_from() -> None:
    advantages = torch.tensor([[0.0, 1.0, -2.0]])
    learn = torch.tensor([[True, False, True]])
    keep, level = filter_advantages(advantages, learn, None, 0.0, 0.25, ALONE)
    assert keep.tolist() == [[True, False, True]]
    assert level == 2.0


def started(config: TrainConfig) -> Trainer:
    torch.set_num_threads(1)
    trainer = Trainer(config, ALONE)
    trainer.start(resume=False)
    return trainer


@pytest.mark.parametrize("shared", [True, False])
def test_gradients_of_actor_and_critic_are_clipped_apart(tmp_path: Path, shared: bool) -> None:
    config = tiny_config(tmp_path, clip_apart=True, max_grad_norm=0.5, shared_sets=shared)
    trainer = started(config)
    actor, critic, *both = trainer.networks.parts()
    assert len(both) == shared
    found = [id(one) for part in (actor, critic, *both) for one in part]
    assert sorted(found) == sorted(id(one) for one in trainer.networks.parameters())
    for part, size in ((actor, 3.0), (critic, 1e-5), *((part, 0.0) for part in both)):
        for one in part:
            one.grad = torch.full_like(one, size)
    small = [one.grad.clone() for one in critic]
    whole = math.sqrt(sum(float(one.grad.square().sum()) for one in trainer.parameters))
    assert trainer._clip() == pytest.approx(whole, rel=1e-5)
    length = math.sqrt(sum(float(one.grad.square().sum()) for one in actor))
    assert length == pytest.approx(0.5, rel=1e-4)
    for one, before in zip(critic, small, strict=True):
        assert torch.equal(one.grad, before)
    assert math.isfinite(trainer.update()["policy_loss"])
    trainer.close()


def test_the_weight_of_the_entropy_follows_the_budget(tmp_path: Path) -> None:
    trainer = started(tiny_config(tmp_path, entropy=0.02, entropy_end=0.004, steps=10_000))
    seen = [(trainer.state.steps, trainer._entropy_weight())]
    for _ in range(3):
        trainer.update()
        seen.append((trainer.state.steps, trainer._entropy_weight()))
    for steps, weight in seen:
        assert weight == pytest.approx(0.02 - 0.016 * min(steps / 10_000, 1.0))
    assert seen[0][1] == 0.02 and seen[-1][1] < 0.02
    trainer.close()


def test_rows_that_are_not_to_be_learnt_from_change_nothing(tiny: TrainConfig) -> None:
    weights = []
    for spoilt in (False, True):
        trainer = started(tiny.changed(out_dir=f"{tiny.out_dir}-{spoilt}", filter=0.0))
        rollout, _ = trainer.drive()
        rollout.learn[:, ::2] = False
        if spoilt:
            rollout.actions[:, ::2] = 0
            rollout.log_probabilities[:, ::2] = -50.0
            rollout.rewards[:, ::2] = 1e3
        figures = trainer.learn_from(rollout)
        assert figures["kept"] == 1.0
        weights.append([one.detach().clone() for one in trainer.parameters])
        trainer.close()
    for a, b in zip(*weights, strict=True):
        assert torch.equal(a, b)


def test_rows_without_an_agent_are_masked(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, env={"agents_per_world": [2, 4]})
    trainer = started(config)
    rollout, _ = trainer.drive()
    absent = (rollout.observations == 0.0).all(2)
    assert absent.any()
    assert not rollout.learn[absent].any()
    trainer.close()


def test_bodies_that_stand_broken_down_are_no_transitions(tmp_path: Path) -> None:
    """Their rows are not learnt from, earn and end nothing, and no episode of theirs counts."""
    env = {"agents_per_world": 8, "standing_share": 0.5, "horizon": 6.0, "stagger": False,
           "on_collision": "ignore", "on_offroad": "ignore"}  # fmt: skip
    trainer = started(tiny_config(tmp_path, rollout=60, minibatch=64, steps=10_000, env=env))
    stand = trainer.env.engine.agents.status.reshape(-1) == STANDING
    rollout, sums = trainer.drive()
    masked = ~rollout.learn
    empty = (rollout.observations == 0.0).all(2)
    assert bool(stand.any()) and bool(masked[0, stand].all())
    assert torch.equal(masked, empty)
    assert not bool(rollout.rewards[masked].any()) and not bool(rollout.done[masked].any())
    assert bool(rollout.learn[:, ::8].all())
    whole = trainer.env.settings.steps * int(rollout.learn[19::20].sum())
    assert sums["length"] == pytest.approx(0.3 * whole)  # in seconds
    assert math.isfinite(trainer.update()["policy_loss"])
    trainer.close()


def test_a_cut_episode_goes_on_with_the_value_of_its_last_observation(tmp_path: Path) -> None:
    """Rewards of a truncated step exceed the environment's by gamma times that value."""
    config = tiny_config(tmp_path, rollout=24, minibatch=64, steps=10_000, gamma=0.5,
                         env={"on_collision": "ignore", "on_offroad": "ignore"})  # fmt: skip
    trainer = started(config)
    trainer.networks.critic.head.bias.data.fill_(1e4)
    rollout, _ = trainer.drive()
    horizon = trainer.env.settings.steps
    cut = rollout.rewards > 1e3
    assert int(cut.sum()) >= cut.shape[1] * (config.rollout // horizon)
    assert bool((rollout.done | ~cut).all())
    np.testing.assert_allclose(rollout.rewards[cut], 5e3, rtol=1e-2)
    trainer.close()


def test_who_is_stopped_for_good_gets_no_value_of_what_follows(tmp_path: Path) -> None:
    """A row of which nothing more is learnt has ended, and no value is added at the clock's end."""
    env = {"on_collision": "stop", "on_offroad": "stop", "agents_per_world": 8, "horizon": 6.0}
    config = tiny_config(tmp_path, rollout=60, minibatch=64, steps=10_000, gamma=0.5, env=env)
    trainer = started(config)
    trainer.networks.critic.head.bias.data.fill_(1e4)
    rollout, _ = trainer.drive()
    stopped = rollout.learn[:-1] & ~rollout.learn[1:]
    assert int(stopped.sum()) > 0
    assert bool(rollout.done[:-1][stopped].all())
    assert not bool((rollout.rewards[~rollout.learn] > 1e3).any())
    trainer.close()


def test_training_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        train(tiny_config(tmp_path / name, seed=seed), updates=2)
        return (tmp_path / name / "policy.safetensors").read_bytes()

    assert weights("a", 0) == weights("b", 0)
    assert weights("a2", 0) != weights("c", 1)


def test_training_leaves_figures_policy_and_checkpoint(tiny: TrainConfig) -> None:
    figures = train(tiny)
    assert figures["steps"] == tiny.steps
    folder = Path(tiny.out_dir)
    with open(folder / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["update"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert float(rows[0]["learning_rate"]) == pytest.approx(tiny.learning_rate)
    assert float(rows[3]["learning_rate"]) == pytest.approx(tiny.learning_rate / 2)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["00000006"]

    policy = load_torch_policy(folder)
    observations = np.zeros((3, policy.features), np.float32)
    assert policy.act(observations).shape == (3,)
    assert isinstance(policy.act(torch.from_numpy(observations), deterministic=False), torch.Tensor)
    assert dataclasses.asdict(policy.layout) == tiny.env["layout"]
    with pytest.raises(ValueError, match="observations must be rows of"):
        policy.act(observations[:, 1:])


def test_half_precision_rows_train(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, env={"obs_dtype": "float16"})
    trainer = started(config)
    figures = trainer.update()
    assert trainer.buffers is not None
    assert trainer.buffers.observations.dtype == torch.float16
    assert math.isfinite(figures["policy_loss"])
    trainer.close()


@pytest.mark.parametrize("where", ["rewards", "actor"])
def test_a_loss_that_is_no_number_stops_with_state_and_batch(
    tiny: TrainConfig, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Trainer.drive

    def spoilt(self: Trainer) -> Any:
        rollout, tallies = drive(self)
        if self.state.updates == 2 and where == "rewards":
            rollout.rewards[0, 0] = math.nan
        elif self.state.updates == 2:
            rollout.observations[:, :] = math.nan
        return rollout, tallies

    monkeypatch.setattr(Trainer, "drive", spoilt)
    config = tiny.changed(checkpoint_minutes=0.0, filter=0.0)
    with pytest.raises(NotFiniteError, match="update 3 is not finite: state and batch are in"):
        train(config)
    failed = Path(tiny.out_dir) / "failed-00000002-0"
    batch = tensors_from((failed / "batch.safetensors").read_bytes())
    assert torch.isnan(batch["rewards" if where == "rewards" else "observations"]).any()
    weights = tensors_from((failed / "policy.safetensors").read_bytes())
    assert all(torch.isfinite(one).all() for one in weights.values())
    assert sorted(path.name for path in (Path(tiny.out_dir) / "checkpoints").iterdir()) == [
        "00000001",
        "00000002",
    ]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_signal_ends_the_run_with_its_state_saved(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=10**9)
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    figures = train(config)
    assert 0 < figures["steps"] < 10**9
    assert load_torch_policy(tmp_path).description["steps"] == figures["steps"]


def test_a_folder_in_use_is_not_written_over(tiny: TrainConfig) -> None:
    train(tiny, updates=1)
    with pytest.raises(ValueError, match="holds a run already: resume it"):
        train(tiny)


def test_tensorboard_gets_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tiny_config(tmp_path, tensorboard=True), updates=1)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_a_run_starts_with_the_weights_of_another(tiny: TrainConfig, tmp_path: Path) -> None:
    train(tiny)
    before = tensors_from((tmp_path / "run" / "policy.safetensors").read_bytes())
    second = tiny.changed(
        out_dir=str(tmp_path / "second"),
        start_from=str(tmp_path / "run"),
        learning_rate=0.0,
        env={**tiny.env, "map": "hillcrest", "preset": "eval"},
    )
    train(second, updates=1)
    after = tensors_from((tmp_path / "second" / "policy.safetensors").read_bytes())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    train(second, resume=True, updates=1)


def test_a_run_with_a_wider_trunk_starts_as_the_policy_was(
    tiny: TrainConfig, tmp_path: Path
) -> None:
    train(tiny)
    wider = tiny.changed(
        out_dir=str(tmp_path / "wider"), start_from=tiny.out_dir, trunk_widths=(48,),
        learning_rate=0.0,
    )  # fmt: skip
    train(wider, updates=1)
    old, new = load_policy(tiny.out_dir), load_policy(wider.out_dir)
    assert new.description["sizes"]["trunk_widths"] == [48]
    rows = np.random.default_rng(0).normal(size=(50, old.features)).astype(np.float32)
    np.testing.assert_array_equal(old.act(rows), new.act(rows))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk_widths": (8,)}, r"trunk_widths is \[16\] in the policy and \[8\] here"),
        ({"trunk_widths": (16, 16)}, r"trunk_widths is \[16\] in the policy and \[16, 16\] here"),
        ({"shared_sets": True}, "shared_sets is False in the policy and True here"),
        ({"env": {"layout": {"goals": 2}}}, "goals 1 in the file, 2 here"),
        ({"env": {"jerk_lat": [-1.0, 1.0]}}, "actions is 12 in the policy and 8 here"),
        ({"start_from": "nowhere"}, "policy 'nowhere' does not exist"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tiny: TrainConfig, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    train(tiny, updates=1)
    changes = {"start_from": tiny.out_dir, **changes, "out_dir": str(tmp_path / "second")}
    changes["env"] = {**tiny.env, **changes.get("env", {})}
    with pytest.raises(ValueError, match=message):
        train(tiny.changed(**changes))
