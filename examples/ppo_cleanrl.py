"""PPO in one file, in CleanRL's manner, for Gymnasium 1: SameStep autoreset, dense `final_obs`.

One policy drives every car of two towns. Against the usual script: `dones` belong to the step that
ended, and the value of a truncated row's last observation is added to its reward, in one batch.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch leaves the cores to the simulator

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import selfdrive_env  # noqa: F401  (registers the environments)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3_000_000, help="agent steps")
    parser.add_argument("--num-envs", type=int, default=256, help="rows, a multiple of 32")
    parser.add_argument("--num-steps", type=int, default=64, help="steps of a rollout")
    parser.add_argument("--minibatches", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--gamma", type=float, default=0.98)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--clip", type=float, default=0.2)
    parser.add_argument("--entropy", type=float, default=0.005)
    parser.add_argument("--value", type=float, default=0.5)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_cleanrl"))
    parser.add_argument("--tensorboard", action="store_true")
    return parser.parse_args()


def layer(inputs: int, outputs: int, scale: float = 2**0.5) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, scale)
    nn.init.zeros_(linear.bias)
    return linear


class Agent(nn.Module):
    def __init__(self, features: int, actions: int, width: int = 128) -> None:
        super().__init__()
        self.actor = nn.Sequential(
            layer(features, width), nn.ReLU(), layer(width, width), nn.ReLU(),
            layer(width, actions, 0.01),
        )  # fmt: skip
        self.critic = nn.Sequential(
            layer(features, width), nn.ReLU(), layer(width, width), nn.ReLU(), layer(width, 1, 1.0)
        )

    def value(self, obs: torch.Tensor) -> torch.Tensor:
        return self.critic(obs).squeeze(-1)

    def policy(self, obs: torch.Tensor) -> Categorical:
        return Categorical(logits=self.actor(obs), validate_args=False)


def main() -> None:
    args = parse_args()
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    writer = None
    if args.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(args.out))

    envs = gym.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=args.num_envs,
        map=["riverside", "hillcrest"],
        layout="lean",
        bodies="typed",
        preset="eval",
        horizon=90.0,
        on_goal="new_route",
        further_goals=1,
        reward={"progress": 0.1, "goal": 10.0, "overspeed": 0.2, "stop_line": 2.0, "comfort": 0.01},
        autoreset_mode="SameStep",
    )
    shape = (args.num_steps, args.num_envs)
    features = envs.single_observation_space.shape[0]
    agent = Agent(features, int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)

    obs = torch.zeros((*shape, features))
    actions = torch.zeros(shape, dtype=torch.int64)
    logprobs, rewards, values, dones = (torch.zeros(shape) for _ in range(4))
    batch_size = args.num_steps * args.num_envs
    num_iterations = max(1, args.steps // batch_size)
    returns = np.zeros(args.num_envs)
    start = time.monotonic()
    next_obs = torch.as_tensor(envs.reset(seed=args.seed)[0])

    for iteration in range(1, num_iterations + 1):
        left = 1.0 - (iteration - 1) / num_iterations
        optimizer.param_groups[0]["lr"] = left * args.learning_rate
        ended, driven = [], dict(length=0.0, goals=0.0, km=0.0, collisions=0.0, offroad=0.0)

        for step in range(args.num_steps):
            obs[step] = next_obs
            with torch.no_grad():
                policy = agent.policy(next_obs)
                actions[step] = policy.sample()
                logprobs[step] = policy.log_prob(actions[step])
                values[step] = agent.value(next_obs)
            observation, reward, terminated, truncated, infos = envs.step(actions[step].numpy())
            done = terminated | truncated
            returns += reward
            if done.any():
                ended += returns[done].tolist()
                returns[done] = 0.0
                for name in driven:
                    driven[name] += float(infos["final_info"][name][done].sum())
            cut = truncated & ~terminated
            if cut.any():
                with torch.no_grad():
                    last = agent.value(torch.as_tensor(infos["final_obs"][cut]))
                reward[cut] += args.gamma * last.numpy()
            rewards[step] = torch.as_tensor(reward)
            dones[step] = torch.as_tensor(done)
            next_obs = torch.as_tensor(observation)

        with torch.no_grad():
            next_value = agent.value(next_obs)
        advantages = torch.zeros(shape)
        advantage = torch.zeros(args.num_envs)
        for step in reversed(range(args.num_steps)):
            goes_on = 1.0 - dones[step]
            delta = rewards[step] + args.gamma * next_value * goes_on - values[step]
            advantage = delta + args.gamma * args.gae_lambda * goes_on * advantage
            advantages[step] = advantage
            next_value = values[step]
        targets = advantages + values

        b_obs, b_actions, b_logprobs, b_advantages, b_targets = (
            x.flatten(0, 1) for x in (obs, actions, logprobs, advantages, targets)
        )
        for _ in range(args.epochs):
            for index in torch.randperm(batch_size).chunk(args.minibatches):
                policy = agent.policy(b_obs[index])
                ratio = (policy.log_prob(b_actions[index]) - b_logprobs[index]).exp()
                gain = b_advantages[index]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                clipped = ratio.clamp(1.0 - args.clip, 1.0 + args.clip)
                policy_loss = -torch.min(gain * ratio, gain * clipped).mean()
                value_loss = 0.5 * (agent.value(b_obs[index]) - b_targets[index]).square().mean()
                entropy = policy.entropy().mean()
                loss = policy_loss + args.value * value_loss - args.entropy * entropy
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()

        agent_steps = iteration * batch_size
        hours = max(driven["length"], 1.0) * envs.unwrapped.settings.dt / 3600.0
        figures = {
            "return": float(np.mean(ended)) if ended else float("nan"),
            "goals_per_hour": driven["goals"] / hours,
            "crashes_per_km": (driven["collisions"] + driven["offroad"]) / max(driven["km"], 1e-9),
            "entropy": entropy.item(),
            "SPS": agent_steps / (time.monotonic() - start),
        }
        if iteration % 5 == 0 or iteration == num_iterations:
            text = "  ".join(f"{name} {value:.2f}" for name, value in figures.items())
            print(f"{agent_steps:>10,}  {text}", flush=True)
        if writer:
            for name, value in figures.items():
                writer.add_scalar(f"train/{name}", value, agent_steps)

    torch.save(agent.state_dict(), args.out / "agent.pt")
    envs.close()


if __name__ == "__main__":
    main()
