"""Trains drivers with PPO of Stable-Baselines3 and tries them on a town they have never seen.

One policy drives every car of two towns (self-play). Afterwards the third town compares it with
random, braking and IDM drivers. `runs/ppo_sb3/` receives the model, `progress.csv` and TensorBoard
logs, `table.md`, `curve.png` and a film. Ctrl-C ends the training early and keeps what was learnt.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch leaves the cores to the simulator

import matplotlib
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

from selfdrive_env.adapters.sb3 import BatchedBootstrap, DeepSets, SB3VecEnv
from selfdrive_env.rendering import write_video
from selfdrive_env.state.world import EVENT_COLLISION, EVENT_GOAL, EVENT_OFFROAD, EVENT_RED_LIGHT

ENV = "selfdrive_env/SelfPlay-v0"
TRAINING_TOWNS, TEST_TOWN = ["riverside", "hillcrest"], "harbour"
WORLDS, AGENTS = 8, 32
SETTINGS = dict(
    layout="lean",
    bodies="typed",
    agents_per_world=AGENTS,
    preset="eval",
    # Metres of progress show the way; what they pay for speeding, overspeed takes back. Comfort at
    # its usual weight costs a beginner more than crashing does, so he would stand still.
    reward={"progress": 0.1, "goal": 10.0, "overspeed": 0.2, "stop_line": 2.0, "comfort": 0.01},
)
DRIVERS = ("trained", "idm", "random", "brake")
BRAKE, NUM_ACTIONS = 1, 12
EVENTS = {
    "goals": EVENT_GOAL,
    "collisions": EVENT_COLLISION,
    "offroad": EVENT_OFFROAD,
    "red_lights": EVENT_RED_LIGHT,
}
COLUMNS = ("goals/h", "±", "m/s", "collisions/km", "off-road/km", "red lights/km", "km")

Rates = dict[str, float]


class Drives(BaseCallback):
    """Logs how the finished episodes of each rollout were driven; ends training in time."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end, self.curve = end, list[tuple[int, Rates]]()

    def _on_training_start(self) -> None:
        self.sums = dict.fromkeys(("length", "km", *EVENTS), 0.0)

    def _on_step(self) -> bool:
        for row in np.flatnonzero(self.locals["dones"]):
            for name in self.sums:
                self.sums[name] += self.locals["infos"][row][name]
        return time.monotonic() < self.end

    def _on_rollout_end(self) -> None:
        dt = self.training_env.get_attr("settings", 0)[0].dt
        rates = per_hour_and_km(self.sums, self.sums["length"] * dt / 3600.0)
        for name, rate in rates.items():
            self.logger.record(f"drive/{name}", rate)
        self.curve.append((self.num_timesteps, rates))
        self.sums = dict.fromkeys(self.sums, 0.0)


def per_hour_and_km(sums: Rates, hours: float) -> Rates:
    hours, km = max(hours, 1e-9), max(sums["km"], 1e-9)
    return {
        "goals/h": sums["goals"] / hours,
        "m/s": sums["km"] / hours / 3.6,
        "collisions/km": sums["collisions"] / km,
        "off-road/km": sums["offroad"] / km,
        "red lights/km": sums["red_lights"] / km,
    }


def train(options: argparse.Namespace) -> tuple[PPO, list[tuple[int, Rates]]]:
    # Endless routes: reaching the last goal pays as well as driving on. Short ones: with many goals
    # to drive through, stopping at the last is too rare to be learnt.
    routes = dict(on_goal="new_route", further_goals=1)
    settings = dict(map=TRAINING_TOWNS, horizon=90.0, **routes, **SETTINGS)
    env = VecMonitor(SB3VecEnv(ENV, num_envs=WORLDS * AGENTS, **settings))
    env.reset()
    env.step(np.zeros(env.num_envs, np.int64))  # compiles, so that training time is for training
    limit = 60.0 * options.minutes
    end = time.monotonic() + limit
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=64,
        batch_size=2048,
        n_epochs=4,
        gamma=0.98,
        ent_coef=0.005,
        learning_rate=lambda left: 5e-4 * max(min(left, (end - time.monotonic()) / limit), 0.05),
        policy_kwargs=dict(
            net_arch=[128, 128], activation_fn=nn.ReLU, features_extractor_class=DeepSets
        ),
        seed=options.seed,
        device="cpu",
    )
    model.set_logger(configure(str(options.out), ["csv", "tensorboard"]))
    drives = Drives(end)
    try:
        model.learn(options.steps, [BatchedBootstrap(), drives], progress_bar=True)
    except KeyboardInterrupt:
        print("training interrupted: going on with what was learnt")
    model.save(options.out / "model")
    env.close()
    return model, drives.curve


def policy_of(driver: str, model: PPO, seed: int) -> Callable[[Any], Any]:
    generator = np.random.default_rng(seed)
    if driver == "trained":
        return lambda rows: model.predict(rows, deterministic=True)[0]
    if driver == "random":
        return lambda rows: generator.integers(0, NUM_ACTIONS, len(rows))
    return lambda rows: np.full(len(rows), BRAKE)  # the scripted driver does not listen


def evaluate(driver: str, model: PPO, seeds: range, seconds: float) -> Rates:
    """Drives the test town; counts events of unfinished episodes as well."""
    script = "idm" if driver == "idm" else "external"
    results, km = [], 0.0
    for seed in seeds:
        policy = policy_of(driver, model, seed)
        env = SB3VecEnv(ENV, num_envs=WORLDS * AGENTS, map=TEST_TOWN, driver=script, **SETTINGS)
        engine, dt = env.env.unwrapped.engine, env.env.unwrapped.settings.dt
        env.seed(seed)
        rows = env.reset()
        sums = dict.fromkeys(("km", *EVENTS), 0.0)
        steps = round(seconds / dt)
        for _ in range(steps):
            rows = env.step(policy(rows))[0]
            sums["km"] += float(np.abs(engine.motion.travel).sum()) / 1000.0
            for name, event in EVENTS.items():
                sums[name] += np.count_nonzero(engine.output.event & event)
        results.append(per_hour_and_km(sums, env.num_envs * steps * dt / 3600.0))
        km += sums["km"]
        env.close()
    mean = {name: float(np.mean([rates[name] for rates in results])) for name in results[0]}
    return {**mean, "±": float(np.std([rates["goals/h"] for rates in results])), "km": km}


def table(rates: dict[str, Rates]) -> str:
    lines = [["driver", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    lines += [[driver, *(f"{row[name]:.2f}" for name in COLUMNS)] for driver, row in rates.items()]
    return "\n".join(" | ".join(f"{cell:>13}" for cell in line) for line in lines)


def draw_curve(curve: list[tuple[int, Rates]], rates: dict[str, Rates], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    steps = [step / 1e6 for step, _ in curve]
    panels = (["goals/h"], ["m/s"], ["collisions/km", "off-road/km", "red lights/km"])
    for axis, names in zip(axes, panels, strict=True):
        for name in names:
            axis.plot(steps, [row[name] for _, row in curve], label=name)
        axis.set(xlabel="agent steps [million]", ylabel=", ".join(names))
        axis.grid(alpha=0.3)
    axes[0].axhline(rates["idm"]["goals/h"], color="k", ls="--", label=f"IDM on {TEST_TOWN}")
    axes[0].axhline(rates["trained"]["goals/h"], color="r", ls=":", label=f"trained on {TEST_TOWN}")
    axes[0].legend()
    axes[2].set(yscale="log", ylabel="per km")
    axes[2].legend()
    figure.savefig(path, dpi=110)


def film(model: PPO, seconds: float, size: int, folder: Path) -> Path:
    env = SB3VecEnv(
        ENV, num_envs=AGENTS, map=TEST_TOWN, render_mode="rgb_array", render_size=size, **SETTINGS
    )
    env.seed(0)
    rows, frames = env.reset(), []
    for _ in range(round(seconds / 0.3)):
        frames.append(env.env_method("render", indices=0)[0])
        rows = env.step(model.predict(rows, deterministic=True)[0])[0]
    path = folder / "drive.mp4"
    try:
        write_video(frames, path, fps=10)
    except ImportError:  # PyAV is missing
        path = path.with_suffix(".gif")
        write_video(frames, path, fps=10)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, help="agent steps (default 6 million)")
    parser.add_argument("--minutes", type=float, default=13.5, help="longest training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_sb3"))
    parser.add_argument("--quick", action="store_true", help="two minutes in all, to try it out")
    options = parser.parse_args()
    options.steps = options.steps or (250_000 if options.quick else 6_000_000)
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", message="rich is experimental")

    start = time.monotonic()
    model, curve = train(options)
    print(f"trained on {model.num_timesteps:,} steps in {time.monotonic() - start:.0f} s")
    seeds, seconds = (range(1), 60.0) if options.quick else (range(3), 300.0)
    rates = {driver: evaluate(driver, model, seeds, seconds) for driver in DRIVERS}
    (options.out / "table.md").write_text(table(rates) + "\n")
    print(
        f"\n{TEST_TOWN}, {len(seeds)} seeds of {WORLDS} x {AGENTS} agents, {seconds:.0f} s each\n"
    )
    print(table(rates))
    draw_curve(curve, rates, options.out / "curve.png")
    path = film(model, 9.0 if options.quick else 60.0, 256 if options.quick else 512, options.out)
    print(f"\n{path} and curve.png in {options.out}; {time.monotonic() - start:.0f} s in all")


if __name__ == "__main__":
    main()
