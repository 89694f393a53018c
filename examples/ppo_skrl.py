"""PPO with skrl, through its Gymnasium wrapper.

Needs `pip install "skrl[torch]>=2.1"`. skrl copies between NumPy and torch and knows no
`final_obs`: at a truncation it takes the value of the next episode's first observation, which the
long horizon makes rare.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import gymnasium as gym
import torch
from skrl.agents.torch.ppo import PPO
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed

import selfdrive_env  # noqa: F401  (registers the environments)


def network(inputs: int, outputs: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, outputs),
    )  # fmt: skip


class Policy(CategoricalMixin, Model):
    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        CategoricalMixin.__init__(self)
        self.net = network(self.num_observations, self.num_actions)

    def compute(self, inputs: dict[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.net(inputs["observations"]), {}


class Value(DeterministicMixin, Model):
    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.net = network(self.num_observations, 1)

    def compute(self, inputs: dict[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.net(inputs["observations"]), {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="agent steps")
    parser.add_argument("--num-envs", type=int, default=256, help="rows, a multiple of 32")
    parser.add_argument("--num-steps", type=int, default=64, help="steps of a rollout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_skrl"))
    args = parser.parse_args()
    set_seed(args.seed)

    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=args.num_envs,
        map=["riverside", "hillcrest"],
        layout="lean",
        bodies="typed",
        preset="eval",
        on_goal="new_route",
        reward={"progress": 0.1, "goal": 10.0},
        autoreset_mode="SameStep",
    )
    env = wrap_env(envs, wrapper="gymnasium")
    spaces = dict(
        observation_space=env.observation_space, action_space=env.action_space, device=env.device
    )
    agent = PPO(
        models={"policy": Policy(**spaces), "value": Value(**spaces)},
        memory=RandomMemory(memory_size=args.num_steps, num_envs=env.num_envs, device=env.device),
        cfg=dict(
            rollouts=args.num_steps,
            learning_epochs=4,
            mini_batches=8,
            discount_factor=0.98,
            learning_rate=5e-4,
            entropy_loss_scale=0.005,
            value_loss_scale=0.5,
            time_limit_bootstrap=True,
            experiment=dict(
                directory=str(args.out), write_interval=args.num_steps, checkpoint_interval=0
            ),
        ),
        **spaces,
    )
    rollouts = max(1, args.steps // (args.num_envs * args.num_steps))
    timesteps = rollouts * args.num_steps
    start = time.monotonic()
    SequentialTrainer(
        env=env,
        agents=agent,
        cfg=dict(timesteps=timesteps, headless=True, close_environment_at_exit=False),
    ).train()
    speed = timesteps * args.num_envs / (time.monotonic() - start)

    reward, (rows, _) = 0.0, env.reset()
    with torch.no_grad():
        for _ in range(100):
            logits, _ = agent.policy.compute({"observations": rows}, "policy")
            rows, rewards, *_ = env.step(logits.argmax(1, keepdim=True))
            reward += rewards.mean().item() / 100
    args.out.mkdir(parents=True, exist_ok=True)
    agent.save(str(args.out / "agent.pt"))
    print(f"{timesteps * args.num_envs:,} steps  reward {reward:.4f}  SPS {speed:,.0f}")
    env.close()


if __name__ == "__main__":
    main()
