"""Measures selfdrive_env beside the driving simulators that pip installs, in turn, on one thread.

    python benchmarks/peers.py [--repeats 5] [--seconds 2] [--map harbour] [--json OUT]

Each case lives in a process of its own and waits there for its turn, so that a drift of the machine
meets all of them alike. Actions are random and drawn before the clock starts; episode ends and
resets are inside the time. Packages that are absent give a row that says how to install them.
`docs/peers.md` says what the figures mean.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.util
import itertools
import json
import math
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import gymnasium
import numpy as np

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
HEADLESS = {"SDL_VIDEODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
PACKAGES = ("selfdrive_env", "gymnasium", "numba", "numpy", "highway-env", "metadrive-simulator")
WARM_UP = 1.0
COUNT_EVERY = 16
PYTHON_LOOP = 2_000_000
NUMPY_SIZE = 100_000
NUMPY_PASSES = 500


class Scene(NamedTuple):
    """An environment behind the calls that the clock needs."""

    step: Callable[[], tuple[int, bool]]
    """One decision of every learner: how many they are, and whether reset() is due."""
    reset: Callable[[], Any]
    vehicles: Callable[[], int]
    """Vehicles in the simulation now."""
    floats: int
    """Numbers in the observation of one learner."""
    ticks: int
    """Steps of the simulation within one decision."""
    decision: float
    """Simulated time between two decisions [s]."""


class Case(NamedTuple):
    """A row of the table."""

    package: str
    """Name under which pip installs it."""
    module: str
    make: Callable[[], Scene]
    computes: str
    """Key of `COMPUTES`."""


def sampled(space: gymnasium.Space[Any]) -> Iterator[Any]:
    """Returns random actions without end, drawn now."""
    space.seed(0)
    return itertools.cycle([space.sample() for _ in range(256)])


def gymnasium_scene(env: Any, vehicles: Callable[[], int], *, ticks: int, decision: float) -> Scene:
    """Returns a scene of one learner with Gymnasium's interface."""
    actions = sampled(env.action_space)

    def step() -> tuple[int, bool]:
        _, _, terminated, truncated, _ = env.step(next(actions))
        return 1, terminated or truncated

    env.reset(seed=0)
    floats = math.prod(env.observation_space.shape)
    return Scene(step, env.reset, vehicles, floats, ticks, decision)


def present(env: Any) -> int:
    """Returns how many agents a vector environment of selfdrive_env moves now."""
    return int(np.count_nonzero(env.engine.agents.status))


def self_play(*, worlds: int, map: str, **settings: Any) -> Scene:
    """Makes worlds of 32 learners that reset themselves."""
    import selfdrive_env  # noqa: F401

    env: Any = gymnasium.make_vec(
        "selfdrive_env/SelfPlay-v0",
        num_envs=32 * worlds,
        agents_per_world=32,
        map=map,
        num_threads=1,
        **settings,
    )
    actions = sampled(env.action_space)

    def step() -> tuple[int, bool]:
        env.step(next(actions))
        return env.num_envs, False

    env.reset(seed=0)
    floats = env.single_observation_space.shape[0]
    return Scene(step, env.reset, lambda: present(env), floats, 1, env.settings.dt)


def drive(*, map: str, **settings: Any) -> Scene:
    """Makes one learner among 29 scripted drivers."""
    import selfdrive_env  # noqa: F401

    env: Any = gymnasium.make(
        "selfdrive_env/Drive-v0", agents_per_world=30, map=map, num_threads=1, **settings
    )
    inner = env.unwrapped.vector
    return gymnasium_scene(env, lambda: present(inner), ticks=1, decision=inner.settings.dt)


def highway(name: str) -> Scene:
    """Makes an environment of highway-env as it is registered."""
    env: Any = gymnasium.make(f"highway_env:{name}")
    inner = env.unwrapped
    return gymnasium_scene(
        env,
        lambda: len(inner.road.vehicles),
        ticks=inner.config["simulation_frequency"] // inner.config["policy_frequency"],
        decision=1.0 / inner.config["policy_frequency"],
    )


def prepare_metadrive() -> dict[str, Any]:
    """Skips the download of models and textures, which nothing reads when nothing is drawn.

    Returns:
        Settings that quieten it.
    """
    engine = importlib.import_module("metadrive.engine.base_engine").BaseEngine
    engine.try_pull_asset = staticmethod(lambda: None)
    return {"log_level": 50}


def metadrive(**settings: Any) -> Scene:
    """Makes MetaDrive's environment of one learner among its traffic."""
    quiet = prepare_metadrive()
    env = importlib.import_module("metadrive").MetaDriveEnv({**quiet, **settings})
    repeat, tick = env.config["decision_repeat"], env.config["physics_world_step_size"]
    return gymnasium_scene(
        env,
        lambda: len(env.engine.traffic_manager.vehicles),
        ticks=repeat,
        decision=repeat * tick,
    )


def metadrive_roundabout() -> Scene:
    """Makes MetaDrive's roundabout in which all vehicles learn."""
    quiet = prepare_metadrive()
    env = importlib.import_module("metadrive.envs.marl_envs").MultiAgentRoundaboutEnv(quiet)
    env.reset(seed=0)
    actions = sampled(next(iter(env.action_space.spaces.values())))

    def step() -> tuple[int, bool]:
        chosen = {name: next(actions) for name in env.agents}
        _, _, terminated, truncated, _ = env.step(chosen)
        return len(chosen), terminated["__all__"] or truncated["__all__"]

    space = next(iter(env.observation_space.spaces.values()))
    repeat, tick = env.config["decision_repeat"], env.config["physics_world_step_size"]
    return Scene(
        step,
        env.reset,
        lambda: len(env.engine.agent_manager.active_agents),
        math.prod(space.shape),
        repeat,
        repeat * tick,
    )


def cases(map: str) -> dict[str, Case]:
    """Returns the rows by name."""
    ours = partial(Case, "selfdrive_env", "selfdrive_env")
    batch = partial(self_play, worlds=32, map=map)
    one = partial(self_play, worlds=1, map=map)
    alone = partial(drive, map=map)
    highway_env = partial(Case, "highway-env", "highway_env")
    meta = partial(Case, "metadrive-simulator", "metadrive")
    moving = partial(metadrive, traffic_mode="respawn", traffic_density=1.0)
    return {
        "SelfPlay-v0, 32 x 32, full": ours(batch, "selfdrive_env"),
        "SelfPlay-v0, 32 x 32, full, copy=False": ours(partial(batch, copy=False), "selfdrive_env"),
        "SelfPlay-v0, 32 x 32, lean": ours(partial(batch, layout="lean"), "selfdrive_env"),
        "SelfPlay-v0, 1 x 32, full": ours(one, "selfdrive_env"),
        "Drive-v0, 30 agents": ours(alone, "selfdrive_env"),
        "highway-fast-v0": highway_env(partial(highway, "highway-fast-v0"), "highway-env"),
        "highway-v0": highway_env(partial(highway, "highway-v0"), "highway-env"),
        "roundabout-v1": highway_env(partial(highway, "roundabout-v1"), "highway-env"),
        "MetaDriveEnv": meta(metadrive, "MetaDrive"),
        "MetaDriveEnv, traffic always moving": meta(moving, "MetaDrive"),
        "MultiAgentRoundaboutEnv": meta(metadrive_roundabout, "MetaDrive"),
    }


COMPUTES = {
    "selfdrive_env": {
        "dynamics": "kinematic bicycle driven by jerk, random bodies, one Euler step a decision",
        "collision": "oriented boxes of all pairs, swept along the arcs of a step",
        "off-road": "whole box inside the drivable surface; ends the episode",
        "lights": "signals with phases, stop lines, stop signs",
        "scripted traffic": "Drive-v0: IDM with lane changes and right of way; SelfPlay-v0: none",
        "observation": "goals, lane points with distance to the goal, boundary points, stop lines, "
        "nearest agents",
        "rendering": "off; top-down pictures",
    },
    "highway-env": {
        "dynamics": "kinematic bicycle under a speed and lane controller, fixed bodies",
        "collision": "rectangles of all pairs (fast: of the learner with others)",
        "off-road": "a flag in the reward",
        "lights": "none",
        "scripted traffic": "IDM with MOBIL lane changes",
        "observation": "position and velocity of the learner and of the 4 vehicles nearest to it",
        "rendering": "off; top-down pictures, pygame",
    },
    "MetaDrive": {
        "dynamics": "Bullet rigid bodies: suspension, wheel friction, engine and brake force",
        "collision": "Bullet contacts of all bodies",
        "off-road": "leaving the lanes, touching a continuous line or a kerb ends the episode",
        "lights": "none on generated maps",
        "scripted traffic": "IDM with lane changes; MultiAgentRoundaboutEnv: none",
        "observation": "ego, navigation, lidar of 240 rays (roundabout: 72) cast in the physics",
        "rendering": "off; three-dimensional, cameras",
    },
}
"""Simulator -> what a step computes."""


def measure(scene: Scene, seconds: float) -> dict[str, float]:
    """Steps a scene for a while, resets included, and returns rates."""
    steps = decisions = 0
    resetting = 0.0
    vehicles = []
    start = now = time.perf_counter()
    while now - start < seconds:
        made, ended = scene.step()
        now = time.perf_counter()
        steps += 1
        decisions += made
        if ended:
            scene.reset()
            ready = time.perf_counter()
            resetting += ready - now
            now = ready
        if steps % COUNT_EVERY == 1:
            vehicles.append(scene.vehicles())
    elapsed = now - start
    mean_vehicles = statistics.fmean(vehicles)
    return {
        "env_steps_per_s": steps / elapsed,
        "agent_steps_per_s": decisions / elapsed,
        "vehicle_ticks_per_s": mean_vehicles * scene.ticks * steps / elapsed,
        "vehicles": mean_vehicles,
        "reset_share": resetting / elapsed,
    }


def one_line(error: BaseException) -> str:
    """Returns an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def serve(pipe: Connection, make: Callable[[], Scene], warm_up: float) -> None:
    """Makes a scene, warms it up, then measures whenever the pipe names a number of seconds."""
    try:
        scene = make()
        measure(scene, warm_up)
    except Exception as error:
        pipe.send(one_line(error))
        return
    pipe.send(
        {"obs_floats": scene.floats, "ticks": scene.ticks, "decision_s": round(scene.decision, 6)}
    )
    while seconds := pipe.recv():
        pipe.send(measure(scene, seconds))


class Worker:
    """The process of one case, and what it has measured."""

    def __init__(self, case: Case, warm_up: float) -> None:
        self.facts: dict[str, Any] = {}
        self.runs: list[dict[str, float]] = []
        self.status = "measured"
        if importlib.util.find_spec(case.module) is None:
            self.status = f"not installed: pip install {case.package}"
            return
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=serve, args=(end, case.make, warm_up), daemon=True)
        self.process.start()
        end.close()
        self.facts = self._receive()

    def run(self, seconds: float) -> None:
        """Adds one run, unless the case is absent or has failed."""
        if self.status != "measured":
            return
        self.pipe.send(seconds)
        run = self._receive()
        if run:
            self.runs.append(run)

    def _receive(self) -> dict[str, Any]:
        """Returns what the process sends; an error becomes the status."""
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            answer = f"the process ended with code {self.process.exitcode}"
        if isinstance(answer, str):
            self.status = f"failed: {answer}"
            return {}
        figures: dict[str, Any] = answer
        return figures

    def close(self) -> None:
        """Ends the process."""
        if self.status == "measured":
            self.pipe.send(0.0)
            self.process.join()

    def row(self, case: Case) -> dict[str, Any]:
        """Returns the figures by name: median and best of the rates, means of the rest."""
        found: dict[str, Any] = {"package": case.package, "status": self.status, **self.facts}
        for name in self.runs[0] if self.runs else ():
            values = [run[name] for run in self.runs]
            found[name] = statistics.median(values)
            if name.endswith("_per_s"):
                found[f"best_{name}"] = max(values)
        return {**found, "computes": COMPUTES[case.computes], "runs": self.runs}


def calibrate() -> dict[str, float]:
    """Times a loop in Python and one in NumPy, the same whatever is installed."""
    start = time.perf_counter()
    total = 0
    for number in range(PYTHON_LOOP):
        total += number & 7
    python = PYTHON_LOOP / (time.perf_counter() - start)
    values, scratch = np.ones((2, NUMPY_SIZE), np.float32)
    start = time.perf_counter()
    for _ in range(NUMPY_PASSES):
        np.multiply(values, values, out=scratch)
        np.sqrt(scratch, out=values)
    return {
        "python_loops_per_s": python,
        "numpy_elements_per_s": NUMPY_PASSES * NUMPY_SIZE / (time.perf_counter() - start),
    }


def cpu_model() -> str:
    """Returns the name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def installed(name: str) -> str | None:
    """Returns the version of a package, None if it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "source tree" if name == "selfdrive_env" else None


def rate(value: float) -> str:
    """Returns a rate as the table shows it."""
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.1f}"


def show(report: dict[str, Any]) -> None:
    """Prints the report as Markdown."""
    versions = ", ".join(f"{name} {v}" for name, v in report["versions"].items() if v)
    print(f"{report['date']}; {report['cpu']}, {report['cores']} cores, one thread; {versions}")
    print(
        f"{report['repeats']} runs of {report['seconds']:g} s each, in turn; map {report['map']}\n"
    )
    for name, values in report["calibration"].items():
        median = statistics.median(values)
        print(
            f"{name}: median {median / 1e6:,.1f} M, from {min(values) / 1e6:,.1f} to "
            f"{max(values) / 1e6:,.1f} M"
        )
    print(
        "\n| case | env steps/s, median | best | agent-steps/s, median | best | vehicles "
        "| ticks a decision | s a decision | vehicle-ticks/s | floats | in resets |"
    )
    print("|---" * 11 + "|")
    for name, row in report["cases"].items():
        if row["status"] != "measured":
            print(f"| {name} | {row['status']} |" + " |" * 9)
            continue
        print(
            f"| {name} | {rate(row['env_steps_per_s'])} | {rate(row['best_env_steps_per_s'])} "
            f"| {rate(row['agent_steps_per_s'])} | {rate(row['best_agent_steps_per_s'])} "
            f"| {row['vehicles']:,.0f} | {row['ticks']} | {row['decision_s']:g} "
            f"| {row['vehicle_ticks_per_s']:,.0f} | {row['obs_floats']:,} "
            f"| {100 * row['reset_share']:.0f} % |"
        )
    print("\n| a step computes | " + " | ".join(COMPUTES) + " |")
    print("|---" * (len(COMPUTES) + 1) + "|")
    for topic in COMPUTES["selfdrive_env"]:
        print(f"| {topic} | " + " | ".join(each[topic] for each in COMPUTES.values()) + " |")


def main() -> None:
    """Parses the options, lets the cases run in turn, prints and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all cases")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one run")
    parser.add_argument("--map", default="harbour", help="built-in town or file, for selfdrive_env")
    parser.add_argument("--json", help="also write every figure to this file")
    options = parser.parse_args()
    if options.repeats < 1 or options.seconds <= 0.0:
        parser.error("--repeats must be at least 1 and --seconds positive")

    os.environ.update({**dict.fromkeys(ONE_THREAD, "1"), **HEADLESS})
    table = cases(options.map)
    warm_up = min(WARM_UP, options.seconds)
    workers = {name: Worker(case, warm_up) for name, case in table.items()}
    calibrations = []
    for _ in range(options.repeats):
        calibrations.append(calibrate())
        for worker in workers.values():
            worker.run(options.seconds)
    for worker in workers.values():
        worker.close()

    report = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            **{name: installed(name) for name in PACKAGES},
        },
        "map": options.map,
        "repeats": options.repeats,
        "seconds": options.seconds,
        "calibration": {name: [each[name] for each in calibrations] for name in calibrations[0]},
        "cases": {name: workers[name].row(case) for name, case in table.items()},
    }
    show(report)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
