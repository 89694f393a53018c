"""What an evaluation found, as JSON and as text; what `evaluate` does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdrive_env.config.checks import check_choice, check_integer, read_pairs
from selfdrive_env.config.choices import ranges_of
from selfdrive_env.config.settings import Settings
from selfdrive_env.evaluation import policies
from selfdrive_env.evaluation.behaviour import ROWS
from selfdrive_env.evaluation.causes.kinds import KINDS
from selfdrive_env.evaluation.films import write_films
from selfdrive_env.evaluation.incidents import CAUSES, CRASHES
from selfdrive_env.evaluation.probes import PROBES, probe
from selfdrive_env.evaluation.results.comparison import compare, ratios
from selfdrive_env.evaluation.results.evaluation import Evaluation
from selfdrive_env.evaluation.results.files import comparison, details, figures, write
from selfdrive_env.evaluation.results.merge import merge, read_shard
from selfdrive_env.evaluation.run import compare_presets, evaluate
from selfdrive_env.evaluation.statistics import Interval
from selfdrive_env.rendering.canvas import import_pillow

__all__ = ["details", "figures", "run", "text"]

KEPT = 10
"""Incidents recorded with `--out-dir`, unless more films are asked for."""

NO_PROBES = "none"

MERGE = "merge"
"""In the place of a policy: adds up files."""

LIGHTS = {
    "file": "as the map states, elsewhere drawn",
    "random": "drawn",
    "fixed": "the same for all",
}
"""Light timing -> what it means."""


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.4g}{unit}"


def _interval(interval: Interval, unit: str = "") -> str:
    low, high = interval.low, interval.high
    ends = f"{_number(low)} to {'open' if high is None else _number(high)}"
    return f"{_number(interval.mean, unit):14} (95 %: {ends})"


def text(evaluation: Evaluation) -> str:
    """Returns the figures as a table for people."""
    e = evaluation
    rows = [
        ("driven", f"{e.km.sum():.1f} km in {e.hours.sum():.2f} agent-hours"),
        ("mean speed [m/s]", _interval(e.speed)),
        *_incident_rows(e),
        ("goals per agent-hour", _number(e.goal_rate)),
        ("time to goals / free flow", _number(e.goal_delay)),
        ("route completion, mean", f"{_number(e.route_completion)} over {e.num_routes} routes"),
        ("routes completed", _number(e.routes_completed)),
        ("driving score", _number(e.driving_score)),
        ("uncomfortable steps", f"{100.0 * e.uncomfortable:.2f} %"),
        ("wrong-way steps", f"{100.0 * e.wrong_way:.2f} %"),
        *((ROWS[name], _number(v)) for name, v in e.behaviour.items() if name != "speed"),
        ("light timing", _light_timing(e)),
        *(
            (f"probe {name}", f"{result['successes']} of {result['trials']}")
            for name, result in e.probes.items()
        ),
    ]
    where = ", ".join(ranges_of(e.settings["map"]))
    head = f"{e.policy} on {where}, {len(e.seeds)} worlds of {e.minutes:g} min"
    if e.missing_worlds:
        head += f", a part: {e.missing_worlds} more make the whole"
    return "\n".join([head, *(f"  {name:38} {value}" for name, value in rows), *_by_map(e)])


def _incident_rows(e: Evaluation) -> list[tuple[str, str]]:
    """Returns how often incidents happened, over kilometres and over hours."""
    linked = f"{e.num_linked:6}  km between: {_interval(e.km_between_linked())}"
    return [
        ("km between incidents", _interval(e.km_between())),
        ("  linked ones counted once", linked),
        *(
            (f"  {cause}", f"{e.by_cause[cause]:6}  km between: {_interval(e.km_between(cause))}")
            for cause in CAUSES
        ),
        ("incidents per agent-hour", _interval(e.incident_rate())),
        ("  linked ones counted once", _interval(e.linked_rate())),
        *((f"  {cause}", _interval(e.incident_rate(cause))) for cause in CAUSES[:CRASHES]),
        *((f"kind {kind or 'unknown'}", f"{count:6}") for kind, count in e.by_kind.items()),
    ]


def _light_timing(evaluation: Evaluation) -> str:
    """Returns how long phases of traffic lights last, in words."""
    timing = str(evaluation.settings.get("light_timing", Settings.light_timing))
    return f"{timing} ({LIGHTS[timing]})"


def _compared(first: Evaluation, second: Evaluation) -> list[str]:
    """Returns what tells two policies apart, as lines for people."""
    parts = (("over", ratios(first, second)), ("less", compare(first, second)))
    lines = [text(second)]
    for word, found in parts:
        lines += [f"{first.policy} {word} {second.policy}, seed by seed"]
        lines += [f"  {name:38} {_interval(value)}" for name, value in found.items()]
    return lines


def _by_map(evaluation: Evaluation) -> list[str]:
    """Returns a line a map, where each was driven on in turn."""
    lines = [
        f"  {one.settings['map'][0]:38} {_interval(one.km_between())}  {one.km.sum():.1f} km"
        for one in evaluation.by_map
    ]
    return ["  km between incidents, map by map", *lines] if lines else []


def run(parsed: argparse.Namespace) -> int:
    """Evaluates a policy, or adds up files, as the command line asks; returns 0."""
    if parsed.policy[0] == MERGE:
        return _merge(parsed)
    if parsed.scenes is not None:
        from selfdrive_env.evaluation.results import recorded

        return recorded.run(
            parsed.policy, parsed.scenes, traffic=parsed.traffic, as_json=parsed.json
        )
    shard = _check(parsed)
    settings = read_settings(parsed.set)
    options: dict[str, Any] = {
        "map": parsed.map,
        "minutes": parsed.minutes,
        "seeds": parsed.seeds,
        "each_map": parsed.each_map,
    }
    policy = policies.load(parsed.policy[0])
    if len(parsed.preset) > 1:
        return _presets(parsed, policy, settings, options)
    options |= {"settings": {"preset": parsed.preset[0], **settings}, "shard": shard}
    keep = max(KEPT, parsed.film) if parsed.out_dir is not None else 0
    result = evaluate(policy, **options, keep=keep, kinds=parsed.kinds or (), progress=_progress())
    _erase()
    for name in parsed.probes if shard[0] == 1 else ():
        result.probes[name] = probe(policy, name, trials=parsed.trials)._asdict()
    other = None
    if parsed.against is not None:
        other = evaluate(policies.load(parsed.against), **options, progress=_progress())
        _erase()
    notes = _other_conditions(policy, result)
    if parsed.out_dir is not None:
        write(parsed.out_dir / "evaluation.json", result, other)
        written = write_films(result.recordings, parsed.out_dir, films=parsed.film)
        notes += [f"wrote {len(written) + 1} files to {parsed.out_dir}"]
    _tell(parsed, result, other, notes)
    return 0


def _check(parsed: argparse.Namespace) -> tuple[int, int]:
    """Checks and completes what was given; returns the shard."""
    check_integer("--film", parsed.film, 0, 1000)
    check_integer("--trials", parsed.trials, 1, 100_000)
    if len(parsed.policy) + (parsed.against is not None) > 2:
        raise ValueError(f"one policy is compared with one other, got {len(parsed.policy)}")
    if len(parsed.policy) == 2:
        parsed.against = parsed.policy[1]
    shard = (1, 1) if parsed.shard is None else read_shard(parsed.shard)
    if parsed.shard is not None and parsed.output is None and parsed.out_dir is None:
        raise ValueError("--shard needs -o FILE or --out-dir, where `evaluate merge` finds it")
    if len(parsed.preset) > 1 and (parsed.shard or parsed.output):
        raise ValueError(f"--shard and -o take one --preset, got {' '.join(parsed.preset)}")
    if parsed.probes == [NO_PROBES]:
        parsed.probes = []
    for name in parsed.probes:
        check_choice("--probes", name, (*PROBES, NO_PROBES))
    for name in parsed.kinds or ():
        check_choice("--kinds", name, tuple(KINDS))
    if parsed.kinds and not parsed.film and parsed.out_dir is None:
        raise ValueError("--kinds chooses which incidents are kept: it needs --film or --out-dir")
    if parsed.film:
        import_pillow()  # rather now than after all the driving
        parsed.out_dir = parsed.out_dir or Path("runs/evaluation")
    if parsed.out_dir is not None:
        parsed.out_dir.mkdir(parents=True, exist_ok=True)
    return shard


def _merge(parsed: argparse.Namespace) -> int:
    """Adds up files; returns 0."""
    given = {
        "--set": parsed.set, "--against": parsed.against, "--shard": parsed.shard,
        "--film": parsed.film, "--out-dir": parsed.out_dir, "--each-map": parsed.each_map,
        "--kinds": parsed.kinds,
    }  # fmt: skip
    given |= {f"--{name}": getattr(parsed, name) != usual for name, usual in parsed.usual.items()}
    if wrong := [name for name, value in given.items() if value]:
        raise ValueError(f"evaluate merge takes files, -o and --json, got {', '.join(wrong)}")
    _tell(parsed, *merge([Path(name) for name in parsed.policy[1:]]), [])
    return 0


def _tell(
    parsed: argparse.Namespace, result: Evaluation, other: Evaluation | None, notes: Sequence[str]
) -> None:
    """Prints and writes what was found."""
    if parsed.output is not None:
        write(parsed.output, result, other)
    output, lines = figures(result), [text(result)]
    if result.by_map:
        output["by_map"] = {one.settings["map"][0]: figures(one) for one in result.by_map}
    if other is not None:
        output["against"] = {**figures(other), **comparison(result, other)}
        lines += _compared(result, other)
    lines += notes
    print(json.dumps(output, allow_nan=False) if parsed.json else "\n".join(lines))


def _other_conditions(policy: policies.Candidate, result: Evaluation) -> list[str]:
    """Returns a line on settings that differ from those of the policy's training, if any do."""
    differ = [
        f"{name}={learnt if isinstance(learnt, str) else json.dumps(learnt)}"
        for name, learnt in policy.learnt.items()
        if learnt != result.settings.get(name, getattr(Settings, name))
    ]
    with_them = "trained with other settings; to drive it as trained add"
    return [f"{with_them} --set {' '.join(differ)}"] if differ else []


def _presets(
    parsed: argparse.Namespace,
    policy: policies.Candidate,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
) -> int:
    """Prints how a policy drives under several presets."""
    table = compare_presets(
        policy, parsed.preset, settings=settings, **options, progress=_progress()
    )
    _erase()
    if parsed.json:
        print(json.dumps(table, allow_nan=False))
        return 0
    print(f"{'':40}" + "".join(f"{preset:>12}" for preset in table))
    for name, meaning in ROWS.items():
        print(f"{meaning:40}" + "".join(f"{_number(row[name]):>12}" for row in table.values()))
    return 0


def read_settings(words: Sequence[str]) -> dict[str, Any]:
    """Returns settings of an environment of ours from words such as "dt=0.3"."""
    settings = read_pairs(words)
    try:
        Settings.from_keywords(settings)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return settings


def _progress() -> Any:
    """Returns what shows progress on a terminal."""
    if not sys.stderr.isatty():
        return None
    return lambda share: print(f"\r{100.0 * share:3.0f} %", end="", file=sys.stderr, flush=True)


def _erase() -> None:
    """Takes the line of progress away."""
    if sys.stderr.isatty():
        print("\r     \r", end="", file=sys.stderr, flush=True)
