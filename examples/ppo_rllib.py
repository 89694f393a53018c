"""PPO with RLlib's new API stack: every row of the environment is one of its single agents.

Needs `pip install "ray[rllib]>=2.50" torch`, best in an environment of its own. RLlib expects
`NextStep`: with another mode it takes the first observation of an episode for the last of the one
before, and says nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import ray
from ray.rllib.algorithms.ppo import PPOConfig

SETTINGS = dict(
    autoreset_mode="NextStep",
    map=["riverside", "hillcrest"],
    layout="lean",
    bodies="typed",
    preset="eval",
    horizon=90.0,
    on_goal="new_route",
    reward={"progress": 0.1, "goal": 10.0},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500_000, help="agent steps")
    parser.add_argument("--num-envs", type=int, default=64, help="rows a runner, a multiple of 32")
    parser.add_argument("--num-steps", type=int, default=64, help="steps of a rollout")
    parser.add_argument("--runners", type=int, default=0, help="processes that collect, 0: here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_rllib"))
    args = parser.parse_args()

    batch = args.num_envs * args.num_steps * max(args.runners, 1)
    config = (
        PPOConfig()
        .environment("selfdrive_env:selfdrive_env/SelfPlay-v0", env_config=SETTINGS)
        .env_runners(
            num_env_runners=args.runners,
            num_envs_per_env_runner=args.num_envs,
            gym_env_vectorize_mode="vector_entry_point",
            rollout_fragment_length=args.num_steps,
        )
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=batch,
            minibatch_size=batch // 8,
            num_epochs=4,
            lr=5e-4,
            gamma=0.98,
            entropy_coeff=0.005,
        )
        .debugging(seed=args.seed)
    )
    ray.init(include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    algorithm = config.build_algo()
    steps, start = 0, time.monotonic()
    while steps < args.steps:
        results = algorithm.train()["env_runners"]
        steps = int(results["num_env_steps_sampled_lifetime"])
        returns = results.get("episode_return_mean", float("nan"))
        speed = steps / (time.monotonic() - start)
        print(f"{steps:>10,}  return {returns:.2f}  SPS {speed:,.0f}", flush=True)
    algorithm.save_to_path(args.out.absolute())
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
