"""Trains a driver from pictures of the road from above with PPO of Stable-Baselines3.

One policy drives every car of two towns (self-play) and sees 48 x 48 pixels in grey, a metre each,
the last two frames of them: road, bodies, lights, its route. Beside them stand five numbers that a
driver needs no eyes for (`TOLD`). Afterwards it drives a town that it has never seen, by actions
drawn as in training and by the likeliest ones, beside constant and random driving.
`runs/ppo_pixels/` receives the model, `progress.csv`, `table.md` and `seen.png`, what some cars see
there. Ctrl-C ends the training early.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch leaves the cores to the simulator

import numpy as np
import torch
from gymnasium.spaces import Dict
from PIL import Image
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize
from torch import nn

from selfdrive_env.adapters.sb3 import BatchedBootstrap, SB3VecEnv
from selfdrive_env.config.observation import plane_of
from selfdrive_env.kernels.route import MAX_PROGRESS
from selfdrive_env.state.world import EVENT_COLLISION, EVENT_GOAL, EVENT_OFFROAD

ENV = "selfdrive_env/SelfPlay-v0"
TRAINING_TOWNS, TEST_TOWN = ["riverside", "hillcrest"], "harbour"
WORLDS, AGENTS = 8, 32
GAMMA = 0.98
SETTINGS = dict(
    observation={
        "road": {"kind": "bev", "size": 48, "span": 48.0, "offset": [16.0, 0.0], "colour": "gray",
                 "history": 2, "channels_first": True},
        "row": "state",
    },
    layout="lean",
    bodies="typed",
    agents_per_world=AGENTS,
    preset="eval",
    # As in ppo_sb3.py comfort must not teach a beginner to stand, and progress shows the way: half
    # as much of it, since straight on is fast and safe, and pays more than turns do.
    reward={"progress": 0.05, "goal": 10.0, "comfort": 0.01, "overspeed": 0.1},
)  # fmt: skip
EVENTS = {"goals": EVENT_GOAL, "collisions": EVENT_COLLISION, "offroad": EVENT_OFFROAD}
NUM_ACTIONS = 12

MISSED_TURN = 3.0
"""What it costs, as much as a crash."""

TOLD = ("speed", "steering", "acceleration", "lateral_acceleration", "speed_limit")
"""Columns of the group `ego`, the first of a row."""

Rates = dict[str, float]


class Convolutions(BaseFeaturesExtractor):
    """Three small layers, over pictures stored pixel by pixel: twice as fast on a CPU."""

    def __init__(self, observation_space: Dict, features_dim: int = 128) -> None:
        super().__init__(observation_space, features_dim)
        shape = observation_space["road"].shape
        self.told = [plane_of("ego", name) for name in TOLD]
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], 24, 4, 4), nn.ReLU(), nn.Conv2d(24, 32, 3, 2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            width = self.layers(torch.zeros(1, *shape)).shape[1]
        self.last = nn.Sequential(nn.Linear(width + len(TOLD), features_dim), nn.ReLU())

    def forward(self, seen: dict[str, torch.Tensor]) -> torch.Tensor:
        # Put in order while they are bytes.
        pictures = seen["road"].contiguous(memory_format=torch.channels_last)
        looks = self.layers(pictures.float().mul_(1.0 / 255.0))
        return self.last(torch.cat([looks, seen["row"][:, self.told]], 1))


class Policy(MultiInputActorCriticPolicy):
    """Hands bytes on to `Convolutions` where it learns: of floats they would be a copy more."""

    def extract_features(self, obs: Any, features_extractor: Any = None) -> torch.Tensor:
        return (features_extractor or self.features_extractor)(obs)


class Turns(VecEnvWrapper):
    """Charges for a missed turn of the route: of the way round `progress` counts 15 m alone."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        seen, rewards, dones, infos = self.venv.step_wait()
        progress = self.venv.env.unwrapped.engine.motion.progress
        missed = progress.reshape(-1) <= -MAX_PROGRESS
        return seen, rewards - MISSED_TURN * missed, dones, infos


class InTime(BaseCallback):
    """Ends training in time."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def _on_step(self) -> bool:
        return time.monotonic() < self.end


def train(options: argparse.Namespace) -> PPO:
    settings = dict(map=TRAINING_TOWNS, horizon=90.0, on_goal="new_route", further_goals=1)
    env = VecMonitor(Turns(SB3VecEnv(ENV, num_envs=WORLDS * AGENTS, **settings, **SETTINGS)))
    env = VecNormalize(env, norm_obs=False, gamma=GAMMA)
    env.reset()
    env.step(np.zeros(env.num_envs, np.int64))  # compiles, so that training time is for training
    limit = 60.0 * options.minutes
    end = time.monotonic() + limit
    model = PPO(
        Policy,
        env,
        n_steps=64,
        batch_size=512,
        n_epochs=2,
        gamma=GAMMA,
        ent_coef=0.01,
        learning_rate=lambda left: 5e-4 * max(min(left, (end - time.monotonic()) / limit), 0.05),
        policy_kwargs=dict(
            net_arch=[128],
            activation_fn=nn.ReLU,
            features_extractor_class=Convolutions,
            normalize_images=False,  # they do so themselves
        ),
        seed=options.seed,
        device="cpu",
    )
    model.policy.to(memory_format=torch.channels_last)
    model.set_logger(configure(str(options.out), ["csv"]))
    try:
        model.learn(options.steps, [BatchedBootstrap(), InTime(end)])
    except KeyboardInterrupt:
        print("training interrupted: going on with what was learnt")
    model.save(options.out / "model")
    env.close()
    return model


def policy_of(driver: str, model: PPO) -> Callable[[Any], Any]:
    generator = np.random.default_rng(0)
    if driver in ("trained", "likeliest"):
        return lambda seen: model.predict(seen, deterministic=driver == "likeliest")[0]
    if driver == "random":
        return lambda seen: generator.integers(0, NUM_ACTIONS, len(seen["row"]))
    return lambda seen: np.full(len(seen["row"]), 10)


def evaluate(driver: str, model: PPO, seconds: float, folder: Path) -> Rates:
    """Drives the test town; returns goals an hour and incidents a kilometre."""
    env = SB3VecEnv(ENV, num_envs=WORLDS * AGENTS, map=TEST_TOWN, **SETTINGS)
    engine, dt = env.env.unwrapped.engine, env.env.unwrapped.settings.dt
    env.seed(1)
    seen, act = env.reset(), policy_of(driver, model)
    sums = dict.fromkeys(("km", *EVENTS), 0.0)
    steps = round(seconds / dt)
    for _ in range(steps):
        seen = env.step(act(seen))[0]
        sums["km"] += float(np.abs(engine.motion.travel).sum()) / 1000.0
        for name, event in EVENTS.items():
            sums[name] += np.count_nonzero(engine.output.event & event)
    if driver == "trained":
        newest = np.concatenate(list(seen["road"][:8, -1]), axis=1)
        Image.fromarray(newest).resize((newest.shape[1] * 3, newest.shape[0] * 3), 0).save(
            folder / "seen.png"
        )
    env.close()
    hours, km = env.num_envs * steps * dt / 3600.0, max(sums["km"], 1e-9)
    return {
        "goals/h": sums["goals"] / hours,
        "m/s": sums["km"] / hours / 3.6,
        "incidents/km": (sums["collisions"] + sums["offroad"]) / km,
        "km": sums["km"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000_000, help="agent steps")
    parser.add_argument("--minutes", type=float, default=60.0, help="longest training")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each test drive")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_pixels"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    start = time.monotonic()
    model = train(options)
    spent = time.monotonic() - start
    print(f"trained on {model.num_timesteps:,} steps in {spent:.0f} s")
    lines = []
    for driver in ("trained", "likeliest", "constant:10", "random"):
        rates = evaluate(driver, model, options.seconds, options.out)
        if not lines:
            lines += [["driver", *rates], ["---"] * (1 + len(rates))]
        lines.append([driver, *(f"{value:.2f}" for value in rates.values())])
    table = "\n".join(" | ".join(f"{cell:>12}" for cell in line) for line in lines)
    (options.out / "table.md").write_text(table + "\n")
    print(f"\n{TEST_TOWN}, {WORLDS} x {AGENTS} agents, {options.seconds:.0f} s\n\n{table}")


if __name__ == "__main__":
    main()
