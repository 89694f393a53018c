"""Times the sets of an observation in one pass (`policies/deep_sets.py`) against torch's layers.

    python benchmarks/sets.py [--rows 2048] [--widths 32 32] [--threads 1]

Rows of layout "lean" from a running environment; forward and backward, both in turn, best and
median of nine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from selfdrive_env.commands.bench import processor
from selfdrive_env.config.layouts import LAYOUTS
from selfdrive_env.envs import make_self_play
from selfdrive_env.policies.encoder import Encoder, Sizes


def main() -> None:
    """Parses the options and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2048, help="a multiple of 32")
    parser.add_argument("--widths", type=int, nargs=2, default=[32, 32])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    env = make_self_play(options.rows, map="riverside", layout="lean", num_threads=1)
    rows = env.reset(seed=0)[0]
    for step in range(20):
        rows = env.step(np.full(options.rows, step % 12))[0]
    sizes = Sizes(tuple(options.widths), 64, (128,))
    encoder = Encoder(LAYOUTS["lean"], sizes, torch.Generator().manual_seed(0))
    observations = torch.from_numpy(rows.copy())
    pull = torch.randn(options.rows, encoder.width)

    def forward() -> None:
        with torch.no_grad():
            encoder(observations)

    def both() -> None:
        encoder.zero_grad()
        encoder(observations).backward(pull)

    def timed(what: Callable[[], None], one_pass: bool) -> float:
        encoder.in_one_pass = one_pass
        start = time.perf_counter()
        what()
        return (time.perf_counter() - start) / options.rows * 1e6

    print(f"{processor()}; {options.rows} rows, widths {options.widths}, {options.threads} threads")
    print("| | torch, us a row | in one pass | ratio of best | of medians |\n|---|---|---|---|---|")
    for name, what in (("forward", forward), ("forward and backward", both)):
        runs: tuple[list[float], list[float]] = ([], [])
        for number in range(10):
            for place, one_pass in enumerate((False, True)):
                took = timed(what, one_pass)
                if number:  # the first one compiles
                    runs[place].append(took)
        best, middle = [min(r) for r in runs], [statistics.median(r) for r in runs]
        print(
            f"| {name} | {best[0]:.2f} | {best[1]:.2f} | {best[0] / best[1]:.1f} "
            f"| {middle[0] / middle[1]:.1f} |"
        )
    env.close()


if __name__ == "__main__":
    main()
