"""Runs the table of benchmark cases, variants interleaved, and prints medians with the machine.

    python benchmarks/run.py [--repeats 5] [--map FILE] [--json OUT]

Each case runs in a process of its own, so that threads and caches start alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "full": {"layout": "full"},
    "lean": {"layout": "lean"},
    "full, 2 threads": {"layout": "full", "threads": 2},
    "full, 8 x 128 agents": {"layout": "full", "worlds": 8, "agents": 128},
}


def measure(case: dict[str, Any], place: str) -> dict[str, Any]:
    """Runs one case once, in a fresh process, and returns its figures."""
    words = [f"--{name}={value}" for name, value in {"map": place, **case}.items()]
    command = [sys.executable, "-m", "selfdrive_env", "bench", "--json", "--repeats=3", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Parses the options, runs the cases in turn, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all cases")
    parser.add_argument("--map", default="riverside", help="built-in town or file")
    parser.add_argument("--json", help="also write every figure to this file")
    options = parser.parse_args()

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    for _ in range(options.repeats):
        for name, case in CASES.items():
            found[name].append(measure(case, options.map))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {options.map}")
    print("| case | agent-steps/s, median | best | row bytes | share of store bandwidth |")
    print("|---|---|---|---|---|")
    for name, runs in found.items():
        rates = [rate for run in runs for rate in run["runs"]]
        share = statistics.median(run["share_of_store_bandwidth"] for run in runs)
        print(
            f"| {name} | {statistics.median(rates):,.0f} | {max(rates):,.0f} "
            f"| {runs[0]['row_bytes']:,} | {100 * share:.1f} % |"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file)


if __name__ == "__main__":
    main()
