"""Evaluations as JSON: their figures, and all counts in a file that is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfdrive_env.config.files import write_whole
from selfdrive_env.config.settings import Settings
from selfdrive_env.evaluation.behaviour import Sums
from selfdrive_env.evaluation.incidents import CAUSES, Incident
from selfdrive_env.evaluation.results.comparison import compare, ratios
from selfdrive_env.evaluation.results.evaluation import ROUTE_SUMS, TALLIES, Evaluation

__all__ = ["comparison", "details", "figures", "read", "write"]

FORMAT = "selfdrive_env evaluation 1"
"""What a file says that it is."""

COLUMNS = {"counts": CAUSES, "route_sums": ROUTE_SUMS}
"""Tallies of several columns -> their names."""

TOLD = {"counts": "incidents", "route_sums": "routes"}
"""Tallies that have other names in a file."""


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the figures of an evaluation as JSON can hold them, under fixed keys."""
    e = evaluation
    return {
        "km": float(e.km.sum()),
        "hours": float(e.hours.sum()),
        "speed": e.speed._asdict(),
        "km_between_incidents": e.km_between()._asdict(),
        "km_between_linked_incidents": e.km_between_linked()._asdict(),
        "incidents_per_hour": {
            "all": e.incident_rate()._asdict(),
            "linked": e.linked_rate()._asdict(),
            **{cause: e.incident_rate(cause)._asdict() for cause in CAUSES},
        },
        "incidents": e.by_cause,
        "linked_incidents": e.num_linked,
        "kinds": e.by_kind,
        "light_timing": str(e.settings.get("light_timing", Settings.light_timing)),
        "goal_rate": e.goal_rate,
        "route_completion": e.route_completion,
        "driving_score": e.driving_score,
        "probes": e.probes,
    }


def details(evaluation: Evaluation) -> dict[str, Any]:
    """Returns everything an evaluation counted, as JSON can hold it."""
    e = evaluation
    return {
        "format": FORMAT,
        **figures(e),
        "policy": e.policy,
        "policy_digest": e.policy_digest,
        "package": e.package,
        "map_digests": e.map_digests,
        "seeds": list(e.seeds),
        "all_seeds": list(e.all_seeds),
        "missing_worlds": e.missing_worlds,
        "minutes": e.minutes,
        "settings": json.loads(json.dumps(e.settings)),
        "hours_between_incidents": e.hours_between()._asdict(),
        "km_between_by_cause": {c: e.km_between(c)._asdict() for c in CAUSES},
        "routes": e.num_routes,
        "routes_completed": e.routes_completed,
        "goal_delay": e.goal_delay,
        "uncomfortable": e.uncomfortable,
        "wrong_way": e.wrong_way,
        "behaviour": e.behaviour,
        "by_seed": [_row(e, world) for world in range(len(e.seeds))],
        "by_map": [{"map": one.settings["map"][0], **figures(one)} for one in e.by_map],
        "list": [one._asdict() for one in sorted(e.incidents, key=lambda one: one.world)],
    }


def comparison(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """Returns differences and ratios of two policies as JSON can hold them."""
    return {
        name: {figure: value._asdict() for figure, value in found.items()}
        for name, found in (
            ("differences", compare(first, second)),
            ("ratios", ratios(first, second)),
        )
    }


def _row(evaluation: Evaluation, world: int) -> dict[str, Any]:
    """Returns all that was counted in a world."""
    row: dict[str, Any] = {"seed": int(evaluation.seeds[world])}
    if evaluation.maps:
        row["map"] = evaluation.maps[world]
    for name in TALLIES:
        values = getattr(evaluation, name)[world].tolist()
        if name in COLUMNS:
            values = dict(zip(COLUMNS[name], values, strict=True))
        row[TOLD.get(name, name)] = values
    row["sums"] = {n: values[world].tolist() for n, values in vars(evaluation.sums).items()}
    return row


def write(path: Path, evaluation: Evaluation, other: Evaluation | None = None) -> None:
    """Writes all counts of an evaluation to a file.

    Args:
        path: Of the file, which is replaced.
        evaluation: What it holds.
        other: Another policy on the same worlds, if they are compared.
    """
    values = details(evaluation)
    if other is not None:
        values["against"] = {**details(other), **comparison(evaluation, other)}
    write_whole(path, (_laid_out(values) + "\n").encode())


def _laid_out(values: dict[str, Any], indent: str = " ") -> str:
    """Returns JSON with a line for each key, and for each entry of a list of objects."""
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value.get("format") == FORMAT:
            text = _laid_out(value, f"{indent} ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [f"{indent} {json.dumps(one, allow_nan=False)}" for one in value]
            text = "[\n" + ",\n".join(rows) + f"\n{indent}]"
        else:
            text = json.dumps(value, allow_nan=False)
        lines.append(f"{indent}{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + f"\n{indent[:-1]}}}"


def read(path: Path) -> tuple[Evaluation, Evaluation | None]:
    """Reads what `write` wrote.

    Returns:
        The evaluation, and that of the policy it is compared with, if there is one; routes one by
        one and recordings are not in a file.

    Raises:
        ValueError: If the file is none of an evaluation, or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        values = None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path} is no file of an evaluation that `evaluate -o FILE` wrote: format must be "
            f"{FORMAT!r}, got {found!r}"
        )
    try:
        other = values.get("against")
        return _evaluation(values), None if other is None else _evaluation(other)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__} {error}") from None


def _evaluation(values: dict[str, Any]) -> Evaluation:
    """Returns an evaluation from `details` of it."""
    rows = values["by_seed"]
    seeds = tuple(int(row["seed"]) for row in rows)
    if not seeds or list(seeds) != values["seeds"]:
        raise ValueError("by_seed has other seeds than seeds")
    whole = {"counts", "linked", "goals", *(n for n in TALLIES if n.endswith("_steps"))}
    sums = Sums(len(rows))
    for name, empty in vars(sums).items():
        found = [row["sums"][name] for row in rows]
        setattr(sums, name, _array(name, found, empty.dtype, empty.shape))
    tallies: dict[str, Any] = {}
    for name in TALLIES:
        found = [row[TOLD.get(name, name)] for row in rows]
        shape: tuple[int, ...] = (len(rows),)
        if name in COLUMNS:
            found = [[one[column] for column in COLUMNS[name]] for one in found]
            shape += (len(COLUMNS[name]),)
        tallies[name] = _array(name, found, np.int64 if name in whole else np.float64, shape)
    return Evaluation(
        policy=str(values["policy"]),
        policy_digest=str(values["policy_digest"]),
        package=str(values["package"]),
        map_digests=dict(values["map_digests"]),
        seeds=seeds,
        all_seeds=tuple(values["all_seeds"]),
        maps=tuple(row["map"] for row in rows if "map" in row),
        settings=dict(values["settings"]),
        minutes=float(values["minutes"]),
        **tallies,
        sums=sums,
        incidents=[Incident(**one) for one in values["list"]],
        probes=dict(values["probes"]),
    )


def _array(name: str, values: list[Any], dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns tallies as an array, a row a world."""
    array = np.array(values)
    if array.shape != shape or not np.can_cast(array.dtype, dtype) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers of {np.dtype(dtype)}, {list(shape)}")
    if name != "speeds" and (array < 0).any():  # who reverses is slower than 0
        raise ValueError(f"{name} must be 0 or more, got {array.min()}")
    return array.astype(dtype)
