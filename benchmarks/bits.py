"""Shows that a change keeps results to the bit: observations, rewards, flags, infos and states.

    python benchmarks/bits.py [--case NAME ...] [--threads 1,2]      # checks
    python benchmarks/bits.py --write [--case NAME ...]              # takes new digests
    python benchmarks/bits.py --map MAP --file FILE [--write] ...    # the same on another map

Each case steps a small environment with actions from a seeded generator, once with each number of
threads, and compares digests with those in `bits.json` beside this script. It exits with 1 where
one differs. After a change that is meant to change results, take new digests and say in the commit
why. The script uses the public interface only, so that it outlives changes of what is inside.

Observations, rewards and flags have a running digest at the start and after a fifth, half and all
of the steps: the report says between which of them they part. Infos have one an entry, whose name
counts. States have one an array, taken over the same four moments. There the name does not count:
an array that another name has now, to the last byte, is listed as renamed and is no difference.
Gone is one whose bytes no array has that is left; arrays that come on top are listed as new.
`version` and `digest` of a state say what it belongs to and are left out, and so are empty arrays.

Equal digests say nothing of what no case reaches: the built-in towns have no bridges and each lane
mirrors another. `--map` runs the cases on a map that has what they lack.

What is known of other machines: kernels keep the order of their sums, use no fused products and
have their own elementary functions, so the digests should hold on every x86-64 that has F16C. They
were found alike with code for Ivy Bridge (no AVX2, no fused products), Haswell and a processor with
AVX-512, all on one machine. Three things lie outside: maps are built in double precision by NumPy
and shapely, of which `constraints.txt` has the versions (numbers lie on a grid afterwards, so that
what processors differ in is gone); NumPy may change the numbers of its
generator (the report says so when it does); and the products of `traffic="selfplay"` add up in a
fixed order but are fused where the processor can, so on one that cannot another action may come out
likeliest. Where a clean checkout differs, take digests with `--write --file FILE` before the change
and check against those.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import selfdrive_env  # noqa: F401  registers the environments

FILE = Path(__file__).with_suffix(".json")
SEED = 20
STEPS, SHORT = 500, 40
WORLDS, AGENTS = 4, 12
PARTS = ("observations", "rewards", "terminated", "truncated", "infos", "states")
STREAMS = PARTS[:4]
LABELS = ("version", "digest")
"""State entries that say what the state belongs to."""

LONG_CHOICES = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
LATERAL_CHOICES = np.array([0, 1, 1, 1, 1, 1, 1, 2])
"""Indices of the jerks from which actions are drawn: mostly forward, else cars do not get far."""

BASE: dict[str, Any] = {"agents_per_world": AGENTS, "horizon": 60.0, "layout": "lean"}
NOISY: dict[str, Any] = {
    "observation_noise": 0.5,
    "lane_dropout": 0.5,
    "boundary_dropout": 0.4,
    "blind_share": 0.3,
    "braking_share": 0.3,
}
RULES: dict[str, Any] = {
    "on_collision": "stop",
    "on_offroad": "stop",
    "on_red_light": "terminate",
    "on_goal": "new_route",
}
IGNORED = {"on_collision": "ignore", "on_offroad": "ignore", "on_red_light": "stop"}
OTHERS: dict[str, Any] = {
    "map": "harbour",
    "layout": {"goals": 3, "lane_points": 10, "boundary_points": 7, "stop_lines": 3, "agents": 5},
    "agents_per_world": [6, 12],
    "dt": 0.2,
    "stagger": False,
    "preset": "cautious",
    "reward": {"progress": 0.01, "collision": [0.5, 2.5]},
    "bodies": {"car": 1.0, "bicycle": 1.0, "pedestrian": 1.0},
    "jerk_long": [-8.0, -2.0, 0.0, 5.0],
    "jerk_lat": [-6.0, 0.0, 6.0],
    "first_goal": None,
    "further_goals": 1,
    "initial_speed": 0.5,
    "light_timing": "fixed",
    "light_removal": 0.0,
    "lights_off": 0.0,
    "lights_green": 0.0,
    "world_offset": 3,
    "copy": False,
}

CASES: dict[str, dict[str, Any]] = {
    "full": {"layout": "full"},
    "lean": {},
    "float16": {"obs_dtype": "float16"},
    "continuous": {"action_type": "continuous"},
    "typed": {"bodies": "typed"},
    "next-step": {"autoreset_mode": "NextStep"},
    "disabled": {"autoreset_mode": "Disabled"},
    "idm": {"driver": "idm", "horizon": 120.0},
    "variants": {"map": ["riverside", "harbour"], "map_variants": 3, "driver": "idm"},
    "noisy": {**NOISY, "layout": "full"},
    "rules": {**RULES, "horizon": 30.0},
    "rules-idm": {**RULES, "driver": "idm", "braking_share": 0.5, "horizon": 90.0},
    "rules-constant": {**RULES, "driver": "constant", "on_collision": "terminate"},
    "crowd": {**RULES, **NOISY, **IGNORED, "agents_per_world": 60, "worlds": 2},
    "others": OTHERS,
    "restored": {"restores": True},
    "drive": {"id": "Drive-v0", "bodies": "typed", "seed": [5, 6, 2**40 + 7, 5]},
    "drive-constant": {"id": "Drive-v0", "traffic": "constant", "autoreset_mode": "NextStep"},
    "drive-policy": {"id": "Drive-v0", "traffic": "selfplay"},
    "drive-policy-disabled": {
        **{"id": "Drive-v0", "traffic": "selfplay", "bodies": "typed"},
        **{"worlds": 2, "autoreset_mode": "Disabled"},
    },
    "single": {"id": "Drive-v0", "single": True},
    "short-full": {"layout": "full", "bodies": "typed", **NOISY, "horizon": 6.0, "steps": SHORT},
    "short-rules": {
        **RULES,
        "driver": "constant",
        "restores": True,
        "horizon": 6.0,
        "steps": SHORT,
    },
    "short-disabled": {"autoreset_mode": "Disabled", "horizon": 6.0, "steps": SHORT},
}
"""Name -> settings that differ from `BASE`, and `PLAN`. The short ones are those of the tests."""

PLAN: dict[str, Any] = {
    "id": "SelfPlay-v0",
    "seed": SEED,
    "worlds": WORLDS,
    "single": False,
    "restores": False,
    "steps": STEPS,
}
"""What a case says beside settings; one that `restores` goes back to a state half-way."""


class Stream:
    """A running digest of arrays in order, each with its step, type and shape."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, step: int, value: Any) -> None:
        array = np.ascontiguousarray(value)
        self._hash.update(f"{step} {array.dtype.str} {array.shape} ".encode())
        self._hash.update(array.data if array.size else b"")

    def digest(self) -> str:
        return self._hash.hexdigest()


class Record:
    """Digests of all that a run gives, as `bits.json` holds them."""

    def __init__(self, steps: int) -> None:
        self.moments = (0, steps // 5, steps // 2, steps)
        self._streams = {name: Stream() for name in ("actions", *STREAMS)}
        self._marks: dict[str, list[str]] = {name: [] for name in self._streams}
        self._infos: dict[str, Stream] = {}
        self._states: dict[str, Any] = {}
        self._kinds: dict[str, str] = {}

    def add(self, step: int, **values: Any) -> None:
        for name, value in values.items():
            if name != "infos":
                self._streams[name].add(step, value)
                continue
            for key, one in entries(value):
                self._infos.setdefault(key, Stream()).add(step, one)

    def mark(self, step: int, state: Callable[[], dict[str, Any]]) -> None:
        """Keeps the digests up to here, and those of the state, if this is one of the moments."""
        if step not in self.moments:
            return
        for name, stream in self._streams.items():
            self._marks[name].append(stream.digest())
        for name, value in state().items():
            if name in LABELS or not value.size:
                continue
            self._kinds[name] = f"{value.dtype} {'x'.join(map(str, value.shape))}"
            known = self._states.setdefault(name, hashlib.blake2b(digest_size=8))
            known.update(np.ascontiguousarray(value).data)

    def found(self) -> dict[str, Any]:
        infos = {name: self._infos[name].digest() for name in sorted(self._infos)}
        states = {
            name: f"{self._kinds[name]} {self._states[name].hexdigest()}"
            for name in sorted(self._states)
        }
        marks = {name: " ".join(found) for name, found in self._marks.items()}
        moments = " ".join(map(str, self.moments))
        return {"moments": moments, **marks, "infos": infos, "states": states}


def entries(infos: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yields names and values of infos, those inside others as "outer/inner"."""
    for name in sorted(infos):
        if isinstance(infos[name], dict):
            yield from entries(infos[name], f"{above}{name}/")
        else:
            yield f"{above}{name}", infos[name]


class Case:
    """An environment and its actions."""

    def __init__(self, name: str, threads: int, place: str | None = None) -> None:
        case = {**PLAN, **BASE, **CASES[name], **({"map": place} if place else {})}
        self.plan = {key: case.pop(key) for key in PLAN}
        self.settings = {**case, "num_threads": threads}
        self.mode = case.get("autoreset_mode", "SameStep")
        agents = np.max(case["agents_per_world"]) if self.plan["id"] == "SelfPlay-v0" else 1
        self.rows = int(self.plan["worlds"] * agents)
        self.env = self.make()
        self.actions = self.draw()

    def make(self) -> Any:
        name = f"selfdrive_env/{self.plan['id']}"
        if self.plan["single"]:
            return gymnasium.make(name, disable_env_checker=True, **self.settings)
        return gymnasium.make_vec(name, num_envs=self.rows, **self.settings)

    def draw(self) -> Any:
        """Draws the actions: one in three is new, the others are the row's last."""
        rng, steps = np.random.default_rng(SEED), self.plan["steps"]
        size = (steps, self.rows)
        new = rng.integers(0, 3, size) == 0
        if self.settings.get("action_type") == "continuous":
            fresh: Any = rng.uniform(-1.0, 1.0, (*size, 2)).astype(np.float32)
            fresh[..., 0] = 0.2 + 0.8 * fresh[..., 0]
            fresh[..., 1] *= 0.3
        else:
            long = LONG_CHOICES[rng.integers(0, len(LONG_CHOICES), size)]
            fresh = 3 * long + LATERAL_CHOICES[rng.integers(0, len(LATERAL_CHOICES), size)]
        for step in range(1, steps):
            fresh[step, ~new[step]] = fresh[step - 1, ~new[step]]
        return fresh

    def run(self) -> dict[str, Any]:
        """Steps through the case and returns its digests."""
        record = Record(self.plan["steps"])
        observations, infos = self.env.reset(seed=self.plan["seed"])
        record.add(0, observations=observations, infos=infos)
        record.mark(0, self.state)
        for step, actions in enumerate(self.actions, 1):
            self.step(step, actions, record)
            if self.plan["restores"] and step == self.plan["steps"] // 2:
                self.restore(step, record)
            record.mark(step, self.state)
        self.env.close()
        return record.found()

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.env.unwrapped.get_state()
        return found

    def step(self, step: int, actions: Any, record: Record) -> None:
        """Steps once and resets what waits for it."""
        record.add(step, actions=actions)
        if self.plan["single"]:
            actions = actions[0]
        names = (*STREAMS, "infos")
        results = dict(zip(names, self.env.step(actions), strict=True))
        infos = results["infos"]
        if "final_obs" in infos and not self.settings.get("copy", True):
            infos["final_obs"] = infos["final_obs"][infos["_final_obs"]]  # the others may be old
        record.add(step, **results)
        ended = np.asarray(results["terminated"]) | np.asarray(results["truncated"])
        if not ended.any() or not (self.plan["single"] or self.mode == "Disabled"):
            return
        options = None if self.plan["single"] else {"reset_mask": ended}
        observations, infos = self.env.reset(options=options)
        record.add(step, observations=observations, infos=infos)

    def restore(self, step: int, record: Record) -> None:
        """Goes on from the state of now in another environment, after steps that do not count."""
        state = self.state()
        for actions in self.actions[:10]:
            self.step(step, actions, record)
        self.env.close()
        self.env = self.make()
        record.add(step, observations=self.env.unwrapped.set_state(state))


def compare(wanted: dict[str, Any], found: dict[str, Any]) -> tuple[set[str], list[str]]:
    """Returns which parts differ, and lines that say how; also those of renamed and new arrays."""
    differs, lines = set(), []
    if wanted["actions"] != found["actions"]:
        lines.append("actions: NumPy's generator gives other numbers, so all the rest says nothing")
    for name in STREAMS:
        columns = [text.split() for text in (wanted["moments"], wanted[name], found[name])]
        same = [moment for moment, a, b in zip(*columns, strict=True) if a == b]
        if len(same) < len(columns[0]):  # running digests: once they part they stay apart
            differs.add(name)
            after = f", the same to step {same[-1]}" if same else ""
            lines.append(f"{name}: differ by step {columns[0][len(same)]}{after}")
    for name in sorted({*wanted["infos"], *found["infos"]}):
        a, b = wanted["infos"].get(name), found["infos"].get(name)
        if a != b:
            differs.add("infos")
            how = "is gone" if b is None else "is new" if a is None else "differs"
            lines.append(f"infos: {name} {how}")
    gone, notes = compare_states(wanted["states"], found["states"])
    if gone:
        differs.add("states")
    return differs, lines + gone + notes


def compare_states(wanted: dict[str, str], found: dict[str, str]) -> tuple[list[str], list[str]]:
    """Returns lines for arrays that no array equals, and lines for those renamed or new."""
    old = {name: text.rsplit(" ", 1) for name, text in wanted.items()}
    new = {name: text.rsplit(" ", 1) for name, text in found.items()}
    pairs = {name: name for name in old if name in new and old[name][1] == new[name][1]}
    left = [name for name in new if name not in pairs]
    for name in old:
        if name in pairs:
            continue
        equal = [one for one in left if new[one][1] == old[name][1]]
        if equal:  # the likeliest of several: same field in another struct, else the first
            field = name.rsplit(".", 1)[-1]
            pairs[name] = next((one for one in equal if one.rsplit(".", 1)[-1] == field), equal[0])
            left.remove(pairs[name])
    gone = []
    for name in old:
        if name not in pairs:
            how = "differs" if name in new else "is gone: no array left has its bytes"
            gone.append(f"states: {name} ({old[name][0]}) {how}")
    notes = []
    for name, other in pairs.items():
        if name != other:
            notes.append(f"states: {name} is renamed, now {other}")
        if old[name][0] != new[other][0]:
            notes.append(f"states: {other} was {old[name][0]}, is {new[other][0]}: same bytes")
    notes += [f"states: {name} ({new[name][0]}) is new" for name in left if name not in old]
    return gone, notes


def check(
    names: Sequence[str],
    threads: Sequence[int],
    stored: dict[str, Any],
    place: str | None = None,
) -> bool:
    """Runs cases and prints a table and what differs from `stored`; returns whether nothing does.

    Args:
        names: Names of cases.
        threads: Numbers of threads; what all of them report alike is printed once.
        stored: Digests by case.
        place: Built-in town or file that stands in for the maps of the cases.
    """
    print(f"| case | threads | {' | '.join(PARTS)} | s |")
    print("|---" * (len(PARTS) + 3) + "|")
    reports: dict[tuple[str, str], list[int]] = {}
    all_same = True
    for name in names:
        for count in threads:
            start = time.perf_counter()
            differs, lines = compare(stored[name], Case(name, count, place).run())
            all_same &= not differs
            cells = ["differs" if part in differs else "same" for part in PARTS]
            spent = time.perf_counter() - start
            print(f"| {name} | {count} | {' | '.join(cells)} | {spent:.1f} |", flush=True)
            for line in lines:
                reports.setdefault((name, line), []).append(count)
    for (name, line), counts in reports.items():
        few = f", threads {','.join(map(str, counts))}" if len(counts) < len(threads) else ""
        print(f"{name}{few}: {line}")
    print("all the same, to the bit" if all_same else "there are differences")
    return all_same


def take(names: Sequence[str], threads: Sequence[int], place: str | None = None) -> dict[str, Any]:
    """Returns the digests of cases; raises a RuntimeError where numbers of threads disagree."""
    taken: dict[str, Any] = {}
    for name in names:
        for count in threads:
            found = Case(name, count, place).run()
            if found != taken.setdefault(name, found):
                lines = "\n".join(compare(taken[name], found)[1])
                raise RuntimeError(f"{name}: {threads[0]} and {count} threads differ:\n{lines}")
        print(f"{name}: taken", flush=True)
    return taken


def read(file: Path) -> dict[str, Any]:
    """Returns the stored digests by case, none where there is no such file."""
    if not file.exists():
        return {}
    stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return stored


def usable(text: str) -> list[int]:
    """Returns numbers of threads from "1,2", those that the cores of this process allow."""
    counts = [int(word) for word in text.split(",")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for count in counts:
        if count > (cores or 1):
            print(f"left out: {count} threads, this process may use {cores} cores")
    return [count for count in counts if count <= (cores or 1)]


def main(words: Sequence[str] | None = None) -> int:
    """Parses the options, then checks or takes digests; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="take new digests")
    parser.add_argument("--case", action="append", choices=tuple(CASES), help="one of the cases")
    parser.add_argument("--threads", type=usable, default="1,2", help="numbers of threads")
    parser.add_argument("--file", type=Path, default=FILE, help="where the digests are")
    parser.add_argument("--map", help="town or file in place of the cases' maps; needs a --file")
    options = parser.parse_args(words)

    names = options.case or list(CASES)
    if not options.threads:
        parser.error("--threads: none of these can be run here")
    if options.map and options.file == FILE:
        parser.error(f"--map needs --file: {FILE.name} is for the maps of the cases")
    stored = read(options.file)
    if options.write:
        stored.update(take(names, options.threads, options.map))
        ordered = {name: stored[name] for name in CASES if name in stored}
        options.file.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        return 0
    missing = [name for name in names if name not in stored]
    if missing:
        parser.error(f"{options.file} has no digests of {', '.join(missing)}: take them (--write)")
    return 0 if check(names, options.threads, stored, options.map) else 1


if __name__ == "__main__":
    sys.exit(main())
