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
from selfdrive_env.evaluation.films import write_films
from selfdrive_env.evaluation.incidents import CAUSES
from selfdrive_env.evaluation.probes import PROBES, probe
from selfdrive_env.evaluation.run import Evaluation, compare, compare_presets, evaluate
from selfdrive_env.evaluation.statistics import Interval
from selfdrive_env.rendering.canvas import import_pillow

__all__ = ["details", "figures", "run", "text"]

KEPT = 10
"""Incidents recorded with `--out-dir`, unless more films are asked for."""

NO_PROBES = "none"


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the figures of an evaluation as JSON can hold them, under eight fixed keys."""
    return {
        "km": float(evaluation.km.sum()),
        "hours": float(evaluation.hours.sum()),
        "km_between_incidents": evaluation.km_between()._asdict(),
        "incidents": evaluation.by_cause,
        "goal_rate": evaluation.goal_rate,
        "route_completion": evaluation.route_completion,
        "driving_score": evaluation.driving_score,
        "probes": evaluation.probes,
    }


def details(evaluation: Evaluation) -> dict[str, Any]:
    """Returns everything an evaluation counted, as JSON can hold it."""
    return {
        **figures(evaluation),
        "policy": evaluation.policy,
        "seeds": list(evaluation.seeds),
        "minutes": evaluation.minutes,
        "settings": evaluation.settings,
        "hours_between_incidents": evaluation.hours_between()._asdict(),
        "km_between_by_cause": {c: evaluation.km_between(c)._asdict() for c in CAUSES},
        "routes": len(evaluation.routes),
        "routes_completed": evaluation.routes_completed,
        "goal_delay": evaluation.goal_delay,
        "uncomfortable": evaluation.uncomfortable,
        "wrong_way": evaluation.wrong_way,
        "behaviour": evaluation.behaviour,
        "by_seed": [
            {
                "seed": seed,
                "km": float(evaluation.km[world]),
                "hours": float(evaluation.hours[world]),
                "goals": int(evaluation.goals[world]),
                "incidents": dict(zip(CAUSES, evaluation.counts[world].tolist(), strict=True)),
            }
            for world, seed in enumerate(evaluation.seeds)
        ],
        "by_map": [{"map": one.settings["map"][0], **figures(one)} for one in evaluation.by_map],
        "list": [incident._asdict() for incident in evaluation.incidents],
    }


def _number(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.4g}{unit}"


def _interval(interval: Interval, unit: str = "") -> str:
    low, high = interval.low, interval.high
    ends = f"{_number(low)} to {'open' if high is None else _number(high)}"
    return f"{_number(interval.mean, unit):14} (95 %: {ends})"


def text(evaluation: Evaluation) -> str:
    """Returns the figures as a table for people."""
    e = evaluation
    shares = {"uncomfortable steps": e.uncomfortable, "wrong-way steps": e.wrong_way}
    rows = [
        ("driven", f"{e.km.sum():.1f} km in {e.hours.sum():.2f} agent-hours"),
        ("km between incidents", _interval(e.km_between())),
        ("hours between incidents", _interval(e.hours_between())),
        *(
            (f"  {cause}", f"{e.by_cause[cause]:6}  km between: {_interval(e.km_between(cause))}")
            for cause in CAUSES
        ),
        ("goals per agent-hour", _number(e.goal_rate)),
        ("time to goals / free flow", _number(e.goal_delay)),
        ("route completion, mean", f"{_number(e.route_completion)} over {len(e.routes)} routes"),
        ("routes completed", _number(e.routes_completed)),
        ("driving score", _number(e.driving_score)),
        *((name, f"{100.0 * share:.2f} %") for name, share in shares.items()),
        *((ROWS[name], _number(value)) for name, value in e.behaviour.items()),
        *(
            (f"probe {name}", f"{result['successes']} of {result['trials']}")
            for name, result in e.probes.items()
        ),
    ]
    where = ", ".join(ranges_of(e.settings["map"]))
    head = f"{e.policy} on {where}, {len(e.seeds)} worlds of {e.minutes:g} min"
    return "\n".join([head, *(f"  {name:38} {value}" for name, value in rows), *_by_map(e)])


def _by_map(evaluation: Evaluation) -> list[str]:
    """Returns a line a map, where each was driven on in turn."""
    lines = [
        f"  {one.settings['map'][0]:38} {_interval(one.km_between())}  {one.km.sum():.1f} km"
        for one in evaluation.by_map
    ]
    return ["  km between incidents, map by map", *lines] if lines else []


def run(parsed: argparse.Namespace) -> int:
    """Evaluates a policy as the command line asks; returns 0."""
    check_integer("--film", parsed.film, 0, 1000)
    check_integer("--trials", parsed.trials, 1, 100_000)
    if parsed.film:
        import_pillow()  # rather now than after all the driving
        parsed.out_dir = parsed.out_dir or Path("runs/evaluation")
    if parsed.out_dir is not None:
        parsed.out_dir.mkdir(parents=True, exist_ok=True)
    settings = read_settings(parsed.set)
    if parsed.probes == [NO_PROBES]:
        parsed.probes = []
    for name in parsed.probes:
        check_choice("--probes", name, (*PROBES, NO_PROBES))
    options: dict[str, Any] = {
        "map": parsed.map,
        "minutes": parsed.minutes,
        "seeds": parsed.seeds,
        "each_map": parsed.each_map,
    }
    policy = policies.load(parsed.policy)
    if len(parsed.preset) > 1:
        return _presets(parsed, policy, settings, options)
    options["settings"] = {"preset": parsed.preset[0], **settings}
    keep = max(KEPT, parsed.film) if parsed.out_dir is not None else 0
    result = evaluate(policy, **options, keep=keep, progress=_progress())
    _erase()
    for name in parsed.probes:
        result.probes[name] = probe(policy, name, trials=parsed.trials)._asdict()
    output = figures(result)
    if result.by_map:
        output["by_map"] = {one.settings["map"][0]: figures(one) for one in result.by_map}
    lines = [text(result), *_other_conditions(policy, result)]
    if parsed.against is not None:
        other = evaluate(policies.load(parsed.against), **options, progress=_progress())
        _erase()
        differences = compare(result, other)
        output["against"] = {
            **figures(other),
            "differences": {name: value._asdict() for name, value in differences.items()},
        }
        lines += [text(other), f"{result.policy} less {other.policy}, seed by seed"]
        lines += [f"  {name:38} {_interval(value)}" for name, value in differences.items()]
    if parsed.out_dir is not None:
        path = parsed.out_dir / "evaluation.json"
        path.write_text(
            json.dumps(details(result), indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        written = write_films(result.recordings, parsed.out_dir, films=parsed.film)
        lines += [f"wrote {len(written) + 1} files to {parsed.out_dir}"]
    print(json.dumps(output, allow_nan=False) if parsed.json else "\n".join(lines))
    return 0


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
