"""How driving grows with experience: figures of a policy on its way, a table and a picture."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdrive_env.config.checks import (
    as_list,
    as_table,
    check_choice,
    check_integer,
    check_number,
)
from selfdrive_env.config.files import write_whole
from selfdrive_env.config.layouts import make_layout
from selfdrive_env.config.settings import Settings
from selfdrive_env.evaluation import policies
from selfdrive_env.evaluation.causes.kinds import KINDS
from selfdrive_env.evaluation.incidents import CAUSES
from selfdrive_env.evaluation.probes import PROBES, probe
from selfdrive_env.evaluation.results.evaluation import Evaluation
from selfdrive_env.evaluation.run import check_maps, check_settings, evaluate

__all__ = ["TABLE", "Curve", "draw", "point"]

TABLE, PICTURE = "evaluation.csv", "evaluation.png"

OPTIONS: dict[str, Any] = {
    "map": ["harbour"],
    "minutes": 5.0,
    "seeds": [0, 1],
    "probes": [],
    "trials": 20,
    "settings": {},
}
"""What may be asked for, and what is done without a word."""

ALL_PROBES = "probes"
"""In the place of a map: the row of the probes."""

FIGURES = (
    *("km", "km_between", "km_between_low", "km_between_high", "goals_per_hour", "speed"),
    *("red_lights_per_km", "frozen"),
)
COLUMNS = (
    *("stage", "transitions", "map", *FIGURES, *CAUSES),
    *(f"kind_{kind}" for kind in KINDS),
    *(f"probe_{name}" for name in PROBES),
)
"""Of the table; probes give successes of their trials."""


class Curve:
    """Evaluates a policy again and again, and keeps what it finds in a folder.

    The picture is left out where matplotlib is missing.

    Args:
        folder: For `evaluation.csv` and `evaluation.png`.
        options: Those of `OPTIONS` that differ.

    Raises:
        ValueError: If an option is not known, or not allowed.
        MapError: If a map cannot be read, or nobody can drive on it.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        for name in options:
            check_choice("evaluation: its settings", name, tuple(OPTIONS))
        chosen = {**OPTIONS, **options}
        self.folder = folder
        self.maps = [str(name) for name in as_list("evaluation: map", chosen["map"])]
        self.minutes = check_number("evaluation: minutes", chosen["minutes"], 1e-3, 1e6)
        self.seeds = [
            check_integer("evaluation: seeds", seed, 0, 2**63 - 1)
            for seed in as_list("evaluation: seeds", chosen["seeds"])
        ]
        self.probes = as_list("evaluation: probes", chosen["probes"])
        for name in self.probes:
            check_choice("evaluation: probes", name, tuple(PROBES))
        self.trials = check_integer("evaluation: trials", chosen["trials"], 1, 100_000)
        self.settings = dict(as_table("evaluation: settings", chosen["settings"]))
        if not self.maps or not self.seeds:
            raise ValueError("evaluation: map and seeds must name at least one each")
        # Rather now than after hours of training.
        check_settings(self.settings)
        settings = Settings.from_keywords({"map": self.maps})
        check_maps(settings, make_layout(settings.layout))

    def add(self, policy: Path, stage: str, transitions: int) -> None:
        """Measures a policy and adds it to table and picture; rows further on are taken back.

        Args:
            policy: Its file.
            stage: Of its training.
            transitions: It has learnt from, over all stages.
        """
        candidate = policies.load(str(policy))
        about = {"stage": stage, "transitions": transitions}
        rows = [row for row in self.rows() if int(row["transitions"]) < transitions]
        for name in self.maps:
            found = evaluate(
                candidate,
                map=[name],
                minutes=self.minutes,
                seeds=self.seeds,
                settings=self.settings,
            )
            rows.append({**about, "map": name, **point(found)})
        if self.probes:
            results = {
                f"probe_{name}": probe(candidate, name, trials=self.trials).successes
                for name in self.probes
            }
            rows.append({**about, "map": ALL_PROBES, **results})
        self.folder.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.folder / TABLE, text.getvalue().encode())
        with contextlib.suppress(ImportError):
            draw(self.rows(), self.folder / PICTURE)

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of the table, none where it is missing; what is empty stays ""."""
        try:
            with open(self.folder / TABLE, newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))
        except FileNotFoundError:
            return []


def point(found: Evaluation) -> dict[str, Any]:
    """Returns a row of the table, of one evaluation."""
    between = found.km_between()
    behaviour = found.behaviour
    figures = (
        *(float(found.km.sum()), between.mean, between.low, between.high, found.goal_rate),
        *(behaviour["speed"], behaviour["red_lights_per_km"], behaviour["frozen"]),
    )
    row = {
        name: "" if value is None else f"{value:.6g}"
        for name, value in zip(FIGURES, figures, strict=True)
    }
    kinds = {f"kind_{kind}": found.by_kind.get(kind, 0) for kind in KINDS}
    return {**row, **found.by_cause, **kinds}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws kilometres between incidents and goals over transitions.

    Args:
        rows: With `transitions`, `map` and those of `FIGURES` that are drawn, "" where there are
            none.
        path: Of the picture.

    Raises:
        ImportError: Without matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [name for name in dict.fromkeys(row["map"] for row in rows) if name != ALL_PROBES]
    for number, name in enumerate(names):
        own = [row for row in rows if row["map"] == name]
        x = [int(row["transitions"]) / 1e6 for row in own]
        mean, low, high, goals = (
            [float(row[column] or "nan") for row in own]
            for column in ("km_between", "km_between_low", "km_between_high", "goals_per_hour")
        )
        colour = f"C{number % 10}"
        top = [max(c for c in (*high, *mean, *low, 1.0) if not math.isnan(c))] * len(own)
        ends = [t if math.isnan(h) else h for h, t in zip(high, top, strict=True)]
        left.plot(x, mean, "o-", color=colour, label=Path(name).stem, markersize=3)
        left.fill_between(x, low, ends, color=colour, alpha=0.15, linewidth=0)
        right.plot(x, goals, "o-", color=colour, markersize=3)
    left.set(xlabel="transitions [million]", ylabel="km between incidents", yscale="log")
    right.set(xlabel="transitions [million]", ylabel="goals per agent-hour", ylim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    if names:
        left.legend(fontsize=7)
    figure.savefig(path, dpi=120)
