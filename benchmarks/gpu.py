"""Builds, checks and times the environments on a CUDA device, in one call.

    python benchmarks/gpu.py [--quick] [--minutes 8] [--map FILE] [--json OUT]

First the same rollouts on the CPU and on the device, bit by bit, and a captured CUDA graph beside
plain steps; then agent-steps per second over batch sizes, layouts and precisions, each beside what
the device could write in that time: the rate of a large fill over the bytes of a row. Then what
runs in a step, how long each kernel takes, and the share of its stages. Times are those of events
on the device, so that of plain steps contains what Python needs to start them. Nothing but random
actions is prepared ahead; episode ends and placing anew are inside the time.

Ends with 0, 1 (something failed or differs) or 2 (no device can be used). The file is written after
each part. `--simulate` is for the tests of this script: a tiny form in Numba's CUDA simulator.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gpu_agreement import compare, on_cpu, rollout

from selfdrive_env.commands.bench import processor
from selfdrive_env.compiler.threads import SIMULATED
from selfdrive_env.config.installation import installed_version
from selfdrive_env.engine.devices import choose_device
from selfdrive_env.envs import make_self_play
from selfdrive_env.kernels.step import STAGES

PACKAGES = ("selfdrive_env", "torch", "numba", "numba-cuda", "cuda-core", "numpy", "gymnasium")
FILL_BYTES = 4 * 2**30
DRAWN = 16
"""So many tensors of random actions take turns."""

AHEAD = 50_000_000
"""Cycles that the device waits before kernels are timed one by one, so that the host is ahead."""

LAUNCHES = ("advance", "observe, last rows", "settle", "observe, rows")
"""Kernels of a step, in order; torch adds a copy of the actions and one `or` (copy=False)."""

KNOWN_LAUNCHES = len(LAUNCHES) + 2


class Plan(NamedTuple):
    """How much of everything is run."""

    sizes: tuple[int, ...] = (4_096, 16_384, 65_536, 262_144, 1_048_576)
    """Agents of the timed batches."""

    agents: int = 32
    """Of each world."""

    forms: tuple[tuple[str, str], ...] = (
        ("full", "float32"), ("lean", "float32"), ("full", "float16"), ("lean", "float16"),
    )  # fmt: skip
    """Layouts and types of rows."""

    repeats: int = 7
    run: float = 0.2
    """Length of a run [s], if its steps are no fewer than `least`."""

    least: int = 3
    warm_up: int = 50
    """Steps before the clock starts: first episodes end out of step then."""

    compared_worlds: int = 8
    compared_steps: int = 300
    compared: tuple[str, ...] = ("self-play, full", "lean, float16, NextStep", "scripted traffic")
    graph_steps: int = 50
    staged: int = 65_536
    """Agents of the batches whose kernels are timed one by one."""


QUICK = Plan(
    sizes=(4_096, 65_536), forms=(("full", "float32"), ("lean", "float32")), repeats=3, run=0.1,
    compared_steps=100,
)  # fmt: skip

TINY = Plan(
    sizes=(8,), agents=4, forms=(("lean", "float32"), ("lean", "float16")), repeats=2, run=0.0,
    least=1, warm_up=1, compared_worlds=2, compared_steps=4,
    compared=("lean, float16, NextStep",), graph_steps=2, staged=8,
)  # fmt: skip

COMPARED: dict[str, dict[str, Any]] = {
    "self-play, full": {"layout": "full"},
    "lean, float16, NextStep": {
        "layout": "lean", "obs_dtype": "float16", "autoreset_mode": "NextStep", "horizon": 30.0,
    },
    "scripted traffic": {"driver": "idm", "bodies": "typed", "layout": "lean"},
}  # fmt: skip
"""Rollouts that are run on both, settings by name; in the last one nobody heeds the actions."""


def check_agreement(name: str, plan: Plan, place: str) -> dict[str, Any]:
    """Runs the same on the CPU and on the device."""
    settings = COMPARED[name] | {"map": place, "agents_per_world": plan.agents}
    settings["rows"] = plan.compared_worlds * plan.agents
    wanted = on_cpu(settings | {"num_threads": 1}, plan.compared_steps)
    found = rollout(settings | {"device": "cuda"}, plan.compared_steps)
    return compare(wanted, found)


def check_graph(plan: Plan, place: str) -> dict[str, Any]:
    """Steps one batch plainly, one by a captured graph, and counts the steps that differ."""
    if SIMULATED:
        return {"status": "the simulator has no graphs"}
    import torch

    rows = plan.compared_worlds * plan.agents
    plain, graphed = (batch(rows, plan.agents, "lean", "float32", place) for _ in range(2))
    plain.reset(seed=3)
    graphed.reset(seed=3)
    actions = draw_actions(plain, plan.graph_steps)
    plain.step(actions[0])
    graphed.step(actions[0])
    captured = graphed.capture()
    different = 0
    for action in actions:
        wanted, found = plain.step(action), captured.step(action)
        same = all(torch.equal(a, b) for a, b in zip(wanted[:4], found[:4], strict=True))
        ended = wanted[4]["_final_obs"]
        lasts = (one[4]["final_obs"][ended] for one in (wanted, found))
        different += not (same and torch.equal(*lasts))
    return {"identical": different == 0, "steps": len(actions), "steps_that_differ": different}


def batch(agents: int, per_world: int, layout: str, kind: str, place: str) -> Any:
    """Returns self-play worlds on the device."""
    return make_self_play(
        agents, map=place, agents_per_world=per_world, layout=layout, obs_dtype=kind, copy=False,
        device="cuda",
    )  # fmt: skip


def draw_actions(env: Any, count: int = DRAWN) -> Any:
    """Returns random actions on the device, [count, rows]."""
    import torch

    generator = torch.Generator(device=env.device).manual_seed(0)
    jerks = len(env.engine.draws.jerk)
    shape = (count, env.num_envs)
    return torch.randint(0, jerks, shape, generator=generator, device=env.device)


def marker() -> Any:
    """Returns a moment on the device's clock; in the simulator on the host's."""
    if SIMULATED:
        return time.perf_counter()
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(begin: Any, end: Any) -> float:
    """Returns the time between two moments, waiting for the later one [s]."""
    if SIMULATED:
        return float(end - begin)
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def timed(step: Callable[[], Any], steps: int) -> float:
    """Returns the time of one of some steps [s]."""
    begin = marker()
    for _ in range(steps):
        step()
    return between(begin, marker()) / steps


def rate(step: Callable[[], Any], agents: int, plan: Plan) -> dict[str, Any]:
    """Returns agent-steps per second of some runs, and their median."""
    once = timed(step, plan.least)
    steps = min(max(math.ceil(plan.run / once), plan.least), 5_000)
    runs = [agents / timed(step, steps) for _ in range(plan.repeats)]
    return {"median": statistics.median(runs), "best": max(runs), "runs": runs, "steps": steps}


def turns(actions: Any) -> Iterator[Any]:
    """Gives the actions one by one, for ever."""
    while True:
        yield from actions


def store_bandwidth(repeats: int = 7) -> dict[str, float]:
    """Returns how fast the device fills a large buffer [bytes/s]; a small one in the simulator."""
    import torch

    size = 2**20
    if not SIMULATED:
        size = min(FILL_BYTES, torch.cuda.mem_get_info()[0] // 4)
    buffer = torch.empty(size // 4, dtype=torch.float32, device="cpu" if SIMULATED else "cuda")
    runs = [size / timed(lambda: buffer.fill_(1.5), 5) for _ in range(repeats + 1)][1:]
    return {"bytes": size, "median": statistics.median(runs), "best": max(runs)}


def allocated() -> int:
    """Returns the memory that tensors take on the device [bytes]."""
    if SIMULATED:
        return 0
    import torch

    return int(torch.cuda.memory_allocated())


def free() -> None:
    """Gives memory back that no tensor holds."""
    gc.collect()
    if not SIMULATED:
        import torch

        torch.cuda.empty_cache()


def measure(
    agents: int, layout: str, kind: str, plan: Plan, place: str, store: float
) -> dict[str, Any]:
    """Times one batch, plainly and by a graph."""
    before = allocated()
    env = batch(agents, plan.agents, layout, kind, place)
    memory = allocated() - before
    start = time.perf_counter()
    env.reset(seed=0)
    actions = turns(draw_actions(env))
    env.step(next(actions))
    env.check()
    first_s = time.perf_counter() - start
    for _ in range(plan.warm_up):
        env.step(next(actions))
    row_bytes = env.engine.observations.element_size() * env.engine.observations.shape[1]
    found: dict[str, Any] = {
        "first_reset_and_step_s": first_s,
        "row_bytes": row_bytes,
        "memory_bytes": memory,
        "memory_bytes_per_agent": memory / agents,
        "bound": store / row_bytes,
        "plain": rate(lambda: env.step(next(actions)), agents, plan),
        "graph": None,
    }
    if not SIMULATED:
        captured = env.capture()
        captured.step(next(actions))
        found["graph"] = rate(lambda: captured.step(next(actions)), agents, plan)
    for name in ("plain", "graph"):
        if found[name]:
            found[name]["share_of_bound"] = found[name]["median"] / found["bound"]
    env.check()
    env.close()
    return found


class TimedLauncher:
    """Notes a moment before and behind each kernel."""

    def __init__(self, launcher: Any) -> None:
        self.launcher = launcher
        self.moments: list[tuple[Any, Any]] = []

    def launch(self, *arguments: Any) -> None:
        begin = marker()
        self.launcher.launch(*arguments)
        self.moments.append((begin, marker()))


def take_apart(layout: str, kind: str, plan: Plan, place: str, steps: int = 20) -> dict[str, Any]:
    """Times the kernels of a step one by one, and the stages in them by the cycle counter.

    Cycles are those of the first thread of a block, from stage to stage: blocks run beside each
    other, so shares of a stage in its kernel count, not the sum.
    """
    steps = 1 if SIMULATED else steps
    env = batch(plan.staged, plan.agents, layout, kind, place)
    env.reset(seed=0)
    actions = turns(draw_actions(env))
    for _ in range(plan.warm_up):
        env.step(next(actions))
    engine = env.engine
    cycles = engine.tensors["scratch"]["cycles"]
    cycles.zero_()
    timer = engine._launcher = TimedLauncher(engine._launcher)
    for _ in range(steps):
        wait_on_device()
        env.step(next(actions))
    kernels = {
        name: statistics.median(between(*pair) for pair in timer.moments[place :: len(LAUNCHES)])
        for place, name in enumerate(LAUNCHES)
    }
    counted = cycles.sum(0).cpu().numpy() / (steps * engine.num_worlds)
    env.close()
    return {
        "agents": plan.staged,
        "kernel_s": kernels,
        "step_s": sum(kernels.values()),
        "resources": resources(timer.launcher),
        "stage_cycles": dict(zip(STAGES, counted.tolist(), strict=True)),
    }


def wait_on_device() -> None:
    if not SIMULATED:
        import torch

        torch.cuda._sleep(AHEAD)


def count_launches(plan: Plan, place: str) -> dict[str, Any]:
    """Counts what a step starts on the device, by torch's profiler where it sees anything."""
    known = {"launches": KNOWN_LAUNCHES, "by": "the list of kernels"}
    if SIMULATED:
        return known
    import torch

    env = batch(plan.sizes[0], plan.agents, "lean", "float32", place)
    env.reset(seed=0)
    actions = draw_actions(env)
    env.step(actions[0])
    env.check()
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        env.step(actions[1])
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA
    names = [event.name for event in profile.events() if event.device_type == on_device]
    env.close()
    if not names:
        return known
    return {"launches": len(names), "by": "torch.profiler", "names": names}


def resources(launcher: Any) -> dict[str, Any]:
    """Returns registers and local memory of a thread, of the kernels that have been launched."""
    return {
        name: {
            "registers": max(kernel.get_regs_per_thread().values()),
            "local_bytes": max(kernel.get_local_mem_per_thread().values()),
        }
        for name, kernel in launcher._kernels.items()
        if not SIMULATED
    }


def machine() -> dict[str, Any]:
    """Returns device, driver and versions."""
    found: dict[str, Any] = {
        "device": "Numba's CUDA simulator",
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {
            "python": platform.python_version(),
            **{name: installed_version(name) for name in PACKAGES},
        },
    }  # fmt: skip
    if SIMULATED:
        return found
    import torch

    properties = torch.cuda.get_device_properties(0)
    return found | {
        "device": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "driver": driver(),
        "cuda_of_torch": torch.version.cuda,
    }


def driver() -> str | None:
    """Returns the version of the driver, None where nvidia-smi does not tell."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().splitlines()[0]


class Report:
    """What was found so far; written to a file after each part, if there is one."""

    def __init__(self, path: str | None, minutes: float) -> None:
        self._path = path
        self._end = time.monotonic() + 60.0 * minutes
        self.found: dict[str, Any] = {"date": datetime.datetime.now(datetime.UTC).isoformat()}
        self.failed = False

    def add(self, part: str, name: str | None, find: Callable[[], dict[str, Any]]) -> Any:
        """Runs a part of the report, notes what it gives or why it gives nothing."""
        if time.monotonic() > self._end:
            entry: dict[str, Any] = {"status": "out of time: see --minutes"}
        else:
            try:
                entry = {"status": "done"} | find()
            except Exception as error:
                entry = self._without(error)
        free()
        if name is None:
            self.found[part] = entry
        else:
            self.found.setdefault(part, {})[name] = entry
        label = part if name is None else f"{part}: {name}"
        print(f"{label}: {entry['status']}", file=sys.stderr, flush=True)
        if self._path:
            Path(self._path).write_text(json.dumps(self.found, indent=1), encoding="utf-8")
        return entry

    def _without(self, error: Exception) -> dict[str, Any]:
        """Returns what stands where an error left nothing; too little memory is no failure."""
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return {"status": f"does not fit: {error}"}
        self.failed = True
        return {
            "status": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()
        }  # fmt: skip


def run(plan: Plan, place: str, report: Report) -> None:
    """Fills the report, what matters most first."""
    store = report.add("store_bandwidth", None, store_bandwidth).get("best", math.nan)
    for name in plan.compared:
        report.add("agreement", name, lambda name=name: check_agreement(name, plan, place))
    report.add("graph", None, lambda: check_graph(plan, place))
    for layout, kind in plan.forms:
        for agents in plan.sizes:
            report.add(
                "rates", f"{layout}, {kind}, {agents:,} agents",
                lambda one=(agents, layout, kind): measure(*one, plan, place, store),
            )  # fmt: skip
        if kind == "float32":
            report.add("parts", layout, lambda one=layout: take_apart(one, "float32", plan, place))
    report.add("launches", None, lambda: count_launches(plan, place))


def show(found: dict[str, Any]) -> None:
    """Prints the tables."""
    for name, one in found["agreement"].items():
        print(f"CPU and device, {name}: {agreement_text(one)}")
    graph = found["graph"]
    different = graph.get("steps_that_differ")
    text = graph["status"] if different is None else f"{different} of {graph['steps']} differ"
    print(f"graph and plain steps: {'identical' if graph.get('identical') else text}")
    store = found["store_bandwidth"].get("best", math.nan)
    print(f"a fill writes {store / 1e9:,.0f} GB/s; launches a step: {found['launches']}\n")
    print("| batch | bytes a row | plain, M agent-steps/s, median | best | of the bound "
          "| graph, median | best | of the bound | kB an agent | GB |")  # fmt: skip
    print("|" + "---|" * 10)
    for name, one in found["rates"].items():
        if one["status"] != "done":
            print(f"| {name} | {one['status']} |" + " |" * 8)
            continue
        print(
            f"| {name} | {one['row_bytes']:,} | {rate_text(one['plain'])} | "
            f"{rate_text(one['graph'])} | {one['memory_bytes_per_agent'] / 1e3:.2f} "
            f"| {one['memory_bytes'] / 1e9:.2f} |"
        )
    for layout, one in found["parts"].items():
        if one["status"] != "done":
            print(f"\nkernels, {layout}: {one['status']}")
            continue
        times = ", ".join(f"{name} {1e6 * spent:,.0f}" for name, spent in one["kernel_s"].items())
        print(f"\nkernels, {layout}, {one['agents']:,} agents [us a step]: {times}")
        cycles = ", ".join(f"{name} {n:,.0f}" for name, n in one["stage_cycles"].items() if n)
        print(f"stages, {layout} [cycles of a block's first thread a step]: {cycles}")
        for name, kernel in one["resources"].items():
            print(f"{name}: {kernel['registers']} registers, {kernel['local_bytes']} bytes local")


def agreement_text(one: dict[str, Any]) -> str:
    if "identical" not in one:
        return str(one["status"])
    run = f"{one['rows']} rows, {one['steps']} steps, {one['episodes_ended']} episodes ended"
    if one["identical"]:
        return f"identical ({run})"
    largest = ", ".join(f"{name} {value:.3g}" for name, value in one["largest_difference"].items())
    return (
        f"{one['rows_that_differ']} rows differ, first in step {one['first_step']} ({run}); flags "
        f"{one['flag_mismatches']}; largest differences: {largest}"
    )


def rate_text(one: dict[str, Any] | None) -> str:
    if one is None:
        return "| |"
    share = f"{100 * one['share_of_bound']:.1f} %"
    return f"{one['median'] / 1e6:,.3f} | {one['best'] / 1e6:,.3f} | {share}"


def unusable(simulate: bool) -> str | None:
    """Returns why nothing can be measured here, None if it can."""
    if simulate != SIMULATED:
        return (
            "--simulate needs NUMBA_ENABLE_CUDASIM=1"
            if simulate
            else "NUMBA_ENABLE_CUDASIM=1 is set: the simulator's figures say nothing of a device"
        )
    try:
        choose_device("cuda")
    except (ImportError, RuntimeError, ValueError) as error:
        return f"no device can be used: {error}"
    return None


def main() -> int:
    """Parses the options, runs everything, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, fewer runs")
    parser.add_argument("--minutes", type=float, default=8.0, help="what begins later is left out")
    parser.add_argument("--map", default="riverside", help="built-in town or file")
    parser.add_argument("--json", help="also write every figure to this file")
    parser.add_argument("--simulate", action="store_true", help="tiny, in Numba's CUDA simulator")
    options = parser.parse_args()
    problem = unusable(options.simulate)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    plan = TINY if options.simulate else QUICK if options.quick else Plan()
    report = Report(options.json, options.minutes)
    report.found |= {"map": options.map, "machine": machine(), "plan": plan._asdict()}
    print(json.dumps(report.found["machine"]), flush=True)
    run(plan, options.map, report)
    show(report.found)
    differs = [*report.found["agreement"].values(), report.found["graph"]]
    failed = report.failed or not all(one.get("identical", True) for one in differs)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
