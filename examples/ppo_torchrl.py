"""PPO with TorchRL: worlds are the batch, their agents the second axis of the group "agents".

Needs `pip install "torchrl>=0.14"`. One policy drives every car of two towns. `done` belongs to
each agent, and so do advantages; the last observation of an episode is in "next", where the loss
looks for it.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch
from tensordict.nn import TensorDictModule
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.modules import MLP, ProbabilisticActor
from torchrl.objectives import ClipPPOLoss

from selfdrive_env.adapters.torchrl import DrivingEnvBase


def key(name: str) -> tuple[str, str]:
    return "agents", name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="agent steps")
    parser.add_argument("--num-worlds", type=int, default=8)
    parser.add_argument("--agents", type=int, default=32, help="agents of a world")
    parser.add_argument("--num-steps", type=int, default=64, help="steps of a rollout")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--minibatches", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    env = DrivingEnvBase(
        num_envs=args.num_worlds * args.agents,
        agents_per_world=args.agents,
        map=["riverside", "hillcrest"],
        layout="lean",
        bodies="typed",
        preset="eval",
        horizon=90.0,
        on_goal="new_route",
        reward={"progress": 0.1, "goal": 10.0},
        device=args.device,
        seed=args.seed,
    )
    features = env.observation_spec[key("observation")].shape[-1]
    choices = env.action_spec[key("action")].space.n
    shape = dict(num_cells=[128, 128], activation_class=torch.nn.ReLU, device=env.device)
    logits = TensorDictModule(
        MLP(features, choices, **shape), in_keys=[key("observation")], out_keys=[key("logits")]
    )
    actor = ProbabilisticActor(
        logits,
        in_keys=[key("logits")],
        out_keys=[key("action")],
        spec=env.action_spec,
        distribution_class=Categorical,
        return_log_prob=True,
        log_prob_key=key("log_prob"),
    )
    critic = TensorDictModule(
        MLP(features, 1, **shape), in_keys=[key("observation")], out_keys=[key("value")]
    )
    loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.005, critic_coeff=0.5)
    loss.set_keys(
        action=key("action"), sample_log_prob=key("log_prob"), reward=key("reward"),
        done=key("done"), terminated=key("terminated"), value=key("value"),
        advantage=key("advantage"), value_target=key("value_target"),
    )  # fmt: skip
    loss.make_value_estimator(gamma=0.98, lmbda=0.95)
    optimizer = torch.optim.Adam(loss.parameters(), lr=5e-4)

    frames = args.num_worlds * args.num_steps  # a frame is a step of a world
    rollouts = max(1, args.steps // (frames * args.agents))
    collector = Collector(
        env,
        actor,
        frames_per_batch=frames,
        total_frames=rollouts * frames,
        auto_register_policy_transforms=True,
    )
    start = time.monotonic()
    for number, data in enumerate(collector, 1):
        with torch.no_grad():
            loss.value_estimator(
                data,
                params=loss.critic_network_params,
                target_params=loss.target_critic_network_params,
            )
        gain = data[key("advantage")]
        data[key("advantage")] = (gain - gain.mean()) / (gain.std() + 1e-8)
        flat = data.reshape(-1)
        for _ in range(args.epochs):
            for index in torch.randperm(len(flat)).chunk(args.minibatches):
                parts = loss(flat[index])
                total = sum(parts[f"loss_{name}"] for name in ("objective", "critic", "entropy"))
                optimizer.zero_grad()
                total.backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimizer.step()
        steps = number * frames * args.agents
        reward = data["next", "agents", "reward"].mean().item()
        speed = steps / (time.monotonic() - start)
        print(
            f"{steps:>10,}  reward {reward:.4f}  entropy {parts['entropy'].item():.2f}  "
            f"SPS {speed:,.0f}",
            flush=True,
        )
    collector.shutdown()


if __name__ == "__main__":
    main()
