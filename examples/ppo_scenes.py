"""Trains the egos of recorded scenes with PPO of Stable-Baselines3; drives scenes it has not seen.

Scenes are recorded first, of self-play traffic on generated towns (`selfdrive scenes record` does
the same): eight towns to learn on, four others to be tried on. The others of a scene repeat their
record, or with `--traffic selfplay` follow the policy that comes with the package. What reads the
observation starts with the weights of that policy; what to do about it is learnt from nothing.
`runs/ppo_scenes/` receives the scenes, the model and a table: expert, constant speed, IDM, the
package's policy and what was learnt, by metrics of Waymax and nuPlan.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch leaves the cores to the simulator

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from torch import nn

from selfdrive_env.__main__ import main as selfdrive
from selfdrive_env.adapters.sb3 import BatchedBootstrap, DeepSets, SB3VecEnv
from selfdrive_env.evaluation.results.recorded import HEADS, evaluate_scenes

ENV = "selfdrive_env/Scenes-v0"
TRAINING_TOWNS, TEST_TOWNS = "town:0-7", "town:10000-10003"
RECORDED = ("--agents", "60", "--seconds", "20", "--dt", "0.2", "--ego", "any")
WORLDS = 128
GAMMA = 0.98
DRIVERS = ("expert", "constant", "idm", "selfplay")
SETTINGS = dict(
    layout="lean",
    preset="eval",
    on_goal="new_route",  # a scene goes on to its end, as when it is measured
    reward={
        "progress": 0.1,
        "goal": 1.0,
        "collision": 10.0,
        "offroad": 10.0,
        "comfort": 0.002,
        "overspeed": 0.1,
    },
)


class InTime(BaseCallback):
    """Ends training in time."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def _on_step(self) -> bool:
        return time.monotonic() < self.end


def record(towns: str, number: int, folder: Path, seed: int) -> None:
    """Records scenes of self-play traffic, unless they are there."""
    if len(list(folder.glob("*.scene"))) < number:
        command = ["scenes", "record", "--map", towns, "--traffic", "selfplay", *RECORDED]
        selfdrive([*command, "-n", str(number), "--seed", str(seed), "-o", str(folder)])


def train(scenes: Path, options: argparse.Namespace) -> PPO:
    traffic: dict[str, Any] = {"scene": str(scenes), "traffic": options.traffic}
    env = VecMonitor(SB3VecEnv(ENV, num_envs=WORLDS, **traffic, **SETTINGS))
    env = VecNormalize(env, norm_obs=False, gamma=GAMMA)
    env.reset()
    limit = 60.0 * options.minutes
    end = time.monotonic() + limit
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=128,
        batch_size=2048,
        n_epochs=3,
        gamma=GAMMA,
        ent_coef=0.005,
        learning_rate=lambda left: 1e-3 * max(min(left, (end - time.monotonic()) / limit), 0.05),
        policy_kwargs=dict(
            net_arch=[128, 128], activation_fn=nn.ReLU, features_extractor_class=DeepSets
        ),
        seed=options.seed,
        device="cpu",
    )
    if options.start:
        model.policy.features_extractor.start_from(options.start)
    model.learn(options.steps, [BatchedBootstrap(), InTime(end)], progress_bar=True)
    env.close()
    return model


def table(figures: dict[str, dict[str, Any]]) -> str:
    lines = [["driver", *HEADS.values()], ["---"] * (len(HEADS) + 1)]
    lines += [[name, *(f"{row[key]:.3g}" for key in HEADS)] for name, row in figures.items()]
    return "\n".join(" | ".join(f"{cell:>10}" for cell in line) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="longest training")
    parser.add_argument("--steps", type=int, default=20_000_000)
    parser.add_argument("--scenes", type=int, default=240, help="to learn on; half as many to try")
    parser.add_argument("--traffic", choices=("replay", "selfplay", "idm"), default="replay")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", default="selfplay", help="whose encoder to start from; '': none")
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_scenes"))
    options = parser.parse_args()
    learnt_on, tried_on = options.out / "scenes", options.out / "unseen"
    record(TRAINING_TOWNS, options.scenes, learnt_on, seed=1)
    record(TEST_TOWNS, max(options.scenes // 2, 1), tried_on, seed=1000)
    start = time.monotonic()
    model = train(learnt_on, options)
    print(f"learnt from {model.num_timesteps:,} steps in {time.monotonic() - start:.0f} s")
    file = options.out / f"{options.traffic}.zip"
    model.save(file)
    figures = evaluate_scenes([*DRIVERS, str(file)], str(tried_on), traffic=options.traffic)
    figures["ppo"] = figures.pop(str(file))
    text = table(figures)
    (options.out / f"table-{options.traffic}.md").write_text(text + "\n")
    print(f"\n{figures['ppo']['scenes']} scenes of {TEST_TOWNS}, the others {options.traffic}\n")
    print(text)


if __name__ == "__main__":
    main()
