"""Trains drivers with PPO of Stable-Baselines3 and tries them on a town they have never seen.

One policy drives every car of two towns (self-play). Afterwards the third town compares it with
IDM, constant, random and braking drivers. `runs/ppo_sb3/` receives the model, `progress.csv` and
TensorBoard logs, `table.md`, `curve.png` and a film. Ctrl-C ends the training early and keeps what
was learnt.

Training begins with random weights. With `--quick` the encoder, which reads the lists of lane
points, stop lines and other cars in a row, has those of the policy that comes with the package;
what is done about it (the layers behind, actor and critic) is learnt from nothing. `--redraw` only
makes table, curve and film anew, from the files of a run.
"""

from __future__ import annotations

import argparse
import csv
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
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from torch import nn

from selfdrive_env.adapters.sb3 import Actor, BatchedBootstrap, DeepSets, SB3VecEnv, read_actor
from selfdrive_env.rendering import write_video
from selfdrive_env.state.world import EVENT_COLLISION, EVENT_GOAL, EVENT_OFFROAD, EVENT_RED_LIGHT

ENV = "selfdrive_env/SelfPlay-v0"
TRAINING_TOWNS, TEST_TOWN = ["riverside", "hillcrest"], "harbour"
WORLDS, AGENTS = 8, 32
GAMMA = 0.98
SCENE, FASTER = 10.0, 3.0  # the film changes cars after so many s; it is faster than life
SETTINGS = dict(
    layout="lean",
    bodies="typed",
    agents_per_world=AGENTS,
    preset="eval",
    # Metres of progress show the way; what they pay for speeding, overspeed takes back. Comfort at
    # its usual weight costs a beginner more than crashing does, so he would stand still. Weights
    # are part of a row: those in ranges differ between agents, down to what preset "eval" has.
    reward={
        **{"progress": 0.1, "goal": 10.0, "comfort": 0.01},
        **{"overspeed": [0.0, 0.2], "stop_line": [1.0, 2.0]},
    },
)
DRIVERS = ("trained", "idm", "constant:10", "random", "brake")
NUM_ACTIONS = 12
CONSTANT = {"constant:10": 10, "brake": 1}  # 10 speeds up, straight on
LINES = (("trained", "r", ":"), ("idm", "k", "--"), ("constant:10", "0.5", "-."))
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
        self.end = end

    def _on_training_start(self) -> None:
        self.sums = dict.fromkeys(("length", "km", *EVENTS), 0.0)

    def _on_step(self) -> bool:
        for row in np.flatnonzero(self.locals["dones"]):
            for name in self.sums:
                self.sums[name] += self.locals["infos"][row][name]
        return time.monotonic() < self.end

    def _on_rollout_end(self) -> None:
        dt = self.training_env.get_attr("settings", 0)[0].dt
        self.sums["hours"] = self.sums.pop("length") * dt / 3600.0
        for name, value in self.sums.items():
            self.logger.record(f"drive/{name}", value)
        for name, rate in per_hour_and_km(self.sums).items():
            self.logger.record(f"rate/{name}", rate)
        self._on_training_start()


def per_hour_and_km(sums: Rates) -> Rates:
    hours, km = max(sums["hours"], 1e-9), max(sums["km"], 1e-9)
    return {
        "goals/h": sums["goals"] / hours,
        "m/s": sums["km"] / hours / 3.6,
        "collisions/km": sums["collisions"] / km,
        "off-road/km": sums["offroad"] / km,
        "red lights/km": sums["red_lights"] / km,
    }


def train(options: argparse.Namespace) -> PPO:
    # Endless routes: reaching the last goal pays as well as driving on. Short ones: with many goals
    # to drive through, stopping at the last is too rare to be learnt.
    routes = dict(on_goal="new_route", further_goals=1)
    settings = dict(map=TRAINING_TOWNS, horizon=90.0, **routes, **SETTINGS)
    env = VecMonitor(SB3VecEnv(ENV, num_envs=WORLDS * AGENTS, **settings))
    env = VecNormalize(env, norm_obs=False, gamma=GAMMA)  # the critic learns small numbers sooner
    env.reset()
    env.step(np.zeros(env.num_envs, np.int64))  # compiles, so that training time is for training
    limit = 60.0 * options.minutes
    end = time.monotonic() + limit
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=64,
        batch_size=2048,
        n_epochs=3,
        gamma=GAMMA,
        ent_coef=0.01,
        learning_rate=lambda left: 1e-3 * max(min(left, (end - time.monotonic()) / limit), 0.05),
        policy_kwargs=dict(
            net_arch=[128, 128], activation_fn=nn.ReLU, features_extractor_class=DeepSets
        ),
        seed=options.seed,
        device="cpu",
    )
    if options.start:
        model.policy.features_extractor.start_from(options.start)
    model.set_logger(configure(str(options.out), ["csv", "tensorboard"]))
    try:
        model.learn(options.steps, [BatchedBootstrap(), Drives(end)], progress_bar=True)
    except KeyboardInterrupt:
        print("training interrupted: going on with what was learnt")
    model.save(options.out / "model")
    env.close()
    return model


def policy_of(driver: str, actor: Actor, seed: int) -> Callable[[Any], Any]:
    generator = np.random.default_rng(seed)
    if driver == "trained":
        return actor.act
    if driver == "random":
        return lambda rows: generator.integers(0, NUM_ACTIONS, len(rows))
    return lambda rows: np.full(len(rows), CONSTANT.get(driver, 0))  # IDM does not listen


def evaluate(driver: str, actor: Actor, seeds: range, seconds: float) -> Rates:
    """Drives the test town; counts events of unfinished episodes as well."""
    script = "idm" if driver == "idm" else "external"
    results, km = [], 0.0
    for seed in seeds:
        policy = policy_of(driver, actor, seed)
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
        hours = env.num_envs * steps * dt / 3600.0
        results.append(per_hour_and_km({**sums, "hours": hours}))
        km += sums["km"]
        env.close()
    mean = {name: float(np.mean([rates[name] for rates in results])) for name in results[0]}
    spread = float(np.std([rates["goals/h"] for rates in results]))
    return {**mean, **({"±": spread} if len(results) > 1 else {}), "km": km}


def table(rates: dict[str, Rates]) -> str:
    columns = [name for name in COLUMNS if name in rates["trained"]]
    lines = [["driver", *columns], ["---"] * (len(columns) + 1)]
    lines += [[driver, *(f"{row[name]:.2f}" for name in columns)] for driver, row in rates.items()]
    return "\n".join(" | ".join(f"{cell:>13}" for cell in line) for line in lines)


def read_curve(path: Path) -> tuple[list[float], list[Rates]]:
    """Returns million steps, and rates over the rollouts around each: single ones are noisy."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("hours", "km", *EVENTS)
    sums = [{name: float(row[f"drive/{name}"]) for name in names} for row in rows]
    half = len(sums) // 40 + 1
    around = [sums[max(at - half, 0) : at + half + 1] for at in range(len(sums))]
    rates = [
        per_hour_and_km({name: sum(one[name] for one in some) for name in some[0]})
        for some in around
    ]
    return [float(row["time/total_timesteps"]) / 1e6 for row in rows], rates


def draw_curve(rates: dict[str, Rates], folder: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps, curve = read_curve(folder / "progress.csv")
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    panels = (["goals/h"], ["m/s"], ["collisions/km", "off-road/km", "red lights/km"])
    for axis, names in zip(axes, panels, strict=True):
        for name in names:
            axis.plot(steps, [row[name] for row in curve], label=name)
        axis.set(xlabel="agent steps [million]", ylabel=names[0])
        axis.grid(alpha=0.3)
    for driver, colour, style in LINES:
        level, label = rates[driver]["goals/h"], f"{driver}, driven on {TEST_TOWN}"
        axes[0].axhline(level, color=colour, linestyle=style, label=label)
    for axis in axes:
        axis.set_ylim(bottom=0.0)
    axes[0].legend()
    axes[2].set(ylim=(0.0, 10.0), ylabel="per km")  # a beginner's 50 are out of sight
    axes[2].legend()
    figure.savefig(folder / "curve.png", dpi=110)


def film(actor: Actor, seconds: float, size: int, folder: Path) -> Path:
    env = SB3VecEnv(
        ENV,
        num_envs=AGENTS,
        map=TEST_TOWN,
        render_mode="rgb_array",
        render_size=size,
        render_span=90.0,
        **SETTINGS,
    )
    env.seed(0)
    rows, frames = env.reset(), []
    dt = env.env.unwrapped.settings.dt
    for step in range(round(seconds / dt)):
        frames.append(env.env_method("render", indices=int(step * dt / SCENE))[0])
        rows = env.step(actor.act(rows))[0]
    path = folder / "drive.mp4"
    try:
        write_video(frames, path, fps=FASTER / dt)
    except ImportError:  # PyAV is missing
        path = path.with_suffix(".gif")
        write_video(frames, path, fps=FASTER / dt)
    return path


def show(folder: Path, quick: bool) -> None:
    """Leaves table, curve and film of a run, from its model and its log."""
    actor = read_actor(folder / "model.zip")
    seeds, seconds = (range(1), 60.0) if quick else (range(3), 300.0)
    rates = {driver: evaluate(driver, actor, seeds, seconds) for driver in DRIVERS}
    (folder / "table.md").write_text(table(rates) + "\n")
    print(f"\n{TEST_TOWN}, {WORLDS} x {AGENTS} agents, {len(seeds)} x {seconds:.0f} s\n")
    print(table(rates))
    draw_curve(rates, folder)
    path = film(actor, 30.0 if quick else 60.0, 400 if quick else 512, folder)
    print(f"\n{path} ({FASTER:g} times as fast as life) and curve.png in {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, help="agent steps (default 6 million)")
    parser.add_argument("--minutes", type=float, default=13.5, help="longest training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppo_sb3"))
    parser.add_argument("--start", help="policy whose encoder to start from, such as selfplay")
    parser.add_argument(
        "--quick", action="store_true", help="1.6 million steps from selfplay's encoder, short film"
    )
    parser.add_argument("--redraw", action="store_true", help="table, curve and film of --out")
    options = parser.parse_args()
    if options.redraw and not (options.out / "model.zip").exists():
        parser.error(f"--redraw needs the model.zip of a run in --out, got {options.out}")
    options.steps = options.steps or (1_600_000 if options.quick else 6_000_000)
    options.start = options.start or ("selfplay" if options.quick else None)
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", message="rich is experimental")

    start = time.monotonic()
    if not options.redraw:
        steps = train(options).num_timesteps
        print(f"trained on {steps:,} steps in {time.monotonic() - start:.0f} s")
    show(options.out, options.quick)
    print(f"{time.monotonic() - start:.0f} s in all")


if __name__ == "__main__":
    main()
